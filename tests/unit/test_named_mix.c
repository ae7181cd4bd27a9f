/* llama.cpp's mixes: the type of each tensor beside those that llama.cpp chose for models of the same shapes
 * (tests/golden/mixes.py), and what the job does with them. */
#include "check.h"
#include "compress/named_mix.h"
#include "make_gguf.h"
#include "memory_job.h"
#include "../golden/mixes.h"

#include "base/mem.h"

enum { ROWS = 2 };

/* ---- the models of mixes.py ---- */

static void add_layer(make_gguf *g, const mixes_model *m, unsigned layer) {
    static const char *const llama[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                        "ffn_gate", "ffn_up", "ffn_down"},
                             *const falcon[] = {"attn_qkv", "attn_output", "ffn_up", "ffn_down"};
    const bool is_falcon = !strcmp(m->arch, "falcon");
    for (size_t i = 0; i < (is_falcon ? 4 : 7); i++) {
        const char *part = is_falcon ? falcon[i] : llama[i];
        const unsigned stack = part[0] == 'f' ? m->n_expert : 0;
        char name[64];
        snprintf(name, sizeof name, "blk.%u.%s%s.weight", layer, part, stack ? "_exps" : "");
        make_tensor *t = make_add(g, name, FORMAT_F32, strstr(part, "down") ? 512 : m->n_cols,
                                  stack ? ROWS * stack : ROWS);
        if (stack) t->n_dims = 3, t->dims[1] = ROWS, t->dims[2] = stack;
    }
}

static make_gguf make_shape(const mixes_model *m) {
    make_gguf g = {.version = 3, .alignment = 32};
    char key[64];
    const struct {
        const char *name;
        unsigned n;
    } numbers[] = {{"block_count", m->n_layer},
                   {"attention.head_count", m->n_head},
                   {"attention.head_count_kv", m->n_head_kv},
                   {"expert_count", m->n_expert}};
    make_str(&g, "general.architecture", m->arch);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(key, sizeof key, "%s.%s", m->arch, numbers[i].name);
        make_u32(&g, key, numbers[i].n);
    }
    make_add(&g, "token_embd.weight", FORMAT_F32, m->n_cols, ROWS);
    if (!m->tied) make_add(&g, "output.weight", FORMAT_F32, m->n_cols, ROWS);
    for (unsigned layer = m->n_layer; layer-- > 0;) add_layer(&g, m, layer); // in another order
    return g;
}

static bool open_header(gguf *g, const uint8_t *file, size_t n) {
    bool complete = false;
    size_t used;
    return gguf_begin(g, n, NULL) == NUT_OK && gguf_feed(g, file, n, &used, &complete, NULL) == NUT_OK &&
           complete;
}

/* ---- types ---- */

/* The next type of "3*Q4_K,Q6_K". */
static const char *next_type(const char **text, unsigned *left, char out[16]) {
    if (!*left) {
        char *end;
        const unsigned long n = strtoul(*text, &end, 10);
        *left = *end == '*' ? (unsigned)n : 1;
        if (*end == '*') *text = end + 1;
    }
    const size_t n = strcspn(*text, ",");
    snprintf(out, 16, "%.*s", (int)n, *text);
    if (!--*left) *text += n + ((*text)[n] == ',');
    return out;
}

/* What we write where llama.cpp writes this: of its two ways to store 4 bits in 18 bytes, the better one for
 * rows that are no whole blocks of Q2_K and Q3_K. */
static const char *ours(const char *theirs, const char *name, bool whole) {
    const bool fallback = !whole && (!strncmp(name, "Q2_K", 4) || !strncmp(name, "Q3_K", 4));
    return fallback && !strcmp(theirs, "Q4_0") ? "IQ4_NL" : theirs;
}

static const format *type_in(const gguf *g, const format **types, const char *name) {
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (gguf_str_is(g->tensors[i].name, name)) return types[i];
    return NULL;
}

static void check_part(const gguf *g, const format **types, const mixes_model *m, const char *in,
                       const char *part, const char *theirs) {
    const bool layered = strncmp(part, "output", 6) && strncmp(part, "token", 5),
               whole = m->n_cols % 256 == 0 || strstr(part, "down") != NULL;
    const char *text = theirs;
    unsigned left = 0;
    for (unsigned layer = 0; layer < (layered ? m->n_layer : 1); layer++) {
        char name[64], type[16];
        if (layered)
            snprintf(name, sizeof name, "blk.%u.%s", layer, part);
        else
            snprintf(name, sizeof name, "%s", part);
        const format *is = type_in(g, types, name);
        const char *want = ours(next_type(&text, &left, type), in, whole);
        CHECK(is && !strcmp(is->name, want), "%s, %s, %s: %s, not %s", m->name, in, name,
              is ? is->name : "none", want);
    }
    CHECK(!*text && !left, "%s, %s: more types than layers", in, part);
}

static void test_types(void) {
    size_t at = 0;
    const size_t n = sizeof mixes_types / sizeof *mixes_types;
    for (int i = 0; i < (int)(sizeof mixes_models / sizeof *mixes_models); i++) {
        make_gguf g = make_shape(&mixes_models[i]);
        gguf h = {0};
        size_t n_bytes;
        uint8_t *file = make_file(&g, &n_bytes);
        CHECK(open_header(&h, file, n_bytes), "the header");
        while (at < n && mixes_types[at].model == i) {
            const char *name = mixes_types[at].mix;
            const format **types = NULL;
            nut_error err = {0};
            CHECK(named_mix_find(name) &&
                      named_mix_types(named_mix_find(name), &h, false, &types, &err) == NUT_OK,
                  "%s", name);
            for (; types && at < n && !strcmp(mixes_types[at].mix, name) && mixes_types[at].model == i; at++)
                check_part(&h, types, &mixes_models[i], name, mixes_types[at].part, mixes_types[at].types);
            mem_free(types);
        }
        gguf_free(&h);
        free(file);
        make_free(&g);
    }
    CHECK(at == n && n > 900, "%zu of %zu rows", at, n);
}

/* ---- the job ---- */

static nut_status run(memory_job *m, nut_compress_options o, nut_error *err) {
    nut_job *job;
    const nut_status status = nut_compress_begin(&o, &job, err);
    return status == NUT_OK ? memory_job_run(m, job, err) : status;
}

/* The file type is llama.cpp's, each tensor's type is told, a tensor of fewer bits stays, and the model
 * loads. */
static void test_job(void) {
    make_gguf g = make_model(&(make_options){.n_embd = 256, .n_ff = 256, .n_layer = 8});
    make_remove(&g, "blk.1.attn_q.weight");
    make_add(&g, "blk.1.attn_q.weight", FORMAT_Q4_0, 256, 256);
    size_t n;
    uint8_t *file = make_file(&g, &n);
    memory_job m = {.file = {file}, .n_bytes = {n}};
    nut_error err = {0};
    gguf h = {0};
    uint32_t type = 0;
    nut_model *model;
    CHECK(run(&m, (nut_compress_options){.mix = "q5_k_m"}, &err) == NUT_OK, "%s", err.message);
    CHECK(strstr(m.notes, "blk.*.attn_v.weight (4, Q6_K)") &&
              strstr(m.notes, "blk.*.attn_v.weight (4, Q5_K)") &&
              strstr(m.notes, "blk.*.attn_q.weight (7, Q5_K)"),
          "%s", m.notes);
    if (CHECK(open_header(&h, m.out, m.n_out), "the header")) {
        CHECK(gguf_get_u32(&h, "general.file_type", 0, &type, NULL) == NUT_OK && type == 17, "file type %u",
              type);
        for (uint64_t i = 0; i < h.n_tensors; i++)
            if (gguf_str_is(h.tensors[i].name, "blk.1.attn_q.weight"))
                CHECK(h.tensors[i].ggml_type == 2, "type %u", h.tensors[i].ggml_type);
    }
    if (CHECK(make_load(m.out, m.n_out, 1000, NULL, &model, &err) == NUT_OK, "%s", err.message))
        nut_model_free(model);
    gguf_free(&h);
    free(m.out), free(file);
    make_free(&g);
}

static void test_refusals(void) {
    static const struct {
        nut_compress_options o;
        const char *words;
    } cases[] = {
        {{.mix = "q4_k_z"}, "no mix \"q4_k_z\"; choose one of Q8_0, Q6_K, Q5_K_M"},
        {{.type = "q4_k_m", .reads_output = true}, "q4_k_m is a mix of types"},
        {{.type = "q4_k", .mix = "q4_k_m"}, "a type or a mix of types, not both"},
        {{.mix = "q4_k_m", .method = "coded"}, "method \"coded\" writes no mixes"},
        {{.mix = "q4_k_m", .size = 1000}, "a type or a mix, not both"},
        {{.mix = "a mix whose name is much longer than any other"}, "no mix \"a mix whose name is"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nut_error err = {0};
        memory_job m = {0};
        CHECK(run(&m, cases[i].o, &err) == NUT_E_ARGUMENT && strstr(err.message, cases[i].words), "%s",
              err.message);
    }
}

int main(void) {
    test_types();
    test_job();
    test_refusals();
    return check_report();
}
