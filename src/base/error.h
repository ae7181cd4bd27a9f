/* Filling a caller's nut_error. Every failing function ends in `return error_set(err, CODE, "what; what to
 * do", ...)`. */
#ifndef NUT_BASE_ERROR_H
#define NUT_BASE_ERROR_H

#include "nutshell.h"

#if defined(__GNUC__)
#define ERROR_PRINTF __attribute__((format(printf, 3, 4)))
#else
#define ERROR_PRINTF
#endif

/* Writes code and message where err is not NULL; returns code. Bytes of the message that are not printable
 * (names from hostile files) become '?'. */
nut_status error_set(nut_error *err, nut_status code, const char *format, ...) ERROR_PRINTF;

/* Sets NUT_E_MEMORY with the size that could not be had. */
nut_status error_memory(nut_error *err, uint64_t n_bytes);

/* return from a function when a call failed. */
#define TRY(call)                                                                                           \
    do {                                                                                                    \
        nut_status try_status_ = (call);                                                                    \
        if (try_status_ != NUT_OK) return try_status_;                                                      \
    } while (0)

#endif
