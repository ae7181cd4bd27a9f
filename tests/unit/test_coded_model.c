/*
 * Models with coded tensors: weights, logits, layers, memory that fails, files that are wrong, and the job
 * that writes them. Logits are compared with those of the same model as floats, whose weights are the coded
 * integers times their scales.
 */
#include "check.h"
#include "counting_alloc.h"
#include "make_coded.h"
#include "memory_job.h"
#include "weights.h"

#include "run/layer_load.h"
#include "run/session.h"

enum { N = 21, N_LAYER = 3 };
static int32_t ids[N];

static make_options options_for(const char *family) {
    return (make_options){.arch = family, .n_layer = N_LAYER, .seed = 5, .untied = !strcmp(family, "qwen3")};
}

static nut_model *load(make_gguf *g, size_t step, bool reference, const char *kernel) {
    nut_load_options o = nut_load_defaults();
    nut_model *m = NULL;
    nut_error err = {NUT_OK, ""};
    size_t n;
    uint8_t *file = make_file(g, &n);
    o.reference = reference, o.kernel = kernel;
    o.n_threads = step % 4;
    CHECK(make_load(file, n, step, &o, &m, &err) == NUT_OK, "%s", err.message);
    free(file);
    return m;
}

/* The logits of all ids, (N, n_vocab); in one batch, or one by one. */
static float *logits_of(const nut_model *m, bool alone, uint32_t n_threads) {
    const nut_session_options so = {.n_ctx = 64, .n_threads = n_threads, .n_batch = N, .n_logits = N};
    const size_t n = nut_model_n_vocab(m);
    float *out = malloc(N * n * sizeof *out);
    nut_session *s;
    CHECK(nut_session_new(m, &so, &s, NULL) == NUT_OK, "session");
    if (!alone) CHECK(nut_session_eval(s, ids, N, N, NULL) == NUT_OK, "eval");
    for (size_t i = 0; i < N; i++) {
        if (alone) nut_session_eval(s, ids + i, 1, 1, NULL);
        memcpy(out + i * n, nut_session_logits(s, alone ? 0 : i), n * sizeof *out);
    }
    nut_session_free(s);
    return out;
}

/* Root of the mean squared difference, as a part of the deviation of a. */
static double difference(const float *a, const float *b, size_t n) {
    double sum = 0, squares = 0, diff = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i], squares += (double)a[i] * (double)a[i];
        diff += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    }
    return sqrt(diff / (squares - sum * sum / (double)n));
}

/* The floats of m's coded matrices to the tensors of g, which was made the same way and not coded. */
static void take_weights(make_gguf *g, const nut_model *m) {
    for (size_t i = 0; i < g->n_tensors; i++) {
        make_tensor *t = &g->tensors[i];
        if (t->n_dims != 2) continue;
        for (size_t r = 0; r < t->dims[1]; r++) {
            float *row = (float *)(void *)t->data.p + r * t->dims[0];
            CHECK(bound_row(m, t->name, t->dims, r, row), "%s is not bound", t->name);
        }
    }
}

/* What int8 activations cost a model of the same shape in Q8_0. */
static double int8_difference(const char *family) {
    make_options o = options_for(family);
    o.matrices = FORMAT_Q8_0;
    make_gguf g = make_model(&o);
    nut_model *fast = load(&g, 0, false, NULL), *exact = load(&g, 0, true, "ref");
    float *a = logits_of(exact, false, 1), *b = logits_of(fast, false, 1);
    const double d = difference(a, b, N * nut_model_n_vocab(exact));
    free(a), free(b);
    nut_model_free(fast), nut_model_free(exact);
    make_free(&g);
    return d;
}

static void check_logits(const char *family, float bits, bool all) {
    const make_options o = options_for(family);
    make_gguf packed = make_model(&o), floats = make_model(&o);
    make_coded(&packed, bits, all);
    nut_model *fast = load(&packed, 0, false, NULL), *exact = load(&packed, 0, true, "ref");
    take_weights(&floats, fast);
    nut_model *same = load(&floats, 0, true, "ref");
    float *want = logits_of(same, false, 1), *a = logits_of(exact, false, 1), *b = logits_of(fast, false, 1),
          *c = logits_of(fast, true, 2);
    const size_t n = N * nut_model_n_vocab(fast);
    CHECK(difference(want, a, n) < 1e-6, "%s, %g bits, as floats: %g", family, (double)bits,
          difference(want, a, n));
    CHECK(difference(want, b, n) < 2 * int8_difference(family), "%s, %g bits: %g, Q8_0 has %g", family,
          (double)bits, difference(want, b, n), int8_difference(family));
    CHECK(!memcmp(b, c, n * sizeof *b), "%s: other bits for tokens that come alone", family);
    free(want), free(a), free(b), free(c);
    nut_model_free(fast), nut_model_free(exact), nut_model_free(same);
    make_free(&packed), make_free(&floats);
}

/* The same bytes in memory whatever the file is cut into. */
static void test_steps(void) {
    static const size_t steps[] = {1, 7, 1002}; // with 1, 3 and 2 threads
    const make_options o = options_for("llama");
    make_gguf g = make_model(&o);
    make_coded(&g, 4, true);
    nut_model *whole = load(&g, 0, false, NULL);
    for (size_t i = 0; i < 3; i++) {
        nut_model *m = load(&g, steps[i], false, NULL);
        const matrix *a = bound_matrix(whole, "blk.1.ffn_down.weight"),
                     *b = bound_matrix(m, "blk.1.ffn_down.weight");
        CHECK(!memcmp(a->data, b->data, matrix_bytes(a)), "steps of %zu", steps[i]);
        CHECK(m->output.w.data == m->token_embd.data && m->output.w.coded == m->token_embd.coded, "tied");
        nut_model_free(m);
    }
    nut_model_free(whole);
    make_free(&g);
}

static void test_thread_counts(void) {
    nut_load_options o = nut_load_defaults();
    nut_loader *l;
    nut_error err = {NUT_OK, ""};
    o.n_threads = 65;
    CHECK(nut_load_begin(&o, 0, &l, &err) == NUT_E_ARGUMENT && strstr(err.message, "1 to 64"), "%s",
          err.message);
}

/* ---- layers ---- */

static void test_layers(void) {
    const make_options o = options_for("llama");
    make_gguf g = make_model(&o);
    size_t n;
    make_coded(&g, 5, true);
    nut_model *whole = load(&g, 0, false, NULL), *m = NULL;
    uint8_t *file = make_file(&g, &n);
    const nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    nut_error err = {NUT_OK, ""};
    nut_load_begin(&lo, n, &l, &err);
    load_headers_only(l);
    nut_load_feed(l, 0, file, n, &err);
    CHECK(nut_load_finish(l, &m, &err) == NUT_OK, "%s", err.message);
    for (int which = BIND_MODEL; which < N_LAYER; which++) {
        if (which == BIND_ALL) continue;
        const char *name = which < 0 ? "token_embd.weight" : "blk.2.attn_q.weight";
        layer_load layer;
        uint32_t split;
        uint64_t at, left;
        CHECK(layer_load_begin(m, which, &layer, &err) == NUT_OK, "%s", err.message);
        while (layer_load_wants(&layer, &split, &at, &left))
            if (!CHECK(layer_load_feed(&layer, file + at, left < 333 ? (size_t)left : 333, &err) == NUT_OK,
                       "%s", err.message))
                break;
        const matrix *a = bound_matrix(whole, name), *b = bound_matrix(m, name);
        if (which < 0 || which == 2)
            CHECK(!memcmp(a->data, b->data, matrix_bytes(a)) && b->coded, "%s differs", name);
        layer_load_free(&layer);
    }
    nut_model_free(whole), nut_model_free(m);
    free(file);
    make_free(&g);
}

/* ---- facts ---- */

static void test_info(void) {
    const make_options o = options_for("llama");
    make_gguf g = make_model(&o);
    char text[8000];
    size_t n;
    make_coded(&g, 4, true);
    nut_model *m = load(&g, 0, false, NULL);
    CHECK(nut_model_info(m, true, text, sizeof text, &n, NULL) == NUT_OK, "info");
    CHECK(strstr(text, "\"types\":{\"F32\":7,\"CODED_") && strstr(text, "\"type\":\"CODED_"), "%s", text);
    nut_model_free(m);
    make_free(&g);
}

/* ---- wrong files ---- */

typedef void change_fn(make_gguf *g);

static void drop_arrays(make_gguf *g) {
    g->n_kv -= 2; // the last two
    for (size_t i = 0; i + 20 < g->kv.n; i++)
        if (!memcmp(g->kv.p + i, "nutshell.coded.bytes", 20)) g->kv.n = i - 8;
}

/* Element i of the sizes becomes `to`. */
static void set_size(make_gguf *g, const char *key, size_t width, uint64_t i, uint64_t to) {
    for (size_t k = 0; k + strlen(key) < g->kv.n; k++)
        if (!memcmp(g->kv.p + k, key, strlen(key)))
            memcpy(g->kv.p + k + strlen(key) + 16 + i * width, &to, width);
}

static void no_bytes(make_gguf *g) {
    set_size(g, GGUF_CODED_BYTES, 8, 2, 0);
}
static void huge_bytes(make_gguf *g) {
    set_size(g, GGUF_CODED_BYTES, 8, 2, UINT64_MAX - 100);
}
static void few_bytes(make_gguf *g) {
    set_size(g, GGUF_CODED_BYTES, 8, 2, 28);
}
static void fewer_bytes(make_gguf *g) {
    const make_tensor *t = make_find(g, "blk.0.attn_k.weight");
    set_size(g, GGUF_CODED_BYTES, 8, 2, t->data.n - 64);
}
static void many_outliers(make_gguf *g) {
    set_size(g, GGUF_CODED_OUTLIERS, 4, 2, UINT32_MAX);
}
static void other_outliers(make_gguf *g) {
    set_size(g, GGUF_CODED_OUTLIERS, 4, 2, 1000);
}
static void other_type(make_gguf *g) {
    make_tensor *t = make_find(g, "blk.0.attn_k.weight");
    t->type = t->type == format_table[FORMAT_CODED_8].ggml_type ? format_table[FORMAT_CODED_4].ggml_type
                                                                : format_table[FORMAT_CODED_8].ggml_type;
}
static void other_rows(make_gguf *g) {
    make_tensor *a = make_find(g, "blk.0.attn_k.weight"), *b = make_find(g, "blk.0.attn_q.weight");
    const make_bytes swap = a->data;
    a->data = b->data, b->data = swap;
}
/* Which takes the size of the first matrix of its layer. */
static void coded_vector(make_gguf *g) {
    const make_tensor *q = make_find(g, "blk.0.attn_q.weight");
    make_tensor *norm = make_find(g, "blk.0.attn_norm.weight");
    norm->type = q->type;
    make_put(&norm->data, q->data.p, q->data.n);
    make_remove(g, "blk.0.attn_q.weight");
}
static void wrong_begin(make_gguf *g) {
    make_find(g, "blk.0.attn_k.weight")->data.p[0] = 'n';
}
static void wrong_head(make_gguf *g) {
    make_find(g, "blk.0.attn_k.weight")->data.p[40] ^= 4;
}
static void wrong_chunk(make_gguf *g) {
    const make_tensor *t = make_find(g, "blk.0.attn_k.weight");
    t->data.p[t->data.n - 3] ^= 4;
}

static void test_wrong(void) {
    static const struct {
        const char *what;
        change_fn *change;
    } list[] = {{"no sizes", drop_arrays},
                {"no bytes", no_bytes},
                {"impossibly many bytes", huge_bytes},
                {"no whole head", few_bytes},
                {"fewer bytes", fewer_bytes},
                {"more outliers than weights", many_outliers},
                {"other outliers", other_outliers},
                {"another type", other_type},
                {"data of another shape", other_rows},
                {"a vector", coded_vector},
                {"begins wrongly", wrong_begin},
                {"a damaged head", wrong_head},
                {"a damaged chunk", wrong_chunk}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (size_t step = 0; step < 200; step += 99) {
            const make_options o = options_for("llama");
            make_gguf g = make_model(&o);
            nut_model *m = NULL;
            nut_error err = {NUT_OK, ""};
            size_t n;
            make_coded(&g, 4, true);
            list[i].change(&g);
            uint8_t *file = make_file(&g, &n);
            counting_start(0);
            const nut_status status = make_load(file, n, step, NULL, &m, &err);
            CHECK(status == NUT_E_CORRUPT && err.message[0], "%s: %s \"%s\"", list[i].what,
                  nut_status_name(status), err.message);
            CHECK(counting.alive == 0, "%s: %zu blocks are left", list[i].what, counting.alive);
            counting_stop();
            free(file);
            make_free(&g);
        }
}

/* Each allocation of a load fails in turn. */
static void test_memory(void) {
    const make_options o = {.n_layer = 1};
    make_gguf g = make_model(&o);
    size_t n, failures = 0;
    make_coded(&g, 4, true);
    uint8_t *file = make_file(&g, &n);
    for (size_t k = 1; k < 1000; k++) {
        nut_model *m = NULL;
        nut_error err = {NUT_OK, ""};
        counting_start(k);
        const nut_status status = make_load(file, n, 777, NULL, &m, &err);
        const bool failed = counting.n_failed > 0;
        nut_model_free(m);
        CHECK(status == NUT_OK || (failed && status == NUT_E_MEMORY), "allocation %zu: %s", k, err.message);
        CHECK(counting.alive == 0, "allocation %zu: %zu blocks are left", k, counting.alive);
        counting_stop();
        if (!failed) break;
        failures++;
    }
    CHECK(failures > 30, "%zu allocations", failures);
    free(file);
    make_free(&g);
}

/* ---- the job ---- */

static nut_status code_model(memory_job *m, const char *type, nut_error *err) {
    nut_job *job;
    const nut_status status =
        nut_compress_begin(&(nut_compress_options){.method = "coded", .type = type}, &job, err);
    return status == NUT_OK ? memory_job_run(m, job, err) : status;
}

/* More bits are nearer to the model; half the error per bit. */
static void test_job(void) {
    static const char *const types[] = {"coded_4", "coded_5", "coded_6", "coded_8"};
    static const double most[] = {0.4, 0.2, 0.1, 0.03};
    const make_options o = options_for("llama");
    make_gguf g = make_model(&o);
    size_t n, last = 0;
    uint8_t *file = make_file(&g, &n);
    nut_model *model = load(&g, 0, true, "ref");
    float *want = logits_of(model, false, 1);
    for (size_t i = 0; i < 4; i++) {
        memory_job job = {.file = {file}, .n_bytes = {n}};
        nut_error err = {NUT_OK, ""};
        nut_model *m = NULL;
        CHECK(code_model(&job, types[i], &err) == NUT_OK && !job.n_wrong && job.done, "%s", err.message);
        if (!CHECK(make_load(job.out, job.n_out, 0, NULL, &m, &err) == NUT_OK, "%s", err.message)) continue;
        float *have = logits_of(m, false, 1);
        const double d = difference(want, have, N * nut_model_n_vocab(m));
        CHECK(d < most[i], "%s: %g", types[i], d);
        CHECK(job.n_out > last && job.n_out < n, "%s has %zu bytes of %zu", types[i], job.n_out, n);
        CHECK(format_is_coded(bound_matrix(m, "blk.0.ffn_up.weight")->format), "is coded");
        last = job.n_out;
        nut_model_free(m);
        free(have), free(job.out);
    }
    nut_model_free(model);
    free(want), free(file);
    make_free(&g);
}

/* Reads, writes and allocations that fail; sources that cannot be coded. */
static void test_job_failures(void) {
    enum { READ, WRITE, MEMORY };
    make_gguf g = make_model(&(make_options){.n_layer = 1});
    size_t n, failures[3] = {0};
    uint8_t *file = make_file(&g, &n);
    for (int kind = READ; kind <= MEMORY; kind++)
        for (size_t k = 1; k < 1000; k++) {
            memory_job m = {.file = {file}, .n_bytes = {n}};
            nut_error err = {NUT_OK, ""};
            if (kind == READ) m.fail_read = k;
            if (kind == WRITE) m.fail_write = k;
            counting_start(kind == MEMORY ? k : 0);
            const nut_status status = code_model(&m, "coded_4", &err);
            const bool failed = kind == MEMORY ? counting.n_failed > 0 : status != NUT_OK;
            CHECK(counting.alive == 0 && (status == NUT_OK || err.message[0]), "%d, %zu: %s", kind, k,
                  err.message);
            counting_stop();
            free(m.out);
            if (!failed) break;
            CHECK(status == NUT_OK || status == (kind == MEMORY ? NUT_E_MEMORY : NUT_E_IO), "%s",
                  nut_status_name(status));
            failures[kind] += status != NUT_OK;
        }
    CHECK(failures[READ] > 10 && failures[WRITE] > 10 && failures[MEMORY] > 20, "%zu, %zu, %zu", failures[0],
          failures[1], failures[2]);
    free(file);
    make_coded(&g, 4, true);
    file = make_file(&g, &n);
    memory_job m = {.file = {file}, .n_bytes = {n}};
    nut_error err = {NUT_OK, ""};
    CHECK(code_model(&m, "coded_4", &err) == NUT_E_UNSUPPORTED && strstr(err.message, "CODED_"), "%s",
          err.message);
    CHECK(code_model(&m, "q8_0", &err) == NUT_E_ARGUMENT && code_model(&m, NULL, &err) == NUT_E_ARGUMENT,
          "types");
    free(m.out), free(file);
    make_free(&g);
}

int main(void) {
    for (int i = 0; i < N; i++) ids[i] = 3 + i * 17 % 200;
    check_logits("llama", 4, true);
    check_logits("llama", 3, true);
    check_logits("qwen2", 5, false);
    check_logits("qwen3", 7, true);
    test_steps();
    test_thread_counts();
    test_layers();
    test_info();
    test_wrong();
    test_memory();
    test_job();
    test_job_failures();
    return check_report();
}
