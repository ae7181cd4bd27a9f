/*
 * The job that calibrates and writes the statistics as a GGUF file. With a state, what a layer gives is kept
 * once it is complete, and after some layers what the text has become there: a job that was interrupted goes
 * on behind the last of those.
 */
#include "evaluate/imatrix.h"

#include "base/error.h"
#include "base/state.h"
#include "evaluate/calibrate.h"
#include "evaluate/model_key.h"
#include "kernels/formats.h"
#include "model/gguf_write.h"
#include "nutshell_compress.h"

#include <stdio.h>
#include <string.h>

enum { KINDS = STATISTICS_SQUARES | STATISTICS_RANGES };
enum { LAYER = 1, RESIDUAL }; // kinds of records of the state
enum { SAVES = 8 };           // how often the text's residual is kept

/* The tensors of an entry, in the file's order. */
enum { SQUARES, COUNTS, SUM, MOST, PARTS };
static const char *const ends[PARTS] = {".in_sum2", ".counts", ".in_sum", ".in_max_abs"};

typedef struct writer {
    nut_job job;
    nut_status (*phase)(struct writer *w, nut_error *err); // what the next step does
    const char *text;
    size_t n_text;
    nut_job *calibration;
    model_key key;
    state state;
    uint32_t n_layer, layer; // the layer that is read or saved
    calibrate_options begin; // of the calibration
    uint8_t *kept;           // (n_kept) of a layer, from or for the state
    size_t n_kept;
    bool over;
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

/* ---- calibrating ---- */

static nut_status calibrate(writer *w, nut_error *err);

static nut_status save_residual(writer *w, nut_error *err) {
    bool ready = false;
    size_t n;
    const float *residual = calibrate_residual(w->calibration, &n);
    TRY(state_write(&w->state, &w->job, state_turn(&w->state, RESIDUAL), RESIDUAL, w->layer, residual,
                    n * sizeof *residual, &ready, err));
    if (ready) w->phase = calibrate;
    return NUT_OK;
}

static nut_status save_layer(writer *w, nut_error *err) {
    bool ready = false;
    TRY(state_write(&w->state, &w->job, NULL, LAYER, w->layer, w->kept, w->n_kept, &ready, err));
    if (!ready) return NUT_OK;
    mem_free(w->kept);
    w->kept = NULL;
    const uint32_t every = (w->n_layer + SAVES - 1) / SAVES;
    w->phase = (w->layer + 1) % every == 0 ? save_residual : calibrate;
    return NUT_OK;
}

/* The output comes last: a calibration that has got there is soon over. */
static nut_status end_layer(writer *w, int which, nut_error *err) {
    const size_t first = w->im.n;
    TRY(collect(w, err));
    if (which == CALIBRATE_OUTPUT || !w->state.kept) return NUT_OK;
    w->layer = (uint32_t)which;
    w->phase = save_layer;
    return imatrix_pack(&w->im, first, &w->kept, &w->n_kept, err);
}

static nut_status calibrate(writer *w, nut_error *err) {
    if (w->over) return plan_file(w, err);
    TRY(job_forward(&w->job, w->calibration, &w->over, err));
    const int which = calibrate_complete(w->calibration);
    return which == CALIBRATE_NONE ? NUT_OK : end_layer(w, which, err);
}

/* ---- what an earlier job has kept ---- */

static nut_status begin_calibration(writer *w, nut_error *err) {
    const calibrate_options o = w->begin;
    w->begin.residual = NULL; // the calibration's
    w->phase = calibrate;
    return calibrate_begin(&o, w->text, w->n_text, &w->calibration, err);
}

static nut_status read_layer(writer *w, nut_error *err);

static nut_status take_layer(writer *w, nut_error *err) {
    TRY(imatrix_unpack(&w->im, w->kept, w->n_kept, err));
    w->layer++;
    w->phase = read_layer;
    return NUT_OK;
}

static nut_status read_layer(writer *w, nut_error *err) {
    mem_free(w->kept);
    w->kept = NULL;
    if (w->layer == w->begin.first) return begin_calibration(w, err);
    const state_record *r = state_find(&w->state, LAYER, w->layer);
    w->n_kept = (size_t)r->n;
    w->kept = mem_alloc(w->n_kept);
    if (!w->kept) return error_memory(err, r->n);
    state_want(r, &w->job, w->kept);
    w->phase = take_layer;
    return NUT_OK;
}

static nut_status want_residual(writer *w, const state_record *r, nut_error *err) {
    w->begin.first = r->number + 1;
    w->begin.n_residual = (size_t)(r->n / sizeof *w->begin.residual);
    w->begin.residual = mem_calloc(w->begin.n_residual + 1, sizeof *w->begin.residual);
    if (!w->begin.residual) return error_memory(err, r->n);
    state_want(r, &w->job, w->begin.residual);
    return NUT_OK;
}

static nut_status say_going_on(writer *w, nut_error *err) {
    (void)err;
    snprintf(w->note, sizeof w->note, "going on behind layer %u, where an earlier run was interrupted",
             w->begin.first - 1);
    job_note(&w->job, w->note);
    w->phase = read_layer;
    return NUT_OK;
}

static nut_status open_state(writer *w, nut_error *err) {
    bool ready = false;
    uint32_t n = 0;
    TRY(state_open(&w->state, &w->job, w->key.key, &ready, err));
    if (!ready) return NUT_OK;
    while (n < w->n_layer && state_find(&w->state, LAYER, n)) n++;
    const state_record *r = state_before(&w->state, RESIDUAL, n);
    w->phase = r ? say_going_on : read_layer;
    return r ? want_residual(w, r, err) : NUT_OK;
}

static nut_status sample_tensors(writer *w, nut_error *err) {
    bool ready = false;
    TRY(model_key_tensors(&w->key, &w->job, &ready, err));
    if (!ready) return NUT_OK;
    model_source_free(&w->key.source);
    w->phase = open_state;
    return NUT_OK;
}

static nut_status read_source(writer *w, nut_error *err) {
    bool ready = false;
    TRY(model_source_headers(&w->key.source, &w->job, true, &ready, err));
    if (!ready) return NUT_OK;
    w->n_layer = w->key.source.m->hp.n_layer;
    model_key_mix(&w->key, w->text, w->n_text);
    model_key_mix(&w->key, &w->begin.window, sizeof w->begin.window);
    model_key_mix(&w->key, &w->begin.special, sizeof w->begin.special);
    w->phase = sample_tensors;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    writer *w = (writer *)job;
    return w->phase(w, err);
}

static void free_job(nut_job *job) {
    writer *w = (writer *)job;
    nut_job_free(w->calibration);
    model_source_free(&w->key.source);
    state_free(&w->state);
    mem_free(w->begin.residual);
    mem_free(w->kept);
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
    writer *w = mem_calloc(1, sizeof *w);
    if (!w) return error_memory(err, sizeof *w);
    w->job.ops = &ops;
    w->phase = options->keeps_state ? read_source : begin_calibration;
    w->begin = (calibrate_options){.kinds = KINDS,
                                   .window = options->window,
                                   .n_threads = options->n_threads,
                                   .special = options->special};
    w->text = text, w->n_text = n_text;
    w->state.kept = options->keeps_state;
    *out = &w->job;
    return NUT_OK;
}
