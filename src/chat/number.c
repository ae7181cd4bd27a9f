/*
 * Reading: the digits are held in decimal and are shifted by powers of two until the value lies in
 * [2^52, 2^53), where they are rounded once. This is slow and short, and exact for any number of digits
 * (the method that the Go library falls back on; N. Tao, "The simple decimal conversion algorithm", 2020).
 * Numbers of 15 digits and small exponents, which are nearly all, take one exact product instead.
 */
#include "chat/number.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DIGITS = 800, MAX_EXPONENT = 5000, SHIFT = 24 };

/* 0.d0 d1 d2 ... * 10^point */
typedef struct decimal {
    uint8_t d[MAX_DIGITS];
    int n, point;
    bool more; // digits other than 0 were left out
} decimal;

static void trim(decimal *x) {
    while (x->n > 0 && x->d[x->n - 1] == 0) x->n--;
    if (x->n == 0) x->point = 0;
}

/* x / 2^s, s <= SHIFT */
static void shift_right(decimal *x, int s) {
    uint64_t rest = 0;
    int from = 0, to = 0;
    for (; rest >> s == 0; from++) {
        if (from >= x->n && rest == 0) return;
        rest = rest * 10 + (from < x->n ? x->d[from] : 0);
    }
    x->point -= from - 1;
    for (; from < x->n || rest; from++) {
        const uint8_t digit = (uint8_t)(rest >> s);
        rest &= (1ull << s) - 1;
        if (to < MAX_DIGITS)
            x->d[to++] = digit;
        else
            x->more = x->more || digit;
        rest = rest * 10 + (from < x->n ? x->d[from] : 0);
    }
    x->n = to;
    trim(x);
}

/* x * 2^s, s <= SHIFT */
static void shift_left(decimal *x, int s) {
    uint8_t digits[MAX_DIGITS + 10];
    int at = (int)sizeof digits;
    uint64_t carry = 0;
    for (int i = x->n - 1; i >= 0 || carry; i--) {
        carry += i >= 0 ? (uint64_t)x->d[i] << s : 0;
        digits[--at] = (uint8_t)(carry % 10);
        carry /= 10;
        if (i < 0) x->point++;
    }
    const int n = (int)sizeof digits - at;
    x->n = n < MAX_DIGITS ? n : MAX_DIGITS;
    memcpy(x->d, digits + at, (size_t)x->n);
    for (int i = x->n; i < n; i++) x->more = x->more || digits[at + i];
    trim(x);
}

/* The integer nearest to x, which is below 2^54; ties to even. */
static uint64_t rounded(const decimal *x) {
    uint64_t value = 0;
    for (int i = 0; i < x->point; i++) value = value * 10 + (i < x->n ? x->d[i] : 0);
    if (x->point < 0 || x->point >= x->n) return value;
    const bool tie = x->d[x->point] == 5 && x->point + 1 == x->n && !x->more;
    return value + (tie ? value & 1 : x->d[x->point] >= 5);
}

/* Whether x is at least 2^53. */
static bool too_large(const decimal *x) {
    static const uint8_t limit[] = {9, 0, 0, 7, 1, 9, 9, 2, 5, 4, 7, 4, 0, 9, 9, 2};
    if (x->point != (int)sizeof limit) return x->point > (int)sizeof limit;
    for (int i = 0; i < (int)sizeof limit; i++) {
        const int digit = i < x->n ? x->d[i] : 0;
        if (digit != limit[i]) return digit > limit[i];
    }
    return true;
}

static double exact(decimal *x) {
    int exponent = 0;
    if (x->n == 0 || x->point < -340) return 0;
    if (x->point > 310) return INFINITY;
    while (x->point > 18) shift_right(x, SHIFT), exponent += SHIFT;
    while (too_large(x)) shift_right(x, 1), exponent++;
    while (x->point < 8) shift_left(x, SHIFT), exponent -= SHIFT;
    while (!too_large(x)) shift_left(x, 1), exponent--;
    shift_right(x, 1), exponent++;
    while (exponent < -1074) { // a subnormal number has fewer bits
        shift_right(x, exponent < -1074 - SHIFT ? SHIFT : 1);
        exponent += exponent < -1074 - SHIFT ? SHIFT : 1;
    }
    return ldexp((double)rounded(x), exponent);
}

static double scaled(uint64_t digits, int exponent) {
    double power = 1;
    for (int i = 0; i < (exponent < 0 ? -exponent : exponent); i++) power *= 10;
    return exponent < 0 ? (double)digits / power : (double)digits * power;
}

/* What is read of a number's text. */
typedef struct reading {
    decimal x;
    uint64_t whole; // of the first 19 digits
    int n_digits;   // without leading zeros
} reading;

static void take_digit(reading *r, int digit) {
    if (r->n_digits == 0 && digit == 0) return;
    if (r->n_digits < 19) r->whole = r->whole * 10 + (uint64_t)digit;
    if (r->x.n < MAX_DIGITS)
        r->x.d[r->x.n++] = (uint8_t)digit;
    else
        r->x.more = r->x.more || digit;
    r->n_digits++;
}

static bool digit_at(const char *s, size_t n, size_t at) {
    return at < n && s[at] >= '0' && s[at] <= '9';
}

static size_t read_exponent(const char *s, size_t n, size_t at, int *exponent) {
    size_t i = at + 1;
    if (at >= n || (s[at] | 32) != 'e') return at;
    const bool minus = i < n && s[i] == '-';
    if (i < n && (s[i] == '-' || s[i] == '+')) i++;
    if (!digit_at(s, n, i)) return at;
    int value = 0;
    for (; digit_at(s, n, i); i++) value = value < MAX_EXPONENT ? value * 10 + (s[i] - '0') : value;
    *exponent += minus ? -value : value;
    return i;
}

static chat_value as_float(reading *r, bool minus, int exponent) {
    double f;
    r->x.point = (r->n_digits < MAX_EXPONENT ? r->n_digits : MAX_EXPONENT) + exponent;
    trim(&r->x);
    if (r->n_digits <= 15 && exponent >= -22 && exponent <= 22)
        f = scaled(r->whole, exponent);
    else
        f = exact(&r->x);
    return chat_float(minus ? -f : f);
}

size_t number_read(const char *s, size_t n, chat_value *out) {
    reading r;
    r.x.n = r.n_digits = 0;
    r.x.more = false;
    r.whole = 0;
    const bool minus = n > 0 && s[0] == '-';
    size_t at = minus, begin = at;
    int exponent = 0;
    if (!digit_at(s, n, at)) return 0;
    for (; digit_at(s, n, at) && (at == begin || s[begin] != '0'); at++) take_digit(&r, s[at] - '0');
    const bool fits = r.n_digits <= 18 || (r.n_digits == 19 && r.whole <= INT64_MAX);
    bool whole = fits;
    if (at < n && s[at] == '.' && digit_at(s, n, at + 1)) {
        whole = false;
        for (at++; digit_at(s, n, at); at++, exponent -= exponent > -MAX_EXPONENT)
            take_digit(&r, s[at] - '0');
    }
    const size_t end = read_exponent(s, n, at, &exponent);
    whole = whole && end == at;
    *out = whole ? chat_int(minus ? -(int64_t)r.whole : (int64_t)r.whole) : as_float(&r, minus, exponent);
    return end;
}

/* ---- writing ---- */

size_t number_put_int(char *out, int64_t i) {
    return (size_t)snprintf(out, NUMBER_BYTES, "%lld", (long long)i);
}

/* The digits of "d.ddde[+-]xx" without point, and the exponent. */
static int shortest(double f, char digits[20]) {
    char text[NUMBER_BYTES];
    chat_value back;
    for (int n = f < 1e-307 ? 1 : 15; n <= 17; n++) {
        snprintf(text, sizeof text, "%.*e", n - 1, f);
        number_read(text, strlen(text), &back);
        if (back.kind == CHAT_FLOAT && back.f == f) break;
    }
    int exponent = 0;
    char *e = strchr(text, 'e');
    for (const char *p = e + 2; *p; p++) exponent = exponent * 10 + (*p - '0');
    size_t n = 0;
    for (const char *p = text; p < e; p++)
        if (*p != '.') digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0') n--;
    digits[n] = '\0';
    return e[1] == '-' ? -exponent : exponent;
}

static size_t put_plain(char *out, const char *digits, int exponent) {
    char *p = out;
    const int n = (int)strlen(digits);
    if (exponent < 0) {
        *p++ = '0', *p++ = '.';
        for (int i = exponent + 1; i < 0; i++) *p++ = '0';
        return (size_t)(p - out) + (size_t)snprintf(p, NUMBER_BYTES, "%s", digits);
    }
    for (int i = 0; i <= exponent || i < n; i++) {
        if (i == exponent + 1) *p++ = '.';
        *p++ = i < n ? digits[i] : '0';
    }
    if (n <= exponent + 1) *p++ = '.', *p++ = '0';
    *p = '\0';
    return (size_t)(p - out);
}

size_t number_put_float(char *out, double f) {
    char digits[20], *p = out;
    if (isnan(f)) return (size_t)snprintf(out, NUMBER_BYTES, "nan");
    if (signbit(f)) *p++ = '-', f = -f;
    if (isinf(f)) return (size_t)(p - out) + (size_t)snprintf(p, 8, "inf");
    const int exponent = f == 0 ? (digits[0] = '0', digits[1] = '\0', 0) : shortest(f, digits);
    const size_t sign = (size_t)(p - out);
    if (exponent >= -4 && exponent < 16) return sign + put_plain(p, digits, exponent);
    return sign + (size_t)snprintf(p, NUMBER_BYTES, "%c%s%se%c%02d", digits[0], digits[1] ? "." : "",
                                   digits + 1, exponent < 0 ? '-' : '+',
                                   exponent < 0 ? -exponent : exponent);
}
