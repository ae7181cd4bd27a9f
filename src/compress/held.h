/*
 * A model between two steps of a recipe: what one has written is what the next one reads. It is held in
 * memory, in pieces, so that nothing of it moves while it grows.
 */
#ifndef NUT_COMPRESS_HELD_H
#define NUT_COMPRESS_HELD_H

#include "base/job.h"

/* Starts as {0}. */
typedef struct held {
    uint8_t **pieces; // (n_pieces) of HELD_PIECE bytes
    size_t n_pieces, room;
    uint64_t n; // bytes of the file
} held;

enum { HELD_PIECE = 4 << 20 };

/* Puts n bytes at `offset`, which is at most h->n. */
nut_status held_write(held *h, uint64_t offset, const uint8_t *bytes, size_t n, nut_error *err);
/* Answers what a job waits for (its event is NUT_JOB_OPEN or NUT_JOB_WANT of the model's file 0) out of h.
 * E_TRUNCATED where it wants more than there is. */
nut_status held_answer(const held *h, nut_job *job, const nut_job_event *e, nut_error *err);
void held_free(held *h);

#endif
