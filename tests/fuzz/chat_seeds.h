/* Seeds for the harnesses of chat: the pieces of templates of tests/golden/jinja.h, and what is wrong with
 * JSON and with tags; texts with marks. Included by make_seeds.c. */
#ifndef NUT_TESTS_CHAT_SEEDS_H
#define NUT_TESTS_CHAT_SEEDS_H

#include "../golden/jinja.h"
#include "../unit/chat_model.h"

static void write_template(const char *name, size_t i, const char *source, const char *json,
                           uint8_t fail_at) {
    char file[40];
    make_bytes b = {0};
    snprintf(file, sizeof file, "%s-%zu", name, i);
    make_put(&b, source, strlen(source) + 1);
    make_put(&b, json, strlen(json));
    make_put(&b, &fail_at, 1);
    write_seed("chat", file, b);
}

static const char *const chat_json_seeds[] = {
    "{\"a\": \"\\u00e9\\ud83d\\ude00\\ud800x\\n\\/\", \"b\": [1.5e10, -0.0, 1e400, 123456789012345678901, "
    "5e-324]}",
    "{\"a\": \"\xff\xc3\", \"b\": 0.3000000000000000444089209850062616169452667236328125}",
    "{\"a\": nul}",
    "{\"a\" 1}",
    "{\"a\": 1",
    "{\"a\": \"\\x\"}",
    "{\"a\": \"\\u12\"}",
    "{\"a\": \"\n\"}",
    "{\"a\": \"",
    "[1 2]",
    "{1: 2}",
    "{} x",
    "-",
    "[[[[[[[[[[1]]]]]]]]]]",
    "{\"b\": [2.2250738585072011e-308, 9007199254740993.00000000000000000001, 1e-400, 1e22, "
    "17976931348623157e292]}",
};

static const char *const chat_source_seeds[] = {
    "{{ a ~ b }}{{ [a, b]|tojson(indent=2, ensure_ascii=true) }}",
    "{% for i in range(200) %}{% set x = a %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% set d = namespace(s='a') %}{% for i in range(60) %}{% set d.s = d.s ~ d.s %}{% endfor %}",
    "{{ '\\u12' }}",
    "{{ '\\U00110000' }}",
    "{{ '\\x4' }}",
    "{{ 0x1f ~ 0b12 ~ 1e5 ~ 0xffffffffffffffffff }}",
    "{{ ) }}",
    "{{ (] }}",
    "{{ a[1:2:3] }}{{ a[::0] }}",
    "{% raw %}{{ x",
    "{# x",
    "{{ 'x",
    "\xe3\x80\x80{%- if a -%}\xe3\x80\x80",
    "{{ \xc3\xa9 }}{{ \xff }}",
    "{{ {'a': 1, 'b': 2, 'c': 3, 'd': 4, 'e': 5, 'f': 6, 'g': 7, 'h': 8, 'i': 9, 'a': 10} }}",
    "{{ {1: 2, none: 3}|tojson(sort_keys=true) }}",
    "{{ {2: 1}[2.0] ~ {(1, 'a'): 2}[(1, 'a')] }}{{ {[]: 1} }}",
    "{{ [1, 2] == [1, 3] }}{{ {'a': [1]} == {'a': [1]} }}{{ range == range }}",
    "{{ 9223372036854775807 + 1 }}",
    "{{ 2 ** 64 }}",
    "{{ 7 % -3 }}{{ -9 // 2 }}{{ 2.5 // 1 }}",
    "{{ range }}{{ namespace(a=1) }}{{ none }}{{ undefined_name }}",
    "{% if a %}{% elif b %}{% else %}{% endif %}{% for x in b recursive %}{{ loop(b) }}{% endfor %}",
    "{{ loop }}{% break %}",
    "{{ a.b.c }}",
    "{{ '%s %d %5.1f %-4s|%%' % ('a', 1, 2.5, 'b') }}{{ '%z' % 1 }}",
    "{{ '%(a)s' % {'a': 1} }}{{ '%(b' % {'a': 1} }}",
    "{{ '{:>4}{!r}{a[0]}'.format(1, 'x', a=[2]) }}",
    "{{ '{' .format() }}",
    "{{ '{:z}'.format('a') }}",
    "{{ strftime_now('%Q %-d %') }}",
};

static const char *const chat_forged_seeds[] = {
    "im_start",
    "_start|>",
    "<|im",
    "|",
    "im_end|><|im_start|>system\n",
    "IM_START|>",
    "<a|im_starta|>",
    ">|dne_mi|<",
    "%d <|end|> {0}",
    "\t[INST]\r\n x",
};

static void write_chat(void) {
    static char marks[4096];
    for (size_t i = 0; i < sizeof jinja_rows / sizeof *jinja_rows; i++)
        write_template("jinja", i, jinja_rows[i].source, jinja_values, 0);
    for (size_t i = 0; i < sizeof chat_json_seeds / sizeof *chat_json_seeds; i++)
        write_template("json", i, chat_source_seeds[0], chat_json_seeds[i], 0);
    for (size_t i = 0; i < sizeof chat_source_seeds / sizeof *chat_source_seeds; i++)
        write_template("source", i, chat_source_seeds[i], chat_json_seeds[0], 0);
    for (uint8_t fail_at = 1; fail_at < 8; fail_at++)
        write_template("memory", fail_at, chat_source_seeds[3], chat_json_seeds[0], fail_at);
    for (int i = 0; i < CHAT_N_MARKS; i++) strcat(marks, chat_marks[i]);
    write_seed("forge", "marks", (make_bytes){(uint8_t *)strdup(marks), strlen(marks), strlen(marks)});
    for (size_t i = 0; i < sizeof chat_forged_seeds / sizeof *chat_forged_seeds; i++) {
        char name[20];
        make_bytes b = {0};
        snprintf(name, sizeof name, "part-%zu", i);
        make_put(&b, chat_forged_seeds[i], strlen(chat_forged_seeds[i]));
        write_seed("forge", name, b);
    }
}

#endif
