/*
 * The step that finds out what coded GPTQ needs: {"step": "calibrate", "gradients": true}. Gradients first
 * (train/fisher.h), then the inputs of each layer (evaluate/calibrate.h); what a layer gives goes into the
 * plan at once. With a state, sums of gradients are kept after each group of windows, the plan after each
 * layer, and after some layers what the text has become there.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/method.h"
#include "compress/recipe.h"
#include "evaluate/calibrate.h"
#include "evaluate/windows.h"
#include "model/bind.h"
#include "train/fisher.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { FISHER_ENDS = 320, ALL = 1000 }; // shares of the step's time
enum { SAVES = 8 };                     // how often the text's residual is kept
enum { LAYER_HEAD = 8 };                // bytes in front of the plan: tokens of the text

typedef struct calibrating {
    nut_job job;
    nut_status (*phase)(struct calibrating *c, nut_error *err); // what the next step does
    recipe *r;
    recipe_values values;
    nut_job *fisher, *calibrate; // NULL: not there
    double *sums;                // (n_sums) of an earlier run
    size_t n_sums;
    double *counts; // (n_vocab) how often a token is in the text, where there are no gradients
    uint8_t *bytes; // (n_bytes) of a layer, from or for the state
    size_t n_bytes;
    uint32_t layer; // that is read or saved; n_layer: the output
    uint32_t first; // that is not known from the state
    float *residual;
    size_t n_residual;
    bool over;
    char note[640]; // an error's message, and more
} calibrating;

/* Progress of a part as that of the step. */
static void scale_progress(calibrating *c, uint64_t begin, uint64_t end) {
    nut_job_event *e = &c->job.event;
    if (!c->job.told || e->kind != NUT_JOB_PROGRESS || !e->total) return;
    e->done = begin + (uint64_t)((double)(end - begin) * ((double)e->done / (double)e->total));
    e->total = ALL;
}

static uint64_t fisher_ends(const calibrating *c) {
    return c->values.gradients ? FISHER_ENDS : 0;
}

/* ---- gradients ---- */

static nut_status find_layers(calibrating *c, nut_error *err);
static nut_status run_fisher(calibrating *c, nut_error *err);

static nut_status begin_fisher(calibrating *c, nut_error *err) {
    const fisher_options o = {.n_threads = c->r->options.n_threads,
                              .seed = 1,
                              .n_windows = (uint32_t)c->values.windows,
                              .window = (uint32_t)c->values.window,
                              .special = c->values.special,
                              .sums = c->sums,
                              .n_sums = c->n_sums};
    c->phase = run_fisher;
    return fisher_begin(&o, c->r->options.text, c->r->options.n_text, &c->fisher, err);
}

static nut_status find_fisher(calibrating *c, nut_error *err) {
    const state_record *rec = state_last(&c->r->state, RECIPE_FISHER);
    c->phase = begin_fisher;
    if (!rec) return NUT_OK;
    c->n_sums = (size_t)(rec->n / sizeof *c->sums);
    c->sums = mem_calloc(c->n_sums + 1, sizeof *c->sums);
    if (!c->sums) return error_memory(err, rec->n);
    state_want(rec, &c->job, c->sums);
    return NUT_OK;
}

static nut_status go_without_gradients(calibrating *c, const char *why) {
    nut_job_free(c->fisher);
    c->fisher = NULL;
    snprintf(c->note, sizeof c->note,
             "%.500s; steps follow the inputs alone, which costs about half as much again of KL", why);
    job_note(&c->job, c->note);
    c->phase = find_layers;
    return NUT_OK;
}

static nut_status save_fisher(calibrating *c, nut_error *err) {
    size_t n;
    bool ready = false;
    const double *sums = fisher_sums(c->fisher, &n);
    TRY(state_write(&c->r->state, &c->job, NULL, RECIPE_FISHER, 0, sums, n * sizeof *sums, &ready, err));
    if (ready) c->phase = run_fisher;
    return NUT_OK;
}

static nut_status run_fisher(calibrating *c, nut_error *err) {
    bool over = false;
    nut_error why = {0};
    size_t n;
    const nut_status status = job_forward(&c->job, c->fisher, &over, &why);
    if (status == NUT_E_UNSUPPORTED && fisher_has_model(c->fisher))
        return go_without_gradients(c, why.message);
    if (status != NUT_OK) return error_set(err, status, "%s", why.message);
    scale_progress(c, 0, FISHER_ENDS);
    if (over)
        c->phase = find_layers;
    else if (fisher_sums(c->fisher, &n))
        c->phase = save_fisher;
    return NUT_OK;
}

/* ---- what is known of layers ---- */

static nut_status begin_calibrate(calibrating *c, nut_error *err);
static nut_status read_layer(calibrating *c, nut_error *err);

static nut_status want_residual(calibrating *c, const state_record *rec, nut_error *err) {
    c->n_residual = (size_t)(rec->n / sizeof *c->residual);
    c->residual = mem_calloc(c->n_residual + 1, sizeof *c->residual);
    if (!c->residual) return error_memory(err, rec->n);
    state_want(rec, &c->job, c->residual);
    return NUT_OK;
}

/* How far an earlier run has come. */
static nut_status find_layers(calibrating *c, nut_error *err) {
    uint32_t n = 0;
    while (n <= c->r->n_layer && state_find(&c->r->state, RECIPE_LAYER, n)) n++;
    const state_record *rec = n > c->r->n_layer ? NULL : state_before(&c->r->state, RECIPE_RESIDUAL, n);
    c->first = n > c->r->n_layer ? n : rec ? rec->number + 1 : 0;
    c->phase = read_layer;
    return rec ? want_residual(c, rec, err) : NUT_OK;
}

static nut_status take_layer(calibrating *c, nut_error *err) {
    const state_record *rec = state_find(&c->r->state, RECIPE_LAYER, c->layer++);
    if (rec->n < LAYER_HEAD) return error_set(err, NUT_E_CORRUPT, "the saved state is damaged; remove it");
    memcpy(&c->r->n_tokens, c->bytes, sizeof c->r->n_tokens);
    c->phase = read_layer;
    return coded_plan_load(c->r->plan, c->bytes + LAYER_HEAD, (size_t)rec->n - LAYER_HEAD,
                           rec->at + LAYER_HEAD, err);
}

static nut_status read_layer(calibrating *c, nut_error *err) {
    mem_free(c->bytes);
    c->bytes = NULL;
    if (c->layer == c->first) {
        c->phase = begin_calibrate;
        c->over = c->first > c->r->n_layer;
        if (c->over) job_done(&c->job);
        return NUT_OK;
    }
    const state_record *rec = state_find(&c->r->state, RECIPE_LAYER, c->layer);
    c->bytes = mem_alloc((size_t)rec->n);
    if (!c->bytes) return error_memory(err, rec->n);
    state_want(rec, &c->job, c->bytes);
    c->phase = take_layer;
    return NUT_OK;
}

/* ---- matrices ---- */

static bool in_layer(gguf_str name, int which) {
    char prefix[24];
    const int n = snprintf(prefix, sizeof prefix, "blk.%d.", which);
    return name.n > (uint64_t)n && !memcmp(name.s, prefix, (size_t)n);
}

static bool is_table(gguf_str name) {
    return gguf_str_is(name, "token_embd.weight");
}

/* How often each token is in the text. */
static nut_status count_tokens(calibrating *c, const nut_model *m, nut_error *err) {
    windows w;
    const nut_compress_options *o = &c->r->options;
    c->counts = mem_calloc(m->hp.n_vocab, sizeof *c->counts);
    if (!c->counts) return error_memory(err, m->hp.n_vocab * sizeof *c->counts);
    TRY(windows_of_text(&w, m->vocab, o->text, o->n_text, c->values.special, 512, err));
    for (size_t i = 0; i < w.n_ids; i++) c->counts[w.ids[i]]++;
    windows_free(&w);
    return NUT_OK;
}

/* Where there are no gradients, an error is as bad as it is large beside what the matrix gives: F is 1 /
 * mean square of its outputs, for which the inputs' correlations are left out. */
static double output_power(const nut_model *m, const gguf_tensor *t, const statistics *s) {
    void *to;
    const tensor_spec *spec = bind_find(m, t->name, &to);
    const bool stack = spec && spec->kind == TENSOR_STACK;
    if (!s || !spec || spec->parts || !(stack || spec->kind == TENSOR_MATRIX)) return 1;
    const matrix *w = stack ? *(const matrix *const *)to : to;
    const size_t n = (size_t)(t->dims[1] * t->dims[2]);
    float *row = mem_alloc(w->n_cols * sizeof *row);
    double sum = 0;
    for (size_t r = 0; row && r < n; r++) {
        matrix_row(&w[r / w->n_rows], r % w->n_rows, row);
        for (size_t i = 0; i < w->n_cols; i++)
            sum += (double)row[i] * (double)row[i] * s->sum_squares[i] / (double)s->n_tokens / (double)n;
    }
    mem_free(row);
    return sum > 0 ? sum : 1;
}

/* The share of the text's tokens that the router sends to an expert. Its errors are weighted by it, so that
 * an expert that is rarely used gets fewer bits. */
static double used_part(const calibrating *c, const gguf_tensor *t, uint32_t which) {
    return (double)calibrate_used(c->calibrate, t->name, which) / (double)c->r->n_tokens;
}

static nut_status add_without_gradients(calibrating *c, const nut_model *m, const gguf_tensor *t,
                                        coded_facts *f, nut_error *err) {
    double *rows = mem_alloc(f->n_rows * sizeof *rows);
    if (!rows) return error_memory(err, f->n_rows * sizeof *rows);
    const double power = output_power(m, t, f->input), n_tokens = (double)c->r->n_tokens;
    for (size_t r = 0; r < f->n_rows; r++) {
        double felt = 1;
        if (f->vocabulary) felt = c->counts[r] / n_tokens * (double)f->n_rows;
        if (method_is_stack(t)) felt = used_part(c, t, (uint32_t)(r / t->dims[1]));
        rows[r] = felt / power;
    }
    f->sensitivity = rows;
    const nut_status status = coded_plan_add(c->r->plan, f, err);
    mem_free(rows);
    return status;
}

static nut_status add_matrix(calibrating *c, const nut_model *m, const gguf_tensor *t, const statistics *s,
                             nut_error *err) {
    size_t n = 0;
    coded_facts f = {.tensor = t->name,
                     .n_rows = (size_t)(t->dims[1] * t->dims[2]),
                     .n_cols = (size_t)t->dims[0],
                     .input = s,
                     .vocabulary = t->dims[1] == m->hp.n_vocab};
    const bool stack = method_is_stack(t) && t->dims[1] % FORMAT_LANES == 0;
    if (!(method_is_matrix(t) || stack) || !coded_can_write(f.n_rows, t->dims[0])) return NUT_OK;
    if (!c->fisher) return add_without_gradients(c, m, t, &f, err);
    const fisher_vocab v = fisher_of_vocab(c->fisher);
    f.sensitivity = f.vocabulary ? v.variance : fisher_of_rows(c->fisher, t->name, &n);
    if (is_table(t->name)) f.input_more = v.embedded;
    return coded_plan_add(c->r->plan, &f, err);
}

/* What the calibration has completed goes into the plan: a layer, or the output and the table of embeddings.
 */
static nut_status add_layer(calibrating *c, int which, nut_error *err) {
    const nut_model *m = calibrate_model(c->calibrate);
    c->r->n_tokens = calibrate_n_tokens(c->calibrate);
    if (!c->fisher && !c->counts) TRY(count_tokens(c, m, err));
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        const gguf_tensor *t = &m->header.tensors[i];
        if (which >= 0 ? !in_layer(t->name, which)
                       : !memcmp(t->name.s, "blk.", t->name.n < 4 ? (size_t)t->name.n : 4))
            continue;
        const statistics *s = calibrate_find(c->calibrate, t->name);
        if (s || is_table(t->name)) TRY(add_matrix(c, m, t, s, err));
    }
    coded_plan_end_layer(c->r->plan);
    return NUT_OK;
}

/* ---- layers ---- */

static nut_status run_calibrate(calibrating *c, nut_error *err);
static nut_status save_residual(calibrating *c, nut_error *err);

static nut_status begin_calibrate(calibrating *c, nut_error *err) {
    const calibrate_options o = {.kinds = STATISTICS_HESSIAN | STATISTICS_POOLED,
                                 .n_threads = c->r->options.n_threads,
                                 .window = (uint32_t)c->values.window,
                                 .special = c->values.special,
                                 .residual = c->residual,
                                 .n_residual = c->n_residual,
                                 .first = c->first};
    c->residual = NULL; // the job's
    c->phase = run_calibrate;
    return calibrate_begin(&o, c->r->options.text, c->r->options.n_text, &c->calibrate, err);
}

/* The factors then leave memory. */
static nut_status save_layer(calibrating *c, nut_error *err) {
    bool ready = false;
    TRY(state_write(&c->r->state, &c->job, NULL, RECIPE_LAYER, c->layer, c->bytes, c->n_bytes, &ready, err));
    if (!ready) return NUT_OK;
    mem_free(c->bytes);
    c->bytes = NULL;
    const state_record *rec = state_find(&c->r->state, RECIPE_LAYER, c->layer);
    coded_plan_saved(c->r->plan, rec->at + LAYER_HEAD);
    const uint32_t every = (c->r->n_layer + SAVES - 1) / SAVES;
    c->phase = c->layer < c->r->n_layer && (c->layer + 1) % every == 0 ? save_residual : run_calibrate;
    return NUT_OK;
}

static nut_status save_residual(calibrating *c, nut_error *err) {
    bool ready = false;
    size_t n;
    const float *residual = calibrate_residual(c->calibrate, &n);
    TRY(state_write(&c->r->state, &c->job, state_turn(&c->r->state, RECIPE_RESIDUAL), RECIPE_RESIDUAL,
                    c->layer, residual, n * sizeof *residual, &ready, err));
    if (ready) c->phase = run_calibrate;
    return NUT_OK;
}

static nut_status prepare_save(calibrating *c, int which, nut_error *err) {
    const uint64_t n_tokens = c->r->n_tokens;
    c->layer = which < 0 ? c->r->n_layer : (uint32_t)which;
    if (!c->r->state.kept) return NUT_OK;
    TRY(coded_plan_save(c->r->plan, LAYER_HEAD, &c->bytes, &c->n_bytes, err));
    memcpy(c->bytes, &n_tokens, LAYER_HEAD);
    c->phase = save_layer;
    return NUT_OK;
}

static nut_status run_calibrate(calibrating *c, nut_error *err) {
    bool over = false;
    if (c->over) {
        job_done(&c->job);
        return NUT_OK;
    }
    TRY(job_forward(&c->job, c->calibrate, &over, err));
    scale_progress(c, fisher_ends(c), ALL);
    const int which = calibrate_complete(c->calibrate);
    if (which != CALIBRATE_NONE) {
        TRY(add_layer(c, which, err));
        TRY(prepare_save(c, which, err));
    }
    c->over = over;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    calibrating *c = (calibrating *)job;
    return c->phase(c, err);
}

static void free_job(nut_job *job) {
    calibrating *c = (calibrating *)job;
    c->r->gradients = c->fisher;
    nut_job_free(c->fisher);
    nut_job_free(c->calibrate);
    mem_free(c->sums);
    mem_free(c->counts);
    mem_free(c->bytes);
    mem_free(c->residual);
    mem_free(c);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    calibrating *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    c->job.ops = &ops;
    c->r = r;
    c->values = *v;
    c->phase = v->gradients ? find_fisher : find_layers;
    *out = &c->job;
    return NUT_OK;
}

static const recipe_option options[] = {
    {"gradients", RECIPE_FLAG, offsetof(recipe_values, gradients), 0, 0},
    {"windows", RECIPE_NUMBER, offsetof(recipe_values, windows), 1, 1000},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
    {"special", RECIPE_FLAG, offsetof(recipe_values, special), 0, 0},
};

const recipe_kind recipe_calibrate = {.name = "calibrate",
                                      .options = options,
                                      .n_options = sizeof options / sizeof *options,
                                      .gives = RECIPE_STATISTICS,
                                      .share = 80,
                                      .begin = begin};
