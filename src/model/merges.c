/* A list of merges in the order of training, and a hash table of indices with open addressing, at most two
 * thirds full. */
#include "model/merges.h"
#include "model/tokenizer.h"

#include "base/error.h"
#include "base/mem.h"

#include <string.h>

typedef struct merge_pair {
    int32_t left, right, merged;
} merge_pair;

struct merges {
    merge_pair *list; // (n) in the order of training: the index is the merge rank
    uint32_t n;
    uint32_t *slots; // (mask + 1) indices by hash of left and right; NO_MERGE: empty
    size_t mask;
};

#define NO_MERGE UINT32_MAX
#define NO_SLOT  SIZE_MAX
enum { MAX_PROBES = 512, MAX_MERGES = 1 << 26 }; // probes: see token_table.c

/* The slot of a pair, or the empty slot where it belongs; NO_SLOT: neither within MAX_PROBES. */
static size_t find_slot(const merges *m, int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    size_t at = (size_t)((h ^ (h >> 32)) * 0xd6e8feb86659fd93u >> 32) & m->mask;
    for (int probes = 0; probes < MAX_PROBES; probes++, at = (at + 1) & m->mask) {
        if (m->slots[at] == NO_MERGE) return at;
        const merge_pair *found = &m->list[m->slots[at]];
        if (found->left == left && found->right == right) return at;
    }
    return NO_SLOT;
}

bool merges_find(const merges *m, int32_t left, int32_t right, merge_result *out) {
    const size_t slot = find_slot(m, left, right);
    if (slot == NO_SLOT || m->slots[slot] == NO_MERGE) return false;
    out->rank = m->slots[slot];
    out->id = m->list[out->rank].merged;
    return true;
}

/* Reads "left right"; false where left, right or both together are no token. */
static bool parse(const token_table *t, gguf_str s, merge_pair *out) {
    const char *gap = s.n > 2 ? memchr(s.s + 1, ' ', (size_t)s.n - 1) : NULL;
    if (!gap) return false;
    size_t n_left = (size_t)(gap - s.s), n_right = (size_t)s.n - n_left - 1;
    out->left = token_table_find(t, s.s, n_left);
    out->right = token_table_find(t, gap + 1, n_right);
    out->merged = token_table_find2(t, s.s, n_left, gap + 1, n_right);
    return out->left != VOCAB_NONE && out->right != VOCAB_NONE && out->merged != VOCAB_NONE;
}

static nut_status fill(merges *m, const token_table *t, const gguf *g, const gguf_kv *kv, nut_error *err) {
    const uint8_t *at = kv->value;
    for (uint64_t i = 0; i < kv->n; i++) {
        gguf_str s;
        at = gguf_next_string(g, at, &s);
        if (!parse(t, s, &m->list[m->n])) continue;
        size_t slot = find_slot(m, m->list[m->n].left, m->list[m->n].right);
        if (slot == NO_SLOT) return vocab_invalid(err, "its merges were made to collide");
        if (m->slots[slot] == NO_MERGE) m->slots[slot] = m->n++; // the first of equal merges counts
    }
    if (kv->n && !m->n) return vocab_invalid(err, "its merges name none of its tokens");
    return NUT_OK;
}

nut_status merges_read(merges **out, const token_table *t, const gguf *g, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.merges");
    size_t n_slots = 16;
    if (!kv || kv->type != GGUF_ARRAY || kv->elem != GGUF_STRING || kv->n > MAX_MERGES)
        return vocab_invalid(err, "it has no merges");
    merges *m = *out = mem_calloc(1, sizeof *m);
    if (!m) return error_memory(err, sizeof *m);
    while (2 * n_slots < 3 * kv->n) n_slots *= 2;
    m->mask = n_slots - 1;
    m->list = mem_calloc((size_t)kv->n + 1, sizeof *m->list);
    m->slots = mem_calloc(n_slots, sizeof *m->slots);
    if (!m->list || !m->slots)
        return error_memory(err, kv->n * sizeof *m->list + n_slots * sizeof *m->slots);
    memset(m->slots, 0xff, n_slots * sizeof *m->slots);
    return fill(m, t, g, kv, err);
}

void merges_free(merges *m) {
    if (!m) return;
    mem_free(m->list);
    mem_free(m->slots);
    mem_free(m);
}
