/*
 * The bits of the logits, as hashes. A change that only moves code must leave them as they are; a change of
 * the arithmetic replaces a hash here and says why in its commit. Recorded from version bf20136, where
 * forward.c still was one file for one family of models.
 *
 * The fast kernels give the same bits in every build that has SIMD (simd128, relaxed; native, wasm). The
 * reference path calls the C library's exp2, so its hashes hold for glibc alone.
 */
#include "check.h"
#include "data.h"
#include "model_file.h"

#include <string.h>

enum { MAX_IDS = 70 };

typedef struct bits_case {
    const char *name;
    bool reference;
    size_t n; // tokens
    uint64_t hash;
} bits_case;

static const bits_case cases[] = {
    {"tiny", false, MAX_IDS, 0xfa9de381579f6359},         {"tiny", true, MAX_IDS, 0x008d737defc973e4},
    {"stories260K", false, MAX_IDS, 0xdc11dd0de0ab2dcc},  {"stories260K", true, MAX_IDS, 0xa62102e5e245a984},
    {"SmolLM2-135M", false, MAX_IDS, 0x9125973f1fa4c228}, {"SmolLM2-135M", true, 23, 0xfef48b8d8fd492a4},
};

/* $NUT_SMOLLM2 overrides the model's path; empty: leave it out where it would take minutes. */
static const char *path_of(const char *name) {
    const char *smollm2 = getenv("NUT_SMOLLM2");
    if (!strcmp(name, "tiny")) return "dist/nutshell-tiny-q8_0.gguf";
    if (!strcmp(name, "stories260K")) return data_path("models/stories260K-f32.gguf");
    return smollm2 ? smollm2 : "models/SmolLM2-135M-Instruct-Q4_1.gguf";
}

/* FNV-1a over 32-bit words. */
static uint64_t hash_floats(uint64_t h, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, &x[i], sizeof word);
        h = (h ^ word) * 0x100000001b3u;
    }
    return h;
}

/* The hash of all logits of n fixed tokens, read n_batch at a time. */
static uint64_t hash_logits(const nut_model *m, size_t n, uint32_t n_threads, uint32_t n_batch) {
    const nut_session_options o = {
        .n_ctx = 128, .n_threads = n_threads, .n_batch = n_batch, .n_logits = n_batch};
    const uint32_t n_vocab = nut_model_n_vocab(m);
    int32_t ids[MAX_IDS];
    nut_session *s = NULL;
    uint64_t h = 0xcbf29ce484222325u;
    if (!CHECK(nut_session_new(m, &o, &s, NULL) == NUT_OK, "session")) return 0;
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)((7 + i * 7919) % n_vocab);
    for (size_t at = 0; at < n; at += n_batch) {
        const size_t some = n - at < n_batch ? n - at : n_batch;
        CHECK(nut_session_eval(s, ids + at, some, some, NULL) == NUT_OK, "eval");
        for (size_t i = 0; i < some; i++) h = hash_floats(h, nut_session_logits(s, i), n_vocab);
    }
    nut_session_free(s);
    return h;
}

static void check_case(const bits_case *c) {
    static const struct {
        uint32_t n_threads, n_batch;
    } ways[] = {{1, 64}, {2, 7}, {1, 1}, {1, 7}, {2, 64}, {2, 1}};
    const size_t n_ways = c->reference && c->n < MAX_IDS ? 3 : sizeof ways / sizeof *ways;
    nut_load_options o = nut_load_defaults();
    nut_error err = {0};
    o.reference = c->reference;
    if (c->reference) o.kernel = "ref";
    nut_model *m = *path_of(c->name) ? model_file_load(path_of(c->name), &o, &err) : NULL;
    if (!m) {
        CHECK(err.code == NUT_OK, "%s: %s", c->name, err.message);
        CHECK_SKIP("%s: no file \"%s\"", c->name, path_of(c->name));
        return;
    }
    if (c->reference || strcmp(nut_model_kernel(m), "ref")) {
        for (size_t i = 0; i < n_ways; i++) {
            const uint64_t h = hash_logits(m, c->n, ways[i].n_threads, ways[i].n_batch);
            CHECK(h == c->hash, "%s%s, %u threads, batches of %u: the bits are %016llx", c->name,
                  c->reference ? " (reference)" : "", ways[i].n_threads, ways[i].n_batch,
                  (unsigned long long)h);
        }
    } else {
        CHECK_SKIP("%s: this build has no SIMD kernels", c->name);
    }
    nut_model_free(m);
}

int main(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
#ifndef __GLIBC__
        if (cases[i].reference) {
            CHECK_SKIP("%s (reference): the hashes are of glibc's exp2", cases[i].name);
            continue;
        }
#endif
        check_case(&cases[i]);
    }
    return check_report();
}
