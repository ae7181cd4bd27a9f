/*
 * The job of training: reads a model whole, makes steps of the optimizer over windows of a text, and writes
 * the model. A step runs its windows in groups that fit in memory: forward with each layer's input kept,
 * through the loss, and back, layers computed again from those inputs.
 *
 *     train_recipe.c  what it is to do       learn*.c   what is learned, and how
 *     batches.c       the order of windows   adamw.c    the optimizer
 *     loss.c          the loss               output.c   the file that is written
 */
#include "nutshell_train.h"

#include "base/error.h"
#include "base/state.h"
#include "base/xxhash.h"
#include "evaluate/model_source.h"
#include "train/adapter.h"
#include "train/output.h"
#include "train/teaching.h"
#include "train/train_recipe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { USUAL_WINDOW = 256, STORE_BYTES = 64 << 20 }; // bytes of layers' inputs, but for a window's
enum { RECORD = 1 };                                 // kind of the checkpoints' records

typedef struct train {
    nut_job job;
    nut_status (*phase)(struct train *t, nut_error *err); // what the next step does
    nut_train_options options;
    char *text; // of the recipe
    train_recipe r;
    adamw_options adamw;
    // the model
    model_source source;
    layer_load *loads; // (n_layer + 1) of layers, and of what is outside of them
    size_t n_loads;
    threads *team;
    dense *d;
    pass *p;
    teaching teaching;
    loss_head *loss;
    learn *learn;
    size_t n_read; // tensors whose blocks were
    // a group of windows
    batches batches;
    size_t at_once;        // windows
    int32_t *ids, *labels; // (at_once, window)
    float *store;          // (n_layer + 1, p->n, n_embd) inputs of layers, and the last one's output
    float *dx;             // (p->n, n_embd)
    // where it is
    uint32_t step;
    size_t window;  // of the step's, or of those held out
    bool measured;  // what is held out, at this step
    loss_sums sums; // of the windows so far
    double hint;    // likewise
    float result;   // of what is held out, at the end
    // what is kept: step (8 bytes), steps, numbers and moments
    state state;
    uint8_t *kept;
    size_t n_kept;
    nut_train_step *steps; // (adamw.steps)
    float *first, *second; // (learn->n)
    output output;
    adapter from; // that learning goes on from
    adapter_writer adapter;
    char note[200];
} train;

static uint32_t n_layer(const train *t) {
    return t->source.m->hp.n_layer;
}

/* Input of layer il for the group, (p->n, n_embd). */
static float *stored(const train *t, size_t il) {
    return t->store + il * t->p->n * t->source.m->hp.n_embd;
}

/* ---- the end ---- */

static nut_status begin_step(train *t, nut_error *err);

static nut_status write_output(train *t, nut_error *err) {
    bool over = false;
    TRY(output_step(&t->output, &t->job, &over, err));
    if (over) job_done(&t->job);
    return NUT_OK;
}

static nut_status write_adapter(train *t, nut_error *err) {
    (void)err;
    if (adapter_write_step(&t->adapter, &t->job)) job_done(&t->job);
    return NUT_OK;
}

static nut_status begin_output(train *t, nut_error *err) {
    const learn_kind *kind = t->learn->options.kind;
    t->phase = kind == &learn_lora ? write_adapter : write_output;
    if (kind == &learn_lora) return adapter_write_learned(&t->adapter, t->learn, t->text, err);
    return output_begin(&t->output, t->learn,
                        kind->block  ? "f16"
                        : *t->r.type ? t->r.type
                                     : "f32",
                        t->text, err);
}

/* ---- a step ---- */

static void forward(train *t) {
    const size_t bytes = t->p->n * t->source.m->hp.n_embd * sizeof(float);
    pass_embed(t->p, t->ids, t->store);
    for (uint32_t il = 0; il < n_layer(t); il++) {
        memcpy(stored(t, il + 1), stored(t, il), bytes);
        pass_forward(t->p, il, stored(t, il + 1));
    }
}

static void backward(train *t) {
    hints *h = t->teaching.hints;
    for (uint32_t il = n_layer(t); il-- > 0;) {
        if (h) hints_back(h, il, stored(t, il + 1), t->labels, t->dx);
        pass_backward(t->p, il, stored(t, il), t->dx);
    }
    learn_embedded(t->learn, t->ids, t->dx, t->p->n);
    if (h) t->hint += hints_loss(h);
}

static void tell_progress(train *t) {
    const uint64_t batch = (uint64_t)t->r.batch;
    const float last = t->step ? t->steps[t->step - 1].loss : 0;
    if (t->step)
        snprintf(t->note, sizeof t->note, "step %u, loss %.4f", t->step, (double)last);
    else
        snprintf(t->note, sizeof t->note, "first step");
    job_progress(&t->job, t->note, t->step * batch + t->window, t->adamw.steps * batch);
}

static bool is_finite(double x) {
    return x - x == 0;
}

/* Weights that have grown beyond all bounds are where it went wrong. */
static nut_status tell_astray(const train *t, double loss, double norm, nut_error *err) {
    double largest;
    const learn_tensor *at = learn_worst(t->learn, t->learn->numbers, &largest);
    return error_set(err, NUT_E_STATE,
                     "training went astray at step %u: the loss is %g, the gradient's norm %g, and the "
                     "largest weight %g, of %.*s; give a lower \"rate\" or a longer \"warmup\", and the "
                     "same command goes on behind the last checkpoint",
                     t->step + 1, loss, norm, largest, (int)at->source->name.n, at->source->name.s);
}

static nut_status save(train *t, nut_error *err);

static nut_status end_step(train *t, nut_error *err) {
    const double scale = t->sums.n ? 1 / (double)t->sums.n : 1, loss = (t->sums.loss + t->hint) * scale;
    nut_train_step *s = &t->steps[t->step];
    double largest;
    const double norm = adamw_step(&t->adamw, t->step, t->learn, t->first, t->second, scale);
    learn_worst(t->learn, t->learn->numbers, &largest);
    if (!is_finite(norm) || !is_finite(loss) || !is_finite(largest)) return tell_astray(t, loss, norm, err);
    learn_apply(t->learn);
    s->loss = (float)loss, s->norm = (float)norm;
    s->cross_entropy = (float)(t->sums.cross_entropy / (double)(t->sums.n_text ? t->sums.n_text : 1));
    s->divergence = (float)(t->sums.divergence * scale);
    s->hint = (float)(t->hint * scale);
    s->rate = (float)adamw_rate(&t->adamw, t->step);
    t->step++;
    t->window = 0;
    t->measured = false;
    const bool saves = t->step == t->adamw.steps || t->step % (uint32_t)t->r.checkpoint == 0;
    t->phase = saves ? save : begin_step;
    tell_progress(t);
    return NUT_OK;
}

static nut_status run_group(train *t, nut_error *err) {
    const size_t batch = (size_t)t->r.batch;
    for (size_t i = 0; i < t->at_once; i++)
        TRY(teaching_take(&t->teaching, (uint64_t)t->step * batch + t->window + i, i,
                          t->ids + i * t->p->window, t->labels + i * t->p->window, err));
    forward(t);
    teaching_forward(&t->teaching, t->ids);
    const loss_batch b = teaching_batch(&t->teaching, stored(t, n_layer(t)), t->labels);
    if (!loss_add(t->loss, &b, &t->sums, t->dx))
        return error_set(err, NUT_E_CORRUPT, "the stored logits are damaged; store them again");
    backward(t);
    t->window += t->at_once;
    if (t->window == batch) return end_step(t, err);
    tell_progress(t);
    return NUT_OK;
}

/* ---- what is held out ---- */

static nut_status end_held(train *t, nut_error *err) {
    const float mean = (float)(t->sums.cross_entropy / (double)(t->sums.n ? t->sums.n : 1));
    (void)err;
    if (t->step < t->adamw.steps)
        t->steps[t->step].held_out = mean;
    else
        t->result = mean;
    t->window = 0;
    t->measured = true;
    t->phase = begin_step;
    return NUT_OK;
}

static nut_status run_held(train *t, nut_error *err) {
    for (size_t i = 0; i < t->at_once; i++)
        batches_take_held(&t->batches, t->window + i, t->ids + i * t->p->window,
                          t->labels + i * t->p->window);
    teaching_rest(&t->teaching);
    forward(t);
    const loss_batch b = {.x = stored(t, n_layer(t)), .labels = t->labels, .rows = t->teaching.rows};
    loss_add(t->loss, &b, &t->sums, NULL);
    t->window += t->at_once;
    if (t->window + t->at_once > t->batches.n_held) return end_held(t, err);
    job_progress(&t->job, "measuring what is held out", t->step * (uint64_t)t->r.batch,
                 t->adamw.steps * (uint64_t)t->r.batch);
    return NUT_OK;
}

static nut_status begin_step(train *t, nut_error *err) {
    const bool last = t->step == t->adamw.steps, due = last || t->step % (uint32_t)t->r.evaluate == 0;
    (void)err;
    t->sums = (loss_sums){0};
    t->hint = 0;
    if (!last && !t->measured) t->steps[t->step].held_out = -1;
    t->phase = due && t->batches.n_held && !t->measured ? run_held : last ? begin_output : run_group;
    return NUT_OK;
}

/* ---- checkpoints ---- */

/* The newest record, or with `oldest` the one that is to be written over; NULL: there is none. */
static const state_record *find_record(const train *t, bool oldest) {
    const state_record *a = state_nth(&t->state, RECORD, 0), *b = state_nth(&t->state, RECORD, 1);
    const bool a_newer = a && a->whole && (!b || !b->whole || a->number > b->number);
    if (oldest) return !b ? NULL : a_newer ? b : a;
    const state_record *newest = a_newer ? a : b;
    return newest && newest->whole && newest->n == t->n_kept ? newest : NULL;
}

static nut_status save(train *t, nut_error *err) {
    const uint64_t step = t->step;
    bool ready = false;
    memcpy(t->kept, &step, sizeof step);
    TRY(state_write(&t->state, &t->job, find_record(t, true), RECORD, t->step, t->kept, t->n_kept, &ready,
                    err));
    if (ready) t->phase = begin_step;
    return NUT_OK;
}

static nut_status take_kept(train *t, nut_error *err) {
    uint64_t step;
    (void)err;
    memcpy(&step, t->kept, sizeof step);
    t->step = (uint32_t)step;
    learn_apply(t->learn);
    t->phase = begin_step;
    snprintf(t->note, sizeof t->note, "going on behind the checkpoint of step %u", t->step);
    job_note(&t->job, t->note);
    return NUT_OK;
}

static nut_status open_state(train *t, nut_error *err) {
    bool ready = false;
    TRY(state_open(&t->state, &t->job, t->state.key, &ready, err));
    if (!ready) return NUT_OK;
    const state_record *rec = find_record(t, false);
    t->phase = rec ? take_kept : begin_step;
    if (rec) state_want(rec, &t->job, t->kept);
    return NUT_OK;
}

static void mix_key(train *t, const void *bytes, size_t n) {
    t->state.key = (t->state.key ^ xxhash32(bytes, n)) * 0x9e3779b97f4a7c15u;
    t->state.key ^= t->state.key >> 29;
}

/* What a checkpoint belongs to: the model, the text, and what makes batches. Rates may change. */
static void make_key(train *t) {
    const double numbers[] = {t->r.steps, t->r.batch, (double)t->p->window, t->r.seed, t->r.held_out,
                              t->r.rank,  t->r.alpha};
    mix_key(t, numbers, sizeof numbers);
    mix_key(t, t->r.learn, strlen(t->r.learn));
    mix_key(t, t->learn->options.kind->name, strlen(t->learn->options.kind->name));
    if (t->learn->options.kind->block) mix_key(t, t->r.type, strlen(t->r.type));
    mix_key(t, t->batches.ids, t->batches.n_ids * sizeof *t->batches.ids);
    if (t->batches.learned) mix_key(t, t->batches.learned, t->batches.n_ids);
    if (*t->r.hint) mix_key(t, t->r.hint, strlen(t->r.hint));
    if (t->r.on_policy > 0) mix_key(t, &t->r.on_policy, sizeof t->r.on_policy);
    if (t->options.logits) mix_key(t, t->options.logits, t->options.n_logits);
    mix_key(t, t->learn->numbers, t->learn->n * sizeof(float));
}

/* ---- the beginning ---- */

static nut_status take_kept_memory(train *t, nut_error *err) {
    const size_t n_steps = t->adamw.steps * sizeof *t->steps, n = t->learn->n * sizeof(float);
    t->n_kept = sizeof(uint64_t) + n_steps + 3 * n;
    t->kept = mem_calloc(1, t->n_kept);
    if (!t->kept) return error_memory(err, t->n_kept);
    t->steps = (nut_train_step *)(void *)(t->kept + sizeof(uint64_t));
    t->learn->numbers = (float *)(void *)(t->kept + sizeof(uint64_t) + n_steps);
    t->first = t->learn->numbers + t->learn->n;
    t->second = t->first + t->learn->n;
    TRY(learn_begin(t->learn, err));
    if (!t->options.adapter) return NUT_OK;
    TRY(adapter_take(&t->from, t->learn, err));
    learn_apply(t->learn);
    return NUT_OK;
}

/* As many windows at a time as divide a batch and memory allows. */
static size_t windows_at_once(const train *t, size_t window) {
    const model_hparams *hp = &t->source.m->hp;
    const uint64_t each = (uint64_t)(hp->n_layer + 1) * window * hp->n_embd * sizeof(float);
    size_t n = (size_t)t->r.batch;
    while (n > 1 && ((size_t)t->r.batch % n || n * each > STORE_BYTES ||
                     (t->batches.n_held && n > t->batches.n_held)))
        n--;
    return n;
}

static nut_status take_buffers(train *t, size_t window, nut_error *err) {
    const nut_model *m = t->source.m;
    const size_t n = t->at_once * window;
    TRY(pass_new(m, t->team, n, window, true, &t->p, err));
    t->ids = mem_calloc(n, sizeof *t->ids);
    t->labels = mem_calloc(n, sizeof *t->labels);
    t->store = mem_calloc((m->hp.n_layer + 1) * n, m->hp.n_embd * sizeof(float));
    t->dx = mem_calloc(n, m->hp.n_embd * sizeof(float));
    if (t->ids && t->labels && t->store && t->dx) return NUT_OK;
    return error_memory(err, (uint64_t)(m->hp.n_layer + 2) * n * m->hp.n_embd * sizeof(float));
}

static nut_status begin_teaching(train *t, nut_error *err) {
    const loss_options how = train_recipe_loss(&t->r);
    const teaching_options o = {.teacher = t->options.teacher,
                                .logits = t->options.logits,
                                .n_logits = t->options.n_logits,
                                .hint = train_recipe_hint(&t->r),
                                .own = t->r.on_policy,
                                .mixed = how.kind && how.kind->rewarded ? how.a : 0,
                                .seed = (uint64_t)t->r.seed,
                                .n_threads = t->options.n_threads ? t->options.n_threads : 1};
    TRY(teaching_begin(&t->teaching, &o, t->p, &t->batches, err));
    if (!o.logits || t->teaching.stored.form == STORED_WHOLE || t->r.temperature == 1) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "logits that were stored with --short are known at \"temperature\" 1 alone");
}

/* Blocks of the source whose codes stay. */
static nut_status read_blocks(train *t, nut_error *err) {
    while (t->n_read < t->learn->n_tensors) {
        const learn_tensor *of = &t->learn->tensors[t->n_read++];
        if (!of->blocks) continue;
        job_want(&t->job, of->source->split, of->source->offset, of->blocks, (size_t)of->source->n_bytes);
        return NUT_OK;
    }
    TRY(take_kept_memory(t, err));
    if (t->teaching.hints)
        hints_begin(t->teaching.hints, t->learn->numbers + t->learn->beside,
                    t->learn->gradients + t->learn->beside);
    make_key(t);
    t->phase = open_state;
    return NUT_OK;
}

static nut_status begin_learning(train *t, nut_error *err) {
    learn_options what = {.names = t->r.learn,
                          .kind = train_recipe_kind(&t->r),
                          .type = t->r.type,
                          .rank = (uint32_t)t->r.rank,
                          .alpha = t->r.alpha,
                          .scale = 1,
                          .seed = (uint64_t)t->r.seed,
                          .n_tokens = t->p->n,
                          .n_beside = t->teaching.hints ? hints_numbers(t->teaching.hints) : 0};
    loss_options how = train_recipe_loss(&t->r);
    if (t->options.adapter) what.rank_of = adapter_rank, what.ctx = &t->from, what.alpha = t->from.alpha;
    how.aligned = t->teaching.aligned;
    how.form = t->teaching.stored.form;
    TRY(loss_new(&how, t->p, t->teaching.pass, &t->loss, err));
    TRY(learn_new(t->source.m, t->loads, t->n_loads, t->d, &what, &t->learn, err));
    t->p->learner = &t->learn->hooks;
    t->phase = read_blocks;
    return NUT_OK;
}

static nut_status make_batches(train *t, size_t window, nut_error *err) {
    const nut_train_options *o = &t->options;
    const vocab *v = t->source.m->vocab;
    const uint64_t seed = (uint64_t)t->r.seed;
    if (!o->ids)
        return batches_of_text(&t->batches, v, o->text, o->n_text, window, t->r.held_out, seed, err);
    return batches_of_ids(&t->batches, v, o->ids, o->learned, o->n_ids, window, t->r.held_out, seed, err);
}

static nut_status prepare(train *t, nut_error *err) {
    const nut_model *m = t->source.m;
    const uint32_t context = m->hp.n_ctx_train;
    size_t window = (size_t)t->r.window;
    if (!window) window = context < USUAL_WINDOW ? context : USUAL_WINDOW;
    if (window > context)
        return error_set(err, NUT_E_ARGUMENT, "the model sees %u tokens at most; give a smaller \"window\"",
                         context);
    TRY(make_batches(t, window, err));
    t->at_once = windows_at_once(t, window);
    TRY(threads_new(t->options.n_threads ? t->options.n_threads : 1, &t->team, err));
    TRY(dense_new(t->team, &t->d, err));
    TRY(take_buffers(t, window, err));
    TRY(begin_teaching(t, err));
    return begin_learning(t, err);
}

/* What is outside of layers first. */
static nut_status load_parts(train *t, nut_error *err) {
    const int which = t->n_loads ? (int)t->n_loads - 1 : BIND_MODEL;
    bool ready = false;
    TRY(model_source_layer(&t->source, &t->job, which, &ready, err));
    if (!ready) return NUT_OK;
    t->loads[t->n_loads++] = t->source.layer;
    t->source.layer = (layer_load){0};
    if (t->n_loads == n_layer(t) + 1) t->phase = prepare;
    return NUT_OK;
}

static nut_status read_headers(train *t, nut_error *err) {
    bool ready = false;
    TRY(model_source_headers(&t->source, &t->job, true, &ready, err));
    if (!ready) return NUT_OK;
    t->loads = mem_calloc(n_layer(t) + 1, sizeof *t->loads);
    t->phase = load_parts;
    return t->loads ? NUT_OK : error_memory(err, (n_layer(t) + 1) * sizeof *t->loads);
}

/* ---- the job ---- */

static nut_status step(nut_job *job, nut_error *err) {
    train *t = (train *)job;
    return t->phase(t, err);
}

static void free_job(nut_job *job) {
    train *t = (train *)job;
    output_free(&t->output);
    adapter_write_free(&t->adapter);
    adapter_free(&t->from);
    loss_free(t->loss);
    teaching_free(&t->teaching);
    pass_free(t->p);
    learn_free(t->learn);
    dense_free(t->d);
    threads_free(t->team);
    for (size_t i = 0; i < t->n_loads; i++) layer_load_free(&t->loads[i]);
    mem_free(t->loads);
    model_source_free(&t->source);
    batches_free(&t->batches);
    state_free(&t->state);
    void *const all[] = {t->ids, t->labels, t->store, t->dx, t->kept, t->text};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    mem_free(t);
}

static nut_status begin(train *t, nut_error *err) {
    const nut_train_options *o = &t->options;
    TRY(train_recipe_read(o->recipe, o->n_recipe, &t->r, err));
    t->adamw = train_recipe_adamw(&t->r);
    t->text = mem_calloc(1, o->n_recipe + 1);
    if (!t->text) return error_memory(err, o->n_recipe + 1);
    memcpy(t->text, o->recipe, o->n_recipe);
    if (!*t->r.files.adapter != !o->adapter)
        return error_set(err, NUT_E_ARGUMENT, "the recipe's adapter is to be given with it, and none else");
    if (o->adapter) TRY(adapter_read(&t->from, o->adapter, o->n_adapter, err));
    if (o->n_threads > THREADS_MOST)
        return error_set(err, NUT_E_ARGUMENT, "threads must be 1 to %d, not %u", THREADS_MOST, o->n_threads);
    if (!*t->r.files.teacher == !o->teacher && !*t->r.files.logits == !o->logits) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "the recipe's teacher, or its logits, is to be given with it, and none else");
}

nut_status nut_train_begin(const nut_train_options *options, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    train *t = mem_calloc(1, sizeof *t);
    if (!t) return error_memory(err, sizeof *t);
    t->job.ops = &ops;
    t->options = *options;
    t->phase = read_headers;
    t->result = -1;
    t->state.kept = options->keeps_state;
    const nut_status status = begin(t, err);
    if (status == NUT_OK)
        *out = &t->job;
    else
        free_job(&t->job);
    return status;
}

const nut_train_step *nut_train_steps(const nut_job *job, uint32_t *n) {
    const train *t = (const train *)job;
    *n = t->step;
    return t->steps;
}

float nut_train_result(const nut_job *job) {
    return ((const train *)job)->result;
}
