/* Finding blocks of the types with code books: see fit_book.h. */
#include "compress/fit_book.h"

#include "base/half.h"

#include <math.h>
#include <string.h>

enum { TRIALS = 11 };       // scales of a group that are tried
enum { SETTLED = 3 };       // the best of those, from which codes and a scale follow each other
enum { TOPS = 9 };          // integers that the largest scale of a block may get
enum { ROUNDS = 2 };        // times that a block's d and its integers follow each other
enum { MOST_NUMBERS = 16 }; // that a quarter of an entry can be
#define NARROWEST 0.25f     // the smallest scale that is tried, beside what holds the largest weight
#define WIDEST    1.1f
#define SHIFT     0.125f
#define LARGEST   65504.0f

/* ---- the book ---- */

/* Entries by their upper halves: those of upper half h are first[h] .. first[h + 1]. */
typedef struct book {
    const book_kind *kind;
    const uint16_t *entries;
    uint32_t half, quarter; // bits of half an entry, of a quarter
    uint16_t first[257];
} book;

static const uint16_t sizes[GRID_COUNT] = {256, 512, 1024, 2048, 256, 512};

static void open_book(const book_kind *k, book *b) {
    const uint16_t *entries = grid_entries(k->grid);
    uint32_t n = 0;
    b->kind = k;
    b->entries = entries;
    b->quarter = k->n_dims * k->n_bits / 4;
    b->half = 2 * b->quarter;
    for (uint32_t h = 0; h <= 1u << b->half; h++) {
        while (n < sizes[k->grid] && (uint32_t)(entries[n] >> b->half) < h) n++;
        b->first[h] = (uint16_t)n;
    }
}

static float value_at(const book *b, uint32_t entry, uint32_t dim, float shift) {
    const uint32_t n_bits = b->kind->n_bits;
    return b->kind->values[entry >> n_bits * dim & ((1u << n_bits) - 1)] + shift;
}

/* ---- the nearest entry ---- */

/* Errors of each quarter of an entry, for each of the numbers that it can be, and the least of each. */
typedef struct quarters {
    float error[4][MOST_NUMBERS], least[4];
} quarters;

/* Of one column, for each number. */
static uint32_t column_errors(const book_kind *k, float x, float weight, float scale, float shift,
                              float *error) {
    const uint32_t n = k->n_bits == 3 ? 8 : 3;
    for (uint32_t i = 0; i < n; i++) {
        const float off = x - scale * (k->values[i] + shift);
        error[i] = weight * off * off;
    }
    return n;
}

static float least_of(const float *error, uint32_t n) {
    float least = error[0];
    for (uint32_t i = 1; i < n; i++) least = error[i] < least ? error[i] : least;
    return least;
}

/* A quarter is one column of three bits, or two of two bits. */
static void fill_quarters(const book_kind *k, const float *x, const float *weight, float scale, float shift,
                          quarters *q) {
    float low[8], high[8];
    for (uint32_t i = 0; i < 4; i++) {
        if (k->n_dims == 4) {
            q->least[i] =
                least_of(q->error[i], column_errors(k, x[i], weight[i], scale, shift, q->error[i]));
            continue;
        }
        const uint32_t n = column_errors(k, x[2 * i], weight[2 * i], scale, shift, low);
        column_errors(k, x[2 * i + 1], weight[2 * i + 1], scale, shift, high);
        for (uint32_t b = 0; b < n; b++)
            for (uint32_t a = 0; a < n; a++) q->error[i][4 * b + a] = low[a] + high[b];
        q->least[i] = least_of(low, n) + least_of(high, n);
    }
}

/* The best of the entries with an upper half of error `upper`. */
static void search_half(const book *b, const quarters *q, uint32_t h, float upper, float *error,
                        uint16_t *code) {
    const uint32_t mask = (1u << b->quarter) - 1;
    for (uint32_t i = b->first[h]; i < b->first[h + 1]; i++) {
        const uint32_t e = b->entries[i];
        const float sum = upper + q->error[0][e & mask] + q->error[1][e >> b->quarter & mask];
        if (sum < *error) *error = sum, *code = (uint16_t)i;
    }
}

/* The entry with the least error for n_dims columns. An upper half that is too far with the best lower one
 * is passed over. */
static float find_entry(const book *b, const float *x, const float *weight, float scale, float shift,
                        uint16_t *code) {
    const uint32_t mask = (1u << b->quarter) - 1;
    quarters q;
    fill_quarters(b->kind, x, weight, scale, shift, &q);
    const float lower = q.least[0] + q.least[1], least = lower + q.least[2] + q.least[3];
    float error = INFINITY;
    *code = 0;
    for (uint32_t h = 0; h < 1u << b->half && error > least; h++) {
        if (b->first[h] == b->first[h + 1]) continue;
        const float upper = q.error[2][h & mask] + q.error[3][h >> b->quarter];
        if (upper + lower < error) search_half(b, &q, h, upper, &error, code);
    }
    return error;
}

/* ---- eight columns ---- */

typedef struct eight {
    uint16_t codes[2];
    uint8_t signs;
    float error;
} eight;

static void find_entries(const book *b, const float *x, const float *weight, float scale, float shift,
                         eight *out) {
    out->error = 0;
    for (uint32_t at = 0, i = 0; at < 8; at += b->kind->n_dims, i++)
        out->error += find_entry(b, x + at, weight + at, scale, shift, &out->codes[i]);
}

/* The magnitudes of eight columns; bits of those that are negative. */
static uint8_t take_signs(const float *x, float *magnitude) {
    uint32_t signs = 0;
    for (uint32_t c = 0; c < 8; c++) {
        signs |= (uint32_t)(x[c] < 0) << c;
        magnitude[c] = fabsf(x[c]);
    }
    return (uint8_t)signs;
}

/* The column that loses least by having the wrong sign, if its value is this one (NULL: all the same). */
static uint32_t least_loss(const book *b, const float *magnitude, const float *weight, const eight *of) {
    uint32_t best = 0;
    float least = INFINITY;
    for (uint32_t c = 0; c < 8; c++) {
        const uint32_t dim = c % b->kind->n_dims, part = c / b->kind->n_dims;
        const float v = of ? value_at(b, b->entries[of->codes[part]], dim, 0) : 1,
                    loss = weight[c] * magnitude[c] * v;
        if (loss < least) least = loss, best = c;
    }
    return best;
}

/* With the sign of one column wrong, so that their number is even. */
static void find_flipped(const book *b, float *magnitude, const float *weight, float scale, uint8_t signs,
                         uint32_t c, eight *out) {
    magnitude[c] = -magnitude[c];
    find_entries(b, magnitude, weight, scale, 0, out);
    magnitude[c] = -magnitude[c];
    out->signs = (uint8_t)(signs ^ 1u << c);
}

static void find_eight(const book *b, const float *x, const float *weight, float scale, float shift,
                       eight *out) {
    float magnitude[8];
    if (b->kind->signs == BOOK_SHIFTS) {
        find_entries(b, x, weight, scale, shift, out);
        out->signs = shift < 0;
        return;
    }
    const uint8_t signs = take_signs(x, magnitude);
    if (b->kind->signs == BOOK_SIGNS || __builtin_popcount(signs) % 2 == 0) {
        find_entries(b, magnitude, weight, scale, 0, out);
        out->signs = signs;
        return;
    }
    const uint32_t first = least_loss(b, magnitude, weight, NULL);
    find_flipped(b, magnitude, weight, scale, signs, first, out);
    const uint32_t then = least_loss(b, magnitude, weight, out);
    if (then == first) return;
    eight other;
    find_flipped(b, magnitude, weight, scale, signs, then, &other);
    if (other.error < out->error) *out = other;
}

/* ---- groups ---- */

typedef struct group {
    const book *book;
    const float *x, *weight; // (n_cols)
    eight *eights;           // (n_cols / 8) what was found last
} group;

/* The best of `n` eights from `at` on with one shift; their error. */
static float find_shifted(group g, uint32_t at, uint32_t n, float scale, float shift, eight *out) {
    float error = 0;
    for (uint32_t i = 0; i < n; i++) {
        find_eight(g.book, g.x + 8 * (at + i), g.weight + 8 * (at + i), scale, shift, &out[i]);
        error += out[i].error;
    }
    return error;
}

/* Entries, signs and shifts for a scale; their error. */
static float find_codes(group g, float scale) {
    const book_kind *k = g.book->kind;
    const uint32_t n_all = k->n_cols / 8, n = k->signs == BOOK_SHIFTS ? k->n_shifted / 8 : n_all;
    float error = 0;
    for (uint32_t at = 0; at < n_all; at += n) {
        eight less[4];
        float is = find_shifted(g, at, n, scale, k->signs == BOOK_SHIFTS ? SHIFT : 0, g.eights + at);
        if (k->signs == BOOK_SHIFTS) {
            const float below = find_shifted(g, at, n, scale, -SHIFT, less);
            if (below < is) is = below, memcpy(g.eights + at, less, n * sizeof *less);
        }
        error += is;
    }
    return error;
}

/* Sums of weighted products of what is there and of what the codes stand for. */
typedef struct products {
    double vv, vx;
} products;

static products sum_products(group g) {
    const book_kind *k = g.book->kind;
    products p = {0};
    for (uint32_t c = 0; c < k->n_cols; c++) {
        const eight *e = &g.eights[c / 8];
        const uint32_t entry = g.book->entries[e->codes[c % 8 / k->n_dims]];
        float shift = 0, sign = 1;
        if (k->signs == BOOK_SHIFTS)
            shift = e->signs ? -SHIFT : SHIFT;
        else
            sign = e->signs >> c % 8 & 1 ? -1 : 1;
        const double v = (double)(sign * value_at(g.book, entry, c % k->n_dims, shift)),
                     w = (double)g.weight[c];
        p.vv += w * v * v, p.vx += w * v * (double)g.x[c];
    }
    return p;
}

/* A scale of a group as if it were exact, and how fast the error grows beside it. */
typedef struct found {
    float error, scale;
    double vv;
} found;

static void keep_best(found *best, float error, float scale) {
    for (int i = SETTLED - 1; i >= 0 && error < best[i].error; i--) {
        if (i + 1 < SETTLED) best[i + 1] = best[i];
        best[i] = (found){error, scale, 0};
    }
}

static float largest_value(const book_kind *k) {
    return k->signs == BOOK_SHIFTS ? 1 + SHIFT : k->values[k->n_bits == 3 ? 7 : 2];
}

static found fit_group(group g) {
    const book_kind *k = g.book->kind;
    float most = 0;
    found best[SETTLED], all = {INFINITY, 0, 0};
    for (uint32_t c = 0; c < k->n_cols; c++) most = fabsf(g.x[c]) > most ? fabsf(g.x[c]) : most;
    if (!(most > 0)) return (found){0, 0, 0};
    for (int i = 0; i < SETTLED; i++) best[i] = all;
    for (int i = 0; i < TRIALS; i++) {
        const float part = WIDEST * powf(NARROWEST / WIDEST, (float)i / (float)(TRIALS - 1)),
                    scale = part * most / largest_value(k);
        keep_best(best, find_codes(g, scale), scale);
    }
    for (int i = 0; i < SETTLED; i++) {
        find_codes(g, best[i].scale);
        products p = sum_products(g);
        const float scale = p.vv > 0 && p.vx > 0 ? (float)(p.vx / p.vv) : best[i].scale,
                    error = find_codes(g, scale);
        p = sum_products(g);
        if (error < all.error)
            all = (found){error, p.vv > 0 && p.vx > 0 ? (float)(p.vx / p.vv) : scale, p.vv};
    }
    return all;
}

/* ---- blocks ---- */

static float round_half(float d) {
    return half_f16_to_f32(half_f32_to_f16(d > LARGEST ? LARGEST : d));
}

static int nearest_scale(float scale, float d, int hi) {
    const float s = d > 0 ? (scale / d - 1) / 2 : 0;
    return s <= 0 ? 0 : s >= (float)hi ? hi : (int)floorf(s + 0.5f);
}

/* d, of those that give the largest scale an integer near the largest, by which the scales that were found
 * move least. */
static float choose_d(const book_kind *k, const found *groups, uint32_t n) {
    float most = 0, best = 0;
    double least = INFINITY;
    for (uint32_t g = 0; g < n; g++) most = groups[g].scale > most ? groups[g].scale : most;
    for (int i = 0; i < TOPS; i++) {
        const float d = most / ((float)(2 * k->scale_hi + 1) - 0.5f * (float)(i - 1));
        double error = 0;
        for (uint32_t g = 0; g < n; g++) {
            const float is = d * (float)(2 * nearest_scale(groups[g].scale, d, k->scale_hi) + 1);
            error += groups[g].vv * pow((double)(is - groups[g].scale), 2);
        }
        if (error < least) least = error, best = d;
    }
    return round_half(best);
}

/* The integer of a group, from those next to it, and the codes with it. */
static float choose_integer(group g, float d, int *scale) {
    const int hi = g.book->kind->scale_hi, s = *scale;
    float error = INFINITY;
    int at = s;
    for (int i = s - 1; i <= s + 1; i++) {
        if (i < 0 || i > hi) continue;
        const float e = find_codes(g, d * (float)(2 * i + 1));
        if (e < error) error = e, *scale = at = i;
    }
    if (at != (s < hi ? s + 1 : hi)) find_codes(g, d * (float)(2 * at + 1));
    return error;
}

static void keep(const book_kind *k, float d, const int *scales, const eight *eights, double error,
                 book_block *out) {
    const uint32_t parts = 8 / k->n_dims;
    out->d = d;
    out->error = error;
    memcpy(out->scales, scales, sizeof out->scales);
    for (uint32_t i = 0; i < BOOK_EIGHTS; i++) {
        out->signs[i] = eights[i].signs;
        for (uint32_t p = 0; p < parts; p++) out->codes[parts * i + p] = eights[i].codes[p];
    }
}

void book_fit(const book_kind *k, const float *x, const float *weight, book_block *out) {
    const uint32_t n = BOOK_COLS / k->n_cols;
    book b;
    eight eights[BOOK_EIGHTS];
    found groups[BOOK_GROUPS];
    group at[BOOK_GROUPS];
    int scales[BOOK_GROUPS] = {0};
    open_book(k, &b);
    for (uint32_t g = 0; g < n; g++) {
        at[g] = (group){&b, x + g * k->n_cols, weight + g * k->n_cols, eights + g * k->n_cols / 8};
        groups[g] = fit_group(at[g]);
    }
    float d = choose_d(k, groups, n);
    for (uint32_t g = 0; g < n; g++) scales[g] = nearest_scale(groups[g].scale, d, k->scale_hi);
    out->error = INFINITY;
    for (int i = 0; i < ROUNDS; i++) {
        double error = 0, vv = 0, vx = 0;
        for (uint32_t g = 0; g < n; g++) {
            error += (double)choose_integer(at[g], d, &scales[g]);
            const products p = sum_products(at[g]);
            vv += p.vv * pow(2 * scales[g] + 1, 2), vx += p.vx * (2 * scales[g] + 1);
        }
        if (error < out->error) keep(k, d, scales, eights, error, out);
        if (!(vv > 0) || !(vx > 0)) return;
        d = round_half((float)(vx / vv));
    }
}
