/*
 * Matrix products for SIMD sets: a template that simd128.c and relaxed.c include after defining how four columns are
 * multiplied. It is the whole difference between the two sets.
 *
 * One lane is one row: a group's 8 rows are two vectors, and an activation step (4 columns of one token) is the same in
 * every lane. So a tile of m tokens keeps 2m integer accumulators through a unit of 32 columns, then adds them to 2m
 * float sums: sum += (integer * d_w) * d_a. What is subtracted from the codes (Q4_0: 8) is put in before the unit as
 * -offset * sum(a); minimums add min * (d_a * sum(a)). Every output thus sees the same operations in the same order
 * whatever m is.
 *
 * The includer defines:
 *   step_act, step_load_act(q)                 four columns of one token
 *   step_codes, step_split(lo, hi)             codes 0..127 of rows 0..3 and 4..7
 *   step_dot(acc, codes, k, act)               acc + codes * act for half k
 *   q8_block(steps, a, u, m, acc)              acc (m) = products of a Q8_0 block with unit u of the tile
 *   SET_NAME                                   kernel_set_<SET_NAME> is defined, with name "<SET_NAME>"
 */
#include "kernels/blocks.h"
#include "kernels/sets.h"
#include "kernels/wide_dot.h"

enum { TILE = 4, L = FORMAT_LANES }; // largest tile of tokens

/* What a tile reads of the activations: rows of tokens t .. t + m. */
typedef struct tile_act {
    const int8_t *q[TILE];
    const float *d[TILE];
    const int32_t *sum[TILE];
} tile_act;

SIMD_INLINE tile_act tile_at(const kernel_act *x, size_t t, int m) {
    tile_act a;
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        size_t row = (t + (size_t)i) * x->n_cols;
        a.q[i] = x->q + row, a.d[i] = x->d + row / 32, a.sum[i] = x->sum + row / 16;
    }
    return a;
}

SIMD_INLINE void tile_clear(pair *f, int m) {
    SIMD_UNROLL
    for (int i = 0; i < m; i++) f[i].v[0] = f[i].v[1] = wasm_i32x4_splat(0);
}

SIMD_INLINE void tile_store(const pair *f, int m, float *y, size_t ldy) {
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        wasm_v128_store(y + (size_t)i * ldy, f[i].v[0]);
        wasm_v128_store(y + (size_t)i * ldy + 4, f[i].v[1]);
    }
}

SIMD_INLINE pair f16_pair(const uint8_t *p) {
    return (pair){{simd_f16_load4((const uint16_t *)p), simd_f16_load4((const uint16_t *)p + 4)}};
}

SIMD_INLINE pair pair_mul(pair a, pair b) {
    return (pair){{wasm_f32x4_mul(a.v[0], b.v[0]), wasm_f32x4_mul(a.v[1], b.v[1])}};
}

/* ---- integer products --------------------------------------------------------------------------------------- */

/* The bits beyond the fourth of step j's codes, in place (bits 4 and 5 of each byte), of rows 4k..4k+3. */
SIMD_INLINE v128_t step_high(const uint8_t *unit, int n_high, int j, int k) {
    v128_t bits = wasm_v128_load(unit + (n_high == 2 ? j / 4 * 32 : 0) + 16 * k);
    int left = n_high == 2 ? 4 - 2 * (j % 4) : 4 - j;
    bits = left > 0 ? wasm_i16x8_shl(bits, (uint32_t)left) : left < 0 ? wasm_u16x8_shr(bits, (uint32_t)-left) : bits;
    return wasm_v128_and(bits, wasm_i8x16_splat(n_high == 2 ? 0x30 : 0x10));
}

SIMD_INLINE step_codes step_load_codes(const uint8_t *unit, int n_high, int j, v128_t mask) {
    v128_t both = wasm_v128_load(unit + 32 * n_high + 16 * j);
    v128_t lo = wasm_v128_and(both, mask), hi = wasm_v128_and(wasm_u16x8_shr(both, 4), mask);
    if (n_high) {
        lo = wasm_v128_or(lo, step_high(unit, n_high, j, 0));
        hi = wasm_v128_or(hi, step_high(unit, n_high, j, 1));
    }
    return step_split(lo, hi);
}

/* acc (m) += codes * activations over steps [from, from + n_steps) of unit u. */
SIMD_INLINE void unit_product(const uint8_t *unit, int n_high, int from, int n_steps, const tile_act *a, size_t u,
                              int m, pair *acc) {
    v128_t mask = wasm_i8x16_splat(15);
    SIMD_PIN(mask);
    SIMD_UNROLL
    for (int j = from; j < from + n_steps; j++) {
        step_codes codes = step_load_codes(unit, n_high, j, mask);
        SIMD_UNROLL
        for (int i = 0; i < m; i++) {
            step_act act = step_load_act(a->q[i] + 32 * u + 4 * j);
            acc[i].v[0] = step_dot(acc[i].v[0], codes, 0, act);
            acc[i].v[1] = step_dot(acc[i].v[1], codes, 1, act);
            SIMD_PIN(acc[i].v[0]);
            SIMD_PIN(acc[i].v[1]);
        }
    }
}

/* acc (m) = -offset * sum(a) of unit u, or of its 16-column half. */
SIMD_INLINE void acc_begin(pair *acc, int32_t offset, const tile_act *a, size_t u, int half, int m) {
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        const int32_t *sum = a->sum[i] + 2 * u;
        int32_t s = offset == 0 ? 0 : half < 0 ? sum[0] + sum[1] : sum[half];
        acc[i].v[0] = acc[i].v[1] = wasm_i32x4_splat(-offset * s);
    }
}

/* ---- float sums --------------------------------------------------------------------------------------------- */

/* f (m) += (acc * d) * d_a */
SIMD_INLINE void add_scaled(pair *f, const pair *acc, pair d, const tile_act *a, size_t u, int m) {
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        v128_t da = wasm_v128_load32_splat(a->d[i] + u);
        SIMD_UNROLL
        for (int k = 0; k < 2; k++) {
            v128_t product = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(acc[i].v[k]), d.v[k]);
            f[i].v[k] = wasm_f32x4_add(f[i].v[k], wasm_f32x4_mul(product, da));
        }
    }
}

/* f (m) += min * (d_a * sum(a)) */
SIMD_INLINE void add_min(pair *f, pair min, const tile_act *a, size_t u, int m) {
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        const int32_t *sum = a->sum[i] + 2 * u;
        v128_t s = wasm_f32x4_splat(a->d[i][u] * (float)(sum[0] + sum[1]));
        f[i].v[0] = wasm_f32x4_add(f[i].v[0], wasm_f32x4_mul(min.v[0], s));
        f[i].v[1] = wasm_f32x4_add(f[i].v[1], wasm_f32x4_mul(min.v[1], s));
    }
}

/* ---- one group of rows, m tokens ---------------------------------------------------------------------------- */

/* Q4_0, Q4_1, Q5_0, Q5_1 */
SIMD_INLINE void tile_simple(const block_layout l, const uint8_t *block, size_t n_cols, const tile_act *a, int m,
                             pair *f) {
    for (size_t b = 0; b < n_cols / 32; b++, block += l.bytes * L) {
        pair acc[TILE];
        acc_begin(acc, l.offset, a, b, -1, m);
        unit_product(block + 2 * L * l.n_half, l.n_high, 0, 8, a, b, m, acc);
        add_scaled(f, acc, f16_pair(block), a, b, m);
        if (l.n_half == 2) add_min(f, f16_pair(block + 2 * L), a, b, m);
    }
}

/* u16 (8) to floats */
SIMD_INLINE pair u16_pair(v128_t x) {
    return (pair){{wasm_f32x4_convert_i32x4(wasm_u32x4_extend_low_u16x8(x)),
                   wasm_f32x4_convert_i32x4(wasm_u32x4_extend_high_u16x8(x))}};
}

/* The 6-bit scale and min of sub-block s for 8 rows, as block_scale_min. */
SIMD_INLINE void scale_min_pair(const uint8_t *scales, size_t s, pair *scale, pair *min) {
    v128_t six = wasm_i16x8_splat(63), four = wasm_i16x8_splat(15);
    v128_t now = wasm_u16x8_load8x8(scales + L * s), next = wasm_u16x8_load8x8(scales + L * (s + 4));
    v128_t sc = wasm_v128_and(now, six), mn = wasm_v128_and(next, six);
    if (s >= 4) {
        v128_t past = wasm_u16x8_load8x8(scales + L * (s - 4));
        sc = wasm_v128_or(wasm_v128_and(next, four), wasm_i16x8_shl(wasm_u16x8_shr(past, 6), 4));
        mn = wasm_v128_or(wasm_u16x8_shr(next, 4), wasm_i16x8_shl(wasm_u16x8_shr(now, 6), 4));
    }
    *scale = u16_pair(sc), *min = u16_pair(mn);
}

/* Q4_K, Q5_K */
SIMD_INLINE void tile_min_k(const block_layout l, const uint8_t *block, size_t n_cols, const tile_act *a, int m,
                            pair *f) {
    const size_t unit_bytes = 128 + 32 * (size_t)l.n_high;
    for (size_t b = 0; b < n_cols / FORMAT_MAX_BLOCK; b++, block += l.bytes * L) {
        const uint8_t *scales = block + 4 * L, *unit = scales + l.n_scale * L;
        pair d = f16_pair(block), dmin = f16_pair(block + 2 * L), scale, min, acc[TILE];
        dmin.v[0] = wasm_f32x4_neg(dmin.v[0]), dmin.v[1] = wasm_f32x4_neg(dmin.v[1]);
        for (size_t s = 0; s < 8; s++, unit += unit_bytes) {
            scale_min_pair(scales, s, &scale, &min);
            acc_begin(acc, 0, a, 8 * b + s, -1, m);
            unit_product(unit, l.n_high, 0, 8, a, 8 * b + s, m, acc);
            add_scaled(f, acc, pair_mul(d, scale), a, 8 * b + s, m);
            add_min(f, pair_mul(dmin, min), a, 8 * b + s, m);
        }
    }
}

/* int8 (8) to floats */
SIMD_INLINE pair i8_pair(const uint8_t *p) {
    v128_t x = wasm_i16x8_load8x8(p);
    return (pair){{wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(x)),
                   wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(x))}};
}

/* Q6_K: scales are of 16 columns, half a unit. */
SIMD_INLINE void tile_q6_k(const block_layout l, const uint8_t *block, size_t n_cols, const tile_act *a, int m,
                           pair *f) {
    const size_t unit_bytes = 128 + 32 * (size_t)l.n_high;
    for (size_t b = 0; b < n_cols / FORMAT_MAX_BLOCK; b++, block += l.bytes * L) {
        const uint8_t *scales = block + 2 * L, *unit = scales + l.n_scale * L;
        pair d = f16_pair(block), acc[TILE];
        for (size_t u = 0; u < 8; u++, unit += unit_bytes, scales += 2 * L) {
            SIMD_UNROLL
            for (int half = 0; half < 2; half++) {
                acc_begin(acc, l.offset, a, 8 * b + u, half, m);
                unit_product(unit, l.n_high, 4 * half, 4, a, 8 * b + u, m, acc);
                add_scaled(f, acc, pair_mul(d, i8_pair(scales + L * half)), a, 8 * b + u, m);
            }
        }
    }
}

SIMD_INLINE void tile_q8_0(const uint8_t *block, size_t n_cols, const tile_act *a, int m, pair *f) {
    for (size_t b = 0; b < n_cols / 32; b++, block += 34 * L) {
        pair acc[TILE];
        q8_block(block + 2 * L, a, b, m, acc);
        add_scaled(f, acc, f16_pair(block), a, b, m);
    }
}

/* Column c of 8 rows as floats. */
SIMD_INLINE pair float_column(format_id id, const uint8_t *group, size_t c) {
    if (id == FORMAT_F32) return (pair){{wasm_v128_load(group + 32 * c), wasm_v128_load(group + 32 * c + 16)}};
    v128_t lo = wasm_i32x4_load16x4(group + 16 * c), hi = wasm_i32x4_load16x4(group + 16 * c + 8);
    if (id == FORMAT_BF16) return (pair){{wasm_i32x4_shl(lo, 16), wasm_i32x4_shl(hi, 16)}};
    return (pair){{simd_f16_extended(lo), simd_f16_extended(hi)}};
}

/* sum (m) += column c * x */
SIMD_INLINE void float_step(format_id id, const uint8_t *group, size_t c, const float *const *x, int m, pair *sum) {
    pair w = float_column(id, group, c);
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        v128_t s = wasm_v128_load32_splat(x[i] + c);
        sum[i].v[0] = wasm_f32x4_add(sum[i].v[0], wasm_f32x4_mul(w.v[0], s));
        sum[i].v[1] = wasm_f32x4_add(sum[i].v[1], wasm_f32x4_mul(w.v[1], s));
    }
}

/* F32, F16, BF16: even and odd columns apart, so that additions need not wait for each other. */
SIMD_INLINE void tile_float(format_id id, const uint8_t *group, const kernel_act *act, size_t t, int m, pair *f) {
    const float *x[TILE];
    pair odd[TILE];
    SIMD_UNROLL
    for (int i = 0; i < m; i++) x[i] = act->x + (t + (size_t)i) * act->n_cols;
    tile_clear(odd, m);
    size_t c = 0;
    for (; c + 2 <= act->n_cols; c += 2) {
        float_step(id, group, c, x, m, f);
        float_step(id, group, c + 1, x, m, odd);
    }
    if (c < act->n_cols) float_step(id, group, c, x, m, f);
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        f[i].v[0] = wasm_f32x4_add(f[i].v[0], odd[i].v[0]);
        f[i].v[1] = wasm_f32x4_add(f[i].v[1], odd[i].v[1]);
    }
}

/* ---- the functions of the set ------------------------------------------------------------------------------- */

/* One group's products with tokens t .. t + m; y is at the group's first row and token t. */
SIMD_INLINE void tile_product(format_id id, const block_layout l, const uint8_t *group, const kernel_act *x,
                              size_t t, int m, float *y, size_t ldy) {
    pair f[TILE];
    tile_clear(f, m);
    if (id <= FORMAT_BF16) {
        tile_float(id, group, x, t, m, f);
    } else {
        tile_act a = tile_at(x, t, m);
        if (id == FORMAT_Q8_0) tile_q8_0(group, x->n_cols, &a, m, f);
        else if (id == FORMAT_Q6_K) tile_q6_k(l, group, x->n_cols, &a, m, f);
        else if (l.n_scale) tile_min_k(l, group, x->n_cols, &a, m, f);
        else tile_simple(l, group, x->n_cols, &a, m, f);
    }
    tile_store(f, m, y, ldy);
}

/* Tiles are functions of their own: smaller ones get better registers from a browser's compiler. */
#define TILE_FUNCTION(name, layout, m)                                                                      \
    static __attribute__((noinline)) void tile_##name##_##m(const uint8_t *group, const kernel_act *x, size_t t, \
                                                            float *y, size_t ldy) {                         \
        tile_product(FORMAT_##name, layout, group, x, t, m, y, ldy);                                        \
    }

#define MUL_MAT_FUNCTION(name, layout)                                                                      \
    TILE_FUNCTION(name, layout, 1)                                                                          \
    TILE_FUNCTION(name, layout, 2)                                                                          \
    TILE_FUNCTION(name, layout, 4)                                                                          \
    static void mul_mat_##name(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x, float *y, \
                               size_t ldy) {                                                                \
        const size_t n = x->n_tokens;                                                                       \
        for (size_t g = g_begin; g < g_end; g++) {                                                          \
            const uint8_t *group = w->data + g * matrix_group_bytes(w);                                     \
            float *out = y + L * g;                                                                         \
            size_t t = 0;                                                                                   \
            for (; t + 4 <= n; t += 4) tile_##name##_4(group, x, t, out + t * ldy, ldy);                    \
            if (t + 2 <= n) tile_##name##_2(group, x, t, out + t * ldy, ldy), t += 2;                       \
            if (t < n) tile_##name##_1(group, x, t, out + t * ldy, ldy);                                    \
        }                                                                                                   \
    }

static const block_layout no_layout = {0};
#define NUT_X(name, ...) MUL_MAT_FUNCTION(name, block_##name)
BLOCK_LAYOUTS(NUT_X)
#undef NUT_X
MUL_MAT_FUNCTION(F32, no_layout)
MUL_MAT_FUNCTION(F16, no_layout)
MUL_MAT_FUNCTION(BF16, no_layout)
MUL_MAT_FUNCTION(Q8_0, no_layout)

#define SET_JOIN_(a, b) a##b
#define SET_JOIN(a, b)  SET_JOIN_(a, b)
#define SET_TEXT_(a)    #a
#define SET_TEXT(a)     SET_TEXT_(a)

const kernel_set SET_JOIN(kernel_set_, SET_NAME) = {
    .name = SET_TEXT(SET_NAME),
    .mul_mat = {
#define NUT_X(name) [FORMAT_##name] = mul_mat_##name,
        FORMAT_LIST(NUT_X)
#undef NUT_X
    },
#define NUT_X(name, params) .name = simd_##name,
    KERNEL_OPS(NUT_X)
#undef NUT_X
};
