/* How alike the directions of two vectors are. */
#ifndef NUT_BASE_COSINE_H
#define NUT_BASE_COSINE_H

#include <stddef.h>

/* The cosine of the angle between a (n) and b (n), summed in double. Two vectors of zeros are alike (1), one
 * of zeros is unlike any other (0). */
double cosine_of(const float *a, const float *b, size_t n);

#endif
