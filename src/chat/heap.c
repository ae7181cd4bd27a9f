/* The arena of values: chunks of growing size, limits, and the first failure. */
#include "chat/value.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_CHUNK = 16 << 10, LARGEST_CHUNK = 1 << 20 };

void chat_heap_open(chat_heap *h, nut_error *err) {
    *h = (chat_heap){.err = err};
}

void chat_heap_close(chat_heap *h) {
    for (void *chunk = h->chunks, *before; chunk; chunk = before) {
        memcpy(&before, chunk, sizeof before);
        mem_free(chunk);
    }
    h->chunks = NULL;
    h->next = NULL;
    h->left = h->used = 0;
}

bool chat_fail(chat_heap *h, nut_status status, const char *format, ...) {
    char text[sizeof h->err->message];
    if (h->status != NUT_OK) return false;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    h->status = error_set(h->err, status, "%s", text);
    return false;
}

bool chat_fail_undefined(chat_heap *h, const chat_value *v) {
    if (!v->missing) return chat_fail(h, NUT_E_CHAT, "what is used here is undefined");
    const int n = v->missing->n < 60 ? (int)v->missing->n : 60;
    return chat_fail(h, NUT_E_CHAT, "'%.*s' is undefined", n, v->missing->text);
}

static bool new_chunk(chat_heap *h, size_t n) {
    size_t size = h->used / 2 < FIRST_CHUNK ? FIRST_CHUNK : h->used / 2;
    if (size > LARGEST_CHUNK) size = LARGEST_CHUNK;
    if (size < n + 16) size = n + 16;
    if (h->used + size > CHAT_MAX_MEMORY)
        return chat_fail(h, NUT_E_CHAT, "stopped at the limit of %d bytes of memory", CHAT_MAX_MEMORY);
    uint8_t *chunk = mem_alloc(size);
    if (!chunk) {
        if (h->status == NUT_OK) h->status = error_memory(h->err, size);
        return false;
    }
    memcpy(chunk, &h->chunks, sizeof h->chunks);
    h->chunks = chunk;
    h->next = chunk + 16;
    h->left = size - 16;
    h->used += size;
    return true;
}

void *chat_alloc(chat_heap *h, size_t n) {
    if (h->status != NUT_OK) return NULL;
    if (n > CHAT_MAX_MEMORY) n = CHAT_MAX_MEMORY; // which fails below
    n = (n + 7) & ~(size_t)7;
    if (n > h->left && !new_chunk(h, n)) return NULL;
    void *p = h->next;
    h->next += n;
    h->left -= n;
    return memset(p, 0, n);
}

bool chat_fail_spent(chat_heap *h) {
    return chat_fail(h, NUT_E_CHAT, "stopped at the limit of %d steps", CHAT_MAX_STEPS);
}

bool chat_enter(chat_heap *h) {
    if (h->status != NUT_OK) return false;
    if (h->depth++ < CHAT_MAX_DEPTH) return true;
    return chat_fail(h, NUT_E_CHAT, "stopped at the limit of %d levels of nesting", CHAT_MAX_DEPTH);
}
