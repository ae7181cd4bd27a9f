/* Values to JSON, as Python's json.dumps writes it. */
#include "chat/json.h"
#include "chat/number.h"
#include "model/unicode.h"

#include "base/sort.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct writer {
    chat_text *out;
    const chat_json_style *style;
    int level;
} writer;

static bool put(const writer *w, const char *text, size_t n) {
    return chat_put(w->out, text, n, CHAT_DATA);
}
static bool put_word(const writer *w, const char *word) {
    return put(w, word, strlen(word));
}

/* ---- strings ---- */

/* The escape of a character, or NULL: it stands for itself. */
static const char *escape_of(uint32_t c, bool ascii, char text[16]) {
    static const char names[] = "\"\\bfnrt", values[] = "\"\\\b\f\n\r\t";
    const char *found = c && c < 128 ? strchr(values, (int)c) : NULL;
    if (found)
        snprintf(text, 16, "\\%c", names[found - values]);
    else if (c >= 0x10000 && ascii)
        snprintf(text, 16, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                 0xdc00 + ((c - 0x10000) & 0x3ff));
    else if (c < 0x20 || (c >= 0x80 && ascii))
        snprintf(text, 16, "\\u%04x", c);
    else
        return NULL;
    return text;
}

static bool write_string(const writer *w, const chat_string *s) {
    char text[16];
    size_t begin = 0, length;
    if (!put(w, "\"", 1)) return false;
    for (size_t at = 0; at < s->n; at += length) {
        const uint32_t c = unicode_at(s->text + at, s->n - at, &length);
        const char *escape = escape_of(c, w->style->ascii, text);
        if (!escape) continue;
        if (!chat_put_slice(w->out, s, begin, at)) return false;
        if (!chat_put(w->out, escape, strlen(escape), chat_origin_at(s, at))) return false;
        begin = at + length;
    }
    return chat_put_slice(w->out, s, begin, s->n) && put(w, "\"", 1);
}

/* ---- lists and maps ---- */

static bool write_value(writer *w, const chat_value *v);

/* What stands between two items, or in front of the first, or behind the last. */
static bool put_gap(const writer *w, bool first, bool last) {
    static const char blanks[] = "                ";
    const chat_json_style *style = w->style;
    const bool lines = style->indent >= 0;
    if (!first && !last && style->item && !chat_put_string(w->out, style->item)) return false;
    if (!first && !last && !style->item && !put_word(w, lines ? "," : ", ")) return false;
    if (!lines) return true;
    if (!put(w, "\n", 1)) return false;
    int64_t n = (int64_t)style->indent * (w->level - last);
    for (; n > 0; n -= 16)
        if (!put(w, blanks, n < 16 ? (size_t)n : 16)) return false;
    return true;
}

static bool write_list(writer *w, const chat_list *list) {
    if (list->form > CHAT_FORM_TUPLE)
        return chat_fail(w->out->heap, NUT_E_CHAT,
                         "an iterator cannot be written as JSON: apply list to it first");
    if (list->n == 0) return put_word(w, "[]");
    if (!put(w, "[", 1)) return false;
    w->level++;
    for (uint32_t i = 0; i < list->n; i++)
        if (!put_gap(w, i == 0, false) || !write_value(w, &list->items[i])) return false;
    if (!put_gap(w, false, true)) return false;
    w->level--;
    return put(w, "]", 1);
}

/* A key that is no string is written as one. */
static bool write_key(writer *w, const chat_value *key) {
    if (key->kind == CHAT_STRING) return write_string(w, key->s);
    if (key->kind > CHAT_FLOAT || key->kind == CHAT_UNDEFINED)
        return chat_fail(w->out->heap, NUT_E_CHAT, "a key of JSON must be a text or a number");
    return put(w, "\"", 1) && write_value(w, key) && put(w, "\"", 1);
}

static int by_text(const void *a, const void *b) {
    const chat_entry *x = a, *y = b;
    const chat_string *s = x->key.s, *t = y->key.s;
    const int order = memcmp(s->text, t->text, s->n < t->n ? s->n : t->n);
    return order ? order : (s->n > t->n) - (s->n < t->n);
}

static bool sorted_entries(chat_heap *h, const chat_map *map, const chat_entry **out) {
    chat_entry *sorted = chat_alloc(h, map->n * sizeof *sorted);
    if (!sorted || !chat_spend(h, 1 + map->n)) return false;
    for (uint32_t i = 0; i < map->n; i++) {
        sorted[i] = map->entries[i];
        if (sorted[i].key.kind != CHAT_STRING)
            return chat_fail(h, NUT_E_CHAT, "only keys that are texts can be sorted");
        if (!chat_spend(h, 32 * (1 + sorted[i].key.s->n / CHAT_BYTES_A_STEP))) return false;
    }
    sort_rows(sorted, map->n, sizeof *sorted, by_text);
    *out = sorted;
    return true;
}

static bool write_entry(writer *w, const chat_entry *e) {
    if (!write_key(w, &e->key)) return false;
    const chat_string *colon = w->style->key;
    return (colon ? chat_put_string(w->out, colon) : put_word(w, ": ")) && write_value(w, &e->value);
}

static bool write_map(writer *w, const chat_map *map) {
    const chat_entry *entries = map->entries;
    if (map->is_namespace)
        return chat_fail(w->out->heap, NUT_E_CHAT, "a namespace cannot be written as JSON");
    if (map->n == 0) return put_word(w, "{}");
    if (w->style->sort_keys && !sorted_entries(w->out->heap, map, &entries)) return false;
    if (!put(w, "{", 1)) return false;
    w->level++;
    for (uint32_t i = 0; i < map->n; i++)
        if (!put_gap(w, i == 0, false) || !write_entry(w, &entries[i])) return false;
    if (!put_gap(w, false, true)) return false;
    w->level--;
    return put(w, "}", 1);
}

static bool write_number(const writer *w, const chat_value *v) {
    char text[NUMBER_BYTES];
    if (v->kind == CHAT_FLOAT && !isfinite(v->f))
        return put_word(w, isnan(v->f) ? "NaN" : v->f < 0 ? "-Infinity" : "Infinity");
    return put(w, text, v->kind == CHAT_INT ? number_put_int(text, v->i) : number_put_float(text, v->f));
}

static bool write_plain(writer *w, const chat_value *v) {
    switch ((chat_kind)v->kind) {
    case CHAT_NONE: return put_word(w, "null");
    case CHAT_BOOL: return put_word(w, v->b ? "true" : "false");
    case CHAT_INT:
    case CHAT_FLOAT: return write_number(w, v);
    case CHAT_STRING: return write_string(w, v->s);
    case CHAT_LIST: return write_list(w, v->list);
    case CHAT_MAP: return write_map(w, v->map);
    case CHAT_UNDEFINED: return chat_fail_undefined(w->out->heap, v);
    default: return chat_fail(w->out->heap, NUT_E_CHAT, "a function cannot be written as JSON");
    }
}

static bool write_value(writer *w, const chat_value *v) {
    if (!chat_spend(w->out->heap, 1) || !chat_enter(w->out->heap)) return false;
    const bool done = write_plain(w, v);
    chat_leave(w->out->heap);
    return done;
}

bool chat_json_write(chat_text *out, const chat_value *v, const chat_json_style *style) {
    writer w = {out, style, 0};
    return write_value(&w, v);
}
