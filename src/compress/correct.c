/*
 * What rounding has lost, as an adapter of low rank: for each matrix W of a layer and what it has become, V,
 * the best B A of a rank for W - V in what the inputs make of it (low_rank.h). Without the inputs it is LoRC
 * (Yao et al. 2023, arXiv 2303.08302, section 4); weighed by them, EoRA (Liu et al. 2024, arXiv 2410.21271,
 * section 3). Or whole columns of W - V, those whose loss costs most, of which A only says where they stand:
 * what OWQ (Lee et al. 2023, arXiv 2306.02272) and SpQR (Dettmers et al. 2023, arXiv 2306.03078) keep in
 * floats beside the rounded weights. The adapter is one as training makes them, so whatever runs LoRA runs
 * it, llama.cpp too. V may be of any type, and made by any method that leaves the shapes of matrices as they
 * are.
 */
#include "nutshell_compress.h"

#include "base/error.h"
#include "compress/layer_weights.h"
#include "compress/low_rank.h"
#include "compress/method.h"
#include "evaluate/calibrate.h"
#include "train/adapter.h"

#include <stdio.h>
#include <string.h>

typedef struct correct {
    nut_job job;
    nut_status (*phase)(struct correct *c, nut_error *err); // what the next step does
    nut_correct_options options;
    nut_job *calibrate;
    threads *team;
    dense *d;
    uint32_t layer;
    adapter_writer writer; // whose parts have the factors so far
    double lost, all;      // squares of what rounding has changed, and of the weights
    char note[200];
} correct;

static nut_status run_calibrate(correct *c, nut_error *err);

/* ---- a matrix ---- */

/* A matrix of the source beside what it has become. */
typedef struct both {
    layer_weights w;
    const matrix *v;
    gguf_str name;
} both;

static nut_status not_alike(gguf_str name, nut_error *err) {
    return error_set(err, NUT_E_ARGUMENT,
                     "tensor %.*s of the smaller model is missing, or is another matrix; give a model that "
                     "was made of this one, and none with low-rank parts",
                     (int)name.n, name.s);
}

static uint32_t rank_of(const correct *c) {
    return c->options.columns ? c->options.columns : c->options.rank;
}

static nut_status find_both(const correct *c, gguf_str name, both *out, nut_error *err) {
    const linear *v = bind_linear(c->options.changed, name);
    *out = (both){.w = layer_weights_of(calibrate_model(c->calibrate), name), .name = name};
    if (!v || !v->w.format || linear_has_sides(v) || v->w.n_rows != out->w.n_rows ||
        v->w.n_cols != out->w.n_cols)
        return not_alike(name, err);
    out->v = &v->w;
    const size_t most = out->w.n_rows < out->w.n_cols ? out->w.n_rows : out->w.n_cols;
    if (rank_of(c) < most) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "a rank of %u, or as many columns, is no low one for tensor %.*s, whose own is %zu",
                     rank_of(c), (int)name.n, name.s, most);
}

/* W - V, (n_rows, n_cols), to be freed; it is NULL where there is no difference. */
static nut_status difference(correct *c, const both *b, float **out, nut_error *err) {
    const size_t n = b->w.n_rows * b->w.n_cols;
    float *e = mem_alloc((n + b->w.n_cols) * sizeof *e), *row = e + n;
    double lost = 0;
    if (!e) return error_memory(err, (uint64_t)n * sizeof *e);
    layer_weights_get(&b->w, 0, b->w.n_rows, e);
    for (size_t i = 0; i < n; i++) {
        if (i % b->w.n_cols == 0) matrix_row(b->v, i / b->w.n_cols, row);
        c->all += (double)e[i] * (double)e[i];
        e[i] -= row[i % b->w.n_cols];
        lost += (double)e[i] * (double)e[i];
    }
    c->lost += lost;
    *out = lost > 0 ? e : NULL;
    if (!*out) mem_free(e);
    return NUT_OK;
}

/* The first columns of B and rows of A, as floats, to the writer. */
static nut_status keep_factors(correct *c, gguf_str name, const low_rank *l, nut_error *err) {
    const size_t rank = rank_of(c), n_a = rank * l->n_cols;
    float *a = mem_alloc((n_a + rank * l->n_rows) * sizeof *a), *b = a + n_a;
    if (!a) return error_memory(err, (n_a + rank * l->n_rows) * sizeof *a);
    for (size_t i = 0; i < n_a; i++) a[i] = (float)l->a[i];
    for (size_t row = 0; row < l->n_rows; row++)
        for (size_t k = 0; k < rank; k++) b[row * rank + k] = (float)l->b[row * l->n + k];
    c->writer.parts[c->writer.n++] = (adapter_part){name, l->n_rows, l->n_cols, rank, a, b};
    return NUT_OK;
}

static nut_status correct_tensor(correct *c, const gguf_tensor *t, nut_error *err) {
    both b;
    low_rank l = {0};
    float *e = NULL;
    const statistics *s = calibrate_find(c->calibrate, t->name);
    if (!s) return NUT_OK; // it was not used
    TRY(find_both(c, t->name, &b, err));
    TRY(difference(c, &b, &e, err));
    if (!e) return NUT_OK;
    nut_status status = c->options.columns
                            ? low_rank_columns(s, b.w.n_rows, b.w.n_cols, e, c->options.columns, &l, err)
                            : low_rank_new(c->d, s, b.w.n_rows, b.w.n_cols, e, &l, err);
    if (status == NUT_OK) status = keep_factors(c, t->name, &l, err);
    low_rank_free(&l);
    mem_free(e);
    return status;
}

/* ---- layers ---- */

static nut_status take_parts(correct *c, const nut_model *m, nut_error *err) {
    const nut_model *changed = c->options.changed;
    if (c->writer.parts) return NUT_OK;
    if (changed->arch != m->arch || changed->hp.n_layer != m->hp.n_layer)
        return error_set(err, NUT_E_ARGUMENT,
                         "the smaller model has another family or number of layers; give a model that was "
                         "made of this one");
    c->writer.parts = mem_calloc((size_t)m->header.n_tensors, sizeof *c->writer.parts);
    return c->writer.parts ? NUT_OK : error_memory(err, m->header.n_tensors * sizeof *c->writer.parts);
}

static nut_status correct_layer(correct *c, nut_error *err) {
    const nut_model *m = calibrate_model(c->calibrate);
    c->phase = run_calibrate;
    TRY(take_parts(c, m, err));
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        const gguf_tensor *t = &m->header.tensors[i];
        uint32_t layer;
        gguf_str rest;
        if (!layer_of_tensor(t->name, &layer, &rest) || layer != c->layer || !bind_linear(m, t->name))
            continue;
        TRY(correct_tensor(c, t, err));
    }
    return NUT_OK;
}

/* ---- the adapter ---- */

static nut_status run_write(correct *c, nut_error *err) {
    (void)err;
    if (adapter_write_step(&c->writer, &c->job)) job_done(&c->job);
    return NUT_OK;
}

static nut_status begin_write(correct *c, nut_error *err) {
    adapter_writer *w = &c->writer;
    const nut_model *m = calibrate_model(c->calibrate);
    if (!(c->lost > 0))
        return error_set(err, NUT_E_ARGUMENT, "the models have the same weights: there is nothing to add");
    if (c->lost > c->all)
        return error_set(err, NUT_E_ARGUMENT,
                         "the models have other weights: columns were scaled (\"scales\" of step gptq; none "
                         "are with \"scales\": \"none\"), or the smaller one was not made of this one");
    w->type = &format_table[FORMAT_F16];
    TRY(gguf_meta_int(&w->meta, c->options.columns ? "nutshell.correct.columns" : "nutshell.correct.rank",
                      GGUF_U32, rank_of(c), err));
    TRY(gguf_meta_int(&w->meta, "nutshell.correct.calibration_tokens", GGUF_U64,
                      (int64_t)calibrate_n_tokens(c->calibrate), err));
    TRY(adapter_write_begin(w, m, 0, err));
    snprintf(c->note, sizeof c->note, "%zu matrices differ by %.2f %% of their size; %s %u for each", w->n,
             100 * c->lost / c->all, c->options.columns ? "columns:" : "rank", rank_of(c));
    job_note(&c->job, c->note);
    c->phase = run_write;
    return NUT_OK;
}

static nut_status run_calibrate(correct *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->calibrate, &over, err));
    const int which = calibrate_complete(c->calibrate);
    if (which >= 0) {
        c->layer = (uint32_t)which;
        c->phase = correct_layer;
    }
    if (over) c->phase = begin_write;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    correct *c = (correct *)job;
    return c->phase(c, err);
}

static void free_job(nut_job *job) {
    correct *c = (correct *)job;
    for (size_t i = 0; i < c->writer.n && c->writer.parts; i++)
        mem_free((void *)(uintptr_t)c->writer.parts[i].a);
    adapter_write_free(&c->writer);
    nut_job_free(c->calibrate);
    dense_free(c->d);
    threads_free(c->team);
    mem_free(c);
}

static nut_status begin(correct *c, nut_error *err) {
    const nut_correct_options *o = &c->options;
    const calibrate_options calibrate = {.kinds = o->columns ? STATISTICS_SQUARES : STATISTICS_HESSIAN,
                                         .n_threads = o->n_threads,
                                         .window = o->window};
    const unsigned n_threads = o->n_threads ? o->n_threads : 1;
    if (!o->changed || o->changed->header_only)
        return error_set(err, NUT_E_ARGUMENT, "give the smaller model with its weights");
    if (!o->rank && !o->columns)
        return error_set(err, NUT_E_ARGUMENT, "the rank of an adapter, or its columns, are at least 1");
    if (o->rank && o->columns)
        return error_set(err, NUT_E_ARGUMENT, "an adapter has a rank or columns; give one of them");
    TRY(threads_new(n_threads < 64 ? n_threads : 64, &c->team, err));
    TRY(dense_new(c->team, &c->d, err));
    size_t n_text = o->n_text;
    const char *text = o->text ? o->text : nut_calibrate_text(&n_text);
    return calibrate_begin(&calibrate, text, n_text, &c->calibrate, err);
}

nut_status nut_correct_begin(const nut_correct_options *options, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    correct *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    c->job.ops = &ops;
    c->options = *options;
    c->phase = run_calibrate;
    const nut_status status = begin(c, err);
    if (status == NUT_OK)
        *out = &c->job;
    else
        free_job(&c->job);
    return status;
}
