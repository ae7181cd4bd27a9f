/* Where the f16 scales and minimums are in a file's block. Origin: ggml-common.h of llama.cpp. */
#ifndef NUT_TESTS_HALVES_H
#define NUT_TESTS_HALVES_H

#include "kernels/formats.h"

static const struct {
    format_id id;
    int n, at[2];
} halves_places[] = {
    {FORMAT_Q8_0, 1, {0, 0}}, {FORMAT_Q4_0, 1, {0, 0}}, {FORMAT_Q4_1, 2, {0, 2}}, {FORMAT_Q5_0, 1, {0, 0}},
    {FORMAT_Q5_1, 2, {0, 2}}, {FORMAT_Q4_K, 2, {0, 2}}, {FORMAT_Q5_K, 2, {0, 2}}, {FORMAT_Q6_K, 1, {208, 0}},
};

/* Byte offsets of the halves of a format's block to at (2); returns how many there are. */
static inline int halves_of(format_id id, int *at) {
    for (size_t i = 0; i < sizeof halves_places / sizeof *halves_places; i++)
        if (halves_places[i].id == id) {
            at[0] = halves_places[i].at[0], at[1] = halves_places[i].at[1];
            return halves_places[i].n;
        }
    return 0;
}

#endif
