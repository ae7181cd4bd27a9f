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
#include "train/rounding.h"

// clang-format off
#define LEARN_LIST(X) \
    X(full)            \
    X(lora)            \
    X(dora)            \
    X(qa_lora)         \
    X(rounded)         \
    X(ternary)         \
    X(step)            \
    X(scales)
// clang-format on

typedef struct learn learn;
typedef struct learn_tensor learn_tensor;

typedef struct learn_kind learn_kind;

struct learn_kind {
    const char *name;
    const learn_kind *outside; // of matrices outside of layers; NULL: they, and vectors, are not learned
    bool ranked;               // it has factors of a rank
    /* Whether a matrix of a layer is one that it learns; NULL: all are. */
    bool (*takes)(const binding *b);
    /* How many of a matrix' numbers, its last ones, decay leaves as they are; NULL: none. */
    size_t (*n_steady)(const learn *l, const learn_tensor *t);
    /* Sets t->to, and takes t->blocks where the source's are needed; NULL: weights are floats. */
    nut_status (*plan)(const learn *l, learn_tensor *t, nut_error *err);
    /* Numbers that are learned for a matrix. */
    size_t (*n_numbers)(const learn *l, const learn_tensor *t);
    /* Sets the numbers from the weights that the model has; they give the same weights. */
    nut_status (*begin)(learn *l, learn_tensor *t, nut_error *err);
    /* Adds to the gradients of the numbers: dy (n, rows) of rows [row, row + rows) of the matrix, whose
     * input was x (n, n_cols). */
    void (*gradient)(learn *l, learn_tensor *t, size_t row, size_t rows, const float *x, const float *dy,
                     size_t n);
    /* Row `row` of the matrix that the numbers give, (n_cols); NULL: `block` says what it is. */
    void (*weights)(const learn *l, const learn_tensor *t, size_t row, float *out);
    /* Called when the numbers have changed, before `block`; NULL: nothing. */
    void (*prepare)(const learn *l, learn_tensor *t);
    /* The block of t->to that the numbers give for columns [col, col + t->to.to->block) of a row; by several
     * threads at once. */
    void (*block)(const learn *l, const learn_tensor *t, size_t row, size_t col, uint8_t *to);
};

#define NUT_X(name) extern const learn_kind learn_##name;
LEARN_LIST(NUT_X)
#undef NUT_X

/* The kind of a name; NULL: there is none. */
const learn_kind *learn_kind_by_name(const char *name);

/* The rows of a learned matrix as the model has them, to (n_rows, n_cols). */
void learn_rows(const learn_tensor *t, float *to);

/* Of learn_full, for kinds whose numbers are weights too. */
size_t learn_full_numbers(const learn *l, const learn_tensor *t);
nut_status learn_full_begin(learn *l, learn_tensor *t, nut_error *err);
void learn_full_gradient(learn *l, learn_tensor *t, size_t row, size_t rows, const float *x, const float *dy,
                         size_t n);

/* Of learn_lora, for kinds whose first numbers are A (rank, width) and B (n_rows, rank). `begin` sets them;
 * `gradient` adds to their gradients that of s B A x, x (n, width), for rows as learn_kind.gradient has
 * them; `factors` gives where they are. */
typedef struct learn_factors {
    float *a, *b;
} learn_factors;
learn_factors learn_lora_factors(const learn_tensor *t, float *numbers, size_t width);
void learn_lora_begin(learn *l, const learn_tensor *t, size_t width);
void learn_lora_gradient(learn *l, const learn_tensor *t, size_t width, size_t row, size_t rows,
                         const float *x, const float *dy, size_t n);

/* Of learn_step: the block of type f of multiples of a step, which a half float holds; false: it cannot, but
 * for f's own search. */
bool learn_step_pack(const format *f, float step, const int *codes, uint8_t *to);

struct learn_tensor {
    const gguf_tensor *source;
    const binding *place;
    const learn_kind *kind; // of a matrix; NULL: a vector
    size_t n_rows, n_cols;  // n_rows 1 for a vector
    size_t n, at;           // numbers, and where they begin
    size_t n_steady;        // of them, the last ones: decay leaves them as they are
    size_t rank;            // of an adapter
    float *base;            // (n_rows, n_cols) weights that an adapter is added to, or as a kind has it
    rounding to;            // the type of a kind of blocks; to.to NULL: floats
    uint8_t *blocks;        // (source->n_bytes) as the source has them, which the caller reads; or NULL
    float scale;            // of all weights, where a kind has one
};

typedef struct learn_options {
    const char *names; // "all", "norms", or names of tensors parted by commas, with * for anything
    const learn_kind *kind;
    const char *type; // of kinds that round
    // of adapters
    uint32_t rank;
    double alpha;    // what is added is multiplied by it, divided by the rank; 0: as it is
    double scale;    // and by this
    uint64_t seed;   // of the first factor
    size_t n_tokens; // most of a gradient
    size_t n_beside; // numbers of the caller's that are learned beside the model's
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
    size_t beside;    // where those beside the model's begin
    float *numbers;   // (n) the caller's
    float *gradients; // (n)
    float *row;       // (members of the team, the longest row)
    size_t longest;
    nut_error misfit; // of the last matrix that the type does not fit
    float *low[2];    // (n_tokens, the highest rank) of adapters
    pass_learner hooks;
};

/* Chooses tensors among those that are bound, of all n_layers loads, which must outlive it. E_ARGUMENT where
 * a name fits none, E_UNSUPPORTED where a tensor cannot be learned. Where the numbers are is then to be set.
 */
nut_status learn_new(nut_model *m, const layer_load *loads, size_t n_loads, dense *d,
                     const learn_options *options, learn **out, nut_error *err);
void learn_free(learn *l); // NULL is allowed

/* Sets l->numbers, which are memory for l->n, from the model's weights, and gives it what a kind makes of
 * them. Blocks of the source are read before. */
nut_status learn_begin(learn *l, nut_error *err);
/* Gives the model the weights of the numbers. */
void learn_apply(learn *l);
/* Adds the gradients of the embeddings of ids (n), dx (n, n_embd). */
void learn_embedded(learn *l, const int32_t *ids, const float *dx, size_t n);
/* The learned tensor of a source's, or NULL. */
const learn_tensor *learn_find(const learn *l, const gguf_tensor *source);
/* Part i of a learned matrix: a tensor may be several, or a stack of them, in the order of its rows; NULL:
 * there are no more. */
const matrix *learn_part(const learn_tensor *t, size_t i);
/* Row `row` of a learned tensor as it stands, (n_cols). */
void learn_row(const learn *l, const learn_tensor *t, size_t row, float *out);
/* The tensor with the largest of the numbers x (l->n), or with the first that is not finite; *value receives
 * that number, without its sign. */
const learn_tensor *learn_worst(const learn *l, const float *x, double *value);

/* Row `row` of a tensor that is learned as blocks, as a file has it. */
void learn_blocks(const learn *l, const learn_tensor *t, size_t row, uint8_t *out);

/* What an adapter is multiplied by. */
double learn_lora_scale(const learn *l, const learn_tensor *t);

#endif
