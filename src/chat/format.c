/* Python's formatting of values into texts: "%s" % x, "{}".format(x), strftime. */
#include "chat/interpreter.h"
#include "chat/number.h"

#include <stdio.h>
#include <string.h>

/* How one value is to be written. */
typedef struct spec {
    char fill, align, sign, type; // 0: not given
    bool zero, alternate, comma;
    int width, precision; // -1: not given
} spec;

enum { MAX_WIDTH = 10000, MAX_PRECISION = 60 };

/* ---- one value ---- */

/* Digits with a comma between each three of the whole part. */
static size_t put_commas(char *out, const char *text) {
    size_t n = strspn(text, "0123456789"), at = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) out[at++] = ',';
        out[at++] = text[i];
    }
    strcpy(out + at, text + n);
    return at + strlen(text + n);
}

/* A number without its sign. */
static bool number_text(run *r, const chat_value *v, const spec *s, char *out, size_t cap) {
    const bool is_int = v->kind != CHAT_FLOAT;
    const int64_t i = v->kind == CHAT_BOOL ? v->b : is_int ? v->i : 0;
    const uint64_t positive = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    double f = is_int ? (double)i : v->f;
    char format[16], type = s->type;
    f = f < 0 ? -f : f;
    if (!type) type = is_int ? 'd' : s->precision >= 0 ? 'g' : 'r';
    if (type == 'i' || type == 'u') type = 'd';
    if (type == 'r') return number_put_float(out, f) > 0;
    if (strchr("dxXo", type)) {
        if (!is_int) return FAIL(r, "a whole number is needed for the format '%c'", type);
        snprintf(format, sizeof format, "%s%%ll%c",
                 s->alternate && type != 'd' ? type == 'o' ? "0o" : "0x" : "", type);
        snprintf(out, cap, format, (unsigned long long)positive);
        return true;
    }
    if (type == '%') {
        snprintf(out, cap, "%.*f%%", s->precision < 0 ? 6 : s->precision, f * 100);
        return true;
    }
    if (!strchr("eEfFgG", type) || f > 1e60)
        return FAIL(r, "a number cannot be written with the format '%c'", type);
    snprintf(format, sizeof format, "%%.*%c", type);
    snprintf(out, cap, format, s->precision < 0 ? 6 : s->precision, f);
    return true;
}

/* text: what is written; sign: in front of it and of zeros. */
static bool put_padded(chat_text *t, const chat_string *text, const char *sign, const spec *s,
                       int64_t length, bool number) {
    const int64_t missing = s->width - length - (int64_t)strlen(sign);
    const char align = s->align ? s->align : s->zero && number ? '=' : number ? '>' : '<';
    const char fill[2] = {s->fill ? s->fill : s->zero && number ? '0' : ' ', '\0'};
    const int64_t left = align == '>' || align == '=' ? missing : align == '^' ? missing / 2 : 0;
    if (align != '=' && !text_fill(t, fill, left, CHAT_DATA)) return false;
    if (!chat_put(t, sign, strlen(sign), CHAT_DATA)) return false;
    if (align == '=' && !text_fill(t, fill, left, CHAT_DATA)) return false;
    return chat_put_string(t, text) &&
           text_fill(t, fill, missing > 0 ? missing - (left > 0 ? left : 0) : 0, CHAT_DATA);
}

static bool put_number(run *r, chat_text *t, const chat_value *v, const spec *s) {
    char text[192], commas[256];
    chat_value out;
    const bool negative = v->kind == CHAT_FLOAT ? v->f < 0 : v->kind == CHAT_INT && v->i < 0;
    const char *sign = negative ? "-" : s->sign == '+' ? "+" : s->sign == ' ' ? " " : "";
    if (!number_text(r, v, s, text, sizeof text)) return false;
    const char *shown = s->comma ? (put_commas(commas, text), commas) : text;
    if (!chat_string_copy(r->h, shown, strlen(shown), (chat_origin)v->origin, &out)) return false;
    return put_padded(t, out.s, sign, s, out.s->n, true);
}

static bool put_text(run *r, chat_text *t, const chat_string *text, const spec *s) {
    int64_t length;
    size_t end = text->n;
    chat_value cut;
    if (s->precision >= 0 && !string_offset(r, text, s->precision, &end)) return false;
    if (!chat_slice(r->h, text, 0, end, &cut) || !string_length(r, cut.s, &length)) return false;
    return put_padded(t, cut.s, "", s, length, false);
}

/* Digits, up to a limit. */
static int read_int(const chat_string *s, size_t *at, int most) {
    int value = 0;
    for (; *at < s->n && s->text[*at] >= '0' && s->text[*at] <= '9'; ++*at)
        if (value <= most) value = value * 10 + (s->text[*at] - '0');
    return value < most ? value : most;
}

static char char_at(const chat_string *s, size_t at) {
    return at < s->n ? s->text[at] : '\0';
}

/* ---- "%s" % value ---- */

typedef struct percent {
    const chat_value *args;
    uint32_t next; // of a tuple
} percent;

static bool next_argument(run *r, percent *p, const chat_string *name, chat_value *out) {
    if (name) {
        if (p->args->kind != CHAT_MAP) return FAIL(r, "format requires a mapping");
        const chat_value *found =
            chat_map_get(r->h, p->args->map, (chat_value){.kind = CHAT_STRING, .s = name});
        return found ? (*out = *found, true) : FAIL(r, "the mapping of a format lacks a key");
    }
    const bool tuple = p->args->kind == CHAT_LIST && p->args->list->form == CHAT_FORM_TUPLE;
    if (p->next >= (tuple ? p->args->list->n : 1)) return FAIL(r, "not enough arguments for format string");
    *out = tuple ? p->args->list->items[p->next] : *p->args;
    p->next++;
    return true;
}

/* "%(name)-05.2f", from behind the percent sign. */
static bool read_percent(run *r, const chat_string *f, size_t *at, spec *s, chat_value *name) {
    *s = (spec){.precision = -1};
    *name = chat_none();
    if (char_at(f, *at) == '(') {
        const char *end = memchr(f->text + *at, ')', f->n - *at);
        if (!end) return FAIL(r, "incomplete format key");
        const size_t to = (size_t)(end - f->text);
        if (!chat_slice(r->h, f, *at + 1, to, name)) return false;
        *at = to + 1;
    }
    for (; char_at(f, *at) && strchr("-+ #0", char_at(f, *at)); ++*at) {
        const char flag = char_at(f, *at);
        if (flag == '-') s->align = '<';
        if (flag == '0') s->zero = true;
        if (flag == '#') s->alternate = true;
        if (flag == '+' || (flag == ' ' && !s->sign)) s->sign = flag;
    }
    s->width = read_int(f, at, MAX_WIDTH);
    if (char_at(f, *at) == '.') ++*at, s->precision = read_int(f, at, MAX_PRECISION);
    s->type = char_at(f, *at);
    ++*at;
    if (!s->align) s->align = s->zero && s->type != 's' && s->type != 'r' ? '\0' : '>';
    return s->type ? true : FAIL(r, "incomplete format");
}

static bool put_percent(run *r, chat_text *t, const chat_value *v, spec *s) {
    const chat_string *text;
    const bool number = v->kind == CHAT_BOOL || v->kind == CHAT_INT || v->kind == CHAT_FLOAT;
    if (s->type == 'r' || s->type == 'a') {
        chat_text inner = {.heap = r->h};
        chat_value shown;
        return value_repr(r, v, &inner) && chat_text_end(&inner, &shown) && put_text(r, t, shown.s, s);
    }
    if (s->type == 's' || s->type == 'c') return value_string(r, v, &text) && put_text(r, t, text, s);
    if (!number)
        return FAIL(r, "%%%c format: a real number is required, not %s", s->type, value_kind_name(v));
    if (v->kind == CHAT_FLOAT && strchr("diu", s->type)) {
        const chat_value whole = {
            .kind = CHAT_INT, .origin = v->origin, .i = v->f < 9e18 && v->f > -9e18 ? (int64_t)v->f : 0};
        return put_number(r, t, &whole, s);
    }
    return put_number(r, t, v, s);
}

bool format_percent(run *r, const chat_string *f, const chat_value *args, chat_value *out) {
    chat_text t = {.heap = r->h};
    percent p = {args, 0};
    for (size_t at = 0; at < f->n;) {
        const char *sign = memchr(f->text + at, '%', f->n - at);
        const size_t to = sign ? (size_t)(sign - f->text) : f->n;
        spec s;
        chat_value name, v;
        if (!chat_put_slice(&t, f, at, to)) return false;
        if (!sign) break;
        at = to + 1;
        if (!read_percent(r, f, &at, &s, &name)) return false;
        if (s.type == '%') {
            if (!chat_put_slice(&t, f, to, to + 1)) return false;
            continue;
        }
        if (!next_argument(r, &p, name.kind == CHAT_STRING ? name.s : NULL, &v) ||
            !put_percent(r, &t, &v, &s))
            return false;
    }
    const bool tuple = args->kind == CHAT_LIST && args->list->form == CHAT_FORM_TUPLE;
    if (args->kind != CHAT_MAP && p.next < (tuple ? args->list->n : 1))
        return FAIL(r, "not all arguments converted during string formatting");
    return chat_text_end(&t, out);
}

/* ---- "{}".format(value) ---- */

/* "*^+#010,.2f" */
static bool read_spec(run *r, const chat_string *f, size_t at, spec *s) {
    *s = (spec){.precision = -1};
    if (at + 1 < f->n && strchr("<>^=", f->text[at + 1]))
        s->fill = f->text[at], s->align = f->text[at + 1], at += 2;
    else if (at < f->n && strchr("<>^=", f->text[at]))
        s->align = f->text[at++];
    if (at < f->n && strchr("+- ", f->text[at])) s->sign = f->text[at++];
    if (char_at(f, at) == '#') s->alternate = true, at++;
    if (char_at(f, at) == '0') s->zero = true, at++;
    s->width = read_int(f, &at, MAX_WIDTH);
    if (char_at(f, at) == ',') s->comma = true, at++;
    if (char_at(f, at) == '.') at++, s->precision = read_int(f, &at, MAX_PRECISION);
    s->type = char_at(f, at);
    return at + (s->type != 0) == f->n ? true : FAIL(r, "invalid format specifier");
}

static bool put_formatted(run *r, chat_text *t, const chat_value *v, const chat_string *format) {
    spec s;
    const chat_string *text;
    if (format->n == 0) return value_print(r, v, t);
    if (!read_spec(r, format, 0, &s)) return false;
    if (v->kind == CHAT_INT || v->kind == CHAT_FLOAT || (v->kind == CHAT_BOOL && s.type))
        return put_number(r, t, v, &s);
    if (v->kind != CHAT_STRING && v->kind != CHAT_BOOL)
        return FAIL(r, "unsupported format string passed to %s.__format__", value_kind_name(v));
    if (s.type && s.type != 's') return FAIL(r, "unknown format code '%c' for a text", s.type);
    return value_string(r, v, &text) && put_text(r, t, text, &s);
}

static bool is_digits(const chat_string *s) {
    for (size_t i = 0; i < s->n; i++)
        if (s->text[i] < '0' || s->text[i] > '9') return false;
    return true;
}

/* The argument of a field "name.attribute[item]" or "0", or of none: the next. */
static bool field_value(run *r, const chat_string *f, size_t from, size_t to, const chat_list *list,
                        const chat_map *named, uint32_t *next, chat_value *out) {
    size_t end = from, at_digits = 0;
    while (end < to && f->text[end] != '.' && f->text[end] != '[') end++;
    chat_value key;
    if (!chat_slice(r->h, f, from, end, &key)) return false;
    const bool numbered = is_digits(key.s);
    const uint32_t i = end == from ? (*next)++ : (uint32_t)read_int(key.s, &at_digits, 1 << 20);
    if (numbered && i >= list->n) return FAIL(r, "Replacement index %u out of range", i);
    const chat_value *found = numbered ? &list->items[i] : named ? chat_map_get(r->h, named, key) : NULL;
    if (!found) return FAIL(r, "the format's field has no argument");
    *out = *found;
    while (end < to) {
        const bool item = f->text[end] == '[';
        const chat_value whole = *out;
        size_t stop = end + 1, at = 0;
        while (stop < to && (item ? f->text[stop] != ']' : f->text[stop] != '.' && f->text[stop] != '['))
            stop++;
        if (!chat_slice(r->h, f, end + 1, stop, &key)) return false;
        if (item && key.s->n && key.s->text[0] >= '0' && key.s->text[0] <= '9')
            key = chat_int(read_int(key.s, &at, 1 << 20));
        if (!(item ? value_item(r, &whole, &key, out) : value_attribute(r, &whole, key.s, out)))
            return false;
        end = stop + item;
    }
    return true;
}

/* The field between braces [from, to). */
static bool put_field(run *r, chat_text *t, const chat_string *f, size_t from, size_t to,
                      const chat_list *list, const chat_map *named, uint32_t *next) {
    size_t name = from, at;
    chat_value v, format;
    while (name < to && f->text[name] != '!' && f->text[name] != ':') name++;
    if (!field_value(r, f, from, name, list, named, next, &v)) return false;
    at = name;
    if (char_at(f, at) == '!' && at + 1 < to) {
        chat_text inner = {.heap = r->h};
        if (!(f->text[at + 1] == 'r' ? value_repr(r, &v, &inner) : value_print(r, &v, &inner)) ||
            !chat_text_end(&inner, &v))
            return false;
        at += 2;
    }
    if (at < to && f->text[at] != ':') return FAIL(r, "a format's field is not understood");
    return chat_slice(r->h, f, at < to ? at + 1 : to, to, &format) && put_formatted(r, t, &v, format.s);
}

bool format_braces(run *r, const chat_string *f, const chat_list *list, const chat_map *named,
                   chat_value *out) {
    chat_text t = {.heap = r->h};
    uint32_t next = 0;
    for (size_t at = 0, to; at < f->n; at = to + 1) {
        for (to = at; to < f->n && f->text[to] != '{' && f->text[to] != '}';) to++;
        if (!chat_spend(r->h, 1) || !chat_put_slice(&t, f, at, to)) return false;
        if (to == f->n) break;
        if (char_at(f, to + 1) == f->text[to]) { // doubled: the brace itself
            if (!chat_put_slice(&t, f, to, to + 1)) return false;
            to++;
            continue;
        }
        const char *end = f->text[to] == '{' ? memchr(f->text + to, '}', f->n - to) : NULL;
        if (!end) return FAIL(r, "a single brace stands in a format");
        const size_t from = to + 1;
        to = (size_t)(end - f->text);
        if (!put_field(r, &t, f, from, to, list, named, &next)) return false;
    }
    return chat_text_end(&t, out);
}

/* ---- strftime ---- */

typedef struct date {
    int year, month, day, weekday, yearday, hour, minute,
        second; // month 1.., weekday 0: Sunday, yearday 1..
} date;

/* Days since 1970 to a date of the Gregorian calendar (H. Hinnant, "chrono-compatible low-level date
 * algorithms", 2013). */
static date date_of(int64_t now) {
    const int64_t days = (now >= 0 ? now : now - 86399) / 86400, seconds = now - days * 86400,
                  z = days + 719468;
    const int64_t era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    date d = {.day = (int)(doy - (153 * mp + 2) / 5 + 1), .month = (int)(mp < 10 ? mp + 3 : mp - 9)};
    d.year = (int)(yoe + era * 400) + (d.month <= 2);
    d.weekday = (int)(((days + 4) % 7 + 7) % 7);
    const bool leap = (d.year % 4 == 0 && d.year % 100 != 0) || d.year % 400 == 0;
    d.yearday = (int)(mp < 10 ? doy + 60 + leap : doy - 305);
    d.hour = (int)(seconds / 3600), d.minute = (int)(seconds / 60 % 60), d.second = (int)(seconds % 60);
    return d;
}

static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const month_names[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};

/* One conversion; plain: numbers without padding. Returns the bytes, 0: it is unknown. */
static int put_time(char *out, size_t cap, char c, bool plain, const date *d) {
    const int hour12 = d->hour % 12 ? d->hour % 12 : 12;
    const struct {
        char c;
        int value, width;
    } numbers[] = {{'Y', d->year, 4},
                   {'m', d->month, 2},
                   {'d', d->day, 2},
                   {'H', d->hour, 2},
                   {'I', hour12, 2},
                   {'M', d->minute, 2},
                   {'S', d->second, 2},
                   {'y', d->year % 100, 2},
                   {'j', d->yearday, 3},
                   {'w', d->weekday, 1},
                   {'u', d->weekday ? d->weekday : 7, 1}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].c == c)
            return snprintf(out, cap, "%0*d", plain ? 1 : numbers[i].width, numbers[i].value);
    switch (c) {
    case 'A': return snprintf(out, cap, "%s", day_names[d->weekday]);
    case 'a': return snprintf(out, cap, "%.3s", day_names[d->weekday]);
    case 'B': return snprintf(out, cap, "%s", month_names[d->month - 1]);
    case 'b':
    case 'h': return snprintf(out, cap, "%.3s", month_names[d->month - 1]);
    case 'p': return snprintf(out, cap, "%s", d->hour < 12 ? "AM" : "PM");
    case 'e': return snprintf(out, cap, "%*d", plain ? 1 : 2, d->day);
    case 'F': return snprintf(out, cap, "%04d-%02d-%02d", d->year, d->month, d->day);
    case 'T':
    case 'X': return snprintf(out, cap, "%02d:%02d:%02d", d->hour, d->minute, d->second);
    case 'R': return snprintf(out, cap, "%02d:%02d", d->hour, d->minute);
    case 'D':
    case 'x': return snprintf(out, cap, "%02d/%02d/%02d", d->month, d->day, d->year % 100);
    case 'c':
        return snprintf(out, cap, "%.3s %.3s %2d %02d:%02d:%02d %d", day_names[d->weekday],
                        month_names[d->month - 1], d->day, d->hour, d->minute, d->second, d->year);
    case 'f': return snprintf(out, cap, "000000");
    case 'n': return snprintf(out, cap, "\n");
    case 't': return snprintf(out, cap, "\t");
    case '%': return snprintf(out, cap, "%%");
    default: return 0;
    }
}

bool format_time(run *r, const chat_string *f, chat_value *out) {
    chat_text t = {.heap = r->h};
    const date d = date_of(r->now);
    for (size_t at = 0; at < f->n; at++) {
        char text[64];
        const bool plain = f->text[at] == '%' && char_at(f, at + 1) == '-';
        const int n =
            f->text[at] == '%' ? put_time(text, sizeof text, char_at(f, at + 1 + plain), plain, &d) : 0;
        const bool empty = f->text[at] == '%' && (char_at(f, at + 1) == 'Z' || char_at(f, at + 1) == 'z');
        if (n > 0 ? !chat_put(&t, text, (size_t)n, chat_origin_at(f, at))
                  : !empty && !chat_put_slice(&t, f, at, at + 1))
            return false;
        if (n > 0 || empty) at += 1 + plain;
    }
    return chat_text_end(&t, out);
}
