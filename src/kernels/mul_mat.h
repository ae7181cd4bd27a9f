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
 *   SET_PARTS                   vectors that hold a step's weights of 4 rows, and bytes of an activation
 *   set_dot(acc, w, a)          acc + products of one part
 *   set_codes(bytes, part), set_weights(bytes, part)    codes and int8 weights as parts
 * and for the signed weights of Q8_0, of which the relaxed dot does not take two:
 *   SET_FORMS, set_find_form()  whether there are several forms in which many tokens take them, and which
 * (steps.h) set_begin_signed(magic, sum, m)    what an integer sum begins with set_signed_product(bytes, q,
 * m, acc), set_signed_panel(codes, q, m, acc)    a step: acc (m) +=
 */
#include "kernels/steps.h"

#include <stdatomic.h>

enum { FLOAT_TILE = 2 }; // tokens of a tile of the float formats

#include "kernels/mul_vec.h"
#include "kernels/panels.h"

/* ---- few tokens ---- */

/* y's rows of the streams' groups, `apart` groups from one to the next, the first being g; from f (n, m, 8).
 */
SIMD_INLINE void streams_store(const streams *w, size_t m, const kernel_act *x, size_t g, size_t apart,
                               float *y, size_t ldy) {
    for (size_t s = 0; s < w->n; s++)
        for (size_t t = 0; t < x->n_tokens; t++)
            pair_store(y + t * ldy + L * (g + s * apart), pair_load(w->f + (s * m + t) * L));
}

/* Each stream goes through groups that follow one another, so that it goes on where it was: a new one is
 * slow to begin with. */
#define VEC_FUNCTION(name, vec, m)                                                                          \
    static void vec_##name##_##m(const matrix *w, size_t g, size_t g_end, const kernel_act *x, float *y,    \
                                 size_t ldy) {                                                              \
        const size_t bytes = matrix_group_bytes(w), turns = (g_end - g + STREAMS - 1) / STREAMS;            \
        _Alignas(16) float f[STREAMS * m * L];                                                              \
        for (size_t k = 0; k < turns; k++, g++) {                                                           \
            const streams at = {w->data + g * bytes, turns * bytes, (g_end - g + turns - 1) / turns, f};    \
            memset(f, 0, at.n *m *L * sizeof *f);                                                           \
            vec(&block_##name, &at, x, m);                                                                  \
            streams_store(&at, m, x, g, turns, y, ldy);                                                     \
        }                                                                                                   \
    }
#define VEC_FUNCTIONS(name, vec)                                                                            \
    VEC_FUNCTION(name, vec, 1)                                                                              \
    VEC_FUNCTION(name, vec, 2)                                                                              \
    VEC_FUNCTION(name, vec, KERNEL_TILE)
VEC_FUNCTIONS(Q8_0, vec_q8_0)
VEC_FUNCTIONS(Q4_0, vec_simple)
VEC_FUNCTIONS(Q4_1, vec_simple)
VEC_FUNCTIONS(Q5_0, vec_simple)
VEC_FUNCTIONS(Q5_1, vec_simple)
VEC_FUNCTIONS(Q4_K, vec_min_k)
VEC_FUNCTIONS(Q5_K, vec_min_k)
VEC_FUNCTIONS(Q6_K, vec_q6_k)

/* ---- several tokens ---- */

/* Unpacks n units of a group from unit `first` on, both in whole blocks. */
typedef void panel_fill_fn(panel to, const uint8_t *group, size_t first, size_t n);

#define FILL_FUNCTION(name, call)                                                                           \
    static void fill_##name(panel to, const uint8_t *group, size_t first, size_t n) {                       \
        const block_layout *l = &block_##name;                                                              \
        const uint8_t *block = group + first / l->n_units * l->bytes * L;                                   \
        call;                                                                                               \
    }
FILL_FUNCTION(Q4_0, panel_simple(to, l, block, n))
FILL_FUNCTION(Q4_1, panel_simple(to, l, block, n))
FILL_FUNCTION(Q5_0, panel_simple(to, l, block, n))
FILL_FUNCTION(Q5_1, panel_simple(to, l, block, n))
FILL_FUNCTION(Q4_K, panel_min_k(to, l, block, n))
FILL_FUNCTION(Q5_K, panel_min_k(to, l, block, n))
FILL_FUNCTION(Q6_K, panel_q6_k(to, l, block, n))
FILL_FUNCTION(Q8_0, panel_q8_0(to, l, block, n, 0))

/* How a format goes through panels. */
typedef struct panel_plan {
    panel_fill_fn *fill;
    panel_product_fn *product;
} panel_plan;

/* Units of a panel: a row is cut evenly, between whole blocks. */
static size_t panel_units(const matrix *w) {
    const size_t units = w->n_cols / BLOCK_UNIT, n = (units + PANEL_UNITS - 1) / PANEL_UNITS;
    const size_t whole = w->format->block / BLOCK_UNIT;
    return ((units + n - 1) / n + whole - 1) / whole * whole;
}

/* Sums of n groups and tiles [t, t_end) over all columns. */
static void panels_sum(const panel_plan *plan, const matrix *w, size_t g, size_t n, const kernel_act *x,
                       size_t t, size_t t_end, panels *p) {
    const size_t all_units = w->n_cols / BLOCK_UNIT, each = panel_units(w),
                 group_bytes = matrix_group_bytes(w);
    memset(p->f, 0, sizeof p->f[0] * (t_end - t));
    for (size_t first = 0; first < all_units; first += each) {
        const size_t n_units = all_units - first < each ? all_units - first : each;
        for (size_t i = 0; i < n; i++)
            plan->fill(panel_at(p, i), w->data + (g + i) * group_bytes, first, n_units);
        for (size_t k = t; k < t_end; k++) {
            const act_at act = act_first(x, k, first, TILE);
            for (size_t i = 0; i < n; i++) plan->product(panel_at(p, i), act, n_units, p->f[k - t][i]);
        }
    }
}

/* Groups [g, g + n) with all tokens, n <= PANELS. */
static __attribute__((noinline)) void panels_product(const panel_plan *plan, const matrix *w, size_t g,
                                                     size_t n, const kernel_act *x, float *y, size_t ldy) {
    const size_t tiles = kernel_tiles(x->n_tokens);
    panels p;
    for (size_t t = 0; t < tiles; t += PASS_TILES) {
        const size_t t_end = tiles - t < PASS_TILES ? tiles : t + PASS_TILES;
        panels_sum(plan, w, g, n, x, t, t_end, &p);
        for (size_t i = t * TILE; i < t_end * TILE && i < x->n_tokens; i++)
            for (size_t k = 0; k < n; k++)
                pair_store(y + i * ldy + L * (g + k), pair_load(p.f[i / TILE - t][k] + i % TILE * L));
    }
}

static void many_tokens(const panel_plan *plan, const matrix *w, size_t g_begin, size_t g_end,
                        const kernel_act *x, float *y, size_t ldy) {
    for (size_t g = g_begin; g < g_end; g += PANELS)
        panels_product(plan, w, g, g_end - g < PANELS ? g_end - g : PANELS, x, y, ldy);
}

/* ---- the functions of the set ---- */

#define MUL_MAT_PLAN(name, the_plan)                                                                        \
    static void mul_mat_##name(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x,          \
                               float *y, size_t ldy) {                                                      \
        if (x->n_tokens > KERNEL_TILE)                                                                      \
            many_tokens(the_plan, w, g_begin, g_end, x, y, ldy);                                            \
        else if (x->lanes == KERNEL_TILE)                                                                   \
            vec_##name##_KERNEL_TILE(w, g_begin, g_end, x, y, ldy);                                         \
        else if (x->lanes == 2)                                                                             \
            vec_##name##_2(w, g_begin, g_end, x, y, ldy);                                                   \
        else                                                                                                \
            vec_##name##_1(w, g_begin, g_end, x, y, ldy);                                                   \
    }
#define MUL_MAT_FUNCTION(name, product)                                                                     \
    static const panel_plan plan_##name = {fill_##name, product};                                           \
    MUL_MAT_PLAN(name, &plan_##name)

#if SET_FORMS
static void fill_Q8_0_unsigned(panel to, const uint8_t *group, size_t first, size_t n) {
    panel_q8_0(to, &block_Q8_0, group + first * block_Q8_0.bytes * L, n, 0x80808080u);
}

/* What the engine's dot makes of int8 weights is found out at the first product. Threads may do so at once:
 * they find the same. */
static const panel_plan *plan_signed(void) {
    static const panel_plan plans[] = {
        [SET_AS_SPLIT] = {fill_Q8_0, product_signed},
        [SET_AS_UNSIGNED] = {fill_Q8_0_unsigned, product_offset_128},
        [SET_AS_SIGNED] = {fill_Q8_0, product_plain},
    };
    static atomic_int known = -1;
    int form = atomic_load_explicit(&known, memory_order_relaxed);
    if (form < 0) atomic_store_explicit(&known, form = (int)set_find_form(), memory_order_relaxed);
    return &plans[form];
}
MUL_MAT_PLAN(Q8_0, plan_signed())
#else
MUL_MAT_FUNCTION(Q8_0, product_signed)
#endif
MUL_MAT_FUNCTION(Q4_0, product_offset_8)
MUL_MAT_FUNCTION(Q4_1, product_min)
MUL_MAT_FUNCTION(Q5_0, product_offset_16)
MUL_MAT_FUNCTION(Q5_1, product_min)
MUL_MAT_FUNCTION(Q4_K, product_min)
MUL_MAT_FUNCTION(Q5_K, product_min)
MUL_MAT_FUNCTION(Q6_K, product_halves)

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
    .act_bytes = SET_PARTS,
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
