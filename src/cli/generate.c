/* nutshell run, and the options that nutshell chat shares. */
#include "cli/generate.h"

#include <stdlib.h>
#include <string.h>

static const char *option_name(const char *field, char name[GENERATE_NAME]) {
    snprintf(name, GENERATE_NAME, "--%s", field);
    for (char *c = name; *c; c++)
        if (*c == '_') *c = '-';
    return name;
}

enum { OPTIONS = GENERATE_SAMPLING + GENERATE_MORE + SHORTCUT_OPTIONS };

static void list_options(generate_args *a, arg_option o[OPTIONS]) {
    const arg_option more[GENERATE_MORE] = {
        {"--stop", ARG_TEXTS, &a->stop, "end before this text (may be repeated)"},
        {"--threads", ARG_U32, &a->n_threads, "threads (1)"},
        {"--context", ARG_U32, &a->file.n_ctx,
         "positions of the context (0: the model's own, at most 4096)"},
        {"--kv-type", ARG_TEXT, &a->file.kv_type,
         "keys and values: f16, q8_0 in half the memory, or q4_0 (f16)"},
        {"--kernel", ARG_TEXT, &a->file.kernel,
         "ref, simd128, pairs or relaxed (the fastest that computes rightly)"},
        {"--reference", ARG_FLAG, &a->file.reference, "hold all weights as floats"},
        {"--adapter", ARG_TEXTS, &a->file.adapters,
         "a LoRA adapter, FILE or FILE:SCALE, that is added while the model runs (may be repeated)"},
        {"--draft", ARG_TEXT, &a->draft,
         "a smaller model with the same vocabulary that drafts tokens, or \"self\": as nutshell draft "
         "found"},
        {"--draft-confidence", ARG_F32, &a->draft_confidence,
         "a draft ends before a token of which it is less sure, from 0 to 1 (0: as long as pays)"},
        {"--weights-limit", ARG_TEXT, &a->file.weights_limit,
         "memory for weights, such as 200MB: others are read from the file whenever they are needed"},
        {"--draft-without", ARG_TEXT, &a->draft_without,
         "the model itself drafts, without these layers (\"3,7-9\")"},
        {"--keep", ARG_U32, &a->keep,
         "another text in less time: positions of a prompt that stay behind it, those that its end attends "
         "to (0: all)"},
        {"--pre", ARG_TEXT, &a->file.pre, "a pre-tokenizer in place of the one that the file names"},
        {"--json", ARG_FLAG, &a->json, "one JSON object on stdout instead of the text"},
        {"--profile", ARG_FLAG, &a->profile, "say where the time goes, in a table"},
        {"--system", ARG_TEXT, &a->system, "chat: system text"},
        {"--template", ARG_TEXT, &a->source, "chat: a file with a template instead of the model's"},
        {"--tools", ARG_TEXT, &a->tools, "chat: a file with the tools, as JSON"},
        {"--format", ARG_TEXT, &a->format, "chat: the format of tool calls (found in the template)"},
        {"--overflow", ARG_TEXT, &a->overflow,
         "chat: where the context is full, \"error\", \"trim\" the oldest turns, or \"shift\" (trim)"},
    };
    size_t n = 0;
#define NUT_X(type, field, standard, least, most, js, help)                                                 \
    o[n] = (arg_option){option_name(#field, a->names[n]), ARG_KIND(type), &a->options.field, help}, n++;
    NUT_GENERATE_OPTION_LIST(NUT_X)
#undef NUT_X
    memcpy(o + n, more, sizeof more);
    shortcuts_list(&a->shortcuts, o + n + GENERATE_MORE);
}

nut_status generate_read_args(generate_args *a, arg_set set, uint32_t max_tokens, int argc, char **argv,
                              nut_error *err) {
    arg_option options[OPTIONS];
    *a = (generate_args){.options = nut_generate_defaults(), .n_threads = 1};
    a->options.max_tokens = max_tokens;
    list_options(a, options);
    set.options = options;
    set.n_options = OPTIONS;
    return args_parse(&set, argc, argv, err);
}

static nut_status begin(const generate_args *a, nut_session *s, const int32_t *ids, size_t n,
                        nut_error *err) {
    nut_generate_options o = a->options;
    o.stop = a->stop.items;
    o.n_stop = a->stop.n;
    return nut_generate_begin(s, ids, n, &o, err);
}

/* ---- output ---- */

typedef struct output {
    bool json;
    char *text; // collected for --json
    size_t n;
    int32_t *ids;
    size_t n_ids;
} output;

static nut_status collect(output *out, const nut_step *step, nut_error *err) {
    char *text = realloc(out->text, out->n + step->n_text + 1);
    if (text) out->text = text;
    int32_t *ids = realloc(out->ids, (out->n_ids + 1) * sizeof *ids);
    if (ids) out->ids = ids;
    if (!text || !ids) return cli_error(err, NUT_E_MEMORY, "out of memory");
    memcpy(text + out->n, step->text, step->n_text);
    out->n += step->n_text;
    if (step->token >= 0) ids[out->n_ids++] = step->token;
    return NUT_OK;
}

const char *generate_finish_name(nut_finish finish) {
    static const char *const finishes[] = {
#define NUT_X(name, text) text,
        NUT_FINISH_LIST(NUT_X)
#undef NUT_X
    };
    return finishes[finish];
}

static void print_json(const generate_args *a, const output *out, const nut_step *last, const nut_session *s,
                       const nut_model *m) {
    char timings[384];
    size_t n;
    nut_session_timings(s, timings, sizeof timings, &n, NULL);
    printf("{\"text\":");
    cli_json_text(stdout, out->text ? out->text : "", out->n);
    printf(",\"ids\":[");
    for (size_t i = 0; i < out->n_ids; i++) printf("%s%d", i ? "," : "", (int)out->ids[i]);
    printf("],\"finish\":\"%s\",\"kernel\":\"%s\",\"kv_type\":\"%s\",\"threads\":%u,\"timings\":%.*s",
           generate_finish_name(last->finish), nut_model_kernel(m), nut_session_kv_type(s),
           nut_session_n_threads(s), (int)n - 1, timings);
    stored_figures_json(m, stdout);
    printf("}");
    const shortcut_figures f = shortcuts_figures(s);
    shortcuts_json(&f);
    if (a->options.certainty)
        printf(",\"certainty\":{\"log_probability\":%.6f,\"entropy\":%.6f}", last->log_probability,
               last->entropy);
    puts("}");
}

/* One row of the table: microseconds per token and shares of the whole. */
static void print_part(const nut_profile_part *part, const nut_profile_part *whole,
                       unsigned long long prompt, unsigned long long sampled) {
    const double prefill = prompt ? 1e6 * part->prefill / (double)prompt : 0,
                 decode = sampled ? 1e6 * part->decode / (double)sampled : 0;
    fprintf(stderr, "%-26s %9.1f %6.1f %% %9.1f %6.1f %%\n", part->name, prefill,
            whole->prefill > 0 ? 100 * part->prefill / whole->prefill : 0, decode,
            whole->decode > 0 ? 100 * part->decode / whole->decode : 0);
}

static void print_profile(const nut_session *s, unsigned long long prompt, unsigned long long sampled) {
    nut_profile_part part, whole = {.name = "all"};
    for (size_t i = 0; nut_session_profile(s, i, &part); i++)
        whole.prefill += part.prefill, whole.decode += part.decode;
    fprintf(stderr, "%-26s %18s %18s\n", "microseconds per token", "prompt", "sampled");
    for (size_t i = 0; nut_session_profile(s, i, &part); i++) print_part(&part, &whole, prompt, sampled);
    print_part(&whole, &whole, prompt, sampled);
}

/* On stderr. */
static void put_figures(const generate_args *a, const nut_session *s, const nut_model *m) {
    char t[384];
    size_t n;
    unsigned long long prompt, sampled, drafted, accepted;
    double prompt_s, sampled_s;
    nut_session_timings(s, t, sizeof t, &n, NULL);
    if (sscanf(t,
               "{\"prefill\":{\"tokens\":%llu,\"seconds\":%lf},\"decode\":{\"tokens\":%llu,\"seconds\":%lf},"
               "\"drafts\":{\"drafted\":%llu,\"accepted\":%llu}}",
               &prompt, &prompt_s, &sampled, &sampled_s, &drafted, &accepted) != 6)
        return;
    fprintf(
        stderr,
        "prompt %llu tokens, %.1f tokens/s; sampled %llu tokens, %.1f tokens/s; kernel %s, %u thread%s\n",
        prompt, prompt_s > 0 ? (double)prompt / prompt_s : 0, sampled,
        sampled_s > 0 ? (double)sampled / sampled_s : 0, nut_model_kernel(m), nut_session_n_threads(s),
        nut_session_n_threads(s) == 1 ? "" : "s");
    if (drafted) fprintf(stderr, "%llu of %llu drafted tokens were accepted\n", accepted, drafted);
    const shortcut_figures f = shortcuts_figures(s);
    shortcuts_print(stderr, &f);
    stored_figures(m, stderr);
    if (a->profile) print_profile(s, prompt, sampled);
}

nut_status generate_step(const generate_args *a, nut_session *s, nut_step *step, nut_error *err) {
    TRY(nut_generate_step(s, step, err));
    const bool read = step->kind == NUT_STEP_PREFILL && step->n_done == step->n_total;
    return read && a->keep ? nut_session_keep(s, a->keep, err) : NUT_OK;
}

static nut_status drain(const generate_args *a, nut_session *s, output *out, nut_step *step,
                        nut_error *err) {
    do {
        TRY(generate_step(a, s, step, err));
        TRY(collect(out, step, err));
        if (!out->json && step->n_text) {
            fwrite(step->text, 1, step->n_text, stdout);
            fflush(stdout);
        }
    } while (step->kind != NUT_STEP_DONE);
    return NUT_OK;
}

/* ---- run ---- */

static nut_status run_prompt(const generate_args *a, const nut_model *m, nut_session *s, nut_error *err) {
    int32_t *ids;
    size_t n;
    output out = {.json = a->json};
    nut_step step;
    unsigned flags = NUT_TOKENIZE_ADD_BOS | (a->options.special ? NUT_TOKENIZE_SPECIAL : 0);
    TRY(cli_tokenize(m, a->prompt, strlen(a->prompt), flags, &ids, &n, err));
    nut_status status = begin(a, s, ids, n, err);
    free(ids);
    if (status == NUT_OK) status = drain(a, s, &out, &step, err);
    if (status == NUT_OK && a->json) print_json(a, &out, &step, s, m);
    if (status == NUT_OK && a->options.certainty && !a->json)
        fprintf(stderr, "mean log-probability %.3f, mean entropy %.3f nats\n", step.log_probability,
                step.entropy);
    free(out.text);
    free(out.ids);
    return status;
}

enum {
    DRAFTED_MOST = 7,
    LAYERS_MOST = 1024,
    LARGE_BATCH = 512 // of a prompt whose weights are read from a file: once for so many tokens
};

/* A model with a session, as the arguments say; lookup: tokens of a draft. */
typedef struct opened {
    nut_model *m;
    nut_session *s;
} opened;

static void close_session(opened *o) {
    nut_session_free(o->s);
    nut_model_free(o->m);
}

static nut_status open_session(const generate_args *a, const char *path, uint32_t lookup, opened *o,
                               nut_error *err) {
    nut_session_options so = nut_session_defaults();
    so.n_ctx = a->file.n_ctx;
    so.n_threads = a->n_threads;
    so.lookup = lookup;
    so.profile = a->profile;
    if (a->file.weights_limit) so.n_batch = LARGE_BATCH;
    TRY(file_kv_type(&a->file, &so.kv_type, err));
    file_options file = a->file;
    file.n_threads = a->n_threads;
    TRY(file_load_model(path, &file, &o->m, err));
    return nut_session_new(o->m, &so, &o->s, err);
}

/* ---- drafts ---- */

/* Reads a list of layers such as "3,7-9": layers (*n) receives 3, 7, 8, 9. */
static nut_status read_layers(const char *text, uint32_t *layers, size_t *n, nut_error *err) {
    char *end = NULL;
    *n = 0;
    for (const char *at = text;; at = end + 1) {
        const unsigned long from = strtoul(at, &end, 10);
        const bool is_range = end > at && *end == '-';
        const char *second = end + 1;
        const unsigned long to = is_range ? strtoul(second, &end, 10) : from;
        if (end == at || (is_range && end == second) || to < from || to - from >= LAYERS_MOST - *n) break;
        for (unsigned long i = from; i <= to; i++) layers[(*n)++] = (uint32_t)i;
        if (*end == '\0') return NUT_OK;
        if (*end != ',') break;
    }
    return cli_error(err, NUT_E_ARGUMENT,
                     "--draft-without takes layers such as \"3,7-9\", counted from 0, not \"%s\"", text);
}

/* Layers that nutshell draft has found for the model: "without" of MODEL.draft.json. */
static nut_status read_search(const char *path, uint32_t *layers, size_t *n, nut_error *err) {
    static const char mark[] = "\"without\":\"";
    const size_t n_name = strlen(path) + sizeof ".draft.json";
    char *name = malloc(n_name), *text = NULL, *end = NULL;
    size_t n_text;
    if (!name) return cli_error(err, NUT_E_MEMORY, "out of memory");
    snprintf(name, n_name, "%s.draft.json", path);
    nut_status status = file_read_text(name, &text, &n_text, err);
    if (status != NUT_OK)
        cli_error(err, NUT_E_IO, "%s cannot be read; make it with nutshell draft MODEL", name);
    char *list = text ? strstr(text, mark) : NULL;
    if (list) end = strchr(list += sizeof mark - 1, '"');
    if (status == NUT_OK && !end)
        status =
            cli_error(err, NUT_E_CORRUPT, "%s has no \"without\"; make it again with nutshell draft", name);
    if (status == NUT_OK) *end = '\0', *n = 0;
    if (status == NUT_OK && *list) status = read_layers(list, layers, n, err);
    free(text);
    free(name);
    return status;
}

/* What drafts for the session: `by`, another model, which stays closed where none is asked for. */
static nut_status set_drafter(const generate_args *a, const char *path, nut_session *s, opened *by,
                              nut_error *err) {
    uint32_t layers[LAYERS_MOST];
    size_t n;
    if (a->draft_without || !strcmp(a->draft, "self")) {
        TRY(a->draft_without ? read_layers(a->draft_without, layers, &n, err)
                             : read_search(path, layers, &n, err));
        return nut_session_draft_without(s, layers, n, err);
    }
    generate_args draft = *a;
    draft.file.weights_limit = NULL; // it is needed for every token
    draft.file.adapters.n = 0;
    TRY(open_session(&draft, a->draft, 0, by, err));
    return nut_session_draft_by(s, by->s, err);
}

static nut_status set_draft(const generate_args *a, const char *path, nut_session *s, opened *by,
                            nut_error *err) {
    if (a->draft && a->draft_without)
        return cli_error(err, NUT_E_ARGUMENT, "give --draft or --draft-without, not both");
    if (!a->draft && !a->draft_without && a->draft_confidence == 0.0f) return NUT_OK;
    if (!a->draft && !a->draft_without)
        return cli_error(err, NUT_E_ARGUMENT,
                         "--draft-confidence needs a draft: --draft or --draft-without");
    if (a->shortcuts.exit) return cli_error(err, NUT_E_ARGUMENT, "give --exit or a draft, not both");
    TRY(set_drafter(a, path, s, by, err));
    return a->draft_confidence != 0.0f ? nut_session_draft_confidence(s, a->draft_confidence, err) : NUT_OK;
}

nut_status generate_command(const generate_args *a, const char *path, generate_run *run, nut_error *err) {
    opened own = {0}, by = {0};
    const uint32_t least = a->draft || a->draft_without ? DRAFTED_MOST : 0,
                   lookup = a->options.lookup > least ? a->options.lookup : least;
    nut_status status = open_session(a, path, lookup, &own, err);
    if (status == NUT_OK) status = shortcuts_set(&a->shortcuts, own.s, err);
    if (status == NUT_OK) status = set_draft(a, path, own.s, &by, err);
    if (status == NUT_OK) status = run(a, own.m, own.s, err);
    if (status == NUT_OK) put_figures(a, own.s, own.m);
    close_session(&own);
    close_session(&by);
    return status;
}

nut_status command_run(int argc, char **argv, nut_error *err) {
    const char *positionals[2];
    const arg_set set = {.command = "run",
                         .positional = "MODEL PROMPT [options]",
                         .positionals = positionals,
                         .n_positionals = 2};
    generate_args a;
    TRY(generate_read_args(&a, set, 256, argc, argv, err));
    a.prompt = positionals[1];
    return generate_command(&a, positionals[0], run_prompt, err);
}
