/* Files: feeding a model from disk, reading texts, and writing results under a temporary name until they
 * are complete. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FEED_BYTES = 1 << 20 };

static nut_status io_error(nut_error *err, const char *what, const char *path) {
    return cli_error(err, NUT_E_IO, "cannot %s \"%s\": %s", what, path, strerror(errno));
}

/* Opens what is there to be read. *sized: it is a regular file, of *size bytes. */
static nut_status open_any(const char *path, FILE **out, bool *sized, uint64_t *size, nut_error *err) {
    struct stat st;
    if (stat(path, &st)) return io_error(err, "open", path);
    if (S_ISDIR(st.st_mode)) return cli_error(err, NUT_E_IO, "\"%s\" is a folder; give a file", path);
    FILE *f = fopen(path, "rb");
    if (!f) return io_error(err, "open", path);
    *sized = S_ISREG(st.st_mode);
    *size = *sized ? (uint64_t)st.st_size : 0;
    *out = f;
    return NUT_OK;
}

/* A regular file: models are read at any place. */
static nut_status open_sized(const char *path, FILE **out, uint64_t *size, nut_error *err) {
    bool sized;
    TRY(open_any(path, out, &sized, size, err));
    if (sized) return NUT_OK;
    fclose(*out);
    return cli_error(err, NUT_E_IO, "\"%s\" is a pipe or a device; give a regular file", path);
}

/* ---- models in several files ---- */

/* The path of file i (from 0) of n, from that of the first, NAME-00001-of-0000N.gguf; free with free(). */
static nut_status split_path(const char *first, uint32_t i, uint32_t n, char **out, nut_error *err) {
    char end[48];
    snprintf(end, sizeof end, "-%05u-of-%05u.gguf", 1u, (unsigned)n);
    const size_t length = strlen(first), n_end = strlen(end);
    if (length < n_end || strcmp(first + length - n_end, end) != 0)
        return cli_error(
            err, NUT_E_ARGUMENT,
            "the model has %u splits, which are found by their names: that of \"%s\" must end in %s",
            (unsigned)n, first, end);
    char *path = malloc(length + sizeof end);
    if (!path) return cli_error(err, NUT_E_MEMORY, "out of memory");
    memcpy(path, first, length - n_end);
    snprintf(path + length - n_end, sizeof end, "-%05u-of-%05u.gguf", (unsigned)i + 1, (unsigned)n);
    *out = path;
    return NUT_OK;
}

static nut_status open_split(const char *first, uint32_t i, uint32_t n, char **path, FILE **f,
                             uint64_t *size, nut_error *err) {
    TRY(split_path(first, i, n, path, err));
    nut_status status = open_sized(*path, f, size, err);
    if (status == NUT_OK) return NUT_OK;
    cli_error(err, status, "split %u of the model's %u cannot be opened: \"%s\": %s", (unsigned)i + 1,
              (unsigned)n, *path, strerror(errno));
    free(*path);
    *path = NULL;
    return status;
}

/* Checks that all files exist, before the first one is read. */
static nut_status check_splits(const char *first, uint32_t n, nut_error *err) {
    for (uint32_t i = 1; i < n; i++) {
        char *path;
        FILE *f;
        uint64_t size;
        TRY(open_split(first, i, n, &path, &f, &size, err));
        fclose(f);
        free(path);
    }
    return NUT_OK;
}

/* ---- loading ---- */

nut_status file_check_other(FILE *in, const char *in_path, const char *out_path, nut_error *err) {
    struct stat a, b;
    if (fstat(fileno(in), &a) || stat(out_path, &b) || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
        return NUT_OK;
    return cli_error(err, NUT_E_ARGUMENT,
                     "\"%s\" and \"%s\" are the same file, which would be lost; choose another name",
                     in_path, out_path);
}

static nut_status feed_piece(nut_loader *loader, uint64_t at, const void *bytes, size_t n, const char *path,
                             nut_error *err) {
    const bool knew = nut_load_get_plan(loader).complete;
    TRY(nut_load_feed(loader, at, bytes, n, err));
    const nut_load_plan plan = nut_load_get_plan(loader);
    return plan.complete && !knew ? check_splits(path, plan.n_splits, err) : NUT_OK;
}

/* Reads a file until n headers are there, its own the last of them. */
static nut_status feed_header(nut_loader *loader, FILE *f, const char *path, uint32_t n_headers,
                              nut_error *err) {
    uint8_t bytes[4096];
    nut_status status = NUT_OK;
    size_t n;
    for (uint64_t at = 0; status == NUT_OK && nut_load_get_plan(loader).n_read < n_headers &&
                          (n = fread(bytes, 1, sizeof bytes, f)) > 0;
         at += n)
        status = nut_load_feed(loader, at, bytes, n, err);
    return status == NUT_OK && ferror(f) ? io_error(err, "read", path) : status;
}

static nut_status feed_file(nut_loader *loader, FILE *f, const char *path, nut_error *err) {
    uint8_t *buffer = malloc(FEED_BYTES);
    if (!buffer) return cli_error(err, NUT_E_MEMORY, "out of memory for a read buffer");
    nut_status status = NUT_OK;
    size_t n;
    for (uint64_t at = 0; status == NUT_OK && (n = fread(buffer, 1, FEED_BYTES, f)) > 0; at += n)
        status = feed_piece(loader, at, buffer, n, path, err);
    free(buffer);
    return status == NUT_OK && ferror(f) ? io_error(err, "read", path) : status;
}

static nut_status feed_split(nut_loader *loader, const char *first, uint32_t i, uint32_t n,
                             const char *output, nut_error *err) {
    char *path;
    FILE *f;
    uint64_t size;
    TRY(open_split(first, i, n, &path, &f, &size, err));
    nut_status status = output ? file_check_other(f, path, output, err) : NUT_OK;
    if (status == NUT_OK) status = nut_load_next(loader, size, err);
    if (status == NUT_OK) status = feed_file(loader, f, path, err);
    fclose(f);
    free(path);
    return status;
}

static nut_status feed_splits(nut_loader *loader, const char *first, const char *output, nut_error *err) {
    const uint32_t n = nut_load_get_plan(loader).n_splits;
    for (uint32_t i = 1; i < n; i++) TRY(feed_split(loader, first, i, n, output, err));
    return NUT_OK;
}

nut_status file_kv_type(const file_options *options, nut_kv_type *out, nut_error *err) {
    for (int type = 0; type < NUT_KV_COUNT; type++)
        if (!options->kv_type || !strcmp(options->kv_type, nut_kv_type_name((nut_kv_type)type))) {
            *out = (nut_kv_type)type;
            return NUT_OK;
        }
    return cli_error(err, NUT_E_ARGUMENT, "--kv-type must be %s, %s or %s, not \"%s\"",
                     nut_kv_type_name(NUT_KV_F16), nut_kv_type_name(NUT_KV_Q8_0),
                     nut_kv_type_name(NUT_KV_Q4_0), options->kv_type);
}

/* "FILE:SCALE": the scale, where a number is behind the last colon; *n receives the length of the name. */
static float adapter_scale(const char *text, size_t *n) {
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    const float scale = colon && colon[1] ? strtof(colon + 1, &end) : 1;
    const bool given = end && !*end;
    *n = given ? (size_t)(colon - text) : strlen(text);
    return given ? scale : 1;
}

static nut_status add_adapter(const char *text, nut_model *m, nut_error *err) {
    size_t n_name, n;
    char *bytes = NULL;
    const float scale = adapter_scale(text, &n_name);
    char *name = malloc(n_name + 1);
    if (!name) return cli_error(err, NUT_E_MEMORY, "out of memory");
    memcpy(name, text, n_name);
    name[n_name] = '\0';
    nut_status status = file_read_text(name, &bytes, &n, err);
    if (status == NUT_OK) status = nut_model_add_adapter(m, bytes, n, scale, err);
    free(bytes);
    free(name);
    return status;
}

static nut_status add_adapters(const file_options *options, nut_model **m, nut_error *err) {
    nut_status status = NUT_OK;
    for (size_t i = 0; i < options->adapters.n && status == NUT_OK; i++)
        status = add_adapter(options->adapters.items[i], *m, err);
    if (status != NUT_OK) nut_model_free(*m), *m = NULL;
    return status;
}

nut_status file_load_model(const char *path, const file_options *options, nut_model **out, nut_error *err) {
    FILE *f;
    uint64_t size;
    nut_loader *loader = NULL;
    nut_load_options lo = nut_load_defaults();
    TRY(file_kv_type(options, &lo.kv_type, err));
    lo.kernel = options->kernel;
    lo.reference = options->reference;
    lo.n_ctx = options->n_ctx;
    lo.header_only = options->header_only;
    lo.pre_tokenizer = options->pre;
    lo.n_threads = options->n_threads;
    if (options->weights_limit) {
        TRY(args_size(options->weights_limit, &size, err));
        TRY(stored_load_model(path, &lo, size, out, err));
        return add_adapters(options, out, err);
    }
    TRY(open_sized(path, &f, &size, err));
    nut_status status = nut_load_begin(&lo, size, &loader, err);
    if (status == NUT_OK && options->output) status = file_check_other(f, path, options->output, err);
    if (status == NUT_OK && options->header_only) {
        status = feed_header(loader, f, path, 1, err);
    } else {
        if (status == NUT_OK) status = feed_file(loader, f, path, err);
        if (status == NUT_OK) status = feed_splits(loader, path, options->output, err);
    }
    if (status == NUT_OK) status = nut_load_finish(loader, out, err);
    if (status != NUT_OK) nut_load_abort(loader);
    fclose(f);
    return status == NUT_OK ? add_adapters(options, out, err) : status;
}

/* The headers of a model's further files. */
static nut_status feed_split_headers(nut_loader *loader, const char *first, nut_error *err) {
    const uint32_t n = nut_load_get_plan(loader).n_splits;
    TRY(check_splits(first, n, err));
    for (uint32_t i = 1; i < n; i++) {
        char *path;
        FILE *f;
        uint64_t size;
        TRY(open_split(first, i, n, &path, &f, &size, err));
        nut_status status = nut_load_next(loader, 0, err);
        if (status == NUT_OK) status = feed_header(loader, f, path, i + 1, err);
        fclose(f);
        free(path);
        TRY(status);
    }
    return NUT_OK;
}

nut_status file_predict(const char *path, const file_options *options, nut_predict_options *po,
                        nut_prediction *out, nut_error *err) {
    FILE *f;
    uint64_t size;
    nut_loader *loader = NULL;
    nut_load_options lo = nut_load_defaults();
    TRY(file_kv_type(options, &po->kv_type, err));
    lo.kernel = options->kernel;
    TRY(open_sized(path, &f, &size, err));
    nut_status status = nut_predict_begin(&lo, 0, &loader, err); // the rest of the file may be missing
    if (status == NUT_OK) status = feed_header(loader, f, path, 1, err);
    fclose(f);
    if (status == NUT_OK) status = feed_split_headers(loader, path, err);
    if (status == NUT_OK) return nut_predict_finish(loader, po, out, err);
    nut_load_abort(loader);
    return status;
}

/* To the end, whatever the size: the file may be a pipe, or grow. */
static nut_status read_all(FILE *f, const char *path, size_t expected, char **out, size_t *n,
                           nut_error *err) {
    size_t cap = expected + 1, some;
    char *text = malloc(cap);
    *n = 0;
    while (text && (some = fread(text + *n, 1, cap - *n, f)) > 0) {
        *n += some;
        if (*n < cap) continue;
        char *grown = cap < SIZE_MAX / 2 ? realloc(text, 2 * cap) : NULL;
        if (!grown) free(text);
        text = grown;
        cap *= 2;
    }
    if (!text) return cli_error(err, NUT_E_MEMORY, "\"%s\" does not fit in memory", path);
    if (ferror(f)) {
        nut_status status = io_error(err, "read", path);
        free(text);
        return status;
    }
    text[*n] = 0;
    *out = text;
    return NUT_OK;
}

nut_status file_read_text(const char *path, char **out, size_t *n, nut_error *err) {
    enum { FIRST_BYTES = 1 << 16 }; // of a text of unknown size
    FILE *f;
    bool sized;
    uint64_t size;
    TRY(open_any(path, &f, &sized, &size, err));
    const size_t most = SIZE_MAX / 4, expected = !sized ? FIRST_BYTES : size < most ? (size_t)size : most;
    nut_status status = read_all(f, path, expected, out, n, err);
    fclose(f);
    return status;
}

nut_status file_begins_with(const char *path, const char *mark, bool *out, nut_error *err) {
    char bytes[16];
    const size_t n = strlen(mark) < sizeof bytes ? strlen(mark) : sizeof bytes;
    FILE *f;
    uint64_t size;
    TRY(open_sized(path, &f, &size, err));
    *out = fread(bytes, 1, n, f) == n && !memcmp(bytes, mark, n);
    fclose(f);
    return NUT_OK;
}

nut_status file_read_line(FILE *from, char **line, size_t *cap, bool *more, nut_error *err) {
    errno = 0;
    ssize_t n = getline(line, cap, from);
    *more = n >= 0;
    if (n < 0 && ferror(from)) return io_error(err, "read", "standard input");
    if (n < 0 && !feof(from)) return cli_error(err, NUT_E_MEMORY, "out of memory for a line");
    size_t kept = 0;
    for (ssize_t i = 0; i < n; i++)
        if ((*line)[i]) (*line)[kept++] = (*line)[i];
    while (kept && ((*line)[kept - 1] == '\n' || (*line)[kept - 1] == '\r')) kept--;
    if (*more) (*line)[kept] = 0;
    return NUT_OK;
}

/* ---- the files of a job ---- */

nut_status file_open_split(const char *first, uint32_t i, uint32_t n, char **path, FILE **out,
                           uint64_t *size, nut_error *err) {
    if (i > 0) return open_split(first, i, n, path, out, size, err);
    *path = malloc(strlen(first) + 1);
    if (!*path) return cli_error(err, NUT_E_MEMORY, "out of memory");
    nut_status status = open_sized(strcpy(*path, first), out, size, err);
    if (status == NUT_OK) return NUT_OK;
    free(*path);
    *path = NULL;
    return status;
}

nut_status file_read_at(FILE *f, const char *path, uint64_t offset, void *out, size_t n, nut_error *err) {
    if (fseeko(f, (off_t)offset, SEEK_SET)) return io_error(err, "read", path);
    if (fread(out, 1, n, f) == n) return NUT_OK;
    if (ferror(f)) return io_error(err, "read", path);
    return cli_error(err, NUT_E_IO, "\"%s\" has become shorter while it was read; try again", path);
}

/* A file that is there already must be a regular one: a device or a pipe would be replaced, not written to.
 */
static nut_status check_target(const char *path, nut_error *err) {
    struct stat st;
    if (stat(path, &st) || S_ISREG(st.st_mode)) return NUT_OK;
    if (S_ISDIR(st.st_mode))
        return cli_error(err, NUT_E_IO, "cannot write \"%s\": it is a folder; give the name of a file",
                         path);
    return cli_error(err, NUT_E_IO, "cannot write \"%s\": it is a pipe or a device; give the name of a file",
                     path);
}

nut_status file_sink_open(const char *path, file_sink *f, nut_error *err) {
    TRY(check_target(path, err));
    const size_t n = strlen(path) + sizeof ".part";
    *f = (file_sink){.path = path, .temporary = malloc(n)};
    if (!f->temporary) return cli_error(err, NUT_E_MEMORY, "out of memory");
    snprintf(f->temporary, n, "%s.part", path);
    f->file = fopen(f->temporary, "w+bx"); // never overwrites an existing file, which may be the source
    if (f->file) return NUT_OK;
    nut_status status = errno == EEXIST
                            ? cli_error(err, NUT_E_IO,
                                        "\"%s\" is there already; remove it unless it is still being "
                                        "written, or choose another name",
                                        f->temporary)
                            : io_error(err, "create", f->temporary);
    free(f->temporary);
    *f = (file_sink){0};
    return status;
}

nut_status file_sink_write(file_sink *f, uint64_t offset, const void *bytes, size_t n, nut_error *err) {
    if (offset != f->at && fseeko(f->file, (off_t)offset, SEEK_SET))
        return io_error(err, "write", f->temporary);
    if (fwrite(bytes, 1, n, f->file) != n) return io_error(err, "write", f->temporary);
    f->at = offset + n;
    return NUT_OK;
}

nut_status file_sink_size(file_sink *f, uint64_t *size, nut_error *err) {
    if (fflush(f->file) || fseeko(f->file, 0, SEEK_END)) return io_error(err, "write", f->temporary);
    f->at = *size = (uint64_t)ftello(f->file);
    return NUT_OK;
}

nut_status file_sink_read(file_sink *f, uint64_t offset, void *out, size_t n, nut_error *err) {
    f->at = UINT64_MAX; // the next write finds its place
    return file_read_at(f->file, f->temporary, offset, out, n, err);
}

nut_status file_sink_commit(file_sink *f, nut_error *err) {
    bool bad = fclose(f->file) != 0;
    f->file = NULL;
    if (bad || rename(f->temporary, f->path)) {
        nut_status status = io_error(err, "write", f->path);
        file_sink_abort(f);
        return status;
    }
    free(f->temporary);
    return NUT_OK;
}

void file_sink_abort(file_sink *f) {
    if (f->file) fclose(f->file);
    if (f->temporary) remove(f->temporary);
    free(f->temporary);
    *f = (file_sink){0};
}

/* ---- what is kept between runs ---- */

/* A path with something behind it; free with free(). */
static char *path_with(const char *path, const char *end) {
    const size_t n = strlen(path) + strlen(end) + 1;
    char *out = malloc(n);
    if (out) snprintf(out, n, "%s%s", path, end);
    return out;
}

/* Systems without locks run one process at a time. */
static bool lock(FILE *f) {
#ifdef F_SETLK
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fileno(f), F_SETLK, &whole) == 0;
#else
    return f;
#endif
}

/* A state that is there; NULL: none is. What somebody else has called so is no state. */
static nut_status open_state(const char *path, FILE **out, nut_error *err) {
    static const char mark[] = "NUTSTATE";
    char begin[sizeof mark] = "";
    TRY(check_target(path, err));
    *out = fopen(path, "r+b");
    if (!*out || !fread(begin, 1, sizeof mark - 1, *out) || !strcmp(begin, mark)) return NUT_OK;
    fclose(*out);
    *out = NULL;
    return cli_error(err, NUT_E_ARGUMENT,
                     "\"%s\" is there, and is none of a compression; choose another output", path);
}

static nut_status begin_state(file_state *s, const char *out, const char *part, nut_error *err) {
    TRY(open_state(s->path, &s->file, err));
    s->found = s->file;
    if (!s->file) s->file = fopen(s->path, "w+b");
    if (!s->file) return io_error(err, "create", s->path);
    if (!lock(s->file)) return cli_error(err, NUT_E_IO, "\"%s\" is being written by another process", out);
    if (s->found) remove(part);
    return NUT_OK;
}

nut_status file_state_open(const char *out, file_state *s, nut_error *err) {
    TRY(check_target(out, err));
    *s = (file_state){.path = path_with(out, ".state")};
    char *part = path_with(out, ".part");
    const nut_status status =
        s->path && part ? begin_state(s, out, part, err) : cli_error(err, NUT_E_MEMORY, "out of memory");
    free(part);
    if (status != NUT_OK) file_state_close(s, true);
    return status;
}

nut_status file_state_size(const file_state *s, uint64_t *size, nut_error *err) {
    if (fseeko(s->file, 0, SEEK_END)) return io_error(err, "read", s->path);
    *size = (uint64_t)ftello(s->file);
    return NUT_OK;
}

/* Through to the system at once: it is for the case that this process ends. */
nut_status file_state_write(const file_state *s, uint64_t offset, const void *bytes, size_t n,
                            nut_error *err) {
    if (fseeko(s->file, (off_t)offset, SEEK_SET) || fwrite(bytes, 1, n, s->file) != n || fflush(s->file))
        return io_error(err, "write", s->path);
    return NUT_OK;
}

void file_state_close(file_state *s, bool keep) {
    if (s->file) fclose(s->file);
    if (s->file && !keep) remove(s->path);
    free(s->path);
    *s = (file_state){0};
}
