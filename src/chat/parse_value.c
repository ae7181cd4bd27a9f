/* Expressions to trees, with Jinja2's levels of operators: or, and, not, comparisons, + -, ~, * / // %, **,
 * signs, and what stands behind a value. */
#include "chat/parse.h"

#include <string.h>

static bool value_list(parser *p, uint16_t end, node *into);

enum {
    LEVEL_OR = 1,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_COMPARE,
    LEVEL_SUM,
    LEVEL_JOIN,
    LEVEL_PRODUCT,
    LEVEL_POWER
};

static const struct {
    uint16_t op;
    uint8_t level;
} operators[] = {
    {'+', LEVEL_SUM},
    {'-', LEVEL_SUM},
    {'~', LEVEL_JOIN},
    {'*', LEVEL_PRODUCT},
    {'/', LEVEL_PRODUCT},
    {'%', LEVEL_PRODUCT},
    {LEX_OP2('/', '/'), LEVEL_PRODUCT},
    {LEX_OP2('*', '*'), LEVEL_POWER},
    {'<', LEVEL_COMPARE},
    {'>', LEVEL_COMPARE},
    {LEX_OP2('=', '='), LEVEL_COMPARE},
    {LEX_OP2('!', '='), LEVEL_COMPARE},
    {LEX_OP2('<', '='), LEVEL_COMPARE},
    {LEX_OP2('>', '='), LEVEL_COMPARE},
};

/* The level of the operator that the token is, 0: none. */
static int level_of(parser *p, uint16_t *op) {
    if (p->token.kind == LEX_NAME) {
        *op = parse_is_word(p, "or")    ? OP_OR
              : parse_is_word(p, "and") ? OP_AND
              : parse_is_word(p, "in")  ? OP_IN
                                        : 0;
        if (*op) return *op == OP_OR ? LEVEL_OR : *op == OP_AND ? LEVEL_AND : LEVEL_COMPARE;
        if (!parse_is_word(p, "not")) return 0;
        if (!p->has_ahead && !lex_next(&p->lex, &p->ahead)) return 0;
        p->has_ahead = true;
        *op = OP_NOT_IN;
        return p->ahead.kind == LEX_NAME && p->ahead.n == 2 && !memcmp(p->lex.text + p->ahead.at, "in", 2)
                   ? LEVEL_COMPARE
                   : 0;
    }
    if (p->token.kind != LEX_OPERATOR) return 0;
    *op = p->token.op;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (operators[i].op == *op) return operators[i].level;
    return 0;
}

/* ---- arguments ---- */

static bool argument(parser *p, node **out) {
    node *n = *out = parse_node(p, NODE_POSITIONAL, p->token.at);
    if (!n) return false;
    const bool stars = parse_is_op(p, LEX_OP2('*', '*'));
    if (stars || parse_is_op(p, '*')) {
        n->kind = stars ? NODE_STAR_STAR : NODE_STAR;
        return parse_next(p) && parse_value(p, true, &n->a);
    }
    if (p->token.kind == LEX_NAME) {
        if (!p->has_ahead && !lex_next(&p->lex, &p->ahead)) return false;
        p->has_ahead = true;
        if (p->ahead.kind == LEX_OPERATOR && p->ahead.op == '=') {
            n->kind = NODE_KEYWORD;
            return parse_name(p, &n->value) && parse_next(p) && parse_value(p, true, &n->a);
        }
    }
    return parse_value(p, true, &n->a);
}

static bool arguments(parser *p, node **out) {
    node_list list = {0};
    if (!parse_next(p)) return false;
    while (!parse_is_op(p, ')')) {
        node *n;
        if (list.first && !parse_need_op(p, ',', "a comma or )")) return false;
        if (parse_is_op(p, ')')) break;
        if (!argument(p, &n)) return false;
        if (list.first && n->kind == NODE_POSITIONAL &&
            ((node *)(void *)((char *)list.end - offsetof(node, next)))->kind != NODE_POSITIONAL)
            return parse_fail(p, n->at, "an argument without a name stands behind one with a name");
        parse_add(&list, n);
    }
    *out = list.first;
    return parse_next(p);
}

/* ---- behind a value ---- */

static bool slice_part(parser *p, node **out) {
    *out = NULL;
    if (parse_is_op(p, ':') || parse_is_op(p, ']') || parse_is_op(p, ',')) return true;
    return parse_value(p, true, out);
}

/* What is between the brackets of an index. */
static bool subscript(parser *p, node **out) {
    node *n = *out = parse_node(p, NODE_ITEM, p->token.at);
    if (!n || !parse_next(p) || !slice_part(p, &n->a)) return false;
    if (parse_is_op(p, ':')) {
        n->kind = NODE_SLICE;
        if (!parse_next(p) || !slice_part(p, &n->b)) return false;
        if (parse_is_op(p, ':') && (!parse_next(p) || !slice_part(p, &n->c))) return false;
    }
    if (parse_is_op(p, ']') && (n->a || n->kind == NODE_SLICE)) return parse_next(p);
    if (n->kind == NODE_SLICE || !n->a) return parse_expected(p, "]");
    node *tuple = parse_node(p, NODE_TUPLE, n->at); // a[1, 2]
    if (!tuple) return false;
    tuple->a = n->a;
    n->a = tuple;
    return value_list(p, ']', tuple);
}

static bool attribute(parser *p, node **out) {
    if (!parse_next(p)) return false;
    node *n = *out = parse_node(p, NODE_ATTRIBUTE, p->token.at);
    if (!n) return false;
    if (p->token.kind == LEX_NAME) return parse_name(p, &n->value);
    if (p->token.kind != LEX_NUMBER || p->token.value.kind != CHAT_INT)
        return parse_expected(p, "a name or a number");
    n->kind = NODE_ITEM;
    n->a = parse_node(p, NODE_CONST, n->at);
    if (!n->a) return false;
    n->a->value = p->token.value;
    return parse_next(p);
}

static bool call(parser *p, node **out) {
    *out = parse_node(p, NODE_CALL, p->token.at);
    return *out && arguments(p, &(*out)->a);
}

/* A name with dots, as filters and tests may have. */
static bool dotted_name(parser *p, node *n) {
    if (!parse_name(p, &n->value)) return false;
    const char *first = n->value.s->text;
    while (parse_is_op(p, '.')) {
        chat_value part;
        if (!parse_next(p) || !parse_name(p, &part)) return false;
        if (!chat_string_of(p->h, first, (size_t)(part.s->text + part.s->n - first), CHAT_TEMPLATE,
                            &n->value))
            return false;
    }
    return true;
}

static bool filter(parser *p, node **out) {
    node *n = *out = parse_node(p, NODE_FILTER, p->token.at);
    return n && dotted_name(p, n) && (!parse_is_op(p, '(') || arguments(p, &n->a));
}

bool parse_filters(parser *p, bool first, node **out) {
    node_list list = {0};
    for (node *n; first || parse_is_op(p, '|'); first = false) {
        if ((!first && !parse_next(p)) || !filter(p, &n)) return false;
        parse_add(&list, n);
    }
    *out = list.first;
    return p->h->status == NUT_OK;
}

static bool postfix(parser *p, node *base, bool filters, node **out);
static bool primary(parser *p, node **out);

/* Whether a test's argument without brackets begins here. */
static bool begins_argument(parser *p) {
    if (p->token.kind == LEX_STRING || p->token.kind == LEX_NUMBER) return true;
    if (parse_is_op(p, '[') || parse_is_op(p, '{')) return true;
    return p->token.kind == LEX_NAME && !parse_is_word(p, "else") && !parse_is_word(p, "or") &&
           !parse_is_word(p, "and") && !parse_is_word(p, "if");
}

static bool test(parser *p, node **out) {
    node *n = *out = parse_node(p, NODE_TEST, p->token.at), *base;
    if (!n || !parse_next(p)) return false;
    n->flag = parse_take_word(p, "not");
    if (!dotted_name(p, n)) return false;
    if (parse_is_op(p, '(')) return arguments(p, &n->a);
    if (!begins_argument(p)) return p->h->status == NUT_OK;
    if (parse_is_word(p, "is")) return parse_expected(p, "no second test");
    n->a = parse_node(p, NODE_POSITIONAL, p->token.at);
    return n->a && primary(p, &base) && postfix(p, base, false, &n->a->a);
}

/* The next thing behind a value; *out NULL: there is none. */
static bool next_postfix(parser *p, bool filters, bool *filtered, node **out) {
    *out = NULL;
    if (parse_is_op(p, '(')) return call(p, out);
    if (!*filtered && parse_is_op(p, '.')) return attribute(p, out);
    if (!*filtered && parse_is_op(p, '[')) return subscript(p, out);
    if (!filters) return true;
    if (parse_is_op(p, '|')) return *filtered = true, parse_next(p) && filter(p, out);
    if (parse_is_word(p, "is")) return *filtered = true, test(p, out);
    return true;
}

static bool postfix(parser *p, node *base, bool filters, node **out) {
    node_list list = {0};
    bool filtered = false;
    for (node *n;;) {
        if (!next_postfix(p, filters, &filtered, &n)) return false;
        if (!n) break;
        parse_add(&list, n);
    }
    *out = base;
    if (!list.first) return true;
    node *n = *out = parse_node(p, NODE_POSTFIX, base->at);
    if (!n) return false;
    n->a = base;
    n->b = list.first;
    return true;
}

/* ---- values ---- */

/* Values with commas up to the bracket `end`, behind into->a where that is there. */
static bool value_list(parser *p, uint16_t end, node *into) {
    node_list list = {0};
    if (into->a) parse_add(&list, into->a);
    while (!parse_is_op(p, end)) {
        node *n;
        if (list.first && !parse_need_op(p, ',', "a comma or a bracket")) return false;
        if (parse_is_op(p, end)) break;
        if (!parse_value(p, true, &n)) return false;
        parse_add(&list, n);
        if (into->kind != NODE_DICT) continue;
        if (!parse_need_op(p, ':', "a colon") || !parse_value(p, true, &n)) return false;
        parse_add(&list, n);
    }
    into->a = list.first;
    return parse_next(p);
}

static const struct {
    const char *word;
    chat_value value;
} words[] = {
    {"true", {.kind = CHAT_BOOL, .b = true}},
    {"True", {.kind = CHAT_BOOL, .b = true}},
    {"false", {.kind = CHAT_BOOL, .b = false}},
    {"False", {.kind = CHAT_BOOL, .b = false}},
    {"none", {.kind = CHAT_NONE}},
    {"None", {.kind = CHAT_NONE}},
};

static bool name(parser *p, node *n) {
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!parse_is_word(p, words[i].word)) continue;
        n->kind = NODE_CONST;
        n->value = words[i].value;
        return parse_next(p);
    }
    if (parse_is_word(p, "caller")) p->uses |= USES_CALLER;
    if (parse_is_word(p, "varargs")) p->uses |= USES_VARARGS;
    if (parse_is_word(p, "kwargs")) p->uses |= USES_KWARGS;
    return parse_name(p, &n->value);
}

static bool constant(parser *p, node *n) {
    n->value = p->token.value;
    const bool text = p->token.kind == LEX_STRING;
    if (!parse_next(p)) return false;
    while (text && p->token.kind == LEX_STRING)
        if (!chat_concat(p->h, n->value.s, p->token.value.s, &n->value) || !parse_next(p)) return false;
    chat_know_hash(&n->value);
    return true;
}

/* What is in parentheses, and the tuple that it may be. */
static bool in_parentheses(parser *p, node **out) {
    if (!parse_next(p)) return false;
    if (parse_is_op(p, ')')) return (*out)->kind = NODE_TUPLE, parse_next(p);
    return parse_tuple(p, true, out) && parse_need_op(p, ')', ")");
}

static bool primary(parser *p, node **out) {
    node *n = *out = parse_node(p, NODE_NAME, p->token.at);
    if (!n) return false;
    if (p->token.kind == LEX_NAME) return name(p, n);
    n->kind = NODE_CONST;
    if (p->token.kind == LEX_STRING || p->token.kind == LEX_NUMBER) return constant(p, n);
    if (parse_is_op(p, '(')) return in_parentheses(p, out);
    n->kind = parse_is_op(p, '[') ? NODE_LIST : NODE_DICT;
    if (parse_is_op(p, '[')) return parse_next(p) && value_list(p, ']', n);
    if (parse_is_op(p, '{')) return parse_next(p) && value_list(p, '}', n);
    return parse_expected(p, "a value");
}

static bool unary(parser *p, bool filters, node **out) {
    node *base;
    if (!chat_enter(p->h)) return false;
    const bool minus = parse_is_op(p, '-');
    if (minus || parse_is_op(p, '+')) {
        base = parse_node(p, minus ? NODE_NEGATE : NODE_PLUS, p->token.at);
        if (!base || !parse_next(p) || !unary(p, false, &base->a)) return false;
    } else if (!primary(p, &base)) {
        return false;
    }
    chat_leave(p->h);
    return postfix(p, base, filters, out);
}

static bool chain(parser *p, int least, node **out);

static bool negation(parser *p, node **out) {
    node *n = *out = parse_node(p, NODE_NOT, p->token.at);
    return n && parse_next(p) && chain(p, LEVEL_NOT, &n->a);
}

/* Operands and operators of a level and those above. */
static bool chain(parser *p, int least, node **out) {
    uint16_t op;
    if (!chat_enter(p->h)) return false;
    if (!(least <= LEVEL_NOT && parse_is_word(p, "not") ? negation(p, out) : unary(p, true, out)))
        return false;
    for (int level; (level = level_of(p, &op)) >= least && level;) {
        node *whole = parse_node(p, NODE_CHAIN, (*out)->at);
        node_list links = {0};
        if (!whole) return false;
        whole->a = *out;
        do {
            node *link = parse_node(p, NODE_LINK, p->token.at);
            if (!link || !parse_next(p) || (op == OP_NOT_IN && !parse_next(p))) return false;
            link->op = op;
            if (!chain(p, level + 1, &link->a)) return false;
            parse_add(&links, link);
        } while (level_of(p, &op) == level);
        whole->b = links.first;
        *out = whole;
    }
    chat_leave(p->h);
    return p->h->status == NUT_OK;
}

bool parse_value(parser *p, bool if_else, node **out) {
    if (!chain(p, LEVEL_OR, out)) return false;
    while (if_else && parse_is_word(p, "if")) {
        node *n = parse_node(p, NODE_IF_ELSE, (*out)->at);
        if (!n || !parse_next(p) || !chain(p, LEVEL_OR, &n->a)) return false;
        n->b = *out;
        *out = n;
        if (!parse_take_word(p, "else")) continue;
        if (!chat_enter(p->h) || !parse_value(p, true, &n->c)) return false;
        chat_leave(p->h);
    }
    return p->h->status == NUT_OK;
}

/* Whether a tuple may end behind a comma here. */
static bool tuple_ends(parser *p) {
    return p->token.kind == LEX_VALUE_END || p->token.kind == LEX_BLOCK_END || parse_is_op(p, ')');
}

bool parse_tuple(parser *p, bool if_else, node **out) {
    node_list list = {0};
    if (!parse_value(p, if_else, out)) return false;
    if (!parse_is_op(p, ',')) return true;
    node *tuple = parse_node(p, NODE_TUPLE, (*out)->at);
    if (!tuple) return false;
    parse_add(&list, *out);
    while (parse_take_op(p, ',') && !tuple_ends(p)) {
        if (!parse_value(p, if_else, out)) return false;
        parse_add(&list, *out);
    }
    tuple->a = list.first;
    *out = tuple;
    return p->h->status == NUT_OK;
}

/* ---- targets of assignments ---- */

static bool target_item(parser *p, bool fields, node **out);

static bool target_list(parser *p, bool fields, node **out) {
    node_list list = {0};
    if (!target_item(p, fields, out)) return false;
    if (!parse_is_op(p, ',')) return true;
    node *tuple = parse_node(p, NODE_TUPLE, (*out)->at);
    if (!tuple) return false;
    parse_add(&list, *out);
    while (parse_take_op(p, ',') && !tuple_ends(p) && !parse_is_word(p, "in") && !parse_is_op(p, '=')) {
        if (!target_item(p, fields, out)) return false;
        parse_add(&list, *out);
    }
    tuple->a = list.first;
    *out = tuple;
    return p->h->status == NUT_OK;
}

static bool target_item(parser *p, bool fields, node **out) {
    if (parse_is_op(p, '(')) {
        if (!chat_enter(p->h) || !parse_next(p) || !target_list(p, fields, out)) return false;
        chat_leave(p->h);
        return parse_need_op(p, ')', ")");
    }
    if (p->token.kind != LEX_NAME) return parse_expected(p, "a name to assign to");
    if (!primary(p, out)) return false;
    if ((*out)->kind != NODE_NAME) return parse_fail(p, (*out)->at, "this cannot be assigned to");
    if (!fields || !parse_take_op(p, '.')) return p->h->status == NUT_OK;
    (*out)->kind = NODE_SET_FIELD;
    (*out)->a = parse_node(p, NODE_CONST, p->token.at);
    return (*out)->a && parse_name(p, &(*out)->a->value);
}

bool parse_target(parser *p, bool fields, node **out) {
    return target_list(p, fields, out);
}
