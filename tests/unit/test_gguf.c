/* The header reader: every type, bytes in any steps, each field wrong in turn, and the cost of hostile
 * files. */
#include "check.h"
#include "counting_alloc.h"
#include "data.h"
#include "make_gguf.h"
#include "model/gguf.h"

#define STR(x) (int)(x).n, (x).s

/* Feeds n bytes, `step` at a time (0: all at once); the caller frees the header. */
static nut_status read_whole(gguf *g, const uint8_t *bytes, size_t n, size_t step, uint64_t file_size,
                             nut_error *err) {
    bool complete = false;
    size_t n_used;
    nut_status status = gguf_begin(g, file_size, err);
    if (step == 0) step = n ? n : 1;
    for (size_t at = 0; status == NUT_OK && !complete && at < n; at += step)
        status = gguf_feed(g, bytes + at, n - at < step ? n - at : step, &n_used, &complete, err);
    return status == NUT_OK && !complete ? gguf_end(g, err) : status;
}

/* ---- values ---- */

/* All scalar types and arrays of them; the numbers are distinct in every byte. */
static void put_values(make_gguf *g) {
    make_int(g, "u8", MAKE_U8, 0xf1, 1);
    make_int(g, "i8", MAKE_I8, 0xf1, 1);
    make_int(g, "u16", MAKE_U16, 0xf1e2, 2);
    make_int(g, "i16", MAKE_I16, 0xf1e2, 2);
    make_u32(g, "u32", 0xf1e2d3c4);
    make_int(g, "i32", MAKE_I32, 0xf1e2d3c4, 4);
    make_f32(g, "f32", -1.5f);
    make_bool(g, "bool", true);
    make_str(g, "string", "na\xc3\xafve");
    make_int(g, "u64", MAKE_U64, 0xf1e2d3c4b5a69788, 8);
    make_int(g, "i64", MAKE_I64, (uint64_t)-5, 8);
    make_int(g, "f64", MAKE_F64, 0x3fd5555555555555, 8); // 1/3
    make_int(g, "small", MAKE_U64, 77, 8);
    make_int(g, "zero", MAKE_U64, 0, 8);
    make_array(g, "strings", MAKE_STRING, 3);
    make_text(&g->kv, "one"), make_text(&g->kv, ""), make_text(&g->kv, "three");
    make_array(g, "numbers", MAKE_I16, 3);
    make_le(&g->kv, 1, 2), make_le(&g->kv, 0xffff, 2), make_le(&g->kv, 3, 2);
    make_array(g, "empty", MAKE_STRING, 0);
    make_str(g, "", "");
    g->kv.n -= 8 + 4 + 8, g->n_kv--; // a pair with an empty key is refused: removed again
}

static void check_scalars(const gguf *g) {
    static const struct {
        const char *key;
        uint32_t want;
        bool fits; // in a u32
    } ints[] = {{"u8", 0xf1, true}, {"i8", 0, false},          {"u16", 0xf1e2, true},
                {"i16", 0, false},  {"u32", 0xf1e2d3c4, true}, {"i32", 0, false},
                {"u64", 0, false},  {"i64", 0, false},         {"small", 77, true},
                {"zero", 0, true},  {"f32", 0, false},         {"string", 0, false},
                {"bool", 0, false}, {"missing", 123, true}};
    nut_error err;
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        uint32_t v = 9;
        nut_status status = gguf_get_u32(g, ints[i].key, 123, &v, &err);
        CHECK(status == (ints[i].fits ? NUT_OK : NUT_E_CORRUPT), "%s: status %d", ints[i].key, status);
        CHECK(!ints[i].fits || v == ints[i].want, "%s: %u", ints[i].key, v);
    }
    float f = 0;
    bool b = false;
    CHECK(gguf_get_f32(g, "f32", 0, &f, &err) == NUT_OK && f == -1.5f, "f32 %g", (double)f);
    CHECK(gguf_get_f32(g, "f64", 0, &f, &err) == NUT_OK && f == 1.0f / 3, "f64 %g", (double)f);
    CHECK(gguf_get_f32(g, "none", 7, &f, &err) == NUT_OK && f == 7, "missing float %g", (double)f);
    CHECK(gguf_get_f32(g, "u32", 0, &f, &err) == NUT_E_CORRUPT, "an integer is no float");
    CHECK(gguf_get_bool(g, "bool", false, &b, &err) == NUT_OK && b, "bool");
    CHECK(gguf_get_bool(g, "u8", false, &b, &err) == NUT_E_CORRUPT, "an integer is no bool");
}

static void check_texts(const gguf *g) {
    static const char *const words[] = {"one", "", "three"};
    nut_error err;
    gguf_str s;
    CHECK(gguf_get_str(g, "string", NULL, &s, &err) == NUT_OK && gguf_str_is(s, "na\xc3\xafve"), "%.*s",
          STR(s));
    CHECK(gguf_get_str(g, "none", "else", &s, &err) == NUT_OK && gguf_str_is(s, "else"), "%.*s", STR(s));
    CHECK(gguf_get_str(g, "u8", NULL, &s, &err) == NUT_E_CORRUPT, "a number is no text");
    const gguf_kv *kv = gguf_find(g, "strings");
    const uint8_t *at = kv->value;
    CHECK(kv->type == GGUF_ARRAY && kv->elem == GGUF_STRING && kv->n == 3, "strings");
    for (size_t i = 0; i < 3; i++) {
        at = gguf_next_string(g, at, &s);
        CHECK(gguf_str_is(s, words[i]), "string %zu is %.*s", i, STR(s));
    }
    CHECK(at == kv->value + kv->n_bytes, "the strings end at %td of %llu", at - kv->value,
          (unsigned long long)kv->n_bytes);
    kv = gguf_find(g, "numbers");
    CHECK(kv->elem == GGUF_I16 && kv->n == 3 && kv->n_bytes == 6 &&
              !memcmp(kv->value, "\1\0\xff\xff\3\0", 6),
          "numbers");
    kv = gguf_find(g, "empty");
    CHECK(kv->n == 0 && kv->n_bytes == 0, "empty array");
    CHECK(!gguf_find(g, "strin") && !gguf_find(g, "strings2") && !gguf_find(g, ""), "keys are whole");
}

static void test_values(void) {
    static const size_t steps[] = {0, 1, 7, 4096};
    for (uint32_t version = 2; version <= 3; version++) {
        make_gguf m = {.version = version, .alignment = 32};
        size_t n;
        put_values(&m);
        make_add(&m, "t", FORMAT_Q8_0, 64, 3);
        uint8_t *file = make_file(&m, &n);
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            gguf g;
            nut_error err = {0};
            CHECK(read_whole(&g, file, n, steps[i], n, &err) == NUT_OK, "version %u: %s", version,
                  err.message);
            CHECK(g.version == version && g.n_kv == m.n_kv && g.n_tensors == 1, "counts");
            CHECK(g.file_bytes == n, "%llu bytes of %zu", (unsigned long long)g.file_bytes, n);
            check_scalars(&g);
            check_texts(&g);
            const gguf_tensor *t = g.tensors;
            CHECK(gguf_str_is(t->name, "t") && t->n_dims == 2 && t->dims[0] == 64 && t->dims[1] == 3 &&
                      t->dims[2] == 1 && t->ggml_type == 8 && t->n_bytes == 2 * 34 * 3 &&
                      t->offset == g.data_offset,
                  "tensor");
            gguf_free(&g);
        }
        free(file);
        make_free(&m);
    }
}

/* ---- against another reader ---- */

static uint64_t fnv(uint64_t h, const void *bytes, uint64_t n) {
    const uint8_t *b = bytes;
    for (uint64_t i = 0; i < n; i++) h = (h ^ b[i]) * 1099511628211u;
    return h;
}

static uint64_t value_digest(const gguf *g, const gguf_kv *kv) {
    uint64_t h = 14695981039346656037u;
    if (kv->type == GGUF_STRING) return fnv(h, kv->value + 8, kv->n_bytes - 8);
    if (kv->elem != GGUF_STRING) return fnv(h, kv->value, kv->n_bytes);
    const uint8_t *at = kv->value;
    for (uint64_t i = 0; i < kv->n; i++) {
        gguf_str s;
        at = gguf_next_string(g, at, &s);
        h = fnv(fnv(h, s.s, s.n), "", 1);
    }
    return h;
}

static uint64_t header_digest(const gguf *g) {
    uint64_t h = 14695981039346656037u;
    char line[512];
    for (uint64_t i = 0; i < g->n_kv; i++) {
        const gguf_kv *kv = &g->kv[i];
        int n = snprintf(line, sizeof line, "%.*s %d %d %llu %016llx\n", STR(kv->key), (int)kv->type,
                         (int)kv->elem, (unsigned long long)kv->n, (unsigned long long)value_digest(g, kv));
        h = fnv(h, line, (uint64_t)n);
    }
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const gguf_tensor *t = &g->tensors[i];
        int n = snprintf(line, sizeof line, "T %.*s %u", STR(t->name), t->ggml_type);
        for (uint32_t d = 0; d < t->n_dims; d++)
            n += snprintf(line + n, sizeof line - (size_t)n, " %llu", (unsigned long long)t->dims[d]);
        n += snprintf(line + n, sizeof line - (size_t)n, " %llu %llu\n", (unsigned long long)t->offset,
                      (unsigned long long)t->n_bytes);
        h = fnv(h, line, (uint64_t)n);
    }
    return h;
}

/* Digests printed by tests/golden/headers.py with the PyPI package gguf 0.19.0. */
static const struct {
    const char *name;
    uint64_t n_kv, n_tensors, digest;
} goldens[] = {
    {"vocab/bert-bge.gguf", 20, 0, 0x4fe2f342cc953c29},
    {"vocab/deepseek-coder.gguf", 25, 0, 0xae54ea23d2b5205f},
    {"vocab/falcon.gguf", 18, 0, 0x3d3121d11cd3f3af},
    {"vocab/gpt-2.gguf", 16, 0, 0xd36832ba2917b48c},
    {"vocab/llama-bpe.gguf", 10, 0, 0x2b0a9ac1bd7eeadd},
    {"vocab/llama-spm.gguf", 22, 0, 0x24aff33b219aee5d},
    {"vocab/phi-3.gguf", 26, 0, 0xa6979bc37572bba8},
    {"vocab/qwen2.gguf", 10, 0, 0xc86df2098621b8aa},
    {"models/stories260K-f32.gguf", 23, 47, 0x3d7023c97af01858},
};

static void check_golden(const char *name, uint64_t n_kv, uint64_t n_tensors, uint64_t digest) {
    static const size_t steps[] = {0, 1, 4099};
    size_t n = 0;
    uint8_t *file = (uint8_t *)data_read(name, &n);
    if (!file) {
        CHECK_SKIP("%s is missing", data_path(name));
        return;
    }
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        gguf g;
        nut_error err = {0};
        CHECK(read_whole(&g, file, n, steps[i], n, &err) == NUT_OK, "%s: %s", name, err.message);
        CHECK(g.n_kv == n_kv && g.n_tensors == n_tensors && header_digest(&g) == digest,
              "%s in pieces of %zu: %llu pairs, %llu tensors, digest %016llx", name, steps[i],
              (unsigned long long)g.n_kv, (unsigned long long)g.n_tensors,
              (unsigned long long)header_digest(&g));
        gguf_free(&g);
    }
    free(file);
}

static void test_goldens(void) {
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++)
        check_golden(goldens[i].name, goldens[i].n_kv, goldens[i].n_tensors, goldens[i].digest);
}

/* ---- cut files ---- */

static size_t header_size(const uint8_t *file, size_t n) {
    gguf g;
    size_t size = 0;
    if (read_whole(&g, file, n, 0, n, NULL) == NUT_OK) size = g.n_bytes;
    gguf_free(&g);
    return size;
}

/* A file that ends anywhere in its header is never accepted as complete, whether its size is known or
 * not. */
static void check_cuts(const uint8_t *file, size_t n, const char *name) {
    const size_t header = header_size(file, n);
    size_t wrong = 0;
    CHECK(header > 24, "%s has a header", name);
    for (size_t cut = 0; cut < header; cut++) {
        gguf g;
        nut_error err = {0};
        nut_status status = read_whole(&g, file, cut, 0, 0, &err);
        wrong +=
            status != (cut < 4 ? NUT_E_NOT_GGUF : NUT_E_TRUNCATED) || err.code != status || !*err.message;
        gguf_free(&g);
        status = read_whole(&g, file, cut, 1000, cut, &err);
        wrong += cut < 24 ? status == NUT_OK : status != NUT_E_TRUNCATED && status != NUT_E_CORRUPT;
        gguf_free(&g);
    }
    CHECK(wrong == 0, "%s: %zu of %zu cuts gave the wrong error", name, wrong, 2 * header);
}

static void test_cuts(void) {
    static const char story[] = "models/stories260K-f32.gguf";
    make_gguf m = make_model(&(make_options){0});
    size_t n = 0;
    uint8_t *file = make_file(&m, &n);
    check_cuts(file, n, "a made model");
    free(file);
    make_free(&m);
    file = (uint8_t *)data_read(story, &n);
    if (file)
        check_cuts(file, n, story);
    else
        CHECK_SKIP("%s is missing", data_path(story));
    free(file);
}

/* ---- every field wrong in turn ---- */

/* A header of two pairs and two tensors, so that each field has a known place. */
static make_gguf small_model(void) {
    make_gguf m = {.version = 3, .alignment = 32};
    make_u32(&m, "general.alignment", 32);
    make_array(&m, "words", MAKE_STRING, 1);
    make_text(&m.kv, "word");
    make_add(&m, "first", FORMAT_F32, 32, 2);
    make_add(&m, "second", FORMAT_Q4_0, 64, 3);
    return m;
}

enum {
    AT_VERSION = 4,
    AT_TENSORS = 8,
    AT_PAIRS = 16,
    AT_KEY = 24,
    AT_TYPE = AT_KEY + 8 + 17,
    AT_ALIGNMENT = AT_TYPE + 4,
    AT_KEY2 = AT_ALIGNMENT + 4,
    AT_TYPE2 = AT_KEY2 + 8 + 5,
    AT_ELEM = AT_TYPE2 + 4,
    AT_N = AT_ELEM + 4,
    AT_TEXT = AT_N + 8,
    AT_NAME = AT_TEXT + 8 + 4,
    AT_DIMS = AT_NAME + 8 + 5,
    AT_ROW = AT_DIMS + 4,
    AT_ROWS = AT_ROW + 8,
    AT_GGML = AT_ROWS + 8,
    AT_OFFSET = AT_GGML + 4,
    AT_NAME2 = AT_OFFSET + 8,
    AT_ROW2 = AT_NAME2 + 8 + 6 + 4,
    AT_OFFSET2 = AT_ROW2 + 16 + 4
};

static const struct {
    const char *what; // words of the message
    size_t at, n_bytes;
    uint64_t value;
    nut_status status;
} wrongs[] = {
    {"version 1 is not supported", AT_VERSION, 4, 1, NUT_E_UNSUPPORTED},
    {"version 4 is not supported", AT_VERSION, 4, 4, NUT_E_UNSUPPORTED},
    {"big-endian", AT_VERSION, 4, 0x03000000, NUT_E_UNSUPPORTED},
    {"no GGUF model", 0, 1, 'X', NUT_E_NOT_GGUF},
    {"count of tensors is absurd", AT_TENSORS, 8, UINT64_MAX, NUT_E_CORRUPT},
    {"count of tensors is absurd", AT_TENSORS, 8, 1u << 20, NUT_E_CORRUPT},
    {"count of metadata is absurd", AT_PAIRS, 8, UINT64_MAX, NUT_E_CORRUPT},
    {"count of metadata is absurd", AT_PAIRS, 8, 100, NUT_E_CORRUPT},
    {"key is too long", AT_KEY, 8, UINT64_MAX, NUT_E_CORRUPT},
    {"key is too long", AT_KEY, 8, 65536, NUT_E_CORRUPT},
    {"key is empty", AT_KEY, 8, 0, NUT_E_CORRUPT},
    {"unknown type", AT_TYPE, 4, 13, NUT_E_CORRUPT},
    {"unknown type", AT_TYPE, 4, UINT32_MAX, NUT_E_CORRUPT},
    {"unfit value", AT_TYPE, 4, MAKE_F32, NUT_E_CORRUPT},
    {"power of two", AT_ALIGNMENT, 4, 0, NUT_E_CORRUPT},
    {"power of two", AT_ALIGNMENT, 4, 48, NUT_E_CORRUPT},
    {"power of two", AT_ALIGNMENT, 4, 0x80000000, NUT_E_CORRUPT},
    {"unknown type", AT_ELEM, 4, 13, NUT_E_CORRUPT},
    {"array of arrays", AT_ELEM, 4, MAKE_ARRAY, NUT_E_UNSUPPORTED},
    {"array is longer", AT_N, 8, UINT64_MAX, NUT_E_CORRUPT},
    {"array is longer", AT_N, 8, 100, NUT_E_CORRUPT},
    {"text is longer", AT_TEXT, 8, UINT64_MAX, NUT_E_CORRUPT},
    {"text is longer", AT_TEXT, 8, 1000, NUT_E_CORRUPT},
    {"name is too long", AT_NAME, 8, 65, NUT_E_CORRUPT},
    {"name is too long", AT_NAME, 8, UINT64_MAX, NUT_E_CORRUPT},
    {"dimensions", AT_DIMS, 4, 0, NUT_E_CORRUPT},
    {"dimensions", AT_DIMS, 4, 5, NUT_E_CORRUPT},
    {"first: its shape", AT_ROW, 8, 0, NUT_E_CORRUPT},
    {"first: its shape", AT_ROWS, 8, UINT64_MAX, NUT_E_CORRUPT},
    {"first: its shape", AT_ROW, 8, (uint64_t)1 << 63, NUT_E_CORRUPT},
    {"first: its size", AT_ROWS, 8, (uint64_t)1 << 57, NUT_E_CORRUPT},
    {"cut off: tensor first", AT_ROWS, 8, 1000, NUT_E_TRUNCATED},
    {"second: its data overlaps", AT_ROW, 8, 36, NUT_E_CORRUPT},
    {"first: its data is not aligned", AT_OFFSET, 8, 8, NUT_E_CORRUPT},
    {"first: its place", AT_OFFSET, 8, UINT64_MAX - 31, NUT_E_CORRUPT},
    {"cut off: tensor first", AT_OFFSET, 8, 3200, NUT_E_TRUNCATED},
    {"second: its rows", AT_ROW2, 8, 65, NUT_E_CORRUPT},
    {"overlaps", AT_OFFSET2, 8, 0, NUT_E_CORRUPT},
    {"overlaps", AT_OFFSET2, 8, 224, NUT_E_CORRUPT},
};

static void test_wrong_fields(void) {
    make_gguf m = small_model();
    size_t n;
    uint8_t *file = make_file(&m, &n), *copy = malloc(n);
    gguf g;
    nut_error err = {0};
    CHECK(read_whole(&g, file, n, 0, n, &err) == NUT_OK, "the model is sound: %s", err.message);
    gguf_free(&g);
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        nut_status want = wrongs[i].status;
        memcpy(copy, file, n);
        for (size_t k = 0; k < wrongs[i].n_bytes; k++)
            copy[wrongs[i].at + k] = (uint8_t)(wrongs[i].value >> (8 * k));
        for (size_t step = 0; step < 2; step++) {
            nut_status status = read_whole(&g, copy, n, step, n, &err);
            CHECK(status == want && strstr(err.message, wrongs[i].what), "\"%s\": status %d: %s",
                  wrongs[i].what, status, err.message);
            gguf_free(&g);
        }
    }
    free(file);
    free(copy);
    make_free(&m);
}

static void test_twins(void) {
    make_gguf m = small_model();
    size_t n;
    gguf g;
    nut_error err = {0};
    make_str(&m, "words", "again");
    uint8_t *file = make_file(&m, &n);
    CHECK(read_whole(&g, file, n, 0, n, &err) == NUT_E_CORRUPT && strstr(err.message, "\"words\" stands"),
          "%s", err.message);
    gguf_free(&g);
    free(file);
    make_free(&m);
    m = small_model();
    make_add(&m, "first", FORMAT_F16, 8, 0);
    file = make_file(&m, &n);
    CHECK(read_whole(&g, file, n, 0, n, &err) == NUT_E_CORRUPT && strstr(err.message, "\"first\" stands"),
          "%s", err.message);
    gguf_free(&g);
    free(file);
    make_free(&m);
}

/* What was read is valid: names and data inside the bytes, no overlap. */
static bool is_sound(const gguf *g, uint64_t file_size) {
    const char *begin = (const char *)g->bytes, *end = begin + g->n_bytes;
    for (uint64_t i = 0; i < g->n_kv; i++) {
        const gguf_kv *kv = &g->kv[i];
        if (kv->key.s < begin || kv->key.s + kv->key.n > end) return false;
        if ((const char *)kv->value < begin || (const char *)kv->value + kv->n_bytes > end) return false;
    }
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const gguf_tensor *t = &g->tensors[i];
        if (t->name.s < begin || t->name.s + t->name.n > end || t->name.n > 64) return false;
        if (t->offset < g->data_offset || t->offset + t->n_bytes > file_size) return false;
        for (uint64_t k = 0; k < i; k++) {
            const gguf_tensor *u = &g->tensors[k];
            if (t->n_bytes && u->n_bytes && t->offset < u->offset + u->n_bytes &&
                u->offset < t->offset + t->n_bytes)
                return false;
        }
    }
    return true;
}

/* Each byte of the header set to each of these: an error, or a valid header. */
static void test_wrong_bytes(void) {
    static const uint8_t masks[] = {0x01, 0x08, 0x20, 0x80, 0xff};
    make_gguf m = make_model(&(make_options){.n_layer = 1, .arch = "qwen2"});
    size_t n, unsound = 0, silent = 0, refused = 0;
    uint8_t *file = make_file(&m, &n);
    const size_t header = header_size(file, n);
    for (size_t at = 0; at < header; at++)
        for (size_t k = 0; k < sizeof masks; k++) {
            gguf g;
            nut_error err = {0};
            file[at] ^= masks[k];
            nut_status status = read_whole(&g, file, n, 0, n, &err);
            unsound += status == NUT_OK && !is_sound(&g, n);
            silent += status != NUT_OK && (err.code != status || !*err.message);
            refused += status != NUT_OK;
            gguf_free(&g);
            file[at] ^= masks[k];
        }
    CHECK(unsound == 0 && silent == 0, "%zu unsound, %zu without a message", unsound, silent);
    CHECK(refused > 1000, "only %zu of %zu were refused", refused, header * sizeof masks);
    free(file);
    make_free(&m);
}

/* ---- other files ---- */

static void test_strangers(void) {
    static const struct {
        const char *bytes;
        size_t n;
        const char *what;
    } files[] = {
        {"<!DOCTYPE html><html lang=en>", 29, "web page"},
        {"\n  <!doctype html><title>404", 28, "web page"},
        {"\xef\xbb\xbf<HTML><body>Not found</body>", 31, "web page"},
        {"<?xml version=\"1.0\"?><Error>", 28, "XML"},
        {"{\"error\":\"access denied\"}  ", 27, "JSON"},
        {"version https://git-lfs.github.com/spec/v1", 42, "Git LFS"},
        {"PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "zip"},
        {"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "gzip"},
        {"\x40\x01\0\0\0\0\0\0{\"__metadata__\":{}}", 27, "safetensors"},
        {"tjgg\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "old ggml"},
        {"lmgg\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "old ggml"},
        {"hello, this is just a text", 26, "begins with \"hell\""},
        {"<html>", 6, "web page"}, // shorter than a header
        {"GGU", 3, "begins with \"GGU\""},
        {"", 0, "empty"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        for (size_t step = 0; step < 2; step++) {
            gguf g;
            nut_error err = {0};
            nut_status status =
                read_whole(&g, (const uint8_t *)files[i].bytes, files[i].n, step, files[i].n, &err);
            CHECK(status == NUT_E_NOT_GGUF && strstr(err.message, files[i].what), "%s: status %d: %s",
                  files[i].what, status, err.message);
            gguf_free(&g);
        }
}

/* ---- what a file may cost ---- */

/* Counts that a header claims, without bytes behind them, take no memory, also where the file's size is
 * unknown. */
static void test_claims(void) {
    for (int which = 0; which < 3; which++) {
        make_gguf m = {.version = 3, .alignment = 32};
        size_t n;
        make_array(&m, "claim", which ? MAKE_U8 : MAKE_STRING, which ? 1u << 29 : 1u << 26);
        uint8_t *file = make_file(&m, &n);
        if (which == 2) file[8 + 2] = 0x10; // 2^20 tensors
        counting_start(0);
        gguf g;
        nut_error err = {0};
        nut_status status = read_whole(&g, file, n, 0, 0, &err);
        CHECK(status == NUT_E_TRUNCATED, "status %d: %s", status, err.message);
        CHECK(counting.peak < 1 << 17, "claim %d took %zu bytes", which, counting.peak);
        gguf_free(&g);
        CHECK(counting.alive == 0, "%zu blocks are left", counting.alive);
        counting_stop();
        free(file);
        make_free(&m);
    }
}

/* Tensor data in the same feed is not buffered, and a byte at a time takes no more memory than all at
 * once. */
static void test_memory(void) {
    static const size_t steps[] = {0, 1, 100};
    make_gguf m = make_model(&(make_options){.n_embd = 512, .n_ff = 1024});
    size_t n;
    uint8_t *file = make_file(&m, &n);
    const size_t header = header_size(file, n);
    CHECK(n > 50 * header, "%zu bytes of data", n - header);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        gguf g;
        counting_start(0);
        CHECK(read_whole(&g, file, n, steps[i], n, NULL) == NUT_OK, "reads");
        CHECK(counting.peak < 5 * header + (1 << 17), "pieces of %zu took %zu bytes for a header of %zu",
              steps[i], counting.peak, header);
        CHECK(counting.bytes < 2 * header + (1 << 15), "%zu bytes are kept of a header of %zu",
              counting.bytes, header);
        gguf_free(&g);
        counting_stop();
    }
    free(file);
    make_free(&m);
}

/* 400,000 strings and 60,000 tensors, a byte at a time: quadratic work would take hours. */
static void test_linear(void) {
    make_gguf m = {.version = 3, .alignment = 32};
    const uint64_t n_strings = 400000, n_tensors = 60000;
    make_bytes tensors = {0};
    make_array(&m, "strings", MAKE_STRING, n_strings);
    for (uint64_t i = 0; i < n_strings; i++) make_text(&m.kv, "x");
    for (uint64_t i = 0; i < n_tensors; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%llu", (unsigned long long)(n_tensors - i));
        make_text(&tensors, name);
        make_le(&tensors, 1, 4), make_le(&tensors, 4, 8), make_le(&tensors, 0, 4);
        make_le(&tensors, 32 * (n_tensors - 1 - i), 8);
    }
    size_t n;
    uint8_t *file = make_file(&m, &n);
    make_bytes all = {0};
    make_put(&all, file, n);
    for (size_t i = 0; i < 8; i++) all.p[8 + i] = (uint8_t)(n_tensors >> (8 * i));
    make_put(&all, tensors.p, tensors.n);
    make_put(&all, (uint8_t[32]){0}, 32);
    gguf g;
    nut_error err = {0};
    nut_status status = read_whole(&g, all.p, all.n, 1, 0, &err);
    CHECK(status == NUT_OK && g.n_tensors == n_tensors, "status %d: %s", status, err.message);
    gguf_free(&g);
    free(file);
    free(all.p);
    free(tensors.p);
    make_free(&m);
}

static void test_no_memory(void) {
    make_gguf m = make_model(&(make_options){0});
    size_t n, failures = 0;
    uint8_t *file = make_file(&m, &n);
    for (size_t k = 1; k < 1000; k++) {
        gguf g;
        nut_error err = {0};
        counting_start(k);
        nut_status status = read_whole(&g, file, n, 500, n, &err);
        gguf_free(&g);
        CHECK(counting.alive == 0, "allocation %zu failed: %zu blocks are left", k, counting.alive);
        CHECK(status == NUT_OK || (status == NUT_E_MEMORY && err.code == status),
              "allocation %zu failed: %s", k, err.message);
        failures += status != NUT_OK;
        const bool done = counting.n < k;
        counting_stop();
        if (done) break;
    }
    CHECK(failures >= 5, "only %zu allocations failed", failures);
    free(file);
    make_free(&m);
}

int main(void) {
    test_values();
    test_goldens();
    test_cuts();
    test_wrong_fields();
    test_twins();
    test_wrong_bytes();
    test_strangers();
    test_claims();
    test_memory();
    test_linear();
    test_no_memory();
    return check_report();
}
