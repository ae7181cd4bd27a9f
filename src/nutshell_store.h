/*
 * nutshell_store.h: models larger than the memory for their weights, beside nutshell.h, whose rules it
 * shares. A model is loaded with a source that can be read at any place, and a limit. What fits stays in
 * memory; the other layers, and of a mixture of experts the experts that a text needs, are read whenever a
 * step comes to them. Texts and logits are the same bit for bit. No browser module that runs models has it.
 *
 * Steps of such a model can fail, with E_IO where the source does: a batch that failed is as if it had not
 * been read, nut_session_n_past tells how far a call came, and it can be tried again; a generation goes on
 * with its next step. Sessions of such a model are used by one thread at a time, all together.
 */
#ifndef NUTSHELL_STORE_H
#define NUTSHELL_STORE_H

#include "nutshell.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where a model is read from. */
typedef struct nut_store {
    void *ctx;
    /* The size in bytes of a file of the model, from 0; called once for each, in order. n_splits: how many
     * the model has, 0 for its first file. */
    nut_status (*open)(void *ctx, uint32_t split, uint32_t n_splits, uint64_t *size, nut_error *err);
    /* Exactly n bytes of an opened file from `offset` on, within its size. */
    nut_status (*read)(void *ctx, uint32_t split, uint64_t offset, void *to, size_t n, nut_error *err);
    /* Nothing more will be read: the model is freed, or its load has failed. NULL: not called. */
    void (*close)(void *ctx);
    /* Bytes that weights may take in memory, 0: no limit. What is outside of layers, one layer, and as many
     * experts as a token uses must fit: E_TOO_LARGE says how much that is. */
    uint64_t weights_limit;
} nut_store;

/* Loads a model, with the options of nut_load_begin but for memory_limit and header_only, which are
 * E_ARGUMENT. What stays in memory is read at once, experts when they are first needed. Memory that weights
 * will ever use is taken here, with 1 MiB more to read through. */
nut_status nut_load_stored(const nut_load_options *options, const nut_store *store, nut_model **out,
                           nut_error *err);

/* What a model read since it was loaded, and how often it did not have to. */
typedef struct nut_store_figures {
    uint64_t weight_bytes;               // of memory for weights
    uint32_t n_layers, n_layers_kept;    // layers, and those that stay in memory but for their experts
    uint32_t n_experts, n_experts_kept;  // experts of all layers, and those that memory has room for
    uint64_t layer_hits, layer_misses;   // layers that steps came to: in memory already, or read
    uint64_t expert_hits, expert_misses; // the same of experts, each counted once for a layer of a step
    uint64_t bytes_read;
    double seconds; // of reading, unpacking included
} nut_store_figures;

/* False: the model was not loaded from a store. */
bool nut_model_store_figures(const nut_model *model, nut_store_figures *out);

#ifdef __cplusplus
}
#endif
#endif
