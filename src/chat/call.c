/* Calls: what parameters get of the arguments, macros, and the object `loop`. */
#include "chat/interpreter.h"

#include <string.h>

/* ---- builtins ---- */

const builtin *builtin_find(const builtin *rows, const chat_string *name) {
    for (; rows->name; rows++)
        if (string_is(name, rows->name)) return rows;
    return NULL;
}

static bool function_value(run *r, chat_function f, chat_value *out) {
    chat_function *kept = chat_alloc(r->h, sizeof *kept);
    if (!kept) return false;
    *kept = f;
    *out = (chat_value){.kind = CHAT_FUNCTION, .function = kept};
    return true;
}

bool call_bind(run *r, const builtin *row, chat_value self, chat_value *out) {
    return function_value(r, (chat_function){.kind = FUNCTION_BUILTIN, .row = row, .self = self}, out);
}

static const chat_string not_given = {"not given", NULL, 9, CHAT_TEMPLATE};

bool call_given(const chat_value *arg) {
    return arg->kind != CHAT_UNDEFINED || arg->missing != &not_given;
}

static const chat_value *find_named(run *r, const chat_map *named, const char *name, size_t n) {
    const chat_string key = {name, NULL, (uint32_t)n, CHAT_TEMPLATE};
    return named ? chat_map_get(r->h, named, (chat_value){.kind = CHAT_STRING, .s = &key}) : NULL;
}

/* Gives each parameter of the row its argument. */
static bool bind(call *c, const builtin *row) {
    uint32_t i = 0, n_named = 0;
    bool optional = false;
    for (const char *p = row->parameters; *p; i++) {
        if (*p == '?') optional = true, p++;
        const size_t n = strcspn(p, " ");
        const chat_value *named = i < c->list->n ? NULL : find_named(c->r, c->named, p, n);
        c->arg[i] = i < c->list->n ? c->list->items[i] : named ? *named : chat_undefined(&not_given);
        n_named += named != NULL;
        if (!optional && !call_given(&c->arg[i]))
            return FAIL(c->r, "%s needs the argument %.*s", row->name, (int)n, p);
        p += n + (p[n] == ' ');
    }
    if (c->list->n > i) return FAIL(c->r, "%s takes at most %u arguments", row->name, i);
    if (c->named && c->named->n > n_named)
        return FAIL(c->r, "%s got an argument of an unknown name", row->name);
    return c->h->status == NUT_OK;
}

static uint8_t origin_of(const chat_value *v) {
    const bool number = v->kind == CHAT_BOOL || v->kind == CHAT_INT || v->kind == CHAT_FLOAT;
    if (v->kind == CHAT_STRING) return v->s->marks ? CHAT_DATA : v->s->origin;
    return number ? v->origin : CHAT_TEMPLATE;
}

/* A number that is computed from data, such as the length of a text, is data. */
static void mark_number(const call *c, chat_value *out) {
    if (out->kind != CHAT_BOOL && out->kind != CHAT_INT && out->kind != CHAT_FLOAT) return;
    bool data = (out->origin | origin_of(&c->self)) == CHAT_DATA;
    for (uint32_t i = 0; i < c->list->n; i++) data = data || origin_of(&c->list->items[i]) == CHAT_DATA;
    out->origin = data ? CHAT_DATA : CHAT_TEMPLATE;
}

bool call_row(run *r, const builtin *row, chat_value self, const chat_list *list, const chat_map *named,
              chat_value *out) {
    static const chat_list empty;
    call c = {.r = r, .h = r->h, .self = self, .list = list ? list : &empty, .named = named};
    if (row->parameters[0] != '*' && !bind(&c, row)) return false;
    if (!chat_spend(r->h, 1) || !chat_enter(r->h) || !row->fn(&c, out)) return false;
    mark_number(&c, out);
    chat_leave(r->h);
    return true;
}

bool call_int(call *c, int i, int64_t otherwise, int64_t *out) {
    const chat_value *v = &c->arg[i];
    *out = otherwise;
    if (!call_given(v) || v->kind == CHAT_NONE) return true;
    if (v->kind == CHAT_INT) return *out = v->i, true;
    if (v->kind == CHAT_BOOL) return *out = v->b, true;
    return FAIL(c->r, "a whole number is expected, not '%s'", value_kind_name(v));
}

bool call_text(call *c, int i, const chat_string **out) {
    const chat_value *v = &c->arg[i];
    if (!call_given(v)) return true;
    if (v->kind == CHAT_STRING) return *out = v->s, true;
    return FAIL(c->r, "a text is expected, not '%s'", value_kind_name(v));
}

bool call_flag(call *c, int i, bool otherwise) {
    return call_given(&c->arg[i]) ? value_truth(&c->arg[i]) : otherwise;
}

bool filter_call(run *r, const chat_string *name, chat_value self, const chat_list *list,
                 const chat_map *named, chat_value *out) {
    const builtin *row = builtin_find(filter_rows, name);
    if (!row) row = builtin_find(filter_list_rows, name);
    if (!row)
        return FAIL(r, "there is no filter named '%.*s'", name->n < 60 ? (int)name->n : 60, name->text);
    return call_row(r, row, self, list, named, out);
}

bool test_call(run *r, const chat_string *name, chat_value self, const chat_list *list,
               const chat_map *named, bool *out) {
    chat_value v;
    const builtin *row = builtin_find(test_rows, name);
    if (!row) return FAIL(r, "there is no test named '%.*s'", name->n < 60 ? (int)name->n : 60, name->text);
    if (!call_row(r, row, self, list, named, &v)) return false;
    *out = value_truth(&v);
    return true;
}

/* ---- macros ---- */

/* The value of a parameter that got none. */
static bool default_of(run *r, const node *p, scope *s, chat_value *out) {
    *out = chat_undefined(p->value.s);
    return !p->a || run_value(r, p->a, s, out);
}

/* Sets what a macro takes besides its parameters. */
static bool set_rest(run *r, const node *macro, const chat_list *list, uint32_t from, chat_value *named,
                     scope *s) {
    static const chat_string varargs = {"varargs", NULL, 7, CHAT_TEMPLATE},
                             kwargs = {"kwargs", NULL, 6, CHAT_TEMPLATE};
    const chat_value list_name = {.kind = CHAT_STRING, .s = &varargs},
                     map_name = {.kind = CHAT_STRING, .s = &kwargs};
    chat_value rest;
    if (macro->op & USES_VARARGS) {
        if (!chat_list_new(r->h, CHAT_FORM_TUPLE, 0, &rest)) return false;
        for (uint32_t i = from; i < list->n; i++)
            if (!chat_list_add(r->h, &rest, list->items[i])) return false;
        if (!scope_set(r, s, list_name, rest)) return false;
    } else if (list->n > from) {
        return FAIL(r, "the macro takes not more than %u arguments", from);
    }
    if (macro->op & USES_KWARGS) return scope_set(r, s, map_name, *named);
    if (named->map->n == 0) return true;
    const chat_value *name = &named->map->entries[0].key;
    return FAIL(r, "the macro takes no argument named '%.*s'",
                name->kind == CHAT_STRING ? (int)name->s->n : 0,
                name->kind == CHAT_STRING ? name->s->text : "");
}

static bool is_parameter(const node *macro, const chat_value *name) {
    for (const node *p = macro->a; p; p = p->next)
        if (name->kind == CHAT_STRING && name->s->n == p->value.s->n &&
            !memcmp(name->s->text, p->value.s->text, name->s->n))
            return true;
    return false;
}

/* Arguments with names that are no parameters; `caller` is set here, where the macro takes it. */
static bool other_named(run *r, const node *macro, const chat_map *named, scope *s, chat_value *out) {
    static const chat_string caller = {"caller", NULL, 6, CHAT_TEMPLATE};
    const chat_value name = {.kind = CHAT_STRING, .s = &caller};
    if (!chat_map_new(r->h, out)) return false;
    if ((macro->op & USES_CALLER) && !scope_set(r, s, name, chat_undefined(&caller))) return false;
    for (uint32_t i = 0; named && i < named->n; i++) {
        const chat_entry *e = &named->entries[i];
        const bool takes = (macro->op & USES_CALLER) && chat_equal_text(&e->key, "caller");
        if (is_parameter(macro, &e->key)) continue;
        if (!(takes ? scope_set(r, s, name, e->value) : chat_map_set(r->h, out, e->key, e->value)))
            return false;
    }
    return true;
}

static bool call_macro(run *r, const chat_function *f, const chat_list *list, const chat_map *named,
                       chat_value *out) {
    scope *s = scope_new(r, f->outer);
    chat_value others;
    uint32_t i = 0;
    if (!s || !other_named(r, f->macro, named, s, &others)) return false;
    for (const node *p = f->macro->a; p; p = p->next, i++) {
        const chat_value *given = find_named(r, named, p->value.s->text, p->value.s->n);
        chat_value v;
        if (given && i < list->n)
            return FAIL(r, "the macro got two values for '%.*s'", (int)p->value.s->n, p->value.s->text);
        if (i < list->n)
            v = list->items[i];
        else if (given)
            v = *given;
        else if (!default_of(r, p, s, &v))
            return false;
        if (!scope_set(r, s, p->value, v)) return false;
    }
    if (!set_rest(r, f->macro, list, i, &others, s)) return false;
    return run_capture(r, f->macro->c, s, out);
}

/* ---- loop ---- */

static bool call_loop(run *r, const chat_function *f, const chat_list *list, chat_value *out) {
    chat_text text = {.heap = r->h}, *before = r->out;
    const chat_list *items;
    flow ignored;
    if (!f->loop->recursive) return FAIL(r, "only a recursive loop can be called");
    if (list->n != 1 || !value_items(r, &list->items[0], &items)) return FAIL(r, "loop takes one list");
    r->out = &text;
    if (!loop_run(r, f->loop->recursive, items, f->loop->depth + 1, f->loop->outside, &ignored))
        return false;
    r->out = before;
    return chat_text_end(&text, out);
}

static bool loop_cycle(call *c, chat_value *out) {
    if (c->list->n == 0) return FAIL(c->r, "no items for cycling given");
    *out = c->list->items[c->self.function->loop->index % c->list->n];
    return true;
}

static bool loop_changed(call *c, chat_value *out) {
    loop_state *l = c->self.function->loop;
    chat_value now;
    if (!chat_list_new(c->h, CHAT_FORM_TUPLE, c->list->n, &now)) return false;
    for (uint32_t i = 0; i < c->list->n; i++)
        if (!chat_list_add(c->h, &now, c->list->items[i])) return false;
    *out = chat_bool(!l->has_last || !chat_equal(c->h, &l->last, &now));
    l->last = now;
    l->has_last = true;
    return true;
}

static const builtin loop_methods[] = {{"cycle", "*", loop_cycle}, {"changed", "*", loop_changed}, {0}};

/* An item beside the current one, or undefined. */
static chat_value neighbour(const loop_state *l, int64_t i, const chat_string *name) {
    return i >= 0 && i < l->items->n ? l->items->items[i] : chat_undefined(name);
}

bool loop_attribute(run *r, const chat_value *v, const chat_string *name, chat_value *out) {
    const loop_state *l = v->function->loop;
    const int64_t i = l->index, n = l->items->n;
    const struct {
        const char *name;
        chat_value value;
    } fields[] = {
        {"index", chat_int(i + 1)},
        {"index0", chat_int(i)},
        {"first", chat_bool(i == 0)},
        {"last", chat_bool(i + 1 == n)},
        {"length", chat_int(n)},
        {"revindex", chat_int(n - i)},
        {"revindex0", chat_int(n - i - 1)},
        {"depth", chat_int(l->depth + 1)},
        {"depth0", chat_int(l->depth)},
        {"previtem", neighbour(l, i - 1, name)},
        {"nextitem", neighbour(l, i + 1, name)},
    };
    for (size_t k = 0; k < sizeof fields / sizeof *fields; k++)
        if (string_is(name, fields[k].name)) return *out = fields[k].value, true;
    const builtin *method = builtin_find(loop_methods, name);
    if (method) return call_bind(r, method, *v, out);
    *out = chat_undefined(name);
    return true;
}

/* ---- all ---- */

bool call_value(run *r, chat_value v, const chat_list *list, const chat_map *named, chat_value *out) {
    if (v.kind == CHAT_UNDEFINED) return chat_fail_undefined(r->h, &v);
    if (v.kind != CHAT_FUNCTION) return FAIL(r, "'%s' object is not callable", value_kind_name(&v));
    switch ((function_kind)v.function->kind) {
    case FUNCTION_BUILTIN: return call_row(r, v.function->row, v.function->self, list, named, out);
    case FUNCTION_MACRO: return call_macro(r, v.function, list, named, out);
    default: return call_loop(r, v.function, list, out);
    }
}
