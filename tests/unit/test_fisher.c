/* The job that measures gradients: what it adds up is what a pass over the whole model shows, and its
 * failures are told. test_gradients.c has the gradients themselves. */
#include "check.h"
#include "counting_alloc.h"
#include "make_gguf.h"
#include "memory_job.h"

#include "base/error.h"
#include "evaluate/windows.h"
#include "model/bind.h"
#include "train/fisher.h"
#include "train/pass.h"

enum { WINDOW = 24, N_WINDOWS = 3 };

static const char text[] =
    "The owl sat in the tree and the cat went to the sea. A band of men then came to the inn at the end of "
    "the road, and the rain ran down the pane. What the hen ate that day no one can tell.";

/* ---- what is expected ---- */

typedef struct seen {
    const linear *l;
    double sum; // of all rows
} seen;

static void see(void *ctx, const linear *l, const float *dy, size_t n) {
    seen *s = ctx;
    while (s->l && s->l != l) s++;
    s->l = l;
    for (size_t i = 0; i < n * l->w.n_rows; i++) s->sum += (double)dy[i] * (double)dy[i];
}

static double sum_of(const double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; x && i < n; i++) sum += x[i];
    return sum;
}

/* All windows at once over the whole model, whose labels have the same seeds. */
static void check_sums(nut_model *m, const nut_job *job, const windows *w) {
    enum { N = N_WINDOWS * WINDOW };
    const double n_tokens = N;
    seen all[64] = {0};
    threads *team;
    pass *p;
    double *variance = calloc(m->hp.n_vocab, sizeof *variance);
    const size_t width = N * m->hp.n_embd;
    float *x = malloc((m->hp.n_layer + 1) * width * sizeof *x), *dx = malloc(width * sizeof *dx);
    pass_head h = {.seed = 5, .row_variance = variance};
    threads_new(1, &team, NULL);
    CHECK(pass_new(m, team, N, WINDOW, true, &p, NULL) == NUT_OK, "pass");
    p->gradient = see, p->tap_ctx = all;
    pass_embed(p, w->ids, x);
    for (uint32_t il = 0; il < m->hp.n_layer; il++) {
        memcpy(x + (il + 1) * width, x + il * width, width * sizeof *x);
        pass_forward(p, il, x + (il + 1) * width);
    }
    pass_head_gradient(p, &h, x + m->hp.n_layer * width, dx);
    for (uint32_t il = m->hp.n_layer; il-- > 0;) pass_backward(p, il, x + il * width, dx);
    size_t n_seen = 0;
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        const gguf_str name = m->header.tensors[i].name;
        void *to;
        size_t n;
        const double *rows = fisher_of_rows(job, name, &n), found = rows ? sum_of(rows, n) : 0;
        if (!rows) continue;
        bind_find(m, name, &to);
        const seen *s = all;
        while (s->l && (const void *)&s->l->w != to) s++;
        CHECK(s->l && fabs(found * n_tokens - s->sum) < 1e-4 * s->sum, "%.*s: %g, expected %g", (int)name.n,
              name.s, found * n_tokens, s->sum);
        n_seen++;
    }
    double embedded = 0;
    for (size_t i = 0; i < width; i++) embedded += (double)dx[i] * (double)dx[i];
    const double scale = (double)m->hp.embd_scale;
    const fisher_vocab v = fisher_of_vocab(job);
    CHECK(n_seen == 7 * m->hp.n_layer, "%zu matrices", n_seen);
    CHECK(fabs(v.entropy - h.loss / n_tokens) < 1e-5 * v.entropy, "entropy %g, expected %g", v.entropy,
          h.loss / n_tokens);
    CHECK(v.n == m->hp.n_vocab &&
              fabs(sum_of(v.variance, v.n) * n_tokens - sum_of(variance, v.n)) < 1e-4 * n_tokens,
          "variances");
    CHECK(fabs(v.embedded - scale * scale * embedded / (double)width) < 1e-4 * v.embedded, "embedded %g",
          v.embedded);
    pass_free(p);
    threads_free(team);
    free(variance), free(x), free(dx);
}

static void check_model(const make_options *o, unsigned n_threads) {
    make_gguf g = make_model(o);
    size_t n_file;
    uint8_t *file = make_file(&g, &n_file);
    memory_job mj = {.file = {file}, .n_bytes = {n_file}};
    const fisher_options fo = {.n_windows = N_WINDOWS, .window = WINDOW, .n_threads = n_threads, .seed = 5};
    nut_load_options lo = nut_load_defaults();
    nut_model *m = NULL;
    nut_job *job;
    nut_error err = {0};
    windows w;
    lo.reference = true;
    CHECK(make_load(file, n_file, 0, &lo, &m, NULL) == NUT_OK, "load");
    windows_of_text(&w, m->vocab, text, sizeof text - 1, false, WINDOW, NULL);
    windows_whole(&w, N_WINDOWS);
    windows_begin(&w, m->vocab);
    // as many tokens as are in those windows, so that the job takes the same
    size_t n_text = sizeof text - 1, n;
    while (vocab_tokenize(m->vocab, text, n_text, 0, NULL, 0, &n, NULL) == NUT_E_ARGUMENT &&
           n >= (w.n + 1) * WINDOW)
        n_text--;
    CHECK(w.n == N_WINDOWS, "%zu windows", w.n);
    CHECK(fisher_begin(&fo, text, n_text, &job, &err) == NUT_OK, "%s", err.message);
    CHECK(memory_job_drive(&mj, job, &err) == NUT_OK && mj.done && !mj.n_wrong, "%s", err.message);
    if (mj.done) check_sums(m, job, &w);
    nut_job_free(job);
    windows_free(&w);
    nut_model_free(m);
    free(file);
    make_free(&g);
}

/* ---- failures ---- */

static nut_status run(const uint8_t *file, size_t n, const char *words, nut_error *err) {
    memory_job mj = {.file = {file}, .n_bytes = {n}};
    const fisher_options fo = {.n_windows = 2, .window = WINDOW};
    nut_job *job;
    TRY(fisher_begin(&fo, words, strlen(words), &job, err));
    return memory_job_run(&mj, job, err);
}

static void test_failures(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0});
    size_t n, k = 0;
    uint8_t *file = make_file(&g, &n);
    nut_error err = {0};
    CHECK(run(file, n, "Too short.", &err) == NUT_E_ARGUMENT && strstr(err.message, "longer"), "%s",
          err.message);
    CHECK(run(file, n / 2, text, &err) != NUT_OK, "half a file");
    for (bool failed = true; failed;) {
        counting_start(++k);
        const nut_status status = run(file, n, text, &err);
        failed = counting.n_failed > 0;
        CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
        CHECK(status == NUT_OK || (failed && status == NUT_E_MEMORY), "allocation %zu: %s", k, err.message);
        counting_stop();
    }
    CHECK(k > 40, "%zu allocations", k);
    free(file);
    make_free(&g);
}

int main(void) {
    check_model(&(make_options){.matrices = FORMAT_F32, .n_layer = 3}, 1);
    check_model(&(make_options){.matrices = FORMAT_Q8_0}, 3);
    check_model(&(make_options){.arch = "qwen3", .untied = true}, 2);
    test_failures();
    return check_report();
}
