/*
 * Recipes: lists of steps that make a model. A recipe is a job of jobs: each step begins a job of its own,
 * and what a step finds out is kept here for those behind it. "auto" is such a list too.
 *
 *     recipe_read.c      a JSON text to steps
 *     recipe.c           one step after the other; what is kept between runs
 *     step_NAME.c        the kinds of steps
 *
 * A step that changes a model writes one as all do. Where a step behind it writes one too, the first is held
 * in memory (held.h), and the steps behind read it as if it were the source.
 *
 * To add a kind: a file step_NAME.c with recipe_NAME, a line of RECIPE_LIST, and one of docs/compression.md.
 */
#ifndef NUT_COMPRESS_RECIPE_H
#define NUT_COMPRESS_RECIPE_H

#include "compress/coded_plan.h"
#include "base/state.h"
#include "compress/held.h"
#include "compress/round.h"
#include "evaluate/model_key.h"

// clang-format off
#define RECIPE_LIST(X) \
    X(calibrate)       \
    X(channels)        \
    X(coded)           \
    X(experts)         \
    X(heads)           \
    X(layers)          \
    X(low_rank)        \
    X(prune)           \
    X(rotate)          \
    X(round)           \
    X(gptq)            \
    X(vocabulary)      \
    X(width)           \
    X(evaluate)
// clang-format on

/* Values of options, of all kinds of steps. */
typedef struct recipe_values {
    char type[32], mix[32], embedding[32], method[32], metric[32], pattern[32], scales[32];
    double size, bpw, share, remove, tokens, keep, alpha; // 0: not given
    double windows, window;
    bool fisher, gradients, special, alone, learned, by_layer, heads, merge, order, own, permute, refit,
        residual, revise;
} recipe_values;

typedef enum recipe_value { RECIPE_TEXT, RECIPE_NUMBER, RECIPE_SIZE, RECIPE_FLAG } recipe_value;

typedef struct recipe_option {
    const char *name;
    recipe_value kind;
    size_t at;          // in recipe_values
    double least, most; // of a number
} recipe_option;

/* What steps need of those before them, and give to those behind. Behind LAST no step writes a model. */
enum { RECIPE_STATISTICS = 1, RECIPE_MODEL = 2, RECIPE_LAST = 4 };

typedef struct recipe recipe;

typedef struct recipe_kind {
    const char *name;
    const recipe_option *options; // (n_options)
    size_t n_options;
    unsigned needs, gives;
    bool sized;     // the file's size is this step's, unless it is told a type
    unsigned share; // of the time, beside other kinds
    nut_status (*begin)(recipe *r, const recipe_values *v, nut_job **out, nut_error *err);
    /* Refuses values before the first step runs: names the option, and what it can be. NULL: all are good.
     */
    nut_status (*check)(const recipe_values *v, nut_error *err);
} recipe_kind;

#define NUT_X(name) extern const recipe_kind recipe_##name;
RECIPE_LIST(NUT_X)
#undef NUT_X

enum { RECIPE_STEPS = 8 };

typedef struct recipe_step {
    const recipe_kind *kind;
    recipe_values values;
} recipe_step;

/* Kinds of records of the state. */
enum { RECIPE_FISHER = 1, RECIPE_LAYER, RECIPE_RESIDUAL, RECIPE_TRIAL, RECIPE_LOSSES };

struct recipe {
    nut_job job;
    nut_status (*phase)(recipe *r, nut_error *err); // what the next step of the job does
    nut_compress_options options;
    char *json;      // the recipe as it was given
    imatrix imatrix; // options.statistics
    round_inputs round;
    const format **round_types;
    recipe_step steps[RECIPE_STEPS];
    size_t n_steps, at;
    nut_job *part; // the step that runs
    held model;    // what the steps before have written, where there is some
    held next;     // what the step that runs writes, where another one behind it writes too
    threads *team;
    size_t n_held; // bytes behind the options' text that only evaluate reads
    // of the source
    model_key key;      // and its source, while it is identified
    uint64_t n_weights; // of the whole model
    uint32_t n_layer;
    state state;
    // what steps have found
    coded_plan *plan;  // NULL once nothing needs it
    uint64_t n_tokens; // of calibration
    bool gradients;    // were measured
    bool checked;      // the output was read again
    char note[400];
};

/* Fills steps from a JSON text: a list of objects, each with "step", the name of its kind, and options.
 * Errors have line and column, and name what there is. E_ARGUMENT, E_CORRUPT. */
nut_status recipe_read(const char *text, size_t n, recipe_step *steps, size_t *n_steps, nut_error *err);

/* Begins a job that reads what was written, and loads it layer by layer. */
nut_status check_begin(nut_job **out, nut_error *err);

/* nut_compress_begin's for options with a recipe or a size, or whose output is to be checked. The options
 * are checked, and copied but for the text. */
nut_status recipe_begin(const nut_compress_options *options, nut_job **out, nut_error *err);

#endif
