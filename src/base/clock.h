/* A monotonic clock, for figures only. */
#ifndef NUT_BASE_CLOCK_H
#define NUT_BASE_CLOCK_H

double clock_seconds(void);

#endif
