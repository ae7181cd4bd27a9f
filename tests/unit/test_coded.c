/*
 * Coded tensors: what is written is read again, whatever the integers, their number and the order of the
 * chunks; sizes beside the entropy of the integers, which is computed here; damaged bytes and failing
 * memory. Models with such tensors: test_coded_model.c.
 */
#include "base/xxhash.h"
#include "check.h"
#include "coded_sample.h"
#include "counting_alloc.h"
#include "guard.h"

/* ---- numbers ---- */

/* Values of the xxHash library (python-xxhash 3.4, xxh32). */
static void test_hash(void) {
    static const struct {
        const char *text;
        uint32_t hash;
    } known[] = {{"", 0x02cc5d05},
                 {"a", 0x550d7456},
                 {"abc", 0x32d153ff},
                 {"Nobody inspects the spammish repetition", 0xe2293b2f}};
    for (size_t i = 0; i < 4; i++)
        CHECK(xxhash32((const uint8_t *)known[i].text, strlen(known[i].text)) == known[i].hash, "\"%s\"",
              known[i].text);
}

static void test_numbers(void) {
    size_t wrong = 0;
    for (int code = 1; code < 80; code++)
        wrong += coded_count_of((uint8_t)code) <= coded_count_of((uint8_t)(code - 1));
    CHECK(wrong == 0 && coded_count_of(15) == 15 && coded_count_of(16) == 16 && coded_count_of(17) == 18,
          "counts do not grow: %zu", wrong);
    CHECK(coded_scale_of(0) == 0x1p-40f && coded_scale_of(40 << 10) == 1 &&
              coded_scale_of((40 << 10) + 512) == 1.5f && coded_scale_of(UINT16_MAX) == 0x1.ffcp23f,
          "scales");
}

/* ---- there and back ---- */

/* Rows as floats are the integers times their scales. */
static size_t wrong_weights(const matrix *w, const coded_tensor *t) {
    float *row = malloc(t->n_cols * sizeof(float));
    size_t wrong = 0;
    for (size_t r = 0; r < t->n_rows; r++) {
        matrix_row(w, r, row);
        for (size_t c = 0; c < t->n_cols; c++) {
            const double x =
                (double)t->z[r * t->n_cols + c] * (double)t->row_scale[r] * (double)t->col_scale[c];
            wrong += !(fabs((double)row[c] - x) <= 2.5e-7 * fabs(x));
        }
    }
    free(row);
    return wrong;
}

/* Feeds the data in slices of `step` bytes (0: at once). */
static nut_status feed(coded_place *p, const coded_data *d, size_t step, threads *team, nut_error *err) {
    coded_feed f = {.team = team};
    nut_status status = NUT_OK;
    for (size_t at = 0, some; at < d->n && status == NUT_OK; at += some) {
        some = step && d->n - at > step ? step : d->n - at;
        uint8_t *slice = guard_new(some); // a read beyond it is found
        memcpy(slice, d->bytes + at, some);
        status = coded_take(&f, &p->t, &p->to, slice, some, err);
        guard_free(slice, "a slice");
    }
    CHECK(status != NUT_OK || (!f.open && !f.kept), "something is left");
    coded_drop(&f);
    return status;
}

static void check_trip(const coded_sample *s, const coded_data *d, const format *as, size_t step) {
    coded_place *p = coded_place_new(&s->t, d, as);
    nut_error err = {NUT_OK, ""};
    if (CHECK(feed(p, d, step, NULL, &err) == NUT_OK, "%s", err.message)) {
        const size_t wrong = wrong_weights(&p->w, &s->t);
        CHECK(wrong == 0, "%zu x %zu as %s, steps of %zu: %zu weights differ", s->t.n_rows, s->t.n_cols,
              as->name, step, wrong);
    }
    coded_place_free(p);
}

static void check_sample(const coded_sample *s) {
    coded_data d;
    nut_error err = {NUT_OK, ""};
    if (!CHECK(coded_write(&s->t, &d, &err) == NUT_OK, "%s", err.message)) return;
    check_trip(s, &d, d.format, 0);
    check_trip(s, &d, d.format, 4099);
    check_trip(s, &d, &format_table[FORMAT_F32], 70001);
    if (d.n < 5000) check_trip(s, &d, d.format, 1);
    if (d.n < 5000) check_trip(s, &d, &format_table[FORMAT_F32], 27);
    coded_data_free(&d);
}

static void test_trips(rng *r) {
    static const double deviations[] = {0, 0.05, 0.3, 1, 3, 8, 25, 100, 3000, 1e8};
    static const size_t shapes[][2] = {{1, 32}, {8, 64}, {13, 96}, {100, 288}, {17, 1536}};
    for (size_t k = 0; k < sizeof deviations / sizeof *deviations; k++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            coded_sample s =
                coded_sample_random(shapes[i][0], shapes[i][1], deviations[k], k % 2 ? 0.1 : 0.6, r);
            check_sample(&s);
            coded_sample_free(&s);
        }
}

/* Round trips of matrices that hold: the smallest and largest int32; the same integer everywhere; rows of
 * zeros. */
static void test_extremes(rng *r) {
    static const int32_t ends[] = {INT32_MIN, INT32_MAX, 127, 128, -127, -128, -129, 15, 16, -16, -17, 0};
    coded_sample s = coded_sample_random(24, 64, 2, 0.2, r);
    memcpy(s.z + 64, ends, sizeof ends);
    memset(s.z + 128, 0, 64 * 9 * sizeof *s.z);
    check_sample(&s);
    for (size_t i = 0; i < 24 * 64; i++) s.z[i] = -7;
    check_sample(&s);
    for (size_t i = 0; i < 24 * 64; i++) s.z[i] = ends[i % 12];
    check_sample(&s);
    coded_sample_free(&s);
}

/* ---- formats ---- */

/* Bits of a weight in memory for integers of a Laplacian: narrow ones fit in few. */
static void test_widths(rng *r) {
    static const struct {
        double deviation;
        format_id id;
    } want[] = {{0.8, FORMAT_CODED_4}, {2, FORMAT_CODED_5}, {4.5, FORMAT_CODED_6}, {30, FORMAT_CODED_8}};
    for (size_t i = 0; i < 4; i++) {
        coded_sample s = coded_sample_random(256, 256, want[i].deviation, 0, r);
        coded_data d;
        CHECK(coded_write(&s.t, &d, NULL) == NUT_OK && d.format->id == want[i].id, "deviation %g: %s",
              want[i].deviation, d.format->name);
        CHECK(d.n_outliers <= 256 * 256 / 100, "%llu outliers", (unsigned long long)d.n_outliers);
        coded_data_free(&d);
        coded_sample_free(&s);
    }
}

/* ---- chunks ---- */

typedef struct opened {
    coded c;
    size_t n_head;
} opened;

static opened open_data(const coded_place *p, const coded_data *d) {
    opened o = {.n_head = coded_head_bytes(d->bytes, &p->t)};
    nut_error err = {NUT_OK, ""};
    CHECK(o.n_head > 0 && coded_open(&o.c, &p->t, d->bytes, o.n_head, p->w.format, &err) == NUT_OK, "%s",
          err.message);
    return o;
}

/* In whatever order chunks are decoded, all bytes are those of decoding in order. */
static void test_orders(rng *r) {
    coded_sample s = coded_sample_random(2000, 288, 3, 0.5, r);
    coded_data d;
    nut_error err = {NUT_OK, ""};
    CHECK(coded_write(&s.t, &d, &err) == NUT_OK, "%s", err.message);
    coded_place *a = coded_place_new(&s.t, &d, d.format), *b = coded_place_new(&s.t, &d, d.format);
    feed(a, &d, 0, NULL, &err);
    opened o = open_data(b, &d);
    uint32_t order[64];
    CHECK(o.c.n_chunks >= 4 && o.c.n_chunks <= 64, "%u chunks", o.c.n_chunks);
    for (uint32_t i = 0; i < o.c.n_chunks; i++) order[i] = i;
    for (uint32_t i = o.c.n_chunks; i-- > 1;) {
        const uint32_t k = (uint32_t)(rng_u64(r) % (i + 1)), swap = order[i];
        order[i] = order[k], order[k] = swap;
    }
    coded_begin(&o.c, &b->to);
    size_t largest = 0;
    for (uint32_t i = 0; i < o.c.n_chunks; i++) {
        const coded_chunk *chunk = &o.c.chunks[order[i]];
        CHECK(coded_decode(&o.c, order[i], d.bytes + chunk->at, &b->to.to), "chunk %u", order[i]);
        if (chunk->n_bytes > largest) largest = chunk->n_bytes;
    }
    CHECK(largest <= 80 << 10, "a chunk has %zu bytes", largest);
    CHECK(!memcmp(a->w.data, b->w.data, matrix_bytes(&a->w)) &&
              !memcmp(a->outliers, b->outliers, (size_t)d.n_outliers * sizeof *a->outliers) &&
              !memcmp(a->first, b->first, (matrix_groups(&a->w) + 1) * sizeof *a->first),
          "chunks in another order give other bytes");
    coded_close(&o.c);
    coded_place_free(a), coded_place_free(b);
    coded_data_free(&d);
    coded_sample_free(&s);
}

/* Chunks that members of a team share give the same bytes, in slices with several chunks, one or none. A
 * wrong one is found, whoever decodes it. */
static void test_teams(rng *r) {
    static const size_t steps[] = {0, 200001, 70001, 30001};
    coded_sample s = coded_sample_random(2000, 288, 3, 0.5, r);
    coded_data d;
    threads *team;
    nut_error err = {NUT_OK, ""};
    CHECK(coded_write(&s.t, &d, &err) == NUT_OK && threads_new(3, &team, &err) == NUT_OK, "%s", err.message);
    coded_place *a = coded_place_new(&s.t, &d, d.format);
    feed(a, &d, 0, NULL, &err);
    for (size_t i = 0; i < 4; i++) {
        coded_place *b = coded_place_new(&s.t, &d, d.format);
        CHECK(feed(b, &d, steps[i], team, &err) == NUT_OK, "%s", err.message);
        CHECK(!memcmp(a->w.data, b->w.data, matrix_bytes(&a->w)) &&
                  !memcmp(a->outliers, b->outliers, (size_t)d.n_outliers * sizeof *a->outliers) &&
                  !memcmp(a->first, b->first, (matrix_groups(&a->w) + 1) * sizeof *a->first),
              "steps of %zu in a team give other bytes", steps[i]);
        coded_place_free(b);
    }
    for (size_t at = d.n - 300000; at < d.n; at += 60000) {
        d.bytes[at] ^= 1;
        CHECK(feed(a, &d, 0, team, &err) == NUT_E_CORRUPT, "byte %zu is wrong", at);
        d.bytes[at] ^= 1;
    }
    threads_free(team);
    coded_place_free(a);
    coded_data_free(&d);
    coded_sample_free(&s);
}

/* Matrices of a stack, one after the other: experts. */
static void test_stack(rng *r) {
    enum { N = 3, ROWS = 16, COLS = 64 };
    coded_sample s = coded_sample_random(N * ROWS, COLS, 3, 0.5, r);
    coded_data d;
    nut_error err = {NUT_OK, ""};
    CHECK(coded_write(&s.t, &d, &err) == NUT_OK, "%s", err.message);
    coded_place *p = coded_place_new(&s.t, &d, d.format);
    matrix w[N];
    matrix_coded parts[N];
    p->t.dims[1] = ROWS, p->t.dims[2] = N;
    for (size_t i = 0; i < N; i++) {
        parts[i] = (matrix_coded){p->col_scale, p->first + i * ROWS / FORMAT_LANES, p->outliers};
        w[i] = (matrix){.format = d.format, .n_rows = ROWS, .n_cols = COLS, .coded = &parts[i]};
        w[i].data = calloc(matrix_bytes(&w[i]), 1);
    }
    p->to.to.w[0] = w;
    CHECK(feed(p, &d, 0, NULL, &err) == NUT_OK, "%s", err.message);
    for (size_t i = 0; i < N; i++) {
        const coded_tensor part = {ROWS, COLS, s.z + i * ROWS * COLS, s.row_scale + i * ROWS, s.col_scale};
        CHECK(wrong_weights(&w[i], &part) == 0, "matrix %zu", i);
        free(w[i].data);
    }
    coded_place_free(p);
    coded_data_free(&d);
    coded_sample_free(&s);
}

/* ---- sizes ---- */

static double bits_of(const uint32_t *counts, size_t n) {
    double total = 0, bits = 0;
    for (size_t i = 0; i < n; i++) total += counts[i];
    for (size_t i = 0; i < n; i++)
        if (counts[i]) bits += counts[i] * log2(total / counts[i]);
    return bits;
}

/* Bits of the integers if each class of predicted deviation, by quarter octaves, had a code of its own that
 * knows how often each integer is there; nothing is charged for the codes. */
static double class_entropy(const coded_sample *s) {
    enum { CLASSES = 200, VALUES = 2048 };
    uint32_t *counts = calloc((size_t)CLASSES * VALUES, sizeof *counts);
    double bits = 0;
    for (size_t r = 0; r < s->t.n_rows; r++)
        for (size_t c = 0; c < s->t.n_cols; c++) {
            const double k = round(4 * log2(s->row_dev[r])) + round(4 * log2(s->col_dev[c])) + CLASSES / 2;
            const int32_t z = s->z[r * s->t.n_cols + c] + VALUES / 2;
            counts[(size_t)fmax(0, fmin(CLASSES - 1, k)) * VALUES + (size_t)(z < 0 ? 0 : z % VALUES)]++;
        }
    for (size_t k = 0; k < CLASSES; k++) bits += bits_of(counts + k * VALUES, VALUES);
    free(counts);
    return bits;
}

/* Within 1.5 % of that, with classes and tables; a byte for each scale comes on top. */
static void test_sizes(rng *r) {
    static const double deviations[] = {0.7, 1.5, 3, 6, 15};
    for (size_t i = 0; i < 5; i++) {
        coded_sample s = coded_sample_random(1536, 576, deviations[i], 0.25, r);
        coded_data d;
        CHECK(coded_write(&s.t, &d, NULL) == NUT_OK, "write");
        const double n = 1536 * 576, entropy = class_entropy(&s),
                     bits = 8.0 * (double)d.n - 8 * (1536 + 576);
        CHECK(bits <= 1.015 * entropy, "deviation %g: %.4f bits a weight, the entropy is %.4f",
              deviations[i], bits / n, entropy / n);
        coded_data_free(&d);
        coded_sample_free(&s);
    }
}

/* ---- wrong bytes ---- */

/* Each byte in turn is another one: that is found. */
static void test_damage(rng *r) {
    coded_sample s = coded_sample_random(20, 64, 3, 0.5, r);
    coded_data d;
    nut_error err = {NUT_OK, ""};
    CHECK(coded_write(&s.t, &d, &err) == NUT_OK, "%s", err.message);
    coded_place *p = coded_place_new(&s.t, &d, d.format);
    size_t taken = 0;
    for (size_t i = 0; i < d.n; i++) {
        d.bytes[i] ^= (uint8_t)(1 + rng_u64(r) % 255);
        taken += feed(p, &d, 0, NULL, &err) != NUT_E_CORRUPT || err.code != NUT_E_CORRUPT;
        coded_data good;
        coded_write(&s.t, &good, &err);
        memcpy(d.bytes, good.bytes, d.n);
        coded_data_free(&good);
    }
    CHECK(taken == 0, "%zu damaged bytes are not found", taken);
    coded_place_free(p);
    coded_data_free(&d);
    coded_sample_free(&s);
}

static void test_refusals(rng *r) {
    coded_sample s = coded_sample_random(9, 64, 3, 0.5, r);
    coded_data d;
    nut_error err = {NUT_OK, ""};
    s.t.n_cols = 48;
    CHECK(!coded_can_write(9, 48) && !coded_can_write(0, 64) && !coded_can_write(8, 65568), "shapes");
    CHECK(coded_write(&s.t, &d, &err) == NUT_E_UNSUPPORTED && err.message[0] && !d.bytes, "half a unit");
    coded_sample_free(&s);
    s = coded_sample_random(8, 32768, 1e8, 0, r); // more than a chunk
    CHECK(coded_write(&s.t, &d, &err) == NUT_E_UNSUPPORTED && err.message[0] && !d.bytes, "long rows");
    coded_sample_free(&s);
}

/* Each allocation fails in turn. */
static void test_memory(rng *r) {
    coded_sample s = coded_sample_random(20, 64, 3, 0.5, r);
    coded_data d;
    nut_error err = {NUT_OK, ""};
    size_t n_write = 0, n_read = 0;
    for (size_t k = 1; k < 100; k++) {
        counting_start(k);
        const nut_status status = coded_write(&s.t, &d, &err);
        coded_data_free(&d);
        const bool failed = counting.n_failed > 0;
        CHECK(counting.alive == 0 && status == (failed ? NUT_E_MEMORY : NUT_OK), "writing, %zu", k);
        counting_stop();
        if (!failed) break;
        n_write++;
    }
    coded_write(&s.t, &d, &err);
    coded_place *p = coded_place_new(&s.t, &d, d.format);
    for (size_t k = 1; k < 100; k++) {
        counting_start(k);
        const nut_status status = feed(p, &d, 100, NULL, &err);
        const bool failed = counting.n_failed > 0;
        CHECK(counting.alive == 0 && status == (failed ? NUT_E_MEMORY : NUT_OK), "reading, %zu", k);
        counting_stop();
        if (!failed) break;
        n_read++;
    }
    CHECK(n_write >= 3 && n_read >= 3, "%zu and %zu allocations", n_write, n_read);
    coded_place_free(p);
    coded_data_free(&d);
    coded_sample_free(&s);
}

int main(void) {
    rng r;
    rng_seed(&r, 13);
    test_hash();
    test_numbers();
    test_trips(&r);
    test_extremes(&r);
    test_widths(&r);
    test_orders(&r);
    test_teams(&r);
    test_stack(&r);
    test_sizes(&r);
    test_damage(&r);
    test_refusals(&r);
    test_memory(&r);
    return check_report();
}
