/*
 * The module nutshell-compress: what the worker of a page that makes models can call, over nutshell.h alone.
 * One job per module instance. Numbers and addresses travel as in nut_wasm.c: 64-bit quantities as doubles,
 * inputs through a staging buffer, a negative number where a call fails. Pages that only run models do not
 * fetch it.
 */
#include "nutshell.h"

#include <stdlib.h>

static struct {
    nut_error err;
    nut_job *job;
    nut_job_event event;
    unsigned char *staging;
    size_t staging_size;
    double facts[8];
} c;

static int fail(nut_status code, const char *message) {
    size_t n = 0;
    c.err.code = code;
    for (; message[n] && n + 1 < sizeof c.err.message; n++) c.err.message[n] = message[n];
    c.err.message[n] = '\0';
    return -1;
}

static int check(nut_status status) {
    return status == NUT_OK ? 0 : -1;
}

static int no_job(void) {
    return fail(NUT_E_STATE, "no job was begun");
}

const char *nutc_version(void) {
    return nut_version();
}

const char *nutc_error_name(void) {
    return nut_status_name(c.err.code);
}

const char *nutc_error_message(void) {
    return c.err.message;
}

/* Address of a buffer of at least n bytes for the next call's input; 0 without memory. n = 0 frees it. */
void *nutc_staging(double n) {
    const size_t size = n > 0 && n < 4294967296.0 ? (size_t)n : 0;
    if (size && size <= c.staging_size) return c.staging;
    free(c.staging);
    c.staging = size ? malloc(size) : NULL;
    c.staging_size = c.staging ? size : 0;
    if (n > 0 && !c.staging) fail(NUT_E_MEMORY, "no memory is left for an input; close other tabs");
    return c.staging;
}

/* Ends the job, done or not. */
void nutc_end(void) {
    nut_job_free(c.job);
    c.job = NULL;
}

/* Begins a job that compresses a model. Terminated texts; method 0: the default. */
int nutc_compress(const char *method, const char *type) {
    nutc_end();
    const nut_compress_options o = {.method = method, .type = type};
    return check(nut_compress_begin(&o, &c.job, &c.err));
}

/* One step: nut_job_kind, or -1. */
int nutc_step(void) {
    if (!c.job) return no_job();
    return nut_job_step(c.job, &c.event, &c.err) == NUT_OK ? (int)c.event.kind : -1;
}

/* What the last step told, as eight doubles: split, number of splits, offset, n, address of the bytes,
 * address of the terminated text, done, total. Bytes and text live until the next step. */
const double *nutc_event(void) {
    const nut_job_event *e = &c.event;
    const double facts[] = {e->split,
                            e->n_splits,
                            (double)e->offset,
                            (double)e->n,
                            (double)(uintptr_t)e->bytes,
                            (double)(uintptr_t)e->text,
                            (double)e->done,
                            (double)e->total};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) c.facts[i] = facts[i];
    return c.facts;
}

/* The size of the file that the last step asked for. */
int nutc_open(double size) {
    if (!c.job) return no_job();
    if (!(size >= 0 && size <= 9007199254740992.0)) return fail(NUT_E_ARGUMENT, "this is no size of a file");
    return check(nut_job_open(c.job, (uint64_t)size, &c.err));
}

/* The first n bytes of the staging buffer are the next of those that are wanted. */
int nutc_feed(double n) {
    if (!c.job) return no_job();
    if (!(n >= 0) || n > (double)c.staging_size) return fail(NUT_E_ARGUMENT, "more bytes than were staged");
    return check(nut_job_feed(c.job, c.staging, (size_t)n, &c.err));
}
