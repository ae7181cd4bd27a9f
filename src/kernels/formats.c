/* The table of tensor formats: one row each, and the ways to find a row. */
#include "kernels/formats.h"
#include "kernels/blocks.h"

/* Tolerance: float additions in another order than the reference's. Products of floats round at every
 * column; integer dot products are exact and round once or twice per block. */
#define ROW(name, type, block, bytes, act, tolerance, quantize)                                             \
    [FORMAT_##name] = {FORMAT_##name,    #name,     type,        block,         bytes,                      \
                       FORMAT_ACT_##act, tolerance, pack_##name, unpack_##name, dequantize_##name,          \
                       quantize}

const format format_table[FORMAT_COUNT] = {
    ROW(F32, 0, 1, 4, F32, 2e-6f, quantize_F32),    ROW(F16, 1, 1, 2, F32, 2e-6f, quantize_F16),
    ROW(BF16, 30, 1, 2, F32, 2e-6f, quantize_BF16), ROW(Q8_0, 8, 32, 34, Q8, 1e-6f, quantize_Q8_0),
    ROW(Q4_0, 2, 32, 18, Q8, 1e-6f, quantize_Q4_0), ROW(Q4_1, 3, 32, 20, Q8, 1e-6f, quantize_Q4_1),
    ROW(Q5_0, 6, 32, 22, Q8, 1e-6f, NULL),          ROW(Q5_1, 7, 32, 24, Q8, 1e-6f, NULL),
    ROW(Q4_K, 12, 256, 144, Q8, 1e-6f, NULL),       ROW(Q5_K, 13, 256, 176, Q8, 1e-6f, NULL),
    ROW(Q6_K, 14, 256, 210, Q8, 1e-6f, NULL),
};

/* Type numbers of ggml.h (llama.cpp, MIT), those that were withdrawn included. */
static const char *const ggml_names[] = {
    [0] = "F32",     [1] = "F16",         [2] = "Q4_0",        [3] = "Q4_1",        [4] = "Q4_2",
    [5] = "Q4_3",    [6] = "Q5_0",        [7] = "Q5_1",        [8] = "Q8_0",        [9] = "Q8_1",
    [10] = "Q2_K",   [11] = "Q3_K",       [12] = "Q4_K",       [13] = "Q5_K",       [14] = "Q6_K",
    [15] = "Q8_K",   [16] = "IQ2_XXS",    [17] = "IQ2_XS",     [18] = "IQ3_XXS",    [19] = "IQ1_S",
    [20] = "IQ4_NL", [21] = "IQ3_S",      [22] = "IQ2_S",      [23] = "IQ4_XS",     [24] = "I8",
    [25] = "I16",    [26] = "I32",        [27] = "I64",        [28] = "F64",        [29] = "IQ1_M",
    [30] = "BF16",   [31] = "Q4_0_4_4",   [32] = "Q4_0_4_8",   [33] = "Q4_0_8_8",   [34] = "TQ1_0",
    [35] = "TQ2_0",  [36] = "IQ4_NL_4_4", [37] = "IQ4_NL_4_8", [38] = "IQ4_NL_8_8", [39] = "MXFP4",
};

const char *format_ggml_name(uint32_t ggml_type) {
    return ggml_type < sizeof ggml_names / sizeof *ggml_names ? ggml_names[ggml_type] : "unknown";
}

const format *format_by_ggml(uint32_t ggml_type) {
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        if (format_table[i].ggml_type == ggml_type) return &format_table[i];
    return NULL;
}

static char upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool same_name(const char *a, const char *b) {
    while (*a && upper(*a) == upper(*b)) a++, b++;
    return upper(*a) == upper(*b);
}

const format *format_by_name(const char *name) {
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        if (same_name(format_table[i].name, name)) return &format_table[i];
    return NULL;
}

void matrix_row(const matrix *m, size_t row, float *out) {
    const format *f = m->format;
    const uint8_t *group = m->data + row / FORMAT_LANES * matrix_group_bytes(m);
    uint8_t block[FORMAT_MAX_BYTES];
    for (size_t b = 0; b < m->n_cols / f->block; b++) {
        f->unpack(group, (uint32_t)(row % FORMAT_LANES), b, 1, block);
        f->dequantize(block, 1, out + b * f->block);
    }
}
