/* Marks of files that are no models: llama.cpp's gguf-py (class GGUFType, and keys of older converters). */
#include "model/role.h"

#include "base/error.h"

#define ADAPTER   "a LoRA adapter, a change to a model; merge it into its model, and load that"
#define PROJECTOR "a projector (mmproj), which gives images or sound to a model; load the language model"
#define MATRIX    "an importance matrix (imatrix), statistics that quantizers use; load the model"
#define VECTOR    "a control vector, a change to a model; load the model"

static const struct {
    const char *key, *value; // value NULL: the key alone says it
    const char *what;
} marks[] = {
    {"general.type", "adapter", ADAPTER},
    {"general.type", "mmproj", PROJECTOR},
    {"general.type", "imatrix", MATRIX},
    {"adapter.type", NULL, ADAPTER},
    {"general.architecture", "clip", PROJECTOR},
    {"imatrix.chunk_count", NULL, MATRIX},
    {"general.architecture", "controlvector", VECTOR},
};

static bool has_mark(const gguf *g, const char *key, const char *value) {
    const gguf_kv *kv = gguf_find(g, key);
    gguf_str s;
    if (!kv || !value) return kv != NULL;
    return kv->type == GGUF_STRING && gguf_get_str(g, key, NULL, &s, NULL) == NUT_OK &&
           gguf_str_is(s, value);
}

nut_status role_check(const gguf *g, nut_error *err) {
    gguf_str arch;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (has_mark(g, marks[i].key, marks[i].value))
            return error_set(err, NUT_E_UNSUPPORTED, "this file is no model but %s", marks[i].what);
    TRY(gguf_get_str(g, "general.architecture", "", &arch, err));
    if (arch.n) return NUT_OK;
    return error_set(
        err, NUT_E_CORRUPT,
        "the file does not say the model's architecture (general.architecture), which no program "
        "can do without; convert the model again");
}
