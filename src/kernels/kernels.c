/*
 * The list of kernel sets, and the probe that decides which of them runs. An engine can accept the relaxed
 * dot and compute it wrongly (Node 20 does), so each set must first give the right integers here. The
 * probe's numbers pass through volatile memory: Binaryen 120 stops with an error when it can evaluate a
 * relaxed instruction itself.
 */
#include "kernels/sets.h"
#include "kernels/exp.h"

#include <string.h>

static const kernel_set *const *const linked[] = {
#define NUT_X(name) &kernel_linked_##name,
    KERNEL_SETS(NUT_X)
#undef NUT_X
};

const kernel_set *kernel_at(size_t i) {
    for (size_t k = 0; k < sizeof linked / sizeof *linked; k++)
        if (*linked[k] && i-- == 0) return *linked[k];
    return NULL;
}

size_t kernel_count(void) {
    size_t n = 0;
    while (kernel_at(n)) n++;
    return n;
}

void kernel_choose_all(const kernel_set *set, kernel_choice *choice) {
    size_t i = 0;
    while (kernel_at(i) != set) i++;
    *choice = (kernel_choice){0};
    memset(choice->set, (int)i, sizeof choice->set);
}

size_t kernel_find_live(const kernel_act *x, uint8_t *live) {
    const size_t bytes = 4 * x->bytes;
    const uint8_t *q = x->q;
    size_t n = 0;
    for (size_t b = 0; b < x->n_cols / KERNEL_Q8_BLOCK; b++) {
        live[b] = 0;
        for (unsigned j = 0; j < KERNEL_Q8_BLOCK / 4; j++, q += bytes) {
            uint64_t four = 0;
            memcpy(&four, q, bytes);
            live[b] |= (uint8_t)((four != 0) << j);
            n += four != 0;
        }
    }
    return n;
}

float kernel_exp(float x) {
    return exp_scalar(x);
}

float kernel_exp2(float x) {
    return exp2_scalar(x);
}

/* ---- the probe ---- */

enum { PROBE_TOKENS = 7, PROBE_COLS = 64, PROBE_ROWS = FORMAT_LANES };

/* Small integers over [lo, hi], the ends often: a plain linear congruence, as its quality does not matter.
 */
static int32_t probe_number(uint32_t *state, int32_t lo, int32_t hi) {
    *state = *state * 1664525u + 1013904223u;
    uint32_t r = *state >> 16;
    if (r % 4 == 0) return lo;
    if (r % 4 == 1) return hi;
    return lo + (int32_t)(r / 4 % (uint32_t)(hi - lo + 1));
}

/* A row of blocks as a file has them, scale 1, and the integers that they mean. */
static void probe_row(const format *f, uint32_t *state, uint8_t *blocks, int32_t *values) {
    const bool nibbles = f->id == FORMAT_Q4_0;
    for (size_t b = 0; b < PROBE_COLS / 32; b++, blocks += f->bytes, values += 32) {
        const uint16_t one = 0x3c00;
        memcpy(blocks, &one, 2);
        for (size_t c = 0; c < 32; c++) {
            values[c] = nibbles ? probe_number(state, -8, 7) : probe_number(state, -127, 127);
            if (!nibbles)
                blocks[2 + c] = (uint8_t)values[c];
            else
                blocks[2 + c % 16] =
                    (uint8_t)(c < 16 ? values[c] + 8 : blocks[2 + c % 16] | (values[c] + 8) << 4);
        }
    }
}

/* Activations whose scales are all 1: floats that are integers, the largest of each block 127. */
static void probe_act(uint32_t *state, float *x) {
    for (size_t i = 0; i < PROBE_TOKENS * PROBE_COLS; i++)
        x[i] = (float)(i % KERNEL_Q8_BLOCK == 0 ? 127 : probe_number(state, -127, 127));
}

/* Quantizes the first n tokens in the set's layout, and multiplies. */
static void probe_tokens(const kernel_set *set, const matrix *w, const float *x, size_t n, float *y) {
    enum { PLACES = (PROBE_TOKENS + KERNEL_TILE) * PROBE_COLS };
    _Alignas(16) uint8_t q[2 * PLACES];
    float d[PLACES / 32], d_sum[PLACES / 32];
    int32_t sum[PLACES / 32 * KERNEL_SUMS];
    memset(q, 0, sizeof q);
    memset(sum, 0, sizeof sum);
    for (size_t i = 0; i < PLACES / 32; i++) d[i] = d_sum[i] = 0;
    const kernel_act act = {.n_tokens = n,
                            .n_cols = PROBE_COLS,
                            .lanes = kernel_lanes(n),
                            .bytes = set->act_bytes,
                            .q = q,
                            .d = d,
                            .d_sum = d_sum,
                            .sum = sum};
    for (size_t t = 0; t < n; t++) set->quantize_q8(x + t * PROBE_COLS, 0, PROBE_COLS, t, &act, NULL);
    kernel_mul_mat(set, w)(w, 0, 1, &act, y, PROBE_ROWS);
}

/* Whether a product in a format whose scales are all 1 gives the exact integers, for each way that tokens
 * go: alone, as one tile, and many. These are different code. */
static bool probe_product(const kernel_set *set, const format *f, uint32_t state) {
    static const size_t counts[] = {1, 2, KERNEL_TILE, PROBE_TOKENS};
    _Alignas(64) uint8_t group[PROBE_ROWS * PROBE_COLS / 32 * 34] = {0};
    uint8_t blocks[PROBE_COLS / 32 * 34];
    int32_t values[PROBE_ROWS][PROBE_COLS];
    float x[PROBE_TOKENS * PROBE_COLS], y[PROBE_TOKENS * PROBE_ROWS];
    for (uint32_t r = 0; r < PROBE_ROWS; r++) {
        probe_row(f, &state, blocks, values[r]);
        f->pack(group, r, 0, PROBE_COLS / 32, blocks);
    }
    probe_act(&state, x);
    const matrix w = {f, PROBE_ROWS, PROBE_COLS, group, NULL, NULL};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        probe_tokens(set, &w, x, counts[k], y);
        for (size_t i = 0; i < counts[k] * PROBE_ROWS; i++) {
            float expected = 0;
            for (size_t c = 0; c < PROBE_COLS; c++)
                expected += (float)values[i % PROBE_ROWS][c] * x[i / PROBE_ROWS * PROBE_COLS + c];
            if (y[i] != expected) return false;
        }
    }
    return true;
}

/* Pairs leaves some layouts to relaxed. */
bool kernel_probe(const kernel_set *set) {
    if (set == kernel_linked_pairs && set != NULL && !kernel_probe(kernel_linked_relaxed)) return false;
    volatile uint32_t seed = 20110;
    return probe_product(set, &format_table[FORMAT_Q8_0], seed) &&
           probe_product(set, &format_table[FORMAT_Q4_0], seed);
}

const kernel_set *kernel_find(const char *name) {
    const kernel_set *set;
    for (size_t i = 0; (set = kernel_at(i)) != NULL; i++)
        if ((!name || strcmp(name, set->name) == 0) && kernel_probe(set)) return set;
    return NULL;
}
