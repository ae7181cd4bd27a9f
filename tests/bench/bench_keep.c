/*
 * What leaving out positions behind a prompt costs: a text is read, then a part of its positions stays, and
 * the tokens that follow are compared with those of the whole context.
 *
 *     make build/native/bench_keep
 *     build/native/bench_keep MODEL TEXT [option VALUE]...
 *         windows N    of the text (2)
 *         prompt N     tokens that are read (1024)
 *         behind N     tokens that are compared (64)
 *         keep A,B,C   positions that stay (512,256,128)
 *         needles N    prompts with a number that is asked for at their end (0)
 *
 * A table of markdown. For each number of positions two rows: those that the last tokens attend to
 * (nut_session_keep), and the first tile with the last ones (window_shift, Xiao et al. 2023, arXiv
 * 2309.17453). KL divergence from the whole context in nats a token, how often both find the same token
 * likeliest, the time of a token of the whole's, and, of the needles, how many numbers were found; the row
 * of the whole context comes first.
 */
#include "../unit/model_file.h"

#include "base/clock.h"
#include "evaluate/figures.h"
#include "nutshell_dynamic.h"
#include "run/session.h"

#include <string.h>

enum { MOST_IDS = 1 << 16, MOST_ROWS = 16, DIGITS = 5, MOST_TEXT = 1 << 16 };

typedef struct settings {
    uint32_t n_windows, n_prompt, n_behind, n_needles;
    const char *keep;
} settings;

typedef enum way { WHOLE, ATTENDED, LAST } way;

typedef struct row {
    way way;
    uint32_t most;
    double kl, seconds;
    size_t n, n_same, n_found;
} row;

static void fail(const char *words) {
    fprintf(stderr, "%s\n", words);
    exit(1);
}

static size_t read_text(const char *path, char *text, size_t most) {
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(text, 1, most, f) : 0;
    if (f) fclose(f);
    if (!n) fail("the text cannot be read");
    return n;
}

static size_t to_ids(const nut_model *m, const char *text, size_t n_text, int32_t *ids) {
    size_t n;
    nut_error err;
    if (nut_tokenize(m, text, n_text, NUT_TOKENIZE_SPECIAL, ids, MOST_IDS, &n, &err) != NUT_OK)
        fail(err.message);
    return n;
}

static nut_session *open_session(const nut_model *m, uint32_t n_ctx) {
    const nut_session_options o = {.n_ctx = n_ctx, .n_threads = 2};
    nut_session *s;
    nut_error err;
    if (nut_session_new(m, &o, &s, &err) != NUT_OK) fail(err.message);
    return s;
}

static double eval(nut_session *s, const int32_t *ids, size_t n) {
    nut_error err;
    const double since = clock_seconds();
    if (nut_session_eval(s, ids, n, 1, &err) != NUT_OK) fail(err.message);
    return clock_seconds() - since;
}

static void leave_out(nut_session *s, const row *r) {
    nut_error err;
    if (r->way == ATTENDED && nut_session_keep(s, r->most, &err) != NUT_OK) fail(err.message);
    const uint32_t n = nut_session_n_past(s);
    if (r->way == LAST && n > r->most) window_shift(&s->seq, (n - r->most + CACHE_TILE - 1) / CACHE_TILE);
}

/* ---- KL ---- */

static void read_window(const nut_model *m, const settings *o, const int32_t *ids, row *rows,
                        size_t n_rows) {
    const size_t n_vocab = nut_model_n_vocab(m);
    nut_session *read = open_session(m, o->n_prompt + o->n_behind), *forks[MOST_ROWS];
    nut_error err;
    eval(read, ids, o->n_prompt);
    for (size_t i = 0; i < n_rows; i++) {
        if (nut_session_fork(read, &forks[i], &err) != NUT_OK) fail(err.message);
        leave_out(forks[i], &rows[i]);
    }
    float *logits = malloc(n_vocab * sizeof *logits);
    for (size_t i = o->n_prompt; i < o->n_prompt + o->n_behind; i++)
        for (size_t k = 0; k < n_rows; k++) {
            rows[k].seconds += eval(forks[k], ids + i, 1);
            rows[k].n++;
            if (k == 0) memcpy(logits, nut_session_logits(forks[k], 0), n_vocab * sizeof *logits);
            const figures_row p = figures_of_row(logits, n_vocab),
                              q = figures_of_row(nut_session_logits(forks[k], 0), n_vocab);
            const figures_token t = figures_compare(&q, &p, (size_t)ids[i + 1]);
            rows[k].kl += t.kl, rows[k].n_same += t.same_top;
        }
    for (size_t i = 0; i < n_rows; i++) nut_session_free(forks[i]);
    nut_session_free(read);
    free(logits);
}

/* ---- needles ---- */

/* A text of the file with a sentence in it, and the question for its number; to `number` its digits. */
static size_t make_needle(const char *text, size_t n_text, uint32_t i, const settings *o, char *out,
                          char *number) {
    const size_t most = (size_t)o->n_prompt * 4 < MOST_TEXT / 2 ? (size_t)o->n_prompt * 4 : MOST_TEXT / 2,
                 from = (size_t)i * most % (n_text - most), depth = most * (2 * i + 1) / (2 * o->n_needles);
    snprintf(number, DIGITS + 1, "%05u", (10007u + 7919u * i * i + 104729u * i) % 100000u);
    const int n = snprintf(out, MOST_TEXT,
                           "<|im_start|>user\n%.*s\nThe secret number is %s. Remember it.\n%.*s\n\nWhat is "
                           "the secret number?<|im_end|>\n<|im_start|>assistant\nThe secret number is ",
                           (int)depth, text + from, number, (int)(most - depth), text + from + depth);
    return (size_t)n;
}

static bool finds(const nut_model *m, nut_session *s, const char *number) {
    char said[64] = "";
    size_t n_said = 0;
    for (int i = 0; i < 8; i++) {
        const float *logits = nut_session_logits(s, 0);
        int32_t best = 0;
        size_t n;
        for (int32_t k = 1; k < (int32_t)nut_model_n_vocab(m); k++)
            if (logits[k] > logits[best]) best = k;
        if (nut_detokenize(m, &best, 1, false, said + n_said, sizeof said - 1 - n_said, &n, NULL) == NUT_OK)
            n_said += n;
        eval(s, &best, 1);
    }
    said[n_said] = 0;
    return strstr(said, number) != NULL;
}

static void find_needle(const nut_model *m, const settings *o, const char *text, size_t n_text, uint32_t i,
                        row *rows, size_t n_rows) {
    static char prompt[MOST_TEXT];
    static int32_t ids[MOST_IDS];
    char number[DIGITS + 1];
    nut_error err;
    const size_t n = to_ids(m, prompt, make_needle(text, n_text, i, o, prompt, number), ids);
    nut_session *read = open_session(m, (uint32_t)n + 64);
    eval(read, ids, n - 1);
    for (size_t k = 0; k < n_rows; k++) {
        nut_session *s;
        if (nut_session_fork(read, &s, &err) != NUT_OK) fail(err.message);
        eval(s, ids + n - 1, 1);
        leave_out(s, &rows[k]);
        rows[k].n_found += finds(m, s, number);
        nut_session_free(s);
    }
    nut_session_free(read);
}

/* ---- all ---- */

static size_t make_rows(const settings *o, row *rows) {
    size_t n = 0;
    rows[n++] = (row){.way = WHOLE, .most = o->n_prompt};
    for (const char *at = o->keep; *at && n + 2 <= MOST_ROWS;) {
        char *end;
        const uint32_t most = (uint32_t)strtoul(at, &end, 10);
        rows[n++] = (row){.way = ATTENDED, .most = most};
        rows[n++] = (row){.way = LAST, .most = most};
        at = *end == ',' ? end + 1 : "";
    }
    return n;
}

static void print_rows(const settings *o, const row *rows, size_t n_rows) {
    static const char *const ways[] = {"all", "attended to", "first and last"};
    printf("| positions | which | KL | same | time | found |\n|---|---|---|---|---|---|\n");
    for (const row *r = rows; r < rows + n_rows; r++)
        printf("| %u | %s | %.4f | %.1f %% | %.2f | %zu of %u |\n", r->most, ways[r->way],
               r->n ? r->kl / (double)r->n : 0, r->n ? 100 * (double)r->n_same / (double)r->n : 0,
               r->n ? r->seconds / rows->seconds : 0, r->n_found, o->n_needles);
}

int main(int argc, char **argv) {
    static int32_t ids[MOST_IDS];
    static char text[4 * MOST_TEXT];
    settings o = {2, 1024, 64, 0, "512,256,128"};
    row rows[MOST_ROWS];
    nut_error err;
    if (argc < 3) fail("bench_keep MODEL TEXT [option VALUE]...");
    for (int i = 3; i + 1 < argc; i += 2) {
        const uint32_t value = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "windows")) o.n_windows = value;
        if (!strcmp(argv[i], "prompt")) o.n_prompt = value;
        if (!strcmp(argv[i], "behind")) o.n_behind = value;
        if (!strcmp(argv[i], "needles")) o.n_needles = value;
        if (!strcmp(argv[i], "keep")) o.keep = argv[i + 1];
    }
    const nut_load_options lo = nut_load_defaults();
    nut_model *m = model_file_load(argv[1], &lo, &err);
    if (!m) fail("the model cannot be loaded");
    const size_t n_text = read_text(argv[2], text, sizeof text), n_ids = to_ids(m, text, n_text, ids),
                 n_rows = make_rows(&o, rows), each = o.n_prompt + o.n_behind + 1;
    for (size_t i = 0; i < o.n_windows && (i + 1) * each <= n_ids; i++)
        read_window(m, &o, ids + i * each, rows, n_rows);
    for (uint32_t i = 0; i < o.n_needles; i++) find_needle(m, &o, text, n_text, i, rows, n_rows);
    print_rows(&o, rows, n_rows);
    nut_model_free(m);
    return 0;
}
