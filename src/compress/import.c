/*
 * The job that makes a GGUF model of a checkpoint of llama2.c: of family llama, or nutshell-relu
 * (docs/format.md), whose shifts become biases. Numbers are written as floats, those of version 2 as what
 * they stand for.
 */
#include "nutshell_compress.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/job.h"
#include "compress/llama2c.h"
#include "kernels/formats.h"

#include <stdio.h>
#include <string.h>

enum { PIECE = LLAMA2C_MOST_GROUP }; // numbers that are read at once, at most

static const float norm_eps = 1e-5f; // of all its models: export.py does not write it

typedef struct import {
    nut_job job;
    nut_status (*phase)(struct import *m, nut_error *err); // what the next step does
    nut_import_options options;
    uint8_t header[LLAMA2C_HEADER];
    size_t n_header;
    llama2c_header h;
    llama2c_tensor *from; // (n) in the file's order; a bias that is made has offset 0
    gguf_tensor *to;      // (n)
    size_t n;
    gguf nothing; // of no metadata
    gguf_meta meta;
    gguf_writer writer;
    uint64_t at;     // bytes written
    size_t i;        // the tensor that is written
    uint64_t number; // of it
    size_t n_piece;  // numbers of the piece
    size_t n_wanted; // times that something was asked for of the piece
    uint8_t *in;     // (PIECE floats, and as many scales)
    uint8_t *out;    // (PIECE floats, and padding)
} import;

/* ---- the plan ---- */

static const char *family(const import *m) {
    return m->options.relu ? "nutshell-relu" : "llama";
}

static nut_status set_size(import *m, const char *suffix, uint32_t value, nut_error *err) {
    char key[64];
    snprintf(key, sizeof key, "%s.%s", family(m), suffix);
    return gguf_meta_int(&m->meta, key, GGUF_U32, value, err);
}

static nut_status set_meta(import *m, nut_error *err) {
    const llama2c_header *h = &m->h;
    char key[64];
    TRY(gguf_meta_str(&m->meta, "general.architecture", (gguf_str){family(m), strlen(family(m))}, err));
    TRY(gguf_meta_int(&m->meta, "general.file_type", GGUF_U32, 0, err));
    TRY(set_size(m, "context_length", h->n_ctx, err));
    TRY(set_size(m, "embedding_length", h->n_embd, err));
    TRY(set_size(m, "block_count", h->n_layer, err));
    TRY(set_size(m, "feed_forward_length", h->n_ff, err));
    TRY(set_size(m, "attention.head_count", h->n_head, err));
    TRY(set_size(m, "attention.head_count_kv", h->n_head_kv, err));
    TRY(set_size(m, "rope.dimension_count", h->n_embd / h->n_head, err));
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", family(m));
    TRY(gguf_meta_f32(&m->meta, key, norm_eps, err));
    return llama2c_vocabulary(m->options.tokenizer, m->options.n_tokenizer, h->n_vocab, &m->meta, err);
}

static void add_bias(import *m, const char *name, uint32_t il, uint32_t n) {
    llama2c_tensor *t = &m->from[m->n++];
    *t = (llama2c_tensor){.n_cols = n};
    snprintf(t->name, sizeof t->name, "blk.%u.%s.bias", (unsigned)il, name);
}

static void add_biases(import *m) {
    for (uint32_t il = 0; il < m->h.n_layer; il++) {
        add_bias(m, "attn_norm", il, m->h.n_embd);
        add_bias(m, "ffn_norm", il, m->h.n_embd);
        add_bias(m, "ffn_gate", il, m->h.n_ff);
    }
}

static void plan_tensor(const llama2c_tensor *from, gguf_tensor *to) {
    *to = (gguf_tensor){.name = {from->name, strlen(from->name)},
                        .n_dims = from->n_rows ? 2 : 1,
                        .dims = {from->n_cols, from->n_rows ? from->n_rows : 1, 1, 1},
                        .ggml_type = format_table[FORMAT_F32].ggml_type};
    to->n_bytes = to->dims[0] * to->dims[1] * sizeof(float);
}

static nut_status plan(import *m, nut_error *err) {
    const size_t most = llama2c_count(&m->h) + 3 * (size_t)m->h.n_layer;
    m->from = mem_calloc(most, sizeof *m->from);
    m->to = mem_calloc(most, sizeof *m->to);
    m->in = mem_alloc(2 * PIECE * sizeof(float));
    m->out = mem_alloc((PIECE + 64) * sizeof(float));
    if (!m->from || !m->to || !m->in || !m->out) return error_memory(err, most * sizeof *m->from);
    m->n = llama2c_tensors(&m->h, m->from);
    if (m->options.relu) add_biases(m);
    for (size_t i = 0; i < m->n; i++) plan_tensor(&m->from[i], &m->to[i]);
    m->nothing = (gguf){.version = 3, .alignment = 32};
    TRY(set_meta(m, err));
    return gguf_write_begin(&m->writer, &m->nothing, &m->meta, m->to, m->n, err);
}

/* ---- numbers ---- */

static bool is_made(const import *m, size_t i) {
    return m->from[i].offset == 0;
}

/* What a family's shift is as a bias. */
static float made_bias(const import *m, size_t i) {
    return -(strstr(m->from[i].name, "norm") ? m->options.norm_shift : m->options.gate_shift);
}

/* Asks for the next bytes of the piece; false: they are all there. */
static bool want_piece(import *m) {
    const llama2c_tensor *t = &m->from[m->i];
    const uint64_t all = m->to[m->i].dims[0] * m->to[m->i].dims[1];
    const size_t wanted = m->n_wanted++;
    if (is_made(m, m->i) || wanted > (t->scaled ? 1u : 0u)) return false;
    if (!t->scaled)
        job_want(&m->job, 0, t->offset + m->number * sizeof(float), m->in, m->n_piece * sizeof(float));
    else if (wanted == 0)
        job_want(&m->job, 0, t->offset + m->number, m->in, m->n_piece);
    else
        job_want(&m->job, 0, t->offset + all + m->number / m->h.group * sizeof(float), m->in + PIECE,
                 m->n_piece / m->h.group * sizeof(float));
    return true;
}

static nut_status number_at(const import *m, size_t k, float *out, nut_error *err) {
    const llama2c_tensor *t = &m->from[m->i];
    cursor c = {.bytes = m->in, .n = 2 * PIECE * sizeof(float), .at = k * sizeof(float)};
    if (t->scaled) c.at = PIECE + k / m->h.group * sizeof(float);
    *out =
        is_made(m, m->i) ? made_bias(m, m->i) : cursor_f32(&c) * (t->scaled ? (float)(int8_t)m->in[k] : 1);
    if (*out - *out == 0) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT, "a number of %s is none; export the checkpoint again", t->name);
}

static nut_status write_piece(import *m, nut_error *err) {
    const gguf_tensor *t = &m->to[m->i];
    const uint64_t all = t->dims[0] * t->dims[1];
    size_t n = m->n_piece * sizeof(float);
    for (size_t k = 0; k < m->n_piece; k++) {
        float v;
        TRY(number_at(m, k, &v, err));
        memcpy(m->out + k * sizeof v, &v, sizeof v);
    }
    m->number += m->n_piece;
    if (m->number == all) {
        const size_t padding = (size_t)gguf_padding(t->n_bytes, m->writer.alignment);
        memset(m->out + n, 0, padding);
        n += padding;
        m->i++, m->number = 0;
    }
    job_write(&m->job, m->at, m->out, n);
    m->at += n;
    m->n_wanted = 0;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status write_tensors(import *m, nut_error *err) {
    if (m->i == m->n) {
        job_done(&m->job);
        return NUT_OK;
    }
    const uint64_t left = m->to[m->i].dims[0] * m->to[m->i].dims[1] - m->number;
    const size_t most = m->h.group ? PIECE / m->h.group * m->h.group : PIECE;
    m->n_piece = left < most ? (size_t)left : most;
    return want_piece(m) ? NUT_OK : write_piece(m, err);
}

static nut_status write_header(import *m, nut_error *err) {
    (void)err;
    const size_t n = gguf_write_header(&m->writer, m->out, PIECE * sizeof(float));
    if (n)
        job_write(&m->job, m->at, m->out, n);
    else
        m->phase = write_tensors;
    m->at += n;
    return NUT_OK;
}

static nut_status take_header(import *m, nut_error *err) {
    TRY(llama2c_read(m->header, m->n_header, m->job.size, &m->h, err));
    m->phase = write_header;
    return plan(m, err);
}

static nut_status want_header(import *m, nut_error *err) {
    m->n_header = m->job.size < LLAMA2C_HEADER ? (size_t)m->job.size : LLAMA2C_HEADER;
    m->phase = take_header;
    if (!m->n_header) return take_header(m, err);
    job_want(&m->job, 0, 0, m->header, m->n_header);
    return NUT_OK;
}

static nut_status open_file(import *m, nut_error *err) {
    (void)err;
    job_open(&m->job, 0, 1);
    m->phase = want_header;
    return NUT_OK;
}

static nut_status step(nut_job *job, nut_error *err) {
    import *m = (import *)job;
    return m->phase(m, err);
}

static void free_job(nut_job *job) {
    import *m = (import *)job;
    gguf_meta_free(&m->meta);
    mem_free(m->from);
    mem_free(m->to);
    mem_free(m->in);
    mem_free(m->out);
    mem_free(m);
}

nut_status nut_import_begin(const nut_import_options *options, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    const float shifts = options->norm_shift + options->gate_shift;
    if (!(shifts - shifts == 0))
        return error_set(err, NUT_E_ARGUMENT, "shifts are numbers, such as 1 and 0.25");
    import *m = mem_calloc(1, sizeof *m);
    if (!m) return error_memory(err, sizeof *m);
    m->job.ops = &ops;
    m->options = *options;
    m->phase = open_file;
    *out = &m->job;
    return NUT_OK;
}
