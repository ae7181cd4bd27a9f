/* Makes text safe to print: names come from untrusted files and must not control the terminal. */
#include "cli/cli.h"

#include <stdarg.h>
#include <string.h>

size_t cli_printable(const char *text, size_t n_text) {
    static const unsigned char least[] = {0, 0, 0xa0, 0xa0, 0x90}; // of the second byte, after C2, E0, F0
    const unsigned char *s = (const unsigned char *)text;
    if (*s < 0x80) return *s >= 0x20 && *s < 0x7f;
    const size_t n = *s >= 0xc2 && *s < 0xe0   ? 2
                     : *s >= 0xe0 && *s < 0xf0 ? 3
                     : *s >= 0xf0 && *s < 0xf5 ? 4
                                               : 0;
    if (n > n_text) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (n && (*s == 0xc2 || *s == 0xe0 || *s == 0xf0) && s[1] < least[n]) return 0; // C1 controls, overlong
    return n;
}

void cli_clean(char *text) {
    for (size_t left = strlen(text); left;) {
        const size_t n = cli_printable(text, left);
        if (!n) *text = '?';
        text += n ? n : 1, left -= n ? n : 1;
    }
}

void cli_json_text(FILE *to, const char *s, size_t n) {
    putc('"', to);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            fprintf(to, "\\%c", c);
        else if (c == '\n')
            fprintf(to, "\\n");
        else if (c < 0x20)
            fprintf(to, "\\u%04x", c);
        else
            putc(c, to);
    }
    putc('"', to);
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
