/*
 * The step that takes layers out: {"step": "layers", "remove": 3}. Those go that change the residual least:
 * the influence of a layer is 1 - the mean cosine between what tokens are before and behind it (Men et al.
 * 2024, "ShortGPT", arXiv 2403.03853, equation 1), measured once, on the whole model. The others are
 * numbered anew, and the file is an ordinary one of its family.
 */
#include "base/cosine.h"
#include "base/error.h"
#include "base/mem.h"
#include "compress/layer_weights.h"
#include "compress/recipe.h"
#include "compress/rewrite.h"
#include "evaluate/calibrate.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { NAME_ROOM = 80 }; // bytes of a tensor's name: 64 at most, and a number in it (gguf.c)

typedef struct step_layers {
    nut_job job;
    nut_status (*phase)(struct step_layers *s, nut_error *err); // what the next step does
    recipe *r;
    nut_job *calibrate;
    uint32_t n_removed;
    const nut_model *m;
    float *before;    // (n_tokens, n_embd) the residual that the layer reads
    float *influence; // (n_layer)
    uint32_t *number; // (n_layer) the new number of a layer; REMOVED: it goes
    rewrite rewrite;
    rewrite_tensor *plan; // (n_plan)
    size_t n_plan;
    char *names; // (n_plan, NAME_ROOM)
    char note[400];
} step_layers;

enum { REMOVED = UINT32_MAX };

static nut_status write_model(step_layers *s, nut_error *err);

/* ---- influence ---- */

/* Of the layer that is complete. */
static void measure(step_layers *s, uint32_t il) {
    size_t n;
    const size_t n_embd = s->m->hp.n_embd;
    const float *behind = calibrate_residual(s->calibrate, &n);
    double sum = 0;
    for (size_t t = 0; t < n; t += n_embd) sum += cosine_of(s->before + t, behind + t, n_embd);
    s->influence[il] = (float)(1 - sum / (double)(n / n_embd));
    memcpy(s->before, behind, n * sizeof *behind);
}

/* Layers are chosen without regard to their place, so all must be alike: what a file says of a period, or of
 * the first layers, would mean others. */
static nut_status check_alike(const step_layers *s, nut_error *err) {
    const nut_model *m = s->m;
    const layer_hparams *a = &m->layers[0].hp;
    for (uint32_t i = 1; i < m->hp.n_layer; i++) {
        const layer_hparams *b = &m->layers[i].hp;
        if (a->mixer != b->mixer || a->ffn != b->ffn || a->beside != b->beside || a->after != b->after ||
            a->rotates != b->rotates || a->rope != b->rope || a->window != b->window ||
            a->shares_kv != b->shares_kv)
            return error_set(err, NUT_E_UNSUPPORTED,
                             "layers cannot be taken out of this %s model: layer %u is of another kind than "
                             "the first, and their places say which is which",
                             m->arch->name, (unsigned)i);
    }
    if (s->n_removed < m->hp.n_layer) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "the model has %u layers, and one must stay; remove fewer",
                     (unsigned)m->hp.n_layer);
}

static nut_status begin_measuring(step_layers *s, nut_error *err) {
    size_t n;
    s->m = calibrate_model(s->calibrate);
    TRY(check_alike(s, err));
    const float *residual = calibrate_residual(s->calibrate, &n);
    const size_t n_layer = s->m->hp.n_layer;
    s->before = mem_alloc(n * sizeof *residual);
    s->influence = mem_calloc(n_layer, sizeof *s->influence);
    s->number = mem_calloc(n_layer, sizeof *s->number);
    if (!s->before || !s->influence || !s->number) return error_memory(err, n * sizeof *residual);
    memcpy(s->before, residual, n * sizeof *residual);
    return NUT_OK;
}

/* The least influential go; of equal ones the later. */
static void choose(step_layers *s) {
    const uint32_t n_layer = s->m->hp.n_layer;
    for (uint32_t k = 0; k < s->n_removed; k++) {
        uint32_t least = REMOVED;
        for (uint32_t i = 0; i < n_layer; i++)
            if (s->number[i] != REMOVED && (least == REMOVED || s->influence[i] <= s->influence[least]))
                least = i;
        s->number[least] = REMOVED;
    }
    for (uint32_t i = 0, n = 0; i < n_layer; i++)
        if (s->number[i] != REMOVED) s->number[i] = n++;
}

/* ---- the new model ---- */

/* An array with an element for each layer loses those of the ones that go. */
static nut_status cut_array(step_layers *s, const gguf_kv *kv, const char *key, nut_error *err) {
    const size_t size = gguf_type_bytes(kv->elem), n_layer = s->m->hp.n_layer;
    uint8_t *left = mem_alloc((size_t)kv->n_bytes + 1);
    size_t n = 0;
    if (!left) return error_memory(err, kv->n_bytes);
    for (size_t i = 0; i < n_layer; i++)
        if (s->number[i] != REMOVED) memcpy(left + size * n++, kv->value + size * i, size);
    const nut_status status = gguf_meta_array(&s->rewrite.meta, key, kv->elem, left, n, err);
    mem_free(left);
    return status;
}

/* The family's keys: "<arch>.block_count", and arrays. */
static nut_status change_key(step_layers *s, const gguf_kv *kv, nut_error *err) {
    char key[128];
    const char *family = s->m->arch->name;
    const size_t n_family = strlen(family), n_layer = s->m->hp.n_layer;
    if (kv->key.n <= n_family || kv->key.n >= sizeof key || memcmp(kv->key.s, family, n_family) != 0 ||
        kv->key.s[n_family] != '.')
        return NUT_OK;
    memcpy(key, kv->key.s, (size_t)kv->key.n);
    key[kv->key.n] = 0;
    if (!strcmp(key + n_family, ".block_count"))
        return gguf_meta_int(&s->rewrite.meta, key, kv->type, (int64_t)(n_layer - s->n_removed), err);
    if (kv->type != GGUF_ARRAY || kv->n != n_layer || !gguf_type_bytes(kv->elem)) return NUT_OK;
    return cut_array(s, kv, key, err);
}

static nut_status set_meta(step_layers *s, nut_error *err) {
    const gguf *g = &s->m->header;
    gguf_meta *meta = &s->rewrite.meta;
    const uint32_t n_layer = s->m->hp.n_layer;
    uint32_t *removed = mem_alloc(n_layer * sizeof *removed), n = 0;
    if (!removed) return error_memory(err, n_layer * sizeof *removed);
    for (uint32_t i = 0; i < n_layer; i++)
        if (s->number[i] == REMOVED) removed[n++] = i;
    nut_status status = gguf_meta_array(meta, "nutshell.layers.removed", GGUF_U32, removed, n, err);
    mem_free(removed);
    if (status == NUT_OK)
        status = gguf_meta_array(meta, "nutshell.layers.influence", GGUF_F32, s->influence, n_layer, err);
    if (status == NUT_OK && s->r->json)
        status = gguf_meta_str(meta, COMPRESS_RECIPE, (gguf_str){s->r->json, strlen(s->r->json)}, err);
    for (uint64_t i = 0; status == NUT_OK && i < g->n_kv; i++) status = change_key(s, &g->kv[i], err);
    return status;
}

/* Tensors of layers that stay get their new names. */
static nut_status plan_tensors(step_layers *s, nut_error *err) {
    const gguf *g = &s->m->header;
    TRY(rewrite_plan(g, &s->plan, err));
    s->names = mem_calloc((size_t)g->n_tensors, NAME_ROOM);
    if (!s->names) return error_memory(err, g->n_tensors * NAME_ROOM);
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        rewrite_tensor t = s->plan[i];
        uint32_t layer;
        gguf_str rest;
        if (layer_of_tensor(t.name, &layer, &rest) && layer < s->m->hp.n_layer) {
            if (s->number[layer] == REMOVED) continue;
            char *name = s->names + s->n_plan * NAME_ROOM;
            const int n =
                snprintf(name, NAME_ROOM, "blk.%u.%.*s", (unsigned)s->number[layer], (int)rest.n, rest.s);
            t.name = (gguf_str){name, (uint64_t)n};
        }
        s->plan[s->n_plan++] = t;
    }
    return NUT_OK;
}

static nut_status begin_write(step_layers *s, nut_error *err) {
    nut_model *m = calibrate_model(s->calibrate);
    choose(s);
    TRY(plan_tensors(s, err));
    TRY(set_meta(s, err));
    s->phase = write_model;
    return rewrite_begin(&s->rewrite, &m->header, s->plan, s->n_plan, err);
}

static nut_status finish(step_layers *s, nut_error *err) {
    (void)err;
    job_done(&s->job);
    return NUT_OK;
}

/* "removed layers 10, 11 of 30, whose influence is 0.02 to 0.03; the most has 0.5" */
static void note_removed(step_layers *s) {
    size_t n = (size_t)snprintf(s->note, sizeof s->note,
                                "of %u layers these were removed (influence):", (unsigned)s->m->hp.n_layer);
    for (uint32_t i = 0; i < s->m->hp.n_layer && n < sizeof s->note; i++)
        if (s->number[i] == REMOVED)
            n += (size_t)snprintf(s->note + n, sizeof s->note - n, " %u (%.3f)", (unsigned)i,
                                  (double)s->influence[i]);
    job_note(&s->job, s->note);
}

static nut_status write_model(step_layers *s, nut_error *err) {
    bool ready = false;
    TRY(rewrite_step(&s->rewrite, &s->job, s->n_plan, &ready, err));
    if (!ready) return NUT_OK;
    s->r->n_layer = s->m->hp.n_layer - s->n_removed;
    note_removed(s);
    s->phase = finish;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status run_calibrate(step_layers *s, nut_error *err) {
    bool over = false;
    TRY(job_forward(&s->job, s->calibrate, &over, err));
    if (calibrate_embedded(s->calibrate)) TRY(begin_measuring(s, err));
    const int which = calibrate_complete(s->calibrate);
    if (which >= 0) measure(s, (uint32_t)which);
    if (which >= 0 && (uint32_t)which + 1 == s->m->hp.n_layer) s->phase = begin_write;
    return NUT_OK;
}

static nut_status step(nut_job *job, nut_error *err) {
    step_layers *s = (step_layers *)job;
    return s->phase(s, err);
}

static void free_job(nut_job *job) {
    step_layers *s = (step_layers *)job;
    rewrite_free(&s->rewrite);
    mem_free(s->before);
    mem_free(s->influence);
    mem_free(s->number);
    mem_free(s->plan);
    mem_free(s->names);
    nut_job_free(s->calibrate);
    mem_free(s);
}

static nut_status check(const recipe_values *v, nut_error *err) {
    if (v->remove >= 1) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "say how many layers go: \"remove\": 3");
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    const calibrate_options o = {.n_threads = r->options.n_threads, .window = (uint32_t)v->window};
    step_layers *s = mem_calloc(1, sizeof *s);
    if (!s) return error_memory(err, sizeof *s);
    s->job.ops = &ops;
    s->r = r;
    s->n_removed = (uint32_t)v->remove;
    s->phase = run_calibrate;
    const nut_status status = calibrate_begin(&o, r->options.text, r->options.n_text, &s->calibrate, err);
    if (status == NUT_OK)
        *out = &s->job;
    else
        free_job(&s->job);
    return status;
}

static const recipe_option options[] = {
    {"remove", RECIPE_NUMBER, offsetof(recipe_values, remove), 1, 1000},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
};

const recipe_kind recipe_layers = {.name = "layers",
                                   .options = options,
                                   .n_options = sizeof options / sizeof *options,
                                   .gives = RECIPE_MODEL,
                                   .share = 20,
                                   .begin = begin,
                                   .check = check};
