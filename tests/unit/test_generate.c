/* Generations on small random models: special tokens as stop texts and in the text, and models that
 * compute NaN. A first run without stop texts finds which tokens a model samples; then some of these are
 * made special, which changes their text but no computation. */
#include "check.h"
#include "make_gguf.h"
#include "nutshell_compress.h"

#include <math.h>

enum { N_TOKENS = 12, MAX_TEXT = 512, N_SPECIAL = 2 };

/* ---- one generation ---- */

typedef struct outcome {
    nut_status status;
    nut_error err;
    nut_finish finish;
    size_t n;
    int32_t ids[2 * N_TOKENS];
    char text[MAX_TEXT];
} outcome;

static nut_model *load(const make_gguf *made, nut_error *err) {
    make_gguf g = *made;
    size_t n = 0;
    uint8_t *file = make_file(&g, &n);
    nut_model *m = NULL;
    CHECK(make_load(file, n, 0, NULL, &m, err) == NUT_OK, "%s", err->message);
    free(file);
    return m;
}

static outcome generate(const make_gguf *made, const nut_generate_options *options) {
    static const int32_t prompt[] = {40, 41, 42, 43, 44};
    const nut_session_options so = {.n_ctx = 64, .n_threads = 1};
    outcome out = {.err.message = ""};
    size_t n_text = 0;
    nut_session *s = NULL;
    nut_step step = {.kind = NUT_STEP_PREFILL};
    nut_model *m = load(made, &out.err);
    if (!m || !CHECK(nut_session_new(m, &so, &s, &out.err) == NUT_OK, "%s", out.err.message)) return out;
    out.status = nut_generate_begin(s, prompt, 5, options, &out.err);
    while (out.status == NUT_OK && step.kind != NUT_STEP_DONE) {
        out.status = nut_generate_step(s, &step, &out.err);
        if (out.status != NUT_OK) break;
        if (step.kind == NUT_STEP_TOKEN) out.ids[out.n++] = step.token;
        memcpy(out.text + n_text, step.text, step.n_text);
        n_text += step.n_text;
    }
    out.text[n_text] = 0;
    out.finish = step.finish;
    nut_generate_end(s);
    nut_session_free(s);
    nut_model_free(m);
    return out;
}

static nut_generate_options greedy(const char *const *stop, size_t n_stop) {
    nut_generate_options o = nut_generate_defaults();
    o.max_tokens = N_TOKENS, o.temperature = 0, o.ignore_eos = true, o.stop = stop, o.n_stop = n_stop;
    o.repeat_penalty = 5, o.repeat_last_n = 64; // so that tokens differ
    return o;
}

/* ---- special tokens ---- */

/* Offset of the token types in the metadata, 4 bytes each. */
static uint8_t *types_of(const make_gguf *g) {
    static const char key[] = "tokenizer.ggml.token_type";
    for (size_t at = 0; at + sizeof key < g->kv.n; at++)
        if (!memcmp(g->kv.p + at, key, sizeof key - 1)) return g->kv.p + at + sizeof key - 1 + 4 + 4 + 8;
    exit(2);
}

/* The text of a token as the file has it. */
static const char *text_of(int32_t id) {
    static char texts[4][16];
    static size_t next;
    char *text = texts[next++ % 4];
    if (id >= MAKE_FIRST_PIECE)
        strcpy(text, make_pieces[id - MAKE_FIRST_PIECE]);
    else
        snprintf(text, sizeof texts[0], "<0x%02X>", (unsigned)(id - MAKE_FIRST_BYTE) & 255u);
    return text;
}

/* Expects the first n tokens of `all`, and the text of `shown` of them. */
static void check_stop(const make_gguf *g, const outcome *all, const char *stop, size_t n, size_t shown) {
    const char *const stops[] = {"no such text", stop};
    nut_generate_options o = greedy(stops, 2);
    const outcome cut = generate(g, &o);
    CHECK(cut.status == NUT_OK && cut.finish == NUT_FINISH_STOP, "stop \"%s\": finish %d", stop,
          (int)cut.finish);
    CHECK(cut.n == n && !memcmp(cut.ids, all->ids, n * sizeof *cut.ids), "stop \"%s\": %zu of %zu tokens",
          stop, cut.n, n);
    o = greedy(NULL, 0), o.max_tokens = (uint32_t)shown;
    const outcome before = generate(g, &o);
    CHECK(!strcmp(cut.text, before.text), "stop \"%s\": \"%s\" for \"%s\"", stop, cut.text, before.text);
    o = greedy(stops, 2), o.special = true; // shown or not, they stop at the same place
    const outcome open = generate(g, &o);
    CHECK(open.finish == NUT_FINISH_STOP && open.n == n && !strstr(open.text, stop), "\"%s\" in \"%s\"",
          stop, open.text);
}

static void test_special_stops(void) {
    const make_options options = {.untied = true, .n_ctx = 64, .seed = 3};
    make_gguf g = make_model(&options);
    nut_generate_options o = greedy(NULL, 0);
    const outcome plain = generate(&g, &o);
    int32_t a = plain.ids[5], b = plain.ids[6];
    CHECK(plain.n == N_TOKENS && plain.finish == NUT_FINISH_LENGTH, "%zu tokens", plain.n);
    for (size_t i = 0; i < 5; i++) CHECK(plain.ids[i] != a && plain.ids[i] != b, "token %zu is special", i);
    CHECK(a != b && a >= MAKE_FIRST_BYTE && b >= MAKE_FIRST_BYTE, "tokens %d and %d", (int)a, (int)b);
    types_of(&g)[4 * a] = types_of(&g)[4 * b] = 3; // control
    const outcome all = generate(&g, &o);
    CHECK(!memcmp(all.ids, plain.ids, sizeof all.ids), "what is computed is the same");
    o.special = true;
    const outcome shown = generate(&g, &o);
    CHECK(strstr(shown.text, text_of(a)) && strlen(shown.text) > strlen(all.text), "\"%s\" in \"%s\"",
          text_of(a), shown.text);
    char both[64];
    snprintf(both, sizeof both, "%s%s", text_of(a), text_of(b));
    check_stop(&g, &all, text_of(a), 6, 5);
    check_stop(&g, &all, text_of(b), 7, 6);
    check_stop(&g, &all, both, 7, 5);
    snprintf(both, sizeof both, "%s%s!", text_of(a), text_of(b)); // nearly: all comes out
    const char *const nearly[] = {both};
    o = greedy(nearly, 1);
    const outcome whole = generate(&g, &o);
    CHECK(whole.finish == NUT_FINISH_LENGTH && !strcmp(whole.text, all.text), "\"%s\" for \"%s\"",
          whole.text, all.text);
    make_free(&g);
}

/* ---- models that compute no numbers ---- */

static void put_floats(make_tensor *t, size_t first, size_t n, float x) {
    for (size_t i = first; i < first + n; i++) memcpy(t->data.p + 4 * i, &x, sizeof x);
}

/* Nor has such a model a perplexity. */
static void check_perplexity(const make_gguf *g, const char *word) {
    const nut_session_options so = {.n_ctx = 32, .n_threads = 1, .n_batch = 8, .n_logits = 8};
    nut_error err = {NUT_OK, ""};
    int32_t ids[32];
    nut_session *s = NULL;
    nut_job *job = NULL;
    nut_job_event event = {.kind = NUT_JOB_PROGRESS};
    nut_model *m = load(g, &err);
    for (int i = 0; i < 32; i++) ids[i] = 40 + i;
    nut_status status = m ? nut_session_new(m, &so, &s, &err) : NUT_E_ARGUMENT;
    if (status == NUT_OK) status = nut_perplexity_begin(s, ids, 32, 16, 0, &job, &err);
    CHECK(status == NUT_OK, "%s", err.message);
    while (status == NUT_OK && event.kind != NUT_JOB_DONE) status = nut_job_step(job, &event, &err);
    CHECK(status == NUT_E_CORRUPT && strstr(err.message, word), "status %d, \"%s\"", (int)status,
          err.message);
    nut_job_free(job);
    nut_session_free(s);
    nut_model_free(m);
}

static void check_damaged(const char *tensor, size_t first, size_t n, float x, const char *word) {
    const make_options options = {.untied = true, .n_ctx = 64, .seed = 3};
    for (int ways = 0; ways < 3; ways++) {
        make_gguf g = make_model(&options);
        nut_generate_options o = greedy(NULL, 0);
        if (ways == 1) o.repeat_penalty = 1;
        if (ways == 2) o.temperature = 1, o.top_k = 0;
        put_floats(make_find(&g, tensor), first, n, x);
        const outcome out = generate(&g, &o);
        CHECK(out.status == NUT_E_CORRUPT && out.n == 0 && strstr(out.err.message, word),
              "%g in %s: status %d, %zu tokens, \"%s\"", (double)x, tensor, (int)out.status, out.n,
              out.err.message);
        if (ways == 0) check_perplexity(&g, word);
        make_free(&g);
    }
}

int main(void) {
    test_special_stops();
    check_damaged("output.weight", 0, 64 * MAKE_N_VOCAB, NAN, "NaN"); // all logits
    check_damaged("output.weight", 64 * 7, 64, NAN, "NaN");           // that of one token
    check_damaged("output.weight", 64 * 9, 64, INFINITY, "");         // one token
    check_damaged("output_norm.weight", 0, 64, 3e38f, "");            // sums that overflow
    return check_report();
}
