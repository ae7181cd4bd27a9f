/* The table of mixes and the rules of their types: see named_mix.h. */
#include "compress/named_mix.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/sort.h"
#include "compress/method.h"
#include "compress/types.h"

#include <stdio.h>
#include <string.h>

/* ---- mixes ---- */

// clang-format off
/* X(name, general.file_type, type) */
#define MIX_LIST(X)                 \
    X(Q8_0,      7,  Q8_0)          \
    X(Q6_K,      18, Q6_K)          \
    X(Q5_K_M,    17, Q5_K)          \
    X(Q5_K_S,    16, Q5_K)          \
    X(Q5_1,      9,  Q5_1)          \
    X(Q5_0,      8,  Q5_0)          \
    X(Q4_K_M,    15, Q4_K)          \
    X(Q4_K_S,    14, Q4_K)          \
    X(Q4_1,      3,  Q4_1)          \
    X(Q4_0,      2,  Q4_0)          \
    X(IQ4_NL,    25, IQ4_NL)        \
    X(IQ4_XS,    30, IQ4_XS)        \
    X(Q3_K_L,    13, Q3_K)          \
    X(Q3_K_M,    12, Q3_K)          \
    X(Q3_K_S,    11, Q3_K)          \
    X(IQ3_M,     27, IQ3_S)         \
    X(IQ3_S,     26, IQ3_S)         \
    X(IQ3_XS,    22, IQ3_S)         \
    X(IQ3_XXS,   23, IQ3_XXS)       \
    X(Q2_K,      10, Q2_K)          \
    X(Q2_K_S,    21, Q2_K)          \
    X(IQ2_M,     29, IQ2_S)         \
    X(IQ2_S,     28, IQ2_XS)        \
    X(IQ2_XS,    20, IQ2_XS)        \
    X(IQ2_XXS,   19, IQ2_XXS)       \
    X(IQ1_M,     31, IQ1_M)         \
    X(IQ1_S,     24, IQ1_S)         \
    X(TQ1_0,     36, TQ1_0)         \
    X(TQ2_0,     37, TQ2_0)         \
    X(MXFP4_MOE, 38, MXFP4)
// clang-format on

typedef enum mix_id {
#define NUT_X(name, file_type, type) MIX_##name,
    MIX_LIST(NUT_X)
#undef NUT_X
        MIX_COUNT
} mix_id;

struct named_mix {
    const char *name;
    uint32_t file_type;
    format_id type;
};

static const named_mix mixes[MIX_COUNT] = {
#define NUT_X(name, file_type, type) {#name, file_type, FORMAT_##type},
    MIX_LIST(NUT_X)
#undef NUT_X
};

static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++) {
        const char x = (char)(*a >= 'a' && *a <= 'z' ? *a - 'a' + 'A' : *a);
        if (x != *b) return false;
    }
    return *a == *b;
}

const named_mix *named_mix_find(const char *name) {
    for (size_t i = 0; i < MIX_COUNT; i++)
        if (same_name(name, mixes[i].name)) return &mixes[i];
    return NULL;
}

void named_mix_names(char *out, size_t cap) {
    *out = 0;
    for (size_t i = 0, n = 0; i < MIX_COUNT && n < cap; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ", " : "", mixes[i].name);
}

uint32_t named_mix_file_type(const named_mix *m) {
    return m->file_type;
}

/* ---- what tensors are for ---- */

/* The first whose text is in a tensor's name. */
typedef enum role {
    ROLE_V,
    ROLE_K,
    ROLE_Q,
    ROLE_O,
    ROLE_UP,
    ROLE_GATE,
    ROLE_DOWN,
    ROLE_OTHER,
    ROLE_EMBD,
    ROLE_OUTPUT,
    ROLE_COUNT
} role;

static const struct {
    const char *part;
    role role;
} roles[] = {
    {"attn_qkv.weight", ROLE_V}, {"attn_kv_b.weight", ROLE_V}, {"attn_v.weight", ROLE_V},
    {"attn_k.weight", ROLE_K},   {"attn_q.weight", ROLE_Q},    {"attn_output.weight", ROLE_O},
    {"ffn_up", ROLE_UP},         {"ffn_gate", ROLE_GATE},      {"ffn_down", ROLE_DOWN},
};

static bool is_in(gguf_str s, const char *part) {
    const size_t n = strlen(part);
    for (size_t i = 0; i + n <= s.n; i++)
        if (!memcmp(s.s + i, part, n)) return true;
    return false;
}

/* A table of embeddings that gives the logits too is an output. */
static role role_of(const gguf_tensor *t, bool tied) {
    const bool embd = gguf_str_is(t->name, "token_embd.weight");
    if (gguf_str_is(t->name, "output.weight") || (embd && tied)) return ROLE_OUTPUT;
    if (embd || gguf_str_is(t->name, "per_layer_token_embd.weight")) return tied ? ROLE_OUTPUT : ROLE_EMBD;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (is_in(t->name, roles[i].part)) return roles[i].role;
    return ROLE_OTHER;
}

/* ---- rules ---- */

/* Conditions, as bits: all have to hold. i is a tensor's place among those of its role, n their number. */
enum {
    SHARED = 1 << 0, // four queries or more share a key
    APART = 1 << 1,
    WEIGHED = 1 << 2, // there are statistics
    PLAIN = 1 << 3,
    EIGHTH = 1 << 4,    // i is in the first eighth of n,
    SIXTEENTH = 1 << 5, // sixteenth,
    TWO = 1 << 6,       // among the first two,
    FOUR = 1 << 7,      // four,
    MIDDLE = 1 << 8,    // or neither in the first eighth nor in the last
    MORE = 1 << 9,      // i is in the first eighth or the last, or a third one between
    EIGHT = 1 << 10,    // there are eight experts
    FEW = 1 << 11,      // there are not
    FALCON = 1 << 12,
    OTHERS = 1 << 13,   // is no falcon
    SHARED_4 = 1 << 14, // as SHARED, or four experts or more
    WHOLE = 1 << 15,    // rows are whole blocks of the mix' type
    LARGE = 1 << 16,    // of 80 layers, queries sharing keys
};

#define M(name) (1u << MIX_##name)
#define IQ2_S_M (M(IQ2_S) | M(IQ2_M))
#define IQ2_X   (M(IQ2_XXS) | M(IQ2_XS))
#define IQ1     (M(IQ1_S) | M(IQ1_M))
#define SMALL   (IQ2_S_M | IQ2_X | IQ1)
#define ALL     UINT32_MAX

// clang-format off
/* The first rule of a role and a mix whose conditions hold says the type; without one it is the mix' own. */
static const struct rule {
    role role;
    uint32_t mixes, when;
    format_id type;
} rules[] = {
    {ROLE_OUTPUT, M(MXFP4_MOE) | M(Q8_0), 0, FORMAT_Q8_0},
    {ROLE_OUTPUT, SMALL | M(IQ3_XXS), OTHERS | WHOLE, FORMAT_Q5_K},
    {ROLE_OUTPUT, ALL, OTHERS | WHOLE, FORMAT_Q6_K},
    {ROLE_OUTPUT, ALL, 0, FORMAT_Q8_0},
    {ROLE_EMBD, M(MXFP4_MOE), 0, FORMAT_Q8_0},
    {ROLE_EMBD, IQ2_X | IQ1, 0, FORMAT_Q2_K},
    {ROLE_EMBD, IQ2_S_M | M(IQ3_XXS), 0, FORMAT_IQ3_S},
    {ROLE_EMBD, M(TQ1_0) | M(TQ2_0), 0, FORMAT_Q4_K},

    {ROLE_V, SMALL, SHARED_4, FORMAT_Q4_K},
    {ROLE_V, IQ2_S_M, 0, FORMAT_IQ3_S},
    {ROLE_V, SMALL, 0, FORMAT_Q2_K},
    {ROLE_V, ALL & ~M(MXFP4_MOE), EIGHT, FORMAT_Q8_0},
    {ROLE_V, M(Q2_K), LARGE, FORMAT_Q5_K},
    {ROLE_V, M(Q2_K_S) | M(IQ3_XXS) | M(IQ3_XS) | M(IQ3_S), SHARED | LARGE, FORMAT_Q5_K},
    {ROLE_V, M(Q2_K) | M(Q2_K_S) | M(IQ3_XXS) | M(IQ3_XS) | M(IQ3_S), SHARED, FORMAT_Q4_K},
    {ROLE_V, M(IQ3_M) | M(Q3_K_M) | M(Q3_K_S) | M(Q4_K_S), LARGE, FORMAT_Q5_K},
    {ROLE_V, M(Q4_K_M), MORE, FORMAT_Q6_K},
    {ROLE_V, M(Q4_K_M), LARGE, FORMAT_Q5_K},
    {ROLE_V, M(Q2_K), 0, FORMAT_Q3_K},
    {ROLE_V, M(IQ3_XXS), PLAIN, FORMAT_IQ3_S},
    {ROLE_V, M(IQ3_M), 0, FORMAT_Q4_K},
    {ROLE_V, M(Q3_K_M), TWO, FORMAT_Q5_K},
    {ROLE_V, M(Q3_K_M), 0, FORMAT_Q4_K},
    {ROLE_V, M(Q3_K_L), 0, FORMAT_Q5_K},
    {ROLE_V, M(IQ4_NL) | M(IQ4_XS), SHARED, FORMAT_Q5_K},
    {ROLE_V, M(Q5_K_M), MORE, FORMAT_Q6_K},
    {ROLE_V, M(Q4_K_S), FOUR, FORMAT_Q5_K},

    {ROLE_K, SMALL, EIGHT, FORMAT_Q4_K},
    {ROLE_K, ALL & ~M(MXFP4_MOE), EIGHT, FORMAT_Q8_0},
    {ROLE_K, M(IQ3_XS), 0, FORMAT_IQ3_XXS},
    {ROLE_K, M(IQ3_XXS), 0, FORMAT_IQ2_S},
    {ROLE_Q, M(IQ3_XS), 0, FORMAT_IQ3_XXS},
    {ROLE_Q, M(IQ3_XXS), 0, FORMAT_IQ2_S},

    {ROLE_DOWN, IQ2_S_M, EIGHTH, FORMAT_IQ3_S},
    {ROLE_DOWN, SMALL, EIGHTH, FORMAT_Q2_K},
    {ROLE_DOWN, M(Q2_K), 0, FORMAT_Q3_K},
    {ROLE_DOWN, M(Q2_K_S), EIGHTH, FORMAT_Q4_K},
    {ROLE_DOWN, M(IQ3_XXS), PLAIN | EIGHTH, FORMAT_Q4_K},
    {ROLE_DOWN, M(IQ3_XXS), PLAIN, FORMAT_Q3_K},
    {ROLE_DOWN, M(Q3_K_M), SIXTEENTH, FORMAT_Q5_K},
    {ROLE_DOWN, M(Q3_K_M), OTHERS, FORMAT_Q4_K},
    {ROLE_DOWN, M(Q3_K_M), MORE, FORMAT_Q4_K},
    {ROLE_DOWN, M(IQ3_M), EIGHTH, FORMAT_Q4_K},
    {ROLE_DOWN, M(IQ3_M), EIGHT | MORE, FORMAT_Q4_K},
    {ROLE_DOWN, M(Q3_K_L), FALCON, FORMAT_Q4_K},
    {ROLE_DOWN, M(Q3_K_L), 0, FORMAT_Q5_K},
    {ROLE_DOWN, M(Q4_K_M), FALCON | SIXTEENTH, FORMAT_Q6_K},
    {ROLE_DOWN, M(Q4_K_M), FALCON | MORE, FORMAT_Q5_K},
    {ROLE_DOWN, M(Q4_K_M), OTHERS | MORE, FORMAT_Q6_K},
    {ROLE_DOWN, M(IQ4_NL) | M(IQ4_XS), PLAIN | EIGHTH, FORMAT_Q5_K},
    {ROLE_DOWN, M(Q5_K_M), MORE, FORMAT_Q6_K},
    {ROLE_DOWN, M(Q4_K_S), OTHERS | EIGHTH, FORMAT_Q5_K},
    {ROLE_DOWN, M(Q4_0), WEIGHED | EIGHTH, FORMAT_Q4_1},
    {ROLE_DOWN, M(Q5_0), WEIGHED | EIGHTH, FORMAT_Q5_1},

    {ROLE_O, SMALL, EIGHT, FORMAT_Q5_K},
    {ROLE_O, IQ1, 0, FORMAT_IQ2_XXS},
    {ROLE_O, IQ2_S_M, 0, FORMAT_IQ3_S},
    {ROLE_O, M(Q2_K) | M(IQ3_XS) | M(IQ3_XXS) | M(Q3_K_S) | M(Q3_K_M) | M(IQ4_NL) | M(Q4_K_S) | M(Q4_K_M) |
             M(IQ3_S) | M(IQ3_M) | M(IQ4_XS), OTHERS | EIGHT, FORMAT_Q5_K},
    {ROLE_O, M(Q2_K), OTHERS | FEW, FORMAT_Q3_K},
    {ROLE_O, M(IQ3_XXS), OTHERS | FEW, FORMAT_IQ3_S},
    {ROLE_O, M(Q3_K_M) | M(IQ3_M), OTHERS | FEW, FORMAT_Q4_K},
    {ROLE_O, M(Q3_K_L), OTHERS | FEW, FORMAT_Q5_K},
    {ROLE_O, M(Q3_K_L), FALCON, FORMAT_Q4_K},

    {ROLE_GATE, M(IQ3_XS), MIDDLE, FORMAT_IQ3_XXS},
    {ROLE_UP, M(IQ3_XS), MIDDLE, FORMAT_IQ3_XXS},
};
// clang-format on

/* ---- a model ---- */

typedef struct place {
    role role;
    int64_t layer; // -1: of none
    gguf_str name;
    uint64_t tensor;
} place;

typedef struct facts {
    const named_mix *mix;
    const gguf *model;
    uint32_t n_layer, n_head, n_head_kv, n_expert;
    bool weighed, tied, falcon;
    uint32_t count[ROLE_COUNT];
} facts;

/* A hyperparameter, of the first layer where there is one for each; 0: none. */
static uint32_t number(const gguf *g, gguf_str arch, const char *name) {
    char key[96];
    uint32_t n;
    snprintf(key, sizeof key, "%.*s.%s", (int)(arch.n < 60 ? arch.n : 60), arch.s, name);
    const gguf_kv *kv = gguf_find(g, key);
    if (kv && kv->type == GGUF_ARRAY && kv->n && kv->n_bytes == 4 * kv->n) {
        memcpy(&n, kv->value, 4);
        return n;
    }
    return gguf_get_u32(g, key, 0, &n, NULL) == NUT_OK ? n : 0;
}

static facts read_facts(const named_mix *m, const gguf *model, bool weighed) {
    facts f = {.mix = m, .model = model, .weighed = weighed, .tied = true};
    gguf_str arch = {"", 0};
    if (gguf_get_str(model, "general.architecture", "", &arch, NULL) != NUT_OK) return f;
    f.n_layer = number(model, arch, "block_count");
    f.n_head = number(model, arch, "attention.head_count");
    f.n_head_kv = number(model, arch, "attention.head_count_kv");
    f.n_expert = number(model, arch, "expert_count");
    f.falcon = gguf_str_is(arch, "falcon");
    if (!f.n_head_kv) f.n_head_kv = f.n_head;
    for (uint64_t i = 0; i < model->n_tensors; i++)
        if (gguf_str_is(model->tensors[i].name, "output.weight")) f.tied = false;
    return f;
}

/* N of "blk.N."; -1: there is none. */
static int64_t layer_of(gguf_str name) {
    int64_t n = 0;
    size_t i = 4;
    if (name.n < 6 || memcmp(name.s, "blk.", 4) != 0) return -1;
    for (; i < name.n && i < 12 && name.s[i] >= '0' && name.s[i] <= '9'; i++) n = 10 * n + name.s[i] - '0';
    return i > 4 && i < name.n && name.s[i] == '.' ? n : -1;
}

/* The order in which llama.cpp counts. */
static int by_place(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    const int order = memcmp(x->name.s, y->name.s, (size_t)(x->name.n < y->name.n ? x->name.n : y->name.n));
    return order ? order : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

/* Experts do not count one by one. The feed-forward parts are as many as layers. */
static unsigned conditions(const facts *f, const place *p, uint32_t i, bool whole) {
    const bool ffn = p->role == ROLE_UP || p->role == ROLE_GATE || p->role == ROLE_DOWN;
    const uint32_t n = ffn ? f->n_layer : f->count[p->role];
    if (ffn && f->n_expert > 1 && p->layer >= 0) i = (uint32_t)p->layer;
    const bool shared = f->n_head >= 4 * f->n_head_kv && f->n_head_kv, first = i < n / 8,
               last = i >= 7 * (uint64_t)n / 8;
    return (shared ? SHARED : APART) | (f->weighed ? WEIGHED : PLAIN) | (first ? EIGHTH : 0u) |
           (i < n / 16 ? SIXTEENTH : 0u) | (i < 2 ? TWO : 0u) | (i < 4 ? FOUR : 0u) |
           (!first && !last ? MIDDLE : 0u) | (first || last || (i - n / 8) % 3 == 2 ? MORE : 0u) |
           (f->n_expert == 8 ? EIGHT : FEW) | (f->falcon ? FALCON : OTHERS) |
           (shared || f->n_expert >= 4 ? SHARED_4 : 0u) | (whole ? WHOLE : 0u) |
           (f->n_layer == 80 && f->n_head != f->n_head_kv ? LARGE : 0u);
}

static const format *rule_type(const facts *f, const place *p, uint32_t i, bool whole) {
    const unsigned have = conditions(f, p, i, whole);
    const uint32_t is = 1u << (f->mix - mixes);
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        if (rules[r].role == p->role && rules[r].mixes & is && (rules[r].when & have) == rules[r].when)
            return &format_table[rules[r].type];
    return &format_table[f->mix->type];
}

/* What a stack of experts is in MXFP4_MOE; all else has 8 bits there. */
static const format *expert_type(const gguf_tensor *t) {
    return &format_table[t->dims[2] > 1 ? FORMAT_MXFP4 : FORMAT_Q8_0];
}

static const format *type_of(const facts *f, const place *p, uint32_t i) {
    const gguf_tensor *t = &f->model->tensors[p->tensor];
    const format *own = &format_table[f->mix->type], *from = format_by_ggml(t->ggml_type);
    const format *to = rule_type(f, p, i, t->dims[0] % own->block == 0);
    if (f->mix == &mixes[MIX_MXFP4_MOE] && p->role != ROLE_OUTPUT) to = expert_type(t);
    const type_row *row = type_any(to->id);
    if (t->dims[0] % to->block) to = &format_table[row->shorter];
    if (t->dims[0] % to->block) to = &format_table[FORMAT_F16];
    const bool fewer = from && from->block > 1 && from->bytes * to->block <= to->bytes * from->block;
    return fewer || !from ? NULL : to;
}

static bool is_rounded(const gguf_tensor *t) {
    return (method_is_matrix(t) || method_is_stack(t)) && !method_is_small(t);
}

nut_status named_mix_types(const named_mix *m, const gguf *model, bool weighed, const format ***out,
                           nut_error *err) {
    facts f = read_facts(m, model, weighed);
    const size_t n = (size_t)model->n_tensors;
    place *places = mem_calloc(n, sizeof *places);
    *out = mem_calloc(n, sizeof **out);
    if (!places || !*out) {
        mem_free(places);
        return error_memory(err, n * (sizeof *places + sizeof **out));
    }
    for (size_t i = 0; i < n; i++) {
        const gguf_tensor *t = &model->tensors[i];
        places[i] = (place){role_of(t, f.tied), layer_of(t->name), t->name, i};
        f.count[places[i].role]++;
    }
    sort_rows(places, n, sizeof *places, by_place);
    uint32_t seen[ROLE_COUNT] = {0};
    for (size_t i = 0; i < n; i++) {
        const place *p = &places[i];
        if (is_rounded(&model->tensors[p->tensor])) (*out)[p->tensor] = type_of(&f, p, seen[p->role]++);
    }
    mem_free(places);
    return NUT_OK;
}
