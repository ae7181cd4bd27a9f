/* The job that measures gradients. */
#include "train/fisher.h"

#include "base/error.h"
#include "evaluate/model_source.h"
#include "evaluate/windows.h"
#include "train/pass.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_WINDOW = 512, DEFAULT_WINDOWS = 10, MOST_AT_ONCE = 4 };
enum { STORE_BYTES = 64 << 20 }; // of layers' inputs that are kept, but for a window's

enum { SUM_WINDOWS, SUM_EMBEDDED, SUM_LOSS, SUMS };

/* The rows of a tensor. */
typedef struct tensor_rows {
    gguf_str name;
    double *sums; // (n), or NULL: not seen
    size_t n;
} tensor_rows;

typedef struct fisher {
    nut_job job;
    nut_status (*phase)(struct fisher *f, nut_error *err); // what the next step does
    fisher_options options;
    const char *text;
    size_t n_text;
    model_source source;
    threads *team;
    pass *p;
    int32_t *ids; // (n_windows, window) that are run
    float *store; // (n_layer + 1, p->n, n_embd) inputs of layers, and the last one's output
    float *dx;    // (p->n, n_embd)
    size_t n_windows, window, at_once, first; // windows; those of a group, and its first
    uint32_t il;
    bool back;
    tensor_rows *rows; // (n_tensors) as in the header
    double *sums;      // (n_sums) the three numbers of SUMS, then of rows and of the vocabulary
    size_t n_sums;
    bool complete;    // the last step has completed a group
    double *variance; // (n_vocab)
    char note[64];
} fisher;

static uint32_t n_layer(const fisher *f) {
    return f->source.m->hp.n_layer;
}

static float *stored(const fisher *f, size_t il) {
    return f->store + il * f->p->n * f->source.m->hp.n_embd;
}

/* ---- what is seen ---- */

typedef struct adding {
    double *sums;
    const float *dy;
    size_t n, n_rows;
} adding;

static void add_member(void *ctx, unsigned i, unsigned n) {
    const adding *a = ctx;
    size_t begin, end;
    threads_split(a->n_rows, i, n, &begin, &end);
    for (size_t t = 0; t < a->n; t++)
        for (size_t r = begin; r < end; r++) {
            const double g = (double)a->dy[t * a->n_rows + r];
            a->sums[r] += g * g;
        }
}

/* The row of a linear's matrix in its tensor, which may hold several; false where it is of no tensor here.
 */
static bool find_rows(const fisher *f, const linear *l, size_t *tensor, size_t *row) {
    const layer_load *layer = &f->source.layer;
    for (size_t i = 0; i < layer->n_bindings; i++) {
        const binding *b = &layer->bindings[i];
        *tensor = (size_t)(b->source - f->source.m->header.tensors);
        *row = 0;
        for (size_t part = 0; part < BIND_PARTS && b->w[part]; *row += b->w[part++]->n_rows)
            if (b->w[part] == &l->w) return true;
    }
    return false;
}

static void see_gradient(void *ctx, const linear *l, const float *dy, size_t n) {
    const fisher *f = ctx;
    size_t tensor, row;
    if (!find_rows(f, l, &tensor, &row)) return;
    adding a = {f->rows[tensor].sums + row, dy, n, l->w.n_rows};
    if (f->rows[tensor].sums) threads_run(f->team, add_member, &a);
}

static void see_embedded(fisher *f) {
    const size_t n = f->p->n * f->source.m->hp.n_embd;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)f->dx[i] * (double)f->dx[i];
    f->sums[SUM_EMBEDDED] += sum;
}

/* ---- a group of windows ---- */

static nut_status load_forward(fisher *f, nut_error *err);
static nut_status load_head(fisher *f, nut_error *err);
static nut_status load_outside(fisher *f, nut_error *err);

static void tell_progress(fisher *f) {
    const uint64_t layers = n_layer(f), group = 2 * layers + 1;
    const uint64_t done = f->back ? layers + 1 + (layers - f->il) : f->il;
    snprintf(f->note, sizeof f->note, "gradients of layer %u", f->il);
    job_progress(&f->job, f->note, f->first / f->at_once * group + done,
                 (f->n_windows + f->at_once - 1) / f->at_once * group);
}

static void drop_buffers(fisher *f) {
    mem_free(f->ids);
    mem_free(f->store);
    mem_free(f->dx);
    pass_free(f->p);
    threads_free(f->team);
    f->ids = NULL, f->store = f->dx = NULL, f->p = NULL, f->team = NULL;
}

static nut_status finish(fisher *f, nut_error *err) {
    const double n = (double)(f->n_windows * f->window), scale = (double)f->source.m->hp.embd_scale;
    for (uint64_t i = 0; i < f->source.m->header.n_tensors; i++)
        for (size_t r = 0; f->rows[i].sums && r < f->rows[i].n; r++) f->rows[i].sums[r] /= n;
    for (size_t i = 0; i < f->source.m->hp.n_vocab; i++) f->variance[i] /= n;
    f->sums[SUM_EMBEDDED] *= scale * scale / (n * (double)f->source.m->hp.n_embd);
    f->sums[SUM_LOSS] /= n;
    (void)err;
    drop_buffers(f); // results may be kept for long
    vocab_free(f->source.m->vocab);
    f->source.m->vocab = NULL;
    job_done(&f->job);
    return NUT_OK;
}

/* Down to layer 0. The last group may begin again with windows of the one before, so that all are as large.
 */
static nut_status load_backward(fisher *f, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&f->source, &f->job, (int)f->il, &ready, err));
    if (!ready) return NUT_OK;
    pass_backward(f->p, f->il, stored(f, f->il), f->dx);
    model_source_unload(&f->source);
    tell_progress(f);
    if (f->il-- > 0) return NUT_OK;
    see_embedded(f);
    f->first += f->at_once;
    f->sums[SUM_WINDOWS] = (double)f->first;
    f->complete = true;
    f->phase = f->first < f->n_windows ? load_outside : finish;
    return NUT_OK;
}

static nut_status load_head(fisher *f, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&f->source, &f->job, BIND_MODEL, &ready, err));
    if (!ready) return NUT_OK;
    pass_head h = {.seed = f->options.seed + f->first * f->window, .row_variance = f->variance};
    f->p->gradient = NULL;
    pass_head_gradient(f->p, &h, stored(f, n_layer(f)), f->dx);
    f->p->gradient = see_gradient;
    f->sums[SUM_LOSS] += h.loss;
    model_source_unload(&f->source);
    f->back = true;
    f->il = n_layer(f) - 1;
    f->phase = load_backward;
    return NUT_OK;
}

static nut_status load_forward(fisher *f, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&f->source, &f->job, (int)f->il, &ready, err));
    if (!ready) return NUT_OK;
    memcpy(stored(f, f->il + 1), stored(f, f->il), f->p->n * f->source.m->hp.n_embd * sizeof(float));
    pass_forward(f->p, f->il, stored(f, f->il + 1));
    model_source_unload(&f->source);
    tell_progress(f);
    if (++f->il == n_layer(f)) f->phase = load_head;
    return NUT_OK;
}

/* ---- the beginning ---- */

/* As many windows at a time as divide them and their inputs' memory allows. */
static size_t windows_at_once(const fisher *f) {
    const model_hparams *hp = &f->source.m->hp;
    const uint64_t each = (uint64_t)(hp->n_layer + 1) * f->window * hp->n_embd * sizeof(float);
    size_t n = f->n_windows < MOST_AT_ONCE ? f->n_windows : MOST_AT_ONCE;
    while (n > 1 && (f->n_windows % n || n * each > STORE_BYTES)) n--;
    return n;
}

static bool has_rows(const gguf_tensor *t) {
    return t->n_dims == 2 && t->name.n > 4 && !memcmp(t->name.s, "blk.", 4);
}

/* Those of an earlier job are taken where they are as many. */
static void go_on(fisher *f) {
    const fisher_options *o = &f->options;
    if (!o->sums || o->n_sums != f->n_sums) return;
    memcpy(f->sums, o->sums, f->n_sums * sizeof *f->sums);
    f->first = f->sums[SUM_WINDOWS] > 0 ? (size_t)f->sums[SUM_WINDOWS] : 0;
}

static nut_status take_rows(fisher *f, nut_error *err) {
    const gguf *g = &f->source.m->header;
    const size_t n_vocab = f->source.m->hp.n_vocab;
    f->n_sums = SUMS + n_vocab;
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (has_rows(&g->tensors[i])) f->n_sums += (size_t)g->tensors[i].dims[1];
    f->rows = mem_calloc((size_t)g->n_tensors, sizeof *f->rows);
    f->sums = mem_calloc(f->n_sums, sizeof *f->sums);
    if (!f->rows || !f->sums) return error_memory(err, f->n_sums * sizeof *f->sums);
    f->variance = f->sums + SUMS;
    double *next = f->variance + n_vocab;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const gguf_tensor *t = &g->tensors[i];
        f->rows[i] = (tensor_rows){.name = t->name, .n = (size_t)t->dims[1]};
        if (!has_rows(t)) continue;
        f->rows[i].sums = next;
        next += f->rows[i].n;
    }
    go_on(f);
    return NUT_OK;
}

/* What is outside of layers is bound. */
static nut_status begin_pass(fisher *f, nut_error *err) {
    const nut_model *m = f->source.m;
    if (m->hp.experts.n)
        return error_set(err, NUT_E_UNSUPPORTED, "experts have no Fisher information here (family %s)",
                         m->arch->name);
    f->at_once = windows_at_once(f);
    const size_t n = f->at_once * f->window;
    TRY(threads_new(f->options.n_threads ? f->options.n_threads : 1, &f->team, err));
    TRY(pass_new(m, f->team, n, f->window, true, &f->p, err));
    f->p->tap_ctx = f;
    f->store = mem_calloc((m->hp.n_layer + 1) * n, m->hp.n_embd * sizeof(float));
    f->dx = mem_calloc(n, m->hp.n_embd * sizeof(float));
    if (f->store && f->dx) return NUT_OK;
    return error_memory(err, (uint64_t)(m->hp.n_layer + 2) * n * m->hp.n_embd * sizeof(float));
}

static nut_status load_outside(fisher *f, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&f->source, &f->job, BIND_MODEL, &ready, err));
    if (!ready) return NUT_OK;
    if (!f->p) TRY(begin_pass(f, err));
    pass_embed(f->p, f->ids + f->first * f->window, f->store);
    model_source_unload(&f->source);
    f->back = false;
    f->il = 0;
    f->phase = load_forward;
    return NUT_OK;
}

/* Windows from all over the text. */
static nut_status choose_windows(fisher *f, windows *all, nut_error *err) {
    const size_t wanted = f->options.n_windows ? f->options.n_windows : DEFAULT_WINDOWS;
    windows_whole(all, 0);
    if (!all->n)
        return error_set(err, NUT_E_ARGUMENT,
                         "the text is shorter than one window of %zu tokens; give a longer one", f->window);
    windows_begin(all, f->source.m->vocab);
    f->n_windows = all->n < wanted ? all->n : wanted;
    f->ids = mem_calloc(f->n_windows, f->window * sizeof *f->ids);
    if (!f->ids) return error_memory(err, f->n_windows * f->window * sizeof *f->ids);
    for (size_t i = 0; i < f->n_windows; i++) {
        size_t n;
        memcpy(f->ids + i * f->window, windows_at(all, i * all->n / f->n_windows, &n),
               f->window * sizeof *f->ids);
    }
    return NUT_OK;
}

static nut_status read_headers(fisher *f, nut_error *err) {
    bool ready = false;
    windows all = {0};
    TRY(model_source_headers(&f->source, &f->job, true, &ready, err));
    if (!ready) return NUT_OK;
    const nut_model *m = f->source.m;
    f->window = f->options.window ? f->options.window : DEFAULT_WINDOW;
    if (f->window > m->hp.n_ctx_train) f->window = m->hp.n_ctx_train;
    nut_status status =
        windows_of_text(&all, m->vocab, f->text, f->n_text, f->options.special, (uint32_t)f->window, err);
    if (status == NUT_OK) status = choose_windows(f, &all, err);
    windows_free(&all);
    if (status == NUT_OK) status = take_rows(f, err);
    f->phase = f->first < f->n_windows ? load_outside : finish;
    return status;
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    fisher *f = (fisher *)job;
    f->complete = false;
    return f->phase(f, err);
}

static void free_job(nut_job *job) {
    fisher *f = (fisher *)job;
    mem_free(f->rows);
    mem_free(f->sums);
    drop_buffers(f);
    model_source_free(&f->source);
    mem_free(f);
}

nut_status fisher_begin(const fisher_options *options, const char *text, size_t n_text, nut_job **out,
                        nut_error *err) {
    static const job_ops ops = {step, free_job};
    fisher *f = mem_calloc(1, sizeof *f);
    if (!f) return error_memory(err, sizeof *f);
    f->job.ops = &ops;
    f->phase = read_headers;
    f->options = *options;
    f->text = text;
    f->n_text = n_text;
    *out = &f->job;
    return NUT_OK;
}

bool fisher_has_model(const nut_job *job) {
    return ((const fisher *)job)->source.m;
}

fisher_vocab fisher_of_vocab(const nut_job *job) {
    const fisher *f = (const fisher *)job;
    return (fisher_vocab){f->source.m->hp.n_vocab, f->variance, f->sums[SUM_EMBEDDED], f->sums[SUM_LOSS]};
}

const double *fisher_sums(const nut_job *job, size_t *n) {
    const fisher *f = (const fisher *)job;
    *n = f->n_sums;
    return f->complete ? f->sums : NULL;
}

const double *fisher_of_rows(const nut_job *job, gguf_str tensor, size_t *n) {
    const fisher *f = (const fisher *)job;
    for (uint64_t i = 0; i < f->source.m->header.n_tensors; i++) {
        const tensor_rows *r = &f->rows[i];
        *n = r->n;
        if (r->name.n == tensor.n && !memcmp(r->name.s, tensor.s, (size_t)tensor.n)) return r->sums;
    }
    return NULL;
}
