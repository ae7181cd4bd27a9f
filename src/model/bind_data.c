/* From a file's blocks to packed rows: each block goes straight to its place, whatever the bytes are cut
 * into. */
#include "model/bind.h"

#include "base/error.h"

#include <string.h>

enum { FLOATS_AT_ONCE = 4 }; // blocks that are dequantized together

/* Floats of a vector: a NaN would vanish where activations are quantized, and nothing would tell of it. */
static bool are_finite(const float *x, size_t n) {
    bool finite = true;
    for (size_t i = 0; i < n; i++) finite &= x[i] - x[i] == 0;
    return finite;
}

/* The matrix that takes a row of the tensor, and which of its rows that is; NULL for a vector. */
static const matrix *row_matrix(const binding *b, uint64_t *row) {
    const uint64_t rows = b->source->dims[1];
    size_t i = 0, of_stack = (size_t)(*row / rows);
    if (!b->w[0]) return NULL;
    for (*row %= rows; *row >= b->w[i]->n_rows; i++) *row -= b->w[i]->n_rows;
    return &b->w[i][of_stack];
}

/* Puts n blocks, the first being block `first` of a row, where they belong. False where one is damaged. */
static bool put_blocks(const binding *b, uint64_t row, size_t first, size_t n, const uint8_t *src) {
    float floats[FLOATS_AT_ONCE * FORMAT_MAX_BLOCK];
    const uint64_t first_of_row = row * b->source->dims[0];
    const matrix *w = row_matrix(b, &row);
    uint8_t *group = w ? matrix_group(w, (size_t)row) : NULL;
    const uint32_t lane = (uint32_t)(row % FORMAT_LANES);
    if (w && b->as == b->from) return b->as->pack(group, lane, first, n, src);
    const size_t at_once = FLOATS_AT_ONCE * FORMAT_MAX_BLOCK / b->from->block;
    for (size_t i = 0; i < n; i += at_once) {
        const size_t some = n - i < at_once ? n - i : at_once, col = (first + i) * b->from->block;
        const size_t n_floats = some * b->from->block;
        gguf_floats(b->source, src + i * b->from->bytes, some, floats);
        if (w)
            b->as->pack(group, lane, col, n_floats, (const uint8_t *)floats);
        else if (are_finite(floats, n_floats))
            memcpy(b->floats + first_of_row + col, floats, n_floats * sizeof(float));
        else
            return false;
    }
    return true;
}

/* Takes whole blocks that begin at byte `at` of the tensor. */
static bool take_blocks(const binding *b, uint64_t at, const uint8_t *src, size_t n_blocks) {
    const size_t per_row = (size_t)b->source->dims[0] / b->from->block;
    uint64_t block = at / b->from->bytes;
    while (n_blocks) {
        const size_t first = (size_t)(block % per_row), left = per_row - first,
                     n = left < n_blocks ? left : n_blocks;
        if (!put_blocks(b, block / per_row, first, n, src)) return false;
        block += n;
        n_blocks -= n;
        src += n * b->from->bytes;
    }
    return true;
}

/* Whole blocks, and a piece of one that is kept. */
static bool take_pieces(bind_fill *f, const binding *b, uint64_t at, const uint8_t *src, size_t n) {
    const size_t bytes = b->from->bytes;
    if (f->n_kept) {
        const size_t more = bytes - f->n_kept < n ? bytes - f->n_kept : n;
        memcpy(f->kept + f->n_kept, src, more);
        f->n_kept += more;
        src += more, at += more, n -= more;
        if (f->n_kept < bytes) return true;
        if (!take_blocks(b, at - bytes, f->kept, 1)) return false;
        f->n_kept = 0;
    }
    if (!take_blocks(b, at, src, n / bytes)) return false;
    f->n_kept = n % bytes;
    memcpy(f->kept, src + n - f->n_kept, f->n_kept);
    return true;
}

nut_status bind_data(bind_fill *f, const binding *b, uint64_t at, const uint8_t *src, size_t n,
                     nut_error *err) {
    if (!b->spec) return NUT_OK;
    if (format_is_coded(b->from)) return coded_take(&f->coded, b->source, &b->coded, src, n, err);
    if (take_pieces(f, b, at, src, n)) return NUT_OK;
    return error_set(
        err, NUT_E_CORRUPT,
        "the model file is damaged: the tensor %.*s holds a number that is not finite, or a scale out of "
        "range; download the file again",
        (int)b->source->name.n, b->source->name.s);
}

void bind_fill_free(bind_fill *f) {
    coded_drop(&f->coded);
}
