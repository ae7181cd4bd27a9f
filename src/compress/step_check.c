/*
 * Reads what was written: its headers, and each layer's weights as a model that runs would have them, one
 * layer at a time. Coded tensors have checksums; others were written as they were made. What this engine
 * cannot run is said, and no failure.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/recipe.h"

#include <stdio.h>

typedef struct check {
    nut_job job;
    nut_status (*phase)(struct check *c, nut_error *err); // what the next step does
    model_source source;
    int which;
    char note[320];
} check;

static nut_status finish(check *c, nut_error *err) {
    (void)err;
    job_done(&c->job);
    return NUT_OK;
}

static nut_status check_layer(check *c, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&c->source, &c->job, c->which, &ready, err));
    if (!ready) return NUT_OK;
    model_source_unload(&c->source);
    if (++c->which < 0) c->which = 0;
    if ((uint32_t)c->which == c->source.m->hp.n_layer) c->phase = finish;
    return NUT_OK;
}

static nut_status check_headers(check *c, nut_error *err) {
    bool ready = false;
    nut_error why = {0};
    const nut_status status = model_source_headers(&c->source, &c->job, false, &ready, &why);
    if (status == NUT_E_UNSUPPORTED) {
        snprintf(c->note, sizeof c->note, "the written file was not loaded: %.250s", why.message);
        job_note(&c->job, c->note);
        c->phase = finish;
        return NUT_OK;
    }
    if (status != NUT_OK) return error_set(err, status, "%s", why.message);
    if (ready) c->phase = check_layer;
    return NUT_OK;
}

static nut_status step(nut_job *job, nut_error *err) {
    check *c = (check *)job;
    nut_error why = {0};
    const nut_status status = c->phase(c, &why);
    if (status == NUT_OK) return NUT_OK;
    return error_set(err, status, "what was written cannot be loaded: %s", why.message);
}

static void free_job(nut_job *job) {
    check *c = (check *)job;
    model_source_free(&c->source);
    mem_free(c);
}

nut_status check_begin(nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    check *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    c->job.ops = &ops;
    c->phase = check_headers;
    c->source.output = true;
    c->which = BIND_MODEL;
    *out = &c->job;
    return NUT_OK;
}
