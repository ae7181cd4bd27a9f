/*
 * What ways to hold keys and values cost, as docs/speed.md has it: a model reads a text once with a cache in
 * floats, and in turn with caches whose numbers were rounded before they were stored. All else is floats, so
 * that a way needs no kernel to be measured.
 *
 *     make build/native/bench_cache
 *     build/native/bench_cache MODEL TEXT [positions]
 *
 * A table of markdown, a row for each way: its bytes as a part of those of f16, and the KL divergence in
 * nats a token from the model with floats, over the second half of the positions (2,048 unless given).
 *
 * Numbers of n bits are rounded as a cache of 4 bits does it (kernels/cache.h), with levels of their own:
 * Hadamard transforms, keys less the mean of the tile before, a scale for each block.
 */
#include "../unit/model_file.h"

#include "base/rng.h"
#include "evaluate/figures.h"
#include "evaluate/windows.h"
#include "kernels/gemm.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

enum { MOST_BITS = 8, EXACT = 0, NONE = -1, MOST_HEADS = 1024, CHUNK = CACHE_TILE };

/* A way to hold keys and values. */
typedef struct way {
    const char *name;
    int k_bits, v_bits; // EXACT: floats
    size_t block;       // columns that share a scale
    bool k_centers, v_centers;
    int tail_bits; // of the tile that is being filled, which is rounded anew when the next one begins; NONE:
                   // as all
    bool search;   // of a block's scale, for the least squared error
} way;

static const way ways[] = {
    {"4 bits", 4, 4, 32, true, false, NONE, false},
    {"keys alone in 4 bits", 4, EXACT, 32, true, false, NONE, false},
    {"values alone in 4 bits", EXACT, 4, 32, true, false, NONE, false},
    {"4 bits, values less the mean of the tile before", 4, 4, 32, true, true, NONE, false},
    {"4 bits, the last tile exact", 4, 4, 32, true, false, EXACT, false},
    {"4 bits, the last tile in 8", 4, 4, 32, true, false, 8, false},
    {"4 bits, the last tile in 8, a scale for 128 (`q4_0`)", 4, 4, 128, true, false, 8, false},
    {"the same, scales searched", 4, 4, 128, true, false, 8, true},
    {"keys in 5 bits, values in 4, the last tile in 8, a scale for 128", 5, 4, 128, true, false, 8, false},
    {"keys in 8 bits, values in 4", 8, 4, 32, true, false, NONE, false},
};
enum { N_WAYS = sizeof ways / sizeof *ways };

static void fail(const char *words) {
    fprintf(stderr, "%s\n", words);
    exit(1);
}

/* ---- levels ---- */

/* For each number of bits and size of a block, in units of its largest magnitude: Lloyd's algorithm on
 * normal numbers. */
enum { LEVELS = 1 << MOST_BITS, SAMPLES = 1 << 15, ROUNDS = 60 };
typedef struct levels {
    int bits;
    size_t block, n;
    float at[LEVELS];
} levels;

static double normal(rng *r) {
    return sqrt(-2 * log(1 - rng_f64(r))) * cos(6.283185307179586 * rng_f64(r));
}

/* The level nearest to x, which are in order. */
static size_t nearest(const levels *l, float x) {
    size_t low = 0, high = l->n - 1;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (2 * x > l->at[middle] + l->at[middle + 1])
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void sample_blocks(size_t block, float *x) {
    rng r;
    rng_seed(&r, 5);
    for (size_t i = 0; i < SAMPLES; i += block) {
        float most = 0;
        for (size_t k = i; k < i + block; k++) x[k] = (float)normal(&r), most = fmaxf(most, fabsf(x[k]));
        for (size_t k = i; k < i + block; k++) x[k] /= most;
    }
}

static void make_levels(levels *l, int bits, size_t block) {
    static float x[SAMPLES];
    *l = (levels){.bits = bits, .block = block, .n = (size_t)1 << bits};
    sample_blocks(block, x);
    for (size_t i = 0; i < l->n; i++) l->at[i] = 2 * ((float)i + 0.5f) / (float)l->n - 1;
    for (int round = 0; round < ROUNDS; round++) {
        double sum[LEVELS] = {0};
        size_t n[LEVELS] = {0};
        for (size_t i = 0; i < SAMPLES; i++) {
            const size_t at = nearest(l, x[i]);
            sum[at] += (double)x[i], n[at]++;
        }
        for (size_t i = 0; i < l->n; i++)
            if (n[i]) l->at[i] = (float)(sum[i] / (double)n[i]);
    }
}

static const levels *levels_of(int bits, size_t block) {
    static levels made[16];
    static size_t n;
    for (size_t i = 0; i < n; i++)
        if (made[i].bits == bits && made[i].block == block) return &made[i];
    make_levels(&made[n], bits, block);
    return &made[n++];
}

/* The largest magnitude that n numbers are said to have, so that their squared error is least. */
static float searched_scale(const levels *l, const float *x, size_t n, float most) {
    float best = most, least = INFINITY;
    for (int k = 0; most > 0 && k < 8; k++) {
        const float scale = most * (1.05f - 0.04f * (float)k);
        float error = 0;
        for (size_t i = 0; i < n; i++) {
            const float e = l->at[nearest(l, x[i] / scale)] * scale - x[i];
            error += e * e;
        }
        if (error < least) least = error, best = scale;
    }
    return best;
}

/* x (dim) as it is read again. */
static void round_vector(float *x, size_t dim, int bits, size_t block, bool search) {
    if (bits == EXACT) return;
    if (block > dim) block = dim & (0 - dim);
    cache_transform(x, dim);
    const levels *l = levels_of(bits, block);
    for (size_t begin = 0; begin < dim; begin += block) {
        const size_t end = begin + block < dim ? begin + block : dim;
        float most = 0;
        for (size_t i = begin; i < end; i++) most = fmaxf(most, fabsf(x[i]));
        if (search) most = searched_scale(l, x + begin, end - begin, most);
        for (size_t i = begin; most > 0 && i < end; i++) x[i] = l->at[nearest(l, x[i] / most)] * most;
    }
    cache_transform(x, dim);
}

/* ---- the cache ---- */

/* Of one head of one layer: what stands in the tile before, and in this one so far. */
typedef struct head_state {
    size_t offset; // of its tile in a page, which no other head has
    float k_center[CACHE_MAX_DIM], v_center[CACHE_MAX_DIM], k_sum[CACHE_MAX_DIM], v_sum[CACHE_MAX_DIM];
    /* The tile as it came, not rotated, and how each position turns. */
    float k[CACHE_TILE][CACHE_MAX_DIM], v[CACHE_TILE][CACHE_MAX_DIM];
    float cosine[CACHE_TILE][CACHE_MAX_DIM / 2], sine[CACHE_TILE][CACHE_MAX_DIM / 2];
} head_state;

static head_state *heads[N_WAYS][MOST_HEADS];
static size_t way_now; // N_WAYS: floats
static const kernel_set *plain;

static head_state *state_of(const cache_head *h) {
    head_state **all = heads[way_now];
    for (size_t i = 0; i < MOST_HEADS; i++) {
        if (!all[i]) {
            all[i] = calloc(1, sizeof **all);
            if (!all[i]) fail("out of memory");
            all[i]->offset = h->offset;
        }
        if (all[i]->offset == h->offset) return all[i];
    }
    fail("too many heads");
    return NULL;
}

static void next_tile(head_state *s) {
    for (size_t i = 0; i < CACHE_MAX_DIM; i++) {
        s->k_center[i] = s->k_sum[i] / (float)CACHE_TILE, s->k_sum[i] = 0;
        s->v_center[i] = s->v_sum[i] / (float)CACHE_TILE, s->v_sum[i] = 0;
    }
}

/* x (dim) rounded to `bits`, less a center (NULL: none). */
static void round_rest(float *x, size_t dim, const float *center, int bits, bool search, float *sum) {
    const size_t block = ways[way_now].block;
    for (size_t i = 0; center && i < dim; i++) x[i] -= center[i];
    round_vector(x, dim, bits, block, search);
    for (size_t i = 0; i < dim; i++) {
        if (center) x[i] += center[i];
        sum[i] += x[i];
    }
}

/* A mean of keys before their rotation, turned to a position, is what centers are. tail: the position is in
 * the tile that is being filled, and rounded again later. */
static void store_rounded(const cache_head *h, size_t pos, const kernel_rope *r, head_state *s,
                          const float *k, const float *v, bool tail) {
    const way *w = &ways[way_now];
    float key[CACHE_MAX_DIM], value[CACHE_MAX_DIM], back[CACHE_MAX_DIM / 2];
    const kernel_rope unturn = {r->cosine, back, r->n_pairs, r->adjacent},
                      still = {r->cosine, back, 0, false};
    for (size_t i = 0; i < r->n_pairs; i++) back[i] = -r->sine[i];
    float center[CACHE_MAX_DIM];
    memcpy(center, s->k_center, sizeof center);
    plain->rope(center, 1, h->k_dim, r);
    memcpy(key, k, h->k_dim * sizeof *k), memcpy(value, v, h->v_dim * sizeof *v);
    plain->rope(key, 1, h->k_dim, r);
    float nothing[CACHE_MAX_DIM] = {0};
    const bool search = w->search && !tail;
    const int k_bits = tail ? w->tail_bits : w->k_bits, v_bits = tail ? w->tail_bits : w->v_bits;
    round_rest(key, h->k_dim, w->k_centers ? center : NULL, k_bits, search, nothing);
    round_rest(value, h->v_dim, w->v_centers ? s->v_center : NULL, v_bits, search,
               tail ? nothing : s->v_sum);
    plain->store(h, pos, &still, key, value);
    if (tail) return;
    plain->rope(key, 1, h->k_dim, &unturn);
    for (size_t i = 0; i < h->k_dim; i++) s->k_sum[i] += key[i];
}

/* The tile before `pos` is rounded. */
static void round_tail(const cache_head *h, size_t pos, const kernel_rope *like, head_state *s) {
    for (size_t n = 0; n < CACHE_TILE; n++) {
        const kernel_rope r = {s->cosine[n], s->sine[n], like->n_pairs, like->adjacent};
        store_rounded(h, pos - CACHE_TILE + n, &r, s, s->k[n], s->v[n], false);
    }
}

static void store(const cache_head *h, size_t pos, const kernel_rope *r, const float *k, const float *v) {
    if (way_now == N_WAYS) {
        plain->store(h, pos, r, k, v);
        return;
    }
    head_state *s = state_of(h);
    const size_t n = pos % CACHE_TILE;
    if (n == 0 && pos) {
        if (ways[way_now].tail_bits >= 0) round_tail(h, pos, r, s);
        next_tile(s);
    }
    store_rounded(h, pos, r, s, k, v, ways[way_now].tail_bits >= 0);
    if (ways[way_now].tail_bits < 0) return;
    memcpy(s->k[n], k, h->k_dim * sizeof *k), memcpy(s->v[n], v, h->v_dim * sizeof *v);
    memcpy(s->cosine[n], r->cosine, r->n_pairs * sizeof(float));
    memcpy(s->sine[n], r->sine, r->n_pairs * sizeof(float));
}

/* Bytes of a position of heads of dim columns, beside f16's with its scales; centers and scales take two
 * bytes a number, as they could. */
static double share(const way *w, size_t dim) {
    const double blocks = (double)((dim + w->block - 1) / w->block), exact = 16;
    const double k = (w->k_bits ? w->k_bits : exact) * (double)dim / 8 + 2 * blocks,
                 v = (w->v_bits ? w->v_bits : exact) * (double)dim / 8 + 2 * blocks;
    const double centers =
        (double)((w->k_centers ? 2 : 0) + (w->v_centers ? 2 : 0)) * (double)dim / (double)CACHE_TILE;
    return (k + v + centers) / (4 * (double)dim + 8);
}

/* ---- the text ---- */

static nut_session *open_session(const nut_model *m, uint32_t n) {
    const nut_session_options o = {.n_ctx = n, .n_threads = 1, .n_batch = CHUNK, .n_logits = CHUNK};
    nut_session *s;
    nut_error err;
    if (nut_session_new(m, &o, &s, &err) != NUT_OK) fail(err.message);
    return s;
}

static void read_chunk(nut_session *s, size_t way_of, const int32_t *ids, bool scored) {
    nut_error err;
    way_now = way_of;
    if (nut_session_eval(s, ids, CHUNK, scored ? CHUNK : 0, &err) != NUT_OK) fail(err.message);
}

static double kl_of_chunk(const nut_session *exact, const nut_session *rounded, size_t n_vocab) {
    double sum = 0;
    for (size_t i = 0; i < CHUNK; i++) {
        const figures_row p = figures_of_row(nut_session_logits(exact, i), n_vocab),
                          q = figures_of_row(nut_session_logits(rounded, i), n_vocab);
        sum += figures_compare(&q, &p, 0).kl;
    }
    return sum;
}

static char *read_text(const char *path, size_t *n) {
    enum { MOST = 1 << 16 };
    static char text[MOST];
    FILE *f = fopen(path, "rb");
    if (!f || (*n = fread(text, 1, sizeof text, f)) == 0) fail("the text cannot be read");
    fclose(f);
    return text;
}

int main(int argc, char **argv) {
    const uint32_t n = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) / (2 * CHUNK) * (2 * CHUNK) : 2048;
    nut_load_options lo = nut_load_defaults();
    nut_error err;
    size_t n_text;
    windows w;
    lo.reference = true;
    if (argc < 3 || !n) fail("bench_cache MODEL TEXT [positions]");
    nut_model *m = model_file_load(argv[1], &lo, &err);
    if (!m) fail("the model cannot be loaded");
    const char *text = read_text(argv[2], &n_text);
    if (windows_of_text(&w, m->vocab, text, n_text, false, n, &err) != NUT_OK) fail(err.message);
    windows_begin(&w, m->vocab);
    if (w.n_ids < n) fail("the text is too short");
    plain = m->kernels;
    kernel_set hooked = *plain;
    hooked.store = store;
    m->kernels = &hooked;
    m->float_product = gemm_mul_mat;
    nut_session *sessions[N_WAYS + 1];
    double kl[N_WAYS] = {0};
    for (size_t i = 0; i <= N_WAYS; i++) sessions[i] = open_session(m, n);
    for (uint32_t at = 0; at < n; at += CHUNK)
        for (size_t i = N_WAYS + 1; i-- > 0;) {
            read_chunk(sessions[i], i, w.ids + at, at >= n / 2);
            if (i < N_WAYS && at >= n / 2)
                kl[i] += kl_of_chunk(sessions[N_WAYS], sessions[i], nut_model_n_vocab(m));
        }
    printf("| keys and values | share of f16 | KL |\n|---|---|---|\n");
    for (size_t i = 0; i < N_WAYS; i++)
        printf("| %s | %.3f | %.4f |\n", ways[i].name, share(&ways[i], m->hp.most.head_dim),
               kl[i] / (n / 2.0));
    for (size_t i = 0; i <= N_WAYS; i++) nut_session_free(sessions[i]);
    windows_free(&w);
    nut_model_free(m);
    return 0;
}
