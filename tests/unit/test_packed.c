/*
 * A cache of 4 bits (kernels/cache.h), whose last tiles have 8: what it stores, by NumPy; and whole models
 * with it, whose attention is latent, has windows, shares keys, or has keys with large biases. Results have
 * the same bits however tokens come in, and however a sequence came to have them.
 */
#include "data.h"
#include "guard.h"
#include "made_model.h"
#include "make_family.h"

#include "../golden/cache.h"

#include <math.h>

enum { N_CTX = 320, N_IDS = 200 };
static int32_t ids[N_IDS];

/* ---- what is stored ---- */

/* The inputs of tests/golden/cache.py. */
static void golden_bias(size_t dim, float *x) {
    for (size_t c = 0; c < dim; c++) x[c] = 4 * (float)((int)(c % 3) - 1);
}

static void golden_input(size_t pos, size_t dim, size_t factor, const float *bias, float *x) {
    for (size_t c = 0; c < dim; c++)
        x[c] =
            (float)((int)((pos * 7919 + c * 10473 + pos * c * factor + c * c * c * 9973) % 65521) - 32760) /
                16384 +
            (bias ? bias[c] : 0);
}

static void golden_turns(size_t n_pairs, float *cosine, float *sine) {
    for (size_t i = 0; i < n_pairs * CACHE_TURNS; i++) {
        const double angle = (double)(i / CACHE_TURNS + 1) * 0.01 * (double)(i % CACHE_TURNS);
        cosine[i] = (float)cos(angle), sine[i] = (float)sin(angle);
    }
}

/* Two columns of eight positions, or two positions of eight columns, follow each other; of 32 numbers the
 * first 16 are the lower halves of 16 bytes. */
static unsigned code_at(const uint8_t *numbers, size_t index) {
    const uint8_t byte = numbers[index / 32 * 16 + index % 16];
    return index % 32 < 16 ? byte & 15u : byte >> 4;
}

/* Numbers of position `shown` that are not NumPy's. */
static size_t wrong_numbers(const cache_head *h, const struct cache_case *g, size_t shown) {
    const size_t pos = cache_shown[shown];
    const cache_tile t = cache_tile_of(h, pos);
    const uint16_t *k_scale = (const uint16_t *)(const void *)t.k_scale,
                   *v_scale = (const uint16_t *)(const void *)t.v_scale;
    size_t wrong = 0;
    for (size_t c = 0; c < g->k_dim; c++)
        wrong += code_at(t.k, cache_k_index(g->k_dim, pos, c)) != g->k[shown][c];
    for (size_t c = 0; c < g->v_dim; c++) wrong += code_at(t.v, cache_v_index(pos, c)) != g->v[shown][c];
    for (size_t b = 0; b < (g->k_dim + 127) / 128; b++)
        wrong += k_scale[b * CACHE_TILE + pos % CACHE_TILE] != g->k_scale[shown][b];
    for (size_t b = 0; b < (g->v_dim + 127) / 128; b++)
        wrong += v_scale[b * CACHE_TILE + pos % CACHE_TILE] != g->v_scale[shown][b];
    return wrong;
}

/* The same of the tile h->recent. */
static size_t wrong_recent(const cache_head *h, const struct cache_case *g, size_t shown) {
    const size_t pos = cache_shown[shown];
    const cache_tile t = cache_recent(h);
    size_t wrong = 0;
    for (size_t c = 0; c < g->k_dim; c++)
        wrong += ((const int8_t *)t.k)[cache_k_index(g->k_dim, pos, c)] != g->k_recent[shown][c];
    for (size_t c = 0; c < g->v_dim; c++)
        wrong += ((const int8_t *)t.v)[cache_v_index(pos, c)] != g->v_recent[shown][c];
    return wrong;
}

static void test_golden(const kernel_set *s, const struct cache_case *g) {
    enum { N = 130, TILES = 3 };
    static const float nothing[1];
    const kernel_rope still = {nothing, nothing, 0, false};
    const size_t bytes = cache_tile_bytes(&cache_kinds[NUT_KV_Q4_0], g->k_dim, g->v_dim),
                 recent_bytes = cache_tile_bytes(&cache_kinds[CACHE_RECENT], g->k_dim, g->v_dim);
    float *turns = guard_floats(2 * g->n_pairs * CACHE_TURNS), k[64], v[64], bias[64];
    uint8_t *memory = guard_new(TILES * bytes), *pages[TILES] = {memory, memory + bytes, memory + 2 * bytes},
            *recent = guard_new(TILES * recent_bytes);
    golden_turns(g->n_pairs, turns, turns + g->n_pairs * CACHE_TURNS);
    golden_bias(g->k_dim, bias);
    cache_head h = {.kind = &cache_kinds[NUT_KV_Q4_0],
                    .k_dim = g->k_dim,
                    .v_dim = g->v_dim,
                    .pages = pages,
                    .turns = {turns, turns + g->n_pairs * CACHE_TURNS, g->n_pairs, false, NULL},
                    .bias = g->biased ? bias : NULL};
    for (size_t pos = 0; pos < N; pos++) {
        golden_input(pos, g->k_dim, 113, bias, k), golden_input(pos, g->v_dim, 129, NULL, v);
        h.recent = recent + pos / CACHE_TILE * recent_bytes;
        s->store(&h, pos, &still, k, v);
    }
    for (size_t i = 0; i < CACHE_SHOWN; i++) {
        h.recent = recent + cache_shown[i] / CACHE_TILE * recent_bytes;
        const size_t wrong = wrong_numbers(&h, g, i) + wrong_recent(&h, g, i);
        CHECK(wrong == 0, "%s, %zu columns: %zu numbers of position %zu are wrong", s->name, g->k_dim, wrong,
              cache_shown[i]);
    }
    guard_free(memory, "cache"), guard_free(recent, "recent"), guard_free(turns, "turns");
}

/* ---- whole models ---- */

static nut_session *open_session(const nut_model *m, nut_kv_type kv, uint32_t n_threads, uint32_t n_batch) {
    const nut_session_options o = {
        .n_ctx = N_CTX, .n_threads = n_threads, .n_batch = n_batch, .n_logits = n_batch, .kv_type = kv};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    return s;
}

/* The logits behind the first n ids of a list, read in a new session; free() them. */
static float *logits_of(const nut_model *m, nut_kv_type kv, const int32_t *list, size_t n) {
    float *out = malloc(nut_model_n_vocab(m) * sizeof *out);
    nut_session *s = open_session(m, kv, 1, 64);
    CHECK(nut_session_eval(s, list, n, 1, NULL) == NUT_OK, "eval");
    memcpy(out, nut_session_logits(s, 0), nut_model_n_vocab(m) * sizeof *out);
    nut_session_free(s);
    return out;
}

/* Reads a list up to n: the logits must be those of a new session. */
static void check_bits(nut_session *s, const nut_model *m, const int32_t *list, size_t n, const char *family,
                       const char *what) {
    const uint32_t at = nut_session_n_past(s);
    float *want = logits_of(m, NUT_KV_Q4_0, list, n);
    CHECK(nut_session_eval(s, list + at, n - at, 1, NULL) == NUT_OK, "%s, %s: eval", family, what);
    CHECK(!memcmp(want, nut_session_logits(s, 0), nut_model_n_vocab(m) * sizeof *want),
          "%s, %s: other logits", family, what);
    free(want);
}

static void check_restored(nut_session *from, const nut_model *m, const char *family) {
    nut_session *s = open_session(m, NUT_KV_Q4_0, 1, 16);
    nut_error err = {NUT_OK, ""};
    size_t n = 0;
    nut_session_save(from, NULL, 0, &n, &err);
    uint8_t *bytes = malloc(n);
    CHECK(nut_session_save(from, bytes, n, &n, &err) == NUT_OK, "%s: %s", family, err.message);
    CHECK(nut_session_restore(s, bytes, n, &err) == NUT_OK, "%s: %s", family, err.message);
    check_bits(s, m, ids, 170, family, "restored");
    free(bytes), nut_session_free(s);
}

/* Two prompts with the same first 100 tokens share their cache pages; each then writes pages of its own. */
static void test_reuse(const nut_model *m, const char *family) {
    int32_t other[N_IDS];
    nut_session *a = open_session(m, NUT_KV_Q4_0, 2, 7), *b = NULL;
    nut_error err = {NUT_OK, ""};
    for (size_t i = 0; i < N_IDS; i++) other[i] = ids[i < 100 ? i : N_IDS - 1 - i];
    check_bits(a, m, ids, 100, family, "batches of 7 by two threads");
    if (CHECK(nut_session_fork(a, &b, &err) == NUT_OK, "%s: %s", family, err.message))
        check_bits(b, m, other, 140, family, "a fork goes another way");
    check_bits(a, m, ids, 150, family, "the first goes on");
    check_restored(a, m, family);
    CHECK(nut_session_truncate(a, 70, &err) == NUT_OK, "%s: %s", family, err.message);
    check_bits(a, m, ids, 135, family, "rewound into a tile");
    CHECK(nut_session_truncate(a, 40, &err) == NUT_OK && nut_session_n_past(a) == 40, "%s: %s", family,
          err.message);
    check_bits(a, m, ids, 90, family, "rewound into a tile that is known in 4 bits alone");
    nut_session_free(a), nut_session_free(b);
}

/* Greedy; free(). */
static int32_t *generated(const nut_model *m, uint32_t lookup, size_t n) {
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    const nut_session_options so = {
        .n_ctx = N_CTX, .n_threads = 1, .kv_type = NUT_KV_Q4_0, .lookup = lookup};
    nut_generate_options o = nut_generate_defaults();
    int32_t *out = calloc(n, sizeof *out);
    nut_step step = {.kind = NUT_STEP_PREFILL};
    size_t i = 0;
    o.temperature = 0, o.ignore_eos = true, o.max_tokens = (uint32_t)n, o.lookup = lookup;
    CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK && nut_generate_begin(s, ids, 50, &o, &err) == NUT_OK,
          "%s", err.message);
    while (step.kind != NUT_STEP_DONE && nut_generate_step(s, &step, &err) == NUT_OK)
        if (step.kind == NUT_STEP_TOKEN && i < n) out[i++] = step.token;
    CHECK(i == n, "%zu tokens of %zu: %s", i, n, err.message);
    nut_session_free(s);
    return out;
}

/* Drafts, most of them wrong, go over the ends of tiles and back. */
static void test_drafts(const nut_model *m, const char *family) {
    enum { N = 200 };
    int32_t *with = generated(m, 9, N), *without = generated(m, 0, N);
    CHECK(!memcmp(with, without, N * sizeof *with), "%s: another text by drafts", family);
    free(with), free(without);
}

/* The largest difference of two rows of logits, of their largest magnitude. */
static double difference(const float *a, const float *b, size_t n) {
    double most = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)b[i]));
    }
    return most / size;
}

/* A tile is as exact as with q8_0 as long as tokens stand in it. */
static void test_first_tile(const nut_model *m, const char *family) {
    float *packed = logits_of(m, NUT_KV_Q4_0, ids, 60), *q8 = logits_of(m, NUT_KV_Q8_0, ids, 60),
          *whole = logits_of(m, NUT_KV_F16, ids, 60);
    const size_t n = nut_model_n_vocab(m);
    const double d = difference(packed, whole, n), most = 3 * difference(q8, whole, n);
    CHECK(d < most, "%s: logits of the first tile change by %g, not %g", family, d, most);
    free(packed), free(q8), free(whole);
}

/* Attention over a latent row (deepseek2, minicpm3), within windows (gemma3), of other layers' keys
 * (gemma3n), beside blocks with a state (lfm2), and of Llama's kind. */
static void test_family(const char *family) {
    const family_sizes sizes = {40, 37, 3, 24, 16, 19, 36, 7, 8, FAMILY_LAYERS, 512, 1};
    nut_model *m = made_model_load(make_family(arch_find((gguf_str){family, strlen(family)}), &sizes));
    if (!m) return;
    float *packed = logits_of(m, NUT_KV_Q4_0, ids, 190), *whole = logits_of(m, NUT_KV_F16, ids, 190);
    const double d = difference(packed, whole, nut_model_n_vocab(m));
    CHECK(d > 1e-4 && d < 0.4, "%s: logits change by %g of the largest", family, d);
    free(packed), free(whole);
    test_first_tile(m, family);
    test_reuse(m, family);
    test_drafts(m, family);
    nut_model_free(m);
}

/* ---- keys with large biases ---- */

static void scale_tensor(make_gguf *g, const char *name, float by) {
    make_tensor *t = make_find(g, name);
    float x;
    for (size_t i = 0; t && i + sizeof x <= t->data.n; i += sizeof x) {
        memcpy(&x, t->data.p + i, sizeof x);
        x *= by;
        memcpy(t->data.p + i, &x, sizeof x);
    }
}

/* Qwen2's kind, of heads of 32 columns: queries and keys decide what is attended to, and keys have biases 50
 * times as large as what tokens add, in the pairs of columns that turn least. Were the first tile's keys
 * stored as they are, the divergence would be 0.16 to 0.18. */
static make_gguf biased_model(float bias) {
    make_gguf g = make_model(&(make_options){.arch = "qwen2", .n_layer = 2, .head_dim = 32, .n_ctx = 512});
    for (int layer = 0; layer < 2; layer++) {
        char name[64];
        static const char *const larger[] = {"attn_q.weight", "attn_k.weight"};
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof name, "blk.%d.%s", layer, larger[i]);
            scale_tensor(&g, name, 2);
        }
        snprintf(name, sizeof name, "blk.%d.attn_k.bias", layer);
        make_tensor *t = make_find(&g, name);
        for (size_t c = 0; t && c < 64; c++) {
            const float x = c % 16 < 12 ? 0 : c % 3 ? bias : -bias;
            memcpy(t->data.p + c * sizeof x, &x, sizeof x);
        }
    }
    scale_tensor(&g, "output_norm.weight", 4);
    return g;
}

static double divergence(const float *p, const float *q, size_t n) {
    double sum_p = 0, sum_q = 0, kl = 0;
    for (size_t i = 0; i < n; i++) sum_p += exp((double)p[i]), sum_q += exp((double)q[i]);
    for (size_t i = 0; i < n; i++)
        kl += exp((double)p[i]) / sum_p * ((double)p[i] - (double)q[i] - log(sum_p) + log(sum_q));
    return kl;
}

/* The mean KL divergence, over positions [from, to), of a cache of this kind from f16. */
static double cache_loss(const nut_model *m, nut_kv_type kv, size_t from, size_t to) {
    nut_session *a = open_session(m, NUT_KV_F16, 1, 64), *b = open_session(m, kv, 1, 64);
    double sum = 0;
    nut_session_eval(a, ids, from, 0, NULL), nut_session_eval(b, ids, from, 0, NULL);
    for (size_t pos = from; pos < to; pos++) {
        nut_session_eval(a, ids + pos, 1, 1, NULL), nut_session_eval(b, ids + pos, 1, 1, NULL);
        sum += divergence(nut_session_logits(a, 0), nut_session_logits(b, 0), nut_model_n_vocab(m));
    }
    nut_session_free(a), nut_session_free(b);
    return sum / (double)(to - from);
}

static void test_biases(void) {
    nut_model *plain = made_model_load(biased_model(0)), *biased = made_model_load(biased_model(50));
    if (plain && biased) {
        static const size_t from[] = {8, 100}, to[] = {64, 180}; // in the first tile, behind it
        for (size_t i = 0; i < 2; i++) {
            const double with = cache_loss(biased, NUT_KV_Q4_0, from[i], to[i]),
                         without = cache_loss(plain, NUT_KV_Q4_0, from[i], to[i]);
            CHECK(with > 0 && with < 0.02 && with < 2 * without,
                  "from %zu on: KL %g with biases, %g without", from[i], with, without);
        }
    }
    nut_model_free(plain), nut_model_free(biased);
}

int main(void) {
    static const char *const families[] = {"llama", "gemma3", "deepseek2", "minicpm3", "gemma3n", "lfm2"};
    for (size_t i = 0; i < N_IDS; i++) ids[i] = (int32_t)(3 + i * 41 % 280);
    for (size_t i = 0; i < kernel_count(); i++)
        for (size_t c = 0; usable(i) && c < sizeof cache_cases / sizeof *cache_cases; c++)
            test_golden(kernel_at(i), &cache_cases[c]);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) test_family(families[i]);
    test_biases();
    return check_report();
}
