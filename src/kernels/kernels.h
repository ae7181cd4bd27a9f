/*
 * Kernels: the numeric work of a step, as sets of functions, one set per instruction set.
 *
 * ref      plain C, always linked, the oracle of the tests
 * simd128  wasm SIMD128 intrinsics (natively the same file through compat/)
 * relaxed  simd128 with the relaxed integer dot product; relaxed.c says with which operands
 * pairs    the same with the relaxed dot of two columns, for machines that have no instruction for four
 *
 * simd128, relaxed and pairs give the same bits: integer dots are exact, floats are never contracted, and
 * every output is computed by the same sequence of operations whatever the number of threads, rows or tokens
 * of the call. ref agrees within the tolerance of the table of layouts.
 *
 * Which set runs is decided at start by computing with it (kernel_find probes), never by the name of a
 * browser.
 */
#ifndef NUT_KERNELS_KERNELS_H
#define NUT_KERNELS_KERNELS_H

#include "kernels/cache.h"
#include "kernels/formats.h"

enum { KERNEL_Q8_BLOCK = 32 }; // activations are quantized in blocks of 32 columns
enum { KERNEL_TILE = 4 };      // tokens whose quantized activations lie interleaved, where there are several

/* Scales travel apart by this power of two: what is said to be d below is stored as d * 2^102, and the
 * kernels take a weight's scale at 2^-102 of its value. So a half becomes a float's fields by a shift and a
 * mask, and no product is subnormal. */
#define KERNEL_SCALE_UP   0x1p102f
#define KERNEL_SCALE_DOWN 0x1p-102f

/* Activations of n_tokens tokens. Where the weights' format asks for FORMAT_ACT_Q8 the quantized part is
 * read, else x. A value is d * q; q in -127..127. The quantized part is written by a set's quantize_q8 and
 * read by its products: tokens stand in tiles of `lanes` (kernel_lanes), so that the same columns of several
 * tokens are read together. */
typedef struct kernel_act {
    size_t n_tokens;
    size_t n_cols;
    const float *x; // (n_tokens, n_cols)
    size_t lanes;   // tokens of a tile
    size_t bytes;   // of a value of q, the set's act_bytes
    uint8_t *q;   // (tiles, n_cols / 4, bytes, lanes, 4 bytes): four columns as int8; or as int16, columns 0
                  // and 2 of them before columns 1 and 3. 16-byte aligned
    float *d;     // (tiles, n_cols / 32, lanes)
    float *d_sum; // (tiles, n_cols / 32, lanes) d * sum of q
    int32_t *sum; // (tiles, n_cols / 32, KERNEL_SUMS, lanes)
    const uint8_t *live; // (n_cols / 32) for mul_live, of one token: bit j of a block is set where one of
                         // its columns 4j to 4j + 3 is not zero
} kernel_act;

/* Sums of q over a block of 32 columns: over all, over the last 16, over the negative ones (negated). */
typedef enum kernel_sum { KERNEL_SUM_ALL, KERNEL_SUM_HALF, KERNEL_SUM_NEGATIVE, KERNEL_SUMS } kernel_sum;

static inline size_t kernel_lanes(size_t n_tokens) {
    return n_tokens < 3 ? n_tokens : KERNEL_TILE;
}
static inline size_t kernel_tiles(size_t n_tokens) {
    return (n_tokens + kernel_lanes(n_tokens) - 1) / kernel_lanes(n_tokens);
}

/* y[t][r] = sum over c of w[r][c] * x[t][c], for the rows r of groups [g_begin, g_end) and all tokens t. w
 * is the whole packed matrix; y is (n_tokens, ldy) with ldy >= 8 * groups, since padding rows are written
 * too (as zeros' products). */
typedef void kernel_mul_mat_fn(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x, float *y,
                               size_t ldy);

/* How the heads of a token are rotated: pair i by the angle whose cosine is cosine[i] (Su et al. 2021, arXiv
 * 2104.09864). With fewer pairs than head_dim / 2 the first 2 * n_pairs columns are rotated and the others
 * stay (partial rotation). A magnitude that belongs to the rotation, as YaRN's (Peng et al. 2023, arXiv
 * 2309.00071, section 3.4), is multiplied into cosine and sine by the caller. */
typedef struct kernel_rope {
    const float *cosine, *sine; // (n_pairs)
    size_t n_pairs;             // at most head_dim / 2
    bool adjacent;              // pairs are (2i, 2i + 1), else (i, i + n_pairs)
} kernel_rope;

/* Attention of some tokens, which follow one another, over one key/value head, for the query heads of its
 * group: softmax(scale * q . k) v over the positions that a token sees, online over tiles (Milakov and
 * Gimelshein 2018, arXiv 1805.02867), in spans whose partial results are joined in their order (Dao 2023,
 * arXiv 2307.08691). Memory does not grow with the positions. The SIMD sets round queries to integers, as
 * keys of NUT_KV_F16. Where cache->recent is set, all tokens stand in its tile. */
typedef struct kernel_attend {
    const cache_head *cache;
    const float *q; // (n_tokens, n_q, k_dim), token t at t * q_stride
    float *out;     // (n_tokens, n_q, v_dim), token t at t * out_stride
    size_t n_tokens, n_q, q_stride, out_stride;
    size_t n_kv;     // positions that the first token sees, counted from the cache's begin, >= 1; each next
                     // token has one more
    size_t n_behind; // of those, how many stand behind the token's own position
    size_t window;   // of those a token sees the last `window` ones (Beltagy et al. 2020, arXiv 2004.05150,
                     // section 3.1); 0: all
    float scale;     // > 0
    float softcap;   // scores become softcap * tanh(scale * q . k / softcap) (Gemma Team 2024, arXiv
                     // 2408.00118, section 2); 0: off
    const float *slopes; // (n_q) what is taken from a score for each position between the token and the
                         // other (Press et al. 2021, arXiv 2108.12409), or NULL; not with a softcap
    const float
        *sinks; // (n_q) a score whose weight has no value (Xiao et al. 2023, arXiv 2309.17453), or NULL
} kernel_attend;

/* The first position that a token sees whose own is n_kv - 1. */
static inline size_t kernel_first_seen(size_t n_kv, size_t window) {
    return window && n_kv > window ? n_kv - window : 0;
}

/* Whether a position is in the tile that its tokens see in 8 bits. */
static inline bool kernel_sees_recent(const kernel_attend *a, size_t pos) {
    return a->cache->recent && (a->n_kv - 1 - a->n_behind) / CACHE_TILE == pos / CACHE_TILE;
}

/* Floats of a partial result: one query head of one token over the positions of one span that it sees. First
 * v_dim sums of weight times value, as multiples of 2^h; then h; then the sum of the weights, as a multiple
 * of 2^h too. Where the token sees nothing of the span, the sums are 0 and h is -infinity: joining passes
 * over it. */
static inline size_t kernel_partial_size(size_t v_dim) {
    return v_dim + 2;
}

/* The activations of feed-forwards; X(name, formula). GELU: Hendrycks and Gimpel 2016, arXiv 1606.08415.
 * Squared ReLU: So et al. 2021, arXiv 2109.08668. */
#define KERNEL_ACTIVATION_LIST(X)                                                                           \
    X(SILU, "x / (1 + e^-x)")                                                                               \
    X(GELU, "x / 2 (1 + erf(x / sqrt 2))")                                                                  \
    X(GELU_TANH, "x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))")                                       \
    X(GELU_QUICK, "x / (1 + e^(-1.702 x))")                                                                 \
    X(RELU, "max(x, 0)")                                                                                    \
    X(RELU_SQUARED, "max(x, 0)^2")

typedef enum kernel_activation {
#define NUT_X(name, formula) KERNEL_##name,
    KERNEL_ACTIVATION_LIST(NUT_X)
#undef NUT_X
        KERNEL_ACTIVATION_COUNT
} kernel_activation;

/* The lists of operations: name, parameters. They feed the struct, the sets, the tests and the benches. */
#define KERNEL_VECTOR_OPS(X)                                                                                \
    /* x (n) to columns [col, col + n) of a token's quantized activations: d = max|x| / 127 per 32 columns, \
     * q = round(x / d) half away from zero. col and n are multiples of 32. rest (n), where it is not NULL, \
     * receives x - d * q. */                                                                               \
    X(quantize_q8, (const float *x, size_t col, size_t n, size_t token, const kernel_act *to, float *rest)) \
    /* y = x / sqrt(mean(x^2) + eps) * w, (n); w NULL: ones; y may be x. (Zhang and Sennrich 2019, arXiv    \
     * 1910.07467) */                                                                                       \
    X(rms_norm, (const float *x, const float *w, size_t n, float eps, float *y))                            \
    /* y = (x - mean(x)) / sqrt(variance(x) + eps) * w + b, (n); w NULL: ones; b NULL: zeros; y may be x.   \
     * (Ba et al. 2016, arXiv 1607.06450) */                                                                \
    X(layer_norm, (const float *x, const float *w, const float *b, size_t n, float eps, float *y))          \
    /* x = a(x), (n) */                                                                                     \
    X(activate, (kernel_activation a, float *x, size_t n))                                                  \
    /* gate = a(gate) * up, (n). (Shazeer 2020, arXiv 2002.05202) */                                        \
    X(activate_mul, (kernel_activation a, float *gate, const float *up, size_t n))                          \
    /* x *= by, (n) */                                                                                      \
    X(scale, (float *x, float by, size_t n))                                                                \
    /* x = cap * tanh(x / cap), (n). (Gemma Team 2024, arXiv 2408.00118, section 2) */                      \
    X(softcap, (float *x, float cap, size_t n))                                                             \
    /* x += y, (n) */                                                                                       \
    X(add, (float *x, const float *y, size_t n))

#define KERNEL_ATTEND_OPS(X)                                                                                \
    /* Rotates heads (n_heads, head_dim) of one token in place */                                           \
    X(rope, (float *heads, size_t n_heads, size_t head_dim, const kernel_rope *r))                          \
    /* Rotates a position's key (k_dim), which stays as it is, and puts it and the value (v_dim) into the   \
     * cache. Threads may store different positions at the same time. */                                    \
    X(store, (const cache_head *c, size_t pos, const kernel_rope *r, const float *k, const float *v))       \
    X(attend, (const kernel_attend *a))                                                                     \
    /* Partial results (n_q, kernel_partial_size) of the first token for the span [first, first +           \
     * CACHE_SPAN), first < n_kv; `out` is not used. Spans before the window need not be asked for. */      \
    X(attend_span, (const kernel_attend *a, size_t first, float *partials))                                 \
    /* out (v_dim) = the partial results of one head for n spans in their order, `stride` floats apart,     \
     * joined, with the head's sink (NULL: none): the same bits that attend gives. At least one span has    \
     * something that the token sees. Of the cache only kind and v_dim are used. */                         \
    X(attend_join,                                                                                          \
      (const cache_head *c, const float *partials, size_t n, size_t stride, const float *sink, float *out))

#define KERNEL_OPS(X) KERNEL_VECTOR_OPS(X) KERNEL_ATTEND_OPS(X)

typedef struct kernel_set {
    const char *name;
    size_t act_bytes; // bytes of a quantized activation: 1, or 2 where products are made of int16
    kernel_mul_mat_fn *mul_mat[LAYOUT_COUNT];
    kernel_mul_mat_fn *mul_live[LAYOUT_COUNT]; // of one token: the same bits, without reading weights that
                                               // meet zeros alone; NULL: none
#define NUT_X(name, params) void(*name) params;
    KERNEL_OPS(NUT_X)
#undef NUT_X
} kernel_set;

/* Sets linked into this build, best first; the last is ref. */
#define KERNEL_SETS(X) X(relaxed) X(pairs) X(simd128) X(ref)

#define NUT_X(name) +1
enum { KERNEL_MOST_SETS = KERNEL_SETS(NUT_X) }; // that a build may link
#undef NUT_X

size_t kernel_count(void);
const kernel_set *kernel_at(size_t i);

/* Writes `live` (n_cols / 32) of one token; returns how many bits are set. */
size_t kernel_find_live(const kernel_act *x, uint8_t *live);

/* Whether many of its results are exactly 0. */
static inline bool kernel_gives_zeros(kernel_activation a) {
    return a == KERNEL_RELU || a == KERNEL_RELU_SQUARED;
}

/* The function of a set that multiplies by w. */
static inline kernel_mul_mat_fn *kernel_mul_mat(const kernel_set *set, const matrix *w) {
    return set->mul_mat[w->format->layout->id];
}

/* Numbers of tokens for which a set has code of its own: up to KERNEL_TILE, and more. */
typedef enum kernel_width { KERNEL_FEW, KERNEL_MANY, KERNEL_WIDTHS } kernel_width;

static inline kernel_width kernel_width_of(size_t n_tokens) {
    return n_tokens > KERNEL_TILE ? KERNEL_MANY : KERNEL_FEW;
}
static inline const char *kernel_width_name(kernel_width width) {
    return width == KERNEL_FEW ? "few" : "many";
}

/* Which of the linked sets multiplies by a layout, and how fast those were that raced for it (run/race.h),
 * in multiply-adds per nanosecond; 0: did not race. All of them read the activations of the same act_bytes.
 */
typedef struct kernel_choice {
    uint8_t set[KERNEL_WIDTHS][LAYOUT_COUNT]; // as kernel_at numbers them
    bool kept[KERNEL_WIDTHS][LAYOUT_COUNT];   // an earlier load chose it, and no race here said no
    float rates[KERNEL_WIDTHS][LAYOUT_COUNT][KERNEL_MOST_SETS];
} kernel_choice;

/* The set for everything. */
void kernel_choose_all(const kernel_set *set, kernel_choice *choice);

/* The set called name, or for NULL the first whose probe computes rightly. NULL result: not in this build,
 * or its probe computed wrongly. */
const kernel_set *kernel_find(const char *name);

/* e^x, relative error below 2e-7 for x in [-87, 88], 0 below, clamped above: the same bits in every set and
 * build. */
float kernel_exp(float x);

/* 2^x for x <= 0, relative error below 3e-6 down to -100, and 2^-100 below. */
float kernel_exp2(float x);

#endif
