/*
 * Few tokens: weights are unpacked in registers and multiplied at once with all tokens, which are one tile
 * of 1, 2 or KERNEL_TILE. Sixteen groups of rows take turns, a unit of 32 columns each, so that memory is
 * read in as many streams: a machine fetches several pages ahead at once, but one page after the other too
 * slowly for a product with one token, which reads each weight once (measured: 8 GB/s in one stream, 21 in
 * sixteen). Part of mul_mat.h, which names what the including set defines.
 */

enum { STREAMS = 16 };

/* Where a tile's activations of one unit stand. */
typedef struct act_at {
    const uint8_t *q;
    const float *d, *d_sum;
    const int32_t *sum;
} act_at;

SIMD_INLINE act_at act_first(const kernel_act *x, size_t tile, size_t unit, int m) {
    const size_t at = (tile * x->n_cols / BLOCK_UNIT + unit) * (size_t)m;
    return (act_at){x->q + BLOCK_UNIT * SET_PARTS * at, x->d + at, x->d_sum + at, x->sum + KERNEL_SUMS * at};
}

SIMD_INLINE void act_next(act_at *a, int m) {
    a->q += BLOCK_UNIT * SET_PARTS * m, a->d += m, a->d_sum += m, a->sum += KERNEL_SUMS * m;
}

SIMD_INLINE v128_t splat_float(const float *p) {
    return wasm_v128_load32_splat(p);
}

/* What a sum over columns begins with where codes stand too high by `offset`: MAGIC - offset * sum. */
SIMD_INLINE v128_t begin_offset(int offset, v128_t sum, unpack_consts c) {
    const int shift = offset == 8 ? 3 : offset == 16 ? 4 : offset == 32 ? 5 : 7;
    return wasm_i32x4_sub(c.magic, wasm_i32x4_shl(sum, (uint32_t)shift));
}

SIMD_INLINE v128_t load_sum(const int32_t *sum, kernel_sum which, int m) {
    return wasm_v128_load32_splat(sum + (int)which * m);
}

/* The sum over half (0, 1) of a unit. */
SIMD_INLINE v128_t half_sum(const int32_t *sum, int half, int m) {
    v128_t second = load_sum(sum, KERNEL_SUM_HALF, m);
    return half ? second : wasm_i32x4_sub(load_sum(sum, KERNEL_SUM_ALL, m), second);
}

/* Codes of a step with the m tokens of a tile: acc (m) += . */
SIMD_INLINE void step_product(pair bytes, const uint8_t *q, int m, pair *acc) {
    SIMD_UNROLL
    for (int p = 0; p < SET_PARTS; p++) {
        const pair w = {{set_codes(bytes.v[0], p), set_codes(bytes.v[1], p)}};
        SIMD_UNROLL
        for (int t = 0; t < m; t++) {
            const v128_t a = wasm_v128_load32_splat(q + 4 * (p * m + t));
            acc[t].v[0] = set_dot(acc[t].v[0], w.v[0], a);
            acc[t].v[1] = set_dot(acc[t].v[1], w.v[1], a);
        }
    }
}

/* Integer products of quads [from, end) of a unit: acc (m) +=. */
SIMD_INLINE void unit_product(const uint8_t *unit, const block_layout *l, size_t from, size_t end,
                              const uint8_t *q, int m, unpack_consts c, pair *acc) {
    SIMD_NO_UNROLL
    for (size_t quad = from; quad < end; quad++) {
        const pair high = l->n_high ? quad_high(unit, l->n_high, quad) : pair_zero();
        SIMD_UNROLL
        for (int i = 0; i < 4; i++)
            step_product(step_bytes(unit, l->n_high, quad, i, high, c),
                         q + (4 * quad + (size_t)i) * 4 * SET_PARTS * (size_t)m, m, acc);
    }
}

/* Groups that take turns, and their sums. */
typedef struct streams {
    const uint8_t *group; // the first
    size_t stride;        // bytes of a group
    size_t n;
    float *f; // (n, m, 8)
} streams;

/* Float sums (m, 8) take in integer products acc (m). */
SIMD_INLINE void sums_add(float *f, const pair *acc, pair d, const float *d_a, int m, unpack_consts c) {
    SIMD_UNROLL
    for (int t = 0; t < m; t++)
        pair_store(f + L * t, pair_scale_add(pair_load(f + L * t), acc[t], d, splat_float(d_a + t), c));
}

SIMD_INLINE void sums_add_min(float *f, pair min, const float *d_sum, int m) {
    SIMD_UNROLL
    for (int t = 0; t < m; t++)
        pair_store(f + L * t, pair_mul_add(pair_load(f + L * t), min, splat_float(d_sum + t)));
}

/* Integer products of a unit of signed weights: acc (m) +=. */
SIMD_INLINE void signed_unit_product(const uint8_t *unit, const uint8_t *q, int m, pair *acc) {
    SIMD_NO_UNROLL
    for (size_t step = 0; step < 8; step += 4) {
        SIMD_UNROLL
        for (size_t i = step; i < step + 4; i++)
            set_signed_product(pair_load(unit + 32 * i), q + i * 4 * SET_PARTS * (size_t)m, m, acc);
    }
}

/* Formats with a block per unit: codes of four and five bits, or signed weights. */
SIMD_INLINE void vec_units(const block_layout *l, bool is_signed, const streams *w, const kernel_act *x,
                           int m) {
    const unpack_consts c = unpack_begin(l->n_high);
    const uint8_t *block = w->group;
    act_at a = act_first(x, 0, 0, m);
    for (size_t u = 0; u < x->n_cols / BLOCK_UNIT; u++, block += l->bytes * L, act_next(&a, m)) {
        const uint8_t *at = block;
        float *f = w->f;
        v128_t begin[KERNEL_TILE];
        SIMD_UNROLL
        for (int t = 0; t < m; t++)
            begin[t] = is_signed   ? set_begin_signed(c.magic, a.sum + t, m)
                       : l->offset ? begin_offset(l->offset, load_sum(a.sum + t, KERNEL_SUM_ALL, m), c)
                                   : c.magic;
        for (size_t s = 0; s < w->n; s++, at += w->stride, f += L * m) {
            const uint8_t *unit = at + 2 * L * l->n_half;
            pair acc[KERNEL_TILE];
            SIMD_UNROLL
            for (int t = 0; t < m; t++) acc[t] = (pair){{begin[t], begin[t]}};
            if (is_signed)
                signed_unit_product(unit, a.q, m, acc);
            else
                unit_product(unit, l, 0, 2, a.q, m, c, acc);
            sums_add(f, acc, scale_pair(at, c), a.d, m, c);
            if (l->n_half == 2) sums_add_min(f, scale_pair(at + 2 * L, c), a.d_sum, m);
        }
    }
}

SIMD_INLINE void vec_simple(const block_layout *l, const streams *w, const kernel_act *x, int m) {
    vec_units(l, false, w, x, m);
}

SIMD_INLINE void vec_q8_0(const block_layout *l, const streams *w, const kernel_act *x, int m) {
    vec_units(l, true, w, x, m);
}

/* Q4_K, Q5_K: the streams' scales of a block are worked out first. */
SIMD_INLINE void vec_min_k(const block_layout *l, const streams *w, const kernel_act *x, int m) {
    const unpack_consts c = unpack_begin(l->n_high);
    const size_t unit_bytes = 128 + 32 * (size_t)l->n_high;
    const uint8_t *block = w->group;
    _Alignas(16) float d[STREAMS][8][L], min[STREAMS][8][L];
    act_at a = act_first(x, 0, 0, m);
    for (size_t b = 0; b < x->n_cols / FORMAT_MAX_BLOCK; b++, block += l->bytes * L) {
        for (size_t s = 0; s < w->n; s++) min_k_scales(block + s * w->stride, c, d[s], min[s]);
        const uint8_t *unit = block + (4 + l->n_scale) * L;
        for (size_t u = 0; u < 8; u++, unit += unit_bytes, act_next(&a, m)) {
            const uint8_t *at = unit;
            float *f = w->f;
            for (size_t s = 0; s < w->n; s++, at += w->stride, f += L * m) {
                pair acc[KERNEL_TILE];
                SIMD_UNROLL
                for (int t = 0; t < m; t++) acc[t] = (pair){{c.magic, c.magic}};
                unit_product(at, l, 0, 2, a.q, m, c, acc);
                sums_add(f, acc, pair_load(d[s][u]), a.d, m, c);
                sums_add_min(f, pair_load(min[s][u]), a.d_sum, m);
            }
        }
    }
}

/* Q6_K: scales are of 16 columns, half a unit. */
SIMD_INLINE void vec_q6_k(const block_layout *l, const streams *w, const kernel_act *x, int m) {
    const unpack_consts c = unpack_begin(l->n_high);
    const size_t unit_bytes = 128 + 32 * (size_t)l->n_high;
    const uint8_t *block = w->group;
    _Alignas(16) float d[STREAMS][L];
    act_at a = act_first(x, 0, 0, m);
    for (size_t b = 0; b < x->n_cols / FORMAT_MAX_BLOCK; b++, block += l->bytes * L) {
        for (size_t s = 0; s < w->n; s++) pair_store(d[s], scale_pair(block + s * w->stride, c));
        const uint8_t *scales = block + 2 * L, *unit = scales + l->n_scale * L;
        for (size_t u = 0; u < 8; u++, unit += unit_bytes, scales += 2 * L, act_next(&a, m)) {
            for (size_t s = 0; s < w->n; s++) {
                const uint8_t *at = unit + s * w->stride, *scale = scales + s * w->stride;
                SIMD_UNROLL
                for (int half = 0; half < 2; half++) {
                    pair acc[KERNEL_TILE];
                    SIMD_UNROLL
                    for (int t = 0; t < m; t++) {
                        v128_t begin = begin_offset(l->offset, half_sum(a.sum + t, half, m), c);
                        acc[t] = (pair){{begin, begin}};
                    }
                    unit_product(at, l, (size_t)half, (size_t)half + 1, a.q, m, c, acc);
                    pair d_half = pair_mul(pair_load(d[s]), i16_pair(wasm_i16x8_load8x8(scale + L * half)));
                    sums_add(w->f + s * L * (size_t)m, acc, d_half, a.d, m, c);
                }
            }
        }
    }
}

/* Column c of 8 rows as floats. */
SIMD_INLINE pair float_column(format_id id, const uint8_t *group, size_t c, v128_t fields) {
    if (id == FORMAT_F32) return pair_load(group + 32 * c);
    const uint8_t *lo = group + 16 * c, *hi = lo + 8;
    if (id == FORMAT_BF16)
        return (pair){
            {wasm_i32x4_shl(wasm_i32x4_load16x4(lo), 16), wasm_i32x4_shl(wasm_i32x4_load16x4(hi), 16)}};
    pair scale = {{wasm_f32x4_splat(0x1p112f), wasm_f32x4_splat(0x1p112f)}};
    return pair_mul((pair){{simd_f16_fields(lo, fields), simd_f16_fields(hi, fields)}}, scale);
}

/* F32, F16, BF16, m tokens: even and odd columns apart, so that additions need not wait for each other. */
SIMD_INLINE void vec_float(format_id id, const uint8_t *group, const kernel_act *x, size_t t, int m,
                           pair *f) {
    const v128_t fields = simd_const(SIMD_F16_FIELDS);
    const float *row[FLOAT_TILE];
    pair odd[FLOAT_TILE];
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        row[i] = x->x + (t + (size_t)i) * x->n_cols;
        f[i] = odd[i] = pair_zero();
    }
    for (size_t c = 0; c < x->n_cols; c += 2) {
        pair w = float_column(id, group, c, fields);
        SIMD_UNROLL
        for (int i = 0; i < m; i++) f[i] = pair_mul_add(f[i], w, splat_float(row[i] + c));
        if (c + 1 == x->n_cols) break;
        w = float_column(id, group, c + 1, fields);
        SIMD_UNROLL
        for (int i = 0; i < m; i++) odd[i] = pair_mul_add(odd[i], w, splat_float(row[i] + c + 1));
    }
    SIMD_UNROLL
    for (int i = 0; i < m; i++) f[i] = pair_add(f[i], odd[i]);
}
