/* Float products for calibration against sums in double computed here, at sizes that do not fill tiles. */
#include "check.h"

#include "base/rng.h"
#include "kernels/gemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *random_floats(rng *r, size_t n) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)rng_f64(r) * 2 - 1;
    return x;
}

static matrix pack(const float *rows, size_t n_rows, size_t n_cols) {
    matrix w = {.format = &format_table[FORMAT_F32], .n_rows = n_rows, .n_cols = n_cols};
    w.data = calloc(1, matrix_bytes(&w));
    for (size_t i = 0; i < n_rows; i++)
        w.format->pack(matrix_group(&w, i), (uint32_t)(i % FORMAT_LANES), 0, n_cols,
                       (const uint8_t *)(rows + i * n_cols));
    return w;
}

/* The largest error, relative to the sum of magnitudes. */
static void test_mul_mat(rng *r, size_t n_rows, size_t n_cols, size_t n_tokens, size_t cut) {
    float *rows = random_floats(r, n_rows * n_cols), *x = random_floats(r, n_tokens * n_cols);
    matrix w = pack(rows, n_rows, n_cols);
    const size_t groups = matrix_groups(&w), ldy = 8 * groups;
    float *y = malloc(n_tokens * ldy * sizeof *y);
    const kernel_act act = {.n_tokens = n_tokens, .n_cols = n_cols, .x = x};
    const size_t middle = cut < groups ? cut : groups;
    double worst = 0;
    gemm_mul_mat(&w, 0, middle, &act, y, ldy);
    gemm_mul_mat(&w, middle, groups, &act, y, ldy);
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t i = 0; i < n_rows; i++) {
            double sum = 0, size = 0;
            for (size_t c = 0; c < n_cols; c++) {
                const double p = (double)rows[i * n_cols + c] * (double)x[t * n_cols + c];
                sum += p, size += fabs(p);
            }
            worst = fmax(worst, fabs((double)y[t * ldy + i] - sum) / size);
        }
    CHECK(worst < 1e-6, "%zu x %zu by %zu tokens: error %g", n_rows, n_cols, n_tokens, worst);
    free(rows), free(x), free(w.data), free(y);
}

static void test_gram(rng *r, size_t width, size_t n_tokens, unsigned members) {
    float *x = random_floats(r, n_tokens * width);
    float *packed = malloc(gemm_gram_room(n_tokens, width) * sizeof *packed);
    double *gram = malloc(gemm_half(width) * sizeof *gram), worst = 0;
    for (size_t i = 0; i < gemm_half(width); i++) gram[i] = 1; // it adds
    for (unsigned i = 0; i < members; i++) gemm_gram_pack(x, n_tokens, width, packed, i, members);
    for (unsigned i = 0; i < members; i++) gemm_gram_add(packed, n_tokens, width, gram, i, members);
    for (size_t i = 0; i < width; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 1, size = 1;
            for (size_t t = 0; t < n_tokens; t++) {
                const double p = (double)x[t * width + i] * (double)x[t * width + j];
                sum += p, size += fabs(p);
            }
            worst = fmax(worst, fabs(gram[gemm_half(i) + j] - sum) / size);
        }
    CHECK(worst < 1e-6, "gram of %zu x %zu by %u: error %g", n_tokens, width, members, worst);
    free(x), free(packed), free(gram);
}

int main(void) {
    rng r;
    rng_seed(&r, 3);
    const size_t rows[] = {1, 8, 30, 64, 100}, cols[] = {1, 7, 64, 515}, tokens[] = {1, 5, 8, 19};
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 4; j++)
            for (size_t k = 0; k < 4; k++) test_mul_mat(&r, rows[i], cols[j], tokens[k], 1 + i);
    for (size_t j = 0; j < 4; j++)
        for (size_t k = 0; k < 4; k++)
            test_gram(&r, cols[j] < 200 ? cols[j] : 101, tokens[k], 1 + (unsigned)k);
    return check_report();
}
