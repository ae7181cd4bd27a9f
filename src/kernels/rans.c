/*
 * From coded integers to packed rows. The loop over a unit knows nothing of ends and escapes: words are read
 * ahead of it in a buffer with room behind, and bytes that are no codes are looked for after it.
 */
#include "kernels/rans.h"
#include "base/cursor.h"
#include "kernels/layouts.inc"

enum { UNIT_BYTES = 2 * L * FORMAT_UNIT }; // of words that a unit takes at most: one for each integer

typedef struct decoder {
    const rans_model *m;
    const rans_target *to;
    uint32_t lanes[L];
    const uint8_t *words, *words_end; // UNIT_BYTES can be read behind the end
    bool tail_used;
    uint8_t tail[2 * UNIT_BYTES]; // the last words
    cursor escapes;
    uint32_t outlier, outlier_end;
    bool wrong;
} decoder;

/* ---- the codes of a unit ---- */

static uint32_t load_word(const uint8_t *p) {
    uint16_t w;
    memcpy(&w, p, 2);
    return w;
}

/* A table with one integer takes no bits: lanes without a row have it. */
static void fill_empty(uint8_t code, uint32_t table[RANS_SLOTS]) {
    for (uint32_t i = 0; i < RANS_SLOTS; i++) table[i] = rans_slot(code, i, RANS_SLOTS);
}

/* The codes (8 rows, 32) of the next unit. tables: of the classes that a row has for each class of a column.
 */
static void decode_unit(decoder *d, const uint32_t *const *const tables[L], const uint8_t *col_class,
                        uint8_t *codes) {
    const uint8_t *words = d->words;
    uint32_t x[L];
    memcpy(x, d->lanes, sizeof x);
    for (size_t c = 0; c < FORMAT_UNIT; c++) {
        const size_t k = col_class[c];
#pragma GCC unroll 8
        for (size_t lane = 0; lane < L; lane++) {
            const uint32_t slot = tables[lane][k][x[lane] % RANS_SLOTS];
            const uint32_t next = (slot >> 20) * (x[lane] >> RANS_BITS) + (slot >> 8 & 0xfffu);
            const uint32_t dry = next < RANS_LOW; // without a branch, as it would be guessed wrongly
            codes[FORMAT_UNIT * lane + c] = (uint8_t)slot;
            x[lane] = next << 16 * dry | (load_word(words) & (0u - dry));
            words += 2 * dry;
        }
    }
    memcpy(d->lanes, x, sizeof x);
    d->words = words;
}

/* A unit is decoded without checks for the end of its words. Where fewer are left than it may read, they are
 * copied to a buffer that ends in zeros. */
static void read_ahead(decoder *d) {
    const size_t left = (size_t)(d->words_end - d->words);
    if (left >= UNIT_BYTES || d->tail_used) return;
    memcpy(d->tail, d->words, left);
    memset(d->tail + left, 0, sizeof d->tail - left);
    d->words = d->tail;
    d->words_end = d->tail + left;
    d->tail_used = true;
}

/* ---- escapes and outliers ---- */

static int64_t next_escape(decoder *d) {
    uint64_t n = 0;
    for (int shift = 0; shift < 35; shift += 7) {
        const uint8_t b = cursor_u8(&d->escapes);
        n |= (uint64_t)(b & 127u) << shift;
        if (b < 128) break;
    }
    d->wrong |= d->escapes.ended || n > UINT32_MAX;
    return n & 1 ? -(int64_t)(n / 2) - 1 : (int64_t)(n / 2);
}

static void add_outlier(decoder *d, size_t lane, size_t col, float value) {
    if (d->outlier == d->outlier_end)
        d->wrong = true;
    else
        d->to->outliers[d->outlier++] = (matrix_outlier){(uint16_t)col, (uint16_t)lane, value};
}

/* Whether any byte of a unit has a bit of `mask`, or is `escape`. */
static bool has_special(const uint8_t *codes, uint8_t mask, uint8_t escape) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t found = 0;
    for (size_t i = 0; i < L * FORMAT_UNIT; i += 8) {
        uint64_t w;
        memcpy(&w, codes + i, 8);
        found |= w & ones * mask;
        if (mask) continue;
        w ^= ones * escape;
        found |= (w - ones) & ~w & ones * 128;
    }
    return found != 0;
}

/* The integer that a code byte stands for. */
static int64_t integer_of(decoder *d, uint8_t code, int32_t offset) {
    const int32_t z = (int8_t)(uint8_t)(code - offset);
    return z == RANS_ESCAPE ? next_escape(d) : z;
}

/* ---- into layouts ---- */

#define NUT_X(name, layout, ...)                                                                            \
    static void put_##name(uint8_t *unit, const uint8_t *codes) {                                           \
        uint32_t words[UNIT_WORDS];                                                                         \
        for (uint32_t lane = 0; lane < L; lane++) {                                                         \
            memcpy(words, codes + FORMAT_UNIT * lane, sizeof words);                                        \
            layout_##layout.codes->put(layout_##layout.codes, unit, lane, words);                           \
        }                                                                                                   \
    }
CODED_FORMAT_LIST(NUT_X)
#undef NUT_X

static const struct {
    void (*put)(uint8_t *unit, const uint8_t *codes); // codes (8 rows, 32) into a cleared unit
    const code_layout *layout;
} targets[FORMAT_ALL - FORMAT_COUNT] = {
#define NUT_X(name, layout, ...) [FORMAT_##name - FORMAT_COUNT] = {put_##name, &layout_##layout},
    CODED_FORMAT_LIST(NUT_X)
#undef NUT_X
};

static const code_layout *layout_of(const format *to) {
    return targets[to->id - FORMAT_COUNT].layout;
}

int32_t rans_offset(const format *to) {
    return format_is_coded(to) ? layout_of(to)->offset : 0;
}

/* Codes that the layout does not have become the nearest ones, and outliers. */
static void settle_codes(decoder *d, const float *row_scale, size_t n_lanes, size_t col, uint8_t *codes) {
    const code_layout *l = layout_of(d->to->format);
    const int32_t most = (1 << (l->codes->n_bits - 1)) - 1, least = l->offset ? -most - 1 : -most;
    for (size_t lane = 0; lane < n_lanes; lane++)
        for (size_t c = 0; c < FORMAT_UNIT; c++) {
            uint8_t *code = &codes[FORMAT_UNIT * lane + c];
            const int32_t byte = (int8_t)(uint8_t)(*code - l->offset);
            if (byte >= least && byte <= most) continue;
            const int64_t z = integer_of(d, *code, l->offset), held = z < least  ? least
                                                                      : z > most ? most
                                                                                 : z;
            *code = (uint8_t)(held + l->offset);
            if (z != held) add_outlier(d, lane, col + c, (float)(z - held) * row_scale[lane]);
        }
}

static void put_codes(decoder *d, uint8_t *group, size_t n_lanes, const float *row_scale, size_t col,
                      uint8_t *codes) {
    const code_layout *l = layout_of(d->to->format);
    const uint8_t mask = (uint8_t)(l->offset ? 0u - (1u << l->codes->n_bits) : 0);
    if (has_special(codes, mask, (uint8_t)RANS_ESCAPE)) settle_codes(d, row_scale, n_lanes, col, codes);
    targets[d->to->format->id - FORMAT_COUNT].put(
        group + layout_group_head(l) + col / FORMAT_UNIT * l->codes->bytes, codes);
}

static void put_floats(decoder *d, uint8_t *group, size_t n_lanes, const float *row_scale, size_t col,
                       const uint8_t *codes) {
    float row[FORMAT_UNIT];
    for (uint32_t lane = 0; lane < n_lanes; lane++) {
        for (size_t c = 0; c < FORMAT_UNIT; c++)
            row[c] = (float)integer_of(d, codes[FORMAT_UNIT * lane + c], 0) * row_scale[lane] *
                     d->m->col_scale[col + c];
        d->to->format->pack(group, lane, col, FORMAT_UNIT, (const uint8_t *)row);
    }
}

/* ---- groups ---- */

/* The matrix that a row belongs to, and which of its rows that is. */
static const matrix *find_matrix(const rans_target *to, size_t *row) {
    size_t each = 0, i = 0;
    for (size_t k = 0; k < RANS_PARTS && to->w[k]; k++) each += to->w[k]->n_rows;
    const size_t of_stack = *row / each;
    for (*row %= each; *row >= to->w[i]->n_rows; i++) *row -= to->w[i]->n_rows;
    return &to->w[i][of_stack];
}

static void decode_group(decoder *d, size_t g, const uint32_t *const *empty) {
    const rans_target *to = d->to;
    const size_t row = g * L;
    size_t own_row = row;
    const matrix *w = find_matrix(to, &own_row);
    const size_t n_lanes = w->n_rows - own_row < L ? w->n_rows - own_row : L;
    const bool coded = format_is_coded(to->format);
    const float *row_scale = d->m->row_scale + row;
    const uint32_t *const *tables[L];
    uint8_t *group = matrix_group(w, own_row), codes[L * FORMAT_UNIT];
    for (size_t lane = 0; lane < L; lane++)
        tables[lane] = lane < n_lanes ? d->m->tables + d->m->row_class[row + lane] : empty;
    if (coded) memcpy(group, row_scale, n_lanes * sizeof *row_scale);
    if (coded) to->first[g] = d->outlier;
    for (size_t col = 0; col < d->m->n_cols && !d->wrong; col += FORMAT_UNIT) {
        read_ahead(d);
        decode_unit(d, tables, d->m->col_class + col, codes);
        d->wrong = d->words > d->words_end;
        if (coded)
            put_codes(d, group, n_lanes, row_scale, col, codes);
        else
            put_floats(d, group, n_lanes, row_scale, col, codes);
    }
}

/* Whether all of the stream was used, and nothing else: encoding began where decoding ends. */
static bool at_end(const decoder *d) {
    bool right = !d->wrong && d->words == d->words_end && d->escapes.at == d->escapes.n &&
                 d->outlier == d->outlier_end;
    for (size_t lane = 0; lane < L; lane++) right &= d->lanes[lane] == RANS_LOW;
    return right;
}

bool rans_decode(const rans_model *m, const rans_stream *s, const rans_target *to, size_t g, size_t n,
                 uint32_t first, uint32_t end) {
    const uint32_t *empty[RANS_MAX_CLASSES];
    uint32_t table[RANS_SLOTS];
    decoder d = {.m = m,
                 .to = to,
                 .words = s->words,
                 .words_end = s->words + 2 * s->n_words,
                 .escapes = {.bytes = s->escapes, .n = s->n_escapes},
                 .outlier = format_is_coded(to->format) ? first : end, // floats hold all
                 .outlier_end = end};
    memcpy(d.lanes, s->lanes, sizeof d.lanes);
    fill_empty((uint8_t)rans_offset(to->format), table);
    for (size_t k = 0; k < RANS_MAX_CLASSES; k++) empty[k] = table;
    for (size_t i = 0; i < n && !d.wrong; i++) decode_group(&d, g + i, empty);
    return at_end(&d);
}
