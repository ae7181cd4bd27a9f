/*
 * What runs a model. A *workspace* is threads and the buffers of one step; a *sequence* is tokens, a
 * position and a cache of keys and values; a *generation* samples tokens onto a sequence. A session is a
 * sequence with a generation, in a workspace that several sessions may share.
 *
 * All memory is taken when a workspace or session is made; nothing is allocated while it runs. The room is
 * split by purpose:
 *
 *     workspace.c   memory and threads of a step
 *     pages.c       the cache's memory, shared between sequences and copied on write
 *     sequence.c    tokens and pages of a timeline; fork, save, restore
 *     layers.c      a step through the layers, in reading order
 *     window.c      leaving out what a full context has least use for
 *     keep.c        leaving out positions that the end of a prompt does not attend to
 *     exit.c        leaving the layers early
 *     residuals.c   several residuals
 *     linear.c      products, with all that they carry
 *     block.h       kinds of blocks: mix_*.c (with attend.c, rope.c), ffn_*.c
 *     session.c     the public calls; embed.c: rows and vectors; score.c; generate.c, sampler.c, stream.c:
 * tokens sampled, to whole characters load.c        the pushed loader
 */
#ifndef NUT_RUN_SESSION_H
#define NUT_RUN_SESSION_H

#include "base/threads.h"
#include "model/arch.h"
#include "nutshell_dynamic.h"
#include "run/draft.h"
#include "run/drafter.h"
#include "run/memory.h"
#include "run/pace.h"
#include "run/pages.h"
#include "run/profile.h"
#include "run/sampler.h"
#include "run/stream.h"

static inline size_t run_pad8(size_t n) {
    return (n + 7) & ~(size_t)7;
}

/* ---- workspace (workspace.c) ---- */

/* Quantized inputs of products; the fields are those of kernel_act. */
typedef struct run_int8 {
    uint8_t *q;
    float *d, *d_sum;
    int32_t *sum;
    uint8_t *live;
} run_int8;

/* Sees the input of each linear that runs: x (n_tokens, n_in); `again`: it is the one that the call before
 * saw, for another linear. For calibration. */
typedef void linear_tap(void *ctx, const linear *l, const float *x, size_t n_tokens, bool again);

/* Room for the pointers that a kind of block keeps to its buffers (block.h). */
enum { BLOCK_SCRATCH_BYTES = 128 };
typedef union block_scratch {
    void *align;
    uint8_t bytes[BLOCK_SCRATCH_BYTES];
} block_scratch;

struct nut_workspace {
    const nut_model *model;
    uint32_t n_sessions;
    threads *team;
    pace pace;
    arena memory;
    uint32_t n_batch, n_logits_max;
    const cache_kind *cache_kind;
    page_pool pages;
    // of a step
    struct step_row *rows; // (n_batch)
    int32_t *ids;          // (n_batch)
    uint32_t *kept;        // (n_logits_max) rows whose logits are wanted
    float *residual;       // (n_batch, n_embd)
    float *normed;         // (n_batch, n_embd) input of a block
    float *mixed, *fed;    // (n_batch, n_embd padded to 8) results of mixer and feed-forward
    float *rope;           // (MODEL_ROPES, n_batch, 2, n_rot / 2) cosines and sines of the tokens' positions
    float *logits;         // (n_logits_max, n_vocab padded to 8)
    block_scratch scratch[BLOCK_COUNT];
    float *inputs;    // (n_batch, n_layer * n_inputs padded to 8) what layers take of the tokens themselves
    float *input_row; // (n_layer * n_inputs)
    float *slopes;    // (n_head) of attention (attend.c)
    float *padded;    // (n_batch, attend_padded) its queries and results, where heads are padded for it
    size_t *state_at; // (n_layer, STEP_PLACES) where the states of a layer's blocks begin in a sequence's
    size_t n_state;   // floats of those
    size_t *layer_at; // (n_layer) where a layer's keys and values begin in a page
    /* Of a packed cache: bytes of a tile of all layers in 8 bits, and where a layer's begin (n_layer). */
    size_t recent_bytes, *recent_at;
    // of several residuals (residuals.c)
    float *residuals; // (n_batch, n_residuals, n_embd)
    float *routed;    // (n_batch, n_residuals padded to 8) what a router makes of them
    float *routes;    // (n_batch, n_residuals) the same, without padding
    float *portions;  // (n_batch, n_residuals^2 padded to 8) of each residual in each
    // of products (linear.c)
    run_int8 int8;
    float *rest;              // (n_batch, n_embd) what a first int8 term left out
    float *scaled;            // (n_batch, n_scaled) inputs times a linear's input_scale
    float *side;              // (n_batch * n_side_scratch) what sides make
    uint64_t n_live, n_known; // steps of four columns that products for one token read, of those whose zeros
                              // were looked for
    linear_tap *tap;          // NULL: none
    void *tap_ctx;
    // whose logits are there
    const struct nut_session *logits_of; // NULL: no session's alone
    size_t n_logits;
    // of sampling
    sampler_candidate *candidates; // (n_vocab)
    uint32_t *counts;              // (n_vocab)
    // of a head
    float *text;    // (n_embd) the vector of a text
    float *refined; // (n_embd padded to 8) what the head's first product makes of it
    float *scores;  // (n_labels padded to 8)
    profile profile;
    nut_experts_options experts; // of a model that has any
    nut_experts_figures experts_figures;
};

/* Places of blocks in a layer. */
enum { STEP_MIXER, STEP_BESIDE, STEP_FFN, STEP_AFTER, STEP_PLACES };

typedef struct nut_workspace workspace;

typedef struct workspace_options {
    uint32_t n_threads, n_batch, n_logits;
    nut_kv_type kv_type;
    bool profile, fewer_threads;
} workspace_options;

/* Describes the memory of a workspace, whose options are set. */
void workspace_want(const nut_model *m, workspace *ws, memory_walk *w);
/* Floats of the states of a sequence. */
uint64_t workspace_state_size(const nut_model *m);
/* Bytes of a page: what all layers keep for a tile of positions. */
uint64_t workspace_page_bytes(const nut_model *m, const cache_kind *kind);
/* Options are checked by session.c. The model must outlive it. */
nut_status workspace_new(const nut_model *m, const workspace_options *o, workspace **out, nut_error *err);
void workspace_free(workspace *ws); // NULL is allowed

/* ---- sequence (sequence.c) ---- */

enum { SEQUENCE_MARKS = 2 }; // positions that the state can go back to beside 0

typedef struct sequence {
    workspace *ws;
    uint32_t n_ctx, n_past;
    int32_t *tokens; // (n_ctx) the n_past tokens in the cache
    uint8_t **pages; // (tiles of n_ctx) their first n_pages are the cache's, see pages.h
    uint32_t n_pages;
    uint32_t n_left; // tokens that window_shift left out behind the first tile
    /* Behind nut_session_keep: places whose positions were chosen, so that their tokens are not known, and
     * how many positions went before what is read now. */
    uint32_t n_kept, n_skipped;
    float *partial; // (spans of n_ctx, n_head, kernel_partial_size) of a token that attends alone
    /* What recurrent blocks keep: (1 + SEQUENCE_MARKS, ws->n_state), as it is at n_past and as it was at the
     * positions `mark` (0: there is none); behind them as it was before the step, where one can fail. */
    float *state;
    uint32_t mark[SEQUENCE_MARKS];
    double *rope_freq; // (MODEL_ROPES, n_rot / 2) radians per position
    const cache_kind *cache_kind;
    float *turns;        // (MODEL_ROPES, 2, n_rot / 2, CACHE_TURNS) of centers, where the cache is packed
    int16_t *turn_table; // (MODEL_ROPES, CACHE_TILE, n_rot) the same for products (kernels/cache.h)
    /* Of a packed cache: the last tiles in 8 bits, (n_recent, ws->recent_bytes). Tile i, from recent_from
     * on, is at (i + recent_turn) % n_recent. */
    uint8_t *recent;
    uint32_t n_recent, recent_from, recent_turn;
    struct early_exit *exit;      // NULL: tokens go through all layers (exit.h)
    float adapters[NUT_ADAPTERS]; // what each of the model's counts
} sequence;

/* Tiles in 8 bits that a sequence has: as many as a step of n_batch tokens can touch, and two at least. */
uint32_t sequence_recent_tiles(const cache_kind *kind, uint32_t n_batch);
/* Describes the memory of a sequence of q->n_ctx positions and q->n_recent tiles. */
void sequence_want(const nut_model *m, sequence *q, memory_walk *w);
/* Promises a sequence's pages, and prepares what depends on its length. The memory was taken. */
nut_status sequence_open(workspace *ws, sequence *q, nut_error *err);
void sequence_close(sequence *q);
/* Makes the cache of positions [n_past, n_past + n) the sequence's own, so that it may be written. */
void sequence_claim(sequence *q, size_t n);
/* Before page i, which others may hold, is written, the sequence gets a copy. */
void sequence_own_page(sequence *q, uint32_t i);
/* The last page goes; its place may be taken again. */
void sequence_drop_page(sequence *q);
/* Forgets positions from n_past on, and some before it where a block's state cannot go back to it, or its
 * tile is known in 4 bits alone, or all where they are not those of the tokens any more. */
void sequence_truncate(sequence *q, uint32_t n_past);
/* Before a step that can fail, and after one that did: the state and the pages are as before. */
void sequence_keep_state(sequence *q);
void sequence_undo(sequence *q);
/* After a step of n tokens: what was read at once can be gone back to. */
void sequence_mark(sequence *q, size_t n);
/* Makes q, which is empty, the same as `from`, sharing its full pages. Both have the same workspace, and q's
 * n_ctx holds from's positions. */
void sequence_fork(sequence *q, const sequence *from);
/* The bytes of a sequence, for sequence_restore: see sequence.c. */
size_t sequence_saved_size(const sequence *q);
void sequence_save(const sequence *q, uint8_t *out);
/* Makes q what was saved. The bytes may be hostile. After an error q is as it was. */
nut_status sequence_restore(sequence *q, const uint8_t *bytes, size_t n, nut_error *err);

/* The keys and values of a head of a layer; tiles in 4 bits where the cache is packed. */
cache_head sequence_head(const sequence *q, size_t layer, size_t head);
/* The same, and the tile of a position in 8 bits, where that is there. */
cache_head sequence_head_at(const sequence *q, size_t layer, size_t head, size_t pos);
/* From which tile on tiles in 8 bits can be there behind n positions. */
uint32_t sequence_recent_from(const sequence *q, uint32_t n);

/* ---- a step (layers.c) ---- */

/* A token of a step: its sequence, and its position there. */
typedef struct step_row {
    const sequence *seq;
    uint32_t pos;
} step_row;

/* Tokens on their way through the layers. */
typedef struct forward_step {
    workspace *ws;
    const nut_model *m;
    const kernel_set *k;
    size_t n;             // tokens, at most ws->n_batch
    const step_row *rows; // (n) those of one sequence follow one another, in order
    float *residual;      // (n, n_embd), the workspace's or a caller's
    const model_layer *layer;
    size_t il;      // its index
    unsigned place; // of the block that runs
} forward_step;

/* Begins a step of n rows. */
forward_step step_of(workspace *ws, const step_row *rows, size_t n);

/* All layers but those that are left out (n_layer); models whose layers read others' cannot do without. */
bool forward_without(forward_step *s, const bool *left_out);
/* Keys and values of layers [from, to), all of attention, of the residual as it is, which stays. */
void forward_keep(forward_step *s, uint32_t from, uint32_t to);
/* False where weights that the step came to could not be read: it computed nothing, and m->store->error says
 * why. */
bool step_ran(const forward_step *s);

/* Token embeddings of ids (n) to the residual. */
void forward_embed(const forward_step *s, const int32_t *ids);
/* Layers [from, to): the residual after them replaces that before. Keys and values of the rows are stored.
 * Returns step_ran. */
bool forward_layers(forward_step *s, uint32_t from, uint32_t to);
/* The input of the output product: norms of the residual's rows `kept` (n_kept, rising), which are moved to
 * its front, to ws->normed; s->n becomes n_kept. */
void forward_output_norm(forward_step *s, const uint32_t *kept, size_t n_kept);
/* The rows behind the last layer, (n, n_embd), to ws->normed. */
void forward_hidden(const forward_step *s);
/* Logits (n_kept, n_vocab padded to 8) of the rows `kept` (n_kept, rising) to ws->logits. */
void forward_head(forward_step *s, const uint32_t *kept, size_t n_kept);

typedef void token_fn(const forward_step *s, size_t t);
/* Calls fn for each token, shared among the threads. */
void step_each_token(const forward_step *s, token_fn *fn);
typedef void part_fn(const forward_step *s, size_t part);
/* Calls fn for each of n parts of the work, shared among the threads. */
void step_each_part(const forward_step *s, size_t n, part_fn *fn);
/* The weights of the block that runs, and what it keeps of the past of token t's sequence. */
const void *step_weights(const forward_step *s);
float *step_state(const forward_step *s, size_t t);
/* The end of a part of a step, for profiles. */
void step_done(const forward_step *s, profile_part part);
/* How the heads of token t are rotated in this layer. */
kernel_rope step_rope(const forward_step *s, size_t t);

/* ---- several residuals (residuals.c) ---- */

/* Behind the embedding: the residuals that it becomes. */
void residuals_open(const forward_step *s);
/* Before a layer: predicts what it makes of each residual; s->residual is the one that it works on. */
void residuals_predict(const forward_step *s);
/* After its feed-forward: corrects them by how far s->residual is from what was expected, then s->residual
 * as the third block reads it. */
void residuals_correct(const forward_step *s);
/* Adds what the third block made (n, n_embd padded to 8) to all but the first. */
void residuals_add(const forward_step *s);
/* Behind the last layer: s->residual as the mean of all. */
void residuals_close(const forward_step *s);

/* ---- rotation (rope.c) ---- */

/* Fills freq (n_rot / 2) for hp.rope[which] in a context of n_ctx positions: radians per position of each
 * pair (Su et al. 2021, arXiv 2104.09864), scaled as the model asks. */
void rope_prepare(const nut_model *m, int which, uint32_t n_ctx, double *freq);
/* Cosines and sines of a position, times `magnitude`: table (2, n_pairs). */
void rope_table(const double *freq, size_t n_pairs, uint32_t pos, double magnitude, float *table);

/* ---- a window that moves (window.c) ---- */

/* E_UNSUPPORTED, E_ARGUMENT: see nut_session_can_shift. */
nut_status window_check(const sequence *q, nut_error *err);
/* Leaves n_tiles tiles behind the first one out: what comes after them moves up, its keys rotated back. They
 * must be whole: (1 + n_tiles) * CACHE_TILE <= n_past. */
void window_shift(sequence *q, uint32_t n_tiles);
/* Makes room for one more token. */
void window_make_room(sequence *q);
/* What a prompt of n tokens becomes: to (n_ctx) its tokens without those that are left out, of which the
 * cache holds as many as it can. Returns their number, below n_ctx. */
uint32_t window_fit(sequence *q, const int32_t *ids, size_t n, int32_t *to);

/* ---- a generation (generate.c) ---- */

typedef enum generation_state {
    GENERATION_IDLE,
    GENERATION_PROMPT,
    GENERATION_SAMPLING,
    GENERATION_ENDING
} generation_state;

typedef struct generation {
    generation_state state;
    nut_finish finish;
    int32_t *prompt; // (n_ctx) the whole prompt
    uint32_t n_prompt;
    uint32_t n_sampled;
    uint32_t max_tokens;
    int32_t pending; // sampled, not yet in the cache; -1: none
    bool special;
    bool ignore_eos;
    bool shift;
    int32_t shown[NUT_MAX_SHOWN]; // special tokens that are text
    size_t n_shown;
    uint32_t lookup; // tokens of a draft at most
    draft draft;
    uint32_t row;                    // of the logits behind the last token
    uint32_t n_ahead;                // drafted tokens that the cache holds behind n_past, not judged yet
    uint32_t n_tried, n_right;       // of the draft that is being judged
    double each;                     // what a token of it took, in steps of one
    double log_probability, entropy; // sums over the sampled tokens, where they are asked for
} generation;

typedef struct session_timing {
    uint64_t tokens;
    double seconds;
} session_timing;

/* ---- session (session.c) ---- */

struct nut_session {
    sequence seq;
    arena memory;
    sampler sampler;
    stream stream;
    generation generation;
    drafter *drafter; // NULL: no model drafts
    session_timing prefill, decode;
};

/* Bytes that a session with these options takes, its workspace included, as nut_session_new would take them;
 * UINT64_MAX where they cannot be counted. */
uint64_t session_bytes(const nut_model *m, const nut_session_options *o);

/* The context length that n_ctx stands for: 0 is a default. */
uint32_t session_context(const nut_model *m, uint32_t n_ctx);

/* E_ARGUMENT where one of n ids is no token of the vocabulary. */
nut_status session_check_ids(const nut_model *m, const int32_t *ids, size_t n, nut_error *err);

/* Evaluates n tokens, as nut_session_eval, whether a generation runs or not. */
nut_status session_eval(nut_session *s, const int32_t *ids, size_t n, size_t n_logits, nut_error *err);

/* Appends n tokens, at most a batch, and leaves their rows behind the last layer, (n, n_embd), in
 * ws->normed. */
nut_status session_hidden(sequence *q, const int32_t *ids, size_t n, nut_error *err);

/* Pools what the model makes of a text into `pooled` (n_embd), and the rows into hidden (n, n_embd), unless
 * NULL. Contract of nut_session_embed, but for the length. */
nut_status session_pool(nut_session *s, const int32_t *ids, size_t n, model_pooling how, float *hidden,
                        float *pooled, nut_error *err);

/* E_BUSY while a generation runs. */
nut_status session_check_idle(const nut_session *s, nut_error *err);

/* E_UNSUPPORTED where the model has no logits. */
nut_status session_check_causal(const nut_model *m, nut_error *err);

/* Forgets positions from n_past on; see sequence_truncate. */
nut_status session_rewind(nut_session *s, uint32_t n_past, nut_error *err);

#endif
