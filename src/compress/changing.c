/* The job that changes a model layer by layer. */
#include "compress/changing.h"

#include "base/error.h"
#include "base/mem.h"

#include <string.h>

static nut_status run_calibrate(changing *c, nut_error *err);

/* ---- the plan ---- */

/* The layer of a tensor and 1 more; 0: it is in none. */
static size_t place_of(const changing *c, const gguf_tensor *t) {
    uint32_t layer;
    gguf_str rest;
    const bool in = layer_of_tensor(t->name, &layer, &rest) && layer < c->m->hp.n_layer;
    return in ? (size_t)layer + 1 : 0;
}

/* Tensors in the order in which they are written, which otherwise is that of the file. */
static nut_status sort_tensors(changing *c, nut_error *err) {
    const gguf *g = &c->m->header;
    const size_t n_places = (size_t)c->m->hp.n_layer + 1;
    rewrite_tensor *unsorted;
    TRY(rewrite_plan(g, &unsorted, err));
    c->plan = mem_calloc((size_t)g->n_tensors, sizeof *c->plan);
    c->ends = mem_calloc(n_places, sizeof *c->ends);
    if (!c->plan || !c->ends) {
        mem_free(unsorted);
        return error_memory(err, g->n_tensors * sizeof *c->plan);
    }
    for (uint64_t i = 0; i < g->n_tensors; i++) c->ends[place_of(c, unsorted[i].from)]++;
    for (size_t i = 1; i < n_places; i++) c->ends[i] += c->ends[i - 1];
    for (uint64_t i = g->n_tensors; i-- > 0;)
        c->plan[--c->ends[place_of(c, unsorted[i].from)]] = unsorted[i];
    for (size_t i = 1; i < n_places; i++) c->ends[i - 1] = c->ends[i];
    c->ends[n_places - 1] = c->n_plan = (size_t)g->n_tensors;
    mem_free(unsorted);
    return NUT_OK;
}

static nut_status begin_write(changing *c, nut_error *err) {
    nut_model *m = calibrate_model(c->calibrate);
    c->m = m;
    if (m->header.n_tensors > SIZE_MAX / sizeof *c->plan) return error_memory(err, UINT64_MAX);
    TRY(sort_tensors(c, err));
    c->rewrite.rows = c->ops->rows, c->rewrite.ctx = c;
    if (c->r->json)
        TRY(gguf_meta_str(&c->rewrite.meta, COMPRESS_RECIPE, (gguf_str){c->r->json, strlen(c->r->json)},
                          err));
    TRY(c->ops->plan(c, err));
    return rewrite_begin(&c->rewrite, &m->header, c->plan, c->n_plan, err);
}

/* ---- layers ---- */

static nut_status finish(changing *c, nut_error *err) {
    (void)err;
    job_done(&c->job);
    return NUT_OK;
}

static nut_status write_layer(changing *c, nut_error *err) {
    bool ready = false;
    TRY(rewrite_step(&c->rewrite, &c->job, c->ends[c->layer + 1], &ready, err));
    if (!ready) return NUT_OK;
    c->phase = run_calibrate;
    if (c->layer + 1 < c->m->hp.n_layer) return NUT_OK;
    c->ops->end(c);
    job_note(&c->job, c->note);
    c->phase = finish;
    return NUT_OK;
}

static nut_status change_layer(changing *c, nut_error *err) {
    if (!c->m) TRY(begin_write(c, err));
    c->phase = write_layer;
    return c->ops->layer(c, c->layer, err);
}

/* ---- before anything is changed ---- */

static nut_status begin_text(changing *c, bool sequential, nut_error *err) {
    const calibrate_options o = {.kinds = c->wants.kinds,
                                 .n_threads = c->r->options.n_threads,
                                 .window = c->wants.window,
                                 .sequential = sequential && !c->wants.apart,
                                 .fitted = sequential ? c->wants.fitted : NULL};
    nut_job_free(c->calibrate);
    c->calibrate = NULL;
    c->measures = !sequential;
    return calibrate_begin(&o, c->r->options.text, c->r->options.n_text, &c->calibrate, err);
}

static nut_status run_fisher(changing *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->fisher, &over, err));
    if (c->job.told && c->job.event.kind == NUT_JOB_PROGRESS) c->job.event.total *= 2; // the text follows
    if (over) c->phase = run_calibrate;
    return NUT_OK;
}

static nut_status begin_fisher(changing *c, nut_error *err) {
    const nut_compress_options *o = &c->r->options;
    const fisher_options with = {.n_threads = o->n_threads, .seed = 1};
    c->phase = run_fisher;
    return fisher_begin(&with, o->text, o->n_text, &c->fisher, err);
}

/* Progress of the first time through the text, or of the times after it, as that of all. */
static void scale_progress(changing *c) {
    nut_job_event *e = &c->job.event;
    if (!c->job.told || e->kind != NUT_JOB_PROGRESS) return;
    if (c->ops->measure) {
        e->done = c->measures ? e->done : e->total / 2 + e->done;
        e->total += c->measures ? 2 * e->total : e->total / 2;
    }
    if (c->fisher) e->done += e->total, e->total *= 2; // gradients were the first half
}

static nut_status measure_layer(changing *c, nut_error *err) {
    c->phase = run_calibrate;
    TRY(c->ops->measure(c, c->layer, err));
    const bool last = c->layer + 1 == calibrate_model(c->calibrate)->hp.n_layer;
    return last ? begin_text(c, true, err) : NUT_OK;
}

/* The layer is changed in a step of its own, since the statistics live until the calibration's next one. */
static nut_status run_calibrate(changing *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->calibrate, &over, err));
    scale_progress(c);
    const int which = calibrate_complete(c->calibrate);
    if (which >= 0) {
        c->layer = (uint32_t)which;
        c->phase = c->measures ? measure_layer : change_layer;
    }
    if (over) return error_set(err, NUT_E_STATE, "the model has no layers");
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    changing *c = (changing *)job;
    return c->phase(c, err);
}

static void free_job(nut_job *job) {
    changing *c = (changing *)job;
    if (c->ops->free) c->ops->free(c);
    rewrite_free(&c->rewrite);
    mem_free(c->plan);
    mem_free(c->ends);
    dense_free(c->d);
    nut_job_free(c->calibrate);
    nut_job_free(c->fisher);
    mem_free(c);
}

nut_status changing_begin(recipe *r, const changing_ops *ops, const changing_wants *wants, size_t size,
                          changing **out, nut_error *err) {
    static const job_ops job = {step, free_job};
    changing *c = mem_calloc(1, size);
    if (!c) return error_memory(err, size);
    c->job.ops = &job;
    c->ops = ops;
    c->wants = *wants;
    c->r = r;
    c->phase = run_calibrate;
    nut_status status = dense_new(r->team, &c->d, err);
    if (status == NUT_OK) status = begin_text(c, !ops->measure, err);
    if (status == NUT_OK && wants->fisher) status = begin_fisher(c, err);
    if (status == NUT_OK)
        *out = c;
    else
        free_job(&c->job);
    return status;
}
