/* What the parsers of statements (parse.c) and expressions (parse_value.c) share. */
#ifndef NUT_CHAT_PARSE_H
#define NUT_CHAT_PARSE_H

#include "chat/syntax.h"

typedef struct parser {
    chat_heap *h;
    lexer lex;
    lex_token token, ahead;
    bool has_ahead;
    unsigned loops; // that the place is inside of
    uint16_t uses;  // USES_*, of the macro that the place is in
} parser;

typedef struct node_list { // to add to the end of
    node *first, **end;
} node_list;

/* Fails at the token: "expected: ..." */
bool parse_expected(parser *p, const char *what);
bool parse_fail(parser *p, uint32_t at, const char *message);
bool parse_next(parser *p); // the next token becomes `token`
bool parse_is_op(const parser *p, uint16_t op);
bool parse_is_word(const parser *p, const char *word);
/* Whether the token is it; takes it then. *failed: the token behind it cannot be read. */
bool parse_take_op(parser *p, uint16_t op);
bool parse_take_word(parser *p, const char *word);
bool parse_need_op(parser *p, uint16_t op, const char *what);
bool parse_name(parser *p, chat_value *out); // takes a name

node *parse_node(parser *p, node_kind kind, uint32_t at); // NULL: failed
static inline void parse_add(node_list *list, node *n) {
    *(list->first ? list->end : &list->first) = n;
    list->end = &n->next;
}

bool parse_value(parser *p, bool if_else, node **out); // an expression
bool parse_tuple(parser *p, bool if_else, node **out); // or several with commas, which are a tuple
bool parse_filters(parser *p, bool first, node **out); // |a|b; first: begins behind the |
bool parse_target(parser *p, bool fields, node **out); // what is assigned to

#endif
