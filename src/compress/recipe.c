/* The job that runs a recipe. */
#include "compress/recipe.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { WHOLE = 1000 }; // of the progress

static const char auto_steps[] = "[{\"step\": \"calibrate\"}, {\"step\": \"coded\"}]",
                  fast_steps[] = "[{\"step\": \"calibrate\", \"gradients\": false}, {\"step\": \"coded\"}]",
                  portable_steps[] = "[{\"step\": \"calibrate\"}, {\"step\": \"gptq\"}]",
                  portable_fast_steps[] =
                      "[{\"step\": \"calibrate\", \"gradients\": false}, {\"step\": \"gptq\"}]";

/* ---- steps ---- */

static nut_status next_part(recipe *r, nut_error *err);
static nut_status run_check(recipe *r, nut_error *err);

/* Progress of a step as that of the whole. */
static void scale_progress(recipe *r) {
    nut_job_event *e = &r->job.event;
    unsigned before = 0, all = 0;
    if (!r->job.told || e->kind != NUT_JOB_PROGRESS || !e->total || r->n_steps == 1) return;
    for (size_t i = 0; i < r->n_steps; i++) {
        before += i < r->at ? r->steps[i].kind->share : 0;
        all += r->steps[i].kind->share;
    }
    const double part = (double)e->done / (double)e->total * r->steps[r->at].kind->share;
    e->done = (uint64_t)((double)WHOLE * (before + part) / all);
    e->total = WHOLE;
}

/* Whether a step behind the one that runs writes a model too. */
static bool is_held(const recipe *r) {
    if (!(r->steps[r->at].kind->gives & RECIPE_MODEL)) return false;
    for (size_t i = r->at + 1; i < r->n_steps; i++)
        if (r->steps[i].kind->gives & RECIPE_MODEL) return true;
    return false;
}

/* What goes from a step to one behind it stays here. */
static nut_status keep_between(recipe *r, nut_error *err) {
    const nut_job_event e = r->job.event;
    const bool asks = e.kind == NUT_JOB_OPEN || e.kind == NUT_JOB_WANT;
    if (!r->job.told || e.split == NUT_JOB_STATE || e.split == NUT_JOB_OUTPUT) return NUT_OK;
    if (e.kind == NUT_JOB_WRITE && is_held(r))
        TRY(held_write(&r->next, e.offset, e.bytes, e.n, err));
    else if (asks && r->model.n)
        TRY(held_answer(&r->model, r->part, &e, err));
    else
        return NUT_OK;
    r->job.told = r->job.waiting = false;
    return NUT_OK;
}

static nut_status run_part(recipe *r, nut_error *err) {
    bool over = false;
    TRY(job_forward(&r->job, r->part, &over, err));
    TRY(keep_between(r, err));
    scale_progress(r);
    if (!over) return NUT_OK;
    nut_job_free(r->part);
    if (r->steps[r->at].kind->gives & RECIPE_MODEL) {
        held_free(&r->model); // steps behind the last one read the source
        r->model = r->next;
        r->next = (held){0};
    }
    r->part = NULL;
    r->at++;
    r->phase = next_part;
    return NUT_OK;
}

static nut_status next_part(recipe *r, nut_error *err) {
    if (r->at < r->n_steps) {
        r->phase = run_part;
        return r->steps[r->at].kind->begin(r, &r->steps[r->at].values, &r->part, err);
    }
    if (r->options.reads_output && !r->checked) {
        r->phase = run_check;
        return check_begin(&r->part, err);
    }
    job_done(&r->job);
    return NUT_OK;
}

static nut_status run_check(recipe *r, nut_error *err) {
    bool over = false;
    TRY(job_forward(&r->job, r->part, &over, err));
    if (!over) return NUT_OK;
    r->checked = true;
    r->phase = next_part;
    return NUT_OK;
}

/* ---- what the state belongs to ---- */

static nut_status open_state(recipe *r, nut_error *err) {
    bool ready = false;
    TRY(state_open(&r->state, &r->job, r->key.key, &ready, err));
    if (!ready) return NUT_OK;
    r->phase = next_part;
    if (!r->state.n) return NUT_OK;
    snprintf(r->note, sizeof r->note, "going on where an earlier run was interrupted (%zu records)",
             r->state.n);
    job_note(&r->job, r->note);
    return NUT_OK;
}

static nut_status sample_tensors(recipe *r, nut_error *err) {
    bool ready = !r->state.kept;
    if (!ready) TRY(model_key_tensors(&r->key, &r->job, &ready, err));
    if (!ready) return NUT_OK;
    model_source_free(&r->key.source);
    r->phase = open_state;
    return NUT_OK;
}

static nut_status read_source(recipe *r, nut_error *err) {
    bool ready = false;
    TRY(model_source_headers(&r->key.source, &r->job, true, &ready, err));
    if (!ready) return NUT_OK;
    const gguf *g = &r->key.source.m->header;
    r->n_layer = r->key.source.m->hp.n_layer;
    for (uint64_t i = 0; i < g->n_tensors; i++)
        r->n_weights +=
            g->tensors[i].dims[0] * g->tensors[i].dims[1] * g->tensors[i].dims[2] * g->tensors[i].dims[3];
    model_key_mix(&r->key, r->options.text, r->options.n_text);
    for (size_t i = 0; i < r->n_steps; i++)
        if (!(r->steps[i].kind->gives & RECIPE_LAST)) // what statistics depend on
            model_key_mix(&r->key, &r->steps[i].values, sizeof r->steps[i].values);
    r->phase = sample_tensors;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    recipe *r = (recipe *)job;
    return r->phase(r, err);
}

static void free_job(nut_job *job) {
    recipe *r = (recipe *)job;
    nut_job_free(r->part);
    held_free(&r->model);
    held_free(&r->next);
    model_source_free(&r->key.source);
    state_free(&r->state);
    coded_plan_free(r->plan);
    imatrix_free(&r->imatrix);
    mem_free(r->round_types);
    threads_free(r->team);
    mem_free(r->json);
    mem_free(r);
}

/* What the call says of a step's options goes there, where it is not said twice. */
static nut_status merge_options(recipe *r, nut_error *err) {
    const nut_compress_options *o = &r->options;
    size_t n_sizes = 0;
    for (size_t i = 0; i < r->n_steps; i++) {
        recipe_values *v = &r->steps[i].values;
        if (r->steps[i].kind->check) TRY(r->steps[i].kind->check(v, err));
        if (!r->steps[i].kind->sized) continue;
        if (*v->type && (v->size > 0 || v->bpw > 0))
            return error_set(err, NUT_E_ARGUMENT,
                             "give a type or a size, not both: types follow from a size");
        if (*v->type) continue;
        n_sizes++;
        if ((v->size > 0 || v->bpw > 0) && (o->size || o->bpw > 0))
            return error_set(err, NUT_E_ARGUMENT, "the recipe says a size already; give it there or here");
        if (o->size) v->size = (double)o->size;
        if (o->bpw > 0) v->bpw = o->bpw;
        if (v->size > 0 && v->bpw > 0)
            return error_set(err, NUT_E_ARGUMENT, "give a size or bits a weight, not both");
        if (!(v->size > 0) && !(v->bpw > 0))
            return error_set(err, NUT_E_ARGUMENT, "say how large the file may be: a size, or bits a weight");
    }
    if (n_sizes || (!o->size && !(o->bpw > 0))) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "the recipe has no step that a size is for; \"coded\" and \"gptq\" are");
}

static nut_status check_options(const nut_compress_options *o, nut_error *err) {
    const bool sized = o->size || o->bpw > 0 || o->recipe;
    if (sized && (o->type || o->mix || o->embedding || o->method))
        return error_set(err, NUT_E_ARGUMENT,
                         "give a size, a recipe, a type or a mix, not both: types follow from them");
    if (o->fast && o->recipe)
        return error_set(err, NUT_E_ARGUMENT,
                         "a recipe says itself whether it needs gradients: {\"step\": \"calibrate\", "
                         "\"gradients\": false}");
    if (o->portable && o->recipe)
        return error_set(err, NUT_E_ARGUMENT,
                         "a recipe says itself which types it writes: {\"step\": \"gptq\"}");
    return NUT_OK;
}

static bool has_step(const recipe *r, const recipe_kind *kind) {
    for (size_t i = 0; i < r->n_steps; i++)
        if (r->steps[i].kind == kind) return true;
    return false;
}

/* The last eighth of the text, from the beginning of a word on, is held back for the step that evaluates. */
static nut_status hold_text(recipe *r, nut_error *err) {
    nut_compress_options *o = &r->options;
    if (!has_step(r, &recipe_evaluate)) return NUT_OK;
    if (!o->reads_output)
        return error_set(
            err, NUT_E_ARGUMENT,
            "step \"evaluate\" has to read what was written, which is not possible here; leave it "
            "out, and evaluate the model once it is there");
    size_t n = o->n_text - o->n_text / 8;
    while (n && o->text[n - 1] != ' ' && o->text[n - 1] != '\n') n--;
    r->n_held = o->n_text - n;
    o->n_text = n;
    return NUT_OK;
}

/* A type alone is one step. */
static nut_status type_steps(recipe *r, nut_error *err) {
    const nut_compress_options *o = &r->options;
    recipe_values *v = &r->steps[0].values;
    r->steps[0].kind = &recipe_round;
    r->n_steps = 1;
    const struct {
        const char *from, *is;
        char *to; // of 32 bytes
    } names[] = {{o->type, "type", v->type},
                 {o->mix, "mix", v->mix},
                 {o->embedding, "type", v->embedding},
                 {o->method, "method", v->method}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!names[i].from) continue;
        if (strlen(names[i].from) >= sizeof v->type)
            return error_set(err, NUT_E_ARGUMENT, "there is no %s \"%.20s\"", names[i].is, names[i].from);
        strcpy(names[i].to, names[i].from);
    }
    return recipe_round.check(v, err);
}

static nut_status read_steps(recipe *r, nut_error *err) {
    const nut_compress_options *o = &r->options;
    const char *text = o->recipe     ? o->recipe
                       : o->portable ? (o->fast ? portable_fast_steps : portable_steps)
                       : o->fast     ? fast_steps
                                     : auto_steps;
    const size_t n = o->recipe ? o->n_recipe : strlen(text);
    TRY(recipe_read(text, n, r->steps, &r->n_steps, err));
    r->json = mem_alloc(n + 1);
    if (!r->json) return error_memory(err, n);
    memcpy(r->json, text, n);
    r->json[n] = 0;
    return merge_options(r, err);
}

/* They are for a step that rounds. */
static nut_status read_statistics(recipe *r, nut_error *err) {
    const nut_compress_options *o = &r->options;
    if (!o->statistics) return NUT_OK;
    for (size_t i = 0; i < r->n_steps; i++)
        if (r->steps[i].kind == &recipe_round)
            return imatrix_read(&r->imatrix, o->statistics, o->n_statistics, err);
    return error_set(err, NUT_E_ARGUMENT,
                     "no step of the recipe reads a file of statistics; \"round\" does");
}

static nut_status begin(recipe *r, nut_error *err) {
    const nut_compress_options *o = &r->options;
    const unsigned n_threads = o->n_threads ? o->n_threads : 1;
    TRY(check_options(o, err));
    TRY(o->type || o->mix || o->embedding || o->method || !(o->recipe || o->size || o->bpw > 0)
            ? type_steps(r, err)
            : read_steps(r, err));
    TRY(hold_text(r, err));
    TRY(read_statistics(r, err));
    TRY(threads_new(n_threads < 64 ? n_threads : 64, &r->team, err));
    return coded_plan_new(r->team, &r->plan, err);
}

nut_status recipe_begin(const nut_compress_options *options, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    recipe *r = mem_calloc(1, sizeof *r);
    if (!r) return error_memory(err, sizeof *r);
    r->job.ops = &ops;
    r->options = *options;
    if (!options->text) r->options.text = nut_calibrate_text(&r->options.n_text);
    r->state.kept = options->keeps_state;
    const nut_status status = begin(r, err);
    r->phase = next_part;
    if (has_step(r, &recipe_calibrate)) r->phase = read_source;
    r->options.type = r->options.mix = r->options.embedding = r->options.method = NULL; // steps have them
    r->options.recipe = NULL;
    if (status == NUT_OK)
        *out = &r->job;
    else
        free_job(&r->job);
    return status;
}
