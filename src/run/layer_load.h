/*
 * Layers bound and freed one at a time, so that a model which does not fit in memory goes through layer by
 * layer: first its headers, then what is outside of layers (BIND_MODEL), then each layer's weights when they
 * are needed. Data is pushed, as in loading a whole model.
 */
#ifndef NUT_RUN_LAYER_LOAD_H
#define NUT_RUN_LAYER_LOAD_H

#include "model/bind.h"

/* Called between nut_load_begin and the first feed: nut_load_finish then gives a model with nothing bound,
 * as soon as all headers were fed. */
void load_headers_only(nut_loader *l);

/* A layer's weights, or those outside of layers, and their memory. */
typedef struct layer_load {
    nut_model *m;
    int which; // a layer's number, or BIND_MODEL
    arena memory;
    binding *bindings; // (n_bindings), in the order of the file's data
    size_t n_bindings, current;
    uint64_t at; // bytes of the current one's data that were fed
    bind_fill fill;
} layer_load;

/* Takes the memory of the weights of m that `which` means. They must not be bound already. */
nut_status layer_load_begin(nut_model *m, int which, layer_load *l, nut_error *err);
/* Which bytes come next: n from `offset` on of a file of the model; false when all have come. */
bool layer_load_wants(const layer_load *l, uint32_t *file, uint64_t *offset, uint64_t *n);
/* Takes the next n bytes, at most as many as are wanted. */
nut_status layer_load_feed(layer_load *l, const uint8_t *bytes, size_t n, nut_error *err);
/* Unbinds the weights, whole or not, and frees their memory. */
void layer_load_free(layer_load *l);

#endif
