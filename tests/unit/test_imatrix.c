/* Files of statistics: both forms of llama.cpp's (tools/imatrix/imatrix.cpp, save_imatrix and
 * save_imatrix_legacy), written here byte by byte; and what nut_calibrate_begin writes, read back and
 * compared with what the calibration gathers. tests/peers would show them to llama.cpp. */
#include "check.h"
#include "counting_alloc.h"
#include "make_gguf.h"
#include "memory_job.h"

#include "evaluate/calibrate.h"
#include "evaluate/imatrix.h"

#include <math.h>

static gguf_str str(const char *s) {
    return (gguf_str){s, strlen(s)};
}

/* ---- the older form ---- */

static void put_f32(make_bytes *b, float v) {
    make_le(b, half_f32_to_bits(v), 4);
}

static void put_dat_entry(make_bytes *b, const char *name, uint32_t n_calls, const float *values, size_t n) {
    make_le(b, strlen(name), 4);
    make_put(b, name, strlen(name));
    make_le(b, n_calls, 4);
    make_le(b, n, 4);
    for (size_t i = 0; i < n; i++) put_f32(b, values[i]);
}

static make_bytes make_dat(const char *second, float value) {
    make_bytes b = {0};
    const float up[] = {8, 0.5f, value}, down[] = {1, 2};
    make_le(&b, 2, 4);
    put_dat_entry(&b, "blk.0.ffn_up.weight", 4, up, 3);
    put_dat_entry(&b, second, 4, down, 2);
    make_le(&b, 4, 4);
    make_le(&b, 4, 4);
    make_put(&b, "text", 4);
    return b;
}

static void test_dat(void) {
    make_bytes b = make_dat("blk.0.ffn_down.weight", 6);
    imatrix im = {0};
    nut_error err = {NUT_OK, ""};
    CHECK(imatrix_read(&im, b.p, b.n, &err) == NUT_OK, "%s", err.message);
    const statistics *s = imatrix_find(&im, str("blk.0.ffn_up.weight"));
    CHECK(s && s->kinds == STATISTICS_SQUARES && s->n_tokens == 4 && s->n_cols == 3, "an entry");
    // what is stored is the mean of squares times the number of calls
    CHECK(s && s->sum_squares[0] / (double)s->n_tokens == 2 &&
              s->sum_squares[2] / (double)s->n_tokens == 1.5,
          "mean squares");
    CHECK(im.n_chunks == 4 && !imatrix_find(&im, str("blk.0.ffn_gate.weight")),
          "chunks, and no other entry");
    imatrix_free(&im);
    for (size_t n = 0; n < b.n - 12; n++) { // in memory of that size, for sanitizers
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, b.p, n);
        CHECK(imatrix_read(&im, cut, n, &err) == NUT_E_CORRUPT, "cut at %zu", n);
        imatrix_free(&im);
        free(cut);
    }
    free(b.p);
    const float bad[] = {NAN, INFINITY, -1};
    for (size_t i = 0; i < 3; i++) {
        b = make_dat("blk.0.ffn_down.weight", bad[i]);
        CHECK(imatrix_read(&im, b.p, b.n, &err) == NUT_E_CORRUPT &&
                  strstr(err.message, "blk.0.ffn_up.weight"),
              "%g: %s", (double)bad[i], err.message);
        imatrix_free(&im);
        free(b.p);
    }
    b = make_dat("blk.0.ffn_up.weight", 1);
    CHECK(imatrix_read(&im, b.p, b.n, &err) == NUT_E_CORRUPT && strstr(err.message, "twice"), "%s",
          err.message);
    imatrix_free(&im);
    free(b.p);
}

/* ---- GGUF ---- */

static void put_part(make_gguf *g, const char *name, uint64_t n, uint64_t rows, const float *values) {
    make_tensor *t = make_add(g, name, FORMAT_F32, (size_t)n, (size_t)rows);
    for (size_t i = 0; i < n * rows; i++) memcpy(t->data.p + 4 * i, &values[i], 4);
}

static make_gguf make_statistics(void) {
    make_gguf g = {.version = 3, .alignment = 32};
    const float sums[] = {3, 12, 27, 2, 4, 6}, counts[] = {3, 2}, one[] = {7}, flat[] = {1, 2, 3, 4};
    make_str(&g, "general.type", "imatrix");
    make_u32(&g, "imatrix.chunk_count", 5);
    make_u32(&g, "imatrix.chunk_size", 512);
    put_part(&g, "blk.0.ffn_up_exps.weight.in_sum2", 3, 2, sums);
    put_part(&g, "blk.0.ffn_up_exps.weight.counts", 1, 2, counts);
    put_part(&g, "blk.0.attn_q.weight.counts", 1, 1, one);
    put_part(&g, "blk.0.attn_q.weight.in_sum2", 4, 1, flat);
    put_part(&g, "stranger", 4, 1, flat);
    return g;
}

static nut_status read_made(make_gguf *g, imatrix *im, nut_error *err) {
    size_t n;
    uint8_t *file = make_file(g, &n);
    const nut_status status = imatrix_read(im, file, n, err);
    free(file);
    return status;
}

static void test_gguf(void) {
    make_gguf g = make_statistics();
    imatrix im = {0};
    nut_error err = {NUT_OK, ""};
    CHECK(read_made(&g, &im, &err) == NUT_OK, "%s", err.message);
    const statistics *s = imatrix_find(&im, str("blk.0.ffn_up_exps.weight"));
    CHECK(im.n == 2 && im.n_chunks == 5 && im.chunk == 512, "%zu entries", im.n);
    CHECK(s && s[0].n_tokens == 3 && s[1].n_tokens == 2 && s[0].sum_squares[2] == 27 &&
              s[1].sum_squares[1] == 4,
          "a stack's matrices follow one another");
    s = imatrix_find(&im, str("blk.0.attn_q.weight"));
    CHECK(s && s->n_tokens == 7 && s->sum_squares[3] == 4 && s->kinds == STATISTICS_SQUARES, "a matrix");
    imatrix_free(&im);
    make_free(&g);
}

/* Each way to be wrong, and a word of its message. */
static void test_gguf_refusals(void) {
    for (int way = 0; way < 7; way++) {
        make_gguf g = make_statistics();
        make_tensor *counts = make_find(&g, "blk.0.ffn_up_exps.weight.counts"),
                    *sums = make_find(&g, "blk.0.attn_q.weight.in_sum2");
        const float bad[] = {NAN, -INFINITY, -1};
        const char *word = way < 3 ? "attn_q" : "ffn_up_exps";
        if (way < 3) memcpy(sums->data.p + 8, &bad[way], 4);
        if (way == 3) counts->dims[1] = 1;
        if (way == 4) snprintf(counts->name, sizeof counts->name, "nothing");
        if (way == 5)
            snprintf(counts->name, sizeof counts->name, "blk.0.attn_q.weight.in_sum2"), word = "twice";
        if (way == 6) counts->type = 1, counts->dims[0] = 2; // F16
        imatrix im = {0};
        nut_error err = {NUT_OK, ""};
        CHECK(read_made(&g, &im, &err) == NUT_E_CORRUPT, "way %d: %s", way, err.message);
        CHECK(way == 5 || strstr(err.message, word), "way %d: %s", way, err.message);
        imatrix_free(&im);
        make_free(&g);
    }
    make_gguf g = make_statistics();
    imatrix im = {0};
    nut_error err = {NUT_OK, ""};
    size_t n;
    uint8_t *file = make_file(&g, &n);
    CHECK(imatrix_read(&im, file, n - 40, &err) == NUT_E_TRUNCATED, "cut in its data: %s", err.message);
    imatrix_free(&im);
    CHECK(imatrix_read(&im, file, 200, &err) == NUT_E_TRUNCATED, "cut in its header: %s", err.message);
    imatrix_free(&im);
    free(file), make_free(&g);
    g = make_model(&(make_options){.seed = 1});
    CHECK(read_made(&g, &im, &err) == NUT_E_ARGUMENT && strstr(err.message, "imatrix"), "a model: %s",
          err.message);
    imatrix_free(&im);
    make_free(&g);
}

/* ---- written ---- */

static const char text[] =
    "The owl sat in the tree and the cat went to the sea. A band of men then came to the inn at the end of "
    "the road, and the rain ran down the pane. What the hen ate that day no one can tell.";

/* Up to step stop_at, 0: the end; m's state is kept, its output is new. */
static nut_status calibrate_from(const uint8_t *file, size_t n, size_t stop_at, memory_job *m,
                                 nut_error *err) {
    nut_job *job;
    uint8_t *state = m->state;
    const size_t n_state = m->n_state;
    free(m->out);
    *m =
        (memory_job){.file = {file}, .n_bytes = {n}, .state = state, .n_state = n_state, .stop_at = stop_at};
    const nut_calibrate_options o = {.window = 24, .keeps_state = true};
    const nut_status status = nut_calibrate_begin(&o, text, strlen(text), &job, err);
    return status == NUT_OK ? memory_job_run(m, job, err) : status;
}

static nut_status calibrate(const uint8_t *file, size_t n, memory_job *m, nut_error *err) {
    nut_job *job;
    *m = (memory_job){.file = {file}, .n_bytes = {n}};
    const nut_calibrate_options o = {.window = 24};
    const nut_status status = nut_calibrate_begin(&o, text, strlen(text), &job, err);
    return status == NUT_OK ? memory_job_run(m, job, err) : status;
}

static bool near(double a, double b) {
    return fabs(a - b) <= 1e-6 * fabs(b);
}

/* Against the statistics that calibration gives to its caller. */
static void check_read_back(const uint8_t *file, size_t n, const imatrix *im) {
    nut_job *job;
    nut_job_event e;
    nut_error err = {NUT_OK, ""};
    memory_job m = {.file = {file}, .n_bytes = {n}};
    const calibrate_options o = {.kinds = STATISTICS_SQUARES | STATISTICS_RANGES, .window = 24};
    size_t n_seen = 0, n_wrong = 0;
    calibrate_begin(&o, text, strlen(text), &job, &err);
    do {
        CHECK(nut_job_step(job, &e, &err) == NUT_OK, "%s", err.message);
        memory_job_answer(&m, job, &e, &err);
        for (size_t k = 0; k < im->n && calibrate_complete(job) != CALIBRATE_NONE; k++) {
            const statistics *want = calibrate_find(job, im->entries[k]->name), *got = im->entries[k]->s;
            if (!want) continue;
            n_seen++;
            n_wrong +=
                got->n_tokens != want->n_tokens || got->n_cols != want->n_cols || got->kinds != want->kinds;
            for (size_t i = 0; i < want->n_cols; i++)
                n_wrong += !near(got->sum_squares[i], want->sum_squares[i]) ||
                           !near(got->sum[i], want->sum[i]) || got->max_abs[i] != want->max_abs[i];
        }
    } while (e.kind != NUT_JOB_DONE);
    nut_job_free(job);
    CHECK(n_seen == im->n && n_wrong == 0, "%zu entries, %zu seen, %zu numbers wrong", im->n, n_seen,
          n_wrong);
}

static void test_written(void) {
    make_gguf g = make_model(&(make_options){.seed = 6}), other = make_model(&(make_options){.n_ff = 64});
    size_t n, n_other;
    uint8_t *file = make_file(&g, &n), *strange = make_file(&other, &n_other);
    memory_job m;
    imatrix im = {0};
    nut_error err = {NUT_OK, ""};
    nut_model *a = NULL, *b = NULL;
    CHECK(calibrate(file, n, &m, &err) == NUT_OK && m.n_wrong == 0, "%s", err.message);
    CHECK(strstr(m.notes, "MB") && strstr(m.notes, "little"), "what is told first: %s", m.notes);
    CHECK(imatrix_read(&im, m.out, m.n_out, &err) == NUT_OK, "%s", err.message);
    CHECK(im.n == 2 * 7 + 1 && im.chunk == 24 && im.n_chunks > 3, "%zu matrices", im.n);
    check_read_back(file, n, &im);
    make_load(file, n, 0, NULL, &a, NULL), make_load(strange, n_other, 0, NULL, &b, NULL);
    CHECK(imatrix_check(&im, &a->header, &err) == NUT_OK, "%s", err.message);
    CHECK(imatrix_check(&im, &b->header, &err) == NUT_E_ARGUMENT && strstr(err.message, "ffn_down"), "%s",
          err.message);
    imatrix nothing = {0};
    CHECK(imatrix_check(&nothing, &a->header, &err) == NUT_E_ARGUMENT, "of no tensor: %s", err.message);
    imatrix_free(&im);
    nut_model_free(a), nut_model_free(b);
    free(m.out), free(file), free(strange);
    make_free(&g), make_free(&other);
}

static bool same_file(const memory_job *a, const memory_job *b) {
    return a->done && b->done && a->n_out == b->n_out && !memcmp(a->out, b->out, a->n_out);
}

/* A run that ends again and again writes the same file as one that does not; another model begins anew. */
static void test_resumed(void) {
    make_gguf g = make_model(&(make_options){.seed = 6, .n_layer = 5}),
              other = make_model(&(make_options){.seed = 7, .n_layer = 5});
    size_t n, n_other, n_runs = 0, n_going_on = 0;
    uint8_t *file = make_file(&g, &n), *strange = make_file(&other, &n_other);
    memory_job whole = {0}, m = {0};
    nut_error err = {NUT_OK, ""};
    CHECK(calibrate(file, n, &whole, &err) == NUT_OK, "%s", err.message);
    while (!m.done && n_runs < 200) {
        CHECK(calibrate_from(file, n, 60 + 13 * n_runs++, &m, &err) == NUT_OK && !m.n_wrong, "run %zu: %s",
              n_runs, err.message);
        n_going_on += strstr(m.notes, "going on behind layer") != NULL;
    }
    CHECK(same_file(&whole, &m), "%zu runs give another file", n_runs);
    CHECK(n_going_on > 2 && n_runs > 3, "%zu of %zu runs went on", n_going_on, n_runs);
    CHECK(calibrate_from(strange, n_other, 0, &m, &err) == NUT_OK && !strstr(m.notes, "going on"),
          "another model: %s %s", err.message, m.notes);
    free(m.out), free(m.state), free(whole.out);
    free(file), free(strange);
    make_free(&g), make_free(&other);
}

/* What is kept is damaged anywhere: the same file comes of it, or an error. */
static void test_damaged(void) {
    make_gguf g = make_model(&(make_options){.seed = 6, .n_layer = 3});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    memory_job whole = {0}, m = {0};
    nut_error err = {NUT_OK, ""};
    CHECK(calibrate_from(file, n, 0, &whole, &err) == NUT_OK, "%s", err.message);
    for (size_t i = 1; i < 24; i++) {
        free(m.state);
        m.state = malloc(whole.n_state);
        memcpy(m.state, whole.state, whole.n_state);
        m.n_state = whole.n_state;
        m.state[whole.n_state * i / 24] ^= 0x10;
        const nut_status status = calibrate_from(file, n, 0, &m, &err);
        CHECK(status == NUT_OK && same_file(&whole, &m), "%zu: %s", i, err.message);
    }
    free(m.out), free(m.state), free(whole.out), free(whole.state);
    free(file);
    make_free(&g);
}

static void test_memory(void) {
    make_gguf g = make_model(&(make_options){.seed = 6});
    size_t n, k = 1;
    uint8_t *file = make_file(&g, &n);
    for (bool failed = true; failed && k < 500; k++) {
        nut_error err = {NUT_OK, ""};
        memory_job m = {0}, kept = {0};
        imatrix im = {0};
        counting_start(k);
        nut_status status = calibrate_from(file, n, 0, &kept, &err);
        free(kept.out), free(kept.state);
        if (status == NUT_OK) status = calibrate(file, n, &m, &err);
        if (status == NUT_OK) status = imatrix_read(&im, m.out, m.n_out, &err);
        imatrix_free(&im);
        failed = counting.n_failed > 0;
        CHECK(counting.alive == 0 && (status == NUT_OK || status == NUT_E_MEMORY), "allocation %zu: %s", k,
              err.message);
        counting_stop();
        free(m.out);
    }
    CHECK(k > 60, "%zu allocations", k);
    free(file);
    make_free(&g);
}

int main(void) {
    test_dat();
    test_gguf();
    test_gguf_refusals();
    test_written();
    test_resumed();
    test_damaged();
    test_memory();
    return check_report();
}
