/* How many tokens are worth drafting. */
#include "run/draft.h"

#include <string.h>

static const float first_share[DRAFT_KIND_COUNT] = {
#define NUT_X(id, share) share,
    DRAFT_KINDS(NUT_X)
#undef NUT_X
};
enum { ENOUGH = 2 };                   // times that a cost was seen, to be known
static const double FIRST_MORE = 0.35; // what each further token of a step costs until it is known
static const float KEPT = 0.9f;        // of an average, when a new value comes
static const float KEPT_ABOVE = 0.7f;  // of a time, when a shorter one comes: what is slower is often noise
static const float KEPT_WITHOUT = 0.99f; // of a share of right tokens, without a draft: they are tried again
static const double LEAST_GAIN = 1.05;   // below, a draft is not worth its risk
static const double MOST_NOISE = 2;      // times what a step cost so far: more is not the step's own

void draft_reset(draft *d) {
    if (d->one == 0) d->credit = DRAFT_CREDIT;
    memcpy(d->right, first_share, sizeof first_share);
    d->n_drafted = d->n_accepted = d->n_drafted_by_model = d->n_accepted_by_model = 0;
}

static void move(float *average, float value, float kept) {
    *average = kept * *average + (1 - kept) * value;
}

/* At most what a step of n tokens costs: as seen, or the parts of which that is known. */
static void find_most(const draft *d, double most[DRAFT_MAX + 2]) {
    most[1] = 1;
    for (size_t n = 2; n < DRAFT_MAX + 2; n++) {
        most[n] = d->seen[n] ? (double)d->cost[n] : (double)n;
        for (size_t part = 1; !d->seen[n] && part <= n / 2; part++)
            if (most[part] + most[n - part] < most[n]) most[n] = most[part] + most[n - part];
    }
}

/* What is expected of a step of n tokens that costs `most` at most. A time that was seen once may have been
 * an accident. */
static double expect(const draft *d, size_t n, double most) {
    const double first = 1 + FIRST_MORE * (double)(n - 1);
    return d->seen[n] < ENOUGH && first < most ? first : most;
}

/* How many tokens to draft, where each is right with a chance of p if those before it are: the number with
 * the most tokens per second, (1 + p + ... + p^k) / (cost of 1 + k at once + k * each), among those whose
 * loss there is credit for. */
static size_t best_length(const draft *d, double p, double each, size_t max) {
    double sum = 1, power = 1, best = LEAST_GAIN, most[DRAFT_MAX + 2];
    size_t length = 0;
    find_most(d, most);
    for (size_t k = 1; k <= max; k++) {
        power *= p;
        sum += power;
        const double drafting = (double)k * each, gain = sum / (expect(d, k + 1, most[k + 1]) + drafting);
        if (most[k + 1] + drafting - 1 <= d->credit && gain > best) best = gain, length = k;
    }
    return length;
}

size_t draft_length(draft *d, draft_kind kind, double each, size_t max) {
    float *right = &d->right[kind];
    if (d->one == 0) return 0;
    const size_t length = best_length(d, (double)*right, each, max < DRAFT_MAX ? max : DRAFT_MAX);
    if (length == 0) move(right, first_share[kind], KEPT_WITHOUT);
    d->kind = kind;
    return length;
}

static void earn(draft *d, double credit) {
    d->credit += credit;
    if (d->credit > DRAFT_CREDIT) d->credit = DRAFT_CREDIT;
}

void draft_judge(draft *d, size_t n, size_t n_tried, size_t n_right) {
    for (size_t i = 0; i < n_tried; i++) move(&d->right[d->kind], i < n_right ? 1 : 0, KEPT);
    d->n_drafted += n;
    d->n_accepted += n_right;
    if (d->kind >= DRAFT_MODEL) d->n_drafted_by_model += n, d->n_accepted_by_model += n_right;
    earn(d, (double)n_right * (1 + DRAFT_ALLOWANCE));
}

void draft_spend(draft *d, double cost) {
    d->credit -= cost;
}

/* An average of times that noise makes longer, never shorter. What is far above was not the step itself. */
static double average(double so_far, double value) {
    const double most = MOST_NOISE * so_far, kept = (double)(value < so_far ? KEPT_ABOVE : KEPT);
    return kept * so_far + (1 - kept) * (value < most ? value : most);
}

/* A step of n tokens took as long as so many of one. */
static void see(draft *d, size_t n, double took) {
    float *cost = &d->cost[n];
    if (d->seen[n] == ENOUGH)
        *cost = (float)average((double)*cost, took);
    else if (!d->seen[n]++ || took < (double)*cost)
        *cost = (float)took;
}

void draft_time(draft *d, size_t n, double each, double seconds) {
    earn(d, DRAFT_ALLOWANCE);
    if (n == 1) {
        d->one = d->one > 0 ? average(d->one, seconds) : seconds;
    } else if (d->one > 0) {
        const double took = seconds / d->one;
        see(d, n, took < (double)n ? took : (double)n);
        d->credit -= (double)d->cost[n] - 1 + (double)(n - 1) * each;
    }
}
