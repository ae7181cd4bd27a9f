/* Tensor types of GGUF files that are written by a search for their scales. */
#ifndef NUT_COMPRESS_TYPES_H
#define NUT_COMPRESS_TYPES_H

#include "compress/fit.h"
#include "compress/fit_book.h"
#include "kernels/formats.h"
#include "model/gguf.h"

typedef struct type_row {
    format_id id;
    format_id shorter; // what rows get that are not whole blocks, as llama-quantize chooses it, and what
                       // embeddings get in place of a sparse type
    fit_kind kind;
    struct type_plane {
        uint8_t at, bits, width; // see types.c
    } low, high;
    uint8_t d, dmin;                                   // where half floats stand
    void (*put)(const fit_block *fit, uint8_t *block); // scales and minimums; NULL: half floats alone
    const book_kind *book; // NULL: none. Of a type with a code book the above is all 0, but for the ids
    void (*put_book)(const book_block *fit, uint8_t *block); // all of it
} type_row;

/* The types with code books (types_book.c). */
enum { TYPE_BOOKS = 7 };
extern const type_row type_books[TYPE_BOOKS];

/* The row of a type; NULL where it is not written so, as rounding to nearest has a way of its own. */
const type_row *type_find(format_id id);
/* The row of any type, for a search in place of rounding to nearest; NULL: it has none. */
const type_row *type_any(format_id id);
/* The row of any type whose weights are scales times codes; NULL: it is none. */
const type_row *type_with_codes(format_id id);

/* The type of a tensor in a file that is written as `to`: rows that are no whole blocks get a shorter one,
 * and embeddings and outputs are not made sparse. */
const format *type_for(const format *to, const gguf_tensor *t);

/* Writes n blocks of x, finite. weight (a block's columns, n blocks) says how much each error counts; NULL:
 * all the same. */
void type_encode(const type_row *t, const float *x, const float *weight, size_t n, uint8_t *blocks);
/* Writes what was found as one block. */
void type_put(const type_row *t, const fit_block *fit, uint8_t *block);

#endif
