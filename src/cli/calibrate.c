/* nutshell calibrate. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

nut_status command_calibrate(int argc, char **argv, nut_error *err) {
    nut_calibrate_options o = {.n_threads = 1};
    const char *path = NULL, *out = NULL;
    const arg_option options[] = {
        {"--text", ARG_TEXT, &path, "file of text to run through the model (a text that is built in)"},
        {"-o", ARG_TEXT, &out, "file of statistics to write, GGUF"},
        {"--parse-special", ARG_FLAG, &o.special, "read special tokens in the text"},
        {"--context", ARG_U32, &o.window, "tokens that are run together (512)"},
        {"--threads", ARG_U32, &o.n_threads, "threads (1)"},
    };
    const char *p[1];
    arg_set set = {"calibrate", "MODEL -o STATS.gguf", options, COUNT(options), p, 1};
    char *text = NULL;
    size_t n_text, n_builtin;
    nut_job *job = NULL;
    TRY(args_parse(&set, argc, argv, err));
    if (!out)
        return cli_error(err, NUT_E_ARGUMENT, "-o is missing; usage: nutshell calibrate %s", set.positional);
    if (path) TRY(file_read_text(path, &text, &n_text, err));
    const char *builtin = nut_calibrate_text(&n_builtin);
    nut_status status = nut_calibrate_begin(&o, text ? text : builtin, text ? n_text : n_builtin, &job, err);
    if (status == NUT_OK) status = job_run(job, p[0], out, err);
    nut_job_free(job);
    free(text);
    return status;
}
