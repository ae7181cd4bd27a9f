/*
 * The sampler: options, the candidates, and the steps one after the other. A step that is off for the
 * options of this generation is the identity, and is not called.
 */
#include "run/sampler.h"

#include "base/error.h"
#include "base/sort.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

/* ---- options ---- */

nut_generate_options nut_generate_defaults(void) {
    return (nut_generate_options){
#define NUT_X(type, field, standard, least, most, js, help) .field = (type)(standard),
        NUT_GENERATE_OPTION_LIST(NUT_X)
#undef NUT_X
    };
}

static nut_status check_option(const char *name, double value, double standard, double least, double most,
                               nut_error *err) {
    if (value == standard || (value >= least && value <= most)) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "%s must be between %g and %g, not %g", name, least, most, value);
}

nut_status sampler_reset(sampler *s, const nut_generate_options *o, nut_error *err) {
#define NUT_X(type, field, standard, least, most, js, help)                                                 \
    TRY(check_option(#field, (double)o->field, (double)(type)(standard), (double)(type)(least),             \
                     (double)(type)(most), err));
    NUT_GENERATE_OPTION_LIST(NUT_X)
#undef NUT_X
    s->options = *o;
    rng_seed(&s->random, o->seed);
    return NUT_OK;
}

/* ---- order ---- */

typedef bool order(const sampler_candidate *a, const sampler_candidate *b);

static bool better(const sampler_candidate *a, const sampler_candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static bool worse(const sampler_candidate *a, const sampler_candidate *b) {
    return better(b, a);
}

static int by_rank(const void *a, const void *b) {
    return better(a, b) ? -1 : 1;
}

static void swap(sampler_candidate *a, sampler_candidate *b) {
    sampler_candidate t = *a;
    *a = *b;
    *b = t;
}

/* Lets c[i] of a heap of n sink to where it is before both its children: what is before all is on top. */
static void sink(sampler_candidate *c, size_t n, size_t i, order *before) {
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&c[child + 1], &c[child])) child++;
        if (!before(&c[child], &c[i])) return;
        swap(&c[i], &c[child]);
    }
}

static void make_heap(sampler_candidate *c, size_t n, order *before) {
    for (size_t i = n / 2; i-- > 0;) sink(c, n, i, before);
}

/* ---- logits ---- */

/* The bits of a float as an integer of the same order. NaNs are above that of infinity or below that of
 * minus infinity. Compilers make SIMD of comparisons of integers, and not of floats. */
static inline int32_t rank_of(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits < 0 ? bits ^ INT32_MAX : bits;
}

/* The largest and the smallest of n logits, as ranks. */
static inline void find_extremes(const float *logits, size_t n, int32_t *best, int32_t *worst) {
    for (size_t i = 0; i < n; i++) {
        const int32_t rank = rank_of(logits[i]);
        *best = rank > *best ? rank : *best;
        *worst = rank < *worst ? rank : *worst;
    }
}

nut_status sampler_check_logits(const float *logits, size_t n, nut_error *err) {
    const int32_t infinite = rank_of(INFINITY), lowest = rank_of(-INFINITY);
    int32_t best = INT32_MIN, worst = INT32_MAX;
    find_extremes(logits, n, &best, &worst);
    if (worst >= lowest && best > lowest && best < infinite) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT,
                     "the model computes %s instead of the logits of the next token: its file is damaged or "
                     "was converted wrongly; download or convert it again",
                     best > infinite || worst < lowest ? "NaN (not a number)" : "infinite numbers");
}

/* ---- candidates ---- */

static void list_first(sampler_pool *p, size_t n) {
    for (size_t i = 0; i < n; i++) p->c[i] = (sampler_candidate){.id = (int32_t)i, .logit = p->logits[i]};
    p->listed = true;
}

void pool_list(sampler_pool *p) {
    if (!p->listed) list_first(p, p->n);
}

/* The k best of all logits, without a closer look at most blocks of them: nearly all logits are below the
 * worst of the best so far. An equal logit of a later token is worse. */
static void list_best(sampler_pool *p, size_t k) {
    enum { BLOCK = 64 };
    const float *logits = p->logits;
    sampler_candidate *c = p->c;
    list_first(p, k);
    make_heap(c, k, worse);
    for (size_t at = k, n; at < p->n; at += n) {
        int32_t best = INT32_MIN, worst = INT32_MAX;
        n = p->n - at < BLOCK ? p->n - at : BLOCK;
        find_extremes(logits + at, n, &best, &worst);
        if (best <= rank_of(c[0].logit)) continue;
        for (size_t i = at; i < at + n; i++) {
            if (!(logits[i] > c[0].logit)) continue;
            c[0] = (sampler_candidate){.id = (int32_t)i, .logit = logits[i]};
            sink(c, k, 0, worse);
        }
    }
}

/* Moves the k best to the front, in any order: each of the others that is better than the worst of them
 * takes its place. Never more than k log k + n log k comparisons, whatever the logits are. */
static void select_best(sampler_pool *p, size_t k) {
    make_heap(p->c, k, worse);
    for (size_t i = k; i < p->n; i++) {
        if (!better(&p->c[i], &p->c[0])) continue;
        swap(&p->c[i], &p->c[0]);
        sink(p->c, k, 0, worse);
    }
}

void pool_keep_best(sampler_pool *p, size_t k) {
    if (k >= p->n) return;
    if (p->listed)
        select_best(p, k);
    else
        list_best(p, k);
    p->n = k;
    p->sorted = false;
}

void pool_sort(sampler_pool *p) {
    pool_list(p);
    if (!p->sorted) sort_rows(p->c, p->n, sizeof *p->c, by_rank);
    p->sorted = true;
}

float pool_best_logit(sampler_pool *p) {
    float best = -INFINITY;
    pool_list(p);
    for (size_t i = 0; i < p->n; i++)
        if (p->c[i].logit > best) best = p->c[i].logit;
    return best;
}

double pool_weigh(sampler_pool *p) {
    const float best = pool_best_logit(p);
    double sum = 0;
    for (size_t i = 0; i < p->n; i++) {
        p->c[i].p = kernel_exp(p->c[i].logit - best);
        sum += (double)p->c[i].p;
    }
    return sum;
}

/* They are taken from a heap one by one, so that a large vocabulary is never sorted as a whole. */
void pool_keep_mass(sampler_pool *p, double mass) {
    sampler_candidate *c = p->c;
    size_t left = p->n;
    double sum = 0;
    make_heap(c, left, better);
    do { // the best goes to the end
        swap(&c[0], &c[--left]);
        sink(c, left, 0, better);
        sum += (double)c[left].p;
    } while (left && sum < mass);
    for (size_t i = 0; i < p->n / 2; i++) swap(&c[i], &c[p->n - 1 - i]);
    p->n -= left;
    p->sorted = true;
}

/* ---- one token ---- */

nut_status sampler_spread(sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                          sampler_pool *p, nut_error *err) {
    static const sampler_step *const steps[] = {
#define NUT_X(name) &sampler_step_##name,
        SAMPLER_STEPS(NUT_X)
#undef NUT_X
    };
    TRY(sampler_check_logits(logits, s->n_vocab, err));
    *p = (sampler_pool){logits, recent, n_recent, s->candidates, s->n_vocab, false, false};
    for (size_t i = 0; i + 1 < sizeof steps / sizeof *steps; i++)
        if (!steps[i]->is_off(&s->options)) steps[i]->run(s, p);
    return NUT_OK;
}

nut_status sampler_sample(sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                          int32_t *id, nut_error *err) {
    sampler_pool p;
    TRY(sampler_spread(s, logits, recent, n_recent, &p, err));
    sampler_step_sample.run(s, &p);
    *id = p.c[0].id;
    return NUT_OK;
}
