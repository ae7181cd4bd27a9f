/* JSON by its brackets and quotes: enough to write answers, and to find the parts of a request. */
#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */

void json_put_bytes(json_buffer *b, const char *text, size_t n) {
    if (n >= b->cap - b->n) {
        const size_t cap = 2 * (b->n + n) + 64;
        char *grown = b->failed || cap < n ? NULL : realloc(b->text, cap);
        b->failed = !grown;
        if (!grown) return;
        b->text = grown;
        b->cap = cap;
    }
    if (n) memcpy(b->text + b->n, text, n);
    b->n += n;
    b->text[b->n] = 0;
}

void json_put(json_buffer *b, const char *text) {
    json_put_bytes(b, text, strlen(text));
}

void json_put_text(json_buffer *b, const char *text, size_t n) {
    json_put(b, "\"");
    for (size_t i = 0; i < n; i++) {
        char escape[8];
        const unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", c);
        else if (c == '\n')
            snprintf(escape, sizeof escape, "\\n");
        else if (c < 0x20)
            snprintf(escape, sizeof escape, "\\u%04x", c);
        else
            snprintf(escape, sizeof escape, "%c", c);
        json_put(b, escape);
    }
    json_put(b, "\"");
}

/* ---- reading ---- */

static void skip(json_part *at, const char *what) {
    while (at->n && *at->text && strchr(what, *at->text)) at->text++, at->n--;
}

/* Behind a text in quotes that begins at i. */
static size_t text_end(json_part p, size_t i) {
    for (i++; i < p.n && p.text[i] != '"'; i++)
        if (p.text[i] == '\\') i++;
    return i < p.n ? i + 1 : p.n;
}

/* Behind the value at the beginning. */
static size_t value_end(json_part p) {
    size_t depth = 0, i = 0;
    do {
        const char c = p.text[i];
        if (c == '"') {
            i = text_end(p, i);
            continue;
        }
        if ((c == ']' || c == '}') && depth == 0) return i;
        depth += (c == '[' || c == '{');
        depth -= (c == ']' || c == '}');
        i++;
    } while (i < p.n && (depth || !strchr(",:]} \t\r\n", p.text[i])));
    return i < p.n ? i : p.n;
}

static json_part cut(json_part *at, size_t n) {
    const json_part part = {at->text, n};
    at->text += n;
    at->n -= n;
    return part;
}

bool json_take(json_part *at, json_part *value) {
    skip(at, " \t\r\n");
    if (!at->n || (*at->text != '[' && *at->text != '{')) return false;
    *value = cut(at, value_end(*at));
    return value->n > 0;
}

bool json_next(json_part *at, json_part *key, json_part *value) {
    skip(at, " \t\r\n{,");
    if (!at->n || *at->text != '"') return false;
    *key = cut(at, text_end(*at, 0));
    skip(at, " \t\r\n:");
    if (!at->n) return false;
    *value = cut(at, value_end(*at));
    return value->n > 0;
}

bool json_is(json_part part, const char *text) {
    const size_t n = strlen(text);
    return part.n == n + 2 && *part.text == '"' && !memcmp(part.text + 1, text, n);
}
