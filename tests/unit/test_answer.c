/* Answers taken apart (src/chat/answer.h): calls, reasoning and content of the families' formats, whatever
 * pieces the text comes in; what is no call stays text. */
#include "answers.h"
#include "check.h"
#include "data.h"

#include "chat/answer.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_CALLS = 8, MOST_TEXT = 4096 };

/* ---- what an answer was taken apart into ---- */

typedef struct told_call {
    char name[64], arguments[1024], id[64];
    bool ended;
} told_call;

typedef struct told {
    char content[MOST_TEXT], reasoning[MOST_TEXT];
    told_call calls[MOST_CALLS];
    size_t n_calls, n_events;
    bool right; // events came in an order that makes sense
} told;

static void add(char *to, size_t cap, const nut_answer_event *e) {
    const size_t n = strlen(to);
    if (n + e->n >= cap) return;
    memcpy(to + n, e->text, e->n);
    to[n + e->n] = 0;
}

static void take_event(void *user, const nut_answer_event *e) {
    told *t = user;
    const bool open = t->n_calls && !t->calls[t->n_calls - 1].ended;
    told_call *c = open ? &t->calls[t->n_calls - 1] : NULL;
    t->n_events++;
    if ((e->kind >= NUT_ANSWER_ARGUMENTS && e->kind <= NUT_ANSWER_NO_CALL) != open) t->right = false;
    if (e->kind >= NUT_ANSWER_CALL && e->call != t->n_calls - open) t->right = false;
    switch (e->kind) {
    case NUT_ANSWER_CONTENT: add(t->content, sizeof t->content, e); break;
    case NUT_ANSWER_REASONING: add(t->reasoning, sizeof t->reasoning, e); break;
    case NUT_ANSWER_CALL:
        if (t->n_calls == MOST_CALLS) break;
        memset(&t->calls[t->n_calls], 0, sizeof *t->calls);
        add(t->calls[t->n_calls].name, sizeof t->calls->name, e);
        t->n_calls++;
        break;
    case NUT_ANSWER_ARGUMENTS:
        if (c) add(c->arguments, sizeof c->arguments, e);
        break;
    case NUT_ANSWER_CALL_END:
        if (c) c->ended = true, add(c->id, sizeof c->id, e);
        break;
    default:
        if (c) t->n_calls--;
    }
}

/* Feeds a text in two pieces, or (cut == n + 1) byte by byte. */
static bool take_apart(const nut_answer_options *options, const char *text, size_t cut, told *out) {
    const size_t n = strlen(text);
    nut_answer_options o = *options;
    nut_answer *answer;
    nut_error err;
    memset(out, 0, sizeof *out);
    out->right = true;
    o.event = take_event;
    o.user = out;
    if (nut_answer_new(&o, &answer, &err) != NUT_OK) return CHECK(false, "%s", err.message);
    bool fine = true;
    for (size_t at = 0; at < n;) {
        const size_t step = cut > n ? 1 : at < cut ? cut : n - at;
        fine = fine && nut_answer_feed(answer, text + at, step, &err) == NUT_OK;
        at += step;
    }
    nut_answer_end(answer);
    nut_answer_free(answer);
    return fine && out->right;
}

/* ---- comparing ---- */

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Equal but for space around them, which llama.cpp's tests do not compare either. */
static bool same_text(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    while (n && is_space(*a)) a++, n--;
    while (m && is_space(*b)) b++, m--;
    while (n && is_space(a[n - 1])) n--;
    while (m && is_space(b[m - 1])) m--;
    return n == m && !memcmp(a, b, n);
}

/* Equal but for space outside of texts. */
static bool same_json(const char *a, const char *b) {
    bool text = false;
    for (;; a++, b++) {
        while (!text && is_space(*a)) a++;
        while (!text && is_space(*b)) b++;
        if (*a != *b) return false;
        if (!*a) return true;
        if (text && *a == '\\' && a[1] && a[1] == b[1])
            a++, b++;
        else if (*a == '"')
            text = !text;
    }
}

static bool same_calls(const expected_answer *e, const told *t) {
    size_t n = 0;
    for (; n < 3 && e->calls[n].name; n++) {
        if (n >= t->n_calls) return false;
        const told_call *c = &t->calls[n];
        const char *id = e->calls[n].id;
        if (!c->ended || strcmp(c->name, e->calls[n].name) ||
            !same_json(c->arguments, e->calls[n].arguments))
            return false;
        if (id ? strcmp(id, c->id) : strncmp(c->id, "call0", 5)) return false;
    }
    return n == t->n_calls;
}

static void print_told(const told *t) {
    printf("  content \"%s\", reasoning \"%s\"\n", t->content, t->reasoning);
    for (size_t i = 0; i < t->n_calls; i++)
        printf("  call %s %s id %s%s\n", t->calls[i].name, t->calls[i].arguments, t->calls[i].id,
               t->calls[i].ended ? "" : " (not ended)");
}

static void check_case(const expected_answer *e) {
    const nut_answer_options o = {.format = e->format,
                                  .chat_template = e->template,
                                  .n_template = e->template ? strlen(e->template) : 0,
                                  .prompt = e->prompt,
                                  .n_prompt = e->prompt ? strlen(e->prompt) : 0,
                                  .tools = e->tools,
                                  .n_tools = e->tools ? strlen(e->tools) : 0};
    static told t;
    const size_t n = strlen(e->text);
    for (size_t cut = 1; cut <= n + 1; cut++) {
        const bool same = take_apart(&o, e->text, cut, &t) && same_calls(e, &t) &&
                          same_text(t.content, e->content ? e->content : "") &&
                          same_text(t.reasoning, e->reasoning ? e->reasoning : "");
        if (CHECK(same, "%s, cut at %zu: %s", e->format ? e->format : "-", cut, e->text)) continue;
        print_told(&t);
        return;
    }
}

/* Nothing of a text is lost or changed where all of it is content, space too. */
static void check_space(void) {
    static const char *const texts[] = {"  \n a \n\n", " ", "\n\n<tool_call> \n x \n", "a\n",
                                        "\t<tool_c \n"};
    const nut_answer_options o = {.format = "hermes"};
    static told t;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t cut = 1; cut <= strlen(texts[i]) + 1; cut++)
            CHECK(take_apart(&o, texts[i], cut, &t) && !strcmp(t.content, texts[i]), "\"%s\" gives \"%s\"",
                  texts[i], t.content);
}

/* A call is told while it comes, and taken back where it turns out to be none. */
static void check_streamed(void) {
    static told t;
    nut_answer *answer;
    nut_error err;
    const nut_answer_options o = {.format = "hermes", .event = take_event, .user = &t};
    memset(&t, 0, sizeof t);
    t.right = true;
    if (!CHECK(nut_answer_new(&o, &answer, &err) == NUT_OK, "%s", err.message)) return;
    const char *text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1";
    CHECK(nut_answer_feed(answer, text, strlen(text), &err) == NUT_OK, "%s", err.message);
    CHECK(t.n_calls == 1 && !strcmp(t.calls[0].name, "f") && !strcmp(t.calls[0].arguments, "{\"a\": 1"),
          "%s", t.calls[0].arguments);
    CHECK(nut_answer_feed(answer, ";", 1, &err) == NUT_OK && t.n_calls == 0, "%zu calls", t.n_calls);
    nut_answer_end(answer);
    CHECK(t.right && strstr(t.content, "\"a\": 1;"), "\"%s\"", t.content);
    CHECK(nut_answer_feed(answer, "x", 1, &err) == NUT_E_STATE, "%s", err.message);
    nut_answer_end(answer);
    nut_answer_free(answer);
    nut_answer_free(NULL);
}

static void check_options(void) {
    nut_answer *answer = NULL;
    nut_error err;
    nut_answer_options o = {.format = "no such", .event = take_event};
    CHECK(nut_answer_new(&o, &answer, &err) == NUT_E_ARGUMENT && !answer, "%s", err.message);
    o = (nut_answer_options){.tools = "[1", .n_tools = 2};
    CHECK(nut_answer_new(&o, &answer, &err) == NUT_E_ARGUMENT && !answer, "%s", err.message);
    o = (nut_answer_options){.format = "deepseek", .chat_template = THINK, .n_template = strlen(THINK)};
    if (!CHECK(nut_answer_new(&o, &answer, &err) == NUT_OK, "%s", err.message)) return;
    size_t n = 0, n_sep = 0;
    for (const char *m; (m = nut_answer_mark(answer, n)) != NULL; n++) n_sep += !strcmp(m, "<｜tool▁sep｜>");
    CHECK(n == 20 && n_sep == 1 && !strcmp(nut_answer_mark(answer, 1), "</think>"), "%zu marks", n);
    CHECK(!strcmp(nut_answer_format(answer), "deepseek"), "%s", nut_answer_format(answer));
    nut_answer_free(answer);
}

/* Which format the published templates have. */
static void check_templates(void) {
    static const struct {
        const char *file, *format;
    } files[] = {
        {"Apertus-8B-Instruct", "apertus"},
        {"ByteDance-Seed-OSS", "seed"},
        {"CohereForAI-c4ai-command-r-plus-tool_use", "command-r"},
        {"GLM-4.6", "glm"},
        {"GLM-4.7-Flash", "glm"},
        {"GigaChat3.1-10B-A1.8B", "gigachat-3.1"},
        {"HuggingFaceTB-SmolLM3-3B", NULL},
        {"Kimi-K2-Thinking", "kimi-k2"},
        {"LFM2-8B-A1B", "lfm2"},
        {"MiMo-VL", "hermes"},
        {"MiniMax-M2", "minimax"},
        {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "qwen3-coder"},
        {"NVIDIA-Nemotron-Nano-v2", "nemotron-v2"},
        {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "hermes"},
        {"Qwen-QwQ-32B", "hermes"},
        {"Qwen-Qwen3-0.6B", "hermes"},
        {"Qwen3-Coder", "qwen3-coder"},
        {"Reka-Edge", "hermes"},
        {"StepFun3.5-Flash", "qwen3-coder"},
        {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek"},
        {"deepseek-ai-DeepSeek-V3.1", "deepseek"},
        {"fireworks-ai-llama-3-firefunction-v2", "firefunction"},
        {"google-gemma-2-2b-it", NULL},
        {"google-gemma-4-31B-it", "gemma-4"},
        {"ibm-granite-granite-3.3-2B-Instruct", "granite-3"},
        {"llama-cpp-deepseek-r1", "deepseek"},
        {"llama-cpp-rwkv-world", NULL},
        {"meetkai-functionary-medium-v3.2", "functionary-v3.2"},
        {"meta-llama-Llama-3.1-8B-Instruct", "llama-3"},
        {"meta-llama-Llama-3.3-70B-Instruct", "llama-3"},
        {"microsoft-Phi-3.5-mini-instruct", NULL},
        {"mistralai-Mistral-Nemo-Instruct-2407", "mistral"},
        {"moonshotai-Kimi-K2", "kimi-k2"},
        {"unsloth-Apriel-1.5", "apriel"},
        {"upstage-Solar-Open-100B", "solar"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[128];
        size_t n = 0;
        nut_answer *answer;
        nut_error err;
        snprintf(name, sizeof name, "chat-templates/%s.jinja", files[i].file);
        char *text = data_read(name, &n);
        if (!text) {
            CHECK_SKIP("%s is missing", name);
            continue;
        }
        const nut_answer_options o = {.chat_template = text, .n_template = n, .event = take_event};
        if (CHECK(nut_answer_new(&o, &answer, &err) == NUT_OK, "%s", err.message)) {
            const char *found = nut_answer_format(answer);
            CHECK(found == files[i].format || (found && files[i].format && !strcmp(found, files[i].format)),
                  "%s: %s", name, found ? found : "none");
            nut_answer_free(answer);
        }
        free(text);
    }
}

int main(void) {
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) check_case(&answers[i]);
    check_space();
    check_streamed();
    check_options();
    check_templates();
    return check_report();
}
