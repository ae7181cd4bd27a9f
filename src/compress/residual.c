/* Tensors that meet the residual. */
#include "compress/residual.h"

#include "compress/layer_weights.h"

#include <string.h>

static bool ends_with(const char *s, size_t n, const char *end) {
    const size_t n_end = strlen(end);
    return n >= n_end && !memcmp(s + n - n_end, end, n_end);
}

residual_meeting residual_meet(const nut_model *m, gguf_str tensor) {
    uint32_t layer;
    gguf_str rest;
    residual_meeting t = {.which = BIND_MODEL};
    t.spec = bind_find(m, tensor, &t.to);
    if (!t.spec || t.spec->kind == TENSOR_STACK) return (residual_meeting){0};
    const bool is_matrix = t.spec->kind == TENSOR_MATRIX;
    const char first = t.spec->shape[0], last = t.spec->shape[is_matrix];
    if (layer_of_tensor(tensor, &layer, &rest)) t.which = (int)layer;
    t.is_norm = !is_matrix && first == 'E' && ends_with(t.spec->name, strlen(t.spec->name), "norm.weight");
    t.reads = is_matrix && first == 'E';
    t.gives = !t.is_norm && last == 'E';
    return t;
}

bool residual_feeds(const residual_meeting *t) {
    return t->which != BIND_MODEL && strncmp(t->spec->name, "ffn", 3) == 0;
}

const float *residual_gain(const nut_model *m, const residual_meeting *t) {
    if (t->which == BIND_MODEL)
        return strcmp(t->spec->name, "output.weight") == 0 ? m->output_norm.weight : NULL;
    const model_layer *l = &m->layers[t->which];
    return residual_feeds(t) ? l->ffn_norm.weight : l->attn_norm.weight;
}

static bool has_tensor(const gguf *g, const char *end) {
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (ends_with(g->tensors[i].name.s, (size_t)g->tensors[i].name.n, end)) return true;
    return false;
}

bool residual_is_plain(const nut_model *m) {
    const uint64_t may = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_QKV_BIAS | ARCH_QK_NORM | ARCH_QK_NORM_FULL |
                         ARCH_QK_NORM_EACH | ARCH_QK_NORM_LATE | ARCH_QK_NORM_MAYBE | ARCH_EMBD_SQRT |
                         ARCH_FUSED_UP | ARCH_ROPE_FACTORS | ARCH_SINKS | ARCH_ROPE_IN_WINDOWS |
                         ARCH_LOCAL_UNSCALED | ARCH_V_NORM | ARCH_XIELU | ARCH_HEAD;
    if (m->arch->norm != ARCH_RMS_NORM || m->arch->features & ~may ||
        (m->arch->features & ARCH_PRE_NORM) != ARCH_PRE_NORM || m->hp.parallel)
        return false;
    for (uint32_t il = 0; il < m->hp.n_layer; il++) {
        const layer_hparams *l = &m->layers[il].hp;
        if (l->mixer != BLOCK_mix_attention || l->beside != BLOCK_NONE || l->after != BLOCK_NONE)
            return false;
        if (l->ffn != BLOCK_ffn_gated && l->ffn != BLOCK_ffn_plain) return false;
    }
    return !has_tensor(&m->header, "norm.bias") && !has_tensor(&m->header, "cls.output.weight");
}

bool residual_has_output(const nut_model *m) {
    for (uint64_t i = 0; i < m->header.n_tensors; i++)
        if (gguf_str_is(m->header.tensors[i].name, "output.weight")) return true;
    return false;
}
