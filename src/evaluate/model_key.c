/* Numbers that tell models apart. */
#include "evaluate/model_key.h"

#include "base/xxhash.h"
#include "model/model.h"

enum { SAMPLE = 4 << 10 }; // bytes of each tensor

void model_key_mix(model_key *k, const void *bytes, size_t n) {
    k->key = (k->key ^ xxhash32(bytes, n)) * 0x9e3779b97f4a7c15u;
    k->key ^= k->key >> 29;
}

nut_status model_key_tensors(model_key *k, nut_job *job, bool *ready, nut_error *err) {
    const gguf *g = &k->source.m->header;
    (void)err;
    if (k->tensor) model_key_mix(k, k->source.bytes, k->source.n);
    while (k->tensor < g->n_tensors && !g->tensors[k->tensor].n_bytes) k->tensor++;
    *ready = k->tensor == g->n_tensors;
    if (*ready) return NUT_OK;
    const gguf_tensor *t = &g->tensors[k->tensor++];
    k->source.n = t->n_bytes < SAMPLE ? (size_t)t->n_bytes : SAMPLE;
    model_key_mix(k, t->name.s, (size_t)t->name.n), model_key_mix(k, t->dims, sizeof t->dims);
    job_want(job, t->split, t->offset, k->source.bytes, k->source.n);
    return NUT_OK;
}
