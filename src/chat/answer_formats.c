/* The formats of calls: a row for each, and the functions that read them. What the models' own templates and
 * documentation say is the source; llama.cpp's tests of them are ours too (tests/unit/test_answer.c). */
#include "chat/answer.h"

#include <string.h>

/* ---- JSON between marks ---- */

/* Objects, one after the other, up to words[0]. */
static answer_verdict read_objects(nut_answer *p) {
    bool found = false;
    READ_BEGIN(0);
    while (!found) {
        READ(answer_json_call(p));
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, p->format->words[0]));
        if (!found) READ(answer_at(p, '{'));
        answer_call_end(p);
    }
    READ_END;
}

/* One object without a mark behind it. */
static answer_verdict read_object(nut_answer *p) {
    READ_BEGIN(0);
    READ(answer_json_call(p));
    answer_call_end(p);
    READ_END;
}

/* A list, and perhaps words[0] behind it. */
static answer_verdict read_list(nut_answer *p) {
    READ_BEGIN(0);
    READ(answer_list(p));
    if (p->format->words[0]) {
        bool found = false;
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, p->format->words[0]));
        (void)found;
    }
    READ_END;
}

/* ---- a name, then JSON ---- */

/* [{"name": …}], or name[CALL_ID]id[ARGS]{…}, where the id may be missing. */
static answer_verdict read_mistral(nut_answer *p) {
    bool found = false;
    READ_BEGIN(0);
    READ(answer_space(p));
    READ_IF(found, answer_at(p, '['));
    if (found) {
        READ(answer_list(p));
    } else {
        READ(answer_word(p, &p->name));
        READ_IF(found, answer_literal(p, "[CALL_ID]"));
        if (found)
            READ(answer_until(p, "[ARGS]", &p->id));
        else
            READ(answer_literal(p, "[ARGS]"));
        READ(answer_space(p));
        READ(answer_object(p));
        answer_call_end(p);
    }
    READ_END;
}

/* <function=name>{…}</function> */
static answer_verdict read_functionary_31(nut_answer *p) {
    READ_BEGIN(0);
    READ(answer_until(p, ">", &p->name));
    READ(answer_space(p));
    READ(answer_object(p));
    READ(answer_space(p));
    READ(answer_literal(p, p->format->words[0]));
    answer_call_end(p);
    READ_END;
}

static bool is_name(const nut_answer *p, answer_span s) {
    for (size_t i = 0; i < s.n; i++)
        if (answer_is_space(p->text[s.at + i]) || p->text[s.at + i] == '>') return false;
    return s.n > 0;
}

/* >>>all, a line end and content, or >>>name, a line end and {…}. */
static answer_verdict read_functionary_32(nut_answer *p) {
    READ_BEGIN(0);
    READ(answer_until(p, "\n", &p->name));
    if (!is_name(p, p->name)) return ANSWER_NO;
    if (!answer_span_is(p, p->name, "all")) {
        READ(answer_space(p));
        READ(answer_object(p));
        answer_call_end(p);
    }
    READ_END;
}

/* R1 and V3: function<sep>name, a line end, ```json {…} ```; V3.1: name<sep>{…}. */
static answer_verdict read_deepseek(nut_answer *p) {
    const char *const *words = p->format->words;
    bool found = false;
    READ_BEGIN(0);
    READ(answer_space(p));
    if (p->opened == 0) READ(answer_literal(p, words[0]));
    do {
        READ(answer_until(p, words[1], &p->name));
        READ_IF(found, answer_at(p, '{'));
        if (!found) {
            READ(answer_until(p, "\n", &p->name));
            READ(answer_literal(p, "```json"));
            READ(answer_space(p));
        }
        p->name = answer_trim(p, p->name);
        READ(answer_object(p));
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, "```"));
        READ(answer_space(p));
        READ(answer_literal(p, words[2]));
        answer_call_end(p);
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, words[0]));
    } while (found);
    READ_IF(found, answer_literal(p, words[3]));
    READ_END;
}

/* The name in an id functions.name:0. */
static answer_span name_in_id(const nut_answer *p, answer_span id) {
    static const char before[] = "functions.";
    const size_t n = sizeof before - 1;
    if (id.n > n && !memcmp(p->text + id.at, before, n)) id.at += n, id.n -= n;
    for (size_t i = 0; i < id.n; i++)
        if (p->text[id.at + i] == ':') id.n = i;
    return id;
}

/* Kimi K2; some leave out the marks around the calls and behind each. */
static answer_verdict read_kimi(nut_answer *p) {
    const char *const *words = p->format->words;
    bool found = false;
    READ_BEGIN(0);
    READ(answer_space(p));
    if (p->opened == 0) READ(answer_literal(p, words[0]));
    do {
        READ(answer_until(p, words[1], &p->id));
        p->id = answer_trim(p, p->id);
        p->name = name_in_id(p, p->id);
        READ(answer_space(p));
        READ(answer_object(p));
        answer_call_end(p);
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, words[2]));
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, words[0]));
    } while (found);
    READ_IF(found, answer_literal(p, words[3]));
    READ_END;
}

/* <|tool_call:begin|>id<|tool_call:name|>name<|tool_call:args|>{…}<|tool_call:end|> */
static answer_verdict read_solar(nut_answer *p) {
    const char *const *words = p->format->words;
    bool found = false;
    READ_BEGIN(0);
    if (p->opened == 0) READ(answer_literal(p, words[0]));
    do {
        READ(answer_until(p, words[1], &p->id));
        READ(answer_until(p, words[2], &p->name));
        READ(answer_space(p));
        READ(answer_object(p));
        READ(answer_space(p));
        READ(answer_literal(p, words[3]));
        answer_call_end(p);
        READ_IF(found, answer_literal(p, words[0]));
    } while (found);
    READ_IF(found, answer_literal(p, words[4]));
    READ_END;
}

/* call:name{key:value, …} */
static answer_verdict read_gemma(nut_answer *p) {
    READ_BEGIN(0);
    READ(answer_literal(p, "call:"));
    READ(answer_word(p, &p->name));
    READ(answer_space(p));
    READ(answer_gemma_object(p));
    READ(answer_space(p));
    READ(answer_literal(p, p->format->words[1]));
    answer_call_end(p);
    READ_END;
}

/* ---- harmony ---- */

/* Where a text stands last in a part of the buffer; behind the part where it does not. */
static size_t find_last(const nut_answer *p, size_t from, size_t to, const char *text) {
    const size_t n = strlen(text);
    for (size_t at = to; at-- > from;)
        if (at + n <= to && !memcmp(p->text + at, text, n)) return at + n;
    return to;
}

/* A message begins: who it is for, and its channel, up to <|message|>. It is a call where it is for a
 * function, else content or reasoning. */
static void read_header(nut_answer *p) {
    const size_t from = p->mark, to = p->key.at + p->key.n;
    answer_span channel = answer_trim(p, (answer_span){find_last(p, from, to, "<|channel|>"), 0}), receiver;
    channel.n = to - channel.at;
    channel = answer_trim(p, channel);
    p->reasoning = channel.n >= 8 && !memcmp(p->text + channel.at, "analysis", 8);
    receiver = (answer_span){find_last(p, from, to, "to=functions."), 0};
    while (receiver.at + receiver.n < to && !answer_is_space(p->text[receiver.at + receiver.n]) &&
           p->text[receiver.at + receiver.n] != '<')
        receiver.n++;
    p->name = receiver;
}

static answer_verdict read_harmony(nut_answer *p) {
    READ_BEGIN(0);
    READ(answer_until(p, p->format->words[0], &p->key));
    read_header(p);
    if (p->name.n) {
        p->reasoning = false;
        READ(answer_space(p));
        READ(answer_object(p));
        answer_call_end(p);
    }
    READ_END;
}

/* ---- Llama 3, LFM2 ---- */

/* {"name": …, "parameters": …}; [name(key=value)]; behind the mark, tool.call(key=value) too. */
static answer_verdict read_llama(nut_answer *p) {
    bool found = false;
    READ_BEGIN(0);
    READ(answer_space(p));
    READ_IF(found, answer_at(p, '['));
    if (found) {
        READ(answer_list(p));
    } else {
        do {
            READ(answer_space(p));
            READ_IF(found, answer_at(p, '{'));
            if (found)
                READ(answer_json_call(p));
            else
                READ(answer_python_call(p));
            answer_call_end(p);
            READ_IF(found, answer_literal(p, ";"));
        } while (found);
    }
    READ_END;
}

/* ---- arguments between tags ---- */

static void begin_arguments(nut_answer *p) {
    p->name = answer_trim(p, p->name);
    p->first = true;
}

static void begin_argument(nut_answer *p) {
    static const char yes[] = "string=\"true"; // a second attribute
    const char *key = p->text + p->key.at, *quote = memchr(key, '"', p->key.n);
    const size_t n = sizeof yes - 1;
    const bool text = p->key.n > n && !memcmp(key + p->key.n - n, yes, n);
    if (quote) p->key.n = (size_t)(quote - key);
    p->key = answer_trim(p, p->key);
    p->type = answer_type_of(p->tools, p->o.n_tools, p->text + p->name.at, p->name.n, p->text + p->key.at,
                             p->key.n);
    if (quote) p->type = text ? ANSWER_STRING : ANSWER_VALUE;
    answer_key(p, p->key);
}

static void end_arguments(nut_answer *p) {
    answer_arguments(p, p->first ? "{}" : "}", p->first ? 2 : 1);
    answer_call_end(p);
}

/* words: what opens a function, ends its name, opens a parameter, ends its name, ends the parameter, the
 * function, all. Some models leave out the first mark of all, opens[0]. */
static answer_verdict read_tagged(nut_answer *p) {
    const char *const *words = p->format->words;
    bool found = false;
    READ_BEGIN(0);
    READ(answer_space(p));
    if (p->opened == 0) READ(answer_literal(p, words[0]));
    do {
        READ(answer_until(p, words[1], &p->name));
        begin_arguments(p);
        if (!p->name.n) return ANSWER_NO;
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, words[2]));
        while (found) {
            READ(answer_until(p, words[3], &p->key));
            begin_argument(p);
            READ(answer_value(p, words[4]));
            READ(answer_space(p));
            READ_IF(found, answer_literal(p, words[2]));
        }
        READ(answer_literal(p, words[5]));
        end_arguments(p);
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, words[0]));
    } while (found);
    READ_IF(found, answer_literal(p, words[6]));
    READ_END;
}

/* name<arg_key>key</arg_key><arg_value>value</arg_value> */
static answer_verdict read_glm(nut_answer *p) {
    const char *const *words = p->format->words;
    bool found = false;
    READ_BEGIN(0);
    READ(answer_space(p));
    READ(answer_word(p, &p->name));
    begin_arguments(p);
    READ(answer_space(p));
    READ_IF(found, answer_literal(p, words[0]));
    while (found) {
        READ(answer_until(p, words[1], &p->key));
        begin_argument(p);
        READ(answer_space(p));
        READ(answer_literal(p, words[2]));
        READ(answer_value(p, words[3]));
        READ(answer_space(p));
        READ_IF(found, answer_literal(p, words[0]));
    }
    READ(answer_literal(p, words[4]));
    end_arguments(p);
    READ_END;
}

/* ---- the table: of two that fit a template, the first counts ---- */

const answer_format answer_formats[] = {
    {.name = "harmony",
     .in_template = {"<|channel|>", "<|message|>"},
     .read = read_harmony,
     .opens = {"<|start|>", "<|channel|>"},
     .starts = {"to=functions."},
     .skips = {"<|end|>", "<|call|>", "<|return|>"},
     .words = {"<|message|>", "<|constrain|>"},
     .parts = true},
    {.name = "functionary-v3.2",
     .in_template = {">>>all"},
     .read = read_functionary_32,
     .opens = {">>>"},
     .prompt = ">>>",
     .parts = true},
    {.name = "minimax",
     .in_template = {"<minimax:tool_call>"},
     .read = read_tagged,
     .opens = {"<minimax:tool_call>"},
     .words = {"<invoke name=\"", "\">", "<parameter name=\"", "\">", "</parameter>", "</invoke>",
               "</minimax:tool_call>"}},
    {.name = "seed",
     .in_template = {"<seed:tool_call>"},
     .read = read_tagged,
     .opens = {"<seed:tool_call>", "<function="},
     .words = {"<function=", ">", "<parameter=", ">", "</parameter>", "</function>", "</seed:tool_call>"}},
    {.name = "qwen3-coder",
     .in_template = {"<function=", "<parameter="},
     .read = read_tagged,
     .opens = {"<tool_call>", "<function="},
     .words = {"<function=", ">", "<parameter=", ">", "</parameter>", "</function>", "</tool_call>"}},
    {.name = "functionary-v3.1",
     .in_template = {"<function=", "</function>"},
     .read = read_functionary_31,
     .opens = {"<function="},
     .words = {"</function>"}},
    {.name = "deepseek-v3.2",
     .in_template = {"<｜DSML｜"},
     .read = read_tagged,
     .opens = {"<｜DSML｜function_calls>"},
     .words = {"<｜DSML｜invoke name=\"", "\">", "<｜DSML｜parameter name=\"", "\">", "</｜DSML｜parameter>",
               "</｜DSML｜invoke>", "</｜DSML｜function_calls>"}},
    {.name = "deepseek",
     .in_template = {"<｜tool▁calls▁begin｜>"},
     .read = read_deepseek,
     .opens = {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"},
     .words = {"<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"}},
    {.name = "glm",
     .in_template = {"<arg_key>"},
     .read = read_glm,
     .opens = {"<tool_call>"},
     .words = {"<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "</tool_call>"}},
    {.name = "kimi-k2",
     .in_template = {"<|tool_calls_section_begin|>"},
     .read = read_kimi,
     .opens = {"<|tool_calls_section_begin|>", "<|tool_call_begin|>"},
     .words = {"<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>",
               "<|tool_calls_section_end|>"}},
    {.name = "solar",
     .in_template = {"<|tool_call:begin|>"},
     .read = read_solar,
     .opens = {"<|tool_calls|>", "<|tool_call:begin|>"},
     .skips = {"<|begin|>assistant", "<|content|>", "<|flush|>"},
     .words = {"<|tool_call:begin|>", "<|tool_call:name|>", "<|tool_call:args|>", "<|tool_call:end|>",
               "<|calls|>", "<|begin|>"}},
    {.name = "gemma-4",
     .in_template = {"<|tool_call>"},
     .read = read_gemma,
     .opens = {"<|tool_call>"},
     .words = {"<|\"|>", "<tool_call|>", "<|channel>"}},
    {.name = "mistral",
     .in_template = {"[TOOL_CALLS]"},
     .read = read_mistral,
     .opens = {"[TOOL_CALLS]"},
     .words = {"[CALL_ID]", "[ARGS]"}},
    {.name = "command-r7b",
     .in_template = {"<|START_ACTION|>"},
     .read = read_list,
     .opens = {"<|START_ACTION|>"},
     .skips = {"<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"},
     .words = {"<|END_ACTION|>"}},
    {.name = "command-r",
     .in_template = {"Action:", "```json", "tool_name"},
     .read = read_list,
     .opens = {"Action:\n```json\n", "Action: ```json\n"},
     .skips = {"<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     .words = {"```"}},
    {.name = "lfm2",
     .in_template = {"<|tool_list_start|>"},
     .read = read_list,
     .opens = {"<|tool_call_start|>"},
     .words = {"<|tool_call_end|>"}},
    {.name = "granite-3",
     .in_template = {"<|tool_call|>"},
     .read = read_list,
     .opens = {"<|tool_call|>"},
     .skips = {"<response>", "</response>"}},
    {.name = "nemotron-v2",
     .in_template = {"<TOOLCALL>"},
     .read = read_list,
     .opens = {"<TOOLCALL>"},
     .words = {"</TOOLCALL>"}},
    {.name = "apriel",
     .in_template = {"<tool_calls>["},
     .read = read_list,
     .opens = {"<tool_calls>"},
     .words = {"</tool_calls>"}},
    {.name = "apertus",
     .in_template = {"<|tools_prefix|>"},
     .read = read_list,
     .opens = {"<|tools_prefix|>"},
     .words = {"<|tools_suffix|>"},
     .named = true},
    {.name = "firefunction", .in_template = {"functools["}, .read = read_list, .opens = {"functools"}},
    {.name = "gigachat-3.1",
     .in_template = {"<|function_call|>"},
     .read = read_object,
     .opens = {"<|function_call|>"}},
    {.name = "hermes",
     .in_template = {"<tool_call>"},
     .read = read_objects,
     .opens = {"<tool_call>"},
     .words = {"</tool_call>"}},
    {.name = "llama-3",
     .in_template = {"<|start_header_id|>", "ipython"},
     .read = read_llama,
     .opens = {"<|python_tag|>"},
     .starts = {"{", "["},
     .alone = true},
};
const size_t answer_n_formats = sizeof answer_formats / sizeof *answer_formats;
