/* Every row of the table of families: a model with random weights and odd sizes, made of the tensors that the row
 * asks for, loads and runs. In one batch, token by token, and after a truncate it gives the same bits, and numbers that
 * are finite. What the numbers must be, test_conformance.c knows. */
#include "check.h"
#include "make_gguf.h"

#include "run/block.h"

enum { N_LAYER = 3, N_IDS = 23 };

/* ---- metadata ---- */

static void put_u32(make_gguf *g, const char *arch, const char *suffix, uint32_t v) {
    make_u32(g, make_hparam_key(arch, suffix), v);
}

/* Sizes that divide as they must, and are no multiples of more. */
static void put_sizes(make_gguf *g, const arch *a) {
    const bool mla = a->mixer == BLOCK_mix_mla;
    const struct {
        const char *suffix;
        uint32_t value;
        bool has;
    } sizes[] = {{"context_length", 64, true},
                 {"embedding_length", 40, true},
                 {"block_count", N_LAYER, true},
                 {"feed_forward_length", 37, !(a->features & ARCH_ONE_BLOCK) && a->ffn != BLOCK_NONE},
                 {"attention.head_count", 3, true},
                 {"attention.head_count_kv", mla ? 3 : 1, true},
                 {"attention.key_length", 24, true},
                 {"attention.value_length", a->features & ARCH_GATED_OUT ? 24 : 16, true},
                 {"attention.sliding_window", 5, a->window_period > 0},
                 {"attention.q_lora_rank", 11, mla},
                 {"attention.kv_lora_rank", 13, mla},
                 {"rope.dimension_count", 12, mla},
                 {"expert_count", 5, a->experts.gating != MODEL_GATE_NONE},
                 {"expert_used_count", 2, a->experts.gating != MODEL_GATE_NONE},
                 {"expert_feed_forward_length", 19, a->experts.gating != MODEL_GATE_NONE},
                 {"ssm.conv_kernel", 3, a->recurrent || a->beside || a->mixer != BLOCK_mix_attention},
                 {"ssm.inner_size", 36, a->recurrent || a->beside || a->mixer != BLOCK_mix_attention},
                 {"ssm.state_size", 7, a->recurrent || a->beside || a->mixer != BLOCK_mix_attention},
                 {"ssm.time_step_rank", 6, a->recurrent || a->beside || a->mixer != BLOCK_mix_attention},
                 {"ssm.group_count", 3, a->recurrent || a->beside || a->mixer != BLOCK_mix_attention},
                 {"wkv.head_size", 8, a->ffn == BLOCK_ffn_rwkv},
                 {"time_mix_extra_dim", 5, a->ffn == BLOCK_ffn_rwkv},
                 {"time_decay_extra_dim", 9, a->ffn == BLOCK_ffn_rwkv},
                 {"attention.iclr_lora_rank", 7, a->ffn == BLOCK_ffn_rwkv},
                 {"attention.value_residual_mix_lora_rank", 6, a->ffn == BLOCK_ffn_rwkv},
                 {"attention.gate_lora_rank", 11, a->ffn == BLOCK_ffn_rwkv},
                 {"embedding_length_per_layer_input", 9, a->after > 0},
                 {"attention.shared_kv_layers", 1, a->after > 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].has) put_u32(g, a->name, sizes[i].suffix, sizes[i].value);
}

static void put_array(make_gguf *g, const char *key, uint32_t type, const uint32_t *v) {
    make_array(g, key, type, N_LAYER);
    for (size_t i = 0; i < N_LAYER; i++) make_le(&g->kv, v[i], type == MAKE_BOOL ? 1 : 4);
}

static void put_options(make_gguf *g, const arch *a) {
    static const uint32_t recurrent[N_LAYER] = {1, 0, 1}, widths[N_LAYER] = {0, 0, 37}, windows[N_LAYER] = {1, 0, 1};
    static const float tuned[4] = {0.3f, -0.4f, 0.6f, -0.1f};
    static const char *const xielu[4] = {"xielu.alpha_p", "xielu.alpha_n", "xielu.beta", "xielu.eps"};
    if (a->recurrent) put_array(g, make_hparam_key(a->name, "attention.recurrent_layers"), MAKE_BOOL, recurrent);
    if (a->features & ARCH_ONE_BLOCK) put_array(g, make_hparam_key(a->name, "feed_forward_length"), MAKE_U32, widths);
    if (a->window_period)
        put_array(g, make_hparam_key(a->name, "attention.sliding_window_pattern"), MAKE_BOOL, windows);
    for (size_t i = 0; i < 4 && (a->features & ARCH_XIELU); i++) {
        make_array(g, xielu[i], MAKE_F32, N_LAYER);
        for (size_t k = 0; k < N_LAYER; k++) make_put(&g->kv, &tuned[i], sizeof(float));
    }
    for (const arch_key *k = a->keys; k && k->suffix; k++)
        if (!k->is_flag) make_f32(g, make_hparam_key(a->name, k->suffix), 0.7f);
}

static make_gguf make_header(const arch *a) {
    make_gguf g = {.version = 3, .alignment = 32};
    rng_seed(&g.random, 77);
    make_str(&g, "general.architecture", a->name);
    put_sizes(&g, a);
    put_options(&g, a);
    make_vocab(&g);
    return g;
}

/* ---- tensors ---- */

static void add_tensor(make_gguf *g, const nut_model *m, const layer_hparams *l, const tensor_spec *t,
                       const char *prefix) {
    char name[128];
    uint64_t dims[4] = {1, 1, 1, 1};
    size_t n = 0;
    const bool fuses = m->arch->features & ARCH_FUSED_UP;
    const bool fused = t->parts && fuses && t->with == ARCH_FUSED_UP;
    if (!(arch_needs(m->arch, t) || fused) || !arch_fits(&m->hp, l, t)) return;
    if (fuses && !fused && (!strcmp(t->name, "ffn_gate.weight") || !strcmp(t->name, "ffn_up.weight"))) return;
    for (; t->shape[n]; n++) dims[n] = arch_size(&m->hp, l, t->shape[n]);
    snprintf(name, sizeof name, "%s%s", prefix, arch_file_name(m->arch, t->name));
    make_tensor *made = make_add(g, name, FORMAT_F32, (size_t)dims[0], n > 1 ? (size_t)(dims[1] * dims[2] * dims[3]) : 0);
    for (size_t i = 0; i < n; i++) made->dims[i] = dims[i];
    made->n_dims = (uint32_t)n;
}

static void add_tensors(make_gguf *g, const nut_model *m, const layer_hparams *l, const tensor_spec *specs, size_t n,
                        const char *prefix) {
    for (size_t i = 0; i < n; i++) add_tensor(g, m, l, &specs[i], prefix);
}

/* All that the row asks for, of sizes as the header gives them. */
static bool add_all(make_gguf *g, const arch *a) {
    nut_model m = {.arch = a, .blocks = block_specs};
    model_layer layers[N_LAYER] = {0};
    size_t n, n_used;
    bool complete = false;
    nut_error err = {NUT_OK, ""};
    uint8_t *file = make_file(g, &n);
    const bool read = gguf_begin(&m.header, n, &err) == NUT_OK &&
                      gguf_feed(&m.header, file, n, &n_used, &complete, &err) == NUT_OK && complete &&
                      arch_hparams(&m.header, a, MAKE_N_VOCAB, &m.hp, &err) == NUT_OK &&
                      arch_layers(&m.header, a, &m.hp, layers, &err) == NUT_OK;
    if (CHECK(read, "%s: %s", a->name, err.message)) {
        add_tensors(g, &m, &m.hp.most, arch_model_tensors, arch_n_model_tensors, "");
        for (uint32_t il = 0; il < N_LAYER; il++) {
            const layer_hparams *l = &layers[il].hp;
            const unsigned blocks[] = {l->mixer, l->beside, l->ffn, l->after};
            char prefix[32];
            snprintf(prefix, sizeof prefix, "blk.%u.", il);
            add_tensors(g, &m, l, arch_layer_tensors, arch_n_layer_tensors, prefix);
            for (size_t i = 0; i < 4; i++)
                if (blocks[i] != BLOCK_NONE)
                    add_tensors(g, &m, l, block_specs[blocks[i]]->tensors, block_specs[blocks[i]]->n_tensors, prefix);
        }
    }
    gguf_free(&m.header);
    free(file);
    return read;
}

/* ---- runs ---- */

static void fill_ids(int32_t *ids) {
    for (int32_t i = 0; i < N_IDS; i++) ids[i] = 3 + i * 37 % 250;
}

static size_t count_bad(const float *x, size_t n) {
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) bad += !(fabsf(x[i]) < 1e30f);
    return bad;
}

/* The last token's logits after the ids in batches of n. */
static void eval(const arch *a, nut_session *s, const int32_t *ids, size_t n, float *out) {
    nut_error err = {NUT_OK, ""};
    for (size_t i = nut_session_n_past(s); i < N_IDS; i += n)
        if (!CHECK(nut_session_eval(s, ids + i, N_IDS - i < n ? N_IDS - i : n, 1, &err) == NUT_OK, "%s: %s", a->name,
                   err.message))
            return;
    memcpy(out, nut_session_logits(s, 0), MAKE_N_VOCAB * sizeof *out);
}

static void run_causal(const arch *a, nut_session *s) {
    int32_t ids[N_IDS];
    float *whole = malloc(2 * MAKE_N_VOCAB * sizeof *whole), *other = whole + MAKE_N_VOCAB;
    fill_ids(ids);
    eval(a, s, ids, N_IDS, whole);
    CHECK(!count_bad(whole, MAKE_N_VOCAB), "%s: logits are not finite", a->name);
    for (size_t n = 1; n < 8; n += 3) {
        nut_session_truncate(s, n == 1 ? 0 : 9, NULL);
        eval(a, s, ids, n, other);
        CHECK(!memcmp(whole, other, MAKE_N_VOCAB * sizeof *whole), "%s: logits differ in batches of %zu", a->name, n);
    }
    free(whole);
}

static void run_both_ways(const arch *a, nut_session *s, uint32_t n_embd) {
    int32_t ids[N_IDS];
    nut_error err = {NUT_OK, ""};
    float *rows = malloc(N_IDS * n_embd * sizeof *rows);
    fill_ids(ids);
    CHECK(nut_session_embed(s, ids, N_IDS, rows, NULL, &err) == NUT_OK, "%s: %s", a->name, err.message);
    CHECK(!count_bad(rows, N_IDS * n_embd), "%s: rows are not finite", a->name);
    free(rows);
}

static void test_family(const arch *a) {
    make_gguf g = make_header(a);
    nut_model *m = NULL;
    nut_session *s = NULL;
    nut_error err = {NUT_OK, ""};
    size_t n;
    if (!add_all(&g, a)) {
        make_free(&g);
        return;
    }
    uint8_t *file = make_file(&g, &n);
    const nut_session_options o = {.n_ctx = 64, .n_threads = 3, .n_batch = 32, .n_logits = 1};
    if (CHECK(make_load(file, n, 0, NULL, &m, &err) == NUT_OK, "%s: %s", a->name, err.message) &&
        CHECK(nut_session_new(m, &o, &s, &err) == NUT_OK, "%s: %s", a->name, err.message)) {
        if (m->hp.causal)
            run_causal(a, s);
        else
            run_both_ways(a, s, nut_model_n_embd(m));
    }
    nut_session_free(s);
    nut_model_free(m);
    free(file);
    make_free(&g);
}

int main(void) {
    size_t n_families = 0;
    for (const char *at = arch_names(), *end; *at; at = *end ? end + 2 : end, n_families++) {
        end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
        const arch *a = arch_find((gguf_str){at, (uint64_t)(end - at)});
        if (CHECK(a, "%.20s is in no row", at)) test_family(a);
    }
    CHECK(n_families > 60, "only %zu families", n_families);
    return check_report();
}
