/*
 * One token: a group's 8 rows are read from front to back, a unit of 32 columns at a time. Integer sums are
 * exact, so they may be kept in several chains; the float sums take each unit as pair_scale_add does, then
 * its minimums. Part of mul_mat.h, which names what the including set defines.
 */

/* Integer sums of a group, SET_CHAINS each. */
typedef struct chains {
    v128_t v[2][SET_CHAINS];
} chains;

/* Chains that add up to -offset * sum. */
SIMD_INLINE chains chains_begin(int32_t offset, int32_t sum) {
    chains s;
    SIMD_UNROLL
    for (int i = 0; i < SET_CHAINS; i++) s.v[0][i] = s.v[1][i] = wasm_i32x4_splat(0);
    if (offset) s.v[0][0] = s.v[1][0] = wasm_i32x4_splat(-offset * sum);
    return s;
}

SIMD_INLINE pair chains_end(const chains *s) {
    pair sum = {{s->v[0][0], s->v[1][0]}};
    SIMD_UNROLL
    for (int i = 1; i < SET_CHAINS; i++) {
        sum.v[0] = wasm_i32x4_add(sum.v[0], s->v[0][i]);
        sum.v[1] = wasm_i32x4_add(sum.v[1], s->v[1][i]);
    }
    return sum;
}

/* Integer products of quads [from, end) of a unit with q, the unit's activations. */
SIMD_INLINE pair unit_product(const uint8_t *unit, const block_layout *l, size_t from, size_t end,
                              const int8_t *q, int32_t sum, unpack_consts c) {
    chains s = chains_begin(l->offset, sum);
    SIMD_NO_UNROLL
    for (size_t quad = from; quad < end; quad++) {
        pair high = l->n_high ? quad_high(unit, l->n_high, quad) : pair_zero();
        quad_act act = quad_load(q + 16 * quad);
        SIMD_UNROLL
        for (int i = 0; i < 4; i++) {
            pair bytes = step_bytes(unit, l->n_high, quad, i, high, c);
            SIMD_UNROLL
            for (int k = 0; k < 2; k++) {
                v128_t *to = &s.v[k][i % SET_CHAINS];
                SIMD_UNROLL
                for (int p = 0; p < SET_PARTS; p++)
                    *to = set_dot(*to, set_codes(bytes.v[k], p), quad_step(&act, i, p % SET_ACT_PARTS));
            }
        }
    }
    return chains_end(&s);
}

SIMD_INLINE v128_t splat_float(const float *p) {
    return wasm_v128_load32_splat(p);
}

/* Q4_0, Q4_1, Q5_0, Q5_1 */
SIMD_INLINE pair vec_simple(const block_layout *l, const uint8_t *block, const kernel_act *x) {
    const unpack_consts c = unpack_begin(l->n_high);
    const int8_t *q = x->q;
    const int32_t *sum = x->sum;
    pair f = pair_zero();
    for (size_t b = 0; b < x->n_cols / 32; b++, block += l->bytes * L, q += 32, sum += 2) {
        int32_t total = l->offset || l->n_half == 2 ? sum[0] + sum[1] : 0;
        pair product = unit_product(block + 2 * L * l->n_half, l, 0, 2, q, total, c);
        f = pair_scale_add(f, product, f16_pair(block, c), splat_float(x->d + b));
        if (l->n_half == 2)
            f = pair_mul_add(f, f16_pair(block + 2 * L, c), wasm_f32x4_splat(x->d[b] * (float)total));
    }
    return f;
}

/* Q4_K, Q5_K. A block's scales are worked out first, into the stack: in the loop over its units they would
 * take the registers. */
SIMD_INLINE pair vec_min_k(const block_layout *l, const uint8_t *block, const kernel_act *x) {
    const unpack_consts c = unpack_begin(l->n_high);
    const size_t unit_bytes = 128 + 32 * (size_t)l->n_high;
    const int8_t *q = x->q;
    const int32_t *sum = x->sum;
    const float *d_a = x->d;
    pair f = pair_zero();
    for (size_t b = 0; b < x->n_cols / FORMAT_MAX_BLOCK; b++, block += l->bytes * L) {
        const uint8_t *unit = block + (4 + l->n_scale) * L;
        float d[8][L], min[8][L];
        min_k_scales(block, c, d, min);
        for (size_t s = 0; s < 8; s++, unit += unit_bytes, q += 32, sum += 2, d_a++) {
            pair product = unit_product(unit, l, 0, 2, q, 0, c);
            f = pair_scale_add(f, product, pair_load(d[s]), splat_float(d_a));
            f = pair_mul_add(f, pair_load(min[s]), wasm_f32x4_splat(*d_a * (float)(sum[0] + sum[1])));
        }
    }
    return f;
}

/* Q6_K: scales are of 16 columns, half a unit. */
SIMD_INLINE pair vec_q6_k(const block_layout *l, const uint8_t *block, const kernel_act *x) {
    const unpack_consts c = unpack_begin(l->n_high);
    const size_t unit_bytes = 128 + 32 * (size_t)l->n_high;
    const int8_t *q = x->q;
    const int32_t *sum = x->sum;
    const float *d_a = x->d;
    pair f = pair_zero();
    for (size_t b = 0; b < x->n_cols / FORMAT_MAX_BLOCK; b++, block += l->bytes * L) {
        const uint8_t *scales = block + 2 * L, *unit = scales + l->n_scale * L;
        pair d = f16_pair(block, c);
        for (size_t u = 0; u < 8; u++, unit += unit_bytes, scales += 2 * L, q += 32, sum += 2, d_a++) {
            SIMD_UNROLL
            for (int half = 0; half < 2; half++) {
                pair scale = i16_pair(wasm_i16x8_load8x8(scales + L * half));
                pair product = unit_product(unit, l, (size_t)half, (size_t)half + 1, q, sum[half], c);
                f = pair_scale_add(f, product, pair_mul(d, scale), splat_float(d_a));
            }
        }
    }
    return f;
}

/* Q8_0; *lowest becomes the lowest weight of each lane's bytes where the set's offset trick needs to know
 * it. */
SIMD_INLINE pair vec_q8_0(const uint8_t *block, const kernel_act *x, v128_t *lowest) {
    const unpack_consts c = unpack_begin(0);
    const int8_t *q = x->q;
    pair f = pair_zero();
    for (size_t b = 0; b < x->n_cols / 32; b++, block += 34 * L, q += 32) {
        chains s = chains_begin(SET_Q8_0_OFFSET, x->sum[2 * b] + x->sum[2 * b + 1]);
        SIMD_NO_UNROLL
        for (size_t quad = 0; quad < 2; quad++) {
            quad_act act = quad_load(q + 16 * quad);
            SIMD_UNROLL
            for (int i = 0; i < 4; i++) {
                pair bytes = pair_load(block + 2 * L + 128 * quad + 32 * (size_t)i);
                SIMD_UNROLL
                for (int k = 0; k < 2; k++) {
                    v128_t *to = &s.v[k][i % SET_CHAINS];
                    *to = set_dot(*to, set_weights(bytes.v[k], 0), quad_step(&act, i, 0));
                    *to = set_dot(*to, set_weights(bytes.v[k], 1), quad_step(&act, i, SET_ACT_PARTS - 1));
                    if (SET_Q8_0_OFFSET) *lowest = wasm_i8x16_min(*lowest, bytes.v[k]);
                }
            }
        }
        f = pair_scale_add(f, chains_end(&s), f16_pair(block, c), splat_float(x->d + b));
    }
    return f;
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
