/* What a recipe of training says (docs/training.md). */
#ifndef NUT_TRAIN_RECIPE_H
#define NUT_TRAIN_RECIPE_H

#include "nutshell_train.h"
#include "train/adamw.h"
#include "train/loss.h"

typedef struct train_recipe {
    nut_train_files files;
    char learn[256]; // names of tensors
    char type[8];    // of learned matrices in the output: "f32" or "f16"
    char divergence[32];
    double steps, batch, window, seed, checkpoint, evaluate, held_out;
    double rate, final, warmup, beta1, beta2, epsilon, decay, clip;
    double weight, temperature, mixture;
    double rank, alpha; // of an adapter; rank 0: weights are learned
} train_recipe;

/* Reads a JSON object. E_CORRUPT, E_ARGUMENT, with line and column. */
nut_status train_recipe_read(const char *text, size_t n, train_recipe *out, nut_error *err);

adamw_options train_recipe_adamw(const train_recipe *r);
/* E_ARGUMENT where there is no divergence of its name. */
nut_status train_recipe_loss(const train_recipe *r, bool teacher, loss_options *out, nut_error *err);

#endif
