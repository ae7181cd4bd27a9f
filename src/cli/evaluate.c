/* nutshell evaluate: how good a model is, and how far from a reference. */
#include "cli/report.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { BATCH = 64 }; // tokens at once

typedef struct evaluate_args {
    file_options file;
    const char *reference; // a model, or stored logits
    const char *text, *store, *html, *prompts;
    arg_texts tasks; // NAME=FILE
    uint32_t window, windows, items, n_threads;
    bool skills, store_short, whole, json;
    shortcut_args shortcuts;
} evaluate_args;

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

static void print_task(const char *name, const char *of, const nut_task_result *t) {
    printf("%s%s: %.2f %% right (%.2f to %.2f) of %llu, loss %.4f +- %.4f nats", name, of,
           100 * t->accuracy.value, 100 * t->accuracy.low, 100 * t->accuracy.high,
           (unsigned long long)t->accuracy.n, t->nll.value, t->nll.error);
    if (t->n_left_out) printf("; %llu are longer than the context", (unsigned long long)t->n_left_out);
    putchar('\n');
}

static void print_continuation(const report_continuation *c) {
    printf("> %s\nmodel: %s\n", c->prompt, c->model ? c->model : "");
    if (c->reference)
        printf("reference: %s\n(%u of %u tokens are the reference's)\n", c->reference, (unsigned)c->n_same,
               (unsigned)c->n);
}

static void print_report(const report *r) {
    if (r->text) print_perplexity(&r->evaluation);
    if (r->text) shortcuts_print(stdout, &r->shortcuts);
    for (size_t i = 0; i < r->n_tasks; i++) {
        const report_task *t = &r->tasks[i];
        print_task(t->name, "", &t->model);
        if (!r->tasks_compared) continue;
        print_task(t->name, " of the reference", &t->reference);
        printf("%s: %.2f %% of what the reference has right is kept (%.2f to %.2f)\n", t->name,
               100 * t->kept.value, 100 * t->kept.low, 100 * t->kept.high);
    }
    for (size_t i = 0; i < r->n_continuations; i++) print_continuation(&r->continuations[i]);
    printf("kernel %s\n", nut_model_kernel(r->model.model));
}

/* ---- text ---- */

static nut_status open_session(const evaluate_args *a, const nut_model *m, nut_session **out,
                               nut_error *err) {
    const uint32_t batch = a->window < BATCH ? a->window : BATCH;
    nut_session_options so = {
        .n_ctx = a->window, .n_threads = a->n_threads, .n_batch = batch, .n_logits = batch};
    TRY(file_kv_type(&a->file, &so.kv_type, err));
    return nut_session_new(m, &so, out, err);
}

/* One for the model that is evaluated, with its shortcuts. Where tokens may leave early, those that are
 * scored are read one at a time. */
static nut_status open_own_session(const evaluate_args *a, const nut_model *m, nut_session **out,
                                   nut_error *err) {
    nut_session_options so = {.n_ctx = a->window, .n_threads = a->n_threads, .n_logits = 1};
    if (!a->shortcuts.exit) TRY(open_session(a, m, out, err));
    if (a->shortcuts.exit) TRY(file_kv_type(&a->file, &so.kv_type, err));
    if (a->shortcuts.exit) TRY(nut_session_new(m, &so, out, err));
    return shortcuts_set(&a->shortcuts, *out, err);
}

static nut_status take_windows(const nut_job *job, report *r, nut_error *err) {
    TRY(nut_evaluate_get(job, &r->evaluation, err));
    r->windows = calloc(r->evaluation.n_windows, sizeof *r->windows);
    if (!r->windows) return cli_error(err, NUT_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < r->evaluation.n_windows; i++)
        TRY(nut_evaluate_window(job, i, &r->windows[i], err));
    return NUT_OK;
}

/* Runs the evaluation; `stored`: the reference is a file of logits. */
static nut_status evaluate_text(const evaluate_args *a, bool stored, report *r, nut_error *err) {
    nut_evaluate_options o = {.window = a->window, .max_windows = a->windows, .stored = stored};
    nut_session *s = NULL;
    nut_job *job = NULL;
    char *text = NULL;
    size_t n_text;
    o.store = a->store;
    o.store_short = a->store_short;
    o.whole_windows = a->whole;
    nut_status status = file_read_text(a->text, &text, &n_text, err);
    if (status == NUT_OK) status = open_own_session(a, r->model.model, &s, err);
    if (status == NUT_OK && r->reference.model)
        status = open_session(a, r->reference.model, &o.reference, err);
    if (status == NUT_OK) status = nut_evaluate_begin(s, text, n_text, &o, &job, err);
    if (status == NUT_OK) status = job_run(job, stored ? a->reference : NULL, a->store, err);
    if (status == NUT_OK) status = take_windows(job, r, err);
    if (status == NUT_OK) r->shortcuts = shortcuts_figures(s);
    nut_job_free(job);
    nut_session_free(o.reference);
    nut_session_free(s);
    free(text);
    return status;
}

/* ---- tasks ---- */

/* A task by a session; text NULL: a skill. */
static nut_status run_task(const evaluate_args *a, const char *name, const char *text, size_t n_text,
                           nut_session *s, nut_job **job, nut_task_result *r, nut_error *err) {
    TRY(nut_task_begin(s, name, text, n_text, a->items, job, err));
    TRY(job_run(*job, NULL, NULL, err));
    return nut_task_get(*job, r, err);
}

/* By the model and the reference, where there is one. */
static nut_status compare_task(const evaluate_args *a, const char *text, size_t n_text, nut_session *s,
                               nut_session *other, report_task *t, nut_error *err) {
    nut_job *job = NULL, *beside = NULL;
    nut_status status = run_task(a, t->name, text, n_text, s, &job, &t->model, err);
    if (status == NUT_OK && other) {
        status = run_task(a, t->name, text, n_text, other, &beside, &t->reference, err);
        if (status == NUT_OK) status = nut_task_kept(job, beside, &t->kept, err);
    }
    nut_job_free(job);
    nut_job_free(beside);
    return status;
}

static nut_status add_file(const evaluate_args *a, const char *task, nut_session *s, nut_session *other,
                           report *r, nut_error *err) {
    report_task *t = &r->tasks[r->n_tasks++];
    char *text;
    size_t n_text;
    const char *path = strchr(task, '=');
    if (!path || path - task >= (int)sizeof t->name)
        return cli_error(err, NUT_E_ARGUMENT, "--task takes NAME=FILE, not \"%.40s\"", task);
    snprintf(t->name, sizeof t->name, "%.*s", (int)(path - task), task);
    TRY(file_read_text(path + 1, &text, &n_text, err));
    const nut_status status = compare_task(a, text, n_text, s, other, t, err);
    free(text);
    return status;
}

static nut_status add_skills(const evaluate_args *a, nut_session *s, nut_session *other, report *r,
                             nut_error *err) {
    for (size_t i = 0; nut_task_skill(i) && r->n_tasks < REPORT_TASKS; i++) {
        report_task *t = &r->tasks[r->n_tasks++];
        snprintf(t->name, sizeof t->name, "%s", nut_task_skill(i));
        TRY(compare_task(a, NULL, 0, s, other, t, err));
    }
    return NUT_OK;
}

static nut_status run_tasks(const evaluate_args *a, report *r, nut_error *err) {
    nut_session *s = NULL, *other = NULL;
    nut_status status = open_own_session(a, r->model.model, &s, err);
    if (status == NUT_OK && r->reference.model) status = open_session(a, r->reference.model, &other, err);
    r->tasks_compared = other;
    for (size_t i = 0; i < a->tasks.n && status == NUT_OK; i++)
        status = add_file(a, a->tasks.items[i], s, other, r, err);
    if (status == NUT_OK && a->skills) status = add_skills(a, s, other, r, err);
    nut_session_free(s);
    nut_session_free(other);
    return status;
}

/* ---- all ---- */

static nut_status continue_all(const evaluate_args *a, report *r, nut_error *err) {
    char *text = NULL;
    size_t n;
    if (a->prompts) TRY(file_read_text(a->prompts, &text, &n, err));
    const nut_status status =
        continue_prompts(r->model.model, r->reference.model, text, a->n_threads, r, err);
    free(text);
    return status;
}

static nut_status run_all(const evaluate_args *a, bool stored, report *r, nut_error *err) {
    if (a->text) TRY(evaluate_text(a, stored, r, err));
    if (a->tasks.n || a->skills) TRY(run_tasks(a, r, err));
    if (a->html || a->prompts) TRY(continue_all(a, r, err));
    if (a->html) TRY(report_html(r, a->html, err));
    if (a->json)
        report_json(r);
    else
        print_report(r);
    return NUT_OK;
}

static nut_status take_facts(report_model *to, const char *path, const nut_model *m, nut_error *err) {
    size_t n;
    *to = (report_model){.path = path, .model = m};
    if (!m) return NUT_OK;
    (void)nut_model_info(m, false, NULL, 0, &n, err);
    to->facts = malloc(n + 1);
    if (!to->facts) return cli_error(err, NUT_E_MEMORY, "out of memory");
    TRY(nut_model_info(m, false, to->facts, n + 1, &n, err));
    to->bytes = report_fact(to->facts, "file_bytes");
    to->n_params = report_fact(to->facts, "n_params");
    return NUT_OK;
}

/* A reference is run on floats, whatever its model has. */
static nut_status load_reference(const evaluate_args *a, nut_model **out, bool *stored, nut_error *err) {
    file_options o = a->file;
    if (!a->reference) return NUT_OK;
    TRY(file_begins_with(a->reference, "NUTLOG", stored, err));
    if (*stored) return NUT_OK;
    o.reference = true;
    o.adapters.n = 0;
    TRY(file_load_model(a->reference, &o, out, err));
    nut_evaluate_fast(*out);
    return NUT_OK;
}

static nut_status evaluate(const evaluate_args *a, const char *path, nut_error *err) {
    nut_model *m = NULL, *reference = NULL;
    bool stored = false;
    report r = {.text = a->text, .window = a->window};
    nut_status status = load_reference(a, &reference, &stored, err);
    if (status == NUT_OK) status = file_load_model(path, &a->file, &m, err);
    if (status == NUT_OK) status = take_facts(&r.model, path, m, err);
    if (status == NUT_OK) status = take_facts(&r.reference, a->reference, reference, err);
    if (status == NUT_OK) {
        nut_evaluate_fast(m);
        status = run_all(a, stored, &r, err);
    }
    report_free(&r);
    nut_model_free(m);
    nut_model_free(reference);
    return status;
}

nut_status command_evaluate(int argc, char **argv, nut_error *err) {
    evaluate_args a = {.window = 512, .n_threads = 1};
    const arg_option own[] = {
        {"--text", ARG_TEXT, &a.text, "file of text to predict"},
        {"--task", ARG_TEXTS, &a.tasks, "NAME=FILE: hellaswag, piqa or lambada (may be repeated)"},
        {"--skills", ARG_FLAG, &a.skills,
         "questions that are built in, by skill: what can the model still do?"},
        {"--items", ARG_U32, &a.items, "at most so many items of each task (0: all)"},
        {"--reference", ARG_TEXT, &a.reference,
         "compare with this model, which is run on floats, or with the logits that it stored"},
        {"--store", ARG_TEXT, &a.store, "write the model's logits to this file, for --reference"},
        {"--short", ARG_FLAG, &a.store_short,
         "store the 64 likeliest tokens and the mass of the rest alone: 250 times less"},
        {"--report", ARG_TEXT, &a.html, "write a report with charts, one HTML file; with --skills"},
        {"--prompts", ARG_TEXT, &a.prompts,
         "continue each line of this file, greedily (a report has prompts that are built in)"},
        {"--context", ARG_U32, &a.window, "tokens of a window; the second half of each is scored (512)"},
        {"--whole", ARG_FLAG, &a.whole, "score whole windows, as `nutshell train` wants stored logits"},
        {"--windows", ARG_U32, &a.windows, "at most so many windows (0: all)"},
        {"--float", ARG_FLAG, &a.file.reference, "run the model on floats instead of int8"},
        {"--adapter", ARG_TEXTS, &a.file.adapters,
         "a LoRA adapter, FILE or FILE:SCALE, that the model is run with (may be repeated)"},
        {"--threads", ARG_U32, &a.n_threads, "threads (1)"},
        {"--kv-type", ARG_TEXT, &a.file.kv_type, "keys and values: f16, q8_0 or q4_0 (f16)"},
        {"--kernel", ARG_TEXT, &a.file.kernel, "ref, simd128, pairs or relaxed"},
        {"--json", ARG_FLAG, &a.json, "one JSON object"},
    };
    enum { OWN = COUNT(own) };
    arg_option options[OWN + SHORTCUT_OPTIONS];
    memcpy(options, own, sizeof own);
    shortcuts_list(&a.shortcuts, options + OWN);
    const char *p[1];
    arg_set set = {"evaluate", "MODEL [--text FILE] [--task NAME=FILE]", options, COUNT(options), p, 1};
    TRY(args_parse(&set, argc, argv, err));
    a.skills |= a.html != NULL;
    if (!a.text && !a.tasks.n && !a.skills && !a.prompts)
        return cli_error(err, NUT_E_ARGUMENT,
                         "say what to evaluate: --text FILE, --task NAME=FILE, --skills, --prompts FILE, "
                         "or --report FILE for all that is built in");
    if (a.store && !a.text) return cli_error(err, NUT_E_ARGUMENT, "--store needs a text: --text FILE");
    if (a.store_short && !a.store)
        return cli_error(err, NUT_E_ARGUMENT, "--short says how logits are stored: give --store FILE too");
    return evaluate(&a, p[0], err);
}
