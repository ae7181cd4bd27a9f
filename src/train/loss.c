/* Logits of some tokens, their losses, and the way back to the last layer's output. */
#include "train/loss.h"

#include "base/error.h"
#include "kernels/activations.h"

#include <math.h>

enum { MOST_LOGITS = 1 << 22, MOST_TOKENS = 256 };

struct loss_head {
    loss_options o;
    pass *student, *teacher;
    size_t n_vocab, n_tokens;       // tokens at once
    float *logits, *teacher_logits; // (n_tokens, n_vocab)
    loss_sums *each;                // (n_tokens)
    const int32_t *labels;          // of those that are at work
    bool backward;
};

nut_status loss_new(const loss_options *o, pass *student, pass *teacher, loss_head **out, nut_error *err) {
    loss_head *l = mem_calloc(1, sizeof *l);
    if (!l) return error_memory(err, sizeof *l);
    *l = (loss_head){.o = *o, .student = student, .teacher = teacher, .n_vocab = student->m->hp.n_vocab};
    l->n_tokens = MOST_LOGITS / l->n_vocab + 1;
    if (l->n_tokens > MOST_TOKENS) l->n_tokens = MOST_TOKENS;
    if (l->n_tokens > student->n) l->n_tokens = student->n;
    l->logits = mem_calloc(l->n_tokens * l->n_vocab, sizeof(float));
    l->teacher_logits = teacher ? mem_calloc(l->n_tokens * l->n_vocab, sizeof(float)) : NULL;
    l->each = mem_calloc(l->n_tokens, sizeof *l->each);
    if (l->logits && l->each && (l->teacher_logits || !teacher)) return *out = l, NUT_OK;
    const uint64_t bytes = 2 * l->n_tokens * l->n_vocab * sizeof(float);
    loss_free(l);
    return error_memory(err, bytes);
}

void loss_free(loss_head *l) {
    if (!l) return;
    mem_free(l->logits);
    mem_free(l->teacher_logits);
    mem_free(l->each);
    mem_free(l);
}

/* ---- logits ---- */

typedef struct some {
    const loss_head *l;
    float *logits;
} some;

static void finish_logits(pass *p, size_t t, unsigned member, void *ctx) {
    const some *s = ctx;
    const size_t n = s->l->n_vocab;
    const float cap = p->m->hp.logit_softcap, scale = p->m->hp.logit_scale;
    float *x = s->logits + t * n;
    (void)member;
    for (size_t i = 0; p->m->output.bias && i < n; i++) x[i] += p->m->output.bias[i];
    for (size_t i = 0; scale != 1 && i < n; i++) x[i] *= scale;
    for (size_t i = 0; cap > 0 && i < n; i++) x[i] = act_softcap(x[i], cap);
}

static size_t rows_at(const loss_head *l, size_t row) {
    return l->n_vocab - row < PASS_HEAD_ROWS ? l->n_vocab - row : PASS_HEAD_ROWS;
}

/* Logits of n tokens from their normed vectors, (n, n_embd). */
static void make_logits(const loss_head *l, pass *p, const float *normed, size_t n, float *logits) {
    const size_t width = p->m->hp.n_embd;
    some s = {l, logits};
    for (size_t row = 0; row < l->n_vocab; row += PASS_HEAD_ROWS) {
        const dense_product product = {.m = n, .n = rows_at(l, row), .k = width, .ldc = l->n_vocab};
        pass_unpack(p, &p->m->output, row, product.n);
        dense_mul_f32(p->d, &product, (dense_f32){normed, width, 1}, (dense_f32){p->weights, 1, width}, 1,
                      logits + row);
    }
    pass_each(p, n, finish_logits, &s);
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

/* The divergence of a token. The teacher's logits become slopes; *along receives their sum. */
static double diverge(const loss_head *l, const float *x, float *teacher, double *along, double *norm) {
    const double temperature = l->o.temperature, norm_p = log_sum(teacher, l->n_vocab, temperature);
    double sum = 0;
    *norm = log_sum(x, l->n_vocab, temperature);
    *along = 0;
    for (size_t i = 0; i < l->n_vocab; i++) {
        double value, slope;
        l->o.kind->term((double)teacher[i] / temperature - norm_p, (double)x[i] / temperature - *norm,
                        l->o.a, &value, &slope);
        sum += value;
        *along += slope;
        teacher[i] = (float)slope;
    }
    return sum;
}

/* The token's losses; where the way back is wanted its logits become their gradient. For slopes s of the
 * student's probabilities q, that of the divergence by logits is (s - q sum of s) / temperature. */
static void lose_token(pass *p, size_t t, unsigned member, void *ctx) {
    loss_head *l = ctx;
    loss_sums *sums = &l->each[t];
    const double weight = l->teacher ? l->o.weight : 0, temperature = l->o.temperature;
    const float cap = p->m->hp.logit_softcap, scale = p->m->hp.logit_scale;
    float *x = l->logits + t * l->n_vocab, *slopes = l->teacher ? l->teacher_logits + t * l->n_vocab : NULL;
    const double norm = log_sum(x, l->n_vocab, 1);
    double along = 0, norm_q = 0, value = l->teacher ? diverge(l, x, slopes, &along, &norm_q) : 0;
    (void)member;
    *sums = (loss_sums){.cross_entropy = norm - (double)x[l->labels[t]],
                        .divergence = value * temperature * temperature};
    sums->loss = (1 - weight) * sums->cross_entropy + weight * sums->divergence;
    for (size_t i = 0; l->backward && i < l->n_vocab; i++) {
        const float capped = cap > 0 ? x[i] / cap : 0;
        double g = (1 - weight) * ((double)exp_scalar(x[i] - (float)norm) - (i == (size_t)l->labels[t]));
        if (weight > 0)
            g += weight * temperature *
                 ((double)slopes[i] - exp((double)x[i] / temperature - norm_q) * along);
        x[i] = (float)g * (1 - capped * capped) * scale;
    }
}

/* ---- all of them ---- */

/* The gradient of normed vectors, (n, n_embd), from that of their logits. */
static void back(const loss_head *l, const float *normed, size_t n, float *d_normed) {
    pass *p = l->student;
    const size_t width = p->m->hp.n_embd;
    for (size_t row = 0; row < l->n_vocab; row += PASS_HEAD_ROWS) {
        const dense_product product = {
            .m = n, .n = width, .k = rows_at(l, row), .ldc = width, .add = row > 0};
        pass_unpack(p, &p->m->output, row, product.k);
        dense_mul_f32(p->d, &product, (dense_f32){l->logits + row, l->n_vocab, 1},
                      (dense_f32){p->weights, width, 1}, 1, d_normed);
    }
    if (!p->learner) return;
    p->learner->linear(p->learner->ctx, &p->m->output, normed, l->logits, n);
    pass_bias_learn(p, p->m->output.bias, l->logits, n, l->n_vocab);
}

static void add_some(loss_head *l, size_t t, size_t n, loss_sums *sums) {
    pass *p = l->student, *teacher = l->teacher;
    const size_t width = p->m->hp.n_embd;
    make_logits(l, p, p->normed + t * width, n, l->logits);
    if (teacher) make_logits(l, teacher, teacher->normed + t * teacher->m->hp.n_embd, n, l->teacher_logits);
    pass_each(p, n, lose_token, l);
    for (size_t i = 0; i < n; i++) {
        sums->loss += l->each[i].loss;
        sums->cross_entropy += l->each[i].cross_entropy;
        sums->divergence += l->each[i].divergence;
    }
    if (l->backward) back(l, p->normed + t * width, n, p->d_normed + t * width);
}

void loss_add(loss_head *l, const float *x, const float *teacher_x, const int32_t *labels, loss_sums *sums,
              float *dx) {
    pass *p = l->student;
    l->backward = dx;
    pass_norm(p, &p->m->output_norm, x, p->normed);
    if (l->teacher) pass_norm(l->teacher, &l->teacher->m->output_norm, teacher_x, l->teacher->normed);
    for (size_t t = 0, n; t < p->n; t += n) {
        n = p->n - t < l->n_tokens ? p->n - t : l->n_tokens;
        l->labels = labels + t;
        add_some(l, t, n, sums);
    }
    if (dx) pass_norm_back(p, &p->m->output_norm, x, p->d_normed, false, dx);
}
