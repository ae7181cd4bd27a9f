/* Loads a model file with the public calls, from fread to nut_load_finish. */
#ifndef NUT_TESTS_MODEL_FILE_H
#define NUT_TESTS_MODEL_FILE_H

#include "nutshell.h"

#include <stdio.h>
#include <stdlib.h>

/* NULL if there is no file, or with err->code set if it is no model. */
static inline nut_model *model_file_load(const char *path, const nut_load_options *options, nut_error *err) {
    FILE *f = fopen(path, "rb");
    err->code = NUT_OK;
    if (!f) return NULL;
    nut_loader *l = NULL;
    nut_model *m = NULL;
    char *buffer = malloc(1 << 20);
    size_t n;
    nut_status status = nut_load_begin(options, 0, &l, err);
    for (uint64_t at = 0; status == NUT_OK && (n = fread(buffer, 1, 1 << 20, f)) > 0; at += n)
        status = nut_load_feed(l, at, buffer, n, err);
    if (status == NUT_OK) status = nut_load_finish(l, &m, err);
    if (status != NUT_OK) nut_load_abort(l);
    free(buffer);
    fclose(f);
    return m;
}

#endif
