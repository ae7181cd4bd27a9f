/*
 * How fast a model goes on in a long context, on one thread: tokens per second of a prompt read behind 0,
 * 1,000, 2,000, 4,000 and 8,000 positions, and of what is drawn there (medians of 5 times 64 tokens, and of
 * 15 tokens). The positions before are not computed: the cache gets copies of the page of a text of 64
 * tokens, since how long a step takes does not depend on what is in it. Kinds of cache take turns.
 *
 *   make build/native/bench_positions && build/native/bench_positions MODEL.gguf [f16|q8_0|q4_0]...
 *   make build/wasi/bench_positions.wasm && wasmtime run --dir . build/wasi/bench_positions.wasm MODEL.gguf
 */
#include "../unit/model_file.h"
#include "base/clock.h"
#include "nutshell.h"
#include "run/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWN = 15, READ = 5, AT_ONCE = CACHE_TILE };
static const uint32_t positions[] = {0, 1000, 2000, 4000, 8000};
enum { N_POSITIONS = sizeof positions / sizeof *positions, CONTEXT = 8192 };

/* Appends n tokens, at most AT_ONCE; this thread's own seconds for it, negative where it fails. */
static double append(nut_session *s, uint32_t n_vocab, size_t n, nut_error *err) {
    int32_t ids[AT_ONCE];
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)((nut_session_n_past(s) + i) * 7919 % n_vocab);
    const double begin = clock_own_seconds();
    return nut_session_eval(s, ids, n, 1, err) == NUT_OK ? clock_own_seconds() - begin : -1;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of n times. */
static double median(double *seconds, size_t n) {
    qsort(seconds, n, sizeof *seconds, by_size);
    return seconds[n / 2];
}

/* Goes on to a position behind a first page that was computed. */
static bool fill(nut_session *s, uint32_t position, nut_error *err) {
    sequence *q = &s->seq;
    sequence_truncate(q, 0);
    if (append(s, nut_model_n_vocab(q->ws->model), AT_ONCE, err) < 0) return false;
    if (position <= q->n_past) return true;
    const uint32_t first = q->n_pages;
    sequence_claim(q, position - q->n_past);
    for (uint32_t i = first; i < q->n_pages; i++) memcpy(q->pages[i], q->pages[0], q->ws->pages.page_bytes);
    for (uint32_t i = 1; i < q->n_recent; i++)
        memcpy(q->recent + i * q->ws->recent_bytes, q->recent, q->ws->recent_bytes);
    for (; q->n_past < position; q->n_past++) q->tokens[q->n_past] = q->tokens[q->n_past % AT_ONCE];
    return true;
}

/* Medians of times n tokens behind a position; negative where it fails. */
static double behind(nut_session *s, uint32_t position, size_t n, size_t times, nut_error *err) {
    double seconds[DRAWN];
    for (size_t i = 0; i < times; i++) {
        sequence_truncate(&s->seq, position);
        if ((seconds[i] = append(s, nut_model_n_vocab(s->seq.ws->model), n, err)) < 0) return -1;
    }
    return median(seconds, times);
}

static bool at_position(nut_session *s, uint32_t position, nut_error *err) {
    const double read = !fill(s, position, err) ? -1 : behind(s, position, AT_ONCE, READ, err);
    const double drawn = read < 0 ? -1 : behind(s, position, 1, DRAWN, err);
    if (drawn > 0)
        printf("%8u %6s %16.1f %14.1f\n", (unsigned)position, nut_session_kv_type(s), (double)AT_ONCE / read,
               1 / drawn);
    fflush(stdout);
    return drawn > 0;
}

static nut_kv_type kind_of(const char *name) {
    int i = NUT_KV_COUNT - 1;
    while (i > 0 && strcmp(name, nut_kv_type_name((nut_kv_type)i))) i--;
    return (nut_kv_type)i;
}

static nut_session *open_session(const nut_model *m, nut_kv_type kind, nut_error *err) {
    const nut_session_options o = {.n_ctx = CONTEXT, .n_threads = 1, .n_batch = AT_ONCE, .kv_type = kind};
    nut_session *s = NULL;
    return nut_session_new(m, &o, &s, err) == NUT_OK ? s : NULL;
}

int main(int argc, char **argv) {
    nut_error err;
    nut_load_options lo = nut_load_defaults();
    nut_session *sessions[NUT_KV_COUNT];
    const size_t n = argc < 3 ? 1 : argc - 2 < NUT_KV_COUNT ? (size_t)argc - 2 : NUT_KV_COUNT;
    nut_model *m = argc > 1 ? model_file_load(argv[1], &lo, &err) : NULL;
    if (!m) return printf("usage: bench_positions MODEL.gguf [f16|q8_0|q4_0]...\n"), 1;
    bool right = true;
    for (size_t i = 0; i < n; i++)
        sessions[i] = right ? open_session(m, kind_of(argc < 3 ? "f16" : argv[2 + i]), &err) : NULL,
        right = sessions[i] != NULL;
    printf("%8s %6s %16s %14s\n", "position", "cache", "prompt tokens/s", "drawn tokens/s");
    for (size_t i = 0; right && i < N_POSITIONS * n; i++)
        right = at_position(sessions[i % n], positions[i / n], &err);
    if (!right) printf("%s\n", err.message);
    for (size_t i = 0; i < n; i++) nut_session_free(sessions[i]);
    nut_model_free(m);
    return !right;
}
