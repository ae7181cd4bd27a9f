/*
 * Positions that are left out behind a prompt (src/run/keep.c). In a model of one layer, keys and values of
 * a position are made of its token alone, so that what stays must give the logits that the chosen tokens
 * give when each is read anew at its own position. Which ones are chosen is found here from the queries, in
 * doubles.
 */
#include "check.h"
#include "made_model.h"
#include "make_family.h"

#include "run/attend.h"
#include "run/keep.h"
#include "run/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 300, MOST = 128, LAST = 32, N_CTX = 384 };
static int32_t ids[N + 8];

/* ---- the choice ---- */

/* Python: p = [max(v[max(0, i - 3):i + 4]) for i in range(40)],
 * sorted(sorted(range(40), key=lambda i: (-p[i], i))[:most]) */
static void test_choice(void) {
    static const float votes[40] = {0.31f,  0.484f, 0.141f, 0.134f, 0.061f, 0.99f,  0.024f, 0.003f,
                                    0.018f, 0.018f, 0.035f, 0.766f, 0.766f, 0.034f, 0.03f,  0.184f,
                                    0.008f, 0.0f,   0.008f, 0.16f,  0.059f, 0.395f, 0.518f, 0.071f,
                                    0.001f, 0.386f, 0.432f, 0.062f, 0.285f, 0.027f, 0.766f, 0.58f,
                                    0.497f, 0.868f, 0.013f, 0.162f, 0.391f, 0.515f, 0.059f, 0.003f};
    static const uint32_t one[] = {2}, nine[] = {2, 3, 4, 5, 6, 7, 8, 30, 31},
                          sixteen[] = {2, 3, 4, 5, 6, 7, 8, 9, 10, 30, 31, 32, 33, 34, 35, 36};
    keep_vote order[40];
    uint32_t chosen[40];
    keep_choose(votes, 40, 1, order, chosen);
    CHECK(!memcmp(chosen, one, sizeof one), "%u", chosen[0]);
    keep_choose(votes, 40, 9, order, chosen);
    CHECK(!memcmp(chosen, nine, sizeof nine), "%u %u", chosen[0], chosen[8]);
    keep_choose(votes, 40, 16, order, chosen);
    CHECK(!memcmp(chosen, sixteen, sizeof sixteen), "%u %u", chosen[0], chosen[15]);
    keep_choose(votes, 40, 40, order, chosen);
    for (uint32_t i = 0; i < 40; i++) CHECK(chosen[i] == i, "%u is %u", i, chosen[i]);
}

/* ---- models and sessions ---- */

static nut_model *load(make_gguf g, bool reference) {
    nut_load_options lo = nut_load_defaults();
    nut_loader *l = NULL;
    nut_model *m = NULL;
    nut_error err = {NUT_OK, ""};
    size_t n;
    uint8_t *file = make_file(&g, &n);
    lo.reference = reference;
    const bool fine = nut_load_begin(&lo, n, &l, &err) == NUT_OK &&
                      nut_load_feed(l, 0, file, n, &err) == NUT_OK && nut_load_finish(l, &m, &err) == NUT_OK;
    CHECK(fine, "%s", err.message);
    free(file);
    make_free(&g);
    return m;
}

static nut_model *model(uint32_t n_layer, uint32_t n_head_kv, bool reference) {
    return load(
        make_model(&(make_options){
            .matrices = FORMAT_F32, .n_layer = n_layer, .n_head_kv = n_head_kv, .n_ctx = 1024, .seed = 5}),
        reference);
}

static nut_session *open_session(const nut_model *m, nut_kv_type kv) {
    const nut_session_options o = {
        .n_ctx = N_CTX, .n_threads = 2, .n_batch = 48, .kv_type = kv, .lookup = 4};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    return s;
}

static void eval(nut_session *s, const int32_t *from, size_t n) {
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_eval(s, from, n, n > 0, &err) == NUT_OK, "%s", err.message);
}

static void keep(nut_session *s, uint32_t most) {
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_keep(s, most, &err) == NUT_OK, "%s", err.message);
}

/* Largest difference of their logits, of the largest one. */
static double difference(const nut_session *a, const nut_session *b) {
    const float *x = nut_session_logits(a, 0), *y = nut_session_logits(b, 0);
    double most = 0, size = 0;
    for (size_t i = 0; i < nut_model_n_vocab(a->seq.ws->model); i++) {
        most = fmax(most, fabs((double)x[i] - (double)y[i]));
        size = fmax(size, fabs((double)y[i]));
    }
    return most / size;
}

/* Reads single tokens, each as if it stood at its own position. */
static void read_at(nut_session *s, const uint32_t *positions, size_t n) {
    for (uint32_t i = 0; i < n; i++) {
        s->seq.n_skipped = positions[i] - i;
        eval(s, ids + positions[i], 1);
    }
}

/* ---- votes ---- */

typedef struct queries {
    const nut_session *s;
    float q[LAST * 64];
} queries;

static void see(void *ctx, const linear *l, const float *x, size_t n_tokens, bool again) {
    queries *to = ctx;
    const model_layer *layer = to->s->seq.ws->model->layers;
    (void)x, (void)again;
    if (l != &((const attention_weights *)layer->mixer)->o || n_tokens != LAST) return;
    memcpy(to->q, attention_queries(to->s->seq.ws),
           LAST * (size_t)layer->hp.n_head * layer->hp.head_dim * sizeof *to->q);
}

/* The share of a query's attention that each position before the last ones gets. */
static void add_shares(const cache_head *h, const float *q, size_t n_seen, double *votes) {
    double weights[N], sum = 0;
    float key[CACHE_MAX_DIM];
    for (size_t i = 0; i < n_seen; i++) {
        double score = 0;
        cache_key(h, i, key);
        for (size_t c = 0; c < h->k_dim; c++) score += (double)q[c] * (double)key[c];
        sum += weights[i] = exp(score / sqrt((double)h->k_dim));
    }
    for (size_t i = 0; i < N - LAST; i++) votes[i] += weights[i] / sum;
}

static double near(const double *votes, int pos) {
    double most = 0;
    for (int i = pos < 3 ? 0 : pos - 3; i <= pos + 3 && i < N - LAST; i++) most = fmax(most, votes[i]);
    return most;
}

/* Whether so many positions have more votes than this one, or as many and come before. */
static bool is_chosen(const double *votes, int pos) {
    int n_before = 0;
    for (int i = 0; i < N - LAST; i++) {
        const double a = near(votes, i), b = near(votes, pos);
        n_before += a > b || (a >= b && i < pos);
    }
    return n_before < MOST - LAST;
}

/* All heads of a layer have one head of keys, so that they keep the same positions. Returns how many. */
static size_t find_chosen(const nut_model *m, uint32_t *positions) {
    static queries seen;
    double votes[N] = {0};
    const layer_hparams *l = &m->layers[0].hp;
    nut_session *s = open_session(m, NUT_KV_F16);
    seen.s = s;
    eval(s, ids, N - LAST);
    s->seq.ws->tap = see, s->seq.ws->tap_ctx = &seen;
    eval(s, ids + N - LAST, LAST);
    const cache_head head = sequence_head(&s->seq, 0, 0);
    for (size_t t = 0; t < LAST; t++)
        for (size_t h = 0; h < l->n_head; h++)
            add_shares(&head, seen.q + (t * l->n_head + h) * l->head_dim, N - LAST + t + 1, votes);
    size_t n = 0;
    for (int i = 0; i < N; i++)
        if (i >= N - LAST || is_chosen(votes, i)) positions[n++] = (uint32_t)i;
    nut_session_free(s);
    return n;
}

static void test_votes(void) {
    nut_model *m = model(1, 1, true);
    nut_session *s = open_session(m, NUT_KV_F16), *anew = open_session(m, NUT_KV_F16),
                *whole = open_session(m, NUT_KV_F16);
    uint32_t positions[N];
    const size_t n = find_chosen(m, positions);
    eval(s, ids, N), eval(whole, ids, N);
    keep(s, MOST);
    CHECK(difference(s, whole) < 1e-5, "the last token's logits are other ones");
    CHECK(n == MOST && nut_session_n_past(s) == MOST, "%zu, %u stay", n, nut_session_n_past(s));
    CHECK(!memcmp(s->seq.tokens, ids + N - MOST, MOST * sizeof *ids), "tokens");
    bool consecutive = true;
    for (size_t i = 1; i < n; i++) consecutive = consecutive && positions[i] == positions[i - 1] + 1;
    CHECK(!consecutive, "this text does not tell the choice from the last positions");
    read_at(anew, positions, n);
    for (size_t i = N; i < N + 8; i++) {
        eval(s, ids + i, 1), eval(anew, ids + i, 1), eval(whole, ids + i, 1);
        CHECK(difference(s, anew) < 1e-5, "token %zu: %g", i, difference(s, anew));
        CHECK(difference(s, whole) > 1e-4, "token %zu is read as if all were there", i);
    }
    nut_session_free(s), nut_session_free(anew), nut_session_free(whole);
    nut_model_free(m);
}

/* ---- layers with a window ---- */

/* Nothing that such a layer sees goes; keys and values are rounded once more. */
static void test_window(void) {
    static const double most[] = {2e-3, 2e-2, 0.2};
    for (int kv = -1; kv < NUT_KV_COUNT; kv++) {
        nut_model *m = model(1, 2, kv < 0);
        m->layers[0].hp.window = 40;
        nut_session *s = open_session(m, kv < 0 ? NUT_KV_F16 : (nut_kv_type)kv),
                    *whole = open_session(m, kv < 0 ? NUT_KV_F16 : (nut_kv_type)kv);
        eval(s, ids, N), eval(whole, ids, N);
        keep(s, MOST);
        for (size_t i = N; i < N + 4; i++) eval(s, ids + i, 1), eval(whole, ids + i, 1);
        const double d = difference(s, whole), may = kv < 0 ? 1e-5 : most[kv];
        CHECK(d < may, "cache %d: %g", kv, d);
        CHECK(nut_session_n_past(s) == MOST + 4, "%u", nut_session_n_past(s));
        nut_session_free(s), nut_session_free(whole);
        nut_model_free(m);
    }
}

/* ---- sessions behind it ---- */

static void test_forks(void) {
    nut_model *m = model(2, 2, false);
    nut_session *s = open_session(m, NUT_KV_F16), *before = NULL, *behind = NULL;
    nut_error err = {NUT_OK, ""};
    eval(s, ids, N);
    CHECK(nut_session_fork(s, &before, &err) == NUT_OK, "%s", err.message);
    keep(s, MOST);
    CHECK(nut_session_fork(s, &behind, &err) == NUT_OK, "%s", err.message);
    float *logits = malloc(nut_model_n_vocab(m) * sizeof *logits);
    eval(s, ids + N, 1);
    memcpy(logits, nut_session_logits(s, 0), nut_model_n_vocab(m) * sizeof *logits);
    eval(behind, ids + N, 1);
    CHECK(!memcmp(logits, nut_session_logits(behind, 0), nut_model_n_vocab(m) * sizeof *logits),
          "a fork goes on differently");
    eval(before, ids + N, 1);
    memcpy(logits, nut_session_logits(before, 0), nut_model_n_vocab(m) * sizeof *logits);
    nut_session_free(s), nut_session_free(behind);
    nut_session *anew = open_session(m, NUT_KV_F16);
    eval(anew, ids, N), eval(anew, ids + N, 1);
    CHECK(!memcmp(logits, nut_session_logits(anew, 0), nut_model_n_vocab(m) * sizeof *logits),
          "what was left out in one is gone in the other");
    free(logits);
    nut_session_free(before), nut_session_free(anew);
    nut_model_free(m);
}

static size_t read_prompt(nut_session *s, uint32_t n) {
    nut_generate_options o = nut_generate_defaults();
    nut_step step;
    nut_error err = {NUT_OK, ""};
    o.temperature = 0, o.ignore_eos = true, o.max_tokens = 6;
    CHECK(nut_generate_begin(s, ids, n, &o, &err) == NUT_OK, "%s", err.message);
    const uint32_t before = nut_session_n_past(s);
    do {
        CHECK(nut_generate_step(s, &step, &err) == NUT_OK, "%s", err.message);
        if (step.n_done < n)
            CHECK(nut_session_keep(s, MOST, &err) == NUT_E_STATE, "in the middle of a prompt");
    } while (step.n_done < step.n_total);
    return n - before;
}

/* Steps to the end; the last token that was sampled. */
static int32_t finish(nut_session *s) {
    nut_step step;
    nut_error err = {NUT_OK, ""};
    int32_t last = -1;
    do {
        CHECK(nut_generate_step(s, &step, &err) == NUT_OK, "%s", err.message);
        if (step.token >= 0) last = step.token;
        if (step.kind == NUT_STEP_TOKEN)
            CHECK(nut_session_keep(s, 64, &err) == NUT_E_STATE, "in the middle of an answer");
    } while (step.kind != NUT_STEP_DONE);
    return last;
}

static void test_generation(void) {
    nut_model *m = model(2, 2, false);
    nut_session *s = open_session(m, NUT_KV_F16), *whole = open_session(m, NUT_KV_F16);
    nut_error err = {NUT_OK, ""};
    size_t n;
    CHECK(read_prompt(s, 200) == 200, "the prompt is read");
    keep(s, 96);
    const page_pool *pool = &s->seq.ws->pages; // where none is free but those that no one had
#ifdef __wasm__
    CHECK(pool->free != NULL, "pages that went are not there for others"); // its memory does not shrink
#else
    CHECK(!pool->free && pool->n_pages - pool->n_free == s->seq.n_pages, "the memory of what went stays");
#endif
    CHECK(finish(s) >= 0 && nut_session_n_past(s) == 96 + 5, "%u", nut_session_n_past(s));
    CHECK(nut_session_save(s, NULL, 0, &n, &err) == NUT_E_STATE && strstr(err.message, "left positions out"),
          "%s", err.message);
    CHECK(read_prompt(s, 200) == 200, "the same prompt is read from its beginning");
    CHECK(read_prompt(whole, 200) == 200, "the prompt is read");
    CHECK(finish(s) == finish(whole), "another text behind a prompt that is there whole");
    nut_session_save(s, NULL, 0, &n, &err);
    CHECK(err.code == NUT_E_ARGUMENT && n > 0, "it can be saved again");
    nut_session_free(s), nut_session_free(whole);
    nut_model_free(m);
}

static void test_nothing_to_leave(void) {
    nut_model *m = model(2, 2, false);
    nut_session *s = open_session(m, NUT_KV_F16), *whole = open_session(m, NUT_KV_F16);
    eval(s, ids, 100), eval(whole, ids, 100);
    keep(s, 100);
    CHECK(nut_session_n_past(s) == 100 && difference(s, whole) <= 0, "%u", nut_session_n_past(s));
    eval(s, ids + 100, 1), eval(whole, ids + 100, 1);
    CHECK(difference(s, whole) <= 0, "it is changed");
    nut_session_free(s), nut_session_free(whole);
    nut_model_free(m);
}

static void check_refused(const char *family) {
    nut_model *m =
        made_model_load(make_family(arch_find((gguf_str){family, strlen(family)}), &family_small));
    const nut_session_options o = {.n_ctx = 64, .n_threads = 1};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(m && nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_session_keep(s, 64, &err) == NUT_E_UNSUPPORTED && strstr(err.message, family), "%s: %s",
          family, err.message);
    nut_session_free(s);
    nut_model_free(m);
}

static void test_refused(void) {
    static const char *const families[] = {"mamba", "deepseek2", "gpt2", "bloom"};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) check_refused(families[i]);
    nut_model *m = model(1, 1, false);
    nut_session *s = open_session(m, NUT_KV_F16);
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_keep(s, 63, &err) == NUT_E_ARGUMENT && strstr(err.message, "64"), "%s", err.message);
    nut_session_free(s);
    nut_model_free(m);
}

int main(void) {
    for (int32_t i = 0; i < N + 8; i++) ids[i] = 3 + (i * 37 + i * i % 11 * 5) % 250;
    test_choice();
    test_votes();
    test_window();
    test_forks();
    test_generation();
    test_nothing_to_leave();
    test_refused();
    return check_report();
}
