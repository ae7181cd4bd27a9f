/* Chat templates of well-known models: what they make of conversations is, byte for byte, what Jinja2 3.1
 * makes of them with transformers' settings (../shared/data/chat-templates/golden.json says how), and they
 * fail where they raise there. */
#include "chat/json.h"
#include "chat/template.h"

#include "check.h"
#include "data.h"

#include <string.h>

enum { NOW = 1767323045 }; // 2026-01-02 03:04:05

static void set(chat_heap *h, chat_value *map, const char *name, chat_value value) {
    chat_value key;
    chat_string_of(h, name, strlen(name), CHAT_TEMPLATE, &key);
    chat_map_set(h, map, key, value);
}

static void set_text(chat_heap *h, chat_value *map, const char *name, const char *text) {
    chat_value value;
    chat_string_of(h, text, strlen(text), CHAT_TEMPLATE, &value);
    set(h, map, name, value);
}

/* The first byte in which two texts differ. */
static size_t difference(const chat_string *a, const chat_string *b) {
    size_t i = 0;
    while (i < a->n && i < b->n && a->text[i] == b->text[i]) i++;
    return i;
}

static void check_one(const char *name, const char *text, size_t n, const chat_entry *conversation,
                      const chat_value *expected) {
    chat_heap h;
    chat_value variables, out;
    nut_error err = {0};
    const chat_string *which = conversation->key.s;
    chat_heap_open(&h, &err);
    chat_map_new(&h, &variables);
    set_text(&h, &variables, "bos_token", "<bos>");
    set_text(&h, &variables, "eos_token", "<eos>");
    for (uint32_t i = 0; i < conversation->value.map->n; i++) {
        const chat_entry *e = &conversation->value.map->entries[i];
        chat_map_set(&h, &variables, e->key, e->value);
    }
    const bool done = template_render(&h, text, n, variables, NOW, &out);
    const chat_value *want = chat_map_find(&h, expected->map, "text"),
                     *error = chat_map_find(&h, expected->map, "error");
    if (!want && !error) want = NULL;
    if (want) {
        const bool same = done && chat_equal_text(&out, "") == (want->s->n == 0) && out.s->n == want->s->n &&
                          !memcmp(out.s->text, want->s->text, want->s->n);
        const size_t at = done ? difference(out.s, want->s) : 0;
        CHECK(same, "%s, %.*s: %s; from byte %zu: \"%.*s\" for \"%.*s\"", name, (int)which->n, which->text,
              err.message, at, done ? (int)(out.s->n - at < 60 ? out.s->n - at : 60) : 0,
              done ? out.s->text + at : "", (int)(want->s->n - at < 60 ? want->s->n - at : 60),
              want->s->text + at);
    } else {
        CHECK(!done && err.code == NUT_E_CHAT && strstr(err.message, "line "),
              "%s, %.*s: rendered (%s) for the error %.*s", name, (int)which->n, which->text, err.message,
              error ? (int)error->s->n : 0, error ? error->s->text : "");
    }
    chat_heap_close(&h);
}

int main(void) {
    size_t n, n_text;
    char *golden = data_read("chat-templates/golden.json", &n), path[400];
    chat_heap h;
    chat_value all;
    nut_error err = {0};
    if (!golden) {
        CHECK_SKIP("%s is missing", data_path("chat-templates/golden.json"));
        return check_report();
    }
    chat_heap_open(&h, &err);
    if (!CHECK(chat_json_read(&h, golden, n, CHAT_DATA, "golden.json", &all), "%s", err.message))
        return check_report();
    const chat_map *conversations = chat_map_find(&h, all.map, "conversations")->map;
    const chat_map *templates = chat_map_find(&h, all.map, "templates")->map;
    for (uint32_t t = 0; t < templates->n; t++) {
        const chat_string *name = templates->entries[t].key.s;
        snprintf(path, sizeof path, "chat-templates/%.*s", (int)name->n, name->text);
        char *text = data_read(path, &n_text);
        if (!CHECK(text != NULL, "%s is missing", path)) continue;
        for (uint32_t c = 0; c < conversations->n; c++) {
            const chat_value *expected =
                chat_map_get(&h, templates->entries[t].value.map, conversations->entries[c].key);
            if (CHECK(expected != NULL, "%s: a conversation is missing", path))
                check_one(path + 15, text, n_text, &conversations->entries[c], expected);
        }
        free(text);
    }
    chat_heap_close(&h);
    free(golden);
    return check_report();
}
