/*
 * Drafts by a model: another one with the same vocabulary (Leviathan et al. 2023, arXiv 2211.17192), or the
 * session's own without some of its layers, which then writes to the session's own cache behind its end
 * (Zhang et al. 2023, "Draft & Verify", arXiv 2309.08168). Where tokens are sampled, a drafted one is kept
 * by rejection sampling (reject.h); where the likeliest is taken, it is compared.
 *
 * A session without a drafter has none of this: its calls are reached through the session alone, so that
 * modules that never set one do not hold them.
 */
#ifndef NUT_RUN_DRAFTER_H
#define NUT_RUN_DRAFTER_H

#include "run/draft.h"
#include "run/sampler.h"

typedef struct drafter drafter;

typedef struct drafter_calls {
    /* A generation begins with these options. */
    nut_status (*begin)(nut_session *s, const nut_generate_options *o, nut_error *err);
    /* A batch of the prompt was read. */
    nut_status (*read)(nut_session *s, nut_error *err);
    /* Drafts at most `most` tokens to follow the session's and ids[0], which stands behind them, to ids + 1.
     * Returns how many. */
    size_t (*make)(nut_session *s, int32_t *ids, size_t most);
    /* Samples the token behind row g->row of the logits of a draft. */
    nut_status (*sample)(nut_session *s, const float *logits, int32_t *id, nut_error *err);
} drafter_calls;

struct drafter {
    const drafter_calls *calls;
    nut_session *by; // of the other model; NULL: the session's own drafts
    sampler sampler; // draws drafted tokens
    double share;    // of a step's work that a drafted token takes, until it is measured
    double seconds;  // of a drafted token; 0: not known yet
    double each;     // in steps of one, of the last draft
    float least;     // a draft ends where the likeliest token is less likely; 0: nowhere
    size_t n_shares; // tokens of the last draft that were sampled
    float *shares;   // (DRAFT_MAX, n_vocab) how likely each token was, of those
    bool *left_out;  // (n_layer) layers that do not run; NULL: of another model
};

#endif
