/* Gradients of models: those of small real families agree with PyTorch's, and those of every activation,
 * cap, window and form of the residual with differences of the loss. */
#include "../golden/gradients.h"
#include "check.h"
#include "model_file.h"
#include "run/weights.h"
#include "train/pass.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = GRADIENTS_N_WINDOWS * GRADIENTS_WINDOW, LAYERS = GRADIENTS_LAYERS, MOST_EMBD = 64 };

/* A model, its pass, and the inputs of its layers. */
typedef struct fixture {
    nut_model *m;
    threads *team;
    pass *p;
    int32_t ids[N], labels[N];
    float x[LAYERS + 1][N * MOST_EMBD], dx[N * MOST_EMBD];
} fixture;

static bool open_fixture(fixture *f, const char *name, unsigned n_threads) {
    char path[200];
    nut_error err = {0};
    const nut_load_options o = nut_load_defaults();
    snprintf(path, sizeof path, "tests/golden/conformance/%s", name);
    memset(f, 0, sizeof *f);
    f->m = model_file_load(path, &o, &err);
    if (!CHECK(f->m, "%s: %s", path, err.message)) return false;
    threads_new(n_threads, &f->team, &err);
    for (int32_t i = 0; i < N; i++) {
        f->ids[i] = (i * 37 + 5) % (int32_t)f->m->hp.n_vocab;
        f->labels[i] = (i * 101 + 11) % (int32_t)f->m->hp.n_vocab;
    }
    return CHECK(pass_new(f->m, f->team, N, GRADIENTS_WINDOW, true, &f->p, &err) == NUT_OK, "%s",
                 err.message);
}

static void close_fixture(fixture *f) {
    pass_free(f->p);
    threads_free(f->team);
    nut_model_free(f->m);
}

/* From the input of layer 0, x[0], to the loss. */
static double forward(fixture *f) {
    pass_head h = {.labels = f->labels};
    for (uint32_t il = 0; il < LAYERS; il++) {
        memcpy(f->x[il + 1], f->x[il], sizeof f->x[il]);
        pass_forward(f->p, il, f->x[il + 1]);
    }
    pass_head_gradient(f->p, &h, f->x[LAYERS], f->dx);
    return h.loss;
}

static void backward(fixture *f) {
    for (uint32_t il = LAYERS; il-- > 0;) pass_backward(f->p, il, f->x[il], f->dx);
}

/* ---- PyTorch ---- */

typedef struct seen {
    const fixture *f;
    const struct gradients_of *want;
    size_t n;
} seen;

/* All rows, and the first four. */
static void check_squares(const char *what, const float *dy, size_t n_rows, const double want[5]) {
    double sum[5] = {0};
    for (size_t t = 0; t < N; t++)
        for (size_t r = 0; r < n_rows; r++) {
            const double g = (double)dy[t * n_rows + r];
            sum[0] += g * g;
            if (r < 4) sum[r + 1] += g * g;
        }
    for (size_t i = 0; i < 5; i++)
        CHECK(fabs(sum[i] - want[i]) <= 1e-4 * want[i], "%s, sum %zu: %.9g, PyTorch has %.9g", what, i,
              sum[i], want[i]);
}

static void compare(void *ctx, const linear *l, const float *dy, size_t n) {
    seen *s = ctx;
    CHECK(n == N, "%zu tokens", n);
    for (size_t il = 0; il < LAYERS; il++) {
        const attention_weights *a = s->f->m->layers[il].mixer;
        const gated_weights *g = s->f->m->layers[il].ffn;
        const linear *all[GRADIENTS_LINEARS] = {&a->q, &a->k, &a->v, &a->o, &g->gate, &g->up, &g->down};
        for (size_t i = 0; i < GRADIENTS_LINEARS; i++) {
            char what[100];
            if (all[i] != l) continue;
            snprintf(what, sizeof what, "%s, layer %zu, linear %zu", s->want->file, il, i);
            check_squares(what, dy, l->w.n_rows, s->want->linears[il][i]);
            s->n++;
        }
    }
}

static void check_golden(const struct gradients_of *want, unsigned n_threads) {
    fixture f;
    if (!open_fixture(&f, want->file, n_threads)) return;
    seen s = {&f, want, 0};
    f.p->gradient = compare;
    f.p->tap_ctx = &s;
    pass_embed(f.p, f.ids, f.x[0]);
    const double loss = forward(&f);
    CHECK(fabs(loss - want->loss) < 1e-5 * want->loss, "%s: loss %.9g, PyTorch has %.9g", want->file, loss,
          want->loss);
    backward(&f);
    check_squares(want->file, f.dx, f.m->hp.n_embd, want->embedded);
    CHECK(s.n == LAYERS * GRADIENTS_LINEARS, "%zu linears were seen", s.n);
    close_fixture(&f);
}

/* ---- differences ---- */

/* The gradient along a direction is the difference of the loss, which floats give to about 1 in 1,000. */
static void check_differences(fixture *f, const char *what) {
    const size_t n = N * f->m->hp.n_embd;
    const float step = 3e-3f;
    float *direction = malloc(n * sizeof *direction), *begin = malloc(n * sizeof *begin);
    double along = 0, loss[2];
    for (size_t i = 0; i < n; i++) begin[i] = 3 * f->x[0][i], direction[i] = sinf((float)i * 1.7f + 0.3f);
    memcpy(f->x[0], begin, n * sizeof *begin);
    forward(f);
    backward(f);
    for (size_t i = 0; i < n; i++) direction[i] += 0.02f * f->dx[i]; // not across the gradient
    for (size_t i = 0; i < n; i++) along += (double)f->dx[i] * (double)direction[i];
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < n; i++) f->x[0][i] = begin[i] + (side ? -step : step) * direction[i];
        loss[side] = forward(f);
    }
    const double found = (loss[0] - loss[1]) / (2 * (double)step);
    CHECK(fabs(found - along) < 0.01 * fabs(along), "%s: %g, by differences %g", what, along, found);
    free(direction), free(begin);
}

static void set_norms(nut_model *m, const float *post) {
    for (size_t i = 0; i < LAYERS; i++)
        m->layers[i].attn_post_norm.weight = m->layers[i].ffn_post_norm.weight = post;
}

/* Models of one family with what others have: the pass reads it from the model and its row. */
static void check_variant(const char *what, kernel_activation a, arch_norm norm, unsigned features,
                          float cap, uint32_t window) {
    static const float ones[MOST_EMBD] = {1, 0.5f, 2, [3 ... MOST_EMBD - 1] = 0.8f};
    fixture f;
    if (!open_fixture(&f, "qwen3-tied.gguf", 2)) return;
    arch row = *f.m->arch;
    row.activation = a;
    row.norm = norm;
    row.features |= features;
    f.m->hp.parallel = features & ARCH_PARALLEL;
    f.m->arch = &row;
    f.m->hp.attn_softcap = cap / 20;
    f.m->hp.logit_softcap = cap;
    f.m->hp.residual_scale = cap > 0 ? 0.7f : 1;
    f.m->hp.logit_scale = 1.5f;
    f.m->hp.embd_scale = 2;
    for (size_t i = 0; i < LAYERS; i++) f.m->layers[i].hp.window = window;
    if (features & ARCH_POST_NORM) set_norms(f.m, ones);
    pass_embed(f.p, f.ids, f.x[0]);
    check_differences(&f, what);
    close_fixture(&f);
}

static void test_differences(void) {
    check_variant("silu", KERNEL_SILU, ARCH_RMS_NORM, 0, 0, 0);
    check_variant("gelu", KERNEL_GELU, ARCH_RMS_NORM, 0, 0, 0);
    check_variant("gelu by tanh, caps, post norms, window", KERNEL_GELU_TANH, ARCH_RMS_NORM, ARCH_POST_NORM,
                  20, 7);
    check_variant("quick gelu, LayerNorm", KERNEL_GELU_QUICK, ARCH_LAYER_NORM, 0, 0, 0);
    check_variant("squared relu, parallel", KERNEL_RELU_SQUARED, ARCH_RMS_NORM, ARCH_PARALLEL, 0, 0);
}

/* ---- labels ---- */

/* Labels that are drawn follow the model's distribution: their mean loss is its entropy, to within its
 * deviation, and the variances of the rows add up to 1 - sum p^2 of each token. */
static void test_drawn_labels(void) {
    fixture f;
    if (!open_fixture(&f, "qwen3-tied.gguf", 1)) return;
    double *variance = calloc(f.m->hp.n_vocab, sizeof *variance), sum = 0, mean = 0;
    pass_head h = {.row_variance = variance};
    pass_embed(f.p, f.ids, f.x[0]);
    for (h.seed = 0; h.seed < 20; h.seed++) pass_head_gradient(f.p, &h, f.x[0], f.dx);
    for (size_t i = 0; i < f.m->hp.n_vocab; i++) sum += variance[i];
    mean = h.loss / (20 * N);
    CHECK(sum > 0 && sum < 20 * N, "variances add up to %g", sum);
    CHECK(mean > 0 && mean < log(f.m->hp.n_vocab) + 0.2, "mean loss of drawn labels %g", mean);
    pass_head again = {.seed = 19};
    double before = h.loss;
    h.seed = 19;
    pass_head_gradient(f.p, &h, f.x[0], f.dx);
    pass_head_gradient(f.p, &again, f.x[0], f.dx);
    CHECK(fabs(h.loss - before - again.loss) < 1e-9 * before, "the same seed draws the same labels");
    free(variance);
    close_fixture(&f);
}

int main(void) {
    for (size_t i = 0; i < sizeof gradients_golden / sizeof *gradients_golden; i++)
        check_golden(&gradients_golden[i], 1 + (unsigned)i % 3);
    test_differences();
    test_drawn_labels();
    return check_report();
}
