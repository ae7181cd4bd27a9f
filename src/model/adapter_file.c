/* Adapters from files. */
#include "model/adapter_file.h"

#include "base/error.h"
#include "kernels/formats.h"

#include <string.h>

const char *const adapter_ends[2] = {".lora_a", ".lora_b"};

/* Whether a tensor's name is this one with an end. */
static bool is_part(gguf_str part, gguf_str name, int which) {
    return part.n == name.n + ADAPTER_END && !memcmp(part.s, name.s, (size_t)name.n) &&
           !memcmp(part.s + name.n, adapter_ends[which], ADAPTER_END);
}

const gguf_tensor *adapter_find(const adapter *a, gguf_str name, int which) {
    for (uint64_t i = 0; i < a->g.n_tensors; i++)
        if (is_part(a->g.tensors[i].name, name, which)) return &a->g.tensors[i];
    return NULL;
}

static nut_status check_kind(adapter *a, nut_error *err) {
    gguf_str type, kind;
    float alpha;
    TRY(gguf_get_str(&a->g, "general.type", "", &type, err));
    TRY(gguf_get_str(&a->g, "adapter.type", "", &kind, err));
    TRY(gguf_get_f32(&a->g, "adapter.lora.alpha", 0, &alpha, err));
    if (!gguf_str_is(type, "adapter") || !gguf_str_is(kind, "lora"))
        return error_set(err, NUT_E_ARGUMENT,
                         "this GGUF file is no LoRA adapter (general.type adapter, adapter.type lora); give "
                         "one of llama.cpp's convert_lora_to_gguf.py or of nutshell train");
    if (!(alpha >= 0 && alpha < 1e6F))
        return error_set(err, NUT_E_CORRUPT, "adapter.lora.alpha of the adapter is out of range");
    a->alpha = (double)alpha;
    return NUT_OK;
}

nut_status adapter_read(adapter *a, const uint8_t *bytes, size_t n, nut_error *err) {
    bool complete = false;
    size_t used;
    *a = (adapter){.bytes = bytes, .n = n};
    TRY(gguf_begin(&a->g, n, err));
    TRY(gguf_feed(&a->g, bytes, n, &used, &complete, err));
    if (!complete) return gguf_end(&a->g, err);
    TRY(gguf_check_names(&a->g, err));
    return check_kind(a, err);
}

void adapter_free(adapter *a) {
    gguf_free(&a->g);
    *a = (adapter){0};
}

uint32_t adapter_rank(const void *ctx, gguf_str name) {
    const gguf_tensor *t = adapter_find(ctx, name, 0);
    return t && t->n_dims == 2 && t->dims[1] <= UINT16_MAX ? (uint32_t)t->dims[1] : 0;
}

nut_status adapter_row(const adapter *a, gguf_str name, int which, uint64_t n_rows, uint64_t n_cols,
                       uint64_t row, float *out, nut_error *err) {
    const gguf_tensor *part = adapter_find(a, name, which);
    const format *f = part ? format_by_ggml(part->ggml_type) : NULL;
    if (!part || part->n_dims != 2 || part->dims[0] != n_cols || part->dims[1] != n_rows || !f ||
        format_is_coded(f) || n_cols % f->block || part->n_bytes > a->n ||
        part->offset > a->n - part->n_bytes)
        return error_set(err, NUT_E_ARGUMENT,
                         "%.*s%s of the adapter is missing, or has another shape or type than this model "
                         "needs; give the model that it was made for",
                         (int)name.n, name.s, adapter_ends[which]);
    const size_t n_blocks = (size_t)(n_cols / f->block);
    f->dequantize(a->bytes + part->offset + row * n_blocks * f->bytes, n_blocks, out);
    for (uint64_t i = 0; i < n_cols; i++)
        if (out[i] - out[i] != 0.0f)
            return error_set(err, NUT_E_CORRUPT,
                             "the adapter is damaged: it holds a number that is not finite");
    return NUT_OK;
}
