/* Writing what was learned, row by row, among copied tensors. */
#include "train/output.h"

#include "base/error.h"
#include "base/half.h"
#include "model/splits.h"

#include <string.h>

enum { ROOM = 1 << 18 };                                        // bytes at once, or a row
enum { FILE_TYPE_F32, FILE_TYPE_F16, FILE_TYPE_UNSAID = 1024 }; // general.file_type of llama.cpp

/* ---- the plan ---- */

static const format *type_of(const output *o, const learn_tensor *t) {
    if (t->to.to) return t->to.to;
    const bool is_f32 = t->source->ggml_type == format_table[FORMAT_F32].ggml_type;
    if (!t->kind || (!o->type && is_f32)) return &format_table[FORMAT_F32];
    return o->type ? o->type : &format_table[FORMAT_F16];
}

static size_t row_bytes(const output *o, const learn_tensor *t) {
    const format *f = type_of(o, t);
    return t->n_cols / f->block * f->bytes;
}

/* Whether all matrices are learned, so that the file is of one type. */
static bool is_whole(const output *o) {
    const gguf *g = &o->l->m->header;
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (g->tensors[i].n_dims > 1 && !learn_find(o->l, &g->tensors[i])) return false;
    return true;
}

static nut_status plan(output *o, nut_error *err) {
    const gguf *g = &o->l->m->header;
    size_t longest = 1;
    o->tensors = mem_calloc((size_t)g->n_tensors, sizeof *o->tensors);
    if (!o->tensors) return error_memory(err, g->n_tensors * sizeof *o->tensors);
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const learn_tensor *t = learn_find(o->l, &g->tensors[i]);
        o->tensors[i] = g->tensors[i];
        if (!t) continue;
        o->tensors[i].ggml_type = type_of(o, t)->ggml_type;
        o->tensors[i].has_table = format_has_table(type_of(o, t));
        memcpy(o->tensors[i].table, format_lut_values, FORMAT_TABLE);
        o->tensors[i].n_bytes = (uint64_t)t->n_rows * row_bytes(o, t);
        if (t->n_cols > longest) longest = t->n_cols;
    }
    o->room = longest * sizeof(float) > ROOM ? longest * sizeof(float) : ROOM;
    o->bytes = mem_alloc(o->room);
    o->row = mem_alloc(longest * sizeof *o->row);
    return o->bytes && o->row ? NUT_OK : error_memory(err, o->room + longest * sizeof *o->row);
}

nut_status output_begin(output *o, const learn *l, const char *type, const char *recipe, nut_error *err) {
    const bool half = !strcmp(type, "f16");
    *o = (output){.l = l, .type = *type ? &format_table[half ? FORMAT_F16 : FORMAT_F32] : NULL};
    TRY(plan(o, err));
    if (recipe) TRY(gguf_meta_str(&o->meta, TRAIN_RECIPE, (gguf_str){recipe, strlen(recipe)}, err));
    if (l->options.kind->block) {
        TRY(gguf_meta_int(&o->meta, "general.file_type", GGUF_U32, FILE_TYPE_UNSAID, err));
        TRY(gguf_meta_int(&o->meta, "general.quantization_version", GGUF_U32, 2, err));
    } else if (o->type && is_whole(o))
        TRY(gguf_meta_int(&o->meta, "general.file_type", GGUF_U32, half ? FILE_TYPE_F16 : FILE_TYPE_F32,
                          err));
    splits_forget(&l->m->header);
    return gguf_write_begin(&o->writer, &l->m->header, &o->meta, o->tensors, l->m->header.n_tensors, err);
}

/* ---- writing ---- */

static void write_bytes(output *o, nut_job *job, size_t n) {
    job_write(job, o->written, o->bytes, n);
    o->written += n;
}

static void write_zeros(output *o, nut_job *job) {
    const size_t some = o->pad < o->room ? (size_t)o->pad : o->room;
    memset(o->bytes, 0, some);
    write_bytes(o, job, some);
    o->pad -= some;
}

static void end_tensor(output *o) {
    o->pad = gguf_padding(o->tensors[o->tensor].n_bytes, o->writer.alignment);
    o->tensor++;
    o->at = 0;
}

/* A row in the type of the output. */
static nut_status put_row(output *o, const learn_tensor *t, uint8_t *to, nut_error *err) {
    const format *f = type_of(o, t);
    if (t->to.to) return learn_blocks(o->l, t, (size_t)o->at, to), NUT_OK;
    learn_row(o->l, t, (size_t)o->at, o->row);
    if (f->id == FORMAT_F32) return memcpy(to, o->row, t->n_cols * sizeof(float)), NUT_OK;
    for (size_t i = 0; i < t->n_cols; i++) {
        const uint16_t half = half_f32_to_f16(o->row[i]);
        if ((half & 0x7c00) == 0x7c00)
            return error_set(err, NUT_E_STATE,
                             "tensor %.*s has a weight that F16 cannot hold; write \"type\": \"f32\"",
                             (int)t->source->name.n, t->source->name.s);
        to[2 * i] = (uint8_t)half, to[2 * i + 1] = (uint8_t)(half >> 8);
    }
    return NUT_OK;
}

static nut_status write_learned(output *o, nut_job *job, const learn_tensor *t, nut_error *err) {
    const size_t bytes = row_bytes(o, t);
    size_t n = 0;
    for (; o->at < t->n_rows && n + bytes <= o->room; o->at++, n += bytes)
        TRY(put_row(o, t, o->bytes + n, err));
    write_bytes(o, job, n);
    if (o->at == t->n_rows) end_tensor(o);
    return NUT_OK;
}

/* Wants bytes of the source, and at the next step writes them. */
static void copy(output *o, nut_job *job, const gguf_tensor *t) {
    const uint64_t left = t->n_bytes - o->at;
    if (!o->wanted) {
        o->wanted = left < o->room ? (size_t)left : o->room;
        job_want(job, t->split, t->offset + o->at, o->bytes, o->wanted);
        return;
    }
    write_bytes(o, job, o->wanted);
    o->at += o->wanted;
    o->wanted = 0;
    if (o->at == t->n_bytes) end_tensor(o);
}

nut_status output_step(output *o, nut_job *job, bool *over, nut_error *err) {
    const gguf *g = &o->l->m->header;
    const size_t n = o->wanted ? 0 : gguf_write_header(&o->writer, o->bytes, o->room);
    if (n) return write_bytes(o, job, n), NUT_OK;
    if (o->pad) return write_zeros(o, job), NUT_OK;
    *over = o->tensor == g->n_tensors;
    if (*over) return NUT_OK;
    const learn_tensor *t = learn_find(o->l, &g->tensors[o->tensor]);
    if (t) return write_learned(o, job, t, err);
    copy(o, job, &g->tensors[o->tensor]);
    return NUT_OK;
}

void output_free(output *o) {
    gguf_meta_free(&o->meta);
    mem_free(o->tensors);
    mem_free(o->bytes);
    mem_free(o->row);
    *o = (output){0};
}
