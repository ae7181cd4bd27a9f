/*
 * SentencePiece's byte-pair model (Kudo and Richardson 2018, arXiv 1808.06226), as llama.cpp runs it. A text
 * is split into characters. While two adjacent symbols together are a token's text, the pair whose token has
 * the best score is merged. Characters that are no token become byte tokens. A space is U+2581 in token
 * texts.
 *
 * A merge across the beginning of a word needs a token text with a space inside, behind the byte that ends
 * the word before. Few token texts are such. Where none has that byte before a space, the text can be split
 * there, and the words are tokenized one by one: the same result, in the memory of one word.
 *
 * Token texts of more than MAX_MERGED bytes are not searched for (Llama's longest has 48 bytes, Gemma's 93),
 * so that the time is bounded by the text's length and MAX_MERGED, whatever the vocabulary is.
 */
#include "model/tokenizer.h"
#include "model/unicode.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

enum { MAX_MERGED = 512 };

static const char space_mark[] = "\xe2\x96\x81"; // U+2581

static bool begins_with_mark(const char *s, size_t n) {
    return n >= 3 && !memcmp(s, space_mark, 3);
}
static bool ends_with_mark(const char *s, size_t n) {
    return n >= 3 && !memcmp(s + n - 3, space_mark, 3);
}

/* ---- preparation ---- */

/* A score as an unsigned merge rank: the best score has the lowest rank. */
static uint32_t rank_of(float score) {
    uint32_t bits;
    score = isnan(score) ? -INFINITY : score + 0.0f; // no -0
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
}

static nut_status read_scores(vocab *v, const gguf *g, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.scores");
    bool floats = kv && kv->type == GGUF_ARRAY && kv->elem == GGUF_F32;
    if (!floats || kv->n < v->tokens.n)
        return vocab_invalid(err, "its scores are not one float for each token");
    v->ranks = mem_calloc(v->tokens.n, sizeof *v->ranks);
    if (!v->ranks) return error_memory(err, v->tokens.n * sizeof *v->ranks);
    cursor c = {.bytes = kv->value, .n = (size_t)kv->n_bytes};
    for (uint32_t i = 0; i < v->tokens.n; i++) v->ranks[i] = rank_of(cursor_f32(&c));
    return NUT_OK;
}

/* The token "<0x0A>", or the one whose text is the byte itself. */
static int32_t find_byte(const vocab *v, unsigned byte) {
    static const char digits[] = "0123456789ABCDEF";
    const char name[] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'}, raw = (char)byte;
    int32_t id = token_table_find(&v->tokens, name, sizeof name);
    return id != VOCAB_NONE ? id : token_table_find(&v->tokens, &raw, 1);
}

/* Notes which bytes stand before a space mark inside a token's text. */
static void note_inner_spaces(vocab *v, token_text p) {
    for (uint32_t at = 1; at < p.n; at++)
        if (begins_with_mark(p.s + at, p.n - at) && !ends_with_mark(p.s, at))
            v->before_space[(uint8_t)p.s[at - 1]] = true;
}

static nut_status spm_prepare(vocab *v, const gguf *g, nut_error *err) {
    TRY(read_scores(v, g, err));
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", true, &v->add_space_prefix, err));
    for (unsigned b = 0; b < 256; b++) v->byte_ids[b] = find_byte(v, b);
    for (uint32_t i = 0; i < v->tokens.n; i++) note_inner_spaces(v, v->tokens.texts[i]);
    v->unk = 0; // the ids of the first Llama, where the metadata names none
    v->bos = 1;
    v->eos = 2;
    v->add_bos = true;
    return NUT_OK;
}

/* ---- words ---- */

typedef struct spm_word {
    const vocab *v;
    const char *text;
} spm_word;

static bool spm_merge(const void *ctx, const merge_symbol *a, const merge_symbol *b, merge_result *out) {
    const spm_word *w = ctx;
    if (a->n + b->n > MAX_MERGED) return false;
    out->id = token_table_find(&w->v->tokens, w->text + a->at, a->n + b->n);
    if (out->id == VOCAB_NONE) return false;
    out->rank = w->v->ranks[out->id];
    return true;
}

/* A character that is no token: the tokens of its bytes, or one unknown token where a byte has none. */
static void put_bytes(const vocab *v, const char *s, uint32_t n, ids_out *out) {
    bool known = true;
    for (uint32_t i = 0; i < n; i++) known = known && v->byte_ids[(uint8_t)s[i]] != VOCAB_NONE;
    for (uint32_t i = 0; known && i < n; i++) ids_put(out, v->byte_ids[(uint8_t)s[i]]);
    if (!known && v->unk != VOCAB_NONE) ids_put(out, v->unk);
}

/* s->text[0 .. n), n > 0, with space marks for spaces. */
static bool tokenize_word(const vocab *v, scratch *s, size_t n, ids_out *out) {
    spm_word word = {v, s->text};
    merge_begin(&s->work);
    for (size_t at = 0, length; at < n; at += length) {
        unicode_at(s->text + at, n - at, &length);
        int32_t id = token_table_find(&v->tokens, s->text + at, length);
        if (!merge_add(&s->work, (uint32_t)at, (uint32_t)length, id)) return false;
    }
    if (!merge_run(&s->work, spm_merge, &word)) return false;
    const merge_symbol *symbols = s->work.symbols;
    for (uint32_t i = 0; i != MERGE_END; i = symbols[i].next) {
        if (symbols[i].id != VOCAB_NONE)
            ids_put(out, symbols[i].id);
        else
            put_bytes(v, s->text + symbols[i].at, symbols[i].n, out);
    }
    return true;
}

/* Bytes of the first word with its leading spaces; *n_marked: the length with space marks for spaces. */
static size_t word_length(const vocab *v, const char *text, size_t n, size_t *n_marked) {
    size_t at = 0, spaces = 0;
    for (bool word = false; at < n;) {
        bool mark = begins_with_mark(text + at, n - at), space = mark || text[at] == ' ';
        if (space && word && !v->before_space[(uint8_t)text[at - 1]]) break;
        word = !space;
        spaces += text[at] == ' ';
        at += mark ? 3 : 1;
    }
    *n_marked = at + 2 * spaces;
    return at;
}

static void put_marked(char *to, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (text[i] != ' ')
            *to++ = text[i];
        else
            memcpy(to, space_mark, 3), to += 3;
    }
}

static bool spm_tokenize(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out) {
    size_t prefix = v->add_space_prefix ? 3 : 0, n_marked;
    for (size_t at = 0, length; at < n; at += length, prefix = 0) {
        length = word_length(v, text + at, n - at, &n_marked);
        if (!scratch_text(s, prefix + n_marked)) return false;
        memcpy(s->text, space_mark, prefix);
        put_marked(s->text + prefix, text + at, length);
        if (!tokenize_word(v, s, prefix + n_marked, out)) return false;
    }
    return true;
}

/* ---- back to text ---- */

static int hex_digit(char c) { // -1: none
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of a text like "<0x0A>"; -1: another text. */
static int byte_of(token_text p) {
    if (p.n != 6 || memcmp(p.s, "<0x", 3) != 0 || p.s[5] != '>') return -1;
    int high = hex_digit(p.s[3]), low = hex_digit(p.s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static void spm_text(const vocab *v, int32_t id, text_out *out) {
    token_text p = v->tokens.texts[id];
    int byte = vocab_type_of(v, id) == VOCAB_BYTE ? byte_of(p) : -1;
    if (byte >= 0) {
        text_put(out, (char)byte);
        return;
    }
    for (uint32_t i = 0; i < p.n;) {
        bool mark = begins_with_mark(p.s + i, p.n - i);
        text_put(out, mark ? ' ' : p.s[i]);
        i += mark ? 3 : 1;
    }
}

const tokenizer tokenizer_spm = {"llama", spm_prepare, spm_tokenize, spm_text};
