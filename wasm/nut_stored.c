/*
 * What the modules nutshell-*-more have beside nut_wasm.c: models larger than a tab's memory
 * (nutshell_store.h). Their files are not fed; the worker reads from them at once what a step lacks
 * (web/worker/stored.js).
 */
#include "boundary.h"
#include "nutshell_store.h"
#include "page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The worker's: n bytes of a file of the model, from `offset` on; negative: they could not be read. */
int nut_stored_read(uint32_t split, double offset, void *to, size_t n)
    __attribute__((import_module("env"), import_name("nut_stored_read")));

enum { BATCH = 512 }; // tokens of a prompt that go through a layer together: the next is read once for them

typedef struct page_files {
    uint32_t n;
    double sizes[]; // (n) bytes
} page_files;

static nut_status open_file(void *ctx, uint32_t split, uint32_t n_splits, uint64_t *size, nut_error *err) {
    const page_files *files = ctx;
    if (split >= files->n || (n_splits && n_splits != files->n)) {
        snprintf(err->message, sizeof err->message,
                 "the model has %u files, and %u were given: pass an array of all in their order", n_splits,
                 files->n);
        return err->code = NUT_E_ARGUMENT;
    }
    *size = (uint64_t)files->sizes[split];
    return NUT_OK;
}

static nut_status read_file(void *ctx, uint32_t split, uint64_t offset, void *to, size_t n, nut_error *err) {
    (void)ctx;
    if (nut_stored_read(split, (double)offset, to, n) >= 0) return NUT_OK;
    snprintf(err->message, sizeof err->message,
             "the model's file could not be read: it was changed, moved or deleted; load it again");
    return err->code = NUT_E_IO;
}

/* Loads a model of n files whose sizes in bytes are given, with `limit` bytes at most for weights, and opens
 * its session: see page_options and page_open. After an error only nutw_reset and another load make sense.
 */
int nutw_stored_load(const double *sizes, unsigned n, double limit, double n_ctx, int kv_type,
                     const char *texts, double n_threads, int fewer) {
    nut_load_options o;
    nut_model *m = NULL;
    if (page_options(texts, n_ctx, kv_type, &o)) return -1;
    page_files *files = malloc(sizeof *files + n * sizeof *sizes);
    if (!files) return page_fail(NUT_E_MEMORY, "no memory to begin a load");
    files->n = n;
    memcpy(files->sizes, sizes, n * sizeof *sizes);
    o.memory_limit = 0;
    const nut_store store = {files, open_file, read_file, free, (uint64_t)limit};
    if (nut_load_stored(&o, &store, &m, page_error()) != NUT_OK) return -1;
    return page_open(m, n_ctx, kv_type, n_threads, fewer, BATCH);
}

/* What the model has read so far; 0 where it was not loaded so. */
const nutw_storage *nutw_stored_figures(void) {
    static nutw_storage told;
    nut_store_figures f;
    if (!page_model() || !nut_model_store_figures(page_model(), &f)) return NULL;
    told = (nutw_storage){.bytesRead = (double)f.bytes_read,
                          .seconds = f.seconds,
                          .layers = f.n_layers,
                          .layersKept = f.n_layers_kept,
                          .layerHits = (double)f.layer_hits,
                          .layerMisses = (double)f.layer_misses,
                          .experts = f.n_experts,
                          .expertsKept = f.n_experts_kept,
                          .expertHits = (double)f.expert_hits,
                          .expertMisses = (double)f.expert_misses};
    return &told;
}
