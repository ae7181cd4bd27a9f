/*
 * Half-quadratic quantization (Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning
 * Models", HQQ), for types whose weights are scales times codes, less a minimum. The scale of a group is
 * that of its range. Its minimum is looked for so that the sum of |error|^p is small, p being 0.7: a few
 * weights may be far off where the others are near. With extra variables e, which stand for the errors, two
 * steps follow each other:
 *
 *     e       shrunk errors: sign(r) max(0, |r| - |r|^(p - 1) / beta)     r the errors of rounding
 *     zero    the mean of codes - (weights - e)
 *
 * It takes one pass, and no text. Unlike the authors' program, errors are counted in steps of the scale, so
 * that the result does not depend on how large weights are.
 */
#include "compress/method.h"
#include "compress/round.h"
#include "compress/types.h"

#include "base/error.h"

#include <math.h>
#include <stdio.h>

enum { MOST_ROUNDS = 20 };
#define POWER      0.7f
#define FIRST_BETA 10.0f
#define MORE_BETA  1.01f // beta grows by this from round to round

static bool has_minimums(const format *f) {
    const type_row *t = type_with_codes(f->id);
    return t && t->kind.min_hi > 0;
}

/* ---- one group ---- */

/* Weights, in steps of the group's scale. */
typedef struct group {
    float x[FIT_COLS]; // (n)
    uint32_t n;
    float hi; // codes are 0..hi
} group;

static float code_of(const group *g, float x, float zero) {
    const float code = floorf(x + zero + 0.5f);
    return code < 0 ? 0 : code > g->hi ? g->hi : code;
}

static float shrink(float r, float beta) {
    const float size = fabsf(r), left = size > 0 ? size - powf(size, POWER - 1) / beta : 0;
    return left > 0 ? copysignf(left, r) : 0;
}

/* The zero of the next round; the mean error with the one that is given goes to *error. */
static float next_zero(const group *g, float zero, float beta, double *error) {
    double sum = 0;
    *error = 0;
    for (uint32_t c = 0; c < g->n; c++) {
        const float code = code_of(g, g->x[c], zero), r = g->x[c] - (code - zero);
        *error += (double)fabsf(r) / g->n;
        sum += (double)(code - (g->x[c] - shrink(r, beta)));
    }
    return (float)(sum / g->n);
}

/* As long as errors become smaller. */
static float find_zero(const group *g, float zero) {
    double best = INFINITY, error;
    float beta = FIRST_BETA, found = zero;
    for (int i = 0; i <= MOST_ROUNDS; i++, beta *= MORE_BETA) {
        const float next = next_zero(g, zero, beta, &error);
        if (!(error < best)) break;
        best = error, found = zero, zero = next;
    }
    return found;
}

/* ---- blocks ---- */

/* The least and the largest weight; types whose minimums have no sign have none above 0. */
static void find_range(const fit_kind *k, const float *x, float *lo, float *hi) {
    *lo = *hi = x[0];
    for (uint32_t c = 1; c < k->n_cols; c++) *lo = fminf(*lo, x[c]), *hi = fmaxf(*hi, x[c]);
    if (k->min_hi > 1) *lo = fminf(*lo, 0);
}

static int clamp_round(float x, int lo, int hi) {
    return x <= (float)lo ? lo : x >= (float)hi ? hi : (int)floorf(x + 0.5f);
}

/* The scales of a block: of ranges. */
static void find_scales(const fit_kind *k, const float *x, fit_block *b) {
    float lo, hi, scales[FIT_GROUPS], most = 0;
    for (uint32_t g = 0; g < k->n_groups; g++) {
        find_range(k, x + g * k->n_cols, &lo, &hi);
        scales[g] = (hi - lo) / (float)k->hi;
        most = fmaxf(most, scales[g]);
    }
    b->d = k->round(most / (float)k->scale_hi);
    for (uint32_t g = 0; g < k->n_groups; g++)
        b->scales[g] = clamp_round(b->d > 0 ? scales[g] / b->d : 0, k->scale_lo, k->scale_hi);
}

/* The minimum of a group, whose scale is known. */
static float find_min(const fit_kind *k, const float *x, float scale) {
    group g = {.n = k->n_cols, .hi = (float)k->hi};
    float lo, hi;
    find_range(k, x, &lo, &hi);
    if (!(scale > 0)) return -lo;
    for (uint32_t c = 0; c < g.n; c++) g.x[c] = x[c] / scale;
    return find_zero(&g, -lo / scale) * scale;
}

static void find_mins(const fit_kind *k, const float *x, fit_block *b) {
    float mins[FIT_GROUPS], most = 0;
    for (uint32_t g = 0; g < k->n_groups; g++) {
        mins[g] = find_min(k, x + g * k->n_cols, b->d * (float)b->scales[g]);
        most = k->min_hi > 1 ? fmaxf(most, mins[g]) : mins[g];
    }
    b->dmin = k->round(most / (float)k->min_hi);
    for (uint32_t g = 0; g < k->n_groups; g++)
        b->mins[g] = clamp_round(b->dmin != 0 ? mins[g] / b->dmin : 0, k->min_hi == 1, k->min_hi);
}

static void find_codes(const fit_kind *k, const float *x, fit_block *b) {
    for (uint32_t c = 0; c < k->n_groups * k->n_cols; c++) {
        const uint32_t g = c / k->n_cols;
        const float scale = b->d * (float)b->scales[g], min = b->dmin * (float)b->mins[g];
        b->codes[c] = fit_code(k, scale > 0 ? (x[c] + min) / scale : 0);
    }
}

/* ---- the method ---- */

static nut_status refuse_type(const char *type, nut_error *err) {
    char names[80] = "";
    for (size_t i = 0, n = 0; i < FORMAT_COUNT && n < sizeof names; i++)
        if (has_minimums(&format_table[i]))
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", format_table[i].name);
    return error_set(err, NUT_E_ARGUMENT,
                     "method \"hqq\" looks for minimums, which type \"%.20s\" has none of; choose one of %s",
                     type ? type : "", names);
}

static nut_status begin(const nut_compress_options *o, const void *ctx, gguf_meta *meta, nut_error *err) {
    const format *to = format_by_name(o->type ? o->type : "");
    return to && has_minimums(to) ? method_round.begin(o, ctx, meta, err) : refuse_type(o->type, err);
}

static const format *plan(const nut_compress_options *o, const void *ctx, const gguf *model,
                          const gguf_tensor *t) {
    return method_round.plan(o, ctx, model, t);
}

/* Rows that are no whole blocks get the types of rounding, which may have no minimums. */
static nut_status encode(const method_slice *s, uint8_t *blocks, nut_error *err) {
    if (!has_minimums(s->to)) return method_round.encode(s, blocks, err);
    const type_row *t = type_with_codes(s->to->id);
    TRY(round_in_range(s, err));
    for (size_t i = 0; i < s->n_rows * s->n_cols; i += s->to->block, blocks += s->to->bytes) {
        fit_block b = {0};
        find_scales(&t->kind, s->weights + i, &b);
        find_mins(&t->kind, s->weights + i, &b);
        find_codes(&t->kind, s->weights + i, &b);
        type_put(t, &b, blocks);
    }
    return NUT_OK;
}

const method method_hqq = {.name = "hqq", .begin = begin, .plan = plan, .encode = encode};
