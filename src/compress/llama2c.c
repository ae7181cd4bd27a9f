/* Checkpoints of llama2.c: see llama2c.h. */
#include "compress/llama2c.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { MAGIC = 0x616b3432, BARE_HEADER = 28 };
enum { MOST_LAYERS = 1 << 10, MOST_SIZE = 1 << 22 }; // so that no product of sizes overflows

/* ---- the order of numbers ---- */

typedef enum part {
    EMBEDDINGS,
    ATTN_NORM,
    QUERY,
    KEY,
    VALUE,
    ATTN_OUTPUT,
    FFN_NORM,
    GATE,
    DOWN,
    UP,
    NORM,
    ROTATION, // cosines and sines, which follow from the positions
    OUTPUT,
    PARTS
} part;

static const struct {
    const char *name; // of each layer's tensor: with its number; NULL: there is none
    char cols, rows;  // letters of `size`; rows 0: a vector
    bool in_layers;
} parts[PARTS] = {
    [EMBEDDINGS] = {"token_embd.weight", 'E', 'V', false},
    [ATTN_NORM] = {"blk.%u.attn_norm.weight", 'E', 0, true},
    [QUERY] = {"blk.%u.attn_q.weight", 'E', 'E', true},
    [KEY] = {"blk.%u.attn_k.weight", 'E', 'K', true},
    [VALUE] = {"blk.%u.attn_v.weight", 'E', 'K', true},
    [ATTN_OUTPUT] = {"blk.%u.attn_output.weight", 'E', 'E', true},
    [FFN_NORM] = {"blk.%u.ffn_norm.weight", 'E', 0, true},
    [GATE] = {"blk.%u.ffn_gate.weight", 'E', 'F', true},
    [DOWN] = {"blk.%u.ffn_down.weight", 'F', 'E', true},
    [UP] = {"blk.%u.ffn_up.weight", 'E', 'F', true},
    [NORM] = {"output_norm.weight", 'E', 0, false},
    [ROTATION] = {NULL, 'D', 'C', false},
    [OUTPUT] = {"output.weight", 'E', 'V', false},
};

/* legacy_export; version1_export and version2_export, which have no rotation. */
static const uint8_t bare_order[PARTS] = {
    EMBEDDINGS, ATTN_NORM, QUERY, KEY, VALUE, ATTN_OUTPUT, FFN_NORM, GATE, DOWN, UP, NORM, ROTATION, OUTPUT};
static const uint8_t marked_order[PARTS] = {ATTN_NORM,   FFN_NORM, NORM, EMBEDDINGS, QUERY,    KEY,   VALUE,
                                            ATTN_OUTPUT, GATE,     DOWN, UP,         ROTATION, OUTPUT};

static uint64_t size(const llama2c_header *h, char letter) {
    switch (letter) {
    case 'E': return h->n_embd;
    case 'F': return h->n_ff;
    case 'K': return h->n_embd / h->n_head * h->n_head_kv;
    case 'V': return h->n_vocab;
    case 'C': return h->version ? 0 : h->n_ctx;
    case 'D': return h->n_embd / h->n_head / 2 * 2; // half a head of each
    default: return 1;
    }
}

static uint64_t bytes_of(const llama2c_header *h, const llama2c_tensor *t) {
    const uint64_t n = t->n_cols * (t->n_rows ? t->n_rows : 1);
    return t->scaled ? n + n / h->group * sizeof(float) : n * sizeof(float);
}

/* Tensors of a part, `at` being where it begins; returns how many. `out` may be NULL. */
static size_t list_part(const llama2c_header *h, part p, uint64_t *at, llama2c_tensor *out) {
    const uint32_t n = p == OUTPUT && !h->own_output ? 0 : parts[p].in_layers ? h->n_layer : 1;
    llama2c_tensor t = {.n_cols = size(h, parts[p].cols),
                        .n_rows = parts[p].rows ? size(h, parts[p].rows) : 0};
    t.scaled = h->group && parts[p].rows;
    if (p == ROTATION) {
        *at += t.n_cols * t.n_rows * sizeof(float);
        return 0;
    }
    for (uint32_t i = 0; i < n; i++, *at += bytes_of(h, &t)) {
        t.offset = *at;
        if (!out) continue;
        out[i] = t;
        if (parts[p].in_layers)
            snprintf(out[i].name, sizeof out[i].name, parts[p].name, (unsigned)i);
        else
            snprintf(out[i].name, sizeof out[i].name, "%s", parts[p].name);
    }
    return n;
}

static size_t list_all(const llama2c_header *h, llama2c_tensor *out, uint64_t *end) {
    const uint8_t *order = h->version ? marked_order : bare_order;
    uint64_t at = h->version ? LLAMA2C_HEADER : BARE_HEADER;
    size_t n = 0;
    for (size_t i = 0; i < PARTS; i++) n += list_part(h, order[i], &at, out ? out + n : NULL);
    *end = at;
    return n;
}

size_t llama2c_count(const llama2c_header *h) {
    uint64_t end;
    return list_all(h, NULL, &end);
}

size_t llama2c_tensors(const llama2c_header *h, llama2c_tensor *out) {
    uint64_t end;
    return list_all(h, out, &end);
}

/* ---- the header ---- */

static bool in_range(uint32_t v, uint32_t most) {
    return v >= 1 && v <= most;
}

static bool is_sound(const llama2c_header *h) {
    const uint64_t numbers[] = {(uint64_t)h->n_embd * h->n_vocab, (uint64_t)h->n_embd * h->n_embd,
                                (uint64_t)h->n_embd * h->n_ff, h->n_embd};
    bool right = in_range(h->n_embd, MOST_SIZE) && in_range(h->n_ff, MOST_SIZE) &&
                 in_range(h->n_vocab, MOST_SIZE) && in_range(h->n_ctx, MOST_SIZE) &&
                 in_range(h->n_layer, MOST_LAYERS) && in_range(h->n_head, h->n_embd) &&
                 in_range(h->n_head_kv, h->n_head);
    right = right && h->n_embd % h->n_head == 0 && h->n_head % h->n_head_kv == 0;
    for (size_t i = 0; right && h->group && i < sizeof numbers / sizeof *numbers; i++)
        right = numbers[i] % h->group == 0;
    return right && (!h->group || size(h, 'K') * h->n_embd % h->group == 0);
}

static void read_numbers(cursor *c, llama2c_header *h) {
    uint32_t *const numbers[] = {&h->n_embd,    &h->n_ff,    &h->n_layer, &h->n_head,
                                 &h->n_head_kv, &h->n_vocab, &h->n_ctx};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) *numbers[i] = cursor_u32(c);
}

/* The sign of the vocabulary's size says whether the output is the embeddings. */
static void read_bare(cursor *c, llama2c_header *h) {
    c->at = 0;
    read_numbers(c, h);
    h->own_output = h->n_vocab >> 31;
    if (h->own_output) h->n_vocab = 0 - h->n_vocab;
}

static nut_status read_marked(cursor *c, llama2c_header *h, nut_error *err) {
    h->version = cursor_u32(c);
    if (h->version != 1 && h->version != 2)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "the checkpoint is of version %u of llama2.c; export it in version 0, 1 or 2",
                         (unsigned)h->version);
    read_numbers(c, h);
    h->own_output = !cursor_u8(c);
    if (h->version == 1) return NUT_OK;
    h->group = cursor_u32(c);
    if (in_range(h->group, LLAMA2C_MOST_GROUP)) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT, "the checkpoint has scales of %u numbers each; export it again",
                     (unsigned)h->group);
}

nut_status llama2c_read(const uint8_t *bytes, size_t n, uint64_t n_file, llama2c_header *out,
                        nut_error *err) {
    cursor c = {.bytes = bytes, .n = n};
    uint64_t end;
    const bool marked = cursor_u32(&c) == MAGIC;
    *out = (llama2c_header){0};
    if (n < (marked ? LLAMA2C_HEADER : BARE_HEADER))
        return error_set(err, NUT_E_CORRUPT,
                         "the file has %zu bytes, which is no whole checkpoint of llama2.c", n);
    if (marked)
        TRY(read_marked(&c, out, err));
    else
        read_bare(&c, out);
    if (!is_sound(out))
        return error_set(err, NUT_E_CORRUPT,
                         "this is no checkpoint of llama2.c: its header's sizes make no model; give a file "
                         "of its export.py");
    list_all(out, NULL, &end);
    if (end == n_file) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT,
                     "the file has %llu bytes, and a checkpoint of version %u with its header %llu; it is "
                     "%s, or none of llama2.c",
                     (unsigned long long)n_file, (unsigned)out->version, (unsigned long long)end,
                     n_file < end ? "cut off" : "too long");
}

/* ---- the vocabulary ---- */

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_BYTE = 6 };
enum { ID_UNKNOWN, ID_BEGIN, ID_END, N_NAMED };
static const char *const named[N_NAMED] = {"<unk>", "<s>", "</s>"}; // whatever a file calls them
static const char space[] = "\xe2\x96\x81";                         // as sentencepiece writes it

typedef struct vocabulary {
    gguf_str *texts; // (n)
    float *scores;   // (n)
    int32_t *types;  // (n)
    char *bytes;     // of the texts
    size_t n_bytes;
} vocabulary;

static bool is_byte(const char *s, size_t n) {
    static const char digits[] = "0123456789ABCDEF";
    return n == 6 && !memcmp(s, "<0x", 3) && s[5] == '>' && strchr(digits, s[3]) && strchr(digits, s[4]);
}

static void add_token(vocabulary *v, uint32_t id, const char *s, size_t n) {
    char *to = v->bytes + v->n_bytes;
    size_t length = 0;
    v->types[id] = is_byte(s, n) ? TYPE_BYTE : TYPE_NORMAL;
    if (id < N_NAMED) {
        v->types[id] = id == ID_UNKNOWN ? TYPE_UNKNOWN : TYPE_CONTROL;
        v->texts[id] = (gguf_str){named[id], strlen(named[id])};
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const bool is_space = s[i] == ' ';
        memcpy(to + length, is_space ? space : s + i, is_space ? sizeof space - 1 : 1);
        length += is_space ? sizeof space - 1 : 1;
    }
    v->texts[id] = (gguf_str){to, length};
    v->n_bytes += length;
}

static nut_status read_tokens(vocabulary *v, cursor *c, uint32_t n_vocab, nut_error *err) {
    cursor_u32(c); // the length of the longest
    for (uint32_t id = 0; id < n_vocab && !c->ended; id++) {
        v->scores[id] = cursor_f32(c);
        const uint32_t length = cursor_u32(c);
        const uint8_t *text = cursor_take(c, length);
        if (text) add_token(v, id, (const char *)text, length);
    }
    if (!c->ended && c->at == c->n) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT,
                     "the tokenizer has %s than the checkpoint's %u tokens; give the file that tokenizer.py "
                     "exported for this model",
                     c->ended ? "fewer" : "more", (unsigned)n_vocab);
}

static nut_status set_meta(const vocabulary *v, uint32_t n_vocab, gguf_meta *meta, nut_error *err) {
    TRY(gguf_meta_str(meta, "tokenizer.ggml.model", (gguf_str){"llama", 5}, err));
    TRY(gguf_meta_strings(meta, "tokenizer.ggml.tokens", v->texts, n_vocab, err));
    TRY(gguf_meta_array(meta, "tokenizer.ggml.scores", GGUF_F32, v->scores, n_vocab, err));
    TRY(gguf_meta_array(meta, "tokenizer.ggml.token_type", GGUF_I32, v->types, n_vocab, err));
    TRY(gguf_meta_int(meta, "tokenizer.ggml.unknown_token_id", GGUF_U32, ID_UNKNOWN, err));
    TRY(gguf_meta_int(meta, "tokenizer.ggml.bos_token_id", GGUF_U32, ID_BEGIN, err));
    return gguf_meta_int(meta, "tokenizer.ggml.eos_token_id", GGUF_U32, ID_END, err);
}

nut_status llama2c_vocabulary(const void *file, size_t n, uint32_t n_vocab, gguf_meta *meta,
                              nut_error *err) {
    cursor c = {.bytes = file, .n = n};
    size_t room = 0;
    if (n_vocab < N_NAMED)
        return error_set(err, NUT_E_CORRUPT, "the checkpoint has %u tokens, which is no vocabulary",
                         (unsigned)n_vocab);
    const bool fits = size_mul(n, sizeof space - 1, &room);
    vocabulary v = {.texts = mem_calloc(n_vocab, sizeof *v.texts),
                    .scores = mem_calloc(n_vocab, sizeof *v.scores),
                    .types = mem_calloc(n_vocab, sizeof *v.types),
                    .bytes = fits ? mem_alloc(room + 1) : NULL};
    nut_status status = v.texts && v.scores && v.types && v.bytes
                            ? NUT_OK
                            : error_memory(err, (uint64_t)n_vocab * sizeof *v.texts + room);
    if (status == NUT_OK) status = read_tokens(&v, &c, n_vocab, err);
    if (status == NUT_OK) status = set_meta(&v, n_vocab, meta, err);
    mem_free(v.texts);
    mem_free(v.scores);
    mem_free(v.types);
    mem_free(v.bytes);
    return status;
}
