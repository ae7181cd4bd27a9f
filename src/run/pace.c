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

/* The next trial is with half of the best number; where that is 1, there is none. */
static void halve(pace *p) {
    p->trying = p->best > 1;
    p->now = p->trying ? (p->best + 1) / 2 : p->best;
}

/* After a trial with p->now threads whose median step took so long. */
static void judge(pace *p, float took) {
    const bool is_best = p->now == p->best;
    if (is_best && (p->best_seconds == 0 || took < p->best_seconds)) p->best_seconds = took;
    if (!is_best) p->fewer_seconds = took;
    const bool fewer_won = p->fewer_seconds > 0 && p->fewer_seconds < PACE_GAIN * p->best_seconds;
    if (fewer_won && !is_best) {
        p->now = p->best; // again
    } else if (fewer_won) {
        p->best = (p->best + 1) / 2, p->best_seconds = p->fewer_seconds, p->fewer_seconds = 0;
        halve(p);
    } else if (p->fewer_seconds > 0) {
        p->trying = false, p->now = p->best;
    } else {
        halve(p);
    }
}

void pace_took(pace *p, float seconds) {
    if (!p->trying) return;
    p->seconds[p->n_seconds++] = seconds;
    if (p->n_seconds < PACE_TOKENS) return;
    p->n_seconds = 0;
    judge(p, median(p->seconds, PACE_TOKENS));
}
