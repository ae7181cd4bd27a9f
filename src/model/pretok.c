/* The stages and the table. Regular expressions as llama.cpp (src/llama-vocab.cpp) lists them for these
 * models. A byte that is no UTF-8 counts as a character that is neither letter, number nor space. */
#include "model/pretok.h"
#include "model/unicode.h"

#include <string.h>

/* ---- reading a text character by character ---- */

enum { // sets of classes; the end of the text is in none
    UPPER = 1 << UNICODE_UPPER,
    LOWER = 1 << UNICODE_LOWER,
    UNCASED = 1 << UNICODE_LETTER, // \p{Lm}, \p{Lo}
    LETTERS = UPPER | LOWER | UNCASED,
    NUMBERS = 1 << UNICODE_NUMBER,
    SPACES = 1 << UNICODE_SPACE,
    MARKS = 1 << UNICODE_MARK | 1 << UNICODE_MARK_SPACING,
    PUNCTUATION = 1 << UNICODE_PUNCTUATION,
    SYMBOLS = 1 << UNICODE_SYMBOL,
    OTHERS = 1 << UNICODE_OTHER | PUNCTUATION | SYMBOLS | MARKS, // [^\s\p{L}\p{N}]
};

typedef struct reader {
    const char *s;
    size_t n, at;
    size_t length; // of the character at `at`; 0 at the end
    uint32_t c;
    unsigned set; // of its class; 0 at the end
} reader;

static void read_class(reader *r) {
    r->length = 0, r->c = 0, r->set = 0;
    if (r->at == r->n) return;
    r->c = unicode_at(r->s + r->at, r->n - r->at, &r->length);
    r->set = 1u << unicode_class_of(r->c);
}

static reader read_from(const char *text, size_t n) {
    reader r = {.s = text, .n = n};
    read_class(&r);
    return r;
}

static void next(reader *r) {
    r->at += r->length;
    read_class(r);
}

static void skip(reader *r, unsigned set) {
    while (r->set & set) next(r);
}

static bool at_line_end(const reader *r) {
    return r->length && (r->c == '\r' || r->c == '\n');
}

/* 's|'t|'re|'ve|'m|'ll|'d in lower case, or in any case; its length, or 0 */
static size_t contraction(const char *text, size_t n, bool any_case) {
    static const char *const ends[] = {"s", "t", "m", "d", "re", "ve", "ll"};
    if (text[0] != '\'') return 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t length = strlen(ends[i]), same = 0;
        if (n < 1 + length) return 0; // they get longer
        for (; same < length; same++) {
            char c = text[1 + same];
            if (any_case && c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
            if (c != ends[i][same]) break;
        }
        if (same == length) return 1 + length;
    }
    return 0;
}

/* \s+(?!\S)|\s+ : all spaces, without the last one where a word follows. */
static size_t split_spaces(reader r) {
    size_t last = 0;
    while (r.set & SPACES) {
        last = r.at;
        next(&r);
    }
    return r.at < r.n && last > 0 ? last : r.at;
}

/* ---- words ---- */

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t stage_gpt2(const char *text, size_t n) {
    static const unsigned runs[] = {LETTERS, NUMBERS, OTHERS};
    size_t length = contraction(text, n, false);
    if (length) return length;
    reader begin = read_from(text, n), r = begin;
    if (r.c == ' ') next(&r);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        if (!(r.set & runs[i])) continue;
        skip(&r, runs[i]);
        return r.at;
    }
    return split_spaces(begin);
}

/* \s*[\r\n]+ : spaces up to the last line end among them; 0 where there is none. */
static size_t split_lines(reader r) {
    size_t end = 0;
    while (r.set & SPACES) {
        bool line_end = at_line_end(&r);
        next(&r);
        if (line_end) end = r.at;
    }
    return end;
}

/* What differs between the expressions that follow Llama 3's and GPT-4o's (o200k):
 * CONTRACTIONS|[^\r\n\p{L}\p{N}]?WORD|\p{N}{1,DIGITS}| ?OTHERS+[TAIL]*|\s*[\r\n]+|\s+(?!\S)|\s+
 * WORD is LETTERS+, or where it is cased [UPPER]*[LOWER]+|[UPPER]+[LOWER]*, with a contraction behind. */
typedef struct rules {
    unsigned letters, others;
    unsigned digits;
    const char *tail;
    bool contractions; // 's|'t|'re|'ve|'m|'ll|'d in any case: first, or where it is cased behind words
    bool cased;
} rules;

enum { NOT_LOWER = UPPER | UNCASED | MARKS, NOT_UPPER = LOWER | UNCASED | MARKS };

/* [NOT_LOWER]*[NOT_UPPER]+|[NOT_LOWER]+[NOT_UPPER]*; bytes up to its end, or 0. Where no lower case follows,
 * the first alternative gives back what is upper case alone. */
static size_t cased_word(reader r, const rules *k, bool *found) {
    size_t shared = 0;
    const size_t begin = r.at;
    while (r.set & NOT_LOWER) {
        const bool both = (r.set & NOT_UPPER) != 0;
        next(&r);
        if (both) shared = r.at;
    }
    size_t end = r.set & NOT_UPPER ? 0 : shared ? shared : r.at;
    if (!end) {
        skip(&r, NOT_UPPER);
        end = r.at;
    }
    *found = end > begin;
    if (*found && k->contractions && end < r.n) end += contraction(r.s + end, r.n - end, true);
    return *found ? end : 0;
}

static size_t plain_word(reader r, const rules *k, bool *found) {
    const size_t begin = r.at;
    skip(&r, k->letters);
    *found = r.at > begin;
    return *found ? r.at : 0;
}

/* [^\r\n\p{L}\p{N}]?WORD */
static size_t split_word(reader begin, const rules *k) {
    size_t (*const word)(reader, const rules *, bool *) = k->cased ? cased_word : plain_word;
    reader r = begin;
    bool found = false;
    size_t end = 0;
    if (!(r.set & (LETTERS | NUMBERS)) && !at_line_end(&r)) {
        next(&r);
        end = word(r, k, &found);
    }
    return found ? end : word(begin, k, &found);
}

static size_t split_others(reader r, const rules *k) {
    if (r.c == ' ') next(&r);
    if (!(r.set & k->others)) return 0;
    skip(&r, k->others);
    while (r.length && r.c && r.c < 128 && strchr(k->tail, (int)r.c)) next(&r);
    return r.at;
}

static size_t split_rules(const char *text, size_t n, const rules *k) {
    size_t length = k->contractions && !k->cased ? contraction(text, n, true) : 0;
    if (length) return length;
    reader begin = read_from(text, n), r = begin;
    length = split_word(begin, k);
    if (length) return length;
    for (unsigned i = 0; i < k->digits && (r.set & NUMBERS); i++) next(&r);
    if (r.at) return r.at;
    length = split_others(begin, k);
    if (!length) length = split_lines(begin);
    if (!length) length = split_spaces(begin);
    return length ? length : begin.length; // matched by nothing
}

#define RULES(name, ...)                                                                                    \
    static size_t stage_##name(const char *text, size_t n) {                                                \
        static const rules k = {__VA_ARGS__};                                                               \
        return split_rules(text, n, &k);                                                                    \
    }
// clang-format off
RULES(llama3,     LETTERS,         OTHERS,          3, "\r\n",  .contractions = true)
RULES(qwen2,      LETTERS,         OTHERS,          1, "\r\n",  .contractions = true)
RULES(qwen35,     LETTERS | MARKS, OTHERS & ~MARKS, 1, "\r\n",  .contractions = true)
RULES(seed_coder, LETTERS,         OTHERS,          1, "",      .contractions = true)
RULES(tekken,     LETTERS,         OTHERS,          1, "\r\n/", .cased = true)
RULES(gpt_4o,     LETTERS,         OTHERS,          3, "\r\n/", .contractions = true, .cased = true)
// clang-format on

/* ---- stages that isolate each match of an expression; the text between matches stays whole ---- */

/* Bytes of a match that begins at r, or 0. */
typedef size_t match_fn(reader r);

static size_t isolate(const char *text, size_t n, match_fn *match) {
    for (reader r = read_from(text, n); r.at < n; next(&r)) {
        size_t length = match(r);
        if (length) return r.at ? r.at : length;
    }
    return n;
}

static size_t match_number(reader r) {
    return r.set & NUMBERS ? r.length : 0;
}
static size_t match_numbers(reader r) {
    size_t begin = r.at;
    skip(&r, NUMBERS);
    return r.at - begin;
}
static size_t match_marks(reader r) {
    size_t begin = r.at;
    while (r.set & PUNCTUATION || (r.c && r.c < 128 && strchr("$+<=>^~|", (int)r.c))) next(&r);
    return r.at - begin;
}
static size_t match_three_digits(reader r) {
    size_t begin = r.at;
    for (int i = 0; i < 3; i++, next(&r))
        if (r.c < '0' || r.c > '9') return 0;
    return r.at - begin;
}

static size_t stage_number(const char *text, size_t n) { // \p{N}
    return isolate(text, n, match_number);
}
static size_t stage_numbers(const char *text, size_t n) { // \p{N}+
    return isolate(text, n, match_numbers);
}
static size_t stage_marks(const char *text, size_t n) { // [\p{P}\$\+<=>\^~\|]+
    return isolate(text, n, match_marks);
}
static size_t stage_three_digits(const char *text, size_t n) { // [0-9][0-9][0-9]
    return isolate(text, n, match_three_digits);
}

/* One character of a set, or two with one of another before it, and so on: bytes of \s?[SET]+ at r, or 0. */
static size_t match_run(reader r, bool space, unsigned set) {
    const size_t begin = r.at;
    if (space && r.set & SPACES) next(&r);
    const size_t from = r.at;
    skip(&r, set);
    return r.at > from ? r.at - begin : 0;
}
static size_t match_line_end(reader r) {
    return at_line_end(&r) ? r.length : 0;
}
static size_t match_letters(reader r) {
    return match_run(r, true, LETTERS);
}
static size_t match_punctuation(reader r) {
    return match_run(r, true, PUNCTUATION);
}
static size_t match_asian(reader r) {
    const size_t begin = r.at;
    while ((r.c >= 0x800 && r.c <= 0x9fa5) || (r.c >= 0xac00 && r.c <= 0xd7ff)) next(&r);
    return r.at - begin;
}
static size_t match_han_kana(reader r) {
    const size_t begin = r.at;
    while ((r.c >= 0x4e00 && r.c <= 0x9fa5) || (r.c >= 0x3040 && r.c <= 0x30ff)) next(&r);
    return r.at - begin;
}
static size_t match_up_to_three(reader r) {
    const size_t begin = r.at;
    for (int i = 0; i < 3 && r.set & NUMBERS; i++) next(&r);
    return r.at - begin;
}
static size_t match_marks_falcon(reader r) {
    const size_t begin = r.at;
    while (r.set & PUNCTUATION || (r.c && r.c < 128 && strchr("$+<=>^~|`", (int)r.c))) next(&r);
    return r.at - begin;
}

static bool is_bloom(const reader *r) {
    static const uint32_t not[] = {'(',    '|',    '.',    ',',    '!',   '?',   ')',
                                   0x2026, 0x3002, 0xff0c, 0x3001, 0x964, 0x6d4, 0x60c};
    for (size_t i = 0; i < sizeof not/ sizeof *not; i++)
        if (r->c == not[i]) return false;
    return r->length && !(r->set & SPACES);
}
static size_t match_bloom(reader r) {
    const size_t begin = r.at;
    if (r.c == ' ') next(&r);
    const size_t from = r.at;
    while (is_bloom(&r)) next(&r);
    return r.at > from ? r.at - begin : 0;
}

static bool is_ascii_letter(const reader *r) {
    return (r->c >= 'a' && r->c <= 'z') || (r->c >= 'A' && r->c <= 'Z');
}
/* [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|
 * \s+(?!\S)|\s+ */
static size_t match_deepseek(reader begin) {
    reader r = begin;
    if (r.c < 128 && r.set & (PUNCTUATION | SYMBOLS)) {
        next(&r);
        const size_t from = r.at;
        while (is_ascii_letter(&r)) next(&r);
        if (r.at > from) return r.at - begin.at;
        r = begin;
    }
    if (!(r.set & (LETTERS | PUNCTUATION | SYMBOLS)) && r.length && !at_line_end(&r)) next(&r);
    if (!(r.set & (LETTERS | MARKS))) r = begin;
    if (r.set & (LETTERS | MARKS)) {
        skip(&r, LETTERS | MARKS);
        return r.at - begin.at;
    }
    r = begin;
    if (r.c == ' ') next(&r);
    if (r.set & (PUNCTUATION | SYMBOLS)) {
        skip(&r, PUNCTUATION | SYMBOLS);
        while (at_line_end(&r)) next(&r);
        return r.at - begin.at;
    }
    if (!(begin.set & SPACES)) return 0;
    reader rest = read_from(begin.s + begin.at, begin.n - begin.at);
    const size_t lines = split_lines(rest);
    return lines ? lines : split_spaces(rest);
}

#define ISOLATE(name)                                                                                       \
    static size_t stage_##name(const char *text, size_t n) {                                                \
        return isolate(text, n, match_##name);                                                              \
    }
ISOLATE(line_end)     // [\r\n]
ISOLATE(letters)      // \s?\p{L}+
ISOLATE(punctuation)  // \s?\p{P}+
ISOLATE(asian)        // [\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+
ISOLATE(han_kana)     // [\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+
ISOLATE(up_to_three)  // \p{N}{1,3}
ISOLATE(marks_falcon) // [\p{P}\$\+<=>\^~\|`]+
ISOLATE(bloom)        //  ?[^(\s|.,!?...)]+
ISOLATE(deepseek)

/* ---- the table ---- */

static const pretok pretoks[] = {
    {"default", .stages = {stage_marks, stage_gpt2, stage_numbers, stage_three_digits}},
    {"gpt-2", .stages = {stage_gpt2}},
    {"phi-2", .stages = {stage_gpt2}},
    {"jina-es", .stages = {stage_gpt2}},
    {"jina-de", .stages = {stage_gpt2}},
    {"gigachat", .stages = {stage_gpt2}},
    {"jina-v2-es", .stages = {stage_gpt2}},
    {"jina-v2-de", .stages = {stage_gpt2}},
    {"a.x-4.0", .stages = {stage_gpt2}},
    {"mellum", .stages = {stage_gpt2}},
    {"modern-bert", .nfc = true, .stages = {stage_gpt2}},
    {"mpt", .nfc = true, .stages = {stage_gpt2}},
    {"olmo", .nfc = true, .stages = {stage_gpt2}},
    {"jais", .stages = {stage_gpt2}},
    {"trillion", .stages = {stage_gpt2}},
    {"granite-docling", .stages = {stage_gpt2}},
    {"exaone4", .stages = {stage_gpt2}},
    {"roberta-bpe", .add_eos = true, .stages = {stage_gpt2}},
    {"jina-v1-en", .add_eos = true, .stages = {stage_gpt2}},
    {"jina-v2-code", .add_eos = true, .stages = {stage_gpt2}},
    {"starcoder", .stages = {stage_number, stage_gpt2}},
    {"refact", .stages = {stage_number, stage_gpt2}},
    {"command-r", .nfc = true, .stages = {stage_number, stage_gpt2}},
    {"smollm", .stages = {stage_number, stage_gpt2}},
    {"codeshell", .stages = {stage_number, stage_gpt2}},
    {"exaone", .stages = {stage_number, stage_gpt2}},
    {"minerva-7b", .stages = {stage_number, stage_gpt2}},
    {"mellum2", .stages = {stage_number, stage_gpt2}},
    {"llama-bpe", .ignore_merges = true, .add_bos = true, .stages = {stage_llama3}},
    {"llama3", .ignore_merges = true, .add_bos = true, .stages = {stage_llama3}},
    {"llama-v3", .ignore_merges = true, .add_bos = true, .stages = {stage_llama3}},
    {"falcon3", .ignore_merges = true, .add_bos = true, .stages = {stage_llama3}},
    {"falcon-h1", .ignore_merges = true, .add_bos = true, .stages = {stage_llama3}},
    {"pixtral", .ignore_merges = true, .add_bos = true, .stages = {stage_llama3}},
    {"midm-2.0", .ignore_merges = true, .add_bos = true, .stages = {stage_llama3}},
    {"lfm2", .ignore_merges = true, .add_bos = true, .stages = {stage_llama3}},
    {"jina-v5-nano", .ignore_merges = true, .add_bos = true, .stages = {stage_llama3}},
    {"smaug-bpe", .stages = {stage_llama3}},
    {"dbrx", .stages = {stage_llama3}},
    {"glm4", .stages = {stage_llama3}},
    {"chatglm-bpe", .stages = {stage_llama3}},
    {"qwen2", .nfc = true, .stages = {stage_qwen2}},
    {"deepseek-r1-qwen", .nfc = true, .stages = {stage_qwen2}},
    {"kormo", .stages = {stage_qwen2}},
    {"f2llmv2", .nfc = true, .stages = {stage_qwen2}},
    {"megrez", .stages = {stage_qwen2}},
    {"stablelm2", .stages = {stage_qwen2}},
    {"hunyuan", .stages = {stage_qwen2}},
    {"solar-open", .stages = {stage_qwen2}},
    {"grok-2", .stages = {stage_qwen2}},
    {"qwen35", .nfc = true, .stages = {stage_qwen35}},
    {"seed-coder", .stages = {stage_seed_coder}},
    {"tekken", .ignore_merges = true, .add_bos = true, .stages = {stage_tekken}},
    {"gpt-4o", .stages = {stage_gpt_4o}},
    {"llama4", .stages = {stage_gpt_4o}},
    {"kanana2", .stages = {stage_gpt_4o}},
    {"minimax-m2", .stages = {stage_gpt_4o}},
    {"deepseek-coder",
     .stages = {stage_line_end, stage_letters, stage_punctuation, stage_asian, stage_number}},
    {"deepseek-v3", .stages = {stage_up_to_three, stage_han_kana, stage_deepseek}},
    {"hunyuan-dense", .stages = {stage_up_to_three, stage_han_kana, stage_deepseek}},
    {"joyai-llm", .stages = {stage_up_to_three, stage_han_kana, stage_deepseek}},
    {"falcon", .stages = {stage_marks_falcon, stage_gpt2, stage_three_digits}},
    {"bloom", .stages = {stage_bloom}},
    {"poro-chat", .stages = {stage_bloom}},
    {"gpt3-finnish", .stages = {stage_bloom}},
    {"viking", .stages = {stage_bloom, stage_number}},
};

enum { N_PRETOKS = sizeof pretoks / sizeof *pretoks };

/* Letters to put in, take out or change (Levenshtein 1966); names are cut at MAX_NAME bytes. */
static size_t distance(gguf_str a, const char *b) {
    enum { MAX_NAME = 40 };
    size_t row[MAX_NAME + 1];
    const size_t n_a = a.n < MAX_NAME ? (size_t)a.n : MAX_NAME, n_b = strlen(b);
    for (size_t i = 0; i <= n_a; i++) row[i] = i;
    for (size_t k = 0; k < n_b; k++) {
        size_t diagonal = row[0];
        row[0] = k + 1;
        for (size_t i = 1; i <= n_a; i++) {
            const size_t change = diagonal + (a.s[i - 1] != b[k]);
            diagonal = row[i];
            const size_t shift = (row[i] < row[i - 1] ? row[i] : row[i - 1]) + 1;
            row[i] = change < shift ? change : shift;
        }
    }
    return row[n_a];
}

const char *pretok_nearest(gguf_str name) {
    size_t best = 0;
    for (size_t i = 1; i < N_PRETOKS; i++)
        if (distance(name, pretoks[i].name) < distance(name, pretoks[best].name)) best = i;
    return pretoks[best].name;
}

const pretok *pretok_find(gguf_str name) {
    for (size_t i = 0; i < N_PRETOKS; i++)
        if (gguf_str_is(name, pretoks[i].name)) return &pretoks[i];
    return NULL;
}

static bool split_stage(const pretok *p, int stage, const char *text, size_t n, pretok_fn *fn, void *ctx) {
    if (stage == PRETOK_MAX_STAGES || !p->stages[stage]) return fn(ctx, text, n);
    for (size_t at = 0, length; at < n; at += length) {
        length = p->stages[stage](text + at, n - at);
        if (!split_stage(p, stage + 1, text + at, length, fn, ctx)) return false;
    }
    return true;
}

bool pretok_split(const pretok *p, const char *text, size_t n, pretok_fn *fn, void *ctx) {
    return split_stage(p, 0, text, n, fn, ctx);
}
