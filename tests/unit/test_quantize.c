/* Quantized files: the right weights, the same metadata, and no failure of the caller's files or memory that
 * is lost. */
#include "check.h"
#include "counting_alloc.h"
#include "data.h"
#include "compress/method.h"
#include "make_gguf.h"
#include "memory_job.h"
#include "model/gguf.h"

static const char story[] = "models/stories260K-f32.gguf";
static const char *const type_names[] = {"q8_0", "q4_0", "q4_1", "f16", "bf16", "f32"};
enum { N_TYPES = sizeof type_names / sizeof *type_names };

/* The quantized file; free() it. NULL, said aloud, where it fails. */
static uint8_t *quantize(const uint8_t *file, size_t n, const char *type, size_t *n_out) {
    memory_job m = {.file = {file}, .n_bytes = {n}};
    nut_error err = {0};
    nut_status status = memory_job_round(&m, type, &err);
    CHECK(status == NUT_OK && m.done && !m.n_wrong, "%s: %s", type, err.message);
    *n_out = m.n_out;
    if (status == NUT_OK) return m.out;
    free(m.out);
    return NULL;
}

static bool read_header(gguf *g, const uint8_t *file, size_t n) {
    nut_error err = {0};
    bool complete = false;
    size_t n_used;
    nut_status status = gguf_begin(g, n, &err);
    if (status == NUT_OK) status = gguf_feed(g, file, n, &n_used, &complete, &err);
    return CHECK(status == NUT_OK && complete, "the file's header: %s", err.message);
}

/* ---- the right weights ---- */

/* The largest rounding error of a block by its definition: half a step, a whole one where Q4_0 cuts off the
 * end of its range that has one code less; and what rounding d and m to half floats moves the largest code.
 */
static float block_error(format_id id, const float *x, size_t n) {
    float lo = x[0], hi = x[0];
    for (size_t i = 1; i < n; i++) lo = fminf(lo, x[i]), hi = fmaxf(hi, x[i]);
    const float amax = fmaxf(-lo, hi), half = 0x1p-11f, subnormal = 0x1p-25f;
    if (id == FORMAT_F32) return 0;
    if (id == FORMAT_F16) return amax * half + subnormal;
    if (id == FORMAT_BF16) return amax * 0x1p-8f;
    if (id == FORMAT_Q8_0) return amax * (0.5f / 127 + half) + 127 * subnormal;
    if (id == FORMAT_Q4_0) return amax * (1.0f / 8 + half) + 8 * subnormal;
    return (hi - lo) * (0.5f / 15 + half) + fabsf(lo) * half + 16 * subnormal;
}

static size_t wrong_blocks(const format *f, const uint8_t *blocks, size_t n_blocks, const float *x) {
    size_t wrong = 0;
    for (size_t b = 0; b < n_blocks; b++, x += f->block, blocks += f->bytes) {
        float y[FORMAT_MAX_BLOCK];
        const float most = block_error(f->id, x, f->block) * 1.0001f;
        f->dequantize(blocks, 1, y);
        for (size_t i = 0; i < f->block; i++) wrong += !(fabsf(x[i] - y[i]) <= most);
    }
    return wrong;
}

/* What llama-quantize leaves alone of what this test makes (ggml-org/llama.cpp, src/llama-quant.cpp,
 * tensor_allows_quantization). */
static bool is_small(const char *name) {
    return strstr(name, "_norm.weight") || strstr(name, "ffn_gate_inp.weight") ||
           strstr(name, "ssm_conv1d") || strstr(name, "time_mix_a1.weight");
}

/* Whether the rule of round.c takes this tensor. */
static bool is_taken(const make_tensor *t, const format *to) {
    const size_t n = strlen(t->name);
    return (t->n_dims == 2 || strstr(t->name, "_exps.weight")) && t->dims[1] > 1 &&
           t->dims[0] % to->block == 0 && n > 6 && !strcmp(t->name + n - 6, "weight") && !is_small(t->name);
}

/* The format that a matrix of g gets: the output matrix has 8 bits at least, but no more than it had. */
static const format *wanted(const make_gguf *g, const make_tensor *t, const format *to) {
    bool own = false;
    for (size_t i = 0; i < g->n_tensors; i++) own |= !strcmp(g->tensors[i].name, "output.weight");
    if (strcmp(t->name, own ? "output.weight" : "token_embd.weight") ||
        (to->id != FORMAT_Q4_0 && to->id != FORMAT_Q4_1))
        return to;
    const format *from = format_by_ggml(t->type);
    return from->id < FORMAT_Q4_0 ? &format_table[FORMAT_Q8_0]
                                  : from; // the list begins with those of 8 and more
}

static void check_tensor(const make_tensor *from, const gguf_tensor *to, const uint8_t *data,
                         const format *want) {
    const format *f = format_by_ggml(from->type);
    const size_t n = (size_t)(from->dims[0] * from->dims[1] * (from->n_dims > 2 ? from->dims[2] : 1));
    if (!is_taken(from, want) || f == want) {
        CHECK(to->ggml_type == from->type && !memcmp(data, from->data.p, from->data.n), "%s is copied",
              from->name);
        return;
    }
    float *x = malloc(n * sizeof *x);
    f->dequantize(from->data.p, n / f->block, x);
    if (CHECK(to->ggml_type == want->ggml_type && to->n_bytes == n / want->block * want->bytes,
              "%s: type %u, %llu bytes", from->name, to->ggml_type, (unsigned long long)to->n_bytes)) {
        size_t wrong = wrong_blocks(want, data, n / want->block, x);
        CHECK(wrong == 0, "%s to %s: %zu weights of %zu are too far off", from->name, want->name, wrong, n);
    }
    free(x);
}

static void check_weights(const make_gguf *g, const uint8_t *file, size_t n, const char *type) {
    gguf h;
    if (read_header(&h, file, n) &&
        CHECK(h.n_tensors == g->n_tensors && h.file_bytes <= n, "the tensors are all there"))
        for (size_t i = 0; i < g->n_tensors; i++) {
            const gguf_tensor *t = &h.tensors[i];
            CHECK(gguf_str_is(t->name, g->tensors[i].name) && t->offset % h.alignment == 0, "%s",
                  g->tensors[i].name);
            check_tensor(&g->tensors[i], t, file + t->offset,
                         wanted(g, &g->tensors[i], format_by_name(type)));
        }
    gguf_free(&h);
}

static void check_loads(const uint8_t *file, size_t n, const char *what) {
    nut_model *m;
    nut_error err = {0};
    nut_status status = make_load(file, n, 1000, NULL, &m, &err);
    if (CHECK(status == NUT_OK, "%s: %s", what, err.message)) nut_model_free(m);
}

/* Every source format into every type. n_ff is no whole number of blocks in the first case: w_down stays. */
static void test_weights(void) {
    for (int id = 0; id < FORMAT_COUNT; id++)
        for (size_t t = 0; t < N_TYPES; t++) {
            const size_t block = format_table[id].block;
            make_options o = {.matrices = (format_id)id, .n_ff = block == 1 ? 100 : 96, .untied = true};
            if (block > 32) o.n_embd = 256, o.n_ff = 512;
            make_gguf g = make_model(&o);
            size_t n, n_out;
            uint8_t *file = make_file(&g, &n), *out = quantize(file, n, type_names[t], &n_out);
            if (out) {
                check_weights(&g, out, n_out, type_names[t]);
                check_loads(out, n_out, type_names[t]);
            }
            free(out);
            free(file);
            make_free(&g);
        }
}

/* A tensor larger than a slice. */
static void test_slices(void) {
    make_gguf g = make_model(&(make_options){.n_embd = 352, .n_head = 4, .head_dim = 88, .n_ff = 704});
    size_t n, n_out;
    uint8_t *file = make_file(&g, &n), *out = quantize(file, n, "q4_1", &n_out);
    CHECK(make_find(&g, "blk.0.ffn_up.weight")->data.n > 900000, "the tensor is large");
    if (out) check_weights(&g, out, n_out, "q4_1");
    free(out);
    free(file);
    make_free(&g);
}

/* An output matrix of its own, and a table that is both: the types, whatever is checked of their weights. */
static void test_output(void) {
    static const struct {
        format_id from;
        bool untied;
        const char *to;
        uint32_t embd, output, other; // ggml types
    } cases[] = {{FORMAT_F32, false, "q4_0", 8, 0, 2},  {FORMAT_F32, true, "q4_0", 2, 8, 2},
                 {FORMAT_F16, true, "q4_1", 3, 8, 3},   {FORMAT_F32, false, "f16", 1, 0, 1},
                 {FORMAT_Q8_0, false, "q4_0", 8, 0, 2}, {FORMAT_Q6_K, true, "q4_0", 2, 14, 2},
                 {FORMAT_Q4_1, false, "q4_0", 3, 0, 2}, {FORMAT_Q4_1, false, "q8_0", 8, 0, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_gguf g = make_model(&(make_options){
            .matrices = cases[i].from, .n_embd = 256, .n_ff = 256, .untied = cases[i].untied});
        gguf h;
        size_t n, n_out;
        uint8_t *file = make_file(&g, &n), *out = quantize(file, n, cases[i].to, &n_out);
        if (out && read_header(&h, out, n_out)) {
            for (uint64_t t = 0; t < h.n_tensors; t++) {
                const gguf_tensor *a = &h.tensors[t];
                const uint32_t want = gguf_str_is(a->name, "token_embd.weight") ? cases[i].embd
                                      : gguf_str_is(a->name, "output.weight")   ? cases[i].output
                                      : a->n_dims == 2                          ? cases[i].other
                                                                                : 0;
                CHECK(a->ggml_type == want, "case %zu: %.*s has type %u", i, (int)a->name.n, a->name.s,
                      a->ggml_type);
            }
            gguf_free(&h);
        }
        free(out);
        free(file);
        make_free(&g);
    }
}

/* What the rule leaves alone: a single row, other names, small matrices, three dimensions but of experts. */
static void test_left_alone(void) {
    make_gguf g = make_model(&(make_options){0});
    size_t n, n_out;
    make_add(&g, "row.weight", FORMAT_F32, 64, 1);
    make_add(&g, "matrix", FORMAT_F16, 64, 3);
    make_add(&g, "weight.bias", FORMAT_F32, 64, 2);
    make_tensor *cube = make_add(&g, "cube.weight", FORMAT_F32, 64, 4);
    cube->n_dims = 3, cube->dims[1] = 2, cube->dims[2] = 2;
    make_tensor *stack = make_add(&g, "blk.0.ffn_up_exps.weight", FORMAT_F32, 64, 6);
    stack->n_dims = 3, stack->dims[1] = 3, stack->dims[2] = 2;
    make_add(&g, "blk.0.ffn_gate_inp.weight", FORMAT_F32, 64, 2);
    make_add(&g, "blk.0.attn_q_norm.weight", FORMAT_F32, 64, 2);
    make_add(&g, "blk.0.ssm_conv1d.weight", FORMAT_F32, 64, 2);
    make_add(&g, "blk.0.time_mix_a1.weight", FORMAT_F32, 64, 2);
    uint8_t *file = make_file(&g, &n), *out = quantize(file, n, "q8_0", &n_out);
    if (out) check_weights(&g, out, n_out, "q8_0");
    free(out);
    free(file);
    make_free(&g);
}

static uint64_t fnv(uint64_t h, const uint8_t *bytes, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) h = (h ^ bytes[i]) * 1099511628211u;
    return h;
}

/* Digests printed by tests/golden/quantized.py with the PyPI package gguf 0.19.0. */
static void test_golden(void) {
    static const uint64_t digests[] = {0x00b4fdd42fd66cdb, 0x4ffb7ed8856e31bf, 0x6c1c329c47b48d84};
    size_t n = 0, n_out;
    uint8_t *file = (uint8_t *)data_read(story, &n);
    if (!file) {
        CHECK_SKIP("%s is missing", data_path(story));
        return;
    }
    for (size_t t = 0; t < sizeof digests / sizeof *digests; t++) {
        uint8_t *out = quantize(file, n, type_names[t], &n_out);
        uint64_t h = 14695981039346656037u;
        gguf g;
        if (!out) continue;
        if (read_header(&g, out, n_out))
            for (uint64_t i = 0; i < g.n_tensors; i++)
                h = fnv(h, out + g.tensors[i].offset, g.tensors[i].n_bytes);
        CHECK(h == digests[t], "%s: digest %016llx", type_names[t], (unsigned long long)h);
        check_loads(out, n_out, type_names[t]);
        gguf_free(&g);
        free(out);
    }
    free(file);
}

/* ---- the same metadata ---- */

static bool same_pair(const gguf_kv *a, const gguf_kv *b) {
    return a->type == b->type && a->elem == b->elem && a->n == b->n && a->n_bytes == b->n_bytes &&
           a->key.n == b->key.n && !memcmp(a->key.s, b->key.s, (size_t)a->key.n) &&
           !memcmp(a->value, b->value, (size_t)a->n_bytes);
}

static bool is_rewritten(const gguf_kv *kv) {
    return gguf_str_is(kv->key, "general.file_type") ||
           gguf_str_is(kv->key, "general.quantization_version") ||
           gguf_str_is(kv->key, "nutshell.compress.source_types") ||
           gguf_str_is(kv->key, "nutshell.compress.errors");
}

/* What each tensor was, and what it has lost: more in fewer bits, nothing where it was copied. */
static void check_facts(const gguf *from, const gguf *to) {
    const gguf_kv *types = gguf_find(to, "nutshell.compress.source_types"),
                  *errors = gguf_find(to, "nutshell.compress.errors");
    size_t n_wrong = 0;
    if (!CHECK(types && errors && types->n == from->n_tensors && errors->n == from->n_tensors, "facts"))
        return;
    for (uint64_t i = 0; i < from->n_tensors; i++) {
        uint32_t type;
        float error;
        memcpy(&type, types->value + 4 * i, 4), memcpy(&error, errors->value + 4 * i, 4);
        const bool copied = from->tensors[i].ggml_type == to->tensors[i].ggml_type;
        n_wrong +=
            type != from->tensors[i].ggml_type || !(error >= 0 && error < 0.2f) || (copied && error > 0);
        n_wrong += to->tensors[i].ggml_type == 2 && error < 0.01f; // q4_0
    }
    CHECK(!n_wrong, "%zu facts", n_wrong);
}

/* Every pair but those that tell of quantization, in order, byte for byte. */
static void check_metadata(const uint8_t *file, size_t n, const uint8_t *out, size_t n_out,
                           uint32_t file_type) {
    gguf a, b;
    uint32_t type = 99, version = 99;
    bool read = read_header(&a, file, n);
    if (read_header(&b, out, n_out) && read) {
        uint64_t k = 0, wrong = 0;
        for (uint64_t i = 0; i < a.n_kv; i++) {
            if (is_rewritten(&a.kv[i])) continue;
            while (k < b.n_kv && is_rewritten(&b.kv[k])) k++;
            wrong += k >= b.n_kv || !same_pair(&a.kv[i], &b.kv[k]);
            k++;
        }
        while (k < b.n_kv && is_rewritten(&b.kv[k])) k++;
        CHECK(wrong == 0 && k == b.n_kv, "%llu pairs differ", (unsigned long long)wrong);
        check_facts(&a, &b);
        CHECK(gguf_get_u32(&b, "general.file_type", 99, &type, NULL) == NUT_OK && type == file_type,
              "file type %u", type);
        CHECK(gguf_get_u32(&b, "general.quantization_version", 99, &version, NULL) == NUT_OK && version == 2,
              "version %u", version);
        CHECK(b.alignment == a.alignment && b.data_offset % b.alignment == 0, "alignment");
    }
    gguf_free(&a);
    gguf_free(&b);
}

static void test_metadata(void) {
    static const uint32_t file_types[N_TYPES] = {7, 2, 3, 1, 32, 0}; // llama.h: enum llama_ftype
    for (size_t t = 0; t < N_TYPES; t++)
        for (int variant = 0; variant < 3; variant++) {
            make_gguf g = make_model(&(make_options){0});
            size_t n, n_out;
            if (variant == 1) make_u32(&g, "general.file_type", 1), make_str(&g, "last", "x");
            if (variant == 2)
                make_u32(&g, "general.alignment", 256), make_bool(&g, "general.file_type", true);
            if (variant == 2) g.alignment = 256, g.version = 2, g.backwards = true;
            uint8_t *file = make_file(&g, &n), *out = quantize(file, n, type_names[t], &n_out);
            if (out) {
                check_metadata(file, n, out, n_out, file_types[t]);
                check_weights(&g, out, n_out, type_names[t]);
            }
            free(out);
            free(file);
            make_free(&g);
        }
}

/* Quantizing again to the same type changes nothing. */
static void test_again(void) {
    make_gguf g = make_model(&(make_options){0});
    size_t n, n_once, n_twice;
    uint8_t *file = make_file(&g, &n), *once = quantize(file, n, "q4_0", &n_once);
    uint8_t *twice = once ? quantize(once, n_once, "Q4_0", &n_twice) : NULL;
    CHECK(twice && n_once == n_twice && !memcmp(once, twice, n_once), "the second file is the first");
    free(twice);
    free(once);
    free(file);
    make_free(&g);
}

/* ---- refusals and failures ---- */

/* Quantizes the file of g, which must fail so; frees g. */
static void refuse(make_gguf *g, size_t cut, const char *type, nut_status want, const char *words) {
    size_t n;
    uint8_t *file = make_file(g, &n);
    memory_job m = {.file = {file}, .n_bytes = {cut ? cut : n}};
    nut_error err = {0};
    nut_status status = memory_job_round(&m, type, &err);
    CHECK(status == want && err.code == want && strstr(err.message, words), "want \"%s\": %s %s", words,
          nut_status_name(status), err.message);
    free(m.out);
    free(file);
    make_free(g);
}

static void test_refusals(void) {
    static const char *const types[] = {"f64", "nvfp4", "coded_4", "int8", "", NULL};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        make_gguf g = make_model(&(make_options){0});
        refuse(&g, 0, types[i], NUT_E_ARGUMENT, "f32, f16, bf16, q8_0, q4_0, q4_1");
    }
    make_gguf g = make_model(&(make_options){0});
    refuse(&g, 0, "a type whose name is much longer than any", NUT_E_ARGUMENT, "no type \"a type whose");
    g = make_model(&(make_options){0});
    make_find(&g, "blk.0.ffn_norm.weight")->type = 36;
    refuse(&g, 0, "q8_0", NUT_E_UNSUPPORTED, "blk.0.ffn_norm.weight has type IQ4_NL_4_4");
    g = make_model(&(make_options){0});
    while (g.n_tensors) make_remove(&g, g.tensors[0].name);
    refuse(&g, 0, "q8_0", NUT_E_CORRUPT, "no tensors");
    g = make_model(&(make_options){0});
    refuse(&g, 40000, "q8_0", NUT_E_TRUNCATED, "cut off");
    g = make_model(&(make_options){0});
    refuse(&g, 3, "q8_0", NUT_E_NOT_GGUF, "begins with \"GGU\"");
    g = make_model(&(make_options){.arch = ""});
    refuse(&g, 0, "q8_0", NUT_E_CORRUPT, "architecture");
    g = make_model(&(make_options){0});
    make_str(&g, "general.type", "adapter");
    refuse(&g, 0, "q8_0", NUT_E_UNSUPPORTED, "LoRA adapter");
    nut_job *job;
    nut_error err;
    CHECK(nut_compress_begin(&(nut_compress_options){.method = "magic", .type = "q8_0"}, &job, &err) ==
                  NUT_E_ARGUMENT &&
              strstr(err.message, "no method \"magic\"; choose one of round"),
          "%s", err.message);
}

/* Weights that are no numbers, in matrices that are encoded and in what is copied, whatever they are held
 * in; and weights that the type cannot hold. */
static void test_bad_weights(void) {
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e30f};
    static const char *const names[] = {"blk.1.attn_k.weight", "output_norm.weight"};
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 2; k++) {
            make_gguf g = make_model(&(make_options){0});
            char words[80];
            memcpy(make_find(&g, names[k])->data.p + 4 * 57, &bad[i], 4);
            snprintf(words, sizeof words, "tensor %s holds weights", names[k]);
            if (i < 3 || k == 0)
                refuse(&g, 0, "q8_0", NUT_E_CORRUPT, words);
            else
                make_free(&g); // large, but copied
        }
    make_gguf near = make_model(&(make_options){0}); // finite, and nearest to infinity of all bfloat16
    memcpy(make_find(&near, names[0])->data.p + 4 * 57, &(float){3.4e38f}, 4);
    refuse(&near, 0, "bf16", NUT_E_CORRUPT, "which type BF16 cannot hold; choose f32");
    for (int id = FORMAT_F16; id < FORMAT_COUNT; id++) {
        const format *f = &format_table[id];
        if (id == FORMAT_NVFP4 || format_has_table(f)) continue; // have none that are not finite or large
        make_gguf g = make_model(&(make_options){.matrices = (format_id)id, .n_embd = 256, .n_ff = 256});
        uint8_t *last = make_find(&g, "blk.0.attn_v.weight")->data.p + 7 * f->bytes;
        const uint16_t nan = id == FORMAT_BF16 ? 0x7fc0 : 0x7e00;
        int at[2] = {0, 0};
        halves_of(f->id, at);
        half_put(last, at[0], nan);
        if (id == FORMAT_MXFP4) last[0] = 255, last[1] = 0x77; // 2^127 * 12
        refuse(&g, 0, f->quantize ? f->name : "q8_0", NUT_E_CORRUPT,
               "tensor blk.0.attn_v.weight holds weights");
    }
}

/* A source that is quantized already is told, where that means losing twice. */
static void test_notes(void) {
    static const struct {
        format_id from;
        const char *to, *words;
    } cases[] = {
        {FORMAT_Q8_0, "q4_0", "quantized already (14 tensors, such as blk.0.attn_q.weight in Q8_0)"},
        {FORMAT_Q6_K, "q8_0", "quantized already (15 tensors, such as token_embd.weight in Q6_K)"},
        {FORMAT_Q4_0, "q4_0", NULL},
        {FORMAT_Q4_0, "f16", NULL},
        {FORMAT_BF16, "q4_0", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_gguf g = make_model(&(make_options){.matrices = cases[i].from, .n_embd = 256, .n_ff = 256});
        size_t n;
        nut_error err = {0};
        uint8_t *file = make_file(&g, &n);
        memory_job m = {.file = {file}, .n_bytes = {n}};
        CHECK(memory_job_round(&m, cases[i].to, &err) == NUT_OK, "%s", err.message);
        CHECK(cases[i].words ? strstr(m.notes, cases[i].words) != NULL : !m.notes[0], "case %zu: \"%s\"", i,
              m.notes);
        free(m.out);
        free(file);
        make_free(&g);
    }
}

/* ---- steps ---- */

/* However few bytes come at a time, the file is the same. */
static void test_feeds(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q5_0});
    size_t n, n_out;
    rng random;
    nut_error err = {0};
    rng_seed(&random, 3);
    g.backwards = true; // so that tensors are wanted from the end of the file to its beginning
    uint8_t *file = make_file(&g, &n), *whole = quantize(file, n, "q4_1", &n_out);
    for (int i = 0; i < 20; i++) {
        memory_job m = {.file = {file}, .n_bytes = {n}, .random = &random};
        CHECK(memory_job_round(&m, "q4_1", &err) == NUT_OK && !m.n_wrong, "%s", err.message);
        CHECK(whole && m.n_out == n_out && !memcmp(m.out, whole, n_out), "another file by feeds");
        CHECK(m.n_progress == g.n_tensors, "%zu tensors are told", m.n_progress);
        free(m.out);
    }
    free(whole);
    free(file);
    make_free(&g);
}

static nut_job *begin_round(void) {
    nut_job *job = NULL;
    nut_error err;
    CHECK(nut_compress_begin(&(nut_compress_options){.type = "q8_0"}, &job, &err) == NUT_OK, "%s",
          err.message);
    return job;
}

static nut_job_event step(nut_job *job) {
    nut_job_event e = {0};
    nut_error err = {0};
    CHECK(nut_job_step(job, &e, &err) == NUT_OK, "%s", err.message);
    return e;
}

/* What is asked for is asked again until it is answered, and nothing else is taken for an answer. */
static void test_answers(void) {
    make_gguf g = make_model(&(make_options){0});
    size_t n;
    nut_error err;
    uint8_t *file = make_file(&g, &n);
    nut_job *job = begin_round();
    CHECK(nut_job_open(job, n, &err) == NUT_E_STATE, "an answer before the question");
    CHECK(nut_job_feed(job, file, 1, &err) == NUT_E_STATE, "bytes before the question");
    for (int i = 0; i < 2; i++) {
        const nut_job_event e = step(job);
        CHECK(e.kind == NUT_JOB_OPEN && e.split == 0, "event %d", (int)e.kind);
        CHECK(nut_job_feed(job, file, 1, &err) == NUT_E_STATE, "bytes before the size");
    }
    CHECK(nut_job_open(job, n, &err) == NUT_OK && nut_job_open(job, n, &err) == NUT_E_STATE,
          "the size twice");
    nut_job_event e = step(job), again = step(job);
    CHECK(e.kind == NUT_JOB_WANT && e.offset == 0 && e.n <= n, "event %d of %zu bytes", (int)e.kind, e.n);
    CHECK(again.kind == e.kind && again.offset == e.offset && again.n == e.n, "another question");
    CHECK(nut_job_feed(job, file, e.n + 1, &err) == NUT_E_ARGUMENT, "more than was wanted");
    CHECK(nut_job_feed(job, file, 0, &err) == NUT_OK && nut_job_feed(job, file, 100, &err) == NUT_OK,
          "a few");
    again = step(job);
    CHECK(again.kind == NUT_JOB_WANT && again.offset == 100 && again.n == e.n - 100, "the rest: %zu",
          again.n);
    nut_job_free(job);

    memory_job m = {.file = {file}, .n_bytes = {n}};
    job = begin_round();
    while (!m.done && CHECK(nut_job_step(job, &e, &err) == NUT_OK, "%s", err.message))
        CHECK(memory_job_answer(&m, job, &e, &err) == NUT_OK, "%s", err.message);
    CHECK(step(job).kind == NUT_JOB_DONE && step(job).kind == NUT_JOB_DONE, "it stays done");
    CHECK(nut_job_feed(job, file, 1, &err) == NUT_E_STATE, "bytes after the end");
    nut_job_free(job);

    job = begin_round();
    e = step(job);
    CHECK(nut_job_open(job, 5, &err) == NUT_OK && step(job).n == 5, "a small file");
    CHECK(nut_job_feed(job, "GGUF?", 5, &err) == NUT_OK, "fed");
    CHECK(nut_job_step(job, &e, &err) == NUT_E_TRUNCATED && nut_job_step(job, &e, &err) == NUT_E_STATE,
          "over");
    nut_job_free(job);
    nut_job_free(NULL);
    free(m.out);
    free(file);
    make_free(&g);
}

/* Stopped after any step, a job leaves nothing behind. */
static void test_cancel(void) {
    make_gguf g = make_model(&(make_options){.n_layer = 1});
    size_t n, k = 1;
    uint8_t *file = make_file(&g, &n);
    for (bool done = false; !done; k++) {
        memory_job m = {.file = {file}, .n_bytes = {n}, .stop_at = k};
        nut_error err = {0};
        counting_start(0);
        CHECK(memory_job_round(&m, "q8_0", &err) == NUT_OK, "%s", err.message);
        CHECK(counting.alive == 0, "%zu blocks are left after step %zu", counting.alive, k);
        counting_stop();
        done = m.done;
        free(m.out);
    }
    CHECK(k > 30, "%zu steps", k);
    free(file);
    make_free(&g);
}

/* Each read, each write and each allocation fails in turn: the error arrives, nothing is left behind. */
static void test_failures(void) {
    enum { READ, WRITE, MEMORY, N_KINDS };
    make_gguf g = make_model(&(make_options){.n_layer = 1});
    size_t n, failures[N_KINDS] = {0};
    uint8_t *file = make_file(&g, &n);
    for (int kind = 0; kind < N_KINDS; kind++)
        for (size_t k = 1; k < 10000; k++) {
            memory_job m = {.file = {file},
                            .n_bytes = {n},
                            .fail_read = kind == READ ? k : 0,
                            .fail_write = kind == WRITE ? k : 0};
            nut_error err = {0};
            counting_start(kind == MEMORY ? k : 0);
            nut_status status = memory_job_round(&m, "q4_0", &err),
                       want = kind == MEMORY ? NUT_E_MEMORY : NUT_E_IO;
            const size_t reached = kind == READ ? m.n_reads : kind == WRITE ? m.n_writes : counting.n;
            CHECK(status == NUT_OK || (status == want && err.code == want), "%d %zu: %s", kind, k,
                  err.message);
            CHECK(counting.alive == 0, "%d %zu: %zu blocks are left", kind, k, counting.alive);
            counting_stop();
            if (status == NUT_OK) check_weights(&g, m.out, m.n_out, "q4_0");
            free(m.out);
            failures[kind] += status != NUT_OK;
            if (reached < k) break;
        }
    CHECK(failures[READ] >= 12 && failures[WRITE] >= 12 && failures[MEMORY] >= 10,
          "%zu reads, %zu writes, %zu allocations", failures[READ], failures[WRITE], failures[MEMORY]);
    free(file);
    make_free(&g);
}

/* Memory is that of slices, whatever the model's size. */
static void test_memory(void) {
    make_gguf g = make_model(&(make_options){.n_embd = 512, .n_ff = 2048});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    memory_job m = {.file = {file}, .n_bytes = {n}};
    counting_start(0);
    CHECK(memory_job_round(&m, "q8_0", NULL) == NUT_OK, "quantizes");
    CHECK(n > 20000000 && counting.peak < 1 << 20, "%zu bytes for a model of %zu", counting.peak, n);
    counting_stop();
    free(m.out);
    free(file);
    make_free(&g);
}

/* ---- any method ---- */

/* A method that writes Q8_0 and sees to what it is given. */
static struct {
    size_t n_slices, n_weights, n_wrong;
    uint64_t next; // weight of the tensor that must come next
} seen;

static const format *plan_long(const nut_compress_options *o, const void *ctx, const gguf *model,
                               const gguf_tensor *t) {
    (void)o, (void)ctx, (void)model;
    return gguf_str_is(t->name, "long.weight") || gguf_str_is(t->name, "odd.weight")
               ? &format_table[FORMAT_Q8_0]
               : NULL;
}

static nut_status encode_long(const method_slice *s, uint8_t *blocks, nut_error *err) {
    (void)err;
    seen.n_slices++;
    seen.n_weights += s->n_rows * s->n_cols;
    seen.n_wrong += s->row * s->tensor->dims[0] + s->col != seen.next || s->to->id != FORMAT_Q8_0;
    seen.n_wrong += s->statistics && s->statistics->sum_squares[s->col] != 7;
    seen.next += s->n_rows * s->n_cols;
    s->to->quantize(s->weights, s->n_rows * s->n_cols / s->to->block, blocks);
    return NUT_OK;
}

static nut_status encode_nothing(const method_slice *s, uint8_t *blocks, nut_error *err) {
    (void)s, (void)blocks;
    if (err) *err = (nut_error){NUT_E_UNSUPPORTED, "these weights cannot be encoded"};
    return NUT_E_UNSUPPORTED;
}

static const statistics *find_sevens(const void *ctx, gguf_str name) {
    static double sums[100000];
    static statistics s = {.kinds = STATISTICS_SQUARES, .n_tokens = 1, .sum_squares = sums};
    for (size_t i = 0; i < 100000; i++) sums[i] = 7;
    CHECK(gguf_str_is(name, "long.weight"), "of %.*s", (int)name.n, name.s);
    return ctx ? &s : NULL;
}

static nut_status compress_with(const method *m, const uint8_t *file, size_t n, bool have, memory_job *to,
                                nut_error *err) {
    nut_job *job;
    const nut_compress_options none = {0};
    seen.n_slices = seen.n_weights = seen.next = 0;
    *to = (memory_job){.file = {file}, .n_bytes = {n}};
    nut_status status =
        compress_begin(m, &none, m->statistics ? find_sevens : NULL, have ? to : NULL, &job, err);
    return status == NUT_OK ? memory_job_run(to, job, err) : status;
}

/* Slices come in order and cover the matrix; rows are whole where the method asks for that; statistics reach
 * it; errors come back; rows that are no whole blocks of the planned type are copied. */
static void test_methods(void) {
    enum { COLS = 70016, ROWS = 5 };
    make_gguf g = make_model(&(make_options){.n_layer = 1});
    method m = {.name = "long", .plan = plan_long, .encode = encode_long};
    memory_job out;
    nut_error err = {0};
    size_t n;
    make_add(&g, "odd.weight", FORMAT_F32, 40, 3);
    make_add(&g, "long.weight", FORMAT_F16, COLS, ROWS);
    uint8_t *file = make_file(&g, &n);
    for (int whole = 0; whole < 2; whole++) {
        m.whole_rows = whole;
        m.statistics = whole ? STATISTICS_SQUARES : 0;
        CHECK(compress_with(&m, file, n, true, &out, &err) == NUT_OK, "%s", err.message);
        CHECK(seen.n_weights == COLS * ROWS && !seen.n_wrong, "%zu weights, %zu wrong", seen.n_weights,
              seen.n_wrong);
        CHECK(seen.n_slices == (whole ? ROWS : 2 * ROWS), "%zu slices", seen.n_slices);
        gguf h;
        if (read_header(&h, out.out, out.n_out)) {
            const gguf_tensor *odd = &h.tensors[h.n_tensors - 2], *last = &h.tensors[h.n_tensors - 1];
            CHECK(odd->ggml_type == 0 && last->ggml_type == 8, "types %u, %u", odd->ggml_type,
                  last->ggml_type);
            check_tensor(make_find(&g, "long.weight"), last, out.out + last->offset,
                         &format_table[FORMAT_Q8_0]);
        }
        gguf_free(&h);
        free(out.out);
    }
    CHECK(compress_with(&m, file, n, false, &out, &err) == NUT_E_ARGUMENT &&
              strstr(err.message, "no statistics for tensor long.weight"),
          "%s", err.message);
    free(out.out);
    nut_job *job;
    CHECK(compress_begin(&m, &(nut_compress_options){0}, NULL, NULL, &job, &err) == NUT_E_ARGUMENT &&
              strstr(err.message, "calibrate"),
          "%s", err.message);
    m.statistics = 0;
    m.encode = encode_nothing;
    CHECK(compress_with(&m, file, n, false, &out, &err) == NUT_E_UNSUPPORTED, "%s", err.message);
    free(out.out);
    free(file);
    make_free(&g);
}

int main(void) {
    test_weights();
    test_slices();
    test_output();
    test_left_alone();
    test_golden();
    test_metadata();
    test_again();
    test_refusals();
    test_bad_weights();
    test_notes();
    test_feeds();
    test_answers();
    test_cancel();
    test_failures();
    test_memory();
    test_methods();
    return check_report();
}
