/* The table of families, and what all of them may have in a file beside their blocks. */
#include "model/arch.h"

#include <math.h>
#include <string.h>

/* ---- what rows refer to ---- */

#define KEY(name, field, default) {.suffix = name, .to = offsetof(model_hparams, field), .missing = default}
#define FLAG(name, field, default)                                                                          \
    {.suffix = name, .to = offsetof(model_hparams, field), .is_flag = true, .missing = default}
#define KEYS_END {.suffix = NULL}

static const arch_key softcap_keys[] = {KEY("attn_logit_softcapping", attn_softcap, 50),
                                        KEY("final_logit_softcapping", logit_softcap, 30), KEYS_END};
static const arch_key gemma3n_keys[] = {KEY("final_logit_softcapping", logit_softcap, 30), KEYS_END};
static const arch_key granite_keys[] = {FLAG("rope.scaling.finetuned", rotates, true),
                                        KEY("logit_scale", logit_divisor, 1), KEYS_END};
static const arch_key logit_divisor_keys[] = {KEY("logit_scale", logit_divisor, 1), KEYS_END};
static const arch_key logit_scale_keys[] = {KEY("logit_scale", logit_scale, 1), KEYS_END};
static const arch_key mamba_keys[] = {FLAG("ssm.dt_b_c_rms", ssm.normed, false), KEYS_END};
static const arch_key minicpm_keys[] = {KEY("embedding_scale", embd_scale, 0),
                                        KEY("residual_scale", residual_scale, 0),
                                        KEY("logit_scale", logit_divisor, 0), KEYS_END};
static const arch_key parallel_keys[] = {FLAG("use_parallel_residual", parallel, true), KEYS_END};

static const arch_name rwkv_names[] = {
    {"attn_norm_2.weight", "ffn_norm.weight"}, {"attn_norm_2.bias", "ffn_norm.bias"}, {NULL, NULL}};
static const arch_name lfm2_names[] = {{"token_embd_norm.weight", "output_norm.weight"}, {NULL, NULL}};
static const arch_name h1_names[] = {{"ffn_norm", "ffn_norm.weight"}, {NULL, NULL}};
static const arch_name late_ffn_norm[] = {{"post_attention_norm.weight", "ffn_norm.weight"}, {NULL, NULL}};
static const arch_name falcon_names[] = {{"attn_norm.weight", "ffn_norm.weight"},
                                         {"attn_norm.bias", "ffn_norm.bias"},
                                         {"attn_norm_2.weight", "attn_norm.weight"},
                                         {"attn_norm_2.bias", "attn_norm.bias"},
                                         {NULL, NULL}};

static const arch_name bert_names[] = {{"attn_output_norm.weight", "post_attention_norm.weight"},
                                       {"attn_output_norm.bias", "post_attention_norm.bias"},
                                       {"layer_output_norm.weight", "post_ffw_norm.weight"},
                                       {"layer_output_norm.bias", "post_ffw_norm.bias"},
                                       {NULL, NULL}};

/* Attention takes yarn's magnitude out of the rotation, and into its scale (the authors' code); files have a
 * tenth of the multiplier. */
static void deepseek_scale(model_hparams *hp) {
    rope_hparams *r = &hp->rope[0];
    const float by = r->yarn ? 1 - r->log_multiplier * logf(r->scale) : 1;
    if (hp->attn_scale == 0.0f) hp->attn_scale = by * by / sqrtf((float)hp->mla.key);
    if (r->log_multiplier > 0) r->magnitude = 1;
}

/* Norms of queries and keys stand for it, where no key says otherwise. */
static void unscaled(model_hparams *hp) {
    if (hp->attn_scale == 0.0f) hp->attn_scale = 1;
}

/* The authors' configuration, where no key says otherwise. */
static void minicpm3_scales(model_hparams *hp) {
    if (hp->embd_scale == 1.0f) hp->embd_scale = 12;
    if (hp->residual_scale == 1.0f) hp->residual_scale = 1.4f / sqrtf((float)hp->n_layer);
    hp->logit_scale = 256 / (float)hp->n_embd;
}

static void fixed_alibi(model_hparams *hp) {
    if (hp->max_alibi == 0.0f) hp->max_alibi = 8;
}

/* ---- families ---- */

/* The blocks of most families. */
#define GATED .mixer = BLOCK_mix_attention, .ffn = BLOCK_ffn_gated
#define PLAIN .mixer = BLOCK_mix_attention, .ffn = BLOCK_ffn_plain
/* What BERT has in common with those that followed it. */
#define BERT                                                                                                \
    ARCH_POST_NORM | ARCH_NORM_AFTER | ARCH_NORM_BIAS | ARCH_ANY_BIAS | ARCH_EMBD_NORM | ARCH_TOKEN_TYPES | \
        ARCH_BOTH_WAYS
/* Chosen by softmax, with weights that add up to 1. */
#define EXPERTS {MODEL_GATE_SOFTMAX, true}
#define LAYER   .norm = ARCH_LAYER_NORM

/* RoBERTa's head (Liu et al. 2019, the authors' code), ModernBERT's, and the two rows of the output product
 * that Qwen3's rerankers keep. */
#define BERT_HEAD   {MODEL_POOL_FIRST, ARCH_ACT_TANH}
#define MODERN_HEAD {MODEL_POOL_MEAN, ARCH_ACT_GELU}
#define QWEN3_HEAD  {MODEL_POOL_LAST, ARCH_ACT_SOFTMAX}

/* Order of rotation as the families' converters left the weights: llama's were permuted to adjacent pairs.
 */
// clang-format off
/* Of our own (docs/format.md): Llama's layers with tiles of attention, and with linear attention. */
#ifdef NUT_PAGES
#define OWN_ARCH_LIST(X)
#else
#define OWN_ARCH_LIST(X)                                                                                    \
    X("nutshell-tiles", GATED, .rope = MODEL_ROPE_NEOX, .features = ARCH_PRE_NORM | ARCH_TILES)             \
    X("nutshell-linear", .mixer = BLOCK_mix_linear, .ffn = BLOCK_ffn_gated, .features = ARCH_PRE_NORM)
#endif

#define ARCH_LIST(X)                                                                                        \
    X("llama", GATED, .rope = MODEL_ROPE_NORM, .experts = EXPERTS,                                          \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                                                            \
    X("qwen2", GATED, .rope = MODEL_ROPE_NEOX, .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                   \
    X("qwen3", GATED, .rope = MODEL_ROPE_NEOX, .features = ARCH_PRE_NORM | ARCH_QK_NORM | ARCH_HEAD,        \
      .head = QWEN3_HEAD)                                                                                   \
    X("gemma", GATED, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_TANH,                              \
      .features = ARCH_PRE_NORM | ARCH_EMBD_SQRT)                                                           \
    X("gemma2", GATED, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_TANH, .window_period = 2,         \
      .features = ARCH_PRE_NORM | ARCH_POST_NORM | ARCH_EMBD_SQRT, .window = 4096, .keys = softcap_keys)    \
    X("gemma3", GATED, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_TANH, .window_period = 6,         \
      .local_base = 10000,                                                                                  \
      .features = ARCH_PRE_NORM | ARCH_POST_NORM | ARCH_EMBD_SQRT | ARCH_QK_NORM)                           \
    X("granite", GATED, .rope = MODEL_ROPE_NORM,                                                            \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS, .keys = granite_keys)                                      \
    X("minicpm", GATED, .rope = MODEL_ROPE_NORM,                                                            \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_ROPE_FACTORS, .keys = minicpm_keys)                  \
    X("smollm3", GATED, .rope = MODEL_ROPE_NORM, .no_rope_period = 4,                                       \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                                                            \
    X("ernie4_5", GATED, .rope = MODEL_ROPE_NORM, .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                \
    X("mistral3", GATED, .rope = MODEL_ROPE_NORM, .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                \
    X("internlm2", GATED, .rope = MODEL_ROPE_NORM, .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)               \
    X("hunyuan-dense", GATED, .rope = MODEL_ROPE_NEOX,                                                      \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_QK_NORM | ARCH_QK_NORM_LATE)                         \
    X("seed_oss", GATED, .rope = MODEL_ROPE_NEOX,                                                           \
      .features = ARCH_PRE_NORM | ARCH_QKV_BIAS | ARCH_ANY_BIAS, .names = late_ffn_norm)                    \
    X("phi3", GATED, .rope = MODEL_ROPE_NEOX,                                                               \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_FUSED_UP | ARCH_ROPE_FACTORS)                        \
    X("glm4", GATED, .rope = MODEL_ROPE_NORM,                                                               \
      .features = ARCH_PRE_NORM | ARCH_POST_NORM | ARCH_ANY_BIAS | ARCH_FUSED_UP)                           \
    X("chatglm", GATED, .rope = MODEL_ROPE_NORM,                                                            \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_FUSED_UP)                                            \
    X("exaone4", GATED, .rope = MODEL_ROPE_NEOX, .window_period = 4,                                        \
      .features = ARCH_POST_NORM | ARCH_QK_NORM | ARCH_ROPE_IN_WINDOWS)                                     \
    X("olmo", GATED, LAYER, .rope = MODEL_ROPE_NORM, .features = ARCH_BARE_NORM)                            \
    X("olmo2", GATED, .rope = MODEL_ROPE_NEOX, .window_period = 4,                                          \
      .features = ARCH_POST_NORM | ARCH_QK_NORM_FULL | ARCH_LOCAL_UNSCALED)                                 \
    X("command-r", GATED, LAYER, .rope = MODEL_ROPE_NORM,                                                   \
      .features = ARCH_ATTN_NORM | ARCH_ANY_BIAS | ARCH_PARALLEL | ARCH_QK_NORM_EACH,                       \
      .keys = logit_scale_keys)                                                                             \
    X("cohere2", GATED, LAYER, .rope = MODEL_ROPE_NORM, .window_period = 4,                                 \
      .features = ARCH_ATTN_NORM | ARCH_ANY_BIAS | ARCH_PARALLEL | ARCH_ROPE_IN_WINDOWS,                    \
      .keys = logit_scale_keys)                                                                             \
    X("stablelm", GATED, LAYER, .rope = MODEL_ROPE_NEOX,                                                    \
      .features = ARCH_ATTN_NORM | ARCH_NORM_BIAS | ARCH_ANY_BIAS | ARCH_MAY_PARALLEL | ARCH_QK_NORM_EACH)  \
    X("arcee", PLAIN, .rope = MODEL_ROPE_NORM, .activation = KERNEL_RELU_SQUARED,                           \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                                                            \
    X("apertus", PLAIN, .rope = MODEL_ROPE_NEOX,                                                            \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_QK_NORM | ARCH_XIELU)                                \
    X("nemotron", PLAIN, LAYER, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_RELU_SQUARED,                 \
      .features = ARCH_PRE_NORM | ARCH_NORM_BIAS | ARCH_ANY_BIAS)                                           \
    X("phi2", PLAIN, LAYER, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_TANH,                        \
      .features = ARCH_ATTN_NORM | ARCH_NORM_BIAS | ARCH_ANY_BIAS | ARCH_QKV_BIAS | ARCH_PARALLEL)          \
    X("starcoder2", PLAIN, LAYER, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_TANH,                  \
      .features = ARCH_PRE_NORM | ARCH_NORM_BIAS | ARCH_ANY_BIAS)                                           \
    X("starcoder", PLAIN, LAYER, .activation = KERNEL_GELU_TANH,                                            \
      .features = ARCH_PRE_NORM | ARCH_NORM_BIAS | ARCH_ANY_BIAS | ARCH_QKV_BIAS | ARCH_POSITIONS)          \
    X("gpt2", PLAIN, LAYER, .activation = KERNEL_GELU_TANH,                                                 \
      .features = ARCH_PRE_NORM | ARCH_NORM_BIAS | ARCH_ANY_BIAS | ARCH_QKV_BIAS | ARCH_POSITIONS)          \
    X("gptneox", PLAIN, LAYER, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU,                          \
      .features = ARCH_PRE_NORM | ARCH_NORM_BIAS | ARCH_ANY_BIAS | ARCH_QKV_BIAS, .keys = parallel_keys)    \
    X("falcon", PLAIN, LAYER, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU,                           \
      .features = ARCH_FFN_NORM | ARCH_NORM_BIAS | ARCH_PARALLEL, .names = falcon_names)                    \
    X("bloom", PLAIN, LAYER, .activation = KERNEL_GELU_TANH, .derive = fixed_alibi,                         \
      .features = ARCH_PRE_NORM | ARCH_NORM_BIAS | ARCH_ANY_BIAS | ARCH_QKV_BIAS | ARCH_EMBD_NORM)          \
    X("mpt", PLAIN, LAYER, .activation = KERNEL_GELU, .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)            \
    X("qwen2moe", GATED, .rope = MODEL_ROPE_NEOX, .experts = {MODEL_GATE_SOFTMAX, false},                   \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                                                            \
    X("qwen3moe", GATED, .rope = MODEL_ROPE_NEOX, .experts = EXPERTS,                                       \
      .features = ARCH_PRE_NORM | ARCH_QK_NORM)                                                             \
    X("olmoe", GATED, .rope = MODEL_ROPE_NEOX, .experts = {MODEL_GATE_SOFTMAX, false},                      \
      .features = ARCH_PRE_NORM | ARCH_QK_NORM_FULL)                                                        \
    X("granitemoe", GATED, .rope = MODEL_ROPE_NORM, .experts = EXPERTS,                                     \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS, .keys = logit_divisor_keys)                                \
    X("phimoe", GATED, LAYER, .rope = MODEL_ROPE_NEOX, .experts = {MODEL_GATE_SPARSE, false},               \
      .features = ARCH_PRE_NORM | ARCH_NORM_BIAS | ARCH_QKV_BIAS | ARCH_ANY_BIAS | ARCH_ROPE_FACTORS)       \
    X("ernie4_5-moe", GATED, .rope = MODEL_ROPE_NORM, .experts = EXPERTS,                                   \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                                                            \
    X("hunyuan-moe", GATED, .rope = MODEL_ROPE_NEOX, .experts = EXPERTS,                                    \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_QK_NORM | ARCH_QK_NORM_LATE)                         \
    X("glm4moe", GATED, .rope = MODEL_ROPE_NEOX, .experts = {MODEL_GATE_SIGMOID, true},                     \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_QK_NORM_MAYBE, .names = late_ffn_norm)               \
    X("gpt-oss", GATED, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_QUICK, .window_period = 2,       \
      .experts = {MODEL_GATE_CHOSEN, false}, .names = late_ffn_norm,                                        \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_SINKS | ARCH_YARN_EXACT | ARCH_CLAMPED_GLU)          \
    X("bert", PLAIN, LAYER, .activation = KERNEL_GELU, .features = BERT | ARCH_POSITIONS | ARCH_HEAD,       \
      .names = bert_names, .head = BERT_HEAD)                                                               \
    X("nomic-bert", GATED, LAYER, .rope = MODEL_ROPE_NEOX, .features = BERT, .names = bert_names)           \
    X("jina-bert-v2", GATED, LAYER, .activation = KERNEL_GELU, .names = bert_names, .derive = fixed_alibi,  \
      .features = BERT | ARCH_QK_NORM_FULL_MAYBE | ARCH_FUSED_UP)                                           \
    X("jina-bert-v3", PLAIN, LAYER, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU, .features = BERT,   \
      .names = bert_names)                                                                                  \
    X("modern-bert", GATED, LAYER, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU, .window_period = 3,  \
      .features = ARCH_ATTN_NORM_MAYBE | ARCH_FFN_NORM | ARCH_EMBD_NORM | ARCH_FUSED_UP | ARCH_ANY_BIAS |   \
                  ARCH_BOTH_WAYS | ARCH_FULL_FIRST | ARCH_HEAD, .head = MODERN_HEAD)                        \
    X("eurobert", GATED, .rope = MODEL_ROPE_NEOX,                                                           \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_BOTH_WAYS)                                           \
    X("gemma-embedding", GATED, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_TANH,                    \
      .window_period = 6, .local_base = 10000,                                                              \
      .features = ARCH_PRE_NORM | ARCH_POST_NORM | ARCH_EMBD_SQRT | ARCH_QK_NORM | ARCH_BOTH_WAYS)          \
    X("lfm2", GATED, .recurrent = BLOCK_mix_shortconv, .rope = MODEL_ROPE_NEOX, .names = lfm2_names,        \
      .features = ARCH_PRE_NORM | ARCH_QK_NORM)                                                             \
    X("lfm2moe", GATED, .recurrent = BLOCK_mix_shortconv, .rope = MODEL_ROPE_NEOX, .names = lfm2_names,     \
      .features = ARCH_PRE_NORM | ARCH_QK_NORM, .experts = {MODEL_GATE_SIGMOID, true})                      \
    X("mamba", .mixer = BLOCK_mix_mamba, .ffn = BLOCK_NONE, .features = ARCH_ATTN_NORM, .keys = mamba_keys) \
    X("mamba2", .mixer = BLOCK_mix_mamba2, .ffn = BLOCK_NONE, .features = ARCH_ATTN_NORM)                   \
    X("jamba", GATED, .recurrent = BLOCK_mix_mamba, .experts = {MODEL_GATE_SOFTMAX, false},                 \
      .features = ARCH_PRE_NORM | ARCH_EXPERTS_BY_TENSOR)                                                   \
    X("falcon-h1", GATED, .beside = BLOCK_mix_mamba2, .rope = MODEL_ROPE_NEOX, .names = h1_names,           \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                                                            \
    X("granitehybrid", GATED, .recurrent = BLOCK_mix_mamba2, .rope = MODEL_ROPE_NORM, .experts = EXPERTS,   \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS, .keys = granite_keys)                                      \
    X("nemotron_h", PLAIN, .recurrent = BLOCK_mix_mamba2, .activation = KERNEL_RELU_SQUARED,                \
      .features = ARCH_ATTN_NORM | ARCH_ANY_BIAS | ARCH_ONE_BLOCK)                                          \
    X("qwen3next", GATED, .recurrent = BLOCK_mix_delta, .interval = 4, .rope = MODEL_ROPE_NEOX,             \
      .features = ARCH_PRE_NORM | ARCH_QK_NORM | ARCH_GATED_OUT, .experts = EXPERTS, .names = late_ffn_norm)\
    X("qwen35", GATED, .recurrent = BLOCK_mix_delta, .interval = 4, .rope = MODEL_ROPE_NEOX,                \
      .features = ARCH_PRE_NORM | ARCH_QK_NORM | ARCH_GATED_OUT | ARCH_TILED_HEADS, .names = late_ffn_norm) \
    X("deepseek2", .mixer = BLOCK_mix_mla, .ffn = BLOCK_ffn_gated, .rope = MODEL_ROPE_NORM,                 \
      .experts = {MODEL_GATE_SOFTMAX, false}, .features = ARCH_PRE_NORM, .derive = deepseek_scale)          \
    X("minicpm3", .mixer = BLOCK_mix_mla, .ffn = BLOCK_ffn_gated, .rope = MODEL_ROPE_NEOX,                  \
      .features = ARCH_PRE_NORM | ARCH_ROPE_FACTORS, .derive = minicpm3_scales)                             \
    X("gemma4", GATED, .after = BLOCK_ffn_inputs, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_TANH,  \
      .window_period = 6, .derive = unscaled, .features = ARCH_PRE_NORM | ARCH_POST_NORM |                  \
      ARCH_EMBD_SQRT | ARCH_QK_NORM | ARCH_V_NORM | ARCH_LINKED | ARCH_LOCAL_UNSCALED)                      \
    X("gemma3n", GATED, .beside = BLOCK_mix_laurel, .after = BLOCK_ffn_inputs, .rope = MODEL_ROPE_NEOX,     \
      .activation = KERNEL_GELU_TANH, .window_period = 5, .local_base = 10000, .derive = unscaled,          \
      .features = ARCH_PRE_NORM | ARCH_POST_NORM | ARCH_EMBD_SQRT | ARCH_QK_NORM | ARCH_V_NORM |            \
                  ARCH_LINKED | ARCH_RESIDUALS, .keys = gemma3n_keys)                                       \
    X("rwkv6", .mixer = BLOCK_mix_rwkv6, .ffn = BLOCK_ffn_rwkv, LAYER, .names = rwkv_names,                 \
      .features = ARCH_PRE_NORM | ARCH_NORM_BIAS | ARCH_EMBD_NORM | ARCH_CHANNEL_GATE)                      \
    X("rwkv7", .mixer = BLOCK_mix_rwkv7, .ffn = BLOCK_ffn_rwkv, LAYER, .names = rwkv_names,                 \
      .features = ARCH_PRE_NORM | ARCH_NORM_BIAS | ARCH_EMBD_NORM | ARCH_LINKED)                            \
    X("nutshell-relu", GATED, .rope = MODEL_ROPE_NORM, .activation = KERNEL_RELU,                           \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS | ARCH_RELU_NORM)                                           \
    OWN_ARCH_LIST(X)
// clang-format on

static const arch archs[] = {
#define NUT_X(text, ...) {.name = text, __VA_ARGS__},
    ARCH_LIST(NUT_X)
#undef NUT_X
};

#define NUT_X(text, ...) ", " text
static const char names[] = ARCH_LIST(NUT_X);
#undef NUT_X

const char *arch_names(void) {
    return names + 2;
}

const arch *arch_find(gguf_str name) {
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (gguf_str_is(name, archs[i].name)) return &archs[i];
    return NULL;
}

/* ---- tensors beside those of blocks ---- */

#define IN_MODEL(field) .to = offsetof(struct nut_model, field)
#define IN_LAYER(field) .to = offsetof(model_layer, field)
#define MATRIX(letters) .kind = TENSOR_MATRIX, .shape = letters
#define STACK(letters)  .kind = TENSOR_STACK, .shape = letters
#define VECTOR(letters) .kind = TENSOR_VECTOR, .shape = letters

const tensor_spec arch_model_tensors[] = {
    {"token_embd.weight", IN_MODEL(token_embd), MATRIX("EV")},
    {"position_embd.weight", IN_MODEL(positions), MATRIX("EC"), .with = ARCH_POSITIONS},
    {"per_layer_token_embd.weight", IN_MODEL(input_embd), MATRIX("JV"), .when = 'I'},
    {"per_layer_model_proj.weight", IN_MODEL(input_proj.w), MATRIX("EJ"), .when = 'I'},
    {"per_layer_proj_norm.weight", IN_MODEL(input_norm), VECTOR("I"), .when = 'I'},
    {"altup_proj.weight", IN_MODEL(residual_in), STACK("EE-"), .with = ARCH_RESIDUALS},
    {"altup_unembd_proj.weight", IN_MODEL(residual_out), STACK("EE-"), .with = ARCH_RESIDUALS},
    {"token_types.weight", IN_MODEL(types), MATRIX("ET"), .may = ARCH_TOKEN_TYPES},
    {"token_embd_norm.weight", IN_MODEL(embd_norm.weight), VECTOR("E"), .with = ARCH_EMBD_NORM},
    {"token_embd_norm.bias", IN_MODEL(embd_norm.bias), VECTOR("E"), .with = ARCH_EMBD_NORM | ARCH_NORM_BIAS},
    {"output_norm.weight", IN_MODEL(output_norm.weight), VECTOR("E"),
     .unless = ARCH_BARE_NORM | ARCH_NORM_AFTER},
    {"output_norm.bias", IN_MODEL(output_norm.bias), VECTOR("E"), .with = ARCH_NORM_BIAS,
     .may = ARCH_ANY_BIAS, .unless = ARCH_NORM_AFTER},
    {"output.weight", IN_MODEL(output.w), MATRIX("EV"), .may = TENSOR_OPTIONAL},
    {"output.bias", IN_MODEL(output.bias), VECTOR("V"), .may = ARCH_ANY_BIAS},
    {"cls.weight", IN_MODEL(head.dense.w), MATRIX("EE"), .may = ARCH_HEAD},
    {"cls.bias", IN_MODEL(head.dense.bias), VECTOR("E"), .may = ARCH_HEAD},
    {"cls.norm.weight", IN_MODEL(head.norm.weight), VECTOR("E"), .may = ARCH_HEAD},
    {"cls.output.weight", IN_MODEL(head.out.w), MATRIX("Ek"), .may = ARCH_HEAD},
    {"cls.output.bias", IN_MODEL(head.out.bias), VECTOR("k"), .may = ARCH_HEAD},
    {"rope_freqs.weight", IN_MODEL(rope_freqs), VECTOR("R"), .may = TENSOR_OPTIONAL},
    {"rope_factors_short.weight", IN_MODEL(rope_short), VECTOR("R"), .may = ARCH_ROPE_FACTORS},
    {"rope_factors_long.weight", IN_MODEL(rope_long), VECTOR("R"), .may = ARCH_ROPE_FACTORS},
};
const size_t arch_n_model_tensors = sizeof arch_model_tensors / sizeof *arch_model_tensors;

const tensor_spec arch_layer_tensors[] = {
    {"attn_norm.weight", IN_LAYER(attn_norm.weight), VECTOR("E"), .with = ARCH_ATTN_NORM,
     .may = ARCH_PARALLEL | ARCH_ATTN_NORM_MAYBE},
    {"attn_norm.bias", IN_LAYER(attn_norm.bias), VECTOR("E"), .with = ARCH_ATTN_NORM | ARCH_NORM_BIAS,
     .may = ARCH_ANY_BIAS | ARCH_PARALLEL},
    {"post_attention_norm.weight", IN_LAYER(attn_post_norm.weight), VECTOR("E"), .with = ARCH_POST_NORM},
    {"ffn_norm.weight", IN_LAYER(ffn_norm.weight), VECTOR("E"), .with = ARCH_FFN_NORM,
     .may = ARCH_PARALLEL | ARCH_MAY_PARALLEL},
    {"ffn_norm.bias", IN_LAYER(ffn_norm.bias), VECTOR("E"), .with = ARCH_FFN_NORM | ARCH_NORM_BIAS,
     .may = ARCH_ANY_BIAS | ARCH_PARALLEL},
    {"post_norm.weight", IN_LAYER(after_post_norm.weight), VECTOR("E"), .when = 'I'},
    {"altup_router.weight", IN_LAYER(residuals.router.w), MATRIX("E="), .with = ARCH_RESIDUALS},
    {"altup_router_norm.weight", IN_LAYER(residuals.router_norm), VECTOR("E"), .with = ARCH_RESIDUALS},
    {"altup_predict_coef.weight", IN_LAYER(residuals.predict.w), MATRIX("=*"), .with = ARCH_RESIDUALS},
    {"altup_correct_coef.weight", IN_LAYER(residuals.correct.w), MATRIX("=="), .with = ARCH_RESIDUALS},
    {"altup_correct_scale.weight", IN_LAYER(residuals.scale), VECTOR("E"), .with = ARCH_RESIDUALS},
    {"layer_output_scale.weight", IN_LAYER(out_scale), VECTOR("1"), .may = ARCH_V_NORM},
    {"post_attention_norm.bias", IN_LAYER(attn_post_norm.bias), VECTOR("E"),
     .with = ARCH_POST_NORM | ARCH_NORM_BIAS},
    {"post_ffw_norm.weight", IN_LAYER(ffn_post_norm.weight), VECTOR("E"), .with = ARCH_POST_NORM},
    {"post_ffw_norm.bias", IN_LAYER(ffn_post_norm.bias), VECTOR("E"),
     .with = ARCH_POST_NORM | ARCH_NORM_BIAS},
};
const size_t arch_n_layer_tensors = sizeof arch_layer_tensors / sizeof *arch_layer_tensors;

bool arch_fits(const model_hparams *hp, const layer_hparams *layer, const tensor_spec *t) {
    return (!t->when || arch_size(hp, layer, t->when)) &&
           (!t->when_not || !arch_size(hp, layer, t->when_not));
}

static bool has(const arch *a, const tensor_spec *t) {
    if (a->features & t->unless) return false;
    return t->with ? (a->features & t->with) == t->with : !t->may;
}

/* One that holds several is another form of those, which are needed. */
bool arch_needs(const arch *a, const tensor_spec *t) {
    return has(a, t) && !t->parts;
}

bool arch_allows(const arch *a, const tensor_spec *t) {
    if (a->features & t->unless) return false;
    return has(a, t) || t->may == TENSOR_OPTIONAL || (a->features & t->may) != 0;
}

const char *arch_file_name(const arch *a, const char *name) {
    for (const arch_name *n = a->names; n && n->file; n++)
        if (!strcmp(n->name, name)) return n->file;
    return name;
}

gguf_str arch_table_name(const arch *a, gguf_str file_name) {
    for (const arch_name *n = a->names; n && n->file; n++)
        if (gguf_str_is(file_name, n->file)) return (gguf_str){n->name, strlen(n->name)};
    return file_name;
}

static uint64_t wkv_size(const model_hparams *hp, const layer_hparams *l, char letter) {
    const wkv_hparams *h = &hp->wkv;
    switch (letter) {
    case 'N': return h->head;
    case '#': return h->head ? hp->n_embd / h->head : 0;
    case 'W': return h->decay;
    case 'L': return h->rate;
    case 'O': return l->value_rank;
    case 'Y': return h->gate;
    case 'Z': return h->mix;
    case 'f': return 5 * (uint64_t)h->mix;
    case '5': return 5;
    case '6': return 6;
    default: return 1;
    }
}

static uint64_t mla_size(const model_hparams *hp, const layer_hparams *l, char letter) {
    const mla_hparams *h = &hp->mla;
    const uint64_t plain = h->key > hp->rope[0].n_rot ? h->key - hp->rope[0].n_rot : 0;
    switch (letter) {
    case 'q': return h->q_rank;
    case 'v': return h->kv_rank;
    case 'a': return (uint64_t)h->kv_rank + hp->rope[0].n_rot;
    case 'b': return (uint64_t)l->n_head * h->key;
    case 'y': return plain;
    case 'l': return h->value;
    case 'o': return (uint64_t)l->n_head * h->value;
    case 'j': return l->n_head * (plain + h->value);
    case 'u': return h->absorbed;
    default: return wkv_size(hp, l, letter);
    }
}

static uint64_t ssm_size(const model_hparams *hp, const layer_hparams *l, char letter) {
    const ssm_hparams *h = &hp->ssm;
    const uint64_t i = h->inner, mixed = i + 2 * (uint64_t)h->groups * h->state;
    switch (letter) {
    case 'c': return h->conv;
    case 'i': return i;
    case 'n': return h->state;
    case 'r': return h->rank;
    case 'g': return h->groups;
    case '2': return 2 * i;
    case 'x': return (uint64_t)h->rank + 2 * h->state;
    case 'm': return mixed;
    case 'z': return mixed + i + h->rank;
    case 'p': return h->groups ? i / h->groups : 0;
    case 'w': return h->rank ? i / h->rank : 0;
    case 't': return 2 * (uint64_t)h->rank;
    default: return mla_size(hp, l, letter);
    }
}

uint64_t arch_size(const model_hparams *hp, const layer_hparams *l, char letter) {
    const uint64_t q = (uint64_t)l->n_head * l->head_dim, k = (uint64_t)l->n_head_kv * l->head_dim,
                   v = (uint64_t)l->n_head_kv * l->head_dim_v;
    switch (letter) {
    case 'V': return hp->n_vocab;
    case 'E': return hp->n_embd;
    case 'C': return hp->n_ctx_train;
    case 'H': return l->n_head;
    case 'h': return l->n_head_kv;
    case 'D': return l->head_dim;
    case 'Q': return q;
    case 'K': return k;
    case 'U': return v;
    case 'A': return q + k + v;
    case 'P': return (uint64_t)l->n_head * l->head_dim_v;
    case 'F': return l->n_ff;
    case 'G': return 2 * (uint64_t)l->n_ff;
    case 's': return !l->shares_kv;
    case 'I': return hp->n_inputs;
    case 'J': return (uint64_t)hp->n_inputs * hp->n_layer;
    case 'T': return hp->n_types;
    case 'k': return hp->n_labels;
    case '=': return hp->residuals.n;
    case '-': return hp->residuals.n - 1;
    case '*': return (uint64_t)hp->residuals.n * hp->residuals.n;
    case '+': return hp->residuals.rank;
    case 'R': return hp->rope[0].n_rot / 2;
    case 'B': return 2 * q;
    case 'e': return 3 * (uint64_t)hp->n_embd;
    case 'X': return hp->experts.n;
    case 'M': return hp->experts.n_ff;
    case 'S': return hp->experts.n_ff_shared;
    default: return ssm_size(hp, l, letter);
    }
}
