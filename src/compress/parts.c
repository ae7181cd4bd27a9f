/* What parts of layers are made of. */
#include "compress/parts.h"

#include "base/error.h"
#include "compress/layer_weights.h"

#include <stdio.h>
#include <string.h>

const part_kind parts_channels_kind = {"channels", "ffn_down.weight", "F", true, true};
static const part_kind heads = {"heads", "attn_output.weight", "HQPB", false, false};
static const part_kind groups = {"groups of heads", "attn_output.weight", "hHQKUPB", false, false};

/* ---- kinds ---- */

static nut_status refuse(const nut_model *m, const char *what, uint32_t il, const char *why,
                         nut_error *err) {
    return error_set(err, NUT_E_UNSUPPORTED, "%s cannot be changed in this %s model: %s (layer %u)", what,
                     m->arch->name, why, (unsigned)il);
}

nut_status parts_channels(const nut_model *m, uint32_t il, const part_kind **out, nut_error *err) {
    const layer_hparams *l = &m->layers[il].hp;
    *out = &parts_channels_kind;
    if ((l->ffn == BLOCK_ffn_gated && !l->sparse) || l->ffn == BLOCK_ffn_plain) return NUT_OK;
    return refuse(m, "channels", il, "its feed-forward is neither gated nor plain", err);
}

nut_status parts_heads(const nut_model *m, uint32_t il, const part_kind **out, nut_error *err) {
    const layer_hparams *l = &m->layers[il].hp;
    const uint64_t joint = ARCH_QK_NORM_FULL | ARCH_QK_NORM_FULL_MAYBE;
    *out = l->mixer != BLOCK_mix_attention ? NULL : l->n_head_kv > 1 ? &groups : &heads;
    if (l->mixer == BLOCK_mix_mla) return refuse(m, "heads", il, "they share latent keys and values", err);
    if (!*out) return NUT_OK;
    if (m->arch->features & joint) return refuse(m, "heads", il, "all of them have one norm", err);
    if (m->hp.max_alibi > 0) return refuse(m, "heads", il, "their places say how far they see", err);
    return NUT_OK;
}

uint32_t parts_count(const nut_model *m, uint32_t il, const part_kind *k) {
    return (uint32_t)arch_size(&m->hp, &m->layers[il].hp, k->letters[0]);
}

/* ---- tensors ---- */

static bool concerns(const part_kind *k, char letter) {
    return letter && strchr(k->letters, letter);
}

/* Letters of the dimension whose elements may belong to parts: rows of a matrix, elements of a vector. */
static size_t letters_of(const tensor_spec *spec, char letters[BIND_PARTS]) {
    size_t n = 0;
    if (!spec->parts) return letters[0] = spec->shape[spec->shape[1] != 0], 1;
    for (; n < BIND_PARTS && spec->parts[n].letter; n++) letters[n] = spec->parts[n].letter;
    return n;
}

bool parts_in_rows(const tensor_spec *spec, const part_kind *k) {
    char letters[BIND_PARTS];
    bool any = false;
    for (size_t i = 0, n = letters_of(spec, letters); i < n; i++) any |= concerns(k, letters[i]);
    return any && spec->kind != TENSOR_STACK;
}

bool parts_in_columns(const tensor_spec *spec, const part_kind *k) {
    return spec->kind == TENSOR_MATRIX && concerns(k, spec->shape[0]);
}

size_t parts_size_left(const nut_model *m, uint32_t il, const parts *p, char letter) {
    const size_t size = (size_t)arch_size(&m->hp, &m->layers[il].hp, letter);
    return concerns(p->kind, letter) ? size / p->n * p->n_keep : size;
}

/* Elements of a letter that begin at `from`; returns how many stay. */
static size_t list_letter(const parts *p, char letter, size_t size, size_t from, uint32_t *out) {
    const bool has = concerns(p->kind, letter);
    const size_t each = has ? size / p->n : size, n_kept = has ? p->n_keep : 1;
    for (size_t k = 0; k < n_kept && out; k++)
        for (size_t j = 0; j < each; j++) *out++ = (uint32_t)(from + (has ? p->kept[k] : 0) * each + j);
    return n_kept * each;
}

size_t parts_list(const nut_model *m, uint32_t il, const parts *p, const tensor_spec *spec, uint32_t *out) {
    char letters[BIND_PARTS] = {spec->shape[0]};
    const size_t n_letters = parts_in_columns(spec, p->kind) ? 1 : letters_of(spec, letters);
    size_t n = 0, from = 0;
    for (size_t i = 0; i < n_letters; i++) {
        const size_t size = (size_t)arch_size(&m->hp, &m->layers[il].hp, letters[i]);
        n += list_letter(p, letters[i], size, from, out ? out + n : NULL);
        from += size;
    }
    return n;
}

double parts_weights(const nut_model *m, uint32_t il, const part_kind *k) {
    const uint32_t n = parts_count(m, il, k);
    const parts all = {.kind = k, .n = n, .n_keep = n}, fewer = {.kind = k, .n = n, .n_keep = n - 1};
    double sum = 0;
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        const gguf_tensor *t = &m->header.tensors[i];
        void *to;
        uint32_t layer;
        gguf_str rest;
        const tensor_spec *spec = bind_find(m, t->name, &to);
        if (!spec || !layer_of_tensor(t->name, &layer, &rest) || layer != il) continue;
        if (!parts_in_columns(spec, k) && !parts_in_rows(spec, k)) continue;
        const size_t n_all = parts_list(m, il, &all, spec, NULL),
                     n_fewer = parts_list(m, il, &fewer, spec, NULL);
        sum += (double)(n_all - n_fewer) * (double)(t->dims[0] * t->dims[1] / n_all);
    }
    return sum;
}

/* ---- metadata ---- */

static nut_status set_length(const nut_model *m, const char *suffix, uint32_t length, gguf_meta *meta,
                             nut_error *err) {
    char key[96];
    snprintf(key, sizeof key, "%.64s.%s", m->arch->name, suffix);
    return gguf_find(&m->header, key) ? NUT_OK : gguf_meta_int(meta, key, GGUF_U32, length, err);
}

nut_status parts_set_lengths(const nut_model *m, gguf_meta *meta, nut_error *err) {
    TRY(set_length(m, "attention.key_length", m->hp.most.head_dim, meta, err));
    return set_length(m, "attention.value_length", m->hp.most.head_dim_v, meta, err);
}
