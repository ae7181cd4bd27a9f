/* Values of chat templates: JSON in and out, numbers, maps, and the origin of texts. What is written is what
 * Python 3.11 prints for json.dumps(json.loads(text), ensure_ascii=False) and repr(float(text)). */
#include "chat/json.h"
#include "chat/number.h"

#include "check.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *json, *written;
} round_trips[] = {
    {"{\"a\": [1, 2.5, -0.0, 1e5, true, false, null], \"b\": {}}", NULL},
    {" [ ] ", "[]"},
    {"\"\\u00e9\\ud83d\\ude00\\n\\u0001\\/\"", "\"é😀\\n\\u0001/\""},
    {"{\"a\": 1, \"b\": 2, \"a\": 3}", "{\"a\": 3, \"b\": 2}"},
    {"[1E400, -1e400]", "[Infinity, -Infinity]"},
    {"\"\\ud800x\"", "\"\xef\xbf\xbdx\""}, // Python keeps the half, which is no UTF-8
    {"9223372036854775807", "9223372036854775807"},
    {"-9223372036854775807", "-9223372036854775807"},
};

static const struct {
    const char *text, *repr;
} floats[] = {
    {"0.1", "0.1"},
    {"1.0", "1.0"},
    {"100.0", "100.0"},
    {"1e15", "1000000000000000.0"},
    {"1e16", "1e+16"},
    {"1e22", "1e+22"},
    {"123456789012345680.0", "1.2345678901234568e+17"},
    {"0.0001", "0.0001"},
    {"0.00001", "1e-05"},
    {"5e-324", "5e-324"},
    {"2.4703282292062328e-324", "5e-324"},
    {"2.4703282292062327e-324", "0.0"},
    {"1.7976931348623157e308", "1.7976931348623157e+308"},
    {"2.2250738585072014e-308", "2.2250738585072014e-308"},
    {"2.2250738585072011e-308", "2.225073858507201e-308"},
    {"9007199254740993.0", "9007199254740992.0"},
    {"9007199254740992.99999999999999999999", "9007199254740992.0"},
    {"9007199254740993.00000000000000000001", "9007199254740994.0"},
    {"0.3000000000000000444089209850062616169452667236328125", "0.30000000000000004"},
    {"3.141592653589793238462643383279", "3.141592653589793"},
    {"-1234.5678e-7", "-0.00012345678"},
    {"1.5e300", "1.5e+300"},
};

static const char *const broken[] = {
    "",      "[",  "{\"a\"}",     "[1,]", "{,}", "nul",       "01x",      "\"a", "\"\\x\"", "\"\n\"", "1 2",
    "[1 2]", "\\", "\"\\u12g4\"", "{1:2", "-",   "\"\\ud8\"", "{\"a\":}", "[1}", "'a'",     "+1"};

static void check_round_trips(void) {
    for (size_t i = 0; i < sizeof round_trips / sizeof *round_trips; i++) {
        chat_heap h;
        chat_value v, text;
        nut_error err = {0};
        chat_heap_open(&h, &err);
        chat_text out = {.heap = &h};
        const char *json = round_trips[i].json,
                   *want = round_trips[i].written ? round_trips[i].written : json;
        const chat_json_style style = {.indent = -1};
        bool done = chat_json_read(&h, json, strlen(json), CHAT_DATA, "it", &v) &&
                    chat_json_write(&out, &v, &style) && chat_text_end(&out, &text);
        if (i == 0) want = "{\"a\": [1, 2.5, -0.0, 100000.0, true, false, null], \"b\": {}}";
        CHECK(done && chat_equal_text(&text, want), "%s gives %.*s (%s)", json, done ? (int)text.s->n : 0,
              done ? text.s->text : "", err.message);
        CHECK(!done || (text.s->marks == NULL && text.s->origin == CHAT_DATA), "%s: not data", json);
        chat_heap_close(&h);
    }
}

static void check_floats(void) {
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        chat_value v;
        char text[NUMBER_BYTES] = "";
        size_t n = number_read(floats[i].text, strlen(floats[i].text), &v);
        if (v.kind == CHAT_FLOAT) number_put_float(text, v.f);
        CHECK(n == strlen(floats[i].text) && !strcmp(text, floats[i].repr), "%s is read as %s, not %s",
              floats[i].text, text, floats[i].repr);
    }
}

static void check_broken(void) {
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        chat_heap h;
        chat_value v;
        nut_error err = {0};
        chat_heap_open(&h, &err);
        CHECK(!chat_json_read(&h, broken[i], strlen(broken[i]), CHAT_DATA, "it", &v) &&
                  err.code == NUT_E_ARGUMENT,
              "%s is taken", broken[i]);
        chat_heap_close(&h);
    }
}

/* Python: {1: 'a', True: 'b', 1.0: 'c', '1': 'd'} has two keys; many keys are found again. */
static void check_maps(void) {
    chat_heap h;
    chat_value map;
    chat_heap_open(&h, NULL);
    chat_map_new(&h, &map);
    chat_map_set(&h, &map, chat_int(1), chat_int(1));
    chat_map_set(&h, &map, chat_bool(true), chat_int(2));
    chat_map_set(&h, &map, chat_float(1.0), chat_int(3));
    CHECK(map.map->n == 1 && map.map->entries[0].value.i == 3, "1, True and 1.0 are one key");
    for (int i = 0; i < 5000; i++) chat_map_set(&h, &map, chat_int(i * 4096), chat_int(i));
    bool all = map.map->n == 5001;
    for (int i = 0; i < 5000; i++) {
        const chat_value *v = chat_map_get(&h, map.map, chat_int(i * 4096));
        all = all && v && v->i == i;
    }
    CHECK(all && !chat_map_get(&h, map.map, chat_int(-1)), "5000 keys are not found again");
    chat_heap_close(&h);
}

/* The origin of each byte follows it, and a text that grows piece by piece is not copied each time. */
static void check_origins(void) {
    chat_heap h;
    chat_value all, a, b, part;
    chat_heap_open(&h, NULL);
    chat_string_of(&h, "", 0, CHAT_TEMPLATE, &all);
    chat_string_of(&h, "<ab>", 4, CHAT_TEMPLATE, &a);
    chat_string_of(&h, "data", 4, CHAT_DATA, &b);
    bool done = true;
    for (int i = 0; i < 20000; i++) done = done && chat_concat(&h, all.s, i % 2 ? b.s : a.s, &all);
    CHECK(done && all.s->n == 80000 && h.used < 8 << 20, "joining 20000 texts takes %zu bytes", h.used);
    bool right = done && chat_slice(&h, all.s, 3, 9, &part) && chat_equal_text(&part, ">data<");
    for (size_t i = 0; right && i < part.s->n; i++)
        right = chat_origin_at(part.s, i) == (i >= 1 && i < 5 ? CHAT_DATA : CHAT_TEMPLATE);
    CHECK(right, "a slice does not have its bytes' origins");
    chat_concat(&h, a.s, b.s, &part); // both must stay as they are when the first is continued twice
    chat_value one, two;
    chat_concat(&h, part.s, a.s, &one);
    chat_concat(&h, part.s, b.s, &two);
    CHECK(chat_equal_text(&one, "<ab>data<ab>") && chat_equal_text(&two, "<ab>datadata") &&
              chat_origin_at(one.s, 8) == CHAT_TEMPLATE && chat_origin_at(two.s, 8) == CHAT_DATA,
          "a text that was continued twice has changed");
    chat_heap_close(&h);
}

static void check_limits(void) {
    static char nested[100000];
    chat_heap h;
    chat_value v;
    nut_error err = {0};
    memset(nested, '[', sizeof nested);
    chat_heap_open(&h, &err);
    CHECK(!chat_json_read(&h, nested, sizeof nested, CHAT_DATA, "it", &v) && strstr(err.message, "levels"),
          "deep nesting: %s", err.message);
    chat_heap_close(&h);
    chat_heap_open(&h, &err);
    chat_string_of(&h, nested, sizeof nested, CHAT_DATA, &v);
    while (chat_concat(&h, v.s, v.s, &v)) {
    }
    CHECK(strstr(err.message, "bytes in a text"), "a text without end: %s", err.message);
    chat_heap_close(&h);
    chat_heap_open(&h, &err);
    chat_list_new(&h, CHAT_FORM_LIST, 0, &v);
    while (chat_list_add(&h, &v, v)) {
    }
    CHECK(err.code == NUT_E_CHAT && h.used <= CHAT_MAX_MEMORY, "a list without end: %s", err.message);
    chat_heap_close(&h);
}

int main(void) {
    check_round_trips();
    check_floats();
    check_broken();
    check_maps();
    check_origins();
    check_limits();
    return check_report();
}
