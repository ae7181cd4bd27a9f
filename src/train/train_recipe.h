/* What a recipe of training says (docs/training.md). */
#ifndef NUT_TRAIN_RECIPE_H
#define NUT_TRAIN_RECIPE_H

#include "nutshell_train.h"
#include "train/adamw.h"
#include "train/hint.h"
#include "train/loss.h"

typedef struct train_recipe {
    nut_train_files files;
    char learn[256]; // names of tensors
    char kind[16];   // of learning (learn.h)
    char type[8];    // of learned matrices in the output
    char divergence[32];
    char hint[16], hint_layers[256];
    char schedule[16];
    double steps, batch, window, seed, checkpoint, evaluate, held_out;
    double rate, final, warmup, beta1, beta2, epsilon, decay, clip;
    double weight, temperature, mixture, hint_weight;
    double on_policy;   // share of windows that the student writes
    double rank, alpha; // of an adapter; rank 0: weights are learned
} train_recipe;

/* Reads a JSON object. E_CORRUPT, E_ARGUMENT, with line and column. */
nut_status train_recipe_read(const char *text, size_t n, train_recipe *out, nut_error *err);

/* The kind of learning that it names, or rank implies. */
const learn_kind *train_recipe_kind(const train_recipe *r);

adamw_options train_recipe_adamw(const train_recipe *r);
/* But for what depends on the teacher. */
loss_options train_recipe_loss(const train_recipe *r);
/* `layers` lie in the recipe. */
hint_options train_recipe_hint(const train_recipe *r);

#endif
