/* Experts in types that calibration chooses: statistics of a stack together are the sums of its matrices';
 * stacks are coded and rounded with the others, and an expert's errors count by its use. */
#include "changed.h"
#include "base/error.h"
#include "base/job.h"
#include "evaluate/calibrate.h"
#include "long_text.h"
#include "make_family.h"

#include <math.h>
#include <string.h>

enum { EXPERTS = 6, WIDTH = 64, HIDDEN = 32, LAYERS = 2, STACKS = 3 };
static const family_sizes sizes = {WIDTH, 64, 4, 16, 16, HIDDEN, 36, 7, 8, LAYERS, 256, 2};
static const char *const stacks[STACKS] = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"};

static make_gguf make_experts(void) {
    return make_family(arch_find((gguf_str){"qwen3moe", 8}), &sizes);
}

/* ---- statistics ---- */

/* Of a stack of a layer, all its matrices together. */
typedef struct total {
    double squares[WIDTH], hessian[WIDTH * WIDTH], n_tokens;
    uint64_t used[EXPERTS];
} total;

typedef struct watcher {
    nut_job job;
    nut_job *inner;
    bool pooled;
    total all[LAYERS][STACKS];
} watcher;

static void add(total *to, const statistics *s) {
    to->n_tokens += (double)s->n_tokens;
    for (size_t i = 0; i < s->n_cols; i++) {
        to->squares[i] += s->sum_squares[i];
        for (size_t j = 0; j < s->n_cols; j++) to->hessian[i * WIDTH + j] += statistics_hessian(s, i, j);
    }
}

static void look(watcher *w, int layer) {
    for (size_t k = 0; k < STACKS; k++) {
        char text[48];
        snprintf(text, sizeof text, "blk.%d.%s.weight", layer, stacks[k]);
        const gguf_str name = {text, strlen(text)};
        total *to = &w->all[layer][k];
        for (uint32_t e = 0; e < EXPERTS; e++) {
            const statistics *s = calibrate_find_in_stack(w->inner, name, e);
            to->used[e] = calibrate_used(w->inner, name, e);
            if (s && (!w->pooled || e == 0)) add(to, s);
        }
    }
}

static nut_status watch(nut_job *job, nut_error *err) {
    watcher *w = (watcher *)job;
    bool over;
    TRY(job_forward(job, w->inner, &over, err));
    const int layer = calibrate_complete(w->inner);
    if (layer >= 0) look(w, layer);
    if (over) job_done(job);
    return NUT_OK;
}

static void free_watcher(nut_job *job) {
    nut_job_free(((watcher *)job)->inner);
}

static watcher *calibrated(const uint8_t *file, size_t n, const char *text, size_t n_text, bool pooled) {
    static const job_ops ops = {watch, free_watcher};
    watcher *w = calloc(1, sizeof *w);
    nut_error err = {0};
    memory_job m = {.file = {file}, .n_bytes = {n}};
    const calibrate_options o = {.kinds = STATISTICS_HESSIAN | (pooled ? STATISTICS_POOLED : 0u),
                                 .window = 48};
    w->job.ops = &ops;
    w->pooled = pooled;
    CHECK(calibrate_begin(&o, text, n_text, &w->inner, &err) == NUT_OK &&
              memory_job_run(&m, &w->job, &err) == NUT_OK,
          "%s", err.message);
    return w;
}

static bool near(double a, double b, double size) {
    return fabs(a - b) <= 1e-6 * size;
}

static void test_pooled(const uint8_t *file, size_t n, const char *text, size_t n_text) {
    watcher *apart = calibrated(file, n, text, n_text, false),
            *pooled = calibrated(file, n, text, n_text, true);
    for (size_t i = 0; i < LAYERS * STACKS; i++) {
        const total *a = &apart->all[i / STACKS][i % STACKS], *b = &pooled->all[i / STACKS][i % STACKS];
        double used = 0;
        size_t wrong = 0;
        for (size_t e = 0; e < EXPERTS; e++) {
            used += (double)a->used[e];
            wrong += a->used[e] != b->used[e];
        }
        CHECK(used > 0 && used == a->n_tokens && used == b->n_tokens && !wrong,
              "stack %zu: %g uses, %g and %g inputs", i, used, a->n_tokens, b->n_tokens);
        for (size_t c = 0; c < WIDTH; c++) wrong += !near(a->squares[c], b->squares[c], a->squares[c]);
        for (size_t c = 0; c < WIDTH * WIDTH; c++)
            wrong +=
                !near(a->hessian[c], b->hessian[c], sqrt(a->squares[c / WIDTH] * a->squares[c % WIDTH]));
        CHECK(!wrong, "stack %zu: %zu sums are wrong", i, wrong);
    }
    free(apart), free(pooled);
}

/* ---- files ---- */

/* What the step "evaluate" has said; how many stacks have a type of the given kind. */
static double made(const uint8_t *file, size_t n, const char *text, size_t n_text, const char *recipe,
                   bool own, size_t *n_stacks) {
    changed c = change(file, n, recipe, text, n_text);
    *n_stacks = 0;
    if (!CHECK(c.status == NUT_OK && c.m.done && !c.m.n_wrong, "%s: %s", recipe, c.err.message)) return NAN;
    gguf out = header_of(&c.m);
    for (uint64_t i = 0; i < out.n_tensors; i++) {
        const format *f = format_by_ggml(out.tensors[i].ggml_type);
        *n_stacks += out.tensors[i].dims[2] > 1 && f->block > 1 && format_is_own(f) == own;
    }
    gguf_free(&out);
    const char *said = strstr(c.m.notes, "from the source ");
    const double kl = said ? atof(said + strlen("from the source ")) : NAN;
    free(c.m.out);
    return kl;
}

static void test_files(const uint8_t *file, size_t n, const char *text, size_t n_text) {
    static const char end[] = "{\"step\": \"evaluate\", \"window\": 48}]",
                      begin[] = "[{\"step\": \"calibrate\"}, ";
    char recipe[200];
    size_t n_coded, n_typed, n_rounded;
    snprintf(recipe, sizeof recipe, "%s{\"step\": \"coded\", \"bpw\": 7}, %s", begin, end);
    const double coded = made(file, n, text, n_text, recipe, true, &n_coded);
    snprintf(recipe, sizeof recipe, "%s{\"step\": \"gptq\", \"bpw\": 7}, %s", begin, end);
    const double typed = made(file, n, text, n_text, recipe, false, &n_typed);
    snprintf(recipe, sizeof recipe, "[{\"step\": \"round\", \"type\": \"q5_1\"}, %s", end);
    const double rounded = made(file, n, text, n_text, recipe, false, &n_rounded);
    CHECK(n_coded == LAYERS * STACKS && n_typed == LAYERS * STACKS && n_rounded == LAYERS * STACKS,
          "%zu stacks are coded, %zu typed, %zu rounded", n_coded, n_typed, n_rounded);
    CHECK(coded < typed && coded < rounded, "KL %g coded, %g typed, %g rounded", coded, typed, rounded);
}

int main(void) {
    size_t n, n_text;
    make_gguf g = make_experts();
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    test_pooled(file, n, text, n_text);
    test_files(file, n, text, n_text);
    free(file), free(text);
    make_free(&g);
    return check_report();
}
