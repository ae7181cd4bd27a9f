/* The table of layouts, and packed rows as floats. */
#include "base/half.h"
#include "kernels/layouts.inc"

/* Tolerance: float additions in another order than the reference's. Products of floats round at every
 * column; integer dot products are exact and round once or twice per unit. */
#define FLOAT_TOLERANCE 2e-6f
#define CODE_TOLERANCE  1e-6f

/* ---- floats ---- */

static void floats_F32(const uint8_t *group, const uint8_t *table, uint32_t lane, size_t first, size_t n,
                       float *dst) {
    (void)table;
    for (size_t c = 0; c < n; c++) memcpy(dst + c, group + 4 * (L * (first + c) + lane), 4);
}

static uint16_t number16(const uint8_t *group, uint32_t lane, size_t c) {
    uint16_t h;
    memcpy(&h, group + 2 * (L * c + lane), 2);
    return h;
}

static void floats_F16(const uint8_t *group, const uint8_t *table, uint32_t lane, size_t first, size_t n,
                       float *dst) {
    (void)table;
    for (size_t c = 0; c < n; c++) dst[c] = half_f16_to_f32(number16(group, lane, first + c));
}

static void floats_BF16(const uint8_t *group, const uint8_t *table, uint32_t lane, size_t first, size_t n,
                        float *dst) {
    (void)table;
    for (size_t c = 0; c < n; c++) dst[c] = half_bf16_to_f32(number16(group, lane, first + c));
}

/* ---- codes ---- */

BLOCK_INLINE void block_get(const code_layout *l, const uint8_t *block, uint32_t lane, block_parts *to) {
    scales_get(l->scales, block, lane, to);
    block += layout_head(l);
    for (uint32_t u = 0; u < l->scales->n_units; u++, block += l->codes->bytes)
        l->codes->get(l->codes, block, lane, to->codes + UNIT_WORDS * u);
}

#define NUT_X(name, ...)                                                                                    \
    static void floats_##name(const uint8_t *group, const uint8_t *table, uint32_t lane, size_t first,      \
                              size_t n, float *dst) {                                                       \
        const code_layout *l = &layout_##name;                                                              \
        block_parts parts = {.row = 0, .table = table};                                                     \
        if (l->scales->row) memcpy(&parts.row, group + sizeof(float) * lane, sizeof(float));                \
        group += layout_group_head(l);                                                                      \
        for (size_t b = first; b < first + n; b++, dst += layout_columns(l)) {                              \
            block_get(l, group + b * layout_bytes(l), lane, &parts);                                        \
            layout_floats(l, &parts, dst);                                                                  \
        }                                                                                                   \
    }
CODE_LAYOUT_LIST(NUT_X)
#undef NUT_X

/* ---- the table ---- */

#define FLOATS(name, bytes)                                                                                 \
    [LAYOUT_##name] = {LAYOUT_##name, #name, 1, bytes, 0, FORMAT_ACT_F32, FLOAT_TOLERANCE, floats_##name},
#define CODES(name, ...)                                                                                    \
    [LAYOUT_##name] = {LAYOUT_##name, #name,         COLUMNS_##name, BYTES_##name,                          \
                       HEAD_##name,   FORMAT_ACT_Q8, CODE_TOLERANCE, floats_##name},
const layout layout_table[LAYOUT_COUNT] = {FLOAT_LAYOUT_LIST(FLOATS) CODE_LAYOUT_LIST(CODES)};

void matrix_row(const matrix *m, size_t row, float *out) {
    const layout *l = m->format->layout;
    const matrix_coded *coded = m->coded;
    const size_t g = row / L, lane = row % L;
    l->floats(matrix_group(m, row), m->table, (uint32_t)lane, 0, m->n_cols / l->block, out);
    if (!coded) return;
    for (size_t i = coded->first[g]; i < coded->first[g + 1]; i++)
        if (coded->outliers[i].lane == lane) out[coded->outliers[i].col] += coded->outliers[i].value;
    for (size_t c = 0; c < m->n_cols; c++) out[c] *= coded->col_scale[c];
}

void matrix_add_outliers(const matrix *m, size_t begin, size_t end, const float *x, float *y) {
    const uint32_t *first = m->coded->first;
    for (size_t g = begin / L; g < (end + L - 1) / L; g++)
        for (size_t i = first[g]; i < first[g + 1]; i++) {
            const matrix_outlier *o = &m->coded->outliers[i];
            y[L * g + o->lane] += o->value * x[o->col];
        }
}
