/* Gradients of the families of our own (tiles of attention, linear attention): the loss is what
 * golden/own.py computes with NumPy, and the way back agrees with differences of the loss. */
#include "check.h"
#include "json.h"
#include "model_file.h"

#include "train/pass.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 250, LAYERS = 2, EMBD = 32 };

typedef struct fixture {
    nut_model *m;
    threads *team;
    pass *p;
    int32_t ids[N], labels[N];
    float x[LAYERS + 1][N * EMBD], dx[N * EMBD];
} fixture;

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

/* Along a direction, the gradient and the difference of the loss, which floats give to about 1 in 1,000. */
static void check_differences(fixture *f, const char *name) {
    const float step = 2e-3f;
    static float begin[N * EMBD], direction[N * EMBD];
    double along = 0, loss[2];
    memcpy(begin, f->x[0], sizeof begin);
    forward(f);
    for (uint32_t il = LAYERS; il-- > 0;) pass_backward(f->p, il, f->x[il], f->dx);
    for (size_t i = 0; i < N * EMBD; i++) direction[i] = sinf((float)i * 1.7f + 0.3f) + 0.1f * f->dx[i];
    for (size_t i = 0; i < N * EMBD; i++) along += (double)f->dx[i] * (double)direction[i];
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < N * EMBD; i++) f->x[0][i] = begin[i] + (side ? -step : step) * direction[i];
        loss[side] = forward(f);
    }
    const double found = (loss[0] - loss[1]) / (2 * (double)step);
    CHECK(fabs(found - along) < 0.01 * fabs(along), "%s: %g, by differences %g", name, along, found);
}

static bool open_fixture(fixture *f, const char *name, const json *golden, unsigned n_threads) {
    char path[200];
    nut_error err = {0};
    const nut_load_options o = nut_load_defaults();
    snprintf(path, sizeof path, "tests/golden/families/%s.gguf", name);
    memset(f, 0, sizeof *f);
    f->m = model_file_load(path, &o, &err);
    if (!CHECK(f->m, "%s: %s", path, err.message)) return false;
    threads_new(n_threads, &f->team, &err);
    CHECK(json_ints(json_get(golden, "ids"), f->ids, N) == N, "%s: its ids", name);
    for (size_t i = 0; i < N; i++) f->labels[i] = f->ids[(i + 1) % N];
    return CHECK(pass_new(f->m, f->team, N, N, true, &f->p, &err) == NUT_OK, "%s: %s", name, err.message);
}

static void check_model(const char *name, unsigned n_threads) {
    static fixture f;
    char path[200];
    size_t n = 0;
    snprintf(path, sizeof path, "tests/golden/families/%s.json", name);
    char *bytes = data_read_path(path, &n);
    if (!CHECK(bytes, "%s cannot be read", path)) return;
    json_doc doc = json_parse(bytes, n);
    if (open_fixture(&f, name, doc.root, n_threads)) {
        const double want = json_number(doc.root, "loss", NULL);
        pass_embed(f.p, f.ids, f.x[0]);
        const double loss = forward(&f) / (double)N;
        CHECK(fabs(loss - want) < 1e-5 * want, "%s: loss %.9g, NumPy has %.9g", name, loss, want);
        check_differences(&f, name);
    }
    pass_free(f.p);
    threads_free(f.team);
    nut_model_free(f.m);
    json_free(&doc);
}

int main(void) {
    check_model("nutshell-linear-plain", 1);
    check_model("nutshell-tiles-global", 2);
    check_model("nutshell-tiles-strided", 1);
    check_model("nutshell-tiles-random", 3);
    return check_report();
}
