/* xxHash32, as its specification describes it. */
#include "base/xxhash.h"

#include <string.h>

static const uint32_t prime[5] = {2654435761u, 2246822519u, 3266489917u, 668265263u, 374761393u};

static uint32_t rotate(uint32_t x, int by) {
    return x << by | x >> (32 - by);
}

static uint32_t load32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}

static uint32_t round_of(uint32_t sum, uint32_t lane) {
    return rotate(sum + lane * prime[1], 13) * prime[0];
}

/* Stripes of 16 bytes; *p receives where they end. */
static uint32_t stripes(const uint8_t **p, const uint8_t *end) {
    uint32_t a = prime[0] + prime[1], b = prime[1], c = 0, d = 0u - prime[0];
    const uint8_t *at = *p;
    for (; end - at >= 16; at += 16) {
        a = round_of(a, load32(at));
        b = round_of(b, load32(at + 4));
        c = round_of(c, load32(at + 8));
        d = round_of(d, load32(at + 12));
    }
    *p = at;
    return rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
}

uint32_t xxhash32(const uint8_t *bytes, size_t n) {
    const uint8_t *p = bytes, *end = bytes + n;
    uint32_t sum = (n >= 16 ? stripes(&p, end) : prime[4]) + (uint32_t)n;
    for (; end - p >= 4; p += 4) sum = rotate(sum + load32(p) * prime[2], 17) * prime[3];
    for (; p < end; p++) sum = rotate(sum + *p * prime[4], 11) * prime[0];
    sum = (sum ^ sum >> 15) * prime[1];
    sum = (sum ^ sum >> 13) * prime[2];
    return sum ^ sum >> 16;
}
