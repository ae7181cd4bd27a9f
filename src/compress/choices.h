/*
 * What each matrix of a model may become, and what that costs: the items of the knapsack (mix.h) with the
 * names of their tensors, in the order of the file. They can be kept as a record between runs.
 */
#ifndef NUT_COMPRESS_CHOICES_H
#define NUT_COMPRESS_CHOICES_H

#include "compress/mix.h"
#include "model/gguf.h"

enum { CHOICES_NAME = 64 }; // bytes of a tensor's name: gguf.c

typedef struct choice_name {
    char s[CHOICES_NAME];
    size_t n;
    uint8_t table[FORMAT_TABLE]; // where a type has one
} choice_name;

typedef struct choices {
    choice_name *names; // (n)
    mix_item *items;    // (n)
    size_t n, room;
    bool own;                // types that this engine alone reads are among them
    const gguf *model;       // its header, while its tensors are read
    uint64_t alignment;      // of tensors, in bytes
    uint64_t measured_bytes; // of the matrices, in the types that were written while they were measured
    uint64_t written;        // of the file then
} choices;

/* Types that a matrix can have, without their losses: smaller ones, and its own where that is no float's,
 * which nothing scales. */
mix_item choices_options(const choices *k, const gguf_tensor *t, uint64_t alignment);

/* One more matrix, which is written as `to` while its types are measured. E_MEMORY. */
nut_status choices_add(choices *k, const gguf_tensor *t, const format *to, nut_error *err);

/* The name of a matrix; NULL: it is none of them. Its item has the same place. */
const choice_name *choices_find(const choices *k, const gguf_tensor *t);

/* A number of the types that there are, in their order: records of other ones mean nothing. */
uint32_t choices_types(void);
/* All of it as bytes, which become the caller's; for the build that wrote them. E_MEMORY. */
nut_status choices_pack(const choices *k, uint8_t **out, size_t *n, nut_error *err);
/* What was packed; *taken is false where another build has done it. E_MEMORY, E_CORRUPT. */
nut_status choices_take(choices *k, const uint8_t *record, size_t n, bool *taken, nut_error *err);

/* "; matrices: 180 in IQ4_NL, 31 in Q5_0" to out. */
void choices_note(const choices *k, char *out, size_t n);

void choices_free(choices *k);

#endif
