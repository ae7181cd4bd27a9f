/*
 * Writes the seeds of the fuzzers: build/cover/make_seeds FOLDER [VOCABULARIES]. Small models of every
 * family and format, shortened real vocabularies where there are some, command lines. They are not
 * committed.
 */
#include "../unit/coded_sample.h"
#include "../unit/data.h"
#include "../unit/make_coded.h"
#include "../unit/make_family.h"
#include "../unit/make_parts.h"
#include "model/gguf.h"
#include "plain_tokenizer.h"
#include "seed_answers.h"
#include "seeds_recipe.h"

#include <sys/stat.h>

static const char *folder;

static void write_seed(const char *harness, const char *name, make_bytes b) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, harness);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, harness, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b.p, 1, b.n, f) != b.n || fclose(f)) {
        perror(path);
        exit(1);
    }
}

#include "chat_seeds.h"

/* ---- models ---- */

static void write_file(const char *harness, const char *name, make_gguf *g, const uint8_t *end,
                       size_t n_end) {
    size_t n;
    make_bytes b = {0};
    uint8_t *file = make_file(g, &n);
    make_put(&b, file, n);
    make_put(&b, end, n_end);
    write_seed(harness, name, b);
    free(file);
    free(b.p);
}

/* A file for the three harnesses that take files, with the numbers at its end; some are fed in steps,
 * some have an unknown size, some are loaded as floats. */
static void write_model(const char *name, make_gguf *g) {
    static uint8_t turn;
    const uint8_t t = turn++;
    char plain[80];
    snprintf(plain, sizeof plain, "%s-plain", name);
    write_file("load", plain, g, (uint8_t[]){0, t, t, 0}, 4);
    write_file("load", name, g, (uint8_t[]){0, t, t, t % 32}, 4);
    write_file("header", name, g, (uint8_t[]){0, t, t, t % 2}, 4);
    write_file("quantize", name, g, (uint8_t[]){0, 0, t % 3}, 3);
    make_free(g);
}

static const char *const sentence_pieces[] = {"<unk>", "<s>", "</s>", "\xe2\x96\x81",    "t",     "h", "e",
                                              "a",     "th",  "the",  "\xe2\x96\x81the", "<0x0A>"};
static const char *const byte_pieces[] = {"<|im_end|>", "\xc4\xa0", "t",   "h",          "e",
                                          "a",          "th",       "the", "\xc4\xa0the"};
static const char *const byte_merges[] = {"t h", "th e", "\xc4\xa0 the"};
enum { N_SENTENCE = 12, N_BYTE = 9 };

static void put_texts(make_gguf *g, const char *key, const char *const *list, uint32_t n) {
    make_array(g, key, MAKE_STRING, n);
    for (uint32_t i = 0; i < n; i++) make_text(&g->kv, list[i]);
}

static void put_kinds(make_gguf *g, const uint8_t *kinds, uint32_t n) {
    make_array(g, "tokenizer.ggml.token_type", MAKE_I32, n);
    for (uint32_t i = 0; i < n; i++) make_le(&g->kv, kinds[i], 4);
}

static uint32_t put_small_vocab(make_gguf *g, bool bytes) {
    static const uint8_t sentence_kinds[] = {2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 6},
                         byte_kinds[] = {3, 1, 1, 1, 1, 1, 1, 4, 1};
    make_str(g, "tokenizer.ggml.model", bytes ? "gpt2" : "llama");
    if (bytes) {
        make_str(g, "tokenizer.ggml.pre", "qwen2");
        put_texts(g, "tokenizer.ggml.tokens", byte_pieces, N_BYTE);
        put_texts(g, "tokenizer.ggml.merges", byte_merges, 3);
        put_kinds(g, byte_kinds, N_BYTE);
        make_u32(g, "tokenizer.ggml.eot_token_id", 0);
        return N_BYTE;
    }
    put_texts(g, "tokenizer.ggml.tokens", sentence_pieces, N_SENTENCE);
    make_array(g, "tokenizer.ggml.scores", MAKE_F32, N_SENTENCE);
    for (uint32_t i = 0; i < N_SENTENCE; i++) make_le(&g->kv, half_f32_to_bits((float)i), 4);
    put_kinds(g, sentence_kinds, N_SENTENCE);
    make_u32(g, "tokenizer.ggml.bos_token_id", 1);
    make_bool(g, "tokenizer.ggml.add_bos_token", true);
    return N_SENTENCE;
}

static make_gguf small_model(const make_options *from, bool bytes) {
    make_options o = make_defaults(from);
    make_gguf g = {.version = 3, .alignment = 32};
    rng_seed(&g.random, 5);
    make_hparams(&g, &o);
    make_str(&g, "tokenizer.chat_template", "<|im_start|>");
    make_f32(&g, make_hparam_key(o.arch, "rope.freq_base"), 10000);
    make_add(&g, "token_embd.weight", o.matrices, o.n_embd, put_small_vocab(&g, bytes));
    make_layer(&g, &o, 0);
    make_add(&g, "output_norm.weight", o.vectors, o.n_embd, 0);
    return g;
}

static void replace(make_gguf *g, const char *name, format_id id) {
    make_tensor t = *make_find(g, name);
    make_remove(g, name);
    make_add(g, name, id, t.dims[0], t.n_dims == 1 ? 0 : t.dims[1]);
}

static const make_options odd_sizes = {
    .arch = "llama", .n_embd = 5, .n_layer = 1, .n_head = 1, .n_head_kv = 1, .head_dim = 8, .n_ff = 3};

static void write_models(void) {
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    char name[64];
    for (int id = 0; id < FORMAT_COUNT; id++) {
        const bool large = format_table[id].block == 256;
        make_options o = {.arch = families[id % 3], .n_embd = large ? 256 : 32, .n_layer = 1, .n_head = 2};
        o.n_head_kv = 1, o.head_dim = 8, o.n_ff = large ? 1 : 32, o.n_ctx = 64;
        o.matrices = large ? FORMAT_F32 : (format_id)id;
        o.vectors = id % 2 ? FORMAT_F32 : FORMAT_F16;
        if (format_table[id].block == 32) o.head_dim = 16;
        make_gguf g = small_model(&o, id % 2);
        if (large) replace(&g, "blk.0.attn_q.weight", (format_id)id);
        if (large) replace(&g, "token_embd.weight", (format_id)id);
        if (id % 3 == 1) make_add(&g, "rope_freqs.weight", FORMAT_F32, o.head_dim / 2, 0);
        snprintf(name, sizeof name, "%s-%s", o.arch, format_table[id].name);
        write_model(name, &g);
    }
    make_gguf g = small_model(&odd_sizes, false);
    g.alignment = 8, g.version = 2, g.backwards = true;
    make_u32(&g, "general.alignment", 8);
    write_model("odd-sizes", &g);
}

/* Matrices of low rank: beside one, in front of one, and what does not fit together. */
static void write_sides(void) {
    make_options o = {
        .arch = "llama", .n_embd = 32, .n_layer = 1, .n_head = 2, .n_head_kv = 1, .head_dim = 16};
    o.n_ff = 32, o.n_ctx = 64;
    static const char *const names[] = {"sides", "sides-inner", "sides-lost"};
    for (int i = 0; i < 3; i++) {
        make_gguf g = small_model(&o, false);
        make_add(&g, "blk.0.ffn_up.weight.lora_a", FORMAT_F16, 32, 8);
        make_add(&g, "blk.0.attn_q.weight.lora_a", FORMAT_F32, 32, 8);
        make_add(&g, "blk.0.attn_q.weight.lora_b", FORMAT_F32, i < 2 ? 8 : 16, 32);
        if (i == 0) make_add(&g, "blk.0.ffn_up.weight.lora_b", FORMAT_F16, 8, 32);
        if (i == 1) make_remove(&g, "blk.0.ffn_up.weight"), make_add(&g, "blk.0.ffn_up.weight", 0, 8, 32);
        write_model(names[i], &g);
    }
}

/* Coded tensors: right; without their sizes, with impossible ones, and where only a vector can be. */
static void write_coded_models(void) {
    static const char *const names[] = {"coded", "coded-sizes-missing", "coded-size-impossible",
                                        "coded-vector"};
    const make_options o = {.arch = "llama",
                            .n_embd = 32,
                            .n_layer = 1,
                            .n_head = 2,
                            .n_head_kv = 1,
                            .head_dim = 16,
                            .n_ff = 32};
    for (int i = 0; i < 4; i++) {
        make_gguf g = small_model(&o, false);
        if (i != 1) make_coded(&g, 4, true);
        if (i == 1) make_find(&g, "blk.0.attn_k.weight")->type = format_table[FORMAT_CODED_4].ggml_type;
        if (i == 2) memset(g.kv.p + g.kv.n - 4, 255, 4); // the last number of outliers
        if (i == 3) { // which takes the size of the first matrix of its layer
            const make_tensor *q = make_find(&g, "blk.0.attn_q.weight");
            make_tensor *norm = make_find(&g, "blk.0.attn_norm.weight");
            norm->type = q->type;
            make_put(&norm->data, q->data.p, q->data.n);
            make_remove(&g, "blk.0.attn_q.weight");
        }
        write_model(names[i], &g);
    }
}

/* What rows of the architecture table have beyond those of llama, and kinds of hyperparameters. */
static void write_variants(void) {
    const make_options gemma2 = {.arch = "gemma2",
                                 .n_embd = 32,
                                 .n_layer = 1,
                                 .n_head = 2,
                                 .n_head_kv = 1,
                                 .head_dim = 8,
                                 .n_ff = 32};
    make_gguf g = small_model(&gemma2, false);
    make_u32(&g, "gemma2.attention.sliding_window", 8);
    make_array(&g, "gemma2.attention.sliding_window_pattern", MAKE_BOOL, 1);
    make_le(&g.kv, 1, 1);
    make_add(&g, "blk.0.post_attention_norm.weight", FORMAT_F32, 32, 0);
    make_add(&g, "blk.0.post_ffw_norm.weight", FORMAT_F32, 32, 0);
    write_model("windows-by-the-file", &g);
    make_options gemma3 = gemma2;
    gemma3.arch = "gemma3"; // its norms are missing
    g = small_model(&gemma3, false);
    make_u32(&g, "gemma3.attention.sliding_window", 8);
    write_model("windows-by-the-family", &g);
    static const char *const scalings[] = {"yarn", "longrope"};
    for (int k = 0; k < 2; k++) {
        g = small_model(&odd_sizes, false);
        make_str(&g, "llama.rope.scaling.type", scalings[k]);
        make_f32(&g, "llama.rope.scaling.factor", 4);
        write_model(scalings[k], &g);
    }
    g = small_model(&odd_sizes, false);
    make_array(&g, "llama.attention.value_length", MAKE_STRING, 1);
    make_text(&g.kv, "8");
    write_model("no-number-for-a-layer", &g);
    make_options two = odd_sizes;
    two.n_layer = 2;
    g = small_model(&two, false);
    make_layer(&g, &two, 1);
    make_remove(&g, "blk.1.ffn_up.weight");
    write_model("incomplete-second-layer", &g);
    g = small_model(&odd_sizes, false);
    make_remove(&g, "token_embd.weight");
    make_add(&g, "token_embd.weight", FORMAT_F32, 5, 400);
    write_model("padded-vocabulary", &g);
}

/* ---- models that are refused ---- */

/* Renames an existing key, so that it can be set again. */
static void hide_key(make_gguf *g, const char *key) {
    const size_t n = strlen(key);
    for (size_t at = 8; at + n < g->kv.n; at++)
        if (!memcmp(g->kv.p + at, key, n) && g->kv.p[at - 8] == n) g->kv.p[at] = 'X';
}

/* Each has one defect for which the loader has a message. */
static void write_refused(void) {
    static const struct {
        const char *key;
        char as;
        double value;
        const char *text;
    } list[] = {
        {"general.architecture", 's', 0, "mamba"},        {"split.count", 'u', 3, NULL},
        {"llama.block_count", 'u', 4000, NULL},           {"llama.context_length", '-', 0, NULL},
        {"llama.embedding_length", 'u', 0, NULL},         {"llama.attention.head_count", 'a', 0, NULL},
        {"llama.attention.head_count_kv", 'u', 2, NULL},  {"llama.attention.key_length", 'u', 16, NULL},
        {"llama.rope.dimension_count", 'u', 7, NULL},     {"llama.rope.freq_base", 'f', -1, NULL},
        {"llama.rope.scaling.type", 's', 0, "yarn"},      {"llama.rope.scaling.factor", 'f', 4, NULL},
        {"llama.rope.scaling.attn_factor", 'f', 2, NULL}, {"llama.expert_count", 'u', 8, NULL},
        {"llama.attention.causal", 'b', 0, NULL},         {"tokenizer.ggml.model", 's', 0, "plamo2"},
        {"general.architecture", 's', 0, "unheard-of"},   {"tokenizer.ggml.bos_token_id", 'u', 99, NULL},
        {"tokenizer.ggml.scores", '-', 0, NULL},
    };
    char name[64];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        make_gguf g = small_model(&odd_sizes, false);
        hide_key(&g, list[i].key);
        if (list[i].as == 'u') make_u32(&g, list[i].key, (uint32_t)list[i].value);
        if (list[i].as == 'f') make_f32(&g, list[i].key, (float)list[i].value);
        if (list[i].as == 'b') make_bool(&g, list[i].key, false);
        if (list[i].as == 's') make_str(&g, list[i].key, list[i].text);
        if (list[i].as == 'a') make_array(&g, list[i].key, MAKE_U32, 1), make_le(&g.kv, 4, 4);
        snprintf(name, sizeof name, "refused-%zu-%s", i, list[i].key);
        write_model(name, &g);
    }
    make_options o = odd_sizes;
    o.head_dim = 12;
    make_gguf g = small_model(&o, false);
    write_model("refused-head-size", &g);
    o.head_dim = 16, o.n_head = 3, o.n_head_kv = 2;
    g = small_model(&o, false);
    write_model("refused-groups", &g);
    g = small_model(&odd_sizes, false);
    while (g.n_tensors) make_remove(&g, g.tensors[0].name);
    write_model("refused-no-tensors", &g);
    g = small_model(&odd_sizes, true);
    hide_key(&g, "tokenizer.ggml.pre"), make_str(&g, "tokenizer.ggml.pre", "tekken");
    write_model("refused-pre-tokenizer", &g);
    g = small_model(&odd_sizes, true);
    hide_key(&g, "tokenizer.ggml.merges");
    write_model("refused-no-merges", &g);
    g = small_model(&odd_sizes, false);
    for (size_t i = 0; i < g.n_tensors; i++) g.tensors[i].offset = 32;
    write_model("refused-overlap", &g);
    g = small_model(&odd_sizes, false);
    make_str(&g, "llama.rope.scaling.type", "yarn"), make_f32(&g, "llama.rope.scaling.factor", 4);
    write_model("refused-yarn", &g);
}

/* The offset in the entry of a tensor of a file, to be overwritten. */
static uint8_t *offset_of(make_bytes file, const make_tensor *t) {
    size_t at = 0;
    const size_t n = strlen(t->name);
    while (at + n < file.n && memcmp(file.p + at, t->name, n)) at++;
    return file.p + at + n + 4 + 8 * t->n_dims + 4;
}

/* Weights above the harness's limit, far apart, in a file of unknown size that has none of them. */
static void write_too_large(void) {
    make_gguf g = small_model(&odd_sizes, false);
    make_bytes b = {0};
    hide_key(&g, "llama.embedding_length");
    make_u32(&g, "llama.embedding_length", 1 << 20);
    for (size_t i = 0; i < g.n_tensors; i++) {
        make_tensor *t = &g.tensors[i];
        for (uint32_t d = 0; d < t->n_dims; d++)
            if (t->dims[d] == odd_sizes.n_embd) t->dims[d] = 1 << 20;
        t->data.n = t->offset = 0;
    }
    b.p = make_file(&g, &b.n);
    b.cap = b.n;
    for (size_t i = 0; i < g.n_tensors; i++) memcpy(offset_of(b, &g.tensors[i]), &(uint64_t){i << 32}, 8);
    make_put(&b, (uint8_t[64]){0}, 64); // up to the data
    make_put(&b, (uint8_t[]){0, 0, 0, 1}, 4);
    write_seed("load", "refused-too-large", b);
    free(b.p);
    make_free(&g);
}

/* What is wrong with the second file: it is of another model, has too few tensors, is a whole model, or has
 * a tensor of the first one. */
static void spoil_part(make_parts *s, uint8_t wrong) {
    make_gguf *g = &s->g[1];
    const make_tensor *first = s->g[0].tensors;
    if (wrong == 1) make_str(g, "general.architecture", "llama");
    if (wrong == 2) make_str(g, "general.architecture", "qwen2");
    if (wrong == 3) g->kv.n = 0, g->n_kv = 0, make_split_keys(g, 1, 4, 9);
    if (wrong == 4) g->n_tensors--;
    if (wrong == 5) g->kv.n = 0, g->n_kv = 0;
    if (wrong == 6 && s->g[0].n_tensors) {
        make_tensor *t = &g->tensors[0];
        memcpy(t->name, first->name, sizeof first->name);
        memcpy(t->dims, first->dims, sizeof first->dims);
        t->n_dims = first->n_dims, t->type = first->type;
        t->data.n = 0, make_put(&t->data, first->data.p, first->data.n);
    }
}

/* Split models; some with files in the wrong order, missing, repeated or damaged. */
static void write_parts(void) {
    static const uint8_t orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {0, 1, 1}, {0, 1, 3}, {0, 3, 3}};
    enum { IN_ORDER = 4, LACKING = 7, N_WRONG = 7, N = 24 };
    char name[32];
    for (uint8_t k = 0; k < N + 2 * N_WRONG; k++) {
        const uint8_t row = k < N ? k / IN_ORDER : 0;
        const uint8_t wrong = k < N ? 0 : (uint8_t)(1 + (k - N) / 2);
        make_gguf g = small_model(&odd_sizes, 0);
        if (wrong == LACKING) make_remove(&g, "blk.0.ffn_up.weight");
        make_parts s = make_split(&g, 3, k & 1);
        make_bytes b = {0};
        spoil_part(&s, wrong);
        make_part_files(&s);
        for (size_t i = 0; i < 3; i++) {
            const uint8_t part = orders[row][i];
            if (part < 3) make_put(&b, s.file[part], s.n_bytes[part]);
        }
        make_put(&b, (uint8_t[]){0, k, 0, 1 | (k & 2)}, 4);
        snprintf(name, sizeof name, "parts-%u", k);
        write_seed("load", name, b);
        free(b.p);
        make_parts_free(&s);
        make_free(&g);
    }
}

/* Beginnings that are no GGUF header; for the loader also with options that are none, or a file without end.
 */
static void write_strangers(void) {
    static const char *const texts[] = {"PK\3\4",
                                        "<!doctype html>",
                                        "\x10\0\0\0\0\0\0\0{\"a\":1}",
                                        "GGUF\0\0\0\3",
                                        "GGUF\x09\0\0\0",
                                        "GGUF\3\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
                                        "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"};
    static const uint8_t lengths[] = {4, 15, 15, 8, 8, 24, 24}, flags[] = {0, 1, 196, 160};
    char name[32];
    for (uint8_t i = 0; i < sizeof lengths; i++)
        for (uint8_t k = 0; k < sizeof flags; k++) {
            make_bytes b = {0};
            make_put(&b, texts[i], lengths[i]);
            make_put(&b, (uint8_t[32]){0}, 32);
            make_put(&b, (uint8_t[]){0, i, 0, flags[k]}, 4);
            snprintf(name, sizeof name, "stranger-%u-%u", i, k);
            write_seed("load", name, b);
            if (k < 2) write_seed("header", name, b);
            free(b.p);
        }
}

/* Tensors that are missing, or of unknown names, types or shapes. */
static void write_lacking(void) {
    make_gguf g = small_model(&odd_sizes, false);
    make_remove(&g, "output_norm.weight");
    write_model("refused-no-norm", &g);
    g = small_model(&odd_sizes, false);
    make_remove(&g, "blk.0.ffn_up.weight");
    write_model("refused-no-ffn", &g);
    g = small_model(&odd_sizes, false);
    make_add(&g, "blk.0.ffn_norm.bias", FORMAT_F32, 5, 0);
    write_model("refused-unknown-tensor", &g);
    g = small_model(&odd_sizes, false);
    make_find(&g, "blk.0.ffn_norm.weight")->type = 20;
    write_model("refused-unknown-type", &g);
    g = small_model(&odd_sizes, false);
    make_find(&g, "blk.0.ffn_norm.weight")->dims[0] = 4;
    write_model("refused-shape", &g);
    write_too_large();
}

/* A pair of each type, one with a value out of every range, and texts where numbers are expected. */
static void write_values(void) {
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    make_gguf g = {.version = 3, .alignment = 32};
    char name[16];
    for (uint32_t type = 0; type < 13; type++)
        for (int wrong = 0; wrong < 2 && bytes[type]; wrong++) {
            snprintf(name, sizeof name, "%u.%d", type, wrong);
            make_int(&g, name, type, wrong ? UINT64_MAX : 1, bytes[type]);
        }
    make_str(&g, "text", "text");
    put_texts(&g, "texts", sentence_pieces, N_SENTENCE);
    write_model("values", &g);
}

/* The k-th allocation fails, for all k of a load. */
static void write_no_memory(void) {
    char name[32];
    for (int bytes = 0; bytes < 2; bytes++)
        for (uint8_t k = 1; k < 36; k++) {
            make_gguf g = small_model(&odd_sizes, bytes);
            snprintf(name, sizeof name, "no-memory-%d-%u", bytes, k);
            write_file("load", name, &g, (uint8_t[]){k, 1, 1, 0}, 4);
            make_free(&g);
        }
}

/* ---- real vocabularies, cut ---- */

enum { KEPT = 40, KEPT_BYTES = 600 };

static void copy_pair(make_gguf *to, const gguf *from, const gguf_kv *kv) {
    const uint8_t *head = (const uint8_t *)kv->key.s - 8, *end = kv->value;
    uint64_t n = kv->n < KEPT ? kv->n : KEPT;
    gguf_str s;
    if (kv->type != GGUF_ARRAY && kv->n_bytes > KEPT_BYTES) return;
    to->n_kv++;
    make_put(&to->kv, head, (size_t)(kv->value - head));
    if (kv->type == GGUF_ARRAY)
        for (size_t i = 0; i < 8; i++) to->kv.p[to->kv.n - 8 + i] = (uint8_t)(n >> (8 * i));
    for (uint64_t i = 0; kv->elem == GGUF_STRING && kv->type == GGUF_ARRAY && i < n; i++)
        end = gguf_next_string(from, end, &s);
    if (kv->elem != GGUF_STRING || kv->type != GGUF_ARRAY) end += kv->n_bytes / kv->n * n;
    make_put(&to->kv, kv->value, (size_t)(end - kv->value));
}

static void put_token(make_bytes *b, gguf_str s, uint8_t kind, uint8_t score) {
    const size_t n = s.n < 31 ? (size_t)s.n : 31;
    make_put(b, (uint8_t[]){kind, score, (uint8_t)n}, 3);
    make_put(b, s.s, n);
}

/* The first tokens of at least two bytes and the texts of the .inp file, as fuzz_tokenizer reads them. */
static void write_tokenizer(const char *name, const gguf *g, const char *text, size_t n_text) {
    const gguf_kv *tokens = gguf_find(g, "tokenizer.ggml.tokens"),
                  *model = gguf_find(g, "tokenizer.ggml.model");
    const bool bpe =
        model && gguf_str_is((gguf_str){(const char *)model->value + 8, model->n_bytes - 8}, "gpt2");
    make_bytes b = {0};
    uint8_t n = 0;
    if (!tokens) return;
    make_put(&b, (uint8_t[]){bpe ? 1 | 2 | 8 : 2 | 8, (uint8_t)name[0], 200}, 3);
    const uint8_t *at = tokens->value;
    for (uint64_t i = 0; i < tokens->n && n < 200; i++) {
        gguf_str s;
        at = gguf_next_string(g, at, &s);
        if (i < 256 || s.n < 2) continue;
        put_token(&b, s, 1, (uint8_t)(255 - n));
        n++;
    }
    if (bpe) make_put(&b, (uint8_t[]){4, 0, 84, 0, 72, 0, 72, 0, 69, 1, 0, 1, 1, 0, 32, 1, 2}, 17);
    make_put(&b, text, n_text < 300 ? n_text : 300);
    make_put(&b, (uint8_t[]){0, 0}, 2);
    write_seed("tokenizer", name, b);
    free(b.p);
}

static void write_vocabulary(const char *root, const char *name) {
    char path[1024];
    size_t n = 0, used, n_text = 0;
    bool complete = false;
    snprintf(path, sizeof path, "%s/%s.gguf", root, name);
    char *file = data_read_path(path, &n);
    snprintf(path, sizeof path, "%s/%s.inp", root, name);
    char *text = data_read_path(path, &n_text);
    gguf g = {0};
    nut_error err;
    if (file && text && gguf_begin(&g, n, &err) == NUT_OK &&
        gguf_feed(&g, (uint8_t *)file, n, &used, &complete, &err) == NUT_OK && complete) {
        make_gguf cut = {.version = 3, .alignment = 32};
        for (uint64_t i = 0; i < g.n_kv; i++) copy_pair(&cut, &g, &g.kv[i]);
        write_model(name, &cut);
        write_tokenizer(name, &g, text, n_text);
    } else {
        printf("%s/%s is missing: fuzzing begins without it\n", root, name);
    }
    gguf_free(&g);
    free(text);
    free(file);
}

/* ---- the others ---- */

#include "seed_kinds.h"

/* Letters and pairs of them, both kinds, with and without bytes. */
static void write_tokenizers(void) {
    static const char *const list[] = {"a",   "b", "ab", "ba", "aba", "\xe2\x96\x81", "\xe2\x96\x81\x61",
                                       "abab"};
    static const char many_kinds[] =
        "It's I'LL don't 'x HTTPServer aBc \xc3\x89t\xc3\xa9 e\xcc\x81 12 1234567 $x+=1 <a|b> `c` /* ... */ "
        ".net,go\r\n\n  "
        "\xe6\xbc\xa2\xe5\xad\x97\xe3\x81\x8b\xe3\x81\xaa 12\xe5\xb9\xb4 \xed\x95\x9c\xea\xb8\x80 "
        "\xd9\xa3\xd9\xa4 \xe0\xa4\xb9\xe0\xa4\xbf\xe0\xa5\xa4 \xf0\x9f\x98\x80!!\n\xe2\x80\xa6 (a|b) \tend "
        "\xff";
    char name[16];
    for (uint8_t pre = 0; pre < 14; pre++) { // as fuzz_tokenizer.c numbers them
        make_bytes b = {0};
        make_put(&b, (uint8_t[]){1 | 2 | 8, pre, 0, 0}, 4);
        make_put(&b, many_kinds, sizeof many_kinds - 1);
        make_put(&b, (uint8_t[]){0, 0}, 2);
        snprintf(name, sizeof name, "pre-%u", pre);
        write_seed("tokenizer", name, b);
        free(b.p);
    }
    for (uint8_t kind = 1; kind < 5; kind++) // as fuzz_tokenizer.c numbers them
        for (uint8_t how = 0; how < 8; how++) write_kind(kind, how, many_kinds, sizeof many_kinds - 1);
    for (uint8_t flags = 0; flags < 16; flags++) {
        make_bytes b = {0};
        make_put(&b, (uint8_t[]){flags, flags, 8}, 3);
        for (size_t i = 0; i < 8; i++)
            put_token(&b, (gguf_str){list[i], strlen(list[i])}, (uint8_t)(1 + i % 6), (uint8_t)(10 * i));
        const uint8_t first = flags & 2 ? 1 : 0;
        if (flags & 1) make_put(&b, (uint8_t[]){2, first, 0, first, 1, first, 2, first, 0}, 9);
        make_put(&b, "abaab ab\n12 ab a\xc3\xa9\xff it's I'LL don't 'x 12345\r\n  \n", 50);
        make_put(&b, (uint8_t[]){0, (uint8_t)(flags % 4)}, 2);
        snprintf(name, sizeof name, "made-%u", flags);
        write_seed("tokenizer", name, b);
        free(b.p);
    }
}

static void write_blocks(void) {
    make_gguf g = {0};
    rng_seed(&g.random, 3);
    for (int id = 0; id < FORMAT_COUNT; id++) {
        make_bytes b = {0};
        make_weights(&g, &format_table[id], 4 * (size_t)format_table[id].block, 0, 1, &b);
        for (int i = 0; i < 512; i++) make_le(&b, half_f32_to_bits(make_random(&g)), 4);
        make_put(&b, (uint8_t[]){(uint8_t)id, (uint8_t)id}, 2);
        write_seed("formats", format_table[id].name, b);
        free(b.p);
    }
}

/* Coded tensors of each format: as they are, with wrong checksums that are mended, as floats, in slices, cut
 * off, and with one byte after the other changed, so that each check of the head is reached. */
static void write_coded(void) {
    static const double deviations[] = {1, 2, 4.5, 30};
    static const uint8_t shapes[][2] = {{8, 1}, {13, 3}, {64, 2}, {1, 4}};
    rng r;
    char name[32];
    rng_seed(&r, 4);
    for (int i = 0; i < 4; i++) {
        coded_sample s =
            coded_sample_random(shapes[i][0], 32 * (size_t)shapes[i][1], deviations[i], 0.3, &r);
        coded_data d;
        s.z[5] = INT32_MIN, s.z[9] = 300; // escapes
        if (coded_write(&s.t, &d, NULL) != NUT_OK) exit(2);
        for (size_t k = 0; k < 8 + d.n && k < 260; k++) {
            const uint8_t flags = (uint8_t)((d.format->id - FORMAT_COUNT) |
                                            (k == 1   ? 32
                                             : k == 2 ? 128
                                                      : 0) |
                                            (k >= 4 ? 16 : 0));
            make_bytes b = {0};
            make_put(&b, d.bytes, k == 3 ? d.n - 9 : d.n);
            if (k >= 8) b.p[k < 40 ? k - 8 : (k - 8) * d.n / 252] ^= k % 3 ? 255 : 1;
            make_put(&b,
                     (uint8_t[]){(uint8_t)(shapes[i][1] - 1), (uint8_t)(shapes[i][0] - 1),
                                 k % 4 == 2 ? 3 : 0, 3, flags},
                     5);
            snprintf(name, sizeof name, "%d-%zu", i, k);
            write_seed("coded", name, b);
            free(b.p);
        }
        coded_data_free(&d);
        coded_sample_free(&s);
    }
}

static void write_samplers(void) {
    static const char *const texts[] = {"\3ab\xc3\4cd\xa9\x65\2ab\1\xe2\1\x96\1\x81",
                                        "\4<|e|\3>ab\2<|\2e|\1>\4<|e|"};
    rng r;
    char name[16];
    rng_seed(&r, 9);
    for (int i = 0; i < 16; i++) {
        make_bytes b = {0};
        make_put(&b, texts[i % 2], strlen(texts[i % 2]));
        for (int k = 0; k < 200; k++) make_le(&b, rng_u64(&r), 2);
        make_put(&b, (uint8_t[]){40, 0, (uint8_t)i, 0, 7, (uint8_t)(i % 4), (uint8_t)(1 << i % 8)}, 7);
        snprintf(name, sizeof name, "%d", i);
        write_seed("sampler", name, b);
        free(b.p);
    }
}

static void write_shapes(void) {
    rng r;
    char name[16];
    rng_seed(&r, 21);
    for (int i = 0; i < 32; i++) {
        make_bytes b = {0};
        for (int k = 0; k < 32; k++) make_le(&b, rng_u64(&r), 1);
        snprintf(name, sizeof name, "%d", i);
        write_seed("session", name, b);
        free(b.p);
    }
}

static void write_lines(void) {
    static const char lines[] =
        "--u32\0"
        "7\0--u64\0"
        "18446744073709551615\0--f32\0-1e-3\0--flag\0--text\0--\0--texts\0x\0model\0text\r\nb";
    static const char more[] = "--\0--flag\0x\0y";
    make_bytes b = {0};
    make_put(&b, lines, sizeof lines - 1), write_seed("args", "options", b);
    b.n = 0, make_put(&b, more, sizeof more - 1), write_seed("args", "positionals", b);
    free(b.p);
}

/* ---- files of statistics ---- */

static void add_floats(make_gguf *g, const char *name, size_t n, size_t rows, float value) {
    make_tensor *t = make_add(g, name, FORMAT_F32, n, rows);
    for (size_t i = 0; i < n * rows; i++) memcpy(t->data.p + 4 * i, &value, 4);
}

/* Two matrices, one of them a stack with sums; way 1: counts are missing, 2: not finite, 3: a model, 4:
 * twice. */
static void write_statistics(int way) {
    static const char *const ends[] = {".in_sum2", ".counts", ".in_sum", ".in_max_abs"};
    make_gguf g = {.version = 3, .alignment = 32};
    char name[80];
    make_str(&g, "general.type", way == 3 ? "model" : "imatrix");
    make_u32(&g, "imatrix.chunk_count", 2);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "blk.0.ffn_up.weight%s", ends[i]);
        if (way != 1 || i != 1) add_floats(&g, name, i == 1 ? 1 : 3, 2, way == 2 ? NAN : 2);
        snprintf(name, sizeof name, "%s.weight%s", way == 4 ? "blk.0.ffn_up" : "b", ends[i]);
        if (i < 2) add_floats(&g, name, i == 1 ? 1 : 3, way == 4 ? 2 : 1, 5);
    }
    snprintf(name, sizeof name, "gguf%d", way);
    if (way == 5) g.n_tensors = 0;
    size_t n;
    uint8_t *file = make_file(&g, &n), zero = 0;
    make_bytes b = {0};
    make_put(&b, file, way == 6 ? n - 40 : n);
    make_put(&b, &zero, 1);
    write_seed("imatrix", name, b);
    free(file), free(b.p);
    make_free(&g);
}

/* The older form: entries of a name, calls and values; way 1: no calls, 2: not finite, 3: no name, 4: none,
 * 5: no values, 6: fails to take memory. */
static void write_older(int way) {
    const char *const names[] = {"blk.0.ffn_up.weight", "x", way == 7 ? "x" : "a", "blk.0.ffn_down.weight"};
    make_bytes b = {0};
    char name[16];
    make_le(&b, way == 4 ? 0 : 4, 4);
    for (size_t i = 0; i < 4; i++) {
        make_le(&b, way == 3 ? 0 : strlen(names[i]), 4);
        make_put(&b, names[i], strlen(names[i]));
        make_le(&b, way == 1 ? 0 : 3, 4);
        make_le(&b, way == 5 ? 0 : 2, 4);
        for (int k = 0; k < 2; k++) make_le(&b, half_f32_to_bits(way == 2 ? -1 : 1), 4);
    }
    make_le(&b, 7, 4);
    make_le(&b, way == 6 ? 201 : 0, 1);
    snprintf(name, sizeof name, "dat%d", way);
    write_seed("imatrix", name, b);
    free(b.p);
}

/* A model of each row of the table of families. */
static void write_families(void) {
    for (const char *at = arch_names(), *end; *at; at = *end ? end + 2 : end) {
        char name[64];
        end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
        const arch *a = arch_find((gguf_str){at, (uint64_t)(end - at)});
        make_gguf g = make_family(a, &family_small);
        snprintf(name, sizeof name, "family-%s", a->name);
        write_file("load", name, &g, (uint8_t[]){0, 1, 1, 0}, 4);
        make_free(&g);
    }
}

/* Families with one number that cannot be, or one option that is not known. */
static void write_wrong_families(void) {
    static const struct {
        const char *arch, *key;
        uint32_t value;
        const char *text;
    } list[] = {{"deepseek2", "deepseek2.attention.kv_lora_rank", 0, NULL},
                {"rwkv7", "rwkv7.wkv.head_size", 7, NULL},
                {"mamba2", "mamba2.ssm.group_count", 5, NULL},
                {"bert", "bert.pooling_type", 9, NULL},
                {"modern-bert", "modern-bert.hidden_activation", 0, "relu"},
                {"qwen35", "qwen35.full_attention_interval", 2, NULL},
                {"qwen35", "qwen35.attention.value_length", 24, NULL},
                {"gemma3", "gemma3.attention.sliding_window_pattern", 3, NULL},
                {"llama", "llama.nonsense", 5, NULL},
                {"llama", "llama.nonsense", 0, NULL},
                {"jamba", "jamba.attention.head_count_kv", 0, NULL}};
    char name[96];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        make_gguf g = make_family(arch_find((gguf_str){list[i].arch, strlen(list[i].arch)}), &family_small);
        hide_key(&g, list[i].key);
        if (list[i].text)
            make_str(&g, list[i].key, list[i].text);
        else
            make_u32(&g, list[i].key, list[i].value);
        snprintf(name, sizeof name, "wrong-%zu-%s", i, list[i].key);
        write_file("load", name, &g, (uint8_t[]){0, 1, 1, 0}, 4);
        make_free(&g);
    }
    make_gguf g = small_model(&odd_sizes, true);
    hide_key(&g, "tokenizer.ggml.pre"), make_str(&g, "tokenizer.ggml.pre", "qwen3");
    write_model("unknown-pre-tokenizer", &g);
}

int main(int argc, char **argv) {
    static const char *const vocabularies[] = {"llama-spm", "phi-3",          "gpt-2",
                                               "qwen2",     "deepseek-coder", "bert-bge"};
    if (argc < 2) return fprintf(stderr, "usage: make_seeds FOLDER [VOCABULARIES]\n"), 2;
    folder = argv[1];
    mkdir(folder, 0777);
    write_models();
    write_sides();
    write_families();
    write_wrong_families();
    write_variants();
    write_refused();
    write_strangers();
    write_lacking();
    write_values();
    write_no_memory();
    write_parts();
    write_tokenizers();
    write_specials();
    write_blocks();
    write_coded_models();
    write_coded();
    write_samplers();
    write_shapes();
    write_lines();
    seed_answers(write_seed);
    write_chat();
    for (int way = 0; way < 7; way++) write_statistics(way);
    for (int way = 0; way < 8; way++) write_older(way);
    write_recipes();
    for (int way = 0; way < 18; way++) write_plan(way);
    for (size_t i = 0; argc > 2 && i < sizeof vocabularies / sizeof *vocabularies; i++)
        write_vocabulary(argv[2], vocabularies[i]);
    return 0;
}
