/*
 * The search for special tokens in a text. The tokens are sorted by their texts, so those that share a
 * prefix stand together; binary search narrows the range with each byte of the text. This walks down a trie,
 * but stores only a list of ids. One position of the text costs at most SPECIAL_MAX steps, so a text costs
 * time linear in its length.
 */
#include "model/tokenizer.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/sort.h"

#include <string.h>

enum { SPECIAL_MAX = 256 }; // bytes; longer tokens are not searched for

typedef struct special_key {
    token_text text;
    int32_t id;
} special_key;

static bool is_special(const vocab *v, uint32_t id) {
    uint32_t n = v->tokens.texts[id].n, type = v->types[id] & VOCAB_TYPE;
    return n && n <= SPECIAL_MAX &&
           (type == VOCAB_CONTROL || type == VOCAB_USER_DEFINED || type == VOCAB_UNKNOWN);
}

static int by_bytes(const void *a, const void *b) {
    const special_key *x = a, *y = b;
    uint32_t n = x->text.n < y->text.n ? x->text.n : y->text.n;
    int order = memcmp(x->text.s, y->text.s, n);
    if (order) return order;
    if (x->text.n != y->text.n) return x->text.n < y->text.n ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* Keeps the first token of each text; counts the tokens by first byte. */
static void take_sorted(vocab *v, const special_key *keys, size_t n) {
    uint32_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const token_text *p = &keys[i].text, *last = i ? &keys[i - 1].text : p;
        if (i && p->n == last->n && !memcmp(p->s, last->s, p->n)) continue;
        v->special[kept++] = keys[i].id;
        v->special_at[(uint8_t)p->s[0] + 1]++;
    }
    for (int b = 0; b < 256; b++) v->special_at[b + 1] += v->special_at[b];
}

nut_status special_prepare(vocab *v, nut_error *err) {
    size_t n = 0, at = 0;
    for (uint32_t i = 0; i < v->tokens.n; i++) n += is_special(v, i);
    special_key *keys = mem_calloc(n, sizeof *keys);
    v->special = mem_calloc(n, sizeof *v->special);
    if (!keys || !v->special) {
        mem_free(keys);
        return error_memory(err, n * (sizeof *keys + sizeof *v->special));
    }
    for (uint32_t i = 0; i < v->tokens.n; i++)
        if (is_special(v, i)) keys[at++] = (special_key){v->tokens.texts[i], (int32_t)i};
    sort_rows(keys, n, sizeof *keys, by_bytes);
    take_sorted(v, keys, n);
    mem_free(keys);
    return NUT_OK;
}

/* The first of special[lo .. hi), all longer than depth, whose byte at depth is b or more; hi: none. */
static uint32_t lower_bound(const vocab *v, uint32_t lo, uint32_t hi, uint32_t depth, unsigned b) {
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if ((uint8_t)v->tokens.texts[v->special[mid]].s[depth] < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool special_is_text(const vocab *v, int32_t id) {
    const int type = v->types[id] & VOCAB_TYPE;
    const token_text *p = &v->tokens.texts[id];
    if (type != VOCAB_USER_DEFINED) return type != VOCAB_CONTROL;
    for (uint32_t i = 0; i < p->n; i++)
        if (p->s[i] && strchr("<>[]|", p->s[i])) return false;
    return true;
}

static bool is_in(const vocab *v, int32_t id, special_set set) {
    if (set == SPECIAL_ALL) return true;
    return (v->types[id] & VOCAB_TYPE) == VOCAB_USER_DEFINED &&
           (set == SPECIAL_DEFINED || special_is_text(v, id));
}

int32_t special_match(const vocab *v, const char *text, size_t n, special_set set) {
    uint8_t b = (uint8_t)text[0];
    uint32_t lo = v->special_at[b], hi = v->special_at[b + 1];
    int32_t best = VOCAB_NONE;
    for (uint32_t depth = 1; lo < hi; depth++) { // special[lo .. hi) begin with text[0 .. depth)
        int32_t id = v->special[lo];
        if (v->tokens.texts[id].n == depth) { // the shortest stands first
            if (is_in(v, id, set)) best = id;
            lo++;
        }
        if (depth == n) break;
        b = (uint8_t)text[depth];
        lo = lower_bound(v, lo, hi, depth, b);
        hi = lower_bound(v, lo, hi, depth, b + 1u);
    }
    return best;
}
