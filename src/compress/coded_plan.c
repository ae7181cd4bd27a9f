/* Factors are kept as half floats, in units in which they are near 1: half of what floats would take, and
 * for weights of 3 to 6 bits no different. */
#include "compress/coded_plan.h"

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
    uint16_t *feedback; // (n (n - 1) / 2) rows of what is above the diagonal: R_ij / R_ii
    float *spread;      // (n) U_jj
    float *col_scale;   // (n)
    double middle;      // geometric mean of spread
    uint64_t bytes;
} input;

enum { MOST_NAME = 64 }; // bytes: gguf.c

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
    const statistics *last; // what the newest input was made of
    double last_more;
    uint64_t bytes;
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

uint64_t coded_plan_bytes(const coded_plan *p) {
    return p->bytes;
}

/* ---- inputs ---- */

/* The mean Hessian (n, n), its upper half; 1 on the diagonal without statistics. */
static void mean_hessian(const coded_facts *f, float *h) {
    const size_t n = f->n_cols;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++)
            h[i * n + j] = (float)(statistics_hessian(f->input, i, j) / (double)f->input->n_tokens +
                                   (i == j ? f->input_more : 0));
}

static void take_factor(input *in, const factor *f) {
    uint16_t *to = in->feedback;
    for (size_t i = 0; i < in->n; i++)
        for (size_t j = i + 1; j < in->n; j++)
            *to++ = half_f32_to_f16(f->feedback[i * in->n + j] * f->spread[i] / f->spread[j]);
    memcpy(in->spread, f->spread, in->n * sizeof *f->spread);
}

static nut_status factorize(coded_plan *p, const coded_facts *f, input *in, nut_error *err) {
    factor made;
    float *h = mem_alloc(in->n * in->n * sizeof *h);
    if (!h) return error_memory(err, in->n * in->n * sizeof *h);
    mean_hessian(f, h);
    const nut_status status = factor_new(p->d, h, in->n, &made, err);
    mem_free(h);
    if (status != NUT_OK) return status;
    take_factor(in, &made);
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

static nut_status make_input(coded_plan *p, const coded_facts *f, input *in, nut_error *err) {
    size_t half = 0;
    *in = (input){.n = f->n_cols};
    if (f->input && (!size_mul(in->n, in->n - 1, &half) || half > SIZE_MAX / 8))
        return error_memory(err, UINT64_MAX);
    in->feedback = half ? mem_alloc(half) : NULL; // two bytes for each of half as many
    in->spread = mem_alloc(in->n * sizeof(float));
    in->col_scale = mem_alloc(in->n * sizeof(float));
    in->bytes = half + 2 * in->n * sizeof(float);
    if (!in->spread || !in->col_scale || (half && !in->feedback)) return error_memory(err, in->bytes);
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

static nut_status add_input(coded_plan *p, const coded_facts *f, nut_error *err) {
    if (p->n_inputs && f->input && f->input == p->last && f->input_more == p->last_more) return NUT_OK;
    input *inputs = grown(p->inputs, p->n_inputs, &p->room_inputs, sizeof *inputs);
    if (!inputs) return error_memory(err, 2 * p->n_inputs * sizeof *inputs);
    p->inputs = inputs;
    const nut_status status = make_input(p, f, &inputs[p->n_inputs], err);
    if (status != NUT_OK) {
        free_input(&inputs[p->n_inputs]);
        return status;
    }
    p->bytes += inputs[p->n_inputs++].bytes;
    p->last = f->input;
    p->last_more = f->input_more;
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
    TRY(add_input(p, f, err));
    planned *all = grown(p->all, p->n, &p->room, sizeof *all);
    if (!all) return error_memory(err, 2 * p->n * sizeof *all);
    p->all = all;
    float *sensitivity = mem_alloc(f->n_rows * sizeof *sensitivity);
    if (!sensitivity) return error_memory(err, f->n_rows * sizeof *sensitivity);
    fill_sensitivity(f, sensitivity);
    all[p->n] = (planned){.n_name = f->tensor.n < MOST_NAME ? (size_t)f->tensor.n : MOST_NAME,
                          .n_rows = f->n_rows,
                          .n_cols = f->n_cols,
                          .input = p->n_inputs - 1,
                          .sensitivity = sensitivity};
    memcpy(all[p->n].name, f->tensor.s, all[p->n].n_name);
    p->n++;
    p->bytes += f->n_rows * sizeof *sensitivity;
    return NUT_OK;
}

static const planned *find(const coded_plan *p, gguf_str tensor) {
    for (size_t i = 0; i < p->n; i++)
        if (p->all[i].n_name == tensor.n && !memcmp(p->all[i].name, tensor.s, p->all[i].n_name))
            return &p->all[i];
    return NULL;
}

bool coded_plan_has(const coded_plan *p, gguf_str tensor) {
    return find(p, tensor);
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

/* Integers take the place of the weights, some rows at a time. */
static void round_matrix(const coded_plan *p, const planned *m, coding *c, float *weights) {
    const input *in = &p->inputs[m->input];
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
    }
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
        round_matrix(p, m, &c, weights);
        const void *z = weights;
        const coded_tensor t = {m->n_rows, m->n_cols, z, c.row_scale, in->col_scale};
        status = coded_write(&t, out, err);
    }
    free_coding(&c);
    return status;
}
