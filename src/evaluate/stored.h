/*
 * Stored logits of a reference, so that it need not be run again. Little-endian:
 *
 *     bytes     what
 *     8         "NUTLOG01"
 *     4, 4, 4   tokens of the vocabulary; of a window; windows
 *     4         0
 *     8         FNV-1a of the windows' token ids
 *     2 each    for each scored token in order: the logits less the largest of them, as half floats
 *
 * The bytes of a row may be hostile: what is not a number or too large is refused.
 */
#ifndef NUT_EVALUATE_STORED_H
#define NUT_EVALUATE_STORED_H

#include "evaluate/windows.h"

enum { STORED_HEADER = 32 };

/* What the header for the whole windows of a text is. */
void stored_header(const windows *w, uint32_t n_vocab, uint8_t out[STORED_HEADER]);
/* Checks a header, and takes the number of windows from it: w has at least as many. */
nut_status stored_check(const uint8_t header[STORED_HEADER], uint64_t n_bytes, windows *w, uint32_t n_vocab,
                        nut_error *err);

/* A row of n logits to bytes (2 * n), and back; false where the bytes are no logits. */
void stored_put(const float *logits, size_t n, uint8_t *out);
bool stored_get(const uint8_t *bytes, size_t n, float *out);

#endif
