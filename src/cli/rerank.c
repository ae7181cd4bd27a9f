/* nutshell rerank: how well documents answer a query, by a model that gives scores. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef struct rerank_args {
    file_options file;
    const char *ids;
    uint32_t n_threads;
} rerank_args;

/* A document and its score. */
typedef struct ranked {
    char *text;
    size_t line; // in the file, from 1
    float score; // the first, where the model gives several
} ranked;

typedef struct ranking {
    ranked *items; // (cap) of which n
    size_t n, cap;
} ranking;

/* ---- scores ---- */

/* Scores (nut_model_n_scores) of a text that is n ids, malloc'ed. */
static nut_status score_ids(const rerank_args *a, const nut_model *m, const int32_t *ids, size_t n,
                            float **out, nut_error *err) {
    const uint32_t whole = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    const nut_session_options so = {
        .n_ctx = whole < 2 ? 2 : whole, .n_threads = a->n_threads, .n_batch = whole};
    const size_t n_scores = nut_model_n_scores(m);
    nut_session *s;
    float *scores = malloc((n_scores ? n_scores : 1) * sizeof *scores);
    if (!scores) return cli_error(err, NUT_E_MEMORY, "out of memory for %zu scores", n_scores);
    nut_status status = nut_session_new(m, &so, &s, err);
    if (status == NUT_OK) {
        status = nut_session_score(s, ids, n, scores, err);
        nut_session_free(s);
    }
    if (status != NUT_OK)
        free(scores);
    else
        *out = scores;
    return status;
}

static nut_status tokenize_pair(const nut_model *m, const char *query, const char *document, int32_t **ids,
                                size_t *n, nut_error *err) {
    const size_t n_query = strlen(query), n_document = strlen(document);
    nut_status status = nut_tokenize_pair(m, query, n_query, document, n_document, NULL, 0, n, err);
    if (status != NUT_OK && !*n) return status;
    *ids = malloc(*n * sizeof **ids);
    if (!*ids) return cli_error(err, NUT_E_MEMORY, "out of memory for %zu token ids", *n);
    status = nut_tokenize_pair(m, query, n_query, document, n_document, *ids, *n, n, err);
    if (status != NUT_OK) free(*ids);
    return status;
}

static nut_status score_document(const rerank_args *a, const nut_model *m, const char *query, ranked *d,
                                 nut_error *err) {
    int32_t *ids;
    size_t n;
    float *scores;
    TRY(tokenize_pair(m, query, d->text, &ids, &n, err));
    const nut_status status = score_ids(a, m, ids, n, &scores, err);
    free(ids);
    if (status != NUT_OK) return status;
    d->score = scores[0];
    free(scores);
    return NUT_OK;
}

/* ---- documents ---- */

static nut_status add_document(ranking *r, const char *line, size_t at, nut_error *err) {
    if (r->n == r->cap) {
        const size_t cap = r->cap ? 2 * r->cap : 64;
        ranked *items = realloc(r->items, cap * sizeof *items);
        if (!items) return cli_error(err, NUT_E_MEMORY, "out of memory for %zu documents", cap);
        r->items = items, r->cap = cap;
    }
    char *text = malloc(strlen(line) + 1);
    if (!text) return cli_error(err, NUT_E_MEMORY, "out of memory for a document");
    strcpy(text, line);
    r->items[r->n++] = (ranked){text, at, 0};
    return NUT_OK;
}

/* The lines of a file that are not empty. */
static nut_status read_documents(const char *path, ranking *r, nut_error *err) {
    FILE *f = fopen(path, "rb");
    char *line = NULL;
    size_t cap = 0;
    bool more = true;
    nut_status status = NUT_OK;
    if (!f) return cli_error(err, NUT_E_IO, "cannot open %s", path);
    for (size_t at = 1; status == NUT_OK; at++) {
        status = file_read_line(f, &line, &cap, &more, err);
        if (status != NUT_OK || !more) break;
        if (*line) status = add_document(r, line, at, err);
    }
    free(line);
    fclose(f);
    return status;
}

static int best_first(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->line > y->line) - (x->line < y->line);
}

static nut_status rank_documents(const rerank_args *a, const nut_model *m, const char *query,
                                 const char *path, ranking *r, nut_error *err) {
    TRY(read_documents(path, r, err));
    for (size_t i = 0; i < r->n; i++) TRY(score_document(a, m, query, &r->items[i], err));
    if (r->n) qsort(r->items, r->n, sizeof *r->items, best_first);
    for (size_t i = 0; i < r->n; i++) {
        cli_clean(r->items[i].text);
        printf("%.6f\t%zu\t%s\n", (double)r->items[i].score, r->items[i].line, r->items[i].text);
    }
    return NUT_OK;
}

/* ---- the command ---- */

static nut_status print_scores(const rerank_args *a, const nut_model *m, nut_error *err) {
    int32_t *ids;
    size_t n;
    float *scores;
    TRY(cli_parse_ids(a->ids, &ids, &n, err));
    const nut_status status = score_ids(a, m, ids, n, &scores, err);
    free(ids);
    if (status != NUT_OK) return status;
    for (uint32_t i = 0; i < nut_model_n_scores(m); i++) printf("%.9g\n", (double)scores[i]);
    free(scores);
    return NUT_OK;
}

nut_status command_rerank(int argc, char **argv, nut_error *err) {
    rerank_args a = {.n_threads = 1};
    const arg_option options[] = {
        {"--ids", ARG_TEXT, &a.ids, "print the scores of token ids, as 1,2,3; none is added"},
        {"--threads", ARG_U32, &a.n_threads, "threads (1)"},
        {"--kernel", ARG_TEXT, &a.file.kernel, "ref, simd128, pairs or relaxed"},
        {"--reference", ARG_FLAG, &a.file.reference, "hold all weights as floats"},
    };
    const char *p[3] = {NULL, NULL, NULL};
    const size_t n_wanted = cli_has_option(argc, argv, "--ids") ? 1 : 3;
    arg_set set = {"rerank", "MODEL (QUERY FILE | --ids 1,2,3), a document in each line of FILE",
                   options,  COUNT(options),
                   p,        n_wanted};
    ranking r = {0};
    nut_model *m;
    TRY(args_parse(&set, argc, argv, err));
    TRY(file_load_model(p[0], &a.file, &m, err));
    const nut_status status = a.ids ? print_scores(&a, m, err) : rank_documents(&a, m, p[1], p[2], &r, err);
    for (size_t i = 0; i < r.n; i++) free(r.items[i].text);
    free(r.items);
    nut_model_free(m);
    return status;
}
