/*
 * Memory for some of a model's experts: which of them are there, and whose place is given to another one.
 *
 * What was not used for the most visits of its layer goes first, which is the least recently used one where
 * layers follow one another. Among equals it is the one whose layer comes again last, and of one layer the
 * one that was asked for last, since experts are asked for in their order: where a step needs more than
 * there is room for, the same ones stay, instead of each being gone when it is needed again (Belady 1966, "A
 * study of replacement algorithms").
 */
#ifndef NUT_RUN_SLOTS_H
#define NUT_RUN_SLOTS_H

#include "base/mem.h"

typedef struct expert_slot {
    bool full;
    uint32_t layer, expert; // which one is there
    uint64_t used;          // the visit of its layer in which it was last used
    uint64_t asked;         // slots.n_asked when it was last asked for
    bool to_come;           // chosen in this visit, and not asked for yet
} expert_slot;

typedef struct slots {
    uint32_t n_layer, n_expert;
    uint32_t n_together; // that were asked for last and must stay; at most n
    uint32_t n;
    expert_slot *slots; // (n)
    uint32_t *at;       // (n_layer, n_expert) 1 + the slot, 0: in none
    uint64_t *visits;   // (n_layer)
    uint64_t n_asked;
} slots;

enum { SLOTS_NONE = UINT32_MAX };

/* A layer is visited, and n experts are chosen in it, some perhaps several times; numbers that are none are
 * passed over. */
void slots_choose(slots *s, uint32_t layer, const uint32_t *chosen, size_t n);
/* The slot of an expert that is asked for; SLOTS_NONE where it is in none. */
uint32_t slots_find(slots *s, uint32_t layer, uint32_t expert);
/* Gives a slot to an expert that is in none, and asked for. */
uint32_t slots_give(slots *s, uint32_t layer, uint32_t expert);
/* Its expert could not be read: the slot is empty. */
void slots_drop(slots *s, uint32_t slot);

#endif
