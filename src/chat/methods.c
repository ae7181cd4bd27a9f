/* Methods of texts, lists, maps and numbers. */
#include "chat/lists.h"

#include "model/unicode.h"

#include <math.h>
#include <string.h>

static const chat_string *self(call *c) {
    return c->self.s;
}

/* ---- texts: case and ends ---- */

static bool do_upper(call *c, chat_value *out) {
    return string_case_of(c->r, self(c), CASE_UPPER, out);
}
static bool do_lower(call *c, chat_value *out) {
    return string_case_of(c->r, self(c), CASE_LOWER, out);
}
static bool do_title(call *c, chat_value *out) {
    return string_case_of(c->r, self(c), CASE_TITLE, out);
}
static bool do_capitalize(call *c, chat_value *out) {
    return string_case_of(c->r, self(c), CASE_CAPITAL, out);
}
static bool do_swapcase(call *c, chat_value *out) {
    return string_case_of(c->r, self(c), CASE_SWAP, out);
}

static bool strip(call *c, int sides, chat_value *out) {
    const chat_string *set = NULL;
    if (c->arg[0].kind != CHAT_NONE && !call_text(c, 0, &set)) return false;
    return string_strip(c->r, self(c), set, sides, out);
}
static bool do_strip(call *c, chat_value *out) {
    return strip(c, 3, out);
}
static bool do_lstrip(call *c, chat_value *out) {
    return strip(c, 1, out);
}
static bool do_rstrip(call *c, chat_value *out) {
    return strip(c, 2, out);
}

static bool without(call *c, bool prefix, chat_value *out) {
    const chat_string *part = NULL, *s = self(c);
    if (!call_text(c, 0, &part)) return false;
    const bool found = part->n <= s->n && string_starts(s, prefix ? 0 : s->n - part->n, part);
    const size_t n = found ? part->n : 0;
    return chat_slice(c->h, s, prefix ? n : 0, prefix ? s->n : s->n - n, out);
}
static bool do_removeprefix(call *c, chat_value *out) {
    return without(c, true, out);
}
static bool do_removesuffix(call *c, chat_value *out) {
    return without(c, false, out);
}

static bool pad(call *c, int side, chat_value *out) {
    static const chat_string blank = {" ", NULL, 1, CHAT_TEMPLATE};
    const chat_string *fill = &blank;
    chat_text t = {.heap = c->h};
    int64_t width, length;
    if (!call_int(c, 0, 0, &width) || !call_text(c, 1, &fill) || !string_length(c->r, self(c), &length))
        return false;
    if (fill->n == 0 || string_next(fill, 0) != fill->n)
        return FAIL(c->r, "The fill character must be exactly one character long");
    const int64_t missing = width > length ? width - length : 0;
    const int64_t left = side == 1 ? 0 : side == 2 ? missing : missing / 2 + (missing & width & 1);
    for (int64_t i = 0; i < left; i++)
        if (!chat_put_string(&t, fill)) return false;
    if (!chat_put_string(&t, self(c))) return false;
    for (int64_t i = left; i < missing; i++)
        if (!chat_put_string(&t, fill)) return false;
    return chat_text_end(&t, out);
}
static bool do_ljust(call *c, chat_value *out) {
    return pad(c, 1, out);
}
static bool do_rjust(call *c, chat_value *out) {
    return pad(c, 2, out);
}
static bool do_center(call *c, chat_value *out) {
    return pad(c, 3, out);
}

static bool do_zfill(call *c, chat_value *out) {
    chat_text t = {.heap = c->h};
    int64_t width, length;
    const chat_string *s = self(c);
    if (!call_int(c, 0, 0, &width) || !string_length(c->r, s, &length)) return false;
    const size_t sign = s->n && (s->text[0] == '-' || s->text[0] == '+');
    return chat_put_slice(&t, s, 0, sign) && text_fill(&t, "0", width - length, CHAT_TEMPLATE) &&
           chat_put_slice(&t, s, sign, s->n) && chat_text_end(&t, out);
}

/* ---- texts: searching ---- */

/* The bytes [from, to) that the arguments 1 and 2 leave of a text, and the characters in front of them. */
static bool part_of(call *c, chat_value *out, int64_t *before) {
    const chat_value step = chat_none(), first = chat_int(0);
    const chat_value *from = call_given(&c->arg[1]) ? &c->arg[1] : &step,
                     *to = call_given(&c->arg[2]) ? &c->arg[2] : &step;
    chat_value front;
    *before = 0;
    if (from->kind != CHAT_NONE &&
        (!value_slice(c->r, &c->self, &first, from, &step, &front) || !string_length(c->r, front.s, before)))
        return false;
    return value_slice(c->r, &c->self, from, to, &step, out);
}

static bool starts_or_ends(call *c, bool ends, chat_value *out) {
    const chat_list one = {&c->arg[0], 1, 1, CHAT_FORM_TUPLE, false};
    const bool many = c->arg[0].kind == CHAT_LIST && c->arg[0].list->form == CHAT_FORM_TUPLE;
    const chat_list *parts = many ? c->arg[0].list : &one;
    chat_value s;
    int64_t before;
    *out = chat_bool(false);
    if (!part_of(c, &s, &before)) return false;
    for (uint32_t i = 0; i < parts->n; i++) {
        if (parts->items[i].kind != CHAT_STRING)
            return FAIL(c->r, "a text or a tuple of texts is expected, not '%s'",
                        value_kind_name(&parts->items[i]));
        const chat_string *part = parts->items[i].s;
        if (!chat_spend_bytes(c->h, part->n)) return false;
        if (part->n <= s.s->n && string_starts(s.s, ends ? s.s->n - part->n : 0, part)) out->b = true;
    }
    return true;
}
static bool do_startswith(call *c, chat_value *out) {
    return starts_or_ends(c, false, out);
}
static bool do_endswith(call *c, chat_value *out) {
    return starts_or_ends(c, true, out);
}

/* The last place of a text in another. */
static bool find_last(call *c, const chat_string *s, const chat_string *part, size_t *out) {
    *out = SIZE_MAX;
    if (part->n > s->n) return true;
    size_t at = s->n - part->n + 1;
    while (at > 0 && !string_starts(s, at - 1, part)) at--;
    *out = at ? at - 1 : SIZE_MAX;
    return chat_spend_bytes(c->h, (s->n - at) * (1 + part->n));
}

static bool find(call *c, bool last, bool must, chat_value *out) {
    const chat_string *part = NULL;
    chat_value s, front;
    int64_t before;
    size_t at;
    *out = chat_int(-1);
    if (!call_text(c, 0, &part) || !part_of(c, &s, &before)) return false;
    if (!(last ? find_last(c, s.s, part, &at) : string_find(c->r, s.s, part, 0, &at))) return false;
    if (at == SIZE_MAX) return must ? FAIL(c->r, "substring not found") : true;
    if (!chat_slice(c->h, s.s, 0, at, &front) || !string_length(c->r, front.s, &out->i)) return false;
    out->i += before;
    return true;
}
static bool do_find(call *c, chat_value *out) {
    return find(c, false, false, out);
}
static bool do_rfind(call *c, chat_value *out) {
    return find(c, true, false, out);
}
static bool do_index(call *c, chat_value *out) {
    return find(c, false, true, out);
}
static bool do_rindex(call *c, chat_value *out) {
    return find(c, true, true, out);
}

static bool do_count(call *c, chat_value *out) {
    const chat_string *part = NULL;
    chat_value s;
    int64_t before;
    *out = chat_int(0);
    if (!call_text(c, 0, &part) || !part_of(c, &s, &before)) return false;
    if (part->n == 0) return string_length(c->r, s.s, &out->i) && ++out->i > 0;
    for (size_t at = 0;; at += part->n, out->i++)
        if (!chat_spend(c->h, 1) || !string_find(c->r, s.s, part, at, &at))
            return false;
        else if (at == SIZE_MAX)
            return true;
}

static bool do_replace(call *c, chat_value *out) {
    const chat_string *old = NULL, *by = NULL;
    int64_t count;
    return call_text(c, 0, &old) && call_text(c, 1, &by) && call_int(c, 2, -1, &count) &&
           string_replace(c->r, self(c), old, by, count, out);
}

/* ---- texts: parts ---- */

static bool split(call *c, bool right, chat_value *out) {
    const chat_string *by = NULL;
    int64_t most;
    if (c->arg[0].kind != CHAT_NONE && !call_text(c, 0, &by)) return false;
    return call_int(c, 1, -1, &most) && string_split(c->r, self(c), by, most, right, out);
}
static bool do_split(call *c, chat_value *out) {
    return split(c, false, out);
}
static bool do_rsplit(call *c, chat_value *out) {
    return split(c, true, out);
}

static bool do_splitlines(call *c, chat_value *out) {
    return string_lines(c->r, self(c), call_flag(c, 0, false), false, out);
}

static bool partition(call *c, bool last, chat_value *out) {
    const chat_string *part = NULL, *s = self(c);
    chat_value pieces[3];
    size_t at;
    if (!call_text(c, 0, &part)) return false;
    if (part->n == 0) return FAIL(c->r, "empty separator");
    if (!(last ? find_last(c, s, part, &at) : string_find(c->r, s, part, 0, &at))) return false;
    const size_t from = at != SIZE_MAX ? at : last ? 0 : s->n, to = at != SIZE_MAX ? at + part->n : from;
    if (!chat_slice(c->h, s, 0, from, &pieces[0]) || !chat_slice(c->h, s, from, to, &pieces[1]) ||
        !chat_slice(c->h, s, to, s->n, &pieces[2]) || !chat_list_new(c->h, CHAT_FORM_TUPLE, 3, out))
        return false;
    for (int i = 0; i < 3; i++)
        if (!chat_list_add(c->h, out, pieces[i])) return false;
    return true;
}
static bool do_partition(call *c, chat_value *out) {
    return partition(c, false, out);
}
static bool do_rpartition(call *c, chat_value *out) {
    return partition(c, true, out);
}

static bool do_join(call *c, chat_value *out) {
    const chat_list *items;
    return value_items(c->r, &c->arg[0], &items) && string_join(c->r, self(c), items, false, out);
}

static bool do_format(call *c, chat_value *out) {
    return format_braces(c->r, self(c), c->list, c->named, out);
}

static bool do_expandtabs(call *c, chat_value *out) {
    chat_text t = {.heap = c->h};
    int64_t size, column = 0;
    const chat_string *s = self(c);
    if (!call_int(c, 0, 8, &size)) return false;
    for (size_t at = 0, next; at < s->n; at = next) {
        next = string_next(s, at);
        const char b = s->text[at];
        const int64_t n = size > 0 ? size - column % size : 0;
        if (!(b == '\t' ? text_fill(&t, " ", n, chat_origin_at(s, at)) : chat_put_slice(&t, s, at, next)))
            return false;
        column = b == '\n' || b == '\r' ? 0 : column + (b == '\t' ? n : 1);
    }
    return chat_text_end(&t, out);
}

/* ---- texts: kinds of characters ---- */

static bool is_digit(uint32_t c) {
    return c < 128 ? c - '0' < 10 : unicode_class_of(c) == UNICODE_NUMBER;
}
static bool is_letter_or_digit(uint32_t c) {
    return string_is_letter(c) || is_digit(c);
}
static bool is_printable(uint32_t c) {
    return c == ' ' || (unicode_class_of(c) != UNICODE_OTHER && unicode_class_of(c) != UNICODE_SPACE);
}
static bool is_blank(uint32_t c) {
    return unicode_class_of(c) == UNICODE_SPACE || (c >= 0x1c && c <= 0x1f);
}
static bool is_ascii(uint32_t c) {
    return c < 128;
}

/* Whether all characters are of a kind. */
static bool all_are(call *c, bool (*is)(uint32_t c), bool if_empty, chat_value *out) {
    const chat_string *s = self(c);
    *out = chat_bool(s->n > 0 || if_empty);
    for (size_t at = 0, length; at < s->n; at += length)
        if (!is(unicode_at(s->text + at, s->n - at, &length))) out->b = false;
    return chat_spend_bytes(c->h, s->n);
}
static bool do_isalpha(call *c, chat_value *out) {
    return all_are(c, string_is_letter, false, out);
}
static bool do_isdigit(call *c, chat_value *out) {
    return all_are(c, is_digit, false, out);
}
static bool do_isalnum(call *c, chat_value *out) {
    return all_are(c, is_letter_or_digit, false, out);
}
static bool do_isspace(call *c, chat_value *out) {
    return all_are(c, is_blank, false, out);
}
static bool do_isascii(call *c, chat_value *out) {
    return all_are(c, is_ascii, true, out);
}
static bool do_isprintable(call *c, chat_value *out) {
    return all_are(c, is_printable, true, out);
}

static bool by_test(call *c, const char *name, chat_value *out) {
    const chat_string s = {name, NULL, 5, CHAT_TEMPLATE};
    *out = chat_bool(false);
    return test_call(c->r, &s, c->self, NULL, NULL, &out->b);
}
static bool do_islower(call *c, chat_value *out) {
    return by_test(c, "lower", out);
}
static bool do_isupper(call *c, chat_value *out) {
    return by_test(c, "upper", out);
}
static bool do_istitle(call *c, chat_value *out) {
    chat_value title, lower;
    if (!do_title(c, &title) || !do_lower(c, &lower)) return false;
    *out = chat_bool(chat_equal(c->h, &title, &c->self) && !chat_equal(c->h, &lower, &c->self));
    return c->h->status == NUT_OK;
}

/* ---- lists ---- */

static bool do_list_index(call *c, chat_value *out) {
    for (uint32_t i = 0; i < c->self.list->n; i++) {
        if (!chat_spend(c->h, 1)) return false;
        if (chat_equal(c->h, &c->self.list->items[i], &c->arg[0])) return *out = chat_int(i), true;
    }
    return FAIL(c->r, "the value is not in the list");
}

static bool do_list_count(call *c, chat_value *out) {
    *out = chat_int(0);
    for (uint32_t i = 0; i < c->self.list->n; i++) {
        if (!chat_spend(c->h, 1)) return false;
        out->i += chat_equal(c->h, &c->self.list->items[i], &c->arg[0]);
    }
    return c->h->status == NUT_OK;
}

static bool do_copy(call *c, chat_value *out) {
    *out = c->self; // which never changes
    return true;
}

/* ---- maps ---- */

static bool do_get(call *c, chat_value *out) {
    const chat_value *found = chat_map_get(c->h, c->self.map, c->arg[0]);
    *out = found ? *found : call_given(&c->arg[1]) ? c->arg[1] : chat_none();
    return c->h->status == NUT_OK;
}

static bool do_items(call *c, chat_value *out) {
    return map_pairs(c->r, c->self.map, CHAT_FORM_ITEMS, out);
}

static bool one_of_each(call *c, chat_form form, chat_value *out) {
    const chat_map *map = c->self.map;
    if (!chat_list_new(c->h, form, map->n, out) || !chat_spend(c->h, map->n)) return false;
    for (uint32_t i = 0; i < map->n; i++)
        if (!chat_list_add(c->h, out, form == CHAT_FORM_KEYS ? map->entries[i].key : map->entries[i].value))
            return false;
    return true;
}
static bool do_keys(call *c, chat_value *out) {
    return one_of_each(c, CHAT_FORM_KEYS, out);
}
static bool do_values(call *c, chat_value *out) {
    return one_of_each(c, CHAT_FORM_VALUES, out);
}

static bool do_is_integer(call *c, chat_value *out) {
    *out = chat_bool(c->self.kind == CHAT_INT || c->self.f == floor(c->self.f));
    return true;
}

/* ---- tables ---- */

static const builtin string_rows[] = {
    {"capitalize", "", do_capitalize},
    {"casefold", "", do_lower},
    {"center", "width ?fillchar", do_center},
    {"count", "sub ?start end", do_count},
    {"endswith", "suffix ?start end", do_endswith},
    {"expandtabs", "?tabsize", do_expandtabs},
    {"find", "sub ?start end", do_find},
    {"format", "*", do_format},
    {"index", "sub ?start end", do_index},
    {"isalnum", "", do_isalnum},
    {"isalpha", "", do_isalpha},
    {"isascii", "", do_isascii},
    {"isdecimal", "", do_isdigit},
    {"isdigit", "", do_isdigit},
    {"islower", "", do_islower},
    {"isnumeric", "", do_isdigit},
    {"isprintable", "", do_isprintable},
    {"isspace", "", do_isspace},
    {"istitle", "", do_istitle},
    {"isupper", "", do_isupper},
    {"join", "iterable", do_join},
    {"ljust", "width ?fillchar", do_ljust},
    {"lower", "", do_lower},
    {"lstrip", "?chars", do_lstrip},
    {"partition", "sep", do_partition},
    {"removeprefix", "prefix", do_removeprefix},
    {"removesuffix", "suffix", do_removesuffix},
    {"replace", "old new ?count", do_replace},
    {"rfind", "sub ?start end", do_rfind},
    {"rindex", "sub ?start end", do_rindex},
    {"rjust", "width ?fillchar", do_rjust},
    {"rpartition", "sep", do_rpartition},
    {"rsplit", "?sep maxsplit", do_rsplit},
    {"rstrip", "?chars", do_rstrip},
    {"split", "?sep maxsplit", do_split},
    {"splitlines", "?keepends", do_splitlines},
    {"startswith", "prefix ?start end", do_startswith},
    {"strip", "?chars", do_strip},
    {"swapcase", "", do_swapcase},
    {"title", "", do_title},
    {"upper", "", do_upper},
    {"zfill", "width", do_zfill},
    {0},
};

static const builtin list_rows[] = {
    {"copy", "", do_copy},
    {"count", "value", do_list_count},
    {"index", "value", do_list_index},
    {0},
};

static const builtin map_rows[] = {
    {"copy", "", do_copy}, {"get", "key ?default", do_get}, {"items", "", do_items},
    {"keys", "", do_keys}, {"values", "", do_values},       {0},
};

static const builtin number_rows[] = {{"is_integer", "", do_is_integer}, {0}};

/* They would change what they are called on: Jinja2's sandbox does not hand them out. */
static const struct {
    const char *name;
    bool of_list, of_map;
} changing[] = {
    {"append", true, false}, {"clear", true, true},       {"extend", true, false}, {"insert", true, false},
    {"pop", true, true},     {"popitem", false, true},    {"remove", true, false}, {"reverse", true, false},
    {"sort", true, false},   {"setdefault", false, true}, {"update", false, true},
};

const builtin *method_find(const chat_value *v, const chat_string *name, bool *unsafe) {
    const bool list = v->kind == CHAT_LIST && v->list->form <= CHAT_FORM_TUPLE, map = v->kind == CHAT_MAP;
    const bool changes = list && v->list->form == CHAT_FORM_LIST;
    for (size_t i = 0; (changes || map) && i < sizeof changing / sizeof *changing; i++)
        if (string_is(name, changing[i].name)) *unsafe = changes ? changing[i].of_list : changing[i].of_map;
    const builtin *rows = v->kind == CHAT_STRING                         ? string_rows
                          : list                                         ? list_rows
                          : v->kind == CHAT_MAP                          ? map_rows
                          : v->kind == CHAT_INT || v->kind == CHAT_FLOAT ? number_rows
                                                                         : NULL;
    return rows ? builtin_find(rows, name) : NULL;
}
