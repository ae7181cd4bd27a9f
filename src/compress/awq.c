/* The search for AWQ's power: see awq.h. */
#include "compress/awq.h"

#include "base/error.h"
#include "base/mem.h"
#include "compress/gptq_blocks.h"

#include <math.h>

static const double powers = 20; // that are tried

/* Memory of a trial. */
typedef struct trial {
    float *weights;    // (n_sample, n_cols) with the columns' scales
    float *importance; // (n_cols)
    float *error;      // (n_sample, n_cols)
    double *loss;      // (n_sample)
} trial;

static void free_trial(trial *t) {
    mem_free(t->weights);
    mem_free(t->importance);
    mem_free(t->error);
    mem_free(t->loss);
}

static nut_status take_trial(const fold *f, trial *t, nut_error *err) {
    const size_t n = f->n_sample * f->n_cols;
    *t = (trial){.weights = mem_calloc(n, sizeof(float)),
                 .importance = mem_calloc(f->n_cols, sizeof(float)),
                 .error = mem_calloc(n, sizeof(float)),
                 .loss = mem_calloc(f->n_sample, sizeof(double))};
    return t->weights && t->importance && t->error && t->loss ? NUT_OK
                                                              : error_memory(err, n * sizeof(float));
}

/* What the sampled rows lose with the scales that the fold has. */
static double loss_of(dense *d, const type_row *type, const fold *f, const trial *t) {
    const gptq_blocks g = {.n_rows = f->n_sample,
                           .n_cols = f->n_cols,
                           .type = type,
                           .weights = t->weights,
                           .importance = t->importance};
    double sum = 0;
    for (size_t i = 0; i < f->n_sample * f->n_cols; i++)
        t->weights[i] = f->sample[i] / f->columns[i % f->n_cols];
    for (size_t c = 0; c < f->n_cols; c++)
        t->importance[c] = (float)f->input[c] * f->columns[c] * f->columns[c];
    gptq_blocks_round(d, &g, NULL, t->error, t->loss);
    for (size_t r = 0; r < f->n_sample; r++) sum += (double)f->felt[r] * t->loss[r];
    return sum;
}

nut_status awq_choose(dense *d, const type_row *type, fold *f, nut_error *err) {
    trial t;
    double best = INFINITY, power = 0;
    if (f->n_cols % format_table[type->id].block) type = type_with_codes(type->shorter);
    TRY(fold_scale(f, 0, 0, err));
    if (f->n_cols % format_table[type->id].block || !f->n_sample) return NUT_OK;
    nut_status status = take_trial(f, &t, err);
    for (double i = 0; i < powers && status == NUT_OK; i++) {
        status = fold_scale(f, 0, i / powers, err);
        const double loss = status == NUT_OK ? loss_of(d, type, f, &t) : INFINITY;
        if (loss < best) best = loss, power = i / powers;
    }
    free_trial(&t);
    return status == NUT_OK ? fold_scale(f, 0, power, err) : status;
}
