/* Drawing: which tokens can appear, how often, and that a seed repeats itself. Expected sets and frequencies
 * are worked out from the definitions of the papers by plain arithmetic in this file. */
#include "check.h"
#include "run/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1000, DRAWS = 20000 };
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

/* Logits whose probabilities fall by half from token to token, in a shuffled order of ids. */
static uint32_t id_of_rank(uint32_t rank, uint32_t n) {
    return (rank * 7 + 3) % n;
}
static void halving(uint32_t n) {
    for (uint32_t r = 0; r < n; r++) logits[id_of_rank(r, n)] = -(float)r * 0.6931471806f;
}

/* Draws often; checks the frequency of each rank against p (ranks beyond n_p must never come). */
static void frequencies(const nut_generate_options *o, uint32_t n, const double *p, uint32_t n_p,
                        const char *what) {
    uint32_t seen[N] = {0};
    sampler s = make(o, n);
    for (int i = 0; i < DRAWS; i++) seen[sampler_draw(&s, logits, NULL, 0)]++;
    for (uint32_t r = 0; r < n; r++) {
        double want = r < n_p ? p[r] * (double)DRAWS : 0, got = seen[id_of_rank(r, n)];
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
        uint32_t id = (uint32_t)sampler_draw(&s, logits, NULL, 0);
        CHECK(logits[id] > -21 * 0.6931471806f, "token %u is outside of the nucleus", id);
    }
    for (uint32_t i = 0; i < N; i++) logits[i] = 0; // all alike: top-p 0.5 keeps the 500 lowest ids
    o.top_p = 0.4995f;
    s = make(&o, N);
    for (int i = 0; i < 2000; i++) {
        int32_t id = sampler_draw(&s, logits, NULL, 0);
        CHECK(id < 500, "ties are broken by id: %d came", (int)id);
    }
}

static void test_greedy_and_penalties(void) {
    nut_generate_options o = off();
    for (uint32_t i = 0; i < N; i++) logits[i] = (float)(i % 10);
    o.temperature = 0;
    sampler s = make(&o, N);
    CHECK(sampler_draw(&s, logits, NULL, 0) == 9, "greedy takes the first of the best");
    const int32_t recent[] = {9, 19, 9};
    o.repeat_penalty = 2;
    s = make(&o, N);
    CHECK(sampler_draw(&s, logits, recent, 3) == 29, "9 and 19 were halved");
    o.repeat_penalty = 1, o.frequency_penalty = 0.1f;
    s = make(&o, 20);
    CHECK(sampler_draw(&s, logits, recent, 3) == 19, "9 came twice, 19 once");
    o.repeat_last_n = 1;
    s = make(&o, 20);
    CHECK(sampler_draw(&s, logits, recent, 3) == 19, "only the last token counts, which is 9");
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
        for (int i = 0; i < 50; i++) ids[i] = sampler_draw(&s, logits, NULL, 0);
        o.presence_penalty = 1;
        s = make(&o, N);
        for (int i = 0; i < 50; i++) differ += ids[i] != sampler_draw(&s, logits, NULL, 0);
        CHECK(differ == 0, "top-k %u: %d of 50 draws differ", k, (int)differ);
    }
}

static void test_seed(void) {
    halving(16);
    nut_generate_options o = off();
    int32_t a[100], differ = 0;
    sampler s = make(&o, 16);
    for (int i = 0; i < 100; i++) a[i] = sampler_draw(&s, logits, NULL, 0);
    s = make(&o, 16);
    for (int i = 0; i < 100; i++)
        CHECK(a[i] == sampler_draw(&s, logits, NULL, 0), "draw %d of the same seed", i);
    o.seed = 8;
    s = make(&o, 16);
    for (int i = 0; i < 100; i++) differ += a[i] != sampler_draw(&s, logits, NULL, 0);
    CHECK(differ > 20, "another seed gives other draws (%d of 100 differ)", (int)differ);
}

static void test_hostile(void) {
    nut_generate_options o = off();
    for (int i = 0; i < 16; i++) logits[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -INFINITY;
    for (int filter = 0; filter < 5; filter++) {
        o = off();
        if (filter == 1) o.top_p = 0.5f;
        if (filter == 2) o.min_p = 0.5f;
        if (filter == 3) o.typical_p = 0.5f;
        if (filter == 4) o.top_k = 3;
        sampler s = make(&o, 16);
        int32_t id = sampler_draw(&s, logits, NULL, 0);
        CHECK(id >= 0 && id < 16, "id %d", (int)id);
    }
    o = off(), o.temperature = NAN;
    sampler s = {.candidates = candidates, .counts = counts, .n_vocab = 16};
    nut_error err;
    CHECK(sampler_reset(&s, &o, &err) == NUT_E_ARGUMENT && strstr(err.message, "temperature"),
          "NaN temperature");
    o = off(), o.top_p = 1.5f;
    CHECK(sampler_reset(&s, &o, &err) == NUT_E_ARGUMENT && strstr(err.message, "top_p"), "top_p above 1");
}

int main(void) {
    test_filters();
    test_large();
    test_top_k_ways();
    test_greedy_and_penalties();
    test_seed();
    test_hostile();
    return check_report();
}
