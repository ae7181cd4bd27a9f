/*
 * The step that writes types which other programs read, by rounding with feedback (gptq_blocks.h):
 * {"step": "gptq", "type": "iq4_nl"} writes every matrix in one type; {"step": "gptq", "size": "77MB"} gives
 * each matrix a type of its own. For the latter some rows of each matrix are rounded into each type; what
 * that costs is the loss that calibration expects, 1/2 sum over rows of F_r times the row's error times H
 * times itself (coded_plan.h), and a knapsack (mix.h) chooses.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/fold.h"
#include "compress/gptq_blocks.h"
#include "compress/method.h"
#include "compress/mix.h"
#include "compress/recipe.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { SAMPLED = 48 };                    // rows of a matrix that are measured, or a few more
enum { MEASURED_ENDS = 500, ALL = 1000 }; // shares of the step's time
enum { MOST_NAME = 64 };                  // bytes of a tensor's: gguf.c

/* What each matrix may become, in the order of the file. */
typedef struct choice_name {
    char s[MOST_NAME];
    size_t n;
} choice_name;
typedef struct choices {
    choice_name *names; // (n)
    mix_item *items;    // (n)
    size_t n, room;
    const gguf *model;       // its header, while its tensors are read
    uint64_t alignment;      // of tensors, in bytes
    uint64_t measured_bytes; // of the matrices, in the types that were written while they were measured
} choices;

/* What encoding works with: one matrix. */
typedef struct work {
    const gguf_tensor *tensor; // whose factor is here; NULL: none
    coded_matrix matrix;
    float *shares;     // (n_cols, n_cols); NULL: there are none
    float *spread;     // (n_cols)
    float *importance; // (n_cols)
    float *error;      // (n, n_cols)
    double *loss;      // (n)
    size_t n;
    float *rows; // (n_rows, n_cols) that are measured
    size_t n_rows;
} work;

typedef struct stepping {
    nut_job job;
    nut_status (*phase)(struct stepping *c, nut_error *err); // what the next step does
    recipe *r;
    recipe_values values;
    nut_job *compress;
    const format *type; // of all; NULL: a type for each
    uint64_t target;    // bytes
    uint64_t written;   // bytes of the file so far
    choices *choices;
    folds *folds;
    work *work;
    char note[400];
} stepping;

static void scale_progress(stepping *c, uint64_t begin, uint64_t end) {
    nut_job_event *e = &c->job.event;
    if (!c->job.told || e->kind != NUT_JOB_PROGRESS || !e->total) return;
    e->done = begin + (uint64_t)((double)(end - begin) * ((double)e->done / (double)e->total));
    e->total = ALL;
}

/* ---- the factor of a matrix ---- */

static void forget(work *w) {
    mem_free(w->shares);
    mem_free(w->spread);
    mem_free(w->importance);
    mem_free(w->error);
    mem_free(w->loss);
    mem_free(w->rows);
    *w = (work){0};
}

/* What an error in a column costs: by itself where errors are not passed on (the diagonal of H = R R^T), and
 * else at the least. */
static void weigh_columns(work *w, bool alone) {
    const size_t n = w->matrix.n_cols;
    for (size_t i = 0; i < n; i++) {
        const float r = 1 / w->spread[i];
        double sum = (double)r * (double)r;
        for (size_t j = i + 1; alone && w->shares && j < n; j++) {
            const double at = (double)(w->shares[i * n + j] / w->spread[j]);
            sum += at * at;
        }
        w->importance[i] = (float)sum;
    }
}

/* The factor for columns that are divided by `columns`, whose inputs grow: H becomes S H S, and R S R. */
static void scale_factor(work *w, const float *columns) {
    const size_t n = w->matrix.n_cols;
    for (size_t i = 0; i < n; i++) {
        w->spread[i] = w->matrix.spread[i] / (columns ? columns[i] : 1);
        for (size_t j = i + 1; columns && w->shares && j < n; j++)
            w->shares[i * n + j] *= columns[i] / columns[j];
    }
}

/* Rows of this many are rounded at once. */
static nut_status reserve_rows(work *w, size_t n, nut_error *err) {
    if (n <= w->n) return NUT_OK;
    mem_free(w->error);
    mem_free(w->loss);
    w->n = n;
    w->error = mem_calloc(n, w->matrix.n_cols * sizeof *w->error);
    w->loss = mem_calloc(n, sizeof *w->loss);
    return w->error && w->loss ? NUT_OK : error_memory(err, n * w->matrix.n_cols * sizeof *w->error);
}

static nut_status take_matrix(const stepping *c, const gguf_tensor *t, nut_error *err) {
    work *w = c->work;
    if (w->tensor == t) return NUT_OK;
    forget(w);
    if (!coded_plan_find(c->r->plan, t->name, &w->matrix))
        return error_set(err, NUT_E_STATE, "tensor %.*s was not calibrated", (int)t->name.n, t->name.s);
    const size_t n = w->matrix.n_cols;
    w->importance = mem_calloc(n, sizeof *w->importance);
    w->spread = mem_calloc(n, sizeof *w->spread);
    if (w->matrix.correlated) w->shares = mem_calloc(n, n * sizeof *w->shares);
    if (!w->importance || !w->spread || (w->matrix.correlated && !w->shares))
        return error_memory(err, n * n * sizeof(float));
    if (w->shares) coded_plan_shares(c->r->plan, t->name, w->shares);
    scale_factor(w, folds_columns(c->folds, t->name));
    weigh_columns(w, c->values.alone);
    w->tensor = t;
    return NUT_OK;
}

/* Rounds rows of the matrix that was taken. */
static nut_status round_rows(const stepping *c, const float *rows, size_t n_rows, const type_row *type,
                             uint8_t *blocks, nut_error *err) {
    work *w = c->work;
    TRY(reserve_rows(w, n_rows, err));
    const gptq_blocks g = {.n_rows = n_rows,
                           .n_cols = w->matrix.n_cols,
                           .type = type,
                           .weights = rows,
                           .importance = w->importance,
                           .feedback = c->values.alone ? NULL : w->shares};
    gptq_blocks_round(coded_plan_dense(c->r->plan), &g, blocks, w->error, w->loss);
    return NUT_OK;
}

/* ---- what both methods share ---- */

static nut_status set_meta(const nut_compress_options *o, const void *ctx, gguf_meta *meta, nut_error *err) {
    const stepping *c = ctx;
    (void)o;
    TRY(gguf_meta_int(meta, "general.file_type", GGUF_U32, METHOD_FILE_TYPE_UNSAID, err));
    TRY(gguf_meta_int(meta, "general.quantization_version", GGUF_U32, 2, err));
    TRY(gguf_meta_int(meta, "nutshell.compress.gradients", GGUF_BOOL, c->r->gradients, err));
    return gguf_meta_int(meta, "nutshell.compress.calibration_tokens", GGUF_U64, (int64_t)c->r->n_tokens,
                         err);
}

static nut_status wants(const void *ctx, const gguf_tensor *t, uint64_t *at, uint8_t **into, size_t *n,
                        nut_error *err) {
    const stepping *c = ctx;
    return coded_plan_wants(c->r->plan, t->name, at, into, n, err);
}

static nut_status begin_compress(stepping *c, const method *m, nut_error *err) {
    const nut_compress_options o = {.recipe = c->r->json};
    forget(c->work);
    nut_job_free(c->compress);
    c->compress = NULL;
    return compress_begin(m, &o, NULL, c, &c->compress, err);
}

/* Rows of a matrix as they are to be encoded. */
static void scale_rows(const stepping *c, const method_slice *s) {
    const float *columns = folds_columns(c->folds, s->tensor->name),
                *rows = folds_rows(c->folds, s->tensor->name);
    for (size_t r = 0; (columns || rows) && r < s->n_rows; r++)
        for (size_t i = 0; i < s->n_cols; i++)
            s->weights[r * s->n_cols + i] *= (rows ? rows[s->row + r] : 1) / (columns ? columns[i] : 1);
}

/* The same of norms and biases, which have one row. */
static bool change(const method_slice *s) {
    const stepping *c = s->ctx;
    const float *rows = s->tensor->n_dims == 1 ? folds_rows(c->folds, s->tensor->name) : NULL;
    for (size_t i = 0; rows && i < s->n_cols; i++) s->weights[i] *= rows[s->col + i];
    return rows;
}

/* ---- sizes of columns ---- */

static bool is_float(const gguf_tensor *t) {
    return format_by_ggml(t->ggml_type)->block == 1;
}

/* Matrices whose columns count are read as if they were to be encoded. */
static const format *plan_sizes(const nut_compress_options *o, const void *ctx, const gguf *model,
                                const gguf_tensor *t) {
    const stepping *c = ctx;
    (void)o;
    c->choices->model = model;
    return is_float(t) && coded_plan_has(c->r->plan, t->name) ? &format_table[FORMAT_Q8_0] : NULL;
}

static nut_status add_sizes(const method_slice *s, uint8_t *blocks, nut_error *err) {
    const stepping *c = s->ctx;
    coded_matrix m;
    memset(blocks, 0, s->n_rows * s->n_cols / s->to->block * s->to->bytes);
    if (!c->folds->all) TRY(folds_find(c->folds, c->choices->model, c->r->plan, err));
    if (coded_plan_find(c->r->plan, s->tensor->name, &m))
        folds_add(c->folds, s->tensor->name, s->weights, s->n_rows, m.sensitivity + s->row);
    return NUT_OK;
}

static const method method_sizes = {
    .name = "sizes", .whole_rows = true, .begin = set_meta, .plan = plan_sizes, .encode = add_sizes};

static nut_status begin_measure(stepping *c, nut_error *err);
static nut_status begin_write(stepping *c, nut_error *err);

static nut_status run_sizes(stepping *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->compress, &over, err));
    const nut_job_kind kind = c->job.event.kind;
    if (c->job.told && (kind == NUT_JOB_WRITE || kind == NUT_JOB_NOTE || kind == NUT_JOB_PROGRESS))
        c->job.told = false;
    if (!over) return NUT_OK;
    c->phase = c->type ? begin_write : begin_measure;
    return folds_end(c->folds, err);
}

static nut_status begin_sizes(stepping *c, nut_error *err) {
    c->phase = run_sizes;
    return begin_compress(c, &method_sizes, err);
}

/* ---- measuring ---- */

static bool is_fewer(const format *a, const format *b) {
    return a->bytes * b->block < b->bytes * a->block;
}

/* Types that the matrix can have: smaller ones, and its own where that is no float's, which nothing scales.
 */
static mix_item options_of(const gguf_tensor *t, uint64_t alignment) {
    const format *from = format_by_ggml(t->ggml_type);
    mix_item item = {.n = 0};
    for (size_t i = 0; i < FORMAT_COUNT && item.n < MIX_OPTIONS; i++) {
        const format *f = &format_table[i];
        if ((f != from || f->block == 1) && !(type_with_codes((format_id)i) && is_fewer(f, from))) continue;
        if (t->dims[0] % f->block) continue;
        const uint64_t n = t->dims[0] / f->block * t->dims[1] * f->bytes;
        item.options[item.n++] = (mix_option){.type = f->id, .bytes = n + gguf_padding(n, alignment)};
    }
    return item;
}

/* Any type that is not the matrix' own, so that it is encoded. */
static const format *plan_measured(const nut_compress_options *o, const void *ctx, const gguf *model,
                                   const gguf_tensor *t) {
    const stepping *c = ctx;
    const mix_item item = options_of(t, model->alignment);
    (void)o;
    c->choices->alignment = model->alignment;
    for (size_t i = 0; i < item.n && coded_plan_has(c->r->plan, t->name); i++)
        if (format_table[item.options[i].type].ggml_type != t->ggml_type)
            return &format_table[item.options[i].type];
    return NULL;
}

static nut_status add_item(choices *k, const gguf_tensor *t, const format *to, nut_error *err) {
    if (k->n == k->room) {
        const size_t room = 2 * k->n + 64;
        choice_name *names = mem_grow(k->names, k->n * sizeof *names, room * sizeof *names);
        if (names) k->names = names;
        mix_item *items = names ? mem_grow(k->items, k->n * sizeof *items, room * sizeof *items) : NULL;
        if (!items) return error_memory(err, room * sizeof *items);
        k->items = items;
        k->room = room;
    }
    k->names[k->n].n = (size_t)t->name.n;
    memcpy(k->names[k->n].s, t->name.s, (size_t)t->name.n);
    k->items[k->n++] = options_of(t, k->alignment);
    const uint64_t n = t->dims[0] / to->block * t->dims[1] * to->bytes;
    k->measured_bytes += n + gguf_padding(n, k->alignment);
    return NUT_OK;
}

/* Rows that stand for all: as many apart as give SAMPLED of them. */
static nut_status sample_rows(work *w, const method_slice *s, nut_error *err) {
    const size_t n = w->matrix.n_cols, every = w->matrix.n_rows / SAMPLED + !(w->matrix.n_rows / SAMPLED);
    if (!w->rows) {
        w->rows = mem_calloc(w->matrix.n_rows / every + 1, n * sizeof *w->rows);
        if (!w->rows) return error_memory(err, SAMPLED * n * sizeof *w->rows);
    }
    for (size_t i = 0; i < s->n_rows; i++) {
        const size_t row = (size_t)s->row + i;
        if (row % every) continue;
        memcpy(w->rows + w->n_rows++ * n, s->weights + i * n, n * sizeof *w->rows);
    }
    return NUT_OK;
}

/* What a type costs, as the rows that were sampled tell. */
static double loss_of_rows(const work *w, const float *scales) {
    const size_t every = w->matrix.n_rows / SAMPLED + !(w->matrix.n_rows / SAMPLED);
    double all = 0, felt = 0, loss = 0;
    for (size_t r = 0; r < w->matrix.n_rows; r++) all += (double)w->matrix.sensitivity[r];
    for (size_t i = 0; i < w->n_rows; i++) {
        felt += (double)w->matrix.sensitivity[i * every];
        const double scale =
            scales ? (double)scales[i * every] : 1; // the loss feels the row less by its square
        loss += (double)w->matrix.sensitivity[i * every] * w->loss[i] / (scale * scale);
    }
    return felt > 0 ? 0.5 * loss * all / felt : 0;
}

static nut_status measure(const method_slice *s, uint8_t *blocks, nut_error *err) {
    const stepping *c = s->ctx;
    choices *k = c->choices;
    memset(blocks, 0, s->n_rows * s->n_cols / s->to->block * s->to->bytes);
    if (s->row == 0) TRY(add_item(k, s->tensor, s->to, err));
    TRY(take_matrix(c, s->tensor, err));
    scale_rows(c, s);
    TRY(sample_rows(c->work, s, err));
    if (s->row + s->n_rows < c->work->matrix.n_rows) return NUT_OK;
    mix_item *item = &k->items[k->n - 1];
    for (size_t i = 0; i < item->n; i++) {
        const type_row *type = type_with_codes(item->options[i].type);
        if (!type || format_table[type->id].ggml_type == s->tensor->ggml_type) continue; // loses nothing
        TRY(round_rows(c, c->work->rows, c->work->n_rows, type, NULL, err));
        item->options[i].loss = loss_of_rows(c->work, folds_rows(c->folds, s->tensor->name));
    }
    return NUT_OK;
}

static const method method_measuring = {.name = "measuring",
                                        .whole_rows = true,
                                        .begin = set_meta,
                                        .plan = plan_measured,
                                        .wants = wants,
                                        .encode = measure};

/* ---- choosing ---- */

static nut_status choose(stepping *c, nut_error *err) {
    choices *k = c->choices;
    uint64_t least = 0;
    const uint64_t other = c->written - k->measured_bytes,
                   budget = c->target > other ? c->target - other : 0;
    if (!k->n)
        return error_set(err, NUT_E_ARGUMENT,
                         "no matrix of this model can be made smaller by step \"gptq\"; give a source of "
                         "higher precision");
    TRY(mix_choose(k->items, k->n, budget, &least, err));
    if (least > budget)
        return error_set(err, NUT_E_ARGUMENT,
                         "%.2f MB cannot be reached: this model takes at least %.2f MB in types that other "
                         "programs read; choose a larger size, or leave --portable out",
                         (double)c->target / 1e6, (double)(other + least) / 1e6);
    c->phase = begin_write;
    return NUT_OK;
}

/* What is written while the types are measured is counted. */
static nut_status run_measure(stepping *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->compress, &over, err));
    const nut_job_event *e = &c->job.event;
    if (c->job.told && e->kind == NUT_JOB_WRITE) {
        if (e->offset + e->n > c->written) c->written = e->offset + e->n;
        c->job.told = false;
    }
    if (c->job.told && e->kind == NUT_JOB_NOTE) c->job.told = false; // told when it is written
    scale_progress(c, 0, MEASURED_ENDS);
    if (over) c->phase = choose;
    return NUT_OK;
}

static nut_status begin_measure(stepping *c, nut_error *err) {
    c->phase = run_measure;
    return begin_compress(c, &method_measuring, err);
}

/* ---- writing ---- */

static const format *plan_written(const nut_compress_options *o, const void *ctx, const gguf *model,
                                  const gguf_tensor *t) {
    const stepping *c = ctx;
    const choices *k = c->choices;
    (void)o, (void)model;
    if (!coded_plan_has(c->r->plan, t->name)) return NULL;
    if (c->type)
        return &format_table[t->dims[0] % c->type->block ? type_with_codes(c->type->id)->shorter
                                                         : c->type->id];
    for (size_t i = 0; i < k->n; i++)
        if (k->names[i].n == t->name.n && !memcmp(k->names[i].s, t->name.s, k->names[i].n))
            return &format_table[k->items[i].options[k->items[i].chosen].type];
    return NULL;
}

static nut_status encode(const method_slice *s, uint8_t *blocks, nut_error *err) {
    const stepping *c = s->ctx;
    TRY(take_matrix(c, s->tensor, err));
    scale_rows(c, s);
    return round_rows(c, s->weights, s->n_rows, type_with_codes(s->to->id), blocks, err);
}

static const method method_written = {.name = "gptq",
                                      .whole_rows = true,
                                      .begin = set_meta,
                                      .plan = plan_written,
                                      .wants = wants,
                                      .change = change,
                                      .encode = encode};

static nut_status run_write(stepping *c, nut_error *err);

static nut_status begin_write(stepping *c, nut_error *err) {
    c->phase = run_write;
    c->written = 0;
    return begin_compress(c, &method_written, err);
}

static nut_status finish(stepping *c, nut_error *err) {
    (void)err;
    job_done(&c->job);
    return NUT_OK;
}

/* "77.00 MB, 4.58 bits a weight; iq4_nl 180, q5_0 31 matrices" */
static void note_result(stepping *c) {
    const choices *k = c->choices;
    size_t n = (size_t)snprintf(c->note, sizeof c->note, "%.2f MB, %.2f bits a weight",
                                (double)c->written / 1e6, 8 * (double)c->written / (double)c->r->n_weights);
    for (size_t f = 0, n_listed = 0; f < FORMAT_COUNT; f++) {
        size_t n_of = 0;
        for (size_t i = 0; i < k->n; i++)
            n_of += k->items[i].options[k->items[i].chosen].type == (format_id)f;
        if (n_of && n < sizeof c->note)
            n += (size_t)snprintf(c->note + n, sizeof c->note - n, "%s %zu in %s",
                                  n_listed++ ? "," : "; matrices:", n_of, format_table[f].name);
    }
    job_note(&c->job, c->note);
}

static nut_status run_write(stepping *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->compress, &over, err));
    const nut_job_event *e = &c->job.event;
    if (c->job.told && e->kind == NUT_JOB_WRITE && e->offset + e->n > c->written)
        c->written = e->offset + e->n;
    scale_progress(c, c->type ? 0 : MEASURED_ENDS, ALL);
    if (!over) return NUT_OK;
    note_result(c);
    c->phase = finish;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    stepping *c = (stepping *)job;
    return c->phase(c, err);
}

static void free_job(nut_job *job) {
    stepping *c = (stepping *)job;
    nut_job_free(c->compress);
    if (c->work) forget(c->work);
    if (c->folds) folds_free(c->folds);
    mem_free(c->folds);
    if (c->choices) mem_free(c->choices->names), mem_free(c->choices->items);
    mem_free(c->work);
    mem_free(c->choices);
    mem_free(c);
}

/* "q8_0, q4_0, ..." */
static nut_status no_type(const char *type, nut_error *err) {
    char names[200] = "";
    for (size_t i = 0, n = 0; i < FORMAT_COUNT && n < sizeof names; i++)
        if (type_with_codes((format_id)i))
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", format_table[i].name);
    return error_set(err, NUT_E_ARGUMENT, "step \"gptq\" cannot write type \"%.20s\"; choose one of %s",
                     type, names);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    const format *type = *v->type ? format_by_name(v->type) : NULL;
    if (*v->type && !(type && type_with_codes(type->id))) return no_type(v->type, err);
    stepping *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    c->job.ops = &ops;
    c->r = r;
    c->values = *v;
    c->type = type;
    c->phase = !v->unscaled && r->gradients ? begin_sizes : type ? begin_write : begin_measure;
    c->target = (uint64_t)(v->size > 0 ? v->size : v->bpw * (double)r->n_weights / 8);
    c->work = mem_calloc(1, sizeof *c->work);
    c->choices = mem_calloc(1, sizeof *c->choices);
    *out = &c->job;
    c->folds = mem_calloc(1, sizeof *c->folds);
    return c->work && c->choices && c->folds ? NUT_OK : error_memory(err, sizeof *c->choices);
}

static const recipe_option options[] = {
    {"type", RECIPE_TEXT, offsetof(recipe_values, type), 0, 0},
    {"size", RECIPE_SIZE, offsetof(recipe_values, size), 1, 1e15},
    {"bpw", RECIPE_NUMBER, offsetof(recipe_values, bpw), 0.1, 32},
    {"alone", RECIPE_FLAG, offsetof(recipe_values, alone), 0, 0},
    {"unscaled", RECIPE_FLAG, offsetof(recipe_values, unscaled), 0, 0},
};

const recipe_kind recipe_gptq = {.name = "gptq",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .needs = RECIPE_STATISTICS,
                                 .gives = RECIPE_MODEL | RECIPE_LAST,
                                 .sized = true,
                                 .share = 20,
                                 .begin = begin};
