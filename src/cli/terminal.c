/* Makes text safe to print: names come from untrusted files and must not control the terminal. */
#include "cli/cli.h"

#include <stdarg.h>
#include <string.h>

/* Length in bytes of the UTF-8 character at s; 0 if it is invalid or a control character. */
static size_t printable(const unsigned char *s) {
    static const unsigned char least[] = {0, 0, 0xa0, 0xa0, 0x90}; // of the second byte, after C2, E0, F0
    if (*s < 0x80) return *s >= 0x20 && *s < 0x7f;
    const size_t n = *s >= 0xc2 && *s < 0xe0   ? 2
                     : *s >= 0xe0 && *s < 0xf0 ? 3
                     : *s >= 0xf0 && *s < 0xf5 ? 4
                                               : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (n && (*s == 0xc2 || *s == 0xe0 || *s == 0xf0) && s[1] < least[n]) return 0; // C1 controls, overlong
    return n;
}

void cli_clean(char *text) {
    for (char *p = text; *p;) {
        const size_t n = printable((const unsigned char *)p);
        if (!n) *p = '?';
        p += n ? n : 1;
    }
}

nut_status cli_error(nut_error *err, nut_status code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    err->code = code;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    cli_clean(err->message);
    return code;
}
