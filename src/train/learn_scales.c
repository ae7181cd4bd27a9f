/*
 * Scales of a quantized matrix (Kim et al. 2023, PEQA, arXiv 2305.14152, section 3): codes stay as the file
 * has them, and the half floats of each block are learned, each as a part of what it was: 1 at first, so
 * that one rate fits all. A block's weights are linear in its halves; what they are times comes from the
 * block itself, read with one half as 1 and the other as 0.
 */
#include "train/learn.h"

#include "base/error.h"
#include "base/half.h"

#include <string.h>

enum { SOME_ROWS = 32 };

static bool takes(const binding *b) {
    rounding halves;
    return rounding_halves(b->from, &halves);
}

static nut_status plan(const learn *l, learn_tensor *t, nut_error *err) {
    (void)l;
    if (!rounding_halves(t->place->from, &t->to))
        return error_set(err, NUT_E_ARGUMENT,
                         "type %s has no scales that can be learned; compress the "
                         "model into blocks first, such as q4_k",
                         t->place->from->name);
    t->blocks = mem_alloc((size_t)t->source->n_bytes);
    return t->blocks ? NUT_OK : error_memory(err, t->source->n_bytes);
}

static size_t per_row(const learn_tensor *t) {
    return t->n_cols / t->to.to->block;
}

static size_t n_numbers(const learn *l, const learn_tensor *t) {
    (void)l;
    return t->n_rows * per_row(t) * (size_t)t->to.n_halves;
}

static nut_status begin(learn *l, learn_tensor *t, nut_error *err) {
    for (size_t i = 0; i < t->n; i++) l->numbers[t->at + i] = 1;
    t->base = mem_calloc(SOME_ROWS, t->n_cols * sizeof *t->base);
    return t->base ? NUT_OK : error_memory(err, SOME_ROWS * t->n_cols * sizeof *t->base);
}

static float half_at(const uint8_t *block, int at) {
    uint16_t h;
    memcpy(&h, block + at, sizeof h);
    return half_f16_to_f32(h);
}

static void set_half(uint8_t *block, int at, float value) {
    const uint16_t h = half_f32_to_f16(value);
    memcpy(block + at, &h, sizeof h);
}

static const uint8_t *block_at(const learn_tensor *t, size_t row, size_t i) {
    return t->blocks + (row * per_row(t) + i) * t->to.to->bytes;
}

/* The gradient of a half, as a part of what it was, from that of the block's weights. */
static double along(const learn_tensor *t, const uint8_t *block, int half, const float *d_weights) {
    uint8_t unit[FORMAT_MAX_BYTES];
    float times[FORMAT_MAX_BLOCK];
    double sum = 0;
    memcpy(unit, block, t->to.to->bytes);
    for (int i = 0; i < t->to.n_halves; i++) set_half(unit, t->to.at[i], i == half);
    t->to.to->dequantize(unit, 1, times);
    for (size_t c = 0; c < t->to.to->block; c++) sum += (double)times[c] * (double)d_weights[c];
    return sum * (double)half_at(block, t->to.at[half]);
}

static void add_rows(learn *l, const learn_tensor *t, size_t row, size_t rows) {
    const size_t blocks = per_row(t), halves = (size_t)t->to.n_halves;
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < blocks; b++)
            for (size_t h = 0; h < halves; h++)
                l->gradients[t->at + ((row + r) * blocks + b) * halves + h] += (float)along(
                    t, block_at(t, row + r, b), (int)h, t->base + r * t->n_cols + b * t->to.to->block);
}

static void gradient(learn *l, learn_tensor *t, size_t row, size_t rows, const float *x, const float *dy,
                     size_t n) {
    for (size_t r = 0, some; r < rows; r += some) {
        some = rows - r < SOME_ROWS ? rows - r : SOME_ROWS;
        const dense_product product = {.m = some, .n = t->n_cols, .k = n, .ldc = t->n_cols};
        dense_mul_f32(l->d, &product, (dense_f32){dy + r, 1, rows}, (dense_f32){x, t->n_cols, 1}, 1,
                      t->base);
        add_rows(l, t, row + r, some);
    }
}

static void block(const learn *l, const learn_tensor *t, size_t row, size_t col, uint8_t *to) {
    const size_t i = col / t->to.to->block, halves = (size_t)t->to.n_halves;
    const float *numbers = l->numbers + t->at + (row * per_row(t) + i) * halves;
    const uint8_t *from = block_at(t, row, i);
    memcpy(to, from, t->to.to->bytes);
    for (size_t h = 0; h < halves; h++) set_half(to, t->to.at[h], numbers[h] * half_at(from, t->to.at[h]));
}

const learn_kind learn_scales = {.name = "scales",
                                 .takes = takes,
                                 .n_steady = n_numbers,
                                 .plan = plan,
                                 .n_numbers = n_numbers,
                                 .begin = begin,
                                 .gradient = gradient,
                                 .block = block};
