/* nutshell run and nutshell chat. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct generate_args {
    file_options file;
    nut_generate_options options;
    arg_texts stop;
    uint32_t n_threads;
    bool json, raw, profile;
    const char *system;
} generate_args;

enum { MAX_OPTIONS = 24 };

static size_t generate_options(generate_args *a, arg_option *o) {
    const arg_option all[] = {
        {"--max-tokens", ARG_U32, &a->options.max_tokens, "tokens to draw (0: until the context is full)"},
        {"--temperature", ARG_F32, &a->options.temperature, "0 takes the likeliest token"},
        {"--top-k", ARG_U32, &a->options.top_k, "draw from the K likeliest (0: off)"},
        {"--top-p", ARG_F32, &a->options.top_p, "draw from the likeliest that make up P (1: off)"},
        {"--min-p", ARG_F32, &a->options.min_p, "drop what is less likely than P times the best (0: off)"},
        {"--typical-p", ARG_F32, &a->options.typical_p, "locally typical sampling (1: off)"},
        {"--repeat-penalty", ARG_F32, &a->options.repeat_penalty, "above 1 avoids repetition"},
        {"--presence-penalty", ARG_F32, &a->options.presence_penalty,
         "taken once from a repeated token's logit"},
        {"--frequency-penalty", ARG_F32, &a->options.frequency_penalty, "taken for each repetition"},
        {"--repeat-last-n", ARG_U32, &a->options.repeat_last_n, "tokens that the penalties look back on"},
        {"--seed", ARG_U64, &a->options.seed, "same seed, same text"},
        {"--stop", ARG_TEXTS, &a->stop, "end before this text (may be repeated)"},
        {"--ignore-eos", ARG_FLAG, &a->options.ignore_eos, "go on past the end-of-text token"},
        {"--threads", ARG_U32, &a->n_threads, "threads (1)"},
        {"--context", ARG_U32, &a->file.n_ctx,
         "positions of the context (0: the model's own, at most 4096)"},
        {"--kv-type", ARG_TEXT, &a->file.kv_type, "keys and values: f16, or q8_0 in half the memory (f16)"},
        {"--kernel", ARG_TEXT, &a->file.kernel,
         "ref, simd128 or relaxed (the fastest that computes rightly)"},
        {"--reference", ARG_FLAG, &a->file.reference, "hold all weights as floats"},
        {"--special", ARG_FLAG, &a->raw, "read special tokens in the prompt, and show those drawn"},
        {"--json", ARG_FLAG, &a->json, "one JSON object on stdout instead of the text"},
        {"--profile", ARG_FLAG, &a->profile, "say where the time goes, in a table"},
        {"--system", ARG_TEXT, &a->system, "system text of a chat"},
    };
    memcpy(o, all, sizeof all);
    return sizeof all / sizeof *all;
}

static generate_args generate_defaults(void) {
    generate_args a = {.options = nut_generate_defaults(), .n_threads = 1};
    a.options.max_tokens = 256;
    return a;
}

/* ---- output ---- */

static void print_json_text(const char *s, size_t n) {
    putchar('"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c == '\n')
            printf("\\n");
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

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

static void print_json(const output *out, const nut_step *last, const nut_session *s, const nut_model *m) {
    static const char *const finishes[] = {"none", "eos", "stop", "length"};
    char timings[256];
    size_t n;
    nut_session_timings(s, timings, sizeof timings, &n, NULL);
    printf("{\"text\":");
    print_json_text(out->text ? out->text : "", out->n);
    printf(",\"ids\":[");
    for (size_t i = 0; i < out->n_ids; i++) printf("%s%d", i ? "," : "", (int)out->ids[i]);
    printf("],\"finish\":\"%s\",\"kernel\":\"%s\",\"kv_type\":\"%s\",\"threads\":%u,\"timings\":%s}\n",
           finishes[last->finish], nut_model_kernel(m), nut_session_kv_type(s), nut_session_n_threads(s),
           timings);
}

/* One row of the table: microseconds per token and shares of the whole. */
static void print_part(const nut_profile_part *part, const nut_profile_part *whole,
                       unsigned long long prompt, unsigned long long drawn) {
    const double prefill = prompt ? 1e6 * part->prefill / (double)prompt : 0,
                 decode = drawn ? 1e6 * part->decode / (double)drawn : 0;
    fprintf(stderr, "%-26s %9.1f %6.1f %% %9.1f %6.1f %%\n", part->name, prefill,
            whole->prefill > 0 ? 100 * part->prefill / whole->prefill : 0, decode,
            whole->decode > 0 ? 100 * part->decode / whole->decode : 0);
}

static void print_profile(const nut_session *s, unsigned long long prompt, unsigned long long drawn) {
    nut_profile_part part, whole = {.name = "all"};
    for (size_t i = 0; nut_session_profile(s, i, &part); i++)
        whole.prefill += part.prefill, whole.decode += part.decode;
    fprintf(stderr, "%-26s %18s %18s\n", "microseconds per token", "prompt", "drawn");
    for (size_t i = 0; nut_session_profile(s, i, &part); i++) print_part(&part, &whole, prompt, drawn);
    print_part(&whole, &whole, prompt, drawn);
}

static void print_figures(const generate_args *a, const nut_session *s, const nut_model *m) {
    char t[256];
    size_t n;
    unsigned long long prompt, drawn;
    double prompt_s, drawn_s;
    nut_session_timings(s, t, sizeof t, &n, NULL);
    if (sscanf(
            t,
            "{\"prefill\":{\"tokens\":%llu,\"seconds\":%lf},\"decode\":{\"tokens\":%llu,\"seconds\":%lf}}",
            &prompt, &prompt_s, &drawn, &drawn_s) != 4)
        return;
    fprintf(stderr,
            "prompt %llu tokens, %.1f tokens/s; drawn %llu tokens, %.1f tokens/s; kernel %s, %u thread%s\n",
            prompt, prompt_s > 0 ? (double)prompt / prompt_s : 0, drawn,
            drawn_s > 0 ? (double)drawn / drawn_s : 0, nut_model_kernel(m), nut_session_n_threads(s),
            nut_session_n_threads(s) == 1 ? "" : "s");
    if (a->profile) print_profile(s, prompt, drawn);
}

static nut_status drain(nut_session *s, output *out, nut_step *step, nut_error *err) {
    do {
        TRY(nut_generate_step(s, step, err));
        TRY(collect(out, step, err));
        if (!out->json && step->n_text) {
            fwrite(step->text, 1, step->n_text, stdout);
            fflush(stdout);
        }
    } while (step->kind != NUT_STEP_DONE);
    return NUT_OK;
}

/* ---- run ---- */

static nut_status run_prompt(const generate_args *a, const nut_model *m, nut_session *s, const char *prompt,
                             nut_error *err) {
    int32_t *ids;
    size_t n;
    output out = {.json = a->json};
    nut_step step;
    unsigned flags = NUT_TOKENIZE_ADD_BOS | (a->raw ? NUT_TOKENIZE_SPECIAL : 0);
    TRY(cli_tokenize(m, prompt, strlen(prompt), flags, &ids, &n, err));
    nut_status status = nut_generate_begin(s, ids, n, &a->options, err);
    free(ids);
    if (status == NUT_OK) status = drain(s, &out, &step, err);
    if (status == NUT_OK && a->json) print_json(&out, &step, s, m);
    free(out.text);
    free(out.ids);
    return status;
}

static nut_status open_session(const generate_args *a, const char *path, nut_model **m, nut_session **s,
                               nut_error *err) {
    nut_session_options so = nut_session_defaults();
    so.n_ctx = a->file.n_ctx;
    so.n_threads = a->n_threads;
    so.profile = a->profile;
    TRY(file_kv_type(&a->file, &so.kv_type, err));
    TRY(file_load_model(path, &a->file, m, err));
    nut_status status = nut_session_new(*m, &so, s, err);
    if (status != NUT_OK) nut_model_free(*m);
    return status;
}

nut_status command_run(int argc, char **argv, nut_error *err) {
    generate_args a = generate_defaults();
    arg_option options[MAX_OPTIONS];
    const char *positionals[2];
    arg_set set = {"run", "MODEL PROMPT [options]", options, generate_options(&a, options), positionals, 2};
    nut_model *m;
    nut_session *s;
    TRY(args_parse(&set, argc, argv, err));
    a.options.stop = a.stop.items;
    a.options.n_stop = a.stop.n;
    a.options.special = a.raw;
    TRY(open_session(&a, positionals[0], &m, &s, err));
    nut_status status = run_prompt(&a, m, s, positionals[1], err);
    if (status == NUT_OK) print_figures(&a, s, m);
    nut_session_free(s);
    nut_model_free(m);
    return status;
}

/* ---- chat ---- */

typedef struct transcript {
    int32_t *ids;
    size_t n;
} transcript;

static nut_status append(transcript *t, const int32_t *ids, size_t n, nut_error *err) {
    int32_t *grown = realloc(t->ids, (t->n + n + 1) * sizeof *ids);
    if (!grown) return cli_error(err, NUT_E_MEMORY, "out of memory");
    t->ids = grown;
    if (n) memcpy(grown + t->n, ids, n * sizeof *ids);
    t->n += n;
    return NUT_OK;
}

static nut_status chat_turn(const generate_args *a, const nut_model *m, nut_session *s, transcript *t,
                            const char *user, nut_error *err) {
    char *text;
    int32_t *ids;
    size_t n;
    output out = {0};
    nut_step step;
    bool first = t->n == 0;
    TRY(chat_render(m, a->system, user, first, &text, err));
    nut_status status = cli_tokenize(
        m, text, strlen(text), NUT_TOKENIZE_SPECIAL | (first ? NUT_TOKENIZE_ADD_BOS : 0), &ids, &n, err);
    free(text);
    if (status != NUT_OK) return status;
    status = append(t, ids, n, err);
    free(ids);
    if (status == NUT_OK) status = nut_generate_begin(s, t->ids, t->n, &a->options, err);
    if (status == NUT_OK) status = drain(s, &out, &step, err);
    if (status == NUT_OK && step.finish == NUT_FINISH_EOS && out.n_ids)
        out.n_ids--; // the template writes the end
    if (status == NUT_OK) status = append(t, out.ids, out.n_ids, err);
    putchar('\n');
    free(out.text);
    free(out.ids);
    return status;
}

static nut_status chat_loop(const generate_args *a, const nut_model *m, nut_session *s, nut_error *err) {
    char *line = NULL;
    size_t cap = 0;
    bool more = true;
    transcript t = {0};
    nut_status status = NUT_OK;
    while (status == NUT_OK && more) {
        fputs("> ", stderr);
        status = file_read_line(stdin, &line, &cap, &more, err);
        if (status == NUT_OK && more && *line) status = chat_turn(a, m, s, &t, line, err);
    }
    free(line);
    free(t.ids);
    return status;
}

nut_status command_chat(int argc, char **argv, nut_error *err) {
    generate_args a = generate_defaults();
    arg_option options[MAX_OPTIONS];
    const char *positionals[1];
    arg_set set = {"chat",      "MODEL [options]  (one line of stdin is one message)",
                   options,     generate_options(&a, options),
                   positionals, 1};
    nut_model *m;
    nut_session *s;
    a.options.max_tokens = 1024;
    TRY(args_parse(&set, argc, argv, err));
    a.options.stop = a.stop.items;
    a.options.n_stop = a.stop.n;
    TRY(open_session(&a, positionals[0], &m, &s, err));
    nut_status status = chat_loop(&a, m, s, err);
    if (status == NUT_OK) print_figures(&a, s, m);
    nut_session_free(s);
    nut_model_free(m);
    return status;
}
