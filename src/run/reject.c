/* Rejection sampling. */
#include "run/reject.h"

#include <string.h>

/* One of the candidates, each as often as its p says; sum is that of all p. */
static int32_t choose(const sampler_pool *p, double sum, double at) {
    size_t i = 0;
    at *= sum;
    while (i + 1 < p->n && !((at -= (double)p->c[i].p) < 0)) i++;
    return p->c[i].id;
}

nut_status reject_draw(sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                       float *shares, int32_t *id, nut_error *err) {
    sampler_pool p;
    const nut_status status = sampler_spread(s, logits, recent, n_recent, &p, err);
    if (status != NUT_OK) return status;
    const double sum = pool_weigh(&p);
    memset(shares, 0, s->n_vocab * sizeof *shares);
    for (size_t i = 0; i < p.n; i++) shares[p.c[i].id] = (float)((double)p.c[i].p / sum);
    *id = choose(&p, sum, rng_f64(&s->random));
    return NUT_OK;
}

/* How likely a token is among the candidates. */
static double share_of(const sampler_pool *p, double sum, int32_t id) {
    for (size_t i = 0; i < p->n; i++)
        if (p->c[i].id == id) return (double)p->c[i].p / sum;
    return 0;
}

/* Leaves of each candidate's p what is more than its share; returns the sum. */
static double take_shares(sampler_pool *p, double sum, const float *shares) {
    double rest = 0;
    for (size_t i = 0; i < p->n; i++) {
        const double more = (double)p->c[i].p / sum - (double)shares[p->c[i].id];
        p->c[i].p = more > 0 ? (float)more : 0;
        rest += (double)p->c[i].p;
    }
    return rest;
}

nut_status reject_sample(sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                         const float *shares, int32_t drafted, int32_t *id, nut_error *err) {
    sampler_pool p;
    const nut_status status = sampler_spread(s, logits, recent, n_recent, &p, err);
    if (status != NUT_OK) return status;
    const double sum = pool_weigh(&p), share = share_of(&p, sum, drafted);
    if (rng_f64(&s->random) * (double)shares[drafted] < share) {
        *id = drafted;
        return NUT_OK;
    }
    const double rest = take_shares(&p, sum, shares), at = rng_f64(&s->random);
    *id = rest > 0 ? choose(&p, rest, at) : drafted; // 0: both are the same, but for rounding
    return NUT_OK;
}
