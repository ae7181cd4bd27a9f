/* Floats to blocks of X4_T (blocks_x4.inc): d is a seventh of the largest magnitude. */
#include "base/half.h"
#include "kernels/blocks.h"

#include <math.h>
#include <string.h>

static uint8_t code_of(float x, float inverse) {
    const float code = roundf(x * inverse) + 8;
    return (uint8_t)(code >= 0 && code <= 15 ? code : code > 15 ? 15 : 0);
}

void quantize_X4_T(const float *src, size_t n, uint8_t *dst) {
    for (size_t b = 0; b < n; b++, src += FORMAT_UNIT, dst += 2 + FORMAT_UNIT / 2) {
        float amax = 0;
        for (int c = 0; c < FORMAT_UNIT; c++) amax = fabsf(src[c]) > amax ? fabsf(src[c]) : amax;
        const float d = amax / 7.0f, inverse = d != 0 ? 1.0f / d : 0;
        const uint16_t half = half_f32_to_f16(d);
        memcpy(dst, &half, 2);
        for (int i = 0; i < FORMAT_UNIT / 2; i++)
            dst[2 + i] = (uint8_t)(code_of(src[2 * i], inverse) | code_of(src[2 * i + 1], inverse) << 4);
    }
}
