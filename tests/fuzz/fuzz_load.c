/*
 * A model file, fed to the public loader in steps; a model that loads is run: facts, a text, a session of a
 * few tokens, perplexity. The result does not depend on the steps. Until the plan is known the memory is
 * limited by the bytes fed; after that the plan's weights are added. Where the file says that it is one of
 * several, the next one begins at the next first bytes of a file in the input.
 */
#include "fuzz.h"

#include "base/rng.h"
#include "../unit/load_cost.h"
#include "../unit/memory_job.h"
#include "model/bind.h"
#include "run/layer_load.h"
#include "run/session.h"

enum { LIMIT = 1 << 24, SESSION_MOST = 1 << 23, CTX = 24 };

typedef struct load_case {
    fuzz_input file;
    nut_load_options options;
    bool known;            // the file's size is told
    uint32_t cut, fail_at; // seed of the pieces; allocation that fails
    bool for_good;
} load_case;

static load_case read_case(fuzz_input in) {
    load_case c = {.options = nut_load_defaults()};
    const uint8_t flags = fuzz_u8(&in);
    c.cut = fuzz_u16(&in);
    c.fail_at = fuzz_u8(&in);
    c.known = !(flags & 1);
    c.options.reference = flags & 2;
    c.options.kernel = flags & 4 ? "ref" : NULL;
    c.options.kv_type = flags & 8 ? NUT_KV_Q8_0 : NUT_KV_F16;
    c.options.n_ctx = flags & 16 ? CTX : 0;
    c.options.memory_limit = LIMIT;
    c.for_good = flags & 32;
    if ((flags & 192) == 192) c.options.kernel = "quantum"; // seldom: such a load is refused at once
    if ((flags & 224) == 160) c.options.kv_type = NUT_KV_COUNT;
    c.file = in;
    return c;
}

/* Until the plan is known, memory is limited by the bytes fed; then its weights are added. */
static void check_cost(const nut_loader *l, uint64_t fed) {
    const nut_load_plan plan = nut_load_get_plan(l);
    const uint64_t most = load_cost_most(fed) + (plan.complete ? plan.weight_bytes + LOAD_COST_FIXED : 0);
    EXPECT(counting.peak <= most, "%zu bytes after %llu", counting.peak, (unsigned long long)fed);
}

/* A load that has failed, or gets bytes of a wrong offset, returns an error and does not change. */
static void check_wrong_use(nut_loader *l, uint64_t end) {
    nut_model *m;
    nut_error err;
    if (!l) return;
    EXPECT(nut_load_feed(l, end, "more", 4, &err) == NUT_E_STATE, "%s", err.message);
    EXPECT(nut_load_finish(l, &m, &err) == NUT_E_STATE, "%s", err.message);
}

/* Offset of the next file of a model, or of the input's end. */
static size_t next_file(const load_case *c, size_t at) {
    static const char magic[] = {'G', 'G', 'U', 'F', 3, 0, 0, 0};
    for (size_t i = at + 1; i + sizeof magic <= c->file.n; i++)
        if (!memcmp(c->file.p + i, magic, sizeof magic)) return i;
    return c->file.n;
}

/* Whether the loader needs another file after this one. */
static bool wants_more(const nut_loader *l) {
    const nut_load_plan plan = nut_load_get_plan(l);
    return plan.complete && plan.n_read < plan.n_splits;
}

/* Feeds the files in steps of random lengths, most of them short; cut 0: each file at once. */
static nut_status load_in_pieces(const load_case *c, uint32_t cut, nut_model **out, nut_error *err) {
    nut_loader *l = NULL;
    nut_error other;
    rng r;
    rng_seed(&r, cut);
    nut_status status = nut_load_begin(&c->options, c->known ? c->file.n : 0, &l, err);
    for (size_t at = 0, begin = 0, end = next_file(c, 0), n; status == NUT_OK && at < c->file.n; at += n) {
        n = cut ? 1 + (size_t)(rng_u64(&r) & (((uint64_t)1 << rng_u64(&r) % 14) - 1)) : c->file.n;
        if (n > end - at) n = end - at;
        void *piece = fuzz_copy((fuzz_input){c->file.p + at, n});
        EXPECT(nut_load_feed(l, at - begin + 1, piece, n, &other) == NUT_E_ARGUMENT, "a gap");
        EXPECT(nut_load_feed(l, at - begin, NULL, 0, &other) == NUT_OK, "no bytes");
        status = nut_load_feed(l, at - begin, piece, n, err);
        free(piece);
        check_cost(l, at + n);
        if (at + n < end || end == c->file.n) continue;
        if (status == NUT_OK && wants_more(l)) {
            begin = end;
            status = nut_load_next(l, c->known ? next_file(c, end) - end : 0, err);
        }
        end = next_file(c, end);
    }
    if (status == NUT_OK) status = nut_load_finish(l, out, err);
    if (status != NUT_OK) check_wrong_use(l, c->file.n);
    if (status != NUT_OK) nut_load_abort(l);
    return status;
}

/* ---- what loads must also run ---- */

static void try_facts(const nut_model *m) {
    size_t n = 0, again = 0;
    nut_error err;
    EXPECT(nut_model_info(m, true, NULL, 0, &n, &err) == NUT_E_ARGUMENT && n > 100, "%zu bytes", n);
    char *text = malloc(n + 1);
    EXPECT(nut_model_info(m, true, text, n + 1, &again, &err) == NUT_OK && again == n && strlen(text) == n,
           "%zu bytes of facts, then %zu", n, again);
    free(text);
    EXPECT(nut_model_n_ctx_train(m) > 0 && nut_model_kernel(m)[0], "facts");
    (void)nut_model_meta(m, "general.name", &n);
    (void)nut_model_meta(m, "llama.block_count", &n);
}

static size_t try_text(const nut_model *m, int32_t *ids, size_t cap) {
    static const char text[] = "the <s>hat\n 12 \xc3\xa9\xff";
    char back[512];
    size_t n = 0, n_back;
    nut_error err;
    nut_status status = nut_tokenize(m, text, sizeof text - 1, NUT_TOKENIZE_ADD_BOS | NUT_TOKENIZE_SPECIAL,
                                     ids, cap, &n, &err);
    fuzz_check_error(status, &err);
    if (status != NUT_OK) return 0;
    for (size_t i = 0; i < n; i++)
        EXPECT(ids[i] >= 0 && (uint32_t)ids[i] < nut_model_n_vocab(m), "token %d", (int)ids[i]);
    (void)nut_detokenize(m, ids, n, true, back, sizeof back, &n_back, &err);
    const int32_t outside[] = {-1, (int32_t)nut_model_n_vocab(m)};
    for (size_t i = 0; i < 2; i++)
        EXPECT(nut_detokenize(m, &outside[i], 1, true, back, sizeof back, &n_back, &err) == NUT_E_ARGUMENT,
               "token %d", (int)outside[i]);
    EXPECT(nut_tokenize(m, text, ((size_t)1 << 28) + 1, 0, ids, cap, &n_back, &err) == NUT_E_ARGUMENT,
           "a text that is too long");
    return n;
}

static void try_generation(nut_session *s, const int32_t *ids, size_t n) {
    static const char *const stops[] = {"e", "\xc3\xa9"};
    nut_generate_options o = nut_generate_defaults();
    nut_step step;
    nut_error err;
    o.max_tokens = 3, o.stop = stops, o.n_stop = 2, o.repeat_penalty = 1.1f;
    nut_status status = nut_generate_begin(s, ids, n, &o, &err);
    fuzz_check_error(status, &err);
    while (status == NUT_OK) {
        status = nut_generate_step(s, &step, &err);
        fuzz_check_error(status, &err);
        EXPECT(status == NUT_OK || status == NUT_E_CORRUPT, "%s", err.message); // weights may be NaN
        if (step.kind == NUT_STEP_DONE) break;
    }
}

/* One evaluation window of the text; in some cases its last id, which is only looked up, is no token. */
static void try_perplexity(nut_session *s, int32_t *ids, size_t n, uint32_t cut) {
    const int32_t outside[] = {-1, INT32_MAX, INT32_MIN};
    nut_perplexity_result r;
    nut_error err;
    const bool wrong = cut % 16 == 5 && n >= 8;
    if (wrong) ids[7] = outside[cut / 16 % 3];
    nut_status status = memory_job_perplexity(s, ids, n, 8, 1, &r, &err);
    fuzz_check_error(status, &err);
    EXPECT(!wrong || status == NUT_E_ARGUMENT, "a token that is none was scored");
}

static void try_session(const nut_model *m, const load_case *c) {
    int32_t ids[64];
    nut_error err;
    const size_t n = try_text(m, ids, 64);
    nut_session_options o = {.n_ctx = CTX, .n_threads = 1, .n_batch = 8, .n_logits = 4};
    o.kv_type = c->options.kv_type;
    if (n == 0 || m->hp.n_ctx_train < CTX) return;
    if (session_bytes(m, &o) > SESSION_MOST) return;
    nut_session *s;
    nut_status status = nut_session_new(m, &o, &s, &err);
    fuzz_check_error(status, &err);
    if (status != NUT_OK) return;
    try_generation(s, ids, n < CTX / 2 ? n : CTX / 2);
    try_perplexity(s, ids, n, c->cut);
    nut_session_free(s);
}

/* The header alone, of any family: facts and texts. */
static void try_header(const load_case *c) {
    nut_load_options o = c->options;
    nut_loader *l = NULL;
    nut_model *m = NULL;
    nut_error err;
    int32_t ids[64];
    o.header_only = true;
    nut_status status = nut_load_begin(&o, c->file.n, &l, &err);
    if (status == NUT_OK) status = nut_load_feed(l, 0, c->file.p, c->file.n, &err);
    if (status == NUT_OK) status = nut_load_finish(l, &m, &err);
    fuzz_check_error(status, &err);
    if (status != NUT_OK) {
        nut_load_abort(l);
        return;
    }
    size_t n = 0;
    EXPECT(nut_model_info(m, true, NULL, 0, &n, &err) == NUT_E_ARGUMENT && n > 40, "%zu bytes", n);
    try_text(m, ids, 64);
    nut_model_free(m);
}

/* ---- layer by layer ---- */

/* Loads what `which` means; whether all of it came. The whole model has loaded, so its data is there. */
static void try_layer(nut_model *m, int which, const load_case *c) {
    layer_load l;
    nut_error err;
    uint32_t split;
    uint64_t at, n;
    nut_status status = layer_load_begin(m, which, &l, &err);
    fuzz_check_error(status, &err);
    if (status != NUT_OK) return;
    while (status == NUT_OK && layer_load_wants(&l, &split, &at, &n)) {
        EXPECT(split == 0 && at + n <= c->file.n, "bytes beyond the file are wanted");
        status = layer_load_feed(&l, c->file.p + at, (size_t)n, &err);
    }
    EXPECT(status == NUT_OK, "%s", err.message);
    layer_load_free(&l);
}

/* The headers alone, then what is outside of layers and each layer by itself. */
static void try_layers(const load_case *c) {
    nut_loader *l = NULL;
    nut_model *m = NULL;
    nut_error err;
    nut_status status = nut_load_begin(&c->options, c->file.n, &l, &err);
    if (status == NUT_OK) load_headers_only(l);
    if (status == NUT_OK) status = nut_load_feed(l, 0, c->file.p, c->file.n, &err);
    if (status == NUT_OK) status = nut_load_finish(l, &m, &err);
    fuzz_check_error(status, &err);
    if (status != NUT_OK) {
        nut_load_abort(l);
        return;
    }
    try_layer(m, BIND_MODEL, c);
    for (uint32_t il = 0; il < m->hp.n_layer && il < 4; il++) try_layer(m, (int)il, c);
    nut_model_free(m);
}

/* ---- the same however it is cut ---- */

static void check_same(const nut_model *a, const nut_model *b) {
    EXPECT(a->weights.size == b->weights.size && a->header.n_bytes == b->header.n_bytes, "sizes differ");
    EXPECT(!memcmp(a->header.bytes, b->header.bytes, a->header.n_bytes), "headers differ");
    for (uint64_t i = 0; i < a->header.n_tensors; i++) {
        void *to_x, *to_y;
        const gguf_str name = a->header.tensors[i].name;
        const tensor_spec *spec = bind_find(a, name, &to_x);
        if (!spec || spec->kind != TENSOR_MATRIX) continue;
        EXPECT(bind_find(b, name, &to_y) == spec, "places differ");
        const matrix *x = to_x, *y = to_y;
        EXPECT(!memcmp(x->data, y->data, matrix_groups(x) * matrix_group_bytes(x)), "weights differ");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const load_case c = read_case((fuzz_input){bytes, n});
    nut_model *m = NULL, *whole = NULL;
    nut_error err = {0}, err_whole = {0};
    counting_start(c.fail_at);
    counting.for_good = c.for_good;
    counting.limit = 2 * (size_t)LIMIT;
    nut_status status = load_in_pieces(&c, c.cut, &m, &err);
    fuzz_check_error(status, &err);
    if (status == NUT_OK) {
        try_facts(m);
        try_session(m, &c);
    }
    if (!c.fail_at) {
        counting.peak = counting.bytes = 0; // of the second load alone
        nut_status again = load_in_pieces(&c, 0, &whole, &err_whole);
        EXPECT(again == status && !strcmp(err.message, err_whole.message), "\"%s\" in pieces, \"%s\" whole",
               err.message, err_whole.message);
        if (status == NUT_OK) check_same(m, whole);
        try_header(&c);
        if (status == NUT_OK && next_file(&c, 0) == c.file.n) try_layers(&c);
    }
    nut_model_free(whole);
    nut_model_free(m);
    fuzz_end();
    return 0;
}
