/* A monotonic clock, for measurements only: no result depends on it. */
#ifndef NUT_BASE_CLOCK_H
#define NUT_BASE_CLOCK_H

double clock_seconds(void); // since some fixed time
/* That this thread has worked, without what other programs took of its processor, where the system counts
 * that; else as clock_seconds. */
double clock_own_seconds(void);
/* That work of n_threads has taken: of the own one alone, or by the clock. */
double clock_work_seconds(unsigned n_threads);

#endif
