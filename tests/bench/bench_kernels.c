/*
 * Speed of the kernels: every set, every format, one token (streaming the weights), a small and a large
 * batch, beside the machine's read bandwidth measured in the same run. Prints tables; --csv FILE appends
 * rows.
 *
 *     bench_kernels [--set NAME] [--format NAME] [--only products|ops|attend|pack] [--seconds S]
 *                   [--csv FILE]
 *
 * Weights are several copies of a matrix, together larger than the last cache, used in turn as layers are.
 * Each figure is the best slice of 0.3 ms within S seconds (0.3): short, so that some fall between other
 * programs' turns.
 */
#include "kernels/kernels.h"
#include "base/half.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOKENS_MAX = 64, WORKING_SET = 96 << 20 };

static double seconds = 0.3;
static const char *only_set, *only_format, *only_part, *csv_path;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds per call of run(ctx, i), i counting up. */
static double best_time(void (*run)(void *ctx, size_t i), void *ctx) {
    const double slice = 3e-4, end = now() + seconds;
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

static void csv(const char *what, const char *set, const char *size, double value, const char *unit) {
    FILE *f = csv_path ? fopen(csv_path, "a") : NULL;
    if (!f) return;
    fprintf(f, "%lld,%s,%s,%s,%.2f,%s\n", (long long)time(NULL), what, set, size, value, unit);
    fclose(f);
}

/* ---- read bandwidth ---- */

static volatile uint64_t sink;

static void read_all(void *ctx, size_t i) {
    const uint64_t *p = ctx;
    uint64_t s[8] = {i};
    for (size_t k = 0; k < WORKING_SET / 8; k += 8)
        for (size_t j = 0; j < 8; j++) s[j] += p[k + j];
    sink = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

/* ---- products ---- */

typedef struct product {
    const kernel_set *set;
    matrix w; // the first copy
    size_t n_copies;
    kernel_act act;
    float *y;
} product;

static void run_product(void *ctx, size_t i) {
    const product *p = ctx;
    matrix w = p->w;
    const size_t groups = matrix_groups(&w);
    w.data += i % p->n_copies * groups * matrix_group_bytes(&w);
    p->set->mul_mat[w.format->id](&w, 0, groups, &p->act, p->y, groups * FORMAT_LANES);
}

/* Fills the working set with one random group, repeated: scales are ordinary numbers. */
static void fill_weights(matrix *w, size_t n_bytes, rng *r) {
    const format *f = w->format;
    const size_t group_bytes = matrix_group_bytes(w);
    uint8_t block[FORMAT_MAX_BYTES];
    memset(w->data, 0, group_bytes);
    for (uint32_t lane = 0; lane < FORMAT_LANES; lane++)
        for (size_t b = 0; b < w->n_cols / f->block; b++) {
            uint16_t scale = half_f32_to_f16((float)rng_f64(r) * 0.01f + 0.001f);
            for (size_t i = 0; i < f->bytes; i++) block[i] = (uint8_t)(rng_u64(r) % 255 + 129);
            if (f->act == FORMAT_ACT_F32) {
                float x = (float)rng_f64(r) - 0.5f;
                f->quantize(&x, 1, block);
            } else {
                memcpy(block + (f->id == FORMAT_Q6_K ? 208 : 0), &scale, 2);
                if (f->id != FORMAT_Q8_0 && f->id != FORMAT_Q6_K) memcpy(block + 2, &scale, 2);
            }
            f->pack(w->data, lane, b, 1, block);
        }
    for (size_t at = group_bytes; at + group_bytes <= n_bytes; at += group_bytes)
        memcpy(w->data + at, w->data, group_bytes);
}

static void bench_product(const format *f, size_t n_rows, size_t n_cols, uint8_t *weights,
                          const kernel_act *act, float *y) {
    product p = {.w = {f, n_rows, n_cols, weights}, .act = *act, .y = y};
    const size_t bytes = matrix_groups(&p.w) * matrix_group_bytes(&p.w);
    rng r;
    rng_seed(&r, 1);
    if (n_cols % f->block) return;
    fill_weights(&p.w, WORKING_SET, &r);
    p.n_copies = WORKING_SET / bytes;
    p.act.n_cols = n_cols;
    for (size_t i = 0; i < kernel_count(); i++) {
        static const size_t tokens[] = {1, 4, TOKENS_MAX};
        p.set = kernel_at(i);
        if (only_set ? strcmp(only_set, p.set->name) != 0 : p.set == kernel_find("ref")) continue;
        printf("%-5s %-8s %5zu x %-5zu", f->name, p.set->name, n_rows, n_cols);
        for (size_t k = 0; k < 3; k++) {
            char size[64];
            p.act.n_tokens = tokens[k];
            double t = best_time(run_product, &p), macs = (double)(n_rows * n_cols * tokens[k]) / t * 1e-9;
            if (k == 0) printf(" %7.1f", (double)bytes / t * 1e-9);
            printf(" %7.1f", macs);
            fflush(stdout);
            snprintf(size, sizeof size, "%zux%zux%zu", n_rows, n_cols, tokens[k]);
            csv(f->name, p.set->name, size, macs, "GMAC/s");
        }
        printf("\n");
    }
}

static void bench_products(uint8_t *weights) {
    static const size_t shapes[][2] = {{1536, 576}, {576, 1536}, {4864, 896}, {896, 4864}, {2048, 2048}};
    const size_t n = TOKENS_MAX * 4864;
    float *x = malloc(n * sizeof(float)), *y = malloc(n * sizeof(float)),
          *d = malloc(n / 32 * sizeof(float));
    int8_t *q = aligned_alloc(64, n);
    int32_t *sum = malloc(n / 16 * sizeof(int32_t));
    rng r;
    rng_seed(&r, 2);
    for (size_t i = 0; i < n; i++) x[i] = (float)rng_f64(&r) - 0.5f;
    kernel_find("ref")->quantize_q8(x, n, q, d, sum);
    const kernel_act act = {0, 0, x, q, d, sum};
    printf("\n%-14s %13s %7s %7s %7s %7s\n", "product", "rows x cols", "GB/s 1", "GMAC 1", "GMAC 4",
           "GMAC 64");
    for (size_t id = 0; id < FORMAT_COUNT; id++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            if (!only_format || format_by_name(only_format) == &format_table[id])
                bench_product(&format_table[id], shapes[s][0], shapes[s][1], weights, &act, y);
    free(x), free(y), free(d), free(q), free(sum);
}

/* ---- operations ---- */

enum { OP_N = 1536, HEAD_DIM = 64, HEADS = 3 };

typedef struct op_data {
    const kernel_set *set;
    float x[OP_N], y[OP_N], z[OP_N], d[OP_N / 32];
    int32_t sum[OP_N / 16];
    _Alignas(16) int8_t q[OP_N];
    _Alignas(16) uint8_t tiles[CACHE_SPAN * HEAD_DIM * 5]; // of a span of either kind
    float parts[HEADS * (HEAD_DIM + 2)];
} op_data;

static void run_quantize_q8(void *ctx, size_t i) {
    op_data *o = ctx;
    (void)i, o->set->quantize_q8(o->x, OP_N, o->q, o->d, o->sum);
}
static void run_rms_norm(void *ctx, size_t i) {
    op_data *o = ctx;
    (void)i, o->set->rms_norm(o->x, o->y, OP_N, 1e-5f, o->z);
}
static void run_silu_mul(void *ctx, size_t i) {
    op_data *o = ctx;
    memcpy(o->z, o->x, sizeof o->z);
    (void)i, o->set->silu_mul(o->z, o->y, OP_N);
}
static void run_add(void *ctx, size_t i) {
    op_data *o = ctx;
    (void)i, o->set->add(o->z, o->y, OP_N);
}
static kernel_rope op_rope(const op_data *o) {
    return (kernel_rope){o->x, o->y, HEAD_DIM / 2, false};
}
static cache_head op_cache(op_data *o) {
    return (cache_head){&cache_kinds[NUT_KV_F16], HEAD_DIM, o->tiles};
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
static void run_attend(void *ctx, size_t i) {
    op_data *o = ctx;
    const cache_head c = op_cache(o);
    const kernel_attend a = {&c, o->x, o->z, 1, HEADS, HEADS * HEAD_DIM, CACHE_SPAN, 0.125f};
    (void)i, o->set->attend(&a);
}
static void run_attend_span(void *ctx, size_t i) {
    op_data *o = ctx;
    const cache_head c = op_cache(o);
    const kernel_attend a = {&c, o->x, o->z, 1, HEADS, HEADS * HEAD_DIM, CACHE_SPAN, 0.125f};
    (void)i, o->set->attend_span(&a, 0, o->parts);
}
static void run_attend_join(void *ctx, size_t i) {
    op_data *o = ctx;
    (void)i, o->set->attend_join(o->parts, HEADS, HEAD_DIM + 2, HEAD_DIM, o->z);
}

static void bench_ops(void) {
    op_data *o = aligned_alloc(64, (sizeof *o + 63) / 64 * 64);
    rng r;
    rng_seed(&r, 3);
    for (size_t i = 0; i < OP_N; i++) o->x[i] = (float)rng_f64(&r) - 0.5f, o->y[i] = (float)rng_f64(&r);
    const cache_head c = op_cache(o);
    for (size_t p = 0; p < CACHE_SPAN; p++) cache_put(&c, p, o->x + p, o->y + p);
    printf("\nmicroseconds per call: %d elements; attention: %d heads of %d, %d positions\n%-9s", OP_N,
           HEADS, HEAD_DIM, CACHE_SPAN, "set");
#define NUT_X(op, params) printf(" %11s", #op);
    KERNEL_OPS(NUT_X)
#undef NUT_X
    for (size_t i = 0; i < kernel_count(); i++) {
        o->set = kernel_at(i);
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
    size_t n_q, n_kv, n_tokens;
    float *q, *out;
} attend_data;

static void run_attention(void *ctx, size_t i) {
    const attend_data *d = ctx;
    const kernel_attend a = {
        &d->cache, d->q, d->out, d->n_tokens, d->n_q, d->n_q * d->cache.head_dim, d->n_kv - d->n_tokens + 1,
        0.125f};
    (void)i, d->set->attend(&a);
}

static void attend_row(attend_data *d) {
    static const size_t positions[] = {512, LONG};
    char what[32], size[64];
    printf("%-6s %-8s %2zu x %-3zu", d->cache.kind->name, d->set->name, d->n_q, d->cache.head_dim);
    snprintf(what, sizeof what, "attend %s", d->cache.kind->name);
    for (size_t i = 0; i < 4; i++) {
        d->n_tokens = i % 2 ? BLOCK / d->n_q / 4 * 4 : 1;
        d->n_kv = positions[i / 2];
        double t = best_time(run_attention, d) / (double)d->n_tokens;
        double macs = (double)(2 * d->n_q * d->cache.head_dim * d->n_kv) / t * 1e-9;
        printf(" %8.2f %6.1f", 1e6 * t, macs);
        fflush(stdout);
        snprintf(size, sizeof size, "%zux%zux%zux%zu", d->n_tokens, d->n_q, d->cache.head_dim, d->n_kv);
        csv(what, d->set->name, size, macs, "GMAC/s");
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
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        d.cache = (cache_head){&cache_kinds[i % 2], shapes[i / 2][1], NULL};
        d.n_q = shapes[i / 2][0];
        d.cache.tiles =
            aligned_alloc(64, cache_tiles(LONG) * cache_tile_bytes(d.cache.kind, d.cache.head_dim));
        for (size_t p = 0; p < LONG; p++) {
            for (size_t c = 0; c < 128; c++)
                k[c] = (float)rng_f64(&r) - 0.5f, v[c] = (float)rng_f64(&r) - 0.5f;
            cache_put(&d.cache, p, k, v);
        }
        for (size_t set = 0; set < kernel_count(); set++) {
            d.set = kernel_at(set);
            if (only_set ? strcmp(only_set, d.set->name) == 0 : d.set == kernel_find(NULL)) attend_row(&d);
        }
        free(d.cache.tiles);
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
        else if (strcmp(argv[i], "--csv") == 0)
            csv_path = argv[i + 1];
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = atof(argv[i + 1]);
        else
            return printf("unknown option %s\n", argv[i]), 1;
    }
    uint8_t *weights = aligned_alloc(64, WORKING_SET + 4096);
    if (!weights) return printf("no memory for %d MB of weights\n", WORKING_SET >> 20), 1;
    memset(weights, 1, WORKING_SET + 4096);
    const kernel_set *best = kernel_find(NULL);
    double bandwidth = (double)WORKING_SET / best_time(read_all, weights) * 1e-9;
    printf("read bandwidth %.1f GB/s; set in use: %s\n", bandwidth, best->name);
    csv("read", "-", "-", bandwidth, "GB/s");
    if (part_wanted("products")) bench_products(weights);
    if (part_wanted("ops")) bench_ops();
    if (part_wanted("attend")) bench_attend();
    if (part_wanted("pack")) bench_pack(weights, weights + (WORKING_SET >> 1));
    free(weights);
    return 0;
}
