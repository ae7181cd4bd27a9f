/* A character and the marks behind it are a sequence: all are taken into their parts, the marks are put in
 * order, and what can be put together is. Characters below U+0300 begin a sequence and are in the form, so
 * that most texts are only looked through. */
#include "model/nfc.h"
#include "model/unicode.h"

#include <string.h>

enum { FIRST_OTHER = 0x300, MAX_SEQUENCE = 32 };

/* What comes out is written to `to`, or where that is NULL compared with the text. */
typedef struct nfc_out {
    const char *text;
    char *to;
    size_t n_text, n;
    bool differs;
} nfc_out;

typedef struct sequence {
    struct {
        uint32_t c;
        unsigned class;
    } list[MAX_SEQUENCE];
    size_t n;
} sequence;

static void put(nfc_out *out, const char *s, size_t n) {
    if (out->to)
        memcpy(out->to + out->n, s, n);
    else if (n > out->n_text - out->n || memcmp(out->text + out->n, s, n) != 0)
        out->differs = true;
    if (!out->differs) out->n += n;
}

/* By class; equal ones stay in order. */
static void order_marks(sequence *s) {
    for (size_t i = 1; i < s->n; i++)
        for (size_t k = i; k > 0 && s->list[k].class && s->list[k - 1].class > s->list[k].class; k--) {
            const uint32_t c = s->list[k].c;
            const unsigned class = s->list[k].class;
            s->list[k] = s->list[k - 1];
            s->list[k - 1].c = c, s->list[k - 1].class = class;
        }
}

/* Puts marks together with the character before them. A mark behind one of its own class that stays is left
 * alone. */
static void settle(sequence *s) {
    size_t kept = 1;
    order_marks(s);
    if (!s->n || s->list[0].class) return;
    for (size_t i = 1; i < s->n; i++) {
        const bool blocked = kept > 1 && s->list[kept - 1].class >= s->list[i].class;
        const uint32_t c = blocked ? 0 : unicode_compose(s->list[0].c, s->list[i].c);
        if (c)
            s->list[0].c = c;
        else
            s->list[kept++] = s->list[i];
    }
    s->n = kept;
}

static void flush(sequence *s, nfc_out *out) {
    char utf8[4];
    settle(s);
    for (size_t i = 0; i < s->n; i++) put(out, utf8, unicode_put(utf8, s->list[i].c));
    s->n = 0;
}

/* A character that is made of no others. */
static void add_part(sequence *s, uint32_t c, nfc_out *out) {
    const unsigned class = unicode_combining(c);
    if (!class) {
        settle(s);
        const uint32_t both = s->n == 1 && !s->list[0].class ? unicode_compose(s->list[0].c, c) : 0;
        if (both) {
            s->list[0].c = both;
            return;
        }
        flush(s, out);
    }
    if (s->n == MAX_SEQUENCE) flush(s, out);
    s->list[s->n].c = c;
    s->list[s->n++].class = class;
}

static void add(sequence *s, uint32_t c, nfc_out *out) {
    enum { MAX_DEPTH = 4 }; // of a character whose first part has parts; 3 are known
    uint32_t behind[MAX_DEPTH], parts[2];
    size_t n_behind = 0;
    for (size_t n; n_behind < MAX_DEPTH && (n = unicode_parts(c, parts)) > 0; c = parts[0])
        if (n == 2) behind[n_behind++] = parts[1];
    add_part(s, c, out);
    while (n_behind > 0) add_part(s, behind[--n_behind], out);
}

/* From a character at `at` on to the next one below U+0300 behind it; where that is. */
static size_t take_sequences(const char *text, size_t n, size_t at, nfc_out *out) {
    sequence s = {.n = 0};
    for (size_t begin = at, length; at < n; at += length) {
        const uint32_t c = unicode_at(text + at, n - at, &length);
        if (c < FIRST_OTHER && at > begin) break;
        if (c == 0xfffd && length == 1) {
            flush(&s, out);
            put(out, text + at, 1);
        } else {
            add(&s, c, out);
        }
    }
    flush(&s, out);
    return at;
}

static void normalize(const char *text, size_t n, nfc_out *out) {
    size_t from = 0, last = 0; // what is to be put next, and where the last character began
    for (size_t at = 0, length; at < n && !out->differs;) {
        if (unicode_at(text + at, n - at, &length) < FIRST_OTHER) {
            last = at;
            at += length;
            continue;
        }
        put(out, text + from, last - from);
        from = last = at = take_sequences(text, n, last, out);
    }
    put(out, text + from, n - from);
}

bool nfc_is(const char *text, size_t n) {
    nfc_out out = {.text = text, .n_text = n};
    normalize(text, n, &out);
    return !out.differs && out.n == n;
}

size_t nfc_write(const char *text, size_t n, char *to) {
    nfc_out out = {.text = text, .to = to, .n_text = n};
    normalize(text, n, &out);
    return out.n;
}
