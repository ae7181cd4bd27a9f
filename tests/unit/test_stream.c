/* Text out: whole characters only, stop texts over token borders, nothing lost. */
#include "check.h"
#include "run/session.h"

#include <string.h>

enum { CAP = 1024 };
static char held[CAP], text[3 * CAP];

typedef struct fixture {
    stream st;
    char all[4096];
    size_t n;
    bool stopped;
} fixture;

static fixture start(const char *const *stops, size_t n) {
    fixture f = {.st = {.held = held, .text = text, .cap = CAP}};
    nut_generate_options o = nut_generate_defaults();
    o.stop = stops;
    o.n_stop = n;
    CHECK(stream_reset(&f.st, &o, NULL) == NUT_OK, "reset");
    return f;
}

static bool is_whole_utf8(const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t length = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 0;
        if (!length || i + length > n) return false;
        i += length;
    }
    return true;
}

static void keep(fixture *f) {
    CHECK(is_whole_utf8(f->st.text, f->st.n_text), "a step emitted a part of a character");
    memcpy(f->all + f->n, f->st.text, f->st.n_text);
    f->n += f->st.n_text;
}

static void push(fixture *f, const char *s, size_t n) {
    if (f->stopped) return;
    f->stopped = stream_push(&f->st, s, n);
    keep(f);
}

static void finish(fixture *f, const char *want) {
    stream_flush(&f->st);
    keep(f);
    f->all[f->n] = 0;
    CHECK(!strcmp(f->all, want), "got \"%s\", want \"%s\"", f->all, want);
}

/* Every way of cutting `bytes` into pieces of `step` gives `want`. */
static void all_cuts(const char *bytes, const char *const *stops, size_t n_stops, const char *want) {
    size_t n = strlen(bytes);
    for (size_t step = 1; step <= n; step++) {
        fixture f = start(stops, n_stops);
        for (size_t at = 0; at < n; at += step) push(&f, bytes + at, n - at < step ? n - at : step);
        finish(&f, want);
    }
}

static void test_characters(void) {
    all_cuts("plain", NULL, 0, "plain");
    all_cuts("caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80!", NULL, 0,
             "caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80!");
    /* Replacement as Unicode 15, section 3.9 recommends: one U+FFFD per maximal part of a character. */
    all_cuts("a\xff"
             "b",
             NULL, 0,
             "a\xef\xbf\xbd"
             "b");
    all_cuts("\xc0\x80", NULL, 0, "\xef\xbf\xbd\xef\xbf\xbd");
    all_cuts("\xed\xa0\x80", NULL, 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    all_cuts("\xf0\x9f\x98", NULL, 0, "\xef\xbf\xbd");
    all_cuts("\xe4\xbd"
             "x",
             NULL, 0,
             "\xef\xbf\xbd"
             "x");
}

static void test_stops(void) {
    const char *const stops[] = {"END", "\n\n", "\xf0\x9f\x98\x80"};
    all_cuts("one two END three", stops, 3, "one two ");
    all_cuts("one\ntwo\n\nthree", stops, 3, "one\ntwo");
    all_cuts("smile \xf0\x9f\x98\x80 no", stops, 3, "smile ");
    all_cuts("EN EN ENE E", stops, 3, "EN EN ENE E");
    all_cuts("\xf0\x9f\x98\x81 END", stops, 3, "\xf0\x9f\x98\x81 ");
    const char *const nested[] = {"abcabd"};
    all_cuts("xabcabcabd!", nested, 1, "xabc");
}

static void test_refusals(void) {
    nut_error err;
    stream st = {.held = held, .text = text, .cap = CAP};
    nut_generate_options o = nut_generate_defaults();
    const char *const empty[] = {""};
    o.stop = empty;
    o.n_stop = 1;
    CHECK(stream_reset(&st, &o, &err) == NUT_E_ARGUMENT, "an empty stop text must be refused");
    o.n_stop = STREAM_MAX_STOPS + 1;
    CHECK(stream_reset(&st, &o, &err) == NUT_E_ARGUMENT, "too many stop texts must be refused");
}

int main(void) {
    test_characters();
    test_stops();
    test_refusals();
    return check_report();
}
