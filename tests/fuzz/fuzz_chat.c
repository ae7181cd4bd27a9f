/*
 * Chat templates with variables: the input is a template, a 0, and the variables as JSON. Whatever they are,
 * rendering ends within its limits, and each byte of what comes out knows where it came from.
 */
#include "fuzz.h"

#include "chat/json.h"
#include "chat/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_input in = {bytes, n};
    const uint32_t fail_at = fuzz_u8(&in);
    const uint8_t *end = in.n ? memchr(in.p, 0, in.n) : NULL;
    const fuzz_input source = fuzz_front(&in, end ? (size_t)(end - in.p) : in.n);
    fuzz_front(&in, 1);
    char *template = fuzz_copy(source), *json = fuzz_copy(in);
    chat_heap h;
    chat_value variables, out = {0};
    nut_error err = {0};
    counting_start(fail_at);
    chat_heap_open(&h, &err);
    bool done = chat_json_read(&h, json, in.n, CHAT_DATA, "the variables", &variables);
    if (done && variables.kind != CHAT_MAP) done = chat_map_new(&h, &variables);
    done = done && template_render(&h, template, source.n, variables, 1767323045, &out);
    EXPECT(done == (h.status == NUT_OK), "%s", nut_status_name(h.status));
    fuzz_check_error(h.status, &err);
    EXPECT(h.used <= CHAT_MAX_MEMORY && counting.peak <= CHAT_MAX_MEMORY + (1 << 20), "%zu bytes", h.used);
    for (size_t i = 0; done && i < out.s->n; i++)
        EXPECT(chat_origin_at(out.s, i) <= CHAT_DATA, "byte %zu is of no origin", i);
    chat_heap_close(&h);
    free(template), free(json);
    fuzz_end();
    return 0;
}
