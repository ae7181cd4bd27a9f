/*
 * Messages that are typed on a terminal, and Ctrl-C while they are answered. The terminal is changed only
 * while a message is typed, and is as before on every way out of that, signals among them. Systems without
 * terminals of POSIX (WASI) have none.
 */
#ifndef NUT_CLI_CONSOLE_H
#define NUT_CLI_CONSOLE_H

#include "cli/cli.h"
#include "cli/editor.h"

typedef struct console {
    editor editor;
    char input[4096]; // what was read behind the end of a message
    size_t n_input, at;
} console;

/* Whether somebody types: input and errors are terminals that can move their cursor. */
bool console_is_there(void);
/* The next message, with `prompt` in front; *line is the console's until the next call. *more is false at
 * the end. */
nut_status console_read(console *c, const char *prompt, const char **line, bool *more, nut_error *err);
void console_free(console *c);

/* From now on Ctrl-C ends no longer the process, but is told by console_interrupted; pressed twice it does
 * end it. */
void console_watch(void);
void console_unwatch(void);
bool console_interrupted(void);

#endif
