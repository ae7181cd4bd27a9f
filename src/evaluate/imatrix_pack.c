/*
 * Entries as bytes, for the state of a calibration that was interrupted: for each the length of its name,
 * columns, matrices (u32 each), the name, tokens of each matrix (u64), then sum_squares, sum and max_abs as
 * they are in memory.
 */
#include "evaluate/imatrix.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

#include <string.h>

enum { KINDS = STATISTICS_SQUARES | STATISTICS_RANGES };
enum { HEAD = 12, EACH = 2 * sizeof(double) + sizeof(float) }; // bytes of an entry; of a column of it

static size_t entry_bytes(const imatrix_entry *e) {
    return HEAD + (size_t)e->name.n + e->n_stack * (sizeof(uint64_t) + e->n_cols * EACH);
}

static uint8_t *put(uint8_t *to, const void *bytes, size_t n) {
    memcpy(to, bytes, n);
    return to + n;
}

static uint8_t *put_entry(uint8_t *to, const imatrix_entry *e) {
    const uint32_t head[3] = {(uint32_t)e->name.n, (uint32_t)e->n_cols, e->n_stack};
    const size_t n = e->n_cols * e->n_stack;
    to = put(to, head, sizeof head);
    to = put(to, e->name.s, (size_t)e->name.n);
    for (uint32_t i = 0; i < e->n_stack; i++) to = put(to, &e->s[i].n_tokens, sizeof e->s[i].n_tokens);
    to = put(to, e->sum_squares, n * sizeof *e->sum_squares);
    to = put(to, e->sum, n * sizeof *e->sum);
    return put(to, e->max_abs, n * sizeof *e->max_abs);
}

nut_status imatrix_pack(const imatrix *im, size_t first, uint8_t **bytes, size_t *n, nut_error *err) {
    *n = 0;
    for (size_t i = first; i < im->n; i++) *n += entry_bytes(im->entries[i]);
    uint8_t *to = *bytes = mem_alloc(*n + 1);
    if (!to) return error_memory(err, *n);
    for (size_t i = first; i < im->n; i++) to = put_entry(to, im->entries[i]);
    return NUT_OK;
}

static bool get(cursor *c, void *to, size_t n) {
    if (n > c->n - c->at) return false;
    memcpy(to, c->bytes + c->at, n);
    c->at += n;
    return true;
}

static bool get_entry(cursor *c, imatrix_entry *e) {
    const size_t n = e->n_cols * e->n_stack;
    for (uint32_t i = 0; i < e->n_stack; i++)
        if (!get(c, &e->s[i].n_tokens, sizeof e->s[i].n_tokens)) return false;
    return get(c, e->sum_squares, n * sizeof *e->sum_squares) && get(c, e->sum, n * sizeof *e->sum) &&
           get(c, e->max_abs, n * sizeof *e->max_abs);
}

static nut_status damaged(nut_error *err) {
    return error_set(err, NUT_E_CORRUPT, "the saved state is damaged; remove it");
}

nut_status imatrix_unpack(imatrix *im, const uint8_t *bytes, size_t n, nut_error *err) {
    cursor c = {.bytes = bytes, .n = n};
    while (c.at < n) {
        uint32_t head[3];
        imatrix_entry *e;
        if (!get(&c, head, sizeof head) || head[0] > n - c.at || !head[1] || !head[2] ||
            (uint64_t)head[1] * head[2] > n / EACH)
            return damaged(err);
        const gguf_str name = {(const char *)bytes + c.at, head[0]};
        c.at += head[0];
        TRY(imatrix_add(im, name, KINDS, head[1], head[2], &e, err));
        if (!get_entry(&c, e)) return damaged(err);
    }
    return NUT_OK;
}
