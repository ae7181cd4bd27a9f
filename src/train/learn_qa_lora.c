/*
 * Adapters that a quantized matrix takes in whole (Xu et al. 2023, QA-LoRA, arXiv 2309.14717, section 3.3):
 * A reads the sums of the inputs of each block, so that B A is one number for each row and block, which is
 * added to that block's minimum. Codes and scales stay, and the file is of the type that it was. Minimums
 * are half floats while they learn too, so the model computes with what the file has.
 */
#include "train/learn.h"

#include "base/error.h"
#include "base/half.h"

#include <string.h>

static bool takes(const binding *b) {
    rounding r;
    return rounding_halves(b->from, &r) && r.adds;
}

static nut_status plan(const learn *l, learn_tensor *t, nut_error *err) {
    (void)l;
    rounding_halves(t->place->from, &t->to);
    t->blocks = mem_alloc((size_t)t->source->n_bytes);
    return t->blocks ? NUT_OK : error_memory(err, t->source->n_bytes);
}

static size_t per_row(const learn_tensor *t) {
    return t->n_cols / t->to.to->block;
}

static size_t n_numbers(const learn *l, const learn_tensor *t) {
    (void)l;
    return t->rank * (per_row(t) + t->n_rows);
}

/* base: sums of inputs, (n_tokens, per_row) */
static nut_status begin(learn *l, learn_tensor *t, nut_error *err) {
    t->base = mem_calloc(l->options.n_tokens, per_row(t) * sizeof *t->base);
    if (!t->base) return error_memory(err, l->options.n_tokens * per_row(t) * sizeof *t->base);
    learn_lora_begin(l, t, per_row(t));
    return NUT_OK;
}

static void gradient(learn *l, learn_tensor *t, size_t row, size_t rows, const float *x, const float *dy,
                     size_t n) {
    const size_t block = t->to.to->block;
    for (size_t i = 0; i < n * per_row(t); i++) {
        float sum = 0;
        for (size_t c = 0; c < block; c++) sum += x[i * block + c];
        t->base[i] = sum;
    }
    learn_lora_gradient(l, t, per_row(t), row, rows, t->base, dy, n);
}

static void block(const learn *l, const learn_tensor *t, size_t row, size_t col, uint8_t *to) {
    const size_t at = col / t->to.to->block, place = (size_t)t->to.at[1];
    const learn_factors f = learn_lora_factors(t, l->numbers, per_row(t));
    double sum = 0;
    uint16_t half;
    for (size_t k = 0; k < t->rank; k++)
        sum += (double)f.b[row * t->rank + k] * (double)f.a[k * per_row(t) + at];
    memcpy(to, t->blocks + (row * per_row(t) + at) * t->to.to->bytes, t->to.to->bytes);
    memcpy(&half, to + place, sizeof half);
    half = half_f32_to_f16(half_f16_to_f32(half) + (float)(learn_lora_scale(l, t) * sum));
    memcpy(to + place, &half, sizeof half);
}

const learn_kind learn_qa_lora = {.name = "qa_lora",
                                  .ranked = true,
                                  .takes = takes,
                                  .plan = plan,
                                  .n_numbers = n_numbers,
                                  .begin = begin,
                                  .gradient = gradient,
                                  .block = block};
