/* A made-up method: each matrix becomes Q8_0 by rounding, and of each code only the even part is kept. */
#include "compress/method.h"

static const format *plan(const nut_compress_options *o, const void *ctx, const gguf *model,
                          const gguf_tensor *t) {
    (void)o, (void)ctx, (void)model;
    return method_is_matrix(t) ? format_by_name("q8_0") : NULL;
}

static nut_status encode(const method_slice *s, uint8_t *blocks, nut_error *err) {
    const size_t n = s->n_rows * s->n_cols / s->to->block;
    (void)err;
    s->to->quantize(s->weights, n, blocks);
    for (size_t b = 0; b < n; b++)
        for (size_t i = 2; i < s->to->bytes; i++) blocks[b * s->to->bytes + i] &= 0xfe;
    return NUT_OK;
}

const method method_halve = {.name = "halve", .plan = plan, .encode = encode};
