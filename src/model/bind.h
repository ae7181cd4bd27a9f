/* Binding: which tensor of the file goes where in the model. A plan first (names, shapes, sizes), then
 * places. */
#ifndef NUT_MODEL_BIND_H
#define NUT_MODEL_BIND_H

#include "model/arch.h"

/* One tensor of the file and its place; in the order of the file's data. */
typedef struct binding {
    const gguf_tensor *source;
    const arch_tensor *spec; // NULL: read over
    uint32_t layer;
    const format *from; // type in the file
    const format *to;   // type in memory: `from`, or F32
    uint8_t *data;      // packed matrix, or floats
} binding;

/* Matches the file's tensors (header, hp, arch and layers of m are set) with what the architecture needs and
 * plans the weights' arena. bindings is (header.n_tensors), the caller's. E_UNSUPPORTED names an unknown
 * tensor or type, E_CORRUPT what is missing or of a wrong shape. */
nut_status bind_plan(nut_model *m, bool dequantize, binding *bindings, nut_error *err);
/* Takes the arena's pieces and writes them into the model. The arena is open. */
void bind_place(nut_model *m, binding *bindings);

#endif
