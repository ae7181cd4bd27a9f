/* The recipe "auto". */
#include "compress/auto.h"

#include "base/error.h"
#include "compress/coded_plan.h"
#include "compress/method.h"
#include "evaluate/calibrate.h"
#include "evaluate/windows.h"
#include "model/bind.h"
#include "train/fisher.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Shares of the time, for progress: of a total of 1,000. */
enum { FISHER_ENDS = 250, CALIBRATE_ENDS = 800, SEARCH_ENDS = 930, ALL = 1000 };
enum { MOST_TRIALS = 8 };
static const double close_enough = 0.995, aim = 0.9985; // of the size
static const double first_lambda = 1.3e-4, first_lambda_fast = 0.1;
static const double least_lambda = -18; // log2 of it: smaller steps gain nothing

typedef struct recipe {
    nut_job job;
    nut_status (*phase)(struct recipe *c, nut_error *err); // what the next step does
    nut_compress_options options;
    threads *team;
    nut_job *fisher, *calibrate, *compress; // those that run or whose results are used, or NULL
    coded_plan *plan;
    double *counts; // (n_vocab) how often a token is in the text, where there are no gradients
    uint64_t n_tokens;
    // the search
    uint64_t target; // bytes
    double lambda;
    double fits, over; // log2 of lambdas whose sizes do, and do not, fit; NAN: none yet
    uint64_t fits_bytes, over_bytes;
    unsigned n_trials;
    uint64_t written; // bytes of the trial
    uint64_t n_coded; // weights in the plan
    char note[640];   // an error's message, and more
} recipe;

/* ---- progress ---- */

/* Progress of a part of the work as that of the whole. */
static void scale_progress(recipe *c, uint64_t begin, uint64_t end) {
    nut_job_event *e = &c->job.event;
    if (!c->job.told || e->kind != NUT_JOB_PROGRESS || !e->total) return;
    e->done = begin + (uint64_t)((double)(end - begin) * ((double)e->done / (double)e->total));
    e->total = ALL;
}

/* ---- gradients ---- */

static nut_status run_calibrate(recipe *c, nut_error *err);

static nut_status begin_calibrate(recipe *c, nut_error *err) {
    const calibrate_options o = {.kinds = STATISTICS_HESSIAN, .n_threads = c->options.n_threads};
    TRY(calibrate_begin(&o, c->options.text, c->options.n_text, &c->calibrate, err));
    c->phase = run_calibrate;
    return NUT_OK;
}

static nut_status go_without_gradients(recipe *c, const char *why) {
    nut_job_free(c->fisher);
    c->fisher = NULL;
    snprintf(c->note, sizeof c->note,
             "%.500s; steps follow the inputs alone, which costs about half as much again of KL", why);
    job_note(&c->job, c->note);
    c->phase = begin_calibrate;
    return NUT_OK;
}

static nut_status run_fisher(recipe *c, nut_error *err) {
    bool over = false;
    nut_error why = {0};
    const nut_status status = job_forward(&c->job, c->fisher, &over, &why);
    if (status == NUT_E_UNSUPPORTED && fisher_has_model(c->fisher))
        return go_without_gradients(c, why.message);
    if (status != NUT_OK) return error_set(err, status, "%s", why.message);
    scale_progress(c, 0, FISHER_ENDS);
    if (over) c->phase = begin_calibrate;
    return NUT_OK;
}

/* ---- calibration ---- */

static nut_status begin_trial(recipe *c, nut_error *err);

static bool in_layer(gguf_str name, int which) {
    char prefix[24];
    const int n = snprintf(prefix, sizeof prefix, "blk.%d.", which);
    return name.n > (uint64_t)n && !memcmp(name.s, prefix, (size_t)n);
}

static bool is_table(gguf_str name) {
    return gguf_str_is(name, "token_embd.weight");
}

/* How often each token is in the text. */
static nut_status count_tokens(recipe *c, const nut_model *m, nut_error *err) {
    windows w;
    c->counts = mem_calloc(m->hp.n_vocab, sizeof *c->counts);
    if (!c->counts) return error_memory(err, m->hp.n_vocab * sizeof *c->counts);
    TRY(windows_of_text(&w, m->vocab, c->options.text, c->options.n_text, false, 512, err));
    for (size_t i = 0; i < w.n_ids; i++) c->counts[w.ids[i]]++;
    windows_free(&w);
    return NUT_OK;
}

/* Where there are no gradients, an error is as bad as it is large beside what the matrix gives: F is 1 /
 * mean square of its outputs, for which the inputs' correlations are left out. */
static double output_power(const nut_model *m, const gguf_tensor *t, const statistics *s) {
    void *to;
    const tensor_spec *spec = bind_find(m, t->name, &to);
    const matrix *w = to;
    if (!s || !spec || spec->parts || spec->kind != TENSOR_MATRIX) return 1;
    float *row = mem_alloc(w->n_cols * sizeof *row);
    double sum = 0;
    for (size_t r = 0; row && r < w->n_rows; r++) {
        matrix_row(w, r, row);
        for (size_t i = 0; i < w->n_cols; i++)
            sum += (double)row[i] * (double)row[i] * s->sum_squares[i] / (double)s->n_tokens /
                   (double)w->n_rows;
    }
    mem_free(row);
    return sum > 0 ? sum : 1;
}

static nut_status add_without_gradients(recipe *c, const nut_model *m, const gguf_tensor *t, coded_facts *f,
                                        nut_error *err) {
    double *rows = mem_alloc(f->n_rows * sizeof *rows);
    if (!rows) return error_memory(err, f->n_rows * sizeof *rows);
    const double power = output_power(m, t, f->input);
    for (size_t r = 0; r < f->n_rows; r++)
        rows[r] = f->vocabulary ? c->counts[r] / (double)c->n_tokens * (double)f->n_rows / power : 1 / power;
    f->sensitivity = rows;
    const nut_status status = coded_plan_add(c->plan, f, err);
    mem_free(rows);
    return status;
}

static nut_status add_matrix(recipe *c, const nut_model *m, const gguf_tensor *t, const statistics *s,
                             nut_error *err) {
    size_t n = 0;
    coded_facts f = {.tensor = t->name,
                     .n_rows = (size_t)t->dims[1],
                     .n_cols = (size_t)t->dims[0],
                     .input = s,
                     .vocabulary = t->dims[1] == m->hp.n_vocab};
    if (!method_is_matrix(t) || !coded_can_write(t->dims[1], t->dims[0])) return NUT_OK;
    c->n_coded += t->dims[0] * t->dims[1];
    if (!c->fisher) return add_without_gradients(c, m, t, &f, err);
    const fisher_vocab v = fisher_of_vocab(c->fisher);
    f.sensitivity = f.vocabulary ? v.variance : fisher_of_rows(c->fisher, t->name, &n);
    if (is_table(t->name)) f.input_more = v.embedded;
    return coded_plan_add(c->plan, &f, err);
}

/* What the calibration has completed goes into the plan: a layer, or the output and the table of embeddings.
 */
static nut_status add_layer(recipe *c, int which, nut_error *err) {
    const nut_model *m = calibrate_model(c->calibrate);
    c->n_tokens = calibrate_n_tokens(c->calibrate);
    if (!c->fisher && !c->counts) TRY(count_tokens(c, m, err));
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        const gguf_tensor *t = &m->header.tensors[i];
        if (which >= 0 ? !in_layer(t->name, which)
                       : !memcmp(t->name.s, "blk.", t->name.n < 4 ? (size_t)t->name.n : 4))
            continue;
        const statistics *s = calibrate_find(c->calibrate, t->name);
        if (s || is_table(t->name)) TRY(add_matrix(c, m, t, s, err));
    }
    return NUT_OK;
}

static nut_status run_calibrate(recipe *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->calibrate, &over, err));
    const int which = calibrate_complete(c->calibrate);
    if (which != CALIBRATE_NONE) TRY(add_layer(c, which, err));
    scale_progress(c, FISHER_ENDS, CALIBRATE_ENDS);
    if (!over) return NUT_OK;
    nut_job_free(c->calibrate); // with the residual of all tokens
    c->calibrate = NULL;
    c->phase = begin_trial;
    return NUT_OK;
}

/* ---- the method ---- */

static nut_status set_meta(const nut_compress_options *o, const void *ctx, gguf_meta *meta, nut_error *err) {
    const recipe *c = ctx;
    const char *recipe_name = c->fisher ? "auto" : "auto, without gradients";
    (void)o;
    TRY(gguf_meta_int(meta, "general.file_type", GGUF_U32, METHOD_FILE_TYPE_UNSAID, err));
    TRY(gguf_meta_str(meta, "nutshell.compress.recipe", (gguf_str){recipe_name, strlen(recipe_name)}, err));
    TRY(gguf_meta_f64(meta, "nutshell.compress.lambda", c->lambda, err));
    return gguf_meta_int(meta, "nutshell.compress.calibration_tokens", GGUF_U64, (int64_t)c->n_tokens, err);
}

static const format *plan_tensor(const nut_compress_options *o, const void *ctx, const gguf *model,
                                 const gguf_tensor *t) {
    const recipe *c = ctx;
    (void)o, (void)model;
    return coded_plan_has(c->plan, t->name) ? format_by_name("coded_8") : NULL;
}

static nut_status code(const method_slice *s, coded_data *out, nut_error *err) {
    const recipe *c = s->ctx;
    return coded_plan_code(c->plan, c->lambda, s->tensor->name, s->weights, out, err);
}

static const method method_auto = {.name = "auto", .begin = set_meta, .plan = plan_tensor, .code = code};

/* ---- the search ---- */

static nut_status run_trial(recipe *c, nut_error *err);
static nut_status run_write(recipe *c, nut_error *err);

static nut_status begin_compress(recipe *c, nut_error *err) {
    nut_job_free(c->compress);
    c->compress = NULL;
    return compress_begin(&method_auto, &c->options, NULL, c, &c->compress, err);
}

static nut_status begin_trial(recipe *c, nut_error *err) {
    c->written = 0;
    c->phase = run_trial;
    return begin_compress(c, err);
}

static nut_status begin_write(recipe *c, nut_error *err) {
    c->lambda = exp2(c->fits);
    c->phase = run_write;
    return begin_compress(c, err);
}

/* Twice the lambda takes a bit from each weight: so the next guess, or between what fits and what does not.
 */
static double next_lambda(const recipe *c) {
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
static bool is_least(const recipe *c, uint64_t bytes_before) {
    return bytes_before && (double)c->written > 0.99 * (double)bytes_before &&
           (double)(c->written - c->target) > 0.02 * (double)c->target;
}

static nut_status cannot_fit(const recipe *c, nut_error *err) {
    return error_set(err, NUT_E_ARGUMENT,
                     "%.2f MB cannot be reached: this model takes at least %.2f MB; choose a larger size",
                     (double)c->target / 1e6, (double)c->over_bytes / 1e6);
}

static nut_status judge_trial(recipe *c, nut_error *err) {
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

/* What a trial would write is counted. */
static nut_status run_trial(recipe *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->compress, &over, err));
    const nut_job_event *e = &c->job.event;
    if (c->job.told && e->kind == NUT_JOB_WRITE) {
        if (e->offset + e->n > c->written) c->written = e->offset + e->n;
        c->job.told = false;
    }
    if (c->job.told && e->kind == NUT_JOB_NOTE) c->job.told = false; // told when it is written
    scale_progress(c, CALIBRATE_ENDS, SEARCH_ENDS);
    return over ? judge_trial(c, err) : NUT_OK;
}

static nut_status run_write(recipe *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->compress, &over, err));
    scale_progress(c, SEARCH_ENDS, ALL);
    if (over) job_done(&c->job);
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    recipe *c = (recipe *)job;
    return c->phase(c, err);
}

static void free_job(nut_job *job) {
    recipe *c = (recipe *)job;
    nut_job_free(c->fisher);
    nut_job_free(c->calibrate);
    nut_job_free(c->compress);
    coded_plan_free(c->plan);
    threads_free(c->team);
    mem_free(c->counts);
    mem_free(c);
}

static nut_status begin(recipe *c, nut_error *err) {
    const unsigned n_threads = c->options.n_threads ? c->options.n_threads : 1;
    const fisher_options o = {.n_threads = n_threads, .seed = 1};
    TRY(threads_new(n_threads, &c->team, err));
    TRY(coded_plan_new(c->team, &c->plan, err));
    if (c->options.fast) return NUT_OK;
    c->phase = run_fisher;
    return fisher_begin(&o, c->options.text, c->options.n_text, &c->fisher, err);
}

nut_status auto_begin(const nut_compress_options *options, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    if (options->type)
        return error_set(err, NUT_E_ARGUMENT,
                         "give a size or a type, not both: the types of a size follow from it");
    recipe *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    c->job.ops = &ops;
    c->phase = begin_calibrate;
    c->options = *options;
    c->options.method = NULL;
    if (!options->text) c->options.text = nut_calibrate_text(&c->options.n_text);
    c->target = options->size;
    c->lambda = options->fast ? first_lambda_fast : first_lambda;
    c->fits = c->over = NAN;
    const nut_status status = begin(c, err);
    if (status == NUT_OK)
        *out = &c->job;
    else
        free_job(&c->job);
    return status;
}
