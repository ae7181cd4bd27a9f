/* How many tokens a second a model reads and writes, of ids that are made up:
 *
 *     bench_tokens MODEL PROMPT DRAWN [THREADS]     JSON: {"prefill": tokens/s, "decode": tokens/s}
 */
#include "base/clock.h"
#include "../unit/model_file.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST = 4096 };

static void fail(const char *words) {
    fprintf(stderr, "%s\n", words);
    exit(1);
}

/* Seconds for n ids, n_at_once in a step. */
static double eval(nut_session *s, const int32_t *ids, size_t n, size_t n_at_once) {
    const double since = clock_seconds();
    nut_error err = {NUT_OK, ""};
    for (size_t i = 0; i < n; i += n_at_once)
        if (nut_session_eval(s, ids + i, n_at_once, 1, &err) != NUT_OK) fail(err.message);
    return clock_seconds() - since;
}

int main(int argc, char **argv) {
    int32_t ids[MOST];
    nut_error err = {NUT_OK, ""};
    nut_session *s = NULL;
    nut_load_options o = nut_load_defaults();
    const size_t n = argc == 4 || argc == 5 ? strtoul(argv[2], NULL, 10) : 0,
                 drawn = n ? strtoul(argv[3], NULL, 10) : 0;
    if (!n || !drawn || n > MOST / 2 || drawn > MOST / 2) return 2;
    for (int32_t i = 0; i < MOST; i++) ids[i] = 3 + i * 37 % 500;
    nut_model *m = model_file_load(argv[1], &o, &err);
    if (!m) fail(err.code ? err.message : "there is no such file");
    const nut_session_options so = {.n_ctx = (uint32_t)(n + drawn + 1),
                                    .n_threads = argc == 5 ? (uint32_t)strtoul(argv[4], NULL, 10) : 1,
                                    .n_batch = (uint32_t)n,
                                    .n_logits = 1};
    if (nut_session_new(m, &so, &s, &err) != NUT_OK) fail(err.message);
    eval(s, ids, 16, 16);
    nut_session_truncate(s, 0, NULL);
    const double read = eval(s, ids, n, n), written = eval(s, ids, drawn, 1);
    printf("{\"prefill\": %.2f, \"decode\": %.2f}\n", (double)n / read, (double)drawn / written);
    nut_session_free(s), nut_model_free(m);
    return 0;
}
