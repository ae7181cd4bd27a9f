/*
 * Counting work instead of measuring time: the library is compiled so that each of its basic blocks calls
 * __sanitizer_cov_trace_pc (clang's -fsanitize-coverage=trace-pc), and the C library's functions over bytes
 * are wrapped (-Wl,--wrap) so that each byte counts. The numbers are the same in every run. The depth of the
 * stack is recorded too.
 */
#ifndef NUT_TESTS_WORK_H
#define NUT_TESTS_WORK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WORK_PLAIN __attribute__((no_sanitize("coverage")))

static struct {
    uint64_t steps;
    uintptr_t top, deepest; // of the stack
} work;

void __sanitizer_cov_trace_pc(void);
WORK_PLAIN void __sanitizer_cov_trace_pc(void) {
    const uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    work.steps++;
    if (here < work.deepest) work.deepest = here;
}

/* X(return type, name, parameters, arguments) of functions that cost as many steps as their last argument
 * says. */
#define WORK_WRAPPED(X)                                                                                     \
    X(void *, memcpy, (void *a, const void *b, size_t n), (a, b, n))                                        \
    X(void *, memmove, (void *a, const void *b, size_t n), (a, b, n))                                       \
    X(void *, memset, (void *a, int b, size_t n), (a, b, n))                                                \
    X(void *, memchr, (const void *a, int b, size_t n), (a, b, n))                                          \
    X(int, memcmp, (const void *a, const void *b, size_t n), (a, b, n))

#define NUT_X(type, name, parameters, arguments)                                                            \
    type __real_##name parameters;                                                                          \
    type __wrap_##name parameters;                                                                          \
    WORK_PLAIN type __wrap_##name parameters {                                                              \
        work.steps += n;                                                                                    \
        return __real_##name arguments;                                                                     \
    }
WORK_WRAPPED(NUT_X)
#undef NUT_X

size_t __real_strlen(const char *s);
size_t __wrap_strlen(const char *s);
WORK_PLAIN size_t __wrap_strlen(const char *s) {
    const size_t n = __real_strlen(s);
    work.steps += n;
    return n;
}

/* Begins to count; work_end returns the steps since, and in *stack the bytes of stack that were used. */
WORK_PLAIN static inline void work_begin(void) {
    work.steps = 0;
    work.top = work.deepest = (uintptr_t)__builtin_frame_address(0);
}
WORK_PLAIN static inline uint64_t work_end(size_t *stack) {
    *stack = work.top - work.deepest;
    return work.steps;
}

#endif
