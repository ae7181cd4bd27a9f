/* Scales of coded tensors. */
#include "compress/coded_tensor.h"

#include <math.h>

enum { LAST = 255 };

uint8_t coded_scale_code(float x) {
    if (!(x > coded_scale(0))) return 0;
    if (x >= coded_scale(LAST)) return LAST;
    int exponent;
    const float mantissa = frexpf(x, &exponent); // x = mantissa * 2^exponent, 0.5 <= mantissa < 1
    int code = 8 * (exponent + 23) + (int)(16 * mantissa) - 8;
    const float below = coded_scale((uint8_t)code), above = coded_scale((uint8_t)(code + 1));
    if (x / below > above / x) code++; // codes go on over a power of two
    return (uint8_t)code;
}
