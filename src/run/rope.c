/* Rotary position embedding. Angles are computed in double and rounded once, so that long positions stay
 * exact and every build has the same table. */
#include "run/session.h"

#include <math.h>

#define TAU 6.283185307179586

/* The pair whose wave makes `rotations` turns over n_orig positions. */
static double pair_of(const rope_hparams *r, uint32_t n_rot, double rotations) {
    return n_rot * log((double)r->n_orig / (rotations * TAU)) / (2 * log((double)r->base));
}

/* The part of pair i's frequency that is kept unscaled: 1 for those that rotate often, 0 for slow ones, in
 * between a ramp (Peng et al. 2023, arXiv 2309.00071, section 3.2; bounds in whole pairs, as the authors'
 * code, or exact). */
static double yarn_kept(const rope_hparams *r, bool exact, uint32_t i) {
    const double first = pair_of(r, r->n_rot, (double)r->beta_fast),
                 last = pair_of(r, r->n_rot, (double)r->beta_slow);
    const double low = fmax(exact ? first : floor(first), 0),
                 high = fmin(exact ? last : ceil(last), r->n_rot - 1);
    const double ramp = (i - low) / fmax(high - low, 0.001);
    return 1 - fmin(fmax(ramp, 0), 1);
}

/* Divisors of the frequencies in a context of n_ctx positions, or NULL. */
static const float *divisors(const nut_model *m, int which, uint32_t n_ctx) {
    if (which > 0) return NULL;
    if (m->rope_freqs) return m->rope_freqs;
    return (float)n_ctx > m->hp.rope[0].n_orig ? m->rope_long : m->rope_short;
}

void rope_prepare(const nut_model *m, int which, uint32_t n_ctx, double *freq) {
    const rope_hparams *r = &m->hp.rope[which];
    const float *by = divisors(m, which, n_ctx);
    const bool exact = m->arch->features & ARCH_YARN_EXACT;
    for (uint32_t i = 0; i < r->n_rot / 2; i++) {
        const double f = pow((double)r->base, -2.0 * i / r->n_rot), scaled = f * (double)r->scale;
        const double kept = r->yarn ? yarn_kept(r, exact, i) : 0;
        freq[i] = kept > 0 ? f * kept + scaled * (1 - kept) : scaled;
        if (by) freq[i] /= (double)by[i];
    }
}

void rope_table(const double *freq, size_t n_pairs, uint32_t pos, double magnitude, float *table) {
    for (size_t i = 0; i < n_pairs; i++) {
        const double angle = freq[i] * (double)pos;
        table[i] = (float)(cos(angle) * magnitude);
        table[n_pairs + i] = (float)(sin(angle) * magnitude);
    }
}
