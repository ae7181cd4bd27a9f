/* Seeds of kinds of vocabularies, a part of make_seeds.c, which includes this behind put_token. */
#ifndef NUT_TESTS_SEED_KINDS_H
#define NUT_TESTS_SEED_KINDS_H

/* Vocabularies of the kinds that have no plain rules in the fuzzer: pieces with marks, capitals, escapes. */
static void write_kind(uint8_t kind, uint8_t how, const char *text, size_t n_text) {
    static const char *const list[] = {"a",
                                       "b",
                                       "c",
                                       "\xe2\x96\x81",
                                       "\xe2\x96\x81\x61",
                                       "\xe2\x96\x81it",
                                       "\n\n",
                                       "\\n\\xff\\t\\r\\'",
                                       "\\x",
                                       "A",
                                       "\xe1\x84\x92",
                                       "s",
                                       "[UNK]",
                                       "\xe2\x96\x81\xe1\x84\x92\xe1\x85\xa1"};
    enum { N = sizeof list / sizeof *list };
    char name[24];
    make_bytes b = {0};
    make_put(&b,
             (uint8_t[]){(uint8_t)(kind << 4 | (how & 1 ? 2 : 0) | (how & 4) | 8), how, how & 2 ? N : N - 5},
             3);
    for (size_t i = 0; i < (how & 2 ? N : N - 5); i++)
        put_token(&b, (gguf_str){list[i], strlen(list[i])}, 1, i == 5 ? 255 : (uint8_t)(10 * i));
    make_put(&b, "abab  ab a\xe2\x96\x81", 13);
    for (int i = 0; i < 110 && how == 2; i++) make_put(&b, "a", 1);
    make_put(&b, text, n_text);
    make_put(&b, (uint8_t[]){0, (uint8_t)(how % 4)}, 2);
    snprintf(name, sizeof name, "kind-%u-%u", kind, how);
    write_seed("tokenizer", name, b);
    free(b.p);
}

#endif
