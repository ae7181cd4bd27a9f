/*
 * Packing: blocks of one row from a file into the row's lane of a group. A row arrives in pieces as the file
 * does, so that a lane is written alone.
 */
#include "kernels/blocks.h"
#include "kernels/blocks.inc"

BLOCK_INLINE bool block_put(const code_layout *l, uint8_t *block, uint32_t lane, const block_parts *from) {
    const bool right = scales_put(l->scales, block, lane, from);
    block += layout_head(l);
    for (uint32_t u = 0; u < l->scales->n_units; u++, block += l->codes->bytes)
        l->codes->put(l->codes, block, lane, from->codes + UNIT_WORDS * u);
    return right;
}

#define PACK(name, layout, block, bytes)                                                                    \
    bool pack_##name(uint8_t *group, uint32_t lane, size_t first, size_t n, const uint8_t *src) {           \
        const code_layout *l = &layout_##layout;                                                            \
        block_parts parts;                                                                                  \
        bool right = true;                                                                                  \
        _Static_assert(block == COLUMNS_##layout, #name " has blocks of another size than its layout");     \
        group += first * layout_bytes(l);                                                                   \
        for (size_t b = 0; b < n; b++, group += layout_bytes(l)) {                                          \
            read_##name(src + b * bytes, &parts);                                                           \
            right &= block_put(l, group, lane, &parts);                                                     \
        }                                                                                                   \
        return right;                                                                                       \
    }
#define NUT_X(name, layout, type, block, bytes, ...) PACK(name, layout, block, bytes)
MAIN_FORMAT_LIST(NUT_X)
#undef NUT_X
#define NUT_X(name, layout, type, block, bytes, ...) BLOCK_SMALL PACK(name, layout, block, bytes)
MORE_FORMAT_LIST(NUT_X)
TABLE_FORMAT_LIST(NUT_X)
OWN_FORMAT_LIST(NUT_X)
#undef NUT_X

typedef bool pack_fn(uint8_t *group, uint32_t lane, size_t first, size_t n, const uint8_t *src);

/* Blocks of which half of the columns are zero, by the function of the dense format. */
BLOCK_SMALL static bool pack_sparse(pack_fn *pack, const sparse_kind *k, uint8_t *group, uint32_t lane,
                                    size_t first, size_t n, const uint8_t *src) {
    uint8_t dense[SPARSE_MOST];
    bool right = true;
    for (size_t b = 0; b < n; b++, src += k->bytes) {
        blocks_fill(k, src, dense);
        right &= pack(group, lane, first + b, 1, dense);
    }
    return right;
}

#define NUT_X(name, layout, type, block, bytes, quantize, dense, n_places)                                  \
    bool pack_##name(uint8_t *group, uint32_t lane, size_t first, size_t n, const uint8_t *src) {           \
        return pack_sparse(pack_##dense, &sparse_##name, group, lane, first, n, src);                       \
    }
SPARSE_FORMAT_LIST(NUT_X)
#undef NUT_X

#define NUT_X(name, layout, type, bytes)                                                                    \
    bool pack_##name(uint8_t *group, uint32_t lane, size_t first, size_t n, const uint8_t *src) {           \
        for (size_t c = 0; c < n; c++)                                                                      \
            memcpy(group + bytes * (L * (first + c) + lane), src + bytes * c, bytes);                       \
        return true;                                                                                        \
    }
FLOAT_FORMAT_LIST(NUT_X)
#undef NUT_X
