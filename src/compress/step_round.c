/* The step that writes a model in one type: {"step": "round", "type": "q4_0"}. */
#include "base/error.h"
#include "compress/method.h"
#include "compress/recipe.h"

#include <stddef.h>

/* Rounding, with statistics, a mix or both. */
static nut_status begin_round(recipe *r, const recipe_values *v, const nut_compress_options *o,
                              nut_job **out, nut_error *err) {
    char names[280];
    named_mix_names(names, sizeof names);
    r->round = (round_inputs){.statistics = r->options.statistics ? &r->imatrix : NULL,
                              .mix = *v->mix ? named_mix_find(v->mix) : NULL,
                              .types = &r->round_types};
    if (*v->mix && *v->type)
        return error_set(err, NUT_E_ARGUMENT, "give a type or a mix of types, not both");
    if (*v->mix && !r->round.mix)
        return error_set(err, NUT_E_ARGUMENT, "there is no mix \"%.20s\"; choose one of %s", v->mix, names);
    return compress_begin(r->round.mix ? &round_mix : &method_round, o,
                          r->round.statistics ? round_find : NULL, &r->round, out, err);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    const nut_compress_options o = {.type = *v->type ? v->type : NULL, .recipe = r->json};
    const method *m;
    TRY(method_by_name(v->method, &m, err));
    if (m == &method_round) return begin_round(r, v, &o, out, err);
    if (!r->options.statistics && !*v->mix) return compress_begin(m, &o, NULL, NULL, out, err);
    return error_set(err, NUT_E_ARGUMENT, "method \"%s\" %s; leave %s out", m->name,
                     *v->mix ? "writes no mixes" : "reads no statistics", *v->mix ? "it" : "them");
}

static const recipe_option options[] = {
    {"type", RECIPE_TEXT, offsetof(recipe_values, type), 0, 0},
    {"mix", RECIPE_TEXT, offsetof(recipe_values, mix), 0, 0},
    {"method", RECIPE_TEXT, offsetof(recipe_values, method), 0, 0},
};

const recipe_kind recipe_round = {.name = "round",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options,
                                  .gives = RECIPE_MODEL | RECIPE_LAST,
                                  .share = 10,
                                  .begin = begin};
