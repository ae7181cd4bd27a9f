/* Options of all steps of recipes: values that they cannot have are refused before anything runs, by the
 * option's name. */
#include "check.h"
#include "compress/recipe.h"

#include <stdio.h>
#include <string.h>

static const recipe_kind *const kinds[] = {
#define NUT_X(name) &recipe_##name,
    RECIPE_LIST(NUT_X)
#undef NUT_X
};

/* A recipe whose last step has one option; what the step needs is there. */
static void write_steps(char out[400], const recipe_kind *k, const char *option, const char *value) {
    snprintf(out, 400, "[%s{\"step\": \"%s\", \"%s\": %s}]",
             k->needs & RECIPE_STATISTICS ? "{\"step\": \"calibrate\"}, "
             : k->needs & RECIPE_MODEL    ? "{\"step\": \"round\", \"type\": \"q8_0\"}, "
                                          : "",
             k->name, option, value);
}

/* It is refused before anything runs, and the option is named, with the values that it can have. */
static void check_refused(const recipe_kind *k, const char *option, const char *value) {
    char steps[400];
    nut_job *job = NULL;
    nut_error err = {0};
    write_steps(steps, k, option, value);
    const nut_compress_options o = {.recipe = steps, .n_recipe = strlen(steps), .reads_output = true};
    CHECK(nut_compress_begin(&o, &job, &err) == NUT_E_ARGUMENT && !job && strstr(err.message, option) &&
              (strstr(err.message, "choose one of") || strstr(err.message, "takes") ||
               strstr(err.message, "\"2:4\"")),
          "%s: %s", steps, err.message);
    nut_job_free(job);
}

/* Every option of every step: a value of another kind, one beyond its range, a name that there is not. */
static void test_options(void) {
    size_t n = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t j = 0; j < kinds[i]->n_options; j++, n++) {
            const recipe_option *o = &kinds[i]->options[j];
            char beyond[40];
            check_refused(kinds[i], o->name, o->kind == RECIPE_FLAG ? "7" : "true");
            check_refused(kinds[i], o->name, "\"luck\"");
            snprintf(beyond, sizeof beyond, "%g", 2 * o->most + 1);
            if (o->kind == RECIPE_NUMBER) check_refused(kinds[i], o->name, beyond);
            if (o->kind == RECIPE_NUMBER) check_refused(kinds[i], o->name, "-1");
        }
    CHECK(n >= 30, "%zu options", n);
}

int main(void) {
    test_options();
    return check_report();
}
