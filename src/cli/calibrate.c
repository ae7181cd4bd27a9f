/* nutshell calibrate. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- conversations ---- */

typedef struct collected {
    char *text;
    size_t n;
} collected;

static nut_status append(collected *c, const char *text, size_t n, nut_error *err) {
    char *grown = realloc(c->text, c->n + n + 1);
    if (!grown) return cli_error(err, NUT_E_MEMORY, "out of memory");
    memcpy(grown + c->n, text, n);
    c->text = grown;
    c->n += n;
    return NUT_OK;
}

/* The bytes of the array that a text begins with; 0: it does not end. */
static size_t array_bytes(const char *s, size_t n) {
    size_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"')
            while (++i < n && s[i] != '"') i += s[i] == '\\';
        else if (s[i] == '[' || s[i] == '{')
            depth++;
        else if ((s[i] == ']' || s[i] == '}') && --depth == 0)
            return i + 1;
    }
    return 0;
}

/* The array of messages of a line of n bytes: the line itself, or its member "messages". False: none. */
static bool find_messages(const char *line, size_t n, const char **messages, size_t *n_messages) {
    static const char key[] = "\"messages\"";
    const size_t n_key = sizeof key - 1;
    size_t at = 0;
    if (*line != '[') {
        while (at + n_key < n && memcmp(line + at, key, n_key) != 0) at++;
        at += n_key;
        while (at < n && strchr(" \t:", line[at])) at++;
    }
    if (at >= n || line[at] != '[') return false;
    *messages = line + at;
    *n_messages = array_bytes(line + at, n - at);
    return *n_messages;
}

static nut_status add_conversation(const nut_model *m, const char *line, size_t n, size_t number,
                                   collected *c, nut_error *err) {
    const nut_chat_options o = {.no_prompt = true};
    const char *messages;
    size_t n_messages, n_text;
    nut_chat *chat;
    if (!find_messages(line, n, &messages, &n_messages))
        return cli_error(err, NUT_E_ARGUMENT,
                         "line %zu holds no conversation: write {\"messages\": [{\"role\": \"user\", "
                         "\"content\": \"...\"}, ...]} in each line",
                         number);
    TRY(nut_chat_render(m, messages, n_messages, &o, &chat, err));
    const char *text = nut_chat_text(chat, &n_text);
    const nut_status status = append(c, text, n_text, err);
    nut_chat_free(chat);
    return status;
}

/* All conversations of a file as the model's template writes them, one after the other. */
static nut_status render_conversations(const char *model, const char *path, collected *c, nut_error *err) {
    const file_options header = {.header_only = true};
    nut_model *m = NULL;
    char *lines = NULL;
    size_t n, number = 0;
    TRY(file_read_text(path, &lines, &n, err));
    nut_status status = file_load_model(model, &header, &m, err);
    for (size_t at = 0; at < n && status == NUT_OK; number++) {
        const char *end = memchr(lines + at, '\n', n - at);
        const size_t length = end ? (size_t)(end - lines) - at : n - at;
        if (strspn(lines + at, " \t\r") < length)
            status = add_conversation(m, lines + at, length, number + 1, c, err);
        at += length + 1;
    }
    if (status == NUT_OK && !c->n)
        status = cli_error(err, NUT_E_ARGUMENT, "the file of conversations is empty");
    nut_model_free(m);
    free(lines);
    return status;
}

/* ---- the command ---- */

/* What to calibrate with; text NULL: what is built in. */
static nut_status take_text(const char *model, const char *text, const char *chat, collected *c,
                            nut_error *err) {
    if (text && chat)
        return cli_error(err, NUT_E_ARGUMENT, "give one of --text and --chat; they are different texts");
    if (text) return file_read_text(text, &c->text, &c->n, err);
    return chat ? render_conversations(model, chat, c, err) : NUT_OK;
}

nut_status command_calibrate(int argc, char **argv, nut_error *err) {
    nut_calibrate_options o = {.n_threads = 1, .keeps_state = true};
    const char *path = NULL, *chat = NULL, *out = NULL;
    const arg_option options[] = {
        {"--text", ARG_TEXT, &path, "file of text to run through the model (a text that is built in)"},
        {"--chat", ARG_TEXT, &chat,
         "conversations instead, JSON in each line, as the model's template writes them"},
        {"-o", ARG_TEXT, &out, "file of statistics to write, GGUF"},
        {"--parse-special", ARG_FLAG, &o.special, "read special tokens in the text (always with --chat)"},
        {"--context", ARG_U32, &o.window, "tokens that are run together (512)"},
        {"--threads", ARG_U32, &o.n_threads, "threads (1)"},
    };
    const char *p[1];
    arg_set set = {"calibrate", "MODEL -o STATS.gguf", options, COUNT(options), p, 1};
    collected c = {0};
    nut_job *job = NULL;
    TRY(args_parse(&set, argc, argv, err));
    if (!out)
        return cli_error(err, NUT_E_ARGUMENT, "-o is missing; usage: nutshell calibrate %s", set.positional);
    nut_status status = take_text(p[0], path, chat, &c, err);
    size_t n_text = c.n;
    const char *text = path || chat ? c.text : nut_calibrate_text(&n_text);
    o.special |= chat != NULL;
    if (status == NUT_OK) status = nut_calibrate_begin(&o, text, n_text, &job, err);
    if (status == NUT_OK) status = job_run_kept(job, p[0], out, err);
    nut_job_free(job);
    free(c.text);
    return status;
}
