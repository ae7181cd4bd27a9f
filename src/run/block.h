/*
 * Kinds of blocks. A layer is a mixer, which takes from other positions, and a feed-forward; each is of a
 * kind, and a kind is one file that says what it has in a model file, what memory it wants, and how it runs.
 * A kind is listed in PUBLISHED_BLOCK_LIST of model/arch.h.
 */
#ifndef NUT_RUN_BLOCK_H
#define NUT_RUN_BLOCK_H

#include "run/linear.h"
#include "run/session.h"

/* What the rows of a kind's tensors say. */
#define MATRIX(letters) .kind = TENSOR_MATRIX, .shape = letters
#define STACK(letters)  .kind = TENSOR_STACK, .shape = letters
#define VECTOR(letters) .kind = TENSOR_VECTOR, .shape = letters

typedef struct block_kind {
    block_spec spec;
    /* Describes the buffers that one step needs in the layers m->hp.most; scratch is the kind's struct of
     * pointers, at most BLOCK_SCRATCH_BYTES. */
    void (*want)(const nut_model *m, size_t n_batch, void *scratch, memory_walk *w);
    /* Bytes that a layer keeps for a tile of positions; NULL: none. */
    size_t (*page_bytes)(const layer_hparams *l, const cache_kind *kind);
    /* out (n, n_embd padded to 8) = block(x), x (n, n_embd), for the step's layer. */
    void (*run)(forward_step *s, const float *x, float *out);
    /* Floats that a layer keeps of a sequence's past, of any length: step_state. Zeros at position 0. NULL:
     * none. */
    size_t (*state)(const model_hparams *hp);
} block_kind;

/* By block id. */
extern const block_kind *const block_kinds[BLOCK_COUNT];
extern const block_spec *const block_specs[BLOCK_COUNT];

#define NUT_X(name) extern const block_kind block_##name;
BLOCK_LIST(NUT_X)
#undef NUT_X

/* The buffers of a kind, as its want has described them. */
static inline void *block_scratch_of(const forward_step *s, unsigned id) {
    return s->ws->scratch[id].bytes;
}

#endif
