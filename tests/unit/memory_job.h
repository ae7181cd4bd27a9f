/* Drives a job over files in memory, whole or in small feeds, until it ends, is stopped, or a read or a
 * write fails:
 *
 *     memory_job m = {.file = {file}, .n_bytes = {n}};
 *     nut_status status = memory_job_run(&m, job, &err);   // and frees the job
 *     ... m.out, m.n_out ...
 *     free(m.out);
 */
#ifndef NUT_TESTS_MEMORY_JOB_H
#define NUT_TESTS_MEMORY_JOB_H

#include "base/rng.h"
#include "nutshell_compress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_JOB_FILES = 8 };

typedef struct memory_job {
    const uint8_t *file[MEMORY_JOB_FILES];
    size_t n_bytes[MEMORY_JOB_FILES];
    size_t n_files;               // 0: one
    rng *random;                  // NULL: what is wanted is fed at once; else fewer bytes, at random
    size_t fail_read, fail_write; // the k-th fails; 0: none
    size_t stop_at;               // stops after so many steps; 0: never
    uint8_t *state;               // (n_state) kept between runs: NULL and 0 at first; free() it
    size_t n_state;
    // what came of it
    uint8_t *out;
    size_t n_out, cap;
    size_t n_reads, n_writes, n_steps, n_progress;
    size_t n_wrong; // events that break the contract
    bool done;
    char notes[1024]; // one after the other
} memory_job;

static inline nut_status memory_job_fail(nut_error *err) {
    if (err) *err = (nut_error){NUT_E_IO, "the disk is full"};
    return NUT_E_IO;
}

static inline nut_status memory_job_open(memory_job *m, nut_job *job, const nut_job_event *e,
                                         nut_error *err) {
    const size_t n = m->n_files ? m->n_files : 1;
    if (e->split == NUT_JOB_STATE) return nut_job_open(job, m->n_state, err);
    if (e->split == NUT_JOB_OUTPUT) return nut_job_open(job, m->n_out, err);
    if (e->split >= n) return memory_job_fail(err);
    m->n_wrong += e->split > 0 && e->split >= e->n_splits;
    return nut_job_open(job, m->n_bytes[e->split], err);
}

static inline nut_status memory_job_feed(memory_job *m, nut_job *job, const nut_job_event *e,
                                         nut_error *err) {
    const bool own = e->split == NUT_JOB_STATE || e->split == NUT_JOB_OUTPUT;
    const uint8_t *file = e->split == NUT_JOB_STATE    ? m->state
                          : e->split == NUT_JOB_OUTPUT ? m->out
                                                       : m->file[own ? 0 : e->split % MEMORY_JOB_FILES];
    const size_t size = e->split == NUT_JOB_STATE     ? m->n_state
                        : e->split == NUT_JOB_OUTPUT  ? m->n_out
                        : e->split < MEMORY_JOB_FILES ? m->n_bytes[e->split]
                                                      : 0;
    size_t n = e->n;
    if (e->n > size || e->offset > size - e->n || !e->n) {
        m->n_wrong++;
        return memory_job_fail(err);
    }
    if (++m->n_reads == m->fail_read) return memory_job_fail(err);
    if (m->random) n = (size_t)(rng_f64(m->random) * (double)((size_t)1 << (rng_u64(m->random) % 18)));
    return nut_job_feed(job, file + e->offset, n < e->n ? n : e->n, err);
}

static inline nut_status memory_job_keep(memory_job *m, const nut_job_event *e, nut_error *err) {
    const size_t end = (size_t)e->offset + e->n;
    if (!e->n || e->offset > m->n_state) {
        m->n_wrong++;
        return memory_job_fail(err);
    }
    if (end > m->n_state) {
        m->state = realloc(m->state, end);
        m->n_state = end;
        if (!m->state) exit(2);
    }
    memcpy(m->state + e->offset, e->bytes, e->n);
    return NUT_OK;
}

static inline nut_status memory_job_write(memory_job *m, const nut_job_event *e, nut_error *err) {
    if (e->split == NUT_JOB_STATE) return memory_job_keep(m, e, err);
    if (!e->n || e->offset > m->n_out) {
        m->n_wrong++;
        return memory_job_fail(err);
    }
    if (++m->n_writes == m->fail_write) return memory_job_fail(err);
    const size_t end = (size_t)e->offset + e->n;
    if (end > m->cap) {
        m->cap = 2 * end;
        m->out = realloc(m->out, m->cap);
        if (!m->out) exit(2);
    }
    memcpy(m->out + e->offset, e->bytes, e->n);
    if (end > m->n_out) m->n_out = end;
    return NUT_OK;
}

static inline nut_status memory_job_answer(memory_job *m, nut_job *job, const nut_job_event *e,
                                           nut_error *err) {
    const size_t n = strlen(m->notes);
    switch (e->kind) {
    case NUT_JOB_OPEN: return memory_job_open(m, job, e, err);
    case NUT_JOB_WANT: return memory_job_feed(m, job, e, err);
    case NUT_JOB_WRITE: return memory_job_write(m, e, err);
    case NUT_JOB_NOTE: snprintf(m->notes + n, sizeof m->notes - n, "%s\n", e->text); break;
    case NUT_JOB_PROGRESS:
        m->n_progress++;
        m->n_wrong += e->done > e->total || !e->text || strlen(e->text) > 64;
        break;
    case NUT_JOB_DONE: m->done = true; break;
    }
    return NUT_OK;
}

/* To its end; the job stays. */
static inline nut_status memory_job_drive(memory_job *m, nut_job *job, nut_error *err) {
    nut_status status = NUT_OK;
    while (status == NUT_OK && !m->done && (!m->stop_at || m->n_steps < m->stop_at)) {
        nut_job_event e;
        m->n_steps++;
        status = nut_job_step(job, &e, err);
        if (status == NUT_OK) status = memory_job_answer(m, job, &e, err);
    }
    return status;
}

static inline nut_status memory_job_run(memory_job *m, nut_job *job, nut_error *err) {
    nut_status status = memory_job_drive(m, job, err);
    nut_job_free(job);
    return status;
}

/* Compresses the files of m by rounding to `type`. */
static inline nut_status memory_job_round(memory_job *m, const char *type, nut_error *err) {
    nut_job *job;
    nut_status status = nut_compress_begin(&(nut_compress_options){.type = type}, &job, err);
    return status == NUT_OK ? memory_job_run(m, job, err) : status;
}

/* The perplexity of n ids in a session. */
static inline nut_status memory_job_perplexity(nut_session *s, const int32_t *ids, size_t n, uint32_t window,
                                               uint32_t max_windows, nut_perplexity_result *out,
                                               nut_error *err) {
    memory_job m = {0};
    nut_job *job;
    nut_status status = nut_perplexity_begin(s, ids, n, window, max_windows, &job, err);
    if (status != NUT_OK) return status;
    status = memory_job_drive(&m, job, err);
    if (status == NUT_OK) status = nut_perplexity_get(job, out, err);
    nut_job_free(job);
    return status;
}

#endif
