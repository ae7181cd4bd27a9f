/*
 * How well nut_predict_finish predicts: each model is predicted from its headers, then loaded, and writes
 * tokens from the same position.
 *
 *     make build/native/bench_predict
 *     build/native/bench_predict MODEL...
 *
 * A table of markdown, in milliseconds of the thread's own time: the median step of real tokens, and what
 * was predicted of it. Models of one file.
 */
#include "../unit/model_file.h"

#include "base/clock.h"
#include "evaluate/figures.h"
#include "nutshell_dynamic.h"

#include <string.h>

enum { PAST = 256, STEPS = 48, HEADER_BYTES = 1 << 20 };

static void fail(const char *words) {
    fprintf(stderr, "%s\n", words);
    exit(1);
}

static nut_prediction predict(const char *path) {
    const nut_load_options lo = nut_load_defaults();
    const nut_predict_options po = {.n_past = PAST};
    nut_loader *loader;
    nut_prediction p = {0};
    nut_error err;
    char *bytes = malloc(HEADER_BYTES);
    FILE *f = fopen(path, "rb");
    if (!f || !bytes) fail("the model cannot be read");
    nut_status status = nut_predict_begin(&lo, 0, &loader, &err);
    size_t n = 1;
    for (uint64_t at = 0; status == NUT_OK && n && !nut_load_get_plan(loader).complete; at += n)
        status = nut_load_feed(loader, at, bytes, n = fread(bytes, 1, HEADER_BYTES, f), &err);
    if (status == NUT_OK) status = nut_predict_finish(loader, &po, &p, &err);
    if (status != NUT_OK) fail(err.message);
    fclose(f);
    free(bytes);
    return p;
}

static double measure(const char *path) {
    const nut_load_options lo = nut_load_defaults();
    const nut_session_options so = {.n_ctx = PAST + STEPS, .n_threads = 1};
    float times[STEPS];
    nut_session *s;
    nut_error err;
    nut_model *m = model_file_load(path, &lo, &err);
    if (!m || nut_session_new(m, &so, &s, &err) != NUT_OK) fail("the model cannot be loaded");
    int32_t ids[PAST + STEPS];
    for (int32_t i = 0; i < PAST + STEPS; i++) ids[i] = 5 + i * 31 % 200;
    if (nut_session_eval(s, ids, PAST, 0, &err) != NUT_OK) fail(err.message);
    for (int i = 0; i < STEPS; i++) {
        const double since = clock_own_seconds();
        if (nut_session_eval(s, ids + PAST + i, 1, 1, &err) != NUT_OK) fail(err.message);
        times[i] = (float)(clock_own_seconds() - since);
    }
    nut_session_free(s);
    nut_model_free(m);
    figures_sort(times, STEPS);
    return figures_quantile(times, STEPS, 0.5);
}

int main(int argc, char **argv) {
    if (argc < 2) fail("bench_predict MODEL...");
    predict(argv[1]); // the first one finds the processor asleep
    printf("| model | measured | predicted | of it | layers |\n|---|---|---|---|---|\n");
    for (int i = 1; i < argc; i++) {
        const nut_prediction p = predict(argv[i]);
        const double truth = measure(argv[i]);
        const char *name = strrchr(argv[i], '/');
        printf("| %s | %.2f | %.2f | %.2f | %u |\n", name ? name + 1 : argv[i], 1e3 * truth, 1e3 * p.seconds,
               p.seconds / truth, p.n_measured);
        fflush(stdout);
    }
    return 0;
}
