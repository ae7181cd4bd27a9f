/* The source's residual beside the changed model's. */
#include "evaluate/drift.h"

#include "base/error.h"
#include "base/mem.h"
#include "model/bind.h"

#include <stdio.h>
#include <string.h>

nut_status drift_begin(drift *d, const char *tensor, threads *team, size_t n_ids, size_t n_embd,
                       nut_error *err) {
    size_t n = 0;
    if (!size_mul(n_ids, n_embd, &n)) return error_memory(err, UINT64_MAX);
    d->tensor = tensor;
    d->residual = mem_calloc(n, sizeof *d->residual);
    return d->residual ? dense_new(team, &d->d, err) : error_memory(err, n * sizeof *d->residual);
}

static void forget_layer(drift *d) {
    mem_free(d->inputs);
    mem_free(d->product);
    mem_free(d->cross);
    d->inputs = d->product = NULL;
    d->cross = NULL;
    d->data = NULL;
    d->room = d->n_inputs = d->n_tokens = 0;
}

void drift_free(drift *d) {
    forget_layer(d);
    mem_free(d->error);
    mem_free(d->residual);
    dense_free(d->d);
    *d = (drift){0};
}

/* Its results must be what is added to the residual, a number for each of the residual's. */
static const matrix *find_matrix(const drift *d, const nut_model *m, uint32_t il) {
    char name[80];
    void *to;
    const int n = snprintf(name, sizeof name, "blk.%u.%s", (unsigned)il, d->tensor);
    const tensor_spec *spec = bind_find(m, (gguf_str){name, (uint64_t)n}, &to);
    if (!spec || spec->kind != TENSOR_MATRIX || spec->parts) return NULL;
    const matrix *w = to;
    return w->data && w->n_rows == m->hp.n_embd ? w : NULL;
}

nut_status drift_layer(drift *d, const nut_model *m, uint32_t il, nut_error *err) {
    const matrix *w = find_matrix(d, m, il);
    size_t n = 0;
    forget_layer(d);
    if (!w) return NUT_OK;
    if (!size_mul(w->n_rows, w->n_cols, &n)) return error_memory(err, UINT64_MAX);
    d->product = mem_alloc(n * sizeof *d->product);
    d->cross = mem_calloc(n, sizeof *d->cross);
    if (!d->product || !d->cross) return error_memory(err, n * sizeof *d->cross);
    d->data = w->data, d->n_rows = w->n_rows, d->n_cols = w->n_cols;
    return NUT_OK;
}

void drift_input(drift *d, const linear *l, const float *x, size_t n_tokens) {
    const size_t n = n_tokens * d->n_cols;
    if (!d->data || l->w.data != d->data) return;
    if (n > d->room) {
        mem_free(d->inputs);
        d->inputs = mem_alloc(n * sizeof *x);
        d->room = d->inputs ? n : 0;
    }
    d->no_memory = !d->inputs;
    d->n_inputs = d->inputs ? n_tokens : 0;
    if (d->inputs) memcpy(d->inputs, x, n * sizeof *x);
}

/* e of all tokens of a window. */
static nut_status subtract(drift *d, const float *was, const float *now, size_t n, nut_error *err) {
    if (n > d->n_error) {
        mem_free(d->error);
        d->error = mem_alloc(n * sizeof *d->error);
        d->n_error = d->error ? n : 0;
    }
    if (!d->error) return error_memory(err, n * sizeof *d->error);
    for (size_t i = 0; i < n; i++) d->error[i] = was[i] - now[i];
    return NUT_OK;
}

nut_status drift_window(drift *d, const float *was, const float *now, size_t n, nut_error *err) {
    const dense_product p = {.m = d->n_rows, .n = d->n_cols, .k = n, .ldc = d->n_cols};
    if (d->no_memory) return error_set(err, NUT_E_MEMORY, "out of memory for the inputs of a layer");
    if (!d->data || d->n_inputs != n) return NUT_OK; // it was not run on all tokens
    TRY(subtract(d, was, now, n * d->n_rows, err));
    dense_mul_f32(d->d, &p, (dense_f32){d->error, 1, d->n_rows}, (dense_f32){d->inputs, d->n_cols, 1}, 1,
                  d->product);
    for (size_t i = 0; i < d->n_rows * d->n_cols; i++) d->cross[i] += (double)d->product[i];
    d->n_tokens += n;
    d->n_inputs = 0;
    return NUT_OK;
}
