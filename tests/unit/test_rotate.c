/* Rotations: what a Hadamard matrix is; models of all families give the same logits before and after, and
 * columns that stood out stand out no more; what cannot be rotated is refused. */
#include "changed.h"
#include "compress/rotation.h"
#include "counting_alloc.h"
#include "make_family.h"

#include <math.h>

static const char heads[] = "[{\"step\": \"rotate\"}]",
                  residual[] = "[{\"step\": \"rotate\", \"residual\": true}]";

/* ---- matrices ---- */

enum { MOST = 576 };
static float elements[MOST * MOST]; // column i at i * n

static void fill_matrix(const rotation *r) {
    for (size_t i = 0; i < r->n; i++) {
        float *x = elements + i * r->n;
        memset(x, 0, r->n * sizeof *x);
        x[i] = 1;
        rotation_apply(r, x);
    }
}

/* The largest element of R^T R - I. */
static double off_unit(size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = i == j ? -1 : 0;
            for (size_t k = 0; k < n; k++) sum += (double)elements[i * n + k] * (double)elements[j * n + k];
            worst = fmax(worst, fabs(sum));
        }
    return worst;
}

/* A Hadamard matrix is orthogonal, and all its elements have one magnitude. Sizes without one here have
 * cosines of at most the root of two. */
static void test_matrices(void) {
    static const struct {
        size_t n;
        double most; // magnitude times the root of n
    } cases[] = {{1, 1},  {2, 1},  {12, 1},  {64, 1},        {80, 1},          {96, 1},        {128, 1},
                 {44, 1}, {24, 1}, {576, 1}, {7, 1.4142136}, {112, 1.4142136}, {13, 1.4142136}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const size_t n = cases[k].n;
        rotation r;
        double most = 0, least = 1e9;
        if (!CHECK(rotation_new(n, 5, &r, NULL) == NUT_OK, "new")) continue;
        fill_matrix(&r);
        for (size_t i = 0; i < n * n; i++) {
            most = fmax(most, (double)fabsf(elements[i]) * sqrt((double)n));
            least = fmin(least, (double)fabsf(elements[i]) * sqrt((double)n));
        }
        CHECK(off_unit(n) < 1e-5, "%zu: R^T R is %g off", n, off_unit(n));
        CHECK(most < cases[k].most + 1e-5, "%zu: an element is %g", n, most);
        if (cases[k].most <= 1) CHECK(least > 1 - 1e-5, "%zu: an element is %g", n, least);
        rotation_free(&r);
    }
}

/* Signs follow the seed. */
static void test_seeds(void) {
    rotation a, b, c;
    float x[64];
    rotation_new(64, 1, &a, NULL), rotation_new(64, 1, &b, NULL), rotation_new(64, 2, &c, NULL);
    CHECK(!memcmp(a.signs, b.signs, sizeof x) && memcmp(a.signs, c.signs, sizeof x) != 0, "signs");
    rotation_free(&a), rotation_free(&b), rotation_free(&c);
}

/* ---- models ---- */

/* How far logits of the recipe's model are off, as a part of the largest; -1: it is refused. */
static double difference(make_gguf *g, const char *recipe, nut_error *err) {
    int32_t ids[N_IDS];
    size_t n;
    uint32_t n_vocab = 0;
    double worst = 0, most = 0;
    for (int i = 0; i < N_IDS; i++) ids[i] = 3 + (7 * i + 1) % 250;
    uint8_t *file = make_file(g, &n);
    changed c = change(file, n, recipe, "some text", 9);
    *err = c.err;
    if (c.status == NUT_OK && CHECK(c.m.done && !c.m.n_wrong && c.m.n_out, "done")) {
        float *x = logits_of(file, n, ids, &n_vocab), *y = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        for (uint32_t i = 0; x && y && i < n_vocab; i++) {
            worst = fmax(worst, fabs((double)(x[i] - y[i])));
            most = fmax(most, fabs((double)x[i]));
        }
        CHECK(x && y && most > 0, "logits");
        free(x), free(y);
    }
    free(c.m.out), free(file);
    return c.status == NUT_OK ? worst / most : -1;
}

/* Each family: whatever its tensors are named and made of, it stays the same model, or is refused. */
static void test_family(const arch *a, const family_sizes *z, size_t n_done[2]) {
    for (int all = 0; all < 2; all++) {
        make_gguf g = make_family(a, z);
        nut_error err = {0};
        const make_tensor *embd = make_find(&g, "token_embd.weight");
        if (all && embd && !make_find(&g, "output.weight"))
            make_add(&g, "output.weight", FORMAT_F32, (size_t)embd->dims[0], (size_t)embd->dims[1]);
        const double off = a->features & ARCH_BOTH_WAYS ? -1 : difference(&g, all ? residual : heads, &err);
        CHECK(off < 2e-4, "%s: %s: logits are %g off", a->name, all ? residual : heads, off);
        n_done[all] += off >= 0;
        CHECK(off >= 0 || a->features & ARCH_BOTH_WAYS || strstr(err.message, "cannot be rotated"), "%s: %s",
              a->name, err.message);
        make_free(&g);
    }
}

static void test_families(const family_sizes *z) {
    size_t n_done[2] = {0};
    for (const char *at = arch_names(), *end; *at; at = *end ? end + 2 : end) {
        end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
        test_family(arch_find((gguf_str){at, (uint64_t)(end - at)}), z, n_done);
    }
    CHECK(n_done[0] > 40 && n_done[1] > 10, "%zu families with values, %zu with residuals", n_done[0],
          n_done[1]);
}

/* Queries, keys and values of a layer in one tensor, with their biases. */
static void fuse(make_gguf *g, int layer) {
    static const char *const parts[] = {"q", "k", "v"}, *const ends[] = {"weight", "bias"};
    for (int i = 0; i < 2; i++) {
        char name[64];
        size_t rows = 0, cols = 0, at = 0;
        make_tensor *from[3];
        for (int p = 0; p < 3; p++) {
            snprintf(name, sizeof name, "blk.%d.attn_%s.%s", layer, parts[p], ends[i]);
            if (!CHECK((from[p] = make_find(g, name)) != NULL, "%s", name)) return;
            rows += (size_t)from[p]->dims[i == 0], cols = (size_t)from[p]->dims[0];
        }
        snprintf(name, sizeof name, "blk.%d.attn_qkv.%s", layer, ends[i]);
        make_tensor *to = make_add(g, name, FORMAT_F32, i ? rows : cols, i ? 0 : rows);
        for (int p = 0; p < 3; at += from[p++]->data.n)
            memcpy(to->data.p + at, from[p]->data.p, from[p]->data.n);
        for (int p = 0; p < 3; p++) {
            snprintf(name, sizeof name, "blk.%d.attn_%s.%s", layer, parts[p], ends[i]);
            make_remove(g, name);
        }
    }
}

static void test_fused(void) {
    for (int all = 0; all < 2; all++) {
        make_gguf g =
            make_model(&(make_options){.arch = "qwen2", .untied = true, .n_embd = 96, .n_layer = 3});
        nut_error err = {0};
        fuse(&g, 1);
        const double off = difference(&g, all ? residual : heads, &err);
        CHECK(off >= 0 && off < 2e-4, "%s: logits are %g off: %s", all ? residual : heads, off, err.message);
        make_free(&g);
    }
}

/* ---- what changes ---- */

static const float *floats_of(const gguf *g, const memory_job *m, const char *name) {
    return (const float *)(const void *)(m->out + tensor_of(g, name)->offset);
}

/* The largest sum of squares of a row, as a part of the mean. */
static double peak(const float *x, size_t n_rows, size_t n_cols) {
    double most = 0, all = 0;
    for (size_t r = 0; r < n_rows; r++) {
        double sum = 0;
        for (size_t c = 0; c < n_cols; c++) sum += (double)x[r * n_cols + c] * (double)x[r * n_cols + c];
        most = fmax(most, sum), all += sum / (double)n_rows;
    }
    return most / all;
}

/* One value of each head is a hundred times the others; afterwards all are alike. What is not rotated keeps
 * its bytes. */
static void test_planted(void) {
    enum { N = 64, HEAD = 16 };
    make_gguf g = make_model(&(make_options){0});
    nut_error err = {0};
    make_tensor *v = make_find(&g, "blk.1.attn_v.weight");
    float *w = (float *)(void *)v->data.p;
    for (size_t r = 3; r < 2 * HEAD; r += HEAD)
        for (size_t c = 0; c < N; c++) w[r * N + c] *= 100;
    CHECK(difference(&g, heads, &err) < 2e-4, "logits");
    size_t n;
    uint8_t *file = make_file(&g, &n);
    changed c = change(file, n, heads, "some text", 9);
    if (CHECK(c.status == NUT_OK, "%s", c.err.message)) {
        gguf out = header_of(&c.m);
        CHECK(peak(w, 2 * HEAD, N) > 10, "before %g", peak(w, 2 * HEAD, N));
        const double after = peak(floats_of(&out, &c.m, "blk.1.attn_v.weight"), 2 * HEAD, N);
        CHECK(after < 1.5, "after %g", after);
        const make_tensor *q = make_find(&g, "blk.1.attn_q.weight");
        CHECK(!memcmp(floats_of(&out, &c.m, "blk.1.attn_q.weight"), q->data.p, q->data.n), "q is the same");
        CHECK(has_text(&out, "nutshell.rotated", "heads") && strstr(c.m.notes, "values of 2 layers"), "%s",
              c.m.notes);
        gguf_free(&out);
    }
    free(c.m.out), free(file);
    make_free(&g);
}

/* A column of the residual that is large in all that gives to it; gains that differ go into matrices. */
static void test_residual(void) {
    enum { N = 64 };
    make_gguf g = make_model(&(make_options){.untied = true, .arch = "qwen2"});
    nut_error err = {0};
    float *w = (float *)(void *)make_find(&g, "token_embd.weight")->data.p;
    const size_t n_vocab = (size_t)make_find(&g, "token_embd.weight")->dims[1];
    for (size_t r = 0; r < n_vocab; r++) w[r * N + 7] *= 100;
    CHECK(difference(&g, residual, &err) < 2e-4, "logits");
    size_t n;
    uint8_t *file = make_file(&g, &n);
    changed c = change(file, n, residual, "some text", 9);
    if (CHECK(c.status == NUT_OK, "%s", c.err.message)) {
        static float columns[N * 1024];
        gguf out = header_of(&c.m);
        const float *to = floats_of(&out, &c.m, "token_embd.weight"),
                    *norm = floats_of(&out, &c.m, "blk.0.ffn_norm.weight");
        for (size_t i = 0; i < n_vocab * N; i++) columns[i % N * n_vocab + i / N] = to[i];
        CHECK(peak(columns, N, n_vocab) < 2, "columns %g", peak(columns, N, n_vocab));
        for (size_t i = 0; i < N; i++) CHECK(norm[i] == 1, "gain %zu is %g", i, (double)norm[i]);
        CHECK(has_text(&out, "nutshell.rotated", "residual"), "it is told");
        gguf_free(&out);
    }
    free(c.m.out), free(file);
    make_free(&g);
}

/* Sources in F16, and quantized ones, which become F16 where they change; a step behind it writes on. */
static void test_types(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_F16});
    nut_error err = {0};
    CHECK(difference(&g, heads, &err) < 5e-3, "F16: %s", err.message);
    make_free(&g);
    g = make_model(&(make_options){.matrices = FORMAT_Q8_0});
    CHECK(difference(&g, heads, &err) < 5e-3, "Q8_0: %s", err.message);
    make_free(&g);
    g = make_model(&(make_options){.seed = 2});
    CHECK(difference(&g, "[{\"step\": \"rotate\"}, {\"step\": \"round\", \"type\": \"q8_0\"}]", &err) < 0.05,
          "a step behind it: %s", err.message);
    make_free(&g);
}

static void test_refusals(void) {
    static const struct {
        const char *arch, *recipe, *message;
    } cases[] = {
        {"qwen2", residual, "\"residual\" needs an output matrix apart from the token embeddings"},
        {"gemma3", residual, "\"residual\" cannot be rotated in this gemma3 model"},
        {"qwen3next", heads, "each of them has a gate of its own"},
        {"mamba", heads, "no layer has heads"},
        {"llama", "[{\"step\": \"calibrate\"}, {\"step\": \"rotate\"}]", "put it before"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_gguf g = make_family(arch_find((gguf_str){cases[i].arch, strlen(cases[i].arch)}), &family_odd);
        size_t n;
        uint8_t *file = make_file(&g, &n);
        changed c = change(file, n, cases[i].recipe, "some text", 9);
        CHECK(c.status != NUT_OK && strstr(c.err.message, cases[i].message), "%s: %s", cases[i].arch,
              c.err.message);
        free(c.m.out), free(file);
        make_free(&g);
    }
}

static void test_memory(void) {
    make_gguf g = make_model(&(make_options){.untied = true, .n_layer = 1});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    for (size_t k = 1; k < 400; k += 1 + k / 8) {
        counting_start(k);
        changed c = change(file, n, residual, "some text", 9);
        CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
        CHECK(c.status == NUT_OK || c.status == NUT_E_MEMORY, "allocation %zu: %s", k, c.err.message);
        counting_stop();
        free(c.m.out), free(c.m.state);
    }
    free(file);
    make_free(&g);
}

int main(void) {
    test_matrices();
    test_seeds();
    test_families(&family_odd);
    test_families(&family_padded);
    test_fused();
    test_planted();
    test_residual();
    test_types();
    test_refusals();
    test_memory();
    return check_report();
}
