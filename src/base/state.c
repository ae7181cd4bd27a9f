/*
 * The log: 16 bytes ("NUTSTATE", key), then records of 32 bytes (kind, number, size, checksum of the bytes,
 * key, checksum of the head) and their bytes. Reading ends at the first head that is wrong; a record whose
 * head is right and whose bytes are not was written over when the run ended, and is passed over.
 */
#include "base/state.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/xxhash.h"

#include <string.h>

enum { FILE_HEAD = 16, HEAD = 32 };
enum { MOST_RECORDS = 1 << 16 };
static const char mark[8] = "NUTSTATE";

static void put_le(uint8_t *to, uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = (uint8_t)(v >> (8 * i));
}

static void put_file_head(const state *s, uint8_t *to) {
    memcpy(to, mark, sizeof mark);
    put_le(to + 8, s->key, 8);
}

/* The checksum of a record's head has the log's key in it. */
static void put_head(const state *s, const state_record *r, uint32_t sum, uint8_t to[HEAD]) {
    put_le(to, r->kind, 4), put_le(to + 4, r->number, 4), put_le(to + 8, r->n, 8);
    put_le(to + 16, sum, 4), put_le(to + 20, s->key, 8), put_le(to + 28, xxhash32(to, 28), 4);
}

/* ---- reading ---- */

enum { OPENING, SIZED, BEGUN, HEADED, FILLED, OPENED, STARTED, ENDED };

static void end_reading(state *s) {
    mem_free(s->bytes);
    s->bytes = NULL;
    s->phase = OPENED;
}

static void want_head(state *s, nut_job *job) {
    if (s->size - s->end < HEAD || s->n == MOST_RECORDS) {
        end_reading(s);
        return;
    }
    job_want(job, NUT_JOB_STATE, s->end, s->head, HEAD);
    s->phase = HEADED;
}

static nut_status check_begin(state *s, nut_job *job, nut_error *err) {
    uint8_t right[FILE_HEAD];
    put_file_head(s, right);
    if (memcmp(s->head, mark, sizeof mark) != 0)
        return error_set(err, NUT_E_ARGUMENT,
                         "the file for the state of the work is there, and is none; choose another output");
    if (memcmp(s->head, right, FILE_HEAD) != 0) {
        end_reading(s); // another's: begun anew
        return NUT_OK;
    }
    s->end = FILE_HEAD;
    want_head(s, job);
    return NUT_OK;
}

static nut_status want_bytes(state *s, nut_job *job, nut_error *err) {
    cursor c = {.bytes = s->head, .n = HEAD};
    uint8_t right[HEAD];
    s->next = (state_record){.kind = cursor_u32(&c), .at = s->end + HEAD};
    s->next.number = cursor_u32(&c);
    s->next.n = cursor_u64(&c);
    put_head(s, &s->next, cursor_u32(&c), right);
    if (memcmp(s->head, right, HEAD) != 0 || s->next.at > s->size || s->next.n > s->size - s->next.at ||
        !s->next.n) {
        end_reading(s);
        return NUT_OK;
    }
    if (s->next.n > s->n_bytes) {
        mem_free(s->bytes);
        s->n_bytes = s->next.n;
        s->bytes = s->n_bytes < SIZE_MAX ? mem_alloc((size_t)s->n_bytes) : NULL;
        if (!s->bytes) return error_memory(err, s->n_bytes);
    }
    job_want(job, NUT_JOB_STATE, s->next.at, s->bytes, (size_t)s->next.n);
    s->phase = FILLED;
    return NUT_OK;
}

static nut_status add_record(state *s, nut_error *err) {
    if (s->n == s->room) {
        const size_t room = 2 * s->room + 16;
        state_record *more = mem_grow(s->records, s->n * sizeof *more, room * sizeof *more);
        if (!more) return error_memory(err, room * sizeof *more);
        s->records = more;
        s->room = room;
    }
    s->records[s->n++] = s->next;
    return NUT_OK;
}

static nut_status take_bytes(state *s, nut_job *job, nut_error *err) {
    cursor c = {.bytes = s->head, .n = HEAD, .at = 16};
    s->next.whole = xxhash32(s->bytes, (size_t)s->next.n) == cursor_u32(&c);
    s->end = s->next.at + s->next.n;
    TRY(add_record(s, err));
    want_head(s, job);
    return NUT_OK;
}

static void take_size(state *s, nut_job *job) {
    s->size = job->size;
    if (s->size < FILE_HEAD) {
        end_reading(s);
        return;
    }
    job_want(job, NUT_JOB_STATE, 0, s->head, FILE_HEAD);
    s->phase = BEGUN;
}

nut_status state_open(state *s, nut_job *job, uint64_t key, bool *ready, nut_error *err) {
    s->key = key;
    switch (s->phase) {
    case OPENING:
        s->phase = s->kept ? SIZED : OPENED;
        if (s->kept) job_open(job, NUT_JOB_STATE, 1);
        break;
    case SIZED: take_size(s, job); break;
    case BEGUN: TRY(check_begin(s, job, err)); break;
    case HEADED: TRY(want_bytes(s, job, err)); break;
    case FILLED: TRY(take_bytes(s, job, err)); break;
    default: break;
    }
    *ready = s->phase >= OPENED && !job->told;
    return NUT_OK;
}

/* ---- writing ---- */

static void write_bytes(nut_job *job, uint64_t at, const void *bytes, size_t n) {
    job_write(job, at, bytes, n);
    job->event.split = NUT_JOB_STATE;
}

/* The head first, so that a file has no holes: a record without its bytes shows by its checksum. */
static void write_head(state *s, nut_job *job, const state_record *r, const void *bytes) {
    s->next = *r;
    put_head(s, r, xxhash32(bytes, (size_t)r->n), s->head);
    write_bytes(job, r->at - HEAD, s->head, HEAD);
    s->phase = STARTED;
}

static nut_status end_record(state *s, nut_error *err) {
    s->phase = OPENED;
    for (size_t i = 0; i < s->n; i++)
        if (s->records[i].at == s->next.at) return s->records[i] = s->next, NUT_OK;
    s->end = s->next.at + s->next.n;
    return add_record(s, err);
}

nut_status state_write(state *s, nut_job *job, const state_record *over, uint32_t kind, uint32_t number,
                       const void *bytes, uint64_t n, bool *ready, nut_error *err) {
    *ready = !s->kept || s->phase == ENDED;
    if (!s->kept) return NUT_OK;
    if (*ready) return end_record(s, err);
    if (!s->end) {
        put_file_head(s, s->head);
        write_bytes(job, 0, s->head, s->end = FILE_HEAD);
    } else if (s->phase == OPENED) {
        const state_record r = {kind, number, over ? over->at : s->end + HEAD, n, true};
        write_head(s, job, &r, bytes);
    } else {
        write_bytes(job, s->next.at, bytes, (size_t)n);
        s->phase = ENDED;
    }
    return NUT_OK;
}

/* ---- what is there ---- */

const state_record *state_find(const state *s, uint32_t kind, uint32_t number) {
    for (size_t i = s->n; i-- > 0;)
        if (s->records[i].whole && s->records[i].kind == kind && s->records[i].number == number)
            return &s->records[i];
    return NULL;
}

const state_record *state_last(const state *s, uint32_t kind) {
    for (size_t i = s->n; i-- > 0;)
        if (s->records[i].whole && s->records[i].kind == kind) return &s->records[i];
    return NULL;
}

const state_record *state_nth(const state *s, uint32_t kind, size_t nth) {
    for (size_t i = 0; i < s->n; i++)
        if (s->records[i].kind == kind && nth-- == 0) return &s->records[i];
    return NULL;
}

const state_record *state_before(const state *s, uint32_t kind, uint32_t below) {
    const state_record *best = NULL, *r;
    for (size_t i = 0; (r = state_nth(s, kind, i)); i++)
        if (r->whole && r->number < below && (!best || r->number > best->number)) best = r;
    return best;
}

const state_record *state_turn(const state *s, uint32_t kind) {
    const state_record *a = state_nth(s, kind, 0), *b = state_nth(s, kind, 1);
    if (!a || !b) return NULL;
    return !a->whole || (b->whole && a->number < b->number) ? a : b;
}

void state_want(const state_record *r, nut_job *job, void *into) {
    job_want(job, NUT_JOB_STATE, r->at, into, (size_t)r->n);
}

void state_free(state *s) {
    mem_free(s->bytes);
    mem_free(s->records);
    *s = (state){0};
}
