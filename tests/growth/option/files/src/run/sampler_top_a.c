/* Top-a: the candidates whose probability is at least a times the square of the best one's (BlinkDL's
 * RWKV-LM, "top-a sampling"). */
#include "run/sampler.h"

static bool is_off(const nut_generate_options *o) {
    return o->top_a <= 0;
}

static void run(sampler *s, sampler_pool *p) {
    const double sum = pool_weigh(p), least = (double)s->options.top_a / sum; // p of the best is 1 here
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if ((double)p->c[i].p >= least) p->c[n++] = p->c[i];
    p->n = n;
}

const sampler_step sampler_step_top_a = {"top_a", is_off, run};
