/* The turns of a conversation, and which of them are left out where the context is full (nutshell.h). */
#ifndef NUT_CHAT_TURNS_H
#define NUT_CHAT_TURNS_H

#include "chat/value.h"

typedef struct chat_turns {
    uint32_t n;        // turns of all the messages
    uint32_t *dropped; // (n_dropped) indices of the messages that were left out, ascending
    uint32_t n_dropped;
} chat_turns;

/* Makes a list of messages, which are maps, one without its n oldest turns; the last one always stays. */
bool turns_leave_out(chat_heap *h, chat_value *messages, uint32_t n, chat_turns *out);

#endif
