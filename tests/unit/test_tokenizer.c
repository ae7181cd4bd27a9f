/* Tokenizers on real vocabularies: ids compared with llama.cpp's (vocabulary files and golden JSON of the
 * data folder), round trips, long words. Made-up vocabularies are in test_vocab.c. */
#include "base/clock.h"
#include "base/rng.h"
#include "counting_alloc.h"
#include "json.h"
#include "model/nfc.h"
#include "tokens.h"
#include "../golden/tokenizer.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char smollm2[] =
    "models/SmolLM2-135M-Instruct-Q4_1.gguf"; // in the repository's folder, not in git

/* ---- llama.cpp's vocabulary tests ---- */

/* Of kinds that the data folder has none of; golden/vocab.py says which programs made the ids. */
static const char *const golden_vocabs[] = {"unigram-nfkc",  "unigram-bytes", "unigram-spaces",
                                            "unigram-plain", "gemma4",        "rwkv"};

static const char separator[] = "\n__ggml_vocab_test__\n";

/* The ids of one line; *at moves to the next. */
static tokens parse_line(char **at) {
    char *end = strchr(*at, '\n');
    size_t length = end ? (size_t)(end - *at) : strlen(*at);
    tokens out = tokens_new(length);
    char *p = *at, *stop = p + length;
    for (out.n = 0; p < stop; out.n++) {
        char *next;
        out.at[out.n] = (int32_t)strtol(p, &next, 10);
        if (next == p || next > stop) break;
        p = next;
    }
    *at = stop + (end != NULL);
    return out;
}

/* The first separator of n bytes, which may be any; NULL: none. */
static const char *find_separator(const char *text, size_t n) {
    const size_t length = strlen(separator);
    for (; n >= length; text++, n--)
        if (!memcmp(text, separator, length)) return text;
    return NULL;
}

static void run_cases(const char *name, const vocab *v, const char *in, size_t n_in, char *out) {
    size_t n_cases = 0;
    const char *const stop = in + n_in;
    for (const char *end; (end = find_separator(in, (size_t)(stop - in))) != NULL; n_cases++) {
        tokens expected = parse_line(&out);
        tokens_check(name, v, in, (size_t)(end - in), 0, expected);
        free(expected.at);
        in = end + strlen(separator);
    }
    CHECK(n_cases > 40 && *out == 0, "%s: %zu cases, and the expected ids end at \"%.20s\"", name, n_cases,
          out);
}

/* NAME.gguf, the texts NAME.inp, their ids NAME.out. */
static void test_vocab_at(const char *folder, const char *name) {
    char path[1100];
    size_t n_in = 0, n_out = 0;
    vocab_file f;
    snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
    if (!vocab_open_sound(&f, path)) return;
    snprintf(path, sizeof path, "%s/%s.inp", folder, name);
    char *in = data_read_path(path, &n_in);
    snprintf(path, sizeof path, "%s/%s.out", folder, name);
    char *out = data_read_path(path, &n_out);
    if (CHECK(in && out, "%s: the cases are missing", name)) run_cases(name, f.v, in, n_in, out);
    free(in), free(out);
    vocab_close(&f);
}

/* ---- other pre-tokenizers on GPT-2's vocabulary ---- */

/* Opens GPT-2's vocabulary with another name as its pre-tokenizer. */
static void open_with_pre(vocab_file *f, const uint8_t *bytes, size_t n, const char *pre) {
    static const char key[] = "tokenizer.ggml.pre";
    size_t at = 0, n_key = strlen(key), n_old = strlen("gpt-2"), n_pre = strlen(pre);
    while (at + n_key < n && memcmp(bytes + at, key, n_key) != 0) at++;
    size_t value = at + n_key + 4; // after the key and its type: a length of 8 bytes, then the text
    uint8_t *copy = malloc(n + n_pre);
    memcpy(copy, bytes, value);
    for (int i = 0; i < 8; i++) copy[value + (size_t)i] = (uint8_t)((uint64_t)n_pre >> (8 * i));
    memcpy(copy + value + 8, pre, n_pre);
    memcpy(copy + value + 8 + n_pre, bytes + value + 8 + n_old, n - value - 8 - n_old);
    vocab_open_bytes(f, copy, n - n_old + n_pre);
    free(copy);
}

static void test_pretokenizers(void) {
    static const char gpt2[] = "vocab/gpt-2.gguf";
    size_t n;
    uint8_t *bytes = (uint8_t *)data_read(gpt2, &n);
    if (!bytes) {
        CHECK_SKIP("%s is missing", data_path(gpt2));
        return;
    }
    for (size_t i = 0; i < COUNT(golden_pretok); i++) {
        const golden_pretok_case *g = &golden_pretok[i];
        vocab_file f;
        open_with_pre(&f, bytes, n, g->pre);
        if (CHECK(f.status == NUT_OK, "%s: %s", g->pre, f.err.message)) {
            for (size_t t = 0; t < COUNT(golden_texts); t++) {
                char line[2048], *at = line;
                snprintf(line, sizeof line, "%s\n", g->ids[t]);
                tokens expected = parse_line(&at);
                tokens_check(g->pre, f.v, golden_texts[t], strlen(golden_texts[t]), 0, expected);
                free(expected.at);
            }
        }
        vocab_close(&f);
    }
    free(bytes);
}

/* ---- special tokens that take the white space beside them ---- */

/* Ids of llama.cpp (node-llama-cpp 3.21.1, model.tokenize(text, true)) on phi-3.gguf. The last text has a
 * no-break space, which the model's own tokenizer takes too (tokenizers: char::is_whitespace); llama.cpp
 * takes that of ASCII alone. */
static void test_phi3_marks(void) {
    static const struct {
        const char *text;
        int32_t ids[16];
        size_t n;
    } cases[] = {
        {"<|user|>\n Hello <|end|>\n\n<|assistant|>", {32010, 15043, 29871, 32007, 32001}, 5},
        {"<s> a </s> b <unk> c<|endoftext|> d",
         {1, 29871, 263, 29871, 2, 289, 29871, 0, 29871, 274, 32000, 29871, 270},
         13},
        {" <|system|> \t\r\n x", {259, 32006, 921}, 3},
        {"<|end|>\u00a0y<|end|>   ", {32007, 343, 32007}, 3},
    };
    vocab_file f;
    if (!vocab_open_sound(&f, data_path("vocab/phi-3.gguf"))) return;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const tokens expected = {(int32_t *)cases[i].ids, cases[i].n};
        tokens_check("phi-3", f.v, cases[i].text, strlen(cases[i].text), NUT_TOKENIZE_SPECIAL, expected);
    }
    vocab_close(&f);
}

/* ---- golden JSON ---- */

static tokens json_tokens(const json *array) {
    tokens out = tokens_new(array ? array->n : 0);
    out.n = json_ints(array, out.at, out.n);
    return out;
}

static void check_golden(const char *name, const vocab *v, const json *text, const json *list,
                         unsigned flags) {
    tokens expected = json_tokens(list);
    if (CHECK(text && text->type == JSON_STRING && list, "%s: an entry without text or ids", name))
        tokens_check(name, v, text->text, text->n, flags, expected);
    free(expected.at);
}

/* The text of a continuation is that of its tokens one by one, special ones too. */
static void check_stream(const char *name, const vocab *v, const json *list, const json *expected) {
    tokens ids = json_tokens(list);
    size_t n = 0, cap = expected ? expected->n : 0;
    char *text = malloc(cap + 64);
    for (size_t i = 0; i < ids.n && n <= cap; i++)
        n += vocab_token_text(v, ids.at[i], true, text + n, cap + 64 - n);
    if (CHECK(expected && ids.n, "%s: a run without text or ids", name))
        CHECK(n == cap && !memcmp(text, expected->text, n), "%s: \"%.*s\", not \"%s\"", name, (int)n, text,
              expected->text);
    free(text), free(ids.at);
}

static const json *first_of(const json *array) {
    return array ? array->child : NULL;
}

static void test_smollm2(void) {
    static const char golden[] = "models/smollm2-golden.json";
    vocab_file f;
    if (!vocab_open_sound(&f, smollm2)) return;
    json_doc doc = json_read(golden);
    const json *cases = json_get(doc.root, "tokenize"), *runs = json_get(doc.root, "runs");
    if (!doc.root)
        CHECK_SKIP("%s: %s", golden, doc.error);
    else
        CHECK(cases && cases->n == 24 && runs && runs->n > 0, "%s has other members", golden);
    for (const json *t = first_of(cases); t; t = t->next) {
        check_golden("smollm2", f.v, json_get(t, "text"), json_get(t, "ids"), 0);
        check_golden("smollm2, special", f.v, json_get(t, "text"), json_get(t, "ids_parse_special"),
                     NUT_TOKENIZE_SPECIAL);
    }
    for (const json *r = first_of(runs); r; r = r->next) {
        check_golden("smollm2, prompt", f.v, json_get(r, "prompt"), json_get(r, "ids"),
                     NUT_TOKENIZE_ADD_BOS | NUT_TOKENIZE_SPECIAL);
        check_stream("smollm2", f.v, json_get(r, "greedy"), json_get(r, "text"));
    }
    json_free(&doc);
    vocab_close(&f);
}

static void test_stories260k(void) {
    static const char golden[] = "models/stories260K-golden.json";
    vocab_file f;
    if (!vocab_open_sound(&f, data_path("models/stories260K-f32.gguf"))) return;
    json_doc doc = json_read(golden);
    const json *cases = json_get(doc.root, "tokenize"), *runs = json_get(doc.root, "greedy");
    if (!doc.root)
        CHECK_SKIP("%s: %s", golden, doc.error);
    else
        CHECK(cases && cases->n == 4 && runs && runs->n > 0, "%s has other members", golden);
    for (const json *t = first_of(cases); t; t = t->next)
        check_golden("stories260K", f.v, json_get(t, "text"), json_get(t, "ids"), NUT_TOKENIZE_ADD_BOS);
    for (const json *r = first_of(runs); r; r = r->next)
        check_stream("stories260K", f.v, json_get(r, "ids"), json_get(r, "text"));
    json_free(&doc);
    vocab_close(&f);
}

/* ---- round trips and cost ---- */

/* A random code point as UTF-8: of all lengths, no surrogates, no U+2581 (SentencePiece's space). */
static size_t put_random_character(rng *r, char *to) {
    static const uint32_t ends[] = {0x80, 0x800, 0x10000, 0x110000};
    static const unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
    uint32_t c;
    do c = (uint32_t)(rng_u64(r) % ends[rng_u64(r) & 3]);
    while ((c >= 0xd800 && c < 0xe000) || c == 0x2581);
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 0; c >>= 6) to[i] = (char)(i ? 0x80 | (c & 63) : lead[n - 1] | c);
    return n;
}

static size_t random_text(rng *r, char *to, size_t n_characters, bool utf8) {
    static const char common[] = "  \n\t'eats<|im_end|>0123<s>.,";
    size_t n = 0;
    for (size_t i = 0; i < n_characters; i++) {
        if (rng_u64(r) & 1)
            to[n++] = common[rng_u64(r) % (sizeof common - 1)];
        else if (utf8)
            n += put_random_character(r, to + n);
        else
            to[n++] = (char)(rng_u64(r) & 255);
    }
    return n;
}

/* SentencePiece adds a space after special tokens, so only plain text round-trips there. Where the tokenizer
 * brings texts into normalization form C, so does the test before (nfc.h, tested by test_unicode.c). */
static void test_round_trips(const char *path, bool any_bytes, bool form_c) {
    vocab_file f;
    rng r;
    char text[NFC_GROWTH * 4 * 400];
    if (!vocab_open_sound(&f, path)) return;
    rng_seed(&r, 3);
    for (size_t i = 0; i < 600; i++) {
        size_t n = random_text(&r, text, rng_u64(&r) % 400, !any_bytes || (i & 1));
        if (form_c) {
            char *form = malloc(NFC_GROWTH * n);
            tokens given = tokens_of(f.v, text, n, 0);
            n = nfc_write(text, n, form);
            memcpy(text, form, n);
            tokens_check(path, f.v, text, n, 0, given);
            free(form), free(given.at);
        }
        tokens_round_trip(path, f.v, text, n, any_bytes && (i & 2) ? NUT_TOKENIZE_SPECIAL : 0);
    }
    vocab_close(&f);
}

/* One word of a million bytes. In quadratic time this would take hours. */
static void test_long_words(const char *path) {
    static const char *const units[] = {"a", " ", "1", "\xe6\x97\xa5", "<"};
    const size_t n_most = 1000000;
    const double most_seconds = 60;
    vocab_file f;
    if (!vocab_open_sound(&f, path)) return;
    char *text = malloc(n_most);
    for (size_t u = 0; u < COUNT(units); u++) {
        size_t n_unit = strlen(units[u]), n = n_most / n_unit * n_unit;
        for (size_t i = 0; i < n; i++) text[i] = units[u][i % n_unit];
        double begin = clock_seconds();
        tokens_round_trip(path, f.v, text, n, NUT_TOKENIZE_SPECIAL);
        double seconds = clock_seconds() - begin;
        CHECK(seconds < most_seconds, "%s: a million bytes of \"%s\" took %.0f s", path, units[u], seconds);
    }
    free(text);
    vocab_close(&f);
}

/* Tokenizing a long text takes memory for its longest word, detokenizing takes none. */
static void test_memory(const char *path) {
    static const char book[] = "text/wiki.test.raw";
    vocab_file f;
    size_t n;
    char *text = data_read(book, &n);
    if (!text) CHECK_SKIP("%s is missing", data_path(book));
    if (text && vocab_open_sound(&f, path)) {
        tokens list = tokens_new(n);
        nut_error err;
        counting_start(0);
        nut_status status = vocab_tokenize(f.v, text, n, NUT_TOKENIZE_SPECIAL, list.at, n, &list.n, &err);
        CHECK(status == NUT_OK && counting.peak < 64 << 10 && counting.alive == 0,
              "%s: %s, %zu bytes at most, %zu blocks left", path, nut_status_name(status), counting.peak,
              counting.alive);
        counting_start(0);
        size_t n_back;
        status = vocab_detokenize(f.v, list.at, list.n, true, text, n, &n_back, &err);
        CHECK(status == NUT_OK && n_back == n && counting.n == 0,
              "%s: back: %s, %zu bytes of %zu, %zu allocations", path, nut_status_name(status), n_back, n,
              counting.n);
        counting_stop();
        free(list.at);
        vocab_close(&f);
    }
    free(text);
}

int main(void) {
    static const char *const files[] = {"gpt-2", "llama-bpe", "qwen2", "llama-spm", "phi-3"};
    char path[1100];
    for (size_t i = 0; i < COUNT(files); i++) {
        test_vocab_at(data_path("vocab"), files[i]);
        snprintf(path, sizeof path, "%s/%s.gguf", data_path("vocab"), files[i]);
        test_round_trips(path, i < 3, i == 2); // the first three hold all bytes; qwen2 wants form C
        if (i == 0 || i == 3) test_long_words(path);
        test_memory(path);
    }
    test_vocab_at(data_path("vocab"), "deepseek-coder");
    test_vocab_at(data_path("vocab"), "falcon");
    test_vocab_at(data_path("vocab"), "bert-bge");
    for (size_t i = 0; i < COUNT(golden_vocabs); i++) test_vocab_at("tests/golden/vocab", golden_vocabs[i]);
    test_round_trips("tests/golden/vocab/gemma4.gguf", true, false);
    test_round_trips("tests/golden/vocab/rwkv.gguf", true, false);
    test_round_trips("tests/golden/vocab/unigram-bytes.gguf", false, false);
    test_long_words("tests/golden/vocab/unigram-bytes.gguf");
    test_long_words("tests/golden/vocab/gemma4.gguf");
    test_long_words("tests/golden/vocab/rwkv.gguf");
    test_phi3_marks();
    test_pretokenizers();
    test_smollm2();
    test_stories260k();
    test_long_words(smollm2);
    return check_report();
}
