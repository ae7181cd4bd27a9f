/* What a caller or a model's name changes in a vocabulary: white space beside special tokens, another
 * pre-tokenizer; and unigram vocabularies whose parts do not fit. Vocabularies are made here. */
#include "make_gguf.h"
#include "tokens.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
enum { FIRST = 256 }; // id of the first token behind the bytes

/* A byte-pair vocabulary: all bytes, then two control tokens. */
static make_gguf byte_file(const char *pre) {
    make_gguf g = {.version = 3, .alignment = 32};
    make_str(&g, "tokenizer.ggml.model", "gpt2");
    make_str(&g, "tokenizer.ggml.pre", pre);
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, FIRST + 2);
    make_byte_characters(&g);
    make_text(&g.kv, "<mask>"), make_text(&g.kv, "<x>");
    make_array(&g, "tokenizer.ggml.token_type", MAKE_I32, FIRST + 2);
    for (int i = 0; i < FIRST + 2; i++) make_le(&g.kv, i < FIRST ? VOCAB_NORMAL : VOCAB_CONTROL, 4);
    make_array(&g, "tokenizer.ggml.merges", MAKE_STRING, 0);
    return g;
}

/* The outcome of reading g with a pre-tokenizer in place of its own; *f is to be closed. */
static nut_status open_with(vocab_file *f, make_gguf *g, const char *pre) {
    size_t n;
    uint8_t *file = make_file(g, &n);
    if (CHECK(vocab_read_header(f, file, n), "the header is complete"))
        f->status = vocab_new(&f->g, pre, &f->v, &f->err);
    free(file), make_free(g);
    return f->status;
}

/* <mask> of RoBERTa takes the white space on its left: lstrip of its AddedToken in transformers
 * (models/roberta/tokenization_roberta.py). What is on its right stays. */
static void test_marks(void) {
    static const struct {
        const char *text;
        int32_t ids[4];
        size_t n;
    } cases[] = {
        {"a \n <mask> b", {'a', FIRST, ' ', 'b'}, 4},
        {"\xe2\x80\x83<mask>\t<mask>", {FIRST, FIRST}, 2},
        {"\xa0<mask>", {0xa0, FIRST}, 2}, // a byte that is no character
        {" <x>", {' ', FIRST + 1}, 2},
    };
    make_gguf g = byte_file("roberta-bpe");
    vocab_file f;
    if (CHECK(open_with(&f, &g, NULL) == NUT_OK, "refused: %s", f.err.message))
        for (size_t i = 0; i < COUNT(cases); i++)
            tokens_check("marks", f.v, cases[i].text, strlen(cases[i].text), NUT_TOKENIZE_SPECIAL,
                         (tokens){(int32_t *)cases[i].ids, cases[i].n});
    vocab_close(&f);
}

/* A file that names an unknown pre-tokenizer can be read with a known one. */
static void test_other_pre(void) {
    static const struct {
        const char *pre;
        nut_status status;
    } list[] = {{NULL, NUT_E_UNSUPPORTED}, {"gpt-2", NUT_OK}, {"gpt-3", NUT_E_UNSUPPORTED}};
    for (size_t i = 0; i < COUNT(list); i++) {
        make_gguf g = byte_file("tekken7");
        vocab_file f;
        CHECK(open_with(&f, &g, list[i].pre) == list[i].status, "case %zu: %s", i, f.err.message);
        vocab_close(&f);
    }
}

/* ---- unigram ---- */

static make_gguf unigram_file(const uint8_t *charsmap, size_t n) {
    make_gguf g = {.version = 3, .alignment = 32};
    make_str(&g, "tokenizer.ggml.model", "t5");
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, 3);
    make_text(&g.kv, "</s>"), make_text(&g.kv, "a"), make_text(&g.kv, "<unk>");
    make_array(&g, "tokenizer.ggml.scores", MAKE_F32, 3);
    for (int i = 0; i < 3; i++) make_le(&g.kv, 0, 4);
    make_array(&g, "tokenizer.ggml.precompiled_charsmap", MAKE_U8, n);
    make_put(&g.kv, charsmap, n);
    return g;
}

/* Charsmaps whose parts do not fit are refused; one that leads out of its own array replaces nothing. */
static void test_charsmaps(void) {
    static const uint8_t no_rest[] = {8, 0, 0, 0, 1, 2, 3, 4}, odd[] = {3, 0, 0, 0, 1, 2, 3, 0},
                         open_end[] = {4, 0, 0, 0, 1, 2, 3, 4, 'x'}, small[] = {1, 0},
                         far[] = {4, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0};
    static const struct {
        const uint8_t *bytes;
        size_t n;
        nut_status status;
    } list[] = {{no_rest, sizeof no_rest, NUT_E_CORRUPT},
                {odd, sizeof odd, NUT_E_CORRUPT},
                {open_end, sizeof open_end, NUT_E_CORRUPT},
                {small, sizeof small, NUT_E_CORRUPT},
                {far, sizeof far, NUT_OK}};
    static const int32_t ids[] = {1, 2, 1};
    for (size_t i = 0; i < COUNT(list); i++) {
        make_gguf g = unigram_file(list[i].bytes, list[i].n);
        vocab_file f;
        CHECK(open_with(&f, &g, NULL) == list[i].status, "case %zu: %s", i, f.err.message);
        if (f.v) tokens_check("far", f.v, "abba", 4, 0, (tokens){(int32_t *)ids, 3});
        vocab_close(&f);
    }
}

int main(void) {
    test_marks();
    test_other_pre();
    test_charsmaps();
    return check_report();
}
