/* The optimizer. Each number is changed on its own, so that threads change no bits. */
#include "train/adamw.h"

#include "base/error.h"

#include <math.h>
#include <string.h>

/* ---- schedules ---- */

/* SGDR's (arXiv 1608.03983, equation 5), without restarts. */
static double cosine(double along, double final) {
    const double pi = 3.14159265358979323846;
    return final + (1 - final) * 0.5 * (1 + cos(pi * along));
}

/* A line that falls to two thirds of itself half way, where decay ends: BitNet b1.58's two stages ("The Era
 * of 1-bit LLMs: Training Tips, Code and FAQ", Microsoft 2024). */
static double two_stage(double along, double final) {
    return (1 - (1 - final) * along) * (along < 0.5 ? 1 : 2.0 / 3);
}

static const schedule schedules[] = {{"cosine", cosine, 2}, {"two_stage", two_stage, 0.5}};

nut_status schedule_find(const char *name, const schedule **out, nut_error *err) {
    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++)
        if (!strcmp(schedules[i].name, name)) return *out = &schedules[i], NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "there is no schedule \"%.30s\"; there are cosine and two_stage",
                     name);
}

static double along_of(const adamw_options *o, uint32_t step) {
    const double length = (double)o->steps - (double)o->warmup;
    const double along = length > 0 ? ((double)step - (double)o->warmup) / length : 1;
    return along < 1 ? along : 1;
}

double adamw_rate(const adamw_options *o, uint32_t step) {
    if (step < o->warmup) return o->rate * (step + 1.0) / o->warmup;
    return o->rate * o->schedule->part(along_of(o, step), o->final);
}

/* ---- a step ---- */

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

/* Numbers [at, at + n) of the learner, of which a step leaves `keep` beside what it adds. */
static void update_some(update u, learn *l, size_t at, size_t n, double keep) {
    u.numbers += at, u.gradients += at, u.first += at, u.second += at;
    u.keep = (float)keep;
    u.n = n;
    if (n) threads_run(dense_team(l->d), update_member, &u);
}

double adamw_step(const adamw_options *o, uint32_t step, learn *l, float *first, float *second,
                  double scale) {
    const double norm = norm_of(l->gradients, l->n) * scale, rate = adamw_rate(o, step), n = step + 1.0;
    const double clip = o->clip > 0 && norm > 0 ? o->clip / (norm + 1e-6) : 1;
    const double keep = along_of(o, step) < o->schedule->decays ? 1 - rate * o->decay : 1;
    const update u = {.numbers = l->numbers,
                      .gradients = l->gradients,
                      .first = first,
                      .second = second,
                      .scale = (float)(scale * (clip < 1 ? clip : 1)),
                      .beta1 = (float)o->beta1,
                      .beta2 = (float)o->beta2,
                      .rate = (float)(rate / (1 - pow(o->beta1, n))),
                      .root = (float)sqrt(1 - pow(o->beta2, n)),
                      .eps = (float)o->epsilon};
    if (!(norm - norm == 0)) return norm;
    for (size_t i = 0; i < l->n_tensors; i++) {
        const learn_tensor *t = &l->tensors[i];
        update_some(u, l, t->at, t->n - t->n_steady, keep);
        update_some(u, l, t->at + t->n - t->n_steady, t->n_steady, 1);
    }
    update_some(u, l, l->beside, l->n - l->beside, 1);
    memset(l->gradients, 0, l->n * sizeof *l->gradients);
    return norm;
}
