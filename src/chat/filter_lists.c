/* Filters of lists and maps. */
#include "chat/lists.h"

#include <string.h>

static bool items_of(call *c, const chat_list **out) {
    return value_items(c->r, &c->self, out);
}

/* Filters that take others and tests look at no item of what counts as false, None too. */
static bool items_if_any(call *c, const chat_list **out) {
    static const chat_value none;
    return value_items(c->r, value_truth(&c->self) ? &c->self : &none, out);
}

/* ---- attributes: "a.b.0" ---- */

/* The value along a path of names and numbers; otherwise: what stands for an undefined one, or NULL. */
static bool along(run *r, chat_value v, const chat_value *path, const chat_value *otherwise,
                  chat_value *out) {
    *out = v;
    if (path->kind != CHAT_STRING) {
        if (path->kind == CHAT_NONE || !call_given(path)) return true;
        if (!value_item(r, &v, path, out)) return false;
        if (otherwise && out->kind == CHAT_UNDEFINED) *out = *otherwise;
        return true;
    }
    for (size_t at = 0, end; at <= path->s->n; at = end + 1) {
        const char *dot = at < path->s->n ? memchr(path->s->text + at, '.', path->s->n - at) : NULL;
        end = dot ? (size_t)(dot - path->s->text) : path->s->n;
        chat_value key;
        const chat_value whole = *out;
        int64_t number = 0;
        bool digits = end > at;
        for (size_t i = at; i < end; i++) {
            digits = digits && path->s->text[i] >= '0' && path->s->text[i] <= '9' && number < 1 << 24;
            if (digits) number = number * 10 + (path->s->text[i] - '0');
        }
        if (!chat_spend(r->h, 1) || !chat_slice(r->h, path->s, at, end, &key)) return false;
        if (digits) key = chat_int(number);
        if (!value_item(r, &whole, &key, out)) return false;
        if (otherwise && out->kind == CHAT_UNDEFINED) *out = *otherwise;
    }
    return true;
}

/* Texts are sorted and told apart without their case, unless a flag says otherwise. */
static bool sort_key(run *r, const chat_value *v, bool cased, chat_value *out) {
    *out = *v;
    return cased || v->kind != CHAT_STRING || string_case_of(r, v->s, CASE_LOWER, out);
}

/* ---- one of a list, or a number ---- */

static bool do_length(call *c, chat_value *out) {
    *out = chat_int(0);
    return value_length(c->r, &c->self, &out->i);
}

static bool do_first(call *c, chat_value *out) {
    const chat_list *items;
    if (c->self.kind == CHAT_STRING && c->self.s->n)
        return chat_slice(c->h, c->self.s, 0, string_next(c->self.s, 0), out);
    if (!items_of(c, &items)) return false;
    *out = items->n ? items->items[0] : chat_undefined(NULL);
    return true;
}

static bool do_last(call *c, chat_value *out) {
    const chat_list *items;
    if (!items_of(c, &items)) return false;
    *out = items->n ? items->items[items->n - 1] : chat_undefined(NULL);
    return true;
}

static bool extreme(call *c, int wanted, chat_value *out) {
    const chat_list *items;
    chat_value best = chat_none(), key;
    *out = chat_undefined(NULL);
    if (!items_of(c, &items)) return false;
    for (uint32_t i = 0; i < items->n; i++) {
        int order = wanted;
        if (!along(c->r, items->items[i], &c->arg[1], NULL, &key) ||
            !sort_key(c->r, &key, call_flag(c, 0, false), &key))
            return false;
        if (i && !value_order(c->r, &key, &best, &order)) return false;
        if (i && (order == 0 || (order > 0) != (wanted > 0))) continue;
        best = key;
        *out = items->items[i];
    }
    return true;
}
static bool do_min(call *c, chat_value *out) {
    return extreme(c, -1, out);
}
static bool do_max(call *c, chat_value *out) {
    return extreme(c, 1, out);
}

static bool do_sum(call *c, chat_value *out) {
    const chat_list *items;
    *out = call_given(&c->arg[1]) ? c->arg[1] : chat_int(0);
    if (!items_of(c, &items)) return false;
    for (uint32_t i = 0; i < items->n; i++) {
        chat_value v;
        const chat_value sum = *out;
        if (!along(c->r, items->items[i], &c->arg[0], NULL, &v) || !value_operate(c->r, '+', &sum, &v, out))
            return false;
    }
    return true;
}

static bool do_join(call *c, chat_value *out) {
    static const chat_string nothing = {"", NULL, 0, CHAT_TEMPLATE};
    const chat_string *between = &nothing;
    const chat_list *items;
    chat_value list;
    if (call_given(&c->arg[0]) && !value_string(c->r, &c->arg[0], &between)) return false;
    if (!items_of(c, &items)) return false;
    if (!call_given(&c->arg[1]) || c->arg[1].kind == CHAT_NONE)
        return string_join(c->r, between, items, true, out);
    if (!chat_list_new(c->h, CHAT_FORM_LIST, 0, &list)) return false;
    for (uint32_t i = 0; i < items->n; i++) {
        chat_value v;
        if (!along(c->r, items->items[i], &c->arg[1], NULL, &v) || !chat_list_add(c->h, &list, v))
            return false;
    }
    return string_join(c->r, between, list.list, true, out);
}

/* ---- lists of lists ---- */

static bool copy(call *c, const chat_list *items, chat_form form, chat_value *out) {
    if (!chat_list_new(c->h, form, items->n, out)) return false;
    if (items->n) memcpy(out->list->items, items->items, items->n * sizeof *items->items);
    out->list->n = items->n;
    return true;
}

static bool do_list(call *c, chat_value *out) {
    const chat_list *items;
    return items_of(c, &items) && copy(c, items, CHAT_FORM_LIST, out);
}

static bool do_items(call *c, chat_value *out) {
    if (c->self.kind == CHAT_UNDEFINED) return chat_list_new(c->h, CHAT_FORM_ITERATOR, 0, out);
    if (c->self.kind != CHAT_MAP) return FAIL(c->r, "Can only get item pairs from a mapping.");
    return map_pairs(c->r, c->self.map, CHAT_FORM_ITERATOR, out);
}

static bool do_reverse(call *c, chat_value *out) {
    const chat_list *items;
    const chat_value none = chat_none(), back = chat_int(-1);
    if (c->self.kind == CHAT_STRING) return value_slice(c->r, &c->self, &none, &none, &back, out);
    if (!items_of(c, &items) || !chat_list_new(c->h, CHAT_FORM_ITERATOR, items->n, out)) return false;
    for (uint32_t i = items->n; i > 0; i--)
        if (!chat_list_add(c->h, out, items->items[i - 1])) return false;
    return true;
}

/* Lists of `size` items, the last filled up. */
static bool do_batch(call *c, chat_value *out) {
    const chat_list *items;
    int64_t size;
    chat_value part;
    if (!items_of(c, &items) || !call_int(c, 0, 1, &size) ||
        !chat_list_new(c->h, CHAT_FORM_ITERATOR, 0, out))
        return false;
    if (size < 1 || size > 1 << 20) return FAIL(c->r, "batch takes a size of at least 1");
    for (int64_t i = 0; i < items->n; i += size) {
        if (!chat_list_new(c->h, CHAT_FORM_LIST, 0, &part)) return false;
        for (int64_t k = i; k < i + size; k++) {
            const bool fill = k >= items->n;
            if (fill && (!call_given(&c->arg[1]) || c->arg[1].kind == CHAT_NONE)) break;
            if (!chat_list_add(c->h, &part, fill ? c->arg[1] : items->items[k])) return false;
        }
        if (!chat_list_add(c->h, out, part)) return false;
    }
    return true;
}

/* So many lists, the first ones longer by one. */
static bool do_slice(call *c, chat_value *out) {
    const chat_list *items;
    int64_t n;
    uint32_t at = 0;
    chat_value part;
    if (!items_of(c, &items) || !call_int(c, 0, 1, &n) || !chat_list_new(c->h, CHAT_FORM_ITERATOR, 0, out))
        return false;
    if (n < 1 || n > 1 << 20) return FAIL(c->r, "slice takes a number of at least 1");
    for (int64_t i = 0; i < n; i++) {
        const uint32_t each = items->n / (uint32_t)n, more = items->n % (uint32_t)n;
        if (!chat_list_new(c->h, CHAT_FORM_LIST, 0, &part)) return false;
        for (uint32_t k = 0; k < each + (i < more); k++)
            if (!chat_list_add(c->h, &part, items->items[at++])) return false;
        const bool fill = call_given(&c->arg[1]) && c->arg[1].kind != CHAT_NONE && i >= more && more;
        if (fill && !chat_list_add(c->h, &part, c->arg[1])) return false;
        if (!chat_list_add(c->h, out, part)) return false;
    }
    return true;
}

/* ---- sorted ---- */

/* Keys and items in turn, sorted; each key is along `path`. */
static bool sorted_pairs(call *c, const chat_list *items, const chat_value *path, bool cased, bool backwards,
                         chat_value *out) {
    if (!chat_list_new(c->h, CHAT_FORM_LIST, 2 * (size_t)items->n, out)) return false;
    for (uint32_t i = 0; i < items->n; i++) {
        chat_value key;
        if (!along(c->r, items->items[i], path, NULL, &key) || !sort_key(c->r, &key, cased, &key))
            return false;
        if (!chat_list_add(c->h, out, key) || !chat_list_add(c->h, out, items->items[i])) return false;
    }
    return list_sort(c->r, out->list->items, items->n, backwards);
}

/* The second of each pair. */
static bool seconds(call *c, const chat_list *pairs, chat_value *out) {
    if (!chat_list_new(c->h, CHAT_FORM_LIST, pairs->n / 2, out)) return false;
    for (uint32_t i = 1; i < pairs->n; i += 2)
        if (!chat_list_add(c->h, out, pairs->items[i])) return false;
    return true;
}

static bool do_sort(call *c, chat_value *out) {
    const chat_list *items;
    chat_value pairs;
    return items_of(c, &items) &&
           sorted_pairs(c, items, &c->arg[2], call_flag(c, 1, false), call_flag(c, 0, false), &pairs) &&
           seconds(c, pairs.list, out);
}

static bool do_dictsort(call *c, chat_value *out) {
    chat_value items, pairs;
    const bool by_value = call_given(&c->arg[1]) && chat_equal_text(&c->arg[1], "value");
    if (c->self.kind == CHAT_UNDEFINED) return chat_fail_undefined(c->h, &c->self);
    if (c->self.kind != CHAT_MAP)
        return FAIL(c->r, "'%s' object has no attribute 'items'", value_kind_name(&c->self));
    if (call_given(&c->arg[1]) && !by_value && !chat_equal_text(&c->arg[1], "key"))
        return FAIL(c->r, "You can only sort by either \"key\" or \"value\"");
    const chat_value place = chat_int(by_value);
    return map_pairs(c->r, c->self.map, CHAT_FORM_LIST, &items) &&
           sorted_pairs(c, items.list, &place, call_flag(c, 0, false), call_flag(c, 2, false), &pairs) &&
           seconds(c, pairs.list, out);
}

static bool do_groupby(call *c, chat_value *out) {
    const chat_list *items;
    chat_value pairs, group = chat_none(), list, first = chat_none();
    if (!items_of(c, &items) || !sorted_pairs(c, items, &c->arg[0], call_flag(c, 2, false), false, &pairs))
        return false;
    if (!chat_list_new(c->h, CHAT_FORM_LIST, 0, out)) return false;
    for (uint32_t i = 0; i < pairs.list->n; i += 2) {
        const chat_value *key = &pairs.list->items[i], *item = key + 1;
        if (i == 0 || !chat_equal(c->h, key, &group)) {
            if (!along(c->r, *item, &c->arg[0], NULL, &first) ||
                !chat_list_new(c->h, CHAT_FORM_LIST, 0, &list))
                return false;
            chat_value pair;
            if (!tuple_of(c->r, first, list, &pair) || !chat_list_add(c->h, out, pair)) return false;
            group = *key;
        }
        if (!chat_list_add(c->h, &list, *item)) return false;
    }
    return c->h->status == NUT_OK;
}

static bool do_unique(call *c, chat_value *out) {
    const chat_list *items;
    chat_value seen;
    if (!items_of(c, &items) || !chat_map_new(c->h, &seen) ||
        !chat_list_new(c->h, CHAT_FORM_ITERATOR, 0, out))
        return false;
    for (uint32_t i = 0; i < items->n; i++) {
        chat_value key;
        if (!along(c->r, items->items[i], &c->arg[1], NULL, &key) ||
            !sort_key(c->r, &key, call_flag(c, 0, false), &key))
            return false;
        const uint32_t before = seen.map->n;
        if (!chat_map_set(c->h, &seen, key, chat_none())) return false;
        if (seen.map->n > before && !chat_list_add(c->h, out, items->items[i])) return false;
    }
    return true;
}

/* ---- with another filter or a test ---- */

/* The arguments from the n-th on. */
static bool rest(call *c, uint32_t n, chat_value *out) {
    if (!chat_list_new(c->h, CHAT_FORM_TUPLE, 0, out)) return false;
    for (uint32_t i = n; i < c->list->n; i++)
        if (!chat_list_add(c->h, out, c->list->items[i])) return false;
    return true;
}

static const chat_value *named(call *c, const char *name) {
    return c->named ? chat_map_find(c->h, c->named, name) : NULL;
}

static bool do_map(call *c, chat_value *out) {
    const chat_list *items;
    chat_value args;
    const chat_value *path = c->list->n == 0 ? named(c, "attribute") : NULL, *standard = named(c, "default");
    if (!items_if_any(c, &items) || !chat_list_new(c->h, CHAT_FORM_ITERATOR, 0, out) || !rest(c, 1, &args))
        return false;
    if (!path && (c->list->n == 0 || c->list->items[0].kind != CHAT_STRING))
        return FAIL(c->r, "map requires a filter argument");
    for (uint32_t i = 0; i < items->n; i++) {
        chat_value v;
        const chat_value item = items->items[i];
        if (!(path ? along(c->r, item, path, standard, &v)
                   : filter_call(c->r, c->list->items[0].s, item, args.list, c->named, &v)))
            return false;
        if (!chat_list_add(c->h, out, v)) return false;
    }
    return true;
}

/* Keeps what a test (or its truth) says of each item, or of its attribute, which is the first argument. */
static bool choose(call *c, bool attribute, bool keep, chat_value *out) {
    const chat_list *items;
    chat_value args;
    const uint32_t test = attribute;
    if (!items_if_any(c, &items) || !chat_list_new(c->h, CHAT_FORM_ITERATOR, 0, out) ||
        !rest(c, test + 1, &args))
        return false;
    if (c->list->n < test) return FAIL(c->r, "the name of an attribute is missing");
    const chat_value *name = c->list->n > test ? &c->list->items[test] : NULL;
    if (name && name->kind != CHAT_STRING) return FAIL(c->r, "the name of a test must be a text");
    for (uint32_t i = 0; i < items->n; i++) {
        chat_value v = items->items[i];
        if (attribute && !along(c->r, items->items[i], &c->list->items[0], NULL, &v)) return false;
        bool holds = value_truth(&v);
        if (name && !test_call(c->r, name->s, v, args.list, c->named, &holds)) return false;
        if (holds == keep && !chat_list_add(c->h, out, items->items[i])) return false;
    }
    return true;
}
static bool do_select(call *c, chat_value *out) {
    return choose(c, false, true, out);
}
static bool do_reject(call *c, chat_value *out) {
    return choose(c, false, false, out);
}
static bool do_selectattr(call *c, chat_value *out) {
    return choose(c, true, true, out);
}
static bool do_rejectattr(call *c, chat_value *out) {
    return choose(c, true, false, out);
}

const builtin filter_list_rows[] = {
    {"batch", "linecount ?fill_with", do_batch},
    {"count", "", do_length},
    {"dictsort", "?case_sensitive by reverse", do_dictsort},
    {"first", "", do_first},
    {"groupby", "attribute ?default case_sensitive", do_groupby},
    {"items", "", do_items},
    {"join", "?d attribute", do_join},
    {"last", "", do_last},
    {"length", "", do_length},
    {"list", "", do_list},
    {"map", "*", do_map},
    {"max", "?case_sensitive attribute", do_max},
    {"min", "?case_sensitive attribute", do_min},
    {"reject", "*", do_reject},
    {"rejectattr", "*", do_rejectattr},
    {"reverse", "", do_reverse},
    {"select", "*", do_select},
    {"selectattr", "*", do_selectattr},
    {"slice", "slices ?fill_with", do_slice},
    {"sort", "?reverse case_sensitive attribute", do_sort},
    {"sum", "?attribute start", do_sum},
    {"unique", "?case_sensitive attribute", do_unique},
    {0},
};
