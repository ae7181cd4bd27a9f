/* A file in memory. */
#include "compress/held.h"

#include "base/error.h"
#include "base/mem.h"

#include <string.h>

static nut_status add_piece(held *h, nut_error *err) {
    if (h->n_pieces == h->room) {
        const size_t room = 2 * h->room + 16;
        uint8_t **more = mem_grow(h->pieces, h->n_pieces * sizeof *more, room * sizeof *more);
        if (!more) return error_memory(err, room * sizeof *more);
        h->pieces = more;
        h->room = room;
    }
    uint8_t *piece = mem_alloc(HELD_PIECE);
    if (!piece) return error_memory(err, HELD_PIECE);
    h->pieces[h->n_pieces++] = piece;
    return NUT_OK;
}

/* Bytes from `offset` on that are in its piece, at most n. */
static size_t in_piece(uint64_t offset, size_t n) {
    const size_t left = HELD_PIECE - (size_t)(offset % HELD_PIECE);
    return n < left ? n : left;
}

nut_status held_write(held *h, uint64_t offset, const uint8_t *bytes, size_t n, nut_error *err) {
    while (n) {
        const size_t part = in_piece(offset, n), i = (size_t)(offset / HELD_PIECE);
        if (i == h->n_pieces) TRY(add_piece(h, err));
        memcpy(h->pieces[i] + offset % HELD_PIECE, bytes, part);
        offset += part, bytes += part, n -= part;
        if (offset > h->n) h->n = offset;
    }
    return NUT_OK;
}

nut_status held_answer(const held *h, nut_job *job, const nut_job_event *e, nut_error *err) {
    if (e->kind == NUT_JOB_OPEN) return nut_job_open(job, h->n, err);
    uint64_t offset = e->offset;
    size_t n = e->n;
    if (offset > h->n || n > h->n - offset)
        return error_set(err, NUT_E_TRUNCATED, "a step of the recipe has written less than its header says");
    while (n) {
        const size_t part = in_piece(offset, n);
        TRY(nut_job_feed(job, h->pieces[offset / HELD_PIECE] + offset % HELD_PIECE, part, err));
        offset += part, n -= part;
    }
    return NUT_OK;
}

void held_free(held *h) {
    for (size_t i = 0; i < h->n_pieces; i++) mem_free(h->pieces[i]);
    mem_free(h->pieces);
    *h = (held){0};
}
