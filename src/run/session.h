/*
 * A session: all mutable state of one timeline. Its memory is one arena taken when it is made; nothing is
 * allocated while it runs. The room is split by purpose: forward.c computes a batch, attend.c what one
 * position takes from others, rope.c its rotations, sampler.c draws, stream.c turns tokens into whole
 * characters and watches for stop texts, generate.c drives them, session.c owns them.
 */
#ifndef NUT_RUN_SESSION_H
#define NUT_RUN_SESSION_H

#include "base/rng.h"
#include "base/threads.h"
#include "model/model.h"
#include "run/profile.h"

/* ---- one batch through the layers (forward.c) ---- */

/* An activation that is the input of products: as floats, and quantized where its consumers want that. */
typedef struct run_act {
    float *x;   // (n_batch, n_cols)
    uint8_t *q; // the rest as in kernel_act
    float *d, *d_sum;
    int32_t *sum;
} run_act;

typedef struct run_buffers {
    float *residual;   // (n_batch, n_embd)
    run_act act;       // input of the next product, max(2 * n_embd, n_head * head_dim) wide
    run_act hidden;    // input of w_down, n_ff wide
    float *q;          // (2 * n_batch, n_head * head_dim), see forward.c
    float *k, *v;      // (2 * n_batch, n_head_kv * head_dim)
    float *gate, *up;  // (n_batch, n_ff padded to 8)
    float *out;        // (n_batch, n_embd padded to 8) result of wo and w_down
    float *logits;     // (n_logits, n_vocab padded to 8)
    double *rope_freq; // (n_rot / 2) radians per position
    float *rope;       // (n_batch, n_rot / 2, 2) cosine and sine of each pair
} run_buffers;

/* ---- drawing a token (sampler.c) ---- */

typedef struct sampler_candidate {
    int32_t id;
    float logit;
    float p;
} sampler_candidate;

typedef struct sampler {
    nut_generate_options options; // stop is not used here
    rng random;
    uint32_t n_vocab;
    sampler_candidate *candidates; // (n_vocab)
    uint32_t *counts;              // (n_vocab) occurrences among the recent tokens, for penalties
} sampler;

/* ---- text out (stream.c) ---- */

enum { STREAM_MAX_STOPS = 16, STREAM_MAX_STOP = 256 };

typedef struct stream {
    size_t n_stops;
    char stops[STREAM_MAX_STOPS][STREAM_MAX_STOP];
    size_t stop_lengths[STREAM_MAX_STOPS];
    char *held; // (cap) bytes not yet emitted
    size_t n_held, cap;
    char *text; // (3 * cap) what the last step emitted
    size_t n_text;
} stream;

/* ---- a generation (generate.c) ---- */

typedef enum generation_state {
    GENERATION_IDLE,
    GENERATION_PROMPT,
    GENERATION_DRAWING,
    GENERATION_ENDING
} generation_state;

typedef struct generation {
    generation_state state;
    nut_finish finish;
    int32_t *prompt; // (n_ctx) the whole prompt
    uint32_t n_prompt;
    uint32_t n_drawn;
    uint32_t max_tokens;
    int32_t pending; // drawn, not yet in the cache; -1: none
    bool special;
    bool ignore_eos;
} generation;

typedef struct session_timing {
    uint64_t tokens;
    double seconds;
} session_timing;

struct nut_session {
    const nut_model *model;
    threads *team;
    arena memory;
    uint32_t n_ctx, n_batch, n_logits_max;
    uint32_t n_past;
    size_t n_logits; // rows that the last eval kept
    int32_t *tokens; // (n_ctx) the n_past tokens in the cache
    const cache_kind *cache_kind;
    uint8_t *cache; // (n_layer, n_head_kv, tiles of n_ctx positions), see kernels/cache.h
    float *parts;   // (spans of n_ctx positions, n_head) of the token that attends alone, see attend.c
    run_buffers buf;
    sampler sampler;
    stream stream;
    generation generation;
    session_timing prefill, decode;
    profile profile;
};

static inline size_t run_pad8(size_t n) {
    return (n + 7) & ~(size_t)7;
}

/* E_ARGUMENT where one of n ids is no token of the vocabulary. */
nut_status session_check_ids(const nut_session *s, const int32_t *ids, size_t n, nut_error *err);

/* Runs tokens ids (n <= n_batch) at positions n_past.. through the model, stores their keys and values, and
 * leaves logits of the last n_logits of them. Does not move n_past. */
void forward_batch(nut_session *s, const int32_t *ids, size_t n, size_t n_logits);

/* Fills freq (n_rot / 2): radians per position of each pair (Su et al. 2021, arXiv 2104.09864), with linear
 * scaling and the model's divisors. */
void rope_prepare(const nut_model *m, double *freq);
/* Cosines and sines of n positions from `first` on: (n, 2, n_pairs). */
void rope_table(const double *freq, size_t n_pairs, uint32_t first, size_t n, float *table);
/* How heads of token t of a batch are turned, by that table. */
kernel_rope rope_of(const nut_session *s, size_t t);

/* ---- attention (attend.c) ---- */

/* Puts the keys and values (n_head_kv, head_dim) of token t of a batch into the cache, keys turned on the
 * way. */
void attend_store(const nut_session *s, size_t layer, size_t t, const float *k, const float *v);

/* A batch of n tokens whose keys and values are stored: queries to results, both (n, n_head, head_dim). */
typedef struct attend_batch {
    const nut_session *s;
    size_t layer, n;
    const float *q;
    float *out;
} attend_batch;

/* What member i of n_members does of it; attend_finish, called once after all have, completes it. */
void attend_member(const attend_batch *b, unsigned i, unsigned n_members);
void attend_finish(const attend_batch *b);

/* Checks the options and resets the random state. */
nut_status sampler_reset(sampler *s, const nut_generate_options *options, nut_error *err);
/* Draws one token from logits (n_vocab); recent are the last tokens of the timeline, for penalties. */
int32_t sampler_draw(sampler *s, const float *logits, const int32_t *recent, size_t n_recent);

nut_status stream_reset(stream *st, const nut_generate_options *options, nut_error *err);
/* Takes the bytes of one token; what can be emitted is then in text/n_text. True: a stop text was reached
 * (the text ends before it, and nothing more comes). */
bool stream_push(stream *st, const char *bytes, size_t n);
/* Emits what is held. */
void stream_flush(stream *st);

#endif
