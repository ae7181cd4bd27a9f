/* nutshell correct. */
#include "cli/cli.h"

#include <stdlib.h>

#define NOT_GIVEN UINT32_MAX

nut_status command_correct(int argc, char **argv, nut_error *err) {
    nut_correct_options o = {.rank = NOT_GIVEN, .columns = NOT_GIVEN, .n_threads = 1};
    const char *path = NULL;
    const arg_option options[] = {
        {"--rank", ARG_U32, &o.rank, "of the adapter (16, where there are no columns)"},
        {"--columns", ARG_U32, &o.columns, "of each matrix that come back, in the place of a rank"},
        {"--text", ARG_TEXT, &path, "file of text to weigh errors by (a text that is built in)"},
        {"--context", ARG_U32, &o.window, "tokens that are run together (512)"},
        {"--threads", ARG_U32, &o.n_threads, "threads (1)"},
    };
    const char *p[3];
    arg_set set = {"correct", "MODEL.gguf SMALLER.gguf ADAPTER.gguf", options, 5, p, 3};
    file_options file = {0};
    nut_model *changed = NULL;
    nut_job *job = NULL;
    char *text = NULL;
    TRY(args_parse(&set, argc, argv, err));
    if (o.rank == NOT_GIVEN) o.rank = o.columns == NOT_GIVEN ? 16 : 0;
    if (o.columns == NOT_GIVEN) o.columns = 0;
    file.output = p[2];
    file.n_threads = o.n_threads;
    nut_status status = path ? file_read_text(path, &text, &o.n_text, err) : NUT_OK;
    if (status == NUT_OK) status = file_load_model(p[1], &file, &changed, err);
    o.text = text, o.changed = changed;
    if (status == NUT_OK) status = nut_correct_begin(&o, &job, err);
    if (status == NUT_OK) status = job_run(job, p[0], p[2], err);
    nut_job_free(job);
    nut_model_free(changed);
    free(text);
    return status;
}
