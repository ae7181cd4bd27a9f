/*
 * nutshell_dynamic.h: only as much work as a token needs, beside nutshell.h, whose rules and jobs it shares:
 * shortcuts that change what a model says, the search for a draft, and the choice of a model for a machine.
 * No browser module that runs models has it.
 */
#ifndef NUTSHELL_DYNAMIC_H
#define NUTSHELL_DYNAMIC_H

#include "nutshell.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- early exit ---- */

/* When a token leaves the layers (Schuster et al. 2022, "CALM", arXiv 2207.07061, section 3.5; patience:
 * Zhou et al. 2020, arXiv 2006.04152). All but the cosine compute the logits at each exit that is tried. */
#define NUT_EXIT_LIST(X)                                                                                    \
    X(NUT_EXIT_MARGIN, "margin") /* the likeliest token's probability less the second one's: at least */    \
    X(NUT_EXIT_COSINE, "cosine") /* of the state before and behind the last layer that ran: at least */     \
    X(NUT_EXIT_PATIENCE, "patience") /* exits in a row that find the same token likeliest */

typedef enum nut_exit_rule {
#define NUT_X(name, text) name,
    NUT_EXIT_LIST(NUT_X)
#undef NUT_X
        NUT_EXIT_COUNT
} nut_exit_rule;

/* The name of a rule ("margin"); NULL outside the list. */
const char *nut_exit_name(nut_exit_rule rule);

typedef struct nut_exit_options {
    nut_exit_rule rule;
    float threshold; // margin, cosine: at most 1; patience: exits, 1 or more
    uint32_t first;  // layers that every token goes through; 0: half of them
    uint32_t every;  // layers between two exits; 0: an eighth of all, for the cosine 1
    /* margin, cosine: tokens of an answer over which the threshold falls, since errors of early tokens reach
     * more of those behind: 0.9 threshold + 0.1 e^(-decay t / length) of the t-th behind a prompt, from 0 on
     * (CALM, section 3.4, equation 5, where the decay is 4). 0: it stays. */
    uint32_t length;
    float decay; // 0: 4
} nut_exit_options;

/* Of the tokens that could leave early. */
typedef struct nut_exit_figures {
    uint64_t n_tokens, n_early; // how many there were, and left before the last layer
    uint64_t n_layers, n_asked; // layers that they ran, of those that the model has for them
    uint64_t n_heads;           // products with the vocabulary
} nut_exit_figures;

/* Lets tokens that are read one at a time for their logits leave the layers early; the keys and values of
 * the other layers are made of the state with which they left. What is read in batches, a prompt, goes
 * through all layers, and nothing is drafted. The text is another one than the whole model's. options NULL:
 * all layers again. The figures begin anew. E_UNSUPPORTED: the model has layers whose memory of a token
 * cannot be made without running them. */
nut_status nut_session_exit(nut_session *session, const nut_exit_options *options, nut_error *err);
nut_exit_figures nut_session_exit_figures(const nut_session *session); // all 0 where there are no exits

/* ---- fewer positions ---- */

/* Leaves out of what a session has read all but `most` positions (64 or more): the last 32, and in each head
 * those that they attend to most, with their neighbours (Li et al. 2024, "SnapKV", arXiv 2404.14469). What
 * comes then is read faster, and is another text than the model's. Layers that see a window keep its end.
 * The last tokens are read again, which takes about as long as it did, and their logits are there. The
 * memory of what goes is given back to the system where no other session of the workspace holds any; the
 * context keeps its length, and takes it again as it fills. Nothing changes where no more than `most`
 * positions are there.
 *
 * Called between the prompt of a generation and its first token, or without a generation (else E_STATE).
 * From then on the session's positions are not those of a text: it cannot be saved, and going back before
 * them, as another prompt does, reads again from the beginning. E_UNSUPPORTED: the model keeps more of a
 * token than keys and values. An error while the tokens are read again ends the generation. */
nut_status nut_session_keep(nut_session *session, uint32_t most, nut_error *err);

/* ---- fewer experts ---- */

typedef struct nut_experts_options {
    uint32_t most; // experts of a token at most; 0: as many as the model asks for
    float mass;    // of the router's weights of those: the first experts that make it up run; 0 or 1: all
} nut_experts_options;

/* Experts that ran, and that the model asked for, since the options were set. */
typedef struct nut_experts_figures {
    uint64_t n_run, n_asked;
} nut_experts_figures;

/* Lets each token of a model with experts run fewer of them, those of which its router is surest (Huang et
 * al. 2024, "Harder Tasks Need More Experts", arXiv 2403.07652), in all sessions of the workspace. Where the
 * model makes weights add up, those of the experts that run do. The text is another one. options NULL: all
 * experts again. E_UNSUPPORTED: the model has none. */
nut_status nut_workspace_experts(nut_workspace *workspace, const nut_experts_options *options,
                                 nut_error *err);
nut_experts_figures nut_workspace_experts_figures(const nut_workspace *workspace);

/* ---- drafts ---- */

/* A draft of a session that has a model to draft ends before the first token of which that model is less
 * sure: whose likeliest token has a lower probability (Elhoushi et al. 2024, "LayerSkip", arXiv 2404.16710).
 * 0: drafts are as long as pays. The text stays what it is. E_STATE: no model drafts. */
nut_status nut_session_draft_confidence(nut_session *session, float least, nut_error *err);

typedef struct nut_draft_search_options {
    const char *text; // n_text bytes of the kind that will be written; NULL: one that is built in
    size_t n_text;
    uint32_t n_threads; // 0: 1
    uint32_t n_tokens;  // of the text, that are drafted to learn what a draft is worth; 0: 128
} nut_draft_search_options;

/* A draft by the model itself. Shares are of tokens. */
typedef struct nut_draft_found {
    const uint32_t *layers; // (n_layers) without which it drafts, in order; the job's
    size_t n_layers;
    double overlap;   // a drafted token is kept where tokens are sampled at a temperature of 1
    double agreement; // where the likeliest are taken
    double cost;      // of a drafted token, in steps of the whole model
    uint32_t length;  // tokens of a draft with the most tokens per second
    double gain;      // that it promises, of sampled tokens; below 1 it does not pay
} nut_draft_found;

/* A job that looks for the layers without which a model best drafts for itself on this machine (Zhang et al.
 * 2023, "Draft & Verify", arXiv 2309.08168): one after another the layer goes whose loss leaves the most
 * tokens per second, by what the drafts are worth on the text and by what steps and layers take here; the
 * best set on the way is found. It reads and writes no file. E_UNSUPPORTED where the model cannot draft
 * without layers. */
nut_status nut_draft_search_begin(const nut_model *model, const nut_draft_search_options *options,
                                  nut_job **out, nut_error *err);
/* E_STATE: the job is not done. */
nut_status nut_draft_search_get(const nut_job *job, nut_draft_found *out, nut_error *err);

/* ---- how fast a model would be here ---- */

typedef struct nut_predict_options {
    uint32_t n_threads; // 0: 1
    uint32_t n_ctx;     // positions that the session's memory is counted with; 0: min(the model's own, 4096)
    uint32_t n_past;    // position of the token that is timed; 0: min(256, half of the context)
    nut_kv_type kv_type; // of the cache
    double seconds;      // to measure for; 0: 0.4
} nut_predict_options;

typedef struct nut_prediction {
    uint64_t n_params;      // weights of the model
    uint64_t weight_bytes;  // in memory
    uint64_t session_bytes; // cache and buffers
    double seconds;         // that a token takes
    uint32_t n_measured; // layers that were run for that; the others are taken to be as fast for each byte
} nut_prediction;

/* Predicts from its headers alone how fast a model would write on this machine, and what memory it would
 * take: some of its layers, with zeros for weights, and all outside of layers run as they would in a
 * session. They are as many as no cache of a processor holds, so memory is a part of the time.
 *
 * nut_predict_begin starts a load (nut_load_begin) to which only the headers are fed: nut_load_feed until
 * the plan is complete, then nut_load_next for each further file. nut_predict_finish measures, and frees the
 * loader whether it fails or not. Experts are as fast as if all tokens had the same ones, so a model that
 * has many more is slower where memory decides. */
nut_status nut_predict_begin(const nut_load_options *options, uint64_t file_size, nut_loader **out,
                             nut_error *err);
nut_status nut_predict_finish(nut_loader *loader, const nut_predict_options *options, nut_prediction *out,
                              nut_error *err);

#ifdef __cplusplus
}
#endif
#endif
