/*
 * A narrower residual: components, fits and gains beside NumPy's (tests/golden/width.py); models of all
 * families whose residual has fewer directions than columns, which compute the same without the others; what
 * the file says; what is refused.
 */
#include "../golden/width.h"
#include "changed_faults.h"
#include "compress/width.h"
#include "long_text.h"
#include "make_family.h"

/* ---- components ---- */

/* C of a norm as tests/golden/width.py has it, its half. */
static void make_half(int site, float *half) {
    static double sums[WIDTH_COLS * (WIDTH_COLS + 1) / 2];
    double x[WIDTH_COLS];
    memset(sums, 0, sizeof sums);
    for (int t = 0; t < WIDTH_TOKENS; t++) {
        double squares = 0;
        for (int c = 0; c < WIDTH_COLS; c++) {
            x[c] =
                (sin(0.37 * t * (c + 1) + c + site) + sin(1.1 * t + site) + 0.3 * cos(0.9 * t * (c % 5))) *
                (1 + c % (3 + site));
            squares += x[c] * x[c] / (double)WIDTH_COLS;
        }
        for (int i = 0; i < WIDTH_COLS; i++)
            for (int j = 0; j <= i; j++) sums[i * (i + 1) / 2 + j] += x[i] * x[j] / squares;
    }
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        half[i] = (float)(sums[i] / (double)WIDTH_TOKENS);
}

static void add_half(const float *half, double *all) {
    for (size_t i = 0; i < WIDTH_COLS; i++)
        for (size_t j = 0; j < WIDTH_COLS; j++)
            all[i * WIDTH_COLS + j] +=
                (double)(i >= j ? half[i * (i + 1) / 2 + j] : half[j * (j + 1) / 2 + i]);
}

static void check_reader(dense *d, const float *half, const double *basis, int site) {
    static double reader[WIDTH_COLS * WIDTH_LEFT];
    double gain = 0, worst = 0;
    nut_error err = {0};
    CHECK(width_read(d, half, basis, WIDTH_COLS, WIDTH_LEFT, reader, &gain, &err) == NUT_OK, "%s",
          err.message);
    CHECK(fabs(gain - width_gains[site]) < 1e-6, "gain %.10g, not %.10g", gain, width_gains[site]);
    for (size_t i = 0; i < WIDTH_COLS; i++) {
        double sum = 0, squares = 0;
        for (size_t c = 0; c < WIDTH_COLS; c++) {
            double x = 0;
            for (size_t k = 0; k < WIDTH_LEFT; k++)
                x += reader[i * WIDTH_LEFT + k] * basis[k * WIDTH_COLS + c];
            sum += x, squares += x * x;
        }
        worst =
            fmax(worst, fmax(fabs(sum - width_sums[site][i][0]), fabs(squares - width_sums[site][i][1])));
    }
    CHECK(worst < 1e-5, "norm %d: rows are %g off", site, worst);
}

static void test_components(void) {
    static float halves[2][WIDTH_COLS * (WIDTH_COLS + 1) / 2];
    static double all[WIDTH_COLS * WIDTH_COLS], basis[WIDTH_LEFT * WIDTH_COLS];
    threads *team;
    dense *d;
    double part = 0;
    nut_error err = {0};
    threads_new(1, &team, NULL);
    dense_new(team, &d, NULL);
    for (int site = 0; site < 2; site++) make_half(site, halves[site]), add_half(halves[site], all);
    CHECK(width_basis(all, WIDTH_COLS, WIDTH_LEFT, basis, &part, &err) == NUT_OK, "%s", err.message);
    CHECK(fabs(part - width_part) < 1e-6, "part %.10g, not %.10g", part, width_part);
    for (int site = 0; site < 2; site++) check_reader(d, halves[site], basis, site);
    memset(halves, 0, sizeof halves);
    CHECK(width_read(d, halves[0], basis, WIDTH_COLS, WIDTH_LEFT, NULL, &part, &err) == NUT_E_CORRUPT &&
              strstr(err.message, "gives nothing"),
          "%s", err.message);
    dense_free(d);
    threads_free(team);
}

static void test_left(void) {
    size_t unit;
    CHECK(width_left(576, 0.1, &unit) == 512 && unit == 32, "576: by %zu", unit);
    CHECK(width_left(64, 0.125, &unit) == 56 && unit == 8, "64: by %zu", unit);
    CHECK(width_left(40, 0.1, &unit) == 36 && unit == 4, "40: by %zu", unit);
    CHECK(width_left(7, 0.5, &unit) == 4 && unit == 1, "7: by %zu", unit);
}

/* ---- models ---- */

/* Number i of direction k of those that the residual lacks: of the cosine transform of n. */
static double direction(size_t k, size_t i, size_t n) {
    return sqrt(2.0 / (double)n) *
           cos(3.14159265358979324 * ((double)i + 0.5) * (double)(k + 1) / (double)n);
}

/* Takes n_less directions out of n numbers that lie `step` apart. */
static void project(float *x, size_t n, size_t step, size_t n_less) {
    for (size_t k = 0; k < n_less; k++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += direction(k, i, n) * (double)x[i * step];
        for (size_t i = 0; i < n; i++) x[i * step] = (float)((double)x[i * step] - sum * direction(k, i, n));
    }
}

static void project_rows(make_gguf *g, const char *name, size_t n_less) {
    make_tensor *t = make_find(g, name);
    for (size_t r = 0; t && r < (t->n_dims > 1 ? t->dims[1] : 1); r++)
        project((float *)(void *)t->data.p + r * (size_t)t->dims[0], (size_t)t->dims[0], 1, n_less);
}

static void project_columns(make_gguf *g, const char *name, size_t n_less) {
    make_tensor *t = make_find(g, name);
    for (size_t c = 0; t && c < t->dims[0]; c++)
        project((float *)(void *)t->data.p + c, (size_t)t->dims[1], (size_t)t->dims[0], n_less);
}

/* All that gives to the residual lacks n_less directions of it. */
static void make_flat(make_gguf *g, int n_layer, size_t n_less) {
    static const char *const matrices[] = {"attn_output.weight", "ffn_down.weight"}, *const biases[] = {
                                                                                         "attn_output.bias",
                                                                                         "ffn_down.bias"};
    char name[64];
    project_rows(g, "token_embd.weight", n_less);
    for (int l = 0; l < n_layer; l++)
        for (size_t i = 0; i < 2; i++) {
            snprintf(name, sizeof name, "blk.%d.%s", l, matrices[i]);
            project_columns(g, name, n_less);
            snprintf(name, sizeof name, "blk.%d.%s", l, biases[i]);
            project_rows(g, name, n_less);
        }
}

/* How far logits of the recipe's model are off, as a part of the largest; -1: it is refused. */
static double difference(make_gguf *g, const char *recipe, changed *out) {
    int32_t ids[N_IDS];
    size_t n, n_text;
    uint32_t n_vocab = 0;
    double worst = 0, most = 0;
    char *text = long_text(&n_text);
    for (int i = 0; i < N_IDS; i++) ids[i] = 3 + (7 * i + 1) % 250;
    uint8_t *file = make_file(g, &n);
    *out = change(file, n, recipe, text, n_text);
    if (out->status == NUT_OK && CHECK(out->m.done && !out->m.n_wrong && out->m.n_out, "done")) {
        float *x = logits_of(file, n, ids, &n_vocab),
              *y = logits_of(out->m.out, out->m.n_out, ids, &n_vocab);
        for (uint32_t i = 0; x && y && i < n_vocab; i++) {
            worst = fmax(worst, fabs((double)(x[i] - y[i])));
            most = fmax(most, fabs((double)x[i]));
        }
        CHECK(x && y && most > 0, "logits");
        free(x), free(y);
    }
    free(file), free(text);
    return out->status == NUT_OK ? worst / most : -1;
}

/* Each family, whatever its tensors are named and made of: it computes the same without the columns that its
 * residual does not need, or is refused. */
static bool test_family(const arch *a) {
    static const char *const recipes[] = {
        "[{\"step\": \"width\", \"share\": 0.1, \"window\": 16}]",
        "[{\"step\": \"width\", \"share\": 0.1, \"window\": 16, \"alone\": true}]"};
    bool done = false;
    for (int k = 0; k < 2; k++) {
        make_gguf g = make_family(a, &family_odd);
        changed c;
        if (a->features & ARCH_ANY_BIAS && make_find(&g, "blk.1.ffn_down.weight")) {
            make_add(&g, "blk.1.attn_output.bias", FORMAT_F32, family_odd.n_embd, 0);
            make_add(&g, "blk.1.ffn_down.bias", FORMAT_F32, family_odd.n_embd, 0);
        }
        make_flat(&g, FAMILY_LAYERS, 4);
        const double off = difference(&g, recipes[k], &c);
        done = off >= 0;
        CHECK(off < 2e-4, "%s: logits are %g off", a->name, off);
        CHECK(done || strstr(c.err.message, "cannot be made narrower") ||
                  strstr(c.err.message, "their layers are not apart"),
              "%s: %s", a->name, c.err.message);
        free(c.m.out);
        make_free(&g);
    }
    return done;
}

static void test_families(void) {
    size_t n_done = 0;
    for (const char *at = arch_names(), *end; *at; at = *end ? end + 2 : end) {
        end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
        n_done += test_family(arch_find((gguf_str){at, (uint64_t)(end - at)}));
    }
    CHECK(n_done > 10, "%zu families", n_done);
}

static bool is_number(const gguf *g, const char *key, int64_t value) {
    const gguf_kv *kv = gguf_find(g, key);
    int64_t x;
    return kv && gguf_integer_at(kv, 0, &x) && x == value;
}

/* What was one matrix for embeddings and output is two; one that was apart stays one. */
static void test_file(bool untied) {
    static const char recipe[] = "[{\"step\": \"width\", \"share\": 0.25}]";
    make_gguf g = make_model(&(make_options){.untied = untied, .n_layer = 3, .matrices = FORMAT_Q8_0});
    changed c;
    const double off = difference(&g, recipe, &c);
    if (CHECK(off > 0 && off < 2, "%g: %s", off, c.err.message)) {
        gguf h = header_of(&c.m);
        const gguf_tensor *out = tensor_of(&h, "output.weight"), *up = tensor_of(&h, "blk.1.ffn_up.weight"),
                          *down = tensor_of(&h, "blk.2.ffn_down.weight");
        CHECK(out->dims[0] == 48 && out->dims[1] == MAKE_N_VOCAB, "the output");
        CHECK(up->dims[0] == 48 && up->dims[1] == 96 && down->dims[0] == 96 && down->dims[1] == 48,
              "shapes");
        CHECK(up->ggml_type == 1 && tensor_of(&h, "output_norm.weight")->dims[0] == 48, "what is computed");
        CHECK(is_number(&h, "llama.embedding_length", 48) &&
                  is_number(&h, "llama.attention.key_length", 16) && gguf_find(&h, "nutshell.width.share") &&
                  has_text(&h, "nutshell.compress.recipe", recipe),
              "metadata");
        CHECK(h.n_tensors == g.n_tensors + !untied && strstr(c.m.notes, "48 of 64 columns") &&
                  !strstr(c.m.notes, "apart from the embeddings") == untied,
              "%s", c.m.notes);
        gguf_free(&h);
    }
    free(c.m.out);
    make_free(&g);
}

/* ---- what is wrong ---- */

static void test_refusals(void) {
    static const struct {
        const char *family, *recipe, *message;
    } cases[] = {
        {"smollm3", "[{\"step\": \"width\"}]", "say which part of the residual's columns"},
        {"smollm3", "[{\"step\": \"width\", \"share\": 0.02}]", "leaves all of 40 columns, which go by 4"},
        {"smollm3", "[{\"step\": \"width\", \"share\": 0.98}]", "leaves none of 40 columns"},
        {"smollm3", "[{\"step\": \"width\", \"share\": 1.5}]", "from 0.01 to 0.99"},
        {"gemma", "[{\"step\": \"width\", \"share\": 0.2}]", "multiplied by the root of its width"},
        {"gemma2", "[{\"step\": \"width\", \"share\": 0.2}]", "each behind an RMS norm"},
        {"qwen3moe", "[{\"step\": \"width\", \"share\": 0.2}]", "each behind an RMS norm"},
        {"gpt2", "[{\"step\": \"width\", \"share\": 0.2}]", "each behind an RMS norm"},
    };
    size_t n_text;
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        make_gguf g =
            make_family(arch_find((gguf_str){cases[i].family, strlen(cases[i].family)}), &family_odd);
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
    make_gguf g = make_model(&(make_options){0});
    size_t n, n_text;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    change_while_memory_fails(file, n, "[{\"step\": \"width\", \"share\": 0.25}]", text, n_text);
    free(file), free(text);
    make_free(&g);
}

int main(void) {
    test_left();
    test_components();
    test_families();
    test_file(true);
    test_file(false);
    test_refusals();
    test_memory();
    return check_report();
}
