/* The steps of sampling. Each cites the method that it is; their order is SAMPLER_STEPS. */
#include "run/sampler.h"

#include "base/sort.h"
#include "kernels/kernels.h"

#include <math.h>

/* ---- penalties ---- */

static bool penalties_off(const nut_generate_options *o) {
    return o->repeat_penalty == 1.0f && o->presence_penalty == 0.0f && o->frequency_penalty == 0.0f;
}

/* Repetition penalty (Keskar et al. 2019, arXiv 1909.05858) and OpenAI's presence and frequency penalties.
 */
static void penalize(sampler *s, sampler_pool *p) {
    const nut_generate_options *o = &s->options;
    const size_t last = p->n_recent, first = last < o->repeat_last_n ? 0 : last - o->repeat_last_n;
    pool_list(p);
    for (size_t i = first; i < last; i++) s->counts[p->recent[i]]++;
    for (size_t i = first; i < last; i++) {
        uint32_t *count = &s->counts[p->recent[i]];
        float *logit = &p->c[p->recent[i]].logit;
        if (!*count) continue;
        *logit = *logit > 0 ? *logit / o->repeat_penalty : *logit * o->repeat_penalty;
        *logit -= (float)*count * o->frequency_penalty + o->presence_penalty;
        *count = 0;
    }
}

const sampler_step sampler_step_penalties = {"penalties", penalties_off, penalize};

/* ---- the k best ---- */

static bool greedy_off(const nut_generate_options *o) {
    return o->temperature != 0.0f;
}

static void keep_best(sampler *s, sampler_pool *p) {
    (void)s;
    pool_keep_best(p, 1);
}

const sampler_step sampler_step_greedy = {"greedy", greedy_off, keep_best};

static bool top_k_off(const nut_generate_options *o) {
    return o->top_k == 0;
}

static void keep_top_k(sampler *s, sampler_pool *p) {
    pool_keep_best(p, s->options.top_k);
}

const sampler_step sampler_step_top_k = {"top_k", top_k_off, keep_top_k};

/* ---- shares of the probability ---- */

static bool typical_p_off(const nut_generate_options *o) {
    return o->typical_p >= 1;
}

static int by_p(const void *a, const void *b) {
    const sampler_candidate *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p ? -1 : 1) : x->id - y->id;
}

/* Locally typical sampling (Meister et al. 2023, arXiv 2202.00666): the candidates whose surprise is nearest
 * to the entropy, until their probabilities reach typical_p. */
static void keep_typical(sampler *s, sampler_pool *p) {
    double sum = pool_weigh(p), log_sum = log(sum), max = (double)pool_best_logit(p), entropy = 0, mass = 0;
    for (size_t i = 0; i < p->n; i++)
        entropy += (double)p->c[i].p / sum * (log_sum - ((double)p->c[i].logit - max));
    for (size_t i = 0; i < p->n; i++)
        p->c[i].p = (float)fabs(log_sum - ((double)p->c[i].logit - max) - entropy);
    sort_rows(p->c, p->n, sizeof *p->c, by_p);
    size_t n = 0;
    while (n < p->n && mass < (double)s->options.typical_p * sum)
        mass += (double)kernel_exp((float)((double)p->c[n++].logit - max));
    p->n = n ? n : 1;
    p->sorted = false;
}

const sampler_step sampler_step_typical_p = {"typical_p", typical_p_off, keep_typical};

static bool top_p_off(const nut_generate_options *o) {
    return o->top_p >= 1;
}

/* Nucleus (Holtzman et al. 2020, arXiv 1904.09751): the fewest best whose probabilities reach top_p. */
static void keep_top_p(sampler *s, sampler_pool *p) {
    pool_keep_mass(p, pool_weigh(p) * (double)s->options.top_p);
}

const sampler_step sampler_step_top_p = {"top_p", top_p_off, keep_top_p};

static bool min_p_off(const nut_generate_options *o) {
    return o->min_p <= 0;
}

/* Minimum probability relative to the best (Nguyen et al. 2024, arXiv 2407.01082). */
static void keep_min_p(sampler *s, sampler_pool *p) {
    const float least = pool_best_logit(p) + logf(s->options.min_p);
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->c[i].logit >= least) p->c[n++] = p->c[i];
    p->n = n;
}

const sampler_step sampler_step_min_p = {"min_p", min_p_off, keep_min_p};

/* ---- the token ---- */

/* At 0 the greedy step has left one candidate. */
static bool temperature_off(const nut_generate_options *o) {
    return o->temperature == 0.0f || o->temperature == 1.0f;
}

/* Logits are taken from the best before they are divided. Two of them may become equal then, so the order is
 * settled first. */
static void divide(sampler *s, sampler_pool *p) {
    pool_sort(p);
    const float best = p->c[0].logit;
    for (size_t i = 0; i < p->n; i++) p->c[i].logit = (p->c[i].logit - best) / s->options.temperature;
}

const sampler_step sampler_step_temperature = {"temperature", temperature_off, divide};

static bool sample_off(const nut_generate_options *o) {
    (void)o;
    return false;
}

/* Takes one candidate at random, each as often as its probability says. */
static void sample(sampler *s, sampler_pool *p) {
    pool_sort(p);
    double at = pool_weigh(p) * rng_f64(&s->random);
    size_t i = 0;
    while (i + 1 < p->n && !((at -= (double)p->c[i].p) < 0)) i++;
    p->c[0] = p->c[i];
    p->n = 1;
}

const sampler_step sampler_step_sample = {"sample", sample_off, sample};
