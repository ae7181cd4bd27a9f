/*
 * What a position takes from those before it: the cache, and how the work of attention is shared.
 *
 * Several tokens are cut into blocks whose rows (query heads of a group) fill the kernel's, one token into
 * spans of positions, so that a long context is shared by more threads than there are key/value heads.
 * Either way a token's result is the same sequence of operations (kernels/kernels.h).
 */
#include "run/session.h"

#include <math.h>

enum { BLOCK_ROWS = 32 };

static cache_head cache_at(const nut_session *s, size_t layer, size_t head) {
    const model_hparams *hp = &s->model->hp;
    const size_t bytes = cache_tiles(s->n_ctx) * cache_tile_bytes(s->cache_kind, hp->head_dim);
    return (cache_head){s->cache_kind, hp->head_dim, s->cache + (layer * hp->n_head_kv + head) * bytes};
}

/* The reference set alone takes floats. */
static const kernel_set *kernels_of(const nut_session *s) {
    return s->cache_kind == &cache_kinds[CACHE_F32] ? kernel_at(kernel_count() - 1) : s->model->kernels;
}

void attend_store(const nut_session *s, size_t layer, size_t t, const float *k, const float *v) {
    const model_hparams *hp = &s->model->hp;
    const kernel_rope r = rope_of(s, t);
    for (size_t h = 0; h < hp->n_head_kv; h++) {
        const cache_head c = cache_at(s, layer, h);
        kernels_of(s)->store(&c, s->n_past + t, &r, k + h * hp->head_dim, v + h * hp->head_dim);
    }
}

/* ---- several tokens ---- */

/* Tokens of a block: as many as fill its rows, and such that rows come in fours. */
static size_t block_tokens(size_t group) {
    const size_t step = group % 4 == 0 ? 1 : group % 2 == 0 ? 2 : 4, most = BLOCK_ROWS / group / step * step;
    return most ? most : step;
}

/* Tokens [t, t + n) of the batch over key/value head h. */
static kernel_attend call_of(const attend_batch *b, const cache_head *cache, size_t h, size_t t, size_t n) {
    const model_hparams *hp = &b->s->model->hp;
    const size_t dim = hp->head_dim, group = hp->n_head / hp->n_head_kv, width = hp->n_head * dim;
    const size_t at = t * width + h * group * dim;
    return (kernel_attend){.cache = cache,
                           .q = b->q + at,
                           .out = b->out + at,
                           .n_tokens = n,
                           .n_q = group,
                           .stride = width,
                           .n_kv = b->s->n_past + t + 1,
                           .scale = 1.0f / sqrtf((float)dim)};
}

/* Members take blocks in turn, since later tokens see more positions. */
static void many_member(const attend_batch *b, unsigned i, unsigned n_members) {
    const size_t n_kv = b->s->model->hp.n_head_kv, each = block_tokens(b->s->model->hp.n_head / n_kv);
    for (size_t u = i; u < (b->n + each - 1) / each * n_kv; u += n_members) {
        const size_t t = u / n_kv * each, h = u % n_kv;
        const cache_head cache = cache_at(b->s, b->layer, h);
        const kernel_attend a = call_of(b, &cache, h, t, b->n - t < each ? b->n - t : each);
        kernels_of(b->s)->attend(&a);
    }
}

/* ---- one token ---- */

static size_t spans_seen(const attend_batch *b) {
    return b->s->n_past / CACHE_SPAN + 1;
}

static void one_member(const attend_batch *b, unsigned i, unsigned n_members) {
    const model_hparams *hp = &b->s->model->hp;
    const size_t n_spans = spans_seen(b), size = kernel_part_size(hp->head_dim);
    size_t begin, end;
    threads_split(hp->n_head_kv * n_spans, i, n_members, &begin, &end);
    for (size_t u = begin; u < end; u++) {
        const size_t h = u / n_spans, span = u % n_spans;
        const cache_head cache = cache_at(b->s, b->layer, h);
        const kernel_attend a = call_of(b, &cache, h, 0, 1);
        kernels_of(b->s)->attend_span(&a, span * CACHE_SPAN,
                                      b->s->parts + (span * hp->n_head + h * a.n_q) * size);
    }
}

void attend_member(const attend_batch *b, unsigned i, unsigned n_members) {
    if (b->n == 1)
        one_member(b, i, n_members);
    else
        many_member(b, i, n_members);
}

void attend_finish(const attend_batch *b) {
    const size_t n_head = b->s->model->hp.n_head, dim = b->s->model->hp.head_dim,
                 size = kernel_part_size(dim);
    for (size_t h = 0; b->n == 1 && h < n_head; h++)
        kernels_of(b->s)->attend_join(b->s->parts + h * size, spans_seen(b), n_head * size, dim,
                                      b->out + h * dim);
}
