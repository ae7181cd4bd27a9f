/*
 * Compressing a file of any bytes, in feeds of any size, while reads, writes or allocations fail or the job
 * is stopped: an error, or a file that is read back, holds as many tensors and ends where its table says,
 * and that compressing again leaves as it is.
 */
#include "fuzz.h"

#include "../unit/memory_job.h"
#include "model/gguf.h"

/* Keys of metadata that a written file has besides those of its source: type and version of the
 * quantization, and of nutshell.compress the recipe, the types of the source and the errors. */
enum { MOST_ADDED = 5 };

static void check_file(const memory_job *m) {
    gguf a, b;
    nut_error err;
    bool complete;
    size_t used;
    EXPECT(gguf_begin(&a, m->n_bytes[0], &err) == NUT_OK && gguf_begin(&b, m->n_out, &err) == NUT_OK,
           "memory");
    EXPECT(gguf_feed(&a, m->file[0], m->n_bytes[0], &used, &complete, &err) == NUT_OK && complete,
           "the source");
    nut_status status = gguf_feed(&b, m->out, m->n_out, &used, &complete, &err);
    EXPECT(status == NUT_OK && complete, "the file cannot be read back: %s", err.message);
    EXPECT(a.n_tensors == b.n_tensors && b.n_kv >= a.n_kv && b.n_kv <= a.n_kv + MOST_ADDED, "what it holds");
    EXPECT(b.file_bytes <= m->n_out && m->n_out - b.file_bytes < b.alignment, "%zu bytes", m->n_out);
    gguf_free(&a);
    gguf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const char *const types[] = {"q8_0", "q4_0", "q4_1", "Q8_0", "f16", "q6_k", "bf16", "f32"};
    fuzz_input in = {bytes, n};
    const uint8_t flags = fuzz_u8(&in), fail_at = fuzz_u8(&in), stop_at = fuzz_u8(&in);
    const char *type = types[flags % 8];
    rng random;
    rng_seed(&random, stop_at);
    memory_job m = {.file = {in.p},
                    .n_bytes = {in.n},
                    .random = flags & 16 ? &random : NULL,
                    .fail_read = flags & 32 ? fail_at : 0,
                    .fail_write = flags & 64 ? fail_at : 0,
                    .stop_at = flags & 8 ? stop_at : 0};
    nut_error err = {0};
    counting_start(flags & 128 ? fail_at : 0);
    nut_status status = memory_job_round(&m, type, &err);
    fuzz_check_error(status, &err);
    EXPECT(!m.n_wrong, "%zu steps break the contract", m.n_wrong);
    EXPECT(counting.peak <= (1 << 20) + 20 * n, "%zu bytes", counting.peak);
    EXPECT(status != NUT_OK || !m.fail_read || m.n_reads < m.fail_read, "a read that failed was not heeded");
    EXPECT(status != NUT_OK || !m.fail_write || m.n_writes < m.fail_write,
           "a write that failed was not heeded");
    if (m.done && !counting.fail_at) {
        check_file(&m);
        memory_job again = {.file = {m.out}, .n_bytes = {m.n_out}};
        status = memory_job_round(&again, type, &err);
        EXPECT(status == NUT_OK && again.n_out == m.n_out && !memcmp(again.out, m.out, m.n_out),
               "the second file is another: %s", err.message);
        free(again.out);
    }
    free(m.out);
    fuzz_end();
    return 0;
}
