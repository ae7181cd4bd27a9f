/*
 * Input of the shell: options of a command line, and lines of a chat. Options of every kind are parsed into
 * values in their range or refused with a message; lines are read whole, whatever they contain.
 */
#include "fuzz.h"

#include "cli/cli.h"

enum { MOST_ARGS = 64 };

/* ---- options ---- */

typedef struct values {
    bool flag;
    uint32_t u32;
    uint64_t u64;
    float f32;
    const char *text;
    arg_texts texts;
} values;

/* Arguments are the input's texts, each up to a zero byte. */
static int split(char *text, size_t n, char **argv) {
    int argc = 1;
    argv[0] = (char *)"command";
    for (size_t at = 0; at < n && argc < MOST_ARGS; at += strlen(text + at) + 1) argv[argc++] = text + at;
    return argc;
}

static void try_options(char *text, size_t n) {
    values v = {0};
    const arg_option options[] = {
        {"--flag", ARG_FLAG, &v.flag, ""}, {"--u32", ARG_U32, &v.u32, ""},
        {"--u64", ARG_U64, &v.u64, ""},    {"--f32", ARG_F32, &v.f32, ""},
        {"--text", ARG_TEXT, &v.text, ""}, {"--texts", ARG_TEXTS, &v.texts, ""},
    };
    const char *positionals[2] = {NULL, NULL};
    const arg_set set = {"command", "MODEL TEXT", options, 6, positionals, 2};
    char *argv[MOST_ARGS + 1];
    nut_error err = {0};
    const int argc = split(text, n, argv);
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help")) return; // ends the process
    const nut_status status = args_parse(&set, argc, argv, &err);
    EXPECT(status == NUT_OK || (status == NUT_E_ARGUMENT && err.code == status && err.message[0]), "%s",
           nut_status_name(status));
    for (const char *p = err.message; *p; p++) EXPECT((uint8_t)*p >= 0x20 && *p != 0x7f, "%d", *p);
    EXPECT(v.f32 - v.f32 == 0 && v.texts.n <= 16, "%g, %zu texts", (double)v.f32, v.texts.n);
    EXPECT(status != NUT_OK || (positionals[0] && positionals[1]), "arguments are missing");
}

/* ---- lines ---- */

/* The lines together are the input without its zero bytes and line ends. */
static void try_lines(const uint8_t *bytes, size_t n) {
    FILE *from = n ? fmemopen((void *)(uintptr_t)bytes, n, "rb") : NULL;
    char *line = NULL;
    size_t cap = 0, at = 0, n_lines = 0;
    bool more = from != NULL;
    nut_error err;
    while (more) {
        EXPECT(file_read_line(from, &line, &cap, &more, &err) == NUT_OK, "%s", err.message);
        for (size_t i = 0; more && line[i]; i++) {
            while (bytes[at] == 0 || (bytes[at] != (uint8_t)line[i] && strchr("\r\n", bytes[at]))) at++;
            EXPECT(at < n && bytes[at] == (uint8_t)line[i], "line %zu, byte %zu", n_lines, i);
            at++;
        }
        n_lines += more;
    }
    for (; at < n; at++) EXPECT(!bytes[at] || strchr("\r\n", bytes[at]), "byte %zu is lost", at);
    free(line);
    if (from) fclose(from);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    char *text = malloc(n + 1);
    if (n) memcpy(text, bytes, n);
    text[n] = 0;
    try_options(text, n);
    free(text);
    try_lines(bytes, n);
    return 0;
}
