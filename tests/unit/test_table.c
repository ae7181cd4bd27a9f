/* Types with tables: blocks beside those of numpy, tables in metadata, in products, and learned. */
#include "../golden/lut.h"
#include "base/rng.h"
#include "check.h"
#include "compress/table.h"
#include "make_gguf.h"
#include "model/bind.h"
#include "model/gguf_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64, BYTES = 33, FLOATS = LUT_BLOCKS * BLOCK };

static void from_hex(const char *hex, void *out) {
    uint8_t *to = out;
    for (size_t i = 0; hex[2 * i]; i++) {
        const char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
        to[i] = (uint8_t)strtoul(two, NULL, 16);
    }
}

/* ---- blocks ---- */

static void check_floats(const uint8_t *table, const char *golden) {
    uint8_t blocks[LUT_BLOCKS * BYTES];
    float expected[FLOATS], got[FLOATS];
    const format *f = format_by_name("lut4");
    from_hex(lut_blocks, blocks);
    from_hex(golden, expected);
    format_floats(f, table, blocks, LUT_BLOCKS, got);
    CHECK(memcmp(got, expected, sizeof got) == 0, "blocks to floats");
    matrix m = {.format = f, .n_rows = 1, .n_cols = FLOATS, .table = table};
    m.data = calloc(1, matrix_bytes(&m));
    CHECK(f->pack(m.data, 0, 0, LUT_BLOCKS, blocks), "packed");
    matrix_row(&m, 0, got);
    CHECK(memcmp(got, expected, sizeof got) == 0, "a packed row");
    free(m.data);
}

static void test_blocks(void) {
    CHECK(format_by_name("lut4")->bytes == BYTES && format_by_name("lut4")->block == BLOCK,
          "size of a block");
    CHECK(memcmp(lut_normal_table, format_lut_values, 16) == 0, "NormalFloat");
    check_floats(NULL, lut_normal_floats);
    check_floats(lut_normal_table, lut_normal_floats);
    check_floats(lut_own_table, lut_own_floats);
}

/* STEP2, which has no table. */
static void test_step2(void) {
    uint8_t blocks[STEP2_BLOCKS * 10], again[sizeof blocks];
    float expected[STEP2_BLOCKS * 32], got[STEP2_BLOCKS * 32];
    const format *f = format_by_name("step2");
    from_hex(step2_blocks, blocks);
    from_hex(step2_floats, expected);
    CHECK(f->bytes == 10 && f->block == 32 && !format_has_table(f), "size of a block");
    f->dequantize(blocks, STEP2_BLOCKS, got);
    for (size_t i = 0; i < STEP2_BLOCKS * 32; i++)
        CHECK(got[i] == expected[i], "weight %zu is %g, not %g", i, (double)got[i], (double)expected[i]);
    type_encode(type_with_codes(FORMAT_STEP2), expected, NULL, STEP2_BLOCKS, again);
    f->dequantize(again, STEP2_BLOCKS, got);
    for (size_t i = 0; i < STEP2_BLOCKS * 32; i++)
        CHECK(got[i] == expected[i], "encoded weight %zu is %g, not %g", i, (double)got[i],
              (double)expected[i]);
}

/* A scale is the nearest that a byte holds. */
static void test_scales(void) {
    const type_row *t = type_with_codes(FORMAT_LUT4);
    rng r;
    rng_seed(&r, 3);
    for (int i = 0; i < 10000; i++) {
        const float d = exp2f((float)(rng_f64(&r) * 30 - 23)), got = t->kind.round(d);
        const float step = exp2f(floorf(log2f(d)) - 3);
        const float most = d > 120 ? 120 : d;
        CHECK(fabsf(got - most) <= step / 2, "%g became %g", (double)d, (double)got);
        CHECK(t->kind.round(got) == got, "%g is not held", (double)got);
    }
    CHECK(t->kind.round(-1) == 0 && t->kind.round(0) == 0 && t->kind.round(1e30f) == 120, "ends");
}

/* ---- learning ---- */

enum { ROWS = 40, COLS = 192 };

/* Weights that a table near NormalFloat can stand for without any error tell it. */
static void test_planted(void) {
    static float weights[ROWS * COLS], importance[COLS], felt[ROWS];
    static const int planted[16] = {-63, -46, -35, -26, -20, -13, -8, -2, 4, 9, 15, 23, 30, 37, 45, 60};
    uint8_t table[FORMAT_TABLE];
    rng r;
    rng_seed(&r, 5);
    for (size_t c = 0; c < COLS; c++) importance[c] = 1;
    for (size_t i = 0; i < ROWS * COLS; i++) {
        const float scale = ldexpf(1, -(int)(i / BLOCK % 5) - 3);
        weights[i] = scale * (float)planted[i % BLOCK < 16 ? i % BLOCK : rng_u64(&r) % 16];
        felt[i / COLS] = 1;
    }
    memcpy(table, format_lut_values, sizeof table);
    table_learn(FORMAT_LUT4, &(table_rows){weights, importance, felt, ROWS, COLS}, table);
    for (size_t i = 0; i < FORMAT_TABLE; i++)
        CHECK(table[i] - 64 == planted[i], "value %zu: %d, not %d", i, table[i] - 64, planted[i]);
}

static double error_with(const uint8_t *table, const float *weights, const float *importance,
                         const float *felt) {
    table_type t;
    fit_block fit;
    double error = 0;
    table_type_set(&t, FORMAT_LUT4, table);
    for (size_t i = 0; i < ROWS * COLS; i += BLOCK) {
        fit_find(&t.row.kind, weights + i, importance + i % COLS, &fit);
        error += (double)felt[i / COLS] * fit.error;
    }
    return error;
}

/* Of heavy tails, where a few columns and rows count most, and are shaped otherwise. */
static void test_learned(void) {
    static float weights[ROWS * COLS], importance[COLS], felt[ROWS];
    uint8_t table[FORMAT_TABLE];
    rng r;
    rng_seed(&r, 6);
    for (size_t c = 0; c < COLS; c++) importance[c] = c % 4 ? 0.01f : 1;
    for (size_t i = 0; i < ROWS * COLS; i++) {
        double x = 2 * rng_f64(&r) - 1; // of what counts all values are as likely
        if (i % COLS % 4) x = x * x * x * x * x;
        weights[i] = (float)x;
        felt[i / COLS] = 1;
    }
    memcpy(table, format_lut_values, sizeof table);
    table_learn(FORMAT_LUT4, &(table_rows){weights, importance, felt, ROWS, COLS}, table);
    const double normal = error_with(format_lut_values, weights, importance, felt),
                 learned = error_with(table, weights, importance, felt);
    CHECK(learned < 0.8 * normal, "an error of %g, of NormalFloat %g", learned, normal);
    for (size_t i = 1; i < FORMAT_TABLE; i++) CHECK(table[i] >= table[i - 1], "values rise");
}

/* ---- metadata ---- */

/* A model whose matrices have tables: `n` bytes that follow from their place, of that type. */
static uint8_t *make_tables(size_t n, uint32_t elem, size_t *n_file) {
    make_gguf g = make_model(&(make_options){.arch = "llama", .matrices = FORMAT_LUT4, .n_ff = 128});
    if (elem != MAKE_ARRAY) make_array(&g, "nutshell.tables", elem, n);
    for (size_t i = 0; i < n; i++)
        make_le(&g.kv,
                elem == MAKE_BOOL           ? 1
                : elem == MAKE_U8 && i == 9 ? 127
                                            : 16 * (i / 16 % 7) + i % 16,
                1);
    uint8_t *file = make_file(&g, n_file);
    make_free(&g);
    return file;
}

static nut_status read_header(gguf *g, const uint8_t *file, size_t n, nut_error *err) {
    bool complete = false;
    size_t used;
    nut_status status = gguf_begin(g, n, err);
    return status == NUT_OK ? gguf_feed(g, file, n, &used, &complete, err) : status;
}

static size_t count_tables(const gguf *g) {
    size_t n = 0;
    for (uint64_t i = 0; i < g->n_tensors; i++) n += g->tensors[i].ggml_type == 0x4e555414u;
    return n;
}

/* The k-th table as make_tables has it; of none, NormalFloat. */
static bool is_table(const uint8_t *table, size_t k, bool none) {
    for (size_t i = 0; i < FORMAT_TABLE; i++) {
        const size_t made = k == 0 && i == 9 ? 127 : 16 * (k % 7) + i;
        if (table[i] != (none ? lut_normal_table[i] : made)) return false;
    }
    return true;
}

static void check_tables(const gguf *g, bool none) {
    size_t k = 0;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const gguf_tensor *t = &g->tensors[i];
        CHECK(t->has_table == (t->ggml_type == 0x4e555414u), "%.*s", (int)t->name.n, t->name.s);
        if (t->has_table) CHECK(is_table(t->table, k++, none), "table %zu", k);
    }
    CHECK(k > 5, "%zu tables", k);
}

/* Written again, with its first tensor left out, the others keep their tables. */
static void check_written(const gguf *g) {
    static uint8_t bytes[1 << 20];
    gguf_meta meta = {0};
    gguf_writer w;
    gguf again = {0};
    nut_error err = {0};
    size_t n = 0, first = 0;
    while (!g->tensors[first].has_table) first++;
    const uint64_t n_left = g->n_tensors - first - 1;
    CHECK(gguf_write_begin(&w, g, &meta, g->tensors + first + 1, n_left, &err) == NUT_OK, "%s", err.message);
    for (size_t some; (some = gguf_write_header(&w, bytes + n, sizeof bytes - n)) > 0;) n += some;
    gguf_begin(&again, 0, &err);
    bool complete = false;
    size_t used;
    CHECK(gguf_feed(&again, bytes, n, &used, &complete, &err) == NUT_OK && complete, "%s", err.message);
    CHECK(again.n_tensors == n_left, "%d tensors", (int)again.n_tensors);
    for (uint64_t i = 0; i < n_left && i < again.n_tensors; i++)
        CHECK(!memcmp(again.tensors[i].table, g->tensors[first + 1 + i].table, FORMAT_TABLE), "table %d",
              (int)i);
    gguf_free(&again);
    gguf_meta_free(&meta);
}

/* A loaded matrix multiplies by what its table says. */
static void check_loaded(const uint8_t *file, size_t n, const gguf *g) {
    nut_model *m = NULL;
    nut_error err = {0};
    static float row[4096], expected[4096];
    if (!CHECK(make_load(file, n, 4096, NULL, &m, &err) == NUT_OK, "%s", err.message)) return;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const gguf_tensor *t = &g->tensors[i];
        void *to;
        const tensor_spec *spec = bind_find(m, t->name, &to);
        if (!t->has_table || !spec || spec->kind != TENSOR_MATRIX) continue;
        format_floats(&format_table[FORMAT_LUT4], t->table, file + t->offset, (size_t)t->dims[0] / BLOCK,
                      expected);
        matrix_row(to, 0, row);
        CHECK(!memcmp(row, expected, (size_t)t->dims[0] * sizeof *row), "%.*s", (int)t->name.n, t->name.s);
    }
    nut_model_free(m);
}

static void test_metadata(void) {
    size_t n;
    gguf g = {0};
    nut_error err = {0};
    uint8_t *file = make_tables(0, MAKE_ARRAY, &n);
    CHECK(read_header(&g, file, n, &err) == NUT_OK, "%s", err.message);
    check_tables(&g, true);
    const size_t n_tables = FORMAT_TABLE * count_tables(&g);
    gguf_free(&g), free(file);
    file = make_tables(n_tables, MAKE_U8, &n);
    CHECK(read_header(&g, file, n, &err) == NUT_OK, "%s", err.message);
    check_tables(&g, false);
    check_written(&g);
    check_loaded(file, n, &g);
    gguf_free(&g), free(file);
}

static void check_refused(size_t n_tables, uint32_t elem, uint8_t value, const char *why) {
    size_t n;
    gguf g = {0};
    nut_error err = {0};
    uint8_t *file = make_tables(n_tables, elem, &n), *key = file;
    while (memcmp(key, "nutshell.tables", 15)) key++;
    if (value) key[15 + 4 + 4 + 8 + 20] = value;
    CHECK(read_header(&g, file, n, &err) == NUT_E_CORRUPT && strstr(err.message, why), "%s", err.message);
    gguf_free(&g), free(file);
}

static void test_damaged(void) {
    size_t n;
    gguf g = {0};
    nut_error err = {0};
    uint8_t *file = make_tables(0, MAKE_ARRAY, &n);
    CHECK(read_header(&g, file, n, &err) == NUT_OK, "%s", err.message);
    const size_t n_tables = FORMAT_TABLE * count_tables(&g);
    gguf_free(&g), free(file);
    check_refused(n_tables - 1, MAKE_U8, 0, "lacks its table");
    check_refused(n_tables, MAKE_BOOL, 0, "lacks its table");
    check_refused(n_tables, MAKE_U8, 128, "out of range");
}

int main(void) {
    test_blocks();
    test_step2();
    test_scales();
    test_planted();
    test_learned();
    test_metadata();
    test_damaged();
    return check_report();
}
