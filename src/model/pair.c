/* A query and a document as one text, as rerankers read them. */
#include "model/tokenizer.h"

#include "base/error.h"
#include "model/model.h"

#include <string.h>

enum { MAX_BYTES = 1 << 28 }; // of a text

typedef struct pair {
    const char *texts[2]; // query and document
    size_t n[2];
} pair;

/* ---- by the file's prompt ---- */

/* Which of the two texts the prompt names at s, and the length of the name; -1: none. */
static int named_at(const char *s, size_t n, size_t *length) {
    static const char *const names[2] = {"{query}", "{document}"};
    for (int i = 0; i < 2; i++) {
        *length = strlen(names[i]);
        if (n >= *length && !memcmp(s, names[i], *length)) return i;
    }
    return -1;
}

/* Writes the prompt with the texts in it, and marks for each byte that came from them; returns its length.
 * With `to` NULL it only counts. */
static size_t fill(const char *prompt, size_t n, const pair *p, char *to, uint8_t *marks) {
    size_t at = 0, length;
    for (size_t i = 0; i < n;) {
        const int which = named_at(prompt + i, n - i, &length);
        const char *from = which < 0 ? prompt + i : p->texts[which];
        const size_t some = which < 0 ? 1 : p->n[which];
        if (to) memcpy(to + at, from, some);
        if (to) memset(marks + at, which >= 0, some);
        at += some;
        i += which < 0 ? 1 : length;
    }
    return at;
}

static nut_status put_prompt(const vocab *v, gguf_str prompt, const pair *p, int32_t *ids, size_t cap,
                             size_t *n_out, nut_error *err) {
    const size_t n = fill(prompt.s, (size_t)prompt.n, p, NULL, NULL);
    char *text = mem_alloc(2 * n + 1);
    if (!text) return error_memory(err, 2 * n + 1);
    uint8_t *marks = (uint8_t *)text + n;
    fill(prompt.s, (size_t)prompt.n, p, text, marks);
    const nut_status status = vocab_tokenize_marked(v, text, marks, n, ids, cap, n_out, err);
    mem_free(text);
    return status;
}

/* ---- one text behind the other ---- */

static void put_id(int32_t id, ids_out *out) {
    if (id != VOCAB_NONE) ids_put(out, id);
}

static nut_status put_text(const vocab *v, const char *text, size_t n, ids_out *out, nut_error *err) {
    const size_t room = out->n < out->cap ? out->cap - out->n : 0;
    size_t some;
    const nut_status status =
        vocab_tokenize(v, text, n, 0, room ? out->ids + out->n : NULL, room, &some, err);
    if (status != NUT_OK && some <= room) return status;
    out->n += some; // more than there is room for is counted
    return NUT_OK;
}

/* "[CLS] query [SEP] document [SEP]"; RoBERTa and those that followed it have two ends between the texts. */
static nut_status put_both(const vocab *v, const pair *p, ids_out *out, nut_error *err) {
    const bool two = v->sep != VOCAB_NONE && gguf_str_is(vocab_text(v, v->sep), "</s>");
    if (v->add_bos) put_id(v->bos, out);
    for (int i = 0; i < 2; i++) {
        TRY(put_text(v, p->texts[i], p->n[i], out, err));
        put_id(v->sep, out);
        if (i == 0 && two) put_id(v->sep, out);
    }
    return NUT_OK;
}

nut_status nut_tokenize_pair(const nut_model *m, const char *query, size_t n_query, const char *document,
                             size_t n_document, int32_t *ids, size_t cap, size_t *n_out, nut_error *err) {
    const pair p = {{query, document}, {n_query, n_document}};
    ids_out out = {.ids = ids, .cap = cap};
    gguf_str prompt;
    *n_out = 0;
    if (n_query > MAX_BYTES || n_document > MAX_BYTES)
        return error_set(err, NUT_E_ARGUMENT, "a text of a pair has more than %d bytes; shorten it",
                         MAX_BYTES);
    TRY(gguf_get_str(&m->header, "tokenizer.chat_template.rerank", "", &prompt, err));
    if (!prompt.n && m->hp.causal)
        return error_set(
            err, NUT_E_NO_TEMPLATE,
            "the file has no prompt for a query and a document (tokenizer.chat_template.rerank); "
            "convert the model again, as a reranker");
    if (prompt.n)
        TRY(put_prompt(m->vocab, prompt, &p, ids, cap, &out.n, err));
    else
        TRY(put_both(m->vocab, &p, &out, err));
    *n_out = out.n;
    if (out.n <= cap) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "the pair is %zu tokens and the buffer holds %zu", out.n, cap);
}
