/*
 * Where turns begin, and how many of them have to be left out. A turn begins with a message of the user that
 * follows no other such message, so that results of tools stay with their calls. What an assistant says
 * before any user belongs to the first turn.
 */
#include "chat/turns.h"

static bool has_role(chat_heap *h, const chat_value *message, const char *role) {
    const chat_value *v = chat_map_find(h, message->map, "role");
    return v && chat_equal_text(v, role);
}

static bool is_of_no_turn(chat_heap *h, const chat_value *message) {
    return has_role(h, message, "system") || has_role(h, message, "developer");
}

/* The turn of each message, from 1; 0: of none. Returns how many there are. */
static uint32_t number_turns(chat_heap *h, const chat_list *messages, uint32_t *turn_of) {
    uint32_t turn = 0;
    bool by_user = false; // the message before
    for (uint32_t i = 0; i < messages->n; i++) {
        if (is_of_no_turn(h, &messages->items[i])) continue;
        const bool user = has_role(h, &messages->items[i], "user");
        if (user && !by_user) turn++;
        by_user = user;
        turn_of[i] = turn ? turn : 1;
    }
    return turn;
}

bool turns_leave_out(chat_heap *h, chat_value *messages, uint32_t n, chat_turns *out) {
    chat_list *list = messages->list;
    uint32_t *turn_of = chat_alloc(h, (list->n + 1) * sizeof *turn_of), kept = 0;
    out->dropped = chat_alloc(h, (list->n + 1) * sizeof *out->dropped);
    if (!turn_of || !out->dropped) return false;
    out->n = number_turns(h, list, turn_of);
    if (n >= out->n) n = out->n ? out->n - 1 : 0;
    for (uint32_t i = 0; i < list->n; i++) {
        if (turn_of[i] && turn_of[i] <= n)
            out->dropped[out->n_dropped++] = i;
        else
            list->items[kept++] = list->items[i];
    }
    list->n = kept;
    return h->status == NUT_OK;
}

/* The number of turns to leave out, at least k of n. */
static uint32_t round_up(uint32_t k, uint32_t n) {
    uint32_t unit = 1;
    while (unit <= (n - k) / 8) unit *= 2;
    return (k + unit - 1) / unit * unit;
}

bool nut_chat_trim_next(nut_chat_trim *t, uint32_t n_turns, bool fits) {
    if (t->last) return false;
    if (!t->most) {
        if (fits || n_turns < 2) return false;
        t->least = 1;
        t->most = n_turns - 1;
    } else if (fits) {
        t->most = t->leave_out;
    } else {
        t->least = t->leave_out + 1;
    }
    const uint32_t before = t->leave_out;
    t->last = t->least >= t->most;
    t->leave_out = t->last ? round_up(t->most, n_turns) : t->least + (t->most - t->least) / 2;
    return t->leave_out != before;
}
