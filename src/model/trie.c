/* The texts are sorted; the texts that lead through a node then stand together, and the nodes of a level are
 * made from those of the level before, each cutting its range of texts by their next byte. */
#include "model/trie.h"
#include "model/tokenizer.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/sort.h"

typedef struct key {
    token_text text;
    int32_t id;
} key;

static int by_bytes(const void *a, const void *b) {
    const key *x = a, *y = b;
    const uint32_t n = x->text.n < y->text.n ? x->text.n : y->text.n;
    const int order = memcmp(x->text.s, y->text.s, n);
    if (order) return order;
    if (x->text.n != y->text.n) return x->text.n < y->text.n ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static uint32_t shared_bytes(token_text a, token_text b) {
    uint32_t n = 0;
    while (n < a.n && n < b.n && a.s[n] == b.s[n]) n++;
    return n;
}

/* Until a node is made, child and ids hold the range of texts that lead through it. */
static uint32_t add_node(trie *t, uint32_t at, uint8_t byte, uint32_t begin, uint32_t end) {
    t->child[at] = begin;
    t->ids[at] = (int32_t)end;
    t->bytes[at] = byte;
    return at + 1;
}

/* Makes a node of its range, whose texts share `depth` bytes, and adds its children behind node `last`. */
static uint32_t make_node(trie *t, const key *keys, uint32_t node, uint32_t depth, uint32_t last) {
    uint32_t at = t->child[node], end = (uint32_t)t->ids[node];
    t->child[node] = last;
    t->ids[node] = -1;
    for (; at < end && keys[at].text.n == depth; at++)
        if (t->ids[node] < 0) t->ids[node] = keys[at].id; // the first of equal ones
    while (at < end) {
        const uint32_t begin = at;
        const char byte = keys[at].text.s[depth];
        while (at < end && keys[at].text.s[depth] == byte) at++;
        last = add_node(t, last, (uint8_t)byte, begin, at);
    }
    return last;
}

static void fill(trie *t, const key *keys, uint32_t n_keys) {
    uint32_t last = add_node(t, 0, 0, 0, n_keys);
    for (uint32_t node = 0, depth = 0; node < last; depth++)
        for (const uint32_t level = last; node < level; node++) last = make_node(t, keys, node, depth, last);
    t->child[t->n] = last;
    for (uint32_t i = t->child[0]; i < t->child[1]; i++) t->roots[t->bytes[i]] = i;
}

static nut_status build(trie *t, const key *keys, uint32_t n_keys, nut_error *err) {
    uint64_t n = 1;
    for (uint32_t i = 0; i < n_keys; i++)
        n += keys[i].text.n - (i ? shared_bytes(keys[i - 1].text, keys[i].text) : 0);
    if (n > INT32_MAX) return vocab_invalid(err, "its tokens are too long");
    t->n = (uint32_t)n;
    t->child = mem_calloc(t->n + 1, sizeof *t->child);
    t->ids = mem_calloc(t->n, sizeof *t->ids);
    t->bytes = mem_calloc(t->n, 1);
    if (!t->child || !t->ids || !t->bytes) return error_memory(err, 9 * n);
    fill(t, keys, n_keys);
    return NUT_OK;
}

nut_status trie_build(trie *t, const token_table *tokens, trie_take *take, const void *ctx, nut_error *err) {
    uint32_t n = 0;
    key *keys = mem_calloc(tokens->n, sizeof *keys);
    if (!keys) return error_memory(err, tokens->n * sizeof *keys);
    for (uint32_t i = 0; i < tokens->n; i++) {
        const token_text text = tokens->texts[i];
        if (text.n && text.n <= TRIE_MAX_TEXT && take(ctx, i)) keys[n++] = (key){text, (int32_t)i};
    }
    sort_rows(keys, n, sizeof *keys, by_bytes);
    const nut_status status = build(t, keys, n, err);
    mem_free(keys);
    return status;
}

void trie_free(trie *t) {
    mem_free(t->child);
    mem_free(t->ids);
    mem_free(t->bytes);
    *t = (trie){0};
}
