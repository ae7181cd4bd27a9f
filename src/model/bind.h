/* Binding: which tensor of a file goes where in the model. A plan first (names, shapes, sizes), then places;
 * file by file where the model has several, so what is still missing is counted. Either the whole model is
 * bound, or, where it does not fit in memory, the model without its layers and then one layer at a time. */
#ifndef NUT_MODEL_BIND_H
#define NUT_MODEL_BIND_H

#include "model/arch.h"
#include "model/coded.h"

enum { BIND_PARTS = RANS_PARTS }; // matrices that one tensor may be made of, beside a stack

/* A tensor "NAME.lora_a" or "NAME.lora_b" is a part of the side of the linear whose matrix is NAME
 * (model/linear.h). Attention and the feed-forwards that are no experts take such. */
typedef enum bind_side { BIND_WHOLE, BIND_SIDE_A, BIND_SIDE_B } bind_side;

/* One tensor of a file and its place; in the order of the file's data. */
typedef struct binding {
    const gguf_tensor *source;
    const tensor_spec *spec; // NULL: not bound
    uint32_t layer;          // where it is in one
    char *base;              // the struct that the offsets of spec are of
    bind_side side;          // what it is of the matrix that spec describes
    const format *from;      // type in the file
    const format *as;        // type in memory: `from`, or F32
    matrix *w[BIND_PARTS];   // matrices that take the rows, one after the other, each a stack of dims[2];
                             // NULL for a vector
    float *floats;           // of a vector
    bool apart;              // a stack of experts whose matrices have no memory yet
    coded_target coded;      // of a coded tensor
} binding;

/* Which tensors are bound. */
enum { BIND_ALL = -1, BIND_MODEL = -2 }; // else the number of a layer

/* What the architecture needs and no file has brought yet. */
typedef struct bind_rest {
    uint64_t n_tensors;
    uint64_t bytes; // that their weights take at least, in the smallest of all formats
} bind_rest;

/* Takes the memory of m's layers (hp.n_layer; hp, arch and blocks of m are set) and reads their
 * hyperparameters. n_tensors: of the whole model, which bounds what a header may claim. */
nut_status bind_layers(nut_model *m, uint64_t n_tensors, nut_error *err);

/* All that a model needs. */
bind_rest bind_needs(const nut_model *m);
/* Matches those of a file's n tensors that are to be bound with what the architecture needs, adds them to
 * the plan of an arena and takes them from *rest (NULL: not counted). bindings is (n), the caller's.
 * E_UNSUPPORTED names an unknown tensor or type, E_CORRUPT one of a wrong shape, or that an earlier file
 * brought. */
nut_status bind_plan(nut_model *m, int which, arena *memory, const gguf_tensor *tensors, size_t n,
                     binding *bindings, bind_rest *rest, nut_error *err);
/* Adds what b's tensor takes to the plan of an arena, as bind_plan did. */
void bind_measure(const nut_model *m, arena *memory, const binding *b);
/* E_CORRUPT where more is missing than n_to_come tensors can bring; names a tensor where none is to come. */
nut_status bind_check(const nut_model *m, const bind_rest *rest, uint64_t n_to_come, nut_error *err);
/* Takes the arena's memory, which is open, and writes it into the model. */
void bind_place(const nut_model *m, arena *memory, binding *bindings, size_t n);
/* Unbinds what `which` means. Its memory is the caller's. */
void bind_forget(nut_model *m, int which);
/* What a family's tensor of that name is, and where in m it goes; NULL where it has no such tensor. */
const tensor_spec *bind_find(const nut_model *m, gguf_str name, void **to);
/* The linear whose matrix a tensor of that name is, where it takes sides; else NULL. */
linear *bind_linear(const nut_model *m, gguf_str name);
/* Ties the output to the embeddings where no file brought one. */
void bind_finish(nut_model *m);

/* ---- data ---- */

/* The bytes of tensors on their way to their places: at most one unfinished block is kept between calls, of
 * a coded tensor its head and an unfinished chunk. Starts as {0}. */
typedef struct bind_fill {
    size_t n_kept;
    uint8_t kept[FORMAT_MAX_BYTES];
    coded_feed coded;
} bind_fill;

/* Takes n bytes of the data of b's tensor from byte `at` of it on; they come in order. E_CORRUPT where the
 * tensor is damaged: a vector has a number that is not finite, a matrix a scale that is not one or out of
 * range, a coded tensor what cannot be. */
nut_status bind_data(bind_fill *f, const binding *b, uint64_t at, const uint8_t *src, size_t n,
                     nut_error *err);
void bind_fill_free(bind_fill *f); // what it holds

#endif
