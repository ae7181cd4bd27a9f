/*
 * What the modules nutshell-*-more have for a model that does not run alone: another one that drafts for it,
 * and adapters. Both come before the model: a draft is loaded as a model is, and then put aside; the bytes
 * of adapters are kept until it is there.
 */
#include "nutshell.h"
#include "page.h"

#include <stdlib.h>
#include <string.h>

static struct {
    nut_model *draft;
    nut_session *drafts; // its own
    struct {
        void *bytes; // (n)
        size_t n;
        float scale;
    } adapters[NUT_ADAPTERS];
    unsigned n_adapters; // that wait for the model
} beside;

/* ---- drafts ---- */

static void forget_draft(void) {
    nut_session_free(beside.drafts);
    nut_model_free(beside.draft);
    beside.drafts = NULL;
    beside.draft = NULL;
}

/* use 0: puts the loaded model aside, and its own session with it, to draft for the next one that is loaded.
 * 1: lets it draft for the own session of the model that is loaded now; where it cannot, it is freed, and
 * the model goes on without it. */
int nutw_draft(int use) {
    if (!use) {
        forget_draft();
        return page_part(&beside.draft, &beside.drafts);
    }
    nut_session *own = page_session(0);
    if (own && nut_session_draft_by(own, beside.drafts, page_error()) == NUT_OK) return 0;
    forget_draft();
    return -1;
}

/* ---- adapters ---- */

static void forget_adapters(void) {
    while (beside.n_adapters) free(beside.adapters[--beside.n_adapters].bytes);
}

/* An adapter of n bytes, the first ones of the staging buffer, for the model that is loaded next: see
 * nut_model_add_adapter. n 0: forgets those that no model has taken. */
int nutw_adapter_add(double n, double scale) {
    if (n == 0) return forget_adapters(), 0;
    if (beside.n_adapters == NUT_ADAPTERS)
        return page_fail(NUT_E_ARGUMENT, "a model takes 8 adapters at most; leave some out");
    const void *staged = page_staged(n);
    void *bytes = staged ? malloc((size_t)n) : NULL;
    if (!bytes) return staged ? page_fail(NUT_E_MEMORY, "no memory is left for an adapter") : -1;
    memcpy(bytes, staged, (size_t)n);
    beside.adapters[beside.n_adapters].bytes = bytes;
    beside.adapters[beside.n_adapters].n = (size_t)n;
    beside.adapters[beside.n_adapters++].scale = (float)scale;
    return 0;
}

int page_adapt(nut_model *model) {
    nut_status status = NUT_OK;
    for (unsigned i = 0; i < beside.n_adapters && status == NUT_OK; i++)
        status = nut_model_add_adapter(model, beside.adapters[i].bytes, beside.adapters[i].n,
                                       beside.adapters[i].scale, page_error());
    forget_adapters();
    return status == NUT_OK ? 0 : -1;
}

/* See nut_session_set_adapters. */
int nutw_adapter_scales(int session, const double *scales, unsigned n) {
    float each[NUT_ADAPTERS];
    nut_session *s = page_session(session);
    if (!s) return -1;
    if (n > NUT_ADAPTERS) return page_fail(NUT_E_ARGUMENT, "there are more scales than adapters");
    for (unsigned i = 0; i < n; i++) each[i] = (float)scales[i];
    return nut_session_set_adapters(s, each, n, page_error()) == NUT_OK ? 0 : -1;
}
