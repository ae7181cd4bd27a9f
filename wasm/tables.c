/*
 * Prints web/shared/tables.js: what JavaScript has to know of the engine. A program of the build, which is
 * no part of what is built.
 */
#include "boundary.h"
#include "nutshell.h"

#include <stdio.h>

/* Whole numbers up to here are exact in JavaScript. */
static const double MOST_WHOLE = 9007199254740991.0; // 2^53 - 1

typedef enum number_kind { FLAG, WHOLE, REAL } number_kind;

static void print_option(const char *js, number_kind kind, double standard, double least, double most) {
    if (most > MOST_WHOLE) most = MOST_WHOLE;
    if (kind == FLAG)
        printf("  { name: '%s', kind: 'flag', fallback: %s },\n", js, standard != 0 ? "true" : "false");
    else // 16 digits are as many as the largest has
        printf("  { name: '%s', kind: '%s', least: %.16g, most: %.16g, fallback: %.16g },\n", js,
               kind == WHOLE ? "whole" : "real", least, most, standard);
}

static void print_options(void) {
    puts("/** Options of a generation that are numbers or flags, in the order in which they go to the "
         "engine. */\n"
         "export const GENERATE_OPTIONS = /** @type {const} */ ([");
#define NUT_X(type, field, standard, least, most, js, help)                                                 \
    print_option(js, _Generic((type)0, bool: FLAG, float: REAL, default: WHOLE), (double)(standard),        \
                 (double)(least), (double)(most));
    NUT_GENERATE_OPTION_LIST(NUT_X)
#undef NUT_X
    puts("]);");
}

static void print_names(const char *comment, const char *name, const char *const *names, size_t n) {
    enum { PER_LINE = 6 };
    printf("\n/** %s */\nexport const %s = /** @type {const} */ ([", comment, name);
    for (size_t i = 0; i < n; i++)
        printf("%s%s'%s'", i ? "," : "",
               n > PER_LINE && i % PER_LINE == 0 ? "\n  "
               : i                               ? " "
                                                 : "",
               names[i]);
    puts(n > PER_LINE ? ",\n]);" : "]);");
}

#define NAMES(list) list, sizeof list / sizeof *list

static void print_option_names(void) {
#define NUT_X(type, field, standard, least, most, js, help) js,
    static const char *const names[] = {NUT_GENERATE_OPTION_LIST(NUT_X)};
#undef NUT_X
    print_names("Their names alone, in the same order: all that the worker needs of them.", "OPTION_NAMES",
                NAMES(names));
}

static void print_enums(void) {
#define NUT_X(id, text) text,
    static const char *const statuses[] = {NUT_STATUS_LIST(NUT_X)}, *const kv_types[] = {NUT_KV_LIST(NUT_X)},
                             *const kinds[] = {NUT_STEP_LIST(NUT_X)},
                             *const parts[] = {NUT_ANSWER_LIST(NUT_X)},
                             *const finishes[] = {NUT_FINISH_LIST(NUT_X)};
#undef NUT_X
    print_names("Names of nut_status, by number: codes of errors.", "STATUSES", NAMES(statuses));
    print_names("Names of nut_kv_type, by number; the first is the default.", "KV_TYPES", NAMES(kv_types));
    print_names("Names of nut_step_kind, by number.", "STEP_KINDS", NAMES(kinds));
    print_names("Names of nut_answer_kind, by number.", "ANSWER_KINDS", NAMES(parts));
    print_names("Names of nut_finish, by number.", "FINISHES", NAMES(finishes));
}

static void print_structs(void) {
#define NUT_X(name) #name,
    static const char *const
        result[] = {NUTW_RESULT_LIST(NUT_X)},
        *const step[] = {NUTW_STEP_LIST(NUT_X)}, *const session[] = {NUTW_SESSION_LIST(NUT_X)},
        *const event[] = {NUTW_JOB_EVENT_LIST(NUT_X)}, *const evaluation[] = {NUTW_EVALUATION_LIST(NUT_X)},
        *const model[] = {NUTW_CHAT_MODEL_LIST(NUT_X)}, *const prompt[] = {NUTW_PROMPT_LIST(NUT_X)},
        *const storage[] = {NUTW_STORAGE_LIST(NUT_X)};
#undef NUT_X
    print_names("Fields of a result.", "RESULT", NAMES(result));
    print_names("Fields of a step of a generation.", "STEP", NAMES(step));
    print_names("Fields of a session.", "SESSION", NAMES(session));
    print_names("Fields of an event of a job.", "JOB_EVENT", NAMES(event));
    print_names("Fields of an evaluation.", "EVALUATION", NAMES(evaluation));
    print_names("Fields of what chat needs of a model.", "CHAT_MODEL", NAMES(model));
    print_names("Fields of a prompt.", "PROMPT", NAMES(prompt));
    print_names("Fields of what a model from storage has read.", "STORAGE", NAMES(storage));
}

int main(void) {
    puts("// Made by wasm/tables.c from src/nutshell.h and wasm/boundary.h: `make web/shared/tables.js` "
         "writes it anew.\n");
    print_options();
    print_option_names();
    puts("\n/** Stop texts of a generation, and bytes of each, at most. */");
    printf("export const MAX_STOPS = %d, MAX_STOP_BYTES = %d;\n", NUT_MAX_STOPS, NUT_MAX_STOP_BYTES);
    puts("\n/** Flags for texts that become tokens. */");
    printf("export const ADD_BOS = %d, PARSE_SPECIAL = %d, WHOLE_TEXT = %d;\n", NUT_TOKENIZE_ADD_BOS,
           NUT_TOKENIZE_SPECIAL, NUT_TOKENIZE_ADD_BOS | NUT_TOKENIZE_ADD_EOS);
    print_enums();
    print_structs();
    return 0;
}
