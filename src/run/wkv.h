/* What RWKV-6 and RWKV-7 have in common: products of a token's rows, heads that keep matrices from keys to
 * values beside the last row (shift.h), and their norm. */
#ifndef NUT_RUN_WKV_H
#define NUT_RUN_WKV_H

#include "run/block.h"
#include "run/shift.h"

/* The first member of both kinds' weights. */
typedef struct wkv_weights {
    linear r, k, v, out;       // (n_embd, n_embd)
    const float *mix;          // (mixes, n_embd)
    const float *ln, *ln_bias; // (n_embd)
} wkv_weights;

/* Their tensors; `mixes` is the shape of the mixes. */
#define WKV_IN(field) .to = offsetof(wkv_weights, field)
#define WKV_TENSORS(mixes)                                                                                  \
    {"time_mix_receptance.weight", WKV_IN(r.w), MATRIX("EE")},                                              \
        {"time_mix_key.weight", WKV_IN(k.w), MATRIX("EE")},                                                 \
        {"time_mix_value.weight", WKV_IN(v.w), MATRIX("EE")},                                               \
        {"time_mix_output.weight", WKV_IN(out.w), MATRIX("EE")},                                            \
        {"time_mix_lerp_fused.weight", WKV_IN(mix), VECTOR(mixes)},                                         \
        {"time_mix_ln.weight", WKV_IN(ln), VECTOR("E")}, {                                                  \
        "time_mix_ln.bias", WKV_IN(ln_bias), VECTOR("E")                                                    \
    }

/* The last row, then (heads, head, head). */
size_t wkv_state(const model_hparams *hp);
/* What head `head` keeps of token t's sequence, (head, head). */
float *wkv_kept(const forward_step *s, size_t t, size_t head);
/* y (head) of a head whose first column is `first`, normed in place. */
void wkv_norm(const forward_step *s, size_t first, float *y);
/* The end of a step: each head by fn, then out (n, n_embd padded to 8) = the product of y (n, n_embd). */
void wkv_finish(const forward_step *s, part_fn *fn, const float *y, float *out);

#endif
