/* JSON (RFC 8259) to values and back. The bytes may be hostile: nesting is limited by CHAT_MAX_DEPTH, memory
 * and work by the heap. */
#ifndef NUT_CHAT_JSON_H
#define NUT_CHAT_JSON_H

#include "chat/value.h"

/* Reads one value, with blanks around it. Texts and numbers are of `origin`; a text without escapes points
 * into the n bytes at `text`, which must outlive the heap. Of a key that comes twice, the last value counts,
 * as in Python. Half a surrogate pair, and bytes that are no UTF-8, become U+FFFD. Fails with E_ARGUMENT and
 * the place in `what` ("the messages"). */
bool chat_json_read(chat_heap *h, const char *text, size_t n, chat_origin origin, const char *what,
                    chat_value *out);

typedef struct chat_json_style {
    int indent;                    // spaces for each level; -1: all in one line
    const chat_string *item, *key; // separators; NULL: ", " ("," where there are lines) and ": "
    bool sort_keys;
    bool ascii; // escape what is not ASCII
} chat_json_style;

/* Writes a value as Python's json.dumps does, into `out`. Texts keep their origins; what JSON puts around
 * them counts as data, so that no text of a template's can be made of both. Undefined values, functions and
 * iterators fail, as they do in Python. */
bool chat_json_write(chat_text *out, const chat_value *v, const chat_json_style *style);

#endif
