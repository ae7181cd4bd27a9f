/* Operators on values: arithmetic, joining, order, membership. */
#include "chat/interpreter.h"

#include <math.h>
#include <string.h>

/* ---- numbers ---- */

static bool is_number(const chat_value *v) {
    return v->kind == CHAT_BOOL || v->kind == CHAT_INT || v->kind == CHAT_FLOAT;
}
static int64_t whole(const chat_value *v) {
    return v->kind == CHAT_BOOL ? v->b : v->i;
}
static double real(const chat_value *v) {
    return v->kind == CHAT_FLOAT ? v->f : (double)whole(v);
}

static bool power(int64_t base, int64_t exponent, int64_t *out) {
    *out = 1;
    for (; exponent; exponent >>= 1) {
        if ((exponent & 1) && __builtin_mul_overflow(*out, base, out)) return false;
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return false;
    }
    return true;
}

/* Python's division goes down to the next whole number. */
static int64_t floor_divide(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static bool operate_whole(uint16_t op, int64_t a, int64_t b, int64_t *out) {
    switch (op) {
    case '+': return !__builtin_add_overflow(a, b, out);
    case '-': return !__builtin_sub_overflow(a, b, out);
    case '*': return !__builtin_mul_overflow(a, b, out);
    case '%': return *out = b == -1 ? 0 : a - floor_divide(a, b) * b, true;
    case LEX_OP2('*', '*'): return power(a, b, out);
    default: // floor division
        if (b == -1) return !__builtin_sub_overflow(0, a, out);
        *out = floor_divide(a, b);
        return true;
    }
}

static double operate_real(uint16_t op, double a, double b) {
    switch (op) {
    case '+': return a + b;
    case '-': return a - b;
    case '*': return a * b;
    case '/': return a / b;
    case '%': return fmod(a, b) != 0 && (a < 0) != (b < 0) ? fmod(a, b) + b : fmod(a, b);
    case LEX_OP2('*', '*'): return pow(a, b);
    default: return floor(a / b);
    }
}

static bool operate_numbers(run *r, uint16_t op, const chat_value *a, const chat_value *b, chat_value *out) {
    const bool divides = op == '/' || op == '%' || op == LEX_OP2('/', '/');
    bool real_result = a->kind == CHAT_FLOAT || b->kind == CHAT_FLOAT || op == '/';
    if (divides && real(b) == 0) return FAIL(r, "division by zero");
    if (op == LEX_OP2('*', '*') && !real_result) real_result = whole(b) < 0;
    if (real_result) {
        *out = chat_float(operate_real(op, real(a), real(b)));
    } else {
        *out = chat_int(0);
        if (!operate_whole(op, whole(a), whole(b), &out->i)) return FAIL(r, "a number does not fit 64 bits");
    }
    out->origin = a->origin | b->origin;
    return true;
}

/* ---- texts and lists ---- */

static bool repeat(run *r, const chat_value *v, int64_t n, chat_value *out) {
    chat_text t = {.heap = r->h};
    if (v->kind == CHAT_STRING) {
        for (; n > 0 && v->s->n; n--)
            if (!chat_put_string(&t, v->s)) return false;
        return chat_text_end(&t, out);
    }
    if (!chat_list_new(r->h, (chat_form)v->list->form, 0, out)) return false;
    for (; n > 0 && v->list->n; n--)
        for (uint32_t i = 0; i < v->list->n; i++)
            if (!chat_spend(r->h, 1) || !chat_list_add(r->h, out, v->list->items[i])) return false;
    return true;
}

static bool add_lists(run *r, const chat_list *a, const chat_list *b, chat_value *out) {
    if (!chat_spend(r->h, (uint64_t)a->n + b->n) ||
        !chat_list_new(r->h, (chat_form)a->form, (size_t)a->n + b->n, out))
        return false;
    if (a->n) memcpy(out->list->items, a->items, a->n * sizeof *a->items);
    if (b->n) memcpy(out->list->items + a->n, b->items, b->n * sizeof *b->items);
    out->list->n = a->n + b->n;
    return true;
}

static bool is_list(const chat_value *v) {
    return v->kind == CHAT_LIST && v->list->form <= CHAT_FORM_TUPLE;
}

static bool join(run *r, const chat_value *a, const chat_value *b, chat_value *out) {
    const chat_string *left, *right;
    return value_string(r, a, &left) && value_string(r, b, &right) && chat_concat(r->h, left, right, out);
}

bool value_operate(run *r, uint16_t op, const chat_value *a, const chat_value *b, chat_value *out) {
    if (op == '~') return join(r, a, b, out);
    if (op == '%' && a->kind == CHAT_STRING) return format_percent(r, a->s, b, out);
    if (a->kind == CHAT_UNDEFINED) return chat_fail_undefined(r->h, a);
    if (b->kind == CHAT_UNDEFINED) return chat_fail_undefined(r->h, b);
    if (is_number(a) && is_number(b)) return operate_numbers(r, op, a, b, out);
    const bool texts = a->kind == CHAT_STRING && b->kind == CHAT_STRING;
    if (op == '+' && texts) return chat_concat(r->h, a->s, b->s, out);
    if (op == '+' && is_list(a) && is_list(b) && a->list->form == b->list->form)
        return add_lists(r, a->list, b->list, out);
    if (op == '*' && b->kind <= CHAT_INT && is_number(b) && (a->kind == CHAT_STRING || is_list(a)))
        return repeat(r, a, whole(b), out);
    if (op == '*' && a->kind <= CHAT_INT && is_number(a) && (b->kind == CHAT_STRING || is_list(b)))
        return repeat(r, b, whole(a), out);
    const char name[] = {op > 255 ? (char)(op >> 8) : (char)op, op > 255 ? (char)op : '\0', '\0'};
    return FAIL(r, "'%s' cannot be used on '%s' and '%s'", name, value_kind_name(a), value_kind_name(b));
}

/* ---- order and membership ---- */

static bool order_lists(run *r, const chat_list *a, const chat_list *b, int *out) {
    if (!chat_enter(r->h)) return false;
    for (uint32_t i = 0; i < a->n && i < b->n; i++) {
        if (!chat_spend(r->h, 1)) return false;
        if (chat_equal(r->h, &a->items[i], &b->items[i])) continue;
        if (r->h->status != NUT_OK || !value_order(r, &a->items[i], &b->items[i], out)) return false;
        return chat_leave(r->h), true;
    }
    *out = (a->n > b->n) - (a->n < b->n);
    chat_leave(r->h);
    return true;
}

bool value_order(run *r, const chat_value *a, const chat_value *b, int *out) {
    if (is_number(a) && is_number(b)) {
        if (a->kind != CHAT_FLOAT && b->kind != CHAT_FLOAT)
            return *out = (whole(a) > whole(b)) - (whole(a) < whole(b)), true;
        return *out = (real(a) > real(b)) - (real(a) < real(b)), true;
    }
    if (a->kind == CHAT_STRING && b->kind == CHAT_STRING) {
        const uint32_t n = a->s->n < b->s->n ? a->s->n : b->s->n;
        const int order = n ? memcmp(a->s->text, b->s->text, n) : 0;
        *out = order ? order : (a->s->n > b->s->n) - (a->s->n < b->s->n);
        return chat_spend_bytes(r->h, n);
    }
    if (is_list(a) && is_list(b) && a->list->form == b->list->form)
        return order_lists(r, a->list, b->list, out);
    if (a->kind == CHAT_UNDEFINED) return chat_fail_undefined(r->h, a);
    if (b->kind == CHAT_UNDEFINED) return chat_fail_undefined(r->h, b);
    return FAIL(r, "'%s' and '%s' cannot be put in order", value_kind_name(a), value_kind_name(b));
}

bool value_contains(run *r, const chat_value *in, const chat_value *part, bool *out) {
    const chat_list *items;
    size_t at;
    *out = false;
    if (in->kind == CHAT_MAP && !in->map->is_namespace)
        return *out = chat_map_get(r->h, in->map, *part) != NULL, r->h->status == NUT_OK;
    if (in->kind == CHAT_STRING) {
        if (part->kind == CHAT_UNDEFINED) return chat_fail_undefined(r->h, part);
        if (part->kind != CHAT_STRING)
            return FAIL(r, "'in <string>' requires string as left operand, not %s", value_kind_name(part));
        return string_find(r, in->s, part->s, 0, &at) && (*out = at != SIZE_MAX, true);
    }
    if (!value_items(r, in, &items)) return false;
    for (uint32_t i = 0; !*out && i < items->n; i++) {
        if (!chat_spend(r->h, 1)) return false;
        *out = chat_equal(r->h, &items->items[i], part);
    }
    return r->h->status == NUT_OK;
}

bool value_compare(run *r, uint16_t op, const chat_value *a, const chat_value *b, bool *out) {
    int order;
    if (op == OP_IN || op == OP_NOT_IN) {
        if (!value_contains(r, b, a, out)) return false;
        *out = *out == (op == OP_IN);
        return true;
    }
    if (op == LEX_OP2('=', '=') || op == LEX_OP2('!', '=')) {
        *out = chat_equal(r->h, a, b) == (op == LEX_OP2('=', '='));
        return r->h->status == NUT_OK;
    }
    if (!value_order(r, a, b, &order)) return false;
    const bool strict = op == '<' || op == '>', less = op == '<' || op == LEX_OP2('<', '=');
    *out = order == 0 ? !strict : (order < 0) == less;
    if ((a->kind == CHAT_FLOAT && isnan(a->f)) || (b->kind == CHAT_FLOAT && isnan(b->f))) *out = false;
    return true;
}
