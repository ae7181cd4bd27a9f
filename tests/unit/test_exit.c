/*
 * Early exit. A model whose upper layers add nothing (their last products are zeros) makes the same of a
 * token whole as when it leaves below them: logits, keys and values must be the same, bit for bit, in every
 * family that can leave. When a token leaves is compared with the rules, computed here in doubles from the
 * logits and states behind each layer.
 */
#include "families.h"
#include "made_model.h"

#include "run/exit.h"

enum { LAYERS = 6, N_CTX = 64, N_IDS = 40, N_PROMPT = 8 };

static nut_session *open_session(const nut_model *m) {
    const nut_session_options o = {.n_ctx = N_CTX, .n_threads = 2, .n_batch = 8, .lookup = 4};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    return s;
}

static void fill_ids(int32_t *ids, int32_t seed) {
    for (int32_t i = 0; i < N_IDS; i++) ids[i] = 3 + (i * 37 + seed * 11) % 250;
}

static nut_exit_options exit_at(nut_exit_rule rule, float threshold, uint32_t first, uint32_t every) {
    return (nut_exit_options){.rule = rule, .threshold = threshold, .first = first, .every = every};
}

static void set_exit(nut_session *s, nut_exit_rule rule, float threshold, uint32_t first, uint32_t every) {
    const nut_exit_options o = exit_at(rule, threshold, first, every);
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_exit(s, &o, &err) == NUT_OK, "%s", err.message);
}

/* ---- what a token leaves behind ---- */

/* Whether a tensor is the last of a block, or what is added behind it, of a layer from `first` on. */
static bool adds(const char *name, uint32_t first) {
    static const char *const last[] = {"attn_output.", "ffn_down", "post_attention_norm.bias",
                                       "post_ffw_norm.bias", "attn_post_norm.bias"};
    unsigned layer;
    if (sscanf(name, "blk.%u.", &layer) != 1 || layer < first) return false;
    for (size_t i = 0; i < sizeof last / sizeof *last; i++)
        if (strstr(name, last[i])) return true;
    return false;
}

/* Lets layers from `first` on add nothing. */
static void silence(make_gguf *g, uint32_t first) {
    for (size_t i = 0; i < g->n_tensors; i++)
        if (adds(g->tensors[i].name, first)) memset(g->tensors[i].data.p, 0, g->tensors[i].data.n);
}

static void same_cache(const char *what, const nut_session *a, const nut_session *b) {
    size_t n, n_other;
    nut_session_save(a, NULL, 0, &n, NULL);
    uint8_t *bytes = malloc(2 * n);
    if (CHECK(nut_session_save(a, bytes, n, &n, NULL) == NUT_OK &&
                  nut_session_save(b, bytes + n, n, &n_other, NULL) == NUT_OK && n == n_other,
              "%s: the sessions are saved", what))
        CHECK(!memcmp(bytes, bytes + n, n), "%s: keys and values differ", what);
    free(bytes);
}

/* A prompt, and then token by token. */
static void check_silent(const char *name, const nut_model *m, uint32_t first) {
    nut_session *whole = open_session(m), *early = open_session(m);
    int32_t ids[N_IDS];
    bool same = true;
    fill_ids(ids, 1);
    set_exit(early, NUT_EXIT_MARGIN, -1, first, 1);
    CHECK(nut_session_eval(whole, ids, N_PROMPT, 1, NULL) == NUT_OK, "eval");
    CHECK(nut_session_eval(early, ids, N_PROMPT, 1, NULL) == NUT_OK, "eval");
    CHECK(nut_session_exit_figures(early).n_tokens == 0, "%s: a prompt left early", name);
    for (size_t i = N_PROMPT; i < N_IDS; i++) {
        CHECK(nut_session_eval(whole, ids + i, 1, 1, NULL) == NUT_OK, "eval");
        CHECK(nut_session_eval(early, ids + i, 1, 1, NULL) == NUT_OK, "eval");
        const float *a = nut_session_logits(whole, 0), *b = nut_session_logits(early, 0);
        same = same && !memcmp(a, b, nut_model_n_vocab(m) * sizeof *a);
    }
    const nut_exit_figures f = nut_session_exit_figures(early);
    CHECK(same, "%s: logits differ", name);
    CHECK(f.n_tokens == N_IDS - N_PROMPT && f.n_early == f.n_tokens && f.n_layers == first * f.n_tokens &&
              f.n_heads == f.n_tokens,
          "%s: %llu tokens, %llu early, %llu layers", name, (unsigned long long)f.n_tokens,
          (unsigned long long)f.n_early, (unsigned long long)f.n_layers);
    same_cache(name, whole, early);
    nut_session_free(whole), nut_session_free(early);
}

static size_t n_families;

static void test_family(const arch *a) {
    make_gguf g = make_family(a, &family_odd);
    silence(&g, 1);
    nut_model *m = made_model_load(g);
    nut_session *s = m ? open_session(m) : NULL;
    nut_error err = {NUT_OK, ""};
    const bool can = s && nut_session_exit(s, &(nut_exit_options){.rule = NUT_EXIT_COSINE}, &err) == NUT_OK;
    if (s && !can) CHECK(err.code == NUT_E_UNSUPPORTED, "%s: %s", a->name, err.message);
    nut_session_free(s);
    bool scaled = false;
    for (size_t i = 0; can && i < m->hp.n_layer; i++)
        scaled = scaled || m->layers[i].out_scale || m->layers[i].hp.after != BLOCK_NONE;
    if (can && !scaled && !(a->features & ARCH_NORM_AFTER)) n_families++, check_silent(a->name, m, 1);
    nut_model_free(m);
}

/* ---- rules ---- */

static nut_model *model(uint64_t seed) {
    return made_model_load(make_model(
        &(make_options){.matrices = FORMAT_Q8_0, .n_layer = LAYERS, .n_ctx = N_CTX, .seed = seed}));
}

/* Of the token behind a prompt, behind each number of layers. */
typedef struct traces {
    double margin[LAYERS + 1], cosine[LAYERS + 1];
    int32_t best[LAYERS + 1];
} traces;

static double margin_of(const float *x, size_t n, int32_t *best) {
    double sum = 0, second = -INFINITY;
    *best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[*best]) *best = (int32_t)i;
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - (double)x[*best]);
        if ((int32_t)i != *best && (double)x[i] > second) second = (double)x[i];
    }
    return (1 - exp(second - (double)x[*best])) / sum;
}

static double cosine_of(const float *a, const float *b, size_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++)
        ab += (double)a[i] * (double)b[i], aa += (double)a[i] * (double)a[i],
            bb += (double)b[i] * (double)b[i];
    return ab / sqrt(aa * bb);
}

static void trace(nut_session *s, int32_t id, traces *t) {
    const size_t n_embd = nut_model_n_embd(s->seq.ws->model);
    float states[2][256];
    for (uint32_t l = 1; l < LAYERS; l++) {
        set_exit(s, NUT_EXIT_MARGIN, -1, l, 1); // always leaves
        CHECK(nut_session_eval(s, &id, 1, 1, NULL) == NUT_OK, "eval");
        t->margin[l] = margin_of(nut_session_logits(s, 0), nut_model_n_vocab(s->seq.ws->model), &t->best[l]);
        memcpy(states[l & 1], s->seq.ws->residual, n_embd * sizeof(float));
        t->cosine[l] = l > 1 ? cosine_of(states[0], states[1], n_embd) : -2;
        nut_session_truncate(s, N_PROMPT, NULL);
    }
}

/* Where the rule lets the token leave, by the trace. */
static uint32_t expected(const traces *t, const nut_exit_options *o) {
    uint32_t same = 0;
    int32_t last = -1;
    for (uint32_t l = o->first; l < LAYERS; l += o->every) {
        same = t->best[l] == last ? same + 1 : 1;
        last = t->best[l];
        if ((o->rule == NUT_EXIT_MARGIN && t->margin[l] >= (double)o->threshold) ||
            (o->rule == NUT_EXIT_COSINE && t->cosine[l] >= (double)o->threshold) ||
            (o->rule == NUT_EXIT_PATIENCE && same >= (uint32_t)o->threshold))
            return l;
    }
    return LAYERS;
}

static void check_rule(nut_session *s, int32_t id, const traces *t, nut_exit_options o, uint32_t *left) {
    set_exit(s, o.rule, o.threshold, o.first, o.every);
    CHECK(nut_session_eval(s, &id, 1, 1, NULL) == NUT_OK, "eval");
    const nut_exit_figures f = nut_session_exit_figures(s);
    CHECK(f.n_layers == expected(t, &o), "%s %g: left behind %llu layers, not %u", nut_exit_name(o.rule),
          (double)o.threshold, (unsigned long long)f.n_layers, expected(t, &o));
    left[f.n_layers]++;
    nut_session_truncate(s, N_PROMPT, NULL);
}

/* Thresholds in the middle of what comes up, so that rounding does not decide. */
static void test_rules(void) {
    static const float margins[] = {0.02f, 0.05f, 0.1f}, cosines[] = {0.8f, 0.9f, 0.95f};
    uint32_t left[LAYERS + 1] = {0};
    for (int32_t seed = 0; seed < 12; seed++) {
        nut_model *m = model((uint64_t)seed + 1);
        nut_session *s = open_session(m);
        int32_t ids[N_IDS];
        traces t = {0};
        fill_ids(ids, seed);
        CHECK(nut_session_eval(s, ids, N_PROMPT, 0, NULL) == NUT_OK, "eval");
        trace(s, ids[N_PROMPT], &t);
        for (int i = 0; i < 3; i++) {
            check_rule(s, ids[N_PROMPT], &t, exit_at(NUT_EXIT_MARGIN, margins[i], 1, 1), left);
            check_rule(s, ids[N_PROMPT], &t, exit_at(NUT_EXIT_COSINE, cosines[i], 2, 1), left);
            check_rule(s, ids[N_PROMPT], &t, exit_at(NUT_EXIT_PATIENCE, (float)i + 2, 1, 1), left);
            check_rule(s, ids[N_PROMPT], &t, exit_at(NUT_EXIT_MARGIN, margins[i], 1, 2), left);
        }
        nut_session_free(s), nut_model_free(m);
    }
    for (uint32_t l = 1; l <= LAYERS; l++) CHECK(left[l] > 0, "no token left behind %u layers", l);
}

/* ---- a threshold that falls ---- */

/* CALM, equation 5, over 8 tokens with a decay of 4; Python: 0.9 * 0.2 + 0.1 * math.exp(-4 * t / 8) */
static const double falling[] = {0.28, 0.240653066, 0.2167879441, 0.202313016, 0.1935335283, 0.1882084999};

/* Behind prompts of several lengths. */
static void test_falling(void) {
    nut_model *m = model(1);
    nut_session *s = open_session(m);
    const nut_exit_options o = {
        .rule = NUT_EXIT_MARGIN, .threshold = 0.2f, .first = 1, .every = 1, .length = 8};
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_exit(s, &o, &err) == NUT_OK, "%s", err.message);
    for (int32_t begin = 3; begin < 12; begin += 4) {
        int32_t ids[N_IDS];
        fill_ids(ids, begin);
        nut_session_truncate(s, 0, NULL);
        CHECK(nut_session_eval(s, ids, (size_t)begin, 0, NULL) == NUT_OK, "eval");
        for (size_t i = 0; i < sizeof falling / sizeof *falling; i++) {
            CHECK(nut_session_eval(s, ids + begin + i, 1, 1, NULL) == NUT_OK, "eval");
            const double have = (double)s->seq.exit->threshold;
            CHECK(fabs(have - falling[i]) < 1e-6, "token %zu: %g, not %g", i, have, falling[i]);
        }
    }
    nut_session_free(s), nut_model_free(m);
}

/* ---- options ---- */

static void test_text(void) {
    nut_model *m = model(3);
    nut_session *plain = open_session(m), *s = open_session(m);
    int32_t ids[N_IDS], texts[3][16];
    nut_generate_options o = nut_generate_defaults();
    o.temperature = 0, o.max_tokens = 16, o.ignore_eos = true;
    fill_ids(ids, 3);
    for (int round = 0; round < 3; round++) {
        nut_session *by = round ? s : plain;
        nut_step step = {0};
        size_t n = 0;
        if (round == 1) set_exit(s, NUT_EXIT_MARGIN, -1, 1, 0);
        if (round == 2) CHECK(nut_session_exit(s, NULL, NULL) == NUT_OK, "off");
        CHECK(nut_session_truncate(by, 0, NULL) == NUT_OK, "truncate");
        CHECK(nut_generate_begin(by, ids, N_PROMPT, &o, NULL) == NUT_OK, "begin");
        while (nut_generate_step(by, &step, NULL) == NUT_OK && step.kind != NUT_STEP_DONE)
            if (step.kind == NUT_STEP_TOKEN) texts[round][n++] = step.token;
        CHECK(n == 16, "%zu tokens", n);
        if (round == 1) CHECK(step.n_drafted == 0, "tokens were drafted");
        if (round == 1) CHECK(nut_session_exit_figures(s).n_early == 15, "not all left early");
    }
    CHECK(memcmp(texts[0], texts[1], sizeof *texts), "one layer of six writes the same text");
    CHECK(!memcmp(texts[0], texts[2], sizeof *texts), "the text stays another one without exits");
    CHECK(nut_session_exit_figures(s).n_tokens == 0, "figures stay");
    nut_session_free(s), nut_session_free(plain), nut_model_free(m);
}

static void refuse(nut_session *s, nut_exit_options o, const char *words) {
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_exit(s, &o, &err) == NUT_E_ARGUMENT && strstr(err.message, words),
          "\"%s\" lacks \"%s\"", err.message, words);
}

static void test_refusals(void) {
    nut_model *m = model(1);
    nut_session *s = open_session(m);
    refuse(s, (nut_exit_options){.rule = NUT_EXIT_COUNT}, "no rule");
    refuse(s, exit_at(NUT_EXIT_MARGIN, 1.5f, 0, 0), "is -1 to 1, not 1.5");
    refuse(s, exit_at(NUT_EXIT_COSINE, NAN, 0, 0), "is -1 to 1");
    refuse(s, exit_at(NUT_EXIT_PATIENCE, 0, 0, 0), "is 1 to 6");
    refuse(s, exit_at(NUT_EXIT_MARGIN, 0.5f, LAYERS, 0), "1 to 5 layers, not 6");
    refuse(s, (nut_exit_options){.rule = NUT_EXIT_PATIENCE, .threshold = 2, .first = 1, .length = 9},
           "cannot fall");
    refuse(s, (nut_exit_options){.threshold = 0.5f, .first = 1, .decay = 2}, "must be given");
    CHECK(!s->seq.exit, "a refused exit is there");
    nut_session_free(s), nut_model_free(m);
}

int main(void) {
    families_each(test_family);
    CHECK(n_families > 25, "only %zu families can leave", n_families);
    for (uint32_t first = 1; first < LAYERS; first += 2) {
        make_gguf g = make_model(
            &(make_options){.matrices = FORMAT_Q8_0, .n_layer = LAYERS, .n_ctx = N_CTX, .seed = 9});
        silence(&g, first);
        nut_model *m = made_model_load(g);
        check_silent("six layers", m, first);
        nut_model_free(m);
    }
    test_rules();
    test_falling();
    test_text();
    test_refusals();
    return check_report();
}
