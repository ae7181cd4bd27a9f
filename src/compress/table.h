/*
 * Learning what codes stand for. A table of 16 values is fitted to a matrix by weighted k-means, as in
 * SqueezeLLM (Kim et al. 2023, arXiv 2306.07629, section 4.1), but of weights that are divided by the scales
 * of their blocks: Lloyd's rounds (IEEE Trans. Inf. Theory 28, 1982), where blocks' scales and codes are
 * found for a table, and then each value becomes the weighted mean of what its code stands for.
 */
#ifndef NUT_COMPRESS_TABLE_H
#define NUT_COMPRESS_TABLE_H

#include "compress/types.h"

typedef struct table_rows {
    const float *weights;    // (n_rows, n_cols) finite
    const float *importance; // (n_cols) what an error in a column costs
    const float *felt;       // (n_rows) and in a row
    size_t n_rows, n_cols;   // n_cols: whole blocks
} table_rows;

/* A type as its row, with values of its own. */
typedef struct table_type {
    type_row row; // its kind's values are those below
    int8_t values[FORMAT_TABLE];
} table_type;

/* The type with a tensor's table, FORMAT_TABLE_ZERO higher; it must not be moved. */
void table_type_set(table_type *t, format_id id, const uint8_t *table);

/* A table for the rows, which begins as what is in it: its values rise, and the largest has magnitude 63. */
void table_learn(format_id id, const table_rows *rows, uint8_t *table);

#endif
