/* Written headers have the same bytes as those of make_gguf.h, which follows ggml's docs/gguf.md and
 * shares no code with the writer, however many bytes are asked for at a time. */
#include "check.h"
#include "counting_alloc.h"
#include "make_gguf.h"
#include "model/gguf_write.h"

static const gguf_str texts[] = {{"one", 3}, {"", 0}, {"zw\0lf", 5}};
static const int16_t shorts[] = {-2, 0, 32767};
static const double doubles[] = {1.5, -0.0};

/* A pair of each type, and keys that replace those before them. */
static nut_status set_all(gguf_meta *m, nut_error *err) {
    nut_status s = gguf_meta_int(m, "u8", GGUF_U8, 200, err);
    if (s == NUT_OK) s = gguf_meta_int(m, "general.file_type", GGUF_U32, 1, err);
    if (s == NUT_OK) s = gguf_meta_int(m, "i8", GGUF_I8, -3, err);
    if (s == NUT_OK) s = gguf_meta_int(m, "u16", GGUF_U16, 60000, err);
    if (s == NUT_OK) s = gguf_meta_int(m, "i16", GGUF_I16, -30000, err);
    if (s == NUT_OK) s = gguf_meta_int(m, "i32", GGUF_I32, -70000, err);
    if (s == NUT_OK) s = gguf_meta_f32(m, "f32", 0.1f, err);
    if (s == NUT_OK) s = gguf_meta_int(m, "bool", GGUF_BOOL, true, err);
    if (s == NUT_OK) s = gguf_meta_str(m, "text", texts[2], err);
    if (s == NUT_OK) s = gguf_meta_int(m, "u64", GGUF_U64, -1, err);
    if (s == NUT_OK) s = gguf_meta_int(m, "i64", GGUF_I64, INT64_MIN, err);
    if (s == NUT_OK) s = gguf_meta_f64(m, "f64", 1.5, err);
    if (s == NUT_OK) s = gguf_meta_array(m, "shorts", GGUF_I16, shorts, 3, err);
    if (s == NUT_OK) s = gguf_meta_array(m, "doubles", GGUF_F64, doubles, 2, err);
    if (s == NUT_OK) s = gguf_meta_array(m, "none", GGUF_BOOL, NULL, 0, err);
    if (s == NUT_OK) s = gguf_meta_strings(m, "texts", texts, 3, err);
    if (s == NUT_OK) s = gguf_meta_int(m, "general.file_type", GGUF_U32, 7, err);
    return s;
}

/* The same by make_gguf.h. */
static void make_all(make_gguf *g) {
    make_int(g, "u8", MAKE_U8, 200, 1);
    make_int(g, "i8", MAKE_I8, 253, 1);
    make_int(g, "u16", MAKE_U16, 60000, 2);
    make_int(g, "i16", MAKE_I16, 35536, 2);
    make_int(g, "i32", MAKE_I32, 4294897296, 4);
    make_f32(g, "f32", 0.1f);
    make_bool(g, "bool", true);
    make_key(g, "text", MAKE_STRING);
    make_le(&g->kv, 5, 8), make_put(&g->kv, "zw\0lf", 5);
    make_int(g, "u64", MAKE_U64, UINT64_MAX, 8);
    make_int(g, "i64", MAKE_I64, (uint64_t)1 << 63, 8);
    make_int(g, "f64", MAKE_F64, 0x3ff8000000000000, 8);
    make_array(g, "shorts", MAKE_I16, 3);
    make_le(&g->kv, 65534, 2), make_le(&g->kv, 0, 2), make_le(&g->kv, 32767, 2);
    make_array(g, "doubles", MAKE_F64, 2);
    make_le(&g->kv, 0x3ff8000000000000, 8), make_le(&g->kv, (uint64_t)1 << 63, 8);
    make_array(g, "none", MAKE_BOOL, 0);
    make_array(g, "texts", MAKE_STRING, 3);
    make_text(&g->kv, "one"), make_text(&g->kv, "");
    make_le(&g->kv, 5, 8), make_put(&g->kv, "zw\0lf", 5);
    make_u32(g, "general.file_type", 7);
}

static bool read_header(gguf *g, const uint8_t *file, size_t n) {
    nut_error err = {0};
    bool complete = false;
    size_t used;
    nut_status status = gguf_begin(g, n, &err);
    if (status == NUT_OK) status = gguf_feed(g, file, n, &used, &complete, &err);
    return CHECK(status == NUT_OK && complete, "%s", err.message);
}

/* The header, `step` bytes at a time. */
static make_bytes write_header(const gguf *source, gguf_meta *meta, size_t step) {
    static uint8_t some[100000];
    make_bytes out = {0};
    gguf_writer w;
    nut_error err = {0};
    nut_status status = gguf_write_begin(&w, source, meta, source->tensors, source->n_tensors, &err);
    CHECK(status == NUT_OK, "%s", err.message);
    for (size_t n; (n = gguf_write_header(&w, some, step)) > 0;) {
        CHECK(n <= step, "%zu bytes for %zu", n, step);
        make_put(&out, some, n);
    }
    CHECK(gguf_write_header(&w, some, step) == 0 && w.n_bytes == out.n, "it is complete");
    return out;
}

static void test_header(uint64_t alignment) {
    make_gguf from = make_model(&(make_options){0}), to = make_model(&(make_options){0});
    gguf g;
    gguf_meta meta = {0};
    nut_error err = {0};
    size_t n, n_to;
    if (alignment != 32) make_u32(&from, "general.alignment", (uint32_t)alignment);
    if (alignment != 32) make_u32(&to, "general.alignment", (uint32_t)alignment);
    from.alignment = to.alignment = alignment;
    make_int(&from, "u8", MAKE_I32, 5, 4); // replaced, with another type
    make_all(&to);
    uint8_t *file = make_file(&from, &n), *want = make_file(&to, &n_to);
    CHECK(set_all(&meta, &err) == NUT_OK, "%s", err.message);
    if (read_header(&g, file, n)) {
        static const size_t steps[] = {1, 2, 7, 100, 4096, 100000};
        for (size_t i = 0; i < 6; i++) {
            make_bytes out = write_header(&g, &meta, steps[i]);
            gguf h;
            if (read_header(&h, want, n_to))
                CHECK(out.n == h.data_offset && !memcmp(out.p + 24, want + 24, h.n_bytes - 24) &&
                          !memcmp(out.p, want, 24),
                      "another header by %zu bytes", steps[i]);
            for (size_t k = h.n_bytes; k < out.n; k++) CHECK(out.p[k] == 0, "padding");
            gguf_free(&h);
            free(out.p);
        }
    }
    gguf_free(&g);
    gguf_meta_free(&meta);
    free(file), free(want);
    make_free(&from), make_free(&to);
}

/* Without changes it is the header that was read. */
static void test_same(void) {
    make_gguf from = make_model(&(make_options){.byte_pairs = true});
    gguf g;
    size_t n;
    uint8_t *file = make_file(&from, &n);
    if (read_header(&g, file, n)) {
        make_bytes out = write_header(&g, &(gguf_meta){0}, 1000);
        CHECK(out.n == g.data_offset && !memcmp(out.p, file, g.n_bytes), "another header");
        free(out.p);
    }
    gguf_free(&g);
    free(file);
    make_free(&from);
}

static void test_limits(void) {
    gguf_tensor t[2] = {{.n_dims = 1, .n_bytes = INT64_MAX / 2}, {.n_dims = 1, .n_bytes = INT64_MAX / 2}};
    const gguf g = {.alignment = 32};
    gguf_meta meta = {0};
    gguf_writer w;
    nut_error err;
    CHECK(gguf_write_begin(&w, &g, &meta, t, 2, &err) == NUT_E_CORRUPT, "beyond 2^63 bytes");
    CHECK(gguf_write_begin(&w, &g, &meta, t, 1, &err) == NUT_OK, "half of it");
    CHECK(gguf_meta_str(&meta, "long", (gguf_str){"x", UINT64_MAX}, &err) == NUT_E_ARGUMENT, "a text");
    CHECK(gguf_meta_array(&meta, "long", GGUF_F64, "x", UINT64_MAX / 8, &err) == NUT_E_ARGUMENT, "an array");
    CHECK(gguf_meta_strings(&meta, "long", &(gguf_str){"x", UINT64_MAX}, 1, &err) == NUT_E_ARGUMENT,
          "texts");
    CHECK(meta.n_pairs == 0, "nothing is set");
    for (size_t k = 1, failed = 1; failed; k++) {
        counting_start(k);
        nut_status status = set_all(&meta, &err);
        failed = counting.n_failed;
        CHECK(failed ? status == NUT_E_MEMORY : status == NUT_OK, "allocation %zu: %s", k, err.message);
        gguf_meta_free(&meta);
        CHECK(counting.alive == 0, "%zu blocks are left", counting.alive);
        counting_stop();
    }
}

int main(void) {
    test_header(32);
    test_header(64);
    test_header(1024);
    test_same();
    test_limits();
    return check_report();
}
