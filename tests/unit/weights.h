/* Compares a model's weights in memory with those of the file that was made for it (make_gguf.h). */
#ifndef NUT_TESTS_WEIGHTS_H
#define NUT_TESTS_WEIGHTS_H

#include "check.h"
#include "make_gguf.h"
#include "model/bind.h"

/* A row of a bound tensor as floats; false where it is not bound or has other sizes. */
static inline bool bound_row(const nut_model *m, const char *name, const uint64_t dims[4], size_t row,
                             float *out) {
    void *to = NULL;
    const tensor_spec *spec = bind_find(m, (gguf_str){name, strlen(name)}, &to);
    if (!spec) return false;
    if (spec->kind == TENSOR_VECTOR) {
        const float *x = *(const float *const *)to;
        if (x) memcpy(out, x, (size_t)dims[0] * sizeof(float));
        return x != NULL;
    }
    const matrix *w = to;
    if (!w->data || w->n_cols != dims[0] || w->n_rows != dims[1]) return false;
    matrix_row(w, row, out);
    return true;
}

/* The matrix of that name. */
static inline const matrix *bound_matrix(const nut_model *m, const char *name) {
    static const matrix none = {0};
    void *to = NULL;
    const tensor_spec *spec = bind_find(m, (gguf_str){name, strlen(name)}, &to);
    return CHECK(spec && spec->kind == TENSOR_MATRIX, "no matrix %s", name) ? to : &none;
}

static inline size_t wrong_rows(const nut_model *m, const char *name, const uint64_t dims[4], uint32_t type,
                                const uint8_t *data) {
    const format *f = format_by_ggml(type);
    const size_t n = (size_t)dims[0], bytes = n / f->block * f->bytes;
    float *want = malloc(n * sizeof *want), *have = malloc(n * sizeof *have);
    size_t wrong = 0;
    for (size_t row = 0; row < dims[1]; row++) {
        f->dequantize(data + row * bytes, n / f->block, want);
        wrong += !bound_row(m, name, dims, row, have) || memcmp(want, have, n * sizeof *want) != 0;
    }
    free(want);
    free(have);
    return wrong;
}

/* All weights of a model are those of the file that was made. */
static inline void check_weights(const nut_model *m, const make_gguf *g, const char *what) {
    size_t wrong = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const make_tensor *t = &g->tensors[i];
        void *to;
        const bool has_place = bind_find(m, (gguf_str){t->name, strlen(t->name)}, &to) != NULL;
        const size_t n = has_place ? wrong_rows(m, t->name, t->dims, t->type, t->data.p) : 0;
        if (n) printf("%s: %s: %zu rows\n", what, t->name, n);
        wrong += n;
    }
    CHECK(wrong == 0, "%s: %zu wrong rows", what, wrong);
    CHECK(make_find((make_gguf *)g, "output.weight") || m->output.w.data == m->token_embd.data,
          "%s: not tied", what);
}

/* Loads the file of g and compares; g stays. */
static inline void check_load(make_gguf *g, size_t step, const nut_load_options *options, const char *what) {
    size_t n;
    uint8_t *file = make_file(g, &n);
    nut_model *m;
    nut_error err = {0};
    nut_status status = make_load(file, n, step, options, &m, &err);
    if (CHECK(status == NUT_OK, "%s: %s", what, err.message)) {
        check_weights(m, g, what);
        nut_model_free(m);
    }
    free(file);
}

#endif
