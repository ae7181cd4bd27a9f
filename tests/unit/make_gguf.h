/* GGUF files made in memory, so that tests need no data: a model of random weights with a byte-level
 * vocabulary, whole or deliberately wrong.
 *
 *     make_gguf g = make_model(&(make_options){.arch = "llama", .matrices = FORMAT_Q8_0});
 *     make_find(&g, "blk.0.attn_q.weight")->dims[1]++;   // optional: break something
 *     size_t n; uint8_t *file = make_file(&g, &n);       // free() it
 *     make_free(&g);
 *     status = make_load(file, n, 4096, NULL, &model, &err);
 *
 * The layout is written from ggml's docs/gguf.md and shares no code with src/model. */
#ifndef NUT_TESTS_MAKE_GGUF_H
#define NUT_TESTS_MAKE_GGUF_H

#include "base/half.h"
#include "base/rng.h"
#include "kernels/formats.h"
#include "halves.h"
#include "nutshell.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAKE_U8,
    MAKE_I8,
    MAKE_U16,
    MAKE_I16,
    MAKE_U32,
    MAKE_I32,
    MAKE_F32,
    MAKE_BOOL,
    MAKE_STRING,
    MAKE_ARRAY,
    MAKE_U64,
    MAKE_I64,
    MAKE_F64
};

typedef struct make_bytes {
    uint8_t *p;
    size_t n, cap;
} make_bytes;

#define MAKE_AUTO UINT64_MAX // an offset that make_file works out

typedef struct make_tensor {
    char name[80];
    uint32_t type, n_dims;
    uint64_t dims[4];
    uint64_t offset; // from the beginning of the data
    make_bytes data;
} make_tensor;

enum { MAKE_MAX_TENSORS = 1024 };

typedef struct make_gguf {
    uint32_t version;
    uint64_t alignment; // of the data; the key is written by make_u32
    uint64_t n_kv;
    make_bytes kv; // pairs, as they are written
    size_t n_tensors;
    make_tensor *tensors; // (MAKE_MAX_TENSORS)
    bool backwards;       // the data of the last tensor comes first
    rng random;
} make_gguf;

/* ---- bytes ---- */

static inline void make_put(make_bytes *b, const void *p, size_t n) {
    if (b->n + n > b->cap) {
        b->cap = 2 * (b->n + n);
        b->p = realloc(b->p, b->cap);
        if (!b->p) exit(2);
    }
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void make_le(make_bytes *b, uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++) make_put(b, &(uint8_t){(uint8_t)(v >> (8 * i))}, 1);
}

static inline void make_text(make_bytes *b, const char *s) {
    make_le(b, strlen(s), 8);
    make_put(b, s, strlen(s));
}

/* ---- metadata ---- */

static inline void make_key(make_gguf *g, const char *key, uint32_t type) {
    g->n_kv++;
    make_text(&g->kv, key);
    make_le(&g->kv, type, 4);
}

static inline void make_int(make_gguf *g, const char *key, uint32_t type, uint64_t v, size_t n_bytes) {
    make_key(g, key, type);
    make_le(&g->kv, v, n_bytes);
}

static inline void make_u32(make_gguf *g, const char *key, uint32_t v) {
    make_int(g, key, MAKE_U32, v, 4);
}

static inline void make_bool(make_gguf *g, const char *key, bool v) {
    make_int(g, key, MAKE_BOOL, v, 1);
}

static inline void make_f32(make_gguf *g, const char *key, float v) {
    make_int(g, key, MAKE_F32, half_f32_to_bits(v), 4);
}

static inline void make_str(make_gguf *g, const char *key, const char *v) {
    make_key(g, key, MAKE_STRING);
    make_text(&g->kv, v);
}

/* The head of an array; add its elements with make_text or make_le on g->kv. */
static inline void make_array(make_gguf *g, const char *key, uint32_t type, uint64_t n) {
    make_key(g, key, MAKE_ARRAY);
    make_le(&g->kv, type, 4);
    make_le(&g->kv, n, 8);
}

/* ---- tensors ---- */

static inline float make_random(make_gguf *g) {
    return (float)(2 * rng_f64(&g->random) - 1);
}

/* Random blocks of a format that is only read: any bytes are valid codes and scales, but half floats must
 * be moderate. */
static inline void make_blocks(make_gguf *g, const format *f, size_t n_blocks, float size, make_bytes *out) {
    int at[2];
    const int n = halves_of(f->id, at);
    for (size_t b = 0; b < n_blocks; b++) {
        uint8_t block[FORMAT_MAX_BYTES];
        for (size_t i = 0; i < f->bytes; i++) block[i] = (uint8_t)rng_u64(&g->random);
        const float scale = size * (float)(0.5 + rng_f64(&g->random));
        for (int k = 0; k < n; k++) half_put(block, at[k], half_f32_to_f16(scale / halves_largest(f->id)));
        if (f->id == FORMAT_MXFP4) block[0] = (uint8_t)(ilogbf(scale / 12) + 128);
        if (f->id == FORMAT_LUT4) block[0] = (uint8_t)(8 * (ilogbf(scale / 63) + 25) + (block[0] & 7));
        const int e = ilogbf(scale / 6) + 7; // half of 2^(e - 7) times up to 12
        for (int k = 0; k < 4 && f->id == FORMAT_NVFP4; k++)
            block[k] = (uint8_t)((e > 0 ? e : 0) << 3 | (block[k] & 7));
        make_put(out, block, f->bytes);
    }
}

static inline void make_weights(make_gguf *g, const format *f, size_t n, float middle, float size,
                                make_bytes *out) {
    if (!f->quantize) {
        make_blocks(g, f, n / f->block, size, out);
        return;
    }
    for (size_t at = 0; at < n; at += f->block) {
        float x[FORMAT_MAX_BLOCK];
        uint8_t block[FORMAT_MAX_BYTES];
        for (size_t i = 0; i < f->block; i++) x[i] = middle + size * make_random(g);
        f->quantize(x, 1, block);
        make_put(out, block, f->bytes);
    }
}

/* A tensor of random weights; n_rows 0: a vector. */
static inline make_tensor *make_add(make_gguf *g, const char *name, format_id id, size_t n_cols,
                                    size_t n_rows) {
    const format *f = &format_table[id];
    if (!g->tensors) g->tensors = calloc(MAKE_MAX_TENSORS, sizeof *g->tensors);
    if (!g->tensors || g->n_tensors == MAKE_MAX_TENSORS) exit(2);
    make_tensor *t = &g->tensors[g->n_tensors++];
    *t = (make_tensor){.type = f->ggml_type,
                       .n_dims = n_rows ? 2 : 1,
                       .dims = {n_cols, n_rows ? n_rows : 1, 1, 1},
                       .offset = MAKE_AUTO};
    snprintf(t->name, sizeof t->name, "%s", name);
    const float size = n_rows ? 1.0f / sqrtf((float)n_cols) : 0.25f;
    make_weights(g, f, n_cols * (n_rows ? n_rows : 1), n_rows ? 0.0f : 1.0f, size, &t->data);
    return t;
}

static inline make_tensor *make_find(make_gguf *g, const char *name) {
    for (size_t i = 0; i < g->n_tensors; i++)
        if (!strcmp(g->tensors[i].name, name)) return &g->tensors[i];
    return NULL;
}

static inline void make_remove(make_gguf *g, const char *name) {
    make_tensor *t = make_find(g, name);
    if (!t) return;
    free(t->data.p);
    g->n_tensors--;
    memmove(t, t + 1, (size_t)(g->tensors + g->n_tensors - t) * sizeof *t);
}

/* ---- a model ---- */

typedef struct make_options {
    const char *arch;   // NULL: llama
    format_id matrices; // FORMAT_F32 is 0
    format_id vectors;
    uint32_t n_embd, n_layer, n_head, n_head_kv, head_dim, n_ff,
        n_ctx;          // 0: 64, 2, 4, 2, n_embd / n_head, 96, 128
    bool untied;        // an output matrix of its own
    bool byte_pairs;    // the other kind of vocabulary
    uint32_t n_padding; // unused tokens behind it
    uint64_t seed;
} make_options;

enum { MAKE_FIRST_BYTE = 3, MAKE_FIRST_PIECE = MAKE_FIRST_BYTE + 256 };

static const char *const make_pieces[] = { // best last
    "z",
    "q",
    "j",
    "x",
    "v",
    "k",
    "p",
    "b",
    "g",
    "f",
    "y",
    "w",
    "m",
    "u",
    "c",
    "l",
    "d",
    "r",
    "h",
    "s",
    "i",
    "n",
    "o",
    "a",
    "t",
    "e",
    "\xe2\x96\x81",
    "th",
    "he",
    "an",
    "in",
    "the",
    "\xe2\x96\x81t",
    "\xe2\x96\x81\x61",
    "\xe2\x96\x81the"};
enum { MAKE_N_VOCAB = MAKE_FIRST_PIECE + sizeof make_pieces / sizeof *make_pieces };

/* A SentencePiece vocabulary: <unk>, <s>, </s>, the 256 bytes, then other tokens, and unused ones. */
static inline void make_padded_vocab(make_gguf *g, uint32_t n_padding) {
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    const int n = MAKE_N_VOCAB + (int)n_padding;
    char made[24];
    make_str(g, "tokenizer.ggml.model", "llama");
    make_array(g, "tokenizer.ggml.tokens", MAKE_STRING, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        snprintf(made, sizeof made, "<0x%02X>", (unsigned)(i - MAKE_FIRST_BYTE) & 255u);
        if (i >= MAKE_N_VOCAB) snprintf(made, sizeof made, "[PAD%d]", i);
        make_text(&g->kv, i < 3                                       ? special[i]
                          : i < MAKE_FIRST_PIECE || i >= MAKE_N_VOCAB ? made
                                                                      : make_pieces[i - MAKE_FIRST_PIECE]);
    }
    make_array(g, "tokenizer.ggml.scores", MAKE_F32, (uint64_t)n);
    for (int i = 0; i < n; i++)
        make_le(&g->kv, half_f32_to_bits(i < MAKE_FIRST_PIECE ? 0.0f : (float)(i - MAKE_N_VOCAB)), 4);
    make_array(g, "tokenizer.ggml.token_type", MAKE_I32, (uint64_t)n);
    for (int i = 0; i < n; i++)
        make_le(&g->kv, i == 0 ? 2 : i < 3 ? 3 : i < MAKE_FIRST_PIECE ? 6 : i < MAKE_N_VOCAB ? 1 : 5, 4);
    make_u32(g, "tokenizer.ggml.bos_token_id", 1);
    make_u32(g, "tokenizer.ggml.eos_token_id", 2);
    make_u32(g, "tokenizer.ggml.unknown_token_id", 0);
}

static inline void make_vocab(make_gguf *g) {
    make_padded_vocab(g, 0);
}

/* GPT-2's character for a byte: printable ones of Latin-1 are themselves, the others are U+0100, U+0101,
 * ... in order. Returns its length, 1 or 2. */
static inline size_t make_byte_character(unsigned byte, char to[2]) {
    unsigned c = byte, shifted = 0;
    for (unsigned b = 0; b <= byte; b++) {
        const bool printable = (b > 32 && b < 127) || (b > 160 && b != 173);
        if (b == byte && !printable) c = 256 + shifted;
        shifted += !printable;
    }
    to[0] = (char)(c < 128 ? c : 0xc0 | c >> 6), to[1] = (char)(0x80 | (c & 63));
    return c < 128 ? 1 : 2;
}

/* The characters of all bytes, as elements of an array. */
static inline void make_byte_characters(make_gguf *g) {
    for (unsigned b = 0; b < 256; b++) {
        char text[2];
        const size_t n = make_byte_character(b, text);
        make_le(&g->kv, n, 8);
        make_put(&g->kv, text, n);
    }
}

static const char *const make_byte_pieces[] = {"th", "he", "the", "\xc4\xa0", "\xc4\xa0the", "<|im_end|>"};
static const char *const make_byte_merges[] = {"t h", "h e", "th e", "\xc4\xa0 the"};
enum { MAKE_N_BYTE_VOCAB = 256 + sizeof make_byte_pieces / sizeof *make_byte_pieces, MAKE_N_MERGES = 4 };

/* A byte-pair vocabulary: the bytes, some tokens made by merges, an end-of-turn token. */
static inline void make_byte_vocab(make_gguf *g) {
    make_str(g, "tokenizer.ggml.model", "gpt2");
    make_str(g, "tokenizer.ggml.pre", "gpt-2");
    make_array(g, "tokenizer.ggml.tokens", MAKE_STRING, MAKE_N_BYTE_VOCAB);
    make_byte_characters(g);
    for (int i = 256; i < MAKE_N_BYTE_VOCAB; i++) make_text(&g->kv, make_byte_pieces[i - 256]);
    make_array(g, "tokenizer.ggml.token_type", MAKE_I32, MAKE_N_BYTE_VOCAB);
    for (int i = 0; i < MAKE_N_BYTE_VOCAB; i++) make_le(&g->kv, i == MAKE_N_BYTE_VOCAB - 1 ? 3 : 1, 4);
    make_array(g, "tokenizer.ggml.merges", MAKE_STRING, MAKE_N_MERGES);
    for (int i = 0; i < MAKE_N_MERGES; i++) make_text(&g->kv, make_byte_merges[i]);
}

static inline const char *make_hparam_key(const char *arch, const char *suffix) {
    static char key[96];
    snprintf(key, sizeof key, "%s.%s", arch, suffix);
    return key;
}

static inline void make_hparams(make_gguf *g, const make_options *o) {
    make_str(g, "general.architecture", o->arch);
    make_str(g, "general.name", "random");
    make_u32(g, make_hparam_key(o->arch, "context_length"), o->n_ctx);
    make_u32(g, make_hparam_key(o->arch, "embedding_length"), o->n_embd);
    make_u32(g, make_hparam_key(o->arch, "block_count"), o->n_layer);
    make_u32(g, make_hparam_key(o->arch, "feed_forward_length"), o->n_ff);
    make_u32(g, make_hparam_key(o->arch, "attention.head_count"), o->n_head);
    make_u32(g, make_hparam_key(o->arch, "attention.head_count_kv"), o->n_head_kv);
    make_u32(g, make_hparam_key(o->arch, "attention.key_length"), o->head_dim);
    make_u32(g, make_hparam_key(o->arch, "attention.value_length"), o->head_dim);
    make_f32(g, make_hparam_key(o->arch, "attention.layer_norm_rms_epsilon"), 1e-5f);
}

static inline void make_layer(make_gguf *g, const make_options *o, uint32_t layer) {
    const uint32_t e = o->n_embd, q = o->n_head * o->head_dim, kv = o->n_head_kv * o->head_dim, f = o->n_ff;
    const bool qwen2 = !strcmp(o->arch, "qwen2"), qwen3 = !strcmp(o->arch, "qwen3");
    const struct {
        const char *name;
        uint32_t cols, rows;
        bool here;
    } list[] = {{"attn_norm.weight", e, 0, true},
                {"attn_q.weight", e, q, true},
                {"attn_q.bias", q, 0, qwen2},
                {"attn_k.weight", e, kv, true},
                {"attn_k.bias", kv, 0, qwen2},
                {"attn_v.weight", e, kv, true},
                {"attn_v.bias", kv, 0, qwen2},
                {"attn_q_norm.weight", o->head_dim, 0, qwen3},
                {"attn_k_norm.weight", o->head_dim, 0, qwen3},
                {"attn_output.weight", q, e, true},
                {"ffn_norm.weight", e, 0, true},
                {"ffn_gate.weight", e, f, true},
                {"ffn_up.weight", e, f, true},
                {"ffn_down.weight", f, e, true}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.%s", layer, list[i].name);
        if (list[i].here)
            make_add(g, name, list[i].rows ? o->matrices : o->vectors, list[i].cols, list[i].rows);
    }
}

static inline make_options make_defaults(const make_options *from) {
    make_options o = *from;
    if (!o.arch) o.arch = "llama";
    if (!o.n_embd) o.n_embd = 64;
    if (!o.n_layer) o.n_layer = 2;
    if (!o.n_head) o.n_head = 4;
    if (!o.n_head_kv) o.n_head_kv = 2;
    if (!o.head_dim) o.head_dim = o.n_embd / o.n_head;
    if (!o.n_ff) o.n_ff = 96;
    if (!o.n_ctx) o.n_ctx = 128;
    return o;
}

static inline make_gguf make_model(const make_options *options) {
    const make_options o = make_defaults(options);
    make_gguf g = {.version = 3, .alignment = 32};
    rng_seed(&g.random, o.seed);
    const size_t n_vocab = o.byte_pairs ? MAKE_N_BYTE_VOCAB : MAKE_N_VOCAB + o.n_padding;
    make_hparams(&g, &o);
    if (o.byte_pairs)
        make_byte_vocab(&g);
    else
        make_padded_vocab(&g, o.n_padding);
    make_add(&g, "token_embd.weight", o.matrices, o.n_embd, n_vocab);
    for (uint32_t i = 0; i < o.n_layer; i++) make_layer(&g, &o, i);
    make_add(&g, "output_norm.weight", o.vectors, o.n_embd, 0);
    if (o.untied) make_add(&g, "output.weight", o.matrices, o.n_embd, n_vocab);
    return g;
}

/* ---- the file ---- */

static inline uint64_t make_pad(uint64_t n, uint64_t alignment) {
    return (n + alignment - 1) / alignment * alignment;
}

/* Gives an offset to each tensor that has none; returns the size of the data. */
static inline uint64_t make_place(make_gguf *g) {
    uint64_t at = 0, end = 0;
    for (size_t k = 0; k < g->n_tensors; k++) {
        make_tensor *t = &g->tensors[g->backwards ? g->n_tensors - 1 - k : k];
        if (t->offset == MAKE_AUTO) t->offset = at;
        at = make_pad(t->offset + t->data.n, g->alignment);
        if (t->offset + t->data.n > end) end = t->offset + t->data.n;
    }
    return end;
}

static inline uint8_t *make_file(make_gguf *g, size_t *n) {
    make_bytes out = {0};
    const uint64_t n_data = make_place(g);
    make_put(&out, "GGUF", 4);
    make_le(&out, g->version, 4);
    make_le(&out, g->n_tensors, 8);
    make_le(&out, g->n_kv, 8);
    make_put(&out, g->kv.p, g->kv.n);
    for (size_t i = 0; i < g->n_tensors; i++) {
        const make_tensor *t = &g->tensors[i];
        make_text(&out, t->name);
        make_le(&out, t->n_dims, 4);
        for (uint32_t d = 0; d < t->n_dims; d++) make_le(&out, t->dims[d & 3], 8);
        make_le(&out, t->type, 4);
        make_le(&out, t->offset, 8);
    }
    const size_t data = (size_t)make_pad(out.n, g->alignment);
    while (n_data && out.n < data + n_data)
        make_le(&out, 0xee, 1); // padding that must not be read as weights
    for (size_t i = 0; i < g->n_tensors; i++)
        if (g->tensors[i].data.n)
            memcpy(out.p + data + g->tensors[i].offset, g->tensors[i].data.p, g->tensors[i].data.n);
    *n = out.n;
    return out.p;
}

static inline void make_free(make_gguf *g) {
    for (size_t i = 0; i < g->n_tensors; i++) free(g->tensors[i].data.p);
    free(g->tensors);
    free(g->kv.p);
    *g = (make_gguf){0};
}

/* ---- loading ---- */

/* Feeds n bytes, `step` at a time (0: all at once), of a file whose size is known. options NULL: the
 * defaults. */
static inline nut_status make_load(const uint8_t *file, size_t n, size_t step,
                                   const nut_load_options *options, nut_model **out, nut_error *err) {
    const nut_load_options defaults = nut_load_defaults();
    nut_loader *l = NULL;
    nut_status status = nut_load_begin(options ? options : &defaults, n, &l, err);
    if (step == 0) step = n ? n : 1;
    for (size_t at = 0; status == NUT_OK && at < n; at += step)
        status = nut_load_feed(l, at, file + at, n - at < step ? n - at : step, err);
    if (status == NUT_OK) status = nut_load_finish(l, out, err);
    if (status != NUT_OK) nut_load_abort(l);
    return status;
}

#endif
