/* Error messages: formatted into the caller's struct, and made safe to print, since they may hold names from
 * hostile files. Also the names of the boundary's enumerators, and the version. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

const char *nut_status_name(nut_status status) {
    static const char *const names[] = {
#define NUT_X(name, text) text,
        NUT_STATUS_LIST(NUT_X)
#undef NUT_X
    };
    return (unsigned)status < NUT_STATUS_COUNT ? names[status] : "unknown";
}

const char *nut_kv_type_name(nut_kv_type type) {
    static const char *const names[] = {
#define NUT_X(name, text) text,
        NUT_KV_LIST(NUT_X)
#undef NUT_X
    };
    return (unsigned)type < NUT_KV_COUNT ? names[type] : "unknown";
}

const char *nut_version(void) {
    return "0.1.0";
}

nut_status error_set(nut_error *err, nut_status code, const char *format, ...) {
    if (!err) return code;
    err->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    for (char *p = err->message; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f) *p = '?';
    return code;
}

nut_status error_memory(nut_error *err, uint64_t n_bytes) {
    return error_set(
        err, NUT_E_MEMORY,
        "out of memory (asked for %llu bytes); use a smaller model or a shorter context, or free memory",
        (unsigned long long)n_bytes);
}
