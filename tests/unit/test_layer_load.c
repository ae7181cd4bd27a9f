/* A model that is run layer by layer, with one layer in memory at a time, gives the bits of the whole
 * model, and holds the memory of one layer. */
#include "check.h"
#include "counting_alloc.h"
#include "make_gguf.h"

#include "run/layer_load.h"
#include "run/session.h"

enum { N = 13, N_LAYER = 4 };
static int32_t ids[N];

static nut_model *load_headers(const uint8_t *file, size_t n, bool reference) {
    nut_load_options o = nut_load_defaults();
    nut_loader *l;
    nut_model *m = NULL;
    nut_error err = {NUT_OK, ""};
    o.reference = reference;
    nut_load_begin(&o, n, &l, &err);
    load_headers_only(l);
    for (size_t at = 0; at < n && at < 20000; at += 1000) // no more is needed than the header
        CHECK(nut_load_feed(l, at, file + at, n - at < 1000 ? n - at : 1000, &err) == NUT_OK, "%s",
              err.message);
    CHECK(nut_load_finish(l, &m, &err) == NUT_OK, "%s", err.message);
    return m;
}

/* Loads a layer, or what is outside of layers, in slices of `cut` bytes. */
static void load_layer(nut_model *m, int which, const uint8_t *file, size_t cut, layer_load *l) {
    nut_error err = {NUT_OK, ""};
    uint32_t split;
    uint64_t at, n;
    if (!CHECK(layer_load_begin(m, which, l, &err) == NUT_OK, "%s", err.message)) return;
    while (layer_load_wants(l, &split, &at, &n)) {
        const size_t some = n < cut ? (size_t)n : cut;
        if (!CHECK(layer_load_feed(l, file + at, some, &err) == NUT_OK, "%s", err.message)) return;
    }
}

static void check_layers(const make_options *o, bool reference, size_t cut) {
    make_gguf g = make_model(o);
    size_t n_file;
    uint8_t *file = make_file(&g, &n_file);
    const nut_session_options so = {.n_ctx = 64, .n_threads = 2, .n_batch = N, .n_logits = N};
    nut_load_options lo = nut_load_defaults();
    nut_model *whole = NULL;
    nut_session *s;
    lo.reference = reference;
    CHECK(make_load(file, n_file, 0, &lo, &whole, NULL) == NUT_OK, "load");
    nut_session_new(whole, &so, &s, NULL);
    nut_session_eval(s, ids, N, N, NULL);
    const size_t n_bytes = N * run_pad8(nut_model_n_vocab(whole)) * sizeof(float);
    float *want = malloc(n_bytes);
    memcpy(want, nut_session_logits(s, 0), n_bytes);
    const size_t whole_bytes = whole->weights.size;
    nut_session_free(s);
    nut_model_free(whole);

    nut_model *m = load_headers(file, n_file, reference);
    layer_load outside, layer;
    nut_session_new(m, &so, &s, NULL);
    load_layer(m, BIND_MODEL, file, cut, &outside);
    float *residual = malloc(N * m->hp.n_embd * sizeof *residual); // a caller's buffer
    workspace *ws = nut_session_workspace(s);
    sequence_claim(&s->seq, N);
    for (uint32_t t = 0; t < N; t++) ws->rows[t] = (step_row){&s->seq, t}, ws->kept[t] = t;
    forward_step st = step_of(ws, ws->rows, N);
    st.residual = residual;
    forward_embed(&st, ids);
    for (uint32_t il = 0; il < N_LAYER; il++) {
        load_layer(m, (int)il, file, cut, &layer);
        CHECK(layer.memory.size < whole_bytes / N_LAYER, "a layer takes %zu of %zu bytes", layer.memory.size,
              whole_bytes);
        forward_layers(&st, il, il + 1);
        layer_load_free(&layer);
    }
    forward_head(&st, ws->kept, N);
    CHECK(!memcmp(want, ws->logits, n_bytes), "layer by layer: other logits");
    layer_load_free(&outside);
    free(residual), free(want), free(file);
    nut_session_free(s);
    nut_model_free(m);
    make_free(&g);
}

static void test_refusals(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_model *m = load_headers(file, n, false);
    layer_load a, b;
    nut_error err = {NUT_OK, ""};
    uint32_t split;
    uint64_t at, left;
    CHECK(layer_load_begin(m, 0, &a, &err) == NUT_OK, "%s", err.message);
    CHECK(layer_load_begin(m, 0, &b, &err) == NUT_E_CORRUPT && !b.bindings, "a layer that is bound already");
    CHECK(layer_load_wants(&a, &split, &at, &left) && split == 0, "bytes are wanted");
    CHECK(layer_load_feed(&a, file, (size_t)left + 1, &err) == NUT_E_ARGUMENT,
          "more bytes than the tensor has");
    layer_load_free(&a);
    for (size_t k = 1; k <= 2; k++) {
        counting_start(k);
        CHECK(layer_load_begin(m, 1, &a, &err) == NUT_E_MEMORY && counting.alive == 0,
              "allocation %zu fails", k);
        counting_stop();
    }
    CHECK(layer_load_begin(m, 0, &a, &err) == NUT_OK, "a layer may be loaded again: %s", err.message);
    layer_load_free(&a);
    nut_model_free(m);
    free(file);
    make_free(&g);
}

int main(void) {
    for (int i = 0; i < N; i++) ids[i] = 3 + i * 17;
    check_layers(&(make_options){.matrices = FORMAT_Q8_0, .n_layer = N_LAYER}, false, 1 << 20);
    check_layers(&(make_options){.matrices = FORMAT_Q4_K, .n_layer = N_LAYER, .n_embd = 256, .n_ff = 512},
                 true, 77);
    check_layers(&(make_options){.arch = "qwen2", .n_layer = N_LAYER, .untied = true}, false, 1001);
    test_refusals();
    return check_report();
}
