/* Tokenizing in tests: vocabularies from files and bytes, lists of ids in memory of exactly their size
 * (so that sanitizers detect a write past the end), comparison with expected ids. */
#ifndef NUT_TESTS_TOKENS_H
#define NUT_TESTS_TOKENS_H

#include "check.h"
#include "model/vocab.h"

#include <stdlib.h>
#include <string.h>

/* ---- vocabularies ---- */

typedef struct vocab_file {
    gguf g;
    vocab *v;          // NULL unless status is NUT_OK
    nut_status status; // of the header or of vocab_new
    nut_error err;
} vocab_file;

static inline void vocab_finish(vocab_file *f, bool complete) {
    if (f->status == NUT_OK) f->status = complete ? vocab_new(&f->g, NULL, &f->v, &f->err) : NUT_E_TRUNCATED;
}

/* Reads only the header; returns whether it is complete. */
static inline bool vocab_read_header(vocab_file *f, const void *bytes, size_t n) {
    size_t used;
    bool complete = false;
    memset(f, 0, sizeof *f);
    f->status = gguf_begin(&f->g, n, &f->err);
    if (f->status == NUT_OK) f->status = gguf_feed(&f->g, bytes, n, &used, &complete, &f->err);
    return complete;
}

static inline void vocab_open_bytes(vocab_file *f, const void *bytes, size_t n) {
    bool complete = vocab_read_header(f, bytes, n);
    vocab_finish(f, complete);
}

/* False where there is no such file. Only the header is read. */
static inline bool vocab_open_path(vocab_file *f, const char *path) {
    static uint8_t chunk[1 << 16];
    FILE *file = fopen(path, "rb");
    bool complete = false;
    memset(f, 0, sizeof *f);
    if (!file) return false;
    f->status = gguf_begin(&f->g, 0, &f->err);
    for (size_t n, used; f->status == NUT_OK && !complete && (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        f->status = gguf_feed(&f->g, chunk, n, &used, &complete, &f->err);
    fclose(file);
    vocab_finish(f, complete);
    return true;
}

static inline void vocab_close(vocab_file *f) {
    vocab_free(f->v);
    gguf_free(&f->g);
    f->v = NULL;
}

/* The vocabulary of a file that must be valid; false, with a reported skip, where it is missing. */
static inline bool vocab_open_sound(vocab_file *f, const char *path) {
    if (!vocab_open_path(f, path)) {
        CHECK_SKIP("%s is missing", path);
        return false;
    }
    if (CHECK(f->status == NUT_OK, "%s: %s", path, f->err.message)) return true;
    vocab_close(f);
    return false;
}

/* ---- ids ---- */

typedef struct tokens {
    int32_t *at;
    size_t n;
} tokens;

static inline tokens tokens_new(size_t n) {
    return (tokens){malloc((n ? n : 1) * sizeof(int32_t)), n};
}

static inline tokens tokens_of(const vocab *v, const char *text, size_t n, unsigned flags) {
    nut_error err = {0};
    size_t count = 0, again = 0;
    nut_status status = vocab_tokenize(v, text, n, flags, NULL, 0, &count, &err);
    CHECK(status == (count ? NUT_E_ARGUMENT : NUT_OK), "the count gives %s: %s", nut_status_name(status),
          err.message);
    tokens out = tokens_new(count);
    status = vocab_tokenize(v, text, n, flags, out.at, count, &again, &err);
    CHECK(status == NUT_OK && again == count, "%s, %zu ids, then %zu", err.message, count, again);
    return out;
}

/* The text of ids, terminated; free(). */
static inline char *tokens_text(const vocab *v, tokens in, bool special, size_t *n) {
    nut_error err = {0};
    size_t again = 0;
    *n = 0;
    nut_status status = vocab_detokenize(v, in.at, in.n, special, NULL, 0, n, &err);
    CHECK(status == (*n ? NUT_E_ARGUMENT : NUT_OK), "the length gives %s", nut_status_name(status));
    char *text = malloc(*n + 1);
    status = vocab_detokenize(v, in.at, in.n, special, text, *n, &again, &err);
    CHECK(status == NUT_OK && again == *n, "%s, %zu bytes, then %zu", err.message, *n, again);
    text[*n] = 0;
    return text;
}

static inline const char *tokens_show(tokens list) { // the first ones; two can be shown at once
    static char text[2][200];
    static int turn;
    size_t at = 0;
    turn = !turn;
    text[turn][0] = 0;
    for (size_t i = 0; i < list.n && at < 180; i++)
        at += (size_t)snprintf(text[turn] + at, sizeof text[0] - at, " %d", (int)list.at[i]);
    return text[turn];
}

static inline bool tokens_same(tokens a, tokens b) {
    return a.n == b.n && (!a.n || !memcmp(a.at, b.at, a.n * sizeof *a.at));
}

static inline void tokens_check(const char *name, const vocab *v, const char *text, size_t n, unsigned flags,
                                tokens expected) {
    tokens got = tokens_of(v, text, n, flags);
    CHECK(tokens_same(got, expected), "%s: \"%.*s\" gives%s, not%s", name, (int)(n < 60 ? n : 60), text,
          tokens_show(got), tokens_show(expected));
    free(got.at);
}

/* The texts of ids one by one are the text, but for the space in front that a whole text is without. */
static inline void tokens_check_pieces(const char *name, const vocab *v, tokens list, const char *text,
                                       size_t n) {
    size_t at = 0;
    char *pieces = malloc(n + 512);
    for (size_t i = 0; i < list.n && at <= n + 1; i++)
        at += vocab_token_text(v, list.at[i], true, pieces + at, n + 512 - at);
    const size_t space = at == n + 1 && pieces[0] == ' ';
    CHECK(at - space == n && !memcmp(pieces + space, text, n), "%s: %zu bytes in pieces, not %zu", name, at,
          n);
    free(pieces);
}

/* Text to ids and back is the same text, at once and in pieces. */
static inline void tokens_round_trip(const char *name, const vocab *v, const char *text, size_t n,
                                     unsigned flags) {
    tokens list = tokens_of(v, text, n, flags);
    size_t n_back;
    char *back = tokens_text(v, list, true, &n_back);
    CHECK(n_back == n && !memcmp(back, text, n), "%s: %zu bytes come back as %zu: \"%.*s\" as \"%.60s\"",
          name, n, n_back, (int)(n < 60 ? n : 60), text, back);
    tokens_check_pieces(name, v, list, text, n);
    free(back), free(list.at);
}

#endif
