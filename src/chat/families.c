/* A family is known by its special tokens. The templates are the shortest that lay out system, user and
 * assistant turns as the families' own do (the model cards on Hugging Face, November 2026); tools need a
 * template of the model's. */
#include "chat/families.h"

#include <string.h>

#define SYSTEM_FIRST "{% set system = messages[0].content if messages and messages[0].role == 'system' %}"
#define REST         "{% for m in (messages[1:] if system is defined else messages) %}"

static const family_template families[] = {
    {"chatml",
     {"<|im_start|>", "<|im_end|>"},
     "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
    {"llama3",
     {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + "
     "m.content | trim + "
     "'<|eot_id|>' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"},
    {"gemma",
     {"<start_of_turn>", "<end_of_turn>"},
     "{{ bos_token }}" SYSTEM_FIRST REST
     "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
     "{% if loop.first and system is defined %}{{ system + '\n\n' }}{% endif %}"
     "{{ m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"},
    {"granite",
     {"<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"},
     "{% for m in messages %}{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + "
     "'<|end_of_text|>\n' }}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif "
     "%}"},
    {"command-r",
     {"<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     "{{ bos_token }}{% set names = {'user': '<|USER_TOKEN|>', 'assistant': '<|CHATBOT_TOKEN|>'} %}{% for m "
     "in messages %}"
     "{{ '<|START_OF_TURN_TOKEN|>' + names.get(m.role, '<|SYSTEM_TOKEN|>') + m.content | trim + "
     "'<|END_OF_TURN_TOKEN|>' }}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif "
     "%}"},
    {"deepseek",
     {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"},
     "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
     "{% elif m.role == 'assistant' %}{{ '<｜Assistant｜>' + m.content + '<｜end▁of▁sentence｜>' }}"
     "{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜>' "
     "}}{% endif %}"},
    {"phi3",
     {"<|user|>", "<|assistant|>", "<|end|>"},
     "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"},
    {"mistral",
     {"[INST]", "[/INST]"},
     "{{ bos_token }}" SYSTEM_FIRST REST "{% if m.role == 'user' %}{{ '[INST] ' + (system + '\n\n' if "
     "loop.first and system is defined else '') + m.content + "
     "'[/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"},
};

/* Whether a text is one of the vocabulary's special tokens: tokenized alone it is that one token. */
static bool has_mark(const vocab *v, const char *text) {
    int32_t id;
    size_t n = 0;
    if (vocab_tokenize(v, text, strlen(text), NUT_TOKENIZE_SPECIAL, &id, 1, &n, NULL) != NUT_OK || n != 1)
        return false;
    const gguf_str token = vocab_text(v, id);
    return token.n == strlen(text) && !memcmp(token.s, text, (size_t)token.n);
}

const family_template *family_find(const vocab *v) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        bool all = true;
        for (int k = 0; all && k < 3 && families[i].marks[k]; k++) all = has_mark(v, families[i].marks[k]);
        if (all) return &families[i];
    }
    return NULL;
}
