/* Templates to tokens, one at a time, as Jinja2's lexer cuts them with trim_blocks and lstrip_blocks set. */
#ifndef NUT_CHAT_LEX_H
#define NUT_CHAT_LEX_H

#include "chat/value.h"

typedef enum lex_kind {
    LEX_END,         // of the template
    LEX_DATA,        // text between tags
    LEX_VALUE_BEGIN, // {{
    LEX_VALUE_END,   // }}
    LEX_BLOCK_BEGIN, // {%
    LEX_BLOCK_END,   // %}
    LEX_NAME,
    LEX_STRING, // value: its text without quotes and escapes
    LEX_NUMBER, // value
    LEX_OPERATOR,
} lex_kind;

typedef struct lex_token {
    uint8_t kind;   // lex_kind
    uint16_t op;    // of LEX_OPERATOR: its character, or 256 times the first and the second
    uint32_t at, n; // where it stands in the template
    chat_value value;
} lex_token;

#define LEX_OP2(a, b) (uint16_t)((a) << 8 | (b))

typedef struct lexer {
    chat_heap *h;
    const char *text; // the template with Unix line ends
    uint32_t n, at;
    lex_token ahead; // a tag that was found behind text
    bool has_ahead;
    uint8_t inside;   // LEX_VALUE_BEGIN or LEX_BLOCK_BEGIN: in such a tag; 0: between tags
    bool line_begins; // the last tag's end took a line end along
    uint32_t open;    // brackets of the tag that are not closed
} lexer;

/* Fails where the template is too long. The bytes must outlive the heap. */
bool lex_open(lexer *l, chat_heap *h, const char *text, size_t n);
bool lex_next(lexer *l, lex_token *out);

/* Fails with "line L, column C of the chat template: " in front of a message. Columns count characters from
 * 1. */
bool lex_fail(chat_heap *h, const char *text, uint32_t at, const char *message);

#endif
