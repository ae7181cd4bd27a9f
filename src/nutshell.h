/*
 * nutshell.h: the one boundary of the engine.
 *
 * A *model* is what was loaded and never changes: weights, vocabulary, metadata. A *session* is one mutable
 * timeline over a model: key/value cache, position, random state. Any number of sessions may read one model;
 * one session is used by one thread at a time. Nothing here prints, exits or aborts on bad input.
 *
 * Errors: a function that can fail returns a nut_status and, when `err` is not NULL, fills it with the same
 * code and a message that says what to do. After an error out-parameters are unchanged and objects stay as
 * they were before the call unless the contract says otherwise.
 *
 * Hostile bytes: whatever is fed to a loader, and every text, may come from anywhere. Token ids are
 * range-checked. Work is linear in the bytes of a file or a text, but for n log n where names are put in
 * order, and nothing calls itself as deep as an input says. What a file can make a load hold stands at
 * nut_load_begin.
 *
 * Example (compiled and run as a test, tests/docs-test.mjs):
 *
 *     nut_loader *loader; nut_model *model; nut_session *session; nut_error err;
 *     nut_load_options lo = nut_load_defaults();
 *     if (nut_load_begin(&lo, file_size, &loader, &err) != NUT_OK) return fail(&err);
 *     for (uint64_t at = 0; (n = read_some(buf)) > 0; at += n)
 *         if (nut_load_feed(loader, at, buf, n, &err) != NUT_OK) return fail(&err);
 *     if (nut_load_finish(loader, &model, &err) != NUT_OK) return fail(&err);
 *
 *     nut_session_options so = nut_session_defaults();
 *     if (nut_session_new(model, &so, &session, &err) != NUT_OK) return fail(&err);
 *     nut_tokenize(model, text, strlen(text), NUT_TOKENIZE_ADD_BOS, ids, cap, &n_ids, &err);
 *     nut_generate_options go = nut_generate_defaults();
 *     nut_generate_begin(session, ids, n_ids, &go, &err);
 *     nut_step step;
 *     do {
 *         if (nut_generate_step(session, &step, &err) != NUT_OK) return fail(&err);
 *         fwrite(step.text, 1, step.n_text, stdout);
 *     } while (step.kind != NUT_STEP_DONE);
 */
#ifndef NUTSHELL_H
#define NUTSHELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ---- */

/* One row per kind of failure: enumerator and the stable name that pages see as NutshellError.code. */
#define NUT_STATUS_LIST(X)                                                                                  \
    X(NUT_OK, "ok")                                                                                         \
    X(NUT_E_ARGUMENT, "bad-argument")         /* an option or parameter is out of its range */              \
    X(NUT_E_MEMORY, "out-of-memory")          /* an allocation failed */                                    \
    X(NUT_E_NOT_GGUF, "not-gguf")             /* the bytes are not a GGUF file at all */                    \
    X(NUT_E_TRUNCATED, "truncated-model")     /* the file ends before its own tables say it does */         \
    X(NUT_E_CORRUPT, "corrupt-model")         /* the file contradicts itself */                             \
    X(NUT_E_UNSUPPORTED, "unsupported-model") /* sound, but of a kind not known here */                     \
    X(NUT_E_TOO_LARGE, "model-too-large")     /* weights and cache cannot fit in the memory there is */     \
    X(NUT_E_CONTEXT, "context-full")          /* the prompt does not fit in the context */                  \
    X(NUT_E_BUSY, "busy")                     /* a generation is already running in this session */         \
    X(NUT_E_STATE, "bad-state")               /* the call does not fit what was called before */            \
    X(NUT_E_IO, "io")                         /* a source or sink of the caller's failed */                 \
    X(NUT_E_SESSION, "corrupt-session")       /* the bytes are no saved session of this model */            \
    X(NUT_E_CHAT, "chat-template")            /* the template cannot turn these messages into a text */     \
    X(NUT_E_NO_TEMPLATE, "no-chat-template")  /* the model has no chat template, and none is known for it */

typedef enum nut_status {
#define NUT_X(name, text) name,
    NUT_STATUS_LIST(NUT_X)
#undef NUT_X
        NUT_STATUS_COUNT
} nut_status;

typedef struct nut_error {
    nut_status code;
    char message[400]; // UTF-8, always terminated
} nut_error;

/* The stable name of a status ("out-of-memory"); "unknown" outside the list. */
const char *nut_status_name(nut_status status);

/* Version of the library, "major.minor.patch". */
const char *nut_version(void);

/* ---- memory ---- */

/* Every allocation of the engine goes through one process-wide hook, so that tests can count them and make
 * each fail. alloc returns memory aligned to 16 bytes, not cleared, or NULL. Set it while no engine object
 * exists. NULL restores the C library's allocator. */
typedef struct nut_allocator {
    void *ctx;
    void *(*alloc)(void *ctx, size_t n_bytes);
    void (*free)(void *ctx, void *p);
} nut_allocator;
void nut_set_allocator(const nut_allocator *allocator);

/* ---- keys and values ---- */

/* How a session holds keys and values, with the names that are shown for it. Every kind has a scale per
 * token and head, so that no number overflows. */
#define NUT_KV_LIST(X)                                                                                      \
    X(NUT_KV_F16, "f16")   /* two bytes a number, as exact as half floats; the default */                   \
    X(NUT_KV_Q8_0, "q8_0") /* one byte a number, a scale for 32: longer contexts in the same memory */      \
    X(NUT_KV_Q4_0, "q4_0") /* four bits a number, the last tokens in eight: half of q8_0 */

typedef enum nut_kv_type {
#define NUT_X(name, text) name,
    NUT_KV_LIST(NUT_X)
#undef NUT_X
        NUT_KV_COUNT
} nut_kv_type;

/* The name of a kind ("q8_0"); "unknown" outside the list. */
const char *nut_kv_type_name(nut_kv_type type);

/* ---- loading a model, pushed ---- */

typedef struct nut_model nut_model;
typedef struct nut_loader nut_loader;

typedef struct nut_load_options {
    const char *kernel; // "ref", "simd128", "pairs", "relaxed"; NULL: the fastest that computes rightly here
    const char *races;  // the facts' "races" of the last load here where that was not ""; NULL: none. What
                        // else is in it is passed over. Must stay while the model loads
    bool reference;     // hold all weights, keys and values as F32: 4 to 8 times the memory
    uint64_t memory_limit; // refuse a model whose weights and cache need more bytes; 0: no limit but size_t
    uint32_t n_ctx;        // context length that the memory plan counts with; 0: min(the model's own, 4096)
    nut_kv_type kv_type;   // kind of cache that the memory plan counts with
    bool header_only; // take vocabulary and facts of a first file alone, of any family; makes no sessions
    const char *pre_tokenizer; // a name in place of the file's; NULL: that. Must stay while the model loads
    uint32_t n_threads; // that decode coded tensors, the caller's among them (0: 1, at most 64). The others
                        // end with the last byte of each file; fewer where the system starts fewer
} nut_load_options;
nut_load_options nut_load_defaults(void);

/* What is known once the header has been read, before any weight was fetched. Bytes; of a model in several
 * files, those of the files whose headers have been read. */
typedef struct nut_load_plan {
    bool complete;         // the first header is complete; the other fields are valid
    uint32_t n_splits;     // files of the model, NAME-00001-of-0000N.gguf and so on; 1: it is whole
    uint32_t n_read;       // files whose headers have been read
    uint64_t header_bytes; // offset of the first tensor's data, in the last of them
    uint64_t file_bytes;   // what the tensor tables say that the files must hold
    uint64_t weight_bytes; // weights in memory
    uint64_t cache_bytes;  // KV cache and activations of one session with n_ctx
} nut_load_plan;

/* Starts a load. file_size in bytes, 0 if unknown (then truncation shows only at the
 * file's end).
 *
 * Memory: until the header is complete a load holds at most 20 bytes for each byte fed and 64 KiB more, and
 * of the vocabulary and tables about as much stays. Then the weights are taken at once, plan.weight_bytes.
 * Of a file of known size that is at most 24 times file_size (matrices of a single row are held as eight,
 * codes of one bit as four), 164 times with `reference`, whatever the tables claim. In a file of unknown
 * size nothing vouches for its tables: set memory_limit, which refuses the model before anything is taken.
 */
nut_status nut_load_begin(const nut_load_options *options, uint64_t file_size, nut_loader **out,
                          nut_error *err);

/* Takes the next n bytes of a file; offset must be where the last feed ended (0 first). Bytes are copied
 * or packed before it returns. When a feed completes the header, the model is checked, and refused if it
 * cannot run or cannot fit, before its weights are asked for. After an error only nut_load_abort is allowed.
 */
nut_status nut_load_feed(nut_loader *loader, uint64_t offset, const void *bytes, size_t n, nut_error *err);

/* Goes on with the next file of a model in several (plan.n_splits), in the order of their numbers, after the
 * one before was fed whole. Offsets begin at 0 again; file_size as in nut_load_begin. Its header brings
 * tensors for which memory is taken then; a model that cannot fit is refused as soon as the sizes known, and
 * the least that the rest can take, say so. Of the metadata of further files only what makes them splits of
 * this model counts: their numbers and, where it is there, the architecture. E_STATE where no file is to
 * come (nothing has changed), E_TRUNCATED where the one before is cut off (then only nut_load_abort is
 * allowed). A file that is not the next split is refused with E_ARGUMENT by the feed that completes its
 * header. */
nut_status nut_load_next(nut_loader *loader, uint64_t file_size, nut_error *err);

/* The plan as far as known. */
nut_load_plan nut_load_get_plan(const nut_loader *loader);

/* Ends the load; on success the loader is gone and *out is the caller's. E_TRUNCATED where bytes or files
 * are missing. On error only nut_load_abort is allowed. */
nut_status nut_load_finish(nut_loader *loader, nut_model **out, nut_error *err);

/* Frees a loader that did not finish. NULL is allowed. */
void nut_load_abort(nut_loader *loader);

/* Frees a model that no session uses. NULL is allowed. */
void nut_model_free(nut_model *model);

/* ---- adapters ---- */

enum { NUT_ADAPTERS = 8 }; // of a model at most

/* Puts an adapter of low rank (LoRA, a GGUF file of llama.cpp's form, n bytes, which are copied) beside the
 * weights of a model that has no session yet. What it adds is multiplied by `scale` in all sessions that do
 * not say otherwise. The matrices of attention and of feed-forwards without experts take one. E_ARGUMENT
 * where it was made for another model, or NUT_ADAPTERS are there, E_CORRUPT where it is damaged. */
nut_status nut_model_add_adapter(nut_model *model, const void *bytes, size_t n, float scale, nut_error *err);

/* ---- what was loaded ---- */

/* Writes facts about the model as one JSON object (schema: see src/model/info.c) into out, at most cap bytes
 * with its terminator; *n_out receives the full length without terminator even where cap was too small (then
 * E_ARGUMENT). With tensors, adds one entry per tensor. */
nut_status nut_model_info(const nut_model *model, bool tensors, char *out, size_t cap, size_t *n_out,
                          nut_error *err);

uint32_t nut_model_n_vocab(const nut_model *model);
uint32_t nut_model_n_embd(const nut_model *model);      // numbers of a token's row, and of an embedding
uint32_t nut_model_n_ctx_train(const nut_model *model); // context length that the model was trained with
uint32_t nut_model_n_scores(const nut_model *model);    // of a reranker or classifier; 0: it gives none
const char *nut_model_kernel(const nut_model *model);   // name of the kernels that run it

/* A metadata string by key; NULL when absent or not a string. Not terminated: *n receives its length in
 * bytes. It lives as long as the model. */
const char *nut_model_meta(const nut_model *model, const char *key, size_t *n);

/* Metadata entry i, in the order of the file, for people to read: its key and its value as text, each cut to
 * its room and terminated; of an array the number of its elements. False where there is no entry i. */
bool nut_model_meta_at(const nut_model *model, size_t i, char *key, size_t n_key, char *value,
                       size_t n_value);

/* ---- text and tokens ---- */

enum {
    NUT_TOKENIZE_ADD_BOS = 1, // put the beginning-of-sequence token in front where the model asks for one
    NUT_TOKENIZE_SPECIAL = 2, // recognize special tokens ("<|im_start|>"); off: they are plain text
    NUT_TOKENIZE_ADD_EOS = 4, // put the token behind that ends a text where the model asks for one
};

/* Text (UTF-8, n_text bytes; invalid bytes become what the tokenizer makes of them) to token ids. Writes at
 * most cap ids; *n_out receives the full count even where cap was too small (then E_ARGUMENT; cap 0 asks for
 * the count). */
nut_status nut_tokenize(const nut_model *model, const char *text, size_t n_text, unsigned flags,
                        int32_t *ids, size_t cap, size_t *n_out, nut_error *err);

/* A query and a document as a reranker reads them: by the file's own prompt for that
 * (tokenizer.chat_template.rerank, where {query} and {document} stand for the texts), or else each text with
 * what ends it behind, and what begins a text in front. Neither text can hold special tokens. Same buffer
 * convention as nut_tokenize. E_NO_TEMPLATE: a model that writes texts, too, and whose file has no such
 * prompt. */
nut_status nut_tokenize_pair(const nut_model *model, const char *query, size_t n_query, const char *document,
                             size_t n_document, int32_t *ids, size_t cap, size_t *n_out, nut_error *err);

/* Token ids to text, bytes as the vocabulary has them (a token alone may be a part of a character). Special
 * tokens give their text where `special`, else nothing. Same buffer convention as nut_tokenize; no
 * terminator is written. */
nut_status nut_detokenize(const nut_model *model, const int32_t *ids, size_t n_ids, bool special, char *text,
                          size_t cap, size_t *n_out, nut_error *err);

/* ---- chat ---- */

/* A prompt made of messages. */
typedef struct nut_chat nut_chat;

/* What a prompt takes from a model, so that it can be written where the model is not at hand. The texts are
 * the model's, and live as long. */
typedef struct nut_chat_model {
    const char *name;        // of the source: "model", or the family whose template is built in ("chatml")
    const char *source;      // the chat template, n_source bytes; NULL: there is none, and none is known
    const char *tool_source; // another one of the model's, for prompts with tools; NULL: none
    const char *bos, *eos;   // what begins and ends a sequence; no bytes: nothing does
    size_t n_source, n_tool_source, n_bos, n_eos;
} nut_chat_model;
void nut_chat_model_of(const nut_model *model, nut_chat_model *out);

typedef struct nut_chat_options {
    const char *source; // a chat template instead of the model's, n_source bytes; NULL: the model's
    size_t n_source;
    const char *variables; // of the template, a JSON object of n_variables bytes ({"tools": [...],
    size_t n_variables;    // "enable_thinking": false}); NULL: none
    bool no_prompt;        // leave out what opens the answer
    int64_t now;           // local time in seconds since 1970, for templates that tell the date
    uint32_t leave_out;    // so many of the oldest turns, but never the last one
    uint32_t max_ids;      // nut_chat_render leaves out turns while the prompt has more ids; 0: it has room
} nut_chat_options;

/* Makes a prompt of messages, a JSON array of objects ({"role": "user", "content": "Hi"}; the rest is the
 * template's business), by a chat template: Jinja2, with transformers' settings. A model without one gets
 * that of the family whose special tokens it has; nut_chat_template says which.
 *
 * Special tokens are recognized in what the template wrote, and nowhere else: what messages, tools and
 * variables hold is text, whatever the template does with it, so no message can pretend to be another turn.
 * A message with "trusted": true is an exception.
 *
 * A turn is one or more messages of the user, with all that answers them: calls of tools stay together with
 * their results. Messages of the roles system and developer belong to no turn, and are never left out.
 *
 * E_CHAT: the template raises, is broken, or exceeds a limit; the message says in which line. E_NO_TEMPLATE:
 * there is none. E_ARGUMENT: no JSON. */
nut_status nut_chat_render(const nut_model *model, const char *messages, size_t n_messages,
                           const nut_chat_options *options, nut_chat **out, nut_error *err);
/* The same without the model, and so without ids: nut_chat_tokenize makes them of text and marks. */
nut_status nut_chat_write(const nut_chat_model *model, const char *messages, size_t n_messages,
                          const nut_chat_options *options, nut_chat **out, nut_error *err);
/* The ids of a prompt. marks: of each byte of the text, (n_text), 0 where the template wrote it; NULL: it
 * wrote all. Same buffer convention as nut_tokenize. */
nut_status nut_chat_tokenize(const nut_model *model, const char *text, const uint8_t *marks, size_t n_text,
                             int32_t *ids, size_t cap, size_t *n_out, nut_error *err);

/* The prompt: UTF-8, not terminated; its marks, for nut_chat_tokenize; and its ids, which begin with the
 * beginning-of-sequence token once where the model or the template asks for it. They live as long as the
 * prompt. */
const char *nut_chat_text(const nut_chat *chat, size_t *n);
const uint8_t *nut_chat_marks(const nut_chat *chat);
const int32_t *nut_chat_ids(const nut_chat *chat, size_t *n);
/* The template that was used: "model", "given", the name of another one of the model's ("tool_use"), or of
 * the family whose template is built in ("chatml"). */
const char *nut_chat_template(const nut_chat *chat);
/* How many turns the messages have, and which messages were left out: n indices, ascending. */
uint32_t nut_chat_n_turns(const nut_chat *chat);
const uint32_t *nut_chat_dropped(const nut_chat *chat, size_t *n);
void nut_chat_free(nut_chat *chat); // NULL is allowed

/* How nut_chat_render finds the turns to leave out, for callers of nut_chat_write. Beginning with all zeros:
 * write a prompt with this `leave_out`, tell whether it fits; false: it is the one to take. The fewest turns
 * that help, or a few more, so that the next prompts leave out the same, and the cache holds their front. */
typedef struct nut_chat_trim {
    uint32_t leave_out;
    uint32_t least, most; // that may be the fewest; most 0: nothing is known
    bool last;
} nut_chat_trim;
bool nut_chat_trim_next(nut_chat_trim *trim, uint32_t n_turns, bool fits);

/* ---- sessions ---- */

typedef struct nut_session nut_session;

typedef struct nut_session_options {
    uint32_t n_ctx;      // positions; 0: min(the model's own, 4096)
    uint32_t n_threads;  // threads that share one step, the caller's included; 1 where the build has none
    uint32_t n_batch;    // tokens of a prompt per step; 0: 64
    uint32_t n_logits;   // rows of logits kept by one nut_session_eval; 0: 1
    uint32_t lookup;     // tokens that a generation can draft at a time: as many rows of logits more
    nut_kv_type kv_type; // of the cache; a model held as floats keeps floats for NUT_KV_F16
    bool profile;        // times the parts of each step, for nut_session_profile
    bool fewer_threads;  // steps of one token go to fewer threads where the first show that to be faster
} nut_session_options;
nut_session_options nut_session_defaults(void);

/* All memory that the session will ever use is taken here: plan.cache_bytes, for the options that the plan
 * was asked with. The model must outlive it. */
nut_status nut_session_new(const nut_model *model, const nut_session_options *options, nut_session **out,
                           nut_error *err);
void nut_session_free(nut_session *session); // NULL is allowed

/* Threads and buffers of a step, shared by sessions of one model, which are used by one thread at a time. It
 * lives as long as one of them. */
typedef struct nut_workspace nut_workspace;
nut_workspace *nut_session_workspace(const nut_session *session);

/* Another session in the same workspace: it takes memory for its own positions alone (n_ctx; 0: min(the
 * model's own, 4096)), and has the workspace's other options. Free it as any other. */
nut_status nut_session_add(nut_workspace *workspace, uint32_t n_ctx, nut_session **out, nut_error *err);

/* Another session that goes on from where this one is, in the same workspace: a copy of its positions, whose
 * whole tiles of 64 are shared until one changes them. A running generation stays with the first. */
nut_status nut_session_fork(const nut_session *session, nut_session **out, nut_error *err);

/* Writes the session's tokens, keys and values to out, at most cap bytes; *n_out receives the full length
 * even where cap was too small (then E_ARGUMENT). */
nut_status nut_session_save(const nut_session *session, void *out, size_t cap, size_t *n_out,
                            nut_error *err);
/* Makes a session, which may hold other tokens, what was saved from one of the same model and kind of cache.
 * The bytes may be hostile: E_SESSION where they are not what nut_session_save writes, E_CONTEXT where they
 * do not fit; the session is then as it was. */
nut_status nut_session_restore(nut_session *session, const void *bytes, size_t n, nut_error *err);

/* What each adapter of the model counts in this session from now on: scales (n), in the order in which they
 * were added, all of them; 0: nothing. Where that changes, the session is at position 0 again. Sessions that
 * differ may share steps. E_BUSY while a generation runs. */
nut_status nut_session_set_adapters(nut_session *session, const float *scales, size_t n, nut_error *err);

uint32_t nut_session_n_ctx(const nut_session *session);
uint32_t nut_session_n_past(const nut_session *session);     // positions in the cache
uint32_t nut_session_n_threads(const nut_session *session);  // at work, 1 where more could not be started
uint64_t nut_session_bytes(const nut_session *session);      // memory that it holds
const char *nut_session_kv_type(const nut_session *session); // "f16", "q8_0", or "f32" on the reference path

/* Appends n tokens (1 .. n_ctx - n_past, else E_CONTEXT) and keeps the logits of the last n_logits of them
 * (0 .. options.n_logits and <= n). E_BUSY while a generation runs. */
nut_status nut_session_eval(nut_session *session, const int32_t *ids, size_t n, size_t n_logits,
                            nut_error *err);

/* Row i of the logits that the last eval kept, (n_vocab); row n_logits - 1 is the last token's. NULL
 * outside, and where another session of the workspace was evaluated since. */
const float *nut_session_logits(const nut_session *session, size_t i);

/* What the model makes of n tokens (1 .. n_ctx) as a text, in place of what the session held: hidden (n,
 * n_embd) receives their rows behind the last layer and norm, and pooled (n_embd) the text's embedding, of
 * length 1: the mean of the rows, the first or the last, as the file says, or else the mean. Either may be
 * NULL. A model that reads in both directions, which no other call can run, takes at most n_batch tokens
 * (default 512). E_CORRUPT where a number is not finite. E_BUSY while a generation runs. */
nut_status nut_session_embed(nut_session *session, const int32_t *ids, size_t n, float *hidden,
                             float *pooled, nut_error *err);

/* What a reranker or classifier says of n tokens as a text: scores (nut_model_n_scores), in the order of the
 * file's labels. A reranker's first score is larger the better the document answers the query: any number,
 * or for Qwen3's a probability. What holds for the text of nut_session_embed holds here. E_UNSUPPORTED: the
 * model has no head that gives scores, or lacks a part of it. */
nut_status nut_session_score(nut_session *session, const int32_t *ids, size_t n, float *scores,
                             nut_error *err);

/* A token that is appended to a session in a step with others. */
typedef struct nut_row {
    nut_session *session;
    int32_t id;
    bool logits; // keep the logits behind it
} nut_row;

/* One step of n tokens (1 .. options.n_batch) of any sessions of the workspace, those of one session one
 * after another: several conversations, or drafts, go through the weights together. Each gets the same bits
 * as alone. The logits of at most options.n_logits rows are kept. */
nut_status nut_workspace_eval(nut_workspace *workspace, const nut_row *rows, size_t n, nut_error *err);
/* The logits (n_vocab) of the i-th row that kept them in the last step; NULL outside. */
const float *nut_workspace_logits(const nut_workspace *workspace, size_t i);

/* Forgets all positions from n_past on; more than there are is E_ARGUMENT. Ends a running generation. Tokens
 * before n_past are read again where a block's state cannot go back as far, and up to 63 where the cache is
 * q4_0 and has them in four bits alone, so that results do not depend on the way to a position. */
nut_status nut_session_truncate(nut_session *session, uint32_t n_past, nut_error *err);

/* Where the time of this session went, as JSON: {"prefill":{"tokens":..,"seconds":..},"decode":{..},
 * "drafts":{"drafted":..,"accepted":..}}, drafts of the last generation. Buffers as of nut_model_info. */
nut_status nut_session_timings(const nut_session *session, char *out, size_t cap, size_t *n_out,
                               nut_error *err);

/* A part of all steps so far, and the seconds that went into it, for prompts and for drawn tokens. */
typedef struct nut_profile_part {
    const char *name; // lives as long as the program
    double prefill, decode;
} nut_profile_part;

/* Part i of a session made with `profile`, in the order of a step; false beyond the last. The parts of one
 * kind add up to the seconds of nut_session_timings. */
bool nut_session_profile(const nut_session *session, size_t i, nut_profile_part *part);

/* ---- generation ---- */

/* The options of a generation that are numbers or flags, a row each: C type, field, default, least and most
 * that may be given, name in JavaScript, help for the shell. The default is allowed even where it lies
 * outside of the range (0: "no limit"). All else follows from the rows: the struct, its defaults and checks,
 * the shell's options ("--max-tokens"), the numbers that cross into the WebAssembly modules, and
 * web/shared/tables.js. */
#define NUT_GENERATE_OPTION_LIST(X)                                                                         \
    X(uint32_t, max_tokens, 0, 1, UINT32_MAX, "maxTokens",                                                  \
      "tokens to sample (0: until the context is full)")                                                    \
    X(float, temperature, 0.8, 0, 100, "temperature", "0 takes the likeliest token")                        \
    X(uint32_t, top_k, 40, 0, UINT32_MAX, "topK", "sample from the K likeliest (0: off)")                   \
    X(float, top_p, 0.95, 0, 1, "topP", "sample from the likeliest that make up P (1: off)")                \
    X(float, min_p, 0.05, 0, 1, "minP", "drop what is less likely than P times the best (0: off)")          \
    X(float, typical_p, 1, 0, 1, "typicalP", "locally typical sampling (1: off)")                           \
    X(float, repeat_penalty, 1, 0.01, 100, "repeatPenalty", "above 1 avoids repetition (1: off)")           \
    X(float, presence_penalty, 0, -100, 100, "presencePenalty", "taken once from a repeated token's logit") \
    X(float, frequency_penalty, 0, -100, 100, "frequencyPenalty", "taken for each repetition")              \
    X(uint32_t, repeat_last_n, 64, 0, UINT32_MAX, "repeatLastN", "tokens that the penalties look back on")  \
    X(uint64_t, seed, 0, 0, UINT64_MAX, "seed", "same seed, same text")                                     \
    X(bool, ignore_eos, false, false, true, "ignoreEos", "go on past tokens that end the text")             \
    X(uint32_t, lookup, 7, 0, 15, "lookup",                                                                 \
      "draft up to N tokens from what came before (0: off); the text stays the same")                       \
    X(bool, certainty, false, false, true, "certainty", "tell how sure the model is of what it writes")     \
    X(bool, special, false, false, true, "special",                                                         \
      "show special tokens, and read them in the prompt of run")

enum { NUT_MAX_STOPS = 16, NUT_MAX_STOP_BYTES = 256, NUT_MAX_SHOWN = 32, NUT_SHIFT_KEPT = 64 };

typedef struct nut_generate_options {
#define NUT_X(type, field, standard, least, most, js, help) type field;
    NUT_GENERATE_OPTION_LIST(NUT_X)
#undef NUT_X
    /* n_stop terminated texts that end the generation and are not part of it: at most NUT_MAX_STOPS, each of
     * 1 to NUT_MAX_STOP_BYTES bytes. They are looked for in the text that comes out, and in the same text
     * with the special tokens in it that are not shown. */
    const char *const *stop;
    size_t n_stop;
    /* Special tokens whose text is part of the answer all the same: marks of calls and reasoning, for
     * nut_answer_feed. At most NUT_MAX_SHOWN; more are left out. */
    const int32_t *shown;
    size_t n_shown;
    /* Where the context is full, go on without the older half of it: its first NUT_SHIFT_KEPT positions
     * stay, which attention leans on (Xiao et al. 2023, arXiv 2309.17453), and what comes after the gap
     * moves up without being read again. A prompt that is too long loses what the cache has lost, or as
     * much. See nut_session_can_shift. */
    bool shift;
} nut_generate_options;
nut_generate_options nut_generate_defaults(void);

/* What a step did, with the names that pages see. Text may be empty: inside a character, or where a stop
 * text may have begun; what was held back comes with a later step, the last of it with NUT_STEP_DONE. */
#define NUT_STEP_LIST(X)                                                                                    \
    X(NUT_STEP_PREFILL, "prefill") /* read a batch of the prompt; no text */                                \
    X(NUT_STEP_TOKEN, "token")     /* sampled one token */                                                  \
    X(NUT_STEP_DONE, "done")       /* nothing more */

typedef enum nut_step_kind {
#define NUT_X(name, text) name,
    NUT_STEP_LIST(NUT_X)
#undef NUT_X
        NUT_STEP_COUNT
} nut_step_kind;

/* Why a generation ended, with the names that the shell and pages show. */
#define NUT_FINISH_LIST(X)                                                                                  \
    X(NUT_FINISH_NONE, "none")     /* it has not */                                                         \
    X(NUT_FINISH_EOS, "eos")       /* the model ended the text */                                           \
    X(NUT_FINISH_STOP, "stop")     /* a stop text came */                                                   \
    X(NUT_FINISH_LENGTH, "length") /* max_tokens, or the context is full */

typedef enum nut_finish {
#define NUT_X(name, text) name,
    NUT_FINISH_LIST(NUT_X)
#undef NUT_X
        NUT_FINISH_COUNT
} nut_finish;

typedef struct nut_step {
    nut_step_kind kind;
    nut_finish finish; // with NUT_STEP_DONE
    int32_t token;     // with NUT_STEP_TOKEN, else -1
    const char *text;  // whole UTF-8 characters, n_text bytes, the session's until the next call
    size_t n_text;
    uint32_t n_done;                // prompt tokens read (prefill) or tokens sampled
    uint32_t n_total;               // prompt tokens to read, or max_tokens
    uint64_t n_drafted, n_accepted; // tokens that were drafted so far, and how many of them are in the text
    uint64_t n_drafted_by_model, n_accepted_by_model; // those of them that a model has drafted
    /* With the option certainty, else 0: the mean log-probability of the tokens sampled so far, and the mean
     * entropy where they were, in nats, of what the model predicts: before penalties and temperature. */
    double log_probability, entropy;
} nut_step;

/* Drafts by a model: the likeliest text stays the same, sampled ones keep their distribution, not their seed
 * (Leviathan et al. 2023, arXiv 2211.17192). By a session of another, no larger model with this vocabulary,
 * in a workspace of its own, used by nothing else; or by the own model without n layers. NULL, 0: none. */
nut_status nut_session_draft_by(nut_session *session, nut_session *by, nut_error *err);
nut_status nut_session_draft_without(nut_session *session, const uint32_t *layers, size_t n, nut_error *err);

/* Whether this session's context can shift: E_UNSUPPORTED, and why, where what the model keeps of a text
 * cannot leave a part of it out; E_ARGUMENT where the context is too short. */
nut_status nut_session_can_shift(const nut_session *session, nut_error *err);
/* How many tokens the cache has left out behind its first NUT_SHIFT_KEPT. */
uint32_t nut_session_n_left(const nut_session *session);

/* Starts a generation after a prompt of n tokens (1 .. n_ctx - 1, else E_CONTEXT). Leading ones that the
 * cache holds are not read again. E_BUSY while one is running. Options and stop texts are copied. */
nut_status nut_generate_begin(nut_session *session, const int32_t *ids, size_t n,
                              const nut_generate_options *options, nut_error *err);

/* Does one bounded piece of work: one batch of the prompt, or one token. The caller stops by not calling
 * again. E_CORRUPT where the model computes NaN or infinite logits, from which no token can be sampled. */
nut_status nut_generate_step(nut_session *session, nut_step *step, nut_error *err);

/* Ends a generation before it is done; the cache keeps what was read. Allowed at any time. */
void nut_generate_end(nut_session *session);

/* ---- answers ---- */

/* What a model wrote, taken apart while it comes: content, reasoning, calls of tools. Which marks it uses is
 * known from its chat template; without a template, or with one whose marks are not known, all is content. A
 * call that is not written as its format asks for is content too: nothing is lost. */
typedef struct nut_answer nut_answer;

#define NUT_ANSWER_LIST(X)                                                                                  \
    X(NUT_ANSWER_CONTENT, "content")     /* more text */                                                    \
    X(NUT_ANSWER_REASONING, "reasoning") /* more text */                                                    \
    X(NUT_ANSWER_CALL, "call")           /* a call begins; text: the name of its tool */                    \
    X(NUT_ANSWER_ARGUMENTS, "arguments") /* more of its arguments, a JSON object in the end */              \
    X(NUT_ANSWER_CALL_END, "call-end")   /* it is whole; text: its id, the model's, or one made up */       \
    X(NUT_ANSWER_NO_CALL, "no-call")     /* what had begun is no call; its text follows as content */

typedef enum nut_answer_kind {
#define NUT_X(name, text) name,
    NUT_ANSWER_LIST(NUT_X)
#undef NUT_X
        NUT_ANSWER_COUNT
} nut_answer_kind;

typedef struct nut_answer_event {
    nut_answer_kind kind;
    uint32_t call;    // which call of the answer, from 0
    const char *text; // n bytes, until the function returns
    size_t n;
} nut_answer_event;

typedef struct nut_answer_options {
    const char *chat_template; // n_template bytes, the model's; NULL: none
    size_t n_template;
    const char *format; // NULL: found in the template; else the name of a format, such as "hermes"
    const char *prompt; // n_prompt bytes, or their end: a template may have opened the reasoning
    size_t n_prompt;
    const char *tools; // n_tools bytes of JSON, the tools that the model was told of; NULL: none. Their
    size_t n_tools;    // schemas say which arguments are texts where the format does not
    uint32_t n_calls_before; // in the conversation, so that ids that are made up are new
    void (*event)(void *user, const nut_answer_event *event);
    void *user;
} nut_answer_options;

/* Template, prompt and format are read at once, tools are copied. E_ARGUMENT: no format has this name, or
 * the tools are no JSON. */
nut_status nut_answer_new(const nut_answer_options *options, nut_answer **out, nut_error *err);
/* Takes more of the text, in pieces of any kind, and tells what is decided. E_MEMORY: nothing was taken. */
nut_status nut_answer_feed(nut_answer *answer, const char *text, size_t n, nut_error *err);
/* No more will come: tells the rest. */
void nut_answer_end(nut_answer *answer);
void nut_answer_free(nut_answer *answer);
/* The name of the format of calls; NULL where none is known. */
const char *nut_answer_format(const nut_answer *answer);
/* The texts that the format is marked with, i from 0; NULL behind the last, "" in between. Where they are
 * special tokens, the generation must show them. */
const char *nut_answer_mark(const nut_answer *answer, size_t i);

/* ---- jobs ---- */

/* A *job* makes or evaluates a model. Its caller drives it step by step and does its reading and writing, so
 * that one code serves a shell over files, a worker over a database and a test over memory. Any step may be
 * the last: nut_job_free cancels a job, and the caller drops what was written.
 *
 *     nut_job_event e;
 *     do {
 *         if (nut_job_step(job, &e, &err) != NUT_OK) break;
 *         if (e.kind == NUT_JOB_OPEN) nut_job_open(job, size_of_file(e.split), &err);
 *         if (e.kind == NUT_JOB_WANT) nut_job_feed(job, buf, read_at(e.split, e.offset, buf, e.n), &err);
 *         if (e.kind == NUT_JOB_WRITE) write_at(e.offset, e.bytes, e.n);
 *         if (e.kind == NUT_JOB_PROGRESS) show(e.text);
 *     } while (e.kind != NUT_JOB_DONE);
 *     nut_job_free(job);
 */
typedef struct nut_job nut_job;

typedef enum nut_job_kind {
    NUT_JOB_OPEN,     // the size of a file of the model is needed: nut_job_open
    NUT_JOB_WANT,     // bytes of it are needed: nut_job_feed
    NUT_JOB_WRITE,    // bytes of the output
    NUT_JOB_NOTE,     // a sentence for the user
    NUT_JOB_PROGRESS, // something is done
    NUT_JOB_DONE,     // all is done; told again at each further step
} nut_job_kind;

/* In the place of a split's number, where options say that the caller can do it: a file that the job keeps
 * between runs, so that one that was interrupted goes on (OPEN, whose answer is 0 where there is none; WANT;
 * WRITE); the output, which is to be read again (OPEN, WANT). */
#define NUT_JOB_STATE  0xfffffffeu
#define NUT_JOB_OUTPUT 0xffffffffu

typedef struct nut_job_event {
    nut_job_kind kind;
    uint32_t split; // OPEN, WANT: which of the model's files, from 0; WRITE: NUT_JOB_STATE, else the output
    uint32_t n_splits;    // OPEN: how many the model has; 0 for its first file, before that is known
    uint64_t offset;      // WANT: in its file; WRITE: in the output, never beyond its end so far
    size_t n;             // WANT, WRITE: bytes, at least 1
    const void *bytes;    // WRITE: (n)
    const char *text;     // NOTE, PROGRESS: a sentence. Names in it come from the model: any bytes
    uint64_t done, total; // PROGRESS
} nut_job_event;

/* Does a bounded amount of work and tells one event, whose bytes and text live until the next step. While
 * the answer to OPEN or WANT is missing, it tells that again. After an error only nut_job_free may come. */
nut_status nut_job_step(nut_job *job, nut_job_event *event, nut_error *err);

/* Answers OPEN: the size of that file in bytes. Nothing beyond it will be wanted. */
nut_status nut_job_open(nut_job *job, uint64_t size, nut_error *err);

/* Answers WANT with the next n of the wanted bytes, which are copied. Fewer than wanted are allowed: the
 * next step wants the rest. More are E_ARGUMENT. The bytes may be hostile. */
nut_status nut_job_feed(nut_job *job, const void *bytes, size_t n, nut_error *err);

/* Ends a job, done or not. NULL is allowed. */
void nut_job_free(nut_job *job);

#ifdef __cplusplus
}
#endif
#endif
