/*
 * How much the loss feels the outputs of a model's matrices: the diagonal of the Fisher information, as a
 * job. Labels are drawn from the model's own distribution, so no text is needed but as a context, and the
 * mean squared gradient of -log p(label) by an output row says what an error there costs: for small errors
 * dW the divergence of the distributions is 1/2 sum over rows of F_r dW_r H dW_r^T, H being the mean of x
 * x^T over inputs (Martens 2020, arXiv 1412.1193, section 5; Kunstner et al. 2019, arXiv 1905.12558, for why
 * labels are not the text's).
 *
 * Windows go through the model some at a time, forward with the layers' inputs kept, then backward. In
 * memory are a layer's weights or the vocabulary's, and those inputs.
 */
#ifndef NUT_TRAIN_FISHER_H
#define NUT_TRAIN_FISHER_H

#include "base/job.h"
#include "model/gguf.h"

typedef struct fisher_options {
    uint32_t n_windows; // at most; they are taken evenly from the text. 0: 10
    uint32_t window;    // tokens of each; 0: 512, or the model's context
    uint32_t n_threads; // 0: 1
    uint64_t seed;      // of the labels
    bool special;       // special tokens are recognized in the text
    const double *sums; // (n_sums) of fisher_sums, of a job like this one that has not come to its end: it
    size_t n_sums;      // goes on behind that group of windows. They are the caller's; NULL: none
} fisher_options;

/* The text must outlive the job. E_UNSUPPORTED, once the model is known, where its family has no gradients
 * here; E_ARGUMENT where the text is shorter than a window. */
nut_status fisher_begin(const fisher_options *options, const char *text, size_t n_text, nut_job **out,
                        nut_error *err);

/* Whether the model's headers were read: what is wrong afterwards is not the file's. */
bool fisher_has_model(const nut_job *job);

/* All that was summed up so far, (*n), where the last step has completed a group of windows; else NULL. */
const double *fisher_sums(const nut_job *job, size_t *n);

/* What a job that is done has found; it lives as long as the job. */
typedef struct fisher_vocab {
    size_t n;               // tokens of the vocabulary
    const double *variance; // (n) mean of p (1 - p): the F of the output's rows
    double embedded;        // mean squared gradient of a value of an embedding, as it stands in the file
    double entropy;         // mean of -log p(label): nats that the model is unsure of
} fisher_vocab;
fisher_vocab fisher_of_vocab(const nut_job *job);
/* F of the output rows of a matrix, (*n), by the name of its tensor, that of the file; NULL: it is none of a
 * layer. */
const double *fisher_of_rows(const nut_job *job, gguf_str tensor, size_t *n);

#endif
