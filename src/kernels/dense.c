/* Dense products: scratch, and the two types of dense.inc. */
#include "kernels/dense.h"

#include "base/error.h"
#include "base/mem.h"

#include <string.h>

// Lanes of a register of floats, and the tile of a result that stays in registers: rows, and two registers
// wide.
#if defined __AVX512F__
enum { LANES = 16, TILE_ROWS = 12 };
#ifdef __clang__ // which else keeps to half of a register
#define WHOLE_REGISTERS __attribute__((min_vector_width(512)))
#endif
#elif defined __AVX__
enum { LANES = 8, TILE_ROWS = 6 };
#else
enum { LANES = 4, TILE_ROWS = 4 };
#endif
#ifndef WHOLE_REGISTERS
#define WHOLE_REGISTERS
#endif
enum { BLOCK_K = 256, BLOCK_ROWS = 96, BLOCK_COLS = 1024 }; // rows: a multiple of every TILE_ROWS
enum { PACKED_A = BLOCK_K * BLOCK_ROWS, PACKED_B = BLOCK_K * BLOCK_COLS };

struct dense {
    threads *team;
    double *scratch; // (members, PACKED_A + PACKED_B)
};

nut_status dense_new(threads *team, dense **out, nut_error *err) {
    const size_t bytes = threads_count(team) * (size_t)(PACKED_A + PACKED_B) * sizeof(double);
    dense *d = mem_alloc(sizeof *d);
    double *scratch = mem_alloc(bytes);
    if (!d || !scratch) {
        mem_free(d);
        mem_free(scratch);
        return error_memory(err, bytes);
    }
    *d = (dense){team, scratch};
    *out = d;
    return NUT_OK;
}

void dense_free(dense *d) {
    if (d) mem_free(d->scratch);
    mem_free(d);
}

threads *dense_team(const dense *d) {
    return d->team;
}

#define DENSE_NAME(name) name##_f32
#define REAL             float
#include "kernels/dense.inc"
#undef DENSE_NAME
#undef REAL

#define DENSE_NAME(name) name##_f64
#define REAL             double
#include "kernels/dense.inc"
