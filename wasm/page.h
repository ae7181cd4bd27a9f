/*
 * What nut_wasm.c has for nut_stored.c and nut_beside.c, which are linked beside it in some modules: how a
 * page's options become the engine's, and where its model is kept.
 */
#ifndef NUT_WASM_PAGE_H
#define NUT_WASM_PAGE_H

#include "nutshell.h"

/* Frees what was loaded, and makes the options of a load. texts: three terminated ones: a name of kernels,
 * "" for the fastest; the pre-tokenizer's, "" for the file's; the races of earlier loads. Copies of them
 * live until the next load. -1 without memory, with page_error set. */
int page_options(const char *texts, double n_ctx, int kv_type, nut_load_options *out);

/* Takes the model and opens its own session: -1, with page_error set, where
 * that fails. n_batch: tokens of a prompt in a step; 0: as many as usual; fewer: single tokens may go to
 * fewer threads. */
int page_open(nut_model *model, double n_ctx, int kv_type, double n_threads, int fewer, unsigned n_batch);

/* Puts beside a model what has been kept for it, before its first session: -1, with page_error set, where
 * that fails. */
int page_adapt(nut_model *model);

/* The page's model; NULL: none is loaded. */
nut_model *page_model(void);

/* The session of a handle; NULL, with page_error set: there is none. */
nut_session *page_session(int handle);

/* Gives the model and its own session away; -1, with page_error set, where none is loaded. */
int page_part(nut_model **model, nut_session **own);

/* The staging buffer, where it has n bytes; NULL, with page_error set, where it has not. */
const void *page_staged(double n);

/* What nutw_error_name and nutw_error_message tell. */
nut_error *page_error(void);

/* Sets that; -1. */
int page_fail(nut_status code, const char *message);

#endif
