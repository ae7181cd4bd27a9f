/* Logits of some tokens, their losses, and the way back to the last layer's output. */
#include "train/loss.h"

#include "base/error.h"
#include "kernels/activations.h"

#include <math.h>
#include <string.h>

enum { MOST_LOGITS = 1 << 22, MOST_TOKENS = 256 };

/* What one token gives. */
typedef struct loss_token {
    loss_sums sums;
    bool damaged; // its stored logits
} loss_token;

struct loss_head {
    loss_options o;
    pass *student, *teacher;
    size_t n_vocab, n_tokens;       // tokens at once
    float *logits, *teacher_logits; // (n_tokens, n_vocab)
    float *unaligned;               // (n_tokens, the teacher's n_vocab) where its tokens are others
    float *scales;                  // (student->n) of tokens' divergences, where they have any
    float *rewards;                 // (student->n) of what follows tokens, where there are any
    loss_token *each;               // (n_tokens)
    const loss_batch *batch;
    size_t first; // of the tokens that are at work
    bool backward, damaged;
};

nut_status loss_new(const loss_options *o, pass *student, pass *teacher, loss_head **out, nut_error *err) {
    loss_head *l = mem_calloc(1, sizeof *l);
    if (!l) return error_memory(err, sizeof *l);
    *l = (loss_head){.o = *o, .student = student, .teacher = teacher, .n_vocab = student->m->hp.n_vocab};
    l->n_tokens = MOST_LOGITS / l->n_vocab + 1;
    if (l->n_tokens > MOST_TOKENS) l->n_tokens = MOST_TOKENS;
    if (l->n_tokens > student->n) l->n_tokens = student->n;
    l->logits = mem_calloc(l->n_tokens * l->n_vocab, sizeof(float));
    l->teacher_logits = o->kind ? mem_calloc(l->n_tokens * l->n_vocab, sizeof(float)) : NULL;
    const size_t n_unaligned = o->aligned ? l->n_tokens * teacher->m->hp.n_vocab : 0;
    l->unaligned = n_unaligned ? mem_calloc(n_unaligned, sizeof(float)) : NULL;
    l->scales = mem_calloc(student->n, sizeof *l->scales);
    l->rewards = mem_calloc(student->n, sizeof *l->rewards);
    l->each = mem_calloc(l->n_tokens, sizeof *l->each);
    if (l->logits && l->each && l->scales && l->rewards && (l->teacher_logits || !o->kind) &&
        (l->unaligned || !n_unaligned))
        return *out = l, NUT_OK;
    const uint64_t bytes = (2 * l->n_tokens * l->n_vocab + n_unaligned) * sizeof(float);
    loss_free(l);
    return error_memory(err, bytes);
}

void loss_free(loss_head *l) {
    if (!l) return;
    mem_free(l->logits);
    mem_free(l->teacher_logits);
    mem_free(l->unaligned);
    mem_free(l->scales);
    mem_free(l->rewards);
    mem_free(l->each);
    mem_free(l);
}

/* ---- logits ---- */

typedef struct some {
    float *logits;
    size_t n_vocab;
} some;

static void finish_logits(pass *p, size_t t, unsigned member, void *ctx) {
    const some *s = ctx;
    const size_t n = s->n_vocab;
    const float cap = p->m->hp.logit_softcap, scale = p->m->hp.logit_scale;
    float *x = s->logits + t * n;
    (void)member;
    for (size_t i = 0; p->m->output.bias && i < n; i++) x[i] += p->m->output.bias[i];
    for (size_t i = 0; scale != 1 && i < n; i++) x[i] *= scale;
    for (size_t i = 0; cap > 0 && i < n; i++) x[i] = act_softcap(x[i], cap);
}

static size_t rows_at(size_t n_vocab, size_t row) {
    return n_vocab - row < PASS_HEAD_ROWS ? n_vocab - row : PASS_HEAD_ROWS;
}

/* Logits of n tokens, of all of the pass's vocabulary, from their normed vectors, (n, n_embd). */
static void make_logits(pass *p, const float *normed, size_t n, float *logits) {
    const size_t width = p->m->hp.n_embd, n_vocab = p->m->hp.n_vocab;
    some s = {logits, n_vocab};
    for (size_t row = 0; row < n_vocab; row += PASS_HEAD_ROWS) {
        const dense_product product = {.m = n, .n = rows_at(n_vocab, row), .k = width, .ldc = n_vocab};
        pass_unpack(p, &p->m->output, row, product.n);
        dense_mul_f32(p->d, &product, (dense_f32){normed, width, 1}, (dense_f32){p->weights, 1, width}, 1,
                      logits + row);
    }
    pass_each(p, n, finish_logits, &s);
}

/* Whether there is a teacher for token t of those at work. */
static bool is_taught(const loss_head *l, size_t t) {
    return l->o.kind && (!l->batch->rows || l->batch->rows[l->first + t]);
}

/* The teacher's logits of a token in the student's order, where they are not that already. Those of tokens
 * that it lacks are not read. */
static void finish_teacher(pass *p, size_t t, unsigned member, void *ctx) {
    loss_head *l = ctx;
    const size_t at = t * l->n_vocab;
    (void)p, (void)member;
    if (l->batch->rows && is_taught(l, t) && l->batch->labels[l->first + t] >= 0) {
        l->each[t].damaged = !stored_get(l->o.form, l->batch->rows[l->first + t], l->n_vocab, l->logits + at,
                                         l->teacher_logits + at);
    } else if (l->unaligned && !l->batch->rows) {
        float *to = l->teacher_logits + at;
        const float *from = l->unaligned + t * l->teacher->m->hp.n_vocab;
        for (size_t i = 0; i < l->n_vocab; i++) to[i] = l->o.aligned[i] >= 0 ? from[l->o.aligned[i]] : 0;
    }
}

/* The logits of n tokens from l->first on, the student's and the teacher's. */
static void fill_logits(loss_head *l, size_t n) {
    pass *p = l->student, *teacher = l->teacher;
    memset(l->each, 0, n * sizeof *l->each);
    make_logits(p, p->normed + l->first * p->m->hp.n_embd, n, l->logits);
    if (teacher && !l->batch->rows)
        make_logits(teacher, teacher->normed + l->first * teacher->m->hp.n_embd, n,
                    l->unaligned ? l->unaligned : l->teacher_logits);
    if (l->unaligned || l->batch->rows) pass_each(p, n, finish_teacher, l);
    for (size_t i = 0; i < n; i++) l->damaged |= l->each[i].damaged;
}

/* ---- a token ---- */

/* log of the sum of e^(x / temperature) */
static double log_sum(const float *x, size_t n, double temperature) {
    float most = x[0];
    double sum = 0;
    for (size_t i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
    if (temperature == 1)
        for (size_t i = 0; i < n; i++) sum += (double)exp_scalar(x[i] - most);
    else
        for (size_t i = 0; i < n; i++) sum += exp((double)(x[i] - most) / temperature);
    return (double)most / temperature + log(sum);
}

/* Whether the teacher has the student's token i too. */
static bool is_shared(const loss_head *l, size_t i) {
    return !l->o.aligned || l->o.aligned[i] >= 0;
}

/* The same of the tokens that both have. */
static double log_sum_shared(const loss_head *l, const float *x) {
    const double temperature = l->o.temperature;
    double most = -INFINITY, sum = 0;
    if (!l->o.aligned) return log_sum(x, l->n_vocab, temperature);
    for (size_t i = 0; i < l->n_vocab; i++)
        if (is_shared(l, i)) most = fmax(most, (double)x[i]);
    for (size_t i = 0; i < l->n_vocab; i++)
        if (is_shared(l, i)) sum += exp(((double)x[i] - most) / temperature);
    return most / temperature + log(sum);
}

/* The divergence of a token. The teacher's logits become slopes; *along receives their sum. */
static double diverge(const loss_head *l, const float *x, float *teacher, double *along, double *norm) {
    const double temperature = l->o.temperature, norm_p = log_sum_shared(l, teacher);
    double sum = 0;
    *norm = log_sum_shared(l, x);
    *along = 0;
    for (size_t i = 0; i < l->n_vocab; i++) {
        double value = 0, slope = 0;
        if (is_shared(l, i))
            l->o.kind->term((double)teacher[i] / temperature - norm_p, (double)x[i] / temperature - *norm,
                            l->o.a, &value, &slope);
        sum += value;
        *along += slope;
        teacher[i] = (float)slope;
    }
    return sum;
}

/* What a token's two losses count. */
typedef struct portions {
    double entropy, divergence;
} portions;

/* Whether the student wrote token t's window. */
static bool is_own(const loss_head *l, size_t t) {
    return l->batch->own && l->batch->own[(l->first + t) / l->student->window];
}

static bool has_scales(const loss_head *l) {
    return l->o.kind && (l->o.kind->scaled || l->o.kind->rewarded);
}

static portions portions_of(const loss_head *l, size_t t) {
    const double weight = is_own(l, t) ? 1 : l->o.weight;
    if (!is_taught(l, t) || (l->o.kind->rewarded && !is_own(l, t))) return (portions){1, 0};
    return (portions){1 - weight, weight * (double)(has_scales(l) ? l->scales[l->first + t] : 1)};
}

/* The gradient of the token's logits x, in their place. For slopes s of the student's probabilities q, that
 * of the divergence by logits is (s - q sum of s) / temperature. */
static void slope_token(const loss_head *l, portions w, size_t label, double norm, const float *slopes,
                        double norm_q, double along, float *x) {
    const double temperature = l->o.temperature;
    const float cap = l->student->m->hp.logit_softcap, scale = l->student->m->hp.logit_scale;
    for (size_t i = 0; i < l->n_vocab; i++) {
        const float capped = cap > 0 ? x[i] / cap : 0;
        double g = w.entropy * ((double)exp_scalar(x[i] - (float)norm) - (i == label));
        if (w.divergence > 0 && is_shared(l, i))
            g += w.divergence * temperature *
                 ((double)slopes[i] - exp((double)x[i] / temperature - norm_q) * along);
        x[i] = (float)g * (1 - capped * capped) * scale;
    }
}

/* The token's losses; where the way back is wanted its logits become their gradient. */
static void lose_token(pass *p, size_t t, unsigned member, void *ctx) {
    loss_head *l = ctx;
    loss_sums *sums = &l->each[t].sums;
    const int32_t label = l->batch->labels[l->first + t];
    float *x = l->logits + t * l->n_vocab,
          *slopes = is_taught(l, t) ? l->teacher_logits + t * l->n_vocab : NULL;
    (void)p, (void)member;
    if (label < 0) {
        memset(x, 0, l->n_vocab * sizeof *x);
        return;
    }
    portions w = portions_of(l, t);
    const bool own = is_own(l, t);
    const double norm = log_sum(x, l->n_vocab, 1), entropy = norm - (double)x[label];
    double along = 0, norm_q = 0, value = slopes ? diverge(l, x, slopes, &along, &norm_q) : 0;
    value *= l->o.temperature * l->o.temperature;
    *sums = (loss_sums){.loss = w.entropy * entropy + w.divergence * value,
                        .cross_entropy = own ? 0 : entropy,
                        .divergence = value,
                        .n = 1,
                        .n_text = !own};
    w.entropy += w.divergence * (double)l->rewards[l->first + t];
    if (l->backward) slope_token(l, w, (size_t)label, norm, slopes, norm_q, along, x);
}

/* ---- scales of tokens ---- */

/* The teacher's cross entropy of a token, or with rewards what it exceeds the student's by, from below;
 * -INFINITY where there is none. */
static void cost_token(pass *p, size_t t, unsigned member, void *ctx) {
    loss_head *l = ctx;
    const int32_t label = l->batch->labels[l->first + t];
    const float *x = l->teacher_logits + t * l->n_vocab, *own = l->logits + t * l->n_vocab;
    (void)p, (void)member;
    l->scales[l->first + t] = -INFINITY;
    if (label < 0 || !is_taught(l, t) || !is_shared(l, (size_t)label)) return;
    double cost = log_sum(x, l->n_vocab, 1) - (double)x[label];
    if (l->o.kind->rewarded) cost = log_sum(own, l->n_vocab, 1) - (double)own[label] - cost;
    l->scales[l->first + t] = (float)cost;
}

/* Of a window's tokens: their softmax, times their number. */
static void scale_window(float *x, size_t n) {
    float most = -INFINITY;
    double sum = 0, count = 0;
    for (size_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++) {
        count += x[i] > -INFINITY;
        x[i] = x[i] > -INFINITY ? exp_scalar(x[i] - most) : 0;
        sum += (double)x[i];
    }
    for (size_t i = 0; i < n; i++) x[i] = sum > 0 ? (float)((double)x[i] * count / sum) : 0;
}

/* From log p / q of a window's tokens (-INFINITY: there is none) what each counts, q / (a p + (1 - a) q),
 * which it was drawn by, and its reward: the mean of log p / q over the tokens behind it (MiniLLM, arXiv
 * 2306.08543, section 2.2; the mean is over as many as there are, where the paper divides by one less). */
static void reward_window(float *x, float *rewards, size_t n, double a) {
    double sum = 0, count = 0;
    for (size_t t = n; t-- > 0;) {
        const double better = (double)x[t];
        rewards[t] = count > 0 ? (float)(sum / count) : 0;
        x[t] = better > -INFINITY ? (float)(1 / (a * exp(better) + 1 - a)) : 0;
        if (better > -INFINITY) sum += better, count++;
    }
}

/* ---- all of them ---- */

/* The gradient of normed vectors, (n, n_embd), from that of their logits. */
static void back(const loss_head *l, const float *normed, size_t n, float *d_normed) {
    pass *p = l->student;
    const size_t width = p->m->hp.n_embd;
    for (size_t row = 0; row < l->n_vocab; row += PASS_HEAD_ROWS) {
        const dense_product product = {
            .m = n, .n = width, .k = rows_at(l->n_vocab, row), .ldc = width, .add = row > 0};
        pass_unpack(p, &p->m->output, row, product.k);
        dense_mul_f32(p->d, &product, (dense_f32){l->logits + row, l->n_vocab, 1},
                      (dense_f32){p->weights, width, 1}, 1, d_normed);
    }
    if (!p->learner) return;
    p->learner->linear(p->learner->ctx, &p->m->output, normed, l->logits, n);
    pass_bias_learn(p, p->m->output.bias, l->logits, n, l->n_vocab);
}

static size_t tokens_at(const loss_head *l) {
    const size_t left = l->student->n - l->first;
    return left < l->n_tokens ? left : l->n_tokens;
}

static void scale_tokens(loss_head *l) {
    const size_t window = l->student->window;
    for (l->first = 0; l->first < l->student->n; l->first += tokens_at(l)) {
        fill_logits(l, tokens_at(l));
        pass_each(l->student, tokens_at(l), cost_token, l);
    }
    for (size_t t = 0; t < l->student->n; t += window)
        if (l->o.kind->rewarded)
            reward_window(l->scales + t, l->rewards + t, window, l->o.a);
        else
            scale_window(l->scales + t, window);
}

static void add_some(loss_head *l, loss_sums *sums) {
    pass *p = l->student;
    const size_t width = p->m->hp.n_embd, n = tokens_at(l);
    fill_logits(l, n);
    pass_each(p, n, lose_token, l);
    for (size_t i = 0; i < n; i++) {
        const loss_sums *one = &l->each[i].sums;
        sums->loss += one->loss;
        sums->cross_entropy += one->cross_entropy;
        sums->divergence += one->divergence;
        sums->n += one->n, sums->n_text += one->n_text;
    }
    if (l->backward) back(l, p->normed + l->first * width, n, p->d_normed + l->first * width);
}

bool loss_add(loss_head *l, const loss_batch *b, loss_sums *sums, float *dx) {
    pass *p = l->student;
    l->backward = dx;
    l->batch = b;
    l->damaged = false;
    pass_norm(p, &p->m->output_norm, b->x, p->normed);
    if (l->teacher && !b->rows)
        pass_norm(l->teacher, &l->teacher->m->output_norm, b->teacher_x, l->teacher->normed);
    if (has_scales(l) && (dx || !b->rows)) scale_tokens(l);
    for (l->first = 0; l->first < p->n; l->first += tokens_at(l)) add_some(l, sums);
    if (dx) pass_norm_back(p, &p->m->output_norm, b->x, p->d_normed, false, dx);
    return !l->damaged;
}
