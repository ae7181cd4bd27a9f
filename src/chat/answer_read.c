/* What the formats of calls are made of: marks, names, JSON. */
#include "chat/answer.h"

#include <string.h>

answer_verdict answer_literal(nut_answer *p, const char *text) {
    const answer_verdict v = answer_mark(p, p->cur, text);
    if (v == ANSWER_YES) p->cur += strlen(text);
    return v == ANSWER_MORE && p->ended ? ANSWER_NO : v;
}

answer_verdict answer_space(nut_answer *p) {
    while (p->cur < p->n && answer_is_space(p->text[p->cur])) p->cur++;
    return p->cur < p->n || p->ended ? ANSWER_YES : ANSWER_MORE;
}

answer_verdict answer_at(nut_answer *p, char c) {
    if (p->cur == p->n) return p->ended ? ANSWER_NO : ANSWER_MORE;
    return p->text[p->cur] == c ? ANSWER_YES : ANSWER_NO;
}

answer_verdict answer_until(nut_answer *p, const char *mark, answer_span *out) {
    if (!p->scanning) *out = (answer_span){p->cur, 0};
    p->scanning = true;
    for (; p->cur < p->n; p->cur++) {
        const answer_verdict v = answer_literal(p, mark);
        if (v == ANSWER_MORE) return v;
        out->n = p->cur - out->at;
        if (v == ANSWER_YES) out->n -= strlen(mark);
        if (out->n > ANSWER_NAME) return ANSWER_NO;
        if (v == ANSWER_NO) continue;
        p->scanning = false;
        return v;
    }
    return p->ended ? ANSWER_NO : ANSWER_MORE;
}

static bool in_word(char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c == '.' ||
           c == '-';
}

answer_verdict answer_word(nut_answer *p, answer_span *out) {
    if (!p->scanning) *out = (answer_span){p->cur, 0};
    p->scanning = true;
    while (p->cur < p->n && in_word(p->text[p->cur])) p->cur++;
    out->n = p->cur - out->at;
    if (p->cur == p->n && !p->ended) return ANSWER_MORE;
    p->scanning = false;
    return out->n && out->n <= ANSWER_NAME ? ANSWER_YES : ANSWER_NO;
}

bool answer_span_is(const nut_answer *p, answer_span s, const char *text) {
    return s.n == strlen(text) && !memcmp(p->text + s.at, text, s.n);
}

answer_span answer_trim(const nut_answer *p, answer_span s) {
    while (s.n && answer_is_space(p->text[s.at])) s.at++, s.n--;
    while (s.n && answer_is_space(p->text[s.at + s.n - 1])) s.n--;
    return s;
}

/* ---- JSON ---- */

/* A value, whose bytes are *out: those of a text without the quotes, and then nothing else is taken where
 * `text`. */
static answer_verdict read_value(nut_answer *p, bool text, answer_span *out) {
    if (!p->scanning) {
        if (text && answer_at(p, '"') != ANSWER_YES) return answer_at(p, '"');
        json_scan_begin(&p->json);
        *out = (answer_span){p->cur, 0};
        p->scanning = true;
    }
    while (p->cur < p->n) {
        const json_scan_result r = json_scan_byte(&p->json, p->text[p->cur]);
        if (r == JSON_SCAN_WRONG) return ANSWER_NO;
        if (r != JSON_SCAN_BEFORE) p->cur++;
        if (r == JSON_SCAN_MORE) continue;
        *out = (answer_span){out->at + text, p->cur - out->at - 2 * text};
        p->scanning = false;
        return ANSWER_YES;
    }
    return ANSWER_MORE;
}

/* Names with escapes are no names. */
static answer_verdict read_text(nut_answer *p, answer_span *out) {
    const answer_verdict v = read_value(p, true, out);
    if (v != ANSWER_YES) return v;
    return out->n <= ANSWER_NAME && !memchr(p->text + out->at, '\\', out->n) ? v : ANSWER_NO;
}

static answer_verdict read_id(nut_answer *p, answer_span *out) {
    const answer_verdict at = p->scanning ? ANSWER_YES : answer_at(p, '"');
    if (at == ANSWER_MORE) return at;
    const answer_verdict v = read_value(p, false, out);
    if (v == ANSWER_YES && p->text[out->at] == '"') out->at++, out->n -= 2;
    return v;
}

/* Tells the arguments that have come, once the name is known. */
static void tell_object(nut_answer *p) {
    if (!p->name.n) return;
    answer_arguments(p, p->text + p->arguments, p->cur - p->arguments);
    p->arguments = p->cur;
}

answer_verdict answer_object(nut_answer *p) {
    if (!p->scanning) {
        const answer_verdict at = answer_at(p, '{');
        if (at != ANSWER_YES) return at;
        p->arguments = p->cur;
    }
    answer_span all = {p->arguments, 0};
    const answer_verdict v = read_value(p, false, &all);
    if (v != ANSWER_NO) tell_object(p);
    return v;
}

typedef enum field { OTHER, NAME, ID, ARGUMENTS, TYPE } field;

/* What a key of a call says, by the names that the families have for it. */
static field field_of(const nut_answer *p) {
    static const struct {
        const char *key;
        field field;
    } fields[] = {
        {"name", NAME},       {"tool_name", NAME}, {"arguments", ARGUMENTS}, {"parameters", ARGUMENTS},
        {"tool_call_id", ID}, {"id", ID},          {"type", TYPE},
    };
    if (p->format->named) return ARGUMENTS;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (answer_span_is(p, p->key, fields[i].key)) return fields[i].field;
    return OTHER;
}

static answer_verdict read_arguments(nut_answer *p) {
    if (p->typed) return ANSWER_NO; // there were some
    if (p->format->named) p->name = p->key;
    const answer_verdict v = answer_object(p);
    p->typed = v == ANSWER_YES;
    p->from = p->cur;
    return v;
}

/* The value of a key; each is read up to its end. */
static answer_verdict read_field(nut_answer *p) {
    answer_span other;
    switch (field_of(p)) {
    case NAME: return read_text(p, &p->name);
    case ID: return read_id(p, &p->id);
    case ARGUMENTS: return read_arguments(p);
    case TYPE: return read_value(p, false, &other);
    default: return p->format->alone ? ANSWER_NO : read_value(p, false, &other);
    }
}

answer_verdict answer_json_call(nut_answer *p) {
    bool found = false;
    READ_BEGIN(2);
    p->typed = false; // there are arguments
    READ(answer_space(p));
    READ(answer_literal(p, "{"));
    do {
        READ(answer_space(p));
        READ(read_text(p, &p->key));
        READ(answer_space(p));
        READ(answer_literal(p, ":"));
        READ(answer_space(p));
        READ(read_field(p));
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, ","));
    } while (found);
    READ(answer_literal(p, "}"));
    if (!p->name.n || (!p->typed && p->format->alone)) return ANSWER_NO;
    if (!p->typed)
        answer_arguments(p, "{}", 2);
    else if (!p->begun)
        answer_arguments(p, p->text + p->arguments, p->from - p->arguments);
    READ_END;
}

answer_verdict answer_list(nut_answer *p) {
    bool found = false;
    READ_BEGIN(1);
    READ(answer_space(p));
    READ(answer_literal(p, "["));
    do {
        READ(answer_space(p));
        READ_IF(found, answer_at(p, '{'));
        if (found)
            READ(answer_json_call(p));
        else
            READ(answer_python_call(p));
        answer_call_end(p);
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, ","));
    } while (found);
    READ(answer_literal(p, "]"));
    READ_END;
}
