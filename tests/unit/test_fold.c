/* Scales of columns: SmoothQuant's formula, and the power that AWQ's search finds beside all that it could
 * have found. */
#include "check.h"
#include "compress/awq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLS = 64, ROWS = 6 };

static double weight_size(size_t c) {
    return 0.2 + (double)(c % 5);
}

static double input_size(size_t c) {
    return exp(2 * sin(1.7 * (double)c));
}

/* One matrix of its own rows; column c is row c of what gives it. */
static fold make_fold(void) {
    fold f = {.n_cols = COLS, .n_rows = COLS, .head = 1, .shared = 1, .n_sample = ROWS};
    f.power = calloc(COLS, sizeof *f.power), f.input = calloc(COLS, sizeof *f.input);
    f.sample = calloc(ROWS * COLS, sizeof *f.sample), f.felt = calloc(ROWS, sizeof *f.felt);
    for (size_t c = 0; c < COLS; c++) {
        f.power[c] = weight_size(c) * weight_size(c);
        f.input[c] = input_size(c) * input_size(c);
    }
    for (size_t i = 0; i < ROWS * COLS; i++) // weights are smaller where inputs are large
        f.sample[i] = (float)(sin(0.7 * (double)(i * i % 997)) / pow(input_size(i % COLS), 0.6));
    for (size_t r = 0; r < ROWS; r++) f.felt[r] = (float)(1 + r % 3);
    return f;
}

static void free_fold(fold *f) {
    free(f->power), free(f->input), free(f->sample), free(f->felt);
    mem_free(f->columns), mem_free(f->rows);
}

/* arXiv 2211.10438, equation 4: columns are multiplied with s_j = X_j^alpha / W_j^(1 - alpha); here by what
 * is 1 in the geometric mean. */
static void test_smooth(void) {
    static const double alphas[] = {0, 0.3, 0.5, 1};
    fold f = make_fold();
    for (size_t a = 0; a < sizeof alphas / sizeof *alphas; a++) {
        double s[COLS], mean = 0;
        for (size_t c = 0; c < COLS; c++) {
            s[c] = pow(input_size(c), alphas[a]) / pow(weight_size(c), 1 - alphas[a]);
            mean += log(s[c]) / (double)COLS;
        }
        if (!CHECK(fold_scale(&f, 1 - alphas[a], alphas[a], NULL) == NUT_OK, "scale")) break;
        for (size_t c = 0; c < COLS; c++) {
            const double by = s[c] / exp(mean);
            CHECK(fabs((double)f.columns[c] * by - 1) < 1e-5, "column %zu of %g", c, by);
            CHECK(f.rows[c] == f.columns[c], "row %zu", c);
        }
    }
    free_fold(&f);
}

/* Heads that share what gives them their input share scales, by the sums of both squares. */
static void test_shared(void) {
    enum { HEAD = 8 };
    fold f = make_fold();
    f.n_rows = COLS / 2, f.head = HEAD, f.shared = 2;
    CHECK(fold_scale(&f, 1, 0, NULL) == NUT_OK, "scale");
    for (size_t c = 0; c < COLS; c++) {
        const size_t row = c / HEAD / 2 * HEAD + c % HEAD, first = c / HEAD / 2 * 2 * HEAD + c % HEAD;
        const double power = f.power[first] + f.power[first + HEAD];
        CHECK(f.columns[c] == f.rows[row], "column %zu", c);
        CHECK(fabs((double)(f.rows[row] / f.rows[0]) - sqrt(power / (f.power[0] + f.power[HEAD]))) < 1e-4,
              "row %zu", row);
    }
    free_fold(&f);
}

/* What rounding loses with the scales X^-power, rounded by the function of files. */
static double loss_with(const fold *f, const type_row *type, double power) {
    const format *to = &format_table[type->id];
    double loss = 0, mean = 0;
    for (size_t c = 0; c < COLS; c++) mean += power * log(input_size(c)) / (double)COLS;
    for (size_t r = 0; r < ROWS; r++) {
        float x[COLS], weight[COLS], back[COLS];
        uint8_t blocks[4 * COLS];
        for (size_t c = 0; c < COLS; c++) {
            const double s = pow(input_size(c), power) / exp(mean);
            x[c] = (float)((double)f->sample[r * COLS + c] * s);
            weight[c] = (float)(f->input[c] / (s * s));
        }
        type_encode(type, x, weight, COLS / to->block, blocks);
        to->dequantize(blocks, COLS / to->block, back);
        for (size_t c = 0; c < COLS; c++)
            loss += (double)(f->felt[r] * weight[c]) * pow((double)(x[c] - back[c]), 2);
    }
    return loss;
}

static void test_awq(dense *d, format_id id) {
    const type_row *type = type_with_codes(id);
    fold f = make_fold();
    double best = INFINITY, power = 0;
    for (int i = 0; i < 20; i++) {
        const double loss = loss_with(&f, type, 0.05 * i);
        if (loss < best) best = loss, power = 0.05 * i;
    }
    CHECK(best < 0.9 * loss_with(&f, type, 0), "%s: scales gain", format_table[id].name);
    if (!CHECK(awq_choose(d, type, &f, NULL) == NUT_OK, "search")) return;
    const double found = -log((double)(f.columns[1] / f.columns[0])) / log(input_size(1) / input_size(0));
    CHECK(fabs(found - power) < 1e-3, "%s: power %g, the best is %g", format_table[id].name, found, power);
    free_fold(&f);
}

/* A fold without rows, or whose rows are no blocks, keeps its sizes. */
static void test_left(dense *d) {
    fold f = make_fold();
    f.n_cols = f.n_rows = 40;
    CHECK(awq_choose(d, type_with_codes(FORMAT_Q4_0), &f, NULL) == NUT_OK && f.columns[3] == 1, "no blocks");
    f.n_cols = f.n_rows = COLS, f.n_sample = 0;
    mem_free(f.columns), mem_free(f.rows);
    f.columns = f.rows = NULL;
    CHECK(awq_choose(d, type_with_codes(FORMAT_Q4_0), &f, NULL) == NUT_OK && f.columns[3] == 1, "no rows");
    free_fold(&f);
}

static void test_names(void) {
    const fold_law *law;
    nut_error err = {0};
    CHECK(fold_law_find("", &law, NULL) == NUT_OK && law->weights == 1 && law->inputs == 0, "the first");
    CHECK(fold_law_find("norms", &law, &err) == NUT_E_ARGUMENT &&
              strstr(err.message, "columns, smooth, awq, none"),
          "%s", err.message);
}

int main(void) {
    threads *team = NULL;
    dense *d = NULL;
    if (threads_new(1, &team, NULL) != NUT_OK || dense_new(team, &d, NULL) != NUT_OK) return 2;
    test_smooth();
    test_shared();
    test_awq(d, FORMAT_IQ4_NL);
    test_awq(d, FORMAT_Q4_0);
    test_left(d);
    test_names();
    dense_free(d);
    threads_free(team);
    return check_report();
}
