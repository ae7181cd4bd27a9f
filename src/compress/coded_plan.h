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
#include "kernels/dense.h"
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
                             // Matrices of a layer with the same address share a factor.
    double input_more; // is added to the diagonal of the mean Hessian: what the loss feels of the matrix by
                       // another way than its product
    const double *sensitivity; // (n_rows) F, copied; NULL: 1
    bool vocabulary;           // rows are tokens
} coded_facts;

nut_status coded_plan_add(coded_plan *p, const coded_facts *facts, nut_error *err);
/* The statistics of the matrices that were added are gone. */
void coded_plan_end_layer(coded_plan *p);

/* Weights of all matrices. */
uint64_t coded_plan_weights(const coded_plan *p);
/* Whether the tensor is in the plan. */
bool coded_plan_has(const coded_plan *p, gguf_str tensor);
/* Codes a matrix of the plan; its weights (n_rows, n_cols) are overwritten. */
nut_status coded_plan_code(const coded_plan *p, double lambda, gguf_str tensor, float *weights,
                           coded_data *out, nut_error *err);

/* What other quantizers need of a matrix. */
typedef struct coded_matrix {
    size_t n_rows, n_cols;
    const float *sensitivity; // (n_rows) F
    const float *spread;      // (n_cols) U_jj
    bool correlated;          // else there are no shares
} coded_matrix;

/* False where the tensor is not in the plan. */
bool coded_plan_find(const coded_plan *p, gguf_str tensor, coded_matrix *out);
/* Writes the shares (n_cols, n_cols) above the diagonal: factor_share, of a matrix of which there are some;
 * what lies in a file has been read (coded_plan_wants). */
void coded_plan_shares(const coded_plan *p, gguf_str tensor, float *shares);
/* What products of quantizers run on. */
dense *coded_plan_dense(const coded_plan *p);

/* ---- plans that lie in a file ---- */

/* Most of a plan is its factors, which a file can keep. What was added since the last call, as bytes to be
 * written there, (*n), freed with mem_free; the first `before` of them are the caller's. */
nut_status coded_plan_save(coded_plan *p, size_t before, uint8_t **bytes, size_t *n, nut_error *err);
/* Those behind the caller's stand at `at` of the file: the factors among them leave memory. */
void coded_plan_saved(coded_plan *p, uint64_t at);
/* Adds what was saved, and is in the file at `at`; the factors stay there. The bytes may be hostile:
 * E_CORRUPT. */
nut_status coded_plan_load(coded_plan *p, const uint8_t *bytes, size_t n, uint64_t at, nut_error *err);

/* The bytes of the file that coding this tensor needs, (*n) at *at, which go to *into before it is coded; *n
 * 0: none. The plan keeps one factor that was read. */
nut_status coded_plan_wants(coded_plan *p, gguf_str tensor, uint64_t *at, uint8_t **into, size_t *n,
                            nut_error *err);

#endif
