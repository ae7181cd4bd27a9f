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
    for (size_t t = 0; t < n; t++, table += 2 * n_pairs) {
        for (size_t i = 0; i < n_pairs; i++) {
            double angle = freq[i] * ((double)first + (double)t);
            table[i] = (float)cos(angle);
            table[n_pairs + i] = (float)sin(angle);
        }
    }
}

kernel_rope rope_of(const nut_session *s, size_t t) {
    const size_t n_pairs = s->model->hp.n_rot / 2;
    const float *row = s->buf.rope + t * 2 * n_pairs;
    return (kernel_rope){row, row + n_pairs, n_pairs, s->model->hp.rope == MODEL_ROPE_NORM};
}
