/* nutshell hello, a made-up command: greets a model by its name. */
#include "cli/cli.h"

nut_status command_hello(int argc, char **argv, nut_error *err) {
    file_options file = {0};
    const char *p[1];
    const arg_set set = {"hello", "MODEL", NULL, 0, p, 1};
    nut_model *m;
    size_t n = 0;
    TRY(args_parse(&set, argc, argv, err));
    TRY(file_load_model(p[0], &file, &m, err));
    const char *name = nut_model_meta(m, "general.architecture", &n);
    printf("hello, %.*s of %u tokens\n", (int)n, name ? name : "", nut_model_n_vocab(m));
    nut_model_free(m);
    return NUT_OK;
}
