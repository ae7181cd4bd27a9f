/* Numbers as texts: what JSON and Python write and read. */
#ifndef NUT_CHAT_NUMBER_H
#define NUT_CHAT_NUMBER_H

#include "chat/value.h"

enum { NUMBER_BYTES = 32 }; // a number's text with its terminator

/* Writes a float as Python's repr: the shortest digits that read back the same. Returns its length. */
size_t number_put_float(char *out, double f);
size_t number_put_int(char *out, int64_t i);

/* Reads a number of JSON's grammar from the n bytes at s: an integer, or a float where it has a point, an
 * exponent, or does not fit 64 bits. Returns the bytes read, 0: no number is there. Floats are rounded to
 * nearest even, whatever their digits. */
size_t number_read(const char *s, size_t n, chat_value *out);

#endif
