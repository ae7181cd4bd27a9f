/* nutshell quantize. */
#include "cli/cli.h"

nut_status command_quantize(int argc, char **argv, nut_error *err) {
    nut_compress_options o = {0};
    const arg_option options[] = {
        {"--type", ARG_TEXT, &o.type,
         "q8_0, q4_0, q4_1, f16, bf16 or f32; coded_4, coded_5, coded_6 or coded_8"},
        {"--method", ARG_TEXT, &o.method,
         "how weights are encoded (round: to the nearest value; coded: behind an entropy coder)"},
    };
    const char *p[2];
    arg_set set = {"quantize", "IN.gguf OUT.gguf --type TYPE", options, 2, p, 2};
    nut_job *job;
    TRY(args_parse(&set, argc, argv, err));
    TRY(nut_compress_begin(&o, &job, err));
    nut_status status = job_run(job, p[0], p[1], err);
    nut_job_free(job);
    return status;
}
