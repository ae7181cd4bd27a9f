/*
 * Matrix products for SIMD sets: a template that simd128.c and relaxed.c include after defining how a step
 * (four columns of 8 rows times one token) is multiplied. One lane is one row, so nothing is ever added
 * across lanes.
 *
 * Every output is the same sequence of float operations whatever the number of tokens and threads: for each
 * unit of 32 columns (16 in Q6_K) f += (integers * d_w) * d_a, then f += min * (d_a * sum(a)) where the
 * format has minimums. The integers are exact, so a set may sum them as it likes; what the codes stand too
 * high by (Q4_0: 8) is put in as -offset * sum(a).
 *
 * The includer defines, besides SET_NAME (kernel_set_<SET_NAME> is defined here, with that name):
 *   SET_PARTS, SET_ACT_PARTS    vectors that hold a step's weights (4 rows), and its activations
 *   SET_Q8_0_PARTS              the same for the signed weights of Q8_0
 *   SET_CHAINS                  integer sums that one row is best split into
 *   SET_Q8_0_OFFSET             what those stand too high by
 *   set_act(x, part)            four steps of one token, as parts
 *   quad_act, quad_load(q), quad_step(quad, i, part)    one of four steps in every lane
 *   set_dot(acc, w, a)          acc + products of one part
 *   set_codes(bytes, part), set_weights(bytes, part)    codes and int8 weights as parts
 *   set_instead(w, g_begin, g_end, x, y, ldy)    true where another set has done a Q8_0 product
 *   set_redo(w, g, n, x, y, ldy, lowest)  called after groups [g, g + n) of Q8_0 with their lowest weights
 */
#include "kernels/steps.h"

enum { FLOAT_TILE = 2 }; // tokens of a tile of the float formats

#include "kernels/mul_vec.h"
#include "kernels/panels.h"

/* ---- one token ---- */

#define VEC_FUNCTION(name, vec)                                                                             \
    static void vec_##name(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x, float *y) {  \
        for (size_t g = g_begin; g < g_end; g++)                                                            \
            pair_store(y + L * g, vec(&block_##name, w->data + g * matrix_group_bytes(w), x));              \
    }
VEC_FUNCTION(Q4_0, vec_simple)
VEC_FUNCTION(Q4_1, vec_simple)
VEC_FUNCTION(Q5_0, vec_simple)
VEC_FUNCTION(Q5_1, vec_simple)
VEC_FUNCTION(Q4_K, vec_min_k)
VEC_FUNCTION(Q5_K, vec_min_k)
VEC_FUNCTION(Q6_K, vec_q6_k)

static void vec_Q8_0(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x, float *y) {
    for (size_t g = g_begin; g < g_end; g++) {
        v128_t lowest = wasm_i8x16_splat(0);
        pair_store(y + L * g, vec_q8_0(w->data + g * matrix_group_bytes(w), x, &lowest));
        set_redo(w, g, 1, x, y, 0, lowest);
    }
}

/* ---- several tokens ---- */

/* Unpacks n units of a group from unit `first` (a multiple of PANEL_UNITS) on; *lowest: see vec_q8_0. */
typedef void panel_fill_fn(panel to, const uint8_t *group, size_t first, size_t n, v128_t *lowest);

#define FILL_FUNCTION(name, call)                                                                           \
    static void fill_##name(panel to, const uint8_t *group, size_t first, size_t n, v128_t *lowest) {       \
        const block_layout *l = &block_##name;                                                              \
        const uint8_t *block = group + first / l->n_units * l->bytes * L;                                   \
        (void)lowest, (void)n;                                                                              \
        call;                                                                                               \
    }
FILL_FUNCTION(Q4_0, panel_simple(to, l, block, n))
FILL_FUNCTION(Q4_1, panel_simple(to, l, block, n))
FILL_FUNCTION(Q5_0, panel_simple(to, l, block, n))
FILL_FUNCTION(Q5_1, panel_simple(to, l, block, n))
FILL_FUNCTION(Q4_K, panel_min_k(to, l, block))
FILL_FUNCTION(Q5_K, panel_min_k(to, l, block))
FILL_FUNCTION(Q6_K, panel_q6_k(to, l, block))

static void fill_Q8_0(panel to, const uint8_t *group, size_t first, size_t n, v128_t *lowest) {
    panel_q8_0(to, group + first * 34 * L, n, lowest);
}

/* How a format goes through panels. */
typedef struct panel_plan {
    panel_fill_fn *fill;
    panel_product_fn *product;
    size_t parts;
    int32_t offset; // of the codes
    bool halves;
} panel_plan;

/* Groups [g, g + n) with all tokens, n <= PANELS / parts; returns the lowest weights for set_redo. */
static __attribute__((noinline)) v128_t panels_product(const panel_plan *plan, const matrix *w, size_t g,
                                                       size_t n, const kernel_act *x, float *y, size_t ldy) {
    const size_t all_units = w->n_cols / BLOCK_UNIT, group_bytes = matrix_group_bytes(w);
    panels p;
    tile act;
    v128_t lowest = wasm_i8x16_splat(0);
    for (size_t first = 0; first < all_units; first += PANEL_UNITS) {
        const size_t n_units = all_units - first < PANEL_UNITS ? all_units - first : PANEL_UNITS;
        for (size_t i = 0; i < n; i++)
            plan->fill(panel_at(&p, i, plan->parts), w->data + (g + i) * group_bytes, first, n_units,
                       &lowest);
        for (size_t t = 0; t < x->n_tokens; t += TILE) {
            const size_t n_tokens = x->n_tokens - t < TILE ? x->n_tokens - t : TILE;
            tile_fill(&act, x, t, n_tokens, first, n_units, plan->offset, plan->halves);
            for (size_t i = 0; i < n; i++)
                plan->product(panel_at(&p, i, plan->parts), &act, n_units, first == 0,
                              y + t * ldy + L * (g + i), ldy, n_tokens);
        }
    }
    return lowest;
}

static void many_tokens(const panel_plan *plan, const matrix *w, size_t g_begin, size_t g_end,
                        const kernel_act *x, float *y, size_t ldy) {
    const size_t each = PANELS / plan->parts;
    for (size_t g = g_begin; g < g_end; g += each) {
        const size_t n = g_end - g < each ? g_end - g : each;
        v128_t lowest = panels_product(plan, w, g, n, x, y, ldy);
        if (w->format->id == FORMAT_Q8_0) set_redo(w, g, n, x, y, ldy, lowest);
    }
}

/* ---- the functions of the set ---- */

#define MUL_MAT_FUNCTION(name, n_parts, offset, halves, product)                                            \
    static void mul_mat_##name(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x,          \
                               float *y, size_t ldy) {                                                      \
        static const panel_plan plan = {fill_##name, product, n_parts, offset, halves};                     \
        if (plan.parts != SET_PARTS && set_instead(w, g_begin, g_end, x, y, ldy)) return;                   \
        if (x->n_tokens == 1)                                                                               \
            vec_##name(w, g_begin, g_end, x, y);                                                            \
        else                                                                                                \
            many_tokens(&plan, w, g_begin, g_end, x, y, ldy);                                               \
    }
MUL_MAT_FUNCTION(Q8_0, SET_Q8_0_PARTS, SET_Q8_0_OFFSET, false, product_two_parts)
MUL_MAT_FUNCTION(Q4_0, SET_PARTS, 8, false, product_plain)
MUL_MAT_FUNCTION(Q4_1, SET_PARTS, 0, false, product_min)
MUL_MAT_FUNCTION(Q5_0, SET_PARTS, 16, false, product_plain)
MUL_MAT_FUNCTION(Q5_1, SET_PARTS, 0, false, product_min)
MUL_MAT_FUNCTION(Q4_K, SET_PARTS, 0, false, product_min)
MUL_MAT_FUNCTION(Q5_K, SET_PARTS, 0, false, product_min)
MUL_MAT_FUNCTION(Q6_K, SET_PARTS, 32, true, product_halves)

/* Floats: two tokens at a time, and the last alone. */
#define FLOAT_FUNCTION(name)                                                                                \
    static void mul_mat_##name(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x,          \
                               float *y, size_t ldy) {                                                      \
        for (size_t g = g_begin; g < g_end; g++) {                                                          \
            const uint8_t *group = w->data + g * matrix_group_bytes(w);                                     \
            pair f[FLOAT_TILE];                                                                             \
            size_t t = 0;                                                                                   \
            for (; t + 2 <= x->n_tokens; t += 2) {                                                          \
                vec_float(FORMAT_##name, group, x, t, 2, f);                                                \
                pair_store(y + t * ldy + L * g, f[0]);                                                      \
                pair_store(y + (t + 1) * ldy + L * g, f[1]);                                                \
            }                                                                                               \
            if (t == x->n_tokens) continue;                                                                 \
            vec_float(FORMAT_##name, group, x, t, 1, f);                                                    \
            pair_store(y + t * ldy + L * g, f[0]);                                                          \
        }                                                                                                   \
    }
FLOAT_FUNCTION(F32)
FLOAT_FUNCTION(F16)
FLOAT_FUNCTION(BF16)

#define SET_JOIN_(a, b) a##b
#define SET_JOIN(a, b)  SET_JOIN_(a, b)
#define SET_TEXT_(a)    #a
#define SET_TEXT(a)     SET_TEXT_(a)

// clang-format off
const kernel_set SET_JOIN(kernel_set_, SET_NAME) = {
    .name = SET_TEXT(SET_NAME),
    .mul_mat = {
#define NUT_X(name) mul_mat_##name,
        FORMAT_LIST(NUT_X)
#undef NUT_X
    },
#define NUT_X(name, params) .name = simd_##name,
    KERNEL_OPS(NUT_X)
#undef NUT_X
};
// clang-format on
