/*
 * A context that goes on when it is full (src/run/window.c). In a model of one layer, keys and
 * values of a position are made of its token alone, so that what is left after a shift must give the logits
 * that the same tokens give when they are read anew; that holds for any rotation, and is the expectation
 * here.
 */
#include "check.h"
#include "counting_alloc.h"
#include "make_family.h"
#include "make_gguf.h"

#include "run/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_CTX = 320, MOST = 900 };
static int32_t ids[MOST];

/* Frees g. */
static nut_model *load_made(make_gguf *g, bool reference) {
    nut_load_options lo = nut_load_defaults();
    nut_loader *l = NULL;
    nut_model *m = NULL;
    nut_error err = {NUT_OK, ""};
    size_t n;
    uint8_t *file = make_file(g, &n);
    lo.reference = reference;
    bool fine = nut_load_begin(&lo, n, &l, &err) == NUT_OK && nut_load_feed(l, 0, file, n, &err) == NUT_OK &&
                nut_load_finish(l, &m, &err) == NUT_OK;
    CHECK(fine, "%s", err.message);
    free(file);
    make_free(g);
    return m;
}

static nut_model *load(const char *family, uint32_t n_layer, bool reference) {
    make_gguf g = make_model(
        &(make_options){.arch = family, .matrices = FORMAT_F32, .n_layer = n_layer, .n_ctx = 1024});
    return load_made(&g, reference);
}

/* Of one layer, in floats. */
static nut_model *load_latent(const char *family) {
    make_gguf g = make_family(arch_find((gguf_str){family, strlen(family)}), &family_layer);
    return load_made(&g, true);
}

static nut_session *open_session(const nut_model *m, nut_kv_type kv) {
    nut_session_options o = nut_session_defaults();
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    o.n_ctx = N_CTX;
    o.kv_type = kv;
    CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    return s;
}

/* The largest difference of two rows of logits, of their largest magnitude. */
static double difference(const float *a, const float *b, size_t n) {
    double most = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)b[i]));
    }
    return most / size;
}

/* Reads n tokens, leaves n_tiles out, reads one more, and compares with reading what is left. */
static double after_shift(const nut_model *m, nut_kv_type kv, uint32_t n, uint32_t n_tiles) {
    nut_session *s = open_session(m, kv), *fresh = open_session(m, kv);
    nut_error err;
    const uint32_t gone = n_tiles * CACHE_TILE;
    CHECK(nut_session_eval(s, ids, n, 1, &err) == NUT_OK, "%s", err.message);
    window_shift(&s->seq, n_tiles);
    CHECK(nut_session_n_past(s) == n - gone && nut_session_n_left(s) == gone, "%u", nut_session_n_past(s));
    CHECK(
        !memcmp(s->seq.tokens + CACHE_TILE, ids + CACHE_TILE + gone, (n - gone - CACHE_TILE) * sizeof *ids),
        "tokens");
    nut_session_eval(s, ids + n, 1, 1, &err);
    nut_session_eval(fresh, ids, CACHE_TILE, 1, &err);
    nut_session_eval(fresh, ids + CACHE_TILE + gone, n + 1 - CACHE_TILE - gone, 1, &err);
    const double d =
        difference(nut_session_logits(s, 0), nut_session_logits(fresh, 0), nut_model_n_vocab(m));
    nut_session_free(s);
    nut_session_free(fresh);
    return d;
}

/* Floats: nothing but their rounding. Integers: that of a cache of this kind, once more. */
static void test_keys(void) {
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        nut_model *exact = load(families[i], 1, true), *usual = load(families[i], 1, false);
        for (uint32_t tiles = 1; tiles <= 3; tiles++) {
            const double f = after_shift(exact, NUT_KV_F16, 300, tiles),
                         h = after_shift(usual, NUT_KV_F16, 300, tiles),
                         q = after_shift(usual, NUT_KV_Q8_0, 300, tiles),
                         packed = after_shift(usual, NUT_KV_Q4_0, 300, tiles);
            CHECK(f < 1e-5, "%s, %u tiles: %g", families[i], tiles, f);
            CHECK(h < 2e-3, "%s, %u tiles, f16: %g", families[i], tiles, h);
            CHECK(q < 2e-2, "%s, %u tiles, q8_0: %g", families[i], tiles, q);
            CHECK(packed < 0.2, "%s, %u tiles, q4_0: %g", families[i], tiles, packed);
        }
        nut_model_free(exact);
        nut_model_free(usual);
    }
}

/* Latent attention rotates a part of each key, behind the rest. */
static void test_latent(void) {
    static const char *const families[] = {"deepseek2", "minicpm3"};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        nut_model *m = load_latent(families[i]);
        nut_error err = {NUT_OK, ""};
        nut_session *s = m ? open_session(m, NUT_KV_F16) : NULL;
        CHECK(s && nut_session_can_shift(s, &err) == NUT_OK, "%s: %s", families[i], err.message);
        for (uint32_t tiles = 1; s && tiles <= 3; tiles++) {
            const double f = after_shift(m, NUT_KV_F16, 300, tiles),
                         packed = after_shift(m, NUT_KV_Q4_0, 300, tiles);
            CHECK(f < 1e-5, "%s, %u tiles: %g", families[i], tiles, f);
            CHECK(packed < 0.2, "%s, %u tiles, q4_0: %g", families[i], tiles, packed);
        }
        nut_session_free(s);
        nut_model_free(m);
    }
}

/* Others that hold the same pages keep theirs. */
static void test_forks(void) {
    nut_model *m = load("llama", 2, false);
    nut_session *s = open_session(m, NUT_KV_F16), *fork = NULL;
    nut_error err;
    const size_t n = nut_model_n_vocab(m) * sizeof(float);
    float *before = malloc(n);
    nut_session_eval(s, ids, 250, 1, &err);
    nut_session_eval(s, ids + 250, 1, 1, &err);
    memcpy(before, nut_session_logits(s, 0), n);
    nut_session_truncate(s, 250, &err);
    CHECK(nut_session_fork(s, &fork, &err) == NUT_OK, "%s", err.message);
    window_shift(&fork->seq, 2);
    nut_session_eval(s, ids + 250, 1, 1, &err);
    CHECK(!memcmp(before, nut_session_logits(s, 0), n), "a fork's shift changed the other");
    free(before);
    nut_session_free(fork);
    nut_session_free(s);
    nut_model_free(m);
}

/* ---- generations ---- */

static uint32_t generate(nut_session *s, const int32_t *prompt, size_t n, uint32_t n_tokens, int32_t *out,
                         uint32_t *n_read) {
    nut_generate_options o = nut_generate_defaults();
    nut_step step;
    nut_error err;
    uint32_t sampled = 0, before = 0;
    o.max_tokens = n_tokens;
    o.ignore_eos = o.shift = true;
    o.temperature = 0;
    *n_read = 0;
    if (!CHECK(nut_generate_begin(s, prompt, n, &o, &err) == NUT_OK, "%s", err.message)) return 0;
    before = nut_session_n_past(s);
    do {
        if (!CHECK(nut_generate_step(s, &step, &err) == NUT_OK, "%s", err.message)) return 0;
        if (step.kind == NUT_STEP_PREFILL) *n_read = step.n_done - before;
        if (step.token >= 0) out[sampled++] = step.token;
    } while (step.kind != NUT_STEP_DONE);
    return sampled;
}

/* A text longer than the context, and the next question behind it, of which only what is new is read. */
static void test_generation(void) {
    nut_model *m = load("llama", 2, false);
    nut_session *s = open_session(m, NUT_KV_F16);
    int32_t all[MOST];
    uint32_t n_read;
    memcpy(all, ids, 200 * sizeof *ids);
    const uint32_t n = generate(s, all, 200, 400, all + 200, &n_read);
    CHECK(n == 400 && n_read == 200 && nut_session_n_left(s) > 200, "%u tokens, %u read, %u left out", n,
          n_read, nut_session_n_left(s));
    memcpy(all + 600, ids, 20 * sizeof *ids);
    CHECK(generate(s, all, 620, 10, all + 620, &n_read) == 10 && n_read <= 21, "%u read again", n_read);
    /* A prompt that is too long at once; a short one again, whole. */
    CHECK(generate(s, ids, 880, 10, all, &n_read) == 10 && n_read < N_CTX, "%u", n_read);
    CHECK(generate(s, ids, 100, 10, all, &n_read) == 10 && nut_session_n_left(s) == 0, "%u", n_read);
    nut_session_free(s);
    nut_model_free(m);
}

static void test_refused(void) {
    nut_error err = {NUT_OK, ""};
    nut_generate_options o = nut_generate_defaults();
    o.shift = true;
    make_gguf g = make_family(arch_find((gguf_str){"mamba2", 6}), &family_small);
    nut_model *m = NULL;
    nut_session *s = NULL;
    size_t n;
    uint8_t *file = make_file(&g, &n);
    CHECK(make_load(file, n, 0, NULL, &m, &err) == NUT_OK, "%s", err.message);
    nut_session_options so = nut_session_defaults();
    if (CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK, "%s", err.message)) {
        CHECK(nut_generate_begin(s, ids, 3, &o, &err) == NUT_E_UNSUPPORTED && strstr(err.message, "mamba2"),
              "%s", err.message);
        nut_session_free(s);
    }
    nut_model_free(m);
    free(file);
    make_free(&g);
    m = load("llama", 1, false);
    so.n_ctx = 128;
    if (CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK, "%s", err.message)) {
        CHECK(nut_session_can_shift(s, &err) == NUT_E_ARGUMENT && strstr(err.message, "256"), "%s",
              err.message);
        nut_session_free(s);
    }
    nut_model_free(m);
}

int main(void) {
    nut_model *m = load("llama", 1, false);
    for (uint32_t i = 0, r = 1; i < MOST; i++) {
        r = r * 1664525 + 1013904223;
        ids[i] = (int32_t)((r >> 16) % nut_model_n_vocab(m));
    }
    nut_model_free(m);
    test_keys();
    test_latent();
    test_forks();
    test_generation();
    test_refused();
    return check_report();
}
