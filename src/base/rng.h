/* Random numbers: xoshiro256** seeded by splitmix64 (Blackman and Vigna 2018, arXiv 1805.01407). The same
 * seed gives the same numbers in every build. */
#ifndef NUT_BASE_RNG_H
#define NUT_BASE_RNG_H

#include <stdint.h>

typedef struct rng {
    uint64_t s[4];
} rng;

static inline void rng_seed(rng *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        r->s[i] = z ^ (z >> 31);
    }
}

static inline uint64_t rng_u64(rng *r) {
    uint64_t *s = r->s, x = s[1] * 5, out = ((x << 7) | (x >> 57)) * 9, t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3], s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return out;
}

/* Uniform in [0, 1), 53 bits. */
static inline double rng_f64(rng *r) {
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

#endif
