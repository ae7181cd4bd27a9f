/*
 * The step that makes feed-forwards narrower: {"step": "channels", "share": 0.3}. In each layer the same
 * share of the channels goes, those that the matrix behind them misses least (channels.h), so that layers
 * stay alike and the file is an ordinary one of its family; "by_layer": each layer loses as many as cost
 * little there (shares.h); "heads": heads go with them, in one choice. The matrix behind the channels is
 * fitted to those that are left, and to what the layers before have lost, unless "alone" says otherwise.
 * "order": channels that are active together come together, and the most active ones first (activity.h);
 * without a share nothing else changes.
 */
#include "compress/narrow.h"

#include <stddef.h>

static narrow_options options_of(const recipe_values *v) {
    return (narrow_options){.what = NARROW_CHANNELS | (v->heads ? NARROW_HEADS : 0u),
                            .share = v->share,
                            .by_layer = v->by_layer,
                            .alone = v->alone,
                            .fisher = v->fisher,
                            .order = v->order,
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
    {"heads", RECIPE_FLAG, offsetof(recipe_values, heads), 0, 0},
    {"alone", RECIPE_FLAG, offsetof(recipe_values, alone), 0, 0},
    {"order", RECIPE_FLAG, offsetof(recipe_values, order), 0, 0},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
};

const recipe_kind recipe_channels = {.name = "channels",
                                     .options = options,
                                     .n_options = sizeof options / sizeof *options,
                                     .gives = RECIPE_MODEL,
                                     .share = 40,
                                     .begin = begin,
                                     .check = check};
