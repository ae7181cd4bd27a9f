/*
 * Drawing a token from logits. The steps, in the order that llama.cpp runs them by default: penalties,
 * top-k, typical, top-p, min-p, temperature, draw. Probabilities are computed with the engine's own
 * exponential and ties are broken by id, so that one seed gives one text in every build.
 */
#include "run/session.h"

#include "base/error.h"
#include "base/sort.h"

#include <math.h>
#include <string.h>

typedef struct pool { // the candidates still in play, best first once sorted
    sampler_candidate *c;
    size_t n;
    bool sorted;
} pool;

/* ---- options ---- */

typedef struct range_rule {
    const char *name;
    size_t offset;
    float least, most;
} range_rule;

static const range_rule rules[] = {
    {"temperature", offsetof(nut_generate_options, temperature), 0, 100},
    {"top_p", offsetof(nut_generate_options, top_p), 0, 1},
    {"min_p", offsetof(nut_generate_options, min_p), 0, 1},
    {"typical_p", offsetof(nut_generate_options, typical_p), 0, 1},
    {"repeat_penalty", offsetof(nut_generate_options, repeat_penalty), 0.01f, 100},
    {"presence_penalty", offsetof(nut_generate_options, presence_penalty), -100, 100},
    {"frequency_penalty", offsetof(nut_generate_options, frequency_penalty), -100, 100},
};

nut_generate_options nut_generate_defaults(void) {
    return (nut_generate_options){.temperature = 0.8f,
                                  .top_k = 40,
                                  .top_p = 0.95f,
                                  .min_p = 0.05f,
                                  .typical_p = 1,
                                  .repeat_penalty = 1,
                                  .repeat_last_n = 64};
}

nut_status sampler_reset(sampler *s, const nut_generate_options *options, nut_error *err) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        float v;
        memcpy(&v, (const char *)options + rules[i].offset, sizeof v);
        if (!(v >= rules[i].least && v <= rules[i].most))
            return error_set(err, NUT_E_ARGUMENT, "%s must be between %g and %g, not %g", rules[i].name,
                             (double)rules[i].least, (double)rules[i].most, (double)v);
    }
    s->options = *options;
    rng_seed(&s->random, options->seed);
    return NUT_OK;
}

/* ---- penalties ---- */

static bool penalizes(const nut_generate_options *o) {
    return o->repeat_penalty != 1.0f || o->presence_penalty != 0.0f || o->frequency_penalty != 0.0f;
}

/* Repetition penalty (Keskar et al. 2019, arXiv 1909.05858) and OpenAI's presence and frequency penalties.
 */
static void penalize(sampler *s, const int32_t *recent, size_t n) {
    const nut_generate_options *o = &s->options;
    if (!penalizes(o)) return;
    if (n > o->repeat_last_n) recent += n - o->repeat_last_n, n = o->repeat_last_n;
    for (size_t i = 0; i < n; i++) s->counts[recent[i]]++;
    for (size_t i = 0; i < n; i++) {
        uint32_t *count = &s->counts[recent[i]];
        float *logit = &s->candidates[recent[i]].logit;
        if (!*count) continue;
        *logit = *logit > 0 ? *logit / o->repeat_penalty : *logit * o->repeat_penalty;
        *logit -= (float)*count * o->frequency_penalty + o->presence_penalty;
        *count = 0;
    }
}

/* ---- order ---- */

static bool better(const sampler_candidate *a, const sampler_candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static void swap(sampler_candidate *a, sampler_candidate *b) {
    sampler_candidate t = *a;
    *a = *b;
    *b = t;
}

static int by_rank(const void *a, const void *b) {
    return better(a, b) ? -1 : 1;
}

typedef bool order(const sampler_candidate *a, const sampler_candidate *b);

static bool worse(const sampler_candidate *a, const sampler_candidate *b) {
    return better(b, a);
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

/* Moves the k best to the front, in any order: each of the others that is better than the worst of them
 * takes its place. Never more than k log k + n log k comparisons, whatever the logits are. */
static void select_best(sampler_candidate *c, size_t n, size_t k) {
    if (k >= n) return;
    make_heap(c, k, worse);
    for (size_t i = k; i < n; i++) {
        if (!better(&c[i], &c[0])) continue;
        swap(&c[i], &c[0]);
        sink(c, k, 0, worse);
    }
}

static void keep_best(pool *p, size_t k) {
    if (k < p->n) {
        select_best(p->c, p->n, k);
        p->n = k;
        p->sorted = false;
    }
}

static void sort_pool(pool *p) {
    if (!p->sorted) sort_rows(p->c, p->n, sizeof *p->c, by_rank);
    p->sorted = true;
}

static float max_logit(const pool *p) {
    float max = -INFINITY;
    for (size_t i = 0; i < p->n; i++)
        if (p->c[i].logit > max) max = p->c[i].logit;
    return max;
}

/* Probabilities of the pool at a temperature; returns their sum before division, so p is not normalized. */
static double weigh(pool *p, float temperature) {
    float max = max_logit(p);
    double sum = 0;
    for (size_t i = 0; i < p->n; i++) {
        p->c[i].p = kernel_exp((p->c[i].logit - max) / temperature);
        sum += (double)p->c[i].p;
    }
    return sum;
}

/* ---- filters ---- */

/* Nucleus (Holtzman et al. 2020, arXiv 1904.09751): the fewest best whose probabilities reach top_p. They
 * are taken from a heap one by one, so that a large vocabulary is never sorted as a whole. */
static void filter_top_p(pool *p, float top_p) {
    if (top_p >= 1) return;
    double want = weigh(p, 1) * (double)top_p, sum = 0;
    size_t left = p->n;
    make_heap(p->c, left, better);
    do { // the best goes to the end
        swap(&p->c[0], &p->c[--left]);
        sink(p->c, left, 0, better);
        sum += (double)p->c[left].p;
    } while (left && sum < want);
    for (size_t i = 0; i < p->n / 2; i++) swap(&p->c[i], &p->c[p->n - 1 - i]);
    p->n -= left;
    p->sorted = true;
}

/* Minimum probability relative to the best (Nguyen et al. 2024, arXiv 2407.01082). */
static void filter_min_p(pool *p, float min_p) {
    if (min_p <= 0) return;
    float least = max_logit(p) + logf(min_p);
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->c[i].logit >= least) swap(&p->c[n++], &p->c[i]);
    if (n < p->n && n) p->n = n;
}

static int by_p(const void *a, const void *b) {
    const sampler_candidate *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p ? -1 : 1) : x->id - y->id;
}

/* Locally typical sampling (Meister et al. 2023, arXiv 2202.00666): the candidates whose surprise is nearest
 * to the entropy, until their probabilities reach typical_p. */
static void filter_typical(pool *p, float typical_p) {
    if (typical_p >= 1) return;
    double sum = weigh(p, 1), log_sum = log(sum), max = (double)max_logit(p), entropy = 0, mass = 0;
    for (size_t i = 0; i < p->n; i++)
        entropy += (double)p->c[i].p / sum * (log_sum - ((double)p->c[i].logit - max));
    for (size_t i = 0; i < p->n; i++)
        p->c[i].p = (float)fabs(log_sum - ((double)p->c[i].logit - max) - entropy);
    sort_rows(p->c, p->n, sizeof *p->c, by_p);
    size_t n = 0;
    while (n < p->n && mass < (double)typical_p * sum)
        mass += (double)kernel_exp((float)((double)p->c[n++].logit - max));
    p->n = n ? n : 1;
    p->sorted = false;
}

/* ---- draw ---- */

static int32_t best_of(const pool *p) {
    size_t best = 0;
    for (size_t i = 1; i < p->n; i++)
        if (better(&p->c[i], &p->c[best])) best = i;
    return p->c[best].id;
}

static int32_t draw(sampler *s, pool *p) {
    double at = weigh(p, s->options.temperature) * rng_f64(&s->random);
    for (size_t i = 0; i + 1 < p->n; i++) {
        at -= (double)p->c[i].p;
        if (at < 0) return p->c[i].id;
    }
    return p->c[p->n - 1].id;
}

/* ---- the whole vocabulary ---- */

/* A NaN is never drawn. */
static float usable_logit(float x) {
    return x == x ? x : -INFINITY;
}

/* All tokens, in the order of their ids. */
static void take_all(sampler *s, const float *logits, pool *p) {
    for (uint32_t i = 0; i < s->n_vocab; i++)
        p->c[i] = (sampler_candidate){.id = (int32_t)i, .logit = usable_logit(logits[i])};
    p->n = s->n_vocab;
}

/* The k best, without a look at the others but one: most logits are below the worst of the best so far. An
 * equal logit of a later token is worse. */
static void take_best(sampler *s, const float *logits, size_t k, pool *p) {
    for (size_t i = 0; i < k; i++)
        p->c[i] = (sampler_candidate){.id = (int32_t)i, .logit = usable_logit(logits[i])};
    make_heap(p->c, k, worse);
    for (size_t i = k; i < s->n_vocab; i++) {
        if (!(logits[i] > p->c[0].logit)) continue;
        p->c[0] = (sampler_candidate){.id = (int32_t)i, .logit = logits[i]};
        sink(p->c, k, 0, worse);
    }
    p->n = k;
}

int32_t sampler_draw(sampler *s, const float *logits, const int32_t *recent, size_t n_recent) {
    const nut_generate_options *o = &s->options;
    const size_t k = o->temperature == 0 ? 1 : o->top_k;
    pool p = {.c = s->candidates};
    if (k && k < s->n_vocab && !penalizes(o)) {
        take_best(s, logits, k, &p);
    } else {
        take_all(s, logits, &p);
        penalize(s, recent, n_recent);
    }
    if (o->temperature == 0) return best_of(&p);
    if (o->top_k) keep_best(&p, o->top_k);
    filter_typical(&p, o->typical_p);
    filter_top_p(&p, o->top_p);
    filter_min_p(&p, o->min_p);
    sort_pool(&p);
    return draw(s, &p);
}
