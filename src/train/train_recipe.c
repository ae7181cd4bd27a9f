/* From JSON to a recipe, by a table of options. */
#include "train/train_recipe.h"

#include "base/error.h"
#include "base/json_read.h"

#include <stdio.h>
#include <string.h>

typedef struct option {
    const char *name;
    size_t at, cap;            // in train_recipe; cap: of a text, 0 for a number
    double least, most, usual; // of a number
    bool whole;
} option;

#define TEXT(name, member)                                                                                  \
    {name, offsetof(train_recipe, member), sizeof(((train_recipe *)0)->member), 0, 0, 0, false}
#define REAL(member, least, most, usual)                                                                    \
    {#member, offsetof(train_recipe, member), 0, least, most, usual, false}
#define WHOLE(member, least, most, usual)                                                                   \
    {#member, offsetof(train_recipe, member), 0, least, most, usual, true}

static const option options[] = {
    TEXT("model", files.model),
    TEXT("text", files.text),
    TEXT("output", files.output),
    TEXT("teacher", files.teacher),
    TEXT("log", files.log),
    TEXT("learn", learn),
    TEXT("type", type),
    TEXT("divergence", divergence),
    WHOLE(steps, 1, 1e6, 1000),
    WHOLE(batch, 1, 4096, 8),
    WHOLE(window, 8, 4096, 0),
    WHOLE(seed, 0, 1e15, 1),
    WHOLE(checkpoint, 1, 1e6, 100),
    WHOLE(evaluate, 1, 1e6, 100),
    REAL(held_out, 0, 0.5, 0.05),
    REAL(rate, 0, 1e30, 3e-4),
    REAL(final, 0, 1, 0.1),
    WHOLE(warmup, 0, 1e6, 20),
    REAL(beta1, 0, 0.9999, 0.9),
    REAL(beta2, 0, 0.99999, 0.999),
    REAL(epsilon, 1e-12, 1, 1e-8),
    REAL(decay, 0, 10, 0.01),
    REAL(clip, 0, 1e6, 1),
    REAL(weight, 0, 1, 0.5),
    REAL(temperature, 0.1, 100, 1),
    REAL(mixture, 0, 0.99, -1),
    WHOLE(rank, 0, 1024, 0),
    REAL(alpha, 0, 1e5, 0),
};
enum { N_OPTIONS = sizeof options / sizeof *options };

static nut_status no_option(const json_read *j, const char *name, nut_error *err) {
    char names[320] = "";
    for (size_t i = 0, n = 0; i < N_OPTIONS && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", options[i].name);
    return json_read_error(j, NUT_E_ARGUMENT, err, "there is no option \"%.30s\"; there are %s", name,
                           names);
}

static nut_status read_number(json_read *j, const option *o, double *out, nut_error *err) {
    if (json_read_peek(j) == '0')
        TRY(json_read_number(j, out, err));
    else
        return json_read_error(j, NUT_E_ARGUMENT, err, "option \"%s\" takes a number", o->name);
    if (*out >= o->least && *out <= o->most && (!o->whole || *out == (double)(uint64_t)*out)) return NUT_OK;
    return json_read_error(j, NUT_E_ARGUMENT, err, "option \"%s\" takes a %snumber from %g to %g", o->name,
                           o->whole ? "whole " : "", o->least, o->most);
}

static nut_status read_option(json_read *j, train_recipe *r, nut_error *err) {
    char name[32];
    TRY(json_read_key(j, name, sizeof name, err));
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const option *o = &options[i];
        void *to = (char *)r + o->at;
        if (strcmp(o->name, name) != 0) continue;
        if (!o->cap) return read_number(j, o, to, err);
        if (json_read_peek(j) == '"') return json_read_string(j, to, o->cap, err);
        return json_read_error(j, NUT_E_ARGUMENT, err, "option \"%s\" takes a text in quotes", o->name);
    }
    return no_option(j, name, err);
}

static nut_status check(const train_recipe *r, nut_error *err) {
    const divergence *kind;
    if (!*r->files.model || !*r->files.text || !*r->files.output)
        return error_set(err, NUT_E_ARGUMENT,
                         "the recipe must name \"model\", \"text\" and \"output\", as in {\"model\": "
                         "\"in.gguf\", \"text\": \"stories.txt\", \"output\": \"out.gguf\"}");
    if (strcmp(r->type, "f32") != 0 && strcmp(r->type, "f16") != 0)
        return error_set(err, NUT_E_ARGUMENT, "\"type\" is f32 or f16, not \"%s\"", r->type);
    if (r->warmup >= r->steps && r->warmup > 20)
        return error_set(err, NUT_E_ARGUMENT, "\"warmup\" takes all of the %.0f steps; give fewer",
                         r->steps);
    if (*r->divergence && !*r->files.teacher)
        return error_set(err, NUT_E_ARGUMENT, "a divergence is one from a teacher: name \"teacher\" too");
    return divergence_find(*r->divergence ? r->divergence : "kl", &kind, err);
}

nut_status train_recipe_read(const char *text, size_t n, train_recipe *out, nut_error *err) {
    train_recipe r = {.learn = "all", .type = "f32"};
    json_read j;
    bool more;
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (!options[i].cap) memcpy((char *)&r + options[i].at, &options[i].usual, sizeof(double));
    TRY(json_read_begin(&j, "the recipe", text, n, err));
    TRY(json_read_open(&j, '{', err));
    for (;;) {
        TRY(json_read_more(&j, &more, err));
        if (!more) break;
        TRY(read_option(&j, &r, err));
    }
    TRY(json_read_end(&j, err));
    TRY(check(&r, err));
    *out = r;
    return NUT_OK;
}

adamw_options train_recipe_adamw(const train_recipe *r) {
    const double half = r->steps / 2;
    return (adamw_options){.rate = r->rate,
                           .final = r->final,
                           .beta1 = r->beta1,
                           .beta2 = r->beta2,
                           .epsilon = r->epsilon,
                           .decay = r->decay,
                           .clip = r->clip,
                           .warmup = (uint32_t)(r->warmup < half ? r->warmup : half),
                           .steps = (uint32_t)r->steps};
}

nut_status train_recipe_loss(const train_recipe *r, bool teacher, loss_options *out, nut_error *err) {
    *out = (loss_options){.weight = r->weight, .temperature = r->temperature};
    if (!teacher) return NUT_OK;
    TRY(divergence_find(*r->divergence ? r->divergence : "kl", &out->kind, err));
    out->a = r->mixture >= 0 ? r->mixture : out->kind->usual;
    return NUT_OK;
}

nut_status nut_train_read(const char *recipe, size_t n_recipe, nut_train_files *out, nut_error *err) {
    train_recipe r;
    TRY(train_recipe_read(recipe, n_recipe, &r, err));
    *out = r.files;
    return NUT_OK;
}
