/* Drafts by a model: the likeliest tokens stay the same bit for bit, sampled ones have the same
 * distribution, whatever the drafts are worth; and what cannot draft is refused in words. */
#include "check.h"
#include "made_model.h"
#include "make_family.h"

#include "kernels/sets.h"
#include "run/reject.h"
#include "run/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_CTX = 384, N_PROMPT = 24, DRAWN = 256, LOOKUP = 7 };
/* Texts that are drawn, and prompts that are continued: fewer in builds without SIMD, where they take
 * minutes. */
#ifdef KERNEL_HAS_SIMD128
enum { DRAWS = 10000, PROMPTS = 20 };
#else
enum { DRAWS = 1000, PROMPTS = 8 };
#endif
#define SURE 0.02f // between what drafts of these models find of their likeliest tokens

/* Critical values of chi-square at 0.001, by degrees of freedom (NIST/SEMATECH e-Handbook of Statistical
 * Methods, section 1.3.6.7.4). */
static const struct {
    int freedom;
    double most;
} critical[] = {{7, 24.322}, {11, 31.264}, {26, 54.052}};

static double most_of(int freedom) {
    for (size_t i = 0; i < sizeof critical / sizeof *critical; i++)
        if (critical[i].freedom == freedom) return critical[i].most;
    return 0;
}

static double chi_square(const uint32_t *counts, const double *shares, size_t n, double draws) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double expected = draws * shares[i], off = (double)counts[i] - expected;
        sum += off * off / expected;
    }
    return sum;
}

/* ---- rejection sampling alone ---- */

enum { WORDS = 12 };

/* The softmax of logits over a temperature, computed here. */
static void softmax(const float *logits, size_t n, double temperature, double *shares) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += shares[i] = exp((double)logits[i] / temperature);
    for (size_t i = 0; i < n; i++) shares[i] /= sum;
}

static sampler sampler_with(nut_generate_options o, uint64_t seed) {
    static sampler_candidate candidates[2][WORDS];
    static uint32_t counts[2][WORDS];
    sampler s = {.n_vocab = WORDS, .candidates = candidates[seed & 1], .counts = counts[seed & 1]};
    o.seed = seed;
    CHECK(sampler_reset(&s, &o, NULL) == NUT_OK, "options");
    return s;
}

/* Draws from a second distribution, keeps or replaces; what comes out has the first one, and the drafted
 * token stays as often as both overlap (Leviathan et al. 2023, theorem 3.5: sum of min(p, q)). */
static void test_reject(double spread, uint32_t draft_top_k) {
    float target[WORDS], other[WORDS], shares[WORDS];
    double p[WORDS], q[WORDS], overlap = 0;
    uint32_t counts[WORDS] = {0}, kept = 0;
    rng r;
    rng_seed(&r, 21);
    for (size_t i = 0; i < WORDS; i++) {
        target[i] = (float)(2 * rng_f64(&r));
        other[i] = target[i] + (float)(spread * (rng_f64(&r) - 0.5));
    }
    nut_generate_options o = nut_generate_defaults();
    o.temperature = 0.8f, o.top_k = 0, o.top_p = 1, o.min_p = 0;
    sampler s = sampler_with(o, 2);
    o.top_k = draft_top_k;
    sampler d = sampler_with(o, 3);
    for (int i = 0; i < DRAWS; i++) {
        int32_t drafted, id;
        CHECK(reject_draw(&d, other, NULL, 0, shares, &drafted, NULL) == NUT_OK, "draw");
        CHECK(reject_sample(&s, target, NULL, 0, shares, drafted, &id, NULL) == NUT_OK, "sample");
        counts[id]++, kept += id == drafted;
    }
    softmax(target, WORDS, 0.8, p);
    for (size_t i = 0; i < WORDS; i++) q[i] = (double)shares[i];
    if (!draft_top_k) softmax(other, WORDS, 0.8, q);
    for (size_t i = 0; i < WORDS; i++) overlap += p[i] < q[i] ? p[i] : q[i];
    const double draws = DRAWS, chi = chi_square(counts, p, WORDS, draws),
                 error = sqrt(overlap * (1 - overlap) / draws);
    CHECK(chi < most_of(WORDS - 1), "spread %g: chi-square %.1f", spread, chi);
    CHECK(fabs((double)kept / draws - overlap) <= 4 * error + 1e-9, "spread %g: %.4f kept, not %.4f", spread,
          (double)kept / draws, overlap);
}

/* ---- sessions ---- */

static nut_model *model(uint32_t n_layer, uint64_t seed) {
    return made_model_load(make_model(
        &(make_options){.matrices = FORMAT_Q8_0, .n_layer = n_layer, .n_ctx = N_CTX, .seed = seed}));
}

static nut_session *open_session(const nut_model *m, uint32_t lookup) {
    const nut_session_options o = {.n_threads = 1, .n_batch = 16, .lookup = lookup};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    return s;
}

static void fill_prompt(int32_t *prompt, uint32_t n_vocab, uint64_t seed) {
    rng r;
    rng_seed(&r, seed);
    for (size_t i = 0; i < N_PROMPT; i++) prompt[i] = (int32_t)(3 + rng_u64(&r) % (n_vocab - 3));
}

/* Lets every draft be taken for worth its time, and for one that may be lost. */
static void encourage(nut_session *s) {
    draft *d = &s->generation.draft;
    d->one = 1, d->credit = DRAFT_CREDIT;
    if (s->drafter) s->drafter->seconds = 0.001;
    for (size_t i = 0; i < DRAFT_KIND_COUNT; i++) d->right[i] = 1;
    for (size_t n = 2; n < DRAFT_MAX + 2; n++) d->cost[n] = 1 + 0.01f * (float)n, d->seen[n] = 1;
}

static size_t n_made; // tokens of the last draft

/* Writes up to n tokens, to ids; returns how many drafted ones were accepted. */
static uint64_t write_on(nut_session *s, const int32_t *prompt, const nut_generate_options *o, int32_t *ids,
                         size_t n) {
    nut_step step = {0};
    nut_error err = {NUT_OK, ""};
    CHECK(nut_generate_begin(s, prompt, N_PROMPT, o, &err) == NUT_OK, "%s", err.message);
    for (size_t i = 0; i < n;) {
        encourage(s);
        if (!CHECK(nut_generate_step(s, &step, &err) == NUT_OK, "%s", err.message)) break;
        if (step.kind == NUT_STEP_TOKEN) ids[i++] = step.token;
        n_made = s->generation.n_ahead + s->generation.n_right;
    }
    nut_generate_end(s);
    return s->generation.draft.n_accepted;
}

static void be_sure(nut_session *s, float least) {
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_draft_confidence(s, least, &err) == NUT_OK, "%s", err.message);
}

/* Where a draft ends: the test's own softmax of the draft's logits, before each token. */
static void test_ends(const nut_model *m) {
    nut_session *s = open_session(m, LOOKUP), *twin = open_session(m, 0), *other = open_session(m, 0);
    const nut_generate_options o = {.temperature = 0, .repeat_penalty = 1, .ignore_eos = true};
    int32_t prompt[N_PROMPT], text[1 + LOOKUP];
    double shares[512];
    nut_error err = {NUT_OK, ""};
    uint32_t lengths[LOOKUP + 1] = {0};
    CHECK(nut_session_draft_by(s, twin, &err) == NUT_OK, "%s", err.message);
    for (uint64_t seed = 0; seed < 3 * PROMPTS; seed++) {
        const float least = 0.015f + 0.0008f * (float)(seed % 30);
        size_t expected = 0;
        fill_prompt(prompt, nut_model_n_vocab(m), seed);
        nut_session_truncate(s, 0, NULL), nut_session_truncate(other, 0, NULL);
        be_sure(s, least);
        write_on(s, prompt, &o, text, 1);
        CHECK(nut_session_eval(other, prompt, N_PROMPT, 0, NULL) == NUT_OK, "eval");
        for (int32_t id = text[0]; expected < LOOKUP; expected++) {
            int32_t best = 0;
            CHECK(nut_session_eval(other, &id, 1, 1, NULL) == NUT_OK, "eval");
            softmax(nut_session_logits(other, 0), nut_model_n_vocab(m), 1, shares);
            for (int32_t i = 1; i < (int32_t)nut_model_n_vocab(m); i++)
                if (shares[i] > shares[best]) best = i;
            if (shares[best] < (double)least) break;
            id = best;
        }
        write_on(s, prompt, &o, text, 2); // the second is sampled behind a draft
        CHECK(n_made == expected, "confidence %g: a draft of %zu tokens, not %zu", (double)least, n_made,
              expected);
        lengths[expected]++;
    }
    CHECK(lengths[0] && lengths[1] + lengths[2] + lengths[3] && lengths[LOOKUP], "all drafts end alike");
    CHECK(nut_session_draft_confidence(s, 1.5f, &err) == NUT_E_ARGUMENT, "a confidence of 1.5");
    CHECK(nut_session_draft_confidence(other, 0.5f, &err) == NUT_E_STATE, "a confidence without a draft");
    nut_session_free(s), nut_session_free(twin), nut_session_free(other);
}

/* The likeliest tokens of 20 prompts, without drafts and with them. */
static void check_same(const nut_model *m, nut_session *drafted, double least, double most,
                       const char *what) {
    nut_session *plain = open_session(m, 0);
    nut_generate_options o = nut_generate_defaults();
    o.temperature = 0, o.ignore_eos = true, o.lookup = 0;
    uint64_t accepted = 0;
    size_t same = 0;
    for (uint64_t seed = 0; seed < PROMPTS; seed++) {
        int32_t prompt[N_PROMPT], a[DRAWN], b[DRAWN];
        fill_prompt(prompt, nut_model_n_vocab(m), seed);
        o.repeat_penalty = seed % 2 ? 1.2f : 1;
        o.lookup = seed % 4 == 3 ? LOOKUP : 0; // both kinds of drafts in one text
        write_on(plain, prompt, &o, a, DRAWN);
        accepted += write_on(drafted, prompt, &o, b, DRAWN);
        same += !memcmp(a, b, sizeof a);
    }
    CHECK(same == PROMPTS, "%s: %zu of %d texts are the same", what, same, PROMPTS);
    const double share = (double)accepted / (PROMPTS * DRAWN);
    CHECK(share >= least && share <= most, "%s: %.3f of the tokens were drafted", what, share);
    nut_session_free(plain);
}

static void test_same(const nut_model *m) {
    nut_model *other = model(1, 4);
    nut_session *s = open_session(m, LOOKUP), *twin = open_session(m, 0), *by = open_session(other, 0);
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_draft_by(s, twin, &err) == NUT_OK, "%s", err.message);
    check_same(m, s, 0.8, 0.9, "by the same model"); // 7 of 8
    CHECK(nut_session_draft_by(s, by, &err) == NUT_OK, "%s", err.message);
    check_same(m, s, 0, 0.6, "by another model");
    CHECK(nut_session_draft_without(s, (const uint32_t[]){1}, 1, &err) == NUT_OK, "%s", err.message);
    check_same(m, s, 0.01, 0.8, "without a layer");
    be_sure(s, SURE);
    check_same(m, s, 0.001, 0.8, "without a layer, as long as it is sure");
    be_sure(s, 1);
    check_same(m, s, 0, 0.8, "never sure");
    CHECK(nut_session_draft_without(s, (const uint32_t[]){0, 2, 3}, 3, &err) == NUT_OK, "%s", err.message);
    check_same(m, s, 0, 0.8, "without three layers");
    CHECK(nut_session_draft_by(s, NULL, NULL) == NUT_OK && !s->drafter, "a draft stays");
    check_same(m, s, 0, 0.8, "by none");
    nut_session_free(s), nut_session_free(twin), nut_session_free(by);
    nut_model_free(other);
}

/* ---- sampled ---- */

enum { KEPT = 3, TOKENS = 3, TEXTS = 27 }; // texts: KEPT to the power of TOKENS

/* The KEPT likeliest behind the session's tokens, and their shares, computed here. */
static void find_best(nut_session *s, int32_t last, int32_t *best, double *shares) {
    float top[KEPT];
    CHECK(nut_session_eval(s, &last, 1, 1, NULL) == NUT_OK, "eval");
    const float *logits = nut_session_logits(s, 0);
    for (int k = 0; k < KEPT; k++) {
        best[k] = -1;
        for (int32_t i = 0; i < (int32_t)nut_model_n_vocab(s->seq.ws->model); i++) {
            bool taken = false;
            for (int j = 0; j < k; j++) taken = taken || best[j] == i;
            if (!taken && (best[k] < 0 || logits[i] > logits[best[k]])) best[k] = i;
        }
        top[k] = logits[best[k]];
    }
    softmax(top, KEPT, 1, shares);
}

/* All texts of TOKENS tokens behind the session's and `last`, and how likely each is. */
static void list_texts(nut_session *s, int32_t last, size_t depth, double share, int32_t *text,
                       int32_t (*texts)[TOKENS], double *shares, size_t *n) {
    int32_t best[KEPT];
    double own[KEPT];
    if (depth == TOKENS) {
        memcpy(texts[*n], text, TOKENS * sizeof *text);
        shares[(*n)++] = share;
        return;
    }
    find_best(s, last, best, own);
    for (int k = 0; k < KEPT; k++) {
        text[depth] = best[k];
        list_texts(s, best[k], depth + 1, share * own[k], text, texts, shares, n);
    }
    nut_session_truncate(s, nut_session_n_past(s) - 1, NULL);
}

/* 10,000 texts, each with a seed of its own, have the model's distribution. */
static void check_distribution(const nut_model *m, nut_session *drafted, const char *what) {
    int32_t prompt[N_PROMPT], text[TOKENS], texts[TEXTS][TOKENS];
    double shares[TEXTS];
    uint32_t counts[TEXTS] = {0}, outside = 0;
    uint64_t accepted = 0;
    size_t n = 0;
    nut_session *plain = open_session(m, 0);
    fill_prompt(prompt, nut_model_n_vocab(m), 5);
    CHECK(nut_session_eval(plain, prompt, N_PROMPT - 1, 0, NULL) == NUT_OK, "eval");
    list_texts(plain, prompt[N_PROMPT - 1], 0, 1, text, texts, shares, &n);
    nut_generate_options o = nut_generate_defaults();
    o.temperature = 1, o.top_k = KEPT, o.top_p = 1, o.min_p = 0, o.ignore_eos = true, o.lookup = 0;
    for (o.seed = 1; o.seed <= DRAWS; o.seed++) {
        accepted += write_on(drafted, prompt, &o, text, TOKENS);
        size_t i = 0;
        while (i < TEXTS && memcmp(texts[i], text, sizeof text)) i++;
        if (i < TEXTS)
            counts[i]++;
        else
            outside++;
    }
    const double chi = chi_square(counts, shares, TEXTS, DRAWS);
    CHECK(outside == 0, "%s: %u texts have other tokens", what, outside);
    CHECK(chi < most_of(TEXTS - 1), "%s: chi-square %.1f", what, chi);
    CHECK(accepted > DRAWS / 20, "%s: only %llu drafted tokens were accepted", what,
          (unsigned long long)accepted);
    nut_session_free(plain);
}

static void test_distribution(const nut_model *m) {
    nut_session *s = open_session(m, LOOKUP), *twin = open_session(m, 0);
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_draft_by(s, twin, &err) == NUT_OK, "%s", err.message);
    check_distribution(m, s, "by the same model");
    CHECK(nut_session_draft_without(s, (const uint32_t[]){1}, 1, &err) == NUT_OK, "%s", err.message);
    check_distribution(m, s, "without a layer");
    be_sure(s, SURE);
    check_distribution(m, s, "without a layer, as long as it is sure");
    nut_session_free(s), nut_session_free(twin);
}

/* ---- refusals ---- */

static void expect(nut_status got, nut_status status, const nut_error *err, const char *words) {
    CHECK(got == status && strstr(err->message, words), "%s: \"%s\" lacks \"%s\"", nut_status_name(got),
          err->message, words);
}

static void test_refusals(const nut_model *m) {
    nut_error err = {NUT_OK, ""};
    nut_model *large = model(8, 3),
              *pairs = made_model_load(make_model(&(make_options){.byte_pairs = true, .seed = 3}));
    nut_model *states = made_model_load(make_family(arch_find((gguf_str){"mamba", 5}), &family_odd));
    nut_session *s = open_session(m, LOOKUP), *a = open_session(large, 0), *b = open_session(pairs, 0),
                *without = open_session(m, 0), *c = open_session(states, LOOKUP), *beside = NULL;
    nut_session_add(nut_session_workspace(s), 0, &beside, NULL);
    expect(nut_session_draft_by(s, a, &err), NUT_E_ARGUMENT, &err, "larger than the model");
    expect(nut_session_draft_by(s, b, &err), NUT_E_ARGUMENT, &err, "another vocabulary");
    expect(nut_session_draft_by(s, beside, &err), NUT_E_ARGUMENT, &err, "same workspace");
    expect(nut_session_draft_by(without, b, &err), NUT_E_ARGUMENT, &err, "no room for drafts");
    expect(nut_session_draft_without(c, (const uint32_t[]){1}, 1, &err), NUT_E_UNSUPPORTED, &err, "a state");
    expect(nut_session_draft_without(s, (const uint32_t[]){4}, 1, &err), NUT_E_ARGUMENT, &err,
           "there is no layer 4");
    expect(nut_session_draft_without(s, (const uint32_t[]){0, 1, 2, 3}, 4, &err), NUT_E_ARGUMENT, &err,
           "1 to 3 layers");
    CHECK(!s->drafter, "a refused draft is there");
    nut_session_free(s), nut_session_free(a), nut_session_free(b), nut_session_free(c);
    nut_session_free(without), nut_session_free(beside);
    nut_model_free(large), nut_model_free(pairs), nut_model_free(states);
}

int main(void) {
    test_reject(0, 0);
    test_reject(3, 0);
    test_reject(12, 0);
    test_reject(3, 4);
    nut_model *m = model(4, 3);
    test_ends(m);
    test_same(m);
    test_distribution(m);
    test_refusals(m);
    nut_model_free(m);
    return check_report();
}
