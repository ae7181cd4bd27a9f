/*
 * Several tokens: groups are unpacked into panels of 256 columns, which stay in the first cache, and each
 * panel is multiplied with tiles of four tokens whose activations lie interleaved. Unpacking, scales and
 * what concerns a tile alone are thus paid once for many products. Float sums pass from panel to panel
 * through y, and take each unit by the same operations as in mul_vec.h, so that a token's results have the
 * same bits there and here. Part of mul_mat.h, which names what the including set defines.
 */

enum {
    PANEL_UNITS = 8, // units of 32 columns in a panel
    PANEL_STEPS = 8 * PANEL_UNITS,
    PANELS = 8, // groups that take turns with a tile; half as many where their codes have two parts
    TILE = 4,   // tokens of a tile
};

/* A group's columns, unpacked; a view into panels. */
typedef struct panel {
    uint8_t *codes;   // (PANEL_STEPS, parts, 8 rows of 4 columns)
    float (*d)[L];    // (PANEL_UNITS) scales
    float (*more)[L]; // (PANEL_UNITS) minimums, or scales of the units' second halves
} panel;

typedef struct panels {
    _Alignas(16) uint8_t codes[PANELS * PANEL_STEPS * 32];
    float d[PANELS][PANEL_UNITS][L], more[PANELS][PANEL_UNITS][L];
} panels;

SIMD_INLINE panel panel_at(panels *p, size_t i, size_t parts) {
    return (panel){p->codes + i * parts * PANEL_STEPS * 32, p->d[i], p->more[i]};
}

/* Four tokens' activations. Tokens beyond the last are zeros. */
typedef struct tile {
    _Alignas(16) uint8_t q[PANEL_STEPS * SET_ACT_PARTS * 16]; // (steps, parts, 4 tokens of 4 columns)
    int32_t begin[PANEL_UNITS][2][TILE];                      // what integer sums begin with
    float d[PANEL_UNITS][TILE];
    float d_sum[PANEL_UNITS][TILE]; // d * sum(q)
} tile;

/* ---- panels ---- */

/* Codes of a unit to place u of a panel. */
SIMD_INLINE void panel_codes(panel to, size_t u, const uint8_t *unit, const block_layout *l,
                             unpack_consts c) {
    for (size_t quad = 0; quad < 2; quad++) {
        pair high = l->n_high ? quad_high(unit, l->n_high, quad) : pair_zero();
        SIMD_UNROLL
        for (int i = 0; i < 4; i++) {
            uint8_t *step = to.codes + (8 * u + 4 * quad + (size_t)i) * SET_PARTS * 32;
            pair bytes = step_bytes(unit, l->n_high, quad, i, high, c);
            SIMD_UNROLL
            for (int p = 0; p < SET_PARTS; p++) {
                pair part = {{set_codes(bytes.v[0], p), set_codes(bytes.v[1], p)}};
                pair_store(step + 32 * p, part);
            }
        }
    }
}

SIMD_INLINE void panel_simple(panel to, const block_layout *l, const uint8_t *block, size_t n_units) {
    const unpack_consts c = unpack_begin(l->n_high);
    for (size_t u = 0; u < n_units; u++, block += l->bytes * L) {
        pair_store(to.d[u], f16_pair(block, c));
        if (l->n_half == 2) pair_store(to.more[u], f16_pair(block + 2 * L, c));
        panel_codes(to, u, block + 2 * L * l->n_half, l, c);
    }
}

SIMD_INLINE void panel_min_k(panel to, const block_layout *l, const uint8_t *block) {
    const unpack_consts c = unpack_begin(l->n_high);
    const uint8_t *unit = block + (4 + l->n_scale) * L;
    min_k_scales(block, c, to.d, to.more);
    for (size_t s = 0; s < 8; s++, unit += 128 + 32 * l->n_high) panel_codes(to, s, unit, l, c);
}

SIMD_INLINE void panel_q6_k(panel to, const block_layout *l, const uint8_t *block) {
    const unpack_consts c = unpack_begin(l->n_high);
    const uint8_t *scales = block + 2 * L, *unit = scales + l->n_scale * L;
    pair d = f16_pair(block, c);
    for (size_t u = 0; u < 8; u++, unit += 128 + 32 * l->n_high, scales += 2 * L) {
        pair_store(to.d[u], pair_mul(d, i16_pair(wasm_i16x8_load8x8(scales))));
        pair_store(to.more[u], pair_mul(d, i16_pair(wasm_i16x8_load8x8(scales + L))));
        panel_codes(to, u, unit, l, c);
    }
}

/* Two parts in either set. */
SIMD_INLINE void panel_q8_0(panel to, const uint8_t *block, size_t n_units, v128_t *lowest) {
    const unpack_consts c = unpack_begin(0);
    for (size_t u = 0; u < n_units; u++, block += 34 * L) {
        pair_store(to.d[u], f16_pair(block, c));
        for (size_t j = 0; j < 8; j++) {
            uint8_t *step = to.codes + (8 * u + j) * 2 * 32;
            pair bytes = pair_load(block + 2 * L + 32 * j);
            pair_store(step, (pair){{set_weights(bytes.v[0], 0), set_weights(bytes.v[1], 0)}});
            pair_store(step + 32, (pair){{set_weights(bytes.v[0], 1), set_weights(bytes.v[1], 1)}});
            if (SET_Q8_0_OFFSET) *lowest = wasm_i8x16_min(*lowest, wasm_i8x16_min(bytes.v[0], bytes.v[1]));
        }
    }
}

/* ---- tiles ---- */

/* Lane i of token t to lane t of row i: four steps of four tokens, rows `stride` bytes apart. */
SIMD_INLINE void store_transposed(const v128_t *t, uint8_t *to, size_t stride) {
    v128_t ab_lo = wasm_i32x4_shuffle(t[0], t[1], 0, 4, 1, 5),
           cd_lo = wasm_i32x4_shuffle(t[2], t[3], 0, 4, 1, 5);
    v128_t ab_hi = wasm_i32x4_shuffle(t[0], t[1], 2, 6, 3, 7),
           cd_hi = wasm_i32x4_shuffle(t[2], t[3], 2, 6, 3, 7);
    wasm_v128_store(to, wasm_i64x2_shuffle(ab_lo, cd_lo, 0, 2));
    wasm_v128_store(to + stride, wasm_i64x2_shuffle(ab_lo, cd_lo, 1, 3));
    wasm_v128_store(to + 2 * stride, wasm_i64x2_shuffle(ab_hi, cd_hi, 0, 2));
    wasm_v128_store(to + 3 * stride, wasm_i64x2_shuffle(ab_hi, cd_hi, 1, 3));
}

/* The interleaved activations of tokens t .. t + n_tokens from unit `first` on. */
static void tile_fill_q(tile *to, const kernel_act *x, size_t t, size_t n_tokens, size_t first,
                        size_t n_units) {
    for (size_t quad = 0; quad < 2 * n_units; quad++) {
        v128_t part[2][TILE];
        for (size_t i = 0; i < TILE; i++) {
            v128_t row = wasm_i32x4_splat(0);
            if (i < n_tokens) row = wasm_v128_load(x->q + (t + i) * x->n_cols + 32 * first + 16 * quad);
            part[0][i] = set_act(row, 0), part[1][i] = set_act(row, SET_ACT_PARTS - 1);
        }
        uint8_t *step = to->q + 4 * quad * SET_ACT_PARTS * 16;
        store_transposed(part[0], step, SET_ACT_PARTS * 16);
        if (SET_ACT_PARTS == 2) store_transposed(part[1], step + 16, SET_ACT_PARTS * 16);
    }
}

/* Sums and scales of units [u, u + 4). */
static void tile_fill_4(tile *to, const kernel_act *x, size_t t, size_t n_tokens, size_t first, size_t u,
                        v128_t offset, bool halves) {
    v128_t d[TILE], d_sum[TILE], begin[2][TILE];
    for (size_t i = 0; i < TILE; i++) {
        const size_t at = (t + (i < n_tokens ? i : 0)) * x->n_cols / BLOCK_UNIT + first + u;
        v128_t lo = wasm_v128_load(x->sum + 2 * at), hi = wasm_v128_load(x->sum + 2 * at + 4);
        v128_t half[2] = {wasm_i32x4_shuffle(lo, hi, 0, 2, 4, 6), wasm_i32x4_shuffle(lo, hi, 1, 3, 5, 7)};
        v128_t total = wasm_i32x4_add(half[0], half[1]);
        d[i] = wasm_v128_load(x->d + at);
        d_sum[i] = wasm_f32x4_mul(d[i], wasm_f32x4_convert_i32x4(total));
        begin[0][i] = wasm_i32x4_mul(halves ? half[0] : total, offset);
        begin[1][i] = wasm_i32x4_mul(half[1], offset);
    }
    store_transposed(d, (uint8_t *)to->d[u], sizeof to->d[u]);
    store_transposed(d_sum, (uint8_t *)to->d_sum[u], sizeof to->d_sum[u]);
    store_transposed(begin[0], (uint8_t *)to->begin[u][0], sizeof to->begin[u]);
    if (halves) store_transposed(begin[1], (uint8_t *)to->begin[u][1], sizeof to->begin[u]);
}

/* Those of one unit, for where four would be read beyond the end. */
static void tile_fill_1(tile *to, const kernel_act *x, size_t t, size_t n_tokens, size_t first, size_t u,
                        int32_t offset) {
    for (size_t i = 0; i < TILE; i++) {
        const size_t at = (t + (i < n_tokens ? i : 0)) * x->n_cols / BLOCK_UNIT + first + u;
        const int32_t total = x->sum[2 * at] + x->sum[2 * at + 1];
        to->d[u][i] = x->d[at];
        to->d_sum[u][i] = x->d[at] * (float)total;
        to->begin[u][0][i] = -offset * total;
    }
}

/* Units [first, first + n_units) of tokens [t, t + n_tokens). Formats with halves come in whole panels. */
static void tile_fill(tile *to, const kernel_act *x, size_t t, size_t n_tokens, size_t first, size_t n_units,
                      int32_t offset, bool halves) {
    size_t u = 0;
    tile_fill_q(to, x, t, n_tokens, first, n_units);
    for (; u + 4 <= n_units; u += 4)
        tile_fill_4(to, x, t, n_tokens, first, u, wasm_i32x4_splat(-offset), halves);
    for (; u < n_units; u++) tile_fill_1(to, x, t, n_tokens, first, u, offset);
}

/* ---- products ---- */

/* acc (4) += n steps. A real loop with few steps in its body: were it unrolled, the compiler would load
 * everything before the first product, and spill. */
SIMD_INLINE void panel_steps(const uint8_t *codes, const uint8_t *q, int n, int parts, pair *acc) {
    SIMD_NO_UNROLL
    for (int j = 0; j < n; j++, codes += 32 * parts, q += 16 * SET_ACT_PARTS) {
        SIMD_UNROLL
        for (int p = 0; p < parts; p++) {
            pair w = pair_load(codes + 32 * p);
            SIMD_UNROLL
            for (int i = 0; i < TILE; i++) {
                v128_t a = wasm_v128_load32_splat(q + 16 * (p % SET_ACT_PARTS) + 4 * i);
                acc[i].v[0] = set_dot(acc[i].v[0], w.v[0], a);
                acc[i].v[1] = set_dot(acc[i].v[1], w.v[1], a);
            }
        }
    }
}

/* What differs between the formats once they are unpacked. */
typedef struct panel_kind {
    int parts;   // vectors of weights per step and 4 rows
    bool halves; // a scale for each 16 columns
    bool min;
} panel_kind;

/* y (n_tokens rows, 8 columns) += panel * tile; = where it is the first panel. */
SIMD_INLINE void panel_product(panel_kind kind, panel w, const tile *x, size_t n_units, bool first, float *y,
                               size_t ldy, size_t n_tokens) {
    pair f[TILE];
    SIMD_UNROLL
    for (size_t i = 0; i < TILE; i++) f[i] = first || i >= n_tokens ? pair_zero() : pair_load(y + i * ldy);
    for (size_t u = 0; u < n_units; u++) {
        const int n = kind.halves ? 4 : 8;
        SIMD_UNROLL
        for (int half = 0; half < 8 / n; half++) {
            const size_t step = 8 * u + (size_t)(4 * half);
            pair acc[TILE];
            SIMD_UNROLL
            for (int i = 0; i < TILE; i++) {
                acc[i].v[0] = acc[i].v[1] = wasm_v128_load32_splat(&x->begin[u][half][i]);
            }
            panel_steps(w.codes + step * 32 * (size_t)kind.parts, x->q + step * 16 * SET_ACT_PARTS, n,
                        kind.parts, acc);
            pair d = pair_load(half ? w.more[u] : w.d[u]);
            SIMD_UNROLL
            for (int i = 0; i < TILE; i++) f[i] = pair_scale_add(f[i], acc[i], d, splat_float(&x->d[u][i]));
        }
        if (!kind.min) continue;
        pair min = pair_load(w.more[u]);
        SIMD_UNROLL
        for (int i = 0; i < TILE; i++) f[i] = pair_mul_add(f[i], min, splat_float(&x->d_sum[u][i]));
    }
    SIMD_UNROLL
    for (size_t i = 0; i < TILE; i++)
        if (i < n_tokens) pair_store(y + i * ldy, f[i]);
}

typedef void panel_product_fn(panel w, const tile *x, size_t n_units, bool first, float *y, size_t ldy,
                              size_t n_tokens);

#define PANEL_PRODUCT(name, ...)                                                                            \
    static __attribute__((noinline)) void name(panel w, const tile *x, size_t n_units, bool first,          \
                                               float *y, size_t ldy, size_t n_tokens) {                     \
        panel_product((panel_kind)__VA_ARGS__, w, x, n_units, first, y, ldy, n_tokens);                     \
    }
PANEL_PRODUCT(product_plain, {SET_PARTS, false, false})
PANEL_PRODUCT(product_min, {SET_PARTS, false, true})
PANEL_PRODUCT(product_halves, {SET_PARTS, true, false})
#if SET_Q8_0_PARTS != SET_PARTS
PANEL_PRODUCT(product_two_parts, {SET_Q8_0_PARTS, false, false})
#else
#define product_two_parts product_plain
#endif
