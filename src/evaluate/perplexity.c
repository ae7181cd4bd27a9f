/*
 * Perplexity: how well a model predicts a text. The convention is that of llama.cpp's llama-perplexity: the
 * text is cut into windows, and of each the tokens of the second half are scored, so that every scored token
 * has at least half a window of context. A step of the job evaluates one batch in a caller's session, so
 * that just that is evaluated which a user runs.
 */
#include "base/error.h"
#include "base/job.h"
#include "base/mem.h"
#include "kernels/kernels.h"
#include "nutshell_compress.h"
#include "run/session.h"

#include <math.h>
#include <string.h>

typedef struct perplexity {
    nut_job job;
    nut_session *session;
    uint32_t window, n_windows;
    uint32_t i;    // the window that is evaluated
    uint32_t at;   // its next token
    double sum;    // negative log-likelihoods
    int32_t ids[]; // (n_windows, window), with BOS in place
} perplexity;

/* Negative log-likelihood of token id under logits (n), in nats. */
static double token_nll(const float *logits, size_t n, int32_t id) {
    float max = logits[0];
    for (size_t i = 1; i < n; i++)
        if (logits[i] > max) max = logits[i];
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)kernel_exp(logits[i] - max);
    return log(sum) - ((double)logits[id] - (double)max);
}

/* Tokens of a window's first half are read, those from window/2 + 1 on are scored too. */
static nut_status eval_batch(perplexity *p, nut_error *err) {
    nut_session *s = p->session;
    const int32_t *ids = p->ids + (size_t)p->i * p->window;
    const uint32_t first = p->window / 2, scored = p->at >= first;
    const uint32_t most = scored ? s->seq.ws->n_logits_max : s->seq.ws->n_batch,
                   end = scored ? p->window - 1 : first;
    const uint32_t n = end - p->at < most ? end - p->at : most;
    if (p->at == 0) TRY(nut_session_truncate(s, 0, err));
    TRY(nut_session_eval(s, ids + p->at, n, scored ? n : 0, err));
    for (uint32_t i = 0; scored && i < n; i++) {
        const float *logits = nut_session_logits(s, i);
        const uint32_t n_vocab = s->seq.ws->model->hp.n_vocab;
        TRY(sampler_check_logits(logits, n_vocab, err));
        p->sum += token_nll(logits, n_vocab, ids[p->at + i + 1]);
    }
    p->at += n;
    return NUT_OK;
}

static nut_status step(nut_job *job, nut_error *err) {
    perplexity *p = (perplexity *)job;
    const uint64_t n = p->window - 1;
    if (p->i == p->n_windows) {
        job_done(job);
        return NUT_OK;
    }
    TRY(eval_batch(p, err));
    job_progress(job, "tokens", p->i * n + p->at, p->n_windows * n);
    if (p->at == n) p->at = 0, p->i++;
    return NUT_OK;
}

static void free_job(nut_job *job) {
    mem_free(job);
}

static const job_ops ops = {step, free_job};

static nut_status check_windows(const nut_session *s, size_t n, uint32_t window, nut_error *err) {
    if (window < 4 || window > s->seq.n_ctx)
        return error_set(err, NUT_E_ARGUMENT,
                         "the window must be 4 to %u tokens (the session's context), not %u", s->seq.n_ctx,
                         window);
    if (n < window)
        return error_set(err, NUT_E_ARGUMENT,
                         "the text has %zu tokens, less than one window of %u; give a longer text", n,
                         window);
    return NUT_OK;
}

static void copy_windows(perplexity *p, const int32_t *ids) {
    const vocab *v = p->session->seq.ws->model->vocab;
    memcpy(p->ids, ids, (size_t)p->n_windows * p->window * sizeof *ids);
    if (vocab_add_bos(v) && vocab_bos(v) >= 0)
        for (uint32_t w = 0; w < p->n_windows; w++) p->ids[(size_t)w * p->window] = vocab_bos(v);
}

nut_status nut_perplexity_begin(nut_session *s, const int32_t *ids, size_t n, uint32_t window,
                                uint32_t max_windows, nut_job **out, nut_error *err) {
    size_t bytes;
    TRY(check_windows(s, n, window, err));
    TRY(session_check_ids(s->seq.ws->model, ids, n,
                          err)); // a window's last token is looked up, but never an input
    size_t windows = n / window < UINT32_MAX ? n / window : UINT32_MAX;
    if (max_windows && windows > max_windows) windows = max_windows;
    if (!size_mul(windows * window, sizeof *ids, &bytes) || !size_add(bytes, sizeof(perplexity), &bytes))
        return error_memory(err, UINT64_MAX);
    perplexity *p = mem_alloc(bytes);
    if (!p) return error_memory(err, bytes);
    *p = (perplexity){.job = {.ops = &ops}, .session = s, .window = window, .n_windows = (uint32_t)windows};
    copy_windows(p, ids);
    *out = &p->job;
    return NUT_OK;
}

nut_status nut_perplexity_get(const nut_job *job, nut_perplexity_result *out, nut_error *err) {
    const perplexity *p = (const perplexity *)job;
    if (job->ops != &ops || job->event.kind != NUT_JOB_DONE)
        return error_set(err, NUT_E_STATE, "the perplexity is not known before its job is done");
    out->n_windows = p->n_windows;
    out->n_scored = (uint64_t)p->n_windows * (p->window - 1 - p->window / 2);
    out->mean_nll = p->sum / (double)out->n_scored;
    out->perplexity = exp(out->mean_nll);
    return NUT_OK;
}
