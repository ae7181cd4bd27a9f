/* Assertions of the unit tests. A program calls CHECK any number of times and ends in `return
 * check_report();`. A failing check is printed with its place and the test goes on, so one run shows all
 * that is wrong. */
#ifndef NUT_TESTS_CHECK_H
#define NUT_TESTS_CHECK_H

#include <stdbool.h>
#include <stdio.h>

enum { CHECK_MAX_SHOWN = 40 }; // failures printed in full; the rest are only counted

static size_t check_n_passed, check_n_failed, check_n_skipped;

/* CHECK(condition, "format", ...): the text says what was expected and what came. True where it holds. */
#define CHECK(cond, ...)                                                                                    \
    ((cond) ? (check_n_passed++, true)                                                                      \
            : (check_fail(__FILE__, __LINE__, #cond) ? (check_say(__VA_ARGS__), false) : false))

/* Counts a failure and prints where; true while its text should be printed too. */
static inline bool check_fail(const char *file, int line, const char *cond) {
    if (check_n_failed++ >= CHECK_MAX_SHOWN) return false;
    printf("%s:%d: failed: %s: ", file, line, cond);
    return true;
}

#define check_say(...) (printf(__VA_ARGS__), printf("\n"))

/* Says that a part of the test cannot run here, and why ("../shared/data is missing"). */
#define CHECK_SKIP(...) (check_n_skipped++, printf("skipped: "), check_say(__VA_ARGS__))

/* Prints the counts; exit status: 1 on any failure, and when nothing ran and nothing was skipped aloud. */
static inline int check_report(void) {
    if (check_n_failed > CHECK_MAX_SHOWN) printf("%zu more failures\n", check_n_failed - CHECK_MAX_SHOWN);
    printf("%zu passed, %zu failed", check_n_passed, check_n_failed);
    if (check_n_skipped) printf(", %zu skipped", check_n_skipped);
    printf("\n");
    if (check_n_passed + check_n_failed + check_n_skipped == 0) printf("no check ran\n");
    return check_n_failed > 0 || check_n_passed + check_n_skipped == 0;
}

#endif
