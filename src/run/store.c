/*
 * Models of which not all weights are in memory (nutshell_store.h). A *part* is a layer without its
 * experts, or all weights that are in no layer. Parts have memory of their own, or, of layers that do not
 * fit, share one place: layers follow one another in a circle, so that the one that was read last is never
 * the one that is needed next, and more places would bring nothing but a fixed set of layers does as well
 * (Sheng et al. 2023, "FlexGen", arXiv 2303.06865, has the same for large batches). Experts have slots
 * (slots.h).
 *
 * All memory is one arena, m->weights. Weights are unpacked as in a whole load; of bytes that are read again
 * a checksum is kept, so that a file which changed meanwhile is found out.
 */
#include "nutshell_store.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/xxhash.h"
#include "model/bind.h"
#include "run/layer_load.h"
#include "run/race.h"
#include "run/slots.h"

#include <string.h>

enum { READ_BYTES = 1 << 20 };

typedef struct part {
    binding *bindings; // (n), in the order of the file
    size_t n;
    size_t bytes;    // of memory, but for experts
    uint8_t *memory; // its own; NULL: it comes to store.shared
    size_t expert_bytes;
    uint32_t checksum; // of its bytes in the file; 0: not known yet
} part;

typedef struct store {
    model_store calls;
    nut_store source;
    nut_model *m;
    arena memory;      // of what follows
    binding *bindings; // (tensors) of all parts
    part *parts;       // (1 + n_layer) the first is what is outside of layers
    uint8_t *buffer;   // (READ_BYTES)
    uint8_t *shared;
    const part *in_shared; // NULL: nothing that is whole
    slots slots;
    uint8_t **slot_memory; // (slots.n)
    size_t slot_bytes;
    uint32_t *checksums; // (n_layer, n_expert) of experts' bytes; 0: not known yet
    bind_fill fill;
    nut_store_figures figures;
} store;

/* ---- reading ---- */

static nut_status read_bytes(store *s, uint32_t split, uint64_t at, size_t n, nut_error *err) {
    s->figures.bytes_read += n;
    return s->source.read(s->source.ctx, split, at, s->buffer, n, err);
}

/* Bytes [from, from + n) of a tensor's data to their place; *sum becomes a checksum of what it was and of
 * them. */
static nut_status read_data(store *s, const binding *b, uint64_t from, uint64_t n, uint32_t *sum,
                            nut_error *err) {
    for (uint64_t at = from, end = from + n, some; at < end; at += some) {
        some = end - at < READ_BYTES ? end - at : READ_BYTES;
        TRY(read_bytes(s, b->source->split, b->source->offset + at, (size_t)some, err));
        *sum = *sum * 31 + xxhash32(s->buffer, (size_t)some);
        TRY(bind_data(&s->fill, b, at, s->buffer, (size_t)some, err));
    }
    return NUT_OK;
}

static nut_status check_sum(uint32_t *known, uint32_t sum, nut_error *err) {
    sum = sum ? sum : 1;
    if (*known && *known != sum)
        return error_set(err, NUT_E_IO,
                         "the model file has changed since it was loaded; load the model again");
    *known = sum;
    return NUT_OK;
}

/* The end of reading something that began at the time `since`. */
static nut_status end_reading(store *s, double since, nut_status status) {
    bind_fill_free(&s->fill);
    s->fill = (bind_fill){0};
    s->figures.seconds += clock_seconds() - since;
    return status;
}

/* Whether a step goes on; a source may have failed without saying why. */
static bool goes_on(model_store *calls, nut_status status) {
    if (status != NUT_OK && calls->error.code == NUT_OK)
        error_set(&calls->error, status, "the weights of the model could not be read; try again");
    return status == NUT_OK;
}

/* ---- experts ---- */

static size_t padded(size_t n) {
    return (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

/* Gives an expert's matrices their memory. */
static void place_expert(const part *p, uint32_t expert, uint8_t *memory) {
    for (size_t k = 0; k < p->n; k++)
        for (size_t i = 0; p->bindings[k].apart && i < BIND_PARTS && p->bindings[k].w[i]; i++) {
            matrix *w = &p->bindings[k].w[i][expert];
            w->data = memory;
            memory += padded(matrix_bytes(w));
        }
}

static nut_status read_expert(store *s, const part *p, uint32_t expert, uint32_t *known, nut_error *err) {
    uint32_t sum = 0;
    for (size_t k = 0; k < p->n; k++) {
        const binding *b = &p->bindings[k];
        const uint64_t each = b->source->n_bytes / b->source->dims[2];
        if (b->apart) TRY(read_data(s, b, expert * each, each, &sum, err));
    }
    return check_sum(known, sum, err);
}

static void choose_experts(model_store *calls, size_t il, const uint32_t *chosen, size_t n) {
    store *s = (store *)calls;
    if (s->parts[1 + il].expert_bytes) slots_choose(&s->slots, (uint32_t)il, chosen, n);
}

static bool need_expert(model_store *calls, size_t il, uint32_t expert) {
    store *s = (store *)calls;
    const part *p = &s->parts[1 + il];
    if (calls->error.code != NUT_OK) return false;
    if (!p->expert_bytes) return true; // they are in memory with the layer
    uint32_t slot = slots_find(&s->slots, (uint32_t)il, expert);
    if (slot != SLOTS_NONE) {
        s->figures.expert_hits++;
        return true;
    }
    const double since = clock_seconds();
    s->figures.expert_misses++;
    slot = slots_give(&s->slots, (uint32_t)il, expert);
    memset(s->slot_memory[slot], 0, s->slot_bytes);
    place_expert(p, expert, s->slot_memory[slot]);
    uint32_t *known = &s->checksums[il * s->slots.n_expert + expert];
    const nut_status status = end_reading(s, since, read_expert(s, p, expert, known, &calls->error));
    if (status != NUT_OK) slots_drop(&s->slots, slot);
    return goes_on(calls, status);
}

/* ---- layers ---- */

/* The memory of the experts of layer il that are there, for matrices that were placed anew. */
static void place_experts(const store *s, size_t il) {
    for (uint32_t i = 0; i < s->slots.n; i++)
        if (s->slots.slots[i].full && s->slots.slots[i].layer == il)
            place_expert(&s->parts[1 + il], s->slots.slots[i].expert, s->slot_memory[i]);
}

static nut_status read_part(store *s, part *p, uint8_t *memory, nut_error *err) {
    arena to = {.next = memory, .left = p->bytes};
    uint32_t sum = 0;
    memset(memory, 0, p->bytes);
    bind_place(s->m, &to, p->bindings, p->n);
    for (size_t k = 0; k < p->n; k++)
        if (!p->bindings[k].apart)
            TRY(read_data(s, &p->bindings[k], 0, p->bindings[k].source->n_bytes, &sum, err));
    return check_sum(&p->checksum, sum, err);
}

static bool need_layer(model_store *calls, size_t il) {
    store *s = (store *)calls;
    part *p = &s->parts[1 + il];
    if (calls->error.code != NUT_OK) return false;
    if (p->memory || s->in_shared == p) {
        s->figures.layer_hits++;
        return true;
    }
    const double since = clock_seconds();
    s->figures.layer_misses++;
    s->in_shared = NULL;
    if (!goes_on(calls, end_reading(s, since, read_part(s, p, s->shared, &calls->error)))) return false;
    place_experts(s, il);
    s->in_shared = p;
    return true;
}

/* ---- headers ---- */

static nut_status feed_header(const nut_store *source, nut_loader *l, uint32_t split, uint64_t size,
                              uint8_t *buffer, nut_error *err) {
    for (uint64_t at = 0, some; at < size && nut_load_get_plan(l).n_read <= split; at += some) {
        some = size - at < READ_BYTES ? size - at : READ_BYTES;
        TRY(source->read(source->ctx, split, at, buffer, (size_t)some, err));
        TRY(nut_load_feed(l, at, buffer, (size_t)some, err));
    }
    return NUT_OK;
}

/* All files' headers; a file that ends too early is found out by what ends the load. */
static nut_status feed_headers(const nut_store *source, nut_loader *l, uint64_t size, uint8_t *buffer,
                               nut_error *err) {
    TRY(feed_header(source, l, 0, size, buffer, err));
    const uint32_t n = nut_load_get_plan(l).n_splits;
    for (uint32_t i = 1; i < n; i++) {
        TRY(source->open(source->ctx, i, n, &size, err));
        TRY(nut_load_next(l, size, err));
        TRY(feed_header(source, l, i, size, buffer, err));
    }
    return NUT_OK;
}

/* A model with nothing bound. */
static nut_status read_headers(const nut_load_options *o, const nut_store *source, nut_model **out,
                               nut_error *err) {
    nut_loader *l = NULL;
    uint64_t size;
    TRY(source->open(source->ctx, 0, 0, &size, err));
    uint8_t *buffer = mem_alloc(READ_BYTES);
    nut_status status = buffer ? nut_load_begin(o, size, &l, err) : error_memory(err, READ_BYTES);
    if (status == NUT_OK) {
        load_headers_only(l);
        status = feed_headers(source, l, size, buffer, err);
        if (status == NUT_OK) status = nut_load_finish(l, out, err);
        if (status != NUT_OK) nut_load_abort(l);
    }
    mem_free(buffer);
    return status;
}

/* ---- the plan ---- */

/* The part that a tensor is of. */
static size_t part_of(const nut_model *m, const binding *b) {
    return b->base == (const char *)m ? 0 : 1 + (size_t)b->layer;
}

/* Sorts the bindings, (n), to their parts, in whose order they stay. */
static void share_out(store *s, const binding *bindings, size_t n) {
    size_t at = 0;
    for (size_t k = 0; k < n; k++)
        if (bindings[k].spec) s->parts[part_of(s->m, &bindings[k])].n++;
    for (size_t i = 0; i <= s->m->hp.n_layer; i++) {
        s->parts[i].bindings = s->bindings + at;
        at += s->parts[i].n;
        s->parts[i].n = 0;
    }
    for (size_t k = 0; k < n; k++) {
        if (!bindings[k].spec) continue;
        part *p = &s->parts[part_of(s->m, &bindings[k])];
        p->bindings[p->n++] = bindings[k];
    }
}

/* Bytes that one of the experts of a tensor takes. */
static size_t expert_bytes(const nut_model *m, const binding *b) {
    arena whole = {0}, stack = {0};
    binding all = *b;
    bind_measure(m, &stack, b);
    all.apart = false;
    bind_measure(m, &whole, &all);
    return (whole.size - stack.size) / (size_t)b->source->dims[2];
}

/* What memory a part takes. */
static nut_status measure(store *s, part *p, nut_error *err) {
    arena a = {0};
    for (size_t k = 0; k < p->n; k++) {
        bind_measure(s->m, &a, &p->bindings[k]);
        if (p->bindings[k].apart) p->expert_bytes += expert_bytes(s->m, &p->bindings[k]);
    }
    p->bytes = a.size;
    if (p->expert_bytes > s->slot_bytes) s->slot_bytes = p->expert_bytes;
    return a.overflow ? error_memory(err, UINT64_MAX) : NUT_OK;
}

static nut_status take_parts(store *s, nut_error *err) {
    const size_t n = (size_t)s->m->header.n_tensors, n_parts = 1 + (size_t)s->m->hp.n_layer,
                 n_experts = s->m->hp.n_layer * (size_t)s->m->hp.experts.n;
    arena *a = &s->memory;
    arena_add(a, n, sizeof *s->bindings);
    arena_add(a, n_parts, sizeof *s->parts);
    arena_add(a, READ_BYTES, 1);
    arena_add(a, n_experts, sizeof *s->checksums);
    arena_add(a, n_experts, sizeof *s->slots.at);
    arena_add(a, n_parts, sizeof *s->slots.visits);
    if (!arena_open(a)) return error_memory(err, a->size);
    s->bindings = arena_take(a, n, sizeof *s->bindings);
    s->parts = arena_take(a, n_parts, sizeof *s->parts);
    s->buffer = arena_take(a, READ_BYTES, 1);
    s->checksums = arena_take(a, n_experts, sizeof *s->checksums);
    s->slots.at = arena_take(a, n_experts, sizeof *s->slots.at);
    s->slots.visits = arena_take(a, n_parts, sizeof *s->slots.visits);
    return NUT_OK;
}

/* Finds the places of all tensors, and measures the parts. */
static nut_status plan_parts(store *s, nut_error *err) {
    nut_model *m = s->m;
    const size_t n = (size_t)m->header.n_tensors;
    arena all = {0};
    TRY(take_parts(s, err));
    binding *bindings = mem_calloc(n, sizeof *bindings);
    if (!bindings) return error_memory(err, n * sizeof *bindings);
    m->experts_apart = true;
    const nut_status status = bind_plan(m, BIND_ALL, &all, m->header.tensors, n, bindings, NULL, err);
    if (status == NUT_OK) share_out(s, bindings, n);
    mem_free(bindings);
    TRY(status);
    for (size_t i = 0; i <= m->hp.n_layer; i++) TRY(measure(s, &s->parts[i], err));
    return NUT_OK;
}

/* ---- what stays in memory ---- */

static nut_status too_small(const store *s, uint64_t layer, uint64_t experts, nut_error *err) {
    const uint64_t outside = s->parts[0].bytes;
    return error_set(
        err, NUT_E_TOO_LARGE,
        "weights have %.3g MB and need %.2f MB outside of layers, %.2f MB for a layer and %.2f MB "
        "for the experts of a token; give a limit of %llu bytes or more",
        (double)s->source.weights_limit / 1e6, (double)outside / 1e6, (double)layer / 1e6,
        (double)experts / 1e6, (unsigned long long)(outside + layer + experts));
}

/* Marks the layers that stay, beside the largest one, as far as *left goes. */
static void keep_layers(store *s, bool *stays, uint64_t *left) {
    for (size_t i = 0; i <= s->m->hp.n_layer; i++) {
        stays[i] = i == 0 || s->parts[i].bytes <= *left;
        if (i && stays[i]) *left -= s->parts[i].bytes;
    }
}

/* Which parts stay, whether the others have a place, and how many experts have one: stays (1 + n_layer). */
static nut_status share_limit(store *s, bool *stays, size_t *shared, nut_error *err) {
    const model_hparams *hp = &s->m->hp;
    uint64_t layers = 0, largest = 0, n_experts = 0;
    for (size_t i = 1; i <= hp->n_layer; i++) {
        const part *p = &s->parts[i];
        layers += p->bytes;
        largest = p->bytes > largest ? p->bytes : largest;
        n_experts += p->expert_bytes ? hp->experts.n : 0;
    }
    const uint64_t limit = s->source.weights_limit ? s->source.weights_limit : UINT64_MAX,
                   experts = (uint64_t)s->slot_bytes * (n_experts ? hp->experts.n_used : 0),
                   outside = s->parts[0].bytes;
    const bool all = outside + layers + experts <= limit;
    if (!all && outside + largest + experts > limit) return too_small(s, largest, experts, err);
    uint64_t left = limit - outside - experts - (all ? 0 : largest);
    *shared = all ? 0 : (size_t)largest;
    keep_layers(s, stays, &left);
    s->slots.n_layer = hp->n_layer;
    s->slots.n_expert = hp->experts.n;
    s->slots.n_together = hp->experts.n_used;
    const uint64_t n = n_experts ? hp->experts.n_used + left / s->slot_bytes : 0;
    s->slots.n = (uint32_t)(n < n_experts ? n : n_experts);
    s->figures.n_experts = (uint32_t)n_experts;
    return NUT_OK;
}

/* The memory of all weights. */
static nut_status take_weights(store *s, const bool *stays, size_t shared, nut_error *err) {
    arena *a = &s->m->weights;
    const size_t n_parts = 1 + (size_t)s->m->hp.n_layer, n_slots = s->slots.n;
    for (size_t i = 0; i < n_parts; i++)
        if (stays[i]) arena_add(a, s->parts[i].bytes, 1);
    arena_add(a, shared, 1);
    for (size_t i = 0; i < n_slots; i++) arena_add(a, s->slot_bytes, 1);
    arena_add(&s->memory, n_slots, sizeof *s->slots.slots);
    arena_add(&s->memory, n_slots, sizeof *s->slot_memory);
    if (!arena_open(a) || !arena_open(&s->memory)) return error_memory(err, a->size + s->memory.size);
    s->slots.slots = arena_take(&s->memory, n_slots, sizeof *s->slots.slots);
    s->slot_memory = arena_take(&s->memory, n_slots, sizeof *s->slot_memory);
    for (size_t i = 0; i < n_parts; i++)
        if (stays[i])
            s->parts[i].memory = arena_take(a, s->parts[i].bytes, 1), s->figures.n_layers_kept += i > 0;
    s->shared = arena_take(a, shared, 1);
    for (size_t i = 0; i < n_slots; i++) s->slot_memory[i] = arena_take(a, s->slot_bytes, 1);
    return NUT_OK;
}

static nut_status choose_kept(store *s, nut_error *err) {
    bool *stays = mem_calloc(1 + (size_t)s->m->hp.n_layer, sizeof *stays);
    size_t shared = 0;
    if (!stays) return error_memory(err, s->m->hp.n_layer);
    nut_status status = share_limit(s, stays, &shared, err);
    if (status == NUT_OK) status = take_weights(s, stays, shared, err);
    mem_free(stays);
    return status;
}

static nut_status read_kept(store *s, nut_error *err) {
    for (size_t i = 0; i <= s->m->hp.n_layer; i++)
        if (s->parts[i].memory) {
            const nut_status status = read_part(s, &s->parts[i], s->parts[i].memory, err);
            TRY(end_reading(s, clock_seconds(), status));
        }
    return NUT_OK;
}

/* ---- life ---- */

static void free_store(model_store *calls) {
    store *s = (store *)calls;
    if (s->source.close) s->source.close(s->source.ctx);
    bind_fill_free(&s->fill);
    arena_close(&s->memory);
    mem_free(s);
}

static nut_status fill_model(store *s, const nut_load_options *o, nut_error *err) {
    TRY(plan_parts(s, err));
    TRY(choose_kept(s, err));
    TRY(read_kept(s, err));
    bind_finish(s->m);
    if (!o->kernel) race_products(s->m, o->races);
    s->figures.weight_bytes = s->m->weights.size;
    s->figures.n_layers = s->m->hp.n_layer;
    s->figures.n_experts_kept = s->slots.n;
    s->figures.bytes_read = 0;
    s->figures.seconds = 0;
    return NUT_OK;
}

/* The store belongs to the model from here on, and with it the source. */
static nut_status add_store(nut_model *m, const nut_store *source, store **out, nut_error *err) {
    store *s = mem_calloc(1, sizeof *s);
    if (!s) return error_memory(err, sizeof *s);
    s->calls = (model_store){need_layer, choose_experts, need_expert, free_store, {NUT_OK, ""}};
    s->source = *source;
    s->m = m;
    m->store = &s->calls;
    *out = s;
    return NUT_OK;
}

nut_status nut_load_stored(const nut_load_options *o, const nut_store *source, nut_model **out,
                           nut_error *err) {
    nut_model *m = NULL;
    store *s = NULL;
    nut_status status = NUT_OK;
    if (o->header_only || o->memory_limit)
        status = error_set(err, NUT_E_ARGUMENT,
                           "a model from a store takes weights_limit, and no memory_limit or header_only");
    if (status == NUT_OK) status = read_headers(o, source, &m, err);
    if (status == NUT_OK) status = add_store(m, source, &s, err);
    if (status == NUT_OK) status = fill_model(s, o, err);
    if (status == NUT_OK) {
        *out = m;
        return NUT_OK;
    }
    if (!s && source->close) source->close(source->ctx);
    nut_model_free(m);
    return status;
}

bool nut_model_store_figures(const nut_model *m, nut_store_figures *out) {
    if (!m->store) return false;
    *out = ((const store *)m->store)->figures;
    return true;
}
