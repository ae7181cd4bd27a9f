/*
 * Fewer experts. With k at most a model must compute, bit for bit, what it computes with a file that asks
 * for k; how many make up a mass of the router's weights is counted here from the router's inputs, in
 * doubles.
 */
#include "families.h"
#include "made_model.h"

#include "run/block.h"

enum { N_IDS = 23, N_EXPERT = 6 };

static nut_model *load(const arch *a, uint32_t n_used) {
    make_gguf g = make_family(a, &family_odd);
    family_use_experts(&g, a, n_used);
    return made_model_load(g);
}

static nut_session *open_session(const nut_model *m) {
    const nut_session_options o = {.n_ctx = 64, .n_threads = 2, .n_batch = 32, .n_logits = 1};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    return s;
}

static void set_experts(nut_session *s, uint32_t most, float mass) {
    const nut_experts_options o = {most, mass};
    nut_error err = {NUT_OK, ""};
    CHECK(nut_workspace_experts(nut_session_workspace(s), &o, &err) == NUT_OK, "%s", err.message);
}

/* The last token's logits after ids in batches of n. */
static void eval(nut_session *s, size_t n, float *out) {
    int32_t ids[N_IDS];
    for (int32_t i = 0; i < N_IDS; i++) ids[i] = 3 + i * 37 % 250;
    nut_session_truncate(s, 0, NULL);
    for (size_t i = 0; i < N_IDS; i += n)
        CHECK(nut_session_eval(s, ids + i, N_IDS - i < n ? N_IDS - i : n, 1, NULL) == NUT_OK, "eval");
    memcpy(out, nut_session_logits(s, 0), nut_model_n_vocab(s->seq.ws->model) * sizeof *out);
}

static size_t n_families;

/* Of a file that asks for `most` of 3, or of 3 with that option. */
static void test_most(const arch *a) {
    for (uint32_t most = 1; a->experts.gating != MODEL_GATE_NONE && most < 3; most++) {
        nut_model *all = load(a, 3), *few = load(a, most);
        if (!all || !few) return;
        const uint32_t n_vocab = nut_model_n_vocab(all);
        const bool has = all->hp.experts.n > 0;
        nut_session *s = open_session(all), *other = open_session(few);
        float *logits = malloc(3 * n_vocab * sizeof *logits), *expected = logits + n_vocab,
              *whole = expected + n_vocab;
        if (has) {
            n_families++;
            eval(s, 1, whole);
            set_experts(s, most, 0);
            for (size_t n = 1; n < N_IDS; n += 10) {
                eval(other, n, expected);
                eval(s, n, logits);
                CHECK(!memcmp(logits, expected, n_vocab * sizeof *logits),
                      "%s: %u experts of 3 are not those of a file with %u, in batches of %zu", a->name,
                      most, most, n);
            }
            const nut_experts_figures f = nut_workspace_experts_figures(nut_session_workspace(s));
            CHECK(f.n_asked > 0 && f.n_run * 3 == f.n_asked * most, "%s: %llu of %llu experts ran", a->name,
                  (unsigned long long)f.n_run, (unsigned long long)f.n_asked);
            CHECK(nut_workspace_experts(nut_session_workspace(s), NULL, NULL) == NUT_OK, "off");
            eval(s, 1, logits);
            CHECK(!memcmp(logits, whole, n_vocab * sizeof *logits), "%s: not whole again", a->name);
        }
        free(logits);
        nut_session_free(s), nut_session_free(other);
        nut_model_free(all), nut_model_free(few);
    }
}

/* ---- mass ---- */

typedef struct counts {
    const nut_model *m;
    double mass;
    size_t n_run, n_near; // experts that make the mass up; tokens where rounding may decide
} counts;

static void count_token(counts *c, const linear *router, const float *x) {
    double p[N_EXPERT], sum = 0, all = 0, part = 0;
    float row[256];
    for (size_t e = 0; e < N_EXPERT; e++) {
        matrix_row(&router->w, e, row);
        p[e] = 0;
        for (size_t i = 0; i < c->m->hp.n_embd; i++) p[e] += (double)row[i] * (double)x[i];
    }
    for (size_t e = 0; e < N_EXPERT; e++) sum += p[e] = exp(p[e]);
    for (size_t i = 0; i < N_EXPERT; i++) // largest first
        for (size_t k = i + 1; k < N_EXPERT; k++)
            if (p[k] > p[i]) sum = p[i], p[i] = p[k], p[k] = sum;
    const size_t n_used = c->m->hp.experts.n_used;
    for (size_t i = 0; i < n_used; i++) all += p[i];
    for (size_t i = 0; i < n_used; i++) {
        c->n_run++;
        part += p[i] / all;
        if (fabs(part - c->mass) < 1e-4) c->n_near++;
        if (part >= c->mass) break;
    }
}

static void tap(void *ctx, const linear *l, const float *x, size_t n_tokens, bool again) {
    counts *c = ctx;
    (void)again;
    for (size_t i = 0; i < c->m->hp.n_layer; i++)
        if (c->m->layers[i].ffn == (const void *)l) // its router comes first
            for (size_t t = 0; t < n_tokens; t++) count_token(c, l, x + t * c->m->hp.n_embd);
}

static void test_mass(const char *family, float mass, double least, double most) {
    const arch *a = arch_find((gguf_str){family, strlen(family)});
    nut_model *m = load(a, 4);
    nut_session *s = open_session(m);
    float logits[MAKE_N_VOCAB];
    counts c = {.m = m, .mass = (double)mass};
    set_experts(s, 0, mass);
    nut_session_workspace(s)->tap = tap, nut_session_workspace(s)->tap_ctx = &c;
    eval(s, 5, logits);
    const nut_experts_figures f = nut_workspace_experts_figures(nut_session_workspace(s));
    const double share = (double)f.n_run / (double)f.n_asked;
    CHECK(f.n_run + c.n_near >= c.n_run && f.n_run <= c.n_run + c.n_near, "%s: %llu experts ran, not %zu",
          family, (unsigned long long)f.n_run, c.n_run);
    CHECK(share >= least && share <= most, "%s: a mass of %g is %.3f of the experts", family, (double)mass,
          share);
    nut_session_free(s), nut_model_free(m);
}

static void expect(nut_session *s, nut_experts_options o, nut_status status, const char *words) {
    nut_error err = {NUT_OK, ""};
    CHECK(nut_workspace_experts(nut_session_workspace(s), &o, &err) == status && strstr(err.message, words),
          "\"%s\" lacks \"%s\"", err.message, words);
}

static void test_refusals(void) {
    nut_model *dense = made_model_load(make_model(&(make_options){.seed = 1})),
              *m = load(arch_find((gguf_str){"olmoe", 5}), 2);
    nut_session *a = open_session(dense), *b = open_session(m);
    expect(a, (nut_experts_options){1, 0}, NUT_E_UNSUPPORTED, "has no experts");
    expect(b, (nut_experts_options){3, 0}, NUT_E_ARGUMENT, "asks for 2 experts");
    expect(b, (nut_experts_options){0, 1.5f}, NUT_E_ARGUMENT, "is 0 to 1, not 1.5");
    expect(b, (nut_experts_options){0, NAN}, NUT_E_ARGUMENT, "is 0 to 1");
    nut_session_free(a), nut_session_free(b);
    nut_model_free(dense), nut_model_free(m);
}

int main(void) {
    families_each(test_most);
    CHECK(n_families > 20, "only %zu models with experts", n_families);
    test_mass("olmoe", 0.6f, 0.3, 0.9);
    test_mass("olmoe", 0.9f, 0.7, 1);
    test_mass("qwen3moe", 0.6f, 0.3, 0.9);
    test_mass("qwen3moe", 1e-6f, 0.25, 0.25);
    test_mass("qwen3moe", 1, 1, 1);
    test_refusals();
    return check_report();
}
