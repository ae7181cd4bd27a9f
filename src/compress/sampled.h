/*
 * Rows that stand for a matrix while its types are measured. They are taken evenly by what the loss feels of
 * them, not by their number: of a vocabulary's table a few tokens have most of the weight, and evenly
 * numbered rows would be nearly all of others (systematic sampling with probabilities proportional to size;
 * Madow 1949, Annals of Mathematical Statistics 20).
 */
#ifndef NUT_COMPRESS_SAMPLED_H
#define NUT_COMPRESS_SAMPLED_H

#include "nutshell.h"

typedef struct sampled {
    size_t *rows; // (n) ascending
    float *parts; // (n) sum parts * x of these rows estimates sum F * x of all
    size_t n;
} sampled;

/* Chooses rows of a matrix with F (n_rows), each above 0. Free with sampled_free. E_MEMORY. */
nut_status sampled_choose(const float *sensitivity, size_t n_rows, sampled *out, nut_error *err);
void sampled_free(sampled *s);

#endif
