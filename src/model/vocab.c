/*
 * Construction of a vocabulary from a header's metadata, and look-ups. Costs time linear in the metadata's
 * bytes. Texts are cut and joined in tokenize.c.
 */
#include "model/vocab.h"
#include "model/tokenizer.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

#include <string.h>

static const tokenizer *const tokenizers[] = {&tokenizer_spm, &tokenizer_bpe};

/* Texts of tokens that end a turn, or a fill-in-the-middle, in models whose metadata does not say so. As
 * llama.cpp knows them (src/llama-vocab.cpp), but for "</s>" and "<eos>", which are ordinary words of some
 * vocabularies and are named by the metadata of the others. */
static const char *const eog_texts[] = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "< EOT >",
    "_<EOT>",
    "<|EOT|>",
    "[EOT]",
    "[EOS]",
    "<｜end▁of▁sentence｜>",
    "<|return|>",
    "<|call|>",
    "<|fim_pad|>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<|file_sep|>",
};

nut_status vocab_damaged(nut_error *err, const char *what) {
    return error_set(err, NUT_E_CORRUPT,
                     "the model's vocabulary is damaged: %s; download or convert the model again", what);
}

static nut_status read_kinds(vocab *v, const gguf *g, nut_error *err) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.token_type");
    v->kinds = mem_alloc(v->pieces.n);
    if (!v->kinds) return error_memory(err, v->pieces.n);
    memset(v->kinds, VOCAB_NORMAL, v->pieces.n);
    if (!kv) return NUT_OK;
    bool integers = kv->type == GGUF_ARRAY && (kv->elem == GGUF_I32 || kv->elem == GGUF_U32);
    if (!integers || kv->n != v->pieces.n)
        return vocab_damaged(err, "its token types do not fit its tokens");
    cursor c = {.bytes = kv->value, .n = (size_t)kv->n_bytes};
    for (uint32_t i = 0; i < v->pieces.n; i++) {
        uint32_t kind = cursor_u32(&c);
        v->kinds[i] = (uint8_t)(kind >= VOCAB_NORMAL && kind <= VOCAB_BYTE ? kind : VOCAB_UNUSED);
    }
    return NUT_OK;
}

/* Reads a token id; *id comes in as the default, which a vocabulary that is too small for it does not have.
 */
static nut_status read_id(const vocab *v, const gguf *g, const char *key, int32_t *id, nut_error *err) {
    uint32_t standard = *id >= 0 && (uint32_t)*id < v->pieces.n ? (uint32_t)*id : UINT32_MAX, found;
    TRY(gguf_get_u32(g, key, standard, &found, err));
    if (found != UINT32_MAX && found >= v->pieces.n)
        return error_set(
            err, NUT_E_CORRUPT,
            "the model's vocabulary is damaged: %s is %u and there are %u tokens; convert the model again",
            key, (unsigned)found, (unsigned)v->pieces.n);
    *id = found == UINT32_MAX ? VOCAB_NONE : (int32_t)found;
    return NUT_OK;
}

static void mark_eog(vocab *v, int32_t id) {
    if (id != VOCAB_NONE) v->kinds[id] |= VOCAB_EOG;
}

static nut_status read_special_ids(vocab *v, const gguf *g, nut_error *err) {
    int32_t eot = VOCAB_NONE, eom = VOCAB_NONE;
    TRY(read_id(v, g, "tokenizer.ggml.bos_token_id", &v->bos, err));
    TRY(read_id(v, g, "tokenizer.ggml.eos_token_id", &v->eos, err));
    TRY(read_id(v, g, "tokenizer.ggml.unknown_token_id", &v->unk, err));
    TRY(read_id(v, g, "tokenizer.ggml.eot_token_id", &eot, err));
    TRY(read_id(v, g, "tokenizer.ggml.eom_token_id", &eom, err));
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_bos_token", v->add_bos, &v->add_bos, err));
    if (v->bos == VOCAB_NONE) v->add_bos = false;
    mark_eog(v, v->eos);
    mark_eog(v, eot);
    mark_eog(v, eom);
    for (size_t i = 0; i < sizeof eog_texts / sizeof *eog_texts; i++) {
        int32_t id = pieces_find(&v->pieces, eog_texts[i], strlen(eog_texts[i]));
        if (id != VOCAB_NONE && v->kinds[id] != VOCAB_NORMAL) mark_eog(v, id);
    }
    return NUT_OK;
}

static nut_status read_all(vocab *v, const gguf *g, nut_error *err) {
    v->bos = v->eos = v->unk = VOCAB_NONE;
    TRY(pieces_read(&v->pieces, g, gguf_find(g, "tokenizer.ggml.tokens"), err));
    TRY(read_kinds(v, g, err));
    TRY(v->kind->prepare(v, g, err));
    TRY(read_special_ids(v, g, err));
    return special_prepare(v, err);
}

static nut_status find_tokenizer(const gguf *g, const tokenizer **out, nut_error *err) {
    gguf_str name;
    TRY(gguf_get_str(g, "tokenizer.ggml.model", "", &name, err));
    if (!name.n) return vocab_damaged(err, "its metadata names no tokenizer");
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        *out = tokenizers[i];
        if (gguf_str_is(name, tokenizers[i]->name)) return NUT_OK;
    }
    return error_set(
        err, NUT_E_UNSUPPORTED,
        "the tokenizer \"%.*s\" is not supported; use a model whose tokenizer is llama (SentencePiece) or "
        "gpt2 (byte-pair encoding)",
        (int)(name.n < 40 ? name.n : 40), name.s);
}

nut_status vocab_new(const gguf *g, vocab **out, nut_error *err) {
    const tokenizer *kind;
    TRY(find_tokenizer(g, &kind, err));
    vocab *v = mem_calloc(1, sizeof *v);
    if (!v) return error_memory(err, sizeof *v);
    v->kind = kind;
    nut_status status = read_all(v, g, err);
    if (status == NUT_OK)
        *out = v;
    else
        vocab_free(v);
    return status;
}

void vocab_free(vocab *v) {
    if (!v) return;
    pieces_free(&v->pieces);
    bpe_free(v->merges);
    mem_free(v->kinds);
    mem_free(v->special);
    mem_free(v->ranks);
    mem_free(v);
}

uint32_t vocab_size(const vocab *v) {
    return v->pieces.n;
}
gguf_str vocab_piece(const vocab *v, int32_t id) {
    return (gguf_str){v->pieces.list[id].s, v->pieces.list[id].n};
}
vocab_kind vocab_kind_of(const vocab *v, int32_t id) {
    return (vocab_kind)(v->kinds[id] & VOCAB_KIND);
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
    return (v->kinds[id] & VOCAB_EOG) != 0;
}
const char *vocab_tokenizer_name(const vocab *v) {
    return v->kind->name;
}
