/* Rounding into blocks with feedback: what earlier blocks' errors add to a block is one product; inside of
 * it errors go from column to column, for several rows at once. */
#include "compress/gptq_blocks.h"

#include <string.h>

enum { ROWS = 16 };

typedef struct job {
    const gptq_blocks *g;
    uint8_t *blocks;
    float *error;
    double *loss;
    size_t from, n; // columns of the block that is worked on
} job;

/* Rows of a block, column by column, and what was found of each. */
typedef struct tile {
    float target[FIT_COLS][ROWS];
    fit_block fit[ROWS];
    size_t row, rows;
} tile;

/* Row r of a tile's columns [at, at + n). */
static void take_row(const tile *t, size_t r, size_t at, size_t n, float *x) {
    for (size_t c = 0; c < n; c++) x[c] = t->target[at + c][r];
}

static void load(const job *j, tile *t) {
    const gptq_blocks *g = j->g;
    float x[FIT_COLS];
    for (size_t r = 0; r < ROWS; r++) {
        const size_t at = (t->row + (r < t->rows ? r : 0)) * g->n_cols + j->from;
        for (size_t c = 0; c < j->n; c++)
            t->target[c][r] = g->weights[at + c] + (j->from && g->feedback ? j->error[at + c] : 0);
        take_row(t, r, 0, j->n, x);
        if (r < t->rows) fit_find(&g->type->kind, x, g->importance + j->from, &t->fit[r]);
    }
}

/* Integers of a group for what its columns have become. */
static void choose_again(const job *j, tile *t, uint32_t group) {
    const fit_kind *k = &j->g->type->kind;
    const size_t at = group * k->n_cols;
    float x[FIT_COLS];
    for (size_t r = 0; r < t->rows; r++) {
        take_row(t, r, at, k->n_cols, x);
        fit_group(k, group, x, j->g->importance + j->from + at, &t->fit[r]);
    }
}

/* Which of the next columns are kept, as they have become. */
static void keep_again(const job *j, tile *t, size_t at) {
    const fit_kind *k = &j->g->type->kind;
    float x[FIT_COLS];
    for (size_t r = 0; r < t->rows; r++) {
        take_row(t, r, at, k->of, x);
        fit_keep(k, (uint32_t)at, x, j->g->importance + j->from + at, &t->fit[r]);
    }
}

/* Chooses the codes of column c for all rows of a tile. The errors of rounding replace the column's targets.
 */
static void round_column(const job *j, tile *t, size_t c) {
    const fit_kind *k = &j->g->type->kind;
    const double importance = (double)j->g->importance[j->from + c];
    for (size_t r = 0; r < t->rows; r++) {
        fit_block *f = &t->fit[r];
        const size_t group = c / k->n_cols, row = t->row + r;
        const float scale = f->d * (float)f->scales[group], min = f->dmin * (float)f->mins[group];
        const float x = t->target[c][r];
        f->codes[c] = fit_code(k, scale != 0 && fit_is_kept(k, f, c) ? (x + min) / scale : 0);
        const float value = scale * (float)fit_value(k, f->codes[c]) - min;
        j->loss[row] += importance * (double)(x - value) * (double)(x - value);
        t->target[c][r] = j->g->weights[row * j->g->n_cols + j->from + c] - value;
    }
}

static void pass_on(const job *j, tile *t, size_t c) {
    const float *share = j->g->feedback + (j->from + c) * j->g->n_cols + j->from;
    for (size_t k = c + 1; k < j->n; k++)
        for (size_t r = 0; r < ROWS; r++) t->target[k][r] += t->target[c][r] * share[k];
}

static void store(const job *j, const tile *t) {
    const gptq_blocks *g = j->g;
    const format *f = &format_table[g->type->id];
    const size_t row_bytes = g->n_cols / f->block * f->bytes;
    for (size_t r = 0; r < t->rows; r++) {
        take_row(t, r, 0, j->n, j->error + (t->row + r) * g->n_cols + j->from);
        if (g->fits) g->fits[(t->row + r) * (g->n_cols / f->block) + j->from / f->block] = t->fit[r];
        if (j->blocks)
            type_put(g->type, &t->fit[r],
                     j->blocks + (t->row + r) * row_bytes + j->from / f->block * f->bytes);
    }
}

static void round_tile(const job *j, size_t row, size_t rows) {
    const fit_kind *k = &j->g->type->kind;
    tile t = {.row = row, .rows = rows};
    load(j, &t);
    for (size_t c = 0; c < j->n; c++) {
        if (c && c % k->n_cols == 0 && j->g->feedback) choose_again(j, &t, (uint32_t)(c / k->n_cols));
        if (k->of && c % k->of == 0 && j->g->feedback) keep_again(j, &t, c);
        round_column(j, &t, c);
        if (j->g->feedback) pass_on(j, &t, c);
    }
    store(j, &t);
}

static void member(void *ctx, unsigned i, unsigned n) {
    const job *j = ctx;
    const size_t rows = j->g->n_rows;
    size_t begin, end;
    threads_split((rows + ROWS - 1) / ROWS, i, n, &begin, &end);
    for (size_t row = begin * ROWS; row < end * ROWS && row < rows; row += ROWS)
        round_tile(j, row, rows - row < ROWS ? rows - row : ROWS);
}

void gptq_blocks_round(dense *d, const gptq_blocks *g, uint8_t *blocks, float *error, double *loss) {
    job j = {.g = g, .blocks = blocks, .error = error, .loss = loss};
    const size_t n = g->n_cols;
    j.n = format_table[g->type->id].block;
    memset(loss, 0, g->n_rows * sizeof *loss);
    for (j.from = 0; j.from < n; j.from += j.n) {
        const dense_product carry = {.m = g->n_rows, .n = j.n, .k = j.from, .ldc = n};
        if (g->feedback && j.from)
            dense_mul_f32(d, &carry, (dense_f32){error, n, 1}, (dense_f32){g->feedback + j.from, n, 1}, 1,
                          error + j.from);
        threads_run(dense_team(d), member, &j);
    }
}
