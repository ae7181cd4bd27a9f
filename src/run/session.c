/* The public calls of sessions. */
#include "run/exit.h"

#include "base/error.h"

#include <stdio.h>

enum {
    DEFAULT_CTX = 4096,
    DEFAULT_BATCH = 64,
    WHOLE_BATCH = 512, // of a model that reads a text as a whole
    MAX_BATCH = 4096
};

nut_session_options nut_session_defaults(void) {
    return (nut_session_options){.n_threads = 1};
}

/* ---- options ---- */

static uint32_t or_default(uint32_t value, uint32_t otherwise) {
    return value ? value : otherwise;
}

/* The options with defaults in place. */
static nut_session_options complete(const nut_model *m, const nut_session_options *o) {
    const uint32_t trained = m->hp.n_ctx_train;
    nut_session_options all = *o;
    all.n_ctx = or_default(o->n_ctx, trained < DEFAULT_CTX ? trained : DEFAULT_CTX);
    all.n_batch = or_default(o->n_batch, m->hp.causal ? DEFAULT_BATCH : WHOLE_BATCH);
    if (all.n_batch <= MAX_BATCH && all.n_batch > all.n_ctx) all.n_batch = all.n_ctx;
    all.n_logits = or_default(o->n_logits, 1);
    const uint32_t drafted = o->lookup < all.n_batch ? o->lookup + 1 : all.n_batch;
    if (all.n_logits < drafted) all.n_logits = drafted;
    all.n_threads = or_default(o->n_threads, 1);
    return all;
}

uint32_t session_context(const nut_model *m, uint32_t n_ctx) {
    return complete(m, &(nut_session_options){.n_ctx = n_ctx}).n_ctx;
}

static nut_status check_context(const nut_model *m, uint32_t n_ctx, nut_error *err) {
    if (n_ctx >= 2 && n_ctx <= m->hp.n_ctx_train) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "the context must be 2 to %u positions (what the model was trained with), not %u",
                     m->hp.n_ctx_train, n_ctx);
}

static nut_status check_options(const nut_model *m, const nut_session_options *o, nut_error *err) {
    if (m->header_only)
        return error_set(err, NUT_E_STATE, "only the header of this model was loaded; load its weights too");
    TRY(check_context(m, o->n_ctx, err));
    if (o->n_batch > MAX_BATCH)
        return error_set(err, NUT_E_ARGUMENT, "the batch must be 1 to %d tokens, not %u", MAX_BATCH,
                         o->n_batch);
    if (o->n_logits > o->n_batch)
        return error_set(err, NUT_E_ARGUMENT, "n_logits must be at most the batch of %u tokens, not %u",
                         o->n_batch, o->n_logits);
    if (!model_cache_kind(&m->hp, o->kv_type))
        return error_set(err, NUT_E_ARGUMENT, "there is no kind %d of cache", (int)o->kv_type);
    return NUT_OK;
}

/* ---- memory ---- */

static size_t longest_token(const vocab *v) {
    size_t longest = 0;
    for (uint32_t i = 0; i < vocab_size(v); i++) {
        const size_t n = (size_t)vocab_text(v, (int32_t)i).n;
        if (n > longest) longest = n;
    }
    return longest;
}

/* A session's own memory; its context length is set. */
static void session_want(const nut_model *m, nut_session *s, memory_walk *w) {
    sequence_want(m, &s->seq, w);
    memory_want(w, &s->generation.prompt, s->seq.n_ctx, sizeof(int32_t));
    memory_want(w, &s->stream.held, s->stream.cap, 1);
    memory_want(w, &s->stream.text, 3 * s->stream.cap, 1);
}

uint64_t session_bytes(const nut_model *m, const nut_session_options *o) {
    const nut_session_options all = complete(m, o);
    const cache_kind *kind = model_cache_kind(&m->hp, all.kv_type);
    workspace ws = {.n_batch = all.n_batch, .n_logits_max = all.n_logits};
    nut_session s = {.seq = {.n_ctx = all.n_ctx,
                             .cache_kind = kind,
                             .n_recent = sequence_recent_tiles(kind, all.n_batch)},
                     .stream.cap = 2 * STREAM_MAX_STOP + longest_token(m->vocab)};
    memory_walk w = {.bytes = sizeof ws + sizeof s};
    workspace_want(m, &ws, &w);
    session_want(m, &s, &w);
    memory_count(&w, cache_tiles(all.n_ctx), workspace_page_bytes(m, kind) + ARENA_ALIGN);
    return w.bytes;
}

static nut_status take_memory(nut_session *s, const nut_model *m, nut_error *err) {
    memory_walk w = {.a = &s->memory};
    s->stream.cap = 2 * STREAM_MAX_STOP + longest_token(m->vocab);
    session_want(m, s, &w);
    if (w.bytes > SIZE_MAX / 2)
        return error_set(err, NUT_E_TOO_LARGE,
                         "a session of %u positions cannot be addressed; use a shorter context",
                         s->seq.n_ctx);
    if (!arena_open(&s->memory)) return error_memory(err, s->memory.size);
    w.taking = true;
    session_want(m, s, &w);
    return NUT_OK;
}

/* ---- life ---- */

static void free_session(nut_session *s) {
    sequence_close(&s->seq);
    arena_close(&s->memory);
    mem_free(s->drafter);
    mem_free(s->seq.exit);
    mem_free(s);
}

nut_status nut_session_add(nut_workspace *ws, uint32_t n_ctx, nut_session **out, nut_error *err) {
    nut_session *s = mem_calloc(1, sizeof *s);
    if (!s) return error_memory(err, sizeof *s);
    s->seq.n_ctx = session_context(ws->model, n_ctx);
    s->seq.cache_kind = ws->cache_kind;
    s->seq.n_recent = sequence_recent_tiles(ws->cache_kind, ws->n_batch);
    nut_status status = check_context(ws->model, s->seq.n_ctx, err);
    if (status == NUT_OK) status = take_memory(s, ws->model, err);
    if (status == NUT_OK) status = sequence_open(ws, &s->seq, err);
    if (status != NUT_OK) {
        free_session(s);
        return status;
    }
    s->sampler.n_vocab = ws->model->hp.n_vocab;
    s->sampler.candidates = ws->candidates;
    s->sampler.counts = ws->counts;
    ws->n_sessions++;
    *out = s;
    return NUT_OK;
}

nut_status nut_session_new(const nut_model *m, const nut_session_options *options, nut_session **out,
                           nut_error *err) {
    const nut_session_options o = complete(m, options);
    workspace *ws;
    TRY(check_options(m, &o, err));
    const workspace_options wo = {o.n_threads, o.n_batch, o.n_logits, o.kv_type, o.profile, o.fewer_threads};
    TRY(workspace_new(m, &wo, &ws, err));
    const nut_status status = nut_session_add(ws, o.n_ctx, out, err);
    if (status != NUT_OK) workspace_free(ws);
    return status;
}

void nut_session_free(nut_session *s) {
    if (!s) return;
    workspace *ws = s->seq.ws;
    if (ws->logits_of == s) ws->n_logits = 0, ws->logits_of = NULL;
    free_session(s);
    if (--ws->n_sessions == 0) workspace_free(ws);
}

nut_workspace *nut_session_workspace(const nut_session *s) {
    return s->seq.ws;
}
uint32_t nut_session_n_ctx(const nut_session *s) {
    return s->seq.n_ctx;
}
uint32_t nut_session_n_past(const nut_session *s) {
    return s->seq.n_past;
}
uint32_t nut_session_n_left(const nut_session *s) {
    return s->seq.n_left;
}
nut_status nut_session_can_shift(const nut_session *s, nut_error *err) {
    return window_check(&s->seq, err);
}
uint32_t nut_session_n_threads(const nut_session *s) {
    return threads_count(s->seq.ws->team);
}
const char *nut_session_kv_type(const nut_session *s) {
    return s->seq.ws->cache_kind->name;
}

/* A workspace is counted with the only session that it has. */
uint64_t nut_session_bytes(const nut_session *s) {
    const workspace *ws = s->seq.ws;
    const uint64_t own = s->memory.size + sizeof *s,
                   page = pages_bytes(&ws->pages) / (ws->pages.n_pages ? ws->pages.n_pages : 1);
    if (ws->n_sessions == 1) return own + ws->memory.size + sizeof *ws + pages_bytes(&ws->pages);
    return own + page * cache_tiles(s->seq.n_ctx);
}

/* ---- tokens ---- */

nut_status session_check_ids(const nut_model *m, const int32_t *ids, size_t n, nut_error *err) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= m->hp.n_vocab)
            return error_set(err, NUT_E_ARGUMENT, "token id %d is not in the vocabulary of %u", (int)ids[i],
                             m->hp.n_vocab);
    return NUT_OK;
}

nut_status session_check_causal(const nut_model *m, nut_error *err) {
    if (m->hp.causal) return NUT_OK;
    return error_set(
        err, NUT_E_UNSUPPORTED,
        "this model reads text in both directions, for embeddings, and cannot write; use a model "
        "that generates text");
}

nut_status session_check_idle(const nut_session *s, nut_error *err) {
    if (s->generation.state == GENERATION_IDLE) return NUT_OK;
    return error_set(err, NUT_E_BUSY, "a generation is running in this session; end it first");
}

static nut_status check_room(const sequence *q, size_t n, nut_error *err) {
    if (n <= q->n_ctx - q->n_past) return NUT_OK;
    return error_set(err, NUT_E_CONTEXT,
                     "%zu tokens do not fit: %u of %u positions are taken; use a longer context", n,
                     q->n_past, q->n_ctx);
}

static nut_status check_eval(const nut_session *s, const int32_t *ids, size_t n, size_t n_logits,
                             nut_error *err) {
    const workspace *ws = s->seq.ws;
    if (n == 0 || n_logits > n || n_logits > ws->n_logits_max)
        return error_set(err, NUT_E_ARGUMENT,
                         "cannot keep %zu rows of logits of %zu tokens (the session holds %u)", n_logits, n,
                         ws->n_logits_max);
    TRY(session_check_causal(ws->model, err));
    TRY(check_room(&s->seq, n, err));
    return session_check_ids(ws->model, ids, n, err);
}

/* Batches end so that all kept logits are of the last one. */
static size_t next_batch(const workspace *ws, size_t left, size_t n_logits) {
    if (left <= ws->n_batch) return left;
    return left - ws->n_batch < n_logits ? left - n_logits : ws->n_batch;
}

/* The whole model over the workspace's rows. */
static bool run_rows(workspace *ws, const int32_t *ids, size_t n, size_t n_kept) {
    forward_step s = step_of(ws, ws->rows, n);
    forward_embed(&s, ids);
    if (n == 1 && n_kept && ws->rows->seq->exit) {
        ws->rows->seq->exit->run(ws->rows->seq->exit, &s);
        return step_ran(&s);
    }
    if (!forward_layers(&s, 0, ws->model->hp.n_layer)) return false;
    if (n_kept) forward_head(&s, ws->kept, n_kept);
    return true;
}

static bool run_step(workspace *ws, const int32_t *ids, size_t n, size_t n_kept) {
    const bool timed = ws->pace.trying && n == 1 && n_kept == 1;
    const double begin = timed ? clock_seconds() : 0;
    threads_limit(ws->team, n == 1 ? ws->pace.now : threads_count(ws->team));
    const bool ran = run_rows(ws, ids, n, n_kept);
    if (timed) pace_took(&ws->pace, (float)(clock_seconds() - begin));
    return ran;
}

/* What a step that read no token tells. */
static nut_status step_error(workspace *ws, nut_error *err) {
    ws->n_logits = 0;
    if (err) *err = ws->model->store->error;
    return ws->model->store->error.code;
}

/* Rows of the next n positions of a sequence. */
static void take_rows(sequence *q, size_t n) {
    sequence_claim(q, n);
    sequence_keep_state(q);
    for (size_t i = 0; i < n; i++) q->ws->rows[i] = (step_row){q, q->n_past + (uint32_t)i};
}

static void keep_tokens(sequence *q, const int32_t *ids, size_t n) {
    memcpy(q->tokens + q->n_past, ids, n * sizeof *ids);
    q->n_past += (uint32_t)n;
    sequence_mark(q, n);
}

/* Goes on behind the layers of a batch of a sequence, or undoes it. */
static nut_status end_batch(sequence *q, const int32_t *ids, size_t n, bool ran, nut_error *err) {
    if (ran) {
        keep_tokens(q, ids, n);
        return NUT_OK;
    }
    sequence_undo(q);
    return step_error(q->ws, err);
}

/* One batch of a sequence. */
static nut_status eval_batch(sequence *q, const int32_t *ids, size_t n, size_t n_logits, nut_error *err) {
    take_rows(q, n);
    for (size_t i = 0; i < n_logits; i++) q->ws->kept[i] = (uint32_t)(n - n_logits + i);
    return end_batch(q, ids, n, run_step(q->ws, ids, n, n_logits), err);
}

nut_status session_hidden(sequence *q, const int32_t *ids, size_t n, nut_error *err) {
    take_rows(q, n);
    forward_step s = step_of(q->ws, q->ws->rows, n);
    forward_embed(&s, ids);
    const bool ran = forward_layers(&s, 0, q->ws->model->hp.n_layer);
    if (ran) forward_hidden(&s);
    return end_batch(q, ids, n, ran, err);
}

nut_status session_eval(nut_session *s, const int32_t *ids, size_t n, size_t n_logits, nut_error *err) {
    workspace *ws = s->seq.ws;
    TRY(check_eval(s, ids, n, n_logits, err));
    while (n > 0) {
        const size_t batch = next_batch(ws, n, n_logits);
        TRY(eval_batch(&s->seq, ids, batch, batch == n ? n_logits : 0, err));
        ids += batch;
        n -= batch;
    }
    ws->logits_of = s;
    ws->n_logits = n_logits;
    return NUT_OK;
}

nut_status nut_session_eval(nut_session *s, const int32_t *ids, size_t n, size_t n_logits, nut_error *err) {
    TRY(session_check_idle(s, err));
    return session_eval(s, ids, n, n_logits, err);
}

const float *nut_session_logits(const nut_session *s, size_t i) {
    const workspace *ws = s->seq.ws;
    if (ws->logits_of != s || i >= ws->n_logits) return NULL;
    return ws->logits + i * run_pad8(ws->model->hp.n_vocab);
}

/* A state that cannot go back as far is computed again, from the tokens that are still there. */
nut_status session_rewind(nut_session *s, uint32_t n_past, nut_error *err) {
    sequence_truncate(&s->seq, n_past);
    if (s->seq.ws->logits_of == s) s->seq.ws->n_logits = 0;
    if (s->seq.n_past == n_past) return NUT_OK;
    return session_eval(s, s->seq.tokens + s->seq.n_past, n_past - s->seq.n_past, 0, err);
}

nut_status nut_session_truncate(nut_session *s, uint32_t n_past, nut_error *err) {
    if (n_past > s->seq.n_past)
        return error_set(err, NUT_E_ARGUMENT, "cannot go to position %u: the session is at %u", n_past,
                         s->seq.n_past);
    nut_generate_end(s);
    if (n_past <= CACHE_TILE) s->seq.n_left = 0;
    return session_rewind(s, n_past, err);
}

/* ---- several sessions ---- */

static nut_status check_row(const nut_workspace *ws, const nut_row *row, nut_error *err) {
    if (row->session->seq.ws != ws)
        return error_set(err, NUT_E_ARGUMENT, "all sessions of a step must be of its workspace");
    TRY(session_check_idle(row->session, err));
    return session_check_ids(ws->model, &row->id, 1, err);
}

/* Rows of one session, from i on. */
static size_t count_same(const nut_row *rows, size_t n) {
    size_t k = 1;
    while (k < n && rows[k].session == rows->session) k++;
    return k;
}

/* Checks the rows, and counts those whose logits are kept. */
static nut_status check_rows(const nut_workspace *ws, const nut_row *rows, size_t n, size_t *n_kept,
                             nut_error *err) {
    *n_kept = 0;
    TRY(session_check_causal(ws->model, err));
    for (size_t i = 0; i < n; i++) {
        TRY(check_row(ws, &rows[i], err));
        *n_kept += rows[i].logits;
    }
    if (n == 0 || n > ws->n_batch || *n_kept > ws->n_logits_max)
        return error_set(err, NUT_E_ARGUMENT,
                         "a step takes 1 to %u tokens and keeps the logits of at most %u, not %zu and %zu",
                         ws->n_batch, ws->n_logits_max, n, *n_kept);
    for (size_t i = 0, k; i < n; i += k) {
        k = count_same(rows + i, n - i);
        TRY(check_room(&rows[i].session->seq, k, err));
        for (size_t j = i + k; j < n; j++)
            if (rows[j].session == rows[i].session)
                return error_set(err, NUT_E_ARGUMENT, "the rows of a session must follow one another");
    }
    return NUT_OK;
}

/* Undoes a step of these rows, of which layers could not be read. */
static nut_status undo_rows(nut_workspace *ws, const nut_row *rows, size_t n, nut_error *err) {
    for (size_t i = 0; i < n; i++) rows[i].session->seq.n_past--;
    for (size_t i = 0; i < n; i += count_same(rows + i, n - i)) sequence_undo(&rows[i].session->seq);
    return step_error(ws, err);
}

nut_status nut_workspace_eval(nut_workspace *ws, const nut_row *rows, size_t n, nut_error *err) {
    size_t n_kept, kept = 0;
    TRY(check_rows(ws, rows, n, &n_kept, err));
    for (size_t i = 0, k; i < n; i += k) {
        sequence *q = &rows[i].session->seq;
        k = count_same(rows + i, n - i);
        sequence_claim(q, k);
        sequence_keep_state(q);
        for (size_t j = 0; j < k; j++) {
            ws->rows[i + j] = (step_row){q, q->n_past + (uint32_t)j};
            ws->ids[i + j] = q->tokens[q->n_past + j] = rows[i + j].id;
            if (rows[i + j].logits) ws->kept[kept++] = (uint32_t)(i + j);
        }
        q->n_past += (uint32_t)k;
    }
    if (!run_step(ws, ws->ids, n, n_kept)) return undo_rows(ws, rows, n, err);
    for (size_t i = 0, k; i < n; i += k)
        sequence_mark(&rows[i].session->seq, k = count_same(rows + i, n - i));
    ws->logits_of = NULL;
    ws->n_logits = n_kept;
    return NUT_OK;
}

const float *nut_workspace_logits(const nut_workspace *ws, size_t i) {
    return i < ws->n_logits ? ws->logits + i * run_pad8(ws->model->hp.n_vocab) : NULL;
}

nut_status nut_session_fork(const nut_session *s, nut_session **out, nut_error *err) {
    nut_session *child;
    TRY(nut_session_add(s->seq.ws, s->seq.n_ctx, &child, err));
    sequence_fork(&child->seq, &s->seq);
    *out = child;
    return NUT_OK;
}

nut_status nut_session_save(const nut_session *s, void *out, size_t cap, size_t *n_out, nut_error *err) {
    if (s->seq.n_skipped)
        return error_set(err, NUT_E_STATE, "a session that has left positions out cannot be saved");
    *n_out = sequence_saved_size(&s->seq);
    if (*n_out > cap)
        return error_set(err, NUT_E_ARGUMENT,
                         "the saved session has %zu bytes, more than the %zu that there are", *n_out, cap);
    sequence_save(&s->seq, out);
    return NUT_OK;
}

nut_status nut_session_restore(nut_session *s, const void *bytes, size_t n, nut_error *err) {
    TRY(session_check_idle(s, err));
    TRY(sequence_restore(&s->seq, bytes, n, err));
    if (s->seq.ws->logits_of == s) s->seq.ws->n_logits = 0;
    return NUT_OK;
}

/* ---- figures ---- */

nut_status nut_session_timings(const nut_session *s, char *out, size_t cap, size_t *n_out, nut_error *err) {
    int n = snprintf(
        out, cap,
        "{\"prefill\":{\"tokens\":%llu,\"seconds\":%.6f},\"decode\":{\"tokens\":%llu,\"seconds\":%.6f},"
        "\"drafts\":{\"drafted\":%llu,\"accepted\":%llu}}",
        (unsigned long long)s->prefill.tokens, s->prefill.seconds, (unsigned long long)s->decode.tokens,
        s->decode.seconds, (unsigned long long)s->generation.draft.n_drafted,
        (unsigned long long)s->generation.draft.n_accepted);
    *n_out = (size_t)n;
    if ((size_t)n >= cap)
        return error_set(err, NUT_E_ARGUMENT, "the timings need %d bytes, not %zu", n + 1, cap);
    return NUT_OK;
}

bool nut_session_profile(const nut_session *s, size_t i, nut_profile_part *part) {
    static const char *const names[PROFILE_COUNT] = {
#define NUT_X(id, name) name,
        PROFILE_PARTS(NUT_X)
#undef NUT_X
    };
    const profile *p = &s->seq.ws->profile;
    if (i >= PROFILE_COUNT) return false;
    *part = (nut_profile_part){names[i], p->seconds[0][i], p->seconds[1][i]};
    return true;
}
