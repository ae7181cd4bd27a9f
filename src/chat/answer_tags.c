/* Calls whose arguments stand one by one between tags: Qwen3-Coder and its like, GLM. */
#include "chat/answer.h"

#include <string.h>

/* Tells text of [at, end) as a part of a JSON text. */
static void tell_escaped(nut_answer *p, size_t at, size_t end) {
    static const char hex[] = "0123456789abcdef";
    size_t plain = at;
    for (; at < end; at++) {
        const char c = p->text[at], unicode[] = {'\\', 'u', '0', '0', hex[(c >> 4) & 15], hex[c & 15]},
                   letter[] = {'\\', c == '\n'   ? 'n'
                                     : c == '\t' ? 't'
                                                 : c};
        const bool control = (unsigned char)c < 0x20;
        if (!control && c != '"' && c != '\\') continue;
        answer_arguments(p, p->text + plain, at - plain);
        if (control && c != '\n' && c != '\t')
            answer_arguments(p, unicode, sizeof unicode);
        else
            answer_arguments(p, letter, sizeof letter);
        plain = at + 1;
    }
    answer_arguments(p, p->text + plain, end - plain);
}

void answer_key(nut_answer *p, answer_span key) {
    answer_arguments(p, p->first ? "{\"" : ",\"", 2);
    tell_escaped(p, key.at, key.at + key.n);
    answer_arguments(p, "\":", 2);
    p->first = false;
}

/* ---- values ---- */

/* Whether what begins so is a text for certain. */
static bool is_text(const nut_answer *p, char first) {
    switch (p->type) {
    case ANSWER_STRING: return true;
    case ANSWER_VALUE: return false;
    case ANSWER_OR_NULL: return first != 'n' && first != 'N';
    default: return !strchr("{[-0123456789tfn", first) || !first;
    }
}

/* A value that was held back. */
static void tell_value(nut_answer *p, size_t end) {
    static const char *const words[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    const answer_span s = answer_trim(p, (answer_span){p->from, end - p->from});
    const char *value = p->text + s.at;
    size_t n = s.n;
    for (size_t i = 0; i < 3 && p->type != ANSWER_ANY; i++)
        if (answer_span_is(p, s, words[i][0])) value = words[i][1], n = strlen(value);
    if (json_scan_is_value(value, n) && (p->type != ANSWER_OR_NULL || *value == 'n'))
        return answer_arguments(p, value, n);
    answer_arguments(p, "\"", 1);
    tell_escaped(p, p->from, end);
    answer_arguments(p, "\"", 1);
}

/* Where a value ends: a line end before the mark belongs to it if one stands behind the mark before. */
static size_t end_of(const nut_answer *p, size_t least) {
    return p->quote && p->cur > least && p->text[p->cur - 1] == '\n' ? p->cur - 1 : p->cur;
}

/* Sees how the value begins. */
static answer_verdict begin_value(nut_answer *p) {
    if (p->cur == p->n) return ANSWER_MORE;
    p->quote = p->text[p->cur] == '\n' ? '\n' : 0;
    if (p->quote && p->cur + 1 == p->n) return ANSWER_MORE;
    if (p->quote) p->cur++;
    p->from = p->arguments = p->cur;
    p->typed = is_text(p, p->text[p->cur]);
    p->scanning = true;
    if (p->typed) answer_arguments(p, "\"", 1);
    return ANSWER_YES;
}

static void tell_text(nut_answer *p, size_t end) {
    tell_escaped(p, p->arguments, end);
    p->arguments = end;
}

static void end_value(nut_answer *p) {
    const size_t end = end_of(p, p->arguments);
    p->scanning = false;
    if (!p->typed) return tell_value(p, end);
    tell_text(p, end);
    answer_arguments(p, "\"", 1);
}

answer_verdict answer_value(nut_answer *p, const char *close) {
    if (!p->scanning && begin_value(p) == ANSWER_MORE) return ANSWER_MORE;
    for (; p->cur < p->n; p->cur++) {
        const answer_verdict v = answer_mark(p, p->cur, close);
        if (v == ANSWER_MORE) break;
        if (v == ANSWER_NO) continue;
        end_value(p);
        p->cur += strlen(close);
        return v;
    }
    if (p->typed) tell_text(p, end_of(p, p->arguments));
    return ANSWER_MORE;
}
