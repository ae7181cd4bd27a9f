/*
 * nutshell_compress.h: making models smaller and judging them, beside nutshell.h, whose rules and jobs it
 * shares. No browser module that runs models has it.
 */
#ifndef NUTSHELL_COMPRESS_H
#define NUTSHELL_COMPRESS_H

#include "nutshell.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- making models ---- */

typedef struct nut_compress_options {
    const char *method; // NULL: "round", to the nearest value that the type has
    const char *type;   // of the large matrices: "q8_0" and so on; of method "coded": "coded_4" to "coded_8"
    const char *mix;    // or one of llama.cpp's mixes of types: "Q4_K_M" and so on (docs/compression.md)
    const char *embedding; // the type of the token embeddings beside a type or a mix; NULL: as that says
    /* Or the bytes that the file is not to exceed (0: none): the recipe "auto" makes the best coded model,
     * with a text to calibrate with (n_text bytes, UTF-8, the caller's until the job is freed). */
    uint64_t size;
    const char *text;
    size_t n_text;
    uint32_t n_threads; // 0: 1
    bool fast;          // without gradients: in half the time, and a worse model
    bool portable;      // of a size, in types that llama.cpp runs
    double bpw;         // or the size as bits of the file for each weight of the model; 0: none
    const char *recipe; // or JSON that lists steps (docs/compression.md), n_recipe bytes; NULL: "auto"
    size_t n_recipe;
    const void *statistics; // n_statistics bytes of a file of nut_calibrate_begin or llama-imatrix, by which
    size_t n_statistics;    // `round` weighs columns; read before the call returns. NULL: none
    bool keeps_state;  // the caller keeps NUT_JOB_STATE beside the output, and drops it when the job is done
    bool reads_output; // the caller answers NUT_JOB_OUTPUT: what was written is read again and checked
} nut_compress_options;

/* A job that rewrites a GGUF model, of several files as one, with its matrices compressed. Norms, biases and
 * rows that do not fit the type's blocks stay as they are. Rounding to 4 bits leaves 8 to the output matrix.
 * Options are copied. Memory: about 1 MB and 20 bytes for each byte of the headers; of method "coded" twice
 * the largest matrix as floats more. */
nut_status nut_compress_begin(const nut_compress_options *options, nut_job **out, nut_error *err);

/* ---- models of other programs ---- */

typedef struct nut_import_options {
    const void *tokenizer; // (n_tokenizer) a file of llama2.c's tokenizer.py; the caller's until the job is
    size_t n_tokenizer;    // freed
    bool relu;             // the model is of family nutshell-relu (docs/format.md), else of llama
    float norm_shift;      // of that family: what is subtracted from norms in front of ReLU
    float gate_shift;      // and from gates
} nut_import_options;

/* A job that reads a checkpoint of llama2.c (export.py: versions 0, 1 and 2) and writes it as a GGUF model
 * in F32. Heads are rotated with a base of 10,000, and norms have an epsilon of 1e-5, as llama2.c has them.
 * E_CORRUPT where the file is cut off or none of llama2.c, or has another vocabulary than the tokenizer. */
nut_status nut_import_begin(const nut_import_options *options, nut_job **out, nut_error *err);

/* ---- statistics of a model's inputs ---- */

typedef struct nut_calibrate_options {
    uint32_t window;    // tokens that are run together from an empty cache; 0: 512, or the model's context
    uint32_t n_threads; // 0: 1
    bool special;       // special tokens are recognized in the text
    bool keeps_state;   // the caller answers NUT_JOB_STATE: a job that is interrupted goes on with it
} nut_calibrate_options;

/* A job that runs a text through the model that it reads, layer by layer and in floats, and writes
 * statistics of the inputs of its matrices as a GGUF file, an importance matrix as llama.cpp's quantizer
 * reads. A note says first how much memory it takes. The text must outlive the job. */
nut_status nut_calibrate_begin(const nut_calibrate_options *options, const char *text, size_t n_text,
                               nut_job **out, nut_error *err);

/* A text for calibration that is built in: prose, several languages, code; *n receives its bytes. */
const char *nut_calibrate_text(size_t *n);

/* ---- adapters that make up for rounding ---- */

typedef struct nut_correct_options {
    const nut_model
        *changed;     // what was made of the model that the job reads; the caller's until it is freed
    const char *text; // (n_text) to weigh errors by, the caller's likewise; NULL: the built-in one
    size_t n_text;
    uint32_t rank;      // of each matrix
    uint32_t columns;   // in the place of a rank, columns of each matrix that come back; 0: none
    uint32_t window;    // tokens that are run together; 0: 512, or the model's context
    uint32_t n_threads; // 0: 1
} nut_correct_options;

/* A job that reads a model and writes an adapter, a GGUF file as nut_model_add_adapter takes it and
 * llama.cpp too: with it a rounded form of the model is as near to the model as the rank allows, or has the
 * columns back whose rounding costs most. Columns must not have been scaled. E_ARGUMENT where the models do
 * not belong together. Memory: that of nut_calibrate_begin, and the adapter in floats. */
nut_status nut_correct_begin(const nut_correct_options *options, nut_job **out, nut_error *err);

typedef struct nut_attach_options {
    const void *adapter; // (n_adapter) a file of a LoRA adapter as llama.cpp has it; the caller's until the
    size_t n_adapter;    // job is freed
    float scale;         // of what it adds
} nut_attach_options;

/* A job that reads a model and writes it with an adapter beside its weights, which stay as they are: a file
 * that this engine alone runs (docs/format.md). E_ARGUMENT where the adapter was made for another model, or
 * belongs to tensors that take none. */
nut_status nut_attach_begin(const nut_attach_options *options, nut_job **out, nut_error *err);

/* ---- evaluating models ---- */

typedef struct nut_perplexity_result {
    double mean_nll; // nats per scored token
    double perplexity;
    uint64_t n_scored;
    uint32_t n_windows;
} nut_perplexity_result;

/* A job that computes the perplexity of ids, which are copied, in windows of `window` tokens, the second
 * half of each scored (llama.cpp's convention: tokens window/2+1 .. window-1, each predicted from all before
 * it in its window); max_windows 0: all. Progress counts tokens. The session needs n_ctx >= window, is used
 * by nothing else until the job is freed, and loses its tokens. */
nut_status nut_perplexity_begin(nut_session *session, const int32_t *ids, size_t n, uint32_t window,
                                uint32_t max_windows, nut_job **out, nut_error *err);

/* The result of a perplexity job that is done. E_STATE: the job is not done. */
nut_status nut_perplexity_get(const nut_job *job, nut_perplexity_result *out, nut_error *err);

/* A mean with its standard error. */
typedef struct nut_estimate {
    double value, error;
} nut_estimate;

/* A fraction of n trials, with Wilson's interval at 95 %. */
typedef struct nut_fraction {
    uint64_t n;
    double value, low, high;
} nut_fraction;

/* A model beside a reference, over the same tokens. */
typedef struct nut_comparison {
    nut_estimate reference_perplexity;
    nut_estimate kl; // Kullback-Leibler divergence from the reference's probabilities, nats a token
    double kl_median, kl_p90, kl_p99, kl_p999, kl_max;
    double kl_percentiles[101]; // what 0, 1, ... 100 % of the tokens do not exceed
    nut_fraction same_top;      // both find the same token likeliest
    nut_estimate flips;         // where they do not: how much less likely the model's choice is than the
                                // reference's, by the reference; a mean over all tokens
    nut_estimate rms_delta_p;   // root of the mean square change of the probability of the token that came
} nut_comparison;

typedef struct nut_evaluation {
    uint32_t n_windows;
    uint64_t n_scored; // tokens
    uint64_t n_bytes;  // of their text
    nut_estimate nll;  // nats a token
    nut_estimate perplexity;
    nut_estimate bits_per_byte;
    bool compared; // with a reference
    nut_comparison comparison;
} nut_evaluation;

typedef struct nut_evaluate_options {
    uint32_t window;        // tokens; 0: 512
    uint32_t max_windows;   // 0: all
    nut_session *reference; // of a model with the same vocabulary, to compare with; NULL: none
    bool stored;            // compare with stored logits, which are the file that the job reads
    bool store;             // write the model's logits for that
    bool store_short;       // of each token the 64 likeliest and the mass of the rest alone
    bool whole_windows; // score all tokens behind a window's first one, not those of its second half alone
} nut_evaluate_options;

/* A job that evaluates a session's model on a text: perplexity as nut_perplexity_begin counts it, and how
 * far the model is from a reference. Logits are stored as half floats, 2 bytes for each token of the
 * vocabulary and each scored token, or in short, 392 bytes for each scored token (docs/format.md). The text
 * must outlive the job; of the sessions, which need n_ctx >= window, the same is asked as there. */
nut_status nut_evaluate_begin(nut_session *session, const char *text, size_t n_text,
                              const nut_evaluate_options *options, nut_job **out, nut_error *err);
/* The result of an evaluation job that is done. E_STATE: the job is not done. */
nut_status nut_evaluate_get(const nut_job *job, nut_evaluation *out, nut_error *err);

/* Means over the scored tokens of one window; those of a reference are 0 where there is none. */
typedef struct nut_evaluation_window {
    double nll, reference_nll, kl; // nats a token
} nut_evaluation_window;
/* Window i of an evaluation job that is done. E_ARGUMENT: it has no such window. */
nut_status nut_evaluate_window(const nut_job *job, uint32_t i, nut_evaluation_window *out, nut_error *err);

typedef struct nut_task_result {
    nut_fraction accuracy; // of the items that were answered
    nut_estimate nll;      // of the right answers, nats an answer
    double chance;         // accuracy of guessing; 0 where any text could be the answer
    uint64_t n_left_out;   // items that are longer than the session's context
} nut_task_result;

/* A job that answers the items of a task by their likelihood: "hellaswag" (six lines an item, as llama.cpp
 * has them: a question, the number of the right answer from 0, four answers), "piqa" (a line of JSON an
 * item: goal, sol1, sol2, label), "lambada" (a line of JSON an item: text, whose last word is asked for).
 * text NULL: one of the skills that are built in (nut_task_skill). max_items 0: all. The text must
 * outlive the job; of the session the same is asked as for nut_evaluate_begin. */
nut_status nut_task_begin(nut_session *session, const char *task, const char *text, size_t n_text,
                          uint32_t max_items, nut_job **out, nut_error *err);
nut_status nut_task_get(const nut_job *job, nut_task_result *out, nut_error *err);
/* Of the items that the reference has right, those that the model has too: both jobs done, on one text. */
nut_status nut_task_kept(const nut_job *job, const nut_job *reference, nut_fraction *out, nut_error *err);
/* The name of skill i, questions that are built in (facts, words, code, ...); NULL behind the last. */
const char *nut_task_skill(size_t i);

/* Lets a model that was loaded with `reference` multiply as fast as the machine can, before it has sessions.
 * The last bits of its results then differ from machine to machine. Other models stay as they are. */
void nut_evaluate_fast(nut_model *model);

#ifdef __cplusplus
}
#endif

#endif
