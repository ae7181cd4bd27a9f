/* Where the f16 scales and minimums are in a file's block. Origin: ggml-common.h of llama.cpp. */
#ifndef NUT_TESTS_HALVES_H
#define NUT_TESTS_HALVES_H

#include "kernels/formats.h"

/* Byte offsets of the halves of a format's block to at (2); returns how many there are. */
static inline int halves_of(format_id id, int *at) {
    static const struct {
        format_id id;
        int n, at[2];
    } places[] = {
        {FORMAT_Q8_0, 1, {0, 0}}, {FORMAT_Q4_0, 1, {0, 0}},   {FORMAT_Q4_1, 2, {0, 2}},
        {FORMAT_Q5_0, 1, {0, 0}}, {FORMAT_Q5_1, 2, {0, 2}},   {FORMAT_Q4_K, 2, {0, 2}},
        {FORMAT_Q5_K, 2, {0, 2}}, {FORMAT_Q6_K, 1, {208, 0}},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (places[i].id == id) {
            at[0] = places[i].at[0], at[1] = places[i].at[1];
            return places[i].n;
        }
    return 0;
}

#endif
