/* Layers one at a time. */
#include "run/layer_load.h"

#include "base/error.h"

/* Keeps those tensors that have a place. */
static void keep_bound(layer_load *l) {
    size_t n = 0;
    for (size_t i = 0; i < l->n_bindings; i++)
        if (l->bindings[i].spec) l->bindings[n++] = l->bindings[i];
    l->n_bindings = n;
}

static nut_status plan(layer_load *l, nut_error *err) {
    gguf *g = &l->m->header;
    TRY(bind_plan(l->m, l->which, &l->memory, g->tensors, (size_t)g->n_tensors, l->bindings, NULL, err));
    keep_bound(l);
    if (!arena_open(&l->memory)) return error_memory(err, l->memory.size);
    bind_place(l->m, &l->memory, l->bindings, l->n_bindings);
    if (l->which == BIND_MODEL) bind_finish(l->m);
    return NUT_OK;
}

nut_status layer_load_begin(nut_model *m, int which, layer_load *l, nut_error *err) {
    *l = (layer_load){.m = m, .which = which, .n_bindings = (size_t)m->header.n_tensors};
    l->bindings = mem_calloc(l->n_bindings, sizeof *l->bindings);
    const nut_status status =
        l->bindings ? plan(l, err) : error_memory(err, l->n_bindings * sizeof *l->bindings);
    if (status != NUT_OK) layer_load_free(l);
    return status;
}

bool layer_load_wants(const layer_load *l, uint32_t *file, uint64_t *offset, uint64_t *n) {
    if (l->current == l->n_bindings) return false;
    const gguf_tensor *t = l->bindings[l->current].source;
    *file = t->split;
    *offset = t->offset + l->at;
    *n = t->n_bytes - l->at;
    return true;
}

nut_status layer_load_feed(layer_load *l, const uint8_t *bytes, size_t n, nut_error *err) {
    uint32_t file;
    uint64_t offset, left;
    if (!layer_load_wants(l, &file, &offset, &left) || n > left)
        return error_set(err, NUT_E_ARGUMENT, "more bytes than the tensor has");
    const binding *b = &l->bindings[l->current];
    TRY(bind_data(&l->fill, b, l->at, bytes, n, err));
    l->at += n;
    if (n == left) l->current++, l->at = 0;
    return NUT_OK;
}

void layer_load_free(layer_load *l) {
    if (l->m) bind_forget(l->m, l->which);
    bind_fill_free(&l->fill);
    mem_free(l->bindings);
    arena_close(&l->memory);
    *l = (layer_load){0};
}
