/*
 * Files and texts made to cost as much as they can: twice the size must not cost much more than twice the
 * work, and no deeper stack. Work is counted, not timed (work.h), so that it is the same on every machine.
 */
#include "../unit/hashes.h"
#include "../unit/make_gguf.h"
#include "../unit/memory_job.h"
#include "../unit/tokens.h"
#include "base/sort.h"
#include "model/model.h"
#include "run/sampler.h"
#include "run/stream.h"
#include "work.h"

#define MOST_GROWTH 2.4 // n log n is 2.2 for the sizes here
enum { MOST_STACK = 1 << 15, MOST_STACK_GROWTH = 256 };

typedef struct cost {
    uint64_t steps;
    size_t stack;
} cost;

/* ---- files ---- */

/* What comes of a file that is fed in pieces: its header, its vocabulary. */
typedef struct reading {
    size_t step; // bytes at a time; 0: all
    nut_status want;
    const char *says; // where it is an error
} reading;

/* Reads the header and the vocabulary of g, and frees g; the outcome must be what is wanted. */
static cost read_all(make_gguf *g, reading how) {
    size_t n, used;
    uint8_t *file = make_file(g, &n);
    const size_t step = how.step ? how.step : n;
    bool complete = false;
    gguf header;
    vocab *v = NULL;
    nut_error err = {0};
    cost c;
    work_begin();
    nut_status status = gguf_begin(&header, n, &err);
    for (size_t at = 0; status == NUT_OK && !complete && at < n; at += step)
        status = gguf_feed(&header, file + at, n - at < step ? n - at : step, &used, &complete, &err);
    if (status == NUT_OK) status = vocab_new(&header, NULL, &v, &err);
    vocab_free(v);
    gguf_free(&header);
    c.steps = work_end(&c.stack);
    CHECK(status == how.want && (!how.says || strstr(err.message, how.says)), "%s: %s",
          nut_status_name(status), err.message);
    free(file), make_free(g);
    return c;
}

static make_gguf empty_file(const char *model) {
    make_gguf g = {.version = 3, .alignment = 32};
    make_str(&g, "tokenizer.ggml.model", model);
    return g;
}

static void put_few_tokens(make_gguf *g) {
    make_array(g, "tokenizer.ggml.tokens", MAKE_STRING, 1), make_text(&g->kv, "a");
    make_array(g, "tokenizer.ggml.merges", MAKE_STRING, 0);
}

/* As long as a key that is looked up, and different from it at the end only. */
static cost keys_alike(size_t n) {
    make_gguf g = empty_file("gpt2");
    char key[64];
    put_few_tokens(&g);
    for (size_t i = 0; i < n; i++) {
        snprintf(key, sizeof key, "tokenizer.ggml%06zu", n - i);
        make_int(&g, key, MAKE_U8, 1, 1);
    }
    return read_all(&g, (reading){0, NUT_OK, NULL});
}

static cost keys_long(size_t n) {
    make_gguf g = empty_file("gpt2");
    char key[1200];
    put_few_tokens(&g);
    memset(key, 'k', sizeof key);
    for (size_t i = 0; i < n; i++) {
        snprintf(key + 1000, 20, "%zu", i);
        make_int(&g, key, MAKE_U8, 1, 1);
    }
    return read_all(&g, (reading){0, NUT_OK, NULL});
}

static cost strings_in_bytes(size_t n) {
    make_gguf g = empty_file("gpt2");
    put_few_tokens(&g);
    make_array(&g, "strings", MAKE_STRING, n);
    for (size_t i = 0; i < n; i++) make_text(&g.kv, i % 3 ? "" : "abc");
    return read_all(&g, (reading){1, NUT_OK, NULL});
}

static cost tokens_of_text(const char *text, const char *model, size_t n) {
    make_gguf g = empty_file(model);
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, n);
    for (size_t i = 0; i < n; i++) make_text(&g.kv, text);
    make_array(&g, "tokenizer.ggml.scores", MAKE_F32, n);
    for (size_t i = 0; i < n; i++) make_le(&g.kv, 0, 4);
    make_array(&g, "tokenizer.ggml.token_type", MAKE_I32, n);
    for (size_t i = 0; i < n; i++) make_le(&g.kv, VOCAB_CONTROL, 4);
    make_array(&g, "tokenizer.ggml.merges", MAKE_STRING, 0);
    return read_all(&g, (reading){0, NUT_OK, NULL});
}
static cost tokens_twice(size_t n) {
    return tokens_of_text("token", "gpt2", n);
}
static cost tokens_empty(size_t n) {
    return tokens_of_text("", "llama", n);
}

/* What is to lie in a table: where it belongs, and which it is. */
enum { SURPLUS = 250 }; // so many more than slots that they belong to: the last of them are so far off
typedef struct home {
    uint32_t slot, what;
} home;

static int by_slot(const void *a, const void *b) {
    const home *x = a, *y = b;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* Tokens in one run of slots, each near its own as they come in that order, and merges of texts that are
 * none of them: a search that went on to the end of the run would see much of it. */
static cost tokens_crowded(size_t n) {
    make_gguf g = empty_file("gpt2");
    const uint32_t mask = hash_slots((uint32_t)n) - 1;
    home *homes = malloc(n * sizeof *homes);
    char text[32];
    for (uint32_t i = 0, found = 0; found < n; i++) {
        snprintf(text, sizeof text, "k%08x", i);
        const home h = {hash_of_text(text) & mask, i};
        if (h.slot < n - SURPLUS) homes[found++] = h;
    }
    sort_rows(homes, n, sizeof *homes, by_slot);
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, n + 1);
    make_text(&g.kv, "first"); // it would find no place behind the others
    for (size_t i = 0; i < n; i++)
        snprintf(text, sizeof text, "k%08x", homes[i].what), make_text(&g.kv, text);
    make_array(&g, "tokenizer.ggml.merges", MAKE_STRING, n);
    for (size_t i = 0; i < n; i++) snprintf(text, sizeof text, "L%zx R%zx", i, i), make_text(&g.kv, text);
    free(homes);
    return read_all(&g, (reading){0, NUT_E_CORRUPT, "merges name none"});
}

/* ---- tensors ---- */

static void put_entry(make_bytes *b, const char *name, const make_tensor *t, uint64_t offset) {
    make_text(b, name);
    make_le(b, t->n_dims, 4);
    for (uint32_t d = 0; d < t->n_dims; d++) make_le(b, t->dims[d], 8);
    make_le(b, t->type, 4);
    make_le(b, offset, 8);
}

/* A small model and n tensors that are passed over, the last of them first in the file; free() it. */
static uint8_t *many_tensors(size_t n, size_t *n_file) {
    make_gguf g =
        make_model(&(make_options){.n_layer = 1, .n_embd = 8, .n_head = 1, .n_head_kv = 1, .n_ff = 8});
    const make_tensor one = {.n_dims = 1, .dims = {8}};
    make_bytes b = {0};
    uint64_t at = 32 * n;
    char name[64];
    make_put(&b, "GGUF", 4), make_le(&b, 3, 4);
    make_le(&b, g.n_tensors + n, 8), make_le(&b, g.n_kv, 8);
    make_put(&b, g.kv.p, g.kv.n);
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "blk.%zu.attn.masked_bias", n - i);
        put_entry(&b, name, &one, 32 * (n - 1 - i));
    }
    for (size_t i = 0; i < g.n_tensors; i++) {
        put_entry(&b, g.tensors[i].name, &g.tensors[i], at);
        at += make_pad(g.tensors[i].data.n, 32);
    }
    for (const size_t end = make_pad(b.n, 32) + at; b.n < end;) make_put(&b, (uint8_t[64]){0}, 1);
    *n_file = b.n;
    make_free(&g);
    return b.p;
}

static cost load_tensors(size_t n) {
    const nut_load_options o = nut_load_defaults();
    size_t n_file;
    uint8_t *file = many_tensors(n, &n_file);
    nut_loader *l = NULL;
    nut_model *m = NULL;
    nut_error err = {0};
    cost c;
    work_begin();
    nut_status status = nut_load_begin(&o, n_file, &l, &err);
    for (size_t at = 0; status == NUT_OK && at < n_file; at += 11)
        status = nut_load_feed(l, at, file + at, n_file - at < 11 ? n_file - at : 11, &err);
    if (status == NUT_OK) status = nut_load_finish(l, &m, &err);
    c.steps = work_end(&c.stack);
    CHECK(status == NUT_OK, "%s", err.message);
    if (status != NUT_OK) nut_load_abort(l);
    nut_model_free(m), free(file);
    return c;
}

static cost quantize_tensors(size_t n) {
    size_t n_file;
    uint8_t *file = many_tensors(n, &n_file);
    memory_job m = {.file = {file}, .n_bytes = {n_file}};
    nut_error err = {0};
    cost c;
    work_begin();
    nut_status status = memory_job_round(&m, "q8_0", &err);
    c.steps = work_end(&c.stack);
    CHECK(status == NUT_OK && m.n_out > 32 * n, "%s", err.message);
    free(m.out), free(file);
    return c;
}

/* ---- texts ---- */

static cost tokenize(make_gguf *g, const char *text, size_t n, unsigned flags) {
    size_t n_file, n_ids = 0;
    uint8_t *file = make_file(g, &n_file);
    vocab_file f;
    nut_error err = {0};
    cost c = {0};
    vocab_open_bytes(&f, file, n_file);
    if (CHECK(f.status == NUT_OK, "%s", f.err.message)) {
        work_begin();
        nut_status status = vocab_tokenize(f.v, text, n, flags, NULL, 0, &n_ids, &err);
        c.steps = work_end(&c.stack);
        CHECK(status == NUT_E_ARGUMENT && n_ids > 0, "%zu ids: %s", n_ids, err.message);
    }
    vocab_close(&f);
    free(file), make_free(g);
    return c;
}

/* n pairs of bytes that are not both letters, whose merges lie in one run of slots, in that order. */
static void find_pairs(home *homes, size_t n) {
    const uint32_t mask = hash_slots((uint32_t)n) - 1;
    size_t found = 0;
    for (uint32_t i = 0; i < 1 << 16 && found < n; i++) {
        const uint32_t a = i >> 8, b = i & 255;
        const bool letters = a >= 'a' && a <= 'z' && b >= 'a' && b <= 'z';
        const home h = {hash_of_merge(a, b) & mask, i};
        if (h.slot < n - SURPLUS && !letters) homes[found++] = h;
    }
    CHECK(found == n, "%zu pairs", found);
    sort_rows(homes, n, sizeof *homes, by_slot);
}

/* Merges in one run of slots, none of letters, and a text of letters. */
static cost merges_crowded(size_t n) {
    make_gguf g = empty_file("gpt2");
    home *homes = malloc(n * sizeof *homes);
    make_bytes merges = {0};
    find_pairs(homes, n);
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, 256 + n);
    make_byte_characters(&g);
    for (size_t i = 0; i < n; i++) {
        char both[5];
        const size_t n_left = make_byte_character(homes[i].what >> 8, both);
        const size_t n_right = make_byte_character(homes[i].what & 255, both + n_left);
        make_le(&g.kv, n_left + n_right, 8), make_put(&g.kv, both, n_left + n_right);
        make_le(&merges, n_left + 1 + n_right, 8), make_put(&merges, both, n_left);
        make_put(&merges, " ", 1), make_put(&merges, both + n_left, n_right);
    }
    make_array(&g, "tokenizer.ggml.merges", MAKE_STRING, n);
    make_put(&g.kv, merges.p, merges.n);
    char *text = malloc(n);
    rng r;
    rng_seed(&r, 1);
    for (size_t i = 0; i < n; i++) text[i] = (char)('a' + rng_u64(&r) % 26);
    const cost c = tokenize(&g, text, n, 0);
    free(text), free(merges.p), free(homes);
    return c;
}

static void put_run(make_bytes *b, char c, size_t n) {
    make_le(b, n, 8);
    for (size_t i = 0; i < n; i++) make_put(b, &c, 1);
}

/* A very long token text that is made first, and behind it texts that grow by a character each time: whether
 * both join is asked each time. */
static cost texts_growing(size_t n) {
    make_gguf g = empty_file("llama");
    const size_t most = n / 10;
    size_t n_doubled = 1;
    while ((size_t)1 << n_doubled <= n) n_doubled++;
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, n_doubled + most);
    for (size_t i = 0; i < n_doubled; i++) put_run(&g.kv, 'a', (size_t)1 << i);
    for (size_t i = 1; i <= most; i++) put_run(&g.kv, 'b', i);
    make_array(&g, "tokenizer.ggml.scores", MAKE_F32, n_doubled + most);
    for (size_t i = 0; i < n_doubled; i++) make_le(&g.kv, half_f32_to_bits(1e6f), 4);
    for (size_t i = 0; i < most; i++) make_le(&g.kv, half_f32_to_bits((float)i), 4);
    make_bool(&g, "tokenizer.ggml.add_space_prefix", false);
    const size_t n_a = (size_t)1 << (n_doubled - 1);
    char *text = malloc(n_a + most);
    memset(text, 'a', n_a), memset(text + n_a, 'b', most);
    const cost c = tokenize(&g, text, n_a + most, 0);
    free(text);
    return c;
}

/* Special tokens that share all but their end, and a text that nearly is one at every place. */
static cost special_alike(size_t n) {
    make_gguf g = empty_file("gpt2");
    char token[240];
    memset(token, 'a', sizeof token);
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, n);
    for (size_t i = 0; i < n; i++) {
        snprintf(token + 200, 20, "%zu", i);
        make_text(&g.kv, token);
    }
    make_array(&g, "tokenizer.ggml.token_type", MAKE_I32, n);
    for (size_t i = 0; i < n; i++) make_le(&g.kv, VOCAB_CONTROL, 4);
    make_array(&g, "tokenizer.ggml.merges", MAKE_STRING, 0);
    char *text = malloc(n + 240);
    memset(text, 'a', n), memcpy(text + n, token, 240);
    const cost c = tokenize(&g, text, n + strlen(token), NUT_TOKENIZE_SPECIAL);
    free(text);
    return c;
}

/* ---- texts that are cut into words ---- */

static const char *const patterns[] = {
    "a",       " ",  "\n",    "1",  ".",  "'",        "\xff",         " \n",
    "'a",      "a ", "\r\n ", "1.", " .", "\xc3\xa9", "\xe2\x96\x81", "\xe2\x96\x81 ",
    "ab1 .\n'"};
static const char *const pres[] = {"default",   "gpt-2", "smollm",
                                   "llama-bpe", "qwen2", NULL}; // NULL: SentencePiece

typedef struct word_case {
    const char *pre, *pattern;
    bool letter; // the text ends in one: what is before may be a beginning that comes to nothing
} word_case;

static cost words_of(const word_case *w, size_t n) {
    make_gguf g = empty_file(w->pre ? "gpt2" : "llama");
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, 259);
    make_byte_characters(&g);
    make_text(&g.kv, "aa"), make_text(&g.kv, "\xe2\x96\x81\xe2\x96\x81"), make_text(&g.kv, "1 \n");
    make_array(&g, "tokenizer.ggml.scores", MAKE_F32, 259);
    for (size_t i = 0; i < 259; i++) make_le(&g.kv, 0, 4);
    make_array(&g, "tokenizer.ggml.merges", MAKE_STRING, 1), make_text(&g.kv, "a a");
    if (w->pre) make_str(&g, "tokenizer.ggml.pre", w->pre);
    const size_t length = strlen(w->pattern);
    char *text = malloc(n + 1);
    for (size_t i = 0; i < n; i++) text[i] = w->pattern[i % length];
    text[n] = 'x';
    const cost c = tokenize(&g, text, n + w->letter, 0);
    free(text);
    return c;
}

/* ---- sampling ---- */

static cost sample(const nut_generate_options *o, int arrangement, size_t n) {
    sampler s = {.n_vocab = (uint32_t)n};
    nut_error err;
    cost c;
    float *logits = malloc(n * sizeof *logits);
    const int32_t recent[] = {0, 1, 2};
    s.candidates = malloc(n * sizeof *s.candidates);
    s.counts = calloc(n, sizeof *s.counts);
    for (size_t i = 0; i < n; i++) {
        const float x = (float)i / (float)n;
        logits[i] = arrangement == 0 ? x : arrangement == 1 ? -x : arrangement == 2 ? fabsf(x - 0.5f) : 1;
    }
    CHECK(sampler_reset(&s, o, &err) == NUT_OK, "%s", err.message);
    work_begin();
    int32_t id = -1;
    const nut_status status = sampler_sample(&s, logits, recent, 3, &id, &err);
    c.steps = work_end(&c.stack);
    CHECK(status == NUT_OK && id >= 0 && (size_t)id < n, "token %d", (int)id);
    free(s.counts), free(s.candidates), free(logits);
    return c;
}

/* A stop text that nearly comes all the time, of tokens of which each `hidden`-th is not shown (0: none). */
static cost stop_texts(size_t n, size_t hidden) {
    static stream st;
    static char held[1024], text[3072], stop[201];
    const char *const stops[] = {stop, stop + 1, stop + 2, stop + 3};
    nut_generate_options o = nut_generate_defaults();
    nut_error err;
    cost c;
    memset(stop, 'a', 199), stop[199] = 'b';
    o.stop = stops, o.n_stop = 4;
    memset(&st, 0, sizeof st);
    st.held = held, st.text = text, st.cap = sizeof held;
    CHECK(stream_reset(&st, &o, &err) == NUT_OK, "%s", err.message);
    work_begin();
    for (size_t i = 0; i < n; i++) stream_push(&st, "aaa", 3, hidden && i % hidden == 0);
    c.steps = work_end(&c.stack);
    return c;
}
static cost stops_nearly(size_t n) {
    return stop_texts(n, 0);
}
static cost stops_nearly_special(size_t n) {
    return stop_texts(n, 2);
}

/* ---- twice as much ---- */

static void check_growth(const char *name, size_t n, cost once, cost twice) {
    const double growth = (double)twice.steps / (double)(once.steps ? once.steps : 1);
    CHECK(once.steps > n / 4 && growth < MOST_GROWTH, "%s: %llu steps for %zu, %.2f times as many for twice",
          name, (unsigned long long)once.steps, n, growth);
    CHECK(twice.stack < MOST_STACK && twice.stack <= once.stack + MOST_STACK_GROWTH,
          "%s: %zu bytes of stack, %zu for twice", name, once.stack, twice.stack);
    printf("%-28s %8zu %12.1f steps each, %.2f times for twice, %5zu bytes of stack\n", name, n,
           (double)once.steps / (double)n, growth, twice.stack);
}

static void test_cases(void) {
    static const struct {
        const char *name;
        cost (*run)(size_t n);
        size_t n;
    } cases[] = {
        {"keys alike", keys_alike, 100000},
        {"long keys", keys_long, 2000},
        {"strings, a byte at a time", strings_in_bytes, 50000},
        {"the same token", tokens_twice, 100000},
        {"empty tokens", tokens_empty, 100000},
        {"tokens in one run", tokens_crowded, 10000},
        {"merges in one run", merges_crowded, 10000},
        {"load: tensors passed over", load_tensors, 20000},
        {"quantize: many tensors", quantize_tensors, 20000},
        {"token texts that grow", texts_growing, 1 << 14},
        {"special tokens alike", special_alike, 10000},
        {"stop texts that nearly come", stops_nearly, 10000},
        {"with special tokens", stops_nearly_special, 10000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_growth(cases[i].name, cases[i].n, cases[i].run(cases[i].n), cases[i].run(2 * cases[i].n));
}

static void test_words(void) {
    enum { N = 8192 };
    char name[64];
    for (size_t p = 0; p < sizeof pres / sizeof *pres; p++)
        for (size_t i = 0; i < 2 * (sizeof patterns / sizeof *patterns); i++) {
            const word_case w = {pres[p], patterns[i / 2], i % 2};
            snprintf(name, sizeof name, "%s: pattern %zu%s", w.pre ? w.pre : "SentencePiece", i / 2,
                     i % 2 ? "+" : "");
            check_growth(name, N, words_of(&w, N), words_of(&w, 2 * N));
        }
}

static void test_sampling(void) {
    enum { N = 20000 };
    const nut_generate_options d = nut_generate_defaults();
    nut_generate_options list[] = {d, d, d, d, d};
    list[1].top_k = 0, list[1].top_p = 0.999f;
    list[2].top_k = 5000, list[2].repeat_penalty = 1.5f;
    list[3].top_k = 0, list[3].typical_p = 0.9f;
    list[4].top_k = 0, list[4].top_p = 1, list[4].min_p = 0;
    char name[64];
    for (int i = 0; i < 5; i++)
        for (int arrangement = 0; arrangement < 4; arrangement++) {
            snprintf(name, sizeof name, "sample %d from arrangement %d", i, arrangement);
            check_growth(name, N, sample(&list[i], arrangement, N), sample(&list[i], arrangement, 2 * N));
        }
}

int main(void) {
    test_cases();
    test_words();
    test_sampling();
    return check_report();
}
