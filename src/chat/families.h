/* Chat templates for models whose files bring none. */
#ifndef NUT_CHAT_FAMILIES_H
#define NUT_CHAT_FAMILIES_H

#include "model/vocab.h"

typedef struct family_template {
    const char *name;
    const char *marks[3]; // special tokens that all must be in the vocabulary; NULL: no more
    const char *source;
} family_template;

/* The first family whose marks the vocabulary has; NULL: none. */
const family_template *family_find(const vocab *v);

#endif
