/*
 * Attention over the cache, and how its work is shared.
 *
 * Several tokens are cut into blocks whose rows (query heads of a group) fill the kernel's, one token into
 * spans of positions, so that a long context is shared by more threads than there are key/value heads.
 * Either way a token's result is the same sequence of operations (kernels/kernels.h). Where tokens see some
 * tiles alone (block-sparse patterns: Child et al. 2019, "Sparse Transformer", arXiv 1904.10509; Beltagy et
 * al. 2020, "Longformer", arXiv 2004.05150; Zaheer et al. 2020, "BigBird", arXiv 2007.14062), the others are
 * skipped: a table of pages has those alone.
 */
#include "run/attend.h"

#include "model/tiles.h"

#include <math.h>

enum { BLOCK_ROWS = 32 };

typedef struct attend_call {
    const forward_step *s;
    const float *q, *sinks;
    float *out;
} attend_call;

size_t attend_page_bytes(const layer_hparams *l, const cache_kind *kind) {
    return l->n_head_kv * cache_tile_bytes(kind, run_pad8(l->head_dim), run_pad8(l->head_dim_v));
}

/* x (n) with zeros behind it up to a multiple of 8, in `room` where there are any. */
static const float *pad(const float *x, size_t n, float *room) {
    if (n % 8 == 0) return x;
    memcpy(room, x, n * sizeof *x);
    memset(room + n, 0, (run_pad8(n) - n) * sizeof *x);
    return room;
}

/* The key and value of head h of token t. */
static void store_head(const forward_step *s, size_t t, size_t h, const kernel_rope *r, const float *k,
                       const float *v) {
    const layer_hparams *l = &s->layer->hp;
    float key[CACHE_MAX_DIM], value[CACHE_MAX_DIM];
    const cache_head c = sequence_head_at(s->rows[t].seq, s->il, h, s->rows[t].pos);
    s->k->store(&c, s->rows[t].pos, r, pad(k + h * l->head_dim, l->head_dim, key),
                pad(v + h * l->head_dim_v, l->head_dim_v, value));
}

void attend_store(const forward_step *s, size_t t, const kernel_rope *r, const float *k, const float *v) {
    if (s->ws->cache_kind->packed) return;
    for (size_t h = 0; h < s->layer->hp.n_head_kv; h++) store_head(s, t, h, r, k, v);
}

typedef struct store_call {
    const forward_step *s;
    attend_rope_fn *rope;
    const float *k, *v;
    size_t k_stride, v_stride;
} store_call;

static void store_member(void *ctx, unsigned i, unsigned n_members) {
    const store_call *c = ctx;
    for (size_t h = i; h < c->s->layer->hp.n_head_kv; h += n_members)
        for (size_t t = 0; t < c->s->n; t++) {
            const kernel_rope r = c->rope ? c->rope(c->s, t) : (kernel_rope){0};
            store_head(c->s, t, h, &r, c->k + t * c->k_stride, c->v + t * c->v_stride);
        }
}

void attend_store_ordered(const forward_step *s, attend_rope_fn *rope, const float *k, size_t k_stride,
                          const float *v, size_t v_stride) {
    store_call c = {s, rope, k, v, k_stride, v_stride};
    if (s->ws->cache_kind->packed && !s->layer->hp.shares_kv) threads_run(s->ws->team, store_member, &c);
}

/* ---- several tokens ---- */

/* Tokens of a block: as many as fill its rows, and such that rows come in fours; a power of two. */
static size_t block_tokens(size_t group) {
    const size_t step = group % 4 == 0 ? 1 : group % 2 == 0 ? 2 : 4, most = BLOCK_ROWS / group / step * step;
    return most ? most : step;
}

/* The slopes of all heads (Press et al. 2021, arXiv 2108.12409, section 3): a geometric sequence for a power
 * of two of them, and every other number of the next one for the rest. */
static void fill_slopes(const forward_step *s, float *slopes) {
    const size_t n = s->layer->hp.n_head;
    size_t whole = 1;
    while (2 * whole <= n) whole *= 2;
    for (size_t h = 0; h < n; h++) {
        const double step = h < whole ? (double)(h + 1) : (double)(2 * (h - whole) + 1) / 2;
        slopes[h] = (float)exp2(-(double)s->m->hp.max_alibi * step / (double)whole);
    }
}

/* Tokens [t, t + n) of the step, which follow one another in a sequence, over key/value head h. */
static kernel_attend call_of(const attend_call *c, const cache_head *cache, size_t h, size_t t, size_t n) {
    const layer_hparams *l = &c->s->layer->hp;
    const float scale = c->s->m->hp.attn_scale;
    const size_t k_dim = run_pad8(l->head_dim), v_dim = run_pad8(l->head_dim_v),
                 group = l->n_head / l->n_head_kv;
    return (kernel_attend){.cache = cache,
                           .q = c->q + (t * l->n_head + h * group) * k_dim,
                           .out = c->out + (t * l->n_head + h * group) * v_dim,
                           .n_tokens = n,
                           .n_q = group,
                           .q_stride = l->n_head * k_dim,
                           .out_stride = l->n_head * v_dim,
                           .n_kv = c->s->rows[t].pos + 1,
                           .window = l->window,
                           .softcap = c->s->m->hp.attn_softcap,
                           .scale = scale > 0 ? scale : 1.0f / sqrtf((float)l->head_dim),
                           .slopes = c->s->m->hp.max_alibi > 0 ? c->s->ws->slopes + h * group : NULL,
                           .sinks = c->sinks ? c->sinks + h * group : NULL};
}

/* A token at `pos` of a text that is all there, up to `last`, sees half its window before it and half behind
 * it, or all. */
static void see_both_ways(kernel_attend *a, uint32_t window, uint32_t pos, uint32_t last) {
    const uint32_t half = window / 2, end = window && half < last - pos ? pos + half : last;
    a->n_kv = (size_t)end + 1;
    a->n_behind = end - pos;
    a->window = window && half < pos ? end - pos + half + 1 : 0;
}

/* How many tokens from t on follow one another in one sequence. */
static size_t run_length(const forward_step *s, size_t t) {
    size_t n = 1;
    while (t + n < s->n && s->rows[t + n].seq == s->rows[t].seq) n++;
    return n;
}

/* What member i of n_members does of the run of n tokens from t on. Members take blocks by turns, since
 * later tokens see more positions; `n_before` is the number of blocks of earlier runs, so that short runs
 * are shared too. */
static void attend_run(const attend_call *c, size_t t, size_t n, unsigned i, unsigned n_members,
                       size_t *n_before) {
    const layer_hparams *l = &c->s->layer->hp;
    const bool causal = c->s->m->hp.causal;
    const size_t n_kv = l->n_head_kv, each = causal ? block_tokens(l->n_head / n_kv) : 1;
    /* Blocks begin at multiples of their length, so that each is within a tile. */
    const size_t before = c->s->rows[t].pos % each, n_blocks = (before + n + each - 1) / each * n_kv;
    for (size_t u = 0; u < n_blocks; u++, ++*n_before) {
        if (*n_before % n_members != i) continue;
        const size_t at = u / n_kv * each, first = at > before ? at - before : 0, h = u % n_kv,
                     end = at + each - before < n ? at + each - before : n;
        const cache_head cache = sequence_head_at(c->s->rows[t].seq, l->kv_of, h, c->s->rows[t + first].pos);
        kernel_attend a = call_of(c, &cache, h, t + first, end - first);
        if (!causal) see_both_ways(&a, l->window, c->s->rows[t + first].pos, c->s->rows[t + n - 1].pos);
        c->s->k->attend(&a);
    }
}

static void many_member(void *ctx, unsigned i, unsigned n_members) {
    const attend_call *c = ctx;
    size_t n_before = 0;
    for (size_t t = 0, n; t < c->s->n; t += n) {
        n = run_length(c->s, t);
        attend_run(c, t, n, i, n_members, &n_before);
    }
}

/* ---- one token ---- */

/* The first span, and how many, of which the token sees something. */
static size_t first_span(const forward_step *s) {
    return kernel_first_seen(s->rows->pos + 1, s->layer->hp.window) / CACHE_SPAN;
}
static size_t spans_seen(const forward_step *s) {
    return s->rows->pos / CACHE_SPAN + 1 - first_span(s);
}

static void one_member(void *ctx, unsigned i, unsigned n_members) {
    const attend_call *c = ctx;
    const layer_hparams *l = &c->s->layer->hp;
    const size_t n_spans = spans_seen(c->s), size = kernel_partial_size(run_pad8(l->head_dim_v));
    const sequence *seq = c->s->rows->seq;
    size_t begin, end;
    threads_split(l->n_head_kv * n_spans, i, n_members, &begin, &end);
    for (size_t u = begin; u < end; u++) {
        const size_t h = u / n_spans, span = u % n_spans;
        const cache_head cache = sequence_head_at(seq, l->kv_of, h, c->s->rows->pos);
        const kernel_attend a = call_of(c, &cache, h, 0, 1);
        c->s->k->attend_span(&a, (first_span(c->s) + span) * CACHE_SPAN,
                             seq->partial + (span * l->n_head + h * a.n_q) * size);
    }
}

static void join_spans(const attend_call *c) {
    const layer_hparams *l = &c->s->layer->hp;
    const sequence *seq = c->s->rows->seq;
    const size_t size = kernel_partial_size(run_pad8(l->head_dim_v));
    const cache_head cache = sequence_head(seq, l->kv_of, 0);
    for (size_t h = 0; h < l->n_head; h++)
        c->s->k->attend_join(&cache, seq->partial + h * size, spans_seen(c->s), l->n_head * size,
                             c->sinks ? c->sinks + h : NULL, c->out + h * run_pad8(l->head_dim_v));
}

/* ---- some tiles ---- */

/* Token t over the tiles that it sees, as if they alone were there: four at a time are a span. */
static void attend_tiles(const attend_call *c, size_t t, size_t h) {
    enum { TILES = CACHE_SPAN / CACHE_TILE };
    const layer_hparams *l = &c->s->layer->hp;
    const sequence *seq = c->s->rows[t].seq;
    const size_t pos = c->s->rows[t].pos, own = pos / CACHE_TILE,
                 size = kernel_partial_size(run_pad8(l->head_dim_v));
    uint8_t *pages[TILES];
    const cache_head head = sequence_head_at(seq, l->kv_of, h, pos);
    cache_head cache = head;
    kernel_attend a = call_of(c, &cache, h, t, 1);
    float *partial = seq->partial + h * a.n_q * size;
    size_t n = 0, n_spans = 0;
    cache.pages = pages;
    for (size_t tile = 0; tile <= own; tile++) {
        if (tiles_see(&c->s->m->hp.tiles, own, tile)) pages[n++] = seq->pages[tile];
        if (n < TILES && tile < own) continue;
        cache.recent = tile < own ? NULL : head.recent;
        a.n_kv = tile < own ? TILES * CACHE_TILE : (n - 1) * CACHE_TILE + pos % CACHE_TILE + 1;
        c->s->k->attend_span(&a, 0, partial + n_spans++ * l->n_head * size);
        n = 0;
    }
    for (size_t i = 0; i < a.n_q; i++)
        c->s->k->attend_join(&cache, partial + i * size, n_spans, l->n_head * size,
                             a.sinks ? a.sinks + i : NULL, a.out + i * run_pad8(l->head_dim_v));
}

static void tiles_member(void *ctx, unsigned i, unsigned n_members) {
    const attend_call *c = ctx;
    for (size_t h = i; h < c->s->layer->hp.n_head_kv; h += n_members)
        for (size_t t = 0; t < c->s->n; t++) attend_tiles(c, t, h);
}

/* ---- all ---- */

static void attend_whole(const forward_step *s, const float *q, const float *sinks, float *out) {
    attend_call c = {s, q, sinks, out};
    if (ARCH_OWN && s->m->hp.tiles.local) {
        threads_run(s->ws->team, tiles_member, &c);
        return;
    }
    if (s->n > 1 || !s->m->hp.causal) {
        threads_run(s->ws->team, many_member, &c);
        return;
    }
    threads_run(s->ws->team, one_member, &c);
    join_spans(&c);
}

void attend(const forward_step *s, const float *q, const float *sinks, float *out) {
    const layer_hparams *l = &s->layer->hp;
    const size_t n = s->n * l->n_head, k_dim = run_pad8(l->head_dim), v_dim = run_pad8(l->head_dim_v);
    if (s->m->hp.max_alibi > 0) fill_slopes(s, s->ws->slopes);
    if (!attend_pads(l)) {
        attend_whole(s, q, sinks, out);
        return;
    }
    float *padded_q = s->ws->padded, *padded_out = padded_q + n * k_dim;
    memset(padded_q, 0, n * k_dim * sizeof *q);
    for (size_t h = 0; h < n; h++) { // a head that needs no padding is copied all the same
        const size_t at = h / l->n_head * run_pad8(l->n_head * l->head_dim) + h % l->n_head * l->head_dim;
        memcpy(padded_q + h * k_dim, q + at, l->head_dim * sizeof *q);
    }
    attend_whole(s, padded_q, sinks, padded_out);
    for (size_t h = 0; h < n; h++)
        memcpy(out + h * l->head_dim_v, padded_out + h * v_dim, l->head_dim_v * sizeof *out);
}
