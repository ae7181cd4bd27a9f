/* nutshell quantize and nutshell compress. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

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

/* ---- compress ---- */

/* Reads a size in bytes: "60MB", "57.3MiB" or "60000000". */
static nut_status parse_size(const char *text, uint64_t *out, nut_error *err) {
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"", 1},     {"B", 1},         {"kB", 1e3},     {"MB", 1e6},
                 {"GB", 1e9}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
    char *end;
    const double n = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(end, units[i].name) && end > text && n > 0 && n * units[i].bytes < 1e15) {
            *out = (uint64_t)(n * units[i].bytes);
            return NUT_OK;
        }
    return cli_error(err, NUT_E_ARGUMENT, "\"%.30s\" is no size; write it as 60MB, 57MiB or 1.2GB", text);
}

/* The written file is read again before success is told. */
static nut_status check_written(const char *path, nut_error *err) {
    const file_options o = {0};
    nut_model *m;
    TRY(file_load_model(path, &o, &m, err));
    nut_model_free(m);
    return NUT_OK;
}

nut_status command_compress(int argc, char **argv, nut_error *err) {
    nut_compress_options o = {0};
    const char *size = NULL, *path = NULL, *p[2];
    char *text = NULL;
    const arg_option options[] = {
        {"--size", ARG_TEXT, &size, "bytes that the file may have, such as 60MB"},
        {"--text", ARG_TEXT, &path,
         "a text like those that the model is for, to calibrate with (one is built in)"},
        {"--threads", ARG_U32, &o.n_threads, "threads (1)"},
        {"--fast", ARG_FLAG, &o.fast, "without gradients: sooner, and a worse model"},
    };
    arg_set set = {"compress", "IN.gguf OUT.gguf --size SIZE", options, 4, p, 2};
    nut_job *job;
    TRY(args_parse(&set, argc, argv, err));
    if (!size) return cli_error(err, NUT_E_ARGUMENT, "say how large the file may be: --size 60MB");
    TRY(parse_size(size, &o.size, err));
    if (path) TRY(file_read_text(path, &text, &o.n_text, err));
    o.text = text;
    nut_status status = nut_compress_begin(&o, &job, err);
    if (status == NUT_OK) {
        status = job_run(job, p[0], p[1], err);
        nut_job_free(job);
    }
    free(text);
    return status == NUT_OK ? check_written(p[1], err) : status;
}
