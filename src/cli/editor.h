/*
 * A message while it is typed: what keys do to it, the messages before it, and how it looks on a terminal.
 * Knows no terminal itself: console.c gives it the bytes that come from one and writes what it draws.
 */
#ifndef NUT_CLI_EDITOR_H
#define NUT_CLI_EDITOR_H

#include <stdbool.h>
#include <stddef.h>

/* Columns that a character takes: 0 where it stands on the one before it, 2 where it is wide (Unicode 14,
 * UAX #11, and the categories Mn, Me and Cf; width.c). */
int width_of(unsigned long c);

typedef struct editor_text { // terminated; NULL while it is empty and was never more
    char *bytes;
    size_t n, cap;
} editor_text;

typedef struct editor {
    editor_text text;
    size_t at; // bytes in front of the cursor
    editor_text *history, draft;
    size_t n_history;
    size_t shown; // entry of the history, n_history: the draft
    char key[16]; // bytes of a key or character whose end has not come
    size_t n_key;
    bool pasting, after_cr;
    size_t row; // of the screen, from that of the prompt, where the cursor was left
    editor_text screen;
    bool failed; // out of memory: something is missing
} editor;

typedef enum editor_event {
    EDITOR_MORE,
    EDITOR_LINE,    // the message is complete
    EDITOR_END,     // no more messages
    EDITOR_SUSPEND, // the process shall stop
    EDITOR_CLEAR,   // the screen shall be empty
} editor_event;

/* One byte of input. */
editor_event editor_feed(editor *e, char byte);
/* Puts the message into the history and begins the next one. *line receives it, until the next call;
 * false: out of memory. */
bool editor_take(editor *e, const char **line);
/* What draws prompt (of ASCII) and message anew on a terminal of this size: e->screen. */
void editor_draw(editor *e, const char *prompt, size_t columns, size_t rows);
void editor_free(editor *e);

#endif
