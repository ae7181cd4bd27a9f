/*
 * Speed of the kernels: every set, every format, one token (streaming the weights), small and large
 * batches, beside what bounds them, measured in the same run: the read bandwidth and the integer dots that
 * one thread computes from registers. Natively and under wasmtime a program of its own; kernels.mjs also
 * runs it in browsers. Prints tables.
 *
 *     bench_kernels [--set NAME] [--format NAME] [--only products|rounding|ops|attend|pack] [--seconds S]
 *                   [--resident yes] [--rows yes]
 *
 * Weights are several copies of a matrix, together larger than the last cache, used in turn as layers are;
 * with --resident one copy, which stays in a cache where it fits: what the instructions allow, whatever
 * other programs do to the memory's bandwidth. Each figure is the best slice of 0.3 ms within S seconds
 * (0.3): short, so that some fall between other programs' turns. Where the clock is coarse, as in browsers,
 * a slice is 100 of its steps. --rows writes each figure to stderr too, for a program to read:
 * what,set,size,value,unit. What the rounding of activations takes of a product is told where --only asks.
 */
#include "bounds.h"
#include "base/half.h"
#include "base/rng.h"
#include "../unit/halves.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOKENS_MAX = 64, WORKING_SET = 96 << 20, READ_BYTES = 2 << 20, SETS_MAX = 8 };

static double seconds = 0.3, slice = 3e-4;
static const char *only_set, *only_format, *only_part;
static bool rows, resident;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Smallest step of the clock in seconds. */
static double clock_step(void) {
    double least = 1;
    for (int i = 0; i < 10; i++) {
        double begin = now(), t;
        while ((t = now()) == begin) {
        }
        least = t - begin < least ? t - begin : least;
    }
    return least;
}

/* Seconds per call of run(ctx, i), i counting up. */
static double best_time(void (*run)(void *ctx, size_t i), void *ctx) {
    const double end = now() + seconds;
    double best = 1e30;
    size_t i = 0;
    do {
        double begin = now(), elapsed;
        size_t first = i;
        do {
            run(ctx, i++);
            elapsed = now() - begin;
        } while (elapsed < slice);
        double each = elapsed / (double)(i - first);
        best = each < best ? each : best;
    } while (now() < end);
    return best;
}

static void row(const char *what, const char *set, const char *size, double value, const char *unit) {
    if (rows) fprintf(stderr, "%s,%s,%s,%.2f,%s\n", what, set, size, value, unit);
}

/* ---- what bounds the kernels ---- */

static double peaks[SETS_MAX]; // GMAC/s, by number of the set; 0: not known

static volatile uint64_t sink;

static void run_read(void *ctx, size_t i) {
    const uint8_t *weights = ctx;
    sink = bound_read(weights + i % (WORKING_SET / READ_BYTES) * READ_BYTES, READ_BYTES);
}

static void run_dots(void *ctx, size_t i) {
    const bound_dots *b = ctx;
    sink = b->run((uint32_t)i);
}

static bool set_wanted(const kernel_set *set) {
    return only_set ? strcmp(only_set, set->name) == 0 : set != kernel_find("ref");
}

/* GB/s. What other programs do changes it from one second to the next. */
static double read_bandwidth(void *weights) {
    return (double)READ_BYTES / best_time(run_read, weights) * 1e-9;
}

static void bench_bounds(void *weights) {
    const double bandwidth = read_bandwidth(weights);
    printf("read bandwidth %.1f GB/s", bandwidth);
    row("read", "-", "-", bandwidth, "GB/s");
    for (size_t i = 0; i < kernel_count(); i++) {
        const char *set = kernel_at(i)->name;
        const bound_dots *b = bound_dots_find(set);
        if (!b || !set_wanted(kernel_at(i))) continue;
        bound_dots dots = *b;
        peaks[i] = b->macs / best_time(run_dots, &dots) * 1e-9;
        printf("; %s dots alone %.1f GMAC/s", set, peaks[i]);
        row("peak", set, "-", peaks[i], "GMAC/s");
    }
    printf("\nset in use: %s\n", kernel_find(NULL)->name);
}

/* ---- products ---- */

typedef struct product {
    const kernel_set *set;
    uint8_t *weights; // the working set
    matrix w;         // the first copy
    size_t n_copies;
    kernel_act act;
    float *y;
} product;

static void run_product(void *ctx, size_t i) {
    const product *p = ctx;
    matrix w = p->w;
    const size_t groups = matrix_groups(&w);
    w.data += i % p->n_copies * groups * matrix_group_bytes(&w);
    kernel_mul_mat(p->set, &w)(&w, 0, groups, &p->act, p->y, groups * FORMAT_LANES);
}

/* Fills the working set with one random group, repeated: scales are ordinary numbers. */
static void fill_weights(matrix *w, size_t n_bytes, rng *r) {
    const format *f = w->format;
    const size_t group_bytes = matrix_group_bytes(w);
    uint8_t block[FORMAT_MAX_BYTES];
    memset(w->data, 0, group_bytes);
    if (format_is_coded(f)) {
        for (size_t i = f->layout->head; i < group_bytes; i++)
            w->data[i] = (uint8_t)(rng_u64(r) % 255 + 129);
        for (size_t lane = 0; lane < FORMAT_LANES; lane++)
            memcpy(w->data + 4 * lane, &(float){(float)rng_f64(r) * 0.01f + 0.001f}, 4);
    }
    for (uint32_t lane = 0; !format_is_coded(f) && lane < FORMAT_LANES; lane++)
        for (size_t b = 0; b < w->n_cols / f->block; b++) {
            uint16_t scale = half_f32_to_f16((float)rng_f64(r) * 0.01f + 0.001f);
            for (size_t i = 0; i < f->bytes; i++) block[i] = (uint8_t)(rng_u64(r) % 255 + 129);
            if (f->layout->act == FORMAT_ACT_F32) {
                float x = (float)rng_f64(r) - 0.5f;
                f->quantize(&x, 1, block);
            } else {
                int at[2];
                for (int k = halves_of(f->id, at); k-- > 0;) half_put(block, at[k], scale);
                if (f->id == FORMAT_MXFP4) block[0] = 120;
                if (f->id == FORMAT_LUT4) block[0] = 100;
            }
            f->pack(w->data, lane, b, 1, block);
        }
    for (size_t at = group_bytes; at + group_bytes <= n_bytes; at += group_bytes)
        memcpy(w->data + at, w->data, group_bytes);
}

/* Puts n tokens into the set's layout. */
static void quantize_tokens(const kernel_set *set, kernel_act *act, size_t n) {
    act->n_tokens = n, act->lanes = kernel_lanes(n), act->bytes = set->act_bytes;
    for (size_t t = 0; t < n; t++) set->quantize_q8(act->x + t * act->n_cols, 0, act->n_cols, t, act, NULL);
}

static const size_t token_counts[] = {1, 2, 4, 8, TOKENS_MAX};

/* One line of the table: a matrix of so many bytes times each number of tokens. */
static void bench_tokens(product *p, size_t bytes, double peak_gmacs) {
    const matrix *w = &p->w;
    const double bandwidth = read_bandwidth(p->weights);
    double gmacs = 0;
    printf("%-5s %-8s %5zu x %-5zu", w->format->name, p->set->name, w->n_rows, w->n_cols);
    for (size_t i = 0; i < sizeof token_counts / sizeof *token_counts; i++) {
        const size_t n = token_counts[i];
        char size[64];
        quantize_tokens(p->set, &p->act, n);
        double t = best_time(run_product, p);
        gmacs = (double)(w->n_rows * w->n_cols * n) / t * 1e-9;
        if (n == 1)
            printf(" %7.1f %6.0f%%", (double)bytes / t * 1e-9, 100e-9 * (double)bytes / t / bandwidth);
        printf(" %7.1f", gmacs);
        fflush(stdout);
        snprintf(size, sizeof size, "%zux%zux%zu", w->n_rows, w->n_cols, n);
        row(w->format->name, p->set->name, size, gmacs, "GMAC/s");
        if (n == 1) row(w->format->name, p->set->name, size, (double)bytes / t * 1e-9, "GB/s");
    }
    if (peak_gmacs > 0) printf(" %6.0f%%", 100 * gmacs / peak_gmacs);
    printf("\n");
}

static void bench_product(const format *f, size_t n_rows, size_t n_cols, uint8_t *weights,
                          const kernel_act *act, float *y) {
    product p = {.weights = weights,
                 .w = {.format = f, .n_rows = n_rows, .n_cols = n_cols, .data = weights},
                 .act = *act,
                 .y = y};
    const size_t bytes = matrix_groups(&p.w) * matrix_group_bytes(&p.w);
    rng r;
    rng_seed(&r, 1);
    if (n_cols % f->block) return;
    fill_weights(&p.w, WORKING_SET, &r);
    p.n_copies = resident ? 1 : WORKING_SET / bytes;
    p.act.n_cols = n_cols;
    for (size_t i = 0; i < kernel_count(); i++) {
        p.set = kernel_at(i);
        if (set_wanted(p.set)) bench_tokens(&p, bytes, peaks[i]);
    }
}

static void bench_products(uint8_t *weights) {
    static const size_t shapes[][2] = {{1536, 576}, {576, 1536}, {4864, 896}, {896, 4864}, {2048, 2048}};
    const size_t n = TOKENS_MAX * 4864;
    float *x = malloc(n * sizeof(float)), *y = malloc(n * sizeof(float)),
          *d = malloc(n / 16 * sizeof(float));
    uint8_t *q = aligned_alloc(64, 2 * n);
    int32_t *sum = malloc(n / 32 * KERNEL_SUMS * sizeof(int32_t));
    rng r;
    rng_seed(&r, 2);
    for (size_t i = 0; i < n; i++) x[i] = (float)rng_f64(&r) - 0.5f;
    const kernel_act act = {.x = x, .q = q, .d = d, .d_sum = d + n / 32, .sum = sum};
    printf("\n%-14s %13s %7s %7s %7s %7s %7s %7s %7s %7s\n", "product", "rows x cols", "GB/s 1", "of read",
           "GMAC 1", "GMAC 2", "GMAC 4", "GMAC 8", "GMAC 64", "of peak");
    for (size_t id = 0; id < FORMAT_ALL; id++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            if (!only_format || format_by_name(only_format) == &format_table[id])
                bench_product(&format_table[id], shapes[s][0], shapes[s][1], weights, &act, y);
    free(x), free(y), free(d), free(q), free(sum);
}

/* ---- the rounding of activations ---- */

static void run_rounding(void *ctx, size_t i) {
    product *p = ctx;
    (void)i, quantize_tokens(p->set, &p->act, p->act.n_tokens);
}

static void rounding_row(product *p, size_t n_tokens) {
    quantize_tokens(p->set, &p->act, n_tokens);
    const double rounding = best_time(run_rounding, p), all = best_time(run_product, p);
    printf("%-8s %-8s %5zu x %-5zu %7zu %12.2f %12.2f %8.1f %%\n", p->w.format->name, p->set->name,
           p->w.n_rows, p->w.n_cols, n_tokens, 1e6 * rounding, 1e6 * all, 100 * rounding / (rounding + all));
}

/* One copy of the weights, so that a product takes as little as it can. */
static void bench_rounding(uint8_t *weights) {
    static const size_t shapes[][2] = {{576, 576}, {1536, 576}, {576, 1536}, {2048, 2048}};
    static const format_id formats[] = {FORMAT_Q4_0, FORMAT_Q8_0, FORMAT_CODED_8};
    enum { MANY = 128, MOST = 2048 };
    const size_t n = MANY * MOST;
    float *x = malloc(n * sizeof(float)), *y = malloc(n * sizeof(float)),
          *d = malloc(n / 16 * sizeof(float));
    uint8_t *q = aligned_alloc(64, 2 * n);
    int32_t *sum = malloc(n / 32 * KERNEL_SUMS * sizeof(int32_t));
    rng r;
    rng_seed(&r, 2);
    for (size_t i = 0; i < n; i++) x[i] = (float)rng_f64(&r) - 0.5f;
    printf("\n%-8s %-8s %13s %7s %12s %12s %10s\n", "type", "set", "rows x cols", "tokens", "rounding, us",
           "product, us", "of both");
    for (size_t i = 0; i < sizeof formats / sizeof *formats * 4; i++) {
        const size_t *shape = shapes[i % 4];
        product p = {.weights = weights, .n_copies = 1, .y = y};
        p.w = (matrix){.format = &format_table[formats[i / 4]],
                       .n_rows = shape[0],
                       .n_cols = shape[1],
                       .data = weights};
        p.act = (kernel_act){.x = x, .q = q, .d = d, .d_sum = d + n / 32, .sum = sum, .n_cols = shape[1]};
        fill_weights(&p.w, matrix_groups(&p.w) * matrix_group_bytes(&p.w), &r);
        for (size_t k = 0; k < kernel_count(); k++) {
            p.set = kernel_at(k);
            if (set_wanted(p.set)) rounding_row(&p, 1), rounding_row(&p, MANY);
        }
    }
    free(x), free(y), free(d), free(q), free(sum);
}

/* ---- operations ---- */

enum { OP_N = 1536, HEAD_DIM = 64, HEADS = 3 };

typedef struct op_data {
    const kernel_set *set;
    float x[OP_N], y[OP_N], z[OP_N], d[OP_N / 32], d_sum[OP_N / 32];
    int32_t sum[OP_N / 32 * KERNEL_SUMS];
    _Alignas(16) uint8_t q[2 * OP_N];
    _Alignas(16) uint8_t tiles[CACHE_SPAN * HEAD_DIM * 5]; // of a span of either kind
    uint8_t *pages[CACHE_SPAN / CACHE_TILE];
    float partials[HEADS * (HEAD_DIM + 2)];
} op_data;

static void run_quantize_q8(void *ctx, size_t i) {
    op_data *o = ctx;
    const kernel_act to = {.n_tokens = 1,
                           .n_cols = OP_N,
                           .lanes = 1,
                           .bytes = o->set->act_bytes,
                           .q = o->q,
                           .d = o->d,
                           .d_sum = o->d_sum,
                           .sum = o->sum};
    (void)i, o->set->quantize_q8(o->x, 0, OP_N, 0, &to, NULL);
}
static void run_rms_norm(void *ctx, size_t i) {
    op_data *o = ctx;
    (void)i, o->set->rms_norm(o->x, o->y, OP_N, 1e-5f, o->z);
}
static void run_layer_norm(void *ctx, size_t i) {
    op_data *o = ctx;
    (void)i, o->set->layer_norm(o->x, o->y, o->y, OP_N, 1e-5f, o->z);
}
static void run_activate(void *ctx, size_t i) {
    op_data *o = ctx;
    memcpy(o->z, o->x, sizeof o->z);
    (void)i, o->set->activate(KERNEL_GELU, o->z, OP_N);
}
static void run_activate_mul(void *ctx, size_t i) {
    op_data *o = ctx;
    memcpy(o->z, o->x, sizeof o->z);
    (void)i, o->set->activate_mul(KERNEL_SILU, o->z, o->y, OP_N);
}
static void run_scale(void *ctx, size_t i) {
    op_data *o = ctx;
    (void)i, o->set->scale(o->z, 1, OP_N);
}
static void run_softcap(void *ctx, size_t i) {
    op_data *o = ctx;
    memcpy(o->z, o->x, sizeof o->z);
    (void)i, o->set->softcap(o->z, 30, OP_N);
}
static void run_add(void *ctx, size_t i) {
    op_data *o = ctx;
    (void)i, o->set->add(o->z, o->y, OP_N);
}
static kernel_rope op_rope(const op_data *o) {
    return (kernel_rope){o->x, o->y, HEAD_DIM / 2, false};
}
static cache_head op_cache(op_data *o) {
    return (cache_head){
        .kind = &cache_kinds[NUT_KV_F16], .k_dim = HEAD_DIM, .v_dim = HEAD_DIM, .pages = o->pages};
}
static void run_rope(void *ctx, size_t i) {
    op_data *o = ctx;
    const kernel_rope r = op_rope(o);
    memcpy(o->z, o->x, sizeof o->z);
    (void)i, o->set->rope(o->z, OP_N / HEAD_DIM, HEAD_DIM, &r);
}
static void run_store(void *ctx, size_t i) {
    op_data *o = ctx;
    const cache_head c = op_cache(o);
    const kernel_rope r = op_rope(o);
    o->set->store(&c, i % CACHE_SPAN, &r, o->x, o->y);
}
static kernel_attend op_attend(op_data *o, const cache_head *c) {
    return (kernel_attend){.cache = c,
                           .q = o->x,
                           .out = o->z,
                           .n_tokens = 1,
                           .n_q = HEADS,
                           .q_stride = HEADS * HEAD_DIM,
                           .out_stride = HEADS * HEAD_DIM,
                           .n_kv = CACHE_SPAN,
                           .scale = 0.125f};
}
static void run_attend(void *ctx, size_t i) {
    op_data *o = ctx;
    const cache_head c = op_cache(o);
    const kernel_attend a = op_attend(o, &c);
    (void)i, o->set->attend(&a);
}
static void run_attend_span(void *ctx, size_t i) {
    op_data *o = ctx;
    const cache_head c = op_cache(o);
    const kernel_attend a = op_attend(o, &c);
    (void)i, o->set->attend_span(&a, 0, o->partials);
}
static void run_attend_join(void *ctx, size_t i) {
    op_data *o = ctx;
    const cache_head c = op_cache(o);
    (void)i, o->set->attend_join(&c, o->partials, HEADS, HEAD_DIM + 2, NULL, o->z);
}

static void bench_ops(void) {
    op_data *o = aligned_alloc(64, (sizeof *o + 63) / 64 * 64);
    rng r;
    rng_seed(&r, 3);
    for (size_t i = 0; i < OP_N; i++) o->x[i] = (float)rng_f64(&r) - 0.5f, o->y[i] = (float)rng_f64(&r);
    for (size_t t = 0; t < CACHE_SPAN / CACHE_TILE; t++)
        o->pages[t] = o->tiles + t * cache_tile_bytes(&cache_kinds[NUT_KV_F16], HEAD_DIM, HEAD_DIM);
    const cache_head c = op_cache(o);
    for (size_t p = 0; p < CACHE_SPAN; p++) cache_put(&c, p, o->x + p, o->y + p);
    printf("\nmicroseconds per call: %d elements; attention: %d heads of %d, %d positions\n%-9s", OP_N,
           HEADS, HEAD_DIM, CACHE_SPAN, "set");
#define NUT_X(op, params) printf(" %11s", #op);
    KERNEL_OPS(NUT_X)
#undef NUT_X
    for (size_t i = 0; i < kernel_count(); i++) {
        o->set = kernel_at(i);
        if (only_set && !set_wanted(o->set)) continue;
        printf("\n%-9s", o->set->name);
#define NUT_X(op, params) printf(" %11.2f", 1e6 * best_time(run_##op, o));
        KERNEL_OPS(NUT_X)
#undef NUT_X
    }
    printf("\n");
    free(o);
}

/* ---- attention ---- */

enum { LONG = 4096, BLOCK = 32 };

/* One key/value head of LONG positions, and a block of tokens that are the last to read it. */
typedef struct attend_data {
    const kernel_set *set;
    cache_head cache;
    uint8_t *pages[LONG / CACHE_TILE];
    size_t n_q, n_kv, n_tokens;
    float *q, *out;
} attend_data;

static void run_attention(void *ctx, size_t i) {
    const attend_data *d = ctx;
    const kernel_attend a = {.cache = &d->cache,
                             .q = d->q,
                             .out = d->out,
                             .n_tokens = d->n_tokens,
                             .n_q = d->n_q,
                             .q_stride = d->n_q * d->cache.k_dim,
                             .out_stride = d->n_q * d->cache.v_dim,
                             .n_kv = d->n_kv - d->n_tokens + 1,
                             .scale = 0.125f};
    (void)i, d->set->attend(&a);
}

static void attend_row(attend_data *d) {
    static const size_t positions[] = {512, LONG};
    char what[32], size[64];
    printf("%-6s %-8s %2zu x %-3zu", d->cache.kind->name, d->set->name, d->n_q, d->cache.k_dim);
    snprintf(what, sizeof what, "attend %s", d->cache.kind->name);
    for (size_t i = 0; i < 4; i++) {
        d->n_tokens = i % 2 ? BLOCK / d->n_q / 4 * 4 : 1;
        d->n_kv = positions[i / 2];
        double t = best_time(run_attention, d) / (double)d->n_tokens;
        double macs = (double)(2 * d->n_q * d->cache.k_dim * d->n_kv) / t * 1e-9;
        printf(" %8.2f %6.1f", 1e6 * t, macs);
        fflush(stdout);
        snprintf(size, sizeof size, "%zux%zux%zux%zu", d->n_tokens, d->n_q, d->cache.k_dim, d->n_kv);
        row(what, d->set->name, size, macs, "GMAC/s");
    }
    printf("\n");
}

/* Heads of a group, and their size: SmolLM2-135M, Qwen2.5-0.5B, Llama-3.2-1B, and one of 128. */
static void bench_attend(void) {
    static const size_t shapes[][2] = {{3, 64}, {7, 64}, {4, 64}, {4, 128}};
    attend_data d = {.q = malloc(BLOCK * 128 * sizeof(float)), .out = malloc(BLOCK * 128 * sizeof(float))};
    float k[128], v[128];
    rng r;
    rng_seed(&r, 4);
    for (size_t i = 0; i < BLOCK * 128; i++) d.q[i] = (float)rng_f64(&r) * 4 - 2;
    printf("\nattention: microseconds and GMAC/s per token, alone and in a block\n%-6s %-8s %-8s %15s %15s "
           "%15s %15s\n",
           "cache", "set", "heads", "512 alone", "in a block", "4096 alone", "in a block");
    for (size_t i = 0; i < CACHE_KINDS * sizeof shapes / sizeof *shapes; i++) {
        const size_t dim = shapes[i / CACHE_KINDS][1];
        d.cache = (cache_head){
            .kind = &cache_kinds[i % CACHE_KINDS], .k_dim = dim, .v_dim = dim, .pages = d.pages};
        d.n_q = shapes[i / CACHE_KINDS][0];
        const size_t bytes = cache_tile_bytes(d.cache.kind, dim, dim);
        uint8_t *memory = aligned_alloc(64, cache_tiles(LONG) * bytes);
        for (size_t t = 0; t < cache_tiles(LONG); t++) d.pages[t] = memory + t * bytes;
        for (size_t p = 0; p < LONG; p++) {
            for (size_t c = 0; c < 128; c++)
                k[c] = (float)rng_f64(&r) - 0.5f, v[c] = (float)rng_f64(&r) - 0.5f;
            cache_put(&d.cache, p, k, v);
        }
        for (size_t set = 0; set < kernel_count(); set++) {
            d.set = kernel_at(set);
            if (only_set ? strcmp(only_set, d.set->name) == 0 : d.set == kernel_find(NULL)) attend_row(&d);
        }
        free(memory);
    }
    free(d.q), free(d.out);
}

/* ---- packing ---- */

typedef struct pack_data {
    const format *f;
    const uint8_t *src;
    uint8_t *group;
} pack_data;
enum { PACK_COLS = 1536 };

static void run_pack(void *ctx, size_t i) {
    const pack_data *p = ctx;
    (void)i, memset(p->group, 0, PACK_COLS / p->f->block * p->f->bytes * FORMAT_LANES);
    for (uint32_t lane = 0; lane < FORMAT_LANES; lane++)
        p->f->pack(p->group, lane, 0, PACK_COLS / p->f->block, p->src);
}

static void bench_pack(const uint8_t *src, uint8_t *group) {
    printf("\npacking, GB/s:");
    for (size_t id = 0; id < FORMAT_COUNT; id++) {
        pack_data p = {&format_table[id], src, group};
        const size_t bytes = PACK_COLS / p.f->block * p.f->bytes * FORMAT_LANES;
        printf(" %s %.2f", p.f->name, (double)bytes / best_time(run_pack, &p) * 1e-9);
    }
    printf("\n");
}

static bool part_wanted(const char *part) {
    return only_part ? strcmp(only_part, part) == 0 : !only_format || strcmp(part, "products") == 0;
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--set") == 0)
            only_set = argv[i + 1];
        else if (strcmp(argv[i], "--format") == 0)
            only_format = argv[i + 1];
        else if (strcmp(argv[i], "--only") == 0)
            only_part = argv[i + 1];
        else if (strcmp(argv[i], "--rows") == 0)
            rows = true;
        else if (strcmp(argv[i], "--resident") == 0)
            resident = true;
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = atof(argv[i + 1]);
        else
            return printf("unknown option %s\n", argv[i]), 1;
    }
    uint8_t *weights = aligned_alloc(64, WORKING_SET + 4096);
    if (!weights) return printf("no memory for %d MB of weights\n", WORKING_SET >> 20), 1;
    memset(weights, 1, WORKING_SET + 4096);
    slice = 100 * clock_step() > slice ? 100 * clock_step() : slice;
    bench_bounds(weights);
    if (part_wanted("products")) bench_products(weights);
    if (only_part && strcmp(only_part, "rounding") == 0) bench_rounding(weights);
    if (part_wanted("ops")) bench_ops();
    if (part_wanted("attend")) bench_attend();
    if (part_wanted("pack")) bench_pack(weights, weights + (WORKING_SET >> 1));
    free(weights);
    return 0;
}
