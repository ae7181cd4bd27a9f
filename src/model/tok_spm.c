/*
 * SentencePiece's BPE (Kudo and Richardson 2018, arXiv 1808.06226): a text is cut into characters, and the neighbours whose join
 * has the best score are joined until none is in the vocabulary. Characters that are no token become byte tokens. A
 * symbol joins at most once as a right neighbour, so a heap makes it O(n log n).
 */
#include "model/tokenizer.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"
#include "model/heap.h"

#include <string.h>

#define SPACE "\xe2\x96\x81" // U+2581, a space in pieces

typedef struct symbol {
    size_t at;      // in the text
    uint32_t n;     // bytes; 0: joined into its left neighbour
    uint32_t prev, next;
} symbol;

enum { NONE = UINT32_MAX };

typedef struct work {
    const vocab *v;
    char *text;      // with spaces replaced
    symbol *symbols;
    heap candidates;
} work;

static nut_status spm_prepare(vocab *v, const gguf *g, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.scores");
    if (!kv || kv->type != GGUF_ARRAY || kv->elem != GGUF_F32 || kv->n != v->n)
        return error_set(err, NUT_E_CORRUPT,
                         "the model's vocabulary is damaged: its scores do not fit its tokens; download or convert it again");
    v->scores = mem_alloc(v->n * sizeof(float));
    if (!v->scores) return error_memory(err, v->n * sizeof(float));
    cursor c = {.bytes = kv->value, .n = (size_t)kv->n_bytes};
    for (uint32_t i = 0; i < v->n; i++) v->scores[i] = cursor_f32(&c);
    static const char digits[] = "0123456789ABCDEF";
    for (int b = 0; b < 256; b++) {
        char name[] = {'<', '0', 'x', digits[b >> 4], digits[b & 15], '>'};
        v->byte_ids[b] = vocab_find(v, name, sizeof name);
    }
    return NUT_OK;
}

/* ---- joining ---- */

static void propose(work *w, uint32_t left, uint32_t right) {
    if (left == NONE || right == NONE) return;
    const symbol *a = &w->symbols[left], *b = &w->symbols[right];
    int32_t id = vocab_find(w->v, w->text + a->at, a->n + b->n);
    if (id >= 0) heap_push(&w->candidates, (heap_item){-w->v->scores[id], left, right, a->n + b->n, id});
}

static void join(work *w, heap_item c) {
    symbol *a = &w->symbols[c.left], *b = &w->symbols[c.right];
    if (!a->n || !b->n || a->n + b->n != c.length || a->next != c.right) return;
    a->n += b->n;
    b->n = 0;
    a->next = b->next;
    if (b->next != NONE) w->symbols[b->next].prev = c.left;
    propose(w, a->prev, c.left);
    propose(w, c.left, a->next);
}

static void put_symbol(const vocab *v, const char *s, uint32_t n, ids_out *out) {
    int32_t id = vocab_find(v, s, n);
    if (id >= 0) {
        ids_put(out, id);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        int32_t byte = v->byte_ids[(uint8_t)s[i]];
        if (byte >= 0) ids_put(out, byte);
        else if (v->unk >= 0) ids_put(out, v->unk);
    }
}

/* ---- text ---- */

static uint32_t character_length(uint8_t b) {
    static const uint8_t lengths[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
    return lengths[b >> 4];
}

static size_t replace_spaces(char *to, const char *text, size_t n, bool prefix) {
    size_t at = 0;
    if (prefix) memcpy(to, SPACE, 3), at = 3;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') memcpy(to + at, SPACE, 3), at += 3;
        else to[at++] = text[i];
    }
    return at;
}

static uint32_t cut_characters(work *w, size_t n) {
    uint32_t count = 0;
    for (size_t at = 0; at < n; count++) {
        uint32_t length = character_length((uint8_t)w->text[at]);
        if (length > n - at) length = (uint32_t)(n - at);
        w->symbols[count] = (symbol){at, length, count ? count - 1 : NONE, count + 1};
        at += length;
    }
    w->symbols[count - 1].next = NONE;
    return count;
}

static nut_status spm_tokenize(const vocab *v, const char *text, size_t n, bool first, ids_out *out, nut_error *err) {
    size_t most = 3 * (n + 1);
    if (n > (1u << 30)) return error_set(err, NUT_E_ARGUMENT, "the text is longer than 1 GiB; cut it");
    work w = {.v = v, .text = mem_alloc(most), .symbols = mem_calloc(n + 1, sizeof(symbol)),
              .candidates = {mem_calloc(3 * (n + 1), sizeof(heap_item)), 0}};
    if (w.text && w.symbols && w.candidates.items) {
        size_t length = replace_spaces(w.text, text, n, first && v->add_space_prefix);
        uint32_t count = cut_characters(&w, length);
        for (uint32_t i = 1; i < count; i++) propose(&w, i - 1, i);
        while (w.candidates.n) join(&w, heap_pop(&w.candidates));
        for (uint32_t i = 0; i != NONE; i = w.symbols[i].next)
            put_symbol(v, w.text + w.symbols[i].at, w.symbols[i].n, out);
    } else {
        error_memory(err, most + (n + 1) * (sizeof(symbol) + 3 * sizeof(heap_item)));
        text = NULL;
    }
    mem_free(w.text);
    mem_free(w.symbols);
    mem_free(w.candidates.items);
    return text ? NUT_OK : NUT_E_MEMORY;
}

/* ---- back to text ---- */

static size_t spm_text(const vocab *v, int32_t id, char *out, size_t cap) {
    gguf_str p = v->pieces[id];
    size_t n = 0;
    if (v->kinds[id] == VOCAB_BYTE && p.n == 6) {
        char hex[3] = {p.s[3], p.s[4], 0};
        unsigned b = 0;
        for (int i = 0; i < 2; i++) b = b * 16 + (unsigned)(hex[i] <= '9' ? hex[i] - '0' : (hex[i] | 32) - 'a' + 10);
        if (cap) out[0] = (char)(b & 255);
        return 1;
    }
    for (uint64_t i = 0; i < p.n; n++) {
        bool space = p.n - i >= 3 && !memcmp(p.s + i, SPACE, 3);
        if (n < cap) out[n] = space ? ' ' : p.s[i];
        i += space ? 3 : 1;
    }
    return n;
}

const tokenizer tokenizer_spm = {"llama", spm_prepare, spm_tokenize, spm_text};
