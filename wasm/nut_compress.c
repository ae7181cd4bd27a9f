/*
 * The module nutshell-compress: what the worker of a page that makes, trains or evaluates models can call,
 * over nutshell.h alone. One job per module instance, and two models to evaluate. Numbers and addresses
 * travel as in nut_wasm.c: 64-bit quantities as doubles, inputs through a staging buffer, a negative number
 * where a call fails. Pages that only run models do not fetch it.
 *
 * Between two calls all that the module knows is in its memory: a copy of that is a job that can go on in
 * another instance, after the page was closed (web/compress/kept.js).
 */
#include "boundary.h"
#include "nutshell_compress.h"
#include "nutshell_train.h"

#include <stdlib.h>

/* Models of an evaluation: the one that is judged, and its reference. */
enum { JUDGED, REFERENCE, N_MODELS };
enum { BATCH = 64 }; // tokens at once

/* A page has 4 GiB of WebAssembly memory at most; the rest is for the program and its buffers. */
static const uint64_t MEMORY_LIMIT = (4ull << 30) - (64ull << 20);
static const double MOST_WHOLE = 9007199254740992.0; // 2^53

static struct {
    nut_error err;
    nut_job *job;
    nut_job_event event;
    unsigned char *staging;
    size_t staging_size;
    unsigned char *text; // the job's, once a staging buffer
    nut_loader *loader;
    nut_model *models[N_MODELS];
    nut_session *sessions[N_MODELS];
    nutw_job_event facts;
    nutw_evaluation figures;
} c;

static int fail(nut_status code, const char *message) {
    size_t n = 0;
    c.err.code = code;
    for (; message[n] && n + 1 < sizeof c.err.message; n++) c.err.message[n] = message[n];
    c.err.message[n] = '\0';
    return -1;
}

static int check(nut_status status) {
    return status == NUT_OK ? 0 : -1;
}

static int no_job(void) {
    return fail(NUT_E_STATE, "no job was begun");
}

const char *nutc_version(void) {
    return nut_version();
}

const char *nutc_error_name(void) {
    return nut_status_name(c.err.code);
}

const char *nutc_error_message(void) {
    return c.err.message;
}

/* Address of a buffer of at least n bytes for the next call's input; 0 without memory. n = 0 frees it. */
void *nutc_staging(double n) {
    const size_t size = n > 0 && n < 4294967296.0 ? (size_t)n : 0;
    if (size && size <= c.staging_size) return c.staging;
    free(c.staging);
    c.staging = size ? malloc(size) : NULL;
    c.staging_size = c.staging ? size : 0;
    if (n > 0 && !c.staging) fail(NUT_E_MEMORY, "no memory is left for an input; close other tabs");
    return c.staging;
}

/* Ends the job, done or not. */
void nutc_end(void) {
    nut_job_free(c.job);
    for (int i = 0; i < N_MODELS; i++) nut_session_free(c.sessions[i]), c.sessions[i] = NULL;
    free(c.text);
    c.job = NULL;
    c.text = NULL;
}

/* The staging buffer becomes the job's text. */
static const char *take_text(void) {
    c.text = c.staging;
    c.staging = NULL;
    c.staging_size = 0;
    return (const char *)c.text;
}

/* Begins a job that compresses a model. The staging buffer is taken: it holds n_text bytes of a text to
 * calibrate with (0: the one that is built in), n_recipe bytes of a recipe (0: none), and the terminated
 * texts. method, type: 0 for none; size: bytes, bpw: bits a weight, 0 for none. */
int nutc_compress(const char *method, const char *type, double size, double bpw, int fast, double n_text,
                  double n_recipe) {
    nutc_end();
    if (!(n_text >= 0) || !(n_recipe >= 0) || n_text + n_recipe > (double)c.staging_size || !(size >= 0) ||
        size > MOST_WHOLE)
        return fail(NUT_E_ARGUMENT, "this is no size");
    const char *text = take_text();
    const nut_compress_options o = {.method = method,
                                    .type = type,
                                    .size = (uint64_t)size,
                                    .bpw = bpw,
                                    .recipe = n_recipe > 0 ? text + (size_t)n_text : NULL,
                                    .n_recipe = (size_t)n_recipe,
                                    .text = n_text > 0 ? text : NULL,
                                    .n_text = (size_t)n_text,
                                    .fast = fast};
    return check(nut_compress_begin(&o, &c.job, &c.err));
}

/* Begins a job that trains a model. The staging buffer is taken: it holds n_text bytes of a text to learn
 * from, and n_recipe bytes of a recipe. */
int nutc_train(double n_text, double n_recipe) {
    nutc_end();
    if (!(n_text >= 0) || !(n_recipe >= 0) || n_text + n_recipe > (double)c.staging_size)
        return fail(NUT_E_ARGUMENT, "more bytes than were staged");
    const char *text = take_text();
    const nut_train_options o = {.recipe = text + (size_t)n_text,
                                 .n_recipe = (size_t)n_recipe,
                                 .text = text,
                                 .n_text = (size_t)n_text};
    return check(nut_train_begin(&o, &c.job, &c.err));
}

/* Begins a job that adds an adapter, the first n bytes of the staging buffer, which is taken, to a model. */
int nutc_merge(double n) {
    nutc_end();
    if (!(n >= 0) || n > (double)c.staging_size) return fail(NUT_E_ARGUMENT, "more bytes than were staged");
    const nut_merge_options o = {.adapter = take_text(), .n_adapter = (size_t)n, .scale = 1};
    return check(nut_merge_begin(&o, &c.job, &c.err));
}

/* One step: nut_job_kind, or -1. */
int nutc_step(void) {
    if (!c.job) return no_job();
    return nut_job_step(c.job, &c.event, &c.err) == NUT_OK ? (int)c.event.kind : -1;
}

/* What the last step told. Bytes and text live until the next step. */
const nutw_job_event *nutc_event(void) {
    const nut_job_event *e = &c.event;
    c.facts = (nutw_job_event){.split = e->split,
                               .splits = e->n_splits,
                               .offset = (double)e->offset,
                               .n = (double)e->n,
                               .bytes = (double)(uintptr_t)e->bytes,
                               .text = (double)(uintptr_t)e->text,
                               .done = (double)e->done,
                               .total = (double)e->total};
    return &c.facts;
}

/* The size of the file that the last step asked for. */
int nutc_open(double size) {
    if (!c.job) return no_job();
    if (!(size >= 0 && size <= MOST_WHOLE)) return fail(NUT_E_ARGUMENT, "this is no size of a file");
    return check(nut_job_open(c.job, (uint64_t)size, &c.err));
}

/* The first n bytes of the staging buffer are the next of those that are wanted. */
int nutc_feed(double n) {
    if (!c.job) return no_job();
    if (!(n >= 0) || n > (double)c.staging_size) return fail(NUT_E_ARGUMENT, "more bytes than were staged");
    return check(nut_job_feed(c.job, c.staging, (size_t)n, &c.err));
}

/* ---- models ---- */

/* Frees the models, and a load that did not finish. */
void nutc_forget(void) {
    nutc_end();
    nut_load_abort(c.loader);
    c.loader = NULL;
    for (int i = 0; i < N_MODELS; i++) nut_model_free(c.models[i]), c.models[i] = NULL;
}

/* Begins to load a model whose first file has so many bytes; on floats: the reference of an evaluation. */
int nutc_load_begin(double size, int floats) {
    nut_load_options o = nut_load_defaults();
    nut_load_abort(c.loader);
    c.loader = NULL;
    if (!(size >= 0 && size <= MOST_WHOLE)) return fail(NUT_E_ARGUMENT, "this is no size of a file");
    o.memory_limit = MEMORY_LIMIT;
    o.reference = floats;
    o.n_ctx = 1; // a session's memory is counted where one is made
    return check(nut_load_begin(&o, (uint64_t)size, &c.loader, &c.err));
}

/* The first n bytes of the staging buffer are the file's from offset on. */
int nutc_load_feed(double offset, double n) {
    if (!c.loader) return fail(NUT_E_STATE, "no load was begun");
    if (!(n >= 0) || n > (double)c.staging_size) return fail(NUT_E_ARGUMENT, "more bytes than were staged");
    return check(nut_load_feed(c.loader, (uint64_t)offset, c.staging, (size_t)n, &c.err));
}

/* Files of the model that is loaded; the next of them follows, of so many bytes. */
int nutc_load_splits(void) {
    return c.loader ? (int)nut_load_get_plan(c.loader).n_splits : 0;
}

int nutc_load_next(double size) {
    if (!c.loader) return fail(NUT_E_STATE, "no load was begun");
    return check(nut_load_next(c.loader, size > 0 ? (uint64_t)size : 0, &c.err));
}

/* Ends the load: the model is the one that is judged (0), or the reference (1). */
int nutc_load_finish(int which) {
    if (!c.loader || which < 0 || which >= N_MODELS) return fail(NUT_E_STATE, "no load was begun");
    nut_model_free(c.models[which]);
    c.models[which] = NULL;
    if (nut_load_finish(c.loader, &c.models[which], &c.err) != NUT_OK) return -1;
    c.loader = NULL;
    nut_evaluate_fast(c.models[which]);
    return 0;
}

static int open_session(int which, uint32_t window) {
    const uint32_t batch = window < BATCH ? window : BATCH;
    nut_session_options o = nut_session_defaults();
    o.n_ctx = window;
    o.n_threads = 1;
    o.n_batch = o.n_logits = batch;
    return check(nut_session_new(c.models[which], &o, &c.sessions[which], &c.err));
}

/* Begins a job that evaluates the model, beside the reference where one was loaded. The staging buffer is
 * taken: n_text bytes of a text. max_windows 0: all. */
int nutc_evaluate(double n_text, unsigned window, unsigned max_windows) {
    nutc_end();
    if (!c.models[JUDGED]) return fail(NUT_E_STATE, "no model was loaded");
    if (!(n_text >= 0) || n_text > (double)c.staging_size)
        return fail(NUT_E_ARGUMENT, "more bytes than were staged");
    const char *text = take_text();
    for (int i = 0; i < N_MODELS; i++)
        if (c.models[i] && open_session(i, window) < 0) return -1;
    const nut_evaluate_options o = {
        .window = window, .max_windows = max_windows, .reference = c.sessions[REFERENCE]};
    return check(nut_evaluate_begin(c.sessions[JUDGED], text, (size_t)n_text, &o, &c.job, &c.err));
}

/* What the evaluation has found, once it is done; 0 where it is not. */
const nutw_evaluation *nutc_figures(void) {
    nut_evaluation e;
    if (!c.job) return no_job(), NULL;
    if (nut_evaluate_get(c.job, &e, &c.err) != NUT_OK) return NULL;
    const nut_comparison *k = &e.comparison;
    c.figures = (nutw_evaluation){.windows = e.n_windows,
                                  .tokens = (double)e.n_scored,
                                  .bytes = (double)e.n_bytes,
                                  .perplexity = e.perplexity.value,
                                  .perplexityError = e.perplexity.error,
                                  .bitsPerByte = e.bits_per_byte.value,
                                  .compared = e.compared,
                                  .referencePerplexity = k->reference_perplexity.value,
                                  .kl = k->kl.value,
                                  .klError = k->kl.error,
                                  .klMedian = k->kl_median,
                                  .kl90 = k->kl_p90,
                                  .kl99 = k->kl_p99,
                                  .klMax = k->kl_max,
                                  .sameTop = k->same_top.value,
                                  .sameTopLow = k->same_top.low,
                                  .sameTopHigh = k->same_top.high,
                                  .flips = k->flips.value,
                                  .rmsDeltaP = k->rms_delta_p.value};
    return &c.figures;
}
