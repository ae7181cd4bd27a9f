/* Open addressing with linear probing. The table is at most two thirds full, so a piece is near the slot
 * where it belongs; a vocabulary where one is not was made to collide and is refused. Looking up goes no
 * further either: runs of slots can be made as long as the vocabulary with each piece near its own. */
#include "model/pieces.h"
#include "model/tokenizer.h"

#include "base/error.h"
#include "base/mem.h"

#include <string.h>

enum { MAX_PROBES = 512 }; // the longest way of 16 million pieces is about 230 (Knuth volume 3, section 6.4)

static uint64_t hash_bytes(uint64_t h, const char *s, size_t n) { // FNV-1a
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return h;
}

static uint32_t hash2(const char *a, size_t n_a, const char *b, size_t n_b) {
    uint64_t h = hash_bytes(hash_bytes(0xcbf29ce484222325u, a, n_a), b, n_b);
    return (uint32_t)((h ^ (h >> 29)) * 0x9e3779b97f4a7c15u >> 32);
}

static bool equals2(piece p, const char *a, size_t n_a, const char *b, size_t n_b) {
    return p.n == n_a + n_b && !memcmp(p.s, a, n_a) && !memcmp(p.s + n_a, b, n_b);
}

int32_t pieces_find2(const pieces *p, const char *a, size_t n_a, const char *b, size_t n_b) {
    if (n_a > p->longest || n_b > p->longest - n_a) return -1;
    uint32_t hash = hash2(a, n_a, b, n_b);
    size_t at = hash & p->mask;
    for (int probes = 0; probes < MAX_PROBES; probes++, at = (at + 1) & p->mask) {
        pieces_slot slot = p->slots[at];
        if (slot.id < 0) return -1;
        if (slot.hash == hash && equals2(p->list[slot.id], a, n_a, b, n_b)) return slot.id;
    }
    return -1;
}

/* False: too many probes. */
static bool insert(pieces *p, int32_t id) {
    piece new = p->list[id];
    uint32_t hash = hash2(new.s, new.n, new.s, 0);
    size_t at = hash & p->mask;
    for (int probes = 0; p->slots[at].id >= 0; at = (at + 1) & p->mask) {
        pieces_slot slot = p->slots[at];
        if (slot.hash == hash && equals2(p->list[slot.id], new.s, new.n, new.s, 0)) return true;
        if (++probes == MAX_PROBES) return false;
    }
    p->slots[at] = (pieces_slot){hash, id};
    return true;
}

static nut_status allocate(pieces *p, uint64_t n, nut_error *err) {
    size_t n_slots = 16;
    while (2 * n_slots < 3 * n) n_slots *= 2;
    p->n = (uint32_t)n;
    p->mask = n_slots - 1;
    p->list = mem_calloc(p->n, sizeof *p->list);
    p->slots = mem_calloc(n_slots, sizeof *p->slots);
    if (!p->list || !p->slots) return error_memory(err, n * sizeof *p->list + n_slots * sizeof *p->slots);
    for (size_t i = 0; i < n_slots; i++) p->slots[i].id = -1;
    return NUT_OK;
}

nut_status pieces_read(pieces *p, const gguf *g, const gguf_kv *kv, nut_error *err) {
    *p = (pieces){0};
    bool strings = kv && kv->type == GGUF_ARRAY && kv->elem == GGUF_STRING;
    if (!strings || kv->n == 0) return vocab_damaged(err, "it has no tokens");
    if (kv->n > PIECES_MAX) return vocab_damaged(err, "it has more than 16 million tokens");
    TRY(allocate(p, kv->n, err));
    const uint8_t *at = kv->value;
    for (uint32_t i = 0; i < p->n; i++) {
        gguf_str s;
        at = gguf_next_string(g, at, &s);
        if (s.n > UINT32_MAX) return vocab_damaged(err, "a token is longer than 4 GiB");
        p->list[i] = (piece){s.s, (uint32_t)s.n};
        if (s.n > p->longest) p->longest = (uint32_t)s.n;
        if (s.n && !insert(p, (int32_t)i)) return vocab_damaged(err, "its tokens were made to collide");
    }
    return NUT_OK;
}

void pieces_free(pieces *p) {
    mem_free(p->list);
    mem_free(p->slots);
    *p = (pieces){0};
}
