/* nutshell quantize and nutshell compress. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define IMATRIX_HELP                                                                                        \
    "statistics of inputs, a file of nutshell calibrate or llama-imatrix: columns count by them in "        \
    "rounding"

/* *bytes is to be freed once the job has begun. */
static nut_status read_statistics(nut_compress_options *o, const char *path, char **bytes, nut_error *err) {
    if (path) TRY(file_read_text(path, bytes, &o->n_statistics, err));
    o->statistics = *bytes;
    return NUT_OK;
}

nut_status command_quantize(int argc, char **argv, nut_error *err) {
    nut_compress_options o = {0};
    const char *stats_path = NULL;
    char *stats = NULL;
    const arg_option options[] = {
        {"--type", ARG_TEXT, &o.type,
         "q8_0, q4_k, iq4_xs and so on (docs/compression.md); coded_4, coded_5, coded_6 or coded_8"},
        {"--mix", ARG_TEXT, &o.mix, "or llama.cpp's mix of types: Q4_K_M, Q3_K_S, IQ2_M and so on"},
        {"--embedding", ARG_TEXT, &o.embedding, "the type of the token embeddings, where it is another"},
        {"--method", ARG_TEXT, &o.method,
         "how weights are encoded (round: to the nearest value; coded: behind an entropy coder; "
         "hqq: minimums of least error, without statistics)"},
        {"--imatrix", ARG_TEXT, &stats_path, IMATRIX_HELP},
    };
    const char *p[2];
    arg_set set = {"quantize", "IN.gguf OUT.gguf --type TYPE", options, sizeof options / sizeof *options, p,
                   2};
    nut_job *job = NULL;
    TRY(args_parse(&set, argc, argv, err));
    o.reads_output = true;
    nut_status status = read_statistics(&o, stats_path, &stats, err);
    if (status == NUT_OK) status = nut_compress_begin(&o, &job, err);
    free(stats);
    if (status == NUT_OK) status = job_run(job, p[0], p[1], err);
    nut_job_free(job);
    return status;
}

/* ---- compress ---- */

/* What the options say; *text and *recipe are to be freed. */
static nut_status compress_files(nut_compress_options *o, const char *text_path, const char *recipe_path,
                                 char **text, char **recipe, nut_error *err) {
    if (text_path) TRY(file_read_text(text_path, text, &o->n_text, err));
    if (recipe_path && strcmp(recipe_path, "auto") != 0)
        TRY(file_read_text(recipe_path, recipe, &o->n_recipe, err));
    o->text = *text;
    o->recipe = *recipe;
    if (o->recipe || o->size || o->bpw > 0) return NUT_OK;
    return cli_error(err, NUT_E_ARGUMENT,
                     "say how large the file may be: --size 60MB, or --bpw 3.5 bits a weight");
}

nut_status command_compress(int argc, char **argv, nut_error *err) {
    nut_compress_options o = {.keeps_state = true, .reads_output = true};
    const char *size = NULL, *text_path = NULL, *recipe_path = NULL, *stats_path = NULL, *p[2];
    char *text = NULL, *recipe = NULL, *stats = NULL;
    float bpw = 0;
    const arg_option options[] = {
        {"--size", ARG_TEXT, &size, "bytes that the file may have, such as 60MB"},
        {"--bpw", ARG_F32, &bpw, "or bits of the file for each weight of the model, such as 3.5"},
        {"--recipe", ARG_TEXT, &recipe_path, "a file that lists steps (docs/compression.md), or auto"},
        {"--text", ARG_TEXT, &text_path,
         "a text like those that the model is for, to calibrate with (one is built in)"},
        {"--threads", ARG_U32, &o.n_threads, "threads (1)"},
        {"--fast", ARG_FLAG, &o.fast, "without gradients: sooner, and a worse model"},
        {"--portable", ARG_FLAG, &o.portable,
         "in types that llama.cpp runs: a larger file for the same quality"},
        {"--imatrix", ARG_TEXT, &stats_path, IMATRIX_HELP},
    };
    arg_set set = {"compress", "IN.gguf OUT.gguf --size SIZE", options, sizeof options / sizeof *options, p,
                   2};
    nut_job *job = NULL;
    TRY(args_parse(&set, argc, argv, err));
    if (size) TRY(args_size(size, &o.size, err));
    if (!(bpw >= 0 && bpw <= 32))
        return cli_error(err, NUT_E_ARGUMENT, "--bpw takes 0.1 to 32 bits a weight");
    o.bpw = (double)bpw;
    nut_status status = compress_files(&o, text_path, recipe_path, &text, &recipe, err);
    if (status == NUT_OK) status = read_statistics(&o, stats_path, &stats, err);
    if (status == NUT_OK) status = nut_compress_begin(&o, &job, err);
    free(stats);
    if (status == NUT_OK) status = job_run_kept(job, p[0], p[1], err);
    nut_job_free(job);
    free(text);
    free(recipe);
    return status;
}
