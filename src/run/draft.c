/* Prompt lookup, and how many tokens are worth drafting. */
#include "run/draft.h"

#include <string.h>

enum { LONGEST_MATCH = 24 };

static const float first_guess[DRAFT_CLASSES] = {0.5f, 0.65f, 0.8f, 0.9f};
static const float FIRST_MORE = 0.35f;   // until it is measured
static const float KEPT = 0.9f;          // of an average, when a new value comes
static const float KEPT_WITHOUT = 0.99f; // of a share of right tokens, without a draft: they are tried again
static const float LEAST_GAIN = 1.05f;   // below, a draft is not worth its risk

void draft_reset(draft *d) {
    if (d->more == 0) {
        memcpy(d->accepted, first_guess, sizeof first_guess);
        d->more = FIRST_MORE;
    }
    d->n_drafted = d->n_accepted = 0;
}

static void move(float *average, float value, float kept) {
    *average = kept * *average + (1 - kept) * value;
}

/* Tokens in front of a and b that are the same. */
static size_t match_length(const int32_t *tokens, size_t a, size_t b) {
    size_t n = 0;
    while (n < LONGEST_MATCH && n < a && tokens[a - 1 - n] == tokens[b - 1 - n]) n++;
    return n;
}

/* Where what came last stood before: the place behind it with the longest match, the latest of those.
 * Returns the length of the match. */
static size_t find_match(const int32_t *tokens, size_t n, size_t *at) {
    size_t best = 0;
    for (size_t i = n - 1; i > 0; i--) {
        if (tokens[i - 1] != tokens[n - 1]) continue;
        const size_t length = match_length(tokens, i, n);
        if (length > best) best = length, *at = i;
        if (best == LONGEST_MATCH) break;
    }
    return best;
}

static size_t class_of(size_t match) {
    return match >= 12 ? 3 : match >= 6 ? 2 : match >= 3 ? 1 : 0;
}

/* How many tokens to draft, where each is right with a chance of p if those before it are: the number with
 * the most tokens per second, (1 + p + ... + p^k) / (1 + k * more). */
static size_t best_length(double p, double more, size_t max) {
    double sum = 1, power = 1, best = LEAST_GAIN;
    size_t length = 0;
    for (size_t k = 1; k <= max; k++) {
        power *= p;
        sum += power;
        const double gain = sum / (1 + (double)k * more);
        if (gain > best) best = gain, length = k;
    }
    return length;
}

size_t draft_make(draft *d, const int32_t *tokens, size_t n, int32_t *out, size_t max) {
    size_t at = 0;
    if (n < DRAFT_MIN_MATCH + 1 || max == 0) return 0;
    const size_t match = find_match(tokens, n, &at);
    if (match < DRAFT_MIN_MATCH) return 0;
    d->n_class = class_of(match);
    float *accepted = &d->accepted[d->n_class];
    const size_t length = best_length(*accepted, d->more, max < DRAFT_MAX ? max : DRAFT_MAX);
    if (length == 0) move(accepted, first_guess[d->n_class], KEPT_WITHOUT);
    for (size_t i = 0; i < length; i++) out[i] = at + i < n ? tokens[at + i] : out[at + i - n];
    return length;
}

void draft_judge(draft *d, size_t n_tried, size_t n_right) {
    float *accepted = &d->accepted[d->n_class];
    for (size_t i = 0; i < n_tried; i++) move(accepted, i < n_right ? 1 : 0, KEPT);
    d->n_drafted += n_tried;
    d->n_accepted += n_right;
}

void draft_time(draft *d, size_t n, double seconds) {
    if (n == 1) {
        d->one = d->one > 0 ? KEPT * d->one + (1 - KEPT) * seconds : seconds;
    } else if (d->one > 0) {
        const double more = (seconds / d->one - 1) / (double)(n - 1);
        d->more = KEPT * d->more + (1 - KEPT) * (more > 0 ? more : 0);
        if (d->more <= 0) d->more = 1e-6;
    }
}
