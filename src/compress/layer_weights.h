/*
 * The weights of a layer that calibration has in memory as floats, by the names of their tensors: to read
 * them, and to put others in their place, which the layers behind then see.
 */
#ifndef NUT_COMPRESS_LAYER_WEIGHTS_H
#define NUT_COMPRESS_LAYER_WEIGHTS_H

#include "model/bind.h"

/* The matrices that a tensor of a bound layer is made of, its rows one after the other; n 0: it is none, or
 * a stack. */
typedef struct layer_weights {
    matrix *part[BIND_PARTS];
    size_t n, n_rows, n_cols;
} layer_weights;

layer_weights layer_weights_of(const nut_model *m, gguf_str tensor);
/* Rows [row, row + n) to or from floats (n, n_cols). */
void layer_weights_get(const layer_weights *w, size_t row, size_t n, float *out);
void layer_weights_set(const layer_weights *w, size_t row, size_t n, const float *values);

/* The number of a layer's tensor, and its name behind "blk.N."; false where it is in none. */
bool layer_of_tensor(gguf_str name, uint32_t *layer, gguf_str *rest);

#endif
