/*
 * Answers of models, of any format, in pieces of any kind: what they are taken apart into does not depend on
 * the pieces, the arguments of a call are a JSON object, and no byte of text is made up.
 */
#include "fuzz.h"

#include "chat/answer.h"

enum { MOST_TOLD = 1 << 16 };

/* Everything that is told, one after the other; what turned out to be no call is left out. */
typedef struct told {
    char text[2][MOST_TOLD]; // content and reasoning; calls
    size_t n[2];
    size_t call, arguments; // where the last call begins
    bool open;
} told;

static void add(told *t, int which, const char *text, size_t n) {
    EXPECT(t->n[which] + n < MOST_TOLD, "%zu bytes", t->n[which] + n);
    if (n) memcpy(t->text[which] + t->n[which], text, n);
    t->n[which] += n;
}

static void take_event(void *user, const nut_answer_event *e) {
    told *t = user;
    EXPECT(t->open == (e->kind == NUT_ANSWER_ARGUMENTS || e->kind == NUT_ANSWER_CALL_END ||
                       e->kind == NUT_ANSWER_NO_CALL),
           "event %d", (int)e->kind);
    switch (e->kind) {
    case NUT_ANSWER_CONTENT:
    case NUT_ANSWER_REASONING: add(t, 0, e->text, e->n); break;
    case NUT_ANSWER_CALL:
        t->call = t->n[1];
        add(t, 1, e->text, e->n);
        add(t, 1, " ", 1);
        t->arguments = t->n[1];
        t->open = true;
        break;
    case NUT_ANSWER_ARGUMENTS: add(t, 1, e->text, e->n); break;
    case NUT_ANSWER_CALL_END:
        EXPECT(t->n[1] > t->arguments && t->text[1][t->arguments] == '{' &&
                   json_scan_is_value(t->text[1] + t->arguments, t->n[1] - t->arguments),
               "no JSON: %.*s", (int)(t->n[1] - t->arguments), t->text[1] + t->arguments);
        EXPECT(e->n > 0, "no id");
        add(t, 1, e->text, e->n);
        t->open = false;
        break;
    default: t->n[1] = t->call, t->open = false;
    }
}

static void take_apart(nut_answer_options o, const char *text, size_t n, uint32_t pieces, told *out) {
    nut_answer *answer;
    nut_error err = {0};
    memset(out, 0, sizeof *out);
    o.event = take_event;
    o.user = out;
    const nut_status status = nut_answer_new(&o, &answer, &err);
    fuzz_check_error(status, &err);
    EXPECT((status == NUT_OK) == (!o.n_tools || json_scan_is_value(o.tools, o.n_tools)), "%s", err.message);
    if (status != NUT_OK) return;
    const char *found = nut_answer_format(answer);
    EXPECT(!o.format == !found && (!found || !strcmp(found, o.format)), "another format");
    for (size_t i = 0; nut_answer_mark(answer, i); i++) EXPECT(i < 64, "marks without an end");
    for (size_t at = 0, step; at < n; at += step) {
        step = pieces ? 1 + (pieces = pieces * 1664525 + 1013904223) % 7 : n;
        if (step > n - at) step = n - at;
        EXPECT(nut_answer_feed(answer, text + at, step, &err) == NUT_OK, "%s", err.message);
    }
    nut_answer_end(answer);
    EXPECT(!out->open, "a call is left open");
    nut_answer_free(answer);
}

/* With bit 2 of `with`, the tools stand before the text, up to a zero byte. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static told whole, cut;
    fuzz_input in = {bytes, n};
    const uint8_t format = fuzz_u8(&in), with = fuzz_u8(&in), pieces = fuzz_u8(&in);
    const uint8_t *zero = with & 4 && in.n ? memchr(in.p, 0, in.n) : NULL;
    fuzz_input tools = fuzz_front(&in, zero ? (size_t)(zero - in.p) : 0);
    fuzz_front(&in, zero != NULL);
    const char *name = format < answer_n_formats ? answer_formats[format].name : NULL;
    const char *prompt = name && answer_formats[format].prompt ? answer_formats[format].prompt : "<think>\n";
    nut_answer_options o = {.format = name, .tools = (const char *)tools.p, .n_tools = tools.n};
    counting_start(0);
    if (with & 1) o.chat_template = with & 8 ? "<|START_THINKING|>" : "<think>";
    if (with & 1) o.n_template = strlen(o.chat_template);
    if (with & 2) o.prompt = prompt, o.n_prompt = strlen(prompt);
    char *text = fuzz_copy(in);
    take_apart(o, text, in.n, 0, &whole);
    take_apart(o, text, in.n, 1 + pieces, &cut);
    free(text);
    for (int i = 0; i < 2; i++)
        EXPECT(whole.n[i] == cut.n[i] && !memcmp(whole.text[i], cut.text[i], cut.n[i]),
               "whole: %.*s; in pieces: %.*s", (int)whole.n[i], whole.text[i], (int)cut.n[i], cut.text[i]);
    EXPECT(whole.n[0] <= in.n, "%zu bytes of %zu", whole.n[0], in.n);
    fuzz_end();
    return 0;
}
