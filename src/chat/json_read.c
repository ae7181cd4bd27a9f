/* JSON to values: one pass, a level of recursion for each level of nesting, which the heap limits. */
#include "chat/json.h"
#include "chat/number.h"
#include "model/unicode.h"

#include <string.h>

typedef struct reader {
    chat_heap *h;
    const char *text;
    size_t n, at;
    chat_origin origin;
    const char *what;
} reader;

static bool wrong(reader *r, const char *expected) {
    return chat_fail(r->h, NUT_E_ARGUMENT, "%s: there is no JSON: %s at byte %zu", r->what, expected, r->at);
}

static int peek(const reader *r) {
    return r->at < r->n ? (unsigned char)r->text[r->at] : -1;
}

static void skip_blanks(reader *r) {
    while (peek(r) == ' ' || peek(r) == '\n' || peek(r) == '\t' || peek(r) == '\r') r->at++;
}

static bool take(reader *r, char c) {
    skip_blanks(r);
    if (peek(r) != c) return false;
    r->at++;
    return true;
}

/* ---- strings ---- */

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* The four digits at `at`; -1: there are none. */
static int32_t hex4(const reader *r, size_t at) {
    int32_t value = 0;
    if (r->n - at < 4 || at > r->n) return -1;
    for (size_t i = at; i < at + 4; i++) {
        if (hex(r->text[i]) < 0) return -1;
        value = value * 16 + hex(r->text[i]);
    }
    return value;
}

/* What stands behind "\u", a second half with its own "\u" too; at is behind it then. */
static bool read_unicode(reader *r, uint32_t *c) {
    const int32_t first = hex4(r, r->at);
    if (first < 0) return wrong(r, "four hexadecimal digits are expected");
    r->at += 4;
    *c = (uint32_t)first;
    if (first < 0xd800 || first > 0xdfff) return true;
    *c = 0xfffd;
    if (first > 0xdbff || r->n - r->at < 6 || r->text[r->at] != '\\' || r->text[r->at + 1] != 'u')
        return true;
    const int32_t second = hex4(r, r->at + 2);
    if (second < 0xdc00 || second > 0xdfff) return true;
    r->at += 6;
    *c = 0x10000 + ((uint32_t)(first - 0xd800) << 10) + (uint32_t)(second - 0xdc00);
    return true;
}

static bool read_escape(reader *r, uint32_t *c) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const int name = peek(r);
    const char *found = name > 0 ? strchr(names, name) : NULL;
    if (!found && name != 'u') return wrong(r, "an escape is unknown");
    r->at++;
    if (name == 'u') return read_unicode(r, c);
    *c = (uint8_t)values[found - names];
    return true;
}

/* Bytes that stand for themselves. */
static size_t plain_bytes(const reader *r) {
    size_t at = r->at, length;
    while (at < r->n && (uint8_t)r->text[at] >= 0x20 && r->text[at] != '"' && r->text[at] != '\\') {
        const uint32_t c = unicode_at(r->text + at, r->n - at, &length);
        if (c == 0xfffd && length == 1) break;
        at += length;
    }
    return at - r->at;
}

/* A string that does not stand in the text as it is; `n` bytes of it do. */
static bool read_escaped(reader *r, size_t n, chat_value *out) {
    chat_text t = {.heap = r->h};
    char utf8[4];
    for (; chat_put(&t, r->text + r->at, n, r->origin); n = plain_bytes(r)) {
        uint32_t c = 0xfffd;
        r->at += n;
        const int next = peek(r);
        if (next == '"') return r->at++, chat_text_end(&t, out);
        if (next < 0x20)
            return wrong(r, next < 0 ? "a string has no end" : "a control character must be escaped");
        r->at++;
        if (next == '\\' && !read_escape(r, &c)) return false;
        if (!chat_put(&t, utf8, unicode_put(utf8, c), r->origin)) return false;
    }
    return false;
}

static bool read_string(reader *r, chat_value *out) {
    const size_t n = (r->at++, plain_bytes(r));
    if (!chat_spend_bytes(r->h, n)) return false;
    if (r->at + n >= r->n || r->text[r->at + n] != '"') return read_escaped(r, n, out);
    r->at += n + 1;
    return chat_string_of(r->h, r->text + r->at - n - 1, n, r->origin, out);
}

/* ---- values ---- */

static bool read_value(reader *r, chat_value *out);

static bool read_list(reader *r, chat_value *out) {
    chat_value item;
    r->at++;
    if (!chat_list_new(r->h, CHAT_FORM_LIST, 0, out)) return false;
    if (take(r, ']')) return true;
    do {
        if (!read_value(r, &item) || !chat_list_add(r->h, out, item)) return false;
    } while (take(r, ','));
    return take(r, ']') || wrong(r, "a comma or ] is expected");
}

static bool read_map(reader *r, chat_value *out) {
    chat_value key, value;
    r->at++;
    if (!chat_map_new(r->h, out)) return false;
    if (take(r, '}')) return true;
    do {
        skip_blanks(r);
        if (peek(r) != '"') return wrong(r, "a key is expected");
        if (!read_string(r, &key)) return false;
        if (!take(r, ':')) return wrong(r, "a colon is expected");
        if (!read_value(r, &value) || !chat_map_set(r->h, out, key, value)) return false;
    } while (take(r, ','));
    return take(r, '}') || wrong(r, "a comma or } is expected");
}

static bool read_word(reader *r, chat_value *out) {
    static const struct {
        const char *word;
        chat_value value;
    } words[] = {{"null", {.kind = CHAT_NONE}},
                 {"true", {.kind = CHAT_BOOL, .b = true}},
                 {"false", {.kind = CHAT_BOOL, .b = false}}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t n = strlen(words[i].word);
        if (r->n - r->at < n || memcmp(r->text + r->at, words[i].word, n) != 0) continue;
        r->at += n;
        *out = words[i].value;
        return true;
    }
    const size_t n = number_read(r->text + r->at, r->n - r->at, out);
    r->at += n;
    return n ? true : wrong(r, "a value is expected");
}

static bool read_value(reader *r, chat_value *out) {
    skip_blanks(r);
    if (!chat_spend(r->h, 1) || !chat_enter(r->h)) return false;
    const int c = peek(r);
    const bool done = c == '"'   ? read_string(r, out)
                      : c == '[' ? read_list(r, out)
                      : c == '{' ? read_map(r, out)
                                 : read_word(r, out);
    chat_leave(r->h);
    if (done) out->origin = (uint8_t)r->origin;
    return done;
}

bool chat_json_read(chat_heap *h, const char *text, size_t n, chat_origin origin, const char *what,
                    chat_value *out) {
    reader r = {h, text, n, 0, origin, what};
    chat_value value;
    if (!read_value(&r, &value)) return false;
    skip_blanks(&r);
    if (r.at < n) return wrong(&r, "something stands behind the value");
    *out = value;
    return true;
}
