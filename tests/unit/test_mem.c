/* Memory that is said to be cleared is clear, wherever the allocator takes it from: blocks that were written
 * to and freed before, new memory, and both in one block. In WebAssembly new memory is not cleared again
 * (base/mem.c). */
#include "base/mem.h"
#include "check.h"

#include <string.h>

static bool is_clear(const uint8_t *p, size_t n) {
    while (n > 0 && p[n - 1] == 0) n--;
    return n == 0;
}

static uint8_t *dirty_block(size_t n) {
    uint8_t *p = mem_alloc(n);
    if (p) memset(p, 0xa5, n);
    return p;
}

/* Blocks that grow, each after one that was written to and freed: every other one reaches into new memory.
 */
static void check_growing(void) {
    for (size_t n = 1000; n < 40000000; n += n / 3) {
        mem_free(dirty_block(n));
        uint8_t *p = mem_calloc(n + n / 4, 1);
        if (!CHECK(p && is_clear(p, n + n / 4), "%zu bytes are not cleared", n + n / 4)) return;
        memset(p, 0x5a, n + n / 4);
        mem_free(p);
    }
}

/* New memory behind blocks that stay, so that the allocator's notes lie on both sides. */
static void check_between(void) {
    enum { N = 40 };
    uint8_t *kept[N], *cleared[N];
    for (size_t i = 0; i < N; i++) {
        const size_t n = 10000 + 16001 * i;
        kept[i] = dirty_block(7 * i + 1);
        cleared[i] = mem_calloc(n, 3);
        CHECK(cleared[i] && is_clear(cleared[i], 3 * n), "block %zu is not cleared", i);
        if (cleared[i]) memset(cleared[i], 0xff, 3 * n);
    }
    for (size_t i = 0; i < N; i++) {
        CHECK(kept[i] && kept[i][0] == 0xa5 && kept[i][7 * i] == 0xa5, "block %zu was written to", i);
        mem_free(kept[i]);
        mem_free(cleared[i]);
    }
}

static void check_sizes(void) {
    CHECK(!mem_calloc(SIZE_MAX / 2, 3), "a size that overflows was given memory");
    CHECK(!mem_calloc(SIZE_MAX - 8, 1), "more than there is was given");
    uint8_t *p = mem_calloc(0, 8);
    CHECK(p, "no block of no bytes");
    mem_free(p);
}

int main(void) {
    check_between();
    check_growing();
    check_sizes();
    return check_report();
}
