/* The parts that cost least next. */
#include "compress/shares.h"

#include "base/error.h"
#include "base/mem.h"

#include <math.h>

uint32_t shares_most(uint32_t n) {
    return n - (n + 7) / 8;
}

nut_status shares_layer(shares *s, uint32_t n_layer, uint32_t il, uint32_t n, uint32_t unit, double **losses,
                        nut_error *err) {
    if (!s->layers) s->layers = mem_calloc(n_layer, sizeof *s->layers);
    if (!s->layers) return error_memory(err, n_layer * sizeof *s->layers);
    s->n_layer = n_layer;
    shares_parts *p = &s->layers[il];
    const size_t n_losses = (size_t)shares_most(n) + 1;
    *p = (shares_parts){
        .n = n, .unit = unit, .weight = 1, .size = 1, .losses = mem_calloc(n_losses, sizeof *p->losses)};
    *losses = p->losses;
    return p->losses ? NUT_OK : error_memory(err, n_losses * sizeof *p->losses);
}

void shares_weigh(shares *s, uint32_t il, double weight, double size) {
    s->layers[il].weight = weight, s->layers[il].size = size;
}

double shares_typical_square(const float *residual, size_t n, size_t n_embd) {
    double logs = 0;
    for (size_t t = 0; t < n; t += n_embd) {
        double squares = 1e-30; // of a token that is all zeros
        for (size_t i = 0; i < n_embd; i++) squares += (double)residual[t + i] * (double)residual[t + i];
        logs += log(squares);
    }
    return exp(logs / (double)(n / n_embd));
}

/* What a layer's next unit costs for its size; infinity where it has none to give. */
static double next_cost(const shares_parts *p, uint32_t left) {
    const uint32_t gone = p->n - left;
    if (!p->n || gone + p->unit > shares_most(p->n)) return INFINITY;
    return p->weight * (p->losses[gone + p->unit] - p->losses[gone]) / (p->unit * p->size);
}

/* The layer whose next unit costs least; n_layer: none can give one. */
static uint32_t cheapest(const shares *s) {
    uint32_t best = s->n_layer;
    double least = INFINITY;
    for (uint32_t il = 0; il < s->n_layer; il++) {
        const double cost = next_cost(&s->layers[il], s->n_left[il]);
        if (cost < least) best = il, least = cost;
    }
    return best;
}

nut_status shares_choose(shares *s, double share, nut_error *err) {
    double n = 0, gone = 0;
    s->n_left = mem_calloc(s->n_layer, sizeof *s->n_left);
    if (!s->n_left) return error_memory(err, s->n_layer * sizeof *s->n_left);
    for (uint32_t il = 0; il < s->n_layer; il++) {
        s->n_left[il] = s->layers[il].n;
        n += s->layers[il].size * s->layers[il].n;
    }
    while (gone < share * n) {
        const uint32_t il = cheapest(s);
        if (il == s->n_layer)
            return error_set(err, NUT_E_ARGUMENT,
                             "a share of %g cannot go: an eighth of each layer stays, and the model gives "
                             "%.3f at most; give a smaller one",
                             share, gone / n);
        s->n_left[il] -= s->layers[il].unit;
        gone += s->layers[il].size * s->layers[il].unit;
    }
    return NUT_OK;
}

void shares_free(shares *s) {
    for (uint32_t il = 0; s->layers && il < s->n_layer; il++) mem_free(s->layers[il].losses);
    mem_free(s->layers);
    mem_free(s->n_left);
    *s = (shares){0};
}
