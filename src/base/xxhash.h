/*
 * xxHash32 (Collet, https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md) with seed 0: finds bytes that
 * were damaged by accident. It is no proof against forgers.
 */
#ifndef NUT_BASE_XXHASH_H
#define NUT_BASE_XXHASH_H

#include "nutshell.h"

uint32_t xxhash32(const uint8_t *bytes, size_t n);

#endif
