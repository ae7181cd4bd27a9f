/*
 * Drafts: tokens that may come next, guessed without the model that is asked. A step that reads several
 * tokens costs less than as many steps of one, so a draft that holds is a gain; one that does not costs
 * time, never the text: each token of it is kept only if the model, asked as without a draft, would have
 * taken it too (Leviathan et al. 2023, arXiv 2211.17192).
 *
 * This file decides how many tokens are worth drafting: the number with the most tokens per second, by what
 * drafts of the kind were worth so far and by what steps of so many tokens cost on this machine (section 3.5
 * there: the expected gain). Costs are not in proportion: four tokens at once may cost as much as three, so
 * each number has its own, measured while the model writes. All costs are in steps of one token.
 *
 * A credit bounds what drafts can lose. Each step with a draft pays what it costs beyond one token, and gets
 * one back for each token that was right; no draft is made that could cost more than the credit. It is
 * DRAFT_CREDIT at most and grows by DRAFT_ALLOWANCE with each token, so any n tokens take at most
 * n + DRAFT_CREDIT + n * DRAFT_ALLOWANCE steps of one: 256 tokens have 0.97 of the speed without drafts.
 * What was not measured yet is taken to cost what its parts do, one after the other.
 */
#ifndef NUT_RUN_DRAFT_H
#define NUT_RUN_DRAFT_H

#include <stddef.h>
#include <stdint.h>

enum { DRAFT_MAX = 15 }; // tokens of a draft

#define DRAFT_CREDIT    6.0
#define DRAFT_ALLOWANCE (1.0 / 144)

/* Kinds of drafts, each with a worth of its own: X(id, share of right tokens until it is known). */
#define DRAFT_KINDS(X)                                                                                      \
    X(MATCH_2, 0.5f) /* prompt lookup (lookup.h), by the length of the match */                             \
    X(MATCH_3, 0.65f)                                                                                       \
    X(MATCH_6, 0.8f)                                                                                        \
    X(MATCH_12, 0.9f)                                                                                       \
    X(MODEL, 0.7f)  /* by another model (drafter.h) */                                                      \
    X(LAYERS, 0.6f) /* by the model without some of its layers */

typedef enum draft_kind {
#define NUT_X(id, share) DRAFT_##id,
    DRAFT_KINDS(NUT_X)
#undef NUT_X
        DRAFT_KIND_COUNT
} draft_kind;

typedef struct draft {
    float right[DRAFT_KIND_COUNT]; // share of the tokens tried that were right, of drafts of this kind
    float cost[DRAFT_MAX + 2];     // [n]: of a step of n tokens, where it was seen
    uint8_t seen[DRAFT_MAX + 2];   // how often it was, 2 at most
    double one;                    // seconds of a step of one token; 0: not known yet
    double credit;
    draft_kind kind; // of the last draft
    uint64_t n_drafted, n_accepted;
    uint64_t n_drafted_by_model, n_accepted_by_model; // of those, by MODEL and LAYERS
} draft;

/* Forgets the counts of tokens, and what drafts of earlier texts were worth; costs stay. */
void draft_reset(draft *d);

/* How many tokens of a kind to draft, at most max, where making each costs `each`; 0 where no draft is worth
 * its cost, or none may be lost. */
size_t draft_length(draft *d, draft_kind kind, double each, size_t max);

/* Tells what became of a draft of n tokens: of n_tried that the model was asked for, n_right were right;
 * those after the first wrong one were not tried. */
void draft_judge(draft *d, size_t n, size_t n_tried, size_t n_right);

/* Tells that a draft cost so much and has no token. */
void draft_spend(draft *d, double cost);

/* Tells how long a step of n tokens took, all but the first of them drafted at a cost of `each`. */
void draft_time(draft *d, size_t n, double each, double seconds);

#endif
