/* JSON as a machine of a byte at a time. */
#include "chat/json_scan.h"

#include <string.h>

enum state {
    VALUE,       // a value is to come
    FIRST_VALUE, // a value, or the end of the array
    FIRST_KEY,   // a key, or the end of the object
    NEXT_KEY,
    COLON,
    STRING,
    ESCAPE,
    HEX,
    WORD,
    MINUS,
    ZERO,
    INTEGER,
    POINT,
    FRACTION,
    EXPONENT,
    EXPONENT_SIGN,
    EXPONENT_DIGITS,
    AFTER, // a value of an array or object has ended
};

void json_scan_begin(json_scan *j) {
    *j = (json_scan){.state = VALUE};
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool in_object(const json_scan *j) {
    return j->objects >> j->depth & 1;
}

static json_scan_result go(json_scan *j, enum state state) {
    j->state = (uint8_t)state;
    return JSON_SCAN_MORE;
}

static json_scan_result ended(json_scan *j) {
    j->state = AFTER;
    return j->depth ? JSON_SCAN_MORE : JSON_SCAN_LAST;
}

static json_scan_result close(json_scan *j) {
    j->depth--;
    return ended(j);
}

static json_scan_result open(json_scan *j, bool object) {
    if (j->depth == JSON_SCAN_DEPTH) return JSON_SCAN_WRONG;
    j->depth++;
    j->objects = (j->objects & ~((uint64_t)1 << j->depth)) | (uint64_t)object << j->depth;
    return go(j, object ? FIRST_KEY : FIRST_VALUE);
}

static json_scan_result word(json_scan *j, const char *rest) {
    j->word = rest;
    return go(j, WORD);
}

static json_scan_result string(json_scan *j, bool key) {
    j->key = key;
    return go(j, STRING);
}

static json_scan_result value(json_scan *j, char c) {
    if (is_space(c)) return JSON_SCAN_MORE;
    switch (c) {
    case '{': return open(j, true);
    case '[': return open(j, false);
    case '"': return string(j, false);
    case 't': return word(j, "rue");
    case 'f': return word(j, "alse");
    case 'n': return word(j, "ull");
    case '-': return go(j, MINUS);
    case '0': return go(j, ZERO);
    default: return is_digit(c) ? go(j, INTEGER) : JSON_SCAN_WRONG;
    }
}

static json_scan_result key(json_scan *j, char c) {
    if (is_space(c)) return JSON_SCAN_MORE;
    return c == '"' ? string(j, true) : JSON_SCAN_WRONG;
}

static json_scan_result in_string(json_scan *j, char c) {
    if (c == '"') return j->key ? go(j, COLON) : ended(j);
    if (c == '\\') return go(j, ESCAPE);
    return (unsigned char)c < 0x20 ? JSON_SCAN_WRONG : JSON_SCAN_MORE;
}

static json_scan_result in_escape(json_scan *j, char c) {
    j->left = 4;
    if (c == 'u') return go(j, HEX);
    return c && strchr("\"\\/bfnrt", c) ? go(j, STRING) : JSON_SCAN_WRONG;
}

static json_scan_result in_hex(json_scan *j, char c) {
    if (!is_digit(c) && !((c | 32) >= 'a' && (c | 32) <= 'f')) return JSON_SCAN_WRONG;
    return --j->left ? JSON_SCAN_MORE : go(j, STRING);
}

static json_scan_result in_word(json_scan *j, char c) {
    if (*j->word != c) return JSON_SCAN_WRONG;
    return *++j->word ? JSON_SCAN_MORE : ended(j);
}

static json_scan_result after(json_scan *j, char c) {
    if (is_space(c)) return JSON_SCAN_MORE;
    if (c == ',') return go(j, in_object(j) ? NEXT_KEY : VALUE);
    return c == (in_object(j) ? '}' : ']') ? close(j) : JSON_SCAN_WRONG;
}

/* Behind the last byte of a number. */
static json_scan_result after_number(json_scan *j, char c) {
    j->state = AFTER;
    return j->depth ? after(j, c) : JSON_SCAN_BEFORE;
}

static json_scan_result in_number(json_scan *j, char c) {
    const bool digit = is_digit(c), e = c == 'e' || c == 'E';
    switch (j->state) {
    case MINUS: return digit ? go(j, c == '0' ? ZERO : INTEGER) : JSON_SCAN_WRONG;
    case POINT: return digit ? go(j, FRACTION) : JSON_SCAN_WRONG;
    case EXPONENT:
        if (c == '+' || c == '-') return go(j, EXPONENT_SIGN);
        return digit ? go(j, EXPONENT_DIGITS) : JSON_SCAN_WRONG;
    case EXPONENT_SIGN: return digit ? go(j, EXPONENT_DIGITS) : JSON_SCAN_WRONG;
    case ZERO:
    case INTEGER:
        if (c == '.') return go(j, POINT);
        if (e) return go(j, EXPONENT);
        return digit && j->state == INTEGER ? JSON_SCAN_MORE : after_number(j, c);
    case FRACTION:
        if (e) return go(j, EXPONENT);
        return digit ? JSON_SCAN_MORE : after_number(j, c);
    default: return digit ? JSON_SCAN_MORE : after_number(j, c);
    }
}

json_scan_result json_scan_byte(json_scan *j, char c) {
    switch (j->state) {
    case VALUE: return value(j, c);
    case FIRST_VALUE: return c == ']' ? close(j) : value(j, c);
    case FIRST_KEY: return c == '}' ? close(j) : key(j, c);
    case NEXT_KEY: return key(j, c);
    case COLON:
        if (is_space(c)) return JSON_SCAN_MORE;
        return c == ':' ? go(j, VALUE) : JSON_SCAN_WRONG;
    case STRING: return in_string(j, c);
    case ESCAPE: return in_escape(j, c);
    case HEX: return in_hex(j, c);
    case WORD: return in_word(j, c);
    case AFTER: return after(j, c);
    default: return in_number(j, c);
    }
}

bool json_scan_wants_key(const json_scan *j) {
    return j->state == FIRST_KEY || j->state == NEXT_KEY;
}

size_t json_scan_length(const char *text, size_t n) {
    json_scan j;
    json_scan_begin(&j);
    for (size_t i = 0; i <= n; i++) {
        const json_scan_result r = json_scan_byte(&j, i < n ? text[i] : ' ');
        if (r == JSON_SCAN_WRONG) return 0;
        if (r != JSON_SCAN_MORE) return r == JSON_SCAN_LAST ? i + 1 : i;
    }
    return 0;
}

bool json_scan_is_value(const char *text, size_t n) {
    size_t at = json_scan_length(text, n);
    if (!at) return false;
    while (at < n && is_space(text[at])) at++;
    return at == n;
}
