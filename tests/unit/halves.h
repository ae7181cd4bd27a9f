/* Where the scales of a file's block are that are floating-point: halves, and what their value is times in
 * the layout. Origin: ggml-common.h of llama.cpp. */
#ifndef NUT_TESTS_HALVES_H
#define NUT_TESTS_HALVES_H

#include "kernels/formats.h"

#include <string.h>

/* As a place: four bits in each of the four words at 48, at their top. */
enum { HALF_SPREAD = -1 };

static const struct {
    format_id id;
    int n, at[2];
    float factor;
    float largest; // code times scale
} halves_places[] = {
    {FORMAT_Q8_0, 1, {0, 0}, 1, 127},
    {FORMAT_Q4_0, 1, {0, 0}, 1, 8},
    {FORMAT_STEP2, 1, {0, 0}, 1, 2},
    {FORMAT_Q4_24, 1, {0, 0}, 1, 8},
    {FORMAT_Q4_48, 1, {0, 0}, 1, 8},
    {FORMAT_Q8_24, 1, {0, 0}, 1, 128},
    {FORMAT_Q4_1, 2, {0, 2}, 1, 15},
    {FORMAT_Q5_0, 1, {0, 0}, 1, 16},
    {FORMAT_Q5_1, 2, {0, 2}, 1, 31},
    {FORMAT_Q2_K, 2, {80, 82}, 1, 45},
    {FORMAT_Q3_K, 1, {108, 0}, 1, 128},
    {FORMAT_Q4_K, 2, {0, 2}, 1, 945},
    {FORMAT_Q5_K, 2, {0, 2}, 1, 1953},
    {FORMAT_Q6_K, 1, {208, 0}, 1, 4064},
    {FORMAT_IQ1_S, 1, {0, 0}, 0.125f, 16.875f},
    {FORMAT_IQ1_M, 1, {HALF_SPREAD, 0}, 0.125f, 16.875f},
    {FORMAT_IQ2_XXS, 1, {0, 0}, 0.125f, 166.625f},
    {FORMAT_IQ2_XS, 1, {0, 0}, 0.125f, 166.625f},
    {FORMAT_IQ2_S, 1, {0, 0}, 0.125f, 166.625f},
    {FORMAT_IQ3_XXS, 1, {0, 0}, 0.5f, 480.5f},
    {FORMAT_IQ3_S, 1, {0, 0}, 1, 465},
    {FORMAT_IQ4_NL, 1, {0, 0}, 1, 127},
    {FORMAT_IQ4_XS, 1, {0, 0}, 1, 4064},
    {FORMAT_TQ1_0, 1, {52, 0}, 0.125f, 1},
    {FORMAT_TQ2_0, 1, {64, 0}, 0.125f, 2},
};

/* The places of the halves of a format's block to at (2); returns how many there are. */
static inline int halves_of(format_id id, int *at) {
    for (size_t i = 0; i < sizeof halves_places / sizeof *halves_places; i++)
        if (halves_places[i].id == id) {
            at[0] = halves_places[i].at[0], at[1] = halves_places[i].at[1];
            return halves_places[i].n;
        }
    return 0;
}

static inline float halves_factor(format_id id) {
    for (size_t i = 0; i < sizeof halves_places / sizeof *halves_places; i++)
        if (halves_places[i].id == id) return halves_places[i].factor;
    return 1;
}

static inline float halves_largest(format_id id) {
    for (size_t i = 0; i < sizeof halves_places / sizeof *halves_places; i++)
        if (halves_places[i].id == id) return halves_places[i].largest;
    return 1;
}

static inline void half_put(uint8_t *block, int at, uint16_t h) {
    if (at != HALF_SPREAD) {
        memcpy(block + at, &h, 2);
        return;
    }
    for (int i = 0; i < 4; i++)
        block[49 + 2 * i] = (uint8_t)((block[49 + 2 * i] & 15) | (h >> 4 * i & 15) << 4);
}

static inline uint16_t half_get(const uint8_t *block, int at) {
    uint16_t h = 0;
    if (at != HALF_SPREAD) {
        memcpy(&h, block + at, 2);
        return h;
    }
    for (int i = 0; i < 4; i++) h = (uint16_t)(h | (block[49 + 2 * i] >> 4) << 4 * i);
    return h;
}

/* Makes the scales of a random block ordinary: below 64, as pack wants them. */
static inline void tame_scales(const format *f, uint8_t *block) {
    int at[2];
    for (int k = halves_of(f->id, at); k-- > 0;) {
        const uint16_t h = half_get(block, at[k]);
        half_put(block, at[k], (uint16_t)((h & 0x83ff) | (h >> 10 & 31) % 21 << 10));
    }
    if (f->id == FORMAT_MXFP4) block[0] %= 134;
}

#endif
