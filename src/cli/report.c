/* The report of nutshell evaluate: one HTML file that reads nothing else, and the same figures as JSON. */
#include "cli/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void report_free(report *r) {
    for (size_t i = 0; i < r->n_continuations; i++) {
        free(r->continuations[i].prompt);
        free(r->continuations[i].model);
        free(r->continuations[i].reference);
    }
    free(r->continuations);
    free(r->windows);
    free(r->model.facts);
    free(r->reference.facts);
}

/* Quotes inside of the texts of the facts are escaped, so that only a key can match. */
uint64_t report_fact(const char *facts, const char *name) {
    char key[40];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = facts ? strstr(facts, key) : NULL;
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static double bits_per_weight(const report_model *m) {
    return m->n_params ? 8 * (double)m->bytes / (double)m->n_params : 0;
}

/* ---- JSON ---- */

static void json_estimate(const char *name, nut_estimate e) {
    printf(",\"%s\":%.9g,\"%s_error\":%.9g", name, e.value, name, e.error);
}

static void json_fraction(const char *name, nut_fraction f) {
    printf(",\"%s\":%.9g,\"%s_low\":%.9g,\"%s_high\":%.9g", name, f.value, name, f.low, name, f.high);
}

static void json_windows(const report *r) {
    const bool compared = r->evaluation.compared;
    printf(",\"per_window\":[");
    for (uint32_t i = 0; i < r->evaluation.n_windows; i++) {
        const nut_evaluation_window *w = &r->windows[i];
        printf("%s{\"nll\":%.9g", i ? "," : "", w->nll);
        if (compared) printf(",\"reference_nll\":%.9g,\"kl\":%.9g", w->reference_nll, w->kl);
        putchar('}');
    }
    putchar(']');
}

static void json_comparison(const nut_comparison *c) {
    json_estimate("reference_perplexity", c->reference_perplexity);
    json_estimate("kl", c->kl);
    printf(",\"kl_median\":%.9g,\"kl_p90\":%.9g,\"kl_p99\":%.9g,\"kl_p999\":%.9g,\"kl_max\":%.9g",
           c->kl_median, c->kl_p90, c->kl_p99, c->kl_p999, c->kl_max);
    json_fraction("same_top", c->same_top);
    json_estimate("flips", c->flips);
    json_estimate("rms_delta_p", c->rms_delta_p);
    printf(",\"kl_percentiles\":[");
    for (int i = 0; i <= 100; i++) printf("%s%.6g", i ? "," : "", c->kl_percentiles[i]);
    putchar(']');
}

static void json_evaluation(const report *r) {
    const nut_evaluation *e = &r->evaluation;
    printf(",\"windows\":%u,\"scored\":%llu,\"bytes\":%llu", (unsigned)e->n_windows,
           (unsigned long long)e->n_scored, (unsigned long long)e->n_bytes);
    json_estimate("perplexity", e->perplexity);
    json_estimate("mean_nll", e->nll);
    json_estimate("bits_per_byte", e->bits_per_byte);
    if (e->compared) json_comparison(&e->comparison);
    json_windows(r);
}

static void json_task(const char *between, const char *name, const char *of, const nut_task_result *t,
                      const nut_fraction *kept) {
    printf("%s{\"task\":\"%s\",\"of\":\"%s\",\"items\":%llu,\"left_out\":%llu,\"chance\":%.3g", between,
           name, of, (unsigned long long)t->accuracy.n, (unsigned long long)t->n_left_out, t->chance);
    json_fraction("accuracy", t->accuracy);
    json_estimate("nll", t->nll);
    if (kept) json_fraction("kept", *kept);
    putchar('}');
}

static void json_tasks(const report *r) {
    printf(",\"tasks\":[");
    for (size_t i = 0; i < r->n_tasks; i++) {
        const report_task *t = &r->tasks[i];
        json_task(i ? "," : "", t->name, "model", &t->model, r->tasks_compared ? &t->kept : NULL);
        if (r->tasks_compared) json_task(",", t->name, "reference", &t->reference, NULL);
    }
    putchar(']');
}

static void json_member(const char *name, const char *text) {
    printf(",\"%s\":", name);
    cli_json_text(stdout, text ? text : "", text ? strlen(text) : 0);
}

static void json_continuations(const report *r) {
    printf(",\"continuations\":[");
    for (size_t i = 0; i < r->n_continuations; i++) {
        const report_continuation *c = &r->continuations[i];
        printf("%s{\"tokens\":%u", i ? "," : "", (unsigned)c->n);
        json_member("prompt", c->prompt);
        json_member("model", c->model);
        if (c->reference)
            json_member("reference", c->reference), printf(",\"same\":%u", (unsigned)c->n_same);
        putchar('}');
    }
    putchar(']');
}

void report_json(const report *r) {
    printf("{\"kernel\":\"%s\",\"file_bytes\":%llu", nut_model_kernel(r->model.model),
           (unsigned long long)r->model.bytes);
    if (r->reference.facts) printf(",\"reference_bytes\":%llu", (unsigned long long)r->reference.bytes);
    if (r->text) json_evaluation(r);
    if (r->text) shortcuts_json(&r->shortcuts);
    json_tasks(r);
    if (r->n_continuations) json_continuations(r);
    printf("}\n");
}

/* ---- HTML: the parts ---- */

/* Colors have a contrast of 4.5 and more with their background in both schemes (WCAG 2.1, 1.4.3). */
static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<style>\n"
    ":root { color-scheme: light dark; --back: #fff; --text: #1b1b1f; --soft: #55555f; --grid: #d4d4dc;"
    " --model: #1f5fc4; --other: #a8501a; }\n"
    "@media (prefers-color-scheme: dark) { :root { --back: #16161a; --text: #ececf1; --soft: #b3b3bf;"
    " --grid: #3a3a44; --model: #7fb0ff; --other: #f0a35e; } }\n"
    "body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; "
    "}\n"
    "main { max-width: 60rem; margin: 0 auto; padding: 1rem; }\n"
    "h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }\n"
    "h1, td, p { overflow-wrap: anywhere; }\n"
    ".note { color: var(--soft); }\n"
    "table { border-collapse: collapse; margin: 1rem 0; } caption { text-align: left; color: var(--soft); "
    "}\n"
    "th, td { padding: 0.25rem 0.8rem 0.25rem 0; text-align: left; vertical-align: top;"
    " border-bottom: 1px solid var(--grid); }\n"
    "svg { width: 100%; height: auto; display: block; margin: 1rem 0; } svg text { font-size: 12px; fill: "
    "var(--soft); }\n"
    ".grid { stroke: var(--grid); } polyline { fill: none; stroke-width: 2; }\n"
    ".model { stroke: var(--model); fill: var(--model); } .reference { stroke: var(--other); fill: "
    "var(--other); }\n"
    "polyline.model, polyline.reference { fill: none; }\n"
    ".texts td { white-space: pre-wrap; width: 50%; }\n"
    "</style>\n<title>";

static void put(FILE *f, const char *text) {
    chart_text(f, text, strlen(text));
}

static void begin_section(FILE *f, const char *title) {
    fprintf(f, "<section>\n<h2>%s</h2>\n", title);
}

static void row_head(FILE *f, const char *name) {
    fprintf(f, "<tr><th scope=\"row\">%s</th><td>", name);
}

static void row_text(FILE *f, const char *name, const char *value) {
    row_head(f, name);
    put(f, value);
    fprintf(f, "</td></tr>\n");
}

static void row_estimate(FILE *f, const char *name, nut_estimate e, double by, const char *unit) {
    row_head(f, name);
    fprintf(f, "%.5g ± %.2g%s</td></tr>\n", by * e.value, by * e.error, unit);
}

static void row_number(FILE *f, const char *name, double value, const char *unit) {
    row_head(f, name);
    fprintf(f, "%.4g%s</td></tr>\n", value, unit);
}

/* ---- HTML: what was measured ---- */

static void put_types(FILE *f, const char *facts) {
    const char *at = strstr(facts, "\"types\":{"), *end = at ? strchr(at, '}') : NULL;
    if (!end) return;
    for (at += strlen("\"types\":{"); at < end; at++)
        if (*at == ',')
            fputs(", ", f);
        else if (*at == ':')
            fputs(" × ", f);
        else if (*at != '"')
            chart_text(f, at, 1);
}

static void put_model(FILE *f, const char *name, const report_model *m) {
    row_head(f, name);
    put(f, m->path);
    if (!m->facts) {
        fprintf(f, ", stored logits</td></tr>\n");
        return;
    }
    fprintf(f, ": %.1f MB, %.1f million weights, %.2f bits a weight; tensors: ", (double)m->bytes / 1e6,
            (double)m->n_params / 1e6, bits_per_weight(m));
    put_types(f, m->facts);
    fprintf(f, "; kernels %s</td></tr>\n", nut_model_kernel(m->model));
}

static void put_measured(FILE *f, const report *r) {
    begin_section(f, "What was measured");
    fprintf(f, "<table>\n");
    put_model(f, "Model", &r->model);
    if (r->reference.path) put_model(f, "Reference", &r->reference);
    if (r->reference.facts) {
        row_head(f, "Size");
        fprintf(f, "%.3f of the reference's file</td></tr>\n",
                (double)r->model.bytes / (double)r->reference.bytes);
    }
    if (r->text) {
        row_text(f, "Text", r->text);
        row_head(f, "Windows");
        fprintf(
            f, "%u of %u tokens; %llu tokens, %llu bytes scored: of each window the second half</td></tr>\n",
            (unsigned)r->evaluation.n_windows, (unsigned)r->window,
            (unsigned long long)r->evaluation.n_scored, (unsigned long long)r->evaluation.n_bytes);
    }
    fprintf(f, "</table>\n</section>\n");
}

/* What compress has written into the file. */
static void put_recipe(FILE *f, const nut_model *m) {
    char key[80], value[2000];
    static const char mark[] = "nutshell.";
    bool any = false;
    for (size_t i = 0; nut_model_meta_at(m, i, key, sizeof key, value, sizeof value); i++) {
        if (strncmp(key, mark, sizeof mark - 1) != 0) continue;
        if (!any) {
            begin_section(f, "How the model was made");
            fprintf(f, "<table>\n<caption>As its file says</caption>\n");
        }
        any = true;
        fprintf(f, "<tr><th scope=\"row\">");
        put(f, key + sizeof mark - 1);
        fprintf(f, "</th><td>");
        put(f, value);
        fprintf(f, "</td></tr>\n");
    }
    if (any) fprintf(f, "</table>\n</section>\n");
}

/* ---- HTML: the text ---- */

static void put_distance(FILE *f, const nut_comparison *c) {
    row_estimate(f, "Perplexity of the reference", c->reference_perplexity, 1, "");
    row_estimate(f, "KL divergence, mean", c->kl, 1, " nats a token");
    row_number(f, "KL divergence, median", c->kl_median, "");
    row_number(f, "… 90 % of tokens below", c->kl_p90, "");
    row_number(f, "… 99 %", c->kl_p99, "");
    row_number(f, "… 99.9 %", c->kl_p999, "");
    row_number(f, "… most", c->kl_max, "");
    row_head(f, "Same likeliest token");
    fprintf(f, "%.2f %% (%.2f to %.2f)</td></tr>\n", 100 * c->same_top.value, 100 * c->same_top.low,
            100 * c->same_top.high);
    row_estimate(f, "Flips, weighted by probability", c->flips, 1, "");
    row_estimate(f, "Δp, root mean square", c->rms_delta_p, 100, " %");
}

static nut_status put_windows(FILE *f, const report *r, nut_error *err) {
    const uint32_t n = r->evaluation.n_windows;
    double *y = malloc(3 * (size_t)n * sizeof *y);
    if (!y) return cli_error(err, NUT_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < n; i++)
        y[i] = r->windows[i].nll, y[n + i] = r->windows[i].reference_nll, y[2 * n + i] = r->windows[i].kl;
    const chart_line nll[] = {{"model", "model", y}, {"reference", "reference", y + n}},
                     kl[] = {{"model", "model", y + 2 * (size_t)n}};
    const bool compared = r->evaluation.compared;
    chart_lines(f,
                &(chart){"Loss by window", "window", "nats a token", 1, n, n, nll, compared ? 2 : 1, false});
    if (compared)
        chart_lines(
            f, &(chart){"KL divergence by window", "window", "KL, nats a token", 1, n, n, kl, 1, false});
    free(y);
    return NUT_OK;
}

static nut_status put_text_results(FILE *f, const report *r, nut_error *err) {
    const nut_evaluation *e = &r->evaluation;
    begin_section(f, e->compared ? "How far from the reference" : "How well it predicts the text");
    fprintf(f, "<table>\n<caption>± is the standard error</caption>\n");
    row_estimate(f, "Perplexity", e->perplexity, 1, "");
    row_estimate(f, "Bits a byte", e->bits_per_byte, 1, "");
    if (e->compared) put_distance(f, &e->comparison);
    fprintf(f, "</table>\n");
    if (e->compared) {
        fprintf(
            f, "<p class=\"note\">KL is 0 where the model's probabilities are the reference's. A flip is a "
               "token that the model finds likeliest and the reference does not; it counts by how much less "
               "likely the reference finds it. Δp is the change of the probability of the token that "
               "came.</p>\n");
        const chart_line line = {"model", "model", e->comparison.kl_percentiles};
        chart_lines(f, &(chart){"KL divergence: what part of the tokens is below", "% of tokens",
                                "KL, nats (logarithmic)", 0, 100, 101, &line, 1, true});
    }
    const nut_status status = put_windows(f, r, err);
    fprintf(f, "</section>\n");
    return status;
}

/* ---- HTML: tasks ---- */

static const char *verdict(const report *r, const report_task *t) {
    const double kept = t->kept.value;
    if (!r->tasks_compared)
        return t->model.accuracy.low > t->model.chance ? "it can" : "no better than chance";
    if (t->reference.accuracy.low <= t->reference.chance) return "the reference cannot either";
    return kept >= 0.95 ? "kept" : kept >= 0.8 ? "mostly kept" : kept >= 0.5 ? "partly lost" : "lost";
}

static void put_percent(FILE *f, nut_fraction p) {
    fprintf(f, "<td>%.1f %% (%.1f to %.1f)</td>", 100 * p.value, 100 * p.low, 100 * p.high);
}

static void put_task(FILE *f, const report *r, const report_task *t) {
    fprintf(f, "<tr><th scope=\"row\">");
    put(f, t->name);
    fprintf(f, "</th><td>%llu</td>", (unsigned long long)t->model.accuracy.n);
    put_percent(f, t->model.accuracy);
    if (r->tasks_compared) put_percent(f, t->reference.accuracy), put_percent(f, t->kept);
    fprintf(f, "<td>%.0f %%</td><td>%s</td></tr>\n", 100 * t->model.chance, verdict(r, t));
}

static void put_tasks(FILE *f, const report *r) {
    chart_row rows[REPORT_TASKS];
    for (size_t i = 0; i < r->n_tasks; i++)
        rows[i] = (chart_row){r->tasks[i].name, r->tasks[i].model.accuracy, r->tasks[i].reference.accuracy};
    begin_section(f, "What can this model still do?");
    chart_fractions(f, "Right answers by task, with intervals of 95 %", rows, r->n_tasks);
    fprintf(f, "<table>\n<caption>Right answers, with Wilson’s intervals of 95 %%</caption>\n<tr><th "
               "scope=\"col\">Task</th><th scope=\"col\">Items</th><th scope=\"col\">Model</th>");
    if (r->tasks_compared)
        fprintf(f, "<th scope=\"col\">Reference</th><th scope=\"col\">Kept of the reference’s</th>");
    fprintf(f, "<th scope=\"col\">By chance</th><th scope=\"col\">Verdict</th></tr>\n");
    for (size_t i = 0; i < r->n_tasks; i++) put_task(f, r, &r->tasks[i]);
    fprintf(f, "</table>\n</section>\n");
}

/* ---- HTML: continuations ---- */

static void put_continuation(FILE *f, const report_continuation *c) {
    fprintf(f, "<table class=\"texts\">\n<caption>");
    put(f, c->prompt);
    if (c->reference)
        fprintf(f, " (%u of %u tokens are the reference’s)", (unsigned)c->n_same, (unsigned)c->n);
    fprintf(f, "</caption>\n<tr><th scope=\"col\">Model</th>%s</tr>\n<tr><td>",
            c->reference ? "<th scope=\"col\">Reference</th>" : "");
    put(f, c->model ? c->model : "");
    fprintf(f, "</td>");
    if (c->reference) {
        fprintf(f, "<td>");
        put(f, c->reference);
        fprintf(f, "</td>");
    }
    fprintf(f, "</tr>\n</table>\n");
}

static void put_continuations(FILE *f, const report *r) {
    begin_section(f, r->reference.model ? "Continuations side by side" : "Continuations");
    fprintf(f, "<p class=\"note\">Always the likeliest token. One that differs early says little by itself: "
               "read whether the text stays sensible.</p>\n");
    for (size_t i = 0; i < r->n_continuations; i++) put_continuation(f, &r->continuations[i]);
    fprintf(f, "</section>\n");
}

/* ---- HTML: the whole ---- */

static nut_status put_page(FILE *f, const report *r, nut_error *err) {
    nut_status status = NUT_OK;
    const char *slash = strrchr(r->model.path, '/'), *name = slash ? slash + 1 : r->model.path;
    fputs(head, f);
    put(f, name);
    fprintf(f, ": evaluation</title>\n</head>\n<body>\n<main>\n<h1>");
    put(f, name);
    fprintf(f, "</h1>\n");
    put_measured(f, r);
    if (r->text) status = put_text_results(f, r, err);
    if (r->n_tasks) put_tasks(f, r);
    if (r->n_continuations) put_continuations(f, r);
    put_recipe(f, r->model.model);
    fprintf(f, "<p class=\"note\">Made by nutshell %s.</p>\n</main>\n</body>\n</html>\n", nut_version());
    return status;
}

nut_status report_html(const report *r, const char *path, nut_error *err) {
    file_sink sink = {0};
    TRY(file_sink_open(path, &sink, err));
    nut_status status = put_page(sink.file, r, err);
    if (status == NUT_OK && ferror(sink.file))
        status = cli_error(err, NUT_E_IO, "cannot write \"%s\"; is the disk full?", sink.temporary);
    if (status == NUT_OK) return file_sink_commit(&sink, err);
    file_sink_abort(&sink);
    return status;
}
