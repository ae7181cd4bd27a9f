/*
 * Which set of kernels multiplies. Machines differ in what an instruction of WebAssembly costs: the relaxed
 * dot is one instruction where the processor has AVX-VNNI or ARM's sdot, and about five elsewhere. So the
 * sets that compute rightly here race on a few rows of the model's own matrices, and the fastest is taken,
 * for each layout, for few tokens and for many. All sets give the same bits: no result depends on a race.
 */
#ifndef NUT_RUN_RACE_H
#define NUT_RUN_RACE_H

#include "model/model.h"

/* Chooses m->products by a race and keeps its figures there. The weights are there. A model that is too
 * small for it to matter keeps the first set of the list, and so does one for which there is no memory or no
 * clock that is fine enough. Takes from 3.5 ms for each set, layout and number of tokens.
 *
 * races: earlier choices, "LAYOUT TOKENS KERNEL;" each, as nut_load_options has them, or NULL. Where each
 * race has one, a brief race of 1 ms instead of 3.5 ms is enough as long as it agrees with all of them. */
void race_products(nut_model *m, const char *races);

/* Which of n_sets is taken, by their rates (0: did not race) in the order of the list: `first`, unless
 * another one is faster by more than a tenth than the choice so far. So noise does not change a choice
 * between equals. */
size_t race_choose(const float *rates, size_t n_sets, size_t first);

/* The set that earlier races chose for a layout; KERNEL_MOST_SETS where they did not, or where it is not in
 * this build. */
size_t race_kept(const char *races, kernel_width width, const layout *l);

#endif
