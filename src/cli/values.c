/* The commands logits and embed: they write what a model computes for token ids or a text to a file of
 * little-endian floats, to be compared with another program. The machine must be little-endian. */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { MAX_ROWS = 16 }; // of logits kept at once

typedef struct values_args {
    file_options file;
    const char *ids;
    uint32_t n_threads;
    bool hidden; // rows, not the pooled vector
} values_args;

/* ---- token ids ---- */

static nut_status parse_id(const char **text, int32_t *id, nut_error *err) {
    char *end;
    errno = 0;
    const unsigned long v = strtoul(*text, &end, 10);
    if (**text < '0' || **text > '9' || errno || v > INT32_MAX || (*end && (*end != ',' || !end[1])))
        return cli_error(err, NUT_E_ARGUMENT,
                         "--ids takes token ids with commas between, as 1,2,3, and not \"%.20s\"", *text);
    *id = (int32_t)v;
    *text = *end ? end + 1 : end;
    return NUT_OK;
}

nut_status cli_parse_ids(const char *text, int32_t **out, size_t *n, nut_error *err) {
    int32_t *ids = malloc((strlen(text) / 2 + 1) * sizeof *ids);
    if (!ids) return cli_error(err, NUT_E_MEMORY, "out of memory for token ids");
    nut_status status = NUT_OK;
    *n = 0;
    do {
        status = parse_id(&text, &ids[(*n)++], err);
    } while (status == NUT_OK && *text);
    if (status != NUT_OK)
        free(ids);
    else
        *out = ids;
    return status;
}

/* ---- logits ---- */

/* Appends the ids, MAX_ROWS a time, and writes their logits. */
static nut_status write_rows(nut_session *s, const int32_t *ids, size_t n, size_t n_vocab, file_sink *out,
                             nut_error *err) {
    for (size_t i = 0; i < n; i += MAX_ROWS) {
        const size_t rows = n - i < MAX_ROWS ? n - i : MAX_ROWS;
        TRY(nut_session_eval(s, ids + i, rows, rows, err));
        for (size_t r = 0; r < rows; r++)
            TRY(file_sink_write(out, out->at, nut_session_logits(s, r), n_vocab * sizeof(float), err));
    }
    return NUT_OK;
}

/* Writes n floats as a whole file. */
static nut_status write_file(const char *path, const float *x, size_t n, nut_error *err) {
    file_sink out = {0};
    TRY(file_sink_open(path, &out, err));
    nut_status status = file_sink_write(&out, 0, x, n * sizeof *x, err);
    if (status == NUT_OK) status = file_sink_commit(&out, err);
    if (status != NUT_OK) file_sink_abort(&out);
    return status;
}

static nut_status write_logits(const values_args *a, const nut_model *m, const int32_t *ids, size_t n,
                               nut_error *err) {
    const nut_session_options so = {
        .n_ctx = a->file.n_ctx, .n_threads = a->n_threads, .n_batch = MAX_ROWS, .n_logits = MAX_ROWS};
    nut_session *s;
    file_sink out = {0};
    TRY(nut_session_new(m, &so, &s, err));
    nut_status status = file_sink_open(a->file.output, &out, err);
    if (status == NUT_OK) status = write_rows(s, ids, n, nut_model_n_vocab(m), &out, err);
    if (status == NUT_OK) status = file_sink_commit(&out, err);
    if (status != NUT_OK) file_sink_abort(&out);
    nut_session_free(s);
    return status;
}

nut_status command_logits(int argc, char **argv, nut_error *err) {
    values_args a = {.n_threads = 1};
    const arg_option options[] = {
        {"--ids", ARG_TEXT, &a.ids, "token ids, as 1,2,3; none is added"},
        {"-o", ARG_TEXT, &a.file.output, "file of float32, one row of logits for each id"},
        {"--context", ARG_U32, &a.file.n_ctx, "positions of the context (0: the model's own, at most 4096)"},
        {"--threads", ARG_U32, &a.n_threads, "threads (1)"},
        {"--kernel", ARG_TEXT, &a.file.kernel, "ref, simd128, pairs or relaxed"},
        {"--reference", ARG_FLAG, &a.file.reference, "hold all weights as floats"},
    };
    const char *p[1];
    arg_set set = {"logits", "MODEL --ids 1,2,3 -o FILE.f32", options, COUNT(options), p, 1};
    nut_model *m;
    int32_t *ids;
    size_t n;
    TRY(args_parse(&set, argc, argv, err));
    if (!a.ids || !a.file.output)
        return cli_error(err, NUT_E_ARGUMENT, "%s is missing; usage: nutshell logits %s",
                         a.ids ? "-o" : "--ids", set.positional);
    TRY(cli_parse_ids(a.ids, &ids, &n, err));
    nut_status status = file_load_model(p[0], &a.file, &m, err);
    if (status == NUT_OK) {
        status = write_logits(&a, m, ids, n, err);
        nut_model_free(m);
    }
    free(ids);
    return status;
}

/* ---- embed ---- */

static nut_status write_embedding(const values_args *a, const nut_model *m, const int32_t *ids, size_t n,
                                  nut_error *err) {
    const uint32_t whole = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    const nut_session_options so = {
        .n_ctx = whole < 2 ? 2 : whole, .n_threads = a->n_threads, .n_batch = whole};
    const size_t n_floats = nut_model_n_embd(m) * (a->hidden ? n : 1);
    nut_session *s;
    float *x = malloc(n_floats * sizeof *x);
    if (!x) return cli_error(err, NUT_E_MEMORY, "out of memory for %zu floats", n_floats);
    nut_status status = nut_session_new(m, &so, &s, err);
    if (status == NUT_OK) {
        status = nut_session_embed(s, ids, n, a->hidden ? x : NULL, a->hidden ? NULL : x, err);
        nut_session_free(s);
    }
    if (status == NUT_OK) status = write_file(a->file.output, x, n_floats, err);
    free(x);
    return status;
}

/* The ids that were given, or those of the text with what the model wants before and behind it. */
static nut_status find_ids(const values_args *a, const nut_model *m, const char *text, int32_t **ids,
                           size_t *n, nut_error *err) {
    if (a->ids) return cli_parse_ids(a->ids, ids, n, err);
    const unsigned flags = NUT_TOKENIZE_ADD_BOS | NUT_TOKENIZE_ADD_EOS | NUT_TOKENIZE_SPECIAL;
    return cli_tokenize(m, text, strlen(text), flags, ids, n, err);
}

bool cli_has_option(int argc, char **argv, const char *name) {
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], name)) return true;
    return false;
}

nut_status command_embed(int argc, char **argv, nut_error *err) {
    values_args a = {.n_threads = 1};
    const arg_option options[] = {
        {"--ids", ARG_TEXT, &a.ids, "token ids in place of a text, as 1,2,3; none is added"},
        {"-o", ARG_TEXT, &a.file.output, "file of float32: the text's vector, of length 1"},
        {"--hidden", ARG_FLAG, &a.hidden, "the rows of all tokens in place of the vector"},
        {"--threads", ARG_U32, &a.n_threads, "threads (1)"},
        {"--kernel", ARG_TEXT, &a.file.kernel, "ref, simd128, pairs or relaxed"},
        {"--reference", ARG_FLAG, &a.file.reference, "hold all weights as floats"},
    };
    const char *p[2] = {NULL, NULL};
    const size_t n_wanted = cli_has_option(argc, argv, "--ids") ? 1 : 2;
    arg_set set = {"embed", "MODEL (TEXT | --ids 1,2,3) -o FILE.f32", options, COUNT(options), p, n_wanted};
    nut_model *m;
    int32_t *ids = NULL;
    size_t n;
    TRY(args_parse(&set, argc, argv, err));
    if (!a.file.output)
        return cli_error(err, NUT_E_ARGUMENT, "-o is missing; usage: nutshell embed %s", set.positional);
    TRY(file_load_model(p[0], &a.file, &m, err));
    nut_status status = find_ids(&a, m, p[1], &ids, &n, err);
    if (status == NUT_OK) status = write_embedding(&a, m, ids, n, err);
    free(ids);
    nut_model_free(m);
    return status;
}
