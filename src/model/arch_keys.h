/* Which hyperparameters a family may have in a file. */
#ifndef NUT_MODEL_ARCH_KEYS_H
#define NUT_MODEL_ARCH_KEYS_H

#include "model/arch.h"

/* Refuses, by name, a key "<family>.<suffix>" that nothing of the family reads, unless it is known to change
 * nothing, or its value is 0 or false. g is a complete header. */
nut_status arch_check_keys(const gguf *g, const arch *a, nut_error *err);

#endif
