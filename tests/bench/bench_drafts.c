/*
 * What drafts gain: answers to the prompts of a file are written without drafts and with them, in turn, and
 * must be the same, token for token.
 *
 *     make build/native/bench_drafts
 *     build/native/bench_drafts MODEL tests/bench/drafts/texts.txt [option VALUE]...
 *
 *     lookup N        tokens of a prompt lookup (7; 0: none)
 *     by MODEL        a model that drafts
 *     without L,L,..  the model itself drafts, without these layers
 *     forced SHARE    a drafted token is right with this chance, whatever the model said: what the costs of
 *                     drafts allow. Then the gain that they predict is told too
 *     always N        drafts of N tokens by a model even where they do not pay, to learn how many are
 * accepted texts N         of a kind (all) tokens N        of an answer (256 at most)
 *
 * A table of markdown: tokens/s in the thread's own time, the share of the drafted tokens that were
 * accepted, and the least gain of a prompt. A text of the file begins with a line "== KIND"; texts of a kind
 * follow one another. Prompts are ChatML's.
 */
#include "../unit/model_file.h"

#include "base/clock.h"
#include "base/rng.h"
#include "run/session.h"

#include <string.h>

enum { DRAWN = 256, N_CTX = 1024, TEXT_BYTES = 1 << 16 };

static void fail(const char *words) {
    fprintf(stderr, "%s\n", words);
    exit(1);
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
    bool done;
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

static bool always;            // drafts are taken for worth it
static uint32_t drawn = DRAWN; // tokens of an answer

/* All drafts of a model are taken for right, and for free. */
static void encourage(nut_session *s) {
    draft *d = &s->generation.draft;
    if (!s->drafter || d->one == 0) return;
    d->credit = DRAFT_CREDIT, d->right[DRAFT_MODEL] = d->right[DRAFT_LAYERS] = 1;
    s->drafter->seconds = 1e-9;
    for (size_t n = 2; n < DRAFT_MAX + 2; n++) d->cost[n] = 1, d->seen[n] = 2;
}

static void begin_answer(nut_session *s, const int32_t *ids, size_t n, const nut_generate_options *o,
                         answer *a) {
    nut_error err;
    a->n = 0, a->seconds = 0, a->done = false;
    nut_session_truncate(s, 0, NULL);
    if (nut_generate_begin(s, ids, n, o, &err) != NUT_OK) fail(err.message);
}

/* A step, without the prompt's in the time. */
static void go_on(nut_session *s, answer *a) {
    nut_error err;
    nut_step step;
    if (always) encourage(s);
    const double since = clock_own_seconds();
    if (nut_generate_step(s, &step, &err) != NUT_OK) fail(err.message);
    if (step.kind != NUT_STEP_PREFILL) a->seconds += clock_own_seconds() - since;
    if (step.kind == NUT_STEP_TOKEN) a->ids[a->n++] = step.token;
    a->done = step.kind == NUT_STEP_DONE;
}

/* Both answers in turn, so that what slows the machine down slows both; the plain one is ahead by a draft.
 */
static void write_answers(nut_session *plainly, answer *plain, nut_session *s, answer *drafted) {
    while (!plain->done || !drafted->done)
        if (drafted->done || (!plain->done && plain->n < drafted->n + 2 * DRAFT_MAX))
            go_on(plainly, plain);
        else
            go_on(s, drafted);
}

/* ---- drafts whose worth is given ---- */

static struct {
    double share; // 0: drafts are what they are
    rng random;
    const answer *right;
    drafter_calls calls;
    const drafter_calls *inner;
} forced;

static size_t make_forced(nut_session *s, int32_t *ids, size_t most) {
    const size_t n = forced.inner->make(s, ids, most), at = s->generation.n_sampled;
    bool right = true;
    for (size_t i = 0; i < n; i++) {
        right = right && rng_f64(&forced.random) < forced.share && at + i < forced.right->n;
        ids[1 + i] = right ? forced.right->ids[at + i] : 0;
    }
    return n;
}

static void force(nut_session *s, double share) {
    forced.share = share;
    forced.inner = s->drafter->calls;
    forced.calls = *forced.inner;
    forced.calls.make = make_forced;
    s->drafter->calls = &forced.calls;
    rng_seed(&forced.random, 1);
}

/* The best gain by the costs of a session's drafts (Leviathan et al. 2023, theorem 3.8). */
static double predict(const nut_session *s) {
    const draft *d = &s->generation.draft;
    double best = 1, sum = 1, power = 1;
    for (size_t k = 1; k < s->seq.ws->n_logits_max && k <= DRAFT_MAX; k++) {
        sum += power *= forced.share;
        const double gain = sum / ((double)d->cost[k + 1] + (double)k * s->drafter->each);
        if (d->seen[k + 1] && gain > best) best = gain;
    }
    return best;
}

static double plain_seconds, drafted_seconds; // of all texts

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

static void measure(const nut_model *m, nut_session *plainly, nut_session *s, const char *text,
                    uint32_t lookup, row *r) {
    static int32_t ids[N_CTX];
    static answer plain, drafted;
    const size_t n = prompt_ids(m, text, ids);
    nut_generate_options o = nut_generate_defaults();
    o.temperature = 0, o.max_tokens = drawn, o.lookup = 0;
    begin_answer(plainly, ids, n, &o, &plain);
    o.lookup = lookup;
    forced.right = &plain;
    begin_answer(s, ids, n, &o, &drafted);
    write_answers(plainly, &plain, s, &drafted);
    if (plain.n != drafted.n || memcmp(plain.ids, drafted.ids, plain.n * sizeof *plain.ids))
        fail("a draft changed the answer");
    const double gain = plain.seconds / drafted.seconds;
    r->n += plain.n;
    r->plain += plain.seconds, r->drafted += drafted.seconds;
    plain_seconds += plain.seconds, drafted_seconds += drafted.seconds;
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

typedef struct options {
    uint32_t lookup, always, layers[64];
    size_t n_layers, n_texts;
    const char *by;
    double forced;
} options;

static options read_options(int argc, char **argv) {
    options o = {.lookup = 7, .n_texts = SIZE_MAX};
    for (int i = 3; i + 1 < argc; i += 2) {
        const char *name = argv[i];
        char *value = argv[i + 1];
        if (!strcmp(name, "lookup")) o.lookup = (uint32_t)strtoul(value, NULL, 10);
        if (!strcmp(name, "always")) o.always = (uint32_t)strtoul(value, NULL, 10);
        if (!strcmp(name, "tokens") && strtoul(value, NULL, 10) < DRAWN)
            drawn = (uint32_t)strtoul(value, NULL, 10);
        if (!strcmp(name, "texts")) o.n_texts = strtoul(value, NULL, 10);
        if (!strcmp(name, "forced")) o.forced = strtod(value, NULL);
        if (!strcmp(name, "by")) o.by = value;
        for (char *at = value; !strcmp(name, "without") && *at && o.n_layers < 64; at += *at == ',')
            o.layers[o.n_layers++] = (uint32_t)strtoul(at, &at, 10);
    }
    return o;
}

static nut_model *load_model(const char *path) {
    nut_error err;
    const nut_load_options o = nut_load_defaults();
    nut_model *m = model_file_load(path, &o, &err);
    if (!m) fail(err.code ? err.message : "there is no such file");
    return m;
}

static nut_session *open_session(const nut_model *m, uint32_t lookup) {
    nut_error err;
    nut_session *s;
    const nut_session_options so = {.n_ctx = N_CTX, .n_threads = 1, .lookup = lookup};
    if (nut_session_new(m, &so, &s, &err) != NUT_OK) fail(err.message);
    return s;
}

static void set_draft(nut_session *s, const options *o, nut_model **m, nut_session **by) {
    nut_error err = {NUT_OK, ""};
    if (o->by) *by = open_session(*m = load_model(o->by), 0);
    if (*by) nut_session_draft_by(s, *by, &err);
    if (o->n_layers) nut_session_draft_without(s, o->layers, o->n_layers, &err);
    if (err.code != NUT_OK) fail(err.message);
    if (o->forced > 0 && s->drafter) force(s, o->forced);
}

int main(int argc, char **argv) {
    if (argc < 3) fail("bench_drafts MODEL TEXTS [option VALUE]...");
    const options o = read_options(argc, argv);
    row r = {0};
    nut_model *m = load_model(argv[1]), *other = NULL;
    const uint32_t most = o.always ? o.always : o.lookup > 7 ? o.lookup : 7;
    nut_session *plainly = open_session(m, 0), *s = open_session(m, most), *by = NULL;
    always = o.always > 0;
    set_draft(s, &o, &other, &by);
    printf("| text | plain | drafts | gain | least | accepted |\n|---|---|---|---|---|---|\n");
    char *at = read_file(argv[2]) + 3, *text;
    size_t n = 0;
    for (const char *kind; (text = next_text(&at, &kind));) {
        if (r.kind && strcmp(r.kind, kind)) print_row(&r), r = (row){0}, n = 0;
        r.kind = kind;
        if (n++ < o.n_texts) measure(m, plainly, s, text, o.lookup, &r);
    }
    print_row(&r);
    if (forced.share > 0) {
        const double gain = plain_seconds / drafted_seconds, predicted = predict(s);
        printf("\ngain %.3f, predicted by acceptance and costs %.3f: %.3f of it\n", gain, predicted,
               gain / predicted);
    }
    nut_session_free(s), nut_session_free(plainly), nut_session_free(by);
    nut_model_free(m), nut_model_free(other);
    return 0;
}
