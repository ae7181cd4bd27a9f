/*
 * The header reader is a machine of small items: magic, counts, pairs, tensor entries. Bytes are appended to
 * one growing buffer and each item is read when all of it is there; inside an array of strings the machine
 * remembers where it was, so that no byte is looked at more than a few times however the file is cut. Tables
 * grow as items arrive, never by a count that the file merely claims. The buffer may move while it grows, so
 * items are kept as offsets until the end. Tables are checked by sorting: a hash could be made to collide by
 * whoever wrote the file.
 */
#include "model/gguf.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/sort.h"
#include "kernels/formats.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    MAX_NAME = 64,   // ggml's GGML_MAX_NAME
    MAX_KEY = 65535, // the limit of the format
    MAX_STRING = 64 << 20,
    MAX_HEADER = 1 << 30, // of a file of unknown size
    MAX_ITEMS = 1 << 20,  // pairs or tensors
    SLICE = 1 << 16, // bytes buffered at once, so that a large feed does not end up in the header's buffer
    MIN_KV_BYTES = 8 + 1 + 4 + 1,
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8,
};

typedef enum phase { PHASE_COUNTS, PHASE_KV, PHASE_ARRAY, PHASE_TENSORS, PHASE_DONE } phase;

struct gguf_reader {
    phase phase;
    uint64_t file_size;       // 0: unknown
    size_t cap;               // of bytes
    size_t at;                // read so far
    uint64_t n_kv, n_tensors; // claimed
    size_t kv_cap, tensor_cap;
    uint64_t array_left; // strings of an array still to come
    uint64_t fed;        // bytes of the header taken, its padding included
};

static const struct {
    const char *name;
    uint8_t bytes; // of one value; 0: it depends
} types[GGUF_TYPE_COUNT] = {
    {"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};

const char *gguf_type_name(gguf_type type) {
    return (unsigned)type < GGUF_TYPE_COUNT ? types[type].name : "unknown";
}

size_t gguf_type_bytes(gguf_type type) {
    return (unsigned)type < GGUF_TYPE_COUNT ? types[type].bytes : 0;
}

bool gguf_str_is(gguf_str s, const char *text) {
    return s.n == strlen(text) && !memcmp(s.s, text, (size_t)s.n);
}

/* ---- what is no GGUF file ---- */

#define PAGE "a web page; check the address: it may need a login, or lead to a page about the file"
#define OLD  "an old ggml file; convert the model to GGUF"

static const struct {
    const char *start, *what; // letters in small; they count in either case
} strangers[] = {
    {"<!doctype", PAGE},
    {"<html", PAGE},
    {"<head", PAGE},
    {"<?xml", "an XML text, perhaps a server's error; check the address"},
    {"{", "a JSON text, perhaps a server's error; check the address"},
    {"version https://git-lfs", "a Git LFS pointer; download the file that it points to"},
    {"pk\x03\x04", "a zip archive (perhaps a PyTorch checkpoint); unpack it, or convert the model to GGUF"},
    {"\x1f\x8b", "a gzip archive; unpack it"},
    {"lmgg", OLD},
    {"fmgg", OLD},
    {"tjgg", OLD},
};

static bool begins_with(const uint8_t *bytes, size_t n, const char *start) {
    size_t length = strlen(start);
    if (length > n) return false;
    for (size_t i = 0; i < length; i++) {
        uint8_t c = bytes[i] >= 'A' && bytes[i] <= 'Z' ? (uint8_t)(bytes[i] + 'a' - 'A') : bytes[i];
        if (c != (uint8_t)start[i]) return false;
    }
    return true;
}

/* What the bytes are, or NULL; a byte order mark and blanks before a text do not count. */
static const char *stranger(const uint8_t *bytes, size_t n) {
    const bool tensors =
        n > 8 && bytes[8] == '{' && !bytes[7] && !bytes[6]; // a length of 64 bits, then JSON
    size_t at = n >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < n && (bytes[at] == ' ' || (bytes[at] >= '\t' && bytes[at] <= '\r'))) at++;
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        if (begins_with(bytes + at, n - at, strangers[i].start)) return strangers[i].what;
    return tensors ? "a safetensors file; convert the model to GGUF" : NULL;
}

static nut_status not_gguf(const uint8_t *bytes, size_t n, nut_error *err) {
    if (!n) return error_set(err, NUT_E_NOT_GGUF, "the file is empty; choose a .gguf file");
    const char *what = stranger(bytes, n);
    if (what) return error_set(err, NUT_E_NOT_GGUF, "this is no GGUF model but %s", what);
    return error_set(err, NUT_E_NOT_GGUF,
                     "this is no GGUF model (it begins with \"%.*s\"); choose a .gguf file",
                     n < 4 ? (int)n : 4, (const char *)bytes);
}

/* ---- items; each returns with *more set when bytes are missing ---- */

static nut_status corrupt(nut_error *err, const char *what) {
    return error_set(err, NUT_E_CORRUPT, "the model file is damaged: %s; download it again", what);
}

/* Whether n_items of at least `least` bytes can still follow position at. */
static bool could_follow(const struct gguf_reader *r, uint64_t at, uint64_t n_items, uint64_t least) {
    uint64_t bytes, end, limit = r->file_size ? r->file_size : (uint64_t)MAX_HEADER;
    return u64_mul(n_items, least, &bytes) && u64_add(at, bytes, &end) && end <= limit;
}

static nut_status read_counts(gguf *g, cursor *c, bool *more, nut_error *err) {
    struct gguf_reader *r = g->reader;
    *more = g->n_bytes < 24;
    if (*more) return NUT_OK;
    if (memcmp(c->bytes, "GGUF", 4)) return not_gguf(c->bytes, g->n_bytes, err);
    (void)cursor_u32(c);
    g->version = cursor_u32(c);
    if (g->version == 0x02000000 || g->version == 0x03000000)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "this is a big-endian GGUF file; use the little-endian one");
    if (g->version != 2 && g->version != 3)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "GGUF version %u is not supported (2 and 3 are); convert the model "
                         "again",
                         g->version);
    r->n_tensors = cursor_u64(c);
    r->n_kv = cursor_u64(c);
    if (r->n_kv > MAX_ITEMS || !could_follow(r, c->at, r->n_kv, MIN_KV_BYTES))
        return corrupt(err, "its count of metadata is absurd");
    if (r->n_tensors > MAX_ITEMS || !could_follow(r, c->at, r->n_tensors, MIN_TENSOR_BYTES))
        return corrupt(err, "its count of tensors is absurd");
    r->phase = r->n_kv ? PHASE_KV : r->n_tensors ? PHASE_TENSORS : PHASE_DONE;
    return NUT_OK;
}

/* A string in place; its s holds the offset until the header is complete. */
static nut_status read_str(const gguf *g, cursor *c, uint64_t most, const char *what, gguf_str *out,
                           nut_error *err) {
    uint64_t n = cursor_u64(c);
    if (c->ended) return NUT_OK;
    if (n > most || !could_follow(g->reader, c->at, n, 1)) return corrupt(err, what);
    *out = (gguf_str){(const char *)(uintptr_t)c->at, n};
    (void)cursor_take(c, n);
    return NUT_OK;
}

/* One more element of `size` bytes in a growing table. */
static nut_status table_reserve(void **table, size_t n, size_t *cap, size_t size, nut_error *err) {
    if (n < *cap) return NUT_OK;
    size_t more = *cap ? *cap * 2 : 64;
    void *p = mem_grow(*table, *cap * size, more * size);
    if (!p) return error_memory(err, more * size);
    *table = p;
    *cap = more;
    return NUT_OK;
}

static nut_status read_value(gguf *g, cursor *c, gguf_kv *kv, nut_error *err) {
    kv->n = 1;
    kv->elem = kv->type;
    if (kv->type == GGUF_ARRAY) {
        kv->elem = (gguf_type)cursor_u32(c);
        kv->n = cursor_u64(c);
        if (c->ended) return NUT_OK;
        if ((unsigned)kv->elem >= GGUF_TYPE_COUNT) return corrupt(err, "an array has an unknown type");
        if (kv->elem == GGUF_ARRAY)
            return error_set(err, NUT_E_UNSUPPORTED,
                             "the metadata holds an array of arrays, which is not supported");
        uint64_t least = kv->elem == GGUF_STRING ? 8 : types[kv->elem].bytes;
        if (!could_follow(g->reader, c->at, kv->n, least))
            return corrupt(err, "an array is longer than the file");
    }
    kv->value = (const uint8_t *)(uintptr_t)c->at;
    if (kv->elem == GGUF_STRING) {
        gguf_str s;
        if (kv->type == GGUF_STRING)
            TRY(read_str(g, c, MAX_STRING, "a text is longer than the file", &s, err));
        return NUT_OK;
    }
    kv->n_bytes = kv->n * types[kv->elem].bytes;
    (void)cursor_take(c, kv->n_bytes);
    return NUT_OK;
}

static void next_kv(gguf *g) {
    struct gguf_reader *r = g->reader;
    g->n_kv++;
    r->phase = g->n_kv < r->n_kv ? PHASE_KV : r->n_tensors ? PHASE_TENSORS : PHASE_DONE;
}

static nut_status read_kv(gguf *g, cursor *c, bool *more, nut_error *err) {
    struct gguf_reader *r = g->reader;
    gguf_kv kv = {0};
    TRY(read_str(g, c, MAX_KEY, "a metadata key is too long", &kv.key, err));
    if (!c->ended && kv.key.n == 0) return corrupt(err, "a metadata key is empty");
    kv.type = (gguf_type)cursor_u32(c);
    if (!c->ended && (unsigned)kv.type >= GGUF_TYPE_COUNT)
        return corrupt(err, "a metadata value has an unknown type");
    if (!c->ended) TRY(read_value(g, c, &kv, err));
    *more = c->ended;
    if (*more) return NUT_OK;
    TRY(table_reserve((void **)&g->kv, (size_t)g->n_kv, &r->kv_cap, sizeof *g->kv, err));
    if (kv.type == GGUF_STRING) kv.n_bytes = c->at - (uintptr_t)kv.value;
    g->kv[g->n_kv] = kv;
    r->array_left = kv.type == GGUF_ARRAY && kv.elem == GGUF_STRING ? kv.n : 0;
    r->phase = PHASE_ARRAY;
    if (!r->array_left) next_kv(g);
    return NUT_OK;
}

/* The strings of an array, as many as are there. */
static nut_status read_array(gguf *g, cursor *c, bool *more, nut_error *err) {
    struct gguf_reader *r = g->reader;
    gguf_str s;
    for (; r->array_left; r->array_left--) {
        r->at = c->at;
        TRY(read_str(g, c, MAX_STRING, "a text is longer than the file", &s, err));
        *more = c->ended;
        if (*more) return NUT_OK;
    }
    gguf_kv *kv = &g->kv[g->n_kv];
    kv->n_bytes = c->at - (uintptr_t)kv->value;
    next_kv(g);
    return NUT_OK;
}

static nut_status read_tensor(gguf *g, cursor *c, bool *more, nut_error *err) {
    struct gguf_reader *r = g->reader;
    gguf_tensor t = {0};
    TRY(read_str(g, c, MAX_NAME, "a tensor name is too long", &t.name, err));
    t.n_dims = cursor_u32(c);
    if (!c->ended && (t.n_dims < 1 || t.n_dims > GGUF_MAX_DIMS))
        return corrupt(err, "a tensor has an impossible number of dimensions");
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) t.dims[i] = i < t.n_dims ? cursor_u64(c) : 1;
    t.ggml_type = cursor_u32(c);
    t.offset = cursor_u64(c);
    *more = c->ended;
    if (*more) return NUT_OK;
    TRY(table_reserve((void **)&g->tensors, (size_t)g->n_tensors, &r->tensor_cap, sizeof *g->tensors, err));
    g->tensors[g->n_tensors++] = t;
    if (g->n_tensors == r->n_tensors) r->phase = PHASE_DONE;
    return NUT_OK;
}

static nut_status read_items(gguf *g, nut_error *err) {
    struct gguf_reader *r = g->reader;
    typedef nut_status reader(gguf *, cursor *, bool *, nut_error *);
    static reader *const readers[] = {[PHASE_COUNTS] = read_counts,
                                      [PHASE_KV] = read_kv,
                                      [PHASE_ARRAY] = read_array,
                                      [PHASE_TENSORS] = read_tensor};
    while (r->phase != PHASE_DONE) {
        cursor c = {.bytes = g->bytes, .n = g->n_bytes, .at = r->at};
        bool more = false;
        TRY(readers[r->phase](g, &c, &more, err));
        if (more) return NUT_OK;
        r->at = c.at;
    }
    return NUT_OK;
}

/* ---- the whole header ---- */

static void rebase(gguf *g) {
    const char *base = (const char *)g->bytes;
    for (uint64_t i = 0; i < g->n_kv; i++) {
        g->kv[i].key.s = base + (uintptr_t)g->kv[i].key.s;
        g->kv[i].value = g->bytes + (uintptr_t)g->kv[i].value;
    }
    for (uint64_t i = 0; i < g->n_tensors; i++)
        g->tensors[i].name.s = base + (uintptr_t)g->tensors[i].name.s;
}

/* Comparisons are of pointers to rows. Both tables' rows begin with their name. */
static int by_name(const void *a, const void *b) {
    const gguf_str *x = *(const gguf_str *const *)a, *y = *(const gguf_str *const *)b;
    int order = memcmp(x->s, y->s, (size_t)(x->n < y->n ? x->n : y->n));
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static int by_offset(const void *a, const void *b) {
    const gguf_tensor *x = *(const gguf_tensor *const *)a, *y = *(const gguf_tensor *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes); // of no known size: before what is there
}

/* Pointers to the n rows of a table in order; the caller's to free. */
static nut_status in_order(const void *rows, uint64_t n, size_t stride, sort_compare *compare,
                           const void ***out, nut_error *err) {
    const void **sorted = mem_calloc((size_t)n + 1, sizeof *sorted);
    if (!sorted) return error_memory(err, n * sizeof *sorted);
    for (size_t i = 0; i < n; i++) sorted[i] = (const char *)rows + i * stride;
    sort_rows(sorted, (size_t)n, sizeof *sorted, compare);
    *out = sorted;
    return NUT_OK;
}

static nut_status check_names(const void *rows, uint64_t n, size_t stride, nut_error *err) {
    const void **sorted = NULL;
    const gguf_str *twin = NULL;
    TRY(in_order(rows, n, stride, by_name, &sorted, err));
    for (size_t i = 1; i < n && !twin; i++)
        if (!by_name(&sorted[i - 1], &sorted[i])) twin = sorted[i];
    mem_free(sorted);
    if (!twin) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT, "the model file is damaged: \"%.*s\" stands in it twice",
                     (int)(twin->n < 64 ? twin->n : 64), twin->s);
}

nut_status gguf_check_names(const gguf *g, nut_error *err) {
    TRY(check_names(g->kv, g->n_kv, sizeof *g->kv, err));
    return check_names(g->tensors, g->n_tensors, sizeof *g->tensors, err);
}

static nut_status bad_tensor(const gguf_tensor *t, const char *what, nut_error *err) {
    return error_set(err, NUT_E_CORRUPT, "the model file is damaged: tensor %.*s: %s; download it again",
                     (int)t->name.n, t->name.s, what);
}

void gguf_floats(const gguf_tensor *t, const uint8_t *src, size_t n, float *dst) {
    format_floats(format_by_ggml(t->ggml_type), t->has_table ? t->table : NULL, src, n, dst);
}

/* What the metadata says of coded tensors and of tables, and how many of them were found. */
typedef struct coded_sizes {
    const gguf_kv *bytes, *outliers, *tables; // or NULL
    uint64_t n, n_tables;
} coded_sizes;

/* Takes the table of a tensor. Products take values below 128. */
static nut_status take_table(gguf_tensor *t, coded_sizes *sizes, nut_error *err) {
    const gguf_kv *kv = sizes->tables;
    const uint64_t at = FORMAT_TABLE * sizes->n_tables++;
    t->has_table = true;
    memcpy(t->table, format_lut_values, FORMAT_TABLE);
    if (!kv || !kv->n) return NUT_OK;
    if (kv->elem != GGUF_U8 || kv->n_bytes < at + FORMAT_TABLE)
        return bad_tensor(t, "the metadata lacks its table", err);
    memcpy(t->table, kv->value + at, FORMAT_TABLE);
    for (size_t i = 0; i < FORMAT_TABLE; i++)
        if (t->table[i] > 127) return bad_tensor(t, "its table is out of range", err);
    return NUT_OK;
}

/* Takes the size of a coded tensor of n weights. */
static nut_status size_coded(gguf_tensor *t, uint64_t n, coded_sizes *sizes, nut_error *err) {
    int64_t n_bytes, n_outliers;
    const uint64_t i = sizes->n++;
    if (!sizes->bytes || !sizes->outliers || i >= sizes->bytes->n || i >= sizes->outliers->n ||
        !gguf_integer_at(sizes->bytes, i, &n_bytes) || !gguf_integer_at(sizes->outliers, i, &n_outliers))
        return bad_tensor(t, "the metadata lacks its size", err);
    if (n_bytes <= 0 || n_outliers < 0 || (uint64_t)n_outliers > n)
        return bad_tensor(t, "its size is impossible", err);
    t->n_bytes = (uint64_t)n_bytes;
    t->n_outliers = (uint64_t)n_outliers;
    return NUT_OK;
}

/* Checks one tensor's shape and finds its size. */
static nut_status size_tensor(gguf_tensor *t, coded_sizes *sizes, nut_error *err) {
    const format *f = format_by_ggml(t->ggml_type);
    uint64_t n = 1;
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++)
        if (t->dims[i] == 0 || !u64_mul(n, t->dims[i], &n))
            return bad_tensor(t, "its shape is impossible", err);
    if (!f) return NUT_OK;
    if (t->dims[0] % f->block) return bad_tensor(t, "its rows are not whole blocks", err);
    if (format_is_coded(f)) return size_coded(t, n, sizes, err);
    if (format_has_table(f)) TRY(take_table(t, sizes, err));
    if (!u64_mul(n / f->block, f->bytes, &t->n_bytes)) return bad_tensor(t, "its size is impossible", err);
    return NUT_OK;
}

/* Makes one tensor's offset absolute, and checks it. */
static nut_status place_tensor(gguf *g, gguf_tensor *t, nut_error *err) {
    uint64_t end;
    if (t->offset % g->alignment) return bad_tensor(t, "its data is not aligned", err);
    if (!u64_add(t->offset, g->data_offset, &t->offset) || !u64_add(t->offset, t->n_bytes, &end))
        return bad_tensor(t, "its place is impossible", err);
    if (end > g->file_bytes) g->file_bytes = end;
    uint64_t size = g->reader->file_size;
    if (size && end > size)
        return error_set(
            err, NUT_E_TRUNCATED,
            "the file is cut off: tensor %.*s ends at byte %llu and the file has %llu; download it again",
            (int)t->name.n, t->name.s, (unsigned long long)end, (unsigned long long)size);
    return NUT_OK;
}

static nut_status place_tensors(gguf *g, nut_error *err) {
    const void **sorted = NULL;
    const gguf_tensor *over = NULL;
    coded_sizes sizes = {gguf_find(g, GGUF_CODED_BYTES), gguf_find(g, GGUF_CODED_OUTLIERS),
                         gguf_find(g, GGUF_TABLES), 0, 0};
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        TRY(size_tensor(&g->tensors[i], &sizes, err));
        TRY(place_tensor(g, &g->tensors[i], err));
    }
    TRY(in_order(g->tensors, g->n_tensors, sizeof *g->tensors, by_offset, &sorted, err));
    for (size_t i = 1; i < g->n_tensors && !over; i++) {
        const gguf_tensor *before = sorted[i - 1], *t = sorted[i];
        if (t->offset < before->offset + before->n_bytes) over = t;
    }
    mem_free(sorted);
    return over ? bad_tensor(over, "its data overlaps another's", err) : NUT_OK;
}

/* Alignment, and with it where the data begins. Needs keys, so it rebases them. */
static nut_status find_data(gguf *g, nut_error *err) {
    uint32_t alignment;
    TRY(gguf_get_u32(g, "general.alignment", 32, &alignment, err));
    if (alignment < 1 || alignment > 1u << 20 || (alignment & (alignment - 1)))
        return corrupt(err, "general.alignment is not a power of two");
    g->alignment = alignment;
    g->data_offset = g->reader->at;
    if (g->n_tensors) g->data_offset = (g->data_offset + alignment - 1) & ~(uint64_t)(alignment - 1);
    g->file_bytes = g->data_offset;
    return NUT_OK;
}

/* ---- feeding ---- */

nut_status gguf_begin(gguf *g, uint64_t file_size, nut_error *err) {
    *g = (gguf){0};
    g->reader = mem_calloc(1, sizeof *g->reader);
    if (!g->reader) return error_memory(err, sizeof *g->reader);
    g->reader->file_size = file_size;
    return NUT_OK;
}

static nut_status append(gguf *g, const uint8_t *bytes, size_t n, nut_error *err) {
    struct gguf_reader *r = g->reader;
    const size_t want = g->n_bytes + n; // both are small: MAX_HEADER, SLICE
    if (want > MAX_HEADER) return corrupt(err, "its header does not end");
    if (want > r->cap) {
        size_t cap = want < r->cap * 2 ? r->cap * 2 : want;
        uint8_t *p = mem_grow(g->bytes, g->n_bytes, cap);
        if (!p) return error_memory(err, cap);
        g->bytes = p;
        r->cap = cap;
    }
    memcpy(g->bytes + g->n_bytes, bytes, n);
    g->n_bytes = want;
    return NUT_OK;
}

/* Gives back what the growing buffer has too much; what follows the header in it is padding and data. */
static void trim(gguf *g) {
    g->n_bytes = g->reader->at;
    uint8_t *p = mem_grow(g->bytes, g->n_bytes, g->n_bytes);
    if (p) g->bytes = p;
}

static nut_status finish_header(gguf *g, nut_error *err) {
    trim(g);
    rebase(g);
    TRY(gguf_check_names(g, err));
    TRY(find_data(g, err));
    return place_tensors(g, err);
}

nut_status gguf_feed(gguf *g, const uint8_t *bytes, size_t n, size_t *n_used, bool *complete,
                     nut_error *err) {
    struct gguf_reader *r = g->reader;
    const bool reading = r->phase != PHASE_DONE;
    for (size_t at = 0, some; at < n && r->phase != PHASE_DONE; at += some) {
        some = n - at < SLICE ? n - at : SLICE;
        TRY(append(g, bytes + at, some, err));
        TRY(read_items(g, err));
    }
    if (reading && r->phase == PHASE_DONE) TRY(finish_header(g, err));
    const uint64_t left = r->phase == PHASE_DONE ? g->data_offset - r->fed : n;
    *n_used = left < n ? (size_t)left : n;
    r->fed += *n_used;
    *complete = r->phase == PHASE_DONE && r->fed == g->data_offset;
    return NUT_OK;
}

nut_status gguf_end(const gguf *g, nut_error *err) {
    if (g->n_bytes < 4 || memcmp(g->bytes, "GGUF", 4)) return not_gguf(g->bytes, g->n_bytes, err);
    return error_set(err, NUT_E_TRUNCATED,
                     "the file ends within its header, at byte %llu; download it again",
                     (unsigned long long)g->reader->fed);
}

void gguf_free(gguf *g) {
    mem_free(g->reader);
    mem_free(g->bytes);
    mem_free(g->kv);
    mem_free(g->tensors);
    arena_close(&g->names);
    *g = (gguf){0};
}

/* ---- several files ---- */

/* Room for n bytes of names; NULL without memory. */
static char *take_names(gguf *g, size_t n) {
    arena_add(&g->names, n, 1);
    return arena_open(&g->names) ? arena_take(&g->names, n, 1) : NULL;
}

nut_status gguf_append(gguf *g, const gguf *from, uint32_t split, nut_error *err) {
    size_t n = 0; // each name is 64 bytes at most, and has more in the header
    if (!u64_add(g->file_bytes, from->file_bytes, &g->file_bytes))
        return corrupt(err, "its tensors lie at impossible places");
    if (!from->n_tensors) return NUT_OK;
    for (uint64_t i = 0; i < from->n_tensors; i++) n += (size_t)from->tensors[i].name.n;
    char *names = take_names(g, n);
    if (!names) return error_memory(err, n);
    for (uint64_t i = 0; i < from->n_tensors; i++) {
        gguf_tensor t = from->tensors[i];
        TRY(table_reserve((void **)&g->tensors, (size_t)g->n_tensors, &g->reader->tensor_cap, sizeof t,
                          err));
        if (t.name.n) memcpy(names, t.name.s, (size_t)t.name.n);
        t.name.s = names;
        t.split = split;
        names += t.name.n;
        g->tensors[g->n_tensors++] = t;
    }
    return NUT_OK;
}

/* ---- values ---- */

const gguf_kv *gguf_find(const gguf *g, const char *key) {
    for (uint64_t i = 0; i < g->n_kv; i++)
        if (gguf_str_is(g->kv[i].key, key)) return &g->kv[i];
    return NULL;
}

static nut_status bad_value(const char *key, gguf_type type, nut_error *err) {
    return error_set(err, NUT_E_CORRUPT,
                     "the model file is damaged: its metadata \"%s\" has an unfit value (type %s)", key,
                     gguf_type_name(type));
}

/* The next integer of a width as int64; false where the type is none, or the value does not fit. */
static bool next_integer(cursor *c, gguf_type type, int64_t *out) {
    switch (type) {
    case GGUF_BOOL:
    case GGUF_U8: *out = cursor_u8(c); break;
    case GGUF_I8: *out = (int8_t)cursor_u8(c); break;
    case GGUF_U16: *out = cursor_u16(c); break;
    case GGUF_I16: *out = (int16_t)cursor_u16(c); break;
    case GGUF_U32: *out = cursor_u32(c); break;
    case GGUF_I32: *out = (int32_t)cursor_u32(c); break;
    case GGUF_U64:
    case GGUF_I64: *out = (int64_t)cursor_u64(c); return !c->ended && (type == GGUF_I64 || *out >= 0);
    default: return false;
    }
    return !c->ended;
}

bool gguf_integer_at(const gguf_kv *kv, uint64_t i, int64_t *out) {
    cursor c = {.bytes = kv->value, .n = (size_t)kv->n_bytes};
    if (kv->type != GGUF_ARRAY) return next_integer(&c, kv->type, out);
    if (i >= kv->n) return false;
    c.at = (size_t)(kv->n_bytes / kv->n * i);
    return next_integer(&c, kv->elem, out);
}

bool gguf_float_at(const gguf_kv *kv, uint64_t i, float *out) {
    if (!kv || (kv->type == GGUF_ARRAY ? kv->elem != GGUF_F32 || i >= kv->n : kv->type != GGUF_F32))
        return false;
    cursor c = {.bytes = kv->value, .n = (size_t)kv->n_bytes};
    c.at = kv->type == GGUF_ARRAY ? (size_t)i * sizeof(float) : 0;
    *out = cursor_f32(&c);
    return !c.ended && fabsf(*out) <= FLT_MAX;
}

nut_status gguf_get_u32(const gguf *g, const char *key, uint32_t missing, uint32_t *out, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, key);
    int64_t v = missing;
    if (kv && (kv->type == GGUF_ARRAY || kv->type == GGUF_BOOL || !gguf_integer_at(kv, 0, &v) || v < 0 ||
               v > UINT32_MAX))
        return bad_value(key, kv->type, err);
    *out = (uint32_t)v;
    return NUT_OK;
}

nut_status gguf_get_f32(const gguf *g, const char *key, float missing, float *out, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, key);
    *out = missing;
    if (!kv) return NUT_OK;
    cursor c = {.bytes = kv->value, .n = (size_t)kv->n_bytes};
    double v = kv->type == GGUF_F32 ? (double)cursor_f32(&c) : kv->type == GGUF_F64 ? cursor_f64(&c) : NAN;
    if (!(fabs(v) <= FLT_MAX)) return bad_value(key, kv->type, err);
    *out = (float)v;
    return NUT_OK;
}

nut_status gguf_get_bool(const gguf *g, const char *key, bool missing, bool *out, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, key);
    if (kv && kv->type != GGUF_BOOL) return bad_value(key, kv->type, err);
    *out = kv ? kv->value[0] != 0 : missing;
    return NUT_OK;
}

nut_status gguf_get_str(const gguf *g, const char *key, const char *missing, gguf_str *out, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, key);
    if (kv && kv->type != GGUF_STRING) return bad_value(key, kv->type, err);
    if (kv)
        *out = (gguf_str){(const char *)kv->value + 8, kv->n_bytes - 8};
    else
        *out = (gguf_str){missing, missing ? strlen(missing) : 0};
    return NUT_OK;
}

const uint8_t *gguf_next_string(const gguf *g, const uint8_t *at, gguf_str *out) {
    cursor c = {.bytes = at, .n = (size_t)(g->bytes + g->n_bytes - at)};
    uint64_t n = cursor_u64(&c);
    const uint8_t *s = cursor_take(&c, n);
    *out = (gguf_str){(const char *)s, s ? n : 0};
    return at + c.at;
}
