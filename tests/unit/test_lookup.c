/* Drafts change no token: a generation with them samples what it samples without, whatever the drafts are
 * worth, and leaves the session in the same place. */
#include "check.h"
#include "made_model.h"
#include "make_family.h"

#include "base/rng.h"
#include "run/session.h"

#include <stdlib.h>
#include <string.h>

enum { N_CTX = 224, N_PROMPT = 60, MOST = 150, LOOKUP = 7 };

typedef struct written {
    int32_t ids[MOST];
    size_t n, n_text;
    char text[16 * MOST];
    nut_finish finish;
    uint32_t n_past, steps;
    uint64_t drafted, right;
    float logits[8];
} written;

/* A prompt with a passage that comes again, so that there is something to look up. */
static void fill_prompt(int32_t *prompt, uint32_t n_vocab) {
    rng r;
    rng_seed(&r, 8);
    for (size_t i = 0; i < N_PROMPT; i++)
        prompt[i] = i < 20 ? (int32_t)(3 + rng_u64(&r) % (n_vocab - 3)) : prompt[i - 20];
}

/* Lets every draft be taken for worth its time, and for one that may be lost. */
static void encourage(nut_session *s) {
    draft *d = &s->generation.draft;
    d->one = 1, d->credit = DRAFT_CREDIT;
    for (size_t i = 0; i < DRAFT_KIND_COUNT; i++) d->right[i] = 1;
    for (size_t n = 2; n < DRAFT_MAX + 2; n++) d->cost[n] = 1 + 0.01f * (float)n, d->seen[n] = 1;
}

/* Runs a generation to its end, or until `most` tokens are there; between tokens another session of the
 * workspace may run. */
static void write_on(nut_session *s, const int32_t *prompt, const nut_generate_options *o, size_t most,
                     nut_session *between, written *w) {
    nut_step step;
    nut_error err = {NUT_OK, ""};
    memset(w, 0, sizeof *w);
    CHECK(nut_generate_begin(s, prompt, N_PROMPT, o, &err) == NUT_OK, "%s", err.message);
    do {
        if (w->n == MOST) break;
        encourage(s);
        if (!CHECK(nut_generate_step(s, &step, &err) == NUT_OK, "%s", err.message)) return;
        if (step.kind == NUT_STEP_TOKEN && w->n < MOST) w->ids[w->n++] = step.token;
        memcpy(w->text + w->n_text, step.text, step.n_text);
        w->n_text += step.n_text;
        if (between && w->n % 3 == 1) nut_session_eval(between, prompt, 1, 1, NULL);
        if (between && nut_session_n_past(between) > 100) nut_session_truncate(between, 0, NULL);
    } while (step.kind != NUT_STEP_DONE && w->n < most);
    nut_generate_end(s);
    w->drafted = s->generation.draft.n_drafted, w->right = s->generation.draft.n_accepted;
    w->finish = step.finish;
    w->n_past = nut_session_n_past(s);
    if (w->n_past == nut_session_n_ctx(s)) return;
    CHECK(nut_session_eval(s, prompt, 1, 1, &err) == NUT_OK, "%s", err.message);
    memcpy(w->logits, nut_session_logits(s, 0), sizeof w->logits);
}

static nut_session *open_session(const nut_model *m, uint32_t n_ctx, uint32_t lookup) {
    const nut_session_options o = {.n_ctx = n_ctx, .n_threads = 1, .n_batch = 16, .lookup = lookup};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    return s;
}

/* Writes without drafts, and with them. */
static uint64_t check_same(const nut_model *m, nut_generate_options o, size_t most, bool beside,
                           const char *what) {
    int32_t prompt[N_PROMPT];
    written *plain = malloc(sizeof *plain), *drafted = malloc(sizeof *drafted);
    nut_session *a = open_session(m, N_CTX, 0), *b = open_session(m, N_CTX, LOOKUP), *other = NULL;
    fill_prompt(prompt, nut_model_n_vocab(m));
    if (beside) nut_session_add(nut_session_workspace(b), 0, &other, NULL);
    write_on(a, prompt, &o, most, NULL, plain);
    o.lookup = LOOKUP;
    write_on(b, prompt, &o, most, other, drafted);
    CHECK(plain->n == drafted->n && !memcmp(plain->ids, drafted->ids, plain->n * sizeof *plain->ids),
          "%s: other tokens: %zu and %zu", what, plain->n, drafted->n);
    CHECK(plain->n_text == drafted->n_text && !memcmp(plain->text, drafted->text, plain->n_text),
          "%s: another text", what);
    CHECK(plain->finish == drafted->finish && plain->n_past == drafted->n_past,
          "%s: ends %d at %u, not %d at %u", what, drafted->finish, drafted->n_past, plain->finish,
          plain->n_past);
    CHECK(!memcmp(plain->logits, drafted->logits, sizeof plain->logits), "%s: other logits afterwards",
          what);
    CHECK(plain->drafted == 0, "%s: drafts though none were asked for", what);
    const uint64_t right = drafted->right;
    CHECK(right <= drafted->drafted, "%s: more tokens are right than were drafted", what);
    nut_session_free(other), nut_session_free(a), nut_session_free(b);
    free(plain), free(drafted);
    return right;
}

static void test_same(const nut_model *m) {
    nut_generate_options o = nut_generate_defaults();
    o.ignore_eos = true;
    o.temperature = 0;
    uint64_t right = check_same(m, o, MOST, false, "likeliest");
    o.repeat_penalty = 1.3f;
    right += check_same(m, o, MOST, false, "likeliest with a penalty");
    o = nut_generate_defaults();
    for (o.seed = 1; o.seed <= 4; o.seed++) {
        o.temperature = 0.2f * (float)o.seed;
        right += check_same(m, o, MOST, false, "sampled");
        right += check_same(m, o, MOST, true, "beside another session");
    }
    o.max_tokens = 9;
    check_same(m, o, MOST, false, "a limit");
    o.max_tokens = 0, o.ignore_eos = true;
    check_same(m, o, SIZE_MAX, false, "a full context");
    for (size_t most = 20; most < 30; most++) check_same(m, o, most, false, "stopped by the caller");
    CHECK(right > 20, "only %llu drafted tokens were right", (unsigned long long)right);
}

/* A state that cannot go back by one token gets no drafts. */
static void test_states(void) {
    nut_model *m = made_model_load(make_family(arch_find((gguf_str){"mamba", 5}), &family_odd));
    int32_t prompt[N_PROMPT];
    written *w = malloc(sizeof *w);
    nut_session *s = open_session(m, 0, LOOKUP);
    nut_generate_options o = nut_generate_defaults();
    o.lookup = LOOKUP, o.temperature = 0, o.ignore_eos = true;
    fill_prompt(prompt, nut_model_n_vocab(m));
    write_on(s, prompt, &o, 40, NULL, w);
    CHECK(w->drafted == 0 && w->n > 1, "%llu drafted tokens, %zu tokens", (unsigned long long)w->drafted,
          w->n);
    nut_session_free(s);
    nut_model_free(m);
    free(w);
}

int main(void) {
    nut_model *m =
        made_model_load(make_model(&(make_options){.matrices = FORMAT_Q8_0, .n_ctx = 256, .seed = 3}));
    test_same(m);
    nut_model_free(m);
    test_states();
    return check_report();
}
