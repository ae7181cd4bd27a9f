/* Streaming text: only whole characters, stop texts across tokens, nothing lost. */
#include "check.h"
#include "run/stream.h"

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
    f->stopped = stream_push(&f->st, s, n, false);
    keep(f);
}

static void push_hidden(fixture *f, const char *s) {
    if (f->stopped) return;
    f->stopped = stream_push(&f->st, s, strlen(s), true);
    keep(f);
}

static void finish(fixture *f, const char *want) {
    stream_flush(&f->st);
    keep(f);
    f->all[f->n] = 0;
    CHECK(!strcmp(f->all, want), "got \"%s\", want \"%s\"", f->all, want);
}

/* `bytes`, pushed `step` at a time, give `want`. */
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

/* ---- special tokens that are not shown ---- */

/* A text of tokens, one a word of `tokens`; words in <> are special tokens. Expects `want`, and that it
 * stops or does not. */
static void special(const char *tokens, const char *const *stops, size_t n_stops, const char *want,
                    bool stops_it) {
    char words[1024];
    fixture f = start(stops, n_stops);
    strcpy(words, tokens);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        if (*word == '<')
            push_hidden(&f, word);
        else
            push(&f, word, strlen(word));
    CHECK(f.stopped == stops_it, "\"%s\": %s", tokens, f.stopped ? "it stopped" : "it did not stop");
    finish(&f, want);
}

static void test_special(void) {
    const char *const turn[] = {"<|turn|>"};
    special("one <|turn|> two", turn, 1, "one", true);
    special("one <s> two <|turn|> three", turn, 1, "onetwo", true);
    special("<|turn|>", turn, 1, "", true);
    special("one <|turn <|turn|", turn, 1, "one", false); // not that token
    special("one <|turn|x> two", turn, 1, "onetwo", false);
    const char *const several[] = {"<a><b>", "x<c>y"};
    special("one <a> <b> two", several, 2, "one", true);
    special("one <a> two <b> three", several, 2, "onetwothree", false);
    special("one <a> <a> <b> two", several, 2, "one", true);
    special("one x <c> yes", several, 2, "one", true);
    special("one x <c> no", several, 2, "onexno", false); // what was held back comes
    special("one x <d> yes", several, 2, "onexyes", false);
    special("one x <c>", several, 2, "onex", false);
    const char *const shown[] = {"END"}; // a stop text in the visible text, whatever is hidden in between
    special("one E <a> N <b> <c> D two", shown, 1, "one", true);
    special("one E <a> N <b> <c> d two", shown, 1, "oneENdtwo", false);
    const char *const both[] = {"ab<x>", "abcd"};
    special("1 a b <x> cd", both, 2, "1", true);
    special("1 a b <y> cd", both, 2, "1", true);
    special("1 a b <y> <x> c", both, 2, "1abc", false);
    special("\xe4\xbd <a> \xa0!", turn, 1, "\xe4\xbd\xa0!", false); // a character goes on behind it
}

/* Hidden tokens in great number between the bytes of a stop text: what is held has a bound, and what no
 * longer stands side by side does not match. */
static void test_many_special(void) {
    char longest[STREAM_MAX_STOP + 1], want[4096];
    const char *const stops[] = {"xyz", longest, "x<s>"};
    memset(longest, 'L', STREAM_MAX_STOP), longest[STREAM_MAX_STOP] = 0;
    fixture f = start(stops, 3);
    push(&f, "x", 1);
    for (int i = 0; i < 500; i++) push_hidden(&f, "<t>");
    push_hidden(&f, "<s>"); // "x" does not stand before it
    CHECK(!f.stopped && f.st.n_held < 2 * STREAM_MAX_STOP, "%zu bytes are held", f.st.n_held);
    push(&f, "yz", 2);
    CHECK(f.stopped, "xyz is seen");
    finish(&f, "");
    f = start(stops, 3);
    for (int i = 0; i < STREAM_MAX_STOP - 1; i++) push(&f, "L", 1), push_hidden(&f, "<|hidden|>");
    CHECK(!f.stopped && f.n == 0, "255 of 256 bytes came, %zu were shown", f.n);
    CHECK(f.st.n_held < 2 * STREAM_MAX_STOP, "%zu bytes are held", f.st.n_held);
    push(&f, ".", 1);
    memset(want, 'L', STREAM_MAX_STOP - 1), strcpy(want + STREAM_MAX_STOP - 1, ".");
    finish(&f, want);
    for (int special = 0; special < 2; special++) { // the longest stop text byte by byte
        f = start(stops, 3);
        push(&f, "one", 3);
        for (int i = 0; i < STREAM_MAX_STOP; i++) special ? push_hidden(&f, "L") : push(&f, "L", 1);
        CHECK(f.stopped, "256 of 256 bytes came");
        finish(&f, "one");
    }
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
    test_special();
    test_many_special();
    test_refusals();
    return check_report();
}
