/* Bounds-checked little-endian reads. */
#include "base/cursor.h"

#include <string.h>

const uint8_t *cursor_take(cursor *c, uint64_t n) {
    if (c->ended || n > c->n - c->at) {
        c->ended = true;
        return NULL;
    }
    const uint8_t *p = c->bytes + c->at;
    c->at += (size_t)n;
    return p;
}

static uint64_t cursor_le(cursor *c, unsigned n) {
    const uint8_t *p = cursor_take(c, n);
    uint64_t v = 0;
    for (unsigned i = 0; p && i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t cursor_u8(cursor *c) {
    return (uint8_t)cursor_le(c, 1);
}
uint16_t cursor_u16(cursor *c) {
    return (uint16_t)cursor_le(c, 2);
}
uint32_t cursor_u32(cursor *c) {
    return (uint32_t)cursor_le(c, 4);
}
uint64_t cursor_u64(cursor *c) {
    return cursor_le(c, 8);
}

float cursor_f32(cursor *c) {
    uint32_t u = cursor_u32(c);
    float f;
    memcpy(&f, &u, 4);
    return f;
}
double cursor_f64(cursor *c) {
    uint64_t u = cursor_u64(c);
    double f;
    memcpy(&f, &u, 8);
    return f;
}
