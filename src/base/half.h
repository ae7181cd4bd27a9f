/* Half floats (IEEE 754 binary16, and bfloat16) to float, which is exact, and from float, rounded to nearest
 * even. Portable bit arithmetic: wasm has no half floats. */
#ifndef NUT_BASE_HALF_H
#define NUT_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float half_bits_to_f32(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline uint32_t half_f32_to_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

/* binary16 shifted into a float's fields has an exponent that is 112 too small. The multiplication corrects
 * it, for subnormals too; infinity and NaN take the branch. */
static inline float half_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = (uint32_t)(h & 0x7fffu) << 13;
    if ((h & 0x7c00u) == 0x7c00u) return half_bits_to_f32(sign | 0x7f800000u | (rest & 0x007fffffu));
    float f = half_bits_to_f32(rest) * 0x1p112f;
    return half_bits_to_f32(sign | half_f32_to_bits(f));
}

static inline uint16_t half_f32_to_f16(float f) {
    uint32_t u = half_f32_to_bits(f), sign = (u >> 16) & 0x8000u;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (u >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); // 65520 and above round to infinity
    if (u < 0x38800000u) {                                   // subnormal: let the adder round
        float r = half_bits_to_f32(u) + 0.5f;
        return (uint16_t)(sign | (half_f32_to_bits(r) - 0x3f000000u));
    }
    u += 0xc8000fffu + ((u >> 13) & 1u);
    return (uint16_t)(sign | (u >> 13));
}

static inline float half_bf16_to_f32(uint16_t h) {
    return half_bits_to_f32((uint32_t)h << 16);
}

static inline uint16_t half_f32_to_bf16(float f) {
    uint32_t u = half_f32_to_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 64u);
    return (uint16_t)((u + (0x7fffu + ((u >> 16) & 1u))) >> 16);
}

#endif
