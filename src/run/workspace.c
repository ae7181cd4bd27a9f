/* The memory and threads of a step. */
#include "run/attend.h"
#include "run/block.h"

#include "base/error.h"

/* The widest input of a block's products in the layers m->hp.most. */
static uint64_t block_width(const nut_model *m, unsigned id) {
    uint64_t widest = 0;
    if (id == BLOCK_NONE) return 0;
    for (size_t i = 0; i < m->blocks[id]->n_tensors; i++) {
        const tensor_spec *t = &m->blocks[id]->tensors[i];
        const uint64_t width = arch_size(&m->hp, &m->hp.most, t->shape[0]);
        if (t->kind != TENSOR_VECTOR && width > widest) widest = width;
    }
    return widest;
}

static void want_int8(const nut_model *m, size_t n_batch, run_int8 *to, memory_walk *w) {
    uint64_t width = 2 * (uint64_t)m->hp.n_embd;
    for (uint32_t il = 0; il < m->hp.n_layer; il++) {
        const uint64_t mixer = block_width(m, m->layers[il].hp.mixer),
                       ffn = block_width(m, m->layers[il].hp.ffn),
                       beside = block_width(m, m->layers[il].hp.beside);
        width = beside > width ? beside : width;
        width = mixer > width ? mixer : width;
        width = ffn > width ? ffn : width;
    }
    const uint64_t padded =
        (n_batch + KERNEL_TILE - 1) / KERNEL_TILE * KERNEL_TILE * width; // the last tile is whole
    memory_want(w, &to->q, padded, m->kernels->act_bytes);
    memory_want(w, &to->d, padded / 32 + 1, sizeof(float));
    memory_want(w, &to->d_sum, padded / 32 + 1, sizeof(float));
    memory_want(w, &to->sum, (padded / 32 + 1) * KERNEL_SUMS, sizeof(int32_t));
    memory_want(w, &to->live, width / 32 + 1, 1);
}

static unsigned block_at(const nut_model *m, uint32_t il, int place) {
    const layer_hparams *l = &m->layers[il].hp;
    const unsigned ids[STEP_PLACES] = {l->mixer, l->beside, l->ffn, l->after};
    return ids[place];
}

/* Floats that the block keeps. */
static uint64_t state_size(const nut_model *m, uint32_t il, int place) {
    const unsigned id = block_at(m, il, place);
    return id != BLOCK_NONE && block_kinds[id]->state ? block_kinds[id]->state(&m->hp) : 0;
}

uint64_t workspace_state_size(const nut_model *m) {
    uint64_t n = 0;
    for (uint32_t il = 0; il < m->hp.n_layer; il++)
        for (int place = 0; place < STEP_PLACES; place++) n += state_size(m, il, place);
    return n;
}

static void want_blocks(const nut_model *m, workspace *ws, memory_walk *w) {
    bool wanted[BLOCK_COUNT] = {false};
    for (uint32_t il = 0; il < m->hp.n_layer; il++)
        for (int place = 0; place < STEP_PLACES; place++)
            if (block_at(m, il, place) != BLOCK_NONE) wanted[block_at(m, il, place)] = true;
    for (unsigned id = 0; id < BLOCK_COUNT; id++)
        if (wanted[id]) block_kinds[id]->want(m, ws->n_batch, ws->scratch[id].bytes, w);
}

static size_t padded_heads(const nut_model *m) {
    size_t most = 0;
    for (uint32_t il = 0; il < m->hp.n_layer; il++) {
        const size_t n = attend_padded(&m->layers[il].hp);
        most = n > most ? n : most;
    }
    return most;
}

void workspace_want(const nut_model *m, workspace *ws, memory_walk *w) {
    const uint64_t n = ws->n_batch, n_embd = m->hp.n_embd, out = run_pad8(m->hp.n_embd);
    memory_want(w, &ws->rows, n, sizeof(step_row));
    memory_want(w, &ws->ids, n, sizeof(int32_t));
    memory_want(w, &ws->kept, ws->n_logits_max, sizeof(uint32_t));
    memory_want(w, &ws->residual, n * n_embd, sizeof(float));
    memory_want(w, &ws->normed, n * n_embd, sizeof(float));
    memory_want(w, &ws->mixed, n * out, sizeof(float));
    memory_want(w, &ws->fed, n * out, sizeof(float));
    memory_want(w, &ws->rope, MODEL_ROPES * n * m->hp.n_rot, sizeof(float));
    memory_want(w, &ws->logits, (uint64_t)ws->n_logits_max * run_pad8(m->hp.n_vocab), sizeof(float));
    want_blocks(m, ws, w);
    memory_want(w, &ws->inputs, n, run_pad8((size_t)m->hp.n_inputs * m->hp.n_layer) * sizeof(float));
    memory_want(w, &ws->input_row, (uint64_t)m->hp.n_inputs * m->hp.n_layer, sizeof(float));
    const size_t n_residuals = m->hp.residuals.n;
    memory_want(w, &ws->residuals, n * n_residuals * n_embd, sizeof(float));
    memory_want(w, &ws->routed, n * run_pad8(n_residuals), sizeof(float));
    memory_want(w, &ws->routes, n * n_residuals, sizeof(float));
    memory_want(w, &ws->portions, n * run_pad8(n_residuals * n_residuals), sizeof(float));
    memory_want(w, &ws->slopes, m->hp.most.n_head, sizeof(float));
    memory_want(w, &ws->padded, n * padded_heads(m), sizeof(float));
    memory_want(w, &ws->state_at, (uint64_t)m->hp.n_layer * STEP_PLACES, sizeof(size_t));
    memory_want(w, &ws->layer_at, m->hp.n_layer, sizeof(size_t));
    memory_want(w, &ws->recent_at, m->hp.n_layer, sizeof(size_t));
    want_int8(m, ws->n_batch, &ws->int8, w);
    memory_want(w, &ws->rest, n * n_embd, sizeof(float));
    memory_want(w, &ws->scaled, n * m->n_scaled, sizeof(float));
    memory_want(w, &ws->side, n * m->n_side_scratch, sizeof(float));
    memory_want(w, &ws->candidates, m->hp.n_vocab, sizeof(sampler_candidate));
    memory_want(w, &ws->counts, m->hp.n_vocab, sizeof(uint32_t));
    if (!nut_model_n_scores(m)) return;
    memory_want(w, &ws->text, n_embd, sizeof(float));
    memory_want(w, &ws->refined, out, sizeof(float));
    memory_want(w, &ws->scores, run_pad8(m->hp.n_labels), sizeof(float));
}

static uint64_t layer_bytes(const nut_model *m, uint32_t il, const cache_kind *kind) {
    const layer_hparams *l = &m->layers[il].hp;
    if (l->mixer == BLOCK_NONE || l->shares_kv || !block_kinds[l->mixer]->page_bytes) return 0;
    return block_kinds[l->mixer]->page_bytes(l, kind);
}

uint64_t workspace_page_bytes(const nut_model *m, const cache_kind *kind) {
    uint64_t sum = 0, most = 0;
    for (uint32_t il = 0; il < m->hp.n_layer; il++) {
        const uint64_t bytes = layer_bytes(m, il, kind);
        sum += bytes;
        most = bytes > most ? bytes : most;
    }
    return m->layers_apart ? most : sum;
}

static void place_states(workspace *ws) {
    for (uint32_t i = 0; i < ws->model->hp.n_layer * STEP_PLACES; i++) {
        ws->state_at[i] = ws->n_state;
        ws->n_state += (size_t)state_size(ws->model, i / STEP_PLACES, (int)(i % STEP_PLACES));
    }
}

/* layer_at (n_layer): each layer's offset in a page, which holds a tile of every layer. */
static void place_layers(const nut_model *m, const cache_kind *kind, size_t *layer_at) {
    size_t at = 0;
    for (uint32_t il = 0; il < m->hp.n_layer; il++) {
        layer_at[il] = at;
        at += m->layers_apart ? 0 : (size_t)layer_bytes(m, il, kind);
    }
}

static nut_status take_memory(workspace *ws, nut_error *err) {
    const uint64_t page = workspace_page_bytes(ws->model, ws->cache_kind);
    const cache_kind *recent = &cache_kinds[CACHE_RECENT];
    memory_walk w = {.a = &ws->memory};
    workspace_want(ws->model, ws, &w);
    if (w.bytes > SIZE_MAX / 2 || page > SIZE_MAX / 2)
        return error_set(err, NUT_E_TOO_LARGE,
                         "a session of this model cannot be addressed; use a smaller batch");
    if (!arena_open(&ws->memory)) return error_memory(err, ws->memory.size);
    w.taking = true;
    workspace_want(ws->model, ws, &w);
    pages_open(&ws->pages, (size_t)page);
    place_states(ws);
    place_layers(ws->model, ws->cache_kind, ws->layer_at);
    place_layers(ws->model, recent, ws->recent_at);
    if (ws->cache_kind->packed) ws->recent_bytes = (size_t)workspace_page_bytes(ws->model, recent);
    return NUT_OK;
}

nut_status workspace_new(const nut_model *m, const workspace_options *o, workspace **out, nut_error *err) {
    workspace *ws = mem_calloc(1, sizeof *ws);
    if (!ws) return error_memory(err, sizeof *ws);
    ws->model = m;
    ws->n_batch = o->n_batch;
    ws->n_logits_max = o->n_logits;
    ws->cache_kind = model_cache_kind(&m->hp, o->kv_type);
    ws->profile.on = o->profile;
    nut_status status = take_memory(ws, err);
    if (status == NUT_OK) status = threads_new(o->n_threads, &ws->team, err);
    if (status != NUT_OK) {
        workspace_free(ws);
        return status;
    }
    pace_begin(&ws->pace, threads_count(ws->team), o->fewer_threads);
    *out = ws;
    return NUT_OK;
}

void workspace_free(workspace *ws) {
    if (!ws) return;
    threads_free(ws->team);
    pages_close(&ws->pages);
    arena_close(&ws->memory);
    mem_free(ws);
}
