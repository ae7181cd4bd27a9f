/*
 * Quantizing a file of any bytes, while reads, writes or allocations fail. The result is an error, or a file
 * that can be read, has as many tensors, ends where its table says, and does not change when it is quantized
 * again.
 */
#include "fuzz.h"

#include "model/gguf.h"

typedef struct memory_file {
    fuzz_input in;
    uint8_t *out;
    size_t n_out, cap;
    size_t n_calls, fail_at; // 0: none fails
} memory_file;

static nut_status call(memory_file *f, nut_error *err) {
    if (++f->n_calls != f->fail_at) return NUT_OK;
    *err = (nut_error){NUT_E_IO, "the disk is full"};
    return NUT_E_IO;
}

static nut_status memory_read(void *ctx, uint64_t offset, void *out, size_t n, nut_error *err) {
    memory_file *f = ctx;
    EXPECT(n <= f->in.n && offset <= f->in.n - n, "%zu bytes at %llu of %zu", n, (unsigned long long)offset,
           f->in.n);
    if (n) memcpy(out, f->in.p + offset, n);
    return call(f, err);
}

static nut_status memory_write(void *ctx, const void *bytes, size_t n, nut_error *err) {
    memory_file *f = ctx;
    if (f->n_out + n > f->cap) {
        f->cap = 2 * (f->n_out + n);
        f->out = realloc(f->out, f->cap);
        if (!f->out) abort();
    }
    if (n) memcpy(f->out + f->n_out, bytes, n);
    f->n_out += n;
    return call(f, err);
}

static bool go_on(void *ctx, const char *what, uint64_t done, uint64_t total) {
    EXPECT(done <= total && strlen(what) <= 64, "%llu of %llu", (unsigned long long)done,
           (unsigned long long)total);
    return done != *(const uint64_t *)ctx;
}

static nut_status quantize(memory_file *f, const nut_quantize_options *o, nut_error *err) {
    const nut_source source = {.ctx = f, .size = f->in.n, .read = memory_read};
    const nut_sink sink = {f, memory_write};
    return nut_quantize(&source, &sink, o, err);
}

static void check_file(const memory_file *f) {
    gguf a, b;
    nut_error err;
    bool complete;
    size_t used;
    EXPECT(gguf_begin(&a, f->in.n, &err) == NUT_OK && gguf_begin(&b, f->n_out, &err) == NUT_OK, "memory");
    EXPECT(gguf_feed(&a, f->in.p, f->in.n, &used, &complete, &err) == NUT_OK && complete, "the source");
    nut_status status = gguf_feed(&b, f->out, f->n_out, &used, &complete, &err);
    EXPECT(status == NUT_OK && complete, "the file cannot be read back: %s", err.message);
    EXPECT(a.n_tensors == b.n_tensors && b.n_kv >= a.n_kv && b.n_kv <= a.n_kv + 2, "what it holds");
    EXPECT(b.file_bytes <= f->n_out && f->n_out - b.file_bytes < b.alignment, "%zu bytes", f->n_out);
    gguf_free(&a);
    gguf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const char *const types[] = {"q8_0", "q4_0", "q4_1", "Q8_0", "f32", "q6_k"};
    fuzz_input in = {bytes, n};
    const uint8_t flags = fuzz_u8(&in), fail_at = fuzz_u8(&in);
    uint64_t stop_at = fuzz_u8(&in);
    nut_quantize_options o = {.type = types[flags % 6], .progress = go_on, .progress_ctx = &stop_at};
    memory_file f = {.in = in, .fail_at = flags & 64 ? fail_at : 0}, again = {0};
    nut_error err = {0};
    counting_start(flags & 128 ? fail_at : 0);
    nut_status status = quantize(&f, &o, &err);
    fuzz_check_error(status, &err);
    EXPECT(counting.peak <= (1 << 20) + 20 * n, "%zu bytes", counting.peak);
    EXPECT(status != NUT_OK || !f.fail_at || f.n_calls < f.fail_at, "a call that failed was not heeded");
    if (status == NUT_OK && !counting.fail_at) {
        check_file(&f);
        again.in = (fuzz_input){f.out, f.n_out};
        o.progress = NULL;
        status = quantize(&again, &o, &err);
        EXPECT(status == NUT_OK && again.n_out == f.n_out && !memcmp(again.out, f.out, f.n_out),
               "the second file is another: %s", err.message);
    }
    free(again.out);
    free(f.out);
    fuzz_end();
    return 0;
}
