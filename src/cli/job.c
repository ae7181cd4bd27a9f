/* Drives a job over files. Only one of the model's files is open at a time. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct job_files {
    const char *in;
    FILE *split; // the open file, or NULL
    char *path;  // its path
    uint32_t i;  // its number
    uint32_t n;  // of the model
    uint8_t *bytes;
    size_t room;
    file_sink out;
    file_state state;
    bool showing; // a line of progress is on the terminal
    time_t begun; // of what is done since the first progress that was told
    uint64_t done_before;
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
    if (e->split == NUT_JOB_STATE || e->split == NUT_JOB_OUTPUT) {
        TRY(e->split == NUT_JOB_STATE ? file_state_size(&f->state, &size, err)
                                      : file_sink_size(&f->out, &size, err));
        return nut_job_open(job, size, err);
    }
    f->n = e->n_splits;
    TRY(open_split(f, e->split, &size, err));
    if (f->out.path) TRY(file_check_other(f->split, f->path, f->out.path, err));
    return nut_job_open(job, size, err);
}

static nut_status read_file(job_files *f, const nut_job_event *e, nut_error *err) {
    uint64_t size;
    if (e->split == NUT_JOB_OUTPUT) return file_sink_read(&f->out, e->offset, f->bytes, e->n, err);
    if (e->split == NUT_JOB_STATE)
        return file_read_at(f->state.file, f->state.path, e->offset, f->bytes, e->n, err);
    if (f->i != e->split || !f->split) TRY(open_split(f, e->split, &size, err));
    return file_read_at(f->split, f->path, e->offset, f->bytes, e->n, err);
}

static nut_status write_file(job_files *f, const nut_job_event *e, nut_error *err) {
    if (e->split == NUT_JOB_STATE) return file_state_write(&f->state, e->offset, e->bytes, e->n, err);
    return file_sink_write(&f->out, e->offset, e->bytes, e->n, err);
}

static nut_status feed(job_files *f, nut_job *job, const nut_job_event *e, nut_error *err) {
    if (e->n > f->room) {
        free(f->bytes);
        f->bytes = malloc(e->n);
        f->room = f->bytes ? e->n : 0;
        if (!f->bytes) return cli_error(err, NUT_E_MEMORY, "out of memory for a read buffer");
    }
    TRY(read_file(f, e, err));
    return nut_job_feed(job, f->bytes, e->n, err);
}

/* "  3 min left", once there is something to tell it by. */
static void tell_left(job_files *f, const nut_job_event *e, char *out, size_t cap) {
    const time_t now = time(NULL);
    if (!f->begun) f->begun = now, f->done_before = e->done;
    const double seconds = difftime(now, f->begun), done = (double)(e->done - f->done_before);
    if (e->done < f->done_before || seconds < 3 || done * 50 < (double)(e->total - f->done_before)) return;
    const double left = seconds * (double)(e->total - e->done) / done;
    if (left < 90)
        snprintf(out, cap, "%.0f s left", left);
    else
        snprintf(out, cap, "%.0f min left", left / 60);
}

static void show_progress(job_files *f, const nut_job_event *e) {
    char what[80], left[40] = "";
    snprintf(what, sizeof what, "%s", e->text);
    cli_clean(what);
    tell_left(f, e, left, sizeof left);
    fprintf(stderr, "\r%4llu of %llu  %-40.40s  %-12.12s", (unsigned long long)e->done,
            (unsigned long long)e->total, what, left);
    f->showing = true;
}

static void end_line(job_files *f) {
    if (f->showing) fputc('\n', stderr);
    f->showing = false;
}

static void show_note(job_files *f, const nut_job_event *e) {
    char text[2000];
    end_line(f);
    snprintf(text, sizeof text, "%s", e->text);
    cli_clean(text);
    fprintf(stderr, "%s\n", text);
}

static nut_status answer(job_files *f, nut_job *job, const nut_job_event *e, nut_error *err) {
    switch (e->kind) {
    case NUT_JOB_OPEN: return open_next(f, job, e, err);
    case NUT_JOB_WANT: return feed(f, job, e, err);
    case NUT_JOB_WRITE: return write_file(f, e, err);
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

/* Work can go on that a full disk, too little memory, or training that went astray has ended; and what is
 * there already is not lost by a slip in options. */
static bool can_go_on(const job_files *f, nut_status status) {
    return status == NUT_E_IO || status == NUT_E_MEMORY || status == NUT_E_STATE ||
           (status == NUT_E_ARGUMENT && f->state.found);
}

static void end_state(job_files *f, nut_status status) {
    uint64_t size = 0;
    nut_error err;
    if (can_go_on(f, status)) file_state_size(&f->state, &size, &err);
    const bool keep = size > 0;
    if (keep)
        fprintf(stderr, "what was done is kept in %s: the same command goes on with it\n", f->state.path);
    file_state_close(&f->state, keep);
}

static nut_status run(job_files *f, nut_job *job, const char *out, nut_error *err) {
    nut_status status = out ? file_sink_open(out, &f->out, err) : NUT_OK;
    if (status == NUT_OK) status = drive(f, job, err);
    end_line(f);
    close_split(f);
    free(f->bytes);
    if (status == NUT_OK && out) status = file_sink_commit(&f->out, err);
    if (status != NUT_OK) file_sink_abort(&f->out);
    return status;
}

nut_status job_run(nut_job *job, const char *in, const char *out, nut_error *err) {
    job_files f = {.in = in};
    return run(&f, job, out, err);
}

nut_status job_run_kept(nut_job *job, const char *in, const char *out, nut_error *err) {
    job_files f = {.in = in};
    TRY(file_state_open(out, &f.state, err));
    const nut_status status = run(&f, job, out, err);
    end_state(&f, status);
    return status;
}
