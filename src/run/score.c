/* Scores of a text by the head of a reranker or classifier. The head is small: the caller's thread runs what
 * is no product. */
#include "run/linear.h"

#include "base/error.h"

#include <math.h>
#include <string.h>

static nut_status check_head(const nut_model *m, nut_error *err) {
    if (!nut_model_n_scores(m))
        return error_set(err, NUT_E_UNSUPPORTED,
                         "the model gives no scores: its file has no head (cls.output.weight)");
    if (m->head.dense.w.format || m->arch->head.act == ARCH_ACT_SOFTMAX) return NUT_OK;
    return error_set(
        err, NUT_E_UNSUPPORTED,
        "the model's head is not complete: a layer in front of its scores (cls.weight) is missing, "
        "which some converters leave out; convert the model again with another one");
}

/* x (n) = exp(x) / sum(exp(x)) */
static void softmax(float *x, size_t n) {
    float most = x[0], sum = 0;
    for (size_t i = 1; i < n; i++) most = fmaxf(most, x[i]);
    for (size_t i = 0; i < n; i++) sum += x[i] = kernel_exp(x[i] - most);
    for (size_t i = 0; i < n; i++) x[i] /= sum;
}

/* The head's first product and what follows it, in ws->refined. */
static void refine(const forward_step *s) {
    const nut_model *m = s->m;
    const size_t n = m->hp.n_embd;
    float *x = s->ws->refined;
    linear_run(s, &m->head.dense, s->ws->text, n, x);
    if (m->arch->head.act == ARCH_ACT_TANH)
        s->k->softcap(x, 1, n);
    else
        s->k->activate(KERNEL_GELU, x, n);
    if (m->head.norm.weight) s->k->layer_norm(x, m->head.norm.weight, NULL, n, m->hp.norm_eps, x);
}

nut_status nut_session_score(nut_session *session, const int32_t *ids, size_t n, float *scores,
                             nut_error *err) {
    workspace *ws = session->seq.ws;
    const nut_model *m = ws->model;
    TRY(check_head(m, err));
    TRY(session_pool(session, ids, n, m->arch->head.reads, NULL, ws->text, err));
    const forward_step s = step_of(ws, ws->rows, 1);
    const bool refines = m->head.dense.w.format != NULL;
    if (refines) refine(&s);
    linear_run(&s, &m->head.out, refines ? ws->refined : ws->text, m->hp.n_embd, ws->scores);
    if (m->arch->head.act == ARCH_ACT_SOFTMAX) softmax(ws->scores, m->hp.n_labels);
    memcpy(scores, ws->scores, m->hp.n_labels * sizeof *scores);
    for (size_t i = 0; i < m->hp.n_labels; i++)
        if (!isfinite(scores[i]))
            return error_set(err, NUT_E_CORRUPT,
                             "the model computes what is no number for this text; its file is damaged");
    return NUT_OK;
}
