/* One line of JSON. */
#include "evaluate/json_line.h"

#include <string.h>

typedef struct reader {
    const char *s;
    size_t n, at;
} reader;

static void skip_space(reader *r) {
    while (r->at < r->n && strchr(" \t\r\n", r->s[r->at])) r->at++;
}

static bool take(reader *r, char c) {
    skip_space(r);
    const bool is = r->at < r->n && r->s[r->at] == c;
    r->at += is;
    return is;
}

/* The bytes between quotes, escapes as they are. */
static bool take_quoted(reader *r, const char **text, size_t *n) {
    if (!take(r, '"')) return false;
    const size_t first = r->at;
    while (r->at < r->n && r->s[r->at] != '"') r->at += r->s[r->at] == '\\' ? 2 : 1;
    if (r->at >= r->n) return false;
    *text = r->s + first;
    *n = r->at++ - first;
    return true;
}

/* Over a value of any kind. */
static bool skip_value(reader *r) {
    const char *text;
    size_t n, depth = 0;
    do {
        skip_space(r);
        if (r->at >= r->n) return false;
        const char c = r->s[r->at];
        if (c == '"') {
            if (!take_quoted(r, &text, &n)) return false;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}')) return true;
        depth += c == '{' || c == '[';
        depth -= (c == '}' || c == ']') && depth;
        r->at++;
    } while (r->at < r->n);
    return false;
}

/* Moves to the value of a key. */
static bool find_key(reader *r, const char *key) {
    const char *text;
    size_t n;
    if (!take(r, '{')) return false;
    do {
        if (!take_quoted(r, &text, &n) || !take(r, ':')) return false;
        if (n == strlen(key) && !memcmp(text, key, n)) return true;
        if (!skip_value(r)) return false;
    } while (take(r, ','));
    return false;
}

static bool hex4(const char *s, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef0123456789ABCDEF", *at = s[i] ? strchr(digits, s[i]) : NULL;
        if (!at) return false;
        *out = *out << 4 | (uint32_t)((at - digits) & 15);
    }
    return true;
}

static size_t put_utf8(uint32_t c, char *out) {
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 63));
    out[0] = (char)(first[n] | c);
    return n;
}

/* What stands behind \u, with its second half where it has one; *used: bytes of s. */
static bool escaped_character(const char *s, size_t n, uint32_t *c, size_t *used) {
    uint32_t low;
    if (n < 4 || !hex4(s, c)) return false;
    *used = 4;
    if (*c >= 0xd800 && *c < 0xdc00 && n >= 10 && s[4] == '\\' && s[5] == 'u' && hex4(s + 6, &low) &&
        low >= 0xdc00 && low < 0xe000) {
        *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
        *used = 10;
    }
    return *c < 0xd800 || *c >= 0xe000;
}

static bool decode(const char *s, size_t n, char *out, size_t *n_out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    *n_out = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t c;
        size_t used;
        if (s[i] != '\\') {
            out[(*n_out)++] = s[i];
            continue;
        }
        if (++i >= n) return false;
        const char *at = s[i] ? strchr(from, s[i]) : NULL;
        if (at) {
            out[(*n_out)++] = to[at - from];
            continue;
        }
        if (s[i] != 'u' || !escaped_character(s + i + 1, n - i - 1, &c, &used)) return false;
        *n_out += put_utf8(c, out + *n_out);
        i += used;
    }
    return true;
}

bool json_line_text(const char *line, size_t n, const char *key, char *out, size_t *n_out) {
    reader r = {line, n, 0};
    const char *text;
    size_t n_text;
    return find_key(&r, key) && take_quoted(&r, &text, &n_text) && decode(text, n_text, out, n_out);
}

bool json_line_digit(const char *line, size_t n, const char *key, unsigned *out) {
    reader r = {line, n, 0};
    if (!find_key(&r, key)) return false;
    skip_space(&r);
    if (r.at >= n || line[r.at] < '0' || line[r.at] > '9') return false;
    *out = (unsigned)(line[r.at++] - '0');
    return r.at >= n || !(line[r.at] >= '0' && line[r.at] <= '9');
}
