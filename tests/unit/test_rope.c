/* Rotary position embedding by numbers: heads rotated at positions near and far, for every scaling, all of a
 * head and a part of it, against NumPy in float64 (tests/golden/rope.py). What a file says comes in by its
 * metadata and tensors. */
#include "check.h"
#include "make_gguf.h"

#include "../golden/rope.h"
#include "run/session.h"

/* A model of one head whose metadata say what the case says. */
static nut_model *load_case(const rope_case *c, const char *kernel) {
    const char *family = c->adjacent ? "llama" : "qwen2";
    const make_options o = {
        .arch = family, .n_layer = 1, .n_head = 1, .n_head_kv = 1, .head_dim = c->head_dim};
    nut_load_options options = nut_load_defaults();
    make_gguf g = make_model(&o);
    make_u32(&g, make_hparam_key(family, "rope.dimension_count"), c->n_rot);
    make_f32(&g, make_hparam_key(family, "rope.freq_base"), c->base);
    if (c->type) {
        make_str(&g, make_hparam_key(family, "rope.scaling.type"), c->type);
        make_f32(&g, make_hparam_key(family, "rope.scaling.factor"), c->factor);
    }
    if (c->n_orig) {
        make_u32(&g, make_hparam_key(family, "rope.scaling.original_context_length"), c->n_orig);
        make_f32(&g, make_hparam_key(family, "rope.scaling.yarn_beta_fast"), c->beta_fast);
        make_f32(&g, make_hparam_key(family, "rope.scaling.yarn_beta_slow"), c->beta_slow);
    }
    if (c->divisors) {
        make_tensor *t = make_add(&g, "rope_freqs.weight", FORMAT_F32, c->n_rot / 2, 0);
        memcpy(t->data.p, c->divisors, c->n_rot / 2 * sizeof(float));
    }
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_model *m = NULL;
    nut_error err = {NUT_OK, ""};
    options.kernel = kernel;
    CHECK(make_load(file, n, 0, &options, &m, &err) == NUT_OK, "%s: %s", c->name, err.message);
    free(file);
    make_free(&g);
    return m;
}

/* x (head_dim) as the engine rotates a head at a position. */
static void rotate(const nut_model *m, uint32_t position, size_t head_dim, float *x) {
    double freq[CACHE_MAX_DIM / 2];
    float table[CACHE_MAX_DIM];
    const size_t n_pairs = m->hp.n_rot / 2;
    rope_prepare(m, 0, m->hp.n_ctx_train, freq);
    rope_table(freq, n_pairs, position, (double)m->hp.rope[0].magnitude, table);
    const kernel_rope r = {table, table + n_pairs, n_pairs, m->hp.rope_kind == MODEL_ROPE_NORM};
    m->kernels->rope(x, 1, head_dim, &r);
}

static void test_case(const rope_case *c, const char *kernel) {
    nut_model *m = load_case(c, kernel);
    if (!m) return;
    for (size_t p = 0; p < ROPE_N_POSITIONS; p++) {
        float x[CACHE_MAX_DIM];
        double worst = 0;
        memcpy(x, c->x, c->head_dim * sizeof *x);
        rotate(m, rope_positions[p], c->head_dim, x);
        for (size_t i = 0; i < c->head_dim; i++)
            worst = fmax(worst, fabs((double)x[i] - (double)c->y[p * c->head_dim + i]));
        CHECK(worst < 5e-7, "%s, kernel %s, position %u: %g off", c->name, nut_model_kernel(m),
              rope_positions[p], worst);
    }
    nut_model_free(m);
}

int main(void) {
    for (size_t i = 0; i < sizeof rope_cases / sizeof *rope_cases; i++) {
        test_case(&rope_cases[i], "ref");
        test_case(&rope_cases[i], NULL);
    }
    return check_report();
}
