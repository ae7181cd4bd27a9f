/* Adapters from files and to them. */
#include "train/adapter.h"

#include "base/error.h"
#include "train/output.h"

#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

static nut_status take_factor(const adapter *a, const learn_tensor *t, int which, uint64_t n_rows,
                              uint64_t n_cols, float *to, nut_error *err) {
    for (uint64_t row = 0; row < n_rows; row++)
        TRY(adapter_row(a, t->source->name, which, n_rows, n_cols, row, to + row * n_cols, err));
    return NUT_OK;
}

nut_status adapter_take(const adapter *a, learn *l, nut_error *err) {
    if (2 * l->n_tensors != a->g.n_tensors)
        return error_set(err, NUT_E_ARGUMENT,
                         "the adapter has %llu tensors, and %zu of them belong to matrices that this model "
                         "has; give the model that it was made for",
                         (unsigned long long)a->g.n_tensors, 2 * l->n_tensors);
    for (size_t i = 0; i < l->n_tensors; i++) {
        const learn_tensor *t = &l->tensors[i];
        float *to = l->numbers + t->at;
        TRY(take_factor(a, t, 0, t->rank, t->n_cols, to, err));
        TRY(take_factor(a, t, 1, t->n_rows, t->rank, to + t->rank * t->n_cols, err));
    }
    return NUT_OK;
}

/* ---- writing ---- */

static void plan_factor(adapter_writer *w, size_t i, int which) {
    const adapter_part *p = &w->parts[i];
    char *name = w->names[2 * i + (size_t)which];
    const int n = snprintf(name, sizeof *w->names, "%.*s%s", (int)p->name.n, p->name.s, adapter_ends[which]);
    w->tensors[2 * i + (size_t)which] =
        (gguf_tensor){.name = {name, (uint64_t)n},
                      .ggml_type = w->type->ggml_type,
                      .n_dims = 2,
                      .dims = {which ? p->rank : p->n_cols, which ? p->n_rows : p->rank, 1, 1},
                      .n_bytes = (uint64_t)p->rank * (which ? p->n_rows : p->n_cols) * w->type->bytes};
}

static nut_status set_meta(adapter_writer *w, const nut_model *m, double alpha, nut_error *err) {
    gguf_str family;
    TRY(gguf_get_str(&m->header, "general.architecture", "", &family, err));
    TRY(gguf_meta_str(&w->meta, "general.architecture", family, err));
    TRY(gguf_meta_str(&w->meta, "general.type", (gguf_str){"adapter", 7}, err));
    TRY(gguf_meta_str(&w->meta, "adapter.type", (gguf_str){"lora", 4}, err));
    return gguf_meta_f32(&w->meta, "adapter.lora.alpha", (float)alpha, err);
}

nut_status adapter_write_begin(adapter_writer *w, const nut_model *m, double alpha, nut_error *err) {
    w->source = (gguf){.version = 3, .alignment = 32};
    w->tensors = mem_calloc(2 * w->n, sizeof *w->tensors);
    w->names = mem_calloc(2 * w->n, sizeof *w->names);
    if (!w->tensors || !w->names) return error_memory(err, 2 * w->n * sizeof *w->tensors);
    for (size_t i = 0; i < 2 * w->n; i++) plan_factor(w, i / 2, (int)(i % 2));
    TRY(set_meta(w, m, alpha, err));
    return gguf_write_begin(&w->out, &w->source, &w->meta, w->tensors, 2 * w->n, err);
}

nut_status adapter_write_learned(adapter_writer *w, const learn *l, const char *recipe, nut_error *err) {
    *w = (adapter_writer){.type = &format_table[FORMAT_F32], .n = l->n_tensors};
    w->parts = mem_calloc(w->n, sizeof *w->parts);
    if (!w->parts) return error_memory(err, w->n * sizeof *w->parts);
    for (size_t i = 0; i < w->n; i++) {
        const learn_tensor *t = &l->tensors[i];
        const float *a = l->numbers + t->at;
        w->parts[i] =
            (adapter_part){t->source->name, t->n_rows, t->n_cols, t->rank, a, a + t->rank * t->n_cols};
    }
    TRY(gguf_meta_str(&w->meta, TRAIN_RECIPE, (gguf_str){recipe, strlen(recipe)}, err));
    return adapter_write_begin(w, l->m, l->options.alpha, err);
}

static void write_bytes(adapter_writer *w, nut_job *job, size_t n) {
    job_write(job, w->written, w->bytes, n);
    w->written += n;
}

/* The next numbers of the factor that is written. */
static void write_numbers(adapter_writer *w, nut_job *job) {
    const adapter_part *p = &w->parts[w->tensor / 2];
    const size_t all = p->rank * (w->tensor % 2 ? p->n_rows : p->n_cols), left = all - w->at,
                 room = sizeof w->bytes / sizeof(float), n = left < room ? left : room;
    w->type->quantize((w->tensor % 2 ? p->b : p->a) + w->at, n, w->bytes);
    write_bytes(w, job, n * w->type->bytes);
    w->at += n;
    if (w->at < all) return;
    w->pad = gguf_padding(w->tensors[w->tensor].n_bytes, w->source.alignment);
    w->at = 0;
    w->tensor++;
}

bool adapter_write_step(adapter_writer *w, nut_job *job) {
    const size_t n = gguf_write_header(&w->out, w->bytes, sizeof w->bytes);
    if (n) return write_bytes(w, job, n), false;
    if (w->pad) {
        memset(w->bytes, 0, (size_t)w->pad);
        write_bytes(w, job, (size_t)w->pad);
        w->pad = 0;
        return false;
    }
    if (w->tensor == 2 * w->n) return true;
    write_numbers(w, job);
    return false;
}

void adapter_write_free(adapter_writer *w) {
    gguf_meta_free(&w->meta);
    mem_free(w->parts);
    mem_free(w->tensors);
    mem_free(w->names);
    *w = (adapter_writer){0};
}
