/* Which positions stay, and how they move up. */
#include "run/keep.h"

#include "base/error.h"
#include "base/sort.h"
#include "run/attend.h"
#include "run/block.h"
#include "run/weights.h"

#include <math.h>

enum {
    LAST = 32,  // tokens that vote, and stay
    NEAR = 3,   // positions on each side that count as one
    LEAST = 64, // positions that can stay
};

/* ---- the choice ---- */

static int by_votes(const void *a, const void *b) {
    const keep_vote *x = a, *y = b;
    if (x->votes != y->votes) return x->votes > y->votes ? -1 : 1;
    return x->pos < y->pos ? -1 : 1;
}

static int by_position(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static float largest_near(const float *votes, size_t n, size_t pos) {
    const size_t from = pos < NEAR ? 0 : pos - NEAR, to = n - pos <= NEAR ? n : pos + NEAR + 1;
    float largest = votes[from];
    for (size_t i = from; i < to; i++) largest = fmaxf(largest, votes[i]);
    return largest;
}

void keep_choose(const float *votes, size_t n, size_t most, keep_vote *order, uint32_t *chosen) {
    for (size_t i = 0; i < n; i++) order[i] = (keep_vote){largest_near(votes, n, i), (uint32_t)i};
    sort_rows(order, n, sizeof *order, by_votes);
    for (size_t i = 0; i < most; i++) chosen[i] = order[i].pos;
    sort_rows(chosen, most, sizeof *chosen, by_position);
}

/* ---- votes ---- */

/* What a member of the team works with. */
typedef struct member {
    float *keys;      // (n + n_last, k_dim)
    float *weights;   // (n + n_last)
    float *votes;     // (n)
    keep_vote *order; // (n)
} member;

typedef struct keeper {
    sequence *q;
    uint32_t n;            // positions before the last ones
    uint32_t n_last, most; // the last ones; how many of the others stay
    size_t n_heads;        // of a layer at most
    uint32_t *chosen;      // (n_layer, n_heads, most)
    float *moved;          // (most + n_last, k_dim + v_dim)
    member *members;       // (threads)
    arena memory;
} keeper;

static uint32_t *chosen_of(const keeper *k, size_t layer, size_t head) {
    return k->chosen + (layer * k->n_heads + head) * k->most;
}

/* In eight sums, so that compilers use vectors. */
static float dot(const float *a, const float *b, size_t n) {
    float sums[8] = {0}, all = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t c = 0; c < 8; c++) sums[c] += a[i + c] * b[i + c];
    for (; i < n; i++) all += a[i] * b[i];
    for (size_t c = 0; c < 8; c++) all += sums[c];
    return all;
}

/* Adds the attention weights of one query to the votes of the positions before the last ones. The query sees
 * the first n_seen positions. sink: score of the head's attention sink, -INFINITY where it has none. */
static void vote(const keeper *k, const member *own, const layer_hparams *l, const float *q, size_t n_seen,
                 float sink) {
    const model_hparams *hp = &k->q->ws->model->hp;
    const float cap = hp->attn_softcap,
                scale = hp->attn_scale > 0 ? hp->attn_scale : 1 / sqrtf((float)l->head_dim);
    float largest = sink, sum = 0;
    for (size_t i = 0; i < n_seen; i++) {
        float score = scale * dot(q, own->keys + i * run_pad8(l->head_dim), l->head_dim);
        if (cap > 0) score = cap * tanhf(score / cap);
        own->weights[i] = score;
        largest = fmaxf(largest, score);
    }
    for (size_t i = 0; i < n_seen; i++) sum += own->weights[i] = expf(own->weights[i] - largest);
    sum += expf(sink - largest);
    for (size_t i = 0; i < k->n; i++) own->votes[i] += own->weights[i] / sum;
}

/* Lets all last tokens vote on the positions of a key/value head. */
static void vote_head(const keeper *k, const member *own, size_t layer, size_t head) {
    const model_layer *at = &k->q->ws->model->layers[layer];
    const layer_hparams *l = &at->hp;
    const float *sinks = ((const attention_weights *)at->mixer)->sinks, *q = attention_queries(k->q->ws);
    const size_t group = l->n_head / l->n_head_kv, k_dim = run_pad8(l->head_dim),
                 width = run_pad8((size_t)l->n_head * l->head_dim);
    for (size_t i = 0; i < k->n + k->n_last; i++) {
        const cache_head cache = sequence_head_at(k->q, layer, head, i);
        cache_key(&cache, i, own->keys + i * k_dim);
    }
    memset(own->votes, 0, k->n * sizeof *own->votes);
    for (size_t t = 0; t < k->n_last; t++)
        for (size_t h = head * group; h < (head + 1) * group; h++)
            vote(k, own, l, q + t * width + h * l->head_dim, k->n + t + 1, sinks ? sinks[h] : -INFINITY);
    keep_choose(own->votes, k->n, k->most, own->order, chosen_of(k, layer, head));
}

typedef struct vote_call {
    const keeper *k;
    size_t layer;
} vote_call;

static void vote_member(void *ctx, unsigned i, unsigned n_members) {
    const vote_call *c = ctx;
    const size_t n_heads = c->k->q->ws->model->layers[c->layer].hp.n_head_kv;
    for (size_t h = i; h < n_heads; h += n_members) vote_head(c->k, &c->k->members[i], c->layer, h);
}

/* A layer that sees a window keeps its end. */
static void keep_last(const keeper *k, size_t layer) {
    for (size_t h = 0; h < k->n_heads; h++)
        for (uint32_t i = 0; i < k->most; i++) chosen_of(k, layer, h)[i] = k->n - k->most + i;
}

/* Behind the attention of a layer, whose last product this is: its queries are still there. */
static void see_linear(void *ctx, const linear *l, const float *x, size_t n_tokens, bool again) {
    const keeper *k = ctx;
    const nut_model *m = k->q->ws->model;
    (void)x, (void)n_tokens, (void)again;
    for (size_t i = 0; i < m->hp.n_layer; i++) {
        const model_layer *at = &m->layers[i];
        if (l != &((const attention_weights *)at->mixer)->o || at->hp.shares_kv) continue;
        vote_call c = {k, i};
        if (at->hp.window)
            keep_last(k, i);
        else
            threads_run(k->q->ws->team, vote_member, &c);
    }
}

/* Reads the last tokens again, and chooses. */
static nut_status choose(nut_session *s, keeper *k, nut_error *err) {
    workspace *ws = s->seq.ws;
    linear_tap *const tap = ws->tap;
    void *const tap_ctx = ws->tap_ctx;
    int32_t ids[LAST];
    memcpy(ids, s->seq.tokens + k->n, k->n_last * sizeof *ids);
    TRY(session_rewind(s, k->n, err));
    ws->tap = see_linear, ws->tap_ctx = k;
    const nut_status status = session_eval(s, ids, k->n_last, 1, err);
    ws->tap = tap, ws->tap_ctx = tap_ctx;
    s->generation.row = 0;
    if (status != NUT_OK) nut_generate_end(s);
    return status;
}

/* ---- moving up ---- */

/* All is read before anything is written: packed numbers are differences from centers that move too. */
static void move_head(const keeper *k, size_t layer, size_t head) {
    const layer_hparams *l = &k->q->ws->model->layers[layer].hp;
    const size_t k_dim = run_pad8(l->head_dim), row = k_dim + run_pad8(l->head_dim_v);
    sequence after = *k->q;
    for (size_t i = 0; i < k->most + k->n_last; i++) {
        const size_t from = i < k->most ? chosen_of(k, layer, head)[i] : k->n + i - k->most;
        const cache_head cache = sequence_head_at(k->q, layer, head, from);
        cache_key(&cache, from, k->moved + i * row);
        cache_value(&cache, from, k->moved + i * row + k_dim);
    }
    after.recent_from = sequence_recent_from(&after, k->most + k->n_last);
    for (size_t i = 0; i < k->most + k->n_last; i++) {
        const cache_head cache = sequence_head_at(&after, layer, head, i);
        cache_put(&cache, i, k->moved + i * row, k->moved + i * row + k_dim);
    }
}

static void move(const keeper *k) {
    sequence *q = k->q;
    const uint32_t n = k->most + k->n_last;
    for (uint32_t i = 0; i < cache_tiles(n); i++)
        if (page_is_shared(q->pages[i])) sequence_own_page(q, i);
    for (size_t il = 0; il < q->ws->model->hp.n_layer; il++) {
        const layer_hparams *l = &q->ws->model->layers[il].hp;
        for (size_t h = 0; !l->shares_kv && h < l->n_head_kv; h++) move_head(k, il, h);
    }
    memmove(q->tokens, q->tokens + (q->n_past - n), n * sizeof *q->tokens);
    q->n_skipped += q->n_past - n;
    q->n_kept = k->most;
    q->recent_from = sequence_recent_from(q, n);
    sequence_truncate(q, n);
    pages_renew(&q->ws->pages, q->pages, q->n_pages);
}

/* ---- the call ---- */

/* Models that keep nothing of a token but keys and values, and that know of positions by rotation alone. */
static nut_status check_model(const nut_model *m, nut_error *err) {
    const uint64_t fixed = ARCH_POSITIONS | ARCH_TILES;
    bool can =
        m->hp.causal && !workspace_state_size(m) && !(m->arch->features & fixed) && !(m->hp.max_alibi > 0);
    for (size_t i = 0; i < m->hp.n_layer; i++) can = can && m->layers[i].hp.mixer == BLOCK_mix_attention;
    if (can) return NUT_OK;
    return error_set(err, NUT_E_UNSUPPORTED,
                     "models of the family \"%s\" cannot leave out positions that they have read; use them "
                     "whole",
                     m->arch->name);
}

static nut_status check_time(const generation *g, nut_error *err) {
    if (g->state == GENERATION_IDLE || (g->state == GENERATION_SAMPLING && !g->n_sampled && !g->shift))
        return NUT_OK;
    return error_set(err, NUT_E_STATE,
                     "positions can be left out before a generation, or between its prompt and its first "
                     "token, without shift");
}

static bool open_keeper(keeper *k) {
    const model_hparams *hp = &k->q->ws->model->hp;
    const size_t n_all = (size_t)k->n + k->n_last, k_dim = run_pad8(hp->most.head_dim),
                 n_members = threads_count(k->q->ws->team), n_chosen = (size_t)hp->n_layer * k->n_heads,
                 moved = (size_t)k->most + k->n_last, row = k_dim + run_pad8(hp->most.head_dim_v);
    arena *a = &k->memory;
    arena_add(a, n_chosen, k->most * sizeof *k->chosen);
    arena_add(a, moved, row * sizeof *k->moved);
    arena_add(a, n_members, sizeof *k->members);
    for (size_t i = 0; i < n_members; i++) {
        arena_add(a, n_all, k_dim * sizeof(float));
        arena_add(a, n_all, sizeof(float));
        arena_add(a, k->n, sizeof(float));
        arena_add(a, k->n, sizeof(keep_vote));
    }
    if (!arena_open(a)) return false;
    k->chosen = arena_take(a, n_chosen, k->most * sizeof *k->chosen);
    k->moved = arena_take(a, moved, row * sizeof *k->moved);
    k->members = arena_take(a, n_members, sizeof *k->members);
    for (size_t i = 0; i < n_members; i++) {
        k->members[i].keys = arena_take(a, n_all, k_dim * sizeof(float));
        k->members[i].weights = arena_take(a, n_all, sizeof(float));
        k->members[i].votes = arena_take(a, k->n, sizeof(float));
        k->members[i].order = arena_take(a, k->n, sizeof(keep_vote));
    }
    return true;
}

nut_status nut_session_keep(nut_session *s, uint32_t most, nut_error *err) {
    sequence *q = &s->seq;
    const uint32_t n_last = q->ws->n_batch < LAST ? q->ws->n_batch : LAST;
    TRY(check_model(q->ws->model, err));
    TRY(check_time(&s->generation, err));
    if (most < LEAST)
        return error_set(err, NUT_E_ARGUMENT, "at least %d positions stay, not %u", LEAST, most);
    if (q->n_past <= most) return NUT_OK;
    keeper k = {.q = q,
                .n = q->n_past - n_last,
                .n_last = n_last,
                .most = most - n_last,
                .n_heads = q->ws->model->hp.most.n_head_kv};
    if (!open_keeper(&k)) return error_memory(err, k.memory.size);
    const nut_status status = choose(s, &k, err);
    if (status == NUT_OK) move(&k);
    arena_close(&k.memory);
    return status;
}
