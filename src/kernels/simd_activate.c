/* Activations and softcap of the SIMD sets; the scalars beside them are in activations.h. */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_SIMD128
#include "kernels/activations.h"
#include "kernels/simd_math.h"

/* x / (1 + e^-y) */
SIMD_INLINE v128_t sigmoid_of(v128_t x, v128_t y, const simd_exp_c *e) {
    return wasm_f32x4_div(x, wasm_f32x4_add(e->one, simd_exp(wasm_f32x4_neg(y), e)));
}

SIMD_INLINE v128_t mul_add(v128_t a, v128_t b, float c) {
    return wasm_f32x4_add(wasm_f32x4_mul(a, b), wasm_f32x4_splat(c));
}

SIMD_INLINE v128_t gelu(v128_t x, const simd_exp_c *e) {
    const v128_t below = wasm_f32x4_lt(x, wasm_f32x4_splat(0));
    const v128_t z =
        wasm_f32x4_mul(wasm_v128_bitselect(wasm_f32x4_neg(x), x, below), wasm_f32x4_splat(ACT_SQRT_HALF));
    const v128_t t =
        wasm_f32x4_div(e->one, wasm_f32x4_add(e->one, wasm_f32x4_mul(wasm_f32x4_splat(ACT_ERF_P), z)));
    v128_t p = wasm_f32x4_splat(ACT_ERF_A5);
    p = mul_add(p, t, ACT_ERF_A4);
    p = mul_add(p, t, ACT_ERF_A3);
    p = mul_add(p, t, ACT_ERF_A2);
    p = mul_add(p, t, ACT_ERF_A1);
    const v128_t tail =
        wasm_f32x4_mul(wasm_f32x4_mul(p, t), simd_exp(wasm_f32x4_neg(wasm_f32x4_mul(z, z)), e));
    const v128_t half = wasm_f32x4_mul(wasm_f32x4_splat(0.5f), tail);
    return wasm_f32x4_mul(x, wasm_v128_bitselect(half, wasm_f32x4_sub(e->one, half), below));
}

SIMD_INLINE v128_t gelu_tanh(v128_t x, const simd_exp_c *e) {
    const v128_t cube = wasm_f32x4_mul(wasm_f32x4_mul(x, x), x);
    const v128_t inner = wasm_f32x4_add(x, wasm_f32x4_mul(wasm_f32x4_splat(ACT_CUBE), cube));
    return sigmoid_of(x, wasm_f32x4_mul(wasm_f32x4_splat(ACT_TANH_2), inner), e);
}

/* Negative numbers become 0; a NaN stays. */
SIMD_INLINE v128_t relu(v128_t x, v128_t positive) {
    return wasm_v128_andnot(positive, wasm_f32x4_lt(x, wasm_f32x4_splat(0)));
}

SIMD_INLINE v128_t act_vector(kernel_activation a, v128_t x, const simd_exp_c *e) {
    switch (a) {
    case KERNEL_SILU: return sigmoid_of(x, x, e);
    case KERNEL_GELU: return gelu(x, e);
    case KERNEL_GELU_TANH: return gelu_tanh(x, e);
    case KERNEL_GELU_QUICK: return sigmoid_of(x, wasm_f32x4_mul(wasm_f32x4_splat(ACT_QUICK), x), e);
    case KERNEL_RELU: return relu(x, x);
    case KERNEL_RELU_SQUARED: return relu(x, wasm_f32x4_mul(x, x));
    case KERNEL_ACTIVATION_COUNT: break;
    }
    return x;
}

/* The loops of one activation, which is a constant in them. up NULL: without a product. */
SIMD_INLINE void act_loop(kernel_activation a, float *x, const float *up, size_t n) {
    const simd_exp_c e = simd_exp_consts();
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const v128_t y = act_vector(a, wasm_v128_load(x + i), &e);
        wasm_v128_store(x + i, up ? wasm_f32x4_mul(y, wasm_v128_load(up + i)) : y);
    }
    for (; i < n; i++) x[i] = up ? act_scalar(a, x[i]) * up[i] : act_scalar(a, x[i]);
}

void simd_activate(kernel_activation a, float *x, size_t n) {
    switch (a) {
#define NUT_X(name, formula)                                                                                \
    case KERNEL_##name: act_loop(KERNEL_##name, x, NULL, n); break;
        KERNEL_ACTIVATION_LIST(NUT_X)
#undef NUT_X
    case KERNEL_ACTIVATION_COUNT: break;
    }
}

void simd_activate_mul(kernel_activation a, float *gate, const float *up, size_t n) {
    switch (a) {
#define NUT_X(name, formula)                                                                                \
    case KERNEL_##name: act_loop(KERNEL_##name, gate, up, n); break;
        KERNEL_ACTIVATION_LIST(NUT_X)
#undef NUT_X
    case KERNEL_ACTIVATION_COUNT: break;
    }
}

void simd_scale(float *x, float by, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        wasm_v128_store(x + i, wasm_f32x4_mul(wasm_v128_load(x + i), wasm_f32x4_splat(by)));
    for (; i < n; i++) x[i] *= by;
}

void simd_softcap(float *x, float cap, size_t n) {
    const simd_exp_c e = simd_exp_consts();
    const v128_t two = wasm_f32x4_splat(2), most = wasm_f32x4_splat(cap);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const v128_t power = simd_exp(wasm_f32x4_mul(two, wasm_f32x4_div(wasm_v128_load(x + i), most)), &e);
        const v128_t tanh = wasm_f32x4_sub(e.one, wasm_f32x4_div(two, wasm_f32x4_add(e.one, power)));
        wasm_v128_store(x + i, wasm_f32x4_mul(most, tanh));
    }
    for (; i < n; i++) x[i] = act_softcap(x[i], cap);
}
#else
typedef int kernel_simd_activate_is_not_in_this_build;
#endif
