/* The job that compares a model with its source layer by layer. */
#include "evaluate/layered.h"

#include "base/error.h"
#include "evaluate/figures.h"
#include "evaluate/model_source.h"
#include "evaluate/windows.h"
#include "kernels/gemm.h"
#include "run/session.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_WINDOW = 512, BATCH = 32 }; // rows of logits that are compared at once
enum { SOURCE, WRITTEN, SIDES };

typedef struct side {
    model_source source;
    nut_session *session;
    float *residual; // (windows.n_ids, n_embd)
} side;

typedef struct layered {
    nut_job job;
    nut_status (*phase)(struct layered *c, nut_error *err); // what the next step does
    layered_options options;
    const char *text;
    size_t n_text;
    windows windows;
    side sides[SIDES];
    int at;     // the side that is run
    int which;  // its layer
    size_t w;   // the next window
    size_t row; // of it, whose logits are compared next
    figures_mean kl, nll, source_nll;
    uint64_t n_same;
    char note[64];
} layered;

static side *current(layered *c) {
    return &c->sides[c->at];
}

static const model_hparams *hparams(const side *s) {
    return &s->source.m->hp;
}

/* ---- windows ---- */

static forward_step window_step(const layered *c, side *s) {
    size_t n;
    sequence *q = &s->session->seq;
    windows_at(&c->windows, c->w, &n);
    sequence_truncate(q, 0);
    sequence_claim(q, n);
    for (uint32_t t = 0; t < n; t++) q->ws->rows[t] = (step_row){q, t};
    forward_step step = step_of(q->ws, q->ws->rows, n);
    step.residual = s->residual + c->w * c->windows.window * hparams(s)->n_embd;
    return step;
}

static void tell_progress(layered *c, const char *what, uint64_t done, uint64_t total) {
    snprintf(c->note, sizeof c->note, "evaluating %s", what);
    job_progress(&c->job, c->note, done, total);
}

/* ---- logits ---- */

static nut_status finish(layered *c, nut_error *err) {
    (void)err;
    job_done(&c->job);
    return NUT_OK;
}

/* Logits of n rows of the window. */
static const float *logits(layered *c, side *s, size_t n) {
    workspace *ws = s->session->seq.ws;
    const size_t n_embd = hparams(s)->n_embd;
    const float *from = s->residual + (c->w * c->windows.window + c->row) * n_embd;
    memcpy(ws->residual, from, n * n_embd * sizeof *from);
    for (uint32_t t = 0; t < n; t++) ws->rows[t] = (step_row){&s->session->seq, t}, ws->kept[t] = t;
    forward_step step = step_of(ws, ws->rows, n);
    forward_head(&step, ws->kept, n);
    return ws->logits;
}

static void add_token(layered *c, const float *source, const float *written, int32_t id) {
    const size_t n = hparams(&c->sides[SOURCE])->n_vocab;
    const figures_row own = figures_of_row(written, n), other = figures_of_row(source, n);
    const figures_token t = figures_compare(&own, &other, (size_t)id);
    figures_add(&c->kl, t.kl);
    figures_add(&c->nll, t.nll);
    figures_add(&c->source_nll, t.reference_nll);
    c->n_same += t.same_top;
}

/* The second half of each window is compared, as nut_evaluate_begin does. */
static nut_status compare_rows(layered *c, nut_error *err) {
    size_t n_window;
    const int32_t *ids = windows_at(&c->windows, c->w, &n_window);
    if (c->row < n_window / 2) c->row = n_window / 2;
    const size_t left = n_window - 1 - c->row, n = left < BATCH ? left : BATCH,
                 n_vocab = hparams(&c->sides[SOURCE])->n_vocab;
    const float *rows[SIDES];
    for (int i = 0; i < SIDES; i++) rows[i] = logits(c, &c->sides[i], n);
    for (size_t r = 0; r < n; r++) {
        const float *row[SIDES];
        for (int i = 0; i < SIDES; i++) {
            row[i] = rows[i] + r * run_pad8(n_vocab);
            TRY(sampler_check_logits(row[i], n_vocab, err));
        }
        add_token(c, row[SOURCE], row[WRITTEN], ids[c->row + r + 1]);
    }
    c->row += n;
    if (c->row == n_window - 1) c->row = 0, c->w++;
    if (c->w == c->windows.n) c->phase = finish;
    tell_progress(c, "the output", c->w, c->windows.n);
    return NUT_OK;
}

/* What both have outside of layers, of one after the other. */
static nut_status load_heads(layered *c, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&current(c)->source, &c->job, BIND_MODEL, &ready, err));
    if (ready && ++c->at == SIDES) c->w = 0, c->phase = compare_rows;
    return NUT_OK;
}

/* ---- layers ---- */

static nut_status read_headers(layered *c, nut_error *err);
static nut_status load_layer(layered *c, nut_error *err);

static nut_status end_side(layered *c) {
    c->at++;
    c->phase = read_headers;
    if (c->at == SIDES) c->at = SOURCE, c->phase = load_heads;
    return NUT_OK;
}

static nut_status run_window(layered *c, nut_error *err) {
    side *s = current(c);
    forward_step step = window_step(c, s);
    const uint32_t il = (uint32_t)c->which, n_layer = hparams(s)->n_layer;
    (void)err;
    forward_layers(&step, il, il + 1);
    c->w++;
    tell_progress(c, c->at == SOURCE ? "the source" : "what was written", il * c->windows.n + c->w,
                  n_layer * c->windows.n);
    if (c->w < c->windows.n) return NUT_OK;
    model_source_unload(&s->source);
    c->w = 0, c->which++;
    c->phase = load_layer;
    return (uint32_t)c->which < n_layer ? NUT_OK : end_side(c);
}

static nut_status load_layer(layered *c, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&current(c)->source, &c->job, c->which, &ready, err));
    if (ready) c->phase = run_window;
    return NUT_OK;
}

/* ---- the beginning of a side ---- */

static nut_status embed(layered *c, nut_error *err) {
    side *s = current(c);
    size_t n;
    (void)err;
    const forward_step step = window_step(c, s);
    forward_embed(&step, windows_at(&c->windows, c->w, &n));
    if (++c->w < c->windows.n) return NUT_OK;
    model_source_unload(&s->source);
    c->w = 0, c->which = 0;
    c->phase = load_layer;
    return NUT_OK;
}

/* With what is outside of layers in memory, since a session's rotation depends on it. */
static nut_status begin_session(layered *c, nut_error *err) {
    side *s = current(c);
    const nut_session_options o = {.n_ctx = c->windows.window,
                                   .n_threads = c->options.n_threads ? c->options.n_threads : 1,
                                   .n_batch = c->windows.window,
                                   .n_logits = c->windows.window < BATCH ? c->windows.window : BATCH};
    TRY(nut_session_new(s->source.m, &o, &s->session, err));
    c->phase = embed;
    return NUT_OK;
}

static nut_status load_outside(layered *c, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&current(c)->source, &c->job, BIND_MODEL, &ready, err));
    if (ready) c->phase = begin_session;
    return NUT_OK;
}

static nut_status cut_text(layered *c, const nut_model *m, nut_error *err) {
    uint32_t window = c->options.window ? c->options.window : DEFAULT_WINDOW;
    if (window > m->hp.n_ctx_train) window = m->hp.n_ctx_train;
    if (window < 4) return error_set(err, NUT_E_ARGUMENT, "the window must be 4 tokens or more");
    TRY(windows_of_text(&c->windows, m->vocab, c->text, c->n_text, false, window, err));
    if (c->windows.n_ids < window)
        return error_set(err, NUT_E_ARGUMENT,
                         "the text has %zu tokens, less than one window of %u; give a longer text",
                         c->windows.n_ids, window);
    windows_begin(&c->windows, m->vocab);
    windows_whole(&c->windows, c->options.n_windows);
    return NUT_OK;
}

static nut_status check_pair(const nut_model *source, const nut_model *written, nut_error *err) {
    if (source->hp.n_vocab == written->hp.n_vocab) return NUT_OK;
    return error_set(
        err, NUT_E_ARGUMENT,
        "the source has %u tokens and what was written %u; only models with the same tokens can "
        "be compared",
        source->hp.n_vocab, written->hp.n_vocab);
}

static nut_status take_residual(layered *c, side *s, nut_error *err) {
    const uint64_t n_floats = (uint64_t)c->windows.n * c->windows.window * hparams(s)->n_embd;
    if (n_floats < SIZE_MAX / sizeof(float)) s->residual = mem_calloc((size_t)n_floats, sizeof(float));
    return s->residual ? NUT_OK : error_memory(err, n_floats * sizeof(float));
}

static nut_status read_headers(layered *c, nut_error *err) {
    side *s = current(c);
    bool ready = false;
    s->source.output = c->at == WRITTEN;
    TRY(model_source_headers(&s->source, &c->job, true, &ready, err));
    if (!ready) return NUT_OK;
    nut_model *m = s->source.m;
    if (m->arch->features & ARCH_LINKED)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "layers of %s models do not run apart; nutshell evaluate compares whole models",
                         m->arch->name);
    m->float_product = gemm_mul_mat;
    m->layers_apart = true;
    TRY(c->at == SOURCE ? cut_text(c, m, err) : check_pair(c->sides[SOURCE].source.m, m, err));
    TRY(take_residual(c, s, err));
    c->w = 0;
    c->phase = load_outside;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    layered *c = (layered *)job;
    return c->phase(c, err);
}

static void free_job(nut_job *job) {
    layered *c = (layered *)job;
    for (int i = 0; i < SIDES; i++) {
        nut_session_free(c->sides[i].session);
        model_source_free(&c->sides[i].source);
        mem_free(c->sides[i].residual);
    }
    windows_free(&c->windows);
    mem_free(c);
}

nut_status layered_begin(const layered_options *options, const char *text, size_t n_text, nut_job **out,
                         nut_error *err) {
    static const job_ops ops = {step, free_job};
    layered *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    c->job.ops = &ops;
    c->phase = read_headers;
    c->options = *options;
    c->text = text, c->n_text = n_text;
    *out = &c->job;
    return NUT_OK;
}

layered_result layered_get(const nut_job *job) {
    const layered *c = (const layered *)job;
    return (layered_result){.kl = figures_estimate(&c->kl),
                            .nll = figures_estimate(&c->nll),
                            .source_nll = figures_estimate(&c->source_nll),
                            .same_top = figures_fraction(c->n_same, c->kl.n)};
}
