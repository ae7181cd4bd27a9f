/* Every row of the table of families, one after another. */
#ifndef NUT_TESTS_FAMILIES_H
#define NUT_TESTS_FAMILIES_H

#include "check.h"
#include "make_family.h"

/* Calls fn for each family; returns how many there are. */
static inline size_t families_each(void (*fn)(const arch *a)) {
    size_t n = 0;
    for (const char *at = arch_names(), *end; *at; at = *end ? end + 2 : end, n++) {
        end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
        const arch *a = arch_find((gguf_str){at, (uint64_t)(end - at)});
        if (CHECK(a, "%.20s is in no row", at)) fn(a);
    }
    return n;
}

#endif
