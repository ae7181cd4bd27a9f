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
 *
 * Gemma 4's vocabulary is of the same kind, but says by a list of merges, as byte-pair vocabularies do,
 * which pair is merged next.
 */
#include "model/pieces.h"
#include "model/unicode.h"

#include "base/error.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

enum { MAX_MERGED = 512 };

/* ---- preparation ---- */

/* A score as an unsigned merge rank: the best score has the lowest rank. */
static uint32_t rank_of(float score) {
    uint32_t bits;
    score = isnan(score) ? -INFINITY : score + 0.0f; // no -0
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
}

static void take_score(vocab *v, uint32_t id, float score) {
    v->ranks[id] = rank_of(score);
}

static nut_status spm_prepare(vocab *v, const gguf *g, nut_error *err) {
    v->ranks = mem_calloc(v->tokens.n, sizeof *v->ranks);
    if (!v->ranks) return error_memory(err, v->tokens.n * sizeof *v->ranks);
    TRY(pieces_scores(v, g, take_score, err));
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", true, &v->add_space_prefix, err));
    pieces_prepare(v);
    v->unk = 0; // the ids of the first Llama, where the metadata names none
    v->bos = 1;
    v->eos = 2;
    v->add_bos = true;
    return NUT_OK;
}

static nut_status gemma4_prepare(vocab *v, const gguf *g, nut_error *err) {
    pieces_prepare(v);
    return merges_read(&v->merges, &v->tokens, g, err);
}

/* ---- words ---- */

typedef struct spm_word {
    const vocab *v;
    const char *text;
} spm_word;

static bool spm_merge(const void *ctx, const merge_symbol *a, const merge_symbol *b, merge_result *out) {
    const spm_word *w = ctx;
    if (w->v->merges) return merges_find(w->v->merges, a->id, b->id, out);
    if (a->n + b->n > MAX_MERGED) return false;
    out->id = token_table_find(&w->v->tokens, w->text + a->at, a->n + b->n);
    if (out->id == VOCAB_NONE) return false;
    out->rank = w->v->ranks[out->id];
    return true;
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
        const merge_symbol *left = &symbols[i];
        if (left->id != VOCAB_NONE)
            ids_put(out, left->id);
        else if (!pieces_put_bytes(v, s->text + left->at, left->n, out) && v->unk != VOCAB_NONE)
            ids_put(out, v->unk);
    }
    return true;
}

/* Bytes of the first word with its leading spaces; *n_marked: the length with space marks for spaces. */
static size_t word_length(const vocab *v, const char *text, size_t n, size_t *n_marked) {
    size_t at = 0, spaces = 0;
    for (bool word = false; at < n;) {
        bool mark = space_mark_begins(text + at, n - at), space = mark || text[at] == ' ';
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
            memcpy(to, SPACE_MARK, 3), to += 3;
    }
}

/* A word of n bytes with its leading spaces, and a space in front of it where prefix is not 0. */
static bool tokenize_marked(const vocab *v, scratch *s, const char *word, size_t n, size_t n_marked,
                            size_t prefix, ids_out *out) {
    const size_t before = out->n;
    if (!prefix && scratch_recall(s, word, n, out)) return true;
    if (!scratch_text(s, prefix + n_marked)) return false;
    memcpy(s->text, SPACE_MARK, prefix);
    put_marked(s->text + prefix, word, n);
    if (!tokenize_word(v, s, prefix + n_marked, out)) return false;
    if (!prefix) scratch_keep(s, word, n, out, before);
    return true;
}

static bool tokenize_words(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out) {
    size_t prefix = v->add_space_prefix ? SPACE_MARK_BYTES : 0, n_marked;
    for (size_t at = 0, length; at < n; at += length, prefix = 0) {
        length = word_length(v, text + at, n - at, &n_marked);
        if (!tokenize_marked(v, s, text + at, length, n_marked, prefix, out)) return false;
    }
    return true;
}

/* Line ends stand apart from other text; several of them may be a token that no merges lead to. */
static bool gemma4_tokenize(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out) {
    for (size_t at = 0, length; at < n; at += length) {
        const bool ends = text[at] == '\n';
        for (length = 1; at + length < n && (text[at + length] == '\n') == ends;) length++;
        const int32_t id = ends ? token_table_find(&v->tokens, text + at, length) : VOCAB_NONE;
        if (id != VOCAB_NONE)
            ids_put(out, id);
        else if (!tokenize_words(v, s, text + at, length, out))
            return false;
    }
    return true;
}

const tokenizer tokenizer_spm = {"llama", spm_prepare, tokenize_words, pieces_text};
const tokenizer tokenizer_gemma4 = {"gemma4", gemma4_prepare, gemma4_tokenize, pieces_text};
