/* The list of methods, and what they share. */
#include "compress/method.h"
#include "compress/recipe.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

static const method *const methods[] = {
#define NUT_X(name) &method_##name,
    METHOD_LIST(NUT_X)
#undef NUT_X
};
enum { N_METHODS = sizeof methods / sizeof *methods };

/* Ends of the names of small matrices: norms of each head, routers, convolutions, tables beside that of the
 * embeddings, and products of low rank, as llama-quantize leaves them (ggml-org/llama.cpp,
 * src/llama-quant.cpp, tensor_allows_quantization). */
static const char *const small[] = {"_norm.weight",
                                    "ffn_gate_inp.weight",
                                    "position_embd.weight",
                                    "token_types.weight",
                                    "per_layer_model_proj.weight",
                                    "altup_router.weight",
                                    "altup_predict_coef.weight",
                                    "altup_correct_coef.weight",
                                    "laurel_l.weight",
                                    "laurel_r.weight",
                                    "ssm_conv1d.weight",
                                    "shortconv.conv.weight",
                                    "time_mix_first.weight",
                                    "time_mix_w1.weight",
                                    "time_mix_w2.weight",
                                    "time_mix_v1.weight",
                                    "time_mix_v2.weight",
                                    "time_mix_a1.weight",
                                    "time_mix_a2.weight",
                                    "time_mix_g1.weight",
                                    "time_mix_g2.weight",
                                    "time_mix_decay_w1.weight",
                                    "time_mix_decay_w2.weight",
                                    "time_mix_lerp_fused.weight"};

static bool ends_with(gguf_str name, const char *end) {
    const size_t n = strlen(end);
    return name.n >= n && !memcmp(name.s + name.n - n, end, n);
}

bool method_is_matrix(const gguf_tensor *t) {
    const bool named = ends_with(t->name, "weight") || ends_with(t->name, "weight.lora_a") ||
                       ends_with(t->name, "weight.lora_b");
    return named && t->n_dims == 2 && t->dims[1] > 1;
}

bool method_is_stack(const gguf_tensor *t) {
    return ends_with(t->name, "_exps.weight") && t->n_dims == 3;
}

bool method_is_small(const gguf_tensor *t) {
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        if (ends_with(t->name, small[i])) return true;
    return false;
}

nut_status method_by_name(const char *name, const method **out, nut_error *err) {
    char names[160] = "";
    if (!name || !*name) name = method_round.name;
    for (size_t i = 0; i < N_METHODS; i++)
        if (!strcmp(methods[i]->name, name)) return *out = methods[i], NUT_OK;
    for (size_t i = 0, n = 0; i < N_METHODS && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", methods[i]->name);
    return error_set(err, NUT_E_ARGUMENT, "there is no method \"%.20s\"; choose one of %s", name, names);
}

nut_status nut_compress_begin(const nut_compress_options *o, nut_job **out, nut_error *err) {
    const method *m;
    if (o->size || o->bpw > 0 || o->recipe || o->reads_output || o->statistics || o->mix || o->embedding)
        return recipe_begin(o, out, err);
    TRY(method_by_name(o->method, &m, err));
    return compress_begin(m, o, NULL, NULL, out, err);
}
