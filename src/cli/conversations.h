/* Files of conversations. Each line is JSON: an array of messages, or an object that has one. */
#ifndef NUT_CLI_CONVERSATIONS_H
#define NUT_CLI_CONVERSATIONS_H

#include "cli/cli.h"

/* The array of messages of a line of n bytes: the line itself, or its member "messages". False: none. */
bool conversations_find(const char *line, size_t n, const char **messages, size_t *n_messages);

/* Sees the messages of a line, a JSON array of n bytes. */
typedef nut_status conversation_fn(void *ctx, const char *messages, size_t n, nut_error *err);
/* Calls fn for each line of a file that is not empty; E_ARGUMENT where a line holds no conversation, or none
 * does. */
nut_status conversations_each(const char *path, conversation_fn *fn, void *ctx, nut_error *err);

/* Tokens of conversations as a model's template writes them, one after the other. */
typedef struct conversation_tokens {
    int32_t *ids;     // (n)
    uint8_t *learned; // (n) 1: of an answer
    size_t n;
} conversation_tokens;
/* E_ARGUMENT where there is no answer. Free with conversations_free whatever happens. */
nut_status conversations_tokens(const char *model, const char *path, conversation_tokens *out,
                                nut_error *err);
void conversations_free(conversation_tokens *t);

#endif
