/* Values as texts, as Python's str and repr write them. */
#include "chat/interpreter.h"
#include "chat/number.h"
#include "model/unicode.h"

#include <stdio.h>
#include <string.h>

/* What Python puts around values counts as data, so that no mark of a template's is made of it. */
static bool put(chat_text *t, const char *text) {
    return chat_put(t, text, strlen(text), CHAT_DATA);
}

/* The escape of a character in a repr, or NULL. */
static const char *escape_of(uint32_t c, bool invalid, char quote, char text[16]) {
    if (c == '\n' || c == '\r' || c == '\t')
        snprintf(text, 16, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (c == '\\' || c == (uint8_t)quote)
        snprintf(text, 16, "\\%c", (char)c);
    else if (c < 0x20 || (c >= 0x7f && c < 0xa1) || c == 0xad)
        snprintf(text, 16, "\\x%02x", c);
    else if (c < 128 || invalid ||
             (unicode_class_of(c) != UNICODE_OTHER && unicode_class_of(c) != UNICODE_SPACE))
        return NULL;
    else
        snprintf(text, 16, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    return text;
}

static bool put_quoted(chat_text *t, const chat_string *s) {
    const bool single = s->n && memchr(s->text, '\'', s->n), twice = s->n && memchr(s->text, '"', s->n);
    const char quote = single && !twice ? '"' : '\'', around[2] = {quote, '\0'};
    size_t begin = 0, length;
    char text[16];
    if (!put(t, around)) return false;
    for (size_t at = 0; at < s->n; at += length) {
        const uint32_t c = unicode_at(s->text + at, s->n - at, &length);
        const char *escape = escape_of(c, c == 0xfffd, quote, text);
        if (!escape) continue;
        if (!chat_put_slice(t, s, begin, at) || !chat_put(t, escape, strlen(escape), chat_origin_at(s, at)))
            return false;
        begin = at + length;
    }
    return chat_put_slice(t, s, begin, s->n) && put(t, around);
}

static bool put_items(run *r, const chat_list *list, chat_text *t) {
    static const char *const open[] = {"[", "(", "", "[", "dict_keys([", "dict_values([", "dict_items(["};
    static const char *const close[] = {"]", ")", "", "]", "])", "])", "])"};
    if (list->form == CHAT_FORM_ITERATOR) return put(t, "<generator object>");
    if (list->form == CHAT_FORM_RANGE) {
        char text[64];
        const int64_t first = list->n ? list->items[0].i : 0,
                      step = list->n > 1 ? list->items[1].i - first : 1;
        snprintf(text, sizeof text, step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)",
                 (long long)first, (long long)(first + step * list->n), (long long)step);
        return put(t, text);
    }
    if (!put(t, open[list->form])) return false;
    for (uint32_t i = 0; i < list->n; i++)
        if ((i && !put(t, ", ")) || !value_repr(r, &list->items[i], t)) return false;
    if (list->form == CHAT_FORM_TUPLE && list->n == 1 && !put(t, ",")) return false;
    return put(t, close[list->form]);
}

static bool put_entries(run *r, const chat_map *map, chat_text *t) {
    if (!put(t, map->is_namespace ? "<Namespace {" : "{")) return false;
    for (uint32_t i = 0; i < map->n; i++) {
        const chat_entry *e = &map->entries[i];
        if ((i && !put(t, ", ")) || !value_repr(r, &e->key, t) || !put(t, ": ") ||
            !value_repr(r, &e->value, t))
            return false;
    }
    return put(t, map->is_namespace ? "}>" : "}");
}

static bool put_number(const chat_value *v, chat_text *t) {
    char text[NUMBER_BYTES];
    const size_t n = v->kind == CHAT_INT ? number_put_int(text, v->i) : number_put_float(text, v->f);
    return chat_put(t, text, n, (chat_origin)v->origin);
}

static bool put_plain(run *r, const chat_value *v, chat_text *t) {
    switch ((chat_kind)v->kind) {
    case CHAT_UNDEFINED: return true;
    case CHAT_NONE: return put(t, "None");
    case CHAT_BOOL: return put(t, v->b ? "True" : "False");
    case CHAT_INT:
    case CHAT_FLOAT: return put_number(v, t);
    case CHAT_STRING: return put_quoted(t, v->s);
    case CHAT_LIST: return put_items(r, v->list, t);
    case CHAT_MAP: return put_entries(r, v->map, t);
    default: return put(t, v->function->kind == FUNCTION_MACRO ? "<Macro>" : "<function>");
    }
}

bool value_repr(run *r, const chat_value *v, chat_text *t) {
    if (!chat_spend(r->h, 1) || !chat_enter(r->h)) return false;
    const bool done = v->kind == CHAT_UNDEFINED ? put(t, "Undefined") : put_plain(r, v, t);
    chat_leave(r->h);
    return done;
}

bool value_print(run *r, const chat_value *v, chat_text *t) {
    if (v->kind == CHAT_STRING) return chat_put_string(t, v->s);
    if (v->kind == CHAT_UNDEFINED) return true;
    return value_repr(r, v, t);
}

bool value_string(run *r, const chat_value *v, const chat_string **out) {
    chat_text t = {.heap = r->h};
    chat_value s = *v;
    if (v->kind != CHAT_STRING && (!value_print(r, v, &t) || !chat_text_end(&t, &s))) return false;
    *out = s.s;
    return true;
}
