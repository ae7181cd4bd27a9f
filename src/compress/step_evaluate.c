/*
 * The step that says what the written model has lost: {"step": "evaluate"}. Its text is the last eighth of
 * the recipe's, which calibration then does not see. The model is there already, so what stands in the way
 * of evaluating it is told, and no failure.
 */
#include "base/error.h"
#include "compress/recipe.h"
#include "evaluate/layered.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

typedef struct evaluating {
    nut_job job;
    nut_job *part; // NULL: over
    bool over;
    char note[480];
} evaluating;

static void say_result(evaluating *e) {
    const layered_result r = layered_get(e->part);
    snprintf(
        e->note, sizeof e->note,
        "on %llu tokens of text that calibration has not seen, in floats: KL divergence from the source "
        "%.4f +- %.4f, same likeliest token %.1f %%, perplexity %.2f (the source: %.2f)",
        (unsigned long long)r.same_top.n, r.kl.value, r.kl.error, 100 * r.same_top.value, exp(r.nll.value),
        exp(r.source_nll.value));
    job_note(&e->job, e->note);
}

static nut_status step(nut_job *job, nut_error *err) {
    evaluating *e = (evaluating *)job;
    bool over = false;
    nut_error why = {0};
    if (e->over) {
        job_done(&e->job);
        return NUT_OK;
    }
    const nut_status status = job_forward(&e->job, e->part, &over, &why);
    e->over = over;
    if (status == NUT_E_UNSUPPORTED || status == NUT_E_ARGUMENT) {
        e->over = true;
        snprintf(e->note, sizeof e->note, "the written model was not evaluated: %.400s", why.message);
        job_note(&e->job, e->note);
        return NUT_OK;
    }
    if (status != NUT_OK) return error_set(err, status, "%s", why.message);
    if (over) say_result(e);
    return NUT_OK;
}

static void free_job(nut_job *job) {
    evaluating *e = (evaluating *)job;
    nut_job_free(e->part);
    mem_free(e);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    const layered_options o = {.window = (uint32_t)v->window,
                               .n_windows = v->windows > 0 ? (uint32_t)v->windows : 8,
                               .n_threads = r->options.n_threads};
    coded_plan_free(r->plan); // its factors are as large as the model
    r->plan = NULL;
    evaluating *e = mem_calloc(1, sizeof *e);
    if (!e) return error_memory(err, sizeof *e);
    e->job.ops = &ops;
    const nut_status status =
        layered_begin(&o, r->options.text + r->options.n_text, r->n_held, &e->part, err);
    if (status == NUT_OK)
        *out = &e->job;
    else
        free_job(&e->job);
    return status;
}

static const recipe_option options[] = {
    {"windows", RECIPE_NUMBER, offsetof(recipe_values, windows), 1, 1000},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
};

const recipe_kind recipe_evaluate = {.name = "evaluate",
                                     .options = options,
                                     .n_options = sizeof options / sizeof *options,
                                     .needs = RECIPE_MODEL,
                                     .gives = RECIPE_LAST,
                                     .share = 10,
                                     .begin = begin};
