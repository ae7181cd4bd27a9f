/*
 * Fewer experts: those that a text uses most stay. The others go, or are merged into the one that the router
 * takes for the most alike (Li et al. 2024, "Merge, Then Compress", M-SMoE, arXiv 2310.01334, section 3.2):
 * hidden units are brought into the same order first, by the assignment with the largest sum of products of
 * their weights, and experts count by their use. Routers lose the rows of those that go, so that the result
 * is an ordinary model; in the paper routers keep them, and name the merged expert several times.
 */
#ifndef NUT_COMPRESS_EXPERTS_H
#define NUT_COMPRESS_EXPERTS_H

#include "evaluate/statistics.h"
#include "kernels/dense.h"
#include "kernels/formats.h"

/* Chooses the n_keep experts with the largest worth (n), equally many from each of n_group groups of
 * consecutive experts; of equal ones the first. kept (n_keep) receives their numbers, ascending. n and
 * n_keep are multiples of n_group. */
void experts_choose(const double *worth, size_t n, size_t n_group, size_t n_keep, uint32_t *kept);

/* What an expert gives in all: the sum over its tokens of |down h|^2, the inputs' correlations left out.
 * down (n_rows, h->n_cols) are the rows of its last matrix, h the statistics of its inputs; NULL: it has
 * none. */
double experts_output(const matrix *down, const statistics *h, float *row);

/* into (n): for each expert the number in kept of the one that it is merged into, its own where it stays:
 * that of its group whose scores over the text have the largest cosine. router (n, n_embd) are the rows of
 * the router, s the statistics of its inputs with their Hessian. Memory: 4 n n_embd + 8 n^2 bytes. */
nut_status experts_group(const float *router, const statistics *s, size_t n, size_t n_group,
                         const uint32_t *kept, size_t n_keep, uint32_t *into, nut_error *err);

/* Brings the hidden units of an expert into the order of another, and adds it, times `by`, to a sum: sum,
 * like and expert (n_ff, n), a row for each hidden unit with all its weights. Memory: 4 n_ff^2 bytes. */
nut_status experts_add(dense *d, const float *like, const float *expert, size_t n_ff, size_t n, float by,
                       float *sum, nut_error *err);

#endif
