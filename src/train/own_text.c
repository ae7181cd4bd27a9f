/* The student's own text: a session on the weights as they stand. */
#include "train/own_text.h"

#include "base/error.h"
#include "kernels/activations.h"
#include "run/session.h"

#include <string.h>

struct own_text {
    const nut_model *m;
    nut_session *session, *teacher; // the latter NULL where it has no share
    double share;                   // of the teacher's
    double *mixed;                  // (n_vocab) probabilities
    size_t window;
};

nut_status own_text_new(const nut_model *m, const nut_model *teacher, double share, size_t window,
                        uint32_t n_threads, own_text **out, nut_error *err) {
    const nut_session_options options = {
        .n_ctx = (uint32_t)window, .n_batch = (uint32_t)window, .n_threads = n_threads};
    own_text *o = mem_calloc(1, sizeof *o);
    if (!o) return error_memory(err, sizeof *o);
    *o = (own_text){.m = m, .share = share, .window = window};
    o->mixed = mem_calloc(m->hp.n_vocab, sizeof *o->mixed);
    nut_status status = o->mixed ? NUT_OK : error_memory(err, m->hp.n_vocab * sizeof *o->mixed);
    if (status == NUT_OK) status = nut_session_new(m, &options, &o->session, err);
    if (status == NUT_OK && share > 0) status = nut_session_new(teacher, &options, &o->teacher, err);
    if (status == NUT_OK)
        *out = o;
    else
        own_text_free(o);
    return status;
}

void own_text_free(own_text *o) {
    if (!o) return;
    nut_session_free(o->session);
    nut_session_free(o->teacher);
    mem_free(o->mixed);
    mem_free(o);
}

/* Adds share times the probabilities of logits (n) to `to`. */
static void mix(const float *logits, size_t n, double share, double *to) {
    float most = logits[0];
    double sum = 0;
    for (size_t i = 1; i < n; i++) most = logits[i] > most ? logits[i] : most;
    for (size_t i = 0; i < n; i++) sum += (double)exp_scalar(logits[i] - most);
    for (size_t i = 0; i < n; i++) to[i] += share / sum * (double)exp_scalar(logits[i] - most);
}

/* The first token up to which the probabilities reach a uniform number. */
static int32_t draw(const double *probabilities, size_t n, double uniform) {
    double left = uniform;
    for (size_t i = 0; i + 1 < n; i++) {
        left -= probabilities[i];
        if (left < 0) return (int32_t)i;
    }
    return (int32_t)n - 1;
}

static nut_status add_next(own_text *o, nut_session *s, double share, const int32_t *ids, size_t n,
                           nut_error *err) {
    const size_t n_vocab = o->m->hp.n_vocab;
    TRY(nut_session_eval(s, ids, n, 1, err));
    const float *logits = nut_session_logits(s, 0);
    TRY(sampler_check_logits(logits, n_vocab, err));
    mix(logits, n_vocab, share, o->mixed);
    return NUT_OK;
}

/* What follows n tokens that the sessions have not seen yet. */
static nut_status next(own_text *o, rng *random, const int32_t *ids, size_t n, int32_t *out,
                       nut_error *err) {
    const size_t n_vocab = o->m->hp.n_vocab;
    memset(o->mixed, 0, n_vocab * sizeof *o->mixed);
    if (o->share < 1) TRY(add_next(o, o->session, 1 - o->share, ids, n, err));
    if (o->teacher) TRY(add_next(o, o->teacher, o->share, ids, n, err));
    *out = draw(o->mixed, n_vocab, rng_f64(random));
    return NUT_OK;
}

nut_status own_text_write(own_text *o, uint64_t seed, size_t n_prompt, int32_t *ids, int32_t *labels,
                          nut_error *err) {
    rng random;
    bool over = false;
    rng_seed(&random, seed);
    TRY(nut_session_truncate(o->session, 0, err));
    if (o->teacher) TRY(nut_session_truncate(o->teacher, 0, err));
    for (size_t i = 0; i + 1 < n_prompt; i++) labels[i] = -1;
    for (size_t i = n_prompt - 1, from = 0; i < o->window; i++) {
        labels[i] = -1;
        if (!over) {
            TRY(next(o, &random, ids + from, i + 1 - from, &labels[i], err));
            from = i + 1;
            over = vocab_is_eog(o->m->vocab, labels[i]);
        }
        if (i + 1 < o->window) ids[i + 1] = labels[i] >= 0 ? labels[i] : ids[i];
    }
    return NUT_OK;
}
