/* What a token takes from the positions that it sees. */
#ifndef NUT_RUN_ATTEND_H
#define NUT_RUN_ATTEND_H

#include "run/session.h"

/* Puts the keys and values (n_head_kv, head_dim) of token t into the cache, keys rotated on the way. */
void attend_store(const forward_step *s, size_t t, const kernel_rope *r, const float *k, const float *v);

/* Queries to results, both (n, n_head, head_dim), of tokens whose keys and values are stored. sinks
 * (n_head): scores of what stands for nothing, or NULL. */
void attend(const forward_step *s, const float *q, const float *sinks, float *out);

#endif
