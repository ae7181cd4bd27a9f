/*
 * nutshell generate-set: a model's answers to prompts, as conversations that another model can learn from
 * (sequence-level distillation: Kim and Rush 2016, arXiv 1606.07947, section 3.2). Answers that would teach
 * what is wrong are dropped, and counted: those without a word, those that were cut off, and those that
 * repeat themselves.
 */
#include "cli/conversations.h"
#include "cli/generate.h"
#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

enum { RUN = 4, FEWEST_RUNS = 16 }; // tokens that are compared with others; runs of an answer that is judged

typedef enum verdict { KEPT, EMPTY, REPEATING, TOO_LONG, N_VERDICTS } verdict;

typedef struct answer_set {
    const generate_args *a;
    const nut_model *m;
    nut_session *s;
    file_sink out;
    json_buffer text; // of the answer
    int32_t *ids;     // (n_ids, of cap) of it
    size_t n_ids, cap;
    uint64_t n_prompts, n[N_VERDICTS];
} answer_set;

/* ---- an answer ---- */

static nut_status keep_id(answer_set *g, int32_t id, nut_error *err) {
    if (id < 0) return NUT_OK;
    if (g->n_ids == g->cap) {
        const size_t cap = 2 * g->cap + 64;
        int32_t *ids = realloc(g->ids, cap * sizeof *ids);
        if (!ids) return cli_error(err, NUT_E_MEMORY, "out of memory");
        g->ids = ids, g->cap = cap;
    }
    g->ids[g->n_ids++] = id;
    return NUT_OK;
}

static nut_status answer(answer_set *g, const nut_chat *chat, nut_finish *finish, nut_error *err) {
    nut_generate_options o = g->a->options;
    nut_step step;
    size_t n;
    const int32_t *ids = nut_chat_ids(chat, &n);
    o.stop = g->a->stop.items, o.n_stop = g->a->stop.n;
    o.seed += g->n_prompts;
    g->text.n = 0, g->n_ids = 0;
    TRY(nut_generate_begin(g->s, ids, n, &o, err));
    do {
        TRY(generate_step(g->a, g->s, &step, err));
        json_put_bytes(&g->text, step.text, step.n_text);
        TRY(keep_id(g, step.token, err));
    } while (step.kind != NUT_STEP_DONE);
    *finish = step.finish;
    return g->text.failed ? cli_error(err, NUT_E_MEMORY, "out of memory") : NUT_OK;
}

static int compare_runs(const void *a, const void *b) {
    return memcmp(a, b, RUN * sizeof(int32_t));
}

/* Whether fewer than half of the runs of tokens are different ones. */
static nut_status check_repeating(const answer_set *g, bool *repeats, nut_error *err) {
    const size_t n = g->n_ids >= RUN ? g->n_ids - RUN + 1 : 0;
    size_t n_different = 1;
    *repeats = false;
    if (n < FEWEST_RUNS) return NUT_OK;
    int32_t(*runs)[RUN] = malloc(n * sizeof *runs);
    if (!runs) return cli_error(err, NUT_E_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) memcpy(runs[i], g->ids + i, sizeof *runs);
    qsort(runs, n, sizeof *runs, compare_runs);
    for (size_t i = 1; i < n; i++) n_different += compare_runs(runs[i - 1], runs[i]) != 0;
    free(runs);
    *repeats = 2 * n_different < n;
    return NUT_OK;
}

static nut_status judge(const answer_set *g, nut_finish finish, verdict *out, nut_error *err) {
    bool repeats;
    size_t words = 0;
    for (size_t i = 0; i < g->text.n; i++) words += !strchr(" \t\r\n", g->text.text[i]);
    TRY(check_repeating(g, &repeats, err));
    *out = !words ? EMPTY : repeats ? REPEATING : finish == NUT_FINISH_LENGTH ? TOO_LONG : KEPT;
    return NUT_OK;
}

/* ---- a line ---- */

static nut_status write_answer(answer_set *g, const char *messages, size_t n, nut_error *err) {
    json_buffer line = {0};
    json_put(&line, "{\"messages\":");
    json_put_bytes(&line, messages, n - 1); // but for the bracket
    json_put(&line, ",{\"role\":\"assistant\",\"content\":");
    json_put_text(&line, g->text.text, g->text.n);
    json_put(&line, "}]}\n");
    const nut_status status = line.failed ? cli_error(err, NUT_E_MEMORY, "out of memory")
                                          : file_sink_write(&g->out, g->out.at, line.text, line.n, err);
    free(line.text);
    return status;
}

static nut_status take_messages(answer_set *g, const char *messages, size_t n, nut_error *err) {
    nut_chat *chat;
    nut_finish finish = NUT_FINISH_NONE;
    verdict v = EMPTY;
    TRY(nut_chat_render(g->m, messages, n, &(nut_chat_options){0}, &chat, err));
    nut_status status = answer(g, chat, &finish, err);
    nut_chat_free(chat);
    if (status == NUT_OK) status = judge(g, finish, &v, err);
    g->n_prompts++, g->n[v]++;
    return status == NUT_OK && v == KEPT ? write_answer(g, messages, n, err) : status;
}

/* A line that is no JSON is what a user says. */
static nut_status take_line(answer_set *g, const char *line, size_t n, nut_error *err) {
    json_buffer made = {0};
    const char *messages;
    size_t n_messages;
    if (*line == '[' || *line == '{') {
        if (conversations_find(line, n, &messages, &n_messages))
            return take_messages(g, messages, n_messages, err);
        return cli_error(err, NUT_E_ARGUMENT,
                         "prompt %llu is JSON without messages: write {\"messages\": [{\"role\": \"user\", "
                         "\"content\": \"...\"}]}, or the text alone",
                         (unsigned long long)g->n_prompts + 1);
    }
    json_put(&made, "[");
    if (g->a->system) {
        json_put(&made, "{\"role\":\"system\",\"content\":");
        json_put_text(&made, g->a->system, strlen(g->a->system));
        json_put(&made, "},");
    }
    json_put(&made, "{\"role\":\"user\",\"content\":");
    json_put_text(&made, line, n);
    json_put(&made, "}]");
    const nut_status status = made.failed ? cli_error(err, NUT_E_MEMORY, "out of memory")
                                          : take_messages(g, made.text, made.n, err);
    free(made.text);
    return status;
}

static nut_status take_prompts(answer_set *g, nut_error *err) {
    FILE *from = fopen(g->a->prompt, "rb");
    char *line = NULL;
    size_t cap = 0;
    bool more = true;
    if (!from) return cli_error(err, NUT_E_IO, "cannot open \"%s\"", g->a->prompt);
    nut_status status = NUT_OK;
    while (status == NUT_OK && more) {
        status = file_read_line(from, &line, &cap, &more, err);
        if (status == NUT_OK && more && line[strspn(line, " \t\r")])
            status = take_line(g, line, strlen(line), err);
    }
    fclose(from);
    free(line);
    if (status == NUT_OK && !g->n[KEPT])
        return cli_error(
            err, NUT_E_ARGUMENT,
            "no answer is left of %llu: %llu empty, %llu repeating, %llu longer than %u tokens; "
            "give other prompts, or a higher --temperature or --max-tokens",
            (unsigned long long)g->n_prompts, (unsigned long long)g->n[EMPTY],
            (unsigned long long)g->n[REPEATING], (unsigned long long)g->n[TOO_LONG],
            g->a->options.max_tokens);
    return status;
}

/* ---- the command ---- */

static nut_status run_set(const generate_args *a, const nut_model *m, nut_session *s, nut_error *err) {
    answer_set g = {.a = a, .m = m, .s = s};
    nut_status status = file_sink_open(a->output, &g.out, err);
    const bool opened = status == NUT_OK;
    if (opened) status = take_prompts(&g, err);
    if (status == NUT_OK)
        status = file_sink_commit(&g.out, err);
    else if (opened)
        file_sink_abort(&g.out);
    if (status == NUT_OK)
        fprintf(stderr, "prompts: %llu; answers: %llu; dropped: %llu empty, %llu repeating, %llu too long\n",
                (unsigned long long)g.n_prompts, (unsigned long long)g.n[KEPT],
                (unsigned long long)g.n[EMPTY], (unsigned long long)g.n[REPEATING],
                (unsigned long long)g.n[TOO_LONG]);
    free(g.text.text);
    free(g.ids);
    return status;
}

nut_status command_generate_set(int argc, char **argv, nut_error *err) {
    const char *positionals[3];
    const arg_set set = {.command = "generate-set",
                         .positional = "MODEL PROMPTS OUT.jsonl [options]",
                         .positionals = positionals,
                         .n_positionals = 3};
    generate_args a;
    TRY(generate_read_args(&a, set, 256, argc, argv, err));
    a.prompt = positionals[1];
    a.output = positionals[2];
    return generate_command(&a, positionals[0], run_set, err);
}
