/*
 * Checkpoints of llama2.c: those that tests/golden/llama2c.py writes in each version give the numbers that
 * it wrote, and the ReLU model of the data folder what NumPy computes of it. Cut or damaged files are
 * refused wherever they end, and nothing is left where memory fails.
 */
#include "check.h"
#include "counting_alloc.h"
#include "json.h"
#include "make_gguf.h"
#include "memory_job.h"

#include "model/gguf.h"
#include "run/session.h"

static const char *const folder = "tests/golden/llama2c";

typedef struct bytes {
    uint8_t *b;
    size_t n;
} bytes;

static bytes golden(const char *name) {
    char path[128];
    bytes out = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    out.b = (uint8_t *)data_read_path(path, &out.n);
    CHECK(out.b != NULL, "%s", path);
    return out;
}

static bytes data(const char *name) {
    bytes out = {0};
    out.b = (uint8_t *)data_read(name, &out.n);
    return out;
}

/* What becomes of a checkpoint; mj->out is to be freed. */
static nut_status import(bytes from, bytes tokenizer, bool relu, memory_job *mj, nut_error *err) {
    const nut_import_options o = {tokenizer.b, tokenizer.n, relu, 1, 0.25f};
    nut_job *job = NULL;
    *mj = (memory_job){.file = {from.b}, .n_bytes = {from.n}, .random = mj->random};
    const nut_status status = nut_import_begin(&o, &job, err);
    return status == NUT_OK ? memory_job_run(mj, job, err) : status;
}

/* ---- each version ---- */

static int by_name(const void *a, const void *b) {
    const gguf_tensor *x = a, *y = b;
    const size_t n = (size_t)(x->name.n < y->name.n ? x->name.n : y->name.n);
    const int order = memcmp(x->name.s, y->name.s, n);
    return order ? order : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

/* Tensors sorted by name, one behind the other, are `want`. */
static void check_tensors(const memory_job *mj, bytes want) {
    gguf g = {0};
    size_t used = 0, at = 0;
    bool complete = false;
    nut_error err = {0};
    CHECK(gguf_begin(&g, mj->n_out, &err) == NUT_OK &&
              gguf_feed(&g, mj->out, mj->n_out, &used, &complete, &err) == NUT_OK && complete,
          "%s", err.message);
    qsort(g.tensors, (size_t)g.n_tensors, sizeof *g.tensors, by_name);
    for (uint64_t i = 0; i < g.n_tensors; i++) {
        const gguf_tensor *t = &g.tensors[i];
        const bool same =
            at + t->n_bytes <= want.n && !memcmp(mj->out + t->offset, want.b + at, (size_t)t->n_bytes);
        CHECK(same, "%.*s", (int)t->name.n, t->name.s);
        at += (size_t)t->n_bytes;
    }
    CHECK(at == want.n, "%zu bytes of %zu", at, want.n);
    gguf_free(&g);
}

static void test_versions(void) {
    const bytes tokenizer = golden("tokenizer.bin");
    rng random;
    rng_seed(&random, 3);
    for (int version = 0; version < 3; version++) {
        char name[16];
        snprintf(name, sizeof name, "v%d.bin", version);
        const bytes from = golden(name);
        snprintf(name, sizeof name, "v%d.f32", version);
        const bytes want = golden(name);
        for (int piecewise = 0; piecewise < 2; piecewise++) {
            memory_job mj = {.random = piecewise ? &random : NULL};
            nut_error err = {0};
            CHECK(import(from, tokenizer, false, &mj, &err) == NUT_OK && !mj.n_wrong, "%s", err.message);
            check_tensors(&mj, want);
            free(mj.out);
        }
        free(from.b), free(want.b);
    }
    free(tokenizer.b);
}

/* What the tokens are: by their texts, and as bytes and spaces. */
static void test_vocabulary(void) {
    const bytes tokenizer = golden("tokenizer.bin"), from = golden("v1.bin");
    static const int32_t want[] = {1, 7, 6, 3};
    memory_job mj = {0};
    nut_model *m = NULL;
    nut_error err = {0};
    int32_t ids[16];
    size_t n = 0;
    CHECK(import(from, tokenizer, false, &mj, &err) == NUT_OK &&
              make_load(mj.out, mj.n_out, 0, NULL, &m, &err) == NUT_OK,
          "%s", err.message);
    CHECK(nut_tokenize(m, "ab\n", 3, NUT_TOKENIZE_ADD_BOS, ids, 16, &n, &err) == NUT_OK && n == 4 &&
              !memcmp(ids, want, sizeof want),
          "%zu ids, %d %d %d %d", n, ids[0], ids[1], ids[2], ids[3]);
    nut_model_free(m);
    free(mj.out), free(tokenizer.b), free(from.b);
}

/* ---- files that are none ---- */

static void check_refused(bytes from, bytes tokenizer, nut_status status, const char *says) {
    memory_job mj = {0};
    nut_error err = {0};
    const nut_status is = import(from, tokenizer, false, &mj, &err);
    CHECK(is == status && strstr(err.message, says), "%s, not \"%s\"", err.message, says);
    free(mj.out);
}

static void test_refused(void) {
    const bytes tokenizer = golden("tokenizer.bin");
    for (int version = 0; version < 3; version++) {
        char name[16];
        snprintf(name, sizeof name, "v%d.bin", version);
        const bytes from = golden(name);
        for (size_t n = 0; n < from.n; n += n < 300 ? 1 : 997)
            check_refused((bytes){from.b, n}, tokenizer, NUT_E_CORRUPT,
                          n < 28 || (version && n < 256) ? "no whole checkpoint" : "cut off");
        check_refused((bytes){from.b, from.n - 1}, tokenizer, NUT_E_CORRUPT, "cut off");
        check_refused(from, (bytes){tokenizer.b, tokenizer.n - 1}, NUT_E_CORRUPT, "fewer than");
        from.b[version ? 4 + 4 : 0]++; // n_embd
        check_refused(from, tokenizer, NUT_E_CORRUPT, "no checkpoint");
        from.b[version ? 4 + 4 : 0]--;
        if (version) {
            from.b[4] = 9;
            check_refused(from, tokenizer, NUT_E_UNSUPPORTED, "version 9");
        }
        free(from.b);
    }
    const bytes more = {calloc(1, tokenizer.n + 8), tokenizer.n + 8}, from = golden("v2.bin");
    memcpy(more.b, tokenizer.b, tokenizer.n);
    check_refused(from, more, NUT_E_CORRUPT, "more than");
    from.b[37] = 7; // numbers of a scale
    check_refused(from, tokenizer, NUT_E_CORRUPT, "no checkpoint");
    from.b[37] = 0;
    check_refused(from, tokenizer, NUT_E_CORRUPT, "scales of 0");
    free(more.b), free(from.b), free(tokenizer.b);
}

static void test_memory(void) {
    const bytes tokenizer = golden("tokenizer.bin"), from = golden("v2.bin");
    bool failed = true;
    for (size_t k = 1; failed && k < 200; k++) {
        memory_job mj = {0};
        nut_error err = {0};
        counting_start(k);
        failed = import(from, tokenizer, true, &mj, &err) != NUT_OK;
        CHECK(!failed || err.code == NUT_E_MEMORY, "%zu: %s", k, err.message);
        CHECK(counting.alive == 0, "%zu: %zu blocks are left", k, counting.alive);
        counting_stop();
        free(mj.out);
    }
    CHECK(!failed, "it never succeeds");
    free(tokenizer.b), free(from.b);
}

/* ---- the ReLU model ---- */

typedef struct expected {
    json_doc doc;
    int32_t ids[512];
    size_t n_ids;
    float logits[1 << 12];
    size_t n_logits, stride;
} expected;

static bool read_expected(expected *e) {
    char path[128];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/relu.json", folder);
    char *text = data_read_path(path, &n);
    e->doc = text ? json_parse(text, n) : (json_doc){0};
    if (!CHECK(e->doc.root != NULL, "%s", path)) return false;
    e->n_ids = json_ints(json_get(e->doc.root, "ids"), e->ids, 512);
    e->n_logits = json_floats(json_get(e->doc.root, "logits"), e->logits, 1 << 12);
    e->stride = (size_t)json_number(e->doc.root, "stride", NULL);
    return true;
}

static double loss_of(const float *row, size_t n, int32_t id) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp((double)row[i]);
    return log(sum) - (double)row[id];
}

/* Logits, one token after the other, are `far` off in the deviation of what NumPy has, and the loss too. */
static void compare(const expected *e, nut_model *m, double far, double far_loss) {
    nut_session_options o = nut_session_defaults();
    nut_session *s = NULL;
    nut_error err = {0};
    const size_t n_vocab = nut_model_n_vocab(m);
    double worst = 0, loss = 0;
    size_t at = 0;
    o.n_ctx = 256, o.n_logits = 1;
    if (!CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message)) return;
    for (size_t i = 0; i + 1 < e->n_ids; i++) {
        nut_session_eval(s, e->ids + i, 1, 1, NULL);
        const float *row = nut_session_logits(s, 0);
        loss += loss_of(row, n_vocab, e->ids[i + 1]);
        for (; at < e->n_logits && at * e->stride < (i + 1) * n_vocab; at++)
            worst = fmax(worst, fabs((double)row[at * e->stride - i * n_vocab] - (double)e->logits[at]));
    }
    loss /= (double)(e->n_ids - 1);
    worst /= json_number(e->doc.root, "std", NULL);
    CHECK(at == e->n_logits && worst < far, "%zu logits of %zu, off by %g", at, e->n_logits, worst);
    CHECK(fabs(loss - json_number(e->doc.root, "loss", NULL)) < far_loss, "loss %.7f", loss);
    nut_session_free(s);
}

static void check_ids(const expected *e, nut_model *m) {
    static int32_t ids[2000];
    size_t n_text = 0, n = 0;
    char *text = data_read("text/tinystories-2MB-cased.txt", &n_text);
    if (!text) return;
    const nut_status status = nut_tokenize(m, text, (size_t)json_number(e->doc.root, "n_text", NULL),
                                           NUT_TOKENIZE_ADD_BOS, ids, 2000, &n, NULL);
    CHECK(status == NUT_OK && n >= e->n_ids && !memcmp(ids, e->ids, e->n_ids * sizeof *ids), "%zu ids", n);
    free(text);
}

/* Rows of logits (n_ids, n_vocab), n_at_once tokens in a step; malloc'ed. */
static float *rows_of(const expected *e, nut_session *s, size_t n_at_once) {
    const size_t n_vocab = nut_model_n_vocab(nut_session_workspace(s)->model);
    float *rows = malloc(e->n_ids * n_vocab * sizeof *rows);
    for (size_t i = 0; i < e->n_ids; i += n_at_once) {
        const size_t n = e->n_ids - i < n_at_once ? e->n_ids - i : n_at_once;
        nut_session_eval(s, e->ids + i, n, (uint32_t)n, NULL);
        for (size_t k = 0; k < n; k++)
            memcpy(rows + (i + k) * n_vocab, nut_session_logits(s, k), n_vocab * sizeof *rows);
    }
    return rows;
}

/* One token alone passes over zeros of ReLU; several do not, and have the same bits. */
static void check_zeros(const expected *e, const memory_job *whole, const char *type) {
    const nut_compress_options co = {.type = type};
    memory_job mj = {.file = {whole->out}, .n_bytes = {whole->n_out}};
    nut_session_options so = nut_session_defaults();
    nut_job *job = NULL;
    nut_model *m = NULL;
    nut_session *s = NULL;
    nut_error err = {0};
    so.n_ctx = 256, so.n_logits = 8;
    const bool ready = nut_compress_begin(&co, &job, &err) == NUT_OK &&
                       memory_job_run(&mj, job, &err) == NUT_OK &&
                       make_load(mj.out, mj.n_out, 0, NULL, &m, &err) == NUT_OK &&
                       nut_session_new(m, &so, &s, &err) == NUT_OK;
    if (CHECK(ready, "%s", err.message)) {
        const nut_workspace *ws = nut_session_workspace(s);
        float *many = rows_of(e, s, 8);
        CHECK(ws->n_known == 0, "%llu steps were looked at", (unsigned long long)ws->n_known);
        nut_session_truncate(s, 0, NULL);
        float *alone = rows_of(e, s, 1);
        CHECK(!memcmp(many, alone, e->n_ids * nut_model_n_vocab(m) * sizeof *many), "%s: other bits", type);
        CHECK(ws->n_known > 0 && ws->n_live < ws->n_known, "%s: %llu of %llu steps are read", type,
              (unsigned long long)ws->n_live, (unsigned long long)ws->n_known);
        free(many), free(alone);
    }
    nut_session_free(s);
    nut_model_free(m);
    free(mj.out);
}

static void test_relu(void) {
    static expected e;
    const bytes from = data("models/relu/out2Msp-model_qint80.bin"),
                tokenizer = data("models/relu/tok4096.bin");
    if (!from.b || !tokenizer.b) {
        CHECK_SKIP("%s is missing", data_path("models/relu"));
    } else if (read_expected(&e)) {
        memory_job mj = {0};
        nut_error err = {0};
        CHECK(import(from, tokenizer, true, &mj, &err) == NUT_OK, "%s", err.message);
        for (int reference = 1; reference >= 0; reference--) {
            nut_load_options o = nut_load_defaults();
            nut_model *m = NULL;
            o.reference = reference;
            if (reference) o.kernel = "ref";
            if (!CHECK(make_load(mj.out, mj.n_out, 0, &o, &m, &err) == NUT_OK, "%s", err.message)) break;
            if (reference) check_ids(&e, m);
            compare(&e, m, reference ? 2e-5 : 5e-3, reference ? 1e-6 : 1e-3);
            nut_model_free(m);
        }
        check_zeros(&e, &mj, "q8_0");
        check_zeros(&e, &mj, "q4_0");
        free(mj.out);
    }
    json_free(&e.doc);
    free(from.b), free(tokenizer.b);
}

int main(void) {
    test_versions();
    test_vocabulary();
    test_refused();
    test_memory();
    test_relu();
    return check_report();
}
