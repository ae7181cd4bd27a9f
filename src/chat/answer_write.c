/* JSON of values that models write in other ways, byte by byte, as it comes. */
#include "chat/answer.h"

void answer_write_flush(answer_writer *w) {
    answer_arguments(w->p, w->text, w->n);
    w->n = 0;
}

void answer_write(answer_writer *w, char c) {
    if (w->result != JSON_SCAN_MORE) return;
    w->result = json_scan_byte(&w->p->json, c);
    if (w->result == JSON_SCAN_WRONG || w->result == JSON_SCAN_BEFORE) return;
    if (w->n == sizeof w->text) answer_write_flush(w);
    w->text[w->n++] = c;
}

void answer_write_all(answer_writer *w, const char *text) {
    while (*text) answer_write(w, *text++);
}

void answer_write_character(answer_writer *w, char c) {
    static const char hex[] = "0123456789abcdef";
    if (c == '"' || c == '\\') answer_write(w, '\\');
    if ((unsigned char)c >= 0x20) return answer_write(w, c);
    if (c == '\n') return answer_write_all(w, "\\n");
    if (c == '\t') return answer_write_all(w, "\\t");
    answer_write_all(w, "\\u00");
    answer_write(w, hex[(c >> 4) & 15]);
    answer_write(w, hex[c & 15]);
}
