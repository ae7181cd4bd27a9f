/* Models that a recipe changes in memory, and what is in them. */
#ifndef NUT_TESTS_CHANGED_H
#define NUT_TESTS_CHANGED_H

#include "check.h"
#include "make_gguf.h"
#include "memory_job.h"
#include "model/gguf.h"

#include <stdlib.h>
#include <string.h>

typedef struct changed {
    memory_job m;
    nut_error err;
    nut_status status;
} changed;

/* Runs a recipe on a file; the output is to be freed. */
static inline changed change(const uint8_t *file, size_t n, const char *recipe, const char *text,
                             size_t n_text) {
    changed c = {.m = {.file = {file}, .n_bytes = {n}}};
    const nut_compress_options o = {
        .recipe = recipe, .n_recipe = strlen(recipe), .text = text, .n_text = n_text, .reads_output = true};
    nut_job *job;
    c.status = nut_compress_begin(&o, &job, &c.err);
    if (c.status == NUT_OK) c.status = memory_job_run(&c.m, job, &c.err);
    return c;
}

static inline gguf header_of(const memory_job *m) {
    gguf g = {0};
    size_t used;
    bool complete = false;
    gguf_begin(&g, m->n_out, NULL);
    CHECK(gguf_feed(&g, m->out, m->n_out, &used, &complete, NULL) == NUT_OK && complete, "a header");
    return g;
}

static inline const gguf_tensor *tensor_of(const gguf *g, const char *name) {
    uint64_t i = 0;
    while (i < g->n_tensors && !gguf_str_is(g->tensors[i].name, name)) i++;
    CHECK(i < g->n_tensors, "%s is there", name);
    return &g->tensors[i < g->n_tensors ? i : 0];
}

static inline bool has_text(const gguf *g, const char *key, const char *value) {
    const gguf_kv *kv = gguf_find(g, key);
    return kv && kv->n_bytes >= strlen(value) &&
           !memcmp(kv->value + kv->n_bytes - strlen(value), value, strlen(value));
}

enum { N_IDS = 12 };

/* Logits of the last of some tokens, (n_vocab), to be freed. */
static inline float *logits_of(const uint8_t *file, size_t n, const int32_t *ids, uint32_t *n_vocab) {
    const nut_session_options so = {.n_ctx = 32};
    nut_load_options lo = nut_load_defaults();
    nut_model *m;
    nut_session *s;
    nut_error err = {0};
    float *out = NULL;
    lo.reference = true;
    if (!CHECK(make_load(file, n, 0, &lo, &m, &err) == NUT_OK, "%s", err.message)) return NULL;
    if (CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK, "%s", err.message)) {
        nut_session_eval(s, ids, N_IDS, 1, &err);
        *n_vocab = nut_model_n_vocab(m);
        out = malloc(*n_vocab * sizeof *out);
        memcpy(out, nut_session_logits(s, 0), *n_vocab * sizeof *out);
        nut_session_free(s);
    }
    nut_model_free(m);
    return out;
}

#endif
