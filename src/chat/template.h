/* A chat template, its variables, and the text that it makes of them. */
#ifndef NUT_CHAT_TEMPLATE_H
#define NUT_CHAT_TEMPLATE_H

#include "chat/value.h"

/* Renders n bytes of a template with the variables of a map. now: local time in seconds since 1970, for
 * strftime_now. *out is a string, whose bytes have their origins. Fails with E_CHAT, and line and column of
 * the template in the message. All is taken from the heap; the template must outlive it. */
bool template_render(chat_heap *h, const char *text, size_t n, chat_value variables, int64_t now,
                     chat_value *out);

#endif
