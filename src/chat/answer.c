/* The text of an answer between the calls in it, and the public calls. */
#include "chat/answer.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* What reasoning is marked with, by the models' own templates. */
static const answer_think thinks[] = {
    {"<|START_THINKING|>", "<|END_THINKING|>", true, false}, // Command-R
    {"[THINK]", "[/THINK]", true, false},                    // Magistral, Ministral
    {"<seed:think>", "</seed:think>", false, false},         // Seed-OSS
    {"<|channel>thought", "<channel|>", true, false},        // Gemma 4
    {"<|think|>", "<|end|>", true, true},                    // Solar
    {"<think>", "</think>", false, false},
};

/* ---- telling ---- */

bool answer_is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void answer_tell(nut_answer *p, nut_answer_kind kind, const char *text, size_t n) {
    if (p->quiet) return;
    p->o.event(p->o.user, &(nut_answer_event){.kind = kind, .call = p->n_calls, .text = text, .n = n});
}

/* The text of [at, to). */
static void tell_text(nut_answer *p, size_t to) {
    if (to > p->at)
        answer_tell(p, p->reasoning ? NUT_ANSWER_REASONING : NUT_ANSWER_CONTENT, p->text + p->at,
                    to - p->at);
    p->at = to;
}

void answer_call(nut_answer *p) {
    if (!p->begun) answer_tell(p, NUT_ANSWER_CALL, p->text + p->name.at, p->name.n);
    p->begun = true;
}

void answer_arguments(nut_answer *p, const char *json, size_t n) {
    answer_call(p);
    if (n) answer_tell(p, NUT_ANSWER_ARGUMENTS, json, n);
}

void answer_call_end(nut_answer *p) {
    char made[24];
    const char *id = p->text + p->id.at;
    size_t n = p->id.n;
    if (!n) {
        id = made; // nine letters and digits: Mistral's templates ask for that
        n = (size_t)snprintf(made, sizeof made, "call%05u", p->o.n_calls_before + p->n_calls);
    }
    if (!p->quiet) answer_tell(p, NUT_ANSWER_CALL_END, id, n), p->n_calls++, p->at = p->cur;
    p->begun = false;
    p->id.n = p->name.n = 0;
}

/* ---- marks ---- */

answer_verdict answer_mark(const nut_answer *p, size_t at, const char *mark) {
    const size_t n = strlen(mark), left = p->n - at;
    if (memcmp(p->text + at, mark, n < left ? n : left)) return ANSWER_NO;
    return n <= left ? ANSWER_YES : ANSWER_MORE;
}

typedef enum mark_kind { NOTHING, PARTLY, THINK, END_THINK, SKIP, OPEN, START } mark_kind;

typedef struct mark {
    mark_kind kind;
    unsigned index;
    size_t n;
} mark;

/* Sees whether a text stands at `cur`, where no other is found yet. */
static void look(const nut_answer *p, const char *text, mark_kind kind, unsigned index, mark *found) {
    if (found->kind > PARTLY || *text != p->text[p->cur]) return;
    const answer_verdict v = answer_mark(p, p->cur, text);
    if (v == ANSWER_YES) *found = (mark){kind, index, strlen(text)};
    if (v == ANSWER_MORE && !p->ended) found->kind = PARTLY;
}

static void look_for(const nut_answer *p, const char *const *texts, mark_kind kind, mark *found) {
    for (unsigned i = 0; i < ANSWER_MARKS && texts[i]; i++) look(p, texts[i], kind, i, found);
}

/* No mark of a format is the beginning of another. */
static mark mark_here(const nut_answer *p) {
    mark found = {0};
    if (p->think && (p->reasoning || p->start || p->think->anywhere)) {
        look(p, p->think->close, END_THINK, 0, &found);
        if (!p->reasoning) look(p, p->think->open, THINK, 0, &found);
    }
    if (!p->format) return found;
    look_for(p, p->format->opens, OPEN, &found);
    if (p->start && !p->reasoning) look_for(p, p->format->starts, START, &found);
    look_for(p, p->format->skips, SKIP, &found);
    return found;
}

/* ---- calls ---- */

/* Lets the format's function read from `cur` on. */
static void open_call(nut_answer *p, unsigned index) {
    p->in_call = true;
    p->quiet = p->reasoning && !p->format->parts;
    p->opened = index;
    memset(p->resume, 0, sizeof p->resume);
    p->scanning = p->begun = p->typed = false;
    p->name.n = p->id.n = 0;
    p->quote = 0;
    p->escape = 0;
    p->word = NULL;
}

/* What was read is no call: it is text. */
static void no_call(nut_answer *p) {
    if (p->begun) answer_tell(p, NUT_ANSWER_NO_CALL, NULL, 0);
    p->in_call = p->quiet = p->waiting = p->begun = false;
    if (p->cur <= p->mark && p->mark < p->n) p->cur = p->mark + 1; // or the mark would be found again
    if (p->trim && p->at < p->mark) p->at = p->mark;
    p->start = p->trim = false;
    tell_text(p, p->cur);
    p->solid = p->cur;
}

static void is_call(nut_answer *p) {
    p->in_call = false;
    p->waiting = p->quiet;
    p->solid = p->cur;
    if (!p->quiet) p->at = p->cur, p->trim = true, p->start = false;
    p->quiet = false;
}

/* Whether there is something more to do. */
static bool take_call(nut_answer *p) {
    const answer_verdict v = p->format->read(p);
    if (v == ANSWER_MORE && !p->ended) return false;
    if (v == ANSWER_MORE) p->cur = p->n;
    if (v == ANSWER_YES)
        is_call(p);
    else
        no_call(p);
    return true;
}

/* Behind a call that was read in reasoning: at the end it was one, before more text it was not. */
static bool take_waiting(nut_answer *p) {
    while (p->cur < p->n && answer_is_space(p->text[p->cur])) p->cur++;
    if (p->cur == p->n) {
        if (!p->ended) return false;
        p->waiting = p->reasoning = false;
        p->at = p->solid = p->cur = p->mark;
        p->start = true;
        return true;
    }
    const mark m = mark_here(p);
    if (m.kind == PARTLY) return false;
    p->waiting = false;
    if (m.kind != OPEN) return true;
    const size_t first = p->mark;
    p->cur += m.n;
    open_call(p, m.index);
    p->mark = first;
    return true;
}

/* ---- text ---- */

/* Goes behind a mark. */
static void pass(nut_answer *p, const mark *m) {
    p->cur += m->n;
    p->at = p->solid = p->cur;
}

static void end_think(nut_answer *p, const mark *m) {
    pass(p, m);
    if (p->reasoning) p->start = p->trim = true;
    p->reasoning = false;
}

static void skip(nut_answer *p, const mark *m) {
    if (!p->reasoning && !p->trim) tell_text(p, p->cur);
    pass(p, m);
    if (!p->format->parts) return;
    p->reasoning = false;
    p->start = p->trim = true;
}

static void take_mark(nut_answer *p, const mark *m) {
    tell_text(p, p->solid);
    switch (m->kind) {
    case THINK:
        pass(p, m);
        p->reasoning = p->trim = true;
        break;
    case END_THINK: end_think(p, m); break;
    case SKIP: skip(p, m); break;
    default:
        p->mark = p->cur;
        if (m->kind == OPEN) p->cur += m->n;
        open_call(p, m->index + (m->kind == START ? ANSWER_MARKS : 0));
    }
}

static bool take_text(nut_answer *p) {
    while (p->cur < p->n) {
        const mark m = mark_here(p);
        if (m.kind == PARTLY) break;
        if (m.kind != NOTHING) return take_mark(p, &m), true;
        if (!answer_is_space(p->text[p->cur++])) {
            if (p->trim) p->at = p->cur - 1;
            p->solid = p->cur;
            p->start = p->trim = false;
        }
    }
    if (!p->trim) tell_text(p, p->solid);
    return false;
}

static bool take(nut_answer *p) {
    return p->in_call ? take_call(p) : p->waiting ? take_waiting(p) : take_text(p);
}

/* ---- the public calls ---- */

/* Forgets what is told, but in a call, which has spans of it. */
static void forget(nut_answer *p) {
    if (p->in_call || !p->at) return;
    memmove(p->text, p->text + p->at, p->n - p->at);
    p->n -= p->at;
    p->cur -= p->at;
    p->solid -= p->at;
    p->mark -= p->mark < p->at ? p->mark : p->at;
    p->at = 0;
}

static nut_status make_room(nut_answer *p, size_t n, nut_error *err) {
    size_t least, cap;
    if (!size_add(p->n, n, &least) || !size_add(least, least / 2 + 64, &cap)) return error_memory(err, n);
    if (least <= p->cap) return NUT_OK;
    char *text = mem_grow(p->text, p->n, cap);
    if (!text) return error_memory(err, cap);
    p->text = text;
    p->cap = cap;
    return NUT_OK;
}

nut_status nut_answer_feed(nut_answer *p, const char *text, size_t n, nut_error *err) {
    if (p->ended) return error_set(err, NUT_E_STATE, "the answer has ended");
    if (!n) return NUT_OK;
    forget(p);
    TRY(make_room(p, n, err));
    memcpy(p->text + p->n, text, n);
    p->n += n;
    if (!p->format && !p->think) p->solid = p->cur = p->n;
    while (take(p)) {
    }
    return NUT_OK;
}

void nut_answer_end(nut_answer *p) {
    if (p->ended) return;
    p->ended = true;
    while (take(p)) {
    }
    if (!p->reasoning && !p->trim && !p->n_calls) tell_text(p, p->n);
}

static bool contains(const char *text, size_t n, const char *what) {
    const size_t length = strlen(what);
    for (size_t at = 0; at + length <= n; at++)
        if (!memcmp(text + at, what, length)) return true;
    return false;
}

static const answer_format *find_format(const char *text, size_t n) {
    for (size_t i = 0; i < answer_n_formats; i++) {
        const answer_format *f = &answer_formats[i];
        bool all = true;
        for (size_t k = 0; k < ANSWER_NEEDLES && f->in_template[k]; k++)
            all = all && contains(text, n, f->in_template[k]);
        if (all) return f;
    }
    return NULL;
}

static nut_status set_format(nut_answer *p, const char *name, nut_error *err) {
    for (size_t i = 0; i < answer_n_formats; i++)
        if (!strcmp(answer_formats[i].name, name)) return p->format = &answer_formats[i], NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "there is no format of tool calls with the name \"%.40s\"", name);
}

static const answer_think *find_think(const char *text, size_t n) {
    for (size_t i = 0; i < sizeof thinks / sizeof *thinks; i++)
        if (contains(text, n, thinks[i].open) || (!thinks[i].by_open && contains(text, n, thinks[i].close)))
            return &thinks[i];
    return NULL;
}

static bool ends_with(const char *text, size_t n, const char *end) {
    const size_t length = strlen(end);
    while (n && answer_is_space(text[n - 1])) n--;
    return n >= length && !memcmp(text + n - length, end, length);
}

/* What the prompt has opened already. */
static void read_prompt(nut_answer *p, const char *prompt, size_t n) {
    if (p->think && ends_with(prompt, n, p->think->open)) p->reasoning = p->trim = true;
    if (p->format && p->format->prompt && ends_with(prompt, n, p->format->prompt)) open_call(p, 0);
}

nut_status nut_answer_new(const nut_answer_options *o, nut_answer **out, nut_error *err) {
    if (o->n_tools && !json_scan_is_value(o->tools, o->n_tools))
        return error_set(err, NUT_E_ARGUMENT, "the tools are no JSON");
    nut_answer *p = mem_calloc(1, sizeof *p);
    if (!p) return error_memory(err, sizeof *p);
    p->o = *o;
    p->start = true;
    p->think = find_think(o->chat_template, o->n_template);
    p->format = find_format(o->chat_template, o->n_template);
    nut_status status = o->format ? set_format(p, o->format, err) : NUT_OK;
    if (status == NUT_OK && o->n_tools && !(p->tools = mem_alloc(o->n_tools)))
        status = error_memory(err, o->n_tools);
    if (status != NUT_OK) return nut_answer_free(p), status;
    if (o->n_tools) memcpy(p->tools, o->tools, o->n_tools);
    read_prompt(p, o->prompt, o->n_prompt);
    p->o.tools = p->tools;
    *out = p;
    return NUT_OK;
}

void nut_answer_free(nut_answer *p) {
    if (!p) return;
    mem_free(p->tools);
    mem_free(p->text);
    mem_free(p);
}

const char *nut_answer_format(const nut_answer *p) {
    return p->format ? p->format->name : NULL;
}

/* Texts i of the marks of a format, of all its lists. */
static const char *format_text(const answer_format *f, size_t i) {
    const char *const *const lists[] = {f->opens, f->skips, f->words};
    const size_t lengths[] = {ANSWER_MARKS, ANSWER_MARKS, 8};
    for (size_t k = 0; k < 3; i -= lengths[k++])
        if (i < lengths[k]) return lists[k][i] ? lists[k][i] : "";
    return NULL;
}

const char *nut_answer_mark(const nut_answer *p, size_t i) {
    if (p->think && i < 2) return i ? p->think->close : p->think->open;
    if (p->think) i -= 2;
    return p->format ? format_text(p->format, i) : NULL;
}
