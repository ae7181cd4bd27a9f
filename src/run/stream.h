/*
 * Text out: the bytes of tokens become whole UTF-8 characters, up to a stop text. Bytes from where a stop
 * text may have begun are held back. Bytes that can be no character become U+FFFD.
 *
 * Special tokens may be hidden: their text does not come out, but stop texts are looked for in both texts,
 * with it ("<|user|>" ends a generation where the model writes that token) and without (as the text is
 * seen).
 */
#ifndef NUT_RUN_STREAM_H
#define NUT_RUN_STREAM_H

#include "nutshell.h"

enum { STREAM_MAX_STOPS = NUT_MAX_STOPS, STREAM_MAX_STOP = NUT_MAX_STOP_BYTES };

typedef struct stream {
    size_t n_stops;
    char stops[STREAM_MAX_STOPS][STREAM_MAX_STOP];
    size_t stop_lengths[STREAM_MAX_STOPS];
    char *held; // (cap) bytes from where a stop text may have begun, hidden ones among them
    size_t n_held, cap;
    bool hidden[2 * STREAM_MAX_STOP]; // which of the bytes are, that were held before the last push
    size_t n_marked;                  // so many
    bool hides;                       // whether those of the last push are
    size_t whole_from;                // no hidden byte is missing from here on
    char begun[4];                    // a character whose end has not come yet
    size_t n_begun;
    char *text; // (3 * cap) what the last step emitted
    size_t n_text;
} stream;

/* Begins a text. Stop texts are copied; E_ARGUMENT where there are too many, or one is empty or too long. */
nut_status stream_reset(stream *st, const nut_generate_options *options, nut_error *err);
/* Takes the n bytes of one token, at most cap - 2 * STREAM_MAX_STOP; what can be emitted is then in text and
 * n_text. True: a stop text was reached (the text ends before it, and nothing more comes). */
bool stream_push(stream *st, const char *bytes, size_t n, bool hidden);
/* Emits what is held. */
void stream_flush(stream *st);

#endif
