/*
 * The data of a coded tensor of any bytes, in slices of any size, into its layout and as floats, while
 * allocations fail: an error, or weights that are numbers and outliers that are where they may be. So that
 * inputs come further, checksums may be made right first.
 */
#include "fuzz.h"

#include "base/xxhash.h"
#include "model/coded.h"

#include <math.h>

static uint32_t number_at(const uint8_t *p, size_t at) {
    uint32_t v;
    memcpy(&v, p + at, 4);
    return v;
}

/* The head's checksum, and those of the chunks that its table has. */
static void mend(uint8_t *bytes, size_t n) {
    if (n < CODED_FIXED) return;
    const size_t n_chunks = number_at(bytes, 16), n_head = number_at(bytes, 24);
    uint32_t sum;
    if (n_head < CODED_FIXED + 4 || n_head > n || n_chunks > (n_head - CODED_FIXED - 4) / CODED_ENTRY)
        return;
    uint8_t *entry = bytes + n_head - 4 - CODED_ENTRY * n_chunks;
    for (size_t at = n_head; entry < bytes + n_head - 4; entry += CODED_ENTRY) {
        const size_t n_bytes = number_at(entry, 0);
        if (n_bytes > n - at) break;
        sum = xxhash32(bytes + at, n_bytes);
        memcpy(entry + 12, &sum, 4);
        at += n_bytes;
    }
    sum = xxhash32(bytes, n_head - 4);
    memcpy(bytes + n_head - 4, &sum, 4);
}

/* Where the tensor goes: buffers of exactly their sizes. */
typedef struct place {
    matrix w;
    matrix_coded parts;
    coded_target to;
    float *col_scale;
    uint32_t *first;
    matrix_outlier *outliers;
} place;

static void place_open(place *p, const gguf_tensor *t, const format *as) {
    *p = (place){.w = {.format = as, .n_rows = (size_t)t->dims[1], .n_cols = (size_t)t->dims[0]}};
    const size_t groups = matrix_groups(&p->w);
    p->w.data = calloc(matrix_bytes(&p->w), 1);
    p->col_scale = calloc(p->w.n_cols, sizeof(float));
    p->first = calloc(groups + 1, sizeof(uint32_t));
    p->outliers = calloc((size_t)t->n_outliers, sizeof(matrix_outlier));
    p->to = (coded_target){{as, {&p->w}, format_is_coded(as) ? p->first : NULL, p->outliers}, p->col_scale};
    p->parts = (matrix_coded){p->col_scale, p->first, p->outliers};
    if (format_is_coded(as)) p->w.coded = &p->parts;
}

static void place_close(place *p) {
    free(p->w.data), free(p->col_scale), free(p->first), free(p->outliers);
}

static void check_weights(const place *p, const gguf_tensor *t) {
    float *row = malloc(p->w.n_cols * sizeof *row), *y = calloc(matrix_groups(&p->w) * 8, sizeof *y);
    size_t n = 0;
    for (size_t r = 0; r < p->w.n_rows; r++) {
        matrix_row(&p->w, r, row);
        for (size_t c = 0; c < p->w.n_cols; c++) EXPECT(!isnan(row[c]), "row %zu, column %zu", r, c);
    }
    if (p->w.coded) {
        for (size_t g = 0; g < matrix_groups(&p->w); g++) n += p->first[g] > p->first[g + 1];
        EXPECT(!n && p->first[0] == 0 && p->first[matrix_groups(&p->w)] == t->n_outliers, "order");
        for (size_t i = 0; i < t->n_outliers; i++)
            n += p->outliers[i].col >= p->w.n_cols || p->outliers[i].lane >= FORMAT_LANES;
        EXPECT(!n, "%zu outliers are elsewhere", n);
        matrix_add_outliers(&p->w, 0, p->w.n_rows, row, y);
    }
    free(row), free(y);
}

static nut_status feed(place *p, const gguf_tensor *t, const uint8_t *bytes, size_t step, nut_error *err) {
    coded_feed f = {.open = false};
    nut_status status = NUT_OK;
    for (size_t at = 0, some; at < t->n_bytes && status == NUT_OK; at += some) {
        some = t->n_bytes - at < step ? (size_t)t->n_bytes - at : step;
        uint8_t *slice = fuzz_copy((fuzz_input){bytes + at, some});
        status = coded_take(&f, t, &p->to, slice, some, err);
        free(slice);
    }
    EXPECT(status != NUT_OK || !f.open, "a tensor without its end is taken");
    coded_drop(&f);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_input in = {bytes, n};
    const uint8_t flags = fuzz_u8(&in), fail_at = fuzz_u8(&in), step = fuzz_u8(&in);
    const format *f = &format_table[FORMAT_COUNT + flags % 4];
    const uint64_t n_rows = 1 + fuzz_u8(&in) % 64, n_cols = FORMAT_UNIT * (1 + (uint64_t)(fuzz_u8(&in) % 4));
    uint8_t *copy = fuzz_copy(in);
    if (flags & 16) mend(copy, in.n);
    gguf_tensor t = {
        .name = {"t", 1}, .n_dims = 2, .dims = {n_cols, n_rows, 1, 1}, .ggml_type = f->ggml_type};
    t.n_bytes = in.n;
    if (in.n >= CODED_FIXED && number_at(copy, 20) <= n_rows * n_cols) t.n_outliers = number_at(copy, 20);
    const format *as = flags & 32 ? &format_table[FORMAT_F32] : f;
    nut_error err = {0};
    place p;
    place_open(&p, &t, as);
    counting_start(flags & 128 ? fail_at : 0);
    nut_status status = in.n ? feed(&p, &t, copy, step ? 7 * (size_t)step : in.n, &err) : NUT_OK;
    fuzz_check_error(status, &err);
    EXPECT(counting.peak <= (1 << 20) + 20 * n, "%zu bytes", counting.peak);
    fuzz_end();
    if (status == NUT_OK && in.n) check_weights(&p, &t);
    place_close(&p);
    free(copy);
    return 0;
}
