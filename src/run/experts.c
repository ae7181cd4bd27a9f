/* Which of a model's experts are left out at run time: the public calls. ffn_experts.c follows them. */
#include "base/error.h"
#include "run/session.h"

static nut_status check_options(const nut_experts_options *o, uint32_t n_used, nut_error *err) {
    if (o->most > n_used)
        return error_set(err, NUT_E_ARGUMENT, "the model asks for %u experts a token; %u cannot run", n_used,
                         o->most);
    if (o->mass >= 0 && o->mass <= 1) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "the mass of the router's weights is 0 to 1, not %g",
                     (double)o->mass);
}

nut_status nut_workspace_experts(nut_workspace *ws, const nut_experts_options *options, nut_error *err) {
    const expert_hparams *h = &ws->model->hp.experts;
    nut_experts_options o = options ? *options : (nut_experts_options){0};
    if (!h->n)
        return error_set(err, NUT_E_UNSUPPORTED, "the model (\"%s\") has no experts", ws->model->arch->name);
    TRY(check_options(&o, h->n_used, err));
    if (o.mass == 1) o.mass = 0; // sums are rounded
    ws->experts = o;
    ws->experts_figures = (nut_experts_figures){0};
    return NUT_OK;
}

nut_experts_figures nut_workspace_experts_figures(const nut_workspace *ws) {
    return ws->experts_figures;
}
