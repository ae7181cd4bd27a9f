/* Sessions and generations on a small random model: results do not depend on batches, threads or what is
 * in the cache; wrong calls are refused and leave the session usable; every failed allocation is an error
 * and never a leak. */
#include "check.h"
#include "counting_alloc.h"
#include "made_model.h"
#include "memory_job.h"

#include "run/session.h"

enum { N_CTX = 96, N_PROMPT = 70, LONG = 330 };
static int32_t prompt[LONG];

static nut_model *load(format_id id) {
    return made_model_load(
        make_model(&(make_options){.matrices = id, .n_embd = 256, .n_ff = 512, .n_ctx = 128, .seed = 5}));
}

static nut_session *open_session(const nut_model *m, uint32_t n_threads, uint32_t n_batch) {
    nut_session_options o = {
        .n_ctx = N_CTX, .n_threads = n_threads, .n_batch = n_batch, .n_logits = n_batch};
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message);
    return s;
}

/* ---- the same bits however it is computed ---- */

static void check_same_logits(const nut_model *m, const float *want, uint32_t n_threads, uint32_t n_batch) {
    nut_session *s = open_session(m, n_threads, n_batch);
    CHECK(nut_session_eval(s, prompt, N_PROMPT, 1, NULL) == NUT_OK, "eval");
    CHECK(!memcmp(want, nut_session_logits(s, 0), nut_model_n_vocab(m) * sizeof *want),
          "logits differ with %u threads and batches of %u", n_threads, n_batch);
    nut_session_free(s);
}

static void test_same_bits(format_id id) {
    nut_model *m = load(id);
    nut_session *s = open_session(m, 1, 64);
    size_t n_bytes = nut_model_n_vocab(m) * sizeof(float);
    float *want = malloc(n_bytes);
    nut_session_eval(s, prompt, N_PROMPT, 1, NULL);
    memcpy(want, nut_session_logits(s, 0), n_bytes);
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++)
        for (uint32_t n_batch = 1; n_batch <= 64; n_batch = n_batch * 2 + 1)
            check_same_logits(m, want, n_threads, n_batch);
    nut_session_truncate(s, 33, NULL);
    nut_session_eval(s, prompt + 33, N_PROMPT - 33, 5, NULL);
    CHECK(!memcmp(want, nut_session_logits(s, 4), n_bytes), "logits differ after a rewind");
    CHECK(!nut_session_logits(s, 5), "only five rows are kept");
    free(want);
    nut_session_free(s);
    nut_model_free(m);
}

/* Logits after LONG tokens, of which the first five are evaluated alone, so that batches begin at odd
 * positions. */
static void long_logits(const nut_model *m, nut_kv_type kv_type, uint32_t n_threads, uint32_t n_batch,
                        float *out) {
    const nut_session_options o = {
        .n_ctx = LONG, .n_threads = n_threads, .n_batch = n_batch, .kv_type = kv_type};
    nut_session *s = NULL;
    if (!CHECK(nut_session_new(m, &o, &s, NULL) == NUT_OK, "session")) return;
    CHECK(!strcmp(nut_session_kv_type(s), nut_kv_type_name(kv_type)), "cache %s", nut_session_kv_type(s));
    nut_session_eval(s, prompt, 5, 0, NULL);
    nut_session_eval(s, prompt + 5, LONG - 5, 1, NULL);
    memcpy(out, nut_session_logits(s, 0), nut_model_n_vocab(m) * sizeof *out);
    nut_session_free(s);
}

/* A context of several tiles and two spans of the cache, with groups of query heads that fill the
 * kernels' rows and that do not. Head sizes 24 and 40 are not multiples of Q8_0's 32. */
static void test_long(uint32_t group, nut_kv_type kv_type) {
    static const uint32_t batches[] = {1, 3, 16, 61};
    nut_model *m = made_model_load(make_model(&(make_options){
        .n_head = 2 * group, .n_head_kv = 2, .head_dim = 24 + 8 * (group % 3), .n_ctx = 512, .seed = 6}));
    const size_t n_bytes = nut_model_n_vocab(m) * sizeof(float);
    float *want = malloc(n_bytes), *got = malloc(n_bytes);
    long_logits(m, kv_type, 1, 64, want);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        const uint32_t n_threads = 1 + (uint32_t)(i + group) % 3;
        long_logits(m, kv_type, n_threads, batches[i], got);
        CHECK(!memcmp(want, got, n_bytes),
              "%s, groups of %u: logits differ with %u threads and batches of %u", nut_kv_type_name(kv_type),
              group, n_threads, batches[i]);
    }
    free(want), free(got);
    nut_model_free(m);
}

/* ---- generations ---- */

static size_t draw(nut_session *s, size_t n_prompt, uint64_t seed, int32_t *out, nut_finish *finish) {
    nut_generate_options o = nut_generate_defaults();
    nut_step step = {.n_done = 0};
    size_t n = 0;
    o.seed = seed, o.max_tokens = 20, o.ignore_eos = true, o.temperature = 1.5f;
    CHECK(nut_generate_begin(s, prompt, n_prompt, &o, NULL) == NUT_OK, "begin");
    do {
        if (!CHECK(nut_generate_step(s, &step, NULL) == NUT_OK, "step")) break;
        if (step.kind == NUT_STEP_TOKEN) out[n++] = step.token;
    } while (step.kind != NUT_STEP_DONE);
    *finish = step.finish;
    return n;
}

static void test_generations(const nut_model *m) {
    nut_session *s = open_session(m, 2, 16);
    int32_t a[64], b[64];
    nut_finish finish;
    size_t n = draw(s, 40, 9, a, &finish);
    CHECK(n == 20 && finish == NUT_FINISH_LENGTH, "%zu tokens", n);
    CHECK(nut_session_n_past(s) == 59, "the last token is not read: %u positions", nut_session_n_past(s));
    n = draw(s, 40, 9, b, &finish);
    CHECK(n == 20 && !memcmp(a, b, n * sizeof *a), "the same seed, with the prompt still in the cache");
    nut_session_truncate(s, 0, NULL);
    n = draw(s, 40, 9, b, &finish);
    CHECK(!memcmp(a, b, n * sizeof *a), "the same seed, from an empty cache");
    n = draw(s, 40, 10, b, &finish);
    CHECK(memcmp(a, b, n * sizeof *a), "another seed");
    n = draw(s, N_CTX - 1, 9, b, &finish);
    CHECK(n == 2 && finish == NUT_FINISH_LENGTH, "a full context ends it: %zu tokens", n);
    nut_session_free(s);
}

static void test_stopping(const nut_model *m) {
    nut_session *s = open_session(m, 1, 16);
    nut_generate_options o = nut_generate_defaults();
    nut_step step;
    nut_error err;
    CHECK(nut_generate_step(s, &step, &err) == NUT_E_STATE, "a step without a generation");
    CHECK(nut_generate_begin(s, prompt, 40, &o, &err) == NUT_OK, "begin");
    CHECK(nut_generate_begin(s, prompt, 40, &o, &err) == NUT_E_BUSY, "a second generation");
    nut_generate_step(s, &step, NULL);
    CHECK(step.kind == NUT_STEP_PREFILL && step.n_done == 16 && step.n_total == 40, "%u of %u", step.n_done,
          step.n_total);
    nut_generate_end(s); // inside the prompt
    CHECK(nut_session_n_past(s) == 16, "what was read stays");
    CHECK(nut_generate_begin(s, prompt, 40, &o, &err) == NUT_OK, "%s", err.message);
    nut_generate_step(s, &step, NULL);
    CHECK(step.n_done == 32, "and is not read again: %u", step.n_done);
    CHECK(nut_session_truncate(s, 0, NULL) == NUT_OK, "rewinding ends the generation");
    CHECK(nut_generate_step(s, &step, &err) == NUT_E_STATE, "no generation after a rewind");
    nut_session_free(s);
}

/* ---- refusals ---- */

static void test_refusals(const nut_model *m) {
    nut_session *s = NULL;
    nut_error err;
    static const nut_session_options bad[] = {{.n_ctx = 1},
                                              {.n_ctx = 129},
                                              {.n_ctx = 64, .n_batch = 5000},
                                              {.n_ctx = 64, .n_threads = 65},
                                              {.n_ctx = 64, .n_batch = 8, .n_logits = 9},
                                              {.n_ctx = 64, .kv_type = NUT_KV_COUNT}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(nut_session_new(m, &bad[i], &s, &err) == NUT_E_ARGUMENT && !s, "options %zu are refused", i);
    s = open_session(m, 1, 16);
    nut_generate_options o = nut_generate_defaults();
    int32_t outside = (int32_t)nut_model_n_vocab(m), below = -1;
    CHECK(nut_session_eval(s, prompt, 0, 0, &err) == NUT_E_ARGUMENT, "no tokens");
    CHECK(nut_session_eval(s, prompt, 4, 5, &err) == NUT_E_ARGUMENT, "more logits than tokens");
    CHECK(nut_session_eval(s, prompt, N_CTX + 1, 0, &err) == NUT_E_CONTEXT, "more tokens than positions");
    CHECK(nut_session_eval(s, &outside, 1, 0, &err) == NUT_E_ARGUMENT, "a token outside of the vocabulary");
    CHECK(nut_session_eval(s, &below, 1, 0, &err) == NUT_E_ARGUMENT, "a negative token");
    CHECK(nut_session_truncate(s, 1, &err) == NUT_E_ARGUMENT, "a rewind into the future");
    CHECK(nut_generate_begin(s, prompt, 0, &o, &err) == NUT_E_ARGUMENT, "an empty prompt");
    CHECK(nut_generate_begin(s, prompt, N_CTX, &o, &err) == NUT_E_CONTEXT, "a prompt that leaves no room");
    CHECK(nut_generate_begin(s, &outside, 1, &o, &err) == NUT_E_ARGUMENT, "a prompt of unknown tokens");
    o.temperature = -1;
    CHECK(nut_generate_begin(s, prompt, 4, &o, &err) == NUT_E_ARGUMENT, "a negative temperature");
    CHECK(nut_session_n_past(s) == 0, "refused calls change nothing");
    CHECK(nut_session_eval(s, prompt, 4, 1, &err) == NUT_OK, "the session works on");
    nut_session_free(s);
}

/* An embedding is the mean of the rows, of length 1, however the text is cut; one of a model that reads both
 * ways needs it whole, and such a model has no logits. */
static void test_embedding(const nut_model *m, nut_model *both) {
    const uint32_t n_embd = nut_model_n_embd(m);
    float *rows = malloc(40 * n_embd * sizeof *rows), *pooled = malloc(n_embd * sizeof *pooled);
    double off = 0, squares = 0;
    nut_session *s = open_session(m, 1, 16);
    nut_error err;
    nut_generate_options o = nut_generate_defaults();
    CHECK(nut_session_embed(s, prompt, 40, rows, pooled, &err) == NUT_OK, "%s", err.message);
    for (uint32_t i = 0; i < n_embd; i++) {
        double sum = 0;
        for (size_t t = 0; t < 40; t++) sum += (double)rows[t * n_embd + i];
        rows[i] = (float)(sum / 40), squares += sum * sum / 1600;
    }
    for (uint32_t i = 0; i < n_embd; i++)
        off = fmax(off, fabs((double)rows[i] / sqrt(squares) - (double)pooled[i]));
    CHECK(off < 1e-6, "the pooled row is not the mean: %g off", off);
    CHECK(nut_session_embed(s, prompt, 0, NULL, pooled, &err) == NUT_E_ARGUMENT, "no text");
    CHECK(nut_session_embed(s, prompt, N_CTX + 1, NULL, pooled, &err) == NUT_E_CONTEXT,
          "more than the context");
    nut_session_free(s);
    both->hp.causal = false;
    s = open_session(both, 1, 16);
    CHECK(nut_session_embed(s, prompt, 16, NULL, pooled, &err) == NUT_OK, "a whole text");
    CHECK(nut_session_embed(s, prompt, 17, NULL, pooled, &err) == NUT_E_CONTEXT, "more than a batch");
    CHECK(nut_session_eval(s, prompt, 4, 1, &err) == NUT_E_UNSUPPORTED, "no logits");
    CHECK(nut_generate_begin(s, prompt, 4, &o, &err) == NUT_E_UNSUPPORTED, "no generation");
    nut_session_free(s);
    free(rows), free(pooled);
}

/* Evaluation looks up the logit of each token, the last of a window too, which is never an input. */
static void test_evaluated_ids(const nut_model *m) {
    const nut_session_options so = {.n_ctx = 64, .n_threads = 1, .n_batch = 16, .n_logits = 16};
    const int32_t outside[] = {-1, (int32_t)nut_model_n_vocab(m), INT32_MAX, INT32_MIN};
    nut_session *s = NULL;
    nut_perplexity_result r = {0};
    nut_error err = {0};
    if (!CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK, "%s", err.message)) return;
    for (size_t i = 0; i < 4; i++)
        for (size_t at = 0; at < 64; at += 21) {
            int32_t ids[64];
            memcpy(ids, prompt, sizeof ids);
            ids[at] = outside[i];
            CHECK(memory_job_perplexity(s, ids, 64, 32, 0, &r, &err) == NUT_E_ARGUMENT &&
                      strstr(err.message, "vocabulary"),
                  "token %d at %zu: %s", (int)outside[i], at, err.message);
        }
    CHECK(r.n_scored == 0, "refused calls give no result");
    CHECK(memory_job_perplexity(s, prompt, 64, 32, 0, &r, &err) == NUT_OK && r.n_scored == 30,
          "%llu tokens are scored", (unsigned long long)r.n_scored);
    nut_session_free(s);
}

/* A step is one batch: of the 31 inputs of a window 16 are read in batches of 8, and 15 are scored by 4.
 * The result is available only at the end. */
static void test_perplexity_steps(const nut_model *m) {
    const nut_session_options so = {.n_ctx = 64, .n_threads = 1, .n_batch = 8, .n_logits = 4};
    nut_session *s = NULL;
    nut_job *job = NULL;
    nut_job_event e = {0};
    nut_perplexity_result r = {0};
    nut_error err = {0};
    size_t steps = 0;
    if (!CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK, "%s", err.message)) return;
    nut_status status = nut_perplexity_begin(s, prompt, 64, 32, 0, &job, &err);
    while (CHECK(status == NUT_OK, "%s", err.message) && e.kind != NUT_JOB_DONE) {
        CHECK(nut_perplexity_get(job, &r, &err) == NUT_E_STATE && r.n_windows == 0, "a result too early");
        CHECK(nut_job_feed(job, prompt, 1, &err) == NUT_E_STATE, "no bytes are wanted");
        status = nut_job_step(job, &e, &err);
        if (e.kind == NUT_JOB_PROGRESS)
            CHECK(e.total == 62 && e.done <= 62, "of %llu", (unsigned long long)e.total);
        steps += e.kind == NUT_JOB_PROGRESS;
    }
    CHECK(steps == 2 * (2 + 4), "%zu steps", steps);
    CHECK(nut_perplexity_get(job, &r, &err) == NUT_OK && r.n_windows == 2 && r.n_scored == 30, "%s",
          err.message);
    CHECK(r.mean_nll > 0 && fabs(r.perplexity / exp(r.mean_nll) - 1) < 1e-12, "%g", r.mean_nll);
    nut_job_free(job);
    nut_session_free(s);
}

/* ---- memory ---- */

static void test_memory(const nut_model *m, nut_kv_type kv_type) {
    const nut_session_options o = {.n_ctx = N_CTX, .n_threads = 2, .n_batch = 16, .kv_type = kv_type};
    nut_session *s = NULL;
    nut_error err;
    int32_t out[64];
    nut_finish finish;
    counting_start(0);
    nut_session_new(m, &o, &s, NULL);
    size_t n_allocs = counting.n, bytes = counting.bytes;
    const uint64_t planned = session_bytes(m, &o), held = nut_session_bytes(s);
    CHECK(held <= bytes && held >= bytes * 9 / 10, "%llu of %zu bytes are told", (unsigned long long)held,
          bytes);
    CHECK(planned == held, "planned %llu bytes, held %llu", (unsigned long long)planned,
          (unsigned long long)held);
    draw(s, 40, 1, out, &finish);
    CHECK(counting.n == n_allocs, "a generation allocates nothing (%zu allocations)", counting.n - n_allocs);
    nut_session_free(s);
    CHECK(counting.alive == 0, "%zu blocks leak", counting.alive);
    for (size_t k = 1; k <= n_allocs; k++) {
        s = NULL;
        counting_start(k);
        nut_status status = nut_session_new(m, &o, &s, &err);
        CHECK(status == NUT_E_MEMORY && !s && counting.alive == 0,
              "allocation %zu fails: status %d, %zu blocks leak", k, (int)status, counting.alive);
        if (s) nut_session_free(s);
    }
    counting_stop();
}

int main(void) {
    for (int i = 0; i < LONG; i++) prompt[i] = 3 + (i * 37) % 256;
    static const format_id ids[] = {FORMAT_F32, FORMAT_Q8_0, FORMAT_Q4_0, FORMAT_Q4_K, FORMAT_Q6_K};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) test_same_bits(ids[i]);
    static const uint32_t groups[] = {1, 2, 3, 4, 7, 8};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        for (int kv = 0; kv < NUT_KV_COUNT; kv++) test_long(groups[i], (nut_kv_type)kv);
    nut_model *m = load(FORMAT_Q8_0);
    test_generations(m);
    test_stopping(m);
    test_refusals(m);
    test_evaluated_ids(m);
    test_perplexity_steps(m);
    for (int kv = 0; kv < NUT_KV_COUNT; kv++) test_memory(m, (nut_kv_type)kv);
    nut_model *both = load(FORMAT_Q8_0);
    test_embedding(m, both);
    nut_model_free(both);
    nut_model_free(m);
    return check_report();
}
