/* Parsing and running in one call; the place of a failure. */
#include "chat/template.h"
#include "chat/interpreter.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* Puts the place in front of a failure's message. */
static bool tell_place(chat_heap *h, const char *source, uint32_t at) {
    char message[sizeof h->err->message];
    if (h->status != NUT_E_CHAT || !h->err) return false;
    memcpy(message, h->err->message, sizeof message);
    h->status = NUT_OK;
    return lex_fail(h, source, at, message);
}

bool template_render(chat_heap *h, const char *text, size_t n, chat_value variables, int64_t now,
                     chat_value *out) {
    const node *first;
    const char *source;
    scope globals = {.names = variables}, top = {.outer = &globals};
    chat_text result = {.heap = h};
    run r = {.h = h, .globals = &globals, .out = &result, .now = now};
    if (!syntax_parse(h, text, n, &first, &source) || !chat_map_new(h, &top.names)) return false;
    if (run_statements(&r, first, &top) == FLOW_FAILED) return tell_place(h, source, r.at);
    return chat_text_end(&result, out);
}
