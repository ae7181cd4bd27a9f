/* Cleared memory is zero wherever the allocator takes it from: blocks that were used and freed, new
 * memory, and both in one block. In WebAssembly new memory is not cleared again (base/mem.c). An arena
 * hands out what was planned and no more, each time that it is opened. */
#include "base/mem.h"
#include "check.h"
#include "counting_alloc.h"

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

/* Growing blocks, each after one that was used and freed: every second one reaches into new memory. */
static void check_growing(void) {
    for (size_t n = 1000; n < 40000000; n += n / 3) {
        mem_free(dirty_block(n));
        uint8_t *p = mem_calloc(n + n / 4, 1);
        if (!CHECK(p && is_clear(p, n + n / 4), "%zu bytes are not cleared", n + n / 4)) return;
        memset(p, 0x5a, n + n / 4);
        mem_free(p);
    }
}

/* New memory behind blocks that stay, with the allocator's own data on both sides. */
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

/* An item of an arena: aligned, cleared, and then filled with `mark`. */
static uint8_t *take(arena *a, size_t n, uint8_t mark) {
    uint8_t *p = arena_take(a, n, 1);
    CHECK(p && (uintptr_t)p % ARENA_ALIGN == 0 && is_clear(p, n), "%zu bytes at %p", n, (void *)p);
    if (p) memset(p, mark, n);
    return p;
}

static bool is_full(const uint8_t *p, size_t n, uint8_t mark) {
    while (n > 0 && p[n - 1] == mark) n--;
    return n == 0;
}

static void check_arena(void) {
    static const size_t sizes[] = {1, 64, 65, 4000, 0, 100000};
    enum { N = sizeof sizes / sizeof *sizes };
    arena a = {0};
    uint8_t *pieces[2 * N] = {0};
    counting_start(0);
    CHECK(!arena_take(&a, 1, 1), "bytes of an arena that is not open");
    for (size_t k = 0; k < 2 * N; k += N) { // planned, opened and filled, and then again
        for (size_t i = 0; i < N; i++) arena_add(&a, sizes[i], 1);
        CHECK(!arena_take(&a, 1, 1), "bytes that are planned and not there");
        CHECK(arena_open(&a) && arena_open(&a), "it opens; with nothing new it stays as it is");
        for (size_t i = 0; i < N; i++) pieces[k + i] = take(&a, sizes[i], (uint8_t)(k + i + 1));
        CHECK(!arena_take(&a, 1, 1), "more than was planned");
    }
    for (size_t i = 0; i < 2 * N; i++)
        CHECK(pieces[i] && is_full(pieces[i], sizes[i % N], (uint8_t)(i + 1)), "piece %zu changed", i);
    CHECK(counting.alive == 2, "%zu blocks", counting.alive);
    arena_close(&a);
    CHECK(counting.alive == 0 && a.size == 0, "%zu blocks are left", counting.alive);
    counting_stop();
    arena_add(&a, SIZE_MAX / 2, 3);
    CHECK(a.overflow && !arena_open(&a), "a plan that overflows");
    arena_close(&a);
}

int main(void) {
    check_arena();
    check_between();
    check_growing();
    check_sizes();
    return check_report();
}
