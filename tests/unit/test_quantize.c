/* Quantized files: the right weights, the same metadata, and no failure of the caller's files or memory that
 * is lost. */
#include "check.h"
#include "counting_alloc.h"
#include "data.h"
#include "make_gguf.h"
#include "model/gguf.h"

static const char story[] = "models/stories260K-f32.gguf";
static const char *const type_names[] = {"q8_0", "q4_0", "q4_1"};
enum { N_TYPES = 3 };

/* ---- a file in memory as source and sink; the k-th read or write fails ---- */

typedef struct memory_file {
    const uint8_t *bytes;
    make_bytes out;
    size_t n_reads, n_writes, fail_read, fail_write; // 0: none
} memory_file;

static nut_status fail_io(nut_error *err) {
    if (err) *err = (nut_error){NUT_E_IO, "the disk is full"};
    return NUT_E_IO;
}

static nut_status memory_read(void *ctx, uint64_t offset, void *out, size_t n, nut_error *err) {
    memory_file *f = ctx;
    if (++f->n_reads == f->fail_read) return fail_io(err);
    memcpy(out, f->bytes + offset, n);
    return NUT_OK;
}

static nut_status memory_write(void *ctx, const void *bytes, size_t n, nut_error *err) {
    memory_file *f = ctx;
    if (++f->n_writes == f->fail_write) return fail_io(err);
    make_put(&f->out, bytes, n);
    return NUT_OK;
}

static nut_status quantize_with(memory_file *f, const uint8_t *file, size_t n, const nut_quantize_options *o,
                                nut_error *err) {
    f->bytes = file;
    const nut_source in = {.ctx = f, .size = n, .read = memory_read};
    const nut_sink out = {f, memory_write};
    return nut_quantize(&in, &out, o, err);
}

/* The quantized file; free() it. NULL, said aloud, where it fails. */
static uint8_t *quantize(const uint8_t *file, size_t n, const char *type, size_t *n_out) {
    memory_file f = {0};
    nut_error err = {0};
    nut_status status = quantize_with(&f, file, n, &(nut_quantize_options){.type = type}, &err);
    CHECK(status == NUT_OK, "%s: %s", type, err.message);
    *n_out = f.out.n;
    if (status == NUT_OK) return f.out.p;
    free(f.out.p);
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

/* Whether the rule of quantize.c takes this tensor. */
static bool is_taken(const make_tensor *t) {
    const size_t n = strlen(t->name);
    return t->n_dims == 2 && t->dims[1] > 1 && t->dims[0] % 32 == 0 && n > 6 &&
           !strcmp(t->name + n - 6, "weight");
}

static void check_tensor(const make_tensor *from, const gguf_tensor *to, const uint8_t *data,
                         const format *want) {
    const format *f = format_by_ggml(from->type);
    const size_t n = (size_t)(from->dims[0] * from->dims[1]);
    if (!is_taken(from) || f == want) {
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
            check_tensor(&g->tensors[i], t, file + t->offset, format_by_name(type));
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
            if (block == 256) o.n_embd = 256, o.n_ff = 512;
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

/* A tensor larger than the pieces that it is worked on in. */
static void test_pieces(void) {
    make_gguf g = make_model(&(make_options){.n_embd = 352, .n_head = 4, .head_dim = 88, .n_ff = 704});
    size_t n, n_out;
    uint8_t *file = make_file(&g, &n), *out = quantize(file, n, "q4_1", &n_out);
    CHECK(make_find(&g, "blk.0.ffn_up.weight")->data.n > 900000, "the tensor is large");
    if (out) check_weights(&g, out, n_out, "q4_1");
    free(out);
    free(file);
    make_free(&g);
}

/* What the rule leaves alone: a single row, other names, three dimensions. */
static void test_left_alone(void) {
    make_gguf g = make_model(&(make_options){0});
    size_t n, n_out;
    make_add(&g, "row.weight", FORMAT_F32, 64, 1);
    make_add(&g, "matrix", FORMAT_F16, 64, 3);
    make_add(&g, "weight.bias", FORMAT_F32, 64, 2);
    make_tensor *cube = make_add(&g, "cube.weight", FORMAT_F32, 64, 4);
    cube->n_dims = 3, cube->dims[1] = 2, cube->dims[2] = 2;
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
    static const uint64_t digests[N_TYPES] = {0x00b4fdd42fd66cdb, 0xf30b2088ab743bda, 0xaaa1cdcc202b52f0};
    size_t n = 0, n_out;
    uint8_t *file = (uint8_t *)data_read(story, &n);
    if (!file) {
        CHECK_SKIP("%s is missing", data_path(story));
        return;
    }
    for (size_t t = 0; t < N_TYPES; t++) {
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
    return gguf_str_is(kv->key, "general.file_type") || gguf_str_is(kv->key, "general.quantization_version");
}

/* Every pair but the two that tell of quantization, in order, byte for byte. */
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
    static const uint32_t file_types[N_TYPES] = {7, 2, 3}; // llama.h: LLAMA_FTYPE_MOSTLY_Q8_0, _Q4_0, _Q4_1
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
    memory_file f = {0};
    nut_error err = {0};
    nut_status status = quantize_with(&f, file, cut ? cut : n, &(nut_quantize_options){.type = type}, &err);
    CHECK(status == want && err.code == want && strstr(err.message, words), "want \"%s\": %s %s", words,
          nut_status_name(status), err.message);
    free(f.out.p);
    free(file);
    make_free(g);
}

static void test_refusals(void) {
    static const char *const types[] = {"f32", "q6_k", "q5_0", "int8", "", NULL};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        make_gguf g = make_model(&(make_options){0});
        refuse(&g, 0, types[i], NUT_E_ARGUMENT, "q8_0, q4_0 and q4_1");
    }
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e30f};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make_gguf g = make_model(&(make_options){0});
        memcpy(make_find(&g, "blk.1.attn_k.weight")->data.p + 4 * 777, &bad[i], 4);
        refuse(&g, 0, "q8_0", NUT_E_CORRUPT, "tensor blk.1.attn_k.weight holds weights");
    }
    make_gguf g = make_model(&(make_options){0});
    make_find(&g, "blk.0.ffn_norm.weight")->type = 20;
    refuse(&g, 0, "q8_0", NUT_E_UNSUPPORTED, "blk.0.ffn_norm.weight has type IQ4_NL");
    g = make_model(&(make_options){0});
    while (g.n_tensors) make_remove(&g, g.tensors[0].name);
    refuse(&g, 0, "q8_0", NUT_E_CORRUPT, "no tensors");
    g = make_model(&(make_options){0});
    refuse(&g, 40000, "q8_0", NUT_E_TRUNCATED, "cut off");
    g = make_model(&(make_options){0});
    refuse(&g, 3, "q8_0", NUT_E_NOT_GGUF, "begins with \"GGU\"");
}

static bool stop_after_three(void *ctx, const char *what, uint64_t done, uint64_t total) {
    int *n_calls = ctx;
    ++*n_calls;
    CHECK(done == (uint64_t)*n_calls && total == 20 && *what, "progress %llu of %llu: %s",
          (unsigned long long)done, (unsigned long long)total, what);
    return *n_calls < 3;
}

static void test_progress(void) {
    make_gguf g = make_model(&(make_options){0});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    memory_file f = {0};
    nut_error err = {0};
    int n_calls = 0;
    const nut_quantize_options o = {.type = "q8_0", .progress = stop_after_three, .progress_ctx = &n_calls};
    CHECK(quantize_with(&f, file, n, &o, &err) == NUT_E_STATE && n_calls == 3, "%d calls: %s", n_calls,
          err.message);
    free(f.out.p);
    free(file);
    make_free(&g);
}

/* Each read, each write and each allocation fails in turn: the error arrives, nothing is left behind. */
static void test_failures(void) {
    enum { READ, WRITE, MEMORY, N_KINDS };
    make_gguf g = make_model(&(make_options){.n_layer = 1});
    size_t n, failures[N_KINDS] = {0};
    uint8_t *file = make_file(&g, &n);
    const nut_quantize_options o = {.type = "q4_0"};
    for (int kind = 0; kind < N_KINDS; kind++)
        for (size_t k = 1; k < 10000; k++) {
            memory_file f = {.fail_read = kind == READ ? k : 0, .fail_write = kind == WRITE ? k : 0};
            nut_error err = {0};
            counting_start(kind == MEMORY ? k : 0);
            nut_status status = quantize_with(&f, file, n, &o, &err),
                       want = kind == MEMORY ? NUT_E_MEMORY : NUT_E_IO;
            const size_t reached = kind == READ ? f.n_reads : kind == WRITE ? f.n_writes : counting.n;
            CHECK(status == NUT_OK || (status == want && err.code == want), "%d %zu: %s", kind, k,
                  err.message);
            CHECK(counting.alive == 0, "%d %zu: %zu blocks are left", kind, k, counting.alive);
            counting_stop();
            if (status == NUT_OK) check_weights(&g, f.out.p, f.out.n, "q4_0");
            free(f.out.p);
            failures[kind] += status != NUT_OK;
            if (reached < k) break;
        }
    CHECK(failures[READ] >= 12 && failures[WRITE] > 100 && failures[MEMORY] >= 8,
          "%zu reads, %zu writes, %zu allocations", failures[READ], failures[WRITE], failures[MEMORY]);
    free(file);
    make_free(&g);
}

/* Memory is that of pieces, whatever the model's size. */
static void test_memory(void) {
    make_gguf g = make_model(&(make_options){.n_embd = 512, .n_ff = 2048});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    memory_file f = {0};
    counting_start(0);
    CHECK(quantize_with(&f, file, n, &(nut_quantize_options){.type = "q8_0"}, NULL) == NUT_OK, "quantizes");
    CHECK(n > 20000000 && counting.peak < 1 << 20, "%zu bytes for a model of %zu", counting.peak, n);
    counting_stop();
    free(f.out.p);
    free(file);
    make_free(&g);
}

int main(void) {
    test_weights();
    test_pieces();
    test_left_alone();
    test_golden();
    test_metadata();
    test_again();
    test_refusals();
    test_progress();
    test_failures();
    test_memory();
    return check_report();
}
