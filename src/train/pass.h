/*
 * A model in floats, forward and backward, layer by layer: what gradients are computed with. Weights are
 * read from a bound layer whatever layout it has, one matrix at a time; nothing of a layer is kept but its
 * input, from which the way back computes the rest again. Tokens are windows of one length, each a text of
 * its own from position 0.
 *
 * The way back gives the gradient of each linear's output and of the residual, which is what measures of
 * sensitivity need (Fisher information), and, to a learner, what gradients of weights are made of.
 *
 *     pass.c         memory, norms, the walk through a layer
 *     pass_linear.c  products
 *     pass_learn.c   gradients of vectors
 *     grad_NAME.c    kinds of blocks, one file each, as in run/
 *     pass_head.c    logits, the loss, and the gradients of both
 */
#ifndef NUT_TRAIN_PASS_H
#define NUT_TRAIN_PASS_H

#include "kernels/dense.h"
#include "model/arch.h"
#include "run/memory.h"

typedef struct pass pass;

/* Sees the inputs x (n, n_in) of a linear, or the gradients (n, n_out) of what it gives. */
typedef void pass_tap(void *ctx, const linear *l, const float *x, size_t n);

/* Who learns, on the way back (learn.h). */
typedef struct pass_learner {
    void *ctx;
    /* Takes the inputs x (n, n_in) of a linear and the gradients dy (n, n_out) of what it gives. */
    void (*linear)(void *ctx, const linear *l, const float *x, const float *dy, size_t n);
    /* Where the gradient of a vector of weights is added to; NULL: it is not learned. */
    float *(*vector)(void *ctx, const float *weights);
} pass_learner;

/* The attention of one layer, seen or pulled (hint.c). */
typedef struct pass_relation {
    const model_layer *layer;
    bool pulls;     // on the way back; else its weights are kept on the way forward
    float *weights; // (n / window, n_head, window, window) that are kept, or that it is pulled to
    double pull;    // times the divergence of a token's row
    double *values; // (n / window, n_head) those divergences' sums
    /* How alike values are: (n / window, n_head_kv, window, window), kept or pulled to likewise, with the
     * sums of their divergences, (n / window, n_head_kv). NULL: attention alone. */
    float *alike;
    double pull_alike, *values_alike;
    const int32_t *labels; // (n) of tokens, -1: its row is not pulled
} pass_relation;

enum { PASS_MEMBERS = 64 };                             // of a team
enum { PASS_HEAD_ROWS = 1024, PASS_HEAD_TOKENS = 512 }; // logits at once

/* What the head knows of a token while the vocabulary goes by. */
typedef struct pass_label {
    float most;  // of the logits so far
    double sum;  // of e^(logit - most)
    double left; // of a uniform number that the probabilities have not reached
    double loss;
    int32_t label; // -1: not drawn yet
} pass_label;

struct pass {
    const nut_model *m;
    dense *d;
    threads *alone;           // a team of one
    dense *own[PASS_MEMBERS]; // for each member of the team: products that it does alone
    size_t n, window;         // tokens, a multiple of those of a window
    bool backward;            // gradients can be computed
    arena memory;
    float *rope;                   // (n_ropes, window, 2, n_rot / 2)
    float *weights;                // of one matrix, or of some rows of the vocabulary's
    float *normed, *made;          // (n, n_embd) input and result of a block
    float *middle;                 // (n, n_embd) residual between the halves of a layer
    float *fed;                    // (n, n_embd) result of the feed-forward, on the way back
    float *d_made, *d_normed;      // (n, n_embd) their gradients
    float *mixer, *ffn;            // (n, floats of a token) of the kinds of blocks
    float *scores;                 // (members, 3, window, window)
    pass_label *labels;            // (PASS_HEAD_TOKENS)
    float *logits, *probabilities; // (PASS_HEAD_TOKENS, PASS_HEAD_ROWS)
    pass_tap *input, *gradient;    // NULL: none
    void *tap_ctx;
    const pass_learner *learner; // NULL: none
    pass_relation *relation;     // NULL: none
    const model_layer *layer;    // that is worked on
};

/* What this room knows of a kind of block. */
typedef struct grad_kind {
    /* Floats that the largest layer needs for a token: forward, and more for the way back. */
    size_t (*n_floats)(const nut_model *m, bool backward);
    /* y (n, n_embd) = block(x), x (n, n_embd) */
    void (*forward)(pass *p, const float *x, float *y);
    /* dx (n, n_embd) from dy (n, n_embd), after forward with the same x. */
    void (*backward)(pass *p, const float *x, const float *dy, float *dx);
} grad_kind;

/* By block id; NULL: a kind that this room cannot compute. */
extern const grad_kind *const grad_kinds[BLOCK_COUNT];
extern const grad_kind grad_mix_attention, grad_mix_linear, grad_ffn_gated, grad_ffn_experts;

/* For n tokens at a time in windows of `window`. The team and the model, whose layers need not be bound,
 * must outlive it. E_UNSUPPORTED where its family has what is not known here. */
nut_status pass_new(const nut_model *m, threads *team, size_t n, size_t window, bool backward, pass **out,
                    nut_error *err);
void pass_free(pass *p); // NULL is allowed

/* x (n, n_embd) = the embeddings of ids (n). What is outside of layers is bound. */
void pass_embed(pass *p, const int32_t *ids, float *x);
/* Layer il, which is bound: its output replaces x (n, n_embd). */
void pass_forward(pass *p, uint32_t il, float *x);
/* The way back through layer il, whose input was x: dx (n, n_embd), the gradient of its output, becomes that
 * of its input. */
void pass_backward(pass *p, uint32_t il, const float *x, float *dx);

/* ---- the head (pass_head.c) ---- */

typedef struct pass_head {
    uint64_t seed;         // of the labels that are drawn
    const int32_t *labels; // (n), or NULL: each is drawn from the model's own distribution
    double *row_variance;  // (n_vocab): p (1 - p) of each token of the vocabulary is added; or NULL
    double loss;           // the sum of -log p(label) is added
} pass_head;

/* dx (n, n_embd) = the gradient of the sum of -log p(label) by the last layer's output x (n, n_embd). The
 * input tap sees the output's linear. */
void pass_head_gradient(pass *p, pass_head *h, const float *x, float *dx);
/* Norms in front of the head, (n, n_embd); the input tap sees them. */
void pass_head_input(pass *p, const float *x, float *y);

/* ---- parts (pass.c, pass_linear.c) ---- */

typedef void pass_item(pass *p, size_t item, unsigned member, void *ctx);
/* Calls fn for each of n items, which the team shares. */
void pass_each(pass *p, size_t n, pass_item *fn, void *ctx);

/* y (n, n_out) = W (s x) + b for each token, x (n, n_in) */
void pass_linear(pass *p, const linear *l, const float *x, float *y);
/* dx (n, n_in) = the gradient of x (n, n_in), or is added to it, for dy (n, n_out). x is read for a learner
 * alone, before dx is written: they may be the same. */
void pass_linear_back(pass *p, const linear *l, const float *x, const float *dy, bool add, float *dx);
/* The same of n tokens, at most p->n. */
void pass_linear_of(pass *p, const linear *l, size_t n, const float *x, float *y);
void pass_linear_back_of(pass *p, const linear *l, size_t n, const float *x, const float *dy, bool add,
                         float *dx);
/* Rows [row, row + n) of a linear's matrix to p->weights, times the scale of its input; its row length
 * apart. */
void pass_unpack(pass *p, const linear *l, size_t row, size_t n);

/* RMSNorm as kernels have it, backward: dx = or += for one vector of n; w NULL: ones. */
void pass_rms_norm_back(const float *x, const float *w, const float *dy, size_t n, float eps, bool add,
                        float *dx);
/* A norm of the family, or none, of each token. y may be x. */
void pass_norm(pass *p, const norm_weights *w, const float *x, float *y);
void pass_norm_back(pass *p, const norm_weights *w, const float *x, const float *dy, bool add, float *dx);

/* ---- a gate (grad_gated.c) ---- */

/* hidden = act(gate) * up, of n vectors of n_ff. */
void pass_gate(pass *p, size_t n, size_t n_ff, const float *gate, const float *up, float *hidden);
/* From the gradient of hidden those of gate and up, in their places. */
void pass_gate_back(pass *p, size_t n, size_t n_ff, float *gate, float *up, const float *d_hidden);

/* ---- gradients of vectors, where there is a learner (pass_learn.c) ---- */

/* Of an RMSNorm's weights w (n), for n_vectors vectors of n. */
void pass_rms_norm_learn(pass *p, const float *w, const float *x, const float *dy, size_t n_vectors,
                         size_t n);
/* Of a norm of the family, for (p->n, n_embd). */
void pass_norm_learn(pass *p, const norm_weights *w, const float *x, const float *dy);
/* Of a bias (n), for dy (n_tokens, n). */
void pass_bias_learn(pass *p, const float *bias, const float *dy, size_t n_tokens, size_t n);

#endif
