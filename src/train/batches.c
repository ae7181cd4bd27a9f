/* Windows of a text in a shuffled order. */
#include "train/batches.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "evaluate/windows.h"

#include <string.h>

static nut_status cut(batches *b, double held_out, nut_error *err) {
    const size_t all = b->n_ids ? (b->n_ids - 1) / b->window : 0;
    b->n_held = (size_t)((double)all * held_out);
    if (held_out > 0 && !b->n_held && all > 1) b->n_held = 1;
    b->n = all - b->n_held;
    if (!b->n)
        return error_set(err, NUT_E_ARGUMENT,
                         "the text has %zu tokens, too few for windows of %zu; give a longer text or a "
                         "smaller \"window\"",
                         b->n_ids, b->window);
    b->order = b->n < UINT32_MAX ? mem_calloc(b->n, sizeof *b->order) : NULL;
    return b->order ? NUT_OK : error_memory(err, b->n * sizeof *b->order);
}

nut_status batches_of_text(batches *b, const vocab *v, const char *text, size_t n_text, size_t window,
                           double held_out, uint64_t seed, nut_error *err) {
    windows w;
    *b = (batches){.window = window, .seed = seed, .bos = vocab_add_bos(v) ? vocab_bos(v) : -1};
    nut_status status = windows_of_text(&w, v, text, n_text, false, (uint32_t)window, err);
    b->ids = w.ids;
    b->n_ids = w.n_ids;
    if (status == NUT_OK) status = cut(b, held_out, err);
    if (status != NUT_OK) batches_free(b);
    return status;
}

static nut_status copy_ids(batches *b, const vocab *v, const int32_t *ids, const uint8_t *learned, size_t n,
                           nut_error *err) {
    size_t n_learned = 0;
    b->ids = mem_calloc(n ? n : 1, sizeof *b->ids);
    b->learned = mem_calloc(n ? n : 1, 1);
    b->n_ids = n;
    if (!b->ids || !b->learned) return error_memory(err, n * sizeof *b->ids);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= vocab_size(v))
            return error_set(err, NUT_E_ARGUMENT, "token %zu, %d, is none of the vocabulary", i,
                             (int)ids[i]);
        b->ids[i] = ids[i];
        b->learned[i] = !learned || learned[i];
        n_learned += b->learned[i];
    }
    return n_learned ? NUT_OK : error_set(err, NUT_E_ARGUMENT, "no token is to be learned");
}

nut_status batches_of_ids(batches *b, const vocab *v, const int32_t *ids, const uint8_t *learned,
                          size_t n_ids, size_t window, double held_out, uint64_t seed, nut_error *err) {
    *b = (batches){.window = window, .seed = seed, .bos = vocab_add_bos(v) ? vocab_bos(v) : -1};
    nut_status status = copy_ids(b, v, ids, learned, n_ids, err);
    if (status == NUT_OK) status = cut(b, held_out, err);
    if (status != NUT_OK) batches_free(b);
    return status;
}

void batches_free(batches *b) {
    mem_free(b->learned);
    mem_free(b->ids);
    mem_free(b->order);
    *b = (batches){0};
}

static void shuffle(batches *b, uint64_t number) {
    rng r;
    rng_seed(&r, b->seed + number);
    for (size_t i = 0; i < b->n; i++) b->order[i] = (uint32_t)i;
    for (size_t i = b->n - 1; i > 0; i--) {
        const size_t k = (size_t)(rng_u64(&r) % (i + 1));
        const uint32_t other = b->order[k];
        b->order[k] = b->order[i];
        b->order[i] = other;
    }
    b->shuffled = number + 1;
}

static void take(const batches *b, size_t window, int32_t *ids, int32_t *labels) {
    memcpy(ids, b->ids + window * b->window, b->window * sizeof *ids);
    memcpy(labels, b->ids + window * b->window + 1, b->window * sizeof *labels);
    for (size_t i = 0; b->learned && i < b->window; i++)
        if (!b->learned[window * b->window + 1 + i]) labels[i] = -1;
    if (b->bos >= 0) ids[0] = b->bos;
}

size_t batches_take(batches *b, uint64_t which, int32_t *ids, int32_t *labels) {
    const uint64_t number = which / b->n;
    if (b->shuffled != number + 1) shuffle(b, number);
    take(b, b->order[which % b->n], ids, labels);
    return b->order[which % b->n];
}

void batches_take_held(const batches *b, size_t which, int32_t *ids, int32_t *labels) {
    take(b, b->n + which, ids, labels);
}
