/* Writes a model like a given one with other sizes and options, and random weights, to be run by another
 * implementation too:
 *
 *     make_variant TEMPLATE.gguf OUT.gguf SEED [KEY=VALUE | +TENSOR | -TENSOR | -KEY= | @TYPE]...
 *
 * The metadata are the template's but for the pairs that are given: KEY stands behind the architecture and
 * a dot, VALUE is a whole number, a number with a point, true, false, s:TEXT, or several whole numbers with
 * commas between (b: in front: booleans). KEY= takes a pair away. Tensors are those that the template has in
 * any layer, and +TENSOR, without -TENSOR, in the shapes that the engine expects: whether these are right,
 * the other implementation says. With @TYPE the matrices that `quantize` would take have that type, else
 * all tensors are F32. */
#include "../unit/make_gguf.h"
#include "../unit/data.h"

#include "compress/method.h"
#include "run/block.h"

typedef struct variant {
    gguf from;
    const arch *arch;
    int argc; // of what is changed
    char **argv;
    const format *type; // of matrices
    make_gguf to;
} variant;

/* ---- metadata ---- */

/* The argument that sets a key of the template, or NULL. */
static const char *change_of(const variant *v, gguf_str key) {
    const size_t n = strlen(v->arch->name);
    for (int i = 0; i < v->argc; i++) {
        const char *eq = strchr(v->argv[i], '=');
        const size_t length = eq ? (size_t)(eq - v->argv[i]) : 0;
        if (eq && key.n == n + 1 + length && !memcmp(key.s, v->arch->name, n) &&
            !memcmp(key.s + n + 1, v->argv[i], length))
            return eq + 1;
    }
    return NULL;
}

static void put_array(make_gguf *g, const char *key, const char *value, uint32_t type) {
    uint64_t n = 1;
    for (const char *c = value; *c; c++) n += *c == ',';
    make_array(g, key, type, n);
    for (uint64_t i = 0; i < n; i++) {
        make_le(&g->kv, strtoull(value, (char **)&value, 10), type == MAKE_BOOL ? 1 : 4);
        value += *value == ',';
    }
}

static void put_pair(make_gguf *g, const char *key, const char *value) {
    if (!strncmp(value, "s:", 2))
        make_str(g, key, value + 2);
    else if (!strcmp(value, "true") || !strcmp(value, "false"))
        make_bool(g, key, *value == 't');
    else if (!strncmp(value, "b:", 2))
        put_array(g, key, value + 2, MAKE_BOOL);
    else if (strchr(value, ','))
        put_array(g, key, value, MAKE_U32);
    else if (strchr(value, '.'))
        make_f32(g, key, strtof(value, NULL));
    else
        make_u32(g, key, (uint32_t)strtoul(value, NULL, 10));
}

/* The template's pairs stand one after the other in its header, in front of its tensors. */
static void put_metadata(variant *v) {
    for (uint64_t i = 0; i < v->from.n_kv; i++) {
        const char *begin = v->from.kv[i].key.s - 8,
                   *end = (i + 1 < v->from.n_kv ? v->from.kv[i + 1].key.s : v->from.tensors[0].name.s) - 8;
        if (change_of(v, v->from.kv[i].key)) continue;
        make_put(&v->to.kv, begin, (size_t)(end - begin));
        v->to.n_kv++;
    }
    for (int i = 0; i < v->argc; i++) {
        char key[200];
        const char *eq = strchr(v->argv[i], '=');
        if (!eq || !eq[1]) continue;
        snprintf(key, sizeof key, "%s.%.*s", v->arch->name, (int)(eq - v->argv[i]), v->argv[i]);
        put_pair(&v->to, key, eq + 1);
    }
}

/* ---- tensors ---- */

static bool is_listed(const variant *v, char sign, const char *name) {
    for (int i = 0; i < v->argc; i++)
        if (v->argv[i][0] == sign && !strcmp(v->argv[i] + 1, name)) return true;
    return false;
}

/* Whether the template has the tensor, in any layer. */
static bool in_template(const variant *v, const char *name, bool in_layer) {
    for (uint64_t i = 0; i < v->from.n_tensors; i++) {
        gguf_str t = v->from.tensors[i].name;
        if (in_layer) {
            if (t.n < 4 || memcmp(t.s, "blk.", 4)) continue;
            const char *dot = memchr(t.s + 4, '.', t.n - 4);
            t = (gguf_str){dot + 1, (uint64_t)(t.s + t.n - dot - 1)};
        }
        if (gguf_str_is(t, name)) return true;
    }
    return false;
}

/* The middle and half the range of a tensor's numbers, so that its model computes moderate ones. */
static void range_of(const char *name, const uint64_t *dims, uint32_t n_dims, float *middle, float *size) {
    const bool norm = strstr(name, "norm") || strstr(name, "_ln.");
    *middle = 0, *size = n_dims > 1 ? 1.7f / sqrtf((float)dims[0]) : 0.3f;
    if (strstr(name, "token_embd.") || strstr(name, "position_embd")) *size = 1;
    if (norm && !strstr(name, ".bias")) *middle = 1, *size = 0.3f;
    if (strstr(name, "ssm_a")) *middle = -1.5f, *size = 1;
    if (strstr(name, "conv")) *size = 0.7f;
    if (strstr(name, "rope_f")) *middle = 1.6f, *size = 0.5f;
    if (strstr(name, "lerp")) *middle = 0.5f, *size = 0.4f;
    if (strstr(name, "layer_output_scale")) *middle = 1, *size = 0.3f;
}

/* The format that a tensor gets. */
static const format *type_of(const variant *v, const make_tensor *made) {
    const gguf_tensor t = {.name = {made->name, strlen(made->name)},
                           .n_dims = made->n_dims,
                           .dims = {made->dims[0], made->dims[1], made->dims[2], made->dims[3]}};
    const bool taken = (method_is_matrix(&t) || method_is_stack(&t)) && !method_is_small(&t);
    return v->type && taken && t.dims[0] % v->type->block == 0 ? v->type : &format_table[FORMAT_F32];
}

static void add_tensor(variant *v, const nut_model *m, const layer_hparams *l, const tensor_spec *t,
                       const char *prefix) {
    char full[80];
    const char *name = arch_file_name(v->arch, t->name);
    uint64_t dims[4] = {1, 1, 1, 1}, count = 1;
    uint32_t n = 0;
    float middle, size;
    if (!arch_allows(v->arch, t) || !arch_fits(&m->hp, l, t) || is_listed(v, '-', name)) return;
    if (!in_template(v, name, *prefix) && !is_listed(v, '+', name)) return;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    if (make_find(&v->to, full)) return;
    for (; t->shape[n]; n++) count *= dims[n] = arch_size(&m->hp, l, t->shape[n]);
    make_tensor *made = make_add(&v->to, full, FORMAT_F32, 1, 0);
    free(made->data.p);
    made->data = (make_bytes){0};
    made->n_dims = n;
    memcpy(made->dims, dims, sizeof dims);
    range_of(name, dims, n, &middle, &size);
    const format *f = type_of(v, made);
    made->type = f->ggml_type;
    make_weights(&v->to, f, (size_t)count, middle, size, &made->data);
}

static void add_tensors(variant *v, const nut_model *m, const layer_hparams *l, const tensor_spec *specs,
                        size_t n, const char *prefix) {
    for (size_t i = 0; i < n; i++) add_tensor(v, m, l, &specs[i], prefix);
}

static void add_layer(variant *v, const nut_model *m, uint32_t il) {
    const layer_hparams *l = &m->layers[il].hp;
    const unsigned blocks[] = {l->mixer, l->beside, l->ffn, l->after};
    char prefix[32];
    snprintf(prefix, sizeof prefix, "blk.%u.", il);
    add_tensors(v, m, l, arch_layer_tensors, arch_n_layer_tensors, prefix);
    for (size_t i = 0; i < 4; i++)
        if (blocks[i] != BLOCK_NONE)
            add_tensors(v, m, l, block_specs[blocks[i]]->tensors, block_specs[blocks[i]]->n_tensors, prefix);
}

/* All tensors, of sizes as the engine reads them from the new header. */
static bool add_all(variant *v, nut_error *err) {
    nut_model m = {.arch = v->arch, .blocks = block_specs};
    size_t n, n_used;
    bool complete = false;
    uint8_t *file = make_file(&v->to, &n);
    const gguf_kv *tokens = gguf_find(&v->from, "tokenizer.ggml.tokens");
    bool good = gguf_begin(&m.header, n, err) == NUT_OK &&
                gguf_feed(&m.header, file, n, &n_used, &complete, err) == NUT_OK && complete &&
                arch_hparams(&m.header, v->arch, (uint32_t)tokens->n, &m.hp, err) == NUT_OK;
    m.layers = calloc(m.hp.n_layer + 1, sizeof *m.layers);
    good = good && arch_layers(&m.header, v->arch, &m.hp, m.layers, err) == NUT_OK;
    if (good) add_tensors(v, &m, &m.hp.most, arch_model_tensors, arch_n_model_tensors, "");
    for (uint32_t il = 0; good && il < m.hp.n_layer; il++) add_layer(v, &m, il);
    gguf_free(&m.header);
    free(m.layers);
    free(file);
    return good;
}

/* ---- files ---- */

static bool read_template(variant *v, const char *path, nut_error *err) {
    size_t n = 0, n_used;
    bool complete = false;
    char *bytes = data_read_path(path, &n);
    const bool read = bytes && gguf_begin(&v->from, n, err) == NUT_OK &&
                      gguf_feed(&v->from, (const uint8_t *)bytes, n, &n_used, &complete, err) == NUT_OK &&
                      complete;
    gguf_str name = {"", 0};
    if (read) gguf_get_str(&v->from, "general.architecture", "", &name, err);
    v->arch = arch_find(name);
    free(bytes);
    return read && v->arch;
}

int main(int argc, char **argv) {
    variant v = {.argc = argc - 4, .argv = argv + 4, .to = {.version = 3, .alignment = 32}};
    nut_error err = {NUT_OK, ""};
    size_t n;
    if (argc < 4) return 2;
    for (int i = 4; i < argc; i++)
        if (argv[i][0] == '@') v.type = format_by_name(argv[i] + 1);
    rng_seed(&v.to.random, strtoull(argv[3], NULL, 10));
    bool good = read_template(&v, argv[1], &err);
    if (good) put_metadata(&v);
    good = good && add_all(&v, &err);
    if (!good) fprintf(stderr, "%s\n", err.message);
    uint8_t *file = make_file(&v.to, &n);
    FILE *out = good ? fopen(argv[2], "wb") : NULL;
    good = out && fwrite(file, 1, n, out) == n && !fclose(out);
    free(file);
    make_free(&v.to);
    gguf_free(&v.from);
    return !good;
}
