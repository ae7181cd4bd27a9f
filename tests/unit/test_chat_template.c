/* Pieces of chat templates against Jinja2 (tests/golden/jinja.h). */
#include "chat/json.h"
#include "chat/template.h"

#include "../golden/jinja.h"
#include "check.h"

#include <string.h>

enum { NOW = 1767323045 }; // 2026-01-02 03:04:05

int main(void) {
    for (size_t i = 0; i < sizeof jinja_rows / sizeof *jinja_rows; i++) {
        const char *source = jinja_rows[i].source, *want = jinja_rows[i].text;
        chat_heap h;
        chat_value values, out = {0};
        nut_error err = {0};
        chat_heap_open(&h, &err);
        const bool done =
            chat_json_read(&h, jinja_values, strlen(jinja_values), CHAT_DATA, "values", &values) &&
            template_render(&h, source, strlen(source), values, NOW, &out);
        if (want)
            CHECK(done && chat_equal_text(&out, want), "%s\n  gives    \"%.*s\" %s\n  not      \"%s\"",
                  source, done ? (int)out.s->n : 0, done ? out.s->text : "", err.message, want);
        else
            CHECK(!done, "%s gives \"%.*s\" and should fail", source, done ? (int)out.s->n : 0,
                  done ? out.s->text : "");
        chat_heap_close(&h);
    }
    return check_report();
}
