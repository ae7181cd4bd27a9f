/*
 * Models with random weights against the logits that transformers computes for them in float64:
 * tests/golden/conformance/ (a selection, which must load), tests/golden/families/ (what that lacks,
 * rerankers among it) and all of $NUT_DATA/conformance (of which what the engine refuses as unsupported is
 * counted and listed). The JSON beside each model says how the values were made.
 *
 * The reference path must agree to rounding, the fast path within what half floats in its cache cost. Both
 * read the same ids in one batch, one by one, in odd batches, after a truncate, and with another sequence in
 * the same steps, which began as a fork or was saved and restored.
 *
 * With matrices rounded to Q8_0 and int8 kernels the median of the rows counts: where a router's scores are
 * close, a token may get another expert, and its row other logits, for any engine.
 */
#include "check.h"
#include "json.h"
#include "make_gguf.h"
#include "memory_job.h"
#include "model_file.h"

#include <string.h>

enum { MAX_IDS = 256, N_GREEDY = 24 };

/* One model of a folder, with what it must compute. */
typedef struct expected {
    const char *folder, *name;
    json_doc doc;
    uint32_t n_ctx;
    size_t n_ids, n_vocab;
    int32_t ids[MAX_IDS];
    size_t stride; // row i of the values holds the logits of tokens j with (i + j) % stride == 0
    double std;
    float *values; // those logits, row after row
    size_t n_values;
    bool causal; // else the values are rows behind the last layer, (n_ids, n_vocab) where n_vocab is n_embd
    float *pooled;        // (n_embd) of those
    double rows[MAX_IDS]; // largest |difference| / std of each row that was compared
} expected;

typedef struct path {
    const char *name, *kernel;
    bool reference;
    double tolerance; // of |difference| / std
    const char *type; // the model's matrices are written in it first; NULL: as they are
} path;

static const path paths[] = {
    {"reference", "ref", true, 2e-3, NULL}, // the tolerance that the models' README states
    {"fast", NULL, false, 2e-2, NULL},
    {"q8_0", NULL, false, 1e-1, "q8_0"}, // and that for activations of 8 bits
};
enum { N_PATHS = sizeof paths / sizeof *paths };

/* How far llama.cpp is off with the same files of Q8_0: the median of the rows (golden/q8_0.mjs). */
static json_doc llama_q8_0;
#define NEARLY 1.15 // of that: which way a rounding falls is chance

static const char *file_path(const expected *e, const char *file) {
    static char full[1200];
    snprintf(full, sizeof full, "%s/%s", e->folder, file);
    return full;
}

/* The text of a member; "" where there is none. */
static const char *text_of(const json *v, const char *key) {
    const json *m = json_get(v, key);
    return m && m->type == JSON_STRING ? m->text : "";
}

/* How many logits of n_rows rows are stored. */
static size_t count_values(const expected *e, size_t n_rows) {
    size_t n = 0;
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < e->n_vocab; j++) n += (i + j) % e->stride == 0;
    return n;
}

static bool read_expected(expected *e) {
    char file[300];
    size_t n_bytes = 0;
    snprintf(file, sizeof file, "%s.json", e->name);
    char *bytes = data_read_path(file_path(e, file), &n_bytes);
    if (!CHECK(bytes, "%s cannot be read", file_path(e, file))) return false;
    e->doc = json_parse(bytes, n_bytes);
    if (!CHECK(e->doc.root, "%s: %s", file, e->doc.error)) return false;
    const json *stride = json_get(e->doc.root, "stride"), *shape = json_get(e->doc.root, "shape");
    int32_t dims[2] = {0, 0};
    CHECK(json_ints(shape, dims, 2) == 2, "%s: its shape", e->name);
    e->n_ids = json_ints(json_get(e->doc.root, "ids"), e->ids, MAX_IDS);
    e->n_vocab = (size_t)dims[1];
    e->stride = stride ? (size_t)stride->number : 1;
    e->std = json_number(e->doc.root, "std", NULL);
    e->n_ctx = (uint32_t)json_number(e->doc.root, "n_ctx", NULL);
    e->causal = !strcmp(text_of(e->doc.root, "kind"), "causal");
    if (!e->causal)
        e->pooled = (float *)data_read_path(file_path(e, text_of(e->doc.root, "pooled")), &n_bytes);
    e->values = (float *)data_read_path(file_path(e, text_of(e->doc.root, e->causal ? "logits" : "hidden")),
                                        &n_bytes);
    e->n_values = n_bytes / sizeof(float);
    return CHECK(e->n_ids >= 8 && e->n_ids <= MAX_IDS && e->n_ids == (size_t)dims[0] && e->std > 0 &&
                     e->values && e->n_values == count_values(e, e->n_ids),
                 "%s: %zu ids, %zu logits", e->name, e->n_ids, e->n_values);
}

/* ---- logits ---- */

/* Compares row i of the model's logits with the stored ones, which begin at *at. */
static void compare_row(expected *e, size_t i, const float *logits, size_t *at) {
    for (size_t j = 0; j < e->n_vocab; j++) {
        if ((i + j) % e->stride) continue;
        const double d = fabs((double)logits[j] - (double)e->values[(*at)++]) / e->std;
        e->rows[i] = fmax(e->rows[i], d >= 0 ? d : (double)INFINITY);
    }
}

static void forget_rows(expected *e) {
    for (size_t i = 0; i < MAX_IDS; i++) e->rows[i] = (double)NAN;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How far the rows are off that were compared: the worst, or their median; infinite where too few were. */
static double how_far(const expected *e, const path *p) {
    double rows[MAX_IDS];
    size_t n = 0;
    for (size_t i = 0; i < e->n_ids; i++)
        if (!isnan(e->rows[i])) rows[n++] = e->rows[i];
    if (4 * n < 3 * e->n_ids) return (double)INFINITY;
    qsort(rows, n, sizeof *rows, by_size);
    return rows[p->type ? n / 2 : n - 1];
}

/* Appends the ids [begin, end), n_at_once at a time, and compares their logits. */
static void eval_range(expected *e, nut_session *s, size_t begin, size_t end, size_t n_at_once) {
    size_t at = count_values(e, begin);
    nut_error err = {NUT_OK, ""};
    for (size_t i = begin; i < end;) {
        const size_t n = end - i < n_at_once ? end - i : n_at_once;
        if (!CHECK(nut_session_eval(s, e->ids + i, n, n, &err) == NUT_OK, "%s: %s", e->name, err.message))
            return;
        for (size_t k = 0; k < n; k++, i++) compare_row(e, i, nut_session_logits(s, k), &at);
    }
}

static void eval_in_batches(expected *e, nut_session *s, size_t n_at_once) {
    eval_range(e, s, 0, e->n_ids, n_at_once);
}

/* Reads other ids first, forgets them, reads the right ones, forgets half of them and reads them again. */
static void eval_after_truncate(expected *e, nut_session *s, size_t n_at_once) {
    int32_t others[MAX_IDS];
    for (size_t i = 0; i < e->n_ids; i++) others[i] = e->ids[e->n_ids - 1 - i];
    CHECK(nut_session_eval(s, others, e->n_ids, 0, NULL) == NUT_OK, "%s: eval", e->name);
    CHECK(nut_session_truncate(s, 0, NULL) == NUT_OK, "%s: truncate", e->name);
    eval_range(e, s, 0, e->n_ids, n_at_once);
    CHECK(nut_session_truncate(s, (uint32_t)e->n_ids / 2, NULL) == NUT_OK, "%s: truncate", e->name);
    eval_range(e, s, e->n_ids / 2, e->n_ids, 3);
}

/* Appends the next n ids of two sessions in one step, and compares the logits behind them. */
static bool eval_both(expected *e, nut_session *const *s, const size_t *from, size_t n) {
    nut_row rows[16];
    for (size_t i = 0; i < 2 * n; i++) rows[i] = (nut_row){s[i / n], e->ids[from[i / n] + i % n], true};
    if (!CHECK(nut_workspace_eval(nut_session_workspace(s[0]), rows, 2 * n, NULL) == NUT_OK, "%s: a step",
               e->name))
        return false;
    for (size_t i = 0; i < 2 * n; i++) {
        const size_t row = from[i / n] + i % n;
        size_t at = count_values(e, row);
        compare_row(e, row, nut_workspace_logits(nut_session_workspace(s[0]), i), &at);
    }
    return true;
}

/* Two sessions at different positions, in one step and in turns; the second is a fork of the first, and then
 * what was saved of it. */
static void eval_two(expected *e, nut_session *s, size_t n_first) {
    enum { AHEAD = 3, EACH = 4 };
    nut_session *both[2] = {s, NULL};
    nut_error err = {NUT_OK, ""};
    size_t n_saved = 0;
    eval_range(e, s, 0, n_first, n_first);
    nut_session_save(s, NULL, 0, &n_saved, NULL);
    uint8_t *saved = malloc(n_saved);
    if (!CHECK(nut_session_save(s, saved, n_saved, &n_saved, &err) == NUT_OK, "%s: %s", e->name,
               err.message) ||
        !CHECK(nut_session_fork(s, &both[1], &err) == NUT_OK, "%s: %s", e->name, err.message)) {
        free(saved);
        return;
    }
    for (int restored = 0; restored < 2; restored++) {
        size_t from[2] = {n_first + AHEAD, n_first};
        if (restored) {
            nut_session_truncate(s, (uint32_t)n_first, NULL);
            CHECK(nut_session_restore(both[1], saved, n_saved, &err) == NUT_OK, "%s: %s", e->name,
                  err.message);
        }
        eval_range(e, s, n_first, n_first + AHEAD, 2);
        for (size_t n = 1; from[0] + n <= e->n_ids; from[0] += n, from[1] += n, n = n % EACH + 1)
            if (!eval_both(e, both, from, n)) break;
    }
    nut_session_free(both[1]);
    free(saved);
}

static double check_logits(expected *e, const path *p, nut_session *s) {
    static const struct {
        const char *name;
        void (*eval)(expected *e, nut_session *s, size_t n);
        size_t n;
    } ways[] = {{"in one batch", eval_in_batches, MAX_IDS},
                {"id by id", eval_in_batches, 1},
                {"in batches of 7", eval_in_batches, 7},
                {"after a truncate", eval_after_truncate, 5},
                {"two sequences", eval_two, 5}};
    double most = 0;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        nut_session_truncate(s, 0, NULL);
        forget_rows(e);
        ways[i].eval(e, s, ways[i].n);
        const double far = how_far(e, p);
        CHECK(far < p->tolerance, "%s, %s path, %s: logits differ by %g of their deviation", e->name,
              p->name, ways[i].name, far);
        most = fmax(most, far);
    }
    return most;
}

/* ---- greedy ---- */

static size_t argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* By teacher forcing: after the prompt and the first i ids of the right continuation the largest logit is
 * that of id i, for all 24 of them. On the fast path choices that its tolerance could change are left out;
 * at least half must remain. */
static void check_greedy(const expected *e, const path *p, nut_session *s) {
    const json *greedy = json_get(e->doc.root, "greedy");
    int32_t prompt[MAX_IDS], ids[N_GREEDY];
    float gaps[N_GREEDY];
    const size_t n_prompt = json_ints(json_get(greedy, "prompt_ids"), prompt, MAX_IDS),
                 n = json_ints(json_get(greedy, "ids"), ids, N_GREEDY);
    size_t n_clear = 0;
    if (!CHECK(n_prompt > 0 && n_prompt <= MAX_IDS && n == N_GREEDY &&
                   json_floats(json_get(greedy, "gaps"), gaps, N_GREEDY) == N_GREEDY,
               "%s: a continuation of %zu ids", e->name, n))
        return;
    nut_session_truncate(s, 0, NULL);
    CHECK(nut_session_eval(s, prompt, n_prompt, 1, NULL) == NUT_OK, "%s: eval", e->name);
    for (size_t i = 0; i < n; i++) {
        const size_t got = argmax(nut_session_logits(s, 0), e->n_vocab);
        const bool clear = p->reference || (double)gaps[i] > 2 * p->tolerance * e->std;
        n_clear += clear;
        CHECK(!clear || got == (size_t)ids[i], "%s, %s path: greedy id %zu is %zu, expected %d", e->name,
              p->name, i, got, ids[i]);
        CHECK(nut_session_eval(s, &ids[i], 1, 1, NULL) == NUT_OK, "%s: eval", e->name);
    }
    CHECK(n_clear >= n / 2, "%s, %s path: only %zu choices are clear", e->name, p->name, n_clear);
}

/* The same by a generation. */
static void check_generation(const expected *e, nut_session *s) {
    const json *greedy = json_get(e->doc.root, "greedy");
    int32_t prompt[MAX_IDS], ids[N_GREEDY];
    nut_generate_options o = nut_generate_defaults();
    nut_step step = {.kind = NUT_STEP_PREFILL};
    size_t n_prompt = json_ints(json_get(greedy, "prompt_ids"), prompt, MAX_IDS), n = 0;
    json_ints(json_get(greedy, "ids"), ids, N_GREEDY);
    o.temperature = 0, o.max_tokens = N_GREEDY, o.ignore_eos = true;
    nut_session_truncate(s, 0, NULL);
    CHECK(nut_generate_begin(s, prompt, n_prompt, &o, NULL) == NUT_OK, "%s: begin", e->name);
    while (step.kind != NUT_STEP_DONE) {
        if (!CHECK(nut_generate_step(s, &step, NULL) == NUT_OK, "%s: step", e->name)) return;
        if (step.kind != NUT_STEP_TOKEN) continue;
        CHECK(n < N_GREEDY && step.token == ids[n], "%s: generated id %zu is %d", e->name, n, step.token);
        n++;
    }
    CHECK(n == N_GREEDY, "%s: %zu ids were generated", e->name, n);
}

/* ---- embeddings ---- */

/* Rows behind the last layer, and the pooled one, of a text; after another text was read. */
static double check_embedding(expected *e, const path *p, nut_session *s) {
    float *rows = malloc(e->n_values * sizeof *rows), *pooled = malloc(e->n_vocab * sizeof *pooled);
    double worst = 0;
    size_t at = 0;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_embed(s, e->ids + 3, 5, NULL, pooled, &err) == NUT_OK, "%s: %s", e->name, err.message);
    if (CHECK(nut_session_embed(s, e->ids, e->n_ids, rows, pooled, &err) == NUT_OK, "%s: %s", e->name,
              err.message)) {
        forget_rows(e);
        for (size_t i = 0; i < e->n_ids; i++) compare_row(e, i, rows + i * e->n_vocab, &at);
        double sum = 0, squares = 0, most = 0;
        for (size_t i = 0; i < e->n_vocab; i++) sum += (double)e->pooled[i];
        for (size_t i = 0; i < e->n_vocab; i++)
            squares += pow((double)e->pooled[i] - sum / (double)e->n_vocab, 2);
        for (size_t i = 0; i < e->n_vocab; i++)
            most = fmax(most, fabs((double)pooled[i] - (double)e->pooled[i]));
        worst = fmax(how_far(e, p), most / sqrt(squares / (double)e->n_vocab));
    }
    CHECK(worst < p->tolerance, "%s, %s path: rows or the pooled one differ by %g of their deviation",
          e->name, p->name, worst);
    free(rows), free(pooled);
    return worst;
}

/* ---- rerankers ---- */

/* A query and a document become the ids that the tokenizers package makes of them. */
static void check_pair(const expected *e, const nut_model *m) {
    const char *query = text_of(json_get(e->doc.root, "pair"), "query"),
               *document = text_of(json_get(e->doc.root, "pair"), "document");
    int32_t ids[MAX_IDS];
    size_t n = 0;
    nut_error err = {NUT_OK, ""};
    const nut_status status =
        nut_tokenize_pair(m, query, strlen(query), document, strlen(document), ids, MAX_IDS, &n, &err);
    CHECK(status == NUT_OK && n == e->n_ids && !memcmp(ids, e->ids, n * sizeof *ids),
          "%s: the pair is %zu tokens, or others than expected: %s", e->name, n, err.message);
    CHECK(nut_tokenize_pair(m, query, strlen(query), document, strlen(document), ids, n - 1, &n, &err) ==
                  NUT_E_ARGUMENT &&
              n == e->n_ids,
          "%s: a buffer that is too small", e->name);
}

/* Scores of the ids, twice; the largest difference over the larger of the score and 1. */
static double check_scores(const expected *e, const path *p, const nut_model *m, nut_session *s) {
    enum { MAX_SCORES = 8 };
    float right[MAX_SCORES], scores[MAX_SCORES];
    const size_t n = json_floats(json_get(e->doc.root, "scores"), right, MAX_SCORES);
    double worst = 0;
    nut_error err = {NUT_OK, ""};
    CHECK(n > 0 && n == nut_model_n_scores(m), "%s: %u scores", e->name, nut_model_n_scores(m));
    for (int i = 0; i < 2; i++)
        CHECK(nut_session_score(s, e->ids, e->n_ids, scores, &err) == NUT_OK, "%s: %s", e->name,
              err.message);
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)scores[i] - (double)right[i]) / fmax(1, fabs((double)right[i])));
    CHECK(worst < p->tolerance, "%s, %s path: scores differ by %g", e->name, p->name, worst);
    check_pair(e, m);
    return worst;
}

/* ---- models and folders ---- */

/* Of quantized weights the fast path may be as far off as llama.cpp, which rounds activations as it does;
 * where that says little, no choice of a token is clear. */
static double tolerance_of(const expected *e, const path *p) {
    const json *own = json_get(e->doc.root, "llama_cpp"), *q8_0 = json_get(llama_q8_0.root, "models");
    const json *row = q8_0 ? json_get(q8_0, e->name) : NULL;
    if (p->type && !row) row = json_get(e->doc.root, "q8_0"); // by golden/families.py
    if (p->type) return fmax(p->tolerance, row ? NEARLY * row->number : 0);
    const json *quantised = own ? json_get(own, "max_diff_over_std_quantised") : NULL;
    return !p->reference && quantised ? fmax(p->tolerance, quantised->number) : p->tolerance;
}

/* Largest difference on this path. */
static double check_path(expected *e, const path *p, const nut_model *m) {
    const uint32_t trained = nut_model_n_ctx_train(m);
    const nut_session_options o = {.n_ctx = e->n_ctx < trained ? e->n_ctx : trained,
                                   .n_threads = 1,
                                   .n_batch = e->causal && e->n_ids > 64 ? (uint32_t)e->n_ids : 64,
                                   .n_logits = e->causal ? (uint32_t)e->n_ids : 1};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    const uint32_t width = e->causal ? nut_model_n_vocab(m) : nut_model_n_embd(m);
    if (!CHECK(width == e->n_vocab, "%s: rows of %u numbers", e->name, width)) return 0;
    if (!CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s: %s", e->name, err.message)) return 0;
    path as = *p;
    as.tolerance = tolerance_of(e, p);
    double worst = e->causal ? check_logits(e, &as, s) : check_embedding(e, &as, s);
    if (json_get(e->doc.root, "scores"))
        worst = fmax(worst, check_scores(e, &as, m, s));
    else
        CHECK(nut_model_n_scores(m) == 0 && nut_session_score(s, e->ids, 8, NULL, &err) == NUT_E_UNSUPPORTED,
              "%s: it has no head", e->name);
    if (e->causal && !p->type && as.tolerance <= p->tolerance) check_greedy(e, p, s);
    if (e->causal && p->reference) check_generation(e, s);
    nut_session_free(s);
    return worst;
}

/* The model with its matrices in the path's type. NULL with a reason in err. */
static nut_model *load_as(const expected *e, const path *p, nut_error *err) {
    char file[300];
    memory_job job = {0};
    nut_load_options o = nut_load_defaults();
    nut_model *m = NULL;
    o.kernel = p->kernel, o.reference = p->reference;
    snprintf(file, sizeof file, "%s.gguf", e->name);
    if (!p->type) return model_file_load(file_path(e, file), &o, err);
    char *bytes = data_read_path(file_path(e, file), &job.n_bytes[0]);
    job.file[0] = (const uint8_t *)bytes;
    if (bytes && memory_job_round(&job, p->type, err) == NUT_OK)
        make_load(job.out, job.n_out, job.n_out, &o, &m, err);
    free(bytes), free(job.out);
    return m;
}

/* Runs a model on all paths. False where it is refused as unsupported, with the reason in err. */
static bool check_model(expected *e, bool verbose, nut_error *err) {
    double worst[N_PATHS] = {0};
    for (size_t i = 0; i < N_PATHS; i++) {
        nut_model *m = load_as(e, &paths[i], err);
        if (!m && err->code == NUT_E_UNSUPPORTED) return false;
        if (!CHECK(m, "%s: %s", e->name, err->code ? err->message : "no such file")) return true;
        if (i > 0 || read_expected(e)) worst[i] = check_path(e, &paths[i], m);
        nut_model_free(m);
        if (!e->values) break;
    }
    if (verbose) printf("%-28s", e->name);
    for (size_t i = 0; verbose && i < N_PATHS; i++)
        printf("%s %s %.2e", i ? "," : "", paths[i].name, worst[i]);
    if (verbose) printf("\n");
    free(e->values), free(e->pooled);
    json_free(&e->doc);
    return true;
}

/* Runs all models of a folder, which are n_least or more. Without `all_run`, what is unsupported is listed.
 */
static void check_folder(const char *folder, bool all_run, bool verbose, size_t n_least) {
    char index[1100], name[256];
    size_t n_bytes, n_run = 0, n_refused = 0;
    snprintf(index, sizeof index, "%s/index.json", folder);
    char *bytes = data_read_path(index, &n_bytes);
    if (!bytes) {
        CHECK(!all_run, "%s is missing", index);
        CHECK_SKIP("%s is missing", index);
        return;
    }
    json_doc doc = json_parse(bytes, n_bytes);
    const json *models = json_get(doc.root, "models");
    for (const json *row = models ? models->child : NULL; row; row = row->next) {
        nut_error err = {NUT_OK, ""};
        snprintf(name, sizeof name, "%s-%s", text_of(row, "arch"), text_of(row, "variant"));
        expected e = {.folder = folder, .name = name};
        if (check_model(&e, verbose, &err)) {
            n_run++;
        } else {
            n_refused++;
            CHECK(!all_run, "%s is refused: %s", name, err.message);
            printf("unsupported: %s: %s\n", name, err.message);
        }
    }
    json_free(&doc);
    printf("%s: %zu models compared\n", folder, n_run);
    CHECK(n_run >= n_least, "%s: only %zu models run", folder, n_run);
    if (n_refused) CHECK_SKIP("%s: %zu models of unsupported families or variants", folder, n_refused);
}

/* -v prints how far each model is off. */
int main(int argc, char **argv) {
    const bool verbose = argc > 1 && !strcmp(argv[1], "-v");
    char shared[1024];
    snprintf(shared, sizeof shared, "%s", data_path("conformance"));
    size_t n_bytes = 0;
    char *bytes = data_read_path("tests/golden/q8_0.json", &n_bytes);
    if (CHECK(bytes, "tests/golden/q8_0.json cannot be read")) llama_q8_0 = json_parse(bytes, n_bytes);
    check_folder("tests/golden/conformance", true, verbose, 12);
    check_folder("tests/golden/families", true, verbose, 8);
    check_folder(shared, false, verbose, 12);
    json_free(&llama_q8_0);
    return check_report();
}
