/* Metadata for people to read: a line of text for each entry. */
#include "base/cursor.h"
#include "model/model.h"

#include <stdio.h>
#include <string.h>

static double double_at(const gguf_kv *kv) {
    cursor c = {.bytes = kv->value, .n = 8};
    const uint64_t bits = cursor_u64(&c);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void copy(gguf_str s, char *out, size_t cap) {
    const size_t n = s.n < cap ? (size_t)s.n : cap - 1;
    if (n) memcpy(out, s.s, n);
    out[n] = 0;
}

static void put_value(const gguf *g, const gguf_kv *kv, char *out, size_t cap) {
    int64_t integer;
    float x;
    gguf_str s;
    if (kv->type == GGUF_ARRAY)
        snprintf(out, cap, "%llu elements", (unsigned long long)kv->n);
    else if (kv->type == GGUF_STRING)
        gguf_next_string(g, kv->value, &s), copy(s, out, cap);
    else if (kv->type == GGUF_F64)
        snprintf(out, cap, "%g", double_at(kv));
    else if (gguf_integer_at(kv, 0, &integer))
        snprintf(out, cap, "%lld", (long long)integer);
    else
        snprintf(out, cap, "%g", gguf_float_at(kv, 0, &x) ? (double)x : 0.0);
}

bool nut_model_meta_at(const nut_model *model, size_t i, char *key, size_t n_key, char *value,
                       size_t n_value) {
    const gguf *g = &model->header;
    if (i >= g->n_kv) return false;
    copy(g->kv[i].key, key, n_key);
    put_value(g, &g->kv[i], value, n_value);
    return true;
}
