/*
 * Which tokens are special, and which of them end a generation. The metadata names some by their ids. Others
 * are known by their texts alone: converters and fine-tunes often leave an end-of-turn mark with the type of
 * an ordinary word, or name one end of several. The tables below are facts about published models, as
 * llama.cpp has collected them (src/llama-vocab.cpp, llama_vocab::impl::load, November 2026): the texts,
 * which of them end a generation, and the exceptions.
 */
#include "model/tokenizer.h"

#include "base/error.h"

#include <string.h>

/* What a text says of its token. Of the marks for filling in the middle of a text (FIM), a vocabulary has
 * one in each role: the token that the metadata names, else the first text of the table that it has. */
typedef enum role {
    FIM_PREFIX,
    FIM_SUFFIX,
    FIM_MIDDLE,
    FIM_PAD,
    FIM_REPO,
    FIM_FILE,
    N_FIM,
    EOG,   // a control token; ends a generation
    SHOWN, // user-defined: its text is part of the answer
} role;

static const struct {
    const char *key, *old_key;
    bool ends; // the model has nothing more to say
} fim_roles[N_FIM] = {
    [FIM_PREFIX] = {"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id", false},
    [FIM_SUFFIX] = {"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id", false},
    [FIM_MIDDLE] = {"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id", false},
    [FIM_PAD] = {"tokenizer.ggml.fim_pad_token_id", NULL, true},
    [FIM_REPO] = {"tokenizer.ggml.fim_rep_token_id", NULL, true},
    [FIM_FILE] = {"tokenizer.ggml.fim_sep_token_id", NULL, true},
};

static const struct {
    const char *text;
    role role;
} known_texts[] = {
    {"<|eot_id|>", EOG},
    {"<|eom_id|>", EOG},
    {"<|im_end|>", EOG},
    {"<|end|>", EOG},
    {"<|endoftext|>", EOG},
    {"<|end_of_text|>", EOG},
    {"<end_of_turn>", EOG},
    {"<end_of_utterance>", EOG},
    {"<turn|>", EOG},
    {"<|tool_response>", EOG},
    {"<|return|>", EOG},
    {"<|call|>", EOG},
    {"<|calls|>", EOG},
    {"<|flush|>", EOG},
    {"<｜end▁of▁sentence｜>", EOG},
    {"</s>", EOG},
    {"<eos>", EOG},
    {"[EOS]", EOG},
    {"[EOT]", EOG},
    {"[e~[", EOG},
    {"<EOT>", EOG},
    {"_<EOT>", EOG},
    {"< EOT >", EOG}, // this one and the next are not in llama.cpp's list; no ordinary word is written so
    {"<|EOT|>", EOG},
    {"<|fim_prefix|>", FIM_PREFIX},
    {"<fim-prefix>", FIM_PREFIX},
    {"<fim_prefix>", FIM_PREFIX},
    {"<｜fim▁begin｜>", FIM_PREFIX},
    {"<PRE>", FIM_PREFIX},
    {"▁<PRE>", FIM_PREFIX},
    {"<|code_prefix|>", FIM_PREFIX},
    {"<|prefix|>", FIM_PREFIX},
    {"<|fim_suffix|>", FIM_SUFFIX},
    {"<fim-suffix>", FIM_SUFFIX},
    {"<fim_suffix>", FIM_SUFFIX},
    {"<｜fim▁hole｜>", FIM_SUFFIX},
    {"<SUF>", FIM_SUFFIX},
    {"▁<SUF>", FIM_SUFFIX},
    {"<|code_suffix|>", FIM_SUFFIX},
    {"<|suffix|>", FIM_SUFFIX},
    {"<|fim_middle|>", FIM_MIDDLE},
    {"<fim-middle>", FIM_MIDDLE},
    {"<fim_middle>", FIM_MIDDLE},
    {"<｜fim▁end｜>", FIM_MIDDLE},
    {"<MID>", FIM_MIDDLE},
    {"▁<MID>", FIM_MIDDLE},
    {"<|code_middle|>", FIM_MIDDLE},
    {"<|middle|>", FIM_MIDDLE},
    {"<|fim_pad|>", FIM_PAD},
    {"<fim-pad>", FIM_PAD},
    {"<fim_pad>", FIM_PAD},
    {"<PAD>", FIM_PAD},
    {"[PAD]", FIM_PAD},
    {"<|fim_repo|>", FIM_REPO},
    {"<|repo_name|>", FIM_REPO},
    {"<fim-repo>", FIM_REPO},
    {"<REPO>", FIM_REPO},
    {"<reponame>", FIM_REPO},
    {"<|file_sep|>", FIM_FILE},
    {"<|channel|>", SHOWN},
    {"<|message|>", SHOWN},
    {"<|start|>", SHOWN},
    {"<|constrain|>", SHOWN},
};

/* A text that is no end in a vocabulary that has both the other texts too, and the token's type there. */
static const struct {
    const char *text, *with[2];
    vocab_type type;
} exceptions[] = {
    {"<|end|>", {"<|return|>", "<|call|>"}, VOCAB_USER_DEFINED}, // ends a message, not an answer
    {"<|end|>", {"<|return|>", "<|calls|>"}, VOCAB_USER_DEFINED},
    {"<|end|>", {"<|flush|>", "<|call|>"}, VOCAB_USER_DEFINED},
    {"<|end|>", {"<|flush|>", "<|calls|>"}, VOCAB_USER_DEFINED},
    {"</s>", {"<|tool_response>", "<|tool_response>"}, VOCAB_NORMAL}, // the HTML tag
};

static int32_t find(const vocab *v, const char *text) {
    return token_table_find(&v->tokens, text, strlen(text));
}

static void mark_eog(vocab *v, int32_t id) {
    if (id != VOCAB_NONE) v->types[id] |= VOCAB_EOG;
}

static bool is_integer(const gguf_kv *kv) {
    return kv->type <= GGUF_I32 || kv->type == GGUF_U64 || kv->type == GGUF_I64;
}

/* Reads a token id. *id comes in as the default, which is dropped where the vocabulary is too small for it.
 * The default also stands in for an id that is out of range: published files name a token behind the last
 * one, and llama.cpp takes the default there. */
static nut_status read_id(const vocab *v, const gguf *g, const char *key, int32_t *id, nut_error *err) {
    const gguf_kv *kv = key ? gguf_find(g, key) : NULL;
    uint32_t found;
    if (*id >= 0 && (uint32_t)*id >= v->tokens.n) *id = VOCAB_NONE;
    if (!kv) return NUT_OK;
    nut_status status = gguf_get_u32(g, key, 0, &found, err);
    if (status != NUT_OK) return is_integer(kv) ? NUT_OK : status;
    if (found < v->tokens.n) *id = (int32_t)found;
    return NUT_OK;
}

static nut_status read_named(vocab *v, const gguf *g, nut_error *err) {
    int32_t eot = VOCAB_NONE, eom = VOCAB_NONE;
    bool add_sep;
    TRY(read_id(v, g, "tokenizer.ggml.cls_token_id", &v->bos, err));
    TRY(read_id(v, g, "tokenizer.ggml.bos_token_id", &v->bos, err));
    TRY(read_id(v, g, "tokenizer.ggml.eos_token_id", &v->eos, err));
    TRY(read_id(v, g, "tokenizer.ggml.unknown_token_id", &v->unk, err));
    TRY(read_id(v, g, "tokenizer.ggml.eot_token_id", &eot, err));
    TRY(read_id(v, g, "tokenizer.ggml.eom_token_id", &eom, err));
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_bos_token", v->add_bos, &v->add_bos, err));
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_eos_token", v->add_eos, &v->add_eos, err));
    if (v->bos == VOCAB_NONE) v->add_bos = false;
    if (v->sep == VOCAB_NONE) v->sep = v->eos;
    TRY(read_id(v, g, "tokenizer.ggml.seperator_token_id", &v->sep, err)); // so spelt in all files
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_sep_token", false, &add_sep, err));
    v->add_eos = (v->add_eos || add_sep) && v->sep != VOCAB_NONE; // sep false: none more between two texts
    mark_eog(v, v->eos);
    mark_eog(v, eot);
    mark_eog(v, eom);
    return NUT_OK;
}

/* fim[role]: the token that the metadata names. Unlike a token that is found by its text, it keeps its type.
 */
static nut_status read_named_fim(vocab *v, const gguf *g, int32_t fim[N_FIM], nut_error *err) {
    for (int i = 0; i < N_FIM; i++) {
        fim[i] = VOCAB_NONE;
        TRY(read_id(v, g, fim_roles[i].key, &fim[i], err));
        TRY(read_id(v, g, fim_roles[i].old_key, &fim[i], err));
        if (fim_roles[i].ends) mark_eog(v, fim[i]);
    }
    return NUT_OK;
}

static void set_type(vocab *v, int32_t id, vocab_type type) {
    v->types[id] = (uint8_t)((v->types[id] & (uint8_t)~VOCAB_TYPE) | type);
}

static void find_known(vocab *v, int32_t fim[N_FIM]) {
    for (size_t i = 0; i < sizeof known_texts / sizeof *known_texts; i++) {
        const role is = known_texts[i].role;
        int32_t id = is < N_FIM && fim[is] != VOCAB_NONE ? VOCAB_NONE : find(v, known_texts[i].text);
        if (id == VOCAB_NONE) continue;
        set_type(v, id, is == SHOWN ? VOCAB_USER_DEFINED : VOCAB_CONTROL);
        if (is == EOG || (is < N_FIM && fim_roles[is].ends)) mark_eog(v, id);
        if (is < N_FIM) fim[is] = id;
    }
}

static void apply_exceptions(vocab *v) {
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++) {
        int32_t id = find(v, exceptions[i].text);
        bool both =
            find(v, exceptions[i].with[0]) != VOCAB_NONE && find(v, exceptions[i].with[1]) != VOCAB_NONE;
        if (id != VOCAB_NONE && both) v->types[id] = (uint8_t)exceptions[i].type;
    }
}

nut_status special_ids_read(vocab *v, const gguf *g, nut_error *err) {
    int32_t fim[N_FIM];
    TRY(read_named(v, g, err));
    TRY(read_named_fim(v, g, fim, err));
    find_known(v, fim);
    apply_exceptions(v);
    return NUT_OK;
}
