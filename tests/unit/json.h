/* A small JSON reader for the tests' golden files.
 *
 *     json_doc doc = json_read("models/stories260K-golden.json"); // in the data folder (data.h)
 *     if (!doc.root) ...                                          // doc.error says why
 *     for (const json *t = json_get(doc.root, "tokenize")->child; t; t = t->next) {
 *         const json *text = json_get(t, "text");                 // text->text, text->n: UTF-8, terminated
 *         size_t n = json_ints(json_get(t, "ids"), ids, cap);
 *     }
 *     double x = json_number(doc.root, "perplexity", "mean_nll_nats"); // along keys; NAN if missing
 *     json_free(&doc);
 *
 * Values are nodes of one array; strings are decoded in place. Strict, but numbers are what strtod takes. */
#ifndef NUT_TESTS_JSON_H
#define NUT_TESTS_JSON_H

#include "data.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} json_type;

typedef struct json {
    json_type type;
    size_t n; // members or elements; bytes of a string
    double number;
    const char *text;   // a string's bytes
    const char *key;    // where it is a member
    struct json *child; // first member or element
    struct json *next;  // sibling
} json;

typedef struct json_doc {
    const json *root;  // NULL on error
    const char *error; // what was wrong
    size_t error_at;   // byte of the text
    char *bytes;
    json *nodes;
} json_doc;

/* ---- parsing ---- */

enum { JSON_MAX_DEPTH = 64 };

typedef struct json_parser {
    char *s;
    size_t n, at;
    json *nodes;
    size_t n_nodes;
    const char *error;
} json_parser;

static json *json_value(json_parser *p, int depth);

static inline void *json_fail(json_parser *p, const char *what) {
    if (!p->error) p->error = what;
    return NULL;
}

static inline char json_peek(json_parser *p) { // the next byte that is not white space; 0 at the end
    while (p->at < p->n && p->s[p->at] && strchr(" \t\r\n", p->s[p->at])) p->at++;
    return p->at < p->n ? p->s[p->at] : 0;
}

static inline bool json_take(json_parser *p, const char *word) {
    size_t n = strlen(word);
    if (n > p->n - p->at || memcmp(p->s + p->at, word, n) != 0) return false;
    p->at += n;
    return true;
}

static inline int json_hex4(json_parser *p) { // -1 where there are not four digits
    int value = 0;
    for (int i = 0; i < 4; i++, p->at++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *d = p->at < p->n && p->s[p->at] ? strchr(digits, p->s[p->at]) : NULL;
        if (!d) return -1;
        value = value * 16 + (int)(d - digits) % 16;
    }
    return value;
}

static inline size_t json_put_utf8(char *to, uint32_t c) {
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 0; c >>= 6) to[i] = (char)(i ? 0x80 | (c & 63) : lead[n] | c);
    return n;
}

static inline size_t json_escape(json_parser *p,
                                 char *to) { // after the backslash; returns the bytes written, 0 on error
    static const char from[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    char e = p->at < p->n ? p->s[p->at++] : 0;
    const char *known = e ? strchr(from, e) : NULL;
    if (known) {
        *to = means[known - from];
        return 1;
    }
    int high = e == 'u' ? json_hex4(p) : -1, low = -1;
    if (high < 0) return 0;
    if (high < 0xd800 || high > 0xdfff) return json_put_utf8(to, (uint32_t)high);
    if (high > 0xdbff || !json_take(p, "\\u") || (low = json_hex4(p)) < 0xdc00 || low > 0xdfff) return 0;
    return json_put_utf8(to, 0x10000u + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
}

static inline char *json_string(json_parser *p, size_t *n) { // decoded in place: it never gets longer
    if (json_peek(p) != '"') return json_fail(p, "a string should begin here");
    char *begin = p->s + ++p->at, *to = begin;
    while (p->at < p->n && p->s[p->at] != '"') {
        char c = p->s[p->at++];
        if ((unsigned char)c < 0x20) return json_fail(p, "a control character in a string");
        size_t written = 1;
        if (c == '\\')
            written = json_escape(p, to);
        else
            *to = c;
        if (!written) return json_fail(p, "a bad escape");
        to += written;
    }
    if (p->at == p->n) return json_fail(p, "a string does not end");
    p->at++;
    *to = 0;
    *n = (size_t)(to - begin);
    return begin;
}

static inline json *json_scalar(json_parser *p, json *v) {
    static const struct {
        const char *word;
        json_type type;
    } words[] = {{"null", JSON_NULL}, {"false", JSON_FALSE}, {"true", JSON_TRUE}};
    for (size_t i = 0; i < 3; i++) {
        if (!json_take(p, words[i].word)) continue;
        v->type = words[i].type;
        return v;
    }
    char *end;
    v->type = JSON_NUMBER;
    v->number = strtod(p->s + p->at, &end);
    // Infinity is no JSON, but Python writes it.
    if (end == p->s + p->at || !strchr("-0123456789I", p->s[p->at])) return json_fail(p, "no value");
    p->at = (size_t)(end - p->s);
    return v;
}

static inline json *json_members(json_parser *p, json *v, char close, int depth) {
    json **tail = &v->child;
    p->at++;
    if (json_peek(p) == close) {
        p->at++;
        return v;
    }
    for (;;) {
        size_t n_key;
        char *key = close == '}' ? json_string(p, &n_key) : NULL;
        if (close == '}' && (!key || json_peek(p) != ':' || !++p->at))
            return json_fail(p, "no key with a colon");
        json *member = json_value(p, depth + 1);
        if (!member) return NULL;
        member->key = key;
        *tail = member;
        tail = &member->next;
        v->n++;
        char c = json_peek(p);
        if (c != ',' && c != close) return json_fail(p, "neither a comma nor an end");
        p->at++;
        if (c == close) return v;
    }
}

static inline json *json_value(json_parser *p, int depth) {
    char c = json_peek(p);
    if (depth > JSON_MAX_DEPTH) return json_fail(p, "nested too deeply");
    json *v = &p->nodes[p->n_nodes++];
    memset(v, 0, sizeof *v);
    if (c == '{' || c == '[') {
        v->type = c == '{' ? JSON_OBJECT : JSON_ARRAY;
        return json_members(p, v, c == '{' ? '}' : ']', depth);
    }
    if (c != '"') return json_scalar(p, v);
    v->type = JSON_STRING;
    v->text = json_string(p, &v->n);
    return v->text ? v : NULL;
}

/* Takes ownership of bytes: n of JSON and a 0, from malloc. */
static inline json_doc json_parse(char *bytes, size_t n) {
    size_t most = 2; // a value follows the beginning, '[', ',' or ':'
    for (size_t i = 0; i < n; i++) most += bytes[i] == '[' || bytes[i] == ',' || bytes[i] == ':';
    json_parser p = {.s = bytes, .n = n, .nodes = malloc(most * sizeof(json))};
    json *root = p.nodes ? json_value(&p, 0) : json_fail(&p, "out of memory");
    if (root && (json_peek(&p) || p.at != n)) root = json_fail(&p, "something behind the end");
    return (json_doc){.root = root, .error = p.error, .error_at = p.at, .bytes = bytes, .nodes = p.nodes};
}

/* A file of the data folder. */
static inline json_doc json_read(const char *name) {
    size_t n;
    char *bytes = data_read(name, &n);
    if (!bytes) return (json_doc){.error = "cannot be read"};
    return json_parse(bytes, n);
}

static inline void json_free(json_doc *doc) {
    free(doc->bytes);
    free(doc->nodes);
    *doc = (json_doc){0};
}

/* ---- reading ---- */

/* A member by key; NULL where there is none, or v is NULL or no object. */
static inline const json *json_get(const json *v, const char *key) {
    const json *m = v && v->type == JSON_OBJECT ? v->child : NULL;
    while (m && strcmp(m->key, key) != 0) m = m->next;
    return m;
}

/* The number at key, or at inner inside of key where inner is not NULL; NAN where there is none. */
static inline double json_number(const json *v, const char *key, const char *inner) {
    const json *m = json_get(v, key);
    if (inner) m = json_get(m, inner);
    return m && m->type == JSON_NUMBER ? m->number : (double)NAN;
}

/* Copies at most cap numbers of an array as integers; how many there are. 0 where it is no array. */
static inline size_t json_ints(const json *array, int32_t *out, size_t cap) {
    size_t n = 0;
    for (const json *e = array && array->type == JSON_ARRAY ? array->child : NULL; e; e = e->next, n++)
        if (n < cap) out[n] = (int32_t)e->number;
    return n;
}

/* The same as floats. */
static inline size_t json_floats(const json *array, float *out, size_t cap) {
    size_t n = 0;
    for (const json *e = array && array->type == JSON_ARRAY ? array->child : NULL; e; e = e->next, n++)
        if (n < cap) out[n] = (float)e->number;
    return n;
}

#endif
