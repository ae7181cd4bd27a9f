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

/* One step of a generation; the fields of nut_step. */
#define NUTW_STEP_LIST(X)                                                                                   \
    X(kind)                                                                                                 \
    X(finish)                                                                                               \
    X(token)                                                                                                \
    X(done)                                                                                                 \
    X(total)                                                                                                \
    X(text)                                                                                                 \
    X(textBytes)

/* A session; kvType: the address of a terminated name. */
#define NUTW_SESSION_LIST(X)                                                                                \
    X(contextLength)                                                                                        \
    X(positions)                                                                                            \
    X(threads)                                                                                              \
    X(bytes)                                                                                                \
    X(vocabulary)                                                                                           \
    X(kvType)

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
#undef NUTW_FIELD

#endif
