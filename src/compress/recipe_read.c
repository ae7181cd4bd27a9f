/* From JSON to steps. */
#include "compress/recipe.h"

#include "base/error.h"
#include "base/json_read.h"

#include <stdio.h>
#include <string.h>

enum { MOST_TEXT = 32 };

static const recipe_kind *const kinds[] = {
#define NUT_X(name) &recipe_##name,
    RECIPE_LIST(NUT_X)
#undef NUT_X
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* ---- values ---- */

static nut_status read_text(json_read *j, const recipe_option *o, char *out, nut_error *err) {
    if (json_read_peek(j) == '"') return json_read_string(j, out, MOST_TEXT, err);
    return json_read_error(j, NUT_E_ARGUMENT, err, "option \"%s\" takes a text in quotes", o->name);
}

static nut_status read_number(json_read *j, const recipe_option *o, double *out, nut_error *err) {
    if (json_read_peek(j) != '0')
        return json_read_error(j, NUT_E_ARGUMENT, err, "option \"%s\" takes a number", o->name);
    TRY(json_read_number(j, out, err));
    if (*out >= o->least && *out <= o->most) return NUT_OK;
    return json_read_error(j, NUT_E_ARGUMENT, err, "option \"%s\" takes a number from %g to %g", o->name,
                           o->least, o->most);
}

/* "60MB", or bytes. */
static nut_status read_size(json_read *j, const recipe_option *o, double *out, nut_error *err) {
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}};
    char text[MOST_TEXT], unit[4] = "";
    if (json_read_peek(j) == '0') return read_number(j, o, out, err);
    TRY(read_text(j, o, text, err));
    const bool found = sscanf(text, "%lf%3s", out, unit) == 2;
    for (size_t i = 0; found && i < sizeof units / sizeof *units; i++)
        if (!strcmp(unit, units[i].name) && *out > 0 && *out * units[i].bytes <= o->most)
            return *out *= units[i].bytes, NUT_OK;
    return json_read_error(j, NUT_E_ARGUMENT, err, "option \"%s\" takes a size such as \"60MB\", not \"%s\"",
                           o->name, text);
}

static nut_status read_flag(json_read *j, const recipe_option *o, bool *out, nut_error *err) {
    const char c = json_read_peek(j);
    if (c == 't' || c == 'f') return json_read_flag(j, out, err);
    return json_read_error(j, NUT_E_ARGUMENT, err, "option \"%s\" takes true or false", o->name);
}

static nut_status read_value(json_read *j, const recipe_option *o, recipe_values *v, nut_error *err) {
    void *to = (char *)v + o->at;
    switch (o->kind) {
    case RECIPE_TEXT: return read_text(j, o, to, err);
    case RECIPE_NUMBER: return read_number(j, o, to, err);
    case RECIPE_SIZE: return read_size(j, o, to, err);
    case RECIPE_FLAG: break;
    }
    return read_flag(j, o, to, err);
}

/* ---- steps ---- */

static nut_status no_option(const json_read *j, const recipe_kind *k, const char *name, nut_error *err) {
    char names[160] = "";
    for (size_t i = 0, n = 0; i < k->n_options && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", k->options[i].name);
    return json_read_error(j, NUT_E_ARGUMENT, err, "step \"%s\" has no option \"%s\"; it has %s", k->name,
                           name, names);
}

static nut_status read_option(json_read *j, recipe_step *s, nut_error *err) {
    char name[MOST_TEXT];
    TRY(json_read_key(j, name, sizeof name, err));
    for (size_t i = 0; i < s->kind->n_options; i++)
        if (!strcmp(s->kind->options[i].name, name))
            return read_value(j, &s->kind->options[i], &s->values, err);
    return no_option(j, s->kind, name, err);
}

static nut_status find_kind(const json_read *j, const char *name, recipe_step *s, nut_error *err) {
    char names[160] = "";
    for (size_t i = 0, n = 0; i < N_KINDS; i++) {
        if (!strcmp(kinds[i]->name, name)) return s->kind = kinds[i], NUT_OK;
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", kinds[i]->name);
    }
    return json_read_error(j, NUT_E_ARGUMENT, err, "there is no step \"%s\"; there are %s", name, names);
}

/* "step" must be the first key of a step, since its value says which other keys there may be. */
static nut_status read_kind(json_read *j, recipe_step *s, nut_error *err) {
    char key[MOST_TEXT] = "", name[MOST_TEXT];
    bool more;
    TRY(json_read_open(j, '{', err));
    TRY(json_read_more(j, &more, err));
    if (more) TRY(json_read_key(j, key, sizeof key, err));
    if (strcmp(key, "step") != 0)
        return json_read_error(j, NUT_E_ARGUMENT, err,
                               "a step begins with its name, as in {\"step\": \"coded\"}");
    TRY(json_read_string(j, name, sizeof name, err));
    return find_kind(j, name, s, err);
}

/* What a step needs must come before it; statistics are those of the model that is written, and no
 * model comes behind the last one. */
static nut_status check_place(const json_read *j, const recipe_kind *k, unsigned given, nut_error *err) {
    const unsigned missing = k->needs & ~given;
    if (missing)
        return json_read_error(j, NUT_E_ARGUMENT, err,
                               missing & RECIPE_STATISTICS
                                   ? "step \"%s\" needs statistics; put {\"step\": \"calibrate\"} before it"
                                   : "step \"%s\" comes after the one that writes the model",
                               k->name);
    if (k->gives & RECIPE_MODEL && !(k->gives & RECIPE_LAST) && given & RECIPE_STATISTICS)
        return json_read_error(j, NUT_E_ARGUMENT, err,
                               "step \"%s\" changes the model; put it before {\"step\": \"calibrate\"}",
                               k->name);
    if (k->gives & given & RECIPE_STATISTICS || (k->gives & RECIPE_MODEL && given & RECIPE_LAST))
        return json_read_error(j, NUT_E_ARGUMENT, err,
                               "step \"%s\" comes a second time, or after one like it", k->name);
    return NUT_OK;
}

static nut_status read_step(json_read *j, recipe_step *s, unsigned *given, nut_error *err) {
    bool more;
    *s = (recipe_step){.values = {.gradients = true}};
    TRY(read_kind(j, s, err));
    TRY(check_place(j, s->kind, *given, err));
    *given |= s->kind->gives;
    for (;;) {
        TRY(json_read_more(j, &more, err));
        if (!more) return NUT_OK;
        TRY(read_option(j, s, err));
    }
}

nut_status recipe_read(const char *text, size_t n, recipe_step *steps, size_t *n_steps, nut_error *err) {
    json_read j;
    bool more;
    unsigned given = 0;
    *n_steps = 0;
    TRY(json_read_begin(&j, "the recipe", text, n, err));
    TRY(json_read_open(&j, '[', err));
    for (;;) {
        TRY(json_read_more(&j, &more, err));
        if (!more) break;
        if (*n_steps == RECIPE_STEPS)
            return json_read_error(&j, NUT_E_ARGUMENT, err, "there are more than %d steps", RECIPE_STEPS);
        TRY(read_step(&j, &steps[(*n_steps)++], &given, err));
    }
    TRY(json_read_end(&j, err));
    if (given & RECIPE_MODEL) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "the recipe writes no model; it needs a step such as \"coded\" or \"round\"");
}
