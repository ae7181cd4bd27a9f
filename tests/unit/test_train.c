/* The job of training: it follows PyTorch's losses, comes to the same bits however it is interrupted and
 * with any threads, writes what it measured, leaves what is not learned, and tells its failures. */
#include "../golden/training.h"
#include "check.h"
#include "counting_alloc.h"
#include "data.h"
#include "make_gguf.h"
#include "memory_job.h"

#include "base/error.h"
#include "model/gguf.h"
#include "nutshell_train.h"

#include <math.h>

static const char text[] =
    "The owl sat in the tree and the cat went to the sea. A band of men then came to the inn at the end of "
    "the road, and the rain ran down the pane. What the hen ate that day no one can tell. In the end the "
    "man let the cat in, and the dog and the hen and the owl ate at one table until the rain was over.";

/* A run over files in memory. */
typedef struct runner {
    memory_job mj;
    nut_train_options o;
    char recipe[600];
    nut_train_step steps[TRAINING_STEPS];
    uint32_t n_steps;
    float result;
} runner;

/* Options as JSON, behind the names of files. */
static void set_recipe(runner *r, const char *options) {
    snprintf(r->recipe, sizeof r->recipe, "{\"model\": \"a\", \"text\": \"b\", \"output\": \"c\"%s%s}",
             *options ? ", " : "", options);
    r->o.recipe = r->recipe;
    r->o.n_recipe = strlen(r->recipe);
}

static runner runner_of(const uint8_t *file, size_t n, const char *options) {
    runner r = {.mj = {.file = {file}, .n_bytes = {n}}, .o = {.text = text, .n_text = sizeof text - 1}};
    set_recipe(&r, options);
    return r;
}

/* To its end, or where the driver is to stop. What an earlier run wrote is dropped. */
static nut_status run(runner *r, nut_error *err) {
    nut_job *job;
    free(r->mj.out);
    r->mj.out = NULL, r->mj.n_out = r->mj.cap = r->mj.n_steps = 0, r->mj.done = false;
    r->o.recipe = r->recipe; // the runner may have been copied
    TRY(nut_train_begin(&r->o, &job, err));
    const nut_status status = memory_job_drive(&r->mj, job, err);
    const nut_train_step *steps = nut_train_steps(job, &r->n_steps);
    for (uint32_t i = 0; i < r->n_steps && i < TRAINING_STEPS; i++) r->steps[i] = steps[i];
    r->result = nut_train_result(job);
    nut_job_free(job);
    return status;
}

static void free_runner(runner *r) {
    free(r->mj.out), free(r->mj.state);
}

/* ---- PyTorch ---- */

static void test_curve(void) {
    size_t n_file, n_text;
    nut_error err = {0};
    char *file = data_read("models/stories260K-f32.gguf", &n_file);
    char *stories = data_read("text/tinystories-2MB-cased.txt", &n_text);
    if (!file || !stories) {
        CHECK_SKIP("models/stories260K-f32.gguf or text/tinystories-2MB-cased.txt is missing");
        free(file), free(stories);
        return;
    }
    runner r = runner_of((const uint8_t *)file, n_file, training_options);
    r.o.text = stories, r.o.n_text = TRAINING_BYTES;
    double worst = 0;
    CHECK(run(&r, &err) == NUT_OK, "%s", err.message);
    CHECK(r.n_steps == TRAINING_STEPS, "%u steps", r.n_steps);
    for (uint32_t i = 0; i < r.n_steps; i++) {
        const double off = fabs((double)r.steps[i].loss / training_losses[i] - 1);
        CHECK(off < 0.01, "step %u: loss %g, PyTorch has %g", i, (double)r.steps[i].loss,
              training_losses[i]);
        worst = off > worst ? off : worst;
    }
    printf("200 steps follow PyTorch's losses within %.4f %%\n", 100 * worst);
    free_runner(&r);
    free(file), free(stories);
}

/* ---- the same bits ---- */

#define SHORT                                                                                               \
    "\"steps\": 12, \"batch\": 3, \"window\": 16, \"warmup\": 3, \"checkpoint\": 4, \"evaluate\": 5, "      \
    "\"held_out\": 0.3"

#define ADAPTER SHORT ", \"rank\": 3, \"alpha\": 6, \"rate\": 0.01"

static bool same(const runner *a, const runner *b) {
    return a->mj.n_out == b->mj.n_out && !memcmp(a->mj.out, b->mj.out, a->mj.n_out) &&
           a->n_steps == b->n_steps && !memcmp(a->steps, b->steps, a->n_steps * sizeof *a->steps) &&
           !memcmp(&a->result, &b->result, sizeof a->result);
}

/* Stopped after so many events, again and again, and gone on with. */
static void check_interrupted(const runner *whole, const uint8_t *file, size_t n, size_t stop_at,
                              const char *options) {
    runner r = runner_of(file, n, options);
    nut_error err = {0};
    size_t n_runs = 0, n_state = 0, went_on = 0;
    r.o.keeps_state = true;
    r.o.n_threads = 2;
    for (; !r.mj.done && n_runs < 200; n_runs++) {
        r.mj.stop_at = stop_at + 5 * n_runs;
        r.mj.notes[0] = 0;
        if (!CHECK(run(&r, &err) == NUT_OK && !r.mj.n_wrong, "%s", err.message)) break;
        went_on += strstr(r.mj.notes, "going on") != NULL;
        CHECK(r.mj.n_state >= n_state, "the state has become smaller");
        n_state = r.mj.n_state;
    }
    CHECK(went_on > 0 && same(whole, &r), "%zu runs, %zu went on: other bits", n_runs, went_on);
    free_runner(&r);
}

/* A checkpoint that was torn is passed over for the one before. */
static void check_torn(const runner *whole, const uint8_t *file, size_t n) {
    runner r = runner_of(file, n, SHORT);
    nut_error err = {0};
    r.o.keeps_state = true;
    CHECK(run(&r, &err) == NUT_OK && r.mj.n_state > 100, "%s", err.message);
    for (size_t at = r.mj.n_state - 1; at > 0; at -= r.mj.n_state / 3) {
        runner again = r;
        again.mj.state = malloc(r.mj.n_state);
        memcpy(again.mj.state, r.mj.state, r.mj.n_state);
        again.mj.state[at] ^= 1;
        again.mj.out = NULL;
        CHECK(run(&again, &err) == NUT_OK && same(whole, &again), "byte %zu: %s", at, err.message);
        free_runner(&again);
        if (at < r.mj.n_state / 3) break;
    }
    free_runner(&r);
}

static void test_same_bits(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_F32, .n_layer = 3});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_error err = {0};
    runner whole = runner_of(file, n, SHORT);
    CHECK(run(&whole, &err) == NUT_OK && whole.mj.done && !whole.mj.n_wrong, "%s", err.message);
    CHECK(whole.n_steps == 12 && whole.result > 0 && whole.result < whole.steps[0].held_out,
          "held out: %g before, %g after", (double)whole.steps[0].held_out, (double)whole.result);
    CHECK(whole.steps[5].held_out > 0 && whole.steps[4].held_out < 0, "measured at other steps");
    for (size_t stop = 10; stop < 22; stop += 3) check_interrupted(&whole, file, n, stop, SHORT);
    check_torn(&whole, file, n);
    runner adapter = runner_of(file, n, ADAPTER);
    CHECK(run(&adapter, &err) == NUT_OK, "%s", err.message);
    check_interrupted(&adapter, file, n, 13, ADAPTER);
    free_runner(&adapter);
    runner other = runner_of(file, n, SHORT ", \"seed\": 2");
    CHECK(run(&other, &err) == NUT_OK && !same(&whole, &other), "the seed changes nothing");
    rng random;
    rng_seed(&random, 3);
    runner slices = runner_of(file, n, SHORT);
    slices.mj.random = &random;
    CHECK(run(&slices, &err) == NUT_OK && same(&whole, &slices), "slices of the file: %s", err.message);
    free_runner(&whole), free_runner(&other), free_runner(&slices);
    free(file);
    make_free(&g);
}

/* ---- the output ---- */

static bool read_gguf(const uint8_t *bytes, size_t n, gguf *g) {
    bool complete = false;
    size_t used;
    nut_error err = {0};
    gguf_begin(g, n, &err);
    const nut_status status = gguf_feed(g, bytes, n, &used, &complete, &err);
    return CHECK(status == NUT_OK && complete, "%s", err.message);
}

/* Tensors that are not learned are copied bit by bit; the others have changed. */
static void check_frozen(const uint8_t *file, size_t n, const char *options, size_t n_changed,
                         uint32_t type) {
    runner r = runner_of(file, n, options);
    nut_error err = {0};
    gguf before, after;
    size_t changed = 0;
    if (!CHECK(run(&r, &err) == NUT_OK && !r.mj.n_wrong, "%s", err.message)) return;
    if (read_gguf(file, n, &before) && read_gguf(r.mj.out, r.mj.n_out, &after)) {
        CHECK(gguf_find(&after, "nutshell.train.recipe"), "the recipe is not in the file");
        CHECK(before.n_tensors == after.n_tensors, "%d tensors", (int)after.n_tensors);
        for (uint64_t i = 0; i < after.n_tensors; i++) {
            const gguf_tensor *a = &before.tensors[i], *b = &after.tensors[i];
            const bool is_same = a->ggml_type == b->ggml_type && a->n_bytes == b->n_bytes &&
                                 !memcmp(file + a->offset, r.mj.out + b->offset, (size_t)a->n_bytes);
            changed += !is_same;
            CHECK(is_same || b->ggml_type == (b->n_dims > 1 ? type : 0), "type %u", b->ggml_type);
        }
        gguf_free(&before), gguf_free(&after);
    }
    CHECK(changed == n_changed, "%s: %zu tensors have changed", options, changed);
    free_runner(&r);
}

/* What a run measures at its end, the next one measures of its file. */
static void check_export(const uint8_t *file, size_t n, const char *options, double within) {
    runner a = runner_of(file, n, options);
    nut_error err = {0};
    CHECK(run(&a, &err) == NUT_OK, "%s", err.message);
    runner b = runner_of(a.mj.out, a.mj.n_out, options);
    CHECK(run(&b, &err) == NUT_OK, "%s", err.message);
    CHECK(fabs((double)(b.steps[0].held_out - a.result)) <= within * (double)a.result,
          "%s: %.9g was measured, and %.9g of the file", options, (double)a.result,
          (double)b.steps[0].held_out);
    free_runner(&a), free_runner(&b);
}

static void test_output(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0, .untied = true});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    const uint64_t n_tensors = 9 * 2 + 3;
    check_frozen(file, n, SHORT ", \"learn\": \"norms\"", 2 * 2 + 1, 0);
    check_frozen(file, n, SHORT ", \"learn\": \"blk.1.ffn_up.weight\"", 1, 0);
    check_frozen(file, n, SHORT ", \"learn\": \"blk.0.*\", \"type\": \"f16\"", 9, 1);
    check_frozen(file, n, SHORT, n_tensors, 0);
    check_export(file, n, SHORT, 0);
    check_export(file, n, SHORT ", \"type\": \"f16\"", 1e-3);
    check_export(file, n, SHORT ", \"kind\": \"dora\", \"rank\": 2", 1e-6);
    free(file);
    make_free(&g);
}

/* ---- tokens ---- */

/* The losses of halves of a window's tokens add up to that of all; all as ids are the text. */
static void test_tokens(void) {
#define ONE "\"steps\": 1, \"batch\": 1, \"window\": 16, \"held_out\": 0"
    enum { N_IDS = 17 };
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_F32});
    size_t n, n_odd = 0;
    uint8_t *file = make_file(&g, &n), learned[2][N_IDS];
    int32_t ids[N_IDS], wrong[N_IDS] = {[5] = 1 << 20};
    nut_error err = {0};
    for (int i = 0; i < N_IDS; i++) {
        ids[i] = (i * 37 + 5) % 250;
        learned[1][i] = i > 0 && i % 3 == 1;
        learned[0][i] = !learned[1][i];
        n_odd += learned[1][i];
    }
    double losses[3];
    for (int part = 0; part < 3; part++) {
        runner r = runner_of(file, n, ONE);
        r.o.ids = ids, r.o.n_ids = N_IDS, r.o.learned = part < 2 ? learned[part] : NULL;
        CHECK(run(&r, &err) == NUT_OK && r.n_steps == 1, "%s", err.message);
        losses[part] = (double)r.steps[0].loss;
        free_runner(&r);
    }
    const double sum = losses[0] * (double)(16 - n_odd) + losses[1] * (double)n_odd;
    CHECK(fabs(sum - 16 * losses[2]) < 1e-4 && fabs(losses[0] - losses[1]) > 0.01,
          "%g and %g, and of all %g", losses[0], losses[1], losses[2]);
    runner r = runner_of(file, n, ONE);
    r.o.ids = wrong, r.o.n_ids = N_IDS;
    CHECK(run(&r, &err) == NUT_E_ARGUMENT && strstr(err.message, "none of the vocabulary"), "%s",
          err.message);
    free_runner(&r);
    r.o.ids = ids, r.o.learned = (const uint8_t *)wrong;
    CHECK(run(&r, &err) == NUT_E_ARGUMENT && strstr(err.message, "no token is to be learned"), "%s",
          err.message);
    free_runner(&r);
    free(file);
    make_free(&g);
}

/* ---- blocks ---- */

static void check_refused(const uint8_t *file, size_t n, const char *options, const char *says) {
    runner r = runner_of(file, n, options);
    nut_error err = {0};
    CHECK(run(&r, &err) != NUT_OK && strstr(err.message, says), "%s: %s", options, err.message);
    free_runner(&r);
}

static const gguf_tensor *find_source(const gguf *g, const char *name) {
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (gguf_str_is(g->tensors[i].name, name)) return &g->tensors[i];
    return NULL;
}

/* The type of a matrix that is learned; what is measured at the end is what the file gives. */
static void check_blocks(const uint8_t *file, size_t n, const char *options, const char *type) {
    runner r = runner_of(file, n, options);
    nut_error err = {0};
    gguf g;
    if (CHECK(run(&r, &err) == NUT_OK && !r.mj.n_wrong, "%s: %s", options, err.message) &&
        read_gguf(r.mj.out, r.mj.n_out, &g)) {
        const gguf_tensor *t = find_source(&g, "blk.0.attn_q.weight");
        CHECK(format_by_ggml(t->ggml_type) == format_by_name(type), "%s: type %u", options, t->ggml_type);
        gguf_free(&g);
    }
    CHECK(r.n_steps == 12 && r.result < r.steps[0].held_out, "%s: %g before, %g after", options,
          (double)r.steps[0].held_out, (double)r.result);
    runner after = runner_of(r.mj.out, r.mj.n_out, SHORT);
    CHECK(run(&after, &err) == NUT_OK && after.steps[0].held_out == r.result,
          "%s: %.9g was measured, and %.9g of the file", options, (double)r.result,
          (double)after.steps[0].held_out);
    free_runner(&r), free_runner(&after);
}

/* Without steps of any size, ternary weights are round(w / mean |w|), cut to -1..1, times that mean as a
 * half float: arXiv 2402.17764, equations 1 to 3. */
static void check_ternary(const uint8_t *file, size_t n, const char *type) {
    static float made[256 * 256];
    char options[300];
    nut_error err = {0};
    gguf a, b;
    snprintf(options, sizeof options,
             "\"steps\": 1, \"window\": 16, \"rate\": 0, \"kind\": \"ternary\", \"type\": \"%s\"", type);
    runner r = runner_of(file, n, options);
    if (!CHECK(run(&r, &err) == NUT_OK, "%s", err.message) || !read_gguf(file, n, &a) ||
        !read_gguf(r.mj.out, r.mj.n_out, &b))
        return;
    const gguf_tensor *from = find_source(&a, "blk.0.ffn_up.weight"),
                      *to = find_source(&b, "blk.0.ffn_up.weight");
    const float *w = (const float *)(const void *)(file + from->offset);
    const size_t n_weights = (size_t)(from->dims[0] * from->dims[1]);
    double sum = 0;
    size_t wrong = 0;
    for (size_t i = 0; i < n_weights; i++) sum += fabs((double)w[i]);
    const double mean = sum / (double)n_weights;
    const float scale = half_f16_to_f32(half_f32_to_f16((float)mean));
    format_by_name(type)->dequantize(r.mj.out + to->offset, n_weights / format_by_name(type)->block, made);
    for (size_t i = 0; i < n_weights; i++) {
        const double code = fmax(-1, fmin(1, round((double)w[i] / (double)scale)));
        wrong += made[i] != (float)code * scale;
    }
    CHECK(n_weights == 256 * 256 && wrong == 0, "%s: %zu of %zu weights differ", type, wrong, n_weights);
    gguf_free(&a), gguf_free(&b);
    free_runner(&r);
}

/* Codes stay, halves change. */
static void check_codes(const uint8_t *file, size_t n, const char *name, format_id id) {
    runner r = runner_of(file, n, SHORT ", \"rate\": 0.01, \"kind\": \"scales\"");
    nut_error err = {0};
    gguf a, b;
    int at[2];
    const int n_halves = halves_of(id, at);
    size_t others = 0, halves = 0;
    if (!CHECK(run(&r, &err) == NUT_OK, "%s", err.message) || !read_gguf(file, n, &a) ||
        !read_gguf(r.mj.out, r.mj.n_out, &b))
        return;
    const gguf_tensor *t = find_source(&a, name);
    const uint8_t *before = file + t->offset, *after = r.mj.out + find_source(&b, name)->offset;
    for (size_t i = 0; i < t->n_bytes; i++) {
        const int place = (int)(i % format_table[id].bytes);
        bool half = false;
        for (int k = 0; k < n_halves; k++) half |= place / 2 == at[k] / 2;
        if (before[i] != after[i]) halves += half, others += !half;
    }
    CHECK(others == 0 && halves > 50, "%s: %zu bytes of codes have changed, %zu of halves",
          format_table[id].name, others, halves);
    gguf_free(&a), gguf_free(&b);
    free_runner(&r);
}

static void check_scales(format_id id) {
    make_gguf g = make_model(&(make_options){.matrices = id, .n_embd = 256, .n_ff = 256, .n_layer = 1});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    char type[16];
    snprintf(type, sizeof type, "%s", format_table[id].name);
    check_codes(file, n, "blk.0.attn_q.weight", id);
    check_blocks(file, n, SHORT ", \"rate\": 0.003, \"kind\": \"scales\"", type);
    free(file);
    make_free(&g);
}

/* Of each block the minimum alone changes. */
static void check_minimums(void) {
    static const char options[] = SHORT ", \"rate\": 0.01, \"rank\": 2, \"kind\": \"qa_lora\"";
    make_gguf g =
        make_model(&(make_options){.matrices = FORMAT_Q4_1, .n_embd = 256, .n_ff = 256, .n_layer = 1});
    size_t n, others = 0, minimums = 0;
    uint8_t *file = make_file(&g, &n);
    nut_error err = {0};
    gguf a, b;
    check_blocks(file, n, options, "q4_1");
    runner r = runner_of(file, n, options);
    CHECK(run(&r, &err) == NUT_OK, "%s", err.message);
    if (!read_gguf(file, n, &a) || !read_gguf(r.mj.out, r.mj.n_out, &b)) return;
    const gguf_tensor *t = find_source(&a, "blk.0.attn_q.weight");
    const uint8_t *before = file + t->offset,
                  *after = r.mj.out + find_source(&b, "blk.0.attn_q.weight")->offset;
    for (size_t i = 0; i < t->n_bytes; i++)
        *(i % 20 / 2 == 1 ? &minimums : &others) += before[i] != after[i];
    CHECK(others == 0 && minimums > 50, "%zu bytes of minimums have changed, %zu others", minimums, others);
    gguf_free(&a), gguf_free(&b);
    free_runner(&r), free(file), make_free(&g);
}

static void check_blocks_refused(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_F32});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    check_refused(file, n, "\"kind\": \"round\"", "there are full lora dora qa_lora rounded ternary");
    check_refused(file, n, "\"kind\": \"rounded\"", "choose one of q8_0, q4_0");
    check_refused(file, n, "\"kind\": \"rounded\", \"type\": \"f32\"", "choose one of q8_0, q4_0");
    check_refused(file, n, "\"kind\": \"ternary\"", "is tq1_0, tq2_0 or step2");
    check_refused(file, n, "\"kind\": \"ternary\", \"type\": \"tq2_0\"", "whole blocks of 256");
    check_refused(file, n, "\"kind\": \"scales\", \"type\": \"q4_0\"", "leave out \"type\"");
    check_refused(file, n, "\"kind\": \"step\", \"type\": \"q5_1\"", "steps are learned of q8_0, q4_0");
    check_refused(file, n, "\"kind\": \"scales\"", "names no tensor that can be learned");
    check_refused(file, n, "\"kind\": \"scales\", \"rank\": 2", "go together");
    check_refused(file, n, "\"kind\": \"lora\"", "go together");
    check_refused(file, n, "\"kind\": \"qa_lora\", \"rank\": 2", "names no tensor that can be learned");
    check_refused(file, n, "\"adapter\": \"a\"", "to be given with it");
    check_refused(file, n, "\"adapter\": \"a\", \"rank\": 2", "leave them out");
    free(file);
    make_free(&g);
}

static void check_rounded_interrupted(void) {
    static const char options[] = SHORT ", \"kind\": \"rounded\", \"type\": \"q4_0\"";
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_F32});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_error err = {0};
    runner whole = runner_of(file, n, options);
    CHECK(run(&whole, &err) == NUT_OK, "%s", err.message);
    check_interrupted(&whole, file, n, 13, options);
    free_runner(&whole);
    free(file);
    make_free(&g);
}

static void test_blocks(void) {
    make_gguf g =
        make_model(&(make_options){.matrices = FORMAT_F32, .n_embd = 256, .n_ff = 256, .n_layer = 1});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    check_ternary(file, n, "tq1_0");
    check_ternary(file, n, "tq2_0");
    check_ternary(file, n, "step2");
#define BLOCKS SHORT ", \"learn\": \"*attn_q.weight,*norm.weight\", \"rate\": 0.01, \"kind\": "
    check_blocks(file, n, BLOCKS "\"ternary\", \"type\": \"tq2_0\"", "tq2_0");
    check_blocks(file, n, BLOCKS "\"rounded\", \"type\": \"q2_k\"", "q2_k");
    check_blocks(file, n, BLOCKS "\"rounded\", \"type\": \"q4_0\"", "q4_0");
    check_blocks(file, n, BLOCKS "\"step\", \"type\": \"tq2_0\"", "tq2_0");
    check_blocks(file, n, BLOCKS "\"step\", \"type\": \"q4_0\"", "q4_0");
    check_blocks(file, n, BLOCKS "\"step\", \"type\": \"q8_0\"", "q8_0");
    check_blocks(file, n, BLOCKS "\"step\", \"type\": \"step2\"", "step2");
    free(file);
    make_free(&g);
    check_rounded_interrupted();
    check_scales(FORMAT_Q4_0);
    check_scales(FORMAT_Q4_1);
    check_scales(FORMAT_Q2_K);
    check_scales(FORMAT_STEP2);
    check_scales(FORMAT_IQ2_XXS);
    check_minimums();
    check_blocks_refused();
}

/* ---- teachers ---- */

static nut_model *load_teacher(const make_options *o) {
    make_gguf g = make_model(o);
    nut_load_options lo = nut_load_defaults();
    nut_model *m = NULL;
    size_t n;
    uint8_t *file = make_file(&g, &n);
    lo.reference = true;
    CHECK(make_load(file, n, 0, &lo, &m, NULL) == NUT_OK, "load");
    free(file);
    make_free(&g);
    return m;
}

/* From a teacher that is the model itself there is nothing to learn; from another one, whose layers and
 * width differ, a divergence falls. */
static void check_teacher(const uint8_t *file, size_t n, const make_options *o, const char *kind,
                          bool self) {
    char options[400];
    nut_error err = {0};
    nut_model *teacher = load_teacher(o);
    snprintf(options, sizeof options,
             SHORT ", \"teacher\": \"t\", \"divergence\": \"%s\", \"weight\": 1, \"rate\": 0.003", kind);
    runner r = runner_of(file, n, options);
    r.o.teacher = teacher;
    CHECK(run(&r, &err) == NUT_OK && !r.mj.n_wrong, "%s: %s", kind, err.message);
    const double first = (double)r.steps[0].divergence, last = (double)r.steps[11].divergence;
    CHECK(self ? fabs(first) < 1e-6 : last > 0 && last < 0.8 * first, "%s: %g, and in the end %g", kind,
          first, last);
    CHECK(r.steps[0].loss == r.steps[0].divergence && r.steps[0].cross_entropy > 1, "the weight is not 1");
    free_runner(&r);
    nut_model_free(teacher);
}

static void check_no_teacher(const uint8_t *file, size_t n, const make_options *o, const char *says) {
    nut_error err = {0};
    nut_model *teacher = load_teacher(o);
    runner r = runner_of(file, n, SHORT ", \"teacher\": \"t\"");
    r.o.teacher = teacher;
    CHECK(run(&r, &err) != NUT_OK && strstr(err.message, says), "%s", err.message);
    free_runner(&r);
    nut_model_free(teacher);
}

static void test_teachers(void) {
    static const char *const kinds[] = {"kl", "reverse_kl", "jsd", "skew_kl", "skew_reverse_kl"};
    const make_options small = {.matrices = FORMAT_F32, .n_layer = 1},
                       large = {
                           .matrices = FORMAT_Q8_0, .n_layer = 3, .n_embd = 96, .seed = 4, .untied = true};
    make_gguf g = make_model(&small);
    size_t n;
    uint8_t *file = make_file(&g, &n);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        check_teacher(file, n, &large, kinds[i], false);
        check_teacher(file, n, &small, kinds[i], true);
    }
    check_no_teacher(file, n, &(make_options){.byte_pairs = true}, "of the tokenizer gpt2, not llama");
    check_no_teacher(file, n, &(make_options){.n_ctx = 8}, "the teacher sees 8 tokens");
    free(file);
    make_free(&g);
}

/* ---- adapters ---- */

static nut_status merge(memory_job *mj, const memory_job *adapter, float scale, const char *type,
                        nut_error *err) {
    const nut_merge_options o = {adapter->out, adapter->n_out, scale, type};
    nut_job *job;
    TRY(nut_merge_begin(&o, &job, err));
    return memory_job_run(mj, job, err);
}

static const float *find_tensor(const gguf *g, const uint8_t *bytes, gguf_str name, const char *end) {
    char whole[100];
    snprintf(whole, sizeof whole, "%.*s%s", (int)name.n, name.s, end);
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (gguf_str_is(g->tensors[i].name, whole))
            return (const float *)(const void *)(bytes + g->tensors[i].offset);
    return NULL;
}

/* Each merged weight is w + scale alpha / rank (B A): LoRA, arXiv 2106.09685, section 4.1, with the scale of
 * llama.cpp's llama_adapter_lora_weight::get_scale. */
static void check_merged(const uint8_t *file, size_t n, const runner *r, const memory_job *merged,
                         double scale) {
    gguf base, adapter, out;
    size_t n_pairs = 0;
    double worst = 0;
    if (!read_gguf(file, n, &base) || !read_gguf(r->mj.out, r->mj.n_out, &adapter) ||
        !read_gguf(merged->out, merged->n_out, &out))
        return;
    for (uint64_t i = 0; i < base.n_tensors; i++) {
        const gguf_tensor *t = &base.tensors[i];
        const float *a = find_tensor(&adapter, r->mj.out, t->name, ".lora_a"),
                    *b = find_tensor(&adapter, r->mj.out, t->name, ".lora_b"),
                    *w = find_tensor(&base, file, t->name, ""),
                    *m = find_tensor(&out, merged->out, t->name, "");
        n_pairs += a && b;
        for (size_t k = 0; k < t->dims[0] * t->dims[1]; k++) {
            const size_t row = k / t->dims[0], col = k % t->dims[0];
            double want = (double)w[k];
            for (size_t j = 0; a && b && j < 3; j++)
                want += scale * 6 / 3 * (double)b[row * 3 + j] * (double)a[j * t->dims[0] + col];
            worst = fmax(worst, fabs((double)m[k] - want));
        }
    }
    CHECK(n_pairs == 7 * 3 && adapter.n_tensors == 2 * n_pairs, "%zu pairs", n_pairs);
    CHECK(worst < 1e-6, "a merged weight is off by %g", worst);
    gguf_str type;
    CHECK(gguf_get_str(&adapter, "general.type", "", &type, NULL) == NUT_OK && gguf_str_is(type, "adapter"),
          "general.type");
    gguf_free(&base), gguf_free(&adapter), gguf_free(&out);
}

static void check_not_merged(const uint8_t *file, size_t n, const memory_job *adapter, const char *type,
                             const char *says) {
    memory_job mj = {.file = {file}, .n_bytes = {n}};
    nut_error err = {0};
    CHECK(merge(&mj, adapter, 1, type, &err) != NUT_OK && strstr(err.message, says), "%s", err.message);
    free(mj.out);
}

static void check_merge_memory(const uint8_t *file, size_t n, const memory_job *adapter) {
    size_t k = 0;
    for (bool failed = true; failed;) {
        memory_job mj = {.file = {file}, .n_bytes = {n}};
        nut_error err = {0};
        counting_start(++k);
        const nut_status status = merge(&mj, adapter, 1, NULL, &err);
        failed = counting.n_failed > 0;
        CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
        CHECK(status == NUT_OK || (failed && status == NUT_E_MEMORY), "allocation %zu: %s", k, err.message);
        counting_stop();
        free(mj.out);
    }
}

static void check_other_model(const make_options *o, const memory_job *adapter, const char *says) {
    make_gguf g = make_model(o);
    size_t n;
    uint8_t *file = make_file(&g, &n);
    check_not_merged(file, n, adapter, NULL, says);
    free(file);
    make_free(&g);
}

static void test_adapters(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_F32, .n_layer = 3});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_error err = {0};
    runner r = runner_of(file, n, ADAPTER);
    CHECK(run(&r, &err) == NUT_OK && r.result < r.steps[0].held_out, "%s", err.message);
    memory_job whole = {.file = {file}, .n_bytes = {n}}, half = whole;
    CHECK(merge(&whole, &r.mj, 1, NULL, &err) == NUT_OK && !whole.n_wrong, "%s", err.message);
    check_merged(file, n, &r, &whole, 1);
    CHECK(merge(&half, &r.mj, 0.5f, "f32", &err) == NUT_OK, "%s", err.message);
    check_merged(file, n, &r, &half, 0.5);
    runner after = runner_of(whole.out, whole.n_out, SHORT);
    CHECK(run(&after, &err) == NUT_OK, "%s", err.message);
    CHECK(after.steps[0].held_out == r.result, "%.9g was measured, %.9g of the merged model",
          (double)r.result, (double)after.steps[0].held_out);
    memory_job no_adapter = {.out = file, .n_out = n}, cut = {.out = r.mj.out, .n_out = r.mj.n_out - 40};
    check_not_merged(file, n, &no_adapter, NULL, "is no LoRA adapter");
    check_not_merged(file, n, &cut, NULL, "");
    memory_job broken = {.out = malloc(r.mj.n_out), .n_out = r.mj.n_out};
    const float nan = NAN;
    memcpy(broken.out, r.mj.out, r.mj.n_out);
    memcpy(broken.out + r.mj.n_out - 32, &nan, sizeof nan);
    check_not_merged(file, n, &broken, NULL, "not finite");
    free(broken.out);
    check_not_merged(file, n, &r.mj, "q4_0", "f32 or f16");
    check_other_model(&(make_options){.n_layer = 2}, &r.mj, "that it was made for");
    check_other_model(&(make_options){.n_layer = 3, .n_ff = 128}, &r.mj, "has another shape");
    check_other_model(&(make_options){.arch = "qwen3", .n_layer = 3}, &r.mj, "family llama");
    check_merge_memory(file, n, &r.mj);
    free_runner(&r), free_runner(&after);
    free(whole.out), free(half.out);
    free(file);
    make_free(&g);
}

/* Training goes on from an adapter: at rate 0 it is written as it was, and no other file is taken. */
static void test_going_on(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_F32, .n_layer = 3});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_error err = {0};
    gguf a, b;
    runner r = runner_of(file, n, ADAPTER);
    CHECK(run(&r, &err) == NUT_OK, "%s", err.message);
    runner on = runner_of(file, n, SHORT ", \"rate\": 0, \"adapter\": \"d\"");
    on.o.adapter = r.mj.out, on.o.n_adapter = r.mj.n_out;
    CHECK(run(&on, &err) == NUT_OK, "%s", err.message);
    CHECK(on.steps[0].held_out == r.result, "%.9g was measured, and %.9g of the adapter", (double)r.result,
          (double)on.steps[0].held_out);
    if (!read_gguf(r.mj.out, r.mj.n_out, &a) || !read_gguf(on.mj.out, on.mj.n_out, &b)) return;
    CHECK(a.n_tensors == b.n_tensors && a.n_tensors == 42, "%zu tensors", (size_t)b.n_tensors);
    for (uint64_t i = 0; i < a.n_tensors; i++)
        CHECK(!memcmp(r.mj.out + a.tensors[i].offset, on.mj.out + b.tensors[i].offset,
                      (size_t)a.tensors[i].n_bytes),
              "tensor %zu has changed", (size_t)i);
    gguf_free(&a), gguf_free(&b);
    on.o.adapter = file, on.o.n_adapter = n;
    CHECK(run(&on, &err) == NUT_E_ARGUMENT && strstr(err.message, "is no LoRA adapter"), "%s", err.message);
    free_runner(&r), free_runner(&on), free(file), make_free(&g);
}

/* ---- failures ---- */

static void test_refused(const uint8_t *file, size_t n) {
    check_refused(file, n, "\"step\": 3", "there is no option \"step\"");
    check_refused(file, n, "\"steps\": 2.5", "a whole number from 1");
    check_refused(file, n, "\"steps\": \"many\"", "takes a number");
    check_refused(file, n, "\"learn\": 3", "a text in quotes");
    check_refused(file, n, "\"type\": \"q4_0\"", "f32 or f16");
    check_refused(file, n, "\"divergence\": \"kl\"", "\"logits\" too");
    check_refused(file, n, "\"teacher\": \"t\"", "to be given with it");
    check_refused(file, n, "\"logits\": \"t\"", "to be given with it");
    check_refused(file, n, "\"teacher\": \"t\", \"logits\": \"t\"", "give one");
    check_refused(file, n, "\"hint\": \"hidden\"", "need a teacher that runs");
    check_refused(file, n, "\"on_policy\": 0.5, \"logits\": \"t\"", "need a teacher that runs");
    check_refused(file, n, "\"teacher\": \"t\", \"hint\": \"logits\"", "hidden, attention and relations");
    check_refused(file, n, "\"hint_layers\": \"1\"", "are those of");
    check_refused(file, n, "\"schedule\": \"line\"", "there are cosine and two_stage");
    check_refused(file, n, "\"teacher\": \"t\", \"divergence\": \"k\"", "there are kl, reverse_kl");
    check_refused(file, n, "\"steps\": 40, \"warmup\": 40", "takes all of the 40 steps");
    check_refused(file, n, "\"window\": 4000", "at most");
    check_refused(file, n, "\"learn\": \"blk.9.*\"", "\"blk.9.*\"");
    check_refused(file, n, "\"rank\": 2, \"learn\": \"norms\"", "names no tensor");
    runner r = runner_of(file, n, "");
    nut_error err = {0};
    r.o.n_text = 9;
    CHECK(run(&r, &err) == NUT_E_ARGUMENT && strstr(err.message, "longer text"), "%s", err.message);
    strcpy(r.recipe, "{\"model\": \"a\"}"), r.o.n_recipe = strlen(r.recipe);
    CHECK(run(&r, &err) == NUT_E_ARGUMENT && strstr(err.message, "must name"), "%s", err.message);
    free_runner(&r);
}

static void test_low_rank(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_F32});
    size_t n;
    make_add(&g, "blk.0.ffn_up.weight.lora_a", FORMAT_F32, 64, 8);
    make_add(&g, "blk.0.ffn_up.weight.lora_b", FORMAT_F32, 8, 96);
    uint8_t *file = make_file(&g, &n);
    check_refused(file, n, "", "no gradients for matrices of low rank");
    free(file);
    make_free(&g);
}

/* A rate that is far too high: the run stops, names a tensor, and its checkpoint goes on with a lower one.
 */
static void test_astray(const uint8_t *file, size_t n) {
    runner r = runner_of(file, n, SHORT);
    nut_error err = {0};
    uint32_t kept;
    r.o.keeps_state = true;
    r.mj.stop_at = 32;
    CHECK(run(&r, &err) == NUT_OK && r.n_steps >= 4 && r.n_steps < 12, "%u steps", r.n_steps);
    kept = r.n_steps / 4 * 4;
    r.mj.stop_at = 0;
    set_recipe(&r, SHORT ", \"rate\": 1e30");
    CHECK(run(&r, &err) == NUT_E_STATE && strstr(err.message, ".weight; give a lower"), "%s", err.message);
    CHECK(r.n_steps >= kept && r.n_steps < 12, "%u steps", r.n_steps);
    set_recipe(&r, SHORT);
    r.mj.notes[0] = 0;
    CHECK(run(&r, &err) == NUT_OK && r.mj.done && strstr(r.mj.notes, "going on"), "%s", err.message);
    free_runner(&r);
}

static void test_memory(const uint8_t *file, size_t n) {
    size_t k = 0;
    for (bool failed = true; failed;) {
        runner r = runner_of(file, n, "\"steps\": 1, \"batch\": 1, \"window\": 16");
        nut_error err = {0};
        r.o.keeps_state = true;
        counting_start(++k);
        const nut_status status = run(&r, &err);
        failed = counting.n_failed > 0;
        CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
        CHECK(status == NUT_OK || (failed && status == NUT_E_MEMORY), "allocation %zu: %s", k, err.message);
        counting_stop();
        free_runner(&r);
    }
    CHECK(k > 40, "%zu allocations", k);
}

static void test_failures(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_F16});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    test_refused(file, n);
    test_low_rank();
    test_astray(file, n);
    test_memory(file, n);
    free(file);
    make_free(&g);
}

int main(void) {
    test_curve();
    test_same_bits();
    test_output();
    test_tokens();
    test_blocks();
    test_teachers();
    test_adapters();
    test_going_on();
    test_failures();
    return check_report();
}
