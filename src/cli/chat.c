/*
 * nutshell chat: a conversation by the model's own template. Messages are typed on a terminal, or are the
 * lines of stdin, or, with --json, whole conversations: an array of messages, or an object with "messages"
 * and whatever else the template knows, such as "tools"; each gets one line of JSON.
 */
#include "cli/console.h"
#include "cli/generate.h"
#include "cli/json.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- an answer ---- */

typedef struct answer {
    bool shown; // on stdout while it comes, reasoning and calls on stderr
    json_buffer content, reasoning;
    json_buffer calls;  // for clients: arguments are a text
    json_buffer stored; // for templates: arguments are an object
    json_buffer name, arguments;
    uint32_t n_calls;
} answer;

static void answer_free(answer *a) {
    json_buffer *const all[] = {&a->content, &a->reasoning, &a->calls, &a->stored, &a->name, &a->arguments};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]->text);
}

static bool has_failed(const answer *a) {
    return a->content.failed || a->reasoning.failed || a->calls.failed || a->stored.failed ||
           a->name.failed || a->arguments.failed;
}

static void put_call(json_buffer *b, const answer *a, const char *id, size_t n, bool as_text) {
    json_put(b, b->n ? "," : "");
    json_put(b, "{\"id\":");
    json_put_text(b, id, n);
    json_put(b, ",\"type\":\"function\",\"function\":{\"name\":");
    json_put_text(b, a->name.text, a->name.n);
    json_put(b, ",\"arguments\":");
    if (as_text)
        json_put_text(b, a->arguments.text, a->arguments.n);
    else
        json_put_bytes(b, a->arguments.text, a->arguments.n);
    json_put(b, "}}");
}

static void end_call(answer *a, const char *id, size_t n) {
    put_call(&a->calls, a, id, n, true);
    put_call(&a->stored, a, id, n, false);
    a->n_calls++;
    if (a->shown)
        fprintf(stderr, "[%.*s %.*s]\n", (int)a->name.n, a->name.text, (int)a->arguments.n,
                a->arguments.text);
}

static void take_event(void *user, const nut_answer_event *e) {
    answer *a = user;
    switch (e->kind) {
    case NUT_ANSWER_CONTENT:
        json_put_bytes(&a->content, e->text, e->n);
        if (a->shown) fwrite(e->text, 1, e->n, stdout), fflush(stdout);
        break;
    case NUT_ANSWER_REASONING:
        json_put_bytes(&a->reasoning, e->text, e->n);
        if (a->shown) fwrite(e->text, 1, e->n, stderr);
        break;
    case NUT_ANSWER_CALL:
        a->name.n = a->arguments.n = 0;
        json_put_bytes(&a->name, e->text, e->n);
        break;
    case NUT_ANSWER_ARGUMENTS: json_put_bytes(&a->arguments, e->text, e->n); break;
    case NUT_ANSWER_CALL_END: end_call(a, e->text, e->n); break;
    default: break;
    }
}

/* ---- a turn ---- */

typedef struct chat {
    const generate_args *args;
    const nut_model *model;
    nut_session *session;
    char *source, *tools; // what the files hold, or NULL
    size_t n_source, n_tools;
    uint32_t n_calls;  // in the conversation
    uint32_t *dropped; // (n_dropped) messages that were left out of the last prompt
    size_t n_dropped;
    size_t n_prompt, n_tokens;
    nut_finish finish;
} chat;

/* Seconds since 1970 by the clock on the wall. */
static int64_t local_time(void) {
    time_t now = time(NULL);
    struct tm utc = *gmtime(&now);
    utc.tm_isdst = 0;
    return (int64_t)now + (int64_t)(now - mktime(&utc));
}

/* Special tokens that the format of the answer is marked with. */
static size_t find_shown(const chat *c, const nut_answer *parser, int32_t ids[NUT_MAX_SHOWN]) {
    size_t n = 0, n_ids;
    nut_error ignored;
    const char *mark;
    for (size_t i = 0; n < NUT_MAX_SHOWN && (mark = nut_answer_mark(parser, i)) != NULL; i++)
        if (*mark && nut_tokenize(c->model, mark, strlen(mark), NUT_TOKENIZE_SPECIAL, ids + n, 1, &n_ids,
                                  &ignored) == NUT_OK)
            n += n_ids == 1;
    return n;
}

static nut_status read_answer(chat *c, const nut_chat *prompt, nut_answer *parser, nut_error *err) {
    int32_t shown[NUT_MAX_SHOWN];
    size_t n;
    const int32_t *ids = nut_chat_ids(prompt, &n);
    nut_generate_options o = c->args->options;
    nut_step step;
    o.stop = c->args->stop.items;
    o.n_stop = c->args->stop.n;
    o.shown = shown;
    o.n_shown = find_shown(c, parser, shown);
    o.shift = c->args->overflow && !strcmp(c->args->overflow, "shift");
    TRY(nut_generate_begin(c->session, ids, n, &o, err));
    c->n_prompt = n;
    do {
        TRY(generate_step(c->args, c->session, &step, err));
        TRY(nut_answer_feed(parser, step.text, step.n_text, err));
    } while (step.kind != NUT_STEP_DONE && !console_interrupted());
    nut_answer_end(parser);
    c->n_tokens = step.n_done;
    c->finish = step.finish;
    return NUT_OK;
}

/* The most ids that a prompt may have, so that an answer fits behind it; 0: no turns are left out. */
static uint32_t max_prompt(const chat *c) {
    const char *overflow = c->args->overflow;
    const uint32_t n_ctx = nut_session_n_ctx(c->session), most = c->args->options.max_tokens;
    if (overflow && strcmp(overflow, "trim")) return 0;
    return n_ctx - (most && most < n_ctx / 4 ? most : n_ctx / 4) - 1;
}

static nut_status keep_dropped(chat *c, const nut_chat *prompt, nut_error *err) {
    const uint32_t *dropped = nut_chat_dropped(prompt, &c->n_dropped);
    free(c->dropped);
    c->dropped = malloc((c->n_dropped + 1) * sizeof *c->dropped);
    if (!c->dropped) return cli_error(err, NUT_E_MEMORY, "out of memory");
    memcpy(c->dropped, dropped, c->n_dropped * sizeof *c->dropped);
    return NUT_OK;
}

/* Answers messages, an array of JSON, without the oldest turns where they do not fit and --overflow says so.
 */
static nut_status answer_messages(chat *c, const char *messages, size_t n, const char *variables,
                                  size_t n_variables, answer *a, nut_error *err) {
    const nut_chat_options co = {.source = c->source,
                                 .n_source = c->n_source,
                                 .variables = variables,
                                 .n_variables = n_variables,
                                 .now = local_time(),
                                 .max_ids = max_prompt(c)};
    nut_chat *prompt;
    nut_answer *parser = NULL;
    size_t n_template = 0;
    TRY(nut_chat_render(c->model, messages, n, &co, &prompt, err));
    const char *own = nut_model_meta(c->model, "tokenizer.chat_template", &n_template);
    nut_answer_options ao = {.chat_template = c->source ? c->source : own,
                             .n_template = c->source ? c->n_source : n_template,
                             .format = c->args->format,
                             .tools = c->tools,
                             .n_tools = c->n_tools,
                             .n_calls_before = c->n_calls,
                             .event = take_event,
                             .user = a};
    ao.prompt = nut_chat_text(prompt, &ao.n_prompt);
    nut_status status = keep_dropped(c, prompt, err);
    if (status == NUT_OK) status = nut_answer_new(&ao, &parser, err);
    if (status == NUT_OK) status = read_answer(c, prompt, parser, err);
    nut_answer_free(parser);
    nut_chat_free(prompt);
    if (status == NUT_OK && has_failed(a))
        return cli_error(err, NUT_E_MEMORY, "out of memory for an answer");
    c->n_calls += a->n_calls;
    return status;
}

/* ---- conversations as JSON ---- */

static nut_status print_answer(const chat *c, const answer *a, nut_error *err) {
    json_buffer b = {0};
    json_put(&b, "{\"content\":");
    json_put_text(&b, a->content.text, a->content.n);
    json_put(&b, ",\"reasoning\":");
    json_put_text(&b, a->reasoning.text, a->reasoning.n);
    json_put(&b, ",\"tool_calls\":[");
    json_put_bytes(&b, a->calls.text, a->calls.n);
    if (b.failed) {
        free(b.text);
        return cli_error(err, NUT_E_MEMORY, "out of memory for an answer");
    }
    printf("%s],\"dropped\":[", b.text ? b.text : "");
    for (size_t i = 0; i < c->n_dropped; i++) printf("%s%u", i ? "," : "", (unsigned)c->dropped[i]);
    printf("],\"finish\":\"%s\",\"prompt_tokens\":%zu,\"tokens\":%zu}\n", generate_finish_name(c->finish),
           c->n_prompt, c->n_tokens);
    fflush(stdout);
    free(b.text);
    return NUT_OK;
}

/* The entries of an object but "messages", and *messages. */
static nut_status split_request(json_part all, json_part *messages, json_part *tools, json_buffer *rest,
                                nut_error *err) {
    json_part key, value;
    *messages = *tools = (json_part){0};
    json_put(rest, "{");
    for (json_part at = all; json_next(&at, &key, &value);) {
        if (json_is(key, "messages")) {
            *messages = value;
            continue;
        }
        if (json_is(key, "tools")) *tools = value;
        json_put(rest, rest->n > 1 ? "," : "");
        json_put_bytes(rest, key.text, key.n);
        json_put(rest, ":");
        json_put_bytes(rest, value.text, value.n);
    }
    json_put(rest, "}");
    if (rest->failed) return cli_error(err, NUT_E_MEMORY, "out of memory for a conversation");
    if (!messages->n) return cli_error(err, NUT_E_ARGUMENT, "a conversation needs an array \"messages\"");
    return NUT_OK;
}

static nut_status answer_request(chat *c, json_part request, nut_error *err) {
    json_part messages = request, tools = {0};
    json_buffer rest = {0};
    answer a = {0};
    nut_status status =
        *request.text == '{' ? split_request(request, &messages, &tools, &rest, err) : NUT_OK;
    char *const files = c->tools;
    const size_t n_files = c->n_tools;
    if (tools.n) c->tools = (char *)(uintptr_t)tools.text, c->n_tools = tools.n;
    c->n_calls = 0;
    if (status == NUT_OK) status = answer_messages(c, messages.text, messages.n, rest.text, rest.n, &a, err);
    c->tools = files;
    c->n_tools = n_files;
    if (status == NUT_OK) status = print_answer(c, &a, err);
    answer_free(&a);
    free(rest.text);
    return status;
}

/* All of standard input. */
static nut_status read_input(json_buffer *out, nut_error *err) {
    char *line = NULL;
    size_t cap = 0;
    bool more = true;
    nut_status status = NUT_OK;
    while (status == NUT_OK && more) {
        status = file_read_line(stdin, &line, &cap, &more, err);
        if (status == NUT_OK && more) json_put(out, line), json_put(out, "\n");
    }
    free(line);
    return status == NUT_OK && out->failed ? cli_error(err, NUT_E_MEMORY, "out of memory") : status;
}

static nut_status answer_requests(chat *c, nut_error *err) {
    json_buffer text = {0};
    json_part request;
    nut_status status = read_input(&text, err);
    json_part at = {text.text, text.n};
    while (status == NUT_OK && json_take(&at, &request)) status = answer_request(c, request, err);
    if (status == NUT_OK && at.n)
        status = cli_error(err, NUT_E_ARGUMENT, "standard input holds no conversation at byte %zu",
                           text.n - at.n);
    free(text.text);
    return status;
}

/* ---- conversations of lines ---- */

typedef struct transcript {
    json_buffer *items; // (n) messages, a JSON object each
    size_t n;
} transcript;

static nut_status add_message(transcript *t, const char *role, const answer *a, const char *text, size_t n,
                              nut_error *err) {
    json_buffer *grown = realloc(t->items, (t->n + 1) * sizeof *grown), m = {0};
    if (!grown) return cli_error(err, NUT_E_MEMORY, "out of memory");
    t->items = grown;
    json_put(&m, "{\"role\":\"");
    json_put(&m, role);
    json_put(&m, "\",\"content\":");
    json_put_text(&m, text, n);
    if (a && a->reasoning.n)
        json_put(&m, ",\"reasoning_content\":"), json_put_text(&m, a->reasoning.text, a->reasoning.n);
    if (a && a->stored.n)
        json_put(&m, ",\"tool_calls\":["), json_put_bytes(&m, a->stored.text, a->stored.n),
            json_put(&m, "]");
    json_put(&m, "}");
    t->items[t->n++] = m;
    return m.failed ? cli_error(err, NUT_E_MEMORY, "out of memory") : NUT_OK;
}

/* Forgets the messages that were left out, so that they are not rendered again and again. */
static void forget_dropped(transcript *t, const chat *c) {
    size_t kept = 0, next = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (next < c->n_dropped && c->dropped[next] == i)
            free(t->items[i].text), next++;
        else
            t->items[kept++] = t->items[i];
    }
    t->n = kept;
    if (next) fprintf(stderr, "(%zu messages were left out: the context is full)\n", next);
}

static json_buffer all_messages(const transcript *t) {
    json_buffer b = {0};
    json_put(&b, "[");
    for (size_t i = 0; i < t->n; i++)
        json_put(&b, i ? "," : ""), json_put_bytes(&b, t->items[i].text, t->items[i].n);
    json_put(&b, "]");
    return b;
}

static nut_status answer_transcript(chat *c, transcript *t, const json_buffer *variables, answer *a,
                                    nut_error *err) {
    json_buffer messages = all_messages(t);
    const nut_status status = messages.failed ? cli_error(err, NUT_E_MEMORY, "out of memory")
                                              : answer_messages(c, messages.text, messages.n,
                                                                variables->text, variables->n, a, err);
    free(messages.text);
    if (status == NUT_OK) forget_dropped(t, c);
    return status;
}

/* What was answered when Ctrl-C came stays in the conversation; a message without any answer does not. */
static void end_interrupted(transcript *t, const answer *a) {
    fputs(" (stopped)", stderr);
    if (!a->content.n) free(t->items[--t->n].text);
}

static nut_status answer_line(chat *c, transcript *t, const json_buffer *variables, const char *line,
                              nut_error *err) {
    answer a = {.shown = true};
    nut_status status = add_message(t, "user", NULL, line, strlen(line), err);
    if (status == NUT_OK) status = answer_transcript(c, t, variables, &a, err);
    if (status == NUT_OK && console_interrupted()) end_interrupted(t, &a);
    if (status == NUT_OK && (a.content.n || !console_interrupted()))
        status = add_message(t, "assistant", &a, a.content.text, a.content.n, err);
    putchar('\n');
    answer_free(&a);
    return status;
}

/* Where the messages come from. */
typedef struct source {
    bool typed;
    console console;
    char *line; // of stdin
    size_t cap;
} source;

static nut_status next_message(source *s, const char **line, bool *more, nut_error *err) {
    static const char prompt[] = "> ";
    if (s->typed) return console_read(&s->console, prompt, line, more, err);
    fputs(prompt, stderr);
    nut_status status = file_read_line(stdin, &s->line, &s->cap, more, err);
    *line = s->line;
    return status;
}

static nut_status converse(chat *c, source *s, transcript *t, const json_buffer *variables, nut_error *err) {
    const char *line = "";
    bool more = true;
    while (more) {
        TRY(next_message(s, &line, &more, err));
        if (!more || !*line) continue;
        if (s->typed) console_watch();
        const nut_status status = answer_line(c, t, variables, line, err);
        if (s->typed) console_unwatch();
        TRY(status);
    }
    return NUT_OK;
}

static nut_status answer_lines(chat *c, nut_error *err) {
    source s = {.typed = console_is_there()};
    transcript t = {0};
    json_buffer variables = {0};
    if (c->tools)
        json_put(&variables, "{\"tools\":"), json_put_bytes(&variables, c->tools, c->n_tools),
            json_put(&variables, "}");
    nut_status status = NUT_OK;
    if (c->args->system)
        status = add_message(&t, "system", NULL, c->args->system, strlen(c->args->system), err);
    if (status == NUT_OK) status = converse(c, &s, &t, &variables, err);
    for (size_t i = 0; i < t.n; i++) free(t.items[i].text);
    free(t.items);
    free(variables.text);
    free(s.line);
    console_free(&s.console);
    return status;
}

/* ---- the command ---- */

static nut_status check_overflow(const chat *c, nut_error *err) {
    const char *o = c->args->overflow;
    if (o && strcmp(o, "error") && strcmp(o, "trim") && strcmp(o, "shift"))
        return cli_error(err, NUT_E_ARGUMENT, "--overflow takes error, trim or shift, not \"%s\"", o);
    return o && !strcmp(o, "shift") ? nut_session_can_shift(c->session, err) : NUT_OK;
}

static nut_status answer_all(chat *c, nut_error *err) {
    TRY(check_overflow(c, err));
    if (c->args->source) TRY(file_read_text(c->args->source, &c->source, &c->n_source, err));
    if (c->args->tools) TRY(file_read_text(c->args->tools, &c->tools, &c->n_tools, err));
    return c->args->json ? answer_requests(c, err) : answer_lines(c, err);
}

static nut_status run_chat(const generate_args *a, const nut_model *m, nut_session *s, nut_error *err) {
    chat c = {.args = a, .model = m, .session = s};
    nut_status status = answer_all(&c, err);
    free(c.source);
    free(c.tools);
    free(c.dropped);
    return status;
}

nut_status command_chat(int argc, char **argv, nut_error *err) {
    const char *positionals[1];
    const arg_set set = {.command = "chat",
                         .positional = "MODEL [options]  (messages are typed, or lines of stdin)",
                         .positionals = positionals,
                         .n_positionals = 1};
    generate_args a;
    TRY(generate_read_args(&a, set, 1024, argc, argv, err));
    return generate_command(&a, positionals[0], run_chat, err);
}
