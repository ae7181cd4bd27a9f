/*
 * Models of any shape, each matrix in its own format, with weights that may be NaN or infinite, run in
 * sessions of any kind: nothing is accessed out of bounds (arenas have guards here), and with moderate
 * weights the logits' bits do not depend on the batches of the prompt.
 */
#include "fuzz.h"

#include "../unit/make_gguf.h"

enum { CTX = 320, MOST_PROMPT = 300, MOST_WIDTH = 256 };

typedef struct shape {
    make_options o;
    uint8_t formats[8]; // of the matrices, in the order of `matrices`
    uint32_t n_rot;
    nut_kv_type kv;
    bool floats, ref, tame;
    uint8_t n_batch, n_logits;
    uint32_t n_prompt, wild; // wild: values that replace some weights
} shape;

static const char *const matrices[8] = {
    "token_embd.weight",        "blk.0.attn_q.weight",   "blk.0.attn_k.weight", "blk.0.attn_v.weight",
    "blk.0.attn_output.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"};

/* ---- from the input ---- */

/* A width: any, or a multiple of 32 or 256. */
static uint32_t read_width(fuzz_input *in) {
    const uint8_t kind = fuzz_u8(in), n = fuzz_u8(in);
    return kind % 8 == 0 ? 256 : kind % 2 ? 32 * (1 + n % 4u) : 1 + n % 70u;
}

static shape read_shape(fuzz_input *in) {
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    static const uint32_t odd[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff,
                                   0x00000001, 0x7c007c00, 0xffffffff};
    shape s = {.o = {.arch = families[fuzz_u8(in) % 3], .n_layer = 1, .n_ctx = CTX, .seed = fuzz_u8(in)}};
    s.o.n_embd = read_width(in), s.o.n_ff = read_width(in);
    s.o.n_head_kv = 1 + fuzz_u8(in) % 3;
    s.o.n_head = s.o.n_head_kv * (1 + fuzz_u8(in) % 9);
    s.o.head_dim = 8 * (1 + fuzz_u8(in) % (MOST_WIDTH / 8 / s.o.n_head));
    s.o.vectors = (format_id)(fuzz_u8(in) % 3);
    for (int i = 0; i < 8; i++) s.formats[i] = fuzz_u8(in) % FORMAT_COUNT;
    s.n_rot = 2 * (1 + fuzz_u8(in) % (s.o.head_dim / 2));
    const uint8_t flags = fuzz_u8(in);
    s.kv = flags & 64 ? NUT_KV_Q4_0 : flags & 1 ? NUT_KV_Q8_0 : NUT_KV_F16;
    s.floats = flags & 2, s.ref = flags & 4, s.tame = !(flags & 24);
    s.n_batch = 1 + fuzz_u8(in) % 70, s.n_logits = 1 + fuzz_u8(in) % s.n_batch;
    const bool small = s.o.n_embd <= 64 && s.o.n_ff <= 64 && s.o.n_head * s.o.head_dim <= 64;
    s.n_prompt = 1 + fuzz_u16(in) % (flags & 32 && small ? MOST_PROMPT : 24);
    s.wild = odd[fuzz_u8(in) % 7];
    return s;
}

/* ---- the model ---- */

static void set_format(make_gguf *g, const char *name, format_id id) {
    const make_tensor t = *make_find(g, name);
    if (t.dims[0] % format_table[id].block) return;
    make_remove(g, name);
    make_add(g, name, id, (size_t)t.dims[0], (size_t)t.dims[1]);
}

/* Overwrites some bytes of some tensors with wild values. */
static void make_wild(make_gguf *g, const shape *s) {
    for (size_t i = s->o.seed % 3; i < g->n_tensors; i += 1 + s->o.seed % 5) {
        make_bytes *b = &g->tensors[i].data;
        for (size_t at = 4 * (s->o.seed % 7); at + 4 <= b->n; at += b->n / 3 / 4 * 4 + 4)
            memcpy(b->p + at, &s->wild, 4);
    }
}

static uint8_t *make_shape(const shape *s, size_t *n) {
    make_gguf g = {.version = 3, .alignment = 32};
    rng_seed(&g.random, s->o.seed);
    make_hparams(&g, &s->o);
    make_u32(&g, make_hparam_key(s->o.arch, "rope.dimension_count"), s->n_rot);
    make_vocab(&g);
    make_add(&g, "token_embd.weight", FORMAT_F32, s->o.n_embd, MAKE_N_VOCAB);
    make_layer(&g, &s->o, 0);
    make_add(&g, "output_norm.weight", s->o.vectors, s->o.n_embd, 0);
    for (int i = 0; i < 8; i++) set_format(&g, matrices[i], (format_id)s->formats[i]);
    if (!s->tame) make_wild(&g, s);
    uint8_t *file = make_file(&g, n);
    make_free(&g);
    return file;
}

/* ---- running it ---- */

static bool are_finite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(x[i] - x[i] == 0)) return false;
    return true;
}

/* Logits of the last tokens of the prompt, (n_logits, MAKE_N_VOCAB), and a few tokens sampled after it. */
static float *run_prompt(const nut_model *m, const shape *s, uint32_t n_batch, uint32_t n_logits) {
    const nut_session_options o = {.n_ctx = CTX,
                                   .n_threads = 1,
                                   .n_batch = n_batch,
                                   .n_logits = n_logits,
                                   .kv_type = s->kv,
                                   .profile = n_batch == 1};
    const size_t row = MAKE_N_VOCAB * sizeof(float);
    int32_t ids[MOST_PROMPT];
    nut_session *session;
    nut_error err;
    nut_step step;
    for (uint32_t i = 0; i < s->n_prompt; i++) ids[i] = (int32_t)((i * 37 + s->o.seed) % MAKE_N_VOCAB);
    nut_status status = nut_session_new(m, &o, &session, &err);
    EXPECT(status == NUT_OK, "%s", err.message);
    float *logits = malloc(n_logits * row);
    status = nut_session_eval(session, ids, s->n_prompt, n_logits, &err);
    EXPECT(status == NUT_OK, "%s", err.message);
    for (uint32_t i = 0; i < n_logits; i++)
        memcpy(logits + i * MAKE_N_VOCAB, nut_session_logits(session, i), row);
    nut_generate_options go = nut_generate_defaults();
    go.max_tokens = 3, go.seed = s->o.seed;
    status = nut_generate_begin(session, ids, s->n_prompt, &go, &err);
    EXPECT(status == NUT_OK, "%s", err.message);
    do {
        status = nut_generate_step(session, &step, &err);
        const float *last =
            nut_session_logits(session, 0); // random weights may give numbers that are not finite
        EXPECT(status == NUT_OK || (status == NUT_E_CORRUPT && last && !are_finite(last, MAKE_N_VOCAB)),
               "%s", err.message);
        EXPECT(step.token < (int32_t)MAKE_N_VOCAB, "token %d", (int)step.token);
    } while (status == NUT_OK && step.kind != NUT_STEP_DONE);
    nut_session_free(session);
    return logits;
}

static void run_model(const nut_model *m, const shape *s) {
    const uint32_t n_batch = s->n_batch, n_logits = s->n_logits < s->n_prompt ? s->n_logits : s->n_prompt;
    float *a = run_prompt(m, s, n_batch, n_logits), *b = run_prompt(m, s, 1, 1);
    const float *last = a + (n_logits - 1) * MAKE_N_VOCAB;
    if (s->tame)
        for (uint32_t i = 0; i < MAKE_N_VOCAB; i++)
            EXPECT(last[i] == b[i] && last[i] - last[i] == 0, "logit %u: %g in batches of %u, %g one by one",
                   i, (double)last[i], n_batch, (double)b[i]);
    free(b);
    free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_input in = {bytes, n};
    const shape s = read_shape(&in);
    nut_load_options o = nut_load_defaults();
    nut_model *m = NULL;
    nut_error err;
    size_t n_file;
    o.reference = s.floats, o.kernel = s.ref ? "ref" : NULL;
    uint8_t *file = make_shape(&s, &n_file);
    counting_start(0);
    nut_status status = make_load(file, n_file, 4000, &o, &m, &err);
    EXPECT(status == NUT_OK || !s.tame, "%s", err.message);
    fuzz_check_error(status, &err);
    if (status == NUT_OK) run_model(m, &s);
    nut_model_free(m);
    free(file);
    fuzz_end();
    return 0;
}
