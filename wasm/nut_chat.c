/*
 * What the page's worker can call of the module nutshell-chat, over nutshell.h alone: messages become the
 * text of a prompt, and the text of an answer becomes events. No model is in this module; what it needs of
 * one comes from the engine's (nutw_chat_model_of), and ids are made there (nutw_chat_tokenize). So it has
 * neither SIMD nor threads, is the same beside all engine modules, and a page that never chats does without.
 *
 * Numbers, addresses, errors and the staging buffer are as in nut_wasm.c. Answers have addresses of their
 * own; what they tell goes to nut_chat_event, which JavaScript provides.
 */
#include "boundary.h"
#include "nutshell.h"

#include <stdlib.h>
#include <string.h>

static struct {
    nut_error err;
    unsigned char *staging;
    size_t staging_size;
    char *texts; // of the model
    nut_chat_model model;
    nut_chat *chat; // the prompt that was made last
    nutw_prompt prompt;
    nut_chat_trim trim; // of the search for the turns to leave out
} w;

/* ---- errors, numbers, staging ---- */

static int fail(nut_status code, const char *message) {
    w.err.code = code;
    strncpy(w.err.message, message, sizeof w.err.message - 1);
    w.err.message[sizeof w.err.message - 1] = '\0';
    return -1;
}

const char *nutm_error_name(void) {
    return nut_status_name(w.err.code);
}

const char *nutm_error_message(void) {
    return w.err.message;
}

static double address(const void *p) {
    return (double)(uintptr_t)p;
}

static size_t to_size(double x) {
    return !(x > 0) ? 0 : x >= (double)SIZE_MAX ? SIZE_MAX : (size_t)x;
}

/* Address of a buffer of at least n bytes for the next call's input; 0 without memory. n = 0 frees it. */
void *nutm_staging(double n) {
    const size_t size = to_size(n);
    if (size != 0 && size <= w.staging_size) return w.staging;
    free(w.staging);
    w.staging = size ? malloc(size) : NULL;
    w.staging_size = w.staging ? size : 0;
    if (size && !w.staging) fail(NUT_E_MEMORY, "no memory is left for this many bytes; close other tabs");
    return w.staging;
}

/* ---- prompts ---- */

/* What is known of the model: five texts of these numbers of bytes, one after another in the staging buffer,
 * which is kept. A number below 0: there is no such text. */
int nutm_model(double n_name, double n_source, double n_tool_source, double n_bos, double n_eos) {
    free(w.texts);
    char *at = w.texts = (char *)w.staging;
    w.staging = NULL;
    w.staging_size = 0;
    w.model = (nut_chat_model){.n_source = to_size(n_source),
                               .n_tool_source = to_size(n_tool_source),
                               .n_bos = to_size(n_bos),
                               .n_eos = to_size(n_eos)};
    w.model.name = at, at += to_size(n_name);
    w.model.source = n_source < 0 ? NULL : at, at += w.model.n_source;
    w.model.tool_source = n_tool_source < 0 ? NULL : at, at += w.model.n_tool_source;
    w.model.bos = at, at += w.model.n_bos;
    w.model.eos = at;
    return 0;
}

/* messages, variables: JSON; source: of a template, or 0 for the model's; prompt: whether the answer is
 * opened; now: local time in seconds since 1970; leave_out: turns. */
const nutw_prompt *nutm_write(const char *messages, double n_messages, const char *variables,
                              double n_variables, const char *source, double n_source, int prompt,
                              double now, double leave_out) {
    size_t n_text, n_dropped;
    nut_chat *chat;
    const nut_chat_options o = {.source = source,
                                .n_source = to_size(n_source),
                                .variables = variables,
                                .n_variables = to_size(n_variables),
                                .no_prompt = !prompt,
                                .now = (int64_t)now,
                                .leave_out = (uint32_t)to_size(leave_out)};
    nut_chat_free(w.chat);
    w.chat = NULL;
    if (nut_chat_write(&w.model, messages, to_size(n_messages), &o, &chat, &w.err) != NUT_OK) return NULL;
    w.chat = chat;
    w.prompt.text = address(nut_chat_text(chat, &n_text));
    w.prompt.textBytes = (double)n_text;
    w.prompt.marks = address(nut_chat_marks(chat));
    w.prompt.turns = nut_chat_n_turns(chat);
    w.prompt.dropped = address(nut_chat_dropped(chat, &n_dropped));
    w.prompt.droppedCount = (double)n_dropped;
    w.prompt.name = address(nut_chat_template(chat));
    return &w.prompt;
}

/* The turns to leave out of the next prompt, while those are looked for with which it fits; -1: the one that
 * was written last is to be taken. begins: it was the first. */
int nutm_leave_out(int begins, int fits) {
    if (begins) w.trim = (nut_chat_trim){0};
    return nut_chat_trim_next(&w.trim, (uint32_t)w.prompt.turns, fits) ? (int)w.trim.leave_out : -1;
}

/* ---- answers ---- */

/* Takes an event of an answer: n bytes at text, until it returns. JavaScript provides it. */
void nut_chat_event(int kind, unsigned call, const char *text, size_t n)
    __attribute__((import_module("env"), import_name("nut_chat_event")));

static void take_event(void *user, const nut_answer_event *e) {
    (void)user;
    nut_chat_event((int)e->kind, e->call, e->text, e->n);
}

/* Begins to take apart the answer to the prompt that was written last. source: the template, where it was
 * given; tools: JSON, or 0; n_calls: in the messages. Returns its address; 0: it failed. */
nut_answer *nutm_answer_new(const char *source, double n_source, const char *tools, double n_tools,
                            double n_calls) {
    const bool for_tools = w.model.tool_source && !strcmp(nut_chat_template(w.chat), "tool_use");
    nut_answer *answer;
    nut_answer_options o = {.chat_template = for_tools ? w.model.tool_source : w.model.source,
                            .n_template = for_tools ? w.model.n_tool_source : w.model.n_source,
                            .tools = tools,
                            .n_tools = to_size(n_tools),
                            .n_calls_before = (uint32_t)to_size(n_calls),
                            .event = take_event};
    if (source) o.chat_template = source, o.n_template = to_size(n_source);
    o.prompt = nut_chat_text(w.chat, &o.n_prompt);
    return nut_answer_new(&o, &answer, &w.err) == NUT_OK ? answer : NULL;
}

/* Mark i of the answer's format, terminated; 0 behind the last. See nut_answer_mark. */
const char *nutm_answer_mark(const nut_answer *answer, unsigned i) {
    return nut_answer_mark(answer, i);
}

/* Takes the first n bytes of the staging buffer as more of the answer. */
int nutm_answer_feed(nut_answer *answer, double n) {
    if (to_size(n) > w.staging_size) return fail(NUT_E_ARGUMENT, "more bytes than were staged");
    return nut_answer_feed(answer, (const char *)w.staging, to_size(n), &w.err) == NUT_OK ? 0 : -1;
}

void nutm_answer_end(nut_answer *answer) {
    nut_answer_end(answer);
}

void nutm_answer_free(nut_answer *answer) {
    nut_answer_free(answer);
}
