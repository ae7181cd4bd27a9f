/* Random rotations by Kronecker products. */
#include "compress/rotation.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdbool.h>

static const double pi = 3.14159265358979323846;

/* ---- the small matrix ---- */

static bool is_prime(size_t n) {
    for (size_t d = 2; d * d <= n; d++)
        if (n % d == 0) return false;
    return n > 1;
}

static bool has_paley(size_t n) {
    return n % 4 == 0 && is_prime(n - 1);
}

/* The least size that has a Hadamard matrix and whose factor is a power of two; else the odd factor. */
static size_t small_size(size_t n) {
    size_t odd = n;
    while (odd % 2 == 0) odd /= 2;
    for (size_t m = odd; odd > 1 && m <= n; m *= 2)
        if (has_paley(m)) return m;
    return odd;
}

/* Whether a is a square of a number that is not 0, modulo q: 1, else -1; of 0: 0. */
static int character(size_t a, size_t q) {
    for (size_t i = 1; i < q && a; i++)
        if (i * i % q == a) return 1;
    return a ? -1 : 0;
}

/* I + S, S being skew: a border of ones around the characters of i - j. */
static int paley(size_t i, size_t j, size_t q) {
    if (i == j) return 1;
    if (i == 0 || j == 0) return i == 0 ? 1 : -1;
    return character((i + q - j) % q, q);
}

static double cosine(size_t i, size_t j, size_t n) {
    return (i ? sqrt(2) : 1) * cos(pi * (double)i * (2 * (double)j + 1) / (2 * (double)n));
}

static void fill_small(const rotation *r) {
    const size_t m = r->n_small;
    for (size_t i = 0; i < m * m; i++) {
        const double value = has_paley(m) ? paley(i / m, i % m, m - 1) : cosine(i / m, i % m, m);
        r->small[i] = (float)(value / sqrt((double)m));
    }
}

/* ---- products ---- */

/* Numbers `stride` apart are n of a Hadamard matrix of 2^k, each a row of `stride` numbers. */
static void walsh(float *x, size_t n, size_t stride) {
    const float by = 1 / sqrtf((float)(n / stride));
    for (size_t half = stride; half < n; half *= 2)
        for (size_t at = 0; at < n; at += 2 * half)
            for (size_t i = at; i < at + half; i++) {
                const float a = x[i], b = x[i + half];
                x[i] = a + b, x[i + half] = a - b;
            }
    for (size_t i = 0; i < n; i++) x[i] *= by;
}

static void multiply_small(const rotation *r, float *x) {
    const size_t m = r->n_small;
    for (size_t i = 0; i < m; i++) {
        double sum = 0;
        for (size_t j = 0; j < m; j++) sum += (double)r->small[i * m + j] * (double)x[j];
        r->scratch[i] = (float)sum;
    }
    for (size_t i = 0; i < m; i++) x[i] = r->scratch[i];
}

void rotation_apply(const rotation *r, float *x) {
    for (size_t i = 0; i < r->n; i++) x[i] *= r->signs[i];
    walsh(x, r->n, r->n_small);
    for (size_t at = 0; r->n_small > 1 && at < r->n; at += r->n_small) multiply_small(r, x + at);
}

/* ---- memory ---- */

nut_status rotation_new(size_t n, uint64_t seed, rotation *out, nut_error *err) {
    rng random;
    *out = (rotation){.n = n, .n_small = small_size(n)};
    out->signs = mem_calloc(n, sizeof *out->signs);
    out->small = mem_calloc(out->n_small, out->n_small * sizeof *out->small);
    out->scratch = mem_calloc(out->n_small, sizeof *out->scratch);
    if (!out->signs || !out->small || !out->scratch) {
        rotation_free(out);
        return error_memory(err, n * sizeof(float));
    }
    rng_seed(&random, seed);
    for (size_t i = 0; i < n; i++) out->signs[i] = rng_u64(&random) >> 63 ? -1 : 1;
    fill_small(out);
    return NUT_OK;
}

void rotation_free(rotation *r) {
    mem_free(r->signs);
    mem_free(r->small);
    mem_free(r->scratch);
    *r = (rotation){0};
}
