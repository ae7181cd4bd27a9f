/* Compares a model's weights in memory with those of the file from make_gguf.h. */
#ifndef NUT_TESTS_WEIGHTS_H
#define NUT_TESTS_WEIGHTS_H

#include "check.h"
#include "make_gguf.h"
#include "model/arch.h"

static inline const void *place_of(const nut_model *m, const arch_tensor *spec, uint32_t layer) {
    const char *base = spec->in_layer ? (const char *)&m->layers[layer] : (const char *)m;
    return base + spec->to;
}

/* A row of a bound tensor as floats; false if it is not bound or has another size. */
static inline bool bound_row(const nut_model *m, const arch_tensor *spec, uint32_t layer,
                             const uint64_t dims[4], size_t row, float *out) {
    const void *p = place_of(m, spec, layer);
    if (spec->kind == ARCH_VECTOR) {
        const float *x = *(const float *const *)p;
        if (x) memcpy(out, x, (size_t)dims[0] * sizeof(float));
        return x != NULL;
    }
    const matrix *w = p;
    if (!w->data || w->n_cols != dims[0] || w->n_rows != dims[1]) return false;
    matrix_row(w, row, out);
    return true;
}

static inline size_t wrong_rows(const nut_model *m, const arch_tensor *spec, uint32_t layer,
                                const uint64_t dims[4], uint32_t type, const uint8_t *data) {
    const format *f = format_by_ggml(type);
    const size_t n = (size_t)dims[0], bytes = n / f->block * f->bytes;
    float *want = malloc(n * sizeof *want), *have = malloc(n * sizeof *have);
    size_t wrong = 0;
    for (size_t row = 0; row < dims[1]; row++) {
        f->dequantize(data + row * bytes, n / f->block, want);
        wrong += !bound_row(m, spec, layer, dims, row, have) || memcmp(want, have, n * sizeof *want) != 0;
    }
    free(want);
    free(have);
    return wrong;
}

static inline const arch_tensor *spec_of(const char *name, uint32_t *layer) {
    const char *suffix = name;
    const bool in_layer = !strncmp(name, "blk.", 4);
    *layer = 0;
    if (in_layer) *layer = (uint32_t)strtoul(name + 4, (char **)&suffix, 10), suffix++;
    for (size_t i = 0; i < arch_n_tensors; i++)
        if (arch_tensors[i].in_layer == in_layer && !strcmp(arch_tensors[i].name, suffix))
            return &arch_tensors[i];
    return NULL;
}

/* All weights of a model are those of the file that was made. */
static inline void check_weights(const nut_model *m, const make_gguf *g, const char *what) {
    size_t wrong = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const make_tensor *t = &g->tensors[i];
        uint32_t layer;
        const arch_tensor *spec = spec_of(t->name, &layer);
        size_t n = spec ? wrong_rows(m, spec, layer, t->dims, t->type, t->data.p) : 0;
        if (n) printf("%s: %s: %zu rows\n", what, t->name, n);
        wrong += n;
    }
    CHECK(wrong == 0, "%s: %zu wrong rows", what, wrong);
    CHECK(make_find((make_gguf *)g, "output.weight") || m->output.data == m->token_embd.data, "%s: not tied",
          what);
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
