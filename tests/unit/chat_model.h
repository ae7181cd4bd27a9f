/* Models without weights for tests of chat: a vocabulary of all bytes and the marks of all families. */
#ifndef NUT_TESTS_CHAT_MODEL_H
#define NUT_TESTS_CHAT_MODEL_H

#include "make_gguf.h"

/* Marks of the families' templates; those behind the empty text are user-defined tokens in the files. */
static const char *const chat_marks[] = {
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|turn>",
    "<turn|>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[gMASK]",
    "<sop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|end|>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜end▁of▁sentence｜>",
    "<｜tool▁calls▁begin｜>",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "<|im_user|>",
    "<|im_assistant|>",
    "<|im_system|>",
    "<|im_middle|>",
    "<|system_start|>",
    "<|system_end|>",
    "<|user_start|>",
    "<|user_end|>",
    "<|assistant_start|>",
    "<|assistant_end|>",
    "<|message_sep|>",
    "<|role_sep|>",
    "]~b]",
    "[e~[",
    "<sep>",
    "<SPECIAL_10>",
    "<SPECIAL_11>",
    "<seed:bos>",
    "<seed:eos>",
    "<|begin_user|>",
    "<|begin_assistant|>",
    "<|return|>",
    "<|call|>",
    "",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<tool_call>",
    "</tool_call>",
    "\n\n",
};
/* Ids: the bytes, a merge, the marks. */
enum {
    CHAT_N_MARKS = sizeof chat_marks / sizeof *chat_marks,
    CHAT_FIRST_MARK = 257,
    CHAT_N_VOCAB = CHAT_FIRST_MARK + CHAT_N_MARKS
};

typedef struct chat_model_options {
    const char *source;   // of the template; NULL: none
    const char *tool_use; // of the one for prompts with tools; NULL: none
    bool add_bos;
    int n_marks; // the first of chat_marks that it has; 0: all
} chat_model_options;

/* A model of a header alone; frees g. NULL: failed. */
static inline nut_model *chat_model_load(make_gguf *g) {
    nut_loader *loader;
    nut_model *model = NULL;
    nut_error err;
    size_t n;
    uint8_t *file = make_file(g, &n);
    nut_load_options lo = nut_load_defaults();
    lo.header_only = true;
    nut_status status = nut_load_begin(&lo, n, &loader, &err);
    if (status == NUT_OK) status = nut_load_feed(loader, 0, file, n, &err);
    if (status == NUT_OK) status = nut_load_finish(loader, &model, &err);
    if (status != NUT_OK) printf("the model cannot be loaded: %s\n", err.message), nut_load_abort(loader);
    free(file);
    make_free(g);
    return model;
}

/* Free with nut_model_free; NULL: failed. */
static inline nut_model *chat_model_new(const chat_model_options *o) {
    make_gguf g = {.version = 3, .alignment = 32};
    const int n_marks = o->n_marks ? o->n_marks : CHAT_N_MARKS;
    bool defined = false;
    make_str(&g, "general.architecture", "llama");
    make_str(&g, "tokenizer.ggml.model", "gpt2");
    make_str(&g, "tokenizer.ggml.pre", "gpt-2");
    make_array(&g, "tokenizer.ggml.tokens", MAKE_STRING, (uint64_t)(CHAT_FIRST_MARK + n_marks));
    make_byte_characters(&g);
    make_text(&g.kv, "th");
    for (int i = 0; i < n_marks; i++) make_text(&g.kv, chat_marks[i]);
    make_array(&g, "tokenizer.ggml.token_type", MAKE_I32, (uint64_t)(CHAT_FIRST_MARK + n_marks));
    for (int i = 0; i < CHAT_FIRST_MARK; i++) make_le(&g.kv, 1, 4);
    for (int i = 0; i < n_marks; i++) {
        defined = defined || !chat_marks[i][0];
        make_le(&g.kv, defined ? 4 : 3, 4);
    }
    make_array(&g, "tokenizer.ggml.merges", MAKE_STRING, 1);
    make_text(&g.kv, "t h");
    make_u32(&g, "tokenizer.ggml.bos_token_id", CHAT_FIRST_MARK);
    make_u32(&g, "tokenizer.ggml.eos_token_id", CHAT_FIRST_MARK + 1);
    make_bool(&g, "tokenizer.ggml.add_bos_token", o->add_bos);
    if (o->source) make_str(&g, "tokenizer.chat_template", o->source);
    if (o->tool_use) make_str(&g, "tokenizer.chat_template.tool_use", o->tool_use);
    return chat_model_load(&g);
}

#endif
