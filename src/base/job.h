/*
 * What all kinds of jobs share (the contract is in nutshell.h). A kind of job is a struct that begins with a
 * nut_job, and two functions. Its `step` does a bounded amount of work and ends by telling one event with a
 * job_* function below, or by none: then it is called again. Waiting until all wanted bytes have come,
 * however few come at a time, and refusing calls in a wrong order is written once, in job.c.
 */
#ifndef NUT_BASE_JOB_H
#define NUT_BASE_JOB_H

#include "nutshell.h"

typedef struct job_ops {
    /* Called again after each event, once the caller has answered it. After an error it is called no more.
     */
    nut_status (*step)(nut_job *job, nut_error *err);
    void (*free)(nut_job *job); // with all that it holds
} job_ops;

struct nut_job {
    const job_ops *ops;
    nut_job_event event; // the last one; of NUT_JOB_WANT what is still missing
    bool told;           // the step that runs has told an event
    bool waiting;        // for the answer to NUT_JOB_OPEN or NUT_JOB_WANT
    bool failed;
    uint64_t size; // of the file opened last
    uint8_t *into; // where wanted bytes go
};

/* Asks for the size of file `split` of n; the next step finds it in job->size. */
void job_open(nut_job *job, uint32_t split, uint32_t n);
/* Asks for bytes [offset, offset + n) of a file (n > 0); they are all in `into` at the next step. */
void job_want(nut_job *job, uint32_t split, uint64_t offset, uint8_t *into, size_t n);
/* Gives n bytes that belong at `offset` of the output; they stay unchanged until the next step. */
void job_write(nut_job *job, uint64_t offset, const uint8_t *bytes, size_t n);
/* Tells the user something. The text stays unchanged until the next step, as in job_progress. */
void job_note(nut_job *job, const char *text);
void job_progress(nut_job *job, const char *what, uint64_t done, uint64_t total);
void job_done(nut_job *job);

/* A step of another job as a part of this one's: this one tells what that tells, and passes on what it is
 * answered. *over: the other one is done, and nothing was told. */
nut_status job_forward(nut_job *job, nut_job *other, bool *over, nut_error *err);

#endif
