/* How sure logits are of the likeliest token. */
#ifndef NUT_RUN_CONFIDENCE_H
#define NUT_RUN_CONFIDENCE_H

#include <stddef.h>
#include <stdint.h>

typedef struct confidence {
    int32_t id;   // the likeliest token, the first of those
    float share;  // its probability
    float margin; // less that of the second one
} confidence;

/* Of logits (n), n > 0. Where a logit is no number nothing is sure: share and margin are 0. */
confidence confidence_of(const float *logits, size_t n);

#endif
