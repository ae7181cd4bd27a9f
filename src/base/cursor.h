/*
 * Byte cursor: the only code that reads numbers from untrusted bytes. A read beyond the end returns 0 and
 * sets `ended`, so that a parser may read a whole item and then test once. All numbers are little-endian.
 */
#ifndef NUT_BASE_CURSOR_H
#define NUT_BASE_CURSOR_H

#include "nutshell.h"

typedef struct cursor {
    const uint8_t *bytes;
    size_t n;
    size_t at;
    bool ended; // a read went past the end; `at` stays where the failed read began
} cursor;

uint8_t cursor_u8(cursor *c);
uint16_t cursor_u16(cursor *c);
uint32_t cursor_u32(cursor *c);
uint64_t cursor_u64(cursor *c);
float cursor_f32(cursor *c);
double cursor_f64(cursor *c);
/* Skips n bytes; returns a pointer to them, or NULL where the bytes end before. */
const uint8_t *cursor_take(cursor *c, uint64_t n);

#endif
