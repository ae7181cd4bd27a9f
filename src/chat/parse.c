/* Statements to trees: a row for each tag. */
#include "chat/parse.h"

#include <stdio.h>
#include <string.h>

/* ---- tokens ---- */

bool parse_fail(parser *p, uint32_t at, const char *message) {
    return lex_fail(p->h, p->lex.text, at, message);
}

bool parse_expected(parser *p, const char *what) {
    char text[160];
    if (p->token.kind == LEX_END)
        snprintf(text, sizeof text, "expected %s, and the template ends", what);
    else
        snprintf(text, sizeof text, "expected %s, not \"%.*s\"", what,
                 p->token.n < 40 ? (int)p->token.n : 40, p->lex.text + p->token.at);
    return parse_fail(p, p->token.at, text);
}

bool parse_next(parser *p) {
    if (!p->has_ahead) return lex_next(&p->lex, &p->token);
    p->token = p->ahead;
    p->has_ahead = false;
    return true;
}

bool parse_is_op(const parser *p, uint16_t op) {
    return p->token.kind == LEX_OPERATOR && p->token.op == op;
}

bool parse_is_word(const parser *p, const char *word) {
    return p->token.kind == LEX_NAME && p->token.n == strlen(word) &&
           !memcmp(p->lex.text + p->token.at, word, p->token.n);
}

bool parse_take_op(parser *p, uint16_t op) {
    return parse_is_op(p, op) && parse_next(p);
}

bool parse_take_word(parser *p, const char *word) {
    return parse_is_word(p, word) && parse_next(p);
}

bool parse_need_op(parser *p, uint16_t op, const char *what) {
    return parse_is_op(p, op) ? parse_next(p) : parse_expected(p, what);
}

static bool need_word(parser *p, const char *word) {
    return parse_is_word(p, word) ? parse_next(p) : parse_expected(p, word);
}

bool parse_name(parser *p, chat_value *out) {
    if (p->token.kind != LEX_NAME) return parse_expected(p, "a name");
    if (!chat_string_of(p->h, p->lex.text + p->token.at, p->token.n, CHAT_TEMPLATE, out)) return false;
    chat_know_hash(out);
    return parse_next(p);
}

node *parse_node(parser *p, node_kind kind, uint32_t at) {
    node *n = chat_alloc(p->h, sizeof *n);
    if (n) n->kind = (uint8_t)kind, n->at = at;
    return n;
}

/* ---- blocks ---- */

/* Statements up to a tag that is one of the words (NULL: the second is none), which becomes the token. */
static bool block(parser *p, const char *end, const char *other, node **out);

/* The end of the tag, statements, and the tag that ends them. */
static bool body(parser *p, const char *end, node **out) {
    return block(p, end, NULL, out) && parse_next(p);
}

static bool parse_if(parser *p, node *n) {
    node_list branches = {0};
    n->kind = NODE_IF;
    do {
        node *branch = parse_node(p, NODE_BRANCH, p->token.at);
        if (!branch || !parse_tuple(p, false, &branch->a) || !block(p, "endif", "el", &branch->b))
            return false;
        parse_add(&branches, branch);
    } while (parse_take_word(p, "elif"));
    n->a = branches.first;
    if (parse_take_word(p, "else") && !block(p, "endif", NULL, &n->b)) return false;
    return need_word(p, "endif");
}

static bool parse_for(parser *p, node *n) {
    node *parts = parse_node(p, NODE_FOR_PARTS, n->at);
    n->kind = NODE_FOR;
    if (!parts || !parse_target(p, false, &n->a) || !need_word(p, "in")) return false;
    if (!parse_tuple(p, false, &parts->a)) return false;
    if (parse_take_word(p, "if") && !parse_value(p, true, &parts->b)) return false;
    n->flag = parse_take_word(p, "recursive");
    p->loops++;
    if (!block(p, "endfor", "else", &n->c)) return false;
    p->loops--;
    if (parse_take_word(p, "else") && !block(p, "endfor", NULL, &parts->c)) return false;
    n->b = parts;
    return need_word(p, "endfor");
}

static bool parse_set(parser *p, node *n) {
    n->kind = NODE_SET;
    if (!parse_target(p, true, &n->a)) return false;
    if (parse_take_op(p, '=')) return parse_tuple(p, true, &n->b);
    n->kind = NODE_SET_BLOCK;
    return parse_filters(p, false, &n->b) && body(p, "endset", &n->c);
}

static bool parameters(parser *p, node **out) {
    node_list list = {0};
    if (!parse_need_op(p, '(', "(")) return false;
    while (!parse_is_op(p, ')')) {
        node *n = parse_node(p, NODE_PARAMETER, p->token.at);
        if (!n || (list.first && !parse_need_op(p, ',', "a comma or )"))) return false;
        if (parse_is_op(p, ')')) break;
        if (!parse_name(p, &n->value)) return false;
        if (parse_take_op(p, '=') && !parse_value(p, true, &n->a)) return false;
        parse_add(&list, n);
    }
    *out = list.first;
    return parse_next(p);
}

/* What is inside is no part of a loop outside. */
static bool body_of_its_own(parser *p, const char *end, node **out) {
    const unsigned loops = p->loops;
    p->loops = 0;
    const bool done = body(p, end, out);
    p->loops = loops;
    return done;
}

static bool parse_macro(parser *p, node *n) {
    const uint16_t uses = p->uses;
    n->kind = NODE_MACRO;
    p->uses = 0;
    if (!parse_name(p, &n->value) || !parameters(p, &n->a) || !body_of_its_own(p, "endmacro", &n->c))
        return false;
    n->op = p->uses;
    p->uses = uses;
    return true;
}

static bool parse_call(parser *p, node *n) {
    n->kind = NODE_CALL_BLOCK;
    if (parse_is_op(p, '(') && !parameters(p, &n->a)) return false;
    if (!parse_value(p, true, &n->b)) return false;
    const node *last = n->b->kind == NODE_POSTFIX ? n->b->b : NULL;
    while (last && last->next) last = last->next;
    if (!last || last->kind != NODE_CALL) return parse_fail(p, n->at, "a call block needs a call");
    return body_of_its_own(p, "endcall", &n->c);
}

static bool parse_filter(parser *p, node *n) {
    n->kind = NODE_FILTER_BLOCK;
    return parse_filters(p, true, &n->b) && body(p, "endfilter", &n->c);
}

static bool parse_with(parser *p, node *n) {
    node_list list = {0};
    n->kind = NODE_WITH;
    while (p->token.kind != LEX_BLOCK_END) {
        node *set = parse_node(p, NODE_SET, p->token.at);
        if (!set || (list.first && !parse_need_op(p, ',', "a comma"))) return false;
        if (!parse_target(p, false, &set->a) || !parse_need_op(p, '=', "=") ||
            !parse_value(p, true, &set->b))
            return false;
        parse_add(&list, set);
    }
    n->a = list.first;
    return body(p, "endwith", &n->c);
}

/* Marks what the assistant says, for training. */
static bool parse_generation(parser *p, node *n) {
    n->kind = NODE_SCOPE;
    return body(p, "endgeneration", &n->c);
}

static bool parse_autoescape(parser *p, node *n) {
    node *ignored;
    n->kind = NODE_SCOPE;
    return parse_value(p, true, &ignored) && body(p, "endautoescape", &n->c);
}

static bool parse_block(parser *p, node *n) {
    chat_value name;
    n->kind = NODE_SCOPE;
    if (!parse_name(p, &name)) return false;
    while (parse_take_word(p, "scoped") || parse_take_word(p, "required")) {
    }
    return body(p, "endblock", &n->c) && (p->token.kind != LEX_NAME || parse_next(p));
}

static bool in_loop(parser *p, node *n, node_kind kind) {
    n->kind = (uint8_t)kind;
    return p->loops ? true : parse_fail(p, n->at, "break and continue belong into a loop");
}
static bool parse_break(parser *p, node *n) {
    return in_loop(p, n, NODE_BREAK);
}
static bool parse_continue(parser *p, node *n) {
    return in_loop(p, n, NODE_CONTINUE);
}

static const struct {
    const char *word;
    bool (*parse)(parser *p, node *n); // from behind the word; sets the node's kind
} tags[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call},
    {"filter", parse_filter},
    {"with", parse_with},
    {"generation", parse_generation},
    {"autoescape", parse_autoescape},
    {"block", parse_block},
    {"break", parse_break},
    {"continue", parse_continue},
};

static bool tag(parser *p, node **out) {
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!parse_is_word(p, tags[i].word)) continue;
        *out = parse_node(p, NODE_SCOPE, p->token.at);
        if (!*out || !parse_next(p) || !tags[i].parse(p, *out)) return false;
        return p->token.kind == LEX_BLOCK_END ? parse_next(p) : parse_expected(p, "%}");
    }
    return parse_expected(p, "a tag that chat templates may have");
}

/* Text, or {{ a value }}. */
static bool piece(parser *p, node **out) {
    const bool text = p->token.kind == LEX_DATA;
    node *n = *out = parse_node(p, text ? NODE_TEXT : NODE_OUTPUT, p->token.at);
    if (!n) return false;
    if (text)
        return chat_string_of(p->h, p->lex.text + n->at, p->token.n, CHAT_TEMPLATE, &n->value) &&
               parse_next(p);
    if (!parse_next(p) || !parse_tuple(p, true, &n->a)) return false;
    return p->token.kind == LEX_VALUE_END ? parse_next(p) : parse_expected(p, "}}");
}

/* Whether the token ends the block. */
static bool ends(const parser *p, const char *end, const char *other) {
    if (!end) return false;
    if (parse_is_word(p, end)) return true;
    return other && (parse_is_word(p, "else") || (!strcmp(other, "el") && parse_is_word(p, "elif")));
}

/* Statements up to the tag that ends them, or where end is NULL the template. */
static bool statements(parser *p, const char *end, const char *other, node **out) {
    node_list list = {0};
    for (node *n = NULL; p->token.kind != LEX_END;) {
        if (p->token.kind == LEX_BLOCK_BEGIN) {
            if (!parse_next(p)) return false;
            if (ends(p, end, other)) return *out = list.first, true;
            if (!tag(p, &n)) return false;
        } else if (!piece(p, &n)) {
            return false;
        }
        parse_add(&list, n);
    }
    *out = list.first;
    return end ? parse_expected(p, end) : true;
}

static bool block(parser *p, const char *end, const char *other, node **out) {
    parse_take_op(p, ':');
    if (p->token.kind != LEX_BLOCK_END) return parse_expected(p, "%}");
    if (!chat_enter(p->h) || !parse_next(p) || !statements(p, end, other, out)) return false;
    chat_leave(p->h);
    return true;
}

bool syntax_parse(chat_heap *h, const char *text, size_t n, const node **out, const char **source) {
    parser p = {.h = h};
    node *first = NULL;
    if (!lex_open(&p.lex, h, text, n) || !parse_next(&p) || !statements(&p, NULL, NULL, &first))
        return false;
    *out = first;
    *source = p.lex.text;
    return h->status == NUT_OK;
}
