/* What run and chat share: options of sampling, a session, figures (generate.c). */
#ifndef NUT_CLI_GENERATE_H
#define NUT_CLI_GENERATE_H

#include "cli/shortcuts.h"

enum {
#define NUT_X(type, field, standard, least, most, js, help) +1
    GENERATE_SAMPLING = 0 NUT_GENERATE_OPTION_LIST(NUT_X), // options of the list
#undef NUT_X
    GENERATE_MORE = 20,
    GENERATE_NAME = 32,
};

/* What run and chat are called with. */
typedef struct generate_args {
    file_options file;
    nut_generate_options options; // but for its stop texts
    arg_texts stop;
    uint32_t n_threads;
    bool json, profile;
    const char *draft, *draft_without; // a model that drafts; layers without which the model itself does
    float draft_confidence;
    uint32_t keep; // positions of a prompt that stay; 0: all
    shortcut_args shortcuts;
    const char *prompt;                                      // of run; of generate-set a path
    const char *output;                                      // of generate-set
    const char *system, *source, *tools, *overflow, *format; // of a chat
    char names[GENERATE_SAMPLING][GENERATE_NAME];            // "--max-tokens" of the field max_tokens
} generate_args;

/* Reads the arguments of a command, whose set lacks the options; max_tokens: their default. */
nut_status generate_read_args(generate_args *a, arg_set set, uint32_t max_tokens, int argc, char **argv,
                              nut_error *err);
/* A command with these arguments: opens the model at `path` and a session with it,
 * lets `run` work with them, and gives figures on stderr where that succeeds. */
typedef nut_status generate_run(const generate_args *a, const nut_model *m, nut_session *s, nut_error *err);
nut_status generate_command(const generate_args *a, const char *path, generate_run *run, nut_error *err);
/* A step of a generation. Behind the prompt, positions are left out where --keep says so. */
nut_status generate_step(const generate_args *a, nut_session *s, nut_step *step, nut_error *err);
/* The name of an end. */
const char *generate_finish_name(nut_finish finish);

#endif
