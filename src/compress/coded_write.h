/*
 * Writing coded tensors: from integers and scales to the bytes that model/coded.h reads (docs/format.md).
 */
#ifndef NUT_COMPRESS_CODED_WRITE_H
#define NUT_COMPRESS_CODED_WRITE_H

#include "compress/coded_tensor.h"
#include "kernels/formats.h"

/* A coded tensor's data. */
typedef struct coded_data {
    uint8_t *bytes; // (n), freed by coded_data_free
    size_t n, room;
    const format *format; // its type: by the bits that hold nearly all integers
    uint64_t n_outliers;  // integers that they do not hold
    double error;         // sum of the squares of what rounding has changed, by whoever has rounded
} coded_data;

/* Whether tensors of this shape can be coded: n_cols is a multiple of 32 up to 65,536. */
bool coded_can_write(uint64_t n_rows, uint64_t n_cols);
/* Codes a tensor. Its scales are rounded to eleven bits; those of coded_scale stay as they are. Scales must
 * be positive numbers. Memory: the bytes, and some for each row and column. E_UNSUPPORTED where eight rows
 * take more than a chunk may have. */
nut_status coded_write(const coded_tensor *t, coded_data *out, nut_error *err);
void coded_data_free(coded_data *d);

#endif
