/*
 * What a job keeps between runs: a log of records in a file of its own (NUT_JOB_STATE), so that work that
 * was interrupted goes on where it was. A record has a kind, a number, and bytes; each has a checksum that
 * depends on what the whole log is for, so that a record that was torn, or is left of another run, is not
 * taken. Big records that follow one another, such as what a text has become behind a layer, take turns in
 * two places.
 *
 * The functions are called step after step of the job until *ready; where they are not, they have told an
 * event.
 */
#ifndef NUT_BASE_STATE_H
#define NUT_BASE_STATE_H

#include "base/job.h"

typedef struct state_record {
    uint32_t kind, number;
    uint64_t at, n; // its bytes in the file
    bool whole;     // else it was being written when the run ended
} state_record;

typedef struct state {
    bool kept; // else nothing is written, and nothing was found
    uint64_t key;
    state_record *records; // (n) in the order of the file
    size_t n, room;
    uint64_t end; // where the next one goes
    // while it is read or written
    int phase;
    uint64_t size;
    uint8_t head[32];
    uint8_t *bytes;
    uint64_t n_bytes;
    state_record next;
} state;

/* Reads what is there for this key: of the model, the text and all options that matter. Another log is begun
 * anew. */
nut_status state_open(state *s, nut_job *job, uint64_t key, bool *ready, nut_error *err);
/* Appends a record, whose bytes stay until *ready, or writes it over another of its size. Does nothing where
 * no state is kept. */
nut_status state_write(state *s, nut_job *job, const state_record *over, uint32_t kind, uint32_t number,
                       const void *bytes, uint64_t n, bool *ready, nut_error *err);
/* The newest whole record of a kind and number; NULL: there is none. */
const state_record *state_find(const state *s, uint32_t kind, uint32_t number);
/* The newest whole record of a kind, whatever its number; NULL: there is none. */
const state_record *state_last(const state *s, uint32_t kind);
/* Record `nth` of a kind, whole or not, from 0 in the order of the file; NULL: there are fewer. */
const state_record *state_nth(const state *s, uint32_t kind, size_t nth);
/* The whole record of a kind with the largest number below `below`; NULL: there is none. */
const state_record *state_before(const state *s, uint32_t kind, uint32_t below);
/* The place for the next record of a kind whose records take turns in two places: the older one, or the one
 * that is not whole; NULL: one of its own. */
const state_record *state_turn(const state *s, uint32_t kind);
/* Asks for the bytes of a record. */
void state_want(const state_record *r, nut_job *job, void *into);
void state_free(state *s);

#endif
