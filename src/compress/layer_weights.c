/* A bound layer's matrices as floats. */
#include "compress/layer_weights.h"

#include <string.h>

layer_weights layer_weights_of(const nut_model *m, gguf_str tensor) {
    layer_weights w = {0};
    void *to;
    const tensor_spec *spec = bind_find(m, tensor, &to);
    if (!spec || spec->kind != TENSOR_MATRIX) return w;
    const tensor_part *parts = spec->parts;
    for (size_t i = 0; i < BIND_PARTS && (parts ? parts[i].letter != 0 : i == 0); i++) {
        matrix *part = (matrix *)((char *)to + (parts ? parts[i].to - parts[0].to : 0));
        if (!part->data || part->format->id != FORMAT_F32) return (layer_weights){0};
        w.part[w.n++] = part;
        w.n_rows += part->n_rows;
        w.n_cols = part->n_cols;
    }
    return w;
}

/* The matrix that a row is in; *row becomes its number there. */
static const matrix *part_of(const layer_weights *w, size_t *row) {
    size_t i = 0;
    while (*row >= w->part[i]->n_rows) *row -= w->part[i++]->n_rows;
    return w->part[i];
}

void layer_weights_get(const layer_weights *w, size_t row, size_t n, float *out) {
    for (size_t r = row; r < row + n; r++, out += w->n_cols) {
        size_t at = r;
        const matrix *m = part_of(w, &at);
        matrix_row(m, at, out);
    }
}

void layer_weights_set(const layer_weights *w, size_t row, size_t n, const float *values) {
    for (size_t r = row; r < row + n; r++, values += w->n_cols) {
        size_t at = r;
        const matrix *m = part_of(w, &at);
        m->format->pack(matrix_group(m, at), (uint32_t)(at % FORMAT_LANES), 0, m->n_cols,
                        (const uint8_t *)values);
    }
}

bool layer_of_tensor(gguf_str name, uint32_t *layer, gguf_str *rest) {
    uint64_t i = 4, n = 0;
    if (name.n < 6 || memcmp(name.s, "blk.", 4) != 0) return false;
    for (; i < name.n && name.s[i] >= '0' && name.s[i] <= '9' && n < 1000000; i++)
        n = 10 * n + (uint64_t)(name.s[i] - '0');
    if (i == 4 || i == name.n || name.s[i] != '.') return false;
    *layer = (uint32_t)n;
    *rest = (gguf_str){name.s + i + 1, name.n - i - 1};
    return true;
}
