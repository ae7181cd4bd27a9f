/* Which hyperparameters a family may have in a file: those that something of it reads, and those that change
 * nothing of what is computed. Any other may change the computation, so a file with it is refused. */
#include "model/arch_keys.h"

#include "base/error.h"

#include <string.h>

/* ---- what reads keys ---- */

enum {
    OF_ALL = 1 << 0,
    OF_ATTENTION = 1 << 1, // heads that attend, plain or latent
    OF_PLAIN = 1 << 2,     // those of plain attention alone
    OF_LATENT = 1 << 3,
    OF_FFN = 1 << 4,
    OF_EXPERTS = 1 << 5,
    OF_HYBRID = 1 << 6, // layers with attention, and others
    OF_CONV = 1 << 7,   // short convolutions as mixers
    OF_STATE = 1 << 8,  // state spaces, and delta nets
    OF_GROUPS = 1 << 9, // those with heads in groups
    OF_TIME_MIX = 1 << 10,
    OF_RWKV6 = 1 << 11,
    OF_RWKV7 = 1 << 12,
    OF_INPUTS = 1 << 13, // inputs of each layer
    OF_STABLELM = 1 << 14,
    OF_HEAD = 1 << 15,      // scores of texts
    OF_RESIDUALS = 1 << 16, // several residuals
    OF_HEADS = 1 << 17,     // all kinds of attention, linear too
    OF_TILES = 1 << 18,     // attention that sees some tiles of positions
};

typedef struct known_key {
    const char *suffix;
    unsigned of; // which of the above
} known_key;

static const known_key read_keys[] = {
    {"context_length", OF_ALL},
    {"embedding_length", OF_ALL},
    {"block_count", OF_ALL},
    {"feed_forward_length", OF_FFN},
    {"pooling_type", OF_ALL},
    {"hidden_activation", OF_FFN},
    {"embedding_scale", OF_ALL},
    {"residual_scale", OF_ALL},
    {"final_logit_softcapping", OF_ALL},
    {"attention.layer_norm_epsilon", OF_ALL},
    {"attention.layer_norm_rms_epsilon", OF_ALL},
#ifndef NUT_PAGES
    {"attention.tiles.local", OF_TILES},
    {"attention.tiles.global", OF_TILES},
    {"attention.tiles.stride", OF_TILES},
    {"attention.tiles.random", OF_TILES},
    {"attention.tiles.seed", OF_TILES},
#endif
    {"attention.causal", OF_ATTENTION},
    {"attention.head_count", OF_HEADS},
    {"attention.head_count_kv", OF_HEADS},
    {"attention.key_length", OF_HEADS},
    {"attention.value_length", OF_HEADS},
    {"attention.sliding_window", OF_ATTENTION},
    {"attention.sliding_window_pattern", OF_ATTENTION},
    {"attention.scale", OF_ATTENTION},
    {"attention.max_alibi_bias", OF_ATTENTION},
    {"attn_logit_softcapping", OF_ATTENTION},
    {"attention.key_length_swa", OF_PLAIN},
    {"attention.value_length_swa", OF_PLAIN},
    {"attention.clamp_kqv", OF_PLAIN},
    {"attention.temperature_scale", OF_PLAIN},
    {"attention.q_lora_rank", OF_LATENT},
    {"attention.kv_lora_rank", OF_LATENT},
    {"attention.key_length_mla", OF_LATENT},
    {"attention.value_length_mla", OF_LATENT},
    {"attention.recurrent_layers", OF_HYBRID},
    {"full_attention_interval", OF_HYBRID},
    {"expert_count", OF_EXPERTS},
    {"expert_used_count", OF_EXPERTS},
    {"expert_group_count", OF_EXPERTS},
    {"expert_group_used_count", OF_EXPERTS},
    {"expert_feed_forward_length", OF_EXPERTS},
    {"expert_shared_count", OF_EXPERTS},
    {"expert_shared_feed_forward_length", OF_EXPERTS},
    {"expert_gating_func", OF_EXPERTS},
    {"expert_weights_norm", OF_EXPERTS},
    {"expert_weights_scale", OF_EXPERTS},
    {"leading_dense_block_count", OF_EXPERTS},
    {"interleave_moe_layer_step", OF_EXPERTS},
    {"shortconv.l_cache", OF_CONV},
    {"ssm.conv_kernel", OF_STATE},
    {"ssm.inner_size", OF_STATE},
    {"ssm.state_size", OF_STATE},
    {"ssm.time_step_rank", OF_STATE},
    {"ssm.group_count", OF_GROUPS},
    {"wkv.head_size", OF_TIME_MIX},
    {"rescale_every_n_layers", OF_TIME_MIX},
    {"time_mix_extra_dim", OF_RWKV6},
    {"time_decay_extra_dim", OF_RWKV6},
    {"attention.decay_lora_rank", OF_RWKV7},
    {"attention.iclr_lora_rank", OF_RWKV7},
    {"attention.value_residual_mix_lora_rank", OF_RWKV7},
    {"attention.gate_lora_rank", OF_RWKV7},
    {"embedding_length_per_layer_input", OF_INPUTS},
    {"attention.shared_kv_layers", OF_INPUTS},
    {"classifier.output_labels", OF_HEAD},
    {"altup.num_inputs", OF_RESIDUALS},
    {"altup.active_idx", OF_RESIDUALS},
    {"activation_sparsity_scale", OF_RESIDUALS},
    {"rope.freq_base", OF_ALL}, // of families that do not rotate too, where they change nothing
    {"rope.freq_base_swa", OF_PLAIN},
    {"rope.dimension_count", OF_ALL},
    {"rope.dimension_count_swa", OF_PLAIN},
    {"rope.scale_linear", OF_ALL},
    {"rope.scaling.type", OF_ALL},
    {"rope.scaling.factor", OF_ALL},
    {"rope.scaling.attn_factor", OF_ALL},
    {"rope.scaling.original_context_length", OF_ALL},
    {"rope.scaling.yarn_beta_fast", OF_ALL},
    {"rope.scaling.yarn_beta_slow", OF_ALL},
    {"rope.scaling.yarn_log_multiplier", OF_ALL},
    // not read, as they change nothing:
    {"vocab_size", OF_ALL},                 // the tokenizer lists the vocabulary
    {"tensor_data_layout", OF_ALL},         // of old files: the order of rotation, which the family says
    {"rope.scaling.finetuned", OF_ALL},     // whether a model was trained with its scaling
    {"rope.dimension_sections", OF_ALL},    // a text has the same position in all sections
    {"use_parallel_residual", OF_STABLELM}, // its layers' norms say it
};

/* What a mixer reads. */
static unsigned of_mixer(uint8_t mixer) {
    if (ARCH_OWN && mixer == BLOCK_mix_linear) return OF_HEADS;
    switch (mixer) {
    case BLOCK_mix_attention: return OF_HEADS | OF_ATTENTION | OF_PLAIN;
    case BLOCK_mix_mla: return OF_HEADS | OF_ATTENTION | OF_LATENT;
    case BLOCK_mix_shortconv: return OF_CONV;
    case BLOCK_mix_mamba: return OF_STATE;
    case BLOCK_mix_mamba2:
    case BLOCK_mix_delta: return OF_STATE | OF_GROUPS;
    case BLOCK_mix_rwkv6: return OF_TIME_MIX | OF_RWKV6;
    case BLOCK_mix_rwkv7: return OF_TIME_MIX | OF_RWKV7;
    default: return 0;
    }
}

static unsigned of_family(const arch *a) {
    unsigned of = OF_ALL | of_mixer(a->mixer);
    if (a->recurrent) of |= of_mixer(a->recurrent) | OF_HYBRID;
    if (a->beside) of |= of_mixer(a->beside);
    if (a->ffn != BLOCK_NONE) of |= OF_FFN;
    if (a->after) of |= OF_INPUTS;
    if (a->experts.gating != MODEL_GATE_NONE) of |= OF_EXPERTS;
    if (a->features & ARCH_MAY_PARALLEL) of |= OF_STABLELM;
    if (a->features & ARCH_HEAD) of |= OF_HEAD;
    if (a->features & ARCH_RESIDUALS) of |= OF_RESIDUALS;
    if (ARCH_OWN && (a->features & ARCH_TILES)) of |= OF_TILES;
    return of;
}

/* ---- the check ---- */

static bool is_known(const arch *a, gguf_str suffix) {
    const unsigned of = of_family(a);
    for (const arch_key *key = a->keys; key && key->suffix; key++)
        if (gguf_str_is(suffix, key->suffix)) return true;
    for (size_t i = 0; i < sizeof read_keys / sizeof *read_keys; i++)
        if ((read_keys[i].of & of) && gguf_str_is(suffix, read_keys[i].suffix)) return true;
    return false;
}

/* A number that is zero, or false: it switches something off. */
static bool is_off(const gguf_kv *kv) {
    for (uint64_t i = 0; i < kv->n_bytes; i++)
        if (kv->value[i]) return false;
    return kv->type != GGUF_STRING && kv->type != GGUF_ARRAY;
}

nut_status arch_check_keys(const gguf *g, const arch *a, nut_error *err) {
    const size_t n = strlen(a->name);
    for (uint64_t i = 0; i < g->n_kv; i++) {
        const gguf_kv *kv = &g->kv[i];
        if (kv->key.n <= n || memcmp(kv->key.s, a->name, n) || kv->key.s[n] != '.') continue;
        if (is_known(a, (gguf_str){kv->key.s + n + 1, kv->key.n - n - 1}) || is_off(kv)) continue;
        return error_set(err, NUT_E_UNSUPPORTED,
                         "the option %.*s is not supported; the model needs a newer engine or another one",
                         (int)(kv->key.n < 80 ? kv->key.n : 80), kv->key.s);
    }
    return NUT_OK;
}
