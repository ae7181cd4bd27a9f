/* The table of tensor formats: one row each, and the ways to find a row. */
#include "kernels/formats.h"
#include "kernels/blocks.h"

#define NUT_X(name, layout, type, block, bytes, ...)                                                        \
    _Static_assert(block <= FORMAT_MAX_BLOCK && bytes <= FORMAT_MAX_BYTES, #name " has too large blocks");
CODE_FORMAT_LIST(NUT_X)
#undef NUT_X

#define ROW(name, layout, type, block, bytes, quantize)                                                     \
    [FORMAT_##name] = {                                                                                     \
        FORMAT_##name,     #name,   type, block, bytes, &layout_table[LAYOUT_##layout], pack_##name,        \
        dequantize_##name, quantize},
#define FLOATS(name, layout, type, bytes) ROW(name, layout, type, 1, bytes, quantize_##name)
#define CODES(name, layout, type, block, bytes, quantize, read, ...)                                        \
    ROW(name, layout, type, block, bytes, quantize)
#define CODED(name, layout, type)                                                                           \
    [FORMAT_##name] = {FORMAT_##name, #name, type, FORMAT_UNIT, 0, &layout_table[LAYOUT_##layout],          \
                       NULL,          NULL,  NULL},
const format format_table[FORMAT_ALL] = {FLOAT_FORMAT_LIST(FLOATS) CODE_FORMAT_LIST(CODES)
                                             CODED_FORMAT_LIST(CODED)};

#define UP(a) FORMAT_TABLE_ZERO + (a)
const uint8_t format_lut_values[FORMAT_TABLE] = {UP(-63), UP(-44), UP(-33), UP(-25), UP(-18), UP(-12),
                                                 UP(-6),  UP(0),   UP(5),   UP(10),  UP(16),  UP(21),
                                                 UP(28),  UP(35),  UP(46),  UP(63)};

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
    [40] = "NVFP4",
};

const char *format_ggml_name(uint32_t ggml_type) {
    const char *name = ggml_type < sizeof ggml_names / sizeof *ggml_names ? ggml_names[ggml_type] : NULL;
    const format *f = name ? NULL : format_by_ggml(ggml_type);
    return name ? name : f ? f->name : "unknown";
}

const format *format_by_ggml(uint32_t ggml_type) {
    for (size_t i = 0; i < FORMAT_ALL; i++)
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
    for (size_t i = 0; i < FORMAT_ALL; i++)
        if (same_name(format_table[i].name, name)) return &format_table[i];
    return NULL;
}
