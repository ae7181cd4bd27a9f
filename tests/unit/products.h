/* Random matrices and activations for tests of products. */
#ifndef NUT_TESTS_PRODUCTS_H
#define NUT_TESTS_PRODUCTS_H

#include "base/half.h"
#include "guard.h"
#include "halves.h"

/* Random codes, f16 scales of both signs, now and then subnormal or zero; in Q8_0 every byte but, half of
 * the time, -128. */
static inline void random_block(const format *f, rng *r, uint8_t *block) {
    if (f->layout->act == FORMAT_ACT_F32) {
        float x = random_float(r, 0.1);
        f->quantize(&x, 1, block);
        return;
    }
    bool lowest = rng_u64(r) % 2, extreme = rng_u64(r) % 4 == 0;
    for (size_t i = 0; i < f->bytes; i++) {
        block[i] = (uint8_t)rng_u64(r);
        if (extreme) block[i] = f->id == FORMAT_Q8_0 ? (block[i] & 1 ? 127 : 129) : (block[i] & 1 ? 255 : 0);
        if (f->id == FORMAT_Q8_0 && block[i] == 128 && !lowest) block[i] = 129;
    }
    int at[2];
    for (int k = halves_of(f->id, at); k-- > 0;) {
        double scale = rng_u64(r) % 8 == 0 ? 2e-5 : rng_u64(r) % 16 == 0 ? 0 : 0.02;
        half_put(block, at[k], half_f32_to_f16(random_float(r, scale)));
    }
    if (f->id == FORMAT_LUT4)
        block[0] = (uint8_t)(rng_u64(r) % 16 == 0 ? block[0] % 16 : 80 + block[0] % 64);
    if (f->id == FORMAT_MXFP4) block[0] = (uint8_t)(rng_u64(r) % 8 == 0 ? 100 : 118 + block[0] % 8);
}

/* Of a layout with scales of rows, all codes mean something: random bytes, in a third of the groups
 * extremes.
 */
static inline void random_coded(matrix *m, rng *r) {
    const size_t head = m->format->layout->head;
    for (size_t g = 0; g < matrix_groups(m); g++) {
        uint8_t *group = m->data + g * matrix_group_bytes(m);
        for (size_t i = head; i < matrix_group_bytes(m); i++) {
            group[i] = (uint8_t)rng_u64(r);
            if (g % 3 == 2)
                group[i] = m->format->id == FORMAT_CODED_8 ? 127 + group[i] % 3 : -(group[i] % 2);
        }
        for (size_t lane = 0; lane < FORMAT_LANES && g * FORMAT_LANES + lane < m->n_rows; lane++) {
            const float scale = random_float(r, 0.02);
            memcpy(group + lane * sizeof scale, &scale, sizeof scale);
        }
    }
}

static inline matrix random_matrix(const format *f, size_t n_rows, size_t n_cols, rng *r) {
    static uint8_t table[FORMAT_TABLE]; // of the last matrix whose format has one, of every other
    matrix m = {.format = f, .n_rows = n_rows, .n_cols = n_cols};
    if (format_has_table(f) && rng_u64(r) % 2) {
        for (size_t i = 0; i < FORMAT_TABLE; i++) table[i] = (uint8_t)(rng_u64(r) % 128);
        m.table = table;
    }
    const size_t n_bytes = matrix_groups(&m) * matrix_group_bytes(&m);
    m.data = guard_new(n_bytes);
    memset(m.data, 0, n_bytes);
    if (format_is_coded(f)) {
        random_coded(&m, r);
        return m;
    }
    for (size_t row = 0; row < n_rows; row++)
        for (size_t b = 0; b < n_cols / f->block; b++) {
            uint8_t block[FORMAT_MAX_BYTES];
            random_block(f, r, block);
            f->pack(m.data + row / FORMAT_LANES * matrix_group_bytes(&m), row % FORMAT_LANES, b, 1, block);
        }
    return m;
}

/* n tokens of floats as products of a format read them: as they are, or quantized by the set into its
 * layout. The other pointers stay NULL, so that reading the wrong one is fatal. */
static inline kernel_act act_new(const kernel_set *s, format_act kind, const float *x, size_t n_tokens,
                                 size_t n_cols) {
    kernel_act a = {.n_tokens = n_tokens, .n_cols = n_cols};
    if (kind == FORMAT_ACT_F32) {
        float *copy = guard_floats(n_tokens * n_cols);
        memcpy(copy, x, n_tokens * n_cols * sizeof(float));
        a.x = copy;
        return a;
    }
    a.lanes = kernel_lanes(n_tokens), a.bytes = s->act_bytes;
    const size_t padded = kernel_tiles(n_tokens) * a.lanes * n_cols;
    a.q = guard_new(padded * a.bytes);
    a.d = guard_floats(padded / 32), a.d_sum = guard_floats(padded / 32);
    a.sum = guard_new(padded / 32 * KERNEL_SUMS * sizeof(int32_t));
    for (size_t t = 0; t < n_tokens; t++) s->quantize_q8(x + t * n_cols, 0, n_cols, t, &a, NULL);
    return a;
}

static inline void act_free(kernel_act *a) {
    if (a->x) guard_free((void *)(uintptr_t)a->x, "activations");
    if (!a->q) return;
    guard_free(a->q, "codes"), guard_free(a->d, "scales"), guard_free(a->d_sum, "scaled sums");
    guard_free(a->sum, "sums");
}

/* Floats that quantize to codes of all sizes; every third block to extremes. */
static inline float *random_x(size_t n, rng *r) {
    float *x = malloc(n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        x[i] = i / 32 % 3 == 1 ? (rng_u64(r) % 2 ? 1.5f : -1.5f) : random_float(r, i / 32 % 3 ? 40 : 0.02);
    return x;
}

#endif
