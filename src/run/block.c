/* The kinds of blocks by their ids. */
#include "run/block.h"

const block_kind *const block_kinds[BLOCK_COUNT] = {
#define NUT_X(name) &block_##name,
    LINKED_BLOCK_LIST(NUT_X)
#undef NUT_X
};

const block_spec *const block_specs[BLOCK_COUNT] = {
#define NUT_X(name) &block_##name.spec,
    LINKED_BLOCK_LIST(NUT_X)
#undef NUT_X
};
