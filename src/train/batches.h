/*
 * The order of a text's windows in training. Each window of a pass over the text is taken once, in an order
 * that depends on the seed and the number of the pass alone (Fisher and Yates' shuffle); the last windows
 * are held out and never learned from.
 */
#ifndef NUT_TRAIN_BATCHES_H
#define NUT_TRAIN_BATCHES_H

#include "model/vocab.h"

typedef struct batches {
    int32_t *ids;     // (n_ids) of the text
    uint8_t *learned; // (n_ids) 0: no label; NULL: each is one
    size_t n_ids, window;
    size_t n, n_held; // windows to learn from, and behind them those held out
    int32_t bos;      // in the place of each window's first token; -1: none
    uint64_t seed, shuffled;
    uint32_t *order; // (n) of pass `shuffled` less 1; 0: none
} batches;

/* A window's label is the token behind it, so one token more than n * window is needed. held_out: the part
 * of the windows. E_ARGUMENT where there is not one window to learn from, or to hold out where some are to
 * be. Free with batches_free. */
nut_status batches_of_text(batches *b, const vocab *v, const char *text, size_t n_text, size_t window,
                           double held_out, uint64_t seed, nut_error *err);
/* The same of n_ids tokens of the vocabulary, which are copied. learned (n_ids), or NULL: which of them are
 * labels; E_ARGUMENT where none is. */
nut_status batches_of_ids(batches *b, const vocab *v, const int32_t *ids, const uint8_t *learned,
                          size_t n_ids, size_t window, double held_out, uint64_t seed, nut_error *err);
void batches_free(batches *b);

/* Window `which` of all that training takes, from 0: ids (window) and the tokens behind each, labels; -1
 * for one that is not learned. Returns which window of the text it is. */
size_t batches_take(batches *b, uint64_t which, int32_t *ids, int32_t *labels);
/* Window `which` of those that are held out. */
void batches_take_held(const batches *b, size_t which, int32_t *ids, int32_t *labels);

#endif
