/* Tasks: items that are read, and choices, against likelihoods that are computed here from whole texts, each
 * from an empty cache; texts of JSON as RFC 8259 has them. */
#include "check.h"
#include "counting_alloc.h"
#include "make_gguf.h"
#include "memory_job.h"

#include "base/mem.h"
#include "evaluate/skills.h"
#include "evaluate/json_line.h"

#include <math.h>

/* ---- JSON ---- */

static void check_text(const char *line, const char *key, const char *want) {
    char *exact = malloc(strlen(line) + 1), out[200] = "";
    size_t n = 0;
    memcpy(exact, line, strlen(line));
    const bool got = json_line_text(exact, strlen(line), key, out, &n);
    CHECK(got == (want != NULL) && (!got || (n == strlen(want) && !memcmp(out, want, n))),
          "%s of %s: \"%.*s\"", key, line, (int)n, out);
    free(exact);
}

static void test_json(void) {
    unsigned digit = 9;
    check_text("{\"a\": \"b\"}", "a", "b");
    check_text(" { \"x\" : [1, {\"a\": \"no\"}, \"]\"], \"a\":\"yes\" }", "a", "yes");
    check_text("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "a", "\"\\/\b\f\n\r\t");
    check_text("{\"a\":\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"}", "a",
               "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    check_text("{\"a\":1}", "a", NULL);
    check_text("{\"b\":\"a\"}", "a", NULL);
    check_text("{\"a\":\"\\ud83d\"}", "a", NULL); // half a character
    check_text("{\"a\":\"\\u12\"}", "a", NULL);
    check_text("{\"a\":\"\\x\"}", "a", NULL);
    check_text("{\"b\":[[[[", "a", NULL);
    check_text("{\"a\":\"cut\\", "a", NULL);
    check_text("\"a\"", "a", NULL);
    check_text("", "a", NULL);
    CHECK(json_line_digit("{\"t\":\"1\",\"label\": 1}", 21, "label", &digit) && digit == 1, "a digit");
    CHECK(!json_line_digit("{\"label\":12}", 12, "label", &digit) &&
              !json_line_digit("{\"label\":", 9, "label", &digit),
          "no digit");
}

/* ---- tasks ---- */

static nut_status run(nut_session *s, const char *kind, const char *text, uint32_t most, nut_task_result *r,
                      nut_error *err) {
    nut_job *job;
    memory_job m = {.n_wrong = 0};
    nut_status status = nut_task_begin(s, kind, text, strlen(text), most, &job, err);
    if (status != NUT_OK) return status;
    status = memory_job_drive(&m, job, err);
    if (status == NUT_OK) status = nut_task_get(job, r, err);
    nut_job_free(job);
    CHECK(m.n_wrong == 0, "the contract of jobs");
    return status;
}

/* Tokens that two texts begin with, but for the last of the first one. */
static size_t shared_tokens(const nut_model *m, const char *text, const char *other) {
    int32_t a[200], b[200];
    size_t n, n_b, first = 0;
    nut_tokenize(m, text, strlen(text), NUT_TOKENIZE_ADD_BOS, a, 200, &n, NULL);
    nut_tokenize(m, other, strlen(other), NUT_TOKENIZE_ADD_BOS, b, 200, &n_b, NULL);
    while (first + 1 < n && first < n_b && a[first] == b[first]) first++;
    return first;
}

/* The mean of log p over the tokens of `text` from `first` on. */
static double mean_log_p(nut_session *s, const nut_model *m, const char *text, size_t first, double *sum,
                         bool *is_top) {
    int32_t a[200];
    size_t n;
    nut_tokenize(m, text, strlen(text), NUT_TOKENIZE_ADD_BOS, a, 200, &n, NULL);
    nut_session_truncate(s, 0, NULL);
    *sum = 0, *is_top = true;
    for (size_t i = 0; i + 1 < n; i++) {
        nut_session_eval(s, a + i, 1, 1, NULL);
        const float *x = nut_session_logits(s, 0);
        double total = 0;
        size_t top = 0;
        for (size_t k = 0; k < nut_model_n_vocab(m); k++) {
            total += exp((double)x[k]);
            top = x[k] > x[top] ? k : top;
        }
        if (i + 1 < first) continue;
        *sum += (double)x[a[i + 1]] - log(total);
        *is_top &= top == (size_t)a[i + 1];
    }
    return *sum / (double)(n - first);
}

typedef struct fixture {
    nut_model *m;
    nut_session *s;
} fixture;

/* The one of n answers whose tokens, behind those that all share, are likeliest in the mean. */
static size_t likeliest(fixture *f, const char *q, const char *const *answers, size_t n) {
    double best = 0, sum;
    size_t choice = 0, shared = 200;
    bool top;
    char whole[4][100];
    for (size_t k = 0; k < n; k++) snprintf(whole[k], sizeof whole[k], "%s %s", q, answers[k]);
    for (size_t k = 0; k < n; k++)
        for (size_t j = 0; j < n; j++) {
            const size_t some = j == k ? 200 : shared_tokens(f->m, whole[k], whole[j]);
            shared = some < shared ? some : shared;
        }
    for (size_t k = 0; k < n; k++) {
        const double mean = mean_log_p(f->s, f->m, whole[k], shared, &sum, &top);
        if (k == 0 || mean > best) best = mean, choice = k;
    }
    return choice;
}

static void test_choices(fixture *f) {
    static const char *const q[] = {"The hen ran", "A man then came", "the owl"};
    static const char *const a[][4] = {{"to the sea.", "down the pane and on.", "at the inn", "in a tree"},
                                       {"home.", "to the hen.", "and went on to the end", "in."},
                                       {"sat there.", "ate the rain.", "ran.", "went to the tree."}};
    char six[600] = "\n", two[600] = "";
    uint64_t right6 = 0, right2 = 0;
    for (size_t i = 0; i < 3; i++) {
        const size_t choice = likeliest(f, q[i], a[i], 4);
        right6 += choice == i;
        right2 += (likeliest(f, q[i], a[i], 2) == 1) == (i == 1);
        snprintf(six + strlen(six), sizeof six - strlen(six), "%s\n%zu\n%s\r\n%s\n%s\n%s\n\n", q[i], i,
                 a[i][0], a[i][1], a[i][2], a[i][3]);
        snprintf(two + strlen(two), sizeof two - strlen(two),
                 "{\"goal\": \"%s\", \"sol1\": \"%s\", \"sol2\": \"%s\", \"label\": %d}\n", q[i], a[i][0],
                 a[i][1], i == 1);
    }
    nut_task_result r;
    nut_error err = {NUT_OK, ""};
    CHECK(run(f->s, "hellaswag", six, 0, &r, &err) == NUT_OK, "%s", err.message);
    CHECK(r.accuracy.n == 3 && fabs(r.accuracy.value - (double)right6 / 3) < 1e-9 && !r.n_left_out,
          "%g right, not %llu of 3", r.accuracy.value, (unsigned long long)right6);
    CHECK(run(f->s, "piqa", two, 0, &r, &err) == NUT_OK, "%s", err.message);
    CHECK(r.accuracy.n == 3 && fabs(r.accuracy.value - (double)right2 / 3) < 1e-9, "%g right, not %llu of 3",
          r.accuracy.value, (unsigned long long)right2);
    CHECK(run(f->s, "hellaswag", six, 2, &r, &err) == NUT_OK && r.accuracy.n == 2,
          "as many items as are asked for");
}

static void test_last_word(fixture *f) {
    nut_task_result r;
    nut_error err = {NUT_OK, ""};
    double sum;
    bool top;
    const char whole[] = "The owl sat in the tree";
    mean_log_p(f->s, f->m, whole, shared_tokens(f->m, whole, "The owl sat in the"), &sum, &top);
    CHECK(run(f->s, "lambada", "{\"text\": \"The owl sat in the tree\"}", 0, &r, &err) == NUT_OK, "%s",
          err.message);
    CHECK(r.accuracy.n == 1 && fabs(r.nll.value + sum) < 1e-3 && (r.accuracy.value > 0.5) == top,
          "%g, not %g", r.nll.value, -sum);
    char longer[700] = "{\"text\": \"";
    for (int i = 0; i < 60; i++) strcat(longer, "the hen ");
    strcat(longer, "ran\"}\n{\"text\": \"the hen\"}");
    CHECK(run(f->s, "lambada", longer, 0, &r, &err) == NUT_OK && r.n_left_out == 1 && r.accuracy.n == 1,
          "an item that is too long is left out: %s", err.message);
}

/* ---- skills ---- */

static nut_job *answered(nut_session *s, const char *name, const char *text, uint32_t most) {
    nut_job *job = NULL;
    memory_job m = {.n_wrong = 0};
    nut_error err = {NUT_OK, ""};
    CHECK(nut_task_begin(s, name, text, text ? strlen(text) : 0, most, &job, &err) == NUT_OK, "%s: %s", name,
          err.message);
    CHECK(job && memory_job_drive(&m, job, &err) == NUT_OK, "%s: %s", name, err.message);
    return job;
}

/* Every skill's items can be read, their four answers differ, and no place is right more often. */
static void test_skills(fixture *f) {
    for (size_t i = 0; nut_task_skill(i); i++) {
        const char *name = nut_task_skill(i);
        nut_task_result r;
        nut_job *job = answered(f->s, name, NULL, 0);
        CHECK(nut_task_get(job, &r, NULL) == NUT_OK && r.accuracy.n + r.n_left_out == 40 && r.chance == 0.25,
              "%s: %llu items, chance %g", name, (unsigned long long)r.accuracy.n, r.chance);
        nut_job_free(job);
        size_t n, at = 0, places[4] = {0}, items = 0;
        char *text = skills_text(name, &n), *lines[6];
        CHECK(text && strlen(text) == n, "%s: %zu bytes", name, n);
        for (; at < n; items++) {
            for (size_t k = 0; k < 6; k++) {
                lines[k] = text + at;
                at += strcspn(text + at, "\n");
                text[at++] = 0;
            }
            const size_t right = (size_t)(lines[1][0] - '0');
            if (CHECK(right < 4 && !lines[1][1], "%s %zu: \"%s\"", name, items, lines[1])) places[right]++;
            for (size_t k = 2; k < 6; k++)
                CHECK(*lines[k] && (k - 2 == right || strcmp(lines[k], lines[2 + right]) != 0),
                      "%s %zu: answer %zu", name, items, k);
        }
        CHECK(items == 40 && places[0] == 10 && places[1] == 10 && places[2] == 10, "%s: places", name);
        mem_free(text);
    }
    size_t n;
    CHECK(!skills_text("chess", &n) && n == 0, "no such skill");
}

/* Items 0 and 2 answered rightly by the reference, of which the model has answered one: by turning the right
 * answers of a text into wrong ones. */
static void test_kept(fixture *f) {
    char text[2][300];
    nut_fraction kept;
    nut_error err = {NUT_OK, ""};
    static const char *const a[] = {"to the sea.", "down the pane and on.", "at the inn", "in a tree"};
    const size_t choice = likeliest(f, "The hen ran", a, 4), other = (choice + 1) % 4;
    const size_t right[2][3] = {{choice, choice, other}, {choice, other, choice}};
    for (size_t t = 0; t < 2; t++) {
        text[t][0] = 0;
        for (size_t i = 0; i < 3; i++)
            snprintf(text[t] + strlen(text[t]), sizeof text[t] - strlen(text[t]),
                     "The hen ran\n%zu\n%s\n%s\n%s\n%s\n", right[t][i], a[0], a[1], a[2], a[3]);
    }
    nut_job *model = answered(f->s, "hellaswag", text[0], 0),
            *reference = answered(f->s, "hellaswag", text[1], 0),
            *fewer = answered(f->s, "hellaswag", text[1], 2);
    CHECK(nut_task_kept(model, reference, &kept, &err) == NUT_OK && kept.n == 2 && kept.value == 0.5,
          "%g of %llu", kept.value, (unsigned long long)kept.n);
    CHECK(nut_task_kept(model, fewer, &kept, &err) == NUT_E_ARGUMENT, "other items");
    nut_job_free(model), nut_job_free(reference), nut_job_free(fewer);
}

static void test_refusals(fixture *f) {
    static const struct {
        const char *kind, *text;
    } bad[] = {{"chess", "x"},
               {"hellaswag", "q\n4\na\nb\nc\nd\n"},
               {"hellaswag", "q\n0\na\nb\nc"},
               {"hellaswag", "q\n10\na\nb\nc\nd"},
               {"piqa", "{\"goal\": \"q\", \"sol1\": \"a\", \"label\": 0}"},
               {"piqa", "{\"goal\": \"q\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 2}"},
               {"lambada", "{\"text\": \"word\"}"},
               {"lambada", "{\"text\": \"ends \"}"},
               {"lambada", "text"}};
    nut_task_result r;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        nut_error err = {NUT_OK, ""};
        CHECK(run(f->s, bad[i].kind, bad[i].text, 0, &r, &err) == NUT_E_ARGUMENT && err.message[0],
              "bad %zu", i);
    }
    nut_job *job;
    CHECK(nut_task_begin(f->s, "chess", NULL, 0, 0, &job, NULL) == NUT_E_ARGUMENT, "no such skill");
    size_t k = 1;
    for (bool failed = true; failed && k < 60; k++) {
        nut_error err = {NUT_OK, ""};
        counting_start(k);
        const nut_status status = run(f->s, "lambada", "{\"text\": \"the owl sat\"}", 0, &r, &err);
        failed = counting.n_failed > 0;
        CHECK(counting.alive == 0 && (status == NUT_OK || status == NUT_E_MEMORY), "allocation %zu: %s", k,
              err.message);
        counting_stop();
    }
}

int main(void) {
    make_gguf g = make_model(&(make_options){.seed = 3});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    fixture f;
    test_json();
    CHECK(make_load(file, n, 0, NULL, &f.m, NULL) == NUT_OK, "load");
    CHECK(nut_session_new(f.m, &(nut_session_options){.n_ctx = 64, .n_batch = 8, .n_logits = 3}, &f.s,
                          NULL) == NUT_OK,
          "session");
    test_choices(&f);
    test_last_word(&f);
    test_skills(&f);
    test_kept(&f);
    test_refusals(&f);
    nut_session_free(f.s);
    nut_model_free(f.m);
    free(file);
    make_free(&g);
    return check_report();
}
