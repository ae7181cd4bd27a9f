/*
 * The job that evaluates a model on a text, alone or beside a reference. The text goes through both models
 * batch by batch, so that memory is both models and a batch's logits. Convention of windows: perplexity.c.
 */
#include "base/error.h"
#include "base/job.h"
#include "base/mem.h"
#include "evaluate/figures.h"
#include "evaluate/stored.h"
#include "kernels/gemm.h"
#include "run/session.h"

#include <math.h>
#include <string.h>

enum { DEFAULT_WINDOW = 512 };

typedef struct evaluate {
    nut_job job;
    nut_status (*phase)(struct evaluate *e, nut_error *err); // what the next step does
    nut_evaluate_options options;
    nut_session *session;
    windows windows;
    uint32_t i;  // the window that is evaluated
    uint32_t at; // its next token
    uint32_t n;  // tokens of the batch
    uint64_t written;
    uint8_t header[STORED_HEADER];
    stored_form form; // of logits that are read or written
    uint32_t first;   // position of a window whose logits are the first that are scored
    uint8_t *bytes;   // (batch, stored_row_bytes) of stored logits
    float *stored;    // (n_vocab) of a row of them
    float *kl;        // (n_scored) of each token, where there is a reference
    uint64_t n_kl;
    nut_evaluation_window *each;                          // (windows.n) sums, and means once all is done
    uint64_t n_bytes;                                     // of scored tokens
    figures_mean nll, reference_nll, kls, flips, squares; // squares of the change of p
    uint64_t n_same;
} evaluate;

static bool has_reference(const evaluate *e) {
    return e->options.reference || e->options.stored;
}

static uint32_t n_vocab(const evaluate *e) {
    return e->session->seq.ws->model->hp.n_vocab;
}

static uint32_t first_scored(const evaluate *e) {
    return e->first;
}

static const int32_t *window_ids(const evaluate *e) {
    return e->windows.ids + (size_t)e->i * e->windows.window;
}

/* ---- tokens ---- */

static nut_status add_token(evaluate *e, const float *logits, const float *reference, int32_t id,
                            nut_error *err) {
    const vocab *v = e->session->seq.ws->model->vocab;
    TRY(sampler_check_logits(logits, n_vocab(e), err));
    const figures_row own = figures_of_row(logits, n_vocab(e));
    nut_evaluation_window *window = &e->each[e->i];
    figures_add(&e->nll, -figures_log_p(&own, (size_t)id));
    window->nll -= figures_log_p(&own, (size_t)id);
    e->n_bytes += vocab_token_text(v, id, true, NULL, 0);
    if (!reference) return NUT_OK;
    TRY(sampler_check_logits(reference, n_vocab(e), err));
    const figures_row other = figures_of_row(reference, n_vocab(e));
    const figures_token t = figures_compare(&own, &other, (size_t)id);
    figures_add(&e->reference_nll, t.reference_nll);
    figures_add(&e->kls, t.kl);
    figures_add(&e->flips, t.flip);
    figures_add(&e->squares, t.delta_p * t.delta_p);
    window->reference_nll += t.reference_nll, window->kl += t.kl;
    e->kl[e->n_kl++] = (float)t.kl;
    e->n_same += t.same_top;
    return NUT_OK;
}

/* The reference's logits for row r of the batch; NULL: there are none. */
static nut_status reference_row(evaluate *e, uint32_t r, const float **out, nut_error *err) {
    *out = NULL;
    if (e->options.reference) *out = nut_session_logits(e->options.reference, r);
    if (!e->options.stored) return NUT_OK;
    if (!stored_get(e->form, e->bytes + r * stored_row_bytes(e->form, n_vocab(e)), n_vocab(e),
                    nut_session_logits(e->session, r), e->stored))
        return error_set(err, NUT_E_CORRUPT, "the stored logits are damaged; store them again");
    *out = e->stored;
    return NUT_OK;
}

static nut_status score_batch(evaluate *e, nut_error *err) {
    const int32_t *ids = window_ids(e);
    for (uint32_t r = 0; r < e->n; r++) {
        const float *reference;
        TRY(reference_row(e, r, &reference, err));
        TRY(add_token(e, nut_session_logits(e->session, r), reference, ids[e->at + r + 1], err));
    }
    return NUT_OK;
}

/* ---- steps ---- */

static nut_status next_batch(evaluate *e, nut_error *err);

static nut_status finish(evaluate *e, nut_error *err) {
    const double n = (double)e->nll.n / (double)e->windows.n;
    (void)err;
    for (size_t i = 0; i < e->windows.n; i++)
        e->each[i].nll /= n, e->each[i].reference_nll /= n, e->each[i].kl /= n;
    if (e->n_kl) figures_sort(e->kl, (size_t)e->n_kl);
    job_done(&e->job);
    return NUT_OK;
}

static nut_status end_batch(evaluate *e, nut_error *err) {
    const uint64_t n = e->windows.window - 1;
    (void)err;
    e->at += e->n;
    job_progress(&e->job, "tokens", e->i * n + e->at, e->windows.n * n);
    if (e->at == n) e->at = 0, e->i++;
    e->phase = e->i < e->windows.n ? next_batch : finish;
    return NUT_OK;
}

static nut_status write_batch(evaluate *e, nut_error *err) {
    const size_t row = stored_row_bytes(e->form, n_vocab(e));
    (void)err;
    for (uint32_t r = 0; r < e->n; r++)
        stored_put(e->form, nut_session_logits(e->session, r), n_vocab(e), e->bytes + r * row);
    job_write(&e->job, e->written, e->bytes, e->n * row);
    e->written += e->n * row;
    e->phase = end_batch;
    return NUT_OK;
}

static nut_status eval_session(const evaluate *e, nut_session *s, bool scored, nut_error *err) {
    if (e->at == 0) TRY(nut_session_truncate(s, 0, err));
    return nut_session_eval(s, window_ids(e) + e->at, e->n, scored ? e->n : 0, err);
}

static nut_status eval_batch(evaluate *e, nut_error *err) {
    const bool scored = e->at >= first_scored(e);
    TRY(eval_session(e, e->session, scored, err));
    if (e->options.reference) TRY(eval_session(e, e->options.reference, scored, err));
    if (scored) TRY(score_batch(e, err));
    e->phase = scored && e->options.store ? write_batch : end_batch;
    return NUT_OK;
}

static uint32_t smaller(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* Tokens that all of both can take at once. */
static uint32_t most_tokens(const evaluate *e, bool scored) {
    const workspace *a = e->session->seq.ws, *b = e->options.reference ? e->options.reference->seq.ws : a;
    return scored ? smaller(a->n_logits_max, b->n_logits_max) : smaller(a->n_batch, b->n_batch);
}

static nut_status next_batch(evaluate *e, nut_error *err) {
    const bool scored = e->at >= first_scored(e);
    const uint32_t end = scored ? e->windows.window - 1 : first_scored(e);
    (void)err;
    e->n = smaller(most_tokens(e, scored), end - e->at);
    e->phase = eval_batch;
    if (!scored || !e->options.stored) return NUT_OK;
    const uint64_t each = e->windows.window - 1 - first_scored(e),
                   row = e->i * each + e->at - first_scored(e),
                   bytes = stored_row_bytes(e->form, n_vocab(e));
    job_want(&e->job, 0, STORED_HEADER + row * bytes, e->bytes, (size_t)(e->n * bytes));
    return NUT_OK;
}

/* ---- the beginning ---- */

static nut_status take_memory(evaluate *e, nut_error *err) {
    const uint64_t n_scored = (uint64_t)e->windows.n * (e->windows.window - 1 - first_scored(e)),
                   row = (uint64_t)n_vocab(e), batch = most_tokens(e, true);
    if (e->options.stored || e->options.store) {
        e->bytes = mem_calloc((size_t)batch, stored_row_bytes(e->form, n_vocab(e)));
        e->stored = mem_calloc((size_t)row, sizeof *e->stored);
        if (!e->bytes || !e->stored) return error_memory(err, batch * row * 2);
    }
    e->each = mem_calloc(e->windows.n, sizeof *e->each);
    if (!e->each) return error_memory(err, e->windows.n * sizeof *e->each);
    if (!has_reference(e)) return NUT_OK;
    e->kl = n_scored < SIZE_MAX ? mem_calloc((size_t)n_scored, sizeof *e->kl) : NULL;
    return e->kl ? NUT_OK : error_memory(err, n_scored * sizeof *e->kl);
}

static nut_status write_header(evaluate *e, nut_error *err) {
    TRY(take_memory(e, err));
    e->phase = next_batch;
    if (!e->options.store) return NUT_OK;
    stored_header(e->form, &e->windows, e->first, e->session->seq.ws->model->vocab, e->header);
    job_write(&e->job, 0, e->header, STORED_HEADER);
    e->written = STORED_HEADER;
    return NUT_OK;
}

static nut_status check_header(evaluate *e, nut_error *err) {
    const vocab *v = e->session->seq.ws->model->vocab;
    TRY(stored_check(e->header, e->job.size, &e->windows, v, &e->form, &e->first, err));
    return write_header(e, err);
}

static nut_status read_header(evaluate *e, nut_error *err) {
    if (e->job.size < STORED_HEADER)
        return error_set(err, NUT_E_ARGUMENT, "the file is too short to hold stored logits");
    job_want(&e->job, 0, 0, e->header, STORED_HEADER);
    e->phase = check_header;
    return NUT_OK;
}

static nut_status open_stored(evaluate *e, nut_error *err) {
    (void)err;
    job_open(&e->job, 0, 1);
    e->phase = read_header;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    evaluate *e = (evaluate *)job;
    return e->phase(e, err);
}

static void free_job(nut_job *job) {
    evaluate *e = (evaluate *)job;
    windows_free(&e->windows);
    mem_free(e->bytes);
    mem_free(e->stored);
    mem_free(e->kl);
    mem_free(e->each);
    mem_free(e);
}

static const job_ops ops = {step, free_job};

/* That both see the same tokens. */
static nut_status check_reference(const evaluate *e, const char *text, size_t n_text, nut_error *err) {
    const nut_session *r = e->options.reference;
    windows other = {0};
    if (!r) return NUT_OK;
    if (r == e->session || r->seq.ws == e->session->seq.ws)
        return error_set(err, NUT_E_ARGUMENT, "the reference must have a workspace of its own");
    nut_status status =
        windows_of_text(&other, r->seq.ws->model->vocab, text, n_text, false, e->windows.window, err);
    const size_t n = other.n_ids < e->windows.n_ids ? other.n_ids : e->windows.n_ids;
    if (status == NUT_OK && (r->seq.ws->model->hp.n_vocab != n_vocab(e) || other.n_ids != e->windows.n_ids ||
                             (n && memcmp(other.ids, e->windows.ids, n * sizeof *other.ids) != 0)))
        status =
            error_set(err, NUT_E_ARGUMENT,
                      "the reference has another vocabulary than the model; compare models of one kind");
    windows_free(&other);
    return status;
}

static nut_status check_context(const nut_session *s, uint32_t window, nut_error *err) {
    if (!s || (window >= 4 && window <= s->seq.n_ctx)) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "the window must be 4 to %u tokens (the session's context), not %u", s->seq.n_ctx,
                     window);
}

static nut_status begin(evaluate *e, const char *text, size_t n_text, nut_error *err) {
    const nut_evaluate_options *o = &e->options;
    const uint32_t window = o->window ? o->window : DEFAULT_WINDOW;
    const vocab *v = e->session->seq.ws->model->vocab;
    if (o->store && o->stored)
        return error_set(err, NUT_E_ARGUMENT, "logits cannot be stored while stored ones are compared with");
    if (o->reference && o->stored)
        return error_set(err, NUT_E_ARGUMENT, "give one reference, a model or its stored logits");
    TRY(check_context(e->session, window, err));
    TRY(check_context(o->reference, window, err));
    TRY(windows_of_text(&e->windows, v, text, n_text, false, window, err));
    TRY(check_reference(e, text, n_text, err));
    if (e->windows.n_ids < window)
        return error_set(err, NUT_E_ARGUMENT,
                         "the text has %zu tokens, less than one window of %u; give a longer text",
                         e->windows.n_ids, window);
    windows_begin(&e->windows, v);
    windows_whole(&e->windows, o->max_windows);
    e->first = o->whole_windows ? 0 : window / 2;
    e->phase = o->stored ? open_stored : write_header;
    return NUT_OK;
}

nut_status nut_evaluate_begin(nut_session *session, const char *text, size_t n_text,
                              const nut_evaluate_options *options, nut_job **out, nut_error *err) {
    evaluate *e = mem_calloc(1, sizeof *e);
    if (!e) return error_memory(err, sizeof *e);
    e->job.ops = &ops;
    e->options = *options;
    e->form = options->store_short ? STORED_SHORT : STORED_WHOLE;
    e->session = session;
    const nut_status status = begin(e, text, n_text, err);
    if (status == NUT_OK)
        *out = &e->job;
    else
        free_job(&e->job);
    return status;
}

/* ---- results ---- */

static nut_estimate perplexity_of(nut_estimate nll) {
    return figures_scaled(nll, exp(nll.value), exp(nll.value));
}

static void get_comparison(const evaluate *e, nut_comparison *c) {
    const size_t n = (size_t)e->n_kl;
    const nut_estimate squares = figures_estimate(&e->squares);
    const double rms = sqrt(squares.value);
    c->reference_perplexity = perplexity_of(figures_estimate(&e->reference_nll));
    c->kl = figures_estimate(&e->kls);
    c->kl_median = figures_quantile(e->kl, n, 0.5);
    c->kl_p90 = figures_quantile(e->kl, n, 0.9);
    c->kl_p99 = figures_quantile(e->kl, n, 0.99);
    c->kl_p999 = figures_quantile(e->kl, n, 0.999);
    c->kl_max = (double)e->kl[n - 1];
    for (int i = 0; i <= 100; i++) c->kl_percentiles[i] = figures_quantile(e->kl, n, i / 100.0);
    c->same_top = figures_fraction(e->n_same, e->n_kl);
    c->flips = figures_estimate(&e->flips);
    c->rms_delta_p = figures_scaled(squares, rms, rms > 0 ? 0.5 / rms : 0);
}

nut_status nut_evaluate_get(const nut_job *job, nut_evaluation *out, nut_error *err) {
    const evaluate *e = (const evaluate *)job;
    if (job->ops != &ops || job->event.kind != NUT_JOB_DONE)
        return error_set(err, NUT_E_STATE, "the evaluation is not known before its job is done");
    *out = (nut_evaluation){.n_windows = (uint32_t)e->windows.n,
                            .n_scored = e->nll.n,
                            .n_bytes = e->n_bytes,
                            .nll = figures_estimate(&e->nll),
                            .compared = has_reference(e)};
    out->perplexity = perplexity_of(out->nll);
    const double bits = (double)e->nll.n / (e->n_bytes ? (double)e->n_bytes : 1) / log(2);
    out->bits_per_byte = figures_scaled(out->nll, out->nll.value * bits, bits);
    if (out->compared) get_comparison(e, &out->comparison);
    return NUT_OK;
}

nut_status nut_evaluate_window(const nut_job *job, uint32_t i, nut_evaluation_window *out, nut_error *err) {
    const evaluate *e = (const evaluate *)job;
    if (job->ops != &ops || job->event.kind != NUT_JOB_DONE)
        return error_set(err, NUT_E_STATE, "the windows are not known before their job is done");
    if (i >= e->windows.n)
        return error_set(err, NUT_E_ARGUMENT, "there are %zu windows, and no %u", e->windows.n, (unsigned)i);
    *out = e->each[i];
    return NUT_OK;
}

void nut_evaluate_fast(nut_model *model) {
    if (model->hp.reference) model->float_product = gemm_mul_mat;
}
