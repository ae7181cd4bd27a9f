/* Figures of logits. */
#include "evaluate/figures.h"

#include "base/sort.h"
#include "kernels/kernels.h"

#include <math.h>

figures_row figures_of_row(const float *logits, size_t n) {
    figures_row r = {.logits = logits, .n = n};
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[r.top]) r.top = i;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)kernel_exp(logits[i] - logits[r.top]);
    r.log_sum = log(sum) + (double)logits[r.top];
    return r;
}

/* Sum of p (log p - log q). */
static double divergence(const figures_row *q, const figures_row *p) {
    const float shift = (float)p->log_sum;
    const double apart = q->log_sum - p->log_sum;
    double sum = 0;
    for (size_t i = 0; i < p->n; i++)
        sum +=
            (double)kernel_exp(p->logits[i] - shift) * ((double)p->logits[i] - (double)q->logits[i] + apart);
    return sum > 0 ? sum : 0;
}

figures_token figures_compare(const figures_row *model, const figures_row *reference, size_t id) {
    const double own = exp(figures_log_p(reference, reference->top)),
                 choice = exp(figures_log_p(reference, model->top));
    figures_token t = {.nll = -figures_log_p(model, id),
                       .reference_nll = -figures_log_p(reference, id),
                       .kl = divergence(model, reference),
                       .same_top = model->top == reference->top};
    t.flip = t.same_top ? 0 : own - choice;
    t.delta_p = exp(-t.nll) - exp(-t.reference_nll);
    return t;
}

/* ---- means ---- */

void figures_add(figures_mean *m, double x) {
    m->n++;
    m->sum += x;
    m->squares += x * x;
}

nut_estimate figures_estimate(const figures_mean *m) {
    if (!m->n) return (nut_estimate){0, 0};
    const double mean = m->sum / (double)m->n, variance = m->squares / (double)m->n - mean * mean;
    return (nut_estimate){mean, m->n > 1 && variance > 0 ? sqrt(variance / (double)(m->n - 1)) : 0};
}

nut_estimate figures_scaled(nut_estimate e, double value, double slope) {
    return (nut_estimate){value, fabs(slope) * e.error};
}

nut_fraction figures_fraction(uint64_t hits, uint64_t n) {
    const double z = 1.959963984540054, count = (double)n;
    if (!n) return (nut_fraction){0};
    const double p = (double)hits / count, middle = p + z * z / (2 * count), below = 1 + z * z / count,
                 width = z * sqrt(p * (1 - p) / count + z * z / (4 * count * count));
    return (nut_fraction){n, p, (middle - width) / below, (middle + width) / below};
}

/* ---- quantiles ---- */

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

void figures_sort(float *values, size_t n) {
    sort_rows(values, n, sizeof *values, by_value);
}

double figures_quantile(const float *sorted, size_t n, double q) {
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at, next = i + 1 < n ? i + 1 : i;
    return (1 - (at - (double)i)) * (double)sorted[i] + (at - (double)i) * (double)sorted[next];
}
