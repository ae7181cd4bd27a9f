/*
 * What a GGUF file is for. Not every one is a model: adapters, projectors and statistics are GGUF files too,
 * and lack what a model must have, so that errors about that would mislead.
 */
#ifndef NUT_MODEL_ROLE_H
#define NUT_MODEL_ROLE_H

#include "model/gguf.h"

/* E_UNSUPPORTED with what the file is where its complete header is that of no model; E_CORRUPT where it does
 * not say its architecture. */
nut_status role_check(const gguf *header, nut_error *err);

#endif
