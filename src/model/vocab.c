/*
 * Construction of a vocabulary from a header's metadata, in time linear in the metadata's bytes, and
 * look-ups. tokenize.c turns texts into tokens and back.
 */
#include "model/vocab.h"
#include "model/tokenizer.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static const tokenizer *const tokenizers[] = {&tokenizer_spm,     &tokenizer_bpe,  &tokenizer_wordpiece,
                                              &tokenizer_unigram, &tokenizer_rwkv, &tokenizer_gemma4};

nut_status vocab_invalid(nut_error *err, const char *what) {
    return error_set(err, NUT_E_CORRUPT,
                     "the model's vocabulary cannot be used: %s; convert the model again", what);
}

static nut_status read_types(vocab *v, const gguf *g, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.token_type");
    v->types = mem_alloc(v->tokens.n);
    if (!v->types) return error_memory(err, v->tokens.n);
    memset(v->types, VOCAB_NORMAL, v->tokens.n);
    if (!kv) return NUT_OK;
    bool integers = kv->type == GGUF_ARRAY && (kv->elem == GGUF_I32 || kv->elem == GGUF_U32);
    if (!integers || kv->n < v->tokens.n)
        return vocab_invalid(err, "its token types are not one integer for each token");
    cursor c = {.bytes = kv->value, .n = (size_t)kv->n_bytes};
    for (uint32_t i = 0; i < v->tokens.n; i++) {
        uint32_t type = cursor_u32(&c);
        v->types[i] = (uint8_t)(type >= VOCAB_NORMAL && type <= VOCAB_BYTE ? type : VOCAB_UNUSED);
    }
    return NUT_OK;
}

static nut_status read_all(vocab *v, const gguf *g, nut_error *err) {
    v->bos = v->eos = v->sep = v->unk = VOCAB_NONE;
    TRY(token_table_read(&v->tokens, g, gguf_find(g, "tokenizer.ggml.tokens"), err));
    TRY(read_types(v, g, err));
    TRY(v->tokenizer->prepare(v, g, err));
    TRY(special_ids_read(v, g, err));
    TRY(special_marks_read(v, g, err));
    return special_prepare(v, err);
}

static nut_status find_tokenizer(const gguf *g, const tokenizer **out, nut_error *err) {
    gguf_str name;
    TRY(gguf_get_str(g, "tokenizer.ggml.model", "", &name, err));
    if (!name.n) return vocab_invalid(err, "its metadata names no tokenizer");
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        *out = tokenizers[i];
        if (gguf_str_is(name, tokenizers[i]->name)) return NUT_OK;
    }
    char names[80] = "";
    for (size_t i = 0, n = 0; i < sizeof tokenizers / sizeof *tokenizers && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, i ? ", %s" : "%s", tokenizers[i]->name);
    return error_set(err, NUT_E_UNSUPPORTED,
                     "the tokenizer \"%.*s\" is not supported; use a model with one of %s",
                     (int)(name.n < 40 ? name.n : 40), name.s, names);
}

nut_status vocab_new(const gguf *g, const char *pre, vocab **out, nut_error *err) {
    const tokenizer *found;
    TRY(find_tokenizer(g, &found, err));
    vocab *v = mem_calloc(1, sizeof *v);
    if (!v) return error_memory(err, sizeof *v);
    v->tokenizer = found;
    v->pre = pre;
    nut_status status = read_all(v, g, err);
    if (status == NUT_OK)
        *out = v;
    else
        vocab_free(v);
    return status;
}

void vocab_free(vocab *v) {
    if (!v) return;
    token_table_free(&v->tokens);
    merges_free(v->merges);
    mem_free(v->types);
    mem_free(v->special);
    mem_free(v->ranks);
    mem_free(v->scores);
    trie_free(&v->trie);
    mem_free(v);
}

uint32_t vocab_size(const vocab *v) {
    return v->tokens.n;
}
gguf_str vocab_text(const vocab *v, int32_t id) {
    return (gguf_str){v->tokens.texts[id].s, v->tokens.texts[id].n};
}
vocab_type vocab_type_of(const vocab *v, int32_t id) {
    return (vocab_type)(v->types[id] & VOCAB_TYPE);
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
    return (v->types[id] & VOCAB_EOG) != 0;
}
const char *vocab_tokenizer_name(const vocab *v) {
    return v->tokenizer->name;
}
