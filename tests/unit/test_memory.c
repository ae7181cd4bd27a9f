/* The memory that a file can make a load hold, with the limits of nutshell.h: headers that take the most
 * memory for their bytes, weights that grow the most when they are packed, tables that claim more than
 * the file has. */
#include "check.h"
#include "counting_alloc.h"
#include "load_cost.h"
#include "make_gguf.h"

#include <stdlib.h>

/* ---- headers ---- */

static make_gguf empty_file(const char *model) {
    make_gguf g = {.version = 3, .alignment = 1};
    make_str(&g, "general.architecture", "llama");
    make_str(&g, "tokenizer.ggml.model", model);
    make_u32(&g, "general.alignment", 1);
    return g;
}

/* The shortest pairs: a key of three bytes or less and one of value. */
static void put_keys(make_gguf *g, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        make_key(g, (char[]){(char)(1 + i % 200), (char)(1 + i / 200 % 200), (char)(1 + i / 40000), 0},
                 MAKE_U8);
        make_le(&g->kv, 0, 1);
    }
}

static void put_empty_tokens(make_gguf *g, uint32_t n, bool special) {
    make_array(g, "tokenizer.ggml.tokens", MAKE_STRING, n);
    for (uint32_t i = 0; i < n; i++)
        make_le(&g->kv, i < 2 ? 1 : special, 8), make_put(&g->kv, "ab", i < 2 ? 1 : special);
}

static void put_scores(make_gguf *g, uint32_t n) {
    make_array(g, "tokenizer.ggml.scores", MAKE_F32, n);
    for (uint32_t i = 0; i < n; i++) make_le(&g->kv, 0, 4);
}

static make_gguf keys(uint32_t n) {
    make_gguf g = empty_file("gpt2");
    put_keys(&g, n);
    return g;
}

static make_gguf tokens(uint32_t n) {
    make_gguf g = empty_file("llama");
    put_empty_tokens(&g, n, false);
    put_scores(&g, n);
    return g;
}

static make_gguf special_tokens(uint32_t n) {
    make_gguf g = empty_file("llama");
    put_empty_tokens(&g, n, true);
    put_scores(&g, n);
    make_array(&g, "tokenizer.ggml.token_type", MAKE_I32, n);
    for (uint32_t i = 0; i < n; i++) make_le(&g.kv, 3, 4);
    return g;
}

static make_gguf merges(uint32_t n) {
    make_gguf g = empty_file("gpt2");
    put_empty_tokens(&g, 2, false);
    make_array(&g, "tokenizer.ggml.merges", MAKE_STRING, n);
    for (uint32_t i = 0; i < n; i++) make_le(&g.kv, 0, 8);
    return g;
}

/* The shortest entries of tensors, of a model with the most layers that can be claimed. */
static make_gguf tensors(uint32_t n) {
    make_gguf g = empty_file("llama");
    put_empty_tokens(&g, 2, false);
    put_scores(&g, 2);
    make_u32(&g, "llama.context_length", 64), make_u32(&g, "llama.embedding_length", 8);
    make_u32(&g, "llama.block_count", n < 4096 ? n : 4096), make_u32(&g, "llama.feed_forward_length", 8);
    make_u32(&g, "llama.attention.head_count", 1);
    return g;
}

/* The file of g, whose tensors are n vectors of one number, if any; free() it. */
static uint8_t *file_of(make_gguf *g, uint32_t n_tensors, size_t *n) {
    uint8_t *head = make_file(g, n);
    make_bytes all = {0};
    make_put(&all, head, *n);
    for (size_t i = 0; i < 8; i++) all.p[8 + i] = (uint8_t)((uint64_t)n_tensors >> (8 * i));
    for (uint32_t i = 0; i < n_tensors; i++) {
        make_text(&all, (char[]){(char)(1 + i % 200), (char)(1 + i / 200 % 200), (char)(1 + i / 40000), 0});
        make_le(&all, 1, 4), make_le(&all, 1, 8), make_le(&all, 24, 4), make_le(&all, i, 8); // I8
    }
    for (uint32_t i = 0; i < n_tensors; i++) make_le(&all, 0, 1);
    free(head), make_free(g);
    *n = all.n;
    return all.p;
}

/* Feeds a header; the memory must always be within the limit for the bytes fed so far. Returns the
 * largest share of the limit. */
static double check_header(const char *name, const uint8_t *file, size_t n, size_t step) {
    const nut_load_options o = nut_load_defaults();
    nut_loader *l = NULL;
    nut_error err = {0};
    double most = 0;
    counting_start(0);
    nut_status status = nut_load_begin(&o, 0, &l, &err);
    for (size_t at = 0; status == NUT_OK && at < n; at += step) {
        const size_t some = n - at < step ? n - at : step;
        status = nut_load_feed(l, at, file + at, some, &err);
        const double share = (double)counting.peak / (double)load_cost_most(at + some);
        if (share > most) most = share;
    }
    nut_load_abort(l);
    CHECK(status != NUT_OK && status != NUT_E_MEMORY, "%s loads", name);
    CHECK(counting.alive == 0, "%s: %zu blocks are left", name, counting.alive);
    CHECK(most <= 1, "%s, %zu bytes at a time: %.2f times what is promised", name, step, most);
    counting_stop();
    return most;
}

static void test_headers(void) {
    static const struct {
        const char *name;
        make_gguf (*make)(uint32_t n);
        bool tensors;
    } list[] = {{"keys", keys, false},
                {"tokens", tokens, false},
                {"special tokens", special_tokens, false},
                {"merges", merges, false},
                {"tensors", tensors, true}};
    double most = 0;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (uint32_t n = 3; n < 70000; n *= 3)
            for (size_t step = 97; step < 100000; step *= 31) {
                make_gguf g = list[i].make(n);
                size_t n_file;
                uint8_t *file = file_of(&g, list[i].tensors ? n : 1, &n_file);
                const double share = check_header(list[i].name, file, n_file, step);
                if (share > most) most = share;
                free(file);
            }
    CHECK(most > 0.5, "the promise is far from what is held: %.2f of it", most);
}

/* ---- weights ---- */

static nut_load_plan plan_of(const uint8_t *file, size_t n, const nut_load_options *o, uint64_t file_size,
                             nut_status *status, nut_error *err) {
    nut_loader *l = NULL;
    nut_load_plan plan = {0};
    *status = nut_load_begin(o, file_size, &l, err);
    for (size_t at = 0; *status == NUT_OK && at < n && !plan.complete; at++) {
        *status = nut_load_feed(l, at, file + at, 1, err);
        plan = nut_load_get_plan(l);
    }
    plan = nut_load_get_plan(l);
    nut_load_abort(l);
    return plan;
}

/* Matrices of one row, which are held as eight rows; and blocks that become floats. */
static void test_weights(void) {
    for (int floats = 0; floats < 2; floats++)
        for (int id = 0; id < FORMAT_COUNT; id++) {
            const format *f = &format_table[id];
            nut_load_options o = nut_load_defaults();
            make_options wide = {.matrices = (format_id)id, .n_embd = 4096, .n_layer = 1, .head_dim = 256};
            nut_status status;
            nut_error err = {0};
            size_t n;
            wide.n_head = wide.n_head_kv = 1, wide.n_ff = f->block, wide.vectors = (format_id)id;
            o.reference = floats;
            make_gguf g = make_model(&wide);
            uint8_t *file = make_file(&g, &n);
            const nut_load_plan plan = plan_of(file, n, &o, n, &status, &err);
            CHECK(status == NUT_OK && plan.weight_bytes <= (floats ? 164 : 24) * n,
                  "%s: %llu bytes of %zu: %s", f->name, (unsigned long long)plan.weight_bytes, n,
                  err.message);
            free(file), make_free(&g);
        }
}

/* A table that claims fifty megabytes, in a file that has none: refused before memory is taken where the
 * size or a limit is known; else the plan says what was taken. */
static void test_claims(void) {
    make_gguf g =
        make_model(&(make_options){.n_layer = 1, .n_embd = 8, .n_head = 1, .n_head_kv = 1, .n_ff = 8});
    size_t n;
    uint8_t *whole = make_file(&g, &n);
    nut_load_options o = nut_load_defaults();
    nut_status status;
    nut_error err = {0};
    const nut_load_plan small = plan_of(whole, n, &o, n, &status, &err);
    CHECK(status == NUT_OK && small.complete, "%s", err.message);
    make_free(&g), free(whole);

    g = make_model(&(make_options){.n_layer = 1, .n_embd = 8, .n_head = 1, .n_head_kv = 1, .n_ff = 1 << 19});
    uint8_t *file = make_file(&g, &n);
    counting_start(0);
    nut_load_plan plan = plan_of(file, 30000, &o, 30000, &status, &err);
    CHECK(status == NUT_E_TRUNCATED && counting.peak < load_cost_most(30000), "size told: %s, %zu bytes",
          nut_status_name(status), counting.peak);
    o.memory_limit = 1 << 24;
    counting_start(0);
    plan = plan_of(file, 30000, &o, 0, &status, &err);
    CHECK(status == NUT_E_TOO_LARGE && counting.peak < load_cost_most(30000), "limit: %s, %zu bytes",
          nut_status_name(status), counting.peak);
    CHECK(plan.weight_bytes > 40u << 20, "%llu bytes are claimed", (unsigned long long)plan.weight_bytes);
    o.memory_limit = 0;
    counting_start(0);
    plan = plan_of(file, 30000, &o, 0, &status, &err);
    CHECK(status == NUT_OK && counting.peak <= plan.weight_bytes + load_cost_most(30000), "%zu bytes: %s",
          counting.peak, err.message);
    CHECK(counting.alive == 0, "%zu blocks are left", counting.alive);
    counting_stop();
    free(file), make_free(&g);
}

int main(void) {
    test_headers();
    test_weights();
    test_claims();
    return check_report();
}
