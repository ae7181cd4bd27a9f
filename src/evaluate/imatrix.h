/*
 * Files of statistics, as llama.cpp's llama-imatrix writes and its quantizer reads them (tools/imatrix). Two
 * forms are read:
 *
 * GGUF      general.type "imatrix"; for each matrix NAME the tensors NAME.in_sum2 (n_cols, n_matrices) and
 *           NAME.counts (1, n_matrices), F32: sums of squares, and numbers of tokens. This engine writes
 *           NAME.in_sum and NAME.in_max_abs too, which other readers pass over.
 * .dat      the older one: entries of name, number of calls n, and n times the mean squares.
 *
 * nut_calibrate_begin writes the first (imatrix_write.c). The bytes may be hostile. Whatever is read is
 * checked: sums are finite and not negative, sizes fit.
 */
#ifndef NUT_EVALUATE_IMATRIX_H
#define NUT_EVALUATE_IMATRIX_H

#include "evaluate/statistics.h"
#include "model/gguf.h"

/* The statistics of a tensor's matrix, or of its stack. */
typedef struct imatrix_entry {
    gguf_str name;
    size_t n_cols;
    uint32_t n_stack;
    statistics *s;             // (n_stack)
    double *sum_squares, *sum; // (n_stack, n_cols)
    float *max_abs;            // (n_stack, n_cols)
} imatrix_entry;

typedef struct imatrix {
    imatrix_entry **entries; // (n) sorted by name, once imatrix_sort was called
    size_t n, cap;
    uint32_t n_chunks, chunk; // windows that were run, and tokens of each; 0: unknown
} imatrix;

/* Adds an entry with all statistics 0; the name is copied. kinds: SQUARES, with RANGES or not. */
nut_status imatrix_add(imatrix *im, gguf_str name, unsigned kinds, size_t n_cols, uint32_t n_stack,
                       imatrix_entry **out, nut_error *err);
/* E_CORRUPT where a name is there twice. */
nut_status imatrix_sort(imatrix *im, nut_error *err);

/* Reads a whole file of either form. im is {0}; free it whatever happens. */
nut_status imatrix_read(imatrix *im, const uint8_t *bytes, size_t n, nut_error *err);
/* E_ARGUMENT, with the tensor's name, where an entry has another size than the model's tensor of that name,
 * or where none of the model's matrices has an entry. */
nut_status imatrix_check(const imatrix *im, const gguf *model, nut_error *err);
/* A method_find_statistics (compress/method.h), ctx is an imatrix that is sorted: those of a matrix, or the
 * first of a stack, whose others follow. */
const statistics *imatrix_find(const void *im, gguf_str tensor);
void imatrix_free(imatrix *im);

/* Entries from number `first` on as bytes, which are the caller's, from mem_alloc; entries with RANGES. */
nut_status imatrix_pack(const imatrix *im, size_t first, uint8_t **bytes, size_t *n, nut_error *err);
/* Adds entries from such bytes. */
nut_status imatrix_unpack(imatrix *im, const uint8_t *bytes, size_t n, nut_error *err);

#endif
