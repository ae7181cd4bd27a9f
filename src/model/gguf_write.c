/* The writer: a header is a sequence of items, each a span of bytes, and is written span by span. */
#include "model/gguf_write.h"

#include "base/error.h"
#include "base/half.h"

#include <string.h>

/* ---- little-endian bytes ---- */

static uint8_t *put_le(uint8_t *to, uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = (uint8_t)(v >> (8 * i));
    return to + n;
}

static uint8_t *put_bytes(uint8_t *to, const void *from, size_t n) {
    if (n) memcpy(to, from, n);
    return to + n;
}

static uint8_t *put_str(uint8_t *to, const char *s, uint64_t n) {
    return put_bytes(put_le(to, n, 8), s, (size_t)n);
}

/* ---- metadata that is set ---- */

struct gguf_meta_pair {
    size_t at, n_key, n_bytes; // its bytes among all; they begin with the length of the key, and the key
};

static const char *pair_key(const gguf_meta *m, size_t i) {
    return (const char *)m->bytes + m->pairs[i].at + 8;
}

static bool pair_is(const gguf_meta *m, size_t i, gguf_str key) {
    return m->pairs[i].n_key == key.n && !memcmp(pair_key(m, i), key.s, (size_t)key.n);
}

static bool is_set(const gguf_meta *m, gguf_str key) {
    for (size_t i = 0; i < m->n_pairs; i++)
        if (pair_is(m, i, key)) return true;
    return false;
}

/* Room for `more` elements behind n. */
static nut_status reserve(void **table, size_t n, size_t *cap, size_t more, size_t size, nut_error *err) {
    size_t want, bytes;
    if (n + more <= *cap) return NUT_OK;
    if (!size_mul(n + more, 2, &want) || !size_mul(want, size, &bytes)) return error_memory(err, UINT64_MAX);
    void *p = mem_grow(*table, *cap * size, bytes);
    if (!p) return error_memory(err, bytes);
    *table = p;
    *cap = want;
    return NUT_OK;
}

/* The pair of this key is forgotten; its bytes stay where they are. */
static void forget(gguf_meta *m, gguf_str key) {
    size_t n = 0;
    for (size_t i = 0; i < m->n_pairs; i++)
        if (!pair_is(m, i, key)) m->pairs[n++] = m->pairs[i];
    m->n_pairs = n;
}

/* Appends a pair whose value takes n_value bytes, with its key and type; *value receives where they belong.
 */
static nut_status add_pair(gguf_meta *m, const char *key, gguf_type type, uint64_t n_value, uint8_t **value,
                           nut_error *err) {
    const size_t n_key = strlen(key);
    if (n_value > SIZE_MAX / 4 || n_key > UINT16_MAX)
        return error_set(err, NUT_E_ARGUMENT, "the metadata \"%.40s\" is too long", key);
    const size_t n = 8 + n_key + 4 + (size_t)n_value;
    TRY(reserve((void **)&m->pairs, m->n_pairs, &m->pairs_cap, 1, sizeof *m->pairs, err));
    TRY(reserve((void **)&m->bytes, m->n_bytes, &m->bytes_cap, n, 1, err));
    forget(m, (gguf_str){key, n_key});
    m->pairs[m->n_pairs++] = (struct gguf_meta_pair){m->n_bytes, n_key, n};
    *value = put_le(put_str(m->bytes + m->n_bytes, key, n_key), type, 4);
    m->n_bytes += n;
    return NUT_OK;
}

static nut_status set_scalar(gguf_meta *m, const char *key, gguf_type type, uint64_t bits, nut_error *err) {
    const size_t n = gguf_type_bytes(type);
    uint8_t *value;
    TRY(add_pair(m, key, type, n, &value, err));
    put_le(value, bits, n);
    return NUT_OK;
}

nut_status gguf_meta_int(gguf_meta *m, const char *key, gguf_type type, int64_t value, nut_error *err) {
    return set_scalar(m, key, type, (uint64_t)value, err);
}

nut_status gguf_meta_f32(gguf_meta *m, const char *key, float value, nut_error *err) {
    return set_scalar(m, key, GGUF_F32, half_f32_to_bits(value), err);
}

nut_status gguf_meta_f64(gguf_meta *m, const char *key, double value, nut_error *err) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return set_scalar(m, key, GGUF_F64, bits, err);
}

nut_status gguf_meta_str(gguf_meta *m, const char *key, gguf_str value, nut_error *err) {
    uint8_t *to;
    TRY(add_pair(m, key, GGUF_STRING, value.n < SIZE_MAX / 8 ? 8 + value.n : SIZE_MAX, &to, err));
    put_str(to, value.s, value.n);
    return NUT_OK;
}

/* The machine is little-endian, as wasm is (kernels/blocks.h). */
nut_status gguf_meta_array(gguf_meta *m, const char *key, gguf_type elem, const void *values, uint64_t n,
                           nut_error *err) {
    const size_t size = gguf_type_bytes(elem);
    uint8_t *to;
    TRY(add_pair(m, key, GGUF_ARRAY, n < SIZE_MAX / 64 ? 12 + n * size : SIZE_MAX, &to, err));
    put_bytes(put_le(put_le(to, elem, 4), n, 8), values, (size_t)n * size);
    return NUT_OK;
}

nut_status gguf_meta_strings(gguf_meta *m, const char *key, const gguf_str *values, uint64_t n,
                             nut_error *err) {
    uint64_t n_bytes = 12;
    uint8_t *to;
    for (uint64_t i = 0; i < n; i++)
        if (!u64_add(n_bytes, 8, &n_bytes) || !u64_add(n_bytes, values[i].n, &n_bytes)) n_bytes = UINT64_MAX;
    TRY(add_pair(m, key, GGUF_ARRAY, n_bytes, &to, err));
    to = put_le(put_le(to, GGUF_STRING, 4), n, 8);
    for (uint64_t i = 0; i < n; i++) to = put_str(to, values[i].s, values[i].n);
    return NUT_OK;
}

void gguf_meta_free(gguf_meta *m) {
    mem_free(m->pairs);
    mem_free(m->bytes);
    *m = (gguf_meta){0};
}

/* ---- the header ---- */

typedef struct span {
    const uint8_t *bytes; // NULL: zeros
    uint64_t n;
} span;

static span scratch_span(const gguf_writer *w, const uint8_t *end) {
    return (span){w->scratch, (uint64_t)(end - w->scratch)};
}

static span counts(gguf_writer *w) {
    uint64_t n_kv = w->meta->n_pairs;
    for (uint64_t i = 0; i < w->source->n_kv; i++) n_kv += !is_set(w->meta, w->source->kv[i].key);
    uint8_t *to = put_bytes(w->scratch, "GGUF", 4);
    return scratch_span(w, put_le(put_le(put_le(to, 3, 4), w->n_tensors, 8), n_kv, 8));
}

/* As it lies in the source, from the length of its key to the end of its value. */
static span source_pair(const gguf_writer *w, uint64_t i) {
    const gguf_kv *kv = &w->source->kv[i];
    const uint8_t *begin = (const uint8_t *)kv->key.s - 8, *end = kv->value + kv->n_bytes;
    return (span){begin, is_set(w->meta, kv->key) ? 0 : (uint64_t)(end - begin)};
}

static span tensor_entry(gguf_writer *w, uint64_t i) {
    const gguf_tensor *t = &w->tensors[i];
    uint8_t *to = put_le(put_str(w->scratch, t->name.s, t->name.n), t->n_dims, 4);
    for (uint32_t d = 0; d < t->n_dims; d++) to = put_le(to, t->dims[d], 8);
    return scratch_span(w, put_le(put_le(to, t->ggml_type, 4), w->data_offset, 8));
}

/* The item w->item; false after the last. */
static bool next_item(gguf_writer *w, span *out) {
    uint64_t i = w->item;
    if (i-- == 0) return *out = counts(w), true;
    if (i < w->source->n_kv) return *out = source_pair(w, i), true;
    i -= w->source->n_kv;
    if (i < w->meta->n_pairs)
        return *out = (span){w->meta->bytes + w->meta->pairs[i].at, w->meta->pairs[i].n_bytes}, true;
    i -= w->meta->n_pairs;
    if (i < w->n_tensors) return *out = tensor_entry(w, i), true;
    *out = (span){NULL, gguf_padding(w->n_bytes - w->item_at, w->alignment)};
    return i == w->n_tensors;
}

static void finish_item(gguf_writer *w) {
    const uint64_t first = 1 + w->source->n_kv + w->meta->n_pairs, i = w->item - first;
    if (w->item >= first && i < w->n_tensors)
        w->data_offset += w->tensors[i].n_bytes + gguf_padding(w->tensors[i].n_bytes, w->alignment);
    w->item++;
    w->item_at = 0;
}

/* The tables of those tensors that have some; none where only the source's had. */
static nut_status set_tables(gguf_meta *m, const gguf *source, const gguf_tensor *tensors, uint64_t n,
                             nut_error *err) {
    uint64_t n_bytes = 0;
    uint8_t *to;
    for (uint64_t i = 0; i < n; i++) n_bytes += tensors[i].has_table ? FORMAT_TABLE : 0;
    if (!n_bytes && !gguf_find(source, GGUF_TABLES)) return NUT_OK;
    TRY(add_pair(m, GGUF_TABLES, GGUF_ARRAY, 12 + n_bytes, &to, err));
    to = put_le(put_le(to, GGUF_U8, 4), n_bytes, 8);
    for (uint64_t i = 0; i < n; i++)
        if (tensors[i].has_table) to = put_bytes(to, tensors[i].table, FORMAT_TABLE);
    return NUT_OK;
}

nut_status gguf_write_begin(gguf_writer *w, const gguf *source, gguf_meta *meta, const gguf_tensor *tensors,
                            uint64_t n, nut_error *err) {
    uint64_t end = source->n_bytes + (uint64_t)meta->n_bytes;
    for (uint64_t i = 0; i < n; i++)
        if (!u64_add(end, tensors[i].n_bytes, &end) || !u64_add(end, source->alignment + 256, &end) ||
            end > INT64_MAX)
            return error_set(err, NUT_E_CORRUPT, "the file would be impossibly large");
    TRY(set_tables(meta, source, tensors, n, err));
    *w = (gguf_writer){
        .source = source, .meta = meta, .tensors = tensors, .n_tensors = n, .alignment = source->alignment};
    return NUT_OK;
}

size_t gguf_write_header(gguf_writer *w, uint8_t *out, size_t cap) {
    size_t n = 0;
    span s;
    while (n < cap && next_item(w, &s)) {
        const uint64_t left = s.n - w->item_at;
        const size_t some = left < cap - n ? (size_t)left : cap - n;
        if (some && s.bytes) memcpy(out + n, s.bytes + w->item_at, some);
        if (some && !s.bytes) memset(out + n, 0, some);
        n += some;
        w->n_bytes += some;
        w->item_at += some;
        if (w->item_at == s.n) finish_item(w);
    }
    return n;
}
