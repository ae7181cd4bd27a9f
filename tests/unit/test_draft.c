/* Drafts: what prompt lookup guesses, against a search that is written differently; how the length of drafts
 * follows from what they were worth and what steps cost; and what they can lose at most. */
#include "check.h"

#include "base/rng.h"
#include "run/lookup.h"

#include <math.h>
#include <string.h>

enum { LONG = 400, WINDOW = 256 };

/* The expected place: for each length from the longest down, the last earlier place of the n's last tokens.
 */
static size_t search(const int32_t *tokens, size_t n, size_t *at) {
    for (size_t length = n - 1 < LOOKUP_MOST_MATCH ? n - 1 : LOOKUP_MOST_MATCH; length > 0; length--)
        for (size_t i = n - 1; i >= length; i--)
            if (!memcmp(tokens + i - length, tokens + n - length, length * sizeof *tokens)) {
                *at = i;
                return length;
            }
    return 0;
}

/* Each further token of a step costs `more`, each drafted one is right with a chance of p. */
static draft with(float p, double more) {
    draft d = {.one = 0.01};
    draft_reset(&d);
    d.credit = DRAFT_CREDIT;
    for (size_t i = 0; i < DRAFT_KIND_COUNT; i++) d.right[i] = p;
    for (size_t n = 2; n < DRAFT_MAX + 2; n++) d.cost[n] = 1 + (float)more * (float)(n - 1), d.seen[n] = 2;
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
        draft d = with(1, 0.01);
        size_t at = 0;
        const size_t match = n > 1 ? search(tokens, n, &at) : 0, most = rng_u64(&r) % (DRAFT_MAX + 1);
        const size_t got = lookup_make(&d, tokens, n, out, most);
        if (match < LOOKUP_MIN_MATCH || n < LOOKUP_MIN_MATCH + 1) {
            CHECK(got == 0, "a draft of %zu tokens without a match", got);
            continue;
        }
        CHECK(got == most, "a draft of %zu tokens, not %zu", got, most);
        size_t wrong = 0;
        for (size_t i = 0; i < got; i++) wrong += out[i] != (at + i < n ? tokens[at + i] : out[at + i - n]);
        CHECK(wrong == 0, "%zu of %zu tokens are not what followed", wrong, got);
    }
}

/* Expected lengths: the k up to 15 that makes (1 - p^(k+1)) / (1 - p) / (1 + k c + k e) largest, where that
 * is at least 1.05 (Leviathan et al. 2023, theorem 3.8) and k c + k e is within the credit, computed in
 * Python. */
static void test_lengths(void) {
    static const struct {
        float p;
        double more, each, credit;
        size_t length;
    } cases[] = {{0.9f, 0.05, 0, 6, 13}, {0.9f, 0.35, 0, 6, 4},  {0.8f, 0.1, 0, 6, 6},
                 {0.8f, 0.35, 0, 6, 3},  {0.5f, 0.35, 0, 6, 1},  {0.5f, 0.6, 0, 6, 0},
                 {0.3f, 0.35, 0, 6, 0},  {1, 0.35, 0, 6, 15},    {0, 0.01, 0, 6, 0},
                 {1, 0.55, 0, 6, 10},    {1, 0.35, 0, 1.5, 4},   {1, 0.35, 0, 0.3, 0},
                 {0.9f, 0.1, 0.1, 6, 7}, {0.7f, 0.3, 0.2, 6, 1}, {0.9f, 0.3, 0.4, 6, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        draft d = with(cases[i].p, cases[i].more);
        d.credit = cases[i].credit;
        const size_t got = draft_length(&d, DRAFT_MATCH_2, cases[i].each, DRAFT_MAX);
        CHECK(got == cases[i].length, "p %g, cost %g + %g, credit %g: %zu tokens, not %zu",
              (double)cases[i].p, cases[i].more, cases[i].each, cases[i].credit, got, cases[i].length);
    }
}

/* A machine on which four tokens cost little more than three: by the same formula over these costs. */
static void test_steps(void) {
    static const float costs[] = {1, 1.4f, 2.1f, 2.2f, 4.1f, 4.2f, 4.3f, 4.4f};
    draft d = with(1, 1);
    memcpy(d.cost + 1, costs, sizeof costs);
    d.right[DRAFT_MATCH_2] = 0.95f; // gains: 1.39, 1.36, 1.69, 1.10, 1.26, 1.40, 1.53
    const size_t got = draft_length(&d, DRAFT_MATCH_2, 0, 7);
    CHECK(got == 3, "%zu tokens, not 3", got);
    d.right[DRAFT_MATCH_2] = 0.5f; // 1.07, 0.83, 0.85, ...
    CHECK(draft_length(&d, DRAFT_MATCH_2, 0, 7) == 1, "not one token");
}

/* Where drafts are wrong they end soon, and are tried again seldom. */
static void test_adapts(void) {
    draft d = {0};
    size_t made = 0;
    draft_reset(&d);
    draft_time(&d, 1, 0, 0.01);
    for (int i = 0; i < 1000; i++) {
        const size_t n = draft_length(&d, DRAFT_MATCH_6, 0, DRAFT_MAX);
        draft_time(&d, 1 + n, 0, 0.01 + 0.0035 * (double)n);
        if (n) made++, draft_judge(&d, n, 1, 0);
    }
    CHECK(made >= 5 && made <= 40, "%zu of 1000 drafts were made though none was right", made);
    for (int i = 0; i < 100; i++) draft_judge(&d, 4, 4, 4);
    CHECK(draft_length(&d, DRAFT_MATCH_6, 0, DRAFT_MAX) > 3, "drafts stay short though all are right");
}

/* A machine on which a step of 5 tokens takes 3 times that of one, now and then disturbed. */
static void test_times(void) {
    draft d = {0};
    draft_reset(&d);
    for (int i = 0; i < 200; i++) {
        draft_time(&d, 1, 0, i % 20 == 3 ? 0.1 : 0.01);
        draft_time(&d, 5, 0, i % 20 == 8 ? 0.3 : 0.03);
    }
    CHECK(d.cost[5] > 2.6f && d.cost[5] < 3.4f, "5 tokens cost %g, not 3", (double)d.cost[5]);
}

/* ---- what drafts can lose ---- */

/* How a simulated text goes: the chance that a drafted token is right, `calm` tokens long and then `rough`
 * ones by turns. */
typedef struct text_kind {
    double calm_share, rough_share;
    size_t calm, rough;
} text_kind;

/* Writes n tokens on a machine where n at once cost costs[n], each drafted one `each`; ends[i] is the time
 * after i tokens, in steps of one. */
static void write_text(const text_kind *text, const double *costs, double each, size_t n, rng *r,
                       double *ends) {
    draft d = {0};
    double now = 0;
    draft_reset(&d);
    for (size_t i = 0; i < n;) {
        const double share =
            i % (text->calm + text->rough) < text->calm ? text->calm_share : text->rough_share;
        const draft_kind kind = (draft_kind)(rng_u64(r) % DRAFT_KIND_COUNT);
        const size_t k = rng_f64(r) < 0.7 ? draft_length(&d, kind, each, DRAFT_MAX) : 0;
        size_t right = 0;
        while (right < k && rng_f64(r) < share) right++;
        now += costs[k + 1] + (double)k * each;
        draft_time(&d, 1 + k, each, costs[k + 1] * 0.005);
        if (k) draft_judge(&d, k, right < k ? right + 1 : k, right);
        for (size_t j = 0; j <= right && i < n; j++) ends[++i] = now;
    }
}

/* The least speed over WINDOW tokens or a little more, from the end of a step to the end of another one. */
static double slowest(const double *ends, size_t n) {
    double least = INFINITY;
    for (size_t i = 1, j = 1; i < n; i++) {
        if (ends[i] == ends[i + 1]) continue;
        for (j = i + WINDOW; j < n && ends[j] == ends[j + 1]; j++) {
        }
        if (j >= n) break;
        const double speed = (double)(j - i) / (ends[j] - ends[i]);
        if (speed < least) least = speed;
    }
    return least;
}

/* Any 256 tokens come at 0.97 of the speed without drafts or faster: whatever drafts are worth, however that
 * changes, and whatever steps of several tokens cost, up to as much as their tokens one by one. */
static void test_loses_little(void) {
    enum { TOKENS = 20000 };
    static double ends[TOKENS + 1];
    static const text_kind texts[] = {{0, 0, 1, 0},       {1, 1, 1, 0},         {0.5, 0.5, 1, 0},
                                      {0.9, 0, 300, 300}, {1, 0, 40, 100},      {0.95, 0.2, 1000, 50},
                                      {1, 0, 5000, 5000}, {0.7, 0.6, 100, 400}, {0.99, 0, 20, 20}};
    rng r;
    rng_seed(&r, 11);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (double more = 0.05; more <= 1; more += 0.19) {
            const double each = i % 2 ? 0 : 0.3 * more;
            double costs[DRAFT_MAX + 2] = {0, 1};
            for (size_t n = 2; n < DRAFT_MAX + 2; n++)
                costs[n] = 1 + more * (double)(n % 4 ? n - 1 : n - 2); // steps of four
            write_text(&texts[i], costs, each, TOKENS, &r, ends);
            const double least = slowest(ends, TOKENS);
            CHECK(least >= 0.97, "text %zu, %.2f for each further token: 256 tokens at %.3f of the speed", i,
                  more, least);
            if (texts[i].calm_share == 1 && texts[i].rough == 0 && more < 0.1)
                CHECK((double)TOKENS / ends[TOKENS] > 3, "all drafts are right, and the speed is %.2f",
                      (double)TOKENS / ends[TOKENS]);
        }
}

int main(void) {
    test_guesses();
    test_lengths();
    test_steps();
    test_adapts();
    test_times();
    test_loses_little();
    return check_report();
}
