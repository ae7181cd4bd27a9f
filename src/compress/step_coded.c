/*
 * The step that writes the best coded model of a size: {"step": "coded", "size": "60MB"}. One number,
 * lambda, sets the size of all; it is looked for by coding the model without writing it.
 */
#include "base/error.h"
#include "base/mem.h"
#include "base/xxhash.h"
#include "compress/method.h"
#include "compress/recipe.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { SEARCH_ENDS = 700, ALL = 1000 }; // shares of the step's time
enum { MOST_TRIALS = 8, USUAL_TRIALS = 4 };
static const double close_enough = 0.995, aim = 0.9985; // of the size
static const double first_lambda = 1.3e-4, first_lambda_fast = 0.1;
static const double least_lambda = -18; // log2 of it: smaller steps gain nothing

/* What a lambda gives: what the state keeps of the search. */
typedef struct trial {
    double lambda;
    uint64_t bytes;
} trial;

typedef struct coding {
    nut_job job;
    nut_status (*phase)(struct coding *c, nut_error *err); // what the next step does
    recipe *r;
    nut_job *compress;
    uint64_t target;  // bytes
    uint64_t n_coded; // weights
    double lambda;
    double fits, over; // log2 of lambdas whose sizes do, and do not, fit; NAN: none yet
    uint64_t fits_bytes, over_bytes;
    unsigned n_trials;
    uint64_t written; // bytes of the trial
    trial trial;      // from or for the state
    char note[200];
} coding;

/* Progress of a part as that of the step. */
static void scale_progress(coding *c, uint64_t begin, uint64_t end) {
    nut_job_event *e = &c->job.event;
    if (!c->job.told || e->kind != NUT_JOB_PROGRESS || !e->total) return;
    e->done = begin + (uint64_t)((double)(end - begin) * ((double)e->done / (double)e->total));
    e->total = ALL;
}

/* ---- the method ---- */

static nut_status set_meta(const nut_compress_options *o, const void *ctx, gguf_meta *meta, nut_error *err) {
    const coding *c = ctx;
    (void)o;
    TRY(gguf_meta_int(meta, "general.file_type", GGUF_U32, METHOD_FILE_TYPE_UNSAID, err));
    TRY(gguf_meta_int(meta, "nutshell.compress.gradients", GGUF_BOOL, c->r->gradients, err));
    TRY(gguf_meta_f64(meta, "nutshell.compress.lambda", c->lambda, err));
    return gguf_meta_int(meta, "nutshell.compress.calibration_tokens", GGUF_U64, (int64_t)c->r->n_tokens,
                         err);
}

static const format *plan_tensor(const nut_compress_options *o, const void *ctx, const gguf *model,
                                 const gguf_tensor *t) {
    const coding *c = ctx;
    (void)o, (void)model;
    return coded_plan_has(c->r->plan, t->name) ? format_by_name("coded_8") : NULL;
}

static nut_status wants(const void *ctx, const gguf_tensor *t, uint64_t *at, uint8_t **into, size_t *n,
                        nut_error *err) {
    const coding *c = ctx;
    return coded_plan_wants(c->r->plan, t->name, at, into, n, err);
}

static nut_status code(const method_slice *s, coded_data *out, nut_error *err) {
    const coding *c = s->ctx;
    return coded_plan_code(c->r->plan, c->lambda, s->tensor->name, s->weights, out, err);
}

static const method method_planned = {
    .name = "planned", .begin = set_meta, .plan = plan_tensor, .wants = wants, .code = code};

/* ---- the search ---- */

static nut_status begin_trial(coding *c, nut_error *err);
static nut_status run_trial(coding *c, nut_error *err);
static nut_status run_write(coding *c, nut_error *err);

static nut_status begin_compress(coding *c, nut_error *err) {
    const nut_compress_options o = {.recipe = c->r->json};
    nut_job_free(c->compress);
    c->compress = NULL;
    return compress_begin(&method_planned, &o, NULL, c, &c->compress, err);
}

static nut_status begin_write(coding *c, nut_error *err) {
    c->lambda = exp2(c->fits);
    c->phase = run_write;
    return begin_compress(c, err);
}

/* Twice the lambda takes a bit from each weight: so the next guess, or between what fits and what does not.
 */
static double next_lambda(const coding *c) {
    const double wanted = aim * (double)c->target, per_octave = (double)c->n_coded / 8;
    if (!isnan(c->fits) && !isnan(c->over)) {
        const double part =
            ((double)c->over_bytes - wanted) / ((double)c->over_bytes - (double)c->fits_bytes);
        return c->over + fmin(fmax(part, 0.02), 0.98) * (c->fits - c->over);
    }
    const double step = ((double)c->written - wanted) / per_octave;
    return log2(c->lambda) + (step > 0 ? fmin(fmax(step, 0.02), 3) : fmax(fmin(step, -0.02), -3));
}

/* Whether so much larger a step has taken next to nothing: all integers are 0 then, or nearly. */
static bool is_least(const coding *c, uint64_t bytes_before) {
    return bytes_before && (double)c->written > 0.99 * (double)bytes_before &&
           (double)(c->written - c->target) > 0.02 * (double)c->target;
}

static nut_status cannot_fit(const coding *c, nut_error *err) {
    return error_set(err, NUT_E_ARGUMENT,
                     "%.2f MB cannot be reached: this model takes at least %.2f MB; choose a larger size",
                     (double)c->target / 1e6, (double)c->over_bytes / 1e6);
}

static nut_status judge_trial(coding *c, nut_error *err) {
    const double now = log2(c->lambda);
    const uint64_t over_before = c->over_bytes;
    const bool fits = c->written <= c->target;
    if (fits)
        c->fits = now, c->fits_bytes = c->written;
    else
        c->over = now, c->over_bytes = c->written;
    c->n_trials++;
    const bool enough = (double)c->written >= close_enough * (double)c->target || now < least_lambda;
    if (fits && (enough || c->n_trials >= MOST_TRIALS)) return begin_write(c, err);
    if (!fits && isnan(c->fits) && (is_least(c, over_before) || c->n_trials >= 2 * MOST_TRIALS))
        return cannot_fit(c, err);
    if (c->n_trials >= 2 * MOST_TRIALS) return begin_write(c, err);
    c->lambda = exp2(next_lambda(c));
    c->phase = begin_trial;
    return NUT_OK;
}

/* Trials of an earlier run are not run again. */
static uint32_t trial_number(const coding *c) {
    uint8_t bytes[sizeof c->lambda];
    memcpy(bytes, &c->lambda, sizeof bytes);
    return xxhash32(bytes, sizeof bytes);
}

static nut_status start_trial(coding *c, nut_error *err) {
    c->phase = run_trial;
    return begin_compress(c, err);
}

static nut_status take_trial(coding *c, nut_error *err) {
    if (c->trial.lambda != c->lambda) return start_trial(c, err);
    c->written = c->trial.bytes;
    return judge_trial(c, err);
}

static nut_status begin_trial(coding *c, nut_error *err) {
    const state_record *rec = state_find(&c->r->state, RECIPE_TRIAL, trial_number(c));
    c->written = 0;
    if (!rec || rec->n != sizeof c->trial) return start_trial(c, err);
    state_want(rec, &c->job, &c->trial);
    c->phase = take_trial;
    return NUT_OK;
}

static nut_status save_trial(coding *c, nut_error *err) {
    bool ready = false;
    TRY(state_write(&c->r->state, &c->job, NULL, RECIPE_TRIAL, trial_number(c), &c->trial, sizeof c->trial,
                    &ready, err));
    return ready ? judge_trial(c, err) : NUT_OK;
}

/* What a trial would write is counted. */
static nut_status run_trial(coding *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->compress, &over, err));
    const nut_job_event *e = &c->job.event;
    if (c->job.told && e->kind == NUT_JOB_WRITE) {
        if (e->offset + e->n > c->written) c->written = e->offset + e->n;
        c->job.told = false;
    }
    if (c->job.told && e->kind == NUT_JOB_NOTE) c->job.told = false; // told when it is written
    const uint64_t n = c->n_trials < USUAL_TRIALS ? c->n_trials : USUAL_TRIALS - 1;
    scale_progress(c, n * SEARCH_ENDS / USUAL_TRIALS, (n + 1) * SEARCH_ENDS / USUAL_TRIALS);
    if (!over) return NUT_OK;
    c->trial = (trial){c->lambda, c->written};
    c->phase = save_trial;
    return NUT_OK;
}

static nut_status finish(coding *c, nut_error *err) {
    (void)err;
    job_done(&c->job);
    return NUT_OK;
}

static nut_status run_write(coding *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->compress, &over, err));
    scale_progress(c, SEARCH_ENDS, ALL);
    if (!over) return NUT_OK;
    snprintf(c->note, sizeof c->note, "%.2f MB, %.2f bits a weight", (double)c->fits_bytes / 1e6,
             8 * (double)c->fits_bytes / (double)c->r->n_weights);
    job_note(&c->job, c->note);
    c->phase = finish;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    coding *c = (coding *)job;
    return c->phase(c, err);
}

static void free_job(nut_job *job) {
    coding *c = (coding *)job;
    nut_job_free(c->compress);
    mem_free(c);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    coding *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    c->job.ops = &ops;
    c->phase = begin_trial;
    c->r = r;
    c->target = (uint64_t)(v->size > 0 ? v->size : v->bpw * (double)r->n_weights / 8);
    c->n_coded = coded_plan_weights(r->plan);
    c->lambda = r->gradients ? first_lambda : first_lambda_fast;
    c->fits = c->over = NAN;
    *out = &c->job;
    return NUT_OK;
}

static const recipe_option options[] = {
    {"size", RECIPE_SIZE, offsetof(recipe_values, size), 1, 1e15},
    {"bpw", RECIPE_NUMBER, offsetof(recipe_values, bpw), 0.1, 32},
};

const recipe_kind recipe_coded = {.name = "coded",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options,
                                  .needs = RECIPE_STATISTICS,
                                  .gives = RECIPE_MODEL | RECIPE_LAST,
                                  .sized = true,
                                  .share = 20,
                                  .begin = begin};
