/* Principal components of the residual, and what reads them. */
#include "compress/width.h"

#include "base/error.h"
#include "base/mem.h"
#include "compress/eigen.h"
#include "compress/factor.h"

#include <math.h>
#include <string.h>

size_t width_left(size_t n, double share, size_t *unit) {
    *unit = 1;
    while (*unit < 32 && 16 * *unit <= n) *unit *= 2;
    return (size_t)((1 - share) * (double)n / (double)*unit + 0.5) * *unit;
}

nut_status width_basis(double *covariance, size_t n, size_t k, double *basis, double *part, nut_error *err) {
    double *values = mem_calloc(n, sizeof *values), *vectors = mem_calloc(n, n * sizeof *vectors);
    double of_basis = 0, all = 0;
    const bool taken = values && vectors;
    nut_status status = taken ? eigen_symmetric(covariance, n, values, vectors, err)
                              : error_memory(err, (uint64_t)n * n * sizeof *vectors);
    for (size_t i = 0; status == NUT_OK && i < n; i++) {
        all += values[i];
        if (i < k) of_basis += values[i];
    }
    if (status == NUT_OK) memcpy(basis, vectors, k * n * sizeof *basis);
    *part = all > 0 ? of_basis / all : 1;
    mem_free(values);
    mem_free(vectors);
    return status;
}

typedef struct reading {
    dense *d;
    size_t n, k;
    double *c;      // (n, n)
    double *across; // (n, k) C B^T
    double *inner;  // (k, k) B C B^T
    double *other;  // (n, k)
} reading;

static double inner_at(const void *ctx, size_t i, size_t j) {
    const reading *r = ctx;
    return r->inner[i * r->k + j];
}

static nut_status take_memory(reading *r, nut_error *err) {
    const size_t n = r->n, k = r->k;
    r->c = mem_calloc(n, n * sizeof *r->c);
    r->across = mem_calloc(n, k * sizeof *r->across);
    r->inner = mem_calloc(k, k * sizeof *r->inner);
    r->other = mem_calloc(n, k * sizeof *r->other);
    if (r->c && r->across && r->inner && r->other) return NUT_OK;
    return error_memory(err, (uint64_t)n * (n + 3 * k) * sizeof *r->c);
}

static void multiply(const reading *r, const float *half, const double *basis) {
    const size_t n = r->n, k = r->k;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            r->c[i * n + j] = r->c[j * n + i] = (double)half[i * (i + 1) / 2 + j];
    const dense_product to_columns = {.m = n, .n = k, .k = n, .ldc = k},
                        to_rows = {.m = k, .n = k, .k = n, .ldc = k};
    const dense_f64 turned = {basis, 1, n};
    dense_mul_f64(r->d, &to_columns, (dense_f64){r->c, n, 1}, turned, 1, r->across);
    dense_mul_f64(r->d, &to_rows, (dense_f64){basis, n, 1}, (dense_f64){r->across, k, 1}, 1, r->inner);
}

static double trace(const double *a, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i * n + i];
    return sum;
}

/* The least squares, with a factor U of the inverse: (C B^T + damping B^T) U^T U. */
static nut_status fit(reading *r, const double *basis, double *reader, nut_error *err) {
    const size_t n = r->n, k = r->k;
    factor u;
    TRY(factor_new(r->d, inner_at, r, k, &u, err));
    const double damping = u.damping * trace(r->inner, k) / (double)k;
    nut_status status = factor_invert(&u, err);
    for (size_t i = 0; i < k; i++) memset(u.r + i * k, 0, i * sizeof *u.r);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < k; j++) r->across[i * k + j] += damping * basis[j * n + i];
    const dense_product p = {.m = n, .n = k, .k = k, .ldc = k};
    dense_mul_f64(r->d, &p, (dense_f64){r->across, k, 1}, (dense_f64){u.r, 1, k}, 1, r->other);
    dense_mul_f64(r->d, &p, (dense_f64){r->other, k, 1}, (dense_f64){u.r, k, 1}, 1, reader);
    factor_free(&u);
    return status;
}

nut_status width_read(dense *d, const float *half, const double *basis, size_t n, size_t k, double *reader,
                      double *gain, nut_error *err) {
    reading r = {.d = d, .n = n, .k = k};
    nut_status status = take_memory(&r, err);
    if (status == NUT_OK) {
        multiply(&r, half, basis);
        const double all = trace(r.c, n), left = trace(r.inner, k);
        *gain = all > 0 ? sqrt((double)n / (double)k * left / all) : 1;
        if (!(left > 0 && all < INFINITY))
            status = error_set(err, NUT_E_CORRUPT, "a norm gives nothing on this text; give another one");
    }
    if (status == NUT_OK && reader) status = fit(&r, basis, reader, err);
    mem_free(r.c), mem_free(r.across), mem_free(r.inner), mem_free(r.other);
    return status;
}
