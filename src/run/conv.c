/* Convolutions of channels whose results go through SiLU: Mamba's, and those of what followed it. */
#include "run/conv.h"

size_t conv_mixed_width(const ssm_hparams *h) {
    return h->inner + 2 * (size_t)h->groups * h->state;
}

size_t conv_mixed_state(const model_hparams *hp) {
    const ssm_hparams *h = &hp->ssm;
    return (size_t)(h->conv - 1) * conv_mixed_width(h) + (size_t)h->inner * h->state;
}

void conv_run(const forward_step *s, const conv_input *in, size_t part) {
    const conv_range r = conv_range_of(part, in->n);
    for (size_t t = 0; t < s->n; t++) {
        const float *from = in->x + t * in->stride;
        float *kept = step_state(s, t), *to = in->y + t * in->n;
        for (size_t i = r.begin; i < r.end; i++)
            to[i] = conv_step(in->w, in->bias, s->m->hp.ssm.conv, kept, in->n, i, from[i]);
        s->k->activate(KERNEL_SILU, to + r.begin, r.end - r.begin);
    }
}
