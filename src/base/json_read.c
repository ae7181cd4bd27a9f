/* Reading JSON. */
#include "base/json_read.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NUMBER = 40 }; // characters of a number

/* ---- errors ---- */

/* Columns count bytes, from 1. */
nut_status json_read_error(const json_read *j, nut_status code, nut_error *err, const char *format, ...) {
    size_t line = 1, column = 1;
    char text[400];
    va_list args;
    for (size_t i = 0; i < j->last && i < j->n; i++) {
        column = j->s[i] == '\n' ? 1 : column + 1;
        line += j->s[i] == '\n';
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(err, code, "%s, line %zu, column %zu: %s", j->what, line, column, text);
}

static nut_status wrong(json_read *j, nut_error *err, const char *wanted) {
    j->last = j->at;
    if (j->at >= j->n)
        return json_read_error(j, NUT_E_CORRUPT, err, "%s is missing: the text ends here", wanted);
    return json_read_error(j, NUT_E_CORRUPT, err, "%s is missing", wanted);
}

/* ---- characters ---- */

static char next(json_read *j) {
    while (j->at < j->n && j->s[j->at] && strchr(" \t\r\n", j->s[j->at])) j->at++;
    return j->at < j->n ? j->s[j->at] : 0;
}

static nut_status take(json_read *j, char c, nut_error *err) {
    const char wanted[] = {'\'', c, '\'', 0};
    if (next(j) != c) return wrong(j, err, wanted);
    j->last = j->at++;
    return NUT_OK;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

char json_read_peek(json_read *j) {
    const char c = next(j);
    return is_digit(c) || c == '-' ? '0' : c;
}

/* ---- structure ---- */

nut_status json_read_begin(json_read *j, const char *what, const char *text, size_t n, nut_error *err) {
    *j = (json_read){.what = what, .s = text, .n = n};
    return next(j) ? NUT_OK : wrong(j, err, "JSON");
}

nut_status json_read_open(json_read *j, char bracket, nut_error *err) {
    TRY(take(j, bracket, err));
    if (j->depth == JSON_READ_DEPTH)
        return json_read_error(j, NUT_E_CORRUPT, err, "more than %d brackets are open", JSON_READ_DEPTH);
    j->open[j->depth++] = bracket;
    j->first = true;
    return NUT_OK;
}

nut_status json_read_more(json_read *j, bool *more, nut_error *err) {
    const char close = j->open[j->depth - 1] == '[' ? ']' : '}';
    *more = next(j) != close;
    if (*more && !j->first) {
        if (next(j) != ',') return wrong(j, err, close == ']' ? "',' or ']'" : "',' or '}'");
        j->at++;
        if (next(j) == close) return wrong(j, err, "a value behind the ','");
    }
    j->first = false;
    if (!*more) j->at++, j->depth--;
    return NUT_OK;
}

nut_status json_read_end(json_read *j, nut_error *err) {
    return next(j) || j->at < j->n ? wrong(j, err, "the end") : NUT_OK;
}

/* ---- strings ---- */

static bool hex4(const json_read *j, uint32_t *out) {
    *out = 0;
    if (j->n - j->at < 4) return false;
    for (size_t i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char c = j->s[j->at + i], *at = c ? strchr(digits, c) : NULL;
        if (!at) return false;
        *out = *out << 4 | (uint32_t)((at - digits) & 15);
    }
    return true;
}

/* The character behind \u, with its second half where it has one. */
static bool take_unit(json_read *j, uint32_t *c) {
    uint32_t low;
    if (!hex4(j, c)) return false;
    j->at += 4;
    if (*c < 0xd800 || *c >= 0xe000) return *c > 0;
    if (*c >= 0xdc00 || j->n - j->at < 6 || j->s[j->at] != '\\' || j->s[j->at + 1] != 'u') return false;
    j->at += 2;
    if (!hex4(j, &low) || low < 0xdc00 || low >= 0xe000) return false;
    j->at += 4;
    *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

static size_t put_utf8(uint32_t c, char out[4]) {
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 63));
    out[0] = (char)(first[n] | c);
    return n;
}

/* The character behind a backslash; its bytes, 0 where it is none. */
static size_t take_escaped(json_read *j, char out[4]) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t c;
    if (j->at >= j->n) return 0;
    const char e = j->s[j->at++], *at = e ? strchr(from, e) : NULL;
    out[0] = at ? to[at - from] : 0;
    if (at) return 1;
    return e == 'u' && take_unit(j, &c) ? put_utf8(c, out) : 0;
}

nut_status json_read_string(json_read *j, char *out, size_t cap, nut_error *err) {
    size_t n = 0;
    if (next(j) != '"') return wrong(j, err, "a string");
    j->last = j->at++;
    while (j->at < j->n && j->s[j->at] != '"') {
        char c[4] = {j->s[j->at++]};
        const size_t n_c = c[0] == '\\' ? take_escaped(j, c) : (unsigned char)c[0] >= ' ';
        if (!n_c)
            return json_read_error(j, NUT_E_CORRUPT, err,
                                   "the string has a character that JSON does not allow");
        if (n + n_c >= cap) return json_read_error(j, NUT_E_CORRUPT, err, "the string is too long");
        memcpy(out + n, c, n_c);
        n += n_c;
    }
    out[n] = 0;
    if (j->at >= j->n) return wrong(j, err, "'\"'");
    j->at++;
    return NUT_OK;
}

nut_status json_read_key(json_read *j, char *out, size_t cap, nut_error *err) {
    TRY(json_read_string(j, out, cap, err));
    const size_t key = j->last;
    TRY(take(j, ':', err));
    j->last = key;
    return NUT_OK;
}

/* ---- numbers and words ---- */

/* -? (0 | 1-9 digits) (. digits)? ([eE] [+-]? digits)?; the characters, 0 where it is none. */
static size_t number_length(const char *s) {
    const char *p = s + (*s == '-');
    if (!is_digit(*p)) return 0;
    p += *p == '0' ? 1 : strspn(p, "0123456789");
    if (*p == '.') {
        if (!is_digit(*++p)) return 0;
        p += strspn(p, "0123456789");
    }
    if (*p == 'e' || *p == 'E') {
        p += p[1] == '+' || p[1] == '-' ? 2 : 1;
        if (!is_digit(*p)) return 0;
        p += strspn(p, "0123456789");
    }
    return (size_t)(p - s);
}

nut_status json_read_number(json_read *j, double *out, nut_error *err) {
    char text[MOST_NUMBER + 1] = "";
    next(j);
    const size_t left = j->n - j->at;
    memcpy(text, j->s + j->at, left < MOST_NUMBER ? left : MOST_NUMBER);
    const size_t n = number_length(text);
    if (!n || n == MOST_NUMBER) return wrong(j, err, "a number");
    text[n] = 0;
    *out = strtod(text, NULL);
    j->last = j->at;
    j->at += n;
    return *out - *out == 0 ? NUT_OK : json_read_error(j, NUT_E_CORRUPT, err, "the number is too large");
}

static bool take_word(json_read *j, const char *word) {
    const size_t n = strlen(word);
    if (j->n - j->at < n || memcmp(j->s + j->at, word, n) != 0) return false;
    j->last = j->at;
    j->at += n;
    return true;
}

nut_status json_read_flag(json_read *j, bool *out, nut_error *err) {
    next(j);
    *out = take_word(j, "true");
    return *out || take_word(j, "false") ? NUT_OK : wrong(j, err, "true or false");
}
