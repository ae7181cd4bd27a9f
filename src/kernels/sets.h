/* Which kernel sets this build links, and what they share. */
#ifndef NUT_KERNELS_SETS_H
#define NUT_KERNELS_SETS_H

#include "kernels/kernels.h"

/* NUT_COMPAT: a native build, which has compat/ in its include path; the relaxed dot is there where the
 * machine has an instruction for it. NUT_NO_SIMD: plain C alone. NUT_RELAXED_ALONE: simd128.c is compiled to
 * nothing, for a browser module that is fetched only where the relaxed set computes rightly. */
#if !defined(NUT_NO_SIMD) && (defined(__wasm_simd128__) || defined(NUT_COMPAT))
#define KERNEL_HAS_SIMD128 1
#if defined(__wasm_relaxed_simd__) || defined(__SSSE3__) || defined(__ARM_FEATURE_DOTPROD)
#define KERNEL_HAS_RELAXED 1
#endif
#endif

extern const kernel_set kernel_set_ref;
extern const kernel_set kernel_set_simd128;
extern const kernel_set kernel_set_relaxed;
extern const kernel_set kernel_set_pairs;

/* The set, or NULL where its file was compiled without its instructions. Only that file knows, so that a set
 * cannot be lost because another file had other flags. */
#define NUT_X(name) extern const kernel_set *const kernel_linked_##name;
KERNEL_SETS(NUT_X)
#undef NUT_X

/* Whether a set computes products rightly here, one token alone and several. */
bool kernel_probe(const kernel_set *set);

/* A block of activations all below this is taken as zeros: its scale would have no finite inverse. */
#define KERNEL_Q8_LOWEST 0x1p-100f

/* The operations of all SIMD sets but mul_mat, which have no use for relaxed dots: simd_ops.c,
 * simd_cache.c, simd_attend.c. */
#define NUT_X(name, params) void simd_##name params;
KERNEL_OPS(NUT_X)
#undef NUT_X

#endif
