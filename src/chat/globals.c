/* Functions that every template has. */
#include "chat/interpreter.h"
#include "chat/lists.h"

#include <string.h>

enum { MAX_RANGE = 100000 }; // as in Jinja2's sandbox

/* Adds the entries of the first argument, a mapping or pairs, and the named arguments. */
static bool fill(call *c, chat_value *map) {
    const chat_list *pairs;
    if (c->list->n > 1) return FAIL(c->r, "at most one argument is expected");
    const chat_value *first = c->list->n ? &c->list->items[0] : NULL;
    if (first && first->kind == CHAT_MAP) {
        for (uint32_t i = 0; i < first->map->n; i++)
            if (!chat_map_set(c->h, map, first->map->entries[i].key, first->map->entries[i].value))
                return false;
    } else if (first) {
        if (!value_items(c->r, first, &pairs)) return false;
        for (uint32_t i = 0; i < pairs->n; i++) {
            const chat_value *pair = &pairs->items[i];
            if (pair->kind != CHAT_LIST || pair->list->n != 2) return FAIL(c->r, "pairs are expected");
            if (!chat_map_set(c->h, map, pair->list->items[0], pair->list->items[1])) return false;
        }
    }
    for (uint32_t i = 0; c->named && i < c->named->n; i++)
        if (!chat_map_set(c->h, map, c->named->entries[i].key, c->named->entries[i].value)) return false;
    return true;
}

static bool do_dict(call *c, chat_value *out) {
    return chat_map_new(c->h, out) && fill(c, out);
}

static bool do_namespace(call *c, chat_value *out) {
    if (!do_dict(c, out)) return false;
    out->map->is_namespace = true;
    return true;
}

static bool do_range(call *c, chat_value *out) {
    int64_t from, to, step;
    if (!call_int(c, 0, 0, &from) || !call_int(c, 1, 0, &to) || !call_int(c, 2, 1, &step)) return false;
    for (int i = 0; i < 3; i++)
        if (call_given(&c->arg[i]) && c->arg[i].kind != CHAT_INT && c->arg[i].kind != CHAT_BOOL)
            return FAIL(c->r, "'%s' object cannot be interpreted as an integer",
                        value_kind_name(&c->arg[i]));
    if (!call_given(&c->arg[1])) to = from, from = 0;
    if (step == 0) return FAIL(c->r, "range() arg 3 must not be zero");
    const double n = ((double)to - (double)from) / (double)step;
    if (n > (double)MAX_RANGE) return FAIL(c->r, "Range too big: at most %d numbers are allowed", MAX_RANGE);
    uint8_t origin = CHAT_TEMPLATE;
    for (int i = 0; i < 3; i++)
        if (call_given(&c->arg[i]) && c->arg[i].origin == CHAT_DATA) origin = CHAT_DATA;
    const size_t room = n > 0 ? (size_t)n + 1 : 0;
    if (!chat_list_new(c->h, CHAT_FORM_RANGE, room, out)) return false;
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
        chat_value item = chat_int(i);
        item.origin = origin;
        if (!chat_spend(c->h, 1) || !chat_list_add(c->h, out, item)) return false;
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return true;
}

static bool do_raise(call *c, chat_value *out) {
    const chat_string *s;
    (void)out;
    if (!value_string(c->r, &c->arg[0], &s)) return false;
    return FAIL(c->r, "%.*s", s->n < 300 ? (int)s->n : 300, s->text);
}

static bool do_strftime_now(call *c, chat_value *out) {
    const chat_string *format = NULL;
    return call_text(c, 0, &format) && format_time(c->r, format, out);
}

/* Gives nothing when it is called first, and then its text. */
static bool joiner_next(call *c, chat_value *out) {
    chat_value used;
    const chat_value *text = chat_map_find(c->h, c->self.map, "text");
    if (!text) return false;
    if (chat_map_find(c->h, c->self.map, "used")) return *out = *text, true;
    return chat_string_of(c->h, "used", 4, CHAT_TEMPLATE, &used) &&
           chat_map_set(c->h, &c->self, used, used) && chat_string_of(c->h, "", 0, CHAT_TEMPLATE, out);
}

static bool do_joiner(call *c, chat_value *out) {
    static const builtin next = {"joiner", "", joiner_next};
    chat_value state, key, text = c->arg[0];
    if (!call_given(&text) && !chat_string_of(c->h, ", ", 2, CHAT_TEMPLATE, &text)) return false;
    return chat_map_new(c->h, &state) && chat_string_of(c->h, "text", 4, CHAT_TEMPLATE, &key) &&
           chat_map_set(c->h, &state, key, text) && call_bind(c->r, &next, state, out);
}

const builtin global_rows[] = {
    {"dict", "*", do_dict},
    {"joiner", "?sep", do_joiner},
    {"namespace", "*", do_namespace},
    {"raise_exception", "message", do_raise},
    {"range", "start ?stop step", do_range},
    {"strftime_now", "format", do_strftime_now},
    {0},
};
