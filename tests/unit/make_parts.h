/* Splits a model of make_gguf.h into several files as llama.cpp's gguf-split does: all metadata in the
 * first, tensors in their order, and the keys split.no, split.count and split.tensors.count in each.
 *
 *     make_parts s = make_split(&g, 3, true);   // three files, the first without tensors; g stays
 *     make_find(&s.g[1], "blk.0.attn_q.weight")->dims[1]++;   // optional: break something
 *     make_part_files(&s);
 *     status = make_load_parts(&s, NULL, NULL, &model, &err);
 *     make_parts_free(&s);
 */
#ifndef NUT_TESTS_MAKE_PARTS_H
#define NUT_TESTS_MAKE_PARTS_H

#include "make_gguf.h"
#include "model/gguf.h"

enum { MAKE_MAX_PARTS = 8 };

typedef struct make_parts {
    size_t n;
    make_gguf g[MAKE_MAX_PARTS];
    uint8_t *file[MAKE_MAX_PARTS]; // by make_part_files
    size_t n_bytes[MAKE_MAX_PARTS];
} make_parts;

/* The file of a model taken apart; one without tensors where it is none. */
static inline make_gguf make_parse(const uint8_t *file, size_t n) {
    make_gguf g = {.version = 3, .alignment = 32};
    gguf h;
    size_t n_used;
    bool complete = false;
    if (gguf_begin(&h, n, NULL) == NUT_OK && gguf_feed(&h, file, n, &n_used, &complete, NULL) == NUT_OK &&
        complete) {
        const gguf_kv *last = &h.kv[h.n_kv - 1];
        g.n_kv = h.n_kv;
        make_put(&g.kv, file + 24, (size_t)(last->value + last->n_bytes - h.bytes) - 24);
        g.tensors = calloc(MAKE_MAX_TENSORS, sizeof *g.tensors);
        if (!g.tensors || h.n_tensors > MAKE_MAX_TENSORS) exit(2);
        for (; g.n_tensors < h.n_tensors; g.n_tensors++) {
            const gguf_tensor *from = &h.tensors[g.n_tensors];
            make_tensor *to = &g.tensors[g.n_tensors];
            *to = (make_tensor){.type = from->ggml_type, .n_dims = from->n_dims, .offset = MAKE_AUTO};
            memcpy(to->name, from->name.s, (size_t)from->name.n);
            memcpy(to->dims, from->dims, sizeof to->dims);
            make_put(&to->data, file + from->offset, (size_t)from->n_bytes);
        }
    }
    gguf_free(&h);
    return g;
}

/* The three keys, as gguf-split writes them: u16, u16, i32. */
static inline void make_split_keys(make_gguf *g, size_t i, size_t n, uint64_t n_tensors) {
    make_int(g, "split.no", MAKE_U16, i, 2);
    make_int(g, "split.count", MAKE_U16, n, 2);
    make_int(g, "split.tensors.count", MAKE_I32, n_tensors, 4);
}

/* A copy of tensors [begin, end) of g, without metadata. */
static inline make_gguf make_piece(const make_gguf *g, size_t begin, size_t end) {
    make_gguf part = {.version = 3, .alignment = 32};
    part.tensors = calloc(MAKE_MAX_TENSORS, sizeof *part.tensors);
    if (!part.tensors) exit(2);
    for (size_t i = begin; i < end; i++) {
        make_tensor *t = &part.tensors[part.n_tensors++];
        *t = g->tensors[i];
        t->offset = MAKE_AUTO;
        t->data = (make_bytes){0};
        make_put(&t->data, g->tensors[i].data.p, g->tensors[i].data.n);
    }
    return part;
}

/* n files with about equally many tensors. */
static inline make_parts make_split(const make_gguf *g, size_t n, bool empty_first) {
    make_parts s = {.n = n};
    const size_t skip = empty_first && n > 1;
    for (size_t i = 0; i < n; i++) {
        const size_t begin = i < skip ? 0 : g->n_tensors * (i - skip) / (n - skip);
        const size_t end = i < skip ? 0 : g->n_tensors * (i - skip + 1) / (n - skip);
        s.g[i] = make_piece(g, begin, end);
        if (i == 0) s.g[i].n_kv = g->n_kv, make_put(&s.g[i].kv, g->kv.p, g->kv.n);
        make_split_keys(&s.g[i], i, n, g->n_tensors);
    }
    return s;
}

/* Writes all files anew. */
static inline void make_part_files(make_parts *s) {
    for (size_t i = 0; i < s->n; i++) {
        free(s->file[i]);
        s->file[i] = make_file(&s->g[i], &s->n_bytes[i]);
    }
}

static inline void make_parts_free(make_parts *s) {
    for (size_t i = 0; i < MAKE_MAX_PARTS; i++) {
        make_free(&s->g[i]);
        free(s->file[i]);
    }
    *s = (make_parts){0};
}

/* Feeds a file in steps of random sizes; random NULL: all at once. */
static inline nut_status make_feed(nut_loader *l, const uint8_t *file, size_t n, rng *random,
                                   nut_error *err) {
    for (size_t at = 0, some; at < n; at += some) {
        some = random ? (size_t)(rng_f64(random) * (double)((size_t)1 << (rng_u64(random) % 16))) : n;
        if (some > n - at) some = n - at;
        nut_status status = nut_load_feed(l, at, file + at, some, err);
        if (status != NUT_OK) return status;
    }
    return NUT_OK;
}

/* Loads all files in order; their sizes are known if random is NULL. */
static inline nut_status make_load_parts(const make_parts *s, const nut_load_options *options, rng *random,
                                         nut_model **out, nut_error *err) {
    const nut_load_options defaults = nut_load_defaults();
    nut_loader *l = NULL;
    nut_status status = nut_load_begin(options ? options : &defaults, random ? 0 : s->n_bytes[0], &l, err);
    for (size_t i = 0; status == NUT_OK && i < s->n; i++) {
        if (i) status = nut_load_next(l, random ? 0 : s->n_bytes[i], err);
        if (status == NUT_OK) status = make_feed(l, s->file[i], s->n_bytes[i], random, err);
    }
    if (status == NUT_OK) status = nut_load_finish(l, out, err);
    if (status != NUT_OK) nut_load_abort(l);
    return status;
}

#endif
