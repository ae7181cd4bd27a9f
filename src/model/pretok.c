/* The stages and the table. Regular expressions as llama.cpp (src/llama-vocab.cpp) lists them for these models. */
#include "model/pretok.h"

#include "model/unicode.h"

#include <string.h>

/* ---- reading a text character by character ---- */

typedef struct reader {
    const char *s;
    size_t n, at;
} reader;

static const uint32_t END = UINT32_MAX; // beyond the text: no character, no space

static uint32_t peek_at(const reader *r, size_t at, size_t *length) {
    *length = 0;
    return at < r->n ? unicode_at(r->s + at, r->n - at, length) : END;
}
static uint32_t peek(const reader *r) {
    size_t length;
    return peek_at(r, r->at, &length);
}
static void skip(reader *r) {
    size_t length;
    peek_at(r, r->at, &length);
    r->at += length;
}

static bool is_letter(uint32_t c) {
    return c != END && unicode_is(c, UNICODE_LETTER);
}
static bool is_number(uint32_t c) {
    return c != END && unicode_is(c, UNICODE_NUMBER);
}
static bool is_space(uint32_t c) {
    return c != END && unicode_is(c, UNICODE_SPACE);
}
static bool is_other(uint32_t c) { // [^\s\p{L}\p{N}]
    return c != END && !is_space(c) && !is_letter(c) && !is_number(c);
}
static bool is_line_end(uint32_t c) {
    return c == '\r' || c == '\n';
}
static bool is_digit(uint32_t c) {
    return c >= '0' && c <= '9';
}
static bool is_mark(uint32_t c) { // [\p{P}\$\+<=>\^~\|]
    return c != END && (unicode_is(c, UNICODE_PUNCTUATION) || (c < 128 && c && strchr("$+<=>^~|", (int)c)));
}

/* Skips characters while they are of a class; how many. */
static size_t skip_run(reader *r, bool (*is)(uint32_t), size_t most) {
    size_t n = 0;
    for (; n < most && is(peek(r)); n++) skip(r);
    return n;
}

/* 's|'t|'re|'ve|'m|'ll|'d in lower case, or in any case */
static size_t contraction(const reader *r, bool any_case) {
    static const char *const ends[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    if (r->n - r->at < 2 || r->s[r->at] != '\'') return 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = strlen(ends[i]), same = 0;
        while (same < n && r->at + 1 + same < r->n) {
            char c = r->s[r->at + 1 + same];
            if (any_case && c >= 'A' && c <= 'Z') c = (char)(c | 32);
            if (c != ends[i][same]) break;
            same++;
        }
        if (same == n) return n + 1;
    }
    return 0;
}

/* \s+(?!\S) and then \s+: all spaces but the last where a word follows. */
static size_t cut_spaces(reader *r) {
    size_t last = 0;
    while (is_space(peek(r))) last = r->at, skip(r);
    return r->at < r->n && last > 0 ? last : r->at;
}

/* ---- stages ---- */

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t stage_gpt2(const char *text, size_t n) {
    reader r = {text, n, 0};
    size_t short_form = contraction(&r, false);
    if (short_form) return short_form;
    if (text[0] == ' ') r.at = 1;
    if (skip_run(&r, is_letter, SIZE_MAX) || skip_run(&r, is_number, SIZE_MAX) || skip_run(&r, is_other, SIZE_MAX))
        return r.at;
    r.at = 0;
    return cut_spaces(&r);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,DIGITS}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
 * \s+(?!\S)|\s+ */
static size_t cut_llama3(const char *text, size_t n, size_t digits) {
    reader r = {text, n, 0};
    size_t short_form = contraction(&r, true);
    if (short_form) return short_form;
    uint32_t c = peek(&r);
    if (!is_line_end(c) && !is_number(c)) {
        if (!is_letter(c)) skip(&r);
        if (skip_run(&r, is_letter, SIZE_MAX)) return r.at;
        r.at = 0;
    }
    if (skip_run(&r, is_number, digits)) return r.at;
    if (text[0] == ' ') r.at = 1;
    if (skip_run(&r, is_other, SIZE_MAX)) {
        skip_run(&r, is_line_end, SIZE_MAX);
        return r.at;
    }
    r.at = 0;
    size_t after_line_end = 0;
    while (is_space(peek(&r))) {
        bool line_end = is_line_end(peek(&r));
        skip(&r);
        if (line_end) after_line_end = r.at;
    }
    if (after_line_end) return after_line_end;
    r.at = 0;
    return cut_spaces(&r);
}

static size_t stage_llama3(const char *text, size_t n) {
    return cut_llama3(text, n, 3);
}
static size_t stage_qwen2(const char *text, size_t n) {
    return cut_llama3(text, n, 1);
}

/* Cuts out runs of at most `most` characters of a class; what is between stays whole. */
static size_t cut_out(const char *text, size_t n, bool (*is)(uint32_t), size_t least, size_t most) {
    reader r = {text, n, 0};
    while (r.at < n) {
        reader run = r;
        if (skip_run(&run, is, most) >= least) return r.at ? r.at : run.at;
        skip(&r);
    }
    return n;
}

static size_t stage_number(const char *text, size_t n) { // \p{N}
    return cut_out(text, n, is_number, 1, 1);
}
static size_t stage_numbers(const char *text, size_t n) { // \p{N}+
    return cut_out(text, n, is_number, 1, SIZE_MAX);
}
static size_t stage_marks(const char *text, size_t n) { // [\p{P}\$\+<=>\^~\|]+
    return cut_out(text, n, is_mark, 1, SIZE_MAX);
}
static size_t stage_three_digits(const char *text, size_t n) { // [0-9][0-9][0-9]
    return cut_out(text, n, is_digit, 3, 3);
}

/* ---- the table ---- */

#define PRETOK_LIST(X)                                                            \
    X("default", stage_marks, stage_gpt2, stage_numbers, stage_three_digits)      \
    X("gpt-2", stage_gpt2)                                                        \
    X("smollm", stage_number, stage_gpt2)                                         \
    X("llama-bpe", stage_llama3)                                                  \
    X("llama3", stage_llama3)                                                     \
    X("llama-v3", stage_llama3)                                                   \
    X("qwen2", stage_qwen2)                                                       \
    X("deepseek-r1-qwen", stage_qwen2)

static const pretok pretoks[] = {
#define NUT_X(name, ...) {name, {__VA_ARGS__}},
    PRETOK_LIST(NUT_X)
#undef NUT_X
};

const char *pretok_names(void) {
#define NUT_X(name, ...) name " "
    return PRETOK_LIST(NUT_X);
#undef NUT_X
}

const pretok *pretok_find(gguf_str name) {
    for (size_t i = 0; i < sizeof pretoks / sizeof *pretoks; i++)
        if (gguf_str_is(name, pretoks[i].name)) return &pretoks[i];
    return NULL;
}

static nut_status cut_stage(const pretok *p, int stage, const char *text, size_t n, pretok_fn *fn, void *ctx) {
    if (stage == PRETOK_MAX_STAGES || !p->stages[stage]) return fn(ctx, text, n);
    for (size_t at = 0; at < n;) {
        size_t length = p->stages[stage](text + at, n - at);
        nut_status status = cut_stage(p, stage + 1, text + at, length, fn, ctx);
        if (status != NUT_OK) return status;
        at += length;
    }
    return NUT_OK;
}

nut_status pretok_cut(const pretok *p, const char *text, size_t n, pretok_fn *fn, void *ctx) {
    return cut_stage(p, 0, text, n, fn, ctx);
}
