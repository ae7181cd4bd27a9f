/* Finds the command, and makes a message and an exit status of its error. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct command {
    const char *name;
    const char *help;
    nut_status (*run)(int argc, char **argv, nut_error *err);
} command;

static const command commands[] = {
#define NUT_X(name, help) {#name, help, command_##name},
    CLI_COMMANDS(NUT_X)
#undef NUT_X
};
enum { N_COMMANDS = sizeof commands / sizeof *commands, NAME = 32 };

nut_status cli_tokenize(const nut_model *model, const char *text, size_t n_text, unsigned flags,
                        int32_t **ids, size_t *n, nut_error *err) {
    size_t cap = n_text + 16;
    for (int try = 0; try < 2; try++) {
        int32_t *buffer = malloc(cap * sizeof *buffer);
        if (!buffer) return cli_error(err, NUT_E_MEMORY, "out of memory for %zu tokens", cap);
        nut_status status = nut_tokenize(model, text, n_text, flags, buffer, cap, n, err);
        if (status == NUT_OK) {
            *ids = buffer;
            return NUT_OK;
        }
        free(buffer);
        if (*n <= cap) return status;
        cap = *n;
    }
    return NUT_E_ARGUMENT;
}

/* As it is typed, with "-" for "_". */
static const char *typed_name(const command *c, char name[NAME]) {
    snprintf(name, NAME, "%s", c->name);
    for (char *p = name; *p; p++)
        if (*p == '_') *p = '-';
    return name;
}

static void print_usage(FILE *to) {
    char name[NAME];
    fprintf(to,
            "nutshell %s: language models in a small engine\n\nusage: nutshell COMMAND ... (--help after a "
            "command "
            "lists its options)\n\n",
            nut_version());
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-14s%s\n", typed_name(&commands[i], name), commands[i].help);
}

static const command *find_command(const char *typed) {
    char name[NAME];
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(typed_name(&commands[i], name), typed)) return &commands[i];
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")))
        return puts(nut_version()) < 0;
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))) return print_usage(stdout), 0;
    const command *c = argc > 1 ? find_command(argv[1]) : NULL;
    if (!c) {
        if (argc > 1) {
            cli_clean(argv[1]);
            fprintf(stderr, "nutshell: no command \"%s\"\n\n", argv[1]);
        }
        return print_usage(stderr), 1;
    }
    nut_error err = {NUT_OK, ""};
    nut_status status = c->run(argc - 1, argv + 1, &err);
    if (status != NUT_OK) {
        fprintf(stderr, "nutshell %s: %s: %s\n", argv[1], nut_status_name(status), err.message);
        return 1;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "nutshell %s: io: cannot write to standard output\n", argv[1]);
        return 1;
    }
    return 0;
}
