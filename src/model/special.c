/*
 * Special tokens in texts. They are sorted by their bytes, so those that share a prefix stand together;
 * following a text, binary search narrows the range byte by byte. That is the walk down a trie, in the
 * memory of a list of ids. A position costs at most SPECIAL_MAX steps, so the whole text costs time linear
 * in its length.
 */
#include "model/tokenizer.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/sort.h"

#include <string.h>

enum { SPECIAL_MAX = 256 }; // bytes; longer tokens are not looked for

typedef struct special_key {
    piece piece;
    int32_t id;
} special_key;

static bool is_special(const vocab *v, uint32_t id) {
    uint32_t n = v->pieces.list[id].n, kind = v->kinds[id] & VOCAB_KIND;
    return n && n <= SPECIAL_MAX &&
           (kind == VOCAB_CONTROL || kind == VOCAB_USER_DEFINED || kind == VOCAB_UNKNOWN);
}

static int by_bytes(const void *a, const void *b) {
    const special_key *x = a, *y = b;
    uint32_t n = x->piece.n < y->piece.n ? x->piece.n : y->piece.n;
    int order = memcmp(x->piece.s, y->piece.s, n);
    if (order) return order;
    if (x->piece.n != y->piece.n) return x->piece.n < y->piece.n ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* Keeps the first of equal pieces; counts them by first byte. */
static void take_sorted(vocab *v, const special_key *keys, size_t n) {
    uint32_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const piece *p = &keys[i].piece, *last = i ? &keys[i - 1].piece : p;
        if (i && p->n == last->n && !memcmp(p->s, last->s, p->n)) continue;
        v->special[kept++] = keys[i].id;
        v->special_at[(uint8_t)p->s[0] + 1]++;
    }
    for (int b = 0; b < 256; b++) v->special_at[b + 1] += v->special_at[b];
}

nut_status special_prepare(vocab *v, nut_error *err) {
    size_t n = 0, at = 0;
    for (uint32_t i = 0; i < v->pieces.n; i++) n += is_special(v, i);
    special_key *keys = mem_calloc(n, sizeof *keys);
    v->special = mem_calloc(n, sizeof *v->special);
    if (!keys || !v->special) {
        mem_free(keys);
        return error_memory(err, n * (sizeof *keys + sizeof *v->special));
    }
    for (uint32_t i = 0; i < v->pieces.n; i++)
        if (is_special(v, i)) keys[at++] = (special_key){v->pieces.list[i], (int32_t)i};
    sort_rows(keys, n, sizeof *keys, by_bytes);
    take_sorted(v, keys, n);
    mem_free(keys);
    return NUT_OK;
}

/* The first of special[lo .. hi), all longer than depth, whose byte at depth is not below b; hi where none
 * is. */
static uint32_t lower_bound(const vocab *v, uint32_t lo, uint32_t hi, uint32_t depth, unsigned b) {
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if ((uint8_t)v->pieces.list[v->special[mid]].s[depth] < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int32_t special_match(const vocab *v, const char *text, size_t n, bool control) {
    uint8_t b = (uint8_t)text[0];
    uint32_t lo = v->special_at[b], hi = v->special_at[b + 1];
    int32_t best = VOCAB_NONE;
    for (uint32_t depth = 1; lo < hi; depth++) { // special[lo .. hi) begin with text[0 .. depth)
        int32_t id = v->special[lo];
        if (v->pieces.list[id].n == depth) { // the shortest stands first
            if (control || (v->kinds[id] & VOCAB_KIND) == VOCAB_USER_DEFINED) best = id;
            lo++;
        }
        if (depth == n) break;
        b = (uint8_t)text[depth];
        lo = lower_bound(v, lo, hi, depth, b);
        hi = lower_bound(v, lo, hi, depth, b + 1u);
    }
    return best;
}
