/*
 * The architecture table: a model family is one row of data. A row says which norms, biases, activation,
 * rotation, residual form and windows the family has, and which kinds of blocks its layers are made of; so
 * it says which names and shapes a file must bring. Nothing else in the engine knows a family by name.
 */
#ifndef NUT_MODEL_ARCH_H
#define NUT_MODEL_ARCH_H

#include "model/model.h"

/* ---- tensors ---- */

/* What a family has beyond what all have. */
enum {
    ARCH_ATTN_NORM = 1 << 0, // a norm in front of the mixer
    ARCH_FFN_NORM = 1 << 1,  // and of the feed-forward; where one is missing, a parallel layer has the other
    ARCH_POST_NORM = 1 << 2, // norms of what blocks add to the residual
    ARCH_NORM_BIAS = 1 << 3, // norms have biases
    ARCH_QKV_BIAS = 1 << 4,  // q, k and v have biases
    ARCH_ANY_BIAS = 1 << 5,  // any product and norm in a layer may have a bias
    ARCH_QK_NORM = 1 << 6,   // each head of q and k has a norm
    ARCH_QK_NORM_FULL = 1 << 7,     // all heads of q have one norm together, and those of k
    ARCH_PARALLEL = 1 << 8,         // mixer and feed-forward read the same residual
    ARCH_EMBD_SQRT = 1 << 9,        // token embeddings are multiplied by sqrt(n_embd)
    ARCH_QK_NORM_EACH = 1 << 10,    // heads of q and k may have norms with weights for each head
    ARCH_QK_NORM_LATE = 1 << 11,    // norms of q and k come after their rotation
    ARCH_BARE_NORM = 1 << 12,       // norms in front of blocks have no weights
    ARCH_FUSED_UP = 1 << 13,        // ffn_up holds gate and up
    ARCH_EMBD_NORM = 1 << 14,       // a norm of the embeddings
    ARCH_POSITIONS = 1 << 15,       // learned positions are added to the embeddings
    ARCH_MAY_PARALLEL = 1 << 16,    // a layer without a norm of its feed-forward is parallel
    ARCH_ROPE_IN_WINDOWS = 1 << 17, // where layers have windows, only those rotate
    ARCH_LOCAL_UNSCALED = 1 << 18,  // the rotation of layers with a window is not scaled
    ARCH_ROPE_FACTORS = 1 << 19,    // files may have factors of the rotation for short and long contexts
    ARCH_XIELU = 1 << 20,           // the activation is xIELU, with parameters for each layer
    ARCH_SINKS = 1 << 21,           // attention has sinks
    ARCH_YARN_EXACT = 1 << 22,      // the bounds of yarn's ramp are not rounded to whole pairs
    ARCH_CLAMPED_GLU = 1 << 23,     // experts: act(min(gate, 7)) * (1 + up within +-7)
    ARCH_QK_NORM_MAYBE = 1 << 24,   // as ARCH_QK_NORM, in some files
    ARCH_NORM_AFTER = 1 << 25,      // norms follow the additions to the residual; the output has none
    ARCH_TOKEN_TYPES = 1 << 26,     // embeddings of the first token type may be added
    ARCH_BOTH_WAYS = 1 << 27,       // tokens see those after them, too
    ARCH_ATTN_NORM_MAYBE = 1 << 28, // as ARCH_ATTN_NORM, in some layers
    ARCH_FULL_FIRST = 1 << 29,      // each period's first layer has no window, instead of its last
    ARCH_PRE_NORM = ARCH_ATTN_NORM | ARCH_FFN_NORM,
};
#define ARCH_GATED_OUT          (UINT64_C(1) << 30) // queries come with gates of attention's result
#define ARCH_EXPERTS_BY_TENSOR  (UINT64_C(1) << 31) // layers have experts where a file has their router
#define ARCH_ONE_BLOCK          (UINT64_C(1) << 32) // a layer is a mixer or a feed-forward
#define ARCH_V_NORM             (UINT64_C(1) << 34) // each head of v has a norm without weights
#define ARCH_LINKED             (UINT64_C(1) << 35) // layers read what others, or the embeddings, have left
#define ARCH_CHANNEL_GATE       (UINT64_C(1) << 36) // the channel mix has a gate
#define ARCH_QK_NORM_FULL_MAYBE (UINT64_C(1) << 38) // as ARCH_QK_NORM_FULL with biases, in some files
#define ARCH_RESIDUALS                                                                                      \
    (UINT64_C(1) << 39) // several residuals (run/residuals.c), low-rank mixers, sparse gates
#define ARCH_TILES       (UINT64_C(1) << 40) // attention sees some tiles of positions
#define ARCH_RELU_NORM   (UINT64_C(1) << 41) // what blocks read is the norm's positive part
#define ARCH_HEAD        (UINT64_C(1) << 37) // a file may have a head that scores texts
#define ARCH_TILED_HEADS (UINT64_C(1) << 33) // value head h has key head h % n, not h / (n_v / n)

typedef enum tensor_kind { TENSOR_MATRIX, TENSOR_STACK, TENSOR_VECTOR } tensor_kind;

/* One of several matrices, or vectors, that a tensor holds one after the other. */
typedef struct tensor_part {
    size_t to;   // as tensor_spec.to
    char letter; // its rows, or length
} tensor_part;

/* A tensor of the model, of each layer, or of a block. */
typedef struct tensor_spec {
    const char *name; // behind "blk.N." for one in a layer
    tensor_kind kind;
    size_t to; // offset of where it goes: a matrix, a matrix * (a stack: one matrix for each of the third
               // dimension), or a const float *; in the nut_model, the model_layer or the block's weights
    const char *shape; // letters of arch_size, row length first: "EQ"; "E" for a vector; "EFX" for a stack
    uint64_t with;   // families that have all of these features must have it; 0: all families, unless `may`
    uint64_t may;    // families that have one of these may have it
    uint64_t unless; // families that have one of these do not have it
    char when, when_not; // sizes (arch_size) of which the first must not be 0 and the second must be; 0: any
    const tensor_part *parts; // what it holds, where that is several; ended by one without a letter
} tensor_spec;

#define TENSOR_OPTIONAL UINT64_MAX // in `may`: of every family

/* What the kind of a block has in a file. */
typedef struct block_spec {
    const char *name;
    size_t weights; // bytes of the struct that its tensors go to
    const tensor_spec *tensors;
    size_t n_tensors;
} block_spec;

/* Families of our own, which no published model has: the pages' modules do without, and without the kinds of
 * blocks that only those have. */
#ifdef NUT_PAGES
enum { ARCH_OWN = false };
#define OWN_BLOCK_LIST(X)
#else
enum { ARCH_OWN = true };
#define OWN_BLOCK_LIST(X) X(mix_linear)
#endif

/* Kinds of blocks; the order is that of ids. Each is described, and run, by run/NAME.c. */
#define PUBLISHED_BLOCK_LIST(X)                                                                             \
    X(mix_attention)                                                                                        \
    X(mix_shortconv)                                                                                        \
    X(mix_mamba)                                                                                            \
    X(mix_mamba2)                                                                                           \
    X(mix_mla)                                                                                              \
    X(mix_delta)                                                                                            \
    X(ffn_gated)                                                                                            \
    X(ffn_plain)                                                                                            \
    X(mix_rwkv6)                                                                                            \
    X(mix_rwkv7)                                                                                            \
    X(ffn_rwkv)                                                                                             \
    X(ffn_experts)                                                                                          \
    X(ffn_inputs)                                                                                           \
    X(mix_laurel)
#define BLOCK_LIST(X)        PUBLISHED_BLOCK_LIST(X) X(mix_linear)
/* Those that are there. */
#define LINKED_BLOCK_LIST(X) PUBLISHED_BLOCK_LIST(X) OWN_BLOCK_LIST(X)

enum {
#define NUT_X(name) BLOCK_##name,
    BLOCK_LIST(NUT_X)
#undef NUT_X
        BLOCK_COUNT,
    BLOCK_NONE = 255 // a layer lacks this block
};

extern const tensor_spec arch_model_tensors[]; // of the model itself
extern const size_t arch_n_model_tensors;
extern const tensor_spec arch_layer_tensors[]; // of each layer, beside its blocks'
extern const size_t arch_n_layer_tensors;

/* Whether a layer's sizes allow a tensor at all. */
bool arch_fits(const model_hparams *hp, const layer_hparams *layer, const tensor_spec *t);
/* Whether a model of this family must have, or may have, the tensor. */
bool arch_needs(const struct arch *a, const tensor_spec *t);
bool arch_allows(const struct arch *a, const tensor_spec *t);

/* ---- families ---- */

typedef enum arch_norm { ARCH_RMS_NORM, ARCH_LAYER_NORM } arch_norm;

/* A hyperparameter that a family has beyond those of all, or with another value where its key is absent. */
typedef struct arch_key {
    const char *suffix; // behind "<arch>."
    size_t to;          // offset in model_hparams: of a float, positive; or of a bool
    bool is_flag;
    float missing; // its value where the key is absent; 0 for a float: it must be there
} arch_key;

/* A tensor that the family's files call otherwise. */
typedef struct arch_name {
    const char *file, *name; // in the file; in the tables of tensors
} arch_name;

/* How the experts of a family are weighted, where a file does not say. */
typedef struct arch_experts {
    model_gating gating; // MODEL_GATE_NONE: the family has none
    bool normalize;
} arch_experts;

/* How the head of rerankers makes scores of a text (model_head). */
typedef enum arch_act { ARCH_ACT_TANH, ARCH_ACT_GELU, ARCH_ACT_SOFTMAX } arch_act;
typedef struct arch_head {
    model_pooling reads; // the text's vector
    arch_act act;        // between its products; softmax: of the scores, and there is one product
} arch_head;

typedef struct arch {
    const char *name; // general.architecture
    arch_norm norm;
    kernel_activation activation; // of the feed-forward
    model_rope rope;
    uint8_t mixer, ffn;    // block ids
    uint8_t recurrent;     // of layers without attention's heads, in place of mixer; 0: none
    uint8_t beside;        // a second mixer, which reads what the first does; 0: none
    uint8_t after;         // a third block, which reads the residual itself; 0: none
    uint32_t interval;     // the last layer of so many has attention, the others do not; 0: as its heads say
    uint8_t window_period; // each period's last layer has no window; 0: all have one
    uint8_t no_rope_period; // each period's last layer does not rotate; 0: all do
    uint32_t window;        // of layers, where the file does not say
    float local_base;       // rope base of layers with a window; 0: as that of the others
    uint64_t features;
    arch_experts experts;
    arch_head head;                    // with ARCH_HEAD
    const arch_key *keys;              // ended by one without a suffix; NULL: none
    const arch_name *names;            // ended by one without a name; NULL: none
    void (*derive)(model_hparams *hp); // hyperparameters that no key says; NULL: none
} arch;

const arch *arch_find(gguf_str name);
/* "llama, qwen2, qwen3" */
const char *arch_names(void);

/* The family's name in files for a tensor of the tables, and back; the same where it has no other. */
const char *arch_file_name(const arch *a, const char *name);
gguf_str arch_table_name(const arch *a, gguf_str file_name);

/* The length that a letter of a shape stands for in a layer:
 * V n_vocab, E n_embd, C n_ctx_train, H n_head, h n_head_kv, D head_dim, Q n_head * head_dim,
 * K n_head_kv * head_dim, U n_head_kv * head_dim_v, A Q + K + U, P n_head * head_dim_v, F n_ff, G 2 n_ff,
 * s 1 if a layer has keys and values of its own, I n_inputs, J n_inputs * n_layer, T token types, k labels,
 * R n_rot / 2, X experts, M their n_ff, S that of the shared one; of recurrent blocks: c conv, i inner, n
 * state, r rank, g groups, 2 2 i, x r + 2 n, m i + 2 g n, z m + i + r, p i / g, w i / r, t 2 r; of latent
 * attention: q and v the ranks of queries and of keys and values, a v + n_rot, b n_head * key, y key -
 * n_rot, l value, o n_head * l, j n_head * (y + l), u 1 if absorbed; e 3 n_embd, B 2 Q;
 * = residuals, - one less, * their square, + the rank of low-rank mixers */
uint64_t arch_size(const model_hparams *hp, const layer_hparams *layer, char letter);

/* Reads and checks the hyperparameters of a complete header but those of layers. n_vocab is the vocabulary's
 * size. */
nut_status arch_hparams(const gguf *g, const arch *a, uint32_t n_vocab, model_hparams *out, nut_error *err);
/* Those of the layers (hp->n_layer), and hp->most. A key's value may be one for all or an array with one for
 * each. */
nut_status arch_layers(const gguf *g, const arch *a, model_hparams *hp, model_layer *layers, nut_error *err);

#endif
