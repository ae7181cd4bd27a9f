/* The team of threads, and how many of them a step of one token gets. */
#include "base/rng.h"
#include "base/threads.h"
#include "check.h"
#include "run/pace.h"

#include <stdatomic.h>

enum { MEMBERS = 5, RUNS = 4000 };

typedef struct tally {
    atomic_uint calls[MEMBERS];
    atomic_uint wrong; // calls that were told another number of members
    unsigned n;
} tally;

static void count_member(void *ctx, unsigned i, unsigned n) {
    tally *t = ctx;
    atomic_fetch_add(&t->calls[i], 1);
    if (n != t->n) atomic_fetch_add(&t->wrong, 1);
}

/* Each run has just its members, once each, however the limit changes between runs. */
static void test_limits(void) {
    threads *team;
    nut_error err;
    tally t = {.n = 1};
    unsigned expected[MEMBERS] = {0};
    rng r;
    rng_seed(&r, 4);
    if (!CHECK(threads_new(MEMBERS, &team, &err) == NUT_OK, "%s", err.message)) return;
    const unsigned most = threads_count(team);
    CHECK(most >= 1 && most <= MEMBERS, "%u members", most);
    t.n = most;
    for (int run = 0; run < RUNS; run++) {
        if (rng_u64(&r) % 3 == 0) threads_limit(team, t.n = 1 + (unsigned)(rng_u64(&r) % most));
        if (most == 1) t.n = 1;
        threads_run(team, count_member, &t);
        for (unsigned i = 0; i < t.n; i++) expected[i]++;
    }
    for (unsigned i = 0; i < MEMBERS; i++)
        CHECK(atomic_load(&t.calls[i]) == expected[i], "member %u ran %u times of %u", i,
              atomic_load(&t.calls[i]), expected[i]);
    CHECK(atomic_load(&t.wrong) == 0, "%u calls for another number of members", atomic_load(&t.wrong));
    threads_free(team);
}

/* A machine on which a step with n threads takes seconds[n]; what the trials settle on, and after how many
 * tokens. */
static void check_pace(unsigned n, const float *seconds, unsigned settles_on, unsigned tokens) {
    pace p;
    pace_begin(&p, n, true);
    unsigned k = 0;
    for (; k < 100 && p.trying; k++) pace_took(&p, seconds[p.now] * (k % PACE_TOKENS == 1 ? 9 : 1)); // noise
    CHECK(p.now == settles_on && k == tokens, "%u of %u threads after %u tokens, not %u after %u", p.now, n,
          k, settles_on, tokens);
    pace_took(&p, 1e-9f);
    CHECK(p.now == settles_on, "the choice changed later");
}

static void test_pace(void) {
    const float scales[] = {0, 8, 4, 3, 2}, sibling[] = {0, 8, 4, 5, 6}, slow_second[] = {0, 5, 6},
                slow_all[] = {0, 1, 2, 3, 4}, equal[] = {0, 4.9f, 5};
    check_pace(4, scales, 4, 2 * PACE_TOKENS);
    check_pace(4, sibling, 2, 4 * PACE_TOKENS);  // 4, 2, 4 again, 1
    check_pace(4, slow_all, 1, 5 * PACE_TOKENS); // 4, 2, 4 again, 1, 2 again
    check_pace(2, slow_second, 1, 3 * PACE_TOKENS);
    check_pace(2, equal, 2, 2 * PACE_TOKENS);
    check_pace(1, equal, 1, 0);
    pace p;
    pace_begin(&p, 2, true); // the first tokens run code that is not yet compiled well
    for (int k = 0; p.trying && k < 100; k++) pace_took(&p, k < PACE_TOKENS ? 9 : p.now == 2 ? 3 : 5);
    CHECK(p.now == 2, "more threads were given up after one trial");
    pace_begin(&p, 4, false);
    pace_took(&p, 1);
    CHECK(!p.trying && p.now == 4, "threads that were asked for are kept");
}

int main(void) {
    test_limits();
    test_pace();
    return check_report();
}
