/* Sampling: which tokens can appear, how often, and that a seed repeats itself. Expected sets and
 * frequencies are worked out from the definitions of the papers by plain arithmetic in this file. */
#include "check.h"
#include "run/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1000, SAMPLES = 20000 };
static sampler_candidate candidates[N];
static uint32_t counts[N];
static float logits[N];

static nut_generate_options off(void) { // no filter at all
    nut_generate_options o = nut_generate_defaults();
    o.temperature = 1, o.top_k = 0, o.top_p = 1, o.min_p = 0, o.typical_p = 1, o.seed = 7;
    return o;
}

static sampler make(const nut_generate_options *o, uint32_t n) {
    sampler s = {.candidates = candidates, .counts = counts, .n_vocab = n};
    CHECK(sampler_reset(&s, o, NULL) == NUT_OK, "reset");
    return s;
}

/* One token, which the logits must allow. */
static int32_t sample(sampler *s, const int32_t *recent, size_t n_recent) {
    int32_t id = -1;
    nut_error err = {NUT_OK, ""};
    CHECK(sampler_sample(s, logits, recent, n_recent, &id, &err) == NUT_OK, "%s", err.message);
    return id;
}

/* Logits whose probabilities fall by half from token to token, in a shuffled order of ids. */
static uint32_t id_of_rank(uint32_t rank, uint32_t n) {
    return (rank * 7 + 3) % n;
}
static void halving(uint32_t n) {
    for (uint32_t r = 0; r < n; r++) logits[id_of_rank(r, n)] = -(float)r * 0.6931471806f;
}

/* Samples often; checks the frequency of each rank against p (ranks beyond n_p must never come). */
static void frequencies(const nut_generate_options *o, uint32_t n, const double *p, uint32_t n_p,
                        const char *what) {
    uint32_t seen[N] = {0};
    sampler s = make(o, n);
    for (int i = 0; i < SAMPLES; i++) seen[sample(&s, NULL, 0)]++;
    for (uint32_t r = 0; r < n; r++) {
        double want = r < n_p ? p[r] * (double)SAMPLES : 0, got = seen[id_of_rank(r, n)];
        CHECK(fabs(got - want) <= 5 * sqrt(want), "%s: rank %u came %g times, expected %g", what, r, got,
              want);
    }
}

static void test_filters(void) {
    const uint32_t n = 16;
    halving(n);
    nut_generate_options o = off();
    double p[16], total = 0;
    for (uint32_t r = 0; r < n; r++) total += p[r] = pow(0.5, r);
    for (uint32_t r = 0; r < n; r++) p[r] /= total;
    frequencies(&o, n, p, n, "no filter");
    o.top_k = 3;
    frequencies(&o, n, (double[]){4 / 7.0, 2 / 7.0, 1 / 7.0}, 3, "top-k 3");
    o = off(), o.top_p = 0.7f; // 0.5, 0.75 reaches it
    frequencies(&o, n, (double[]){2 / 3.0, 1 / 3.0}, 2, "top-p 0.7");
    o = off(), o.min_p = 0.2f; // 1, 0.5, 0.25 of the best
    frequencies(&o, n, (double[]){4 / 7.0, 2 / 7.0, 1 / 7.0}, 3, "min-p 0.2");
    o = off(), o.temperature = 0.5f; // squares the probabilities
    double q[16], squares = 0;
    for (uint32_t r = 0; r < n; r++) squares += q[r] = pow(0.25, r);
    for (uint32_t r = 0; r < n; r++) q[r] /= squares;
    frequencies(&o, n, q, n, "temperature 0.5");
    /* Entropy is about 2 bits, surprise of rank r is r + 1 bits: rank 1 is nearest, then 0 and 2 (about 1
     * bit away). */
    o = off(), o.typical_p = 0.2f;
    frequencies(&o, n, (double[]){0, 1}, 2, "typical 0.2");
}

static void test_large(void) {
    halving(N);
    nut_generate_options o = off();
    o.top_p = 0.999999f;
    sampler s = make(&o, N);
    for (int i = 0; i < 200; i++) {
        uint32_t id = (uint32_t)sample(&s, NULL, 0);
        CHECK(logits[id] > -21 * 0.6931471806f, "token %u is outside of the nucleus", id);
    }
    for (uint32_t i = 0; i < N; i++) logits[i] = 0; // all alike: top-p 0.5 keeps the 500 lowest ids
    o.top_p = 0.4995f;
    s = make(&o, N);
    for (int i = 0; i < 2000; i++) {
        int32_t id = sample(&s, NULL, 0);
        CHECK(id < 500, "ties are broken by id: %d came", (int)id);
    }
}

static void test_greedy_and_penalties(void) {
    nut_generate_options o = off();
    for (uint32_t i = 0; i < N; i++) logits[i] = (float)(i % 10);
    o.temperature = 0;
    sampler s = make(&o, N);
    CHECK(sample(&s, NULL, 0) == 9, "greedy takes the first of the best");
    const int32_t recent[] = {9, 19, 9};
    o.repeat_penalty = 2;
    s = make(&o, N);
    CHECK(sample(&s, recent, 3) == 29, "9 and 19 were halved");
    o.repeat_penalty = 1, o.frequency_penalty = 0.1f;
    s = make(&o, 20);
    CHECK(sample(&s, recent, 3) == 19, "9 came twice, 19 once");
    o.repeat_last_n = 1;
    s = make(&o, 20);
    CHECK(sample(&s, recent, 3) == 19, "only the last token counts, which is 9");
    for (uint32_t i = 0; i < N; i++) CHECK(counts[i] == 0, "counts must be left clear");
}

/* The best K found in one pass are those that a selection among all tokens finds, ties included: penalties
 * that punish nobody take the other way. */
static void test_top_k_ways(void) {
    rng r;
    rng_seed(&r, 5);
    for (uint32_t k = 1; k <= 64; k = k * 3 / 2 + 1) {
        for (uint32_t i = 0; i < N; i++) logits[i] = (float)(rng_u64(&r) % 200) * 0.05f;
        nut_generate_options o = off();
        o.top_k = k;
        int32_t ids[50], differ = 0;
        sampler s = make(&o, N);
        for (int i = 0; i < 50; i++) ids[i] = sample(&s, NULL, 0);
        o.presence_penalty = 1;
        s = make(&o, N);
        for (int i = 0; i < 50; i++) differ += ids[i] != sample(&s, NULL, 0);
        CHECK(differ == 0, "top-k %u: %d of 50 tokens differ", k, (int)differ);
    }
}

static void test_seed(void) {
    halving(16);
    nut_generate_options o = off();
    int32_t a[100], differ = 0;
    sampler s = make(&o, 16);
    for (int i = 0; i < 100; i++) a[i] = sample(&s, NULL, 0);
    s = make(&o, 16);
    for (int i = 0; i < 100; i++) CHECK(a[i] == sample(&s, NULL, 0), "token %d of the same seed", i);
    o.seed = 8;
    s = make(&o, 16);
    for (int i = 0; i < 100; i++) differ += a[i] != sample(&s, NULL, 0);
    CHECK(differ > 20, "another seed gives other tokens (%d of 100 differ)", (int)differ);
}

/* ---- what a damaged model computes ---- */

/* Logits from which no token can be sampled: n of them, all `others` but one. */
static void check_refused(size_t n, float others, size_t at, float one, bool is_nan) {
    nut_generate_options o = off();
    for (size_t i = 0; i < n; i++) logits[i] = i == at ? one : others;
    for (int greedy = 0; greedy < 2; greedy++) {
        nut_error err = {NUT_OK, ""};
        int32_t id = -5;
        o.temperature = greedy ? 0 : 1;
        sampler s = make(&o, (uint32_t)n);
        const nut_status status = sampler_sample(&s, logits, NULL, 0, &id, &err);
        CHECK(status == NUT_E_CORRUPT && id == -5 && strstr(err.message, is_nan ? "NaN" : "infinite"),
              "%zu times %g, %g at %zu: status %d, token %d, \"%s\"", n, (double)others, (double)one, at,
              (int)status, (int)id, err.message);
    }
}

static void test_damaged(void) {
    for (size_t n = 1; n < 140; n = n * 2 + 1)
        for (size_t at = 0; at < n; at += n / 3 + 1) {
            check_refused(n, 1, at, NAN, true);
            check_refused(n, 1, at, -NAN, true);
            check_refused(n, -INFINITY, at, NAN, true);
            check_refused(n, NAN, at, NAN, true);
            check_refused(n, 1, at, INFINITY, false);
            check_refused(n, -INFINITY, at, -INFINITY, false);
            nut_generate_options o = off(); // one token alone can be sampled
            for (size_t i = 0; i < n; i++) logits[i] = i == at ? -3e38f : -INFINITY;
            sampler s = make(&o, (uint32_t)n);
            CHECK((size_t)sample(&s, NULL, 0) == at, "%zu of %zu is the only one", at, n);
        }
}

/* ---- options ---- */

static void refused(const nut_generate_options *o, const char *name) {
    sampler s = {.candidates = candidates, .counts = counts, .n_vocab = 16};
    nut_error err = {NUT_OK, ""};
    CHECK(sampler_reset(&s, o, &err) == NUT_E_ARGUMENT && strstr(err.message, name), "%s: \"%s\"", name,
          err.message);
}

/* Every row of the list: its default and its limits are taken, what lies beyond is refused by name. */
static void test_ranges(void) {
    nut_generate_options o = nut_generate_defaults();
    make(&o, 16);
#define NUT_X(type, field, standard, least, most, js, help)                                                 \
    CHECK(o.field == (type)(standard), "the default of " #field);                                           \
    o = nut_generate_defaults(), o.field = (type)(least), make(&o, 16);                                     \
    o = nut_generate_defaults(), o.field = (type)(most), make(&o, 16);                                      \
    o = nut_generate_defaults();
    NUT_GENERATE_OPTION_LIST(NUT_X)
#undef NUT_X
    const struct {
        float *field;
        float below, above;
        const char *name;
    } floats[] = {{&o.temperature, -0.1f, 100.1f, "temperature"},
                  {&o.top_p, -0.1f, 1.5f, "top_p"},
                  {&o.min_p, -0.1f, 1.1f, "min_p"},
                  {&o.typical_p, -0.1f, 1.1f, "typical_p"},
                  {&o.repeat_penalty, 0.005f, 101, "repeat_penalty"},
                  {&o.presence_penalty, -101, 101, "presence_penalty"},
                  {&o.frequency_penalty, -101, 101, "frequency_penalty"}};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        const float bad[] = {floats[i].below, floats[i].above, NAN, INFINITY, -INFINITY};
        for (size_t k = 0; k < 5; k++) {
            o = nut_generate_defaults();
            *floats[i].field = bad[k];
            refused(&o, floats[i].name);
        }
    }
}

/* ---- steps ---- */

static const sampler_step *const steps[] = {
#define NUT_X(name) &sampler_step_##name,
    SAMPLER_STEPS(NUT_X)
#undef NUT_X
};
enum { N_STEPS = sizeof steps / sizeof *steps };

static size_t count_off(const nut_generate_options *o) {
    size_t n = 0;
    for (size_t i = 0; i < N_STEPS; i++) n += steps[i]->is_off(o);
    return n;
}

/* A step that says that it is off leaves the same candidates with the same logits when it runs all the same.
 */
static void check_identity(const sampler_step *step, const nut_generate_options *o, uint32_t n) {
    const int32_t recent[] = {1, 2, 1};
    sampler s = make(o, n);
    sampler_pool p = {logits, recent, 3, candidates, n, false, false};
    if (!step->is_off(o) || step == &sampler_step_greedy || step == &sampler_step_top_k) return;
    step->run(&s, &p);
    pool_list(&p);
    CHECK(p.n == n, "%s leaves %zu of %u candidates", step->name, p.n, n);
    for (size_t i = 0; i < p.n; i++)
        CHECK(p.c[i].logit == logits[p.c[i].id], "%s changes the logit of %d", step->name, (int)p.c[i].id);
}

static void test_steps(void) {
    nut_generate_options o = off();
    CHECK(!strcmp(steps[0]->name, "penalties") && steps[N_STEPS - 1] == &sampler_step_sample, "%d steps",
          (int)N_STEPS);
    CHECK(count_off(&o) == N_STEPS - 1, "all but the last are off: %zu", count_off(&o));
    for (uint32_t i = 0; i < 20; i++) logits[i] = (float)((i * 7) % 20) - 19;
    for (size_t i = 0; i < N_STEPS; i++) check_identity(steps[i], &o, 20);
    o = (nut_generate_options){.temperature = 0.5f, .top_k = 5, .top_p = 0.5f, .min_p = 0.1f};
    o.typical_p = 0.5f, o.repeat_penalty = 1.1f;
    CHECK(sampler_step_greedy.is_off(&o) && !sampler_step_temperature.is_off(&o), "with a temperature");
    o.temperature = 0;
    CHECK(!sampler_step_greedy.is_off(&o) && sampler_step_temperature.is_off(&o), "greedy");
}

/* ---- the same tokens as ever ---- */

/* A hash of the tokens of all combinations of options, from logits of random bits. Recorded from version
 * bf20136, whose sampler had one function per way. */
static void test_same_tokens(void) {
    static const float temperatures[] = {0, 0.8f, 1, 2.5f}, shares[] = {1, 0.6f, 0.05f};
    rng r;
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a over the ids
    rng_seed(&r, 11);
    for (uint32_t i = 0; i < N; i++) logits[i] = (float)(rng_u64(&r) % 4096) / 256;
    for (int way = 0; way < 4 * 3 * 3 * 3 * 3 * 3; way++) {
        int32_t recent[24] = {5, 7, 5, 9};
        nut_generate_options o = off();
        o.temperature = temperatures[way % 4], o.top_p = shares[way / 4 % 3];
        o.min_p = 1 - shares[way / 12 % 3], o.typical_p = shares[way / 36 % 3];
        o.top_k = (uint32_t[]){0, 4, 300}[way / 108 % 3];
        o.repeat_penalty = (float[]){1, 1.3f, 0.7f}[way / 324 % 3], o.presence_penalty = way % 5 == 0;
        o.repeat_last_n = 6, o.seed = (uint64_t)way;
        sampler s = make(&o, N);
        for (size_t i = 4; i < 24; i++) recent[i] = sample(&s, recent, i);
        for (size_t i = 4; i < 24; i++) hash = (hash ^ (uint32_t)recent[i]) * 0x100000001b3u;
    }
    CHECK(hash == 0xa4b89c5fdc5431dbu, "the tokens are others: %016llx", (unsigned long long)hash);
}

int main(void) {
    test_filters();
    test_large();
    test_top_k_ways();
    test_greedy_and_penalties();
    test_seed();
    test_damaged();
    test_ranges();
    test_steps();
    test_same_tokens();
    return check_report();
}
