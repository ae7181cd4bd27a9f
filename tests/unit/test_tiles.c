/*
 * Attention over some tiles of positions (src/run/attend.c): what golden/own.py computes is compared by
 * test_conformance.c. Here: tiles that a token does not see are not read.
 */
#include "check.h"
#include "model_file.h"

#include "run/session.h"

#include <stdlib.h>
#include <string.h>

enum { N = 200 }; // tile 3 of 64 sees tiles 1 and 3

/* The logits of token N, with the pages of some tiles spoiled before it is read. */
static float *logits_with(const nut_model *m, nut_kv_type kv, unsigned spoiled) {
    const nut_session_options o = {.n_ctx = 256, .n_threads = 2, .kv_type = kv};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    int32_t ids[N + 1];
    const size_t n_bytes = nut_model_n_vocab(m) * sizeof(float);
    float *logits = calloc(1, n_bytes);
    for (int32_t i = 0; i <= N; i++) ids[i] = (i * 53 + i / 7) % 256;
    if (!CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message)) return logits;
    CHECK(nut_session_eval(s, ids, N, 1, &err) == NUT_OK, "%s", err.message);
    for (uint32_t i = 0; i < s->seq.n_pages; i++)
        if (spoiled >> i & 1) memset(s->seq.pages[i], 0x3f, s->seq.ws->pages.page_bytes);
    CHECK(nut_session_eval(s, ids + N, 1, 1, &err) == NUT_OK, "%s", err.message);
    memcpy(logits, nut_session_logits(s, 0), n_bytes);
    nut_session_free(s);
    return logits;
}

static void check_kind(const nut_model *m, nut_kv_type kv) {
    const size_t n = nut_model_n_vocab(m) * sizeof(float);
    float *plain = logits_with(m, kv, 0), *others = logits_with(m, kv, 1 | 4), *seen = logits_with(m, kv, 2);
    CHECK(!memcmp(plain, others, n), "cache %d: tiles that are not seen were read", kv);
    CHECK(memcmp(plain, seen, n), "cache %d: a tile that is seen was not read", kv);
    free(plain), free(others), free(seen);
}

int main(void) {
    const nut_load_options o = nut_load_defaults();
    nut_error err = {NUT_OK, ""};
    nut_model *m = model_file_load("tests/golden/families/nutshell-tiles-strided.gguf", &o, &err);
    if (!CHECK(m, "%s", err.message)) return check_report();
    for (int kv = 0; kv < NUT_KV_COUNT; kv++) check_kind(m, (nut_kv_type)kv);
    nut_model_free(m);
    return check_report();
}
