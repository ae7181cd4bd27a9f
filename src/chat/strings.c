/* What filters and methods do with texts. Offsets are bytes, counts are characters. */
#include "chat/interpreter.h"
#include "model/unicode.h"

#include <string.h>

/* Going through characters and comparing bytes take longer than copying them. */
static bool spend_characters(run *r, size_t n) {
    return chat_spend(r->h, 1 + n / 64);
}

size_t string_next(const chat_string *s, size_t at) {
    size_t length;
    unicode_at(s->text + at, s->n - at, &length);
    return at + length;
}

static uint32_t character_at(const chat_string *s, size_t at) {
    size_t length;
    return unicode_at(s->text + at, s->n - at, &length);
}

bool string_is_blank(const chat_string *s, size_t at) {
    const uint32_t c = character_at(s, at);
    if (c < 128) return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
    return unicode_class_of(c) == UNICODE_SPACE;
}

bool string_length(run *r, const chat_string *s, int64_t *out) {
    *out = 0;
    for (size_t at = 0; at < s->n; at = string_next(s, at)) ++*out;
    return spend_characters(r, s->n);
}

bool string_offset(run *r, const chat_string *s, int64_t i, size_t *out) {
    size_t at = 0;
    for (; i > 0 && at < s->n; i--) at = string_next(s, at);
    *out = at;
    return spend_characters(r, at);
}

bool string_starts(const chat_string *s, size_t at, const chat_string *part) {
    return s->n - at >= part->n && (part->n == 0 || !memcmp(s->text + at, part->text, part->n));
}

/* In the worst case each position compares the whole of `part`: that is charged for. */
bool string_find(run *r, const chat_string *s, const chat_string *part, size_t from, size_t *out) {
    size_t compared = 0;
    *out = SIZE_MAX;
    for (size_t at = from; at <= s->n && s->n - at >= part->n; at++) {
        const char *first = part->n ? memchr(s->text + at, part->text[0], s->n - at) : s->text + at;
        if (!first) break;
        at = (size_t)(first - s->text);
        if (string_starts(s, at, part)) {
            *out = at;
            break;
        }
        compared += part->n;
        if (compared > CHAT_BYTES_A_STEP && !spend_characters(r, compared)) return false;
        if (compared > CHAT_BYTES_A_STEP) compared = 0;
    }
    return chat_spend_bytes(r->h, compared + (*out == SIZE_MAX ? s->n : *out) - from);
}

/* ---- ends ---- */

static bool in_set(const chat_string *set, const chat_string *s, size_t at, size_t next) {
    for (size_t i = 0; i < set->n; i = string_next(set, i))
        if (string_next(set, i) - i == next - at && !memcmp(set->text + i, s->text + at, next - at))
            return true;
    return false;
}

static bool is_stripped(const chat_string *s, const chat_string *set, size_t at) {
    return set ? in_set(set, s, at, string_next(s, at)) : string_is_blank(s, at);
}

bool string_strip(run *r, const chat_string *s, const chat_string *set, int sides, chat_value *out) {
    size_t from = 0, to = s->n;
    if ((sides & 1) != 0)
        while (from < to && is_stripped(s, set, from)) from = string_next(s, from);
    while ((sides & 2) != 0 && to > from) {
        size_t last = to - 1;
        while (last > from && ((uint8_t)s->text[last] & 0xc0) == 0x80) last--;
        if (string_next(s, last) != to || !is_stripped(s, set, last)) break;
        to = last;
    }
    const size_t passed = (from + s->n - to) * (set ? 1 + set->n : 1);
    return chat_spend_bytes(r->h, passed) && chat_slice(r->h, s, from, to, out);
}

bool string_replace(run *r, const chat_string *s, const chat_string *old, const chat_string *by,
                    int64_t count, chat_value *out) {
    chat_text t = {.heap = r->h};
    size_t at = 0, found;
    for (; count != 0; count--) {
        if (!chat_spend(r->h, 1) || !string_find(r, s, old, at, &found)) return false;
        if (found == SIZE_MAX) break;
        if (!chat_put_slice(&t, s, at, found) || !chat_put_string(&t, by)) return false;
        at = found + old->n;
        if (old->n) continue;
        if (at >= s->n) break; // nothing is found behind each character
        if (!chat_put_slice(&t, s, at, string_next(s, at))) return false;
        at = string_next(s, at);
    }
    return chat_put_slice(&t, s, at, s->n) && chat_text_end(&t, out);
}

bool text_fill(chat_text *t, const char *fill, int64_t n, chat_origin origin) {
    if (n > CHAT_MAX_TEXT) n = CHAT_MAX_TEXT + 1; // which fails
    for (const size_t length = strlen(fill); n > 0; n--)
        if (!chat_put(t, fill, length, origin)) return false;
    return true;
}

/* ---- case ---- */

/* Runs of letters first, first + each .. last, whose upper case is `add` further; ASCII is one of them. The
 * simple mappings of Unicode for Latin, Greek, Cyrillic, Armenian and full-width letters. */
static const struct {
    uint16_t first, last;
    uint8_t each;
    int16_t add;
} lower_runs[] = {
    {'a', 'z', 1, -32},      {0xe0, 0xf6, 1, -32},     {0xf8, 0xfe, 1, -32},     {0xff, 0xff, 1, 121},
    {0x101, 0x12f, 2, -1},   {0x133, 0x137, 2, -1},    {0x13a, 0x148, 2, -1},    {0x14b, 0x177, 2, -1},
    {0x17a, 0x17e, 2, -1},   {0x1ce, 0x1dc, 2, -1},    {0x1df, 0x1ef, 2, -1},    {0x1f9, 0x21f, 2, -1},
    {0x223, 0x233, 2, -1},   {0x3ac, 0x3ac, 1, -38},   {0x3ad, 0x3af, 1, -37},   {0x3b1, 0x3c1, 1, -32},
    {0x3c3, 0x3cb, 1, -32},  {0x3cc, 0x3cc, 1, -64},   {0x3cd, 0x3ce, 1, -63},   {0x3d9, 0x3ef, 2, -1},
    {0x430, 0x44f, 1, -32},  {0x450, 0x45f, 1, -80},   {0x461, 0x481, 2, -1},    {0x48b, 0x4bf, 2, -1},
    {0x4c2, 0x4ce, 2, -1},   {0x4d1, 0x52f, 2, -1},    {0x561, 0x586, 1, -48},   {0x1e01, 0x1e95, 2, -1},
    {0x1ea1, 0x1eff, 2, -1}, {0x2170, 0x217f, 1, -16}, {0xff41, 0xff5a, 1, -32},
};

uint32_t string_upper(uint32_t c) {
    for (size_t i = 0; i < sizeof lower_runs / sizeof *lower_runs; i++)
        if (c >= lower_runs[i].first && c <= lower_runs[i].last &&
            (c - lower_runs[i].first) % lower_runs[i].each == 0)
            return (uint32_t)((int32_t)c + lower_runs[i].add);
    return c;
}

uint32_t string_lower(uint32_t c) {
    for (size_t i = 0; i < sizeof lower_runs / sizeof *lower_runs; i++) {
        const uint32_t lower = (uint32_t)((int32_t)c - lower_runs[i].add);
        if (lower >= lower_runs[i].first && lower <= lower_runs[i].last &&
            (lower - lower_runs[i].first) % lower_runs[i].each == 0)
            return lower;
    }
    return c;
}

bool string_is_letter(uint32_t c) {
    const unicode_class class = unicode_class_of(c);
    return class >= UNICODE_LOWER && class <= UNICODE_LETTER;
}

/* Whether a word begins at a character, behind the character before. */
static bool begins_word(string_case to, uint32_t before, bool first) {
    if (first || to == CASE_CAPITAL) return first;
    if (to == CASE_TITLE) return !string_is_letter(before);
    return before < 128 && before && strchr("-([{< \t\n\r\f\v", (int)before) != NULL; // the filter `title`
}

static uint32_t case_of(string_case to, uint32_t c, uint32_t before, bool first) {
    if (to == CASE_UPPER) return string_upper(c);
    if (to == CASE_SWAP) return string_upper(c) != c ? string_upper(c) : string_lower(c);
    return to != CASE_LOWER && begins_word(to, before, first) ? string_upper(c) : string_lower(c);
}

bool string_case_of(run *r, const chat_string *s, string_case to, chat_value *out) {
    chat_text t = {.heap = r->h};
    uint32_t before = 0;
    for (size_t at = 0, next; at < s->n; at = next) {
        char utf8[4];
        const uint32_t c = character_at(s, at), other = case_of(to, c, before, at == 0);
        next = string_next(s, at);
        before = c;
        if (c == 0xdf &&
            (to == CASE_UPPER || to == CASE_SWAP)) { // the only letter in wide use that becomes two
            if (!chat_put(&t, "SS", 2, chat_origin_at(s, at))) return false;
        } else if (other == c ? !chat_put_slice(&t, s, at, next)
                              : !chat_put(&t, utf8, unicode_put(utf8, other), chat_origin_at(s, at))) {
            return false;
        }
    }
    return chat_text_end(&t, out);
}
