/* Continuations of prompts by a model and its reference, greedily, to be read side by side. */
#include "cli/report.h"

#include <stdlib.h>
#include <string.h>

enum { TOKENS = 60, CONTEXT = 512, MOST_PROMPTS = 100 };

static const char prompts[] = "The capital of France is\n"
                              "Once upon a time, there was a little girl who\n"
                              "To make a good cup of tea, first\n"
                              "def fibonacci(n):\n"
                              "The three most important things to know about the moon are\n"
                              "Dear Sir or Madam, I am writing to you because\n";

typedef struct continuation {
    char *text;
    size_t n;
    int32_t ids[TOKENS];
    uint32_t n_ids;
} continuation;

static nut_status add_step(continuation *c, const nut_step *step, nut_error *err) {
    char *grown = realloc(c->text, c->n + step->n_text + 1);
    if (!grown) return cli_error(err, NUT_E_MEMORY, "out of memory");
    c->text = grown;
    if (step->n_text) memcpy(grown + c->n, step->text, step->n_text);
    c->n += step->n_text;
    grown[c->n] = 0;
    if (step->token >= 0 && c->n_ids < TOKENS) c->ids[c->n_ids++] = step->token;
    return NUT_OK;
}

static nut_status continue_one(const nut_model *m, nut_session *s, const char *prompt, continuation *c,
                               nut_error *err) {
    nut_generate_options o = nut_generate_defaults();
    nut_step step;
    int32_t *ids;
    size_t n;
    o.temperature = 0;
    o.max_tokens = TOKENS;
    TRY(cli_tokenize(m, prompt, strlen(prompt), NUT_TOKENIZE_ADD_BOS, &ids, &n, err));
    nut_status status = nut_generate_begin(s, ids, n, &o, err);
    free(ids);
    do {
        if (status == NUT_OK) status = nut_generate_step(s, &step, err);
        if (status == NUT_OK) status = add_step(c, &step, err);
    } while (status == NUT_OK && step.kind != NUT_STEP_DONE);
    return status;
}

static nut_status open_session(const nut_model *m, uint32_t n_threads, nut_session **out, nut_error *err) {
    const uint32_t most = nut_model_n_ctx_train(m);
    const nut_session_options o = {.n_ctx = most < CONTEXT ? most : CONTEXT, .n_threads = n_threads};
    return m ? nut_session_new(m, &o, out, err) : NUT_OK;
}

/* One prompt, by both. */
static nut_status add(report *r, nut_session *s, nut_session *other, const char *prompt, size_t n,
                      nut_error *err) {
    report_continuation *grown =
        realloc(r->continuations, (r->n_continuations + 1) * sizeof *r->continuations);
    if (!grown) return cli_error(err, NUT_E_MEMORY, "out of memory");
    r->continuations = grown;
    report_continuation *c = &grown[r->n_continuations++];
    *c = (report_continuation){.prompt = malloc(n + 1)};
    if (!c->prompt) return cli_error(err, NUT_E_MEMORY, "out of memory");
    memcpy(c->prompt, prompt, n);
    c->prompt[n] = 0;
    continuation a = {0}, b = {0};
    nut_status status = continue_one(r->model.model, s, c->prompt, &a, err);
    if (status == NUT_OK && other) status = continue_one(r->reference.model, other, c->prompt, &b, err);
    c->model = a.text, c->reference = b.text, c->n = a.n_ids;
    while (c->n_same < a.n_ids && c->n_same < b.n_ids && a.ids[c->n_same] == b.ids[c->n_same]) c->n_same++;
    return status;
}

static nut_status add_all(report *r, nut_session *s, nut_session *other, const char *text, nut_error *err) {
    for (const char *line = text; *line && r->n_continuations < MOST_PROMPTS;) {
        const size_t n = strcspn(line, "\r\n");
        if (n) {
            fprintf(stderr, "\rcontinuing prompt %zu", r->n_continuations + 1);
            TRY(add(r, s, other, line, n, err));
        }
        line += n + (line[n] != 0);
    }
    return r->n_continuations ? NUT_OK : cli_error(err, NUT_E_ARGUMENT, "the file of prompts is empty");
}

nut_status continue_prompts(const nut_model *model, const nut_model *reference, const char *text,
                            uint32_t n_threads, report *r, nut_error *err) {
    nut_session *s = NULL, *other = NULL;
    nut_status status = open_session(model, n_threads, &s, err);
    if (status == NUT_OK && reference) status = open_session(reference, n_threads, &other, err);
    if (status == NUT_OK) status = add_all(r, s, other, text ? text : prompts, err);
    fputc('\n', stderr);
    nut_session_free(s);
    nut_session_free(other);
    return status;
}
