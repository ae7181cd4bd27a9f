/* A model's facts: right numbers, valid JSON whatever bytes the file has, and the convention for short
 * buffers. */
#include "check.h"
#include "json.h"
#include "make_gguf.h"

/* Loads the file of g and parses its facts; root is NULL, and the failure is printed, where that fails. */
static json_doc facts(make_gguf *g, bool tensors, const nut_load_options *options) {
    size_t n, n_text = 0, n_again = 0;
    uint8_t *file = make_file(g, &n);
    nut_model *m = NULL;
    nut_error err = {0};
    json_doc doc = {0};
    nut_status status = make_load(file, n, 0, options, &m, &err);
    if (CHECK(status == NUT_OK, "loads: %s", err.message)) {
        CHECK(nut_model_info(m, tensors, NULL, 0, &n_text, &err) == NUT_E_ARGUMENT, "no room is an error");
        char *text = malloc(n_text + 1);
        CHECK(nut_model_info(m, tensors, text, n_text, &n_again, &err) == NUT_E_ARGUMENT &&
                  n_again == n_text && strlen(text) == n_text - 1,
              "a byte too few: what fits, terminated");
        CHECK(nut_model_info(m, tensors, text, n_text + 1, &n_again, &err) == NUT_OK && n_again == n_text &&
                  strlen(text) == n_text,
              "exactly enough room");
        doc = json_parse(text, n_text);
        CHECK(doc.root, "%s at byte %zu", doc.error, doc.error_at);
        nut_model_free(m);
    }
    free(file);
    return doc;
}

static bool is_text(const json *v, const char *key, const char *want) {
    const json *t = json_get(v, key);
    return t && t->type == JSON_STRING && t->n == strlen(want) && !memcmp(t->text, want, t->n);
}

static void test_numbers(void) {
    static const struct {
        const char *key;
        double want;
    } numbers[] = {{"n_vocab", MAKE_N_VOCAB},
                   {"n_ctx_train", 77},
                   {"n_embd", 96},
                   {"n_layer", 3},
                   {"n_ff", 160},
                   {"n_head", 6},
                   {"n_head_kv", 3},
                   {"head_dim", 32},
                   {"bos_id", 1},
                   {"eos_id", 2}};
    make_gguf g = make_model(&(make_options){.arch = "qwen3",
                                             .n_embd = 96,
                                             .n_layer = 3,
                                             .n_ff = 160,
                                             .n_head = 6,
                                             .n_head_kv = 3,
                                             .head_dim = 32,
                                             .n_ctx = 77,
                                             .matrices = FORMAT_Q8_0});
    uint64_t n_params = 0;
    make_str(&g, "tokenizer.chat_template", "{{ messages }}\n");
    for (size_t i = 0; i < g.n_tensors; i++) n_params += g.tensors[i].dims[0] * g.tensors[i].dims[1];
    nut_load_options lo = nut_load_defaults();
    lo.kernel = "ref";
    json_doc doc = facts(&g, true, &lo);
    const json *r = doc.root;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        CHECK(json_number(r, numbers[i].key, NULL) == numbers[i].want, "%s is %g", numbers[i].key,
              json_number(r, numbers[i].key, NULL));
    CHECK(json_number(r, "n_params", NULL) == (double)n_params, "n_params %g",
          json_number(r, "n_params", NULL));
    CHECK(json_number(r, "weight_bytes", NULL) > (double)n_params &&
              json_number(r, "file_bytes", NULL) > (double)n_params,
          "sizes");
    CHECK(is_text(r, "architecture", "qwen3") && is_text(r, "name", "random") && is_text(r, "kernel", "ref"),
          "texts");
    CHECK(is_text(r, "tokenizer", "llama") && is_text(r, "bos", "<s>") && is_text(r, "eos", "</s>"),
          "tokens");
    CHECK(is_text(r, "chat_template", "{{ messages }}\n"), "chat template");
    CHECK(json_number(r, "types", "Q8_0") == 22 && json_number(r, "types", "F32") == 13, "types");
    int32_t eog[4] = {0};
    CHECK(json_ints(json_get(r, "eog"), eog, 4) == 1 && eog[0] == 2, "eog %d", (int)eog[0]);
    size_t i = 0;
    const json *tensors = json_get(r, "tensors");
    for (const json *t = tensors ? tensors->child : NULL; t && i < g.n_tensors; t = t->next, i++) {
        int32_t shape[4] = {0};
        const make_tensor *want = &g.tensors[i];
        size_t n_dims = json_ints(json_get(t, "shape"), shape, 4);
        CHECK(is_text(t, "name", want->name) && n_dims == want->n_dims &&
                  (uint64_t)shape[0] == want->dims[0] &&
                  (n_dims == 1 || (uint64_t)shape[1] == want->dims[1]) &&
                  is_text(t, "type", want->type ? "Q8_0" : "F32") &&
                  json_number(t, "bytes", NULL) == (double)want->data.n,
              "tensor %zu", i);
    }
    CHECK(i == g.n_tensors && tensors && tensors->n == i, "%zu tensors", i);
    json_free(&doc);
    make_free(&g);
}

/* Names from hostile files. Replacement as Unicode 15, section 3.9 recommends is not asked for, but each
 * byte that is part of no character must be replaced, and nothing else. */
static void test_texts(void) {
    static const struct {
        const char *name, *want;
    } names[] = {
        {"plain", "plain"},
        {"\"quoted\" \\ back", "\"quoted\" \\ back"},
        {"\x01\x02\b\f\n\r\t\x1f\x7f", "\x01\x02\b\f\n\r\t\x1f\x7f"},
        {"caf\xc3\xa9 \xe4\xbd\xa0 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe4\xbd\xa0 \xf0\x9f\x98\x80"},
        {"\xe2\x80\xa8", "\xe2\x80\xa8"},
        {"z\xffz", "z\xef\xbf\xbdz"},
        {"\xef\xbf\xbd", "\xef\xbf\xbd"},
        {"\xc3", "\xef\xbf\xbd"},
        {"\xc3(", "\xef\xbf\xbd("},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        make_gguf g = make_model(&(make_options){0});
        make_str(&g, "general.basename", "not this");
        for (size_t at = 0; at + 12 < g.kv.n; at++) // the model's own name is kept under another key
            if (!memcmp(g.kv.p + at, "general.name", 12)) g.kv.p[at] = 'X';
        make_str(&g, "general.name", names[i].name);
        json_doc doc = facts(&g, i % 2, NULL);
        const json *name = json_get(doc.root, "name");
        CHECK(is_text(doc.root, "name", names[i].want), "name %zu: %s", i, name ? name->text : "none");
        CHECK(!json_get(doc.root, "tensors") == !(i % 2), "tensors only where asked for");
        const json *chat = json_get(doc.root, "chat_template");
        CHECK(chat && chat->type == JSON_NULL, "no chat template");
        json_free(&doc);
        make_free(&g);
    }
}

/* Bytes that decode to no valid character must not appear as one, however they are encoded. */
static void test_bad_encodings(void) {
    static const char *const bad[] = {"\xc0\xaf",         "\xe0\x80\xaf",     "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\x80",
                                      "\xf0\x9f\x98",     "\xfe\xff",         "\xf8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make_gguf g = make_model(&(make_options){0});
        make_str(&g, "tokenizer.chat_template", bad[i]);
        json_doc doc = facts(&g, false, NULL);
        const json *t = json_get(doc.root, "chat_template");
        bool only_replaced = t && t->type == JSON_STRING && t->n >= 3 && t->n % 3 == 0;
        for (size_t at = 0; only_replaced && at < t->n; at += 3)
            only_replaced = !memcmp(t->text + at, "\xef\xbf\xbd", 3);
        CHECK(only_replaced, "encoding %zu came out as %s", i, t ? t->text : "nothing");
        json_free(&doc);
        make_free(&g);
    }
}

static void test_no_name(void) {
    make_gguf g = make_model(&(make_options){0});
    for (size_t at = 0; at + 12 < g.kv.n; at++)
        if (!memcmp(g.kv.p + at, "general.name", 12)) g.kv.p[at] = 'X';
    json_doc doc = facts(&g, false, NULL);
    CHECK(is_text(doc.root, "name", ""), "an absent name is an empty one");
    json_free(&doc);
    make_free(&g);
}

/* Control characters would drive the terminal that the facts are printed on: DEL and those of Latin-1
 * (U+0080 to U+009F) are written as escapes, as those below a blank are. */
static void test_controls(void) {
    static const char name[] = "a\x7f\x1b\xc2\x9b\xc2\x80\xc2\xa0\xc3\xa9";
    make_gguf g = make_model(&(make_options){0});
    size_t n, n_text;
    static char text[1 << 14];
    nut_model *m = NULL;
    make_str(&g, "tokenizer.chat_template", name);
    uint8_t *file = make_file(&g, &n);
    if (CHECK(make_load(file, n, 0, NULL, &m, NULL) == NUT_OK, "loads")) {
        CHECK(nut_model_info(m, false, text, sizeof text, &n_text, NULL) == NUT_OK, "%zu bytes", n_text);
        CHECK(strstr(text, "\"chat_template\":\"a\\u007f\\u001b\\u009b\\u0080\xc2\xa0\xc3\xa9\""), "%s",
              strstr(text, "chat_template"));
        nut_model_free(m);
    }
    json_doc doc = facts(&g, false, NULL);
    CHECK(is_text(doc.root, "chat_template", name), "the text is the same");
    json_free(&doc);
    free(file);
    make_free(&g);
}

/* Files that are GGUF but no models. Marks: llama.cpp's gguf-py, class GGUFType, and what files of older
 * versions have (adapter.type since GGUF exists for LoRA; clip.* for projectors; control vectors). */
static void test_roles(void) {
    static const struct {
        const char *key, *value, *words;
    } roles[] = {{"general.type", "adapter", "a LoRA adapter"},
                 {"general.type", "mmproj", "a projector (mmproj)"},
                 {"general.type", "imatrix", "an importance matrix (imatrix)"},
                 {"adapter.type", "lora", "a LoRA adapter"},
                 {"general.architecture", "clip", "a projector (mmproj)"},
                 {"general.architecture", "controlvector", "a control vector"},
                 {"imatrix.chunk_count", NULL, "an importance matrix (imatrix)"},
                 {"general.type", "model", NULL},
                 {"general.type", NULL, NULL}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        const bool is_arch = !strcmp(roles[i].key, "general.architecture");
        make_gguf g = make_model(&(make_options){.arch = is_arch ? roles[i].value : "llama"});
        nut_model *m = NULL;
        nut_error err = {0};
        size_t n;
        if (!roles[i].value)
            make_u32(&g, roles[i].key, 1);
        else if (!is_arch)
            make_str(&g, roles[i].key, roles[i].value);
        uint8_t *file = make_file(&g, &n);
        nut_status status = make_load(file, n, 0, NULL, &m, &err);
        CHECK(status == (roles[i].words ? NUT_E_UNSUPPORTED : NUT_OK), "%s: %s", roles[i].key, err.message);
        if (roles[i].words)
            CHECK(strstr(err.message, roles[i].words), "%s: %s", roles[i].words, err.message);
        if (status == NUT_OK) nut_model_free(m);
        free(file);
        make_free(&g);
    }
}

/* Metadata as text, of every kind. */
static void test_entries(void) {
    static const struct {
        const char *key, *want;
    } wanted[] = {{"general.architecture", "llama"},
                  {"a.text", "caf\xc3\xa9"},
                  {"a.long.text", "0123456"}, // cut to 8 bytes with the end
                  {"a.number", "4000000000"},
                  {"a.truth", "1"},
                  {"a.float", "0.5"},
                  {"a.double", "-0.25"},
                  {"a.list", "3 elements"}};
    const double quarter = -0.25;
    uint64_t bits;
    size_t n, found = 0;
    make_gguf g = make_model(&(make_options){0});
    memcpy(&bits, &quarter, sizeof bits);
    make_str(&g, "a.text", "caf\xc3\xa9");
    make_str(&g, "a.long.text", "0123456789");
    make_u32(&g, "a.number", 4000000000u);
    make_bool(&g, "a.truth", true);
    make_f32(&g, "a.float", 0.5f);
    make_int(&g, "a.double", 12, bits, 8);
    make_array(&g, "a.list", 4, 3);
    for (uint32_t i = 0; i < 3; i++) make_le(&g.kv, i, 4);
    uint8_t *file = make_file(&g, &n);
    nut_model *m = NULL;
    char key[40], value[16];
    CHECK(make_load(file, n, 0, NULL, &m, NULL) == NUT_OK, "loads");
    for (size_t i = 0; nut_model_meta_at(m, i, key, sizeof key, value, sizeof value); i++)
        for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++)
            if (!strcmp(key, wanted[k].key)) {
                nut_model_meta_at(m, i, key, sizeof key, value, strlen(wanted[k].want) + 1);
                CHECK(!strcmp(value, wanted[k].want), "%s: \"%s\"", key, value);
                found++;
            }
    CHECK(found == sizeof wanted / sizeof *wanted, "%zu entries", found);
    nut_model_free(m);
    free(file);
    make_free(&g);
}

int main(void) {
    test_entries();
    test_controls();
    test_roles();
    test_numbers();
    test_texts();
    test_bad_encodings();
    test_no_name();
    return check_report();
}
