/*
 * What the engine gives to JavaScript in one piece: structs of doubles, field by field in the order of these
 * lists. Addresses are numbers too. wasm/tables.c gives the names to JavaScript, in web/shared/tables.js.
 */
#ifndef NUT_WASM_BOUNDARY_H
#define NUT_WASM_BOUNDARY_H

/* Bytes that a call has made. */
#define NUTW_RESULT_LIST(X)                                                                                 \
    X(address)                                                                                              \
    X(bytes)

/* One step of a generation; fields of nut_step. */
#define NUTW_STEP_LIST(X)                                                                                   \
    X(kind)                                                                                                 \
    X(finish)                                                                                               \
    X(done)                                                                                                 \
    X(drafted)                                                                                              \
    X(accepted)                                                                                             \
    X(draftedByModel)                                                                                       \
    X(acceptedByModel)                                                                                      \
    X(logProbability)                                                                                       \
    X(entropy)                                                                                              \
    X(text)                                                                                                 \
    X(textBytes)

/* A session; shifted: tokens that its context has left out; chat: there is a template to chat with; kvType:
 * the address of a terminated name. */
#define NUTW_SESSION_LIST(X)                                                                                \
    X(contextLength)                                                                                        \
    X(positions)                                                                                            \
    X(threads)                                                                                              \
    X(bytes)                                                                                                \
    X(shifted)                                                                                              \
    X(vocabulary)                                                                                           \
    X(chat)                                                                                                 \
    X(kvType)

/* What a step of a job told; the fields of nut_job_event. Of the module nutshell-compress, as the next. */
#define NUTW_JOB_EVENT_LIST(X)                                                                              \
    X(split)                                                                                                \
    X(splits)                                                                                               \
    X(offset)                                                                                               \
    X(n)                                                                                                    \
    X(bytes)                                                                                                \
    X(text)                                                                                                 \
    X(done)                                                                                                 \
    X(total)

/* What an evaluation found; see nut_evaluation and nut_comparison, which counts where `compared` is 1. */
#define NUTW_EVALUATION_LIST(X)                                                                             \
    X(windows)                                                                                              \
    X(tokens)                                                                                               \
    X(bytes)                                                                                                \
    X(perplexity)                                                                                           \
    X(perplexityError)                                                                                      \
    X(bitsPerByte)                                                                                          \
    X(compared)                                                                                             \
    X(referencePerplexity)                                                                                  \
    X(kl)                                                                                                   \
    X(klError)                                                                                              \
    X(klMedian)                                                                                             \
    X(kl90)                                                                                                 \
    X(kl99)                                                                                                 \
    X(klMax)                                                                                                \
    X(sameTop)                                                                                              \
    X(sameTopLow)                                                                                           \
    X(sameTopHigh)                                                                                          \
    X(flips)                                                                                                \
    X(rmsDeltaP)

/* The fields of nut_chat_model: an address and a number of bytes for each text. */
#define NUTW_CHAT_MODEL_LIST(X)                                                                             \
    X(name)                                                                                                 \
    X(nameBytes)                                                                                            \
    X(source)                                                                                               \
    X(sourceBytes)                                                                                          \
    X(toolSource)                                                                                           \
    X(toolSourceBytes)                                                                                      \
    X(bos)                                                                                                  \
    X(bosBytes)                                                                                             \
    X(eos)                                                                                                  \
    X(eosBytes)

/* A prompt, of the module nutshell-chat: its text and marks, or 0 (nut_chat_marks); `dropped` has 4 bytes a
 * message; `name` is that of the template, terminated. */
#define NUTW_PROMPT_LIST(X)                                                                                 \
    X(text)                                                                                                 \
    X(textBytes)                                                                                            \
    X(marks)                                                                                                \
    X(turns)                                                                                                \
    X(dropped)                                                                                              \
    X(droppedCount)                                                                                         \
    X(name)

/* What a model has read that is larger than its memory: fields of nut_store_figures. Of the modules
 * nutshell-*-more. */
#define NUTW_STORAGE_LIST(X)                                                                                \
    X(bytesRead)                                                                                            \
    X(seconds)                                                                                              \
    X(layers)                                                                                               \
    X(layersKept)                                                                                           \
    X(layerHits)                                                                                            \
    X(layerMisses)                                                                                          \
    X(experts)                                                                                              \
    X(expertsKept)                                                                                          \
    X(expertHits)                                                                                           \
    X(expertMisses)

#define NUTW_FIELD(name) double name;
typedef struct nutw_result {
    NUTW_RESULT_LIST(NUTW_FIELD)
} nutw_result;

typedef struct nutw_step {
    NUTW_STEP_LIST(NUTW_FIELD)
} nutw_step;

typedef struct nutw_session {
    NUTW_SESSION_LIST(NUTW_FIELD)
} nutw_session;

typedef struct nutw_job_event {
    NUTW_JOB_EVENT_LIST(NUTW_FIELD)
} nutw_job_event;

typedef struct nutw_evaluation {
    NUTW_EVALUATION_LIST(NUTW_FIELD)
} nutw_evaluation;

typedef struct nutw_chat_model {
    NUTW_CHAT_MODEL_LIST(NUTW_FIELD)
} nutw_chat_model;

typedef struct nutw_prompt {
    NUTW_PROMPT_LIST(NUTW_FIELD)
} nutw_prompt;

typedef struct nutw_storage {
    NUTW_STORAGE_LIST(NUTW_FIELD)
} nutw_storage;
#undef NUTW_FIELD

#endif
