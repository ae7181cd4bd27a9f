/*
 * Several tokens: groups are unpacked into panels of 512 columns, which stay in the first cache, and each
 * panel is multiplied with tiles of four tokens whose activations lie interleaved. Unpacking, scales and
 * what concerns a tile alone are thus paid once for many products. Float sums pass from panel to panel
 * through y, and take each unit by the same operations as in mul_vec.h, so that a token's results have the
 * same bits there and here. Part of mul_mat.h, which names what the including set defines.
 */

enum {
    PANEL_UNITS = 16, // units of 32 columns in a panel
    PANEL_STEPS = 8 * PANEL_UNITS,
    PANELS = 4, // groups that take turns with a tile
    TILE = KERNEL_TILE,
    PASS_TILES = 16, // tiles that go over the same panels
};

/* A group's columns, unpacked; a view into panels. */
typedef struct panel {
    uint8_t *codes;   // (PANEL_STEPS, SET_PARTS, 8 rows of 4 columns)
    float (*d)[L];    // (PANEL_UNITS) scales
    float (*more)[L]; // (PANEL_UNITS) minimums, or scales of the units' second halves
} panel;

/* What a pass works on. Sums are kept here until all columns are in, since rows of y may lie so far apart
 * that they push each other out of the cache. */
typedef struct panels {
    _Alignas(16) uint8_t codes[PANELS][PANEL_STEPS * SET_PARTS * 32];
    float d[PANELS][PANEL_UNITS][L], more[PANELS][PANEL_UNITS][L];
    _Alignas(16) float f[PASS_TILES][PANELS][TILE * L];
} panels;

SIMD_INLINE panel panel_at(panels *p, size_t i) {
    return (panel){p->codes[i], p->d[i], p->more[i]};
}

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
        pair_store(to.d[u], scale_pair(block, c));
        if (l->n_half == 2) pair_store(to.more[u], scale_pair(block + 2 * L, c));
        panel_codes(to, u, block + 2 * L * l->n_half, l, c);
    }
}

/* Q4_K, Q5_K: n_units are whole blocks, here and in Q6_K. */
SIMD_INLINE void panel_min_k(panel to, const block_layout *l, const uint8_t *block, size_t n_units) {
    const unpack_consts c = unpack_begin(l->n_high);
    for (size_t u = 0; u < n_units; u += 8, block += l->bytes * L) {
        const uint8_t *unit = block + (4 + l->n_scale) * L;
        min_k_scales(block, c, to.d + u, to.more + u);
        for (size_t s = 0; s < 8; s++, unit += 128 + 32 * l->n_high) panel_codes(to, u + s, unit, l, c);
    }
}

SIMD_INLINE void panel_q6_k(panel to, const block_layout *l, const uint8_t *block, size_t n_units) {
    const unpack_consts c = unpack_begin(l->n_high);
    for (size_t u = 0; u < n_units; u += 8, block += l->bytes * L) {
        const uint8_t *scales = block + 2 * L, *unit = scales + l->n_scale * L;
        const pair d = scale_pair(block, c);
        for (size_t s = u; s < u + 8; s++, unit += 128 + 32 * l->n_high, scales += 2 * L) {
            pair_store(to.d[s], pair_mul(d, i16_pair(wasm_i16x8_load8x8(scales))));
            pair_store(to.more[s], pair_mul(d, i16_pair(wasm_i16x8_load8x8(scales + L))));
            panel_codes(to, s, unit, l, c);
        }
    }
}

/* Every byte of the weights is changed by `flip`. */
SIMD_INLINE void panel_q8_0(panel to, const block_layout *l, const uint8_t *block, size_t n_units,
                            uint32_t flip) {
    const unpack_consts c = unpack_begin(0);
    const v128_t mask = simd_const(flip);
    for (size_t u = 0; u < n_units; u++, block += l->bytes * L) {
        pair_store(to.d[u], scale_pair(block, c));
        for (size_t j = 0; j < 8; j++) {
            const pair bytes = pair_load(block + 2 * L + 32 * j);
            SIMD_UNROLL
            for (int p = 0; p < SET_PARTS; p++) {
                pair codes = {{set_weights(bytes.v[0], p), set_weights(bytes.v[1], p)}};
                if (flip) codes = (pair){{wasm_v128_xor(codes.v[0], mask), wasm_v128_xor(codes.v[1], mask)}};
                pair_store(to.codes + ((8 * u + j) * SET_PARTS + (size_t)p) * 32, codes);
            }
        }
    }
}

/* ---- products ---- */

/* acc (TILE) += n steps. A real loop with few steps in its body: were it unrolled, the compiler would load
 * everything before the first product, and spill. */
SIMD_INLINE void panel_steps(const uint8_t *codes, const uint8_t *q, int n, bool is_signed, pair *acc) {
    SIMD_NO_UNROLL
    for (int j = 0; j < n; j++, codes += 32 * SET_PARTS, q += 4 * TILE * SET_PARTS) {
        if (is_signed) {
            set_signed_panel(codes, q, TILE, acc);
            continue;
        }
        SIMD_UNROLL
        for (int p = 0; p < SET_PARTS; p++) {
            const pair w = pair_load(codes + 32 * p);
            SIMD_UNROLL
            for (int i = 0; i < TILE; i++) {
                const v128_t a = wasm_v128_load32_splat(q + 4 * (p * TILE + i));
                acc[i].v[0] = set_dot(acc[i].v[0], w.v[0], a);
                acc[i].v[1] = set_dot(acc[i].v[1], w.v[1], a);
            }
        }
    }
}

/* What differs between the formats once they are unpacked. */
typedef struct panel_kind {
    int offset;  // of the codes
    bool halves; // a scale for each 16 columns
    bool min;
    bool is_signed; // weights are int8, not codes
} panel_kind;

/* What the integer sums of token i begin with. */
SIMD_INLINE v128_t panel_begin(panel_kind kind, const int32_t *sum, int half, unpack_consts c) {
    if (kind.is_signed) return set_begin_signed(c.magic, sum, TILE);
    if (!kind.offset) return c.magic;
    return begin_offset(kind.offset,
                        kind.halves ? half_sum(sum, half, TILE) : load_sum(sum, KERNEL_SUM_ALL, TILE), c);
}

/* sums (TILE, 8) += panel * tile. They stay in memory: the registers are for the loop over the steps. */
SIMD_INLINE void panel_product(panel_kind kind, panel w, act_at x, size_t n_units, float *sums) {
    const unpack_consts c = unpack_begin(0);
    for (size_t u = 0; u < n_units; u++, act_next(&x, TILE)) {
        const int n = kind.halves ? 4 : 8;
        SIMD_UNROLL
        for (int half = 0; half < 8 / n; half++) {
            const size_t step = (size_t)(4 * half);
            pair acc[TILE];
            SIMD_UNROLL
            for (int i = 0; i < TILE; i++) acc[i].v[0] = acc[i].v[1] = panel_begin(kind, x.sum + i, half, c);
            panel_steps(w.codes + (8 * u + step) * 32 * SET_PARTS, x.q + step * 4 * TILE * SET_PARTS, n,
                        kind.is_signed, acc);
            sums_add(sums, acc, pair_load(half ? w.more[u] : w.d[u]), x.d, TILE, c);
        }
        if (kind.min) sums_add_min(sums, pair_load(w.more[u]), x.d_sum, TILE);
    }
}

typedef void panel_product_fn(panel w, act_at x, size_t n_units, float *sums);

#define PANEL_PRODUCT(name, ...)                                                                            \
    static __attribute__((noinline)) void name(panel w, act_at x, size_t n_units, float *sums) {            \
        panel_product((panel_kind)__VA_ARGS__, w, x, n_units, sums);                                        \
    }
PANEL_PRODUCT(product_offset_8, {8, false, false, false})
PANEL_PRODUCT(product_offset_16, {16, false, false, false})
PANEL_PRODUCT(product_min, {0, false, true, false})
PANEL_PRODUCT(product_halves, {32, true, false, false})
PANEL_PRODUCT(product_signed, {0, false, false, true})
#if SET_FORMS
PANEL_PRODUCT(product_plain, {0, false, false, false})
PANEL_PRODUCT(product_offset_128, {128, false, false, false})
#endif
