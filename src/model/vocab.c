/*
 * Construction and look-up, cutting texts at special tokens, and the public calls. A vocabulary costs time linear in
 * its bytes: pieces are hashed, special tokens sorted by first byte.
 */
#include "model/model.h"
#include "model/tokenizer.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const tokenizer *const tokenizers[] = {&tokenizer_spm, &tokenizer_bpe};

/* Texts of end-of-turn tokens that many files do not name in their metadata, as llama.cpp knows them. */
static const char *const eog_texts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<|end_of_text|>",
    "< EOT >", "<EOT>", "_<EOT>", "<|EOT|>", "<｜end▁of▁sentence｜>",
};

/* ---- look-up ---- */

static size_t hash_piece(const char *s, size_t n) {
    uint64_t h = 14695981039346656037u; // FNV-1a
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 1099511628211u;
    return (size_t)(h ^ (h >> 32));
}

/* The slot of a piece: its own, or the empty one where it would go. */
static size_t find_slot(const vocab *v, const char *s, size_t n) {
    size_t at = hash_piece(s, n) & (v->n_slots - 1);
    for (; v->slots[at] >= 0; at = (at + 1) & (v->n_slots - 1)) {
        gguf_str p = v->pieces[v->slots[at]];
        if (p.n == n && !memcmp(p.s, s, n)) break;
    }
    return at;
}

int32_t vocab_find(const vocab *v, const char *piece, size_t n) {
    return v->slots[find_slot(v, piece, n)];
}

/* ---- construction ---- */

static nut_status take(void *to, size_t n, size_t size, nut_error *err) {
    void *p = mem_calloc(n, size);
    if (!p) return error_memory(err, (uint64_t)n * size);
    memcpy(to, &p, sizeof p);
    return NUT_OK;
}

static nut_status bad_vocab(nut_error *err, const char *what) {
    return error_set(err, NUT_E_CORRUPT, "the model's vocabulary is damaged: %s; download or convert it again", what);
}

static nut_status read_pieces(vocab *v, const gguf *g, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.tokens");
    if (!kv || kv->type != GGUF_ARRAY || kv->elem != GGUF_STRING || kv->n == 0)
        return bad_vocab(err, "it has no tokens");
    if (kv->n > 1u << 24) return bad_vocab(err, "it has more than 16 million tokens");
    v->n = (uint32_t)kv->n;
    for (v->n_slots = 16; v->n_slots < 2 * (size_t)v->n;) v->n_slots *= 2;
    TRY(take(&v->pieces, v->n, sizeof *v->pieces, err));
    TRY(take(&v->kinds, v->n, 1, err));
    TRY(take(&v->eog, v->n, 1, err));
    TRY(take(&v->slots, v->n_slots, sizeof *v->slots, err));
    for (size_t i = 0; i < v->n_slots; i++) v->slots[i] = -1;
    const uint8_t *at = kv->value;
    for (uint32_t i = 0; i < v->n; i++) {
        at = gguf_next_string(g, at, &v->pieces[i]);
        size_t slot = find_slot(v, v->pieces[i].s, (size_t)v->pieces[i].n);
        if (v->slots[slot] < 0) v->slots[slot] = (int32_t)i; // of twins the first counts
    }
    return NUT_OK;
}

static nut_status read_kinds(vocab *v, const gguf *g, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.token_type");
    memset(v->kinds, VOCAB_NORMAL, v->n);
    if (!kv) return NUT_OK;
    bool integers = kv->type == GGUF_ARRAY && (kv->elem == GGUF_I32 || kv->elem == GGUF_U32);
    if (!integers || kv->n != v->n) return bad_vocab(err, "its token types do not fit its tokens");
    cursor c = {.bytes = kv->value, .n = (size_t)kv->n_bytes};
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t kind = cursor_u32(&c);
        v->kinds[i] = (uint8_t)(kind >= VOCAB_NORMAL && kind <= VOCAB_BYTE ? kind : VOCAB_NORMAL);
    }
    return NUT_OK;
}

static nut_status read_id(const vocab *v, const gguf *g, const char *key, int32_t *out, nut_error *err) {
    uint32_t id;
    TRY(gguf_get_u32(g, key, UINT32_MAX, &id, err));
    if (id != UINT32_MAX && id >= v->n)
        return error_set(err, NUT_E_CORRUPT, "the model's vocabulary is damaged: %s is %u and there are %u tokens", key, id,
                         v->n);
    *out = id == UINT32_MAX ? -1 : (int32_t)id;
    return NUT_OK;
}

static nut_status read_special_ids(vocab *v, const gguf *g, nut_error *err) {
    int32_t eot, eom;
    TRY(read_id(v, g, "tokenizer.ggml.bos_token_id", &v->bos, err));
    TRY(read_id(v, g, "tokenizer.ggml.eos_token_id", &v->eos, err));
    TRY(read_id(v, g, "tokenizer.ggml.unknown_token_id", &v->unk, err));
    TRY(read_id(v, g, "tokenizer.ggml.eot_token_id", &eot, err));
    TRY(read_id(v, g, "tokenizer.ggml.eom_token_id", &eom, err));
    if (v->eos >= 0) v->eog[v->eos] = 1;
    if (eot >= 0) v->eog[eot] = 1;
    if (eom >= 0) v->eog[eom] = 1;
    for (size_t i = 0; i < sizeof eog_texts / sizeof *eog_texts; i++) {
        int32_t id = vocab_find(v, eog_texts[i], strlen(eog_texts[i]));
        if (id >= 0 && v->kinds[id] != VOCAB_NORMAL) v->eog[id] = 1;
    }
    bool spm = v->kind == &tokenizer_spm;
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_bos_token", spm, &v->add_bos, err));
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", spm, &v->add_space_prefix, err));
    if (v->bos < 0) v->add_bos = false;
    return NUT_OK;
}

/* ---- special tokens in texts ---- */

static bool is_special(const vocab *v, uint32_t id) {
    uint8_t k = v->kinds[id];
    return v->pieces[id].n && (k == VOCAB_CONTROL || k == VOCAB_USER_DEFINED || k == VOCAB_UNKNOWN);
}

/* Counting sort by first byte; then longest first within each (insertion into short lists would be quadratic, so qsort
 * with the vocabulary's pieces at hand through a packed key). */
typedef struct special_key {
    uint64_t length;
    int32_t id;
} special_key;

static int by_length(const void *a, const void *b) {
    const special_key *x = a, *y = b;
    return x->length != y->length ? (x->length > y->length ? -1 : 1) : x->id - y->id;
}

static nut_status sort_special(vocab *v, nut_error *err) {
    special_key *keys;
    uint32_t next[257] = {0};
    for (uint32_t i = 0; i < v->n; i++) v->n_special += is_special(v, i);
    TRY(take(&v->special, v->n_special + 1, sizeof *v->special, err));
    TRY(take(&keys, v->n_special + 1, sizeof *keys, err));
    size_t n = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        if (!is_special(v, i)) continue;
        keys[n++] = (special_key){v->pieces[i].n, (int32_t)i};
        next[(uint8_t)v->pieces[i].s[0] + 1]++;
    }
    for (int b = 0; b < 256; b++) next[b + 1] += next[b];
    memcpy(v->special_at, next, sizeof next);
    qsort(keys, n, sizeof *keys, by_length);
    for (size_t i = 0; i < n; i++) v->special[next[(uint8_t)v->pieces[keys[i].id].s[0]]++] = keys[i].id;
    mem_free(keys);
    return NUT_OK;
}

/* The longest special token that begins at text, -1 where none does. Control tokens count only where asked for. */
static int32_t special_here(const vocab *v, const char *text, size_t n, bool control) {
    uint8_t b = (uint8_t)text[0];
    for (uint32_t i = v->special_at[b]; i < v->special_at[b + 1]; i++) {
        int32_t id = v->special[i];
        gguf_str p = v->pieces[id];
        if (p.n <= n && (control || v->kinds[id] == VOCAB_USER_DEFINED) && !memcmp(text, p.s, (size_t)p.n)) return id;
    }
    return -1;
}

static nut_status tokenize_parts(const vocab *v, const char *text, size_t n, bool control, ids_out *out, nut_error *err) {
    size_t begin = 0;
    bool first = true;
    for (size_t at = 0; at < n;) {
        int32_t id = special_here(v, text + at, n - at, control);
        if (id < 0) {
            at++;
            continue;
        }
        if (at > begin) TRY(v->kind->tokenize(v, text + begin, at - begin, first, out, err));
        ids_put(out, id);
        at += (size_t)v->pieces[id].n;
        begin = at;
        first = true;
    }
    return begin < n ? v->kind->tokenize(v, text + begin, n - begin, first, out, err) : NUT_OK;
}

/* ---- public ---- */

static nut_status prepare(vocab *v, const gguf *g, nut_error *err) {
    TRY(read_pieces(v, g, err));
    TRY(read_kinds(v, g, err));
    TRY(read_special_ids(v, g, err));
    TRY(sort_special(v, err));
    return v->kind->prepare(v, g, err);
}

nut_status vocab_new(const gguf *g, vocab **out, nut_error *err) {
    gguf_str name;
    TRY(gguf_get_str(g, "tokenizer.ggml.model", "", &name, err));
    const tokenizer *kind = NULL;
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++)
        if (gguf_str_is(name, tokenizers[i]->name)) kind = tokenizers[i];
    if (!name.n) return bad_vocab(err, "its metadata names no tokenizer");
    if (!kind)
        return error_set(err, NUT_E_UNSUPPORTED, "the tokenizer \"%.*s\" is not supported (llama and gpt2 are)",
                         (int)(name.n < 40 ? name.n : 40), name.s);
    vocab *v = mem_calloc(1, sizeof *v);
    if (!v) return error_memory(err, sizeof *v);
    v->kind = kind;
    nut_status status = prepare(v, g, err);
    if (status == NUT_OK) *out = v;
    else vocab_free(v);
    return status;
}

void vocab_free(vocab *v) {
    if (!v) return;
    bpe_free(v->merges);
    mem_free(v->pieces);
    mem_free(v->kinds);
    mem_free(v->eog);
    mem_free(v->scores);
    mem_free(v->slots);
    mem_free(v->special);
    mem_free(v);
}

uint32_t vocab_size(const vocab *v) {
    return v->n;
}
gguf_str vocab_piece(const vocab *v, int32_t id) {
    return v->pieces[id];
}
vocab_kind vocab_kind_of(const vocab *v, int32_t id) {
    return (vocab_kind)v->kinds[id];
}
int32_t vocab_bos(const vocab *v) {
    return v->bos;
}
int32_t vocab_eos(const vocab *v) {
    return v->eos;
}
bool vocab_add_bos(const vocab *v) {
    return v->add_bos;
}
bool vocab_is_eog(const vocab *v, int32_t id) {
    return v->eog[id] != 0;
}
const char *vocab_tokenizer_name(const vocab *v) {
    return v->kind->name;
}

nut_status vocab_tokenize(const vocab *v, const char *text, size_t n_text, unsigned flags, int32_t *ids, size_t cap,
                          size_t *n_out, nut_error *err) {
    ids_out out = {ids, cap, 0};
    *n_out = 0;
    if ((flags & NUT_TOKENIZE_ADD_BOS) && v->add_bos) ids_put(&out, v->bos);
    TRY(tokenize_parts(v, text, n_text, (flags & NUT_TOKENIZE_SPECIAL) != 0, &out, err));
    *n_out = out.n;
    if (out.n <= cap) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "%zu token ids do not fit into room for %zu", out.n, cap);
}

size_t vocab_token_text(const vocab *v, int32_t id, bool special, char *text, size_t cap) {
    uint8_t kind = v->kinds[id];
    bool hidden = kind == VOCAB_CONTROL || kind == VOCAB_UNUSED || kind == VOCAB_UNKNOWN;
    if (hidden && !special) return 0;
    if (hidden || kind == VOCAB_USER_DEFINED) {
        size_t n = (size_t)v->pieces[id].n;
        if (cap) memcpy(text, v->pieces[id].s, n < cap ? n : cap);
        return n;
    }
    return v->kind->text(v, id, text, cap);
}

/* As vocab_token_text, without the space in front where there is one. */
static nut_status text_without_space(const vocab *v, int32_t id, bool special, char *text, size_t cap, size_t *n,
                                     nut_error *err) {
    size_t whole = vocab_token_text(v, id, special, NULL, 0);
    char *copy = mem_alloc(whole);
    if (!copy) return error_memory(err, whole);
    vocab_token_text(v, id, special, copy, whole);
    size_t skip = whole && copy[0] == ' ';
    *n = whole - skip;
    if (*n && cap) memcpy(text, copy + skip, *n < cap ? *n : cap);
    mem_free(copy);
    return NUT_OK;
}

nut_status vocab_detokenize(const vocab *v, const int32_t *ids, size_t n_ids, bool special, char *text, size_t cap,
                            size_t *n_out, nut_error *err) {
    size_t n = 0;
    bool strip = v->kind == &tokenizer_spm && v->add_space_prefix;
    *n_out = 0;
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= v->n)
            return error_set(err, NUT_E_ARGUMENT, "token id %d is not in the vocabulary of %u", (int)ids[i], v->n);
        size_t at = n < cap ? n : cap, length = 0;
        if (strip) TRY(text_without_space(v, ids[i], special, text + at, cap - at, &length, err));
        else length = vocab_token_text(v, ids[i], special, text + at, cap - at);
        strip = strip && !vocab_token_text(v, ids[i], special, NULL, 0);
        n += length;
    }
    *n_out = n;
    if (n <= cap) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "%zu bytes of text do not fit into room for %zu", n, cap);
}

nut_status nut_tokenize(const nut_model *m, const char *text, size_t n_text, unsigned flags, int32_t *ids, size_t cap,
                        size_t *n_out, nut_error *err) {
    return vocab_tokenize(m->vocab, text, n_text, flags, ids, cap, n_out, err);
}

nut_status nut_detokenize(const nut_model *m, const int32_t *ids, size_t n_ids, bool special, char *text, size_t cap,
                          size_t *n_out, nut_error *err) {
    return vocab_detokenize(m->vocab, ids, n_ids, special, text, cap, n_out, err);
}
