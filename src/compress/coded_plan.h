/*
 * What coded GPTQ (gptq.h) has to know of a model before it can write it in any size: for each input of
 * matrices a factor of its Hessian, for each matrix how much the loss feels its rows. Both are gathered
 * once; then one number, lambda, makes a model of any size of them.
 *
 * The step of weight (r, c) is lambda * U_cc / sqrt(F_r). In the vocabulary's table rows follow the tokens'
 * frequencies less than F says (its square root), and none below a hundredth of the mean: the text in which
 * they were counted is short, and rare tokens are where a short text misleads (measured: KL 0.051 with, 0.17
 * without).
 */
#ifndef NUT_COMPRESS_CODED_PLAN_H
#define NUT_COMPRESS_CODED_PLAN_H

#include "base/threads.h"
#include "compress/coded_write.h"
#include "evaluate/statistics.h"
#include "model/gguf.h"

typedef struct coded_plan coded_plan;

/* The team must outlive it. */
nut_status coded_plan_new(threads *team, coded_plan **out, nut_error *err);
void coded_plan_free(coded_plan *p); // NULL is allowed

/* What is known of a matrix. */
typedef struct coded_facts {
    gguf_str tensor; // its name, copied
    size_t n_rows, n_cols;
    const statistics *input; // with a Hessian, or NULL: each weight is rounded alone, all columns alike.
                             // Matrices one after another with the same address share a factor.
    double input_more; // is added to the diagonal of the mean Hessian: what the loss feels of the matrix by
                       // another way than its product
    const double *sensitivity; // (n_rows) F, copied; NULL: 1
    bool vocabulary;           // rows are tokens
} coded_facts;

nut_status coded_plan_add(coded_plan *p, const coded_facts *facts, nut_error *err);

/* Whether the tensor is in the plan. */
bool coded_plan_has(const coded_plan *p, gguf_str tensor);
/* Codes a matrix of the plan; its weights (n_rows, n_cols) are overwritten. */
nut_status coded_plan_code(const coded_plan *p, double lambda, gguf_str tensor, float *weights,
                           coded_data *out, nut_error *err);
/* Bytes that the plan holds. */
uint64_t coded_plan_bytes(const coded_plan *p);

#endif
