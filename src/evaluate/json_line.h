/* Texts and numbers of one line of JSON (RFC 8259), an object, as data sets have them. The bytes may be
 * hostile: they are read within the line, and nothing calls itself. */
#ifndef NUT_EVALUATE_JSON_LINE_H
#define NUT_EVALUATE_JSON_LINE_H

#include "nutshell.h"

/* The text of a key of the outermost object, as UTF-8, written to out (n bytes of room are enough for any
 * text of a line of n); false where it is no text, or missing. */
bool json_line_text(const char *line, size_t n, const char *key, char *out, size_t *n_out);
/* The value of a key as a number of one digit. */
bool json_line_digit(const char *line, size_t n, const char *key, unsigned *out);

#endif
