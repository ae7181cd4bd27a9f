/*
 * Predictions from headers, in every family: memory is what a load and a session take, to the byte; a model
 * with more of the same layers takes as much longer; and no tensor's data is asked for. How near the times
 * are to the truth, tests/bench/bench_predict.c shows.
 */
#include <math.h>
#include "families.h"

#include "nutshell_dynamic.h"
#include "run/session.h"

/* Feeds the bytes in front of the data alone, or fewer. The file has n. */
static nut_status predict(const uint8_t *file, size_t n, size_t n_fed, const nut_predict_options *o,
                          nut_prediction *out, nut_error *err) {
    const nut_load_options lo = nut_load_defaults();
    nut_loader *l = NULL;
    nut_status status = nut_predict_begin(&lo, n, &l, err);
    for (size_t at = 0; status == NUT_OK && at < n_fed && !nut_load_get_plan(l).complete; at++)
        status = nut_load_feed(l, at, file + at, 1, err);
    if (status == NUT_OK) return nut_predict_finish(l, o, out, err);
    nut_load_abort(l);
    return status;
}

static size_t n_predicted;

static void test_family(const arch *a) {
    const nut_predict_options o = {.n_ctx = 48, .seconds = 1e-6};
    const nut_load_options lo = {.n_ctx = 48, .n_threads = 1};
    nut_prediction p = {0};
    nut_error err = {NUT_OK, ""};
    make_gguf g = make_family(a, &family_odd);
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_loader *l = NULL;
    const nut_status status = predict(file, n, n, &o, &p, &err);
    CHECK(nut_load_begin(&lo, n, &l, NULL) == NUT_OK && nut_load_feed(l, 0, file, n, NULL) == NUT_OK,
          "%s loads", a->name);
    const nut_load_plan plan = nut_load_get_plan(l);
    if (a->features & ARCH_BOTH_WAYS) {
        CHECK(status == NUT_E_UNSUPPORTED, "%s: a model that cannot write is predicted", a->name);
    } else if (CHECK(status == NUT_OK, "%s: %s", a->name, err.message)) {
        n_predicted++;
        CHECK(p.weight_bytes == plan.weight_bytes, "%s: %llu bytes of weights, not %llu", a->name,
              (unsigned long long)p.weight_bytes, (unsigned long long)plan.weight_bytes);
        CHECK(p.session_bytes == plan.cache_bytes, "%s: %llu bytes of a session, not %llu", a->name,
              (unsigned long long)p.session_bytes, (unsigned long long)plan.cache_bytes);
        CHECK(p.seconds > 0 && p.seconds < 1 && p.n_measured == FAMILY_LAYERS, "%s: %g s, %u layers",
              a->name, p.seconds, p.n_measured);
    }
    nut_load_abort(l);
    free(file);
    make_free(&g);
}

static double time_of(uint32_t n_layer) {
    make_gguf g = make_model(&(make_options){
        .matrices = FORMAT_Q8_0, .n_embd = 128, .n_layer = n_layer, .n_ff = 512, .n_ctx = 128, .seed = 1});
    nut_prediction p = {0};
    nut_error err = {NUT_OK, ""};
    size_t n;
    uint8_t *file = make_file(&g, &n);
    CHECK(predict(file, n, n, &(nut_predict_options){0}, &p, &err) == NUT_OK, "%s", err.message);
    free(file);
    make_free(&g);
    return p.seconds;
}

static bool is_deeper(double few, double many) {
    return many > 1.3 * few && many < 2.4 * few;
}

/* 64 layers run at most, the others count by their bytes: the same layers run of 64 and of 112, which are
 * 1.75 times as many. Anything else that runs here makes times longer, so that the least counts: of four,
 * and of up to 24 while a busy machine leaves none undisturbed. */
static void test_depth(void) {
    double few = 1, many = 1;
    for (int i = 0; i < 4 || (i < 24 && !is_deeper(few, many)); i++) {
        few = fmin(few, time_of(64));
        many = fmin(many, time_of(112));
    }
    CHECK(is_deeper(few, many), "64 layers take %g ms, 112 take %g", 1e3 * few, 1e3 * many);
}

static void test_refusals(void) {
    make_gguf g = make_model(&(make_options){.seed = 1});
    nut_prediction p = {.seconds = -1};
    nut_error err = {NUT_OK, ""};
    size_t n;
    uint8_t *file = make_file(&g, &n);
    CHECK(predict(file, n, 100, &(nut_predict_options){0}, &p, &err) == NUT_E_TRUNCATED, "%s", err.message);
    CHECK(predict(file, n, n, &(nut_predict_options){.n_past = 128}, &p, &err) == NUT_E_ARGUMENT &&
              strstr(err.message, "outside of the context of 128"),
          "%s", err.message);
    CHECK(predict(file, n, n, &(nut_predict_options){.n_ctx = 130}, &p, &err) == NUT_E_ARGUMENT, "%s",
          err.message);
    CHECK(p.seconds < 0, "a failed prediction is there");
    free(file);
    make_free(&g);
}

int main(void) {
    const size_t n = families_each(test_family);
    CHECK(n_predicted > 50, "only %zu of %zu families are predicted", n_predicted, n);
    test_depth();
    test_refusals();
    return check_report();
}
