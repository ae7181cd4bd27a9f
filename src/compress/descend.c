/* Coordinate descent on codes and scales. Rows are apart from each other; of each the gradient is kept. */
#include "compress/descend.h"

#include "base/error.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

enum { ROWS = 64 };  // that have their memory at once
enum { SWEEPS = 6 }; // over all variables of a row; twice as many gain 2 % at most

typedef struct descent {
    const gptq_blocks *g;
    const fit_kind *kind;
    const float *hessian;    // (n_cols, n_cols)
    size_t block, n_blocks;  // columns of a block; blocks of a row
    size_t row, n_rows;      // that are worked on
    float *error, *gradient; // (ROWS, n_cols) weights less what they become; that times H
    fit_block *fits;         // (ROWS, n_blocks)
    double *loss;            // (n_rows)
} descent;

/* What is worked on of a row. */
typedef struct line {
    const descent *d;
    const float *x;          // (n_cols) weights
    float *error, *gradient; // (n_cols)
    fit_block *fits;         // (n_blocks)
} line;

/* The error of a column becomes another. */
static void set_error(const line *l, size_t c, float error) {
    const size_t n = l->d->g->n_cols;
    const float by = error - l->error[c], *h = l->d->hessian + c * n;
    l->error[c] = error;
    for (size_t i = 0; by != 0 && i < n; i++) l->gradient[i] += by * h[i];
}

static float value_of(const fit_kind *k, const fit_block *f, size_t i) {
    const size_t group = i / k->n_cols;
    return f->d * (float)f->scales[group] * (float)fit_value(k, f->codes[i]) -
           f->dmin * (float)f->mins[group];
}

/* ---- codes ---- */

/* The code with which the row loses least while all others stay. */
static void choose_code(const line *l, const fit_kind *k, fit_block *f, size_t at, size_t i) {
    const size_t c = at + i, group = i / k->n_cols;
    const float scale = f->d * (float)f->scales[group], min = f->dmin * (float)f->mins[group];
    const float diagonal = l->d->hessian[c * l->d->g->n_cols + c];
    if (scale == 0 || !(diagonal > 0) || !fit_is_kept(k, f, i)) return;
    const float wanted = l->x[c] - (l->error[c] - l->gradient[c] / diagonal);
    const int code = fit_code(k, (wanted + min) / scale);
    if (code == f->codes[i]) return;
    f->codes[i] = code;
    set_error(l, c, l->x[c] - value_of(k, f, i));
}

/* ---- scales ---- */

/* For what the block stands for with other floats: the sum of the gradient, and of H, in that direction.
 * Directions (block): what weights become for one more of the scale, or of the minimum. */
typedef struct slopes {
    double first[2], second[3]; // of scale and minimum; of scale twice, of both, of minimum twice
} slopes;

static void find_directions(const fit_kind *k, const fit_block *f, size_t n, float *scale, float *min) {
    for (size_t i = 0; i < n; i++) {
        scale[i] = (float)f->scales[i / k->n_cols] * (float)fit_value(k, f->codes[i]);
        min[i] = -(float)f->mins[i / k->n_cols];
    }
}

static slopes find_slopes(const line *l, size_t at, const float *scale, const float *min) {
    const size_t n = l->d->block;
    slopes s = {{0}, {0}};
    for (size_t i = 0; i < n; i++) {
        const float *h = l->d->hessian + (at + i) * l->d->g->n_cols + at;
        float by_scale = 0, by_min = 0;
        for (size_t j = 0; j < n; j++) by_scale += h[j] * scale[j], by_min += h[j] * min[j];
        s.first[0] += (double)(l->gradient[at + i] * scale[i]);
        s.first[1] += (double)(l->gradient[at + i] * min[i]);
        s.second[0] += (double)(by_scale * scale[i]);
        s.second[1] += (double)(by_scale * min[i]);
        s.second[2] += (double)(by_min * min[i]);
    }
    return s;
}

/* What the loss changes by when the floats become larger by d and m: errors are weights less values. */
static double change_of(const slopes *s, double d, double m) {
    return -2 * (d * s->first[0] + m * s->first[1]) + d * d * s->second[0] + 2 * d * m * s->second[1] +
           m * m * s->second[2];
}

/* The best floats for a block's codes, as a file holds them, where they are better. */
static void choose_floats(const line *l, const fit_kind *k, fit_block *f, size_t at) {
    float scale[FIT_COLS], min[FIT_COLS];
    const size_t n = l->d->block;
    find_directions(k, f, n, scale, min);
    const slopes s = find_slopes(l, at, scale, min);
    const double det = s.second[0] * s.second[2] - s.second[1] * s.second[1];
    const bool both = k->min_hi && det > 1e-6 * s.second[0] * s.second[2];
    double d = s.second[0] > 0 ? s.first[0] / s.second[0] : 0, m = 0;
    if (both) {
        d = (s.first[0] * s.second[2] - s.first[1] * s.second[1]) / det;
        m = (s.first[1] * s.second[0] - s.first[0] * s.second[1]) / det;
    }
    const float new_d = k->round(f->d + (float)d), new_min = both ? k->round(f->dmin + (float)m) : f->dmin;
    if (new_min < 0 && k->min_hi > 1) return;
    if (!(change_of(&s, (double)(new_d - f->d), (double)(new_min - f->dmin)) < 0)) return;
    f->d = new_d, f->dmin = new_min;
    for (size_t i = 0; i < n; i++) set_error(l, at + i, l->x[at + i] - value_of(k, f, i));
}

/* ---- rows ---- */

static void descend_row(const descent *d, size_t row) {
    const size_t n = d->g->n_cols;
    const line l = {d, d->g->weights + (d->row + row) * n, d->error + row * n, d->gradient + row * n,
                    d->fits + row * d->n_blocks};
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (size_t b = 0; b < d->n_blocks; b++) {
            for (size_t i = 0; i < d->block; i++) choose_code(&l, d->kind, &l.fits[b], b * d->block, i);
            choose_floats(&l, d->kind, &l.fits[b], b * d->block);
        }
    d->loss[d->row + row] = 0;
    for (size_t c = 0; c < n; c++) d->loss[d->row + row] += (double)l.error[c] * (double)l.gradient[c];
}

static void member(void *ctx, unsigned i, unsigned n) {
    const descent *d = ctx;
    size_t begin, end;
    threads_split(d->n_rows, i, n, &begin, &end);
    for (size_t row = begin; row < end; row++) descend_row(d, row);
}

static void descend_rows(dense *products, descent *d, uint8_t *blocks) {
    const size_t n = d->g->n_cols;
    const format *f = &format_table[d->g->type->id];
    const dense_product p = {.m = d->n_rows, .n = n, .k = n, .ldc = n};
    gptq_blocks some = *d->g;
    some.n_rows = d->n_rows;
    some.weights += d->row * n;
    some.fits = d->fits;
    gptq_blocks_round(products, &some, NULL, d->error, d->loss + d->row);
    dense_mul_f32(products, &p, (dense_f32){d->error, n, 1}, (dense_f32){d->hessian, n, 1}, 1, d->gradient);
    threads_run(dense_team(products), member, d);
    for (size_t i = 0; i < d->n_rows * d->n_blocks; i++)
        type_put(d->g->type, &d->fits[i], blocks + (d->row * d->n_blocks + i) * f->bytes);
}

nut_status descend(dense *products, const gptq_blocks *g, const float *hessian, uint8_t *blocks,
                   double *loss, nut_error *err) {
    const size_t n = ROWS * g->n_cols, block = format_table[g->type->id].block;
    descent d = {.g = g,
                 .kind = &g->type->kind,
                 .hessian = hessian,
                 .block = block,
                 .n_blocks = g->n_cols / block,
                 .loss = loss};
    d.error = mem_calloc(n, sizeof *d.error);
    d.gradient = mem_calloc(n, sizeof *d.gradient);
    d.fits = mem_calloc(ROWS * d.n_blocks, sizeof *d.fits);
    const bool there = d.error && d.gradient && d.fits;
    for (; there && d.row < g->n_rows; d.row += ROWS) {
        d.n_rows = g->n_rows - d.row < ROWS ? g->n_rows - d.row : ROWS;
        descend_rows(products, &d, blocks);
    }
    mem_free(d.error);
    mem_free(d.gradient);
    mem_free(d.fits);
    return there ? NUT_OK : error_memory(err, ROWS * d.n_blocks * sizeof *d.fits);
}
