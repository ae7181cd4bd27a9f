/*
 * Round-to-nearest quantization (the survey's section on weight-only post-training quantization; the block
 * formats are ggml's). The rule: every tensor of two dimensions and more than one row whose name ends in
 * "weight" and whose rows are whole blocks of the type is written in it, token embeddings and output
 * included; norms, biases and other tensors are copied. A matrix that is quantized already is dequantized
 * first, or copied where it has the type. Memory is three pieces of a row. The files of a model in several
 * are read one after the other, headers first, and written as one.
 */
#include "base/error.h"
#include "base/mem.h"
#include "kernels/formats.h"
#include "model/gguf_write.h"
#include "model/parts.h"

#include <math.h>
#include <string.h>

enum { PIECE = 1 << 16 };    // weights at once: a multiple of every block
enum { BUFFER = 4 * PIECE }; // their bytes in the widest format
#define LARGEST 65504.0f     // of half floats, which scales and offsets are

/* Types that can be written, and their number in general.file_type (llama.cpp's llama_ftype). */
static const struct {
    const char *name;
    uint32_t file_type;
} targets[] = {{"q8_0", 7}, {"q4_0", 2}, {"q4_1", 3}};
enum { N_TARGETS = sizeof targets / sizeof *targets };

typedef struct job {
    const nut_source *in;
    nut_source *sources; // (parts.n) of the model's files
    parts parts;
    const nut_quantize_options *options;
    const format *to;
    uint32_t file_type;
    gguf file;            // header of one, while it is read
    gguf header;          // of all
    gguf_tensor *tensors; // as they will be written
    gguf_writer out;
    uint8_t *bytes;  // (BUFFER) from the source
    uint8_t *packed; // (BUFFER) to the sink
    float *floats;   // (PIECE)
} job;

static nut_status find_target(job *j, nut_error *err) {
    for (size_t i = 0; i < N_TARGETS; i++) {
        const format *f = format_by_name(j->options->type ? j->options->type : "");
        if (!f || format_by_name(targets[i].name) != f) continue;
        j->to = f;
        j->file_type = targets[i].file_type;
        return NUT_OK;
    }
    return error_set(err, NUT_E_ARGUMENT, "cannot quantize to \"%.20s\"; q8_0, q4_0 and q4_1 are possible",
                     j->options->type ? j->options->type : "");
}

/* The source of file parts.i; the table grows as files come. */
static nut_status open_source(job *j, nut_error *err) {
    const uint32_t i = j->parts.i;
    if ((i & (i - 1)) == 0) {
        const size_t room = i ? 2 * (size_t)i : 1;
        nut_source *p = mem_grow(j->sources, i * sizeof *p, room * sizeof *p);
        if (!p) return error_memory(err, room * sizeof *p);
        j->sources = p;
    }
    j->sources[i] = *j->in;
    if (i == 0) return NUT_OK;
    if (!j->in->part) return parts_end(&(parts){.n = j->parts.n}, err);
    return j->in->part(j->in->ctx, i, j->parts.n, &j->sources[i], err);
}

static nut_status read_header(job *j, const nut_source *in, nut_error *err) {
    bool complete = false;
    uint64_t at = 0;
    TRY(gguf_begin(&j->file, in->size, err));
    while (!complete) {
        size_t n = in->size - at < BUFFER ? (size_t)(in->size - at) : BUFFER, n_used;
        if (!n) return gguf_end(&j->file, err);
        TRY(in->read(in->ctx, at, j->bytes, n, err));
        TRY(gguf_feed(&j->file, j->bytes, n, &n_used, &complete, err));
        at += n;
    }
    return NUT_OK;
}

static nut_status read_headers(job *j, nut_error *err) {
    for (; j->parts.i == 0 || j->parts.i < j->parts.n; j->parts.i++) {
        TRY(open_source(j, err));
        TRY(parts_blame(&j->parts, read_header(j, &j->sources[j->parts.i], err), err));
        TRY(parts_take(&j->parts, &j->header, &j->file, err));
    }
    parts_forget(&j->header);
    return NUT_OK;
}

static nut_status read_tensor(job *j, const gguf_tensor *t, uint64_t at, size_t n, nut_error *err) {
    const nut_source *in = &j->sources[t->part];
    return in->read(in->ctx, t->offset + at, j->bytes, n, err);
}

static bool is_matrix(const gguf_tensor *t) {
    static const char end[] = "weight";
    size_t n = sizeof end - 1;
    bool weight = t->name.n >= n && !memcmp(t->name.s + t->name.n - n, end, n);
    return weight && t->n_dims == 2 && t->dims[1] > 1;
}

static nut_status plan_tensor(job *j, size_t i, nut_error *err) {
    gguf_tensor *t = &j->tensors[i];
    *t = j->header.tensors[i];
    if (!format_by_ggml(t->ggml_type))
        return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s has type %s, which cannot be read",
                         (int)t->name.n, t->name.s, format_ggml_name(t->ggml_type));
    if (!is_matrix(t) || t->dims[0] % j->to->block) return NUT_OK;
    t->ggml_type = j->to->ggml_type;
    t->n_bytes = t->dims[0] / j->to->block * j->to->bytes * t->dims[1];
    return NUT_OK;
}

static nut_status copy_tensor(job *j, const gguf_tensor *from, nut_error *err) {
    for (uint64_t at = 0; at < from->n_bytes; at += BUFFER) {
        size_t n = from->n_bytes - at < BUFFER ? (size_t)(from->n_bytes - at) : BUFFER;
        TRY(read_tensor(j, from, at, n, err));
        TRY(gguf_write_bytes(&j->out, j->bytes, n, err));
    }
    return NUT_OK;
}

static bool in_range(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= LARGEST)) return false;
    return true;
}

/* Rows follow each other without gaps in both files, so a matrix is one long row of blocks. */
static nut_status convert_tensor(job *j, const gguf_tensor *from, nut_error *err) {
    const format *f = format_by_ggml(from->ggml_type);
    uint64_t n_weights = from->dims[0] * from->dims[1];
    for (uint64_t at = 0; at < n_weights; at += PIECE) {
        size_t n = n_weights - at < PIECE ? (size_t)(n_weights - at) : PIECE;
        size_t bytes = n / f->block * f->bytes;
        TRY(read_tensor(j, from, at / f->block * f->bytes, bytes, err));
        f->dequantize(j->bytes, n / f->block, j->floats);
        if (!in_range(j->floats, n))
            return error_set(
                err, NUT_E_CORRUPT,
                "tensor %.*s holds weights that are infinite or no numbers; the file is damaged",
                (int)from->name.n, from->name.s);
        j->to->quantize(j->floats, n / j->to->block, j->packed);
        TRY(gguf_write_bytes(&j->out, j->packed, n / j->to->block * j->to->bytes, err));
    }
    return NUT_OK;
}

static nut_status write_tensor(job *j, size_t i, nut_error *err) {
    const gguf_tensor *from = &j->header.tensors[i];
    char name[65];
    TRY(from->ggml_type == j->tensors[i].ggml_type ? copy_tensor(j, from, err)
                                                   : convert_tensor(j, from, err));
    TRY(gguf_write_pad(&j->out, err));
    memcpy(name, from->name.s, (size_t)from->name.n); // the reader holds names to 64 bytes
    name[from->name.n] = 0;
    if (j->options->progress &&
        !j->options->progress(j->options->progress_ctx, name, i + 1, j->header.n_tensors))
        return error_set(err, NUT_E_STATE, "stopped by the caller after %s", name);
    return NUT_OK;
}

static nut_status run(job *j, nut_error *err) {
    TRY(find_target(j, err));
    TRY(read_headers(j, err));
    if (!j->header.n_tensors)
        return error_set(err, NUT_E_CORRUPT, "the file holds no tensors; give a whole model");
    j->tensors = mem_calloc((size_t)j->header.n_tensors, sizeof *j->tensors);
    if (!j->tensors) return error_memory(err, j->header.n_tensors * sizeof *j->tensors);
    for (size_t i = 0; i < j->header.n_tensors; i++) TRY(plan_tensor(j, i, err));
    const gguf_set_u32 sets[] = {{"general.file_type", j->file_type}, {"general.quantization_version", 2}};
    TRY(gguf_write_header(&j->out, &j->header, sets, 2, j->tensors, j->header.n_tensors, err));
    for (size_t i = 0; i < j->header.n_tensors; i++) TRY(write_tensor(j, i, err));
    return NUT_OK;
}

nut_status nut_quantize(const nut_source *in, const nut_sink *out, const nut_quantize_options *options,
                        nut_error *err) {
    job j = {.in = in,
             .options = options,
             .out = {.sink = out},
             .bytes = mem_alloc(BUFFER),
             .packed = mem_alloc(BUFFER),
             .floats = mem_alloc(PIECE * sizeof(float))};
    nut_status status = j.bytes && j.packed && j.floats ? run(&j, err) : error_memory(err, 3 * BUFFER);
    gguf_free(&j.file);
    gguf_free(&j.header);
    mem_free(j.sources);
    mem_free(j.tensors);
    mem_free(j.bytes);
    mem_free(j.packed);
    mem_free(j.floats);
    return status;
}
