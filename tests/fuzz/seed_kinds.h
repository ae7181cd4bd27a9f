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

/* Special tokens between blanks, and one that merges of SentencePiece make of a text: "ab". kind: as the
 * fuzzer counts them, 0 for SentencePiece. */
static void write_special(const char *name, uint8_t kind, const char *text) {
    static const char *const list[] = {"a", "b", "\xe2\x96\x81", "ab", "<mask>"};
    enum { N = sizeof list / sizeof *list, CONTROL = 3, MARKED = 0x80 };
    make_bytes b = {0};
    make_put(&b, (uint8_t[]){(uint8_t)(kind << 4 | MARKED), 0, N}, 3);
    for (size_t i = 0; i < N; i++)
        put_token(&b, (gguf_str){list[i], strlen(list[i])}, i < 3 ? 1 : CONTROL, (uint8_t)(10 * i));
    make_put(&b, text, strlen(text));
    make_put(&b, (uint8_t[]){0, NUT_TOKENIZE_SPECIAL}, 2);
    write_seed("tokenizer", name, b);
    free(b.p);
}

static void write_specials(void) {
    static const char text[] = "ab  a \xe2\x80\x83<mask> \xc2\xa0 b a<mask>";
    write_special("special-phi", 0, text);
    write_special("special-mask", 1, text);
    write_special("special-alone", 0, "ab");
}

#endif
