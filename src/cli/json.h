/* JSON that the shell writes, and takes apart into its outermost parts (json.c). */
#ifndef NUT_CLI_JSON_H
#define NUT_CLI_JSON_H

#include "cli/cli.h"

/* Text that grows, terminated; free() it. Where memory ends it stays as it is, and has failed. */
typedef struct json_buffer {
    char *text;
    size_t n, cap;
    bool failed;
} json_buffer;

void json_put_bytes(json_buffer *b, const char *text, size_t n);
void json_put(json_buffer *b, const char *text);
/* As a text in quotes. */
void json_put_text(json_buffer *b, const char *text, size_t n);

typedef struct json_part {
    const char *text;
    size_t n;
} json_part;

/* The next value of several with space between them; false at their end, where nothing is left, or where no
 * value begins. Brackets and texts alone are looked at: whoever reads the value says whether it is JSON. */
bool json_take(json_part *at, json_part *value);
/* The next entry of an object; at first `at` is the object. */
bool json_next(json_part *at, json_part *key, json_part *value);
/* Whether a part is this text in quotes. */
bool json_is(json_part part, const char *text);

#endif
