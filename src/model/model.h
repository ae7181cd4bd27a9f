/*
 * A loaded model: hyperparameters, vocabulary, and weights bound by name and shape. Read-only once finished.
 */
#ifndef NUT_MODEL_MODEL_H
#define NUT_MODEL_MODEL_H

#include "base/mem.h"
#include "kernels/kernels.h"
#include "model/gguf.h"
#include "model/vocab.h"

typedef enum model_rope { // which pairs of a head's values turn together
    MODEL_ROPE_NORM,      // (2i, 2i+1)
    MODEL_ROPE_NEOX,      // (i, i + n_rot/2)
} model_rope;

typedef enum model_rope_scaling { MODEL_ROPE_NONE, MODEL_ROPE_LINEAR } model_rope_scaling;

typedef struct model_hparams {
    uint32_t n_vocab;
    uint32_t n_ctx_train;
    uint32_t n_embd;
    uint32_t n_layer;
    uint32_t n_ff;
    uint32_t n_head;
    uint32_t n_head_kv;
    uint32_t head_dim; // of q, k and v
    bool exact;        // weights are held as floats, and so are keys and values (reference path)
    uint32_t n_rot;    // leading values of a head that are rotated
    float rms_eps;
    float rope_base;
    float rope_scale; // positions are multiplied by it: 1 / factor for linear scaling, else 1
    model_rope rope;
} model_hparams;

typedef struct model_layer {
    const float *attn_norm; // (n_embd)
    matrix wq;              // (n_head * head_dim, n_embd)
    matrix wk, wv;          // (n_head_kv * head_dim, n_embd)
    matrix wo;              // (n_embd, n_head * head_dim)
    const float *bq;        // (n_head * head_dim) or NULL
    const float *bk, *bv;   // (n_head_kv * head_dim) or NULL
    const float *q_norm;    // (head_dim) or NULL
    const float *k_norm;    // (head_dim) or NULL
    const float *ffn_norm;  // (n_embd)
    matrix w_gate, w_up;    // (n_ff, n_embd)
    matrix w_down;          // (n_embd, n_ff)
} model_layer;

struct nut_model {
    gguf header;
    model_hparams hp;
    const struct arch *arch;
    const kernel_set *kernels;
    vocab *vocab;
    arena weights;
    model_layer *layers;      // (n_layer)
    matrix token_embd;        // (n_vocab, n_embd)
    matrix output;            // (n_vocab, n_embd); shares token_embd's data where the model ties them
    const float *output_norm; // (n_embd)
    const float *rope_freqs;  // (n_rot / 2) divisors of the rotation frequencies, or NULL (llama3 scaling)
};

/* The cache that a session with this option has; NULL where the option is not in the list. */
const cache_kind *model_cache_kind(const model_hparams *hp, nut_kv_type type);

/* Bytes of the KV cache and activations of one session of n_ctx positions; UINT64_MAX when it overflows.
 * Lives in src/model because the loader must know it before weights are fetched. */
uint64_t model_session_bytes(const model_hparams *hp, const cache_kind *kind, uint32_t n_ctx,
                             uint32_t n_batch, uint32_t n_logits);

#endif
