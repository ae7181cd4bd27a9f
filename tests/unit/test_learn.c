/* What training is made of: gradients of weights and divergences agree with PyTorch's, the loss's gradient
 * with differences, names choose tensors, the order of windows is whole. */
#include "../golden/gradients.h"
#include "../golden/training.h"
#include "check.h"
#include "data.h"
#include "make_family.h"

#include "run/layer_load.h"
#include "train/adamw.h"
#include "train/batches.h"
#include "train/hint.h"
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
    const bool *own;                // windows that the student wrote; NULL: none
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

/* Takes the file, whose memory is malloc's. */
static bool open_file(fixture *f, const char *path, char *file, size_t n, unsigned n_threads) {
    nut_error err = {0};
    nut_loader *l;
    const nut_load_options o = {.reference = true};
    memset(f, 0, sizeof *f);
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

static bool open_fixture(fixture *f, const char *name, unsigned n_threads) {
    char path[200];
    size_t n;
    snprintf(path, sizeof path, "tests/golden/conformance/%s", name);
    char *file = data_read_path(path, &n);
    return CHECK(file, "%s is missing", path) && open_file(f, path, file, n, n_threads);
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
    const loss_batch b = {.x = f->x[LAYERS], .teacher_x = f->teacher_x, .labels = f->labels, .own = f->own};
    CHECK(loss_add(how, &b, &sums, backward ? f->dx : NULL), "damaged");
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

/* The loss falls along the gradient as far as that says; moved: numbers do not begin as the learner has
 * them. */
static void compare_differences(fixture *f, const char *what, learn *l, loss_head *how, bool moved) {
    float *numbers = calloc(l->n, sizeof *numbers);
    nut_error err = {0};
    double along = 0, values[2];
    l->numbers = numbers;
    learn_begin(l, &err);
    for (size_t i = 0; moved && i < l->n; i++) l->numbers[i] += 0.1f * sinf((float)i);
    learn_apply(l);
    run(f, l, how, true);
    for (size_t i = 0; i < l->n; i++) along += (double)l->gradients[i] * (double)l->gradients[i];
    const float step = (float)(0.02 / sqrt(along));
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < l->n; i++) l->numbers[i] += (side ? -2 * step : step) * l->gradients[i];
        learn_apply(l);
        values[side] = run(f, l, how, false);
    }
    const double found = (values[0] - values[1]) / (2 * (double)step);
    CHECK(fabs(found - along) < 0.01 * along, "%s: %g, by differences %g", what, along, found);
    free(numbers);
}

/* What learn_apply writes is what the pass computes with. LayerNorm, its bias, caps and scales are set in a
 * model of another family. The teacher, where there is one, has the same output and another residual. */
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
    compare_differences(&f, what, l, how, kind->ranked);
    loss_free(how), learn_free(l), pass_free(teacher);
    close_fixture(&f);
}

static void test_differences(void) {
    loss_options o = {.temperature = 1};
    nut_error err = {0};
    check_differences("RMSNorm", ARCH_RMS_NORM, 0, &o, &learn_full);
    check_differences("LayerNorm, caps", ARCH_LAYER_NORM, 20, &o, &learn_full);
    check_differences("adapters", ARCH_RMS_NORM, 0, &o, &learn_lora);
    check_differences("DoRA", ARCH_RMS_NORM, 0, &o, &learn_dora);
    o = (loss_options){.weight = 0.6, .temperature = 1.5, .a = 0.2};
    for (size_t i = 0; i < sizeof divergences_golden / sizeof *divergences_golden; i++) {
        divergence_find(divergences_golden[i].name, &o.kind, &err);
        check_differences(divergences_golden[i].name, ARCH_RMS_NORM, i % 2 ? 20 : 0, &o, &learn_full);
    }
    divergence_find("token_kl", &o.kind, &err);
    check_differences("token_kl", ARCH_RMS_NORM, 0, &o, &learn_full);
}

/* ---- rewards ---- */

typedef struct rewarded {
    double weight[N], reward[N];
} rewarded;

/* log p of a vocabulary from a normed vector. */
static void log_probabilities(const nut_model *m, const float *normed, double *to) {
    float row[MOST_EMBD];
    double sum = 0;
    for (size_t v = 0; v < m->hp.n_vocab; v++) {
        matrix_row(&m->output.w, v, row);
        to[v] = 0;
        for (size_t i = 0; i < m->hp.n_embd; i++) to[v] += (double)row[i] * (double)normed[i];
        sum += exp(to[v]);
    }
    for (size_t v = 0; v < m->hp.n_vocab; v++) to[v] -= log(sum);
}

/* arXiv 2306.08543, section 2.2: the sum over tokens of w (KL(q, p) - R log q(label)), w and R held as they
 * are; `begin` sets them, by a = 0.2: w = q / (a p + (1 - a) q), and R the mean of log p / q over the tokens
 * of the window behind. */
static double surrogate(const fixture *f, const pass *teacher, rewarded *r, bool begin) {
    static double p[1000], q[1000];
    double value = 0, better[N];
    for (size_t t = 0; t < N; t++) {
        log_probabilities(f->m, f->p->normed + t * f->m->hp.n_embd, q);
        log_probabilities(f->m, teacher->normed + t * f->m->hp.n_embd, p);
        better[t] = p[f->labels[t]] - q[f->labels[t]];
        if (begin)
            r->weight[t] = exp(q[f->labels[t]]) / (0.2 * exp(p[f->labels[t]]) + 0.8 * exp(q[f->labels[t]]));
        for (size_t v = 0; v < f->m->hp.n_vocab; v++) value += r->weight[t] * exp(q[v]) * (q[v] - p[v]);
        value -= r->weight[t] * r->reward[t] * q[f->labels[t]];
    }
    for (size_t t = 0; begin && t < N; t++) {
        const size_t end = (t / GRADIENTS_WINDOW + 1) * GRADIENTS_WINDOW;
        r->reward[t] = 0;
        for (size_t k = t + 1; k < end; k++) r->reward[t] += better[k] / (double)(end - t - 1);
    }
    return value;
}

/* Along the gradient the surrogate falls as far as that says. */
static void test_rewards(void) {
    static fixture f;
    static const bool own[N] = {true, true, true, true};
    nut_error err = {0};
    learn *l;
    loss_head *how;
    pass *teacher;
    loss_options o = {.weight = 1, .temperature = 1, .a = 0.2};
    rewarded r;
    double along = 0, values[2];
    divergence_find("minillm", &o.kind, &err);
    if (!open_fixture(&f, "qwen3-tied.gguf", 2)) return;
    learn_of(&f, "blk.*", &learn_full, &l, &err);
    f.p->learner = &l->hooks;
    pass_new(f.m, f.team, N, GRADIENTS_WINDOW, false, &teacher, &err);
    for (size_t i = 0; i < N * MOST_EMBD; i++) f.teacher_x[i] = sinf((float)i * 1.7f + 0.3f);
    loss_new(&o, f.p, teacher, &how, &err);
    float *numbers = l->numbers = calloc(l->n, sizeof *numbers);
    learn_begin(l, &err);
    f.own = own;
    run(&f, l, how, true);
    run(&f, l, how, false); // the way back leaves other vectors in front of the head
    surrogate(&f, teacher, &r, true);
    for (size_t i = 0; i < l->n; i++) along += (double)l->gradients[i] * (double)l->gradients[i];
    const float step = (float)(0.02 / sqrt(along));
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < l->n; i++) numbers[i] += (side ? -2 * step : step) * l->gradients[i];
        learn_apply(l);
        run(&f, l, how, false);
        values[side] = surrogate(&f, teacher, &r, false);
    }
    along *= 2 * (double)step;
    CHECK(fabs(values[0] - values[1] - along) < 0.01 * along, "rewards: %g", values[0] - values[1]);
    free(numbers), loss_free(how), learn_free(l), pass_free(teacher), close_fixture(&f);
}

/* ---- experts ---- */

/* What the table of families leaves to the file: an expert that all tokens go through, and its router. */
static void add_shared(make_gguf *g, const char *family, uint32_t width) {
    enum { N_FF = 21 };
    static const char *const parts[] = {"gate", "up"};
    char name[80];
    make_u32(g, make_hparam_key(family, "expert_shared_feed_forward_length"), N_FF);
    for (unsigned il = 0; il < LAYERS; il++) {
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof name, "blk.%u.ffn_%s_shexp.weight", il, parts[i]);
            make_add(g, name, FORMAT_F32, width, N_FF);
        }
        snprintf(name, sizeof name, "blk.%u.ffn_down_shexp.weight", il);
        make_add(g, name, FORMAT_F32, N_FF, width);
        snprintf(name, sizeof name, "blk.%u.ffn_gate_inp_shexp.weight", il);
        make_add(g, name, FORMAT_F32, width, 0);
    }
}

/* Of tensors that fit a pattern. Which experts a token takes is a step of the loss that differences see and
 * gradients do not: it takes all of them, or only the last layer's learn. */
static void check_experts(const char *family, uint32_t n_used, const char *names, size_t n_tensors) {
    const arch *a = arch_find((gguf_str){family, strlen(family)});
    family_sizes sizes = family_odd;
    sizes.n_layer = LAYERS;
    make_gguf g = make_family(a, &sizes);
    family_use_experts(&g, a, n_used);
    if (strstr(names, "shexp")) add_shared(&g, family, sizes.n_embd);
    size_t n;
    char *file = (char *)make_file(&g, &n);
    fixture f;
    nut_error err = {0};
    learn *l;
    loss_head *how;
    make_free(&g);
    if (!open_file(&f, family, file, n, 2)) return;
    CHECK(f.m->hp.experts.n == 6 && f.m->hp.experts.n_used == n_used, "%s: other experts", family);
    CHECK(learn_of(&f, names, &learn_full, &l, &err) == NUT_OK, "%s", err.message);
    CHECK(l->n_tensors == n_tensors, "%s, %s: %zu tensors", family, names, l->n_tensors);
    loss_new(&(loss_options){.temperature = 1}, f.p, NULL, &how, &err);
    f.p->learner = &l->hooks;
    compare_differences(&f, names, l, how, false);
    loss_free(how), learn_free(l);
    close_fixture(&f);
}

static void test_experts(void) {
    check_experts("qwen3moe", 6, "blk.*.ffn_gate_inp.weight", LAYERS); // weights that add up to 1
    check_experts("qwen3moe", 2, "blk.1.*_exps.weight", 3);
    check_experts("qwen2moe", 6, "blk.*.ffn_gate_inp.weight", LAYERS); // those that do not
    check_experts("qwen2moe", 6, "blk.*shexp.weight", 4 * LAYERS);
    check_experts("olmoe", 6, "blk.*", 12 * LAYERS);
}

/* ---- scales ---- */

static const learn_tensor *find_tensor(const learn *l, const char *name) {
    for (size_t i = 0; i < l->n_tensors; i++)
        if (gguf_str_is(l->tensors[i].source->name, name)) return &l->tensors[i];
    return NULL;
}

/* How the weights of a block change with one of its halves, as a part of it: from what they are with twice
 * that half, less what they are. */
static void slopes_of(const format *f, const uint8_t *block, int at, float *slopes) {
    uint8_t twice[FORMAT_MAX_BYTES];
    float was[FORMAT_MAX_BLOCK];
    uint16_t half;
    memcpy(twice, block, f->bytes);
    memcpy(&half, block + at, sizeof half);
    half = half_f32_to_f16(2 * half_f16_to_f32(half));
    memcpy(twice + at, &half, sizeof half);
    f->dequantize(block, 1, was);
    f->dequantize(twice, 1, slopes);
    for (size_t i = 0; i < f->block; i++) slopes[i] -= was[i];
}

/* The gradients of a tensor's halves are those of its weights, as learn_full has them, along the slopes. */
static void compare_scales(const learn *full, const learn *scales, format_id id, const char *name) {
    const learn_tensor *w = find_tensor(full, name), *s = find_tensor(scales, name);
    const format *f = &format_table[id];
    int at[2];
    const size_t n_halves = (size_t)halves_of(id, at), n_blocks = w->n / f->block;
    float slopes[FORMAT_MAX_BLOCK];
    double off = 0, all = 0;
    if (!CHECK(s->n == n_blocks * n_halves, "%s: %zu numbers of %zu blocks", f->name, s->n, n_blocks))
        return;
    for (size_t b = 0; b < n_blocks; b++)
        for (size_t h = 0; h < n_halves; h++) {
            double want = 0;
            slopes_of(f, s->blocks + b * f->bytes, at[h], slopes);
            for (size_t i = 0; i < f->block; i++)
                want += (double)full->gradients[w->at + b * f->block + i] * (double)slopes[i];
            off = fmax(off, fabs(want - (double)scales->gradients[s->at + b * n_halves + h]));
            all = fmax(all, fabs(want));
        }
    CHECK(all > 0 && off < 1e-4 * all, "%s, %s: off by %g of %g", f->name, name, off, all);
}

static void check_scales(format_id id) {
    make_gguf g = make_model(&(make_options){.matrices = id, .n_layer = LAYERS});
    size_t n;
    char *file = (char *)make_file(&g, &n), *copy = malloc(n);
    fixture f;
    nut_error err = {0};
    learn *full, *scales;
    loss_head *how;
    memcpy(copy, file, n);
    if (!open_file(&f, format_table[id].name, copy, n, 2)) return;
    learn_of(&f, "blk.*", &learn_full, &full, &err);
    CHECK(learn_of(&f, "blk.*", &learn_scales, &scales, &err) == NUT_OK, "%s", err.message);
    loss_new(&(loss_options){.temperature = 1}, f.p, NULL, &how, &err);
    f.p->learner = &full->hooks;
    run(&f, full, how, true);
    float *numbers = calloc(scales->n, sizeof *numbers);
    for (size_t i = 0; i < scales->n_tensors; i++)
        memcpy(scales->tensors[i].blocks, file + scales->tensors[i].source->offset,
               (size_t)scales->tensors[i].source->n_bytes);
    scales->numbers = numbers;
    learn_begin(scales, &err);
    f.p->learner = &scales->hooks;
    run(&f, scales, how, true);
    compare_scales(full, scales, id, "blk.0.attn_q.weight");
    compare_scales(full, scales, id, "blk.1.ffn_down.weight");
    free(numbers), free(file), loss_free(how), learn_free(full), learn_free(scales);
    close_fixture(&f);
    make_free(&g);
}

/* ---- adapters that minimums take in ---- */

/* arXiv 2309.14717, section 3.3, from the gradients of weights: s B A is added to each weight of a block. */
static void compare_sums(const learn *full, const learn *sums, const char *name) {
    enum { BLOCK = 32, RANK = 3 };
    const learn_tensor *w = find_tensor(full, name), *t = find_tensor(sums, name);
    const size_t width = w->n_cols / BLOCK, n_a = RANK * width;
    const float *a = sums->numbers + t->at, *b = a + n_a;
    double off = 0, all = 0, *want = calloc(t->n, sizeof *want);
    CHECK(t->n == RANK * (width + w->n_rows), "%zu numbers", t->n);
    for (size_t i = 0; i < w->n; i++) {
        const size_t row = i / w->n_cols, at = i % w->n_cols / BLOCK;
        const double g = 2 * (double)full->gradients[w->at + i]; // alpha 6, rank 3
        for (size_t k = 0; k < RANK; k++) {
            want[k * width + at] += g * (double)b[row * RANK + k];
            want[n_a + row * RANK + k] += g * (double)a[k * width + at];
        }
    }
    for (size_t i = 0; i < t->n; i++) {
        off = fmax(off, fabs(want[i] - (double)sums->gradients[t->at + i]));
        all = fmax(all, fabs(want[i]));
    }
    CHECK(all > 0 && off < 1e-4 * all, "%s: off by %g of %g", name, off, all);
    free(want);
}

static void test_sums(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q4_1, .n_layer = LAYERS});
    size_t n;
    char *file = (char *)make_file(&g, &n), *copy = malloc(n);
    fixture f;
    nut_error err = {0};
    learn *full, *sums;
    loss_head *how;
    memcpy(copy, file, n);
    if (!open_file(&f, "q4_1", copy, n, 2)) return;
    learn_of(&f, "blk.*", &learn_full, &full, &err);
    CHECK(learn_of(&f, "blk.*", &learn_qa_lora, &sums, &err) == NUT_OK, "%s", err.message);
    loss_new(&(loss_options){.temperature = 1}, f.p, NULL, &how, &err);
    for (size_t i = 0; i < sums->n_tensors; i++)
        memcpy(sums->tensors[i].blocks, file + sums->tensors[i].source->offset,
               (size_t)sums->tensors[i].source->n_bytes);
    float *numbers = sums->numbers = calloc(sums->n, sizeof *numbers);
    learn_begin(sums, &err);
    for (size_t i = 0; i < sums->n; i++) numbers[i] += 0.01f * sinf((float)i);
    learn_apply(sums);
    for (int i = 0; i < 2; i++) {
        f.p->learner = i ? &sums->hooks : &full->hooks;
        run(&f, i ? sums : full, how, true);
    }
    compare_sums(full, sums, "blk.0.attn_q.weight");
    compare_sums(full, sums, "blk.1.ffn_down.weight");
    free(numbers), free(file), loss_free(how), learn_free(full), learn_free(sums);
    close_fixture(&f), make_free(&g);
}

/* ---- steps that are learned ---- */

/* LSQ, arXiv 1902.08153, equations 3 and 5, from the gradients of the rounded weights: numbers are weights
 * w, of which those within the codes have them, and for each block the factor of a step s. */
static void compare_steps(const learn *full, const learn *steps, const format *f, double least, double most,
                          const char *name) {
    const learn_tensor *w = find_tensor(full, name), *t = find_tensor(steps, name);
    const size_t n = w->n, n_blocks = n / f->block;
    double off = 0, all = 0;
    size_t clipped = 0;
    const double factor = (double)steps->numbers[t->at + n];
    if (!CHECK(t->n == n + n_blocks, "%zu numbers", t->n)) return;
    for (size_t b = 0; b < n_blocks; b++) {
        double mean = 0, want = 0;
        for (size_t i = 0; i < f->block; i++)
            mean += fabs((double)steps->numbers[t->at + b * f->block + i]) / (double)f->block;
        const double s = factor * 2 * mean / sqrt(most);
        for (size_t i = b * f->block; i < (b + 1) * f->block; i++) {
            const double v = (double)steps->numbers[t->at + i] / s, g = (double)full->gradients[w->at + i];
            const bool inside = v >= least && v <= most;
            want += s / factor * g * (v < least ? least : v > most ? most : round(v) - v);
            off = fmax(off, fabs((double)steps->gradients[t->at + i] - (inside ? g : 0)));
            clipped += !inside;
        }
        off = fmax(off, fabs((double)steps->gradients[t->at + n + b] - want));
        all = fmax(all, fabs(want));
    }
    CHECK(clipped > 0 && clipped < n && all > 0 && off < 2e-3 * all, "%s: off by %g of %g, %zu clipped",
          name, off, all, clipped);
}

/* Each weight is the nearest multiple of its block's step, as a half float, within the codes. */
static void check_multiples(const char *type, double least, double most) {
    make_gguf g = make_model(&(make_options){.n_embd = 256, .n_ff = 256, .n_layer = LAYERS});
    size_t n, wrong = 0, others = 0;
    char *file = (char *)make_file(&g, &n);
    fixture f;
    nut_error err = {0};
    learn *l;
    static float row[256];
    const learn_options o = {"blk.1.ffn_up.weight", &learn_step, .type = type, .scale = 1, .n_tokens = N};
    make_free(&g);
    if (!open_file(&f, type, file, n, 1)) return;
    CHECK(learn_new(f.m, f.loads, LAYERS + 1, f.d, &o, &l, &err) == NUT_OK, "%s", err.message);
    float *numbers = l->numbers = calloc(l->n, sizeof *numbers);
    learn_begin(l, &err);
    const learn_tensor *t = &l->tensors[0];
    const size_t block = t->to.to->block;
    for (size_t b = t->n_rows * t->n_cols, i = 0; b < t->n; b++, i++)
        numbers[b] = 0.3f + 0.1f * (float)(i % 7);
    for (size_t r = 0; r < t->n_rows; r++) {
        learn_row(l, t, r, row);
        for (size_t c = 0; c < t->n_cols; c++) {
            const float *x = numbers + r * t->n_cols + c / block * block;
            double mean = 0;
            for (size_t i = 0; i < block; i++) mean += fabs((double)x[i]) / (double)block;
            const float base = (float)(2 * mean / sqrt(most)),
                        factor = numbers[t->n_rows * t->n_cols + (r * t->n_cols + c) / block];
            const double s = (double)half_f16_to_f32(half_f32_to_f16(base * factor));
            const double code = fmax(least, fmin(most, round((double)numbers[r * t->n_cols + c] / s)));
            wrong += fabs((double)row[c] - code * s) > 1e-6 * s;
            others += code != 0;
        }
    }
    CHECK(wrong == 0 && others > 1000, "%s: %zu weights are wrong", type, wrong);
    free(numbers), learn_free(l);
    close_fixture(&f);
}

static void test_steps(void) {
    make_gguf g = make_model(&(make_options){.n_layer = LAYERS});
    size_t n;
    char *file = (char *)make_file(&g, &n);
    fixture f;
    nut_error err = {0};
    learn *full, *steps;
    loss_head *how;
    const learn_options o = {"blk.*", &learn_step, .type = "q4_0", .scale = 1, .n_tokens = N};
    if (!open_file(&f, "q4_0", file, n, 2)) return;
    learn_of(&f, "blk.*", &learn_full, &full, &err);
    CHECK(learn_new(f.m, f.loads, LAYERS + 1, f.d, &o, &steps, &err) == NUT_OK, "%s", err.message);
    loss_new(&(loss_options){.temperature = 1}, f.p, NULL, &how, &err);
    float *numbers = steps->numbers = calloc(steps->n, sizeof *numbers);
    learn_begin(steps, &err);
    for (size_t i = 0; i < steps->n_tensors; i++) { // smaller steps than at first: some weights are clipped
        const learn_tensor *t = &steps->tensors[i];
        for (size_t k = t->n - t->n_steady; t->kind && k < t->n; k++) numbers[t->at + k] = 0.25f;
    }
    learn_apply(steps); // the model has the rounded weights
    f.p->learner = &steps->hooks;
    run(&f, steps, how, true);
    f.p->learner = &full->hooks;
    run(&f, full, how, true);
    compare_steps(full, steps, &format_table[FORMAT_Q4_0], -8, 7, "blk.0.attn_q.weight");
    free(numbers), loss_free(how), learn_free(full), learn_free(steps);
    close_fixture(&f);
    make_free(&g);
}

/* ---- hints ---- */

/* The loss with a hint from a teacher that reads the same tokens, and its gradients. */
static double run_hinted(fixture *f, fixture *teacher, learn *l, loss_head *how, hints *h) {
    loss_sums sums = {0};
    const loss_batch b = {.x = f->x[LAYERS], .labels = f->labels};
    memset(l->gradients, 0, l->n * sizeof *l->gradients);
    pass_embed(teacher->p, f->ids, teacher->x[0]);
    for (uint32_t il = 0; il < LAYERS; il++) {
        pass_forward(teacher->p, il, teacher->x[0]);
        hints_see(h, il, teacher->x[0]);
    }
    pass_embed(f->p, f->ids, f->x[0]);
    for (uint32_t il = 0; il < LAYERS; il++) {
        memcpy(f->x[il + 1], f->x[il], sizeof f->x[il]);
        pass_forward(f->p, il, f->x[il + 1]);
    }
    loss_add(how, &b, &sums, f->dx);
    for (uint32_t il = LAYERS; il-- > 0;) {
        hints_back(h, il, f->x[il + 1], f->labels, f->dx);
        pass_backward(f->p, il, f->x[il], f->dx);
    }
    CHECK(hints_loss(h) > 0.1, "the hint's loss is %g", hints_loss(h));
    return sums.loss + hints_loss(h);
}

static bool open_made(fixture *f, const make_options *o) {
    make_gguf g = make_model(o);
    size_t n;
    char *file = (char *)make_file(&g, &n);
    make_free(&g);
    return open_file(f, "a made model", file, n, 2);
}

/* The loss with the hint falls along the gradient of weights and projection as far as that says. */
static void check_hint(const char *name, uint32_t n_embd, const char *layers) {
    static fixture f, teacher; // large
    nut_error err = {0};
    hint_options o = {.weight = 5, .layers = layers, .seed = 3};
    hints *h;
    learn *l;
    loss_head *how;
    if (!open_made(&f, &(make_options){.n_embd = n_embd, .n_layer = LAYERS}) ||
        !open_made(&teacher, &(make_options){.n_layer = LAYERS, .seed = 5}))
        return;
    hint_find(name, &o.kind, &err);
    f.labels[3] = -1;
    CHECK(hints_new(&o, f.p, teacher.p, &h, &err) == NUT_OK, "%s", err.message);
    const learn_options what = {"blk.*", &learn_full, .scale = 1, .n_tokens = N,
                                .n_beside = hints_numbers(h)};
    learn_new(f.m, f.loads, LAYERS + 1, f.d, &what, &l, &err);
    loss_new(&(loss_options){.temperature = 1}, f.p, NULL, &how, &err);
    f.p->learner = &l->hooks;
    float *numbers = l->numbers = calloc(l->n, sizeof *numbers), *g = calloc(l->n, sizeof *g);
    learn_begin(l, &err);
    hints_begin(h, l->numbers + l->beside, l->gradients + l->beside);
    run_hinted(&f, &teacher, l, how, h);
    double along = 0, values[2];
    for (size_t i = 0; i < l->n; i++) g[i] = l->gradients[i], along += (double)g[i] * (double)g[i];
    const float step = (float)(0.01 / sqrt(along));
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < l->n; i++) l->numbers[i] += (side ? -2 * step : step) * g[i];
        learn_apply(l);
        values[side] = run_hinted(&f, &teacher, l, how, h);
    }
    const double found = (values[0] - values[1]) / (2 * (double)step);
    CHECK(fabs(found - along) < 0.01 * along, "%s, width %u: %g, by differences %g", name, n_embd, along,
          found);
    free(numbers), free(g), loss_free(how), learn_free(l), hints_free(h);
    close_fixture(&f), close_fixture(&teacher);
}

static void refuse_hint(const char *name, const make_options *student, const char *layers,
                        const char *says) {
    static fixture f, teacher;
    nut_error err = {0};
    hint_options o = {.weight = 1, .layers = layers};
    hints *h = NULL;
    if (!open_made(&f, student) || !open_made(&teacher, &(make_options){.n_layer = LAYERS})) return;
    hint_find(name, &o.kind, &err);
    CHECK(hints_new(&o, f.p, teacher.p, &h, &err) == NUT_E_ARGUMENT && strstr(err.message, says), "%s",
          err.message);
    close_fixture(&f), close_fixture(&teacher);
}

static void test_hints(void) {
    const make_options small = {.n_layer = LAYERS}, few = {.n_layer = LAYERS, .n_head = 2};
    check_hint("hidden", 64, "");
    check_hint("hidden", 32, "");
    check_hint("attention", 32, "");
    check_hint("relations", 32, "");
    refuse_hint("attention", &few, "", "needs as many heads");
    refuse_hint("relations", &few, "", "needs as many heads");
    refuse_hint("hidden", &small, "1", "\"hint_layers\" names");
    refuse_hint("hidden", &small, "0,99,1,1,1,1", "\"hint_layers\" names");
}

/* ---- schedules ---- */

/* Two stages: a line to 0, two thirds of it behind the middle, where decay ends. */
static void test_schedule(void) {
    adamw_options o = {.rate = 3, .steps = 110, .warmup = 10};
    nut_error err = {0};
    CHECK(schedule_find("two_stage", &o.schedule, &err) == NUT_OK, "%s", err.message);
    const double want[][2] = {{4, 1.5}, {10, 3}, {35, 2.25}, {59, 1.53}, {60, 1}, {85, 0.5}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const double got = adamw_rate(&o, (uint32_t)want[i][0]);
        CHECK(fabs(got - want[i][1]) < 1e-12, "step %g: %.12g", want[i][0], got);
    }
    CHECK(o.schedule->decays == 0.5, "decay ends at %g", o.schedule->decays);
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
    test_rewards();
    test_sums();
    test_experts();
    check_scales(FORMAT_Q4_0);
    check_scales(FORMAT_Q5_1);
    test_steps();
    check_multiples("q8_0", -127, 127);
    check_multiples("q4_0", -8, 7);
    check_multiples("tq1_0", -1, 1);
    check_multiples("tq2_0", -1, 1);
    test_hints();
    test_schedule();
    test_names();
    for (size_t i = 0; i < sizeof divergences_golden / sizeof *divergences_golden; i++)
        check_divergence(&divergences_golden[i]);
    test_batches();
    return check_report();
}
