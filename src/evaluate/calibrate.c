/* The job that gathers statistics layer by layer. */
#include "evaluate/calibrate.h"

#include "base/error.h"
#include "evaluate/drift.h"
#include "evaluate/gather.h"
#include "evaluate/model_source.h"
#include "evaluate/windows.h"
#include "kernels/gemm.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_WINDOW = 512 };

typedef struct calibrate {
    nut_job job;
    nut_status (*phase)(struct calibrate *c, nut_error *err); // what the next step does
    calibrate_options options;
    const char *text;
    size_t n_text;
    model_source source;
    windows windows;
    size_t w; // the next window
    nut_session *session;
    float *residual; // (windows.n_ids, n_embd)
    float *saved;    // (window, n_embd) of a window that is run twice
    int which;       // layer that is run, or BIND_MODEL
    int complete;
    bool embedded; // by the last step
    bool again;    // it is run the second time
    gather gather;
    drift drift; // where options.fitted is set
    char note[400];
} calibrate;

static uint32_t n_layer(const calibrate *c) {
    return c->source.m->hp.n_layer;
}

/* ---- a window ---- */

/* The step over window w; its residual is `residual`, the tokens' keys and values begin anew. */
static forward_step window_step(calibrate *c, size_t w, float *residual) {
    size_t n;
    sequence *q = &c->session->seq;
    workspace *ws = q->ws;
    windows_at(&c->windows, w, &n);
    sequence_truncate(q, 0);
    sequence_claim(q, n);
    for (uint32_t t = 0; t < n; t++) ws->rows[t] = (step_row){q, t};
    forward_step s = step_of(ws, ws->rows, n);
    s.residual = residual;
    return s;
}

static float *window_residual(const calibrate *c, size_t w) {
    return c->residual + w * c->windows.window * c->source.m->hp.n_embd;
}

/* Of the source, where a matrix is fitted to it. */
static float *drift_residual(const calibrate *c, size_t w) {
    return c->drift.residual + w * c->windows.window * c->source.m->hp.n_embd;
}

static void embed_window(calibrate *c, size_t w) {
    size_t n;
    float *residual = window_residual(c, w);
    const forward_step s = window_step(c, w, residual);
    forward_embed(&s, windows_at(&c->windows, w, &n));
    if (c->drift.residual)
        memcpy(drift_residual(c, w), residual, n * c->source.m->hp.n_embd * sizeof *residual);
}

/* The layer as it is, on what the source's tokens are. */
static void run_source(calibrate *c, size_t w) {
    forward_step s = window_step(c, w, drift_residual(c, w));
    forward_layers(&s, (uint32_t)c->which, (uint32_t)c->which + 1);
}

static void tap(void *ctx, const linear *l, const float *x, size_t n_tokens, bool again) {
    calibrate *c = ctx;
    gather_tap(&c->gather, l, x, n_tokens, again);
    drift_input(&c->drift, l, x, n_tokens);
}

/* A layer whose outputs are made later is run on a copy. */
static nut_status run_window(calibrate *c, size_t w, nut_error *err) {
    const uint32_t il = (uint32_t)c->which;
    const bool gathers = !c->again, drifts = gathers && c->drift.residual;
    float *residual = window_residual(c, w);
    size_t n;
    windows_at(&c->windows, w, &n);
    if (gathers && c->options.sequential) {
        memcpy(c->saved, residual, n * c->source.m->hp.n_embd * sizeof *residual);
        residual = c->saved;
    }
    if (drifts) run_source(c, w);
    workspace *ws = c->session->seq.ws;
    forward_step s = window_step(c, w, residual);
    ws->tap = gathers ? tap : NULL, ws->tap_ctx = c;
    forward_layers(&s, il, il + 1);
    ws->tap = NULL;
    return drifts ? drift_window(&c->drift, drift_residual(c, w), residual, n, err) : NUT_OK;
}

/* The output's linear reads the norm of the last residual; its product is not needed. */
static void end_window(calibrate *c, size_t w) {
    workspace *ws = c->session->seq.ws;
    forward_step s = window_step(c, w, window_residual(c, w));
    for (uint32_t t = 0; t < s.n; t++) ws->ids[t] = (int32_t)t;
    forward_output_norm(&s, (const uint32_t *)ws->ids, s.n);
    gather_tap(&c->gather, &c->source.m->output, ws->normed, s.n, false);
}

/* ---- steps ---- */

static nut_status begin_layer(calibrate *c, nut_error *err);
static nut_status load_layer(calibrate *c, nut_error *err);

/* Windows so far, of all that are run. */
static void tell_progress(calibrate *c) {
    const uint64_t n = c->windows.n, passes = c->options.sequential ? 2 : 1;
    const uint64_t layer = c->which == BIND_MODEL ? n_layer(c) : (uint64_t)c->which;
    if (c->which == BIND_MODEL)
        snprintf(c->note, sizeof c->note, "calibrating the output");
    else
        snprintf(c->note, sizeof c->note, "calibrating layer %d", c->which);
    job_progress(&c->job, c->note, (layer * passes + c->again) * n + c->w, (n_layer(c) * passes + 1) * n);
}

static nut_status finish(calibrate *c, nut_error *err) {
    (void)err;
    gather_free(&c->gather);
    model_source_unload(&c->source);
    job_done(&c->job);
    return NUT_OK;
}

static nut_status next_layer(calibrate *c, nut_error *err) {
    (void)err;
    gather_free(&c->gather);
    model_source_unload(&c->source);
    c->again = false;
    c->which = (uint32_t)c->which + 1 < n_layer(c) ? c->which + 1 : BIND_MODEL;
    c->phase = load_layer;
    return NUT_OK;
}

static nut_status run_again(calibrate *c, nut_error *err) {
    c->again = true;
    TRY(run_window(c, c->w++, err));
    if (c->w == c->windows.n) c->phase = next_layer;
    tell_progress(c);
    return NUT_OK;
}

/* The caller looks at the statistics before the next step. */
static void complete_layer(calibrate *c) {
    c->complete = c->which;
    c->phase = c->which == BIND_MODEL ? finish : c->options.sequential ? run_again : next_layer;
}

static nut_status gather_window(calibrate *c, nut_error *err) {
    const bool output = c->which == BIND_MODEL;
    if (output)
        end_window(c, c->w);
    else
        TRY(run_window(c, c->w, err));
    TRY(gather_check(&c->gather, err));
    c->w++;
    tell_progress(c);
    if (c->w < c->windows.n) return NUT_OK;
    complete_layer(c);
    if (c->options.sequential && !output) c->w = 0;
    return NUT_OK;
}

static nut_status begin_layer(calibrate *c, nut_error *err) {
    const layer_load *l = &c->source.layer;
    TRY(gather_begin(&c->gather, c->options.kinds, c->session->seq.ws->team, l->bindings, l->n_bindings,
                     err));
    if (c->drift.residual && c->which >= 0)
        TRY(drift_layer(&c->drift, c->source.m, (uint32_t)c->which, err));
    c->w = 0;
    c->phase = gather_window;
    return NUT_OK;
}

static nut_status load_layer(calibrate *c, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&c->source, &c->job, c->which, &ready, err));
    if (ready) c->phase = begin_layer;
    return NUT_OK;
}

/* ---- the beginning ---- */

static nut_status embed(calibrate *c, nut_error *err) {
    (void)err;
    embed_window(c, c->w++);
    if (c->w < c->windows.n) return NUT_OK;
    model_source_unload(&c->source);
    c->embedded = true;
    c->which = 0;
    c->w = 0;
    c->phase = load_layer;
    tell_progress(c); // ends the step, so that the caller looks
    return NUT_OK;
}

/* Whether a matrix' results are what the residual gains, not their norm or a part of several residuals. */
static bool adds_results(const nut_model *m) {
    const uint64_t changed = ARCH_POST_NORM | ARCH_NORM_AFTER | ARCH_RESIDUALS;
    return !(m->arch->features & changed) && m->hp.residual_scale == 1 && !m->hp.halve_every;
}

/* With what is outside of layers in memory, since a session's rotation depends on it. */
static nut_status begin_session(calibrate *c, nut_error *err) {
    const nut_session_options o = {.n_ctx = c->windows.window,
                                   .n_threads = c->options.n_threads ? c->options.n_threads : 1,
                                   .n_batch = c->windows.window};
    TRY(nut_session_new(c->source.m, &o, &c->session, err));
    if (c->options.fitted && c->options.sequential && adds_results(c->source.m))
        TRY(drift_begin(&c->drift, c->options.fitted, c->session->seq.ws->team, c->windows.n_ids,
                        c->source.m->hp.n_embd, err));
    c->phase = embed;
    if (!c->options.residual) return NUT_OK;
    model_source_unload(&c->source);
    c->which = c->options.first < n_layer(c) ? (int)c->options.first : BIND_MODEL;
    c->phase = load_layer;
    return NUT_OK;
}

static nut_status load_outside(calibrate *c, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&c->source, &c->job, BIND_MODEL, &ready, err));
    if (ready) c->phase = begin_session;
    return NUT_OK;
}

/* ---- memory ---- */

typedef struct needs {
    uint64_t weights, statistics; // of the largest layer
    uint64_t widest;              // columns of the widest matrix
} needs;

static bool in_layer(gguf_str name, uint32_t il) {
    char prefix[24];
    const int n = snprintf(prefix, sizeof prefix, "blk.%u.", (unsigned)il);
    return name.n > (uint64_t)n && !memcmp(name.s, prefix, (size_t)n);
}

/* Of a layer; matrices that share an input are counted apart. */
static needs layer_needs(const calibrate *c, uint32_t il) {
    const gguf *g = &c->source.m->header;
    needs all = {0};
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const gguf_tensor *t = &g->tensors[i];
        if (!in_layer(t->name, il)) continue;
        all.weights += t->dims[0] * t->dims[1] * t->dims[2] * sizeof(float);
        if (t->n_dims < 2) continue;
        const uint64_t n = c->options.kinds & STATISTICS_POOLED ? 1 : t->dims[2];
        all.statistics += n * gather_bytes(c->options.kinds, t->dims[0]);
        if (t->dims[0] > all.widest) all.widest = t->dims[0];
    }
    return all;
}

static needs model_needs(const calibrate *c) {
    needs most = {0};
    for (uint32_t il = 0; il < n_layer(c); il++) {
        const needs l = layer_needs(c, il);
        if (l.weights > most.weights) most.weights = l.weights;
        if (l.statistics > most.statistics) most.statistics = l.statistics;
        if (l.widest > most.widest) most.widest = l.widest;
    }
    return most;
}

/* Says what it takes, and whether the text is short: a Hessian of fewer tokens than columns is singular. */
static void note_needs(calibrate *c) {
    const needs most = model_needs(c);
    const nut_model *m = c->source.m;
    const nut_session_options o = {.n_ctx = c->windows.window, .n_batch = c->windows.window};
    const uint64_t residual = (uint64_t)c->windows.n_ids * m->hp.n_embd * sizeof(float) *
                              (c->options.fitted ? 2 : 1),
                   outside = (uint64_t)m->hp.n_vocab * m->hp.n_embd * sizeof(float),
                   layer = most.weights + most.statistics;
    const int n = snprintf(
        c->note, sizeof c->note,
        "%zu tokens in %zu windows of %u; at most %.0f MB of memory: %.0f for the tokens, %.0f for a layer "
        "and its statistics, or the embeddings",
        c->windows.n_ids, c->windows.n, c->windows.window,
        (double)(residual + session_bytes(m, &o) + (layer > outside ? layer : outside)) / 1e6,
        (double)residual / 1e6, (double)(layer > outside ? layer : outside) / 1e6);
    if (c->windows.n_ids < 2 * most.widest)
        snprintf(c->note + n, sizeof c->note - (size_t)n,
                 ". That is little: the widest matrices have %llu inputs, and statistics of fewer than %llu "
                 "tokens are poor; give a longer text",
                 (unsigned long long)most.widest, 2 * (unsigned long long)most.widest);
    job_note(&c->job, c->note);
}

static nut_status take_residual(calibrate *c, nut_error *err) {
    const size_t n_embd = c->source.m->hp.n_embd;
    if (c->residual && c->options.n_residual != c->windows.n_ids * n_embd)
        return error_set(err, NUT_E_STATE, "the saved state is of another text");
    if (!c->residual) c->residual = mem_calloc(c->windows.n_ids, n_embd * sizeof(float));
    if (c->options.sequential) c->saved = mem_calloc(c->windows.window, n_embd * sizeof(float));
    if (c->residual && (c->saved || !c->options.sequential)) return NUT_OK;
    return error_memory(err, (uint64_t)c->windows.n_ids * n_embd * sizeof(float));
}

static nut_status cut_text(calibrate *c, nut_error *err) {
    const nut_model *m = c->source.m;
    uint32_t window = c->options.window ? c->options.window : DEFAULT_WINDOW;
    if (window > m->hp.n_ctx_train) window = m->hp.n_ctx_train;
    if (window < 4) return error_set(err, NUT_E_ARGUMENT, "the window must be 4 tokens or more");
    TRY(windows_of_text(&c->windows, m->vocab, c->text, c->n_text, c->options.special, window, err));
    if (c->windows.n_ids < window)
        return error_set(err, NUT_E_ARGUMENT,
                         "the text has %zu tokens, less than one window of %u; give a longer text",
                         c->windows.n_ids, window);
    windows_begin(&c->windows, m->vocab);
    return NUT_OK;
}

/* Layers run alone here: they cannot read what others, or the embeddings, have left. */
static nut_status check_apart(const nut_model *m, nut_error *err) {
    if (m->n_side_scratch)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "statistics of models with low-rank parts (.lora_a) are not supported; calibrate "
                         "the model that it was made of");
    if (!(m->arch->features & ARCH_LINKED)) return NUT_OK;
    return error_set(err, NUT_E_UNSUPPORTED,
                     "statistics of %s models are not supported: their layers are not apart", m->arch->name);
}

static nut_status read_headers(calibrate *c, nut_error *err) {
    bool ready = false;
    TRY(model_source_headers(&c->source, &c->job, true, &ready, err));
    if (!ready) return NUT_OK;
    TRY(check_apart(c->source.m, err));
    c->source.m->float_product = gemm_mul_mat;
    c->source.m->layers_apart = true;
    TRY(cut_text(c, err));
    TRY(take_residual(c, err));
    note_needs(c);
    c->phase = load_outside;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    calibrate *c = (calibrate *)job;
    c->complete = CALIBRATE_NONE;
    c->embedded = false;
    return c->phase(c, err);
}

static void free_job(nut_job *job) {
    calibrate *c = (calibrate *)job;
    gather_free(&c->gather);
    drift_free(&c->drift);
    nut_session_free(c->session);
    windows_free(&c->windows);
    model_source_free(&c->source);
    mem_free(c->residual);
    mem_free(c->saved);
    mem_free(c);
}

static const job_ops ops = {step, free_job};

nut_status calibrate_begin(const calibrate_options *options, const char *text, size_t n_text, nut_job **out,
                           nut_error *err) {
    calibrate *c = mem_calloc(1, sizeof *c);
    if (!c) {
        mem_free(options->residual);
        return error_memory(err, sizeof *c);
    }
    c->job.ops = &ops;
    c->phase = read_headers;
    c->options = *options;
    c->residual = options->residual;
    c->text = text;
    c->n_text = n_text;
    c->complete = CALIBRATE_NONE;
    *out = &c->job;
    return NUT_OK;
}

int calibrate_complete(const nut_job *job) {
    return ((const calibrate *)job)->complete;
}

const statistics *calibrate_find_in_stack(const nut_job *job, gguf_str tensor, uint32_t which) {
    return gather_find(&((const calibrate *)job)->gather, tensor, which);
}

const statistics *calibrate_find(const void *job, gguf_str tensor) {
    return calibrate_find_in_stack(job, tensor, 0);
}

uint64_t calibrate_used(const nut_job *job, gguf_str tensor, uint32_t which) {
    return gather_used(&((const calibrate *)job)->gather, tensor, which);
}

nut_model *calibrate_model(const nut_job *job) {
    return ((const calibrate *)job)->source.m;
}

const float *calibrate_residual(const nut_job *job, size_t *n) {
    const calibrate *c = (const calibrate *)job;
    *n = c->windows.n_ids * c->source.m->hp.n_embd;
    return c->residual;
}

bool calibrate_embedded(const nut_job *job) {
    return ((const calibrate *)job)->embedded;
}

const double *calibrate_drift(const nut_job *job, size_t *n) {
    const calibrate *c = (const calibrate *)job;
    *n = c->drift.n_tokens;
    return c->drift.n_tokens ? c->drift.cross : NULL;
}

uint64_t calibrate_n_tokens(const nut_job *job) {
    return ((const calibrate *)job)->windows.n_ids;
}

uint32_t calibrate_window(const nut_job *job) {
    return ((const calibrate *)job)->windows.window;
}
