/* The recipe "auto": files of the size that was asked for, that run, the better the larger they are; with
 * and without gradients; and what cannot be done is said. */
#include "check.h"
#include "counting_alloc.h"
#include "make_gguf.h"
#include "memory_job.h"

#include "model/model.h"
#include "run/session.h"

#include <math.h>

enum { N_IDS = 40 };

static const char text[] =
    "The owl sat in the tree and the cat went to the sea. A band of men then came to the inn at the end of "
    "the road, and the rain ran down the pane. What the hen ate that day no one can tell. ";

/* A text of many windows. */
static char *long_text(size_t *n) {
    enum { TIMES = 24 };
    char *out = malloc(TIMES * sizeof text);
    *n = TIMES * (sizeof text - 1);
    for (size_t i = 0; i < TIMES; i++) memcpy(out + i * (sizeof text - 1), text, sizeof text - 1);
    for (size_t i = 7; i < *n; i += 11) out[i] = (char)('a' + (i * i) % 26); // no two alike
    return out;
}

static nut_status compress(memory_job *m, const uint8_t *file, size_t n_file, const nut_compress_options *o,
                           nut_error *err) {
    nut_job *job;
    *m = (memory_job){.file = {file}, .n_bytes = {n_file}};
    const nut_status status = nut_compress_begin(o, &job, err);
    return status == NUT_OK ? memory_job_run(m, job, err) : status;
}

/* ---- results ---- */

/* Logits behind each of some tokens, (N_IDS, n_vocab); free() them. NULL: the file does not run. */
static float *logits_of(const uint8_t *file, size_t n_file, uint32_t *n_vocab) {
    nut_model *m = NULL;
    nut_session *s;
    nut_error err = {0};
    int32_t ids[N_IDS];
    const nut_session_options so = {.n_ctx = 64, .n_batch = N_IDS, .n_logits = N_IDS};
    nut_load_options lo = nut_load_defaults();
    lo.reference = true; // so that nothing but the weights differs
    if (!CHECK(make_load(file, n_file, 0, &lo, &m, &err) == NUT_OK, "%s", err.message)) return NULL;
    *n_vocab = nut_model_n_vocab(m);
    float *logits = malloc(N_IDS * *n_vocab * sizeof *logits);
    for (int i = 0; i < N_IDS; i++) ids[i] = 3 + i * 7 % 200;
    nut_session_new(m, &so, &s, NULL);
    CHECK(nut_session_eval(s, ids, N_IDS, N_IDS, &err) == NUT_OK, "%s", err.message);
    for (size_t i = 0; i < N_IDS; i++)
        memcpy(logits + i * *n_vocab, nut_session_logits(s, i), *n_vocab * sizeof *logits);
    nut_session_free(s);
    nut_model_free(m);
    return logits;
}

/* Mean squared difference of the logits of two files. */
static double distance(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b) {
    uint32_t n_vocab = 0;
    float *x = logits_of(a, n_a, &n_vocab), *y = logits_of(b, n_b, &n_vocab);
    double sum = 0;
    for (size_t i = 0; x && y && i < N_IDS * n_vocab; i++) sum += pow((double)(x[i] - y[i]), 2);
    free(x), free(y);
    return sum / ((double)N_IDS * (double)n_vocab);
}

/* Sizes between 6 and 10 bits a weight, of which tokens and names take a part. */
static void check_sizes(const make_options *o, bool fast, const char *note) {
    make_gguf g = make_model(o);
    size_t n_file, n_text;
    uint8_t *file = make_file(&g, &n_file);
    char *words = long_text(&n_text);
    double before = INFINITY;
    for (size_t part = 3; part <= 5; part++) {
        memory_job m;
        nut_error err = {0};
        const nut_compress_options co = {
            .size = n_file * part / 16, .text = words, .n_text = n_text, .n_threads = 2, .fast = fast};
        const nut_status status = compress(&m, file, n_file, &co, &err);
        if (!CHECK(status == NUT_OK && m.done && !m.n_wrong, "%zu/16: %s", part, err.message)) continue;
        CHECK(m.n_out <= co.size && m.n_out >= co.size * 97 / 100, "%zu bytes of %zu", m.n_out,
              (size_t)co.size);
        CHECK(!note == !strstr(m.notes, "gradients") && (!note || strstr(m.notes, note)), "notes: %s",
              m.notes);
        const double now = distance(file, n_file, m.out, m.n_out);
        CHECK(now < 0.7 * before, "%zu/16 of the file: %g off, %g before", part, now, before);
        before = now;
        free(m.out);
    }
    free(words), free(file);
    make_free(&g);
}

/* ---- failures ---- */

static void test_failures(void) {
    make_gguf g = make_model(&(make_options){.n_embd = 96});
    size_t n, n_text;
    uint8_t *file = make_file(&g, &n);
    char *words = long_text(&n_text);
    memory_job m;
    nut_error err = {0};
    const nut_compress_options good = {.size = n / 3, .text = words, .n_text = n_text};
    nut_compress_options o = good;
    o = good, o.type = "q8_0";
    CHECK(compress(&m, file, n, &o, &err) == NUT_E_ARGUMENT && strstr(err.message, "not both"), "%s",
          err.message);
    o = good, o.n_text = 20;
    CHECK(compress(&m, file, n, &o, &err) == NUT_E_ARGUMENT && strstr(err.message, "longer"), "%s",
          err.message);
    free(m.out);
    o = good, o.size = 1000;
    CHECK(compress(&m, file, n, &o, &err) == NUT_E_ARGUMENT && strstr(err.message, "at least"), "%s",
          err.message);
    CHECK(!m.n_out, "%zu bytes were written", m.n_out);
    o = good, o.size = 10 * n;
    CHECK(compress(&m, file, n, &o, &err) == NUT_OK && m.n_out < n, "more than enough: %s", err.message);
    free(m.out);
    CHECK(compress(&m, file, n - 100, &good, &err) != NUT_OK, "a file that ends early");
    free(m.out);
    for (size_t k = 1; k < 4000; k += 1 + k / 8) {
        counting_start(k);
        const nut_status status = compress(&m, file, n, &good, &err);
        CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
        CHECK(status == NUT_OK || status == NUT_E_MEMORY, "allocation %zu: %s", k, err.message);
        counting_stop();
        free(m.out);
    }
    free(words), free(file);
    make_free(&g);
}

int main(void) {
    check_sizes(&(make_options){.n_embd = 128, .n_ff = 256}, false, NULL);
    check_sizes(&(make_options){.n_embd = 128, .n_ff = 256, .untied = true, .arch = "qwen2"}, true, NULL);
    test_failures();
    return check_report();
}
