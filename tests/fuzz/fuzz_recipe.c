/*
 * Recipes and saved plans of any bytes, while allocations fail: an error, or steps that are whole; a plan
 * whose matrices are found.
 */
#include "fuzz.h"

#include "base/mem.h"
#include "compress/recipe.h"

static void check_steps(const recipe_step *steps, size_t n) {
    unsigned given = 0;
    EXPECT(n > 0 && n <= RECIPE_STEPS, "%zu steps", n);
    for (size_t i = 0; i < n; i++) {
        EXPECT(steps[i].kind && !(steps[i].kind->needs & ~given), "step %zu", i);
        EXPECT(memchr(steps[i].values.type, 0, sizeof steps[i].values.type), "a type without an end");
        given |= steps[i].kind->gives;
    }
    EXPECT(given & RECIPE_MODEL, "no model");
}

static void check_recipe(const uint8_t *bytes, size_t n) {
    recipe_step steps[RECIPE_STEPS];
    nut_error err = {0};
    size_t n_steps;
    const nut_status status = recipe_read((const char *)bytes, n, steps, &n_steps, &err);
    fuzz_check_error(status, &err);
    if (status == NUT_OK) check_steps(steps, n_steps);
}

static void check_plan(const uint8_t *bytes, size_t n) {
    threads *team = NULL;
    coded_plan *p = NULL;
    nut_error err = {0};
    nut_status status = threads_new(1, &team, &err);
    if (status == NUT_OK) status = coded_plan_new(team, &p, &err);
    if (status == NUT_OK) status = coded_plan_load(p, bytes, n, 0, &err);
    fuzz_check_error(status, &err);
    coded_plan_free(p);
    threads_free(team);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_input in = {bytes, n};
    const uint8_t how = fuzz_u8(&in), fail_at = fuzz_u8(&in);
    counting_start(fail_at < 200 ? 0 : (size_t)(fail_at - 199));
    uint8_t *exact = fuzz_copy(in);
    if (how & 1)
        check_plan(exact, in.n);
    else
        check_recipe(exact, in.n);
    free(exact);
    fuzz_end();
    return 0;
}
