/* How pre-tokenizers cut texts into words: against the published regular expressions (golden/pretok.py). */
#include "check.h"
#include "model/pretok.h"
#include "../golden/pretok.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef struct words {
    const char *next; // where the next word must begin
    char lengths[256];
    size_t n, most;
} words;

static bool take_word(void *ctx, const char *word, size_t n) {
    words *w = ctx;
    CHECK(word == w->next && n > 0 && n < 256, "a word of %zu bytes at %td", n, word - w->next);
    w->next = word + n;
    w->lengths[w->n++] = (char)n;
    return w->n < w->most;
}

static gguf_str str(const char *s) {
    return (gguf_str){s, strlen(s)};
}

static void test_golden(const golden_word *golden, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *text = golden[i].text, *lengths = golden[i].lengths;
        const pretok *p = pretok_find(str(golden[i].pre));
        if (!CHECK(p, "no pre-tokenizer %s", golden[i].pre)) continue;
        words w = {.next = text, .most = SIZE_MAX};
        CHECK(pretok_split(p, text, strlen(text), take_word, &w), "case %zu was stopped", i);
        CHECK(w.next == text + strlen(text), "case %zu ends at byte %td", i, w.next - text);
        size_t same = 0;
        while (same < w.n && w.lengths[same] == lengths[same]) same++;
        CHECK(w.n == strlen(lengths) && same == w.n, "%s, case %zu, \"%s\": word %zu has %d bytes, not %d",
              p->name, i, text, same, w.lengths[same], lengths[same]);
    }
}

static void test_stop(void) {
    words w = {.next = "a b c d", .most = 2};
    CHECK(!pretok_split(pretok_find(str("gpt-2")), w.next, 7, take_word, &w) && w.n == 2, "%zu words, not 2",
          w.n);
}

static void test_names(void) {
    static const char *const near[][2] = {{"gpt2", "gpt-2"},
                                          {"qwen3", "qwen2"},
                                          {"llama-bpe2", "llama-bpe"},
                                          {"", "mpt"},
                                          {"tekke", "tekken"}};
    for (size_t i = 0; i < COUNT(near); i++)
        CHECK(!strcmp(pretok_nearest(str(near[i][0])), near[i][1]), "%s is near %s, not %s", near[i][0],
              pretok_nearest(str(near[i][0])), near[i][1]);
    CHECK(!pretok_find(str("gpt")) && !pretok_find(str("")) && !pretok_find(str("gpt-22")),
          "names that are none");
}

int main(void) {
    test_golden(golden_words, COUNT(golden_words));
    test_golden(golden_more_words, COUNT(golden_more_words));
    test_stop();
    test_names();
    return check_report();
}
