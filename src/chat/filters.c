/* Filters of texts and numbers; those of lists are in filter_lists.c. */
#include "chat/interpreter.h"
#include "chat/json.h"
#include "chat/lists.h"
#include "chat/number.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The input as a text, whatever it is. */
static bool input(call *c, const chat_string **out) {
    return value_string(c->r, &c->self, out);
}

static bool as_case(call *c, string_case to, chat_value *out) {
    const chat_string *s;
    return input(c, &s) && string_case_of(c->r, s, to, out);
}
static bool do_upper(call *c, chat_value *out) {
    return as_case(c, CASE_UPPER, out);
}
static bool do_lower(call *c, chat_value *out) {
    return as_case(c, CASE_LOWER, out);
}
static bool do_capitalize(call *c, chat_value *out) {
    return as_case(c, CASE_CAPITAL, out);
}
static bool do_title(call *c, chat_value *out) {
    return as_case(c, CASE_WORDS, out);
}

static bool do_string(call *c, chat_value *out) {
    const chat_string *s;
    if (!input(c, &s)) return false;
    *out = (chat_value){.kind = CHAT_STRING, .s = s};
    return true;
}

static bool do_trim(call *c, chat_value *out) {
    const chat_string *s, *set = NULL;
    if (c->arg[0].kind != CHAT_NONE && !call_text(c, 0, &set)) return false;
    return input(c, &s) && string_strip(c->r, s, set, 3, out);
}

static bool do_replace(call *c, chat_value *out) {
    const chat_string *s, *old, *by;
    int64_t count;
    if (!input(c, &s) || !value_string(c->r, &c->arg[0], &old) || !value_string(c->r, &c->arg[1], &by))
        return false;
    return call_int(c, 2, -1, &count) && string_replace(c->r, s, old, by, count, out);
}

static bool do_indent(call *c, chat_value *out) {
    const chat_string *s;
    const chat_value *width = &c->arg[0];
    const bool first = call_flag(c, 1, false), blank = call_flag(c, 2, false);
    int64_t n = 0;
    chat_text t = {.heap = c->h};
    chat_value lines;
    if (!input(c, &s) || (width->kind != CHAT_STRING && !call_int(c, 0, 4, &n))) return false;
    if (!string_lines(c->r, s, false, true, &lines)) return false;
    for (uint32_t i = 0; i < lines.list->n; i++) {
        const chat_string *line = lines.list->items[i].s;
        const bool indented = i ? blank || line->n : first;
        if (i && !chat_put(&t, "\n", 1, CHAT_TEMPLATE)) return false;
        if (indented && !(width->kind == CHAT_STRING ? chat_put_string(&t, width->s)
                                                     : text_fill(&t, " ", n, CHAT_TEMPLATE)))
            return false;
        if (!chat_put_string(&t, line)) return false;
    }
    return chat_text_end(&t, out);
}

static bool do_truncate(call *c, chat_value *out) {
    static const chat_string dots = {"...", NULL, 3, CHAT_TEMPLATE};
    const chat_string *s, *end = &dots;
    int64_t most, leeway, length, n_end;
    size_t to;
    chat_text t = {.heap = c->h};
    if (!input(c, &s) || !call_int(c, 0, 255, &most) || !call_text(c, 2, &end) ||
        !call_int(c, 3, 5, &leeway))
        return false;
    if (!string_length(c->r, s, &length) || !string_length(c->r, end, &n_end)) return false;
    if (length <= most + leeway) return do_string(c, out);
    if (!string_offset(c->r, s, most - n_end, &to)) return false;
    if (!call_flag(c, 1, false)) {
        size_t space = to;
        while (space > 0 && s->text[space - 1] != ' ') space--;
        if (space > 0) to = space - 1;
    }
    return chat_put_slice(&t, s, 0, to) && chat_put_string(&t, end) && chat_text_end(&t, out);
}

static bool do_center(call *c, chat_value *out) {
    const chat_string *s;
    int64_t width, length;
    chat_text t = {.heap = c->h};
    if (!input(c, &s) || !call_int(c, 0, 80, &width) || !string_length(c->r, s, &length)) return false;
    const int64_t missing = width > length ? width - length : 0, left = missing / 2 + (missing & width & 1);
    return text_fill(&t, " ", left, CHAT_TEMPLATE) && chat_put_string(&t, s) &&
           text_fill(&t, " ", missing - left, CHAT_TEMPLATE) && chat_text_end(&t, out);
}

static bool do_wordcount(call *c, chat_value *out) {
    const chat_string *s;
    int64_t n = 0;
    bool before = false;
    if (!input(c, &s) || !chat_spend_bytes(c->h, s->n)) return false;
    for (size_t at = 0; at < s->n; at++) {
        const uint8_t b = (uint8_t)s->text[at];
        const bool word = b >= 0x80 || b == '_' || (b | 32u) - 'a' < 26u || b - (unsigned)'0' < 10u;
        n += word && !before;
        before = word;
    }
    *out = chat_int(n);
    return true;
}

/* Puts another text in place of each of some bytes. */
static bool put_instead(call *c, const char *bytes, const char *const *texts, chat_value *out) {
    const chat_string *s;
    chat_text t = {.heap = c->h};
    size_t begin = 0;
    if (!input(c, &s) || !chat_spend_bytes(c->h, s->n)) return false;
    for (size_t at = 0; at < s->n; at++) {
        const char *found = s->text[at] ? strchr(bytes, s->text[at]) : NULL;
        if (!found) continue;
        const char *text = texts[found - bytes];
        if (!chat_put_slice(&t, s, begin, at) || !chat_put(&t, text, strlen(text), chat_origin_at(s, at)))
            return false;
        begin = at + 1;
    }
    return chat_put_slice(&t, s, begin, s->n) && chat_text_end(&t, out);
}

static bool do_escape(call *c, chat_value *out) {
    static const char *const texts[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    return put_instead(c, "&<>'\"", texts, out);
}

/* Takes out what is between < and >, and folds blanks. */
static bool do_striptags(call *c, chat_value *out) {
    const chat_string *s;
    chat_text t = {.heap = c->h};
    bool tag = false, blank = false;
    if (!input(c, &s)) return false;
    for (size_t at = 0, next; at < s->n; at = next) {
        next = string_next(s, at);
        if (s->text[at] == '<' && memchr(s->text + at, '>', s->n - at)) tag = true;
        const bool end = tag && s->text[at] == '>', skipped = tag;
        if (end) tag = false;
        if (skipped) continue;
        if (!chat_spend_bytes(c->h, s->text[at] == '<' ? s->n - at : 0)) return false;
        if (string_is_blank(s, at)) {
            blank = true;
            continue;
        }
        if (blank && t.n && !chat_put(&t, " ", 1, CHAT_DATA)) return false;
        blank = false;
        if (!chat_put_slice(&t, s, at, next)) return false;
    }
    return chat_text_end(&t, out);
}

static bool do_urlencode(call *c, chat_value *out) {
    const chat_string *s;
    chat_text t = {.heap = c->h};
    if (!input(c, &s)) return false;
    for (size_t at = 0; at < s->n; at++) {
        const uint8_t b = (uint8_t)s->text[at];
        char text[4];
        const bool plain = (b | 32u) - 'a' < 26u || b - (unsigned)'0' < 10u || (b && strchr("_.-~/", b));
        snprintf(text, sizeof text, plain ? "%c" : "%%%02X", b);
        if (!chat_put(&t, text, strlen(text), chat_origin_at(s, at))) return false;
    }
    return chat_text_end(&t, out);
}

static bool do_format(call *c, chat_value *out) {
    const chat_string *s;
    chat_value args = {.kind = CHAT_LIST}, named = {.kind = CHAT_MAP};
    args.list = (chat_list *)(uintptr_t)c->list; // read alone
    named.map = (chat_map *)(uintptr_t)c->named;
    return input(c, &s) && format_percent(c->r, s, c->named ? &named : &args, out);
}

/* ---- numbers ---- */

/* Reads a text as a number, as Python's int() does: blanks may surround it, and "_" may separate digits.
 * False where it is none. */
static bool text_number(const chat_string *s, chat_value *out) {
    char text[256];
    size_t n = 0, from = 0, to = s->n;
    while (from < to && string_is_blank(s, from)) from++;
    while (to > from && (uint8_t)s->text[to - 1] <= ' ') to--;
    if (from < to && s->text[from] == '+') from++;
    for (size_t at = from; at < to && n < sizeof text; at++)
        if (s->text[at] != '_') text[n++] = s->text[at];
    size_t minus = n && text[0] == '-', zeros = minus;
    while (zeros + 1 < n && text[zeros] == '0' && text[zeros + 1] >= '0' && text[zeros + 1] <= '9') zeros++;
    if (zeros > minus && minus) text[zeros - 1] = '-';
    zeros -= minus;
    if (n && text[n - 1] == '.') n--; // "1." is a float
    return n > zeros && number_read(text + zeros, n - zeros, out) == n - zeros;
}

static bool based_number(const chat_string *s, int64_t base, chat_value *out) {
    uint64_t value = 0;
    size_t at = s->n > 2 && s->text[0] == '0' && strchr("xXoObB", s->text[1]) ? 2 : 0;
    if (base < 2 || base > 36 || at == s->n || s->n > 16) return false;
    for (; at < s->n; at++) {
        const char c = s->text[at];
        const int digit = c >= '0' && c <= '9'                 ? c - '0'
                          : (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10
                                                               : 99;
        if (digit >= base) return false;
        value = value * (uint64_t)base + (uint64_t)digit;
    }
    *out = chat_int((int64_t)value);
    return true;
}

/* The input as a number; false with no failure: it is none. */
static bool input_number(call *c, chat_value *out) {
    *out = c->self;
    if (c->self.kind == CHAT_UNDEFINED) return chat_fail_undefined(c->h, &c->self);
    if (c->self.kind == CHAT_BOOL) *out = chat_int(c->self.b);
    if (c->self.kind == CHAT_STRING && !text_number(c->self.s, out)) return false;
    out->origin = c->self.kind == CHAT_STRING ? CHAT_DATA : c->self.origin;
    return out->kind == CHAT_INT || out->kind == CHAT_FLOAT;
}

static bool otherwise(call *c, chat_value standard, chat_value *out) {
    *out = call_given(&c->arg[0]) ? c->arg[0] : standard;
    return c->h->status == NUT_OK;
}

static bool do_int(call *c, chat_value *out) {
    int64_t base;
    if (!call_int(c, 1, 10, &base)) return false;
    if (base != 10 && c->self.kind == CHAT_STRING && based_number(c->self.s, base, out)) return true;
    if (!input_number(c, out)) return otherwise(c, chat_int(0), out);
    if (out->kind == CHAT_INT) return true;
    if (!(out->f < 9.2e18 && out->f > -9.2e18)) return otherwise(c, chat_int(0), out);
    out->kind = CHAT_INT;
    out->i = (int64_t)out->f;
    return true;
}

static bool do_float(call *c, chat_value *out) {
    if (!input_number(c, out)) return otherwise(c, chat_float(0), out);
    if (out->kind == CHAT_INT) out->f = (double)out->i;
    out->kind = CHAT_FLOAT;
    return true;
}

static bool need_number(call *c, chat_value *out) {
    if (c->self.kind != CHAT_STRING && input_number(c, out)) return true;
    return FAIL(c->r, "a number is expected, not '%s'", value_kind_name(&c->self));
}

static bool do_abs(call *c, chat_value *out) {
    if (!need_number(c, out)) return false;
    if (out->kind == CHAT_FLOAT) out->f = fabs(out->f);
    if (out->kind == CHAT_INT && out->i < 0) out->i = out->i == INT64_MIN ? INT64_MAX : -out->i;
    return true;
}

static bool do_round(call *c, chat_value *out) {
    static const chat_string common = {"common", NULL, 6, CHAT_TEMPLATE};
    const chat_string *method = &common;
    int64_t digits;
    char text[400];
    if (!need_number(c, out) || !call_int(c, 0, 0, &digits) || !call_text(c, 1, &method)) return false;
    const bool ceil_it = method->n == 4 && !memcmp(method->text, "ceil", 4),
               floor_it = method->n == 5 && !memcmp(method->text, "floor", 5);
    if (!ceil_it && !floor_it && (method->n != 6 || memcmp(method->text, "common", 6) != 0))
        return FAIL(c->r, "method must be common, ceil or floor");
    if (out->kind == CHAT_INT && !ceil_it && !floor_it) return true;
    if (digits < -300 || digits > 50) return FAIL(c->r, "round takes -300 to 50 digits");
    const double f = out->kind == CHAT_INT ? (double)out->i : out->f, scale = pow(10, (double)digits);
    *out = chat_float(ceil_it    ? ceil(f * scale) / scale
                      : floor_it ? floor(f * scale) / scale
                                 : rint(f * scale) / scale);
    if (ceil_it || floor_it || digits < 0 || fabs(f) > 1e30) return true;
    snprintf(text, sizeof text, "%.*f", (int)digits + (digits == 0),
             f); // rounds the decimal value, as Python does
    if (digits == 0) return out->f = rint(f), true;
    return number_read(text, strlen(text), out) > 0 &&
           (out->kind == CHAT_FLOAT || (*out = chat_float((double)out->i), true));
}

/* ---- others ---- */

static bool do_default(call *c, chat_value *out) {
    const bool missing = call_flag(c, 1, false) ? !value_truth(&c->self) : c->self.kind == CHAT_UNDEFINED;
    *out = c->self;
    if (!missing) return true;
    return call_given(&c->arg[0]) ? (*out = c->arg[0], true)
                                  : chat_string_of(c->h, "", 0, CHAT_TEMPLATE, out);
}

static bool do_attr(call *c, chat_value *out) {
    const chat_string *name = NULL;
    return call_text(c, 0, &name) && value_own_attribute(c->r, &c->self, name, out);
}

static bool do_pprint(call *c, chat_value *out) {
    chat_text t = {.heap = c->h};
    return value_repr(c->r, &c->self, &t) && chat_text_end(&t, out);
}

static bool separators(call *c, chat_json_style *style) {
    const chat_value *v = &c->arg[2];
    if (!call_given(v) || v->kind == CHAT_NONE) return true;
    if (v->kind != CHAT_LIST || v->list->n != 2 || v->list->items[0].kind != CHAT_STRING ||
        v->list->items[1].kind != CHAT_STRING)
        return FAIL(c->r, "separators must be two texts");
    style->item = v->list->items[0].s;
    style->key = v->list->items[1].s;
    return true;
}

/* With the parameters that transformers gives it. */
static bool do_tojson(call *c, chat_value *out) {
    chat_text t = {.heap = c->h};
    chat_json_style style = {
        .indent = -1, .ascii = call_flag(c, 0, false), .sort_keys = call_flag(c, 3, false)};
    int64_t indent;
    if (!call_int(c, 1, -1, &indent) || !separators(c, &style)) return false;
    if (call_given(&c->arg[1]) && c->arg[1].kind != CHAT_NONE)
        style.indent = indent < 0 ? 0 : indent > CHAT_MAX_TEXT ? CHAT_MAX_TEXT : (int)indent;
    return chat_json_write(&t, &c->self, &style) && chat_text_end(&t, out);
}

const builtin filter_rows[] = {
    {"abs", "", do_abs},
    {"attr", "name", do_attr},
    {"capitalize", "", do_capitalize},
    {"center", "?width", do_center},
    {"d", "?default_value boolean", do_default},
    {"default", "?default_value boolean", do_default},
    {"e", "", do_escape},
    {"escape", "", do_escape},
    {"float", "?default", do_float},
    {"forceescape", "", do_escape},
    {"format", "*", do_format},
    {"indent", "?width first blank", do_indent},
    {"int", "?default base", do_int},
    {"lower", "", do_lower},
    {"pprint", "", do_pprint},
    {"replace", "old new ?count", do_replace},
    {"round", "?precision method", do_round},
    {"safe", "", do_string},
    {"string", "", do_string},
    {"striptags", "", do_striptags},
    {"title", "", do_title},
    {"tojson", "?ensure_ascii indent separators sort_keys", do_tojson},
    {"trim", "?chars", do_trim},
    {"truncate", "?length killwords end leeway", do_truncate},
    {"upper", "", do_upper},
    {"urlencode", "", do_urlencode},
    {"wordcount", "", do_wordcount},
    {0},
};
