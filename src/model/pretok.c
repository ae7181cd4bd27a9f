/* The stages and the table. Regular expressions as llama.cpp (src/llama-vocab.cpp) lists them for these
 * models. A byte that is no UTF-8 counts as a character that is neither letter, number nor space. */
#include "model/pretok.h"
#include "model/unicode.h"

#include <stdio.h>
#include <string.h>

/* ---- reading a text character by character ---- */

enum { // sets of classes; the end of the text is in none
    UPPER = 1 << UNICODE_UPPER,
    LOWER = 1 << UNICODE_LOWER,
    UNCASED = 1 << UNICODE_LETTER, // \p{Lm}, \p{Lo}
    LETTERS = UPPER | LOWER | UNCASED,
    NUMBERS = 1 << UNICODE_NUMBER,
    SPACES = 1 << UNICODE_SPACE,
    MARKS = 1 << UNICODE_MARK | 1 << UNICODE_MARK_SPACING,
    PUNCTUATION = 1 << UNICODE_PUNCTUATION,
    SYMBOLS = 1 << UNICODE_SYMBOL,
    OTHERS = 1 << UNICODE_OTHER | PUNCTUATION | SYMBOLS | MARKS, // [^\s\p{L}\p{N}]
};

typedef struct reader {
    const char *s;
    size_t n, at;
    size_t length; // of the character at `at`; 0 at the end
    uint32_t c;
    unsigned set; // of its class; 0 at the end
} reader;

static void read_class(reader *r) {
    r->length = 0, r->c = 0, r->set = 0;
    if (r->at == r->n) return;
    r->c = unicode_at(r->s + r->at, r->n - r->at, &r->length);
    r->set = 1u << unicode_class_of(r->c);
}

static reader read_from(const char *text, size_t n) {
    reader r = {.s = text, .n = n};
    read_class(&r);
    return r;
}

static void next(reader *r) {
    r->at += r->length;
    read_class(r);
}

static void skip(reader *r, unsigned set) {
    while (r->set & set) next(r);
}

static bool at_line_end(const reader *r) {
    return r->length && (r->c == '\r' || r->c == '\n');
}

/* 's|'t|'re|'ve|'m|'ll|'d in lower case, or in any case; its length, or 0 */
static size_t contraction(const char *text, size_t n, bool any_case) {
    static const char *const ends[] = {"s", "t", "m", "d", "re", "ve", "ll"};
    if (text[0] != '\'') return 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t length = strlen(ends[i]), same = 0;
        if (n < 1 + length) return 0; // they get longer
        for (; same < length; same++) {
            char c = text[1 + same];
            if (any_case && c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
            if (c != ends[i][same]) break;
        }
        if (same == length) return 1 + length;
    }
    return 0;
}

/* \s+(?!\S)|\s+ : all spaces, without the last one where a word follows. */
static size_t split_spaces(reader r) {
    size_t last = 0;
    while (r.set & SPACES) {
        last = r.at;
        next(&r);
    }
    return r.at < r.n && last > 0 ? last : r.at;
}

/* ---- words ---- */

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t stage_gpt2(const char *text, size_t n) {
    static const unsigned runs[] = {LETTERS, NUMBERS, OTHERS};
    size_t length = contraction(text, n, false);
    if (length) return length;
    reader begin = read_from(text, n), r = begin;
    if (r.c == ' ') next(&r);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        if (!(r.set & runs[i])) continue;
        skip(&r, runs[i]);
        return r.at;
    }
    return split_spaces(begin);
}

/* \s*[\r\n]+ : spaces up to the last line end among them; 0 where there is none. */
static size_t split_lines(reader r) {
    size_t end = 0;
    while (r.set & SPACES) {
        bool line_end = at_line_end(&r);
        next(&r);
        if (line_end) end = r.at;
    }
    return end;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,DIGITS}|
 * ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
 * \s+(?!\S)|\s+ */
static size_t split_llama3(const char *text, size_t n, unsigned digits) {
    size_t length = contraction(text, n, true);
    if (length) return length;
    reader begin = read_from(text, n), r = begin;
    if (!(r.set & (LETTERS | NUMBERS)) && !at_line_end(&r)) next(&r);
    if (r.set & LETTERS) {
        skip(&r, LETTERS);
        return r.at;
    }
    r = begin;
    for (unsigned i = 0; i < digits && (r.set & NUMBERS); i++) next(&r);
    if (r.at) return r.at;
    if (r.c == ' ') next(&r);
    if (r.set & OTHERS) {
        skip(&r, OTHERS);
        while (at_line_end(&r)) next(&r);
        return r.at;
    }
    length = split_lines(begin);
    return length ? length : split_spaces(begin);
}

static size_t stage_llama3(const char *text, size_t n) {
    return split_llama3(text, n, 3);
}
static size_t stage_qwen2(const char *text, size_t n) {
    return split_llama3(text, n, 1);
}

/* ---- stages that isolate each match of an expression; the text between matches stays whole ---- */

/* Bytes of a match that begins at r, or 0. */
typedef size_t match_fn(reader r);

static size_t isolate(const char *text, size_t n, match_fn *match) {
    for (reader r = read_from(text, n); r.at < n; next(&r)) {
        size_t length = match(r);
        if (length) return r.at ? r.at : length;
    }
    return n;
}

static size_t match_number(reader r) {
    return r.set & NUMBERS ? r.length : 0;
}
static size_t match_numbers(reader r) {
    size_t begin = r.at;
    skip(&r, NUMBERS);
    return r.at - begin;
}
static size_t match_marks(reader r) {
    size_t begin = r.at;
    while (r.set & PUNCTUATION || (r.c && r.c < 128 && strchr("$+<=>^~|", (int)r.c))) next(&r);
    return r.at - begin;
}
static size_t match_three_digits(reader r) {
    size_t begin = r.at;
    for (int i = 0; i < 3; i++, next(&r))
        if (r.c < '0' || r.c > '9') return 0;
    return r.at - begin;
}

static size_t stage_number(const char *text, size_t n) { // \p{N}
    return isolate(text, n, match_number);
}
static size_t stage_numbers(const char *text, size_t n) { // \p{N}+
    return isolate(text, n, match_numbers);
}
static size_t stage_marks(const char *text, size_t n) { // [\p{P}\$\+<=>\^~\|]+
    return isolate(text, n, match_marks);
}
static size_t stage_three_digits(const char *text, size_t n) { // [0-9][0-9][0-9]
    return isolate(text, n, match_three_digits);
}

/* ---- the table ---- */

static const pretok pretoks[] = {
    {"default", false, false, {stage_marks, stage_gpt2, stage_numbers, stage_three_digits}},
    {"gpt-2", false, false, {stage_gpt2}},
    {"smollm", false, false, {stage_number, stage_gpt2}},
    {"llama-bpe", true, true, {stage_llama3}},
    {"llama3", true, true, {stage_llama3}},
    {"llama-v3", true, true, {stage_llama3}},
    {"falcon3", true, true, {stage_llama3}},
    {"smaug-bpe", false, false, {stage_llama3}},
    {"qwen2", false, false, {stage_qwen2}},
    {"deepseek-r1-qwen", false, false, {stage_qwen2}},
    {"megrez", false, false, {stage_qwen2}},
};

enum { N_PRETOKS = sizeof pretoks / sizeof *pretoks };

void pretok_names(char *out, size_t cap) {
    size_t at = 0;
    for (size_t i = 0; i < N_PRETOKS && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, i ? ", %s" : "%s", pretoks[i].name);
}

const pretok *pretok_find(gguf_str name) {
    for (size_t i = 0; i < N_PRETOKS; i++)
        if (gguf_str_is(name, pretoks[i].name)) return &pretoks[i];
    return NULL;
}

static bool split_stage(const pretok *p, int stage, const char *text, size_t n, pretok_fn *fn, void *ctx) {
    if (stage == PRETOK_MAX_STAGES || !p->stages[stage]) return fn(ctx, text, n);
    for (size_t at = 0, length; at < n; at += length) {
        length = p->stages[stage](text + at, n - at);
        if (!split_stage(p, stage + 1, text + at, length, fn, ctx)) return false;
    }
    return true;
}

bool pretok_split(const pretok *p, const char *text, size_t n, pretok_fn *fn, void *ctx) {
    return split_stage(p, 0, text, n, fn, ctx);
}
