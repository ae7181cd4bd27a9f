/*
 * The job that rewrites a GGUF model by a method (method.h). It reads the headers of all files of the model,
 * asks the method for a plan, writes a header, and then goes through the tensors slice by slice: read,
 * check, encode or copy, write. Memory is three slices, the header, and a table of tensors. A matrix that is
 * quantized already is dequantized first, or copied where it has the format that is asked for. A model in
 * several files becomes one file.
 *
 * A coded matrix is encoded as a whole, so memory then is that of the largest one's floats. How many bytes
 * it takes, and how far the new weights are from the old ones, is known afterwards: the header, which says
 * so in numbers of fixed width, is written twice.
 */
#include "compress/method.h"

#include "base/error.h"
#include "compress/rewrite.h"
#include "model/splits.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SLICE = 1 << 16 };  // weights at once: a multiple of every block
enum { READ = 4 * SLICE }; // bytes of a header at once
enum { MAX_TYPE = 32 };    // of options.type

/* Tensors with one name but for numbers. */
typedef struct left_tensors {
    char pattern[65];
    uint32_t ggml_type;
    uint64_t n;
} left_tensors;
enum { MOST_LISTED = 24 };

typedef struct compress {
    nut_job job;
    nut_status (*phase)(struct compress *c, nut_error *err); // what the next step does
    const method *method;
    nut_compress_options options;
    char type[MAX_TYPE]; // options.type is kept here
    method_find_statistics *find;
    const void *ctx;
    // reading
    splits splits;
    gguf file;   // header of one file, while it is read
    gguf header; // of all
    uint64_t at; // bytes of the file that were fed to its header
    size_t n;    // wanted bytes of it, or of the slice
    // writing
    gguf_meta meta;
    gguf_tensor *tensors; // (header.n_tensors) as they will be written
    gguf_writer writer;
    uint64_t written;                       // bytes of the output, in order
    uint64_t *coded_bytes, *coded_outliers; // (n_coded) for the metadata
    uint64_t n_coded, coded;                // coded tensors, and those that are done
    uint32_t *types;                        // (n_tensors) for the metadata: what they were
    float *errors;                          // (n_tensors) and what they lost: see add_error
    double power, error;                    // of the tensor that is worked on
    coded_data data;                        // of the one that is written
    uint64_t tensor;                        // that is worked on
    uint64_t row, col;                      // of its next weight
    method_slice slice;                     // that is worked on
    uint64_t pad;                           // zeros that are still to follow the tensor
    char note[320];
    char left[1600]; // a note
    char name[65];   // of the tensor, terminated
    // buffers
    uint8_t *bytes;  // from a file
    uint8_t *blocks; // to the output
    float *floats;
    size_t room;        // weights that fit in each
    size_t room_floats; // that fit in `floats`: a whole matrix where some are coded
} compress;

/* ---- headers ---- */

static nut_status begin_header(compress *c, nut_error *err);
static nut_status feed_header(compress *c, nut_error *err);
static nut_status plan_model(compress *c, nut_error *err);

static nut_status ask_size(compress *c, nut_error *err) {
    (void)err;
    job_open(&c->job, c->splits.i, c->splits.n);
    c->phase = begin_header;
    return NUT_OK;
}

static nut_status want_header(compress *c, nut_error *err) {
    const uint64_t left = c->job.size - c->at;
    c->n = left < READ ? (size_t)left : READ;
    if (!c->n) return splits_blame(&c->splits, gguf_end(&c->file, err), err);
    job_want(&c->job, c->splits.i, c->at, c->bytes, c->n);
    c->phase = feed_header;
    return NUT_OK;
}

static nut_status begin_header(compress *c, nut_error *err) {
    c->at = 0;
    TRY(gguf_begin(&c->file, c->job.size, err));
    return want_header(c, err);
}

static nut_status feed_header(compress *c, nut_error *err) {
    bool complete;
    size_t n_used;
    TRY(splits_blame(&c->splits, gguf_feed(&c->file, c->bytes, c->n, &n_used, &complete, err), err));
    c->at += c->n;
    if (!complete) return want_header(c, err);
    TRY(splits_take(&c->splits, &c->header, &c->file, err));
    c->splits.i++;
    c->phase = c->splits.i < c->splits.n ? ask_size : plan_model;
    return NUT_OK;
}

/* ---- the plan ---- */

static nut_status begin_write(compress *c, nut_error *err);
static nut_status tell_unweighed(compress *c, nut_error *err);
static nut_status tell_written(compress *c, nut_error *err);
static nut_status write_header(compress *c, nut_error *err);
static nut_status want_slice(compress *c, nut_error *err);

static uint64_t n_rows(const gguf_tensor *t) {
    return t->dims[1] * t->dims[2] * t->dims[3];
}

static nut_status too_large(const gguf_tensor *t, nut_error *err) {
    return error_set(err, NUT_E_TOO_LARGE, "tensor %.*s is too large to be written", (int)t->name.n,
                     t->name.s);
}

/* Room in the buffers for slices of this tensor, which is encoded by whole rows. */
static nut_status reserve_row(compress *c, const gguf_tensor *t, nut_error *err) {
    if (t->dims[0] > SIZE_MAX / 8) return too_large(t, err);
    if (t->dims[0] > c->room) c->room = (size_t)t->dims[0];
    return NUT_OK;
}

/* A matrix that is encoded as a whole. Its size is not known yet. */
static nut_status plan_coded(compress *c, gguf_tensor *t, const format *to, nut_error *err) {
    uint64_t n;
    if (!coded_can_write(n_rows(t), t->dims[0])) return NUT_OK;
    if (!u64_mul(t->dims[0], n_rows(t), &n) || n > SIZE_MAX / 8) return too_large(t, err);
    if (n > c->room_floats) c->room_floats = (size_t)n;
    t->ggml_type = to->ggml_type;
    t->n_bytes = 0;
    c->n_coded++;
    return NUT_OK;
}

static nut_status plan_tensor(compress *c, uint64_t i, nut_error *err) {
    const gguf_tensor *from = &c->header.tensors[i];
    gguf_tensor *t = &c->tensors[i];
    const format *is = format_by_ggml(from->ggml_type);
    if (!is || format_is_coded(is))
        return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s has type %s, which cannot be read here",
                         (int)from->name.n, from->name.s, format_ggml_name(from->ggml_type));
    const format *to = c->method->plan(&c->options, c->ctx, &c->header, from);
    *t = *from;
    if (!to || to->ggml_type == from->ggml_type || t->dims[0] % to->block) return NUT_OK;
    t->has_table = false;
    if (format_is_coded(to)) return plan_coded(c, t, to, err);
    t->ggml_type = to->ggml_type;
    t->has_table = format_has_table(to);
    if (t->has_table) memcpy(t->table, format_lut_values, FORMAT_TABLE);
    if (t->has_table && c->method->table) c->method->table(c->ctx, from, t->table);
    if (!u64_mul(t->dims[0] / to->block * n_rows(t), to->bytes, &t->n_bytes)) return too_large(t, err);
    return c->method->whole_rows ? reserve_row(c, t, err) : NUT_OK;
}

/* Tells of matrices that lose a second time. */
static void note_twice(compress *c) {
    const gguf_tensor *first = NULL;
    uint64_t n = 0;
    for (uint64_t i = 0; i < c->header.n_tensors; i++) {
        const gguf_tensor *from = &c->header.tensors[i];
        const format *a = format_by_ggml(from->ggml_type), *b = format_by_ggml(c->tensors[i].ggml_type);
        if (a == b || a->block == 1 || b->block == 1) continue;
        if (!n++) first = from;
    }
    if (!n) return;
    snprintf(
        c->note, sizeof c->note,
        "the source was quantized already (%llu tensors, such as %.*s in %s): what it lost stays lost, and "
        "this loses more; a source in F32, F16 or BF16 gives a better model",
        (unsigned long long)n, (int)first->name.n, first->name.s, format_ggml_name(first->ggml_type));
    job_note(&c->job, c->note);
}

/* A tensor's name, its numbers as '*': the same for all layers. */
static void pattern_of(gguf_str name, char out[65]) {
    size_t n = 0;
    for (size_t i = 0; i < name.n; i++) {
        const bool digit = name.s[i] >= '0' && name.s[i] <= '9', begins = n && out[n - 1] == '.';
        if (digit && n && out[n - 1] == '*') continue;
        out[n++] = digit && begins ? '*' : name.s[i] ? name.s[i] : '?';
    }
    out[n] = 0;
}

/* Counts a tensor that is left with those of its pattern and type; false where the list is full. */
static bool count_left(left_tensors *list, size_t *n, const gguf_tensor *t) {
    left_tensors one = {.n = 1, .ggml_type = t->ggml_type};
    pattern_of(t->name, one.pattern);
    for (size_t i = 0; i < *n; i++)
        if (list[i].ggml_type == one.ggml_type && !strcmp(list[i].pattern, one.pattern))
            return list[i].n++, true;
    if (*n == MOST_LISTED) return false;
    list[(*n)++] = one;
    return true;
}

/* A matrix that does not get the type that was asked for. */
static bool is_left(compress *c, size_t i) {
    const gguf_tensor *t = &c->header.tensors[i];
    if (c->tensors[i].ggml_type != t->ggml_type || n_rows(t) == 1) return false;
    const format *to = c->method->plan(&c->options, c->ctx, &c->header, t);
    return !to || to->ggml_type != t->ggml_type;
}

/* A matrix that is rounded without statistics, though there are some of others. */
static bool is_unweighed(compress *c, size_t i) {
    const gguf_tensor *t = &c->header.tensors[i];
    return c->tensors[i].ggml_type != t->ggml_type && !c->find(c->ctx, t->name);
}

static bool is_written(compress *c, size_t i) {
    return c->tensors[i].ggml_type != c->header.tensors[i].ggml_type;
}

/* Lists those tensors, as they were or will be, that are so. */
static void note_those(compress *c, const gguf_tensor *tensors, bool (*is_so)(compress *c, size_t i),
                       const char *what) {
    left_tensors list[MOST_LISTED];
    size_t n_listed = 0;
    uint64_t n_left = 0, n_more = 0;
    for (size_t i = 0; i < c->header.n_tensors; i++) {
        if (!is_so(c, i)) continue;
        n_left++;
        n_more += !count_left(list, &n_listed, &tensors[i]);
    }
    if (!n_left) return;
    size_t n = (size_t)snprintf(c->left, sizeof c->left,
                                "%llu of %llu tensors, which are matrices, %s:", (unsigned long long)n_left,
                                (unsigned long long)c->header.n_tensors, what);
    for (size_t i = 0; i < n_listed; i++)
        n += (size_t)snprintf(c->left + n, sizeof c->left - n, "%s %s (%llu, %s)", i ? "," : "",
                              list[i].pattern, (unsigned long long)list[i].n,
                              format_ggml_name(list[i].ggml_type));
    if (n_more) snprintf(c->left + n, sizeof c->left - n, " and %llu more", (unsigned long long)n_more);
    job_note(&c->job, c->left);
}

static nut_status take_buffers(compress *c, nut_error *err) {
    mem_free(c->bytes);
    c->bytes = mem_alloc(c->room * sizeof(float));
    c->blocks = mem_alloc(c->room * sizeof(float));
    if (c->room_floats < c->room) c->room_floats = c->room;
    c->floats = mem_alloc(c->room_floats * sizeof(float));
    return c->bytes && c->blocks && c->floats
               ? NUT_OK
               : error_memory(err, (2 * c->room + c->room_floats) * sizeof(float));
}

/* A file that is copied keeps what was said of it. */
static void keep_facts(compress *c) {
    const uint64_t n = c->header.n_tensors;
    const gguf_kv *types = gguf_find(&c->header, COMPRESS_TYPES),
                  *errors = gguf_find(&c->header, COMPRESS_ERRORS);
    for (uint64_t i = 0; i < n; i++)
        if (c->tensors[i].ggml_type != c->header.tensors[i].ggml_type) return;
    if (types && types->elem == GGUF_U32 && types->n == n && types->n_bytes == n * sizeof *c->types)
        memcpy(c->types, types->value, (size_t)types->n_bytes);
    if (errors && errors->elem == GGUF_F32 && errors->n == n && errors->n_bytes == n * sizeof *c->errors)
        memcpy(c->errors, errors->value, (size_t)errors->n_bytes);
}

/* Before what methods set, so that a file that is written again is the same. */
static nut_status set_facts(compress *c, nut_error *err) {
    const uint64_t n = c->header.n_tensors;
    TRY(gguf_meta_array(&c->meta, COMPRESS_TYPES, GGUF_U32, c->types, n, err));
    return gguf_meta_array(&c->meta, COMPRESS_ERRORS, GGUF_F32, c->errors, n, err);
}

/* The header says the sizes of coded tensors, those that are known. */
static nut_status begin_writer(compress *c, nut_error *err) {
    TRY(set_facts(c, err));
    if (c->n_coded) {
        TRY(gguf_meta_array(&c->meta, GGUF_CODED_BYTES, GGUF_U64, c->coded_bytes, c->n_coded, err));
        TRY(gguf_meta_array(&c->meta, GGUF_CODED_OUTLIERS, GGUF_U64, c->coded_outliers, c->n_coded, err));
    }
    return gguf_write_begin(&c->writer, &c->header, &c->meta, c->tensors, c->header.n_tensors, err);
}

static nut_status plan_facts(compress *c, nut_error *err) {
    const uint64_t n = c->header.n_tensors;
    c->types = mem_calloc((size_t)n, sizeof *c->types);
    c->errors = mem_calloc((size_t)n, sizeof *c->errors);
    if (!c->types || !c->errors) return error_memory(err, n * 8);
    for (uint64_t i = 0; i < n; i++) c->types[i] = c->header.tensors[i].ggml_type;
    if (!c->n_coded) return NUT_OK;
    c->coded_bytes = mem_calloc((size_t)c->n_coded, sizeof *c->coded_bytes);
    c->coded_outliers = mem_calloc((size_t)c->n_coded, sizeof *c->coded_outliers);
    return c->coded_bytes && c->coded_outliers ? NUT_OK : error_memory(err, c->n_coded * 16);
}

static nut_status plan_model(compress *c, nut_error *err) {
    const uint64_t n = c->header.n_tensors;
    splits_forget(&c->header);
    if (!n) return error_set(err, NUT_E_CORRUPT, "the file holds no tensors; give a whole model");
    if (c->method->check) TRY(c->method->check(c->ctx, &c->header, err));
    c->tensors = mem_calloc((size_t)n, sizeof *c->tensors);
    if (!c->tensors) return error_memory(err, n * sizeof *c->tensors);
    for (uint64_t i = 0; i < n; i++) TRY(plan_tensor(c, i, err));
    TRY(take_buffers(c, err));
    TRY(plan_facts(c, err));
    TRY(begin_writer(c, err));
    note_twice(c);
    c->phase = begin_write;
    return NUT_OK;
}

static nut_status begin_write(compress *c, nut_error *err) {
    (void)err;
    note_those(c, c->header.tensors, is_left, "stay as they are");
    c->phase = tell_unweighed;
    return NUT_OK;
}

static nut_status tell_unweighed(compress *c, nut_error *err) {
    (void)err;
    if (c->method->weighs && c->find)
        note_those(c, c->header.tensors, is_unweighed,
                   "have no statistics, so that all their columns count the same");
    c->phase = tell_written;
    return NUT_OK;
}

static nut_status tell_written(compress *c, nut_error *err) {
    (void)err;
    if (c->method->tells) note_those(c, c->tensors, is_written, "are written");
    c->phase = write_header;
    return NUT_OK;
}

/* ---- writing ---- */

static void write_bytes(compress *c, const uint8_t *bytes, size_t n) {
    job_write(&c->job, c->written, bytes, n);
    c->written += n;
}

static nut_status write_header(compress *c, nut_error *err) {
    const size_t n = gguf_write_header(&c->writer, c->blocks, c->room * sizeof(float));
    if (n)
        write_bytes(c, c->blocks, n);
    else
        c->phase = want_slice;
    (void)err;
    return NUT_OK;
}

static bool is_coded(const compress *c) {
    return format_is_coded(format_by_ggml(c->tensors[c->tensor].ggml_type));
}

static bool is_copied(const compress *c) {
    return c->header.tensors[c->tensor].ggml_type == c->tensors[c->tensor].ggml_type;
}

/* The next slice of the tensor: as many rows as fit, or what fits of a row. */
static void next_slice(compress *c) {
    const gguf_tensor *t = &c->header.tensors[c->tensor];
    method_slice *s = &c->slice;
    const bool whole = c->method->whole_rows && !is_copied(c);
    const uint64_t fits = whole ? c->room : SLICE, rows = n_rows(t) - c->row, cols = t->dims[0] - c->col;
    *s = (method_slice){.tensor = t,
                        .to = format_by_ggml(c->tensors[c->tensor].ggml_type),
                        .row = c->row,
                        .col = c->col,
                        .weights = c->floats,
                        .ctx = c->ctx,
                        .n_cols = (size_t)(cols < fits ? cols : fits)};
    const uint64_t most = t->dims[0] < fits ? fits / t->dims[0] : 1;
    s->n_rows = (size_t)(rows < most ? rows : most);
    c->col += s->n_cols;
    if (c->col == t->dims[0]) c->col = 0, c->row += s->n_rows;
}

static nut_status find_statistics(compress *c, nut_error *err) {
    const gguf_tensor *t = c->slice.tensor;
    const unsigned needs = c->method->statistics;
    if (!(needs | c->method->weighs) || !c->find || is_copied(c)) return NUT_OK;
    c->slice.statistics = c->find(c->ctx, t->name);
    if (!needs || (c->slice.statistics && (c->slice.statistics->kinds & needs) == needs)) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "there are no statistics for tensor %.*s, which method %s needs",
                     (int)t->name.n, t->name.s, c->method->name);
}

/* Rows follow each other without gaps, so a tensor is one long row of blocks. */
static nut_status write_slice(compress *c, nut_error *err);
static nut_status code_tensor(compress *c, nut_error *err);
static nut_status finish_tensor(compress *c, nut_error *err);

/* What the method needs of the state; c->n 0: nothing more. */
static nut_status want_of_state(compress *c, nut_error *err) {
    uint64_t at;
    uint8_t *into;
    c->n = 0;
    if (!c->method->wants) return NUT_OK;
    TRY(c->method->wants(c->ctx, &c->header.tensors[c->tensor], &at, &into, &c->n, err));
    if (c->n) job_want(&c->job, NUT_JOB_STATE, at, into, c->n);
    return NUT_OK;
}

static nut_status want_slice(compress *c, nut_error *err) {
    const gguf_tensor *t = &c->header.tensors[c->tensor];
    const format *f = format_by_ggml(t->ggml_type);
    if (c->row == n_rows(t) && is_coded(c) && !c->data.n) {
        c->phase = code_tensor;
        return NUT_OK;
    }
    if (c->row == n_rows(t)) {
        c->pad = gguf_padding(c->tensors[c->tensor].n_bytes, c->header.alignment);
        c->phase = finish_tensor;
        return NUT_OK;
    }
    if (!c->row && !c->col && !is_copied(c) && !is_coded(c)) {
        TRY(want_of_state(c, err));
        if (c->n) return NUT_OK;
    }
    next_slice(c);
    TRY(find_statistics(c, err));
    const uint64_t first = (c->slice.row * t->dims[0] + c->slice.col) / f->block;
    c->n = c->slice.n_rows * c->slice.n_cols / f->block * f->bytes;
    job_want(&c->job, t->split, t->offset + first * f->bytes, c->bytes, c->n);
    c->phase = write_slice;
    return NUT_OK;
}

/* ---- what is lost ---- */

static double sum_squares(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

/* The slice's blocks are read back, over what was read of the source. */
static void add_error(compress *c, size_t n) {
    const format *to = c->slice.to;
    float *back = (float *)c->bytes;
    gguf_floats(&c->tensors[c->tensor], c->blocks, n / to->block, back);
    for (size_t i = 0; i < n; i++) back[i] -= c->floats[i];
    c->power += sum_squares(c->floats, n);
    c->error += sum_squares(back, n);
}

/* Root of the mean square change of a weight, as a part of that of the weights. */
static void end_error(compress *c) {
    c->errors[c->tensor] = c->power > 0 ? (float)sqrt(c->error / c->power) : 0;
    c->power = c->error = 0;
}

/* ---- slices ---- */

static bool all_finite(const float *x, size_t n) {
    size_t wrong = 0; // without a branch, so that compilers make SIMD of it
    for (size_t i = 0; i < n; i++) wrong += !(fabsf(x[i]) <= FLT_MAX);
    return !wrong;
}

/* Scales that are no numbers show in the weights that they scale, whatever the codes are. */
static nut_status write_slice(compress *c, nut_error *err) {
    const method_slice *s = &c->slice;
    const format *from = format_by_ggml(s->tensor->ggml_type);
    const size_t n = s->n_rows * s->n_cols;
    float *floats = c->floats;
    if (is_coded(c)) floats += s->row * s->tensor->dims[0] + s->col;
    c->phase = want_slice;
    gguf_floats(s->tensor, c->bytes, n / from->block, floats);
    if (!all_finite(floats, n))
        return error_set(err, NUT_E_CORRUPT,
                         "tensor %.*s holds weights that are infinite or no numbers; the file is damaged",
                         (int)s->tensor->name.n, s->tensor->name.s);
    if (is_coded(c)) return NUT_OK;
    if (is_copied(c)) {
        const bool changed = from->id == FORMAT_F32 && c->method->change && c->method->change(s);
        write_bytes(c, changed ? (const uint8_t *)floats : c->bytes, c->n);
        return NUT_OK;
    }
    TRY(c->method->encode(s, c->blocks, err));
    add_error(c, n);
    write_bytes(c, c->blocks, n / s->to->block * s->to->bytes);
    return NUT_OK;
}

/* All weights of the tensor are there as floats. */
static nut_status code_tensor(compress *c, nut_error *err) {
    gguf_tensor *t = &c->tensors[c->tensor];
    method_slice whole = {.tensor = &c->header.tensors[c->tensor],
                          .to = format_by_ggml(t->ggml_type),
                          .weights = c->floats,
                          .ctx = c->ctx,
                          .statistics = c->slice.statistics,
                          .n_rows = (size_t)n_rows(t),
                          .n_cols = (size_t)t->dims[0]};
    coded_data_free(&c->data);
    TRY(want_of_state(c, err));
    if (c->n) return NUT_OK;
    c->power = sum_squares(c->floats, whole.n_rows * whole.n_cols);
    TRY(c->method->code(&whole, &c->data, err));
    c->error = c->data.error;
    t->ggml_type = c->data.format->ggml_type;
    t->n_bytes = c->coded_bytes[c->coded] = c->data.n;
    c->coded_outliers[c->coded++] = c->data.n_outliers;
    write_bytes(c, c->data.bytes, c->data.n);
    c->phase = want_slice;
    return NUT_OK;
}

static nut_status finish_job(compress *c, nut_error *err) {
    (void)err;
    job_done(&c->job);
    return NUT_OK;
}

/* The header once more: it has as many bytes as before. */
static nut_status rewrite_header(compress *c, nut_error *err) {
    const uint64_t at = c->writer.n_bytes;
    const size_t n = gguf_write_header(&c->writer, c->blocks, c->room * sizeof(float));
    if (n)
        job_write(&c->job, at, c->blocks, n);
    else
        c->phase = finish_job;
    (void)err;
    return NUT_OK;
}

static nut_status finish_data(compress *c, nut_error *err) {
    keep_facts(c);
    TRY(begin_writer(c, err));
    c->phase = rewrite_header;
    return NUT_OK;
}

/* Zeros up to the alignment, then the tensor is told. */
static nut_status finish_tensor(compress *c, nut_error *err) {
    const gguf_str name = c->header.tensors[c->tensor].name;
    const size_t n = c->pad < c->room ? (size_t)c->pad : c->room;
    (void)err;
    c->pad -= n;
    if (n) {
        memset(c->blocks, 0, n);
        write_bytes(c, c->blocks, n);
        return NUT_OK;
    }
    for (size_t i = 0; i < name.n; i++) c->name[i] = name.s[i] ? name.s[i] : '?'; // 64 bytes at most: gguf.c
    c->name[name.n] = 0;
    c->row = c->col = 0;
    coded_data_free(&c->data);
    end_error(c);
    c->phase = ++c->tensor < c->header.n_tensors ? want_slice : finish_data;
    job_progress(&c->job, c->name, c->tensor, c->header.n_tensors);
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    compress *c = (compress *)job;
    return c->phase(c, err);
}

static void free_job(nut_job *job) {
    compress *c = (compress *)job;
    gguf_free(&c->file);
    gguf_free(&c->header);
    gguf_meta_free(&c->meta);
    coded_data_free(&c->data);
    mem_free(c->coded_bytes);
    mem_free(c->coded_outliers);
    mem_free(c->types);
    mem_free(c->errors);
    mem_free(c->tensors);
    mem_free(c->bytes);
    mem_free(c->blocks);
    mem_free(c->floats);
    mem_free(c);
}

static nut_status begin(compress *c, const char *recipe, nut_error *err) {
    const method *m = c->method;
    if (m->statistics && !c->find)
        return error_set(err, NUT_E_ARGUMENT,
                         "method %s needs statistics of the model's inputs; calibrate first", m->name);
    TRY(set_facts(c, err)); // they take their place
    if (m->begin) TRY(m->begin(&c->options, c->ctx, &c->meta, err));
    if (recipe) TRY(gguf_meta_str(&c->meta, COMPRESS_RECIPE, (gguf_str){recipe, strlen(recipe)}, err));
    c->bytes = mem_alloc(READ);
    return c->bytes ? NUT_OK : error_memory(err, READ);
}

nut_status compress_begin(const method *m, const nut_compress_options *options, method_find_statistics *find,
                          const void *ctx, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    const char *type = options->type;
    if (type && strlen(type) >= MAX_TYPE)
        return error_set(err, NUT_E_ARGUMENT, "there is no type \"%.20s...\"", type);
    compress *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    c->job.ops = &ops;
    c->phase = ask_size;
    c->method = m;
    c->options = (nut_compress_options){.method = m->name, .type = type ? strcpy(c->type, type) : NULL};
    c->find = find;
    c->ctx = ctx;
    c->room = SLICE;
    nut_status status = begin(c, options->recipe, err);
    if (status == NUT_OK)
        *out = &c->job;
    else
        free_job(&c->job);
    return status;
}
