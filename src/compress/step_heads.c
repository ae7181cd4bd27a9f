/*
 * The step that takes heads out of attention: {"step": "heads", "share": 0.3}. Heads that share keys and
 * values go together with these, so that each key still serves as many queries; where all share one, heads
 * of queries go alone. Those go that the matrix behind them misses least once it is fitted to the others
 * (channels.h): the same share in each layer, or with "by_layer" where they cost least (shares.h).
 */
#include "compress/narrow.h"

#include <stddef.h>

static narrow_options options_of(const recipe_values *v) {
    return (narrow_options){.what = NARROW_HEADS,
                            .share = v->share,
                            .by_layer = v->by_layer,
                            .fisher = v->fisher,
                            .window = (uint32_t)v->window};
}

static nut_status check(const recipe_values *v, nut_error *err) {
    const narrow_options o = options_of(v);
    return narrow_check(&o, err);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    const narrow_options o = options_of(v);
    return narrow_begin(r, &o, out, err);
}

static const recipe_option options[] = {
    {"share", RECIPE_NUMBER, offsetof(recipe_values, share), 0.01, 0.99},
    {"by_layer", RECIPE_FLAG, offsetof(recipe_values, by_layer), 0, 0},
    {"fisher", RECIPE_FLAG, offsetof(recipe_values, fisher), 0, 0},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
};

const recipe_kind recipe_heads = {.name = "heads",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options,
                                  .gives = RECIPE_MODEL,
                                  .share = 40,
                                  .begin = begin,
                                  .check = check};
