/*
 * Chat formats for the shell: a table of the common ones, each recognized by a text that only its template
 * contains. Pages run the model's own template in a Jinja interpreter; the shell has none, and refuses a
 * model whose template fits no row.
 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct chat_format {
    const char *mark;      // found in the model's template
    const char *system[2]; // around the system text
    const char *user[2];   // around a user's text; the answer follows
    const char *turn_end;  // after the model's answer, before the next message
} chat_format;

static const chat_format formats[] = {
    {"<|im_start|>",
     {"<|im_start|>system\n", "<|im_end|>\n"},
     {"<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"},
     "<|im_end|>\n"},
    {"<|start_header_id|>",
     {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
     {"<|start_header_id|>user<|end_header_id|>\n\n",
      "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
     "<|eot_id|>"},
    {"<|end|>", {"<|system|>\n", "<|end|>\n"}, {"<|user|>\n", "<|end|>\n<|assistant|>\n"}, "<|end|>\n"},
    {"<start_of_turn>",
     {"<start_of_turn>user\n", "\n\n<end_of_turn>\n"},
     {"<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"},
     "<end_of_turn>\n"},
    {"[INST]", {"[INST] <<SYS>>\n", "\n<</SYS>>\n\n[/INST]"}, {"[INST] ", " [/INST]"}, "</s>"},
};

static const chat_format *find_format(const nut_model *model) {
    size_t n;
    const char *text = nut_model_meta(model, "tokenizer.chat_template", &n);
    for (size_t i = 0; text && i < sizeof formats / sizeof *formats; i++) {
        size_t length = strlen(formats[i].mark);
        for (size_t at = 0; at + length <= n; at++)
            if (!memcmp(text + at, formats[i].mark, length)) return &formats[i];
    }
    return NULL;
}

nut_status chat_render(const nut_model *model, const char *system, const char *user, bool first, char **out,
                       nut_error *err) {
    const chat_format *f = find_format(model);
    if (!f)
        return cli_error(err, NUT_E_UNSUPPORTED,
                         "the model has no chat template that the shell knows; use \"nutshell run\" with "
                         "the whole prompt");
    bool with_system = first && system;
    const char *parts[] = {first ? "" : f->turn_end,
                           with_system ? f->system[0] : "",
                           with_system ? system : "",
                           with_system ? f->system[1] : "",
                           f->user[0],
                           user,
                           f->user[1]};
    size_t n = 1;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) n += strlen(parts[i]);
    char *text = malloc(n);
    if (!text) return cli_error(err, NUT_E_MEMORY, "out of memory");
    *text = 0;
    for (size_t i = 0, at = 0; i < sizeof parts / sizeof *parts; at += strlen(parts[i++]))
        strcpy(text + at, parts[i]);
    *out = text;
    return NUT_OK;
}
