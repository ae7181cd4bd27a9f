/* Calibration layer by layer: the statistics of each linear are the sums, in double, over what the tap of a
 * session shows, when the whole model is run at once with the reference kernels. */
#include "check.h"
#include "counting_alloc.h"
#include "make_gguf.h"
#include "memory_job.h"

#include "base/job.h"
#include "evaluate/calibrate.h"
#include "evaluate/windows.h"
#include "model/bind.h"
#include "run/session.h"

enum {
    WINDOW = 24,
    KINDS = STATISTICS_SQUARES | STATISTICS_RANGES | STATISTICS_HESSIAN | STATISTICS_TOGETHER,
    MAX_LINEARS = 32
};

static const char text[] =
    "The owl sat in the tree and the cat went to the sea. A band of men then came to the inn at the end of "
    "the road, and the rain ran down the pane. What the hen ate that day no one can tell.";

/* ---- what is expected ---- */

typedef struct sums {
    const uint8_t *data; // of the matrix
    char name[64];
    size_t n, n_tokens;
    double squares[128], sum[128], most[128], hessian[128][128], together[128][128];
} sums;

typedef struct expected {
    sums s[MAX_LINEARS];
    size_t n;
} expected;

static void see(void *ctx, const linear *l, const float *x, size_t n_tokens, bool again) {
    expected *e = ctx;
    (void)again;
    for (size_t k = 0; k < e->n; k++) {
        sums *s = &e->s[k];
        if (s->data != l->w.data) continue;
        s->n_tokens += n_tokens;
        for (size_t t = 0; t < n_tokens; t++)
            for (size_t i = 0; i < s->n; i++) {
                const double v = (double)x[t * s->n + i];
                s->squares[i] += v * v, s->sum[i] += v, s->most[i] = fmax(s->most[i], fabs(v));
                for (size_t j = 0; j < s->n; j++) {
                    const double other = (double)x[t * s->n + j];
                    s->hessian[i][j] += v * other, s->together[i][j] += v != 0.0 && other != 0.0;
                }
            }
    }
}

/* Matrices of the model, but embeddings that are only looked up. */
static void list_linears(nut_model *m, expected *e) {
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        const gguf_tensor *t = &m->header.tensors[i];
        void *to;
        const bool embeds = gguf_str_is(t->name, "token_embd.weight");
        if (t->n_dims < 2 || (embeds && m->output.w.data != m->token_embd.data)) continue;
        bind_find(m, t->name, &to);
        sums *s = &e->s[e->n++];
        *s = (sums){.data = ((const matrix *)to)->data, .n = (size_t)t->dims[0]};
        snprintf(s->name, sizeof s->name, "%.*s", (int)t->name.n, t->name.s);
    }
}

static expected *expect(const uint8_t *file, size_t n_file) {
    expected *e = calloc(1, sizeof *e);
    nut_load_options lo = nut_load_defaults();
    const nut_session_options so = {.n_ctx = 64, .n_batch = WINDOW, .n_logits = WINDOW};
    nut_model *m = NULL;
    nut_session *s;
    windows w;
    lo.reference = true, lo.kernel = "ref";
    CHECK(make_load(file, n_file, 0, &lo, &m, NULL) == NUT_OK, "load");
    nut_session_new(m, &so, &s, NULL);
    list_linears(m, e);
    windows_of_text(&w, m->vocab, text, strlen(text), false, WINDOW, NULL);
    windows_begin(&w, m->vocab);
    s->seq.ws->tap = see, s->seq.ws->tap_ctx = e;
    for (size_t i = 0; i < w.n; i++) {
        size_t n;
        const int32_t *ids = windows_at(&w, i, &n);
        nut_session_truncate(s, 0, NULL);
        CHECK(nut_session_eval(s, ids, n, n, NULL) == NUT_OK, "eval");
    }
    windows_free(&w);
    nut_session_free(s);
    nut_model_free(m);
    return e;
}

/* ---- what is gathered ---- */

static bool near(double a, double b, double size) {
    return fabs(a - b) <= 2e-4 * size;
}

static void check_sums(const sums *want, const statistics *got) {
    if (!CHECK(got && got->kinds == KINDS, "%s has statistics", want->name)) return;
    CHECK(got->n_tokens == want->n_tokens && got->n_cols == want->n, "%s: %llu tokens", want->name,
          (unsigned long long)got->n_tokens);
    size_t wrong = 0;
    for (size_t i = 0; i < want->n; i++) {
        const double size = sqrt((double)want->n_tokens * want->squares[i]);
        wrong += !near(got->sum_squares[i], want->squares[i], want->squares[i]);
        wrong += !near(got->sum[i], want->sum[i], size);
        wrong += !near((double)got->max_abs[i], want->most[i], want->most[i]);
        for (size_t j = 0; j <= i; j++) wrong += got->together[i * (i + 1) / 2 + j] != want->together[i][j];
        for (size_t j = 0; j < want->n; j++)
            wrong += !near(statistics_hessian(got, i, j), want->hessian[i][j],
                           sqrt(want->squares[i] * want->squares[j]));
    }
    CHECK(wrong == 0, "%s: %zu numbers are wrong", want->name, wrong);
}

/* A job around the calibration, as a method's would be: it looks when a layer is complete. */
typedef struct watcher {
    nut_job job;
    nut_job *inner;
    const expected *want;
    size_t n_checked, n_layers;
    int last;
    double output[64]; // mean squares of the output's input
    bool spoil;        // a layer's weights become zeros once it is complete
} watcher;

static bool is_of(const char *name, int which) {
    char prefix[16];
    snprintf(prefix, sizeof prefix, "blk.%d.", which);
    return which >= 0 ? !strncmp(name, prefix, strlen(prefix)) : strncmp(name, "blk.", 4) != 0;
}

static void look(watcher *w, int which) {
    for (size_t k = 0; w->want && k < w->want->n; k++) {
        const sums *s = &w->want->s[k];
        const gguf_str name = {s->name, strlen(s->name)};
        if (is_of(s->name, which))
            check_sums(s, calibrate_find(w->inner, name)), w->n_checked++;
        else
            CHECK(!calibrate_find(w->inner, name), "%s is not of layer %d", s->name, which);
    }
    const statistics *s = calibrate_find(w->inner, (gguf_str){"token_embd.weight", 17});
    for (size_t i = 0; s && i < 64; i++) w->output[i] = s->sum_squares[i] / (double)s->n_tokens;
    w->n_layers++;
    w->last = which;
}

static void spoil(nut_model *m, int which) {
    const char *const names[] = {"attn_output", "ffn_down"};
    for (size_t i = 0; i < 2 && which >= 0; i++) {
        char name[40];
        void *to;
        snprintf(name, sizeof name, "blk.%d.%s.weight", which, names[i]);
        bind_find(m, (gguf_str){name, strlen(name)}, &to);
        matrix *w = to;
        memset(w->data, 0, matrix_bytes(w));
    }
}

static nut_status watch(nut_job *job, nut_error *err) {
    watcher *w = (watcher *)job;
    bool over;
    const nut_status status = job_forward(job, w->inner, &over, err);
    if (status != NUT_OK) return status;
    const int which = calibrate_complete(w->inner);
    if (which != CALIBRATE_NONE) look(w, which);
    if (which != CALIBRATE_NONE && w->spoil) spoil(calibrate_model(w->inner), which);
    if (over) job_done(job);
    return NUT_OK;
}

static void free_watcher(nut_job *job) {
    nut_job_free(((watcher *)job)->inner);
}

static const job_ops watcher_ops = {watch, free_watcher};

static nut_status run(watcher *w, calibrate_options o, const char *of, memory_job *m, nut_error *err) {
    o.kinds = KINDS, o.window = WINDOW;
    w->job = (nut_job){.ops = &watcher_ops};
    const nut_status status = calibrate_begin(&o, of, strlen(of), &w->inner, err);
    return status == NUT_OK ? memory_job_run(m, &w->job, err) : status;
}

/* Zeros in the embeddings are zeros of what the first layer reads. */
static void make_zeros(make_gguf *g, format_id id) {
    make_tensor *t = make_find(g, "token_embd.weight");
    for (size_t i = 0; id == FORMAT_F32 && i < t->data.n / sizeof(float); i++)
        if (i * i % 7 < 3) memset(t->data.p + i * sizeof(float), 0, sizeof(float));
}

static void check_model(const make_options *o, uint32_t n_threads, bool sequential, bool slowly) {
    make_gguf g = make_model(o);
    make_zeros(&g, o->matrices);
    size_t n_file;
    uint8_t *file = make_file(&g, &n_file);
    expected *want = expect(file, n_file);
    rng r;
    rng_seed(&r, 5);
    nut_error err = {NUT_OK, ""};
    watcher w = {.want = want};
    memory_job m = {.file = {file}, .n_bytes = {n_file}, .random = slowly ? &r : NULL};
    const calibrate_options c = {.n_threads = n_threads, .sequential = sequential};
    CHECK(run(&w, c, text, &m, &err) == NUT_OK, "%s", err.message);
    CHECK(w.n_checked == want->n && w.last == CALIBRATE_OUTPUT, "%zu of %zu linears", w.n_checked, want->n);
    CHECK(w.n_layers == (o->n_layer ? o->n_layer : 2) + 1 && m.n_wrong == 0, "%zu layers", w.n_layers);
    CHECK(strstr(m.notes, "tokens in") && strstr(m.notes, "MB"), "memory is told: %s", m.notes);
    free(want), free(file);
    make_free(&g);
}

/* A layer whose weights were changed once it was complete gives later layers its new outputs: without any,
 * the output reads the norm of embeddings of unit mean square, of which each token adds n_embd. */
static void test_sequential(void) {
    make_gguf g = make_model(&(make_options){.seed = 4});
    const float one = 1;
    for (size_t i = 0; i < 64; i++) memcpy(make_find(&g, "output_norm.weight")->data.p + 4 * i, &one, 4);
    make_tensor *embd = make_find(&g, "token_embd.weight"); // all rows become the first
    for (size_t i = 1; i < embd->dims[1]; i++) memcpy(embd->data.p + 256 * i, embd->data.p, 256);
    size_t n_file;
    uint8_t *file = make_file(&g, &n_file);
    float row[64];
    double size = 0;
    memcpy(row, embd->data.p, sizeof row);
    for (size_t i = 0; i < 64; i++) size += (double)row[i] * (double)row[i];
    nut_error err = {NUT_OK, ""};
    watcher w = {.spoil = true};
    memory_job m = {.file = {file}, .n_bytes = {n_file}};
    CHECK(run(&w, (calibrate_options){.sequential = true}, text, &m, &err) == NUT_OK, "%s", err.message);
    for (size_t i = 0; i < 64; i++) {
        const double want = (double)row[i] * (double)row[i] / (size / 64 + 1e-5); // norm_eps
        CHECK(near(w.output[i], want, want + 1e-3), "input %zu of the output: %g, not %g", i, w.output[i],
              want);
    }
    free(file);
    make_free(&g);
}

static void test_refusals(void) {
    make_gguf g = make_model(&(make_options){.seed = 2});
    size_t n_file;
    uint8_t *file = make_file(&g, &n_file);
    nut_error err = {NUT_OK, ""};
    watcher w = {.want = NULL};
    memory_job m = {.file = {file}, .n_bytes = {n_file}};
    CHECK(run(&w, (calibrate_options){0}, "short", &m, &err) == NUT_E_ARGUMENT &&
              strstr(err.message, "longer"),
          "a short text: %s", err.message);
    m = (memory_job){.file = {file}, .n_bytes = {n_file / 8}};
    CHECK(run(&w, (calibrate_options){0}, text, &m, &err) == NUT_E_TRUNCATED, "a short file: %s",
          err.message);
    m = (memory_job){.file = {file}, .n_bytes = {20}};
    CHECK(run(&w, (calibrate_options){0}, text, &m, &err) == NUT_E_TRUNCATED, "no file: %s", err.message);
    m = (memory_job){.file = {file}, .n_bytes = {n_file}, .stop_at = 9};
    CHECK(run(&w, (calibrate_options){0}, text, &m, &err) == NUT_OK, "it may stop early");
    free(file);
    float huge = 1e38f;
    make_tensor *t = make_find(&g, "blk.1.ffn_norm.weight");
    for (size_t i = 0; i < 64; i++) memcpy(t->data.p + 4 * i, &huge, 4);
    file = make_file(&g, &n_file);
    m = (memory_job){.file = {file}, .n_bytes = {n_file}};
    CHECK(run(&w, (calibrate_options){0}, text, &m, &err) == NUT_E_CORRUPT && strstr(err.message, "blk.1."),
          "infinite inputs: %s", err.message);
    free(file);
    make_free(&g);
}

static void test_memory(void) {
    make_gguf g = make_model(&(make_options){.seed = 2});
    size_t n_file;
    uint8_t *file = make_file(&g, &n_file);
    size_t k = 1;
    for (bool failed = true; failed && k < 500; k++) {
        nut_error err = {NUT_OK, ""};
        watcher w = {.want = NULL};
        memory_job m = {.file = {file}, .n_bytes = {n_file}};
        counting_start(k);
        const nut_status status = run(&w, (calibrate_options){.sequential = true}, text, &m, &err);
        failed = counting.n_failed > 0;
        CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
        CHECK(status == NUT_OK || status == NUT_E_MEMORY, "allocation %zu fails: %s", k, err.message);
        counting_stop();
    }
    CHECK(k > 30, "%zu allocations", k);
    free(file);
    make_free(&g);
}

int main(void) {
    check_model(&(make_options){.seed = 1}, 1, false, false);
    check_model(&(make_options){.arch = "qwen2", .untied = true, .n_layer = 3}, 2, false, true);
    check_model(&(make_options){.matrices = FORMAT_Q8_0, .n_ff = 128}, 1, true, false);
    test_sequential();
    test_refusals();
    test_memory();
    return check_report();
}
