/*
 * The encoder. Integers are sorted into classes by the deviation that their row and column let expect, in
 * steps of a quarter of an octave; neighbouring classes share a table where that is shorter. Tables hold the
 * counts of what is there. Source of the coder: kernels/rans.h.
 */
#include "compress/coded_write.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/xxhash.h"
#include "model/coded.h"

#include <math.h>
#include <string.h>

enum {
    L = FORMAT_LANES,
    SYMBOLS = 256,           // 0: the escape; else integer + 128
    CHUNK_TARGET = 64 << 10, // bytes: small enough to be decoded while the next ones come
};

#define CLASSES_OF_OCTAVE 4.0
#define OUTLIER_BITS      400.0 // what an outlier is worth: it takes more time than memory
#define SLOTS             ((double)RANS_SLOTS)

/* How the symbols of a class are coded. */
typedef struct table {
    uint32_t symbols[SYMBOLS];               // how often each is there
    uint32_t escaped;                        // how many of them the escape stands for
    uint32_t least, n;                       // symbols [least, least + n) are in it, beside the escape
    uint32_t count[SYMBOLS], first[SYMBOLS]; // slots
    uint8_t code[SYMBOLS];                   // coded_count_of gives the count; CODED_REST for one
    float bits[SYMBOLS];                     // what a symbol costs
    double cost;                             // bits of all symbols, and of the table
} table;

typedef struct chunk_entry {
    uint32_t n_bytes, n_groups, n_outliers, checksum;
} chunk_entry;

typedef struct encoder {
    const coded_tensor *t;
    coded_data *out;
    arena memory;
    size_t n_groups;
    double *row_power, *col_power, *sums; // (n_rows), (n_cols), (n_cols)
    uint8_t *row_class, *col_class;
    uint32_t n_classes, n_tables;
    table *tables; // (RANS_MAX_CLASSES); one for each class at first
    uint8_t table_of[RANS_MAX_CLASSES];
    int32_t least, most; // integers that are no outliers
    chunk_entry *chunks; // (n_groups) at most
    uint32_t n_chunks;
    uint8_t *words, *escapes;  // (CODED_MAX_CHUNK) of a chunk; words are filled from the end
    size_t n_words, n_escapes; // bytes
} encoder;

bool coded_can_write(uint64_t n_rows, uint64_t n_cols) {
    return n_rows >= 1 && n_rows <= UINT32_MAX && n_cols >= FORMAT_UNIT && n_cols % FORMAT_UNIT == 0 &&
           n_cols <= MATRIX_MAX_CODED_COLS;
}

static const int32_t *row_of(const encoder *e, size_t row) {
    return e->t->z + row * e->t->n_cols;
}

static uint32_t symbol_of(int32_t z) {
    return z > RANS_ESCAPE && z <= INT8_MAX ? (uint32_t)(z + 128) : 0;
}

/* ---- classes ---- */

/* Escapes count as the largest symbol. */
static double power_of(int32_t z) {
    const double limited = z > 127 ? 127 : z < -127 ? -127 : z;
    return limited * limited;
}

/* A row's mean square beside those of the columns, and what it adds to the columns' sums. */
static void fit_row(encoder *e, size_t r) {
    const int32_t *z = row_of(e, r);
    const size_t n = e->t->n_cols;
    double power = 0.5; // not nothing where all are zeros
    for (size_t c = 0; c < n; c++) power += power_of(z[c]) / e->col_power[c];
    e->row_power[r] = power /= (double)n;
    for (size_t c = 0; c < n; c++) e->sums[c] += power_of(z[c]) / power;
}

/* Mean squares of rows and columns whose products are near those of the integers. */
static void fit_powers(encoder *e) {
    const size_t n_rows = e->t->n_rows, n_cols = e->t->n_cols;
    for (size_t c = 0; c < n_cols; c++) e->col_power[c] = 1;
    for (int turn = 0; turn < 2; turn++) {
        for (size_t c = 0; c < n_cols; c++) e->sums[c] = 0.5;
        for (size_t r = 0; r < n_rows; r++) fit_row(e, r);
        for (size_t c = 0; c < n_cols; c++) e->col_power[c] = e->sums[c] / (double)n_rows;
    }
}

/* Classes of powers, so that the largest is `top` and none is below 0; returns the smallest. */
static int classes_of(const double *power, size_t n, int top, uint8_t *out) {
    double most = 0;
    int least = top;
    for (size_t i = 0; i < n; i++) most = power[i] > most ? power[i] : most;
    for (size_t i = 0; i < n; i++) {
        const double below = 0.5 * CLASSES_OF_OCTAVE * log2(most / power[i]);
        const int k = below < top ? top - (int)(below + 0.5) : 0;
        out[i] = (uint8_t)k;
        if (k < least) least = k;
    }
    return least;
}

/* The largest classes of rows and of columns add up to the last one. */
static void find_classes(encoder *e) {
    const size_t n_rows = e->t->n_rows, n_cols = e->t->n_cols;
    enum { COL_TOP = RANS_MAX_CLASSES / 2 - 1, ROW_TOP = RANS_MAX_CLASSES - 1 - COL_TOP };
    fit_powers(e);
    const int row = classes_of(e->row_power, n_rows, ROW_TOP, e->row_class);
    const int col = classes_of(e->col_power, n_cols, COL_TOP, e->col_class);
    for (size_t r = 0; r < n_rows; r++) e->row_class[r] = (uint8_t)(e->row_class[r] - row);
    for (size_t c = 0; c < n_cols; c++) e->col_class[c] = (uint8_t)(e->col_class[c] - col);
    e->n_classes = (uint32_t)(RANS_MAX_CLASSES - row - col);
}

static void count_symbols(encoder *e) {
    for (size_t r = 0; r < e->t->n_rows; r++) {
        const int32_t *z = row_of(e, r);
        table *tables = e->tables + e->row_class[r];
        for (size_t c = 0; c < e->t->n_cols; c++) tables[e->col_class[c]].symbols[symbol_of(z[c])]++;
    }
}

/* ---- tables ---- */

static double escape_bits(uint32_t n) {
    return 8.0 * n; // of what stands apart: most take one or two bytes, and a few more
}

/* Which symbols have slots: from the outside those are left to the escape that cost less there. A symbol
 * costs a byte of the table and a slot, which all others then lack. */
static void choose_range(table *t, uint64_t total) {
    const double price = 8 + 1.4427 * (double)total / SLOTS;
    uint32_t begin = 1, end = SYMBOLS;
    t->escaped = t->symbols[0];
    while (begin < end && escape_bits(t->symbols[begin]) <= price) t->escaped += t->symbols[begin++];
    while (end > begin && escape_bits(t->symbols[end - 1]) <= price) t->escaped += t->symbols[--end];
    t->least = begin;
    t->n = end - begin;
}

/* How often symbol s of a table is used. */
static uint32_t uses_of(const table *t, uint32_t s) {
    return s == 0 ? t->escaped : s >= t->least && s < t->least + t->n ? t->symbols[s] : 0;
}

/* The code whose count is nearest to n, in ratio, but none that is nothing. */
static uint8_t nearest_code(double n) {
    uint8_t above = 1;
    while (coded_count_of(above) < n) above++;
    const double up = coded_count_of(above), down = coded_count_of((uint8_t)(above - 1));
    return above > 1 && n * n < up * down ? (uint8_t)(above - 1) : above;
}

/* The slots that all but `rest` take. */
static uint32_t count_others(const table *t, uint32_t rest) {
    uint32_t sum = 0;
    for (uint32_t s = 0; s < SYMBOLS; s++)
        if (s != rest) sum += t->count[s];
    return sum;
}

/* Lowers the counts that are highest beside what they should be, until `rest` has the slots that it should.
 * There are fewer symbols than slots. */
static void make_room(table *t, uint32_t rest, double each) {
    const double should = uses_of(t, rest) * each;
    const uint32_t want = should > 1 ? (uint32_t)should : 1;
    while (count_others(t, rest) + want > RANS_SLOTS) {
        double worst = 0;
        uint32_t at = rest;
        for (uint32_t s = 0; s < SYMBOLS; s++) {
            const double ratio = t->count[s] / (uses_of(t, s) * each + 1e-9);
            if (s != rest && t->code[s] > 1 && ratio > worst) worst = ratio, at = s;
        }
        if (at == rest) return; // all have one slot
        t->code[at]--;
        t->count[at] = coded_count_of(t->code[at]);
    }
}

/* Slots in proportion to how often symbols are used; the most frequent one has the rest. */
static void share_slots(table *t, uint64_t total) {
    const double each = SLOTS / (double)total;
    uint32_t rest = 0, at = 0;
    for (uint32_t s = 0; s < SYMBOLS; s++) {
        t->code[s] = uses_of(t, s) ? nearest_code(uses_of(t, s) * each) : 0;
        t->count[s] = coded_count_of(t->code[s]);
        if (uses_of(t, s) > uses_of(t, rest)) rest = s;
    }
    make_room(t, rest, each);
    t->count[rest] = RANS_SLOTS - count_others(t, rest);
    t->code[rest] = CODED_REST;
    for (uint32_t s = 0; s < SYMBOLS; s++) t->first[s] = at, at += t->count[s];
}

/* Makes the table of its symbols; false where there are none. */
static bool make_table(table *t) {
    uint64_t total = 0;
    for (uint32_t s = 0; s < SYMBOLS; s++) total += t->symbols[s];
    if (!total) return false;
    choose_range(t, total);
    share_slots(t, total);
    t->cost = 8.0 * (3 + t->n) + escape_bits(t->escaped);
    for (uint32_t s = SYMBOLS; s-- > 0;) {
        t->bits[s] = t->count[s] ? log2f((float)RANS_SLOTS / (float)t->count[s]) : 0;
        t->cost += uses_of(t, s) * (double)t->bits[s];
    }
    t->bits[0] += 12; // with what stands apart
    for (uint32_t s = 1; s < SYMBOLS; s++)
        if (!t->count[s]) t->bits[s] = t->bits[0];
    return true;
}

/* ---- sharing tables ---- */

static void join_tables(const table *a, const table *b, table *out) {
    for (uint32_t s = 0; s < SYMBOLS; s++) out->symbols[s] = a->symbols[s] + b->symbols[s];
    make_table(out);
}

static double gain_of(const table *a, const table *b) {
    table both;
    join_tables(a, b, &both);
    return a->cost + b->cost - both.cost;
}

/* Drops the classes without integers, which then have the table of the class before or after them. */
static void drop_empty(encoder *e) {
    for (uint32_t k = 0; k < e->n_classes; k++) {
        const bool used = make_table(&e->tables[k]);
        if (used && e->n_tables < k) e->tables[e->n_tables] = e->tables[k];
        e->n_tables += used;
        e->table_of[k] = (uint8_t)(e->n_tables ? e->n_tables - 1 : 0);
    }
}

/* Joins the neighbours that gain most, while any do. */
static void share_tables(encoder *e) {
    double gain[RANS_MAX_CLASSES];
    drop_empty(e);
    for (uint32_t i = 0; i + 1 < e->n_tables; i++) gain[i] = gain_of(&e->tables[i], &e->tables[i + 1]);
    while (e->n_tables > 1) {
        uint32_t best = 0;
        table both;
        for (uint32_t i = 1; i + 1 < e->n_tables; i++)
            if (gain[i] > gain[best]) best = i;
        if (gain[best] <= 0) break;
        join_tables(&e->tables[best], &e->tables[best + 1], &both);
        e->tables[best] = both;
        e->n_tables--;
        for (uint32_t i = best + 1; i < e->n_tables; i++)
            e->tables[i] = e->tables[i + 1], gain[i - 1] = gain[i];
        for (uint32_t k = 0; k < e->n_classes; k++)
            if (e->table_of[k] > best) e->table_of[k]--;
        if (best > 0) gain[best - 1] = gain_of(&e->tables[best - 1], &e->tables[best]);
        if (best + 1 < e->n_tables) gain[best] = gain_of(&e->tables[best], &e->tables[best + 1]);
    }
}

static const table *table_at(const encoder *e, size_t row, size_t col) {
    return &e->tables[e->table_of[e->row_class[row] + e->col_class[col]]];
}

/* ---- the format ---- */

/* Integers that a format does not hold. */
static uint64_t count_outliers(const encoder *e, int32_t least, int32_t most) {
    uint64_t n = 0;
    for (size_t i = 0; i < e->t->n_rows * e->t->n_cols; i++) n += e->t->z[i] < least || e->t->z[i] > most;
    return n;
}

/* The one whose codes and outliers take least. */
static void choose_format(encoder *e) {
    const double n = (double)e->t->n_rows * (double)e->t->n_cols;
    double best = INFINITY;
    for (int id = FORMAT_COUNT; id < FORMAT_ALL; id++) {
        const format *f = &format_table[id];
        const int bits = (int)(8 * f->layout->bytes / FORMAT_UNIT);
        const int32_t most = (1 << (bits - 1)) - 1, least = rans_offset(f) ? -most - 1 : -most;
        const uint64_t n_outliers = count_outliers(e, least, most);
        const double cost = bits + OUTLIER_BITS * (double)n_outliers / n;
        if (cost >= best) continue;
        best = cost;
        e->out->format = f;
        e->out->n_outliers = n_outliers;
        e->least = least, e->most = most;
    }
}

/* ---- chunks ---- */

static void put_word(encoder *e, uint32_t w) {
    e->n_words += 2;
    if (e->n_words > CODED_MAX_CHUNK) return;
    uint8_t *at = e->words + CODED_MAX_CHUNK - e->n_words;
    at[0] = (uint8_t)w, at[1] = (uint8_t)(w >> 8);
}

static void put_integer(encoder *e, uint32_t *lane, const table *t, int32_t z) {
    uint32_t s = symbol_of(z);
    if (!t->count[s]) s = 0;
    const uint32_t count = t->count[s];
    if (*lane >= (uint64_t)count << (32 - RANS_BITS)) {
        put_word(e, *lane & 0xffff);
        *lane >>= 16;
    }
    // the coding step of rANS (Duda 2013, arXiv 1311.2540): symbol s has `count` of the 2^RANS_BITS slots
    *lane = (*lane / count << RANS_BITS) + *lane % count + t->first[s];
}

/* As decoding goes, from the end. */
static void put_group(encoder *e, size_t row, size_t n_lanes, uint32_t *lanes) {
    for (size_t c = e->t->n_cols; c-- > 0;)
        for (size_t lane = n_lanes; lane-- > 0;)
            put_integer(e, &lanes[lane], table_at(e, row + lane, c), row_of(e, row + lane)[c]);
}

static void put_escape(encoder *e, int32_t z) {
    uint32_t n = z < 0 ? 2 * (uint32_t)(-(z + 1)) + 1 : 2 * (uint32_t)z;
    for (; e->n_escapes < CODED_MAX_CHUNK; n >>= 7) {
        e->escapes[e->n_escapes++] = (uint8_t)(n % 128 + (n > 127 ? 128 : 0));
        if (n < 128) return;
    }
}

/* What stands apart, by units of 32 columns and in them row by row; returns the outliers. */
static uint32_t put_escapes(encoder *e, size_t row, size_t n_lanes) {
    uint32_t n = 0;
    for (size_t col = 0; col < e->t->n_cols; col += FORMAT_UNIT)
        for (size_t r = row; r < row + n_lanes; r++)
            for (size_t c = col; c < col + FORMAT_UNIT; c++) {
                const int32_t z = row_of(e, r)[c];
                const uint32_t s = symbol_of(z);
                if (!s || !table_at(e, r, c)->count[s]) put_escape(e, z);
                n += z < e->least || z > e->most;
            }
    return n;
}

static size_t lanes_of(const encoder *e, size_t g) {
    const size_t left = e->t->n_rows - g * L;
    return left < L ? left : L;
}

/* Bits that a group takes. */
static double group_bits(const encoder *e, size_t g) {
    double bits = 0;
    for (size_t r = g * L; r < g * L + lanes_of(e, g); r++) {
        const int32_t *z = row_of(e, r);
        for (size_t c = 0; c < e->t->n_cols; c++) bits += (double)table_at(e, r, c)->bits[symbol_of(z[c])];
    }
    return bits;
}

/* How many groups from g on fill a chunk. */
static size_t chunk_groups(const encoder *e, size_t g) {
    double bits = group_bits(e, g);
    size_t n = 1;
    while (g + n < e->n_groups && (bits += group_bits(e, g + n)) < 8 * (double)CHUNK_TARGET) n++;
    return n;
}

static nut_status reserve(coded_data *d, size_t n, nut_error *err) {
    if (d->room - d->n >= n) return NUT_OK;
    const size_t room = 2 * d->room + n;
    uint8_t *p = mem_grow(d->bytes, d->n, room);
    if (!p) return error_memory(err, room);
    d->bytes = p;
    d->room = room;
    return NUT_OK;
}

static void put_le(coded_data *d, uint32_t v, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++) d->bytes[d->n++] = (uint8_t)(v >> (8 * i));
}

static void put_bytes(coded_data *d, const uint8_t *bytes, size_t n) {
    if (n) memcpy(d->bytes + d->n, bytes, n);
    d->n += n;
}

/* Appends a chunk of n groups from g on. */
static nut_status write_chunk(encoder *e, size_t g, size_t n, nut_error *err) {
    chunk_entry *entry = &e->chunks[e->n_chunks++];
    uint32_t lanes[L];
    e->n_words = e->n_escapes = 0;
    *entry = (chunk_entry){.n_groups = (uint32_t)n};
    for (size_t lane = 0; lane < L; lane++) lanes[lane] = RANS_LOW;
    for (size_t i = n; i-- > 0;) put_group(e, (g + i) * L, lanes_of(e, g + i), lanes);
    for (size_t i = 0; i < n; i++) entry->n_outliers += put_escapes(e, (g + i) * L, lanes_of(e, g + i));
    const size_t n_bytes = CODED_CHUNK_HEAD + e->n_words + e->n_escapes;
    if (n_bytes > CODED_MAX_CHUNK)
        return error_set(err, NUT_E_UNSUPPORTED, "rows of %zu such weights are too long to be coded",
                         e->t->n_cols);
    TRY(reserve(e->out, n_bytes, err));
    put_le(e->out, (uint32_t)(e->n_words / 2), 4);
    for (size_t lane = 0; lane < L; lane++) put_le(e->out, lanes[lane], 4);
    put_bytes(e->out, e->words + CODED_MAX_CHUNK - e->n_words, e->n_words);
    put_bytes(e->out, e->escapes, e->n_escapes);
    entry->n_bytes = (uint32_t)n_bytes;
    entry->checksum = xxhash32(e->out->bytes + e->out->n - n_bytes, n_bytes);
    return NUT_OK;
}

/* ---- the head ---- */

/* Numbers of the fewest bits: above the least, without the zeros that all end in. */
static void put_packed(coded_data *d, const uint16_t *v, size_t n) {
    uint32_t least = UINT16_MAX, most = 0, ends = 0, bits = 0, n_bits = 0;
    uint8_t shift = 0, width = 0;
    for (size_t i = 0; i < n; i++) least = v[i] < least ? v[i] : least, most = v[i] > most ? v[i] : most;
    for (size_t i = 0; i < n; i++) ends |= v[i] - least;
    while (ends && !(ends >> shift & 1)) shift++;
    while ((most - least) >> shift >> width) width++;
    put_le(d, least, 2);
    put_le(d, shift, 1), put_le(d, width, 1);
    for (size_t i = 0; i < n; i++) {
        bits |= (v[i] - least) >> shift << n_bits;
        for (n_bits += width; n_bits >= 8; n_bits -= 8, bits >>= 8) put_le(d, bits & 255, 1);
    }
    if (n_bits) put_le(d, bits, 1);
}

/* The code whose scale is nearest: coded_scale_of. */
static uint16_t scale_code(float scale) {
    uint32_t bits;
    memcpy(&bits, &scale, 4);
    const int64_t code = ((int64_t)bits - ((int64_t)87 << 23) + (1 << 12)) >> 13;
    return (uint16_t)(code < 0 ? 0 : code > UINT16_MAX ? UINT16_MAX : code);
}

static void put_scales(encoder *e, const float *scales, size_t n, uint16_t *codes) {
    for (size_t i = 0; i < n; i++) codes[i] = scale_code(scales[i]);
    put_packed(e->out, codes, n);
}

static void put_classes(encoder *e, const uint8_t *classes, size_t n, uint16_t *codes) {
    for (size_t i = 0; i < n; i++) codes[i] = classes[i];
    put_packed(e->out, codes, n);
}

static void put_table(coded_data *d, const table *t) {
    const uint32_t least = t->n ? t->least : 128;
    put_le(d, (uint32_t)(uint8_t)((int32_t)least - 128), 1);
    put_le(d, t->n, 1);
    put_le(d, t->code[0], 1);
    for (uint32_t s = least; s < least + t->n; s++) put_le(d, t->code[s], 1);
}

/* In front of the chunks, which are there already. */
static nut_status write_head(encoder *e, nut_error *err) {
    const coded_tensor *t = e->t;
    coded_data chunks = *e->out, *d = e->out;
    const size_t most = t->n_rows > t->n_cols ? t->n_rows : t->n_cols;
    uint16_t *codes = mem_calloc(most, sizeof *codes);
    *d = (coded_data){.format = chunks.format, .n_outliers = chunks.n_outliers};
    nut_status status = codes ? reserve(d,
                                        chunks.n + CODED_FIXED + 4 + 16 + 4 * (t->n_rows + t->n_cols) +
                                            RANS_MAX_CLASSES * (SYMBOLS + 4) + CODED_ENTRY * e->n_chunks,
                                        err)
                              : error_memory(err, most * sizeof *codes);
    if (status == NUT_OK) {
        put_bytes(d, (const uint8_t *)"NUTC", 4);
        put_le(d, CODED_VERSION, 1), put_le(d, 8 * d->format->layout->bytes / FORMAT_UNIT, 1);
        put_le(d, e->n_classes, 1), put_le(d, e->n_tables, 1);
        put_le(d, (uint32_t)t->n_rows, 4), put_le(d, (uint32_t)t->n_cols, 4);
        put_le(d, e->n_chunks, 4), put_le(d, (uint32_t)d->n_outliers, 4), put_le(d, 0, 4);
        put_scales(e, t->row_scale, t->n_rows, codes), put_scales(e, t->col_scale, t->n_cols, codes);
        put_classes(e, e->row_class, t->n_rows, codes), put_classes(e, e->col_class, t->n_cols, codes);
        put_bytes(d, e->table_of, e->n_classes);
        for (uint32_t i = 0; i < e->n_tables; i++) put_table(d, &e->tables[i]);
        for (uint32_t i = 0; i < e->n_chunks; i++) {
            put_le(d, e->chunks[i].n_bytes, 4), put_le(d, e->chunks[i].n_groups, 4);
            put_le(d, e->chunks[i].n_outliers, 4), put_le(d, e->chunks[i].checksum, 4);
        }
        const size_t n_head = d->n + 4;
        d->n = CODED_FIXED - 4, put_le(d, (uint32_t)n_head, 4);
        d->n = n_head - 4, put_le(d, xxhash32(d->bytes, n_head - 4), 4);
        put_bytes(d, chunks.bytes, chunks.n);
    }
    mem_free(codes);
    mem_free(chunks.bytes);
    return status;
}

/* ---- all of it ---- */

static bool take_memory(encoder *e) {
    arena *a = &e->memory;
    const size_t n_rows = e->t->n_rows, n_cols = e->t->n_cols;
    arena_add(a, n_rows, sizeof(double)), arena_add(a, n_cols, sizeof(double));
    arena_add(a, n_cols, sizeof(double));
    arena_add(a, n_rows, 1), arena_add(a, n_cols, 1);
    arena_add(a, RANS_MAX_CLASSES, sizeof(table));
    arena_add(a, e->n_groups, sizeof(chunk_entry));
    arena_add(a, CODED_MAX_CHUNK, 1), arena_add(a, CODED_MAX_CHUNK, 1);
    if (!arena_open(a)) return false;
    e->row_power = arena_take(a, n_rows, sizeof(double)),
    e->col_power = arena_take(a, n_cols, sizeof(double));
    e->sums = arena_take(a, n_cols, sizeof(double));
    e->row_class = arena_take(a, n_rows, 1), e->col_class = arena_take(a, n_cols, 1);
    e->tables = arena_take(a, RANS_MAX_CLASSES, sizeof(table));
    e->chunks = arena_take(a, e->n_groups, sizeof(chunk_entry));
    e->words = arena_take(a, CODED_MAX_CHUNK, 1), e->escapes = arena_take(a, CODED_MAX_CHUNK, 1);
    return true;
}

static nut_status encode(encoder *e, nut_error *err) {
    if (!coded_can_write(e->t->n_rows, e->t->n_cols))
        return error_set(err, NUT_E_UNSUPPORTED, "a matrix of %zu rows and %zu columns cannot be coded",
                         e->t->n_rows, e->t->n_cols);
    if (!take_memory(e)) return error_memory(err, e->memory.size);
    find_classes(e);
    count_symbols(e);
    share_tables(e);
    choose_format(e);
    for (size_t g = 0, n; g < e->n_groups; g += n) {
        n = chunk_groups(e, g);
        TRY(write_chunk(e, g, n, err));
    }
    return write_head(e, err);
}

nut_status coded_write(const coded_tensor *t, coded_data *out, nut_error *err) {
    encoder e = {.t = t, .out = out, .n_groups = (t->n_rows + L - 1) / L};
    *out = (coded_data){.n = 0};
    const nut_status status = encode(&e, err);
    arena_close(&e.memory);
    if (status != NUT_OK) coded_data_free(out);
    return status;
}

void coded_data_free(coded_data *d) {
    mem_free(d->bytes);
    *d = (coded_data){.n = 0};
}
