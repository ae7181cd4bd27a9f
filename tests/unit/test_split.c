/* Split models: they give the same model as the whole file, bit for bit, in whatever steps they are fed;
 * memory is taken once; files that do not belong together are refused as soon as possible. The layout of
 * make_parts.h is llama.cpp's; tests/peers/split-test.mjs reads files of llama.cpp itself. */
#include "check.h"
#include "counting_alloc.h"
#include "data.h"
#include "make_parts.h"
#include "memory_job.h"
#include "weights.h"

#include "run/session.h"

enum { N_PROMPT = 7, N_DRAWN = 40 };

/* ---- the same model ---- */

typedef struct answer { // of one prompt
    float *logits;      // (N_PROMPT, n_vocab)
    size_t n_logits;
    int32_t drawn[N_DRAWN];
    char text[1024];
} answer;

static void draw(nut_session *s, const int32_t *ids, answer *a) {
    nut_generate_options go = nut_generate_defaults();
    nut_step step = {0};
    nut_error err;
    size_t n = 0;
    go.temperature = 0, go.max_tokens = N_DRAWN, go.ignore_eos = true;
    if (!CHECK(nut_generate_begin(s, ids, N_PROMPT, &go, &err) == NUT_OK, "%s", err.message)) return;
    while (step.kind != NUT_STEP_DONE &&
           CHECK(nut_generate_step(s, &step, &err) == NUT_OK, "%s", err.message)) {
        if (step.kind == NUT_STEP_TOKEN && n < N_DRAWN) a->drawn[n++] = step.token;
        strncat(a->text, step.text, step.n_text);
    }
    CHECK(n == N_DRAWN, "%zu tokens", n);
}

/* The results of the model; free a->logits. */
static answer ask(const nut_model *m) {
    static const int32_t ids[N_PROMPT] = {1, 70, 105, 33, 20, 200, 71};
    answer a = {.n_logits = (size_t)N_PROMPT * nut_model_n_vocab(m)};
    nut_session_options so = {.n_ctx = 64, .n_threads = 1, .n_batch = 8, .n_logits = N_PROMPT};
    nut_session *s;
    nut_error err;
    a.logits = malloc(a.n_logits * sizeof(float));
    if (!CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK, "%s", err.message)) return a;
    CHECK(nut_session_eval(s, ids, N_PROMPT, N_PROMPT, &err) == NUT_OK, "%s", err.message);
    memcpy(a.logits, nut_session_logits(s, 0), a.n_logits * sizeof(float));
    draw(s, ids, &a);
    nut_session_free(s);
    return a;
}

static bool same_answers(const answer *a, const answer *b) {
    return a->n_logits == b->n_logits && !memcmp(a->logits, b->logits, a->n_logits * sizeof(float)) &&
           !memcmp(a->drawn, b->drawn, sizeof a->drawn) && !strcmp(a->text, b->text);
}

/* The model's facts without the size of its files, which is larger when they are split. */
static void facts(const nut_model *m, char *out, size_t cap) {
    static const char key[] = "\"file_bytes\":";
    size_t n;
    CHECK(nut_model_info(m, true, out, cap, &n, NULL) == NUT_OK, "%zu bytes of facts", n);
    char *at = strstr(out, key), *end = at + sizeof key - 1;
    end += strspn(end, "0123456789");
    memmove(at, end, strlen(end) + 1);
}

static void check_same(const nut_model *m, const nut_model *whole, const answer *expected,
                       const char *what) {
    static char own[1 << 18], theirs[1 << 18];
    answer a = ask(m);
    CHECK(same_answers(&a, expected), "%s: another text: %s", what, a.text);
    free(a.logits);
    facts(m, own, sizeof own), facts(whole, theirs, sizeof theirs);
    CHECK(!strcmp(own, theirs), "%s: other facts: %s", what, own);
    CHECK(m->weights.size == whole->weights.size, "%s: %zu bytes of weights", what, m->weights.size);
}

/* The repository's model in 1 .. 5 files, fed in steps of random sizes. */
static void test_tiny(void) {
    size_t n = 0;
    uint8_t *file = (uint8_t *)data_read_path("dist/nutshell-tiny-q8_0.gguf", &n);
    nut_model *whole = NULL, *m = NULL;
    nut_error err = {0};
    rng random;
    rng_seed(&random, 5);
    if (!CHECK(file && make_load(file, n, 0, NULL, &whole, &err) == NUT_OK, "%s", err.message)) return;
    const answer expected = ask(whole);
    make_gguf g = make_parse(file, n);
    for (size_t k = 0; k < 10; k++) {
        char what[64];
        snprintf(what, sizeof what, "%zu splits%s", k / 2 + 1, k % 2 ? ", the first empty" : "");
        make_parts s = make_split(&g, k / 2 + 1, k % 2 == 1);
        make_part_files(&s);
        nut_status status = make_load_parts(&s, NULL, k % 3 ? &random : NULL, &m, &err);
        if (CHECK(status == NUT_OK, "%s: %s", what, err.message)) check_same(m, whole, &expected, what);
        if (status == NUT_OK) nut_model_free(m);
        make_parts_free(&s);
    }
    free(expected.logits);
    make_free(&g);
    nut_model_free(whole);
    free(file);
}

static void load_and_check(make_parts *s, const make_gguf *g, const nut_load_options *lo, const char *what) {
    rng random;
    nut_model *m;
    nut_error err = {0};
    rng_seed(&random, s->n);
    make_part_files(s);
    if (!CHECK(make_load_parts(s, lo, &random, &m, &err) == NUT_OK, "%s: %s", what, err.message)) return;
    check_weights(m, g, what);
    nut_model_free(m);
}

/* Every family and format, as they are and as floats. */
static void test_weights(void) {
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    nut_load_options floats = nut_load_defaults();
    floats.reference = true;
    for (int id = 0; id < FORMAT_COUNT; id++) {
        make_options o = {.arch = families[id % 3], .matrices = (format_id)id, .untied = id % 2 == 1};
        if (format_table[id].block > 32) o.n_embd = 256, o.n_ff = 512;
        make_gguf g = make_model(&o);
        make_parts s = make_split(&g, 2 + (size_t)id % 4, id % 3 == 1);
        load_and_check(&s, &g, NULL, format_table[id].name);
        load_and_check(&s, &g, &floats, format_table[id].name);
        make_parts_free(&s), make_free(&g);
    }
}

/* Splits may differ: other alignments, data in another order, metadata that is ignored. */
static void test_layouts(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q4_0});
    make_parts s = make_split(&g, 4, false);
    s.g[1].alignment = 4096;
    make_u32(&s.g[1], "general.alignment", 4096);
    s.g[2].backwards = true;
    make_str(&s.g[2], "general.architecture", "llama");
    make_str(&s.g[2], "general.name", "another name");
    make_u32(&s.g[2], "llama.block_count", 77);
    make_str(&s.g[3], "tokenizer.ggml.model", "none");
    load_and_check(&s, &g, NULL, "splits of their own kinds");
    make_parts_free(&s), make_free(&g);
}

/* ---- the plan ---- */

/* Feeds until the plan has read another header. */
static size_t feed_header(nut_loader *l, const make_parts *s, size_t i, nut_status *status, nut_error *err) {
    size_t at = 0;
    *status = NUT_OK;
    for (; *status == NUT_OK && at < s->n_bytes[i] && nut_load_get_plan(l).n_read <= i; at++)
        *status = nut_load_feed(l, at, s->file[i] + at, 1, err);
    return at;
}

static void test_plan(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0});
    make_parts s = make_split(&g, 3, true);
    make_part_files(&s);
    const nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    nut_model *m;
    nut_error err = {0};
    nut_status status;
    uint64_t weights = 0, bytes = 0;
    if (!CHECK(nut_load_begin(&lo, s.n_bytes[0], &l, &err) == NUT_OK, "%s", err.message)) return;
    CHECK(nut_load_get_plan(l).n_splits == 0, "splits before the header");
    for (size_t i = 0; i < 3; i++) {
        if (i) CHECK(nut_load_next(l, s.n_bytes[i], &err) == NUT_OK, "%s", err.message);
        const size_t at = feed_header(l, &s, i, &status, &err);
        const nut_load_plan p = nut_load_get_plan(l);
        bytes += s.n_bytes[i];
        CHECK(status == NUT_OK && p.complete && p.n_splits == 3 && p.n_read == i + 1, "split %zu: %s", i,
              err.message);
        CHECK(p.header_bytes == at && p.file_bytes == bytes, "split %zu: %llu bytes", i,
              (unsigned long long)p.file_bytes);
        CHECK(i ? p.weight_bytes > weights : p.weight_bytes == 0, "split %zu: %llu bytes of weights", i,
              (unsigned long long)p.weight_bytes);
        weights = p.weight_bytes;
        status = nut_load_feed(l, at, s.file[i] + at, s.n_bytes[i] - at, &err);
        CHECK(status == NUT_OK, "%s", err.message);
    }
    if (CHECK(nut_load_finish(l, &m, &err) == NUT_OK, "%s", err.message)) {
        CHECK(m->weights.size == weights, "%zu bytes of weights", m->weights.size);
        nut_model_free(m);
    }
    make_parts_free(&s), make_free(&g);
}

/* Which file's header made the loader refuse the model as too large; 9: none. */
static size_t refused_at(const make_parts *s, uint64_t limit, nut_error *err) {
    nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    nut_status status = NUT_OK;
    size_t i = 0;
    lo.memory_limit = limit;
    if (nut_load_begin(&lo, 0, &l, err) != NUT_OK) return 9;
    for (; i < s->n; i++) {
        if (i) status = nut_load_next(l, 0, err);
        const size_t at = status == NUT_OK ? feed_header(l, s, i, &status, err) : 0;
        if (status == NUT_OK) status = nut_load_feed(l, at, s->file[i] + at, s->n_bytes[i] - at, err);
        if (status != NUT_OK) {
            CHECK(status == NUT_E_TOO_LARGE && at == nut_load_get_plan(l).header_bytes, "%s", err->message);
            break;
        }
    }
    nut_load_abort(l);
    return i < s->n ? i : 9;
}

/* A model that cannot fit in the smallest layout is refused with the first header; one that does not fit
 * as it is, with the header that shows it. */
static void test_limit(void) {
    nut_error err = {0};
    nut_model *m;
    for (int small = 0; small < 2; small++) {
        make_gguf g =
            make_model(&(make_options){.matrices = small ? FORMAT_Q4_0 : FORMAT_F32, .n_embd = 256});
        make_parts s = make_split(&g, 3, true);
        make_part_files(&s);
        if (CHECK(make_load_parts(&s, NULL, NULL, &m, &err) == NUT_OK, "%s", err.message)) {
            const uint64_t weights = m->weights.size,
                           cache = session_bytes(m, &(nut_session_options){.n_ctx = 128});
            CHECK(refused_at(&s, weights + cache, &err) == 9, "it fits: %s", err.message);
            CHECK(refused_at(&s, weights + cache - 1, &err) == 2, "%s", err.message);
            CHECK(!strstr(err.message, "at least"), "%s", err.message);
            CHECK(refused_at(&s, weights / 2 + cache, &err) == (small ? 0 : 1) &&
                      strstr(err.message, "at least"),
                  "%s", err.message);
            CHECK(refused_at(&s, weights / 16 + cache, &err) == 0, "%s", err.message);
            nut_model_free(m);
        }
        make_parts_free(&s), make_free(&g);
    }
}

/* Every file in one feed: memory for one copy of the weights, and little more. */
static void test_peak(void) {
    make_gguf g = make_model(&(make_options){.n_embd = 512, .n_ff = 1024, .matrices = FORMAT_Q8_0});
    make_parts s = make_split(&g, 5, false);
    make_part_files(&s);
    nut_model *m;
    counting_start(0);
    if (CHECK(make_load_parts(&s, NULL, NULL, &m, NULL) == NUT_OK, "loads")) {
        const size_t weights = m->weights.size;
        CHECK(weights > 3000000 && counting.peak < weights + (1 << 18),
              "%zu bytes at the peak for weights of %zu", counting.peak, weights);
        nut_model_free(m);
    }
    CHECK(counting.alive == 0, "%zu blocks are left", counting.alive);
    counting_stop();
    make_parts_free(&s), make_free(&g);
}

/* ---- what is refused ---- */

enum { N_TENSORS = 20, KEYS_BYTES = 22 + 25 + 35 }; // of the damaged models; of make_split_keys

static void copy_part(make_parts *s, size_t to, size_t from) {
    make_free(&s->g[to]);
    s->g[to] = make_piece(&s->g[from], 0, s->g[from].n_tensors);
    make_put(&s->g[to].kv, s->g[from].kv.p, s->g[from].kv.n);
    s->g[to].n_kv = s->g[from].n_kv;
}

/* Other keys instead of those of make_split. */
static void set_keys(make_gguf *g, size_t i, size_t n, uint64_t n_tensors) {
    g->kv.n -= KEYS_BYTES;
    g->n_kv -= 3;
    make_split_keys(g, i, n, n_tensors);
}

static void drop_part(make_parts *s, size_t i) {
    make_free(&s->g[i]);
    memmove(&s->g[i], &s->g[i + 1], (s->n - i - 1) * sizeof *s->g);
    s->g[--s->n] = (make_gguf){0};
}

static void begin_second(make_parts *s) {
    drop_part(s, 0);
}
static void skip_second(make_parts *s) {
    drop_part(s, 1);
}
static void lack_last(make_parts *s) {
    drop_part(s, 2);
}
static void lack_two(make_parts *s) {
    drop_part(s, 2), drop_part(s, 1);
}
static void first_twice(make_parts *s) {
    copy_part(s, 1, 0);
}
static void second_twice(make_parts *s) {
    copy_part(s, 2, 1);
}
static void swapped(make_parts *s) {
    const make_gguf g = s->g[1];
    s->g[1] = s->g[2], s->g[2] = g;
}
static void whole_second(make_parts *s) {
    s->g[1].n_kv -= 3, s->g[1].kv.n = 0;
}
static void merged_second(make_parts *s) {
    set_keys(&s->g[1], 0, 0, N_TENSORS);
}
static void other_count(make_parts *s) {
    set_keys(&s->g[1], 1, 4, N_TENSORS);
}
static void other_tensors(make_parts *s) {
    set_keys(&s->g[1], 1, 3, N_TENSORS + 1);
}
static void other_family(make_parts *s) {
    make_str(&s->g[1], "general.architecture", "qwen2");
}
static void odd_family(make_parts *s) {
    make_u32(&s->g[1], "general.architecture", 1);
}
static void twice(make_parts *s) {
    make_add(&s->g[1], "token_embd.weight", FORMAT_F32, 64, MAKE_N_VOCAB);
}
static void twice_unused(make_parts *s) {
    make_add(&s->g[0], "blk.0.attn_rot_embd", FORMAT_F32, 8, 0);
    make_add(&s->g[1], "blk.0.attn_rot_embd", FORMAT_F32, 8, 0);
    for (size_t i = 0; i < 3; i++) set_keys(&s->g[i], i, 3, N_TENSORS + 2);
}
static void lack_tensor(make_parts *s) {
    make_remove(&s->g[1], "blk.0.ffn_gate.weight");
    make_add(&s->g[2], "blk.0.attn_rot_embd", FORMAT_F32, 8, 0);
}
static void lack_tensor_told(make_parts *s) {
    make_remove(&s->g[1], "blk.0.ffn_gate.weight");
    for (size_t i = 0; i < 3; i++) set_keys(&s->g[i], i, 3, N_TENSORS - 1);
}
static void more_than_told(make_parts *s) {
    make_add(&s->g[1], "output.weight", FORMAT_F32, 64, MAKE_N_VOCAB);
}
static void last_more_than_told(make_parts *s) {
    make_add(&s->g[2], "output.weight", FORMAT_F32, 64, MAKE_N_VOCAB);
}
static void fewer_than_told(make_parts *s) {
    for (size_t i = 0; i < 3; i++) set_keys(&s->g[i], i, 3, N_TENSORS + 1);
}
static void told_too_few(make_parts *s) {
    for (size_t i = 0; i < 3; i++) set_keys(&s->g[i], i, 3, N_TENSORS - 2);
}
static void told_none(make_parts *s) {
    set_keys(&s->g[0], 0, 3, 0);
}
static void told_negative(make_parts *s) {
    set_keys(&s->g[0], 0, 3, UINT32_MAX);
}
static void beyond_count(make_parts *s) {
    set_keys(&s->g[0], 3, 3, N_TENSORS);
}
static void no_number(make_parts *s) {
    s->g[0].kv.n -= KEYS_BYTES, s->g[0].n_kv -= 3;
    make_u32(&s->g[0], "split.count", 3);
}
static void huge_count(make_parts *s) {
    no_number(s);
    s->g[0].kv.n -= 4, make_le(&s->g[0].kv, 70000, 4);
    make_u32(&s->g[0], "split.no", 0), make_u32(&s->g[0], "split.tensors.count", N_TENSORS);
}
static void text_count(make_parts *s) {
    s->g[1].kv.n = 0, s->g[1].n_kv = 0;
    make_str(&s->g[1], "split.count", "three");
}
static void other_shape(make_parts *s) {
    make_tensor *t = make_find(&s->g[1], "blk.0.ffn_gate.weight");
    t->dims[0] = 96, t->dims[1] = 64;
}
static void other_version(make_parts *s) {
    s->g[2].version = 1;
}

/* A model of 20 tensors in three files with one defect; the status, words of the message, and the file
 * whose header is refused (n: the end). */
static const struct {
    const char *name;
    void (*spoil)(make_parts *s);
    nut_status status;
    size_t at;
    const char *words;
} faults[] = {
    {"the second split first", begin_second, NUT_E_ARGUMENT, 0,
     "split 2 of 3 of a model: begin with the first, whose name ends in -00001-of-00003.gguf"},
    {"the second split left out", skip_second, NUT_E_ARGUMENT, 1,
     "this is split 3 of 3 and split 2 comes next: give the file whose name ends in -00002-of-00003.gguf"},
    {"the first split twice", first_twice, NUT_E_ARGUMENT, 1, "this is split 1 of 3 and split 2 comes next"},
    {"the second split twice", second_twice, NUT_E_ARGUMENT, 2,
     "this is split 2 of 3 and split 3 comes next"},
    {"splits swapped", swapped, NUT_E_ARGUMENT, 1, "this is split 3 of 3 and split 2"},
    {"the last split missing", lack_last, NUT_E_TRUNCATED, 2,
     "has 3 splits and only 2 came: give the file whose name ends in -00003-of-00003.gguf"},
    {"two splits missing", lack_two, NUT_E_TRUNCATED, 1, "only 1 came"},
    {"a whole file as second", whole_second, NUT_E_ARGUMENT, 1,
     "this is a whole model, and split 2 of 3 of another comes next"},
    {"a merged file as second", merged_second, NUT_E_ARGUMENT, 1, "this is a whole model"},
    {"a split of four", other_count, NUT_E_ARGUMENT, 1, "split 2 of another model (of 4 splits"},
    {"a split of more tensors", other_tensors, NUT_E_ARGUMENT, 1,
     "another model (of 3 splits and 21 tensors; the first split is of 3 and 20)"},
    {"another family's split", other_family, NUT_E_ARGUMENT, 1, "\"qwen2\""},
    {"a family that is no text", odd_family, NUT_E_CORRUPT, 1, "general.architecture"},
    {"a tensor in two splits", twice, NUT_E_CORRUPT, 1, "token_embd.weight was in an earlier split"},
    {"a tensor that is not used in two", twice_unused, NUT_E_CORRUPT, 2,
     "\"blk.0.attn_rot_embd\" stands in it twice"},
    {"a tensor missing", lack_tensor, NUT_E_CORRUPT, 2, "lacks tensor blk.0.ffn_gate.weight"},
    {"a tensor missing by count", lack_tensor_told, NUT_E_CORRUPT, 0,
     "lacks 14 tensors and the splits to come have only 13"},
    {"more tensors than told", more_than_told, NUT_E_CORRUPT, 1,
     "lacks 7 tensors and the splits to come have only 6"},
    {"more in the last", last_more_than_told, NUT_E_CORRUPT, 2, "hold 21 tensors, and all must hold 20"},
    {"fewer tensors than told", fewer_than_told, NUT_E_CORRUPT, 2, "hold 20 tensors, and all must hold 21"},
    {"too few told", told_too_few, NUT_E_CORRUPT, 0, "lacks 14 tensors and the splits to come have only 12"},
    {"no tensors told", told_none, NUT_E_CORRUPT, 0, "hold 6 tensors, and all must hold 0"},
    {"a negative number told", told_negative, NUT_E_CORRUPT, 0, "split.tensors.count"},
    {"a number beyond the count", beyond_count, NUT_E_CORRUPT, 0, "split.no"},
    {"no number", no_number, NUT_E_CORRUPT, 0, "split.no"},
    {"a count of more than 16 bits", huge_count, NUT_E_CORRUPT, 0, "split.count"},
    {"a count in words", text_count, NUT_E_CORRUPT, 1, "\"split.count\" has an unfit value"},
    {"a tensor of another shape", other_shape, NUT_E_CORRUPT, 1, "and must be"},
    {"a split of another version", other_version, NUT_E_UNSUPPORTED, 2, "split 3 of 3: GGUF version 1"},
};

/* The file that is refused, or the number of files if it is the end. */
static size_t load_refused(const make_parts *s, nut_status *status, nut_error *err) {
    const nut_load_options lo = nut_load_defaults();
    nut_loader *l = NULL;
    nut_model *m = NULL;
    size_t i = 0;
    *status = nut_load_begin(&lo, 0, &l, err);
    for (; *status == NUT_OK && i < s->n; i++) {
        if (i) *status = nut_load_next(l, 0, err);
        if (*status == NUT_OK) *status = make_feed(l, s->file[i], s->n_bytes[i], NULL, err);
        if (*status != NUT_OK) break;
    }
    if (*status == NUT_OK) *status = nut_load_finish(l, &m, err);
    if (!CHECK(*status != NUT_OK, "it loads")) {
        nut_model_free(m);
        return 9;
    }
    nut_error after;
    CHECK(nut_load_feed(l, 0, "GGUF", 4, &after) == NUT_E_STATE, "a load that failed goes on");
    CHECK(nut_load_next(l, 0, &after) == NUT_E_STATE, "a load that failed takes a file");
    CHECK(nut_load_finish(l, &m, &after) == NUT_E_STATE, "a load that failed ends");
    nut_load_abort(l);
    return i;
}

static void test_faults(void) {
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        make_gguf g = make_model(&(make_options){0});
        make_parts s = make_split(&g, 3, false);
        nut_status status;
        nut_error err = {0};
        CHECK(g.n_tensors == N_TENSORS, "%zu tensors", g.n_tensors);
        faults[i].spoil(&s);
        make_part_files(&s);
        const size_t at = load_refused(&s, &status, &err);
        CHECK(status == faults[i].status && err.code == status && at == faults[i].at &&
                  strstr(err.message, faults[i].words),
              "%s: file %zu: %s: %s", faults[i].name, at, nut_status_name(status), err.message);
        make_parts_free(&s), make_free(&g);
    }
}

/* ---- wrong use, cut files, no memory ---- */

static void test_use(void) {
    make_gguf g = make_model(&(make_options){0});
    make_parts s = make_split(&g, 2, false);
    make_part_files(&s);
    const nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    nut_model *m;
    nut_error err = {0};
    if (!CHECK(nut_load_begin(&lo, 0, &l, &err) == NUT_OK, "%s", err.message)) return;
    CHECK(make_feed(l, s.file[0], s.n_bytes[0], NULL, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_feed(l, s.n_bytes[0], "behind the end", 14, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_next(l, s.n_bytes[1], &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_feed(l, s.n_bytes[0] + 14, s.file[1], 9, &err) == NUT_E_ARGUMENT, "offsets begin again");
    CHECK(make_feed(l, s.file[1], s.n_bytes[1], NULL, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_next(l, 0, &err) == NUT_E_STATE && strstr(err.message, "the model has 2"), "%s",
          err.message);
    if (CHECK(nut_load_finish(l, &m, &err) == NUT_OK, "after a file too many: %s", err.message)) {
        check_weights(m, &g, "after wrong use");
        nut_model_free(m);
    }
    make_parts_free(&s), make_free(&g);
}

/* After a whole file no other is accepted. */
static void test_whole(void) {
    make_gguf g = make_model(&(make_options){0});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    const nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    nut_model *m;
    nut_error err = {0};
    if (!CHECK(nut_load_begin(&lo, n, &l, &err) == NUT_OK, "%s", err.message)) return;
    CHECK(make_feed(l, file, n, NULL, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_get_plan(l).n_splits == 1 && nut_load_get_plan(l).n_read == 1, "splits of a whole file");
    CHECK(nut_load_next(l, n, &err) == NUT_E_STATE, "%s", err.message);
    if (CHECK(nut_load_finish(l, &m, &err) == NUT_OK, "%s", err.message)) nut_model_free(m);
    free(file), make_free(&g);
}

/* A file that ends at any of many places is refused there. */
static void test_cuts(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q4_0});
    make_parts s = make_split(&g, 3, false);
    make_part_files(&s);
    for (size_t part = 0; part < 3; part++)
        for (size_t cut = 0; cut < s.n_bytes[part]; cut += 97) {
            const size_t n = s.n_bytes[part];
            nut_status status;
            nut_error err = {0};
            char words[32];
            s.n_bytes[part] = cut;
            const size_t at = load_refused(&s, &status, &err);
            s.n_bytes[part] = n;
            snprintf(words, sizeof words, "split %zu of 3: ", part + 1);
            CHECK(status == (cut < 4 ? NUT_E_NOT_GGUF : NUT_E_TRUNCATED) && at == (part < 2 ? part + 1 : 3),
                  "split %zu cut at %zu: file %zu: %s", part, cut, at, err.message);
            CHECK((part == 0 && cut < 20000) || strstr(err.message, words) == err.message, "%s",
                  err.message);
        }
    make_parts_free(&s), make_free(&g);
}

/* A web page instead of a split, and a damaged scale: the message says which file. */
static void test_other_bytes(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q4_0});
    make_parts s = make_split(&g, 3, false);
    nut_status status;
    nut_error err = {0};
    memcpy(make_find(&s.g[1], "blk.0.ffn_up.weight")->data.p + 18 * 3, "\x00\x7c", 2);
    make_part_files(&s);
    size_t at = load_refused(&s, &status, &err);
    CHECK(status == NUT_E_CORRUPT && at == 1 &&
              strstr(err.message, "split 2 of 3: the model file is damaged"),
          "%s", err.message);
    free(s.file[1]);
    s.file[1] = malloc(29), s.n_bytes[1] = 29;
    memcpy(s.file[1], "<!DOCTYPE html><html lang=en>", 29);
    at = load_refused(&s, &status, &err);
    CHECK(status == NUT_E_NOT_GGUF && at == 1 && strstr(err.message, "split 2 of 3: this is no GGUF"), "%s",
          err.message);
    make_parts_free(&s), make_free(&g);
}

static void test_no_memory(void) {
    make_gguf g = make_model(&(make_options){.arch = "qwen3", .matrices = FORMAT_Q5_0});
    make_parts s = make_split(&g, 4, true);
    make_part_files(&s);
    size_t failures = 0;
    for (size_t k = 1; k < 10000; k++) {
        nut_model *m = NULL;
        nut_error err = {0};
        counting_start(k);
        nut_status status = make_load_parts(&s, NULL, NULL, &m, &err);
        if (status == NUT_OK) check_weights(m, &g, "an allocation failed");
        if (status == NUT_OK) nut_model_free(m);
        CHECK(status == NUT_OK || (status == NUT_E_MEMORY && strstr(err.message, "out of memory")),
              "allocation %zu failed: %s %s", k, nut_status_name(status), err.message);
        CHECK(counting.alive == 0, "allocation %zu failed: %zu blocks are left", k, counting.alive);
        const bool done = counting.n < k;
        failures += status != NUT_OK;
        counting_stop();
        if (done) break;
    }
    CHECK(failures >= 30, "only %zu allocations failed", failures);
    make_parts_free(&s), make_free(&g);
}

/* ---- hostile files ---- */

/* Each byte of the second file's header changed: an error with a message, or a model; never more memory
 * than the files need. */
static void test_wrong_bytes(void) {
    static const uint8_t masks[] = {0x01, 0x10, 0x80, 0xff};
    make_gguf g = make_model(&(make_options){.arch = "qwen2", .n_layer = 1});
    make_parts s = make_split(&g, 3, false);
    make_part_files(&s);
    size_t silent = 0, refused = 0, loaded = 0, peak = 0, left = 0, n = 0;
    for (size_t i = 0; i < 3; i++) n += s.n_bytes[i];
    for (size_t at = 0; at < 600; at++)
        for (size_t k = 0; k < sizeof masks; k++) {
            nut_model *m;
            nut_error err = {0};
            s.file[1][at] ^= masks[k];
            counting_start(0);
            nut_status status = make_load_parts(&s, NULL, NULL, &m, &err);
            if (counting.peak > peak) peak = counting.peak;
            silent += status != NUT_OK && (err.code != status || !*err.message);
            refused += status != NUT_OK;
            loaded += status == NUT_OK;
            if (status == NUT_OK) nut_model_free(m);
            left += counting.alive;
            counting_stop();
            s.file[1][at] ^= masks[k];
        }
    CHECK(silent == 0 && left == 0, "%zu without a message, %zu blocks left", silent, left);
    CHECK(refused > 1200 && loaded > 20, "%zu refused, %zu loaded", refused, loaded);
    CHECK(peak < 2 * n + (1 << 20), "%zu bytes for files of %zu", peak, n);
    make_parts_free(&s), make_free(&g);
}

/* Counts in a header alone take no memory: 65535 files, and the most tensors and layers that there can
 * be. */
static void test_claims(void) {
    make_gguf g = make_model(&(make_options){.n_layer = 2});
    make_parts s = make_split(&g, 2, true);
    const nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    nut_error err = {0};
    set_keys(&s.g[0], 0, UINT16_MAX, INT32_MAX);
    make_part_files(&s);
    counting_start(0);
    if (CHECK(nut_load_begin(&lo, 0, &l, &err) == NUT_OK, "%s", err.message)) {
        CHECK(make_feed(l, s.file[0], s.n_bytes[0], NULL, &err) == NUT_OK, "%s", err.message);
        CHECK(nut_load_get_plan(l).n_splits == UINT16_MAX, "%u splits", nut_load_get_plan(l).n_splits);
        nut_load_abort(l);
    }
    const size_t sides = 2 * 7 * sizeof(linear_side),        // of the linears of both layers
        most = 4 * s.n_bytes[0] + sizeof(nut_model) + sides; // far below a byte for each that is claimed
    CHECK(counting.peak < most && counting.alive == 0, "%zu bytes for a file of %zu", counting.peak,
          s.n_bytes[0]);
    counting_stop();
    make_parts_free(&s), make_free(&g);
}

/* Very many small files, without tensors and with one unused tensor that is always the same: time and
 * memory grow with the bytes, and duplicates are found at the end. */
static void test_many_files(void) {
    enum { N = 20000 };
    make_gguf g = make_model(&(make_options){.n_layer = 1});
    make_parts s = make_split(&g, 1, false);
    const nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    nut_status status;
    nut_error err = {0};
    s.n = 2;
    make_add(&s.g[1], "blk.0.attn_rot_embd", FORMAT_F32, 8, 0);
    s.g[1].version = 3, s.g[1].alignment = 32;
    set_keys(&s.g[0], 0, N, g.n_tensors + N - 1);
    make_split_keys(&s.g[1], 1, N, g.n_tensors + N - 1);
    make_part_files(&s);
    counting_start(0);
    status = nut_load_begin(&lo, 0, &l, &err);
    if (status == NUT_OK) status = make_feed(l, s.file[0], s.n_bytes[0], NULL, &err);
    for (size_t i = 1; status == NUT_OK && i < N; i++) {
        const size_t at = 24 + 8 + 8 + 4; // of split.no's value
        s.file[1][at] = (uint8_t)i, s.file[1][at + 1] = (uint8_t)(i >> 8);
        status = nut_load_next(l, 0, &err);
        if (status == NUT_OK) status = make_feed(l, s.file[1], s.n_bytes[1], NULL, &err);
    }
    CHECK(status == NUT_E_CORRUPT && nut_load_get_plan(l).n_read == N - 1 && strstr(err.message, "twice"),
          "%u files: %s", nut_load_get_plan(l).n_read, err.message);
    nut_load_abort(l);
    CHECK(counting.peak < 3 * N * s.n_bytes[1] && counting.alive == 0, "%zu bytes at the peak",
          counting.peak);
    counting_stop();
    make_parts_free(&s), make_free(&g);
}

/* ---- quantizing ---- */

static nut_status quantize(make_parts *s, const char *type, make_bytes *to, nut_error *err) {
    memory_job m = {.n_files = s->n};
    for (size_t i = 0; i < s->n; i++) m.file[i] = s->file[i], m.n_bytes[i] = s->n_bytes[i];
    nut_status status = memory_job_round(&m, type, err);
    CHECK(!m.n_wrong, "%zu steps are wrong", m.n_wrong);
    *to = (make_bytes){m.out, m.n_out, m.cap};
    return status;
}

/* Quantizing splits gives the same file as quantizing the whole file. */
static void test_quantize(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_F16, .untied = true});
    make_parts whole = {.n = 1};
    whole.file[0] = make_file(&g, &whole.n_bytes[0]);
    for (size_t k = 1; k < 6; k++) {
        make_parts s = make_split(&g, k, k % 2 == 0);
        make_bytes want = {0}, have = {0};
        nut_error err = {0};
        make_part_files(&s);
        CHECK(quantize(&whole, "q4_0", &want, &err) == NUT_OK, "%s", err.message);
        CHECK(quantize(&s, "q4_0", &have, &err) == NUT_OK, "%zu splits: %s", k, err.message);
        CHECK(have.n == want.n && have.n > 20000 && !memcmp(have.p, want.p, want.n),
              "%zu splits: another file", k);
        free(want.p), free(have.p);
        make_parts_free(&s);
    }
    make_parts_free(&whole), make_free(&g);
}

/* What the loader refuses cannot be quantized either, except for what only a family's table knows. */
static void test_quantize_faults(void) {
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        make_gguf g = make_model(&(make_options){0});
        make_parts s = make_split(&g, 3, false);
        make_bytes out = {0};
        nut_error err = {0};
        faults[i].spoil(&s);
        make_part_files(&s);
        nut_status status = quantize(&s, "q8_0", &out, &err);
        const bool only_load = faults[i].spoil == lack_tensor || faults[i].spoil == lack_tensor_told ||
                               faults[i].spoil == other_shape;
        CHECK((status != NUT_OK) != only_load && (out.n > 0) == only_load, "%s: %zu bytes were written: %s",
              faults[i].name, out.n, err.message);
        free(out.p);
        make_parts_free(&s), make_free(&g);
    }
}

int main(void) {
    test_tiny();
    test_weights();
    test_layouts();
    test_plan();
    test_limit();
    test_peak();
    test_faults();
    test_use();
    test_whole();
    test_cuts();
    test_other_bytes();
    test_no_memory();
    test_wrong_bytes();
    test_claims();
    test_many_files();
    test_quantize();
    test_quantize_faults();
    return check_report();
}
