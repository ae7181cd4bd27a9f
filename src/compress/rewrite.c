/* A changed model, header and tensors. */
#include "compress/rewrite.h"

#include "base/error.h"
#include "model/splits.h"

#include <string.h>

enum { ROOM = 1 << 20 }; // bytes at once, where a row is not larger

const format *rewrite_format(const gguf_tensor *from) {
    const format *f = format_by_ggml(from->ggml_type);
    return f && (f->id == FORMAT_F32 || f->id == FORMAT_BF16) ? f : &format_table[FORMAT_F16];
}

static uint64_t rows_of(const gguf_tensor *t) {
    return t->dims[1] * t->dims[2] * t->dims[3];
}

nut_status rewrite_plan(const gguf *source, rewrite_tensor **plan, nut_error *err) {
    rewrite_tensor *p = *plan = mem_calloc((size_t)source->n_tensors, sizeof *p);
    if (!p) return error_memory(err, source->n_tensors * sizeof *p);
    for (uint64_t i = 0; i < source->n_tensors; i++) {
        const gguf_tensor *t = &source->tensors[i];
        p[i] = (rewrite_tensor){.from = t, .name = t->name, .n_cols = t->dims[0], .n_rows = rows_of(t)};
    }
    return NUT_OK;
}

/* ---- the header ---- */

static uint64_t bytes_of_row(const gguf_tensor *t) {
    const format *f = format_by_ggml(t->ggml_type);
    return t->dims[0] / f->block * f->bytes;
}

/* Stacks lose whole matrices, which are its last dimension. */
static void set_rows(gguf_tensor *t, uint64_t n) {
    if (t->dims[2] > 1)
        t->dims[2] = n / t->dims[1];
    else
        t->dims[1] = n;
}

static nut_status plan_tensor(rewrite *w, size_t i, nut_error *err) {
    const rewrite_tensor *p = &w->plan[i];
    gguf_tensor *t = &w->tensors[i];
    const format *is = format_by_ggml(p->from->ggml_type);
    if (!is || format_is_coded(is))
        return error_set(err, NUT_E_UNSUPPORTED,
                         "tensor %.*s has type %s, which cannot be read here; change the model before it is "
                         "coded",
                         (int)p->from->name.n, p->from->name.s, format_ggml_name(p->from->ggml_type));
    *t = *p->from;
    t->name = p->name;
    if (p->n_rows != rows_of(t)) set_rows(t, p->n_rows);
    t->dims[0] = p->n_cols;
    if (p->computed) t->ggml_type = rewrite_format(p->from)->ggml_type, t->has_table = false;
    t->n_bytes = bytes_of_row(t) * p->n_rows; // no more than the source has, or floats of it
    const uint64_t row = p->n_cols * sizeof(float);
    if (row > SIZE_MAX / 2 || t->n_bytes > INT64_MAX)
        return error_set(err, NUT_E_TOO_LARGE, "tensor %.*s is too large to be written", (int)t->name.n,
                         t->name.s);
    if (row > w->room) w->room = (size_t)row;
    return NUT_OK;
}

/* An array with a number for each tensor, in the new order. */
static nut_status move_facts(rewrite *w, const char *key, nut_error *err) {
    const gguf_kv *kv = gguf_find(w->source, key);
    if (!kv || kv->n != w->source->n_tensors || kv->n_bytes != kv->n * sizeof(uint32_t)) return NUT_OK;
    uint32_t *moved = mem_alloc(w->n * sizeof *moved);
    if (!moved) return error_memory(err, w->n * sizeof *moved);
    for (size_t i = 0; i < w->n; i++)
        memcpy(&moved[i], kv->value + (size_t)(w->plan[i].from - w->source->tensors) * sizeof *moved,
               sizeof *moved);
    const nut_status status = gguf_meta_array(&w->meta, key, kv->elem, moved, w->n, err);
    mem_free(moved);
    return status;
}

nut_status rewrite_begin(rewrite *w, gguf *source, const rewrite_tensor *plan, size_t n, nut_error *err) {
    splits_forget(source);
    w->source = source, w->plan = plan, w->n = n;
    w->room = ROOM;
    w->tensors = mem_calloc(n, sizeof *w->tensors);
    if (!w->tensors) return error_memory(err, n * sizeof *w->tensors);
    for (size_t i = 0; i < n; i++) TRY(plan_tensor(w, i, err));
    w->bytes = mem_alloc(w->room);
    w->floats = mem_alloc(w->room);
    if (!w->bytes || !w->floats) return error_memory(err, 2 * w->room);
    TRY(move_facts(w, COMPRESS_TYPES, err));
    TRY(move_facts(w, COMPRESS_ERRORS, err));
    return gguf_write_begin(&w->writer, source, &w->meta, w->tensors, n, err);
}

void rewrite_free(rewrite *w) {
    gguf_meta_free(&w->meta);
    mem_free(w->tensors);
    mem_free(w->bytes);
    mem_free(w->floats);
    *w = (rewrite){0};
}

/* ---- data ---- */

static void write_bytes(rewrite *w, nut_job *job, size_t n) {
    if (n) job_write(job, w->written, w->bytes, n);
    w->written += n;
}

/* The source's number of a row. */
static uint64_t source_row(const rewrite_tensor *p, uint64_t row) {
    const uint64_t each = p->each ? p->each : 1;
    return p->rows ? p->rows[row / each] * each + row % each : row;
}

/* Rows from w->row on that lie together in the source, as many as there is room for. */
static size_t rows_together(const rewrite *w, const rewrite_tensor *p, uint64_t row_bytes) {
    const uint64_t left = p->n_rows - w->row, fits = w->room / row_bytes, first = source_row(p, w->row);
    size_t n = (size_t)(left < fits ? left : fits);
    if (p->rows)
        for (size_t i = 1; i < n; i++)
            if (source_row(p, w->row + i) != first + i) n = i;
    return n;
}

static nut_status want_rows(rewrite *w, nut_job *job) {
    const rewrite_tensor *p = &w->plan[w->tensor];
    const uint64_t row_bytes = bytes_of_row(p->from), first = source_row(p, w->row);
    w->n_rows = rows_together(w, p, row_bytes);
    w->told = true;
    job_want(job, p->from->split, p->from->offset + first * row_bytes, w->bytes,
             w->n_rows * (size_t)row_bytes);
    return NUT_OK;
}

static nut_status compute_rows(rewrite *w, nut_error *err) {
    const rewrite_tensor *p = &w->plan[w->tensor];
    const format *to = rewrite_format(p->from);
    const uint64_t left = p->n_rows - w->row, fits = w->room / (p->n_cols * sizeof(float));
    w->n_rows = (size_t)(left < fits ? left : fits);
    TRY(w->rows(w->ctx, w->tensor, (size_t)w->row, w->n_rows, w->floats, err));
    to->quantize(w->floats, w->n_rows * (size_t)p->n_cols, w->bytes);
    return NUT_OK;
}

/* Zeros up to the alignment. */
static void end_tensor(rewrite *w, nut_job *job) {
    const size_t n = (size_t)gguf_padding(w->tensors[w->tensor].n_bytes, w->writer.alignment);
    memset(w->bytes, 0, n); // less than ROOM: gguf.c
    write_bytes(w, job, n);
    w->row = 0;
    w->tensor++;
}

static nut_status write_tensor(rewrite *w, nut_job *job, nut_error *err) {
    const rewrite_tensor *p = &w->plan[w->tensor];
    if (w->row == p->n_rows) return end_tensor(w, job), NUT_OK;
    if (!p->computed && !w->told) return want_rows(w, job);
    if (p->computed) TRY(compute_rows(w, err));
    w->told = false;
    w->row += w->n_rows;
    write_bytes(w, job, w->n_rows * (size_t)bytes_of_row(&w->tensors[w->tensor]));
    return NUT_OK;
}

nut_status rewrite_step(rewrite *w, nut_job *job, size_t until, bool *ready, nut_error *err) {
    *ready = false;
    if (!w->in_data) {
        const size_t n = gguf_write_header(&w->writer, w->bytes, w->room);
        write_bytes(w, job, n);
        w->in_data = !n;
        return NUT_OK;
    }
    if (w->tensor < until) return write_tensor(w, job, err);
    *ready = true;
    return NUT_OK;
}
