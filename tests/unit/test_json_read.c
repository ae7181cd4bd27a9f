/* Reading JSON (RFC 8259): what is there, and where in the text it is wrong. */
#include "base/json_read.h"
#include "check.h"

#include <string.h>

static json_read begin(const char *text) {
    json_read j;
    CHECK(json_read_begin(&j, "text", text, strlen(text), NULL) == NUT_OK, "%s", text);
    return j;
}

static void test_values(void) {
    char name[8], text[64];
    double number;
    bool flag, more;
    json_read j =
        begin(" [ {\"a\" : -12.5e-1, \"b\":\"x\\u00e9\\ud83d\\ude00\\n\\\"\"},\n true, false ,[], 0 ] ");
    CHECK(json_read_open(&j, '[', NULL) == NUT_OK && json_read_more(&j, &more, NULL) == NUT_OK && more, "[");
    CHECK(json_read_peek(&j) == '{' && json_read_open(&j, '{', NULL) == NUT_OK, "{");
    CHECK(json_read_more(&j, &more, NULL) == NUT_OK && more, "a value");
    CHECK(json_read_key(&j, name, sizeof name, NULL) == NUT_OK && !strcmp(name, "a"), "key %s", name);
    CHECK(json_read_peek(&j) == '0' && json_read_number(&j, &number, NULL) == NUT_OK && number == -1.25,
          "number %g", number);
    CHECK(json_read_more(&j, &more, NULL) == NUT_OK && more, "a second value");
    CHECK(json_read_key(&j, name, sizeof name, NULL) == NUT_OK && json_read_peek(&j) == '"', "key %s", name);
    CHECK(json_read_string(&j, text, sizeof text, NULL) == NUT_OK &&
              !strcmp(text, "x\xc3\xa9\xf0\x9f\x98\x80\n\""),
          "string %s", text);
    CHECK(json_read_more(&j, &more, NULL) == NUT_OK && !more, "}");
    CHECK(json_read_more(&j, &more, NULL) == NUT_OK && more, "then true");
    CHECK(json_read_flag(&j, &flag, NULL) == NUT_OK && flag, "true");
    CHECK(json_read_more(&j, &more, NULL) == NUT_OK && json_read_flag(&j, &flag, NULL) == NUT_OK && !flag,
          "false");
    CHECK(json_read_more(&j, &more, NULL) == NUT_OK && json_read_open(&j, '[', NULL) == NUT_OK, "[");
    CHECK(json_read_more(&j, &more, NULL) == NUT_OK && !more, "nothing in it");
    CHECK(json_read_more(&j, &more, NULL) == NUT_OK && json_read_number(&j, &number, NULL) == NUT_OK &&
              number == 0,
          "0");
    CHECK(json_read_more(&j, &more, NULL) == NUT_OK && !more && json_read_end(&j, NULL) == NUT_OK,
          "the end");
}

typedef enum taken { NUMBER, STRING, FLAG, LIST, OBJECT, END } taken;

/* Takes a list of values of one kind, or what is said. */
static nut_status take(const char *text, taken what, nut_error *err) {
    json_read j;
    double number;
    bool flag, more;
    char s[8];
    if (json_read_begin(&j, "text", text, strlen(text), err) != NUT_OK) return err->code;
    nut_status status = json_read_open(&j, what == OBJECT ? '{' : '[', err);
    while (status == NUT_OK) {
        status = json_read_more(&j, &more, err);
        if (status != NUT_OK || !more) break;
        status = what == NUMBER   ? json_read_number(&j, &number, err)
                 : what == STRING ? json_read_string(&j, s, sizeof s, err)
                 : what == FLAG   ? json_read_flag(&j, &flag, err)
                 : what == OBJECT ? json_read_key(&j, s, sizeof s, err)
                                  : json_read_open(&j, '[', err);
        if (status == NUT_OK && what == OBJECT) status = json_read_number(&j, &number, err);
    }
    return status == NUT_OK ? json_read_end(&j, err) : status;
}

static void test_errors(void) {
    static const struct {
        const char *text;
        taken what;
        const char *message; // NULL: it is right
    } cases[] = {
        {"", LIST, "line 1, column 1: JSON is missing: the text ends here"},
        {" \n ", LIST, "line 2, column 2"},
        {"{}", LIST, "line 1, column 1: '[' is missing"},
        {"[1 2]", NUMBER, "line 1, column 4: ',' or ']' is missing"},
        {"{\"a\":1 2}", OBJECT, "column 8: ',' or '}' is missing"},
        {"[1,\n2,]", NUMBER, "line 2, column 3: a value behind the ','"},
        {"[1", NUMBER, "column 3: ',' or ']' is missing: the text ends here"},
        {"[] x", LIST, "column 4: the end is missing"},
        {"{\"a\" 1}", OBJECT, "column 6: ':' is missing"},
        {"{a:1}", OBJECT, "column 2: a string is missing"},
        {"[\"a\tb\"]", STRING, "column 2: the string has a character"},
        {"[\"\\x\"]", STRING, "a character"},
        {"[\"\\u00\"]", STRING, "a character"},
        {"[\"\\u0000\"]", STRING, "a character"},
        {"[\"\\udc00\"]", STRING, "a character"},
        {"[\"\\ud800\"]", STRING, "a character"},
        {"[\"\\ud800\\u0041\"]", STRING, "a character"},
        {"[\"\\ud800\\ug000\"]", STRING, "a character"},
        {"[\"\\", STRING, "a character"},
        {"[\"12345678\"]", STRING, "column 2: the string is too long"},
        {"[\"1234567\"]", STRING, NULL},
        {"[\"abc", STRING, "column 6: '\"' is missing: the text ends here"},
        {"[01]", NUMBER, "column 3: ',' or ']'"},
        {"[-]", NUMBER, "column 2: a number is missing"},
        {"[1.]", NUMBER, "a number is missing"},
        {"[1e]", NUMBER, "a number is missing"},
        {"[1e+]", NUMBER, "a number is missing"},
        {"[1E+2, 0.5e-3, -0]", NUMBER, NULL},
        {"[1e999]", NUMBER, "the number is too large"},
        {"[1111111111111111111111111111111111111111]", NUMBER, "a number is missing"},
        {"[tru]", FLAG, "true or false is missing"},
        {"[nan]", NUMBER, "a number is missing"},
        {"[[[[[[[[[", LIST, "column 9: more than 8 brackets are open"},
        {"[\xff]", FLAG, "true or false"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nut_error err = {0};
        const nut_status status = take(cases[i].text, cases[i].what, &err);
        CHECK(cases[i].message ? status == NUT_E_CORRUPT && strstr(err.message, cases[i].message)
                               : status == NUT_OK,
              "%s: %s", cases[i].text, err.message);
    }
}

int main(void) {
    test_values();
    test_errors();
    return check_report();
}
