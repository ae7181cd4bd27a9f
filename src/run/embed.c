/* A text as rows and as one vector: what models that do not write are for. */
#include "run/session.h"

#include "base/error.h"

#include <math.h>
#include <string.h>

/* ---- pooling ---- */

/* Takes rows [begin, begin + n) of n_all into the pooled vector. */
static void pool_rows(size_t n_embd, model_pooling how, const float *rows, size_t begin, size_t n,
                      size_t n_all, float *pooled) {
    for (size_t t = 0; t < n; t++) {
        const float *row = rows + t * n_embd;
        const size_t only = how == MODEL_POOL_FIRST ? 0 : n_all - 1;
        const bool mean = how == MODEL_POOL_NONE || how == MODEL_POOL_MEAN;
        for (size_t i = 0; (mean || begin + t == only) && i < n_embd; i++)
            pooled[i] += mean ? row[i] / (float)n_all : row[i];
    }
}

static nut_status normalize(float *x, size_t n, nut_error *err) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
    if (!(squares > 0) || isinf(squares))
        return error_set(err, NUT_E_CORRUPT,
                         "the model computes zeros or what is no number for this text; its file is damaged");
    for (size_t i = 0; i < n; i++) x[i] = (float)((double)x[i] / sqrt(squares));
    return NUT_OK;
}

/* ---- a text ---- */

static nut_status check_text(const nut_session *s, const int32_t *ids, size_t n, nut_error *err) {
    const workspace *ws = s->seq.ws;
    TRY(session_check_idle(s, err));
    if (n == 0) return error_set(err, NUT_E_ARGUMENT, "the text is empty; give at least one token");
    if (n > s->seq.n_ctx)
        return error_set(err, NUT_E_CONTEXT, "the text has %zu tokens and the context holds %u", n,
                         s->seq.n_ctx);
    if (n > ws->n_batch && !ws->model->hp.causal)
        return error_set(err, NUT_E_CONTEXT,
                         "this model reads a text as a whole: %zu tokens need a larger batch than %u", n,
                         ws->n_batch);
    return session_check_ids(ws->model, ids, n, err);
}

nut_status session_pool(nut_session *s, const int32_t *ids, size_t n, model_pooling how, float *hidden,
                        float *pooled, nut_error *err) {
    workspace *ws = s->seq.ws;
    const size_t n_embd = ws->model->hp.n_embd;
    TRY(check_text(s, ids, n, err));
    TRY(session_rewind(s, 0, err));
    if (pooled) memset(pooled, 0, n_embd * sizeof *pooled);
    for (size_t i = 0, some; i < n; i += some) {
        some = n - i < ws->n_batch ? n - i : ws->n_batch;
        TRY(session_hidden(&s->seq, ids + i, some, err));
        if (hidden) memcpy(hidden + i * n_embd, ws->normed, some * n_embd * sizeof *hidden);
        if (pooled) pool_rows(n_embd, how, ws->normed, i, some, n, pooled);
    }
    return NUT_OK;
}

nut_status nut_session_embed(nut_session *s, const int32_t *ids, size_t n, float *hidden, float *pooled,
                             nut_error *err) {
    const nut_model *m = s->seq.ws->model;
    const model_pooling how = m->hp.pooling == MODEL_POOL_RANK ? m->arch->head.reads : m->hp.pooling;
    TRY(session_pool(s, ids, n, how, hidden, pooled, err));
    return pooled ? normalize(pooled, m->hp.n_embd, err) : NUT_OK;
}
