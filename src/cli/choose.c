/* nutshell choose: how fast models would be on this machine, and which one to take. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { MOST_MODELS = 64 };

typedef struct choose_args {
    file_options file;
    nut_predict_options predict;
    float budget_ms, seconds;
    uint32_t memory_mb;
    bool json;
} choose_args;

typedef struct candidate {
    const char *path;
    nut_prediction p;
    bool fits; // the budgets
} candidate;

static double total_bytes(const nut_prediction *p) {
    return (double)p->weight_bytes + (double)p->session_bytes;
}

static bool fits(const choose_args *a, const nut_prediction *p) {
    return (a->budget_ms == 0.0f || 1e3 * p->seconds <= (double)a->budget_ms) &&
           (a->memory_mb == 0 || total_bytes(p) <= 1e6 * (double)a->memory_mb);
}

/* What fits goes before what does not. Among the first the one with most weights, in the wider type; among
 * the others the fastest. */
static int compare(const void *x, const void *y) {
    const candidate *a = x, *b = y;
    if (a->fits != b->fits) return a->fits ? -1 : 1;
    if (!a->fits) return (a->p.seconds > b->p.seconds) - (a->p.seconds < b->p.seconds);
    if (a->p.n_params != b->p.n_params) return a->p.n_params > b->p.n_params ? -1 : 1;
    return (a->p.weight_bytes < b->p.weight_bytes) - (a->p.weight_bytes > b->p.weight_bytes);
}

static void print_json(const candidate *c, size_t n) {
    printf("[");
    for (size_t i = 0; i < n; i++) {
        printf("%s{\"model\":", i ? "," : "");
        cli_json_text(stdout, c[i].path, strlen(c[i].path));
        printf(",\"params\":%llu,\"weight_bytes\":%llu,\"session_bytes\":%llu,\"ms_per_token\":%.4f,"
               "\"tokens_per_second\":%.2f,\"layers_measured\":%u,\"fits\":%s}",
               (unsigned long long)c[i].p.n_params, (unsigned long long)c[i].p.weight_bytes,
               (unsigned long long)c[i].p.session_bytes, 1e3 * c[i].p.seconds, 1 / c[i].p.seconds,
               c[i].p.n_measured, c[i].fits ? "true" : "false");
    }
    printf("]\n");
}

static void print_table(const candidate *c, size_t n) {
    printf("%12s %12s %12s %12s  model\n", "ms/token", "tokens/s", "MB", "params, 10^6");
    for (size_t i = 0; i < n; i++)
        printf("%12.2f %12.1f %12.1f %12.1f  %s%s\n", 1e3 * c[i].p.seconds, 1 / c[i].p.seconds,
               total_bytes(&c[i].p) / 1e6, (double)c[i].p.n_params / 1e6, c[i].path,
               c[i].fits ? "" : " (does not fit)");
    if (c->fits)
        printf("take %s\n", c->path);
    else
        printf("none fits; %s is the fastest\n", c->path);
}

static nut_status choose(choose_args *a, const char **paths, size_t n, nut_error *err) {
    static candidate all[MOST_MODELS];
    nut_prediction warm; // the first model finds the processor asleep
    a->predict.seconds = (double)a->seconds;
    TRY(file_predict(paths[0], &a->file, &a->predict, &warm, err));
    for (size_t i = 0; i < n; i++) {
        all[i] = (candidate){.path = paths[i]};
        TRY(file_predict(paths[i], &a->file, &a->predict, &all[i].p, err));
        all[i].fits = fits(a, &all[i].p);
    }
    qsort(all, n, sizeof *all, compare);
    if (a->json)
        print_json(all, n);
    else
        print_table(all, n);
    return NUT_OK;
}

nut_status command_choose(int argc, char **argv, nut_error *err) {
    choose_args a = {.predict.n_threads = 1};
    const arg_option options[] = {
        {"--budget-ms", ARG_F32, &a.budget_ms, "milliseconds that a token may take (0: any)"},
        {"--memory", ARG_U32, &a.memory_mb,
         "megabytes of 10^6 bytes that weights and session may take (0: any)"},
        {"--seconds", ARG_F32, &a.seconds, "to measure each model for (0: 0.4)"},
        {"--threads", ARG_U32, &a.predict.n_threads, "threads (1)"},
        {"--context", ARG_U32, &a.predict.n_ctx,
         "positions that memory is counted with (0: the model's own, at most 4096)"},
        {"--past", ARG_U32, &a.predict.n_past,
         "position of the token that is timed (0: 256, or half of the context)"},
        {"--kv-type", ARG_TEXT, &a.file.kv_type, "keys and values: f16, q8_0 or q4_0 (f16)"},
        {"--kernel", ARG_TEXT, &a.file.kernel, "ref, simd128, pairs or relaxed"},
        {"--json", ARG_FLAG, &a.json, "one JSON array, the best model first"},
    };
    const char *paths[MOST_MODELS];
    size_t n;
    const arg_set set = {"choose", "MODEL...", options, COUNT(options), paths, MOST_MODELS};
    TRY(args_parse_some(&set, argc, argv, &n, err));
    return choose(&a, paths, n, err);
}
