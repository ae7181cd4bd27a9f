/* The step that writes a model in one type: {"step": "round", "type": "q4_0"}. */
#include "base/error.h"
#include "compress/method.h"
#include "compress/recipe.h"

#include <stddef.h>

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    const nut_compress_options o = {.type = *v->type ? v->type : NULL, .recipe = r->json};
    const method *m;
    TRY(method_by_name(v->method, &m, err));
    if (!r->options.statistics) return compress_begin(m, &o, NULL, NULL, out, err);
    if (m->weighs) return compress_begin(m, &o, imatrix_find, &r->imatrix, out, err);
    return error_set(err, NUT_E_ARGUMENT, "method \"%s\" reads no statistics; leave them out", m->name);
}

static const recipe_option options[] = {
    {"type", RECIPE_TEXT, offsetof(recipe_values, type), 0, 0},
    {"method", RECIPE_TEXT, offsetof(recipe_values, method), 0, 0},
};

const recipe_kind recipe_round = {.name = "round",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options,
                                  .gives = RECIPE_MODEL | RECIPE_LAST,
                                  .share = 10,
                                  .begin = begin};
