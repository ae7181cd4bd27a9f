/*
 * The step that takes tokens out: {"step": "vocabulary", "tokens": 20000}. Those stay that the text has most
 * often, with all that they are made of (vocabulary.h); the rows of embeddings and output are copied.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/recipe.h"
#include "compress/rewrite.h"
#include "compress/vocabulary.h"
#include "evaluate/windows.h"
#include "model/bind.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct step_vocabulary {
    nut_job job;
    nut_status (*phase)(struct step_vocabulary *s, nut_error *err); // what the next step does
    recipe *r;
    uint32_t most; // tokens
    model_source source;
    vocabulary cut;
    rewrite rewrite;
    rewrite_tensor *plan; // (n_tensors of the source)
    char note[200];
} step_vocabulary;

static nut_status finish(step_vocabulary *s, nut_error *err) {
    (void)err;
    job_done(&s->job);
    return NUT_OK;
}

static nut_status write_model(step_vocabulary *s, nut_error *err) {
    bool ready = false;
    TRY(rewrite_step(&s->rewrite, &s->job, (size_t)s->source.m->header.n_tensors, &ready, err));
    if (!ready) return NUT_OK;
    snprintf(s->note, sizeof s->note, "%u of %u tokens are left", (unsigned)s->cut.n_kept,
             (unsigned)s->cut.n);
    job_note(&s->job, s->note);
    s->phase = finish;
    return NUT_OK;
}

static nut_status count_tokens(const step_vocabulary *s, const vocab *v, uint32_t *counts, nut_error *err) {
    windows w;
    const nut_compress_options *o = &s->r->options;
    const nut_status status = windows_of_text(&w, v, o->text, o->n_text, false, 512, err);
    for (size_t i = 0; status == NUT_OK && i < w.n_ids; i++) counts[w.ids[i]]++;
    windows_free(&w);
    return status;
}

static nut_status choose(step_vocabulary *s, nut_error *err) {
    const nut_model *m = s->source.m;
    uint32_t *counts = mem_calloc(vocab_size(m->vocab), sizeof *counts);
    if (!counts) return error_memory(err, vocab_size(m->vocab) * sizeof *counts);
    nut_status status = count_tokens(s, m->vocab, counts, err);
    if (status == NUT_OK) status = vocabulary_choose(m->vocab, &m->header, counts, s->most, &s->cut, err);
    mem_free(counts);
    return status;
}

/* Matrices with a row for each token. */
static nut_status plan_tensor(const step_vocabulary *s, rewrite_tensor *t, nut_error *err) {
    void *to;
    const tensor_spec *spec = bind_find(s->source.m, t->name, &to);
    if (!spec || !strchr(spec->shape, 'V')) return NUT_OK;
    if (spec->kind == TENSOR_MATRIX && spec->shape[1] == 'V' && t->n_rows == s->cut.n) {
        t->rows = s->cut.kept;
        t->n_rows = s->cut.n_kept;
        return NUT_OK;
    }
    return error_set(err, NUT_E_UNSUPPORTED, "tokens cannot be taken out of tensor %.*s", (int)t->name.n,
                     t->name.s);
}

static nut_status set_meta(step_vocabulary *s, nut_error *err) {
    const nut_model *m = s->source.m;
    gguf_meta *meta = &s->rewrite.meta;
    TRY(vocabulary_meta(&s->cut, m->vocab, &m->header, meta, err));
    TRY(gguf_meta_int(meta, "nutshell.vocabulary.source_tokens", GGUF_U32, s->cut.n, err));
    return gguf_meta_str(meta, COMPRESS_RECIPE, (gguf_str){s->r->json, strlen(s->r->json)}, err);
}

static nut_status read_model(step_vocabulary *s, nut_error *err) {
    bool ready = false;
    TRY(model_source_headers(&s->source, &s->job, true, &ready, err));
    if (!ready) return NUT_OK;
    gguf *g = &s->source.m->header;
    TRY(choose(s, err));
    TRY(rewrite_plan(g, &s->plan, err));
    for (uint64_t i = 0; i < g->n_tensors; i++) TRY(plan_tensor(s, &s->plan[i], err));
    TRY(set_meta(s, err));
    s->phase = write_model;
    return rewrite_begin(&s->rewrite, g, s->plan, (size_t)g->n_tensors, err);
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    step_vocabulary *s = (step_vocabulary *)job;
    return s->phase(s, err);
}

static void free_job(nut_job *job) {
    step_vocabulary *s = (step_vocabulary *)job;
    rewrite_free(&s->rewrite);
    vocabulary_free(&s->cut);
    mem_free(s->plan);
    model_source_free(&s->source);
    mem_free(s);
}

static nut_status check(const recipe_values *v, nut_error *err) {
    if (v->tokens >= 1) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "say how many tokens stay: \"tokens\": 20000");
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    step_vocabulary *s = mem_calloc(1, sizeof *s);
    if (!s) return error_memory(err, sizeof *s);
    s->job.ops = &ops;
    s->r = r;
    s->most = (uint32_t)v->tokens;
    s->phase = read_model;
    *out = &s->job;
    return NUT_OK;
}

static const recipe_option options[] = {
    {"tokens", RECIPE_NUMBER, offsetof(recipe_values, tokens), 1, 1e7},
};

const recipe_kind recipe_vocabulary = {.name = "vocabulary",
                                       .options = options,
                                       .n_options = sizeof options / sizeof *options,
                                       .gives = RECIPE_MODEL,
                                       .share = 2,
                                       .begin = begin,
                                       .check = check};
