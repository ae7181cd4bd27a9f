/* Scores of weights, and the removal of the least. */
#include "compress/prune.h"

#include "base/error.h"
#include "base/mem.h"
#include "compress/factor.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 128 }; // columns of sparsegpt

typedef struct pruning {
    dense *d;
    const prune_options *o;
    size_t n_rows, n_cols;
    float *weights; // (n_rows, n_cols)
    float *scores;  // (n_rows, n_cols), not negative; sparsegpt: (n_rows, BLOCK), and then errors
    float *by_col;  // (n_cols) what the score of a column has of its input, or U_cc
    float *u;       // (n_cols, n_cols) U, sparsegpt's
    size_t from, n; // columns of the block
    size_t n_removed;
} pruning;

unsigned prune_statistics(prune_metric m) {
    static const unsigned kinds[] = {
#define NUT_X(name, statistics) statistics,
        PRUNE_METRICS(NUT_X)
#undef NUT_X
    };
    return kinds[m];
}

/* ---- the least of many ---- */

/* Floats that are not negative have the order of their bits. */
static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* A rectangle of scores. */
typedef struct group {
    const float *at;
    size_t n_rows, n_cols, stride;
} group;

/* The score number k (from 0) in ascending order, as bits, and how many equal ones are among the k + 1
 * least; eight bits at a time. */
static uint32_t find_kth(const group *g, size_t k, size_t *n_equal) {
    uint32_t prefix = 0, mask = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        size_t counts[256] = {0};
        for (size_t r = 0; r < g->n_rows; r++)
            for (size_t c = 0; c < g->n_cols; c++) {
                const uint32_t bits = bits_of(g->at[r * g->stride + c]);
                counts[bits >> shift & 255] += (bits & mask) == prefix;
            }
        uint32_t digit = 0;
        while (k >= counts[digit]) k -= counts[digit++];
        prefix |= digit << shift;
        mask |= 255u << shift;
    }
    *n_equal = k + 1;
    return prefix;
}

/* Marks the n least scores of a group as removed (-1); of equal ones those that come first. */
static void mark_least(float *scores, size_t n_rows, size_t n_cols, size_t stride, size_t n) {
    const group g = {scores, n_rows, n_cols, stride};
    size_t n_equal;
    if (!n) return;
    const uint32_t last = find_kth(&g, n - 1, &n_equal);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < n_cols; c++) {
            float *x = &scores[r * stride + c];
            const uint32_t bits = bits_of(*x);
            if (bits < last || (bits == last && n_equal)) {
                n_equal -= bits == last;
                *x = -1;
            }
        }
}

static size_t share_of(const prune_options *o, size_t n) {
    return (size_t)(o->share * (double)n);
}

/* A row's columns by the pattern. */
static void mark_pattern(const prune_options *o, float *scores, size_t n_cols) {
    for (size_t c = 0; c < n_cols; c += o->of) mark_least(scores + c, 1, o->of, o->of, o->of - o->keep);
}

/* ---- scores of whole matrices ---- */

static float absolute(const pruning *p, size_t r, size_t c) {
    return fabsf(p->weights[r * p->n_cols + c]);
}

static void score_by_columns(pruning *p) {
    for (size_t r = 0; r < p->n_rows; r++)
        for (size_t c = 0; c < p->n_cols; c++)
            p->scores[r * p->n_cols + c] = absolute(p, r, c) * p->by_col[c];
}

/* by_col becomes |x|^1/2 / sum of the column, in steps that no zero divides. */
static void score_relative(pruning *p, const float *root) {
    for (size_t c = 0; c < p->n_cols; c++) {
        double sum = 0;
        for (size_t r = 0; r < p->n_rows; r++) sum += (double)absolute(p, r, c);
        p->by_col[c] = sum > 0 ? (float)(1 / sum) : 0;
    }
    for (size_t r = 0; r < p->n_rows; r++) {
        double sum = 0;
        for (size_t c = 0; c < p->n_cols; c++) sum += (double)absolute(p, r, c);
        const float by_row = sum > 0 ? (float)(1 / sum) : 0;
        for (size_t c = 0; c < p->n_cols; c++)
            p->scores[r * p->n_cols + c] = absolute(p, r, c) * (by_row + p->by_col[c]) * root[c];
    }
}

static void score_all(pruning *p, const statistics *s, float *root) {
    const bool weighs = p->o->metric != PRUNE_magnitude;
    for (size_t c = 0; c < p->n_cols; c++) {
        const double norm = weighs ? sqrt(s->sum_squares[c] / (double)s->n_tokens) : 1;
        p->by_col[c] = (float)norm;
        root[c] = (float)sqrt(norm);
    }
    if (p->o->metric == PRUNE_ria)
        score_relative(p, root);
    else
        score_by_columns(p);
}

static void mark_all(pruning *p) {
    const size_t rows = p->n_rows, cols = p->n_cols;
    if (p->o->of)
        for (size_t r = 0; r < rows; r++) mark_pattern(p->o, p->scores + r * cols, cols);
    else if (p->o->metric == PRUNE_wanda)
        for (size_t r = 0; r < rows; r++)
            mark_least(p->scores + r * cols, 1, cols, cols, share_of(p->o, cols));
    else
        mark_least(p->scores, rows, cols, cols, share_of(p->o, rows * cols));
}

static nut_status take_scores(pruning *p, const statistics *s, nut_error *err) {
    float *root = mem_alloc(p->n_cols * sizeof *root);
    if (!root) return error_memory(err, p->n_cols * sizeof *root);
    score_all(p, s, root);
    mem_free(root);
    return NUT_OK;
}

static nut_status prune_alone(pruning *p, const statistics *s, nut_error *err) {
    TRY(take_scores(p, s, err));
    mark_all(p);
    for (size_t i = 0; i < p->n_rows * p->n_cols; i++)
        if (p->scores[i] < 0) p->weights[i] = 0;
    return NUT_OK;
}

/* ---- sparsegpt ---- */

static nut_status make_u(pruning *p, const statistics *s, nut_error *err) {
    factor f = {0};
    const size_t n = p->n_cols;
    p->u = mem_calloc(n * n, sizeof *p->u);
    if (!p->u) return error_memory(err, n * n * sizeof *p->u);
    nut_status status = factor_new(p->d, factor_mean_hessian, s, n, &f, err);
    if (status == NUT_OK) status = factor_invert(&f, err);
    for (size_t i = 0; status == NUT_OK && i < n; i++) {
        for (size_t j = i; j < n; j++) p->u[i * n + j] = (float)f.r[i * n + j];
        p->by_col[i] = p->u[i * n + i];
    }
    factor_free(&f);
    return status;
}

/* Scores of n columns of a row, from column c of the block on. */
static void score_row(const pruning *p, size_t r, size_t c, size_t n) {
    const float *w = p->weights + r * p->n_cols + p->from, *u = p->by_col + p->from;
    float *score = p->scores + r * BLOCK;
    for (size_t i = c; i < c + n; i++) {
        const float x = w[i] / u[i];
        score[i] = x * x;
    }
}

/* A row's columns one after the other: a removed weight is shared out among those behind it in the block,
 * and its error is left in place of its score for the columns behind the block. */
static void remove_row(const pruning *p, size_t r) {
    float *w = p->weights + r * p->n_cols + p->from, *score = p->scores + r * BLOCK;
    for (size_t c = 0; c < p->n; c++) {
        if (p->o->of && c % p->o->of == 0) {
            score_row(p, r, c, p->o->of);
            mark_pattern(p->o, score + c, p->o->of);
        }
        const float *u = p->u + (p->from + c) * p->n_cols + p->from;
        const float error = score[c] < 0 ? w[c] / u[c] : 0;
        if (score[c] < 0) {
            for (size_t k = c + 1; k < p->n; k++) w[k] -= error * u[k];
            w[c] = 0;
        }
        score[c] = error;
    }
}

static void member(void *ctx, unsigned i, unsigned n) {
    const pruning *p = ctx;
    size_t begin, end;
    threads_split(p->n_rows, i, n, &begin, &end);
    for (size_t r = begin; r < end; r++) remove_row(p, r);
}

static void prune_block(pruning *p) {
    if (!p->o->of) {
        for (size_t r = 0; r < p->n_rows; r++) score_row(p, r, 0, p->n);
        mark_least(p->scores, p->n_rows, p->n, BLOCK, share_of(p->o, p->n_rows * p->n));
    }
    threads_run(dense_team(p->d), member, p);
    const size_t behind = p->from + p->n, n = p->n_cols;
    const dense_product pass_on = {.m = p->n_rows, .n = n - behind, .k = p->n, .ldc = n, .add = true};
    if (behind < n)
        dense_mul_f32(p->d, &pass_on, (dense_f32){p->scores, BLOCK, 1},
                      (dense_f32){p->u + p->from * n + behind, n, 1}, -1, p->weights + behind);
}

static nut_status prune_with_update(pruning *p, const statistics *s, nut_error *err) {
    TRY(make_u(p, s, err));
    const size_t block = p->o->of ? BLOCK / p->o->of * p->o->of : BLOCK; // patterns are not cut
    for (p->from = 0; p->from < p->n_cols; p->from += p->n) {
        p->n = p->n_cols - p->from < block ? p->n_cols - p->from : block;
        prune_block(p);
    }
    return NUT_OK;
}

/* ---- a matrix ---- */

static nut_status take_memory(pruning *p, size_t width, nut_error *err) {
    p->scores = mem_calloc(p->n_rows * width, sizeof *p->scores);
    p->by_col = mem_calloc(p->n_cols, sizeof *p->by_col);
    return p->scores && p->by_col ? NUT_OK : error_memory(err, p->n_rows * width * sizeof *p->scores);
}

static void free_memory(pruning *p) {
    mem_free(p->scores);
    mem_free(p->by_col);
    mem_free(p->u);
}

nut_status prune_matrix(dense *d, const prune_options *o, const statistics *s, size_t n_rows, size_t n_cols,
                        float *weights, nut_error *err) {
    pruning p = {.d = d, .o = o, .n_rows = n_rows, .n_cols = n_cols, .weights = weights};
    const bool updates = o->metric == PRUNE_sparsegpt;
    nut_status status = take_memory(&p, updates ? BLOCK : n_cols, err);
    if (status == NUT_OK) status = updates ? prune_with_update(&p, s, err) : prune_alone(&p, s, err);
    free_memory(&p);
    return status;
}

nut_status prune_column_scores(prune_metric metric, const statistics *s, size_t n_rows, size_t n_cols,
                               float *weights, double *sums, nut_error *err) {
    const prune_options o = {.metric = metric == PRUNE_sparsegpt ? PRUNE_wanda : metric};
    pruning p = {.o = &o, .n_rows = n_rows, .n_cols = n_cols, .weights = weights};
    nut_status status = take_memory(&p, n_cols, err);
    if (status == NUT_OK) status = take_scores(&p, s, err);
    for (size_t c = 0; status == NUT_OK && c < n_cols; c++) sums[c] = 0;
    for (size_t i = 0; status == NUT_OK && i < n_rows * n_cols; i++) sums[i % n_cols] += (double)p.scores[i];
    free_memory(&p);
    return status;
}
