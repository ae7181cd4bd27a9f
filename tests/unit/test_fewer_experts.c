/* Experts that go: assignments beside all permutations, which experts stay, and what is left of the models
 * of all families that have experts. */
#include "changed_faults.h"
#include "compress/assign.h"
#include "compress/experts.h"
#include "long_text.h"
#include "make_family.h"

#include <math.h>

/* ---- assignments ---- */

enum { MOST = 7 };

/* The best of all permutations of the columns from row i on. */
static double best_of_all(const float *gains, size_t n, size_t i, unsigned taken) {
    double best = -INFINITY;
    if (i == n) return 0;
    for (size_t j = 0; j < n; j++)
        if (!(taken >> j & 1))
            best = fmax(best, (double)gains[i * n + j] + best_of_all(gains, n, i + 1, taken | 1u << j));
    return best;
}

static void test_assignments(void) {
    rng random;
    rng_seed(&random, 5);
    for (size_t k = 0; k < 200; k++) {
        float gains[MOST * MOST];
        uint32_t column[MOST];
        const size_t n = 1 + k % MOST;
        unsigned taken = 0;
        double sum = 0;
        nut_error err = {0};
        for (size_t i = 0; i < n * n; i++) {
            const float x = 3 * (float)rng_f64(&random);
            gains[i] = k % 3 ? x - 1 : floorf(x); // and many equal
        }
        CHECK(assign_most(gains, n, column, &err) == NUT_OK, "%s", err.message);
        for (size_t i = 0; i < n; i++) taken |= 1u << column[i], sum += (double)gains[i * n + column[i]];
        CHECK(taken == (1u << n) - 1, "%zu rows have columns of their own", n);
        CHECK(fabs(sum - best_of_all(gains, n, 0, 0)) < 1e-5, "%zu rows: %g", n, sum);
    }
}

static void test_choice(void) {
    static const double uses[8] = {5, 9, 9, 1, 0, 0, 3, 0};
    static const uint32_t all[4] = {0, 1, 2, 6}, grouped[4] = {1, 2, 4, 6};
    uint32_t kept[4];
    experts_choose(uses, 8, 1, 4, kept);
    CHECK(!memcmp(kept, all, sizeof all), "the most used: %u %u %u %u", kept[0], kept[1], kept[2], kept[3]);
    experts_choose(uses, 8, 2, 4, kept);
    CHECK(!memcmp(kept, grouped, sizeof grouped), "as many of each group: %u %u %u %u", kept[0], kept[1],
          kept[2], kept[3]);
}

/* ---- models ---- */

enum { EXPERTS = 6, KEPT = 4 };

/* Of two rows that are opposite one has a score above 0, so that two tokens' experts are never the last two,
 * whose scores are next to 0; of those one is like the first expert, and one like the third. */
static void set_router(make_tensor *t) {
    const size_t n = (size_t)t->dims[0];
    float *x = (float *)(void *)t->data.p;
    for (size_t i = 0; i < n; i++) {
        x[n + i] = -x[i];
        x[3 * n + i] = -x[2 * n + i];
        x[4 * n + i] = 1e-6f * x[i];
        x[5 * n + i] = 1e-6f * x[2 * n + i];
    }
}

/* Expert `to` becomes `from` with its hidden units in another order. */
static void copy_expert(make_gguf *g, int layer, size_t from, size_t to) {
    static const char *const names[] = {"gate", "up", "down"};
    for (int k = 0; k < 3; k++) {
        char name[48];
        snprintf(name, sizeof name, "blk.%d.ffn_%s_exps.weight", layer, names[k]);
        make_tensor *t = make_find(g, name);
        const size_t n_cols = (size_t)t->dims[0], n_rows = (size_t)t->dims[1],
                     n_ff = k == 2 ? n_cols : n_rows;
        float *x = (float *)(void *)t->data.p + to * n_rows * n_cols;
        const float *y = (float *)(void *)t->data.p + from * n_rows * n_cols;
        for (size_t r = 0; r < n_rows; r++)
            for (size_t c = 0; c < n_cols; c++)
                x[r * n_cols + c] =
                    k == 2 ? y[r * n_cols + (5 * c + 3) % n_ff] : y[(5 * r + 3) % n_ff * n_cols + c];
    }
}

/* Layers of the family that have experts; scores that decide have small numbers added, by which experts are
 * known in the result. */
static size_t prepare(make_gguf *g) {
    size_t n = 0;
    for (int l = 0; l < FAMILY_LAYERS; l++) {
        char name[48];
        snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", l);
        make_tensor *router = make_find(g, name);
        if (!router) continue;
        set_router(router);
        snprintf(name, sizeof name, "blk.%d.exp_probs_b.bias", l);
        make_tensor *bias = make_add(g, name, FORMAT_F32, EXPERTS, 0);
        for (int e = 0; e < EXPERTS; e++) ((float *)(void *)bias->data.p)[e] = 1e-9f * (float)(e + 1);
        copy_expert(g, l, 0, 4);
        copy_expert(g, l, 2, 5);
        n++;
    }
    return n;
}

/* A tensor of the result is the beginning of the source's: the last two experts went. */
static void check_tensor(const make_gguf *g, const gguf *out, const changed *c, const char *name,
                         bool exact) {
    const make_tensor *from = make_find((make_gguf *)(uintptr_t)g, name);
    const gguf_tensor *to = tensor_of(out, name);
    const size_t n = from->data.n / sizeof(float) / EXPERTS * KEPT;
    const float *a = (const float *)(const void *)from->data.p,
                *b = (const float *)(const void *)(c->m.out + to->offset);
    double worst = 0;
    CHECK(to->n_bytes == n * sizeof(float), "%s has %llu bytes", name, (unsigned long long)to->n_bytes);
    for (size_t i = 0; i < n && to->n_bytes == n * sizeof(float); i++)
        worst = fmax(worst, fabs((double)(a[i] - b[i])));
    CHECK(exact ? worst == 0 : worst < 1e-6, "%s is %g off", name, worst);
}

static void check_layers(const make_gguf *g, const changed *c, bool merged) {
    static const char *const names[] = {"ffn_gate_inp.weight", "exp_probs_b.bias", "ffn_gate_exps.weight",
                                        "ffn_up_exps.weight", "ffn_down_exps.weight"};
    gguf out = header_of(&c->m);
    for (int l = 0; l < FAMILY_LAYERS; l++)
        for (size_t i = 0; i < 5; i++) {
            char name[48];
            snprintf(name, sizeof name, "blk.%d.%s", l, names[i]);
            if (make_find((make_gguf *)(uintptr_t)g, name)) check_tensor(g, &out, c, name, !merged || i < 2);
        }
    gguf_free(&out);
}

/* Where weights do not depend on the scores of those that were not chosen. */
static void check_logits(const arch *a, const uint8_t *file, size_t n, const changed *c) {
    int32_t ids[N_IDS];
    uint32_t n_vocab = 0;
    double worst = 0, most = 0;
    for (int i = 0; i < N_IDS; i++) ids[i] = 3 + (7 * i + 1) % 250;
    float *x = logits_of(file, n, ids, &n_vocab), *y = logits_of(c->m.out, c->m.n_out, ids, &n_vocab);
    for (uint32_t i = 0; x && y && i < n_vocab; i++) {
        worst = fmax(worst, fabs((double)(x[i] - y[i])));
        most = fmax(most, fabs((double)x[i]));
    }
    const bool apart = a->experts.gating != MODEL_GATE_SOFTMAX || a->experts.normalize;
    CHECK(x && y && (!apart || worst <= 1e-5 * most), "%s: logits are %g of %g off", a->name, worst, most);
    free(x), free(y);
}

static bool test_family(const arch *a, const char *text, size_t n_text) {
    make_gguf g = make_family(a, &family_odd);
    size_t n;
    if (!prepare(&g)) return make_free(&g), false;
    uint8_t *file = make_file(&g, &n);
    changed c = change(file, n, "[{\"step\": \"experts\", \"keep\": 4}]", text, n_text);
    const bool done = c.status == NUT_OK;
    CHECK(done || strstr(c.err.message, "infinite") || strstr(c.err.message, "not apart"), "%s: %s", a->name,
          c.err.message); // random recurrences may grow
    if (done) {
        check_layers(&g, &c, false);
        check_logits(a, file, n, &c);
    }
    free(c.m.out);
    if (done) {
        c = change(file, n, "[{\"step\": \"experts\", \"keep\": 4, \"merge\": true}]", text, n_text);
        const bool biased = c.status == NUT_E_UNSUPPORTED && strstr(c.err.message, "with biases");
        CHECK(c.status == NUT_OK || biased, "%s: %s", a->name, c.err.message);
        if (c.status == NUT_OK) check_layers(&g, &c, true); // equal experts are the same together
        free(c.m.out);
    }
    free(file);
    make_free(&g);
    return done;
}

static void test_families(void) {
    size_t n_text, n_done = 0;
    char *text = long_text(&n_text);
    for (const char *at = arch_names(), *end; *at; at = *end ? end + 2 : end) {
        end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
        const arch *a = arch_find((gguf_str){at, (uint64_t)(end - at)});
        if (a->experts.gating != MODEL_GATE_NONE) n_done += test_family(a, text, n_text);
    }
    CHECK(n_done > 13, "%zu families", n_done);
    free(text);
}

/* Of experts that are all used goes the one that gives least. */
static void test_loss(void) {
    make_gguf g = make_family(arch_find((gguf_str){"qwen3moe", 8}), &family_odd);
    size_t n, n_text;
    char name[48];
    for (int l = 0; l < FAMILY_LAYERS; l++) {
        snprintf(name, sizeof name, "blk.%d.ffn_down_exps.weight", l);
        make_tensor *t = make_find(&g, name);
        const size_t each = t->data.n / sizeof(float) / EXPERTS;
        for (size_t i = each; i < 2 * each; i++) ((float *)(void *)t->data.p)[i] *= 1e-3f; // of expert 1
    }
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    changed c =
        change(file, n, "[{\"step\": \"experts\", \"keep\": 5, \"metric\": \"loss\"}]", text, n_text);
    if (CHECK(c.status == NUT_OK, "%s", c.err.message)) {
        gguf out = header_of(&c.m);
        for (int l = 0; l < FAMILY_LAYERS; l++) {
            snprintf(name, sizeof name, "blk.%d.ffn_up_exps.weight", l);
            const make_tensor *from = make_find(&g, name);
            const gguf_tensor *to = tensor_of(&out, name);
            const size_t each = from->data.n / EXPERTS;
            CHECK(to->n_bytes == 5 * each && !memcmp(c.m.out + to->offset, from->data.p, each) &&
                      !memcmp(c.m.out + to->offset + each, from->data.p + 2 * each, 4 * each),
                  "%s lacks expert 1", name);
        }
        gguf_free(&out);
    }
    free(c.m.out), free(file), free(text);
    make_free(&g);
}

/* ---- what is wrong ---- */

static void test_refusals(void) {
    static const struct {
        const char *family, *recipe, *message;
    } cases[] = {
        {"llama", "[{\"step\": \"experts\"}]", "say how many experts"},
        {"llama", "[{\"step\": \"experts\", \"keep\": 6}]", "has 6 experts in a layer; keep fewer"},
        {"llama", "[{\"step\": \"experts\", \"keep\": 4, \"metric\": \"wanda\"}]",
         "choose one of use, loss"},
        {"llama", "[{\"step\": \"experts\", \"keep\": 1}]", "goes through 2 experts"},
        {"llama", "[{\"step\": \"experts\", \"keep\": 0}]", "a number from 1 to 4096"},
        {"gemma", "[{\"step\": \"experts\", \"keep\": 4}]", "this gemma model has no experts"},
        {"qwen3moe", "[{\"step\": \"channels\", \"share\": 0.5}]",
         "channels cannot be changed in this qwen3moe model"},
    };
    size_t n_text;
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *name = cases[i].family;
        make_gguf g = make_family(arch_find((gguf_str){name, strlen(name)}), &family_odd);
        size_t n;
        uint8_t *file = make_file(&g, &n);
        changed c = change(file, n, cases[i].recipe, text, n_text);
        CHECK(c.status != NUT_OK && strstr(c.err.message, cases[i].message), "%s: %s", cases[i].recipe,
              c.err.message);
        free(c.m.out), free(file);
        make_free(&g);
    }
    free(text);
}

/* Each allocation fails once. */
static void test_memory(void) {
    static const char recipe[] = "[{\"step\": \"experts\", \"keep\": 4, \"merge\": true}]";
    make_gguf g = make_family(arch_find((gguf_str){"qwen3moe", 8}), &family_odd);
    size_t n, n_text;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    change_while_memory_fails(file, n, recipe, text, n_text);
    free(file), free(text);
    make_free(&g);
}

int main(void) {
    test_assignments();
    test_choice();
    test_families();
    test_loss();
    test_refusals();
    test_memory();
    return check_report();
}
