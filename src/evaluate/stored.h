/*
 * Stored logits of a reference, so that it need not be run again: docs/format.md. The whole form has all
 * logits of a token as half floats; the short one its 64 likeliest tokens and the mass of the rest, in a
 * 250th of the bytes for a vocabulary of 50,000.
 *
 * The bytes may be hostile: each row has a checksum, and what is not a probability is refused.
 */
#ifndef NUT_EVALUATE_STORED_H
#define NUT_EVALUATE_STORED_H

#include "evaluate/windows.h"

enum { STORED_HEADER = 48, STORED_TOP = 64 };

typedef enum stored_form { STORED_WHOLE, STORED_SHORT } stored_form;

/* The header for the whole windows of a text, and a vocabulary; first: the position of a window from which
 * on its logits are stored. */
void stored_header(stored_form form, const windows *w, uint32_t first, const vocab *v,
                   uint8_t out[STORED_HEADER]);
/* Checks a header of a file of n_bytes, and takes its form, that position, and the number of windows: w has
 * at least as many. */
nut_status stored_check(const uint8_t header[STORED_HEADER], uint64_t n_bytes, windows *w, const vocab *v,
                        stored_form *form, uint32_t *first, nut_error *err);

/* Bytes of a row for a vocabulary of n tokens, its checksum among them. */
size_t stored_row_bytes(stored_form form, size_t n);
/* A row of n logits to bytes. */
void stored_put(stored_form form, const float *logits, size_t n, uint8_t *out);
/* And back; false where the bytes are damaged. What the short form does not say about the tokens of the rest
 * is taken from the logits of the model (n) that is compared with it: they share their mass as that model
 * has it, none above the likeliest. The divergence is then that over the 64 tokens and the rest as one,
 * which is not above that over all tokens. */
bool stored_get(stored_form form, const uint8_t *bytes, size_t n, const float *model, float *out);

#endif
