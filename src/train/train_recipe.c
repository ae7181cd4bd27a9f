/* From JSON to a recipe, by a table of options. */
#include "train/train_recipe.h"

#include "base/error.h"
#include "base/json_read.h"

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
    TEXT("conversations", files.conversations),
    TEXT("output", files.output),
    TEXT("teacher", files.teacher),
    TEXT("logits", files.logits),
    TEXT("adapter", files.adapter),
    TEXT("log", files.log),
    TEXT("learn", learn),
    TEXT("kind", kind),
    TEXT("type", type),
    TEXT("divergence", divergence),
    TEXT("hint", hint),
    TEXT("hint_layers", hint_layers),
    TEXT("schedule", schedule),
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
    REAL(hint_weight, 0, 1000, 1),
    REAL(on_policy, 0, 1, 0),
    WHOLE(rank, 0, 1024, 0),
    REAL(alpha, 0, 1e5, 0),
};
enum { N_OPTIONS = sizeof options / sizeof *options };

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
    return json_read_error(j, NUT_E_ARGUMENT, err,
                           "there is no option \"%.30s\"; docs/training.md lists those that there are",
                           name);
}

const learn_kind *train_recipe_kind(const train_recipe *r) {
    return learn_kind_by_name(*r->kind ? r->kind : r->rank > 0 || *r->files.adapter ? "lora" : "full");
}

/* " full lora ..." */
#define NUT_X(name) " " #name
static const char kind_names[] = LEARN_LIST(NUT_X);
#undef NUT_X

static nut_status check_kind(const train_recipe *r, nut_error *err) {
    const learn_kind *k = train_recipe_kind(r);
    rounding any;
    if (!k)
        return error_set(err, NUT_E_ARGUMENT, "there is no kind \"%s\"; there are%s", r->kind, kind_names);
    if (*r->files.adapter && (k != &learn_lora || r->rank > 0 || r->alpha > 0))
        return error_set(err, NUT_E_ARGUMENT,
                         "an \"adapter\" says the kind, \"rank\" and \"alpha\": leave them out");
    if (k->ranked != (r->rank > 0 || *r->files.adapter))
        return error_set(err, NUT_E_ARGUMENT,
                         "the kinds lora, dora and qa_lora and a \"rank\" go together, such as 8");
    if (k == &learn_rounded || k == &learn_step) return rounding_find(r->type, FORMAT_MAX_BLOCK, &any, err);
    if (k == &learn_ternary && !strcmp(r->type, "tq1_0")) return NUT_OK;
    if (k == &learn_ternary && !strcmp(r->type, "tq2_0")) return NUT_OK;
    if (k == &learn_ternary && !strcmp(r->type, "step2")) return NUT_OK;
    if (k->block && (k == &learn_ternary || *r->type))
        return error_set(err, NUT_E_ARGUMENT,
                         k == &learn_ternary
                             ? "the \"type\" of ternary weights is tq1_0, tq2_0 or step2"
                             : "blocks keep the type that the model has; leave out \"type\"");
    if (!*r->type || !strcmp(r->type, "f32") || !strcmp(r->type, "f16")) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "\"type\" is f32 or f16, not \"%s\", but for kind \"rounded\"",
                     r->type);
}

static bool is_taught(const train_recipe *r) {
    return *r->files.teacher || *r->files.logits;
}

static nut_status check_hint(const train_recipe *r, nut_error *err) {
    const hint_kind *kind;
    if (*r->hint_layers && strcmp(r->hint, "hidden") != 0)
        return error_set(err, NUT_E_ARGUMENT, "\"hint_layers\" are those of \"hint\": \"hidden\"");
    return *r->hint ? hint_find(r->hint, &kind, err) : NUT_OK;
}

static nut_status check_teaching(const train_recipe *r, nut_error *err) {
    const divergence *kind;
    const schedule *any;
    if (*r->files.teacher && *r->files.logits)
        return error_set(err, NUT_E_ARGUMENT, "give one, a \"teacher\" or its stored \"logits\"");
    if (*r->divergence && !is_taught(r))
        return error_set(err, NUT_E_ARGUMENT,
                         "a divergence is one from a teacher: name \"teacher\" or \"logits\" too");
    if ((*r->hint || r->on_policy > 0) && !*r->files.teacher)
        return error_set(err, NUT_E_ARGUMENT,
                         "\"hint\" and \"on_policy\" need a teacher that runs: name \"teacher\" too");
    TRY(check_hint(r, err));
    TRY(divergence_find(*r->divergence ? r->divergence : "kl", &kind, err));
    if (kind->rewarded && !(r->on_policy > 0))
        return error_set(err, NUT_E_ARGUMENT,
                         "\"%s\" learns from what the student writes: give \"on_policy\", such as 0.5",
                         r->divergence);
    return schedule_find(*r->schedule ? r->schedule : "cosine", &any, err);
}

static nut_status check(const train_recipe *r, nut_error *err) {
    if (!*r->files.model || !*r->files.output || !*r->files.text == !*r->files.conversations)
        return error_set(
            err, NUT_E_ARGUMENT,
            "the recipe must name \"model\", \"output\", and one of \"text\" and \"conversations\", as "
            "in {\"model\": \"in.gguf\", \"text\": \"stories.txt\", \"output\": \"out.gguf\"}");
    TRY(check_kind(r, err));
    if (r->warmup >= r->steps && r->warmup > 20)
        return error_set(err, NUT_E_ARGUMENT, "\"warmup\" takes all of the %.0f steps; give fewer",
                         r->steps);
    return check_teaching(r, err);
}

nut_status train_recipe_read(const char *text, size_t n, train_recipe *out, nut_error *err) {
    train_recipe r = {.learn = "all"};
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
    const schedule *how = NULL;
    nut_error none; // the recipe was checked
    schedule_find(*r->schedule ? r->schedule : "cosine", &how, &none);
    return (adamw_options){.schedule = how,
                           .rate = r->rate,
                           .final = r->final,
                           .beta1 = r->beta1,
                           .beta2 = r->beta2,
                           .epsilon = r->epsilon,
                           .decay = r->decay,
                           .clip = r->clip,
                           .warmup = (uint32_t)(r->warmup < half ? r->warmup : half),
                           .steps = (uint32_t)r->steps};
}

loss_options train_recipe_loss(const train_recipe *r) {
    loss_options o = {.weight = r->weight, .temperature = r->temperature};
    nut_error none;
    if (!is_taught(r)) return o;
    divergence_find(*r->divergence ? r->divergence : "kl", &o.kind, &none);
    o.a = r->mixture >= 0 ? r->mixture : o.kind->usual;
    return o;
}

hint_options train_recipe_hint(const train_recipe *r) {
    hint_options o = {.weight = r->hint_weight, .layers = r->hint_layers, .seed = (uint64_t)r->seed};
    nut_error none;
    if (*r->hint) hint_find(r->hint, &o.kind, &none);
    return o;
}

nut_status nut_train_read(const char *recipe, size_t n_recipe, nut_train_files *out, nut_error *err) {
    train_recipe r;
    TRY(train_recipe_read(recipe, n_recipe, &r, err));
    *out = r.files;
    return NUT_OK;
}
