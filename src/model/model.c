/* What is done with a model beside loading and running it. */
#include "model/model.h"

void model_free(nut_model *m) {
    if (!m) return;
    if (m->store) m->store->free(m->store);
    vocab_free(m->vocab);
    gguf_free(&m->header);
    for (uint32_t i = 0; i < m->n_adapters; i++) arena_close(&m->adapters[i].memory);
    arena_close(&m->weights);
    arena_close(&m->layer_memory);
    mem_free(m);
}

const cache_kind *model_cache_kind(const model_hparams *hp, nut_kv_type type) {
    if ((unsigned)type >= NUT_KV_COUNT) return NULL;
    return &cache_kinds[hp->reference && type == NUT_KV_F16 ? (int)CACHE_F32 : (int)type];
}

/* ---- facts ---- */

uint32_t nut_model_n_vocab(const nut_model *m) {
    return m->hp.n_vocab;
}
uint32_t nut_model_n_embd(const nut_model *m) {
    return m->hp.n_embd;
}
uint32_t nut_model_n_ctx_train(const nut_model *m) {
    return m->hp.n_ctx_train;
}
uint32_t nut_model_n_scores(const nut_model *m) {
    return m->head.out.w.format ? m->hp.n_labels : 0;
}
const char *nut_model_kernel(const nut_model *m) {
    return m->kernels->name;
}

const char *nut_model_meta(const nut_model *m, const char *key, size_t *n) {
    gguf_str s;
    if (!gguf_find(&m->header, key) || gguf_get_str(&m->header, key, NULL, &s, NULL) != NUT_OK) return NULL;
    *n = (size_t)s.n;
    return s.s;
}
