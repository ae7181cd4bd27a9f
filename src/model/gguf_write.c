/* The writer. Values that are kept are copied as bytes, so nothing of a model's metadata can be lost or
 * changed. */
#include "model/gguf_write.h"

#include "base/error.h"

#include <string.h>

nut_status gguf_write_bytes(gguf_writer *w, const void *bytes, size_t n, nut_error *err) {
    TRY(w->sink->write(w->sink->ctx, bytes, n, err));
    w->at += n;
    return NUT_OK;
}

static nut_status write_le(gguf_writer *w, uint64_t v, size_t n, nut_error *err) {
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(v >> (8 * i));
    return gguf_write_bytes(w, bytes, n, err);
}

static nut_status write_str(gguf_writer *w, const char *s, uint64_t n, nut_error *err) {
    TRY(write_le(w, n, 8, err));
    return gguf_write_bytes(w, s, (size_t)n, err);
}

nut_status gguf_write_pad(gguf_writer *w, nut_error *err) {
    static const uint8_t zeros[64];
    while (w->at % w->alignment) {
        uint64_t n = w->alignment - w->at % w->alignment;
        TRY(gguf_write_bytes(w, zeros, n < sizeof zeros ? (size_t)n : sizeof zeros, err));
    }
    return NUT_OK;
}

static bool is_set(const gguf_kv *kv, const gguf_set_u32 *sets, size_t n_sets) {
    for (size_t i = 0; i < n_sets; i++)
        if (gguf_str_is(kv->key, sets[i].key)) return true;
    return false;
}

static nut_status write_metadata(gguf_writer *w, const gguf *g, const gguf_set_u32 *sets, size_t n_sets,
                                 nut_error *err) {
    for (uint64_t i = 0; i < g->n_kv; i++) {
        const gguf_kv *kv = &g->kv[i];
        const uint8_t *begin = (const uint8_t *)kv->key.s - 8, *end = kv->value + kv->n_bytes;
        if (!is_set(kv, sets, n_sets)) TRY(gguf_write_bytes(w, begin, (size_t)(end - begin), err));
    }
    for (size_t i = 0; i < n_sets; i++) {
        TRY(write_str(w, sets[i].key, strlen(sets[i].key), err));
        TRY(write_le(w, GGUF_U32, 4, err));
        TRY(write_le(w, sets[i].value, 4, err));
    }
    return NUT_OK;
}

static nut_status write_tensors(gguf_writer *w, const gguf_tensor *tensors, uint64_t n, nut_error *err) {
    uint64_t offset = 0;
    for (uint64_t i = 0; i < n; i++) {
        const gguf_tensor *t = &tensors[i];
        TRY(write_str(w, t->name.s, t->name.n, err));
        TRY(write_le(w, t->n_dims, 4, err));
        for (uint32_t d = 0; d < t->n_dims; d++) TRY(write_le(w, t->dims[d], 8, err));
        TRY(write_le(w, t->ggml_type, 4, err));
        TRY(write_le(w, offset, 8, err));
        offset += (t->n_bytes + w->alignment - 1) / w->alignment * w->alignment;
    }
    return NUT_OK;
}

nut_status gguf_write_header(gguf_writer *w, const gguf *g, const gguf_set_u32 *sets, size_t n_sets,
                             const gguf_tensor *tensors, uint64_t n, nut_error *err) {
    uint64_t n_kv = n_sets;
    for (uint64_t i = 0; i < g->n_kv; i++) n_kv += !is_set(&g->kv[i], sets, n_sets);
    w->alignment = g->alignment;
    TRY(gguf_write_bytes(w, "GGUF", 4, err));
    TRY(write_le(w, 3, 4, err));
    TRY(write_le(w, n, 8, err));
    TRY(write_le(w, n_kv, 8, err));
    TRY(write_metadata(w, g, sets, n_sets, err));
    TRY(write_tensors(w, tensors, n, err));
    return gguf_write_pad(w, err);
}
