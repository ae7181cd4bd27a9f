/*
 * Several residuals, of which each layer works on one, as wide as it is used to be; the others
 * are guessed in front of the layer, and put right behind it, by how far what it made is from the guess
 * (AltUp: Baykal et al. 2023, arXiv 2301.13310; Gemma 3n, the authors' code).
 */
#include "run/linear.h"

#include <math.h>
#include <string.h>

/* Residual i of token t, (n_embd). */
static float *residual_at(const forward_step *s, size_t t, size_t i) {
    return s->ws->residuals + (t * s->m->hp.residuals.n + i) * s->m->hp.n_embd;
}

static float *active(const forward_step *s, size_t t) {
    return residual_at(s, t, s->m->hp.residuals.active);
}

/* ---- ends ---- */

static double mean_square(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum / (double)n;
}

/* x (n) as large as `like` is. */
static void match_size(const forward_step *s, float *x, const float *like, size_t n) {
    s->k->scale(x, (float)sqrt(mean_square(like, n) / fmax(mean_square(x, n), 1e-5)), n);
}

/* mixed (n, n_embd padded to 8) = w x, x (n, n_embd) */
static void project(const forward_step *s, const matrix *w, const float *x) {
    const linear by = {.w = *w};
    linear_run(s, &by, x, s->m->hp.n_embd, s->ws->mixed);
}

void residuals_open(const forward_step *s) {
    const size_t n = s->m->hp.n_embd;
    for (size_t t = 0; t < s->n; t++) memcpy(residual_at(s, t, 0), s->residual + t * n, n * sizeof(float));
    for (size_t i = 1; i < s->m->hp.residuals.n; i++) {
        project(s, &s->m->residual_in[i - 1], s->residual);
        for (size_t t = 0; t < s->n; t++) {
            float *x = residual_at(s, t, i);
            memcpy(x, s->ws->mixed + t * run_pad8(n), n * sizeof *x);
            match_size(s, x, s->residual + t * n, n);
        }
    }
}

void residuals_close(const forward_step *s) {
    const size_t n = s->m->hp.n_embd, n_residuals = s->m->hp.residuals.n;
    for (size_t t = 0; t < s->n; t++) memcpy(s->residual + t * n, residual_at(s, t, 0), n * sizeof(float));
    for (size_t i = 1; i < n_residuals; i++) {
        for (size_t t = 0; t < s->n; t++)
            memcpy(s->ws->normed + t * n, residual_at(s, t, i), n * sizeof(float));
        project(s, &s->m->residual_out[i - 1], s->ws->normed);
        for (size_t t = 0; t < s->n; t++) {
            float *x = s->ws->mixed + t * run_pad8(n);
            match_size(s, x, residual_at(s, t, 0), n);
            s->k->add(s->residual + t * n, x, n);
        }
    }
    for (size_t t = 0; t < s->n; t++) s->k->scale(s->residual + t * n, 1 / (float)n_residuals, n);
}

/* ---- around a layer ---- */

static void enter_router(const forward_step *s, size_t t) {
    const size_t n = s->m->hp.n_embd;
    float *x = s->ws->normed + t * n;
    s->k->rms_norm(s->residual + t * n, s->layer->residuals.router_norm, n, s->m->hp.norm_eps, x);
    s->k->scale(x, 1 / (float)n, n);
}

static void leave_router(const forward_step *s, size_t t) {
    const size_t n = s->m->hp.residuals.n;
    float *x = s->ws->routes + t * n;
    memcpy(x, s->ws->routed + t * run_pad8(n), n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = tanhf(x[i]);
}

/* portions = w tanh(router(norm(residual) / n_embd)) */
static void route(const forward_step *s, const linear *w) {
    step_each_token(s, enter_router);
    linear_run(s, &s->layer->residuals.router, s->ws->normed, s->m->hp.n_embd, s->ws->routed);
    step_each_token(s, leave_router);
    linear_run(s, w, s->ws->routes, s->m->hp.residuals.n, s->ws->portions);
}

static void take_active(const forward_step *s, size_t t) {
    const size_t n = s->m->hp.n_embd;
    memcpy(s->residual + t * n, active(s, t), n * sizeof(float));
}

/* residual i += sum over j of portion (i, j) * residual j */
static void mix_residuals(const forward_step *s, size_t t) {
    const size_t n_residuals = s->m->hp.residuals.n, n = s->m->hp.n_embd;
    const float *portion = s->ws->portions + t * run_pad8(n_residuals * n_residuals);
    float *x = residual_at(s, t, 0), old[MODEL_MAX_RESIDUALS];
    for (size_t c = 0; c < n; c++) {
        for (size_t j = 0; j < n_residuals; j++) old[j] = x[j * n + c];
        for (size_t i = 0; i < n_residuals; i++)
            for (size_t j = 0; j < n_residuals; j++) x[i * n + c] += portion[i * n_residuals + j] * old[j];
    }
    take_active(s, t);
}

void residuals_predict(const forward_step *s) {
    step_each_token(s, take_active);
    route(s, &s->layer->residuals.predict);
    step_each_token(s, mix_residuals);
}

/* residual i += (1 + portion i) * (what the layer made - what was expected) */
static void correct_residuals(const forward_step *s, size_t t) {
    const size_t n_residuals = s->m->hp.residuals.n, n = s->m->hp.n_embd;
    const float *portion = s->ws->portions + t * run_pad8(n_residuals), *scale = s->layer->residuals.scale;
    float *x = residual_at(s, t, 0), *made = s->residual + t * n;
    const float *expected = active(s, t);
    for (size_t c = 0; c < n; c++) {
        const float off = made[c] - expected[c];
        for (size_t i = 0; i < n_residuals; i++) x[i * n + c] += (1 + portion[i]) * off;
        made[c] = expected[c] * scale[c];
    }
}

void residuals_correct(const forward_step *s) {
    route(s, &s->layer->residuals.correct);
    step_each_token(s, correct_residuals);
}

static void add_to_others(const forward_step *s, size_t t) {
    const size_t n = s->m->hp.n_embd;
    for (size_t i = 1; i < s->m->hp.residuals.n; i++)
        s->k->add(residual_at(s, t, i), s->ws->fed + t * run_pad8(n), n);
}

void residuals_add(const forward_step *s) {
    step_each_token(s, add_to_others);
}
