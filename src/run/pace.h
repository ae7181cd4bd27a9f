/*
 * How many threads share a step of one token, where the caller left that open. More are not always faster:
 * two threads of one core, or a slow core beside fast ones, can make a step longer. The first tokens are
 * computed with all threads and then with fewer, in halves, as long as that is faster. More threads are
 * given up only after they lost twice: the first tokens are also those for which a browser has yet to
 * compile code well. Steps of several tokens always have all threads. Results do not depend on it.
 */
#ifndef NUT_RUN_PACE_H
#define NUT_RUN_PACE_H

#include <stdbool.h>

enum { PACE_TOKENS = 5 }; // of a trial; their median counts

typedef struct pace {
    bool trying;
    unsigned best, now;  // threads: the best so far, and of the next step
    float best_seconds;  // of a step with `best`; 0: not known
    float fewer_seconds; // of a step with half of them, where that was faster; 0: it was not tried
    unsigned n_seconds;
    float seconds[PACE_TOKENS]; // of the steps of this trial
} pace;

/* All n threads; `fewer`: or fewer, by trials. */
void pace_begin(pace *p, unsigned n, bool fewer);
/* A step of one token with p->now threads took so long; p->now is the number for the next. */
void pace_took(pace *p, float seconds);

#endif
