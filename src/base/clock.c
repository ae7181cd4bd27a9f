/* POSIX's monotonic clock, which WASI and Emscripten have too. */
#include "base/clock.h"

#include <time.h>

static double seconds(const struct timespec *t) {
    return (double)t->tv_sec + (double)t->tv_nsec * 1e-9;
}

double clock_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return seconds(&t);
}

double clock_own_seconds(void) {
#if defined(CLOCK_THREAD_CPUTIME_ID) && !defined(__wasm__)
    struct timespec t;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0) return seconds(&t);
#endif
    return clock_seconds();
}

double clock_work_seconds(unsigned n_threads) {
    return n_threads > 1 ? clock_seconds() : clock_own_seconds();
}
