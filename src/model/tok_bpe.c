/*
 * Byte-level byte-pair encoding (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners",
 * section 2.2; merging as in Sennrich et al., arXiv 1508.07909). A text is split into words (pretok.c). In
 * each word the adjacent pair of lowest rank, that is, the one that was merged first in training, is merged
 * until no pair is left to merge. Token texts are written in characters that stand for bytes; here bytes
 * become ids at once, and merges are looked up by pairs of ids.
 */
#include "model/pretok.h"
#include "model/tokenizer.h"
#include "model/unicode.h"

#include "base/error.h"
#include "base/mem.h"

#include <string.h>

typedef struct bpe_merge {
    int32_t left, right, merged;
} bpe_merge;

typedef struct bpe_merges {
    bpe_merge *list; // (n) in the order of training: the index is the merge rank
    uint32_t n;
    uint32_t *slots; // (mask + 1) indices by hash of left and right; NO_MERGE: empty
    size_t mask;
} bpe_merges;

#define NO_MERGE UINT32_MAX
#define NO_SLOT  SIZE_MAX
enum { MAX_PROBES = 512, MAX_MERGES = 1 << 26 }; // probes: see token_table.c

/* ---- bytes as characters ---- */

/* A byte that is a printable character of Latin-1 is written as that character; the other bytes, in order,
 * are written as the characters from U+0100 on. */
static uint32_t character_of(unsigned byte) {
    if (byte <= 32) return 256 + byte;
    if (byte >= 127 && byte <= 160) return 256 + 33 + (byte - 127);
    return byte == 173 ? 256 + 67 : byte;
}

/* The byte that is written as c; -1: none. */
static int byte_of(uint32_t c) {
    if (c >= 256 && c < 256 + 33) return (int)c - 256;
    if (c >= 256 + 33 && c < 256 + 67) return (int)c - 256 - 33 + 127;
    if (c == 256 + 67) return 173;
    return c < 256 && character_of(c) == c ? (int)c : -1;
}

static size_t put_character(char *to, uint32_t c) { // below U+0800
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    to[0] = (char)(0xc0 | c >> 6);
    to[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

/* ---- merges ---- */

/* The slot of a pair, or the empty slot where it belongs; NO_SLOT: neither within MAX_PROBES. */
static size_t merge_slot(const bpe_merges *m, int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    size_t at = (size_t)((h ^ (h >> 32)) * 0xd6e8feb86659fd93u >> 32) & m->mask;
    for (int probes = 0; probes < MAX_PROBES; probes++, at = (at + 1) & m->mask) {
        if (m->slots[at] == NO_MERGE) return at;
        const bpe_merge *found = &m->list[m->slots[at]];
        if (found->left == left && found->right == right) return at;
    }
    return NO_SLOT;
}

/* Reads "left right"; false where left, right or both together are no token. */
static bool parse_merge(const vocab *v, gguf_str s, bpe_merge *out) {
    const char *gap = s.n > 2 ? memchr(s.s + 1, ' ', (size_t)s.n - 1) : NULL;
    if (!gap) return false;
    size_t n_left = (size_t)(gap - s.s), n_right = (size_t)s.n - n_left - 1;
    out->left = token_table_find(&v->tokens, s.s, n_left);
    out->right = token_table_find(&v->tokens, gap + 1, n_right);
    out->merged = token_table_find2(&v->tokens, s.s, n_left, gap + 1, n_right);
    return out->left != VOCAB_NONE && out->right != VOCAB_NONE && out->merged != VOCAB_NONE;
}

/* A merge that names no tokens never applies; it is left out. */
static nut_status fill_merges(const vocab *v, const gguf *g, const gguf_kv *kv, nut_error *err) {
    bpe_merges *m = v->merges;
    const uint8_t *at = kv->value;
    for (uint64_t i = 0; i < kv->n; i++) {
        gguf_str s;
        at = gguf_next_string(g, at, &s);
        if (!parse_merge(v, s, &m->list[m->n])) continue;
        size_t slot = merge_slot(m, m->list[m->n].left, m->list[m->n].right);
        if (slot == NO_SLOT) return vocab_invalid(err, "its merges were made to collide");
        if (m->slots[slot] == NO_MERGE) m->slots[slot] = m->n++; // the first of equal merges counts
    }
    if (kv->n && !m->n) return vocab_invalid(err, "its merges name none of its tokens");
    return NUT_OK;
}

static nut_status read_merges(vocab *v, const gguf *g, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.merges");
    size_t n_slots = 16;
    if (!kv || kv->type != GGUF_ARRAY || kv->elem != GGUF_STRING || kv->n > MAX_MERGES)
        return vocab_invalid(err, "it has no merges");
    v->merges = mem_calloc(1, sizeof *v->merges);
    if (!v->merges) return error_memory(err, sizeof *v->merges);
    while (2 * n_slots < 3 * kv->n) n_slots *= 2;
    v->merges->mask = n_slots - 1;
    v->merges->list = mem_calloc((size_t)kv->n + 1, sizeof *v->merges->list);
    v->merges->slots = mem_calloc(n_slots, sizeof *v->merges->slots);
    if (!v->merges->list || !v->merges->slots)
        return error_memory(err, kv->n * sizeof *v->merges->list + n_slots * sizeof *v->merges->slots);
    memset(v->merges->slots, 0xff, n_slots * sizeof *v->merges->slots);
    return fill_merges(v, g, kv, err);
}

void bpe_free(bpe_merges *m) {
    if (!m) return;
    mem_free(m->list);
    mem_free(m->slots);
    mem_free(m);
}

static nut_status bpe_prepare(vocab *v, const gguf *g, nut_error *err) {
    gguf_str pre;
    TRY(gguf_get_str(g, "tokenizer.ggml.pre", "", &pre, err));
    v->pretok = pretok_find(pre.n ? pre : (gguf_str){"default", 7}); // as llama.cpp, where none is named
    if (!v->pretok)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "the pre-tokenizer \"%.*s\" is not supported; the nearest is \"%s\"",
                         (int)(pre.n < 40 ? pre.n : 40), pre.s, pretok_nearest(pre));
    v->add_bos = v->pretok->add_bos;
    v->add_eos = v->pretok->add_eos;
    TRY(gguf_get_bool(g, "tokenizer.ggml.ignore_merges", v->pretok->ignore_merges, &v->ignore_merges, err));
    for (unsigned b = 0; b < 256; b++) {
        char text[2];
        v->byte_ids[b] = token_table_find(&v->tokens, text, put_character(text, character_of(b)));
    }
    return read_merges(v, g, err);
}

/* ---- words ---- */

typedef struct bpe_call {
    const vocab *v;
    scratch *s;
    ids_out *out;
} bpe_call;

static bool bpe_merge_rule(const void *ctx, const merge_symbol *a, const merge_symbol *b,
                           merge_result *out) {
    const bpe_merges *m = ctx;
    const size_t slot = merge_slot(m, a->id, b->id);
    if (slot == NO_SLOT || m->slots[slot] == NO_MERGE) return false;
    out->rank = m->slots[slot];
    out->id = m->list[out->rank].merged;
    return true;
}

/* The token whose text is the whole word, or VOCAB_NONE. */
static int32_t whole_word(const vocab *v, const char *word, size_t n) {
    char text[512];
    size_t length = 0;
    if (n > sizeof text / 2) return VOCAB_NONE; // longer tokens are reached by merges
    for (size_t i = 0; i < n; i++) length += put_character(text + length, character_of((uint8_t)word[i]));
    return token_table_find(&v->tokens, text, length);
}

/* Bytes that have no token are left out. */
static bool tokenize_word(void *ctx, const char *word, size_t n) {
    bpe_call *call = ctx;
    const vocab *v = call->v;
    merge_work *w = &call->s->work;
    int32_t id = v->ignore_merges ? whole_word(v, word, n) : VOCAB_NONE;
    if (id != VOCAB_NONE) {
        ids_put(call->out, id);
        return true;
    }
    merge_begin(w);
    for (size_t i = 0; i < n; i++) {
        id = v->byte_ids[(uint8_t)word[i]];
        if (id != VOCAB_NONE && !merge_add(w, (uint32_t)i, 1, id)) return false;
    }
    if (!w->n) return true;
    if (!merge_run(w, bpe_merge_rule, v->merges)) return false;
    for (uint32_t i = 0; i != MERGE_END; i = w->symbols[i].next) ids_put(call->out, w->symbols[i].id);
    return true;
}

static bool bpe_tokenize(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out) {
    bpe_call call = {v, s, out};
    return pretok_split(v->pretok, text, n, tokenize_word, &call);
}

/* ---- back to text ---- */

static void bpe_text(const vocab *v, int32_t id, text_out *out) {
    token_text p = v->tokens.texts[id];
    for (size_t at = 0, length; at < p.n; at += length) {
        int byte = byte_of(unicode_at(p.s + at, p.n - at, &length));
        if (byte >= 0)
            text_put(out, (char)byte);
        else
            text_put_all(out, p.s + at, length); // stands for no byte: kept as it is
    }
}

const tokenizer tokenizer_bpe = {"gpt2", bpe_prepare, bpe_tokenize, bpe_text};
