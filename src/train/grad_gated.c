/* The gated feed-forward, forward and backward: y = down(h), h = act(gate(x)) * up(x). */
#include "kernels/activations.h"
#include "run/weights.h"
#include "train/pass.h"

#include <math.h>
#include <string.h>

typedef struct buffers {
    float *gate, *up, *hidden; // (n, n_ff); on the way back `hidden` becomes its gradient
} buffers;

static size_t n_floats(const nut_model *m, bool backward) {
    (void)backward;
    return 3 * (size_t)m->hp.most.n_ff;
}

static buffers buffers_of(const pass *p) {
    const size_t each = p->n * p->layer->hp.n_ff;
    return (buffers){p->ffn, p->ffn + each, p->ffn + 2 * each};
}

static void join_token(pass *p, size_t t, unsigned member, void *ctx) {
    const buffers b = buffers_of(p);
    const size_t n = p->layer->hp.n_ff;
    (void)member, (void)ctx;
    memcpy(b.hidden + t * n, b.gate + t * n, n * sizeof(float));
    p->m->kernels->activate_mul(p->m->arch->activation, b.hidden + t * n, b.up + t * n, n);
}

static void forward(pass *p, const float *x, float *y) {
    const gated_weights *w = p->layer->ffn;
    const buffers b = buffers_of(p);
    pass_linear(p, &w->gate, x, b.gate);
    pass_linear(p, &w->up, x, b.up);
    pass_each(p, p->n, join_token, NULL);
    pass_linear(p, &w->down, b.hidden, y);
}

/* The derivative of x / (1 + e^-y) by x, where dy is that of y */
static float sigmoid_slope(float x, float y, float dy) {
    const float s = 1 / (1 + exp_scalar(-y));
    return s + x * s * (1 - s) * dy;
}

/* The derivative of an activation (kernels/activations.h). */
static float slope(kernel_activation a, float x) {
    switch (a) {
    case KERNEL_SILU: return sigmoid_slope(x, x, 1);
    case KERNEL_GELU:
        return 0.5f * (1 + erff(x * ACT_SQRT_HALF)) + x * 0.3989422804014327f * exp_scalar(-0.5f * x * x);
    case KERNEL_GELU_TANH:
        return sigmoid_slope(x, ACT_TANH_2 * (x + ACT_CUBE * x * x * x),
                             ACT_TANH_2 * (1 + 3 * ACT_CUBE * x * x));
    case KERNEL_GELU_QUICK: return sigmoid_slope(x, ACT_QUICK * x, ACT_QUICK);
    case KERNEL_RELU: return x > 0;
    case KERNEL_RELU_SQUARED: return x > 0 ? 2 * x : 0;
    case KERNEL_ACTIVATION_COUNT: break;
    }
    return 1;
}

/* From the gradient of h those of gate and up, in their places. */
static void part_token(pass *p, size_t t, unsigned member, void *ctx) {
    const buffers b = buffers_of(p);
    const kernel_activation a = p->m->arch->activation;
    const size_t n = p->layer->hp.n_ff;
    (void)member, (void)ctx;
    for (size_t i = t * n; i < (t + 1) * n; i++) {
        const float gate = b.gate[i], up = b.up[i], dh = b.hidden[i];
        b.gate[i] = dh * up * slope(a, gate);
        b.up[i] = dh * act_scalar(a, gate);
    }
}

static void backward(pass *p, const float *x, const float *dy, float *dx) {
    const gated_weights *w = p->layer->ffn;
    const buffers b = buffers_of(p);
    pass_linear_back(p, &w->down, b.hidden, dy, false, b.hidden);
    pass_each(p, p->n, part_token, NULL);
    pass_linear_back(p, &w->gate, x, b.gate, false, dx);
    pass_linear_back(p, &w->up, x, b.up, true, dx);
}

const grad_kind grad_ffn_gated = {n_floats, forward, backward};
