/*
 * The step that makes the residual narrower: {"step": "width", "share": 0.2}. A text goes through the model,
 * what its norms give is gathered, and its principal components become the columns (width.h). Gains of norms
 * go into the matrices behind them; embeddings, what reads the residual and what gives to it are turned, and
 * a fifth of their columns or rows goes. Matrices that read it are fitted to what is left; "alone": they are
 * not, as in the paper.
 *
 * What all norms give counts alike, as they give it: divided by its root mean square. So no token decides
 * because its residual is large, as the first one's is in many models.
 *
 * A matrix for both embeddings and output becomes two: the output takes the gain of the last norm, which no
 * norm can keep in another basis.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/layer_weights.h"
#include "compress/parts.h"
#include "compress/recipe.h"
#include "compress/residual.h"
#include "compress/rewrite.h"
#include "compress/width.h"
#include "evaluate/calibrate.h"
#include "evaluate/model_source.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* What reads the residual in one unit that is loaded: behind its first norm, or its second; embeddings,
 * which are read by themselves, and the output. */
enum { FIRST, SECOND, READERS };

typedef struct step_width {
    nut_job job;
    nut_status (*phase)(struct step_width *s, nut_error *err); // what the next step does
    recipe *r;
    double share;
    bool alone;
    nut_job *calibrate;
    dense *d;
    size_t n, k;    // columns, and how many stay
    float **halves; // (n_halves) C of each norm (width.h); of a layer both, then the output's
    size_t n_halves;
    double *sum;   // (n, n) of all
    double *basis; // (k, n)
    float *turn;   // (k, n) the same
    double part;   // of all that is in it
    model_source source;
    rewrite rewrite;
    rewrite_tensor *plan; // (n_plan)
    size_t n_plan, next;  // next: tensor that is not written yet
    bool loaded;
    int which;               // is loaded: a layer, or BIND_MODEL
    float *readers[READERS]; // (n, k) what a matrix' rows are multiplied by
    double gains[READERS];   // of the norms
    layer_weights now;       // of the tensor that is written
    float *whole;            // all of it, where its rows are turned
    double before, after;    // parameters
    char note[240];
} step_width;

static size_t norm_at(int which, size_t reader, uint32_t n_layer) {
    return which == BIND_MODEL ? 2 * (size_t)n_layer : 2 * (size_t)which + reader;
}

/* The norm before a matrix that reads the residual, or a norm's own number. */
static size_t reader_of(const residual_meeting *t) {
    if (t->which == BIND_MODEL) return strncmp(t->spec->name, "output", 6) == 0 ? SECOND : FIRST;
    return residual_feeds(t) ? SECOND : FIRST;
}

/* ---- what norms give ---- */

static nut_status check_model(const nut_model *m, nut_error *err) {
    if (!residual_is_plain(m))
        return error_set(err, NUT_E_UNSUPPORTED,
                         "the residual of this %s model cannot be made narrower: its layers are more than "
                         "attention and a feed-forward, each behind an RMS norm",
                         m->arch->name);
    if (m->arch->features & ARCH_EMBD_SQRT)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "the residual of this %s model cannot be made narrower: its embeddings are "
                         "multiplied by the root of its width",
                         m->arch->name);
    return NUT_OK;
}

static nut_status take_sizes(step_width *s, const nut_model *m, nut_error *err) {
    size_t unit;
    TRY(check_model(m, err));
    s->n = m->hp.n_embd;
    s->k = width_left(s->n, s->share, &unit);
    if (!s->k || s->k == s->n)
        return error_set(err, NUT_E_ARGUMENT,
                         "a share of %g leaves %s of %zu columns, which go by %zu; give a %s one", s->share,
                         s->k ? "all" : "none", s->n, unit, s->k ? "larger" : "smaller");
    s->n_halves = 2 * (size_t)m->hp.n_layer + 1;
    s->halves = mem_calloc(s->n_halves, sizeof *s->halves);
    s->sum = mem_calloc(s->n, s->n * sizeof *s->sum);
    s->basis = mem_calloc(s->k, s->n * sizeof *s->basis);
    s->turn = mem_calloc(s->k, s->n * sizeof *s->turn);
    for (size_t i = 0; i < READERS; i++) s->readers[i] = mem_calloc(s->n, s->k * sizeof *s->readers[i]);
    if (s->halves && s->sum && s->basis && s->turn && s->readers[FIRST] && s->readers[SECOND]) return NUT_OK;
    return error_memory(err, (uint64_t)s->n * s->n * sizeof *s->sum);
}

/* C of a norm, from the inputs of a matrix behind it, which have its gain. Of a column whose gain is 0
 * nothing is known, and nothing reads it. */
static nut_status take_norm(step_width *s, size_t at, const statistics *x, const float *gain,
                            nut_error *err) {
    const size_t n = s->n, size = n * (n + 1) / 2;
    float *half = mem_alloc(size * sizeof *half);
    if (!half) return error_memory(err, size * sizeof *half);
    s->halves[at] = half;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            const double by = (double)gain[i] * (double)gain[j] * (double)x->n_tokens;
            const double c = by != 0.0 ? statistics_hessian(x, i, j) / by : 0;
            half[i * (i + 1) / 2 + j] = (float)c;
            s->sum[i * n + j] += c;
            if (j < i) s->sum[j * n + i] += c;
        }
    return NUT_OK;
}

/* Both norms of a layer that is complete, or the output's. */
static nut_status take_norms(step_width *s, int which, nut_error *err) {
    const nut_model *m = calibrate_model(s->calibrate);
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        const gguf_str name = m->header.tensors[i].name;
        const residual_meeting t = residual_meet(m, name);
        if (!t.reads || t.which != which) continue;
        const statistics *x = calibrate_find(s->calibrate, name);
        const size_t at = norm_at(which, reader_of(&t), m->hp.n_layer);
        const float *gain = which == BIND_MODEL ? m->output_norm.weight : residual_gain(m, &t);
        if (x && !s->halves[at]) TRY(take_norm(s, at, x, gain, err));
    }
    return NUT_OK;
}

static nut_status read_model(step_width *s, nut_error *err);

/* The basis of all norms. */
static nut_status find_basis(step_width *s, nut_error *err) {
    TRY(width_basis(s->sum, s->n, s->k, s->basis, &s->part, err));
    for (size_t i = 0; i < s->k * s->n; i++) s->turn[i] = (float)s->basis[i];
    mem_free(s->sum);
    s->sum = NULL;
    nut_job_free(s->calibrate);
    s->calibrate = NULL;
    s->phase = read_model;
    return NUT_OK;
}

static nut_status run_calibrate(step_width *s, nut_error *err) {
    bool over = false;
    TRY(job_forward(&s->job, s->calibrate, &over, err));
    if (!s->halves && calibrate_model(s->calibrate)) TRY(take_sizes(s, calibrate_model(s->calibrate), err));
    const int which = calibrate_complete(s->calibrate);
    if (which != CALIBRATE_NONE && !over) TRY(take_norms(s, which, err));
    if (over) s->phase = find_basis;
    return NUT_OK;
}

/* ---- the plan ---- */

static bool is_met(const residual_meeting *t) {
    return t->reads || t->gives || t->is_norm;
}

static void plan_tensor(const step_width *s, rewrite_tensor *t) {
    const residual_meeting at = residual_meet(s->source.m, t->name);
    t->computed = is_met(&at);
    if (!t->computed) return;
    if (at.gives && at.spec->kind == TENSOR_MATRIX)
        t->n_rows = s->k;
    else
        t->n_cols = s->k;
}

/* All tensors, and behind the embeddings an output where there is none. */
static nut_status plan_tensors(step_width *s, nut_error *err) {
    const nut_model *m = s->source.m;
    const bool adds = !residual_has_output(m);
    rewrite_tensor *all;
    TRY(rewrite_plan(&m->header, &all, err));
    s->plan = mem_calloc((size_t)m->header.n_tensors + 1, sizeof *s->plan);
    for (uint64_t i = 0; s->plan && i < m->header.n_tensors; i++) {
        s->plan[s->n_plan++] = all[i];
        if (!adds || !gguf_str_is(all[i].name, "token_embd.weight")) continue;
        s->plan[s->n_plan] = all[i];
        s->plan[s->n_plan++].name = (gguf_str){"output.weight", strlen("output.weight")};
    }
    mem_free(all);
    if (!s->plan) return error_memory(err, m->header.n_tensors * sizeof *s->plan);
    for (size_t i = 0; i < s->n_plan; i++) {
        const gguf_tensor *from = s->plan[i].from;
        plan_tensor(s, &s->plan[i]);
        if (!gguf_str_is(s->plan[i].name, "output.weight") || !adds)
            s->before += (double)from->dims[0] * (double)(from->dims[1] * from->dims[2] * from->dims[3]);
        s->after += (double)s->plan[i].n_cols * (double)s->plan[i].n_rows;
    }
    return NUT_OK;
}

static nut_status set_meta(step_width *s, nut_error *err) {
    char key[96];
    const nut_model *m = s->source.m;
    gguf_meta *meta = &s->rewrite.meta;
    snprintf(key, sizeof key, "%.64s.embedding_length", m->arch->name);
    TRY(gguf_meta_int(meta, key, GGUF_U32, (int64_t)s->k, err));
    TRY(parts_set_lengths(m, meta, err));
    TRY(gguf_meta_f32(meta, "nutshell.width.share", (float)s->share, err));
    return gguf_meta_str(meta, COMPRESS_RECIPE, (gguf_str){s->r->json, strlen(s->r->json)}, err);
}

/* ---- what is computed ---- */

/* What rows of matrices behind a norm are multiplied by, with its gain. */
static nut_status find_reader(step_width *s, size_t reader, const float *gain, nut_error *err) {
    const size_t n = s->n, k = s->k, at = norm_at(s->which, reader, s->source.m->hp.n_layer);
    double *fitted = mem_calloc(n, k * sizeof *fitted);
    if (!fitted) return error_memory(err, (uint64_t)n * k * sizeof *fitted);
    nut_status status =
        s->halves[at] ? NUT_OK : error_set(err, NUT_E_UNSUPPORTED, "what norm %zu gives was not seen", at);
    if (status == NUT_OK)
        status = width_read(s->d, s->halves[at], s->basis, n, k, s->alone ? NULL : fitted, &s->gains[reader],
                            err);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < k; j++)
            s->readers[reader][i * k + j] =
                (float)((double)gain[i] * (s->alone ? s->basis[j * n + i] : fitted[i * k + j]));
    mem_free(fitted);
    return status;
}

static nut_status find_readers(step_width *s, nut_error *err) {
    const nut_model *m = s->source.m;
    if (s->which != BIND_MODEL) {
        TRY(find_reader(s, FIRST, m->layers[s->which].attn_norm.weight, err));
        return find_reader(s, SECOND, m->layers[s->which].ffn_norm.weight, err);
    }
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->k; j++) s->readers[FIRST][i * s->k + j] = s->turn[j * s->n + i];
    return find_reader(s, SECOND, m->output_norm.weight, err);
}

static nut_status begin_tensor(step_width *s, const rewrite_tensor *t, const residual_meeting *at,
                               nut_error *err) {
    s->now = layer_weights_of(s->source.m, t->from->name);
    if (!s->now.n)
        return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s cannot be turned here", (int)t->name.n,
                         t->name.s);
    mem_free(s->whole);
    s->whole = NULL;
    if (at->reads) return NUT_OK;
    const size_t size = s->now.n_rows * s->now.n_cols;
    s->whole = mem_alloc(size * sizeof *s->whole);
    if (!s->whole) return error_memory(err, (uint64_t)size * sizeof *s->whole);
    layer_weights_get(&s->now, 0, s->now.n_rows, s->whole);
    return NUT_OK;
}

/* Rows of a matrix that reads the residual. */
static nut_status read_rows(step_width *s, size_t reader, size_t row, size_t n, float *out, nut_error *err) {
    const dense_product p = {.m = n, .n = s->k, .k = s->n, .ldc = s->k};
    float *x = mem_alloc(n * s->n * sizeof *x);
    if (!x) return error_memory(err, (uint64_t)n * s->n * sizeof *x);
    layer_weights_get(&s->now, row, n, x);
    dense_mul_f32(s->d, &p, (dense_f32){x, s->n, 1}, (dense_f32){s->readers[reader], s->k, 1}, 1, out);
    mem_free(x);
    return NUT_OK;
}

static nut_status rows(void *ctx, size_t tensor, size_t row, size_t n, float *out, nut_error *err) {
    step_width *s = ctx;
    const rewrite_tensor *t = &s->plan[tensor];
    const residual_meeting at = residual_meet(s->source.m, t->name);
    const size_t reader = reader_of(&at);
    if (at.is_norm) {
        for (size_t i = 0; i < s->k; i++) out[i] = (float)s->gains[reader];
        return NUT_OK;
    }
    if (at.spec->kind == TENSOR_MATRIX) {
        if (!row) TRY(begin_tensor(s, t, &at, err));
        if (at.reads) return read_rows(s, reader, row, n, out, err);
    }
    const bool is_bias = at.spec->kind == TENSOR_VECTOR;
    const float *x = is_bias ? *(const float *const *)at.to : s->whole;
    const size_t from = is_bias ? 0 : row, m = is_bias ? s->k : n, cols = is_bias ? 1 : s->now.n_cols;
    const dense_product p = {.m = m, .n = cols, .k = s->n, .ldc = cols};
    dense_mul_f32(s->d, &p, (dense_f32){s->turn + from * s->n, s->n, 1}, (dense_f32){x, cols, 1}, 1, out);
    return NUT_OK;
}

/* ---- writing ---- */

static nut_status finish(step_width *s, nut_error *err) {
    (void)err;
    job_done(&s->job);
    return NUT_OK;
}

static nut_status write_model(step_width *s, nut_error *err);

static nut_status load(step_width *s, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&s->source, &s->job, s->which, &ready, err));
    if (!ready) return NUT_OK;
    s->loaded = true;
    s->phase = write_model;
    return find_readers(s, err);
}

/* What the next tensor is of is loaded before it is written. */
static void prepare(step_width *s) {
    const residual_meeting t = residual_meet(s->source.m, s->plan[s->next].name);
    if (!s->plan[s->next].computed || (s->loaded && s->which == t.which)) return;
    model_source_unload(&s->source);
    s->loaded = false;
    s->which = t.which;
    s->phase = load;
}

static nut_status write_model(step_width *s, nut_error *err) {
    bool ready = false;
    TRY(rewrite_step(&s->rewrite, &s->job, s->next, &ready, err));
    if (!ready) return NUT_OK;
    if (s->next < s->n_plan) {
        prepare(s);
        s->next++;
        return NUT_OK;
    }
    snprintf(
        s->note, sizeof s->note,
        "the residual has %zu of %zu columns, which hold %.2f %% of what norms give; the model has %.4g "
        "of %.4g million weights now%s",
        s->k, s->n, 100 * s->part, s->after / 1e6, s->before / 1e6,
        residual_has_output(s->source.m) ? "" : ", with an output matrix apart from the embeddings");
    job_note(&s->job, s->note);
    s->phase = finish;
    return NUT_OK;
}

static nut_status read_model(step_width *s, nut_error *err) {
    bool ready = false;
    TRY(model_source_headers(&s->source, &s->job, true, &ready, err));
    if (!ready) return NUT_OK;
    TRY(plan_tensors(s, err));
    TRY(set_meta(s, err));
    s->rewrite.rows = rows, s->rewrite.ctx = s;
    s->phase = write_model;
    return rewrite_begin(&s->rewrite, &s->source.m->header, s->plan, s->n_plan, err);
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    step_width *s = (step_width *)job;
    return s->phase(s, err);
}

static void free_job(nut_job *job) {
    step_width *s = (step_width *)job;
    rewrite_free(&s->rewrite);
    nut_job_free(s->calibrate);
    for (size_t i = 0; s->halves && i < s->n_halves; i++) mem_free(s->halves[i]);
    mem_free(s->halves);
    mem_free(s->sum), mem_free(s->basis), mem_free(s->turn);
    mem_free(s->readers[FIRST]), mem_free(s->readers[SECOND]);
    mem_free(s->whole);
    mem_free(s->plan);
    dense_free(s->d);
    model_source_free(&s->source);
    mem_free(s);
}

static nut_status check(const recipe_values *v, nut_error *err) {
    if (v->share > 0) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "say which part of the residual's columns goes: \"share\": 0.2");
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    const calibrate_options o = {
        .kinds = STATISTICS_HESSIAN, .n_threads = r->options.n_threads, .window = (uint32_t)v->window};
    step_width *s = mem_calloc(1, sizeof *s);
    if (!s) return error_memory(err, sizeof *s);
    s->job.ops = &ops;
    s->r = r;
    s->share = v->share;
    s->alone = v->alone;
    s->phase = run_calibrate;
    nut_status status = dense_new(r->team, &s->d, err);
    if (status == NUT_OK)
        status = calibrate_begin(&o, r->options.text, r->options.n_text, &s->calibrate, err);
    if (status == NUT_OK)
        *out = &s->job;
    else
        free_job(&s->job);
    return status;
}

static const recipe_option options[] = {
    {"share", RECIPE_NUMBER, offsetof(recipe_values, share), 0.01, 0.99},
    {"alone", RECIPE_FLAG, offsetof(recipe_values, alone), 0, 0},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
};

const recipe_kind recipe_width = {.name = "width",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options,
                                  .gives = RECIPE_MODEL,
                                  .share = 40,
                                  .begin = begin,
                                  .check = check};
