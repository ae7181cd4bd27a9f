/* Sorting: rows of every size and in every arrangement are sorted and complete, and a contradictory
 * comparison costs no more than n log n. */
#include "base/sort.h"
#include "base/rng.h"
#include "check.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 300 };

static int by_first(const void *a, const void *b) {
    return *(const uint8_t *)a - *(const uint8_t *)b;
}

static int always_less(const void *a, const void *b) {
    (void)a, (void)b;
    return -1;
}

typedef uint8_t value_of(size_t i, size_t n, rng *r);
static uint8_t any(size_t i, size_t n, rng *r) {
    return (void)i, (void)n, (uint8_t)rng_u64(r);
}
static uint8_t rising(size_t i, size_t n, rng *r) {
    return (void)r, (uint8_t)(i * 255 / n);
}
static uint8_t falling(size_t i, size_t n, rng *r) {
    return (void)r, (uint8_t)(255 - i * 255 / n);
}
static uint8_t few(size_t i, size_t n, rng *r) {
    return (void)i, (void)n, (uint8_t)(rng_u64(r) % 3);
}

/* A row is its value and, where it is longer, bytes that follow from the value, so that mixed rows are
 * found. */
static void fill_row(uint8_t *row, size_t size, uint8_t value) {
    for (size_t k = 0; k < size; k++) row[k] = (uint8_t)(value + 7 * k);
}

/* In memory of exactly its size, so that sanitizers detect an access out of bounds. */
static void check_rows(size_t n, size_t size, value_of *value, sort_compare *compare, rng *r) {
    uint8_t *rows = malloc(n ? n * size : 1), row[SORT_MAX_ROW];
    size_t before[256] = {0}, after[256] = {0}, torn = 0, wrong = 0, lost = 0;
    for (size_t i = 0; i < n; i++) {
        fill_row(rows + i * size, size, value(i, n, r));
        before[rows[i * size]]++;
    }
    sort_rows(rows, n, size, compare);
    for (size_t i = 0; i < n; i++) {
        fill_row(row, size, rows[i * size]);
        torn += memcmp(row, rows + i * size, size) != 0;
        wrong += compare == by_first && i && rows[i * size] < rows[(i - 1) * size];
        after[rows[i * size]]++;
    }
    for (size_t v = 0; v < 256; v++) lost += before[v] != after[v];
    CHECK(!torn && !wrong && !lost, "%zu rows of %zu bytes: %zu torn, %zu out of order, %zu lost", n, size,
          torn, wrong, lost);
    free(rows);
}

int main(void) {
    static value_of *const values[] = {any, rising, falling, few};
    rng r;
    rng_seed(&r, 1);
    for (size_t v = 0; v < 4; v++)
        for (size_t n = 0; n < MOST; n += n < 20 ? 1 : 31)
            for (size_t size = 1; size <= SORT_MAX_ROW; size += size < 14 ? 1 : 10) {
                check_rows(n, size, values[v], by_first, &r);
                check_rows(n, size, values[v], always_less, &r);
            }
    return check_report();
}
