/*
 * A generation as a state machine: prompt batches, then one token a step, then the end. Each step is one
 * bounded piece of work, so that the caller can stop between any two.
 */
#include "run/session.h"

#include "base/clock.h"
#include "base/error.h"
#include "kernels/kernels.h"
#include "run/lookup.h"

#include <math.h>
#include <string.h>

/* The leading tokens that the cache and a prompt share; the last prompt token is always computed for its
 * logits. */
static uint32_t common_prefix(const sequence *q, const int32_t *ids, size_t n) {
    uint32_t i = 0;
    while (i < q->n_past && i + 1 < n && q->tokens[i] == ids[i]) i++;
    return i;
}

static nut_status check_prompt(const nut_session *s, const int32_t *ids, size_t n, bool shift,
                               nut_error *err) {
    if (s->generation.state != GENERATION_IDLE)
        return error_set(err, NUT_E_BUSY, "a generation is running in this session; end it first");
    TRY(session_check_causal(s->seq.ws->model, err));
    if (n == 0) return error_set(err, NUT_E_ARGUMENT, "the prompt is empty; give at least one token");
    if (shift)
        TRY(window_check(&s->seq, err));
    else if (n >= s->seq.n_ctx)
        return error_set(
            err, NUT_E_CONTEXT,
            "the prompt has %zu tokens and the context holds %u; shorten it or load with a longer context",
            n, s->seq.n_ctx);
    return session_check_ids(s->seq.ws->model, ids, n, err);
}

nut_status nut_generate_begin(nut_session *s, const int32_t *ids, size_t n, const nut_generate_options *o,
                              nut_error *err) {
    TRY(check_prompt(s, ids, n, o->shift, err));
    TRY(sampler_reset(&s->sampler, o, err));
    TRY(stream_reset(&s->stream, o, err));
    generation *g = &s->generation;
    g->n_prompt = window_fit(&s->seq, ids, n, g->prompt);
    sequence_truncate(&s->seq, common_prefix(&s->seq, g->prompt, g->n_prompt));
    g->shift = o->shift;
    g->n_shown = o->n_shown < NUT_MAX_SHOWN ? o->n_shown : NUT_MAX_SHOWN;
    if (g->n_shown) memcpy(g->shown, o->shown, g->n_shown * sizeof *g->shown);
    g->n_sampled = 0;
    g->pending = -1;
    g->finish = NUT_FINISH_NONE;
    g->special = o->special;
    g->ignore_eos = o->ignore_eos;
    g->max_tokens = o->max_tokens ? o->max_tokens : UINT32_MAX;
    g->lookup = o->lookup;
    g->row = g->n_ahead = 0;
    g->log_probability = g->entropy = 0;
    draft_reset(&g->draft);
    if (s->drafter) TRY(s->drafter->calls->begin(s, o, err));
    g->state = GENERATION_PROMPT;
    return NUT_OK;
}

/* The rest of the draft is worth nothing. */
static void end_draft(generation *g) {
    if (g->n_ahead || g->n_right) draft_judge(&g->draft, g->n_ahead + g->n_right, g->n_tried, g->n_right);
    g->n_ahead = g->n_tried = g->n_right = 0;
}

void nut_generate_end(nut_session *s) {
    end_draft(&s->generation);
    s->generation.state = GENERATION_IDLE;
}

static void time_step(nut_session *s, session_timing *t, uint64_t tokens, double since) {
    profile_end(&s->seq.ws->profile, PROFILE_REST);
    t->tokens += tokens;
    t->seconds += clock_seconds() - since;
}

static nut_status step_prompt(nut_session *s, nut_step *step, nut_error *err) {
    generation *g = &s->generation;
    const uint32_t left = g->n_prompt - s->seq.n_past, most = s->seq.ws->n_batch,
                   n = left < most ? left : most;
    const double since = clock_seconds();
    profile_begin(&s->seq.ws->profile, false);
    TRY(session_eval(s, g->prompt + s->seq.n_past, n, n == left, err));
    if (s->drafter) s->drafter->calls->read(s, NULL); // without a draft where that fails
    time_step(s, &s->prefill, n, since);
    if (n == left) g->state = GENERATION_SAMPLING;
    step->kind = NUT_STEP_PREFILL;
    step->n_done = s->seq.n_past;
    step->n_total = g->n_prompt;
    return NUT_OK;
}

static void finish(nut_session *s, nut_finish why) {
    s->generation.finish = why;
    s->generation.state = GENERATION_ENDING;
}

static bool is_hidden(const nut_session *s, int32_t id) {
    const generation *g = &s->generation;
    for (size_t i = 0; i < g->n_shown; i++)
        if (g->shown[i] == id) return false;
    return !g->special && vocab_token_text(s->seq.ws->model->vocab, id, false, NULL, 0) == 0;
}

/* Puts the sampled token into the text; the generation may end with it. Stop texts see the text of special
 * tokens, shown or not. */
static void take_token(nut_session *s, int32_t id) {
    const vocab *v = s->seq.ws->model->vocab;
    generation *g = &s->generation;
    stream *st = &s->stream;
    g->n_sampled++;
    if (!g->ignore_eos && vocab_is_eog(v, id)) {
        st->n_text = 0;
        finish(s, NUT_FINISH_EOS);
        return;
    }
    char *text = st->text + 2 * st->cap; // its own upper third is free before the push
    const size_t n = vocab_token_text(v, id, true, text, st->cap);
    if (stream_push(st, text, n < st->cap ? n : st->cap, is_hidden(s, id)))
        finish(s, NUT_FINISH_STOP);
    else if (g->n_sampled >= g->max_tokens || (!g->shift && s->seq.n_past >= s->seq.n_ctx))
        finish(s, NUT_FINISH_LENGTH);
    else
        g->pending = id;
}

/* Tokens to be read with the pending one, to ids + 1; returns how many. A state that cannot go back by
 * single tokens gets none, nor tokens that may leave the layers early. What is found in the text goes before
 * what a model says: it costs nothing. */
static size_t make_draft(nut_session *s, int32_t *ids) {
    generation *g = &s->generation;
    sequence *q = &s->seq;
    const workspace *ws = q->ws;
    size_t most = ws->n_logits_max - 1;
    g->each = 0;
    if (ws->n_state || q->exit || q->n_past + 1 >= q->n_ctx) return 0;
    if (most > ws->n_batch - 1) most = ws->n_batch - 1;
    if (most > q->n_ctx - q->n_past - 1) most = q->n_ctx - q->n_past - 1;
    q->tokens[q->n_past] = ids[0];
    const size_t looked_up = g->lookup < most ? g->lookup : most;
    size_t n = lookup_make(&g->draft, q->tokens, q->n_past + 1, ids + 1, looked_up);
    if (s->drafter) s->drafter->n_shares = 0;
    if (s->drafter && n == 0) n = s->drafter->calls->make(s, ids, most), g->each = s->drafter->each;
    return n;
}

/* Reads a token with a draft behind it. The cache then holds the draft too, but behind n_past. */
static nut_status read_pending(nut_session *s, int32_t id, nut_error *err) {
    generation *g = &s->generation;
    int32_t ids[1 + DRAFT_MAX] = {id};
    const size_t n_ahead = make_draft(s, ids);
    const unsigned n_threads = threads_count(s->seq.ws->team);
    const double since = clock_work_seconds(n_threads);
    TRY(session_eval(s, ids, 1 + n_ahead, 1 + n_ahead, err));
    draft_time(&g->draft, 1 + n_ahead, g->each, clock_work_seconds(n_threads) - since);
    s->seq.n_past -= (uint32_t)n_ahead;
    g->n_ahead = (uint32_t)n_ahead;
    g->row = 0;
    return NUT_OK;
}

/* Whether the pending token is the next of the draft, which the cache holds already with the logits behind
 * it. After another one the rest of the draft is worth nothing. */
static bool follows_draft(nut_session *s) {
    generation *g = &s->generation;
    sequence *q = &s->seq;
    if (g->n_ahead == 0 || g->pending < 0) return false;
    const bool right = g->pending == q->tokens[q->n_past];
    g->n_tried++;
    if (right) {
        q->n_past++;
        g->n_ahead--, g->n_right++, g->row++;
    } else {
        sequence_truncate(q, q->n_past);
    }
    if (!right || g->n_ahead == 0) end_draft(g);
    return right;
}

/* Samples the token behind the last one. */
static nut_status sample(nut_session *s, int32_t *id, nut_error *err) {
    const float *logits = nut_session_logits(s, s->generation.row);
    if (s->drafter) return s->drafter->calls->sample(s, logits, id, err);
    return sampler_sample(&s->sampler, logits, s->seq.tokens, s->seq.n_past, id, err);
}

/* Adds what the model said of a token, and of all. Sums are of doubles: a vocabulary has up to 2^18
 * tokens. */
static void measure(nut_session *s, int32_t id) {
    const float *logits = nut_session_logits(s, s->generation.row);
    double sum = 0, weighted = 0;
    float best = logits[0];
    for (size_t i = 1; i < s->sampler.n_vocab; i++) best = logits[i] > best ? logits[i] : best;
    for (size_t i = 0; i < s->sampler.n_vocab; i++) {
        const double below = (double)(logits[i] - best), p = (double)kernel_exp(logits[i] - best);
        sum += p;
        weighted += p > 0 ? p * below : 0; // of -infinity: 0
    }
    s->generation.log_probability += (double)(logits[id] - best) - log(sum);
    s->generation.entropy += log(sum) - weighted / sum;
}

/* Sees to it that the logits behind the last token are in the workspace: those of the pending token, or,
 * where another session was evaluated since, those of the last one again. */
static nut_status need_logits(nut_session *s, nut_error *err) {
    generation *g = &s->generation;
    if (follows_draft(s)) g->pending = -1;
    int32_t id = g->pending;
    if (id < 0 && nut_session_logits(s, g->row)) return NUT_OK;
    if (id < 0) {
        end_draft(g);
        id = s->seq.tokens[s->seq.n_past - 1];
        const nut_status status = session_rewind(s, s->seq.n_past - 1, err);
        if (status != NUT_OK) nut_generate_end(s); // how far it came is not known to a next step
        TRY(status);
        g->pending = id;
    }
    if (g->shift) window_make_room(&s->seq);
    TRY(read_pending(s, id, err));
    g->pending = -1;
    return NUT_OK;
}

static nut_status step_sample(nut_session *s, nut_step *step, nut_error *err) {
    generation *g = &s->generation;
    const double since = clock_seconds();
    profile_begin(&s->seq.ws->profile, true);
    TRY(need_logits(s, err));
    int32_t id;
    TRY(sample(s, &id, err));
    if (s->sampler.options.certainty) measure(s, id);
    take_token(s, id);
    time_step(s, &s->decode, 1, since);
    step->kind = NUT_STEP_TOKEN;
    step->token = id;
    step->n_done = g->n_sampled;
    step->n_total = g->max_tokens;
    return NUT_OK;
}

static void step_end(nut_session *s, nut_step *step) {
    generation *g = &s->generation;
    stream_flush(&s->stream);
    end_draft(g);
    g->state = GENERATION_IDLE;
    step->kind = NUT_STEP_DONE;
    step->finish = g->finish;
    step->n_done = g->n_sampled;
    step->n_total = g->max_tokens;
}

nut_status nut_generate_step(nut_session *s, nut_step *step, nut_error *err) {
    *step = (nut_step){.token = -1};
    s->stream.n_text = 0;
    switch (s->generation.state) {
    case GENERATION_IDLE:
        return error_set(err, NUT_E_STATE, "no generation is running; call nut_generate_begin first");
    case GENERATION_PROMPT: TRY(step_prompt(s, step, err)); break;
    case GENERATION_SAMPLING: TRY(step_sample(s, step, err)); break;
    case GENERATION_ENDING: step_end(s, step); break;
    }
    step->n_drafted = s->generation.draft.n_drafted;
    step->n_accepted = s->generation.draft.n_accepted;
    step->n_drafted_by_model = s->generation.draft.n_drafted_by_model;
    step->n_accepted_by_model = s->generation.draft.n_accepted_by_model;
    const uint32_t n = s->generation.n_sampled;
    step->log_probability = n ? s->generation.log_probability / n : 0;
    step->entropy = n ? s->generation.entropy / n : 0;
    step->text = s->stream.text;
    step->n_text = s->stream.n_text;
    return NUT_OK;
}
