/* Recipes while memory fails. */
#ifndef NUT_TESTS_CHANGED_FAULTS_H
#define NUT_TESTS_CHANGED_FAULTS_H

#include "changed.h"
#include "counting_alloc.h"

/* Runs a recipe on a file (n) again and again, each time with another allocation that fails, until none
 * does: nothing is left, and memory is what it says. Later allocations are tried less densely. */
static inline void change_while_memory_fails(const uint8_t *file, size_t n, const char *recipe,
                                             const char *text, size_t n_text) {
    bool failed = true;
    size_t k = 1;
    for (; failed && k < 3000; k += 1 + k / 6) {
        counting_start(k);
        changed c = change(file, n, recipe, text, n_text);
        failed = counting.n_failed > 0;
        CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
        CHECK(c.status == NUT_OK || c.status == NUT_E_MEMORY, "allocation %zu: %s", k, c.err.message);
        counting_stop();
        free(c.m.out);
    }
    CHECK(k > 30 && !failed, "%zu allocations", k);
}

#endif
