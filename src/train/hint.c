/* The kinds of hints, and the map from the student's layers to the teacher's. */
#include "train/hint.h"

#include "base/error.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

struct hint_kind {
    const char *name;
    size_t (*n_numbers)(const hints *h);
    nut_status (*begin)(hints *h, nut_error *err);
    void (*see)(hints *h, size_t at, const float *x); // for student layer `at`; NULL: the pass does it
    void (*back)(hints *h, size_t at, const float *x, const int32_t *labels, float *dx); // likewise
    double (*loss)(const hints *h);
};

struct hints {
    hint_options o;
    pass *student, *teacher;
    int *layers;     // (n_layer) of the student's: the teacher's for each, or -1
    size_t n_hinted; // layers that have one
    double sum;      // of losses since layer n_layer - 1
    // of hidden states
    float *targets;             // (n_layer, n, the teacher's n_embd)
    float *made, *d_made;       // (n, the teacher's n_embd) what the projection makes, and its gradient
    float *numbers, *gradients; // (the teacher's n_embd, n_embd) the projection; none where widths agree
    // of attention, and of values
    float *weights, *alike;
    double *values, *values_alike;
    pass_relation seen, pulled;
};

static size_t width(const hints *h) {
    return h->student->m->hp.n_embd;
}
static size_t teacher_width(const hints *h) {
    return h->teacher->m->hp.n_embd;
}

/* ---- hidden states ----
 *
 * The squared distance of a layer's output, projected to the teacher's width where it is another one, from
 * the output of the teacher's layer (Jiao et al. 2020, TinyBERT, arXiv 1909.10351, section 3.1), as a part
 * of the square of that: residuals of language models differ in size by a hundred between layers and tokens.
 * One projection serves all layers, as there. */

static size_t hidden_numbers(const hints *h) {
    return width(h) == teacher_width(h) ? 0 : width(h) * teacher_width(h);
}

static nut_status begin_hidden(hints *h, nut_error *err) {
    const size_t each = h->student->n * teacher_width(h), n_layer = h->student->m->hp.n_layer;
    h->targets = mem_calloc(n_layer, each * sizeof(float));
    h->made = mem_calloc(each, sizeof(float));
    h->d_made = mem_calloc(each, sizeof(float));
    if (h->targets && h->made && h->d_made) return NUT_OK;
    return error_memory(err, (n_layer + 2) * each * sizeof(float));
}

static void see_hidden(hints *h, size_t at, const float *x) {
    const size_t each = h->student->n * teacher_width(h);
    memcpy(h->targets + at * each, x, each * sizeof *x);
}

/* made = x P^T */
static void project(const hints *h, const float *x) {
    const size_t n_in = width(h), n_out = teacher_width(h), n = h->student->n;
    const dense_product product = {.m = n, .n = n_out, .k = n_in, .ldc = n_out};
    if (hidden_numbers(h))
        dense_mul_f32(h->student->d, &product, (dense_f32){x, n_in, 1}, (dense_f32){h->numbers, 1, n_in}, 1,
                      h->made);
    else
        memcpy(h->made, x, n * n_in * sizeof *x);
}

/* dx += d_made P, and the gradient of P += d_made^T x */
static void project_back(hints *h, const float *x, float *dx) {
    const size_t n_in = width(h), n_out = teacher_width(h), n = h->student->n;
    const dense_product to_x = {.m = n, .n = n_in, .k = n_out, .ldc = n_in, .add = true};
    const dense_product to_p = {.m = n_out, .n = n_in, .k = n, .ldc = n_in, .add = true};
    if (!hidden_numbers(h)) {
        for (size_t i = 0; i < n * n_in; i++) dx[i] += h->d_made[i];
        return;
    }
    dense_mul_f32(h->student->d, &to_x, (dense_f32){h->d_made, n_out, 1}, (dense_f32){h->numbers, n_in, 1},
                  1, dx);
    dense_mul_f32(h->student->d, &to_p, (dense_f32){h->d_made, 1, n_out}, (dense_f32){x, n_in, 1}, 1,
                  h->gradients);
}

/* A token's loss; d receives its gradient by made. */
static double compare(const float *made, const float *target, size_t n, double weight, float *d) {
    double squares = 0, off = 0;
    for (size_t i = 0; i < n; i++) squares += (double)target[i] * (double)target[i];
    const double scale = weight / (squares + 1e-12);
    for (size_t i = 0; i < n; i++) {
        const double by = (double)made[i] - (double)target[i];
        off += by * by;
        d[i] = (float)(2 * scale * by);
    }
    return off * scale;
}

static void back_hidden(hints *h, size_t at, const float *x, const int32_t *labels, float *dx) {
    const size_t n = teacher_width(h);
    const float *targets = h->targets + at * h->student->n * n;
    project(h, x);
    memset(h->d_made, 0, h->student->n * n * sizeof *h->d_made);
    for (size_t t = 0; t < h->student->n; t++)
        if (labels[t] >= 0)
            h->sum += compare(h->made + t * n, targets + t * n, n, h->o.weight / (double)h->n_hinted,
                              h->d_made + t * n);
    project_back(h, x, dx);
}

static double hidden_loss(const hints *h) {
    return h->sum;
}

/* ---- attention ----
 *
 * KL of the last layer's attention from that of the teacher's, head by head (Wang et al. 2020, MiniLM, arXiv
 * 2002.10957, section 3.1); the mean over heads for each token. */

static size_t no_numbers(const hints *h) {
    (void)h;
    return 0;
}

static nut_status begin_attention(hints *h, nut_error *err) {
    const nut_model *m = h->student->m, *other = h->teacher->m;
    const model_layer *own = &m->layers[m->hp.n_layer - 1], *its = &other->layers[other->hp.n_layer - 1];
    const size_t window = h->student->window, n = h->student->n / window * own->hp.n_head;
    if (own->hp.n_head != its->hp.n_head)
        return error_set(
            err, NUT_E_ARGUMENT,
            "the hint \"attention\" needs as many heads in student and teacher; they have %u and "
            "%u: take the hint \"hidden\"",
            own->hp.n_head, its->hp.n_head);
    h->weights = mem_calloc(n * window, window * sizeof *h->weights);
    h->values = mem_calloc(n, sizeof *h->values);
    if (!h->weights || !h->values) return error_memory(err, n * window * window * sizeof *h->weights);
    h->seen = (pass_relation){.layer = its, .weights = h->weights};
    h->pulled = (pass_relation){.layer = own,
                                .pulls = true,
                                .weights = h->weights,
                                .pull = h->o.weight / (double)own->hp.n_head,
                                .values = h->values};
    h->teacher->relation = &h->seen;
    h->student->relation = &h->pulled;
    return NUT_OK;
}

static void back_attention(hints *h, size_t at, const float *x, const int32_t *labels, float *dx) {
    (void)at, (void)x, (void)dx;
    h->pulled.labels = labels;
}

static double attention_loss(const hints *h) {
    const size_t n = h->student->n / h->student->window * h->pulled.layer->hp.n_head;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += h->values[i];
    return sum * h->pulled.pull;
}

/* ---- attention and values ----
 *
 * Beside it KL of how alike the last layer's values are to each other from how alike those of the teacher
 * are, for each head that has values (the same, section 3.2); the mean over heads for each token. Tokens see
 * those before them alone, as in attention. */

static nut_status begin_relations(hints *h, nut_error *err) {
    TRY(begin_attention(h, err));
    const uint32_t n_kv = h->pulled.layer->hp.n_head_kv, its = h->seen.layer->hp.n_head_kv;
    const size_t window = h->student->window, n = h->student->n / window * n_kv;
    if (n_kv != its)
        return error_set(
            err, NUT_E_ARGUMENT,
            "the hint \"relations\" needs as many heads with values in student and teacher; they "
            "have %u and %u: take the hint \"hidden\"",
            n_kv, its);
    h->alike = mem_calloc(n * window, window * sizeof *h->alike);
    h->values_alike = mem_calloc(n, sizeof *h->values_alike);
    if (!h->alike || !h->values_alike) return error_memory(err, n * window * window * sizeof *h->alike);
    h->seen.alike = h->pulled.alike = h->alike;
    h->pulled.values_alike = h->values_alike;
    h->pulled.pull_alike = h->o.weight / (double)n_kv;
    return NUT_OK;
}

static double relations_loss(const hints *h) {
    const size_t n = h->student->n / h->student->window * h->pulled.layer->hp.n_head_kv;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += h->values_alike[i];
    return attention_loss(h) + sum * h->pulled.pull_alike;
}

/* ---- kinds ---- */

static const hint_kind kinds[] = {
    {"hidden", hidden_numbers, begin_hidden, see_hidden, back_hidden, hidden_loss},
    {"attention", no_numbers, begin_attention, NULL, back_attention, attention_loss},
    {"relations", no_numbers, begin_relations, NULL, back_attention, relations_loss},
};

nut_status hint_find(const char *name, const hint_kind **out, nut_error *err) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].name, name)) return *out = &kinds[i], NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "there is no hint \"%.30s\"; there are hidden, attention and relations", name);
}

/* ---- the map of layers ---- */

static nut_status bad_map(const hints *h, nut_error *err) {
    return error_set(
        err, NUT_E_ARGUMENT,
        "\"hint_layers\" names, for each of the student's %u layers, one of the teacher's, 0 to "
        "%u, or -, as in \"-,4\"; not \"%s\"",
        h->student->m->hp.n_layer, h->teacher->m->hp.n_layer - 1, h->o.layers);
}

/* A number below `most` or -, which is -1; false where there is none. */
static bool read_layer(const char **rest, int most, int *layer) {
    const char *s = *rest;
    *layer = *s == '-' ? -1 : 0;
    if (*s == '-') return ++*rest, true;
    for (; **rest >= '0' && **rest <= '9' && *layer < most; ++*rest) *layer = 10 * *layer + (**rest - '0');
    return *rest > s && *layer < most;
}

static nut_status read_map(hints *h, nut_error *err) {
    const uint32_t n = h->student->m->hp.n_layer;
    const char *rest = h->o.layers;
    for (uint32_t i = 0; i < n; i++) {
        if (!read_layer(&rest, (int)h->teacher->m->hp.n_layer, &h->layers[i])) return bad_map(h, err);
        if (*rest != (i + 1 < n ? ',' : 0)) return bad_map(h, err);
        rest += i + 1 < n;
    }
    return NUT_OK;
}

/* Each layer of the student stands for as many of the teacher's, whose last one it learns from. */
static void spread_map(hints *h) {
    const uint32_t n = h->student->m->hp.n_layer, of = h->teacher->m->hp.n_layer;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t end = (i + 1) * of / n;
        h->layers[i] = end ? (int)end - 1 : 0;
    }
}

static nut_status make_map(hints *h, nut_error *err) {
    const uint32_t n = h->student->m->hp.n_layer;
    h->layers = mem_calloc(n, sizeof *h->layers);
    if (!h->layers) return error_memory(err, n * sizeof *h->layers);
    if (*h->o.layers)
        TRY(read_map(h, err));
    else
        spread_map(h);
    for (uint32_t i = 0; i < n; i++) h->n_hinted += h->layers[i] >= 0;
    return h->n_hinted ? NUT_OK : bad_map(h, err);
}

/* ---- */

nut_status hints_new(const hint_options *o, pass *student, pass *teacher, hints **out, nut_error *err) {
    hints *h = mem_calloc(1, sizeof *h);
    if (!h) return error_memory(err, sizeof *h);
    *h = (hints){.o = *o, .student = student, .teacher = teacher};
    nut_status status = make_map(h, err);
    if (status == NUT_OK) status = o->kind->begin(h, err);
    if (status == NUT_OK)
        *out = h;
    else
        hints_free(h);
    return status;
}

void hints_free(hints *h) {
    if (!h) return;
    h->student->relation = NULL;
    h->teacher->relation = NULL;
    mem_free(h->layers);
    mem_free(h->targets);
    mem_free(h->made);
    mem_free(h->d_made);
    mem_free(h->weights);
    mem_free(h->values);
    mem_free(h->alike);
    mem_free(h->values_alike);
    mem_free(h);
}

size_t hints_numbers(const hints *h) {
    return h->o.kind->n_numbers(h);
}

void hints_begin(hints *h, float *numbers, float *gradients) {
    const float reach = 1 / sqrtf((float)width(h));
    rng r;
    h->numbers = numbers;
    h->gradients = gradients;
    rng_seed(&r, h->o.seed);
    for (size_t i = 0; i < hints_numbers(h); i++) numbers[i] = (float)(2 * rng_f64(&r) - 1) * reach;
}

void hints_see(hints *h, uint32_t il, const float *x) {
    for (uint32_t i = 0; h->o.kind->see && i < h->student->m->hp.n_layer; i++)
        if (h->layers[i] == (int)il) h->o.kind->see(h, i, x);
}

void hints_back(hints *h, uint32_t il, const float *x, const int32_t *labels, float *dx) {
    if (il + 1 == h->student->m->hp.n_layer) h->sum = 0;
    if (h->layers[il] >= 0) h->o.kind->back(h, il, x, labels, dx);
}

double hints_loss(const hints *h) {
    return h->o.kind->loss(h);
}
