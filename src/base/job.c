/* The part of a job that does not depend on its kind: events and their answers. */
#include "base/job.h"

#include "base/error.h"

#include <string.h>

/* ---- what a step tells ---- */

static void tell(nut_job *job, nut_job_event event, bool waiting) {
    job->event = event;
    job->told = true;
    job->waiting = waiting;
}

void job_open(nut_job *job, uint32_t split, uint32_t n) {
    tell(job, (nut_job_event){.kind = NUT_JOB_OPEN, .split = split, .n_splits = n}, true);
}

void job_want(nut_job *job, uint32_t split, uint64_t offset, uint8_t *into, size_t n) {
    job->into = into;
    tell(job, (nut_job_event){.kind = NUT_JOB_WANT, .split = split, .offset = offset, .n = n}, true);
}

void job_write(nut_job *job, uint64_t offset, const uint8_t *bytes, size_t n) {
    tell(job, (nut_job_event){.kind = NUT_JOB_WRITE, .offset = offset, .bytes = bytes, .n = n}, false);
}

void job_note(nut_job *job, const char *text) {
    tell(job, (nut_job_event){.kind = NUT_JOB_NOTE, .text = text}, false);
}

void job_progress(nut_job *job, const char *what, uint64_t done, uint64_t total) {
    tell(job, (nut_job_event){.kind = NUT_JOB_PROGRESS, .text = what, .done = done, .total = total}, false);
}

void job_done(nut_job *job) {
    tell(job, (nut_job_event){.kind = NUT_JOB_DONE}, false);
}

/* ---- jobs in jobs ---- */

/* What the other one waits for came by way of this one; wanted bytes are where it wanted them. */
static nut_status pass_answer(const nut_job *job, nut_job *other, nut_error *err) {
    if (!other->waiting) return NUT_OK;
    if (other->event.kind == NUT_JOB_OPEN) return nut_job_open(other, job->size, err);
    other->waiting = false;
    return NUT_OK;
}

nut_status job_forward(nut_job *job, nut_job *other, bool *over, nut_error *err) {
    nut_job_event e;
    TRY(pass_answer(job, other, err));
    TRY(nut_job_step(other, &e, err));
    *over = e.kind == NUT_JOB_DONE;
    if (*over) return NUT_OK;
    if (e.kind == NUT_JOB_WANT) job->into = other->into;
    tell(job, e, e.kind == NUT_JOB_OPEN || e.kind == NUT_JOB_WANT);
    return NUT_OK;
}

/* ---- what the caller does ---- */

nut_status nut_job_step(nut_job *job, nut_job_event *event, nut_error *err) {
    if (job->failed) return error_set(err, NUT_E_STATE, "this job has failed; free it and begin again");
    const bool over = job->told && job->event.kind == NUT_JOB_DONE;
    if (!job->waiting && !over) job->told = false;
    while (!job->told) {
        nut_status status = job->ops->step(job, err);
        job->failed = status != NUT_OK;
        if (status != NUT_OK) return status;
    }
    *event = job->event;
    return NUT_OK;
}

static nut_status check_answer(const nut_job *job, nut_job_kind to, nut_error *err) {
    if (job->waiting && job->event.kind == to) return NUT_OK;
    return error_set(err, NUT_E_STATE, "the job did not ask for this; call nut_job_step and answer that");
}

nut_status nut_job_open(nut_job *job, uint64_t size, nut_error *err) {
    TRY(check_answer(job, NUT_JOB_OPEN, err));
    job->size = size;
    job->waiting = false;
    return NUT_OK;
}

nut_status nut_job_feed(nut_job *job, const void *bytes, size_t n, nut_error *err) {
    TRY(check_answer(job, NUT_JOB_WANT, err));
    if (n > job->event.n)
        return error_set(err, NUT_E_ARGUMENT, "%zu bytes were fed and only %zu are wanted", n, job->event.n);
    if (n) memcpy(job->into, bytes, n);
    job->into += n;
    job->event.offset += n;
    job->event.n -= n;
    job->waiting = job->event.n > 0;
    return NUT_OK;
}

void nut_job_free(nut_job *job) {
    if (job) job->ops->free(job);
}
