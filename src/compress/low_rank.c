/* Factors of low rank, and ranks for a size. */
#include "compress/low_rank.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/sort.h"
#include "compress/eigen.h"
#include "compress/factor.h"

#include <math.h>
#include <string.h>

enum { HALVINGS = 50 };

typedef struct finding {
    dense *d;
    const statistics *s; // or NULL
    low_rank *out;
    double *w;       // (n_rows, n_cols)
    double *side;    // (n_cols, n_cols) H, or R
    double *product; // (n_rows, n_cols) W H, or W R
    double *gram;    // (n, n)
    double *vectors; // (n, n) in rows
} finding;

static dense_f64 plain(const double *at, size_t n_cols) {
    return (dense_f64){at, n_cols, 1};
}
static dense_f64 turned(const double *at, size_t n_cols) {
    return (dense_f64){at, 1, n_cols};
}

/* c (m, n) = a (m, k) b (k, n) */
static void multiply(const finding *f, size_t m, size_t n, size_t k, dense_f64 a, dense_f64 b, double *c) {
    const dense_product p = {.m = m, .n = n, .k = k, .ldc = n};
    dense_mul_f64(f->d, &p, a, b, 1, c);
}

static double identity(const void *ctx, size_t i, size_t j) {
    (void)ctx;
    return i == j;
}

/* ---- no more rows than columns: eigenvectors of W H W^T ---- */

static nut_status from_rows(finding *f, nut_error *err) {
    low_rank *l = f->out;
    const size_t rows = l->n_rows, cols = l->n_cols;
    factor_at *at = f->s ? factor_mean_hessian : identity;
    for (size_t i = 0; i < cols; i++)
        for (size_t j = 0; j < cols; j++) f->side[i * cols + j] = at(f->s, i, j);
    multiply(f, rows, cols, cols, plain(f->w, cols), plain(f->side, cols), f->product);
    multiply(f, rows, rows, cols, plain(f->product, cols), turned(f->w, cols), f->gram);
    TRY(eigen_symmetric(f->gram, rows, l->squares, f->vectors, err));
    multiply(f, rows, cols, rows, plain(f->vectors, rows), plain(f->w, cols), l->a);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < rows; k++) l->b[i * rows + k] = f->vectors[k * rows + i];
    return NUT_OK;
}

/* ---- more rows than columns: eigenvectors of R^T W^T W R ---- */

/* row R^-1, in place, for R upper triangular. */
static void divide_row(const double *r, size_t n, double *row) {
    for (size_t i = 0; i < n; i++) {
        row[i] /= r[i * n + i];
        for (size_t j = i + 1; j < n; j++) row[j] -= row[i] * r[i * n + j];
    }
}

/* B = W R V / S and A = S V^T R^-1, S the singular values. */
static void set_factors(const finding *f) {
    low_rank *l = f->out;
    const size_t cols = l->n_cols;
    multiply(f, l->n_rows, cols, cols, plain(f->product, cols), turned(f->vectors, cols), l->b);
    for (size_t k = 0; k < cols; k++) {
        const double value = l->squares[k] > 0 ? sqrt(l->squares[k]) : 0;
        double *a = l->a + k * cols;
        for (size_t i = 0; i < cols; i++) a[i] = value * f->vectors[k * cols + i];
        divide_row(f->side, cols, a);
        for (size_t i = 0; i < l->n_rows; i++) l->b[i * cols + k] *= value > 0 ? 1 / value : 0;
    }
}

static nut_status from_columns(finding *f, nut_error *err) {
    low_rank *l = f->out;
    const size_t rows = l->n_rows, cols = l->n_cols;
    factor r = {0};
    const nut_status status = factor_new(f->d, f->s ? factor_mean_hessian : identity, f->s, cols, &r, err);
    if (status != NUT_OK) return status;
    for (size_t i = 0; i < cols; i++)
        for (size_t j = 0; j < cols; j++) f->side[i * cols + j] = j < i ? 0 : r.r[i * cols + j];
    factor_free(&r);
    multiply(f, rows, cols, cols, plain(f->w, cols), plain(f->side, cols), f->product);
    multiply(f, cols, cols, rows, turned(f->product, cols), plain(f->product, cols), f->gram);
    TRY(eigen_symmetric(f->gram, cols, l->squares, f->vectors, err));
    set_factors(f);
    return NUT_OK;
}

/* ---- memory ---- */

static nut_status take_memory(finding *f, nut_error *err) {
    low_rank *l = f->out;
    const size_t rows = l->n_rows, cols = l->n_cols, n = l->n;
    l->squares = mem_calloc(n, sizeof(double));
    l->b = mem_calloc(rows, n * sizeof(double));
    l->a = mem_calloc(n, cols * sizeof(double));
    f->w = mem_calloc(rows, cols * sizeof(double));
    f->product = mem_calloc(rows, cols * sizeof(double));
    f->side = mem_calloc(cols, cols * sizeof(double));
    f->gram = mem_calloc(n, n * sizeof(double));
    f->vectors = mem_calloc(n, n * sizeof(double));
    if (l->squares && l->b && l->a && f->w && f->product && f->side && f->gram && f->vectors) return NUT_OK;
    return error_memory(err, 8 * ((uint64_t)rows + cols) * ((uint64_t)rows + cols));
}

nut_status low_rank_new(dense *d, const statistics *s, size_t n_rows, size_t n_cols, const float *w,
                        low_rank *out, nut_error *err) {
    finding f = {.d = d, .s = s && s->n_tokens ? s : NULL, .out = out};
    *out = (low_rank){n_rows, n_cols, n_rows < n_cols ? n_rows : n_cols, NULL, NULL, NULL};
    nut_status status = take_memory(&f, err);
    for (size_t i = 0; status == NUT_OK && i < n_rows * n_cols; i++) f.w[i] = (double)w[i];
    if (status == NUT_OK) status = n_rows <= n_cols ? from_rows(&f, err) : from_columns(&f, err);
    mem_free(f.w);
    mem_free(f.side);
    mem_free(f.product);
    mem_free(f.gram);
    mem_free(f.vectors);
    return status;
}

void low_rank_free(low_rank *l) {
    mem_free(l->squares);
    mem_free(l->b);
    mem_free(l->a);
    *l = (low_rank){0};
}

/* ---- columns ---- */

typedef struct ranked_column {
    double cost;
    size_t at;
} ranked_column;

/* The dearest first; of equal ones the first. */
static int compare_columns(const void *a, const void *b) {
    const ranked_column *x = a, *y = b;
    if (x->cost != y->cost) return x->cost > y->cost ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static nut_status rank_columns(const statistics *s, size_t n_rows, size_t n_cols, const float *w,
                               ranked_column *columns, nut_error *err) {
    for (size_t c = 0; c < n_cols; c++) columns[c] = (ranked_column){0, c};
    for (size_t i = 0; i < n_rows * n_cols; i++) columns[i % n_cols].cost += (double)w[i] * (double)w[i];
    for (size_t c = 0; c < n_cols; c++) {
        if (s && s->n_tokens) columns[c].cost *= s->sum_squares[c] / (double)s->n_tokens;
        if (!isfinite(columns[c].cost))
            return error_set(err, NUT_E_CORRUPT, "column %zu of a matrix has numbers that are none", c);
    }
    sort_rows(columns, n_cols, sizeof *columns, compare_columns);
    return NUT_OK;
}

static void take_columns(const ranked_column *columns, const float *w, low_rank *l) {
    for (size_t k = 0; k < l->n; k++) {
        l->squares[k] = columns[k].cost;
        l->a[k * l->n_cols + columns[k].at] = 1;
        for (size_t r = 0; r < l->n_rows; r++) l->b[r * l->n + k] = (double)w[r * l->n_cols + columns[k].at];
    }
}

nut_status low_rank_columns(const statistics *s, size_t n_rows, size_t n_cols, const float *w, size_t n,
                            low_rank *out, nut_error *err) {
    ranked_column *columns = mem_calloc(n_cols, sizeof *columns);
    *out = (low_rank){n_rows, n_cols, n, NULL, NULL, NULL};
    out->squares = mem_calloc(n, sizeof(double));
    out->b = mem_calloc(n_rows, n * sizeof(double));
    out->a = mem_calloc(n, n_cols * sizeof(double));
    nut_status status = columns && out->squares && out->b && out->a
                            ? rank_columns(s, n_rows, n_cols, w, columns, err)
                            : error_memory(err, 8 * (uint64_t)n * ((uint64_t)n_rows + n_cols));
    if (status == NUT_OK) take_columns(columns, w, out);
    mem_free(columns);
    return status;
}

/* ---- ranks ---- */

double low_rank_loss(const double *squares, size_t n, size_t rank) {
    double all = 0, lost = 0;
    for (size_t i = 0; i < n; i++) {
        const double square = squares[i] > 0 ? squares[i] : 0;
        all += square;
        if (i >= rank) lost += square;
    }
    return all > 0 ? lost / all : 0;
}

static size_t smaller(const low_rank_item *item) {
    return item->n_rows < item->n_cols ? item->n_rows : item->n_cols;
}

/* Numbers of a rank. */
static double each(const low_rank_item *item) {
    return (double)item->n_rows + (double)item->n_cols;
}

static double whole(const low_rank_item *item) {
    return (double)item->n_rows * (double)item->n_cols;
}

size_t low_rank_unit(const low_rank_item *item) {
    return smaller(item) >= 256 ? 32 : 8;
}

double low_rank_size(const low_rank_item *item) {
    return item->rank ? (double)item->rank * each(item) : whole(item);
}

/* The highest rank that takes less room than the matrix. */
static size_t most_rank(const low_rank_item *item) {
    const size_t unit = low_rank_unit(item), n = (size_t)(whole(item) / each(item)) / unit * unit;
    return (double)n * each(item) < whole(item) ? n : n - unit;
}

static nut_status too_much(double share, nut_error *err) {
    return error_set(err, NUT_E_ARGUMENT,
                     "a share of %g leaves nothing of some matrices of low rank; give a smaller one", share);
}

nut_status low_rank_even(low_rank_item *items, size_t n, double share, nut_error *err) {
    for (size_t i = 0; i < n; i++) {
        low_rank_item *item = &items[i];
        const size_t unit = low_rank_unit(item), most = most_rank(item);
        const size_t rank = (size_t)((1 - share) * whole(item) / each(item) / (double)unit + 0.5) * unit;
        item->rank = rank < most ? rank : most;
        if (!item->rank) return too_much(share, err);
    }
    return NUT_OK;
}

/* Gives an item the rank, or none, for which its loss and `price` times its numbers are least together. */
static void choose_rank(low_rank_item *item, double price) {
    const size_t unit = low_rank_unit(item), most = most_rank(item), n = smaller(item);
    double all = 0, lost = 0, best = price * whole(item);
    for (size_t i = 0; i < n; i++) all += fmax(item->squares[i], 0);
    item->rank = 0;
    for (size_t i = n; i-- > unit;) {
        lost += fmax(item->squares[i], 0);
        const double cost = (all > 0 ? lost / all : 0) + price * (double)i * each(item);
        if (i > most || i % unit || !(cost < best)) continue;
        best = cost;
        item->rank = i;
    }
}

static double choose_all(low_rank_item *items, size_t n, double price) {
    double size = 0;
    for (size_t i = 0; i < n; i++) {
        choose_rank(&items[i], price);
        size += low_rank_size(&items[i]);
    }
    return size;
}

/* The lowest price of a number at which they are few enough, by halving its logarithm's range. */
nut_status low_rank_choose(low_rank_item *items, size_t n, double share, nut_error *err) {
    double all = 0, low = -60, high = 0;
    for (size_t i = 0; i < n; i++) all += whole(&items[i]);
    if (choose_all(items, n, 1) > (1 - share) * all) return too_much(share, err);
    for (int k = 0; k < HALVINGS; k++) {
        const double middle = (low + high) / 2;
        if (choose_all(items, n, exp2(middle)) > (1 - share) * all)
            low = middle;
        else
            high = middle;
    }
    choose_all(items, n, exp2(high));
    return NUT_OK;
}
