/* Folding by name: see fold.h. */
#include "compress/fold.h"

#include "base/error.h"
#include "base/mem.h"
#include "kernels/formats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_NAME = 64 }; // bytes: gguf.c
static const double most_scale = 64;

static const fold_law laws[] = {
    {.name = "columns", .weights = 1},
    {.name = "smooth", .inputs = -1},
    {.name = "awq", .searched = true},
    {.name = "none", .none = true},
};
enum { N_LAWS = sizeof laws / sizeof *laws };

/* Matrices that share an input, and what gives it. */
static const struct {
    const char *matrices[3], *giver;
    bool is_norm; // of the giver
} kinds[FOLD_KINDS] = {
    {{"attn_q", "attn_k", "attn_v"}, "attn_norm", true},
    {{"ffn_gate", "ffn_up", NULL}, "ffn_norm", true},
    {{"ffn_down", NULL, NULL}, "ffn_up", false},
    {{"attn_output", NULL, NULL}, "attn_v", false},
};

/* What a layer that is folded may have. */
static const char *const known[] = {
    "attn_norm", "attn_q", "attn_k",   "attn_v",   "attn_output",         "attn_q_norm",  "attn_k_norm",
    "ffn_norm",  "ffn_up", "ffn_gate", "ffn_down", "post_attention_norm", "post_ffw_norm"};

/* ---- names ---- */

/* A tensor of a layer: "blk.3.attn_q.weight". */
typedef struct place {
    size_t layer;
    char base[MOST_NAME]; // "attn_q"
    bool weight;          // else a bias
} place;

static bool find_place(gguf_str name, place *out) {
    char text[MOST_NAME + 1] = "", end[8] = "";
    memcpy(text, name.s, name.n < MOST_NAME ? (size_t)name.n : MOST_NAME);
    if (sscanf(text, "blk.%zu.%63[a-z0-9_].%7s", &out->layer, out->base, end) != 3) return false;
    out->weight = !strcmp(end, "weight");
    return out->weight || !strcmp(end, "bias");
}

static const gguf_tensor *tensor_of(const gguf *g, size_t layer, const char *base) {
    char name[MOST_NAME + 24];
    snprintf(name, sizeof name, "blk.%zu.%s.weight", layer, base);
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (gguf_str_is(g->tensors[i].name, name)) return &g->tensors[i];
    return NULL;
}

static bool is_known(const char *base) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(base, known[i])) return true;
    return false;
}

/* ---- finding ---- */

static bool is_float(const gguf_tensor *t) {
    const format *f = format_by_ggml(t->ggml_type);
    return f && f->block == 1;
}

/* Columns of a head of attention, where the metadata says it plainly; 0: not. */
static size_t head_columns(const gguf *g, size_t n_cols) {
    char key[MOST_NAME + 32];
    gguf_str arch;
    int64_t n = 0;
    if (gguf_get_str(g, "general.architecture", "", &arch, NULL) != NUT_OK || arch.n >= MOST_NAME) return 0;
    snprintf(key, sizeof key, "%.*s.attention.head_count", (int)arch.n, arch.s);
    const gguf_kv *heads = gguf_find(g, key);
    const bool plain = heads && heads->n == 1 && gguf_integer_at(heads, 0, &n) && n > 0;
    return plain && n_cols % (size_t)n == 0 ? n_cols / (size_t)n : 0;
}

/* Which columns are which rows; false where that is not plain. */
static bool find_map(const gguf *g, fold *f) {
    f->head = f->shared = 1;
    if (f->n_cols == f->n_rows) return true;
    f->head = head_columns(g, f->n_cols);
    f->shared = f->n_rows ? f->n_cols / f->n_rows : 0;
    return f->head && f->shared && f->shared * f->n_rows == f->n_cols && f->n_rows % f->head == 0;
}

static void find_fold(const gguf *g, const coded_plan *plan, size_t layer, size_t kind, fold *f) {
    const gguf_tensor *giver = tensor_of(g, layer, kinds[kind].giver);
    fold found = {0};
    if (!giver || !is_float(giver)) return;
    if (kinds[kind].is_norm ? format_by_ggml(giver->ggml_type)->id != FORMAT_F32
                            : !coded_plan_has(plan, giver->name))
        return;
    found.n_rows = (size_t)giver->dims[kinds[kind].is_norm ? 0 : 1];
    for (size_t i = 0; i < 3 && kinds[kind].matrices[i]; i++) {
        const gguf_tensor *t = tensor_of(g, layer, kinds[kind].matrices[i]);
        if (!t || !is_float(t) || !coded_plan_has(plan, t->name)) return;
        found.n_cols = (size_t)t->dims[0];
    }
    if (find_map(g, &found)) *f = found;
}

/* Layers that have anything else are left out, and the factor of up needs a gate beside it. */
static void drop_unknown(const gguf *g, folds *f) {
    place p;
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (find_place(g->tensors[i].name, &p) && p.layer < f->n_layer && !is_known(p.base))
            memset(f->all + p.layer * FOLD_KINDS, 0, FOLD_KINDS * sizeof *f->all);
    for (size_t l = 0; l < f->n_layer; l++)
        if (!tensor_of(g, l, "ffn_gate")) memset(f->all + l * FOLD_KINDS, 0, FOLD_KINDS * sizeof *f->all);
}

nut_status folds_find(folds *f, const gguf *model, const coded_plan *plan, nut_error *err) {
    place p;
    *f = (folds){0};
    for (uint64_t i = 0; i < model->n_tensors; i++)
        if (find_place(model->tensors[i].name, &p) && p.layer >= f->n_layer && p.layer < model->n_tensors)
            f->n_layer = p.layer + 1;
    f->all = mem_calloc(f->n_layer * FOLD_KINDS + 1, sizeof *f->all);
    if (!f->all) return error_memory(err, f->n_layer * FOLD_KINDS * sizeof *f->all);
    for (size_t i = 0; i < f->n_layer * FOLD_KINDS; i++)
        find_fold(model, plan, i / FOLD_KINDS, i % FOLD_KINDS, &f->all[i]);
    drop_unknown(model, f);
    for (size_t i = 0; i < f->n_layer * FOLD_KINDS; i++) {
        if (!f->all[i].n_cols) continue;
        f->all[i].power = mem_calloc(f->all[i].n_cols, sizeof(double));
        f->all[i].input = mem_calloc(f->all[i].n_cols, sizeof(double));
        if (!f->all[i].power || !f->all[i].input)
            return error_memory(err, f->all[i].n_cols * sizeof(double));
    }
    return NUT_OK;
}

void folds_free(folds *f) {
    for (size_t i = 0; f->all && i < f->n_layer * FOLD_KINDS; i++) {
        mem_free(f->all[i].power);
        mem_free(f->all[i].input);
        mem_free(f->all[i].sample);
        mem_free(f->all[i].felt);
        mem_free(f->all[i].columns);
        mem_free(f->all[i].rows);
    }
    mem_free(f->all);
    *f = (folds){0};
}

/* ---- sizes ---- */

/* The fold of a matrix' columns; NULL: there is none. */
static fold *of_columns(const folds *f, gguf_str tensor) {
    place p;
    if (!find_place(tensor, &p) || !p.weight || p.layer >= f->n_layer) return NULL;
    for (size_t k = 0; k < FOLD_KINDS; k++)
        for (size_t i = 0; i < 3 && kinds[k].matrices[i]; i++)
            if (!strcmp(kinds[k].matrices[i], p.base) && f->all[p.layer * FOLD_KINDS + k].n_cols)
                return &f->all[p.layer * FOLD_KINDS + k];
    return NULL;
}

bool folds_counts(const folds *f, gguf_str tensor) {
    return of_columns(f, tensor);
}

void folds_add(folds *f, gguf_str tensor, const float *rows, size_t n_rows, const float *sensitivity) {
    const fold *to = of_columns(f, tensor);
    for (size_t r = 0; to && r < n_rows; r++)
        for (size_t c = 0; c < to->n_cols; c++) {
            const double w = (double)rows[r * to->n_cols + c];
            to->power[c] += (double)sensitivity[r] * w * w;
        }
}

void folds_add_input(folds *f, gguf_str tensor, const double *squares) {
    const fold *to = of_columns(f, tensor);
    if (to) memcpy(to->input, squares, to->n_cols * sizeof *squares);
}

nut_status folds_sample(folds *f, gguf_str tensor, const float *rows, size_t n_rows,
                        const float *sensitivity, nut_error *err) {
    fold *to = of_columns(f, tensor);
    if (!to || !n_rows) return NUT_OK;
    const size_t n = to->n_sample, row = to->n_cols * sizeof(float);
    float *sample = mem_grow(to->sample, n * row, (n + n_rows) * row);
    if (sample) to->sample = sample;
    float *felt = sample ? mem_grow(to->felt, n * sizeof *felt, (n + n_rows) * sizeof *felt) : NULL;
    if (!felt) return error_memory(err, (n + n_rows) * row);
    to->felt = felt;
    memcpy(sample + n * to->n_cols, rows, n_rows * row);
    memcpy(felt + n, sensitivity, n_rows * sizeof *felt);
    to->n_sample += n_rows;
    return NUT_OK;
}

static size_t row_of(const fold *f, size_t c) {
    return f->shared == 1 ? c : c / f->head / f->shared * f->head + c % f->head;
}

/* The logarithm of a scale; false where a square is 0 that it depends on. */
static bool log_scale(double power, double input, double weights, double inputs, double *out) {
    if ((weights != 0 && !(power > 0)) || (inputs != 0 && !(input > 0))) return false;
    *out = (weights != 0 ? weights * log(power) / 2 : 0) - (inputs != 0 ? inputs * log(input) / 2 : 0);
    return true;
}

/* Columns of the same row count together. sums (2, n_rows), of squares of weights and of inputs. */
static void find_scales(fold *f, double *sums, double weights, double inputs) {
    double sum = 0, log_of = 0, *power = sums, *input = sums + f->n_rows;
    size_t n = 0;
    for (size_t c = 0; c < f->n_cols; c++) {
        power[row_of(f, c)] += f->power[c];
        input[row_of(f, c)] += f->input[c];
    }
    for (size_t r = 0; r < f->n_rows; r++)
        if (log_scale(power[r], input[r], weights, inputs, &log_of)) sum += log_of, n++;
    for (size_t r = 0; r < f->n_rows; r++) {
        const bool there = log_scale(power[r], input[r], weights, inputs, &log_of);
        const double scale = there ? exp(log_of - sum / (double)n) : 1;
        f->rows[r] = (float)fmin(fmax(scale, 1 / most_scale), most_scale);
    }
    for (size_t c = 0; c < f->n_cols; c++) f->columns[c] = f->rows[row_of(f, c)];
}

nut_status fold_scale(fold *f, double weights, double inputs, nut_error *err) {
    double *sums = mem_calloc(f->n_rows, 2 * sizeof *sums);
    if (!f->columns) f->columns = mem_calloc(f->n_cols, sizeof *f->columns);
    if (!f->rows) f->rows = mem_calloc(f->n_rows, sizeof *f->rows);
    const bool there = sums && f->columns && f->rows;
    if (there) find_scales(f, sums, weights, inputs);
    mem_free(sums);
    return there ? NUT_OK : error_memory(err, f->n_cols * sizeof *sums);
}

nut_status folds_end(folds *f, double weights, double inputs, nut_error *err) {
    for (size_t i = 0; i < f->n_layer * FOLD_KINDS; i++)
        if (f->all[i].n_cols) TRY(fold_scale(&f->all[i], weights, inputs, err));
    return NUT_OK;
}

nut_status fold_law_find(const char *name, const fold_law **out, nut_error *err) {
    char names[80] = "";
    if (!*name) name = laws[0].name;
    for (size_t i = 0, n = 0; i < N_LAWS; i++) {
        if (!strcmp(laws[i].name, name)) return *out = &laws[i], NUT_OK;
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", laws[i].name);
    }
    return error_set(err, NUT_E_ARGUMENT, "there are no scales of columns \"%.20s\"; choose one of %s", name,
                     names);
}

/* ---- scales ---- */

const float *folds_columns(const folds *f, gguf_str tensor) {
    const fold *of = of_columns(f, tensor);
    return of ? of->columns : NULL;
}

const float *folds_rows(const folds *f, gguf_str tensor) {
    place p;
    if (!find_place(tensor, &p) || p.layer >= f->n_layer) return NULL;
    for (size_t k = 0; k < FOLD_KINDS; k++)
        if (!strcmp(kinds[k].giver, p.base)) return f->all[p.layer * FOLD_KINDS + k].rows;
    return NULL;
}
