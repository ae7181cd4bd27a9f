/*
 * The step that writes types which other programs read, by rounding with feedback (gptq_blocks.h):
 * {"step": "gptq", "type": "iq4_nl"} writes every matrix in one type; {"step": "gptq", "size": "77MB"} gives
 * each matrix a type of its own, with "own" of this engine's types too (choices.h). For the latter some rows
 * of each matrix are rounded into each type; what that costs is the loss that calibration expects, 1/2 sum
 * over rows of F_r times the row's error times H times itself (coded_plan.h), and a knapsack (mix.h)
 * chooses. For a type whose tensors have tables the rows tell the table (table.h).
 */
#include "base/error.h"
#include "base/mem.h"
#include "base/xxhash.h"
#include "compress/awq.h"
#include "compress/choices.h"
#include "compress/descend.h"
#include "compress/fold.h"
#include "compress/gptq_blocks.h"
#include "compress/method.h"
#include "compress/recipe.h"
#include "compress/sampled.h"
#include "compress/table.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { SAMPLED_SCALES = 16 };             // rows by which the power of a matrix' scales is chosen
enum { MEASURED_ENDS = 500, ALL = 1000 }; // shares of the step's time

/* What encoding works with: one matrix. */
typedef struct work {
    const gguf_tensor *tensor; // whose factor is here; NULL: none
    coded_matrix matrix;
    float *shares;     // (n_cols, n_cols); NULL: there are none
    float *hessian;    // (n_cols, n_cols) damped, where rounding is learned; NULL: it is not, or no shares
    float *spread;     // (n_cols)
    float *importance; // (n_cols)
    float *error;      // (n, n_cols)
    double *loss;      // (n)
    size_t n;
    sampled sampled; // rows that are measured
    float *rows;     // (n_rows, n_cols) of those, as far as they were read
    size_t n_rows;
} work;

typedef struct stepping {
    nut_job job;
    nut_status (*phase)(struct stepping *c, nut_error *err); // what the next step does
    recipe *r;
    recipe_values values;
    nut_job *compress;
    const format *type; // of all; NULL: a type for each
    const fold_law *law;
    size_t searched;  // folds whose scales were looked for
    uint64_t target;  // bytes
    uint64_t written; // bytes of the file so far
    choices *choices;
    uint8_t *kept; // (n_kept) the record of what was measured, while it is read or written
    size_t n_kept;
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
    mem_free(w->hessian);
    mem_free(w->spread);
    mem_free(w->importance);
    mem_free(w->error);
    mem_free(w->loss);
    mem_free(w->rows);
    sampled_free(&w->sampled);
    *w = (work){0};
}

/* What an error in a column costs: by itself where errors are not passed on (the diagonal of H = R R^T), and
 * else at the least. */
static double weight_of(const work *w, size_t i, bool alone) {
    const size_t n = w->matrix.n_cols;
    const float r = 1 / w->spread[i];
    double sum = (double)r * (double)r;
    for (size_t j = i + 1; alone && w->shares && j < n; j++) {
        const double at = (double)(w->shares[i * n + j] / w->spread[j]);
        sum += at * at;
    }
    return sum;
}

static void weigh_columns(work *w, bool alone) {
    for (size_t i = 0; i < w->matrix.n_cols; i++) w->importance[i] = (float)weight_of(w, i, alone);
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

/* H = R R^T. */
static nut_status multiply_factor(dense *d, work *w, nut_error *err) {
    const size_t n = w->matrix.n_cols;
    float *r = mem_calloc(n, n * sizeof *r);
    w->hessian = mem_calloc(n, n * sizeof *w->hessian);
    for (size_t i = 0; r && w->hessian && i < n; i++)
        for (size_t j = i; j < n; j++) r[i * n + j] = (j > i ? w->shares[i * n + j] : 1) / w->spread[j];
    if (r && w->hessian)
        dense_mul_f32(d, &(dense_product){.m = n, .n = n, .k = n, .ldc = n}, (dense_f32){r, n, 1},
                      (dense_f32){r, 1, n}, 1, w->hessian);
    mem_free(r);
    return r && w->hessian ? NUT_OK : error_memory(err, 2 * n * n * sizeof(float));
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
    if (w->shares && c->values.learned) TRY(multiply_factor(coded_plan_dense(c->r->plan), w, err));
    w->tensor = t;
    return NUT_OK;
}

static void set_table(const void *ctx, const gguf_tensor *t, uint8_t *table) {
    const stepping *c = ctx;
    const choice_name *name = choices_find(c->choices, t);
    if (name) memcpy(table, name->table, FORMAT_TABLE);
}

/* Rounds rows of the matrix that was taken. Rows that are only measured learn nothing. */
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
    if (w->hessian && blocks)
        return descend(coded_plan_dense(c->r->plan), &g, w->hessian, blocks, w->loss, err);
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

/* The rows of a slice that stand for others, those whose number `every` divides, at its beginning. */
static size_t keep_some(const method_slice *s, const float *sensitivity, size_t every, float *felt) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        if ((s->row + i) % every) continue;
        memmove(s->weights + n * s->n_cols, s->weights + i * s->n_cols, s->n_cols * sizeof *s->weights);
        felt[n++] = sensitivity[s->row + i];
    }
    return n;
}

static nut_status sample_scales(const stepping *c, const method_slice *s, const coded_matrix *m,
                                nut_error *err) {
    const size_t every = m->n_rows / SAMPLED_SCALES + !(m->n_rows / SAMPLED_SCALES);
    float *felt = mem_calloc(s->n_rows, sizeof *felt);
    if (!felt) return error_memory(err, s->n_rows * sizeof *felt);
    const size_t n = keep_some(s, m->sensitivity, every, felt);
    const nut_status status = folds_sample(c->folds, s->tensor->name, s->weights, n, felt, err);
    mem_free(felt);
    return status;
}

static nut_status add_input(const stepping *c, const gguf_tensor *t, nut_error *err) {
    TRY(take_matrix(c, t, err));
    double *squares = mem_calloc(c->work->matrix.n_cols, sizeof *squares);
    if (!squares) return error_memory(err, c->work->matrix.n_cols * sizeof *squares);
    for (size_t i = 0; i < c->work->matrix.n_cols; i++) squares[i] = weight_of(c->work, i, true);
    folds_add_input(c->folds, t->name, squares);
    mem_free(squares);
    return NUT_OK;
}

/* Whether scales depend on the inputs. */
static bool needs_inputs(const fold_law *law) {
    return law->searched || law->inputs != 0;
}

static nut_status add_sizes(const method_slice *s, uint8_t *blocks, nut_error *err) {
    const stepping *c = s->ctx;
    coded_matrix m;
    memset(blocks, 0, s->n_rows * s->n_cols / s->to->block * s->to->bytes);
    if (!c->folds->all) TRY(folds_find(c->folds, c->choices->model, c->r->plan, err));
    if (!folds_counts(c->folds, s->tensor->name) || !coded_plan_find(c->r->plan, s->tensor->name, &m))
        return NUT_OK;
    folds_add(c->folds, s->tensor->name, s->weights, s->n_rows, m.sensitivity + s->row);
    if (needs_inputs(c->law) && s->row == 0) TRY(add_input(c, s->tensor, err));
    return c->law->searched ? sample_scales(c, s, &m, err) : NUT_OK;
}

static nut_status wants_inputs(const void *ctx, const gguf_tensor *t, uint64_t *at, uint8_t **into,
                               size_t *n, nut_error *err) {
    const stepping *c = ctx;
    *n = 0;
    return needs_inputs(c->law) ? wants(ctx, t, at, into, n, err) : NUT_OK;
}

static const method method_sizes = {.name = "sizes",
                                    .whole_rows = true,
                                    .begin = set_meta,
                                    .plan = plan_sizes,
                                    .wants = wants_inputs,
                                    .encode = add_sizes};

static nut_status begin_measure(stepping *c, nut_error *err);
static nut_status begin_write(stepping *c, nut_error *err);

/* Types of all matrices that have no tables are written at once. */
static bool measures(const format *type) {
    return !type || format_has_table(type);
}

static nut_status (*after_sizes(const format *type))(stepping *, nut_error *) {
    return measures(type) ? begin_measure : begin_write;
}

static nut_status end_sizes(stepping *c) {
    forget(c->work); // of columns without scales
    c->phase = after_sizes(c->type);
    return NUT_OK;
}

/* One input of a layer. Where each matrix gets a type of its own, or one with a table, most have four bits.
 */
static nut_status run_search(stepping *c, nut_error *err) {
    const type_row *type = type_with_codes(measures(c->type) ? FORMAT_IQ4_NL : c->type->id);
    if (c->searched == c->folds->n_layer * FOLD_KINDS) return end_sizes(c);
    fold *f = &c->folds->all[c->searched++];
    return f->n_cols ? awq_choose(coded_plan_dense(c->r->plan), type, f, err) : NUT_OK;
}

static nut_status run_sizes(stepping *c, nut_error *err) {
    const fold_law *law = c->law;
    const double alpha = c->values.alpha > 0 ? c->values.alpha : 0.5;
    bool over = false;
    TRY(job_forward(&c->job, c->compress, &over, err));
    const nut_job_kind kind = c->job.event.kind;
    if (c->job.told && (kind == NUT_JOB_WRITE || kind == NUT_JOB_NOTE || kind == NUT_JOB_PROGRESS))
        c->job.told = false;
    if (!over) return NUT_OK;
    if (law->searched) {
        c->phase = run_search;
        return NUT_OK;
    }
    TRY(folds_end(c->folds, law->inputs < 0 ? 1 - alpha : law->weights,
                  law->inputs < 0 ? alpha : law->inputs, err));
    return end_sizes(c);
}

static nut_status begin_sizes(stepping *c, nut_error *err) {
    c->phase = run_sizes;
    return begin_compress(c, &method_sizes, err);
}

/* ---- measuring ---- */

static const format *plan_written(const nut_compress_options *o, const void *ctx, const gguf *model,
                                  const gguf_tensor *t);

/* Any type that is not the matrix' own, so that it is encoded. */
static const format *plan_measured(const nut_compress_options *o, const void *ctx, const gguf *model,
                                   const gguf_tensor *t) {
    const stepping *c = ctx;
    const mix_item item = choices_options(c->choices, t, model->alignment);
    c->choices->alignment = model->alignment;
    if (c->type) {
        const format *to = plan_written(o, ctx, model, t);
        return to && format_has_table(to) ? to : NULL;
    }
    for (size_t i = 0; i < item.n && coded_plan_has(c->r->plan, t->name); i++)
        if (format_table[item.options[i].type].ggml_type != t->ggml_type)
            return &format_table[item.options[i].type];
    return NULL;
}

/* Rows that stand for all. */
static nut_status sample_rows(work *w, const method_slice *s, nut_error *err) {
    const size_t n = w->matrix.n_cols;
    if (!w->rows) {
        TRY(sampled_choose(w->matrix.sensitivity, w->matrix.n_rows, &w->sampled, err));
        w->rows = mem_calloc(w->sampled.n + 1, n * sizeof *w->rows);
        if (!w->rows) return error_memory(err, w->sampled.n * n * sizeof *w->rows);
    }
    for (; w->n_rows < w->sampled.n && w->sampled.rows[w->n_rows] < s->row + s->n_rows; w->n_rows++)
        memcpy(w->rows + w->n_rows * n, s->weights + (w->sampled.rows[w->n_rows] - (size_t)s->row) * n,
               n * sizeof *w->rows);
    return NUT_OK;
}

/* What the loss feels of a row that was sampled: less by the square of the row's scale. */
static double felt_of(const work *w, size_t i, const float *scales) {
    const double scale = scales ? (double)scales[w->sampled.rows[i]] : 1;
    return (double)w->sampled.parts[i] / (scale * scale);
}

/* What a type costs, as the rows that were sampled tell. */
static double loss_of_rows(const work *w, const float *scales) {
    double loss = 0;
    for (size_t i = 0; i < w->n_rows; i++) loss += felt_of(w, i, scales) * w->loss[i];
    return 0.5 * loss;
}

static nut_status learn_table(const work *w, const float *scales, format_id id, uint8_t *table,
                              nut_error *err) {
    float *felt = mem_calloc(w->n_rows, sizeof *felt);
    if (!felt) return error_memory(err, w->n_rows * sizeof *felt);
    for (size_t i = 0; i < w->n_rows; i++) felt[i] = (float)felt_of(w, i, scales);
    memcpy(table, format_lut_values, FORMAT_TABLE);
    table_learn(id, &(table_rows){w->rows, w->importance, felt, w->n_rows, w->matrix.n_cols}, table);
    mem_free(felt);
    return NUT_OK;
}

/* The loss of one type of the matrix that was added last. Its own loses nothing. */
static nut_status measure_option(const stepping *c, const gguf_tensor *t, size_t i, const float *scales,
                                 nut_error *err) {
    choice_name *name = &c->choices->names[c->choices->n - 1];
    mix_option *option = &c->choices->items[c->choices->n - 1].options[i];
    const type_row *type = type_with_codes(option->type);
    table_type with;
    if (!type || format_table[option->type].ggml_type == t->ggml_type) return NUT_OK;
    if (format_has_table(&format_table[option->type])) {
        TRY(learn_table(c->work, scales, option->type, name->table, err));
        table_type_set(&with, option->type, name->table);
        type = &with.row;
    }
    TRY(round_rows(c, c->work->rows, c->work->n_rows, type, NULL, err));
    option->loss = loss_of_rows(c->work, scales);
    return NUT_OK;
}

static nut_status measure(const method_slice *s, uint8_t *blocks, nut_error *err) {
    const stepping *c = s->ctx;
    choices *k = c->choices;
    memset(blocks, 0, s->n_rows * s->n_cols / s->to->block * s->to->bytes);
    if (s->row == 0) TRY(choices_add(k, s->tensor, s->to, err));
    TRY(take_matrix(c, s->tensor, err));
    scale_rows(c, s);
    TRY(sample_rows(c->work, s, err));
    if (s->row + s->n_rows < c->work->matrix.n_rows) return NUT_OK;
    const float *scales = folds_rows(c->folds, s->tensor->name);
    if (c->type) return learn_table(c->work, scales, s->to->id, k->names[k->n - 1].table, err);
    for (size_t i = 0; i < k->items[k->n - 1].n; i++) TRY(measure_option(c, s->tensor, i, scales, err));
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
    const uint64_t other = k->written - k->measured_bytes,
                   budget = c->target > other ? c->target - other : 0;
    if (!k->n)
        return error_set(err, NUT_E_ARGUMENT,
                         "no matrix of this model can be made smaller by step \"gptq\"; give a source of "
                         "higher precision");
    TRY(mix_choose(k->items, k->n, budget, &least, err));
    if (least > budget)
        return error_set(err, NUT_E_ARGUMENT,
                         "%.2f MB cannot be reached: this model takes at least %.2f MB in types %s",
                         (double)c->target / 1e6, (double)(other + least) / 1e6,
                         k->own ? "without a decoder; choose a larger size, or step \"coded\""
                                : "that other programs read; choose a larger size, or leave --portable out");
    c->phase = begin_write;
    return NUT_OK;
}

/* ---- what was measured before ---- */

/* What the record depends on, beside what the state is for: the types that there are, and the recipe, which
 * the file has in its metadata. */
static uint32_t measured_number(const stepping *c) {
    char text[96];
    const int n =
        snprintf(text, sizeof text, "%08x %d %d %s %.6g %zu", (unsigned)choices_types(), c->values.alone,
                 c->values.own, c->law->name, c->values.alpha, c->r->json ? strlen(c->r->json) : 0);
    return xxhash32((const uint8_t *)text, (size_t)n);
}

static nut_status start_measure(stepping *c, nut_error *err);

static nut_status take_measured(stepping *c, nut_error *err) {
    bool taken;
    TRY(choices_take(c->choices, c->kept, c->n_kept, &taken, err));
    if (taken) {
        c->phase = choose;
        return NUT_OK;
    }
    mem_free(c->kept); // of another build
    c->kept = NULL;
    return start_measure(c, err);
}

static nut_status save_measured(stepping *c, nut_error *err) {
    bool ready = false;
    if (!c->choices->n) return choose(c, err);
    if (!c->kept) TRY(choices_pack(c->choices, &c->kept, &c->n_kept, err));
    TRY(state_write(&c->r->state, &c->job, NULL, RECIPE_LOSSES, measured_number(c), c->kept, c->n_kept,
                    &ready, err));
    if (ready) c->phase = choose;
    return NUT_OK;
}

/* What is written while the types are measured is counted. */
static nut_status run_measure(stepping *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->compress, &over, err));
    const nut_job_event *e = &c->job.event;
    if (c->job.told && e->kind == NUT_JOB_WRITE) {
        if (e->offset + e->n > c->choices->written) c->choices->written = e->offset + e->n;
        c->job.told = false;
    }
    if (c->job.told && e->kind == NUT_JOB_NOTE) c->job.told = false; // told when it is written
    scale_progress(c, 0, MEASURED_ENDS);
    if (over) c->phase = c->type ? begin_write : save_measured;
    return NUT_OK;
}

static nut_status start_measure(stepping *c, nut_error *err) {
    c->phase = run_measure;
    return begin_compress(c, &method_measuring, err);
}

static nut_status begin_measure(stepping *c, nut_error *err) {
    const state_record *rec = c->type ? NULL : state_find(&c->r->state, RECIPE_LOSSES, measured_number(c));
    if (!rec) return start_measure(c, err);
    c->n_kept = (size_t)rec->n;
    c->kept = mem_alloc(c->n_kept);
    if (!c->kept) return error_memory(err, rec->n);
    state_want(rec, &c->job, c->kept);
    c->phase = take_measured;
    return NUT_OK;
}

/* ---- writing ---- */

static const format *plan_written(const nut_compress_options *o, const void *ctx, const gguf *model,
                                  const gguf_tensor *t) {
    const stepping *c = ctx;
    const choices *k = c->choices;
    (void)o, (void)model;
    if (!coded_plan_has(c->r->plan, t->name)) return NULL;
    if (c->type) return type_for(c->type, t);
    const choice_name *name = choices_find(c->choices, t);
    if (!name) return NULL;
    const mix_item *item = &k->items[name - k->names];
    return &format_table[item->options[item->chosen].type];
}

static nut_status encode(const method_slice *s, uint8_t *blocks, nut_error *err) {
    const stepping *c = s->ctx;
    const type_row *type = type_with_codes(s->to->id);
    table_type with;
    TRY(take_matrix(c, s->tensor, err));
    scale_rows(c, s);
    if (format_has_table(s->to)) {
        table_type_set(&with, s->to->id, choices_find(c->choices, s->tensor)->table);
        type = &with.row;
    }
    return round_rows(c, s->weights, s->n_rows, type, blocks, err);
}

static const method method_written = {.name = "gptq",
                                      .whole_rows = true,
                                      .begin = set_meta,
                                      .plan = plan_written,
                                      .wants = wants,
                                      .table = set_table,
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
    char types[320] = "";
    if (!c->type) choices_note(c->choices, types, sizeof types);
    snprintf(c->note, sizeof c->note, "%.2f MB, %.2f bits a weight%s", (double)c->written / 1e6,
             8 * (double)c->written / (double)c->r->n_weights, types);
    job_note(&c->job, c->note);
}

static nut_status run_write(stepping *c, nut_error *err) {
    bool over = false;
    TRY(job_forward(&c->job, c->compress, &over, err));
    const nut_job_event *e = &c->job.event;
    if (c->job.told && e->kind == NUT_JOB_WRITE && e->offset + e->n > c->written)
        c->written = e->offset + e->n;
    scale_progress(c, measures(c->type) ? MEASURED_ENDS : 0, ALL);
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
    if (c->choices) choices_free(c->choices);
    mem_free(c->kept);
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

static nut_status check(const recipe_values *v, nut_error *err) {
    const format *type = format_by_name(v->type);
    const fold_law *law;
    if (*v->type && !(type && type_with_codes(type->id))) return no_type(v->type, err);
    if (v->own && *v->type)
        return error_set(
            err, NUT_E_ARGUMENT,
            "\"own\" says which types a file of a \"size\" may have; with a \"type\" there is no "
            "choice: leave it out");
    TRY(fold_law_find(v->scales, &law, err));
    if (v->alpha > 0 && law->inputs >= 0)
        return error_set(err, NUT_E_ARGUMENT,
                         "\"alpha\" is how much of the inputs' sizes goes into scales \"smooth\"; scales "
                         "\"%s\" have none",
                         law->name);
    return NUT_OK;
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    const format *type = *v->type ? format_by_name(v->type) : NULL;
    const fold_law *law;
    TRY(fold_law_find(v->scales, &law, err));
    stepping *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    c->job.ops = &ops;
    c->r = r;
    c->values = *v;
    c->type = type;
    c->law = law;
    const bool scaled = !law->none && (r->gradients || *v->scales);
    c->phase = scaled ? begin_sizes : after_sizes(type);
    c->target = (uint64_t)(v->size > 0 ? v->size : v->bpw * (double)r->n_weights / 8);
    c->work = mem_calloc(1, sizeof *c->work);
    c->choices = mem_calloc(1, sizeof *c->choices);
    *out = &c->job;
    c->folds = mem_calloc(1, sizeof *c->folds);
    if (!c->work || !c->choices || !c->folds) return error_memory(err, sizeof *c->choices);
    c->choices->own = v->own;
    return NUT_OK;
}

static const recipe_option options[] = {
    {"type", RECIPE_TEXT, offsetof(recipe_values, type), 0, 0},
    {"size", RECIPE_SIZE, offsetof(recipe_values, size), 1, 1e15},
    {"bpw", RECIPE_NUMBER, offsetof(recipe_values, bpw), 0.1, 32},
    {"own", RECIPE_FLAG, offsetof(recipe_values, own), 0, 0},
    {"alone", RECIPE_FLAG, offsetof(recipe_values, alone), 0, 0},
    {"learned", RECIPE_FLAG, offsetof(recipe_values, learned), 0, 0},
    {"scales", RECIPE_TEXT, offsetof(recipe_values, scales), 0, 0},
    {"alpha", RECIPE_NUMBER, offsetof(recipe_values, alpha), 0.01, 1},
};

const recipe_kind recipe_gptq = {.name = "gptq",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .needs = RECIPE_STATISTICS,
                                 .gives = RECIPE_MODEL | RECIPE_LAST,
                                 .sized = true,
                                 .share = 20,
                                 .begin = begin,
                                 .check = check};
