/* The step that writes a model in one type: {"step": "round", "type": "q4_0"}. */
#include "base/error.h"
#include "compress/method.h"
#include "compress/recipe.h"

#include <stddef.h>

/* Refuses a type, or what else goes with it, as the method does. */
static nut_status check_type(const method *m, const recipe_values *v, nut_error *err) {
    const nut_compress_options o = {.type = *v->type ? v->type : NULL};
    gguf_meta meta = {0};
    if (!m->begin) return NUT_OK;
    const nut_status status = m->begin(&o, NULL, &meta, err);
    gguf_meta_free(&meta);
    return status;
}

static nut_status check_round(const recipe_values *v, nut_error *err) {
    char names[280];
    const format *embedding;
    if (*v->embedding) TRY(round_embedding(v->embedding, &embedding, err));
    if (*v->mix && *v->type)
        return error_set(err, NUT_E_ARGUMENT, "give a type or a mix of types, not both");
    if (!*v->mix) return check_type(&method_round, v, err);
    if (named_mix_find(v->mix)) return NUT_OK;
    named_mix_names(names, sizeof names);
    return error_set(err, NUT_E_ARGUMENT, "there is no mix \"%.20s\"; choose one of %s", v->mix, names);
}

static nut_status check(const recipe_values *v, nut_error *err) {
    const method *m;
    TRY(method_by_name(v->method, &m, err));
    if (m == &method_round) return check_round(v, err);
    const char *why = *v->mix         ? "writes no mixes; leave the mix out"
                      : *v->embedding ? "writes one type; leave that of the embedding out"
                                      : NULL;
    if (why) return error_set(err, NUT_E_ARGUMENT, "method \"%s\" %s", m->name, why);
    return check_type(m, v, err);
}

/* Rounding, with statistics, a mix or both. */
static nut_status begin_round(recipe *r, const recipe_values *v, const nut_compress_options *o,
                              nut_job **out, nut_error *err) {
    r->round = (round_inputs){.statistics = r->options.statistics ? &r->imatrix : NULL,
                              .mix = *v->mix ? named_mix_find(v->mix) : NULL,
                              .types = &r->round_types};
    if (*v->embedding) TRY(round_embedding(v->embedding, &r->round.embedding, err));
    return compress_begin(r->round.mix ? &round_mix : &method_round, o,
                          r->round.statistics ? round_find : NULL, &r->round, out, err);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    const nut_compress_options o = {.type = *v->type ? v->type : NULL, .recipe = r->json};
    const method *m;
    TRY(method_by_name(v->method, &m, err));
    if (m == &method_round) return begin_round(r, v, &o, out, err);
    if (r->options.statistics)
        return error_set(err, NUT_E_ARGUMENT, "method \"%s\" reads no statistics; leave them out", m->name);
    return compress_begin(m, &o, NULL, NULL, out, err);
}

static const recipe_option options[] = {
    {"type", RECIPE_TEXT, offsetof(recipe_values, type), 0, 0},
    {"mix", RECIPE_TEXT, offsetof(recipe_values, mix), 0, 0},
    {"embedding", RECIPE_TEXT, offsetof(recipe_values, embedding), 0, 0},
    {"method", RECIPE_TEXT, offsetof(recipe_values, method), 0, 0},
};

const recipe_kind recipe_round = {.name = "round",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options,
                                  .gives = RECIPE_MODEL | RECIPE_LAST,
                                  .share = 10,
                                  .begin = begin,
                                  .check = check};
