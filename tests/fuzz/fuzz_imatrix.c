/*
 * Files of statistics of any bytes, in either form, while allocations fail: an error, or entries whose
 * numbers are finite and not negative, which are found by their names.
 */
#include "fuzz.h"

#include "evaluate/imatrix.h"

#include <float.h>

static void check_entry(const imatrix *im, const imatrix_entry *e) {
    EXPECT(imatrix_find(im, e->name) == e->s, "an entry is not found");
    for (uint32_t k = 0; k < e->n_stack; k++)
        for (size_t i = 0; i < e->n_cols; i++) {
            const double x = e->s[k].sum_squares[i];
            EXPECT(x >= 0 && x <= (double)FLT_MAX, "%g", x);
        }
}

/* A model whose only matrix is entry i, or has one more column; the last entry is missed in a model of
 * another name. */
static void check_model(const imatrix *im, size_t i) {
    const imatrix_entry *e = im->entries[i];
    gguf_tensor t = {.name = e->name, .dims = {e->n_cols, 1, e->n_stack, 1}};
    const gguf g = {.n_tensors = 1, .tensors = &t};
    EXPECT(imatrix_check(im, &g, NULL) == NUT_OK, "its own model");
    t.dims[0]++;
    EXPECT(imatrix_check(im, &g, NULL) == NUT_E_ARGUMENT, "another width");
    t.name.n = 0;
    EXPECT(e->name.n == 0 || imatrix_find(im, t.name) || imatrix_check(im, &g, NULL) == NUT_E_ARGUMENT,
           "another name");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_input in = {bytes, n};
    const uint8_t fail_at = fuzz_u8(&in);
    imatrix im = {0};
    nut_error err = {0};
    counting_start(fail_at < 200 ? 0 : (size_t)(fail_at - 199));
    uint8_t *exact = fuzz_copy(in);
    const nut_status status = imatrix_read(&im, exact, in.n, &err);
    fuzz_check_error(status, &err);
    EXPECT(counting.peak <= 100000 + 40 * n, "%zu bytes for %zu", counting.peak, n);
    for (size_t i = 0; i < im.n && status == NUT_OK; i++)
        check_entry(&im, im.entries[i]), check_model(&im, i);
    imatrix_free(&im);
    free(exact);
    fuzz_end();
    return 0;
}
