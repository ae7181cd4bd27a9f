/*
 * Tries to get a special token out of data: the input is what a message says, which templates change in the
 * ways that templates know. What special tokens a prompt has is known for each template, whatever is said.
 */
#include "fuzz.h"

#include "../unit/chat_model.h"

/* Templates for the content c, and how many special tokens they write. */
static const struct {
    const char *source;
    size_t n;
} templates[] = {
    {"{{ c }}", 0},
    {"<|im_start|>{{ c }}<|im_end|>", 2},
    {"{{ '<|im_start|>' + c + '<|im_end|>' }}", 2},
    {"{{ c|trim }}<|im_end|>", 1},
    {"{{ c.strip('<') ~ '<|im_end|>' }}", 1},
    {"{{ c|replace('a', '') }}[INST]", 1},
    {"{{ c|replace('a', '|') }}[INST]", 1},
    {"{{ c.split('|')|join('|') }}<|end|>", 1},
    {"{{ c.split('a')|join('') }}<|end|>", 1},
    {"{{ c.split()|join('_') }}<|end|>", 1},
    {"{{ c.splitlines()|join('<') }}<|end|>", 1},
    {"{{ c[1:] }}{{ c[:1] }}", 0},
    {"{{ c[::-1] }}{{ c[::2] }}", 0},
    {"{{ c|upper }}{{ c|lower }}{{ c|title }}{{ c.swapcase() }}", 0},
    {"{{ c|tojson }}{{ [c, {c: c}]|tojson(indent=1) }}", 0},
    {"{{ [c] }}{{ {c: (c, 1)} }}{{ c|pprint }}", 0},
    {"{{ '<%s>' % c }}{{ '<|{}|>'.format(c) }}", 0},
    {"<|{{ c }}|>[{{ c }}]<{{ c }}>", 0},
    {"{% for x in c %}{{ x }}{% endfor %}<|end|>", 1},
    {"{% for x in c|batch(3) %}<{{ x|join('|') }}>{% endfor %}", 0},
    {"{% set x %}<|im_start|>{{ c }}{% endset %}{{ x|trim }}{{ x|indent(1) }}", 2},
    {"{% macro m(x) %}<|im_{{ x }}|>{% endmacro %}{{ m(c) }}", 0},
    {"{{ c ~ c ~ '|>' }}{{ '<|' ~ c }}", 0},
    {"{{ c|center(80) }}{{ c.ljust(9, '>') }}{{ c.zfill(20) }}{{ c|truncate(9, true, '|>') }}", 0},
    {"{{ c|e }}{{ c|urlencode }}{{ c|striptags }}{{ c|int }}{{ c|float }}", 0},
    {"{{ c.partition('|')|join('|') }}{{ c.rsplit('|', 1)|join('|') }}{{ c.removeprefix('a') }}", 0},
    {"<SPECIAL_{{ c|length }}><SPECIAL_{{ c|int(base=16) }}><SPECIAL_{{ c.find('a') }}>", 0},
    {"<SPECIAL_{{ c|int }}><SPECIAL_{{ c|float|round|int }}>{% for i in range(c|int % 20) %}<SPECIAL_{{ i "
     "}}>{% endfor %}",
     0},
    {"{{ '<|im_' ~ c ~ '|>' }}{{ '<|im_%s|>' % c }}{{ '<|im_{}|>'.format(c) }}", 0},
    {"{{ ('<|im_X' ~ '|>')|replace('X', c) }}{{ (c ~ '<|im_end') * 2 ~ c }}", 0},
    {"{% for k in {c: 1} %}<|{{ k }}|>{% endfor %}{{ {c: c}|dictsort }}{{ {c: c}|items|list }}", 0},
    {"{% macro m() %}<|im_{{ caller() }}|>{% endmacro %}{% call m() %}{{ c }}{% endcall %}<|end|>", 1},
    {"{% filter replace('a', '') %}<|im_{{ c }}|>{% endfilter %}{{ strftime_now('<|im_' ~ c) }}|>", 0},
    {"{% set x = namespace(a='<|im_') %}{% set x.a = x.a ~ c %}{{ x.a }}|>{{ bos_token[:2] ~ c }}", 0},
    {"{{ c.join(['<|im_', '|>']) }}{{ ['<', c]|join('|') }}{{ c|batch(2)|list }}{{ c|unique|join }}", 0},
    {"{{ c|tojson(separators=('<|', '|>')) }}{{ {'<|': c}|tojson }}{{ c.title()|tojson(ensure_ascii=true) "
     "}}",
     0},
    {"{% for a in c.split('a') recursive %}<|{{ a }}|>{{ loop.cycle(c, '|>') }}{% endfor %}", 0},
    {"{{ strftime_now(c) }}{{ c.expandtabs(2) }}{{ c|list|sort|join }}{{ c|reverse }}", 0},
};

/* A string of JSON. */
static size_t put_json(char *out, fuzz_input in) {
    char *to = out;
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '"' || in.p[i] == '\\') *to++ = '\\';
        if (in.p[i] >= 0x20)
            *to++ = (char)in.p[i];
        else
            to += sprintf(to, "\\u%04x", in.p[i]);
    }
    return (size_t)(to - out);
}

/* Special tokens of a prompt, the user-defined ones that are marks among them. */
static size_t count_special(const nut_chat *c) {
    size_t n, special = 0;
    const int32_t *ids = nut_chat_ids(c, &n);
    for (size_t i = 0; i < n; i++) special += ids[i] >= CHAT_FIRST_MARK && ids[i] < CHAT_N_VOCAB - 1;
    return special;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static nut_model *model;
    static char messages[8192], source[512];
    static const char before[] = "[{\"role\":\"user\",\"content\":\"", after[] = "\"}]";
    if (!model) model = chat_model_new(&(chat_model_options){0});
    if (!model || n > 1000) return 0;
    size_t at = sizeof before - 1;
    memcpy(messages, before, at);
    at += put_json(messages + at, (fuzz_input){bytes, n});
    memcpy(messages + at, after, sizeof after);
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        nut_chat *c;
        nut_error err = {0};
        snprintf(source, sizeof source, "{%%- set c = messages[0].content -%%}%s", templates[i].source);
        const nut_chat_options o = {.source = source, .n_source = strlen(source)};
        const nut_status status = nut_chat_render(model, messages, strlen(messages), &o, &c, &err);
        EXPECT(status == NUT_OK || status == NUT_E_CHAT, "%s: %s", templates[i].source, err.message);
        if (status != NUT_OK) continue;
        const size_t found = count_special(c);
        EXPECT(found == templates[i].n, "%s has %zu special tokens", templates[i].source, found);
        nut_chat_free(c);
    }
    return 0;
}
