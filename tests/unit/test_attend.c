/*
 * Attention and the cache, in every set of this build and every kind of cache: rotation, what is stored, and
 * what attention makes of it. Expected values are computed here in double precision from the definitions in
 * kernels.h and cache.h. Memory of the cache begins as NaNs, so that a position that a token does not see
 * shows where it counts for anything.
 */
#include "base/half.h"
#include "guard.h"
#include "kernels/exp.h"

#include <math.h>

typedef struct op_counts {
#define NUT_X(name, params) size_t name;
    KERNEL_ATTEND_OPS(NUT_X)
#undef NUT_X
} op_counts;
static op_counts n_ops[8];

static bool is_ref(const kernel_set *s) {
    return s == &kernel_set_ref;
}

/* ---- 2^x ---- */

static void test_exp2(void) {
    double worst = 0, worst_fine = 0;
    for (float x = -100; x <= 0; x += 0.000731f) {
        double e = exp2((double)x), error = fabs((double)kernel_exp2(x) - e) / e,
               fine = fabs((double)exp2_fine_scalar(x) - e) / e;
        worst = error > worst ? error : worst;
        worst_fine = fine > worst_fine ? fine : worst_fine;
    }
    CHECK(worst < 3e-6, "kernel_exp2: relative error %g", worst);
    CHECK(worst_fine < 2e-7, "exp2_fine_scalar: relative error %g", worst_fine);
    CHECK(exp2_fine_scalar(0) == 1 && exp2_fine_scalar(-1) == 0.5f &&
              exp2_fine_scalar(-INFINITY) == 0x1p-100f,
          "exp2_fine_scalar: whole numbers, far below");
    CHECK(kernel_exp2(0) == 1 && kernel_exp2(-1) == 0.5f && kernel_exp2(-99) == 0x1p-99f, "whole numbers");
    CHECK(kernel_exp2(-100.5f) == 0x1p-100f && kernel_exp2(-INFINITY) == 0x1p-100f,
          "kernel_exp2: far below");
    CHECK(kernel_exp2(NAN) != kernel_exp2(NAN), "kernel_exp2: a NaN must stay one");
}

/* ---- rotation ---- */

typedef struct rotation {
    kernel_rope r;
    float *table;
} rotation;

static rotation random_rotation(size_t n_pairs, bool adjacent, rng *r) {
    float *table = guard_floats(2 * n_pairs);
    for (size_t i = 0; i < n_pairs; i++) {
        double angle = 7 * rng_f64(r);
        table[i] = (float)cos(angle), table[n_pairs + i] = (float)sin(angle);
    }
    return (rotation){{table, table + n_pairs, n_pairs, adjacent}, table};
}

/* x (head_dim) rotated, in double precision. */
static void expected_rotation(const kernel_rope *r, const float *x, size_t head_dim, double *out) {
    for (size_t i = 0; i < head_dim; i++) out[i] = (double)x[i];
    for (size_t i = 0; i < r->n_pairs; i++) {
        size_t a = r->adjacent ? 2 * i : i, b = r->adjacent ? 2 * i + 1 : i + r->n_pairs;
        double c = (double)r->cosine[i], s = (double)r->sine[i];
        out[a] = (double)x[a] * c - (double)x[b] * s;
        out[b] = (double)x[a] * s + (double)x[b] * c;
    }
}

static void test_rope_case(const kernel_set *s, size_t n_heads, size_t dim, size_t n_pairs, bool adjacent,
                           rng *r) {
    rotation t = random_rotation(n_pairs, adjacent, r);
    float *x = guard_floats(n_heads * dim), *before = malloc(n_heads * dim * sizeof(float)),
          *by_ref = malloc(n_heads * dim * sizeof(float));
    double expected[CACHE_MAX_DIM], worst = 0;
    fill(x, n_heads * dim, r, 3);
    memcpy(before, x, n_heads * dim * sizeof(float));
    memcpy(by_ref, x, n_heads * dim * sizeof(float));
    s->rope(x, n_heads, dim, &t.r);
    kernel_set_ref.rope(by_ref, n_heads, dim, &t.r);
    for (size_t h = 0; h < n_heads; h++) {
        expected_rotation(&t.r, before + h * dim, dim, expected);
        for (size_t i = 0; i < dim; i++) worst = fmax(worst, fabs((double)x[h * dim + i] - expected[i]));
    }
    CHECK(worst < 2e-6, "%s rope of %zu pairs of %zu: error %g", s->name, n_pairs, dim, worst);
    CHECK(!memcmp(x, by_ref, n_heads * dim * sizeof(float)), "%s rope and ref give other bits", s->name);
    guard_free(x, "heads"), guard_free(t.table, "table"), free(before), free(by_ref);
}

static void test_rope(const kernel_set *s, op_counts *ran) {
    static const size_t cases[][2] = {{8, 4},    {16, 8}, {64, 32}, {64, 16}, {40, 20},
                                      {128, 64}, {40, 5}, {8, 1},   {8, 0}};
    rng r;
    rng_seed(&r, 21);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < 2; k++, ran->rope++) test_rope_case(s, 3, cases[i][0], cases[i][1], k, &r);
}

/* Heads of 8 columns 1/8, 2/8, ... at position 11, base 10000, by Python's complex numbers:
 * y_a + i y_b = (x_a + i x_b) * cmath.rect(magnitude, 11 * 10000 ** (-pair / n_pairs)). With three pairs the
 * last two columns stay. Magnitudes: none, and YaRN's for a context four times as long, 0.1 ln 4 + 1. */
static const struct rope_case {
    size_t n_pairs;
    bool adjacent;
    double magnitude, out[8];
} rope_cases[] = {
    {3,
     false,
     1,
     {0.50054832, -0.08730830, 0.35712228, -0.12278593, 0.66745956, 0.75867561, 0.87500000, 1.00000000}},
    {3,
     false,
     1.13862944,
     {0.56993905, -0.09941180, 0.40662994, -0.13980767, 0.75998910, 0.86385038, 0.87500000, 1.00000000}},
    {3,
     true,
     1,
     {0.25055076, -0.12389235, 0.08283452, 0.61948643, 0.60705208, 0.76459975, 0.87500000, 1.00000000}},
    {3,
     true,
     1.13862944,
     {0.28528448, -0.14106748, 0.09431782, 0.70536549, 0.69120736, 0.87059578, 0.87500000, 1.00000000}},
    {4,
     false,
     1,
     {0.62554709, -0.55500649, 0.27667752, 0.48896997, -0.12223271, 0.56299893, 0.91087845, 1.00543939}},
    {4,
     false,
     1.13862944,
     {0.71226633, -0.63194673, 0.31503317, 0.55675560, -0.13917777, 0.64104716, 1.03715301, 1.14482289}},
    {4,
     true,
     1,
     {0.25055076, -0.12389235, -0.27550513, 0.56100082, 0.53888884, 0.81407851, 0.86394728, 1.00956431}},
    {4,
     true,
     1.13862944,
     {0.28528448, -0.14106748, -0.31369826, 0.63877205, 0.61359469, 0.92693376, 0.98371581, 1.14951964}},
};

static void test_rope_numbers(const kernel_set *s) {
    for (size_t i = 0; i < sizeof rope_cases / sizeof *rope_cases; i++) {
        const struct rope_case *c = &rope_cases[i];
        float cosine[4], sine[4], x[2 * 8];
        double worst = 0;
        for (size_t k = 0; k < c->n_pairs; k++) {
            const double angle = 11 * pow(10000, -(double)k / (double)c->n_pairs);
            cosine[k] = (float)(c->magnitude * cos(angle)), sine[k] = (float)(c->magnitude * sin(angle));
        }
        for (size_t k = 0; k < 16; k++) x[k] = (k < 8 ? 0.125f : 0.25f) * (float)(k % 8 + 1);
        const kernel_rope rope = {cosine, sine, c->n_pairs, c->adjacent};
        s->rope(x, 2, 8, &rope);
        for (size_t k = 0; k < 16; k++)
            worst = fmax(worst, fabs((double)x[k] / (k < 8 ? 1 : 2) - c->out[k % 8]));
        CHECK(worst < 2e-7, "%s rope of %zu pairs%s, magnitude %g: error %g", s->name, c->n_pairs,
              c->adjacent ? ", adjacent" : "", c->magnitude, worst);
    }
}

/* ---- the cache ---- */

/* A head whose pages lie in a random order, each between bytes of other heads. */
enum { BEFORE = 48, AFTER = 16 };

typedef struct cache {
    cache_head head;
    size_t n_pages, page_bytes;
    uint8_t *memory;
    uint8_t **pages;
    float *turns; // of centers, where numbers are packed
    int16_t *table;
} cache;

/* Centers turn by angles of their own. */
static void new_turns(cache *c, rng *r) {
    const size_t n_pairs = c->head.k_dim / 4, n = n_pairs * CACHE_TURNS;
    c->turns = guard_floats(2 * n);
    for (size_t i = 0; i < n_pairs; i++) {
        const double angle = rng_f64(r);
        for (size_t k = 0; k < CACHE_TURNS; k++) {
            c->turns[i * CACHE_TURNS + k] = (float)cos(angle * (double)k);
            c->turns[n + i * CACHE_TURNS + k] = (float)sin(angle * (double)k);
        }
    }
    c->table = guard_new(CACHE_TILE * n_pairs * 2 * sizeof *c->table);
    c->head.turns = (cache_turns){c->turns, c->turns + n, n_pairs, c->head.k_dim % 16 == 0, c->table};
    cache_turn_table(&c->head.turns, c->table);
}

static cache new_cache(const cache_kind *kind, size_t k_dim, size_t v_dim, size_t n_positions, rng *r) {
    cache c = {.n_pages = cache_tiles(n_positions),
               .page_bytes = BEFORE + cache_tile_bytes(kind, k_dim, v_dim) + AFTER};
    c.memory = guard_new(c.n_pages * c.page_bytes);
    c.pages = malloc(c.n_pages * sizeof *c.pages);
    for (size_t i = 0; i < c.n_pages; i++) {
        const size_t other = rng_u64(r) % (i + 1); // a shuffle by insertion
        c.pages[i] = c.pages[other];
        c.pages[other] = c.memory + i * c.page_bytes;
    }
    c.head = (cache_head){.kind = kind, .k_dim = k_dim, .v_dim = v_dim, .pages = c.pages, .offset = BEFORE};
    if (kind->packed) new_turns(&c, r);
    return c;
}

static void cache_free(cache *c) {
    size_t changed = 0;
    for (size_t i = 0; i < c->n_pages * c->page_bytes; i++) {
        const size_t at = i % c->page_bytes;
        changed += (at < BEFORE || at >= c->page_bytes - AFTER) && c->memory[i] != 0xff;
    }
    CHECK(changed == 0, "%s of %zu and %zu: %zu bytes of other heads were written", c->head.kind->name,
          c->head.k_dim, c->head.v_dim, changed);
    guard_free(c->memory, "cache"), free(c->pages);
    if (c->turns) guard_free(c->turns, "turns"), guard_free(c->table, "table of turns");
}

/* Column i of x (dim) times the Hadamard matrices of the largest power of two that divides dim, by their
 * definition: an entry is -1 where its row and column share an odd number of bits. */
static double transformed(const double *x, size_t dim, size_t i) {
    const size_t n = dim & (0 - dim), begin = i / n * n;
    double sum = 0;
    for (size_t k = 0; k < n; k++) {
        size_t shared = (i - begin) & k, odd = 0;
        for (; shared; shared &= shared - 1) odd ^= 1;
        sum += odd ? -x[begin + k] : x[begin + k];
    }
    return sum / sqrt((double)n);
}

/* The error that a number may have: half of its integer's scale, which is the least that holds the block,
 * and what floats round. */
static double number_bound(const cache_kind *kind, const double *x, size_t dim, size_t i, float most,
                           float length) {
    if (!kind->block) return fabs(x[i]) * 1e-7;
    const size_t begin = i / kind->block * kind->block,
                 end = begin + kind->block < dim ? begin + kind->block : dim;
    double largest = 0, squares = 0;
    for (size_t k = begin; k < end; k++) largest = fmax(largest, fabs(x[k])), squares += x[k] * x[k];
    double scale = largest / (double)most;
    if (length > 0) scale = fmax(scale, sqrt(squares) / (double)length);
    /* Of packed numbers half of the widest step, between levels 95 and 121, and 2^-7 of the scale. */
    if (kind->packed) return scale * (13 + 1) + 1e-5;
    return scale * 0.5 + fabs(x[i]) * 4e-7;
}

/* What is stored of x, as doubles: for packed numbers the transform of a value, or of a key's difference
 * from its center. */
static void stored_form(const cache_head *h, size_t pos, const double *x, size_t dim, bool is_key,
                        double *out) {
    float key[CACHE_MAX_DIM], rest[CACHE_MAX_DIM];
    double plain[CACHE_MAX_DIM];
    memcpy(out, x, dim * sizeof *x);
    if (!h->kind->packed) return;
    cache_key(h, pos, key), cache_key_rest(h, pos, rest);
    for (size_t i = 0; i < dim; i++) plain[i] = x[i] - (is_key ? (double)key[i] - (double)rest[i] : 0);
    for (size_t i = 0; i < dim; i++) out[i] = transformed(plain, dim, i);
}

/* Numbers of a stored key or value that are not what they should be. */
static size_t wrong_stored(const cache_head *h, size_t pos, const double *x, size_t dim, bool is_key) {
    const cache_kind *kind = h->kind;
    float key[CACHE_MAX_DIM];
    double found[CACHE_MAX_DIM], stored[CACHE_MAX_DIM], want[CACHE_MAX_DIM];
    if (is_key)
        cache_key(h, pos, key);
    else
        cache_value(h, pos, key);
    for (size_t i = 0; i < dim; i++) found[i] = (double)key[i];
    stored_form(h, pos, found, dim, is_key, stored), stored_form(h, pos, x, dim, is_key, want);
    size_t wrong = 0;
    for (size_t i = 0; i < dim; i++) {
        const double bound = number_bound(kind, want, dim, i, is_key ? kind->k_most : kind->v_most,
                                          is_key ? kind->k_length : 0) +
                             (is_key ? 1e-6 : 1e-9); // keys were rotated before
        wrong += !(fabs(stored[i] - want[i]) <= bound);
    }
    return wrong;
}

/* The center of the second tile, by its definition: the mean of the first one's keys, pair i of each turned
 * by its angle for as many positions as it is before the second tile. */
static void check_center(const cache_head *h) {
    const cache_tile second_tile = cache_tile_of(h, CACHE_TILE);
    double worst = 0, mean[CACHE_MAX_DIM] = {0};
    float key[CACHE_MAX_DIM];
    for (size_t pos = 0; pos < CACHE_TILE; pos++) {
        cache_key(h, pos, key);
        for (size_t i = 0; i < h->k_dim; i++) {
            const size_t n = h->turns.n_pairs, at = CACHE_TILE - pos,
                         pair = h->turns.adjacent ? i / 2 : i % n;
            const bool second = h->turns.adjacent ? i % 2 : i >= n;
            const size_t other = h->turns.adjacent ? i ^ 1 : second ? i - n : i + n;
            const double c = i < 2 * n ? (double)h->turns.cosine[pair * CACHE_TURNS + at] : 1,
                         s = i < 2 * n ? (double)h->turns.sine[pair * CACHE_TURNS + at] : 0;
            const double y = i < 2 * n ? (double)key[other] : 0;
            mean[i] += ((double)key[i] * c + (second ? y : -y) * s) / (double)CACHE_TILE;
        }
    }
    cache_center(&second_tile, h->k_dim, key);
    for (size_t i = 0; i < h->k_dim; i++)
        worst = fmax(worst, fabs(mean[i] - (double)key[i]) - fabs(mean[i]) * 0x1p-11); // of a half float
    CHECK(worst < 1e-5, "center of %zu columns: error %g", h->k_dim, worst);
}

static void check_stored(const kernel_set *s, const cache_head *h, size_t pos, const double *k,
                         const float *v) {
    double value[CACHE_MAX_DIM];
    for (size_t i = 0; i < h->v_dim; i++) value[i] = (double)v[i];
    const size_t wrong =
        wrong_stored(h, pos, k, h->k_dim, true) + wrong_stored(h, pos, value, h->v_dim, false);
    CHECK(wrong == 0, "%s store, %s of %zu and %zu, position %zu: %zu numbers are wrong", s->name,
          h->kind->name, h->k_dim, h->v_dim, pos, wrong);
}

/* Sizes of keys and of values. */
static const size_t dims[][2] = {{8, 8},     {16, 16}, {40, 40},   {64, 64},  {96, 96}, {128, 128},
                                 {256, 256}, {64, 40}, {192, 128}, {16, 256}, {40, 8}};
enum { N_DIMS = sizeof dims / sizeof *dims };

/* Positions in an order that goes to and fro; then all must be there, the first no less than the last. */
static void test_store_case(const kernel_set *s, const cache_kind *kind, const size_t *dim, rng *r) {
    enum { N = 150 };
    const size_t k_dim = dim[0], v_dim = dim[1];
    cache c = new_cache(kind, k_dim, v_dim, N, r);
    rotation t = random_rotation(k_dim / 4, k_dim % 16 == 0, r);
    float *k = guard_floats(N * k_dim), *v = guard_floats(N * v_dim);
    double expected[CACHE_MAX_DIM];
    fill(k, N * k_dim, r, 2), fill(v, N * v_dim, r, 2);
    for (size_t i = 0; i < k_dim; i++) k[3 * k_dim + i] = 0;
    for (size_t i = 0; i < v_dim; i++) v[4 * v_dim + i] = 0;
    for (size_t i = 0; i < N; i++) {
        size_t pos = kind->packed ? i : i * 77 % N; // centers are made in order
        s->store(&c.head, pos, &t.r, k + pos * k_dim, v + pos * v_dim);
    }
    for (size_t pos = 0; pos < N; pos++) {
        expected_rotation(&t.r, k + pos * k_dim, k_dim, expected);
        check_stored(s, &c.head, pos, expected, v + pos * v_dim);
    }
    if (kind->packed) check_center(&c.head);
    cache_free(&c), guard_free(k, "keys"), guard_free(v, "values"), guard_free(t.table, "table");
}

static void test_store(const kernel_set *s, op_counts *ran) {
    rng r;
    rng_seed(&r, 22);
    for (size_t kind = 0; kind < CACHE_KINDS; kind++)
        for (size_t i = 0; i < N_DIMS; i++, ran->store++)
            test_store_case(s, &cache_kinds[kind], dims[i], &r);
}

/* ---- attention ---- */

/* Stores a key and value without rotation. */
static void store_still(const kernel_set *s, const cache_head *h, size_t pos, const float *k,
                        const float *v) {
    static const float nothing[1];
    const kernel_rope still = {nothing, nothing, 0, false};
    s->store(h, pos, &still, k, v);
}

/* Whether the set computes in integers over this kind of cache. */
static bool in_integers(const kernel_set *s, const cache_kind *kind) {
    return !is_ref(s) && kind->block;
}

/* A query as the set takes it: where it computes in integers, as a key of NUT_KV_F16 is stored; over packed
 * numbers its transform is, and its product with centers takes it as it is. */
static void taken_query(const kernel_set *s, const cache_kind *kind, const float *q, size_t dim,
                        double *out) {
    for (size_t i = 0; i < dim; i++) out[i] = (double)q[i];
    if (!in_integers(s, kind)) return;
    rng r;
    rng_seed(&r, 1);
    cache c = new_cache(&cache_kinds[NUT_KV_F16], dim, dim, 1, &r);
    float x[CACHE_MAX_DIM];
    double taken[CACHE_MAX_DIM];
    for (size_t i = 0; i < dim; i++) x[i] = kind->packed ? (float)transformed(out, dim, i) : q[i];
    store_still(s, &c.head, 0, x, x);
    cache_key(&c.head, 0, x);
    for (size_t i = 0; i < dim; i++) taken[i] = (double)x[i];
    for (size_t i = 0; i < dim; i++) out[i] = kind->packed ? transformed(taken, dim, i) : taken[i];
    cache_free(&c);
}

/* q . k of a position. */
static double product(const cache_head *h, size_t pos, const float *q, const double *query) {
    float key[CACHE_MAX_DIM], rest[CACHE_MAX_DIM];
    double sum = 0;
    cache_key(h, pos, key);
    if (h->kind->packed) cache_key_rest(h, pos, rest);
    for (size_t c = 0; c < h->k_dim; c++) {
        const double still = h->kind->packed ? (double)rest[c] : (double)key[c];
        sum += query[c] * still + (double)q[c] * ((double)key[c] - still);
    }
    return sum;
}

/* Bounds of columns of a transform to those of what it is of. */
static void bounds_transformed(double *bound, size_t dim) {
    const size_t n = dim & (0 - dim);
    for (size_t begin = 0; begin < dim; begin += n) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += bound[begin + i];
        for (size_t i = 0; i < n; i++) bound[begin + i] = sum / sqrt((double)n);
    }
}

/* Expected results of one query of a token whose own position is n_kv - 1 - n_behind, and how far off they
 * may be:
 * rounding each weight, times its value's scale, to an integer (cache.h says how fine), and of the values
 * 2e-5 for 2^x and for floats, and 1e-6 for every 1 that scores reach, since floats round them. */
static void expected_attend(const kernel_set *s, const kernel_attend *a, const float *q, size_t n_kv,
                            double *out, double *bound) {
    const cache_head *h = a->cache;
    const size_t k_dim = h->k_dim, v_dim = h->v_dim, block = h->kind->block,
                 begin = a->window && a->window < n_kv ? n_kv - a->window : 0;
    const size_t head = (size_t)(q - a->q) % a->q_stride / k_dim;
    const double cap = (double)a->softcap, slope = a->slopes ? (double)a->slopes[head] : 0;
    double query[CACHE_MAX_DIM], *p = malloc(n_kv * sizeof *p), highest = -INFINITY, total = 0, size = 0;
    float *values = malloc(n_kv * v_dim * sizeof *values);
    taken_query(s, h->kind, q, k_dim, query);
    for (size_t i = begin; i < n_kv; i++) {
        cache_value(h, i, values + i * v_dim);
        p[i] = product(h, i, q, query) * (double)a->scale;
        if (cap > 0) p[i] = cap * tanh(p[i] / cap);
        p[i] -= slope * fabs((double)(n_kv - 1 - a->n_behind) - (double)i);
        highest = fmax(highest, p[i]), size = fmax(size, fabs(p[i]));
    }
    const double rounding = (in_integers(s, h->kind) ? 2e-5 : 2e-6) + 1e-6 * size;
    if (a->sinks) highest = fmax(highest, (double)a->sinks[head]);
    if (a->sinks) total = exp((double)a->sinks[head] - highest);
    for (size_t i = begin; i < n_kv; i++) total += p[i] = exp(p[i] - highest);
    for (size_t c = 0; c < v_dim; c++) {
        out[c] = bound[c] = 0;
        for (size_t first = begin, end; first < n_kv; first = end) {
            double most = 0, sum = 0, numbers = 0;
            end =
                (first / CACHE_TILE + 1) * CACHE_TILE < n_kv ? (first / CACHE_TILE + 1) * CACHE_TILE : n_kv;
            for (size_t i = first; i < end; i++) {
                double v = (double)values[i * v_dim + c];
                out[c] += p[i] / total * v;
                const double v_scale =
                    block ? (double)cache_scale_at(h->kind, cache_tile_of(h, i).v_scale, c / block, i) : 0;
                if (h->kind->packed) v = 127 * v_scale; // at most, of the transform's column
                bound[c] += p[i] / total * fabs(v) * rounding;
                if (!block) continue;
                most = fmax(most, p[i] * v_scale), sum += p[i] * v_scale;
                numbers += v_scale > 0 ? fabs(v) / v_scale : 0;
            }
            if (in_integers(s, h->kind))
                bound[c] += fmax(most / 32767, sum / (double)h->kind->weight_sum) * 0.51 * numbers / total;
        }
        bound[c] += 1e-9;
    }
    if (h->kind->packed) bounds_transformed(bound, v_dim);
    free(p), free(values);
}

/* Keys, values and queries that attention is tested with. */
typedef struct content {
    const char *name;
    void (*fill)(size_t pos, size_t n_kv, const float *q, const cache_head *h, float *k, float *v, rng *r);
} content;

static void fill_random(size_t pos, size_t n_kv, const float *q, const cache_head *h, float *k, float *v,
                        rng *r) {
    (void)pos, (void)n_kv, (void)q;
    fill(k, h->k_dim, r, 1), fill(v, h->v_dim, r, 1);
}

/* Each key is more like the first query than the one before: the largest score is always the last. */
static void fill_rising(size_t pos, size_t n_kv, const float *q, const cache_head *h, float *k, float *v,
                        rng *r) {
    fill(k, h->k_dim, r, 1), fill(v, h->v_dim, r, pos % 3 ? 1 : 1e-3);
    for (size_t i = 0; i < h->k_dim; i++) k[i] += 8 * (float)pos / (float)n_kv * q[i];
}

/* The longest vectors that there are, all alike: the largest sums of integers. */
static void fill_flat(size_t pos, size_t n_kv, const float *q, const cache_head *h, float *k, float *v,
                      rng *r) {
    (void)pos, (void)n_kv, (void)r;
    for (size_t i = 0; i < h->k_dim; i++) k[i] = q[i];
    for (size_t i = 0; i < h->v_dim; i++) v[i] = i % 2 ? -5 : 5;
}

/* One column far above the others, in keys as in queries, as some models have. */
static void fill_outlier(size_t pos, size_t n_kv, const float *q, const cache_head *h, float *k, float *v,
                         rng *r) {
    (void)pos, (void)n_kv, (void)q;
    fill(k, h->k_dim, r, 1), fill(v, h->v_dim, r, 1);
    k[h->k_dim / 2] = 100, v[h->v_dim / 2] = -100;
}

/* Scores so far apart that all but some weights vanish, and zeros. */
static void fill_sharp(size_t pos, size_t n_kv, const float *q, const cache_head *h, float *k, float *v,
                       rng *r) {
    (void)n_kv;
    fill(v, h->v_dim, r, pos % 5 ? 1 : 0);
    for (size_t i = 0; i < h->k_dim; i++) k[i] = pos % 7 == 0 ? 0 : (pos % 11 == 3 ? 90 : -90) * q[i];
}

static const content contents[] = {{"random", fill_random},
                                   {"rising", fill_rising},
                                   {"flat", fill_flat},
                                   {"outlier", fill_outlier},
                                   {"sharp", fill_sharp}};
enum { N_CONTENTS = sizeof contents / sizeof *contents };

typedef struct attend_case {
    const kernel_set *set;
    const cache_kind *kind;
    const content *content;
    size_t n_tokens, n_q, n_kv; // n_kv positions are seen by the first token
    size_t k_dim, v_dim, window, n_behind;
    float softcap;
    const float *slopes, *sinks;
    cache cache;
    float *q, *out;
} attend_case;

static void case_new(attend_case *c, rng *r) {
    const size_t n_rows = c->n_tokens * c->n_q, n = n_rows * c->k_dim, all = c->n_kv + c->n_tokens - 1;
    float k[CACHE_MAX_DIM], v[CACHE_MAX_DIM];
    c->cache = new_cache(c->kind, c->k_dim, c->v_dim, all, r);
    c->q = guard_floats(n), c->out = guard_floats(n_rows * c->v_dim);
    fill(c->q, n, r, 1);
    if (c->content->fill == fill_flat)
        for (size_t i = 0; i < n; i++) c->q[i] = i % 3 ? 2 : -2;
    if (c->content->fill == fill_outlier)
        for (size_t i = c->k_dim / 2; i < n; i += c->k_dim) c->q[i] = i % 3 ? 9 : -9;
    for (size_t pos = 0; pos < all; pos++) {
        c->content->fill(pos, all, c->q, &c->cache.head, k, v, r);
        store_still(c->set, &c->cache.head, pos, k, v);
    }
    /* Tiles before the window must not even be read. */
    for (size_t pos = 0; pos + CACHE_TILE <= kernel_first_seen(c->n_kv, c->window); pos += CACHE_TILE)
        c->cache.pages[pos / CACHE_TILE] = NULL;
}

static void case_free(attend_case *c) {
    cache_free(&c->cache), guard_free(c->q, "q"), guard_free(c->out, "out");
}

static kernel_attend case_call(const attend_case *c, size_t token, size_t n_tokens, float *out) {
    const size_t q_stride = c->n_q * c->k_dim;
    return (kernel_attend){.cache = &c->cache.head,
                           .q = c->q + token * q_stride,
                           .out = out,
                           .n_tokens = n_tokens,
                           .n_q = c->n_q,
                           .q_stride = q_stride,
                           .out_stride = c->n_q * c->v_dim,
                           .n_kv = c->n_kv + token,
                           .window = c->window,
                           .n_behind = c->n_behind,
                           .softcap = c->softcap,
                           .slopes = c->slopes,
                           .sinks = c->sinks,
                           .scale = 1.0f / sqrtf((float)c->k_dim)};
}

/* All tokens in one call, against the definition. */
static void check_results(attend_case *c) {
    double expected[CACHE_MAX_DIM], bound[CACHE_MAX_DIM], worst = 0;
    const kernel_attend a = case_call(c, 0, c->n_tokens, c->out);
    c->set->attend(&a);
    const size_t n_rows = c->n_tokens * c->n_q;
    const size_t step = n_rows < 14 ? 1 : 7;
    for (size_t r = (n_rows - 1) % step; r < n_rows; r += step) { // the last among them
        expected_attend(c->set, &a, c->q + r * c->k_dim, c->n_kv + r / c->n_q, expected, bound);
        for (size_t i = 0; i < c->v_dim; i++) {
            double error = fabs((double)c->out[r * c->v_dim + i] - expected[i]) / bound[i];
            worst = error <= worst ? worst : error; // also where it is a NaN
        }
    }
    CHECK(
        worst <= 1,
        "%s attend, %s, %s: %zu tokens of %zu heads of %zu and %zu, %zu positions, window %zu, softcap %g: "
        "error %g of what may be",
        c->set->name, c->kind->name, c->content->name, c->n_tokens, c->n_q, c->k_dim, c->v_dim, c->n_kv,
        c->window, (double)c->softcap, worst);
}

/* The spans [first, n_spans) of token t, joined: out (n_q, v_dim). */
static void join_spans(const attend_case *c, const float *partials, size_t first, size_t n_spans,
                       float *out) {
    const size_t size = kernel_partial_size(c->v_dim);
    for (size_t h = 0; h < c->n_q; h++)
        c->set->attend_join(&c->cache.head, partials + (first * c->n_q + h) * size, n_spans - first,
                            c->n_q * size, c->sinks ? c->sinks + h : NULL, out + h * c->v_dim);
}

/* Each token alone, and each in spans, with those before its window or without, against all in one call: the
 * same bits. */
static void check_alone(const attend_case *c, op_counts *ran) {
    const size_t width = c->n_q * c->v_dim, size = kernel_partial_size(c->v_dim);
    const size_t most_spans = cache_spans(c->n_kv + c->n_tokens);
    float *alone = guard_floats(width), *partials = guard_floats(most_spans * c->n_q * size);
    size_t differ = 0, spans_differ = 0;
    for (size_t t = 0; t < c->n_tokens; t++) {
        const kernel_attend a = case_call(c, t, 1, alone);
        const float *together = c->out + t * width;
        const size_t n_spans = cache_spans(a.n_kv), first = kernel_first_seen(a.n_kv, a.window) / CACHE_SPAN;
        c->set->attend(&a);
        differ += memcmp(alone, together, width * sizeof(float)) != 0;
        for (size_t i = 0; i < n_spans; i++, ran->attend_span++)
            c->set->attend_span(&a, i * CACHE_SPAN, partials + i * c->n_q * size);
        for (size_t from = 0; from <= first; from += first ? first : 1, ran->attend_join++) {
            join_spans(c, partials, from, n_spans, alone);
            spans_differ += memcmp(alone, together, width * sizeof(float)) != 0;
        }
    }
    CHECK(differ + spans_differ == 0,
          "%s attend, %s: %zu tokens of %zu heads of %zu and %zu from %zu positions on, window %zu: %zu "
          "differ alone, %zu in spans",
          c->set->name, c->kind->name, c->n_tokens, c->n_q, c->k_dim, c->v_dim, c->n_kv, c->window, differ,
          spans_differ);
    guard_free(alone, "out"), guard_free(partials, "partial results");
}

/* Packed numbers are drawn apart, so that the others stay what they are without them. */
static void run_case(attend_case *c, rng *r, op_counts *ran) {
    rng apart = *r;
    case_new(c, c->kind->packed ? &apart : r);
    check_results(c);
    check_alone(c, ran);
    case_free(c);
    ran->attend++;
}

static void test_attend(const kernel_set *s, op_counts *ran) {
    static const size_t heads[] = {1, 2, 3, 4, 7, 8, 9, 33};
    static const size_t positions[] = {1,   2,   7,   8,   9,   31,  63,  64, 65,
                                       100, 129, 191, 255, 256, 257, 300, 515};
    static const size_t tokens[] = {0, 1, 2, 4, 8, 11, 32};
    enum { HEADS = sizeof heads / sizeof *heads, POSITIONS = sizeof positions / sizeof *positions };
    rng r;
    rng_seed(&r, 16);
    for (size_t i = 0; i < HEADS * POSITIONS; i++)
        for (size_t kind = 0; kind < CACHE_KINDS; kind++) {
            attend_case c = {
                .set = s,
                .kind = &cache_kinds[kind],
                .content = &contents[i % N_CONTENTS],
                .n_tokens = is_ref(s) ? 2 : tokens[(i + i / 7) % 7] / (heads[i % HEADS] > 9 ? 5 : 1) + 1,
                .n_q = heads[i % HEADS],
                .n_kv = positions[i / HEADS],
                .k_dim = dims[(i + i / N_DIMS) % N_DIMS][0],
                .v_dim = dims[(i + i / N_DIMS) % N_DIMS][1]};
            run_case(&c, &r, ran);
        }
}

/* What a token does not see cannot reach it, even where it is no number: positions after it, which others of
 * the call see, and those before its window. */
static void test_unseen(const kernel_set *s) {
    enum { N_TOKENS = 6, N_KV = 71, WINDOW = 6 };
    rng r;
    rng_seed(&r, 18);
    for (size_t kind = 0; kind < CACHE_KINDS; kind++) {
        attend_case c = {.set = s,
                         .kind = &cache_kinds[kind],
                         .content = &contents[0],
                         .n_tokens = N_TOKENS,
                         .n_q = 3,
                         .n_kv = N_KV,
                         .window = WINDOW,
                         .k_dim = 64,
                         .v_dim = 64};
        case_new(&c, &r);
        const size_t width = c.n_q * c.v_dim;
        float *before = malloc(N_TOKENS * width * sizeof *before), bad[64];
        for (size_t i = 0; i < 64; i++) bad[i] = NAN;
        kernel_attend a = case_call(&c, 0, N_TOKENS, before);
        s->attend(&a);
        store_still(s, &c.cache.head, N_KV - WINDOW, bad, bad);       // seen by the first token alone
        store_still(s, &c.cache.head, N_KV + N_TOKENS - 2, bad, bad); // by the last
        a.out = c.out;
        s->attend(&a);
        CHECK(memcmp(c.out + width, before + width, (N_TOKENS - 2) * width * sizeof(float)) == 0,
              "%s attend, %s: NaNs at positions that a token does not see change its result", s->name,
              c.kind->name);
        free(before), case_free(&c);
    }
}

/* Windows, positions behind a token, and softcaps or slopes or sinks, at sizes around those of tiles and
 * spans. */
static void test_variants(const kernel_set *s, op_counts *ran) {
    static const size_t windows[] = {0, 1, 2, 7, 8, 9, 63, 64, 65, 100, 129, 255, 256, 257, 300, 1000};
    static const size_t positions[] = {1, 9, 64, 65, 130, 257, 300, 515, 700};
    static const size_t heads[] = {1, 3, 8}, tokens[] = {1, 5, 33, 2};
    static const float softcaps[] = {0, 50, 2};
    static const float slopes[8] = {0.5f, 0.25f, 1, 0.0625f, 0.0078125f, 0.5f, 0, 0.3f},
                       sinks[8] = {0, 1.5f, -4, 20, 0.25f, -60, 3, 1};
    enum { WINDOWS = sizeof windows / sizeof *windows, POSITIONS = sizeof positions / sizeof *positions };
    rng r;
    rng_seed(&r, 17);
    for (size_t i = 0; i < WINDOWS * POSITIONS; i++)
        for (size_t kind = 0; kind < CACHE_KINDS; kind++) {
            attend_case c = {.set = s,
                             .kind = &cache_kinds[kind],
                             .content = &contents[i % N_CONTENTS],
                             .n_tokens = is_ref(s) ? 2 : tokens[(i + i / 4) % 4],
                             .n_q = heads[i % 3],
                             .n_kv = positions[i / WINDOWS],
                             .window = windows[i % WINDOWS],
                             .n_behind = positions[i / WINDOWS] * (i % 4) / 4,
                             .softcap = softcaps[(i + i / 3) % 3],
                             .slopes = (i + i / 3) % 3 == 0 && i % 2 ? slopes : NULL,
                             .sinks = i % 5 < 2 ? sinks : NULL,
                             .k_dim = dims[i % 4][0],
                             .v_dim = dims[i % 4][1]};
            run_case(&c, &r, ran);
        }
}

int main(void) {
    test_exp2();
    for (size_t i = 0; i < kernel_count(); i++) {
        const kernel_set *s = kernel_at(i);
        if (!usable(i)) {
            CHECK_SKIP("this machine computes the relaxed dot wrongly, and the probe says so");
            continue;
        }
        test_rope(s, &n_ops[i]);
        test_rope_numbers(s);
        test_store(s, &n_ops[i]);
        test_attend(s, &n_ops[i]);
        test_variants(s, &n_ops[i]);
        test_unseen(s);
#define NUT_X(op, params) CHECK(n_ops[i].op > 0, "%s " #op " ran no case", s->name);
        KERNEL_ATTEND_OPS(NUT_X)
#undef NUT_X
    }
    return check_report();
}
