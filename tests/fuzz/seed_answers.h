/* Seeds of fuzz_answer: the answers of the unit tests. */
#ifndef NUT_TESTS_SEED_ANSWERS_H
#define NUT_TESTS_SEED_ANSWERS_H

#include "../unit/answers.h"
#include "../unit/make_gguf.h"
#include "chat/answer.h"

/* Each answer of the tests, cut in several ways. */
static inline void seed_answers(void (*write)(const char *harness, const char *name, make_bytes b)) {
    char name[32];
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const expected_answer *e = &answers[i];
        make_bytes b = {0};
        uint8_t format = 0,
                with = (uint8_t)((e->template ? 1 : 0) | (e->prompt ? 2 : 0) | (e->tools ? 4 : 0));
        for (; e->format && strcmp(answer_formats[format].name, e->format); format++) {
        }
        if (e->tools) make_put(&b, e->tools, strlen(e->tools) + 1);
        make_put(&b, e->text, strlen(e->text));
        make_put(&b, (uint8_t[]){(uint8_t)i, with, e->format ? format : 255}, 3);
        snprintf(name, sizeof name, "answer-%zu", i);
        write("answer", name, b);
    }
}

#endif
