/*
 * Shares by layer: how many parts each layer loses, where all together lose a given share. Of each layer is
 * known what it loses with one part, two, and so on; taken are always those that cost least next. What a
 * layer loses counts beside what its tokens are: an error matters as a part of the residual, since the norms
 * behind it divide by that. Where a layer has parts of several kinds, each kind is as a layer here, and
 * costs and the share are of the parts' sizes.
 */
#ifndef NUT_COMPRESS_SHARES_H
#define NUT_COMPRESS_SHARES_H

#include "nutshell.h"

/* A layer's parts, such as channels. */
typedef struct shares_parts {
    uint32_t n, unit; // so many go together
    double *losses;   // (shares_most(n) + 1)
    double weight;
    double size; // of one part, such as its weights
} shares_parts;

/* Starts as {0}. */
typedef struct shares {
    uint32_t n_layer;
    shares_parts *layers; // (n_layer)
    uint32_t *n_left;     // (n_layer) once they are chosen; else NULL
} shares;

/* Parts that a layer of n may lose: an eighth stays. */
uint32_t shares_most(uint32_t n);
/* Layer il of n_layer has n parts; *losses (shares_most(n) + 1) are to be filled: what it loses with none,
 * one, and so on, never less than with fewer. A layer that is never named has no parts. */
nut_status shares_layer(shares *s, uint32_t n_layer, uint32_t il, uint32_t n, uint32_t unit, double **losses,
                        nut_error *err);
/* What the layer's losses count, and the size of one of its parts; 1 where it is not said. */
void shares_weigh(shares *s, uint32_t il, double weight, double size);
/* The geometric mean of the squares of n / n_embd tokens, (n / n_embd, n_embd): a few that are a thousand
 * times larger than others say little of the others. */
double shares_typical_square(const float *residual, size_t n, size_t n_embd);
/* Chooses n_left so that `share` of all parts' sizes goes, or a unit more. E_ARGUMENT where so much may not.
 */
nut_status shares_choose(shares *s, double share, nut_error *err);
void shares_free(shares *s);

#endif
