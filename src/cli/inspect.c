/* nutshell tokenize, info and perplexity. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

nut_status command_tokenize(int argc, char **argv, nut_error *err) {
    file_options file = {.header_only = true};
    bool special = false, bos = false;
    const arg_option options[] = {
        {"--special", ARG_FLAG, &special, "read special tokens in the text"},
        {"--pre", ARG_TEXT, &file.pre, "a pre-tokenizer in place of the one that the file names"},
        {"--bos", ARG_FLAG, &bos, "put the beginning-of-text token in front where the model asks for it"},
    };
    const char *p[2];
    arg_set set = {"tokenize", "MODEL TEXT", options, COUNT(options), p, 2};
    nut_model *m;
    int32_t *ids;
    size_t n;
    TRY(args_parse(&set, argc, argv, err));
    TRY(file_load_model(p[0], &file, &m, err));
    unsigned flags = (special ? NUT_TOKENIZE_SPECIAL : 0u) | (bos ? NUT_TOKENIZE_ADD_BOS : 0u);
    nut_status status = cli_tokenize(m, p[1], strlen(p[1]), flags, &ids, &n, err);
    if (status == NUT_OK) {
        for (size_t i = 0; i < n; i++) printf("%s%d", i ? " " : "", (int)ids[i]);
        putchar('\n');
        free(ids);
    }
    nut_model_free(m);
    return status;
}

/* ---- info ---- */

static void new_line(int depth) {
    printf("\n%*s", 2 * depth, "");
}

/* Prints JSON with a line for each member of the outer two levels, so that each tensor is one line. */
static void print_indented(const char *json) {
    int depth = 0;
    bool in_text = false;
    for (const char *p = json; *p; p++) {
        bool closes = !in_text && (*p == '}' || *p == ']'), opens = !in_text && (*p == '{' || *p == '[');
        if (closes && depth-- <= 2 && p[-1] != '{' && p[-1] != '[') new_line(depth);
        putchar(*p);
        if (*p == '\\' && in_text)
            putchar(*++p);
        else if (*p == '"')
            in_text = !in_text;
        if (opens && ++depth <= 2 && p[1] != '}' && p[1] != ']') new_line(depth);
        if (!in_text && *p == ',' && depth <= 2) new_line(depth);
        if (!in_text && (*p == ':' || *p == ',') && (depth > 2 || *p == ':')) putchar(' ');
    }
    putchar('\n');
}

/* A model, or where it cannot run its header alone, with the reason on stderr. */
static nut_status load_facts(const char *path, file_options *file, nut_model **m, nut_error *err) {
    nut_error why;
    const nut_status status = file_load_model(path, file, m, err);
    if (status != NUT_E_UNSUPPORTED && status != NUT_E_CORRUPT) return status;
    why = *err;
    file->header_only = true;
    if (file_load_model(path, file, m, err) != NUT_OK) return *err = why, status;
    fprintf(stderr, "this model cannot run: %s\n", why.message);
    return NUT_OK;
}

nut_status command_info(int argc, char **argv, nut_error *err) {
    file_options file = {0};
    bool json = false;
    const arg_option options[] = {
        {"--json", ARG_FLAG, &json, "one JSON object on one line"},
        {"--kernel", ARG_TEXT, &file.kernel, "ref, simd128, pairs or relaxed"},
    };
    const char *p[1];
    arg_set set = {"info", "MODEL", options, COUNT(options), p, 1};
    nut_model *m;
    size_t n = 0;
    TRY(args_parse(&set, argc, argv, err));
    TRY(load_facts(p[0], &file, &m, err));
    (void)nut_model_info(m, true, NULL, 0, &n, NULL); // gets the length
    char *text = malloc(n + 1);
    nut_status status =
        text ? nut_model_info(m, true, text, n + 1, &n, err) : cli_error(err, NUT_E_MEMORY, "out of memory");
    if (status == NUT_OK && json)
        puts(text);
    else if (status == NUT_OK)
        print_indented(text);
    free(text);
    nut_model_free(m);
    return status;
}

/* ---- perplexity ---- */

typedef struct perplexity_args {
    file_options file;
    uint32_t window, windows, n_threads;
    bool json;
} perplexity_args;

static nut_status evaluate(const perplexity_args *a, const nut_model *m, const char *text, size_t n_text,
                           nut_error *err) {
    int32_t *ids;
    size_t n;
    nut_session *s = NULL;
    nut_job *job = NULL;
    nut_perplexity_result r = {0};
    const uint32_t batch = a->window < 64 ? a->window : 64;
    nut_session_options so = {
        .n_ctx = a->window, .n_threads = a->n_threads, .n_batch = batch, .n_logits = batch};
    TRY(file_kv_type(&a->file, &so.kv_type, err));
    TRY(cli_tokenize(m, text, n_text, NUT_TOKENIZE_ADD_BOS, &ids, &n, err));
    nut_status status = nut_session_new(m, &so, &s, err);
    if (status == NUT_OK) status = nut_perplexity_begin(s, ids, n, a->window, a->windows, &job, err);
    free(ids);
    if (status == NUT_OK) status = job_run(job, NULL, NULL, err);
    if (status == NUT_OK) status = nut_perplexity_get(job, &r, err);
    nut_job_free(job);
    nut_session_free(s);
    if (status != NUT_OK) return status;
    const char *format =
        a->json
            ? "{\"perplexity\":%.6f,\"mean_nll\":%.6f,\"scored\":%llu,\"windows\":%u,\"kernel\":\"%s\"}\n"
            : "perplexity %.4f, mean loss %.6f nats over %llu tokens in %u windows; kernel %s\n";
    printf(format, r.perplexity, r.mean_nll, (unsigned long long)r.n_scored, r.n_windows,
           nut_model_kernel(m));
    return NUT_OK;
}

nut_status command_perplexity(int argc, char **argv, nut_error *err) {
    perplexity_args a = {.window = 512, .n_threads = 1};
    const arg_option options[] = {
        {"--context", ARG_U32, &a.window, "tokens of a window; the second half of each is scored (512)"},
        {"--windows", ARG_U32, &a.windows, "at most so many windows (0: all)"},
        {"--threads", ARG_U32, &a.n_threads, "threads (1)"},
        {"--kv-type", ARG_TEXT, &a.file.kv_type, "keys and values: f16, q8_0 or q4_0 (f16)"},
        {"--kernel", ARG_TEXT, &a.file.kernel, "ref, simd128, pairs or relaxed"},
        {"--reference", ARG_FLAG, &a.file.reference, "hold all weights as floats"},
        {"--json", ARG_FLAG, &a.json, "one JSON object"},
    };
    const char *p[2];
    arg_set set = {"perplexity", "MODEL FILE", options, COUNT(options), p, 2};
    nut_model *m;
    char *text;
    size_t n_text;
    TRY(args_parse(&set, argc, argv, err));
    TRY(file_read_text(p[1], &text, &n_text, err));
    nut_status status = file_load_model(p[0], &a.file, &m, err);
    if (status == NUT_OK) {
        status = evaluate(&a, m, text, n_text, err);
        nut_model_free(m);
    }
    free(text);
    return status;
}
