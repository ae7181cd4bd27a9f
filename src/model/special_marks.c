/*
 * Which special tokens take the white space beside them. The models' own tokenizers say it of each token
 * (lstrip, rstrip); files do not, so what is known of published models stands here: as llama.cpp has it
 * (src/llama-vocab.cpp, llama_vocab::impl::load, November 2026), and <mask> of RoBERTa and XLM-R, in which
 * the original has it too.
 */
#include "model/tokenizer.h"

#include "base/error.h"

#include <string.h>

static const struct {
    const char *key, *part; // the value of this key contains this text, in letters of any case
    const char *token;      // NULL: all special tokens but those below
    uint8_t mark;
} marks[] = {
    {"tokenizer.ggml.pre", "jina-v2-", "<mask>", VOCAB_LEFT},
    {"tokenizer.ggml.pre", "roberta", "<mask>", VOCAB_LEFT},
    {"tokenizer.ggml.model", "t5", "<mask>", VOCAB_LEFT},
    {"general.architecture", "nomic-bert-moe", "<mask>", VOCAB_LEFT},
    {"general.architecture", "jina-bert-v3", "<mask>", VOCAB_LEFT},
    {"tokenizer.ggml.pre", "modern-bert", "[MASK]", VOCAB_LEFT},
    {"general.architecture", "modern-bert", "[MASK]", VOCAB_LEFT},
    {"general.name", "phi-3", NULL, VOCAB_RIGHT},
    {"general.name", "phi3", NULL, VOCAB_RIGHT},
};

static const char *const without_marks[] = {"<unk>", "<s>", "<|endoftext|>"};

static bool contains(gguf_str s, const char *part) {
    const size_t n = strlen(part);
    for (uint64_t at = 0; at + n <= s.n; at++) {
        size_t i = 0;
        for (; i < n; i++) {
            const char c = s.s[at + i];
            if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != part[i]) break;
        }
        if (i == n) return true;
    }
    return false;
}

static bool has_no_marks(token_text p) {
    for (size_t i = 0; i < sizeof without_marks / sizeof *without_marks; i++)
        if (p.n == strlen(without_marks[i]) && !memcmp(p.s, without_marks[i], p.n)) return true;
    return false;
}

static void mark_all(vocab *v, uint8_t mark) {
    for (uint32_t i = 0; i < v->tokens.n; i++) {
        const vocab_type type = vocab_type_of(v, (int32_t)i);
        const bool special = type == VOCAB_CONTROL || type == VOCAB_USER_DEFINED || type == VOCAB_UNKNOWN;
        if (special && !has_no_marks(v->tokens.texts[i])) v->types[i] |= mark;
    }
}

nut_status special_marks_read(vocab *v, const gguf *g, nut_error *err) {
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        gguf_str value;
        TRY(gguf_get_str(g, marks[i].key, "", &value, err));
        if (!contains(value, marks[i].part)) continue;
        if (!marks[i].token) {
            mark_all(v, marks[i].mark);
            continue;
        }
        const int32_t id = token_table_find(&v->tokens, marks[i].token, strlen(marks[i].token));
        if (id != VOCAB_NONE) v->types[id] |= marks[i].mark;
    }
    return NUT_OK;
}
