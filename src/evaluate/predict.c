/*
 * How fast a model would be on this machine, from its headers. What decides that is what a step does: so
 * some layers of the model, whose weights are zeros, run as in a session, in turn with what is outside of
 * layers, and each layer is timed alone. Integer and float products take as long with zeros as with any
 * numbers.
 */
#include "base/clock.h"
#include "base/error.h"
#include "evaluate/figures.h"
#include "evaluate/predict.h"
#include "run/layer_load.h"
#include "run/session.h"

#include <string.h>

enum {
    KEPT_BYTES = 96 << 20, // of layers that run: more than caches of processors hold
    MOST_KEPT = 64,
    LEAST_KEPT = 2,
    MOST_TIMES = 512, // that each part is timed
    LEAST_TIMES = 5,
    PAST = 256,
};
static const double SECONDS = 0.4;

typedef struct predict {
    nut_model *m;
    nut_session *s;
    layer_load outside, kept[MOST_KEPT];
    uint32_t n_kept, n_open;
    predict_layer *layers; // (n_layer)
    float *times;          // (1 + n_kept, MOST_TIMES) seconds of what is outside, and of each layer
    size_t n_times;
    unsigned n_threads;
} predict;

/* ---- weights ---- */

/* Memory that was taken cleared is one page of zeros until it is written. */
static void touch(const layer_load *l) {
    for (size_t i = 0; i < l->n_bindings; i++) {
        const binding *b = &l->bindings[i];
        const uint64_t stack = b->spec->kind == TENSOR_STACK ? b->source->dims[2] : 1;
        for (size_t k = 0; k < BIND_PARTS && b->w[k]; k++)
            for (const matrix *w = b->w[k]; w < b->w[k] + stack; w++) memset(w->data, 0, matrix_bytes(w));
    }
}

static nut_status count_bytes(predict *p, nut_prediction *out, nut_error *err) {
    const nut_model *m = p->m;
    p->layers = mem_calloc(m->hp.n_layer, sizeof *p->layers);
    if (!p->layers) return error_memory(err, m->hp.n_layer * sizeof *p->layers);
    for (uint32_t il = 0; il < m->hp.n_layer; il++) {
        layer_load l;
        TRY(layer_load_begin(p->m, (int)il, &l, err));
        out->weight_bytes += p->layers[il].bytes = l.memory.size;
        layer_load_free(&l);
    }
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        const uint64_t *d = m->header.tensors[i].dims;
        out->n_params += d[0] * d[1] * d[2] * d[3];
    }
    return NUT_OK;
}

/* Layers all over the depth of the model. */
static nut_status open_layers(predict *p, uint64_t all, nut_error *err) {
    const uint32_t n_layer = p->m->hp.n_layer;
    uint64_t n = all ? (uint64_t)KEPT_BYTES * n_layer / all : n_layer;
    if (n < LEAST_KEPT) n = LEAST_KEPT;
    if (n > MOST_KEPT) n = MOST_KEPT;
    p->n_kept = n < n_layer ? (uint32_t)n : n_layer;
    for (uint32_t i = 0; i < p->n_kept; i++) {
        const uint64_t il = (uint64_t)i * n_layer / p->n_kept;
        TRY(layer_load_begin(p->m, (int)il, &p->kept[i], err));
        p->n_open++;
        touch(&p->kept[i]);
    }
    return NUT_OK;
}

/* ---- time ---- */

static void fill_cache(sequence *q, uint32_t n_past) {
    sequence_claim(q, n_past + 1);
    for (uint32_t i = 0; i < q->n_pages; i++) memset(q->pages[i], 0, q->ws->pages.page_bytes);
    if (q->n_recent) memset(q->recent, 0, q->n_recent * q->ws->recent_bytes);
    memset(q->tokens, 0, q->n_ctx * sizeof *q->tokens);
    q->n_past = n_past;
}

/* One step, whose parts are timed. */
static void run_step(predict *p) {
    sequence *q = &p->s->seq;
    workspace *ws = q->ws;
    const int32_t id = 0;
    float *times = p->times + p->n_times++;
    ws->rows[0] = (step_row){q, q->n_past}, ws->kept[0] = 0;
    forward_step s = step_of(ws, ws->rows, 1);
    double before = clock_work_seconds(p->n_threads), now;
    forward_embed(&s, &id);
    times[0] = (float)(clock_work_seconds(p->n_threads) - before);
    for (uint32_t i = 0; i < p->n_kept; i++) {
        const uint32_t il = (uint32_t)p->kept[i].which;
        before = clock_work_seconds(p->n_threads);
        forward_layers(&s, il, il + 1);
        now = clock_work_seconds(p->n_threads);
        times[(size_t)(1 + i) * MOST_TIMES] = (float)(now - before);
    }
    before = clock_work_seconds(p->n_threads);
    forward_head(&s, ws->kept, 1);
    times[0] += (float)(clock_work_seconds(p->n_threads) - before);
}

/* The middle one: other programs disturb some. */
static double middle(predict *p, size_t part) {
    float *times = p->times + part * MOST_TIMES;
    figures_sort(times, p->n_times);
    return figures_quantile(times, p->n_times, 0.5);
}

/* Seconds a byte of the layers that ran; of those like l where there are such. */
static double rate(const predict_layer *layers, uint32_t n, const predict_layer *l) {
    double took = 0, bytes = 0, all = 0, all_bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        const predict_layer *k = &layers[i];
        if (!(k->seconds > 0)) continue;
        all += k->seconds, all_bytes += (double)k->bytes;
        if (k->mixer == l->mixer && k->ffn == l->ffn) took += k->seconds, bytes += (double)k->bytes;
    }
    return bytes > 0 ? took / bytes : all_bytes > 0 ? all / all_bytes : 0;
}

double predict_layers(const predict_layer *layers, uint32_t n) {
    double seconds = 0;
    for (uint32_t i = 0; i < n; i++) seconds += rate(layers, n, &layers[i]) * (double)layers[i].bytes;
    return seconds;
}

static void measure(predict *p, double budget, nut_prediction *out) {
    const nut_model *m = p->m;
    const double begin = clock_seconds();
    run_step(p);
    p->n_times = 0; // the first one finds nothing in the caches
    while (p->n_times < LEAST_TIMES || (clock_seconds() - begin < budget && p->n_times < MOST_TIMES))
        run_step(p);
    for (uint32_t il = 0; il < m->hp.n_layer; il++)
        p->layers[il].mixer = m->layers[il].hp.mixer, p->layers[il].ffn = m->layers[il].hp.ffn;
    for (uint32_t i = 0; i < p->n_kept; i++) p->layers[p->kept[i].which].seconds = middle(p, 1 + i);
    out->seconds = middle(p, 0) + predict_layers(p->layers, m->hp.n_layer);
    out->n_measured = p->n_kept;
}

/* ---- all ---- */

static nut_status open_session(predict *p, const nut_predict_options *o, nut_prediction *out,
                               nut_error *err) {
    nut_session_options so = {.n_ctx = o->n_ctx, .n_threads = o->n_threads, .kv_type = o->kv_type};
    out->session_bytes = session_bytes(p->m, &so);
    const uint32_t n_ctx = session_context(p->m, o->n_ctx), half = n_ctx / 2,
                   past = o->n_past     ? o->n_past
                          : half < PAST ? half
                                        : PAST;
    if (n_ctx > p->m->hp.n_ctx_train)
        return error_set(err, NUT_E_ARGUMENT, "the model was trained with a context of %u positions, not %u",
                         p->m->hp.n_ctx_train, n_ctx);
    if (past >= n_ctx)
        return error_set(err, NUT_E_ARGUMENT, "position %u is outside of the context of %u", past, n_ctx);
    so.n_ctx = past + 1 > 2 ? past + 1 : 2;
    TRY(nut_session_new(p->m, &so, &p->s, err));
    p->n_threads = nut_session_n_threads(p->s);
    fill_cache(&p->s->seq, past);
    return NUT_OK;
}

static nut_status run(predict *p, const nut_predict_options *o, nut_prediction *out, nut_error *err) {
    TRY(session_check_causal(p->m, err));
    TRY(count_bytes(p, out, err));
    TRY(open_layers(p, out->weight_bytes, err));
    TRY(layer_load_begin(p->m, BIND_MODEL, &p->outside, err));
    touch(&p->outside);
    out->weight_bytes += p->outside.memory.size;
    TRY(open_session(p, o, out, err));
    p->times = mem_calloc((1 + (size_t)p->n_kept) * MOST_TIMES, sizeof *p->times);
    if (!p->times) return error_memory(err, (1 + (size_t)p->n_kept) * MOST_TIMES * sizeof *p->times);
    measure(p, o->seconds > 0 ? o->seconds : SECONDS, out);
    return NUT_OK;
}

static void close(predict *p) {
    nut_session_free(p->s);
    for (uint32_t i = 0; i < p->n_open; i++) layer_load_free(&p->kept[i]);
    layer_load_free(&p->outside);
    mem_free(p->layers);
    mem_free(p->times);
    nut_model_free(p->m);
    mem_free(p);
}

nut_status nut_predict_begin(const nut_load_options *options, uint64_t file_size, nut_loader **out,
                             nut_error *err) {
    nut_load_options o = *options;
    o.header_only = false;
    TRY(nut_load_begin(&o, file_size, out, err));
    load_headers_only(*out);
    return NUT_OK;
}

nut_status nut_predict_finish(nut_loader *loader, const nut_predict_options *options, nut_prediction *out,
                              nut_error *err) {
    predict *p = mem_calloc(1, sizeof *p);
    nut_prediction found = {0};
    nut_status status = p ? nut_load_finish(loader, &p->m, err) : error_memory(err, sizeof *p);
    if (status != NUT_OK) {
        nut_load_abort(loader);
        mem_free(p);
        return status;
    }
    status = run(p, options, &found, err);
    if (status == NUT_OK) *out = found;
    close(p);
    return status;
}
