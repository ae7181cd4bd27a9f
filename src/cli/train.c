/* nutshell train and nutshell merge. */
#include "cli/cli.h"
#include "cli/conversations.h"
#include "nutshell_train.h"

#include <stdlib.h>
#include <string.h>

/* Steps as CSV; a step without a measurement leaves the last column empty. */
static nut_status write_log(const char *path, const nut_job *job, nut_error *err) {
    file_sink f = {0};
    char line[200];
    uint32_t n;
    const nut_train_step *s = nut_train_steps(job, &n);
    TRY(file_sink_open(path, &f, err));
    size_t length = (size_t)snprintf(
        line, sizeof line, "step,loss,cross_entropy,divergence,hint,rate,gradient_norm,held_out\n");
    nut_status status = file_sink_write(&f, 0, line, length, err);
    for (uint32_t i = 0; i < n && status == NUT_OK; i++, s++) {
        length = (size_t)snprintf(line, sizeof line, "%u,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,", i + 1,
                                  (double)s->loss, (double)s->cross_entropy, (double)s->divergence,
                                  (double)s->hint, (double)s->rate, (double)s->norm);
        if (s->held_out >= 0)
            length += (size_t)snprintf(line + length, sizeof line - length, "%.9g", (double)s->held_out);
        line[length++] = '\n';
        status = file_sink_write(&f, f.at, line, length, err);
    }
    if (status == NUT_OK) return file_sink_commit(&f, err);
    file_sink_abort(&f);
    return status;
}

static void print_result(const nut_job *job) {
    uint32_t n;
    const nut_train_step *s = nut_train_steps(job, &n);
    const float after = nut_train_result(job);
    if (after >= 0 && n)
        fprintf(stderr, "text held out: %.4f nats a token before, %.4f after\n", (double)s->held_out,
                (double)after);
}

static nut_status run(const nut_train_files *files, const nut_train_options *o, nut_error *err) {
    nut_job *job;
    nut_error of_log;
    TRY(nut_train_begin(o, &job, err));
    nut_status status = job_run_kept(job, files->model, files->output, err);
    if (status == NUT_OK) print_result(job);
    if (*files->log && write_log(files->log, job, &of_log) != NUT_OK && status == NUT_OK)
        status = cli_error(err, of_log.code, "%s", of_log.message);
    nut_job_free(job);
    return status;
}

nut_status command_train(int argc, char **argv, nut_error *err) {
    nut_train_options o = {.keeps_state = true};
    const file_options reference = {.reference = true};
    const arg_option options[] = {{"--threads", ARG_U32, &o.n_threads, "threads (1)"}};
    const char *p[1];
    arg_set set = {"train", "RECIPE.json", options, 1, p, 1};
    conversation_tokens said = {0};
    nut_train_files files;
    nut_model *teacher = NULL;
    char *recipe = NULL, *text = NULL, *logits = NULL, *adapter = NULL;
    TRY(args_parse(&set, argc, argv, err));
    nut_status status = file_read_text(p[0], &recipe, &o.n_recipe, err);
    if (status == NUT_OK) status = nut_train_read(recipe, o.n_recipe, &files, err);
    if (status == NUT_OK && *files.text) status = file_read_text(files.text, &text, &o.n_text, err);
    if (status == NUT_OK && *files.conversations)
        status = conversations_tokens(files.model, files.conversations, &said, err);
    if (status == NUT_OK && *files.teacher)
        status = file_load_model(files.teacher, &reference, &teacher, err);
    if (status == NUT_OK && *files.logits) status = file_read_text(files.logits, &logits, &o.n_logits, err);
    if (status == NUT_OK && *files.adapter)
        status = file_read_text(files.adapter, &adapter, &o.n_adapter, err);
    o.ids = said.ids, o.learned = said.learned, o.n_ids = said.n;
    o.recipe = recipe, o.text = text, o.teacher = teacher, o.logits = logits, o.adapter = adapter;
    if (status == NUT_OK) status = run(&files, &o, err);
    nut_model_free(teacher);
    conversations_free(&said);
    free(recipe);
    free(text);
    free(logits);
    free(adapter);
    return status;
}

/* ---- merge ---- */

nut_status command_merge(int argc, char **argv, nut_error *err) {
    nut_merge_options o = {.scale = 1};
    bool beside = false;
    const arg_option options[] = {
        {"--beside", ARG_FLAG, &beside,
         "leave the weights as they are, and write the adapter beside them: for this engine alone"},
        {"--scale", ARG_F32, &o.scale, "of what the adapter adds (1)"},
        {"--type", ARG_TEXT, &o.type, "of matrices that change: f32 or f16 (f32 where they are, else f16)"},
    };
    const char *p[3];
    arg_set set = {"merge", "IN.gguf ADAPTER.gguf OUT.gguf", options, 3, p, 3};
    nut_job *job = NULL;
    char *adapter;
    TRY(args_parse(&set, argc, argv, err));
    if (beside && o.type)
        return cli_error(err, NUT_E_ARGUMENT, "give --beside or --type, not both: no matrix changes");
    TRY(file_read_text(p[1], &adapter, &o.n_adapter, err));
    o.adapter = adapter;
    const nut_attach_options attached = {adapter, o.n_adapter, o.scale};
    nut_status status = beside ? nut_attach_begin(&attached, &job, err) : nut_merge_begin(&o, &job, err);
    if (status == NUT_OK) status = job_run(job, p[0], p[2], err);
    nut_job_free(job);
    free(adapter);
    return status;
}
