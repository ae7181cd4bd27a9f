/*
 * Speed of the tokenizers: reading a vocabulary, a long text to ids, ids to text. Prints a table; --csv FILE
 * appends rows. Best of five. The text is WikiText-2's test; without arguments the vocabularies are those of
 * the data folder.
 *
 *     bench_tokenizer [--csv FILE] [VOCABULARY.gguf ...]
 */
#include "../unit/data.h"
#include "base/clock.h"
#include "model/vocab.h"

#include <string.h>
#include <time.h>

enum { TRIALS = 5 };

typedef struct book {
    char *text;
    size_t n;
    int32_t *ids; // (n)
    char *back;   // (n)
} book;

static const char *csv_path;

static void csv(const char *what, const char *vocabulary, double value, const char *unit) {
    FILE *f = csv_path ? fopen(csv_path, "a") : NULL;
    if (!f) return;
    fprintf(f, "%lld,%s,%s,%.3f,%s\n", (long long)time(NULL), what, vocabulary, value, unit);
    fclose(f);
}

static bool read_header(gguf *g, const char *path) {
    static uint8_t chunk[1 << 16];
    FILE *f = fopen(path, "rb");
    nut_error err;
    bool complete = false;
    nut_status status = f ? gguf_begin(g, 0, &err) : NUT_E_IO;
    for (size_t n, used; status == NUT_OK && !complete && (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
        status = gguf_feed(g, chunk, n, &used, &complete, &err);
    if (f) fclose(f);
    return status == NUT_OK && complete;
}

static void keep_best(double *best, double begin) {
    double seconds = clock_seconds() - begin;
    if (seconds < *best) *best = seconds;
}

static void bench(const char *path, const book *b) {
    gguf g = {0};
    nut_error err = {.message = "no header"};
    double make = 1e30, cut = 1e30, join = 1e30, begin;
    size_t n_ids = 0, n_back = 0;
    bool sound = read_header(&g, path);
    for (int i = 0; i < TRIALS && sound; i++) {
        vocab *v;
        begin = clock_seconds();
        sound = vocab_new(&g, NULL, &v, &err) == NUT_OK;
        if (!sound) break;
        keep_best(&make, begin);
        begin = clock_seconds();
        vocab_tokenize(v, b->text, b->n, 0, b->ids, b->n, &n_ids, &err);
        keep_best(&cut, begin);
        begin = clock_seconds();
        vocab_detokenize(v, b->ids, n_ids, true, b->back, b->n, &n_back, &err);
        keep_best(&join, begin);
        vocab_free(v);
    }
    gguf_free(&g);
    if (!sound) {
        printf("%-44.44s %s\n", path, err.message);
        return;
    }
    double tokens = (double)n_ids * 1e-6, bytes = (double)b->n * 1e-6;
    printf("%-44.44s %8.1f %9zu %10.2f %8.1f %10.1f\n", path, make * 1e3, n_ids, tokens / cut, bytes / cut,
           tokens / join);
    csv("vocabulary", path, make * 1e3, "ms");
    csv("tokenize", path, tokens / cut, "Mtok/s");
    csv("detokenize", path, tokens / join, "Mtok/s");
}

int main(int argc, char **argv) {
    static const char *const standard[] = {"vocab/gpt-2.gguf", "vocab/llama-bpe.gguf", "vocab/qwen2.gguf",
                                           "vocab/llama-spm.gguf", "models/stories260K-f32.gguf"};
    book b = {0};
    int first = 1;
    if (argc > 2 && !strcmp(argv[1], "--csv")) csv_path = argv[2], first = 3;
    b.text = data_read("text/wiki.test.raw", &b.n);
    if (!b.text) return printf("%s is missing\n", data_path("text/wiki.test.raw")), 1;
    b.ids = malloc(b.n * sizeof *b.ids);
    b.back = malloc(b.n);
    if (!b.ids || !b.back) return puts("out of memory"), 1;
    printf("%-44s %8s %9s %10s %8s %10s\n", "vocabulary", "read ms", "tokens", "Mtok/s", "MB/s",
           "back Mtok/s");
    for (int i = first; i < argc; i++) bench(argv[i], &b);
    for (size_t i = 0; i < sizeof standard / sizeof *standard && first == argc; i++)
        bench(data_path(standard[i]), &b);
    free(b.text), free(b.ids), free(b.back);
    return 0;
}
