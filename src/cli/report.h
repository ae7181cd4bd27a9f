/* What nutshell evaluate has found, and the report that is made of it. */
#ifndef NUT_CLI_REPORT_H
#define NUT_CLI_REPORT_H

#include "cli/shortcuts.h"

enum { REPORT_TASKS = 2 * NUT_MAX_STOPS };

/* A model that was measured. */
typedef struct report_model {
    const char *path;
    char *facts; // JSON of nut_model_info, malloc'ed; NULL: stored logits
    uint64_t bytes, n_params;
    const nut_model *model; // NULL: stored logits
} report_model;

typedef struct report_task {
    char name[32];
    nut_task_result model, reference;
    nut_fraction kept; // of what the reference answers rightly
} report_task;

/* A prompt and what follows it, greedily. */
typedef struct report_continuation {
    char *prompt, *model, *reference; // malloc'ed; reference NULL: none was there
    uint32_t n, n_same; // tokens of the model's, and those in front that are the reference's too
} report_continuation;

typedef struct report {
    report_model model, reference; // reference.path NULL: none
    const char *text;              // path; NULL: no text was evaluated
    uint32_t window;
    nut_evaluation evaluation;
    nut_evaluation_window *windows; // (evaluation.n_windows), malloc'ed
    shortcut_figures shortcuts;     // of the text
    report_task tasks[REPORT_TASKS];
    size_t n_tasks;
    bool tasks_compared;                // with a reference that can run
    report_continuation *continuations; // (n_continuations)
    size_t n_continuations;
} report;

void report_free(report *r);
/* A number of the facts; 0 where it is missing. */
uint64_t report_fact(const char *facts, const char *name);

/* One JSON object on stdout. */
void report_json(const report *r);
/* One HTML file with charts, which reads nothing else. */
nut_status report_html(const report *r, const char *path, nut_error *err);

/* ---- charts (chart.c), as SVG inside of HTML ---- */

/* Text with what HTML would read as markup escaped; n bytes of any kind. */
void chart_text(FILE *f, const char *s, size_t n);

typedef struct chart_line {
    const char *name, *style; // "model" or "reference"
    const double *y;          // (n)
} chart_line;

/* Lines over x from first to last. log_scale: of y, whose values at 0 are drawn at the lower end. */
typedef struct chart {
    const char *title, *x_name, *y_name;
    double first, last; // of x
    size_t n;
    const chart_line *lines;
    size_t n_lines;
    bool log_scale;
} chart;
void chart_lines(FILE *f, const chart *c);

/* A row of fractions with their intervals. */
typedef struct chart_row {
    const char *name;
    nut_fraction model, reference; // reference.n 0: none
} chart_row;
void chart_fractions(FILE *f, const char *title, const chart_row *rows, size_t n);

/* ---- continuations (continue.c) ---- */

/* Continues each line of a text (n_text bytes; NULL: prompts that are built in) with the model and the
 * reference, which may be NULL. */
nut_status continue_prompts(const nut_model *model, const nut_model *reference, const char *text,
                            uint32_t n_threads, report *r, nut_error *err);

#endif
