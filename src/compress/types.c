/*
 * Types of GGUF as rows of a table: what their blocks can hold (fit.h), and where it stands. Origin of the
 * places: ggml-common.h of llama.cpp (MIT).
 *
 * Codes stand in one or two *planes*: so many bits of each, from the lowest. A byte has those of columns
 * that are `width` apart, the first lowest; `width` bytes follow each other, and then the next so many
 * columns.
 */
#include "compress/types.h"

#include "base/half.h"

#include <math.h>
#include <string.h>

/* ---- numbers ---- */

#define LARGEST_HALF 65504.0f

static float round_half(float d) {
    d = d > LARGEST_HALF ? LARGEST_HALF : d < -LARGEST_HALF ? -LARGEST_HALF : d;
    return half_f16_to_f32(half_f32_to_f16(d));
}

/* Powers of two, of which a file has the exponent: 2^(e - 128). */
static float round_power(float d) {
    if (d == 0) return 0;
    const float e = floorf(log2f(fabsf(d)) + 0.5f);
    return exp2f(fminf(fmaxf(e, -128), 127));
}

/* A float of 8 bits (scales.inc, kind h8) has no sign, 3 bits behind the leading one, and exponents of a
 * half float's normal numbers and one more; the code of one. */
static int h8_code(float d) {
    int e;
    const float part = frexpf(d, &e); // 0.5 <= part < 1
    if (!(d > 0)) return 0;
    const int code = 8 * (e + 24) + (int)floorf(16 * part + 0.5f) - 8;
    return code < 8 ? (code < 4 ? 0 : 8) : code > 255 ? 255 : code;
}

static float h8_value(int code) {
    return code ? ldexpf((float)(8 + code % 8), code / 8 - 28) : 0;
}

static float round_h8(float d) {
    return h8_value(h8_code(d));
}

static void half_store(uint8_t *p, float f) {
    const uint16_t h = half_f32_to_f16(f);
    memcpy(p, &h, 2);
}

/* ---- scales ---- */

static void put_q2_k(const fit_block *f, uint8_t *block) {
    for (int g = 0; g < 16; g++) block[g] = (uint8_t)(f->scales[g] | f->mins[g] << 4);
}

/* 6 bits, 32 higher: four at 96 + g % 8, two at 104 + g % 4. */
static void put_q3_k(const fit_block *f, uint8_t *block) {
    for (int g = 0; g < 16; g++) {
        const int s = f->scales[g] + 32;
        block[96 + g % 8] = (uint8_t)(block[96 + g % 8] | (s & 15) << (g < 8 ? 0 : 4));
        block[104 + g % 4] = (uint8_t)(block[104 + g % 4] | (s >> 4) << 2 * (g / 4));
    }
}

/* 6 bits of each: those of the last four are split. */
static void put_q4_k(const fit_block *f, uint8_t *block) {
    uint8_t *q = block + 4;
    for (int g = 0; g < 4; g++) {
        const int s = f->scales[g + 4], m = f->mins[g + 4];
        q[g] = (uint8_t)(f->scales[g] | (s >> 4) << 6);
        q[g + 4] = (uint8_t)(f->mins[g] | (m >> 4) << 6);
        q[g + 8] = (uint8_t)((s & 15) | (m & 15) << 4);
    }
}

static void put_q6_k(const fit_block *f, uint8_t *block) {
    for (int g = 0; g < 16; g++) block[192 + g] = (uint8_t)f->scales[g];
}

static void put_iq4_xs(const fit_block *f, uint8_t *block) {
    for (int g = 0; g < 8; g++) {
        const int s = f->scales[g] + 32;
        block[4 + g / 2] = (uint8_t)(block[4 + g / 2] | (s & 15) << (g % 2 ? 4 : 0));
        block[2 + g / 4] = (uint8_t)(block[2 + g / 4] | (s >> 4) << 2 * (g % 4));
    }
}

static void put_q8_0(const fit_block *f, uint8_t *block) {
    for (int c = 0; c < 32; c++) block[2 + c] = (uint8_t)f->codes[c];
}

/* The half float is added. */
static void put_min(const fit_block *f, uint8_t *block) {
    half_store(block + 2, -f->dmin);
}

static void put_mxfp4(const fit_block *f, uint8_t *block) {
    block[0] = (uint8_t)(f->d > 0 ? ilogbf(f->d) + 128 : 0);
}

static void put_lut4(const fit_block *f, uint8_t *block) {
    block[0] = (uint8_t)h8_code(f->d);
}

/* ---- blocks of which columns go ---- */

/* The patterns of two of four columns, a bit for each column: their numbers are their places. */
static const uint8_t two_of_four[6] = {0x3, 0x5, 0x9, 0x6, 0xA, 0xC};

static uint32_t pattern_of(uint32_t kept) {
    uint32_t p = 0;
    while (p < 5 && two_of_four[p] != kept) p++;
    return p;
}

/* Where the columns stand that are kept: 3 bits for each four, or a bit for each. */
static void put_kept(const fit_block *f, uint32_t of, uint8_t *places) {
    uint32_t all = f->kept;
    if (of == 4)
        for (uint32_t w = all = 0; w < 8; w++) all |= pattern_of(f->kept >> 4 * w & 15u) << 3 * w;
    for (uint32_t i = 0; i < (of == 4 ? 3 : 4); i++) places[i] = (uint8_t)(all >> 8 * i);
}

/* Codes of the columns that are kept, one behind the other; of 4 bits 8 higher, two in a byte. */
static void put_sparse(const fit_block *f, uint32_t of, bool nibbles, uint8_t *block) {
    uint8_t *codes = block + (of == 4 ? 5 : 6);
    put_kept(f, of, block + 2);
    for (uint32_t c = 0, i = 0; c < 32; c++) {
        if (!(f->kept >> c & 1)) continue;
        uint8_t *to = codes + (nibbles ? i / 2 : i);
        *to = (uint8_t)(nibbles ? *to | (f->codes[c] + 8) << 4 * (i % 2) : f->codes[c]);
        i++;
    }
}

static void put_q4_24(const fit_block *f, uint8_t *block) {
    put_sparse(f, 4, true, block);
}

static void put_q4_48(const fit_block *f, uint8_t *block) {
    put_sparse(f, 8, true, block);
}

static void put_q8_24(const fit_block *f, uint8_t *block) {
    put_sparse(f, 4, false, block);
}

/* ---- codes ---- */

/* E2M1, doubled, without the second zero, as codes 0..14 that rise; mx_code is what a file has. */
static const int8_t mx_values[15] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
static int mx_code(int code) {
    return code < 7 ? 15 - code : code - 7;
}

static const int8_t nl_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

static const int8_t lut_values[16] = {-63, -44, -33, -25, -18, -12, -6, 0, 5, 10, 16, 21, 28, 35, 46, 63};

static void put_plane(const struct type_plane *p, uint32_t column, uint32_t bits, uint8_t *block) {
    const uint32_t span = p->width * (8u / p->bits);
    uint8_t *to = block + p->at + column / span * p->width + column % p->width;
    *to = (uint8_t)(*to | (bits & ((1u << p->bits) - 1)) << p->bits * (column % span / p->width));
}

static void put_codes(const type_row *t, const fit_block *f, uint8_t *block) {
    for (uint32_t c = 0; c < t->kind.n_groups * t->kind.n_cols; c++) {
        const uint32_t code =
            (uint32_t)(t->kind.values == mx_values ? mx_code(f->codes[c]) : f->codes[c] - t->kind.lo);
        put_plane(&t->low, c, code, block);
        if (t->high.bits) put_plane(&t->high, c, code >> t->low.bits, block);
    }
}

/* Five numbers of 0..2, or the last four, as a fraction of 256 in base 3. A byte has those of columns
 * n_bytes apart. */
static void put_trits(const int *codes, uint32_t n_bytes, uint32_t n, uint8_t *to) {
    for (uint32_t i = 0; i < n_bytes; i++) {
        uint32_t q = 0;
        for (uint32_t k = 0; k < 5; k++) q = 3 * q + (k < n ? (uint32_t)(codes[i + k * n_bytes] + 1) : 0);
        to[i] = (uint8_t)((q * 256 + 242) / 243);
    }
}

static void put_tq1(const fit_block *f, uint8_t *block) {
    put_trits(f->codes, 32, 5, block);
    put_trits(f->codes + 160, 16, 5, block + 32);
    put_trits(f->codes + 240, 4, 4, block + 48);
}

/* ---- the table ---- */

// clang-format off
#define ALL 0, 0 // columns may have codes
#define HALF round_half, ALL
static const type_row rows[] = {
    // type, shorter, {groups, columns, codes from, to, values, scale from, to, minimums, narrow, round,
    //     how many columns have codes, of how many},
    //     planes {at, bits, columns} of low and of high bits, d, dmin, what else is put, no book
    {FORMAT_Q8_0, FORMAT_Q8_0, {1, 32, -127, 127, NULL, 1, 1, 0, .95f, HALF},
     {0, 0, 0}, {0, 0, 0}, 0, 0, put_q8_0, NULL, NULL},
    {FORMAT_Q4_0, FORMAT_Q4_0, {1, 32, -8, 7, NULL, 1, 1, 0, .7f, HALF},
     {2, 4, 16}, {0, 0, 0}, 0, 0, NULL, NULL, NULL},
    {FORMAT_Q4_1, FORMAT_Q4_1, {1, 32, 0, 15, NULL, 1, 1, 1, .7f, HALF},
     {4, 4, 16}, {0, 0, 0}, 0, 2, put_min, NULL, NULL},
    {FORMAT_Q5_0, FORMAT_Q5_0, {1, 32, -16, 15, NULL, 1, 1, 0, .8f, HALF},
     {6, 4, 16}, {2, 1, 1}, 0, 0, NULL, NULL, NULL},
    {FORMAT_Q5_1, FORMAT_Q5_1, {1, 32, 0, 31, NULL, 1, 1, 1, .8f, HALF},
     {8, 4, 16}, {4, 1, 1}, 0, 2, put_min, NULL, NULL},
    {FORMAT_IQ4_NL, FORMAT_IQ4_NL, {1, 32, 0, 15, nl_values, 1, 1, 0, .6f, HALF},
     {2, 4, 16}, {0, 0, 0}, 0, 0, NULL, NULL, NULL},
    {FORMAT_LUT4, FORMAT_IQ4_NL, {1, 64, 0, 15, lut_values, 1, 1, 0, .5f, round_h8, ALL},
     {1, 4, 16}, {0, 0, 0}, 0, 0, put_lut4, NULL, NULL},
    {FORMAT_STEP2, FORMAT_STEP2, {1, 32, -2, 1, NULL, 1, 1, 0, .3f, HALF},
     {2, 2, 8}, {0, 0, 0}, 0, 0, NULL, NULL, NULL},
    {FORMAT_Q4_24, FORMAT_Q4_0, {1, 32, -8, 7, NULL, 1, 1, 0, .7f, round_half, 2, 4},
     {0, 0, 0}, {0, 0, 0}, 0, 0, put_q4_24, NULL, NULL},
    {FORMAT_Q4_48, FORMAT_Q4_0, {1, 32, -8, 7, NULL, 1, 1, 0, .7f, round_half, 4, 8},
     {0, 0, 0}, {0, 0, 0}, 0, 0, put_q4_48, NULL, NULL},
    {FORMAT_Q8_24, FORMAT_Q8_0, {1, 32, -127, 127, NULL, 1, 1, 0, .95f, round_half, 2, 4},
     {0, 0, 0}, {0, 0, 0}, 0, 0, put_q8_24, NULL, NULL},
    {FORMAT_MXFP4, FORMAT_MXFP4, {1, 32, 0, 14, mx_values, 1, 1, 0, .4f, round_power, ALL},
     {1, 4, 16}, {0, 0, 0}, 0, 0, put_mxfp4, NULL, NULL},
    {FORMAT_Q2_K, FORMAT_IQ4_NL, {16, 16, 0, 3, NULL, 0, 15, 15, .5f, HALF},
     {16, 2, 32}, {0, 0, 0}, 80, 82, put_q2_k, NULL, NULL},
    {FORMAT_Q3_K, FORMAT_IQ4_NL, {16, 16, -4, 3, NULL, -32, 31, 0, .6f, HALF},
     {32, 2, 32}, {0, 1, 32}, 108, 0, put_q3_k, NULL, NULL},
    {FORMAT_Q4_K, FORMAT_Q5_0, {8, 32, 0, 15, NULL, 0, 63, 63, .7f, HALF},
     {16, 4, 32}, {0, 0, 0}, 0, 2, put_q4_k, NULL, NULL},
    {FORMAT_Q5_K, FORMAT_Q5_1, {8, 32, 0, 31, NULL, 0, 63, 63, .8f, HALF},
     {48, 4, 32}, {16, 1, 32}, 0, 2, put_q4_k, NULL, NULL},
    {FORMAT_Q6_K, FORMAT_Q8_0, {16, 16, -32, 31, NULL, -128, 127, 0, .9f, HALF},
     {0, 4, 64}, {128, 2, 32}, 208, 0, put_q6_k, NULL, NULL},
    {FORMAT_IQ4_XS, FORMAT_IQ4_NL, {8, 32, 0, 15, nl_values, -32, 31, 0, .6f, HALF},
     {8, 4, 16}, {0, 0, 0}, 0, 0, put_iq4_xs, NULL, NULL},
    {FORMAT_TQ1_0, FORMAT_Q4_0, {1, 256, -1, 1, NULL, 1, 1, 0, .1f, HALF},
     {0, 0, 0}, {0, 0, 0}, 52, 0, put_tq1, NULL, NULL},
    {FORMAT_TQ2_0, FORMAT_Q4_0, {1, 256, -1, 1, NULL, 1, 1, 0, .1f, HALF},
     {0, 2, 32}, {0, 0, 0}, 64, 0, NULL, NULL, NULL},
};
// clang-format on

const type_row *type_with_codes(format_id id) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].id == id) return &rows[i];
    return NULL;
}

const type_row *type_any(format_id id) {
    for (size_t i = 0; i < TYPE_BOOKS; i++)
        if (type_books[i].id == id) return &type_books[i];
    return type_with_codes(id);
}

const type_row *type_find(format_id id) {
    return format_table[id].quantize ? NULL : type_any(id);
}

const format *type_for(const format *to, const gguf_tensor *t) {
    const type_row *row = type_any(to->id);
    const bool in_layer = t->name.n > 4 && !memcmp(t->name.s, "blk.", 4);
    if (!row || (t->dims[0] % to->block == 0 && (in_layer || !row->kind.of))) return to;
    return &format_table[row->shorter];
}

void type_put(const type_row *t, const fit_block *fit, uint8_t *block) {
    memset(block, 0, format_table[t->id].bytes);
    if (t->kind.round == round_half) half_store(block + t->d, fit->d);
    if (t->dmin) half_store(block + t->dmin, fit->dmin);
    if (t->put) t->put(fit, block);
    if (t->low.bits) put_codes(t, fit, block);
}

static void encode_block(const type_row *t, const float *x, const float *weight, uint8_t *block) {
    fit_block fit;
    fit_find(&t->kind, x, weight, &fit);
    type_put(t, &fit, block);
}

static void encode_book(const type_row *t, const float *x, const float *weight, uint8_t *block) {
    book_block fit;
    book_fit(t->book, x, weight, &fit);
    memset(block, 0, format_table[t->id].bytes);
    t->put_book(&fit, block);
}

void type_encode(const type_row *t, const float *x, const float *weight, size_t n, uint8_t *blocks) {
    const format *f = &format_table[t->id];
    float same[FIT_COLS];
    for (size_t c = 0; c < FIT_COLS; c++) same[c] = 1;
    for (size_t b = 0; b < n; b++, x += f->block, blocks += f->bytes) {
        (t->book ? encode_book : encode_block)(t, x, weight ? weight + b * f->block : same, blocks);
    }
}
