/* What a token takes from the positions that it sees. */
#ifndef NUT_RUN_ATTEND_H
#define NUT_RUN_ATTEND_H

#include "run/session.h"

/* Heads of the cache are padded with zeros to multiples of 8 columns. */
static inline bool attend_pads(const layer_hparams *l) {
    return l->head_dim % 8 || l->head_dim_v % 8;
}

/* Floats of a token's padded queries and results: for those layers that have any. */
static inline size_t attend_padded(const layer_hparams *l) {
    return attend_pads(l) ? l->n_head * (run_pad8(l->head_dim) + run_pad8(l->head_dim_v)) : 0;
}

/* Bytes that a layer keeps for a tile of positions. */
size_t attend_page_bytes(const layer_hparams *l, const cache_kind *kind);

/* Puts the keys and values (n_head_kv, head_dim) of token t into the cache, keys rotated on the way. Tokens
 * may come in any order, and several at once; so a packed cache, where their order matters, is left to
 * attend_store_ordered. */
void attend_store(const forward_step *s, size_t t, const kernel_rope *r, const float *k, const float *v);

/* Of a packed cache: those of all tokens, token t at k + t * k_stride and v + t * v_stride. rope NULL: keys
 * are rotated already. */
typedef kernel_rope attend_rope_fn(const forward_step *s, size_t t);
void attend_store_ordered(const forward_step *s, attend_rope_fn *rope, const float *k, size_t k_stride,
                          const float *v, size_t v_stride);

/* Queries q (n, n_head * head_dim padded to 8) to results out (n, n_head * head_dim_v) of tokens whose keys
 * and values are stored. sinks (n_head): scores of what stands for nothing, or NULL. */
void attend(const forward_step *s, const float *q, const float *sinks, float *out);

/* Keys and values of x (n, n_embd) to the cache of the step's layer, a mix_attention, without attending. */
void attention_keep(const forward_step *s, const float *x);

/* The queries of the attention that ran last in a step: (n, n_head * head_dim padded to 8), rotated. */
const float *attention_queries(const workspace *ws);

#endif
