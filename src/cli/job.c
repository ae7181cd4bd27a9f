/* Drives a job over files. Only one of the model's files is open at a time. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct job_files {
    const char *in;
    FILE *split; // the open file, or NULL
    char *path;  // its path
    uint32_t i;  // its number
    uint32_t n;  // of the model
    uint8_t *bytes;
    size_t room;
    file_sink out;
    bool showing; // a line of progress is on the terminal
} job_files;

static void close_split(job_files *f) {
    if (f->split) fclose(f->split);
    free(f->path);
    f->split = NULL;
    f->path = NULL;
}

static nut_status open_split(job_files *f, uint32_t i, uint64_t *size, nut_error *err) {
    close_split(f);
    f->i = i;
    return file_open_split(f->in, i, f->n, &f->path, &f->split, size, err);
}

static nut_status open_next(job_files *f, nut_job *job, const nut_job_event *e, nut_error *err) {
    uint64_t size;
    f->n = e->n_splits;
    TRY(open_split(f, e->split, &size, err));
    if (f->out.path) TRY(file_check_other(f->split, f->path, f->out.path, err));
    return nut_job_open(job, size, err);
}

static nut_status feed(job_files *f, nut_job *job, const nut_job_event *e, nut_error *err) {
    uint64_t size;
    if (e->n > f->room) {
        free(f->bytes);
        f->bytes = malloc(e->n);
        f->room = f->bytes ? e->n : 0;
        if (!f->bytes) return cli_error(err, NUT_E_MEMORY, "out of memory for a read buffer");
    }
    if (f->i != e->split) TRY(open_split(f, e->split, &size, err));
    TRY(file_read_at(f->split, f->path, e->offset, f->bytes, e->n, err));
    return nut_job_feed(job, f->bytes, e->n, err);
}

static void show_progress(job_files *f, const nut_job_event *e) {
    char what[80];
    snprintf(what, sizeof what, "%s", e->text);
    cli_clean(what);
    fprintf(stderr, "\r%4llu of %llu  %-40.40s", (unsigned long long)e->done, (unsigned long long)e->total,
            what);
    f->showing = true;
}

static void end_line(job_files *f) {
    if (f->showing) fputc('\n', stderr);
    f->showing = false;
}

static void show_note(job_files *f, const nut_job_event *e) {
    char text[512];
    end_line(f);
    snprintf(text, sizeof text, "%s", e->text);
    cli_clean(text);
    fprintf(stderr, "%s\n", text);
}

static nut_status answer(job_files *f, nut_job *job, const nut_job_event *e, nut_error *err) {
    switch (e->kind) {
    case NUT_JOB_OPEN: return open_next(f, job, e, err);
    case NUT_JOB_WANT: return feed(f, job, e, err);
    case NUT_JOB_WRITE: return file_sink_write(&f->out, e->offset, e->bytes, e->n, err);
    case NUT_JOB_NOTE: show_note(f, e); return NUT_OK;
    case NUT_JOB_PROGRESS: show_progress(f, e); return NUT_OK;
    case NUT_JOB_DONE: break;
    }
    return NUT_OK;
}

static nut_status drive(job_files *f, nut_job *job, nut_error *err) {
    nut_job_event e;
    do {
        TRY(nut_job_step(job, &e, err));
        TRY(answer(f, job, &e, err));
    } while (e.kind != NUT_JOB_DONE);
    return NUT_OK;
}

nut_status job_run(nut_job *job, const char *in, const char *out, nut_error *err) {
    job_files f = {.in = in};
    if (out) TRY(file_sink_open(out, &f.out, err));
    nut_status status = drive(&f, job, err);
    end_line(&f);
    close_split(&f);
    free(f.bytes);
    if (status == NUT_OK && out) status = file_sink_commit(&f.out, err);
    if (status != NUT_OK) file_sink_abort(&f.out);
    return status;
}
