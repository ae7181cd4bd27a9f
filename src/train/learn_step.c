/*
 * Weights that are rounded to multiples of steps that are learned with them (Esser et al. 2020, LSQ, arXiv
 * 1902.08153, section 2): a block's weights are s round(clip(w / s)). A weight's gradient goes straight
 * through where it is not clipped, and is 0 elsewhere (equation 5); that of s is round(w / s) - w / s, or
 * the last code where w / s is beyond it (equation 3). Steps begin as 2 mean |w| / root of the last code,
 * and are learned as a part of what they were, so that one rate fits all. The paper's scale of their
 * gradients is left out: AdamW divides it away.
 *
 * The types are those whose blocks are a half float and codes. STEP2 has two codes on one side of zero and
 * one on the other, so the sign of its steps matters: they begin as the search of compress/ finds them.
 */
#include "train/learn.h"

#include "base/error.h"
#include "base/half.h"

#include <math.h>
#include <string.h>

enum { SOME_ROWS = 32 };

/* ---- types ---- */

static void pack_bytes(const int *codes, size_t n, uint8_t *to) {
    for (size_t i = 0; i < n; i++) to[i] = (uint8_t)codes[i];
}

static void pack_halves(const int *codes, size_t n, uint8_t *to) {
    for (size_t i = 0; i < n / 2; i++) to[i] = (uint8_t)((codes[i] + 8) | (codes[i + n / 2] + 8) << 4);
}

/* Of each 128 codes four lie in a byte, 32 apart. */
static void pack_quarters(const int *codes, size_t n, uint8_t *to) {
    for (size_t i = 0; i < n / 4; i++) {
        const int *c = codes + i / 32 * 128 + i % 32;
        to[i] = (uint8_t)((c[0] + 1) | (c[32] + 1) << 2 | (c[64] + 1) << 4 | (c[96] + 1) << 6);
    }
}

static void pack_eighths(const int *codes, size_t n, uint8_t *to) {
    for (size_t i = 0; i < n / 4; i++)
        to[i] = (uint8_t)((codes[i] + 2) | (codes[i + 8] + 2) << 2 | (codes[i + 16] + 2) << 4 |
                          (codes[i + 24] + 2) << 6);
}

static const struct grid {
    format_id id;
    float least, most;  // codes
    size_t step, first; // bytes of a block where its half float and its codes are
    /* Writes the codes; NULL: encoding finds the step, of which all weights are multiples. */
    void (*pack)(const int *codes, size_t n, uint8_t *to);
} grids[] = {{FORMAT_Q8_0, -127, 127, 0, 2, pack_bytes},
             {FORMAT_Q4_0, -8, 7, 0, 2, pack_halves},
             {FORMAT_TQ1_0, -1, 1, 0, 0, NULL},
             {FORMAT_TQ2_0, -1, 1, 64, 0, pack_quarters},
             {FORMAT_STEP2, -2, 1, 0, 2, pack_eighths}};

static const struct grid *grid_of(const format *f) {
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++)
        if (grids[i].id == f->id) return &grids[i];
    return NULL;
}

static nut_status plan(const learn *l, learn_tensor *t, nut_error *err) {
    TRY(rounding_find(l->options.type, t->n_cols, &t->to, err));
    if (grid_of(t->to.to)) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "steps are learned of q8_0, q4_0, step2, tq1_0 and tq2_0, in rows of whole blocks; "
                     "rows of %zu would be %s",
                     t->n_cols, t->to.to->name);
}

/* ---- numbers: weights, then a step for each block ---- */

static size_t n_weights(const learn_tensor *t) {
    return t->n_rows * t->n_cols;
}

static size_t n_blocks(const learn *l, const learn_tensor *t) {
    (void)l;
    return n_weights(t) / t->to.to->block;
}

static size_t n_numbers(const learn *l, const learn_tensor *t) {
    return n_weights(t) + n_blocks(l, t);
}

static float first_step(const learn_tensor *t, const float *x) {
    const struct grid *g = grid_of(t->to.to);
    const size_t n = t->to.to->block;
    double sum = 0;
    if (g->id == FORMAT_STEP2) {
        uint8_t block[FORMAT_MAX_BYTES];
        uint16_t half;
        t->to.encode(t->to.to, x, 1, block);
        memcpy(&half, block + g->step, sizeof half);
        return half_f16_to_f32(half);
    }
    for (size_t i = 0; i < n; i++) sum += fabs((double)x[i]);
    return (float)(2 * sum / (double)n / sqrt((double)g->most));
}

/* What steps were at first, (n_blocks), and behind them room for gradients of some rows. */
static nut_status begin(learn *l, learn_tensor *t, nut_error *err) {
    const size_t blocks = n_blocks(l, t), n = t->to.to->block, room = blocks + SOME_ROWS * t->n_cols;
    float *numbers = l->numbers + t->at;
    t->base = mem_calloc(room, sizeof *t->base);
    if (!t->base) return error_memory(err, room * sizeof *t->base);
    TRY(learn_full_begin(l, t, err));
    for (size_t b = 0; b < blocks; b++) {
        t->base[b] = first_step(t, numbers + b * n);
        numbers[n_weights(t) + b] = 1;
    }
    return NUT_OK;
}

/* The step of block b, as its half float has it. */
static float step_of(const learn *l, const learn_tensor *t, size_t b) {
    const float factor = l->numbers[t->at + n_weights(t) + b];
    return half_f16_to_f32(half_f32_to_f16(t->base[b] * fabsf(factor)));
}

/* ---- gradients ---- */

/* Of block b, from those of what it is rounded to. */
static void add_block(learn *l, const learn_tensor *t, size_t b, const float *d_rounded) {
    const size_t n = t->to.to->block, first = t->at + b * n;
    const struct grid *g = grid_of(t->to.to);
    const float step = step_of(l, t, b);
    double along = 0;
    for (size_t i = 0; step != 0 && i < n; i++) {
        const float at = l->numbers[first + i] / step, code = roundf(fmaxf(g->least, fminf(g->most, at)));
        const bool inside = at >= g->least && at <= g->most;
        along += (double)d_rounded[i] * (double)(inside ? code - at : code);
        if (inside) l->gradients[first + i] += d_rounded[i];
    }
    l->gradients[t->at + n_weights(t) + b] += (float)(along * (double)t->base[b]);
}

static void gradient(learn *l, learn_tensor *t, size_t row, size_t rows, const float *x, const float *dy,
                     size_t n) {
    const size_t per_row = t->n_cols / t->to.to->block;
    float *made = t->base + n_blocks(l, t);
    for (size_t r = 0, some; r < rows; r += some) {
        some = rows - r < SOME_ROWS ? rows - r : SOME_ROWS;
        const dense_product product = {.m = some, .n = t->n_cols, .k = n, .ldc = t->n_cols};
        dense_mul_f32(l->d, &product, (dense_f32){dy + r, 1, rows}, (dense_f32){x, t->n_cols, 1}, 1, made);
        for (size_t b = 0; b < some * per_row; b++)
            add_block(l, t, (row + r) * per_row + b, made + b * t->to.to->block);
    }
}

/* ---- blocks ---- */

bool learn_step_pack(const format *f, float step, const int *codes, uint8_t *to) {
    const struct grid *g = grid_of(f);
    const uint16_t half = half_f32_to_f16(step);
    if (!g || !g->pack) return false;
    memcpy(to + g->step, &half, sizeof half);
    g->pack(codes, f->block, to + g->first);
    return true;
}

static void block(const learn *l, const learn_tensor *t, size_t row, size_t col, uint8_t *to) {
    const size_t n = t->to.to->block, b = (row * t->n_cols + col) / n;
    const struct grid *g = grid_of(t->to.to);
    const float step = step_of(l, t, b), *x = l->numbers + t->at + b * n;
    float rounded[FORMAT_MAX_BLOCK];
    int codes[FORMAT_MAX_BLOCK];
    for (size_t i = 0; i < n; i++) {
        codes[i] = step != 0 ? (int)roundf(fmaxf(g->least, fminf(g->most, x[i] / step))) : 0;
        rounded[i] = step * (float)codes[i];
    }
    if (!learn_step_pack(t->to.to, step, codes, to)) t->to.encode(t->to.to, rounded, 1, to);
}

const learn_kind learn_step = {.name = "step",
                               .outside = &learn_full,
                               .n_steady = n_blocks,
                               .plan = plan,
                               .n_numbers = n_numbers,
                               .begin = begin,
                               .gradient = gradient,
                               .block = block};
