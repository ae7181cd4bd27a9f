/* What rounding is given beside the options: statistics of inputs, and a mix of types. */
#ifndef NUT_COMPRESS_ROUND_H
#define NUT_COMPRESS_ROUND_H

#include "compress/method.h"
#include "compress/named_mix.h"
#include "evaluate/imatrix.h"

/* The ctx of method_round, which can do without (NULL), and of round_mix. */
typedef struct round_inputs {
    const imatrix *statistics; // NULL: all columns count the same
    const named_mix *mix;      // NULL: the options say one type
    const format *embedding;   // of the table of token embeddings; NULL: as the type or the mix says
    const format ***types;     // where those of the model's tensors go; to be freed with mem_free
} round_inputs;

/* A method_find_statistics for it. */
const statistics *round_find(const void *ctx, gguf_str tensor);

/* Rounding into a mix: it tells what each tensor becomes. */
extern const method round_mix;

/* Refuses a slice with weights that its type cannot hold. E_CORRUPT. */
nut_status round_in_range(const method_slice *s, nut_error *err);

/* The format of a name that rounding can write token embeddings in. E_ARGUMENT names them. */
nut_status round_embedding(const char *name, const format **out, nut_error *err);

#endif
