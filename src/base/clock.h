/* A monotonic clock, for measurements only: no result depends on it. */
#ifndef NUT_BASE_CLOCK_H
#define NUT_BASE_CLOCK_H

double clock_seconds(void); // since some fixed time

#endif
