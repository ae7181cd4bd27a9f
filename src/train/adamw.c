/* The optimizer. Each number is changed on its own, so that threads change no bits. */
#include "train/adamw.h"

#include <math.h>
#include <string.h>

double adamw_rate(const adamw_options *o, uint32_t step) {
    if (step < o->warmup) return o->rate * (step + 1.0) / o->warmup;
    const double pi = 3.14159265358979323846, length = o->steps - o->warmup;
    const double along = length > 0 ? (step - o->warmup) / length : 1;
    return o->rate * (o->final + (1 - o->final) * 0.5 * (1 + cos(pi * (along < 1 ? along : 1))));
}

static double norm_of(const float *x, size_t n) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
    return sqrt(squares);
}

typedef struct update {
    float *numbers, *gradients, *first, *second;
    float scale;           // of gradients
    float keep;            // what decay leaves
    float beta1, beta2;    // of what the moments keep
    float rate, root, eps; // rate / (1 - beta1^step), root of 1 - beta2^step
    size_t n;
} update;

static void update_member(void *ctx, unsigned i, unsigned n) {
    const update *u = ctx;
    size_t begin, end;
    threads_split(u->n, i, n, &begin, &end);
    for (size_t k = begin; k < end; k++) {
        const float g = u->gradients[k] * u->scale;
        u->first[k] += (g - u->first[k]) * (1 - u->beta1);
        u->second[k] = u->second[k] * u->beta2 + g * g * (1 - u->beta2);
        u->numbers[k] =
            u->numbers[k] * u->keep - u->rate * (u->first[k] / (sqrtf(u->second[k]) / u->root + u->eps));
    }
}

double adamw_step(const adamw_options *o, uint32_t step, learn *l, float *first, float *second,
                  double scale) {
    const double norm = norm_of(l->gradients, l->n) * scale, rate = adamw_rate(o, step), n = step + 1.0;
    const double clip = o->clip > 0 && norm > 0 ? o->clip / (norm + 1e-6) : 1;
    update u = {.scale = (float)(scale * (clip < 1 ? clip : 1)),
                .beta1 = (float)o->beta1,
                .beta2 = (float)o->beta2,
                .rate = (float)(rate / (1 - pow(o->beta1, n))),
                .root = (float)sqrt(1 - pow(o->beta2, n)),
                .eps = (float)o->epsilon};
    if (!(norm - norm == 0)) return norm;
    for (size_t i = 0; i < l->n_tensors; i++) {
        const learn_tensor *t = &l->tensors[i];
        u.numbers = l->numbers + t->at, u.gradients = l->gradients + t->at;
        u.first = first + t->at, u.second = second + t->at;
        u.keep = t->kind ? (float)(1 - rate * o->decay) : 1;
        u.n = t->n;
        threads_run(dense_team(l->d), update_member, &u);
    }
    memset(l->gradients, 0, l->n * sizeof *l->gradients);
    return norm;
}
