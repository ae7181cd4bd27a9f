/*
 * The normalization form C of texts (Unicode Standard Annex 15, of Unicode 15.1): characters and their marks
 * in one form of several that mean the same.
 */
#ifndef NUT_MODEL_NFC_H
#define NUT_MODEL_NFC_H

#include <stdbool.h>
#include <stddef.h>

enum { NFC_GROWTH = 3 }; // a text gets at most so many times as long

/* Whether a text is in the form. */
bool nfc_is(const char *text, size_t n);
/* Writes n bytes of text in the form to `to`, of NFC_GROWTH * n bytes; the length. Bytes that are no UTF-8
 * stay as they are. Of more than 31 marks in a row, the later ones are a sequence of their own. */
size_t nfc_write(const char *text, size_t n, char *to);

#endif
