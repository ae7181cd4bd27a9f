/*
 * The GGUF reader alone, fed in steps of any lengths: every pair, string and tensor that it returns is
 * inside the header, and every getter returns. The result does not depend on the steps.
 */
#include "fuzz.h"

#include "base/rng.h"
#include "../unit/load_cost.h"
#include "model/gguf.h"

static bool is_inside(const gguf *g, const void *p, uint64_t n) {
    const uint8_t *at = p;
    return at >= g->bytes && n <= g->n_bytes && at <= g->bytes + g->n_bytes - n;
}

/* ---- what it hands out ---- */

static void check_strings(const gguf *g, const gguf_kv *kv) {
    const uint8_t *at = kv->value;
    for (uint64_t i = 0; i < kv->n; i++) {
        gguf_str s;
        at = gguf_next_string(g, at, &s);
        EXPECT(is_inside(g, s.s, s.n), "string %llu is outside", (unsigned long long)i);
    }
    EXPECT(at == kv->value + kv->n_bytes, "the strings are not the array");
}

static void check_value(const gguf *g, const gguf_kv *kv) {
    char key[256];
    uint32_t u;
    float f;
    bool b;
    gguf_str s;
    nut_error err;
    EXPECT(kv->key.n && is_inside(g, kv->key.s, kv->key.n) && is_inside(g, kv->value, kv->n_bytes),
           "a pair is outside");
    EXPECT(gguf_type_name(kv->type)[0] && gguf_type_name(kv->elem)[0], "a type has no name");
    if (kv->type == GGUF_ARRAY && kv->elem == GGUF_STRING) check_strings(g, kv);
    if (kv->key.n >= sizeof key || memchr(kv->key.s, 0, (size_t)kv->key.n)) return;
    memcpy(key, kv->key.s, (size_t)kv->key.n);
    key[kv->key.n] = 0;
    EXPECT(gguf_find(g, key) == kv, "%s is not found", key);
    fuzz_check_error(gguf_get_u32(g, key, 1, &u, &err), &err);
    fuzz_check_error(gguf_get_bool(g, key, true, &b, &err), &err);
    nut_status status = gguf_get_f32(g, key, 1, &f, &err);
    fuzz_check_error(status, &err);
    EXPECT(status != NUT_OK || f - f == 0, "%s is no finite number", key);
    status = gguf_get_str(g, key, "", &s, &err);
    EXPECT(status != NUT_OK || is_inside(g, s.s, s.n), "a text is outside");
}

static void check_tensor(const gguf *g, const gguf_tensor *t, uint64_t file_size) {
    EXPECT(t->name.n <= 64 && is_inside(g, t->name.s, t->name.n), "a name is outside");
    EXPECT(t->n_dims >= 1 && t->n_dims <= 4 && t->offset >= g->data_offset, "dimensions, place");
    EXPECT(t->offset + t->n_bytes <= g->file_bytes &&
               t->offset % g->alignment == g->data_offset % g->alignment,
           "its place");
    EXPECT(!file_size || g->file_bytes <= file_size || g->n_tensors == 0, "it ends behind the file");
}

static void check_all(const gguf *g, uint64_t file_size) {
    EXPECT(g->data_offset >= g->n_bytes && (g->n_tensors == 0 || g->data_offset % g->alignment == 0),
           "data");
    for (uint64_t i = 0; i < g->n_kv; i++) check_value(g, &g->kv[i]);
    for (uint64_t i = 0; i < g->n_tensors; i++) check_tensor(g, &g->tensors[i], file_size);
}

/* ---- reading ---- */

typedef struct outcome {
    nut_status status;
    bool complete;
    size_t used;
    uint64_t n_kv, n_tensors, data_offset, file_bytes;
} outcome;

/* cut: seed of the lengths of the steps; 0: all at once. */
static outcome read_in_pieces(fuzz_input in, bool known, uint32_t cut) {
    gguf g;
    outcome o = {0};
    nut_error err = {0};
    rng r;
    rng_seed(&r, cut);
    o.status = gguf_begin(&g, known ? in.n : 0, &err);
    for (size_t at = 0, n, used; o.status == NUT_OK && !o.complete && at < in.n; at += n) {
        n = cut ? 1 + (size_t)(rng_u64(&r) & (((uint64_t)1 << rng_u64(&r) % 12) - 1)) : in.n;
        if (n > in.n - at) n = in.n - at;
        void *piece = fuzz_copy((fuzz_input){in.p + at, n});
        o.status = gguf_feed(&g, piece, n, &used, &o.complete, &err);
        free(piece);
        if (o.status != NUT_OK) break;
        EXPECT(used == n || (o.complete && used < n), "%zu of %zu bytes", used, n);
        EXPECT(counting.peak <= load_cost_most(at + n), "%zu bytes after %zu", counting.peak, at + n);
        o.used += used;
    }
    if (o.status == NUT_OK && !o.complete) {
        o.status = gguf_end(&g, &err);
        EXPECT(o.status == NUT_E_TRUNCATED || o.status == NUT_E_NOT_GGUF, "%s", nut_status_name(o.status));
    }
    fuzz_check_error(o.status, &err);
    if (o.status == NUT_OK) {
        EXPECT(o.used == g.data_offset, "%zu bytes", o.used);
        check_all(&g, known ? in.n : 0);
        o.n_kv = g.n_kv, o.n_tensors = g.n_tensors, o.data_offset = g.data_offset,
        o.file_bytes = g.file_bytes;
    }
    gguf_free(&g);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_input in = {bytes, n};
    const bool known = fuzz_u8(&in) & 1;
    const uint32_t cut = fuzz_u16(&in), fail_at = fuzz_u8(&in);
    counting_start(fail_at);
    const outcome a = read_in_pieces(in, known, cut);
    if (!fail_at) {
        counting.peak = 0;
        const outcome b = read_in_pieces(in, known, 0);
        EXPECT(a.status == b.status && a.n_kv == b.n_kv && a.n_tensors == b.n_tensors &&
                   a.data_offset == b.data_offset && a.file_bytes == b.file_bytes,
               "%s in pieces, %s whole", nut_status_name(a.status), nut_status_name(b.status));
    }
    fuzz_end();
    return 0;
}
