/* The tests' own JSON reader: what it reads, and that it refuses what is not JSON. */
#include "check.h"
#include "json.h"

static json_doc parse(const char *text) {
    size_t n = strlen(text);
    char *copy = malloc(n + 1);
    memcpy(copy, text, n + 1);
    return json_parse(copy, n);
}

static void test_values(void) {
    json_doc d = parse(" {\"a\": [1, -2.5e1, \"x\\u00e9\\ud83d\\ude00\\n\\\"\", true, null], \"b\": {\"c\": "
                       "{}}, \"e\":[]} ");
    const json *a = json_get(d.root, "a");
    if (CHECK(d.root && a && a->n == 5, "error: %s at %zu", d.error, d.error_at)) {
        const json *s = a->child->next->next;
        CHECK(a->child->number == 1 && a->child->next->number == -25, "numbers %g %g", a->child->number,
              a->child->next->number);
        CHECK(s->n == 9 && !strcmp(s->text, "x\xc3\xa9\xf0\x9f\x98\x80\n\""), "string of %zu: %s", s->n,
              s->text);
        CHECK(s->next->type == JSON_TRUE && s->next->next->type == JSON_NULL && !s->next->next->next,
              "literals");
        CHECK(json_get(json_get(d.root, "b"), "c")->type == JSON_OBJECT && json_get(d.root, "e")->n == 0,
              "empty ones");
        CHECK(!json_get(d.root, "z") && isnan(json_number(d.root, "b", "c")), "absent keys");
    }
    json_free(&d);
    d = parse("{\"p\":{\"q\":0.125},\"ids\":[3,4]}");
    int32_t ids[1];
    CHECK(json_number(d.root, "p", "q") == 0.125, "nested number");
    CHECK(json_ints(json_get(d.root, "ids"), ids, 1) == 2 && ids[0] == 3, "ints");
    json_free(&d);
}

static void test_refusals(void) {
    static const char *const bad[] = {
        "",    "{",   "[1,]",  "[1 2]", "{\"a\" 1}", "{a:1}", "\"x", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
        "tru", "1 2", "[inf]", "[nan]", "\"a\nb\"",  ",",     ":",   "{\"a\":}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_doc d = parse(bad[i]);
        CHECK(!d.root && d.error, "accepted: %s", bad[i]);
        json_free(&d);
    }
    char deep[201];
    memset(deep, '[', 200), deep[200] = 0;
    json_doc d = parse(deep);
    CHECK(!d.root, "accepted 200 levels");
    json_free(&d);
}

int main(void) {
    test_values();
    test_refusals();
    return check_report();
}
