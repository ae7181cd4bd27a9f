/* Filling a caller's nut_error. A function that fails ends in `return error_set(err, CODE, "what is wrong;
 * what to do", ...)`. */
#ifndef NUT_BASE_ERROR_H
#define NUT_BASE_ERROR_H

#include "nutshell.h"

#if defined(__GNUC__)
#define ERROR_PRINTF __attribute__((format(printf, 3, 4)))
#else
#define ERROR_PRINTF
#endif

/* Writes code and message unless err is NULL; returns code. Bytes of the message that are not printable
 * ASCII become '?'; a message that is too long is cut. */
nut_status error_set(nut_error *err, nut_status code, const char *format, ...) ERROR_PRINTF;

/* Sets NUT_E_MEMORY with the size of the allocation that failed. */
nut_status error_memory(nut_error *err, uint64_t n_bytes);

/* Returns from the function with the status of a call that failed. */
#define TRY(call)                                                                                           \
    do {                                                                                                    \
        nut_status try_status_ = (call);                                                                    \
        if (try_status_ != NUT_OK) return try_status_;                                                      \
    } while (0)

#endif
