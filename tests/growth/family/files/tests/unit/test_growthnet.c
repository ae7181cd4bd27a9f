/*
 * A model of the family growthnet against the logits of a float64 program:
 *
 *     test_growthnet MODEL.gguf LOGITS.f64 N_IDS STD
 *
 * LOGITS.f64 holds N_IDS ids as doubles, then the logits (n_ids, n_vocab) as doubles.
 */
#include "check.h"
#include "data.h"
#include "model_file.h"

#include <math.h>
#include <string.h>

enum { MAX_IDS = 64 };

static int32_t ids[MAX_IDS];
static const double *expected; // (n_ids, n_vocab)
static size_t n_ids, n_vocab;
static double deviation;

/* The largest |difference| / deviation where the ids are read n_at_once at a time. */
static double worst_difference(nut_session *s, size_t n_at_once) {
    double worst = 0;
    nut_session_truncate(s, 0, NULL);
    for (size_t i = 0; i < n_ids;) {
        const size_t n = n_ids - i < n_at_once ? n_ids - i : n_at_once;
        if (!CHECK(nut_session_eval(s, ids + i, n, n, NULL) == NUT_OK, "eval")) return (double)INFINITY;
        for (size_t k = 0; k < n; k++, i++)
            for (size_t j = 0; j < n_vocab; j++) {
                const double d =
                    fabs((double)nut_session_logits(s, k)[j] - expected[i * n_vocab + j]) / deviation;
                if (!(d <= worst)) worst = d >= 0 ? d : (double)INFINITY;
            }
    }
    return worst;
}

static void check_path(const char *file, const nut_load_options *lo, double tolerance) {
    static const size_t ways[] = {MAX_IDS, 1, 7, 5};
    const nut_session_options o = {.n_ctx = 128, .n_threads = 2, .n_batch = 64, .n_logits = MAX_IDS};
    nut_error err = {NUT_OK, ""};
    nut_session *s = NULL;
    nut_model *m = model_file_load(file, lo, &err);
    if (!CHECK(m, "%s: %s", file, err.code ? err.message : "no such file")) return;
    CHECK(nut_model_n_vocab(m) == n_vocab, "%u tokens, expected %zu", nut_model_n_vocab(m), n_vocab);
    if (CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s", err.message))
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            const double worst = worst_difference(s, ways[i]);
            CHECK(worst < tolerance, "%zu ids at once: %g of the deviation, at most %g", ways[i], worst,
                  tolerance);
            printf("%s, %zu at once: %.2e\n", lo->reference ? "reference" : "fast", ways[i], worst);
        }
    nut_session_free(s);
    nut_model_free(m);
}

int main(int argc, char **argv) {
    size_t n_bytes = 0;
    char *bytes = argc == 5 ? data_read_path(argv[2], &n_bytes) : NULL;
    if (!CHECK(bytes, "usage: test_growthnet MODEL.gguf LOGITS.f64 N_IDS STD")) return check_report();
    const double *values = (const double *)(const void *)bytes;
    n_ids = strtoul(argv[3], NULL, 10), deviation = strtod(argv[4], NULL);
    if (!CHECK(n_ids > 0 && n_ids <= MAX_IDS && deviation > 0, "%zu ids", n_ids)) return check_report();
    for (size_t i = 0; i < n_ids; i++) ids[i] = (int32_t)values[i];
    expected = values + n_ids;
    n_vocab = (n_bytes / sizeof(double) - n_ids) / n_ids;
    nut_load_options reference = nut_load_defaults(), fast = nut_load_defaults();
    reference.kernel = "ref", reference.reference = true;
    check_path(argv[1], &reference, 1e-4); // the tanh form of GELU would be 8e-4 off
    check_path(argv[1], &fast, 2e-2);      // its keys and values are half floats
    free(bytes);
    return check_report();
}
