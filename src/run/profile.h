/*
 * Where the time of a session's steps goes: the calling thread reads a clock at the end of each part of a
 * step. The time since the last reading, waiting for threads included, is that part's, so the parts add up
 * to the whole. Off unless the session asks for it: a reading costs as much as a small part.
 */
#ifndef NUT_RUN_PROFILE_H
#define NUT_RUN_PROFILE_H

#include "base/clock.h"
#include "nutshell.h"

/* Parts of a step in their order; X(id, name). */
#define PROFILE_PARTS(X)                                                                                    \
    X(EMBED, "embedding, angles")                                                                           \
    X(ATTN_NORM, "norm, to int8 twice")                                                                     \
    X(QKV, "queries, keys, values")                                                                         \
    X(STORE, "rotation, cache")                                                                             \
    X(ATTEND, "attention")                                                                                  \
    X(WO, "attention's output")                                                                             \
    X(FFN_NORM, "add, norm, to int8")                                                                       \
    X(GATE_UP, "gate, up, SiLU, to int8")                                                                   \
    X(DOWN, "down")                                                                                         \
    X(ADD, "add")                                                                                           \
    X(OUTPUT_NORM, "last norm")                                                                             \
    X(OUTPUT, "vocabulary")                                                                                 \
    X(REST, "drawing, text, all else")

typedef enum profile_part {
#define NUT_X(id, name) PROFILE_##id,
    PROFILE_PARTS(NUT_X)
#undef NUT_X
        PROFILE_COUNT
} profile_part;

typedef struct profile {
    bool on;
    bool decode; // one token alone
    double since;
    double seconds[2][PROFILE_COUNT]; // prefill, decode
} profile;

static inline void profile_begin(profile *p, bool decode) {
    if (p->on) p->decode = decode, p->since = clock_seconds();
}

static inline void profile_end(profile *p, profile_part part) {
    if (!p->on) return;
    const double now = clock_seconds();
    p->seconds[p->decode][part] += now - p->since;
    p->since = now;
}

#endif
