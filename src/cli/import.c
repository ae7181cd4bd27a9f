/* nutshell import. */
#include "cli/cli.h"

#include <stdlib.h>

nut_status command_import(int argc, char **argv, nut_error *err) {
    nut_import_options o = {.norm_shift = 1, .gate_shift = 0.25f};
    const arg_option options[] = {
        {"--relu", ARG_FLAG, &o.relu,
         "the model was trained with ReLU behind its norms and gates: of family nutshell-relu"},
        {"--norm-shift", ARG_F32, &o.norm_shift, "with --relu: what its norms lose before (1)"},
        {"--gate-shift", ARG_F32, &o.gate_shift, "with --relu: what its gates lose before (0.25)"},
    };
    const char *p[3];
    arg_set set = {"import", "CHECKPOINT.bin TOKENIZER.bin OUT.gguf", options, 3, p, 3};
    nut_job *job = NULL;
    char *tokenizer = NULL;
    TRY(args_parse(&set, argc, argv, err));
    nut_status status = file_read_text(p[1], &tokenizer, &o.n_tokenizer, err);
    o.tokenizer = tokenizer;
    if (status == NUT_OK) status = nut_import_begin(&o, &job, err);
    if (status == NUT_OK) status = job_run(job, p[0], p[2], err);
    nut_job_free(job);
    free(tokenizer);
    return status;
}
