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
enum { N_COMMANDS = sizeof commands / sizeof *commands };

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

static void print_usage(FILE *to) {
    fprintf(to,
            "nutshell %s: language models in a small engine\n\nusage: nutshell COMMAND ... (--help after a "
            "command "
            "lists its options)\n\n",
            nut_version());
    for (size_t i = 0; i < N_COMMANDS; i++) fprintf(to, "  %-12s%s\n", commands[i].name, commands[i].help);
}

static const command *find_command(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
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
        fprintf(stderr, "nutshell %s: %s: %s\n", c->name, nut_status_name(status), err.message);
        return 1;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "nutshell %s: io: cannot write to standard output\n", c->name);
        return 1;
    }
    return 0;
}
