/* A hash table with open addressing and linear probing, at most two thirds full. In a table of honest texts
 * each is found a few slots behind the slot of its hash; a vocabulary where one lies further than MAX_PROBES
 * was made to cost time, and is refused. A look-up stops after as many slots, since runs of full slots can
 * be as long as the vocabulary even where each text lies near its own slot. */
#include "model/token_table.h"
#include "model/tokenizer.h"

#include "base/error.h"
#include "base/mem.h"

#include <string.h>

enum { MAX_PROBES = 512 }; // about 230 is the most that 16 million texts need (Knuth volume 3, section 6.4)

static uint64_t hash_bytes(uint64_t h, const char *s, size_t n) { // FNV-1a
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return h;
}

#define HASH_BEGIN 0xcbf29ce484222325u

static uint32_t hash_end(uint64_t h) {
    return (uint32_t)((h ^ (h >> 29)) * 0x9e3779b97f4a7c15u >> 32);
}

/* The hash of a followed by b. */
static uint32_t hash2(const char *a, size_t n_a, const char *b, size_t n_b) {
    return hash_end(hash_bytes(hash_bytes(HASH_BEGIN, a, n_a), b, n_b));
}

static bool equals2(token_text t, const char *a, size_t n_a, const char *b, size_t n_b) {
    return t.n == n_a + n_b && !memcmp(t.s, a, n_a) && !memcmp(t.s + n_a, b, n_b);
}

static int32_t find_hashed(const token_table *t, uint32_t hash, const char *a, size_t n_a, const char *b,
                           size_t n_b) {
    size_t at = hash & t->mask;
    for (int probes = 0; probes < MAX_PROBES; probes++, at = (at + 1) & t->mask) {
        token_slot slot = t->slots[at];
        if (slot.id < 0) return -1;
        if (slot.hash == hash && equals2(t->texts[slot.id], a, n_a, b, n_b)) return slot.id;
    }
    return -1;
}

int32_t token_table_find2(const token_table *t, const char *a, size_t n_a, const char *b, size_t n_b) {
    if (n_a > t->longest || n_b > t->longest - n_a) return -1;
    return find_hashed(t, hash2(a, n_a, b, n_b), a, n_a, b, n_b);
}

int32_t token_table_longest(const token_table *t, const char *s, size_t n, size_t most, size_t *length) {
    uint64_t h = HASH_BEGIN;
    int32_t best = -1;
    if (most > t->longest) most = t->longest;
    for (size_t i = 0; i < n && i < most; i++) {
        h = hash_bytes(h, s + i, 1);
        const int32_t id = find_hashed(t, hash_end(h), s, i + 1, s, 0);
        if (id >= 0) best = id, *length = i + 1;
    }
    return best;
}

/* False: too many probes. */
static bool insert(token_table *t, int32_t id) {
    token_text new = t->texts[id];
    uint32_t hash = hash2(new.s, new.n, new.s, 0);
    size_t at = hash & t->mask;
    for (int probes = 0; t->slots[at].id >= 0; at = (at + 1) & t->mask) {
        token_slot slot = t->slots[at];
        if (slot.hash == hash && equals2(t->texts[slot.id], new.s, new.n, new.s, 0)) return true;
        if (++probes == MAX_PROBES) return false;
    }
    t->slots[at] = (token_slot){hash, id};
    return true;
}

static nut_status allocate(token_table *t, uint64_t n, nut_error *err) {
    size_t n_slots = 16;
    while (2 * n_slots < 3 * n) n_slots *= 2;
    t->n = (uint32_t)n;
    t->mask = n_slots - 1;
    t->texts = mem_calloc(t->n, sizeof *t->texts);
    t->slots = mem_calloc(n_slots, sizeof *t->slots);
    if (!t->texts || !t->slots) return error_memory(err, n * sizeof *t->texts + n_slots * sizeof *t->slots);
    for (size_t i = 0; i < n_slots; i++) t->slots[i].id = -1;
    return NUT_OK;
}

nut_status token_table_read(token_table *t, const gguf *g, const gguf_kv *kv, nut_error *err) {
    *t = (token_table){0};
    bool strings = kv && kv->type == GGUF_ARRAY && kv->elem == GGUF_STRING;
    if (!strings || kv->n == 0) return vocab_invalid(err, "it has no tokens");
    if (kv->n > TOKEN_TABLE_MAX) return vocab_invalid(err, "it has more than 16 million tokens");
    TRY(allocate(t, kv->n, err));
    const uint8_t *at = kv->value;
    for (uint32_t i = 0; i < t->n; i++) {
        gguf_str s;
        at = gguf_next_string(g, at, &s);
        if (s.n > UINT32_MAX) return vocab_invalid(err, "a token is longer than 4 GiB");
        t->texts[i] = (token_text){s.s, (uint32_t)s.n};
        if (s.n > t->longest) t->longest = (uint32_t)s.n;
        if (s.n && !insert(t, (int32_t)i)) return vocab_invalid(err, "its tokens were made to collide");
    }
    return NUT_OK;
}

void token_table_free(token_table *t) {
    mem_free(t->texts);
    mem_free(t->slots);
    mem_free(t->own);
    *t = (token_table){0};
}
