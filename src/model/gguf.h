/*
 * GGUF v2 and v3: the header of a model file, read from bytes that arrive in any slices, and written back.
 * The header bytes are kept: keys, strings and arrays point into them. All counts, lengths and offsets are
 * checked with overflow-safe arithmetic; reading costs time and memory linear in the header, however it is
 * cut. Format: ggml's docs/gguf.md. Of a model in several files, one gguf holds the first file's
 * metadata and the tensors of all (splits.h).
 */
#ifndef NUT_MODEL_GGUF_H
#define NUT_MODEL_GGUF_H

#include "kernels/formats.h"
#include "base/mem.h"

typedef enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
} gguf_type;

typedef struct gguf_str {
    const char *s; // not terminated
    uint64_t n;
} gguf_str;

typedef struct gguf_kv {
    gguf_str key;
    gguf_type type;
    gguf_type elem;       // element type where type is GGUF_ARRAY (arrays of arrays are refused)
    uint64_t n;           // elements of the array, else 1
    const uint8_t *value; // first byte of the value (of the first element)
    uint64_t n_bytes;     // bytes of all elements
} gguf_kv;

enum { GGUF_MAX_DIMS = 4 };

/* Arrays with an element for each coded tensor of a file, in the order of its table: what a shape does not
 * tell. */
#define GGUF_CODED_BYTES    "nutshell.coded.bytes"    // of its data
#define GGUF_CODED_OUTLIERS "nutshell.coded.outliers" // gguf_tensor.n_outliers

/* Bytes, FORMAT_TABLE for each tensor whose type has a table, in the order of the file's table; without the
 * key, or with no elements, all have format_lut_values. */
#define GGUF_TABLES "nutshell.tables"

typedef struct gguf_tensor {
    gguf_str name;
    uint32_t n_dims;
    uint64_t dims[GGUF_MAX_DIMS]; // dims[0] is the row length; unused ones are 1
    uint32_t ggml_type;
    uint64_t offset;     // in its file, absolute
    uint64_t n_bytes;    // 0 where the type is not in the formats table
    uint64_t n_outliers; // of a coded one: integers that its layout does not hold
    uint32_t split;      // which of the model's files it lies in, from 0
    bool has_table;      // as its type has: what its codes stand for, FORMAT_TABLE_ZERO higher
    uint8_t table[FORMAT_TABLE];
} gguf_tensor;

/* n blocks of a tensor's data as floats; its type is in the formats table, and not a coded one. */
void gguf_floats(const gguf_tensor *t, const uint8_t *src, size_t n, float *dst);

typedef struct gguf {
    uint32_t version;
    uint64_t alignment;
    uint64_t n_kv;
    gguf_kv *kv; // in file order
    uint64_t n_tensors;
    gguf_tensor *tensors; // in file order
    uint64_t data_offset; // first byte of tensor data = bytes of the header, padded
    uint64_t file_bytes;  // end of the last tensor; of all files together where some were appended
    uint8_t *bytes;       // the header's bytes
    size_t n_bytes;
    arena names;                // of appended tensors
    struct gguf_reader *reader; // while reading
} gguf;

/* Starts reading; file_size 0 if unknown. Free with gguf_free whatever happens. */
nut_status gguf_begin(gguf *g, uint64_t file_size, nut_error *err);
/* Takes the next bytes; *n_used receives how many belonged to the header (with its padding). *complete: the
 * header is complete and checked, and the rest are tensor data. After an error only gguf_free is allowed. */
nut_status gguf_feed(gguf *g, const uint8_t *bytes, size_t n, size_t *n_used, bool *complete,
                     nut_error *err);
/* Says what is wrong with a file that ended before its header was complete: E_TRUNCATED, or E_NOT_GGUF. */
nut_status gguf_end(const gguf *g, nut_error *err);
void gguf_free(gguf *g);

/* Adds the tensors of another file of the same model as those of file `split`; nothing else of it is needed
 * afterwards. Both headers are complete. The rows of g->tensors may move. Names that are in g already show
 * in gguf_check_names only, so that many files cost no more than one. */
nut_status gguf_append(gguf *g, const gguf *from, uint32_t split, nut_error *err);
/* E_CORRUPT where two tensors, or two pairs, have the same name. */
nut_status gguf_check_names(const gguf *g, nut_error *err);

/* The pair called key, or NULL. */
const gguf_kv *gguf_find(const gguf *g, const char *key);
/* Scalars with conversion between integer widths; `missing` where the key is absent; E_CORRUPT where the
 * type does not fit or the value is out of range. */
nut_status gguf_get_u32(const gguf *g, const char *key, uint32_t missing, uint32_t *out, nut_error *err);
nut_status gguf_get_f32(const gguf *g, const char *key, float missing, float *out, nut_error *err);
nut_status gguf_get_bool(const gguf *g, const char *key, bool missing, bool *out, nut_error *err);
nut_status gguf_get_str(const gguf *g, const char *key, const char *missing, gguf_str *out, nut_error *err);
bool gguf_str_is(gguf_str s, const char *text);
/* Element i of an array of integers or booleans, or the value of a single one whatever i is; false where
 * there is none. */
bool gguf_integer_at(const gguf_kv *kv, uint64_t i, int64_t *out);
/* The same of 32-bit floats; false for a number that is not finite too. kv NULL: there is none. */
bool gguf_float_at(const gguf_kv *kv, uint64_t i, float *out);

/* Walks the strings of an array value: pass the pair's value pointer first, then what it returned. */
const uint8_t *gguf_next_string(const gguf *g, const uint8_t *at, gguf_str *out);

const char *gguf_type_name(gguf_type type);
/* Bytes of one value of a type; 0 for strings and arrays. */
size_t gguf_type_bytes(gguf_type type);

#endif
