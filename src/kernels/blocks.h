/* The functions of the formats table, one of each kind per row that has it: pack.c, blocks.c. */
#ifndef NUT_KERNELS_BLOCKS_H
#define NUT_KERNELS_BLOCKS_H

#include "kernels/formats.h"

#define NUT_X(name, ...)                                                                                    \
    bool pack_##name(uint8_t *group, uint32_t lane, size_t first, size_t n, const uint8_t *src);            \
    void dequantize_##name(const uint8_t *src, size_t n, float *dst);                                       \
    void quantize_##name(const float *src, size_t n, uint8_t *dst); // where the row names it
FORMAT_LIST(NUT_X)
#undef NUT_X

#endif
