/* What training is made of: gradients of weights and divergences agree with PyTorch's, the loss's gradient
 * with differences, names choose tensors, the order of windows is whole. */
#include "../golden/gradients.h"
#include "../golden/training.h"
#include "check.h"
#include "data.h"

#include "run/layer_load.h"
#include "train/batches.h"
#include "train/learn.h"
#include "train/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = GRADIENTS_N_WINDOWS * GRADIENTS_WINDOW, LAYERS = GRADIENTS_LAYERS, MOST_EMBD = 64 };

/* A model whose tensors can be learned. */
typedef struct fixture {
    nut_model *m;
    layer_load loads[LAYERS + 1];
    threads *team;
    dense *d;
    pass *p;
    int32_t ids[N], labels[N];
    float x[LAYERS + 1][N * MOST_EMBD], dx[N * MOST_EMBD];
    float teacher_x[N * MOST_EMBD]; // what a teacher's last layer gives
} fixture;

static void load_part(fixture *f, int which, const uint8_t *file) {
    nut_error err = {0};
    layer_load *l = &f->loads[which == BIND_MODEL ? LAYERS : which];
    uint32_t split;
    uint64_t at, n;
    CHECK(layer_load_begin(f->m, which, l, &err) == NUT_OK, "%s", err.message);
    while (layer_load_wants(l, &split, &at, &n))
        if (!CHECK(layer_load_feed(l, file + at, (size_t)n, &err) == NUT_OK, "%s", err.message)) return;
}

static bool open_fixture(fixture *f, const char *name, unsigned n_threads) {
    char path[200];
    size_t n;
    nut_error err = {0};
    nut_loader *l;
    const nut_load_options o = {.reference = true};
    snprintf(path, sizeof path, "tests/golden/conformance/%s", name);
    char *file = data_read_path(path, &n);
    memset(f, 0, sizeof *f);
    if (!CHECK(file, "%s is missing", path)) return false;
    nut_load_begin(&o, n, &l, &err);
    load_headers_only(l);
    nut_load_feed(l, 0, file, n, &err);
    if (!CHECK(nut_load_finish(l, &f->m, &err) == NUT_OK, "%s: %s", path, err.message)) return false;
    for (int i = 0; i < LAYERS; i++) load_part(f, i, (const uint8_t *)file);
    load_part(f, BIND_MODEL, (const uint8_t *)file);
    free(file);
    threads_new(n_threads, &f->team, &err);
    dense_new(f->team, &f->d, &err);
    for (int32_t i = 0; i < N; i++) {
        f->ids[i] = (i * 37 + 5) % (int32_t)f->m->hp.n_vocab;
        f->labels[i] = (i * 101 + 11) % (int32_t)f->m->hp.n_vocab;
    }
    return CHECK(pass_new(f->m, f->team, N, GRADIENTS_WINDOW, true, &f->p, &err) == NUT_OK, "%s",
                 err.message);
}

static void close_fixture(fixture *f) {
    pass_free(f->p);
    dense_free(f->d);
    threads_free(f->team);
    for (int i = 0; i <= LAYERS; i++) layer_load_free(&f->loads[i]);
    nut_model_free(f->m);
}

static nut_status learn_of(fixture *f, const char *names, const learn_kind *kind, learn **out,
                           nut_error *err) {
    const learn_options o = {names, kind, .rank = 3, .alpha = 6, .scale = 1, .n_tokens = N};
    return learn_new(f->m, f->loads, LAYERS + 1, f->d, &o, out, err);
}

/* From the ids to the loss, and back where it is wanted. */
static double run(fixture *f, learn *l, loss_head *how, bool backward) {
    loss_sums sums = {0};
    pass_embed(f->p, f->ids, f->x[0]);
    for (uint32_t il = 0; il < LAYERS; il++) {
        memcpy(f->x[il + 1], f->x[il], sizeof f->x[il]);
        pass_forward(f->p, il, f->x[il + 1]);
    }
    loss_add(how, f->x[LAYERS], f->teacher_x, f->labels, &sums, backward ? f->dx : NULL);
    for (uint32_t il = LAYERS; backward && il-- > 0;) pass_backward(f->p, il, f->x[il], f->dx);
    if (backward) learn_embedded(l, f->ids, f->dx, N);
    return sums.loss;
}

/* ---- gradients of weights ---- */

static void check_tensor(const learn *l, const struct gradients_of *want, size_t i) {
    const char *name = want->weights[i].name;
    double squares = 0, along = 0;
    for (size_t k = 0; k < l->n_tensors; k++) {
        const learn_tensor *t = &l->tensors[k];
        if (!gguf_str_is(t->source->name, name)) continue;
        for (size_t j = 0; j < t->n; j++) {
            const double g = (double)l->gradients[t->at + j];
            squares += g * g, along += g * cos((double)j);
        }
    }
    CHECK(fabs(squares - want->weights[i].squares) <= 1e-4 * want->weights[i].squares,
          "%s, %s: squares %.9g, PyTorch has %.9g", want->file, name, squares, want->weights[i].squares);
    CHECK(fabs(along - want->weights[i].along) <= 1e-4 * sqrt(want->weights[i].squares),
          "%s, %s: along %.9g, PyTorch has %.9g", want->file, name, along, want->weights[i].along);
}

static void check_golden(const struct gradients_of *want, unsigned n_threads) {
    fixture f;
    nut_error err = {0};
    learn *l;
    loss_head *how;
    if (!open_fixture(&f, want->file, n_threads)) return;
    CHECK(learn_of(&f, "all", &learn_full, &l, &err) == NUT_OK, "%s", err.message);
    f.p->learner = &l->hooks;
    loss_new(&(loss_options){.temperature = 1}, f.p, NULL, &how, &err);
    const double value = run(&f, l, how, true);
    CHECK(fabs(value - want->loss) < 1e-5 * want->loss, "%s: loss %.9g, PyTorch has %.9g", want->file, value,
          want->loss);
    size_t n = 0;
    for (; want->weights[n].name; n++) check_tensor(l, want, n);
    CHECK(n == l->n_tensors && n > 15, "%s: %zu tensors are learned, %zu were compared", want->file,
          l->n_tensors, n);
    loss_free(how), learn_free(l);
    close_fixture(&f);
}

/* ---- weights by numbers ---- */

/* What learn_apply writes is what the pass computes with: the loss falls along the gradient as far as that
 * says. LayerNorm, its bias, caps and scales are set in a model of another family. The teacher, where there
 * is one, has the same output and another residual. */
static void check_differences(const char *what, arch_norm norm, float cap, const loss_options *o,
                              const learn_kind *kind) {
    fixture f;
    nut_error err = {0};
    learn *l;
    loss_head *how;
    pass *teacher = NULL;
    if (!open_fixture(&f, "qwen3-tied.gguf", 2)) return;
    arch row = *f.m->arch;
    row.norm = norm;
    f.m->arch = &row;
    f.m->hp.logit_softcap = cap, f.m->hp.attn_softcap = cap, f.m->hp.logit_scale = 1.5f;
    f.m->hp.embd_scale = 2, f.m->hp.residual_scale = 0.7f;
    learn_of(&f, "blk.*", kind, &l, &err);
    f.p->learner = &l->hooks;
    if (o->kind) pass_new(f.m, f.team, N, GRADIENTS_WINDOW, false, &teacher, &err);
    for (size_t i = 0; i < N * MOST_EMBD; i++) f.teacher_x[i] = sinf((float)i * 1.7f + 0.3f);
    loss_new(o, f.p, teacher, &how, &err);
    float *numbers = calloc(l->n, sizeof *numbers);
    double along = 0, values[2];
    l->numbers = numbers;
    learn_begin(l, &err);
    for (size_t i = 0; kind == &learn_lora && i < l->n; i++) l->numbers[i] += 0.1f * sinf((float)i);
    learn_apply(l);
    run(&f, l, how, true);
    for (size_t i = 0; i < l->n; i++) along += (double)l->gradients[i] * (double)l->gradients[i];
    const float step = (float)(0.02 / sqrt(along));
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < l->n; i++) l->numbers[i] += (side ? -2 * step : step) * l->gradients[i];
        learn_apply(l);
        values[side] = run(&f, l, how, false);
    }
    const double found = (values[0] - values[1]) / (2 * (double)step);
    CHECK(fabs(found - along) < 0.01 * along, "%s: %g, by differences %g", what, along, found);
    free(numbers), loss_free(how), learn_free(l), pass_free(teacher);
    close_fixture(&f);
}

static void test_differences(void) {
    loss_options o = {.temperature = 1};
    nut_error err = {0};
    check_differences("RMSNorm", ARCH_RMS_NORM, 0, &o, &learn_full);
    check_differences("LayerNorm, caps", ARCH_LAYER_NORM, 20, &o, &learn_full);
    check_differences("adapters", ARCH_RMS_NORM, 0, &o, &learn_lora);
    o = (loss_options){.weight = 0.6, .temperature = 1.5, .a = 0.2};
    for (size_t i = 0; i < sizeof divergences_golden / sizeof *divergences_golden; i++) {
        divergence_find(divergences_golden[i].name, &o.kind, &err);
        check_differences(divergences_golden[i].name, ARCH_RMS_NORM, i % 2 ? 20 : 0, &o, &learn_full);
    }
}

/* ---- names ---- */

static void check_names(fixture *f, const char *names, size_t n, const char *says) {
    nut_error err = {0};
    learn *l = NULL;
    const nut_status status = learn_of(f, names, &learn_full, &l, &err);
    if (says) {
        CHECK(status != NUT_OK && strstr(err.message, says), "%s: %s", names, err.message);
        return;
    }
    if (CHECK(status == NUT_OK, "%s: %s", names, err.message))
        CHECK(l->n_tensors == n, "%s: %zu tensors", names, l->n_tensors);
    learn_free(l);
}

static void test_names(void) {
    fixture f;
    if (!open_fixture(&f, "qwen3-tied.gguf", 1)) return;
    check_names(&f, "norms", 4 * LAYERS + 1, NULL);
    check_names(&f, "blk.*.ffn_*.weight", 4 * LAYERS, NULL); // with their norm
    check_names(&f, "blk.1.attn_q.weight,output_norm.weight", 2, NULL);
    check_names(&f, "*q*k*", 0, "no tensor that can be learned is called so");
    check_names(&f, "blk.*,blk.7.*", 0, "\"blk.7.*\"");
    check_names(&f, "", 0, "names no tensor");
    close_fixture(&f);
}

/* ---- divergences ---- */

/* The row gives the value and slopes; the gradient by logits z of q = softmax(z / T) follows. */
static void check_divergence(const struct divergence_of *want) {
    enum { LOGITS = DIVERGENCE_LOGITS };
    const divergence *kind;
    nut_error err = {0};
    const double t = divergence_temperature;
    double p[LOGITS], q[LOGITS], slope[LOGITS], sum_p = 0, sum_q = 0, value = 0, along = 0;
    if (!CHECK(divergence_find(want->name, &kind, &err) == NUT_OK, "%s", err.message)) return;
    for (int i = 0; i < LOGITS; i++) {
        p[i] = 3 * sin(i * 1.3 + 0.5) / t, q[i] = 2.5 * sin(i * 0.7 + 2) / t;
        sum_p += exp(p[i]), sum_q += exp(q[i]);
    }
    for (int i = 0; i < LOGITS; i++) {
        double one;
        q[i] -= log(sum_q);
        kind->term(p[i] - log(sum_p), q[i], divergence_a, &one, &slope[i]);
        value += one, along += slope[i];
    }
    CHECK(fabs(value * t * t - want->value) < 1e-9 * want->value, "%s: %.12g, PyTorch has %.12g", want->name,
          value * t * t, want->value);
    for (int i = 0; i < LOGITS; i++) {
        const double g = t * (slope[i] - exp(q[i]) * along);
        CHECK(fabs(g - want->gradient[i]) < 1e-7, "%s, logit %d: %.9g, PyTorch has %.9g", want->name, i, g,
              want->gradient[i]);
    }
}

/* ---- the order of windows ---- */

static void test_batches(void) {
    static const char text[] = "one two three four five six seven eight nine ten eleven twelve thirteen "
                               "fourteen fifteen sixteen seventeen eighteen nineteen twenty, and so on.";
    fixture f;
    batches b;
    nut_error err = {0};
    int32_t ids[8], labels[8], first[64], sum[2] = {0};
    if (!open_fixture(&f, "llama-mistral.gguf", 1)) return;
    CHECK(batches_of_text(&b, f.m->vocab, text, sizeof text - 1, 8, 0.25, 3, &err) == NUT_OK, "%s",
          err.message);
    CHECK(b.n > 4 && b.n <= 64 && b.n_held == (b.n + b.n_held) / 4, "%zu windows, %zu held out", b.n,
          b.n_held);
    for (size_t i = 0; i < 2 * b.n; i++) {
        batches_take(&b, i, ids, labels);
        CHECK(!memcmp(ids + 1, labels, 7 * sizeof *ids), "labels are the tokens behind");
        for (int k = 0; k < 8; k++) sum[i / b.n] += labels[k] * (k + 1);
        if (i < b.n) first[i] = labels[0];
    }
    CHECK(sum[0] == sum[1], "each pass takes all windows");
    size_t same = 0;
    for (size_t i = 0; i < b.n; i++) {
        batches_take(&b, b.n + i, ids, labels);
        same += labels[0] == first[i];
    }
    CHECK(same < b.n, "the second pass has the order of the first");
    batches_take(&b, 0, ids, labels);
    CHECK(labels[0] == first[0], "another order when asked again");
    batches_free(&b);
    CHECK(batches_of_text(&b, f.m->vocab, "short", 5, 64, 0, 3, &err) == NUT_E_ARGUMENT &&
              strstr(err.message, "longer text"),
          "%s", err.message);
    close_fixture(&f);
}

int main(void) {
    for (size_t i = 0; i < sizeof gradients_golden / sizeof *gradients_golden; i++)
        check_golden(&gradients_golden[i], 1 + (unsigned)i % 3);
    test_differences();
    test_names();
    for (size_t i = 0; i < sizeof divergences_golden / sizeof *divergences_golden; i++)
        check_divergence(&divergences_golden[i]);
    test_batches();
    return check_report();
}
