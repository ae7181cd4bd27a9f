/* nutshell draft: looks for the layers without which a model drafts best for itself. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { REPORT_BYTES = 1 << 13 };

/* Layers as --draft-without takes them: "3,7-9". */
static int write_layers(const nut_draft_found *f, char *to, size_t room) {
    int n = 0;
    for (size_t i = 0, last; i < f->n_layers; i = last + 1) {
        for (last = i; last + 1 < f->n_layers && f->layers[last + 1] == f->layers[last] + 1;) last++;
        n += snprintf(to + n, room - (size_t)n, "%s%u", i ? "," : "", f->layers[i]);
        if (last > i) n += snprintf(to + n, room - (size_t)n, "-%u", f->layers[last]);
    }
    return n;
}

static nut_status write_found(const char *path, const nut_draft_found *f, nut_error *err) {
    char text[REPORT_BYTES], layers[REPORT_BYTES / 2] = "";
    file_sink sink;
    write_layers(f, layers, sizeof layers);
    const int n =
        snprintf(text, sizeof text,
                 "{\"without\":\"%s\",\"cost\":%.3f,\"kept\":{\"likeliest\":%.3f,\"sampled\":%.3f},"
                 "\"length\":%u,\"gain\":%.3f}\n",
                 layers, f->cost, f->agreement, f->overlap, f->length, f->gain);
    TRY(file_sink_open(path, &sink, err));
    nut_status status = file_sink_write(&sink, 0, text, (size_t)n, err);
    if (status == NUT_OK) status = file_sink_commit(&sink, err);
    if (status != NUT_OK) file_sink_abort(&sink);
    if (status == NUT_OK) printf("%s", text);
    return status;
}

static nut_status search(const nut_model *m, const nut_draft_search_options *o, const char *out,
                         nut_error *err) {
    nut_job *job = NULL;
    nut_draft_found found;
    nut_status status = nut_draft_search_begin(m, o, &job, err);
    if (status == NUT_OK) status = job_run(job, NULL, NULL, err);
    if (status == NUT_OK) status = nut_draft_search_get(job, &found, err);
    if (status == NUT_OK) status = write_found(out, &found, err);
    if (status == NUT_OK && found.gain < 1)
        fprintf(stderr, "a draft by the model itself does not pay here; --draft self turns itself off\n");
    nut_job_free(job);
    return status;
}

nut_status command_draft(int argc, char **argv, nut_error *err) {
    nut_draft_search_options o = {.n_threads = 1};
    file_options file = {0};
    const char *path = NULL, *out = NULL, *p[1];
    const arg_option options[] = {
        {"--text", ARG_TEXT, &path, "file of text of the kind that will be written (one that is built in)"},
        {"--tokens", ARG_U32, &o.n_tokens, "tokens that are drafted to learn what a set is worth (128)"},
        {"-o", ARG_TEXT, &out, "file to write (MODEL.draft.json, which --draft self reads)"},
        {"--threads", ARG_U32, &o.n_threads, "threads (1)"},
        {"--kernel", ARG_TEXT, &file.kernel, "ref, simd128, pairs or relaxed"},
    };
    const arg_set set = {"draft", "MODEL [--text FILE]", options, COUNT(options), p, 1};
    char *text = NULL, *name = NULL;
    nut_model *m = NULL;
    TRY(args_parse(&set, argc, argv, err));
    const size_t n_name = strlen(p[0]) + sizeof ".draft.json";
    nut_status status = path ? file_read_text(path, &text, &o.n_text, err) : NUT_OK;
    o.text = text;
    if (status == NUT_OK && !(name = malloc(n_name))) status = cli_error(err, NUT_E_MEMORY, "out of memory");
    if (status == NUT_OK) snprintf(name, n_name, "%s.draft.json", p[0]);
    if (status == NUT_OK) status = file_load_model(p[0], &file, &m, err);
    if (status == NUT_OK) status = search(m, &o, out ? out : name, err);
    nut_model_free(m);
    free(name);
    free(text);
    return status;
}
