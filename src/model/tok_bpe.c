/*
 * Byte-level byte-pair encoding (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2). Every
 * byte has a printable character; the text of a word is written in these, and the neighbouring pair that was merged
 * earliest in training is merged until no pair is left. Pairs are looked up by token ids; a heap makes it O(n log n).
 */
#include "model/tokenizer.h"

#include "base/error.h"
#include "base/mem.h"
#include "model/heap.h"
#include "model/pretok.h"
#include "model/unicode.h"

#include <string.h>

typedef struct merge {
    int32_t left, right; // left < 0: empty
    int32_t joined;
    uint32_t rank;
} merge;

struct bpe_merges {
    merge *slots;
    size_t n_slots;      // a power of two
};

/* ---- bytes as characters ---- */

/* Bytes that stand for themselves: the printable ones of Latin-1. The others follow from U+0100 on, in order. */
static bool stands_for_itself(int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
}

static uint32_t byte_to_character(int b) {
    uint32_t shifted = 256;
    if (stands_for_itself(b)) return (uint32_t)b;
    for (int i = 0; i < b; i++) shifted += !stands_for_itself(i);
    return shifted;
}

/* -1 where the character stands for no byte. */
static int character_to_byte(uint32_t c) {
    if (c < 256) return stands_for_itself((int)c) ? (int)c : -1;
    if (c >= 256 + 68) return -1;
    uint32_t n = c - 256;
    for (int b = 0; b < 256; b++)
        if (!stands_for_itself(b) && n-- == 0) return b;
    return -1;
}

static size_t put_character(char *to, uint32_t c) {
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    to[0] = (char)(0xc0 | c >> 6);
    to[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

/* ---- merges ---- */

static size_t merge_slot(const bpe_merges *m, int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    size_t at = (size_t)(h >> 32) & (m->n_slots - 1);
    for (; m->slots[at].left >= 0; at = (at + 1) & (m->n_slots - 1))
        if (m->slots[at].left == left && m->slots[at].right == right) break;
    return at;
}

/* "left right" as the metadata has it; pairs that name no tokens can never come and are left out. */
static void add_merge(vocab *v, gguf_str s, uint32_t rank, char *joined) {
    const char *gap = s.n > 2 ? memchr(s.s + 1, ' ', (size_t)s.n - 1) : NULL;
    if (!gap) return;
    size_t n_left = (size_t)(gap - s.s), n_right = (size_t)s.n - n_left - 1;
    memcpy(joined, s.s, n_left);
    memcpy(joined + n_left, gap + 1, n_right);
    merge m = {vocab_find(v, s.s, n_left), vocab_find(v, gap + 1, n_right), vocab_find(v, joined, n_left + n_right), rank};
    if (m.left < 0 || m.right < 0 || m.joined < 0) return;
    merge *slot = &v->merges->slots[merge_slot(v->merges, m.left, m.right)];
    if (slot->left < 0) *slot = m;
}

static nut_status fill_merges(vocab *v, const gguf *g, const gguf_kv *kv, nut_error *err) {
    uint64_t longest = 0;
    gguf_str s;
    const uint8_t *at = kv->value;
    for (uint64_t i = 0; i < kv->n; i++) {
        at = gguf_next_string(g, at, &s);
        if (s.n > longest) longest = s.n;
    }
    char *joined = mem_alloc((size_t)longest);
    if (!joined) return error_memory(err, longest);
    at = kv->value;
    for (uint32_t rank = 0; rank < kv->n; rank++) {
        at = gguf_next_string(g, at, &s);
        add_merge(v, s, rank, joined);
    }
    mem_free(joined);
    return NUT_OK;
}

static nut_status read_merges(vocab *v, const gguf *g, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.merges");
    if (!kv || kv->type != GGUF_ARRAY || kv->elem != GGUF_STRING || kv->n > 1u << 24)
        return error_set(err, NUT_E_CORRUPT, "the model's vocabulary is damaged: it has no merges; convert the model again");
    v->merges = mem_calloc(1, sizeof *v->merges);
    if (!v->merges) return error_memory(err, sizeof *v->merges);
    size_t n = 16;
    while (n < 2 * kv->n) n *= 2;
    v->merges->slots = mem_alloc(n * sizeof(merge));
    if (!v->merges->slots) return error_memory(err, n * sizeof(merge));
    v->merges->n_slots = n;
    for (size_t i = 0; i < n; i++) v->merges->slots[i].left = -1;
    return fill_merges(v, g, kv, err);
}

void bpe_free(bpe_merges *m) {
    if (!m) return;
    mem_free(m->slots);
    mem_free(m);
}

static nut_status bpe_prepare(vocab *v, const gguf *g, nut_error *err) {
    gguf_str pre;
    TRY(gguf_get_str(g, "tokenizer.ggml.pre", "default", &pre, err));
    v->pretok = pretok_find(pre);
    if (!v->pretok)
        return error_set(err, NUT_E_UNSUPPORTED, "the pre-tokenizer \"%.*s\" is not supported (these are: %s)",
                         (int)(pre.n < 40 ? pre.n : 40), pre.s, pretok_names());
    TRY(gguf_get_bool(g, "tokenizer.ggml.ignore_merges", gguf_str_is(pre, "llama-bpe"), &v->ignore_merges, err));
    for (int b = 0; b < 256; b++) {
        char text[2];
        v->byte_ids[b] = vocab_find(v, text, put_character(text, byte_to_character(b)));
    }
    return read_merges(v, g, err);
}

/* ---- words ---- */

typedef struct symbol {
    int32_t id;          // -1: merged into its left neighbour
    uint32_t prev, next;
} symbol;

enum { NONE = UINT32_MAX };

typedef struct work {
    const vocab *v;
    ids_out *out;
    nut_error *err;
    size_t cap;          // bytes of a word that the buffers hold
    char *mapped;        // (2 * cap) the word in byte characters
    symbol *symbols;     // (cap)
    heap candidates;     // (3 * cap)
} work;

static void free_buffers(work *w) {
    mem_free(w->mapped);
    mem_free(w->symbols);
    mem_free(w->candidates.items);
}

static nut_status reserve(work *w, size_t n) {
    if (n <= w->cap) return NUT_OK;
    size_t cap = n < 128 ? 128 : n;
    free_buffers(w);
    *w = (work){.v = w->v, .out = w->out, .err = w->err, .cap = cap, .mapped = mem_alloc(2 * cap),
                .symbols = mem_calloc(cap, sizeof(symbol)), .candidates = {mem_calloc(3 * cap, sizeof(heap_item)), 0}};
    if (w->mapped && w->symbols && w->candidates.items) return NUT_OK;
    w->cap = 0;
    return error_memory(w->err, cap * (2 + sizeof(symbol) + 3 * sizeof(heap_item)));
}

static void propose(work *w, uint32_t left, uint32_t right) {
    if (left == NONE || right == NONE) return;
    const bpe_merges *m = w->v->merges;
    const merge *found = &m->slots[merge_slot(m, w->symbols[left].id, w->symbols[right].id)];
    if (found->left < 0) return;
    heap_push(&w->candidates, (heap_item){(float)found->rank, left, right, (uint32_t)found->left, found->joined});
}

/* A candidate is still true while both symbols are what they were when it was proposed: the ids still give that merge. */
static void join(work *w, heap_item c) {
    symbol *a = &w->symbols[c.left], *b = &w->symbols[c.right];
    if (a->id < 0 || b->id < 0 || a->next != c.right) return;
    const bpe_merges *m = w->v->merges;
    const merge *now = &m->slots[merge_slot(m, a->id, b->id)];
    if (now->left < 0 || now->joined != c.id) return;
    a->id = c.id;
    b->id = -1;
    a->next = b->next;
    if (b->next != NONE) w->symbols[b->next].prev = c.left;
    propose(w, a->prev, c.left);
    propose(w, c.left, a->next);
}

static void merge_word(work *w, const char *word, size_t n) {
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id = w->v->byte_ids[(uint8_t)word[i]];
        if (id < 0) id = w->v->unk;
        if (id < 0) continue; // the vocabulary lacks this byte
        w->symbols[count] = (symbol){id, count ? count - 1 : NONE, count + 1};
        count++;
    }
    if (!count) return;
    w->symbols[count - 1].next = NONE;
    for (uint32_t i = 1; i < count; i++) propose(w, i - 1, i);
    while (w->candidates.n) join(w, heap_pop(&w->candidates));
    for (uint32_t i = 0; i != NONE; i = w->symbols[i].next) ids_put(w->out, w->symbols[i].id);
}

static nut_status take_word(void *ctx, const char *word, size_t n) {
    work *w = ctx;
    if (n >= 1u << 30) return error_set(w->err, NUT_E_ARGUMENT, "a word of the text is longer than 1 GiB; cut it");
    TRY(reserve(w, n));
    if (w->v->ignore_merges) {
        size_t length = 0;
        for (size_t i = 0; i < n; i++) length += put_character(w->mapped + length, byte_to_character((uint8_t)word[i]));
        int32_t id = vocab_find(w->v, w->mapped, length);
        if (id >= 0) {
            ids_put(w->out, id);
            return NUT_OK;
        }
    }
    merge_word(w, word, n);
    return NUT_OK;
}

static nut_status cut_and_merge(work *w, const char *text, size_t n) {
    return pretok_cut(w->v->pretok, text, n, take_word, w);
}

static nut_status bpe_tokenize(const vocab *v, const char *text, size_t n, bool first, ids_out *out, nut_error *err) {
    work w = {.v = v, .out = out, .err = err};
    nut_status status;
    if (first && v->add_space_prefix && text[0] != ' ') {
        char *spaced = mem_alloc(n + 1);
        if (!spaced) return error_memory(err, n + 1);
        spaced[0] = ' ';
        memcpy(spaced + 1, text, n);
        status = cut_and_merge(&w, spaced, n + 1);
        mem_free(spaced);
    } else {
        status = cut_and_merge(&w, text, n);
    }
    free_buffers(&w);
    return status;
}

/* ---- back to text ---- */

static size_t bpe_text(const vocab *v, int32_t id, char *out, size_t cap) {
    gguf_str p = v->pieces[id];
    size_t n = 0, length;
    for (size_t at = 0; at < p.n; at += length) {
        int b = character_to_byte(unicode_at(p.s + at, (size_t)p.n - at, &length));
        for (size_t i = 0; i < (b < 0 ? length : 1); i++, n++)
            if (n < cap) out[n] = b < 0 ? p.s[at + i] : (char)b;
    }
    return n;
}

const tokenizer tokenizer_bpe = {"gpt2", bpe_prepare, bpe_tokenize, bpe_text};
