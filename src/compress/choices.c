/* What matrices may become: see choices.h. */
#include "compress/choices.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/xxhash.h"
#include "compress/types.h"
#include "model/gguf_write.h"

#include <stdio.h>
#include <string.h>

static uint64_t bytes_as(const gguf_tensor *t, const format *f, uint64_t alignment) {
    const uint64_t n = t->dims[0] / f->block * t->dims[1] * t->dims[2] * f->bytes;
    return n + gguf_padding(n, alignment);
}

static bool is_fewer(const format *a, const format *b) {
    return a->bytes * b->block < b->bytes * a->block;
}

/* Ternary types are for models that were trained so. Others lose so much in them that it is no small error
 * any more: losses that are told for small ones are too low (Gemma-3-270M at 152 MB: KL 0.274 with five of
 * 127 matrices in TQ1_0). */
static bool is_offered(const format *f) {
    return type_with_codes(f->id) && f->id != FORMAT_TQ1_0 && f->id != FORMAT_TQ2_0;
}

static bool is_option(const choices *k, const format *f, const format *from) {
    if (f == from) return f->block != 1;
    return is_offered(f) && is_fewer(f, from) && (k->own || !format_is_own(f));
}

mix_item choices_options(const choices *k, const gguf_tensor *t, uint64_t alignment) {
    const format *from = format_by_ggml(t->ggml_type);
    mix_item item = {.n = 0};
    for (size_t i = 0; i < FORMAT_COUNT && item.n < MIX_OPTIONS; i++) {
        const format *f = &format_table[i];
        if (!is_option(k, f, from) || t->dims[0] % f->block) continue;
        item.options[item.n++] = (mix_option){.type = f->id, .bytes = bytes_as(t, f, alignment)};
    }
    return item;
}

static nut_status reserve(choices *k, nut_error *err) {
    if (k->n < k->room) return NUT_OK;
    const size_t room = 2 * k->n + 64;
    choice_name *names = mem_grow(k->names, k->n * sizeof *names, room * sizeof *names);
    if (names) k->names = names;
    mix_item *items = names ? mem_grow(k->items, k->n * sizeof *items, room * sizeof *items) : NULL;
    if (!items) return error_memory(err, room * sizeof *items);
    k->items = items;
    k->room = room;
    return NUT_OK;
}

nut_status choices_add(choices *k, const gguf_tensor *t, const format *to, nut_error *err) {
    TRY(reserve(k, err));
    choice_name *name = &k->names[k->n];
    *name = (choice_name){.n = (size_t)t->name.n};
    memcpy(name->s, t->name.s, name->n);
    k->items[k->n++] = choices_options(k, t, k->alignment);
    k->measured_bytes += bytes_as(t, to, k->alignment);
    return NUT_OK;
}

const choice_name *choices_find(const choices *k, const gguf_tensor *t) {
    for (size_t i = 0; i < k->n; i++)
        if (k->names[i].n == t->name.n && !memcmp(k->names[i].s, t->name.s, k->names[i].n))
            return &k->names[i];
    return NULL;
}

/* ---- the saved record: a head, then all names, then all items ---- */

typedef struct head {
    uint64_t n, written, bytes; // matrices; of the file, and of its matrices, while they were measured
} head;

enum { EACH = sizeof(choice_name) + sizeof(mix_item) };

uint32_t choices_types(void) {
    uint32_t number = 0;
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const char *name = format_table[i].name;
        number = 31 * number + xxhash32((const uint8_t *)name, strlen(name)) + is_offered(&format_table[i]);
    }
    return number;
}

nut_status choices_pack(const choices *k, uint8_t **out, size_t *n, nut_error *err) {
    const head h = {k->n, k->written, k->measured_bytes};
    *n = sizeof h + k->n * EACH;
    uint8_t *to = *out = mem_alloc(*n);
    if (!to) return error_memory(err, *n);
    memcpy(to, &h, sizeof h);
    memcpy(to + sizeof h, k->names, k->n * sizeof *k->names);
    memcpy(to + sizeof h + k->n * sizeof *k->names, k->items, k->n * sizeof *k->items);
    return NUT_OK;
}

static bool option_fits(const mix_option *o) {
    return (unsigned)o->type < FORMAT_COUNT && o->loss >= 0;
}

static bool items_fit(const choices *k) {
    bool fit = true;
    for (size_t i = 0; i < k->n; i++) {
        fit = fit && k->names[i].n <= CHOICES_NAME && k->items[i].n && k->items[i].n <= MIX_OPTIONS;
        for (size_t j = 0; fit && j < k->items[i].n; j++) fit = option_fits(&k->items[i].options[j]);
    }
    return fit;
}

nut_status choices_take(choices *k, const uint8_t *record, size_t n, bool *taken, nut_error *err) {
    head h = {0};
    if (n >= sizeof h) memcpy(&h, record, sizeof h);
    *taken = h.n && (n - sizeof h) / EACH == h.n && (n - sizeof h) % EACH == 0;
    if (!*taken) return NUT_OK;
    const size_t n_items = (size_t)h.n;
    k->names = mem_calloc(n_items, sizeof *k->names);
    k->items = mem_calloc(n_items, sizeof *k->items);
    if (!k->names || !k->items) return error_memory(err, n_items * EACH);
    memcpy(k->names, record + sizeof h, n_items * sizeof *k->names);
    memcpy(k->items, record + sizeof h + n_items * sizeof *k->names, n_items * sizeof *k->items);
    k->n = k->room = n_items;
    k->measured_bytes = h.bytes, k->written = h.written;
    return items_fit(k) ? NUT_OK : error_set(err, NUT_E_CORRUPT, "the saved state is damaged; remove it");
}

/* ---- */

void choices_note(const choices *k, char *out, size_t n) {
    size_t at = 0;
    out[0] = 0;
    for (size_t f = 0, n_listed = 0; f < FORMAT_COUNT; f++) {
        size_t n_of = 0;
        for (size_t i = 0; i < k->n; i++)
            n_of += k->items[i].options[k->items[i].chosen].type == (format_id)f;
        if (n_of && at < n)
            at += (size_t)snprintf(out + at, n - at, "%s %zu in %s", n_listed++ ? "," : "; matrices:", n_of,
                                   format_table[f].name);
    }
}

void choices_free(choices *k) {
    mem_free(k->names);
    mem_free(k->items);
}
