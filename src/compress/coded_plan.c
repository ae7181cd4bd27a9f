/* Factors are kept as half floats, in units in which they are near 1: half of what floats would take, and
 * for weights of 3 to 6 bits no different. */
#include "compress/coded_plan.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/half.h"
#include "base/mem.h"
#include "compress/factor.h"
#include "compress/gptq.h"

#include <math.h>
#include <string.h>

enum { ROWS_AT_ONCE = 1024 };
static const double least_of_rows = 1e-3, least_of_tokens = 1e-2; // of the mean sensitivity

/* Of the input of one or more matrices. */
typedef struct input {
    size_t n;
    bool correlated;    // there are shares; else each weight is rounded alone
    uint16_t *feedback; // (n (n - 1) / 2) rows of what is above the diagonal: R_ij / R_ii; NULL: in the file
    uint64_t at;        // where they are in the file
    float *spread;      // (n) U_jj
    float *col_scale;   // (n)
    double middle;      // geometric mean of spread
    const statistics *of; // what it was made of
    double more;
} input;

enum { MOST_NAME = 64 };                               // bytes: gguf.c
enum { INPUT_HEAD = 8, MATRIX_HEAD = MOST_NAME + 24 }; // bytes of what is saved

typedef struct planned {
    char name[MOST_NAME];
    size_t n_name;
    size_t n_rows, n_cols, input;
    float *sensitivity; // (n_rows)
} planned;

struct coded_plan {
    dense *d;
    input *inputs; // (n_inputs)
    planned *all;  // (n)
    size_t n_inputs, n, room_inputs, room;
    size_t n_inputs_saved, n_saved;
    size_t layer; // first input of the layer that is added
    input *read;  // whose factor was read from the file last; NULL: none
};

nut_status coded_plan_new(threads *team, coded_plan **out, nut_error *err) {
    coded_plan *p = mem_calloc(1, sizeof *p);
    if (!p) return error_memory(err, sizeof *p);
    const nut_status status = dense_new(team, &p->d, err);
    if (status == NUT_OK)
        *out = p;
    else
        mem_free(p);
    return status;
}

static void free_input(input *in) {
    mem_free(in->feedback);
    mem_free(in->spread);
    mem_free(in->col_scale);
}

void coded_plan_free(coded_plan *p) {
    if (!p) return;
    for (size_t i = 0; i < p->n_inputs; i++) free_input(&p->inputs[i]);
    for (size_t i = 0; i < p->n; i++) mem_free(p->all[i].sensitivity);
    mem_free(p->inputs);
    mem_free(p->all);
    dense_free(p->d);
    mem_free(p);
}

/* ---- inputs ---- */

/* Bytes of the shares of n columns. */
static bool half_square(size_t n, size_t *bytes) {
    return size_mul(n, n - 1, bytes) && *bytes < SIZE_MAX / 8; // two bytes for each of half as many
}

/* The mean Hessian. */
static double mean_hessian(const void *ctx, size_t i, size_t j) {
    const coded_facts *f = ctx;
    return statistics_hessian(f->input, i, j) / (double)f->input->n_tokens + (i == j ? f->input_more : 0);
}

static nut_status factorize(coded_plan *p, const coded_facts *f, input *in, nut_error *err) {
    factor made;
    TRY(factor_new(p->d, mean_hessian, f, in->n, &made, err));
    uint16_t *to = in->feedback;
    for (size_t i = 0; i < in->n; i++) {
        const double spread = factor_spread(&made, i);
        for (size_t j = i + 1; j < in->n; j++)
            *to++ = half_f32_to_f16((float)(made.r[i * in->n + j] * spread));
        in->spread[i] = (float)spread;
    }
    factor_free(&made);
    return NUT_OK;
}

/* Scales near 1, in their geometric mean. */
static void scale_columns(input *in) {
    double sum = 0;
    for (size_t i = 0; i < in->n; i++) sum += log((double)in->spread[i]);
    in->middle = exp(sum / (double)in->n);
    for (size_t i = 0; i < in->n; i++)
        in->col_scale[i] = coded_scale(coded_scale_code((float)((double)in->spread[i] / in->middle)));
}

static nut_status take_input(input *in, nut_error *err) {
    size_t half = 0;
    if (in->correlated && !half_square(in->n, &half)) return error_memory(err, UINT64_MAX);
    in->feedback = in->correlated ? mem_alloc(half + 1) : NULL;
    in->spread = mem_alloc(in->n * sizeof(float));
    in->col_scale = mem_alloc(in->n * sizeof(float));
    if (in->spread && in->col_scale && (in->feedback || !in->correlated)) return NUT_OK;
    return error_memory(err, half + 2 * in->n * sizeof(float));
}

static nut_status make_input(coded_plan *p, const coded_facts *f, input *in, nut_error *err) {
    *in = (input){.n = f->n_cols, .correlated = f->input, .of = f->input, .more = f->input_more};
    TRY(take_input(in, err));
    for (size_t i = 0; i < in->n; i++) in->spread[i] = 1;
    if (f->input) TRY(factorize(p, f, in, err));
    scale_columns(in);
    return NUT_OK;
}

/* ---- matrices ---- */

static void *grown(void *rows, size_t n, size_t *room, size_t size) {
    if (n < *room) return rows;
    void *more = mem_grow(rows, n * size, 2 * (n + 8) * size);
    if (more) *room = 2 * (n + 8);
    return more;
}

/* The input that has the same statistics; n_inputs: there is none. */
static size_t find_input(const coded_plan *p, const coded_facts *f) {
    size_t i = p->layer;
    while (i < p->n_inputs &&
           !(f->input && p->inputs[i].of == f->input && p->inputs[i].more == f->input_more))
        i++;
    return i;
}

static nut_status next_input(coded_plan *p, input **out, nut_error *err) {
    input *inputs = grown(p->inputs, p->n_inputs, &p->room_inputs, sizeof *inputs);
    if (!inputs) return error_memory(err, 2 * p->n_inputs * sizeof *inputs);
    p->inputs = inputs;
    *out = &inputs[p->n_inputs];
    return NUT_OK;
}

static nut_status add_input(coded_plan *p, const coded_facts *f, nut_error *err) {
    input *in;
    TRY(next_input(p, &in, err));
    const nut_status status = make_input(p, f, in, err);
    if (status == NUT_OK)
        p->n_inputs++;
    else
        free_input(in);
    return status;
}

static nut_status next_matrix(coded_plan *p, planned **out, nut_error *err) {
    planned *all = grown(p->all, p->n, &p->room, sizeof *all);
    if (!all) return error_memory(err, 2 * p->n * sizeof *all);
    p->all = all;
    *out = &all[p->n];
    return NUT_OK;
}

/* F with what this method makes of it. */
static void fill_sensitivity(const coded_facts *f, float *to) {
    double mean = 0;
    for (size_t r = 0; f->sensitivity && r < f->n_rows; r++) mean += f->sensitivity[r] / (double)f->n_rows;
    for (size_t r = 0; r < f->n_rows; r++) {
        double part = mean > 0 ? f->sensitivity[r] / mean : 1;
        if (f->vocabulary)
            part = sqrt(part > least_of_tokens ? part : least_of_tokens);
        else if (part < least_of_rows)
            part = least_of_rows;
        to[r] = (float)(part * (mean > 0 ? mean : 1));
    }
}

nut_status coded_plan_add(coded_plan *p, const coded_facts *f, nut_error *err) {
    planned *m;
    const size_t i = find_input(p, f);
    if (i == p->n_inputs) TRY(add_input(p, f, err));
    TRY(next_matrix(p, &m, err));
    *m = (planned){.n_name = f->tensor.n < MOST_NAME ? (size_t)f->tensor.n : MOST_NAME,
                   .n_rows = f->n_rows,
                   .n_cols = f->n_cols,
                   .input = i,
                   .sensitivity = mem_alloc(f->n_rows * sizeof(float))};
    if (!m->sensitivity) return error_memory(err, f->n_rows * sizeof(float));
    fill_sensitivity(f, m->sensitivity);
    memcpy(m->name, f->tensor.s, m->n_name);
    p->n++;
    return NUT_OK;
}

static const planned *find(const coded_plan *p, gguf_str tensor) {
    for (size_t i = 0; i < p->n; i++)
        if (p->all[i].n_name == tensor.n && !memcmp(p->all[i].name, tensor.s, p->all[i].n_name))
            return &p->all[i];
    return NULL;
}

uint64_t coded_plan_weights(const coded_plan *p) {
    uint64_t n = 0;
    for (size_t i = 0; i < p->n; i++) n += (uint64_t)p->all[i].n_rows * p->all[i].n_cols;
    return n;
}

bool coded_plan_has(const coded_plan *p, gguf_str tensor) {
    return find(p, tensor);
}

void coded_plan_end_layer(coded_plan *p) {
    p->layer = p->n_inputs;
}

/* ---- files ---- */

static size_t saved_input(const input *in) {
    size_t half = 0;
    if (in->correlated) half_square(in->n, &half);
    return INPUT_HEAD + in->n * sizeof(float) + half;
}

static uint8_t *put(uint8_t *to, const void *bytes, size_t n) {
    memcpy(to, bytes, n);
    return to + n;
}

static uint8_t *put_u32(uint8_t *to, size_t v) {
    for (size_t i = 0; i < 4; i++) *to++ = (uint8_t)(v >> (8 * i));
    return to;
}

static uint8_t *put_input(uint8_t *to, const input *in) {
    to = put_u32(put_u32(to, in->n), in->correlated);
    to = put(to, in->spread, in->n * sizeof(float));
    return in->correlated ? put(to, in->feedback, in->n * (in->n - 1)) : to;
}

static uint8_t *put_matrix(uint8_t *to, const planned *m, size_t first_input) {
    memset(to, 0, MATRIX_HEAD);
    memcpy(to, m->name, m->n_name);
    put_u32(put_u32(put_u32(put_u32(to + MOST_NAME, m->n_name), m->input - first_input), m->n_rows),
            m->n_cols);
    return put(to + MATRIX_HEAD, m->sensitivity, m->n_rows * sizeof(float));
}

/* Numbers of inputs and of matrices; then both. */
nut_status coded_plan_save(coded_plan *p, size_t before, uint8_t **bytes, size_t *n, nut_error *err) {
    *n = before + 8;
    for (size_t i = p->n_inputs_saved; i < p->n_inputs; i++) *n += saved_input(&p->inputs[i]);
    for (size_t i = p->n_saved; i < p->n; i++) *n += MATRIX_HEAD + p->all[i].n_rows * sizeof(float);
    uint8_t *to = *bytes = mem_alloc(*n);
    if (!to) return error_memory(err, *n);
    to = put_u32(put_u32(to + before, p->n_inputs - p->n_inputs_saved), p->n - p->n_saved);
    for (size_t i = p->n_inputs_saved; i < p->n_inputs; i++) to = put_input(to, &p->inputs[i]);
    for (size_t i = p->n_saved; i < p->n; i++) to = put_matrix(to, &p->all[i], p->n_inputs_saved);
    return NUT_OK;
}

void coded_plan_saved(coded_plan *p, uint64_t at) {
    at += 8;
    for (size_t i = p->n_inputs_saved; i < p->n_inputs; i++) {
        input *in = &p->inputs[i];
        in->at = at + INPUT_HEAD + in->n * sizeof(float);
        at += saved_input(in);
        mem_free(in->feedback);
        in->feedback = NULL;
    }
    p->n_inputs_saved = p->n_inputs;
    p->n_saved = p->n;
}

static nut_status wrong_plan(nut_error *err) {
    return error_set(err, NUT_E_CORRUPT, "the saved state of the compression is damaged; remove it");
}

/* Floats above 0. */
static bool take_floats(cursor *c, size_t n, float *out) {
    bool good = true;
    for (size_t i = 0; i < n && !c->ended; i++) {
        out[i] = cursor_f32(c);
        good &= out[i] > 0 && out[i] < INFINITY;
    }
    return good && !c->ended;
}

static nut_status load_input(coded_plan *p, cursor *c, uint64_t at, nut_error *err) {
    input *in;
    size_t half = 0;
    const size_t n = cursor_u32(c), correlated = cursor_u32(c);
    if (c->ended || !n || correlated > 1 || n > (c->n - c->at) / sizeof(float)) return wrong_plan(err);
    TRY(next_input(p, &in, err));
    *in = (input){.n = n, .correlated = correlated};
    in->spread = mem_alloc(n * sizeof(float));
    in->col_scale = mem_alloc(n * sizeof(float));
    p->n_inputs++; // it is the plan's to free
    if (!in->spread || !in->col_scale) return error_memory(err, 2 * n * sizeof(float));
    if (!take_floats(c, n, in->spread)) return wrong_plan(err);
    in->at = at + c->at;
    if (correlated && (!half_square(n, &half) || !cursor_take(c, half)) && n > 1) return wrong_plan(err);
    scale_columns(in);
    return NUT_OK;
}

static nut_status load_matrix(coded_plan *p, cursor *c, size_t first, nut_error *err) {
    planned *m;
    const uint8_t *name = cursor_take(c, MOST_NAME);
    const size_t n_name = cursor_u32(c), in = cursor_u32(c), n_rows = cursor_u32(c), n_cols = cursor_u32(c);
    cursor_take(c, 8);
    if (c->ended || n_name > MOST_NAME || in >= p->n_inputs - first || n_cols != p->inputs[first + in].n ||
        n_rows > (c->n - c->at) / sizeof(float))
        return wrong_plan(err);
    TRY(next_matrix(p, &m, err));
    *m = (planned){.n_name = n_name, .n_rows = n_rows, .n_cols = n_cols, .input = first + in};
    memcpy(m->name, name, MOST_NAME);
    m->sensitivity = mem_alloc((n_rows + 1) * sizeof(float));
    p->n++;
    if (!m->sensitivity) return error_memory(err, n_rows * sizeof(float));
    return take_floats(c, n_rows, m->sensitivity) ? NUT_OK : wrong_plan(err);
}

nut_status coded_plan_load(coded_plan *p, const uint8_t *bytes, size_t n, uint64_t at, nut_error *err) {
    cursor c = {.bytes = bytes, .n = n};
    const size_t first = p->n_inputs, n_inputs = cursor_u32(&c), n_matrices = cursor_u32(&c);
    for (size_t i = 0; i < n_inputs; i++) TRY(load_input(p, &c, at, err));
    for (size_t i = 0; i < n_matrices; i++) TRY(load_matrix(p, &c, first, err));
    p->n_inputs_saved = p->n_inputs;
    p->n_saved = p->n;
    return c.ended || c.at != n ? wrong_plan(err) : NUT_OK;
}

nut_status coded_plan_wants(coded_plan *p, gguf_str tensor, uint64_t *at, uint8_t **into, size_t *n,
                            nut_error *err) {
    const planned *m = find(p, tensor);
    input *in = m ? &p->inputs[m->input] : NULL;
    *n = 0;
    if (!in || !in->correlated || in->feedback || in->n < 2) return NUT_OK;
    if (p->read) {
        mem_free(p->read->feedback);
        p->read->feedback = NULL;
    }
    *n = in->n * (in->n - 1);
    in->feedback = mem_alloc(*n);
    if (!in->feedback) return error_memory(err, *n);
    p->read = in;
    *at = in->at;
    *into = (uint8_t *)in->feedback;
    return NUT_OK;
}

/* ---- coding ---- */

/* Memory of one matrix that is coded. */
typedef struct coding {
    float *feedback;  // (n_cols, n_cols), or NULL
    float *row_scale; // (n_rows)
    float *shrink;    // (n_rows)
    int32_t *z;       // (ROWS_AT_ONCE, n_cols)
    float *error;     // (ROWS_AT_ONCE, n_cols)
} coding;

static void free_coding(coding *c) {
    mem_free(c->feedback);
    mem_free(c->row_scale);
    mem_free(c->shrink);
    mem_free(c->z);
    mem_free(c->error);
}

static nut_status take_coding(const planned *m, const input *in, coding *c, nut_error *err) {
    const size_t n = m->n_cols, rows = m->n_rows < ROWS_AT_ONCE ? m->n_rows : ROWS_AT_ONCE;
    *c = (coding){.feedback = in->feedback ? mem_calloc(n, n * sizeof(float)) : NULL,
                  .row_scale = mem_calloc(m->n_rows, sizeof(float)),
                  .shrink = mem_calloc(m->n_rows, sizeof(float)),
                  .z = mem_calloc(rows, n * sizeof(int32_t)),
                  .error = mem_calloc(rows, n * sizeof(float))};
    if (c->row_scale && c->shrink && c->z && c->error && (c->feedback || !in->feedback)) return NUT_OK;
    return error_memory(err, (n + 2 * rows) * n * sizeof(float));
}

static void unpack_feedback(const input *in, float *to) {
    const uint16_t *from = in->feedback;
    for (size_t i = 0; from && i < in->n; i++)
        for (size_t j = i + 1; j < in->n; j++)
            to[i * in->n + j] = half_f16_to_f32(*from++) * in->spread[j] / in->spread[i];
}

bool coded_plan_find(const coded_plan *p, gguf_str tensor, coded_matrix *out) {
    const planned *m = find(p, tensor);
    if (!m) return false;
    const input *in = &p->inputs[m->input];
    *out = (coded_matrix){m->n_rows, m->n_cols, m->sensitivity, in->spread, in->correlated};
    return true;
}

void coded_plan_shares(const coded_plan *p, gguf_str tensor, float *shares) {
    unpack_feedback(&p->inputs[find(p, tensor)->input], shares);
}

dense *coded_plan_dense(const coded_plan *p) {
    return p->d;
}

/* Integers take the place of the weights, some rows at a time; the sum of the errors' squares. */
static double round_matrix(const coded_plan *p, const planned *m, coding *c, float *weights) {
    const input *in = &p->inputs[m->input];
    double error = 0;
    for (size_t row = 0; row < m->n_rows; row += ROWS_AT_ONCE) {
        const size_t n = m->n_rows - row < ROWS_AT_ONCE ? m->n_rows - row : ROWS_AT_ONCE;
        float *at = weights + row * m->n_cols;
        const gptq_rows rows = {.n_rows = n,
                                .n_cols = m->n_cols,
                                .weights = at,
                                .row_scale = c->row_scale + row,
                                .col_scale = in->col_scale,
                                .feedback = c->feedback,
                                .shrink = c->shrink + row};
        gptq_round(p->d, &rows, c->z, c->error);
        memcpy(at, c->z, n * m->n_cols * sizeof *c->z);
        for (size_t i = 0; i < n * m->n_cols; i++) error += (double)c->error[i] * (double)c->error[i];
    }
    return error;
}

/* Steps of the rows, and how wide their weights are in them. */
static void scale_rows(const planned *m, const input *in, double lambda, const float *weights, coding *c) {
    for (size_t r = 0; r < m->n_rows; r++) {
        const float *w = weights + r * m->n_cols;
        const double step = lambda * in->middle / sqrt((double)m->sensitivity[r]);
        double power = 0;
        c->row_scale[r] = coded_scale(coded_scale_code((float)step));
        for (size_t i = 0; i < m->n_cols; i++) {
            const double x = (double)(w[i] / in->col_scale[i]);
            power += x * x / (double)m->n_cols;
        }
        c->shrink[r] = gptq_shrink(sqrt(power) / (double)c->row_scale[r]);
    }
}

nut_status coded_plan_code(const coded_plan *p, double lambda, gguf_str tensor, float *weights,
                           coded_data *out, nut_error *err) {
    const planned *m = find(p, tensor);
    const input *in = &p->inputs[m->input];
    coding c;
    nut_status status = take_coding(m, in, &c, err);
    if (status == NUT_OK) {
        scale_rows(m, in, lambda, weights, &c);
        unpack_feedback(in, c.feedback);
        const double error = round_matrix(p, m, &c, weights);
        const void *z = weights;
        const coded_tensor t = {m->n_rows, m->n_cols, z, c.row_scale, in->col_scale};
        status = coded_write(&t, out, err);
        out->error = error;
    }
    free_coding(&c);
    return status;
}
