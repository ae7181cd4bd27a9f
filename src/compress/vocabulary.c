/* Tokens that stay, with all that they are made of. */
#include "compress/vocabulary.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/sort.h"
#include "model/tokenizer.h"

#include <stdio.h>
#include <string.h>

#define KEY_MERGES "tokenizer.ggml.merges"
enum { MOST_BYTES = 512 }; // of a token whose pieces are kept: as long as those that merges make

/* Two tokens that are merged to a third. */
typedef struct pair {
    int32_t left, right, merged;
} pair;

typedef struct choice {
    const vocab *v;
    vocabulary *c;  // number: 0 stays, -1 goes, while it is chosen
    pair *made_of;  // (c->n) of byte-pair encoding; left -1: it is no merge's
    int32_t *stack; // (2 c->n + 2) tokens that stay, whose parts were not looked at
    size_t n_stack;
} choice;

void vocabulary_free(vocabulary *c) {
    mem_free(c->kept);
    mem_free(c->number);
    *c = (vocabulary){0};
}

/* ---- what tokens are made of ---- */

/* "left right", as model/merges.c reads it. */
static bool read_pair(const vocab *v, gguf_str s, pair *out) {
    const char *gap = s.n > 2 ? memchr(s.s + 1, ' ', (size_t)s.n - 1) : NULL;
    if (!gap) return false;
    const size_t n_left = (size_t)(gap - s.s), n_right = (size_t)s.n - n_left - 1;
    out->left = token_table_find(&v->tokens, s.s, n_left);
    out->right = token_table_find(&v->tokens, gap + 1, n_right);
    out->merged = token_table_find2(&v->tokens, s.s, n_left, gap + 1, n_right);
    return out->left >= 0 && out->right >= 0 && out->merged >= 0;
}

static void read_merges(choice *h, const gguf *g) {
    const gguf_kv *kv = gguf_find(g, KEY_MERGES);
    const uint8_t *at = kv->value;
    pair p;
    gguf_str s;
    for (uint32_t i = 0; i < h->c->n; i++) h->made_of[i].left = -1;
    for (uint64_t i = 0; i < kv->n; i++) {
        at = gguf_next_string(g, at, &s);
        if (read_pair(h->v, s, &p) && h->made_of[p.merged].left < 0) h->made_of[p.merged] = p;
    }
}

static void keep(choice *h, int32_t id) {
    if (id < 0 || (uint32_t)id >= h->c->n || h->c->number[id] == 0) return;
    h->c->number[id] = 0;
    h->c->n_kept++;
    h->stack[h->n_stack++] = id;
}

/* Length of the character at s, at most n. */
static size_t character(const char *s, size_t n) {
    size_t i = 1;
    while (i < n && ((uint8_t)s[i] & 0xc0) == 0x80) i++;
    return i;
}

/* The pieces that SentencePiece makes on its way to a token: characters, then the best pair again and again.
 */
static void keep_pieces(choice *h, int32_t id) {
    const gguf_str text = vocab_text(h->v, id);
    const char *s = text.s;
    size_t starts[MOST_BYTES + 1], n = 0;
    if (text.n > MOST_BYTES) return;
    for (size_t at = 0; at < text.n; at += character(s + at, (size_t)text.n - at)) starts[n++] = at;
    starts[n] = (size_t)text.n;
    for (size_t i = 0; i < n; i++)
        keep(h, token_table_find(&h->v->tokens, s + starts[i], starts[i + 1] - starts[i]));
    while (n > 1) {
        size_t best = n;
        int32_t made = -1;
        for (size_t i = 0; i + 1 < n; i++) {
            const int32_t t = token_table_find(&h->v->tokens, s + starts[i], starts[i + 2] - starts[i]);
            if (t >= 0 && (made < 0 || h->v->ranks[t] < h->v->ranks[made])) best = i, made = t;
        }
        if (made < 0) return;
        keep(h, made);
        memmove(starts + best + 1, starts + best + 2, (n - best - 1) * sizeof *starts);
        n--;
    }
}

/* A token, with all that it is made of. */
static void keep_whole(choice *h, int32_t id) {
    keep(h, id);
    while (h->n_stack) {
        const int32_t t = h->stack[--h->n_stack];
        if (h->made_of[t].left >= 0)
            keep(h, h->made_of[t].left), keep(h, h->made_of[t].right);
        else if (h->v->ranks && (h->v->types[t] & VOCAB_TYPE) == VOCAB_NORMAL)
            keep_pieces(h, t);
    }
}

/* ---- the choice ---- */

typedef struct candidate {
    uint32_t count;
    int32_t id;
} candidate;

static int by_count(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static bool names_token(const gguf_kv *kv) {
    static const char end[] = "_token_id";
    const size_t n = sizeof end - 1;
    return kv->key.n > n && !memcmp(kv->key.s + kv->key.n - n, end, n) && kv->type != GGUF_ARRAY;
}

static void keep_special(choice *h, const gguf *g) {
    int64_t id;
    for (uint32_t i = 0; i < h->c->n; i++) {
        const uint8_t type = h->v->types[i] & VOCAB_TYPE;
        if ((type != VOCAB_NORMAL && type != VOCAB_UNUSED) || vocab_is_eog(h->v, (int32_t)i))
            keep_whole(h, (int32_t)i);
    }
    for (size_t i = 0; i < 256; i++) keep_whole(h, h->v->byte_ids[i]);
    for (uint64_t i = 0; i < g->n_kv; i++)
        if (names_token(&g->kv[i]) && gguf_integer_at(&g->kv[i], 0, &id) && id >= 0 && id < h->c->n)
            keep_whole(h, (int32_t)id);
}

static nut_status choose(choice *h, const uint32_t *counts, uint32_t most, nut_error *err) {
    const uint32_t n = h->c->n;
    candidate *all = mem_alloc(n * sizeof *all);
    if (!all) return error_memory(err, n * sizeof *all);
    for (uint32_t i = 0; i < n; i++) all[i] = (candidate){counts[i], (int32_t)i};
    sort_rows(all, n, sizeof *all, by_count);
    for (uint32_t i = 0; i < n && h->c->n_kept < most; i++)
        if ((h->v->types[all[i].id] & VOCAB_TYPE) == VOCAB_NORMAL) keep_whole(h, all[i].id);
    mem_free(all);
    return NUT_OK;
}

static nut_status number_kept(vocabulary *c, nut_error *err) {
    uint32_t n = 0;
    c->kept = mem_alloc(c->n_kept * sizeof *c->kept);
    if (!c->kept) return error_memory(err, c->n_kept * sizeof *c->kept);
    for (uint32_t i = 0; i < c->n; i++)
        if (c->number[i] == 0) c->kept[n] = i, c->number[i] = (int32_t)n++;
    return NUT_OK;
}

static nut_status choose_all(choice *h, const gguf *g, const uint32_t *counts, uint32_t most,
                             nut_error *err) {
    const size_t n = h->c->n;
    h->made_of = mem_alloc(n * sizeof *h->made_of);
    h->stack = mem_alloc((2 * n + 2) * sizeof *h->stack);
    if (!h->made_of || !h->stack) return error_memory(err, n * (sizeof *h->made_of + 2 * sizeof *h->stack));
    for (size_t i = 0; i < n; i++) h->made_of[i].left = -1;
    if (h->v->merges) read_merges(h, g);
    memset(h->c->number, 0xff, n * sizeof *h->c->number);
    keep_special(h, g);
    TRY(choose(h, counts, most, err));
    return number_kept(h->c, err);
}

nut_status vocabulary_choose(const vocab *v, const gguf *g, const uint32_t *counts, uint32_t most,
                             vocabulary *out, nut_error *err) {
    choice h = {.v = v, .c = out};
    *out = (vocabulary){.n = vocab_size(v)};
    if (v->tokenizer != &tokenizer_spm && v->tokenizer != &tokenizer_bpe)
        return error_set(
            err, NUT_E_UNSUPPORTED,
            "tokens can be taken out of vocabularies whose tokens are merged; this one is \"%s\"",
            vocab_tokenizer_name(v));
    if (most >= out->n)
        return error_set(err, NUT_E_ARGUMENT, "the model has %u tokens; keep fewer", (unsigned)out->n);
    out->number = mem_alloc(out->n * sizeof *out->number);
    if (!out->number) return error_memory(err, out->n * sizeof *out->number);
    const nut_status status = choose_all(&h, g, counts, most, err);
    mem_free(h.made_of);
    mem_free(h.stack);
    return status;
}

/* ---- metadata ---- */

/* Elements of the tokens that stay. */
static nut_status cut_numbers(const vocabulary *c, const gguf_kv *kv, const char *key, gguf_meta *meta,
                              nut_error *err) {
    const size_t size = gguf_type_bytes(kv->elem);
    uint8_t *left = mem_alloc(c->n_kept * size);
    if (!left) return error_memory(err, c->n_kept * size);
    for (uint32_t i = 0; i < c->n_kept; i++) memcpy(left + size * i, kv->value + size * c->kept[i], size);
    const nut_status status = gguf_meta_array(meta, key, kv->elem, left, c->n_kept, err);
    mem_free(left);
    return status;
}

static bool stays(const vocabulary *c, const vocab *v, uint64_t i, gguf_str s, bool is_merge) {
    pair p;
    if (!is_merge) return c->number[i] >= 0;
    return read_pair(v, s, &p) && c->number[p.left] >= 0 && c->number[p.right] >= 0 &&
           c->number[p.merged] >= 0;
}

static nut_status cut_strings(const vocabulary *c, const vocab *v, const gguf *g, const gguf_kv *kv,
                              const char *key, gguf_meta *meta, nut_error *err) {
    const bool is_merge = !strcmp(key, KEY_MERGES);
    const uint8_t *at = kv->value;
    gguf_str s, *left = mem_calloc((size_t)kv->n + 1, sizeof *left);
    uint64_t n = 0;
    if (!left) return error_memory(err, kv->n * sizeof *left);
    for (uint64_t i = 0; i < kv->n; i++) {
        at = gguf_next_string(g, at, &s);
        if (stays(c, v, i, s, is_merge)) left[n++] = s;
    }
    const nut_status status = gguf_meta_strings(meta, key, left, n, err);
    mem_free(left);
    return status;
}

static bool begins_with(gguf_str s, const char *begin) {
    return s.n >= strlen(begin) && !memcmp(s.s, begin, strlen(begin));
}

static bool ends_with(gguf_str s, const char *end) {
    const size_t n = strlen(end);
    return s.n >= n && !memcmp(s.s + s.n - n, end, n);
}

static nut_status change_pair(const vocabulary *c, const vocab *v, const gguf *g, const gguf_kv *kv,
                              gguf_meta *meta, nut_error *err) {
    char key[128];
    int64_t id;
    if (kv->key.n >= sizeof key) return NUT_OK;
    memcpy(key, kv->key.s, (size_t)kv->key.n);
    key[kv->key.n] = 0;
    if (names_token(kv) && gguf_integer_at(kv, 0, &id) && id >= 0 && id < c->n)
        return gguf_meta_int(meta, key, kv->type, c->number[id], err);
    if (ends_with(kv->key, ".vocab_size") && kv->type != GGUF_ARRAY)
        return gguf_meta_int(meta, key, kv->type, c->n_kept, err);
    if (kv->type != GGUF_ARRAY || !begins_with(kv->key, "tokenizer.ggml.")) return NUT_OK;
    if (kv->elem == GGUF_STRING && (kv->n == c->n || !strcmp(key, KEY_MERGES)))
        return cut_strings(c, v, g, kv, key, meta, err);
    return kv->n == c->n ? cut_numbers(c, kv, key, meta, err) : NUT_OK;
}

nut_status vocabulary_meta(const vocabulary *c, const vocab *v, const gguf *g, gguf_meta *meta,
                           nut_error *err) {
    for (uint64_t i = 0; i < g->n_kv; i++) TRY(change_pair(c, v, g, &g->kv[i], meta, err));
    return NUT_OK;
}
