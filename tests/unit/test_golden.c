/*
 * The engine against independent implementations: token ids, logits, likelihoods and greedy texts that a
 * float64 program and llama.cpp made (their files say how). The reference path (weights as floats, reference
 * kernels) must agree to rounding; the int8 path within what int8 activations cost. Reads ../shared/data (or
 * $NUT_DATA) and models/, where they are there, and the repository's own tests/golden/tiny.json.
 */
#include "check.h"
#include "json.h"
#include "memory_job.h"
#include "model_file.h"

#include <stdlib.h>
#include <string.h>

enum { CAP = 16384 };
static int32_t ids[CAP], want[CAP];

static nut_load_options path_reference(void) {
    nut_load_options o = nut_load_defaults();
    o.reference = true;
    o.kernel = "ref";
    return o;
}

static nut_session *open_session(const nut_model *m, uint32_t n_ctx, uint32_t n_logits) {
    nut_session_options o = nut_session_defaults();
    nut_session *s = NULL;
    o.n_ctx = n_ctx, o.n_logits = n_logits;
    CHECK(nut_session_new(m, &o, &s, NULL) == NUT_OK, "session");
    return s;
}

/* Draws greedily, the last step to *last; how many tokens came. */
static size_t greedy_to(nut_session *s, const int32_t *prompt, size_t n, size_t most, int32_t *out,
                        nut_step *last) {
    nut_generate_options o = nut_generate_defaults();
    nut_error err;
    size_t drawn = 0;
    o.temperature = 0, o.max_tokens = (uint32_t)most, o.certainty = true;
    if (!CHECK(nut_generate_begin(s, prompt, n, &o, &err) == NUT_OK, "%s", err.message)) return 0;
    do {
        if (!CHECK(nut_generate_step(s, last, &err) == NUT_OK, "%s", err.message)) return drawn;
        if (last->kind == NUT_STEP_TOKEN) out[drawn++] = last->token;
    } while (last->kind != NUT_STEP_DONE);
    return drawn;
}

static size_t greedy(nut_session *s, const int32_t *prompt, size_t n, size_t most, int32_t *out) {
    nut_step last;
    return greedy_to(s, prompt, n, most, out, &last);
}

/* Tokens that agree from the front on. */
static size_t same_prefix(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b) {
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) n++;
    return n;
}

/* ---- stories260K ---- */

static double log_sum_exp(const float *x, size_t n) {
    double max = (double)x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        if ((double)x[i] > max) max = (double)x[i];
    for (size_t i = 0; i < n; i++) sum += exp((double)x[i] - max);
    return max + log(sum);
}

static void check_passage(const nut_model *m, const json *golden, double tolerance) {
    size_t n = json_ints(json_get(json_get(golden, "passage"), "ids"), ids, CAP),
           n_vocab = nut_model_n_vocab(m);
    nut_session *s = open_session(m, 512, 1);
    double sum = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        nut_session_eval(s, ids + i, 1, 1, NULL);
        const float *logits = nut_session_logits(s, 0);
        sum += log_sum_exp(logits, n_vocab) - (double)logits[ids[i + 1]];
    }
    double mean = sum / (double)(n - 1), expected = json_number(golden, "passage", "mean_nll");
    CHECK(fabs(mean - expected) <= tolerance, "mean loss %.7f, expected %.7f", mean, expected);
    nut_session_free(s);
}

/* How sure the model is of its first token, by the logits of the float64 program; and of several, by those
 * that eval gives. */
static void check_certainty(const nut_model *m, const json *golden, double tolerance) {
    const json *first = json_get(golden, "first_logits");
    const size_t n = json_ints(json_get(first, "ids"), ids, CAP), n_vocab = nut_model_n_vocab(m);
    nut_session *s = open_session(m, 64, 1);
    float *logits = calloc(n_vocab, sizeof *logits);
    nut_step step = {0};
    json_floats(json_get(first, "logits"), logits, n_vocab);
    greedy_to(s, ids, n, 1, want, &step);
    const double sum = log_sum_exp(logits, n_vocab), p = (double)logits[want[0]] - sum;
    double entropy = 0;
    for (size_t i = 0; i < n_vocab; i++) entropy -= exp((double)logits[i] - sum) * ((double)logits[i] - sum);
    CHECK(fabs(step.log_probability - p) <= tolerance, "%.7f, expected %.7f", step.log_probability, p);
    CHECK(fabs(step.entropy - entropy) <= tolerance, "entropy %.7f, expected %.7f", step.entropy, entropy);
    const size_t drawn = greedy_to(s, ids, n, 12, want, &step);
    double all = 0;
    nut_session_truncate(s, 0, NULL);
    for (size_t i = 0; i < drawn; i++) {
        nut_session_eval(s, i ? want + i - 1 : ids, i ? 1 : n, 1, NULL);
        const float *row = nut_session_logits(s, 0);
        all += (double)row[want[i]] - log_sum_exp(row, n_vocab);
    }
    CHECK(drawn == 12 && fabs(step.log_probability - all / 12) < 1e-5, "mean %.7f, expected %.7f",
          step.log_probability, all / 12);
    free(logits);
    nut_session_free(s);
}

static void check_first_logits(const nut_model *m, const json *golden, double tolerance) {
    const json *first = json_get(golden, "first_logits");
    size_t n = json_ints(json_get(first, "ids"), ids, CAP), i = 0;
    nut_session *s = open_session(m, 512, 1);
    nut_session_eval(s, ids, n, 1, NULL);
    const float *logits = nut_session_logits(s, 0);
    double worst = 0;
    for (const json *v = json_get(first, "logits")->child; v; v = v->next, i++)
        worst = fmax(worst, fabs(v->number - (double)logits[i]));
    CHECK(i == nut_model_n_vocab(m) && worst <= tolerance, "%zu logits, largest difference %g", i, worst);
    nut_session_free(s);
}

static void check_texts(const nut_model *m, const json *golden) {
    for (const json *t = json_get(golden, "tokenize")->child; t; t = t->next) {
        const json *text = json_get(t, "text");
        size_t n = 0, n_want = json_ints(json_get(t, "ids"), want, CAP);
        nut_tokenize(m, text->text, text->n, NUT_TOKENIZE_ADD_BOS, ids, CAP, &n, NULL);
        CHECK(n == n_want && same_prefix(ids, n, want, n_want) == n, "tokens of \"%s\"", text->text);
    }
    nut_session *s = open_session(m, 512, 1);
    for (const json *t = json_get(golden, "greedy")->child; t; t = t->next) {
        const json *prompt = json_get(t, "prompt");
        static int32_t drawn[CAP];
        size_t n = 0, n_want = json_ints(json_get(t, "ids"), want, CAP);
        nut_tokenize(m, prompt->text, prompt->n, NUT_TOKENIZE_ADD_BOS, ids, CAP, &n, NULL);
        size_t n_drawn = greedy(s, ids, n, n_want, drawn), same = same_prefix(drawn, n_drawn, want, n_want);
        CHECK(same == n_want, "\"%s\": the first %zu of %zu tokens agree", prompt->text, same, n_want);
    }
    nut_session_free(s);
}

static void test_stories(void) {
    json_doc doc = json_read("models/stories260K-golden.json");
    const char *path = data_path("models/stories260K-f32.gguf");
    nut_error err = {NUT_OK, ""};
    nut_load_options fast = nut_load_defaults(), exact = path_reference();
    nut_model *m = doc.root ? model_file_load(path, &exact, &err) : NULL;
    if (!m) {
        CHECK(err.code == NUT_OK, "%s", err.message);
        CHECK_SKIP("stories260K: no data folder");
        json_free(&doc);
        return;
    }
    check_texts(m, doc.root);
    check_passage(m, doc.root, 1e-4);
    check_first_logits(m, doc.root, 1e-3);
    check_certainty(m, doc.root, 1e-3);
    nut_model_free(m);
    m = model_file_load(path, &fast, &err); // the fast kernels keep keys and values as half floats
    check_texts(m, doc.root);
    check_passage(m, doc.root, 1e-3);
    check_first_logits(m, doc.root, 1e-2);
    check_certainty(m, doc.root, 1e-2);
    nut_model_free(m);
    json_free(&doc);
}

/* ---- runs of a golden file: prompts with their logits and greedy continuations ---- */

typedef struct limits {
    double rms, most;    // of the differences of the ten likeliest tokens' logits
    double clear;        // a choice whose margin over the second is at least this must be the golden one
    double lag;          // the golden choice's logit is at most this below the largest
    double n_clear_most; // share of choices that may be below `clear`
} limits;

typedef struct run_sums {
    double squares, worst, worst_lag;
    size_t n_runs, n_choices, n_clear;
} run_sums;

/* The ten likeliest tokens' logits after the prompt, and the logarithm of the sum of all exponentials. */
static void compare_top10(const json *run, const float *logits, size_t n_vocab, run_sums *sums) {
    double squares = 0, lse = json_number(run, "logsumexp", NULL) - log_sum_exp(logits, n_vocab);
    for (const json *pair = json_get(run, "top10")->child; pair; pair = pair->next) {
        double d = (double)logits[(int)pair->child->number] - pair->child->next->number;
        squares += d * d / 10;
        sums->worst = fmax(sums->worst, fabs(d));
    }
    sums->worst = fmax(sums->worst, fabs(lse));
    sums->squares += squares;
}

static size_t argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* By teacher forcing: the prompt and the golden continuation are read in one batch, and each choice is made
 * after the golden tokens before it. So one close choice that falls otherwise spoils no later one. */
static void check_run(nut_session *s, const json *run, size_t n_vocab, const limits *most, run_sums *sums) {
    const size_t n = json_ints(json_get(run, "ids"), ids, CAP),
                 n_want = json_ints(json_get(run, "greedy"), ids + n, CAP - n);
    const json *gap = json_get(run, "gap")->child;
    nut_error err = {NUT_OK, ""};
    nut_session_truncate(s, 0, NULL);
    if (!CHECK(nut_session_eval(s, ids, n + n_want - 1, n_want, &err) == NUT_OK, "%s", err.message)) return;
    compare_top10(run, nut_session_logits(s, 0), n_vocab, sums);
    for (size_t i = 0; i < n_want && gap; i++, gap = gap->next, sums->n_choices++) {
        const float *logits = nut_session_logits(s, i);
        const size_t got = argmax(logits, n_vocab), right = (size_t)ids[n + i];
        sums->n_clear += gap->number >= most->clear;
        sums->worst_lag = fmax(sums->worst_lag, (double)(logits[got] - logits[right]));
        CHECK(got == right || gap->number < most->clear, "choice %zu is %zu, expected %zu by a margin of %g",
              i, got, right, gap->number);
    }
    sums->n_runs++;
}

static void check_runs(const nut_model *m, const json *golden, const char *name, const limits *most) {
    nut_session *s = open_session(m, 512, 64);
    run_sums sums = {0};
    for (const json *run = json_get(golden, "runs")->child; run; run = run->next)
        check_run(s, run, nut_model_n_vocab(m), most, &sums);
    const double rms = sqrt(sums.squares / (double)sums.n_runs);
    printf(
        "%s, kernel %s: top-10 logits differ by %.5f (root mean square), %.5f (most) over %zu prompts; of "
        "%zu greedy choices %zu are clear, the golden one is at most %.5f behind\n",
        name, nut_model_kernel(m), rms, sums.worst, sums.n_runs, sums.n_choices, sums.n_clear,
        sums.worst_lag);
    CHECK(sums.n_runs == 8 && rms <= most->rms && sums.worst <= most->most, "root mean square %g, most %g",
          rms, sums.worst);
    CHECK(sums.worst_lag <= most->lag, "a golden choice is %g behind", sums.worst_lag);
    CHECK(sums.n_choices > 250 &&
              (double)(sums.n_choices - sums.n_clear) <= most->n_clear_most * (double)sums.n_choices,
          "of %zu choices %zu are clear", sums.n_choices, sums.n_clear);
    nut_session_free(s);
}

/* ---- SmolLM2-135M-Instruct ---- */

/* The model's path; $NUT_SMOLLM2 overrides it, and empty leaves this part out where it would take minutes.
 */
static const char *smollm2(void) {
    const char *path = getenv("NUT_SMOLLM2");
    return path ? path : "models/SmolLM2-135M-Instruct-Q4_1.gguf";
}

/* The first `characters` code points of a text are so many bytes. */
static size_t utf8_bytes(const char *s, size_t n, size_t characters) {
    size_t at = 0;
    for (; at < n && (characters || ((unsigned char)s[at] & 0xc0) == 0x80); at++)
        characters -= ((unsigned char)s[at] & 0xc0) != 0x80;
    return at;
}

static void check_perplexity(const nut_model *m, const json *golden) {
    static char text[200000];
    FILE *f = fopen(data_path("text/wiki.test.raw"), "rb");
    size_t n_text = f ? fread(text, 1, sizeof text, f) : 0, n = 0;
    if (f) fclose(f);
    nut_session *s = open_session(m, 512, 64);
    nut_perplexity_result r = {0};
    nut_error err = {NUT_OK, ""};
    nut_tokenize(m, text, utf8_bytes(text, n_text, 24000), NUT_TOKENIZE_ADD_BOS, ids, CAP, &n, &err);
    memory_job_perplexity(s, ids, n, 512, 8, &r, &err);
    double expected = json_number(golden, "perplexity", "perplexity");
    printf("SmolLM2, kernel %s: perplexity %.4f, expected %.4f (%+.2f %%)\n", nut_model_kernel(m),
           r.perplexity, expected, 100 * (r.perplexity / expected - 1));
    CHECK(r.n_windows == 8 && r.n_scored == 8 * 255, "%u windows, %llu tokens: %s", r.n_windows,
          (unsigned long long)r.n_scored, err.message);
    CHECK(fabs(r.perplexity / expected - 1) <= 0.01, "perplexity %g, expected %g", r.perplexity, expected);
    nut_session_free(s);
}

/* The demo page's first example, with its system text. (With the system text that SmolLM2's template puts in
 * where there is none, the golden file's first choice has a margin of 0.08, and int8 activations turn it, in
 * llama.cpp too.) */
static void check_capital(const nut_model *m) {
    static const char chat[] =
        "<|im_start|>system\nGive clear, helpful answers in plain English.<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
        "<|im_start|>assistant\n";
    static int32_t drawn[CAP];
    char text[1000] = "";
    size_t n = 0, n_text = 0;
    nut_session *s = open_session(m, 512, 1);
    nut_tokenize(m, chat, strlen(chat), NUT_TOKENIZE_SPECIAL, ids, CAP, &n, NULL);
    n = greedy(s, ids, n, 40, drawn);
    nut_detokenize(m, drawn, n, false, text, sizeof text - 1, &n_text, NULL);
    CHECK(strstr(text, "Paris"), "the capital of France: \"%s\"", text);
    nut_session_free(s);
}

static void test_smollm2(void) {
    json_doc doc = json_read("models/smollm2-golden.json");
    nut_error err = {NUT_OK, ""};
    nut_load_options fast = nut_load_defaults(), exact = path_reference();
    nut_model *m = doc.root && *smollm2() ? model_file_load(smollm2(), &fast, &err) : NULL;
    if (!m) {
        CHECK(err.code == NUT_OK, "%s", err.message);
        CHECK_SKIP("SmolLM2: no model file \"%s\" or no data folder", smollm2());
        json_free(&doc);
        return;
    }
    check_runs(m, doc.root, "SmolLM2", &(limits){0.25, 1, 0.25, 0.25, 0.2});
    check_perplexity(m, doc.root);
    check_capital(m);
    nut_model_free(m);
    if (sizeof(void *) == 8) { // 540 MB of floats: natively only
        m = model_file_load(smollm2(), &exact, &err);
        check_runs(m, doc.root, "SmolLM2", &(limits){2e-3, 2e-3, 2e-3, 0, 0});
        nut_model_free(m);
    }
    json_free(&doc);
}

/* ---- the small model in dist/ ---- */

/* Greedy generations: all golden tokens, and the end token behind those that are shorter than the longest.
 */
static void check_generations(const nut_model *m, const json *golden, size_t longest) {
    const int32_t eos = (int32_t)json_number(golden, "eos", NULL);
    nut_session *s = open_session(m, 512, 1);
    static int32_t drawn[CAP];
    for (const json *run = json_get(golden, "runs")->child; run; run = run->next) {
        const size_t n = json_ints(json_get(run, "ids"), ids, CAP);
        size_t n_want = json_ints(json_get(run, "greedy"), want, CAP);
        if (n_want < longest) want[n_want++] = eos;
        const size_t n_drawn = greedy(s, ids, n, longest, drawn),
                     same = same_prefix(drawn, n_drawn, want, n_want);
        CHECK(n_drawn == n_want && same == n_want, "\"%s\": %zu tokens, the first %zu of %zu agree",
              json_get(run, "prompt")->text, n_drawn, same, n_want);
    }
    nut_session_free(s);
}

static void check_tokens(const nut_model *m, const json *golden) {
    static const struct {
        const char *key;
        unsigned flags;
    } ways[] = {{"ids", 0}, {"ids_parse_special", NUT_TOKENIZE_SPECIAL}};
    size_t n_texts = 0;
    for (const json *t = json_get(golden, "tokenize")->child; t; t = t->next, n_texts++) {
        const json *text = json_get(t, "text");
        for (size_t i = 0; i < 2; i++) {
            size_t n = 0, n_want = json_ints(json_get(t, ways[i].key), want, CAP);
            nut_tokenize(m, text->text, text->n, ways[i].flags, ids, CAP, &n, NULL);
            CHECK(n == n_want && same_prefix(ids, n, want, n_want) == n, "%s of \"%s\"", ways[i].key,
                  text->text);
        }
    }
    CHECK(n_texts == 11, "%zu texts", n_texts);
}

/* Made by demo/model/golden.mjs and check.py; both the model and the values are in the repository. */
static void test_tiny(void) {
    size_t n_bytes = 0;
    char *bytes = data_read_path("tests/golden/tiny.json", &n_bytes);
    if (!CHECK(bytes, "tests/golden/tiny.json is missing")) return;
    json_doc doc = json_parse(bytes, n_bytes);
    nut_load_options fast = nut_load_defaults(), exact = path_reference();
    nut_error err;
    nut_model *m = model_file_load(json_get(doc.root, "model")->text, &fast, &err);
    if (CHECK(m, "%s", err.message)) {
        check_tokens(m, doc.root);
        check_runs(m, doc.root, "tiny", &(limits){0.06, 0.2, 0.1, 0.05, 0.1});
    }
    nut_model_free(m);
    m = model_file_load(json_get(doc.root, "model")->text, &exact, &err);
    if (CHECK(m, "%s", err.message)) {
        check_runs(m, doc.root, "tiny", &(limits){1e-4, 1e-4, 0, 0, 0});
        check_generations(m, doc.root, 64);
    }
    nut_model_free(m);
    json_free(&doc);
}

int main(void) {
    test_tiny();
    test_stories();
    test_smollm2();
    return check_report();
}
