/* nutshell quantize. */
#include "cli/cli.h"

static bool show_tensor(void *ctx, const char *what, uint64_t done, uint64_t total) {
    (void)ctx;
    fprintf(stderr, "\r%4llu of %llu  %-40.40s", (unsigned long long)done, (unsigned long long)total, what);
    return true;
}

nut_status command_quantize(int argc, char **argv, nut_error *err) {
    nut_quantize_options qo = {.progress = show_tensor};
    const arg_option options[] = {{"--type", ARG_TEXT, &qo.type, "q8_0, q4_0 or q4_1"}};
    const char *p[2];
    arg_set set = {"quantize", "IN.gguf OUT.gguf --type TYPE", options, 1, p, 2};
    file_source in;
    file_sink out;
    nut_source source;
    nut_sink sink;
    TRY(args_parse(&set, argc, argv, err));
    if (!qo.type) return cli_error(err, NUT_E_ARGUMENT, "say which type: --type q8_0, q4_0 or q4_1");
    TRY(file_source_open(p[0], &in, &source, err));
    nut_status status = file_sink_open(p[1], &out, &sink, err);
    if (status == NUT_OK) {
        status = nut_quantize(&source, &sink, &qo, err);
        fputc('\n', stderr);
        if (status == NUT_OK)
            status = file_sink_commit(&out, err);
        else
            file_sink_abort(&out);
    }
    file_source_close(&in);
    return status;
}
