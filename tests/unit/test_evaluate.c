/* Evaluation: figures of tiny logits as numpy computes them (tests/golden/figures.py); the job against
 * nut_perplexity, and against itself with logits that were stored. */
#include "check.h"
#include "counting_alloc.h"
#include "make_gguf.h"
#include "memory_job.h"

#include "../golden/figures.h"
#include "base/xxhash.h"
#include "evaluate/figures.h"
#include "evaluate/stored.h"

#include <math.h>

/* ---- figures ---- */

static void fill_logits(size_t t, float *model, float *reference) {
    for (size_t i = 0; i < FIGURES_N; i++) {
        const double m = 4 * sin(0.7 * (double)i + (double)t);
        model[i] = (float)m;
        reference[i] = (float)(m + 1.5 * cos(1.9 * (double)i + 0.3 * (double)t));
    }
}

static bool close_to(double a, double b) {
    return fabs(a - b) <= 2e-6 * (1 + fabs(b));
}

static void test_figures(void) {
    figures_mean kl = {0};
    float all[FIGURES_TOKENS];
    for (size_t t = 0; t < FIGURES_TOKENS; t++) {
        float model[FIGURES_N], reference[FIGURES_N];
        const double *want = figures_golden[t];
        fill_logits(t, model, reference);
        const figures_row q = figures_of_row(model, FIGURES_N), p = figures_of_row(reference, FIGURES_N);
        const figures_token f = figures_compare(&q, &p, (11 * t + 3) % FIGURES_N);
        CHECK(close_to(f.nll, want[0]) && close_to(f.reference_nll, want[1]), "token %zu: %.9g, %.9g", t,
              f.nll, f.reference_nll);
        CHECK(close_to(f.kl, want[2]), "token %zu: KL %.9g, not %.9g", t, f.kl, want[2]);
        CHECK(f.same_top == (want[3] > 0) && close_to(f.flip, want[4]), "token %zu: flip %.9g", t, f.flip);
        CHECK(close_to(f.delta_p, want[5]), "token %zu: change %.9g", t, f.delta_p);
        figures_add(&kl, f.kl);
        all[t] = (float)f.kl;
    }
    const nut_estimate e = figures_estimate(&kl);
    CHECK(close_to(e.value, figures_mean_kl) && close_to(e.error, figures_error_kl), "%.9g +- %.9g", e.value,
          e.error);
    figures_sort(all, FIGURES_TOKENS);
    for (size_t i = 0; i < sizeof figures_quantiles / sizeof *figures_quantiles; i++) {
        const double *want = figures_quantiles[i], got = figures_quantile(all, FIGURES_TOKENS, want[0]);
        CHECK(close_to(got, want[1]), "quantile %g: %.9g, not %.9g", want[0], got, want[1]);
    }
    float one[1] = {3};
    figures_sort(one, 1);
    CHECK(figures_quantile(one, 1, 0.99) == 3, "of one value");
}

/* Wilson's interval for 8 of 10 at 95 %: 0.4902 to 0.9433 (Newcombe 1998, Statistics in Medicine 17, 857-872
 * gives the method; the values by R's prop.test without continuity correction). */
static void test_fraction(void) {
    const nut_fraction f = figures_fraction(8, 10), none = figures_fraction(0, 0),
                       all = figures_fraction(5, 5);
    CHECK(fabs(f.value - 0.8) < 1e-12 && fabs(f.low - 0.4901625) < 1e-6 && fabs(f.high - 0.9433178) < 1e-6,
          "%g, %.7f to %.7f", f.value, f.low, f.high);
    CHECK(none.n == 0 && all.high <= 1 + 1e-12 && all.low > 0.5, "ends of the range");
}

/* ---- the job ---- */

static const char text[] =
    "The owl sat in the tree and the cat went to the sea. A band of men then came to the inn at the end of "
    "the road, and the rain ran down the pane. What the hen ate that day no one can tell.";

typedef struct fixture {
    nut_model *m, *other;
    nut_session *s, *r; // of m, and of other
} fixture;

enum { WINDOW = 16 };

static nut_model *model_of(uint64_t seed, bool reference, bool byte_pairs) {
    make_gguf g = make_model(
        &(make_options){.matrices = FORMAT_Q8_0, .n_ff = 64, .seed = seed, .byte_pairs = byte_pairs});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_load_options o = nut_load_defaults();
    nut_model *m = NULL;
    o.reference = reference;
    CHECK(make_load(file, n, 0, &o, &m, NULL) == NUT_OK, "load");
    free(file);
    make_free(&g);
    return m;
}

static void fixture_open(fixture *f) {
    const nut_session_options a = {.n_ctx = 64, .n_batch = 5, .n_logits = 5},
                              b = {.n_ctx = 32, .n_batch = 7, .n_logits = 3, .n_threads = 2};
    f->m = model_of(1, false, false), f->other = model_of(2, true, false);
    nut_evaluate_fast(f->other);
    CHECK(nut_session_new(f->m, &a, &f->s, NULL) == NUT_OK, "session");
    CHECK(nut_session_new(f->other, &b, &f->r, NULL) == NUT_OK, "session");
}

static void fixture_close(fixture *f) {
    nut_session_free(f->s), nut_session_free(f->r);
    nut_model_free(f->m), nut_model_free(f->other);
}

static nut_status run(nut_session *s, nut_evaluate_options o, memory_job *m, nut_evaluation *r,
                      nut_error *err) {
    nut_job *job;
    o.window = o.window ? o.window : WINDOW;
    nut_status status = nut_evaluate_begin(s, text, strlen(text), &o, &job, err);
    if (status != NUT_OK) return status;
    status = memory_job_drive(m, job, err);
    if (status == NUT_OK) status = nut_evaluate_get(job, r, err);
    nut_job_free(job);
    return status;
}

static void test_perplexity(fixture *f) {
    nut_evaluation r;
    nut_perplexity_result want;
    nut_error err = {NUT_OK, ""};
    int32_t ids[400];
    size_t n;
    nut_tokenize(f->m, text, strlen(text), NUT_TOKENIZE_ADD_BOS, ids, 400, &n, NULL);
    for (uint32_t most = 0; most < 3; most++) {
        memory_job m = {.n_wrong = 0};
        CHECK(run(f->s, (nut_evaluate_options){.max_windows = most}, &m, &r, &err) == NUT_OK, "%s",
              err.message);
        memory_job_perplexity(f->s, ids, n, WINDOW, most, &want, NULL);
        CHECK(fabs(r.nll.value - want.mean_nll) < 1e-9 && r.n_scored == want.n_scored &&
                  r.n_windows == want.n_windows,
              "%.9g, not %.9g", r.nll.value, want.mean_nll);
        CHECK(fabs(r.perplexity.value - want.perplexity) < 1e-6 && r.perplexity.error > 0 && !r.compared &&
                  m.n_wrong == 0,
              "perplexity %g +- %g", r.perplexity.value, r.perplexity.error);
        // tokens of a window's second half are a few bytes each
        CHECK(r.n_bytes >= r.n_scored && fabs(r.bits_per_byte.value * (double)r.n_bytes * log(2) -
                                              r.nll.value * (double)r.n_scored) < 1e-6,
              "%llu bytes", (unsigned long long)r.n_bytes);
    }
}

static void check_same(const nut_comparison *a, const nut_comparison *b, double tolerance) {
    const double apart[] = {a->kl.value - b->kl.value, a->kl_max - b->kl_max,
                            a->flips.value - b->flips.value, a->rms_delta_p.value - b->rms_delta_p.value,
                            log(a->reference_perplexity.value) - log(b->reference_perplexity.value)};
    for (size_t i = 0; i < sizeof apart / sizeof *apart; i++)
        CHECK(fabs(apart[i]) < tolerance, "figure %zu differs by %g", i, apart[i]);
}

static void test_reference(fixture *f) {
    nut_evaluation live, stored, own;
    nut_error err = {NUT_OK, ""};
    memory_job m = {.n_wrong = 0}, w = {.n_wrong = 0};
    CHECK(run(f->s, (nut_evaluate_options){.reference = f->r}, &m, &live, &err) == NUT_OK, "%s",
          err.message);
    const nut_comparison *c = &live.comparison;
    CHECK(live.compared && c->kl.value > 0.01 && c->kl_max >= c->kl_p999 && c->kl_p999 >= c->kl_p99 &&
              c->kl_p99 >= c->kl_p90 && c->kl_p90 >= c->kl_median && c->same_top.value < 0.5,
          "another model: KL %g", c->kl.value);
    CHECK(run(f->r, (nut_evaluate_options){.store = true}, &w, &own, &err) == NUT_OK, "%s", err.message);
    CHECK(fabs(own.perplexity.value - c->reference_perplexity.value) < 1e-6, "the reference's perplexity");
    CHECK(w.n_out == STORED_HEADER + own.n_scored * (2 * nut_model_n_vocab(f->m) + 4), "%zu bytes", w.n_out);
    rng r;
    rng_seed(&r, 1);
    m = (memory_job){.file = {w.out}, .n_bytes = {w.n_out}, .random = &r};
    CHECK(run(f->s, (nut_evaluate_options){.stored = true}, &m, &stored, &err) == NUT_OK, "%s", err.message);
    check_same(c, &stored.comparison, 5e-4); // half floats: steps of 0.008 at -10
    m = (memory_job){.file = {w.out}, .n_bytes = {w.n_out}};
    CHECK(run(f->r, (nut_evaluate_options){.stored = true}, &m, &stored, &err) == NUT_OK &&
              stored.comparison.kl_max < 1e-5 && stored.comparison.same_top.value == 1,
          "a model beside itself: KL %g", stored.comparison.kl.value);
    free(w.out);
}

/* ---- the short form ---- */

/* Sum of p log (p / q) over the 64 likeliest by the reference and the rest as one: docs/format.md. */
static double short_divergence(const float *model, const float *reference, size_t n) {
    double p[300], q[300], sum_p = 0, sum_q = 0, kl = 0, rest_p = 1, rest_q = 1;
    for (size_t i = 0; i < n; i++)
        sum_p += p[i] = exp((double)reference[i]), sum_q += q[i] = exp((double)model[i]);
    for (size_t k = 0; k < STORED_TOP; k++) {
        size_t top = 0;
        for (size_t i = 1; i < n; i++) top = p[i] > p[top] ? i : top;
        const double own = p[top] / sum_p, other = q[top] / sum_q;
        kl += own * log(own / other), rest_p -= own, rest_q -= other;
        p[top] = -1;
    }
    return kl + rest_p * log(rest_p / rest_q);
}

static void test_short_rows(void) {
    enum { N = 200 };
    float model[N], reference[N], back[N], few[3] = {1, 3, 2}, few_back[3];
    uint8_t bytes[STORED_TOP * 6 + 8];
    for (size_t i = 0; i < N; i++) {
        model[i] = (float)(3 * sin(0.7 * (double)i));
        reference[i] = model[i] + (float)cos(1.9 * (double)i);
    }
    CHECK(stored_row_bytes(STORED_SHORT, N) == sizeof bytes, "%zu", stored_row_bytes(STORED_SHORT, N));
    stored_put(STORED_SHORT, reference, N, bytes);
    CHECK(stored_get(STORED_SHORT, bytes, N, model, back), "a row that was put");
    const figures_row q = figures_of_row(model, N), p = figures_of_row(back, N);
    const double kl = figures_compare(&q, &p, 0).kl, want = short_divergence(model, reference, N);
    CHECK(fabs(kl - want) < 1e-3 * want, "KL %.6f, not %.6f", kl, want);
    for (size_t at = 0; at < sizeof bytes; at += 13) {
        bytes[at] ^= 64;
        CHECK(!stored_get(STORED_SHORT, bytes, N, model, back), "byte %zu is damaged", at);
        bytes[at] ^= 64;
    }
    stored_put(STORED_SHORT, few, 3, bytes);
    CHECK(stored_get(STORED_SHORT, bytes, 3, few, few_back) && fabsf(few_back[1] + 0.4076f) < 1e-3f,
          "fewer tokens than the form has: %g", (double)few_back[1]); // log (e^3 / (e + e^2 + e^3))
}

static void test_short(fixture *f) {
    nut_evaluation live, stored;
    nut_error err = {NUT_OK, ""};
    memory_job m = {.n_wrong = 0}, w = {.n_wrong = 0};
    run(f->s, (nut_evaluate_options){.reference = f->r}, &m, &live, &err);
    CHECK(run(f->r, (nut_evaluate_options){.store = true, .store_short = true}, &w, &stored, &err) == NUT_OK,
          "%s", err.message);
    CHECK(w.n_out ==
              STORED_HEADER + stored.n_scored * stored_row_bytes(STORED_SHORT, nut_model_n_vocab(f->m)),
          "%zu bytes", w.n_out);
    m = (memory_job){.file = {w.out}, .n_bytes = {w.n_out}};
    CHECK(run(f->s, (nut_evaluate_options){.stored = true}, &m, &stored, &err) == NUT_OK, "%s", err.message);
    CHECK(stored.comparison.kl.value <= live.comparison.kl.value + 1e-4 &&
              stored.comparison.kl.value > 0.3 * live.comparison.kl.value &&
              stored.comparison.same_top.value == live.comparison.same_top.value,
          "KL %g of %g", stored.comparison.kl.value, live.comparison.kl.value);
    w.out[STORED_HEADER + 5] ^= 1;
    m = (memory_job){.file = {w.out}, .n_bytes = {w.n_out}};
    CHECK(run(f->s, (nut_evaluate_options){.stored = true}, &m, &stored, &err) == NUT_E_CORRUPT, "%s",
          err.message);
    free(w.out);
}

/* ---- windows ---- */

static void test_windows(fixture *f) {
    nut_job *job;
    memory_job m = {.n_wrong = 0};
    nut_evaluation r;
    nut_evaluation_window w;
    double nll = 0, kl = 0;
    CHECK(nut_evaluate_begin(f->s, text, strlen(text),
                             &(nut_evaluate_options){.window = WINDOW, .reference = f->r}, &job,
                             NULL) == NUT_OK,
          "begin");
    CHECK(nut_evaluate_window(job, 0, &w, NULL) == NUT_E_STATE, "before the end");
    memory_job_drive(&m, job, NULL);
    nut_evaluate_get(job, &r, NULL);
    for (uint32_t i = 0; i < r.n_windows; i++) {
        CHECK(nut_evaluate_window(job, i, &w, NULL) == NUT_OK && w.reference_nll > 0, "window %u", i);
        nll += w.nll / r.n_windows, kl += w.kl / r.n_windows;
    }
    CHECK(fabs(nll - r.nll.value) < 1e-9 && fabs(kl - r.comparison.kl.value) < 1e-9, "%g, %g", nll, kl);
    CHECK(nut_evaluate_window(job, r.n_windows, &w, NULL) == NUT_E_ARGUMENT, "one too many");
    CHECK(r.comparison.kl_percentiles[50] == r.comparison.kl_median &&
              r.comparison.kl_percentiles[100] == r.comparison.kl_max &&
              r.comparison.kl_percentiles[10] <= r.comparison.kl_percentiles[11],
          "percentiles");
    nut_job_free(job);
}

/* ---- bad input ---- */

static void test_stored(fixture *f) {
    nut_evaluation r;
    nut_error err = {NUT_OK, ""};
    memory_job w = {.n_wrong = 0};
    run(f->s, (nut_evaluate_options){.store = true, .max_windows = 3}, &w, &r, NULL);
    const struct {
        size_t at, n;
        uint8_t byte;
        nut_status want;
    } bad[] = {{0, 0, 'M', NUT_E_ARGUMENT},
               {8, 0, 1, NUT_E_ARGUMENT},
               {12, 0, 9, NUT_E_ARGUMENT},
               {16, 0, 0, NUT_E_ARGUMENT},
               {16, 0, 200, NUT_E_ARGUMENT},
               {24, 0, 1, NUT_E_ARGUMENT},
               {0, 1, 'N', NUT_E_ARGUMENT},
               {7, 0, '1', NUT_E_ARGUMENT}, // an older version
               {33, 0, 99, NUT_E_ARGUMENT}, // of other tokens
               {STORED_HEADER + 1, 0, 0x7e, NUT_E_CORRUPT},
               {0, w.n_out - 10, 'N', NUT_E_ARGUMENT}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t *copy = malloc(w.n_out);
        memcpy(copy, w.out, w.n_out);
        copy[bad[i].at] = bad[i].byte;
        memory_job m = {.file = {copy}, .n_bytes = {w.n_out - bad[i].n}};
        CHECK(run(f->s, (nut_evaluate_options){.stored = true}, &m, &r, &err) == bad[i].want, "bad %zu: %s",
              i, err.message);
        free(copy);
    }
    const size_t row = stored_row_bytes(STORED_WHOLE, nut_model_n_vocab(f->m));
    uint8_t *nothing = calloc(1, w.n_out); // a row without a largest logit, and its right checksum
    memcpy(nothing, w.out, STORED_HEADER);
    memset(nothing + STORED_HEADER, 0xbc, w.n_out - STORED_HEADER);
    const uint32_t sum = xxhash32(nothing + STORED_HEADER, row - 4);
    for (int i = 0; i < 4; i++) nothing[STORED_HEADER + row - 4 + (size_t)i] = (uint8_t)(sum >> 8 * i);
    memory_job m = {.file = {nothing}, .n_bytes = {w.n_out}};
    CHECK(run(f->s, (nut_evaluate_options){.stored = true}, &m, &r, &err) == NUT_E_CORRUPT, "%s",
          err.message);
    free(nothing), free(w.out);
}

static void test_refusals(fixture *f) {
    nut_model *strange = model_of(3, false, true);
    nut_session *s, *fork;
    nut_evaluation r;
    nut_error err = {NUT_OK, ""};
    nut_job *job;
    memory_job m = {.n_wrong = 0};
    nut_session_new(strange, &(nut_session_options){.n_ctx = 32}, &s, NULL);
    nut_session_add(nut_session_workspace(f->s), 32, &fork, NULL);
    const nut_evaluate_options other = {.reference = s}, shared = {.reference = fork},
                               both = {.reference = f->r, .stored = true},
                               twice = {.store = true, .stored = true},
                               wide = {.window = 33, .reference = f->r}, narrow = {.window = 3},
                               beyond = {.window = 65};
    const nut_evaluate_options *bad[] = {&other, &shared, &both, &twice, &wide, &narrow, &beyond};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(run(f->s, *bad[i], &m, &r, &err) == NUT_E_ARGUMENT, "options %zu", i);
    CHECK(nut_evaluate_begin(f->s, "owl", 3, &(nut_evaluate_options){.window = WINDOW}, &job, &err) ==
                  NUT_E_ARGUMENT &&
              strstr(err.message, "longer"),
          "%s", err.message);
    nut_session_free(s), nut_session_free(fork);
    nut_model_free(strange);
}

static void test_memory(fixture *f) {
    size_t k = 1;
    for (bool failed = true; failed && k < 100; k++) {
        nut_error err = {NUT_OK, ""};
        nut_evaluation r;
        memory_job m = {.n_wrong = 0};
        counting_start(k);
        const nut_status status =
            run(f->s, (nut_evaluate_options){.reference = f->r, .store = true}, &m, &r, &err);
        failed = counting.n_failed > 0;
        CHECK(counting.alive == 0 && (status == NUT_OK || status == NUT_E_MEMORY), "allocation %zu: %s", k,
              err.message);
        counting_stop();
        free(m.out);
    }
    CHECK(k > 5, "%zu allocations", k);
}

int main(void) {
    fixture f;
    test_figures();
    test_fraction();
    test_short_rows();
    fixture_open(&f);
    test_perplexity(&f);
    test_reference(&f);
    test_short(&f);
    test_windows(&f);
    test_stored(&f);
    test_refusals(&f);
    test_memory(&f);
    fixture_close(&f);
    return check_report();
}
