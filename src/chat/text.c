/* Texts with the origin of their bytes: slices, concatenation, and texts that are being made. */
#include "chat/value.h"

#include <string.h>

/* Stands in front of the bytes that chat_concat and chat_text_end make, so that one more text can be put
 * behind them in place. */
typedef struct room {
    char *end;      // of what is in use
    char *limit;    // of the room
    uint8_t *marks; // of the whole room, or NULL
    char *text;     // where the room begins
} room;

/* A string that may have a room. */
typedef struct grown_string {
    chat_string s; // first, so that the addresses are the same
    room *room;
} grown_string;

static bool put_string(chat_heap *h, chat_string s, room *own, chat_value *out) {
    grown_string *g = chat_alloc(h, sizeof *g);
    if (!s.text) s.text = ""; // of no bytes
    if (!g) return false;
    *g = (grown_string){s, own};
    *out = (chat_value){.kind = CHAT_STRING, .s = &g->s};
    return true;
}

static bool check_length(chat_heap *h, size_t n) {
    if (n <= CHAT_MAX_TEXT) return true;
    return chat_fail(h, NUT_E_CHAT, "stopped at the limit of %d bytes in a text", CHAT_MAX_TEXT);
}

bool chat_string_of(chat_heap *h, const char *text, size_t n, chat_origin origin, chat_value *out) {
    if (!check_length(h, n)) return false;
    return put_string(h, (chat_string){text, NULL, (uint32_t)n, (uint8_t)origin}, NULL, out);
}

bool chat_string_copy(chat_heap *h, const char *text, size_t n, chat_origin origin, chat_value *out) {
    if (!check_length(h, n) || !chat_spend_bytes(h, n)) return false;
    char *copy = chat_alloc(h, n);
    if (!copy) return false;
    if (n) memcpy(copy, text, n);
    return chat_string_of(h, copy, n, origin, out);
}

bool chat_slice(chat_heap *h, const chat_string *s, size_t from, size_t to, chat_value *out) {
    const chat_string part = {s->text + from, s->marks ? s->marks + from : NULL, (uint32_t)(to - from),
                              s->origin};
    return put_string(h, part, NULL, out);
}

bool chat_equal_text(const chat_value *v, const char *text) {
    return v->kind == CHAT_STRING && v->s->n == strlen(text) && !memcmp(v->s->text, text, v->s->n);
}

/* ---- texts that are being made ---- */

/* Room for n more bytes. */
static bool make_room(chat_text *t, size_t n) {
    if (!check_length(t->heap, t->n + n)) return false;
    if (t->n + n <= t->cap) return true;
    size_t cap = 2 * (t->n + n) < 64 ? 64 : 2 * (t->n + n);
    char *text = chat_alloc(t->heap, cap);
    uint8_t *marks = t->marks ? chat_alloc(t->heap, cap) : NULL;
    if (!text || (t->marks && !marks) || !chat_spend_bytes(t->heap, t->n)) return false;
    if (t->n) memcpy(text, t->text, t->n);
    if (t->n && marks) memcpy(marks, t->marks, t->n);
    t->text = text;
    t->marks = marks;
    t->cap = cap;
    return true;
}

/* Marks of its own for each byte, where not all will be of one origin. */
static bool need_marks(chat_text *t, bool uniform, chat_origin origin) {
    if (t->n == 0 && !t->marks && uniform) t->origin = (uint8_t)origin;
    if (t->marks || (uniform && t->origin == origin)) return true;
    t->marks = chat_alloc(t->heap, t->cap);
    if (!t->marks) return false;
    memset(t->marks, t->origin, t->n);
    return true;
}

bool chat_put(chat_text *t, const char *text, size_t n, chat_origin origin) {
    if (n == 0) return true;
    if (!chat_spend_bytes(t->heap, n) || !make_room(t, n) || !need_marks(t, true, origin)) return false;
    memcpy(t->text + t->n, text, n);
    if (t->marks) memset(t->marks + t->n, (int)origin, n);
    t->n += n;
    return true;
}

bool chat_put_slice(chat_text *t, const chat_string *s, size_t from, size_t to) {
    if (!s->marks) return chat_put(t, s->text + from, to - from, (chat_origin)s->origin);
    if (from == to) return true;
    if (!chat_spend_bytes(t->heap, to - from) || !make_room(t, to - from) || !need_marks(t, false, 0))
        return false;
    memcpy(t->text + t->n, s->text + from, to - from);
    memcpy(t->marks + t->n, s->marks + from, to - from);
    t->n += to - from;
    return true;
}

bool chat_put_string(chat_text *t, const chat_string *s) {
    return chat_put_slice(t, s, 0, s->n);
}

bool chat_text_end(chat_text *t, chat_value *out) {
    return put_string(t->heap, (chat_string){t->text, t->marks, (uint32_t)t->n, t->origin}, NULL, out);
}

/* ---- concatenation ---- */

/* Whether b can be put behind a, in a's room. */
static bool fits_behind(const grown_string *a, const chat_string *b) {
    const room *r = a->room;
    if (!r || a->s.text + a->s.n != r->end || b->n > (size_t)(r->limit - r->end)) return false;
    return r->marks || (!b->marks && b->origin == a->s.origin);
}

static bool put_behind(chat_heap *h, const grown_string *a, const chat_string *b, chat_value *out) {
    room *r = a->room;
    uint8_t *marks = r->marks ? r->marks + (r->end - r->text) : NULL;
    memcpy(r->end, b->text, b->n);
    if (marks && b->marks)
        memcpy(marks, b->marks, b->n);
    else if (marks)
        memset(marks, b->origin, b->n);
    r->end += b->n;
    return put_string(h, (chat_string){a->s.text, a->s.marks, a->s.n + b->n, a->s.origin}, r, out);
}

bool chat_concat(chat_heap *h, const chat_string *a, const chat_string *b, chat_value *out) {
    const chat_string *only = a->n == 0 ? b : b->n == 0 ? a : NULL;
    if (only) {
        *out = (chat_value){.kind = CHAT_STRING, .s = only};
        return true;
    }
    if (!check_length(h, (size_t)a->n + b->n) || !chat_spend_bytes(h, b->n)) return false;
    const grown_string *g = (const grown_string *)(const void *)a;
    if (fits_behind(g, b)) return put_behind(h, g, b, out);
    chat_text t = {.heap = h};
    room *r = chat_alloc(h, sizeof *r);
    if (!r || !chat_put_string(&t, a) || !chat_put_string(&t, b)) return false;
    *r = (room){t.text + t.n, t.text + t.cap, t.marks, t.text};
    return put_string(h, (chat_string){t.text, t.marks, (uint32_t)t.n, t.origin}, r, out);
}
