/* How sure logits are of the likeliest token. */
#include "run/confidence.h"

#include "kernels/kernels.h"

#include <math.h>

confidence confidence_of(const float *logits, size_t n) {
    size_t best = 0;
    float second = -INFINITY, sum = 0;
    for (size_t i = 1; i < n; i++) {
        if (logits[i] > logits[best])
            second = logits[best], best = i;
        else if (logits[i] > second)
            second = logits[i];
    }
    for (size_t i = 0; i < n; i++) sum += kernel_exp(logits[i] - logits[best]);
    if (!(sum >= 1)) return (confidence){.id = (int32_t)best};
    return (confidence){(int32_t)best, 1 / sum, (1 - kernel_exp(second - logits[best])) / sum};
}
