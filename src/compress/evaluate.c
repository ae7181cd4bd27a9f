/*
 * The judge: what a model, or a compressed one, is worth. Perplexity so far. Uses sessions through the
 * public API alone, so that it judges just what a user runs.
 */
#include "base/error.h"
#include "base/mem.h"
#include "kernels/kernels.h"
#include "run/session.h"

#include <math.h>

/* Negative log-likelihood of token id under logits (n), in nats. */
static double token_nll(const float *logits, size_t n, int32_t id) {
    float max = logits[0];
    for (size_t i = 1; i < n; i++)
        if (logits[i] > max) max = logits[i];
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)kernel_exp(logits[i] - max);
    return log(sum) - ((double)logits[id] - (double)max);
}

/* Scores one window: sums the loss of its tokens from window/2 + 1 on. ids are the window's, with BOS in
 * place. */
static nut_status score_window(nut_session *s, const int32_t *ids, uint32_t window, double *sum,
                               nut_error *err) {
    uint32_t first = window / 2, step = s->seq.ws->n_logits_max;
    TRY(nut_session_truncate(s, 0, err));
    if (first) TRY(nut_session_eval(s, ids, first, 0, err));
    for (uint32_t at = first; at + 1 < window; at += step) {
        uint32_t n = window - 1 - at < step ? window - 1 - at : step;
        TRY(nut_session_eval(s, ids + at, n, n, err));
        for (uint32_t i = 0; i < n; i++)
            *sum += token_nll(nut_session_logits(s, i), s->seq.ws->model->hp.n_vocab, ids[at + i + 1]);
    }
    return NUT_OK;
}

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

static nut_status score_all(nut_session *s, const int32_t *ids, uint32_t window, uint32_t n_windows,
                            int32_t *copy, nut_progress *progress, void *ctx, double *sum, nut_error *err) {
    const vocab *v = s->seq.ws->model->vocab;
    for (uint32_t w = 0; w < n_windows; w++) {
        for (uint32_t i = 0; i < window; i++) copy[i] = ids[(size_t)w * window + i];
        if (vocab_add_bos(v) && vocab_bos(v) >= 0) copy[0] = vocab_bos(v);
        TRY(score_window(s, copy, window, sum, err));
        if (progress && !progress(ctx, "window", w + 1, n_windows))
            return error_set(err, NUT_E_STATE, "stopped by the caller after %u of %u windows", w + 1,
                             n_windows);
    }
    return NUT_OK;
}

nut_status nut_perplexity(nut_session *s, const int32_t *ids, size_t n, uint32_t window,
                          uint32_t max_windows, nut_progress *progress, void *progress_ctx,
                          nut_perplexity_result *out, nut_error *err) {
    TRY(check_windows(s, n, window, err));
    TRY(session_check_ids(s->seq.ws->model, ids, n,
                          err)); // a window's last token is looked up, but never an input
    size_t windows = n / window;
    if (max_windows && windows > max_windows) windows = max_windows;
    int32_t *copy = mem_alloc(window * sizeof *copy);
    if (!copy) return error_memory(err, window * sizeof *copy);
    double sum = 0;
    nut_status status =
        score_all(s, ids, window, (uint32_t)windows, copy, progress, progress_ctx, &sum, err);
    mem_free(copy);
    if (status != NUT_OK) return status;
    out->n_windows = (uint32_t)windows;
    out->n_scored = windows * (window - 1 - window / 2);
    out->mean_nll = sum / (double)out->n_scored;
    out->perplexity = exp(out->mean_nll);
    return NUT_OK;
}
