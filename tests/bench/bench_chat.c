/*
 * How long a chat template takes for a conversation of 30 turns with tools:
 *
 *     make build/native/bench_chat && build/native/bench_chat FILE.jinja...
 *
 * The best of 200 renderings, in milliseconds: reading the JSON, parsing the template, running it. Where a
 * template refuses tools in such a form, the turns are without them.
 */
#include "base/clock.h"
#include "chat/json.h"
#include "chat/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS = 30, ROUNDS = 200 };

static char *read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    char *text = malloc(1 << 20);
    *n = f && text ? fread(text, 1, 1 << 20, f) : 0;
    if (f) fclose(f);
    return text;
}

static const char tools[] = ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\","
                            "\"description\":\"Weather of a city\","
                            "\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":"
                            "\"string\",\"description\":\"its name\"},"
                            "\"days\":{\"type\":\"integer\"}},\"required\":[\"city\"]}}}]";
static const char turn[] =
    "{\"role\":\"user\",\"content\":\"How is the weather in the city where I will be tomorrow?\"},"
    "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"123456789\",\"type\":\"function\","
    "\"function\":"
    "{\"name\":\"get_weather\",\"arguments\":{\"city\":\"Bern\",\"days\":2}}}]},"
    "{\"role\":\"tool\",\"name\":\"get_weather\",\"tool_call_id\":\"123456789\",\"content\":\"{\\\"temp\\\":"
    " 21}\"},"
    "{\"role\":\"assistant\",\"content\":\"It will be warm there, about twenty-one degrees, with some "
    "clouds.\"},";

static const char plain_turn[] =
    "{\"role\":\"user\",\"content\":\"How is the weather in the city where I will be tomorrow?\"},"
    "{\"role\":\"assistant\",\"content\":\"It will be warm there, about twenty-one degrees, with some "
    "clouds.\"},";

static char *conversation(const char *one_turn, const char *more) {
    char *json = calloc(1, 65536);
    if (!json) return NULL;
    strcpy(json,
           "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_generation_prompt\":true,\"messages\":[");
    for (int i = 0; i < TURNS; i++) strcat(json, one_turn);
    return strcat(strcat(strcat(json, "{\"role\":\"user\",\"content\":\"Thanks\"}]"), more), "}");
}

/* Seconds, and the bytes of the prompt; none where the template refuses. */
static double once(const char *source, size_t n, const char *json, size_t *n_out, nut_error *err) {
    chat_heap h;
    chat_value variables, out = {0};
    const double since = clock_seconds();
    chat_heap_open(&h, err);
    const bool done = chat_json_read(&h, json, strlen(json), CHAT_DATA, "the conversation", &variables) &&
                      template_render(&h, source, n, variables, 0, &out);
    const double seconds = clock_seconds() - since;
    *n_out = done ? out.s->n : 0;
    chat_heap_close(&h);
    return seconds;
}

static bool measure(const char *path, const char *source, size_t n, const char *json, const char *what) {
    double best = 1e9;
    size_t n_out = 0;
    nut_error err = {0};
    for (int k = 0; k < ROUNDS; k++) {
        const double seconds = once(source, n, json, &n_out, &err);
        if (!n_out) return printf("refused, %s, %s: %s\n", what, path, err.message), false;
        best = seconds < best ? seconds : best;
    }
    return printf("%.3f ms, %zu bytes, %s: %s\n", best * 1e3, n_out, what, path), true;
}

int main(int argc, char **argv) {
    char *tools_json = conversation(turn, tools);
    char *plain_json = conversation(plain_turn, ",\"functions\":\"[]\",\"datetime\":\"today\"");
    for (int i = 1; i < argc && tools_json && plain_json; i++) {
        size_t n;
        char *source = read_file(argv[i], &n);
        if (source && !measure(argv[i], source, n, tools_json, "tools"))
            measure(argv[i], source, n, plain_json, "no tools");
        free(source);
    }
    free(tools_json), free(plain_json);
    return 0;
}
