/*
 * What drafts gain: answers to the prompts of a file are written without drafts and with them, in turn, and
 * must be the same, token for token.
 *
 *     make build/native/bench_drafts
 *     build/native/bench_drafts MODEL tests/bench/drafts/texts.txt [LOOKUP]
 *
 * A table of markdown: tokens/s in the thread's own time, the share of the drafted tokens that were
 * accepted, and the least gain of a prompt. A text of the file begins with a line "== KIND"; texts of a kind
 * follow one another. Prompts are ChatML's.
 */
#include "../unit/model_file.h"

#include <string.h>
#include <time.h>

enum { DRAWN = 256, N_CTX = 1024, TEXT_BYTES = 1 << 16 };

static void fail(const char *words) {
    fprintf(stderr, "%s\n", words);
    exit(1);
}

static double own_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static char *read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, TEXT_BYTES);
    if (!f || !text || fread(text, 1, TEXT_BYTES - 1, f) == 0) fail("the texts cannot be read");
    fclose(f);
    return text;
}

typedef struct answer {
    int32_t ids[DRAWN];
    size_t n;
    double seconds; // without the prompt
} answer;

static size_t prompt_ids(const nut_model *m, const char *text, int32_t *ids) {
    static char prompt[TEXT_BYTES + 100];
    size_t n;
    nut_error err;
    snprintf(prompt, sizeof prompt, "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n", text);
    if (nut_tokenize(m, prompt, strlen(prompt), NUT_TOKENIZE_ADD_BOS | NUT_TOKENIZE_SPECIAL, ids, N_CTX, &n,
                     &err) != NUT_OK)
        fail(err.message);
    return n;
}

static void write_answer(nut_session *s, const int32_t *ids, size_t n, const nut_generate_options *o,
                         answer *a) {
    nut_error err;
    nut_step step;
    double since = 0;
    a->n = 0;
    nut_session_truncate(s, 0, NULL);
    if (nut_generate_begin(s, ids, n, o, &err) != NUT_OK) fail(err.message);
    do {
        if (nut_generate_step(s, &step, &err) != NUT_OK) fail(err.message);
        if (step.kind == NUT_STEP_PREFILL) since = own_seconds();
        if (step.kind == NUT_STEP_TOKEN) a->ids[a->n++] = step.token;
    } while (step.kind != NUT_STEP_DONE);
    a->seconds = own_seconds() - since;
}

/* Of the texts of a kind. */
typedef struct row {
    const char *kind;
    double plain, drafted, least; // seconds; the least gain of a text
    size_t n;
    unsigned long long n_drafted, n_accepted;
} row;

static void print_row(const row *r) {
    printf("| %s | %.1f | %.1f | %.2f | %.2f | ", r->kind, (double)r->n / r->plain,
           (double)r->n / r->drafted, r->plain / r->drafted, r->least);
    printf("%llu of %llu, %.0f %% |\n", r->n_accepted, r->n_drafted,
           r->n_drafted ? 100 * (double)r->n_accepted / (double)r->n_drafted : 0);
    fflush(stdout);
}

static void count_drafts(const nut_session *s, row *r) {
    char t[384];
    size_t n;
    unsigned long long drafted = 0, accepted = 0;
    nut_session_timings(s, t, sizeof t, &n, NULL);
    const char *drafts = strstr(t, "\"drafts\"");
    if (drafts) sscanf(drafts, "\"drafts\":{\"drafted\":%llu,\"accepted\":%llu", &drafted, &accepted);
    r->n_drafted += drafted, r->n_accepted += accepted;
}

static void measure(const nut_model *m, nut_session *s, const char *text, uint32_t lookup, row *r) {
    static int32_t ids[N_CTX];
    static answer plain, drafted;
    const size_t n = prompt_ids(m, text, ids);
    nut_generate_options o = nut_generate_defaults();
    o.temperature = 0, o.max_tokens = DRAWN, o.lookup = 0;
    write_answer(s, ids, n, &o, &plain);
    o.lookup = lookup;
    write_answer(s, ids, n, &o, &drafted);
    if (plain.n != drafted.n || memcmp(plain.ids, drafted.ids, plain.n * sizeof *plain.ids))
        fail("a draft changed the answer");
    const double gain = plain.seconds / drafted.seconds;
    r->n += plain.n;
    r->plain += plain.seconds, r->drafted += drafted.seconds;
    if (r->least == 0 || gain < r->least) r->least = gain;
    count_drafts(s, r);
}

/* The next text, terminated; *kind is its kind. NULL behind the last. */
static char *next_text(char **at, const char **kind) {
    char *text = *at;
    if (!text) return NULL;
    char *line = strchr(text, '\n'), *end = strstr(text, "\n== ");
    if (!line) return NULL;
    *line = '\0';
    *kind = text;
    *at = end ? end + 4 : NULL;
    if (end) *end = '\0';
    return line + 1;
}

int main(int argc, char **argv) {
    nut_error err;
    nut_session *s;
    row r = {0};
    if (argc < 3) fail("bench_drafts MODEL TEXTS [LOOKUP]");
    const nut_load_options o = nut_load_defaults();
    const uint32_t lookup = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 15;
    nut_model *m = model_file_load(argv[1], &o, &err);
    if (!m) fail(err.code ? err.message : "there is no such file");
    const nut_session_options so = {.n_ctx = N_CTX, .n_threads = 1, .lookup = lookup};
    if (nut_session_new(m, &so, &s, &err) != NUT_OK) fail(err.message);
    printf("| text | plain | drafts | gain | least | accepted |\n|---|---|---|---|---|---|\n");
    char *at = read_file(argv[2]) + 3, *text;
    for (const char *kind; (text = next_text(&at, &kind));) {
        if (r.kind && strcmp(r.kind, kind)) print_row(&r), r = (row){0};
        r.kind = kind;
        measure(m, s, text, lookup, &r);
    }
    print_row(&r);
    nut_session_free(s), nut_model_free(m);
    return 0;
}
