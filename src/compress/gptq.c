/* Rounding with feedback. Columns go in blocks: what earlier blocks' errors add to a block is one product;
 * inside of it errors go from column to column, for several rows at once. */
#include "compress/gptq.h"

#include <math.h>

enum { BLOCK = 64, ROWS = 16 };

typedef struct job {
    const gptq_rows *g;
    int32_t *z;
    float *error;
    size_t from, n;
} job;

/* Rows of a block, column by column. */
typedef struct tile {
    float target[BLOCK][ROWS], weight[BLOCK][ROWS], scale[ROWS],
        inverse[ROWS]; // inverse: of the scale, times the shrink
} tile;

static void load(const job *j, size_t row, size_t rows, tile *t) {
    const gptq_rows *g = j->g;
    for (size_t r = 0; r < ROWS; r++) {
        const size_t at = (row + (r < rows ? r : 0)) * g->n_cols + j->from;
        t->scale[r] = g->row_scale[row + (r < rows ? r : 0)];
        t->inverse[r] = (g->shrink ? g->shrink[row + (r < rows ? r : 0)] : 1) / t->scale[r];
        for (size_t i = 0; i < j->n; i++) {
            t->weight[i][r] = g->weights[at + i];
            t->target[i][r] = g->weights[at + i] + (j->from && g->feedback ? j->error[at + i] : 0);
        }
    }
}

/* Column i of a tile: its integers, and its errors in place of the targets. */
static void round_column(const job *j, tile *t, size_t i, int32_t z[ROWS]) {
    const float col = j->g->col_scale[j->from + i];
    for (size_t r = 0; r < ROWS; r++) {
        const float x = t->target[i][r] * t->inverse[r] / col, size = fabsf(x) + 0.5f;
        const float whole = floorf(size < (float)GPTQ_MOST ? size : (float)GPTQ_MOST);
        z[r] = (int32_t)(x < 0 ? -whole : whole);
        t->target[i][r] = t->weight[i][r] - (float)z[r] * (t->scale[r] * col);
    }
}

static void pass_on(const job *j, tile *t, size_t i) {
    const float *share = j->g->feedback + (j->from + i) * j->g->n_cols + j->from;
    for (size_t k = i + 1; k < j->n; k++)
        for (size_t r = 0; r < ROWS; r++) t->target[k][r] += t->target[i][r] * share[k];
}

static void round_tile(const job *j, size_t row, size_t rows) {
    tile t;
    int32_t z[ROWS];
    load(j, row, rows, &t);
    for (size_t i = 0; i < j->n; i++) {
        round_column(j, &t, i, z);
        if (j->g->feedback) pass_on(j, &t, i);
        for (size_t r = 0; r < rows; r++) {
            const size_t at = (row + r) * j->g->n_cols + j->from + i;
            j->z[at] = z[r];
            j->error[at] = t.target[i][r];
        }
    }
}

static void member(void *ctx, unsigned i, unsigned n) {
    const job *j = ctx;
    const size_t rows = j->g->n_rows;
    size_t begin, end;
    threads_split((rows + ROWS - 1) / ROWS, i, n, &begin, &end);
    for (size_t row = begin * ROWS; row < end * ROWS && row < rows; row += ROWS)
        round_tile(j, row, rows - row < ROWS ? rows - row : ROWS);
}

float gptq_shrink(double deviation) {
    const double square = 12 * fmax(deviation * deviation, 2);
    return (float)(square / (square + 1));
}

void gptq_round(dense *d, const gptq_rows *g, int32_t *z, float *error) {
    job j = {.g = g, .z = z, .error = error};
    const size_t n = g->n_cols;
    for (j.from = 0; j.from < n; j.from += BLOCK) {
        j.n = n - j.from < BLOCK ? n - j.from : BLOCK;
        const dense_product carry = {.m = g->n_rows, .n = j.n, .k = j.from, .ldc = n};
        if (g->feedback && j.from)
            dense_mul_f32(d, &carry, (dense_f32){error, n, 1}, (dense_f32){g->feedback + j.from, n, 1}, 1,
                          error + j.from);
        threads_run(dense_team(d), member, &j);
    }
}
