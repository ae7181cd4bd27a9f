/*
 * A timeline: its tokens, and the pages that hold their keys and values. Sequences of one workspace can
 * share pages; one that is shared is copied before it is written (pages.h).
 *
 * Saved, a sequence is, little-endian:
 *
 *     bytes   what
 *     8       "NUTSEQ01"
 *     8       fingerprint of the model and of the kind of cache
 *     4, 4    n_past; bytes of a page
 *     4 each  n_past tokens
 *     pages   as they are in memory, the last one whole
 *     a tile  the last one in 8 bits, where the cache is packed and the tile is not full
 *     4 each  what recurrent blocks keep
 *     8       checksum (FNV-1a, 64 bits) of all before
 *
 * A sequence is restored by the same kernels' layout on a machine of the same byte order; numbers in a cache
 * cannot do harm but to the text: they are checked to be in the range that attention counts with.
 */
#include "run/block.h"
#include "run/weights.h"

#include "base/cursor.h"
#include "base/error.h"

#include <math.h>

static size_t tiles_of(uint32_t n_positions) {
    return cache_tiles(n_positions);
}

/* ---- memory ---- */

void sequence_want(const nut_model *m, sequence *q, memory_walk *w) {
    const layer_hparams *most = &m->hp.most;
    memory_want(w, &q->tokens, q->n_ctx, sizeof(int32_t));
    memory_want(w, &q->pages, tiles_of(q->n_ctx), sizeof(uint8_t *));
    memory_want(w, &q->partial, (uint64_t)cache_spans(q->n_ctx) * most->n_head,
                kernel_partial_size(run_pad8(most->head_dim_v)) * sizeof(float));
    const size_t n_states = 1 + SEQUENCE_MARKS + (m->store != NULL);
    memory_want(w, &q->state, n_states * workspace_state_size(m), sizeof(float));
    memory_want(w, &q->rope_freq, (uint64_t)MODEL_ROPES * (m->hp.n_rot / 2), sizeof(double));
    memory_want(w, &q->turns, q->cache_kind->packed ? (uint64_t)MODEL_ROPES * m->hp.n_rot : 0,
                CACHE_TURNS * sizeof(float));
    memory_want(w, &q->turn_table, q->cache_kind->packed ? (uint64_t)MODEL_ROPES * m->hp.n_rot : 0,
                CACHE_TILE * sizeof(int16_t));
    memory_want(w, &q->recent, q->n_recent, workspace_page_bytes(m, &cache_kinds[CACHE_RECENT]));
}

/* Cosines and sines of the centers of rope `which`. */
static cache_turns turns_of(const sequence *q, size_t which) {
    const nut_model *m = q->ws->model;
    const size_t n_pairs = m->hp.rope[which].n_rot / 2;
    const float *cosine = q->turns + which * m->hp.n_rot * CACHE_TURNS;
    return (cache_turns){cosine, cosine + n_pairs * CACHE_TURNS, n_pairs, m->hp.rope_kind == MODEL_ROPE_NORM,
                         q->turn_table + which * m->hp.n_rot * CACHE_TILE};
}

static void fill_turns(sequence *q, size_t which) {
    const cache_turns t = turns_of(q, which);
    const double *freq = q->rope_freq + which * (q->ws->model->hp.n_rot / 2);
    float *cosine = q->turns + (t.cosine - q->turns), *sine = q->turns + (t.sine - q->turns);
    for (size_t i = 0; i < t.n_pairs * CACHE_TURNS; i++) {
        const double angle = freq[i / CACHE_TURNS] * (double)(i % CACHE_TURNS);
        cosine[i] = (float)cos(angle), sine[i] = (float)sin(angle);
    }
    cache_turn_table(&t, q->turn_table + (t.table - q->turn_table));
}

nut_status sequence_open(workspace *ws, sequence *q, nut_error *err) {
    TRY(pages_promise(&ws->pages, tiles_of(q->n_ctx), err));
    q->ws = ws;
    for (int i = 0; i < MODEL_ROPES; i++)
        rope_prepare(ws->model, i, q->n_ctx, q->rope_freq + (size_t)i * (ws->model->hp.n_rot / 2));
    for (size_t i = 0; i < MODEL_ROPES && q->cache_kind->packed; i++) fill_turns(q, i);
    for (uint32_t i = 0; i < ws->model->n_adapters; i++) q->adapters[i] = ws->model->adapters[i].scale;
    return NUT_OK;
}

/* The last page goes; its place may be taken again. */
void sequence_drop_page(sequence *q) {
    page_pool *pool = &q->ws->pages;
    if (page_release(pool, q->pages[--q->n_pages])) pool->n_promised++;
}

void sequence_close(sequence *q) {
    if (!q->ws) return;
    while (q->n_pages) sequence_drop_page(q);
    q->ws->pages.n_promised -= tiles_of(q->n_ctx);
    q->ws = NULL;
}

/* What keys of a head have in common, whatever the token; a norm changes it. */
static const float *bias_of(const model_layer *l, size_t head) {
    const attention_weights *w = l->mixer;
    if (l->hp.mixer != BLOCK_mix_attention || l->hp.head_dim % 8 || w->k_norm || !w->k.bias) return NULL;
    return w->k.bias + head * l->hp.head_dim;
}

cache_head sequence_head(const sequence *q, size_t layer, size_t head) {
    const layer_hparams *l = &q->ws->model->layers[layer].hp;
    const cache_kind *kind = q->cache_kind;
    const bool turns = kind->packed && l->rotates && l->mixer == BLOCK_mix_attention;
    return (cache_head){.kind = kind,
                        .k_dim = run_pad8(l->head_dim),
                        .v_dim = run_pad8(l->head_dim_v),
                        .pages = q->pages,
                        .offset =
                            q->ws->layer_at[layer] +
                            head * cache_tile_bytes(kind, run_pad8(l->head_dim), run_pad8(l->head_dim_v)),
                        .turns = turns ? turns_of(q, l->rope) : (cache_turns){0},
                        .bias = kind->packed ? bias_of(&q->ws->model->layers[layer], head) : NULL};
}

/* ---- tiles in 8 bits ---- */

/*
 * Attention sees a token's own tile in 8 bits (kernels/cache.h). A sequence keeps as many of the last tiles
 * as a step can touch. Going back to a position in an older one, it goes to where that begins, so that
 * tokens are read again: what a position sees never depends on how a sequence came there.
 */

uint32_t sequence_recent_tiles(const cache_kind *kind, uint32_t n_batch) {
    const uint32_t touched = (n_batch + 2 * CACHE_TILE - 2) / CACHE_TILE;
    return !kind->packed ? 0 : touched < 2 ? 2 : touched;
}

static uint8_t *recent_tile(const sequence *q, size_t tile) {
    return q->recent + (tile + q->recent_turn) % q->n_recent * q->ws->recent_bytes;
}

cache_head sequence_head_at(const sequence *q, size_t layer, size_t head, size_t pos) {
    cache_head h = sequence_head(q, layer, head);
    if (q->n_recent && pos / CACHE_TILE >= q->recent_from)
        h.recent = recent_tile(q, pos / CACHE_TILE) + q->ws->recent_at[layer] +
                   head * cache_tile_bytes(&cache_kinds[CACHE_RECENT], h.k_dim, h.v_dim);
    return h;
}

uint32_t sequence_recent_from(const sequence *q, uint32_t n) {
    const uint32_t tiles = (uint32_t)tiles_of(n);
    return tiles > q->n_recent ? tiles - q->n_recent : 0;
}

/* Whether the sequence can go on at n_past, which is not behind its own. */
static bool recent_holds(const sequence *q, uint32_t n_past) {
    const uint32_t tile = n_past / CACHE_TILE;
    return !q->n_recent || n_past % CACHE_TILE == 0 || tile >= q->recent_from;
}

/* ---- pages ---- */

/* Before a page that others hold is written, this sequence gets a copy. */
void sequence_own_page(sequence *q, uint32_t i) {
    page_pool *pool = &q->ws->pages;
    uint8_t *shared = q->pages[i];
    q->pages[i] = page_take(pool);
    memcpy(q->pages[i], shared, pool->page_bytes);
    page_release(pool, shared);
}

void sequence_claim(sequence *q, size_t n) {
    const uint32_t first = q->n_past / CACHE_TILE, end = (uint32_t)tiles_of(q->n_past + (uint32_t)n),
                   recent_from = sequence_recent_from(q, q->n_past + (uint32_t)n);
    if (q->recent_from < recent_from) q->recent_from = recent_from;
    for (uint32_t i = first; i < end; i++) {
        if (i == q->n_pages)
            q->pages[q->n_pages++] = page_take(&q->ws->pages);
        else if (page_is_shared(q->pages[i]))
            sequence_own_page(q, i);
    }
}

/* ---- states ---- */

static float *marked_state(const sequence *q, size_t i) {
    return q->state + (1 + i) * q->ws->n_state;
}

/* The state as it was at the last mark up to n_past, or at 0. Later marks are gone. Returns its position. */
static uint32_t state_back(sequence *q, uint32_t n_past) {
    size_t best = 0;
    for (size_t i = 0; i < SEQUENCE_MARKS; i++) {
        if (q->mark[i] > n_past) q->mark[i] = 0;
        if (q->mark[i] > q->mark[best]) best = i;
    }
    if (q->mark[best])
        memcpy(q->state, marked_state(q, best), q->ws->n_state * sizeof *q->state);
    else
        memset(q->state, 0, q->ws->n_state * sizeof *q->state);
    return q->mark[best];
}

void sequence_mark(sequence *q, size_t n) {
    size_t oldest = 0;
    if (!q->ws->n_state || n < 2) return;
    for (size_t i = 1; i < SEQUENCE_MARKS; i++)
        if (q->mark[i] < q->mark[oldest]) oldest = i;
    q->mark[oldest] = q->n_past;
    memcpy(marked_state(q, oldest), q->state, q->ws->n_state * sizeof *q->state);
}

void sequence_keep_state(sequence *q) {
    if (q->ws->model->store)
        memcpy(marked_state(q, SEQUENCE_MARKS), q->state, q->ws->n_state * sizeof *q->state);
}

static void drop_pages(sequence *q) {
    while (q->n_pages > tiles_of(q->n_past)) sequence_drop_page(q);
}

void sequence_undo(sequence *q) {
    memcpy(q->state, marked_state(q, SEQUENCE_MARKS), q->ws->n_state * sizeof *q->state);
    drop_pages(q);
}

/* The last position up to n_past at which states and tiles are known. Tokens behind nut_session_keep are
 * not, so that a tile of theirs is taken in 4 bits. */
static uint32_t known_position(sequence *q, uint32_t n_past) {
    if (q->ws->n_state) n_past = state_back(q, n_past);
    while (!recent_holds(q, n_past) && n_past / CACHE_TILE * CACHE_TILE >= q->n_kept) {
        n_past = n_past / CACHE_TILE * CACHE_TILE;
        if (q->ws->n_state) n_past = state_back(q, n_past);
    }
    return n_past;
}

void sequence_truncate(sequence *q, uint32_t n_past) {
    if (n_past < q->n_past || n_past == 0) n_past = known_position(q, n_past);
    if (n_past < q->n_kept) n_past = 0;
    if (!n_past) q->n_kept = q->n_skipped = 0;
    q->n_past = n_past;
    if (q->recent_from > tiles_of(n_past)) q->recent_from = (uint32_t)tiles_of(n_past);
    drop_pages(q);
}

void sequence_fork(sequence *q, const sequence *from) {
    const uint32_t whole = from->n_past / CACHE_TILE;
    memcpy(q->tokens, from->tokens, from->n_past * sizeof *q->tokens);
    q->n_past = from->n_past;
    q->n_left = from->n_left;
    q->n_kept = from->n_kept, q->n_skipped = from->n_skipped;
    memcpy(q->mark, from->mark, sizeof q->mark);
    memcpy(q->adapters, from->adapters, sizeof q->adapters);
    memcpy(q->state, from->state, (1 + SEQUENCE_MARKS) * q->ws->n_state * sizeof *q->state);
    for (; q->n_pages < from->n_pages; q->n_pages++) {
        q->pages[q->n_pages] = from->pages[q->n_pages];
        page_share(from->pages[q->n_pages]);
    }
    if (q->n_pages > whole) sequence_own_page(q, whole); // it will be written next
    q->recent_from = from->recent_from, q->recent_turn = from->recent_turn;
    if (q->n_recent) memcpy(q->recent, from->recent, q->n_recent * q->ws->recent_bytes);
}

/* ---- saved ---- */

static const char magic[8] = "NUTSEQ01";
enum { HEADER_BYTES = 24, CHECKSUM_BYTES = 8 };

static uint64_t fnv(uint64_t h, const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

/* What a cache belongs to: the model's metadata and tensor table, adapters, and how keys and values are
 * held.
 */
static uint64_t fingerprint(const sequence *q) {
    const workspace *ws = q->ws;
    uint64_t h = fnv(0xcbf29ce484222325u, ws->model->header.bytes, ws->model->header.n_bytes);
    for (uint32_t i = 0; i < ws->model->n_adapters; i++)
        h = fnv(fnv(h, &ws->model->adapters[i].hash, 4), &q->adapters[i], sizeof *q->adapters);
    const bool reference = ws->model->hp.reference;
    return fnv(fnv(h, ws->cache_kind->name, strlen(ws->cache_kind->name)), &reference, sizeof reference);
}

/* Bytes of the last tile in 8 bits, where it is saved. */
static size_t saved_recent(const workspace *ws, uint32_t n_past) {
    return n_past % CACHE_TILE ? ws->recent_bytes : 0;
}

static size_t saved_size(const workspace *ws, uint32_t n_past) {
    return HEADER_BYTES + n_past * sizeof(int32_t) + tiles_of(n_past) * ws->pages.page_bytes +
           saved_recent(ws, n_past) + ws->n_state * sizeof(float) + CHECKSUM_BYTES;
}

size_t sequence_saved_size(const sequence *q) {
    return saved_size(q->ws, q->n_past);
}

static uint8_t *put(uint8_t *to, const void *bytes, size_t n) {
    memcpy(to, bytes, n);
    return to + n;
}

void sequence_save(const sequence *q, uint8_t *out) {
    const uint64_t print = fingerprint(q);
    const uint32_t sizes[2] = {q->n_past, (uint32_t)q->ws->pages.page_bytes};
    uint8_t *to = put(put(put(out, magic, 8), &print, 8), sizes, 8);
    to = put(to, q->tokens, q->n_past * sizeof *q->tokens);
    for (size_t i = 0; i < tiles_of(q->n_past); i++) to = put(to, q->pages[i], q->ws->pages.page_bytes);
    if (q->n_recent) to = put(to, recent_tile(q, q->n_past / CACHE_TILE), saved_recent(q->ws, q->n_past));
    to = put(to, q->state, q->ws->n_state * sizeof *q->state);
    const uint64_t sum = fnv(0xcbf29ce484222325u, out, (size_t)(to - out));
    put(to, &sum, 8);
}

static nut_status not_saved(const char *why, nut_error *err) {
    return error_set(err, NUT_E_SESSION,
                     "these bytes are no saved session of this model: %s; read the text again", why);
}

/* The header, and that the bytes are as many as it says. */
static nut_status check_saved(const sequence *q, const uint8_t *bytes, size_t n, uint32_t *n_past,
                              nut_error *err) {
    cursor c = {.bytes = bytes, .n = n};
    const uint8_t *mark = cursor_take(&c, 8);
    const uint64_t print = cursor_u64(&c);
    *n_past = cursor_u32(&c);
    const uint32_t page_bytes = cursor_u32(&c);
    if (c.ended || memcmp(mark, magic, 8)) return not_saved("their beginning is another", err);
    if (print != fingerprint(q) || page_bytes != q->ws->pages.page_bytes)
        return not_saved("it is of another model or kind of cache", err);
    if (*n_past > q->n_ctx)
        return error_set(err, NUT_E_CONTEXT, "the saved session has %u positions and this one holds %u",
                         *n_past, q->n_ctx);
    if (n != saved_size(q->ws, *n_past)) return not_saved("they are cut off, or too many", err);
    c.at = n - CHECKSUM_BYTES;
    if (cursor_u64(&c) != fnv(0xcbf29ce484222325u, bytes, n - CHECKSUM_BYTES))
        return not_saved("they are damaged", err);
    return NUT_OK;
}

static bool tokens_fit(const sequence *q, const int32_t *tokens, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= q->ws->model->hp.n_vocab) return false;
    return true;
}

static bool numbers_fit(const cache_kind *kind, const void *numbers, size_t n, float most) {
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(kind->get(numbers, i)) <= (most > 0 ? most : 0x1p100f))) return false;
    return true;
}

static bool scales_fit(const cache_kind *kind, const float *scales, size_t n_blocks) {
    for (size_t b = 0; b < n_blocks; b++)
        for (size_t p = 0; p < CACHE_TILE; p++) {
            const float scale = cache_scale_at(kind, scales, b, p);
            if (!(scale >= 0 && scale <= 0x1p100f)) return false;
        }
    return true;
}

static bool center_fits(const cache_tile *t, size_t n) {
    float center[CACHE_MAX_DIM];
    if (!t->center) return true;
    cache_center(t, n, center);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(center[i]) <= 65504)) return false;
    return true;
}

/* A tile's numbers, the scales of its blocks, and its center. */
static bool tile_fits(const cache_head *h, const cache_kind *kind, cache_tile t) {
    return numbers_fit(kind, t.k, CACHE_TILE * h->k_dim, kind->k_most) &&
           numbers_fit(kind, t.v, CACHE_TILE * h->v_dim, kind->v_most) &&
           scales_fit(kind, t.k_scale, cache_blocks(kind, h->k_dim)) &&
           scales_fit(kind, t.v_scale, cache_blocks(kind, h->v_dim)) && center_fits(&t, h->k_dim);
}

/* Whether all numbers of a page, or of a tile in 8 bits, are what attention counts with. */
static bool page_fits(const sequence *q, uint8_t *page, bool recent) {
    uint8_t *pages[1] = {page};
    sequence view = *q;
    view.pages = pages;
    view.recent = page, view.n_recent = recent, view.recent_from = 0;
    for (size_t il = 0; il < q->ws->model->hp.n_layer; il++) {
        const layer_hparams *l = &q->ws->model->layers[il].hp;
        if (l->shares_kv || (ARCH_OWN && l->mixer == BLOCK_mix_linear)) continue;
        for (size_t h = 0; h < l->n_head_kv; h++) {
            const cache_head head = sequence_head_at(&view, il, h, 0);
            if (recent ? !tile_fits(&head, &cache_kinds[CACHE_RECENT], cache_recent(&head))
                       : !tile_fits(&head, head.kind, cache_tile_of(&head, 0)))
                return false;
        }
    }
    return true;
}

/* The bytes need not be aligned. */
static bool state_fits(const uint8_t *bytes, size_t n) {
    bool fits = true;
    for (size_t i = 0; i < n; i++) {
        float x;
        memcpy(&x, bytes + i * sizeof x, sizeof x);
        fits &= fabsf(x) <= 0x1p100f;
    }
    return fits;
}

nut_status sequence_restore(sequence *q, const uint8_t *bytes, size_t n, nut_error *err) {
    uint32_t n_past;
    TRY(check_saved(q, bytes, n, &n_past, err));
    int32_t *tokens = mem_alloc(n_past * sizeof *tokens); // the bytes need not be aligned
    const size_t n_pages = tiles_of(n_past), page_bytes = q->ws->pages.page_bytes,
                 recent_bytes = saved_recent(q->ws, n_past);
    uint8_t *page = mem_alloc((page_bytes > recent_bytes ? page_bytes : recent_bytes) + 1);
    bool fits = tokens && page;
    const uint8_t *at = bytes + HEADER_BYTES, *pages = at + n_past * sizeof *tokens,
                  *recent = pages + n_pages * page_bytes, *state = recent + recent_bytes;
    if (fits) memcpy(tokens, at, n_past * sizeof *tokens), fits = tokens_fit(q, tokens, n_past);
    for (size_t i = 0; fits && i < n_pages; i++) {
        memcpy(page, pages + i * page_bytes, page_bytes);
        fits = page_fits(q, page, false);
    }
    if (fits && recent_bytes) memcpy(page, recent, recent_bytes), fits = page_fits(q, page, true);
    const bool taken = tokens && page;
    fits = fits && state_fits(state, q->ws->n_state);
    if (fits) {
        sequence_truncate(q, 0);
        q->n_left = 0;
        memcpy(q->state, state, q->ws->n_state * sizeof *q->state);
        sequence_claim(q, n_past);
        memcpy(q->tokens, tokens, n_past * sizeof *tokens);
        for (size_t i = 0; i < n_pages; i++) memcpy(q->pages[i], pages + i * page_bytes, page_bytes);
        q->recent_from = n_past / CACHE_TILE;
        if (recent_bytes) memcpy(recent_tile(q, n_past / CACHE_TILE), recent, recent_bytes);
        q->n_past = n_past;
    }
    mem_free(tokens);
    mem_free(page);
    if (!taken) return error_memory(err, n_past * sizeof *tokens + page_bytes);
    return fits ? NUT_OK : not_saved("a number in them cannot be", err);
}
