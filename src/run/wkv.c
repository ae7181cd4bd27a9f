/* What RWKV's kinds of time mixing do alike. */
#include "run/wkv.h"

size_t wkv_state(const model_hparams *hp) {
    return hp->n_embd + (size_t)hp->n_embd * hp->wkv.head;
}

float *wkv_kept(const forward_step *s, size_t t, size_t head) {
    const size_t n = s->m->hp.wkv.head;
    return step_state(s, t) + s->m->hp.n_embd + head * n * n;
}

void wkv_norm(const forward_step *s, size_t first, float *y) {
    const wkv_weights *w = step_weights(s);
    s->k->layer_norm(y, w->ln + first, w->ln_bias + first, s->m->hp.wkv.head, 64e-5f, y);
}

void wkv_finish(const forward_step *s, part_fn *fn, const float *y, float *out) {
    const wkv_weights *w = step_weights(s);
    const size_t n = s->m->hp.n_embd;
    step_done(s, PROFILE_QKV);
    step_each_part(s, n / s->m->hp.wkv.head, fn);
    step_done(s, PROFILE_ATTEND);
    linear_run(s, &w->out, y, n, out);
    step_done(s, PROFILE_WO);
}
