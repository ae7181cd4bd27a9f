/* A model of any row of the table of families, with random weights: the tensors that the row asks for, of
 * sizes as the engine reads them from the header that is made here. */
#ifndef NUT_TESTS_MAKE_FAMILY_H
#define NUT_TESTS_MAKE_FAMILY_H

#include "make_gguf.h"

#include "run/block.h"

enum { FAMILY_LAYERS = 3 };

/* ---- metadata ---- */

/* Sizes that divide as they must, and are no multiples of more; of heads that the cache pads, too; or as
 * small as can be. */
typedef struct family_sizes {
    uint32_t n_embd, n_ff, n_head, key, value, n_ff_experts, inner, state, wkv_head, n_layer, n_ctx,
        n_head_kv;
} family_sizes;
static const family_sizes family_odd = {40, 37, 3, 24, 16, 19, 36, 7, 8, FAMILY_LAYERS, 64, 1},
                          family_padded = {44, 37, 3, 22, 13, 19, 36, 7, 4, FAMILY_LAYERS, 64, 1},
                          family_small = {8, 5, 2, 16, 8, 3, 12, 2, 4, FAMILY_LAYERS, 64, 1},
                          family_layer = {40, 37, 3, 24, 16, 19, 36, 7, 8, 1, 1024, 1};

/* Whether layers of a family have this mixer. */
static inline bool family_mixes(const arch *a, uint8_t mixer) {
    return a->mixer == mixer || (a->recurrent && a->recurrent == mixer) || (a->beside && a->beside == mixer);
}

static inline void family_put_sizes(make_gguf *g, const arch *a, const family_sizes *z) {
    const bool mla = a->mixer == BLOCK_mix_mla,
               attends = mla || a->mixer == BLOCK_mix_attention || a->mixer == BLOCK_mix_linear,
               grouped = family_mixes(a, BLOCK_mix_mamba2) || family_mixes(a, BLOCK_mix_delta),
               state = grouped || family_mixes(a, BLOCK_mix_mamba), rwkv6 = family_mixes(a, BLOCK_mix_rwkv6),
               rwkv7 = family_mixes(a, BLOCK_mix_rwkv7), experts = a->experts.gating != MODEL_GATE_NONE;
    const struct {
        const char *suffix;
        uint32_t value;
        bool has;
    } sizes[] = {{"context_length", z->n_ctx, true},
                 {"embedding_length", z->n_embd, true},
                 {"block_count", z->n_layer, true},
                 {"feed_forward_length", z->n_ff, !(a->features & ARCH_ONE_BLOCK) && a->ffn != BLOCK_NONE},
                 {"attention.head_count", z->n_head, attends},
                 {"attention.head_count_kv", mla ? z->n_head : z->n_head_kv, attends},
                 {"attention.key_length", z->key, attends},
                 {"attention.value_length", a->features & ARCH_GATED_OUT ? z->key : z->value, attends},
                 {"attention.sliding_window", 5, a->window_period > 0},
                 {"attention.tiles.local", 1, (a->features & ARCH_TILES) > 0},
                 {"attention.q_lora_rank", 11, mla},
                 {"attention.kv_lora_rank", 13, mla},
                 {"rope.dimension_count", 12, mla},
                 {"expert_count", 6, experts},
                 {"expert_used_count", 2, experts},
                 {"expert_feed_forward_length", z->n_ff_experts, experts},
                 {"shortconv.l_cache", 3, family_mixes(a, BLOCK_mix_shortconv)},
                 {"ssm.conv_kernel", 3, state},
                 {"ssm.inner_size", z->inner, state},
                 {"ssm.state_size", z->state, state},
                 {"ssm.time_step_rank", 6, state},
                 {"ssm.group_count", 3, grouped},
                 {"wkv.head_size", z->wkv_head, rwkv6 || rwkv7},
                 {"time_mix_extra_dim", 5, rwkv6},
                 {"time_decay_extra_dim", 9, rwkv6},
                 {"attention.decay_lora_rank", 9, rwkv7},
                 {"attention.iclr_lora_rank", 7, rwkv7},
                 {"attention.value_residual_mix_lora_rank", 6, rwkv7},
                 {"attention.gate_lora_rank", 11, rwkv7},
                 {"embedding_length_per_layer_input", z->state, a->after > 0},
                 {"attention.shared_kv_layers", 1, a->after > 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].has) make_u32(g, make_hparam_key(a->name, sizes[i].suffix), sizes[i].value);
}

static inline void family_put_array(make_gguf *g, const char *key, uint32_t type, const uint32_t *v) {
    make_array(g, key, type, FAMILY_LAYERS);
    for (size_t i = 0; i < FAMILY_LAYERS; i++) make_le(&g->kv, v[i], type == MAKE_BOOL ? 1 : 4);
}

static inline void family_put_options(make_gguf *g, const arch *a, const family_sizes *z) {
    static const uint32_t recurrent[FAMILY_LAYERS] = {1, 0, 1}, windows[FAMILY_LAYERS] = {1, 0, 1};
    const uint32_t widths[FAMILY_LAYERS] = {0, 0, z->n_ff};
    static const float tuned[4] = {0.3f, -0.4f, 0.6f, -0.1f};
    static const char *const xielu[4] = {"xielu.alpha_p", "xielu.alpha_n", "xielu.beta", "xielu.eps"};
    if (a->recurrent)
        family_put_array(g, make_hparam_key(a->name, "attention.recurrent_layers"), MAKE_BOOL, recurrent);
    if (a->features & ARCH_ONE_BLOCK)
        family_put_array(g, make_hparam_key(a->name, "feed_forward_length"), MAKE_U32, widths);
    if (a->window_period)
        family_put_array(g, make_hparam_key(a->name, "attention.sliding_window_pattern"), MAKE_BOOL,
                         windows);
    for (size_t i = 0; i < 4 && (a->features & ARCH_XIELU); i++) {
        make_array(g, xielu[i], MAKE_F32, FAMILY_LAYERS);
        for (size_t k = 0; k < FAMILY_LAYERS; k++) make_put(&g->kv, &tuned[i], sizeof(float));
    }
    if (a->features & ARCH_RESIDUALS) {
        make_array(g, make_hparam_key(a->name, "activation_sparsity_scale"), MAKE_F32, FAMILY_LAYERS);
        for (size_t k = 0; k < FAMILY_LAYERS; k++) make_put(&g->kv, &tuned[k], sizeof(float));
    }
    for (const arch_key *k = a->keys; k && k->suffix; k++)
        if (!k->is_flag) make_f32(g, make_hparam_key(a->name, k->suffix), 0.7f);
}

static inline make_gguf family_header(const arch *a, const family_sizes *z) {
    make_gguf g = {.version = 3, .alignment = 32};
    rng_seed(&g.random, 77);
    make_str(&g, "general.architecture", a->name);
    family_put_sizes(&g, a, z);
    family_put_options(&g, a, z);
    make_vocab(&g);
    return g;
}

/* ---- tensors ---- */

static inline void family_add_tensor(make_gguf *g, const nut_model *m, const layer_hparams *l,
                                     const tensor_spec *t, const char *prefix) {
    char name[80];
    uint64_t dims[4] = {1, 1, 1, 1};
    size_t n = 0;
    const bool fuses = m->arch->features & ARCH_FUSED_UP;
    const bool fused = t->parts && fuses && t->with == ARCH_FUSED_UP;
    if (!(arch_needs(m->arch, t) || fused) || !arch_fits(&m->hp, l, t)) return;
    snprintf(name, sizeof name, "%s%s", prefix, arch_file_name(m->arch, t->name));
    if (make_find(g, name)) return;
    if (fuses && !fused && (!strcmp(t->name, "ffn_gate.weight") || !strcmp(t->name, "ffn_up.weight")))
        return;
    for (; t->shape[n]; n++) dims[n] = arch_size(&m->hp, l, t->shape[n]);
    make_tensor *made =
        make_add(g, name, FORMAT_F32, (size_t)dims[0], n > 1 ? (size_t)(dims[1] * dims[2] * dims[3]) : 0);
    for (size_t i = 0; i < n; i++) made->dims[i] = dims[i];
    made->n_dims = (uint32_t)n;
}

static inline void family_add_tensors(make_gguf *g, const nut_model *m, const layer_hparams *l,
                                      const tensor_spec *specs, size_t n, const char *prefix) {
    for (size_t i = 0; i < n; i++) family_add_tensor(g, m, l, &specs[i], prefix);
}

/* All that the row asks for, of sizes as the header gives them. */
static inline bool family_add_all(make_gguf *g, const arch *a) {
    nut_model m = {.arch = a, .blocks = block_specs};
    model_layer layers[FAMILY_LAYERS] = {0};
    size_t n, n_used;
    bool complete = false;
    nut_error err = {NUT_OK, ""};
    uint8_t *file = make_file(g, &n);
    const bool read = gguf_begin(&m.header, n, &err) == NUT_OK &&
                      gguf_feed(&m.header, file, n, &n_used, &complete, &err) == NUT_OK && complete &&
                      arch_hparams(&m.header, a, MAKE_N_VOCAB, &m.hp, &err) == NUT_OK &&
                      arch_layers(&m.header, a, &m.hp, layers, &err) == NUT_OK;
    if (read) {
        family_add_tensors(g, &m, &m.hp.most, arch_model_tensors, arch_n_model_tensors, "");
        for (uint32_t il = 0; il < m.hp.n_layer; il++) {
            const layer_hparams *l = &layers[il].hp;
            const unsigned blocks[] = {l->mixer, l->beside, l->ffn, l->after};
            char prefix[32];
            snprintf(prefix, sizeof prefix, "blk.%u.", il);
            family_add_tensors(g, &m, l, arch_layer_tensors, arch_n_layer_tensors, prefix);
            for (size_t i = 0; i < 4; i++)
                if (blocks[i] != BLOCK_NONE)
                    family_add_tensors(g, &m, l, block_specs[blocks[i]]->tensors,
                                       block_specs[blocks[i]]->n_tensors, prefix);
        }
    }
    gguf_free(&m.header);
    free(file);
    return read;
}

/* Replaces the number of experts of a token in a header that was made. */
static inline void family_use_experts(make_gguf *g, const arch *a, uint32_t n) {
    char key[96];
    const size_t n_key = (size_t)snprintf(key, sizeof key, "%s.expert_used_count", a->name);
    for (size_t i = 0; i + n_key + 8 <= g->kv.n; i++)
        if (!memcmp(g->kv.p + i, key, n_key)) memcpy(g->kv.p + i + n_key + 4, &(uint32_t){n}, 4);
}

/* A model of the family; without tensors where its own header is refused, which is a fault of the row. */
static inline make_gguf make_family(const arch *a, const family_sizes *z) {
    make_gguf g = family_header(a, z);
    if (a->features & ARCH_EXPERTS_BY_TENSOR)
        make_add(&g, "blk.1.ffn_gate_inp.weight", FORMAT_F32, z->n_embd, 6);
    family_add_all(&g, a);
    return g;
}

#endif
