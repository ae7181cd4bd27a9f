/*
 * How fast coded tensors are decoded, in millions of weights a second on one thread and on two, and what
 * they take beside each other: matrices of SmolLM2's size with integers of several deviations.
 *
 *   make build/native/bench_coded && build/native/bench_coded
 *   make build/wasi/bench_coded.wasm && wasmtime run build/wasi/bench_coded.wasm
 */
#include "../unit/coded_sample.h"

#include <stdio.h>
#include <time.h>

enum { ROWS = 1536, COLS = 576, TIMES = 40 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of the fastest of some decodings; negative where one fails. */
static double best_time(coded_place *p, const coded_data *d, threads *team) {
    double best = 1e30;
    for (int i = 0; i < TIMES; i++) {
        coded_feed f = {.team = team};
        memset(p->w.data, 0, matrix_bytes(&p->w));
        const double begin = now();
        if (coded_take(&f, &p->t, &p->to, d->bytes, d->n, NULL) != NUT_OK) return -1;
        const double elapsed = now() - begin;
        if (elapsed < best) best = elapsed;
    }
    return best;
}

int main(void) {
    static const double deviations[] = {0.7, 1.5, 2.5, 4, 8, 16};
    rng r;
    threads *team;
    rng_seed(&r, 1);
    if (threads_new(2, &team, NULL) != NUT_OK) return printf("no memory\n"), 1;
    printf("%9s %8s %11s %9s %15s %12s\n", "deviation", "type", "bits/weight", "outliers", "M weights/s",
           "two threads");
    for (size_t i = 0; i < sizeof deviations / sizeof *deviations; i++) {
        coded_sample s = coded_sample_random(ROWS, COLS, deviations[i], 0.25, &r);
        coded_data d;
        if (coded_write(&s.t, &d, NULL) != NUT_OK) return printf("no memory\n"), 1;
        coded_place *p = coded_place_new(&s.t, &d, d.format);
        printf("%9g %8s %11.3f %8.3f%% %15.0f %12.0f\n", deviations[i], d.format->name,
               8.0 * (double)d.n / (ROWS * COLS), 100.0 * (double)d.n_outliers / (ROWS * COLS),
               ROWS * COLS / best_time(p, &d, NULL) * 1e-6, ROWS * COLS / best_time(p, &d, team) * 1e-6);
        coded_place_free(p);
        coded_data_free(&d);
        coded_sample_free(&s);
    }
    threads_free(team);
    return 0;
}
