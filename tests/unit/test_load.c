/* The loader: the file's weights arrive in every format and in whatever steps they are fed, memory is as
 * planned, wrong calls and hostile bytes are errors. The contents of tables are tested in test_bind.c. */
#include "check.h"
#include "counting_alloc.h"
#include "data.h"
#include "make_gguf.h"
#include "weights.h"

#include "run/session.h"

static const char story[] = "models/stories260K-f32.gguf";

static make_options options_for(format_id id) {
    make_options o = {.matrices = id, .seed = 7};
    if (format_table[id].block > 32) o.n_embd = 256, o.n_ff = 512;
    return o;
}

/* Weights of every format are held as in the file and computed by the kernel set that the model names:
 * none falls back to the reference, and none becomes floats. */
static void test_fast_kernels(void) {
    const kernel_set *best = kernel_find(NULL), *ref = kernel_find("ref");
    for (int id = 0; id < FORMAT_COUNT; id++) {
        make_options o = options_for((format_id)id);
        make_gguf g = make_model(&o);
        size_t n;
        uint8_t *file = make_file(&g, &n);
        nut_model *m = NULL;
        nut_error err;
        if (CHECK(make_load(file, n, 0, NULL, &m, &err) == NUT_OK, "%s", err.message)) {
            const matrix *w = bound_matrix(m, "blk.0.ffn_up.weight");
            CHECK(strcmp(nut_model_kernel(m), best->name) == 0 && m->kernels == best, "%s: kernels %s",
                  format_table[id].name, nut_model_kernel(m));
            CHECK(w->format->id == (format_id)id, "%s is held as %s", format_table[id].name,
                  w->format->name);
            CHECK(best == ref || kernel_mul_mat(best, w) != kernel_mul_mat(ref, w),
                  "%s: products by the reference", format_table[id].name);
            CHECK((w->format->layout->act == FORMAT_ACT_Q8) == (format_table[id].block > 1), "%s: int8",
                  w->format->name);
        }
        nut_model_free(m), free(file), make_free(&g);
    }
}

static void test_formats(void) {
    static const size_t steps[] = {0, 1, 7, 4096};
    nut_load_options floats = nut_load_defaults();
    floats.reference = true;
    for (int id = 0; id < FORMAT_COUNT; id++) {
        make_options o = options_for((format_id)id);
        o.untied = id % 2 == 1;
        make_gguf g = make_model(&o);
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            if (steps[i] == 1 && format_table[id].block == 256 && id != FORMAT_Q6_K)
                continue; // one large one is enough
            check_load(&g, steps[i], NULL, format_table[id].name);
        }
        check_load(&g, 1000, &floats, format_table[id].name);
        make_free(&g);
    }
}

/* Rows with more weights than are dequantized at once, and not a multiple of that number. */
static void test_long_rows(void) {
    nut_load_options floats = nut_load_defaults();
    floats.reference = true;
    make_gguf g = make_model(&(make_options){.n_embd = 2336,
                                             .n_layer = 1,
                                             .n_head = 1,
                                             .n_head_kv = 1,
                                             .head_dim = 32,
                                             .n_ff = 32,
                                             .vectors = FORMAT_BF16});
    check_load(&g, 0, NULL, "long rows");
    make_free(&g);
    g = make_model(&(make_options){.n_embd = 2336,
                                   .n_layer = 1,
                                   .n_head = 1,
                                   .n_head_kv = 1,
                                   .head_dim = 32,
                                   .n_ff = 32,
                                   .matrices = FORMAT_Q4_0});
    check_load(&g, 0, &floats, "long rows to floats");
    make_free(&g);
}

/* Every tensor is held in the format of the file, or as floats on request. */
static void test_held_formats(void) {
    nut_load_options lo = nut_load_defaults();
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q4_1});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    for (int floats = 0; floats < 2; floats++) {
        nut_model *m;
        lo.reference = floats != 0;
        if (!CHECK(make_load(file, n, 0, &lo, &m, NULL) == NUT_OK, "loads")) continue;
        const format_id want = floats ? FORMAT_F32 : FORMAT_Q4_1;
        CHECK(m->token_embd.format->id == want &&
                  bound_matrix(m, "blk.1.ffn_down.weight")->format->id == want,
              "format %s", m->token_embd.format->name);
        nut_model_free(m);
    }
    free(file);
    make_free(&g);
}

static void test_layouts(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0});
    g.backwards = true;
    check_load(&g, 0, NULL, "data in the opposite order");
    for (size_t i = 0; i < g.n_tensors; i++) g.tensors[i].offset = MAKE_AUTO;
    g.alignment = 4096;
    make_u32(&g, "general.alignment", 4096);
    check_load(&g, 1, NULL, "pages between the tensors");
    make_free(&g);
    g = make_model(&(make_options){.matrices = FORMAT_Q4_0, .vectors = FORMAT_F16});
    g.version = 2;
    for (size_t i = 0; i < g.n_tensors; i++)
        g.tensors[i].offset = 64 + 4096 * (g.n_tensors - i) * (i % 2 ? 1 : 40);
    check_load(&g, 333, NULL, "tensors all over the file");
    make_free(&g);
}

static void test_random_splits(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q5_1, .n_head_kv = 1});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    rng r;
    rng_seed(&r, 11);
    for (int trial = 0; trial < 30; trial++) {
        const nut_load_options lo = nut_load_defaults();
        nut_loader *l;
        nut_model *m;
        nut_error err = {0};
        nut_status status = nut_load_begin(&lo, trial % 2 ? n : 0, &l, &err);
        for (size_t at = 0, some; status == NUT_OK && at < n; at += some) {
            some = (size_t)(rng_f64(&r) * (double)((size_t)1 << (rng_u64(&r) % 14)));
            if (some > n - at) some = n - at;
            status = nut_load_feed(l, at, file + at, some, &err);
        }
        if (status == NUT_OK) status = nut_load_finish(l, &m, &err);
        if (!CHECK(status == NUT_OK, "trial %d: %s", trial, err.message)) break;
        check_weights(m, &g, "random splits");
        nut_model_free(m);
    }
    free(file);
    make_free(&g);
}

static void test_families(void) {
    static const struct {
        const char *name;
        model_rope rope;
    } families[] = {{"llama", MODEL_ROPE_NORM}, {"qwen2", MODEL_ROPE_NEOX}, {"qwen3", MODEL_ROPE_NEOX}};
    for (size_t i = 0; i < 3; i++) {
        make_gguf g =
            make_model(&(make_options){.arch = families[i].name, .head_dim = 24, .vectors = FORMAT_BF16});
        size_t n;
        uint8_t *file = make_file(&g, &n);
        nut_model *m;
        nut_error err = {0};
        if (CHECK(make_load(file, n, 0, NULL, &m, &err) == NUT_OK, "%s: %s", families[i].name,
                  err.message)) {
            check_weights(m, &g, families[i].name);
            CHECK(m->hp.rope_kind == families[i].rope && m->layers[1].hp.head_dim == 24 && m->hp.n_rot == 24,
                  "hyperparameters");
            nut_model_free(m);
        }
        free(file);
        make_free(&g);
    }
}

/* ---- the plan ---- */

static uint64_t packed_bytes(const make_gguf *g) {
    uint64_t sum = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const make_tensor *t = &g->tensors[i];
        const format *f = format_by_ggml(t->type);
        uint64_t bytes =
            t->n_dims == 1 ? 4 * t->dims[0] : (t->dims[1] + 7) / 8 * 8 * (t->dims[0] / f->block * f->bytes);
        sum += (bytes + 63) / 64 * 64;
    }
    return sum;
}

/* Feeds the header alone, with a limit. */
static nut_status plan_with(const uint8_t *file, size_t n, uint64_t limit, uint32_t n_ctx,
                            nut_load_plan *plan, nut_error *err) {
    nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    lo.memory_limit = limit;
    lo.n_ctx = n_ctx;
    nut_status status = nut_load_begin(&lo, 0, &l, err);
    if (status != NUT_OK) return status;
    CHECK(!nut_load_get_plan(l).complete, "no plan before the header");
    for (size_t at = 0; status == NUT_OK && at < n && !nut_load_get_plan(l).complete; at++)
        status = nut_load_feed(l, at, file + at, 1, err);
    *plan = nut_load_get_plan(l);
    nut_load_abort(l);
    return status;
}

static void test_plan(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0, .n_ctx = 1 << 20});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_load_plan plan, again;
    nut_error err = {0};
    CHECK(plan_with(file, n, 0, 0, &plan, &err) == NUT_OK && plan.complete, "%s", err.message);
    CHECK(plan.weight_bytes == packed_bytes(&g), "%llu bytes of weights, not %llu",
          (unsigned long long)plan.weight_bytes, (unsigned long long)packed_bytes(&g));
    CHECK(plan.file_bytes == n && plan.header_bytes < n && plan.header_bytes % 32 == 0, "file of %llu bytes",
          (unsigned long long)plan.file_bytes);
    const uint64_t need = plan.weight_bytes + plan.cache_bytes;
    CHECK(plan_with(file, n, need, 0, &again, &err) == NUT_OK, "%s", err.message);
    CHECK(plan_with(file, n, need - 1, 0, &again, &err) == NUT_E_TOO_LARGE && strstr(err.message, "MB"),
          "%s", err.message);
    CHECK(plan_with(file, n, need - 1, 4000, &again, &err) == NUT_OK, "a shorter context fits: %s",
          err.message);
    CHECK(again.cache_bytes < plan.cache_bytes, "a shorter context takes less");
    nut_status status = plan_with(file, n, 0, UINT32_MAX, &again, &err);
    CHECK(again.cache_bytes > (uint64_t)UINT32_MAX * 256, "sizes are 64 bits wide");
    CHECK(status == (SIZE_MAX > UINT32_MAX ? NUT_OK : NUT_E_TOO_LARGE), "%s", nut_status_name(status));
    free(file);
    make_free(&g);
}

/* The whole file in one feed: memory for the weights, the header, and little more. */
static void test_peak(void) {
    make_gguf g = make_model(&(make_options){.n_embd = 512, .n_ff = 1024, .matrices = FORMAT_Q8_0});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_model *m;
    counting_start(0);
    if (CHECK(make_load(file, n, 0, NULL, &m, NULL) == NUT_OK, "loads")) {
        const size_t weights = m->weights.size;
        CHECK(weights > 3000000 && counting.peak < weights + (1 << 18),
              "%zu bytes at the peak for weights of %zu", counting.peak, weights);
        nut_model_free(m);
    }
    CHECK(counting.alive == 0, "%zu blocks are left", counting.alive);
    counting_stop();
    free(file);
    make_free(&g);
}

static void check_session(const nut_model *m, nut_session_options so) {
    nut_session *s;
    nut_error err = {0};
    if (!CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK, "%s", err.message)) return;
    const uint64_t planned = session_bytes(m, &so), taken = nut_session_bytes(s);
    CHECK(planned == taken, "context %u, batch %u, logits %u: %llu planned, %llu taken", so.n_ctx,
          so.n_batch, so.n_logits, (unsigned long long)planned, (unsigned long long)taken);
    nut_session_free(s);
}

static void test_session_bytes(void) {
    static const make_options shapes[] = {
        {.n_embd = 512, .n_ff = 1024, .n_ctx = 4096},
        {.n_embd = 256, .n_ff = 768, .n_head = 8, .n_head_kv = 1, .n_ctx = 4096},
        {.n_embd = 512, .head_dim = 256, .n_ff = 64, .n_ctx = 4096, .n_layer = 4}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        make_gguf g = make_model(&shapes[i]);
        size_t n;
        uint8_t *file = make_file(&g, &n);
        nut_model *m;
        if (CHECK(make_load(file, n, 0, NULL, &m, NULL) == NUT_OK, "loads")) {
            check_session(
                m, (nut_session_options){.n_ctx = 4096, .n_threads = 1, .n_batch = 64, .n_logits = 1});
            check_session(
                m, (nut_session_options){.n_ctx = 512, .n_threads = 1, .n_batch = 64, .n_logits = 64});
            check_session(m,
                          (nut_session_options){.n_ctx = 4096, .n_threads = 1, .n_batch = 1, .n_logits = 1});
            check_session(m, (nut_session_options){
                                 .n_ctx = 4096, .n_batch = 64, .n_logits = 1, .kv_type = NUT_KV_Q8_0});
            nut_model_free(m);
        }
        free(file);
        make_free(&g);
    }
}

/* ---- wrong use, cut files, no memory ---- */

static void test_use(void) {
    make_gguf g = make_model(&(make_options){0});
    size_t n, n_meta = 0;
    uint8_t *file = make_file(&g, &n);
    nut_load_options lo = nut_load_defaults();
    nut_loader *l = NULL;
    nut_model *m = NULL;
    nut_error err = {0};
    lo.kernel = "quantum";
    CHECK(nut_load_begin(&lo, n, &l, &err) == NUT_E_ARGUMENT && strstr(err.message, "\"quantum\"") &&
              strstr(err.message, "ref"),
          "%s", err.message);
    lo.kernel = "ref";
    CHECK(nut_load_begin(&lo, n, &l, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_feed(l, 1, file, 1, &err) == NUT_E_ARGUMENT, "a gap before the first byte");
    CHECK(nut_load_feed(l, 0, file, 100, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_feed(l, 100, NULL, 0, &err) == NUT_OK, "no bytes are fine");
    CHECK(nut_load_feed(l, 99, file + 99, 1, &err) == NUT_E_ARGUMENT, "a byte twice");
    CHECK(nut_load_feed(l, 100, file + 100, n - 101, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_feed(l, n - 1, file + n - 1, 1, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_feed(l, n, "behind the end", 14, &err) == NUT_OK,
          "more than the tables ask for is passed over");
    if (CHECK(nut_load_finish(l, &m, &err) == NUT_OK, "%s", err.message)) {
        check_weights(m, &g, "after wrong offsets");
        CHECK(nut_model_n_vocab(m) == MAKE_N_VOCAB && nut_model_n_ctx_train(m) == 128, "facts");
        CHECK(!strcmp(nut_model_kernel(m), "ref"), "kernel %s", nut_model_kernel(m));
        const char *name = nut_model_meta(m, "general.name", &n_meta);
        CHECK(name && n_meta == 6 && !memcmp(name, "random", 6), "name");
        CHECK(!nut_model_meta(m, "general.nothing", &n_meta) &&
                  !nut_model_meta(m, "llama.block_count", &n_meta),
              "no texts");
        nut_model_free(m);
    }
    nut_model_free(NULL);
    nut_load_abort(NULL);
    free(file);
    make_free(&g);
}

static void test_after_failure(void) {
    nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    nut_model *m;
    nut_error err = {0};
    if (!CHECK(nut_load_begin(&lo, 0, &l, &err) == NUT_OK, "%s", err.message)) return;
    CHECK(nut_load_feed(l, 0, "<!DOCTYPE html><html lang=en>", 29, &err) == NUT_E_NOT_GGUF, "%s",
          err.message);
    CHECK(nut_load_feed(l, 0, "GGUF", 4, &err) == NUT_E_STATE, "%s", err.message);
    CHECK(nut_load_finish(l, &m, &err) == NUT_E_STATE, "%s", err.message);
    nut_load_abort(l);
}

/* A scale that is not finite means that the bytes are damaged, in whatever steps they are fed. */
static void test_bad_scales(void) {
    static const uint16_t bad[] = {0x7c00, 0x7e00, 0xfc00, 0x5400, 0xd400}; // inf, NaN, -inf, 64, -64
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t step = 7; step < 5000; step += 4096) {
            make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q4_0});
            memcpy(make_find(&g, "blk.0.ffn_up.weight")->data.p + 18 * 3, &bad[i], 2);
            size_t n;
            uint8_t *file = make_file(&g, &n);
            nut_model *model = NULL;
            nut_error err;
            nut_status status = make_load(file, n, step, NULL, &model, &err);
            CHECK(status == NUT_E_CORRUPT && strstr(err.message, "blk.0.ffn_up.weight") && !model, "%s %s",
                  nut_status_name(status), err.message);
            free(file), make_free(&g);
        }
}

/* So does a number of a vector that is not finite. */
static void test_bad_vectors(void) {
    static const uint32_t bad[] = {0x7f800000, 0x7fc00000, 0xff800000}; // inf, NaN, -inf
    static const char *const names[] = {"blk.1.ffn_norm.weight", "output_norm.weight", "blk.0.attn_k.bias"};
    for (size_t i = 0; i < 9; i++) {
        make_gguf g = make_model(&(make_options){.arch = "qwen2"});
        memcpy(make_find(&g, names[i / 3])->data.p + 20, &bad[i % 3], 4);
        size_t n;
        uint8_t *file = make_file(&g, &n);
        nut_model *model = NULL;
        nut_error err = {0};
        const nut_status status = make_load(file, n, 0, NULL, &model, &err);
        CHECK(status == NUT_E_CORRUPT && strstr(err.message, names[i / 3]) && !model, "%s %s",
              nut_status_name(status), err.message);
        free(file), make_free(&g);
    }
}

/* A file that ends at any of many places, with known size or not. */
static void test_cuts(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q4_0});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    for (size_t cut = 0; cut < n; cut += cut < n - 40 ? 331 : 1)
        for (int known = 0; known < 2; known++) {
            const nut_load_options lo = nut_load_defaults();
            nut_loader *l;
            nut_model *m;
            nut_error err = {0};
            nut_status status = nut_load_begin(&lo, known ? cut : 0, &l, &err);
            if (status == NUT_OK && cut) status = nut_load_feed(l, 0, file, cut, &err);
            if (status == NUT_OK) status = nut_load_finish(l, &m, &err);
            bool fits =
                status == (cut < 4 ? NUT_E_NOT_GGUF : NUT_E_TRUNCATED) || (known && status == NUT_E_CORRUPT);
            CHECK(fits, "cut at %zu of %zu: %s %s", cut, n, nut_status_name(status), err.message);
            char words[64];
            snprintf(words, sizeof words, "%zu bytes are missing", n - cut);
            CHECK(known || cut < 20000 || strstr(err.message, words), "cut at %zu of %zu: %s", cut, n,
                  err.message);
            CHECK(nut_load_feed(l, cut, file + cut, 1, &err) == NUT_E_STATE, "a load that failed goes on");
            nut_load_abort(l);
        }
    free(file);
    make_free(&g);
}

static void test_no_memory(void) {
    make_gguf g = make_model(&(make_options){.arch = "qwen3", .matrices = FORMAT_Q5_0});
    size_t n, failures = 0;
    uint8_t *file = make_file(&g, &n);
    for (size_t k = 1; k < 10000; k++) {
        nut_model *m = NULL;
        nut_error err = {0};
        counting_start(k);
        nut_status status = make_load(file, n, 3000, NULL, &m, &err);
        if (status == NUT_OK) check_weights(m, &g, "an allocation failed");
        if (status == NUT_OK) nut_model_free(m);
        CHECK(status == NUT_OK || (status == NUT_E_MEMORY && strstr(err.message, "out of memory")),
              "allocation %zu failed: %s %s", k, nut_status_name(status), err.message);
        CHECK(counting.alive == 0, "allocation %zu failed: %zu blocks are left", k, counting.alive);
        const bool done = counting.n < k;
        failures += status != NUT_OK;
        counting_stop();
        if (done) break;
    }
    CHECK(failures >= 10, "only %zu allocations failed", failures);
    free(file);
    make_free(&g);
}

/* ---- hostile headers ---- */

/* What loads must also run. */
static void try_out(nut_model *m) {
    int32_t ids[64];
    size_t n;
    nut_session *s;
    nut_error err;
    if (nut_tokenize(m, "the hat", 7, NUT_TOKENIZE_ADD_BOS, ids, 64, &n, &err) != NUT_OK || n == 0) return;
    nut_session_options so = {.n_ctx = 16, .n_threads = 1, .n_batch = 8, .n_logits = 1};
    if (nut_session_new(m, &so, &s, &err) != NUT_OK) return;
    (void)nut_session_eval(s, ids, n < 16 ? n : 16, 1, &err);
    nut_session_free(s);
}

/* Each byte of the header changed: an error with a message, or a model that runs; never more memory than
 * the file needs. */
static void test_wrong_bytes(void) {
    static const uint8_t masks[] = {0x01, 0x10, 0xff};
    make_gguf g = make_model(&(make_options){.arch = "qwen2", .n_layer = 1});
    size_t n, silent = 0, refused = 0, ran = 0, peak = 0, left = 0;
    uint8_t *file = make_file(&g, &n);
    nut_load_plan plan;
    CHECK(plan_with(file, n, 0, 0, &plan, NULL) == NUT_OK, "the model is sound");
    for (size_t at = 0; at < plan.header_bytes; at++) {
        nut_model *m;
        nut_error err = {0};
        uint8_t mask = masks[at % 3];
        file[at] ^= mask;
        counting_start(0);
        nut_status status = make_load(file, n, 0, NULL, &m, &err);
        if (counting.peak > peak) peak = counting.peak;
        silent += status != NUT_OK && (err.code != status || !*err.message);
        refused += status != NUT_OK;
        if (status == NUT_OK && ++ran % 8 == 0) try_out(m);
        if (status == NUT_OK) nut_model_free(m);
        left += counting.alive;
        counting_stop();
        file[at] ^= mask;
    }
    CHECK(silent == 0 && left == 0, "%zu without a message, %zu blocks left", silent, left);
    CHECK(refused > 300 && ran > 1000, "%zu refused, %zu loaded", refused, ran);
    CHECK(peak < 2 * n + (1 << 20), "%zu bytes for a file of %zu", peak, n);
    free(file);
    make_free(&g);
}

/* ---- a real model ---- */

static void test_story(void) {
    size_t n = 0;
    uint8_t *file = (uint8_t *)data_read(story, &n);
    if (!file) {
        CHECK_SKIP("%s is missing", data_path(story));
        return;
    }
    nut_model *m;
    nut_error err = {0};
    if (CHECK(make_load(file, n, 4096, NULL, &m, &err) == NUT_OK, "%s", err.message)) {
        size_t wrong = 0;
        for (uint64_t i = 0; i < m->header.n_tensors; i++) {
            const gguf_tensor *t = &m->header.tensors[i];
            char name[65] = "";
            memcpy(name, t->name.s, (size_t)t->name.n);
            wrong += wrong_rows(m, name, t->dims, t->ggml_type, file + t->offset);
        }
        CHECK(wrong == 0 && m->header.n_tensors == 47, "%zu wrong rows", wrong);
        nut_model_free(m);
    }
    free(file);
}

/* A vocabulary without weights is read, and refused as a model. */
static void test_vocabulary(void) {
    static const char name[] = "vocab/llama-spm.gguf";
    size_t n = 0;
    uint8_t *file = (uint8_t *)data_read(name, &n);
    if (!file) {
        CHECK_SKIP("%s is missing", data_path(name));
        return;
    }
    nut_model *m;
    nut_error err = {0};
    nut_status status = make_load(file, n, 65536, NULL, &m, &err);
    CHECK(status == NUT_E_CORRUPT && strstr(err.message, "no weights"), "%s %s", nut_status_name(status),
          err.message);
    free(file);
}

int main(void) {
    test_formats();
    test_fast_kernels();
    test_long_rows();
    test_held_formats();
    test_layouts();
    test_random_splits();
    test_families();
    test_plan();
    test_peak();
    test_session_bytes();
    test_use();
    test_after_failure();
    test_bad_scales();
    test_bad_vectors();
    test_cuts();
    test_no_memory();
    test_wrong_bytes();
    test_story();
    test_vocabulary();
    return check_report();
}
