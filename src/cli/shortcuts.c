/* Options that let a model do less than all of its work. */
#include "cli/shortcuts.h"

#include <stdlib.h>
#include <string.h>

void shortcuts_list(shortcut_args *a, arg_option o[SHORTCUT_OPTIONS]) {
    const arg_option all[SHORTCUT_OPTIONS] = {
        {"--exit", ARG_TEXT, &a->exit,
         "RULE:THRESHOLD, another text in less time: a token leaves the layers where margin, cosine or "
         "patience say so (\"margin:0.9\")"},
        {"--exit-first", ARG_U32, &a->exit_first, "layers that every token goes through (0: half of them)"},
        {"--exit-every", ARG_U32, &a->exit_every,
         "layers between two exits (0: an eighth of them; cosine: 1)"},
        {"--exit-length", ARG_U32, &a->exit_length,
         "tokens of an answer over which the threshold falls by a tenth, which is higher for the first ones "
         "(0: it stays)"},
        {"--exit-decay", ARG_F32, &a->exit_decay, "how fast it falls (0: 4)"},
        {"--experts", ARG_U32, &a->experts,
         "another text in less time: experts that a token runs at most (0: as the model asks)"},
        {"--experts-mass", ARG_F32, &a->experts_mass,
         "another text in less time: the first experts that make up this share of the router's weights "
         "(0: all)"},
    };
    memcpy(o, all, sizeof all);
}

/* "margin:0.9" */
static nut_status read_exit(const char *text, nut_exit_options *o, nut_error *err) {
    const char *colon = strchr(text, ':');
    char *end = NULL;
    o->rule = NUT_EXIT_COUNT;
    for (int i = 0; colon && i < NUT_EXIT_COUNT; i++) {
        const char *name = nut_exit_name((nut_exit_rule)i);
        if (strlen(name) == (size_t)(colon - text) && !strncmp(name, text, strlen(name)))
            o->rule = (nut_exit_rule)i;
    }
    if (colon) o->threshold = strtof(colon + 1, &end);
    if (o->rule < NUT_EXIT_COUNT && end > colon + 1 && !*end) return NUT_OK;
    return cli_error(
        err, NUT_E_ARGUMENT,
        "--exit takes a rule and its threshold, margin:0.9, cosine:0.99 or patience:2, not \"%s\"", text);
}

nut_status shortcuts_set(const shortcut_args *a, nut_session *s, nut_error *err) {
    nut_exit_options exit = {
        .first = a->exit_first, .every = a->exit_every, .length = a->exit_length, .decay = a->exit_decay};
    const nut_experts_options experts = {.most = a->experts, .mass = a->experts_mass};
    if (a->exit) {
        TRY(read_exit(a->exit, &exit, err));
        TRY(nut_session_exit(s, &exit, err));
    } else if (a->exit_first || a->exit_every || a->exit_length || a->exit_decay != 0.0f) {
        return cli_error(err, NUT_E_ARGUMENT,
                         "--exit-first, --exit-every, --exit-length and --exit-decay need --exit "
                         "RULE:THRESHOLD");
    }
    if (experts.most || experts.mass != 0.0f)
        return nut_workspace_experts(nut_session_workspace(s), &experts, err);
    return NUT_OK;
}

shortcut_figures shortcuts_figures(const nut_session *s) {
    return (shortcut_figures){nut_session_exit_figures(s),
                              nut_workspace_experts_figures(nut_session_workspace(s))};
}

static double percent(uint64_t part, uint64_t whole) {
    return whole ? 100 * (double)part / (double)whole : 0;
}

void shortcuts_print(FILE *to, const shortcut_figures *f) {
    const nut_exit_figures *e = &f->exit;
    if (e->n_tokens)
        fprintf(to,
                "exits: %.1f %% of the tokens left early, %.1f %% of the layers ran, %.2f heads a token\n",
                percent(e->n_early, e->n_tokens), percent(e->n_layers, e->n_asked),
                (double)e->n_heads / (double)e->n_tokens);
    if (f->experts.n_run < f->experts.n_asked)
        fprintf(to, "experts: %.1f %% of those that the model asked for ran\n",
                percent(f->experts.n_run, f->experts.n_asked));
}

void shortcuts_json(const shortcut_figures *f) {
    const nut_exit_figures *e = &f->exit;
    if (e->n_tokens)
        printf(",\"exit\":{\"tokens\":%llu,\"early\":%llu,\"layers\":%llu,\"asked\":%llu,\"heads\":%llu}",
               (unsigned long long)e->n_tokens, (unsigned long long)e->n_early,
               (unsigned long long)e->n_layers, (unsigned long long)e->n_asked,
               (unsigned long long)e->n_heads);
    if (f->experts.n_run < f->experts.n_asked)
        printf(",\"experts\":{\"run\":%llu,\"asked\":%llu}", (unsigned long long)f->experts.n_run,
               (unsigned long long)f->experts.n_asked);
}
