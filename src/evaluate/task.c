/*
 * Tasks: questions whose right answer the model finds likeliest. The likelihood of an answer is the mean
 * logarithm of the probabilities of its tokens behind the question, as in llama.cpp's HellaSwag score
 * (Zellers et al. 2019, arXiv 1905.07830). For the last word of a passage (LAMBADA: Paperno et al. 2016,
 * arXiv 1606.06031) an answer is right where each of its tokens is the likeliest. A kind of task is a row:
 * how an item is read. A step answers one item.
 */
#include "base/error.h"
#include "base/job.h"
#include "base/mem.h"
#include "evaluate/skills.h"
#include "evaluate/figures.h"
#include "evaluate/json_line.h"
#include "run/session.h"

#include <string.h>

enum { MOST = 8 }; // answers of an item

typedef struct task_item {
    gguf_str question, answers[MOST]; // an answer stands behind the question and a space
    unsigned n, right;
} task_item;

typedef struct task task;

typedef struct task_kind {
    const char *name;
    bool one; // an item has one answer, which must be the likeliest of all texts
    bool (*read)(task *t, task_item *item);
} task_kind;

struct task {
    nut_job job;
    const task_kind *kind;
    nut_session *session;
    const char *text;
    char *own;          // the text, where it is built in
    size_t n_text, at;  // bytes of the text that were read
    uint64_t most;      // items; 0: all
    char *buffer;       // (3 * n_text + MOST) texts of an item
    int32_t *ids[MOST]; // (n_ctx) of the question and an answer
    size_t n_ids[MOST];
    uint64_t n, n_right, n_long;
    bool *right;      // (n_text / 4 + 1) of the n items that were answered; an item takes more bytes
    figures_mean nll; // of right answers, all their tokens
    double chance;    // sum over the items
};

/* ---- reading ---- */

/* The next line without its end; false at the end of the text. */
static bool next_line(task *t, gguf_str *line) {
    if (t->at >= t->n_text) return false;
    const char *first = t->text + t->at, *end = memchr(first, '\n', t->n_text - t->at);
    const size_t n = end ? (size_t)(end - first) : t->n_text - t->at;
    t->at += n + 1;
    *line = (gguf_str){first, n && first[n - 1] == '\r' ? n - 1 : n};
    return true;
}

/* llama.cpp's form: the question, the number of the right one, four answers; a line each. */
static bool read_six_lines(task *t, task_item *item) {
    gguf_str number;
    if (!next_line(t, &item->question) || !next_line(t, &number) || number.n != 1) return false;
    item->right = (unsigned)(number.s[0] - '0');
    for (item->n = 0; item->n < 4; item->n++)
        if (!next_line(t, &item->answers[item->n])) return false;
    return item->right < item->n;
}

static bool read_text(char **to, gguf_str line, const char *key, gguf_str *out) {
    size_t n;
    if (!json_line_text(line.s, (size_t)line.n, key, *to, &n)) return false;
    *out = (gguf_str){*to, n};
    *to += n;
    return true;
}

static bool read_two_solutions(task *t, task_item *item) {
    gguf_str line;
    char *to = t->buffer;
    item->n = 2;
    return next_line(t, &line) && read_text(&to, line, "goal", &item->question) &&
           read_text(&to, line, "sol1", &item->answers[0]) &&
           read_text(&to, line, "sol2", &item->answers[1]) &&
           json_line_digit(line.s, (size_t)line.n, "label", &item->right) && item->right < 2;
}

static bool read_last_word(task *t, task_item *item) {
    gguf_str line, all;
    char *to = t->buffer;
    if (!next_line(t, &line) || !read_text(&to, line, "text", &all)) return false;
    size_t at = (size_t)all.n;
    while (at > 0 && all.s[at - 1] != ' ') at--;
    if (at < 2 || at == all.n) return false;
    item->question = (gguf_str){all.s, at - 1};
    item->answers[0] = (gguf_str){all.s + at, all.n - at};
    item->n = 1, item->right = 0;
    return true;
}

static const task_kind kinds[] = {
    {"hellaswag", false, read_six_lines},
    {"piqa", false, read_two_solutions},
    {"lambada", true, read_last_word},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* ---- answering ---- */

/* Tokens of the question, a space and answer k; *fits is false where they are more than the context. */
static nut_status tokenize(task *t, const task_item *item, unsigned k, bool *fits, nut_error *err) {
    const gguf_str q = item->question, a = item->answers[k];
    const vocab *v = t->session->seq.ws->model->vocab;
    char *whole = t->buffer + t->n_text; // behind the item's own texts
    memcpy(whole, q.s, (size_t)q.n);
    whole[q.n] = ' ';
    memcpy(whole + q.n + 1, a.s, (size_t)a.n);
    const nut_status status = vocab_tokenize(v, whole, (size_t)(q.n + 1 + a.n), NUT_TOKENIZE_ADD_BOS,
                                             t->ids[k], t->session->seq.n_ctx, &t->n_ids[k], err);
    *fits = t->n_ids[k] <= t->session->seq.n_ctx;
    return *fits ? status : NUT_OK;
}

/* Tokens that all answers begin with; one of an answer's is left at least. With a single answer, those of
 * the question alone. */
static nut_status count_shared(task *t, const task_item *item, size_t *shared, nut_error *err) {
    size_t n = t->n_ids[0] - 1;
    for (unsigned k = 1; k < item->n; k++) {
        size_t i = 0;
        while (i < n && i + 1 < t->n_ids[k] && t->ids[k][i] == t->ids[0][i]) i++;
        n = i;
    }
    if (item->n == 1) {
        const vocab *v = t->session->seq.ws->model->vocab;
        size_t n_question;
        TRY(vocab_tokenize(v, item->question.s, (size_t)item->question.n, NUT_TOKENIZE_ADD_BOS, t->ids[1],
                           t->session->seq.n_ctx, &n_question, err));
        size_t i = 0;
        while (i < n && i < n_question && t->ids[1][i] == t->ids[0][i]) i++;
        n = i;
    }
    *shared = n;
    return NUT_OK;
}

typedef struct answer {
    double log_p;
    size_t n;    // tokens
    bool is_top; // each was the likeliest
} answer;

static nut_status add_token(const task *t, answer *a, size_t row, int32_t id, nut_error *err) {
    const float *logits = nut_session_logits(t->session, row);
    const size_t n_vocab = t->session->seq.ws->model->hp.n_vocab;
    TRY(sampler_check_logits(logits, n_vocab, err));
    const figures_row r = figures_of_row(logits, n_vocab);
    a->log_p += figures_log_p(&r, (size_t)id);
    a->is_top &= r.top == (size_t)id;
    a->n++;
    return NUT_OK;
}

/* Tokens from `shared` on, behind those before; the last shared one is evaluated again for its logits. */
static nut_status answer_item(task *t, unsigned k, size_t shared, answer *out, nut_error *err) {
    const int32_t *ids = t->ids[k];
    const size_t most = t->session->seq.ws->n_logits_max;
    *out = (answer){.is_top = true};
    TRY(nut_session_truncate(t->session, (uint32_t)shared - 1, err));
    for (size_t i = shared - 1, n; i + 1 < t->n_ids[k]; i += n) {
        n = t->n_ids[k] - 1 - i < most ? t->n_ids[k] - 1 - i : most;
        TRY(nut_session_eval(t->session, ids + i, n, n, err));
        for (size_t r = 0; r < n; r++) TRY(add_token(t, out, r, ids[i + r + 1], err));
    }
    return NUT_OK;
}

static nut_status judge(task *t, const task_item *item, size_t shared, nut_error *err) {
    double best = 0, right = 0;
    unsigned choice = 0;
    bool is_top = false;
    TRY(nut_session_truncate(t->session, 0, err));
    if (shared > 1) TRY(nut_session_eval(t->session, t->ids[0], shared - 1, 0, err));
    for (unsigned k = 0; k < item->n; k++) {
        answer a;
        TRY(answer_item(t, k, shared, &a, err));
        const double mean = a.log_p / (double)a.n;
        if (k == 0 || mean > best) best = mean, choice = k;
        if (k == item->right) right = a.log_p, is_top = a.is_top;
    }
    const bool answered = t->kind->one ? is_top : choice == item->right;
    t->right[t->n++] = answered;
    t->n_right += answered;
    figures_add(&t->nll, -right);
    t->chance += t->kind->one ? 0 : 1.0 / item->n;
    return NUT_OK;
}

/* An item that is longer than the context is left out, and counted. */
static nut_status do_item(task *t, const task_item *item, nut_error *err) {
    size_t shared;
    for (unsigned k = 0; k < item->n; k++) {
        bool fits;
        TRY(tokenize(t, item, k, &fits, err));
        if (!fits || t->n_ids[k] < 2) {
            t->n_long++;
            return NUT_OK;
        }
    }
    TRY(count_shared(t, item, &shared, err));
    if (shared) return judge(t, item, shared, err);
    t->n_long++;
    return NUT_OK;
}

static void skip_empty(task *t) {
    while (t->at < t->n_text && (t->text[t->at] == '\n' || t->text[t->at] == '\r')) t->at++;
}

static nut_status step(nut_job *job, nut_error *err) {
    task *t = (task *)job;
    task_item item = {.n = 0};
    skip_empty(t);
    if (t->at >= t->n_text || (t->most && t->n + t->n_long >= t->most)) {
        job_done(job);
        return NUT_OK;
    }
    if (!t->kind->read(t, &item))
        return error_set(err, NUT_E_ARGUMENT, "item %llu is not of the form that task %s has",
                         (unsigned long long)(t->n + t->n_long + 1), t->kind->name);
    TRY(do_item(t, &item, err));
    job_progress(job, t->kind->name, t->at < t->n_text ? t->at : t->n_text, t->n_text);
    return NUT_OK;
}

/* ---- the job ---- */

static void free_job(nut_job *job) {
    task *t = (task *)job;
    for (size_t k = 0; k < MOST; k++) mem_free(t->ids[k]);
    mem_free(t->buffer);
    mem_free(t->right);
    mem_free(t->own);
    mem_free(t);
}

static const job_ops ops = {step, free_job};

static nut_status take_memory(task *t, nut_error *err) {
    size_t bytes;
    if (!size_mul(3, t->n_text, &bytes) || !size_add(bytes, MOST, &bytes))
        return error_memory(err, UINT64_MAX);
    t->buffer = mem_alloc(bytes);
    t->right = mem_calloc(t->n_text / 4 + 1, sizeof *t->right);
    bool taken = t->buffer && t->right;
    for (size_t k = 0; taken && k < MOST; k++) {
        t->ids[k] = mem_calloc(t->session->seq.n_ctx, sizeof *t->ids[k]);
        taken = t->ids[k];
    }
    return taken ? NUT_OK : error_memory(err, bytes);
}

static const task_kind *find_kind(const char *name) {
    for (size_t i = 0; i < N_KINDS; i++)
        if (!strcmp(kinds[i].name, name)) return &kinds[i];
    return NULL;
}

/* The text of a skill, which has the first kind's form. */
static nut_status take_skill(task *t, const char *name, nut_error *err) {
    t->kind = &kinds[0];
    t->text = t->own = skills_text(name, &t->n_text);
    if (t->own) return NUT_OK;
    if (t->n_text) return error_memory(err, t->n_text);
    return error_set(err, NUT_E_ARGUMENT, "there are no questions for a skill \"%.20s\"", name);
}

nut_status nut_task_begin(nut_session *session, const char *name, const char *text, size_t n_text,
                          uint32_t max_items, nut_job **out, nut_error *err) {
    const task_kind *kind = find_kind(name);
    if (text && !kind)
        return error_set(err, NUT_E_ARGUMENT,
                         "there is no task \"%.20s\"; choose one of hellaswag, piqa, lambada", name);
    task *t = mem_calloc(1, sizeof *t);
    if (!t) return error_memory(err, sizeof *t);
    *t = (task){.job = {.ops = &ops},
                .kind = kind,
                .session = session,
                .text = text,
                .n_text = n_text,
                .most = max_items};
    nut_status status = text ? NUT_OK : take_skill(t, name, err);
    if (status == NUT_OK) status = take_memory(t, err);
    if (status == NUT_OK)
        *out = &t->job;
    else
        free_job(&t->job);
    return status;
}

static nut_status check_done(const nut_job *job, nut_error *err) {
    if (job->ops == &ops && job->event.kind == NUT_JOB_DONE) return NUT_OK;
    return error_set(err, NUT_E_STATE, "the result is not known before its job is done");
}

nut_status nut_task_get(const nut_job *job, nut_task_result *out, nut_error *err) {
    const task *t = (const task *)job;
    TRY(check_done(job, err));
    *out = (nut_task_result){.accuracy = figures_fraction(t->n_right, t->n),
                             .nll = figures_estimate(&t->nll),
                             .chance = t->n ? t->chance / (double)t->n : 0,
                             .n_left_out = t->n_long};
    return NUT_OK;
}

/* Both have read the same items where they have left out the same. */
nut_status nut_task_kept(const nut_job *job, const nut_job *reference, nut_fraction *out, nut_error *err) {
    const task *t = (const task *)job, *r = (const task *)reference;
    uint64_t n = 0, kept = 0;
    TRY(check_done(job, err));
    TRY(check_done(reference, err));
    if (t->n != r->n || t->n_long != r->n_long)
        return error_set(err, NUT_E_ARGUMENT, "the jobs have answered other items");
    for (uint64_t i = 0; i < t->n; i++) n += r->right[i], kept += r->right[i] && t->right[i];
    *out = figures_fraction(kept, n);
    return NUT_OK;
}
