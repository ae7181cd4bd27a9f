/* Early exit: the rules, and the step that follows them. */
#include "run/exit.h"

#include "base/cosine.h"
#include "base/error.h"
#include "kernels/kernels.h"
#include "run/confidence.h"

#include <math.h>
#include <string.h>

/* ---- rules ---- */

static const uint32_t row = 0; // of the step's only token

static void find_logits(early_exit *e, forward_step *s) {
    forward_head(s, &row, 1);
    e->figures.n_heads++;
}

/* Whether the same token was found likeliest often enough. */
static bool is_patient(early_exit *e, int32_t id) {
    e->n_same = id == e->id ? e->n_same + 1 : 1;
    e->id = id;
    return (float)e->n_same >= e->options.threshold;
}

/* Whether the token leaves with the state that it has. Its logits are there then. */
static bool leaves(early_exit *e, forward_step *s) {
    if (e->options.rule == NUT_EXIT_COSINE) {
        const bool decided = cosine_of(e->before, s->residual, s->m->hp.n_embd) >= (double)e->threshold;
        if (decided) find_logits(e, s);
        return decided;
    }
    find_logits(e, s);
    const confidence c = confidence_of(s->ws->logits, s->m->hp.n_vocab);
    return e->options.rule == NUT_EXIT_MARGIN ? c.margin >= e->threshold : is_patient(e, c.id);
}

/* ---- a step ---- */

/* Layers [from, to), and the state before the last of them where the rule compares it. */
static void run_layers(early_exit *e, forward_step *s, uint32_t from, uint32_t to) {
    if (e->options.rule == NUT_EXIT_COSINE) {
        forward_layers(s, from, to - 1);
        memcpy(e->before, s->residual, s->m->hp.n_embd * sizeof *e->before);
        from = to - 1;
    }
    forward_layers(s, from, to);
}

/* The threshold of a token. One that is not read again, and does not follow the token before, is the first
 * behind a prompt. */
static void find_threshold(early_exit *e, uint32_t pos) {
    const nut_exit_options *o = &e->options;
    if (pos != e->next && pos + 1 != e->next) e->begin = pos;
    e->next = pos + 1;
    e->threshold = o->threshold;
    if (!o->length) return;
    const float t = (float)(pos - e->begin) / (float)o->length,
                threshold = 0.9f * o->threshold + 0.1f * kernel_exp(-o->decay * t);
    e->threshold = fminf(fmaxf(threshold, 0), 1);
}

static void run(early_exit *e, forward_step *s) {
    const uint32_t n_layer = s->m->hp.n_layer;
    uint32_t from = 0;
    find_threshold(e, s->rows->pos);
    e->id = -1, e->n_same = 0;
    e->figures.n_tokens++;
    e->figures.n_asked += n_layer;
    for (uint32_t to = e->options.first; to < n_layer; to += e->options.every) {
        run_layers(e, s, from, to);
        from = to;
        if (!leaves(e, s)) continue;
        forward_keep(s, to, n_layer);
        e->figures.n_early++;
        e->figures.n_layers += to;
        return;
    }
    forward_layers(s, from, n_layer);
    find_logits(e, s);
    e->figures.n_layers += n_layer;
}

/* ---- public calls ---- */

const char *nut_exit_name(nut_exit_rule rule) {
    static const char *const names[NUT_EXIT_COUNT] = {
#define NUT_X(name, text) text,
        NUT_EXIT_LIST(NUT_X)
#undef NUT_X
    };
    return rule < NUT_EXIT_COUNT ? names[rule] : NULL;
}

/* Layers that keep nothing of a token but keys and values, which are made of its state alone. */
static nut_status check_model(const nut_model *m, nut_error *err) {
    bool can = !m->hp.residuals.n && m->hp.causal;
    for (size_t i = 0; i < m->hp.n_layer; i++)
        can = can && m->layers[i].hp.mixer == BLOCK_mix_attention && m->layers[i].hp.beside == BLOCK_NONE;
    if (!can)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "tokens of this model (\"%s\") cannot leave its layers early: what the others keep "
                         "of a token is not made of its state alone; run it whole",
                         m->arch->name);
    if (m->hp.n_layer > 1) return NUT_OK;
    return error_set(err, NUT_E_UNSUPPORTED, "the model has one layer, which no token can leave out");
}

static nut_status check_options(const nut_exit_options *o, uint32_t n_layer, nut_error *err) {
    const float least = o->rule == NUT_EXIT_PATIENCE ? 1 : -1,
                most = o->rule == NUT_EXIT_PATIENCE ? (float)n_layer : 1;
    if (o->rule >= NUT_EXIT_COUNT)
        return error_set(err, NUT_E_ARGUMENT, "there is no rule %d for an exit", (int)o->rule);
    if (!(o->threshold >= least && o->threshold <= most))
        return error_set(err, NUT_E_ARGUMENT, "the threshold of the rule \"%s\" is %g to %g, not %g",
                         nut_exit_name(o->rule), (double)least, (double)most, (double)o->threshold);
    if (o->length && o->rule == NUT_EXIT_PATIENCE)
        return error_set(err, NUT_E_ARGUMENT, "the threshold of the rule \"patience\" cannot fall");
    if (!(o->decay >= 0 && o->decay <= 1000) || (o->decay > 0 && !o->length))
        return error_set(err, NUT_E_ARGUMENT,
                         "a threshold falls with a decay of 0 to 1000 over a length, which must be given");
    if (o->first < n_layer) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "the first exit is behind 1 to %u layers, not %u", n_layer - 1,
                     o->first);
}

static nut_exit_options complete(const nut_exit_options *o, uint32_t n_layer) {
    const uint32_t eighth = n_layer < 8 ? 1 : n_layer / 8;
    nut_exit_options all = *o;
    if (!all.first) all.first = n_layer / 2;
    if (all.decay == 0.0f) all.decay = 4;
    if (!all.every) all.every = o->rule == NUT_EXIT_COSINE ? 1 : eighth;
    if (all.every > n_layer) all.every = n_layer; // none behind the first
    return all;
}

nut_status nut_session_exit(nut_session *s, const nut_exit_options *options, nut_error *err) {
    const nut_model *m = s->seq.ws->model;
    const size_t bytes = sizeof(early_exit) + m->hp.n_embd * sizeof(float);
    TRY(session_check_idle(s, err));
    early_exit *e = NULL;
    if (options) {
        TRY(check_model(m, err));
        TRY(check_options(options, m->hp.n_layer, err));
        e = mem_calloc(1, bytes);
        if (!e) return error_memory(err, bytes);
        e->run = run;
        e->options = complete(options, m->hp.n_layer);
        e->before = (float *)(void *)(e + 1);
    }
    mem_free(s->seq.exit);
    s->seq.exit = e;
    return NUT_OK;
}

nut_exit_figures nut_session_exit_figures(const nut_session *s) {
    return s->seq.exit ? s->seq.exit->figures : (nut_exit_figures){0};
}
