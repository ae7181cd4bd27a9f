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

typedef struct gate_arrays {
    size_t n_ff;
    const float *gate, *up;
    float *hidden;
    float *d_gate, *d_up; // on the way back gate and up, which they replace
    const float *d_hidden;
} gate_arrays;

static void join_token(pass *p, size_t t, unsigned member, void *ctx) {
    const gate_arrays *a = ctx;
    const size_t n = a->n_ff;
    (void)member;
    memcpy(a->hidden + t * n, a->gate + t * n, n * sizeof(float));
    p->m->kernels->activate_mul(p->m->arch->activation, a->hidden + t * n, a->up + t * n, n);
}

void pass_gate(pass *p, size_t n, size_t n_ff, const float *gate, const float *up, float *hidden) {
    gate_arrays a = {.n_ff = n_ff, .gate = gate, .up = up, .hidden = hidden};
    pass_each(p, n, join_token, &a);
}

static void forward(pass *p, const float *x, float *y) {
    const gated_weights *w = p->layer->ffn;
    const buffers b = buffers_of(p);
    pass_linear(p, &w->gate, x, b.gate);
    pass_linear(p, &w->up, x, b.up);
    pass_gate(p, p->n, p->layer->hp.n_ff, b.gate, b.up, b.hidden);
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

static void part_token(pass *p, size_t t, unsigned member, void *ctx) {
    const gate_arrays *b = ctx;
    const kernel_activation a = p->m->arch->activation;
    (void)member;
    for (size_t i = t * b->n_ff; i < (t + 1) * b->n_ff; i++) {
        const float gate = b->d_gate[i], up = b->d_up[i], dh = b->d_hidden[i];
        b->d_gate[i] = dh * up * slope(a, gate);
        b->d_up[i] = dh * act_scalar(a, gate);
    }
}

void pass_gate_back(pass *p, size_t n, size_t n_ff, float *gate, float *up, const float *d_hidden) {
    gate_arrays a = {.n_ff = n_ff, .d_gate = gate, .d_up = up, .d_hidden = d_hidden};
    pass_each(p, n, part_token, &a);
}

static void backward(pass *p, const float *x, const float *dy, float *dx) {
    const gated_weights *w = p->layer->ffn;
    const buffers b = buffers_of(p);
    pass_linear_back(p, &w->down, b.hidden, dy, false, b.hidden);
    pass_gate_back(p, p->n, p->layer->hp.n_ff, b.gate, b.up, b.hidden);
    pass_linear_back(p, &w->gate, x, b.gate, false, dx);
    pass_linear_back(p, &w->up, x, b.up, true, dx);
}

const grad_kind grad_ffn_gated = {n_floats, forward, backward};
