/* Compiled with the flags of src/kernels/relaxed.c and pairs.c: the only other file with relaxed
 * instructions. */
#include "bounds.h"

#include <string.h>

#define EACH_OF_8(X)  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define EACH_OF_10(X) EACH_OF_8(X) X(8) X(9)

#ifdef KERNEL_HAS_SIMD128
#include <wasm_simd128.h>

#define ADD_LOAD(i) s##i = wasm_v128_xor(s##i, wasm_v128_load(p + round + i));
#define BEGIN(i)    v128_t s##i = wasm_i32x4_splat((int32_t)any + i);
#define TOGETHER(i) s0 = wasm_v128_xor(s0, s##i);

static uint32_t fold(v128_t v) {
    return (uint32_t)(wasm_i32x4_extract_lane(v, 0) ^ wasm_i32x4_extract_lane(v, 1) ^
                      wasm_i32x4_extract_lane(v, 2) ^ wasm_i32x4_extract_lane(v, 3));
}

uint64_t bound_read(const void *bytes, size_t n_bytes) {
    const v128_t *p = bytes;
    const uint32_t any = 0;
    EACH_OF_8(BEGIN)
    for (size_t round = 0; round < n_bytes / sizeof(v128_t); round += 8) {
        EACH_OF_8(ADD_LOAD)
    }
    EACH_OF_8(TOGETHER)
    return fold(s0);
}

/* 10 sums at a time: a dot takes 5 cycles, two start in each cycle, and all sums are in registers. One
 * operand is read from the L1 cache, which uses none of the ports that compute; a compiler would move
 * dots of constants out of the loop, and compute equal ones once. */
enum { SUMS = 10, ROUNDS = 20000, NUMBERS = 64, MACS_I16 = 8, MACS_I8 = 16 };

#define DOT_LOOP(dot)                                                                                       \
    v128_t numbers[NUMBERS + SUMS],                                                                         \
        w = wasm_v128_and(wasm_i32x4_splat((int32_t)any), wasm_i8x16_splat(127));                           \
    memset(numbers, (int)any, sizeof numbers);                                                              \
    EACH_OF_10(BEGIN)                                                                                       \
    for (size_t round = 0; round < ROUNDS; round++) {                                                       \
        const v128_t *a = numbers + round % NUMBERS;                                                        \
        EACH_OF_10(dot)                                                                                     \
    }                                                                                                       \
    EACH_OF_10(TOGETHER)                                                                                    \
    return fold(s0)

#define DOT_I16(i) s##i = wasm_i32x4_add(s##i, wasm_i32x4_dot_i16x8(wasm_v128_load(a + i), w));
static uint32_t run_simd128(uint32_t any) {
    DOT_LOOP(DOT_I16);
}
#else
#define DECLARE(i)  uint64_t s##i = 0;
#define ADD_LOAD(i) s##i ^= p[round + i];
#define TOGETHER(i) s0 ^= s##i;

uint64_t bound_read(const void *bytes, size_t n_bytes) {
    const uint64_t *p = bytes;
    EACH_OF_8(DECLARE)
    for (size_t round = 0; round < n_bytes / sizeof *p; round += 8) {
        EACH_OF_8(ADD_LOAD)
    }
    EACH_OF_8(TOGETHER)
    return s0;
}
#endif

#ifdef KERNEL_HAS_RELAXED
#define DOT_I8(i) s##i = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_v128_load(a + i), w, s##i);
static uint32_t run_relaxed(uint32_t any) {
    DOT_LOOP(DOT_I8);
}

#define DOT_PAIRS(i)                                                                                        \
    s##i = wasm_i16x8_add(s##i, wasm_i16x8_relaxed_dot_i8x16_i7x16(wasm_v128_load(a + i), w));
static uint32_t run_pairs(uint32_t any) {
    DOT_LOOP(DOT_PAIRS);
}
#endif

static const bound_dots table[] = {
#ifdef KERNEL_HAS_RELAXED
    {"relaxed", SUMS *ROUNDS *MACS_I8, run_relaxed},
    {"pairs", SUMS *ROUNDS *MACS_I8, run_pairs},
#endif
#ifdef KERNEL_HAS_SIMD128
    {"simd128", SUMS *ROUNDS *MACS_I16, run_simd128},
#endif
    {NULL, 0, NULL},
};

const bound_dots *bound_dots_find(const char *set) {
    for (const bound_dots *b = table; b->set; b++)
        if (strcmp(b->set, set) == 0) return b;
    return NULL;
}
