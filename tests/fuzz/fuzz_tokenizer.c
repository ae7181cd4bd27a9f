/*
 * A vocabulary and a text, both from the input: what both tokenizers make of it, and back to text. Without
 * special tokens the ids must be those of the rules carried out in the plainest way (plain_tokenizer.h).
 * Tokens that are special by their texts are special tokens too.
 *
 * From the front of the input: flags, pre-tokenizer, tokens (kind, score, length, bytes), merges (two
 * numbers of tokens), and the text.
 */
#include "fuzz.h"

#include "../unit/make_gguf.h"
#include "model/nfc.h"
#include "model/tokenizer.h"
#include "model/vocab.h"
#include "plain_tokenizer.h"

enum { BPE = 1, ALL_BYTES = 2, OTHER_WAY = 4, ALL_NORMAL = 8, KIND = 0x70, MARKED = 0x80, MOST_PLAIN = 400 };

/* By the bits of KIND: kinds of vocabularies without plain rules here; none: the two that have them. */
static const char *const kinds[8] = {NULL, "t5", "rwkv", "bert", "gemma4", "t5", "bert", "rwkv"};

static const char *const pres[] = {"default", "gpt-2",       "smollm", "llama-bpe", "qwen2",
                                   "qwen35",  "seed-coder",  "tekken", "gpt-4o",    "deepseek-coder",
                                   "falcon",  "deepseek-v3", "bloom",  "viking"};
enum { N_PRES = sizeof pres / sizeof *pres };

typedef struct words { // the vocabulary as it is made
    plain_vocab plain;
    uint8_t kinds[PLAIN_MOST];
    bool spaces; // some token contains one: merges are split at the first
    uint8_t flags, pre;
} words;

/* ---- from the input ---- */

static void add_token(words *w, const char *s, size_t n, uint8_t kind, float score) {
    plain_vocab *v = &w->plain;
    if (v->n == PLAIN_MOST) return;
    w->kinds[v->n] = kind;
    w->spaces = w->spaces || (n && memchr(s, ' ', n));
    plain_add(v, s, n, score);
}

/* Tokens of single bytes, as this kind of vocabulary has them. */
static void add_bytes(words *w) {
    char text[8];
    for (unsigned b = 0; b < 256; b++) {
        if (w->flags & BPE) {
            add_token(w, text, make_byte_character(b, text), VOCAB_NORMAL, 0);
        } else {
            snprintf(text, sizeof text, "<0x%02X>", b);
            add_token(w, text, 6, VOCAB_BYTE, 0);
        }
    }
}

static size_t front_u16(fuzz_input *in) {
    const size_t high = fuzz_front_u8(in);
    return high << 8 | fuzz_front_u8(in);
}

static void read_words(words *w, fuzz_input *in) {
    w->flags = fuzz_front_u8(in);
    w->pre = fuzz_front_u8(in);
    w->plain.bpe = w->flags & BPE;
    w->plain.prefix = !(w->flags & OTHER_WAY);
    if (!w->plain.bpe) add_token(w, "<unk>", 5, VOCAB_NORMAL, 0);
    if (w->flags & ALL_BYTES) add_bytes(w);
    for (size_t n = fuzz_front_u8(in); n > 0; n--) {
        const uint8_t kind = fuzz_front_u8(in) % 8, score = fuzz_front_u8(in), length = fuzz_front_u8(in);
        fuzz_input text = fuzz_front(in, length < 250 ? length % 32 : 300u);
        const uint8_t normal = w->flags & ALL_NORMAL ? VOCAB_NORMAL : kind;
        add_token(w, (const char *)text.p, text.n, normal, score == 255 ? NAN : (float)score / 8);
    }
    for (size_t n = w->plain.bpe && w->plain.n ? fuzz_front_u8(in) : 0; n > 0; n--) {
        const size_t left = front_u16(in) % w->plain.n;
        plain_merge(&w->plain, left, front_u16(in) % w->plain.n);
    }
}

/* ---- as a file ---- */

static void put_arrays(make_gguf *g, const words *w) {
    const plain_vocab *v = &w->plain;
    make_array(g, "tokenizer.ggml.tokens", MAKE_STRING, v->n);
    for (size_t i = 0; i < v->n; i++) {
        make_le(&g->kv, v->list[i].n, 8);
        make_put(&g->kv, v->list[i].s, v->list[i].n);
    }
    make_array(g, "tokenizer.ggml.token_type", MAKE_I32, v->n);
    for (size_t i = 0; i < v->n; i++) make_le(&g->kv, w->kinds[i], 4);
    make_array(g, "tokenizer.ggml.scores", MAKE_F32, v->n);
    for (size_t i = 0; i < v->n; i++) make_le(&g->kv, half_f32_to_bits(v->list[i].score), 4);
    make_array(g, "tokenizer.ggml.merges", MAKE_STRING, v->n_merges);
    for (size_t i = 0; i < v->n_merges; i++) {
        const plain_token *a = &v->list[v->merges[i].left], *b = &v->list[v->merges[i].right];
        make_le(&g->kv, a->n + 1 + b->n, 8);
        make_put(&g->kv, a->s, a->n);
        make_put(&g->kv, " ", 1);
        make_put(&g->kv, b->s, b->n);
    }
}

/* "ab" becomes "c", by hand: units as charsmap.c describes them, at the places that the bytes lead to. */
static void put_charsmap(make_gguf *g) {
    enum { N = 256 };
    uint32_t units[N] = {0};
    units[0] = 0x80 << 10;                   // the root's children: at 0x80 ^ byte
    units['a' ^ 0x80] = 'a' | 0x40 << 10;    // behind a: at that place ^ 0x40 ^ byte
    units[0xc3] = 'b' | 1 << 8 | 0x20 << 10; // behind ab a text ends: its value at ^ 0x20
    units[0xe3] = 1u << 31;                  // the text at 0
    make_array(g, "tokenizer.ggml.precompiled_charsmap", MAKE_U8, 4 + 4 * N + 2);
    make_le(&g->kv, 4 * N, 4);
    for (size_t i = 0; i < N; i++) make_le(&g->kv, units[i], 4);
    make_put(&g->kv, "c", 2);
}

static uint8_t *make_words(const words *w, size_t *n) {
    make_gguf g = {.version = 3, .alignment = 32};
    const char *kind = kinds[(w->flags & KIND) >> 4];
    make_str(&g, "tokenizer.ggml.model", kind ? kind : w->plain.bpe ? "gpt2" : "llama");
    if (w->flags & MARKED)
        make_str(&g, "general.name", "Phi-3"); // whose special tokens take white space along
    if (kind) make_bool(&g, "tokenizer.ggml.remove_extra_whitespaces", w->pre & 1);
    if (kind && w->pre & 2) put_charsmap(&g);
    make_str(&g, "tokenizer.ggml.pre", pres[w->pre % N_PRES]);
    make_bool(&g, "tokenizer.ggml.add_space_prefix", w->plain.prefix);
    make_bool(&g, "tokenizer.ggml.ignore_merges", w->plain.bpe && (w->flags & OTHER_WAY));
    put_arrays(&g, w);
    uint8_t *file = make_file(&g, n);
    make_free(&g);
    return file;
}

static nut_status open_words(const words *w, gguf *g, vocab **v, nut_error *err) {
    size_t n, used;
    bool complete = false;
    uint8_t *file = make_words(w, &n);
    nut_status status = gguf_begin(g, n, err);
    if (status == NUT_OK) status = gguf_feed(g, file, n, &used, &complete, err);
    if (status == NUT_OK) status = vocab_new(g, NULL, v, err);
    free(file);
    return status;
}

/* ---- texts ---- */

/* Whether no token is special, by its type or by its text. */
static bool all_normal(const words *w, const vocab *v) {
    bool normal = w->flags & ALL_NORMAL;
    for (uint32_t i = 0; normal && i < vocab_size(v); i++)
        normal = vocab_type_of(v, (int32_t)i) == (vocab_type)w->kinds[i];
    return normal;
}

static void check_back(const words *w, const vocab *v, const int32_t *ids, size_t n_ids, const char *text,
                       size_t n) {
    nut_error err;
    size_t n_back = 0, again = 0;
    nut_status status = vocab_detokenize(v, ids, n_ids, true, NULL, 0, &n_back, &err);
    EXPECT(status == (n_back ? NUT_E_ARGUMENT : NUT_OK), "%s", nut_status_name(status));
    char *back = malloc(n_back + 1);
    status = vocab_detokenize(v, ids, n_ids, true, back, n_back, &again, &err);
    EXPECT(status == NUT_OK && again == n_back, "%zu bytes, then %zu", n_back, again);
    const bool whole = (w->flags & ALL_BYTES) && !(w->flags & KIND) && all_normal(w, v);
    const bool spaces = plain_find(&w->plain, "\xe2\x96\x81", 3, "", 0) >= 0 && !plain_has_mark(text, n);
    if (whole && (w->plain.bpe || spaces))
        EXPECT(n_back == n && !memcmp(back, text, n), "\"%.*s\" comes back as \"%.*s\"", (int)n, text,
               (int)n_back, back);
    free(back);
}

/* As many ids are counted as are returned, and all are tokens; a failed allocation is reported. */
static void check_text(const words *w, const vocab *v, const char *text, size_t n, unsigned flags) {
    nut_error err;
    size_t count = 0, again = 0;
    nut_status status = vocab_tokenize(v, text, n, flags, NULL, 0, &count, &err);
    fuzz_check_error(status, &err);
    if (status == NUT_E_MEMORY) return;
    EXPECT(status == (count ? NUT_E_ARGUMENT : NUT_OK), "%s", nut_status_name(status));
    int32_t *ids = malloc((count + 1) * sizeof *ids);
    status = vocab_tokenize(v, text, n, flags, ids, count, &again, &err);
    if (status != NUT_E_MEMORY) {
        EXPECT(status == NUT_OK && again == count, "%zu ids, then %zu", count, again);
        for (size_t i = 0; i < count; i++) EXPECT(ids[i] >= 0 && (size_t)ids[i] < w->plain.n, "%d", ids[i]);
        if (!(flags & NUT_TOKENIZE_ADD_BOS)) check_back(w, v, ids, count, text, n);
        const bool rules =
            !(w->flags & KIND) && all_normal(w, v) && !w->spaces && !(w->plain.bpe && w->flags & OTHER_WAY);
        if (rules && n <= MOST_PLAIN && !(flags & NUT_TOKENIZE_ADD_BOS))
            plain_check(&w->plain, pres[w->pre % 5], text, n, ids, count);
    }
    free(ids);
}

/* Where all of a text is data, no special token comes out. */
static void check_marked(const vocab *v, const char *text, size_t n) {
    nut_error err;
    size_t count = 0;
    const size_t cap = 4 * n + 16;
    uint8_t *marks = malloc(n + 1);
    int32_t *ids = malloc(cap * sizeof *ids);
    memset(marks, 1, n + 1);
    const nut_status status = vocab_tokenize_marked(v, text, marks, n, ids, cap, &count, &err);
    fuzz_check_error(status, &err);
    for (size_t i = 0; status == NUT_OK && i < count && i < cap; i++)
        EXPECT(special_is_text(v, ids[i]), "token %d came out of data", ids[i]);
    free(marks), free(ids);
}

/* A text and its normalization form have the same ids. */
static void check_other_form(const vocab *v, const char *text, size_t n, const char *form, size_t n_form) {
    nut_error err;
    size_t count = 0, n_other = 0;
    int32_t *ids = malloc((n_form + 1) * sizeof *ids), *other = malloc((n_form + 1) * sizeof *other);
    nut_status status = vocab_tokenize(v, text, n, 0, ids, n_form, &count, &err);
    if (status == NUT_OK) status = vocab_tokenize(v, form, n_form, 0, other, n_form, &n_other, &err);
    EXPECT(status == NUT_OK || status == NUT_E_MEMORY, "%s", nut_status_name(status));
    if (status == NUT_OK && n == n_form)
        EXPECT(count == n_other && !memcmp(ids, other, count * sizeof *ids), "%zu ids, then %zu", count,
               n_other);
    free(ids), free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static words w;
    fuzz_input in = {bytes, n};
    const unsigned flags = fuzz_u8(&in);
    const uint32_t fail_at = fuzz_u8(&in);
    gguf g = {0};
    vocab *v = NULL;
    nut_error err;
    memset(&w, 0, sizeof w);
    read_words(&w, &in);
    plain_prepare(&w.plain);
    counting_start(fail_at);
    nut_status status = open_words(&w, &g, &v, &err);
    fuzz_check_error(status, &err);
    if (status == NUT_OK) {
        char *text = fuzz_copy(in), *form = malloc(NFC_GROWTH * in.n + 1);
        const size_t n_form = nfc_write(text, in.n, form); // which some pre-tokenizers make of a text anyway
        const bool form_c = w.plain.bpe && !strncmp(pres[w.pre % N_PRES], "qwen", 4);
        if (form_c) check_other_form(v, text, in.n, form, n_form);
        check_text(&w, v, form_c ? form : text, form_c ? n_form : in.n, flags & 3);
        if (w.flags & MARKED) check_marked(v, text, in.n);
        free(form), free(text);
    }
    vocab_free(v);
    gguf_free(&g);
    fuzz_end();
    return 0;
}
