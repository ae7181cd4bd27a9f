/* nutshell evaluate: how good a model is, and how far from a reference. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { BATCH = 64 }; // tokens at once

typedef struct evaluate_args {
    file_options file;
    const char *reference; // a model, or stored logits
    const char *text, *store;
    arg_texts tasks; // NAME=FILE
    uint32_t window, windows, items, n_threads;
    bool json;
} evaluate_args;

/* What was found. */
typedef struct results {
    bool has_text;
    nut_evaluation text;
    nut_task_result tasks[NUT_MAX_STOPS], reference[NUT_MAX_STOPS];
    bool compared; // reference holds results
} results;

/* ---- output ---- */

static void print_comparison(const nut_comparison *c) {
    printf("reference: perplexity %.4f +- %.4f\n", c->reference_perplexity.value,
           c->reference_perplexity.error);
    printf("KL divergence %.6f +- %.6f, median %.6f, 90 %% %.6f, 99 %% %.6f, 99.9 %% %.6f, most %.6f\n",
           c->kl.value, c->kl.error, c->kl_median, c->kl_p90, c->kl_p99, c->kl_p999, c->kl_max);
    printf(
        "same likeliest token %.2f %% (%.2f to %.2f), flips %.5f +- %.5f, rms change of p %.3f +- %.3f %%\n",
        100 * c->same_top.value, 100 * c->same_top.low, 100 * c->same_top.high, c->flips.value,
        c->flips.error, 100 * c->rms_delta_p.value, 100 * c->rms_delta_p.error);
}

static void print_perplexity(const nut_evaluation *r) {
    printf("perplexity %.4f +- %.4f, %.4f bits a byte, over %llu tokens in %u windows\n",
           r->perplexity.value, r->perplexity.error, r->bits_per_byte.value, (unsigned long long)r->n_scored,
           (unsigned)r->n_windows);
    if (r->compared) print_comparison(&r->comparison);
}

/* The length of the name in NAME=FILE. */
static int task_name(const char *task) {
    return (int)strcspn(task, "=");
}

static void print_task(const char *task, const char *of, const nut_task_result *t) {
    printf("%.*s%s: %.2f %% right (%.2f to %.2f) of %llu, loss %.4f +- %.4f nats", task_name(task), task, of,
           100 * t->accuracy.value, 100 * t->accuracy.low, 100 * t->accuracy.high,
           (unsigned long long)t->accuracy.n, t->nll.value, t->nll.error);
    if (t->n_left_out) printf("; %llu are longer than the context", (unsigned long long)t->n_left_out);
    putchar('\n');
}

static void print_results(const evaluate_args *a, const results *r, const nut_model *m) {
    if (r->has_text) print_perplexity(&r->text);
    for (size_t i = 0; i < a->tasks.n; i++) {
        print_task(a->tasks.items[i], "", &r->tasks[i]);
        if (r->compared) print_task(a->tasks.items[i], " of the reference", &r->reference[i]);
    }
    printf("kernel %s\n", nut_model_kernel(m));
}

static void print_estimate(const char *name, nut_estimate e) {
    printf(",\"%s\":%.9g,\"%s_error\":%.9g", name, e.value, name, e.error);
}

static void print_fraction(const char *name, nut_fraction f) {
    printf(",\"%s\":%.9g,\"%s_low\":%.9g,\"%s_high\":%.9g", name, f.value, name, f.low, name, f.high);
}

static void print_json_text(const nut_evaluation *r) {
    const nut_comparison *c = &r->comparison;
    printf(",\"windows\":%u,\"scored\":%llu,\"bytes\":%llu", (unsigned)r->n_windows,
           (unsigned long long)r->n_scored, (unsigned long long)r->n_bytes);
    print_estimate("perplexity", r->perplexity);
    print_estimate("mean_nll", r->nll);
    print_estimate("bits_per_byte", r->bits_per_byte);
    if (!r->compared) return;
    print_estimate("reference_perplexity", c->reference_perplexity);
    print_estimate("kl", c->kl);
    printf(",\"kl_median\":%.9g,\"kl_p90\":%.9g,\"kl_p99\":%.9g,\"kl_p999\":%.9g,\"kl_max\":%.9g",
           c->kl_median, c->kl_p90, c->kl_p99, c->kl_p999, c->kl_max);
    print_fraction("same_top", c->same_top);
    print_estimate("flips", c->flips);
    print_estimate("rms_delta_p", c->rms_delta_p);
}

static void print_json_task(const char *between, const char *task, const char *of,
                            const nut_task_result *t) {
    printf("%s{\"task\":\"%.*s\",\"of\":\"%s\",\"items\":%llu,\"left_out\":%llu", between, task_name(task),
           task, of, (unsigned long long)t->accuracy.n, (unsigned long long)t->n_left_out);
    print_fraction("accuracy", t->accuracy);
    print_estimate("nll", t->nll);
    putchar('}');
}

static void print_json(const evaluate_args *a, const results *r, const nut_model *m) {
    printf("{\"kernel\":\"%s\"", nut_model_kernel(m));
    if (r->has_text) print_json_text(&r->text);
    printf(",\"tasks\":[");
    for (size_t i = 0; i < a->tasks.n; i++) {
        print_json_task(i ? "," : "", a->tasks.items[i], "model", &r->tasks[i]);
        if (r->compared) print_json_task(",", a->tasks.items[i], "reference", &r->reference[i]);
    }
    printf("]}\n");
}

/* ---- work ---- */

static nut_status open_session(const evaluate_args *a, const nut_model *m, nut_session **out,
                               nut_error *err) {
    const uint32_t batch = a->window < BATCH ? a->window : BATCH;
    nut_session_options so = {
        .n_ctx = a->window, .n_threads = a->n_threads, .n_batch = batch, .n_logits = batch};
    TRY(file_kv_type(&a->file, &so.kv_type, err));
    return nut_session_new(m, &so, out, err);
}

/* Runs the evaluation; `stored`: the reference is a file of logits. */
static nut_status evaluate_text(const evaluate_args *a, const nut_model *m, const nut_model *reference,
                                bool stored, nut_evaluation *r, nut_error *err) {
    nut_evaluate_options o = {.window = a->window, .max_windows = a->windows, .stored = stored};
    nut_session *s = NULL;
    nut_job *job = NULL;
    char *text = NULL;
    size_t n_text;
    o.store = a->store;
    nut_status status = file_read_text(a->text, &text, &n_text, err);
    if (status == NUT_OK) status = open_session(a, m, &s, err);
    if (status == NUT_OK && reference) status = open_session(a, reference, &o.reference, err);
    if (status == NUT_OK) status = nut_evaluate_begin(s, text, n_text, &o, &job, err);
    if (status == NUT_OK) status = job_run(job, stored ? a->reference : NULL, a->store, err);
    if (status == NUT_OK) status = nut_evaluate_get(job, r, err);
    nut_job_free(job);
    nut_session_free(o.reference);
    nut_session_free(s);
    free(text);
    return status;
}

static nut_status run_task(const evaluate_args *a, const char *task, nut_session *s, nut_task_result *r,
                           nut_error *err) {
    char name[32], *text;
    size_t n_text;
    nut_job *job = NULL;
    const char *path = strchr(task, '=');
    if (!path || path - task >= (int)sizeof name)
        return cli_error(err, NUT_E_ARGUMENT, "--task takes NAME=FILE, not \"%.40s\"", task);
    snprintf(name, sizeof name, "%.*s", task_name(task), task);
    TRY(file_read_text(path + 1, &text, &n_text, err));
    nut_status status = nut_task_begin(s, name, text, n_text, a->items, &job, err);
    if (status == NUT_OK) status = job_run(job, NULL, NULL, err);
    if (status == NUT_OK) status = nut_task_get(job, r, err);
    nut_job_free(job);
    free(text);
    return status;
}

static nut_status run_tasks(const evaluate_args *a, const nut_model *m, nut_task_result *r, nut_error *err) {
    nut_session *s;
    TRY(open_session(a, m, &s, err));
    nut_status status = NUT_OK;
    for (size_t i = 0; i < a->tasks.n && status == NUT_OK; i++)
        status = run_task(a, a->tasks.items[i], s, &r[i], err);
    nut_session_free(s);
    return status;
}

static nut_status run_all(const evaluate_args *a, const nut_model *m, const nut_model *reference,
                          bool stored, nut_error *err) {
    results r = {.has_text = a->text, .compared = reference};
    if (a->text) TRY(evaluate_text(a, m, reference, stored, &r.text, err));
    if (a->tasks.n) TRY(run_tasks(a, m, r.tasks, err));
    if (a->tasks.n && reference) TRY(run_tasks(a, reference, r.reference, err));
    (a->json ? print_json : print_results)(a, &r, m);
    return NUT_OK;
}

/* A reference is run on floats, whatever its model has. */
static nut_status load_reference(const evaluate_args *a, nut_model **out, bool *stored, nut_error *err) {
    file_options o = a->file;
    if (!a->reference) return NUT_OK;
    TRY(file_begins_with(a->reference, "NUTLOG01", stored, err));
    if (*stored) return NUT_OK;
    o.reference = true;
    TRY(file_load_model(a->reference, &o, out, err));
    nut_evaluate_fast(*out);
    return NUT_OK;
}

static nut_status evaluate(const evaluate_args *a, const char *path, nut_error *err) {
    nut_model *m = NULL, *reference = NULL;
    bool stored = false;
    nut_status status = load_reference(a, &reference, &stored, err);
    if (status == NUT_OK) status = file_load_model(path, &a->file, &m, err);
    if (status == NUT_OK) {
        nut_evaluate_fast(m);
        status = run_all(a, m, reference, stored, err);
    }
    nut_model_free(m);
    nut_model_free(reference);
    return status;
}

nut_status command_evaluate(int argc, char **argv, nut_error *err) {
    evaluate_args a = {.window = 512, .n_threads = 1};
    const arg_option options[] = {
        {"--text", ARG_TEXT, &a.text, "file of text to predict"},
        {"--task", ARG_TEXTS, &a.tasks, "NAME=FILE: hellaswag, piqa or lambada (may be repeated)"},
        {"--items", ARG_U32, &a.items, "at most so many items of each task (0: all)"},
        {"--reference", ARG_TEXT, &a.reference,
         "compare with this model, which is run on floats, or with the logits that it stored"},
        {"--store", ARG_TEXT, &a.store, "write the model's logits to this file, for --reference"},
        {"--context", ARG_U32, &a.window, "tokens of a window; the second half of each is scored (512)"},
        {"--windows", ARG_U32, &a.windows, "at most so many windows (0: all)"},
        {"--float", ARG_FLAG, &a.file.reference, "run the model on floats instead of int8"},
        {"--threads", ARG_U32, &a.n_threads, "threads (1)"},
        {"--kv-type", ARG_TEXT, &a.file.kv_type, "keys and values: f16 or q8_0 (f16)"},
        {"--kernel", ARG_TEXT, &a.file.kernel, "ref, simd128, pairs or relaxed"},
        {"--json", ARG_FLAG, &a.json, "one JSON object"},
    };
    const char *p[1];
    arg_set set = {"evaluate", "MODEL [--text FILE] [--task NAME=FILE]", options, COUNT(options), p, 1};
    TRY(args_parse(&set, argc, argv, err));
    if (!a.text && !a.tasks.n)
        return cli_error(err, NUT_E_ARGUMENT, "say what to evaluate: --text FILE, or --task NAME=FILE");
    if (a.store && !a.text) return cli_error(err, NUT_E_ARGUMENT, "--store needs a text: --text FILE");
    return evaluate(&a, p[0], err);
}
