/*
 * A team of threads that work on one step together. Work is divided by index, never by which thread comes
 * first, so that results do not depend on the number of threads. Builds without threads (NUT_THREADS not
 * defined) have a team of one.
 */
#ifndef NUT_BASE_THREADS_H
#define NUT_BASE_THREADS_H

#include "nutshell.h"

enum { THREADS_MOST = 64 }; // members of a team

typedef struct threads threads;
typedef void threads_fn(void *ctx, unsigned i, unsigned n); // member i of n

/* A team of at most n members (1 .. THREADS_MOST), the caller included; fewer where the system starts fewer
 * threads.
 */
nut_status threads_new(unsigned n, threads **out, nut_error *err);
void threads_free(threads *team); // NULL is allowed
unsigned threads_count(const threads *team);

/* The next runs have only the first n members (1 .. threads_count); the others sleep. Called by the member
 * that calls threads_run. */
void threads_limit(threads *team, unsigned n);

/* Calls fn(ctx, i, n) for every member that is not limited away, the caller being member 0,
 * and returns when all have. */
void threads_run(threads *team, threads_fn *fn, void *ctx);

/* The items [*begin, *end) of n_items that member i of n works on; the shares differ by one item at most. */
static inline void threads_split(size_t n_items, unsigned i, unsigned n, size_t *begin, size_t *end) {
    size_t each = n_items / n, more = n_items % n;
    *begin = i * each + (i < more ? i : more);
    *end = *begin + each + (i < more ? 1 : 0);
}

#endif
