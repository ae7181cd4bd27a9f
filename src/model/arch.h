/*
 * The architecture table: a model family is one row. A row says how the family rotates, which optional
 * tensors it has, and so which names and shapes a file must bring; nothing else in the engine knows a family
 * by name.
 */
#ifndef NUT_MODEL_ARCH_H
#define NUT_MODEL_ARCH_H

#include "model/model.h"

enum { ARCH_QKV_BIAS = 1, ARCH_QK_NORM = 2 };

typedef struct arch {
    const char *name; // general.architecture
    model_rope rope;
    unsigned flags;
} arch;

typedef enum arch_kind { ARCH_MATRIX, ARCH_VECTOR } arch_kind; // packed product, or plain floats

/* A tensor of the model or of each layer. */
typedef struct arch_tensor {
    const char *name; // behind "blk.N." for a layer's
    bool in_layer;
    arch_kind kind;
    size_t to; // offset of the matrix, or of the const float *, in nut_model or model_layer
    bool optional;
    unsigned flag;   // only of families with this flag; 0: of all
    char rows, cols; // letters of arch_size; rows '1' for vectors
} arch_tensor;

extern const arch_tensor arch_tensors[];
extern const size_t arch_n_tensors;

const arch *arch_find(gguf_str name);
/* "llama, qwen2, qwen3" */
const char *arch_names(void);

/* V n_vocab, E n_embd, Q n_head * head_dim, K n_head_kv * head_dim, D head_dim, F n_ff, R n_rot / 2, 1 */
uint64_t arch_size(const model_hparams *hp, char letter);

/* Reads and checks the hyperparameters of a complete header. n_vocab is the vocabulary's size. */
nut_status arch_hparams(const gguf *g, const arch *a, uint32_t n_vocab, model_hparams *out, nut_error *err);

#endif
