/* Fewer threads are tried as long as they are faster. */
#include "run/pace.h"

#define PACE_GAIN 0.95f // of the time with more threads: what fewer must be below

void pace_begin(pace *p, unsigned n, bool fewer) {
    *p = (pace){.trying = fewer && n > 1, .best = n, .now = n};
}

static float median(float *x, unsigned n) {
    for (unsigned i = 1; i < n; i++)
        for (unsigned k = i; k > 0 && x[k] < x[k - 1]; k--) {
            const float t = x[k];
            x[k] = x[k - 1], x[k - 1] = t;
        }
    return x[n / 2];
}

void pace_took(pace *p, float seconds) {
    if (!p->trying) return;
    p->seconds[p->n_seconds++] = seconds;
    if (p->n_seconds < PACE_TOKENS) return;
    const float took = median(p->seconds, PACE_TOKENS);
    const bool first = p->best_seconds == 0, better = first || took < PACE_GAIN * p->best_seconds;
    if (better) p->best = p->now, p->best_seconds = took;
    p->trying = better && p->best > 1;
    p->now = p->trying ? (p->best + 1) / 2 : p->best;
    p->n_seconds = 0;
}
