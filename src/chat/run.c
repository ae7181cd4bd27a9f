/* Statements: a function for each kind, and loops. */
#include "chat/interpreter.h"

#include <string.h>

/* ---- scopes ---- */

scope *scope_new(run *r, scope *outer) {
    scope *s = chat_alloc(r->h, sizeof *s);
    if (!s || !chat_map_new(r->h, &s->names)) return NULL;
    s->outer = outer;
    return s;
}

bool scope_again(run *r, scope *outer, uint32_t n, scope **s) {
    const bool fresh = !*s || (*s)->kept || (*s)->names.map->slots;
    if (fresh)
        *s = scope_new(r, outer);
    else
        chat_map_cut((*s)->names.map, n);
    return *s;
}

void scope_keep(scope *s) {
    for (; s && !s->kept; s = s->outer) s->kept = true;
}

bool scope_set(run *r, scope *s, chat_value name, chat_value value) {
    return chat_map_set(r->h, &s->names, name, value);
}

bool scope_get(run *r, const scope *s, const chat_value *name, chat_value *out) {
    uint32_t hash = 0;
    if (!chat_hash(r->h, name, &hash)) return false;
    for (; s; s = s->outer) {
        const chat_value *found = chat_map_get_hashed(r->h, s->names.map, name, hash);
        if (found) return *out = *found, true;
    }
    const builtin *global = builtin_find(global_rows, name->s);
    if (global) return call_bind(r, global, chat_none(), out);
    *out = chat_undefined(name->s);
    return r->h->status == NUT_OK;
}

/* ---- assignments ---- */

static bool assign(run *r, const node *target, chat_value value, scope *s);

static bool assign_field(run *r, const node *target, chat_value value, scope *s) {
    chat_value space;
    if (!scope_get(r, s, &target->value, &space)) return false;
    if (space.kind != CHAT_MAP || !space.map->is_namespace)
        return FAIL(r, "cannot assign attribute on non-namespace object");
    return chat_map_set(r->h, &space, target->a->value, value);
}

static bool assign_each(run *r, const node *target, chat_value value, scope *s) {
    const chat_list *items;
    uint32_t n = 0;
    if (!value_items(r, &value, &items) || !chat_enter(r->h)) return false;
    for (const node *t = target->a; t; t = t->next, n++)
        if (n < items->n && !assign(r, t, items->items[n], s)) return false;
    chat_leave(r->h);
    return n == items->n ? true : FAIL(r, "%u values cannot be unpacked to %u names", items->n, n);
}

static bool assign(run *r, const node *target, chat_value value, scope *s) {
    if (target->kind == NODE_TUPLE) return assign_each(r, target, value, s);
    if (target->kind == NODE_SET_FIELD) return assign_field(r, target, value, s);
    return scope_set(r, s, target->value, value);
}

/* ---- statements ---- */

bool run_capture(run *r, const node *first, scope *s, chat_value *out) {
    chat_text text = {.heap = r->h}, *before = r->out;
    scope *inner = scope_new(r, s);
    r->out = &text;
    const bool done = inner && run_statements(r, first, inner) && chat_text_end(&text, out);
    r->out = before;
    return done;
}

static bool put_value(run *r, const chat_value *v) {
    return v->kind == CHAT_STRING ? chat_put_string(r->out, v->s) : value_print(r, v, r->out);
}

static flow do_text(run *r, const node *n, scope *s) {
    (void)s;
    return chat_put_string(r->out, n->value.s) ? FLOW_NEXT : FLOW_FAILED;
}

static flow do_output(run *r, const node *n, scope *s) {
    chat_value v;
    return run_value(r, n->a, s, &v) && put_value(r, &v) ? FLOW_NEXT : FLOW_FAILED;
}

static flow do_if(run *r, const node *n, scope *s) {
    for (const node *branch = n->a; branch; branch = branch->next) {
        chat_value v;
        if (!run_value(r, branch->a, s, &v)) return FLOW_FAILED;
        if (value_truth(&v)) return run_statements(r, branch->b, s);
    }
    return run_statements(r, n->b, s);
}

static flow do_set(run *r, const node *n, scope *s) {
    chat_value v;
    if (!run_value(r, n->b, s, &v)) return FLOW_FAILED;
    r->at = n->at;
    return assign(r, n->a, v, s) ? FLOW_NEXT : FLOW_FAILED;
}

static flow do_set_block(run *r, const node *n, scope *s) {
    chat_value v;
    if (!run_capture(r, n->c, s, &v) || !run_filters(r, n->b, v, s, &v)) return FLOW_FAILED;
    return assign(r, n->a, v, s) ? FLOW_NEXT : FLOW_FAILED;
}

static bool macro_value(run *r, const node *n, scope *s, chat_value *out) {
    chat_function *f = chat_alloc(r->h, sizeof *f);
    if (!f) return false;
    scope_keep(s);
    *f = (chat_function){.kind = FUNCTION_MACRO, .macro = n, .outer = s};
    *out = (chat_value){.kind = CHAT_FUNCTION, .function = f};
    return true;
}

static flow do_macro(run *r, const node *n, scope *s) {
    chat_value v;
    return macro_value(r, n, s, &v) && scope_set(r, s, n->value, v) ? FLOW_NEXT : FLOW_FAILED;
}

static flow do_call_block(run *r, const node *n, scope *s) {
    chat_value caller, v;
    if (!macro_value(r, n, s, &caller) || !run_postfix(r, n->b, &caller, s, &v)) return FLOW_FAILED;
    return put_value(r, &v) ? FLOW_NEXT : FLOW_FAILED;
}

static flow do_filter_block(run *r, const node *n, scope *s) {
    chat_value v;
    if (!run_capture(r, n->c, s, &v) || !run_filters(r, n->b, v, s, &v)) return FLOW_FAILED;
    return put_value(r, &v) ? FLOW_NEXT : FLOW_FAILED;
}

static flow do_with(run *r, const node *n, scope *s) {
    scope *inner = scope_new(r, s);
    if (!inner) return FLOW_FAILED;
    for (const node *set = n->a; set; set = set->next) {
        chat_value v;
        if (!run_value(r, set->b, s, &v) || !assign(r, set->a, v, inner)) return FLOW_FAILED;
    }
    return run_statements(r, n->c, inner);
}

static flow do_scope(run *r, const node *n, scope *s) {
    scope *inner = scope_new(r, s);
    return inner ? run_statements(r, n->c, inner) : FLOW_FAILED;
}

static flow do_break(run *r, const node *n, scope *s) {
    (void)r, (void)s;
    return n->kind == NODE_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
}

/* ---- loops ---- */

static bool is_chosen(run *r, const node *n, chat_value item, scope *inner, bool *out) {
    chat_value v;
    if (!assign(r, n->a, item, inner) || !run_value(r, n->b->b, inner, &v)) return false;
    *out = value_truth(&v);
    return true;
}

/* The items for which the loop's condition holds. */
static bool filter_items(run *r, const node *n, scope *s, const chat_list **items) {
    chat_value kept;
    const chat_list *all = *items;
    scope *inner = NULL;
    if (!n->b->b) return true;
    if (!chat_list_new(r->h, CHAT_FORM_LIST, 0, &kept)) return false;
    for (uint32_t i = 0; i < all->n; i++) {
        bool keep;
        if (!scope_again(r, s, 0, &inner) || !is_chosen(r, n, all->items[i], inner, &keep)) return false;
        if (keep && !chat_list_add(r->h, &kept, all->items[i])) return false;
    }
    *items = kept.list;
    return true;
}

static bool loop_value(run *r, loop_state *state, chat_value *out) {
    chat_function *f = chat_alloc(r->h, sizeof *f);
    if (!f) return false;
    *f = (chat_function){.kind = FUNCTION_LOOP, .loop = state};
    *out = (chat_value){.kind = CHAT_FUNCTION, .function = f};
    return true;
}

/* inner: the scope of the round before, or NULL. */
static flow round_of(run *r, const node *n, chat_value item, chat_value loop, scope *s, scope **inner) {
    static const chat_string name = {"loop", NULL, 4, CHAT_TEMPLATE};
    const chat_value key = {.kind = CHAT_STRING, .s = &name};
    if (!scope_again(r, s, 1, inner)) return FLOW_FAILED;
    if (!scope_set(r, *inner, key, loop) || !assign(r, n->a, item, *inner)) return FLOW_FAILED;
    return run_statements(r, n->c, *inner);
}

bool loop_run(run *r, const node *n, const chat_list *items, uint32_t depth, scope *s, flow *out) {
    chat_value loop;
    loop_state *state = chat_alloc(r->h, sizeof *state);
    if (!filter_items(r, n, s, &items) || !state || !loop_value(r, state, &loop)) return false;
    if (n->flag) scope_keep(s);
    *state = (loop_state){.items = items, .depth = depth, .recursive = n->flag ? n : NULL, .outside = s};
    scope *inner = NULL;
    *out = FLOW_NEXT;
    if (items->n == 0) return (*out = run_statements(r, n->b->c, s)) != FLOW_FAILED;
    for (flow f = FLOW_NEXT; f != FLOW_BREAK && state->index < items->n; state->index++) {
        f = round_of(r, n, items->items[state->index], loop, s, &inner);
        if (f == FLOW_FAILED) return false;
        if (f == FLOW_BREAK) break;
    }
    return true;
}

static flow do_for(run *r, const node *n, scope *s) {
    chat_value v;
    const chat_list *items;
    flow f;
    if (!run_value(r, n->b->a, s, &v)) return FLOW_FAILED;
    r->at = n->b->a->at;
    return value_items(r, &v, &items) && loop_run(r, n, items, 0, s, &f) ? f : FLOW_FAILED;
}

static flow (*const statements[])(run *r, const node *n, scope *s) = {
    [NODE_TEXT] = do_text,
    [NODE_OUTPUT] = do_output,
    [NODE_IF] = do_if,
    [NODE_FOR] = do_for,
    [NODE_SET] = do_set,
    [NODE_SET_BLOCK] = do_set_block,
    [NODE_MACRO] = do_macro,
    [NODE_CALL_BLOCK] = do_call_block,
    [NODE_FILTER_BLOCK] = do_filter_block,
    [NODE_WITH] = do_with,
    [NODE_SCOPE] = do_scope,
    [NODE_BREAK] = do_break,
    [NODE_CONTINUE] = do_break,
};

flow run_statements(run *r, const node *first, scope *s) {
    if (!chat_enter(r->h)) return FLOW_FAILED;
    for (const node *n = first; n; n = n->next) {
        r->at = n->at;
        if (!chat_spend(r->h, 1)) return FLOW_FAILED;
        const flow f = statements[n->kind](r, n, s);
        if (f == FLOW_NEXT) continue;
        if (f != FLOW_FAILED) chat_leave(r->h);
        return f;
    }
    chat_leave(r->h);
    return FLOW_NEXT;
}
