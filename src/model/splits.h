/*
 * Models in several files, as llama.cpp's gguf-split makes them: NAME-00001-of-00003.gguf and so on. Each is
 * a GGUF file with tensors of its own and three keys: split.no (from 0), split.count, and
 * split.tensors.count, of all together. The first has all metadata, and need not have tensors. What else the
 * others' metadata says is passed over, but for an architecture that is not the first one's.
 */
#ifndef NUT_MODEL_SPLITS_H
#define NUT_MODEL_SPLITS_H

#include "model/gguf.h"

typedef struct splits {
    uint32_t n;         // files of the model, 1 where it is whole; 0 before the first header
    uint32_t i;         // the file that is read, from 0; the caller counts
    uint64_t n_tensors; // of all files, by the first one's word
} splits;

/* Takes the complete header of file p->i: the first becomes *whole, the others' tensors are appended to it.
 * *file is empty afterwards, and the caller's on an error. E_ARGUMENT for a file that is not the one that
 * comes next; E_CORRUPT for counts that contradict each other and, with the last file, for tensors that are
 * there twice. */
nut_status splits_take(splits *p, gguf *whole, gguf *file, nut_error *err);

/* Tensors that the files to come must bring. */
uint64_t splits_to_come(const splits *p, const gguf *whole);

/* E_TRUNCATED where the files 0 .. p->i are not all. */
nut_status splits_end(const splits *p, nut_error *err);

/* Says in a message about a file's bytes which file it is; passes the status on. */
nut_status splits_blame(const splits *p, nut_status status, nut_error *err);

/* Takes the three keys out of a header: what is written with it is one file. */
void splits_forget(gguf *whole);

#endif
