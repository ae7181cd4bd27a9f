/* The Cholesky factor of a Hessian from its last column on, in blocks. */
#include "compress/factor.h"

#include "base/error.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 64 };
static const double most_damping = 10;

typedef struct decomposition {
    dense *d;
    size_t n;
    double *r;     // (n, n) H, of which R's columns replace the last ones
    double *panel; // (n, BLOCK)
    double inverse[BLOCK * BLOCK];
} decomposition;

/* The upper factor of the block of b columns at `at`, in place; false where it is not positive definite. */
static bool decompose_block(double *at, size_t ld, size_t b) {
    for (size_t j = b; j-- > 0;) {
        double sum = at[j * ld + j];
        for (size_t k = j + 1; k < b; k++) sum -= at[j * ld + k] * at[j * ld + k];
        if (!(sum > 0) || !(sum <= 1e300)) return false;
        const double diagonal = at[j * ld + j] = sqrt(sum);
        for (size_t i = 0; i < j; i++) {
            double x = at[i * ld + j];
            for (size_t k = j + 1; k < b; k++) x -= at[i * ld + k] * at[j * ld + k];
            at[i * ld + j] = x / diagonal;
        }
    }
    return true;
}

/* out (b, b) = the inverse of the upper triangular block at `at` */
static void invert_block(const double *at, size_t ld, size_t b, double *out) {
    memset(out, 0, b * b * sizeof *out);
    for (size_t j = 0; j < b; j++) {
        out[j * b + j] = 1 / at[j * ld + j];
        for (size_t i = j; i-- > 0;) {
            double sum = 0;
            for (size_t k = i + 1; k <= j; k++) sum += at[i * ld + k] * out[k * b + j];
            out[i * b + j] = -sum / at[i * ld + i];
        }
    }
}

/* The rows above a finished block: R = H (block^-1)^T, and what they take from the columns before. */
static void eliminate(decomposition *c, size_t from, size_t b) {
    const size_t n = c->n;
    double *right = c->r + from; // (from, b), rows n apart
    invert_block(c->r + from * n + from, n, b, c->inverse);
    for (size_t i = 0; i < from; i++) memcpy(c->panel + i * b, right + i * n, b * sizeof(double));
    const dense_product solve = {.m = from, .n = b, .k = b, .ldc = n};
    dense_mul_f64(c->d, &solve, (dense_f64){c->panel, b, 1}, (dense_f64){c->inverse, 1, b}, 1, right);
    const dense_product update = {.m = from, .n = from, .k = b, .ldc = n, .add = true, .part = DENSE_UPPER};
    dense_mul_f64(c->d, &update, (dense_f64){right, n, 1}, (dense_f64){right, 1, n}, -1, c->r);
}

static bool decompose(decomposition *c) {
    for (size_t end = c->n; end;) {
        const size_t b = end % BLOCK ? end % BLOCK : BLOCK;
        end -= b;
        if (!decompose_block(c->r + end * c->n + end, c->n, b)) return false;
        eliminate(c, end, b);
    }
    return true;
}

static void load_damped(decomposition *c, factor_at *at, const void *ctx, double by) {
    for (size_t i = 0; i < c->n; i++) {
        for (size_t j = i; j < c->n; j++) c->r[i * c->n + j] = at(ctx, i, j);
        c->r[i * c->n + i] += by;
    }
}

static nut_status decompose_damped(decomposition *c, factor_at *at, const void *ctx, factor *f,
                                   nut_error *err) {
    double mean = 0;
    for (size_t i = 0; i < c->n; i++) mean += at(ctx, i, i) / (double)c->n;
    for (f->damping = FACTOR_DAMPING; mean > 0 && f->damping < most_damping; f->damping *= 10) {
        load_damped(c, at, ctx, f->damping * mean);
        if (decompose(c)) return NUT_OK;
    }
    return error_set(err, NUT_E_CORRUPT,
                     "the statistics of a matrix' inputs are no sums of squares; calibrate again");
}

static nut_status take_memory(decomposition *c, factor *f, size_t n, nut_error *err) {
    size_t square = 0, bytes;
    *f = (factor){.n = n};
    if (!size_mul(n, n, &square) || !size_mul(square, sizeof(double), &bytes))
        return error_memory(err, UINT64_MAX);
    c->r = f->r = mem_alloc(bytes);
    c->panel = mem_alloc(n * BLOCK * sizeof(double));
    return c->r && c->panel ? NUT_OK : error_memory(err, bytes);
}

nut_status factor_new(dense *d, factor_at *at, const void *ctx, size_t n, factor *out, nut_error *err) {
    decomposition c = {.d = d, .n = n};
    nut_status status = take_memory(&c, out, n, err);
    if (status == NUT_OK) status = decompose_damped(&c, at, ctx, out, err);
    mem_free(c.panel);
    if (status != NUT_OK) factor_free(out);
    return status;
}

void factor_free(factor *f) {
    mem_free(f->r);
    *f = (factor){0};
}

double factor_mean_hessian(const void *ctx, size_t i, size_t j) {
    const statistics *s = ctx;
    return statistics_hessian(s, i, j) / (double)s->n_tokens;
}

/* From the last row on: U_i = (e_i - sum of R_ik U_k over k > i) / R_ii. */
nut_status factor_invert(factor *f, nut_error *err) {
    const size_t n = f->n;
    double *row = mem_alloc(n * sizeof *row);
    if (!row) return error_memory(err, n * sizeof *row);
    for (size_t i = n; i-- > 0;) {
        memset(row, 0, n * sizeof *row);
        row[i] = 1;
        for (size_t k = i + 1; k < n; k++) {
            const double by = f->r[i * n + k];
            for (size_t j = k; j < n; j++) row[j] -= by * f->r[k * n + j];
        }
        const double diagonal = f->r[i * n + i];
        for (size_t j = i; j < n; j++) f->r[i * n + j] = row[j] / diagonal;
    }
    mem_free(row);
    return NUT_OK;
}

/* The product U^T U. */
nut_status factor_inverse(dense *d, factor_at *at, const void *ctx, size_t n, double *out, nut_error *err) {
    factor f = {0};
    nut_status status = factor_new(d, at, ctx, n, &f, err);
    if (status == NUT_OK) status = factor_invert(&f, err);
    for (size_t i = 0; status == NUT_OK && i < n; i++) memset(f.r + i * n, 0, i * sizeof *f.r);
    const dense_product p = {.m = n, .n = n, .k = n, .ldc = n};
    if (status == NUT_OK) dense_mul_f64(d, &p, (dense_f64){f.r, 1, n}, (dense_f64){f.r, n, 1}, 1, out);
    factor_free(&f);
    return status;
}
