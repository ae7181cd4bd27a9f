/* All eigenvectors of a symmetric matrix. */
#include "compress/eigen.h"

#include "base/error.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

enum { MOST_STEPS = 60 }; // for one value

typedef struct tridiagonal {
    size_t n;
    double *a;     // (n, n) behind step k, row k holds the vector of its reflection from column k + 1 on
    double *d;     // (n) diagonal, then values
    double *e;     // (n) e[i] beside d[i] and d[i + 1]
    double *beta;  // (n) of the reflections: 1 - beta v v^T
    double *z;     // (n, n) vectors, in rows
    double little; // what counts as 0
} tridiagonal;

static double dot(const double *x, const double *y, size_t n) {
    double sum[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t j = 0; j < 4; j++) sum[j] += x[i + j] * y[i + j];
    for (; i < n; i++) sum[0] += x[i] * y[i];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

/* ---- to three diagonals ---- */

/* Makes the Householder reflection that turns x (n) into (*first, 0, ..., 0). Its vector v replaces x. */
static double reflection(double *x, size_t n, double *first) {
    const double rest = dot(x + 1, x + 1, n - 1);
    *first = x[0];
    if (!(rest > 0)) return 0;
    *first = -copysign(sqrt(x[0] * x[0] + rest), x[0]);
    x[0] -= *first;
    return 2 / (x[0] * x[0] + rest);
}

/* What is left of the matrix, from row k + 1 on, between two reflections: A - v w^T - w v^T. w (n). */
static void reflect(tridiagonal *t, size_t k, double *w) {
    const size_t n = t->n, m = n - k - 1;
    const double *v = t->a + k * n + k + 1;
    double *left = t->a + (k + 1) * n + k + 1; // (m, m), rows n apart
    for (size_t i = 0; i < m; i++) w[i] = t->beta[k] * dot(left + i * n, v, m);
    const double half = t->beta[k] / 2 * dot(w, v, m);
    for (size_t i = 0; i < m; i++) w[i] -= half * v[i];
    for (size_t i = 0; i < m; i++) {
        double *row = left + i * n;
        const double by_w = v[i], by_v = w[i];
        for (size_t j = 0; j < m; j++) row[j] -= by_w * w[j] + by_v * v[j];
    }
}

static void reduce(tridiagonal *t, double *w) {
    const size_t n = t->n;
    for (size_t k = 0; k < n; k++) {
        double *row = t->a + k * n;
        t->d[k] = row[k];
        t->e[k] = t->beta[k] = 0;
        if (k + 2 < n) t->beta[k] = reflection(row + k + 1, n - k - 1, &t->e[k]);
        if (k + 2 == n) t->e[k] = row[k + 1];
        if (t->beta[k] > 0) reflect(t, k, w);
    }
}

/* z = the product of all reflections, the last one first, so that its rows are the basis. */
static void collect(tridiagonal *t) {
    const size_t n = t->n;
    memset(t->z, 0, n * n * sizeof *t->z);
    for (size_t i = 0; i < n; i++) t->z[i * n + i] = 1;
    for (size_t k = n; k-- > 0;) {
        const size_t m = n - k - 1;
        const double *v = t->a + k * n + k + 1;
        for (size_t i = k + 1; i < n && t->beta[k] > 0; i++) {
            double *row = t->z + i * n + k + 1;
            const double by = t->beta[k] * dot(row, v, m);
            for (size_t j = 0; j < m; j++) row[j] -= by * v[j];
        }
    }
}

/* ---- to one ---- */

static void rotate(tridiagonal *t, size_t i, double c, double s) {
    double *x = t->z + i * t->n, *y = x + t->n;
    for (size_t k = 0; k < t->n; k++) {
        const double f = y[k];
        y[k] = s * x[k] + c * f;
        x[k] = c * x[k] - s * f;
    }
}

/* The first row from l on behind which nothing hangs on the next. */
static size_t block_end(const tridiagonal *t, size_t l) {
    while (l + 1 < t->n && fabs(t->e[l]) > t->little) l++;
    return l;
}

/* One QL step of rows l to m, shifted by the value of the first two that is nearer to the first. */
static void ql_step(tridiagonal *t, size_t l, size_t m) {
    double *d = t->d, *e = t->e;
    const double tangent = (d[l + 1] - d[l]) / (2 * e[l]);
    double g = d[m] - d[l] + e[l] / (tangent + copysign(hypot(tangent, 1), tangent));
    double s = 1, c = 1, p = 0;
    for (size_t i = m; i-- > l;) {
        const double f = s * e[i], b = c * e[i], length = hypot(f, g);
        e[i + 1] = length;
        if (!(length > 0)) { // it has come apart here
            d[i + 1] -= p;
            e[m] = 0;
            return;
        }
        s = f / length, c = g / length;
        g = d[i + 1] - p;
        const double r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        rotate(t, i, c, s);
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0;
}

static bool diagonalize(tridiagonal *t) {
    for (size_t i = 0; i < t->n; i++) t->little = fmax(t->little, fabs(t->d[i]) + fabs(t->e[i]));
    t->little *= 0x1p-52;
    for (size_t l = 0; l < t->n; l++) {
        size_t m;
        for (int steps = 0; (m = block_end(t, l)) != l; steps++) {
            if (steps == MOST_STEPS) return false;
            ql_step(t, l, m);
        }
    }
    return true;
}

/* ---- all of it ---- */

static void swap_rows(tridiagonal *t, size_t i, size_t j) {
    const double value = t->d[i];
    t->d[i] = t->d[j], t->d[j] = value;
    for (size_t k = 0; k < t->n; k++) {
        const double x = t->z[i * t->n + k];
        t->z[i * t->n + k] = t->z[j * t->n + k];
        t->z[j * t->n + k] = x;
    }
}

static void sort_values(tridiagonal *t) {
    for (size_t i = 0; i < t->n; i++) {
        size_t largest = i;
        for (size_t j = i + 1; j < t->n; j++)
            if (t->d[j] > t->d[largest]) largest = j;
        if (largest != i) swap_rows(t, i, largest);
    }
}

static bool are_finite(const double *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (a[i] - a[i] != 0.0) return false;
    return true;
}

nut_status eigen_symmetric(double *a, size_t n, double *values, double *vectors, nut_error *err) {
    tridiagonal t = {.n = n, .a = a, .d = values, .z = vectors};
    double *rest = mem_alloc(3 * n * sizeof *rest);
    if (!rest) return error_memory(err, 3 * n * sizeof *rest);
    t.e = rest, t.beta = rest + n;
    bool found = are_finite(a, n * n);
    if (found) {
        reduce(&t, rest + 2 * n);
        collect(&t);
        found = diagonalize(&t);
    }
    mem_free(rest);
    if (!found)
        return error_set(err, NUT_E_CORRUPT,
                         "a matrix holds numbers that are not finite; its singular values are not known");
    sort_values(&t);
    return NUT_OK;
}
