/* The prompt of a chat: its text (prompt.c) and its token ids (tokens.c). */
#ifndef NUT_CHAT_PROMPT_H
#define NUT_CHAT_PROMPT_H

#include "chat/turns.h"

struct nut_chat {
    chat_heap heap; // all of it lives here
    const chat_string *text;
    const uint8_t *marks; // (text->n) chat_origin of each byte; NULL: all of the template
    int32_t *ids;         // (n_ids)
    size_t n_ids;
    const char *name; // of the template
    chat_turns turns;
};

#endif
