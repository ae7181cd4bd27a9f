/* Mixing of each token with the one before it, of which a sequence keeps the last row: state (n_embd). */
#ifndef NUT_RUN_SHIFT_H
#define NUT_RUN_SHIFT_H

#include "run/session.h"

/* The row before token t's in x (n, n_embd), or what the sequence has kept. */
static inline const float *shift_before(const forward_step *s, const float *x, size_t t) {
    const bool follows = t > 0 && s->rows[t - 1].seq == s->rows[t].seq;
    return follows ? x + (t - 1) * s->m->hp.n_embd : step_state(s, t);
}

/* out = x + (before - x) * by, (n) */
static inline void shift_mix(const float *x, const float *before, const float *by, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = x[i] + (before[i] - x[i]) * by[i];
}

/* Keeps the last row of each sequence, when all were mixed. */
static inline void shift_keep(const forward_step *s, const float *x) {
    const size_t n = s->m->hp.n_embd;
    for (size_t t = 0; t < s->n; t++)
        if (t + 1 == s->n || s->rows[t + 1].seq != s->rows[t].seq)
            memcpy(step_state(s, t), x + t * n, n * sizeof *x);
}

#endif
