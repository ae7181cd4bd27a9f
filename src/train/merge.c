/* The job that adds an adapter to a model's weights: what was learned in low rank becomes weights, as at the
 * end of training, and all other tensors are copied. */
#include "nutshell_train.h"

#include "base/error.h"
#include "evaluate/model_source.h"
#include "train/adapter.h"
#include "train/output.h"

#include <string.h>

typedef struct merge {
    nut_job job;
    nut_status (*phase)(struct merge *m, nut_error *err); // what the next step does
    nut_merge_options options;
    char type[8];
    adapter adapter;
    model_source source;
    layer_load *loads; // (n_layer + 1)
    size_t n_loads;
    threads *team;
    dense *d;
    learn *learn;
    float *numbers; // (learn->n)
    output output;
} merge;

static nut_status write_output(merge *m, nut_error *err) {
    bool over = false;
    TRY(output_step(&m->output, &m->job, &over, err));
    if (over) job_done(&m->job);
    return NUT_OK;
}

static nut_status check_family(const merge *m, nut_error *err) {
    gguf_str made_for, is;
    TRY(gguf_get_str(&m->adapter.g, "general.architecture", "", &made_for, err));
    TRY(gguf_get_str(&m->source.m->header, "general.architecture", "", &is, err));
    if (made_for.n == is.n && !memcmp(made_for.s, is.s, (size_t)is.n)) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "the adapter was made for a model of family %.*s, and this one is of family %.*s",
                     (int)(made_for.n < 40 ? made_for.n : 40), made_for.s, (int)is.n, is.s);
}

static nut_status prepare(merge *m, nut_error *err) {
    const learn_options o = {.names = "all",
                             .kind = &learn_lora,
                             .alpha = m->adapter.alpha,
                             .scale = m->options.scale,
                             .rank_of = adapter_rank,
                             .ctx = &m->adapter};
    TRY(check_family(m, err));
    if (m->adapter.g.n_tensors > 2 * m->source.m->header.n_tensors)
        return error_set(
            err, NUT_E_ARGUMENT,
            "the adapter has %llu tensors, more than there can be for this model; give the model "
            "that it was made for",
            (unsigned long long)m->adapter.g.n_tensors);
    TRY(threads_new(1, &m->team, err));
    TRY(dense_new(m->team, &m->d, err));
    TRY(learn_new(m->source.m, m->loads, m->n_loads, m->d, &o, &m->learn, err));
    m->numbers = mem_calloc(m->learn->n, sizeof *m->numbers);
    if (!m->numbers) return error_memory(err, m->learn->n * sizeof *m->numbers);
    m->learn->numbers = m->numbers;
    TRY(learn_begin(m->learn, err));
    TRY(adapter_take(&m->adapter, m->learn, err));
    m->phase = write_output;
    return output_begin(&m->output, m->learn, m->type, NULL, err);
}

/* What is outside of layers first. */
static nut_status load_parts(merge *m, nut_error *err) {
    const int which = m->n_loads ? (int)m->n_loads - 1 : BIND_MODEL;
    bool ready = false;
    TRY(model_source_layer(&m->source, &m->job, which, &ready, err));
    if (!ready) return NUT_OK;
    m->loads[m->n_loads++] = m->source.layer;
    m->source.layer = (layer_load){0};
    if (m->n_loads == m->source.m->hp.n_layer + 1) m->phase = prepare;
    return NUT_OK;
}

static nut_status read_headers(merge *m, nut_error *err) {
    bool ready = false;
    TRY(model_source_headers(&m->source, &m->job, true, &ready, err));
    if (!ready) return NUT_OK;
    m->loads = mem_calloc(m->source.m->hp.n_layer + 1, sizeof *m->loads);
    m->phase = load_parts;
    return m->loads ? NUT_OK : error_memory(err, m->source.m->hp.n_layer * sizeof *m->loads);
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    merge *m = (merge *)job;
    return m->phase(m, err);
}

static void free_job(nut_job *job) {
    merge *m = (merge *)job;
    output_free(&m->output);
    learn_free(m->learn);
    mem_free(m->numbers);
    dense_free(m->d);
    threads_free(m->team);
    for (size_t i = 0; i < m->n_loads; i++) layer_load_free(&m->loads[i]);
    mem_free(m->loads);
    model_source_free(&m->source);
    adapter_free(&m->adapter);
    mem_free(m);
}

static nut_status begin(merge *m, nut_error *err) {
    const nut_merge_options *o = &m->options;
    const char *type = o->type ? o->type : "";
    if (*type && strcmp(type, "f32") != 0 && strcmp(type, "f16") != 0)
        return error_set(err, NUT_E_ARGUMENT, "the type of merged matrices is f32 or f16, not \"%.20s\"",
                         type);
    if (!(o->scale > -1e6F && o->scale < 1e6F))
        return error_set(err, NUT_E_ARGUMENT, "the scale of an adapter is a number, such as 1");
    strcpy(m->type, type);
    return adapter_read(&m->adapter, o->adapter, o->n_adapter, err);
}

nut_status nut_merge_begin(const nut_merge_options *options, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    merge *m = mem_calloc(1, sizeof *m);
    if (!m) return error_memory(err, sizeof *m);
    m->job.ops = &ops;
    m->options = *options;
    m->phase = read_headers;
    const nut_status status = begin(m, err);
    if (status == NUT_OK)
        *out = &m->job;
    else
        free_job(&m->job);
    return status;
}
