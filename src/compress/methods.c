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

bool method_is_matrix(const gguf_tensor *t) {
    static const char end[] = "weight";
    const size_t n = sizeof end - 1;
    const bool weight = t->name.n >= n && !memcmp(t->name.s + t->name.n - n, end, n);
    return weight && t->n_dims == 2 && t->dims[1] > 1;
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
    if (o->size || o->bpw > 0 || o->recipe || o->reads_output) return recipe_begin(o, out, err);
    TRY(method_by_name(o->method, &m, err));
    return compress_begin(m, o, NULL, NULL, out, err);
}
