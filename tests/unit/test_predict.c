/*
 * Predictions from headers, in every family: memory is what a load and a session take, to the byte; layers
 * that did not run count by those that did; and no tensor's data is asked for. How near the times
 * are to the truth, tests/bench/bench_predict.c shows.
 */
#include <math.h>
#include "families.h"

#include "evaluate/predict.h"
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
        CHECK(p.seconds > 0 && p.n_measured == FAMILY_LAYERS, "%s: %g s, %u layers", a->name, p.seconds,
              p.n_measured);
    }
    nut_load_abort(l);
    free(file);
    make_free(&g);
}

static bool near(double a, double b) {
    return fabs(a - b) <= 1e-12 * fabs(b);
}

/* Layers that were not timed take what their kind takes for each byte, or what all take. */
static void test_layers(void) {
    predict_layer l[] = {{.bytes = 100, .seconds = 2, .mixer = 1, .ffn = 1},
                         {.bytes = 300, .seconds = 0, .mixer = 1, .ffn = 1},
                         {.bytes = 100, .seconds = 4, .mixer = 1, .ffn = 1},
                         {.bytes = 50, .seconds = 10, .mixer = 2, .ffn = 1}};
    CHECK(near(predict_layers(l, 1), 2), "one layer");
    CHECK(near(predict_layers(l, 2), 2 + 6), "a layer three times as large");
    CHECK(near(predict_layers(l, 3), 5 * 3), "layers of one kind have one rate");
    CHECK(near(predict_layers(l, 4), 5 * 3 + 10), "another kind has its own");
    l[3].seconds = 0;
    CHECK(near(predict_layers(l, 4), 5 * 3 + 1.5), "of a kind that was not timed: as all");
    for (size_t i = 0; i < 4; i++) l[i].seconds = 0;
    CHECK(predict_layers(l, 4) == 0, "a clock that stands still");
}

/* 64 layers run at most, the others count by their bytes. */
static void test_depth(void) {
    make_gguf g = make_model(&(make_options){
        .matrices = FORMAT_Q8_0, .n_embd = 128, .n_layer = 112, .n_ff = 512, .n_ctx = 128, .seed = 1});
    const nut_predict_options o = {.seconds = 1e-6};
    nut_prediction p = {0};
    nut_error err = {NUT_OK, ""};
    size_t n;
    uint8_t *file = make_file(&g, &n);
    CHECK(predict(file, n, n, &o, &p, &err) == NUT_OK, "%s", err.message);
    CHECK(p.n_measured == 64 && p.seconds > 0, "%u layers ran", p.n_measured);
    free(file);
    make_free(&g);
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
    test_layers();
    test_depth();
    test_refusals();
    return check_report();
}
