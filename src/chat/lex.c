/* The rules, as far as they are not obvious: text in front of a tag loses its blanks at the end where the
 * tag begins with a hyphen, and, in front of {% and {#, the blanks of its last line where nothing else is on
 * it. Behind a tag that ends in a hyphen all blanks go, behind other %} and #} one line end. A tag's end is
 * none while a bracket is open. */
#include "chat/lex.h"
#include "chat/number.h"
#include "model/unicode.h"

#include <string.h>

bool lex_fail(chat_heap *h, const char *text, uint32_t at, const char *message) {
    unsigned line = 1, column = 1;
    for (uint32_t i = 0; i < at; i++) {
        column = text[i] == '\n' ? 1 : column + ((text[i] & 0xc0) != 0x80);
        line += text[i] == '\n';
    }
    return chat_fail(h, NUT_E_CHAT, "line %u, column %u of the chat template: %s", line, column, message);
}

static bool fail(lexer *l, uint32_t at, const char *message) {
    return lex_fail(l->h, l->text, at, message);
}

bool lex_open(lexer *l, chat_heap *h, const char *text, size_t n) {
    *l = (lexer){.h = h, .line_begins = true};
    if (n > CHAT_MAX_TEMPLATE)
        return chat_fail(h, NUT_E_CHAT, "the chat template has %zu bytes and the limit is %d", n,
                         CHAT_MAX_TEMPLATE);
    char *copy = chat_alloc(h, n + 1);
    if (!copy || !chat_spend_bytes(h, n)) return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n' && i > 0 && text[i - 1] == '\r') continue;
        copy[l->n++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (l->n && copy[l->n - 1] == '\n') l->n--;
    l->text = copy;
    return true;
}

/* ---- between tags ---- */

static bool starts(const lexer *l, uint32_t at, const char *text) {
    const size_t n = strlen(text);
    return l->n - at >= n && !memcmp(l->text + at, text, n);
}

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
}

/* Behind the blanks at `at`, those of Unicode too. */
static uint32_t skip_blanks(const lexer *l, uint32_t at) {
    size_t length = 1;
    while (at < l->n && (is_blank(l->text[at]) ||
                         ((l->text[at] & 0x80) &&
                          unicode_class_of(unicode_at(l->text + at, l->n - at, &length)) == UNICODE_SPACE)))
        at += (uint32_t)length, length = 1;
    return at;
}

/* The end of text [from, to) without the blanks at its end. */
static uint32_t without_blanks(const lexer *l, uint32_t from, uint32_t to) {
    size_t length;
    while (to > from) {
        uint32_t last = to - 1;
        while (last > from && (l->text[last] & 0xc0) == 0x80) last--;
        const uint32_t c = unicode_at(l->text + last, to - last, &length);
        if (!(c < 128 ? is_blank((char)c) : unicode_class_of(c) == UNICODE_SPACE)) break;
        to = last;
    }
    return to;
}

/* The end of text [from, to) without the blanks of its last line, if nothing else is on that. */
static uint32_t without_indent(const lexer *l, uint32_t from, uint32_t to) {
    uint32_t line = to;
    while (line > from && l->text[line - 1] != '\n') line--;
    if (line == from && !l->line_begins) return to;
    return without_blanks(l, line, to) == line ? line : to;
}

/* Puts the place behind a tag's end; at: behind its mark of `length` bytes. Where the mark was begun by a
 * sign, this is told. */
static void pass_end(lexer *l, uint32_t at, char sign, bool trims) {
    if (sign == '-')
        l->at = skip_blanks(l, at);
    else
        l->at = at + (trims && sign != '+' && at < l->n && l->text[at] == '\n');
    l->line_begins = l->text[l->at - 1] == '\n';
}

/* Finds `mark` ("#}") from `at` on, with the sign in front of it; false: it is not there. */
static bool find_end(lexer *l, uint32_t at, const char *mark, uint32_t *begin, char *sign) {
    for (; at < l->n; at++) {
        *sign = l->text[at] == '-' || l->text[at] == '+' ? l->text[at] : '\0';
        *begin = at;
        if (starts(l, at + (*sign != 0), mark)) return true;
    }
    return false;
}

/* `{% raw %}` at the tag `at`; its text begins at *body. */
static bool is_raw(const lexer *l, uint32_t at, const char *word, uint32_t *body, char *sign) {
    at += 2;
    at += at < l->n && (l->text[at] == '-' || l->text[at] == '+');
    at = skip_blanks(l, at);
    if (!starts(l, at, word)) return false;
    at = skip_blanks(l, at + (uint32_t)strlen(word));
    *sign = at < l->n && (l->text[at] == '-' || l->text[at] == '+') ? l->text[at] : '\0';
    at += *sign != 0;
    *body = at + 2;
    return starts(l, at, "%}");
}

static void put(lex_token *out, lex_kind kind, uint32_t from, uint32_t to) {
    *out = (lex_token){.kind = (uint8_t)kind, .at = from, .n = to - from};
}

/* The end of the text [from, to) in front of the tag at `to`. */
static uint32_t text_end(const lexer *l, uint32_t from, uint32_t to) {
    const char sign = to + 2 < l->n ? l->text[to + 2] : '\0';
    if (sign == '-') return without_blanks(l, from, to);
    return sign != '+' && l->text[to + 1] != '{' ? without_indent(l, from, to) : to;
}

/* A comment at `at` was passed, or it has no end. */
static bool pass_comment(lexer *l, uint32_t at) {
    uint32_t end;
    char sign;
    if (at + 2 == l->n) return l->at = l->n, true; // as Jinja2 has it
    if (!find_end(l, at + 2, "#}", &end, &sign)) return fail(l, at, "a comment has no end");
    pass_end(l, end + (sign != 0) + 2, sign, true);
    return true;
}

/* The text of a raw block whose text begins at `body`. */
static bool raw_text(lexer *l, uint32_t body, char sign, lex_token *out) {
    uint32_t behind = 0, at;
    char end_sign = '\0';
    pass_end(l, body, sign, false);
    for (at = l->at; at < l->n; at++)
        if (starts(l, at, "{%") && is_raw(l, at, "endraw", &behind, &end_sign)) break;
    if (at >= l->n)
        return l->at == l->n ? (put(out, LEX_DATA, at, at), true) : fail(l, body, "a raw block has no end");
    put(out, LEX_DATA, l->at, text_end(l, l->at, at));
    pass_end(l, behind, end_sign, true);
    return true;
}

/* The tag at `at`, which is no comment and no raw block. */
static void open_tag(lexer *l, uint32_t at, lex_token *out) {
    const bool value = l->text[at + 1] == '{',
               sign = at + 2 < l->n && (l->text[at + 2] == '-' || l->text[at + 2] == '+');
    put(out, value ? LEX_VALUE_BEGIN : LEX_BLOCK_BEGIN, at, at + 2);
    l->at = at + 2 + sign;
}

/* The next tag of any kind, from `at` on; the end: there is none. */
static uint32_t find_tag(const lexer *l, uint32_t at) {
    while (at < l->n) {
        const char *brace = memchr(l->text + at, '{', l->n - at);
        if (!brace) break;
        at = (uint32_t)(brace - l->text);
        if (at + 1 < l->n && (brace[1] == '{' || brace[1] == '%' || brace[1] == '#')) return at;
        at++;
    }
    return l->n;
}

static bool next_outside(lexer *l, lex_token *out) {
    for (;;) {
        const uint32_t from = l->at, tag = find_tag(l, from);
        uint32_t body;
        char sign;
        if (from == l->n) return put(out, LEX_END, from, from), true;
        const uint32_t end = tag < l->n ? text_end(l, from, tag) : tag;
        put(out, LEX_DATA, from, end);
        l->at = tag;
        const bool text = end > from;
        if (tag == l->n && text) return true;
        if (tag == l->n) continue;
        if (l->text[tag + 1] == '#') {
            if (!pass_comment(l, tag)) return false;
            if (text) return true;
            continue;
        }
        if (l->text[tag + 1] == '%' && is_raw(l, tag, "raw", &body, &sign)) {
            if (!text) return raw_text(l, body, sign, out);
            l->has_ahead = true;
            return raw_text(l, body, sign, &l->ahead);
        }
        l->has_ahead = text;
        open_tag(l, tag, text ? &l->ahead : out);
        return true;
    }
}

/* ---- inside of tags ---- */

static bool word_at(const lexer *l, uint32_t at, size_t *length) {
    *length = 1;
    if (at >= l->n) return false;
    const uint32_t c = unicode_at(l->text + at, l->n - at, length);
    if (c < 128) return c == '_' || (c | 32u) - 'a' < 26 || c - '0' < 10;
    const unicode_class class = unicode_class_of(c);
    return class >= UNICODE_LOWER && class <= UNICODE_NUMBER;
}

static bool read_name(lexer *l, lex_token *out) {
    const uint32_t from = l->at;
    size_t length;
    while (word_at(l, l->at, &length)) l->at += (uint32_t)length;
    put(out, LEX_NAME, from, l->at);
    return true;
}

static int digit_of(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 99;
}

/* 0x1f, 0b101, 0o17, with underlines. */
static bool read_based(lexer *l, int base, lex_token *out) {
    const uint32_t from = l->at;
    uint64_t value = 0;
    for (l->at += 2; l->at < l->n && (digit_of(l->text[l->at]) < base || l->text[l->at] == '_'); l->at++) {
        if (l->text[l->at] == '_') continue;
        value = value * (unsigned)base + (unsigned)digit_of(l->text[l->at]);
        if (value > INT64_MAX) return fail(l, from, "a number is too large");
    }
    put(out, LEX_NUMBER, from, l->at);
    out->value = chat_int((int64_t)value);
    return true;
}

static bool is_digit(const lexer *l, uint32_t at) {
    return at < l->n && l->text[at] >= '0' && l->text[at] <= '9';
}

static void copy_digits(lexer *l, char *text, size_t cap, size_t *n) {
    for (; is_digit(l, l->at) || (l->at < l->n && l->text[l->at] == '_' && is_digit(l, l->at + 1)); l->at++)
        if (l->text[l->at] != '_' && *n < cap) text[(*n)++] = l->text[l->at];
}

static bool read_number(lexer *l, lex_token *out) {
    char text[512];
    size_t n = 0;
    const uint32_t from = l->at;
    const char second = from + 1 < l->n ? (char)(l->text[from + 1] | 32) : '\0';
    const int base = second == 'x' ? 16 : second == 'b' ? 2 : second == 'o' ? 8 : 10;
    if (base != 10 && l->text[from] == '0') return read_based(l, base, out);
    copy_digits(l, text, 400, &n);
    const bool dotted = from > 0 && l->text[from - 1] == '.'; // a.0.1 is no number with a point
    if (!dotted && l->at < l->n && l->text[l->at] == '.' && is_digit(l, l->at + 1))
        text[n++] = '.', l->at++, copy_digits(l, text, 480, &n);
    const uint32_t sign = l->at + 1 < l->n && (l->text[l->at + 1] == '-' || l->text[l->at + 1] == '+');
    if (!dotted && l->at < l->n && (l->text[l->at] | 32) == 'e' && is_digit(l, l->at + 1 + sign)) {
        text[n++] = 'e';
        if (sign) text[n++] = l->text[l->at + 1];
        l->at += 1 + sign;
        copy_digits(l, text, 500, &n);
    }
    size_t zeros = 0; // Python refuses 01; Jinja reads 1
    while (zeros + 1 < n && text[zeros] == '0' && text[zeros + 1] >= '0' && text[zeros + 1] <= '9') zeros++;
    put(out, LEX_NUMBER, from, l->at);
    if (number_read(text + zeros, n - zeros, &out->value) != n - zeros)
        return fail(l, from, "a number is too long");
    return true;
}

/* The number of `n` hexadecimal digits, or of up to `n` octal ones, at `at`. */
static bool escaped_number(lexer *l, uint32_t *at, int n, int base, uint32_t *value) {
    *value = 0;
    int read = 0;
    for (; read < n && *at < l->n && digit_of(l->text[*at]) < base; read++, (*at)++)
        *value = *value * (unsigned)base + (unsigned)digit_of(l->text[*at]);
    return read == n || (base == 8 && read > 0);
}

/* The escape whose character behind the backslash is at *at, to out. */
static bool put_escape(lexer *l, uint32_t *at, chat_text *out) {
    static const char names[] = "nrtabfv\\'\"", values[] = "\n\r\t\a\b\f\v\\'\"";
    char utf8[4];
    const char name = l->text[*at];
    const char *found = name ? strchr(names, name) : NULL;
    if (found) return (*at)++, chat_put(out, &values[found - names], 1, CHAT_TEMPLATE);
    if (name == '\n') return (*at)++, true;
    const int digits = name == 'x'                  ? 2
                       : name == 'u'                ? 4
                       : name == 'U'                ? 8
                       : name >= '0' && name <= '7' ? 3
                                                    : 0;
    if (!digits) return chat_put(out, "\\", 1, CHAT_TEMPLATE);
    uint32_t c, begin = *at;
    *at += digits != 3;
    if (!escaped_number(l, at, digits, digits == 3 ? 8 : 16, &c) || c > 0x10ffff)
        return fail(l, begin, "an escape in a text is incomplete");
    if (c >= 0xd800 && c <= 0xdfff) c = 0xfffd;
    return chat_put(out, utf8, unicode_put(utf8, c), CHAT_TEMPLATE);
}

static bool read_string(lexer *l, lex_token *out) {
    const uint32_t from = l->at;
    const char quote = l->text[from];
    chat_text text = {.heap = l->h};
    for (uint32_t at = from + 1; at < l->n;) {
        uint32_t end = at;
        while (end < l->n && l->text[end] != quote && l->text[end] != '\\') end++;
        if (!chat_put(&text, l->text + at, end - at, CHAT_TEMPLATE)) return false;
        if (end >= l->n) break;
        if (l->text[end] == quote) {
            l->at = end + 1;
            put(out, LEX_STRING, from, l->at);
            return chat_text_end(&text, &out->value);
        }
        at = end + 1;
        if (at < l->n && !put_escape(l, &at, &text)) return false;
    }
    return fail(l, from, "a text has no end");
}

static bool read_operator(lexer *l, lex_token *out) {
    static const char singles[] = "+-/*%~[](){}<>=.:|,;";
    static const char *const doubles[] = {"//", "**", "==", "!=", ">=", "<="};
    const uint32_t from = l->at;
    const char c = l->text[from];
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        if (!starts(l, from, doubles[i])) continue;
        put(out, LEX_OPERATOR, from, l->at = from + 2);
        out->op = LEX_OP2(doubles[i][0], doubles[i][1]);
        return true;
    }
    if (!c || !strchr(singles, c)) return fail(l, from, "there is an unexpected character");
    put(out, LEX_OPERATOR, from, l->at = from + 1);
    out->op = (uint8_t)c;
    if (strchr("([{", c)) l->open++;
    if (strchr(")]}", c) && l->open-- == 0) return fail(l, from, "a bracket is closed that was not opened");
    return true;
}

/* The end of the tag, if it is here. */
static bool tag_end(lexer *l, lex_token *out) {
    const bool value = l->inside == LEX_VALUE_BEGIN;
    const uint32_t from = l->at;
    const char c = from < l->n ? l->text[from] : '\0', sign = c == '-' || (c == '+' && !value) ? c : '\0';
    const uint32_t mark = from + (sign != 0);
    if (l->open || !starts(l, mark, value ? "}}" : "%}")) return false;
    put(out, value ? LEX_VALUE_END : LEX_BLOCK_END, from, mark + 2);
    pass_end(l, mark + 2, sign, !value);
    l->inside = 0;
    return true;
}

static bool next_inside(lexer *l, lex_token *out) {
    size_t length;
    l->at = skip_blanks(l, l->at);
    if (tag_end(l, out)) return true;
    if (l->at >= l->n) return put(out, LEX_END, l->n, l->n), true;
    if (is_digit(l, l->at)) return read_number(l, out);
    if (word_at(l, l->at, &length)) return read_name(l, out);
    if (l->text[l->at] == '"' || l->text[l->at] == '\'') return read_string(l, out);
    return read_operator(l, out);
}

bool lex_next(lexer *l, lex_token *out) {
    if (!chat_spend(l->h, 1)) return false;
    if (l->has_ahead) {
        *out = l->ahead;
        l->has_ahead = false;
    } else if (!(l->inside ? next_inside(l, out) : next_outside(l, out))) {
        return false;
    }
    if (out->kind == LEX_VALUE_BEGIN || out->kind == LEX_BLOCK_BEGIN) {
        l->inside = out->kind;
        l->open = 0;
    }
    return true;
}
