/* Sorting, splitting and joining. */
#include "chat/lists.h"

#include <string.h>

/* ---- sorting ---- */

/* Merges pairs [from, middle) and [middle, to) of `in` to `out`. */
static bool merge(run *r, const chat_value *in, chat_value *out, uint32_t from, uint32_t middle, uint32_t to,
                  bool backwards) {
    uint32_t a = from, b = middle;
    for (uint32_t at = from; at < to; at++) {
        int order = 0;
        if (!chat_spend(r->h, 1)) return false;
        const bool both = a < middle && b < to && !chat_equal(r->h, &in[2 * a], &in[2 * b]);
        if (both && !value_order(r, &in[2 * a], &in[2 * b], &order)) return false;
        if (backwards) order = -order;
        const uint32_t next = a < middle && (b >= to || order <= 0) ? a++ : b++;
        memcpy(&out[2 * at], &in[2 * next], 2 * sizeof *out);
    }
    return true;
}

bool list_sort(run *r, chat_value *pairs, uint32_t n, bool backwards) {
    chat_value *in = pairs, *out = chat_alloc(r->h, 2 * (size_t)n * sizeof *out);
    if (!out) return false;
    for (uint32_t width = 1; width < n; width *= 2) {
        for (uint32_t from = 0; from < n; from += 2 * width) {
            const uint32_t middle = n - from < width ? n : from + width,
                           to = n - middle < width ? n : middle + width;
            if (!merge(r, in, out, from, middle, to, backwards)) return false;
        }
        chat_value *swapped = in;
        in = out;
        out = swapped;
    }
    if (in != pairs) memcpy(pairs, in, 2 * (size_t)n * sizeof *in);
    return true;
}

/* ---- lines and parts ---- */

static bool add_slice(run *r, const chat_string *s, size_t from, size_t to, chat_value *list) {
    chat_value part;
    return chat_slice(r->h, s, from, to, &part) && chat_list_add(r->h, list, part);
}

/* Bytes of the line end at `at`, 0: there is none. */
static size_t line_end(const chat_string *s, size_t at) {
    static const char *const ends[] = {"\r\n", "\n",   "\r",       "\v",           "\f",          "\x1c",
                                       "\x1d", "\x1e", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    if ((uint8_t)s->text[at] > 0x1e && (uint8_t)s->text[at] < 0xc2) return 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t n = strlen(ends[i]);
        if (s->n - at >= n && !memcmp(s->text + at, ends[i], n)) return n;
    }
    return 0;
}

bool string_lines(run *r, const chat_string *s, bool ends, bool last, chat_value *out) {
    size_t begin = 0;
    if (!chat_list_new(r->h, CHAT_FORM_LIST, 0, out) || !chat_spend_bytes(r->h, s->n)) return false;
    for (size_t at = 0; at < s->n;) {
        const size_t n = line_end(s, at);
        if (n == 0) {
            at++;
            continue;
        }
        if (!chat_spend(r->h, 1) || !add_slice(r, s, begin, at + (ends ? n : 0), out)) return false;
        begin = at += n;
    }
    return begin < s->n || last ? add_slice(r, s, begin, s->n, out) : true;
}

static bool reverse(run *r, chat_value *list) {
    chat_value *items = list->list->items;
    for (uint32_t a = 0, b = list->list->n; a + 1 < b; a++) {
        const chat_value kept = items[a];
        items[a] = items[--b];
        items[b] = kept;
    }
    return chat_spend(r->h, 1 + list->list->n / 16);
}

static size_t behind_blanks(const chat_string *s, size_t at) {
    while (at < s->n && string_is_blank(s, at)) at = string_next(s, at);
    return at;
}

static bool split_blanks(run *r, const chat_string *s, int64_t most, chat_value *out) {
    for (size_t at = behind_blanks(s, 0); at < s->n; most--) {
        size_t end = at;
        while (end < s->n && (most == 0 || !string_is_blank(s, end))) end = string_next(s, end);
        if (most == 0) return add_slice(r, s, at, s->n, out);
        if (!chat_spend_bytes(r->h, end - at) || !add_slice(r, s, at, end, out)) return false;
        at = behind_blanks(s, end);
    }
    return true;
}

static bool split_text(run *r, const chat_string *s, const chat_string *by, int64_t most, chat_value *out) {
    size_t at = 0, found;
    for (; most != 0; most--) {
        if (!chat_spend(r->h, 1) || !string_find(r, s, by, at, &found)) return false;
        if (found == SIZE_MAX) break;
        if (!add_slice(r, s, at, found, out)) return false;
        at = found + by->n;
    }
    return add_slice(r, s, at, s->n, out);
}

/* From the right: the last `most` places. Those that overlap are counted from the right too. */
static bool split_right(run *r, const chat_string *s, const chat_string *by, int64_t most, chat_value *out) {
    size_t to = s->n, compared = 0;
    for (size_t at = s->n; most != 0 && at >= by->n && at > 0;) {
        const size_t from = at - by->n;
        compared += by->n;
        if (!string_starts(s, from, by)) {
            at--;
            continue;
        }
        if (!add_slice(r, s, at, to, out)) return false;
        at = to = from;
        most--;
    }
    return chat_spend_bytes(r->h, compared) && add_slice(r, s, 0, to, out) && reverse(r, out);
}

static bool right_blanks(run *r, const chat_string *s, int64_t most, chat_value *out) {
    chat_value stripped;
    if (!string_strip(r, s, NULL, 2, &stripped)) return false;
    for (size_t to = stripped.s->n; to > 0; most--) {
        size_t from = to;
        while (from > 0 && (most == 0 || !string_is_blank(s, from - 1))) from--;
        if (!chat_spend_bytes(r->h, to - from) || !add_slice(r, s, from, to, out)) return false;
        for (to = from; to > 0 && string_is_blank(s, to - 1);) to--;
    }
    return reverse(r, out);
}

bool string_split(run *r, const chat_string *s, const chat_string *by, int64_t most, bool right,
                  chat_value *out) {
    if (!chat_list_new(r->h, CHAT_FORM_LIST, 0, out)) return false;
    if (!by) return right && most >= 0 ? right_blanks(r, s, most, out) : split_blanks(r, s, most, out);
    if (by->n == 0) return FAIL(r, "empty separator");
    return right && most >= 0 ? split_right(r, s, by, most, out) : split_text(r, s, by, most, out);
}

bool string_join(run *r, const chat_string *between, const chat_list *items, bool any, chat_value *out) {
    chat_text t = {.heap = r->h};
    for (uint32_t i = 0; i < items->n; i++) {
        if (!any && items->items[i].kind != CHAT_STRING)
            return FAIL(r, "sequence item %u: expected str instance, %s found", i,
                        value_kind_name(&items->items[i]));
        if ((i && !chat_put_string(&t, between)) || !chat_spend(r->h, 1) ||
            !value_print(r, &items->items[i], &t))
            return false;
    }
    return chat_text_end(&t, out);
}

/* ---- maps ---- */

bool tuple_of(run *r, chat_value a, chat_value b, chat_value *out) {
    return chat_list_new(r->h, CHAT_FORM_TUPLE, 2, out) && chat_list_add(r->h, out, a) &&
           chat_list_add(r->h, out, b);
}

bool map_pairs(run *r, const chat_map *map, chat_form form, chat_value *out) {
    if (!chat_list_new(r->h, form, map->n, out)) return false;
    for (uint32_t i = 0; i < map->n; i++) {
        chat_value pair;
        if (!chat_spend(r->h, 1) || !tuple_of(r, map->entries[i].key, map->entries[i].value, &pair))
            return false;
        if (!chat_list_add(r->h, out, pair)) return false;
    }
    return true;
}
