/*
 * What early exits gain and lose: a text is read token by token by the whole model and, in turn, by one
 * whose tokens may leave the layers early.
 *
 *     make build/native/bench_exit
 *     build/native/bench_exit MODEL TEXT [windows N] [rule RULE:THRESHOLD:FIRST:EVERY]...
 *
 * A table of markdown, a row for each rule (those of the documentation unless given): layers that ran, heads
 * a token, KL divergence from the whole model in nats a token, how often both find the same token likeliest,
 * and the speed, tokens of the thread's own time, in that of the whole model. Windows of 512 tokens, whose
 * first half is read as a prompt.
 */
#include "../unit/model_file.h"

#include "base/clock.h"
#include "evaluate/figures.h"
#include "nutshell_dynamic.h"

#include <string.h>

enum { WINDOW = 512, MOST_RULES = 64, MOST_IDS = 1 << 16 };

static void fail(const char *words) {
    fprintf(stderr, "%s\n", words);
    exit(1);
}

static size_t read_ids(const nut_model *m, const char *path, int32_t *ids) {
    static char text[4 * MOST_IDS];
    FILE *f = fopen(path, "rb");
    nut_error err;
    size_t n = 0;
    if (!f || (n = fread(text, 1, sizeof text, f)) == 0) fail("the text cannot be read");
    fclose(f);
    if (n == sizeof text) n = sizeof text / 2;
    if (nut_tokenize(m, text, n, 0, ids, MOST_IDS, &n, &err) != NUT_OK) fail(err.message);
    return n;
}

static nut_session *open_session(const nut_model *m) {
    const nut_session_options o = {.n_ctx = WINDOW, .n_threads = 1};
    nut_session *s;
    nut_error err;
    if (nut_session_new(m, &o, &s, &err) != NUT_OK) fail(err.message);
    return s;
}

/* A rule, and what it came to. */
typedef struct row {
    nut_exit_options options;
    double whole, early, kl; // seconds; sum over the tokens
    size_t n, n_same;
} row;

static double eval(nut_session *s, const int32_t *ids, size_t n) {
    nut_error err;
    const double since = clock_own_seconds();
    if (nut_session_eval(s, ids, n, n == 1, &err) != NUT_OK) fail(err.message);
    return clock_own_seconds() - since;
}

static void read_window(const nut_model *m, nut_session *whole, nut_session *early, const int32_t *ids,
                        row *r) {
    const size_t n_vocab = nut_model_n_vocab(m);
    nut_session_truncate(whole, 0, NULL), nut_session_truncate(early, 0, NULL);
    eval(whole, ids, WINDOW / 2), eval(early, ids, WINDOW / 2);
    for (size_t i = WINDOW / 2; i + 1 < WINDOW; i++) {
        r->whole += eval(whole, ids + i, 1);
        r->early += eval(early, ids + i, 1);
        const figures_row p = figures_of_row(nut_session_logits(whole, 0), n_vocab),
                          q = figures_of_row(nut_session_logits(early, 0), n_vocab);
        const figures_token t = figures_compare(&q, &p, (size_t)ids[i + 1]);
        r->kl += t.kl, r->n_same += t.same_top, r->n++;
    }
}

static void print_row(const row *r, const nut_exit_figures *f, double threshold) {
    const double n = (double)r->n;
    printf("| %s %g | %u | %u | %.0f %% | %.2f | %.3f | %.1f %% | %.2f |\n", nut_exit_name(r->options.rule),
           threshold, (unsigned)r->options.first, (unsigned)r->options.every,
           100 * (double)f->n_layers / (double)f->n_asked, (double)f->n_heads / n, r->kl / n,
           100 * (double)r->n_same / n, r->whole / r->early);
    fflush(stdout);
}

/* "margin:0.9:20:5" */
static bool read_rule(const char *text, nut_exit_options *o) {
    char name[16];
    float threshold;
    unsigned first, every;
    *o = (nut_exit_options){.rule = NUT_EXIT_COUNT};
    if (sscanf(text, "%15[a-z]:%f:%u:%u", name, &threshold, &first, &every) != 4) return false;
    for (int i = 0; i < NUT_EXIT_COUNT; i++)
        if (!strcmp(name, nut_exit_name((nut_exit_rule)i)))
            *o = (nut_exit_options){
                .rule = (nut_exit_rule)i, .threshold = threshold, .first = first, .every = every};
    return o->rule < NUT_EXIT_COUNT;
}

int main(int argc, char **argv) {
    static const char *const standard[] = {
        "margin:0.5:15:5",  "margin:0.9:15:5",  "margin:0.99:15:5", "margin:0.5:24:3",  "margin:0.9:24:3",
        "margin:0.99:27:1", "cosine:0.95:15:1", "cosine:0.98:15:1", "cosine:0.99:15:1", "cosine:0.98:25:1",
        "patience:2:24:2",  "patience:3:24:1",  "margin:-1:29:1"};
    static int32_t ids[MOST_IDS];
    row rows[MOST_RULES] = {0};
    size_t n_rows = 0, n_windows = 2;
    nut_error err;
    if (argc < 3) fail("bench_exit MODEL TEXT [option VALUE]...");
    for (int i = 3; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "windows")) n_windows = strtoul(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "rule") && n_rows < MOST_RULES &&
            !read_rule(argv[i + 1], &rows[n_rows++].options))
            fail("a rule is RULE:THRESHOLD:FIRST:EVERY");
    }
    for (size_t i = 0; n_rows < sizeof standard / sizeof *standard && i == n_rows; i++)
        read_rule(standard[i], &rows[n_rows++].options);
    const nut_load_options lo = nut_load_defaults();
    nut_model *m = model_file_load(argv[1], &lo, &err);
    if (!m) fail("the model cannot be loaded");
    const size_t n_ids = read_ids(m, argv[2], ids);
    nut_session *whole = open_session(m), *early = open_session(m);
    printf("| rule | first | every | layers | heads | KL | same | speed "
           "|\n|---|---|---|---|---|---|---|---|\n");
    for (row *r = rows; r < rows + n_rows; r++) {
        if (nut_session_exit(early, &r->options, &err) != NUT_OK) fail(err.message);
        for (size_t i = 0; i < n_windows && (i + 1) * WINDOW <= n_ids; i++)
            read_window(m, whole, early, ids + i * WINDOW, r);
        const nut_exit_figures f = nut_session_exit_figures(early);
        print_row(r, &f, (double)r->options.threshold);
    }
    nut_session_free(whole), nut_session_free(early);
    nut_model_free(m);
    return 0;
}
