/* The step top_a on five tokens with the probabilities 0.5, 0.25, 0.125, 0.0725 and 0.0525: the square of
 * the best is 0.25, so that a leaves out what is below 0.25 a. */
#include "run/sampler.h"
#include "check.h"

#include <math.h>

enum { N = 5 };

/* Which of the tokens come in 4000 samples, a bit each. */
static unsigned tokens_sampled(float a) {
    static const double p[N] = {0.0725, 0.5, 0.125, 0.0525, 0.25};
    float logits[N];
    sampler_candidate candidates[N];
    uint32_t counts[N] = {0};
    unsigned found = 0;
    nut_generate_options o = nut_generate_defaults();
    sampler s = {.n_vocab = N, .candidates = candidates, .counts = counts};
    for (int i = 0; i < N; i++) logits[i] = 3 + (float)log(p[i]);
    o.temperature = 1, o.top_k = 0, o.top_p = 1, o.min_p = 0, o.top_a = a, o.seed = 5;
    CHECK(sampler_reset(&s, &o, NULL) == NUT_OK, "a = %g is refused", (double)a);
    for (int i = 0; i < 4000; i++) {
        int32_t id = -1;
        CHECK(sampler_sample(&s, logits, NULL, 0, &id, NULL) == NUT_OK && id >= 0 && id < N, "id %d",
              (int)id);
        found |= 1u << id;
    }
    return found;
}

int main(void) {
    static const struct {
        float a;
        unsigned tokens;
    } cases[] = {{0, 0x1f}, {0.25f, 0x17}, {0.4f, 0x16}, {0.9f, 0x12}, {0.99f, 0x12}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const unsigned got = tokens_sampled(cases[i].a);
        CHECK(got == cases[i].tokens, "a = %g leaves tokens 0x%x, expected 0x%x", (double)cases[i].a, got,
              cases[i].tokens);
    }
    CHECK(nut_generate_defaults().top_a == 0, "it is off by default");
    return check_report();
}
