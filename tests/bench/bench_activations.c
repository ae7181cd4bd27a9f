/*
 * What int8 activations cost by where their scales come from, as docs/compression.md has it: a model in
 * floats whose inputs of matrices, and weights by row, are rounded to 8 bits before they are multiplied.
 *
 *     make build/native/bench_activations
 *     build/native/bench_activations MODEL TEXT [windows] [words]
 *
 * words: only ways whose name has them.
 *
 * Scales of inputs are static, one for a matrix, the largest magnitude in two windows of the text behind
 * those that are judged; or dynamic, one for each token or for 32 columns of it, as the engine has them.
 * Planted: behind each norm one column in 64 is 50 times as large, and the weights that read it as much
 * smaller, so that the model is the same. Smoothed: inputs behind norms are divided by max|X|^1/2 /
 * max|W|^1/2, column by column, and weights multiplied (Xiao et al. 2022, SmoothQuant, arXiv 2211.10438,
 * equation 4). Apart: columns of which the two windows have a magnitude above 6 times the root mean square
 * of the whole input stay floats, with their weights (Dettmers et al. 2022, LLM.int8(), arXiv 2208.07339,
 * section 3.2, whose threshold is 6.0); scales are those of the other columns.
 *
 * A table of markdown: KL divergence from the model in floats, over the second halves of windows of 512
 * tokens, and how many columns of the layers' inputs are apart. The product by the vocabulary stays in
 * floats.
 */
#include "../unit/model_file.h"

#include "evaluate/figures.h"
#include "evaluate/windows.h"
#include "kernels/gemm.h"
#include "run/block.h"
#include "run/weights.h"

#include <math.h>
#include <string.h>

enum {
    WINDOW = 512,
    SCORED = WINDOW / 2 - 1,
    CALIBRATED = 2,
    PLANTED = 64,
    MOST_COLUMNS = 1 << 14,
    FEW = 32
};
#define LARGER 50.0f
#define FAR    6.0 // times the root mean square

typedef enum scales { NONE, STATIC, BY_TOKEN, BY_BLOCK } scales;
typedef struct way {
    const char *name;
    scales scales; // of inputs; NONE: floats
    bool planted, smooth;
    size_t apart; // at most one of so many columns; 0: none
} way;
static const way ways[] = {
    {"none: weights alone", NONE, false, false, 0},
    {"static", STATIC, false, false, 0},
    {"each token", BY_TOKEN, false, false, 0},
    {"32 columns of a token", BY_BLOCK, false, false, 0},
    {"static, smoothed", STATIC, false, true, 0},
    {"each token, smoothed", BY_TOKEN, false, true, 0},
    {"static, columns apart", STATIC, false, false, 1},
    {"each token, columns apart", BY_TOKEN, false, false, 1},
    {"32 columns of a token, columns apart", BY_BLOCK, false, false, 1},
    {"none: weights alone, columns apart", NONE, false, false, 1},
    {"none: weights alone, few apart", NONE, false, false, FEW},
    {"static, few apart", STATIC, false, false, FEW},
    {"each token, few apart", BY_TOKEN, false, false, FEW},
    {"32 columns of a token, few apart", BY_BLOCK, false, false, FEW},
    {"planted; static", STATIC, true, false, 0},
    {"planted; each token", BY_TOKEN, true, false, 0},
    {"planted; 32 columns of a token", BY_BLOCK, true, false, 0},
    {"planted; static, smoothed", STATIC, true, true, 0},
    {"planted; each token, smoothed", BY_TOKEN, true, true, 0},
    {"planted; 32 columns of a token, smoothed", BY_BLOCK, true, true, 0},
    {"planted; static, columns apart", STATIC, true, false, 1},
    {"planted; each token, columns apart", BY_TOKEN, true, false, 1},
    {"planted; 32 columns of a token, columns apart", BY_BLOCK, true, false, 1},
    {"planted; static, few apart", STATIC, true, false, FEW},
    {"planted; each token, few apart", BY_TOKEN, true, false, FEW},
    {"planted; 32 columns of a token, few apart", BY_BLOCK, true, false, FEW},
};
enum { N_WAYS = sizeof ways / sizeof *ways };

/* One input of a layer, and the matrices that read it. */
typedef struct input {
    const matrix *readers[3];
    size_t n_readers, n_cols;
    bool normed;
    float *most;       // (n_cols) the largest magnitude of each column
    double *squares;   // (n_cols) the sum of its squares
    bool *apart;       // (n_cols) stays in floats
    size_t n_tokens;   // of both
    float *scale;      // (n_cols) what columns are multiplied with before they are rounded
    float step;        // of static scales
    float *weights[3]; // (n_rows, n_cols) as they were
} input;

static input *inputs;
static size_t n_inputs;
static const way *way_now; // NULL: nothing is rounded
static bool calibrating;

static void fail(const char *words) {
    fprintf(stderr, "%s\n", words);
    exit(1);
}

static void *need(size_t n, size_t size) {
    void *p = calloc(n, size);
    if (!p) fail("out of memory");
    return p;
}

/* ---- inputs ---- */

static void add_input(bool normed, const matrix *a, const matrix *b, const matrix *c) {
    const matrix *const readers[] = {a, b, c};
    input *in = &inputs[n_inputs++];
    *in = (input){.n_cols = a->n_cols, .normed = normed};
    in->most = need(in->n_cols, sizeof(float)), in->scale = need(in->n_cols, sizeof(float));
    in->squares = need(in->n_cols, sizeof(double)), in->apart = need(in->n_cols, sizeof(bool));
    for (size_t i = 0; i < 3 && readers[i]; i++) {
        const matrix *w = in->readers[in->n_readers++] = readers[i];
        in->weights[i] = need(w->n_rows * w->n_cols, sizeof(float));
        for (size_t r = 0; r < w->n_rows; r++) matrix_row(w, r, in->weights[i] + r * w->n_cols);
    }
}

static void find_inputs(const nut_model *m) {
    inputs = need(4 * m->hp.n_layer, sizeof *inputs);
    for (size_t i = 0; i < m->hp.n_layer; i++) {
        const model_layer *l = &m->layers[i];
        if (l->hp.mixer != BLOCK_mix_attention || l->hp.ffn != BLOCK_ffn_gated)
            fail("only attention and gated feed-forwards");
        const attention_weights *a = l->mixer;
        const gated_weights *g = l->ffn;
        add_input(true, &a->q.w, &a->k.w, &a->v.w), add_input(false, &a->o.w, NULL, NULL);
        add_input(true, &g->gate.w, &g->up.w, NULL), add_input(false, &g->down.w, NULL, NULL);
    }
}

static input *input_of(const matrix *w) {
    for (size_t i = 0; i < n_inputs; i++)
        for (size_t k = 0; k < inputs[i].n_readers; k++)
            if (inputs[i].readers[k] == w) return &inputs[i];
    return NULL;
}

/* ---- a way ---- */

static float planted_scale(const input *in, size_t c) {
    return way_now->planted && in->normed && c % PLANTED == 7 ? LARGER : 1;
}

static float largest_weight(const input *in, size_t c) {
    float most = 0;
    for (size_t i = 0; i < in->n_readers; i++)
        for (size_t r = 0; r < in->readers[i]->n_rows; r++)
            most = fmaxf(most, fabsf(in->weights[i][r * in->n_cols + c]));
    return most;
}

/* Weights by row, in 8 bits, of columns that are divided by what inputs are multiplied with. */
static void round_weights(const input *in, size_t i) {
    const matrix *w = in->readers[i];
    for (size_t r = 0; r < w->n_rows; r++) {
        const float *row = in->weights[i] + r * w->n_cols;
        float most = 0;
        for (size_t c = 0; c < w->n_cols; c++)
            if (!in->apart[c]) most = fmaxf(most, fabsf(row[c] / in->scale[c]));
        const float step = most > 0 ? most / 127 : 1;
        float *to = (float *)(void *)matrix_group(w, r) + r % FORMAT_LANES;
        for (size_t c = 0; c < w->n_cols; c++)
            to[c * FORMAT_LANES] =
                in->apart[c] ? row[c] : rintf(row[c] / in->scale[c] / step) * step * in->scale[c];
    }
}

static size_t set_beyond(input *in, double far) {
    size_t n = 0;
    for (size_t c = 0; c < in->n_cols; c++)
        n += in->apart[c] = (double)(in->most[c] * planted_scale(in, c)) > far;
    return n;
}

/* Sets which columns of an input are apart. */
static void set_apart(input *in) {
    double squares = 0;
    memset(in->apart, 0, in->n_cols * sizeof *in->apart);
    for (size_t c = 0; c < in->n_cols; c++) squares += in->squares[c] * pow((double)planted_scale(in, c), 2);
    double far = FAR * sqrt(squares / (double)(in->n_tokens * in->n_cols));
    while (way_now->apart && set_beyond(in, far) > in->n_cols / way_now->apart) far *= 1.01;
}

/* The part of all columns. */
static double part_apart(void) {
    size_t n = 0, all = 0;
    for (size_t i = 0; i < n_inputs; i++)
        for (size_t c = 0; c < inputs[i].n_cols; c++, all++) n += inputs[i].apart[c];
    return (double)n / (double)all;
}

static void take_way(const way *w) {
    way_now = w;
    for (size_t i = 0; i < n_inputs; i++) {
        input *in = &inputs[i];
        set_apart(in);
        in->step = 0;
        for (size_t c = 0; c < in->n_cols; c++) {
            const float by = planted_scale(in, c), x = in->most[c] * by, weight = largest_weight(in, c) / by;
            const float smooth = w->smooth && in->normed && x > 0 && weight > 0 ? sqrtf(x / weight) : 1;
            in->scale[c] = by / smooth;
            if (!in->apart[c]) in->step = fmaxf(in->step, in->most[c] * in->scale[c] / 127);
        }
        for (size_t k = 0; k < in->n_readers; k++) round_weights(in, k);
    }
}

static void round_columns(float *x, const float *scale, const bool *apart, size_t n, float step) {
    for (size_t i = 0; i < n; i++) {
        const float q = rintf(x[i] * scale[i] / step);
        if (!apart[i]) x[i] = fminf(fmaxf(q, -127), 127) * step / scale[i];
    }
}

/* A token's input (n_cols) as it is after rounding. */
static void round_token(const input *in, float *x) {
    const size_t block = way_now->scales == BY_BLOCK ? 32 : in->n_cols;
    for (size_t begin = 0; begin < in->n_cols; begin += block) {
        const size_t n = in->n_cols - begin < block ? in->n_cols - begin : block;
        float most = 0;
        for (size_t c = begin; c < begin + n; c++)
            if (!in->apart[c]) most = fmaxf(most, fabsf(x[c] * in->scale[c]));
        const float step = way_now->scales == STATIC ? in->step : most / 127;
        if (step > 0) round_columns(x + begin, in->scale + begin, in->apart + begin, n, step);
    }
}

static void gather(input *in, const kernel_act *x) {
    in->n_tokens += x->n_tokens;
    for (size_t i = 0; i < x->n_tokens * x->n_cols; i++) {
        const size_t c = i % in->n_cols;
        in->most[c] = fmaxf(in->most[c], fabsf(x->x[i]));
        in->squares[c] += (double)x->x[i] * (double)x->x[i];
    }
}

static void product(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x, float *y,
                    size_t ldy) {
    static float rounded[WINDOW * MOST_COLUMNS];
    input *in = input_of(w);
    kernel_act act = *x;
    const size_t n = x->n_tokens * x->n_cols;
    if (calibrating && in && in->readers[0] == w) gather(in, x);
    if (way_now && in && way_now->scales != NONE) {
        act.x = memcpy(rounded, x->x, n * sizeof *rounded);
        for (size_t t = 0; t < x->n_tokens; t++) round_token(in, rounded + t * x->n_cols);
    }
    gemm_mul_mat(w, g_begin, g_end, &act, y, ldy);
}

/* ---- the text ---- */

static void read_window(nut_session *s, const int32_t *ids) {
    nut_error err;
    nut_session_truncate(s, 0, NULL);
    if (nut_session_eval(s, ids, WINDOW, SCORED + 1, &err) != NUT_OK) fail(err.message);
}

static double kl_of_window(const nut_session *s, const float *reference, size_t n_vocab) {
    double sum = 0;
    for (size_t i = 0; i < SCORED; i++) {
        const figures_row p = figures_of_row(reference + i * n_vocab, n_vocab),
                          q = figures_of_row(nut_session_logits(s, i), n_vocab);
        sum += figures_compare(&q, &p, 0).kl;
    }
    return sum / (double)SCORED;
}

static void judge(nut_session *s, const windows *w, size_t n_windows, size_t n_vocab, const char *words) {
    float *reference = need(n_windows * SCORED * n_vocab, sizeof *reference);
    for (size_t i = 0; i < n_windows; i++) {
        read_window(s, w->ids + i * WINDOW);
        for (size_t k = 0; k < SCORED; k++)
            memcpy(reference + (i * SCORED + k) * n_vocab, nut_session_logits(s, k),
                   n_vocab * sizeof(float));
    }
    printf("| scales of activations | KL | columns apart |\n|---|---|---|\n");
    for (size_t k = 0; k < N_WAYS; k++) {
        double kl = 0;
        if (!strstr(ways[k].name, words)) continue;
        take_way(&ways[k]);
        for (size_t i = 0; i < n_windows; i++) {
            read_window(s, w->ids + i * WINDOW);
            kl += kl_of_window(s, reference + i * SCORED * n_vocab, n_vocab);
        }
        printf("| %s | %.5f | %.2f %% |\n", ways[k].name, kl / (double)n_windows, 100 * part_apart());
        fflush(stdout);
    }
    free(reference);
}

static const char *read_text(const char *path, size_t *n) {
    static char text[1 << 17];
    FILE *f = fopen(path, "rb");
    if (!f || (*n = fread(text, 1, sizeof text, f)) == 0) fail("the text cannot be read");
    fclose(f);
    return text;
}

int main(int argc, char **argv) {
    const size_t n_windows = argc > 3 ? strtoul(argv[3], NULL, 10) : 4;
    nut_load_options lo = nut_load_defaults();
    const nut_session_options so = {
        .n_ctx = WINDOW, .n_threads = 1, .n_batch = WINDOW, .n_logits = SCORED + 1};
    nut_session *s;
    nut_error err;
    windows w;
    size_t n_text;
    lo.reference = true;
    if (argc < 3 || !n_windows) fail("bench_activations MODEL TEXT [windows] [words]");
    nut_model *m = model_file_load(argv[1], &lo, &err);
    if (!m) fail("the model cannot be loaded");
    const char *text = read_text(argv[2], &n_text);
    if (windows_of_text(&w, m->vocab, text, n_text, false, WINDOW, &err) != NUT_OK) fail(err.message);
    windows_begin(&w, m->vocab);
    if (w.n_ids < (n_windows + CALIBRATED) * WINDOW) fail("the text is too short");
    find_inputs(m);
    m->float_product = product;
    if (nut_session_new(m, &so, &s, &err) != NUT_OK) fail(err.message);
    calibrating = true;
    for (size_t i = 0; i < CALIBRATED; i++) read_window(s, w.ids + (n_windows + i) * WINDOW);
    calibrating = false;
    judge(s, &w, n_windows, nut_model_n_vocab(m), argc > 4 ? argv[4] : "");
    nut_session_free(s);
    windows_free(&w);
    nut_model_free(m);
    return 0;
}
