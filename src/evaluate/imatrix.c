/* Statistics of a model's matrices by name, and reading them from files. */
#include "evaluate/imatrix.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/sort.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- entries ---- */

static int by_text(gguf_str a, gguf_str b) {
    const int order = memcmp(a.s, b.s, (size_t)(a.n < b.n ? a.n : b.n));
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int by_name(const void *a, const void *b) {
    return by_text((*(imatrix_entry *const *)a)->name, (*(imatrix_entry *const *)b)->name);
}

/* One block: the entry, statistics, doubles, floats, the name. */
static imatrix_entry *new_entry(gguf_str name, unsigned kinds, size_t n_cols, uint32_t n_stack) {
    const size_t each = sizeof(double) * 2 + sizeof(float);
    size_t n, bytes, head;
    if (!size_mul(n_cols, n_stack, &n) || !size_mul(n, each, &bytes) ||
        !size_mul(n_stack, sizeof(statistics), &head) || !size_add(bytes, head, &bytes) ||
        !size_add(bytes, sizeof(imatrix_entry) + (size_t)name.n, &bytes))
        return NULL;
    imatrix_entry *e = mem_calloc(1, bytes);
    if (!e) return NULL;
    *e = (imatrix_entry){.n_cols = n_cols, .n_stack = n_stack, .s = (statistics *)(e + 1)};
    e->sum_squares = (double *)(e->s + n_stack);
    e->sum = e->sum_squares + n;
    e->max_abs = (float *)(e->sum + n);
    e->name = (gguf_str){memcpy(e->max_abs + n, name.s, (size_t)name.n), name.n};
    for (uint32_t i = 0; i < n_stack; i++) {
        const size_t at = i * n_cols;
        e->s[i] = (statistics){.kinds = kinds, .n_cols = n_cols, .sum_squares = e->sum_squares + at};
        if (kinds & STATISTICS_RANGES) e->s[i].sum = e->sum + at, e->s[i].max_abs = e->max_abs + at;
    }
    return e;
}

nut_status imatrix_add(imatrix *im, gguf_str name, unsigned kinds, size_t n_cols, uint32_t n_stack,
                       imatrix_entry **out, nut_error *err) {
    if (im->n == im->cap) {
        const size_t cap = im->cap ? 2 * im->cap : 64, size = sizeof *im->entries;
        imatrix_entry **grown = mem_grow(im->entries, im->n * size, cap * size);
        if (!grown) return error_memory(err, cap * size);
        im->entries = grown;
        im->cap = cap;
    }
    *out = new_entry(name, kinds, n_cols, n_stack);
    if (!*out) return error_memory(err, (uint64_t)n_cols * n_stack * 20);
    im->entries[im->n++] = *out;
    return NUT_OK;
}

static nut_status blame(gguf_str name, const char *why, nut_error *err) {
    return error_set(err, NUT_E_CORRUPT, "statistics of %.*s: %s; make them again",
                     (int)(name.n < 64 ? name.n : 64), name.s, why);
}

nut_status imatrix_sort(imatrix *im, nut_error *err) {
    sort_rows(im->entries, im->n, sizeof *im->entries, by_name);
    for (size_t i = 1; i < im->n; i++)
        if (!by_name(&im->entries[i - 1], &im->entries[i]))
            return blame(im->entries[i]->name, "they are there twice", err);
    return NUT_OK;
}

void imatrix_free(imatrix *im) {
    for (size_t i = 0; i < im->n; i++) mem_free(im->entries[i]);
    mem_free(im->entries);
    *im = (imatrix){0};
}

static const imatrix_entry *find(const imatrix *im, gguf_str name) {
    for (size_t low = 0, high = im->n; low < high;) {
        const size_t middle = low + (high - low) / 2;
        const int order = by_text(name, im->entries[middle]->name);
        if (!order) return im->entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const statistics *imatrix_find(const void *im, gguf_str tensor) {
    const imatrix_entry *e = find(im, tensor);
    return e ? e->s : NULL;
}

nut_status imatrix_check(const imatrix *im, const gguf *model, nut_error *err) {
    uint64_t n_found = 0;
    for (uint64_t i = 0; i < model->n_tensors; i++) {
        const gguf_tensor *t = &model->tensors[i];
        const imatrix_entry *e = find(im, t->name);
        if (!e) continue;
        n_found++;
        if (e->n_cols != t->dims[0] || e->n_stack != t->dims[2] * t->dims[3])
            return error_set(err, NUT_E_ARGUMENT,
                             "the statistics of tensor %.*s are of %zu inputs, and it has %llu: they are of "
                             "another model",
                             (int)t->name.n, t->name.s, e->n_cols, (unsigned long long)t->dims[0]);
    }
    if (n_found) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "there are no statistics for any of the model's tensors: they are of "
                     "another model");
}

/* ---- values ---- */

static float float_at(const uint8_t *bytes, size_t i) {
    cursor c = {.bytes = bytes + 4 * i, .n = 4};
    return cursor_f32(&c);
}

/* n floats that are finite and, where they are sums of squares, sizes or counts, not negative. */
static bool sound(const uint8_t *bytes, size_t n, bool negative) {
    for (size_t i = 0; i < n; i++) {
        const float x = float_at(bytes, i);
        if (!(fabsf(x) <= FLT_MAX) || (x < 0 && !negative)) return false;
    }
    return true;
}

/* ---- GGUF ---- */

typedef struct gguf_file {
    gguf g;
    const uint8_t *bytes;
    gguf_tensor **sorted; // (g.n_tensors)
} gguf_file;

static int by_tensor(const void *a, const void *b) {
    return by_text((*(gguf_tensor *const *)a)->name, (*(gguf_tensor *const *)b)->name);
}

/* The tensor called NAME with this end; NULL: none. */
static const gguf_tensor *find_part(const gguf_file *f, gguf_str name, const char *end) {
    char text[80];
    const size_t n_end = strlen(end);
    if (name.n + n_end > sizeof text) return NULL;
    memcpy(text, name.s, (size_t)name.n);
    memcpy(text + name.n, end, n_end);
    const gguf_str whole = {text, name.n + n_end};
    for (size_t low = 0, high = (size_t)f->g.n_tensors; low < high;) {
        const size_t middle = low + (high - low) / 2;
        const int order = by_text(whole, f->sorted[middle]->name);
        if (!order) return f->sorted[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* The data of a part, F32 of n numbers; NULL where it is not. */
static const uint8_t *part_data(const gguf_file *f, const gguf_tensor *t, uint64_t n, bool negative) {
    if (!t || t->ggml_type != 0 || t->n_bytes != 4 * n || !sound(f->bytes + t->offset, (size_t)n, negative))
        return NULL;
    return f->bytes + t->offset;
}

static nut_status read_entry(imatrix *im, const gguf_file *f, const gguf_tensor *squares, gguf_str name,
                             nut_error *err) {
    const uint64_t n_stack = squares->dims[1] * squares->dims[2] * squares->dims[3],
                   n = squares->dims[0] * n_stack;
    const uint8_t *values = part_data(f, squares, n, false),
                  *counts = part_data(f, find_part(f, name, ".counts"), n_stack, false),
                  *sum = part_data(f, find_part(f, name, ".in_sum"), n, true),
                  *most = part_data(f, find_part(f, name, ".in_max_abs"), n, false);
    imatrix_entry *e;
    if (!values || !counts)
        return blame(name, "they are not finite, or their sizes do not fit each other", err);
    const unsigned kinds = STATISTICS_SQUARES | (sum && most ? STATISTICS_RANGES : 0u);
    TRY(imatrix_add(im, name, kinds, (size_t)squares->dims[0], (uint32_t)n_stack, &e, err));
    for (size_t i = 0; i < n; i++) {
        e->sum_squares[i] = (double)float_at(values, i);
        if (sum && most) e->sum[i] = (double)float_at(sum, i), e->max_abs[i] = float_at(most, i);
    }
    for (size_t i = 0; i < n_stack; i++) e->s[i].n_tokens = (uint64_t)fminf(float_at(counts, i), 0x1p62f);
    return NUT_OK;
}

static nut_status read_entries(imatrix *im, gguf_file *f, size_t n_bytes, nut_error *err) {
    static const char end[] = ".in_sum2";
    const size_t n = (size_t)f->g.n_tensors, n_end = sizeof end - 1;
    if (f->g.file_bytes > n_bytes)
        return error_set(err, NUT_E_TRUNCATED, "the file of statistics is cut off; make it again");
    f->sorted = mem_calloc(n + 1, sizeof(gguf_tensor *));
    if (!f->sorted) return error_memory(err, n * sizeof(gguf_tensor *));
    for (size_t i = 0; i < n; i++) f->sorted[i] = &f->g.tensors[i];
    sort_rows(f->sorted, n, sizeof *f->sorted, by_tensor);
    for (size_t i = 0; i < n; i++) {
        const gguf_tensor *t = &f->g.tensors[i];
        if (t->name.n <= n_end || memcmp(t->name.s + t->name.n - n_end, end, n_end) != 0) continue;
        TRY(read_entry(im, f, t, (gguf_str){t->name.s, t->name.n - n_end}, err));
    }
    return NUT_OK;
}

static nut_status read_gguf(imatrix *im, const uint8_t *bytes, size_t n, nut_error *err) {
    gguf_file f = {.bytes = bytes};
    gguf_str type = {"", 0};
    bool complete = false;
    size_t used;
    nut_status status = gguf_begin(&f.g, n, err);
    if (status == NUT_OK) status = gguf_feed(&f.g, bytes, n, &used, &complete, err);
    if (status == NUT_OK && !complete) status = gguf_end(&f.g, err);
    if (status == NUT_OK) status = gguf_get_str(&f.g, "general.type", "", &type, err);
    if (status == NUT_OK && !gguf_str_is(type, "imatrix"))
        status = error_set(err, NUT_E_ARGUMENT,
                           "this GGUF file holds no statistics (its general.type is not imatrix)");
    if (status == NUT_OK) status = gguf_get_u32(&f.g, "imatrix.chunk_count", 0, &im->n_chunks, err);
    if (status == NUT_OK) status = gguf_get_u32(&f.g, "imatrix.chunk_size", 0, &im->chunk, err);
    if (status == NUT_OK) status = read_entries(im, &f, n, err);
    mem_free(f.sorted);
    gguf_free(&f.g);
    return status;
}

/* ---- the older form ---- */

enum { DAT_NAME = 64 }; // bytes of a name at most

static nut_status dat_end(nut_error *err) {
    return error_set(
        err, NUT_E_CORRUPT,
        "this is no file of statistics, or it is cut off; give one of llama-imatrix or calibrate");
}

static nut_status read_dat_entry(imatrix *im, cursor *c, nut_error *err) {
    const uint32_t n_name = cursor_u32(c);
    if (n_name == 0 || n_name > DAT_NAME) return dat_end(err);
    const gguf_str name = {(const char *)cursor_take(c, n_name), n_name};
    const uint32_t n_calls = cursor_u32(c), n = cursor_u32(c);
    const uint8_t *values = cursor_take(c, 4 * (uint64_t)n);
    imatrix_entry *e;
    if (c->ended || n == 0) return dat_end(err);
    if (!sound(values, n, false) || !n_calls || n_calls > INT32_MAX)
        return blame(name, "they are not finite", err);
    TRY(imatrix_add(im, name, STATISTICS_SQUARES, n, 1, &e, err));
    for (size_t i = 0; i < n; i++) e->sum_squares[i] = (double)float_at(values, i);
    e->s->n_tokens = n_calls;
    return NUT_OK;
}

/* After the entries come the number of chunks and the text's name, in newer ones. */
static nut_status read_dat(imatrix *im, const uint8_t *bytes, size_t n, nut_error *err) {
    cursor c = {.bytes = bytes, .n = n};
    const uint32_t n_entries = cursor_u32(&c);
    if (c.ended || n_entries == 0 || n_entries > n / 16) return dat_end(err);
    for (uint32_t i = 0; i < n_entries; i++) TRY(read_dat_entry(im, &c, err));
    im->n_chunks = cursor_u32(&c);
    return NUT_OK;
}

nut_status imatrix_read(imatrix *im, const uint8_t *bytes, size_t n, nut_error *err) {
    const bool is_gguf = n >= 4 && !memcmp(bytes, "GGUF", 4);
    TRY((is_gguf ? read_gguf : read_dat)(im, bytes, n, err));
    TRY(imatrix_sort(im, err));
    if (im->n) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT, "the file holds no statistics; make it again");
}
