/* Reading a model by events. */
#include "evaluate/model_source.h"

#include "base/error.h"
#include "base/mem.h"
#include "model/model.h"

static uint32_t file_of(const model_source *s) {
    return s->output ? NUT_JOB_OUTPUT : s->split;
}

/* ---- headers ---- */

static nut_status begin_file(model_source *s, const nut_job *job, bool reference, nut_error *err) {
    nut_load_options o = nut_load_defaults();
    o.reference = reference;
    s->at = 0;
    if (s->split > 0) return nut_load_next(s->loader, job->size, err);
    TRY(nut_load_begin(&o, job->size, &s->loader, err));
    load_headers_only(s->loader);
    return NUT_OK;
}

static nut_status finish(model_source *s, nut_error *err) {
    TRY(nut_load_finish(s->loader, &s->m, err));
    s->loader = NULL;
    return NUT_OK;
}

/* At the end of a file, finishing says what is missing. */
static nut_status want_header(model_source *s, nut_job *job, nut_error *err) {
    const uint64_t left = job->size - s->at;
    s->n = left < MODEL_SOURCE_READ ? (size_t)left : MODEL_SOURCE_READ;
    if (!s->n) return finish(s, err);
    job_want(job, file_of(s), s->at, s->bytes, s->n);
    s->state = SOURCE_READING;
    return NUT_OK;
}

static nut_status take_header(model_source *s, nut_job *job, nut_error *err) {
    TRY(nut_load_feed(s->loader, s->at, s->bytes, s->n, err));
    s->at += s->n;
    const nut_load_plan plan = nut_load_get_plan(s->loader);
    if (plan.n_read <= s->split) return want_header(s, job, err);
    s->n_splits = plan.n_splits;
    s->state = SOURCE_OPEN;
    return ++s->split < s->n_splits ? NUT_OK : finish(s, err);
}

nut_status model_source_headers(model_source *s, nut_job *job, bool reference, bool *ready, nut_error *err) {
    if (!s->bytes) s->bytes = mem_alloc(MODEL_SOURCE_READ);
    if (!s->bytes) return error_memory(err, MODEL_SOURCE_READ);
    switch (s->state) {
    case SOURCE_OPEN:
        job_open(job, file_of(s), s->n_splits);
        s->state = SOURCE_OPENED;
        break;
    case SOURCE_OPENED:
        TRY(begin_file(s, job, reference, err));
        TRY(want_header(s, job, err));
        break;
    case SOURCE_READING: TRY(take_header(s, job, err)); break;
    }
    *ready = s->m;
    return NUT_OK;
}

/* ---- layers ---- */

static void want_layer(model_source *s, nut_job *job, bool *ready) {
    uint64_t offset, left;
    *ready = !layer_load_wants(&s->layer, &s->split, &offset, &left);
    if (*ready) {
        s->state = SOURCE_OPEN;
        return;
    }
    s->n = left < MODEL_SOURCE_READ ? (size_t)left : MODEL_SOURCE_READ;
    job_want(job, file_of(s), offset, s->bytes, s->n);
    s->state = SOURCE_READING;
}

nut_status model_source_layer(model_source *s, nut_job *job, int which, bool *ready, nut_error *err) {
    if (s->state == SOURCE_OPEN)
        TRY(layer_load_begin(s->m, which, &s->layer, err));
    else
        TRY(layer_load_feed(&s->layer, s->bytes, s->n, err));
    want_layer(s, job, ready);
    return NUT_OK;
}

void model_source_unload(model_source *s) {
    if (s->layer.m) layer_load_free(&s->layer);
    s->state = SOURCE_OPEN;
}

void model_source_free(model_source *s) {
    model_source_unload(s);
    nut_load_abort(s->loader);
    nut_model_free(s->m);
    mem_free(s->bytes);
    *s = (model_source){0};
}
