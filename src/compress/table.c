/* Weighted k-means of weights in units of their blocks' scales. */
#include "compress/table.h"

#include <math.h>
#include <string.h>

enum { ROUNDS = 8 }; // of Lloyd: the last change the error by less than 0.1 %
#define LARGEST 63.0 // magnitude: products take 0..127

void table_type_set(table_type *t, format_id id, const uint8_t *table) {
    t->row = *type_with_codes(id);
    for (size_t i = 0; i < FORMAT_TABLE; i++) t->values[i] = (int8_t)(table[i] - FORMAT_TABLE_ZERO);
    t->row.kind.values = t->values;
}

/* What the codes' values are asked to be: weighted sums of weights in units of their scales. */
typedef struct means {
    double sum[FORMAT_TABLE], weight[FORMAT_TABLE];
} means;

/* An error of a value costs what its weights count times the square of their scale. */
static void add_block(const table_type *t, const float *x, const float *importance, float felt, means *m) {
    fit_block fit;
    fit_find(&t->row.kind, x, importance, &fit);
    for (uint32_t c = 0; c < t->row.kind.n_groups * t->row.kind.n_cols; c++) {
        const double d = (double)fit.d, w = (double)importance[c] * (double)felt;
        m->sum[fit.codes[c]] += w * d * (double)x[c];
        m->weight[fit.codes[c]] += w * d * d;
    }
}

/* A value that no weight is nearest to stays. The largest becomes LARGEST, and scales make up for it. */
static void take_means(const means *m, const table_type *t, uint8_t *table) {
    double values[FORMAT_TABLE], most = 0;
    for (size_t i = 0; i < FORMAT_TABLE; i++) {
        values[i] = m->weight[i] > 0 ? m->sum[i] / m->weight[i] : (double)t->values[i];
        if (i && values[i] < values[i - 1]) values[i] = values[i - 1];
    }
    for (size_t i = 0; i < FORMAT_TABLE; i++) most = fmax(most, fabs(values[i]));
    for (size_t i = 0; i < FORMAT_TABLE && most > 0; i++)
        table[i] = (uint8_t)(FORMAT_TABLE_ZERO + (int)lround(values[i] / most * LARGEST));
}

void table_learn(format_id id, const table_rows *rows, uint8_t *table) {
    const size_t block = format_table[id].block;
    for (int round = 0; round < ROUNDS; round++) {
        table_type t;
        means m;
        table_type_set(&t, id, table);
        memset(&m, 0, sizeof m);
        for (size_t r = 0; r < rows->n_rows; r++)
            for (size_t c = 0; c < rows->n_cols; c += block)
                add_block(&t, rows->weights + r * rows->n_cols + c, rows->importance + c, rows->felt[r], &m);
        take_means(&m, &t, table);
    }
}
