/*
 * Ternary weights: -1, 0 or 1 times the mean of a matrix' magnitudes (Ma et al. 2024, BitNet b1.58, arXiv
 * 2402.17764, equations 1 to 3), the gradient straight through. Every block of the file has the same scale.
 * Inputs stay floats here; the engine rounds them to int8 when it runs the file, as the paper does.
 */
#include "train/learn.h"

#include "base/error.h"
#include "base/half.h"

#include <math.h>

static nut_status plan(const learn *l, learn_tensor *t, nut_error *err) {
    TRY(rounding_find(l->options.type, t->n_cols, &t->to, err));
    const format_id id = t->to.to->id;
    if (id == FORMAT_TQ1_0 || id == FORMAT_TQ2_0 || id == FORMAT_STEP2) return NUT_OK;
    return error_set(
        err, NUT_E_ARGUMENT,
        "ternary weights are stored as tq1_0 or tq2_0, in rows of whole blocks of 256, or as step2, of 32; "
        "this one has rows of %zu and would be %s",
        t->n_cols, t->to.to->name);
}

static void prepare(const learn *l, learn_tensor *t) {
    const float *x = l->numbers + t->at;
    double sum = 0;
    for (size_t i = 0; i < t->n; i++) sum += fabs((double)x[i]);
    t->scale = half_f16_to_f32(half_f32_to_f16((float)(sum / (double)t->n)));
}

/* The search for a scale finds the one that all weights are multiples of. */
static void block(const learn *l, const learn_tensor *t, size_t row, size_t col, uint8_t *to) {
    const float *x = l->numbers + t->at + row * t->n_cols + col;
    float rounded[FORMAT_MAX_BLOCK];
    int codes[FORMAT_MAX_BLOCK];
    for (size_t i = 0; i < t->to.to->block; i++) {
        codes[i] = t->scale > 0 ? (int)roundf(fmaxf(-1, fminf(1, x[i] / t->scale))) : 0;
        rounded[i] = t->scale * (float)codes[i];
    }
    if (!learn_step_pack(t->to.to, t->scale, codes, to)) t->to.encode(t->to.to, rounded, 1, to);
}

const learn_kind learn_ternary = {.name = "ternary",
                                  .outside = &learn_full,
                                  .plan = plan,
                                  .n_numbers = learn_full_numbers,
                                  .begin = learn_full_begin,
                                  .gradient = learn_full_gradient,
                                  .prepare = prepare,
                                  .block = block};
