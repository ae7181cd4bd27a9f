/*
 * SentencePiece's unigram model (Kudo 2018, arXiv 1804.10959; SentencePiece: arXiv 1808.06226), which T5 and
 * XLM-R use. Each token has a score, the logarithm of its probability. Of all the ways to write a text in
 * tokens, the one with the best sum of scores is found by going through the text once and keeping the best
 * way to each place (Viterbi 1967). A character that no token consists of is the unknown token, ten below
 * the worst score; several in a row are one.
 *
 * Before that the text is normalized: sequences are replaced as the charsmap says, bytes that are no UTF-8
 * become U+FFFD, spaces become U+2581 and may be joined, and one may stand in front.
 *
 * A text is cut before a space that stands behind another character, unless some token crosses the place
 * (pieces.h). The sums of scores are doubles, as in llama.cpp, and exact for sums of as many floats as a
 * text has words, so that cutting changes nothing.
 */
#include "model/pieces.h"
#include "model/unicode.h"

#include "base/error.h"
#include "base/mem.h"

#include <math.h>

/* ---- preparation ---- */

#define SCORE_MOST    1e30f // sums of such scores are finite for any text
#define UNKNOWN_BELOW 10.0f

static void take_score(vocab *v, uint32_t id, float score) {
    const uint8_t type = v->types[id];
    score = score > -SCORE_MOST ? score : -SCORE_MOST; // NaN too
    score = score < SCORE_MOST ? score : SCORE_MOST;
    v->scores[id] = type == VOCAB_USER_DEFINED ? 0 : score;
    if (type == VOCAB_NORMAL && score < v->unk_score) v->unk_score = score;
}

static bool in_texts(const void *ctx, uint32_t id) {
    const vocab *v = ctx;
    return v->types[id] == VOCAB_NORMAL || v->types[id] == VOCAB_USER_DEFINED;
}

static nut_status unigram_prepare(vocab *v, const gguf *g, nut_error *err) {
    v->scores = mem_calloc(v->tokens.n, sizeof *v->scores);
    if (!v->scores) return error_memory(err, v->tokens.n * sizeof *v->scores);
    v->unk_score = SCORE_MOST;
    TRY(pieces_scores(v, g, take_score, err));
    v->unk_score -= UNKNOWN_BELOW;
    TRY(charsmap_read(&v->charsmap, gguf_find(g, "tokenizer.ggml.precompiled_charsmap"), err));
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", false, &v->add_space_prefix, err));
    TRY(gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", false, &v->merge_spaces, err));
    pieces_prepare(v);
    v->unk = 2; // the ids of T5, where the metadata names none
    v->eos = 1;
    v->add_eos = true;
    return trie_build(&v->trie, &v->tokens, in_texts, v, err);
}

/* ---- words ---- */

/* The best way to a place behind a word's first bytes. */
typedef struct cell {
    double score;
    uint32_t from; // where its last token begins
    uint32_t next; // on the best way to the end: where the next token ends
    int32_t id;    // of its last token; VOCAB_NONE: unknown
} cell;

typedef struct unigram_call {
    const vocab *v;
    scratch *s;
    ids_out *out;
    size_t n;     // bytes of the word in s->text
    bool empty;   // no character but spaces came yet
    bool gap;     // spaces came that were not put
    bool unknown; // the last token was the unknown one
} unigram_call;

static void offer(cell *to, double score, size_t from, int32_t id) {
    if (score <= to->score) return;
    to->score = score;
    to->from = (uint32_t)from;
    to->id = id;
}

/* Continues the best way to text[at] by each token, and by the unknown one; the character's length. */
static size_t continue_from(const vocab *v, cell *cells, const char *text, size_t n, size_t at) {
    const double score = cells[at].score;
    size_t length;
    bool known = false;
    unicode_at(text + at, n - at, &length);
    for (size_t i = at, node = 0; i < n; i++) {
        node = trie_step(&v->trie, (uint32_t)node, (uint8_t)text[i]);
        if (!node) break;
        const int32_t id = v->trie.ids[node];
        if (id < 0) continue;
        known = known || i + 1 - at == length;
        offer(&cells[i + 1], score + (double)v->scores[id], at, id);
    }
    if (!known) offer(&cells[at + length], score + (double)v->unk_score, at, VOCAB_NONE);
    return length;
}

static void put_unknown(unigram_call *c, const char *s, size_t n) {
    const int32_t unk = c->v->unk;
    if (pieces_put_bytes(c->v, s, n, c->out)) {
        c->unknown = false;
        return;
    }
    if (!c->unknown && unk != VOCAB_NONE) ids_put(c->out, unk);
    c->unknown = true;
}

/* The best way to the end, as a chain of cells from the first on. */
static bool find_best(const unigram_call *c, const char *text, size_t n) {
    if (!scratch_cells(c->s, (n + 1) * sizeof(cell))) return false;
    cell *cells = c->s->cells;
    for (size_t i = 1; i <= n; i++) cells[i].score = -INFINITY;
    cells[0].score = 0;
    for (size_t at = 0; at < n;) at += continue_from(c->v, cells, text, n, at);
    for (size_t end = n, from; end > 0; end = from) {
        from = cells[end].from;
        cells[from].next = (uint32_t)end;
    }
    return true;
}

static bool end_word(unigram_call *c) {
    const char *text = c->s->text;
    const size_t n = c->n, before = c->out->n;
    bool known = true;
    c->n = 0;
    if (!n) return true;
    if (scratch_recall(c->s, text, n, c->out)) {
        c->unknown = false;
        return true;
    }
    if (!find_best(c, text, n)) return false;
    const cell *cells = c->s->cells;
    for (size_t at = 0, end; at < n; at = end) {
        end = cells[at].next;
        known = known && cells[end].id != VOCAB_NONE;
        if (cells[end].id == VOCAB_NONE) {
            put_unknown(c, text + at, end - at);
            continue;
        }
        ids_put(c->out, cells[end].id);
        c->unknown = false;
    }
    if (known) scratch_keep(c->s, text, n, c->out, before);
    return true;
}

/* ---- normalization ---- */

static bool put_byte(unigram_call *c, char byte) {
    if (!scratch_text(c->s, c->n + 1)) return false;
    c->s->text[c->n++] = byte;
    return true;
}

static bool put_space(unigram_call *c) {
    const char *text = c->s->text;
    const bool cut = c->n && !space_mark_ends(text, c->n) && !c->v->before_space[(uint8_t)text[c->n - 1]];
    if (cut && !end_word(c)) return false;
    for (size_t i = 0; i < SPACE_MARK_BYTES; i++)
        if (!put_byte(c, SPACE_MARK[i])) return false;
    return true;
}

/* Bytes that were normalized, with spaces still. */
static bool put_normal(unigram_call *c, const char *s, size_t n) {
    const vocab *v = c->v;
    for (size_t i = 0; i < n; i++) {
        const bool space = s[i] == ' ', front = !space && (c->empty ? v->add_space_prefix : c->gap);
        if (space && v->merge_spaces) {
            c->gap = true;
            continue;
        }
        if (space ? !put_space(c) : (v->merge_spaces && front && !put_space(c)) || !put_byte(c, s[i]))
            return false;
        c->empty = c->empty && space;
        c->gap = false;
    }
    return true;
}

static bool unigram_tokenize(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out) {
    unigram_call c = {.v = v, .s = s, .out = out, .empty = true};
    if (v->add_space_prefix && !v->merge_spaces && !put_space(&c)) return false;
    for (size_t at = 0, length; at < n; at += length) {
        gguf_str to;
        length = charsmap_match(&v->charsmap, text + at, n - at, &to);
        if (!length) {
            const bool is_utf8 = unicode_at(text + at, n - at, &length) != 0xfffd || length > 1;
            to = is_utf8 ? (gguf_str){text + at, length} : (gguf_str){"\xef\xbf\xbd", 3};
        }
        if (!put_normal(&c, to.s, (size_t)to.n)) return false;
    }
    while (v->merge_spaces && space_mark_ends(s->text, c.n)) c.n -= SPACE_MARK_BYTES; // marks of the text
    return end_word(&c);
}

const tokenizer tokenizer_unigram = {"t5", unigram_prepare, unigram_tokenize, pieces_text};
