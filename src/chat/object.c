/* What is inside of values: attributes, items, slices, what a loop goes through, truth. */
#include "chat/interpreter.h"

#include <string.h>

const char *value_kind_name(const chat_value *v) {
    static const char *const names[CHAT_KINDS] = {"Undefined", "NoneType", "bool", "int",     "float",
                                                  "str",       "list",     "dict", "function"};
    static const char *const forms[] = {"list",      "tuple",       "generator", "range",
                                        "dict_keys", "dict_values", "dict_items"};
    if (v->kind == CHAT_LIST) return forms[v->list->form];
    return v->kind == CHAT_MAP && v->map->is_namespace ? "Namespace" : names[v->kind];
}

bool value_truth(const chat_value *v) {
    switch ((chat_kind)v->kind) {
    case CHAT_UNDEFINED:
    case CHAT_NONE: return false;
    case CHAT_BOOL: return v->b;
    case CHAT_INT: return v->i != 0;
    case CHAT_FLOAT: return v->f != 0;
    case CHAT_STRING: return v->s->n > 0;
    case CHAT_LIST: return v->list->n > 0 || v->list->form == CHAT_FORM_ITERATOR;
    case CHAT_MAP: return v->map->n > 0 || v->map->is_namespace;
    default: return true;
    }
}

bool value_length(run *r, const chat_value *v, int64_t *out) {
    if (v->kind == CHAT_STRING) return string_length(r, v->s, out);
    if (v->kind == CHAT_UNDEFINED) return *out = 0, true;
    if (v->kind == CHAT_LIST && v->list->form != CHAT_FORM_ITERATOR) return *out = v->list->n, true;
    if (v->kind == CHAT_MAP && !v->map->is_namespace) return *out = v->map->n, true;
    return FAIL(r, "object of type '%s' has no len()", value_kind_name(v));
}

/* ---- loops ---- */

static bool characters(run *r, const chat_string *s, chat_value *out) {
    for (size_t at = 0, next; at < s->n; at = next) {
        chat_value c;
        next = string_next(s, at);
        if (!chat_spend(r->h, 1) || !chat_slice(r->h, s, at, next, &c) || !chat_list_add(r->h, out, c))
            return false;
    }
    return true;
}

bool value_items(run *r, const chat_value *v, const chat_list **out) {
    static const chat_list none;
    chat_value list;
    *out = &none;
    if (v->kind == CHAT_UNDEFINED) return true;
    if (v->kind == CHAT_LIST) {
        if (!v->list->over) *out = v->list;
        v->list->over = v->list->form == CHAT_FORM_ITERATOR;
        return chat_spend(r->h, 1);
    }
    if (v->kind != CHAT_STRING && (v->kind != CHAT_MAP || v->map->is_namespace))
        return FAIL(r, "'%s' object is not iterable", value_kind_name(v));
    if (!chat_list_new(r->h, CHAT_FORM_LIST, 0, &list)) return false;
    *out = list.list;
    if (v->kind == CHAT_STRING) return characters(r, v->s, &list);
    for (uint32_t i = 0; i < v->map->n; i++)
        if (!chat_spend(r->h, 1) || !chat_list_add(r->h, &list, v->map->entries[i].key)) return false;
    return true;
}

/* ---- attributes and items ---- */

static chat_value text_value(const chat_string *s) {
    return (chat_value){.kind = CHAT_STRING, .s = s};
}

/* The value that a map has for a key; false: it has none, or the heap failed. */
static bool in_map(run *r, const chat_value *v, const chat_value *key, chat_value *out) {
    if (v->kind != CHAT_MAP) return false;
    if (key->kind > CHAT_STRING || key->kind == CHAT_UNDEFINED) {
        const bool tuple = key->kind == CHAT_LIST && key->list->form == CHAT_FORM_TUPLE;
        if (!tuple) return false;
    }
    const chat_value *found = chat_map_get(r->h, v->map, *key);
    if (found) *out = *found;
    return found != NULL;
}

/* A method, or what a loop tells; false: neither, or the heap failed. */
static bool own_attribute(run *r, const chat_value *v, const chat_string *name, chat_value *out) {
    bool unsafe = false;
    if (v->kind == CHAT_FUNCTION)
        return v->function->kind == FUNCTION_LOOP && loop_attribute(r, v, name, out);
    if (v->kind == CHAT_MAP && v->map->is_namespace) return false;
    const builtin *method = method_find(v, name, &unsafe);
    if (unsafe) return *out = chat_undefined(name), true;
    return method && call_bind(r, method, *v, out);
}

bool value_own_attribute(run *r, const chat_value *v, const chat_string *name, chat_value *out) {
    if (!own_attribute(r, v, name, out)) *out = chat_undefined(name);
    return r->h->status == NUT_OK;
}

bool value_attribute(run *r, const chat_value *v, const chat_string *name, chat_value *out) {
    const chat_value key = text_value(name);
    if (v->kind == CHAT_UNDEFINED) return chat_fail_undefined(r->h, v);
    if (own_attribute(r, v, name, out) || in_map(r, v, &key, out)) return true;
    *out = chat_undefined(name);
    return r->h->status == NUT_OK;
}

static bool character(run *r, const chat_string *s, int64_t i, chat_value *out) {
    size_t at;
    int64_t n;
    if (i < 0 && (!string_length(r, s, &n) || (i += n) < 0)) return false;
    if (!string_offset(r, s, i, &at) || at >= s->n) return false;
    return chat_slice(r->h, s, at, string_next(s, at), out);
}

/* The item at an index; false: there is none, or the heap failed. */
static bool indexed(run *r, const chat_value *v, const chat_value *key, chat_value *out) {
    if (key->kind != CHAT_INT && key->kind != CHAT_BOOL) return false;
    int64_t i = key->kind == CHAT_INT ? key->i : key->b;
    if (v->kind == CHAT_STRING) return character(r, v->s, i, out);
    if (v->kind != CHAT_LIST || (v->list->form > CHAT_FORM_TUPLE && v->list->form != CHAT_FORM_RANGE))
        return false;
    if (i < 0) i += v->list->n;
    if (i < 0 || i >= v->list->n) return false;
    *out = v->list->items[i];
    return true;
}

bool value_item(run *r, const chat_value *v, const chat_value *key, chat_value *out) {
    if (v->kind == CHAT_UNDEFINED) return chat_fail_undefined(r->h, v);
    if (indexed(r, v, key, out) || in_map(r, v, key, out)) return true;
    if (r->h->status != NUT_OK) return false;
    if (key->kind == CHAT_STRING && own_attribute(r, v, key->s, out)) return true;
    *out = chat_undefined(key->kind == CHAT_STRING ? key->s : NULL);
    return r->h->status == NUT_OK;
}

/* ---- slices ---- */

typedef struct range {
    int64_t from, to, step;
} range;

static int64_t clamp(int64_t i, int64_t n, int64_t least, int64_t most) {
    if (i < 0) i = i < -n ? -1 : i + n;
    return i < least ? least : i > most ? most : i;
}

static bool slice_index(run *r, const chat_value *v, int64_t otherwise, int64_t *out) {
    *out = otherwise;
    if (v->kind == CHAT_NONE) return true;
    if (v->kind != CHAT_INT && v->kind != CHAT_BOOL)
        return FAIL(r, "slice indices must be integers or None, not '%s'", value_kind_name(v));
    *out = v->kind == CHAT_INT ? v->i : v->b;
    return true;
}

/* Python's rules for the indices of a slice of n items. */
static bool resolve(run *r, const chat_value *from, const chat_value *to, const chat_value *step, int64_t n,
                    range *out) {
    if (!slice_index(r, step, 1, &out->step)) return false;
    if (out->step == 0) return FAIL(r, "slice step cannot be zero");
    const bool back = out->step < 0;
    const int64_t least = back ? -1 : 0, most = back ? n - 1 : n;
    if (!slice_index(r, from, 0, &out->from) || !slice_index(r, to, 0, &out->to)) return false;
    out->from = from->kind == CHAT_NONE ? (back ? n - 1 : 0) : clamp(out->from, n, least, most);
    out->to = to->kind == CHAT_NONE ? (back ? -1 : n) : clamp(out->to, n, least, most);
    if (out->step > n) out->step = n + 1;
    if (out->step < -n) out->step = -n - 1;
    return true;
}

static bool slice_list(run *r, const chat_value *v, range g, chat_value *out) {
    if (!chat_list_new(r->h, (chat_form)v->list->form, 0, out)) return false;
    for (int64_t i = g.from; g.step > 0 ? i < g.to : i > g.to; i += g.step)
        if (!chat_spend(r->h, 1) || !chat_list_add(r->h, out, v->list->items[i])) return false;
    return true;
}

/* Every step-th character; most slices are a range of bytes. */
static bool slice_string(run *r, const chat_string *s, range g, chat_value *out) {
    size_t from, to;
    chat_text t = {.heap = r->h};
    const chat_list *all;
    const chat_value whole = text_value(s);
    if (g.step == 1) {
        if (g.to < g.from) g.to = g.from;
        if (!string_offset(r, s, g.from, &from) || !string_offset(r, s, g.to, &to)) return false;
        return chat_slice(r->h, s, from, to, out);
    }
    if (!value_items(r, &whole, &all)) return false;
    for (int64_t i = g.from; g.step > 0 ? i < g.to : i > g.to; i += g.step)
        if (!chat_put_string(&t, all->items[i].s)) return false;
    return chat_text_end(&t, out);
}

bool value_slice(run *r, const chat_value *v, const chat_value *from, const chat_value *to,
                 const chat_value *step, chat_value *out) {
    range g = {0};
    int64_t n;
    if (v->kind == CHAT_UNDEFINED) return chat_fail_undefined(r->h, v);
    const bool list =
        v->kind == CHAT_LIST && (v->list->form <= CHAT_FORM_TUPLE || v->list->form == CHAT_FORM_RANGE);
    if (!list && v->kind != CHAT_STRING) return FAIL(r, "'%s' object cannot be sliced", value_kind_name(v));
    if (!value_length(r, v, &n) || !resolve(r, from, to, step, n, &g)) return false;
    return list ? slice_list(r, v, g, out) : slice_string(r, v->s, g, out);
}
