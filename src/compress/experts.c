/* Which experts stay, which are alike, and what they have together. */
#include "compress/experts.h"

#include "base/error.h"
#include "base/mem.h"
#include "compress/assign.h"

#include <math.h>

/* Whether expert e has been chosen: kept (n), ascending or not. */
static bool is_among(const uint32_t *kept, size_t n, size_t e) {
    for (size_t i = 0; i < n; i++)
        if (kept[i] == e) return true;
    return false;
}

static size_t most_worth(const double *worth, size_t begin, size_t end, const uint32_t *kept, size_t n) {
    size_t best = end;
    for (size_t e = begin; e < end; e++)
        if ((best == end || worth[e] > worth[best]) && !is_among(kept, n, e)) best = e;
    return best;
}

static void sort_few(uint32_t *x, size_t n) {
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k && x[k] < x[k - 1]; k--) {
            const uint32_t swap = x[k];
            x[k] = x[k - 1];
            x[k - 1] = swap;
        }
}

void experts_choose(const double *worth, size_t n, size_t n_group, size_t n_keep, uint32_t *kept) {
    const size_t each = n / n_group, keep = n_keep / n_group;
    for (size_t g = 0; g < n_group; g++)
        for (size_t i = 0; i < keep; i++) {
            uint32_t *group = kept + g * keep;
            group[i] = (uint32_t)most_worth(worth, g * each, (g + 1) * each, group, i);
        }
    sort_few(kept, n_keep);
}

double experts_output(const matrix *down, const statistics *h, float *row) {
    double sum = 0;
    for (size_t r = 0; h && r < down->n_rows; r++) {
        matrix_row(down, r, row);
        for (size_t i = 0; i < h->n_cols; i++) sum += (double)row[i] * (double)row[i] * h->sum_squares[i];
    }
    return sum;
}

/* ---- which are alike ---- */

/* (n, n_embd) = router H */
static void times_hessian(const float *router, const statistics *s, size_t n, float *out) {
    for (size_t e = 0; e < n; e++)
        for (size_t i = 0; i < s->n_cols; i++) {
            double sum = 0;
            for (size_t j = 0; j < s->n_cols; j++)
                sum += statistics_hessian(s, i, j) * (double)router[e * s->n_cols + j];
            out[e * s->n_cols + i] = (float)(sum / (double)s->n_tokens);
        }
}

/* gram (n, n): means of the products of two experts' scores. */
static void multiply_scores(const float *router, const float *by_hessian, size_t n, size_t n_cols,
                            double *gram) {
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            double sum = 0;
            for (size_t i = 0; i < n_cols; i++)
                sum += (double)router[a * n_cols + i] * (double)by_hessian[b * n_cols + i];
            gram[a * n + b] = sum;
        }
}

static double cosine(const double *gram, size_t n, size_t a, size_t b) {
    const double both = sqrt(gram[a * n + a] * gram[b * n + b]);
    return both > 0 ? gram[a * n + b] / both : 0;
}

static void find_alike(const double *gram, size_t n, size_t n_group, const uint32_t *kept, size_t n_keep,
                       uint32_t *into) {
    const size_t each = n / n_group;
    for (size_t e = 0; e < n; e++) {
        size_t best = n_keep;
        double most = -2;
        for (size_t k = 0; k < n_keep; k++) {
            const double like = kept[k] == e ? 2 : cosine(gram, n, e, kept[k]);
            if (kept[k] / each == e / each && like > most) best = k, most = like;
        }
        into[e] = (uint32_t)best;
    }
}

nut_status experts_group(const float *router, const statistics *s, size_t n, size_t n_group,
                         const uint32_t *kept, size_t n_keep, uint32_t *into, nut_error *err) {
    float *by_hessian = mem_alloc(n * s->n_cols * sizeof *by_hessian);
    double *gram = mem_alloc(n * n * sizeof *gram);
    const bool has = by_hessian && gram;
    if (has) {
        times_hessian(router, s, n, by_hessian);
        multiply_scores(router, by_hessian, n, s->n_cols, gram);
        find_alike(gram, n, n_group, kept, n_keep, into);
    }
    mem_free(by_hessian);
    mem_free(gram);
    return has ? NUT_OK : error_memory(err, n * (4 * (uint64_t)s->n_cols + 8 * n));
}

/* ---- merging ---- */

nut_status experts_add(dense *d, const float *like, const float *expert, size_t n_ff, size_t n, float by,
                       float *sum, nut_error *err) {
    const dense_product p = {.m = n_ff, .n = n_ff, .k = n, .ldc = n_ff};
    float *products = mem_alloc(n_ff * n_ff * sizeof *products);
    uint32_t *unit = mem_alloc(n_ff * sizeof *unit);
    nut_status status = products && unit ? NUT_OK : error_memory(err, n_ff * n_ff * sizeof *products);
    if (status == NUT_OK) {
        dense_mul_f32(d, &p, (dense_f32){like, n, 1}, (dense_f32){expert, 1, n}, 1, products);
        status = assign_most(products, n_ff, unit, err);
    }
    for (size_t r = 0; status == NUT_OK && r < n_ff; r++)
        for (size_t i = 0; i < n; i++) sum[r * n + i] += by * expert[unit[r] * n + i];
    mem_free(products);
    mem_free(unit);
    return status;
}
