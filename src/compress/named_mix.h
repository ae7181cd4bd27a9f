/*
 * llama.cpp's mixes of types by name: which type each tensor of a model gets in a file that is called Q4_K_M
 * and so on. The rules are a table of what tensors are for and where they stand (ggml-org/llama.cpp,
 * src/llama-quant.cpp, llama_tensor_get_type_impl and llama_ftype_get_default_type).
 */
#ifndef NUT_COMPRESS_NAMED_MIX_H
#define NUT_COMPRESS_NAMED_MIX_H

#include "kernels/formats.h"
#include "model/gguf.h"

typedef struct named_mix named_mix;

/* The mix of a name, in any case ("q4_k_m"); NULL when there is none. */
const named_mix *named_mix_find(const char *name);
/* "Q2_K, Q2_K_S, ...", terminated. */
void named_mix_names(char *out, size_t cap);
/* general.file_type: llama.cpp's llama_ftype (llama.h). */
uint32_t named_mix_file_type(const named_mix *m);

/* The type of each tensor of a model, (model->n_tensors), NULL: it stays as it is; free with mem_free.
 * weighed: there are statistics of inputs. Rows that are no whole blocks get a smaller type's as llama.cpp
 * gives it, but for IQ4_NL in place of Q4_0, which is as large and loses less. A quantized tensor with fewer
 * bits than its type stays. */
nut_status named_mix_types(const named_mix *m, const gguf *model, bool weighed, const format ***out,
                           nut_error *err);

#endif
