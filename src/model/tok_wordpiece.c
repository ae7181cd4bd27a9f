/*
 * WordPiece as BERT has it (Devlin et al. 2019, arXiv 1810.04805; Schuster and Nakajima 2012). A text
 * becomes words: at spaces, around each mark of punctuation and each Chinese character; control characters
 * are left out, and, unless the vocabulary is cased, so are accents and capitals. A word is cut into the
 * longest tokens that it begins with, one after another; where one piece has no token, or the word has more
 * than 100 characters, the whole word is the unknown token. A GGUF vocabulary has U+2581 before pieces that
 * begin a word.
 *
 * What a file does not say: a vocabulary is cased where ordinary tokens have capital letters.
 */
#include "model/pieces.h"
#include "model/unicode.h"

#include <string.h>

/* Longer words are unknown, as in BERT; and bytes of a piece, which bounds the time for any vocabulary. */
enum { MAX_CHARACTERS = 100, MAX_PIECE = 256 };

static bool has_capitals(token_text p) {
    if (p.n && p.s[0] == '[') return false; // "[CLS]", whatever its type
    for (uint32_t i = 0; i < p.n; i++)
        if (p.s[i] >= 'A' && p.s[i] <= 'Z') return true;
    return false;
}

static nut_status wordpiece_prepare(vocab *v, const gguf *g, nut_error *err) {
    (void)g, (void)err;
    for (uint32_t i = 0; i < v->tokens.n && !v->cased; i++)
        v->cased = (v->types[i] & VOCAB_TYPE) == VOCAB_NORMAL && has_capitals(v->tokens.texts[i]);
    v->bos = 101; // the ids of BERT, where the metadata names none
    v->sep = 102;
    v->unk = 100;
    v->add_bos = v->add_eos = true;
    v->add_space_prefix = true; // of a text from tokens
    return NUT_OK;
}

/* ---- words ---- */

/* The word that grows. */
typedef struct word {
    const vocab *v;
    ids_out *out;
    size_t n, n_characters;
    char text[SPACE_MARK_BYTES + 4 * MAX_CHARACTERS]; // with the mark in front
} word;

static bool is_chinese(uint32_t c) {
    static const uint32_t ranges[][2] = {{0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df},
                                         {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf},
                                         {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

/* Writes the tokens of a word; false where a piece has none. */
static bool put_pieces(const word *w, ids_out *out) {
    for (size_t at = 0, length = 0; at < w->n; at += length) {
        const int32_t id = token_table_longest(&w->v->tokens, w->text + at, w->n - at, MAX_PIECE, &length);
        if (id == VOCAB_NONE) return false;
        ids_put(out, id);
    }
    return true;
}

static void end_word(word *w) {
    const size_t before = w->out->n;
    if (w->n_characters > MAX_CHARACTERS || (w->n_characters && !put_pieces(w, w->out))) {
        w->out->n = before;
        if (w->v->unk != VOCAB_NONE) ids_put(w->out, w->v->unk);
    }
    w->n = SPACE_MARK_BYTES;
    w->n_characters = 0;
}

static void add_character(word *w, uint32_t c) {
    if (++w->n_characters <= MAX_CHARACTERS) w->n += unicode_put(w->text + w->n, c);
}

/* A letter with what it is composed of taken apart: the marks go, the parts of a Hangul syllable stay
 * (Unicode 15.1, section 3.12). */
static void add_folded(word *w, uint32_t c) {
    enum { FIRST = 0xac00, N = 11172, VOWELS = 21, ENDS = 28 };
    const uint32_t s = c - FIRST;
    if (c < FIRST || s >= N) {
        add_character(w, unicode_fold(c));
        return;
    }
    add_character(w, 0x1100 + s / (VOWELS * ENDS));
    add_character(w, 0x1161 + s / ENDS % VOWELS);
    if (s % ENDS) add_character(w, 0x11a7 + s % ENDS);
}

static void take_character(word *w, uint32_t c) {
    const unicode_class class = unicode_class_of(c);
    const bool alone = class == UNICODE_PUNCTUATION || (class == UNICODE_SYMBOL && c < 128) || is_chinese(c);
    if (c == 0xfffd || class == UNICODE_OTHER) return;
    if (class == UNICODE_MARK && !w->v->cased) return;
    if (alone || class == UNICODE_SPACE) end_word(w);
    if (class == UNICODE_SPACE) return;
    if (w->v->cased)
        add_character(w, c);
    else
        add_folded(w, c);
    if (alone) end_word(w);
}

static bool wordpiece_tokenize(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out) {
    word w = {.v = v, .out = out, .n = SPACE_MARK_BYTES};
    (void)s;
    memcpy(w.text, SPACE_MARK, SPACE_MARK_BYTES);
    for (size_t at = 0, length; at < n; at += length)
        take_character(&w, unicode_at(text + at, n - at, &length));
    end_word(&w);
    return true;
}

/* ---- back to text ---- */

static void wordpiece_text(const vocab *v, int32_t id, text_out *out) {
    const token_text p = v->tokens.texts[id];
    const bool begins = space_mark_begins(p.s, p.n);
    if (begins) text_put(out, ' ');
    text_put_all(out, p.s + (begins ? SPACE_MARK_BYTES : 0), p.n - (begins ? SPACE_MARK_BYTES : 0));
}

const tokenizer tokenizer_wordpiece = {"bert", wordpiece_prepare, wordpiece_tokenize, wordpiece_text};
