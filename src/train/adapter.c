/* Adapters from files and to them. */
#include "train/adapter.h"

#include "base/error.h"
#include "train/output.h"

#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

static const char *const ends[2] = {".lora_a", ".lora_b"};
enum { END = 7 };

/* Whether a tensor's name is this one with an end. */
static bool is_part(gguf_str part, gguf_str name, int which) {
    return part.n == name.n + END && !memcmp(part.s, name.s, (size_t)name.n) &&
           !memcmp(part.s + name.n, ends[which], END);
}

static const gguf_tensor *find(const adapter *a, gguf_str name, int which) {
    for (uint64_t i = 0; i < a->g.n_tensors; i++)
        if (is_part(a->g.tensors[i].name, name, which)) return &a->g.tensors[i];
    return NULL;
}

static nut_status check_kind(adapter *a, nut_error *err) {
    gguf_str type, kind;
    float alpha;
    TRY(gguf_get_str(&a->g, "general.type", "", &type, err));
    TRY(gguf_get_str(&a->g, "adapter.type", "", &kind, err));
    TRY(gguf_get_f32(&a->g, "adapter.lora.alpha", 0, &alpha, err));
    if (!gguf_str_is(type, "adapter") || !gguf_str_is(kind, "lora"))
        return error_set(err, NUT_E_ARGUMENT,
                         "this GGUF file is no LoRA adapter (general.type adapter, adapter.type lora); give "
                         "one of llama.cpp's convert_lora_to_gguf.py or of nutshell train");
    if (!(alpha >= 0 && alpha < 1e6F))
        return error_set(err, NUT_E_CORRUPT, "adapter.lora.alpha of the adapter is out of range");
    a->alpha = (double)alpha;
    return NUT_OK;
}

nut_status adapter_read(adapter *a, const uint8_t *bytes, size_t n, nut_error *err) {
    bool complete = false;
    size_t used;
    *a = (adapter){.bytes = bytes, .n = n};
    TRY(gguf_begin(&a->g, n, err));
    TRY(gguf_feed(&a->g, bytes, n, &used, &complete, err));
    if (!complete) return gguf_end(&a->g, err);
    TRY(gguf_check_names(&a->g, err));
    return check_kind(a, err);
}

void adapter_free(adapter *a) {
    gguf_free(&a->g);
    *a = (adapter){0};
}

uint32_t adapter_rank(const void *ctx, gguf_str name) {
    const gguf_tensor *t = find(ctx, name, 0);
    return t && t->n_dims == 2 && t->dims[1] <= UINT16_MAX ? (uint32_t)t->dims[1] : 0;
}

/* A factor of rows of n_cols floats. */
static nut_status take_factor(const adapter *a, const learn_tensor *t, int which, uint64_t n_rows,
                              uint64_t n_cols, float *to, nut_error *err) {
    const gguf_tensor *part = find(a, t->source->name, which);
    const format *f = part ? format_by_ggml(part->ggml_type) : NULL;
    if (!part || part->n_dims != 2 || part->dims[0] != n_cols || part->dims[1] != n_rows || !f ||
        format_is_coded(f) || n_cols % f->block || part->n_bytes > a->n ||
        part->offset > a->n - part->n_bytes)
        return error_set(err, NUT_E_ARGUMENT,
                         "%.*s%s of the adapter is missing, or has another shape or type than this model "
                         "needs; give the model that it was made for",
                         (int)t->source->name.n, t->source->name.s, ends[which]);
    f->dequantize(a->bytes + part->offset, (size_t)(n_rows * n_cols / f->block), to);
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
    double largest;
    learn_worst(l, l->numbers, &largest);
    if (largest - largest == 0) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT, "the adapter is damaged: it holds a number that is not finite");
}

/* ---- writing ---- */

static void plan_factor(adapter_writer *w, size_t i, int which) {
    const learn_tensor *t = &w->l->tensors[i];
    char *name = w->names[2 * i + (size_t)which];
    const int n =
        snprintf(name, sizeof *w->names, "%.*s%s", (int)t->source->name.n, t->source->name.s, ends[which]);
    w->tensors[2 * i + (size_t)which] =
        (gguf_tensor){.name = {name, (uint64_t)n},
                      .n_dims = 2,
                      .dims = {which ? t->rank : t->n_cols, which ? t->n_rows : t->rank, 1, 1},
                      .n_bytes = (uint64_t)t->rank * (which ? t->n_rows : t->n_cols) * sizeof(float)};
}

static nut_status set_meta(adapter_writer *w, const char *recipe, nut_error *err) {
    const learn *l = w->l;
    gguf_str family;
    TRY(gguf_get_str(&l->m->header, "general.architecture", "", &family, err));
    TRY(gguf_meta_str(&w->meta, "general.architecture", family, err));
    TRY(gguf_meta_str(&w->meta, "general.type", (gguf_str){"adapter", 7}, err));
    TRY(gguf_meta_str(&w->meta, "adapter.type", (gguf_str){"lora", 4}, err));
    TRY(gguf_meta_f32(&w->meta, "adapter.lora.alpha", (float)l->options.alpha, err));
    return gguf_meta_str(&w->meta, TRAIN_RECIPE, (gguf_str){recipe, strlen(recipe)}, err);
}

nut_status adapter_write_begin(adapter_writer *w, const learn *l, const char *recipe, nut_error *err) {
    *w = (adapter_writer){.l = l, .source = {.version = 3, .alignment = 32}};
    w->tensors = mem_calloc(2 * l->n_tensors, sizeof *w->tensors);
    w->names = mem_calloc(2 * l->n_tensors, sizeof *w->names);
    if (!w->tensors || !w->names) return error_memory(err, 2 * l->n_tensors * sizeof *w->tensors);
    for (size_t i = 0; i < 2 * l->n_tensors; i++) plan_factor(w, i / 2, (int)(i % 2));
    TRY(set_meta(w, recipe, err));
    return gguf_write_begin(&w->out, &w->source, &w->meta, w->tensors, 2 * l->n_tensors, err);
}

static void write_bytes(adapter_writer *w, nut_job *job, const void *bytes, size_t n) {
    job_write(job, w->written, bytes, n);
    w->written += n;
}

nut_status adapter_write_step(adapter_writer *w, nut_job *job, bool *over, nut_error *err) {
    const size_t n = gguf_write_header(&w->out, w->bytes, sizeof w->bytes);
    (void)err;
    if (n) return write_bytes(w, job, w->bytes, n), NUT_OK;
    if (w->pad) {
        memset(w->bytes, 0, (size_t)w->pad);
        write_bytes(w, job, w->bytes, (size_t)w->pad);
        w->pad = 0;
        return NUT_OK;
    }
    *over = w->tensor == 2 * w->l->n_tensors;
    if (*over) return NUT_OK;
    const learn_tensor *t = &w->l->tensors[w->tensor / 2];
    const float *factor = w->l->numbers + t->at + (w->tensor % 2 ? t->rank * t->n_cols : 0);
    const uint64_t bytes = w->tensors[w->tensor++].n_bytes;
    write_bytes(w, job, factor, (size_t)bytes);
    w->pad = gguf_padding(bytes, w->source.alignment);
    return NUT_OK;
}

void adapter_write_free(adapter_writer *w) {
    gguf_meta_free(&w->meta);
    mem_free(w->tensors);
    mem_free(w->names);
    *w = (adapter_writer){0};
}
