/* The job that calibrates and writes the statistics as a GGUF file. */
#include "evaluate/imatrix.h"

#include "base/error.h"
#include "evaluate/calibrate.h"
#include "kernels/formats.h"
#include "model/gguf_write.h"

#include <stdio.h>
#include <string.h>

enum { KINDS = STATISTICS_SQUARES | STATISTICS_RANGES };

/* The tensors of an entry, in the file's order. */
enum { SQUARES, COUNTS, SUM, MOST, PARTS };
static const char *const ends[PARTS] = {".in_sum2", ".counts", ".in_sum", ".in_max_abs"};

typedef struct writer {
    nut_job job;
    nut_status (*phase)(struct writer *w, nut_error *err); // what the next step does
    nut_job *calibration;
    imatrix im;
    gguf source; // of no metadata
    gguf_meta meta;
    gguf_tensor *tensors; // (im.n * PARTS)
    char (*names)[72];    // (im.n * PARTS)
    gguf_writer out;
    uint64_t at;    // bytes written
    size_t tensor;  // that is written
    uint8_t *bytes; // (room) of a tensor or of the header
    size_t room;
    char note[320];
} writer;

/* ---- collecting ---- */

static bool is_seen(const writer *w, const gguf_tensor *t, uint64_t *n_tokens) {
    bool seen = false;
    *n_tokens = UINT64_MAX;
    for (uint32_t e = 0; e < t->dims[2]; e++) {
        const statistics *s = calibrate_find_in_stack(w->calibration, t->name, e);
        const uint64_t n = s ? s->n_tokens : 0;
        seen |= s != NULL;
        if (n < *n_tokens) *n_tokens = n;
    }
    return seen;
}

static void copy_statistics(const writer *w, imatrix_entry *e) {
    for (uint32_t i = 0; i < e->n_stack; i++) {
        const statistics *s = calibrate_find_in_stack(w->calibration, e->name, i);
        if (!s) continue;
        e->s[i].n_tokens = s->n_tokens;
        memcpy(e->sum_squares + i * e->n_cols, s->sum_squares, e->n_cols * sizeof(double));
        memcpy(e->sum + i * e->n_cols, s->sum, e->n_cols * sizeof(double));
        memcpy(e->max_abs + i * e->n_cols, s->max_abs, e->n_cols * sizeof(float));
    }
}

/* Matrices of the layer that is complete; says which of a stack saw little. */
static nut_status collect(writer *w, nut_error *err) {
    const gguf *g = &calibrate_model(w->calibration)->header;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const gguf_tensor *t = &g->tensors[i];
        imatrix_entry *e;
        uint64_t least;
        if (t->n_dims < 2 || !is_seen(w, t, &least)) continue;
        TRY(imatrix_add(&w->im, t->name, KINDS, (size_t)t->dims[0], (uint32_t)t->dims[2], &e, err));
        copy_statistics(w, e);
        if (least >= t->dims[0] || t->dims[2] == 1) continue;
        snprintf(
            w->note, sizeof w->note,
            "an expert of %.*s has seen %llu tokens, which is little for %llu inputs; give a longer text",
            (int)t->name.n, t->name.s, (unsigned long long)least, (unsigned long long)t->dims[0]);
        job_note(&w->job, w->note);
    }
    return NUT_OK;
}

/* ---- the file ---- */

static void plan_part(writer *w, size_t i, size_t part) {
    const imatrix_entry *e = w->im.entries[i];
    gguf_tensor *t = &w->tensors[i * PARTS + part];
    char *name = w->names[i * PARTS + part];
    const int n = snprintf(name, sizeof *w->names, "%.*s%s", (int)e->name.n, e->name.s, ends[part]);
    *t = (gguf_tensor){.name = {name, (uint64_t)n},
                       .n_dims = 2,
                       .dims = {part == COUNTS ? 1 : e->n_cols, e->n_stack, 1, 1},
                       .ggml_type = format_table[FORMAT_F32].ggml_type};
    t->n_bytes = t->dims[0] * t->dims[1] * sizeof(float);
    if (t->n_bytes > w->room) w->room = (size_t)t->n_bytes;
}

static nut_status set_meta(writer *w, nut_error *err) {
    const gguf_str type = {"imatrix", 7}, set[1] = {{"nutshell", 8}};
    const uint64_t n = calibrate_n_tokens(w->calibration);
    const uint32_t window = calibrate_window(w->calibration),
                   n_chunks = (uint32_t)((n + window - 1) / window);
    TRY(gguf_meta_str(&w->meta, "general.type", type, err));
    TRY(gguf_meta_strings(&w->meta, "imatrix.datasets", set, 1, err));
    TRY(gguf_meta_int(&w->meta, "imatrix.chunk_count", GGUF_U32, n_chunks, err));
    return gguf_meta_int(&w->meta, "imatrix.chunk_size", GGUF_U32, window, err);
}

static nut_status write_header(writer *w, nut_error *err);

static nut_status plan_file(writer *w, nut_error *err) {
    const size_t n = w->im.n * PARTS;
    TRY(imatrix_sort(&w->im, err));
    TRY(set_meta(w, err));
    w->tensors = mem_calloc(n + 1, sizeof *w->tensors);
    w->names = mem_calloc(n + 1, sizeof *w->names);
    if (!w->tensors || !w->names) return error_memory(err, n * sizeof *w->tensors);
    w->room = 1 << 16;
    for (size_t i = 0; i < n; i++) plan_part(w, i / PARTS, i % PARTS);
    w->bytes = mem_alloc(w->room + 64);
    if (!w->bytes) return error_memory(err, w->room);
    w->source = (gguf){.version = 3, .alignment = 32};
    TRY(gguf_write_begin(&w->out, &w->source, &w->meta, w->tensors, n, err));
    w->phase = write_header;
    return NUT_OK;
}

static void write_bytes(writer *w, size_t n) {
    job_write(&w->job, w->at, w->bytes, n);
    w->at += n;
}

/* Number i of a part. */
static float value_of(const imatrix_entry *e, size_t part, size_t i) {
    return part == SQUARES  ? (float)e->sum_squares[i]
           : part == COUNTS ? (float)e->s[i].n_tokens
           : part == SUM    ? (float)e->sum[i]
                            : e->max_abs[i];
}

static nut_status write_tensor(writer *w, nut_error *err) {
    (void)err;
    if (w->tensor == w->im.n * PARTS) {
        job_done(&w->job);
        return NUT_OK;
    }
    const size_t i = w->tensor++, n = (size_t)w->tensors[i].n_bytes / sizeof(float);
    float *values = (float *)w->bytes;
    for (size_t k = 0; k < n; k++) values[k] = value_of(w->im.entries[i / PARTS], i % PARTS, k);
    const size_t pad = (size_t)gguf_padding(n * sizeof(float), w->source.alignment);
    memset(w->bytes + n * sizeof(float), 0, pad);
    write_bytes(w, n * sizeof(float) + pad);
    return NUT_OK;
}

static nut_status write_header(writer *w, nut_error *err) {
    const size_t n = gguf_write_header(&w->out, w->bytes, w->room);
    (void)err;
    if (n)
        write_bytes(w, n);
    else
        w->phase = write_tensor;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status calibrate(writer *w, nut_error *err) {
    bool over;
    TRY(job_forward(&w->job, w->calibration, &over, err));
    if (over) w->phase = plan_file;
    return calibrate_complete(w->calibration) == CALIBRATE_NONE ? NUT_OK : collect(w, err);
}

static nut_status step(nut_job *job, nut_error *err) {
    writer *w = (writer *)job;
    return w->phase(w, err);
}

static void free_job(nut_job *job) {
    writer *w = (writer *)job;
    nut_job_free(w->calibration);
    imatrix_free(&w->im);
    gguf_meta_free(&w->meta);
    mem_free(w->tensors);
    mem_free(w->names);
    mem_free(w->bytes);
    mem_free(w);
}

nut_status nut_calibrate_begin(const nut_calibrate_options *options, const char *text, size_t n_text,
                               nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    const calibrate_options o = {.kinds = KINDS,
                                 .window = options->window,
                                 .n_threads = options->n_threads,
                                 .special = options->special};
    writer *w = mem_calloc(1, sizeof *w);
    if (!w) return error_memory(err, sizeof *w);
    w->job.ops = &ops;
    w->phase = calibrate;
    const nut_status status = calibrate_begin(&o, text, n_text, &w->calibration, err);
    if (status == NUT_OK)
        *out = &w->job;
    else
        free_job(&w->job);
    return status;
}
