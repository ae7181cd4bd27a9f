/*
 * How fast a model goes on in a long context, on one thread: tokens per second of what is drawn behind 0,
 * 1,000, 4,000 and 8,000 positions (the median of 15 tokens), and of the prompt in between. The tokens are
 * any: how long a step takes does not depend on which they are.
 *
 *   make build/native/bench_positions && build/native/bench_positions MODEL.gguf [f16|q8_0]
 *   make build/wasi/bench_positions.wasm && wasmtime run --dir . build/wasi/bench_positions.wasm MODEL.gguf
 */
#include "../unit/model_file.h"
#include "nutshell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DRAWN = 15, AT_ONCE = 64 };
static const uint32_t positions[] = {0, 1000, 4000, 8000};
enum { N_POSITIONS = sizeof positions / sizeof *positions, CONTEXT = 8192 };

/* Of this thread's own time, where the system counts it, so that other programs do not matter. */
static double now(void) {
    struct timespec t;
#ifdef __wasm__
    clock_gettime(CLOCK_MONOTONIC, &t);
#else
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
#endif
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Appends n tokens, at most AT_ONCE; its seconds, negative where it fails. */
static double append(nut_session *s, uint32_t n_vocab, size_t n, nut_error *err) {
    int32_t ids[AT_ONCE];
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)((nut_session_n_past(s) + i) * 7919 % n_vocab);
    const double begin = now();
    return nut_session_eval(s, ids, n, 1, err) == NUT_OK ? now() - begin : -1;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Reads on to a position, and draws there. */
static bool at_position(nut_session *s, uint32_t n_vocab, uint32_t position, nut_error *err) {
    const uint32_t from = nut_session_n_past(s);
    double read = 0, drawn[DRAWN];
    while (nut_session_n_past(s) < position) {
        const uint32_t left = position - nut_session_n_past(s);
        const double t = append(s, n_vocab, left < AT_ONCE ? left : AT_ONCE, err);
        if (t < 0) return false;
        read += t;
    }
    for (int i = 0; i < DRAWN; i++)
        if ((drawn[i] = append(s, n_vocab, 1, err)) < 0) return false;
    qsort(drawn, DRAWN, sizeof *drawn, by_size);
    printf("%8u %16.1f %14.1f\n", (unsigned)position, read > 0 ? (position - from) / read : 0,
           1 / drawn[DRAWN / 2]);
    fflush(stdout);
    return true;
}

int main(int argc, char **argv) {
    nut_error err;
    nut_load_options lo = nut_load_defaults();
    nut_session_options so = nut_session_defaults();
    nut_session *s = NULL;
    nut_model *m = argc > 1 ? model_file_load(argv[1], &lo, &err) : NULL;
    if (!m) return printf("usage: bench_positions MODEL.gguf [f16|q8_0]\n"), 1;
    so.n_ctx = CONTEXT, so.n_threads = 1, so.n_batch = AT_ONCE;
    if (argc > 2 && strcmp(argv[2], "q8_0") == 0) so.kv_type = NUT_KV_Q8_0;
    bool right = nut_session_new(m, &so, &s, &err) == NUT_OK;
    printf("%8s %16s %14s\n", "position", "prompt tokens/s", "drawn tokens/s");
    for (size_t i = 0; right && i < N_POSITIONS; i++)
        right = at_position(s, nut_model_n_vocab(m), positions[i], &err);
    if (!right) printf("%s\n", err.message);
    nut_session_free(s);
    nut_model_free(m);
    return !right;
}
