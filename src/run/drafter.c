/*
 * Drafts by another model, or by the session's own without some of its layers.
 *
 * Whether a draft ends for lack of confidence is decided by the distribution of its next token before that
 * is drawn, and never by the token itself: else those that stay would not be distributed as they were drawn.
 */
#include "run/drafter.h"

#include "base/clock.h"
#include "base/error.h"
#include "run/confidence.h"
#include "run/reject.h"
#include "run/session.h"

#include <string.h>

/* Drafted tokens and the decisions on them need random numbers of their own. */
static const uint64_t OTHER_SEED = 0x9e3779b97f4a7c15u;
static const double KEPT = 0.9; // of a time, when another one comes

/* ---- one token ---- */

/* Samples a drafted token behind the tokens of q. Where the likeliest is taken, no shares are needed. */
static nut_status draw(drafter *d, const sequence *q, const float *logits, int32_t *id, nut_error *err) {
    if (d->sampler.options.temperature == 0.0f)
        return sampler_sample(&d->sampler, logits, q->tokens, q->n_past, id, err);
    float *shares = d->shares + d->n_shares++ * d->sampler.n_vocab;
    return reject_draw(&d->sampler, logits, q->tokens, q->n_past, shares, id, err);
}

static bool is_doubtful(const drafter *d, const float *logits) {
    return d->least > 0 && confidence_of(logits, d->sampler.n_vocab).share < d->least;
}

static nut_status sample(nut_session *s, const float *logits, int32_t *id, nut_error *err) {
    const generation *g = &s->generation;
    const drafter *d = s->drafter;
    const sequence *q = &s->seq;
    if (g->n_ahead == 0 || g->row >= d->n_shares)
        return sampler_sample(&s->sampler, logits, q->tokens, q->n_past, id, err);
    return reject_sample(&s->sampler, logits, q->tokens, q->n_past, d->shares + g->row * s->sampler.n_vocab,
                         q->tokens[q->n_past], id, err);
}

static nut_status begin(nut_session *s, const nut_generate_options *o, nut_error *err) {
    nut_generate_options own = *o;
    own.seed ^= OTHER_SEED;
    s->drafter->n_shares = 0;
    return sampler_reset(&s->drafter->sampler, &own, err);
}

/* ---- another model ---- */

/* Brings the other session to tokens (n), whose last one it reads anew. */
static nut_status follow(nut_session *by, const int32_t *tokens, uint32_t n, size_t n_logits,
                         nut_error *err) {
    uint32_t same = 0;
    while (same < by->seq.n_past && same + 1 < n && by->seq.tokens[same] == tokens[same]) same++;
    TRY(session_rewind(by, same, err));
    return session_eval(by, tokens + same, n - same, n_logits, err);
}

static nut_status read_with(nut_session *s, nut_error *err) {
    nut_session *by = s->drafter->by;
    if (s->seq.n_past == 0 || s->seq.n_past >= by->seq.n_ctx) return NUT_OK;
    return follow(by, s->seq.tokens, s->seq.n_past, 0, err);
}

static bool can_draft_with(const nut_session *s, size_t n) {
    return s->seq.n_past + 1 + n <= s->drafter->by->seq.n_ctx;
}

static nut_status draft_with(nut_session *s, int32_t *ids, size_t n, size_t *made, nut_error *err) {
    drafter *d = s->drafter;
    TRY(follow(d->by, s->seq.tokens, s->seq.n_past + 1, 1, err));
    for (size_t *i = made; *i < n; ++*i) {
        if (*i) TRY(session_eval(d->by, ids + *i, 1, 1, err));
        const float *logits = nut_session_logits(d->by, 0);
        if (is_doubtful(d, logits)) break;
        TRY(draw(d, &d->by->seq, logits, &ids[1 + *i], err));
    }
    return NUT_OK;
}

/* ---- the same model without layers ---- */

/* One token through the layers that are not left out; its logits are the workspace's. False where weights
 * could not be read. */
static bool run_without(sequence *q, const bool *left_out, int32_t id) {
    workspace *ws = q->ws;
    sequence_claim(q, 1);
    ws->rows[0] = (step_row){q, q->n_past};
    ws->kept[0] = 0;
    threads_limit(ws->team, ws->pace.now);
    forward_step s = step_of(ws, ws->rows, 1);
    forward_embed(&s, &id);
    if (!forward_without(&s, left_out)) return false;
    forward_head(&s, ws->kept, 1);
    q->tokens[q->n_past++] = id;
    return true;
}

static nut_status read_alone(nut_session *s, nut_error *err) {
    (void)s, (void)err;
    return NUT_OK;
}

static nut_status draft_alone(nut_session *s, int32_t *ids, size_t n, size_t *made, nut_error *err) {
    drafter *d = s->drafter;
    const uint32_t n_past = s->seq.n_past;
    nut_status status = NUT_OK;
    s->seq.ws->n_logits = 0;
    while (status == NUT_OK && *made < n) {
        if (!run_without(&s->seq, d->left_out, ids[*made])) status = NUT_E_IO;
        if (status != NUT_OK) break;
        if (is_doubtful(d, s->seq.ws->logits)) break;
        status = draw(d, &s->seq, s->seq.ws->logits, &ids[1 + *made], err);
        *made += status == NUT_OK;
    }
    s->seq.n_past = n_past;
    return status;
}

/* ---- a draft ---- */

/* Costs of a draft in steps of one: of each of its tokens, or of all for nothing. */
static void charge(drafter *d, draft *worth, size_t made, double seconds) {
    const double took = seconds / (double)(made ? made : 1);
    d->seconds = d->seconds > 0 ? KEPT * d->seconds + (1 - KEPT) * took : took;
    if (d->least == 0 || worth->one == 0) return;
    d->each = took / worth->one; // with what was run for a token that is not drafted
    if (made == 0) draft_spend(worth, d->each);
}

static size_t make(nut_session *s, int32_t *ids, size_t most) {
    drafter *d = s->drafter;
    draft *worth = &s->generation.draft;
    size_t made = 0;
    d->each = worth->one > 0 && d->seconds > 0 ? d->seconds / worth->one : d->share;
    const size_t n = draft_length(worth, d->by ? DRAFT_MODEL : DRAFT_LAYERS, d->each, most);
    if (n == 0 || (d->by && !can_draft_with(s, n))) return 0;
    const unsigned n_threads = threads_count(s->seq.ws->team);
    const double since = clock_work_seconds(n_threads);
    const nut_status status =
        d->by ? draft_with(s, ids, n, &made, NULL) : draft_alone(s, ids, n, &made, NULL);
    if (status != NUT_OK) made = 0; // the answer goes on without a draft
    charge(d, worth, made, clock_work_seconds(n_threads) - since);
    if (made == 0) d->n_shares = 0;
    return made;
}

static const drafter_calls calls_with = {begin, read_with, make, sample},
                           calls_alone = {begin, read_alone, make, sample};

/* ---- public calls ---- */

static nut_status check_room(const nut_session *s, nut_error *err) {
    TRY(session_check_idle(s, err));
    TRY(session_check_causal(s->seq.ws->model, err));
    if (s->seq.ws->n_state)
        return error_set(
            err, NUT_E_UNSUPPORTED,
            "this model keeps a state that cannot go back by single tokens, so drafts would not "
            "help; use it without");
    if (s->seq.ws->n_logits_max > 1) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "the session has no room for drafts: open it with nut_session_options.lookup");
}

static bool same_tokens(const vocab *a, const vocab *b) {
    if (vocab_size(a) != vocab_size(b)) return false;
    for (uint32_t i = 0; i < vocab_size(a); i++) {
        const gguf_str x = vocab_text(a, (int32_t)i), y = vocab_text(b, (int32_t)i);
        if (x.n != y.n || memcmp(x.s, y.s, (size_t)x.n)) return false;
    }
    return true;
}

static nut_status check_other(const nut_session *s, const nut_session *by, nut_error *err) {
    const nut_model *m = s->seq.ws->model, *other = by->seq.ws->model;
    TRY(session_check_idle(by, err));
    TRY(session_check_causal(other, err));
    if (s->seq.ws == by->seq.ws)
        return error_set(err, NUT_E_ARGUMENT,
                         "the draft is a session of the same workspace; open one of the "
                         "smaller model");
    if (m->hp.n_vocab != other->hp.n_vocab || !same_tokens(m->vocab, other->vocab))
        return error_set(
            err, NUT_E_ARGUMENT,
            "the draft has another vocabulary than the model (%u and %u tokens); take a smaller "
            "model of the same family",
            other->hp.n_vocab, m->hp.n_vocab);
    if (other->weights.size <= m->weights.size) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "the draft is larger than the model (%llu and %llu bytes of weights), and would be "
                     "slower; change the two",
                     (unsigned long long)other->weights.size, (unsigned long long)m->weights.size);
}

/* One block of memory: the drafter, what it says of tokens, and of layers. */
static nut_status set_drafter(nut_session *s, const drafter *d, nut_error *err) {
    const size_t n_shares = (size_t)DRAFT_MAX * s->sampler.n_vocab;
    const size_t bytes = sizeof *d + n_shares * sizeof(float) + s->seq.ws->model->hp.n_layer;
    drafter *own = mem_alloc(bytes);
    if (!own) return error_memory(err, bytes);
    *own = *d;
    own->sampler = s->sampler;
    own->shares = (float *)(void *)(own + 1);
    own->left_out = (bool *)(void *)(own->shares + n_shares);
    memset(own->left_out, 0, s->seq.ws->model->hp.n_layer);
    mem_free(s->drafter);
    s->drafter = own;
    return NUT_OK;
}

static nut_status take_drafter(nut_session *s, nut_error *err) {
    TRY(session_check_idle(s, err));
    mem_free(s->drafter);
    s->drafter = NULL;
    return NUT_OK;
}

nut_status nut_session_draft_by(nut_session *s, nut_session *by, nut_error *err) {
    if (!by) return take_drafter(s, err);
    TRY(check_room(s, err));
    TRY(check_other(s, by, err));
    const double share = (double)by->seq.ws->model->weights.size / (double)s->seq.ws->model->weights.size;
    return set_drafter(s, &(drafter){.calls = &calls_with, .by = by, .share = share}, err);
}

/* Layers that others read cannot be left out. */
static nut_status check_layers(const nut_model *m, const uint32_t *layers, size_t n, nut_error *err) {
    if (n >= m->hp.n_layer)
        return error_set(err, NUT_E_ARGUMENT, "1 to %u layers can be left out, not %zu", m->hp.n_layer - 1,
                         n);
    for (size_t i = 0; i < n; i++)
        if (layers[i] >= m->hp.n_layer)
            return error_set(err, NUT_E_ARGUMENT, "there is no layer %u: the model has 0 to %u", layers[i],
                             m->hp.n_layer - 1);
    for (uint32_t il = 0; il < m->hp.n_layer; il++)
        if (m->layers[il].hp.shares_kv || m->hp.residuals.n)
            return error_set(err, NUT_E_UNSUPPORTED,
                             "layers of this model read what others made, so none "
                             "can be left out");
    return NUT_OK;
}

nut_status nut_session_draft_without(nut_session *s, const uint32_t *layers, size_t n, nut_error *err) {
    const nut_model *m = s->seq.ws->model;
    if (n == 0) return take_drafter(s, err);
    TRY(check_room(s, err));
    TRY(check_layers(m, layers, n, err));
    const double share = 1 - (double)n / (double)m->hp.n_layer;
    TRY(set_drafter(s, &(drafter){.calls = &calls_alone, .share = share}, err));
    for (size_t i = 0; i < n; i++) s->drafter->left_out[layers[i]] = true;
    return NUT_OK;
}

nut_status nut_session_draft_confidence(nut_session *s, float least, nut_error *err) {
    TRY(session_check_idle(s, err));
    if (!s->drafter) return error_set(err, NUT_E_STATE, "no model drafts for this session; set one first");
    if (!(least >= 0 && least <= 1))
        return error_set(err, NUT_E_ARGUMENT, "the confidence of a draft is 0 to 1, not %g", (double)least);
    s->drafter->least = least;
    return NUT_OK;
}
