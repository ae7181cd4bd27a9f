/*
 * Failing allocations for the shell: all calls of the allocator, the engine's too, go through this file
 * (-Wl,--wrap). NUT_FAIL_AT=k makes the k-th call fail, and NUT_FAIL_ALL=1 all after it. The number of calls
 * is printed at the end.
 */
#include <stdio.h>
#include <stdlib.h>

/* X(name, parameters, arguments) */
#define WRAPPED(X)                                                                                          \
    X(malloc, (size_t n), (n))                                                                              \
    X(calloc, (size_t n, size_t size), (n, size))                                                           \
    X(realloc, (void *p, size_t n), (p, n))                                                                 \
    X(aligned_alloc, (size_t alignment, size_t n), (alignment, n))

static unsigned long n_calls, fail_at;
static int fail_all;

static void say_calls(void) {
    fprintf(stderr, "%lu allocations\n", n_calls);
}

static int fails(void) {
    if (n_calls++ == 0) {
        const char *at = getenv("NUT_FAIL_AT");
        fail_at = at ? strtoul(at, NULL, 10) : 0;
        fail_all = getenv("NUT_FAIL_ALL") != NULL;
        atexit(say_calls);
    }
    return fail_at && (fail_all ? n_calls >= fail_at : n_calls == fail_at);
}

#define NUT_X(name, parameters, arguments)                                                                  \
    void *__real_##name parameters;                                                                         \
    void *__wrap_##name parameters;                                                                         \
    void *__wrap_##name parameters {                                                                        \
        return fails() ? NULL : __real_##name arguments;                                                    \
    }
WRAPPED(NUT_X)
#undef NUT_X
