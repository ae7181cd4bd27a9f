/*
 * A context that goes on when it is full. The first tile stays, since attention leans on the first tokens
 * whatever they say (attention sinks: Xiao et al. 2023, arXiv 2309.17453); tiles behind it go, and the
 * others move up. A page holds a tile of all layers, so that moving is renaming; only the keys are changed:
 * rotated back by as many positions as they moved, since rotations add up (Su et al. 2021, arXiv
 * 2104.09864).
 */
#include "run/block.h"

#include "base/error.h"

#include <string.h>

/* What no rotation of keys can move: states, positions that are in the embeddings, and keys that were normed
 * after their rotation. */
static bool can_shift(const nut_model *m) {
    if (!m->hp.causal || workspace_state_size(m) ||
        (m->arch->features & (ARCH_POSITIONS | ARCH_QK_NORM_LATE)))
        return false;
    for (size_t i = 0; i < m->hp.n_layer; i++) {
        const uint8_t mixer = m->layers[i].hp.mixer;
        if (mixer != BLOCK_mix_attention && mixer != BLOCK_mix_mla && mixer != BLOCK_NONE) return false;
    }
    return true;
}

nut_status window_check(const sequence *q, nut_error *err) {
    const nut_model *m = q->ws->model;
    if (!can_shift(m))
        return error_set(
            err, NUT_E_UNSUPPORTED,
            "models of the family \"%s\" cannot leave out a part of what they have read; trim the "
            "conversation instead, or use a longer context",
            m->arch->name);
    if (q->n_ctx < 4 * CACHE_TILE)
        return error_set(err, NUT_E_ARGUMENT, "a context that shifts needs at least %d positions, not %u",
                         4 * CACHE_TILE, q->n_ctx);
    return NUT_OK;
}

/* ---- keys ---- */

/* Rotates the key of a position by `turn`, from column `first` on, and its tile's center with the first. */
static void turn_key(const cache_head *h, size_t pos, size_t first, const kernel_set *k,
                     const kernel_rope *turn) {
    float key[CACHE_MAX_DIM];
    const cache_tile t = cache_tile_of(h, pos);
    cache_key_rest(h, pos, key);
    k->rope(key + first, 1, h->k_dim - first, turn);
    cache_put_key_rest(h, pos, key);
    if (!t.center || pos % CACHE_TILE) return;
    cache_center(&t, h->k_dim, key);
    k->rope(key + first, 1, h->k_dim - first, turn);
    cache_put_center(&t, h->k_dim, key);
}

/* Turns keys of a layer back by n positions. The table is of one rotation: magnitudes are in the keys
 * already. */
static void turn_layer(const sequence *q, size_t layer, size_t from, uint32_t n) {
    const nut_model *m = q->ws->model;
    const layer_hparams *l = &m->layers[layer].hp;
    const size_t n_pairs = m->hp.rope[l->rope].n_rot / 2;
    const bool latent = l->mixer == BLOCK_mix_mla; // whose rotated part stands behind the rest
    const size_t first = latent ? l->head_dim - m->hp.n_rot : 0;
    float table[CACHE_MAX_DIM];
    if (!l->rotates || l->shares_kv || !n_pairs) return;
    rope_table(q->rope_freq + (size_t)l->rope * (m->hp.n_rot / 2), n_pairs, n, 1, table);
    for (size_t i = 0; i < n_pairs; i++) table[n_pairs + i] = -table[n_pairs + i];
    const kernel_rope turn = {table, table + n_pairs, n_pairs, m->hp.rope_kind == MODEL_ROPE_NORM};
    for (size_t head = 0; head < l->n_head_kv; head++) {
        for (size_t pos = from; pos < q->n_past; pos++) {
            const cache_head h = sequence_head_at(q, layer, head, pos);
            turn_key(&h, pos, first, m->kernels, &turn);
        }
    }
}

/* ---- pages and tokens ---- */

/* Moves pages (and tokens) behind a gap of n tiles, which begins at the second, up to its beginning. */
static void close_gap(sequence *q, uint32_t n) {
    for (uint32_t k = 0; k < n; k++) {
        uint8_t *gone = q->pages[1];
        memmove(q->pages + 1, q->pages + 2, (q->n_pages - 2) * sizeof *q->pages);
        q->pages[q->n_pages - 1] = gone;
        sequence_drop_page(q);
    }
    const uint32_t to = CACHE_TILE, from = (1 + n) * CACHE_TILE;
    memmove(q->tokens + to, q->tokens + from, (q->n_past - from) * sizeof *q->tokens);
    q->n_past -= from - to;
    q->recent_turn += n; // the first tile is where another was
    q->recent_from = q->recent_from > n ? q->recent_from - n : 1;
}

void window_shift(sequence *q, uint32_t n_tiles) {
    const size_t n_layer = q->ws->model->hp.n_layer;
    if (!n_tiles) return;
    close_gap(q, n_tiles);
    for (uint32_t i = 1; i < q->n_pages; i++)
        if (page_is_shared(q->pages[i])) sequence_own_page(q, i);
    for (size_t il = 0; il < n_layer; il++) turn_layer(q, il, CACHE_TILE, n_tiles * CACHE_TILE);
    q->n_left += n_tiles * CACHE_TILE;
}

/* Half of the tiles behind the first that are whole. */
static uint32_t half(uint32_t n_positions) {
    const uint32_t whole = n_positions / CACHE_TILE - 1;
    return (whole + 1) / 2;
}

void window_make_room(sequence *q) {
    if (q->n_past == q->n_ctx) window_shift(q, half(q->n_past));
}

/* ---- prompts ---- */

/* How many tokens, from `at` on, are those of the cache from `pos` on. */
static uint32_t same_tokens(const sequence *q, uint32_t pos, const int32_t *ids, size_t n) {
    uint32_t i = 0;
    while (i < n && pos + i < q->n_past && q->tokens[pos + i] == ids[i]) i++;
    return i;
}

/* Tokens of a prompt that are left out: what the cache has left out, where it goes on as the prompt does,
 * and half of what is then behind the first tile, until the rest fits. */
static size_t n_to_leave(const sequence *q, const int32_t *ids, size_t n) {
    size_t left = 0;
    if (q->n_left && n > CACHE_TILE + q->n_left && same_tokens(q, 0, ids, CACHE_TILE) == CACHE_TILE &&
        same_tokens(q, CACHE_TILE, ids + CACHE_TILE + q->n_left, 1))
        left = q->n_left;
    while (n - left >= q->n_ctx) {
        const size_t tiles = (n - left - q->n_ctx / 2) / CACHE_TILE;
        left += (tiles ? tiles : 1) * CACHE_TILE;
    }
    return left;
}

uint32_t window_fit(sequence *q, const int32_t *ids, size_t n, int32_t *to) {
    const size_t left = n < q->n_ctx ? 0 : n_to_leave(q, ids, n);
    if (!left) {
        memcpy(to, ids, n * sizeof *ids);
        q->n_left = 0;
        return (uint32_t)n;
    }
    const size_t more = left > q->n_left ? left - q->n_left : 0; // than the cache has left out
    memcpy(to, ids, CACHE_TILE * sizeof *ids);
    memcpy(to + CACHE_TILE, ids + CACHE_TILE + left, (n - CACHE_TILE - left) * sizeof *ids);
    /* The cache may hold what is left out now, and what comes after. */
    if (more && CACHE_TILE + more < q->n_past && same_tokens(q, 0, ids, CACHE_TILE) == CACHE_TILE &&
        same_tokens(q, CACHE_TILE, ids + CACHE_TILE + q->n_left, more + 1) == more + 1)
        window_shift(q, (uint32_t)(more / CACHE_TILE));
    q->n_left = (uint32_t)left;
    return (uint32_t)(n - left);
}
