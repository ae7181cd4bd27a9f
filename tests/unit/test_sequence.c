/*
 * Several sessions of one workspace: each gets the same bits as alone, in a step with others, as a fork of
 * another, or restored from bytes; and no session changes another. Bytes that are not a saved session change
 * nothing.
 */
#include "check.h"
#include "counting_alloc.h"
#include "made_model.h"

#include "run/session.h"

enum { N_CTX = 200, N_IDS = 150 };
static int32_t ids[N_IDS];

static nut_model *load(void) {
    return made_model_load(make_model(&(make_options){.matrices = FORMAT_Q8_0, .n_ctx = 256, .seed = 3}));
}

static nut_session *open_session(const nut_model *m, uint32_t n_threads, nut_kv_type kv_type) {
    const nut_session_options o = {
        .n_ctx = N_CTX, .n_threads = n_threads, .n_batch = 16, .n_logits = 16, .kv_type = kv_type};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    return s;
}

static nut_session *add_session(nut_session *s) {
    nut_session *other = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_add(nut_session_workspace(s), N_CTX, &other, &err) == NUT_OK, "%s", err.message);
    return other;
}

/* The logits after the first n ids, evaluated in a new session; free() them. */
static float *logits_alone(const nut_model *m, nut_kv_type kv_type, const int32_t *list, size_t n) {
    const size_t bytes = nut_model_n_vocab(m) * sizeof(float);
    nut_session *s = open_session(m, 1, kv_type);
    float *out = malloc(bytes);
    CHECK(nut_session_eval(s, list, n, 1, NULL) == NUT_OK, "eval");
    memcpy(out, nut_session_logits(s, 0), bytes);
    nut_session_free(s);
    return out;
}

static void check_next(nut_session *s, const nut_model *m, nut_kv_type kv_type, const int32_t *list,
                       size_t n, const char *what) {
    float *want = logits_alone(m, kv_type, list, n);
    const uint32_t at = nut_session_n_past(s);
    CHECK(nut_session_eval(s, list + at, n - at, 1, NULL) == NUT_OK, "%s: eval", what);
    CHECK(!memcmp(want, nut_session_logits(s, 0), nut_model_n_vocab(m) * sizeof *want), "%s: other logits",
          what);
    free(want);
}

/* ---- several in one step ---- */

/* Three conversations of different lengths continue together, 1 to 5 tokens of each in a step. */
static void test_together(const nut_model *m, uint32_t n_threads) {
    nut_session *s[3] = {open_session(m, n_threads, NUT_KV_F16)};
    nut_workspace *ws = nut_session_workspace(s[0]);
    const size_t n_bytes = nut_model_n_vocab(m) * sizeof(float);
    s[1] = add_session(s[0]), s[2] = add_session(s[0]);
    nut_session_eval(s[1], ids + 10, 70, 0, NULL);
    nut_session_eval(s[2], ids + 20, 9, 0, NULL);
    const size_t first[3] = {0, 10, 20};
    for (size_t round = 0; round < 6; round++) {
        nut_row rows[16];
        size_t n = 0, last[3];
        for (size_t k = 0; k < 3; k++)
            for (size_t i = 0, each = 1 + (round + 2 * k) % 5; i < each; i++) {
                const size_t at = first[k] + nut_session_n_past(s[k]) + i;
                rows[n++] = (nut_row){s[k], ids[at], i + 1 == each};
                last[k] = at + 1;
            }
        CHECK(nut_workspace_eval(ws, rows, n, NULL) == NUT_OK, "a step of %zu rows", n);
        for (size_t k = 0; k < 3; k++) {
            float *want = logits_alone(m, NUT_KV_F16, ids + first[k], last[k] - first[k]);
            CHECK(!memcmp(want, nut_workspace_logits(ws, k), n_bytes),
                  "round %zu, session %zu: other logits", round, k);
            free(want);
        }
        CHECK(!nut_workspace_logits(ws, 3) && !nut_session_logits(s[0], 0), "no more rows are kept");
    }
    for (size_t k = 0; k < 3; k++) nut_session_free(s[k]);
}

static void test_step_refusals(const nut_model *m) {
    nut_session *a = open_session(m, 1, NUT_KV_F16), *b = add_session(a),
                *c = open_session(m, 1, NUT_KV_F16);
    nut_workspace *ws = nut_session_workspace(a);
    nut_row rows[20];
    for (size_t i = 0; i < 20; i++) rows[i] = (nut_row){a, ids[i], false};
    CHECK(nut_workspace_eval(ws, rows, 17, NULL) == NUT_E_ARGUMENT, "more rows than a batch");
    CHECK(nut_workspace_eval(ws, rows, 0, NULL) == NUT_E_ARGUMENT, "no rows");
    rows[1].session = b;
    CHECK(nut_workspace_eval(ws, rows, 3, NULL) == NUT_E_ARGUMENT, "rows of a session that are apart");
    rows[1].session = c;
    CHECK(nut_workspace_eval(ws, rows, 2, NULL) == NUT_E_ARGUMENT, "a session of another workspace");
    rows[1] = (nut_row){a, -1, false};
    CHECK(nut_workspace_eval(ws, rows, 2, NULL) == NUT_E_ARGUMENT, "a token that is none");
    rows[1].id = ids[1];
    nut_generate_options o = nut_generate_defaults();
    nut_generate_begin(a, ids, 4, &o, NULL);
    CHECK(nut_workspace_eval(ws, rows, 2, NULL) == NUT_E_BUSY, "a session that generates");
    CHECK(nut_session_eval(a, ids, 2, 0, NULL) == NUT_E_BUSY, "an evaluation while a generation runs");
    nut_generate_end(a);
    CHECK(nut_session_n_past(a) == 0 && nut_session_n_past(b) == 0, "refused steps change nothing");
    CHECK(nut_session_eval(a, ids, N_IDS, 0, NULL) == NUT_OK &&
              nut_session_eval(a, ids, 45, 0, NULL) == NUT_OK,
          "195 positions are taken");
    CHECK(nut_workspace_eval(ws, rows, 6, NULL) == NUT_E_CONTEXT, "more than the context holds");
    nut_session_free(a), nut_session_free(c), nut_session_free(b); // in any order
}

/* ---- forks ---- */

static void test_fork(const nut_model *m, nut_kv_type kv_type) {
    static const size_t lengths[] = {1, 63, 64, 65, 130};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int32_t other[N_IDS];
        nut_session *a = open_session(m, 2, kv_type), *b = NULL, *c = NULL;
        for (size_t k = 0; k < N_IDS; k++) other[k] = k < lengths[i] ? ids[k] : ids[N_IDS - 1 - k];
        nut_session_eval(a, ids, lengths[i], 0, NULL);
        CHECK(nut_session_fork(a, &b, NULL) == NUT_OK && nut_session_fork(b, &c, NULL) == NUT_OK, "fork");
        CHECK(nut_session_n_past(c) == lengths[i], "a fork is where the first is");
        check_next(b, m, kv_type, other, lengths[i] + 12, "the fork goes another way");
        check_next(a, m, kv_type, ids, lengths[i] + 15, "the first goes on");
        // The first rewinds into the shared part and writes it again; the forks do not change.
        nut_session_truncate(a, (uint32_t)lengths[i] / 2, NULL);
        for (size_t k = lengths[i] / 2; k < N_IDS; k++) other[k] = ids[(k * 3) % N_IDS];
        memcpy(other, ids, lengths[i] / 2 * sizeof *ids);
        check_next(a, m, kv_type, other, lengths[i] + 15, "the first, rewound");
        nut_session_free(a);
        check_next(c, m, kv_type, ids, lengths[i] + 19, "a fork of a fork, with the first one freed");
        nut_session_free(c);
        nut_session_free(b);
    }
}

/* Shared pages exist once; and nothing is allocated while tokens are evaluated. */
static void test_sharing(const nut_model *m) {
    counting_start(0);
    nut_session *a = open_session(m, 1, NUT_KV_F16), *b;
    nut_session_eval(a, ids, 140, 0, NULL);
    page_pool *pool = &nut_session_workspace(a)->pages;
    const size_t before = pool->n_pages - pool->n_free;
    nut_session_fork(a, &b, NULL);
    CHECK(pool->n_pages - pool->n_free == before + 1, "a fork of %zu pages takes one: the last is not whole",
          before);
    const size_t n = counting.n;
    nut_session_truncate(a, 3, NULL);
    nut_session_eval(a, ids + 3, N_IDS - 3, 1, NULL);
    nut_session_eval(b, ids + 140, 10, 1, NULL);
    CHECK(counting.n == n, "%zu allocations while tokens are read", counting.n - n);
    CHECK(pool->n_free >= pool->n_promised, "%zu pages are free and %zu promised", pool->n_free,
          pool->n_promised);
    nut_session_free(a), nut_session_free(b);
    CHECK(counting.alive == 0, "%zu blocks leak", counting.alive);
    for (size_t k = 1; k <= 12; k++) { // each allocation of a fork fails in turn
        a = open_session(m, 1, NUT_KV_F16), b = NULL;
        nut_session_eval(a, ids, 70, 0, NULL);
        counting.n = 0, counting.fail_at = k;
        const nut_status status = nut_session_fork(a, &b, NULL);
        CHECK(status == (counting.n < k ? NUT_OK : NUT_E_MEMORY) && !b == (status != NUT_OK),
              "allocation %zu: %s", k, nut_status_name(status));
        counting.fail_at = 0;
        check_next(a, m, NUT_KV_F16, ids, 80, "after a failed fork");
        nut_session_free(b), nut_session_free(a);
    }
    CHECK(counting.alive == 0, "%zu blocks leak", counting.alive);
    counting_stop();
}

/* Two generations whose steps alternate, in a workspace with one buffer of logits, give the texts that each
 * gives alone. */
static void test_generations(const nut_model *m) {
    nut_session *s[2] = {open_session(m, 1, NUT_KV_F16)};
    int32_t alone[2][12], turns[2][12];
    s[1] = add_session(s[0]);
    for (int together = 0; together < 2; together++)
        for (int first = 0; first < (together ? 1 : 2); first++) {
            size_t n[2] = {0, 0};
            bool running[2] = {false, false};
            for (int k = first; k < (together ? 2 : first + 1); k++) {
                nut_generate_options o = nut_generate_defaults();
                o.max_tokens = 12, o.seed = 5 + (uint64_t)k, o.ignore_eos = true;
                nut_session_truncate(s[k], 0, NULL);
                running[k] = nut_generate_begin(s[k], ids + 30 * k, 20, &o, NULL) == NUT_OK;
            }
            while (running[0] || running[1])
                for (int k = 0; k < 2; k++) {
                    nut_step step;
                    if (!running[k]) continue;
                    running[k] = CHECK(nut_generate_step(s[k], &step, NULL) == NUT_OK, "step") &&
                                 step.kind != NUT_STEP_DONE;
                    if (step.kind == NUT_STEP_TOKEN) (together ? turns : alone)[k][n[k]++] = step.token;
                }
        }
    CHECK(!memcmp(alone, turns, sizeof alone), "generations that take turns give other tokens");
    nut_session_free(s[0]), nut_session_free(s[1]);
}

/* ---- saved ---- */

static uint8_t *save(const nut_session *s, size_t *n) {
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_save(s, NULL, 0, n, &err) == NUT_E_ARGUMENT, "the size is asked for");
    uint8_t *bytes = malloc(*n);
    CHECK(nut_session_save(s, bytes, *n, n, &err) == NUT_OK, "%s", err.message);
    return bytes;
}

static void test_saved(const nut_model *m, nut_kv_type kv_type) {
    nut_session *a = open_session(m, 1, kv_type), *b = open_session(m, 2, kv_type);
    nut_error err = {NUT_OK, ""};
    size_t n;
    nut_session_eval(a, ids, 100, 0, NULL);
    nut_session_eval(b, ids + 50, 30, 0, NULL);
    uint8_t *bytes = save(a, &n), *odd = malloc(n + 1);
    memcpy(odd + 1, bytes, n); // they need not be aligned
    CHECK(nut_session_restore(b, odd + 1, n, &err) == NUT_OK && nut_session_n_past(b) == 100, "%s",
          err.message);
    check_next(b, m, kv_type, ids, 120, "restored");
    nut_session_truncate(b, 64, NULL);
    check_next(b, m, kv_type, ids, 70, "restored and rewound");
    free(odd), free(bytes);
    nut_session_truncate(a, 0, NULL);
    bytes = save(a, &n);
    CHECK(nut_session_restore(b, bytes, n, &err) == NUT_OK && nut_session_n_past(b) == 0,
          "an empty session");
    free(bytes);
    nut_session_free(a), nut_session_free(b);
}

/* Corrects the checksum, so that it does not find the change. */
static void sign(uint8_t *bytes, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n - 8; i++) h = (h ^ bytes[i]) * 0x100000001b3u;
    memcpy(bytes + n - 8, &h, 8);
}

static void check_refused(nut_session *s, const uint8_t *bytes, size_t n, nut_status want,
                          const char *what) {
    nut_error err = {NUT_OK, ""};
    const nut_status status = nut_session_restore(s, bytes, n, &err);
    CHECK(status == want, "%s: %s, %s", what, nut_status_name(status), err.message);
    CHECK(nut_session_n_past(s) == 30, "%s: the session has changed", what);
}

static void test_hostile_bytes(const nut_model *m) {
    nut_session *a = open_session(m, 1, NUT_KV_F16), *b = open_session(m, 1, NUT_KV_F16),
                *other = open_session(m, 1, NUT_KV_Q8_0);
    size_t n;
    nut_session_eval(a, ids, 100, 0, NULL);
    nut_session_eval(b, ids, 30, 0, NULL);
    nut_session_eval(other, ids, 30, 0, NULL);
    uint8_t *bytes = save(a, &n), *bad = malloc(n + 8);
    for (size_t cut = 0; cut < n; cut = cut < 40 ? cut + 1 : cut + 997)
        check_refused(b, bytes, cut, NUT_E_SESSION, "cut off");
    memcpy(bad, bytes, n), memset(bad + n, 0, 8);
    check_refused(b, bad, n + 8, NUT_E_SESSION, "too many");
    for (size_t at = 0; at < n; at = at < 40 ? at + 1 : at + 4999) {
        memcpy(bad, bytes, n);
        bad[at] ^= 64;
        check_refused(b, bad, n, at >= 17 && at < 20 ? NUT_E_CONTEXT : NUT_E_SESSION, "a flipped bit");
    }
    check_refused(other, bytes, n, NUT_E_SESSION, "another kind of cache");
    // What the checksum does not find: an id that is no token, numbers that attention cannot use.
    static const struct {
        size_t at;
        uint32_t word;
        const char *what;
    } wrongs[] = {{24, 0xffffffffu, "a negative token"},
                  {24 + 4 * 99, 100000, "a token that is none"},
                  {24 + 400 + 2 * 16 * 64 * 2, 0x7fc00000u, "a scale that is no number"},
                  {24 + 400 + 2 * 16 * 64 * 2 + 4, 0xbf800000u, "a negative scale"},
                  {24 + 400, 0x80008000u, "a key beyond its range"}};
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        memcpy(bad, bytes, n);
        memcpy(bad + wrongs[i].at, &wrongs[i].word, 4);
        sign(bad, n);
        check_refused(b, bad, n, NUT_E_SESSION, wrongs[i].what);
    }
    check_next(b, m, NUT_KV_F16, ids, 60, "after all that was refused");
    nut_session *small = NULL;
    const nut_session_options o = {.n_ctx = 64, .n_threads = 1};
    nut_session_new(m, &o, &small, NULL);
    nut_session_eval(small, ids, 30, 0, NULL);
    check_refused(small, bytes, n, NUT_E_CONTEXT, "a context that is too short");
    nut_session_free(small);
    free(bad), free(bytes);
    nut_session_free(a), nut_session_free(b), nut_session_free(other);
}

int main(void) {
    for (int i = 0; i < N_IDS; i++) ids[i] = 3 + (i * 41) % 280;
    nut_model *m = load();
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) test_together(m, n_threads);
    test_step_refusals(m);
    for (int kv = 0; kv < NUT_KV_COUNT; kv++) test_fork(m, (nut_kv_type)kv);
    test_sharing(m);
    test_generations(m);
    for (int kv = 0; kv < NUT_KV_COUNT; kv++) test_saved(m, (nut_kv_type)kv);
    test_hostile_bytes(m);
    nut_model_free(m);
    return check_report();
}
