/*
 * Text out: bytes of tokens become whole UTF-8 characters, and the text up to a stop. What could still
 * become a stop text, or is the beginning of a character, is held back. Bytes that can be no character
 * become U+FFFD.
 */
#include "run/session.h"

#include "base/error.h"

#include <string.h>

nut_status stream_reset(stream *st, const nut_generate_options *o, nut_error *err) {
    if (o->n_stop > STREAM_MAX_STOPS)
        return error_set(err, NUT_E_ARGUMENT, "at most %d stop texts, not %zu", STREAM_MAX_STOPS, o->n_stop);
    for (size_t i = 0; i < o->n_stop; i++) {
        size_t n = strlen(o->stop[i]);
        if (n < 1 || n > STREAM_MAX_STOP)
            return error_set(err, NUT_E_ARGUMENT, "a stop text must have 1 to %d bytes, not %zu",
                             STREAM_MAX_STOP, n);
        memcpy(st->stops[i], o->stop[i], n);
        st->stop_lengths[i] = n;
    }
    st->n_stops = o->n_stop;
    st->n_held = st->n_text = 0;
    return NUT_OK;
}

/* ---- characters ---- */

/* Length of the character that begins with byte b; 0: none begins with it. */
static size_t utf8_length(uint8_t b) {
    return b < 0x80                ? 1
           : b >= 0xc2 && b < 0xe0 ? 2
           : b >= 0xe0 && b < 0xf0 ? 3
           : b >= 0xf0 && b < 0xf5 ? 4
                                   : 0;
}

/* Whether the second byte b fits the first byte a: no overlong forms, surrogates, or values above U+10FFFF.
 */
static bool utf8_second_fits(uint8_t a, uint8_t b) {
    uint8_t least = a == 0xe0   ? 0xa0
                    : a == 0xf0 ? 0x90
                                : 0x80,
            most = a == 0xed   ? 0x9f
                   : a == 0xf4 ? 0x8f
                               : 0xbf;
    return b >= least && b <= most;
}

/* How many of the n bytes at p belong to one character (*whole) or to a broken one; 0: its end has not come
 * yet. */
static size_t utf8_take(const uint8_t *p, size_t n, bool *whole) {
    size_t length = utf8_length(p[0]), i = 1;
    *whole = length > 0;
    for (; i < length && i < n; i++) {
        if (i == 1 ? utf8_second_fits(p[0], p[1]) : (p[i] & 0xc0) == 0x80) continue;
        *whole = false;
        return i;
    }
    return length && i < length ? 0 : i;
}

/* Emits the characters of the first n held bytes; keeps an unfinished one at the end unless `last`. */
static void emit(stream *st, size_t n, bool last) {
    const uint8_t *p = (const uint8_t *)st->held;
    size_t at = 0;
    while (at < n) {
        bool whole;
        size_t take = utf8_take(p + at, n - at, &whole);
        if (!take && !last) break;
        if (!take) take = n - at, whole = false;
        const char *bytes = whole ? st->held + at : "\xef\xbf\xbd";
        size_t n_bytes = whole ? take : 3;
        memcpy(st->text + st->n_text, bytes, n_bytes);
        st->n_text += n_bytes;
        at += take;
    }
    memmove(st->held, st->held + at, st->n_held - at);
    st->n_held -= at;
}

/* ---- stop texts ---- */

/* Where the first stop text begins in the held bytes; n_held when there is none. */
static size_t find_stop(const stream *st) {
    for (size_t at = 0; at < st->n_held; at++)
        for (size_t i = 0; i < st->n_stops; i++)
            if (st->stop_lengths[i] <= st->n_held - at &&
                !memcmp(st->held + at, st->stops[i], st->stop_lengths[i]))
                return at;
    return st->n_held;
}

/* Bytes at the end that begin a stop text which may still come. */
static size_t maybe_stop(const stream *st) {
    for (size_t n = st->n_held < STREAM_MAX_STOP ? st->n_held : STREAM_MAX_STOP; n > 0; n--)
        for (size_t i = 0; i < st->n_stops; i++)
            if (n < st->stop_lengths[i] && !memcmp(st->held + st->n_held - n, st->stops[i], n)) return n;
    return 0;
}

bool stream_push(stream *st, const char *bytes, size_t n) {
    st->n_text = 0;
    if (n > st->cap - st->n_held) n = st->cap - st->n_held;
    memcpy(st->held + st->n_held, bytes, n);
    st->n_held += n;
    size_t at = find_stop(st);
    bool stopped = at < st->n_held;
    emit(st, stopped ? at : st->n_held - maybe_stop(st), stopped);
    if (stopped) st->n_held = 0;
    return stopped;
}

void stream_flush(stream *st) {
    st->n_text = 0;
    emit(st, st->n_held, true);
}
