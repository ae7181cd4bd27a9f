/* Expressions: a function for each kind. */
#include "chat/interpreter.h"

/* ---- literals ---- */

static bool do_const(run *r, const node *n, scope *s, chat_value *out) {
    (void)r, (void)s;
    *out = n->value;
    return true;
}

static bool do_name(run *r, const node *n, scope *s, chat_value *out) {
    return scope_get(r, s, &n->value, out);
}

static bool do_list(run *r, const node *n, scope *s, chat_value *out) {
    if (!chat_list_new(r->h, n->kind == NODE_LIST ? CHAT_FORM_LIST : CHAT_FORM_TUPLE, 0, out)) return false;
    for (const node *item = n->a; item; item = item->next) {
        chat_value v;
        if (!run_value(r, item, s, &v) || !chat_list_add(r->h, out, v)) return false;
    }
    return true;
}

static bool do_dict(run *r, const node *n, scope *s, chat_value *out) {
    if (!chat_map_new(r->h, out)) return false;
    for (const node *key = n->a; key; key = key->next->next) {
        chat_value k, v;
        if (!run_value(r, key, s, &k) || !run_value(r, key->next, s, &v)) return false;
        if (!chat_map_set(r->h, out, k, v)) return false;
    }
    return true;
}

/* ---- operators ---- */

/* "a or b and c" gives one of the values, not a bool. */
static bool logic(run *r, const node *n, scope *s, chat_value *out) {
    for (const node *link = n->b; link; link = link->next) {
        if (value_truth(out) == (link->op == OP_OR)) return true;
        if (!run_value(r, link->a, s, out)) return false;
    }
    return true;
}

static bool is_comparison(uint16_t op) {
    return op == OP_IN || op == OP_NOT_IN || op == '<' || op == '>' || (op & 255) == '=';
}

/* "a < b < c" compares a and b, and b and c. */
static bool comparisons(run *r, const node *n, scope *s, chat_value *out) {
    chat_value left = *out;
    for (const node *link = n->b; link; link = link->next) {
        chat_value right;
        bool holds;
        if (!run_value(r, link->a, s, &right)) return false;
        r->at = link->at;
        if (!value_compare(r, link->op, &left, &right, &holds)) return false;
        *out = chat_bool(holds);
        if (!holds) return true;
        left = right;
    }
    return true;
}

static bool do_chain(run *r, const node *n, scope *s, chat_value *out) {
    if (!run_value(r, n->a, s, out)) return false;
    if (n->b->op == OP_OR || n->b->op == OP_AND) return logic(r, n, s, out);
    if (is_comparison(n->b->op)) return comparisons(r, n, s, out);
    for (const node *link = n->b; link; link = link->next) {
        chat_value right, left = *out;
        if (!run_value(r, link->a, s, &right)) return false;
        r->at = link->at;
        if (!value_operate(r, link->op, &left, &right, out)) return false;
    }
    return true;
}

static bool do_not(run *r, const node *n, scope *s, chat_value *out) {
    if (!run_value(r, n->a, s, out)) return false;
    *out = chat_bool(!value_truth(out));
    return true;
}

static bool do_sign(run *r, const node *n, scope *s, chat_value *out) {
    chat_value v;
    const chat_value zero = chat_int(0);
    if (!run_value(r, n->a, s, &v)) return false;
    r->at = n->at;
    if (v.kind == CHAT_FLOAT && n->kind == NODE_NEGATE) return *out = v, out->f = -v.f, true;
    return value_operate(r, n->kind == NODE_NEGATE ? '-' : '+', &zero, &v, out);
}

static bool do_if_else(run *r, const node *n, scope *s, chat_value *out) {
    if (!run_value(r, n->a, s, out)) return false;
    if (value_truth(out)) return run_value(r, n->b, s, out);
    if (n->c) return run_value(r, n->c, s, out);
    *out = chat_undefined(NULL);
    return true;
}

/* ---- behind a value ---- */

static bool add_star(run *r, const chat_value *v, chat_value *list) {
    const chat_list *items;
    if (!value_items(r, v, &items)) return false;
    for (uint32_t i = 0; i < items->n; i++)
        if (!chat_list_add(r->h, list, items->items[i])) return false;
    return true;
}

static bool add_named(run *r, const chat_value *v, chat_value *named) {
    if (v->kind != CHAT_MAP) return FAIL(r, "what stands behind ** must be a mapping");
    for (uint32_t i = 0; i < v->map->n; i++)
        if (!chat_map_set(r->h, named, v->map->entries[i].key, v->map->entries[i].value)) return false;
    return true;
}

/* The values of arguments; named is none where there are none. */
static bool arguments(run *r, const node *first, scope *s, chat_value *list, chat_value *named) {
    *named = chat_none();
    if (!chat_list_new(r->h, CHAT_FORM_TUPLE, 0, list)) return false;
    for (const node *n = first; n; n = n->next) {
        chat_value v;
        if (!run_value(r, n->a, s, &v)) return false;
        const bool by_name = n->kind == NODE_KEYWORD || n->kind == NODE_STAR_STAR;
        if (by_name && named->kind == CHAT_NONE && !chat_map_new(r->h, named)) return false;
        if (n->kind == NODE_KEYWORD && !chat_map_set(r->h, named, n->value, v)) return false;
        if (n->kind == NODE_STAR_STAR && !add_named(r, &v, named)) return false;
        if (n->kind == NODE_POSITIONAL && !chat_list_add(r->h, list, v)) return false;
        if (n->kind == NODE_STAR && !add_star(r, &v, list)) return false;
    }
    return true;
}

static const chat_map *map_or_null(const chat_value *v) {
    return v->kind == CHAT_MAP ? v->map : NULL;
}

static bool do_call(run *r, const node *n, const chat_value *caller, scope *s, chat_value *v) {
    chat_value list, named, name;
    const chat_value function = *v;
    if (!arguments(r, n->a, s, &list, &named)) return false;
    if (caller) {
        if (named.kind == CHAT_NONE && !chat_map_new(r->h, &named)) return false;
        if (!chat_string_of(r->h, "caller", 6, CHAT_TEMPLATE, &name)) return false;
        if (!chat_map_set(r->h, &named, name, *caller)) return false;
    }
    r->at = n->at;
    return call_value(r, function, list.list, map_or_null(&named), v);
}

static bool do_filter(run *r, const node *n, scope *s, chat_value *v) {
    chat_value list, named;
    const chat_value in = *v;
    if (!arguments(r, n->a, s, &list, &named)) return false;
    r->at = n->at;
    return filter_call(r, n->value.s, in, list.list, map_or_null(&named), v);
}

static bool do_test(run *r, const node *n, scope *s, chat_value *v) {
    chat_value list, named;
    bool holds;
    if (!arguments(r, n->a, s, &list, &named)) return false;
    r->at = n->at;
    if (!test_call(r, n->value.s, *v, list.list, map_or_null(&named), &holds)) return false;
    *v = chat_bool(holds != n->flag);
    return true;
}

static bool do_item(run *r, const node *n, scope *s, chat_value *v) {
    chat_value key;
    const chat_value whole = *v;
    if (!run_value(r, n->a, s, &key)) return false;
    r->at = n->at;
    return value_item(r, &whole, &key, v);
}

static bool slice_part(run *r, const node *n, scope *s, chat_value *out) {
    *out = chat_none();
    return !n || run_value(r, n, s, out);
}

static bool do_slice(run *r, const node *n, scope *s, chat_value *v) {
    chat_value from, to, step;
    const chat_value whole = *v;
    if (!slice_part(r, n->a, s, &from) || !slice_part(r, n->b, s, &to) || !slice_part(r, n->c, s, &step))
        return false;
    r->at = n->at;
    return value_slice(r, &whole, &from, &to, &step, v);
}

static bool do_step(run *r, const node *n, const chat_value *caller, scope *s, chat_value *v) {
    const chat_value whole = *v;
    switch (n->kind) {
    case NODE_ATTRIBUTE: return r->at = n->at, value_attribute(r, &whole, n->value.s, v);
    case NODE_ITEM: return do_item(r, n, s, v);
    case NODE_SLICE: return do_slice(r, n, s, v);
    case NODE_CALL: return do_call(r, n, n->next ? NULL : caller, s, v);
    case NODE_FILTER: return do_filter(r, n, s, v);
    default: return do_test(r, n, s, v);
    }
}

bool run_postfix(run *r, const node *n, const chat_value *caller, scope *s, chat_value *out) {
    if (!run_value(r, n->a, s, out)) return false;
    for (const node *step = n->b; step; step = step->next)
        if (!chat_spend(r->h, 1) || !do_step(r, step, caller, s, out)) return false;
    return true;
}

bool run_filters(run *r, const node *filters, chat_value in, scope *s, chat_value *out) {
    *out = in;
    for (const node *n = filters; n; n = n->next)
        if (!do_filter(r, n, s, out)) return false;
    return true;
}

static bool do_postfix(run *r, const node *n, scope *s, chat_value *out) {
    return run_postfix(r, n, NULL, s, out);
}

static bool (*const expressions[])(run *r, const node *n, scope *s, chat_value *out) = {
    [NODE_CONST] = do_const,     [NODE_NAME] = do_name,       [NODE_LIST] = do_list,
    [NODE_TUPLE] = do_list,      [NODE_DICT] = do_dict,       [NODE_CHAIN] = do_chain,
    [NODE_NOT] = do_not,         [NODE_NEGATE] = do_sign,     [NODE_PLUS] = do_sign,
    [NODE_IF_ELSE] = do_if_else, [NODE_POSTFIX] = do_postfix,
};

bool run_value(run *r, const node *n, scope *s, chat_value *out) {
    if (!chat_spend(r->h, 1) || !chat_enter(r->h)) return false;
    r->at = n->at;
    if (!expressions[n->kind](r, n, s, out)) return false;
    chat_leave(r->h);
    return true;
}
