/* Gradients of norms' weights and of biases: sums over all tokens, one after the other, so that they are the
 * same whatever the number of threads. They cost little beside products. */
#include "train/pass.h"

#include <math.h>

static float *gradient_of(const pass *p, const float *weights) {
    return p->learner && weights ? p->learner->vector(p->learner->ctx, weights) : NULL;
}

void pass_bias_learn(pass *p, const float *bias, const float *dy, size_t n_tokens, size_t n) {
    float *to = gradient_of(p, bias);
    for (size_t t = 0; to && t < n_tokens; t++)
        for (size_t i = 0; i < n; i++) to[i] += dy[t * n + i];
}

/* to += dy times x, which was normed: less its mean, and divided by the root of what it varies by. */
static void add_normed(const float *x, const float *dy, size_t n, double mean, float eps, float *to) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const float scale = (float)(1 / sqrt(squares / (double)n + (double)eps)), middle = (float)mean;
    for (size_t i = 0; i < n; i++) to[i] += dy[i] * ((x[i] - middle) * scale);
}

void pass_rms_norm_learn(pass *p, const float *w, const float *x, const float *dy, size_t n_vectors,
                         size_t n) {
    float *to = gradient_of(p, w);
    for (size_t i = 0; to && i < n_vectors; i++)
        add_normed(x + i * n, dy + i * n, n, 0, p->m->hp.norm_eps, to);
}

static void learn_layer_norm(pass *p, const float *w, const float *x, const float *dy, size_t n) {
    float *to = gradient_of(p, w);
    for (size_t t = 0; to && t < p->n; t++) {
        double mean = 0;
        for (size_t i = 0; i < n; i++) mean += (double)x[t * n + i] / (double)n;
        add_normed(x + t * n, dy + t * n, n, mean, p->m->hp.norm_eps, to);
    }
}

void pass_norm_learn(pass *p, const norm_weights *w, const float *x, const float *dy) {
    const size_t n = p->m->hp.n_embd;
    if (p->m->arch->norm == ARCH_LAYER_NORM)
        learn_layer_norm(p, w->weight, x, dy, n);
    else
        pass_rms_norm_learn(p, w->weight, x, dy, p->n, n);
    if (w->weight) pass_bias_learn(p, w->bias, dy, p->n, n);
}
