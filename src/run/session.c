/* Making, reading and rewinding sessions. */
#include "run/session.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_CTX = 4096, DEFAULT_BATCH = 64, MAX_BATCH = 4096 };

nut_session_options nut_session_defaults(void) {
    return (nut_session_options){.n_threads = 1};
}

/* ---- memory: one description, walked once to measure and once to hand out ---- */

typedef struct piece {
    void *to; // where the pointer goes
    size_t n, size;
} piece;

enum { MAX_PIECES = 40 };
typedef struct pieces {
    piece p[MAX_PIECES];
    size_t n;
} pieces;

static void want(pieces *ps, void *to, size_t n, size_t size) {
    ps->p[ps->n++] = (piece){to, n, size};
}

/* Room for n tokens, their last tile filled up. */
static void want_act(pieces *ps, run_act *a, size_t n, size_t width, size_t act_bytes) {
    const size_t padded = (n + KERNEL_TILE - 1) / KERNEL_TILE * KERNEL_TILE * width;
    want(ps, &a->x, n * width, sizeof(float));
    want(ps, &a->q, padded, act_bytes);
    want(ps, &a->d, padded / 32 + 1, sizeof(float));
    want(ps, &a->d_sum, padded / 32 + 1, sizeof(float));
    want(ps, &a->sum, (padded / 32 + 1) * KERNEL_SUMS, sizeof(int32_t));
}

static void want_buffers(pieces *ps, nut_session *s) {
    const model_hparams *hp = &s->model->hp;
    run_buffers *b = &s->buf;
    size_t n = s->n_batch, q_width = (size_t)hp->n_head * hp->head_dim,
           kv_width = (size_t)hp->n_head_kv * hp->head_dim;
    want(ps, &b->residual, n * hp->n_embd, sizeof(float));
    size_t twice = 2 * (size_t)hp->n_embd; // see forward.c
    want_act(ps, &b->act, n, q_width > twice ? q_width : twice, s->model->kernels->act_bytes);
    want_act(ps, &b->hidden, n, hp->n_ff, s->model->kernels->act_bytes);
    want(ps, &b->q, 2 * n * q_width, sizeof(float));
    want(ps, &b->k, 2 * n * kv_width, sizeof(float));
    want(ps, &b->v, 2 * n * kv_width, sizeof(float));
    want(ps, &b->gate, n * run_pad8(hp->n_ff), sizeof(float));
    want(ps, &b->up, n * run_pad8(hp->n_ff), sizeof(float));
    want(ps, &b->out, n * run_pad8(hp->n_embd), sizeof(float));
    want(ps, &b->logits, s->n_logits_max * run_pad8(hp->n_vocab), sizeof(float));
    want(ps, &b->rope_freq, hp->n_rot / 2, sizeof(double));
    want(ps, &b->rope, n * hp->n_rot, sizeof(float));
}

static size_t longest_piece(const vocab *v) {
    size_t longest = 0;
    for (uint32_t i = 0; i < vocab_size(v); i++) {
        size_t n = (size_t)vocab_text(v, (int32_t)i).n;
        if (n > longest) longest = n;
    }
    return longest;
}

static void want_all(pieces *ps, nut_session *s) {
    const model_hparams *hp = &s->model->hp;
    want(ps, &s->cache, (size_t)hp->n_layer * hp->n_head_kv * cache_tiles(s->n_ctx),
         cache_tile_bytes(s->cache_kind, hp->head_dim));
    want(ps, &s->parts, cache_spans(s->n_ctx) * hp->n_head, kernel_part_size(hp->head_dim) * sizeof(float));
    want(ps, &s->tokens, s->n_ctx, sizeof(int32_t));
    want(ps, &s->generation.prompt, s->n_ctx, sizeof(int32_t));
    want(ps, &s->sampler.candidates, hp->n_vocab, sizeof(sampler_candidate));
    want(ps, &s->sampler.counts, hp->n_vocab, sizeof(uint32_t));
    s->stream.cap = 2 * STREAM_MAX_STOP + longest_piece(s->model->vocab);
    want(ps, &s->stream.held, s->stream.cap, 1);
    want(ps, &s->stream.text, 3 * s->stream.cap, 1);
    want_buffers(ps, s);
}

static nut_status take_memory(nut_session *s, nut_error *err) {
    uint64_t bytes =
        model_session_bytes(&s->model->hp, s->cache_kind, s->n_ctx, s->n_batch, s->n_logits_max);
    if (bytes > SIZE_MAX / 2)
        return error_set(err, NUT_E_TOO_LARGE,
                         "a session of %u positions cannot be addressed; use a shorter context", s->n_ctx);
    pieces ps = {.n = 0};
    want_all(&ps, s);
    for (size_t i = 0; i < ps.n; i++) arena_add(&s->memory, ps.p[i].n, ps.p[i].size);
    if (!arena_open(&s->memory)) return error_memory(err, s->memory.size);
    for (size_t i = 0; i < ps.n; i++) {
        void *p = arena_take(&s->memory, ps.p[i].n, ps.p[i].size);
        memcpy(ps.p[i].to, &p, sizeof p);
    }
    return NUT_OK;
}

/* ---- life ---- */

static uint32_t or_default(uint32_t value, uint32_t otherwise) {
    return value ? value : otherwise;
}

static nut_status set_options(nut_session *s, const nut_session_options *o, nut_error *err) {
    uint32_t trained = s->model->hp.n_ctx_train;
    s->n_ctx = or_default(o->n_ctx, trained < DEFAULT_CTX ? trained : DEFAULT_CTX);
    if (s->n_ctx < 2 || s->n_ctx > trained)
        return error_set(err, NUT_E_ARGUMENT,
                         "the context must be 2 to %u positions (what the model was trained with), not %u",
                         trained, s->n_ctx);
    s->n_batch = or_default(o->n_batch, DEFAULT_BATCH);
    if (s->n_batch > MAX_BATCH)
        return error_set(err, NUT_E_ARGUMENT, "the batch must be 1 to %d tokens, not %u", MAX_BATCH,
                         s->n_batch);
    if (s->n_batch > s->n_ctx) s->n_batch = s->n_ctx;
    s->n_logits_max = or_default(o->n_logits, 1);
    if (s->n_logits_max > s->n_batch)
        return error_set(err, NUT_E_ARGUMENT, "n_logits must be at most the batch of %u tokens, not %u",
                         s->n_batch, s->n_logits_max);
    s->cache_kind = model_cache_kind(&s->model->hp, o->kv_type);
    if (!s->cache_kind)
        return error_set(err, NUT_E_ARGUMENT, "there is no kind %d of cache", (int)o->kv_type);
    return NUT_OK;
}

nut_status nut_session_new(const nut_model *model, const nut_session_options *options, nut_session **out,
                           nut_error *err) {
    nut_session *s = mem_calloc(1, sizeof *s);
    if (!s) return error_memory(err, sizeof *s);
    s->model = model;
    nut_status status = set_options(s, options, err);
    if (status == NUT_OK) status = take_memory(s, err);
    if (status == NUT_OK) status = threads_new(or_default(options->n_threads, 1), &s->team, err);
    if (status != NUT_OK) {
        nut_session_free(s);
        return status;
    }
    s->profile.on = options->profile;
    s->sampler.n_vocab = model->hp.n_vocab;
    rope_prepare(model, s->buf.rope_freq);
    *out = s;
    return NUT_OK;
}

void nut_session_free(nut_session *s) {
    if (!s) return;
    threads_free(s->team);
    arena_close(&s->memory);
    mem_free(s);
}

uint32_t nut_session_n_ctx(const nut_session *s) {
    return s->n_ctx;
}
uint32_t nut_session_n_past(const nut_session *s) {
    return s->n_past;
}
uint32_t nut_session_n_threads(const nut_session *s) {
    return threads_count(s->team);
}
uint64_t nut_session_bytes(const nut_session *s) {
    return s->memory.size + sizeof *s;
}
const char *nut_session_kv_type(const nut_session *s) {
    return s->cache_kind->name;
}

/* ---- tokens ---- */

nut_status session_check_ids(const nut_session *s, const int32_t *ids, size_t n, nut_error *err) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= s->model->hp.n_vocab)
            return error_set(err, NUT_E_ARGUMENT, "token id %d is not in the vocabulary of %u", (int)ids[i],
                             s->model->hp.n_vocab);
    return NUT_OK;
}

static nut_status check_eval(const nut_session *s, const int32_t *ids, size_t n, size_t n_logits,
                             nut_error *err) {
    if (n == 0 || n_logits > n || n_logits > s->n_logits_max)
        return error_set(err, NUT_E_ARGUMENT,
                         "cannot keep %zu rows of logits of %zu tokens (the session holds %u)", n_logits, n,
                         s->n_logits_max);
    if (n > s->n_ctx - s->n_past)
        return error_set(err, NUT_E_CONTEXT,
                         "%zu tokens do not fit: %u of %u positions are taken; use a longer context", n,
                         s->n_past, s->n_ctx);
    return session_check_ids(s, ids, n, err);
}

/* Batches end so that all kept logits are of the last one. */
static size_t next_batch(const nut_session *s, size_t left, size_t n_logits) {
    if (left <= s->n_batch) return left;
    return left - s->n_batch < n_logits ? left - n_logits : s->n_batch;
}

nut_status nut_session_eval(nut_session *s, const int32_t *ids, size_t n, size_t n_logits, nut_error *err) {
    TRY(check_eval(s, ids, n, n_logits, err));
    while (n > 0) {
        size_t batch = next_batch(s, n, n_logits);
        forward_batch(s, ids, batch, batch == n ? n_logits : 0);
        memcpy(s->tokens + s->n_past, ids, batch * sizeof *ids);
        s->n_past += (uint32_t)batch;
        ids += batch;
        n -= batch;
    }
    s->n_logits = n_logits;
    return NUT_OK;
}

const float *nut_session_logits(const nut_session *s, size_t i) {
    return i < s->n_logits ? s->buf.logits + i * run_pad8(s->model->hp.n_vocab) : NULL;
}

nut_status nut_session_truncate(nut_session *s, uint32_t n_past, nut_error *err) {
    if (n_past > s->n_past)
        return error_set(err, NUT_E_ARGUMENT, "cannot go to position %u: the session is at %u", n_past,
                         s->n_past);
    nut_generate_end(s);
    s->n_past = n_past;
    s->n_logits = 0;
    return NUT_OK;
}

nut_status nut_session_timings(const nut_session *s, char *out, size_t cap, size_t *n_out, nut_error *err) {
    int n = snprintf(
        out, cap,
        "{\"prefill\":{\"tokens\":%llu,\"seconds\":%.6f},\"decode\":{\"tokens\":%llu,\"seconds\":%.6f}}",
        (unsigned long long)s->prefill.tokens, s->prefill.seconds, (unsigned long long)s->decode.tokens,
        s->decode.seconds);
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
    if (i >= PROFILE_COUNT) return false;
    *part = (nut_profile_part){names[i], s->profile.seconds[0][i], s->profile.seconds[1][i]};
    return true;
}
