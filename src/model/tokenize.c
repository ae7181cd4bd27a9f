/* Texts to ids and back: splitting at special tokens, the rules for buffers, and the public calls. */
#include "model/model.h"
#include "model/tokenizer.h"
#include "model/unicode.h"

#include "base/error.h"
#include "base/mem.h"

#include <string.h>

enum { MAX_TEXT = 1 << 28 }; // bytes; a space may become three, and all offsets and sizes fit 32 bits

/* *p of *cap bytes grows to n bytes or more. */
static bool grow(void **p, size_t *cap, size_t n) {
    if (n <= *cap) return true;
    size_t more = *cap ? *cap : 512;
    while (more < n) more *= 2;
    void *grown = mem_grow(*p, *cap, more);
    if (!grown) return false;
    *p = grown;
    *cap = more;
    return true;
}

bool scratch_text(scratch *s, size_t n) {
    void *text = s->text;
    const bool done = grow(&text, &s->text_cap, n);
    s->text = text;
    return done;
}

bool scratch_cells(scratch *s, size_t n) {
    return grow(&s->cells, &s->cells_cap, n);
}

void scratch_free(scratch *s) {
    merge_free(&s->work);
    mem_free(s->text);
    mem_free(s->cells);
    mem_free(s->words);
    *s = (scratch){0};
}

bool scratch_recall(const scratch *s, const char *word, size_t n, ids_out *out) {
    const words_slot *found = s->words && n <= WORDS_MAX_BYTES ? words_find(s->words, word, n) : NULL;
    if (!found) return false;
    for (uint32_t i = 0, n_ids = found->ids[1] >> 24; i < n_ids; i++)
        ids_put(out, (int32_t)(found->ids[i] & 0xffffff));
    return true;
}

void scratch_keep(scratch *s, const char *word, size_t n, const ids_out *out, size_t n_before) {
    const size_t n_ids = out->n - n_before;
    int32_t ids[WORDS_MAX_IDS];
    if (!s->words || n > WORDS_MAX_BYTES || n_ids > WORDS_MAX_IDS) return;
    for (size_t i = 0; i < n_ids; i++) ids[i] = out->last[(n_before + i) % WORDS_MAX_IDS];
    words_keep(s->words, word, n, ids, n_ids);
}

/* ---- text to ids ---- */

/* Which special tokens count where. */
typedef struct rules {
    const uint8_t
        *marks; // of each byte: 0 where all count, 1 where those of SPECIAL_TEXT do; NULL: `set` does
    special_set set;
} rules;

/* The special token at a place of a text with marks: one of any kind where all of its bytes allow that, or
 * one that is text, whichever is longer. */
static int32_t match_marked(const vocab *v, const uint8_t *marks, const char *text, size_t n) {
    const int32_t text_id = special_match(v, text, n, SPECIAL_TEXT);
    if (marks[0]) return text_id;
    int32_t id = special_match(v, text, n, SPECIAL_ALL);
    if (id == VOCAB_NONE) return id;
    const uint8_t *data = memchr(marks, 1, v->tokens.texts[id].n);
    if (data) id = special_match(v, text, (size_t)(data - marks), SPECIAL_ALL);
    if (id == VOCAB_NONE || text_id == VOCAB_NONE) return id == VOCAB_NONE ? text_id : id;
    return v->tokens.texts[text_id].n > v->tokens.texts[id].n ? text_id : id;
}

/* Whether those of the ids from `from` on that were written are no special tokens. */
static bool all_text(const vocab *v, const ids_out *out, size_t from) {
    for (size_t i = from; i < out->n && i < out->cap; i++)
        if (!special_is_text(v, out->ids[i])) return false;
    return true;
}

/* Each character for itself; one that alone is a special token is left out. */
static bool put_characters(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out) {
    for (size_t at = 0, length; at < n; at += length) {
        const size_t here = out->n;
        unicode_at(text + at, n - at, &length);
        if (!v->tokenizer->tokenize(v, s, text + at, length, out)) return false;
        if (!all_text(v, out, here)) out->n = here;
    }
    return true;
}

/* A text that holds none of the special tokens' texts. */
static bool put_piece(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out) {
    const size_t before = out->n;
    if (n == 0) return true;
    if (!v->tokenizer->tokenize(v, s, text, n, out)) return false;
    if (all_text(v, out, before)) return true;
    out->n = before;
    return put_characters(v, s, text, n, out);
}

/* Text between special tokens. Where it is marked, it must not become one, which SentencePiece's merges
 * could make of the text of one: such texts are cut into characters. */
static bool put_text(const vocab *v, scratch *s, const char *text, size_t n, bool marked, ids_out *out) {
    const size_t before = out->n;
    if (!v->tokenizer->tokenize(v, s, text, n, out)) return false;
    if (!marked || all_text(v, out, before)) return true;
    out->n = before;
    size_t begin = 0, at = 0;
    while (at < n) {
        const int32_t id = special_match(v, text + at, n - at, SPECIAL_ALL);
        if (id == VOCAB_NONE || special_is_text(v, id)) {
            at++;
            continue;
        }
        const size_t length = v->tokens.texts[id].n;
        if (!put_piece(v, s, text + begin, at - begin, out) || !put_characters(v, s, text + at, length, out))
            return false;
        begin = at += length;
    }
    return put_piece(v, s, text + begin, n - begin, out);
}

/* Where the last character of n > 0 bytes begins. */
static size_t last_character(const char *s, size_t n) {
    size_t at = n - 1;
    while (at > 0 && n - at < 4 && ((uint8_t)s[at] & 0xc0) == 0x80) at--;
    return at;
}

/* Bytes of white space at the end of n bytes. */
static size_t space_at_end(const char *s, size_t n) {
    size_t end = n, length;
    while (end > 0) {
        const size_t at = last_character(s, end);
        const uint32_t c = unicode_at(s + at, end - at, &length);
        if (length != end - at || unicode_class_of(c) != UNICODE_SPACE) break;
        end = at;
    }
    return n - end;
}

/* Bytes of white space at the beginning of n bytes. */
static size_t space_at_front(const char *s, size_t n) {
    size_t at = 0, length;
    for (; at < n; at += length)
        if (unicode_class_of(unicode_at(s + at, n - at, &length)) != UNICODE_SPACE) break;
    return at;
}

/* False: no memory. */
static bool tokenize_all(const vocab *v, scratch *s, const char *text, size_t n, rules r, ids_out *out) {
    for (size_t begin = 0, at = 0; at < n; begin = at) {
        int32_t id = VOCAB_NONE;
        for (; at < n; at++) {
            id = r.marks ? match_marked(v, r.marks + at, text + at, n - at)
                         : special_match(v, text + at, n - at, r.set);
            if (id != VOCAB_NONE) break;
        }
        const uint8_t type = id == VOCAB_NONE ? 0 : v->types[id];
        const size_t left = type & VOCAB_LEFT ? space_at_end(text + begin, at - begin) : 0;
        const size_t length = at - begin - left;
        if (length && !put_text(v, s, text + begin, length, r.marks != NULL, out)) return false;
        if (id == VOCAB_NONE) break;
        ids_put(out, id);
        at += v->tokens.texts[id].n;
        if (type & VOCAB_RIGHT) at += space_at_front(text + at, n - at);
    }
    return true;
}

static nut_status tokenize_by(const vocab *v, const char *text, size_t n, rules r, unsigned flags,
                              ids_out *out, nut_error *err) {
    enum { SHORT = 512 }; // bytes of a text in which words are not kept
    scratch s = {0};
    if (n > MAX_TEXT)
        return error_set(err, NUT_E_ARGUMENT, "the text has %zu bytes and the limit is %d; shorten it", n,
                         MAX_TEXT);
    if (n > SHORT) s.words = mem_calloc(WORDS_SLOTS, sizeof *s.words);
    if (n > SHORT && !s.words) return error_memory(err, WORDS_SLOTS * sizeof *s.words);
    if ((flags & NUT_TOKENIZE_ADD_BOS) && v->add_bos) ids_put(out, v->bos);
    const bool done = tokenize_all(v, &s, text, n, r, out);
    if ((flags & NUT_TOKENIZE_ADD_EOS) && v->add_eos) ids_put(out, v->sep);
    scratch_free(&s);
    return done ? NUT_OK : error_memory(err, n);
}

nut_status vocab_tokenize_marked(const vocab *v, const char *text, const uint8_t *marks, size_t n_text,
                                 int32_t *ids, size_t cap, size_t *n_out, nut_error *err) {
    ids_out out = {.ids = ids, .cap = cap};
    *n_out = 0;
    TRY(tokenize_by(v, text, n_text, (rules){marks, SPECIAL_ALL}, 0, &out, err));
    *n_out = out.n;
    return NUT_OK;
}

nut_status vocab_tokenize(const vocab *v, const char *text, size_t n_text, unsigned flags, int32_t *ids,
                          size_t cap, size_t *n_out, nut_error *err) {
    ids_out out = {.ids = ids, .cap = cap};
    const rules r = {NULL, flags & NUT_TOKENIZE_SPECIAL ? SPECIAL_ALL : SPECIAL_DEFINED};
    *n_out = 0;
    TRY(tokenize_by(v, text, n_text, r, flags, &out, err));
    *n_out = out.n;
    if (out.n <= cap) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "the text is %zu tokens and the buffer holds %zu", out.n, cap);
}

/* ---- ids to text ---- */

static void put_token(const vocab *v, int32_t id, bool special, text_out *out) {
    vocab_type type = vocab_type_of(v, id);
    if (type == VOCAB_NORMAL || type == VOCAB_BYTE)
        v->tokenizer->text(v, id, out);
    else if (special || type == VOCAB_USER_DEFINED)
        text_put_all(out, v->tokens.texts[id].s, v->tokens.texts[id].n);
}

size_t vocab_token_text(const vocab *v, int32_t id, bool special, char *text, size_t cap) {
    text_out out = {text, cap, 0, false};
    put_token(v, id, special, &out);
    return out.n;
}

nut_status vocab_detokenize(const vocab *v, const int32_t *ids, size_t n_ids, bool special, char *text,
                            size_t cap, size_t *n_out, nut_error *err) {
    text_out out = {text, cap, 0, v->add_space_prefix};
    *n_out = 0;
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= v->tokens.n)
            return error_set(err, NUT_E_ARGUMENT, "there is no token %d: the last one is %u", (int)ids[i],
                             (unsigned)v->tokens.n - 1);
        put_token(v, ids[i], special, &out);
    }
    *n_out = out.n;
    if (out.n <= cap) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "the text has %zu bytes and the buffer holds %zu", out.n, cap);
}

/* ---- public ---- */

nut_status nut_tokenize(const nut_model *m, const char *text, size_t n_text, unsigned flags, int32_t *ids,
                        size_t cap, size_t *n_out, nut_error *err) {
    return vocab_tokenize(m->vocab, text, n_text, flags, ids, cap, n_out, err);
}

nut_status nut_detokenize(const nut_model *m, const int32_t *ids, size_t n_ids, bool special, char *text,
                          size_t cap, size_t *n_out, nut_error *err) {
    return vocab_detokenize(m->vocab, ids, n_ids, special, text, cap, n_out, err);
}
