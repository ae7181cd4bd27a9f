/* Assertions of the unit tests. A program calls CHECK any number of times and ends with `return
 * check_report();`. A failed check is printed with its file and line and the test continues, so that one
 * run shows all failures. */
#ifndef NUT_TESTS_CHECK_H
#define NUT_TESTS_CHECK_H

#include <stdbool.h>
#include <stdio.h>

enum { CHECK_MAX_SHOWN = 40 }; // failures printed in full; the rest are only counted

static size_t check_n_passed, check_n_failed, check_n_skipped;

/* CHECK(condition, "format", ...): the text says what was expected and what was found. Returns whether it
 * holds. */
#define CHECK(cond, ...)                                                                                    \
    ((cond) ? (check_n_passed++, true)                                                                      \
            : (check_fail(__FILE__, __LINE__, #cond) ? (check_say(__VA_ARGS__), false) : false))

/* Counts a failure and prints its place; true if its text is to be printed too. */
static inline bool check_fail(const char *file, int line, const char *cond) {
    if (check_n_failed++ >= CHECK_MAX_SHOWN) return false;
    printf("%s:%d: failed: %s: ", file, line, cond);
    return true;
}

#define check_say(...) (printf(__VA_ARGS__), printf("\n"))

/* Reports that some checks are skipped, and why ("../shared/data is missing"). */
#define CHECK_SKIP(...) (check_n_skipped++, printf("skipped: "), check_say(__VA_ARGS__))

/* Prints the counts; exit status 1 on any failure, and if nothing ran and no skip was reported. */
static inline int check_report(void) {
    if (check_n_failed > CHECK_MAX_SHOWN) printf("%zu more failures\n", check_n_failed - CHECK_MAX_SHOWN);
    printf("%zu passed, %zu failed", check_n_passed, check_n_failed);
    if (check_n_skipped) printf(", %zu skipped", check_n_skipped);
    printf("\n");
    if (check_n_passed + check_n_failed + check_n_skipped == 0) printf("no check ran\n");
    return check_n_failed > 0 || check_n_passed + check_n_skipped == 0;
}

#endif
