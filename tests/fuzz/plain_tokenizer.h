/*
 * The rules of both tokenizers in the simplest form, to compare with: a list of symbols, and in each round a
 * search through all neighbours for the pair to merge. Only the cutting into words is shared with src/model.
 */
#ifndef NUT_TESTS_PLAIN_TOKENIZER_H
#define NUT_TESTS_PLAIN_TOKENIZER_H

#include "fuzz.h"

#include "../unit/make_gguf.h"
#include "model/pretok.h"

enum { PLAIN_MOST = 600, PLAIN_MERGES = 256, PLAIN_TEXT = 2048 };

typedef struct plain_token {
    const char *s;
    size_t n;
    float score;
    char own[8]; // where s was no lasting memory
} plain_token;

typedef struct plain_pair {
    size_t left, right;
    int ids[3]; // the first tokens with these texts, and with both texts behind each other; -1: there is
                // none
} plain_pair;

typedef struct plain_vocab {
    bool bpe, prefix; // prefix: a space in front of a text
    plain_token list[PLAIN_MOST];
    size_t n;
    plain_pair merges[PLAIN_MERGES];
    size_t n_merges;
} plain_vocab;

/* ---- making one ---- */

/* Short texts are copied, longer ones must stay valid. */
static inline void plain_add(plain_vocab *v, const char *s, size_t n, float score) {
    plain_token *t = &v->list[v->n++];
    *t = (plain_token){.s = s, .n = n, .score = score};
    if (n > sizeof t->own) return;
    if (n) memcpy(t->own, s, n);
    t->s = t->own;
}

static inline void plain_merge(plain_vocab *v, size_t left, size_t right) {
    if (v->n_merges < PLAIN_MERGES) v->merges[v->n_merges++] = (plain_pair){.left = left, .right = right};
}

/* ---- looking up ---- */

/* The first token whose text is a followed by b, or -1; an empty text is no token. */
static inline int plain_find(const plain_vocab *v, const char *a, size_t n_a, const char *b, size_t n_b) {
    for (size_t i = 0; i < v->n && n_a + n_b; i++) {
        const plain_token *t = &v->list[i];
        if (t->n == n_a + n_b && (!n_a || !memcmp(t->s, a, n_a)) && (!n_b || !memcmp(t->s + n_a, b, n_b)))
            return (int)i;
    }
    return -1;
}

typedef struct plain_symbol {
    const char *s; // SentencePiece
    size_t n;
    int id; // -1: no token
} plain_symbol;

/* Once all tokens and merges are there. */
static inline void plain_prepare(plain_vocab *v) {
    for (size_t i = 0; i < v->n_merges; i++) {
        const plain_token *l = &v->list[v->merges[i].left], *r = &v->list[v->merges[i].right];
        v->merges[i].ids[0] = plain_find(v, l->s, l->n, "", 0);
        v->merges[i].ids[1] = plain_find(v, r->s, r->n, "", 0);
        v->merges[i].ids[2] = plain_find(v, l->s, l->n, r->s, r->n);
    }
}

/* The rank of merging two neighbours (lower is first) and their token; false where they do not merge. */
static inline bool plain_join(const plain_vocab *v, const plain_symbol *a, const plain_symbol *b,
                              double *rank, int *id) {
    if (!v->bpe) {
        *id = plain_find(v, a->s, a->n, b->s, b->n);
        *rank = *id < 0 ? 0 : v->list[*id].score == v->list[*id].score ? -(double)v->list[*id].score : 1e9;
        return *id >= 0;
    }
    for (size_t i = 0; i < v->n_merges; i++) {
        const int *ids = v->merges[i].ids;
        *id = ids[2];
        *rank = (double)i;
        if (ids[0] == a->id && ids[1] == b->id && ids[2] >= 0) return true;
    }
    return false;
}

/* ---- a text ---- */

typedef struct plain_run {
    const plain_vocab *v;
    plain_symbol symbols[PLAIN_TEXT];
    size_t n;
    int32_t ids[4 * PLAIN_TEXT];
    size_t n_ids;
} plain_run;

/* Merges the best pair, the leftmost among equals, until none merges. */
static inline void plain_join_all(plain_run *r) {
    for (;;) {
        double best = INFINITY, rank;
        size_t at = r->n;
        int id, joined = -1;
        for (size_t i = 0; i + 1 < r->n; i++)
            if (plain_join(r->v, &r->symbols[i], &r->symbols[i + 1], &rank, &id) && rank < best)
                best = rank, at = i, joined = id;
        if (at == r->n) return;
        r->symbols[at].n += r->symbols[at + 1].n;
        r->symbols[at].id = joined;
        r->n--;
        memmove(&r->symbols[at + 1], &r->symbols[at + 2], (r->n - at - 1) * sizeof *r->symbols);
    }
}

static inline bool plain_word(void *ctx, const char *word, size_t n) {
    plain_run *r = ctx;
    char text[2];
    r->n = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t length = make_byte_character((uint8_t)word[i], text);
        const int id = plain_find(r->v, text, length, "", 0);
        if (id >= 0) r->symbols[r->n++] = (plain_symbol){NULL, 0, id};
    }
    plain_join_all(r);
    for (size_t i = 0; i < r->n; i++) r->ids[r->n_ids++] = r->symbols[i].id;
    return true;
}

/* Length in bytes of the character at s; 1 where it is not UTF-8. */
static inline size_t plain_character(const char *s, size_t n) {
    const uint8_t *p = (const uint8_t *)s;
    const size_t want = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 1;
    if (want == 1 || want > n || p[0] > 0xf4) return 1;
    for (size_t i = 1; i < want; i++)
        if (p[i] >> 6 != 2) return 1;
    const bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    const bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return overlong || outside ? 1 : want;
}

/* A symbol that is no token: the tokens of its bytes, or if one is missing the unknown token, 0. */
static inline void plain_put_bytes(plain_run *r, const plain_symbol *s) {
    int ids[4];
    for (size_t i = 0; i < s->n; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (uint8_t)s->s[i]);
        ids[i] = plain_find(r->v, name, 6, "", 0);
        if (ids[i] < 0) ids[i] = plain_find(r->v, s->s + i, 1, "", 0);
        if (ids[i] < 0) {
            r->ids[r->n_ids++] = 0;
            return;
        }
    }
    for (size_t i = 0; i < s->n; i++) r->ids[r->n_ids++] = ids[i];
}

static inline void plain_sentence(plain_run *r, const char *text, size_t n) {
    static char marked[PLAIN_TEXT];
    size_t length = 0;
    r->n = 0;
    for (size_t i = r->v->prefix && n ? 0 : 1; i <= n; i++) {
        const char c = i ? text[i - 1] : ' ';
        if (c != ' ') marked[length++] = c;
        for (size_t k = 0; c == ' ' && k < 3; k++) marked[length++] = "\xe2\x96\x81"[k];
    }
    for (size_t at = 0, n_bytes; at < length; at += n_bytes) {
        n_bytes = plain_character(marked + at, length - at);
        r->symbols[r->n++] =
            (plain_symbol){marked + at, n_bytes, plain_find(r->v, marked + at, n_bytes, "", 0)};
    }
    plain_join_all(r);
    for (size_t i = 0; i < r->n; i++) {
        if (r->symbols[i].id >= 0)
            r->ids[r->n_ids++] = r->symbols[i].id;
        else
            plain_put_bytes(r, &r->symbols[i]);
    }
}

static inline bool plain_has_mark(const char *text, size_t n) {
    for (size_t at = 0; at + 3 <= n; at++)
        if (!memcmp(text + at, "\xe2\x96\x81", 3)) return true;
    return false;
}

/* Checks that ids (n_ids) are those of the rules, for a text of at most 400 bytes. */
static inline void plain_check(const plain_vocab *v, const char *pre, const char *text, size_t n,
                               const int32_t *ids, size_t n_ids) {
    static plain_run r;
    r.v = v, r.n_ids = 0;
    if (v->bpe)
        pretok_split(pretok_find((gguf_str){pre, strlen(pre)}), text, n, plain_word, &r);
    else
        plain_sentence(&r, text, n);
    EXPECT(r.n_ids == n_ids && !memcmp(r.ids, ids, n_ids * sizeof *ids), "%zu ids, and %zu by the rules",
           n_ids, r.n_ids);
}

#endif
