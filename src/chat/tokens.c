/*
 * Prompts of a model: what it gives to them, and the ids of what was written. With prompt.c this makes the
 * public call nut_chat_render.
 */
#include "chat/families.h"
#include "chat/prompt.h"
#include "model/model.h"

#include "base/error.h"

#include <string.h>

/* ---- what a model gives ---- */

static const char *token_text(const vocab *v, int32_t id, size_t *n) {
    const gguf_str s = id < 0 ? (gguf_str){"", 0} : vocab_text(v, id);
    *n = (size_t)s.n;
    return s.s;
}

void nut_chat_model_of(const nut_model *model, nut_chat_model *out) {
    const vocab *v = model->vocab;
    *out = (nut_chat_model){.name = "model"};
    out->tool_source = nut_model_meta(model, "tokenizer.chat_template.tool_use", &out->n_tool_source);
    out->source = nut_model_meta(model, "tokenizer.chat_template", &out->n_source);
    out->bos = token_text(v, vocab_bos(v), &out->n_bos);
    out->eos = token_text(v, vocab_eos(v), &out->n_eos);
    const family_template *family = out->source ? NULL : family_find(v);
    if (!family) return;
    out->name = family->name;
    out->source = family->source;
    out->n_source = strlen(family->source);
}

/* ---- ids ---- */

/* Puts one beginning-of-sequence token in front of n ids, where the model or the template asks for it. There
 * is room for one more. */
static size_t begin_once(const vocab *v, int32_t *ids, size_t n) {
    const int32_t bos = vocab_bos(v);
    size_t there = 0;
    while (bos >= 0 && there < n && ids[there] == bos) there++;
    const size_t want = there > 0 || vocab_add_bos(v);
    memmove(ids + want, ids + there, (n - there) * sizeof *ids);
    if (want) ids[0] = bos;
    return n - there + want;
}

nut_status nut_chat_tokenize(const nut_model *model, const char *text, const uint8_t *marks, size_t n_text,
                             int32_t *ids, size_t cap, size_t *n_out, nut_error *err) {
    const vocab *v = model->vocab;
    TRY(vocab_tokenize_marked(v, text, marks, n_text, ids, cap, n_out, err));
    if (*n_out < cap) {
        *n_out = begin_once(v, ids, *n_out);
        return NUT_OK;
    }
    ++*n_out; // a beginning may be missing
    return error_set(err, NUT_E_ARGUMENT, "the prompt has %zu tokens and the buffer holds %zu", *n_out, cap);
}

static nut_status make_ids(nut_chat *c, const nut_model *model, nut_error *err) {
    size_t cap = 0, n = c->text->n / 2 + 16; // more than most texts have
    nut_status status = NUT_E_ARGUMENT;
    while (status != NUT_OK && n > cap) {
        cap = n;
        c->ids = chat_alloc(&c->heap, cap * sizeof *c->ids);
        if (!c->ids) return c->heap.status;
        status = nut_chat_tokenize(model, c->text->text, c->marks, c->text->n, c->ids, cap, &n, err);
    }
    c->n_ids = n;
    return status;
}

/* ---- public ---- */

static nut_status render(const nut_model *model, const nut_chat_model *m, const char *messages, size_t n,
                         const nut_chat_options *options, nut_chat **out, nut_error *err) {
    nut_chat *c;
    TRY(nut_chat_write(m, messages, n, options, &c, err));
    const nut_status status = make_ids(c, model, err);
    if (status == NUT_OK)
        *out = c;
    else
        nut_chat_free(c);
    return status;
}

nut_status nut_chat_render(const nut_model *model, const char *messages, size_t n_messages,
                           const nut_chat_options *options, nut_chat **out, nut_error *err) {
    nut_chat_model m;
    nut_chat_options o = *options;
    nut_chat_trim trim = {.leave_out = o.leave_out};
    nut_chat *c;
    nut_chat_model_of(model, &m);
    TRY(render(model, &m, messages, n_messages, &o, &c, err));
    while (o.max_ids && nut_chat_trim_next(&trim, c->turns.n, c->n_ids <= o.max_ids)) {
        nut_chat_free(c);
        o.leave_out = trim.leave_out;
        TRY(render(model, &m, messages, n_messages, &o, &c, err));
    }
    *out = c;
    return NUT_OK;
}
