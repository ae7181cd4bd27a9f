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

/* ---- of which half are zero ---- */

enum { SPARSE_MOST = 34 }; // bytes of a dense block

typedef struct sparse_kind {
    uint8_t bytes;    // of a block: its step, its places, its codes
    uint8_t n_places; // bytes that say where codes go: 3, 3 bits for four columns; 4, a bit for each
    uint8_t dense;    // bytes of the block that it becomes, of Q4_0 or Q8_0
} sparse_kind;
#define NUT_X(name, ...) extern const sparse_kind sparse_##name;
SPARSE_FORMAT_LIST(NUT_X)
#undef NUT_X

/* The block as one of the dense format. */
void blocks_fill(const sparse_kind *k, const uint8_t *src, uint8_t *dense);

/* Blocks to floats by packing them: what a page does with formats that vectors seldom have, in 3 kB less
 * than a function for each takes. A block that cannot be packed becomes no numbers. */
void blocks_floats_packed(const format *f, const uint8_t *src, size_t n, float *dst);

/* For wasm alone is size worth so much. */
#if defined(__wasm__) && defined(__clang__)
#define BLOCK_SMALL __attribute__((minsize))
#else
#define BLOCK_SMALL
#endif

#endif
