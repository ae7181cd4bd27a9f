/* Finding the scales of a block: see fit.h. */
#include "compress/fit.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { STEPS = 12 }; // scales of a group that are tried
enum { SETTLE = 1 }; // times that a scale and its codes follow each other
enum { STARTS = 4 }; // largest integers that are tried in a block
enum { ROUNDS = 4 }; // times that a block's floats and its integers follow each other
// of scales; times that codes and a scale follow each other; of blocks

/* Columns of a group. */
typedef struct group {
    const fit_kind *kind;
    const float *x, *weight; // (n_cols)
    int *codes;              // (n_cols)
} group;

static group group_at(const fit_kind *kind, const float *x, const float *weight, int *codes, uint32_t g) {
    const uint32_t at = g * kind->n_cols;
    return (group){kind, x + at, weight + at, codes + at};
}

/* Whether the block's floats are those of its one group. */
static bool is_alone(const fit_kind *k) {
    return k->scale_lo == k->scale_hi;
}

/* ---- codes ---- */

int fit_value(const fit_kind *k, int code) {
    return k->values ? k->values[code] : code;
}

int fit_code(const fit_kind *k, float t) {
    if (!k->values) {
        t = t<(float)k->lo ? (float)k->lo : t>(float) k->hi ? (float)k->hi : t;
        return (int)floorf(t + 0.5f);
    }
    int code = 0;
    for (int step = 8; step > 0; step /= 2) {
        const int next = code + step;
        if (next <= k->hi && 2 * t > (float)(k->values[next - 1] + k->values[next])) code = next;
    }
    return code;
}

/* Codes of integers t, and what they stand for. */
static void round_integers(const fit_kind *k, const float *restrict t, int *restrict codes,
                           float *restrict values) {
    const float lo = (float)k->lo, hi = (float)k->hi;
    for (uint32_t c = 0; c < k->n_cols; c++) {
        const float inside = t[c] < lo ? lo : t[c] > hi ? hi : t[c];
        values[c] = floorf(inside + 0.5f);
        codes[c] = (int)values[c];
    }
}

/* The same for values of a list: each t is compared with all borders between them, without a branch. */
static void round_to_list(const fit_kind *k, const float *restrict t, int *restrict codes,
                          float *restrict values) {
    for (uint32_t c = 0; c < k->n_cols; c++) codes[c] = 0, values[c] = (float)k->values[0];
    for (int i = 0; i < k->hi; i++) {
        const float border = (float)(k->values[i] + k->values[i + 1]) / 2,
                    more = (float)(k->values[i + 1] - k->values[i]);
        for (uint32_t c = 0; c < k->n_cols; c++) {
            const bool above = t[c] > border;
            codes[c] += above;
            values[c] += above ? more : 0;
        }
    }
}

/* Nearest codes for weights d * v - min; returns their error. */
static double choose_codes(group g, float d, float min) {
    enum { LANES = 8 }; // sums side by side
    const float inverse = d != 0 ? 1 / d : 0;
    float t[FIT_COLS], values[FIT_COLS], sums[LANES] = {0}, error = 0;
    for (uint32_t c = 0; c < g.kind->n_cols; c++) t[c] = (g.x[c] + min) * inverse;
    (g.kind->values ? round_to_list : round_integers)(g.kind, t, g.codes, values);
    for (uint32_t c = 0; c < g.kind->n_cols; c += LANES)
        for (uint32_t i = 0; i < LANES; i++) {
            const float off = d * values[c + i] - min - g.x[c + i];
            sums[i] += g.weight[c + i] * off * off;
        }
    for (uint32_t i = 0; i < LANES; i++) error += sums[i];
    return (double)error;
}

/* ---- one scale and minimum ---- */

/* Sums of weighted products, of which least squares are made: x = d * a - min * b. */
typedef struct products {
    double aa, ab, bb, ax, bx;
} products;

static void add_products(products *p, group g, int scale, int min) {
    for (uint32_t c = 0; c < g.kind->n_cols; c++) {
        const double w = (double)g.weight[c], x = (double)g.x[c], a = scale * fit_value(g.kind, g.codes[c]);
        p->aa += w * a * a, p->ab += w * a * min, p->bb += w * min * min;
        p->ax += w * a * x, p->bx += w * min * x;
    }
}

/* The best d and min; a minimum that has to be positive is 0 where it would not be. */
static void solve(const products *p, bool has_min, bool positive, float *d, float *min) {
    const double det = p->aa * p->bb - p->ab * p->ab;
    double m = has_min && det > 1e-9 * p->aa * p->bb ? (p->ab * p->ax - p->aa * p->bx) / det : 0;
    if (positive && m < 0) m = 0;
    *min = (float)m;
    if (p->aa > 0) *d = (float)((p->ax + m * p->ab) / p->aa);
}

/* The best of those tried so far. */
typedef struct best {
    double error;
    float d, min;
} best;

/* Tries a scale, and then what is best for the codes that it gives. */
static void try_scale(group g, float d, float min, best *b) {
    const fit_kind *k = g.kind;
    const bool has_min = k->min_hi > 0, positive = k->min_hi > 1;
    for (int i = 0;; i++) {
        if (is_alone(k)) d = k->round(d), min = k->round(min);
        const double error = choose_codes(g, d, min);
        if (error < b->error) *b = (best){error, d, min};
        if (i == SETTLE) return;
        products p = {0};
        add_products(&p, g, 1, 1);
        solve(&p, has_min, positive, &d, &min);
    }
}

/* The scale and the minimum of a group, as if both were exact. */
static best fit_exact(group g) {
    const fit_kind *k = g.kind;
    const float lo = (float)fit_value(k, k->values ? 0 : k->lo), hi = (float)fit_value(k, k->hi);
    float least = 0, most = 0, extreme = 0;
    for (uint32_t c = 0; c < k->n_cols; c++) {
        least = g.x[c] < least || !c ? g.x[c] : least;
        most = g.x[c] > most || !c ? g.x[c] : most;
        extreme = fabsf(g.x[c]) > fabsf(extreme) ? g.x[c] : extreme;
    }
    best b = {choose_codes(g, 0, 0), 0, 0};
    if (k->min_hi > 1 && least > 0) least = 0;
    for (int i = -2; i <= STEPS; i++) {
        const float part = 1 - (1 - k->narrow) * (float)i / (float)STEPS;
        if (k->min_hi) {
            try_scale(g, part * (most - least) / hi, -least, &b);
            try_scale(g, part * (most - least) / hi, -part * least, &b);
        } else {
            try_scale(g, part * extreme / lo, 0, &b);
            try_scale(g, part * extreme / hi, 0, &b);
        }
    }
    return b;
}

/* ---- integers ---- */

static int clamp_round(float t, int lo, int hi) {
    return t <= (float)lo ? lo : t >= (float)hi ? hi : (int)floorf(t + 0.5f);
}

/* d for which the scale of largest magnitude gets the largest integer less `less`: of the sign that has the
 * larger ones. */
static float super_scale(const best *fits, uint32_t n, int lo, int hi, int less) {
    float extreme = 0;
    for (uint32_t g = 0; g < n; g++)
        if (fabsf(fits[g].d) > fabsf(extreme)) extreme = fits[g].d;
    return extreme / (float)(-lo > hi ? lo + less : hi - less);
}

static float super_min(const best *fits, uint32_t n, int hi) {
    float most = 0;
    for (uint32_t g = 0; g < n; g++) most = fits[g].min > most ? fits[g].min : most;
    return most / (float)hi;
}

/* Integers next to those that a group has, and the codes with them, where they are better. */
static double choose_integers(group g, const fit_block *b, int *scale, int *min) {
    const fit_kind *k = g.kind;
    const int s = *scale, m = *min;
    double error = INFINITY;
    for (int i = s - 1; i <= s + 1; i++)
        for (int j = m - 1; j <= m + 1; j++) {
            if (i < k->scale_lo || i > k->scale_hi || j < 0 || j > k->min_hi) continue;
            if (k->min_hi == 1 && j == 0) continue;
            const double e = choose_codes(g, b->d * (float)i, b->dmin * (float)j);
            if (e < error) error = e, *scale = i, *min = j;
        }
    choose_codes(g, b->d * (float)*scale, b->dmin * (float)*min);
    return error;
}

static void begin_block(const fit_kind *k, const best *fits, int less, fit_block *b) {
    b->d =
        k->round(is_alone(k) ? fits[0].d : super_scale(fits, k->n_groups, k->scale_lo, k->scale_hi, less));
    b->dmin = !k->min_hi ? 0 : k->round(is_alone(k) ? fits[0].min : super_min(fits, k->n_groups, k->min_hi));
    for (uint32_t g = 0; g < k->n_groups; g++) {
        b->scales[g] = clamp_round(b->d != 0 ? fits[g].d / b->d : 0, k->scale_lo, k->scale_hi);
        b->mins[g] = clamp_round(b->dmin != 0 ? fits[g].min / b->dmin : 0, k->min_hi == 1, k->min_hi);
    }
}

/* Goes from a block's floats and integers to better ones while there are any; the best to out. */
static void improve(const fit_kind *k, const float *x, const float *weight, fit_block b, fit_block *out) {
    double before = INFINITY;
    for (int i = 0; i < ROUNDS; i++) {
        products p = {0};
        b.error = 0;
        for (uint32_t g = 0; g < k->n_groups; g++) {
            const group at = group_at(k, x, weight, b.codes, g);
            b.error += choose_integers(at, &b, &b.scales[g], &b.mins[g]);
            add_products(&p, at, b.scales[g], b.mins[g]);
        }
        if (b.error < out->error) *out = b;
        if (!(b.error < before)) return;
        before = b.error;
        solve(&p, k->min_hi > 0, k->min_hi > 1, &b.d, &b.dmin);
        b.d = k->round(b.d), b.dmin = k->round(b.dmin);
    }
}

/* ---- columns that stay ---- */

/* Whether losing a column costs more than losing another one. */
static bool costs_more(const float *x, const float *weight, uint32_t a, uint32_t b) {
    const float loss_a = weight[a] * x[a] * x[a], loss_b = weight[b] * x[b] * x[b];
    return loss_a > loss_b || (loss_a == loss_b && fabsf(x[a]) > fabsf(x[b]));
}

void fit_keep(const fit_kind *k, uint32_t at, const float *x, const float *weight, fit_block *b) {
    for (uint32_t c = 0; c < k->of; c++) {
        uint32_t n_before = 0;
        for (uint32_t i = 0; i < k->of; i++)
            n_before += costs_more(x, weight, i, c) || (i < c && !costs_more(x, weight, c, i));
        const uint32_t bit = 1u << (at + c);
        b->kept = n_before < k->keep ? b->kept | bit : b->kept & ~bit;
    }
}

/* A block of which columns go: they are zero, and count no more. */
static void fit_sparse(const fit_kind *k, const float *x, const float *weight, fit_block *out) {
    fit_kind all = *k;
    float some[FIT_COLS], felt[FIT_COLS];
    double lost = 0;
    fit_block which = {0};
    for (uint32_t at = 0; at < k->n_cols; at += k->of) fit_keep(k, at, x + at, weight + at, &which);
    for (uint32_t c = 0; c < k->n_cols; c++) {
        const bool kept = fit_is_kept(k, &which, c);
        some[c] = kept ? x[c] : 0, felt[c] = kept ? weight[c] : 0;
        lost += kept ? 0 : (double)weight[c] * (double)x[c] * (double)x[c];
    }
    all.keep = all.of = 0;
    fit_find(&all, some, felt, out);
    out->kept = which.kept;
    out->error += lost;
}

void fit_find(const fit_kind *k, const float *x, const float *weight, fit_block *out) {
    best fits[FIT_GROUPS];
    fit_block b = {0};
    if (k->of) {
        fit_sparse(k, x, weight, out);
        return;
    }
    for (uint32_t g = 0; g < k->n_groups; g++) fits[g] = fit_exact(group_at(k, x, weight, b.codes, g));
    out->error = INFINITY;
    for (int i = 0; i < (is_alone(k) ? 1 : STARTS); i++) {
        begin_block(k, fits, i, &b);
        improve(k, x, weight, b, out);
    }
}

/* Integers for a scale and a minimum; false where the block has no floats for them. */
static bool as_integers(const fit_kind *k, const fit_block *b, const best *fit, int *scale, int *min) {
    if (b->d == 0) return false;
    *scale = clamp_round(fit->d / b->d, k->scale_lo, k->scale_hi);
    *min = clamp_round(b->dmin != 0 ? fit->min / b->dmin : 0, k->min_hi == 1, k->min_hi);
    return true;
}

void fit_group(const fit_kind *k, uint32_t at, const float *x, const float *weight, fit_block *b) {
    const group g = {k, x, weight, b->codes + at * k->n_cols};
    int scale, min;
    const double error = choose_integers(g, b, &b->scales[at], &b->mins[at]);
    const best fit = fit_exact(g);
    if (as_integers(k, b, &fit, &scale, &min) && choose_integers(g, b, &scale, &min) < error)
        b->scales[at] = scale, b->mins[at] = min;
}
