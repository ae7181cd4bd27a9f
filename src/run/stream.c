/* Stop texts and UTF-8 characters of a text that comes token by token. */
#include "run/stream.h"

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
    st->n_held = st->n_marked = st->whole_from = st->n_begun = st->n_text = 0;
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

/* Emits what is whole of the characters that have begun, and what is broken; all where nothing more comes.
 */
static void emit_begun(stream *st, bool last) {
    while (st->n_begun) {
        bool whole;
        size_t take = utf8_take((const uint8_t *)st->begun, st->n_begun, &whole);
        if (!take && !last) return;
        if (!take) take = st->n_begun, whole = false;
        const size_t n = whole ? take : 3;
        memcpy(st->text + st->n_text, whole ? st->begun : "\xef\xbf\xbd", n);
        st->n_text += n;
        st->n_begun -= take;
        memmove(st->begun, st->begun + take, st->n_begun);
    }
}

static bool is_hidden(const stream *st, size_t at) {
    return at < st->n_marked ? st->hidden[at] : st->hides;
}

/* Emits the first n held bytes but those that are hidden. */
static void emit(stream *st, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (is_hidden(st, i)) continue;
        st->begun[st->n_begun++] = st->held[i];
        emit_begun(st, false);
    }
}

/* ---- stop texts ---- */

/* Whether n bytes stand at `at`, hidden ones among them or left out. */
static bool stands_at(const stream *st, size_t at, const char *bytes, size_t n, bool with_hidden) {
    for (size_t i = 0; i < n; at++) {
        if (!with_hidden && is_hidden(st, at)) continue;
        if (st->held[at] != bytes[i++]) return false;
    }
    return true;
}

/* Whether a stop text stands at `at`, of whose text there are `left` bytes more; where one may have begun,
 * *begun becomes `at`, if it was n_held. */
static bool stop_at(const stream *st, size_t at, size_t left, bool with_hidden, size_t *begun) {
    for (size_t i = 0; i < st->n_stops; i++) {
        const size_t n = st->stop_lengths[i] < left ? st->stop_lengths[i] : left;
        if (n < st->stop_lengths[i] && *begun < st->n_held) continue;
        if (!stands_at(st, at, st->stops[i], n, with_hidden)) continue;
        if (n == st->stop_lengths[i]) return true;
        *begun = at;
    }
    return false;
}

/* Where the first stop text stands, n_held where there is none. Then *begun: where one may have begun, or
 * n_held. */
static size_t find_stop(const stream *st, size_t *begun) {
    size_t shown = 0;
    for (size_t at = 0; at < st->n_held; at++) shown += !is_hidden(st, at);
    const bool mixed = shown < st->n_held;
    *begun = st->n_held;
    for (size_t at = 0; at < st->n_held; at++) {
        if (!is_hidden(st, at) && stop_at(st, at, shown--, false, begun)) return at;
        if (mixed && at >= st->whole_from && stop_at(st, at, st->n_held - at, true, begun)) return at;
    }
    return st->n_held;
}

/* Forgets the first n bytes, and of the others those that are hidden and so long ago that no stop text which
 * begins there can still come. */
static void forget(stream *st, size_t n) {
    const size_t old = st->n_held, recent = old < STREAM_MAX_STOP ? 0 : old - (STREAM_MAX_STOP - 1);
    size_t kept = 0;
    st->whole_from = 0;
    for (size_t i = n; i < old; i++) {
        const bool hidden = is_hidden(st, i);
        if (hidden && i < recent) continue;
        if (i == recent) st->whole_from = kept;
        st->hidden[kept] = hidden;
        st->held[kept++] = st->held[i];
    }
    st->n_held = st->n_marked = kept;
}

bool stream_push(stream *st, const char *bytes, size_t n, bool hidden) {
    const size_t room = st->cap - 1 - st->n_held;
    if (n > room) n = room;
    memcpy(st->held + st->n_held, bytes, n);
    st->n_held += n;
    st->hides = hidden;
    st->n_text = 0;
    size_t begun, at = find_stop(st, &begun);
    const bool stopped = at < st->n_held;
    emit(st, stopped ? at : begun);
    if (stopped) emit_begun(st, true);
    forget(st, stopped ? st->n_held : begun);
    return stopped;
}

void stream_flush(stream *st) {
    st->n_text = 0;
    emit(st, st->n_held);
    emit_begun(st, true);
    forget(st, st->n_held);
}
