/*
 * Facts about a model as one JSON object:
 *   architecture, name            texts from the metadata, "" where absent
 *   n_params                      weights of all matrices and vectors, tied ones once
 *   n_vocab, n_ctx_train, n_embd, n_layer, n_ff, n_head, n_head_kv, head_dim
 *   file_bytes, weight_bytes      of the file by its own tables; of the weights in memory
 *   kernel                        the kernels that run it
 *   products                      where sets of kernels raced for its products (run/race.h): [{layout,
 *                                 tokens ("few", "many"), kernel, rates: {kernel: 10^9 multiply-adds/s},
 *                                 kept (whether an earlier load chose so)}]
 *   races                         for the next load (races of nut_load_options): what this load and earlier
 *                                 ones chose; "" where it is what this load was given
 *   tokenizer                     its name
 *   bos, eos, bos_id, eos_id      texts of the special tokens, or null; their ids, or -1
 *   add_bos, eog                  whether prompts begin with bos; ids that end a generation
 *   chat_template                 text or null
 *   types                         tensors of each type, {"Q4_1": 210, ...}
 *   tensors                       where asked for: [{name, type, shape, bytes}], in the order of the file
 */
#include "base/error.h"
#include "model/arch.h"
#include "model/unicode.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct writer {
    char *out;
    size_t cap, n;
} writer;

static void put(writer *w, const char *s, size_t n) {
    size_t room = w->n < w->cap ? w->cap - w->n : 0;
    if (room) memcpy(w->out + w->n, s, n < room ? n : room);
    w->n += n;
}

static void put_f(writer *w, const char *pattern, ...) __attribute__((format(printf, 2, 3)));
static void put_f(writer *w, const char *pattern, ...) {
    char text[160];
    va_list args;
    va_start(args, pattern);
    int n = vsnprintf(text, sizeof text, pattern, args);
    va_end(args);
    put(w, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* A JSON text; bytes that are no UTF-8 become U+FFFD. */
static void put_text(writer *w, const char *s, size_t n) {
    put(w, "\"", 1);
    for (size_t at = 0, length; at < n; at += length) {
        uint32_t c = unicode_at(s + at, n - at, &length);
        if (c == '"' || c == '\\')
            put_f(w, "\\%c", (char)c);
        else if (c < 0x20 || (c >= 0x7f && c < 0xa0)) // controls, which would drive a terminal
            put_f(w, "\\u%04x", c);
        else if (c >= 0xd800 && c < 0xe000)
            put_f(w, "\\ufffd");
        else if (c == 0xfffd)
            put(w, "\xef\xbf\xbd", 3);
        else
            put(w, s + at, length);
    }
    put(w, "\"", 1);
}

static void put_meta(writer *w, const nut_model *m, const char *name, const char *key, bool or_null) {
    size_t n = 0;
    const char *s = nut_model_meta(m, key, &n);
    put_f(w, ",\"%s\":", name);
    if (!s && or_null)
        put(w, "null", 4);
    else
        put_text(w, s ? s : "", n);
}

static void put_token(writer *w, const nut_model *m, const char *name, int32_t id) {
    put_f(w, ",\"%s\":", name);
    if (id < 0)
        put(w, "null", 4);
    else
        put_text(w, vocab_text(m->vocab, id).s, (size_t)vocab_text(m->vocab, id).n);
}

static uint64_t n_weights(const gguf_tensor *t) {
    return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
}

static void put_sizes(writer *w, const nut_model *m) {
    const model_hparams *hp = &m->hp;
    uint64_t n_params = 0;
    for (uint64_t i = 0; i < m->header.n_tensors; i++) n_params += n_weights(&m->header.tensors[i]);
    put_f(w, ",\"n_params\":%llu,\"n_vocab\":%u,\"n_ctx_train\":%u", (unsigned long long)n_params,
          hp->n_vocab, hp->n_ctx_train);
    put_f(w, ",\"n_embd\":%u,\"n_layer\":%u,\"n_ff\":%u", hp->n_embd, hp->n_layer, hp->most.n_ff);
    put_f(w, ",\"n_head\":%u,\"n_head_kv\":%u,\"head_dim\":%u", hp->most.n_head, hp->most.n_head_kv,
          hp->most.head_dim);
    put_f(w, ",\"file_bytes\":%llu,\"weight_bytes\":%llu", (unsigned long long)m->header.file_bytes,
          (unsigned long long)m->weights.size);
}

static void put_vocab(writer *w, const nut_model *m) {
    const vocab *v = m->vocab;
    const char *gap = "";
    put_f(w, ",\"tokenizer\":\"%s\"", vocab_tokenizer_name(v));
    put_token(w, m, "bos", vocab_bos(v));
    put_token(w, m, "eos", vocab_eos(v));
    put_f(w, ",\"bos_id\":%d,\"eos_id\":%d", (int)vocab_bos(v), (int)vocab_eos(v));
    put_f(w, ",\"add_bos\":%s,\"eog\":[", vocab_add_bos(v) ? "true" : "false");
    for (uint32_t i = 0; i < vocab_size(v); i++)
        if (vocab_is_eog(v, (int32_t)i)) put_f(w, "%s%u", gap, i), gap = ",";
    put(w, "]", 1);
}

static void put_types(writer *w, const nut_model *m) {
    const char *gap = "";
    put_f(w, ",\"types\":{");
    for (int id = 0; id < FORMAT_ALL; id++) {
        uint64_t n = 0;
        for (uint64_t i = 0; i < m->header.n_tensors; i++)
            n += m->header.tensors[i].ggml_type == format_table[id].ggml_type;
        if (n) put_f(w, "%s\"%s\":%llu", gap, format_table[id].name, (unsigned long long)n), gap = ",";
    }
    put(w, "}", 1);
}

static void put_tensor(writer *w, const gguf_tensor *t) {
    put_f(w, "{\"name\":");
    put_text(w, t->name.s, (size_t)t->name.n);
    put_f(w, ",\"type\":\"%s\",\"shape\":[", format_ggml_name(t->ggml_type));
    for (uint32_t i = 0; i < t->n_dims; i++)
        put_f(w, "%s%llu", i ? "," : "", (unsigned long long)t->dims[i]);
    put_f(w, "],\"bytes\":%llu}", (unsigned long long)t->n_bytes);
}

/* The race for a layout; nothing where there was none. */
static void put_race(writer *w, const nut_model *m, kernel_width width, size_t id, const char **gap) {
    const float *rates = m->products.rates[width][id];
    const char *between = "";
    const size_t chosen = m->products.set[width][id];
    if (!(rates[chosen] > 0)) return;
    put_f(w, "%s{\"layout\":\"%s\",\"tokens\":\"%s\",\"kernel\":\"%s\",\"rates\":{", *gap,
          layout_table[id].name, kernel_width_name(width), kernel_at(chosen)->name);
    for (size_t i = 0; i < kernel_count(); i++)
        if (rates[i] > 0)
            put_f(w, "%s\"%s\":%.3g", between, kernel_at(i)->name, (double)rates[i]), between = ",";
    put_f(w, "},\"kept\":%s}", m->products.kept[width][id] ? "true" : "false");
    *gap = ",";
}

static void put_products(writer *w, const nut_model *m) {
    const char *gap = "";
    put_f(w, ",\"products\":[");
    for (size_t id = 0; id < LAYOUT_COUNT; id++)
        for (kernel_width width = 0; width < KERNEL_WIDTHS; width++) put_race(w, m, width, id, &gap);
    put(w, "]", 1);
}

/* Whether this load's races chose something that earlier ones did not. */
static bool has_new_races(const kernel_choice *c) {
    for (size_t id = 0; id < LAYOUT_COUNT; id++)
        for (kernel_width width = 0; width < KERNEL_WIDTHS; width++)
            if (c->rates[width][id][c->set[width][id]] > 0 && !c->kept[width][id]) return true;
    return false;
}

static void put_races(writer *w, const kernel_choice *c) {
    put_f(w, ",\"races\":\"");
    for (size_t id = 0; id < LAYOUT_COUNT && has_new_races(c); id++)
        for (kernel_width width = 0; width < KERNEL_WIDTHS; width++) {
            const size_t set = c->set[width][id];
            if (c->rates[width][id][set] > 0 || c->kept[width][id])
                put_f(w, "%s %s %s;", layout_table[id].name, kernel_width_name(width), kernel_at(set)->name);
        }
    put(w, "\"", 1);
}

nut_status nut_model_info(const nut_model *m, bool tensors, char *out, size_t cap, size_t *n_out,
                          nut_error *err) {
    writer w = {.out = out, .cap = cap ? cap - 1 : 0};
    size_t n_name = 0;
    const char *name = nut_model_meta(m, "general.architecture", &n_name);
    put_f(&w, "{\"architecture\":");
    put_text(&w, name ? name : "", n_name);
    put_meta(&w, m, "name", "general.name", false);
    put_sizes(&w, m);
    put_f(&w, ",\"kernel\":\"%s\"", m->kernels->name);
    put_products(&w, m);
    put_races(&w, &m->products);
    put_vocab(&w, m);
    put_meta(&w, m, "chat_template", "tokenizer.chat_template", true);
    put_types(&w, m);
    if (tensors) put_f(&w, ",\"tensors\":[");
    for (uint64_t i = 0; tensors && i < m->header.n_tensors; i++) {
        if (i) put(&w, ",", 1);
        put_tensor(&w, &m->header.tensors[i]);
    }
    put(&w, tensors ? "]}" : "}", tensors ? 2 : 1);
    if (cap) out[w.n < cap ? w.n : cap - 1] = 0;
    *n_out = w.n;
    if (w.n < cap) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "the facts need room for %zu bytes, not %zu", w.n + 1, cap);
}
