/*
 * Coded storage by rounding alone: each row gets a step that is a part of its deviation, the same part for
 * all rows, and each weight the nearest multiple of it. A uniform step with an entropy coder behind it is
 * within a quarter of a bit of the best that is possible (Gish and Pierce 1968, "Asymptotically efficient
 * quantizing"). It needs no text and one pass. The type says about how many bits a weight takes: coded_4 and
 * so on.
 */
#include "compress/method.h"

#include "base/error.h"
#include "base/mem.h"

#include <math.h>

#define GAUSSIAN_BITS 2.05f // entropy of a Gaussian of deviation 1 in steps of 1: log2(sqrt(2 pi e))

static const format *target(const nut_compress_options *o) {
    const format *f = format_by_name(o->type ? o->type : "");
    return f && format_is_coded(f) ? f : NULL;
}

static float bits_of(const format *f) {
    return 8.0f * (float)f->layout->bytes / (float)f->layout->block;
}

static nut_status begin(const nut_compress_options *o, const void *ctx, gguf_meta *meta, nut_error *err) {
    (void)ctx;
    if (target(o)) return gguf_meta_int(meta, "general.file_type", GGUF_U32, METHOD_FILE_TYPE_UNSAID, err);
    return error_set(err, NUT_E_ARGUMENT, "say which type to write: coded_4, coded_5, coded_6 or coded_8");
}

static const format *plan(const nut_compress_options *o, const void *ctx, const gguf *model,
                          const gguf_tensor *t) {
    (void)ctx, (void)model;
    return method_is_matrix(t) ? target(o) : NULL;
}

/* The step of a row; 1 for one of zeros. */
static float row_step(const float *w, size_t n, float bits) {
    double power = 0;
    for (size_t i = 0; i < n; i++) power += (double)w[i] * (double)w[i];
    const float deviation = (float)sqrt(power / (double)n);
    return deviation > 0 ? coded_scale(coded_scale_code(deviation * exp2f(GAUSSIAN_BITS - bits))) : 1;
}

static int32_t nearest(float x) {
    const float limit = 1 << 24;
    return (int32_t)roundf(x > limit ? limit : x < -limit ? -limit : x);
}

/* Integers, and the scales of rows and columns. */
typedef struct parts {
    int32_t *z;
    float *row_scale, *col_scale;
} parts;

static nut_status round_rows(const method_slice *s, const parts *p, coded_data *out, nut_error *err) {
    double error = 0;
    if (!p->z || !p->row_scale || !p->col_scale) return error_memory(err, s->n_rows * s->n_cols * 4);
    for (size_t c = 0; c < s->n_cols; c++) p->col_scale[c] = 1;
    for (size_t r = 0; r < s->n_rows; r++) {
        const float *w = s->weights + r * s->n_cols, step = row_step(w, s->n_cols, bits_of(s->to));
        p->row_scale[r] = step;
        for (size_t c = 0; c < s->n_cols; c++) {
            const int32_t z = p->z[r * s->n_cols + c] = nearest(w[c] / step);
            const double off = (double)(w[c] - (float)z * step);
            error += off * off;
        }
    }
    const coded_tensor t = {s->n_rows, s->n_cols, p->z, p->row_scale, p->col_scale};
    TRY(coded_write(&t, out, err));
    out->error = error;
    return NUT_OK;
}

static nut_status code(const method_slice *s, coded_data *out, nut_error *err) {
    const parts p = {mem_calloc(s->n_rows * s->n_cols, sizeof *p.z),
                     mem_calloc(s->n_rows, sizeof *p.row_scale), mem_calloc(s->n_cols, sizeof *p.col_scale)};
    const nut_status status = round_rows(s, &p, out, err);
    mem_free(p.z);
    mem_free(p.row_scale);
    mem_free(p.col_scale);
    return status;
}

const method method_coded = {.name = "coded", .begin = begin, .plan = plan, .code = code};
