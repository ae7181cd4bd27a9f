/* Drafts: what they guess, against a search that is written differently, and how their length follows from
 * what drafts were worth and what steps cost. */
#include "check.h"

#include "base/rng.h"
#include "run/draft.h"

#include <string.h>

enum { LONG = 400, LONGEST = 24 };

/* The expected place: for each length from the longest down, the last earlier place of the n's last tokens.
 */
static size_t search(const int32_t *tokens, size_t n, size_t *at) {
    for (size_t length = n - 1 < LONGEST ? n - 1 : LONGEST; length > 0; length--)
        for (size_t i = n - 1; i >= length; i--)
            if (!memcmp(tokens + i - length, tokens + n - length, length * sizeof *tokens)) {
                *at = i;
                return length;
            }
    return 0;
}

static draft eager(void) {
    draft d = {0};
    draft_reset(&d);
    for (size_t i = 0; i < DRAFT_CLASSES; i++) d.accepted[i] = 1;
    d.more = 0.01;
    return d;
}

static void test_guesses(void) {
    rng r;
    rng_seed(&r, 5);
    int32_t tokens[LONG], out[DRAFT_MAX];
    for (int round = 0; round < 200; round++) {
        const size_t n = 1 + rng_u64(&r) % LONG;
        const uint64_t kinds = 2 + (uint64_t)round % 40;
        for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)(rng_u64(&r) % kinds);
        draft d = eager();
        size_t at = 0;
        const size_t match = n > 1 ? search(tokens, n, &at) : 0, most = rng_u64(&r) % (DRAFT_MAX + 1);
        const size_t got = draft_make(&d, tokens, n, out, most);
        if (match < DRAFT_MIN_MATCH || n < DRAFT_MIN_MATCH + 1) {
            CHECK(got == 0, "a draft of %zu tokens without a match", got);
            continue;
        }
        CHECK(got == most, "a draft of %zu tokens, not %zu", got, most);
        size_t wrong = 0;
        for (size_t i = 0; i < got; i++) wrong += out[i] != (at + i < n ? tokens[at + i] : out[at + i - n]);
        CHECK(wrong == 0, "%zu of %zu tokens are not what followed", wrong, got);
    }
}

static size_t length_with(float accepted, double more) {
    draft d = eager();
    int32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2}, out[DRAFT_MAX];
    for (size_t i = 0; i < DRAFT_CLASSES; i++) d.accepted[i] = accepted;
    d.more = more;
    return draft_make(&d, tokens, 11, out, DRAFT_MAX);
}

/* Expected lengths: the k up to 15 that makes (1 - p^(k+1)) / (1 - p) / (1 + k c) largest, where that is at
 * least 1.05 (Leviathan et al. 2023, theorem 3.8 with a draft that costs nothing), computed in
 * Python. */
static void test_lengths(void) {
    static const struct {
        float p;
        double more;
        size_t length;
    } cases[] = {{0.9f, 0.05, 13}, {0.9f, 0.35, 4}, {0.8f, 0.1, 6}, {0.8f, 0.35, 3}, {0.5f, 0.35, 1},
                 {0.5f, 0.6, 0},   {0.3f, 0.35, 0}, {1, 0.35, 15},  {0, 0.01, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t got = length_with(cases[i].p, cases[i].more);
        CHECK(got == cases[i].length, "p %g, cost %g: %zu tokens, not %zu", (double)cases[i].p,
              cases[i].more, got, cases[i].length);
    }
}

/* Where drafts are wrong they end soon, and are tried again seldom. */
static void test_adapts(void) {
    draft d = {0};
    int32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2}, out[DRAFT_MAX];
    size_t made = 0;
    draft_reset(&d);
    for (int i = 0; i < 1000; i++)
        if (draft_make(&d, tokens, 11, out, DRAFT_MAX)) {
            made++;
            draft_judge(&d, 1, 0);
        }
    CHECK(made >= 5 && made <= 40, "%zu of 1000 drafts were made though none was right", made);
    for (int i = 0; i < 100; i++) draft_judge(&d, 4, 4);
    CHECK(draft_make(&d, tokens, 11, out, DRAFT_MAX) > 3, "drafts stay short though all are right");
}

/* A machine on which a step of 5 tokens takes 3 times that of one: 0.5 for each further token. */
static void test_times(void) {
    draft d = {0};
    draft_reset(&d);
    for (int i = 0; i < 200; i++) draft_time(&d, 1, 0.01), draft_time(&d, 5, 0.03);
    CHECK(d.more > 0.499 && d.more < 0.501, "a further token costs %g, not 0.5", d.more);
}

int main(void) {
    test_guesses();
    test_lengths();
    test_adapts();
    test_times();
    return check_report();
}
