/* Values as Gemma 4 writes them: JSON without quotes around keys, and with a mark of its own around texts.
 */
#include "chat/answer.h"

#include <string.h>

enum { OUTSIDE, IN_KEY, IN_TEXT }; // nut_answer.quote

static void begin(answer_writer *w, char kind) {
    w->p->quote = kind;
    answer_write(w, '"');
}

static void end(answer_writer *w) {
    w->p->quote = OUTSIDE;
    answer_write(w, '"');
}

static void in_key(answer_writer *w, char c) {
    if (c == ':')
        end(w), answer_write(w, c);
    else
        answer_write_character(w, c);
}

static void outside(answer_writer *w, char c) {
    const bool bare = json_scan_wants_key(&w->p->json) && c != '}' && !answer_is_space(c);
    if (bare) begin(w, IN_KEY);
    if (bare)
        answer_write_character(w, c);
    else
        answer_write(w, c);
}

/* The byte at `cur`, or the mark there; false: more bytes are needed to tell. */
static bool take(answer_writer *w, const char *mark) {
    nut_answer *p = w->p;
    const answer_verdict v = p->quote == IN_KEY ? ANSWER_NO : answer_mark(p, p->cur, mark);
    if (v == ANSWER_MORE) return false;
    if (v == ANSWER_YES) {
        if (p->quote)
            end(w);
        else
            begin(w, IN_TEXT);
        return p->cur += strlen(mark), true;
    }
    const char c = p->text[p->cur++];
    if (p->quote == IN_TEXT)
        answer_write_character(w, c);
    else if (p->quote == IN_KEY)
        in_key(w, c);
    else
        outside(w, c);
    return true;
}

answer_verdict answer_gemma_object(nut_answer *p) {
    answer_writer w = {.p = p};
    if (!p->scanning) {
        const answer_verdict at = answer_at(p, '{');
        if (at != ANSWER_YES) return at;
        json_scan_begin(&p->json);
        p->scanning = true;
        p->quote = OUTSIDE;
    }
    while (p->cur < p->n && w.result == JSON_SCAN_MORE && take(&w, p->format->words[0])) {
    }
    if (w.result == JSON_SCAN_WRONG) return ANSWER_NO;
    answer_write_flush(&w);
    if (w.result == JSON_SCAN_MORE) return ANSWER_MORE;
    p->scanning = false;
    return ANSWER_YES;
}
