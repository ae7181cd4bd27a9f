/* Rotary position embedding. Angles are computed in double and rounded once, so that long positions stay
 * exact and every build has the same table. */
#include "run/session.h"

#include <math.h>

void rope_prepare(const nut_model *m, double *freq) {
    const model_hparams *hp = &m->hp;
    for (uint32_t i = 0; i < hp->n_rot / 2; i++) {
        double f = pow((double)hp->rope_base, -2.0 * i / hp->n_rot) * (double)hp->rope_scale;
        freq[i] = m->rope_freqs ? f / (double)m->rope_freqs[i] : f;
    }
}

void rope_table(const double *freq, size_t n_pairs, uint32_t first, size_t n, float *table) {
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < n_pairs; i++) {
            double angle = freq[i] * ((double)first + (double)t);
            *table++ = (float)cos(angle);
            *table++ = (float)sin(angle);
        }
    }
}

void rope_apply(float *head, const float *row, size_t n_pairs, model_rope order) {
    size_t step = order == MODEL_ROPE_NORM ? 2 : 1, apart = order == MODEL_ROPE_NORM ? 1 : n_pairs;
    for (size_t i = 0; i < n_pairs; i++) {
        float *a = head + i * step, *b = a + apart, c = row[2 * i], s = row[2 * i + 1], x = *a, y = *b;
        *a = x * c - y * s;
        *b = x * s + y * c;
    }
}
