/* Templates as trees. A node has a kind, its place in the template, and up to three parts; lists of nodes
 * are chained by `next`. Chains of operators, and of what stands behind a value (.name, [i], (..), |filter,
 * is test), are lists, so that the depth of a tree is that of its brackets and blocks. */
#ifndef NUT_CHAT_SYNTAX_H
#define NUT_CHAT_SYNTAX_H

#include "chat/lex.h"

typedef enum node_kind {
    /* Expressions */
    NODE_CONST,     // value
    NODE_NAME,      // value: the name
    NODE_LIST,      // a: items
    NODE_TUPLE,     // a: items
    NODE_DICT,      // a: keys and values in turn
    NODE_CHAIN,     // a: first operand; b: NODE_LINK, all of one level
    NODE_LINK,      // op; a: operand
    NODE_NOT,       // a
    NODE_NEGATE,    // a
    NODE_PLUS,      // a
    NODE_IF_ELSE,   // a: condition, b: value, c: other value or NULL
    NODE_POSTFIX,   // a: value; b: the following five
    NODE_ATTRIBUTE, // value: name
    NODE_ITEM,      // a: index
    NODE_SLICE,     // a, b, c: from, to, step; each may be NULL
    NODE_CALL,      // a: arguments
    NODE_FILTER,    // value: name; a: arguments
    NODE_TEST,      // value: name; a: arguments; negated
    /* Arguments */
    NODE_POSITIONAL, // a
    NODE_KEYWORD,    // value: name; a
    NODE_STAR,       // a: list
    NODE_STAR_STAR,  // a: map
    /* Statements */
    NODE_TEXT,         // value
    NODE_OUTPUT,       // a
    NODE_IF,           // a: NODE_BRANCH; b: else
    NODE_BRANCH,       // a: condition; b: statements
    NODE_FOR,          // a: target; b: NODE_FOR_PARTS; c: statements; flag: recursive
    NODE_FOR_PARTS,    // a: list; b: condition or NULL; c: else
    NODE_SET,          // a: target; b: value
    NODE_SET_BLOCK,    // a: target; b: filters or NULL; c: statements
    NODE_SET_FIELD,    // a target alone: value: name of a namespace; a: NODE_CONST with the field
    NODE_MACRO,        // value: name; a: NODE_PARAMETER; c: statements
    NODE_PARAMETER,    // value: name; a: default or NULL
    NODE_CALL_BLOCK,   // a: NODE_PARAMETER; b: call; c: statements
    NODE_FILTER_BLOCK, // b: filters; c: statements
    NODE_WITH,         // a: NODE_SET; c: statements
    NODE_SCOPE,        // c: statements
    NODE_BREAK,
    NODE_CONTINUE,
} node_kind;

typedef struct node node;
struct node {
    uint8_t kind; // node_kind
    bool flag;    // FOR: recursive; TEST: negated
    uint16_t op;  // of a LINK: as in lex_token; words are OP_*; of a MACRO: USES_*
    uint32_t at;  // in the template
    node *a, *b, *c, *next;
    chat_value value;
};

enum { // operators that are words
    OP_OR = 1,
    OP_AND,
    OP_IN,
    OP_NOT_IN,
};

enum { // what a macro takes besides its parameters, since its body names it
    USES_CALLER = 1,
    USES_VARARGS = 2,
    USES_KWARGS = 4,
};

/* Parses a whole template. *text receives the template as positions count in it. */
bool syntax_parse(chat_heap *h, const char *text, size_t n, const node **out, const char **source);

#endif
