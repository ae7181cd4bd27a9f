/*
 * The reference kernels: plain C, always linked, the oracle of the tests. They say what an operation means;
 * speed matters only so far that a small model can be evaluated with them. Sums are kept in double
 * precision.
 */
#include "kernels/sets.h"
#include "kernels/activations.h"
#include "kernels/exp.h"

#include <math.h>
#include <string.h>

enum { L = FORMAT_LANES };

/* ---- products ---- */

enum { TILE_TOKENS = 8, TILE_COLS = 32 };

/* Columns [c, c + n) of the rows of w's group g as floats, tile (n, 8); n <= FORMAT_MAX_BLOCK, whole blocks.
 */
static void group_tile(const matrix *w, size_t g, size_t c, size_t n, float *tile) {
    const layout *l = w->format->layout;
    const uint8_t *group = w->data + g * matrix_group_bytes(w);
    if (l->id == LAYOUT_F32) {
        memcpy(tile, group + 4 * L * c, 4 * L * n);
        return;
    }
    float row[FORMAT_MAX_BLOCK];
    for (uint32_t lane = 0; lane < L; lane++) {
        l->floats(group, w->table, lane, c / l->block, n / l->block, row);
        for (size_t i = 0; i < n; i++) tile[L * i + lane] = row[i];
    }
}

/* Columns [c, c + n) of token t as the product sees them. */
static void act_tile(const kernel_act *x, format_act kind, size_t t, size_t c, size_t n, float *out) {
    if (kind == FORMAT_ACT_F32) {
        memcpy(out, x->x + t * x->n_cols + c, n * sizeof(float));
        return;
    }
    const size_t tile = t / x->lanes, lane = t % x->lanes;
    for (size_t i = 0; i < n; i++) {
        const size_t step = tile * x->n_cols / 4 + (c + i) / 4, at = tile * x->n_cols / 32 + (c + i) / 32;
        int8_t q;
        memcpy(&q, x->q + (step * x->lanes + lane) * 4 + (c + i) % 4, 1);
        out[i] = x->d[at * x->lanes + lane] * KERNEL_SCALE_DOWN * (float)q;
    }
}

/* sum (8) += tile (n, 8) * x (n); floats within 32 columns, doubles across. */
static void tile_product(const float *tile, const float *x, size_t n, double *sum) {
    for (size_t c = 0; c < n; c += TILE_COLS) {
        float part[L] = {0};
        size_t end = c + TILE_COLS < n ? c + TILE_COLS : n;
        for (size_t i = c; i < end; i++)
            for (size_t r = 0; r < L; r++) part[r] += tile[L * i + r] * x[i];
        for (size_t r = 0; r < L; r++) sum[r] += (double)part[r];
    }
}

/* One group, tokens [t, t + n_tokens), n_tokens <= TILE_TOKENS. */
static void group_product(const matrix *w, size_t g, const kernel_act *x, size_t t, size_t n_tokens,
                          float *y, size_t ldy) {
    const layout *l = w->format->layout;
    const size_t step = l->block == 1 ? TILE_COLS : l->block;
    double sum[TILE_TOKENS][L] = {{0}};
    float tile[FORMAT_MAX_BLOCK * L], part[FORMAT_MAX_BLOCK];
    for (size_t c = 0; c < w->n_cols; c += step) {
        size_t n = w->n_cols - c < step ? w->n_cols - c : step;
        group_tile(w, g, c, n, tile);
        for (size_t i = 0; i < n_tokens; i++) {
            act_tile(x, l->act, t + i, c, n, part);
            tile_product(tile, part, n, sum[i]);
        }
    }
    for (size_t i = 0; i < n_tokens; i++)
        for (size_t r = 0; r < L; r++) y[(t + i) * ldy + L * g + r] = (float)sum[i][r];
}

static void ref_mul_mat(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x, float *y,
                        size_t ldy) {
    for (size_t g = g_begin; g < g_end; g++)
        for (size_t t = 0; t < x->n_tokens; t += TILE_TOKENS) {
            size_t n = x->n_tokens - t < TILE_TOKENS ? x->n_tokens - t : TILE_TOKENS;
            group_product(w, g, x, t, n, y, ldy);
        }
}

/* ---- vectors ---- */

/* 32 values to codes; returns their scale. */
static float quantize_block(const float *x, int8_t *q) {
    float amax = 0;
    for (int i = 0; i < KERNEL_Q8_BLOCK; i++) amax = fabsf(x[i]) > amax || x[i] != x[i] ? fabsf(x[i]) : amax;
    bool zero = amax < KERNEL_Q8_LOWEST;
    float scale = zero ? 0 : amax / 127.0f, inverse = zero ? 0 : 1.0f / scale;
    for (int i = 0; i < KERNEL_Q8_BLOCK; i++) {
        float v = x[i] * inverse;
        q[i] = (int8_t)(fabsf(v) <= 127.5f ? (int)(v + (v < 0 ? -0.5f : 0.5f)) : 0); // 0: not a number
    }
    return scale;
}

/* The set's act_bytes is 1: codes stand as they are, four columns together. */
static void ref_quantize_q8(const float *x, size_t col, size_t n, size_t token, const kernel_act *to,
                            float *rest) {
    const size_t lanes = to->lanes, lane = token % lanes;
    size_t block = (token / lanes * to->n_cols + col) / KERNEL_Q8_BLOCK;
    for (size_t b = 0; b < n / KERNEL_Q8_BLOCK; b++, block++, x += KERNEL_Q8_BLOCK) {
        int8_t q[KERNEL_Q8_BLOCK];
        int32_t sum[KERNEL_SUMS] = {0};
        const float scale = quantize_block(x, q), d = scale * KERNEL_SCALE_UP;
        for (size_t i = 0; i < KERNEL_Q8_BLOCK; i++) {
            memcpy(to->q + ((8 * block + i / 4) * lanes + lane) * 4 + i % 4, &q[i], 1);
            sum[KERNEL_SUM_ALL] += q[i];
            if (i >= 16) sum[KERNEL_SUM_HALF] += q[i];
            if (q[i] < 0) sum[KERNEL_SUM_NEGATIVE] -= q[i];
            if (rest) *rest++ = x[i] - scale * (float)q[i];
        }
        to->d[block * lanes + lane] = d;
        to->d_sum[block * lanes + lane] = d * (float)sum[KERNEL_SUM_ALL];
        for (size_t k = 0; k < KERNEL_SUMS; k++) to->sum[(block * KERNEL_SUMS + k) * lanes + lane] = sum[k];
    }
}

static void ref_rms_norm(const float *x, const float *w, size_t n, float eps, float *y) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    float scale = (float)(1.0 / sqrt(sum / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++) y[i] = w ? x[i] * scale * w[i] : x[i] * scale;
}

static void ref_layer_norm(const float *x, const float *w, const float *b, size_t n, float eps, float *y) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double scale = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(((double)x[i] - mean) * scale * (w ? (double)w[i] : 1) + (b ? (double)b[i] : 0));
}

static void ref_activate(kernel_activation a, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = act_scalar(a, x[i]);
}

static void ref_activate_mul(kernel_activation a, float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) gate[i] = act_scalar(a, gate[i]) * up[i];
}

static void ref_scale(float *x, float by, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] *= by;
}

static void ref_softcap(float *x, float cap, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = act_softcap(x[i], cap);
}

static void ref_add(float *x, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

/* ---- attention ---- */

#define LOG2E 1.4426950408889634

static void ref_rope(float *heads, size_t n_heads, size_t head_dim, const kernel_rope *r) {
    const size_t step = r->adjacent ? 2 : 1, apart = r->adjacent ? 1 : r->n_pairs;
    for (size_t h = 0; h < n_heads; h++)
        for (size_t i = 0; i < r->n_pairs; i++) {
            float *a = heads + h * head_dim + i * step, *b = a + apart, x = *a, y = *b;
            *a = x * r->cosine[i] - y * r->sine[i];
            *b = x * r->sine[i] + y * r->cosine[i];
        }
}

static void ref_store(const cache_head *c, size_t pos, const kernel_rope *r, const float *k,
                      const float *v) {
    float rotated[CACHE_MAX_DIM];
    memcpy(rotated, k, c->k_dim * sizeof *k);
    ref_rope(rotated, 1, c->k_dim, r);
    cache_put(c, pos, rotated, v);
}

/* Sums that are multiples of 2^highest. */
typedef struct attended {
    double sums[CACHE_MAX_DIM], total;
    float highest;
} attended;

static void attended_begin(attended *to) {
    memset(to, 0, sizeof *to);
    to->highest = -INFINITY;
}

/* Adds sums (dim) that are multiples of 2^highest and weights that sum to total. */
static void attended_add(attended *to, size_t dim, const double *sums, float highest, double total) {
    if (total == 0) return; // nothing of the span was seen
    const float now = highest > to->highest ? highest : to->highest;
    const double before = exp2((double)(to->highest - now)), after = exp2((double)(highest - now));
    for (size_t i = 0; i < dim; i++) to->sums[i] = to->sums[i] * before + sums[i] * after;
    to->total = to->total * before + total * after;
    to->highest = now;
}

static void attended_end(const attended *from, size_t dim, float *out) {
    for (size_t i = 0; i < dim; i++) out[i] = (float)(from->sums[i] / from->total);
}

static double score_of(const kernel_attend *a, double dot) {
    const double score = dot * (double)a->scale, cap = (double)a->softcap;
    return cap > 0 ? cap * tanh(score / cap) : score;
}

/* The positions of the span that begins at `first`, one by one, for the query q of head h of a token whose
 * own position is n_kv - 1 - n_behind: a partial result. */
static void attend_positions(const kernel_attend *a, size_t h, const float *q, size_t n_kv, size_t first,
                             float *partial) {
    const size_t k_dim = a->cache->k_dim, v_dim = a->cache->v_dim, seen = kernel_first_seen(n_kv, a->window);
    const size_t end = n_kv < first + CACHE_SPAN ? n_kv : first + CACHE_SPAN;
    double value[CACHE_MAX_DIM];
    float stored[CACHE_MAX_DIM];
    attended all;
    attended_begin(&all);
    for (size_t p = first > seen ? first : seen; p < end; p++) {
        double dot = 0;
        cache_head cache = *a->cache;
        if (!kernel_sees_recent(a, p)) cache.recent = NULL;
        cache_key(&cache, p, stored);
        for (size_t i = 0; i < k_dim; i++) dot += (double)q[i] * (double)stored[i];
        cache_value(&cache, p, stored);
        for (size_t i = 0; i < v_dim; i++) value[i] = (double)stored[i];
        const double away = fabs((double)(n_kv - 1 - a->n_behind) - (double)p);
        const double lowered = a->slopes ? (double)a->slopes[h] * away : 0;
        attended_add(&all, v_dim, value, (float)((score_of(a, dot) - lowered) * LOG2E), 1);
    }
    for (size_t i = 0; i < v_dim; i++) partial[i] = (float)all.sums[i];
    partial[v_dim] = all.highest, partial[v_dim + 1] = (float)all.total;
}

static void ref_attend_span(const kernel_attend *a, size_t first, float *partials) {
    const size_t size = kernel_partial_size(a->cache->v_dim);
    for (size_t h = 0; h < a->n_q; h++)
        attend_positions(a, h, a->q + h * a->cache->k_dim, a->n_kv, first, partials + h * size);
}

static void partial_add(attended *to, size_t dim, const float *partial) {
    double sums[CACHE_MAX_DIM];
    for (size_t i = 0; i < dim; i++) sums[i] = (double)partial[i];
    attended_add(to, dim, sums, partial[dim], (double)partial[dim + 1]);
}

/* Begins with the weight of a sink, where there is one. */
static void attended_begin_with(attended *to, const float *sink) {
    attended_begin(to);
    if (sink) to->highest = (float)((double)*sink * LOG2E), to->total = 1;
}

static void ref_attend_join(const cache_head *c, const float *partials, size_t n, size_t stride,
                            const float *sink, float *out) {
    attended all;
    attended_begin_with(&all, sink);
    for (size_t i = 0; i < n; i++) partial_add(&all, c->v_dim, partials + i * stride);
    attended_end(&all, c->v_dim, out);
}

static void ref_attend(const kernel_attend *a) {
    const size_t k_dim = a->cache->k_dim, v_dim = a->cache->v_dim;
    float partial[CACHE_MAX_DIM + 2];
    attended all;
    for (size_t r = 0; r < a->n_tokens * a->n_q; r++) {
        const size_t token = r / a->n_q, h = r % a->n_q, n_kv = a->n_kv + token;
        const float *q = a->q + token * a->q_stride + h * k_dim;
        attended_begin_with(&all, a->sinks ? a->sinks + h : NULL);
        size_t first = kernel_first_seen(n_kv, a->window) / CACHE_SPAN * CACHE_SPAN;
        for (; first < n_kv; first += CACHE_SPAN) {
            attend_positions(a, h, q, n_kv, first, partial);
            partial_add(&all, v_dim, partial);
        }
        attended_end(&all, v_dim, a->out + token * a->out_stride + h * v_dim);
    }
}

/* ---- the set ---- */

// clang-format off
const kernel_set kernel_set_ref = {
    .name = "ref",
    .act_bytes = 1,
    .mul_mat = {
#define NUT_X(name, ...) ref_mul_mat,
        LAYOUT_LIST(NUT_X)
#undef NUT_X
    },
#define NUT_X(name, params) .name = ref_##name,
    KERNEL_OPS(NUT_X)
#undef NUT_X
};
// clang-format on

const kernel_set *const kernel_linked_ref = &kernel_set_ref;
