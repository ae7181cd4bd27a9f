/*
 * A reader of small JSON texts (RFC 8259) whose shape the caller knows: each call takes the next thing, and
 * an error says where in the text it is, by line and column. Nothing is allocated, nothing recurses. The
 * bytes may be hostile.
 *
 *     TRY(json_read_begin(&j, "recipe", text, n, err));
 *     TRY(json_read_open(&j, '[', err));
 *     for (;;) {
 *         TRY(json_read_more(&j, &more, err));
 *         if (!more) break;
 *         ... take one value ...
 *     }
 *     TRY(json_read_end(&j, err));
 */
#ifndef NUT_BASE_JSON_READ_H
#define NUT_BASE_JSON_READ_H

#include "nutshell.h"

enum { JSON_READ_DEPTH = 8 };

typedef struct json_read {
    const char *what; // what the text is, for messages
    const char *s;    // (n)
    size_t n, at;
    size_t last;                // where the thing that was taken last begins
    char open[JSON_READ_DEPTH]; // brackets that are open, of them the last
    size_t depth;
    bool first; // nothing was taken since that one was opened
} json_read;

/* E_CORRUPT where nothing but white space is there. */
nut_status json_read_begin(json_read *j, const char *what, const char *text, size_t n, nut_error *err);
/* Takes an opening bracket, '[' or '{'. */
nut_status json_read_open(json_read *j, char bracket, nut_error *err);
/* Whether another item stands before the closing bracket, which is taken where none does. */
nut_status json_read_more(json_read *j, bool *more, nut_error *err);
/* Takes a string, decoded and terminated; E_CORRUPT where it has more than cap - 1 bytes, or a zero. */
nut_status json_read_string(json_read *j, char *out, size_t cap, nut_error *err);
/* Takes the name of an object's value, as a string, and the colon behind it. */
nut_status json_read_key(json_read *j, char *out, size_t cap, nut_error *err);
nut_status json_read_number(json_read *j, double *out, nut_error *err);
nut_status json_read_flag(json_read *j, bool *out, nut_error *err);
/* The kind of the value that is next, by its first character: '[', '{', '"', 't' or 'f', '0' for a number,
 * 'n' for null, or whatever is there instead; 0: nothing. */
char json_read_peek(json_read *j);
/* E_CORRUPT where something else follows. */
nut_status json_read_end(json_read *j, nut_error *err);

/* An error about what was taken last: "recipe, line 2, column 7: ...". */
nut_status json_read_error(const json_read *j, nut_status code, nut_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
