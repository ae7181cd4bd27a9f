/* Tests: what stands behind `is`. */
#include "chat/interpreter.h"

#include "model/unicode.h"

#include <string.h>

#define IS(name, condition)                                                                                 \
    static bool name(call *c, chat_value *out) {                                                            \
        const chat_value *v = &c->self;                                                                     \
        *out = chat_bool(condition);                                                                        \
        return true;                                                                                        \
    }

IS(is_defined, v->kind != CHAT_UNDEFINED)
IS(is_undefined, v->kind == CHAT_UNDEFINED)
IS(is_none, v->kind == CHAT_NONE)
IS(is_boolean, v->kind == CHAT_BOOL)
IS(is_true, v->kind == CHAT_BOOL && v->b)
IS(is_false, v->kind == CHAT_BOOL && !v->b)
IS(is_integer, v->kind == CHAT_INT)
IS(is_float, v->kind == CHAT_FLOAT)
IS(is_number, v->kind == CHAT_BOOL || v->kind == CHAT_INT || v->kind == CHAT_FLOAT)
IS(is_string, v->kind == CHAT_STRING)
IS(is_mapping, v->kind == CHAT_MAP && !v->map->is_namespace)
IS(is_iterable, v->kind == CHAT_UNDEFINED || v->kind == CHAT_STRING || v->kind == CHAT_LIST ||
                    (v->kind == CHAT_MAP && !v->map->is_namespace))
IS(is_sequence,
   v->kind == CHAT_UNDEFINED || v->kind == CHAT_STRING ||
       (v->kind == CHAT_LIST && (v->list->form <= CHAT_FORM_TUPLE || v->list->form == CHAT_FORM_RANGE)) ||
       (v->kind == CHAT_MAP && !v->map->is_namespace))
IS(is_callable, v->kind == CHAT_UNDEFINED || v->kind == CHAT_FUNCTION)
IS(is_escaped, v->kind == CHAT_KINDS)
IS(is_filter,
   v->kind == CHAT_STRING && (builtin_find(filter_rows, v->s) || builtin_find(filter_list_rows, v->s)))
IS(is_test, v->kind == CHAT_STRING && builtin_find(test_rows, v->s))
#undef IS

/* Whether there are letters, and all that have a case are in it. */
static bool is_case(call *c, bool upper, chat_value *out) {
    const chat_string *s;
    bool some = false, all = true;
    if (!value_string(c->r, &c->self, &s) || !chat_spend_bytes(c->h, s->n)) return false;
    for (size_t at = 0, length; at < s->n; at += length) {
        const unicode_class class = unicode_class_of(unicode_at(s->text + at, s->n - at, &length));
        some = some || class == (upper ? UNICODE_UPPER : UNICODE_LOWER);
        all = all && class != (upper ? UNICODE_LOWER : UNICODE_UPPER);
    }
    *out = chat_bool(some && all);
    return true;
}
static bool is_lower(call *c, chat_value *out) {
    return is_case(c, false, out);
}
static bool is_upper(call *c, chat_value *out) {
    return is_case(c, true, out);
}

static bool remainder_is(call *c, const chat_value *by, int64_t wanted, chat_value *out) {
    chat_value rest;
    const chat_value want = chat_int(wanted);
    if (c->self.kind == CHAT_STRING) return FAIL(c->r, "a number is expected, not 'str'");
    if (!value_operate(c->r, '%', &c->self, by, &rest)) return false;
    *out = chat_bool(chat_equal(c->h, &rest, &want));
    return true;
}
static bool is_odd(call *c, chat_value *out) {
    const chat_value two = chat_int(2);
    return remainder_is(c, &two, 1, out);
}
static bool is_even(call *c, chat_value *out) {
    const chat_value two = chat_int(2);
    return remainder_is(c, &two, 0, out);
}
static bool is_divisible(call *c, chat_value *out) {
    return remainder_is(c, &c->arg[0], 0, out);
}

static bool is_same(call *c, chat_value *out) {
    const chat_value *a = &c->self, *b = &c->arg[0];
    const bool object = a->kind == CHAT_LIST || a->kind == CHAT_MAP || a->kind == CHAT_FUNCTION;
    *out = chat_bool(a->kind == b->kind && (object ? a->list == b->list : chat_equal(c->h, a, b)));
    return c->h->status == NUT_OK;
}

#define COMPARES(name, op)                                                                                  \
    static bool name(call *c, chat_value *out) {                                                            \
        *out = chat_bool(false);                                                                            \
        return value_compare(c->r, op, &c->self, &c->arg[0], &out->b);                                      \
    }

COMPARES(is_in, OP_IN)
COMPARES(is_equal, LEX_OP2('=', '='))
COMPARES(is_other, LEX_OP2('!', '='))
COMPARES(is_more, '>')
COMPARES(is_least, LEX_OP2('>', '='))
COMPARES(is_less, '<')
COMPARES(is_most, LEX_OP2('<', '='))
#undef COMPARES

const builtin test_rows[] = {
    {"!=", "other", is_other},
    {"<", "other", is_less},
    {"<=", "other", is_most},
    {"==", "other", is_equal},
    {">", "other", is_more},
    {">=", "other", is_least},
    {"boolean", "", is_boolean},
    {"callable", "", is_callable},
    {"defined", "", is_defined},
    {"divisibleby", "num", is_divisible},
    {"eq", "other", is_equal},
    {"equalto", "other", is_equal},
    {"escaped", "", is_escaped},
    {"even", "", is_even},
    {"false", "", is_false},
    {"filter", "", is_filter},
    {"float", "", is_float},
    {"ge", "other", is_least},
    {"greaterthan", "other", is_more},
    {"gt", "other", is_more},
    {"in", "seq", is_in},
    {"integer", "", is_integer},
    {"iterable", "", is_iterable},
    {"le", "other", is_most},
    {"lessthan", "other", is_less},
    {"lower", "", is_lower},
    {"lt", "other", is_less},
    {"mapping", "", is_mapping},
    {"ne", "other", is_other},
    {"none", "", is_none},
    {"number", "", is_number},
    {"odd", "", is_odd},
    {"sameas", "other", is_same},
    {"sequence", "", is_sequence},
    {"string", "", is_string},
    {"test", "", is_test},
    {"true", "", is_true},
    {"undefined", "", is_undefined},
    {"upper", "", is_upper},
    {0},
};
