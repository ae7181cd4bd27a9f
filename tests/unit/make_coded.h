/* Models whose matrices are coded, from those of make_gguf.h. */
#ifndef NUT_TESTS_MAKE_CODED_H
#define NUT_TESTS_MAKE_CODED_H

#include "compress/coded_write.h"
#include "make_gguf.h"

/* Codes a matrix of floats in steps of a part of its deviation, so that integers have about `bits` bits; the
 * scales of columns differ, those of the same width are the same. *outliers receives how many there are. */
static inline void make_code_tensor(make_tensor *t, float bits, uint64_t *outliers) {
    const size_t n_cols = (size_t)t->dims[0], n_rows = (size_t)t->dims[1];
    int32_t *z = malloc(n_rows * n_cols * sizeof *z);
    float *row = malloc(n_rows * sizeof *row), *col = malloc(n_cols * sizeof *col);
    float *w = malloc(n_rows * n_cols * sizeof *w);
    memcpy(w, t->data.p, n_rows * n_cols * sizeof *w);
    for (size_t c = 0; c < n_cols; c++) col[c] = coded_scale((uint8_t)(212 + c * 7 % 9));
    for (size_t r = 0; r < n_rows; r++) {
        double power = 0;
        for (size_t c = 0; c < n_cols; c++) power += (double)w[r * n_cols + c] * (double)w[r * n_cols + c];
        row[r] = coded_scale(coded_scale_code((float)sqrt(power / (double)n_cols) * exp2f(2 - bits)));
        for (size_t c = 0; c < n_cols; c++)
            z[r * n_cols + c] = (int32_t)roundf(w[r * n_cols + c] / (row[r] * col[c]));
    }
    const coded_tensor whole = {n_rows, n_cols, z, row, col};
    coded_data d;
    if (coded_write(&whole, &d, NULL) != NUT_OK) exit(2);
    t->type = d.format->ggml_type;
    t->data.n = 0;
    make_put(&t->data, d.bytes, d.n);
    *outliers = d.n_outliers;
    coded_data_free(&d);
    free(z), free(row), free(col), free(w);
}

/* Codes the matrices of a model of floats, all or every other one. */
static inline void make_coded(make_gguf *g, float bits, bool all) {
    uint64_t bytes[MAKE_MAX_TENSORS], outliers[MAKE_MAX_TENSORS], n = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        make_tensor *t = &g->tensors[i];
        if (t->n_dims != 2 || t->dims[0] % FORMAT_UNIT || (!all && i % 2)) continue;
        make_code_tensor(t, bits, &outliers[n]);
        bytes[n++] = t->data.n;
    }
    make_array(g, "nutshell.coded.bytes", MAKE_U64, n);
    for (uint64_t i = 0; i < n; i++) make_le(&g->kv, bytes[i], 8);
    make_array(g, "nutshell.coded.outliers", MAKE_U32, n);
    for (uint64_t i = 0; i < n; i++) make_le(&g->kv, outliers[i], 4);
}

#endif
