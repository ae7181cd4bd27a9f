/*
 * Models of which not all weights are in memory: the bits of the whole model, in every family and at every
 * limit, with reads that fail, in files that change; what is read, and what is kept. Which expert goes is
 * compared with the least recently used one of a list, and with Belady's choice by what comes next.
 */
#include "check.h"
#include "counting_alloc.h"
#include "make_coded.h"
#include "make_family.h"
#include "make_parts.h"

#include "nutshell_dynamic.h"
#include "nutshell_store.h"
#include "run/slots.h"

enum { N_IDS = 23, CTX = 64 };
static int32_t ids[N_IDS];

/* ---- a source in memory ---- */

typedef struct memory_store {
    uint8_t *file[MAKE_MAX_PARTS];
    size_t n_bytes[MAKE_MAX_PARTS];
    size_t n_reads, fail_at; // the read, from 1, that fails; 0: none
    bool for_good;           // and all that follow it
    bool silent;             // without a message
    size_t n_closed;
} memory_store;

static nut_status store_open(void *ctx, uint32_t split, uint32_t n_splits, uint64_t *size, nut_error *err) {
    const memory_store *s = ctx;
    (void)err;
    CHECK(split == 0 || split < n_splits, "split %u of %u", split, n_splits);
    *size = s->n_bytes[split];
    return NUT_OK;
}

static nut_status store_read(void *ctx, uint32_t split, uint64_t offset, void *to, size_t n,
                             nut_error *err) {
    memory_store *s = ctx;
    const size_t i = ++s->n_reads;
    if (s->fail_at && (i == s->fail_at || (s->for_good && i > s->fail_at))) {
        if (!s->silent) *err = (nut_error){NUT_E_IO, "the disk is gone"};
        return NUT_E_IO;
    }
    if (CHECK(offset <= s->n_bytes[split] && n <= s->n_bytes[split] - offset, "a read beyond the end"))
        memcpy(to, s->file[split] + offset, n);
    return NUT_OK;
}

static void store_close(void *ctx) {
    ((memory_store *)ctx)->n_closed++;
}

static nut_status load_stored(memory_store *s, uint64_t limit, nut_model **out, nut_error *err) {
    const nut_load_options o = nut_load_defaults();
    const nut_store source = {s, store_open, store_read, store_close, limit};
    *out = NULL;
    return nut_load_stored(&o, &source, out, err);
}

/* The least limit, which the refusal of a smaller one says. */
static uint64_t least_limit(memory_store *s) {
    nut_model *m;
    nut_error err = {NUT_OK, ""};
    CHECK(load_stored(s, 1, &m, &err) == NUT_E_TOO_LARGE, "a limit of one byte: \"%s\"", err.message);
    const char *say = strstr(err.message, "give a limit of ");
    return say ? strtoull(say + strlen("give a limit of "), NULL, 10) : 0;
}

static memory_store store_of(make_gguf *g) {
    memory_store s = {0};
    s.file[0] = make_file(g, &s.n_bytes[0]);
    return s;
}

/* ---- results ---- */

static nut_session *open_session(const nut_model *m, uint32_t n_threads, uint32_t n_batch) {
    const nut_session_options o = {
        .n_ctx = CTX, .n_threads = n_threads, .n_batch = n_batch, .n_logits = 1, .lookup = 3};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    return s;
}

/* Numbers of a result. */
static size_t result_size(const nut_model *m) {
    return m->hp.causal ? m->hp.n_vocab : N_IDS * (size_t)m->hp.n_embd;
}

/* The logits behind the ids, or the rows of a model that has none. A failed call is made again. Returns how
 * often that was. */
static size_t result_of(nut_session *s, float *out) {
    const nut_model *m = s->seq.ws->model;
    nut_error err = {NUT_OK, ""};
    size_t n_failed = 0;
    while (!m->hp.causal && nut_session_embed(s, ids, N_IDS, out, NULL, &err) != NUT_OK)
        if (!CHECK(err.code == NUT_E_IO && ++n_failed < 9, "%s", err.message)) return n_failed;
    while (m->hp.causal && nut_session_n_past(s) < N_IDS) {
        const uint32_t at = nut_session_n_past(s), left = N_IDS - at, some = left < 6 ? left : 6;
        if (nut_session_eval(s, ids + at, some, 1, &err) == NUT_OK) continue;
        CHECK(nut_session_n_past(s) == at, "a failed step has read %u", nut_session_n_past(s) - at);
        if (!CHECK(err.code == NUT_E_IO && ++n_failed < 9, "%s", err.message)) return n_failed;
    }
    if (m->hp.causal) memcpy(out, nut_session_logits(s, 0), m->hp.n_vocab * sizeof *out);
    return n_failed;
}

/* The result of the whole model; free(). */
static float *whole_result(const memory_store *s, const char *name) {
    nut_model *m = NULL;
    nut_error err = {NUT_OK, ""};
    if (!CHECK(make_load(s->file[0], s->n_bytes[0], 0, NULL, &m, &err) == NUT_OK, "%s: %s", name,
               err.message))
        return NULL;
    float *out = calloc(result_size(m), sizeof *out);
    nut_session *session = open_session(m, 1, 32);
    result_of(session, out);
    nut_session_free(session);
    nut_model_free(m);
    return out;
}

/* Whether a stored model gives the same. */
static bool same_result(const nut_model *m, const float *want, uint32_t n_threads, uint32_t n_batch) {
    float *got = calloc(result_size(m), sizeof *got);
    nut_session *session = open_session(m, n_threads, m->hp.causal ? n_batch : N_IDS);
    result_of(session, got);
    const bool same = !memcmp(got, want, result_size(m) * sizeof *got);
    nut_session_free(session);
    free(got);
    return same;
}

/* ---- every family ---- */

static void check_limit(memory_store *s, const char *name, uint64_t limit, const float *want) {
    nut_model *m;
    nut_error err = {NUT_OK, ""};
    nut_store_figures f;
    if (!CHECK(load_stored(s, limit, &m, &err) == NUT_OK, "%s, %llu bytes: %s", name,
               (unsigned long long)limit, err.message))
        return;
    CHECK(same_result(m, want, 1, 32) && same_result(m, want, 2, 32) && same_result(m, want, 2, 1),
          "%s, %llu bytes: another result", name, (unsigned long long)limit);
    CHECK(nut_model_store_figures(m, &f) && (!limit || f.weight_bytes <= limit), "%s: %llu of %llu bytes",
          name, (unsigned long long)f.weight_bytes, (unsigned long long)limit);
    CHECK(limit || (f.layer_misses == 0 && f.n_layers_kept == f.n_layers &&
                    f.n_experts_kept == f.n_experts && f.expert_misses <= f.n_experts),
          "%s: without a limit something was read again", name);
    nut_model_free(m);
}

static void check_limits(memory_store *s, const char *name) {
    float *want = whole_result(s, name);
    const uint64_t least = least_limit(s);
    nut_model *m;
    if (!want) return;
    CHECK(load_stored(s, least - 1, &m, NULL) == NUT_E_TOO_LARGE, "%s: less than the least", name);
    check_limit(s, name, least, want);
    check_limit(s, name, least + least / 4, want);
    check_limit(s, name, least + least, want);
    check_limit(s, name, 0, want);
    free(want);
}

static void test_families(void) {
    for (const char *at = arch_names(), *end; *at; at = *end ? end + 2 : end) {
        end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
        const arch *a = arch_find((gguf_str){at, (uint64_t)(end - at)});
        make_gguf g = make_family(a, &family_odd);
        memory_store s = store_of(&g);
        check_limits(&s, a->name);
        free(s.file[0]);
        make_free(&g);
    }
}

/* ---- formats, splits ---- */

static void test_formats(void) {
    static const format_id formats[] = {FORMAT_Q8_0, FORMAT_Q4_1, FORMAT_Q4_K, FORMAT_F16};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        make_gguf g = make_model(&(make_options){
            .matrices = formats[i], .n_layer = 4, .n_embd = 256, .n_ff = 512, .untied = i % 2});
        memory_store s = store_of(&g);
        check_limits(&s, format_table[formats[i]].name);
        free(s.file[0]);
        make_free(&g);
    }
    make_gguf g = make_model(&(make_options){.n_layer = 3, .seed = 5});
    make_coded(&g, 5, false);
    memory_store s = store_of(&g);
    check_limits(&s, "coded");
    free(s.file[0]);
    make_free(&g);
}

static void test_splits(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0, .n_layer = 4});
    memory_store whole = store_of(&g), s = {0};
    float *want = whole_result(&whole, "splits");
    make_parts p = make_split(&g, 3, true);
    make_part_files(&p);
    for (size_t i = 0; i < p.n; i++) s.file[i] = p.file[i], s.n_bytes[i] = p.n_bytes[i];
    check_limit(&s, "splits", least_limit(&s), want);
    s.n_bytes[2] -= 40;
    nut_model *m;
    nut_error err = {NUT_OK, ""};
    CHECK(load_stored(&s, 0, &m, &err) == NUT_E_TRUNCATED && s.n_closed == 3, "a split is cut off: %s, %zu",
          err.message, s.n_closed);
    make_parts_free(&p);
    make_free(&g);
    free(whole.file[0]), free(want);
}

/* ---- reads that fail ---- */

static const char *const faulty[] = {"llama", "olmoe", "mamba", "rwkv7", "gemma3n", "deepseek2", "bert"};

static void check_fault(memory_store *s, const char *name, const nut_model *m, size_t k, bool for_good,
                        const float *want) {
    float *got = calloc(result_size(m), sizeof *got);
    nut_session *session = open_session(m, 1, 6);
    if (!m->hp.causal) nut_session_free(session), session = open_session(m, 1, N_IDS);
    s->n_reads = 0, s->fail_at = k, s->for_good = for_good;
    if (for_good) {
        nut_error err = {NUT_OK, ""};
        while (nut_session_n_past(session) < N_IDS && err.code == NUT_OK)
            nut_session_eval(session, ids + nut_session_n_past(session), 1, 1, &err);
        CHECK(err.code == NUT_E_IO && err.message[0], "%s: \"%s\"", name, err.message);
        s->fail_at = 0;
    }
    const size_t n_failed = result_of(session, got);
    CHECK(n_failed == (s->fail_at > 0), "%s: %zu calls fail by read %zu", name, n_failed, k);
    CHECK(!memcmp(got, want, result_size(m) * sizeof *got), "%s: another result after read %zu failed", name,
          k);
    s->fail_at = 0, s->for_good = false;
    nut_session_free(session);
    free(got);
}

static void test_faults(void) {
    for (size_t i = 0; i < sizeof faulty / sizeof *faulty; i++) {
        make_gguf g = make_family(arch_find((gguf_str){faulty[i], strlen(faulty[i])}), &family_odd);
        memory_store s = store_of(&g);
        nut_model *m;
        nut_error err = {NUT_OK, ""};
        float *want = whole_result(&s, faulty[i]);
        if (CHECK(load_stored(&s, least_limit(&s), &m, &err) == NUT_OK, "%s", err.message)) {
            s.n_reads = 0;
            same_result(m, want, 1, 6);
            const size_t n_reads = s.n_reads;
            for (size_t k = 1; k <= n_reads; k += 5) check_fault(&s, faulty[i], m, k, false, want);
            s.silent = true;
            if (m->hp.causal) check_fault(&s, faulty[i], m, n_reads / 2, true, want);
        }
        nut_model_free(m);
        free(s.file[0]), free(want);
        make_free(&g);
    }
}

/* The tokens of a generation, of which steps may fail, and go on. */
static size_t generate(nut_session *s, int32_t *out, size_t *n_failed) {
    nut_generate_options o = nut_generate_defaults();
    nut_error err = {NUT_OK, ""};
    nut_step step = {.kind = NUT_STEP_PREFILL};
    size_t n = 0;
    o.max_tokens = 20, o.ignore_eos = true, o.seed = 3, o.lookup = 3;
    CHECK(nut_generate_begin(s, ids, N_IDS, &o, &err) == NUT_OK, "%s", err.message);
    while (step.kind != NUT_STEP_DONE) {
        if (nut_generate_step(s, &step, &err) != NUT_OK) {
            step.kind = NUT_STEP_PREFILL;
            if (!CHECK(err.code == NUT_E_IO && ++*n_failed < 9, "%s", err.message)) break;
        } else if (step.kind == NUT_STEP_TOKEN) {
            out[n++] = step.token;
        }
    }
    return n;
}

static void test_generation(const char *name) {
    make_gguf g = make_family(arch_find((gguf_str){name, strlen(name)}), &family_odd);
    memory_store s = store_of(&g);
    nut_model *m;
    int32_t want[20], got[20];
    size_t n_failed = 0;
    CHECK(load_stored(&s, least_limit(&s), &m, NULL) == NUT_OK, "%s", name);
    nut_session *session = open_session(m, 1, 8);
    const size_t n = generate(session, want, &n_failed);
    CHECK(n == 20 && n_failed == 0, "%s: %zu tokens", name, n);
    const size_t n_reads = s.n_reads;
    for (size_t k = 2; k < n_reads; k += n_reads / 11) {
        n_failed = 0;
        nut_session_truncate(session, 0, NULL);
        s.n_reads = 0, s.fail_at = k;
        CHECK(generate(session, got, &n_failed) == n && !memcmp(got, want, sizeof want),
              "%s: another text after read %zu failed", name, k);
        s.fail_at = 0;
    }
    CHECK(n_failed <= 1, "%zu steps failed", n_failed);
    nut_session_free(session);
    nut_model_free(m);
    free(s.file[0]);
    make_free(&g);
}

static void exit_early(nut_session *s) {
    const nut_exit_options o = {.rule = NUT_EXIT_MARGIN, .threshold = 0.05f, .first = 1, .every = 1};
    CHECK(nut_session_exit(s, &o, NULL) == NUT_OK, "an early exit");
}

static void run_fewer_experts(nut_session *s) {
    const nut_experts_options o = {.most = 1};
    CHECK(nut_workspace_experts(nut_session_workspace(s), &o, NULL) == NUT_OK, "fewer experts");
}

static void draft_without_layer(nut_session *s) {
    CHECK(nut_session_draft_without(s, &(uint32_t){1}, 1, NULL) == NUT_OK, "a draft without a layer");
}

/* With an option of the session, the text of the whole model, whatever fails. */
static void test_shortcut(const char *name, void (*set)(nut_session *s)) {
    make_gguf g = make_family(arch_find((gguf_str){name, strlen(name)}), &family_odd);
    memory_store s = store_of(&g);
    nut_model *whole, *m;
    int32_t want[20], got[20];
    size_t n_failed = 0, n_all = 0;
    CHECK(make_load(s.file[0], s.n_bytes[0], 0, NULL, &whole, NULL) == NUT_OK, "%s", name);
    CHECK(load_stored(&s, least_limit(&s), &m, NULL) == NUT_OK, "%s", name);
    nut_session *a = open_session(whole, 1, 8), *b = open_session(m, 1, 8);
    set(a), set(b);
    const size_t n = generate(a, want, &n_failed);
    for (size_t k = 0; k < 40; k += 3) {
        nut_session_truncate(b, 0, NULL);
        n_failed = s.n_reads = 0, s.fail_at = k;
        CHECK(generate(b, got, &n_failed) == n && !memcmp(got, want, n * sizeof *want),
              "%s: another text after read %zu failed", name, k);
        n_all += n_failed;
    }
    CHECK(n == 20 && n_all > 3, "%s: %zu tokens, %zu failures", name, n, n_all);
    nut_session_free(a), nut_session_free(b);
    nut_model_free(whole), nut_model_free(m);
    free(s.file[0]);
    make_free(&g);
}

/* A step of two sessions that fails leaves both as they were. */
static void test_two_sessions(const char *name) {
    make_gguf g = make_family(arch_find((gguf_str){name, strlen(name)}), &family_odd);
    memory_store s = store_of(&g);
    nut_model *m;
    CHECK(load_stored(&s, least_limit(&s), &m, NULL) == NUT_OK, "%s", name);
    nut_session *a = open_session(m, 2, 8), *b;
    nut_session_eval(a, ids, 4, 1, NULL);
    CHECK(nut_session_fork(a, &b, NULL) == NUT_OK, "%s: fork", name);
    const nut_row rows[] = {{a, ids[4], false}, {a, ids[5], true}, {b, ids[6], false}};
    float *want = malloc(m->hp.n_vocab * sizeof *want);
    nut_session *whole = open_session(m, 1, 8);
    nut_session_eval(whole, ids, 6, 1, NULL);
    memcpy(want, nut_session_logits(whole, 0), m->hp.n_vocab * sizeof *want);
    s.n_reads = 0, s.fail_at = 2;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_workspace_eval(nut_session_workspace(a), rows, 3, &err) == NUT_E_IO, "%s: no failure", name);
    CHECK(nut_session_n_past(a) == 4 && nut_session_n_past(b) == 4, "%s: %u and %u positions", name,
          nut_session_n_past(a), nut_session_n_past(b));
    CHECK(nut_workspace_eval(nut_session_workspace(a), rows, 3, &err) == NUT_OK, "%s: %s", name,
          err.message);
    CHECK(!memcmp(want, nut_workspace_logits(nut_session_workspace(a), 0), m->hp.n_vocab * sizeof *want),
          "%s: other logits after a step that failed", name);
    nut_session_free(whole), nut_session_free(a), nut_session_free(b);
    nut_model_free(m);
    free(want), free(s.file[0]);
    make_free(&g);
}

/* ---- files that change, and what is refused ---- */

static void check_changed(const char *name, const char *tensor) {
    make_gguf g = make_family(arch_find((gguf_str){name, strlen(name)}), &family_odd);
    memory_store s = store_of(&g);
    nut_model *m;
    nut_error err = {NUT_OK, ""};
    CHECK(load_stored(&s, least_limit(&s), &m, NULL) == NUT_OK, "%s", name);
    uint64_t at = 0;
    for (uint64_t i = 0; i < m->header.n_tensors; i++)
        if (gguf_str_is(m->header.tensors[i].name, tensor)) at = m->header.tensors[i].offset;
    CHECK(at, "%s has no %s", name, tensor);
    nut_session *session = open_session(m, 1, N_IDS);
    CHECK(nut_session_eval(session, ids, N_IDS, 1, &err) == NUT_OK, "%s", err.message);
    s.file[0][at] ^= 1;
    nut_session_truncate(session, 0, NULL);
    CHECK(nut_session_eval(session, ids, N_IDS, 1, &err) == NUT_E_IO && strstr(err.message, "has changed"),
          "%s: a change is not seen: %s", name, err.message);
    s.file[0][at] ^= 1;
    CHECK(nut_session_eval(session, ids, N_IDS, 1, &err) == NUT_OK, "%s: %s", name, err.message);
    nut_session_free(session);
    nut_model_free(m);
    free(s.file[0]);
    make_free(&g);
}

static void test_refusals(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0});
    memory_store s = store_of(&g);
    const size_t n = s.n_bytes[0];
    const nut_store source = {&s, store_open, store_read, store_close, 0};
    nut_load_options o = nut_load_defaults();
    nut_model *m;
    nut_error err = {NUT_OK, ""};
    o.header_only = true;
    CHECK(nut_load_stored(&o, &source, &m, &err) == NUT_E_ARGUMENT && s.n_closed == 1, "header_only");
    s.n_bytes[0] = n - 1;
    CHECK(load_stored(&s, 0, &m, &err) == NUT_E_TRUNCATED && s.n_closed == 2, "cut off: %s", err.message);
    s.n_bytes[0] = 5;
    CHECK(load_stored(&s, 0, &m, &err) == NUT_E_TRUNCATED && s.n_closed == 3, "five bytes: %s", err.message);
    s.n_bytes[0] = n;
    for (size_t k = 1; k < 8; k++) {
        s.n_reads = 0, s.fail_at = k;
        CHECK(load_stored(&s, 0, &m, &err) == NUT_E_IO && s.n_closed == 3 + k && !m, "read %zu fails", k);
    }
    s.fail_at = 0;
    memset(s.file[0] + n / 2, 0xff, n / 2); // scales that are no numbers
    CHECK(load_stored(&s, 0, &m, &err) == NUT_E_CORRUPT && s.n_closed == 11, "damaged: %s", err.message);
    free(s.file[0]);
    make_free(&g);
}

/* ---- memory ---- */

static void test_memory(void) {
    make_gguf g = make_family(arch_find((gguf_str){"olmoe", 5}), &family_odd);
    memory_store s = store_of(&g);
    const uint64_t limit = least_limit(&s);
    nut_model *m = NULL;
    nut_error err = {NUT_OK, ""};
    size_t k = 0, n_failed = 1, n_errors = 0;
    while (n_failed && ++k < 200) {
        counting_start(k);
        const nut_status status = load_stored(&s, limit, &m, &err);
        n_failed = counting.n_failed;
        CHECK(status == NUT_OK || (n_failed && status == NUT_E_MEMORY), "allocation %zu fails: %s", k,
              err.message);
        n_errors += status != NUT_OK;
        counting.fail_at = 0;
        if (status == NUT_OK) {
            nut_session *session = open_session(m, 1, 8);
            const size_t n = counting.n;
            CHECK(nut_session_eval(session, ids, N_IDS, 1, &err) == NUT_OK, "%s", err.message);
            CHECK(counting.n == n, "%zu allocations in steps", counting.n - n);
            nut_session_free(session);
        }
        nut_model_free(m);
        CHECK(counting.alive == 0, "allocation %zu fails: %zu blocks are left", k, counting.alive);
        counting_stop();
    }
    CHECK(n_errors > 8 && !n_failed && s.n_closed == k + 1, "%zu allocations, closed %zu times", k,
          s.n_closed);
    free(s.file[0]);
    make_free(&g);
}

/* ---- figures ---- */

/* Four layers of one size of which two stay: each step reads the other two. */
static void test_figures(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0, .n_layer = 4});
    memory_store s = store_of(&g);
    nut_model *m;
    nut_store_figures f;
    CHECK(load_stored(&s, least_limit(&s), &m, NULL) == NUT_OK && nut_model_store_figures(m, &f), "load");
    uint64_t layer_bytes = 0;
    for (uint64_t i = 0; i < m->header.n_tensors; i++)
        if (!memcmp(m->header.tensors[i].name.s, "blk.1.", 6)) layer_bytes += m->header.tensors[i].n_bytes;
    const uint64_t least = f.weight_bytes, layer = m->weights.size;
    CHECK(f.n_layers == 4 && f.n_layers_kept == 0 && f.bytes_read == 0, "%u layers stay", f.n_layers_kept);
    nut_model_free(m);
    CHECK(load_stored(&s, 0, &m, NULL) == NUT_OK && nut_model_store_figures(m, &f), "load");
    const uint64_t each = (f.weight_bytes - layer) / 3;
    nut_model_free(m);
    CHECK(load_stored(&s, least + 2 * each, &m, NULL) == NUT_OK, "load");
    nut_session *session = open_session(m, 1, N_IDS);
    for (size_t i = 0; i < 5; i++) nut_session_eval(session, ids + i, 1, 1, NULL);
    nut_model_store_figures(m, &f);
    CHECK(f.n_layers_kept == 2 && f.layer_hits == 10 && f.layer_misses == 10 &&
              f.bytes_read == 10 * layer_bytes && f.n_experts == 0,
          "%u layers stay, %llu hits, %llu misses, %llu bytes", f.n_layers_kept,
          (unsigned long long)f.layer_hits, (unsigned long long)f.layer_misses,
          (unsigned long long)f.bytes_read);
    nut_session_eval(session, ids, 10, 1, NULL); // in one batch
    nut_model_store_figures(m, &f);
    CHECK(f.layer_misses == 12, "a batch of 10 tokens reads %llu layers",
          (unsigned long long)f.layer_misses - 10);
    nut_session_free(session);
    nut_model_free(m);
    CHECK(make_load(s.file[0], s.n_bytes[0], 0, NULL, &m, NULL) == NUT_OK && !nut_model_store_figures(m, &f),
          "a whole model has no store");
    nut_model_free(m);
    free(s.file[0]);
    make_free(&g);
}

/* ---- which expert goes ---- */

enum { LAYERS = 4, EXPERTS = 8, MOST_SLOTS = 16, ASKS = 400 };

typedef struct slot_case {
    slots s;
    expert_slot slot[MOST_SLOTS];
    uint32_t at[LAYERS * EXPERTS];
    uint64_t visits[LAYERS];
} slot_case;

static slots *begin_slots(slot_case *c, uint32_t n_layer, uint32_t n, uint32_t n_together) {
    *c = (slot_case){.s = {.n_layer = n_layer, .n_expert = EXPERTS, .n_together = n_together, .n = n}};
    c->s.slots = c->slot, c->s.at = c->at, c->s.visits = c->visits;
    return &c->s;
}

/* Whether it is there; afterwards it is. */
static bool ask(slots *s, uint32_t layer, uint32_t expert) {
    if (slots_find(s, layer, expert) != SLOTS_NONE) return true;
    slots_give(s, layer, expert);
    return false;
}

/* Keys by the time of their last use, as a list: the least recently used one goes. */
static bool ask_list(uint32_t *list, size_t *n, size_t most, uint32_t key) {
    size_t i = 0;
    while (i < *n && list[i] != key) i++;
    const bool found = i < *n;
    if (!found && *n < most) i = (*n)++;
    if (!found && i == most) i = most - 1;
    memmove(list + 1, list, i * sizeof *list);
    list[0] = key;
    return found;
}

static void test_least_recent(void) {
    for (uint32_t n = 1; n < 7; n++) {
        slot_case c;
        slots *s = begin_slots(&c, 1, n, 1);
        uint32_t list[MOST_SLOTS];
        size_t n_list = 0, n_same = 0;
        rng r;
        rng_seed(&r, n);
        for (size_t i = 0; i < ASKS; i++) {
            const uint32_t expert = (uint32_t)(rng_f64(&r) * rng_f64(&r) * (double)EXPERTS);
            slots_choose(s, 0, &expert, 1);
            n_same += ask(s, 0, expert) == ask_list(list, &n_list, n, expert);
        }
        CHECK(n_same == ASKS, "%u slots: %zu of %d times as in a list", n, n_same, ASKS);
    }
}

/* Misses of what knows the future: the one goes that is needed last. */
static size_t best_misses(const uint32_t *keys, size_t n_keys, size_t n) {
    uint32_t held[MOST_SLOTS];
    size_t n_held = 0, misses = 0;
    for (size_t i = 0; i < n_keys; i++) {
        size_t at = 0, best = 0, far = 0;
        while (at < n_held && held[at] != keys[i]) at++;
        if (at < n_held) continue;
        misses++;
        for (size_t k = 0; k < n_held; k++) {
            size_t next = i + 1;
            while (next < n_keys && keys[next] != held[k]) next++;
            if (next > far) far = next, best = k;
        }
        held[n_held < n ? n_held++ : best] = keys[i];
    }
    return misses;
}

/* Each step uses the same experts of all layers: more than there is room for. */
static void test_circle(void) {
    enum { EACH = 3, ROUNDS = 10 };
    static const uint32_t chosen[] = {1, 4, 6};
    for (uint32_t n = 2; n <= MOST_SLOTS && n < LAYERS * EACH; n++) {
        slot_case c;
        slots *s = begin_slots(&c, LAYERS, n, 1);
        uint32_t keys[ROUNDS * LAYERS * EACH];
        size_t n_keys = 0, misses = 0;
        for (uint32_t i = 0; i < ROUNDS * LAYERS; i++) {
            slots_choose(s, i % LAYERS, chosen, EACH);
            for (size_t k = 0; k < EACH; k++) {
                keys[n_keys++] = i % LAYERS * EXPERTS + chosen[k];
                misses += !ask(s, i % LAYERS, chosen[k]);
            }
        }
        const size_t best = best_misses(keys, n_keys, n);
        CHECK(misses == best, "%u slots: %zu misses, at best %zu", n, misses, best);
    }
}

/* Those of one token stay together, though others were used as lately. */
static void test_together(void) {
    static const uint32_t chosen[] = {5, 2, 7};
    slot_case c;
    slots *s = begin_slots(&c, 2, 3, 3);
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t at[3];
        slots_choose(s, i % 2, chosen, 3);
        for (size_t k = 0; k < 3; k++) ask(s, i % 2, chosen[k]);
        for (size_t k = 0; k < 3; k++) at[k] = s->at[i % 2 * EXPERTS + chosen[k]];
        CHECK(at[0] && at[1] && at[2], "visit %u: one of three is gone", i);
    }
    slots_drop(s, 0);
    CHECK(!s->slots[0].full && slots_give(s, 0, 3) == 0, "an empty slot is taken first");
}

int main(void) {
    for (int32_t i = 0; i < N_IDS; i++) ids[i] = 3 + i * 37 % 250;
    test_least_recent();
    test_circle();
    test_together();
    test_families();
    test_formats();
    test_splits();
    test_faults();
    test_generation("llama"), test_generation("olmoe"), test_generation("rwkv7");
    test_shortcut("llama", exit_early), test_shortcut("olmoe", exit_early);
    test_shortcut("olmoe", run_fewer_experts), test_shortcut("llama", draft_without_layer);
    test_two_sessions("llama"), test_two_sessions("olmoe"), test_two_sessions("mamba");
    check_changed("llama", "blk.1.attn_output.weight");
    check_changed("olmoe", "blk.1.ffn_up_exps.weight");
    test_refusals();
    test_memory();
    test_figures();
    return check_report();
}
