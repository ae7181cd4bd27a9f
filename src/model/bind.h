/* Binding: which tensor of a file goes where in the model. A plan first (names, shapes, sizes), then places;
 * file by file where the model has several, so what is still missing is counted. */
#ifndef NUT_MODEL_BIND_H
#define NUT_MODEL_BIND_H

#include "model/arch.h"

/* One tensor of a file and its place; in the order of the file's data. */
typedef struct binding {
    const gguf_tensor *source;
    const arch_tensor *spec; // NULL: read over
    uint32_t layer;
    const format *from; // type in the file
    const format *to;   // type in memory: `from`, or F32
    uint8_t *data;      // packed matrix, or floats
} binding;

/* What the architecture needs and no file has brought yet. */
typedef struct bind_rest {
    uint64_t n_tensors;
    uint64_t bytes; // that their weights take at least, in the smallest of all formats
} bind_rest;

/* All that a model needs; hp and arch of m are set. */
bind_rest bind_needs(const nut_model *m, bool dequantize);
/* Matches a file's n tensors with what the architecture needs (hp, arch and layers of m are set), adds them
 * to the plan of the weights' arena and takes them from *rest. bindings is (n), the caller's. E_UNSUPPORTED
 * names an unknown tensor or type, E_CORRUPT one of a wrong shape, or that an earlier file brought. */
nut_status bind_plan(nut_model *m, bool dequantize, const gguf_tensor *tensors, size_t n, binding *bindings,
                     bind_rest *rest, nut_error *err);
/* E_CORRUPT where more is missing than n_to_come tensors can bring; names a tensor where none is to come. */
nut_status bind_check(const nut_model *m, const bind_rest *rest, uint64_t n_to_come, nut_error *err);
/* Takes the arena's pieces and writes them into the model. The arena is open. */
void bind_place(nut_model *m, binding *bindings, size_t n);
/* Ties the output to the embeddings where no file brought one. */
void bind_finish(nut_model *m);

#endif
