/*
 * What the harnesses share. An input is the bytes of a file or of texts, followed by numbers that say what
 * is done with them. Numbers are read from the end, so that any file is a valid input and remains one when
 * bytes are added or removed. Memory is the counting allocator's (tests/unit/counting_alloc.h).
 *
 * EXPECT states what must hold for every input; where it does not, libFuzzer stores the input.
 */
#ifndef NUT_TESTS_FUZZ_H
#define NUT_TESTS_FUZZ_H

#include "../unit/counting_alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define EXPECT(cond, ...)                                                                                   \
    ((cond) ? (void)0                                                                                       \
            : (fprintf(stderr, "%s:%d: not so: %s: ", __FILE__, __LINE__, #cond),                           \
               fprintf(stderr, __VA_ARGS__), fprintf(stderr, "\n"), abort()))

typedef struct fuzz_input {
    const uint8_t *p;
    size_t n;
} fuzz_input;

/* The next number from the end; 0 if none is left. */
static inline uint8_t fuzz_u8(fuzz_input *in) {
    return in->n ? in->p[--in->n] : 0;
}
static inline uint32_t fuzz_u16(fuzz_input *in) {
    uint32_t low = fuzz_u8(in);
    return low | (uint32_t)fuzz_u8(in) << 8;
}

/* The next n bytes from the front, or as many as are left. */
static inline fuzz_input fuzz_front(fuzz_input *in, size_t n) {
    fuzz_input out = {in->p, n < in->n ? n : in->n};
    in->p += out.n;
    in->n -= out.n;
    return out;
}
static inline uint8_t fuzz_front_u8(fuzz_input *in) {
    fuzz_input one = fuzz_front(in, 1);
    return one.n ? one.p[0] : 0;
}

/* A copy in memory of exactly its size, so that a read past its end is detected; free() it. */
static inline void *fuzz_copy(fuzz_input in) {
    uint8_t *copy = malloc(in.n ? in.n : 1);
    if (!copy) abort();
    if (in.n) memcpy(copy, in.p, in.n);
    return copy;
}

/* An error has its code and a message. */
static inline void fuzz_check_error(nut_status status, const nut_error *err) {
    if (status == NUT_OK) return;
    EXPECT(err->code == status && err->message[0], "%s: \"%s\"", nut_status_name(status), err->message);
    EXPECT(status != NUT_E_MEMORY || counting.n_failed, "no allocation failed: %s", err->message);
}

/* Ends an input: no memory may be left. */
static inline void fuzz_end(void) {
    EXPECT(counting.alive == 0, "%zu blocks are left", counting.alive);
    counting_stop();
}

#endif
