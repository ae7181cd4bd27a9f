/* Which experts are in memory. */
#include "run/slots.h"

static uint32_t *place_of(const slots *s, uint32_t layer, uint32_t expert) {
    return &s->at[(size_t)layer * s->n_expert + expert];
}

static void touch(slots *s, uint32_t i) {
    expert_slot *slot = &s->slots[i];
    slot->used = s->visits[slot->layer];
    slot->asked = ++s->n_asked;
    slot->to_come = false;
}

void slots_choose(slots *s, uint32_t layer, const uint32_t *chosen, size_t n) {
    s->visits[layer]++;
    for (size_t i = 0; i < n; i++) {
        const uint32_t at = chosen[i] < s->n_expert ? *place_of(s, layer, chosen[i]) : 0;
        if (!at) continue;
        s->slots[at - 1].used = s->visits[layer];
        s->slots[at - 1].to_come = true;
    }
}

uint32_t slots_find(slots *s, uint32_t layer, uint32_t expert) {
    const uint32_t at = *place_of(s, layer, expert);
    if (!at) return SLOTS_NONE;
    touch(s, at - 1);
    return at - 1;
}

/* Visits of its layer that it was not used in, and how many layers come before its own does, seen from
 * `layer`. */
static uint64_t age_of(const slots *s, const expert_slot *slot) {
    return s->visits[slot->layer] - slot->used;
}

static uint32_t distance_of(const slots *s, const expert_slot *slot, uint32_t layer) {
    if (slot->layer == layer) return slot->to_come ? 0 : s->n_layer;
    return (slot->layer + s->n_layer - layer) % s->n_layer;
}

/* Whether a goes before b. */
static bool goes_first(const slots *s, const expert_slot *a, const expert_slot *b, uint32_t layer) {
    if (a->full != b->full) return b->full;
    if (!a->full) return false;
    const uint64_t age_a = age_of(s, a), age_b = age_of(s, b);
    const uint32_t distance_a = distance_of(s, a, layer), distance_b = distance_of(s, b, layer);
    if (age_a != age_b) return age_a > age_b;
    return distance_a != distance_b ? distance_a > distance_b : a->asked > b->asked;
}

static uint32_t find_victim(const slots *s, uint32_t layer) {
    uint32_t best = SLOTS_NONE;
    for (uint32_t i = 0; i < s->n; i++) {
        const expert_slot *slot = &s->slots[i];
        const bool stays = slot->full && slot->asked + s->n_together > s->n_asked + 1;
        if (!stays && (best == SLOTS_NONE || goes_first(s, slot, &s->slots[best], layer))) best = i;
    }
    return best;
}

void slots_drop(slots *s, uint32_t i) {
    expert_slot *slot = &s->slots[i];
    if (slot->full) *place_of(s, slot->layer, slot->expert) = 0;
    *slot = (expert_slot){0};
}

uint32_t slots_give(slots *s, uint32_t layer, uint32_t expert) {
    const uint32_t i = find_victim(s, layer);
    slots_drop(s, i);
    s->slots[i] = (expert_slot){.full = true, .layer = layer, .expert = expert};
    *place_of(s, layer, expert) = i + 1;
    touch(s, i);
    return i;
}
