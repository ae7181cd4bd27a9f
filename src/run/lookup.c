/* Prompt lookup. */
#include "run/lookup.h"

/* Tokens in front of a and b that are the same. */
static size_t match_length(const int32_t *tokens, size_t a, size_t b) {
    size_t n = 0;
    while (n < LOOKUP_MOST_MATCH && n < a && tokens[a - 1 - n] == tokens[b - 1 - n]) n++;
    return n;
}

/* Where what came last stood before: the place behind it with the longest match, the latest of those.
 * Returns the length of the match. */
static size_t find_match(const int32_t *tokens, size_t n, size_t *at) {
    size_t best = 0;
    for (size_t i = n - 1; i > 0; i--) {
        if (tokens[i - 1] != tokens[n - 1]) continue;
        const size_t length = match_length(tokens, i, n);
        if (length > best) best = length, *at = i;
        if (best == LOOKUP_MOST_MATCH) break;
    }
    return best;
}

static draft_kind kind_of(size_t match) {
    return match >= 12  ? DRAFT_MATCH_12
           : match >= 6 ? DRAFT_MATCH_6
           : match >= 3 ? DRAFT_MATCH_3
                        : DRAFT_MATCH_2;
}

size_t lookup_make(draft *d, const int32_t *tokens, size_t n, int32_t *out, size_t max) {
    size_t at = 0;
    if (n < LOOKUP_MIN_MATCH + 1 || max == 0) return 0;
    const size_t match = find_match(tokens, n, &at);
    if (match < LOOKUP_MIN_MATCH) return 0;
    const size_t length = draft_length(d, kind_of(match), 0, max);
    for (size_t i = 0; i < length; i++) out[i] = at + i < n ? tokens[at + i] : out[at + i - n];
    return length;
}
