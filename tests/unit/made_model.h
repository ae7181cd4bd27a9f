/* Loads a file that make_gguf.h has made, and frees it. */
#ifndef NUT_TESTS_MADE_MODEL_H
#define NUT_TESTS_MADE_MODEL_H

#include "check.h"
#include "make_gguf.h"

/* NULL, and a failed check, where it cannot be loaded. The model is the caller's. */
static inline nut_model *made_model_load(make_gguf g) {
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_model *m = NULL;
    nut_error err = {NUT_OK, ""};
    CHECK(make_load(file, n, 0, NULL, &m, &err) == NUT_OK, "%s", err.message);
    free(file);
    make_free(&g);
    return m;
}

#endif
