/* A unit of the double array has, in its bits: 0-7 the byte that leads to it, 8 whether a text ends there,
 * 9-31 the offset of its children, in steps of 256 where bit 9 is set. A unit with bit 31 is a value. Any
 * unit may be anything, since the file is not trusted: a search takes a step for each byte, and stops where
 * it leaves the array. */
#include "model/charsmap.h"
#include "model/tokenizer.h"

#include <string.h>

enum { MAX_MATCH = 256 };

static uint32_t read_u32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

nut_status charsmap_read(charsmap *m, const gguf_kv *kv, nut_error *err) {
    *m = (charsmap){0};
    if (!kv) return NUT_OK;
    const bool bytes = kv->type == GGUF_ARRAY && (kv->elem == GGUF_U8 || kv->elem == GGUF_I8);
    if (!bytes || kv->n < 4 || kv->n > UINT32_MAX) return vocab_invalid(err, "its charsmap is no bytes");
    const uint32_t n_trie = read_u32(kv->value);
    const uint64_t n_rest = kv->n - 4;
    if (n_trie >= n_rest || n_trie % 4 || kv->value[kv->n - 1] != 0)
        return vocab_invalid(err, "the parts of its charsmap do not fit");
    m->units = kv->value + 4;
    m->n_units = n_trie / 4;
    m->texts = (const char *)m->units + n_trie;
    m->n_texts = (size_t)(n_rest - n_trie);
    return NUT_OK;
}

/* The unit at i; beyond the end one that no byte leads to. */
static uint32_t unit_at(const charsmap *m, uint32_t i) {
    return i < m->n_units ? read_u32(m->units + 4 * (size_t)i) : UINT32_MAX;
}

static uint32_t children_of(uint32_t unit) {
    return unit >> 10 << ((unit & 1u << 9) >> 6);
}

/* The text at an offset that a value unit tells; false: none, or too long. */
static bool text_at(const charsmap *m, uint32_t value, gguf_str *to) {
    const size_t at = value & INT32_MAX;
    if (at >= m->n_texts) return false;
    const size_t rest = m->n_texts - at;
    const char *s = m->texts + at, *end = memchr(s, 0, rest <= MAX_MATCH ? rest : MAX_MATCH + 1);
    if (!end) return false;
    *to = (gguf_str){s, (uint64_t)(end - s)};
    return true;
}

size_t charsmap_match(const charsmap *m, const char *s, size_t n, gguf_str *to) {
    size_t longest = 0;
    uint32_t at = children_of(unit_at(m, 0));
    if (!m->n_units) return 0;
    for (size_t i = 0; i < n && i < MAX_MATCH && s[i]; i++) {
        const uint8_t byte = (uint8_t)s[i];
        at ^= byte;
        const uint32_t unit = unit_at(m, at);
        if ((unit & (1u << 31 | 0xff)) != byte) break;
        at ^= children_of(unit);
        if (unit & 1u << 8 && text_at(m, unit_at(m, at), to)) longest = i + 1;
    }
    return longest;
}
