/*
 * The search for the layers that a draft does without. Layers that add nothing (their last products are
 * zeros) can be left out for free, so the search must find them all, and that drafts without them are always
 * right.
 */
#include "check.h"
#include "made_model.h"
#include "make_family.h"

#include "nutshell_dynamic.h"
#include "run/session.h"

enum { LAYERS = 7, N_CTX = 128 };

static nut_model *model(const bool *silent) {
    make_gguf g =
        make_model(&(make_options){.matrices = FORMAT_Q8_0, .n_layer = LAYERS, .n_ctx = N_CTX, .seed = 21});
    for (size_t i = 0; i < g.n_tensors; i++) {
        unsigned layer;
        make_tensor *t = &g.tensors[i];
        if (sscanf(t->name, "blk.%u.", &layer) == 1 && silent[layer] &&
            (strstr(t->name, "attn_output") || strstr(t->name, "ffn_down")))
            memset(t->data.p, 0, t->data.n);
    }
    return made_model_load(g);
}

static nut_status find(const nut_model *m, const nut_draft_search_options *o, nut_draft_found *found,
                       nut_job **job, nut_error *err) {
    nut_job_event e = {.kind = NUT_JOB_NOTE};
    nut_status status = nut_draft_search_begin(m, o, job, err);
    if (status == NUT_OK)
        CHECK(nut_draft_search_get(*job, found, NULL) == NUT_E_STATE, "a result before the search is done");
    while (status == NUT_OK && e.kind != NUT_JOB_DONE) status = nut_job_step(*job, &e, err);
    return status == NUT_OK ? nut_draft_search_get(*job, found, err) : status;
}

static void test_silent(const bool *silent, size_t n_silent, size_t least, size_t most) {
    nut_model *m = model(silent);
    const nut_draft_search_options o = {.n_tokens = 200};
    nut_draft_found f = {0};
    nut_job *job = NULL;
    nut_error err = {NUT_OK, ""};
    size_t found = 0;
    CHECK(find(m, &o, &f, &job, &err) == NUT_OK, "%s", err.message);
    for (size_t i = 0; i < f.n_layers; i++) found += silent[f.layers[i]];
    CHECK(found >= least && f.n_layers <= most, "%zu of %zu silent layers were found, among %zu", found,
          n_silent, f.n_layers);
    if (found == f.n_layers)
        CHECK(f.overlap > 0.9999 && f.overlap < 1.0001 && f.agreement > 0.9999,
              "drafts without silent layers are kept in %.5f and %.5f", f.overlap, f.agreement);
    CHECK(f.cost > 0 && f.cost < 1 && f.gain > 0 && f.length >= 1, "cost %g, gain %g, length %u", f.cost,
          f.gain, f.length);
    nut_job_free(job);
    nut_model_free(m);
}

/* One window of a text, whose last tokens are drafted: how often a session's own draft says what the model
 * says. */
static void test_worth(void) {
    enum { WINDOW = 64, EACH = 8 };
    static const bool silent[LAYERS] = {false, false, true, false, false, false, true};
    nut_model *m = model(silent);
    const nut_session_options so = {.n_threads = 1, .lookup = 1};
    nut_session *s = NULL;
    nut_draft_found f = {0};
    nut_job *job = NULL;
    size_t n, n_same = 0;
    int32_t ids[WINDOW + 1];
    const char *text = "The quick brown fox jumps over the lazy dog; 12 wizards vexed by jinxed quilts hop. "
                       "Pack my box with five dozen liquor jugs; sphinx of black quartz, judge my vow.";
    CHECK(nut_tokenize(m, text, strlen(text), NUT_TOKENIZE_ADD_BOS, ids, WINDOW + 1, &n, NULL) != NUT_OK ||
              n >= WINDOW,
          "text");
    const nut_draft_search_options o = {.text = text, .n_text = strlen(text), .n_tokens = EACH};
    if (!CHECK(find(m, &o, &f, &job, NULL) == NUT_OK, "search")) return;
    CHECK(nut_session_new(m, &so, &s, NULL) == NUT_OK, "session");
    for (uint32_t pos = WINDOW - EACH; pos < WINDOW; pos++) {
        int32_t best = 0, drafted[2] = {ids[pos], -1};
        nut_generate_options go = nut_generate_defaults();
        go.temperature = 0;
        nut_session_truncate(s, 0, NULL);
        CHECK(nut_session_eval(s, ids, pos + 1, 1, NULL) == NUT_OK, "eval");
        const float *logits = nut_session_logits(s, 0);
        for (int32_t i = 1; i < (int32_t)nut_model_n_vocab(m); i++)
            if (logits[i] > logits[best]) best = i;
        nut_session_truncate(s, pos, NULL);
        CHECK(nut_session_draft_without(s, f.layers, f.n_layers, NULL) == NUT_OK, "layers");
        s->generation.draft = (draft){.one = 1, .credit = DRAFT_CREDIT, .right[DRAFT_LAYERS] = 1};
        CHECK(s->drafter->calls->begin(s, &go, NULL) == NUT_OK, "begin");
        s->drafter->seconds = 0.001;
        CHECK(s->drafter->calls->make(s, drafted, 1) == 1, "no draft is made");
        n_same += drafted[1] == best;
    }
    CHECK(fabs(f.agreement - (double)n_same / (double)EACH) < 1e-9,
          "%zu of %d drafts are right, not a share of %g", n_same, EACH, f.agreement);
    nut_job_free(job);
    nut_session_free(s), nut_model_free(m);
}

static void expect(const nut_model *m, nut_draft_search_options o, nut_status status, const char *words) {
    nut_job *job = NULL;
    nut_draft_found f;
    nut_error err = {NUT_OK, ""};
    CHECK(find(m, &o, &f, &job, &err) == status && strstr(err.message, words), "\"%s\" lacks \"%s\"",
          err.message, words);
    nut_job_free(job);
}

static void test_refusals(void) {
    nut_model *one = made_model_load(make_model(&(make_options){.n_layer = 1, .n_ctx = N_CTX, .seed = 1})),
              *brief = made_model_load(make_model(&(make_options){.n_layer = 2, .n_ctx = 32, .seed = 1})),
              *states = made_model_load(make_family(arch_find((gguf_str){"mamba", 5}), &family_odd));
    expect(one, (nut_draft_search_options){0}, NUT_E_ARGUMENT, "can be left out");
    expect(brief, (nut_draft_search_options){0}, NUT_E_UNSUPPORTED, "needs a context of 64");
    expect(states, (nut_draft_search_options){0}, NUT_E_UNSUPPORTED, "a state");
    expect(one, (nut_draft_search_options){.text = "too short", .n_text = 9}, NUT_E_ARGUMENT,
           "fewer than 64");
    nut_model_free(one), nut_model_free(brief), nut_model_free(states);
}

int main(void) {
    static const bool some[LAYERS] = {false, true, false, true, true, false, false},
                      all[LAYERS] = {true, true, true, true, true, true, true};
    test_silent(some, 3, 3, LAYERS - 1);
    test_silent(all, LAYERS, LAYERS - 1, LAYERS - 1);
    test_worth();
    test_refusals();
    return check_report();
}
