/*
 * Float products in tiles of ROWS rows by LANES columns, whose sums stay in registers while the steps of the
 * inner dimension pass. One operand is packed into panels (steps, LANES); of the other ROWS numbers a step
 * are read. Compilers' vector extensions make the machine's instructions of it.
 */
#include "kernels/gemm.h"

#include <string.h>

#if defined __AVX512F__
enum { LANES = 32, ROWS = 8 };
#elif defined __AVX__
enum { LANES = 16, ROWS = 4 };
#else
enum { LANES = 8, ROWS = 4 };
#endif
/* Clang takes half as wide vectors as this machine has unless it is told. */
#if defined __clang__ && defined __AVX512F__
#define WIDE __attribute__((min_vector_width(512)))
#else
#define WIDE
#endif

enum { STEPS = 512 }; // of a panel of weights: it stays in the nearest cache

/* LANES floats as two vectors. */
typedef float half_lanes __attribute__((vector_size(LANES / 2 * sizeof(float)), aligned(4)));
typedef struct lanes {
    half_lanes v[2];
} lanes;

static inline __attribute__((always_inline)) lanes lanes_load(const float *p) {
    lanes a;
    memcpy(&a, p, sizeof a);
    return a;
}

/* sums (ROWS) += a (ROWS, n_steps) times panel (n_steps, LANES); number r of step k is a[r * row + k *
 * step].
 */
WIDE static inline __attribute__((always_inline)) void
tile_add(const float *a, size_t row, size_t step, const float *panel, size_t n_steps, lanes *sums) {
#ifdef __clang__
#pragma clang fp contract(fast)
#endif
    lanes s[ROWS];
    memcpy(s, sums, sizeof s);
    for (size_t k = 0; k < n_steps; k++) {
        const lanes b = lanes_load(panel + k * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            const float x = a[(size_t)r * row + k * step];
            s[r].v[0] += x * b.v[0];
            s[r].v[1] += x * b.v[1];
        }
    }
    memcpy(sums, s, sizeof s);
}

/* ---- a product by weights ---- */

enum { GROUPS = LANES / FORMAT_LANES }; // of a panel

/* Columns [c, c + n) of the groups from g on, at most GROUPS; those that are missing are zeros. */
static void pack_weights(const matrix *w, size_t g, size_t n_groups, size_t c, size_t n, float *panel) {
    if (n_groups < GROUPS) memset(panel, 0, n * LANES * sizeof *panel);
    for (size_t i = 0; i < n_groups; i++) {
        const uint8_t *from = w->data + (g + i) * matrix_group_bytes(w) + c * FORMAT_LANES * sizeof(float);
        for (size_t k = 0; k < n; k++)
            memcpy(panel + k * LANES + i * FORMAT_LANES, from + k * FORMAT_LANES * sizeof(float),
                   FORMAT_LANES * sizeof(float));
    }
}

/* Tokens [t, t + m), m <= ROWS: y += x * panel, or y = where it is the first. */
WIDE static void weights_tile(const kernel_act *x, size_t t, size_t m, size_t c, size_t n,
                              const float *panel, size_t n_rows, float *y, size_t ldy) {
    lanes sums[ROWS] = {0};
    float rest[ROWS * STEPS];
    for (size_t r = 0; c && r < m; r++) memcpy(&sums[r], y + (t + r) * ldy, n_rows * sizeof *y);
    if (m == ROWS) {
        tile_add(x->x + t * x->n_cols + c, x->n_cols, 1, panel, n, sums);
    } else {
        memset(rest, 0, sizeof rest);
        for (size_t r = 0; r < m; r++)
            memcpy(rest + r * STEPS, x->x + (t + r) * x->n_cols + c, n * sizeof *rest);
        tile_add(rest, STEPS, 1, panel, n, sums);
    }
    for (size_t r = 0; r < m; r++) memcpy(y + (t + r) * ldy, &sums[r], n_rows * sizeof *y);
}

void gemm_mul_mat(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x, float *y, size_t ldy) {
    float panel[STEPS * LANES];
    for (size_t g = g_begin; g < g_end; g += GROUPS)
        for (size_t c = 0; c < w->n_cols; c += STEPS) {
            const size_t n_groups = g_end - g < GROUPS ? g_end - g : GROUPS;
            const size_t n = w->n_cols - c < STEPS ? w->n_cols - c : STEPS;
            pack_weights(w, g, n_groups, c, n, panel);
            for (size_t t = 0; t < x->n_tokens; t += ROWS)
                weights_tile(x, t, x->n_tokens - t < ROWS ? x->n_tokens - t : ROWS, c, n, panel,
                             n_groups * FORMAT_LANES, y + g * FORMAT_LANES, ldy);
        }
}

/* ---- transposed x times x ---- */

static size_t n_panels(size_t width) {
    return (width + LANES - 1) / LANES;
}

size_t gemm_gram_room(size_t n_tokens, size_t width) {
    return n_panels(width) * n_tokens * LANES;
}

/* Panel p holds columns [p * LANES, (p + 1) * LANES), (n_tokens, LANES). */
void gemm_gram_pack(const float *x, size_t n_tokens, size_t width, float *packed, unsigned i, unsigned n) {
    for (size_t p = i; p < n_panels(width); p += n) {
        const size_t col = p * LANES, n_cols = width - col < LANES ? width - col : LANES;
        float *to = packed + p * n_tokens * LANES;
        if (n_cols < LANES) memset(to, 0, n_tokens * LANES * sizeof *to);
        for (size_t t = 0; t < n_tokens; t++)
            memcpy(to + t * LANES, x + t * width + col, n_cols * sizeof *to);
    }
}

/* Row i of gram, columns [col, col + LANES) as far as they are kept. */
static void gram_row(double *gram, size_t i, size_t col, const float *sums) {
    double *row = gram + gemm_half(i);
    const size_t end = i + 1 < col + LANES ? i + 1 : col + LANES;
    for (size_t j = col; j < end; j++) row[j] += (double)sums[j - col];
}

/* Members take panels of columns by turns: the first have the most rows. */
WIDE void gemm_gram_add(const float *packed, size_t n_tokens, size_t width, double *gram, unsigned i,
                        unsigned n) {
    for (size_t p = i; p < n_panels(width); p += n)
        for (size_t row = p * LANES; row < width; row += ROWS) {
            const float *rows = packed + row / LANES * n_tokens * LANES + row % LANES;
            lanes sums[ROWS] = {0};
            float out[ROWS][LANES];
            tile_add(rows, 1, LANES, packed + p * n_tokens * LANES, n_tokens, sums);
            memcpy(out, sums, sizeof out);
            for (size_t r = 0; r < ROWS && row + r < width; r++) gram_row(gram, row + r, p * LANES, out[r]);
        }
}
