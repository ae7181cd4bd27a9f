/*
 * The search for the layers that a draft by the model itself does without (Zhang et al. 2023, "Draft &
 * Verify", arXiv 2309.08168), by greedy removal. What a draft is worth is seen where it would be made:
 * windows of the text are read by the whole model; then their last tokens are read once more by some of the
 * layers, each behind the keys and values that the whole model made of what comes before it, and what both
 * say is compared. What it costs is what steps and layers took on this machine.
 *
 * A token that is drafted leaves keys and values of its own behind, so the last position of a window is
 * tried first; all windows go through the layers together.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "evaluate/figures.h"
#include "evaluate/windows.h"
#include "kernels/kernels.h"
#include "run/session.h"

#include <math.h>
#include <string.h>

enum {
    WINDOW = CACHE_TILE, // tokens, one page of the cache
    EACH = 8,            // drafted tokens of a window
    TOKENS = 128,
    SHORT_LIST = 6, // layers that are tried again, by what they were worth the last time
    TIMES = 5,      // that a time is taken; the least counts
    LEAST = 4,      // tokens in front of those that are drafted
};
static const double HOPELESS = 0.25; // share of right tokens below which no further layer goes

typedef struct search {
    nut_job job;
    nut_status (*phase)(struct search *c, nut_error *err);
    const nut_model *m;
    windows windows;
    size_t n;                     // of them
    nut_session **whole, **tried; // (n) after the windows; a copy that is drafted behind
    float *shares;                // (EACH, n, n_vocab) what the whole model says
    float *own;                   // (n_vocab)
    int32_t *likeliest;           // (EACH, n)
    double *layer_seconds;        // (n_layer)
    double rest_seconds;          // of a step, without layers
    double step[DRAFT_MAX + 2];   // [k]: what k tokens at once cost, in steps of one
    bool *left_out, *best_out;    // (n_layer) now, and of the best set
    bool *listed;                 // (n_layer) those that this round tries
    double *worth;                // (n_layer) the gain without the layer, when it was tried last
    uint32_t *layers;             // (n_layer) of the best set
    uint32_t n_out, at, chosen;   // layers that are left out; the next to try; the best of this round
    nut_draft_found found, now;   // the best of all, and of this round
    uint64_t n_done;
} search;

static size_t n_vocab(const search *c) {
    return c->m->hp.n_vocab;
}

/* ---- what costs there are ---- */

/* Seconds of layers [from, to), or of what comes before and behind them where there are none. */
static double time_layers(search *c, uint32_t from, uint32_t to) {
    sequence *q = &c->tried[0]->seq;
    workspace *ws = q->ws;
    double least = INFINITY;
    for (int i = 0; i < TIMES; i++) {
        ws->rows[0] = (step_row){q, q->n_past}, ws->kept[0] = 0;
        forward_step s = step_of(ws, ws->rows, 1);
        const double since = clock_seconds();
        if (from == to) forward_embed(&s, q->tokens);
        forward_layers(&s, from, to);
        if (from == to) forward_head(&s, ws->kept, 1);
        const double took = clock_seconds() - since;
        if (took < least) least = took;
    }
    return least;
}

static nut_status time_step(search *c, size_t n, double *seconds, nut_error *err) {
    nut_session *s = c->tried[0];
    *seconds = INFINITY;
    for (int i = 0; i < TIMES; i++) {
        sequence_truncate(&s->seq, WINDOW - DRAFT_MAX - 1);
        const double since = clock_seconds();
        TRY(nut_session_eval(s, c->windows.ids, n, n, err));
        const double took = clock_seconds() - since;
        if (took < *seconds) *seconds = took;
    }
    return NUT_OK;
}

static nut_status time_all(search *c, nut_error *err) {
    double one, seconds;
    sequence_truncate(&c->tried[0]->seq, 0);
    sequence_fork(&c->tried[0]->seq, &c->whole[0]->seq);
    TRY(time_step(c, 1, &one, err));
    for (size_t k = 1; k < DRAFT_MAX + 2; k++) {
        TRY(time_step(c, k, &seconds, err));
        c->step[k] = k > 1 ? seconds / one : 1;
        if (c->step[k] < c->step[k - 1]) c->step[k] = c->step[k - 1]; // noise
    }
    sequence_truncate(&c->tried[0]->seq, WINDOW - 1);
    sequence_claim(&c->tried[0]->seq, 1);
    c->rest_seconds = time_layers(c, 0, 0);
    for (uint32_t il = 0; il < c->m->hp.n_layer; il++) c->layer_seconds[il] = time_layers(c, il, il + 1);
    return NUT_OK;
}

static double cost_of(const search *c, const bool *left_out) {
    double all = c->rest_seconds, kept = c->rest_seconds;
    for (uint32_t il = 0; il < c->m->hp.n_layer; il++) {
        all += c->layer_seconds[il];
        if (!left_out[il]) kept += c->layer_seconds[il];
    }
    return kept / all;
}

/* The most tokens per step (Leviathan et al. 2023, arXiv 2211.17192, theorem 3.8), of drafts of at least one
 * token. */
static void find_gain(const search *c, nut_draft_found *f) {
    double sum = 1, power = 1;
    f->gain = 0;
    for (uint32_t k = 1; k <= DRAFT_MAX; k++) {
        sum += power *= f->overlap;
        const double gain = sum / (c->step[k + 1] + k * f->cost);
        if (gain > f->gain) f->gain = gain, f->length = k;
    }
}

/* ---- what a draft is worth ---- */

/* Logits (n_vocab) to shares that add up to 1. Returns the likeliest. */
static int32_t share(const float *logits, size_t n, float *shares) {
    const figures_row row = figures_of_row(logits, n);
    for (size_t i = 0; i < n; i++) shares[i] = kernel_exp((float)figures_log_p(&row, i));
    return (int32_t)row.top;
}

/* Tokens at position `pos` of all windows, behind what `by` has of them: their logits. */
static void run_position(search *c, nut_session *const *by, uint32_t pos, const bool *left_out) {
    workspace *ws = by[0]->seq.ws;
    for (uint32_t w = 0; w < c->n; w++) {
        sequence *q = &by[w]->seq;
        size_t n;
        sequence_truncate(q, pos);
        sequence_claim(q, 1);
        ws->rows[w] = (step_row){q, pos};
        ws->kept[w] = w;
        ws->ids[w] = windows_at(&c->windows, w, &n)[pos];
        q->tokens[pos] = ws->ids[w], q->n_past = pos + 1;
    }
    forward_step s = step_of(ws, ws->rows, c->n);
    forward_embed(&s, ws->ids);
    forward_without(&s, left_out);
    forward_head(&s, ws->kept, c->n);
    ws->n_logits = 0;
}

static const float *row_of(const search *c, size_t w) {
    return c->whole[0]->seq.ws->logits + w * run_pad8(n_vocab(c));
}

/* What the whole model says behind the last tokens of the windows, the first of them first. */
static void read_whole(search *c) {
    for (uint32_t i = 0; i < EACH; i++) {
        run_position(c, c->whole, WINDOW - EACH + i, c->left_out);
        for (size_t w = 0; w < c->n; w++)
            c->likeliest[i * c->n + w] =
                share(row_of(c, w), n_vocab(c), c->shares + (i * c->n + w) * n_vocab(c));
    }
}

static double overlap(const float *p, const float *q, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)fminf(p[i], q[i]);
    return sum;
}

/* Of the layers that are not left out. */
static nut_draft_found try_layers(search *c, const bool *left_out) {
    nut_draft_found f = {.cost = cost_of(c, left_out)};
    for (size_t w = 0; w < c->n; w++) {
        sequence_truncate(&c->tried[w]->seq, 0);
        sequence_fork(&c->tried[w]->seq, &c->whole[w]->seq);
    }
    for (uint32_t i = EACH; i-- > 0;) {
        run_position(c, c->tried, WINDOW - EACH + i, left_out);
        for (size_t w = 0; w < c->n; w++) {
            const size_t t = i * c->n + w;
            f.agreement += share(row_of(c, w), n_vocab(c), c->own) == c->likeliest[t];
            f.overlap += overlap(c->shares + t * n_vocab(c), c->own, n_vocab(c));
        }
    }
    f.agreement /= (double)(EACH * c->n), f.overlap /= (double)(EACH * c->n);
    find_gain(c, &f);
    return f;
}

/* ---- rounds ---- */

static nut_status next_layer(search *c, nut_error *err);

/* Layers that the last round found worth more. */
static uint32_t rank_of(const search *c, uint32_t il) {
    uint32_t rank = 0;
    for (uint32_t k = 0; k < c->m->hp.n_layer; k++)
        rank += !c->left_out[k] && (c->worth[k] > c->worth[il] || (c->worth[k] >= c->worth[il] && k < il));
    return rank;
}

static nut_status finish(search *c, nut_error *err) {
    (void)err;
    c->found.n_layers = 0;
    for (uint32_t il = 0; il < c->m->hp.n_layer; il++)
        if (c->best_out[il]) c->layers[c->found.n_layers++] = il;
    c->found.layers = c->layers;
    job_done(&c->job);
    return NUT_OK;
}

/* Which layers the round tries: all, or the best of those before. */
static void begin_round(search *c) {
    c->at = 0;
    c->now.gain = 0;
    for (uint32_t il = 0; il < c->m->hp.n_layer; il++)
        c->listed[il] = !c->left_out[il] && (c->n_out == 0 || rank_of(c, il) < SHORT_LIST);
    c->phase = next_layer;
}

/* The best layer of the round goes. */
static nut_status end_round(search *c, nut_error *err) {
    const uint32_t n_layer = c->m->hp.n_layer;
    c->left_out[c->chosen] = true;
    c->n_out++;
    if (c->now.gain > c->found.gain) {
        c->found = c->now;
        memcpy(c->best_out, c->left_out, n_layer * sizeof *c->best_out);
    }
    if (c->n_out + 1 >= n_layer || c->now.overlap < HOPELESS) return finish(c, err);
    begin_round(c);
    return NUT_OK;
}

static nut_status next_layer(search *c, nut_error *err) {
    const uint32_t n_layer = c->m->hp.n_layer;
    while (c->at < n_layer && !c->listed[c->at]) c->at++;
    if (c->at == n_layer) return end_round(c, err);
    const uint32_t il = c->at++;
    c->left_out[il] = true;
    const nut_draft_found f = try_layers(c, c->left_out);
    c->left_out[il] = false;
    c->worth[il] = f.gain;
    if (f.gain > c->now.gain) c->now = f, c->chosen = il;
    job_progress(&c->job, "sets of layers", ++c->n_done, n_layer + (uint64_t)(n_layer - 2) * SHORT_LIST);
    return NUT_OK;
}

static nut_status read_windows(search *c, nut_error *err) {
    for (size_t w = 0; w < c->n; w++) {
        size_t n;
        const int32_t *ids = windows_at(&c->windows, w, &n);
        TRY(nut_session_eval(c->whole[w], ids, WINDOW - EACH, 0, err));
    }
    read_whole(c);
    begin_round(c);
    return time_all(c, err);
}

/* ---- the beginning ---- */

static nut_status check_model(nut_session *s, nut_error *err) {
    const uint32_t first = 0;
    TRY(nut_session_draft_without(s, &first, 1, err));
    return nut_session_draft_without(s, NULL, 0, err);
}

static nut_status open_sessions(search *c, uint32_t n_threads, nut_error *err) {
    const uint32_t rows = c->n > DRAFT_MAX + 1 ? (uint32_t)c->n : DRAFT_MAX + 1;
    const nut_session_options o = {
        .n_ctx = WINDOW, .n_threads = n_threads, .n_batch = WINDOW, .n_logits = rows};
    TRY(nut_session_new(c->m, &o, &c->whole[0], err));
    TRY(check_model(c->whole[0], err));
    for (size_t w = 0; w < c->n; w++) {
        nut_workspace *ws = nut_session_workspace(c->whole[0]);
        if (w) TRY(nut_session_add(ws, WINDOW, &c->whole[w], err));
        TRY(nut_session_add(ws, WINDOW, &c->tried[w], err));
    }
    return NUT_OK;
}

static nut_status take_memory(search *c, nut_error *err) {
    const size_t n_layer = c->m->hp.n_layer, rows = EACH * c->n;
    c->whole = mem_calloc(c->n, sizeof *c->whole);
    c->tried = mem_calloc(c->n, sizeof *c->tried);
    c->shares = mem_calloc(rows, n_vocab(c) * sizeof *c->shares);
    c->own = mem_calloc(n_vocab(c), sizeof *c->own);
    c->likeliest = mem_calloc(rows, sizeof *c->likeliest);
    c->layer_seconds = mem_calloc(n_layer, sizeof *c->layer_seconds);
    c->worth = mem_calloc(n_layer, sizeof *c->worth);
    c->layers = mem_calloc(n_layer, sizeof *c->layers);
    c->left_out = mem_calloc(3 * n_layer, sizeof *c->left_out);
    if (!c->whole || !c->tried || !c->shares || !c->own || !c->likeliest || !c->layer_seconds || !c->worth ||
        !c->layers || !c->left_out)
        return error_memory(err, rows * n_vocab(c) * sizeof *c->shares);
    c->best_out = c->left_out + n_layer;
    c->listed = c->best_out + n_layer;
    return NUT_OK;
}

/* Windows all over the text, one of every so many. */
static void spread_windows(windows *w, size_t n) {
    const size_t step = w->n / n;
    for (size_t i = 0; i < n; i++)
        memmove(w->ids + i * WINDOW, w->ids + i * step * WINDOW, WINDOW * sizeof *w->ids);
}

static nut_status begin(search *c, const nut_draft_search_options *o, nut_error *err) {
    size_t n_text = o->n_text;
    const char *text = o->text ? o->text : nut_calibrate_text(&n_text);
    TRY(session_check_causal(c->m, err));
    if (c->m->hp.n_ctx_train < WINDOW)
        return error_set(err, NUT_E_UNSUPPORTED, "the search needs a context of %d tokens; the model has %u",
                         WINDOW, c->m->hp.n_ctx_train);
    TRY(windows_of_text(&c->windows, c->m->vocab, text, n_text, false, WINDOW, err));
    windows_whole(&c->windows, 0);
    const size_t tokens = o->n_tokens ? o->n_tokens : TOKENS, wanted = (tokens + EACH - 1) / EACH;
    c->n = wanted < c->windows.n ? wanted : c->windows.n;
    if (c->n > WINDOW) c->n = WINDOW; // a batch
    if (c->n == 0)
        return error_set(err, NUT_E_ARGUMENT, "the text has fewer than %d tokens; give a longer one",
                         WINDOW);
    spread_windows(&c->windows, c->n);
    c->windows.n = c->n;
    windows_begin(&c->windows, c->m->vocab);
    TRY(take_memory(c, err));
    TRY(open_sessions(c, o->n_threads, err));
    c->phase = read_windows;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    search *c = (search *)job;
    return c->phase(c, err);
}

static void free_job(nut_job *job) {
    search *c = (search *)job;
    for (size_t w = 0; w < c->n && c->whole && c->tried; w++)
        nut_session_free(c->whole[w]), nut_session_free(c->tried[w]);
    windows_free(&c->windows);
    void *const all[] = {c->whole,         c->tried, c->shares, c->own,     c->likeliest,
                         c->layer_seconds, c->worth, c->layers, c->left_out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    mem_free(c);
}

static const job_ops ops = {step, free_job};

nut_status nut_draft_search_begin(const nut_model *model, const nut_draft_search_options *options,
                                  nut_job **out, nut_error *err) {
    search *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    c->job.ops = &ops;
    c->m = model;
    const nut_status status = begin(c, options, err);
    if (status == NUT_OK)
        *out = &c->job;
    else
        free_job(&c->job);
    return status;
}

nut_status nut_draft_search_get(const nut_job *job, nut_draft_found *out, nut_error *err) {
    const search *c = (const search *)job;
    if (job->ops != &ops || job->event.kind != NUT_JOB_DONE)
        return error_set(err, NUT_E_STATE, "the draft is not known before its search is done");
    *out = c->found;
    return NUT_OK;
}
