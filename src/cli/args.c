/* Parses the options of a command by its table. A number must be valid up to its last character. */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* NULL where there is none; whatever begins with "--" ought to be one. */
static const arg_option *find_option(const arg_set *set, const char *name) {
    for (size_t i = 0; i < set->n_options; i++)
        if (!strcmp(set->options[i].name, name)) return &set->options[i];
    return NULL;
}

static nut_status parse_integer(const arg_option *o, const char *text, uint64_t most, uint64_t *out,
                                nut_error *err) {
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || v > most)
        return cli_error(err, NUT_E_ARGUMENT, "%s takes a whole number from 0 to %llu, not \"%s\"", o->name,
                         (unsigned long long)most, text);
    *out = v;
    return NUT_OK;
}

static nut_status parse_float(const arg_option *o, const char *text, float *out, nut_error *err) {
    char *end;
    float v = strtof(text, &end);
    if (!*text || *end || !(v - v == 0))
        return cli_error(err, NUT_E_ARGUMENT, "%s takes a number, not \"%s\"", o->name, text);
    *out = v;
    return NUT_OK;
}

static nut_status add_text(const arg_option *o, const char *text, nut_error *err) {
    arg_texts *t = o->to;
    if (t->n == sizeof t->items / sizeof *t->items)
        return cli_error(err, NUT_E_ARGUMENT, "%s can be given at most %zu times", o->name, t->n);
    t->items[t->n++] = text;
    return NUT_OK;
}

static nut_status set_option(const arg_option *o, const char *text, nut_error *err) {
    uint64_t v;
    switch (o->kind) {
    case ARG_FLAG: *(bool *)o->to = true; return NUT_OK;
    case ARG_U32:
        TRY(parse_integer(o, text, UINT32_MAX, &v, err));
        *(uint32_t *)o->to = (uint32_t)v;
        return NUT_OK;
    case ARG_U64: return parse_integer(o, text, UINT64_MAX, o->to, err);
    case ARG_F32: return parse_float(o, text, o->to, err);
    case ARG_TEXT: *(const char **)o->to = text; return NUT_OK;
    case ARG_TEXTS: return add_text(o, text, err);
    }
    return NUT_OK;
}

static nut_status parse(const arg_set *set, int argc, char **argv, size_t least, size_t *given,
                        nut_error *err) {
    size_t n = 0;
    bool only_positional = false;
    for (int i = 1; i < argc; i++) {
        const arg_option *o = find_option(set, argv[i]);
        if (!only_positional && !strcmp(argv[i], "--")) {
            only_positional = true;
        } else if (!only_positional && (o || !strncmp(argv[i], "--", 2))) {
            if (!strcmp(argv[i], "--help")) return args_help(set, stdout), exit(0), NUT_OK;
            if (!o) return cli_error(err, NUT_E_ARGUMENT, "no option %s; --help lists them", argv[i]);
            if (o->kind != ARG_FLAG && i + 1 == argc)
                return cli_error(err, NUT_E_ARGUMENT, "%s needs a value", o->name);
            TRY(set_option(o, o->kind == ARG_FLAG ? "" : argv[++i], err));
        } else if (n == set->n_positionals) {
            return cli_error(err, NUT_E_ARGUMENT, "too many arguments at \"%s\"; usage: nutshell %s %s",
                             argv[i], set->command, set->positional);
        } else {
            set->positionals[n++] = argv[i];
        }
    }
    *given = n;
    if (n < least)
        return cli_error(err, NUT_E_ARGUMENT, "arguments are missing; usage: nutshell %s %s", set->command,
                         set->positional);
    return NUT_OK;
}

nut_status args_parse(const arg_set *set, int argc, char **argv, nut_error *err) {
    size_t n;
    return parse(set, argc, argv, set->n_positionals, &n, err);
}

nut_status args_parse_some(const arg_set *set, int argc, char **argv, size_t *n, nut_error *err) {
    return parse(set, argc, argv, 1, n, err);
}

nut_status args_size(const char *text, uint64_t *out, nut_error *err) {
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"", 1},     {"B", 1},         {"kB", 1e3},     {"MB", 1e6},
                 {"GB", 1e9}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
    char *end;
    const double n = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(end, units[i].name) && end > text && n > 0 && n * units[i].bytes < 1e15) {
            *out = (uint64_t)(n * units[i].bytes);
            return NUT_OK;
        }
    return cli_error(err, NUT_E_ARGUMENT, "\"%.30s\" is no size; write it as 60MB, 57MiB or 1.2GB", text);
}

void args_help(const arg_set *set, FILE *to) {
    static const char *const takes[] = {"", " N", " N", " X", " TEXT", " TEXT"};
    fprintf(to, "usage: nutshell %s %s\n\n", set->command, set->positional);
    for (size_t i = 0; i < set->n_options; i++) {
        const arg_option *o = &set->options[i];
        fprintf(to, "  %s%-*s%s\n", o->name, (int)(26 - strlen(o->name)), takes[o->kind], o->help);
    }
}
