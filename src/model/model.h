/*
 * A loaded model: hyperparameters, vocabulary, and weights bound by name and shape. Read-only once finished.
 */
#ifndef NUT_MODEL_MODEL_H
#define NUT_MODEL_MODEL_H

#include "base/mem.h"
#include "kernels/kernels.h"
#include "model/gguf.h"
#include "model/linear.h"
#include "model/vocab.h"

typedef enum model_rope { // which pairs of a head's values are rotated together
    MODEL_ROPE_NONE,
    MODEL_ROPE_NORM, // (2i, 2i+1)
    MODEL_ROPE_NEOX, // (i, i + n_rot/2)
} model_rope;

enum { MODEL_ROPES = 2 }; // rotations that a model has at most

/* How positions become angles: the frequency of pair i is base^(-2i / n_rot), then scaled. */
typedef struct rope_hparams {
    uint32_t n_rot; // leading values of a head that are rotated
    float base;
    float scale; // positions are multiplied by it: 1 / factor for linear scaling, else 1
    bool yarn; // NTK by parts (Peng et al. 2023, arXiv 2309.00071, section 3.2): `scale` for low frequencies
               // only
    float n_orig;               // yarn: positions that the model was trained with before it was extended
    float beta_fast, beta_slow; // yarn: rotations over n_orig from which on a pair keeps its frequency, and
                                // below which it is scaled in full
    float log_multiplier;       // yarn: of the magnitude that attention takes out again
    float magnitude;            // cosines and sines are multiplied by it (yarn's attention factor), else 1
} rope_hparams;

/* What is made of the last rows of a text's tokens; the numbers are those of files. */
typedef enum model_pooling {
    MODEL_POOL_NONE,
    MODEL_POOL_MEAN,
    MODEL_POOL_FIRST,
    MODEL_POOL_LAST,
    MODEL_POOL_RANK // as the family's head reads a text
} model_pooling;

/* How a token's experts are chosen and weighted (Shazeer et al. 2017, arXiv 1701.06538). */
typedef enum model_gating {
    MODEL_GATE_NONE,
    MODEL_GATE_SOFTMAX, // of all scores; 1 to 3 are the numbers that files have
    MODEL_GATE_SIGMOID, // of each score
    MODEL_GATE_CHOSEN,  // softmax of the scores of those that were chosen
    MODEL_GATE_SPARSE,  // softmax of the scores near the largest of those that are left (SparseMixer; Liu et
                        // al. 2023, arXiv 2310.00811)
} model_gating;

typedef struct expert_hparams {
    uint32_t n, n_used;
    uint32_t n_group, n_group_used; // groups of which only the best ones' experts are chosen; 1: all
    uint32_t n_ff;                  // of an expert
    uint32_t n_ff_shared;           // of what all tokens go through
    model_gating gating;
    bool normalize; // the chosen ones' weights add up to 1
    float scale;    // of their weights
} expert_hparams;

/* Sizes of recurrent blocks, as files name them. */
typedef struct ssm_hparams {
    uint32_t conv;   // positions of the convolution
    uint32_t inner;  // channels
    uint32_t state;  // numbers that a channel keeps, or a key's
    uint32_t rank;   // of time steps, or value heads
    uint32_t groups; // that share B and C, or key heads
    bool normed;     // time steps, B and C have norms without weights
} ssm_hparams;

/* RWKV's time mixing: ranks of the low-rank products, and numbers of a head. */
typedef struct wkv_hparams {
    uint32_t head, decay, rate, value, gate, mix;
} wkv_hparams;

/* Latent attention (DeepSeek-AI 2024, arXiv 2405.04434, section 2.1). */
typedef struct mla_hparams {
    uint32_t q_rank;     // of queries; 0: they are not compressed
    uint32_t kv_rank;    // of keys and values
    uint32_t key, value; // columns of a head
    bool absorbed;       // the cache holds what keys and values are made of, shared by all heads
} mla_hparams;

enum { MODEL_MAX_RESIDUALS = 8 };

/* Residuals of which a layer works on one and guesses the others (run/residuals.c). */
typedef struct residual_hparams {
    uint32_t n;      // 0: there is one residual, as nearly everywhere
    uint32_t active; // the one that layers work on
    uint32_t rank;   // of the low-rank mixer beside attention
} residual_hparams;

/* What may differ from layer to layer. */
typedef struct layer_hparams {
    uint8_t mixer, ffn; // block ids of model/arch.h
    uint8_t beside;     // a second mixer
    uint8_t after;      // a third block
    bool rotates;       // rope is applied
    uint8_t rope;       // which of hp.rope, where it rotates
    uint32_t n_ff;
    uint32_t n_head;
    uint32_t n_head_kv;
    uint32_t head_dim;   // of q and k
    uint32_t head_dim_v; // of v
    uint32_t kv_of;      // the layer whose keys and values it reads; its own unless they are shared
    uint32_t value_rank; // RWKV-7: of the products for values
    bool shares_kv;      // it reads those of another
    uint32_t window;     // a token sees so many positions, its own included; 0: all before it
    bool sparse;         // gates below a cutoff are off (ffn_gated)
    float cutoff;        // of them: so many deviations above their mean
    float xielu[4];      // alpha_p, alpha_n, beta, epsilon of ARCH_XIELU
} layer_hparams;

/* Which tiles of 64 positions a token's own tile sees (ARCH_TILES); see tiles.h. */
typedef struct tile_hparams {
    uint32_t local, global, stride, random; // but for local, 0: none
    uint32_t seed;                          // of the random ones
} tile_hparams;

typedef struct model_hparams {
    uint32_t n_vocab;
    uint32_t n_ctx_train;
    uint32_t n_embd;
    uint32_t n_layer;
    bool reference; // weights are held as floats, and so are keys and values
    uint32_t n_rot; // the larger of rope's
    model_rope rope_kind;
    uint32_t n_ropes;               // 2 where layers with a window have a rotation of their own, else 1
    rope_hparams rope[MODEL_ROPES]; // of layers without a window, and of those with one
    expert_hparams experts;
    ssm_hparams ssm;
    mla_hparams mla;
    wkv_hparams wkv;
    residual_hparams residuals;
    tile_hparams tiles;
    uint32_t halve_every; // the residual is halved behind each such layer; 0: never
    uint32_t n_inputs;    // numbers that each layer takes of a token itself; 0: none
    uint32_t n_types;     // of tokens, where their embeddings are added
    uint32_t n_labels;    // scores of a head
    bool causal;          // tokens see those before them only; else there are no logits
    model_pooling pooling;
    float norm_eps;
    bool rotates;         // otherwise no layer does
    bool parallel;        // mixer and feed-forward read the same residual
    float embd_scale;     // of token embeddings
    float residual_scale; // of what a block adds to the residual
    float attn_scale;     // of q . k; 0: 1 / sqrt(head_dim)
    float attn_clamp;     // q, k and v are kept within +-it; 0: off
    float max_alibi; // scores of distant positions are lowered, most in the first head, by up to 2^-(it /
                     // n_head) for each position (Press et al. 2021, arXiv 2108.12409); 0: off
    float attn_temperature; // queries beyond n_orig are multiplied by 1 + it * ln(1 + floor(pos / n_orig))
    float attn_softcap;     // scores become cap * tanh(score / cap); 0: off
    float logit_scale;
    float logit_divisor; // is in logit_scale: some families divide
    float logit_softcap; // 0: off
    layer_hparams most;  // the largest of each over all layers
} model_hparams;

/* LayerNorm or RMSNorm, as the family has it. */
typedef struct norm_weights {
    const float *weight; // (n), or NULL: no norm here
    const float *bias;   // (n) or NULL
} norm_weights;

/* What makes scores of a text's vector: out(norm(act(dense(x)))) (arch_head). */
typedef struct model_head {
    linear dense;      // (n_embd, n_embd), or not there
    norm_weights norm; // (n_embd), or not there
    linear out;        // (n_labels, n_embd), or not there
} model_head;

/* How a layer guesses the residuals that it does not work on, and puts them right. */
typedef struct residual_weights {
    linear router;            // (n, n_embd)
    const float *router_norm; // (n_embd)
    linear predict;           // (n * n, n)
    linear correct;           // (n, n)
    const float *scale;       // (n_embd) of what the third block reads
} residual_weights;

/* A layer is a mixer, which takes from other positions, and a feed-forward. Their weights are structs of the
 * block kinds (run/block.h). */
typedef struct model_layer {
    layer_hparams hp;
    norm_weights attn_norm;             // (n_embd) in front of the mixer
    norm_weights attn_post_norm;        // (n_embd) of what the mixer adds
    norm_weights ffn_norm;              // (n_embd) in front of the feed-forward
    norm_weights ffn_post_norm;         // (n_embd) of what the feed-forward adds
    norm_weights after_post_norm;       // (n_embd) of what the third block adds
    const float *out_scale;             // (1) of the residual behind the layer, or NULL
    residual_weights residuals;         // of families with several residuals
    void *mixer, *beside, *ffn, *after; // weights, as the block kinds have them
} model_layer;

/* What reads weights that are not all in memory, when a step comes to them (run/store.c). Its calls are
 * reached through the model alone, so that modules that never load a model so do not hold them. */
typedef struct model_store {
    /* Sees to it that layer il is in memory, but for its experts. False where it could not be read, or
     * where something could not before: `error` says what. */
    bool (*need_layer)(struct model_store *s, size_t il);
    /* Layer il, which is in memory, comes to its experts: those are chosen, (n). The same one may be there
     * several times, and numbers that are none. */
    void (*choose_experts)(struct model_store *s, size_t il, const uint32_t *chosen, size_t n);
    /* Sees to it that one of the chosen is in memory. The last hp.experts.n_used that were asked for stay.
     */
    bool (*need_expert)(struct model_store *s, size_t il, uint32_t expert);
    void (*free)(struct model_store *s);
    nut_error error; // of the step; NUT_OK: none
} model_store;

/* Low-rank matrices beside those of the model, which its linears name as sides. */
typedef struct model_adapter {
    arena memory;
    float scale;   // that sessions begin with
    uint32_t hash; // of its file
} model_adapter;

struct nut_model {
    gguf header;
    bool header_only; // it has no layers, and arch and hp may be empty but for n_vocab
    model_hparams hp;
    const struct arch *arch;
    const struct block_spec *const *blocks; // by block id: what is in a layer
    const kernel_set *kernels;              // of everything but products
    kernel_choice products;
    kernel_mul_mat_fn *float_product; // by matrices of floats, where it is none of a set (kernels/gemm.h)
    bool
        layers_apart; // one runs at a time, each over whole texts from an empty cache: they share its memory
    model_store *store; // NULL: all weights are in memory
    bool experts_apart; // their matrices get no memory where they are placed, but one by one
    vocab *vocab;
    arena layer_memory; // of layers and of their blocks' structs
    arena weights;
    model_layer *layers;                      // (n_layer)
    matrix token_embd;                        // (n_vocab, n_embd)
    matrix positions;                         // (n_ctx_train, n_embd), or not there
    matrix input_embd;                        // (n_vocab, n_layer * n_inputs), or not there
    linear input_proj;                        // (n_layer * n_inputs, n_embd)
    const float *input_norm;                  // (n_inputs)
    const matrix *residual_in, *residual_out; // (residuals - 1) matrices (n_embd, n_embd), or NULL
    matrix types;                             // (n_types, n_embd), or not there
    norm_weights embd_norm;
    linear output; // (n_vocab, n_embd); shares token_embd's data where the model ties them
    norm_weights output_norm;
    model_head head;
    /* Divisors of the rotation frequencies (n_rot / 2), or NULL: for all contexts (llama3 scaling), or for
     * those up to n_orig and beyond it (Ding et al. 2024, arXiv 2402.13753). */
    const float *rope_freqs, *rope_short, *rope_long;
    size_t n_side_scratch; // floats per token that the sides of any one linear need; 0 without sides
    uint32_t n_adapters;
    model_adapter adapters[NUT_ADAPTERS];
    size_t n_scaled; // columns of the widest linear that scales its input; 0 without
};

/* The function that multiplies n_tokens by w. */
static inline kernel_mul_mat_fn *model_mul_mat(const nut_model *m, const matrix *w, size_t n_tokens) {
    const layout_id id = w->format->layout->id;
    if (m->float_product && id == LAYOUT_F32) return m->float_product;
    return kernel_at(m->products.set[kernel_width_of(n_tokens)][id])->mul_mat[id];
}

/* The one that multiplies one token without reading what meets zeros; NULL: there is none. */
static inline kernel_mul_mat_fn *model_mul_live(const nut_model *m, const matrix *w) {
    const layout_id id = w->format->layout->id;
    return kernel_at(m->products.set[KERNEL_FEW][id])->mul_live[id];
}

/* The cache that a session with this option has; NULL where the option is not in the list. */
const cache_kind *model_cache_kind(const model_hparams *hp, nut_kv_type type);

/* Frees a model, with those layers that are loaded. NULL is allowed. */
void model_free(nut_model *m);

#endif
