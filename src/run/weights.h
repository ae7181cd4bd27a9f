/* The weights of the kinds of blocks: what their tensors are bound to. Beside the kinds themselves, those
 * who go backwards through them read this (train/). */
#ifndef NUT_RUN_WEIGHTS_H
#define NUT_RUN_WEIGHTS_H

#include "model/linear.h"

/* mix_attention */
typedef struct attention_weights {
    linear q;            // (n_head * head_dim, n_embd)
    linear k;            // (n_head_kv * head_dim, n_embd)
    linear v;            // (n_head_kv * head_dim_v, n_embd)
    linear o;            // (n_embd, n_head * head_dim_v)
    const float *q_norm; // (head_dim), or (n_head * head_dim) with ARCH_QK_NORM_FULL or _EACH; or NULL
    const float *k_norm; // (head_dim), or (n_head_kv * head_dim); or NULL
    const float *q_norm_bias, *k_norm_bias; // of norms of all heads together, or NULL
    const float *sinks;                     // (n_head), or NULL
} attention_weights;

/* ffn_gated */
typedef struct gated_weights {
    linear gate, up; // (n_ff, n_embd)
    linear down;     // (n_embd, n_ff)
} gated_weights;

/* ffn_experts */
typedef struct expert_weights {
    linear router;           // (n_expert, n_embd)
    const float *bias;       // (n_expert) of scores where experts are chosen, not of weights; or NULL
    const matrix *gate, *up; // (n_expert) of (n_ff, n_embd)
    const matrix *down;      // (n_expert) of (n_embd, n_ff)
    const float *gate_bias, *up_bias; // (n_expert, n_ff) or NULL
    const float *down_bias;           // (n_expert, n_embd) or NULL
    linear shared_gate, shared_up;    // (n_ff_shared, n_embd) or not there
    linear shared_down;               // (n_embd, n_ff_shared)
    const float *shared_router;       // (n_embd): its result's sigmoid is the shared one's weight; or NULL
} expert_weights;

#endif
