/* Options of run, chat and evaluate that let a model do less than all of its work, and what came of them. */
#ifndef NUT_CLI_SHORTCUTS_H
#define NUT_CLI_SHORTCUTS_H

#include "cli/cli.h"

enum { SHORTCUT_OPTIONS = 7 };

typedef struct shortcut_args {
    const char *exit; // "margin:0.9"; NULL: none
    uint32_t exit_first, exit_every, exit_length, experts;
    float exit_decay, experts_mass;
} shortcut_args;

typedef struct shortcut_figures {
    nut_exit_figures exit;
    nut_experts_figures experts;
} shortcut_figures;

void shortcuts_list(shortcut_args *a, arg_option o[SHORTCUT_OPTIONS]);
/* Lets a session take the shortcuts that were asked for. */
nut_status shortcuts_set(const shortcut_args *a, nut_session *s, nut_error *err);
shortcut_figures shortcuts_figures(const nut_session *s);
/* A sentence for each shortcut that was taken; members of a JSON object, each behind a comma. */
void shortcuts_print(FILE *to, const shortcut_figures *f);
void shortcuts_json(const shortcut_figures *f);

#endif
