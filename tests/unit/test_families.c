/* Every row of the table of families: a model with random weights and odd sizes, made of the tensors that
 * the row asks for, loads and runs. In one batch, token by token, and after a truncate it gives the same
 * bits, and numbers that are finite. What the numbers must be, test_conformance.c knows. */
#include "families.h"

enum { N_IDS = 23 };

/* ---- runs ---- */

static void fill_ids(int32_t *ids) {
    for (int32_t i = 0; i < N_IDS; i++) ids[i] = 3 + i * 37 % 250;
}

static size_t count_bad(const float *x, size_t n) {
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) bad += !(fabsf(x[i]) < 1e30f);
    return bad;
}

/* The last token's logits after the ids in batches of n. */
static void eval(const arch *a, nut_session *s, const int32_t *ids, size_t n, float *out) {
    nut_error err = {NUT_OK, ""};
    for (size_t i = nut_session_n_past(s); i < N_IDS; i += n)
        if (!CHECK(nut_session_eval(s, ids + i, N_IDS - i < n ? N_IDS - i : n, 1, &err) == NUT_OK, "%s: %s",
                   a->name, err.message))
            return;
    memcpy(out, nut_session_logits(s, 0), MAKE_N_VOCAB * sizeof *out);
}

static void run_causal(const arch *a, nut_session *s) {
    int32_t ids[N_IDS];
    float *whole = malloc(2 * MAKE_N_VOCAB * sizeof *whole), *other = whole + MAKE_N_VOCAB;
    fill_ids(ids);
    eval(a, s, ids, N_IDS, whole);
    CHECK(!count_bad(whole, MAKE_N_VOCAB), "%s: logits are not finite", a->name);
    for (size_t n = 1; n < 8; n += 3) {
        nut_session_truncate(s, n == 1 ? 0 : 9, NULL);
        eval(a, s, ids, n, other);
        CHECK(!memcmp(whole, other, MAKE_N_VOCAB * sizeof *whole), "%s: logits differ in batches of %zu",
              a->name, n);
    }
    free(whole);
}

static void run_both_ways(const arch *a, nut_session *s, uint32_t n_embd) {
    int32_t ids[N_IDS];
    nut_error err = {NUT_OK, ""};
    float *rows = malloc(N_IDS * n_embd * sizeof *rows);
    fill_ids(ids);
    CHECK(nut_session_embed(s, ids, N_IDS, rows, NULL, &err) == NUT_OK, "%s: %s", a->name, err.message);
    CHECK(!count_bad(rows, N_IDS * n_embd), "%s: rows are not finite", a->name);
    free(rows);
}

static void test_family(const arch *a, const family_sizes *sizes) {
    make_gguf g = make_family(a, sizes);
    nut_model *m = NULL;
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    size_t n;
    uint8_t *file = make_file(&g, &n);
    const nut_session_options o = {.n_ctx = 64, .n_threads = 3, .n_batch = 32, .n_logits = 1};
    if (CHECK(make_load(file, n, 0, NULL, &m, &err) == NUT_OK, "%s: %s", a->name, err.message) &&
        CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s: %s", a->name, err.message)) {
        if (m->hp.causal)
            run_causal(a, s);
        else
            run_both_ways(a, s, nut_model_n_embd(m));
    }
    nut_session_free(s);
    nut_model_free(m);
    free(file);
    make_free(&g);
}

static void test_sizes(const arch *a) {
    test_family(a, &family_odd);
    test_family(a, &family_padded);
}

int main(void) {
    const size_t n_families = families_each(test_sizes);
    CHECK(n_families > 60, "only %zu families", n_families);
    return check_report();
}
