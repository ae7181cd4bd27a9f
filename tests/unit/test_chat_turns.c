/* Turns that are left out where the context is full: which messages go, how the number is found, and what is
 * left of a prompt. Expected values are worked out by hand from what nutshell.h says of turns. */
#include "chat_model.h"
#include "check.h"

/* Messages as letters: s system, d developer, u user, a assistant, t tool. */
static const char *role_of(char letter) {
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    const char letters[] = "sduat";
    return roles[strchr(letters, letter) - letters];
}

/* Message i has the content i. */
static char *conversation(const char *letters) {
    char *out = malloc(strlen(letters) * 64 + 3), *at = out;
    *at++ = '[';
    for (size_t i = 0; letters[i]; i++)
        at += sprintf(at, "%s{\"role\":\"%s\",\"content\":\"%zu\"}", i ? "," : "", role_of(letters[i]), i);
    strcpy(at, "]");
    return out;
}

static nut_chat *render(const nut_model *m, const char *letters, uint32_t leave_out, uint32_t max_ids) {
    static const char source[] = "{% for m in messages %}{{ m.role[0] + m.content }} {% endfor %}";
    const nut_chat_options o = {
        .source = source, .n_source = strlen(source), .leave_out = leave_out, .max_ids = max_ids};
    char *messages = conversation(letters);
    nut_chat *c = NULL;
    nut_error err = {0};
    const nut_status status = nut_chat_render(m, messages, strlen(messages), &o, &c, &err);
    CHECK(status == NUT_OK, "%s: %s", letters, err.message);
    free(messages);
    return c;
}

static const struct {
    const char *letters;
    uint32_t leave_out, n_turns;
    const char *text; // of what stays
} cases[] = {
    {"uaua", 0, 2, "u0 a1 u2 a3 "},
    {"uaua", 1, 2, "u2 a3 "},
    {"uaua", 9, 2, "u2 a3 "}, // the last turn stays
    {"suauau", 1, 3, "s0 u3 a4 u5 "},
    {"suauau", 2, 3, "s0 u5 "},
    {"sduatauatau", 1, 3, "s0 d1 u6 a7 t8 a9 u10 "}, // calls and results go together
    {"sduatauatau", 2, 3, "s0 d1 u10 "},
    {"uasau", 1, 2, "s2 u4 "},     // a system message inside of a turn
    {"auau", 1, 2, "u3 "},         // a greeting belongs to the first turn
    {"uuauua", 1, 2, "u3 u4 a5 "}, // two questions in a row are one turn
    {"usua", 1, 1, "u0 s1 u2 a3 "},
    {"sat", 1, 0, "s0 a1 t2 "}, // no turn at all
};

static void check_turns(const nut_model *m) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n, n_dropped, n_messages = strlen(cases[i].letters), n_kept = 0;
        nut_chat *c = render(m, cases[i].letters, cases[i].leave_out, 0);
        if (!c) continue;
        const char *text = nut_chat_text(c, &n);
        CHECK(n == strlen(cases[i].text) && !memcmp(text, cases[i].text, n), "%s without %u: %.*s",
              cases[i].letters, cases[i].leave_out, (int)n, text);
        CHECK(nut_chat_n_turns(c) == cases[i].n_turns, "%s has %u turns", cases[i].letters,
              nut_chat_n_turns(c));
        const uint32_t *dropped = nut_chat_dropped(c, &n_dropped);
        for (size_t k = 0; k < n; k++) n_kept += text[k] == ' ';
        CHECK(n_kept + n_dropped == n_messages, "%s: %zu stay, %zu go", cases[i].letters, n_kept, n_dropped);
        for (size_t k = 0; k < n_dropped; k++) {
            char there[16];
            snprintf(there, sizeof there, "%c%u ", cases[i].letters[dropped[k]], dropped[k]);
            CHECK(!strstr(cases[i].text, there) && (!k || dropped[k] > dropped[k - 1]), "%s: message %u",
                  cases[i].letters, dropped[k]);
        }
        nut_chat_free(c);
    }
}

/* How many turns are left out of n when k are enough, and how many prompts that takes. */
static uint32_t search(uint32_t n, uint32_t k, unsigned *n_prompts) {
    nut_chat_trim t = {0};
    for (*n_prompts = 1; nut_chat_trim_next(&t, n, t.leave_out >= k); ++*n_prompts) {
    }
    return t.leave_out;
}

static void check_search(void) {
    unsigned n_prompts;
    for (uint32_t n = 0; n <= 200; n++)
        for (uint32_t k = 0; k <= n; k++) {
            const uint32_t got = search(n, k, &n_prompts), most = n ? n - 1 : 0,
                           fewest = k < most ? k : most;
            CHECK(got >= fewest && got <= most && got - fewest <= (n - fewest) / 4, "%u of %u: %u", k, n,
                  got);
            CHECK(n_prompts <= 10, "%u of %u: %u prompts", k, n, n_prompts);
        }
    /* A conversation that grows, of which 40 turns fit: it changes once in 4 turns or more. */
    unsigned n_changes = 0;
    for (uint32_t n = 41, last = 0; n <= 200; n++) {
        const uint32_t got = search(n, n - 40, &n_prompts);
        CHECK(got >= last, "%u turns: %u are left out, and before %u", n, got, last);
        n_changes += got != last;
        last = got;
    }
    CHECK(n_changes <= 40, "%u changes in 160 turns", n_changes);
}

/* Each byte is a token here. */
static void check_max_ids(const nut_model *m) {
    static const struct {
        uint32_t max_ids;
        const char *text;
    } fits[] = {{24, "s0 u1 a2 u3 a4 u5 a6 u7 "},
                {23, "s0 u3 a4 u5 a6 u7 "},
                {18, "s0 u3 a4 u5 a6 u7 "},
                {17, "s0 u5 a6 u7 "},
                {11, "s0 u7 "},
                {1, "s0 u7 "}};
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
        size_t n, n_ids;
        nut_chat *c = render(m, "suauauau", 0, fits[i].max_ids);
        if (!c) continue;
        const char *text = nut_chat_text(c, &n);
        nut_chat_ids(c, &n_ids);
        CHECK(n == strlen(fits[i].text) && !memcmp(text, fits[i].text, n) && n_ids == n,
              "%u ids: %.*s, %zu ids", fits[i].max_ids, (int)n, text, n_ids);
        nut_chat_free(c);
    }
}

int main(void) {
    nut_model *m = chat_model_new(&(chat_model_options){0});
    if (CHECK(m != NULL, "no model")) {
        check_turns(m);
        check_max_ids(m);
    }
    check_search();
    nut_model_free(m);
    return check_report();
}
