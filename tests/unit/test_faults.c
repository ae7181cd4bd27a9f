/*
 * Failing allocations. Everything that the engine does is repeated with its first allocation failing, then
 * its second, and so on until none is left, and again with all from the n-th on failing. Each time it must
 * end with NUT_E_MEMORY or the right result, and leak nothing; the objects must work as before when memory
 * is back.
 */
#include "check.h"
#include "counting_alloc.h"
#include "data.h"
#include "make_gguf.h"
#include "memory_job.h"

static const char tiny[] = "dist/nutshell-tiny-q8_0.gguf";
enum { CTX = 48, MOST_ALLOCATIONS = 400 };

/* ---- what is done ---- */

/* One task. It fills in a digest of its result, frees what it made, and may keep fixtures. */
typedef struct scenario {
    const char *name;
    nut_status (*run)(const struct scenario *s, uint64_t *digest, nut_error *err);
    size_t least; // allocations that it must make at least; 0: it must make none
    const uint8_t *file;
    size_t n_file;
    const nut_model *model;
    nut_session *session;
    nut_kv_type kv_type;
    uint32_t n_threads;
} scenario;

static uint64_t mix(uint64_t h, const void *p, size_t n) { // FNV-1a
    for (size_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)p)[i]) * 1099511628211u;
    return h;
}

static nut_status load(const scenario *s, uint64_t *digest, nut_error *err) {
    char text[4096];
    size_t n = 0;
    nut_model *m = NULL;
    nut_status status = make_load(s->file, s->n_file, 3000, NULL, &m, err);
    if (status != NUT_OK) return status;
    (void)nut_model_info(m, true, text, sizeof text, &n, NULL);
    *digest = mix(n, text, n < sizeof text ? n : sizeof text);
    nut_model_free(m);
    return NUT_OK;
}

static nut_status open_session(const scenario *s, uint64_t *digest, nut_error *err) {
    static const int32_t ids[] = {5, 9, 130, 77, 6};
    const nut_session_options o = {
        .n_ctx = CTX, .n_threads = s->n_threads, .n_batch = 4, .n_logits = 1, .kv_type = s->kv_type};
    nut_session *session;
    nut_status status = nut_session_new(s->model, &o, &session, err);
    if (status != NUT_OK) return status;
    status = nut_session_eval(session, ids, 5, 1, err);
    if (status == NUT_OK)
        *digest = mix(1, nut_session_logits(session, 0), nut_model_n_vocab(s->model) * sizeof(float));
    nut_session_free(session);
    return status;
}

static nut_status generate(const scenario *s, uint64_t *digest, nut_error *err) {
    static const int32_t ids[] = {5, 9, 130, 77, 6, 8};
    static const char *const stops[] = {"no such text", "nor this"};
    nut_generate_options o = nut_generate_defaults();
    nut_step step;
    o.max_tokens = 20, o.top_k = 0, o.typical_p = 0.9f, o.repeat_penalty = 1.2f, o.ignore_eos = true;
    o.stop = stops, o.n_stop = 2;
    nut_status status = nut_generate_begin(s->session, ids, 6, &o, err);
    *digest = 2;
    while (status == NUT_OK) {
        status = nut_generate_step(s->session, &step, err);
        if (status == NUT_OK) *digest = mix(*digest, step.text, step.n_text);
        if (status == NUT_OK && step.kind == NUT_STEP_DONE) break;
    }
    nut_generate_end(s->session);
    return status;
}

static nut_status tokenize(const scenario *s, uint64_t *digest, nut_error *err) {
    static const char text[] = "the hat and the theme, then <s>the end<|im_end|> \xc3\xa9\xff";
    const unsigned flags = NUT_TOKENIZE_ADD_BOS | NUT_TOKENIZE_SPECIAL;
    int32_t ids[128];
    char back[512];
    size_t n = 0, n_back = 0;
    nut_status status = nut_tokenize(s->model, text, sizeof text - 1, flags, ids, 128, &n, err);
    if (status == NUT_OK) status = nut_detokenize(s->model, ids, n, true, back, sizeof back, &n_back, err);
    if (status == NUT_OK) *digest = mix(mix(3, ids, n * sizeof *ids), back, n_back);
    return status;
}

static nut_status info(const scenario *s, uint64_t *digest, nut_error *err) {
    static char text[1 << 15];
    size_t n;
    nut_status status = nut_model_info(s->model, true, text, sizeof text, &n, err);
    if (status == NUT_OK) *digest = mix(4, text, n);
    return status;
}

static nut_status quantize(const scenario *s, uint64_t *digest, nut_error *err) {
    memory_job m = {.file = {s->file}, .n_bytes = {s->n_file}};
    nut_status status = memory_job_round(&m, "q4_1", err);
    if (status == NUT_OK) *digest = mix(5, m.out, m.n_out);
    free(m.out);
    return status;
}

static nut_status evaluate(const scenario *s, uint64_t *digest, nut_error *err) {
    int32_t ids[40];
    nut_perplexity_result r;
    for (int i = 0; i < 40; i++) ids[i] = 3 + i * 6;
    nut_status status = memory_job_perplexity(s->session, ids, 40, 16, 0, &r, err);
    if (status == NUT_OK) *digest = mix(6, &r.mean_nll, sizeof r.mean_nll);
    return status;
}

/* ---- while memory fails ---- */

/* Checks the result of a call with failed allocations, or without. */
static void check_outcome(const scenario *s, size_t k, nut_status status, const nut_error *err, bool same) {
    const bool right = status == NUT_OK ? same : status == NUT_E_MEMORY && counting.n_failed > 0;
    CHECK(right, "%s: allocation %zu fails%s: %s%s", s->name, k, counting.for_good ? " for good" : "",
          nut_status_name(status), status == NUT_OK && !same ? ", another result" : "");
    CHECK(status == NUT_OK || (err->code == status && strstr(err->message, "out of memory")), "%s: \"%s\"",
          s->name, err->message);
    CHECK(counting.alive == 0, "%s: allocation %zu fails: %zu blocks are left", s->name, k, counting.alive);
}

/* Makes the k-th allocation fail, for each k until none does; then memory is back. */
static void fail_each(const scenario *s, bool for_good, uint64_t want) {
    size_t k = 0, n_failed = 1, n_errors = 0;
    while (n_failed && ++k < MOST_ALLOCATIONS) {
        nut_error err = {0};
        uint64_t digest = 0;
        counting_start(k);
        counting.for_good = for_good;
        nut_status status = s->run(s, &digest, &err);
        check_outcome(s, k, status, &err, digest == want);
        n_failed = counting.n_failed;
        n_errors += status != NUT_OK;
        counting_stop();
        if (status == NUT_OK) continue;
        status = s->run(s, &digest, &err);
        CHECK(status == NUT_OK && digest == want, "%s: after allocation %zu had failed: %s", s->name, k,
              status == NUT_OK ? "another result" : err.message);
    }
    CHECK(!n_failed && n_errors >= s->least && (s->least || k == 1), "%s: %zu errors, %zu allocations",
          s->name, n_errors, k - 1);
}

static void test_scenario(scenario s) {
    nut_error err = {0};
    uint64_t want = 0, again = 0;
    const bool runs = s.run(&s, &want, &err) == NUT_OK && s.run(&s, &again, &err) == NUT_OK;
    if (!CHECK(runs && want == again, "%s: %s", s.name, runs ? "two results" : err.message)) return;
    fail_each(&s, false, want);
    fail_each(&s, true, want);
}

/* ---- on what ---- */

static void test_loads(void) {
    for (int id = 0; id < FORMAT_COUNT; id++) {
        make_options o = {
            .matrices = (format_id)id, .n_layer = 1, .byte_pairs = id % 2, .n_ff = 32, .seed = 3};
        if (format_table[id].block > 32) o.n_embd = 256, o.n_ff = 256;
        make_gguf g = make_model(&o);
        size_t n;
        uint8_t *file = make_file(&g, &n);
        char name[64];
        snprintf(name, sizeof name, "load %s, %s", format_table[id].name, id % 2 ? "byte pairs" : "pieces");
        test_scenario((scenario){.name = name, .run = load, .least = 15, .file = file, .n_file = n});
        free(file), make_free(&g);
    }
}

static void test_sessions(const nut_model *m, const char *what) {
    char name[64];
    for (int kv = 0; kv < NUT_KV_COUNT; kv++)
        for (uint32_t n_threads = 1; n_threads <= 2; n_threads++) {
            snprintf(name, sizeof name, "%s: session, %s, %u threads", what,
                     nut_kv_type_name((nut_kv_type)kv), n_threads);
            test_scenario((scenario){.name = name,
                                     .run = open_session,
                                     .least = 3,
                                     .model = m,
                                     .kv_type = (nut_kv_type)kv,
                                     .n_threads = n_threads});
        }
}

static void test_uses(const nut_model *m, const char *what) {
    const nut_session_options o = {.n_ctx = CTX, .n_threads = 2, .n_batch = 8, .n_logits = 8};
    nut_session *session = NULL;
    nut_error err = {0};
    char name[64];
    if (!CHECK(nut_session_new(m, &o, &session, &err) == NUT_OK, "%s: %s", what, err.message)) return;
    const scenario list[] = {{.name = "text", .run = tokenize, .least = 2},
                             {.name = "facts", .run = info},
                             {.name = "generation", .run = generate},
                             {.name = "perplexity", .run = evaluate, .least = 1}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        scenario s = list[i];
        snprintf(name, sizeof name, "%s: %s", what, list[i].name);
        s.name = name, s.model = m, s.session = session;
        test_scenario(s);
    }
    nut_session_free(session);
}

static void test_file(const char *what, const uint8_t *file, size_t n) {
    nut_model *m = NULL;
    nut_error err = {0};
    if (!CHECK(make_load(file, n, 0, NULL, &m, &err) == NUT_OK, "%s: %s", what, err.message)) return;
    test_sessions(m, what);
    test_uses(m, what);
    nut_model_free(m);
}

static void test_made(bool byte_pairs) {
    make_gguf g =
        make_model(&(make_options){.matrices = FORMAT_Q5_1, .byte_pairs = byte_pairs, .n_ctx = CTX});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    test_file(byte_pairs ? "byte pairs" : "pieces", file, n);
    test_scenario((scenario){.name = "quantize", .run = quantize, .least = 8, .file = file, .n_file = n});
    free(file), make_free(&g);
}

static void test_tiny(void) {
    size_t n = 0;
    uint8_t *file = (uint8_t *)data_read_path(tiny, &n);
    if (!CHECK(file, "%s is missing", tiny)) return;
    test_scenario((scenario){.name = "load tiny", .run = load, .least = 15, .file = file, .n_file = n});
    test_file("tiny", file, n);
    free(file);
}

int main(void) {
    test_loads();
    test_made(false);
    test_made(true);
    test_tiny();
    return check_report();
}
