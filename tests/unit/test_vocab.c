/* Vocabularies made here: the rules of both tokenizers one by one, special tokens, ends of generation,
 * metadata that is wrong, buffers that are too small, allocations that fail. Expected ids follow from the
 * rules beside them, what is special by its text from llama.cpp (golden/special.h). */
#include "counting_alloc.h"
#include "hashes.h"
#include "make_gguf.h"
#include "tokens.h"
#include "../golden/special.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MARK         "\xe2\x96\x81" // U+2581, a space in SentencePiece's token texts

/* ---- making them ---- */

typedef struct entry {
    const char *text;
    int kind;
    float score;
} entry;

static void put_entries(make_gguf *g, const entry *list, size_t n) {
    make_array(g, "tokenizer.ggml.tokens", MAKE_STRING, n);
    for (size_t i = 0; i < n; i++) make_text(&g->kv, list[i].text);
    make_array(g, "tokenizer.ggml.scores", MAKE_F32, n);
    for (size_t i = 0; i < n; i++) make_le(&g->kv, half_f32_to_bits(list[i].score), 4);
    make_array(g, "tokenizer.ggml.token_type", MAKE_I32, n);
    for (size_t i = 0; i < n; i++) make_le(&g->kv, (uint32_t)list[i].kind, 4);
}

static void put_merges(make_gguf *g, const char *const *list, size_t n) {
    make_array(g, "tokenizer.ggml.merges", MAKE_STRING, n);
    for (size_t i = 0; i < n; i++) make_text(&g->kv, list[i]);
}

static make_gguf empty_file(const char *model) {
    make_gguf g = {.version = 3, .alignment = 32};
    make_str(&g, "tokenizer.ggml.model", model);
    return g;
}

static void open_made(vocab_file *f, make_gguf *g) {
    size_t n;
    uint8_t *file = make_file(g, &n);
    vocab_open_bytes(f, file, n);
    free(file);
    make_free(g);
}

static bool open_made_sound(vocab_file *f, make_gguf *g) {
    open_made(f, g);
    return CHECK(f->status == NUT_OK, "refused: %s", f->err.message);
}

/* ---- checking them ---- */

enum { MAX_EXPECTED = 8 };

typedef struct text_case {
    const char *text;
    unsigned flags;
    int32_t ids[MAX_EXPECTED]; // ended by -1
} text_case;

static void check_cases(const char *name, const vocab *v, const text_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        tokens expected = {(int32_t *)cases[i].ids, 0};
        while (expected.n < MAX_EXPECTED && expected.at[expected.n] >= 0) expected.n++;
        tokens_check(name, v, cases[i].text, strlen(cases[i].text), cases[i].flags, expected);
    }
}

static void check_text(const vocab *v, const int32_t *ids, size_t n, bool special, const char *expected) {
    tokens list = tokens_new(n);
    size_t length;
    memcpy(list.at, ids, n * sizeof *ids);
    char *text = tokens_text(v, list, special, &length);
    CHECK(length == strlen(expected) && !memcmp(text, expected, length), "%s becomes \"%s\", not \"%s\"",
          tokens_show(list), text, expected);
    free(text), free(list.at);
}

/* ---- SentencePiece ---- */

enum { SPECIAL = NUT_TOKENIZE_SPECIAL, BOS = NUT_TOKENIZE_ADD_BOS };

// clang-format off
static const entry spm_list[] = {
    {"<unk>", 2, 0},       {"<s>", 3, 0},   {"</s>", 3, 0},            {"<0xC3>", 6, 0},   // 0 .. 3
    {MARK, 1, -9},         {"a", 1, -9},    {"b", 1, -9},              {"ab", 1, -2},      // 4 .. 7
    {"ba", 1, -2},         {"aba", 1, -4},  {MARK "a", 1, -3},         {"[X]", 4, 0},      // 8 .. 11
    {MARK "ab", 1, -1},    {MARK MARK, 1, -5}, {"b" MARK "a", 1, -1},  {"b" MARK, 1, -0.5f}, // 12 .. 15
    {"gone", 5, 0},        {"<|end_of_text|>", 3, 0}, {"[", 1, -9},    {"", 3, 0},         // 16 .. 19
};
// clang-format on

static void test_spm(void) {
    static const text_case cases[] = {
        {"", 0, {-1}},
        {"", BOS, {1, -1}},
        {"ab", 0, {12, -1}}, // a space in front: "_a" -3, then "_ab" -1; "ab" -2 is merged first
        {"ab", BOS, {1, 12, -1}},
        {" ab", 0, {4, 12, -1}},                      // "__" is -5: "_ab" was merged before
        {"  c", 0, {13, 4, 0, -1}},                   // three spaces: the leftmost two are joined
        {"c", 0, {4, 0, -1}},                         // no token, no byte token: unknown
        {"\xc3\xa9", 0, {4, 0, -1}},                  // not all of its bytes have tokens
        {"\xc3", 0, {4, 3, -1}},                      // a byte that is no character
        {"<s>", 0, {4, 0, 0, 0, -1}},                 // control tokens are plain text
        {"<s>a</s>b", SPECIAL, {1, 10, 2, 4, 6, -1}}, // what follows a special token gets its space too
        {"[X]a[X]", 0, {11, 10, 11, -1}},             // user-defined tokens are always found
        {"[Xa", 0, {4, 18, 0, 5, -1}},
        {"b a", 0, {4, 14, -1}}, // a merge across the beginning of a word: "b_" -0.5 is first, then "b_a"
    };
    make_gguf g = empty_file("llama");
    vocab_file f;
    put_entries(&g, spm_list, COUNT(spm_list));
    if (open_made_sound(&f, &g)) {
        CHECK(vocab_bos(f.v) == 1 && vocab_eos(f.v) == 2 && vocab_add_bos(f.v), "the first Llama's ids");
        CHECK(vocab_is_eog(f.v, 2) && vocab_is_eog(f.v, 17) && !vocab_is_eog(f.v, 1), "ends of generation");
        check_cases("spm", f.v, cases, COUNT(cases));
        check_text(f.v, (int32_t[]){1, 12, 10, 2, 16, 11, 3}, 7, false, "ab a[X]\xc3");
        check_text(f.v, (int32_t[]){1, 12, 2, 16}, 4, true, "<s> ab</s>gone");
        check_text(f.v, (int32_t[]){13, 4}, 2, false, "  ");
        char c[4] = "...";
        CHECK(vocab_token_text(f.v, 12, false, c, 2) == 3 && !memcmp(c, " a.", 3),
              "streaming keeps the space and the cap");
    }
    vocab_close(&f);
}

static void test_spm_order(void) {
    static const text_case cases[] = {
        {"aba",
         0,
         {7, 5, -1}}, // "ab" and "ba" have the same score: the leftmost is merged first, then "aba"
        {"ababab", 0, {7, 7, 7, -1}},
        {"a b", 0, {5, 4, 6, -1}},
    };
    static const entry list[] = {{"<unk>", 2, 0}, {"<s>", 3, 0},   {"</s>", 3, 0},
                                 {"x", 1, 0},     {MARK, 1, -9},   {"a", 1, -9},
                                 {"b", 1, -9},    {"ab", 1, 0.5f}, {"ba", 1, 0.5f}};
    make_gguf g = empty_file("llama");
    vocab_file f;
    put_entries(&g, list, COUNT(list));
    make_bool(&g, "tokenizer.ggml.add_space_prefix", false);
    make_bool(&g, "tokenizer.ggml.add_bos_token", false);
    if (open_made_sound(&f, &g)) {
        CHECK(!vocab_add_bos(f.v), "the metadata wants no BOS");
        check_cases("spm without prefix", f.v, cases, COUNT(cases));
        check_text(f.v, (int32_t[]){4, 5}, 2, false, " a");
    }
    vocab_close(&f);
}

/* ---- byte-pair encoding ---- */

enum { FIRST = 256 }; // id of the first token behind the bytes

static make_gguf bpe_file(const entry *list, size_t n, const char *const *merges, size_t n_merges) {
    make_gguf g = empty_file("gpt2");
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, FIRST + n);
    make_byte_characters(&g);
    for (size_t i = 0; i < n; i++) make_text(&g.kv, list[i].text);
    make_array(&g, "tokenizer.ggml.token_type", MAKE_I32, FIRST + n);
    for (size_t i = 0; i < FIRST + n; i++) make_le(&g.kv, i < FIRST ? 1 : (uint32_t)list[i - FIRST].kind, 4);
    put_merges(&g, merges, n_merges);
    return g;
}

static const entry bpe_list[] = {{"ab", 1, 0},
                                 {"bc", 1, 0},
                                 {"abc", 1, 0},
                                 {"xyz", 1, 0},
                                 {MARK "q", 1, 0},
                                 {"\xc4\xa0"
                                  "a",
                                  1, 0}};
static const char *const bpe_merges[] = {"a b", "no merge",   "b c", "ab c", "a b",
                                         "x",   "\xc4\xa0 a", " ",   ""};

static void test_bpe(void) {
    static const text_case cases[] = {
        {"", SPECIAL | BOS, {-1}},           {"abc", 0, {FIRST + 2, -1}},     {"bc", 0, {FIRST + 1, -1}},
        {"abbc", 0, {FIRST, FIRST + 1, -1}}, {" ab", 0, {' ', FIRST, -1}},    // "a b" is older than "_ a"
        {" aa", 0, {FIRST + 5, 'a', -1}},    {"xyz", 0, {'x', 'y', 'z', -1}}, // no merges lead there
        {"\xff\x80", 0, {255, 128, -1}}, // bytes that are not UTF-8 do not change
    };
    make_gguf g = bpe_file(bpe_list, COUNT(bpe_list), bpe_merges, COUNT(bpe_merges));
    vocab_file f;
    make_str(&g, "tokenizer.ggml.pre", "gpt-2");
    if (open_made_sound(&f, &g)) {
        CHECK(vocab_bos(f.v) == -1 && vocab_eos(f.v) == -1 && !vocab_add_bos(f.v),
              "ids that the metadata does not name");
        check_cases("bpe", f.v, cases, COUNT(cases));
        check_text(f.v, (int32_t[]){FIRST + 5, 255, FIRST + 4, '\n'}, 4, false, " a\xff" MARK "q\n");
    }
    vocab_close(&f);
}

static void test_ignore_merges(void) {
    static const text_case whole[] = {
        {"xyz", 0, {FIRST + 3, -1}}, {"xyzz", 0, {'x', 'y', 'z', 'z', -1}}, {"abc", 0, {FIRST + 2, -1}}};
    static const text_case merged[] = {{"xyz", 0, {'x', 'y', 'z', -1}}};
    for (int ignore = 0; ignore < 3; ignore++) { // from the metadata: no, yes; from the pre-tokenizer's name
        make_gguf g = bpe_file(bpe_list, COUNT(bpe_list), bpe_merges, COUNT(bpe_merges));
        vocab_file f;
        make_str(&g, "tokenizer.ggml.pre", "llama-bpe");
        make_u32(&g, "tokenizer.ggml.bos_token_id", FIRST);
        if (ignore < 2) make_bool(&g, "tokenizer.ggml.ignore_merges", ignore == 1);
        if (open_made_sound(&f, &g)) {
            CHECK(vocab_add_bos(f.v), "llama-bpe wants BOS");
            if (ignore)
                check_cases("ignore_merges", f.v, whole, COUNT(whole));
            else
                check_cases("merges", f.v, merged, COUNT(merged));
        }
        vocab_close(&f);
    }
}

/* Words that are too long to be looked up whole. */
static void test_long_whole_words(void) {
    char text[3000];
    make_gguf g = bpe_file(bpe_list, COUNT(bpe_list), bpe_merges, COUNT(bpe_merges));
    vocab_file f;
    memset(text, 0xc3, sizeof text);
    make_str(&g, "tokenizer.ggml.pre", "llama-bpe");
    if (open_made_sound(&f, &g))
        for (size_t n = 250; n <= sizeof text; n += 11) tokens_round_trip("a long word", f.v, text, n, 0);
    vocab_close(&f);
}

/* A vocabulary without the tokens of some bytes leaves these bytes out, as llama.cpp does. */
static void test_missing_bytes(void) {
    static const entry list[] = {{"a", 1, 0}, {"b", 1, 0}, {"ab", 1, 0}};
    static const text_case cases[] = {{"ab", 0, {2, -1}}, {"c", 0, {-1}}, {"acb", 0, {2, -1}}};
    make_gguf g = empty_file("gpt2");
    vocab_file f;
    put_entries(&g, list, COUNT(list));
    put_merges(&g, (const char *const[]){"a b"}, 1);
    if (open_made_sound(&f, &g)) check_cases("missing bytes", f.v, cases, COUNT(cases));
    vocab_close(&f);
}

/* ---- special tokens ---- */

static void test_special(void) {
    static char too_long[301];
    memset(too_long, '#', 300);
    const entry list[] = {{"<a>", 3, 0},  {"<a>b", 3, 0},    {"<a>bcd", 3, 0}, {"<", 4, 0},
                          {"twin", 3, 0}, {"twin", 3, 0},    {"", 3, 0},       {too_long, 4, 0},
                          {"<?>", 2, 0},  {"\xff\xfe", 4, 0}};
    static const text_case cases[] = {
        {"<a>", SPECIAL, {FIRST, -1}},
        {"<a>b", SPECIAL, {FIRST + 1, -1}},
        {"<a>bc", SPECIAL, {FIRST + 1, 'c', -1}}, // the longest that is there
        {"<a>bcd<a>", SPECIAL, {FIRST + 2, FIRST, -1}},
        {"<<a><", SPECIAL, {FIRST + 3, FIRST, FIRST + 3, -1}},
        {"<a>", 0, {FIRST + 3, 'a', '>', -1}}, // user-defined ones are always found
        {"<?>", SPECIAL, {FIRST + 8, -1}},
        {"twin", SPECIAL, {FIRST + 4, -1}}, // the first of equal ones
        {"\xff\xfe\xff", 0, {FIRST + 9, 255, -1}},
    };
    make_gguf g = bpe_file(list, COUNT(list), (const char *const[]){"t w"}, 1);
    vocab_file f;
    g.n_kv--; // without merges, which would not match the tokens
    open_made(&f, &g);
    CHECK(f.status == NUT_E_CORRUPT, "no merges at all");
    vocab_close(&f);
    g = bpe_file(list, COUNT(list), NULL, 0);
    if (open_made_sound(&f, &g)) {
        check_cases("special", f.v, cases, COUNT(cases));
        tokens_round_trip("a special token too long to be looked for", f.v, too_long, 300, SPECIAL);
        check_text(f.v, (int32_t[]){FIRST, FIRST + 3, FIRST + 8, FIRST + 6}, 4, false, "<");
        check_text(f.v, (int32_t[]){FIRST, FIRST + 3, FIRST + 8, FIRST + 6}, 4, true, "<a><<?>");
    }
    vocab_close(&f);
}

/* Equal special tokens whose bytes end the header: nothing after them may be read. */
static void test_twins_at_the_end(void) {
    make_gguf g = empty_file("gpt2");
    vocab_file f;
    make_array(&g, "tokenizer.ggml.token_type", MAKE_I32, 3);
    for (int i = 0; i < 3; i++) make_le(&g.kv, 3, 4);
    put_merges(&g, NULL, 0);
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, 3);
    make_text(&g.kv, "twins");
    make_text(&g.kv, "twin");
    make_text(&g.kv, "twin");
    static const text_case cases[] = {{"twin?", SPECIAL, {1, -1}}, {"twinstwin", SPECIAL, {0, 1, -1}}};
    if (open_made_sound(&f, &g)) check_cases("twins", f.v, cases, COUNT(cases));
    vocab_close(&f);
}

/* Scores of both signs and both zeros; the best pair is merged first, and among equal ones the leftmost. */
static void test_scores(void) {
    static const entry list[] = {{"<unk>", 2, 0}, {"a", 1, -9},     {"b", 1, -9}, {"c", 1, -9},
                                 {"d", 1, -9},    {"ab", 1, 0.5f},  {"bc", 1, 2}, {"cd", 1, -1},
                                 {"da", 1, 0},    {"bd", 1, -0.0f}, {"ca", 1, -3}};
    static const text_case cases[] = {
        {"abc", 0, {1, 6, -1}}, // 2 before 0.5
        {"bcd", 0, {6, 4, -1}}, // 2 before -1
        {"cda", 0, {3, 8, -1}}, // 0 before -1
        {"dab", 0, {4, 5, -1}}, // 0.5 before 0
        {"cab", 0, {3, 5, -1}}, // 0.5 before -3
        {"bda", 0, {9, 1, -1}}, // -0 is 0: the leftmost
        {"cdbd", 0, {7, 9, -1}},
    };
    make_gguf g = empty_file("llama");
    vocab_file f;
    put_entries(&g, list, COUNT(list));
    make_bool(&g, "tokenizer.ggml.add_space_prefix", false);
    if (open_made_sound(&f, &g)) check_cases("scores", f.v, cases, COUNT(cases));
    vocab_close(&f);
}

static void test_ends(void) {
    static const entry list[] = {{"<|im_end|>", 3, 0}, {"<|eot_id|>", 4, 0}, {"<end_of_turn>", 1, 0},
                                 {"<|other|>", 3, 0},  {"eos", 3, 0},        {"eot", 3, 0},
                                 {"eom", 3, 0},        {"pad", 1, 0},        {"repo", 1, 0},
                                 {"file", 1, 0},       {"before", 1, 0}};
    static const bool ends[] = {true, true, true, false, true, true, true, true, true, true, false};
    make_gguf g = bpe_file(list, COUNT(list), NULL, 0);
    vocab_file f;
    make_u32(&g, "tokenizer.ggml.eos_token_id", FIRST + 4);
    make_u32(&g, "tokenizer.ggml.eot_token_id", FIRST + 5);
    make_u32(&g, "tokenizer.ggml.eom_token_id", FIRST + 6);
    make_u32(&g, "tokenizer.ggml.fim_pad_token_id", FIRST + 7);
    make_u32(&g, "tokenizer.ggml.fim_rep_token_id", FIRST + 8);
    make_u32(&g, "tokenizer.ggml.fim_sep_token_id", FIRST + 9);
    make_u32(&g, "tokenizer.ggml.prefix_token_id", FIRST + 10);
    if (open_made_sound(&f, &g)) {
        for (size_t i = 0; i < COUNT(list); i++)
            CHECK(vocab_is_eog(f.v, FIRST + (int32_t)i) == ends[i], "\"%s\" %s", list[i].text,
                  ends[i] ? "ends" : "does not end");
        for (int32_t b = 0; b < FIRST; b++) CHECK(!vocab_is_eog(f.v, b), "byte %d ends", (int)b);
        CHECK(vocab_type_of(f.v, FIRST + 7) == VOCAB_NORMAL && vocab_type_of(f.v, 0) == VOCAB_NORMAL,
              "a token that the metadata names keeps its type");
    }
    vocab_close(&f);
}

/* What golden/special.h says of a token, E: ends a generation, C: control, U: user-defined. */
static void check_said(const vocab *v, int32_t id, const char *text, const char *said) {
    const vocab_type type = vocab_type_of(v, id);
    CHECK(vocab_is_eog(v, id) == (strchr(said, 'E') != NULL), "\"%s\" %s", text,
          vocab_is_eog(v, id) ? "ends" : "does not end");
    CHECK((type == VOCAB_CONTROL) == (strchr(said, 'C') != NULL), "\"%s\" has type %d", text, (int)type);
    CHECK((type == VOCAB_USER_DEFINED) == (strchr(said, 'U') != NULL), "\"%s\" has type %d", text,
          (int)type);
}

/* A control token is found in a text where special tokens are parsed, and adds no text to an answer. */
static void check_control(const vocab *v, int32_t id, const char *text) {
    char between[80];
    const int n = snprintf(between, sizeof between, "a%sb", text);
    const text_case special = {between, SPECIAL, {'a', id, 'b', -1}};
    tokens plain = tokens_of(v, between, (size_t)n, 0);
    check_cases("known by its text", v, &special, 1);
    for (size_t i = 0; i < plain.n; i++) CHECK(plain.at[i] != id, "\"%s\" is found in plain text", text);
    free(plain.at);
    check_text(v, &id, 1, false, "");
    check_text(v, &id, 1, true, text);
}

/* Tokens that are special by their texts, whatever type the file gives them. */
static void test_known_texts(void) {
    for (size_t i = 0; i < COUNT(golden_special); i++) {
        const golden_special_case *c = &golden_special[i];
        entry list[COUNT(c->texts)];
        size_t n = 0;
        for (; n < COUNT(list) && c->texts[n]; n++) list[n] = (entry){c->texts[n], c->type, 0};
        make_gguf g = bpe_file(list, n, (const char *const[]){"a b"}, 0);
        vocab_file f;
        make_u32(&g, "tokenizer.ggml.eos_token_id", 0);
        if (open_made_sound(&f, &g)) {
            for (size_t k = 0; k < n; k++) {
                const int32_t id = FIRST + (int32_t)k;
                check_said(f.v, id, c->texts[k], c->said[k]);
                if (vocab_type_of(f.v, id) == VOCAB_CONTROL) check_control(f.v, id, c->texts[k]);
            }
        }
        vocab_close(&f);
    }
}

/* Of the texts with one role in filling in the middle, only one is special: the token that the metadata
 * names, else the first text of our table that is there (llama.cpp takes any one of them). */
static void test_fim_roles(void) {
    static const entry list[] = {{"<PRE>", 1, 0}, {"<|fim_prefix|>", 1, 0}, {"<MID>", 1, 0}, {"x", 1, 0}};
    for (int named = 0; named < 2; named++) {
        make_gguf g = bpe_file(list, COUNT(list), NULL, 0);
        vocab_file f;
        if (named) make_u32(&g, "tokenizer.ggml.fim_pre_token_id", FIRST + 3);
        if (open_made_sound(&f, &g)) {
            CHECK(vocab_type_of(f.v, FIRST) == VOCAB_NORMAL, "two prefix marks are special");
            CHECK((vocab_type_of(f.v, FIRST + 1) == VOCAB_CONTROL) == !named, "the prefix mark, %d", named);
            CHECK(vocab_type_of(f.v, FIRST + 2) == VOCAB_CONTROL, "the mark of another role");
        }
        vocab_close(&f);
    }
}

/* ---- buffers ---- */

static void test_buffers(void) {
    make_gguf g = bpe_file(bpe_list, COUNT(bpe_list), bpe_merges, COUNT(bpe_merges));
    vocab_file f;
    nut_error err = {0};
    int32_t ids[4] = {-7, -7, -7, -7};
    char text[4] = "...";
    size_t n = 99;
    if (open_made_sound(&f, &g)) {
        CHECK(vocab_tokenize(f.v, "abcx", 4, 0, ids, 1, &n, &err) == NUT_E_ARGUMENT && n == 2 &&
                  ids[0] == FIRST + 2 && ids[1] == -7,
              "%zu ids, the first %d, then %d: %s", n, (int)ids[0], (int)ids[1], err.message);
        CHECK(vocab_tokenize(f.v, NULL, 0, 0, NULL, 0, &n, NULL) == NUT_OK && n == 0, "nothing is %zu ids",
              n);
        CHECK(vocab_detokenize(f.v, ids, 1, false, text, 2, &n, &err) == NUT_E_ARGUMENT && n == 3 &&
                  !memcmp(text, "ab.", 3),
              "%zu bytes, \"%s\"", n, text);
        CHECK(vocab_detokenize(f.v, NULL, 0, false, NULL, 0, &n, NULL) == NUT_OK && n == 0,
              "no ids are %zu bytes", n);
        const int32_t bad[] = {-1, FIRST + (int32_t)COUNT(bpe_list), INT32_MAX, INT32_MIN};
        for (size_t i = 0; i < COUNT(bad); i++)
            CHECK(vocab_detokenize(f.v, &bad[i], 1, true, text, 3, &n, &err) == NUT_E_ARGUMENT,
                  "id %d is accepted", (int)bad[i]);
    }
    vocab_close(&f);
}

/* ---- metadata that is wrong ---- */

static make_gguf without_model(void) {
    return (make_gguf){.version = 3, .alignment = 32};
}
static make_gguf unknown_model(void) {
    make_gguf g = empty_file("plamo2");
    put_entries(&g, spm_list, COUNT(spm_list));
    return g;
}
static make_gguf model_no_text(void) {
    make_gguf g = {.version = 3, .alignment = 32};
    make_u32(&g, "tokenizer.ggml.model", 1);
    return g;
}
static make_gguf without_tokens(void) {
    return empty_file("llama");
}
static make_gguf empty_tokens(void) {
    make_gguf g = empty_file("llama");
    put_entries(&g, spm_list, 0);
    return g;
}
static make_gguf number_tokens(void) {
    make_gguf g = empty_file("gpt2");
    make_array(&g, "tokenizer.ggml.tokens", MAKE_U32, 2);
    make_le(&g.kv, 0, 8);
    return g;
}
static make_gguf scores(uint32_t type, uint64_t n, uint64_t n_tokens) {
    make_gguf g = empty_file("llama");
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, n_tokens);
    for (uint64_t i = 0; i < n_tokens; i++) make_text(&g.kv, "a");
    make_array(&g, "tokenizer.ggml.scores", type, n);
    for (uint64_t i = 0; i < n; i++) make_le(&g.kv, 0, 4);
    return g;
}
static make_gguf without_scores(void) {
    make_gguf g = empty_file("llama");
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, 1);
    make_text(&g.kv, "a");
    return g;
}
static make_gguf few_scores(void) {
    return scores(MAKE_F32, 2, 3);
}
static make_gguf whole_scores(void) {
    return scores(MAKE_I32, 3, 3);
}
static make_gguf with_u32(const char *key, uint32_t value) {
    make_gguf g = empty_file("llama");
    put_entries(&g, spm_list, COUNT(spm_list));
    make_u32(&g, key, value);
    return g;
}
static make_gguf text_eos(void) {
    make_gguf g = empty_file("llama");
    put_entries(&g, spm_list, COUNT(spm_list));
    make_str(&g, "tokenizer.ggml.eos_token_id", "2");
    return g;
}
static make_gguf number_flag(void) {
    return with_u32("tokenizer.ggml.add_bos_token", 1);
}
static make_gguf few_types(void) {
    make_gguf g = scores(MAKE_F32, 2, 2);
    make_array(&g, "tokenizer.ggml.token_type", MAKE_I32, 1);
    make_le(&g.kv, 1, 4);
    return g;
}
static make_gguf text_types(void) {
    make_gguf g = scores(MAKE_F32, 1, 1);
    make_array(&g, "tokenizer.ggml.token_type", MAKE_STRING, 1);
    make_text(&g.kv, "1");
    return g;
}
static make_gguf without_merges(void) {
    make_gguf g = empty_file("gpt2");
    put_entries(&g, spm_list, COUNT(spm_list));
    return g;
}
static make_gguf foreign_merges(void) {
    make_gguf g = without_merges();
    put_merges(&g, (const char *const[]){"\xc4\xa0 t", "q z"}, 2);
    return g;
}
static make_gguf number_merges(void) {
    make_gguf g = without_merges();
    make_array(&g, "tokenizer.ggml.merges", MAKE_U8, 1);
    make_le(&g.kv, 0, 1);
    return g;
}
static make_gguf unknown_pre(void) {
    make_gguf g = bpe_file(NULL, 0, NULL, 0);
    make_str(&g, "tokenizer.ggml.pre", "tekken7");
    return g;
}
static make_gguf number_pre(void) {
    make_gguf g = bpe_file(NULL, 0, NULL, 0);
    make_u32(&g, "tokenizer.ggml.pre", 3);
    return g;
}

static void test_refusals(void) {
    static const struct {
        make_gguf (*make)(void);
        nut_status status;
        const char *says;
    } list[] = {
        {without_model, NUT_E_CORRUPT, "no tokenizer"},
        {unknown_model, NUT_E_UNSUPPORTED, "\"plamo2\""},
        {model_no_text, NUT_E_CORRUPT, "tokenizer.ggml.model"},
        {without_tokens, NUT_E_CORRUPT, "no tokens"},
        {empty_tokens, NUT_E_CORRUPT, "no tokens"},
        {number_tokens, NUT_E_CORRUPT, "no tokens"},
        {without_scores, NUT_E_CORRUPT, "scores"},
        {few_scores, NUT_E_CORRUPT, "scores"},
        {whole_scores, NUT_E_CORRUPT, "scores"},
        {text_eos, NUT_E_CORRUPT, "tokenizer.ggml.eos_token_id"},
        {number_flag, NUT_E_CORRUPT, "tokenizer.ggml.add_bos_token"},
        {few_types, NUT_E_CORRUPT, "types"},
        {text_types, NUT_E_CORRUPT, "types"},
        {without_merges, NUT_E_CORRUPT, "no merges"},
        {foreign_merges, NUT_E_CORRUPT, "merges name none"},
        {number_merges, NUT_E_CORRUPT, "no merges"},
        {unknown_pre, NUT_E_UNSUPPORTED,
         "\"tekken7\" is not supported; name another in its place (--pre, preTokenizer), of which "
         "\"tekken\" is"},
        {number_pre, NUT_E_CORRUPT, "tokenizer.ggml.pre"},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        make_gguf g = list[i].make();
        vocab_file f;
        counting_start(0);
        open_made(&f, &g);
        CHECK(f.status == list[i].status && strstr(f.err.message, list[i].says),
              "case %zu: %s: \"%s\", not \"%s\"", i, nut_status_name(f.status), f.err.message, list[i].says);
        CHECK(!f.v, "case %zu: a vocabulary came out", i);
        if (strstr(f.err.message, "vocabulary"))
            CHECK(!strstr(f.err.message, "damaged") && !strstr(f.err.message, "download"),
                  "case %zu blames the download: %s", i, f.err.message);
        vocab_close(&f);
        CHECK(counting.alive == 0, "case %zu leaves %zu blocks", i, counting.alive);
        counting_stop();
    }
}

/* Ids behind the last token, as published files have them: the default of the tokenizer stands in, or none
 * where it has no default. As llama.cpp (src/llama-vocab.cpp: "bad special token ... using default id"). */
static void test_far_ids(void) {
    static const char *const keys[] = {"bos", "eos",     "unknown", "eot",
                                       "eom", "fim_pre", "fim_pad", "prefix"};
    static const uint32_t values[] = {COUNT(spm_list), 0x7fffffff, 0x80000000u, UINT32_MAX};
    char key[64];
    for (size_t i = 0; i < COUNT(values); i++) {
        make_gguf g = empty_file("llama");
        vocab_file f;
        put_entries(&g, spm_list, COUNT(spm_list));
        for (size_t k = 0; k < COUNT(keys); k++) {
            snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", keys[k]);
            make_u32(&g, key, values[i]);
        }
        if (open_made_sound(&f, &g)) {
            static const text_case cases[] = {{"c", BOS, {1, 4, 0, -1}}}; // bos 1, unknown 0
            CHECK(vocab_bos(f.v) == 1 && vocab_eos(f.v) == 2 && vocab_is_eog(f.v, 2), "%u: bos %d, eos %d",
                  (unsigned)values[i], (int)vocab_bos(f.v), (int)vocab_eos(f.v));
            check_cases("ids that are too large", f.v, cases, COUNT(cases));
        }
        vocab_close(&f);
    }
    for (int negative = 0; negative < 2; negative++) { // byte-pair encoding has no default
        make_gguf g = bpe_file(bpe_list, COUNT(bpe_list), bpe_merges, COUNT(bpe_merges));
        vocab_file f;
        make_key(&g, "tokenizer.ggml.bos_token_id", negative ? MAKE_I32 : MAKE_U32);
        make_le(&g.kv, negative ? (uint32_t)-1 : FIRST + (uint32_t)COUNT(bpe_list), 4);
        make_bool(&g, "tokenizer.ggml.add_bos_token", true);
        if (open_made_sound(&f, &g))
            CHECK(vocab_bos(f.v) == -1 && !vocab_add_bos(f.v), "bos %d", (int)vocab_bos(f.v));
        vocab_close(&f);
    }
}

/* Arrays longer than the tokens, as padded checkpoints give: the rest is not read. As llama.cpp. */
static void test_long_arrays(void) {
    make_gguf g = scores(MAKE_F32, 3, 2);
    vocab_file f;
    make_array(&g, "tokenizer.ggml.token_type", MAKE_I32, 4);
    for (int i = 0; i < 4; i++) make_le(&g.kv, VOCAB_CONTROL, 4);
    if (open_made_sound(&f, &g))
        CHECK(vocab_size(f.v) == 2 && vocab_type_of(f.v, 1) == VOCAB_CONTROL, "%u tokens", vocab_size(f.v));
    vocab_close(&f);
}

/* Without a name of the pre-tokenizer, and with an empty one, the default one is taken: as llama.cpp, whose
 * words are these (reports/cases.json of the data folder, R51: digits in threes, "'s" together). */
static void test_default_pretokenizer(void) {
    static const entry list[] = {{"12", 1, 0}, {"123", 1, 0}, {"34", 1, 0}};
    static const char *const merges[] = {"1 2", "12 3", "3 4"};
    static const text_case cases[] = {{"123456", 0, {FIRST + 1, '4', '5', '6', -1}},
                                      {"a 1234", 0, {'a', ' ', FIRST + 1, '4', -1}}};
    static const char *const names[] = {NULL, "", "default"};
    for (size_t i = 0; i < COUNT(names); i++) {
        make_gguf g = bpe_file(list, COUNT(list), merges, COUNT(merges));
        vocab_file f;
        if (names[i]) make_str(&g, "tokenizer.ggml.pre", names[i]);
        if (open_made_sound(&f, &g)) check_cases("default pre-tokenizer", f.v, cases, COUNT(cases));
        vocab_close(&f);
    }
}

/* ---- made to collide ---- */

/* 2048 token texts in 4096 slots: their own slots spread, or all in the first eight. */
static make_gguf crowded_texts(uint32_t slots) {
    enum { N = 2048 };
    make_gguf g = empty_file("gpt2");
    char text[16];
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, N);
    for (unsigned i = 0, n = 0; n < N; i++) {
        snprintf(text, sizeof text, "%x", i);
        if ((hash_of_text(text) & 4095) >= slots) continue;
        make_text(&g.kv, text);
        n++;
    }
    put_merges(&g, NULL, 0);
    return g;
}

/* 1280 merges of the tokens "00" .. "ff" with one another, in 2048 slots. */
static make_gguf crowded_merges(uint32_t slots) {
    enum { N = 1280, HALVES = 256 };
    static uint32_t pairs[N];
    make_gguf g = empty_file("gpt2");
    char text[8];
    size_t n = 0;
    for (uint32_t i = 0; i < HALVES * HALVES && n < N; i++)
        if ((hash_of_merge(i / HALVES, i % HALVES) & 2047) < slots) pairs[n++] = i;
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, HALVES + n);
    for (unsigned i = 0; i < HALVES; i++) snprintf(text, sizeof text, "%02x", i), make_text(&g.kv, text);
    for (size_t i = 0; i < n; i++) snprintf(text, sizeof text, "%04x", pairs[i]), make_text(&g.kv, text);
    make_array(&g, "tokenizer.ggml.merges", MAKE_STRING, n);
    for (size_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%02x %02x", pairs[i] / HALVES & 255u, pairs[i] % HALVES & 255u);
        make_text(&g.kv, text);
    }
    return g;
}

static void check_crowded(make_gguf g, bool refused, const char *what) {
    vocab_file f;
    open_made(&f, &g);
    if (refused)
        CHECK(f.status == NUT_E_CORRUPT && strstr(f.err.message, what), "%s: %s", what, f.err.message);
    else
        CHECK(f.status == NUT_OK, "%s, spread: %s", what, f.err.message);
    vocab_close(&f);
}

static void test_collisions(void) {
    check_crowded(crowded_texts(4096), false, "tokens were made to collide");
    check_crowded(crowded_texts(8), true, "tokens were made to collide");
    check_crowded(crowded_merges(2048), false, "merges were made to collide");
    check_crowded(crowded_merges(64), true, "merges were made to collide");
}

/* Odd but allowed: a score that is NaN is the worst, tokens of unknown types are never shown, and a
 * vocabulary too small for the first Llama's special ids has none. */
static void test_oddities(void) {
    static const entry list[] = {{MARK, 1, -1},
                                 {"a", 77, -1},
                                 {MARK "a", 1, NAN},
                                 {"aa", 0, -1},
                                 {"\xff"
                                  "a",
                                  1, -INFINITY}};
    static const text_case cases[] = {{"aa", 0, {0, 3, -1}},
                                      {"a", 0, {2, -1}},
                                      {"\xff"
                                       "a",
                                       0,
                                       {0, 4, -1}}};
    make_gguf g = empty_file("llama");
    vocab_file f;
    put_entries(&g, list, COUNT(list));
    if (open_made_sound(&f, &g)) {
        check_cases("oddities", f.v, cases, COUNT(cases));
        check_text(f.v, (int32_t[]){1, 3, 4}, 3, false,
                   "\xff"
                   "a");
    }
    vocab_close(&f);
    g = scores(MAKE_F32, 5000, 5000); // all the same: the first counts
    static const text_case twins[] = {
        {"a", 0, {0, 0, -1}}}; // no token for the space in front: unknown, 0 too
    if (open_made_sound(&f, &g)) check_cases("twins", f.v, twins, COUNT(twins));
    vocab_close(&f);
    g = empty_file("llama");
    put_entries(&g, list, 1);
    if (open_made_sound(&f, &g))
        CHECK(vocab_bos(f.v) == -1 && !vocab_add_bos(f.v) && vocab_eos(f.v) == -1, "ids beyond the end");
    vocab_close(&f);
}

/* ---- memory that fails ---- */

/* Makes the k-th allocation after the header fail, for each k, when a vocabulary is made and when it is
 * used. */
static void fail_each(const char *name, const uint8_t *file, size_t n) {
    static const char text[] = "abc [X] <s>abcabcabc abc";
    bool done = false;
    for (size_t k = 1; !done && k < 200; k++) {
        vocab_file f;
        size_t n_ids;
        counting_start(0);
        bool complete = vocab_read_header(&f, file, n);
        counting.fail_at = counting.n + k;
        vocab_finish(&f, complete);
        nut_status status = f.status;
        if (f.v) status = vocab_tokenize(f.v, text, strlen(text), SPECIAL, NULL, 0, &n_ids, &f.err);
        done = counting.n < counting.fail_at;
        nut_status expected =
            done ? NUT_E_ARGUMENT : NUT_E_MEMORY; // the first: no room was given for the ids
        CHECK(status == expected && f.err.code == expected, "%s: allocation %zu fails and the call says %s",
              name, k, nut_status_name(status));
        vocab_close(&f);
        CHECK(counting.alive == 0, "%s: %zu blocks are left when allocation %zu fails", name, counting.alive,
              k);
        counting_stop();
    }
    CHECK(done, "%s: more than 200 allocations", name);
}

static void test_memory_failures(void) {
    size_t n;
    make_gguf g = empty_file("llama");
    put_entries(&g, spm_list, COUNT(spm_list));
    uint8_t *file = make_file(&g, &n);
    fail_each("spm", file, n);
    free(file), make_free(&g);
    g = bpe_file(bpe_list, COUNT(bpe_list), bpe_merges, COUNT(bpe_merges));
    file = make_file(&g, &n);
    fail_each("bpe", file, n);
    free(file), make_free(&g);
}

int main(void) {
    test_spm();
    test_spm_order();
    test_bpe();
    test_ignore_merges();
    test_long_whole_words();
    test_missing_bytes();
    test_special();
    test_twins_at_the_end();
    test_scores();
    test_ends();
    test_known_texts();
    test_fim_roles();
    test_buffers();
    test_refusals();
    test_far_ids();
    test_long_arrays();
    test_default_pretokenizer();
    test_collisions();
    test_oddities();
    test_memory_failures();
    return check_report();
}
