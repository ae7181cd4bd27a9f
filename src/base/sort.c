/* Bottom-up heapsort (Wegener 1993): the empty place moves down to a leaf at one comparison a level, and the
 * row that fills it moves up from there, which is seldom far. */
#include "base/sort.h"

#include <stdint.h>
#include <string.h>

typedef struct heap {
    uint8_t *rows;
    size_t size;
    sort_compare *compare;
} heap;

static uint8_t *row(const heap *h, size_t i) {
    return h->rows + i * h->size;
}

static void move(const heap *h, size_t to, size_t from) {
    memcpy(row(h, to), row(h, from), h->size);
}

/* Puts a row into the heap of n rows at the empty place i, whose children are heaps. The row that sorts last
 * is at the top. */
static void put(const heap *h, size_t n, size_t i, const uint8_t *new) {
    const size_t top = i;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && h->compare(row(h, child), row(h, child + 1)) < 0) child++;
        move(h, i, child);
    }
    for (size_t up; i > top && h->compare(row(h, up = (i - 1) / 2), new) < 0; i = up) move(h, i, up);
    memcpy(row(h, i), new, h->size);
}

void sort_rows(void *rows, size_t n, size_t size, sort_compare *compare) {
    const heap h = {rows, size, compare};
    uint8_t held[SORT_MAX_ROW];
    for (size_t i = n / 2; i-- > 0;) {
        memcpy(held, row(&h, i), size);
        put(&h, n, i, held);
    }
    for (size_t end = n; end-- > 1;) {
        memcpy(held, row(&h, end), size);
        move(&h, end, 0);
        put(&h, end, 0, held);
    }
}
