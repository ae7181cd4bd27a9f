/*
 * Parts of layers that can go, or change places: channels of feed-forwards, heads of attention. A kind of
 * part is a row of data: the matrix that reads the parts, and the letters of sizes (arch_size, model/arch.h)
 * that have as many elements for each part. So the tables of tensors tell what a part is made of, in all
 * families.
 */
#ifndef NUT_COMPRESS_PARTS_H
#define NUT_COMPRESS_PARTS_H

#include "model/bind.h"
#include "model/gguf_write.h"

typedef struct part_kind {
    const char *name;    // of parts
    const char *behind;  // the matrix that reads them
    const char *letters; // sizes that have elements of parts; the first says how many parts there are
    bool drifts;         // the matrix can make up for what layers before have lost (evaluate/drift.h)
    bool packs;          // parts go by 32, where quantized rows are made of them
} part_kind;

extern const part_kind parts_channels_kind;

/* The parts of a layer, and those that stay, or the order of all. */
typedef struct parts {
    const part_kind *kind;
    uint32_t n, n_keep;
    uint32_t *kept; // (n_keep)
} parts;

/* The kind of a layer's parts. Heads that share keys and values are one part with these; where all do, each
 * is one. *out NULL: the layer has no heads. E_UNSUPPORTED where they are not known, or depend on each
 * other.
 */
nut_status parts_channels(const nut_model *m, uint32_t il, const part_kind **out, nut_error *err);
nut_status parts_heads(const nut_model *m, uint32_t il, const part_kind **out, nut_error *err);

/* How many a layer has. */
uint32_t parts_count(const nut_model *m, uint32_t il, const part_kind *k);
/* Whether a tensor has elements of parts in its rows, or is a vector of them; or has them in its columns. */
bool parts_in_rows(const tensor_spec *spec, const part_kind *k);
bool parts_in_columns(const tensor_spec *spec, const part_kind *k);
/* Elements that a letter stands for, of the parts that stay. */
size_t parts_size_left(const nut_model *m, uint32_t il, const parts *p, char letter);
/* Numbers of the elements that stay of a tensor's dimension that has parts, in the order of p->kept; returns
 * how many. out NULL: they are counted only. */
size_t parts_list(const nut_model *m, uint32_t il, const parts *p, const tensor_spec *spec, uint32_t *out);
/* Weights of one part, in all tensors of the layer. */
double parts_weights(const nut_model *m, uint32_t il, const part_kind *k);
/* Sets the keys that say how long heads are, where the file has none: it is then a part of the embeddings',
 * as many as there are heads. */
nut_status parts_set_lengths(const nut_model *m, gguf_meta *meta, nut_error *err);

#endif
