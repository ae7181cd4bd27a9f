/*
 * Byte-level byte-pair encoding (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners",
 * section 2.2; merging as in Sennrich et al., arXiv 1508.07909). A text is split into words (pretok.c). In
 * each word the adjacent pair of lowest rank, that is, the one that was merged first in training, is merged
 * until no pair is left to merge. Token texts are written in characters that stand for bytes; here bytes
 * become ids at once, and merges are looked up by pairs of ids.
 */
#include "model/nfc.h"
#include "model/pretok.h"
#include "model/tokenizer.h"
#include "model/unicode.h"

#include "base/error.h"

#include <string.h>

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

static nut_status bpe_prepare(vocab *v, const gguf *g, nut_error *err) {
    gguf_str pre;
    TRY(gguf_get_str(g, "tokenizer.ggml.pre", "", &pre, err));
    if (v->pre) pre = (gguf_str){v->pre, strlen(v->pre)};
    v->pre = NULL;
    v->pretok = pretok_find(pre.n ? pre : (gguf_str){"default", 7}); // as llama.cpp, where none is named
    if (!v->pretok)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "the pre-tokenizer \"%.*s\" is not supported; name another in its place (--pre, "
                         "preTokenizer), of "
                         "which \"%s\" is the nearest",
                         (int)(pre.n < 40 ? pre.n : 40), pre.s, pretok_nearest(pre));
    v->add_bos = v->pretok->add_bos;
    v->add_eos = v->pretok->add_eos;
    TRY(gguf_get_bool(g, "tokenizer.ggml.ignore_merges", v->pretok->ignore_merges, &v->ignore_merges, err));
    for (unsigned b = 0; b < 256; b++) {
        char text[2];
        v->byte_ids[b] = token_table_find(&v->tokens, text, put_character(text, character_of(b)));
    }
    return merges_read(&v->merges, &v->tokens, g, err);
}

/* ---- words ---- */

typedef struct bpe_call {
    const vocab *v;
    scratch *s;
    ids_out *out;
} bpe_call;

static bool bpe_merge(const void *ctx, const merge_symbol *a, const merge_symbol *b, merge_result *out) {
    return merges_find(ctx, a->id, b->id, out);
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
static bool merge_word(const vocab *v, merge_work *w, const char *word, size_t n, ids_out *out) {
    merge_begin(w);
    for (size_t i = 0; i < n; i++) {
        const int32_t id = v->byte_ids[(uint8_t)word[i]];
        if (id != VOCAB_NONE && !merge_add(w, (uint32_t)i, 1, id)) return false;
    }
    if (!w->n) return true;
    if (!merge_run(w, bpe_merge, v->merges)) return false;
    for (uint32_t i = 0; i != MERGE_END; i = w->symbols[i].next) ids_put(out, w->symbols[i].id);
    return true;
}

static bool tokenize_word(void *ctx, const char *word, size_t n) {
    bpe_call *call = ctx;
    const size_t before = call->out->n;
    if (scratch_recall(call->s, word, n, call->out)) return true;
    const int32_t id = call->v->ignore_merges ? whole_word(call->v, word, n) : VOCAB_NONE;
    if (id != VOCAB_NONE)
        ids_put(call->out, id);
    else if (!merge_word(call->v, &call->s->work, word, n, call->out))
        return false;
    scratch_keep(call->s, word, n, call->out, before);
    return true;
}

static bool bpe_tokenize(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out) {
    bpe_call call = {v, s, out};
    if (v->pretok->nfc && !nfc_is(text, n)) {
        if (!scratch_text(s, NFC_GROWTH * n)) return false;
        n = nfc_write(text, n, s->text);
        text = s->text;
    }
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
