/*
 * Fewer positions behind a prompt: each head keeps those that the last tokens attend to (Li et al. 2024,
 * "SnapKV", arXiv 2404.14469). Keys stay rotated as they were, so that heads can hold different positions in
 * the same place of the cache; what is read afterwards is rotated as if nothing had gone
 * (sequence.n_skipped).
 *
 * The last tokens are read once more while a tap (linear_tap) looks at their queries. A step knows nothing
 * of it, so that modules which never call it do not hold it.
 */
#ifndef NUT_RUN_KEEP_H
#define NUT_RUN_KEEP_H

#include <stddef.h>
#include <stdint.h>

typedef struct keep_vote {
    float votes;
    uint32_t pos;
} keep_vote;

/* Chooses `most` of n positions, at most n, by their votes (n): a position counts as much as the largest one
 * at most three positions away, so that what surrounds it stays too; of equal ones the earlier go first.
 * order (n) is scratch; chosen (most) is in order. */
void keep_choose(const float *votes, size_t n, size_t most, keep_vote *order, uint32_t *chosen);

#endif
