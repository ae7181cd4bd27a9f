/* nutshell calibrate. */
#include "cli/cli.h"
#include "cli/conversations.h"

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

typedef struct rendering {
    nut_model *m;
    collected *c;
} rendering;

static nut_status add_conversation(void *ctx, const char *messages, size_t n, nut_error *err) {
    const rendering *r = ctx;
    const nut_chat_options o = {.no_prompt = true};
    size_t n_text;
    nut_chat *chat;
    TRY(nut_chat_render(r->m, messages, n, &o, &chat, err));
    const char *text = nut_chat_text(chat, &n_text);
    const nut_status status = append(r->c, text, n_text, err);
    nut_chat_free(chat);
    return status;
}

/* All conversations of a file as the model's template writes them, one after the other. */
static nut_status render_conversations(const char *model, const char *path, collected *c, nut_error *err) {
    const file_options header = {.header_only = true};
    rendering r = {.c = c};
    TRY(file_load_model(model, &header, &r.m, err));
    const nut_status status = conversations_each(path, add_conversation, &r, err);
    nut_model_free(r.m);
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
