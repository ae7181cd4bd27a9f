/*
 * How long a chat template takes for a conversation of 30 turns with tools:
 *
 *     make build/native/bench_chat && build/native/bench_chat FILE.jinja...
 *
 * The best of 200 renderings, in milliseconds: reading the JSON, parsing the template, running it.
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

static const char tools[] = "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\","
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

static double once(const char *source, size_t n, const char *json, size_t n_json, size_t *n_out) {
    chat_heap h;
    chat_value variables, out = {0};
    nut_error err = {0};
    const double since = clock_seconds();
    chat_heap_open(&h, &err);
    const bool done = chat_json_read(&h, json, n_json, CHAT_DATA, "the conversation", &variables) &&
                      template_render(&h, source, n, variables, 0, &out);
    const double seconds = clock_seconds() - since;
    *n_out = done ? out.s->n : 0;
    if (!done) printf("%s\n", err.message);
    chat_heap_close(&h);
    return seconds;
}

int main(int argc, char **argv) {
    static char json[65536];
    strcpy(json,
           "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_generation_prompt\":true,\"messages\":[");
    for (int i = 0; i < TURNS; i++) strcat(json, turn);
    strcat(json, "{\"role\":\"user\",\"content\":\"Thanks\"}],");
    strcat(strcat(json, tools), "}");
    for (int i = 1; i < argc; i++) {
        size_t n, n_out = 0;
        char *source = read_file(argv[i], &n);
        double best = 1e9;
        for (int k = 0; k < ROUNDS; k++) {
            const double seconds = once(source, n, json, strlen(json), &n_out);
            best = seconds < best ? seconds : best;
            if (!n_out) break;
        }
        if (n_out) printf("%.3f ms, %zu bytes: %s\n", best * 1e3, n_out, argv[i]);
        free(source);
    }
    return 0;
}
