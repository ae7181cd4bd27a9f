/*
 * Gathers the statistics of the inputs of some linears (those of a layer, or the one of the output) while
 * they run. Linears that run on one input together share what is gathered. Memory is taken for an input when
 * it is first seen.
 */
#ifndef NUT_EVALUATE_GATHER_H
#define NUT_EVALUATE_GATHER_H

#include "evaluate/statistics.h"
#include "model/bind.h"
#include "run/session.h"

/* A matrix, or one of a stack. */
typedef struct gather_row {
    const uint8_t *data; // of the matrix: what a linear is known by
    gguf_str tensor;     // its name, the model's
    uint32_t which;      // of a stack, else 0
    uint64_t n_used;     // inputs that it was multiplied with
    size_t shared;       // row whose input it has: its own number, or another's
    statistics s;
    void *memory; // of the statistics, where it is not another's
} gather_row;

typedef struct gather {
    unsigned kinds;
    threads *team;
    gather_row *rows; // (n_rows)
    size_t n_rows;
    size_t last;   // row that was seen last
    float *packed; // (n_packed)
    size_t n_packed;
    float *active; // (n_active) 1 where an input is not zero
    size_t n_active;
    bool no_memory;
} gather;

/* Starts on the matrices among n bindings; squares are gathered with every kind. On an error nothing is
 * held. The team is the caller's. */
nut_status gather_begin(gather *g, unsigned kinds, threads *team, const binding *bindings, size_t n,
                        nut_error *err);
/* A linear_tap, ctx is the gather. Inputs of linears that are not among the bindings are passed over. */
linear_tap gather_tap;
/* E_MEMORY where a tap found none, E_CORRUPT where an input was infinite or no number. */
nut_status gather_check(const gather *g, nut_error *err);
/* The statistics of a tensor's matrix, or of number `which` of its stack (STATISTICS_POOLED: of all); NULL:
 * it was not seen. They live as long as the gather. */
const statistics *gather_find(const gather *g, gguf_str tensor, uint32_t which);
/* How many inputs the matrix was multiplied with, whoever has its statistics. */
uint64_t gather_used(const gather *g, gguf_str tensor, uint32_t which);
/* Bytes that the statistics of a matrix with n_cols take. */
uint64_t gather_bytes(unsigned kinds, uint64_t n_cols);
void gather_free(gather *g);

#endif
