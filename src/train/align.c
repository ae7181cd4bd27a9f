/* Aligning vocabularies by the texts of their tokens. */
#include "train/align.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/sort.h"

#include <string.h>

typedef struct entry {
    gguf_str text;
    int32_t id;
} entry;

static int compare_texts(gguf_str a, gguf_str b) {
    const size_t n = (size_t)(a.n < b.n ? a.n : b.n);
    const int order = n ? memcmp(a.s, b.s, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* By text, and of equal ones by id. */
static int compare(const void *a, const void *b) {
    const entry *x = a, *y = b;
    const int order = compare_texts(x->text, y->text);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

static int32_t find(const entry *sorted, size_t n, gguf_str text) {
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare_texts(sorted[middle].text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && !compare_texts(sorted[low].text, text) ? sorted[low].id : -1;
}

static bool same_at(const vocab *a, const vocab *b, int32_t id) {
    return (uint32_t)id < vocab_size(b) && !compare_texts(vocab_text(a, id), vocab_text(b, id));
}

static bool are_same(const vocab *a, const vocab *b) {
    bool same = vocab_size(a) == vocab_size(b);
    for (uint32_t i = 0; same && i < vocab_size(a); i++) same = same_at(a, b, (int32_t)i);
    return same;
}

static nut_status align(const vocab *student, const vocab *teacher, entry *sorted, int32_t *to,
                        nut_error *err) {
    const size_t n = vocab_size(teacher);
    for (size_t i = 0; i < n; i++) sorted[i] = (entry){vocab_text(teacher, (int32_t)i), (int32_t)i};
    sort_rows(sorted, n, sizeof *sorted, compare);
    for (int32_t i = 0; (uint32_t)i < vocab_size(student); i++) {
        const gguf_str text = vocab_text(student, i);
        to[i] = same_at(student, teacher, i) ? i : find(sorted, n, text);
        if (to[i] < 0 && vocab_type_of(student, i) != VOCAB_UNUSED)
            return error_set(err, NUT_E_UNSUPPORTED,
                             "the teacher has another vocabulary: it lacks the token \"%.*s\" (%d); take a "
                             "teacher of the same tokenizer",
                             (int)(text.n < 40 ? text.n : 40), text.s, (int)i);
    }
    return NUT_OK;
}

nut_status align_tokens(const vocab *student, const vocab *teacher, int32_t **out, nut_error *err) {
    *out = NULL;
    if (strcmp(vocab_tokenizer_name(student), vocab_tokenizer_name(teacher)) != 0)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "the teacher has another vocabulary, of the tokenizer %s, not %s",
                         vocab_tokenizer_name(teacher), vocab_tokenizer_name(student));
    if (are_same(student, teacher)) return NUT_OK;
    int32_t *to = mem_calloc(vocab_size(student), sizeof *to);
    entry *sorted = mem_calloc(vocab_size(teacher), sizeof *sorted);
    const uint64_t bytes = vocab_size(student) * sizeof *to + vocab_size(teacher) * sizeof *sorted;
    const nut_status status =
        to && sorted ? align(student, teacher, sorted, to, err) : error_memory(err, bytes);
    mem_free(sorted);
    if (status == NUT_OK)
        *out = to;
    else
        mem_free(to);
    return status;
}
