/* Teachers: vocabularies that are padded or in another order, logits that were stored, and windows that the
 * student writes itself. */
#include "check.h"
#include "counting_alloc.h"
#include "made_model.h"
#include "memory_job.h"

#include "base/error.h"
#include "model/model.h"
#include "nutshell_train.h"
#include "train/align.h"
#include "train/own_text.h"

#include <math.h>

static const char text[] =
    "The owl sat in the tree and the cat went to the sea. A band of men then came to the inn at the end of "
    "the road, and the rain ran down the pane. What the hen ate that day no one can tell. In the end the "
    "man let the cat in, and the dog and the hen and the owl ate at one table until the rain was over.";

/* ---- vocabularies ---- */

/* Changes the first token `from` of the vocabulary to `to`, which is as long. */
static void rename_token(make_gguf *g, const char *from, const char *to) {
    make_bytes want = {0};
    make_text(&want, from);
    for (size_t i = 0; i + want.n <= g->kv.n; i++) {
        if (memcmp(g->kv.p + i, want.p, want.n) != 0) continue;
        memcpy(g->kv.p + i + 8, to, strlen(to));
        break;
    }
    free(want.p);
}

static nut_model *model_of(const make_options *o, const char *from, const char *to) {
    make_gguf g = make_model(o);
    if (from) rename_token(&g, from, to);
    return made_model_load(g);
}

static int32_t *aligned(const nut_model *student, const nut_model *teacher) {
    int32_t *ids = NULL;
    nut_error err = {0};
    CHECK(align_tokens(student->vocab, teacher->vocab, &ids, &err) == NUT_OK, "%s", err.message);
    return ids;
}

/* Ids that stay, and behind them those of padding. */
static void check_ids(const int32_t *ids, const char *what) {
    if (!CHECK(ids, "%s: as if they were the same", what)) return;
    size_t wrong = 0;
    for (int32_t i = 0; i < MAKE_N_VOCAB; i++) wrong += ids[i] != i;
    CHECK(wrong == 0, "%s: %zu ids are others", what, wrong);
}

static void test_vocabularies(void) {
    nut_model *plain = model_of(&(make_options){0}, NULL, NULL),
              *padded = model_of(&(make_options){.n_padding = 5}, NULL, NULL),
              *longer = model_of(&(make_options){.n_padding = 9}, NULL, NULL),
              *other = model_of(&(make_options){0}, "the", "thy"),
              *bytes = model_of(&(make_options){.byte_pairs = true}, NULL, NULL);
    nut_error err = {0};
    int32_t *ids = NULL;
    CHECK(align_tokens(plain->vocab, plain->vocab, &ids, &err) == NUT_OK && !ids, "the same are the same");
    ids = aligned(plain, padded), check_ids(ids, "a padded teacher"), mem_free(ids);
    ids = aligned(padded, plain), check_ids(ids, "a padded student");
    CHECK(ids && ids[MAKE_N_VOCAB] == -1 && ids[MAKE_N_VOCAB + 4] == -1, "padding has ids");
    mem_free(ids);
    ids = aligned(longer, padded), check_ids(ids, "both padded");
    CHECK(ids && ids[MAKE_N_VOCAB + 4] == MAKE_N_VOCAB + 4 && ids[MAKE_N_VOCAB + 5] == -1, "padding");
    mem_free(ids);
    CHECK(align_tokens(plain->vocab, other->vocab, &ids, &err) == NUT_E_UNSUPPORTED &&
              strstr(err.message, "lacks the token \"the\""),
          "%s", err.message);
    CHECK(align_tokens(plain->vocab, bytes->vocab, &ids, &err) == NUT_E_UNSUPPORTED &&
              strstr(err.message, "of the tokenizer gpt2"),
          "%s", err.message);
    nut_model *const all[] = {plain, padded, longer, other, bytes};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) nut_model_free(all[i]);
}

static void test_other_order(void) {
    make_gguf g = make_model(&(make_options){0});
    rename_token(&g, "he", "##"), rename_token(&g, "an", "he"), rename_token(&g, "##", "an");
    nut_model *plain = model_of(&(make_options){0}, NULL, NULL), *turned = made_model_load(g);
    int32_t *ids = aligned(plain, turned);
    const int32_t he = MAKE_FIRST_PIECE + 28, an = he + 1;
    CHECK(ids && ids[he] == an && ids[an] == he && ids[an + 1] == an + 1, "%d, %d", ids ? ids[he] : -2,
          ids ? ids[an] : -2);
    mem_free(ids);
    nut_model_free(plain), nut_model_free(turned);
}

/* ---- runs ---- */

#define RUN "\"steps\": 3, \"batch\": 2, \"window\": 16, \"held_out\": 0.2, \"warmup\": 1"

typedef struct runner {
    memory_job mj;
    nut_train_options o;
    char recipe[600];
    nut_train_step steps[8];
    uint32_t n_steps;
} runner;

static runner runner_of(const uint8_t *file, size_t n, const char *options) {
    runner r = {.mj = {.file = {file}, .n_bytes = {n}}, .o = {.text = text, .n_text = sizeof text - 1}};
    snprintf(r.recipe, sizeof r.recipe, "{\"model\": \"a\", \"text\": \"b\", \"output\": \"c\", %s}",
             options);
    r.o.n_recipe = strlen(r.recipe);
    return r;
}

static nut_status run(runner *r, nut_error *err) {
    nut_job *job;
    r->o.recipe = r->recipe;
    TRY(nut_train_begin(&r->o, &job, err));
    const nut_status status = memory_job_drive(&r->mj, job, err);
    const nut_train_step *steps = nut_train_steps(job, &r->n_steps);
    for (uint32_t i = 0; i < r->n_steps && i < 8; i++) r->steps[i] = steps[i];
    nut_job_free(job);
    return status;
}

static void free_runner(runner *r) {
    free(r->mj.out), free(r->mj.state);
}

static nut_model *load_reference(const uint8_t *file, size_t n) {
    nut_load_options lo = nut_load_defaults();
    nut_model *m = NULL;
    lo.reference = true;
    CHECK(make_load(file, n, 0, &lo, &m, NULL) == NUT_OK, "load");
    return m;
}

/* A student that is its teacher but for padding has nothing to learn, and no gradient. */
static void test_padded_run(void) {
    make_gguf a = make_model(&(make_options){0}), b = make_model(&(make_options){.n_padding = 7});
    size_t n_a, n_b;
    nut_error err = {0};
    for (size_t i = 0; i < a.n_tensors; i++)
        memcpy(b.tensors[i].data.p, a.tensors[i].data.p, a.tensors[i].data.n);
    uint8_t *plain = make_file(&a, &n_a), *padded = make_file(&b, &n_b);
    const uint8_t *const files[] = {plain, padded};
    const size_t sizes[] = {n_a, n_b};
    for (int which = 0; which < 2; which++) {
        nut_model *teacher = load_reference(files[!which], sizes[!which]);
        runner r = runner_of(files[which], sizes[which], RUN ", \"teacher\": \"t\", \"weight\": 1");
        r.o.teacher = teacher;
        CHECK(run(&r, &err) == NUT_OK && r.n_steps == 3, "%s", err.message);
        CHECK(fabs((double)r.steps[0].divergence) < 1e-6 && r.steps[0].norm < 1e-5f &&
                  r.steps[0].cross_entropy > 1,
              "%s: divergence %g, gradient %g", which ? "a padded student" : "a padded teacher",
              (double)r.steps[0].divergence, (double)r.steps[0].norm);
        free_runner(&r);
        nut_model_free(teacher);
    }
    free(plain), free(padded);
    make_free(&a), make_free(&b);
}

/* ---- stored logits ---- */

static nut_status store(const nut_model *m, bool in_short, bool whole, memory_job *mj, nut_error *err) {
    const nut_evaluate_options o = {
        .window = 16, .store = true, .store_short = in_short, .whole_windows = whole};
    const nut_session_options so = {.n_ctx = 16, .n_batch = 16, .n_logits = 16, .n_threads = 1};
    nut_session *s;
    nut_job *job;
    TRY(nut_session_new(m, &so, &s, err));
    nut_status status = nut_evaluate_begin(s, text, sizeof text - 1, &o, &job, err);
    if (status == NUT_OK) status = memory_job_run(mj, job, err);
    nut_session_free(s);
    return status;
}

/* Ids of the text, of which the last token of each window is not learned: no logits are stored behind it. */
static size_t learned_ids(const nut_model *m, int32_t *ids, uint8_t *learned, size_t cap) {
    size_t n = 0;
    nut_error err = {0};
    CHECK(nut_tokenize(m, text, sizeof text - 1, NUT_TOKENIZE_ADD_BOS, ids, cap, &n, &err) == NUT_OK, "%s",
          err.message);
    for (size_t i = 0; i < n; i++) learned[i] = i % 16 != 0;
    return n;
}

static runner taught(const uint8_t *file, size_t n, const char *options, const int32_t *ids,
                     const uint8_t *learned, size_t n_ids) {
    runner r = runner_of(file, n, options);
    r.o.ids = ids, r.o.learned = learned, r.o.n_ids = n_ids;
    return r;
}

static void refuse_logits(const uint8_t *file, size_t n, const memory_job *logits, const char *options,
                          const char *other_text, const char *says) {
    nut_error err = {0};
    runner r = runner_of(file, n, options);
    r.o.logits = logits->out, r.o.n_logits = logits->n_out;
    if (other_text) r.o.text = other_text, r.o.n_text = strlen(other_text);
    CHECK(run(&r, &err) != NUT_OK && strstr(err.message, says), "%s: %s", says, err.message);
    free_runner(&r);
}

#define WITH_LOGITS RUN ", \"logits\": \"l\", \"weight\": 0.7"

/* Stored logits teach what the teacher does. */
static void test_stored(void) {
    enum { CAP = 400 };
    make_gguf a = make_model(&(make_options){.n_layer = 1}), b = make_model(&(make_options){.seed = 4});
    size_t n, n_teacher;
    uint8_t *file = make_file(&a, &n), *of_teacher = make_file(&b, &n_teacher), learned[CAP];
    nut_model *teacher = load_reference(of_teacher, n_teacher);
    int32_t ids[CAP];
    nut_error err = {0};
    memory_job whole = {0}, brief = {0}, half = {0};
    const size_t n_ids = learned_ids(teacher, ids, learned, CAP);
    CHECK(store(teacher, false, true, &whole, &err) == NUT_OK &&
              store(teacher, true, true, &brief, &err) == NUT_OK &&
              store(teacher, false, false, &half, &err) == NUT_OK,
          "%s", err.message);
    runner live = taught(file, n, RUN ", \"teacher\": \"t\", \"weight\": 0.7", ids, learned, n_ids);
    live.o.teacher = teacher;
    CHECK(run(&live, &err) == NUT_OK, "%s", err.message);
    const memory_job *const kept[] = {&whole, &brief, &half};
    for (int i = 0; i < 3; i++) {
        runner r = taught(file, n, WITH_LOGITS, ids, learned, n_ids);
        r.o.logits = kept[i]->out, r.o.n_logits = kept[i]->n_out;
        CHECK(run(&r, &err) == NUT_OK && r.n_steps == 3, "%s", err.message);
        const double part = (double)r.steps[2].divergence / (double)live.steps[2].divergence,
                     norm = (double)r.steps[2].norm / (double)live.steps[2].norm;
        const double least = i == 0 ? 0.999 : i == 1 ? 0.5 : 0.2, most = i == 0 ? 1.001 : i == 1 ? 1 : 0.8;
        CHECK(part > least && part < most && (i || fabs(norm - 1) < 0.01),
              "form %d: %g of the divergence, "
              "%g of the gradient",
              i, part, norm);
        free_runner(&r);
    }
    refuse_logits(file, n, &whole, WITH_LOGITS,
                  "Another text of at least as many tokens as one window has, "
                  "that no teacher has ever read before it came here.",
                  "of another text");
    refuse_logits(file, n, &brief, WITH_LOGITS ", \"temperature\": 2", NULL, "\"temperature\" 1 alone");
    memory_job cut = whole;
    cut.n_out = 30, refuse_logits(file, n, &cut, WITH_LOGITS, NULL, "too short");
    cut.n_out = whole.n_out - 8, refuse_logits(file, n, &cut, WITH_LOGITS, NULL, "cut off");
    for (size_t at = whole.n_out / 2, i = 0; i < 4000; i++) whole.out[at + i] ^= 1;
    refuse_logits(file, n, &whole, WITH_LOGITS ", \"checkpoint\": 1", NULL, "are damaged");
    nut_model_free(teacher);
    free_runner(&live), free(whole.out), free(brief.out), free(half.out);
    free(file), free(of_teacher);
    make_free(&a), make_free(&b);
}

/* ---- the student's own text ---- */

/* Labels are the tokens behind, and as likely for the model as what it samples from. */
static void test_own_text(void) {
    enum { WINDOW = 32, PROMPT = 8 };
    nut_model *m = model_of(&(make_options){0}, NULL, NULL);
    nut_error err = {0};
    own_text *o;
    int32_t ids[3][WINDOW] = {{0}}, labels[3][WINDOW];
    CHECK(own_text_new(m, NULL, 0, WINDOW, 1, &o, &err) == NUT_OK, "%s", err.message);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < PROMPT; i++) ids[k][i] = 20 + i;
        CHECK(own_text_write(o, k == 2 ? 9 : 8, PROMPT, ids[k], labels[k], &err) == NUT_OK, "%s",
              err.message);
    }
    size_t wrong = 0, n_labels = 0;
    for (int i = 0; i + 1 < WINDOW; i++) {
        if (labels[0][i] >= 0) n_labels++, wrong += labels[0][i] != ids[0][i + 1];
        wrong += i < PROMPT - 1 ? labels[0][i] != -1 || ids[0][i] != 20 + i : 0;
    }
    CHECK(wrong == 0 && n_labels > 0 && labels[0][PROMPT - 1] >= 0, "%zu wrong, %zu labels", wrong,
          n_labels);
    CHECK(!memcmp(ids[0], ids[1], sizeof ids[0]) && !memcmp(labels[0], labels[1], sizeof labels[0]),
          "one seed, two texts");
    CHECK(memcmp(ids[0], ids[2], sizeof ids[0]) != 0, "two seeds, one text");
    own_text_free(o);
    nut_model_free(m);
}

/* Adds `share` times the probabilities that the model gives to the token after token 5. */
static void add_probabilities(const nut_model *m, double share, double *to) {
    const nut_session_options so = {.n_ctx = 2, .n_batch = 2, .n_logits = 1, .n_threads = 1};
    const int32_t id = 5;
    nut_session *s;
    nut_error err = {0};
    double sum = 0;
    CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK && nut_session_eval(s, &id, 1, 1, &err) == NUT_OK,
          "%s", err.message);
    const float *logits = nut_session_logits(s, 0);
    for (size_t i = 0; i < MAKE_N_VOCAB; i++) sum += exp((double)logits[i]);
    for (size_t i = 0; i < MAKE_N_VOCAB; i++) to[i] += share * exp((double)logits[i]) / sum;
    nut_session_free(s);
}

/* The frequencies of the first sampled token are its probabilities, of which a teacher has a share: their
 * distance is within what 2,000 draws give. */
static void check_frequencies(double share) {
    const double draws = 2000;
    nut_model *m = model_of(&(make_options){.n_layer = 1}, NULL, NULL),
              *teacher = model_of(&(make_options){.n_layer = 1, .seed = 4}, NULL, NULL);
    nut_error err = {0};
    own_text *o;
    double count[MAKE_N_VOCAB] = {0}, want[MAKE_N_VOCAB] = {0}, chi = 0;
    int32_t ids[2] = {5, 5}, labels[2];
    CHECK(own_text_new(m, teacher, share, 2, 1, &o, &err) == NUT_OK, "%s", err.message);
    for (uint64_t i = 0; i < (uint64_t)draws; i++) {
        own_text_write(o, i, 1, ids, labels, &err);
        count[labels[0]]++;
    }
    add_probabilities(m, 1 - share, want);
    add_probabilities(teacher, share, want);
    for (size_t i = 0; i < MAKE_N_VOCAB; i++)
        chi += (count[i] - draws * want[i]) * (count[i] - draws * want[i]) / (draws * want[i]);
    // chi square with as many degrees of freedom as tokens, less one: that is its mean, its deviation the
    // root of twice that
    CHECK(fabs(chi - (MAKE_N_VOCAB - 1)) < 5 * sqrt(2 * (double)MAKE_N_VOCAB), "%g: chi square %g", share,
          chi);
    own_text_free(o);
    nut_model_free(m), nut_model_free(teacher);
}

#define OWN RUN ", \"teacher\": \"t\", \"on_policy\": 1, \"divergence\": \"reverse_kl\""

/* All windows are the student's: no cross entropy; from itself there is nothing to learn, from another one
 * something; some windows of its own are neither all nor none. */
static void test_on_policy(void) {
    make_gguf a = make_model(&(make_options){0}), b = make_model(&(make_options){.seed = 4});
    size_t n, n_other;
    uint8_t *file = make_file(&a, &n), *other = make_file(&b, &n_other);
    nut_model *self = load_reference(file, n), *teacher = load_reference(other, n_other);
    nut_error err = {0};
    runner r[4];
    const char *const options[] = {OWN, OWN, RUN ", \"teacher\": \"t\", \"on_policy\": 0.5",
                                   RUN ", \"teacher\": \"t\""};
    for (int i = 0; i < 4; i++) {
        r[i] = runner_of(file, n, options[i]);
        r[i].o.teacher = i ? teacher : self;
        CHECK(run(&r[i], &err) == NUT_OK && r[i].n_steps == 3, "%s", err.message);
    }
    CHECK(r[0].steps[0].cross_entropy == 0 && fabs((double)r[0].steps[0].loss) < 1e-6, "from itself: %g",
          (double)r[0].steps[0].loss);
    CHECK(r[1].steps[0].loss == r[1].steps[0].divergence && r[1].steps[0].loss > 0.01f, "from another: %g",
          (double)r[1].steps[0].loss);
    CHECK(r[1].steps[0].held_out > 1 && r[1].steps[0].held_out == r[3].steps[0].held_out, "held out");
    size_t others = 0;
    for (int i = 0; i < 3; i++) others += r[2].steps[i].divergence != r[3].steps[i].divergence;
    CHECK(others > 0 && r[2].steps[0].cross_entropy > 0, "half of the windows: %zu steps differ", others);
    for (int i = 0; i < 4; i++) free_runner(&r[i]);
    nut_model_free(self), nut_model_free(teacher);
    free(file), free(other);
    make_free(&a), make_free(&b);
}

#define REWARDED RUN ", \"teacher\": \"t\", \"on_policy\": 1, \"divergence\": \"minillm\", \"rate\": 0.003"

/* From itself there is neither a divergence nor a reward; from another, both; without windows of the
 * student's own there is nothing to reward. */
static void test_rewarded(void) {
    make_gguf a = make_model(&(make_options){0}), b = make_model(&(make_options){.seed = 4});
    size_t n, n_other;
    uint8_t *file = make_file(&a, &n), *other = make_file(&b, &n_other);
    nut_model *self = load_reference(file, n), *teacher = load_reference(other, n_other);
    nut_error err = {0};
    runner same = runner_of(file, n, REWARDED), far = runner_of(file, n, REWARDED);
    same.o.teacher = self, far.o.teacher = teacher;
    CHECK(run(&same, &err) == NUT_OK && run(&far, &err) == NUT_OK, "%s", err.message);
    CHECK(fabs((double)same.steps[0].loss) < 1e-6 && same.steps[0].norm < 1e-3f, "from itself: %g, %g",
          (double)same.steps[0].loss, (double)same.steps[0].norm);
    CHECK(far.steps[0].loss > 0.01f && far.steps[0].norm > 100 * same.steps[0].norm, "from another: %g, %g",
          (double)far.steps[0].loss, (double)far.steps[0].norm);
    runner none = runner_of(file, n, RUN ", \"teacher\": \"t\", \"divergence\": \"minillm\"");
    none.o.teacher = teacher;
    CHECK(run(&none, &err) == NUT_E_ARGUMENT && strstr(err.message, "give \"on_policy\""), "%s",
          err.message);
    free_runner(&same), free_runner(&far), free_runner(&none);
    nut_model_free(self), nut_model_free(teacher);
    free(file), free(other);
    make_free(&a), make_free(&b);
}

/* The same bits with other threads, and behind a checkpoint. */
static void test_same_bits(void) {
#define ALL                                                                                                 \
    OWN ", \"hint\": \"hidden\", \"hint_layers\": \"1,2\", \"checkpoint\": 1, \"kind\": \"step\", "         \
        "\"type\": \"q4_0\""
    make_gguf a = make_model(&(make_options){0}),
              b = make_model(&(make_options){.n_embd = 96, .n_layer = 3, .seed = 4});
    size_t n, n_other, went_on = 0;
    uint8_t *file = make_file(&a, &n), *other = make_file(&b, &n_other);
    nut_model *teacher = load_reference(other, n_other);
    nut_error err = {0};
    runner whole = runner_of(file, n, ALL), parts = runner_of(file, n, ALL);
    whole.o.teacher = parts.o.teacher = teacher;
    parts.o.keeps_state = true, parts.o.n_threads = 2;
    CHECK(run(&whole, &err) == NUT_OK && whole.steps[0].hint > 0.1f, "%s", err.message);
    for (size_t stop = 8; !parts.mj.done && stop < 90; stop += 3) {
        free(parts.mj.out);
        parts.mj.out = NULL, parts.mj.n_out = parts.mj.cap = parts.mj.n_steps = 0;
        parts.mj.stop_at = stop, parts.mj.notes[0] = 0;
        CHECK(run(&parts, &err) == NUT_OK, "%s", err.message);
        went_on += strstr(parts.mj.notes, "going on") != NULL;
    }
    CHECK(went_on > 0 && parts.mj.n_out == whole.mj.n_out &&
              !memcmp(parts.mj.out, whole.mj.out, whole.mj.n_out) &&
              !memcmp(parts.steps, whole.steps, sizeof whole.steps),
          "%zu went on: other bits", went_on);
    free_runner(&whole), free_runner(&parts);
    nut_model_free(teacher);
    free(file), free(other);
    make_free(&a), make_free(&b);
}

static void test_memory(void) {
    make_gguf a = make_model(&(make_options){.n_layer = 1}), b = make_model(&(make_options){.n_padding = 3});
    size_t n, n_other, k = 0;
    uint8_t *file = make_file(&a, &n), *other = make_file(&b, &n_other);
    nut_model *teacher = load_reference(other, n_other);
    for (bool failed = true; failed;) {
        runner r = runner_of(file, n,
                             "\"steps\": 1, \"batch\": 1, \"window\": 16, \"teacher\": \"t\", "
                             "\"on_policy\": 1, \"hint\": \"hidden\"");
        nut_error err = {0};
        r.o.teacher = teacher;
        counting_start(++k);
        const nut_status status = run(&r, &err);
        failed = counting.n_failed > 0;
        CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
        CHECK(status == NUT_OK || (failed && status == NUT_E_MEMORY), "allocation %zu: %s", k, err.message);
        counting_stop();
        free_runner(&r);
    }
    nut_model_free(teacher);
    free(file), free(other);
    make_free(&a), make_free(&b);
}

int main(void) {
    test_vocabularies();
    test_other_order();
    test_padded_run();
    test_stored();
    test_own_text();
    check_frequencies(0);
    check_frequencies(0.3);
    check_frequencies(1);
    test_on_policy();
    test_rewarded();
    test_same_bits();
    test_memory();
    return check_report();
}
