/* Calls as Python writes them, and Python's values as JSON: text in single quotes, True, False, None. */
#include "chat/answer.h"

#include <string.h>

enum { NO_ESCAPE, ESCAPE, HEX }; // what a byte of a text follows

static void put_escape(answer_writer *w, char c) {
    w->p->escape = NO_ESCAPE;
    if (c == '\n') return; // the line goes on
    if (c == '\'') return answer_write(w, c);
    if (c == 'x') return answer_write_all(w, "\\u00");
    if (!strchr("\"\\/bfnrtu", c) || !c) return answer_write_all(w, "\\\\"), answer_write_character(w, c);
    answer_write(w, '\\');
    answer_write(w, c);
}

static void in_text(answer_writer *w, char c) {
    nut_answer *p = w->p;
    if (p->escape == ESCAPE) return put_escape(w, c);
    if (c == '\\') {
        p->escape = ESCAPE;
    } else if (c == p->quote) {
        p->quote = 0;
        answer_write(w, '"');
    } else {
        answer_write_character(w, c);
    }
}

/* The rest of a word of Python's. */
static void in_word(answer_writer *w, char c) {
    nut_answer *p = w->p;
    if (*p->word != c)
        w->result = JSON_SCAN_WRONG;
    else if (!*++p->word)
        p->word = NULL;
}

static void outside(answer_writer *w, char c) {
    nut_answer *p = w->p;
    static const struct {
        char first;
        const char *rest, *json;
    } words[] = {{'T', "rue", "true"}, {'F', "alse", "false"}, {'N', "one", "null"}};
    for (size_t i = 0; i < 3; i++)
        if (c == words[i].first) {
            p->word = words[i].rest;
            return answer_write_all(w, words[i].json);
        }
    if (c == '\'' || c == '"') p->quote = c, c = '"';
    answer_write(w, c);
}

static void take(answer_writer *w, char c) {
    if (w->p->quote)
        in_text(w, c);
    else if (w->p->word)
        in_word(w, c);
    else
        outside(w, c);
}

/* A value, told as JSON; `typed` once its JSON is whole, of which the rest of a word may be left to read. */
static answer_verdict read_value(nut_answer *p) {
    answer_writer w = {.p = p};
    if (!p->scanning) {
        json_scan_begin(&p->json);
        p->typed = false;
        p->scanning = true;
    }
    while (p->cur < p->n && (!p->typed || p->word)) {
        take(&w, p->text[p->cur]);
        if (w.result == JSON_SCAN_WRONG) return ANSWER_NO;
        if (w.result != JSON_SCAN_BEFORE) p->cur++;
        p->typed = p->typed || w.result != JSON_SCAN_MORE;
    }
    answer_write_flush(&w);
    if (!p->typed || p->word) return ANSWER_MORE;
    p->scanning = false;
    return ANSWER_YES;
}

/* The name of the method by which Llama 3 calls a built-in tool is no part of the tool's. */
static void drop_method(nut_answer *p) {
    static const char method[] = ".call";
    const size_t n = sizeof method - 1;
    if (p->opened < ANSWER_MARKS && p->name.n > n && p->format->alone &&
        !memcmp(p->text + p->name.at + p->name.n - n, method, n))
        p->name.n -= n;
}

answer_verdict answer_python_call(nut_answer *p) {
    bool found = false;
    READ_BEGIN(2);
    READ(answer_space(p));
    READ(answer_word(p, &p->name));
    drop_method(p);
    READ(answer_literal(p, "("));
    READ(answer_space(p));
    p->first = true;
    READ_IF(found, answer_literal(p, ")"));
    while (!found) {
        READ(answer_word(p, &p->key));
        READ(answer_space(p));
        READ(answer_literal(p, "="));
        answer_key(p, p->key);
        READ(read_value(p));
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, ")"));
        if (found) break;
        READ(answer_literal(p, ","));
        READ(answer_space(p));
    }
    answer_arguments(p, p->first ? "{}" : "}", p->first ? 2 : 1);
    READ_END;
}
