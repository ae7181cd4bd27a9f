/*
 * What is learned of a model: which tensors, by what numbers, and where those and their gradients are. A
 * kind of learning says how numbers become weights and how gradients of weights become gradients of those
 * numbers; matrices may be learned in any kind, vectors are learned as they are. The numbers of all tensors
 * lie one after the other, so that the optimizer and checkpoints see one array.
 *
 * To add a kind: a file learn_NAME.c with learn_NAME, and a line of LEARN_LIST.
 */
#ifndef NUT_TRAIN_LEARN_H
#define NUT_TRAIN_LEARN_H

#include "run/layer_load.h"
#include "train/pass.h"

// clang-format off
#define LEARN_LIST(X) \
    X(full)            \
    X(lora)
// clang-format on

typedef struct learn learn;
typedef struct learn_tensor learn_tensor;

typedef struct learn_kind {
    const char *name;
    /* Numbers that are learned for a matrix. */
    size_t (*n_numbers)(const learn *l, const learn_tensor *t);
    /* Sets the numbers from the weights that the model has; they give the same weights. */
    nut_status (*begin)(learn *l, learn_tensor *t, nut_error *err);
    /* Adds to the gradients of the numbers: dy (n, rows) of rows [row, row + rows) of the matrix, whose
     * input was x (n, n_cols). */
    void (*gradient)(learn *l, learn_tensor *t, size_t row, size_t rows, const float *x, const float *dy,
                     size_t n);
    /* Row `row` of the matrix that the numbers give, (n_cols). */
    void (*weights)(const learn *l, const learn_tensor *t, size_t row, float *out);
} learn_kind;

#define NUT_X(name) extern const learn_kind learn_##name;
LEARN_LIST(NUT_X)
#undef NUT_X

struct learn_tensor {
    const gguf_tensor *source;
    const binding *place;
    const learn_kind *kind; // of a matrix; NULL: a vector
    size_t n_rows, n_cols;  // n_rows 1 for a vector
    size_t n, at;           // numbers, and where they begin
    size_t rank;            // of an adapter
    float *base;            // (n_rows, n_cols) weights that an adapter is added to; or NULL
};

typedef struct learn_options {
    const char *names; // "all", "norms", or names of tensors parted by commas, with * for anything
    const learn_kind *kind;
    // of adapters
    uint32_t rank;
    double alpha;    // what is added is multiplied by it, divided by the rank; 0: as it is
    double scale;    // and by this
    uint64_t seed;   // of the first factor
    size_t n_tokens; // most of a gradient
    /* The rank for a tensor, 0 for none, in the place of `rank`; NULL: that one. */
    uint32_t (*rank_of)(const void *ctx, gguf_str name);
    const void *ctx;
} learn_options;

struct learn {
    nut_model *m;
    dense *d;
    learn_options options;
    learn_tensor *tensors; // (n_tensors) in the order of the file
    size_t n_tensors;
    size_t n;         // numbers of all
    float *numbers;   // (n) the caller's
    float *gradients; // (n)
    float *row;       // (the longest row)
    float *low[2];    // (n_tokens, the highest rank) of adapters
    pass_learner hooks;
};

/* Chooses tensors among those that are bound, of all n_layers loads, which must outlive it. E_ARGUMENT where
 * a name fits none, E_UNSUPPORTED where a tensor cannot be learned. Where the numbers are is then to be set.
 */
nut_status learn_new(nut_model *m, const layer_load *loads, size_t n_loads, dense *d,
                     const learn_options *options, learn **out, nut_error *err);
void learn_free(learn *l); // NULL is allowed

/* Sets l->numbers, which are memory for l->n, from the model's weights. */
nut_status learn_begin(learn *l, nut_error *err);
/* Gives the model the weights of the numbers. */
void learn_apply(learn *l);
/* Adds the gradients of the embeddings of ids (n), dx (n, n_embd). */
void learn_embedded(learn *l, const int32_t *ids, const float *dx, size_t n);
/* The learned tensor of a source's, or NULL. */
const learn_tensor *learn_find(const learn *l, const gguf_tensor *source);
/* Row `row` of a learned tensor as it stands, (n_cols). */
void learn_row(const learn *l, const learn_tensor *t, size_t row, float *out);
/* The tensor with the largest of the numbers x (l->n), or with the first that is not finite; *value receives
 * that number, without its sign. */
const learn_tensor *learn_worst(const learn *l, const float *x, double *value);

/* What an adapter is multiplied by. */
double learn_lora_scale(const learn *l, const learn_tensor *t);

#endif
