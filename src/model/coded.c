/* Heads of coded tensors, and their bytes as they come. */
#include "model/coded.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/xxhash.h"

#include <stdatomic.h>
#include <string.h>

/* The first part of a head. */
typedef struct fixed_part {
    uint8_t version, bits, n_classes, n_tables;
    uint32_t n_rows, n_cols, n_chunks, n_outliers, n_head;
} fixed_part;

static nut_status damaged(const gguf_tensor *t, const char *what, nut_error *err) {
    return error_set(err, NUT_E_CORRUPT,
                     "the model file is damaged: the coded tensor %.*s %s; download the file again",
                     (int)t->name.n, t->name.s, what);
}

static fixed_part read_fixed(cursor *c) {
    fixed_part h;
    (void)cursor_take(c, 4);
    h.version = cursor_u8(c), h.bits = cursor_u8(c), h.n_classes = cursor_u8(c), h.n_tables = cursor_u8(c);
    h.n_rows = cursor_u32(c), h.n_cols = cursor_u32(c);
    h.n_chunks = cursor_u32(c), h.n_outliers = cursor_u32(c), h.n_head = cursor_u32(c);
    return h;
}

static uint64_t n_rows_of(const gguf_tensor *t) {
    return t->dims[1] * t->dims[2] * t->dims[3];
}

static uint64_t n_groups_of(const gguf_tensor *t) {
    return (n_rows_of(t) + FORMAT_LANES - 1) / FORMAT_LANES;
}

/* Whether the numbers agree with the tensor's entry in the file, and are possible. Memory is taken by them
 * afterwards. */
static bool is_possible(const fixed_part *h, const gguf_tensor *t) {
    const format *f = format_by_ggml(t->ggml_type);
    const uint64_t room = CODED_FIXED + 3 * ((uint64_t)h->n_rows + h->n_cols) +
                          RANS_MAX_CLASSES * (uint64_t)(1 + 3 + 256) + 64 +
                          CODED_ENTRY * (uint64_t)h->n_chunks;
    return h->version == CODED_VERSION && h->bits == 8u * f->layout->bytes / FORMAT_UNIT &&
           h->n_rows == n_rows_of(t) && h->n_cols == t->dims[0] && h->n_cols <= MATRIX_MAX_CODED_COLS &&
           h->n_outliers == t->n_outliers && h->n_chunks >= 1 && h->n_chunks <= n_groups_of(t) &&
           h->n_classes >= 1 && h->n_classes <= RANS_MAX_CLASSES && h->n_tables >= 1 &&
           h->n_tables <= h->n_classes && h->n_head > CODED_FIXED + 4 && h->n_head <= room &&
           h->n_head <= t->n_bytes;
}

size_t coded_head_bytes(const uint8_t *fixed, const gguf_tensor *t) {
    cursor c = {.bytes = fixed, .n = CODED_FIXED};
    const fixed_part h = read_fixed(&c);
    return !memcmp(fixed, "NUTC", 4) && is_possible(&h, t) ? h.n_head : 0;
}

/* ---- packed arrays ---- */

/* Numbers of `width` bits, lowest first, that stand for least + (number << shift). */
typedef struct packed {
    const uint8_t *bytes;
    uint32_t least;
    uint8_t shift, width;
} packed;

static bool read_packed(cursor *c, uint64_t n, packed *p) {
    p->least = cursor_u16(c), p->shift = cursor_u8(c), p->width = cursor_u8(c);
    if (p->width > 16 || p->shift > 15) return false;
    p->bytes = cursor_take(c, (n * p->width + 7) / 8);
    return p->bytes != NULL;
}

static uint32_t packed_at(const packed *p, size_t i) {
    const uint64_t bit = (uint64_t)i * p->width;
    uint32_t v = 0;
    for (uint32_t got = 0; got < p->width;) { // bits of up to three bytes
        const uint32_t from = (uint32_t)((bit + got) % 8), some = 8 - from;
        v |= (uint32_t)(p->bytes[(bit + got) / 8] >> from) << got;
        got += some;
    }
    return p->least + ((v & ((1u << p->width) - 1)) << p->shift);
}

static bool read_scales(cursor *c, size_t n, float *out) {
    packed p;
    if (!read_packed(c, n, &p)) return false;
    for (size_t i = 0; i < n; i++) {
        const uint32_t code = packed_at(&p, i);
        if (code > UINT16_MAX) return false;
        out[i] = coded_scale_of((uint16_t)code);
    }
    return true;
}

/* *most receives the largest. */
static bool read_classes(cursor *c, size_t n, uint8_t *out, uint32_t *most) {
    packed p;
    *most = 0;
    if (!read_packed(c, n, &p)) return false;
    for (size_t i = 0; i < n; i++) {
        const uint32_t k = packed_at(&p, i);
        if (k >= RANS_MAX_CLASSES) return false;
        out[i] = (uint8_t)k;
        if (k > *most) *most = k;
    }
    return true;
}

/* ---- tables ---- */

/* Gives a symbol `count` slots from *at on. */
static void fill_slots(uint32_t *table, uint32_t *at, uint32_t count, int32_t code) {
    for (uint32_t i = 0; i < count; i++) table[*at + i] = rans_slot((uint8_t)code, i, count);
    *at += count;
}

/* The slots of all symbols; the one whose count is CODED_REST has what the others leave. */
static bool read_table(cursor *c, int32_t offset, uint32_t *table) {
    const int32_t least = (int8_t)cursor_u8(c);
    const uint32_t n = cursor_u8(c) + 1u; // symbols, the escape being the first
    const uint8_t *codes = cursor_take(c, n);
    uint32_t sum = 0, n_rest = 0, at = 0;
    if (!codes || least <= RANS_ESCAPE || least + (int32_t)n - 2 > INT8_MAX) return false;
    for (uint32_t i = 0; i < n; i++) {
        if (codes[i] == CODED_REST)
            n_rest++;
        else if (codes[i] >= 8 * 10)
            return false;
        else
            sum += coded_count_of(codes[i]);
    }
    if (n_rest != 1 || sum >= RANS_SLOTS) return false;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t z = i ? least + (int32_t)i - 1 : RANS_ESCAPE;
        fill_slots(table, &at, codes[i] == CODED_REST ? RANS_SLOTS - sum : coded_count_of(codes[i]),
                   z + offset);
    }
    return true;
}

static bool read_tables(cursor *c, const fixed_part *h, int32_t offset, uint32_t *tables, rans_model *m) {
    const uint8_t *of_class = cursor_take(c, h->n_classes);
    if (!of_class) return false;
    for (size_t i = 0; i < h->n_tables; i++)
        if (!read_table(c, offset, tables + i * RANS_SLOTS)) return false;
    for (size_t k = 0; k < h->n_classes; k++) {
        if (of_class[k] >= h->n_tables) return false;
        m->tables[k] = tables + of_class[k] * (size_t)RANS_SLOTS;
    }
    return true;
}

/* ---- chunks ---- */

static bool read_chunks(cursor *c, coded *k, const fixed_part *h, const gguf_tensor *t) {
    uint64_t at = h->n_head, group = 0, outlier = 0;
    for (uint32_t i = 0; i < h->n_chunks; i++) {
        coded_chunk *chunk = &k->chunks[i];
        *chunk = (coded_chunk){.at = at, .group = (uint32_t)group, .outlier = (uint32_t)outlier};
        chunk->n_bytes = cursor_u32(c), chunk->n_groups = cursor_u32(c);
        chunk->n_outliers = cursor_u32(c), chunk->checksum = cursor_u32(c);
        at += chunk->n_bytes, group += chunk->n_groups, outlier += chunk->n_outliers;
        if (chunk->n_bytes < CODED_CHUNK_HEAD || chunk->n_bytes > CODED_MAX_CHUNK || !chunk->n_groups ||
            group > n_groups_of(t) || outlier > t->n_outliers)
            return false;
    }
    return at == t->n_bytes && group == n_groups_of(t) && outlier == t->n_outliers;
}

bool coded_decode(const coded *k, uint32_t i, const uint8_t *bytes, const rans_target *to) {
    const coded_chunk *chunk = &k->chunks[i];
    cursor c = {.bytes = bytes, .n = chunk->n_bytes};
    rans_stream s;
    if (xxhash32(bytes, chunk->n_bytes) != chunk->checksum) return false;
    s.n_words = cursor_u32(&c);
    for (size_t lane = 0; lane < FORMAT_LANES; lane++) s.lanes[lane] = cursor_u32(&c);
    s.words = cursor_take(&c, 2 * (uint64_t)s.n_words);
    s.n_escapes = c.n - c.at;
    s.escapes = bytes + c.at;
    return s.words && rans_decode(&k->model, &s, to, chunk->group, chunk->n_groups, chunk->outlier,
                                  chunk->outlier + chunk->n_outliers);
}

/* ---- heads ---- */

typedef struct head_parts {
    float *row_scale, *col_scale;
    uint8_t *row_class, *col_class;
    uint32_t *tables;
} head_parts;

static bool take_parts(coded *k, const fixed_part *h, head_parts *p) {
    arena *a = &k->memory;
    arena_add(a, h->n_rows, sizeof *p->row_scale);
    arena_add(a, h->n_cols, sizeof *p->col_scale);
    arena_add(a, h->n_rows, 1);
    arena_add(a, h->n_cols, 1);
    arena_add(a, h->n_tables, RANS_SLOTS * sizeof *p->tables);
    arena_add(a, h->n_chunks, sizeof *k->chunks);
    if (!arena_open(a)) return false;
    p->row_scale = arena_take(a, h->n_rows, sizeof *p->row_scale);
    p->col_scale = arena_take(a, h->n_cols, sizeof *p->col_scale);
    p->row_class = arena_take(a, h->n_rows, 1);
    p->col_class = arena_take(a, h->n_cols, 1);
    p->tables = arena_take(a, h->n_tables, RANS_SLOTS * sizeof *p->tables);
    k->chunks = arena_take(a, h->n_chunks, sizeof *k->chunks);
    return true;
}

static bool read_parts(coded *k, cursor *c, const fixed_part *h, const head_parts *p, const format *as) {
    uint32_t most_row, most_col;
    return read_scales(c, h->n_rows, p->row_scale) && read_scales(c, h->n_cols, p->col_scale) &&
           read_classes(c, h->n_rows, p->row_class, &most_row) &&
           read_classes(c, h->n_cols, p->col_class, &most_col) && most_row + most_col < h->n_classes &&
           read_tables(c, h, rans_offset(as), p->tables, &k->model);
}

nut_status coded_open(coded *k, const gguf_tensor *t, const uint8_t *head, size_t n, const format *as,
                      nut_error *err) {
    cursor c = {.bytes = head, .n = n - 4}, sum = {.bytes = head, .n = n, .at = n - 4};
    const fixed_part h = read_fixed(&c);
    head_parts p;
    *k = (coded){.n_outliers = h.n_outliers, .n_chunks = h.n_chunks};
    if (cursor_u32(&sum) != xxhash32(head, n - 4)) return damaged(t, "has a wrong checksum", err);
    if (!take_parts(k, &h, &p)) return error_memory(err, k->memory.size);
    if (!read_parts(k, &c, &h, &p, as) || !read_chunks(&c, k, &h, t) || c.at != c.n)
        return damaged(t, "has an impossible head", err);
    k->model.row_scale = p.row_scale, k->model.col_scale = p.col_scale;
    k->model.row_class = p.row_class, k->model.col_class = p.col_class;
    k->model.n_rows = h.n_rows, k->model.n_cols = h.n_cols;
    return NUT_OK;
}

void coded_close(coded *k) {
    arena_close(&k->memory);
    *k = (coded){.n_chunks = 0};
}

void coded_begin(const coded *k, const coded_target *to) {
    if (!to->to.first) return;
    const coded_chunk *last = &k->chunks[k->n_chunks - 1];
    memcpy(to->col_scale, k->model.col_scale, k->model.n_cols * sizeof(float));
    to->to.first[last->group + last->n_groups] = k->n_outliers;
}

/* ---- bytes as they come ---- */

/* How many bytes the next piece has: the beginning of the head, all of it, or a chunk. 0: the head is wrong.
 */
static size_t piece_bytes(const coded_feed *f, const gguf_tensor *t, const uint8_t *p, size_t n) {
    if (f->open) return f->coded.chunks[f->chunk].n_bytes;
    return n < CODED_FIXED ? CODED_FIXED : coded_head_bytes(p, t);
}

/* Chunks that follow one another and are all there. */
typedef struct chunk_run {
    const coded *coded;
    const rans_target *to;
    const uint8_t *bytes;
    uint32_t first, n;
    atomic_bool damaged;
} chunk_run;

/* As many whole chunks as n bytes hold, from the next one on. *n_bytes receives theirs. */
static uint32_t whole_chunks(const coded_feed *f, size_t n, size_t *n_bytes) {
    uint32_t i = f->chunk;
    for (*n_bytes = 0; i < f->coded.n_chunks && n - *n_bytes >= f->coded.chunks[i].n_bytes; i++)
        *n_bytes += f->coded.chunks[i].n_bytes;
    return i - f->chunk;
}

/* Every `of`-th chunk of a run from `member` on. */
static void decode_share(void *ctx, unsigned member, unsigned of) {
    chunk_run *r = ctx;
    const uint64_t begin = r->coded->chunks[r->first].at;
    for (uint32_t i = r->first + member; i < r->first + r->n; i += of)
        if (!coded_decode(r->coded, i, r->bytes + (r->coded->chunks[i].at - begin), r->to))
            atomic_store(&r->damaged, true);
}

/* Decodes n chunks. The feed is ready for the next tensor after the last of one. */
static nut_status take_chunks(coded_feed *f, const gguf_tensor *t, const coded_target *to,
                              const uint8_t *bytes, uint32_t n, nut_error *err) {
    chunk_run r = {.coded = &f->coded, .to = &to->to, .bytes = bytes, .first = f->chunk, .n = n};
    if (f->team && n > 1)
        threads_run(f->team, decode_share, &r);
    else
        decode_share(&r, 0, 1);
    if (atomic_load(&r.damaged)) return damaged(t, "has a wrong chunk", err);
    f->chunk += n;
    if (f->chunk == f->coded.n_chunks) coded_drop(f);
    return NUT_OK;
}

static nut_status take_head(coded_feed *f, const gguf_tensor *t, const coded_target *to, const uint8_t *head,
                            size_t n, nut_error *err) {
    TRY(coded_open(&f->coded, t, head, n, to->to.format, err));
    coded_begin(&f->coded, to);
    f->open = true;
    return NUT_OK;
}

/* A head, or a chunk that came in pieces. */
static nut_status take_kept(coded_feed *f, const gguf_tensor *t, const coded_target *to, size_t n,
                            nut_error *err) {
    f->n_kept = 0;
    return f->open ? take_chunks(f, t, to, f->kept, 1, err) : take_head(f, t, to, f->kept, n, err);
}

/* Takes what is whole at the beginning of n bytes: a head of `want` bytes, or chunks of which the first has.
 * *n_taken receives its bytes. */
static nut_status take_whole(coded_feed *f, const gguf_tensor *t, const coded_target *to,
                             const uint8_t *bytes, size_t n, size_t want, size_t *n_taken, nut_error *err) {
    *n_taken = want;
    if (!f->open) return take_head(f, t, to, bytes, want, err);
    const uint32_t n_chunks = whole_chunks(f, n, n_taken);
    return take_chunks(f, t, to, bytes, n_chunks, err);
}

/* Keeps n more bytes. */
static nut_status keep(coded_feed *f, const uint8_t *bytes, size_t n, nut_error *err) {
    const size_t want = f->n_kept + n;
    if (want > f->room) {
        const size_t room = want < 2 * f->room ? 2 * f->room : want;
        uint8_t *p = mem_grow(f->kept, f->n_kept, room);
        if (!p) return error_memory(err, room);
        f->kept = p;
        f->room = room;
    }
    memcpy(f->kept + f->n_kept, bytes, n);
    f->n_kept = want;
    return NUT_OK;
}

nut_status coded_take(coded_feed *f, const gguf_tensor *t, const coded_target *to, const uint8_t *bytes,
                      size_t n, nut_error *err) {
    if (t->n_bytes <= CODED_FIXED + 4) return damaged(t, "is too short", err);
    while (n) {
        const uint8_t *piece = f->n_kept ? f->kept : bytes;
        const size_t have = f->n_kept ? f->n_kept : n, want = piece_bytes(f, t, piece, have);
        if (!want) return damaged(t, "begins wrongly", err);
        if (!f->n_kept && n >= want && (f->open || want > CODED_FIXED)) {
            size_t n_taken;
            TRY(take_whole(f, t, to, bytes, n, want, &n_taken, err));
            bytes += n_taken, n -= n_taken;
            continue;
        }
        const size_t missing = want - f->n_kept, some = missing < n ? missing : n;
        TRY(keep(f, bytes, some, err));
        bytes += some, n -= some;
        if (f->n_kept < want || (!f->open && want == CODED_FIXED)) continue;
        TRY(take_kept(f, t, to, want, err));
    }
    return NUT_OK;
}

void coded_drop(coded_feed *f) {
    coded_close(&f->coded);
    mem_free(f->kept);
    *f = (coded_feed){.team = f->team};
}
